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
pub mod grant;
pub mod id;
pub mod json;
pub mod json_schema;
pub mod native;
pub mod ocsf;
#[cfg(test)]
mod samples;
mod unmapped;

use std::borrow::Cow;

pub use enums::{Action, ActorType, Category, GrantEffect, GranteeType, ObjectType, Outcome, Role, Via};
pub use grant::{Grant, Grantee, Scope};
pub use id::EventId;

use crate::time::Timestamp;

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
    /// The names of the vendor and its product for people; without them, `vendor` stands for both.
    pub product: Option<&'static Product>,
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
    /// When it happened, by the vendor's clock. Written with microseconds.
    pub timestamp: Timestamp,
    /// The same as the record has it, even if it cannot be read.
    pub original_time: Option<Cow<'a, str>>,
    /// When auditflow first read it. Written with microseconds.
    pub observed_at: Timestamp,
    /// Who did it.
    pub actor: Actor<'a>,
    /// What it was done to.
    pub target: Option<Target<'a>>,
    /// Who received or lost which access; empty for all other events.
    pub grants: Vec<Grant<'a>>,
    /// Further objects that the event names.
    pub related: Vec<Related<'a>>,
    /// Changed values.
    pub changes: Vec<Change<'a>>,
    /// Why the record could not be normalized, if so. It is delivered nevertheless.
    pub normalize_error: Option<String>,
    /// What a `redact` transform removed or replaced: paths of fields, and JSON Pointers into `raw`. Without one that begins
    /// with `/raw`, `raw` is the vendor's.
    pub redacted: Vec<String>,
    /// The vendor's record, byte for byte unless it was redacted.
    pub raw: &'a str,
}

impl<'a> Event<'a> {
    /// An event of which only the origin is known: `timestamp` is `observed_at`, action and category are `other`. Normalizers
    /// set what the record says.
    #[must_use]
    pub fn new(id: EventId, vendor: &'static str, source: &'a str, observed_at: Timestamp, raw: &'a str) -> Self {
        Self {
            id,
            version: None,
            vendor,
            product: None,
            source,
            tenant: None,
            vendor_event_id: None,
            event_type: Cow::Borrowed(""),
            action: Action::Other,
            category: Category::Other,
            outcome: Outcome::Unknown,
            message: None,
            timestamp: observed_at,
            original_time: None,
            observed_at,
            actor: Actor::default(),
            target: None,
            grants: Vec::new(),
            related: Vec::new(),
            changes: Vec::new(),
            normalize_error: None,
            redacted: Vec::new(),
            raw,
        }
    }
}

/// A product as its vendor calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// The product.
    pub name: &'static str,
    /// The company.
    pub vendor_name: &'static str,
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
    /// E-mail address, in lower case.
    pub email: Option<Cow<'a, str>>,
    /// Source address.
    pub ip: Option<Cow<'a, str>>,
    /// How the act came in; `Unknown` if the record does not say.
    pub via: Via,
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
    /// The type of object, the same for all vendors.
    pub kind: ObjectType,
    /// The vendor's word for the type.
    pub vendor_type: Option<Cow<'a, str>>,
    /// The vendor's id.
    pub id: Option<Cow<'a, str>>,
    /// Name for people.
    pub name: Option<Cow<'a, str>>,
    /// E-mail address, in lower case.
    pub email: Option<Cow<'a, str>>,
}

impl Target<'_> {
    /// Whether it has an id, a name or an e-mail address.
    #[must_use]
    pub fn is_identified(&self) -> bool {
        [&self.id, &self.name, &self.email].into_iter().flatten().any(|text| !text.is_empty())
    }
}

/// The object of an event as grantee.
impl<'a> From<&Target<'a>> for Grantee<'a> {
    fn from(object: &Target<'a>) -> Self {
        let kind = match object.kind {
            ObjectType::User => GranteeType::User,
            ObjectType::Group => GranteeType::Group,
            ObjectType::Role => GranteeType::Role,
            ObjectType::ApiKey | ObjectType::Token => GranteeType::ApiKey,
            _ => GranteeType::Unknown,
        };
        Self { kind, id: object.id.clone(), name: object.name.clone(), email: object.email.clone() }
    }
}

/// The object of an event as scope.
impl<'a> From<&Target<'a>> for Scope<'a> {
    fn from(object: &Target<'a>) -> Self {
        Self { kind: object.kind, id: object.id.clone(), name: object.name.clone() }
    }
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
