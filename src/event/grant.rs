//! Who received or lost which access, and where.
//!
//! ```text
//! Grant::granted(Grantee::from(&target)).privilege(role, ADMIN_ROLES).scope(ObjectType::Space, id, name)
//! ```

use std::borrow::Cow;

use super::enums::{GrantEffect, GranteeType, ObjectType};

type Text<'a> = Option<Cow<'a, str>>;

/// Access that somebody received or lost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grant<'a> {
    /// Whether it was received or lost.
    pub effect: GrantEffect,
    /// Who received or lost it.
    pub grantee: Grantee<'a>,
    /// The vendor's name of the permission or role; `None` if the record does not say.
    pub privilege: Text<'a>,
    /// Whether the vendor documents the privilege as administrative; `None` if that is unknown.
    pub admin: Option<bool>,
    /// Where it holds, if the record says so.
    pub scope: Option<Scope<'a>>,
}

/// Who received or lost access.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grantee<'a> {
    /// The type of grantee.
    pub kind: GranteeType,
    /// The vendor's id.
    pub id: Text<'a>,
    /// Name for people.
    pub name: Text<'a>,
    /// E-mail address, in lower case.
    pub email: Text<'a>,
}

/// Where access holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope<'a> {
    /// The type of object.
    pub kind: ObjectType,
    /// The vendor's id.
    pub id: Text<'a>,
    /// Name for people.
    pub name: Text<'a>,
}

impl<'a> Grant<'a> {
    /// Access that `grantee` received.
    #[must_use]
    pub fn granted(grantee: Grantee<'a>) -> Self {
        Self { grantee, ..Self::default() }
    }

    /// Access that `grantee` lost.
    #[must_use]
    pub fn revoked(grantee: Grantee<'a>) -> Self {
        Self { effect: GrantEffect::Revoked, ..Self::granted(grantee) }
    }

    /// Names the privilege. `admin_privileges` are those that the vendor documents as administrative, ignoring case; if none
    /// is documented, `admin` stays unknown.
    #[must_use]
    pub fn privilege(mut self, privilege: Text<'a>, admin_privileges: &[&str]) -> Self {
        let is_admin = |text: &str| admin_privileges.iter().any(|admin| admin.eq_ignore_ascii_case(text));
        self.admin = privilege.as_deref().filter(|_| !admin_privileges.is_empty()).map(is_admin);
        self.privilege = privilege;
        self
    }

    /// Says where it holds.
    #[must_use]
    pub fn scope(mut self, kind: ObjectType, id: Text<'a>, name: Text<'a>) -> Self {
        self.scope = Some(Scope { kind, id, name });
        self
    }
}

impl Grantee<'_> {
    /// Whether it has an id, a name or an e-mail address.
    #[must_use]
    pub fn is_identified(&self) -> bool {
        [&self.id, &self.name, &self.email].into_iter().flatten().any(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Target;

    fn text(value: &str) -> Text<'_> {
        Some(Cow::Borrowed(value))
    }

    #[test]
    fn a_privilege_is_administrative_only_by_a_documented_list() {
        let grant = |privilege, list| Grant::granted(Grantee::default()).privilege(privilege, list).admin;
        assert_eq!(grant(text("Owner"), &["owner"]), Some(true));
        assert_eq!(grant(text("member"), &["owner"]), Some(false));
        assert_eq!(grant(text("owner"), &[]), None);
        assert_eq!(grant(None, &["owner"]), None);
    }

    #[test]
    fn objects_become_grantees_and_scopes() {
        let user = Target { kind: ObjectType::User, id: text("u1"), email: text("a@example.com"), ..Target::default() };
        let revoked = Grant::revoked(Grantee::from(&user)).scope(ObjectType::Space, text("FIN"), None);
        assert_eq!(revoked.effect, GrantEffect::Revoked);
        assert_eq!(
            (revoked.grantee.kind, revoked.grantee.email.as_deref()),
            (GranteeType::User, Some("a@example.com"))
        );
        assert_eq!(revoked.scope, Some(Scope { kind: ObjectType::Space, id: text("FIN"), name: None }));
        let page = Target { kind: ObjectType::Page, name: text("Plan"), ..Target::default() };
        assert_eq!(Grantee::from(&page).kind, GranteeType::Unknown);
        assert_eq!(Scope::from(&page).name, text("Plan"));
        assert!(Grantee::from(&page).is_identified() && !Grantee::default().is_identified());
    }
}
