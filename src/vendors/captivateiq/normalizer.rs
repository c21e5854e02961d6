//! CaptivateIQ's JSON: the page envelope and the records.

use std::borrow::Cow;

use super::{data, grants, mapping};
use crate::event::{
    Action, Actor, ActorType, Event, EventId, ObjectType, OnBehalfOf, Outcome, Product, Related, Role, Target,
};
use crate::vendors::contract::{
    BadPage, FieldPointers, NormalizerConfig, NormalizerOption, Page, PageRequest, ReadContext, RecordKey,
};
use crate::vendors::field::{self, Address, Identifier};
use crate::vendors::lenient::{Json, Text, json_object};
use crate::vendors::mapping as shared;
use crate::vendors::page::{self, Fields};
use crate::vendors::record::{self, Problems, RecordFormat};
use crate::vendors::settings::{choice, chosen};
use crate::vendors::time_text::TimeText;

pub(super) const NAME: &str = "captivateiq";

choice! {
    /// The actor when one user impersonates another.
    ActorChoice {
        /// The user who acts; the address is theirs too.
        LoggedIn = "logged_in",
        /// The impersonated user.
        Effective = "effective",
    }
}

choice! {
    /// The value of `event_type`.
    EventType {
        /// The record's own value.
        AsGiven = "as_given",
        /// A value without a dot is prefixed with the object type.
        WithObjectType = "with_object_type",
    }
}

impl ActorChoice {
    pub(super) const OPTION: &'static str = "actor";
}

impl EventType {
    pub(super) const OPTION: &'static str = "event_type";
}

const OPTIONS: &[NormalizerOption] = &[
    NormalizerOption { name: ActorChoice::OPTION, words: ActorChoice::WORDS },
    record::ASSUME_SUCCESS,
    NormalizerOption { name: EventType::OPTION, words: EventType::WORDS },
];

json_object! {
    /// The fields that identify a record.
    pub(in crate::vendors) struct Key<'a> {
        id: Identifier<'a> = "id",
        organization_id: Identifier<'a> = "organization_id",
        created_at: TimeText<'a> = "created_at",
    }
}

json_object! {
    /// The fields of an audit log record that the schema knows.
    pub(in crate::vendors) struct Item<'a> {
        id: Identifier<'a> = "id",
        organization_id: Identifier<'a> = "organization_id",
        user_id: Identifier<'a> = "user_id",
        user_name: Text<'a> = "user_name",
        user_email: Text<'a> = "user_email",
        logged_in_user_id: Identifier<'a> = "logged_in_user_id",
        logged_in_user_name: Text<'a> = "logged_in_user_name",
        logged_in_user_email: Text<'a> = "logged_in_user_email",
        ip_address: Address<'a> = "ip_address",
        created_at: TimeText<'a> = "created_at",
        event_type: Text<'a> = "event_type",
        data: Json<'a> = "data",
        object_id: Identifier<'a> = "object_id",
        object_name: Text<'a> = "object_name",
        object_type: Text<'a> = "object_type",
        parents: Vec<Parent<'a>> = "parent_objects",
    }
}

json_object! {
    /// A container of the object.
    struct Parent<'a> {
        id: Identifier<'a> = "object_id",
        name: Text<'a> = "object_name",
        kind: Text<'a> = "object_type",
    }
}

/// A user as a record names one.
#[derive(Clone)]
struct User<'a> {
    id: Text<'a>,
    name: Text<'a>,
    email: Text<'a>,
}

/// Parses a page.
pub(super) fn parse_page<'a>(body: &'a str, request: &PageRequest<'_>) -> Result<Page<'a>, BadPage> {
    let envelope = page::envelope(NAME, body)?;
    let offset = page::offset(request.cursor)?;
    let total = envelope.count("total_count");
    let records = records_of(&envelope, body, total.map(|total| total.saturating_sub(offset)))?;
    let next = envelope.next("next")?.map(Cow::into_owned);
    Ok(Page { records, next, total, ..Page::default() })
}

fn records_of<'a>(envelope: &Fields<'a>, body: &str, left: Option<u64>) -> Result<Vec<&'a str>, BadPage> {
    if !envelope.has_any(&["data", "total_count", "next", "previous"]) {
        return Err(page::not_a_page(NAME, body));
    }
    envelope.list("data", left)
}

/// Identifies and normalizes CaptivateIQ's records.
#[derive(Clone, Debug)]
pub struct CaptivateIqNormalizer {
    tenant: Option<String>,
    actor: ActorChoice,
    outcome: Outcome,
    event_type: EventType,
}

/// Which of two users acts is an option. Fields of `data` whose new value stands alone are redacted as a whole.
const FIELD_POINTERS: FieldPointers = &[
    ("actor.id", &["/raw/user_id", "/raw/logged_in_user_id"]),
    ("actor.name", &["/raw/user_name", "/raw/logged_in_user_name"]),
    ("actor.email", &["/raw/user_email", "/raw/logged_in_user_email"]),
    ("actor.ip", &["/raw/ip_address"]),
    ("target.id", &["/raw/object_id"]),
    ("target.name", &["/raw/object_name"]),
    ("related.id", &["/raw/parent_objects/*/object_id"]),
    ("related.name", &["/raw/parent_objects/*/object_name"]),
    (
        "changes.old",
        &[
            "/raw/data/*/old",
            "/raw/data/is_organization_admin/0",
            "/raw/data/is_active/0",
            "/raw/data/role/0",
            "/raw/data/user/0",
            "/raw/data/visible_employee/0",
        ],
    ),
    (
        "changes.new",
        &[
            "/raw/data/*/new",
            "/raw/data/is_organization_admin",
            "/raw/data/is_active",
            "/raw/data/role",
            "/raw/data/user",
            "/raw/data/visible_employee",
        ],
    ),
];

impl From<&NormalizerConfig> for CaptivateIqNormalizer {
    fn from(config: &NormalizerConfig) -> Self {
        Self {
            tenant: config.tenant.clone(),
            actor: chosen(config, ActorChoice::OPTION),
            outcome: record::assumed_outcome(config),
            event_type: chosen(config, EventType::OPTION),
        }
    }
}

impl CaptivateIqNormalizer {
    /// The record's organization, else the one given for records without.
    fn tenant<'a>(&self, organization_id: Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
        organization_id.or_else(|| self.tenant.clone().map(Cow::Owned))
    }

    fn event_type<'a>(&self, word: Cow<'a, str>, object_type: Option<&str>) -> Cow<'a, str> {
        match (self.event_type, object_type) {
            (EventType::WithObjectType, Some(object)) if !word.contains('.') => Cow::Owned(format!("{object}.{word}")),
            _ => word,
        }
    }

    /// Records have no result field: an event counts as a success only if the option says so.
    fn outcome(&self, event_type: &str) -> Outcome {
        let is_failure = shared::outcome_of(event_type) == Some(Outcome::Failure);
        if is_failure { Outcome::Failure } else { self.outcome }
    }

    fn actor<'a>(&self, logged_in: User<'a>, effective: User<'a>, ip: Address<'a>) -> Actor<'a> {
        let on_behalf_of = match self.actor {
            ActorChoice::LoggedIn if effective.is_other_than(&logged_in) => Some(effective.clone().into()),
            _ => None,
        };
        let user = match self.actor {
            ActorChoice::LoggedIn => logged_in.or(effective),
            ActorChoice::Effective => effective.or(logged_in),
        };
        let known = user.id.is_some() || user.email.is_some();
        let kind = if known { ActorType::User } else { ActorType::System };
        let (id, name, email, ip) = (user.id, user.name, user.email, ip.ip());
        Actor { kind, id, name, email, ip, on_behalf_of, ..Actor::default() }
    }
}

/// A login as another user is an impersonation.
fn action_of(word: &str, logged_in: &User<'_>, effective: &User<'_>) -> Action {
    match mapping::action_of(word) {
        Action::Login if effective.is_other_than(logged_in) => Action::Impersonate,
        action => action,
    }
}

fn id_of(id: Option<&str>, tenant: Option<&str>, raw: &str) -> EventId {
    EventId::of_key(NAME, tenant, id.unwrap_or(raw))
}

impl RecordFormat for CaptivateIqNormalizer {
    type Key<'a> = Key<'a>;
    type Record<'a> = Item<'a>;
    const VENDOR: &'static str = NAME;
    const PRODUCT: &'static Product = &Product { name: "CaptivateIQ", vendor_name: "CaptivateIQ" };
    const EXAMPLE: &'static str = r#"{"id":"550e8400-e29b-41d4-a716-446655440000","object":"audit_log","organization_id":"org_123456",
 "user_id":"user_001","user_name":"John Smith","user_email":"john.smith@example.com",
 "ip_address":"203.0.113.45","created_at":"2026-03-02T08:59:30Z","event_type":"user.login","version":0,
 "data":null,"object_id":"obj_789012","object_name":"Sales Dashboard","object_type":"report",
 "parent_objects":[]}"#;
    const HAS_IDS: bool = true;
    const OPTIONS: &'static [NormalizerOption] = OPTIONS;
    // None is documented.
    const CREDENTIALS: &'static [&'static str] = &[];
    const FIELD_POINTERS: FieldPointers = FIELD_POINTERS;

    fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    fn key(&self, key: &Key<'_>, raw: &str) -> RecordKey {
        let tenant = key.organization_id.text().or(self.tenant.as_deref());
        RecordKey { id: id_of(key.id.text(), tenant, raw), timestamp: key.created_at.at(), version: 0, content: 0 }
    }

    fn event<'a>(&self, item: Item<'a>, raw: &'a str, context: &ReadContext<'a>) -> Event<'a> {
        let mut problems = Problems::default();
        let word = item.event_type.unwrap_or_default();
        let tenant = self.tenant(problems.identifier("organization_id", item.organization_id));
        let logged_in = User {
            id: problems.identifier("logged_in_user_id", item.logged_in_user_id),
            name: item.logged_in_user_name,
            email: field::email(item.logged_in_user_email),
        };
        let effective = User {
            id: problems.identifier("user_id", item.user_id),
            name: item.user_name,
            email: field::email(item.user_email),
        };
        let id = id_of(item.id.text(), tenant.as_deref(), raw).nth(context.occurrence);
        let object_id = problems.identifier("object_id", item.object_id);
        let target = object(item.object_type, object_id, item.object_name);
        let object_type = target.as_ref().and_then(|target| target.vendor_type.as_deref());
        let kind = target.as_ref().map_or(ObjectType::Other, |target| target.kind);
        let changes = data::changes(item.data);
        let catalog_word = object_type.and_then(mapping::object);
        let (action, grants) = grants::of(
            action_of(&word, &logged_in, &effective),
            catalog_word,
            target.as_ref(),
            &changes,
            tenant.as_ref(),
        );
        Event {
            tenant,
            action,
            category: mapping::category_of(action, object_type, kind, &word),
            grants,
            outcome: self.outcome(&word),
            event_type: self.event_type(word, object_type),
            timestamp: problems.timestamp("created_at", &item.created_at, context.observed_at),
            original_time: item.created_at.into_given(),
            actor: self.actor(logged_in, effective, item.ip_address),
            target,
            related: item.parents.into_iter().filter_map(|object| parent(object, &mut problems)).collect(),
            changes,
            vendor_event_id: problems.require("id", item.id),
            normalize_error: problems.into_error(),
            ..Event::new(id, NAME, context.source, context.observed_at, raw)
        }
    }

    /// Only an object of type `list` is a page: records have a field `data` too, of any type.
    fn split_page(json: &str) -> Option<Vec<&str>> {
        let envelope = page::envelope(NAME, json).ok()?;
        if envelope.text("object").as_deref() != Some("list") {
            return None;
        }
        records_of(&envelope, json, None).ok()
    }
}

impl User<'_> {
    fn is_unknown(&self) -> bool {
        self.id.is_none() && self.email.is_none() && self.name.is_none()
    }

    /// Each value from `self`, else the same one of `other`, unless the two are known to be different persons.
    fn or(self, other: Self) -> Self {
        if !self.is_unknown() && self.is_other_than(&other) {
            return self;
        }
        Self { id: self.id.or(other.id), name: self.name.or(other.name), email: self.email.or(other.email) }
    }

    /// Whether both are known and differ: by id if both have one, else by e-mail address, else by name.
    fn is_other_than(&self, other: &Self) -> bool {
        let pairs = [(&self.id, &other.id), (&self.email, &other.email), (&self.name, &other.name)];
        pairs.into_iter().find_map(|(one, two)| Some(one.as_ref()? != two.as_ref()?)).unwrap_or(false)
    }
}

impl<'a> From<User<'a>> for OnBehalfOf<'a> {
    fn from(user: User<'a>) -> Self {
        Self { id: user.id, name: user.name, email: user.email }
    }
}

/// `None` if nothing is known of it.
fn object<'a>(word: Text<'a>, id: Text<'a>, name: Text<'a>) -> Option<Target<'a>> {
    if word.is_none() && id.is_none() && name.is_none() {
        return None;
    }
    let kind = word.as_deref().map_or(ObjectType::Other, mapping::object_type);
    let email = if kind == ObjectType::User { field::email(name.clone()) } else { None };
    Some(Target { kind, vendor_type: word, id, name, email })
}

fn parent<'a>(parent: Parent<'a>, problems: &mut Problems) -> Option<Related<'a>> {
    let id = problems.identifier("parent_objects.object_id", parent.id);
    object(parent.kind, id, parent.name).map(|object| Related { role: Role::Parent, object })
}
