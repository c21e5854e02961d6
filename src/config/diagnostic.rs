//! Diagnostics: what is wrong in a pipeline file, and where.
//!
//! ```text
//! checks --Diagnostic (span, key, message, hint)--> Diagnostics (with the files) --resolve--> sorted, with excerpts --> text or JSON
//! ```
//!
//! A diagnostic quotes only the key and the rejected word of its line. The rest of the line may be a secret.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::rc::Rc;

use serde::Serialize;

use super::excerpt::{Excerpt, mask_urls};
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

    /// Adds the name of the file, and the excerpt from its text. `pipeline` is the name of all files together.
    fn resolve(self, pipeline: &str, files: &[TextFile]) -> Self {
        let file = self.span.and_then(|span| files.get(span.file));
        let excerpt = self.span.and_then(|span| Excerpt::cut(&file?.text, span, self.shows_token));
        let name = file.map_or(pipeline, |file| &file.name);
        let file = if self.file.is_empty() { name.to_owned() } else { self.file };
        let (message, hint) = (mask_urls(&self.message).into_owned(), mask_urls(&self.hint).into_owned());
        Self { file, message, hint, excerpt, ..self }
    }
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

/// A file of a pipeline.
#[derive(Clone, Debug)]
struct TextFile {
    name: String,
    text: Rc<str>,
}

/// All diagnostics of the files of a pipeline, and the values that later checks skip because of them.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics {
    files: Vec<TextFile>,
    nodes: NodeId,
    list: Vec<Diagnostic>,
    dropped: HashSet<NodeId>,
    /// Settings of maps that are probably present under a misspelled name.
    misspelled: HashSet<(NodeId, String)>,
    /// The column of each value that is a value of a list.
    cells: HashMap<TextSpan, Rc<str>>,
    /// Settings of maps that are left out because a value of a list is empty, with that value.
    left_out: HashMap<(NodeId, String), TextSpan>,
    /// The sources that are made from a list, with the value that their name is made of.
    generated: HashMap<String, TextSpan>,
}

impl Diagnostics {
    /// For one file.
    #[cfg(test)]
    pub(crate) fn of_file(name: &str, text: &str) -> Self {
        let mut diagnostics = Self::default();
        diagnostics.add_file(name.to_owned(), text);
        diagnostics
    }

    /// None yet, of the same files.
    pub(crate) fn of_same_files(&self) -> Self {
        Self { files: self.files.clone(), ..Self::default() }
    }

    /// Adds a file. Returns its number, for spans.
    pub(crate) fn add_file(&mut self, name: String, text: &str) -> usize {
        self.files.push(TextFile { name, text: text.into() });
        self.files.len() - 1
    }

    /// The text of a file.
    pub(crate) fn text(&self, file: usize) -> Rc<str> {
        self.files.get(file).map_or_else(|| "".into(), |file| Rc::clone(&file.text))
    }

    /// The name of the file of a position.
    pub(crate) fn file_name(&self, span: TextSpan) -> &str {
        self.files.get(span.file).map_or("", |file| &file.name)
    }

    /// A position as `name:line:column`.
    pub(crate) fn place(&self, span: TextSpan) -> String {
        format!("{}:{}:{}", self.file_name(span), span.line, span.column)
    }

    /// A position for a message about another one: `in line 3`, or `at name:3:5` if that is in another file.
    pub(crate) fn place_seen_from(&self, span: TextSpan, here: TextSpan) -> String {
        if span.file == here.file { format!("in line {}", span.line) } else { format!("at {}", self.place(span)) }
    }

    /// An id for one more node.
    pub(crate) fn new_node(&mut self) -> NodeId {
        self.nodes += 1;
        self.nodes
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Records a diagnostic and skips the value from now on. Returns `false` if it was skipped already.
    pub(crate) fn push_and_drop(&mut self, diagnostic: Diagnostic, node: NodeId) -> bool {
        self.list.push(diagnostic);
        self.dropped.insert(node)
    }

    /// Skips a value from now on.
    pub(crate) fn skip(&mut self, node: NodeId) {
        self.dropped.insert(node);
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

    /// Records that this position is a value of a list, in this column.
    pub(crate) fn add_cell(&mut self, span: TextSpan, column: &str) {
        self.cells.insert(span, column.into());
    }

    /// Records that a setting of this map is left out, because this value of a list is empty.
    pub(crate) fn add_left_out(&mut self, map: NodeId, setting: &str, cell: TextSpan) {
        self.left_out.insert((map, setting.to_owned()), cell);
    }

    /// The empty value of a list because of which a setting of this map is missing.
    pub(crate) fn left_out(&self, map: NodeId, setting: &str) -> Option<TextSpan> {
        self.left_out.get(&(map, setting.to_owned())).copied()
    }

    /// Records that a source is made from a row of a list. `name` is the value that its name is made of.
    pub(crate) fn add_generated(&mut self, source: &str, name: TextSpan) {
        self.generated.insert(source.to_owned(), name);
    }

    /// The row of a source: the value that its name is made of. `None` for one that is made from no list.
    pub(crate) fn row_of(&self, source: &str) -> Option<TextSpan> {
        self.generated.get(source).copied()
    }

    /// All diagnostics in the order of the files; those without a position last. `pipeline` is the name of all files together.
    pub(crate) fn resolve(mut self, pipeline: &str) -> Vec<Diagnostic> {
        let list = std::mem::take(&mut self.list);
        let list = self.without_repetitions(list).into_iter();
        let mut list: Vec<_> = list.map(|diagnostic| diagnostic.resolve(pipeline, &self.files)).collect();
        list.sort_by_key(|diagnostic| (diagnostic.span.is_none(), diagnostic.span));
        list
    }

    /// Sources of one list repeat the mistakes of their template: only the first of them remains. Adds columns to the others.
    fn without_repetitions(&self, list: Vec<Diagnostic>) -> Vec<Diagnostic> {
        let (mut kept, mut first): (Vec<(Diagnostic, usize)>, HashMap<_, usize>) = (Vec::new(), HashMap::new());
        for mut diagnostic in list {
            if let Some(repeated) = self.repeated(&diagnostic) {
                let index = *first.entry(repeated).or_insert(kept.len());
                if let Some((_, more)) = kept.get_mut(index) {
                    *more += 1;
                    continue;
                }
            }
            if let Some(column) = diagnostic.span.and_then(|span| self.cells.get(&span)) {
                diagnostic.message += &format!(" (column `{column}`)");
            }
            kept.push((diagnostic, 0));
        }
        let counted = |(mut diagnostic, more): (Diagnostic, usize)| {
            if more > 0 {
                diagnostic.message += &format!("; {more} more rows have the same");
            }
            diagnostic
        };
        kept.into_iter().map(counted).collect()
    }

    /// What two diagnostics have in common if one repeats the other. `None` for a mistake of one row.
    fn repeated(&self, diagnostic: &Diagnostic) -> Option<(Option<TextSpan>, String, String)> {
        let is_cell = diagnostic.span.is_some_and(|span| self.cells.contains_key(&span));
        if self.generated.is_empty() || (is_cell && diagnostic.is_error()) {
            return None;
        }
        let words =
            diagnostic.message.split('`').map(|word| if self.generated.contains_key(word) { "*" } else { word });
        let message = words.collect::<Vec<_>>().join("`");
        let below = diagnostic.key.strip_prefix("sources.").unwrap_or_default();
        let ends = below.match_indices('.').map(|(end, _)| end).chain([below.len()]);
        let source = ends.map(|end| &below[..end]).find(|name| self.generated.contains_key(*name));
        let key = source.map_or(diagnostic.key.as_str(), |source| &below[source.len()..]).to_owned();
        let is_about_one = source.is_some() || message != diagnostic.message;
        is_about_one.then(|| (diagnostic.span.filter(|_| !is_cell), key, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagnostics_come_in_the_order_of_the_file() {
        let mut diagnostics = Diagnostics::default();
        let span = |line| Some(TextSpan { file: 0, line, column: 1, width: 1 });
        diagnostics.push(Diagnostic::error(None, "", "whole file", ""));
        diagnostics.push(Diagnostic::error(span(7), "", "seven", ""));
        diagnostics.push(Diagnostic::warning(span(2), "", "two", ""));
        let messages: Vec<_> = diagnostics.resolve("f").into_iter().map(|diagnostic| diagnostic.message).collect();
        assert_eq!(messages, ["two", "seven", "whole file"]);
    }
}
