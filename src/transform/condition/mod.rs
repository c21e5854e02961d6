//! Conditions on events: a typed subset of CEL, the Common Expression Language, compiled once and true or false of any event.
//!
//! ```text
//! text --token--> words and symbols --parse--> syntax tree --typing--> program --holds(event)--> true or false
//!          |                          |                      |
//!          +-- mistakes with their place in the text --------+
//! ```
//!
//! The existing CEL crate was weighed first: it has no type checker, so that a misspelt field would show itself only as an
//! error for each event; and it reads values of its own, so that every event would have to be copied into them. Here each
//! field is known at compile time and read where it lies, and nothing can go wrong any more when an event comes: no event
//! is lost to an error of evaluation. `docs/filter.md` tells the language.
//!
//! Every step is total: any text gives a condition or mistakes. Length and nesting are bounded, and so is the stack.

mod envelope;
mod literal;
mod parse;
mod program;
mod syntax;
#[cfg(test)]
mod tests;
mod token;
mod typing;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use self::program::Test;
use crate::event::Event;

/// The longest condition, in bytes.
pub const MOST_BYTES: usize = 16 << 10;

/// How deep parentheses, calls and lists may be nested.
pub const DEEPEST: usize = 48;

/// A condition that has been compiled: cheap to copy, and the same for equal texts.
#[derive(Clone)]
pub struct Condition {
    /// The condition in its canonical form: equal meaning is not promised to be equal text, equal text is equal meaning.
    text: Arc<str>,
    test: Arc<Test>,
    /// How often conditions were joined to make it.
    joins: usize,
}

impl Condition {
    /// Compiles and checks a condition.
    ///
    /// # Errors
    /// The first mistake of its form; or else every field, word and type in it that is wrong.
    pub fn compile(text: &str) -> Result<Self, Vec<Mistake>> {
        let syntax = parse::parse(text).map_err(|mistake| vec![mistake])?;
        let test = typing::check(&syntax)?;
        Ok(Self { text: syntax.to_string().into(), test: Arc::new(test), joins: 0 })
    }

    /// The comments in the text of a condition, in bytes; none if the text is no condition.
    #[must_use]
    pub fn comments(text: &str) -> Vec<Range<usize>> {
        token::comments(text)
    }

    /// Whether the condition holds for an event. Never fails, and allocates nothing but what a regular expression needs.
    #[must_use]
    pub fn holds(&self, event: &Event<'_>) -> bool {
        program::holds(&self.test, event)
    }

    /// Holds where both hold.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.joined(other, "&&", Test::All)
    }

    /// Holds where either holds.
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

    /// How many conditions were joined to make it, less one: a bound on its depth beyond that of each.
    #[must_use]
    pub fn joins(&self) -> usize {
        self.joins
    }

    /// Its canonical form: fully spaced, without comments and needless parentheses. It parses back to the same meaning.
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

/// Something wrong in a condition. Its texts quote nothing but what stands at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where, in bytes of the condition's text.
    pub place: Range<usize>,
    /// What is wrong, in one line.
    pub message: String,
    /// What to write instead.
    pub hint: Hint,
}

/// What to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// As a sentence; may be empty.
    Text(String),
    /// One of these words in place of the one that is there.
    OneOf {
        /// The word that is there.
        word: String,
        /// Every word that may be there.
        known: Vec<&'static str>,
    },
}

impl Mistake {
    fn new(place: Range<usize>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { place, message: message.into(), hint: Hint::Text(hint.into()) }
    }

    fn unknown(place: Range<usize>, message: impl Into<String>, word: &str, known: Vec<&'static str>) -> Self {
        Self { place, message: message.into(), hint: Hint::OneOf { word: word.to_owned(), known } }
    }
}
