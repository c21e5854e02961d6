//! Confluence's JSON: the page envelope and the records, which are identified by a hash of their fields.

use std::borrow::Cow;

use super::{grants, mapping};
use crate::event::id::IdHasher;
use crate::event::{Action, Actor, ActorType, Change, Event, EventId, ObjectType, Product, Related, Role, Target};
use crate::time::Timestamp;
use crate::vendors::contract::{BadPage, FieldPointers, NormalizerConfig, NormalizerOption, ReadContext, RecordKey};
use crate::vendors::field::{self, Identifier};
use crate::vendors::lenient::{Shown, Text, json_object};
use crate::vendors::mapping as shared;
use crate::vendors::page::{self, Fields};
use crate::vendors::record::{self, Problems, RecordFormat};
use crate::vendors::time_text::TimeText;

pub(super) const NAME: &str = "confluence";

/// The number of records of the whole scan. Without it, the scan ends at the first empty page.
pub(super) const SIZE: &str = "size";

/// The records of an `AuditRecordArray` behind `offset` others.
pub(super) fn records_of<'a>(envelope: &Fields<'a>, body: &str, offset: u64) -> Result<Vec<&'a str>, BadPage> {
    if !envelope.has_any(&["results", "start", "limit", SIZE]) {
        return Err(page::not_a_page(NAME, body));
    }
    let left = envelope.count(SIZE).map(|total| total.saturating_sub(offset));
    envelope.list("results", left)
}

/// Identifies and normalizes Confluence's records.
#[derive(Clone, Debug)]
pub struct ConfluenceNormalizer {
    tenant: Option<String>,
}

json_object! {
    /// Confluence's `AuditRecord`. Any string may be empty or null, any field may be absent.
    pub(in crate::vendors) struct AuditRecord<'a> {
        author: Author<'a> = "author",
        remote_address: Text<'a> = "remoteAddress",
        creation_date: TimeText<'a> = "creationDate",
        summary: Text<'a> = "summary",
        description: Text<'a> = "description",
        category: Text<'a> = "category",
        sys_admin: Option<bool> = "sysAdmin",
        super_admin: Option<bool> = "superAdmin",
        affected: NamedObject<'a> = "affectedObject",
        changed: Vec<ChangedValue<'a>> = "changedValues",
        associated: Vec<NamedObject<'a>> = "associatedObjects",
    }
}

json_object! {
    /// Who acted. `publicName` is not used: it is nearly always "Unknown user".
    struct Author<'a> {
        account_id: Identifier<'a> = "accountId",
        display_name: Text<'a> = "displayName",
    }
}

json_object! {
    struct NamedObject<'a> {
        name: Text<'a> = "name",
        kind: Text<'a> = "objectType",
    }
}

json_object! {
    struct ChangedValue<'a> {
        name: Text<'a> = "name",
        old: Shown<'a> = "oldValue",
        new: Shown<'a> = "newValue",
        hidden_old: Shown<'a> = "hiddenOldValue",
        hidden_new: Shown<'a> = "hiddenNewValue",
    }
}

impl AuditRecord<'_> {
    /// The record's time. Documented are milliseconds.
    fn time(&self) -> Option<Timestamp> {
        self.creation_date.at()
    }

    fn is_by_administrator(&self) -> bool {
        self.sys_admin == Some(true) || self.super_admin == Some(true)
    }
}

/// `username` and `userKey` repeat the account id, and `publicName` is another name.
const FIELD_POINTERS: FieldPointers = &[
    ("actor.id", &["/raw/author/accountId", "/raw/author/username", "/raw/author/userKey"]),
    ("actor.name", &["/raw/author/displayName", "/raw/author/publicName"]),
    ("actor.ip", &["/raw/remoteAddress"]),
    ("changes.old", &["/raw/changedValues/*/oldValue", "/raw/changedValues/*/hiddenOldValue"]),
    ("changes.new", &["/raw/changedValues/*/newValue", "/raw/changedValues/*/hiddenNewValue"]),
];

impl From<&NormalizerConfig> for ConfluenceNormalizer {
    fn from(config: &NormalizerConfig) -> Self {
        Self { tenant: config.tenant.clone() }
    }
}

impl ConfluenceNormalizer {
    /// The hash of the event's fields. Of the author it includes only the account id (or the display name if there is
    /// none): the other fields describe the account at the time of reading and would turn one event into two. A record
    /// without a usable time is identified by its bytes, since its other fields may equal those of a different record.
    fn id_of(&self, record: &AuditRecord<'_>, raw: &str) -> EventId {
        let Some(time) = record.time() else {
            return record::key_of_bytes(NAME, self.tenant.as_deref(), raw).id;
        };
        let mut hasher = IdHasher::new(NAME, self.tenant.as_deref());
        record::number_field(&mut hasher, Some(time.as_millis()));
        let flag = |set: Option<bool>| Some(if set == Some(true) { "true" } else { "false" });
        let author = &record.author;
        let name_without_id = author.display_name.as_deref().filter(|_| author.account_id.text().is_none());
        for field in [
            record.category.as_deref(),
            record.summary.as_deref(),
            record.description.as_deref(),
            record.remote_address.as_deref(),
            flag(record.sys_admin),
            flag(record.super_admin),
            author.account_id.text(),
            name_without_id,
        ] {
            hasher.field(field);
        }
        hash_object(&mut hasher, &record.affected);
        hash_count(&mut hasher, record.associated.len());
        record.associated.iter().for_each(|object| hash_object(&mut hasher, object));
        hash_count(&mut hasher, record.changed.len());
        record.changed.iter().for_each(|change| hash_change(&mut hasher, change));
        hasher.finish()
    }
}

impl RecordFormat for ConfluenceNormalizer {
    type Key<'a> = AuditRecord<'a>;
    type Record<'a> = AuditRecord<'a>;
    const VENDOR: &'static str = NAME;
    const PRODUCT: &'static Product = &Product { name: "Confluence", vendor_name: "Atlassian" };
    const EXAMPLE: &'static str = r#"{
 "author":{"type":"user","displayName":"Avery Example","accountId":"712020:5f0c1d7e-0000-4000-8000-000000000001"},
 "remoteAddress":"203.0.113.24","creationDate":1772441970123,"summary":"Space permission added",
 "description":"","category":"Permissions","sysAdmin":false,
 "affectedObject":{"name":"Blake Sample","objectType":"User"},
 "changedValues":[{"name":"Type","oldValue":"","newValue":"SETSPACEPERMISSIONS"},{"name":"Space","oldValue":"","newValue":"FIN"}],
 "associatedObjects":[{"name":"Finance","objectType":"Space"}]}"#;
    const HAS_IDS: bool = false;
    const OPTIONS: &'static [NormalizerOption] = &[];
    // None is documented.
    const CREDENTIALS: &'static [&'static str] = &[];
    const FIELD_POINTERS: FieldPointers = FIELD_POINTERS;

    fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    fn key(&self, record: &AuditRecord<'_>, raw: &str) -> RecordKey {
        RecordKey { id: self.id_of(record, raw), timestamp: record.time(), version: 0, content: 0 }
    }

    fn event<'a>(&self, record: AuditRecord<'a>, raw: &'a str, context: &ReadContext<'a>) -> Event<'a> {
        let mut problems = Problems::default();
        let id = self.id_of(&record, raw).nth(context.occurrence);
        let is_administrator = record.is_by_administrator();
        let changes: Vec<Change<'_>> = record.changed.into_iter().map(change).collect();
        let related: Vec<Related<'_>> = record.associated.into_iter().filter_map(associated).collect();
        let target = object(record.affected).map(|target| with_email(target, &changes));
        let summary = record.summary.as_deref().unwrap_or_default();
        let kind = target.as_ref().map_or(ObjectType::Other, |target| target.kind);
        let (mut action, category) = mapping::meaning(Some(summary), record.category.as_deref(), kind);
        if mapping::begins_with(summary, mapping::USER_DETAILS) {
            action = switched(&changes).unwrap_or(action);
        }
        Event {
            tenant: self.tenant.clone().map(Cow::Owned),
            outcome: shared::outcome_of(summary).unwrap_or_default(),
            grants: grants::of(action, summary, target.as_ref(), &related, &changes),
            event_type: record.summary.unwrap_or_default(),
            action,
            category,
            message: record.description,
            timestamp: problems.timestamp("creationDate", &record.creation_date, context.observed_at),
            original_time: record.creation_date.into_given(),
            actor: actor(record.author, record.remote_address, is_administrator, &mut problems),
            target,
            related,
            changes,
            normalize_error: problems.into_error(),
            ..Event::new(id, NAME, context.source, context.observed_at, raw)
        }
    }

    fn split_page(json: &str) -> Option<Vec<&str>> {
        records_of(&page::envelope(NAME, json).ok()?, json, 0).ok()
    }
}

/// The number of items before the items, so that an item cannot pass from one list into the next.
fn hash_count(hasher: &mut IdHasher, count: usize) {
    record::number_field(hasher, i64::try_from(count).ok());
}

fn hash_object(hasher: &mut IdHasher, object: &NamedObject<'_>) {
    hasher.field(object.name.as_deref());
    hasher.field(object.kind.as_deref());
}

fn hash_change(hasher: &mut IdHasher, change: &ChangedValue<'_>) {
    hasher.field(change.name.as_deref());
    for value in [&change.old, &change.new, &change.hidden_old, &change.hidden_new] {
        hasher.field(value.0.as_deref());
    }
}

fn actor<'a>(author: Author<'a>, address: Text<'a>, is_administrator: bool, problems: &mut Problems) -> Actor<'a> {
    let id = problems.identifier("author.accountId", author.account_id);
    let kind = match (&id, author.display_name.as_deref()) {
        (Some(_), _) if is_administrator => ActorType::Admin,
        (Some(_), _) => ActorType::User,
        (None, Some("System")) => ActorType::System,
        (None, Some(grants::ANONYMOUS)) => ActorType::Anonymous,
        (None, _) => ActorType::Unknown,
    };
    Actor { kind, id, name: author.display_name, ip: field::ip(address), ..Actor::default() }
}

/// An object without a name is absent: both of its fields are empty in practice.
fn object(object: NamedObject<'_>) -> Option<Target<'_>> {
    let name = object.name?;
    let kind = object.kind.as_deref().map_or(ObjectType::Other, mapping::object_type);
    let (name, id) = if kind == ObjectType::Group { split_group(name) } else { (name, None) };
    let email = if kind == ObjectType::User { field::email(Some(name.clone())) } else { None };
    Some(Target { kind, vendor_type: object.kind, id, name: Some(name), email })
}

fn associated(associated: NamedObject<'_>) -> Option<Related<'_>> {
    object(associated).map(|object| Related { role: Role::Associated, object })
}

/// A user's address is among the changes, if anywhere.
fn with_email<'a>(target: Target<'a>, changes: &[Change<'a>]) -> Target<'a> {
    if target.kind != ObjectType::User {
        return target;
    }
    let changed = changes.iter().find(|change| change.field == "Email");
    let email = changed.and_then(|change| field::email(change.new.clone())).or(target.email);
    Target { email, ..target }
}

/// Whether an account was disabled or enabled: `User deactivated` names no user, the change that follows does.
fn switched(changes: &[Change<'_>]) -> Option<Action> {
    let active = changes.iter().find(|change| change.field == "Active")?;
    match (active.old.as_deref()?, active.new.as_deref()?) {
        ("Yes" | "true", "No" | "false") => Some(Action::Disable),
        ("No" | "false", "Yes" | "true") => Some(Action::Enable),
        _ => None,
    }
}

/// Hidden values count where the plain ones are empty.
fn change(value: ChangedValue<'_>) -> Change<'_> {
    let (old, new) = (value.old.0.or(value.hidden_old.0), value.new.0.or(value.hidden_new.0));
    Change { field: value.name.unwrap_or_default(), old, new }
}

/// A group's name ends in its id: `confluence-users:4d0b7f52-1111-4222-8333-444455556666`.
fn split_group(name: Cow<'_, str>) -> (Cow<'_, str>, Option<Cow<'_, str>>) {
    let Some((group, id)) = name.rsplit_once(':').filter(|(group, id)| !group.is_empty() && is_uuid(id)) else {
        return (name, None);
    };
    let id_starts = name.len() - id.len();
    let name_ends = group.len();
    match name {
        Cow::Borrowed(text) => (Cow::Borrowed(&text[..name_ends]), Some(Cow::Borrowed(&text[id_starts..]))),
        Cow::Owned(text) => (Cow::Owned(text[..name_ends].to_owned()), Some(Cow::Owned(text[id_starts..].to_owned()))),
    }
}

/// Lower-case hex digits in groups of 8, 4, 4, 4 and 12.
fn is_uuid(text: &str) -> bool {
    const FORM: &[u8; 36] = b"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    let fits = |(byte, form): (u8, &u8)| match form {
        b'-' => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    text.len() == FORM.len() && text.bytes().zip(FORM).all(fits)
}
