//! Events for the encoders' tests.

use std::borrow::Cow;

use super::{Action, Actor, ActorType, Category, Change, Event, EventId, OnBehalfOf, Outcome, Related, Role, Target};
use crate::time::{EventTime, Timestamp};

fn text(value: &str) -> Option<Cow<'_, str>> {
    Some(Cow::Borrowed(value))
}

/// An event with only the required fields.
pub(super) fn minimal() -> Event<'static> {
    Event {
        id: EventId([0xab; 16]),
        version: None,
        vendor: "confluence",
        source: "acme",
        tenant: None,
        vendor_event_id: None,
        event_type: Cow::Borrowed(""),
        action: Action::Other,
        category: Category::Other,
        outcome: Outcome::Unknown,
        message: None,
        timestamp: EventTime::parse_rfc3339("2025-11-24T16:00:00.10Z").expect("a time"),
        observed_at: Timestamp::from_nanos(1_764_000_062_004_999_999),
        actor: Actor::default(),
        target: None,
        related: Vec::new(),
        changes: Vec::new(),
        normalize_error: None,
        raw: r#"{"n": 1.0}"#,
    }
}

/// A permission granted to a user, with every field set.
pub(super) fn grant_to_user() -> Event<'static> {
    Event {
        version: Some(3),
        tenant: text("t1"),
        vendor_event_id: text("v7"),
        event_type: Cow::Borrowed("Space permission added"),
        action: Action::Grant,
        category: Category::Iam,
        outcome: Outcome::Success,
        message: text("granted"),
        actor: Actor {
            kind: ActorType::User,
            id: text("u1"),
            name: text("Avery"),
            email: text("a@example.com"),
            ip: text("203.0.113.24"),
            on_behalf_of: Some(OnBehalfOf { id: text("u9"), name: text(""), email: text("z@example.com") }),
        },
        target: Some(object("user", "u2", Some("Blake"))),
        related: vec![Related { role: Role::Associated, object: object("group", "g1", None) }],
        changes: vec![Change { field: Cow::Borrowed("Permission"), old: None, new: text("ADMIN") }],
        ..minimal()
    }
}

/// An object with an id.
pub(super) fn object(kind: &'static str, id: &'static str, name: Option<&'static str>) -> Target<'static> {
    Target { kind: text(kind), id: text(id), name: name.and_then(text) }
}

/// Every category with every action, with no target, a user, a group, a space and a target without id; with and without an
/// actor and changes.
pub(super) fn every_combination() -> Vec<Event<'static>> {
    let targets = [
        None,
        Some(object("user", "u2", None)),
        Some(object("group", "g2", Some("Finance"))),
        Some(object("space", "s2", Some("FIN"))),
        Some(Target { kind: text("page"), ..Target::default() }),
    ];
    let mut events = Vec::new();
    for category in Category::ALL {
        for action in Action::ALL {
            for target in &targets {
                for full in [minimal(), grant_to_user()] {
                    events.push(Event { category: *category, action: *action, target: target.clone(), ..full });
                }
            }
        }
    }
    events
}
