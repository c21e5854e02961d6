//! The common schema of all vendors' events: actor, action, target, timestamp, raw.
//!
//! ```text
//! vendor's record (bytes) --normalize--> Event<'a> (borrows from the record) --encode--> native JSON, OCSF or ECS
//! ```
//!
//! [`Event`] borrows from the record that it was read from: normalizing a page copies no strings. [`fields`] lists the fields,
//! [`enums`] the enumerations; [`id`] derives the ids. Sinks write [`native`] by default; [`ocsf`] and [`ecs`] encode the same
//! event in these schemas.

pub mod ecs;
pub mod enums;
pub mod fields;
pub mod id;
pub mod json;
pub mod native;
pub mod ocsf;
#[cfg(test)]
mod samples;
mod unmapped;

use std::borrow::Cow;

pub use enums::{Action, ActorType, Category, Outcome, Role};
pub use id::EventId;

use crate::time::{EventTime, Timestamp};

/// The version of the envelope that this build writes. A minor version only adds fields.
pub const SCHEMA_VERSION: &str = "1.0";

/// One audit event in the common schema. `docs/event-schema.md` specifies each field.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    /// Deterministic: the same vendor record has the same id on every machine.
    pub id: EventId,
    /// Increases when the vendor changes a delivered record (Akuity's `count`): the changed record is delivered with the
    /// same id and a higher version. `None` for vendors whose records never change.
    pub version: Option<u64>,
    /// The vendor's name, as registered in `vendors`.
    pub vendor: &'static str,
    /// The source's name in the pipeline file.
    pub source: &'a str,
    /// The vendor's organization, cloud or account id, if the settings or the record have it.
    pub tenant: Option<Cow<'a, str>>,
    /// The vendor's id of the record, if it has one.
    pub vendor_event_id: Option<Cow<'a, str>>,
    /// The vendor's name for what happened, unchanged. Empty if the record has none.
    pub event_type: Cow<'a, str>,
    /// What was done.
    pub action: Action,
    /// Which area it belongs to.
    pub category: Category,
    /// How it ended; `Unknown` if the record does not say.
    pub outcome: Outcome,
    /// The vendor's description for people.
    pub message: Option<Cow<'a, str>>,
    /// When it happened, by the vendor's clock.
    pub timestamp: EventTime,
    /// When auditflow first read it.
    pub observed_at: Timestamp,
    /// Who did it.
    pub actor: Actor<'a>,
    /// What it was done to.
    pub target: Option<Target<'a>>,
    /// Further objects that the event names.
    pub related: Vec<Related<'a>>,
    /// Changed values.
    pub changes: Vec<Change<'a>>,
    /// Why the record could not be normalized, if so. It is delivered nevertheless.
    pub normalize_error: Option<String>,
    /// The vendor's record, byte for byte.
    pub raw: &'a str,
}

/// Who acted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Actor<'a> {
    /// The type of actor.
    pub kind: ActorType,
    /// The vendor's id of the actor.
    pub id: Option<Cow<'a, str>>,
    /// Name for people.
    pub name: Option<Cow<'a, str>>,
    /// E-mail address as the vendor gave it.
    pub email: Option<Cow<'a, str>>,
    /// Source address as the vendor gave it.
    pub ip: Option<Cow<'a, str>>,
    /// The user that the actor acted as (impersonation).
    pub on_behalf_of: Option<OnBehalfOf<'a>>,
}

/// The effective user of an impersonated action.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnBehalfOf<'a> {
    /// The vendor's id.
    pub id: Option<Cow<'a, str>>,
    /// Name for people.
    pub name: Option<Cow<'a, str>>,
    /// E-mail address.
    pub email: Option<Cow<'a, str>>,
}

/// The primary object of an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target<'a> {
    /// The vendor's type of the object, lower case.
    pub kind: Option<Cow<'a, str>>,
    /// The vendor's id.
    pub id: Option<Cow<'a, str>>,
    /// Name for people.
    pub name: Option<Cow<'a, str>>,
}

/// A further object that an event names.
#[derive(Clone, Debug, PartialEq)]
pub struct Related<'a> {
    /// How it relates to the event.
    pub role: Role,
    /// The object.
    pub object: Target<'a>,
}

/// One changed value.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<'a> {
    /// What changed.
    pub field: Cow<'a, str>,
    /// The value before, as a string.
    pub old: Option<Cow<'a, str>>,
    /// The value after, as a string.
    pub new: Option<Cow<'a, str>>,
}
