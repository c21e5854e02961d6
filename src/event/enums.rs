//! The enumerations of the schema. Their values are complete: consumers may rely on there being no other value.

macro_rules! schema_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ } default $default:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All values.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The value as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// All values as they are written.
            #[must_use]
            pub fn values() -> Vec<&'static str> {
                vec![$($word,)+]
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

schema_enum! {
    /// What was done.
    Action {
        /// Created something.
        Create = "create",
        /// Read something.
        Read = "read",
        /// Changed something.
        Update = "update",
        /// Deleted something.
        Delete = "delete",
        /// Listed or searched.
        List = "list",
        /// Exported data.
        Export = "export",
        /// Imported data.
        Import = "import",
        /// Signed in.
        Login = "login",
        /// Signed out.
        Logout = "logout",
        /// Granted a permission.
        Grant = "grant",
        /// Revoked a permission.
        Revoke = "revoke",
        /// Added a member to a group.
        AddMember = "add_member",
        /// Removed a member from a group.
        RemoveMember = "remove_member",
        /// Enabled something.
        Enable = "enable",
        /// Disabled something.
        Disable = "disable",
        /// Archived something.
        Archive = "archive",
        /// Restored something.
        Restore = "restore",
        /// Invited someone.
        Invite = "invite",
        /// Changed one's own password.
        PasswordChange = "password_change",
        /// Reset a password without the old one.
        PasswordReset = "password_reset",
        /// Enabled multi-factor authentication.
        MfaEnable = "mfa_enable",
        /// Disabled multi-factor authentication.
        MfaDisable = "mfa_disable",
        /// Acted as another user.
        Impersonate = "impersonate",
        /// Replaced a key or secret.
        Rotate = "rotate",
        /// Started a job or operation.
        Execute = "execute",
        /// A vendor value without a mapping.
        Other = "other",
    } default Other
}

schema_enum! {
    /// Which area an event belongs to.
    Category {
        /// Signing in and out.
        Authentication = "authentication",
        /// Users, groups, roles and permissions.
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

schema_enum! {
    /// How an action ended.
    Outcome {
        /// It succeeded.
        Success = "success",
        /// It was denied or it failed.
        Failure = "failure",
        /// It succeeded in part.
        Partial = "partial",
        /// The record does not say.
        Unknown = "unknown",
    } default Unknown
}

schema_enum! {
    /// The type of an actor.
    ActorType {
        /// A person.
        User = "user",
        /// A person with administrator rights, where the record says so.
        Admin = "admin",
        /// An API key or token.
        ApiKey = "api_key",
        /// A service account.
        Service = "service",
        /// The vendor's system.
        System = "system",
        /// Not signed in.
        Anonymous = "anonymous",
        /// The record does not say.
        Unknown = "unknown",
    } default Unknown
}

schema_enum! {
    /// How an act came in.
    Via {
        /// The vendor's user interface.
        Ui = "ui",
        /// The vendor's API.
        Api = "api",
        /// A command line.
        Cli = "cli",
        /// A webhook.
        Webhook = "webhook",
        /// A schedule.
        Scheduler = "scheduler",
        /// Another system that is connected.
        Integration = "integration",
        /// The record does not say.
        Unknown = "unknown",
    } default Unknown
}

schema_enum! {
    /// The type of an object.
    ObjectType {
        /// A person's account.
        User = "user",
        /// Several users, a team.
        Group = "group",
        /// A named set of permissions.
        Role = "role",
        /// A key of the vendor's API.
        ApiKey = "api_key",
        /// Another secret that gives access.
        Token = "token",
        /// A space of pages.
        Space = "space",
        /// A page.
        Page = "page",
        /// A project or workspace.
        Project = "project",
        /// An application.
        Application = "application",
        /// A cluster.
        Cluster = "cluster",
        /// A policy.
        Policy = "policy",
        /// A backup.
        Backup = "backup",
        /// A report.
        Report = "report",
        /// A plan.
        Plan = "plan",
        /// A connection to another system.
        Integration = "integration",
        /// An account of the vendor's or of a connected system that is not a person's.
        Account = "account",
        /// The organization or a part of it.
        Organization = "organization",
        /// A setting.
        Setting = "setting",
        /// A signed-in session.
        Session = "session",
        /// Anything else; `vendor_type` has the vendor's word.
        Other = "other",
    } default Other
}

schema_enum! {
    /// Whether access was received or lost.
    GrantEffect {
        /// It was received.
        Granted = "granted",
        /// It was lost.
        Revoked = "revoked",
    } default Granted
}

schema_enum! {
    /// Who received or lost access.
    GranteeType {
        /// A person.
        User = "user",
        /// A group.
        Group = "group",
        /// A team.
        Team = "team",
        /// A role.
        Role = "role",
        /// An API key or token.
        ApiKey = "api_key",
        /// A service account.
        Service = "service",
        /// Everybody, not signed in.
        Anonymous = "anonymous",
        /// The record does not say.
        Unknown = "unknown",
    } default Unknown
}

schema_enum! {
    /// How a further object relates to an event.
    Role {
        /// It contains the target.
        Parent = "parent",
        /// It is involved.
        Associated = "associated",
        /// The details name it.
        Mentioned = "mentioned",
    } default Associated
}
