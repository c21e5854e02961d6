//! Environment variables: a snapshot of them, and `${VARIABLE}` in values.
//!
//! Variables are replaced in parsed values, never in the text of the file. A value therefore cannot add keys, and comments and
//! keys stay as they are.

use std::collections::BTreeMap;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::node::{Entry, KeyPath, Node, Scalar, Value};
use super::source_list::{SOURCES_FROM, TEMPLATE};

/// Replaces the variables in every value of the file. A value with an error is reported, and later checks skip it.
///
/// Placeholders for unset variables apply to components only, not to the settings of the process (`process_settings`): a
/// placeholder data directory would be another directory.
pub(crate) fn interpolate(
    root: &mut Node,
    process_settings: &[&str],
    environment: &Environment,
    diagnostics: &mut Diagnostics,
) {
    let path = KeyPath::default();
    let Value::Map(entries) = &mut root.value else { return interpolate_below(root, &path, environment, diagnostics) };
    let strict = environment.clone().without_placeholders();
    for entry in entries {
        if entry.key == SOURCES_FROM {
            interpolate_lists(entry, environment, diagnostics);
            continue;
        }
        let is_process_setting = process_settings.contains(&entry.key.as_str());
        let environment = if is_process_setting { &strict } else { environment };
        interpolate_below(&mut entry.value, &path.key(&entry.key), environment, diagnostics);
    }
}

/// The templates of lists are left as they are: their variables are replaced for each row.
fn interpolate_lists(lists: &mut Entry, environment: &Environment, diagnostics: &mut Diagnostics) {
    let path = KeyPath::default().key(&lists.key);
    let Value::Map(entries) = &mut lists.value.value else {
        return interpolate_below(&mut lists.value, &path, environment, diagnostics);
    };
    for list in entries {
        let path = path.key(&list.key);
        let Value::Map(settings) = &mut list.value.value else { continue };
        for setting in settings.iter_mut().filter(|setting| setting.key != TEMPLATE) {
            interpolate_below(&mut setting.value, &path.key(&setting.key), environment, diagnostics);
        }
    }
}

fn interpolate_below(node: &mut Node, path: &KeyPath, environment: &Environment, diagnostics: &mut Diagnostics) {
    match &mut node.value {
        Value::Map(entries) => {
            for entry in entries {
                interpolate_below(&mut entry.value, &path.key(&entry.key), environment, diagnostics);
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                interpolate_below(item, &path.index(index), environment, diagnostics);
            }
        }
        Value::Scalar(scalar) => {
            if let Err(error) = replace(scalar, environment) {
                let diagnostic = Diagnostic::error(Some(node.span), path, error.message, error.hint).without_token();
                diagnostics.push_and_drop(diagnostic, node.id);
            }
        }
    }
}

fn replace(scalar: &mut Scalar, environment: &Environment) -> Result<(), InterpolationError> {
    if !scalar.text.contains("${") {
        return Ok(());
    }
    let expanded = expand(&scalar.text, environment)?;
    let written = std::mem::replace(&mut scalar.text, expanded.text);
    if expanded.variables {
        scalar.written = Some(written);
    }
    Ok(())
}

/// Why a variable cannot be replaced.
#[derive(Debug, PartialEq)]
pub(crate) struct InterpolationError {
    pub(crate) message: String,
    pub(crate) hint: String,
}

#[derive(Debug, Default, PartialEq)]
struct Expanded {
    text: String,
    /// Whether a variable was replaced; `$${` alone replaces none.
    variables: bool,
}

fn expand(text: &str, environment: &Environment) -> Result<Expanded, InterpolationError> {
    let mut expanded = Expanded::default();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from_dollar) = rest.split_at(at);
        if let Some(before_escape) = before.strip_suffix('$') {
            expanded.text.push_str(before_escape);
            expanded.text.push_str("${");
            rest = &from_dollar[2..];
            continue;
        }
        let (inside, after) = from_dollar[2..].split_once('}').ok_or_else(unclosed)?;
        expanded.text.push_str(before);
        expanded.text.push_str(&look_up(inside, environment)?);
        expanded.variables = true;
        rest = after;
    }
    expanded.text.push_str(rest);
    Ok(expanded)
}

/// The value of the text between the braces: `NAME` or `NAME:-default`.
pub(crate) fn look_up(inside: &str, environment: &Environment) -> Result<String, InterpolationError> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if !is_variable_name(name) {
        return Err(bad_form());
    }
    let value = match (environment.get(name), default) {
        (Some(""), Some(default)) => default,
        (Some(value), _) => value,
        (None, Some(default)) => default,
        (None, None) => return environment.placeholder(name).ok_or_else(|| unset(name)),
    };
    // What `$(cat file)` would remove; a variable that is set from a file in another way may have it.
    let value = value.strip_suffix('\n').map_or(value, |line| line.strip_suffix('\r').unwrap_or(line));
    if value.contains(['\n', '\r']) {
        return Err(InterpolationError {
            message: format!("the environment variable {name} has more than one line"),
            hint: "a value in a pipeline file is one line; put a longer secret into a file: `{file: path}`".into(),
        });
    }
    Ok(value.to_owned())
}

fn is_variable_name(name: &str) -> bool {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    starts_well && name.chars().all(|any| any.is_ascii_alphanumeric() || any == '_')
}

fn unset(name: &str) -> InterpolationError {
    InterpolationError {
        message: format!("the environment variable {name} is not set"),
        // It may be a secret, which nobody should write into the file as a default.
        hint: "set it in the environment of auditflow".to_owned(),
    }
}

fn unclosed() -> InterpolationError {
    InterpolationError {
        message: "a `${` has no `}` after it".into(),
        hint: "write `${NAME}`, or `$${` for a literal `${`".into(),
    }
}

fn bad_form() -> InterpolationError {
    InterpolationError {
        message: "the text between `${` and `}` is not the name of a variable".into(),
        hint: "write `${NAME}` or `${NAME:-value}`, or `$${` for a literal `${`".into(),
    }
}

/// Environment variables by name. `Debug` shows the names only, since the values may be secrets.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    placeholders: bool,
}

impl Environment {
    /// The variables of this process. Variables that are not UTF-8 are ignored.
    #[must_use]
    pub fn of_process() -> Self {
        let readable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { variables: std::env::vars_os().filter_map(readable).collect(), placeholders: false }
    }

    /// The given variables.
    #[must_use]
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let variables = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { variables, placeholders: false }
    }

    /// The value of a variable; `None` if it is not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The same variables, with placeholders for unset ones that a component names: for commands that inspect a pipeline
    /// without running it, mostly without its secrets.
    #[must_use]
    pub fn with_placeholders(self) -> Self {
        Self { placeholders: true, ..self }
    }

    /// The placeholder for an unset variable, if placeholders are on. It has letters and dashes, which most ids allow.
    pub(crate) fn placeholder(&self, name: &str) -> Option<String> {
        self.placeholders.then(|| format!("unset-{}", name.replace('_', "-")))
    }

    /// The same variables without placeholders.
    pub(crate) fn without_placeholders(self) -> Self {
        Self { placeholders: false, ..self }
    }

    /// All variables whose names begin with `prefix`, with their full names.
    pub(crate) fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let named = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        named.filter(move |(name, _)| name.starts_with(prefix))
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment::from_pairs([("TOKEN", "s3cret"), ("EMPTY", ""), ("LINES", "a\nb"), ("TRICK", "${TOKEN}")])
    }

    fn text_of(text: &str) -> String {
        expand(text, &environment()).expect(text).text
    }

    #[test]
    fn every_documented_form() {
        for (text, expected) in [
            ("${TOKEN}", "s3cret"),
            ("Bearer ${TOKEN}!", "Bearer s3cret!"),
            ("${TOKEN}${TOKEN}", "s3crets3cret"),
            ("${NOT_SET:-five}", "five"),
            ("${NOT_SET:-}", ""),
            ("${EMPTY:-five}", "five"),
            ("${EMPTY}", ""),
            ("$${TOKEN}", "${TOKEN}"),
            ("$${TOKEN} ${TOKEN}", "${TOKEN} s3cret"),
            ("costs $5 {x}", "costs $5 {x}"),
        ] {
            assert_eq!(text_of(text), expected, "{text}");
        }
    }

    #[test]
    fn a_replaced_value_is_not_expanded_again() {
        assert_eq!(text_of("${TRICK}"), "${TOKEN}");
    }

    #[test]
    fn errors_name_the_variable_and_never_its_value() {
        for (text, words) in [
            ("${MISSING}", "MISSING is not set"),
            ("${LINES}", "LINES has more than one line"),
            ("${TOKEN", "has no `}`"),
            ("${}", "not the name"),
            ("${1A}", "not the name"),
            ("${TOKEN:?x}", "not the name"),
        ] {
            let error = expand(text, &environment()).expect_err(text);
            assert!(error.message.contains(words), "{text}: {error:?}");
            assert!(!error.message.contains("s3cret") && !error.hint.contains("s3cret"));
        }
        let hint = expand("${MISSING}", &environment()).expect_err("unset").hint;
        assert!(!hint.contains(":-"), "a secret has no default: {hint}");
    }
}
