//! The transforms of a pipeline file, checked.

use std::collections::BTreeMap;

use super::component;
use super::definition::Component;
use super::fields::fields_of;
use super::node::{Node, Value};
use super::problem::{Finding, Findings};
use super::spot::Spots;
use super::suggest;
use crate::transform::condition::{Condition, ConditionDiagnostic, Hint};
use crate::transform::filter;
use crate::transform::registry::TransformConfig;

const ALWAYS: &[&str] = &["type", "inputs"];

/// The conditions of the filters without anything wrong, by the filters' names.
pub(super) type Filters<'t> = BTreeMap<&'t str, Condition>;

/// Checks a transform's settings; returns its condition if it is a filter and nothing in it is wrong. `text` is the file's,
/// in which places inside a condition are looked up.
pub(super) fn check(component: &Component<'_>, text: &str, findings: &mut Findings) -> Option<Condition> {
    let name = component.type_name?;
    let own_fields = fields_of(|probe| TransformConfig::read(name, probe).transpose());
    component::report_unknown_keys(component, &[ALWAYS, own_fields], findings);
    let read = component::read_fields(component, own_fields, findings, |reader| {
        TransformConfig::read(name, reader).transpose()
    });
    match read.whole().flatten()? {
        TransformConfig::Normalize(_) => None,
        TransformConfig::Filter(config) => compile(component, &config, text, findings),
    }
}

fn compile(
    component: &Component<'_>,
    config: &filter::Config,
    text: &str,
    findings: &mut Findings,
) -> Option<Condition> {
    let entry = component.node.entry("condition")?;
    let spots = Spots::of(&entry.value, text);
    let swallowing = swallowing_comments(&config.condition, spots.as_ref());
    let mistakes = match config.compile() {
        _ if !swallowing.is_empty() => swallowing,
        Ok(condition) => return Some(condition),
        Err(mistakes) => mistakes,
    };
    for mistake in mistakes {
        findings.push(finding(component, &entry.value, spots.as_ref(), &config.condition, mistake));
    }
    None
}

/// Comments to which YAML has joined the lines below them, as it does in a block behind `>` and in plain text: a part of
/// the condition would be lost without a word.
fn swallowing_comments(condition: &str, spots: Option<&Spots>) -> Vec<ConditionDiagnostic> {
    let comments = Condition::comments(condition).into_iter();
    let swallowing = comments.filter(|comment| spots.is_some_and(|spots| spots.is_on_several_lines(comment.clone())));
    let mistake = |comment| ConditionDiagnostic {
        span: comment,
        message: "YAML joins this comment with the lines below it, which would be a part of the comment".to_owned(),
        hint: Hint::Text("begin the condition with `|` in place of `>`, or take the comment out".to_owned()),
    };
    swallowing.map(mistake).collect()
}

fn finding(
    component: &Component<'_>,
    node: &Node,
    spots: Option<&Spots>,
    condition: &str,
    mistake: ConditionDiagnostic,
) -> Finding {
    let key = component.path.key("condition");
    let hint = match &mistake.hint {
        Hint::Text(text) => text.clone(),
        Hint::OneOf { word, known } => suggest::hint(word, known),
    };
    if let Some(place) = spots.and_then(|spots| spots.place(mistake.span.clone())) {
        return Finding::error(Some(place), &key, mistake.message, hint);
    }
    let column = condition.get(..mistake.span.start).map_or(1, |before| before.chars().count() + 1);
    let message = match written_by_hand(node, condition, &mistake) {
        true => format!("{} (character {column} of the condition)", mistake.message),
        false => format!("the condition is wrong at character {column}, once its variables are filled in"),
    };
    let finding = Finding::error(Some(node.place), &key, message, hint);
    if matches!(&node.value, Value::Scalar(scalar) if scalar.written.is_some()) {
        return finding.without_token();
    }
    finding
}

/// Whether what stands at the mistake's place is in the file, and did not come from a variable: messages quote it.
fn written_by_hand(node: &Node, condition: &str, mistake: &ConditionDiagnostic) -> bool {
    let Value::Scalar(scalar) = &node.value else { return true };
    let Some(written) = &scalar.written else { return true };
    condition.get(mistake.span.clone()).is_none_or(|quoted| written.contains(quoted))
}
