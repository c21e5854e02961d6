//! Merge's JSON: the page envelope and the records, which are identified by their `id`.

use std::borrow::Cow;

use super::mapping::{self, Object};
use crate::event::{Actor, ActorType, Event, EventId, ObjectType, Outcome, Product, Related, Role, Target, Via};
use crate::vendors::contract::{BadPage, FieldPointers, NormalizerConfig, NormalizerOption, ReadContext, RecordKey};
use crate::vendors::field::{self, Address, Identifier};
use crate::vendors::lenient::{Text, json_object};
use crate::vendors::mapping::entry_in_any_case;
use crate::vendors::page::{self, Fields};
use crate::vendors::record::{self, Problems, RecordFormat};
use crate::vendors::time_text::TimeText;

pub(super) const NAME: &str = "merge";

/// The records of a `PaginatedAuditLogEventList`.
pub(super) fn records_of<'a>(envelope: &Fields<'a>, body: &str) -> Result<Vec<&'a str>, BadPage> {
    if !envelope.has_any(&["results", "next", "previous"]) {
        return Err(page::not_a_page(NAME, body));
    }
    envelope.list("results", None)
}

/// Identifies and normalizes Merge's records.
#[derive(Clone, Debug)]
pub struct MergeNormalizer {
    tenant: Option<String>,
    outcome: Outcome,
}

json_object! {
    /// The fields that identify a record.
    pub(in crate::vendors) struct Key<'a> {
        id: Identifier<'a> = "id",
        created_at: TimeText<'a> = "created_at",
    }
}

json_object! {
    /// Merge's `AuditLogEvent`.
    pub(in crate::vendors) struct AuditLogEvent<'a> {
        id: Identifier<'a> = "id",
        user_name: Text<'a> = "user_name",
        user_email: Text<'a> = "user_email",
        role: Text<'a> = "role",
        ip_address: Address<'a> = "ip_address",
        event_type: Text<'a> = "event_type",
        event_description: Text<'a> = "event_description",
        created_at: TimeText<'a> = "created_at",
    }
}

/// Merge's roles. Staff of the vendor are not users of the customer's organization, so they are mapped to a service.
const ROLES: &[(&str, ActorType)] = &[
    ("ADMIN", ActorType::Admin),
    ("DEVELOPER", ActorType::User),
    ("MEMBER", ActorType::User),
    ("API", ActorType::ApiKey),
    ("SYSTEM", ActorType::System),
    ("MERGE_TEAM", ActorType::Service),
    ("SUPPORT", ActorType::Service),
];

const FIELD_POINTERS: FieldPointers = &[
    ("actor.id", &["/raw/user_email"]),
    ("actor.name", &["/raw/user_name"]),
    ("actor.email", &["/raw/user_email"]),
    ("actor.ip", &["/raw/ip_address"]),
];

impl From<&NormalizerConfig> for MergeNormalizer {
    fn from(config: &NormalizerConfig) -> Self {
        Self { tenant: config.tenant.clone(), outcome: record::assumed_outcome(config) }
    }
}

impl MergeNormalizer {
    fn id_of(&self, vendor_id: Option<&str>, raw: &str) -> EventId {
        EventId::of_key(NAME, self.tenant.as_deref(), vendor_id.unwrap_or(raw))
    }
}

impl RecordFormat for MergeNormalizer {
    type Key<'a> = Key<'a>;
    type Record<'a> = AuditLogEvent<'a>;
    const VENDOR: &'static str = NAME;
    const PRODUCT: &'static Product = &Product { name: "Merge", vendor_name: "Merge" };
    const EXAMPLE: &'static str = r#"{"id":"0f6d2c1e-5a0b-4c55-9d0e-2f7c1b8a9e01","user_name":"Ada Example","user_email":"ada@example.com",
 "role":"ADMIN","ip_address":"192.0.2.123","event_type":"CHANGED_SCOPES",
 "event_description":"Organization-wide Scopes for model hris.Employee updated from Read to Read+Write",
 "created_at":"2026-03-02T08:59:30.004211Z"}"#;
    const HAS_IDS: bool = true;
    const OPTIONS: &'static [NormalizerOption] = &[record::ASSUME_SUCCESS];
    // None is documented.
    const CREDENTIALS: &'static [&'static str] = &[];
    const FIELD_POINTERS: FieldPointers = FIELD_POINTERS;

    fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    fn key(&self, key: &Key<'_>, raw: &str) -> RecordKey {
        RecordKey { id: self.id_of(key.id.text(), raw), timestamp: key.created_at.at(), version: 0, content: 0 }
    }

    fn event<'a>(&self, record: AuditLogEvent<'a>, raw: &'a str, context: &ReadContext<'a>) -> Event<'a> {
        let mut problems = Problems::default();
        let id = self.id_of(record.id.text(), raw).nth(context.occurrence);
        let event_type = record.event_type.unwrap_or_default();
        let meaning = mapping::meaning(&event_type);
        let actor = actor(record.role, record.user_name, record.user_email, record.ip_address);
        let (target, change) = match mapping::changed_scopes(&event_type, record.event_description.as_ref()) {
            Some((target, change)) => (Some(target), Some(change)),
            None => (target(meaning.target, &actor), None),
        };
        let related = people_in(record.event_description.as_deref(), &actor, target.as_ref());
        Event {
            tenant: self.tenant.clone().map(Cow::Owned),
            vendor_event_id: problems.require("id", record.id),
            event_type,
            action: meaning.action,
            category: meaning.category,
            outcome: self.outcome,
            message: record.event_description,
            timestamp: problems.timestamp("created_at", &record.created_at, context.observed_at),
            original_time: record.created_at.into_given(),
            actor,
            target,
            related,
            changes: change.into_iter().collect(),
            normalize_error: problems.into_error(),
            ..Event::new(id, NAME, context.source, context.observed_at, raw)
        }
    }

    fn split_page(json: &str) -> Option<Vec<&str>> {
        records_of(&page::envelope(NAME, json).ok()?, json).ok()
    }
}

/// The target by the event type. A user's own account is the actor's, if the actor is a person.
fn target<'a>(object: Object, actor: &Actor<'a>) -> Option<Target<'a>> {
    let is_person = matches!(actor.kind, ActorType::User | ActorType::Admin);
    let (kind, word) = match object {
        Object::Known(kind, word) => (kind, word),
        Object::Actor => (ObjectType::User, "user"),
        Object::Unknown => return None,
    };
    let target = Target { kind, vendor_type: Some(Cow::Borrowed(word)), ..Target::default() };
    if object != Object::Actor || !is_person {
        return Some(target);
    }
    Some(Target { id: actor.email.clone(), name: actor.name.clone(), email: actor.email.clone(), ..target })
}

/// The people whose e-mail addresses the description holds, in whatever form: they are involved, no more is known.
fn people_in<'a>(description: Option<&str>, actor: &Actor<'_>, target: Option<&Target<'_>>) -> Vec<Related<'a>> {
    let mut people: Vec<Related<'a>> = Vec::new();
    let Some(description) = description.filter(|text| text.contains('@')) else { return people };
    for word in description.split(|c: char| c.is_whitespace() || "\"'`<>()[]{},;:".contains(c)) {
        let word = word.trim_end_matches(['.', '!', '?']);
        let Some(email) = field::email(Some(Cow::Borrowed(word))).map(|email| Cow::Owned(email.into_owned())) else {
            continue;
        };
        let email = Some(email);
        let is_known = people.iter().any(|person| person.object.email == email);
        if is_known || email == actor.email || target.is_some_and(|target| target.email == email) {
            continue;
        }
        let object = Target { kind: ObjectType::User, email, ..Target::default() };
        people.push(Related { role: Role::Mentioned, object });
    }
    people
}

/// Merge has no user ids: the email address is used instead, or else the role.
fn actor<'a>(role: Text<'a>, name: Text<'a>, email: Text<'a>, ip: Address<'a>) -> Actor<'a> {
    let kind = role.as_deref().and_then(|role| entry_in_any_case(ROLES, role)).unwrap_or_default();
    let via = if kind == ActorType::ApiKey { Via::Api } else { Via::Unknown };
    let address = field::email(email.clone());
    Actor { kind, id: address.clone().or(email).or(role), name, email: address, ip: ip.ip(), via, ..Actor::default() }
}
