//! The fields of an event that can be redacted: what people and vendors name, not what auditflow concludes.

use std::borrow::Cow;

use crate::event::{Event, Target};

/// All of them, as they are named in the pipeline file. A field of a list's items stands for all items.
const FIELDS: &[&str] = &[
    "message",
    "actor.id",
    "actor.name",
    "actor.email",
    "actor.ip",
    "actor.on_behalf_of.id",
    "actor.on_behalf_of.name",
    "actor.on_behalf_of.email",
    "target.id",
    "target.name",
    "target.email",
    "grants.grantee.id",
    "grants.grantee.name",
    "grants.grantee.email",
    "grants.scope.id",
    "grants.scope.name",
    "related.id",
    "related.name",
    "related.email",
    "changes.old",
    "changes.new",
];

/// The field with this name, or the error and a hint.
pub(super) fn named(path: &str) -> Result<&'static str, (String, String)> {
    FIELDS.iter().copied().find(|field| *field == path).ok_or_else(|| {
        let hint = format!(
            "write a JSON Pointer such as `/raw/user_email`, `raw` under `drop`, or one of {}",
            FIELDS.join(", ")
        );
        (format!("`{path}` is not a field that can be redacted"), hint)
    })
}

/// Whether a field always or often says who a person is.
pub(super) fn is_of_person(path: &str) -> bool {
    path.starts_with("actor.") || path.starts_with("grants.grantee.") || path.ends_with(".email")
}

type Text<'a> = Option<Cow<'a, str>>;

/// Visits every field, by the name of [`FIELDS`].
pub(super) fn visit<'a>(event: &mut Event<'a>, take: &mut dyn FnMut(&'static str, &mut Text<'a>)) {
    take("message", &mut event.message);
    take("actor.id", &mut event.actor.id);
    take("actor.name", &mut event.actor.name);
    take("actor.email", &mut event.actor.email);
    take("actor.ip", &mut event.actor.ip);
    if let Some(user) = &mut event.actor.on_behalf_of {
        take("actor.on_behalf_of.id", &mut user.id);
        take("actor.on_behalf_of.name", &mut user.name);
        take("actor.on_behalf_of.email", &mut user.email);
    }
    if let Some(target) = &mut event.target {
        object(target, ["target.id", "target.name", "target.email"], take);
    }
    for grant in &mut event.grants {
        take("grants.grantee.id", &mut grant.grantee.id);
        take("grants.grantee.name", &mut grant.grantee.name);
        take("grants.grantee.email", &mut grant.grantee.email);
        if let Some(scope) = &mut grant.scope {
            take("grants.scope.id", &mut scope.id);
            take("grants.scope.name", &mut scope.name);
        }
    }
    for related in &mut event.related {
        object(&mut related.object, ["related.id", "related.name", "related.email"], take);
    }
    for change in &mut event.changes {
        take("changes.old", &mut change.old);
        take("changes.new", &mut change.new);
    }
}

fn object<'a>(
    object: &mut Target<'a>,
    [id, name, email]: [&'static str; 3],
    take: &mut dyn FnMut(&'static str, &mut Text<'a>),
) {
    take(id, &mut object.id);
    take(name, &mut object.name);
    take(email, &mut object.email);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Change, EventId, Grant, Grantee, ObjectType, OnBehalfOf, Related, Role};
    use crate::time::Timestamp;

    #[test]
    fn every_named_field_is_visited() {
        let mut event = Event::new(EventId([0; 16]), "v", "s", Timestamp::from_nanos(0), "{}");
        event.actor.on_behalf_of = Some(OnBehalfOf::default());
        event.target = Some(Target::default());
        event.grants = vec![Grant::granted(Grantee::default()).scope(ObjectType::Space, None, None)];
        event.related = vec![Related { role: Role::Parent, object: Target::default() }];
        event.changes = vec![Change { field: "f".into(), old: None, new: None }];
        let mut visited = Vec::new();
        visit(&mut event, &mut |path, _| visited.push(path));
        assert_eq!(visited, FIELDS);
    }
}
