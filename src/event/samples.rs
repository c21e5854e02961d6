//! Events for the encoders' tests.

use std::borrow::Cow;

use super::{
    Action, Actor, ActorType, Category, Change, Event, EventId, Grant, Grantee, GranteeType, ObjectType, OnBehalfOf,
    Outcome, Product, Related, Role, Target, Via,
};
use crate::time::Timestamp;

fn text(value: &str) -> Option<Cow<'_, str>> {
    Some(Cow::Borrowed(value))
}

/// An event with only the required fields.
pub(super) fn minimal() -> Event<'static> {
    let observed_at = Timestamp::from_nanos(1_764_000_062_004_999_999);
    Event {
        product: Some(&Product { name: "Confluence", vendor_name: "Atlassian" }),
        timestamp: Timestamp::parse_rfc3339("2025-11-24T16:00:00.10Z").expect("a time"),
        original_time: text("2025-11-24T16:00:00.10Z"),
        ..Event::new(EventId([0xab; 16]), "confluence", "acme", observed_at, r#"{"n": 1.0}"#)
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
            via: Via::Ui,
            on_behalf_of: Some(OnBehalfOf { id: text("u9"), name: text(""), email: text("z@example.com") }),
        },
        target: Some(Target {
            name: text("Blake Sample"),
            email: text("b@example.com"),
            ..object(ObjectType::User, "u2")
        }),
        grants: vec![view_space()],
        related: vec![Related { role: Role::Associated, object: object(ObjectType::Group, "g1") }],
        changes: vec![
            Change { field: Cow::Borrowed("Permission"), old: None, new: text("ADMIN") },
            Change { field: Cow::Borrowed("Email"), old: None, new: text("b@example.com") },
        ],
        ..minimal()
    }
}

/// The user of [`grant_to_user`] may view a space.
pub(super) fn view_space() -> Grant<'static> {
    let name = text("Blake Sample");
    let blake = Grantee { kind: GranteeType::User, id: text("u2"), name, email: text("b@example.com") };
    Grant::granted(blake).privilege(text("VIEWSPACE"), &["ADMIN"]).scope(
        ObjectType::Space,
        text("FIN"),
        text("Finance"),
    )
}

/// An object with an id, and the vendor's word for its type.
pub(super) fn object(kind: ObjectType, id: &'static str) -> Target<'static> {
    Target { kind, vendor_type: text(kind.as_str()), id: text(id), ..Target::default() }
}

/// Every category with every action, with no target, a user, a group, a space and a target without id; with and without an
/// actor, changes and grants.
pub(super) fn every_combination() -> Vec<Event<'static>> {
    let targets = [
        None,
        Some(object(ObjectType::User, "u2")),
        Some(Target { name: text("Finance"), ..object(ObjectType::Group, "g2") }),
        Some(Target { name: text("FIN"), ..object(ObjectType::Space, "s2") }),
        Some(Target { kind: ObjectType::Page, ..Target::default() }),
        Some(Target { email: text("b@example.com"), kind: ObjectType::User, ..Target::default() }),
    ];
    let in_group = Grant { grantee: Grantee::default(), ..view_space().scope(ObjectType::Group, text("g3"), None) };
    let mut events = Vec::new();
    for category in Category::ALL {
        for action in Action::ALL {
            for target in &targets {
                let grants = vec![in_group.clone()];
                for full in [minimal(), grant_to_user(), Event { grants, ..minimal() }] {
                    events.push(Event { category: *category, action: *action, target: target.clone(), ..full });
                }
            }
        }
    }
    events
}
