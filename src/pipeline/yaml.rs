//! From YAML text to the tree of places.
//!
//! ```text
//! text --> parser events with spans --> Node tree
//!                                         duplicate keys, syntax errors: problems with their place
//! ```
//!
//! Only the parser's events know every place, quoting and second use of a key, so the tree is built from them rather
//! than through serde. Left out on purpose: tags (`!!int`), merge keys (`<<`) and several documents in one file.

use std::collections::{HashMap, HashSet};

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::node::{Entry, Node, NodeId, Place, Scalar, Value};
use super::path::KeyPath;
use super::problem::{Finding, Findings};

/// How many nodes a file may have, repeated aliases included: far more than any pipeline, and a bound against files
/// whose aliases multiply.
const MOST_NODES: usize = 20_000;
/// How deep lists and maps may be nested.
const DEEPEST: usize = 32;

/// Reads the text. What is wrong goes to `findings`; `None` if the text is not YAML at all. An empty file is an empty
/// map.
pub(super) fn read(text: &str, findings: &mut Findings) -> Option<Node> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder { parser, findings, anchors: HashMap::new(), nodes: 0 };
    match builder.document() {
        Ok(node) => Some(node),
        Err(finding) => {
            builder.findings.push(*finding);
            None
        }
    }
}

type Outcome<T> = Result<T, Box<Finding>>;

struct Builder<'t, 'f> {
    parser: Parser<'t, StrInput<'t>>,
    findings: &'f mut Findings,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'t> Builder<'t, '_> {
    fn document(&mut self) -> Outcome<Node> {
        let mut root = None;
        loop {
            let (event, span) = self.next_event()?;
            match event {
                Event::StreamEnd => return Ok(root.unwrap_or_else(empty_map)),
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(syntax(place_of(&span), "a second document begins here", "keep one document a file"));
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => root = Some(self.node(event, span, &KeyPath::default())?),
            }
        }
    }

    fn next_event(&mut self) -> Outcome<(Event<'t>, Span)> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(scan_error(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, path: &KeyPath) -> Outcome<Node> {
        let place = place_of(&span);
        if path.depth() > DEEPEST {
            return Err(syntax(place, "nested too deep", "no setting is nested this deep; check the indentation"));
        }
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(place, tag.is_some())?;
                let plain = style == ScalarStyle::Plain;
                (Value::Scalar(Scalar { text: text.into_owned(), plain, written: None }), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                refuse_tag(place, tag.is_some())?;
                (Value::List(self.items(path)?), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                refuse_tag(place, tag.is_some())?;
                (Value::Map(self.entries(path)?), anchor)
            }
            Event::Alias(anchor) => return self.alias(anchor, place),
            _ => return Err(syntax(place, "a value is missing here", "")),
        };
        let node = Node { id: self.next_id(place)?, place, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn items(&mut self, path: &KeyPath) -> Outcome<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next_event()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(items);
            }
            items.push(self.node(event, span, &path.index(items.len()))?);
        }
    }

    fn entries(&mut self, path: &KeyPath) -> Outcome<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: HashSet<String> = HashSet::new();
        loop {
            let (event, span) = self.next_event()?;
            let place = place_of(&span);
            let key = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(key, ..) => key.into_owned(),
                _ => return Err(syntax(place, "a key must be a plain word", "write `key: value`")),
            };
            let (event, span) = self.next_event()?;
            let path_of_value = path.key(&key);
            let value = self.node(event, span, &path_of_value)?;
            if let Some((before, _)) = key.split_once(':') {
                self.findings.push(no_blank(before, &path.key(before), place));
                continue;
            }
            if seen.insert(key.clone()) {
                entries.push(Entry { key, place, value });
            } else {
                self.duplicate(&entries, &key, &path_of_value, place);
            }
        }
    }

    fn duplicate(&mut self, entries: &[Entry], key: &str, path: &KeyPath, place: Place) {
        let first = entries.iter().find(|entry| entry.key == key).map_or(0, |entry| entry.place.line);
        let message = format!("the key `{key}` is here a second time; the first is in line {first}");
        self.findings.push(Finding::error(Some(place), path, message, "keep one of the two"));
    }

    /// A copy of the node that the alias names, standing where the alias stands. It gets numbers of its own.
    fn alias(&mut self, anchor: usize, place: Place) -> Outcome<Node> {
        let Some(mut node) = self.anchors.get(&anchor).cloned() else {
            return Err(syntax(place, "this alias stands inside the value it names", "write the value out"));
        };
        self.renumber(&mut node)?;
        node.place = place;
        Ok(node)
    }

    fn renumber(&mut self, node: &mut Node) -> Outcome<()> {
        node.id = self.next_id(node.place)?;
        match &mut node.value {
            Value::Scalar(_) => Ok(()),
            Value::List(items) => items.iter_mut().try_for_each(|item| self.renumber(item)),
            Value::Map(entries) => entries.iter_mut().try_for_each(|entry| self.renumber(&mut entry.value)),
        }
    }

    fn next_id(&mut self, place: Place) -> Outcome<NodeId> {
        self.nodes += 1;
        match NodeId::try_from(self.nodes) {
            Ok(id) if self.nodes <= MOST_NODES => Ok(id),
            _ => Err(syntax(place, "the file has too many values", "a pipeline file has at most 20,000 values")),
        }
    }
}

/// `{token:abc}` is one key to YAML. What stands after the colon was meant as a value, and so may be a secret.
fn no_blank(before: &str, path: &KeyPath, place: Place) -> Finding {
    let message = format!("there is no blank after the colon of `{before}`");
    Finding::error(Some(place), path, message, format!("write `{before}: value`")).without_token()
}

fn refuse_tag(place: Place, tagged: bool) -> Outcome<()> {
    if tagged {
        Err(syntax(
            place,
            "tags are not used in pipeline files",
            "leave the `!` word out, or put the whole value between quotes",
        ))
    } else {
        Ok(())
    }
}

fn empty_map() -> Node {
    Node { id: 0, place: Place { line: 1, column: 1, width: 1 }, value: Value::Map(Vec::new()) }
}

fn place_of(span: &Span) -> Place {
    let same_line = span.start.line() == span.end.line();
    let width = if same_line { span.end.col().saturating_sub(span.start.col()) } else { 1 };
    Place { line: span.start.line().max(1), column: span.start.col() + 1, width: width.max(1) }
}

fn scan_error(error: &ScanError) -> Box<Finding> {
    let marker = error.marker();
    let place = Place { line: marker.line().max(1), column: marker.col() + 1, width: 1 };
    syntax(
        place,
        &format!("this is not YAML: {}", error.info()),
        "check the indentation, colons and quotes around here",
    )
}

fn syntax(place: Place, message: &str, hint: &str) -> Box<Finding> {
    Box::new(Finding::error(Some(place), "", message, hint).without_token())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_well(text: &str) -> Node {
        let mut findings = Findings::default();
        let node = read(text, &mut findings).expect("YAML");
        assert!(findings.is_empty(), "{findings:?}");
        node
    }

    #[test]
    fn keys_and_values_know_their_places() {
        let root = read_well("a: 1\nb:\n  - x\n  - {c: 'two words'}\n");
        let entry = root.entry("b").expect("b");
        assert_eq!(entry.place, Place { line: 2, column: 1, width: 1 });
        let Value::List(items) = &entry.value.value else { panic!("a list") };
        assert_eq!(items[0].place, Place { line: 3, column: 5, width: 1 });
        assert_eq!(items[1].entry("c").expect("c").value.place, Place { line: 4, column: 9, width: 11 });
    }

    #[test]
    fn every_duplicate_key_is_reported() {
        let mut findings = Findings::default();
        read("a: 1\na: 2\nb: {c: 1, c: 2}\na: 3\n", &mut findings).expect("YAML");
        let lines: Vec<_> = findings.iter().map(|finding| finding.place.expect("a place").line).collect();
        assert_eq!(lines, [2, 3, 4]);
    }

    #[test]
    fn an_alias_is_a_copy_at_its_own_place() {
        let root = read_well("a: &x {b: 1}\nc: *x\n");
        let copy = &root.entry("c").expect("c").value;
        assert_eq!(copy.place.line, 2);
        assert_ne!(copy.id, root.entry("a").expect("a").value.id);
        assert!(copy.entry("b").is_some());
    }

    #[test]
    fn aliases_that_multiply_are_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let below = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", vec![below; 10].join(", "));
        }
        let mut findings = Findings::default();
        assert!(read(&text, &mut findings).is_none());
        assert!(findings.iter().any(|finding| finding.message.contains("too many values")));
    }

    #[test]
    fn what_is_not_yaml_is_reported_at_its_place() {
        for (text, line) in
            [("a:\n  b: 1\n c: 2\n", 3), ("a: [1\nb: 2\n", 2), ("a: 1\n---\nb: 2\n", 2), ("a: !x 1\n", 1)]
        {
            let mut findings = Findings::default();
            assert!(read(text, &mut findings).is_none(), "{text}");
            let places: Vec<_> = findings.iter().map(|finding| finding.place.expect("a place").line).collect();
            assert_eq!(places, [line], "{text} {findings:?}");
        }
    }

    #[test]
    fn an_empty_file_is_an_empty_map() {
        assert!(read_well("# nothing\n").entries().is_empty());
    }
}
