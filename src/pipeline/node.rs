//! The YAML file as a tree in which everything knows its place.
//!
//! serde's own data model forgets where a value stood in the file; a mistake found later (an input that does not exist,
//! an end before the start) could then only name the file. So the file is first read into this tree, and all checks and
//! all conversions work on it.

/// Where something stands in a file, counted from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column of its first character.
    pub column: usize,
    /// How many characters it takes on that line.
    pub width: usize,
}

/// The number of a node in its file: by it a node that is wrong is left out of later attempts.
pub(super) type NodeId = u32;

/// A value of the file.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Node,
}

/// A value that is not a list or a map.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    /// The text, with variables replaced.
    pub(super) text: String,
    /// Plain scalars may be numbers, `true`, `false` or nothing; quoted ones are always text.
    pub(super) plain: bool,
    /// The text as it stands in the file, if variables were replaced in it. It is shown in place of `text`.
    pub(super) written: Option<String>,
}

/// What a scalar is, by its form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form<'a> {
    Nothing,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
}

impl Scalar {
    /// What the scalar is. A text with variables in it is a text, since no one can tell what it will hold.
    pub(super) fn form(&self) -> Form<'_> {
        if self.plain && self.written.is_none() { form_of(&self.text) } else { Form::Text(&self.text) }
    }

    /// What the scalar can be read as where a number or `true` or `false` is wanted: a variable may hold one.
    pub(super) fn wanted_form(&self) -> Form<'_> {
        if self.plain || self.written.is_some() { form_of(&self.text) } else { Form::Text(&self.text) }
    }
}

impl Scalar {
    fn mask(&self, message: &mut String) {
        let Some(written) = &self.written else { return };
        let as_number = match self.wanted_form() {
            Form::Unsigned(number) => number.to_string(),
            Form::Signed(number) => number.to_string(),
            Form::Float(number) => number.to_string(),
            _ => String::new(),
        };
        for shown in [&self.text, self.text.trim(), &as_number] {
            if !shown.is_empty() {
                *message = message.replace(shown, written);
            }
        }
    }
}

fn form_of(text: &str) -> Form<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Form::Nothing,
        "true" | "True" | "TRUE" => return Form::Bool(true),
        "false" | "False" | "FALSE" => return Form::Bool(false),
        _ => {}
    }
    let starts_like_a_number = text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
    if !starts_like_a_number || !text.contains(|any: char| any.is_ascii_digit()) {
        return Form::Text(text);
    }
    if let Ok(number) = text.parse() {
        return Form::Unsigned(number);
    }
    if let Ok(number) = text.parse() {
        return Form::Signed(number);
    }
    text.parse().map_or(Form::Text(text), Form::Float)
}

impl Node {
    /// The entries of a map; none if it is something else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The entry of a map with this key.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The entry at a dotted path such as `batch.max_bytes`.
    pub(super) fn entry_at(&self, path: &str) -> Option<&Entry> {
        match path.split_once('.') {
            None => self.entry(path),
            Some((first, rest)) => self.entry(first)?.value.entry_at(rest),
        }
    }

    /// Whether it is an empty value, as in `transforms:` with everything below it commented out.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.form() == Form::Nothing)
    }

    /// The same map with only those entries whose keys are wanted.
    pub(super) fn with_only(&self, wanted: impl Fn(&str) -> bool) -> Self {
        let entries = self.entries().iter().filter(|entry| wanted(&entry.key)).cloned().collect();
        Self { id: self.id, place: self.place, value: Value::Map(entries) }
    }

    /// Replaces what variables brought in by the variables' names, so that no message shows a value from outside.
    pub(super) fn mask(&self, message: &mut String) {
        match &self.value {
            Value::Scalar(scalar) => scalar.mask(message),
            Value::List(items) => items.iter().for_each(|item| item.mask(message)),
            Value::Map(entries) => entries.iter().for_each(|entry| entry.value.mask(message)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_take_their_form_from_their_text() {
        for (text, form) in [
            ("", Form::Nothing),
            ("true", Form::Bool(true)),
            ("yes", Form::Text("yes")),
            ("12", Form::Unsigned(12)),
            ("-12", Form::Signed(-12)),
            ("0.5", Form::Float(0.5)),
            ("2026-01-01", Form::Text("2026-01-01")),
            ("inf", Form::Text("inf")),
            ("90s", Form::Text("90s")),
            (".", Form::Text(".")),
        ] {
            let scalar = Scalar { text: text.into(), plain: true, written: None };
            assert_eq!(scalar.form(), form, "{text}");
        }
    }

    #[test]
    fn quotes_make_a_text_and_variables_may_hold_numbers() {
        let quoted = Scalar { text: "5".into(), plain: false, written: None };
        assert_eq!(quoted.wanted_form(), Form::Text("5"));
        let variable = Scalar { text: "5".into(), plain: false, written: Some("${N}".into()) };
        assert_eq!(variable.form(), Form::Text("5"));
        assert_eq!(variable.wanted_form(), Form::Unsigned(5));
    }
}
