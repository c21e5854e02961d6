//! Which OCSF class an event belongs to, and which activity of that class it is.

use super::{Change, Event, Related, Target, display_name, is_named};
use crate::event::own::is_kind;
use crate::event::{Action, Category};

/// The activity of a class that has no number for what was done.
pub(super) const OTHER_ACTIVITY: u32 = 99;

/// A class, with the object that it requires. Where that object is not known, the event is API activity: an event that
/// lacks a required attribute is invalid and lost to most lakes.
#[derive(Debug, PartialEq)]
pub(super) enum Class<'e, 'a> {
    /// 3002: somebody signs in or out.
    Authentication,
    /// 3006: a group, its members, its rights.
    GroupManagement {
        /// The group.
        group: &'e Target<'a>,
    },
    /// 3005: a user's rights, where the record says which.
    UserAccess {
        /// Whose.
        user: &'e Target<'a>,
    },
    /// 3001: a user's account.
    AccountChange {
        /// Whose.
        user: &'e Target<'a>,
    },
    /// 6003: everything else.
    ApiActivity,
}

/// Chooses the class of an event.
pub(super) fn class_of<'e, 'a>(event: &'e Event<'a>) -> Class<'e, 'a> {
    let named = event.target.as_ref().filter(|target| is_named(target));
    match (event.category, event.action, named) {
        (Category::Authentication, Action::Login | Action::Logout, _) if display_name(&event.actor).is_some() => {
            Class::Authentication
        }
        (Category::Iam, _, Some(group)) if is_kind(group, "group") => Class::GroupManagement { group },
        (Category::Iam, Action::Grant | Action::Revoke, Some(user))
            if is_kind(user, "user") && privileges(event).next().is_some() =>
        {
            Class::UserAccess { user }
        }
        (Category::Iam, _, Some(user)) if is_kind(user, "user") => Class::AccountChange { user },
        _ => Class::ApiActivity,
    }
}

impl Class<'_, '_> {
    /// The class's number.
    pub(super) const fn uid(&self) -> u32 {
        match self {
            Self::AccountChange { .. } => 3_001,
            Self::Authentication => 3_002,
            Self::UserAccess { .. } => 3_005,
            Self::GroupManagement { .. } => 3_006,
            Self::ApiActivity => 6_003,
        }
    }

    /// The activity's number in the class.
    pub(super) const fn activity(&self, action: Action) -> u32 {
        match self {
            Self::Authentication => authentication(action),
            Self::GroupManagement { .. } => group_management(action),
            Self::UserAccess { .. } => user_access(action),
            Self::AccountChange { .. } => account_change(action),
            Self::ApiActivity => api_activity(action),
        }
    }

    /// Whether the class's own attributes hold the target.
    pub(super) fn carries_target(&self, target: &Target<'_>) -> bool {
        match self {
            Self::Authentication => false,
            Self::ApiActivity => is_named(target),
            Self::GroupManagement { .. } | Self::UserAccess { .. } | Self::AccountChange { .. } => true,
        }
    }
}

const fn authentication(action: Action) -> u32 {
    match action {
        Action::Login => 1,
        Action::Logout => 2,
        _ => OTHER_ACTIVITY,
    }
}

const fn group_management(action: Action) -> u32 {
    match action {
        Action::Grant => 1,
        Action::Revoke => 2,
        Action::AddMember => 3,
        Action::RemoveMember => 4,
        Action::Delete => 5,
        Action::Create => 6,
        _ => OTHER_ACTIVITY,
    }
}

const fn user_access(action: Action) -> u32 {
    match action {
        Action::Grant => 1,
        Action::Revoke => 2,
        _ => OTHER_ACTIVITY,
    }
}

const fn account_change(action: Action) -> u32 {
    match action {
        Action::Create => 1,
        Action::Enable => 2,
        Action::PasswordChange => 3,
        Action::PasswordReset => 4,
        Action::Disable => 5,
        Action::Delete => 6,
        Action::MfaEnable => 10,
        Action::MfaDisable => 11,
        _ => OTHER_ACTIVITY,
    }
}

const fn api_activity(action: Action) -> u32 {
    match action {
        Action::Create | Action::Import => 1,
        Action::Read | Action::List | Action::Export => 2,
        Action::Update
        | Action::Enable
        | Action::Disable
        | Action::Grant
        | Action::Revoke
        | Action::Archive
        | Action::Restore
        | Action::AddMember
        | Action::RemoveMember
        | Action::Invite
        | Action::Rotate => 3,
        Action::Delete => 4,
        _ => OTHER_ACTIVITY,
    }
}

/// The rights that were given or taken away, where the changed values name them.
pub(super) fn privileges<'e>(event: &'e Event<'_>) -> impl Iterator<Item = &'e str> {
    let revoked = event.action == Action::Revoke;
    event.changes.iter().filter(|change| names_privileges(change)).filter_map(move |change| {
        let (first, second) = if revoked { (&change.old, &change.new) } else { (&change.new, &change.old) };
        let known = |text: &'e Option<std::borrow::Cow<'_, str>>| text.as_deref().filter(|text| !text.is_empty());
        known(first).or_else(|| known(second))
    })
}

fn names_privileges(change: &Change<'_>) -> bool {
    const WORDS: [&str; 4] = ["permission", "privilege", "role", "access"];
    let field = change.field.to_ascii_lowercase();
    WORDS.iter().any(|word| field.contains(word))
}

/// The user whom a change of a group is about.
pub(super) fn first_related_user<'e, 'a>(event: &'e Event<'a>) -> Option<&'e Target<'a>> {
    let objects = event.related.iter().map(|related: &Related<'_>| &related.object);
    objects.into_iter().find(|object| is_kind(object, "user") && is_named(object))
}
