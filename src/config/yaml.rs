//! From YAML text to the tree of nodes.
//!
//! ```text
//! text --> parser events with spans --> Node tree
//!                                         duplicate keys, syntax errors: diagnostics with their span
//! ```
//!
//! Only the parser's events have every span, quote style and duplicate key, so the tree is built from them and not with
//! serde. Not supported: tags (`!!int`), merge keys (`<<`) and several documents in one file.

use std::collections::{HashMap, HashSet};

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::node::{Entry, KeyPath, Node, NodeId, Scalar, TextSpan, Value};

/// The most nodes a pipeline file may have, expanded aliases included. It bounds files whose aliases multiply.
const MAX_NODES: usize = 20_000;
/// The most nodes a list of sources may have.
const MAX_LIST_NODES: usize = 1_000_000;
/// How deeply lists and maps may be nested.
const MAX_DEPTH: usize = 32;

/// Reads a file of `diagnostics`, and adds its errors there. `None` if the text is not YAML. An empty file is an empty map.
pub(crate) fn read(file: usize, diagnostics: &mut Diagnostics) -> Option<Node> {
    read_nodes(file, MAX_NODES, diagnostics)
}

/// The same for a list of sources, which may be longer.
pub(crate) fn read_list(file: usize, diagnostics: &mut Diagnostics) -> Option<Node> {
    read_nodes(file, MAX_LIST_NODES, diagnostics)
}

fn read_nodes(file: usize, max_nodes: usize, diagnostics: &mut Diagnostics) -> Option<Node> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let text = diagnostics.text(file);
    let parser = Parser::new_from_str_with_options(&text, options);
    let mut builder = Builder { file, parser, diagnostics, anchors: HashMap::new(), nodes: 0, max_nodes };
    match builder.document() {
        Ok(node) => Some(node),
        Err(diagnostic) => {
            builder.diagnostics.push(*diagnostic);
            None
        }
    }
}

type YamlResult<T> = Result<T, Box<Diagnostic>>;

struct Builder<'t, 'f> {
    file: usize,
    parser: Parser<'t, StrInput<'t>>,
    diagnostics: &'f mut Diagnostics,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    max_nodes: usize,
}

impl<'t> Builder<'t, '_> {
    fn document(&mut self) -> YamlResult<Node> {
        let mut root = None;
        loop {
            let (event, span) = self.next_event()?;
            match event {
                Event::StreamEnd => return Ok(root.unwrap_or_else(|| self.empty_map())),
                Event::DocumentStart(..) if root.is_some() => {
                    let span = span_of(self.file, &span);
                    return Err(syntax(span, "a second document begins here", "write one document per file"));
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => root = Some(self.node(event, span, &KeyPath::default())?),
            }
        }
    }

    fn next_event(&mut self) -> YamlResult<(Event<'t>, Span)> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(scan_error(self.file, &error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, path: &KeyPath) -> YamlResult<Node> {
        let span = span_of(self.file, &span);
        if path.depth() > MAX_DEPTH {
            return Err(syntax(span, "nested too deeply", "check the indentation"));
        }
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                reject_tag(span, tag.is_some())?;
                let plain = style == ScalarStyle::Plain;
                (Value::Scalar(Scalar { text: text.into_owned(), plain, written: None, from_row: false }), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                reject_tag(span, tag.is_some())?;
                (Value::List(self.items(path)?), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                reject_tag(span, tag.is_some())?;
                (Value::Map(self.entries(path)?), anchor)
            }
            Event::Alias(anchor) => return self.alias(anchor, span),
            _ => return Err(syntax(span, "a value is missing here", "")),
        };
        let node = Node { id: self.next_id(span)?, span, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn items(&mut self, path: &KeyPath) -> YamlResult<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next_event()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(items);
            }
            items.push(self.node(event, span, &path.index(items.len()))?);
        }
    }

    fn entries(&mut self, path: &KeyPath) -> YamlResult<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: HashSet<String> = HashSet::new();
        loop {
            let (event, key_span) = self.next_event()?;
            let key_span = span_of(self.file, &key_span);
            let key = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(key, ..) => key.into_owned(),
                _ => {
                    return Err(syntax(
                        key_span,
                        "a key must be a plain word",
                        "write `key: value`, and quote a value that begins with `{{`",
                    ));
                }
            };
            let (event, span) = self.next_event()?;
            let path_of_value = path.key(&key);
            let value = self.node(event, span, &path_of_value)?;
            if let Some((before, _)) = key.split_once(':') {
                self.diagnostics.push(missing_space(before, &path.key(before), key_span));
                continue;
            }
            if seen.insert(key.clone()) {
                entries.push(Entry { key, span: key_span, value });
            } else {
                self.duplicate(&entries, &key, &path_of_value, key_span);
            }
        }
    }

    fn duplicate(&mut self, entries: &[Entry], key: &str, path: &KeyPath, span: TextSpan) {
        let first = entries.iter().find(|entry| entry.key == key).map_or(0, |entry| entry.span.line);
        let message = format!("duplicate key `{key}`; the first is in line {first}");
        self.diagnostics.push(Diagnostic::error(Some(span), path, message, "remove one of the two"));
    }

    /// A copy of the node that the alias names, with the span of the alias and new ids.
    fn alias(&mut self, anchor: usize, span: TextSpan) -> YamlResult<Node> {
        let Some(mut node) = self.anchors.get(&anchor).cloned() else {
            return Err(syntax(span, "this alias is inside the value that it names", "replace the alias by the value"));
        };
        self.renumber(&mut node)?;
        node.span = span;
        Ok(node)
    }

    fn renumber(&mut self, node: &mut Node) -> YamlResult<()> {
        node.id = self.next_id(node.span)?;
        match &mut node.value {
            Value::Scalar(_) => Ok(()),
            Value::List(items) => items.iter_mut().try_for_each(|item| self.renumber(item)),
            Value::Map(entries) => entries.iter_mut().try_for_each(|entry| self.renumber(&mut entry.value)),
        }
    }

    fn next_id(&mut self, span: TextSpan) -> YamlResult<NodeId> {
        self.nodes += 1;
        if self.nodes > self.max_nodes {
            let hint = "a pipeline file can have at most 20,000 values, a list 1,000,000; split it into several";
            return Err(syntax(span, "the file has too many values", hint));
        }
        Ok(self.diagnostics.new_node())
    }

    fn empty_map(&mut self) -> Node {
        let span = TextSpan { file: self.file, line: 1, column: 1, width: 1 };
        Node { id: self.diagnostics.new_node(), span, value: Value::Map(Vec::new()) }
    }
}

/// YAML reads `{token:abc}` as one key. The text after the colon was meant as a value, which may be a secret.
fn missing_space(before: &str, path: &KeyPath, span: TextSpan) -> Diagnostic {
    let message = format!("there is no space after the colon of `{before}`");
    Diagnostic::error(Some(span), path, message, format!("write `{before}: value`")).without_token()
}

fn reject_tag(span: TextSpan, tagged: bool) -> YamlResult<()> {
    if tagged {
        Err(syntax(span, "tags are not supported in pipeline files", "remove the `!` word, or quote the whole value"))
    } else {
        Ok(())
    }
}

fn span_of(file: usize, span: &Span) -> TextSpan {
    let same_line = span.start.line() == span.end.line();
    let width = if same_line { span.end.col().saturating_sub(span.start.col()) } else { 1 };
    TextSpan { file, line: span.start.line().max(1), column: span.start.col() + 1, width: width.max(1) }
}

fn scan_error(file: usize, error: &ScanError) -> Box<Diagnostic> {
    let marker = error.marker();
    let span = TextSpan { file, line: marker.line().max(1), column: marker.col() + 1, width: 1 };
    syntax(
        span,
        &format!("this is not YAML: {}", error.info()),
        "check the indentation, colons and quotes near this position",
    )
}

fn syntax(span: TextSpan, message: &str, hint: &str) -> Box<Diagnostic> {
    Box::new(Diagnostic::error(Some(span), "", message, hint).without_token())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_valid(text: &str) -> Node {
        let mut diagnostics = Diagnostics::of_file("a.yaml", text);
        let node = read(0, &mut diagnostics).expect("YAML");
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        node
    }

    #[test]
    fn keys_and_values_have_spans() {
        let root = read_valid("a: 1\nb:\n  - x\n  - {c: 'two words'}\n");
        let entry = root.entry("b").expect("b");
        assert_eq!(entry.span, TextSpan { file: 0, line: 2, column: 1, width: 1 });
        let Value::List(items) = &entry.value.value else { panic!("a list") };
        assert_eq!(items[0].span, TextSpan { file: 0, line: 3, column: 5, width: 1 });
        assert_eq!(items[1].entry("c").expect("c").value.span, TextSpan { file: 0, line: 4, column: 9, width: 11 });
    }

    #[test]
    fn every_duplicate_key_is_reported() {
        let mut diagnostics = Diagnostics::of_file("a.yaml", "a: 1\na: 2\nb: {c: 1, c: 2}\na: 3\n");
        read(0, &mut diagnostics).expect("YAML");
        let lines: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.span.expect("a place").line).collect();
        assert_eq!(lines, [2, 3, 4]);
    }

    #[test]
    fn an_alias_is_a_copy_with_its_own_span() {
        let root = read_valid("a: &x {b: 1}\nc: *x\n");
        let copy = &root.entry("c").expect("c").value;
        assert_eq!(copy.span.line, 2);
        assert_ne!(copy.id, root.entry("a").expect("a").value.id);
        assert!(copy.entry("b").is_some());
    }

    #[test]
    fn aliases_that_multiply_are_rejected() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let below = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", vec![below; 10].join(", "));
        }
        let mut diagnostics = Diagnostics::of_file("a.yaml", &text);
        assert!(read(0, &mut diagnostics).is_none());
        assert!(diagnostics.iter().any(|diagnostic| diagnostic.message.contains("too many values")));
    }

    #[test]
    fn invalid_yaml_is_reported_with_its_span() {
        for (text, line) in
            [("a:\n  b: 1\n c: 2\n", 3), ("a: [1\nb: 2\n", 2), ("a: 1\n---\nb: 2\n", 2), ("a: !x 1\n", 1)]
        {
            let mut diagnostics = Diagnostics::of_file("a.yaml", text);
            assert!(read(0, &mut diagnostics).is_none(), "{text}");
            let spans: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.span.expect("a place").line).collect();
            assert_eq!(spans, [line], "{text} {diagnostics:?}");
        }
    }

    #[test]
    fn an_empty_file_is_an_empty_map() {
        assert!(read_valid("# nothing\n").entries().is_empty());
    }
}
