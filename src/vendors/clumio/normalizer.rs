//! Clumio's JSON: the page envelope and the records.

use std::borrow::Cow;

use super::details::{self, Details, Findings, Given};
use super::entity::Entity;
use super::mapping;
use crate::event::{Actor, ActorType, Event, EventId, ObjectType, Product, Related, Role};
use crate::vendors;
use crate::vendors::contract::{
    BadPage, FieldPointers, NormalizerConfig, NormalizerOption, Page, ReadContext, RecordKey,
};
use crate::vendors::field::{self, Address, Identifier};
use crate::vendors::lenient::{self, Json, Text, json_object};
use crate::vendors::page::{self, Fields};
use crate::vendors::record::{self, Problems, RecordFormat};
use crate::vendors::settings::{choice, chosen};
use crate::vendors::time_text::TimeText;

pub(super) const NAME: &str = "clumio";

choice! {
    /// The value of `event_type`.
    EventType {
        /// The record's `action`.
        Action = "action",
        /// The record's `category` and `action` with a dot between.
        CategoryAction = "category_action",
    }
}

choice! {
    /// What records are deduplicated by.
    DedupeKey {
        /// Its id.
        Id = "id",
        /// Its id and its status: a record with another status is another event.
        IdAndStatus = "id+status",
    }
}

impl EventType {
    pub(super) const OPTION: &'static str = "event_type";
}

impl DedupeKey {
    pub(super) const OPTION: &'static str = "dedupe_key";
}

const OPTIONS: &[NormalizerOption] = &[
    NormalizerOption { name: EventType::OPTION, words: EventType::WORDS },
    NormalizerOption { name: DedupeKey::OPTION, words: DedupeKey::WORDS },
];

/// `request_body` is the body of the API call. Members of the bodies and answers in Clumio's Python SDK whose names do not tell:
/// the link of `DirectDownloadDataAccessObject`, the link by which restored files are shared, the external ids of `AWSConnection`,
/// by which Clumio assumes a role. Whether Clumio masks them in its audit trail is not documented.
const CREDENTIALS: &[&str] = &[
    "/raw/details/**/email_link",
    "/raw/details/**/download_link",
    "/raw/details/**/external_id",
    "/raw/details/**/role_external_id",
    "/raw/details_json/**/email_link",
    "/raw/details_json/**/download_link",
    "/raw/details_json/**/external_id",
    "/raw/details_json/**/role_external_id",
];

const FIELD_POINTERS: FieldPointers = &[
    ("actor.id", &["/raw/user_email"]),
    ("actor.email", &["/raw/user_email"]),
    ("actor.ip", &["/raw/ip_address"]),
    ("target.id", &["/raw/primary_entity/id"]),
    ("target.name", &["/raw/primary_entity/value"]),
    ("related.id", &["/raw/parent_entity/id"]),
    ("related.name", &["/raw/parent_entity/value"]),
];

json_object! {
    /// The fields that identify a record.
    pub(in crate::vendors) struct Key<'a> {
        id: Identifier<'a> = "id",
        timestamp: TimeText<'a> = "timestamp",
        status: Text<'a> = "status",
    }
}

json_object! {
    /// The fields of an audit trail record that the schema knows.
    pub(in crate::vendors) struct Item<'a> {
        id: Identifier<'a> = "id",
        timestamp: TimeText<'a> = "timestamp",
        action: Text<'a> = "action",
        category: Text<'a> = "category",
        status: Text<'a> = "status",
        user_email: Text<'a> = "user_email",
        interface: Text<'a> = "interface",
        ip_address: Address<'a> = "ip_address",
        primary: Entity<'a> = "primary_entity",
        parent: Entity<'a> = "parent_entity",
        details: Given<Box<Details<'a>>> = "details_json",
        details_text: Json<'a> = "details",
    }
}

json_object! {
    /// The fields that local filters match.
    struct Filterable<'a> {
        primary: Entity<'a> = "primary_entity",
        parent: Entity<'a> = "parent_entity",
        details: Tagged<'a> = "details_json",
    }
}

json_object! {
    struct Tagged<'a> {
        tags: Vec<Entity<'a>> = "tags",
    }
}

/// Parses a page with `before` records before it. `_embedded: null` and `items: null` are empty pages, as in the official
/// SDKs, unless the total says otherwise.
pub(super) fn parse_page(body: &str, before: u64) -> Result<Page<'_>, BadPage> {
    let envelope = page::envelope(NAME, body)?;
    if !envelope.has_any(&["_embedded", "_links", "total_count"]) {
        return Err(page::not_a_page(NAME, body));
    }
    let total = envelope.count("total_count");
    let left = total.map(|total| total.saturating_sub(before));
    let embedded = envelope.nested("_embedded");
    let records =
        if envelope.is_null("_embedded") { envelope.list("_embedded", left) } else { embedded.list("items", left) }?;
    let next = next_page(envelope.nested("_links"))?;
    Ok(Page { records, next, total, ..Page::default() })
}

/// The page number in the link to the next page. A link without one is an error, as in the official SDK: treating it as
/// the end would lose the remaining records.
fn next_page(links: &Fields<'_>) -> Result<Option<String>, BadPage> {
    let link = links.nested("_next");
    if link.is_empty() && links.next("_next")?.is_none() {
        return Ok(None);
    }
    let href = link.next("href")?;
    if href.is_none() && link.has_any(&["href"]) {
        return Ok(None);
    }
    let number = href.and_then(|href| page::query_value(&href, "start"));
    number.map(Some).ok_or_else(|| {
        let message = "its link to the next page has no page number (`start`), so it cannot be followed";
        BadPage::unreadable(message)
    })
}

/// Identifies and normalizes Clumio's records.
#[derive(Clone, Debug)]
pub struct ClumioNormalizer {
    tenant: Option<String>,
    event_type: EventType,
    dedupe_key: DedupeKey,
}

impl From<&NormalizerConfig> for ClumioNormalizer {
    fn from(config: &NormalizerConfig) -> Self {
        Self {
            tenant: config.tenant.clone(),
            event_type: chosen(config, EventType::OPTION),
            dedupe_key: chosen(config, DedupeKey::OPTION),
        }
    }
}

impl ClumioNormalizer {
    fn id_of(&self, id: Option<&str>, status: Option<&str>, raw: &str) -> EventId {
        let tenant = self.tenant.as_deref();
        match (id, self.dedupe_key) {
            (None, _) => record::key_of_bytes(NAME, tenant, raw).id,
            (Some(id), DedupeKey::Id) => EventId::of_key(NAME, tenant, id),
            (Some(id), DedupeKey::IdAndStatus) => {
                EventId::of_key(NAME, tenant, &format!("{id}\0{}", status.unwrap_or_default()))
            }
        }
    }

    fn event_type<'a>(&self, category: Option<&str>, action: Cow<'a, str>) -> Cow<'a, str> {
        match (self.event_type, category) {
            (EventType::CategoryAction, Some(category)) => Cow::Owned(format!("{category}.{action}")),
            _ => action,
        }
    }
}

impl RecordFormat for ClumioNormalizer {
    type Key<'a> = Key<'a>;
    type Record<'a> = Item<'a>;
    const VENDOR: &'static str = NAME;
    const PRODUCT: &'static Product = &Product { name: "Clumio", vendor_name: "Clumio" };
    const EXAMPLE: &'static str = r#"{"action":"user_deleted","category":"backup","details_json":{},"id":"d38fcaa9-200d-538e-a661-fbed769b1fc5",
 "interface":"ui","ip_address":"198.51.100.32","parent_entity":null,
 "primary_entity":{"id":"42","type":"user","value":"robin@example.com"},"status":"success",
 "timestamp":"2026-03-02T08:59:30.285759Z","user_email":"ada@example.com"}"#;
    const HAS_IDS: bool = true;
    const OPTIONS: &'static [NormalizerOption] = OPTIONS;
    const CREDENTIALS: &'static [&'static str] = CREDENTIALS;
    const FIELD_POINTERS: FieldPointers = FIELD_POINTERS;

    fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    fn key(&self, key: &Key<'_>, raw: &str) -> RecordKey {
        let id = self.id_of(key.id.text(), key.status.as_deref(), raw);
        RecordKey { id, timestamp: key.timestamp.at(), version: 0, content: 0 }
    }

    fn event<'a>(&self, item: Item<'a>, raw: &'a str, context: &ReadContext<'a>) -> Event<'a> {
        let mut problems = Problems::default();
        let id = self.id_of(item.id.text(), item.status.as_deref(), raw).nth(context.occurrence);
        let (category, action) =
            (item.category.as_deref().unwrap_or_default(), item.action.as_deref().unwrap_or_default());
        let (done, known) = mapping::meaning(category, action);
        let primary = mapping::object("primary_entity.id", item.primary, &mut problems);
        let parent = mapping::object("parent_entity.id", item.parent, &mut problems);
        // Without a primary entity the parent is the target.
        let (target, parent) = if primary.is_some() { (primary, parent) } else { (parent, None) };
        let Findings { action: done, target, grants, mut related } =
            details::findings(item.details, item.details_text, (category, done), target, &mut problems);
        related.splice(0..0, parent.map(|object| Related { role: Role::Parent, object }));
        let actor = actor(item.user_email, item.ip_address, item.interface);
        let target = target.or_else(|| item.category.clone().map(mapping::object_of_category));
        let kind = target.as_ref().map_or(ObjectType::Other, |target| target.kind);
        Event {
            tenant: self.tenant.clone().map(Cow::Owned),
            vendor_event_id: problems.require("id", item.id),
            action: done,
            category: vendors::mapping::category(done, known, kind, action),
            event_type: self.event_type(item.category.as_deref(), item.action.unwrap_or_default()),
            outcome: item.status.map(|status| mapping::outcome(&status)).unwrap_or_default(),
            timestamp: problems.timestamp("timestamp", &item.timestamp, context.observed_at),
            original_time: item.timestamp.into_given(),
            actor,
            target,
            grants,
            related,
            normalize_error: problems.into_error(),
            ..Event::new(id, NAME, context.source, context.observed_at, raw)
        }
    }

    fn split_page(json: &str) -> Option<Vec<&str>> {
        parse_page(json, 0).ok().map(|page| page.records)
    }
}

/// Records have no user id: the email address is used instead. Events of the system have no email address, or a dash.
fn actor<'a>(email: Text<'a>, ip: Address<'a>, interface: Text<'a>) -> Actor<'a> {
    let email = email.filter(|email| email != "-");
    let kind = if email.is_some() { ActorType::User } else { ActorType::System };
    let via = interface.map(|word| mapping::via(&word)).unwrap_or_default();
    let address = field::email(email.clone());
    Actor { kind, id: address.clone().or(email), email: address, ip: ip.ip(), via, ..Actor::default() }
}

/// Whether the record has every requested value in its assumed field: the S3 asset is the primary entity, the
/// backup its parent, the bucket's region a tag of the details.
pub(super) fn matches_all(raw: &str, wanted: &[(&str, &str)]) -> bool {
    if wanted.is_empty() {
        return true;
    }
    let Ok(record) = lenient::object::<Filterable<'_>>(raw) else { return true };
    wanted.iter().all(|(name, value)| match *name {
        "protection_group_s3_asset_id" => record.primary.id.text() == Some(value),
        "parent_protection_group_backup_id" => record.parent.id.text() == Some(value),
        _ => record.details.tags.iter().any(|tag| is_bucket_region(tag, value)),
    })
}

fn is_bucket_region(tag: &Entity<'_>, region: &str) -> bool {
    let values = [tag.id.text(), tag.name.as_deref()];
    tag.kind.as_deref() == Some("bucket_region") && values.contains(&Some(region))
}
