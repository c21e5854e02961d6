//! CaptivateIQ's records: how they are known again, and the tables that bring them into the schema.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::event::{
    Action, Actor, ActorType, Category, Change, Event, EventId, OnBehalfOf, Outcome, Related, Role, Target,
};
use crate::time::{EventTime, Timestamp};
use crate::vendors::lenient::{self, FieldName, Text, json_object};
use crate::vendors::settings::{choice, chosen};
use crate::vendors::{Normalizer, NormalizerConfig, NormalizerOption, ReadContext, RecordKey, mapping, page, record};

use super::{Envelope, NAME};

/// The event types that are known from the vendor's schema and samples. There is no public catalog; `words` reads
/// what is not here.
const ACTIONS: &[(&str, Action)] = &[
    ("create", Action::Create),
    ("delete", Action::Delete),
    ("update", Action::Update),
    ("user.login", Action::Login),
    ("user.logout", Action::Logout),
];

/// The object types that are known from the vendor's schema and samples. The list is open; an object type that `words`
/// does not know either is one of the vendor's business objects.
const OBJECT_TYPES: &[(&str, Category)] = &[
    ("column", Category::Data),
    ("record", Category::Data),
    ("report", Category::Data),
    ("workbook", Category::Data),
    ("worksheet", Category::Data),
];

choice! {
    /// Who is the actor when somebody acts as somebody else.
    ActorChoice {
        /// The person who is logged in; the address is theirs too.
        LoggedIn = "logged_in",
        /// The user acted as.
        Effective = "effective",
    }
}

choice! {
    /// What becomes `event_type`.
    EventType {
        /// The record's own word.
        AsGiven = "as_given",
        /// A word without a dot gets the object's type before it.
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
    /// What a record is known by.
    struct Key<'a> {
        id: Text<'a> = "id",
        organization_id: Text<'a> = "organization_id",
        created_at: Text<'a> = "created_at",
    }
}

json_object! {
    /// The fields of an audit log record that the schema knows.
    struct Item<'a> {
        id: Text<'a> = "id",
        organization_id: Text<'a> = "organization_id",
        user_id: Text<'a> = "user_id",
        user_name: Text<'a> = "user_name",
        user_email: Text<'a> = "user_email",
        logged_in_user_id: Text<'a> = "logged_in_user_id",
        logged_in_user_name: Text<'a> = "logged_in_user_name",
        logged_in_user_email: Text<'a> = "logged_in_user_email",
        ip_address: Text<'a> = "ip_address",
        created_at: Text<'a> = "created_at",
        event_type: Text<'a> = "event_type",
        data: Option<&'a RawValue> = "data",
        object_id: Text<'a> = "object_id",
        object_name: Text<'a> = "object_name",
        object_type: Text<'a> = "object_type",
        parents: Vec<Parent<'a>> = "parent_objects",
    }
}

json_object! {
    /// A container of the object.
    struct Parent<'a> {
        id: Text<'a> = "object_id",
        name: Text<'a> = "object_name",
        kind: Text<'a> = "object_type",
    }
}

json_object! {
    /// A value before and after, as `data` shows it (assumed).
    struct OldAndNew<'a> {
        old: Option<&'a RawValue> = "old",
        new: Option<&'a RawValue> = "new",
    }
}

/// A user as a record names one.
#[derive(Clone)]
struct User<'a> {
    id: Text<'a>,
    name: Text<'a>,
    email: Text<'a>,
}

/// Knows and normalizes CaptivateIQ's records.
#[derive(Clone, Debug)]
pub struct CaptivateIqNormalizer {
    tenant: Option<String>,
    actor: ActorChoice,
    outcome: Outcome,
    event_type: EventType,
}

impl CaptivateIqNormalizer {
    /// From the stored profile.
    #[must_use]
    pub fn new(normalizer_config: &NormalizerConfig) -> Self {
        Self {
            tenant: normalizer_config.tenant.clone(),
            actor: chosen(normalizer_config, ActorChoice::OPTION),
            outcome: record::assumed_outcome(normalizer_config),
            event_type: chosen(normalizer_config, EventType::OPTION),
        }
    }

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

    /// The feed has no field for it: nothing is taken for a success unless the user says so.
    fn outcome(&self, event_type: &str) -> Outcome {
        let lower = event_type.to_lowercase();
        if lower.contains("fail") || lower.contains("denied") {
            return Outcome::Failure;
        }
        self.outcome
    }

    fn actor<'a>(&self, logged_in: User<'a>, effective: User<'a>, ip: Text<'a>) -> Actor<'a> {
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
        Actor { kind, id: user.id, name: user.name, email: user.email, ip, on_behalf_of }
    }

    fn event<'a>(&self, item: Item<'a>, raw: &'a str, context: &ReadContext<'a>) -> Event<'a> {
        let word = item.event_type.unwrap_or_default();
        let action = mapping::entry(ACTIONS, &word).or_else(|| mapping::action_of(&word)).unwrap_or_default();
        let time = item.created_at.as_deref().and_then(EventTime::parse_rfc3339);
        let tenant = self.tenant(item.organization_id);
        let logged_in =
            User { id: item.logged_in_user_id, name: item.logged_in_user_name, email: item.logged_in_user_email };
        let effective = User { id: item.user_id, name: item.user_name, email: item.user_email };
        let event = Event {
            id: id_of(item.id.as_deref(), tenant.as_deref(), raw).nth(context.occurrence),
            version: None,
            vendor: NAME,
            source: context.source,
            tenant,
            action,
            category: category_of(action, item.object_type.as_deref(), &word),
            outcome: self.outcome(&word),
            event_type: self.event_type(word, item.object_type.as_deref()),
            message: None,
            timestamp: time.unwrap_or(context.observed_at.with_digits(3)),
            observed_at: context.observed_at,
            actor: self.actor(logged_in, effective, item.ip_address),
            target: object(item.object_type, item.object_id, item.object_name),
            related: item.parents.into_iter().filter_map(parent).collect(),
            changes: changes(item.data),
            normalize_error: item.id.is_none().then(|| "the record has no usable `id`".to_owned()),
            vendor_event_id: item.id,
            raw,
        };
        match time {
            Some(_) => event,
            None => record::without_time(event, record::no_usable_time("created_at", item.created_at.as_deref())),
        }
    }
}

fn id_of(id: Option<&str>, tenant: Option<&str>, raw: &str) -> EventId {
    EventId::of_key(NAME, tenant, id.unwrap_or(raw))
}

/// In the form that the documentation shows.
const EXAMPLE: &str = r#"{"id":"550e8400-e29b-41d4-a716-446655440000","object":"audit_log","organization_id":"org_123456",
 "user_id":"user_001","user_name":"John Smith","user_email":"john.smith@example.com",
 "ip_address":"203.0.113.45","created_at":"2026-03-02T08:59:30Z","event_type":"user.login","version":0,
 "data":null,"object_id":"obj_789012","object_name":"Sales Dashboard","object_type":"report",
 "parent_objects":[]}"#;

impl Normalizer for CaptivateIqNormalizer {
    fn key_of(&self, raw: &str) -> RecordKey {
        let Ok(key) = lenient::object::<Key<'_>>(raw) else {
            return record::key_of_bytes(NAME, self.tenant.as_deref(), raw);
        };
        let timestamp = key.created_at.as_deref().and_then(Timestamp::parse_rfc3339);
        let tenant = key.organization_id.as_deref().or(self.tenant.as_deref());
        RecordKey { id: id_of(key.id.as_deref(), tenant, raw), timestamp, version: 0 }
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

    /// Only an object of type `list` is a page: records have a field `data` too, of any shape.
    fn page_records<'a>(&self, json: &'a str) -> Option<Vec<&'a str>> {
        let envelope = Envelope::read(json).ok()?;
        if page::text(envelope.object).as_deref() != Some("list") {
            return None;
        }
        envelope.records()
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

fn category_of(action: Action, object_type: Option<&str>, word: &str) -> Category {
    if matches!(action, Action::Login | Action::Logout) {
        return Category::Authentication;
    }
    match object_type {
        Some(object) => {
            mapping::entry(OBJECT_TYPES, object).or_else(|| mapping::category_of(object)).unwrap_or(Category::Data)
        }
        None => mapping::category_of(word).unwrap_or_default(),
    }
}

fn object<'a>(kind: Text<'a>, id: Text<'a>, name: Text<'a>) -> Option<Target<'a>> {
    let target = Target { kind: kind.map(record::lower_case), id, name };
    (target != Target::default()).then_some(target)
}

fn parent(parent: Parent<'_>) -> Option<Related<'_>> {
    object(parent.kind, parent.id, parent.name).map(|object| Related { role: Role::Parent, object })
}

/// `data` as changes, where it has the shape `{field: {old, new}}`; its shape is not documented.
fn changes(data: Option<&RawValue>) -> Vec<Change<'_>> {
    let fields = data.map(|data| lenient::fields_of(data.get())).unwrap_or_default();
    fields.into_iter().filter_map(|(FieldName(field), json)| change(field, &lenient::value(json.get()))).collect()
}

fn change<'a>(field: Cow<'a, str>, values: &OldAndNew<'a>) -> Option<Change<'a>> {
    let is_change = values.old.is_some() || values.new.is_some();
    is_change.then(|| Change { field, old: values.old.and_then(shown), new: values.new.and_then(shown) })
}

/// Any value as text: a string as it reads, anything else as its JSON.
fn shown(value: &RawValue) -> Option<Cow<'_, str>> {
    let json = value.get();
    if json.starts_with('"') { lenient::value(json) } else { Some(Cow::Borrowed(json)) }
}
