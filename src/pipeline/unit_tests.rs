//! The checks of `tests:`, against the components of the file. They are kept apart from the checks of the pipeline: a mistake in a
//! test must not keep the pipeline from running.

use std::path::Path;

use super::validated::{ComponentKind, WiredComponent};
use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::node::{KeyPath, Node, TextSpan, Value};
use crate::config::unit_test::{SECTION, TestInput, TestOutput, UnitTest};
use crate::config::{multi_error, suggest};
use crate::time::Timestamp;
use crate::transform::condition::Condition;

/// Reads and checks the tests of a file. Relative paths start in `directory`. Mistakes go to `diagnostics`.
pub(super) fn read(
    node: &Node,
    directory: &Path,
    components: &[WiredComponent],
    diagnostics: &mut Diagnostics,
) -> Vec<UnitTest> {
    let path = KeyPath::default().key(SECTION);
    if node.is_null() {
        return Vec::new();
    }
    let read = multi_error::read_type::<Vec<UnitTest>>(node, &path, diagnostics);
    let Some(mut tests) = read.complete() else { return Vec::new() };
    for input in tests.iter_mut().flat_map(|test| &mut test.inputs) {
        input.file = input.file.take().map(|file| directory.join(file));
    }
    let items: &[Node] = if let Value::List(items) = &node.value { items } else { &[] };
    for (test, item) in tests.iter_mut().zip(items) {
        test.file = diagnostics.file_name(item.span).to_owned();
        test.line = item.span.line;
    }
    let mut check = Check { components, diagnostics };
    for (index, test) in tests.iter().enumerate() {
        check.test(test, &Place { node, path: path.clone(), span: node.span }.item(index));
    }
    tests
}

/// A value of the file.
struct Place<'n> {
    node: &'n Node,
    path: KeyPath,
    span: TextSpan,
}

impl<'n> Place<'n> {
    /// A setting of a map; the map itself if it is absent.
    fn setting(&self, key: &str) -> Self {
        let node = self.node.entry(key).map_or(self.node, |entry| &entry.value);
        Self { node, path: self.path.key(key), span: node.span }
    }

    /// An item of a list.
    fn item(&self, index: usize) -> Self {
        let node: &'n Node = match &self.node.value {
            Value::List(items) => items.get(index).unwrap_or(self.node),
            _ => self.node,
        };
        Self { node, path: self.path.index(index), span: node.span }
    }
}

struct Check<'c, 'd> {
    components: &'c [WiredComponent],
    diagnostics: &'d mut Diagnostics,
}

impl Check<'_, '_> {
    fn error(&mut self, place: &Place<'_>, message: impl Into<String>, hint: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(Some(place.span), &place.path, message, hint));
    }

    fn test(&mut self, test: &UnitTest, place: &Place<'_>) {
        if test.inputs.is_empty() {
            self.error(&place.setting("inputs"), "the test has no inputs", "add `- insert_at: SOURCE` and its `raw`");
        }
        if test.outputs.is_empty() && test.no_outputs_from.is_empty() {
            self.error(place, "the test expects nothing", "add `outputs` or `no_outputs_from`");
        }
        let (inputs, outputs) = (place.setting("inputs"), place.setting("outputs"));
        for (index, input) in test.inputs.iter().enumerate() {
            self.input(input, &inputs.item(index));
        }
        for (index, output) in test.outputs.iter().enumerate() {
            self.output(output, &outputs.item(index));
        }
        let silent = place.setting("no_outputs_from");
        for (index, name) in test.no_outputs_from.iter().enumerate() {
            self.name(name, |kind| kind != ComponentKind::Source, "transform or sink", &silent.item(index));
        }
    }

    fn input(&mut self, input: &TestInput, place: &Place<'_>) {
        self.name(&input.insert_at, |kind| kind == ComponentKind::Source, "source", &place.setting("insert_at"));
        if input.raw.is_some() == input.file.is_some() {
            self.error(place, "an input needs either `raw` or `file`", "write the vendor's record under `raw`");
        }
        let is_time = |text: &String| Timestamp::parse_rfc3339(text).is_some();
        if input.observed_at.as_ref().is_some_and(|text| !is_time(text)) {
            self.error(&place.setting("observed_at"), "this is not a time", "write it like 2026-01-31T00:00:00Z");
        }
    }

    fn output(&mut self, output: &TestOutput, place: &Place<'_>) {
        let of_sink = output.destinations.is_some();
        let (is_meant, noun): (fn(ComponentKind) -> bool, _) = match of_sink {
            true => (|kind| kind == ComponentKind::Sink, "sink"),
            false => (|kind| kind != ComponentKind::Source, "transform or sink"),
        };
        self.name(&output.extract_from, is_meant, noun, &place.setting("extract_from"));
        let conditions = place.setting("conditions");
        for (index, condition) in output.conditions.iter().enumerate() {
            for mistake in Condition::compile(condition).err().into_iter().flatten() {
                let column = condition.get(..mistake.span.start).map_or(1, |before| before.chars().count() + 1);
                let message = format!("{} (character {column} of the condition)", mistake.message);
                self.error(&conditions.item(index), message, "docs/filter.md has the language");
            }
        }
    }

    fn name(&mut self, name: &str, is_meant: impl Fn(ComponentKind) -> bool, noun: &str, place: &Place<'_>) {
        let known = self.components.iter().filter(|component| is_meant(component.kind));
        let known: Vec<&str> = known.map(|component| component.name.as_str()).collect();
        if !known.contains(&name) {
            let hint = suggest::hint(name, &known);
            self.error(place, format!("there is no {noun} called `{name}`"), hint);
        }
    }
}
