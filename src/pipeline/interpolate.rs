//! `${VARIABLE}` in values.
//!
//! Variables are replaced in values that have been parsed, never in the text of the file: a value can then not bring in
//! keys of its own, and comments and keys stay as they are.

use super::environment::Environment;
use super::node::{Node, Scalar, Value};
use super::path::KeyPath;
use super::problem::{Finding, Findings};
use super::settings::Settings;

/// Replaces the variables in every value of the tree. A value with a mistake in it is reported and left out of all
/// later checks.
pub(super) fn interpolate(node: &mut Node, path: &KeyPath, environment: &Environment, findings: &mut Findings) {
    match &mut node.value {
        Value::Map(entries) => {
            for entry in entries {
                // Only what components name may be made up: a made-up data folder would be another one.
                let is_setting = path.depth() == 0 && Settings::NAMES.contains(&entry.key.as_str());
                let environment = if is_setting { &environment.as_it_is() } else { environment };
                interpolate(&mut entry.value, &path.key(&entry.key), environment, findings);
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                interpolate(item, &path.index(index), environment, findings);
            }
        }
        Value::Scalar(scalar) => {
            if let Err(mistake) = replace(scalar, environment) {
                let finding = Finding::error(Some(node.place), path, mistake.message, mistake.hint).without_token();
                findings.push_and_drop(finding, node.id);
            }
        }
    }
}

fn replace(scalar: &mut Scalar, environment: &Environment) -> Result<(), Mistake> {
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

#[derive(Debug, PartialEq)]
struct Mistake {
    message: String,
    hint: String,
}

#[derive(Debug, Default, PartialEq)]
struct Expanded {
    text: String,
    /// Whether anything came from outside; `$${` alone brings in nothing.
    variables: bool,
}

fn expand(text: &str, environment: &Environment) -> Result<Expanded, Mistake> {
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

/// The value of what stands between the braces: `NAME` or `NAME:-default`.
fn look_up(inside: &str, environment: &Environment) -> Result<String, Mistake> {
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
        (None, None) => return environment.stand_in(name).ok_or_else(|| unset(name)),
    };
    if value.contains(['\n', '\r']) {
        return Err(Mistake {
            message: format!("the environment variable {name} has more than one line"),
            hint: "a value in a pipeline file is one line; put longer secrets into a file: `{file: path}`".into(),
        });
    }
    Ok(value.to_owned())
}

fn is_variable_name(name: &str) -> bool {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    starts_well && name.chars().all(|any| any.is_ascii_alphanumeric() || any == '_')
}

fn unset(name: &str) -> Mistake {
    Mistake {
        message: format!("the environment variable {name} is not set"),
        hint: format!("set it, or give a value to fall back on: `${{{name}:-value}}`"),
    }
}

fn unclosed() -> Mistake {
    Mistake {
        message: "a `${` has no `}` after it".into(),
        hint: "write `${NAME}`, or `$${` where the two characters themselves are meant".into(),
    }
}

fn bad_form() -> Mistake {
    Mistake {
        message: "what stands between `${` and `}` is not the name of a variable".into(),
        hint: "write `${NAME}` or `${NAME:-value}`, or `$${` where the two characters themselves are meant".into(),
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
    fn a_value_is_not_looked_at_again() {
        assert_eq!(text_of("${TRICK}"), "${TOKEN}");
    }

    #[test]
    fn mistakes_name_the_variable_and_never_its_value() {
        for (text, words) in [
            ("${MISSING}", "MISSING is not set"),
            ("${LINES}", "LINES has more than one line"),
            ("${TOKEN", "has no `}`"),
            ("${}", "not the name"),
            ("${1A}", "not the name"),
            ("${TOKEN:?x}", "not the name"),
        ] {
            let mistake = expand(text, &environment()).expect_err(text);
            assert!(mistake.message.contains(words), "{text}: {mistake:?}");
            assert!(!mistake.message.contains("s3cret") && !mistake.hint.contains("s3cret"));
        }
        assert!(expand("${MISSING}", &environment()).expect_err("unset").hint.contains("${MISSING:-value}"));
    }
}
