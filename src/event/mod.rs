//! The one schema that every vendor's records are brought into: actor, action, target, timestamp, raw.
//!
//! ```text
//! vendor's record (bytes) --normalize--> Event<'a> (borrows from the record) --encode--> native JSON, OCSF or ECS
//! ```
//!
//! [`Event`] borrows from the record that it was read from, so that normalizing a page copies no text. The closed lists
//! are in [`lists`], the deterministic ids in [`id`], and what a sink writes by default in [`native`]; [`ocsf`] and [`ecs`]
//! write the same event for those who keep to these schemas.

pub mod ecs;
pub mod id;
pub mod json;
pub mod lists;
pub mod native;
mod object;
pub mod ocsf;
mod own;
#[cfg(test)]
mod samples;

use std::borrow::Cow;

pub use id::EventId;
pub use lists::{Action, ActorType, Category, Outcome, Role};

use crate::time::{EventTime, Timestamp};

/// The version of the envelope that this build writes. A minor step only adds fields.
pub const SCHEMA_VERSION: &str = "1.0";

/// One audit event in the common schema. See `docs/event-schema.md` for each field's rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    /// Deterministic: the same vendor record gives the same id on every machine, for ever.
    pub id: EventId,
    /// Grows when the vendor changes a record that was already delivered (Akuity's `count`): the changed record comes
    /// again with the same id and a higher version. `None` for vendors whose records never change.
    pub version: Option<u64>,
    /// The vendor's name, one of the table in `vendors`.
    pub vendor: &'static str,
    /// The source's name in the pipeline file.
    pub source: &'a str,
    /// The vendor's organization, cloud or account id, if the config or the record tells it.
    pub tenant: Option<Cow<'a, str>>,
    /// The vendor's own id of the record, where its feed has one.
    pub vendor_event_id: Option<Cow<'a, str>>,
    /// The vendor's own word for what happened, untouched. Empty where the record has none.
    pub event_type: Cow<'a, str>,
    /// What was done, in our closed list.
    pub action: Action,
    /// Which area it belongs to, in our closed list.
    pub category: Category,
    /// How it ended; `Unknown` where the feed says nothing.
    pub outcome: Outcome,
    /// The vendor's sentence for people.
    pub message: Option<Cow<'a, str>>,
    /// When it happened, by the vendor's clock.
    pub timestamp: EventTime,
    /// When it was first read by us.
    pub observed_at: Timestamp,
    /// Who did it.
    pub actor: Actor<'a>,
    /// What it was done to.
    pub target: Option<Target<'a>>,
    /// Further objects that the event names.
    pub related: Vec<Related<'a>>,
    /// Values before and after.
    pub changes: Vec<Change<'a>>,
    /// Why the record could not be normalized, if so. It is delivered all the same.
    pub normalize_error: Option<String>,
    /// The vendor's record, byte for byte.
    pub raw: &'a str,
}

/// Who acted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Actor<'a> {
    /// What kind of actor.
    pub kind: ActorType,
    /// The vendor's id of the actor.
    pub id: Option<Cow<'a, str>>,
    /// Name for people.
    pub name: Option<Cow<'a, str>>,
    /// E-mail address as the vendor gave it.
    pub email: Option<Cow<'a, str>>,
    /// Source address as the vendor gave it.
    pub ip: Option<Cow<'a, str>>,
    /// The person in whose name the actor acted (impersonation).
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
    /// The vendor's word for what kind of thing it is, lower case.
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
    /// The value before, as text.
    pub old: Option<Cow<'a, str>>,
    /// The value after, as text.
    pub new: Option<Cow<'a, str>>,
}
