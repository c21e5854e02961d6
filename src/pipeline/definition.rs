//! The components of a pipeline file: their names, types and inputs, as written.

use std::collections::BTreeMap;

use super::node::{Entry, Form, Node, Place, Value};
use super::path::KeyPath;
use super::problem::{Finding, Findings};
use super::suggest;

/// The three kinds of components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Source,
    Transform,
    Sink,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Source, Self::Transform, Self::Sink];

    /// The key of the file under which they stand.
    pub(super) fn section(self) -> &'static str {
        match self {
            Self::Source => "sources",
            Self::Transform => "transforms",
            Self::Sink => "sinks",
        }
    }

    /// One of them, in messages.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Transform => "transform",
            Self::Sink => "sink",
        }
    }

    /// The types that exist.
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
    pub(super) kind: Kind,
    pub(super) name: &'t str,
    /// Where its name stands.
    pub(super) place: Place,
    pub(super) path: KeyPath,
    pub(super) node: &'t Node,
    /// Its type; `None` if that is missing or unknown, which has been reported.
    pub(super) type_name: Option<&'static str>,
}

/// All components of the file, in its order.
pub(super) fn components<'t>(root: &'t Node, findings: &mut Findings) -> Vec<Component<'t>> {
    let mut components = Vec::new();
    for kind in Kind::ALL {
        let entries = section(root, kind, findings);
        components.extend(entries.iter().map(|entry| component(kind, entry, findings)));
    }
    report_shared_names(&components, findings);
    components
}

fn section<'t>(root: &'t Node, kind: Kind, findings: &mut Findings) -> &'t [Entry] {
    let section = kind.section();
    let entry = root.entry(section).filter(|entry| !entry.value.is_nothing());
    if let Some(entry) = entry
        && !matches!(entry.value.value, Value::Map(_))
        && !findings.is_dropped(entry.value.id)
    {
        let message = format!("`{section}` must hold settings by name");
        let hint = format!("write the name of a {} with a colon, and its settings below it", kind.noun());
        findings.push(Finding::error(Some(entry.value.place), section, message, hint).without_token());
        return &[];
    }
    let entries = entry.map_or(&[] as &[Entry], |entry| entry.value.entries());
    if entries.is_empty() && kind != Kind::Transform {
        let message = format!("the pipeline has no {section}");
        let hint = format!("add at least one {} under `{section}:`", kind.noun());
        findings.push(Finding::error(entry.map(|entry| entry.place), section, message, hint));
    }
    entries
}

fn component<'t>(kind: Kind, entry: &'t Entry, findings: &mut Findings) -> Component<'t> {
    let path = KeyPath::default().key(kind.section()).key(&entry.key);
    check_name(entry, &path, findings);
    if !matches!(entry.value.value, Value::Map(_)) && !findings.is_dropped(entry.value.id) {
        let message = format!("{} `{}` must hold settings (`key: value`)", kind.noun(), entry.key);
        let finding = Finding::error(Some(entry.value.place), &path, message, "write its settings below it, indented");
        findings.push_and_drop(finding.without_token(), entry.value.id);
    }
    let type_name = if findings.is_dropped(entry.value.id) { None } else { type_of(kind, entry, &path, findings) };
    Component { kind, name: &entry.key, place: entry.place, path, node: &entry.value, type_name }
}

fn check_name(entry: &Entry, path: &KeyPath, findings: &mut Findings) {
    let allowed = |any: char| any.is_ascii_alphanumeric() || "_-.".contains(any);
    if entry.key.is_empty() || !entry.key.chars().all(allowed) {
        let message = format!("`{}` cannot be a name", entry.key);
        let hint = "a name is made of letters, digits, `_`, `-` and `.`";
        findings.push(Finding::error(Some(entry.place), path, message, hint));
    }
}

fn type_of(kind: Kind, entry: &Entry, path: &KeyPath, findings: &mut Findings) -> Option<&'static str> {
    let names = kind.type_names();
    let Some(written) = entry.value.entry("type") else {
        let message = format!("{} `{}` has no `type`", kind.noun(), entry.key);
        let hint = format!("add a line `type: ...`; {}", suggest::hint("", &names));
        findings.push(Finding::error(Some(entry.place), path, message, hint));
        return None;
    };
    let node = &written.value;
    let path = path.key("type");
    if findings.is_dropped(node.id) {
        return None;
    }
    let Value::Scalar(scalar) = &node.value else {
        let hint = suggest::hint("", &names);
        findings.push(Finding::error(Some(node.place), &path, "the `type` must be one word", hint).without_token());
        return None;
    };
    let known = names.iter().copied().find(|name| *name == scalar.text);
    if known.is_none() {
        let found = if scalar.form() == Form::Nothing { "nothing" } else { &scalar.text };
        let mut message = format!("unknown type of {}: `{found}`", kind.noun());
        node.mask(&mut message);
        findings.push(Finding::error(Some(node.place), &path, message, suggest::hint(&scalar.text, &names)));
    }
    known
}

fn report_shared_names(components: &[Component<'_>], findings: &mut Findings) {
    let mut first: BTreeMap<&str, &Component<'_>> = BTreeMap::new();
    for component in components {
        let Some(other) = first.get(component.name) else {
            first.insert(component.name, component);
            continue;
        };
        let (name, noun, line) = (component.name, other.kind.noun(), other.place.line);
        let message = format!("the name `{name}` is taken by the {noun} in line {line}");
        let hint = "give each source, transform and sink a name of its own";
        findings.push(Finding::error(Some(component.place), &component.path, message, hint));
    }
}
