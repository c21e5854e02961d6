//! The checks of the transforms of a pipeline file.

use std::collections::BTreeMap;
use std::path::Path;

use super::component::{self, Component};
use super::own_paths;
use crate::config::deserialize::field_names;
use crate::config::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::config::node::{Node, Value};
use crate::config::spans::ValueSpans;
use crate::config::suggest;
use crate::sinks::claims::OwnPath;
use crate::transform::condition::{Condition, ConditionDiagnostic, Hint};
use crate::transform::redact::Redactions;
use crate::transform::registry::TransformConfig;
use crate::transform::{filter, redact};

const GENERIC_KEYS: &[&str] = &["type", "inputs"];

/// What a valid transform does with normalized events.
#[derive(Debug)]
pub(super) enum Effect {
    /// A filter passes those that match.
    Filter(Condition),
    /// `redact` removes or hashes parts of them.
    Redact(Redactions),
}

/// The effects of the valid transforms that have one, by name.
pub(super) type Effects<'t> = BTreeMap<&'t str, Effect>;

/// Checks a transform. Returns its effect. Relative paths start in `directory`; the files of secrets are added to `own_paths`.
pub(super) fn check(
    component: &Component<'_>,
    directory: &Path,
    own_paths: &mut Vec<OwnPath>,
    diagnostics: &mut Diagnostics,
) -> Option<Effect> {
    let name = component.type_name?;
    let type_fields = field_names(|probe| TransformConfig::read(name, probe).transpose());
    component::report_unknown_keys(component, &[GENERIC_KEYS, type_fields], diagnostics);
    let read = component::read_fields(component, type_fields, diagnostics, |reader| {
        TransformConfig::read(name, reader).transpose()
    });
    match read.complete().flatten()? {
        TransformConfig::Normalize(_) | TransformConfig::Route => None,
        TransformConfig::Filter(config) => compile(component, &config, diagnostics).map(Effect::Filter),
        TransformConfig::Redact(mut config) => {
            config.hash_secret.iter_mut().for_each(|secret| secret.resolve_against(directory));
            own_paths.extend(own_paths::secret_files(component, config.hash_secret.iter(), diagnostics));
            redact(component, &config, diagnostics).map(Effect::Redact)
        }
    }
}

fn redact(component: &Component<'_>, config: &redact::Config, diagnostics: &mut Diagnostics) -> Option<Redactions> {
    match config.compile(component.node.digest()) {
        Ok(redactions) => {
            let warnings = config.warnings();
            component::report_setting_diagnostics(component, &warnings, Severity::Warning, true, diagnostics);
            Some(redactions)
        }
        Err(errors) => {
            component::report_setting_diagnostics(component, &errors, Severity::Error, true, diagnostics);
            None
        }
    }
}

fn compile(component: &Component<'_>, config: &filter::Config, diagnostics: &mut Diagnostics) -> Option<Condition> {
    let entry = component.node.entry("condition")?;
    let value_spans = ValueSpans::of(&entry.value, &diagnostics.text(entry.value.span.file));
    let joined = joined_comments(&config.condition, value_spans.as_ref());
    let mistakes = match config.compile() {
        _ if !joined.is_empty() => joined,
        Ok(condition) => return Some(condition),
        Err(mistakes) => mistakes,
    };
    for mistake in mistakes {
        diagnostics.push(diagnostic(component, &entry.value, value_spans.as_ref(), &config.condition, mistake));
    }
    None
}

/// Comments that YAML joined with the lines below them, as in a block after `>` or an unquoted value: a part of the condition
/// would be ignored silently.
fn joined_comments(condition: &str, value_spans: Option<&ValueSpans>) -> Vec<ConditionDiagnostic> {
    let comments = Condition::comments(condition).into_iter();
    let joined = comments
        .filter(|comment| value_spans.is_some_and(|value_spans| value_spans.is_on_several_lines(comment.clone())));
    let mistake = |comment| ConditionDiagnostic {
        span: comment,
        message: "YAML joins this comment with the lines below it, so they would be ignored".to_owned(),
        hint: Hint::Text("use `|` instead of `>`, or remove the comment".to_owned()),
    };
    joined.map(mistake).collect()
}

fn diagnostic(
    component: &Component<'_>,
    node: &Node,
    value_spans: Option<&ValueSpans>,
    condition: &str,
    mistake: ConditionDiagnostic,
) -> Diagnostic {
    let key = component.path.key("condition");
    let hint = match &mistake.hint {
        Hint::Text(text) => text.clone(),
        Hint::OneOf { word, known } => suggest::hint(word, known),
    };
    if let Some(span) = value_spans.and_then(|value_spans| value_spans.span(mistake.span.clone())) {
        return Diagnostic::error(Some(span), &key, mistake.message, hint);
    }
    let column = condition.get(..mistake.span.start).map_or(1, |before| before.chars().count() + 1);
    let message = match is_in_file(node, condition, &mistake) {
        true => format!("{} (character {column} of the condition)", mistake.message),
        false => format!("the condition is wrong at character {column} after its variables are replaced"),
    };
    let diagnostic = Diagnostic::error(Some(node.span), &key, message, hint);
    if matches!(&node.value, Value::Scalar(scalar) if scalar.written.is_some()) {
        return diagnostic.without_token();
    }
    diagnostic
}

/// Whether the quoted text is in the file and not from a variable. Messages quote it.
fn is_in_file(node: &Node, condition: &str, mistake: &ConditionDiagnostic) -> bool {
    let Value::Scalar(scalar) = &node.value else { return true };
    let Some(written) = &scalar.written else { return true };
    condition.get(mistake.span.clone()).is_none_or(|quoted| written.contains(quoted))
}
