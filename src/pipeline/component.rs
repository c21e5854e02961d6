//! What the checks of sources, transforms and sinks share.

use super::collect_all::{self, Outcome};
use super::definition::Component;
use super::deserialize::Reader;
use super::graph::InputAsWritten;
use super::node::{Node, Place, Value};
use super::path::KeyPath;
use super::problem::{Finding, Findings, Severity};
use super::read_error::{ReadError, names_a_secret};
use super::suggest;
use crate::diagnostic::SettingDiagnostic;

/// Reports the keys of a component that are in none of the lists.
pub(super) fn report_unknown_keys(component: &Component<'_>, lists: &[&[&str]], findings: &mut Findings) {
    let known = lists.concat();
    for entry in component.node.entries().iter().filter(|entry| !known.contains(&entry.key.as_str())) {
        let path = component.path.key(&entry.key);
        let message = format!("unknown setting `{}`", entry.key);
        if let Some(meant) = suggest::nearest(&entry.key, known.iter().copied()) {
            findings.note_misspelt(component.node.id, meant);
        }
        findings.push(Finding::error(Some(entry.place), &path, message, suggest::hint(&entry.key, &known)));
    }
}

/// Reads those settings of a component whose names are among `fields`, with all their mistakes.
pub(super) fn read_fields<T>(
    component: &Component<'_>,
    fields: &[&str],
    findings: &mut Findings,
    read: impl Fn(Reader<'_>) -> Result<T, ReadError>,
) -> Outcome<T> {
    let part = component.node.with_only(|key| fields.contains(&key));
    collect_all::read_all(&Node { place: component.place, ..part }, &component.path, findings, read)
}

/// Places what a component's own check found. If a setting had to be left out (`clean` is false), only what is said of
/// settings that are there counts: the rest may be a consequence.
pub(super) fn report_problems(
    component: &Component<'_>,
    problems: &[SettingDiagnostic],
    severity: Severity,
    clean: bool,
    findings: &mut Findings,
) {
    for problem in problems {
        let place = match component.node.entry_at(&problem.key) {
            Some(entry) if findings.is_dropped(entry.value.id) => continue,
            Some(entry) => entry.value.place,
            None if !clean => continue,
            None => component.place,
        };
        let (mut message, mut hint) = (problem.message.clone(), problem.hint.clone());
        component.node.mask(&mut message);
        component.node.mask(&mut hint);
        let key = if problem.key.is_empty() { component.path.clone() } else { component.path.key(&problem.key) };
        let finding = Finding { severity, ..Finding::error(Some(place), &key, message, hint) };
        findings.push(if names_a_secret(&problem.key) { finding.without_token() } else { finding });
    }
}

/// The inputs of a transform or sink: a list of names and globs, or one of them alone.
pub(super) fn inputs(component: &Component<'_>, findings: &mut Findings) -> Vec<InputAsWritten> {
    if findings.is_dropped(component.node.id) {
        return Vec::new();
    }
    let Some(entry) = component.node.entry("inputs") else {
        if !findings.is_misspelt(component.node.id, "inputs") {
            report_no_inputs(component, Some(component.place), findings);
        }
        return Vec::new();
    };
    let path = component.path.key("inputs");
    let written: Vec<_> = match &entry.value.value {
        Value::List(items) => items.iter().enumerate().map(|(index, item)| (path.index(index), item)).collect(),
        Value::Scalar(_) if !entry.value.is_nothing() => vec![(path, &entry.value)],
        Value::Scalar(_) => Vec::new(),
        Value::Map(_) => {
            let hint = "write `inputs: [name, other_*]`";
            let finding = Finding::error(Some(entry.value.place), &path, "`inputs` must be a list of names", hint);
            findings.push(finding.without_token());
            return Vec::new();
        }
    };
    if written.is_empty() {
        report_no_inputs(component, Some(entry.place), findings);
    }
    written.into_iter().filter_map(|(path, item)| input(&path, item, findings)).collect()
}

fn input(path: &KeyPath, item: &Node, findings: &mut Findings) -> Option<InputAsWritten> {
    if findings.is_dropped(item.id) {
        return None;
    }
    let Value::Scalar(scalar) = &item.value else {
        let hint = "write the name of a source or transform, or a pattern such as `acme_*`";
        findings.push(Finding::error(Some(item.place), path, "an input must be a name", hint).without_token());
        return None;
    };
    let shown = scalar.written.as_ref().unwrap_or(&scalar.text).clone();
    Some(InputAsWritten { text: scalar.text.clone(), shown, place: item.place, key: path.into() })
}

fn report_no_inputs(component: &Component<'_>, place: Option<Place>, findings: &mut Findings) {
    let message = format!("{} `{}` has no inputs", component.kind.noun(), component.name);
    let hint = "name the sources or transforms that it reads: `inputs: [name, other_*]`";
    findings.push(Finding::error(place, &component.path.key("inputs"), message, hint));
}
