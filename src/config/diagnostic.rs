//! Diagnostics: what is wrong in a pipeline file, and where.
//!
//! ```text
//! checks --Diagnostic (span, key, message, hint)--> Diagnostics --resolve(file name, text)--> sorted, with excerpts --> text or JSON
//! ```
//!
//! A diagnostic quotes only the key and the rejected word of its line. The rest of the line may be a secret.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde::Serialize;

use super::node::{NodeId, TextSpan};

/// How bad a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The pipeline cannot run.
    Error,
    /// The pipeline runs, but probably not as intended.
    Warning,
}

/// One error or warning about a pipeline file. `Display` prints it over several lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file, or another origin such as an environment variable.
    pub file: String,
    /// The position in the file; `None` if the diagnostic is about the whole file.
    #[serde(flatten, serialize_with = "span_as_line_and_column")]
    pub span: Option<TextSpan>,
    /// The key, for example `sources.acme.page_size`; may be empty.
    pub key: String,
    /// What is wrong, in one line, without secrets.
    pub message: String,
    /// What to write instead; may be empty.
    pub hint: String,
    #[serde(skip)]
    shows_token: bool,
    #[serde(skip)]
    excerpt: Option<Excerpt>,
}

fn span_as_line_and_column<S: serde::Serializer>(span: &Option<TextSpan>, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap;
    let mut map = serializer.serialize_map(Some(2))?;
    map.serialize_entry("line", &span.map(|span| span.line))?;
    map.serialize_entry("column", &span.map(|span| span.column))?;
    map.end()
}

impl Diagnostic {
    /// An error about a whole file.
    #[must_use]
    pub fn of_file(file: &str, message: String, hint: String) -> Self {
        Self::error(None, "", message, hint).with_origin(file.to_owned())
    }

    pub(crate) fn error(
        span: Option<TextSpan>,
        key: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let (key, message, hint) = (key.into(), message.into(), hint.into());
        Self {
            severity: Severity::Error,
            file: String::new(),
            span,
            key,
            message,
            hint,
            shows_token: true,
            excerpt: None,
        }
    }

    pub(crate) fn warning(
        span: Option<TextSpan>,
        key: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::error(span, key, message, hint).with_severity(Severity::Warning)
    }

    pub(crate) fn with_severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// Hides the text at the span, which may be a secret: the excerpt shows the key alone.
    pub(crate) fn without_token(self) -> Self {
        Self { shows_token: false, ..self }
    }

    /// Names an origin other than the pipeline file, such as an environment variable.
    pub(crate) fn with_origin(self, origin: String) -> Self {
        Self { file: origin, ..self }
    }

    /// Whether the pipeline cannot run because of it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Adds the file's name, and the excerpt from its text.
    fn resolve(self, file: &str, text: &str) -> Self {
        let excerpt = self.span.and_then(|span| Excerpt::cut(text, span, self.shows_token));
        let file = if self.file.is_empty() { file.to_owned() } else { self.file };
        let (message, hint) = (mask_urls(&self.message).into_owned(), mask_urls(&self.hint).into_owned());
        Self { file, message, hint, excerpt, ..self }
    }
}

/// The text without what may be secret in URLs: user, password, and the values of the query.
fn mask_urls(text: &str) -> Cow<'_, str> {
    static URL: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"[A-Za-z][A-Za-z0-9+.-]*://[^\s`'"]+"#).expect("a valid pattern"));
    static SECRET: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(://)[^/?#@]*@|([?&][^=&#]*=)[^&#]+").expect("a valid pattern"));
    URL.replace_all(text, |url: &Captures<'_>| {
        let masked = SECRET.replace_all(&url[0], |found: &Captures<'_>| match found.get(1) {
            Some(start) => format!("{}***@", start.as_str()),
            None => format!("{}***", &found[2]),
        });
        masked.into_owned()
    })
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.is_error() { "error" } else { "warning" };
        writeln!(f, "{severity}: {}", self.message)?;
        write!(f, "  --> {}", self.file)?;
        if let Some(span) = self.span {
            write!(f, ":{}:{}", span.line, span.column)?;
        }
        if !self.key.is_empty() {
            write!(f, " ({})", self.key)?;
        }
        if let (Some(excerpt), Some(span)) = (&self.excerpt, self.span) {
            write!(f, "{}", excerpt.beside(span.line))?;
        }
        if !self.hint.is_empty() {
            write!(f, "\n  = help: {}", self.hint)?;
        }
        Ok(())
    }
}

/// All diagnostics of one file, and the values that later checks skip because of them.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics {
    list: Vec<Diagnostic>,
    dropped: HashSet<NodeId>,
    /// Settings of maps that are probably present under a misspelled name.
    misspelled: HashSet<(NodeId, String)>,
}

impl Diagnostics {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Records a diagnostic and skips the value from now on. Returns `false` if it was skipped already.
    pub(crate) fn push_and_drop(&mut self, diagnostic: Diagnostic, node: NodeId) -> bool {
        self.list.push(diagnostic);
        self.dropped.insert(node)
    }

    /// Records that a setting of this map is present under a misspelled name, so that it is not reported as missing too.
    pub(crate) fn note_misspelled(&mut self, map: NodeId, meant: &str) {
        self.misspelled.insert((map, meant.to_owned()));
    }

    pub(crate) fn is_misspelled(&self, map: NodeId, setting: &str) -> bool {
        self.misspelled.contains(&(map, setting.to_owned()))
    }

    pub(crate) fn dropped(&self) -> &HashSet<NodeId> {
        &self.dropped
    }

    pub(crate) fn is_dropped(&self, node: NodeId) -> bool {
        self.dropped.contains(&node)
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// All diagnostics in the order of the file; those without a position last.
    pub(crate) fn resolve(self, file: &str, text: &str) -> Vec<Diagnostic> {
        let mut list: Vec<_> = self.list.into_iter().map(|diagnostic| diagnostic.resolve(file, text)).collect();
        list.sort_by_key(|diagnostic| (diagnostic.span.is_none(), diagnostic.span));
        list
    }
}

/// The part of a line that may be shown, and where the caret is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    shown: String,
    caret_at: usize,
    caret_width: usize,
}

impl Excerpt {
    fn cut(text: &str, span: TextSpan, shows_token: bool) -> Option<Self> {
        let line: Vec<char> = text.lines().nth(span.line.checked_sub(1)?)?.chars().collect();
        let from = span.column.checked_sub(1)?.min(line.len());
        let to = (from + span.width).min(line.len());
        let mut shown: String = line[..lead_length(&line).min(from)].iter().collect();
        if line[shown.chars().count()..from].iter().any(|hidden| !hidden.is_whitespace()) {
            shown.push_str("... ");
        } else {
            shown.extend(&line[shown.chars().count()..from]);
        }
        let caret_at = shown.chars().count();
        if shows_token {
            shown.push_str(&mask_urls(&line[from..to].iter().collect::<String>()));
        } else if from < line.len() {
            shown.push_str("...");
        }
        let caret_width = (shown.chars().count() - caret_at).max(1);
        shown.push_str(rest_as_shown(&line[to..], shows_token));
        Some(Self { shown, caret_at, caret_width })
    }

    fn beside(&self, line: usize) -> String {
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(self.caret_at);
        let carets = "^".repeat(self.caret_width);
        format!("\n{margin} |\n{number} | {}\n{margin} | {indent}{carets}", self.shown)
    }
}

/// The length of the start of a line that cannot hold a value: its indentation, a list's dash, and `key: ` if one is there.
fn lead_length(line: &[char]) -> usize {
    let indent = line.iter().take_while(|any| any.is_whitespace() || **any == '-').count();
    let word = line[indent..].iter().take_while(|any| any.is_alphanumeric() || "_-.".contains(**any)).count();
    if word == 0 || line.get(indent + word) != Some(&':') {
        return indent;
    }
    let after_colon = indent + word + 1;
    after_colon + line[after_colon..].iter().take_while(|any| any.is_whitespace()).count()
}

fn rest_as_shown(rest: &[char], shows_token: bool) -> &'static str {
    let rest: String = rest.iter().collect();
    let rest = rest.trim();
    match rest {
        _ if !shows_token => "",
        "" => "",
        ":" => ":",
        _ if rest.starts_with('#') => "",
        _ if rest.starts_with(':') => ": ...",
        _ => " ...",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(line: &str, token: &str, shows_token: bool) -> String {
        let column = line.find(token).expect("the token") + 1;
        let span = TextSpan { line: 1, column, width: token.len() };
        Excerpt::cut(line, span, shows_token).expect("an excerpt").shown
    }

    #[test]
    fn an_excerpt_shows_the_key_and_the_rejected_word_only() {
        assert_eq!(excerpt("  regoin: us", "regoin", true), "  regoin: ...");
        assert_eq!(excerpt("  page_size: five # six", "five", true), "  page_size: five");
        assert_eq!(excerpt("  api_token: hunter2", "hunter2", false), "  api_token: ...");
        assert_eq!(excerpt("  a: {api_token: hunter2, sie: 5}", "sie", true), "  a: ... sie: ...");
        assert_eq!(excerpt("  hunter2, x", "x", true), "  ... x");
        assert_eq!(excerpt("  - acme_clumoi", "acme_clumoi", true), "  - acme_clumoi");
    }

    #[test]
    fn urls_are_shown_without_what_may_be_secret() {
        let url = "http://audit:hunter2@api.example.com/v1?key=hunter3&page=4#top";
        let masked = "http://***@api.example.com/v1?key=***&page=***#top";
        assert_eq!(mask_urls(&format!("`{url}` is not encrypted")), format!("`{masked}` is not encrypted"));
        assert_eq!(excerpt(&format!("  base_url: {url}"), url, true), format!("  base_url: {masked}"));
        assert_eq!(mask_urls("https://api.example.com/a@b"), "https://api.example.com/a@b");
    }

    #[test]
    fn a_span_outside_the_text_has_no_excerpt_or_an_empty_one() {
        let span = |line, column| TextSpan { line, column, width: 3 };
        assert_eq!(Excerpt::cut("a", span(9, 1), true), None);
        assert!(Excerpt::cut("a", span(1, 90), true).is_some());
        assert!(Excerpt::cut("", span(1, 1), false).is_none());
    }

    #[test]
    fn diagnostics_come_in_the_order_of_the_file() {
        let mut diagnostics = Diagnostics::default();
        let span = |line| Some(TextSpan { line, column: 1, width: 1 });
        diagnostics.push(Diagnostic::error(None, "", "whole file", ""));
        diagnostics.push(Diagnostic::error(span(7), "", "seven", ""));
        diagnostics.push(Diagnostic::warning(span(2), "", "two", ""));
        let messages: Vec<_> = diagnostics.resolve("f", "").into_iter().map(|diagnostic| diagnostic.message).collect();
        assert_eq!(messages, ["two", "seven", "whole file"]);
    }
}
