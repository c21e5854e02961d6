//! The components of a pipeline file as written: names, types and inputs, and the checks that all of them share.

use std::collections::BTreeMap;

use crate::config::deserialize::NodeDeserializer;
use crate::config::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::config::multi_error::{self, ReadOutcome};
use crate::config::node::{Entry, KeyPath, Node, ScalarValue, TextSpan, Value};
use crate::config::read_error::{ReadError, names_a_secret};
use crate::config::suggest;
use crate::diagnostic::SettingDiagnostic;

/// The section of the file that a component is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Source,
    Transform,
    Sink,
}

impl Section {
    pub(super) const ALL: [Self; 3] = [Self::Source, Self::Transform, Self::Sink];

    /// The key of the section.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Source => "sources",
            Self::Transform => "transforms",
            Self::Sink => "sinks",
        }
    }

    /// The word for one component of the section.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Transform => "transform",
            Self::Sink => "sink",
        }
    }

    /// The known types.
    pub(super) fn type_names(self) -> Vec<&'static str> {
        match self {
            Self::Source => crate::vendors::registry::names(),
            Self::Transform => crate::transform::registry::NAMES.to_vec(),
            Self::Sink => crate::sinks::registry::NAMES.to_vec(),
        }
    }
}

/// One component as written.
#[derive(Debug)]
pub(super) struct Component<'t> {
    pub(super) section: Section,
    pub(super) name: &'t str,
    /// The span of its name.
    pub(super) span: TextSpan,
    pub(super) path: KeyPath,
    pub(super) node: &'t Node,
    /// Its type; `None` if that is missing or unknown, which has been reported.
    pub(super) type_name: Option<&'static str>,
}

/// All components of the file, in its order.
pub(super) fn components<'t>(root: &'t Node, diagnostics: &mut Diagnostics) -> Vec<Component<'t>> {
    let mut components = Vec::new();
    for section in Section::ALL {
        let entries = entries_of(root, section, diagnostics);
        components.extend(entries.iter().map(|entry| component(section, entry, diagnostics)));
    }
    report_duplicate_names(&components, diagnostics);
    components
}

fn entries_of<'t>(root: &'t Node, section: Section, diagnostics: &mut Diagnostics) -> &'t [Entry] {
    let key = section.key();
    let entry = root.entry(key);
    let entries = entry.map_or(&[] as &[Entry], |entry| entry.value.entries());
    let is_known = !entry.is_some_and(|entry| diagnostics.is_dropped(entry.value.id));
    if entries.is_empty() && section != Section::Transform && is_known {
        let message = format!("the pipeline has no {key}");
        let hint = format!("add at least one {} under `{key}:`", section.noun());
        diagnostics.push(Diagnostic::error(entry.map(|entry| entry.span), key, message, hint));
    }
    entries
}

fn component<'t>(section: Section, entry: &'t Entry, diagnostics: &mut Diagnostics) -> Component<'t> {
    let path = KeyPath::default().key(section.key()).key(&entry.key);
    check_name(entry, &path, diagnostics);
    if !matches!(entry.value.value, Value::Map(_)) && !diagnostics.is_dropped(entry.value.id) {
        let message = format!("{} `{}` must be a map (`key: value`)", section.noun(), entry.key);
        let diagnostic =
            Diagnostic::error(Some(entry.value.span), &path, message, "write its settings below it, indented");
        diagnostics.push_and_drop(diagnostic.without_token(), entry.value.id);
    }
    let type_name =
        if diagnostics.is_dropped(entry.value.id) { None } else { type_of(section, entry, &path, diagnostics) };
    Component { section, name: &entry.key, span: entry.span, path, node: &entry.value, type_name }
}

/// Whether a name has only the characters of names. Reports one that does not.
pub(super) fn check_name(entry: &Entry, path: &KeyPath, diagnostics: &mut Diagnostics) -> bool {
    let allowed = |any: char| any.is_ascii_alphanumeric() || "_-.".contains(any);
    if entry.key.is_empty() || !entry.key.chars().all(allowed) {
        let message = format!("`{}` is not a valid name", entry.key);
        let hint = "use letters, digits, `_`, `-` and `.`";
        diagnostics.push(Diagnostic::error(Some(entry.span), path, message, hint));
        return false;
    }
    true
}

fn type_of(section: Section, entry: &Entry, path: &KeyPath, diagnostics: &mut Diagnostics) -> Option<&'static str> {
    let names = section.type_names();
    let Some(written) = entry.value.entry("type") else {
        let message = format!("{} `{}` has no `type`", section.noun(), entry.key);
        let hint = format!("add a line `type: ...`; {}", suggest::hint("", &names));
        diagnostics.push(Diagnostic::error(Some(entry.span), path, message, hint));
        return None;
    };
    let node = &written.value;
    let path = path.key("type");
    if diagnostics.is_dropped(node.id) {
        return None;
    }
    let Value::Scalar(scalar) = &node.value else {
        let hint = suggest::hint("", &names);
        diagnostics
            .push(Diagnostic::error(Some(node.span), &path, "the `type` must be one word", hint).without_token());
        return None;
    };
    let known = names.iter().copied().find(|name| *name == scalar.text);
    if known.is_none() {
        let found = if scalar.typed_value() == ScalarValue::Null { "null" } else { &scalar.text };
        let mut message = format!("unknown {} type `{found}`", section.noun());
        node.mask(&mut message);
        diagnostics.push(Diagnostic::error(Some(node.span), &path, message, suggest::hint(&scalar.text, &names)));
    }
    known
}

fn report_duplicate_names(components: &[Component<'_>], diagnostics: &mut Diagnostics) {
    let mut first: BTreeMap<&str, &Component<'_>> = BTreeMap::new();
    for component in components {
        let Some(other) = first.get(component.name) else {
            first.insert(component.name, component);
            continue;
        };
        let (name, noun) = (component.name, other.section.noun());
        let place = diagnostics.place_seen_from(other.span, component.span);
        let message = format!("the name `{name}` is already used by the {noun} {place}");
        let hint = "give each source, transform and sink a unique name";
        diagnostics.push(Diagnostic::error(Some(component.span), &component.path, message, hint));
    }
}

/// One entry of `inputs`, as written.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) text: String,
    /// The text for messages: `${VARIABLE}` instead of its value.
    pub(super) shown: String,
    pub(super) span: TextSpan,
    pub(super) key: String,
}

impl Input {
    pub(super) fn error(&self, message: String, hint: impl Into<String>) -> Diagnostic {
        Diagnostic::error(Some(self.span), self.key.clone(), message, hint)
    }

    /// The key of the list that contains it.
    pub(super) fn list_key(&self) -> &str {
        self.key.split('[').next().unwrap_or(&self.key)
    }
}

/// Reports the keys of a component that none of the lists contains.
pub(super) fn report_unknown_keys(component: &Component<'_>, lists: &[&[&str]], diagnostics: &mut Diagnostics) {
    let known = lists.concat();
    for entry in component.node.entries().iter().filter(|entry| !known.contains(&entry.key.as_str())) {
        let path = component.path.key(&entry.key);
        let message = format!("unknown setting `{}`", entry.key);
        if let Some(meant) = suggest::nearest(&entry.key, known.iter().copied()) {
            diagnostics.note_misspelled(component.node.id, meant);
        }
        diagnostics.push(Diagnostic::error(Some(entry.span), &path, message, suggest::hint(&entry.key, &known)));
    }
}

/// Reads the settings of a component whose names are in `fields`, and reports all their errors.
pub(super) fn read_fields<T>(
    component: &Component<'_>,
    fields: &[&str],
    diagnostics: &mut Diagnostics,
    read: impl Fn(NodeDeserializer<'_>) -> Result<T, ReadError>,
) -> ReadOutcome<T> {
    let part = component.node.with_only(|key| fields.contains(&key));
    multi_error::read_all(&Node { span: component.span, ..part }, &component.path, diagnostics, read)
}

/// Warns of secrets that are written in the file itself.
pub(super) fn warn_of_literal_secrets(component: &Component<'_>, diagnostics: &mut Diagnostics) {
    warn_of_literals_below(component.node, &component.path, diagnostics);
}

fn warn_of_literals_below(node: &Node, path: &KeyPath, diagnostics: &mut Diagnostics) {
    for entry in node.entries() {
        let path = path.key(&entry.key);
        let Value::Scalar(scalar) = &entry.value.value else {
            warn_of_literals_below(&entry.value, &path, diagnostics);
            continue;
        };
        let is_literal = scalar.written.is_none() && !scalar.text.is_empty() && !entry.value.is_null();
        if is_literal && names_a_secret(&entry.key) && !diagnostics.is_dropped(entry.value.id) {
            let message = format!("the secret `{}` is written in the file", entry.key);
            let hint = "take it from the environment, `${VARIABLE}`, or from a file, `{file: path}`";
            diagnostics.push(Diagnostic::warning(Some(entry.value.span), &path, message, hint).without_token());
        }
    }
}

/// Reports the diagnostics of a vendor, transform or sink with their spans. If a setting was skipped (`clean` is false),
/// diagnostics of absent settings are dropped, since they may be consequences.
pub(super) fn report_setting_diagnostics(
    component: &Component<'_>,
    reported: &[SettingDiagnostic],
    severity: Severity,
    clean: bool,
    diagnostics: &mut Diagnostics,
) {
    for reported in reported {
        let span = match component.node.entry_at(&reported.key) {
            Some(entry) if diagnostics.is_dropped(entry.value.id) => continue,
            Some(entry) => entry.value.span,
            None if !clean => continue,
            None => component.span,
        };
        let (mut message, mut hint) = (reported.message.clone(), reported.hint.clone());
        component.node.mask(&mut message);
        component.node.mask(&mut hint);
        let key = if reported.key.is_empty() { component.path.clone() } else { component.path.key(&reported.key) };
        let diagnostic = Diagnostic::error(Some(span), &key, message, hint).with_severity(severity);
        diagnostics.push(if names_a_secret(&reported.key) { diagnostic.without_token() } else { diagnostic });
    }
}

/// The inputs of a transform or sink: a list of names and patterns, or a single one.
pub(super) fn inputs(component: &Component<'_>, diagnostics: &mut Diagnostics) -> Vec<Input> {
    if diagnostics.is_dropped(component.node.id) {
        return Vec::new();
    }
    let Some(entry) = component.node.entry("inputs") else {
        if !diagnostics.is_misspelled(component.node.id, "inputs") {
            report_no_inputs(component, Some(component.span), diagnostics);
        }
        return Vec::new();
    };
    let path = component.path.key("inputs");
    let written: Vec<_> = match &entry.value.value {
        Value::List(items) => items.iter().enumerate().map(|(index, item)| (path.index(index), item)).collect(),
        Value::Scalar(_) if !entry.value.is_null() => vec![(path, &entry.value)],
        Value::Scalar(_) => Vec::new(),
        Value::Map(_) => {
            let hint = "write `inputs: [name, other_*]`";
            let diagnostic = Diagnostic::error(Some(entry.value.span), &path, "`inputs` must be a list of names", hint);
            diagnostics.push(diagnostic.without_token());
            return Vec::new();
        }
    };
    if written.is_empty() {
        report_no_inputs(component, Some(entry.span), diagnostics);
    }
    written.into_iter().filter_map(|(path, item)| input(&path, item, diagnostics)).collect()
}

fn input(path: &KeyPath, item: &Node, diagnostics: &mut Diagnostics) -> Option<Input> {
    if diagnostics.is_dropped(item.id) {
        return None;
    }
    let Value::Scalar(scalar) = &item.value else {
        let hint = "write the name of a source or transform, or a pattern such as `acme_*`";
        diagnostics.push(Diagnostic::error(Some(item.span), path, "an input must be a name", hint).without_token());
        return None;
    };
    let shown = scalar.written.as_ref().unwrap_or(&scalar.text).clone();
    Some(Input { text: scalar.text.clone(), shown, span: item.span, key: path.into() })
}

fn report_no_inputs(component: &Component<'_>, span: Option<TextSpan>, diagnostics: &mut Diagnostics) {
    let message = format!("{} `{}` has no inputs", component.section.noun(), component.name);
    let hint = "name the sources or transforms to read: `inputs: [name, other_*]`";
    diagnostics.push(Diagnostic::error(span, &component.path.key("inputs"), message, hint));
}
