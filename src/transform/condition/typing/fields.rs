//! Paths such as `actor.email`, and fields of a variable such as `r.name`.

use std::ops::Range;

use super::{Checker, Field, ItemField, Number, Text, TextValue, Time, Value, envelope};
use crate::transform::condition::Mistake;
use crate::transform::condition::syntax::{Expr, Kind};

/// One name of a path and its place.
type Step<'e> = (&'e str, Range<usize>);

impl<'e> Checker<'e> {
    pub(super) fn field(&mut self, part: &'e Expr) -> Option<Value> {
        let Some(path) = path_of(part) else { return self.field_of_value(part) };
        let (first, rest) = path.split_first()?;
        let variable = self.variables.iter().rev().position(|(name, _)| *name == first.0);
        match variable {
            Some(up) => self.field_of_item(up, first, rest),
            None => self.field_of_envelope(&path),
        }
    }

    /// `size(x).field` and the like: nothing but objects has fields.
    fn field_of_value(&mut self, part: &'e Expr) -> Option<Value> {
        let Kind::Select(of, _, place) = &part.kind else { return None };
        let value = self.value(of)?;
        let message = format!("{} has no fields", value.noun());
        self.wrong(Mistake::new(place.clone(), message, "take the name behind the point out"))
    }

    fn field_of_envelope(&mut self, path: &[Step<'e>]) -> Option<Value> {
        let mut known = String::new();
        let mut found = None;
        for (name, place) in path {
            let longer = if known.is_empty() { (*name).to_owned() } else { format!("{known}.{name}") };
            let Some(field) = envelope::field(&longer) else {
                return self.unknown_field(&known, found, name, place.clone());
            };
            found = Some(field);
            known = longer;
        }
        found.map(value_of)
    }

    fn unknown_field(&mut self, known: &str, found: Option<Field>, name: &str, place: Range<usize>) -> Option<Value> {
        let mistake = match found.map(value_of) {
            None if self.variables.iter().any(|(_, list)| list.has_field(name)) => {
                let hint = "for a field of the item, write the variable and a point before it";
                Mistake::new(place, format!("events have no field `{name}`"), hint)
            }
            None => {
                let message = format!("events have no field `{name}`");
                Mistake::unknown(place, message, name, envelope::names_in(""))
            }
            Some(Value::Object(_)) => {
                let message = format!("it has no field `{name}`");
                Mistake::unknown(place, message, name, envelope::names_in(known))
            }
            Some(Value::List(list)) => {
                let field = if list.has_field(name) { name } else { envelope::item_fields(list)[0].0 };
                let hint = format!("write {known}.exists(x, x.{field} == \"...\")");
                Mistake::new(place, "a list has no fields", hint)
            }
            Some(_) if known == "raw" => {
                let hint = "`raw` is the record's text here: write raw.contains(\"...\") or raw.matches(\"...\")";
                Mistake::new(place, "the record's own fields cannot be asked for", hint)
            }
            Some(value) => {
                let message = format!("{} has no fields", value.noun());
                Mistake::new(place, message, "take the name behind the point out")
            }
        };
        self.wrong(mistake)
    }

    fn field_of_item(&mut self, up: usize, variable: &Step<'e>, rest: &[Step<'e>]) -> Option<Value> {
        let list = self.variables[self.variables.len() - 1 - up].1;
        let fields = envelope::item_fields(list);
        let Some(((name, place), further)) = rest.split_first() else {
            let example = format!("compare one of its fields: {}.{} == \"...\"", variable.0, fields[0].0);
            return self.wrong(Mistake::new(variable.1.clone(), "this is an item of a list, an object", example));
        };
        let Some((_, field)) = fields.iter().find(|(known, _)| known == name) else {
            let names = fields.iter().map(|(name, _)| *name).collect();
            return self.wrong(Mistake::unknown(place.clone(), format!("it has no field `{name}`"), name, names));
        };
        if let Some((_, place)) = further.first() {
            let hint = "take the name behind the point out";
            return self.wrong(Mistake::new(place.clone(), "a text has no fields", hint));
        }
        let (read, nullable, words) = match *field {
            ItemField::Text(read) => (read, false, None),
            ItemField::Optional(read) => (read, true, None),
            ItemField::Word(read, words) => (read, false, Some(words())),
        };
        Some(Value::Text(TextValue { text: Text::Item(up, read), nullable, words }))
    }
}

fn value_of(field: Field) -> Value {
    let text = |read, nullable, words| Value::Text(TextValue { text: Text::Field(read), nullable, words });
    match field {
        Field::Text(read) => text(read, false, None),
        Field::Optional(read) => text(read, true, None),
        Field::Word(read, words) => text(read, false, Some(words())),
        Field::Number(read) => Value::Number(Number::Field(read), true),
        Field::Time(read) => Value::Time(Time::Field(read)),
        Field::Object => Value::Object(None),
        Field::OptionalObject(is_there) => Value::Object(Some(is_there)),
        Field::List(list) => Value::List(list),
    }
}

/// The names of a path, if the part is one.
fn path_of(part: &Expr) -> Option<Vec<Step<'_>>> {
    match &part.kind {
        Kind::Name(name) => Some(vec![(name, part.place.clone())]),
        Kind::Select(of, name, place) => {
            let mut path = path_of(of)?;
            path.push((name, place.clone()));
            Some(path)
        }
        _ => None,
    }
}
