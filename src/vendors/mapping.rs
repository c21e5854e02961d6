//! What vendors' words mean, decided once for all vendors: actions, categories, outcomes and types of objects.
//!
//! ```text
//! vendor's word --its own catalog, else action_of------> Action ---+
//!               --its own catalog, else object_type_of-> ObjectType +--category--> Category
//! ```
//!
//! A vendor's own catalog comes first. Other words are read by their parts: `user_deleted`, `api_token.created` and
//! `deleteUser` all end or begin with a verb of `VERBS`. Unknown words become `other`. The category of an act such as
//! `mfa_enable` is the same for all vendors, whatever their catalogs say.

use std::cell::RefCell;
use std::collections::HashMap;
use std::thread::LocalKey;

use crate::event::{Action, Category, ObjectType, Outcome};

/// What words mean, for the words of one thread: vendors have few words and many records.
type Memory<T> = RefCell<HashMap<Box<str>, T, ahash::RandomState>>;

thread_local! {
    static ACTIONS: Memory<Option<Action>> = RefCell::default();
    static OBJECT_TYPES: Memory<ObjectType> = RefCell::default();
    static CATEGORIES: Memory<Option<Category>> = RefCell::default();
}

/// No more words are remembered, and no longer ones: then they are not words of a vendor.
const MOST_WORDS: usize = 2_000;
const LONGEST_WORD: usize = 100;

/// What `find` says of a word, from memory if it was asked before.
fn remembered<T: Copy>(memory: &'static LocalKey<Memory<T>>, word: &str, find: fn(&str) -> T) -> T {
    if word.len() > LONGEST_WORD {
        return find(word);
    }
    memory.with_borrow_mut(|memory| {
        if let Some(known) = memory.get(word) {
            return *known;
        }
        let found = find(word);
        if memory.len() < MOST_WORDS {
            memory.insert(word.into(), found);
        }
        found
    })
}

/// Verbs in lower case with their actions.
#[rustfmt::skip]
const VERBS: &[(Action, &[&str])] = &[
    (Action::Create, &["create", "created", "add", "added", "register", "registered", "install", "installed", "duplicate",
        "duplicated", "copy", "copied", "generate", "generated", "issue", "issued"]),
    (Action::Read, &["read", "view", "viewed", "get", "browse", "accessed", "validate", "validated"]),
    (Action::List, &["list", "listed", "search", "searched"]),
    (Action::Update, &["update", "updated", "edit", "edited", "change", "changed", "modify", "modified", "set", "rename",
        "renamed", "move", "moved", "patch", "patched", "upsert", "upserted", "configure", "configured", "publish", "published",
        "unpublish", "unpublished", "lock", "locked", "unlock", "unlocked", "approve", "approved", "reject", "rejected", "verify",
        "verified", "apply", "applied", "mute", "muted"]),
    (Action::Delete, &["delete", "deleted", "remove", "removed", "uninstall", "uninstalled", "unregister", "unregistered",
        "purge", "purged", "emptied"]),
    (Action::Export, &["export", "exported", "download", "downloaded"]),
    (Action::Import, &["import", "imported", "upload", "uploaded"]),
    (Action::Login, &["login", "signin"]),
    (Action::Logout, &["logout", "signout"]),
    (Action::Grant, &["grant", "granted", "assign", "assigned", "share", "shared"]),
    (Action::Revoke, &["revoke", "revoked", "unassign", "unassigned", "unshare", "unshared", "uninvite", "uninvited"]),
    (Action::AddMember, &["join", "joined"]),
    (Action::RemoveMember, &["leave", "left"]),
    (Action::Enable, &["enable", "enabled", "activate", "activated", "reactivate", "reactivated", "unsuspend", "unsuspended"]),
    (Action::Disable, &["disable", "disabled", "deactivate", "deactivated", "suspend", "suspended"]),
    (Action::Archive, &["archive", "archived"]),
    (Action::Restore, &["restore", "restored", "unarchive", "unarchived"]),
    (Action::Invite, &["invite", "invited"]),
    (Action::Impersonate, &["impersonate", "impersonated", "impersonation"]),
    (Action::Rotate, &["rotate", "rotated", "regenerate", "regenerated"]),
    (Action::Execute, &["run", "execute", "executed", "start", "started", "trigger", "triggered", "process", "processed", "sync",
        "synced", "restart", "restarted", "refresh", "refreshed", "terminate", "terminated", "cancel", "canceled", "cancelled",
        "deploy", "deployed", "promote", "promoted"]),
];

/// Nouns in lower case and singular with their categories. The first match in the order of this table wins: an
/// `api_token` of a `user` is a credential.
#[rustfmt::skip]
const NOUNS: &[(Category, &[&str])] = &[
    (Category::Authentication, &["login", "logout", "auth", "authentication", "session"]),
    (Category::Credential, &["token", "key", "apikey", "password", "passcode", "secret", "credential"]),
    (Category::Iam, &["user", "group", "role", "permission", "member", "mfa", "team", "invite", "invitation"]),
    (Category::Configuration, &["setting", "config", "configuration", "policy", "integration", "webhook", "sso", "scim"]),
];

/// Nouns in lower case and singular with the type of object. The last noun of a word counts: a `user_group` is a group.
#[rustfmt::skip]
const OBJECTS: &[(ObjectType, &[&str])] = &[
    (ObjectType::User, &["user", "member", "person", "people", "employee", "invite", "invitation"]),
    (ObjectType::Group, &["group", "team"]),
    (ObjectType::Role, &["role"]),
    (ObjectType::ApiKey, &["apikey"]),
    (ObjectType::Token, &["token", "key", "secret", "credential", "passcode", "signature", "link"]),
    (ObjectType::Space, &["space"]),
    (ObjectType::Page, &["page", "blog", "blogpost"]),
    (ObjectType::Project, &["project", "workspace"]),
    (ObjectType::Application, &["application"]),
    (ObjectType::Cluster, &["cluster"]),
    (ObjectType::Policy, &["policy"]),
    (ObjectType::Backup, &["backup", "snapshot"]),
    (ObjectType::Report, &["report", "dashboard"]),
    (ObjectType::Plan, &["plan"]),
    (ObjectType::Integration, &["integration", "app", "webhook", "connector", "addon", "plugin", "destination", "directory"]),
    (ObjectType::Account, &["account", "connection"]),
    (ObjectType::Organization, &["organization", "organizational", "org", "site", "tenant"]),
    (ObjectType::Setting, &["setting", "config", "configuration", "cfg", "template", "mapping", "scope", "category", "sso",
        "scim"]),
    (ObjectType::Session, &["session", "auth"]),
];

/// What became of an action; it does not say which one it was.
#[rustfmt::skip]
const RESULTS: &[(Outcome, &[&str])] = &[
    (Outcome::Failure, &["denied", "failed", "failure"]),
    (Outcome::Success, &["succeeded", "success", "successful"]),
    (Outcome::Unknown, &["attempt", "attempted"]),
];

/// The action of the verb at the end, or else at the beginning, of a value. A result at the end is left out.
#[must_use]
pub fn action_of(word: &str) -> Option<Action> {
    remembered(&ACTIONS, word, find_action)
}

fn find_action(word: &str) -> Option<Action> {
    let last = parts(word).filter(|part| meaning(RESULTS, part).is_none()).last()?;
    if has_any(word, &["password"]) {
        return password_action(word);
    }
    let first = parts(word).next()?;
    let action = meaning(VERBS, last).or_else(|| meaning(VERBS, first))?;
    Some(special_action(action, word))
}

fn password_action(word: &str) -> Option<Action> {
    if has_any(word, &["reset", "forgot", "forgotten", "recover", "recovered"]) {
        return Some(Action::PasswordReset);
    }
    has_any(word, &["change", "changed", "update", "updated", "set"]).then_some(Action::PasswordChange)
}

/// What a verb means for some nouns: a member is added, not created.
fn special_action(action: Action, word: &str) -> Action {
    let is_addition = has_any(word, &["add", "added"]);
    let is_removal = has_any(word, &["remove", "removed"]);
    if has_any(word, &["mfa", "2fa"]) || (has_any(word, &["two"]) && has_any(word, &["factor"])) {
        return match action {
            Action::Enable | Action::Create => Action::MfaEnable,
            Action::Disable | Action::Delete => Action::MfaDisable,
            _ => action,
        };
    }
    if has_any(word, &["member", "members"]) {
        return match action {
            Action::Create if is_addition => Action::AddMember,
            Action::Delete if is_removal => Action::RemoveMember,
            _ => action,
        };
    }
    if has_any(word, &["permission", "permissions"]) {
        return match action {
            Action::Create if is_addition => Action::Grant,
            Action::Delete if is_removal => Action::Revoke,
            _ => action,
        };
    }
    action
}

fn has_any(word: &str, wanted: &[&str]) -> bool {
    parts(word).any(|part| is_among(part, wanted))
}

/// How an action ended, if the value says so: `user.login_failed`.
#[must_use]
pub fn outcome_of(word: &str) -> Option<Outcome> {
    parts(word).last().and_then(|part| meaning(RESULTS, part)).filter(|outcome| *outcome != Outcome::Unknown)
}

/// The type of the object that a vendor's word names.
#[must_use]
pub fn object_type_of(word: &str) -> ObjectType {
    remembered(&OBJECT_TYPES, word, find_object_type)
}

fn find_object_type(word: &str) -> ObjectType {
    let (mut found, mut before) = (ObjectType::Other, "");
    for part in parts(word) {
        let is_api_key = before.eq_ignore_ascii_case("api") && is_noun(part, &["key"]);
        if let Some(known) = if is_api_key { Some(ObjectType::ApiKey) } else { noun(OBJECTS, part) } {
            found = known;
        }
        before = part;
    }
    found
}

/// The category of an act: the same for all vendors where the action decides it, else what the vendor's catalog says (`known`),
/// else what the type of the object says, else the nouns of the vendor's word for the event.
#[must_use]
pub fn category(action: Action, known: Option<Category>, object: ObjectType, event_type: &str) -> Category {
    category_of_action(action, object)
        .or(known)
        .or_else(|| category_of_object(object))
        .or_else(|| category_of(event_type))
        .unwrap_or_default()
}

fn category_of_action(action: Action, object: ObjectType) -> Option<Category> {
    match action {
        Action::Login | Action::Logout | Action::Impersonate => Some(Category::Authentication),
        Action::MfaEnable | Action::MfaDisable | Action::Invite | Action::AddMember | Action::RemoveMember => {
            Some(Category::Iam)
        }
        Action::PasswordChange | Action::PasswordReset | Action::Rotate => Some(Category::Credential),
        Action::Grant | Action::Revoke => {
            let is_credential = matches!(object, ObjectType::ApiKey | ObjectType::Token);
            Some(if is_credential { Category::Credential } else { Category::Iam })
        }
        _ => None,
    }
}

fn category_of_object(object: ObjectType) -> Option<Category> {
    match object {
        ObjectType::User | ObjectType::Group | ObjectType::Role => Some(Category::Iam),
        ObjectType::ApiKey | ObjectType::Token => Some(Category::Credential),
        ObjectType::Session => Some(Category::Authentication),
        ObjectType::Setting
        | ObjectType::Integration
        | ObjectType::Policy
        | ObjectType::Cluster
        | ObjectType::Organization
        | ObjectType::Project => Some(Category::Configuration),
        ObjectType::Space
        | ObjectType::Page
        | ObjectType::Report
        | ObjectType::Plan
        | ObjectType::Backup
        | ObjectType::Application
        | ObjectType::Account => Some(Category::Data),
        ObjectType::Other => None,
    }
}

/// The category of the nouns in a value.
#[must_use]
pub fn category_of(word: &str) -> Option<Category> {
    remembered(&CATEGORIES, word, find_category)
}

fn find_category(word: &str) -> Option<Category> {
    let is_named = |nouns: &[&str]| parts(word).any(|part| is_noun(part, nouns));
    NOUNS.iter().find(|(_, nouns)| is_named(nouns)).map(|(category, _)| *category)
}

/// The entry of a table for exactly this value.
#[must_use]
pub fn entry<T: Copy>(table: &[(&str, T)], word: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning)
}

/// The entry of a table for this value in any case.
#[must_use]
pub fn entry_in_any_case<T: Copy>(table: &[(&str, T)], word: &str) -> Option<T> {
    let is_word = |known: &str| begins_alike(word, known) && known.eq_ignore_ascii_case(word);
    table.iter().find(|(known, _)| is_word(known)).map(|(_, meaning)| *meaning)
}

fn meaning<T: Copy>(table: &[(T, &[&str])], word: &str) -> Option<T> {
    table.iter().find(|(_, words)| is_among(word, words)).map(|(meaning, _)| *meaning)
}

fn noun<T: Copy>(table: &[(T, &[&str])], word: &str) -> Option<T> {
    table.iter().find(|(_, nouns)| is_noun(word, nouns)).map(|(meaning, _)| *meaning)
}

/// In singular or plural, in any case.
fn is_noun(word: &str, nouns: &[&str]) -> bool {
    let is = |stem: &str, ending: &str| {
        let parts = word.split_at_checked(stem.len());
        parts.is_some_and(|(start, end)| start.eq_ignore_ascii_case(stem) && end.eq_ignore_ascii_case(ending))
    };
    let is_plural = |noun: &str| is(noun, "s") || noun.strip_suffix('y').is_some_and(|stem| is(stem, "ies"));
    nouns.iter().any(|noun| begins_alike(word, noun) && (noun.eq_ignore_ascii_case(word) || is_plural(noun)))
}

fn is_among(word: &str, words: &[&str]) -> bool {
    words.iter().any(|known| begins_alike(word, known) && known.eq_ignore_ascii_case(word))
}

/// Most words of a table differ in the first byte, and comparing only that is cheap.
fn begins_alike(word: &str, known: &str) -> bool {
    match (word.as_bytes().first(), known.as_bytes().first()) {
        (Some(first), Some(known)) => first.eq_ignore_ascii_case(known),
        (first, known) => first == known,
    }
}

/// The same letters and digits in any case, in singular or plural: `custom_role` is `customRoles`.
#[must_use]
pub fn is_same_word(word: &str, known: &str) -> bool {
    let mut given = letters(word);
    if !letters(known).all(|letter| given.next() == Some(letter)) {
        return false;
    }
    match given.next() {
        None => true,
        Some(b's') => given.next().is_none(),
        Some(_) => false,
    }
}

fn letters(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase())
}

/// The parts of `user_deleted`, `user.login`, `User deleted` and `userDeleted`.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| !c.is_alphanumeric());
        let mut after_lower = false;
        let ends = |c: char| {
            let ends = !c.is_alphanumeric() || (after_lower && c.is_uppercase());
            after_lower = c.is_lowercase();
            ends
        };
        let (part, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_words_mean_the_same_and_memory_has_a_limit() {
        for round in 0..2 {
            for number in 0..MOST_WORDS + 10 {
                assert_eq!(action_of(&format!("user{number}_deleted")), Some(Action::Delete), "round {round}");
            }
        }
        assert_eq!(ACTIONS.with_borrow(HashMap::len), MOST_WORDS);
        assert_eq!(action_of(&format!("{}_deleted", "x".repeat(200))), Some(Action::Delete));
        assert_eq!(object_type_of("user_groups"), object_type_of("user_groups"));
    }

    #[test]
    fn verbs_at_either_end() {
        for (word, action) in [
            ("user_deleted", Some(Action::Delete)),
            ("user.login", Some(Action::Login)),
            ("deleteUser", Some(Action::Delete)),
            ("Report exported", Some(Action::Export)),
            ("user.login.failed", Some(Action::Login)),
            ("Login failed", Some(Action::Login)),
            ("failed", None),
            ("App installed", Some(Action::Create)),
            ("reset_password", Some(Action::PasswordReset)),
            ("user.password_reset", Some(Action::PasswordReset)),
            ("change_password", Some(Action::PasswordChange)),
            ("passwordUpdated", Some(Action::PasswordChange)),
            ("password", None),
            ("USER_RENAMED", Some(Action::Update)),
            ("Permission revoked", Some(Action::Revoke)),
            ("Space permission added", Some(Action::Grant)),
            ("API key rotated", Some(Action::Rotate)),
            ("organization invited", Some(Action::Invite)),
            ("Member removed", Some(Action::RemoveMember)),
            ("team_member_added", Some(Action::AddMember)),
            ("App enabled", Some(Action::Enable)),
            ("App removed", Some(Action::Delete)),
            ("Page moved", Some(Action::Update)),
            ("Audit Log configuration updated", Some(Action::Update)),
            ("mfa.disabled", Some(Action::MfaDisable)),
            ("TWO_FACTOR_AUTH_ENABLED", Some(Action::MfaEnable)),
            ("teleport", None),
            ("", None),
        ] {
            assert_eq!(action_of(word), action, "{word}");
        }
    }

    #[test]
    fn nouns_anywhere_in_singular_and_plural() {
        for (word, category) in [
            ("users", Some(Category::Iam)),
            ("user_api_token", Some(Category::Credential)),
            ("OrganizationSettings", Some(Category::Configuration)),
            ("policies", Some(Category::Configuration)),
            ("API keys", Some(Category::Credential)),
            ("worksheet", None),
        ] {
            assert_eq!(category_of(word), category, "{word}");
        }
    }

    #[test]
    fn the_last_noun_is_the_type_of_an_object() {
        for (word, object) in [
            ("User", ObjectType::User),
            ("user_group", ObjectType::Group),
            ("team_members", ObjectType::User),
            ("api_keys", ObjectType::ApiKey),
            ("apiKeys", ObjectType::ApiKey),
            ("API-KEY", ObjectType::ApiKey),
            ("signing_key", ObjectType::Token),
            ("api_token", ObjectType::Token),
            ("custom_roles", ObjectType::Role),
            ("argocd_application", ObjectType::Application),
            ("aws_ebs_volume_backup", ObjectType::Backup),
            ("organizational_unit", ObjectType::Organization),
            ("policies", ObjectType::Policy),
            ("report model", ObjectType::Report),
            ("k8s_resource", ObjectType::Other),
            ("", ObjectType::Other),
        ] {
            assert_eq!(object_type_of(word), object, "{word}");
        }
    }

    #[test]
    fn words_are_the_same_by_their_letters() {
        for word in ["custom_role", "customRoles", "Custom Role", "CUSTOM-ROLES"] {
            assert!(is_same_word(word, "custom_role"), "{word}");
        }
        for word in ["custom", "custom_roless", "custom_role_2", ""] {
            assert!(!is_same_word(word, "custom_role"), "{word}");
        }
    }

    #[test]
    fn results_are_outcomes() {
        assert_eq!(outcome_of("user.login_failed"), Some(Outcome::Failure));
        assert_eq!(outcome_of("Login successful"), Some(Outcome::Success));
        assert_eq!(outcome_of("Login attempt"), None);
        assert_eq!(outcome_of("Failed job deleted"), None);
    }

    #[test]
    fn the_same_act_has_the_same_category_whatever_a_catalog_says() {
        let category = |action, object| category(action, Some(Category::Data), object, "");
        for (action, object, expected) in [
            (Action::MfaEnable, ObjectType::Setting, Category::Iam),
            (Action::Login, ObjectType::Report, Category::Authentication),
            (Action::PasswordReset, ObjectType::User, Category::Credential),
            (Action::Grant, ObjectType::Report, Category::Iam),
            (Action::Revoke, ObjectType::ApiKey, Category::Credential),
            (Action::AddMember, ObjectType::Group, Category::Iam),
            (Action::Update, ObjectType::User, Category::Data),
        ] {
            assert_eq!(category(action, object), expected, "{action} {object}");
        }
    }

    #[test]
    fn without_a_catalog_the_object_and_then_the_word_decide() {
        assert_eq!(category(Action::Delete, None, ObjectType::User, "report_deleted"), Category::Iam);
        assert_eq!(category(Action::Delete, None, ObjectType::Other, "api_token.deleted"), Category::Credential);
        assert_eq!(category(Action::Other, None, ObjectType::Other, "danced"), Category::Other);
    }

    #[test]
    fn no_word_has_two_meanings() {
        fn assert_distinct<T>(table: &[(T, &[&str])]) {
            let mut words: Vec<&str> = table.iter().flat_map(|(_, words)| words.iter().copied()).collect();
            let count = words.len();
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), count);
        }
        assert_distinct(VERBS);
        assert_distinct(NOUNS);
        assert_distinct(OBJECTS);
        assert_distinct(RESULTS);
    }
}
