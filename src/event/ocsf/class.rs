//! Which OCSF class an event belongs to, and the number of its activity there.

use super::named::{Named, is_email_address};
use crate::event::{Action, Category, Event, Grant, Grantee, GranteeType, ObjectType, Target};

/// The activity id for actions that a class has no id for.
pub(super) const OTHER_ACTIVITY: u32 = 99;

/// An OCSF class with the object that it requires. Without that object the event is API activity: most lakes reject an event
/// that lacks a required attribute.
#[derive(Debug, PartialEq)]
pub(super) enum Class<'e> {
    /// 3002: a sign-in or sign-out.
    Authentication,
    /// 3006: a group, its members, its permissions.
    GroupManagement {
        /// The group.
        group: Named<'e>,
        /// Who received or lost something there.
        member: Option<Named<'e>>,
    },
    /// 3005: a user's permissions, if the record names them.
    UserAccess {
        /// The user.
        user: Named<'e>,
        /// The same, as the grants name him.
        grantee: &'e Grantee<'e>,
    },
    /// 3001: a user's account.
    AccountChange {
        /// The user.
        user: Named<'e>,
    },
    /// 6003: everything else.
    ApiActivity,
}

/// Chooses the class of an event.
pub(super) fn class_of<'e>(event: &'e Event<'_>) -> Class<'e> {
    if event.category == Category::Authentication && matches!(event.action, Action::Login | Action::Logout) {
        let is_known = Named::from(&event.actor).is_identified();
        return if is_known { Class::Authentication } else { Class::ApiActivity };
    }
    if event.category != Category::Iam {
        return Class::ApiActivity;
    }
    if let Some(group) = group_of(event) {
        return Class::GroupManagement { group, member: member_of(event) };
    }
    let Some(target) = event.target.as_ref().filter(|target| target.kind == ObjectType::User) else {
        return Class::ApiActivity;
    };
    match event.grants.first() {
        Some(Grant { grantee, .. }) if is_access_of(event, grantee) => {
            Class::UserAccess { user: Named::from(grantee), grantee }
        }
        _ if target.is_identified() => Class::AccountChange { user: Named::from(target) },
        _ => Class::ApiActivity,
    }
}

/// The group that an event is about: its target, else where a grant holds.
fn group_of<'e>(event: &'e Event<'_>) -> Option<Named<'e>> {
    let target = event.target.as_ref().filter(|target| target.kind == ObjectType::Group).map(Named::from);
    let mut scopes = event.grants.iter().filter_map(|grant| grant.scope.as_ref());
    let scope = scopes.find(|scope| scope.kind == ObjectType::Group);
    let scope = scope.map(|scope| Named::new(scope.id.as_deref(), scope.name.as_deref(), None));
    target.filter(|group| group.is_identified()).or(scope).filter(|group| group.is_identified())
}

/// The user that a change of a group is about: the first grantee that is not the group itself, else the first related user.
fn member_of<'e>(event: &'e Event<'_>) -> Option<Named<'e>> {
    let is_person = |grantee: &&Grantee<'_>| !matches!(grantee.kind, GranteeType::Group | GranteeType::Team);
    let grantee = event.grants.first().map(|grant| &grant.grantee).filter(is_person).map(Named::from);
    let related = || {
        let users = event.related.iter().map(|related| &related.object);
        users.filter(|object| object.kind == ObjectType::User).map(Named::from).find(|user| user.is_identified())
    };
    grantee.filter(|grantee| grantee.is_identified()).or_else(related)
}

fn is_access_of(event: &Event<'_>, grantee: &Grantee<'_>) -> bool {
    matches!(event.action, Action::Grant | Action::Revoke)
        && grantee.is_identified()
        && privileges(event, Some(grantee)).next().is_some()
}

impl Class<'_> {
    /// The class id.
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

    /// Whether the class's own attributes hold the target, its e-mail address included.
    pub(super) fn carries_target(&self, target: &Target<'_>) -> bool {
        match self {
            Self::Authentication => false,
            Self::ApiActivity => target.is_identified(),
            Self::GroupManagement { .. } => true,
            Self::UserAccess { .. } | Self::AccountChange { .. } => {
                target.email.as_deref().is_none_or(is_email_address)
            }
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

/// The permissions that were granted or revoked, of this grantee or of all.
pub(super) fn privileges<'e>(event: &'e Event<'_>, grantee: Option<&'e Grantee<'_>>) -> impl Iterator<Item = &'e str> {
    let grants = event.grants.iter().filter(move |grant| grantee.is_none_or(|grantee| grant.grantee == *grantee));
    grants.filter_map(|grant| grant.privilege.as_deref()).filter(|privilege| !privilege.is_empty())
}
