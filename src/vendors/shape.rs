//! Which fields a normalizer reads of a record, and which values it expects in them: what has changed at a vendor is seen
//! by comparing its records with that.
//!
//! ```text
//! record --compared with the Shape--> fields that are not read, fields with another type of value: paths, never values
//! ```

use super::json::{Kind, Malformed, Reader};

/// The values that are expected in one place of a record. `null` is expected everywhere.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Any value: it is kept as it is, or read later.
    Any,
    /// A value of the first types; of the second ones it is read too, and of others it is lost.
    Value(&'static [Kind], &'static [Kind]),
    /// A list of such values.
    List(Box<Shape>),
    /// An object with any names and such values.
    Members(Box<Shape>),
    /// An object with these fields.
    Object(Vec<(&'static str, Shape)>),
}

/// A difference between a record and what its normalizer expects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Difference {
    /// The normalizer does not read this field.
    NotRead,
    /// The field has a value of another type.
    OtherType {
        /// The types that are expected, such as `string or number`.
        expected: String,
        /// The type that was found.
        found: &'static str,
        /// Whether the value is lost: the event does not have it.
        is_lost: bool,
    },
}

/// A name longer than this, or with other characters than those of identifiers, may be a value: it is not shown.
const LONGEST_NAME: usize = 48;

impl Shape {
    /// Calls `take` with the path of each difference of a record, such as `actor.id` or `affected[].name`. Names that
    /// could be values are shown as `*`. A record that is not JSON has no differences.
    pub fn differences(&self, raw: &str, take: &mut dyn FnMut(&str, Difference)) {
        let mut comparison = Comparison { path: String::new(), take };
        // What comes before damage was compared; the event says that the record is not JSON.
        let _ = comparison.value(&mut Reader::new(raw), self);
    }

    fn expected(&self) -> &'static [Kind] {
        match self {
            Self::Any => &[],
            Self::Value(expected, _) => expected,
            Self::List(_) => &[Kind::List],
            Self::Members(_) | Self::Object(_) => &[Kind::Object],
        }
    }

    fn reads(&self, kind: Kind) -> bool {
        matches!(self, Self::Value(_, readable) if readable.contains(&kind))
    }
}

struct Comparison<'t> {
    path: String,
    take: &'t mut dyn FnMut(&str, Difference),
}

impl Comparison<'_> {
    fn value(&mut self, reader: &mut Reader<'_>, shape: &Shape) -> Result<(), Malformed> {
        let kind = reader.kind()?;
        match shape {
            Shape::Any => {}
            _ if kind == Kind::Null => {}
            Shape::List(item) if kind == Kind::List => return self.list(reader, item),
            Shape::Members(value) if kind == Kind::Object => return self.members(reader, value),
            Shape::Object(fields) if kind == Kind::Object => return self.object(reader, fields),
            _ if shape.expected().contains(&kind) => {}
            _ => {
                let expected: Vec<&str> = shape.expected().iter().map(|kind| kind.name()).collect();
                let (expected, is_lost) = (expected.join(" or "), !shape.reads(kind));
                (self.take)(&self.path, Difference::OtherType { expected, found: kind.name(), is_lost });
            }
        }
        reader.skip().map(|_| ())
    }

    fn list(&mut self, reader: &mut Reader<'_>, item: &Shape) -> Result<(), Malformed> {
        let (length, mut is_first) = (self.path.len(), true);
        self.path.push_str("[]");
        reader.open()?;
        while reader.element(&mut is_first)? {
            self.value(reader, item)?;
        }
        self.path.truncate(length);
        Ok(())
    }

    fn members(&mut self, reader: &mut Reader<'_>, value: &Shape) -> Result<(), Malformed> {
        let (length, mut is_first) = (self.path.len(), true);
        self.enter("*");
        reader.open()?;
        while reader.member(&mut is_first)?.is_some() {
            self.value(reader, value)?;
        }
        self.path.truncate(length);
        Ok(())
    }

    fn object(&mut self, reader: &mut Reader<'_>, fields: &[(&str, Shape)]) -> Result<(), Malformed> {
        let (length, mut is_first) = (self.path.len(), true);
        reader.open()?;
        while let Some(name) = reader.member(&mut is_first)? {
            self.enter(if is_name(&name) { &name } else { "*" });
            match fields.iter().find(|(field, _)| *field == name) {
                Some((_, shape)) => self.value(reader, shape)?,
                None => {
                    (self.take)(&self.path, Difference::NotRead);
                    reader.skip()?;
                }
            }
            self.path.truncate(length);
        }
        Ok(())
    }

    fn enter(&mut self, name: &str) {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(name);
    }
}

/// Whether a name is one that a developer chose, and no id, address or text of a user.
fn is_name(name: &str) -> bool {
    let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    starts
        && name.len() <= LONGEST_NAME
        && digits <= 3
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-$".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        let text = || Shape::Value(&[Kind::Text], &[Kind::Number]);
        Shape::Object(vec![
            ("id", text()),
            ("list", Shape::List(Box::new(Shape::Object(vec![("name", text())])))),
            ("open", Shape::Members(Box::new(text()))),
            ("any", Shape::Any),
        ])
    }

    fn found(raw: &str) -> Vec<String> {
        let mut found = Vec::new();
        shape().differences(raw, &mut |path, difference| {
            found.push(match difference {
                Difference::NotRead => path.to_owned(),
                Difference::OtherType { expected, found, is_lost } => {
                    format!("{path}: {found}, not {expected}{}", if is_lost { ", lost" } else { "" })
                }
            });
        });
        found
    }

    #[test]
    fn a_record_as_expected_has_no_differences() {
        let raw = r#"{"id":"1","list":[{"name":"a"},{"name":null}],"open":{"Ada@acme.example":"x"},"any":{"x":[1]}}"#;
        assert_eq!(found(raw), [""; 0]);
        assert_eq!(found(r#"{"id":null,"list":null}"#), [""; 0]);
    }

    #[test]
    fn differences_are_named_by_their_path() {
        let raw = r#"{"id":7,"list":[{"name":[1],"extra":{"deep":1}},3],"open":[],"new":"secret","any":1}"#;
        let differences = [
            "id: number, not string",
            "list[].name: array, not string, lost",
            "list[].extra",
            "list[]: number, not object, lost",
            "open: array, not object, lost",
            "new",
        ];
        assert_eq!(found(raw), differences);
    }

    #[test]
    fn names_that_could_be_values_are_not_shown() {
        assert_eq!(
            found(r#"{"ada@acme.example":1,"u-7f3a91b2c4":2,"a b":3,"":4,"fine_1":5}"#),
            ["*", "*", "*", "*", "fine_1"]
        );
        assert_eq!(found(&format!("{{\"{}\":1}}", "a".repeat(49))), ["*"]);
    }

    #[test]
    fn damaged_records_have_no_differences_beyond_the_damage() {
        assert_eq!(found("not json"), [""; 0]);
        assert_eq!(found(r#"{"new":1,"#), ["new"]);
    }
}
