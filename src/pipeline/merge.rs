//! Several files as one pipeline: the union of their components, and of the settings of the process.
//!
//! ```text
//! a.yaml: data_dir, sources {x} --+
//!                                 +--> data_dir, sources {x, y}       a name, or another value, given twice: both places
//! b.yaml: sources {y} ------------+
//! ```

use std::collections::HashMap;

use super::component::Section;
use super::files::ReadFiles;
use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::node::{Entry, KeyPath, Node, TextSpan, Value};
use crate::config::settings::Settings;
use crate::config::source_list::SOURCES_FROM;
use crate::sinks::claims::real_path;

/// Joins files that are maps, and reports what two of them have. Unknown keys are left out.
pub(super) fn merge(files: Vec<Node>, read: &ReadFiles, diagnostics: &mut Diagnostics) -> Node {
    let span = files.first().map_or(TextSpan { file: 0, line: 1, column: 1, width: 1 }, |file| file.span);
    let mut merger = Merger { entries: Vec::new(), names: HashMap::new(), read, diagnostics };
    for entry in files.into_iter().flat_map(|file| match file.value {
        Value::Map(entries) => entries,
        Value::Scalar(_) | Value::List(_) => Vec::new(),
    }) {
        merger.add(entry);
    }
    let entries = merger.entries;
    Node { id: diagnostics.new_node(), span, value: Value::Map(entries) }
}

struct Merger<'m> {
    entries: Vec<Entry>,
    /// The first place of each name, by section.
    names: HashMap<(&'static str, String), TextSpan>,
    read: &'m ReadFiles,
    diagnostics: &'m mut Diagnostics,
}

impl Merger<'_> {
    fn add(&mut self, mut entry: Entry) {
        let lists = (SOURCES_FROM, "list of sources");
        let mut sections = Section::ALL.map(|section| (section.key(), section.noun())).into_iter().chain([lists]);
        let section = sections.find(|(key, _)| *key == entry.key);
        match section {
            _ if entry.value.is_null() => return,
            Some((key, noun)) => self.check_section(key, noun, &mut entry),
            None if Settings::NAMES.contains(&entry.key.as_str()) => {}
            None => return,
        }
        match self.entries.iter_mut().find(|first| first.key == entry.key) {
            None => self.entries.push(entry),
            Some(first) if section.is_some() => append(first, entry, self.diagnostics),
            Some(first) => merge_setting(first, entry, &KeyPath::default(), self.read, self.diagnostics),
        }
    }

    /// Reports what is not a map of components, and components whose names are taken. Removes both.
    fn check_section(&mut self, key: &'static str, noun: &str, entry: &mut Entry) {
        let Value::Map(components) = &mut entry.value.value else {
            if !self.diagnostics.is_dropped(entry.value.id) {
                let message = format!("`{key}` must be a map of names to settings");
                let hint = format!("write the name of a {noun} with a colon, and its settings below it");
                let error = Diagnostic::error(Some(entry.value.span), key, message, hint).without_token();
                self.diagnostics.push_and_drop(error, entry.value.id);
            }
            entry.value.value = Value::Map(Vec::new());
            return;
        };
        components.retain(|component| {
            let first = *self.names.entry((key, component.key.clone())).or_insert(component.span);
            if first != component.span {
                let path = KeyPath::default().key(key).key(&component.key);
                self.diagnostics.push(duplicate(component, first, &path, self.diagnostics));
            }
            first == component.span
        });
    }
}

/// Two components have one name.
pub(super) fn duplicate(component: &Entry, first: TextSpan, path: &KeyPath, diagnostics: &Diagnostics) -> Diagnostic {
    let place = diagnostics.place_seen_from(first, component.span);
    let message = format!("duplicate name `{}`; the first is {place}", component.key);
    Diagnostic::error(Some(component.span), path, message, "remove one of the two, or give it another name")
}

/// Adds the components of a section to those of earlier files.
fn append(first: &mut Entry, entry: Entry, diagnostics: &mut Diagnostics) {
    if diagnostics.is_dropped(entry.value.id) {
        diagnostics.skip(first.value.id);
    }
    if let (Value::Map(components), Value::Map(more)) = (&mut first.value.value, entry.value.value) {
        components.extend(more);
    }
}

/// Joins a setting of the process with that of an earlier file: key by key if it is a map, else both must say the same.
fn merge_setting(first: &mut Entry, entry: Entry, path: &KeyPath, read: &ReadFiles, diagnostics: &mut Diagnostics) {
    let path = path.key(&entry.key);
    if let (Value::Map(settings), Value::Map(_)) = (&mut first.value.value, &entry.value.value) {
        let Value::Map(more) = entry.value.value else { return };
        for entry in more {
            match settings.iter_mut().find(|first| first.key == entry.key) {
                None => settings.push(entry),
                Some(first) => merge_setting(first, entry, &path, read, diagnostics),
            }
        }
        return;
    }
    if !says_the_same(first, &entry, read) {
        let place = diagnostics.place_seen_from(first.value.span, entry.value.span);
        let message = format!("`{path}` has another value {place}");
        let hint = match entry.key.as_str() {
            "data_dir" => "remove one of the two; a relative path starts in the directory of its own file",
            _ => "remove one of the two, or write the same value",
        };
        diagnostics.push(Diagnostic::error(Some(entry.value.span), &path, message, hint));
    }
}

fn says_the_same(first: &Entry, entry: &Entry, read: &ReadFiles) -> bool {
    let (Value::Scalar(one), Value::Scalar(other)) = (&first.value.value, &entry.value.value) else {
        return first.value.digest() == entry.value.digest();
    };
    if entry.key == "data_dir" {
        // Each is relative to its own file.
        let path = |text: &str, span| real_path(&read.directory(span).join(text));
        return path(&one.text, first.value.span) == path(&other.text, entry.value.span);
    }
    one.coerced_value() == other.coerced_value()
}
