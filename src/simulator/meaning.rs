//! What a record says, noted where the record is written: independent of the normalizers, which have to find the same.

use serde::Serialize;

/// What the simulator wrote into a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecordMeaning {
    /// The people whom the record names, each with the part they play. Those who received or lost access are in `grants`.
    pub people: Vec<Mention>,
    /// Who received or lost which access.
    pub grants: Vec<AccessChange>,
    /// Whether the record says that the act failed.
    pub failed: bool,
    /// Whether the record says that the act came through the API or by a key.
    pub by_api: bool,
}

/// The part that a person plays in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MentionRole {
    /// Acts.
    Actor,
    /// Is impersonated.
    OnBehalfOf,
    /// Is acted on.
    Target,
    /// Is involved.
    Related,
}

/// A person in a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mention {
    /// Their part.
    pub role: MentionRole,
    /// The values that name them.
    #[serde(flatten)]
    pub party: Party,
}

/// The values by which a record names a person, group or key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Party {
    /// The vendor's id.
    pub id: Option<String>,
    /// The name.
    pub name: Option<String>,
    /// The e-mail address, in lower case.
    pub email: Option<String>,
}

/// Access that was received or lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessChange {
    /// Whether it was received.
    pub granted: bool,
    /// By whom.
    pub grantee: Party,
    /// The permission or role, if the record names one.
    pub privilege: Option<String>,
    /// Whether the vendor calls it one of administrators.
    pub admin: bool,
}

impl Party {
    /// Somebody with an id.
    pub(super) fn with_id(id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..Self::default() }
    }

    /// Somebody with a name.
    pub(super) fn with_name(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// Somebody with an e-mail address.
    pub(super) fn with_email(email: impl Into<String>) -> Self {
        Self { email: Some(email.into()), ..Self::default() }
    }

    /// The values in which `email` stands for the name too.
    pub(super) fn named_by_email(email: &str) -> Self {
        Self { name: Some(email.to_owned()), ..Self::with_email(email) }
    }

    /// The same with an id.
    pub(super) fn and_id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }
}

impl RecordMeaning {
    /// Gives back memory: the simulator keeps every record's meaning.
    pub(super) fn shrink(&mut self) {
        self.people.shrink_to_fit();
        self.grants.shrink_to_fit();
    }

    /// Notes a person.
    pub(super) fn mention(&mut self, role: MentionRole, party: Party) {
        self.people.push(Mention { role, party });
    }

    /// Notes that access was received.
    pub(super) fn grant(&mut self, grantee: Party, privilege: Option<&str>, admin: bool) {
        self.change(true, grantee, privilege, admin);
    }

    /// Notes that access was lost.
    pub(super) fn revoke(&mut self, grantee: Party, privilege: Option<&str>, admin: bool) {
        self.change(false, grantee, privilege, admin);
    }

    /// Notes that access was received (`granted`) or lost.
    pub(super) fn change(&mut self, granted: bool, grantee: Party, privilege: Option<&str>, admin: bool) {
        self.grants.push(AccessChange { granted, grantee, privilege: privilege.map(str::to_owned), admin });
    }
}
