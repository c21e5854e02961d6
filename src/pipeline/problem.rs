//! Problems of a pipeline file: found, collected, shown.
//!
//! ```text
//! checks --Finding (place, key, message, hint)--> Findings --+ file name and text--> Problem --> text or JSON
//! ```
//!
//! A problem shows the line it stands in, but never more of that line than the key and the word that is wrong: the rest
//! may be a secret.

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;

use super::node::{NodeId, Place};

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The pipeline cannot run.
    Error,
    /// The pipeline runs, but most likely not as it was meant.
    Warning,
}

/// Something wrong in a pipeline file, ready to be shown. `Display` prints it over several lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file, or another origin such as an environment variable.
    pub file: String,
    /// Where in the file; `None` if it is about the whole file.
    #[serde(flatten, serialize_with = "place_as_line_and_column")]
    pub place: Option<Place>,
    /// The key, for example `sources.acme.page_size`; may be empty.
    pub key: String,
    /// What is wrong, in one line, without secrets.
    pub message: String,
    /// What to write instead; may be empty.
    pub hint: String,
    #[serde(skip)]
    excerpt: Option<Excerpt>,
}

fn place_as_line_and_column<S: serde::Serializer>(place: &Option<Place>, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap;
    let mut map = serializer.serialize_map(Some(2))?;
    map.serialize_entry("line", &place.map(|place| place.line))?;
    map.serialize_entry("column", &place.map(|place| place.column))?;
    map.end()
}

impl Problem {
    /// An error about a whole file.
    #[must_use]
    pub fn of_file(file: &str, message: String, hint: String) -> Self {
        let finding = Finding::error(None, "", message, hint);
        finding.into_problem(file, "")
    }

    /// Whether the pipeline cannot run because of it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.is_error() { "error" } else { "warning" };
        writeln!(f, "{severity}: {}", self.message)?;
        write!(f, "  --> {}", self.file)?;
        if let Some(place) = self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        if !self.key.is_empty() {
            write!(f, " ({})", self.key)?;
        }
        if let (Some(excerpt), Some(place)) = (&self.excerpt, self.place) {
            write!(f, "{}", excerpt.beside(place.line))?;
        }
        if !self.hint.is_empty() {
            write!(f, "\n  = help: {}", self.hint)?;
        }
        Ok(())
    }
}

/// Something wrong, before the file's name and text are added.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) origin: Option<String>,
    pub(super) place: Option<Place>,
    pub(super) key: String,
    pub(super) message: String,
    pub(super) hint: String,
    pub(super) shows_token: bool,
}

impl Finding {
    pub(super) fn error(
        place: Option<Place>,
        key: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let (key, message, hint) = (key.into(), message.into(), hint.into());
        Self { severity: Severity::Error, origin: None, place, key, message, hint, shows_token: true }
    }

    pub(super) fn warning(
        place: Option<Place>,
        key: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, key, message, hint) }
    }

    /// Shows the key of the line alone: what stands at the place may be a secret.
    pub(super) fn without_token(self) -> Self {
        Self { shows_token: false, ..self }
    }

    /// Names another origin than the file, such as an environment variable.
    pub(super) fn with_origin(self, origin: String) -> Self {
        Self { origin: Some(origin), ..self }
    }

    fn into_problem(self, file: &str, text: &str) -> Problem {
        let excerpt = self.place.and_then(|place| Excerpt::cut(text, place, self.shows_token));
        Problem {
            severity: self.severity,
            file: self.origin.unwrap_or_else(|| file.to_owned()),
            place: self.place,
            key: self.key,
            message: self.message,
            hint: self.hint,
            excerpt,
        }
    }
}

/// All that was found wrong in one file, and the values that later checks leave out because of it.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<Finding>,
    dropped: HashSet<NodeId>,
    /// Settings of maps that are most likely there under a wrong name.
    misspelt: HashSet<(NodeId, String)>,
}

impl Findings {
    pub(super) fn push(&mut self, finding: Finding) {
        self.found.push(finding);
    }

    /// Notes a mistake and leaves the value out from now on. `false` if it had been left out before.
    pub(super) fn push_and_drop(&mut self, finding: Finding, node: NodeId) -> bool {
        self.found.push(finding);
        self.dropped.insert(node)
    }

    /// Notes that a setting of this map is there under a wrong name, so that it is not reported as missing too.
    pub(super) fn note_misspelt(&mut self, map: NodeId, meant: &str) {
        self.misspelt.insert((map, meant.to_owned()));
    }

    pub(super) fn is_misspelt(&self, map: NodeId, setting: &str) -> bool {
        self.misspelt.contains(&(map, setting.to_owned()))
    }

    pub(super) fn dropped(&self) -> &HashSet<NodeId> {
        &self.dropped
    }

    pub(super) fn is_dropped(&self, node: NodeId) -> bool {
        self.dropped.contains(&node)
    }

    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.found.iter()
    }

    /// Everything found, in the order of the file.
    pub(super) fn into_problems(self, file: &str, text: &str) -> Vec<Problem> {
        let mut problems: Vec<_> = self.found.into_iter().map(|finding| finding.into_problem(file, text)).collect();
        problems.sort_by_key(|problem| (problem.place.is_none(), problem.place));
        problems
    }
}

/// The part of a line that may be shown, and where the caret goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    shown: String,
    caret_at: usize,
    caret_width: usize,
}

impl Excerpt {
    fn cut(text: &str, place: Place, shows_token: bool) -> Option<Self> {
        let line: Vec<char> = text.lines().nth(place.line.checked_sub(1)?)?.chars().collect();
        let from = place.column.checked_sub(1)?.min(line.len());
        let to = (from + place.width).min(line.len());
        let mut shown: String = line[..lead_length(&line).min(from)].iter().collect();
        if line[shown.chars().count()..from].iter().any(|hidden| !hidden.is_whitespace()) {
            shown.push_str("... ");
        } else {
            shown.extend(&line[shown.chars().count()..from]);
        }
        let caret_at = shown.chars().count();
        if shows_token {
            shown.extend(&line[from..to]);
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

/// How much of a line's beginning is surely no value: its indentation, a list's dash, and `key: ` if one is there.
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
        let place = Place { line: 1, column, width: token.len() };
        Excerpt::cut(line, place, shows_token).expect("an excerpt").shown
    }

    #[test]
    fn a_line_shows_its_key_and_the_wrong_word_and_nothing_else() {
        assert_eq!(excerpt("  regoin: us", "regoin", true), "  regoin: ...");
        assert_eq!(excerpt("  page_size: five # six", "five", true), "  page_size: five");
        assert_eq!(excerpt("  api_token: hunter2", "hunter2", false), "  api_token: ...");
        assert_eq!(excerpt("  a: {api_token: hunter2, sie: 5}", "sie", true), "  a: ... sie: ...");
        assert_eq!(excerpt("  hunter2, x", "x", true), "  ... x");
        assert_eq!(excerpt("  - acme_clumoi", "acme_clumoi", true), "  - acme_clumoi");
    }

    #[test]
    fn a_place_outside_the_text_has_no_line_or_an_empty_one() {
        let place = |line, column| Place { line, column, width: 3 };
        assert_eq!(Excerpt::cut("a", place(9, 1), true), None);
        assert!(Excerpt::cut("a", place(1, 90), true).is_some());
        assert!(Excerpt::cut("", place(1, 1), false).is_none());
    }

    #[test]
    fn problems_come_in_the_order_of_the_file() {
        let mut findings = Findings::default();
        let place = |line| Some(Place { line, column: 1, width: 1 });
        findings.push(Finding::error(None, "", "whole file", ""));
        findings.push(Finding::error(place(7), "", "seven", ""));
        findings.push(Finding::warning(place(2), "", "two", ""));
        let messages: Vec<_> = findings.into_problems("f", "").into_iter().map(|problem| problem.message).collect();
        assert_eq!(messages, ["two", "seven", "whole file"]);
    }
}
