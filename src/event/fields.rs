//! The fields of the envelope, listed once: name, type, how each is read, and where it may be used.
//!
//! ```text
//! FIELDS --+--> native::encode            keys and values, in this order
//!          +--> conditions of filters     every field, with its type
//!          +--> path templates            `{{ actor.name }}`: fields marked `Usage::Template`
//!          +--> keys of Kafka records     these, and fields marked `Usage::Key`
//! ```
//!
//! OCSF and ECS rename and regroup the fields and have encoders of their own. `docs/event-schema.md` documents the fields.

use super::{
    Action, ActorType, Category, Change, Event, EventId, Grant, GrantEffect, GranteeType, ObjectType, Outcome, Related,
    Role, SCHEMA_VERSION, Scope, Via,
};
use crate::time::Timestamp;

/// A field of the envelope, or of an object in it.
#[derive(Debug)]
pub struct Field {
    /// Its name in its object, such as `email`.
    pub name: &'static str,
    /// Its path in the envelope, such as `actor.email`.
    pub path: &'static str,
    /// Its key as JSON, with the comma before it: `,"email":`.
    pub(super) key: &'static str,
    /// The same with `null` as its value.
    pub(super) null: &'static str,
    /// Its type, and how it is read.
    pub kind: Kind,
    /// Where it may be used beside conditions.
    usage: Usage,
}

/// The type of a field and how it is read.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A string.
    Text(ReadText),
    /// A string or null.
    OptionalText(ReadText),
    /// The name of a vendor.
    Vendor(ReadText),
    /// A value of an enumeration, and all its values.
    Enum(ReadText, fn() -> Vec<&'static str>),
    /// A value of an enumeration or null, and all its values.
    OptionalEnum(ReadText, fn() -> Vec<&'static str>),
    /// The event's id, as 32 hex digits.
    Id(fn(&Event<'_>) -> EventId),
    /// An integer; left out if it is null.
    OptionalNumber(fn(&Event<'_>) -> Option<u64>),
    /// A time, written with microseconds.
    Time(fn(&Event<'_>) -> Timestamp),
    /// An object.
    Object(&'static [Field]),
    /// An object or null; whether it is there. The fields of an object that is null are null.
    OptionalObject(fn(&Event<'_>) -> bool, &'static [Field]),
    /// A list of objects.
    List(List),
    /// A string; left out if it is null.
    OmittedText(ReadText),
    /// A list of strings; left out if it is empty. Conditions cannot use it: they see events before it is filled.
    OmittedTexts(for<'e> fn(&'e Event<'_>) -> &'e [String]),
    /// The vendor's record, a string to conditions; written as [`RawForm`](super::native::RawForm) says.
    Raw(ReadText),
}

/// Reads a string of an event; `None` is null.
pub type ReadText = for<'e> fn(&'e Event<'_>) -> Option<&'e str>;

/// Where a field may be used beside conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Usage {
    /// In path templates and as the key of Kafka records.
    Template,
    /// As the key of Kafka records.
    Key,
    /// Nowhere else.
    Condition,
}

/// A list of the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Access that was received or lost.
    Grants,
    /// Further objects that the event names.
    Related,
    /// Changed values.
    Changes,
}

/// An item of a list.
#[derive(Clone, Copy, Debug)]
pub enum Item<'e> {
    /// Of `grants`.
    Grant(&'e Grant<'e>),
    /// Of `related`.
    Related(&'e Related<'e>),
    /// Of `changes`.
    Change(&'e Change<'e>),
}

/// A field of a list's items, or of an object in one.
#[derive(Debug)]
pub struct ItemField {
    /// Its name.
    pub name: &'static str,
    /// Its key as JSON, with the comma before it.
    pub(super) key: &'static str,
    /// The same with `null` as its value.
    pub(super) null: &'static str,
    /// Its type, and how it is read.
    pub kind: ItemKind,
}

/// The type of a field of an item and how it is read.
#[derive(Clone, Copy, Debug)]
pub enum ItemKind {
    /// A string.
    Text(ReadItem),
    /// A string or null.
    OptionalText(ReadItem),
    /// A value of an enumeration (null if its object is), and all its values.
    Enum(ReadItem, fn() -> Vec<&'static str>),
    /// A boolean or null, read as `true` or `false`.
    OptionalFlag(ReadItem),
    /// An object.
    Object(&'static [ItemField]),
    /// An object or null; whether it is there. The fields of an object that is null are null.
    OptionalObject(fn(Item<'_>) -> bool, &'static [ItemField]),
}

/// Reads a string of an item; `None` is null.
pub type ReadItem = for<'e> fn(Item<'e>) -> Option<&'e str>;

macro_rules! field {
    ($prefix:literal, $name:literal, $usage:ident, $kind:expr) => {
        Field {
            name: $name,
            path: concat!($prefix, $name),
            key: concat!(",\"", $name, "\":"),
            null: concat!(",\"", $name, "\":null"),
            kind: $kind,
            usage: Usage::$usage,
        }
    };
}

macro_rules! item_field {
    ($name:literal, $kind:expr) => {
        ItemField {
            name: $name,
            key: concat!(",\"", $name, "\":"),
            null: concat!(",\"", $name, "\":null"),
            kind: $kind,
        }
    };
}

/// The fields of the envelope, in the order in which events are written. Fields of objects are in their object's entry.
pub static FIELDS: &[Field] = &[
    field!("", "schema_version", Condition, Kind::Text(|_| Some(SCHEMA_VERSION))),
    field!("", "id", Key, Kind::Id(|event| event.id)),
    field!("", "version", Condition, Kind::OptionalNumber(|event| event.version)),
    field!("", "vendor", Template, Kind::Vendor(|event| Some(event.vendor))),
    field!("", "source", Template, Kind::Text(|event| Some(event.source))),
    field!("", "tenant", Template, Kind::OptionalText(|event| event.tenant.as_deref())),
    field!("", "vendor_event_id", Key, Kind::OptionalText(|event| event.vendor_event_id.as_deref())),
    field!("", "event_type", Template, Kind::Text(|event| Some(&event.event_type))),
    field!("", "action", Template, Kind::Enum(|event| Some(event.action.as_str()), Action::values)),
    field!("", "category", Template, Kind::Enum(|event| Some(event.category.as_str()), Category::values)),
    field!("", "outcome", Template, Kind::Enum(|event| Some(event.outcome.as_str()), Outcome::values)),
    field!("", "message", Condition, Kind::OptionalText(|event| event.message.as_deref())),
    field!("", "timestamp", Condition, Kind::Time(|event| event.timestamp)),
    field!("", "observed_at", Condition, Kind::Time(|event| event.observed_at)),
    field!("", "actor", Condition, Kind::Object(ACTOR)),
    field!("", "target", Condition, Kind::OptionalObject(|event| event.target.is_some(), TARGET)),
    field!("", "grants", Condition, Kind::List(List::Grants)),
    field!("", "related", Condition, Kind::List(List::Related)),
    field!("", "changes", Condition, Kind::List(List::Changes)),
    field!("", "normalize_error", Condition, Kind::OmittedText(|event| event.normalize_error.as_deref())),
    field!("", "redacted", Condition, Kind::OmittedTexts(|event| &event.redacted)),
    field!("", "raw", Condition, Kind::Raw(|event| Some(event.raw))),
];

static ACTOR: &[Field] = &[
    field!("actor.", "type", Template, Kind::Enum(|event| Some(event.actor.kind.as_str()), ActorType::values)),
    field!("actor.", "id", Template, Kind::OptionalText(|event| event.actor.id.as_deref())),
    field!("actor.", "name", Template, Kind::OptionalText(|event| event.actor.name.as_deref())),
    field!("actor.", "email", Template, Kind::OptionalText(|event| event.actor.email.as_deref())),
    field!("actor.", "ip", Condition, Kind::OptionalText(|event| event.actor.ip.as_deref())),
    field!("actor.", "via", Template, Kind::Enum(|event| Some(event.actor.via.as_str()), Via::values)),
    field!(
        "actor.",
        "on_behalf_of",
        Condition,
        Kind::OptionalObject(|event| event.actor.on_behalf_of.is_some(), ON_BEHALF_OF)
    ),
];

static ON_BEHALF_OF: &[Field] = &[
    field!(
        "actor.on_behalf_of.",
        "id",
        Condition,
        Kind::OptionalText(|event| event.actor.on_behalf_of.as_ref()?.id.as_deref())
    ),
    field!(
        "actor.on_behalf_of.",
        "name",
        Condition,
        Kind::OptionalText(|event| event.actor.on_behalf_of.as_ref()?.name.as_deref())
    ),
    field!(
        "actor.on_behalf_of.",
        "email",
        Condition,
        Kind::OptionalText(|event| event.actor.on_behalf_of.as_ref()?.email.as_deref())
    ),
];

static TARGET: &[Field] = &[
    field!(
        "target.",
        "type",
        Template,
        Kind::OptionalEnum(|event| Some(event.target.as_ref()?.kind.as_str()), ObjectType::values)
    ),
    field!(
        "target.",
        "vendor_type",
        Template,
        Kind::OptionalText(|event| event.target.as_ref()?.vendor_type.as_deref())
    ),
    field!("target.", "id", Template, Kind::OptionalText(|event| event.target.as_ref()?.id.as_deref())),
    field!("target.", "name", Template, Kind::OptionalText(|event| event.target.as_ref()?.name.as_deref())),
    field!("target.", "email", Template, Kind::OptionalText(|event| event.target.as_ref()?.email.as_deref())),
];

static GRANTS: &[ItemField] = &[
    item_field!("effect", ItemKind::Enum(|item| Some(item.grant()?.effect.as_str()), GrantEffect::values)),
    item_field!("grantee", ItemKind::Object(GRANTEE)),
    item_field!("privilege", ItemKind::OptionalText(|item| item.grant()?.privilege.as_deref())),
    item_field!("admin", ItemKind::OptionalFlag(|item| item.grant()?.admin.map(flag))),
    item_field!(
        "scope",
        ItemKind::OptionalObject(|item| item.grant().is_some_and(|grant| grant.scope.is_some()), SCOPE)
    ),
];

static GRANTEE: &[ItemField] = &[
    item_field!("type", ItemKind::Enum(|item| Some(item.grant()?.grantee.kind.as_str()), GranteeType::values)),
    item_field!("id", ItemKind::OptionalText(|item| item.grant()?.grantee.id.as_deref())),
    item_field!("name", ItemKind::OptionalText(|item| item.grant()?.grantee.name.as_deref())),
    item_field!("email", ItemKind::OptionalText(|item| item.grant()?.grantee.email.as_deref())),
];

static SCOPE: &[ItemField] = &[
    item_field!("type", ItemKind::Enum(|item| Some(item.scope()?.kind.as_str()), ObjectType::values)),
    item_field!("id", ItemKind::OptionalText(|item| item.scope()?.id.as_deref())),
    item_field!("name", ItemKind::OptionalText(|item| item.scope()?.name.as_deref())),
];

static RELATED: &[ItemField] = &[
    item_field!("role", ItemKind::Enum(|item| Some(item.related()?.role.as_str()), Role::values)),
    item_field!("type", ItemKind::Enum(|item| Some(item.related()?.object.kind.as_str()), ObjectType::values)),
    item_field!("vendor_type", ItemKind::OptionalText(|item| item.related()?.object.vendor_type.as_deref())),
    item_field!("id", ItemKind::OptionalText(|item| item.related()?.object.id.as_deref())),
    item_field!("name", ItemKind::OptionalText(|item| item.related()?.object.name.as_deref())),
    item_field!("email", ItemKind::OptionalText(|item| item.related()?.object.email.as_deref())),
];

static CHANGES: &[ItemField] = &[
    item_field!("field", ItemKind::Text(|item| item.change().map(|change| change.field.as_ref()))),
    item_field!("old", ItemKind::OptionalText(|item| item.change()?.old.as_deref())),
    item_field!("new", ItemKind::OptionalText(|item| item.change()?.new.as_deref())),
];

const fn flag(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

impl Field {
    /// The fields of this object; none if it is not an object.
    #[must_use]
    pub fn fields(&self) -> &'static [Self] {
        match self.kind {
            Kind::Object(fields) | Kind::OptionalObject(_, fields) => fields,
            _ => &[],
        }
    }
}

/// A field whose value is a string, for path templates and record keys.
#[derive(Clone, Copy, Debug)]
pub struct TextField(&'static Field);

impl TextField {
    /// The fields that path templates may use.
    pub fn for_templates() -> impl Iterator<Item = Self> + Clone {
        Self::all().filter(|field| field.0.usage == Usage::Template)
    }

    /// The fields that may be the key of a Kafka record.
    pub fn for_keys() -> impl Iterator<Item = Self> + Clone {
        Self::all().filter(|field| field.0.usage != Usage::Condition)
    }

    fn all() -> impl Iterator<Item = Self> + Clone {
        FIELDS.iter().flat_map(|field| std::iter::once(field).chain(field.fields())).map(Self)
    }

    /// Its path, such as `actor.email`.
    #[must_use]
    pub fn path(self) -> &'static str {
        self.0.path
    }

    /// Appends the event's value; nothing if it is null.
    pub fn push(self, event: &Event<'_>, out: &mut Vec<u8>) {
        match self.0.kind {
            Kind::Id(read) => out.extend_from_slice(&read(event).hex()),
            _ => out.extend_from_slice(self.value(event).as_bytes()),
        }
    }

    /// The event's value; empty if it is null. The id has no value here: it is not stored as a string.
    #[must_use]
    pub fn value<'e>(self, event: &'e Event<'_>) -> &'e str {
        match self.0.kind {
            Kind::Text(read)
            | Kind::OptionalText(read)
            | Kind::Vendor(read)
            | Kind::Enum(read, _)
            | Kind::OptionalEnum(read, _)
            | Kind::OmittedText(read)
            | Kind::Raw(read) => read(event).unwrap_or_default(),
            _ => "",
        }
    }
}

impl PartialEq for TextField {
    fn eq(&self, other: &Self) -> bool {
        self.path() == other.path()
    }
}

impl Eq for TextField {}

impl List {
    /// The fields of its items.
    #[must_use]
    pub fn fields(self) -> &'static [ItemField] {
        match self {
            Self::Grants => GRANTS,
            Self::Related => RELATED,
            Self::Changes => CHANGES,
        }
    }

    /// Number of items.
    #[must_use]
    pub fn len(self, event: &Event<'_>) -> usize {
        match self {
            Self::Grants => event.grants.len(),
            Self::Related => event.related.len(),
            Self::Changes => event.changes.len(),
        }
    }

    /// The items.
    pub fn items<'e>(self, event: &'e Event<'e>) -> impl Iterator<Item = Item<'e>> {
        (0..self.len(event)).map(move |index| match self {
            Self::Grants => Item::Grant(&event.grants[index]),
            Self::Related => Item::Related(&event.related[index]),
            Self::Changes => Item::Change(&event.changes[index]),
        })
    }
}

impl ItemField {
    /// The fields of this object; none if it is not an object.
    #[must_use]
    pub fn fields(&self) -> &'static [Self] {
        match self.kind {
            ItemKind::Object(fields) | ItemKind::OptionalObject(_, fields) => fields,
            _ => &[],
        }
    }
}

impl<'e> Item<'e> {
    fn grant(self) -> Option<&'e Grant<'e>> {
        match self {
            Self::Grant(grant) => Some(grant),
            _ => None,
        }
    }

    fn scope(self) -> Option<&'e Scope<'e>> {
        self.grant()?.scope.as_ref()
    }

    fn related(self) -> Option<&'e Related<'e>> {
        match self {
            Self::Related(related) => Some(related),
            _ => None,
        }
    }

    fn change(self) -> Option<&'e Change<'e>> {
        match self {
            Self::Change(change) => Some(change),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn paths_follow_the_nesting() {
        fn check(fields: &'static [Field], prefix: &str) {
            for field in fields {
                assert_eq!(field.path, format!("{prefix}{}", field.name));
                check(field.fields(), &format!("{}.", field.path));
            }
        }
        check(FIELDS, "");
    }

    #[test]
    fn templates_and_keys_use_string_fields() {
        let event = samples::grant_to_user();
        for field in TextField::for_templates() {
            assert!(!field.value(&event).is_empty(), "{}", field.path());
        }
        for field in TextField::for_keys() {
            let mut key = Vec::new();
            field.push(&event, &mut key);
            assert!(!key.is_empty(), "{}", field.path());
        }
    }
}
