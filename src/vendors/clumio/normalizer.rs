//! Clumio's records: how they are known again, and the tables that bring them into the schema.

use std::borrow::Cow;

use crate::event::{Action, Actor, ActorType, Category, Event, EventId, Outcome, Related, Role, Target};
use crate::time::{EventTime, Timestamp};
use crate::vendors::lenient::{self, Text, json_object};
use crate::vendors::settings::{choice, chosen};
use crate::vendors::{Normalizer, NormalizerConfig, NormalizerOption, ReadContext, RecordKey, mapping, record};

use super::NAME;

/// The documented actions. The list is open; `words` reads what is not here.
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

/// Actions that mean something else inside one category; looked at first.
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
    /// What becomes `event_type`.
    EventType {
        /// The record's `action`, untouched.
        Action = "action",
        /// The record's `category` and `action` with a dot between.
        CategoryAction = "category_action",
    }
}

choice! {
    /// By what a record is known again.
    DedupeKey {
        /// Its id.
        Id = "id",
        /// Its id and its status: a record that comes again with another status is another event.
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
    /// What a record is known by.
    struct Key<'a> {
        id: Text<'a> = "id",
        timestamp: Text<'a> = "timestamp",
        status: Text<'a> = "status",
    }
}

json_object! {
    /// The fields of an audit trail record that the schema knows.
    struct Item<'a> {
        id: Text<'a> = "id",
        timestamp: Text<'a> = "timestamp",
        action: Text<'a> = "action",
        category: Text<'a> = "category",
        status: Text<'a> = "status",
        user_email: Text<'a> = "user_email",
        ip_address: Text<'a> = "ip_address",
        primary: Entity<'a> = "primary_entity",
        parent: Entity<'a> = "parent_entity",
    }
}

json_object! {
    /// A primary or parent entity, or a tag.
    struct Entity<'a> {
        id: Text<'a> = "id",
        kind: Text<'a> = "type",
        name: Text<'a> = "value",
    }
}

json_object! {
    /// What local filters look at.
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

/// Knows and normalizes Clumio's records.
#[derive(Clone, Debug)]
pub struct ClumioNormalizer {
    tenant: Option<String>,
    event_type: EventType,
    dedupe_key: DedupeKey,
}

impl ClumioNormalizer {
    /// From the stored profile.
    #[must_use]
    pub fn new(normalizer_config: &NormalizerConfig) -> Self {
        Self {
            tenant: normalizer_config.tenant.clone(),
            event_type: chosen(normalizer_config, EventType::OPTION),
            dedupe_key: chosen(normalizer_config, DedupeKey::OPTION),
        }
    }

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

    fn event<'a>(&self, item: Item<'a>, raw: &'a str, context: &ReadContext<'a>) -> Event<'a> {
        let time = item.timestamp.as_deref().and_then(EventTime::parse_rfc3339);
        let (category, action) =
            (item.category.as_deref().unwrap_or_default(), item.action.as_deref().unwrap_or_default());
        let (target, related) = objects(item.primary, item.parent, item.category.as_ref());
        let event = Event {
            id: self.id_of(item.id.as_deref(), item.status.as_deref(), raw).nth(context.occurrence),
            version: None,
            vendor: NAME,
            source: context.source,
            tenant: self.tenant.clone().map(Cow::Owned),
            action: action_of(category, action),
            category: category_of(category, action),
            event_type: self.event_type(item.category.as_deref(), item.action.unwrap_or_default()),
            outcome: item.status.and_then(|status| mapping::entry(OUTCOMES, &status)).unwrap_or_default(),
            message: None,
            timestamp: time.unwrap_or(context.observed_at.with_digits(3)),
            observed_at: context.observed_at,
            actor: actor(item.user_email, item.ip_address),
            target,
            related,
            changes: Vec::new(),
            normalize_error: item.id.is_none().then(|| "the record has no usable `id`".to_owned()),
            vendor_event_id: item.id,
            raw,
        };
        match time {
            Some(_) => event,
            None => record::without_time(event, record::no_usable_time("timestamp", item.timestamp.as_deref())),
        }
    }
}

/// In the form that the documentation shows.
const EXAMPLE: &str = r#"{"action":"user_deleted","category":"backup","details_json":{},"id":"d38fcaa9-200d-538e-a661-fbed769b1fc5",
 "interface":"ui","ip_address":"198.51.100.32","parent_entity":null,
 "primary_entity":{"id":"42","type":"user","value":"robin@example.com"},"status":"success",
 "timestamp":"2026-03-02T08:59:30.285759Z","user_email":"ada@example.com"}"#;

impl Normalizer for ClumioNormalizer {
    fn key_of(&self, raw: &str) -> RecordKey {
        let Ok(key) = lenient::object::<Key<'_>>(raw) else {
            return record::key_of_bytes(NAME, self.tenant.as_deref(), raw);
        };
        let timestamp = key.timestamp.as_deref().and_then(Timestamp::parse_rfc3339);
        RecordKey { id: self.id_of(key.id.as_deref(), key.status.as_deref(), raw), timestamp, version: 0 }
    }

    fn example(&self) -> &'static str {
        EXAMPLE
    }

    fn normalize<'a>(&self, raw: &'a str, context: &ReadContext<'a>) -> Event<'a> {
        match lenient::object(raw) {
            Ok(item) => self.event(item, raw, context),
            Err(reason) => record::unreadable(NAME, self.tenant.as_deref(), raw, context, reason),
        }
    }

    fn options(&self) -> &'static [NormalizerOption] {
        OPTIONS
    }

    fn page_records<'a>(&self, json: &'a str) -> Option<Vec<&'a str>> {
        super::read_page(json).ok().map(|page| page.records)
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

fn category_of(category: &str, action: &str) -> Category {
    mapping::entry(CATEGORIES, category)
        .or_else(|| mapping::category_of(category))
        .or_else(|| mapping::category_of(action))
        .unwrap_or_default()
}

/// The record names no user id: the e-mail address stands for it. Events of the system itself have no e-mail address; the interface (`API`, `webhook`)
/// does not prove a service account, so it stays in `raw`.
fn actor<'a>(email: Text<'a>, ip: Text<'a>) -> Actor<'a> {
    let kind = if email.is_some() { ActorType::User } else { ActorType::System };
    Actor { kind, id: email.clone(), email, ip: ip.filter(|ip| ip != "-"), ..Actor::default() }
}

/// The primary entity is the target and its parent is related to it. Without a primary entity the parent is the target;
/// without both (global settings) the category says at least what kind of thing it is.
fn objects<'a>(
    primary: Entity<'a>,
    parent: Entity<'a>,
    category: Option<&Cow<'a, str>>,
) -> (Option<Target<'a>>, Vec<Related<'a>>) {
    match (target(primary), target(parent)) {
        (Some(target), Some(object)) => (Some(target), vec![Related { role: Role::Parent, object }]),
        (Some(target), None) | (None, Some(target)) => (Some(target), Vec::new()),
        (None, None) => {
            let kind = category.cloned().map(record::lower_case);
            (kind.map(|kind| Target { kind: Some(kind), ..Target::default() }), Vec::new())
        }
    }
}

fn target(entity: Entity<'_>) -> Option<Target<'_>> {
    let target = Target { kind: entity.kind.map(record::lower_case), id: entity.id, name: entity.name };
    (target != Target::default()).then_some(target)
}

/// Whether the record has every wanted value where it can only stand (assumed): the S3 asset is the primary entity, the
/// backup its parent, the bucket's region a tag of the details.
pub(super) fn matches_all(raw: &str, wanted: &[(&str, &str)]) -> bool {
    if wanted.is_empty() {
        return true;
    }
    let Ok(record) = lenient::object::<Filterable<'_>>(raw) else { return true };
    wanted.iter().all(|(name, value)| match *name {
        "protection_group_s3_asset_id" => record.primary.id.as_deref() == Some(value),
        "parent_protection_group_backup_id" => record.parent.id.as_deref() == Some(value),
        _ => record.details.tags.iter().any(|tag| is_bucket_region(tag, value)),
    })
}

fn is_bucket_region(tag: &Entity<'_>, region: &str) -> bool {
    let values = [tag.id.as_deref(), tag.name.as_deref()];
    tag.kind.as_deref() == Some("bucket_region") && values.contains(&Some(region))
}
