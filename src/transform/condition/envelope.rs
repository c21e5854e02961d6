//! The fields that a condition can ask of, with their types: the envelope of `docs/event-schema.md`.

use std::time::Duration;

use super::program::{Item, List, ReadBool, ReadItem, ReadNumber, ReadText, ReadTime};
use crate::event::{Action, ActorType, Category, Outcome, Role, SCHEMA_VERSION};
use crate::vendors;

/// What a field is, and how it is read.
#[derive(Clone, Copy)]
pub(super) enum Field {
    /// A text that is always there.
    Text(ReadText),
    /// A text or null.
    Optional(ReadText),
    /// A word of a closed list.
    Word(ReadText, fn() -> Vec<&'static str>),
    /// A number or null.
    Number(ReadNumber),
    Time(ReadTime),
    /// An object, always there; its fields have entries of their own.
    Object,
    /// An object or null. The fields of an object that is null are null.
    OptionalObject(ReadBool),
    List(List),
}

/// A field of an item of a list.
#[derive(Clone, Copy)]
pub(super) enum ItemField {
    Text(ReadItem),
    Optional(ReadItem),
    Word(ReadItem, fn() -> Vec<&'static str>),
}

/// Every field, by its path, in the order in which events are written.
const FIELDS: &[(&str, Field)] = &[
    ("schema_version", Field::Text(|_| Some(SCHEMA_VERSION))),
    ("id", Field::Text(|subject| subject.id())),
    ("version", Field::Number(|event| event.version.map(|version| i64::try_from(version).unwrap_or(i64::MAX)))),
    ("vendor", Field::Word(|subject| Some(subject.event.vendor), vendors::registry::names)),
    ("source", Field::Text(|subject| Some(subject.event.source))),
    ("tenant", Field::Optional(|subject| subject.event.tenant.as_deref())),
    ("vendor_event_id", Field::Optional(|subject| subject.event.vendor_event_id.as_deref())),
    ("event_type", Field::Text(|subject| Some(&subject.event.event_type))),
    ("action", Field::Word(|subject| Some(subject.event.action.as_str()), || words(Action::ALL, Action::as_str))),
    (
        "category",
        Field::Word(|subject| Some(subject.event.category.as_str()), || words(Category::ALL, Category::as_str)),
    ),
    ("outcome", Field::Word(|subject| Some(subject.event.outcome.as_str()), || words(Outcome::ALL, Outcome::as_str))),
    ("message", Field::Optional(|subject| subject.event.message.as_deref())),
    ("timestamp", Field::Time(|event| event.timestamp.at)),
    // As it is written, in milliseconds.
    ("observed_at", Field::Time(|event| event.observed_at.floor_to(Duration::from_millis(1)))),
    ("actor", Field::Object),
    (
        "actor.type",
        Field::Word(|subject| Some(subject.event.actor.kind.as_str()), || words(ActorType::ALL, ActorType::as_str)),
    ),
    ("actor.id", Field::Optional(|subject| subject.event.actor.id.as_deref())),
    ("actor.name", Field::Optional(|subject| subject.event.actor.name.as_deref())),
    ("actor.email", Field::Optional(|subject| subject.event.actor.email.as_deref())),
    ("actor.ip", Field::Optional(|subject| subject.event.actor.ip.as_deref())),
    ("actor.on_behalf_of", Field::OptionalObject(|event| event.actor.on_behalf_of.is_some())),
    ("actor.on_behalf_of.id", Field::Optional(|subject| subject.event.actor.on_behalf_of.as_ref()?.id.as_deref())),
    ("actor.on_behalf_of.name", Field::Optional(|subject| subject.event.actor.on_behalf_of.as_ref()?.name.as_deref())),
    (
        "actor.on_behalf_of.email",
        Field::Optional(|subject| subject.event.actor.on_behalf_of.as_ref()?.email.as_deref()),
    ),
    ("target", Field::OptionalObject(|event| event.target.is_some())),
    ("target.type", Field::Optional(|subject| subject.event.target.as_ref()?.kind.as_deref())),
    ("target.id", Field::Optional(|subject| subject.event.target.as_ref()?.id.as_deref())),
    ("target.name", Field::Optional(|subject| subject.event.target.as_ref()?.name.as_deref())),
    ("related", Field::List(List::Related)),
    ("changes", Field::List(List::Changes)),
    ("normalize_error", Field::Optional(|subject| subject.event.normalize_error.as_deref())),
    ("raw", Field::Text(|subject| Some(subject.event.raw))),
];

const RELATED: &[(&str, ItemField)] = &[
    (
        "role",
        ItemField::Word(|item| related(item).map(|related| related.role.as_str()), || words(Role::ALL, Role::as_str)),
    ),
    ("type", ItemField::Optional(|item| related(item)?.object.kind.as_deref())),
    ("id", ItemField::Optional(|item| related(item)?.object.id.as_deref())),
    ("name", ItemField::Optional(|item| related(item)?.object.name.as_deref())),
];

const CHANGES: &[(&str, ItemField)] = &[
    ("field", ItemField::Text(|item| change(item).map(|change| change.field.as_ref()))),
    ("old", ItemField::Optional(|item| change(item)?.old.as_deref())),
    ("new", ItemField::Optional(|item| change(item)?.new.as_deref())),
];

/// The field at a path such as `actor.email`.
pub(super) fn field(path: &str) -> Option<Field> {
    FIELDS.iter().find(|(known, _)| *known == path).map(|(_, field)| *field)
}

/// The names of the fields of an object; of the envelope itself, if the path is empty.
pub(super) fn names_in(path: &str) -> Vec<&'static str> {
    let below = |known: &&'static str| -> Option<&'static str> {
        let rest = known.strip_prefix(path)?;
        if path.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
    };
    FIELDS.iter().filter_map(|(known, _)| below(known)).filter(|name| !name.contains('.')).collect()
}

/// The fields of a list's items.
pub(super) fn item_fields(list: List) -> &'static [(&'static str, ItemField)] {
    match list {
        List::Related => RELATED,
        List::Changes => CHANGES,
    }
}

fn words<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|entry| word(*entry)).collect()
}

fn related<'s>(item: Item<'s>) -> Option<&'s crate::event::Related<'s>> {
    match item {
        Item::Related(related) => Some(related),
        Item::Change(_) => None,
    }
}

fn change<'s>(item: Item<'s>) -> Option<&'s crate::event::Change<'s>> {
    match item {
        Item::Change(change) => Some(change),
        Item::Related(_) => None,
    }
}
