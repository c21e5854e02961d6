//! Clumio's JSON: the page envelope and the records, and the tables that map them to the schema.

use std::borrow::Cow;

use crate::event::{Action, Actor, ActorType, Category, Event, EventId, ObjectType, Outcome, Related, Role, Target};
use crate::vendors::contract::{BadPage, NormalizerConfig, NormalizerOption, Page, ReadContext, RecordKey};
use crate::vendors::field::{self, Address, Identifier};
use crate::vendors::lenient::{self, Text, json_object};
use crate::vendors::mapping;
use crate::vendors::page::{self, Fields};
use crate::vendors::record::{self, Problems, RecordFormat};
use crate::vendors::settings::{choice, chosen};
use crate::vendors::time_text::TimeText;

pub(super) const NAME: &str = "clumio";

/// The documented actions. The list is open; `mapping` maps others word by word.
const ACTIONS: &[(&str, Action)] = &[
    ("apply", Action::Update),
    ("batch_activate", Action::Enable),
    ("batch_deactivate", Action::Disable),
    ("browse", Action::Read),
    ("create", Action::Create),
    ("delete", Action::Delete),
    ("deploy", Action::Execute),
    ("disable", Action::Disable),
    ("download", Action::Export),
    ("enable", Action::Enable),
    ("full_restore", Action::Restore),
    ("grant_download_access", Action::Grant),
    ("grant_email_access", Action::Grant),
    ("granular_restore", Action::Restore),
    ("granular_retrieval", Action::Restore),
    ("invite", Action::Invite),
    ("login", Action::Login),
    ("logout", Action::Logout),
    ("redirected", Action::Restore),
    ("refresh", Action::Execute),
    ("regenerate_tda_passcode", Action::Rotate),
    ("register", Action::Create),
    ("remove", Action::Delete),
    ("search", Action::List),
    ("suspend", Action::Disable),
    ("unapply", Action::Update),
    ("unregister", Action::Delete),
    ("update", Action::Update),
    ("validate_tda_passcode", Action::Other),
];

/// Actions with another meaning in one category; they take precedence.
const ACTIONS_IN_CATEGORY: &[(&str, &str, Action)] = &[
    ("api_tokens", "refresh", Action::Rotate),
    ("mfa", "disable", Action::MfaDisable),
    ("mfa", "enable", Action::MfaEnable),
];

/// The documented categories. The list is open.
const CATEGORIES: &[(&str, Category)] = &[
    ("alerts", Category::Configuration),
    ("api_tokens", Category::Credential),
    ("authentication", Category::Authentication),
    ("backup", Category::Data),
    ("bandwidth_config", Category::Configuration),
    ("cloud_connector", Category::Configuration),
    ("cloudformation_template", Category::Configuration),
    ("data_source", Category::Configuration),
    ("ecosystem_changes", Category::Configuration),
    ("kms_config", Category::Configuration),
    ("mfa", Category::Iam),
    ("organizational_unit", Category::Iam),
    ("partner_ecosystem", Category::Configuration),
    ("policy", Category::Configuration),
    ("protection", Category::Configuration),
    ("reports", Category::Data),
    ("restore", Category::Data),
    ("sso", Category::Configuration),
    ("tasks", Category::Data),
    ("users", Category::Iam),
];

const OUTCOMES: &[(&str, Outcome)] =
    &[("success", Outcome::Success), ("failure", Outcome::Failure), ("partial_success", Outcome::Partial)];

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
        ip_address: Address<'a> = "ip_address",
        primary: Entity<'a> = "primary_entity",
        parent: Entity<'a> = "parent_entity",
    }
}

json_object! {
    /// A primary or parent entity, or a tag.
    struct Entity<'a> {
        id: Identifier<'a> = "id",
        kind: Text<'a> = "type",
        name: Text<'a> = "value",
    }
}

json_object! {
    /// The fields that local filters match.
    struct Filterable<'a> {
        primary: Entity<'a> = "primary_entity",
        parent: Entity<'a> = "parent_entity",
        details: Details<'a> = "details_json",
    }
}

json_object! {
    struct Details<'a> {
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
    const EXAMPLE: &'static str = r#"{"action":"user_deleted","category":"backup","details_json":{},"id":"d38fcaa9-200d-538e-a661-fbed769b1fc5",
 "interface":"ui","ip_address":"198.51.100.32","parent_entity":null,
 "primary_entity":{"id":"42","type":"user","value":"robin@example.com"},"status":"success",
 "timestamp":"2026-03-02T08:59:30.285759Z","user_email":"ada@example.com"}"#;
    const HAS_IDS: bool = true;
    const OPTIONS: &'static [NormalizerOption] = OPTIONS;

    fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    fn key(&self, key: &Key<'_>, raw: &str) -> RecordKey {
        let id = self.id_of(key.id.text(), key.status.as_deref(), raw);
        RecordKey { id, timestamp: key.timestamp.at(), version: 0 }
    }

    fn event<'a>(&self, item: Item<'a>, raw: &'a str, context: &ReadContext<'a>) -> Event<'a> {
        let mut problems = Problems::default();
        let id = self.id_of(item.id.text(), item.status.as_deref(), raw).nth(context.occurrence);
        let (category, action) =
            (item.category.as_deref().unwrap_or_default(), item.action.as_deref().unwrap_or_default());
        let (target, related) = objects(item.primary, item.parent, item.category.as_ref(), &mut problems);
        let done = action_of(category, action);
        let kind = target.as_ref().map_or(ObjectType::Other, |target| target.kind);
        Event {
            tenant: self.tenant.clone().map(Cow::Owned),
            vendor_event_id: problems.require("id", item.id),
            action: done,
            category: mapping::category(done, known_category(category, action), kind, action),
            event_type: self.event_type(item.category.as_deref(), item.action.unwrap_or_default()),
            outcome: item.status.and_then(|status| mapping::entry(OUTCOMES, &status)).unwrap_or_default(),
            timestamp: problems.timestamp("timestamp", &item.timestamp, context.observed_at),
            actor: actor(item.user_email, item.ip_address),
            target,
            related,
            normalize_error: problems.into_error(),
            ..Event::new(id, NAME, context.source, context.observed_at, raw)
        }
    }

    fn split_page(json: &str) -> Option<Vec<&str>> {
        parse_page(json, 0).ok().map(|page| page.records)
    }
}

fn action_of(category: &str, action: &str) -> Action {
    let special = ACTIONS_IN_CATEGORY.iter().find(|(in_category, word, _)| (*in_category, *word) == (category, action));
    special
        .map(|(_, _, meaning)| *meaning)
        .or_else(|| mapping::entry(ACTIONS, action))
        .or_else(|| mapping::action_of(action))
        .unwrap_or_default()
}

/// What the vendor's catalog says. In an action that is not documented, the noun is more telling than the category.
fn known_category(category: &str, action: &str) -> Option<Category> {
    let by_noun = || mapping::category_of(action).filter(|_| mapping::entry(ACTIONS, action).is_none());
    by_noun().or_else(|| mapping::entry(CATEGORIES, category)).or_else(|| mapping::category_of(category))
}

/// Records have no user id: the email address is used instead. Events of the system have no email address.
fn actor<'a>(email: Text<'a>, ip: Address<'a>) -> Actor<'a> {
    let kind = if email.is_some() { ActorType::User } else { ActorType::System };
    let address = field::email(email.clone());
    Actor { kind, id: address.clone().or(email), email: address, ip: ip.ip(), ..Actor::default() }
}

/// The primary entity is the target and its parent is related to it. Without a primary entity the parent is the target;
/// without both (global settings) the category is the kind of the target.
fn objects<'a>(
    primary: Entity<'a>,
    parent: Entity<'a>,
    category: Option<&Cow<'a, str>>,
    problems: &mut Problems,
) -> (Option<Target<'a>>, Vec<Related<'a>>) {
    let primary = target("primary_entity.id", primary, problems);
    let parent = target("parent_entity.id", parent, problems);
    match (primary, parent) {
        (Some(target), Some(object)) => (Some(target), vec![Related { role: Role::Parent, object }]),
        (Some(target), None) | (None, Some(target)) => (Some(target), Vec::new()),
        (None, None) => (category.cloned().map(|category| record::object(category, None, None)), Vec::new()),
    }
}

fn target<'a>(field: &str, entity: Entity<'a>, problems: &mut Problems) -> Option<Target<'a>> {
    let id = problems.identifier(field, entity.id);
    record::object_if_known(entity.kind, id, entity.name)
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
