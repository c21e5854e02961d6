//! Texts with `{{ column }}`, which stands for the value of a row.
//!
//! ```text
//! "${CLUMIO_{{ tenant }}}" --parse--> variable [ "CLUMIO_", column tenant ] --row--> CLUMIO_ACME --environment--> value
//! ```
//!
//! The values of a row are data: text is parsed before they are put in. A value inside `${...}` can only be a part of a name.

use super::environment::{Environment, InterpolationError, look_up};
use super::rows::{Cell, Row, RowList};

/// A text of a template.
#[derive(Debug)]
pub(crate) struct RowTemplate {
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    /// The number of a column.
    Column(usize),
    /// What is between `${` and `}`.
    Variable(Vec<Part>),
}

/// Why a text is not a template.
#[derive(Debug, PartialEq)]
pub(crate) enum TemplateError {
    /// There is no such column.
    UnknownColumn(String),
    /// What is not closed: `{{` or `${`.
    Unclosed(&'static str),
}

/// What a template becomes for one row.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Rendered {
    pub(crate) text: String,
    /// Whether a variable was replaced.
    pub(crate) has_variables: bool,
}

impl RowTemplate {
    /// Parses a text with placeholders for columns of the list.
    pub(crate) fn parse(text: &str, list: &RowList) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("${").into_iter().chain(rest.find("{{")).min() {
            let (before, from) = rest.split_at(at);
            if from.starts_with("{{") {
                push_text(&mut parts, before);
                rest = push_column(&mut parts, from, list)?;
            } else if let Some(before) = before.strip_suffix('$') {
                push_text(&mut parts, before);
                push_text(&mut parts, "${");
                rest = &from[2..];
            } else {
                push_text(&mut parts, before);
                let mut inside = Vec::new();
                rest = parse_variable(&mut inside, &from[2..], list)?;
                parts.push(Part::Variable(inside));
            }
        }
        push_text(&mut parts, rest);
        Ok(Self { parts })
    }

    /// The first value of the row that it has.
    pub(crate) fn first_cell<'r>(&self, row: &'r Row) -> Option<&'r Cell> {
        self.columns().find_map(|column| row.cells[column].as_ref())
    }

    /// The numbers of its columns.
    pub(crate) fn columns(&self) -> impl Iterator<Item = usize> {
        let inner = |part| match part {
            &Part::Column(column) => vec![column],
            Part::Text(_) => Vec::new(),
            Part::Variable(inside) => inside.iter().filter_map(Part::column).collect(),
        };
        self.parts.iter().flat_map(inner)
    }

    /// Whether it is one placeholder and nothing else, and the row has no value for it.
    pub(crate) fn is_left_out(&self, row: &Row) -> bool {
        match self.parts[..] {
            [Part::Column(column)] => row.cells[column].as_ref().is_some_and(|cell| cell.text.is_empty()),
            _ => false,
        }
    }

    /// The text for a row, which has a value for each of its columns.
    pub(crate) fn render(&self, row: &Row, environment: &Environment) -> Result<Rendered, InterpolationError> {
        let mut rendered = Rendered::default();
        for part in &self.parts {
            match part {
                Part::Text(text) => rendered.text += text,
                Part::Column(column) => rendered.text += value(row, *column),
                Part::Variable(inside) => {
                    let found = look_up(&name_of(inside, row)?, environment);
                    rendered.text += &found.map_err(|error| without_value(error, inside))?;
                    rendered.has_variables = true;
                }
            }
        }
        Ok(rendered)
    }
}

impl Part {
    fn column(&self) -> Option<usize> {
        match self {
            Self::Column(column) => Some(*column),
            _ => None,
        }
    }
}

fn value(row: &Row, column: usize) -> &str {
    row.cells[column].as_ref().map_or("", |cell| &cell.text)
}

/// A name that is a value of the row may be the secret itself, put where its variable's name belongs.
fn without_value(error: InterpolationError, inside: &[Part]) -> InterpolationError {
    if !matches!(inside, [Part::Column(_)]) {
        return error;
    }
    InterpolationError {
        message: "the environment variable that this value names is not set, or not one line".to_owned(),
        hint: "set it; the list has the names of variables here, and never secrets".to_owned(),
    }
}

fn name_of(inside: &[Part], row: &Row) -> Result<String, InterpolationError> {
    let mut name = String::new();
    for part in inside {
        match part {
            Part::Text(text) => name += text,
            Part::Variable(_) => {}
            Part::Column(column) => {
                let value = value(row, *column);
                if !value.chars().all(|any| any.is_ascii_alphanumeric() || any == '_') {
                    // Alone it may be the secret itself, put where its variable's name belongs.
                    let shown = if inside.len() == 1 { "this value".to_owned() } else { format!("`{value}`") };
                    let message = format!("{shown} cannot be part of the name of an environment variable");
                    let hint = "use letters, digits and `_` here, or a column of its own with the variable's name";
                    return Err(InterpolationError { message, hint: hint.to_owned() });
                }
                name += value;
            }
        }
    }
    Ok(name)
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Text(before)) => before.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

/// Reads the placeholder at the start of `from`. Returns what follows.
fn push_column<'t>(parts: &mut Vec<Part>, from: &'t str, list: &RowList) -> Result<&'t str, TemplateError> {
    let (name, rest) = from[2..].split_once("}}").ok_or(TemplateError::Unclosed("{{"))?;
    let name = name.trim();
    let known = list.columns.iter().position(|column| column.trim() == name);
    parts.push(Part::Column(known.ok_or_else(|| TemplateError::UnknownColumn(name.to_owned()))?));
    Ok(rest)
}

/// Reads what follows a `${`. Returns what is behind its `}`.
fn parse_variable<'t>(inside: &mut Vec<Part>, mut rest: &'t str, list: &RowList) -> Result<&'t str, TemplateError> {
    loop {
        let end = rest.find('}').ok_or(TemplateError::Unclosed("${"))?;
        match rest.find("{{").filter(|at| *at < end) {
            None => {
                push_text(inside, &rest[..end]);
                return Ok(&rest[end + 1..]);
            }
            Some(at) => {
                push_text(inside, &rest[..at]);
                rest = push_column(inside, &rest[at..], list)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::node::TextSpan;

    fn list(values: &[(&str, &str)]) -> RowList {
        let span = TextSpan { file: 0, line: 1, column: 1, width: 1 };
        let cells = values.iter().map(|(_, text)| Some(Cell { text: (*text).to_owned(), span })).collect();
        RowList {
            columns: values.iter().map(|(name, _)| (*name).to_owned()).collect(),
            rows: vec![Row { span, cells }],
        }
    }

    fn render(text: &str, list: &RowList) -> Result<String, String> {
        let environment = Environment::from_pairs([("TOKEN_ACME", "s3cret"), ("HOME", "/home")]);
        let template = RowTemplate::parse(text, list).map_err(|error| format!("{error:?}"))?;
        template.render(&list.rows[0], &environment).map(|rendered| rendered.text).map_err(|error| error.message)
    }

    #[test]
    fn placeholders_and_variables_are_replaced() {
        let list = list(&[("tenant", "ACME"), ("variable", "TOKEN_ACME")]);
        for (text, expected) in [
            ("a_{{ tenant }}_{{tenant}}", "a_ACME_ACME"),
            ("${TOKEN_{{ tenant }}}", "s3cret"),
            ("${{{ variable }}}!", "s3cret!"),
            ("${NOT_{{ tenant }}:-{{ tenant }}}", "ACME"),
            ("$${TOKEN_{{ tenant }}}", "${TOKEN_ACME}"),
            ("{ x } $5", "{ x } $5"),
        ] {
            assert_eq!(render(text, &list).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn values_are_data() {
        let evil = list(&[("a", "${HOME}"), ("b", "{{ a }}"), ("c", "X:-evil"), ("d", "HOME}"), ("e", "{HOME}")]);
        for (text, expected) in [("{{ a }}", "${HOME}"), ("{{ b }}", "{{ a }}"), ("${{ e }}", ""), ("$${{ e }}", "")] {
            let rendered = render(text, &evil);
            assert!(rendered.as_deref() != Ok("/home"), "{text}: {rendered:?}");
            assert!(expected.is_empty() || rendered.as_deref() == Ok(expected), "{text}: {rendered:?}");
        }
        assert_eq!(
            render("x${X_{{ c }}}", &evil),
            Err("`X:-evil` cannot be part of the name of an environment variable".into())
        );
        assert!(render("${{{ d }}}", &evil).is_err());
    }

    #[test]
    fn a_secret_in_the_place_of_its_variables_name_is_not_shown() {
        let secrets = list(&[("a", "deadbeefcafe0123"), ("b", "sk-deadbeef")]);
        for text in ["${{{ a }}}", "${{{ b }}}"] {
            let message = render(text, &secrets).expect_err("no such variable");
            assert!(!message.contains("deadbeef"), "{message}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let list = list(&[("tenant", "ACME")]);
        for (text, expected) in [
            ("{{ tenent }}", TemplateError::UnknownColumn("tenent".to_owned())),
            ("${TOKEN_{{ tenent }}}", TemplateError::UnknownColumn("tenent".to_owned())),
            ("{{ tenant }", TemplateError::Unclosed("{{")),
            ("${TOKEN", TemplateError::Unclosed("${")),
        ] {
            assert_eq!(RowTemplate::parse(text, &list).expect_err(text), expected, "{text}");
        }
    }
}
