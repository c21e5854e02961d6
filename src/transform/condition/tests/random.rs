//! Random valid conditions and random events, from few words, so that conditions match often.

use std::borrow::Cow;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::event::{
    Action, Actor, ActorType, Category, Change, Event, EventId, OnBehalfOf, Outcome, Related, Role, Target, Via,
};
use crate::time::Timestamp;

const NOON: i64 = 1_769_860_800;

/// Strings in fields and in conditions.
const WORDS: &[&str] = &["a", "ab", "b", "user", "é", "\"'\\\n", "A", "0", ""];

/// An event that owns its strings.
#[derive(Clone, Debug)]
pub(super) struct OwnedEvent {
    texts: Vec<Option<String>>,
    words: (usize, usize, usize, usize),
    version: Option<u64>,
    times: (i64, i64),
    has: (bool, bool),
    related: Vec<(bool, Vec<Option<String>>)>,
    changes: Vec<Vec<Option<String>>>,
}

pub(super) fn event() -> impl Strategy<Value = OwnedEvent> {
    let text = || option::weighted(0.7, select(WORDS).prop_map(str::to_owned));
    let words = (0..Action::ALL.len(), 0..Category::ALL.len(), 0..Outcome::ALL.len(), 0..ActorType::ALL.len());
    let times = (-2_000_000_000..2_000_000_000_i64, -2_000_000_000..2_000_000_000_i64);
    let lists = (vec((any::<bool>(), vec(text(), 3)), 0..3), vec(vec(text(), 3), 0..3));
    let head = (vec(text(), 16), words, option::of(0..4_u64), times, any::<(bool, bool)>());
    (head, lists).prop_map(|((texts, words, version, times, has), (related, changes))| OwnedEvent {
        texts,
        words,
        version,
        times,
        has,
        related,
        changes,
    })
}

impl OwnedEvent {
    fn text(&self, index: usize) -> Option<Cow<'_, str>> {
        self.texts[index].as_deref().map(Cow::Borrowed)
    }

    fn always(&self, index: usize) -> &str {
        self.texts[index].as_deref().unwrap_or("")
    }

    pub(super) fn borrowed(&self) -> Event<'_> {
        let at = |nanos: i64| Timestamp::from_secs(NOON) + std::time::Duration::ZERO + signed(nanos);
        let (action, category, outcome, kind) = self.words;
        let on_behalf_of = OnBehalfOf { id: self.text(0), name: self.text(1), email: self.text(2) };
        let target = Target { vendor_type: self.text(3), id: self.text(4), name: self.text(5), ..Target::default() };
        Event {
            id: EventId([u8::try_from(action).expect("few"); 16]),
            version: self.version,
            vendor: crate::vendors::registry::NAMES[outcome],
            source: self.always(6),
            tenant: self.text(7),
            vendor_event_id: self.text(8),
            event_type: Cow::Borrowed(self.always(9)),
            action: Action::ALL[action],
            category: Category::ALL[category],
            outcome: Outcome::ALL[outcome],
            message: self.text(10),
            product: None,
            original_time: None,
            timestamp: at(self.times.0),
            observed_at: at(self.times.1),
            actor: Actor {
                kind: ActorType::ALL[kind],
                id: self.text(11),
                name: self.text(12),
                email: self.text(13),
                ip: self.text(14),
                via: Via::Api,
                on_behalf_of: self.has.0.then_some(on_behalf_of),
            },
            target: self.has.1.then_some(target),
            grants: Vec::new(),
            related: self.related.iter().map(related).collect(),
            changes: self.changes.iter().map(|texts| change(texts)).collect(),
            normalize_error: self.texts[10].clone(),
            redacted: Vec::new(),
            raw: self.always(15),
        }
    }
}

fn signed(nanos: i64) -> std::time::Duration {
    // Around noon, both sides: the offset is moved up so that it is never negative.
    std::time::Duration::from_nanos(u64::try_from(nanos + 2_000_000_000).expect("not negative"))
}

fn cow(text: &Option<String>) -> Option<Cow<'_, str>> {
    text.as_deref().map(Cow::Borrowed)
}

fn related((parent, texts): &(bool, Vec<Option<String>>)) -> Related<'_> {
    let role = if *parent { Role::Parent } else { Role::Associated };
    let (vendor_type, id, name) = (cow(&texts[0]), cow(&texts[1]), cow(&texts[2]));
    Related { role, object: Target { vendor_type, id, name, ..Target::default() } }
}

fn change(texts: &[Option<String>]) -> Change<'_> {
    Change { field: cow(&texts[0]).unwrap_or_default(), old: cow(&texts[1]), new: cow(&texts[2]) }
}

// --- conditions ---

const OPTIONAL: &[&str] = &[
    "tenant",
    "vendor_event_id",
    "message",
    "actor.id",
    "actor.name",
    "actor.email",
    "actor.ip",
    "actor.on_behalf_of.id",
    "actor.on_behalf_of.name",
    "actor.on_behalf_of.email",
    "target.vendor_type",
    "target.id",
    "target.name",
    "normalize_error",
];
const ALWAYS: &[&str] = &["id", "source", "event_type", "raw", "schema_version", "vendor", "action", "actor.type"];
const CLOSED: &[(&str, &[&str])] = &[
    ("action", &["create", "read", "other"]),
    ("category", &["iam", "data"]),
    ("outcome", &["success", "unknown"]),
    ("actor.type", &["user", "admin"]),
    ("vendor", &["akuity", "clumio"]),
];
const ORDERS: &[&str] = &["==", "!=", "<", "<=", ">", ">="];
const METHODS: &[&str] = &["contains", "startsWith", "endsWith"];
const PATTERNS: &[&str] = &["\"^a\"", "r\"[ab]+$\"", "\"\"", "'(?i)A|é'"];
const TIMES: &[&str] =
    &["timestamp", "observed_at", "timestamp(\"2026-01-31T12:00:00Z\")", "timestamp('2026-01-31T12:00:02.5+00:00')"];

fn quoted() -> impl Strategy<Value = String> {
    select(WORDS).prop_map(|word| if word.contains('"') { "'\"\\'\\\\\\n'".to_owned() } else { format!("\"{word}\"") })
}

fn a_text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(OPTIONAL).prop_map(str::to_owned),
        1 => select(ALWAYS[..5].to_vec()).prop_map(str::to_owned),
        2 => quoted(),
    ]
}

fn a_number() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("version".to_owned()),
        (-1..4_i64).prop_map(|number| number.to_string()),
        a_text().prop_map(|text| format!("size({text})")),
        select(&["related", "changes"][..]).prop_map(|list| format!("{list}.size()")),
    ]
}

/// Something true or false, of one field or two; `texts` are the texts that it may ask of.
fn simple(texts: impl Strategy<Value = String> + Clone + 'static) -> impl Strategy<Value = String> {
    let order = || select(ORDERS);
    prop_oneof![
        (texts.clone(), order(), a_text()).prop_map(|(left, order, right)| format!("{left} {order} {right}")),
        (texts.clone(), select(METHODS), a_text()).prop_map(|(text, method, part)| format!("{text}.{method}({part})")),
        (texts.clone(), select(PATTERNS)).prop_map(|(text, pattern)| format!("{text}.matches({pattern})")),
        (texts, vec(quoted(), 0..4)).prop_map(|(text, words)| format!("{text} in [{}]", words.join(", "))),
    ]
}

fn of_events() -> impl Strategy<Value = String> {
    let order = || select(ORDERS);
    let closed = (select(CLOSED), any::<bool>(), order()).prop_map(|((field, words), several, order)| match several {
        true => format!("{field} in [\"{}\"]", words.join("\", \"")),
        false => format!("{field} {order} \"{}\"", words[0]),
    });
    prop_oneof![
        4 => simple(a_text().boxed()),
        2 => closed,
        1 => (a_number(), order(), a_number()).prop_map(|(left, order, right)| format!("{left} {order} {right}")),
        1 => (select(TIMES), order(), select(TIMES)).prop_map(|(left, order, right)| format!("{left} {order} {right}")),
        1 => select(OPTIONAL).prop_map(|field| format!("{field} == null")),
        1 => select(OPTIONAL).prop_map(|field| format!("{field} in [null, \"a\"]")),
        1 => select(&["has(target)", "null != target", "has(related)", "has(version)", "has(id)", "actor.on_behalf_of == null", "true"][..])
            .prop_map(str::to_owned),
        2 => of_lists(),
    ]
}

fn of_lists() -> impl Strategy<Value = String> {
    let lists: &[(&str, &[&str])] =
        &[("related", &["x.role", "x.vendor_type", "x.name"]), ("changes", &["x.field", "x.old", "x.new"])];
    let test = select(lists).prop_flat_map(|(list, fields)| {
        let inner = simple(select(fields).prop_map(str::to_owned).boxed());
        let fitting = inner.prop_filter("words of the closed list", |text| !text.contains("x.role"));
        (Just(list), select(&["exists", "all"][..]), fitting)
    });
    prop_oneof![
        4 => test.prop_map(|(list, method, test)| format!("{list}.{method}(x, {test})")),
        1 => Just("related.exists(x, changes.all(y, y.old != x.name && x.role == \"parent\"))".to_owned()),
    ]
}

/// A condition without mistakes.
pub(super) fn condition() -> impl Strategy<Value = String> {
    of_events().prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(") && ("))),
            vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(")||("))),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("{left} && {right} || {left}")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left}) == ({right})")),
            inner.prop_map(|part| format!("! ({part}) // no\n")),
        ]
    })
}

/// A piece of the language.
pub(super) fn word() -> impl Strategy<Value = String> {
    let pieces = [
        "(",
        ")",
        "[",
        "]",
        ".",
        ",",
        "!",
        "-",
        "==",
        "in",
        "&&",
        "||",
        "<",
        "null",
        "true",
        "1",
        "0x1f",
        "\"a\"",
        "'é'",
        "r\"",
        "\"",
        "actor",
        "type",
        "related",
        "exists",
        "all",
        "has",
        "size",
        "timestamp",
        "x",
        "contains",
        "matches",
    ];
    select(pieces.to_vec()).prop_map(str::to_owned)
}
