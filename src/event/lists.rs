//! The closed lists of the schema: a consumer may rely on there being no other word.

macro_rules! closed_list {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ } default $default:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every word of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The entry for a word, if the word is in the list.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl Default for $name {
            fn default() -> Self { Self::$default }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

closed_list! {
    /// What was done.
    Action {
        /// Made something new.
        Create = "create",
        /// Looked at something.
        Read = "read",
        /// Changed something.
        Update = "update",
        /// Removed something.
        Delete = "delete",
        /// Listed or searched.
        List = "list",
        /// Took data out.
        Export = "export",
        /// Brought data in.
        Import = "import",
        /// Signed in.
        Login = "login",
        /// Signed out.
        Logout = "logout",
        /// Gave a right.
        Grant = "grant",
        /// Took a right away.
        Revoke = "revoke",
        /// Put someone into a group.
        AddMember = "add_member",
        /// Took someone out of a group.
        RemoveMember = "remove_member",
        /// Switched on.
        Enable = "enable",
        /// Switched off.
        Disable = "disable",
        /// Put away.
        Archive = "archive",
        /// Brought back.
        Restore = "restore",
        /// Invited someone.
        Invite = "invite",
        /// Changed one's password.
        PasswordChange = "password_change",
        /// Set a password anew without the old one.
        PasswordReset = "password_reset",
        /// Switched a second factor on.
        MfaEnable = "mfa_enable",
        /// Switched a second factor off.
        MfaDisable = "mfa_disable",
        /// Acted as somebody else.
        Impersonate = "impersonate",
        /// Replaced a key or secret.
        Rotate = "rotate",
        /// Started a job or operation.
        Execute = "execute",
        /// A vendor's word that is in no mapping table.
        Other = "other",
    } default Other
}

closed_list! {
    /// Which area an event belongs to.
    Category {
        /// Signing in and out.
        Authentication = "authentication",
        /// Users, groups, roles and rights.
        Iam = "iam",
        /// Keys, tokens, passwords.
        Credential = "credential",
        /// Settings.
        Configuration = "configuration",
        /// The vendor's business objects.
        Data = "data",
        /// Anything else.
        Other = "other",
    } default Other
}

closed_list! {
    /// How an action ended.
    Outcome {
        /// It was done.
        Success = "success",
        /// It was refused or it failed.
        Failure = "failure",
        /// A part of it was done.
        Partial = "partial",
        /// The feed does not say.
        Unknown = "unknown",
    } default Unknown
}

closed_list! {
    /// What kind of actor.
    ActorType {
        /// A person.
        User = "user",
        /// A person with administrator rights, where the record says so.
        Admin = "admin",
        /// An API key or token.
        ApiKey = "api_key",
        /// A service or robot account.
        Service = "service",
        /// The vendor's system itself.
        System = "system",
        /// Nobody who signed in.
        Anonymous = "anonymous",
        /// The record does not say.
        Unknown = "unknown",
    } default Unknown
}

closed_list! {
    /// How a further object relates to an event.
    Role {
        /// It contains the target.
        Parent = "parent",
        /// It takes part.
        Associated = "associated",
    } default Associated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for action in Action::ALL {
            assert_eq!(Action::from_word(action.as_str()), Some(*action));
        }
        assert_eq!(Action::from_word("Create"), None);
    }
}
