//! Akuity's JSON: the page envelope and the records, which are identified by all fields except `count`,
//! `lastOccurredTimestamp` and the address.

use std::borrow::Cow;

use super::mapping::{self, Meaning};
use super::{go_time, grants};
use crate::event::id::IdHasher;
use crate::event::{Action, Actor, ActorType, Event, EventId, ObjectType, Product, Related, Role, Scope, Target, Via};
use crate::time::Timestamp;
use crate::vendors::contract::{BadPage, FieldPointers, NormalizerConfig, NormalizerOption, ReadContext, RecordKey};
use crate::vendors::field::{self, Address, Identifier};
use crate::vendors::lenient::{Text, json_object};
use crate::vendors::mapping as shared;
use crate::vendors::page::{self, Fields};
use crate::vendors::record::{self, Problems, RecordFormat};
use crate::vendors::settings::{choice, chosen};
use crate::vendors::time_text::{ReadTime, TimeText};

pub(super) const NAME: &str = "akuity";

choice! {
    /// What happens when a delivered record grows.
    CollapsedUpdates {
        /// It is delivered again with the same id and a higher version.
        Emit = "emit",
        /// It is not delivered again.
        Ignore = "ignore",
    }
}

impl CollapsedUpdates {
    pub(super) const OPTION: NormalizerOption = NormalizerOption { name: "collapsed_updates", words: Self::WORDS };
}

/// The number of records of the whole scan.
pub(super) const TOTAL: &str = "totalCount";

/// The records of a `GetAuditLogsResponse` behind `offset` others. One of its fields is present unless both are empty.
pub(super) fn records_of<'a>(envelope: &Fields<'a>, body: &str, offset: u64) -> Result<Vec<&'a str>, BadPage> {
    if !envelope.has_any(&["items", TOTAL]) {
        return Err(page::not_a_page(NAME, body));
    }
    let left = envelope.count(TOTAL).map(|total| total.saturating_sub(offset));
    envelope.list("items", left)
}

/// Identifies and normalizes Akuity's records.
#[derive(Clone, Debug)]
pub struct AkuityNormalizer {
    tenant: Option<String>,
    ignores_updates: bool,
}

json_object! {
    /// Akuity's `AuditLog`. Any field may be null or absent.
    pub(in crate::vendors) struct AuditLog<'a> {
        timestamp: TimeText<'a> = "timestamp",
        action: Text<'a> = "action",
        actor: AuditActor<'a> = "actor",
        object: AuditObject<'a> = "object",
        details: AuditDetails<'a> = "details",
        count: Option<i64> = "count",
        last_occurred: TimeText<'a> = "lastOccurredTimestamp",
    }
}

json_object! {
    struct AuditActor<'a> {
        kind: Text<'a> = "type",
        id: Identifier<'a> = "id",
        ip: Address<'a> = "ip",
    }
}

json_object! {
    struct AuditObject<'a> {
        kind: Text<'a> = "type",
        id: ObjectId<'a> = "id",
        parent: ParentId<'a> = "parentId",
    }
}

json_object! {
    struct ObjectId<'a> {
        name: Identifier<'a> = "name",
        kind: Text<'a> = "kind",
        group: Text<'a> = "group",
    }
}

json_object! {
    struct ParentId<'a> {
        name: Text<'a> = "name",
        parent_name: Text<'a> = "parentName",
        application_name: Text<'a> = "applicationName",
    }
}

json_object! {
    struct AuditDetails<'a> {
        message: Text<'a> = "message",
        patch: Text<'a> = "patch",
        action_type: Text<'a> = "actionType",
    }
}

impl AuditLog<'_> {
    fn time(&self) -> Option<ReadTime> {
        time_of(&self.timestamp)
    }

    /// The last occurrence in microseconds plus the count, so that it grows with either. A missing count means one
    /// occurrence; a missing last occurrence means the first.
    fn version(&self, time: Option<Timestamp>) -> u64 {
        let first = time.map_or(0, Timestamp::as_micros);
        let last = time_of(&self.last_occurred).map_or(0, |time| time.at.as_micros());
        let micros = u64::try_from(first.max(last)).unwrap_or(0);
        let count = self.count.unwrap_or(1).clamp(1, i64::from(u32::MAX));
        micros + u64::try_from(count).unwrap_or(1)
    }
}

/// In the format of this API, or in any other.
fn time_of(field: &TimeText<'_>) -> Option<ReadTime> {
    field.given().and_then(go_time::parse).map(ReadTime::from).or_else(|| field.read())
}

/// The id of an actor is also the name or the e-mail address.
const FIELD_POINTERS: FieldPointers = &[
    ("actor.id", &["/raw/actor/id"]),
    ("actor.name", &["/raw/actor/id"]),
    ("actor.email", &["/raw/actor/id"]),
    ("actor.ip", &["/raw/actor/ip"]),
    ("target.id", &["/raw/object/id/name"]),
];

impl From<&NormalizerConfig> for AkuityNormalizer {
    fn from(config: &NormalizerConfig) -> Self {
        let updates: CollapsedUpdates = chosen(config, CollapsedUpdates::OPTION.name);
        Self { tenant: config.tenant.clone(), ignores_updates: updates == CollapsedUpdates::Ignore }
    }
}

impl AkuityNormalizer {
    /// The hash of the time (not of its text, whose form differs between platform versions) and of the other fields,
    /// without those that change: `count`, `lastOccurredTimestamp` and `actor.ip`. A record without a usable time is
    /// identified by its bytes, since its other fields may equal those of a different record.
    fn id_of(&self, log: &AuditLog<'_>, time: Option<Timestamp>, raw: &str) -> EventId {
        let Some(time) = time else { return record::key_of_bytes(NAME, self.tenant.as_deref(), raw).id };
        let mut hasher = IdHasher::new(NAME, self.tenant.as_deref());
        record::number_field(&mut hasher, Some(time.as_nanos()));
        let (object, parent) = (&log.object.id, &log.object.parent);
        for field in [
            log.action.as_deref(),
            log.actor.kind.as_deref(),
            log.actor.id.text(),
            log.object.kind.as_deref(),
            object.group.as_deref(),
            object.kind.as_deref(),
            object.name.text(),
            parent.name.as_deref(),
            parent.parent_name.as_deref(),
            parent.application_name.as_deref(),
            log.details.action_type.as_deref(),
            log.details.message.as_deref(),
            log.details.patch.as_deref(),
        ] {
            hasher.field(field);
        }
        hasher.finish()
    }
}

impl RecordFormat for AkuityNormalizer {
    type Key<'a> = AuditLog<'a>;
    type Record<'a> = AuditLog<'a>;
    const VENDOR: &'static str = NAME;
    const PRODUCT: &'static Product = &Product { name: "Akuity Platform", vendor_name: "Akuity" };
    const EXAMPLE: &'static str = r#"{"timestamp":"2026-03-02 08:59:30.004211 +0000 UTC","action":"updated",
 "actor":{"type":"user","id":"ada@example.com","ip":"2001:db8::17"},
 "object":{"type":"custom_role","id":{"name":"dev-team","kind":"","group":""}},
 "details":{"message":"Custom role updated","patch":"","actionType":"PATCH"},"count":1,
 "lastOccurredTimestamp":"2026-03-02 08:59:30.004211 +0000 UTC"}"#;
    const HAS_IDS: bool = false;
    const OPTIONS: &'static [NormalizerOption] = &[CollapsedUpdates::OPTION];
    // The patch of a resource (`AuditDetails.patch` of api-client-go) is what the user applied, Kubernetes Secrets included.
    const CREDENTIALS: &'static [&'static str] = &["/raw/details/patch"];
    const FIELD_POINTERS: FieldPointers = FIELD_POINTERS;

    fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    fn key(&self, log: &AuditLog<'_>, raw: &str) -> RecordKey {
        let timestamp = log.time().map(|time| time.at);
        let version = if self.ignores_updates { 0 } else { log.version(timestamp) };
        RecordKey { id: self.id_of(log, timestamp, raw), timestamp, version, content: 0 }
    }

    fn event<'a>(&self, log: AuditLog<'a>, raw: &'a str, context: &ReadContext<'a>) -> Event<'a> {
        let mut problems = Problems::default();
        let time = log.time();
        let at = time.map(|time| time.at);
        let id = self.id_of(&log, at, raw).nth(context.occurrence);
        let version = (!self.ignores_updates).then(|| log.version(at));
        let details = log.details;
        let mut meaning = Meaning::of(
            log.action.as_deref(),
            details.action_type.as_deref(),
            log.object.kind.as_deref(),
            log.object.id.kind.as_deref(),
        );
        if meaning.object == Some(mapping::TEAM)
            && meaning.action == Action::Update
            && grants::names_roles(details.patch.as_deref())
        {
            meaning.action = Action::Grant;
        }
        let object = Object::read(log.object, &meaning, &mut problems);
        let subject = meaning.object.map(|word| object.subject(word, self.tenant.as_deref(), details.patch.as_deref()));
        let grants = subject.map_or_else(Vec::new, |subject| grants::of(meaning.action, &subject));
        let actor = actor(log.actor, &mut problems);
        let related = object.related(details.message.as_deref(), &actor);
        Event {
            version,
            tenant: self.tenant.clone().map(Cow::Owned),
            outcome: log.action.as_deref().and_then(shared::outcome_of).unwrap_or_default(),
            action: meaning.action,
            category: meaning.category(log.action.as_deref().unwrap_or_default()),
            event_type: log.action.unwrap_or_default(),
            message: details.message,
            timestamp: problems.timestamp_or("timestamp", &log.timestamp, time, context.observed_at),
            original_time: log.timestamp.into_given(),
            actor,
            target: object.target,
            grants,
            related,
            normalize_error: problems.into_error(),
            ..Event::new(id, NAME, context.source, context.observed_at, raw)
        }
    }

    fn split_page(json: &str) -> Option<Vec<&str>> {
        records_of(&page::envelope(NAME, json).ok()?, json, 0).ok()
    }
}

/// An id is an email address, an account name, or an id with a prefix that names its kind.
fn actor<'a>(actor: AuditActor<'a>, problems: &mut Problems) -> Actor<'a> {
    const PREFIXES_OF_IDS: [&str; 3] = ["controller:", "kubernetes:", "subject:"];
    let id = problems.identifier("actor.id", actor.id);
    let kind = mapping::actor_type(actor.kind.as_deref(), id.as_deref());
    let via = if kind == ActorType::ApiKey { Via::Api } else { Via::Unknown };
    let email = id.clone().and_then(email);
    let is_name = |id: &Cow<'_, str>| email.is_none() && !PREFIXES_OF_IDS.iter().any(|prefix| id.starts_with(prefix));
    let name = id.clone().filter(is_name);
    Actor { kind, id: id.or(actor.kind), name, email, ip: actor.ip.ip(), via, ..Actor::default() }
}

fn email(id: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let address = match id {
        Cow::Borrowed(text) => Cow::Borrowed(text.strip_prefix("email:").unwrap_or(text)),
        Cow::Owned(text) => text.strip_prefix("email:").map(str::to_owned).map_or(Cow::Owned(text), Cow::Owned),
    };
    field::email(Some(address))
}

/// The object of a record. Of a member of a team or workspace, the target is that team or workspace.
struct Object<'a> {
    target: Option<Target<'a>>,
    name: Text<'a>,
    parent: Option<Scope<'a>>,
}

impl<'a> Object<'a> {
    fn read(object: AuditObject<'a>, meaning: &Meaning, problems: &mut Problems) -> Self {
        let (id, parent) = (object.id, object.parent);
        let name = problems.identifier("object.id.name", id.name);
        let is_member = matches!(meaning.object, Some(mapping::TEAM_MEMBER | mapping::WORKSPACE_MEMBER));
        if is_member && parent.name.is_some() {
            let path = path([&parent.parent_name, &parent.name]);
            let scope = Scope { kind: meaning.kind, id: path.clone(), name: parent.name.clone() };
            let target =
                Target { kind: meaning.kind, vendor_type: object.kind, id: path, name: parent.name, email: None };
            return Self { target: Some(target), name, parent: Some(scope) };
        }
        // Without its team or workspace, the member is all that is known.
        let kind = if is_member { ObjectType::User } else { meaning.kind };
        let path = path([&parent.parent_name, &parent.name, &parent.application_name, &id.group, &id.kind, &name]);
        let is_known = object.kind.is_some() || path.is_some();
        let email = if kind == ObjectType::User { field::email(name.clone()) } else { None };
        let target = Target { kind, vendor_type: object.kind, id: path, name: name.clone(), email };
        Self { target: is_known.then_some(target), name, parent: None }
    }

    fn subject<'e>(
        &self,
        object: &'static str,
        tenant: Option<&'e str>,
        patch: Option<&'e str>,
    ) -> grants::Subject<'a, 'e> {
        grants::Subject { object, name: self.name.clone(), parent: self.parent.clone(), tenant, patch }
    }

    /// The member of the target, and the people whose addresses are in the message.
    fn related(&self, message: Option<&str>, actor: &Actor<'a>) -> Vec<Related<'a>> {
        let mut related = Vec::new();
        if let (Some(parent), Some(name)) = (&self.parent, &self.name) {
            let email = field::email(Some(name.clone()));
            let is_team = email.is_none() && parent.kind == ObjectType::Project;
            let kind = if is_team { ObjectType::Group } else { ObjectType::User };
            let member = Target { kind, name: Some(name.clone()), email, ..Target::default() };
            related.push(Related { role: Role::Associated, object: member });
        }
        let target_email = self.target.as_ref().and_then(|target| target.email.as_deref());
        for email in message.filter(|message| message.contains('@')).into_iter().flat_map(addresses) {
            let known = [actor.email.as_deref(), target_email];
            let is_known = known.contains(&Some(&email))
                || related.iter().any(|related| related.object.email.as_deref() == Some(&*email));
            if !is_known {
                let person = Target { kind: ObjectType::User, email: Some(Cow::Owned(email)), ..Target::default() };
                related.push(Related { role: Role::Mentioned, object: person });
            }
        }
        related
    }
}

/// The e-mail addresses in a sentence, in lower case.
fn addresses(sentence: &str) -> impl Iterator<Item = String> {
    let words = sentence.split(|c: char| c.is_whitespace() || "\"'`,;:()<>[]{}".contains(c));
    words.filter(|word| word.contains('@')).filter_map(|word| {
        let word = word.trim_end_matches(['.', '!', '?']);
        field::email(Some(Cow::Borrowed(word))).map(Cow::into_owned)
    })
}

/// Objects have no opaque id: the path of names from the outermost parent is used instead.
fn path<'a, const N: usize>(parts: [&Text<'a>; N]) -> Text<'a> {
    let mut path = String::with_capacity(64);
    for part in parts.into_iter().flatten() {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(part);
    }
    (!path.is_empty()).then_some(Cow::Owned(path))
}
