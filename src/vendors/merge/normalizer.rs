//! Merge's records: known again by their `id`, brought into the schema.

use std::borrow::Cow;

use super::super::lenient::{self, Text, json_object};
use super::super::{Normalizer, NormalizerConfig, NormalizerOption, ReadContext, RecordKey, page, record};
use super::mapping;
use super::{Envelope, NAME};
use crate::event::{Actor, ActorType, Event, EventId, Outcome, Target};
use crate::time::{EventTime, Timestamp};

/// Knows and normalizes Merge's records.
#[derive(Clone, Debug)]
pub struct MergeNormalizer {
    tenant: Option<String>,
    outcome: Outcome,
}

json_object! {
    /// What a record is known by.
    struct Key<'a> {
        id: Text<'a> = "id",
        created_at: Text<'a> = "created_at",
    }
}

json_object! {
    /// Merge's `AuditLogEvent`.
    struct AuditLogEvent<'a> {
        id: Text<'a> = "id",
        user_name: Text<'a> = "user_name",
        user_email: Text<'a> = "user_email",
        role: Text<'a> = "role",
        ip_address: Text<'a> = "ip_address",
        event_type: Text<'a> = "event_type",
        event_description: Text<'a> = "event_description",
        created_at: Text<'a> = "created_at",
    }
}

/// Merge's roles. Staff of the vendor are no users of the customer's organization, so they stand as a service.
const ROLES: &[(&str, ActorType)] = &[
    ("ADMIN", ActorType::Admin),
    ("DEVELOPER", ActorType::User),
    ("MEMBER", ActorType::User),
    ("API", ActorType::ApiKey),
    ("SYSTEM", ActorType::System),
    ("MERGE_TEAM", ActorType::Service),
    ("SUPPORT", ActorType::Service),
];

impl MergeNormalizer {
    /// From the stored profile.
    #[must_use]
    pub fn new(normalizer_config: &NormalizerConfig) -> Self {
        Self { tenant: normalizer_config.tenant.clone(), outcome: record::assumed_outcome(normalizer_config) }
    }

    fn tenant(&self) -> Option<Cow<'static, str>> {
        self.tenant.clone().map(Cow::Owned)
    }

    fn id_of(&self, vendor_id: Option<&str>, raw: &str) -> EventId {
        EventId::of_key(NAME, self.tenant.as_deref(), vendor_id.unwrap_or(raw))
    }

    fn event<'a>(&self, record: AuditLogEvent<'a>, raw: &'a str, context: &ReadContext<'a>) -> Event<'a> {
        let time = record.created_at.as_deref().and_then(EventTime::parse_rfc3339);
        let meaning = mapping::meaning(record.event_type.as_deref().unwrap_or_default());
        let event = Event {
            id: self.id_of(record.id.as_deref(), raw).nth(context.occurrence),
            version: None,
            vendor: NAME,
            source: context.source,
            tenant: self.tenant(),
            vendor_event_id: record.id,
            event_type: record.event_type.unwrap_or_default(),
            action: meaning.action,
            category: meaning.category,
            outcome: self.outcome,
            message: record.event_description,
            timestamp: time.unwrap_or(context.observed_at.with_digits(3)),
            observed_at: context.observed_at,
            actor: actor(record.role, record.user_name, record.user_email, record.ip_address),
            target: meaning.target.map(|kind| Target { kind: Some(Cow::Borrowed(kind)), id: None, name: None }),
            related: Vec::new(),
            changes: Vec::new(),
            normalize_error: None,
            raw,
        };
        match time {
            Some(_) => event,
            None => record::without_time(event, record::no_usable_time("created_at", record.created_at.as_deref())),
        }
    }
}

/// In the form that the documentation shows.
const EXAMPLE: &str = r#"{"id":"0f6d2c1e-5a0b-4c55-9d0e-2f7c1b8a9e01","user_name":"Ada Example","user_email":"ada@example.com",
 "role":"ADMIN","ip_address":"192.0.2.123","event_type":"CHANGED_SCOPES",
 "event_description":"Organization-wide Scopes for model hris.Employee updated from Read to Read+Write",
 "created_at":"2026-03-02T08:59:30.004211Z"}"#;

impl Normalizer for MergeNormalizer {
    fn key_of(&self, raw: &str) -> RecordKey {
        let Ok(key) = lenient::object::<Key<'_>>(raw) else {
            return record::key_of_bytes(NAME, self.tenant.as_deref(), raw);
        };
        let timestamp = key.created_at.as_deref().and_then(Timestamp::parse_rfc3339);
        RecordKey { id: self.id_of(key.id.as_deref(), raw), timestamp, version: 0 }
    }

    fn example(&self) -> &'static str {
        EXAMPLE
    }

    fn normalize<'a>(&self, raw: &'a str, context: &ReadContext<'a>) -> Event<'a> {
        match lenient::object(raw) {
            Ok(record) => self.event(record, raw, context),
            Err(reason) => record::unreadable(NAME, self.tenant.as_deref(), raw, context, reason),
        }
    }

    fn options(&self) -> &'static [NormalizerOption] {
        &[record::ASSUME_SUCCESS]
    }

    fn page_records<'a>(&self, json: &'a str) -> Option<Vec<&'a str>> {
        let envelope: Envelope<'a> = page::envelope(NAME, json).ok()?;
        envelope.records()
    }
}

/// Merge gives no user id: the e-mail address stands for it, else the role.
fn actor<'a>(role: Text<'a>, name: Text<'a>, email: Text<'a>, ip: Text<'a>) -> Actor<'a> {
    let kind = ROLES.iter().find(|(known, _)| role.as_deref() == Some(known)).map_or(ActorType::Unknown, |row| row.1);
    Actor { kind, id: email.clone().or(role), name, email, ip: record::valid_ip(ip), on_behalf_of: None }
}
