//! Errors in a condition, with their span and a hint.

use std::ops::Range;

/// Maximum length of a condition, in bytes.
pub const MAX_BYTES: usize = 16 << 10;

/// Maximum nesting of parentheses, calls and lists.
pub const MAX_DEPTH: usize = 48;

/// An error in a condition. Its texts quote only what is at its span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionDiagnostic {
    /// Where, in bytes of the condition's text.
    pub span: Range<usize>,
    /// What is wrong, in one line.
    pub message: String,
    /// What to write instead.
    pub hint: Hint,
}

/// What to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A sentence; may be empty.
    Text(String),
    /// One of these words.
    OneOf {
        /// The word that is there.
        word: String,
        /// The words that are allowed.
        known: Vec<&'static str>,
    },
}

impl ConditionDiagnostic {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { span, message: message.into(), hint: Hint::Text(hint.into()) }
    }

    pub(super) fn unknown(
        span: Range<usize>,
        message: impl Into<String>,
        word: &str,
        known: Vec<&'static str>,
    ) -> Self {
        Self { span, message: message.into(), hint: Hint::OneOf { word: word.to_owned(), known } }
    }
}
