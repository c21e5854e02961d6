//! Maps vendors' values to actions and categories where the vendor's own table has no entry.
//!
//! A vendor's own tables come first. Other values are mapped word by word: `user_deleted`, `api_token.created` and
//! `deleteUser` all end or begin with a verb of `VERBS`. Unknown values become `other`.

use crate::event::{Action, Category};

/// Verbs in lower case with their actions.
const VERBS: &[(&str, Action)] = &[
    ("create", Action::Create),
    ("created", Action::Create),
    ("add", Action::Create),
    ("added", Action::Create),
    ("register", Action::Create),
    ("registered", Action::Create),
    ("install", Action::Create),
    ("installed", Action::Create),
    ("duplicate", Action::Create),
    ("duplicated", Action::Create),
    ("read", Action::Read),
    ("view", Action::Read),
    ("viewed", Action::Read),
    ("get", Action::Read),
    ("browse", Action::Read),
    ("accessed", Action::Read),
    ("list", Action::List),
    ("listed", Action::List),
    ("search", Action::List),
    ("searched", Action::List),
    ("update", Action::Update),
    ("updated", Action::Update),
    ("edit", Action::Update),
    ("edited", Action::Update),
    ("change", Action::Update),
    ("changed", Action::Update),
    ("modify", Action::Update),
    ("modified", Action::Update),
    ("set", Action::Update),
    ("rename", Action::Update),
    ("renamed", Action::Update),
    ("move", Action::Update),
    ("moved", Action::Update),
    ("delete", Action::Delete),
    ("deleted", Action::Delete),
    ("remove", Action::Delete),
    ("removed", Action::Delete),
    ("uninstall", Action::Delete),
    ("uninstalled", Action::Delete),
    ("unregister", Action::Delete),
    ("export", Action::Export),
    ("exported", Action::Export),
    ("download", Action::Export),
    ("downloaded", Action::Export),
    ("import", Action::Import),
    ("imported", Action::Import),
    ("upload", Action::Import),
    ("uploaded", Action::Import),
    ("login", Action::Login),
    ("signin", Action::Login),
    ("logout", Action::Logout),
    ("signout", Action::Logout),
    ("grant", Action::Grant),
    ("granted", Action::Grant),
    ("revoke", Action::Revoke),
    ("revoked", Action::Revoke),
    ("enable", Action::Enable),
    ("enabled", Action::Enable),
    ("activate", Action::Enable),
    ("activated", Action::Enable),
    ("disable", Action::Disable),
    ("disabled", Action::Disable),
    ("deactivate", Action::Disable),
    ("deactivated", Action::Disable),
    ("suspend", Action::Disable),
    ("suspended", Action::Disable),
    ("archive", Action::Archive),
    ("archived", Action::Archive),
    ("restore", Action::Restore),
    ("restored", Action::Restore),
    ("unarchive", Action::Restore),
    ("unarchived", Action::Restore),
    ("invite", Action::Invite),
    ("invited", Action::Invite),
    ("impersonate", Action::Impersonate),
    ("impersonated", Action::Impersonate),
    ("rotate", Action::Rotate),
    ("rotated", Action::Rotate),
    ("regenerate", Action::Rotate),
    ("regenerated", Action::Rotate),
    ("run", Action::Execute),
    ("execute", Action::Execute),
    ("executed", Action::Execute),
    ("start", Action::Execute),
    ("started", Action::Execute),
    ("trigger", Action::Execute),
    ("triggered", Action::Execute),
];

/// Nouns in lower case and singular with their categories. The first match in the order of this table wins: an
/// `api_token` of a `user` is a credential.
const NOUNS: &[(&str, Category)] = &[
    ("login", Category::Authentication),
    ("logout", Category::Authentication),
    ("auth", Category::Authentication),
    ("authentication", Category::Authentication),
    ("session", Category::Authentication),
    ("token", Category::Credential),
    ("key", Category::Credential),
    ("password", Category::Credential),
    ("passcode", Category::Credential),
    ("secret", Category::Credential),
    ("credential", Category::Credential),
    ("user", Category::Iam),
    ("group", Category::Iam),
    ("role", Category::Iam),
    ("permission", Category::Iam),
    ("member", Category::Iam),
    ("mfa", Category::Iam),
    ("setting", Category::Configuration),
    ("config", Category::Configuration),
    ("configuration", Category::Configuration),
    ("policy", Category::Configuration),
    ("integration", Category::Configuration),
    ("webhook", Category::Configuration),
    ("sso", Category::Configuration),
];

/// What became of an action; it does not say which one it was.
const RESULTS: &[&str] = &["attempt", "attempted", "denied", "failed", "failure", "succeeded", "success", "successful"];

/// The action of the verb at the end, or else at the beginning, of a value. A result at the end is left out.
#[must_use]
pub fn action_of(word: &str) -> Option<Action> {
    let mut parts = split(word);
    while parts.last().is_some_and(|part| RESULTS.contains(&part.as_str())) {
        parts.pop();
    }
    if parts.iter().any(|part| part == "password") {
        return password_action(&parts);
    }
    let verb = |part: &String| VERBS.iter().find(|(verb, _)| verb == part).map(|(_, action)| *action);
    parts.last().and_then(verb).or_else(|| parts.first().and_then(verb))
}

fn password_action(parts: &[String]) -> Option<Action> {
    let has = |words: &[&str]| parts.iter().any(|part| words.contains(&part.as_str()));
    if has(&["reset", "forgot", "forgotten", "recover", "recovered"]) {
        return Some(Action::PasswordReset);
    }
    has(&["change", "changed", "update", "updated", "set"]).then_some(Action::PasswordChange)
}

/// The category of the nouns in a value.
#[must_use]
pub fn category_of(word: &str) -> Option<Category> {
    let parts = split(word);
    let says = |noun: &str| parts.iter().any(|part| part == noun || part.strip_suffix('s') == Some(noun));
    NOUNS.iter().find(|(noun, _)| says(noun)).map(|(_, category)| *category)
}

/// The entry of a table for exactly this value.
#[must_use]
pub fn entry<T: Copy>(table: &[(&str, T)], word: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning)
}

/// The parts of `user_deleted`, `user.login`, `User deleted` and `userDeleted`, in lower case.
fn split(word: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut after_lower = false;
    for character in word.chars() {
        let starts_part = !character.is_alphanumeric() || (after_lower && character.is_uppercase());
        if starts_part {
            parts.push(String::new());
        }
        if let (true, Some(part)) = (character.is_alphanumeric(), parts.last_mut()) {
            part.extend(character.to_lowercase());
        }
        after_lower = character.is_lowercase();
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("worksheet", None),
        ] {
            assert_eq!(category_of(word), category, "{word}");
        }
    }
}
