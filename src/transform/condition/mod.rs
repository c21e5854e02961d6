//! Conditions on events: a typed subset of CEL, the Common Expression Language. A condition is compiled once and evaluates to
//! true or false for every event.
//!
//! ```text
//! text --lexer--> tokens --parser--> syntax tree --checker--> program --evaluate(event)--> true or false
//!        |                 |                        |
//!        +-----------------+-- diagnostics with spans
//! ```
//!
//! The checker knows the type of every field, so evaluation cannot fail and no event is lost to an evaluation error. The program
//! reads fields in place. (The existing CEL crate has no type checker: a misspelled field would fail at every event; and it
//! copies events into values of its own.) `docs/filter.md` documents the language.
//!
//! Compilation is total: every text yields a condition or diagnostics. Length and nesting are limited, which limits the stack.

mod checker;
mod diagnostic;
mod lexer;
mod parser;
mod program;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use self::program::Test;
use crate::event::Event;

pub use self::diagnostic::{ConditionDiagnostic, Hint, MAX_BYTES, MAX_DEPTH};

/// A compiled condition. Cheap to clone; equal if the canonical texts are equal.
#[derive(Clone)]
pub struct Condition {
    /// The canonical text. Equal texts have equal meaning; the reverse does not hold.
    text: Arc<str>,
    test: Arc<Test>,
    /// Number of joins that it is made of.
    joins: usize,
}

impl Condition {
    /// Compiles and checks a condition.
    ///
    /// # Errors
    /// The first syntax error, or else every unknown field, unknown value and type error.
    pub fn compile(text: &str) -> Result<Self, Vec<ConditionDiagnostic>> {
        let syntax = parser::parse(text).map_err(|diagnostic| vec![diagnostic])?;
        let test = checker::check(&syntax)?;
        Ok(Self { text: syntax.to_string().into(), test: Arc::new(test), joins: 0 })
    }

    /// The spans of comments in the text of a condition, in bytes; none if the text is not valid.
    #[must_use]
    pub fn comments(text: &str) -> Vec<Range<usize>> {
        lexer::comments(text)
    }

    /// Whether the condition holds for an event. Never fails; allocates only what a regular expression needs.
    #[must_use]
    pub fn holds(&self, event: &Event<'_>) -> bool {
        program::evaluate(&self.test, event)
    }

    /// Holds if both hold.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.joined(other, "&&", Test::All)
    }

    /// Holds if either holds.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        self.joined(other, "||", Test::Any)
    }

    fn joined(&self, other: &Self, symbol: &str, join: fn(Vec<Test>) -> Test) -> Self {
        if self == other {
            return self.clone();
        }
        let parts = vec![Test::Shared(Arc::clone(&self.test)), Test::Shared(Arc::clone(&other.test))];
        let text = format!("({self}) {symbol} ({other})").into();
        Self { text, test: Arc::new(join(parts)), joins: self.joins + other.joins + 1 }
    }

    /// Number of joins that it is made of: the limit of its depth beyond that of each part.
    #[must_use]
    pub fn joins(&self) -> usize {
        self.joins
    }

    /// The canonical text: one space around operators, no comments, no redundant parentheses. Parses to the same condition.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Condition {}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.text).finish()
    }
}
