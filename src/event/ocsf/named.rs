//! Users, groups and resources as OCSF names them.

use crate::event::json::ObjectWriter;
use crate::event::{Actor, Grantee, Target};

/// What OCSF wants to know of a user, group or resource.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Named<'e> {
    uid: Option<&'e str>,
    name: Option<&'e str>,
    email: Option<&'e str>,
}

impl<'e> Named<'e> {
    /// Empty texts count as absent.
    pub(super) fn new(uid: Option<&'e str>, name: Option<&'e str>, email: Option<&'e str>) -> Self {
        let known = |text: Option<&'e str>| text.filter(|text| !text.is_empty());
        Self { uid: known(uid), name: known(name), email: known(email) }
    }

    /// Whether it has an id, a name or an e-mail address.
    pub(super) fn is_identified(self) -> bool {
        self.name_or_else().is_some()
    }

    /// A name is required: the e-mail address or the id replaces a missing one.
    fn name_or_else(self) -> Option<&'e str> {
        self.name.or(self.email).or(self.uid)
    }

    /// Writes id and name.
    pub(super) fn push_uid_and_name(self, object: &mut ObjectWriter<'_>) {
        object.optional("uid", self.uid);
        object.optional("name", self.name_or_else());
    }

    /// Writes a user, with the e-mail address if it [has the form](is_email_address).
    pub(super) fn push_user(self, user: &mut ObjectWriter<'_>) {
        self.push_uid_and_name(user);
        user.optional("email_addr", self.email.filter(|email| is_email_address(email)));
    }
}

impl<'e> From<&'e Target<'_>> for Named<'e> {
    fn from(object: &'e Target<'_>) -> Self {
        Self::new(object.id.as_deref(), object.name.as_deref(), object.email.as_deref())
    }
}

impl<'e> From<&'e Grantee<'_>> for Named<'e> {
    fn from(grantee: &'e Grantee<'_>) -> Self {
        Self::new(grantee.id.as_deref(), grantee.name.as_deref(), grantee.email.as_deref())
    }
}

impl<'e> From<&'e Actor<'_>> for Named<'e> {
    fn from(actor: &'e Actor<'_>) -> Self {
        Self::new(actor.id.as_deref(), actor.name.as_deref(), actor.email.as_deref())
    }
}

/// Whether OCSF accepts the text as an e-mail address: its pattern for `email_t` allows ASCII only.
pub(super) fn is_email_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let Some((host, parents)) = domain.split_once('.') else { return false };
    let is_local = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+,-./=?^_`{|}~".contains(&byte);
    let is_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    [local, host, parents].iter().all(|part| !part.is_empty())
        && local.bytes().all(is_local)
        && host.bytes().all(is_label)
        && parents.bytes().all(|byte| is_label(byte) || byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_mail_addresses_are_those_that_ocsf_accepts() {
        for text in ["a@example.com", "ada.l+x@mail.example.co.uk", "a'b@x-y.z"] {
            assert!(is_email_address(text), "{text}");
        }
        for text in ["", "ada", "ada@example", "@example.com", "ada@.com", "ada@example.", "a b@example.com"] {
            assert!(!is_email_address(text), "{text}");
        }
        for text in ["ada@exämple.com", "ädа@example.com", "a@b@example.com", "<a@example.com>"] {
            assert!(!is_email_address(text), "{text}");
        }
    }
}
