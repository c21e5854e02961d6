//! `type: redact`: removes or hashes personal data and credentials, for the sinks behind it.
//!
//! ```text
//! journal --normalize--> Event --conditions of all filters--> Redactor --> Sink::write      (or the dead letter)
//!                                                              |
//!     fields: null, or a hash; their values also wherever else they occur in the event
//!     raw:    members are cut out, or their values hashed; every other byte stays
//! ```
//!
//! The journal keeps the records as they came. Conditions are evaluated before, wherever their filter stands. The event says in
//! `redacted` what was removed. A record that cannot be read is removed as a whole: nobody knows what it holds.

mod fields;
mod key;
mod pointer;
mod record;
#[cfg(test)]
mod tests;
mod texts;
mod values;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use self::key::HashKey;
use self::pointer::{Action, Origin, Pattern};
use self::record::{REMOVED, Rules, WHOLE};
use self::values::Values;
use crate::diagnostic::SettingDiagnostic;
use crate::event::Event;
use crate::secret::Secret;
use crate::vendors::Normalizer;

/// The vendor's record, as `drop` names it.
const RAW: &str = "raw";

/// The least length of a key, in characters.
const MIN_KEY: usize = 16;

/// The settings of a `redact` transform.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Fields to set to null, such as `actor.ip`; `raw`, the vendor's record; and JSON Pointers to members to cut out of it, such as `/raw/details/request_body`. In a pointer, `*` stands for any name or index and `**` for any number of levels.
    pub drop: Vec<String>,
    /// Fields and JSON Pointers whose values are replaced by a keyed hash: equal values have equal hashes.
    pub hash: Vec<String>,
    /// Key of the hashes (HMAC-SHA-256): at least 16 characters.
    pub hash_secret: Option<Secret>,
    /// Also cut out the members of the vendor's records that can hold passwords, tokens and other credentials.
    pub drop_credentials: bool,
}

/// One checked `redact` transform.
#[derive(Debug)]
struct Settings {
    fields: Vec<(&'static str, Action)>,
    patterns: Vec<Pattern>,
    drop_raw: bool,
    drop_credentials: bool,
    secret: Option<Secret>,
    /// What the settings are compared by, the secret included.
    digest: [u8; 32],
}

/// The `redact` transforms between a source and a sink, in the order in which events pass them.
#[derive(Clone, Debug, Default)]
pub struct Redactions(Vec<(Arc<Settings>, Option<HashKey>)>);

impl Config {
    /// Checks the settings. `digest` is a hash of them as written.
    ///
    /// # Errors
    /// Every invalid setting.
    pub fn compile(&self, digest: [u8; 32]) -> Result<Redactions, Vec<SettingDiagnostic>> {
        let mut errors = Vec::new();
        let (mut fields, mut patterns, mut drop_raw) = (Vec::new(), Vec::new(), false);
        for (key, written, action) in [("drop", &self.drop, Action::Drop), ("hash", &self.hash, Action::Hash)] {
            for path in written {
                if path == RAW && action == Action::Drop {
                    drop_raw = true;
                    continue;
                }
                let read = match path.starts_with('/') {
                    true => Pattern::parse(path, action, Origin::Pipeline).map(|pattern| patterns.push(pattern)),
                    false => fields::named(path).map(|field| fields.push((field, action))),
                };
                errors.extend(read.err().map(|(message, hint)| error(key, message, hint)));
            }
        }
        if let Some(both) = self.drop.iter().find(|path| self.hash.contains(path)) {
            errors.push(error("hash", format!("`{both}` is also in `drop`"), "remove it from one of them"));
        }
        if !self.hash.is_empty() && self.hash_secret.is_none() {
            let hint = "add `hash_secret: ${VARIABLE}` or `hash_secret: {file: path}` with 32 random characters";
            errors.push(error("hash_secret", "`hash` needs a key", hint));
        }
        if self.drop.is_empty() && self.hash.is_empty() && !self.drop_credentials {
            let hint = "name fields under `drop` or `hash`, or write `drop_credentials: true`";
            errors.push(error("", "this transform redacts nothing", hint));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let (drop_credentials, secret) = (self.drop_credentials, self.hash_secret.clone());
        let settings = Settings { fields, patterns, drop_raw, drop_credentials, secret, digest };
        Ok(Redactions(vec![(Arc::new(settings), None)]))
    }

    /// Settings that are valid but probably not intended.
    #[must_use]
    pub fn warnings(&self) -> Vec<SettingDiagnostic> {
        let mut listed = self.drop.iter().chain(&self.hash);
        if listed.any(|path| path == RAW || path.starts_with('/')) {
            return Vec::new();
        }
        let lists = [("drop", &self.drop), ("hash", &self.hash)];
        let of_person = lists.into_iter().find(|(_, paths)| paths.iter().any(|path| fields::is_of_person(path)));
        let warning = |(key, _)| {
            let message = "`raw` still may hold the same person in another form";
            error(key, message, "name pointers such as `/raw/user_name` too, or write `drop: [raw]`")
        };
        of_person.map(warning).into_iter().collect()
    }
}

fn error(key: &str, message: impl Into<String>, hint: impl Into<String>) -> SettingDiagnostic {
    SettingDiagnostic { key: key.to_owned(), message: message.into(), hint: hint.into() }
}

impl Redactions {
    /// Whether nothing is redacted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These, and then others.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(&others.0).cloned().collect())
    }

    /// The files of the keys.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let secrets = self.0.iter().filter_map(|(settings, _)| settings.secret.as_ref());
        secrets.filter_map(|secret| secret.file().map(ToOwned::to_owned)).collect()
    }

    /// Reads the keys. Without its key, a transform drops what it should hash.
    ///
    /// # Errors
    /// A key cannot be read or is too short: the reason, and what to do.
    pub fn read_keys(&mut self) -> Result<(), String> {
        for (settings, key) in &mut self.0 {
            let Some(secret) = &settings.secret else { continue };
            let text = secret.reveal().map_err(|error| format!("hash_secret: {error}"))?;
            if text.chars().count() < MIN_KEY {
                return Err(format!(
                    "hash_secret has fewer than {MIN_KEY} characters, so hashed values could be guessed; use the output of `openssl rand -hex 32`"
                ));
            }
            *key = Some(HashKey::new(&text));
        }
        Ok(())
    }

    /// The same for a preview, where nothing is delivered: a key that cannot be read is replaced by a random one.
    #[must_use]
    pub fn for_preview(&self) -> Self {
        let mut redactions = self.clone();
        if redactions.read_keys().is_err() {
            redactions.0.iter_mut().for_each(|(_, key)| *key = Some(HashKey::of_this_process()));
        }
        redactions
    }

    /// What is redacted of the events of a source with this normalizer.
    #[must_use]
    pub fn redactor(&self, normalizer: &dyn Normalizer) -> Redactor {
        let step = |(settings, key): &(Arc<Settings>, Option<HashKey>)| {
            let patterns = settings.patterns_for(normalizer);
            Step { settings: Arc::clone(settings), patterns, key: key.clone() }
        };
        Redactor(self.0.iter().map(step).collect())
    }

    /// A text that changes whenever other bytes would be delivered. It does not reveal the keys.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let step = |(settings, key): &(Arc<Settings>, Option<HashKey>)| {
            let fields = settings.fields.iter().map(|(field, action)| format!("{action:?} {field}"));
            let patterns = settings.patterns.iter().map(|pattern| format!("{:?} {pattern}", pattern.action));
            let credentials = settings.drop_credentials.then(|| "credentials".to_owned());
            let raw = settings.drop_raw.then(|| RAW.to_owned());
            let key = key.as_ref().map(|key| format!("key {}", key.hash("fingerprint")));
            fields.chain(patterns).chain(credentials).chain(raw).chain(key).collect::<Vec<_>>().join(", ")
        };
        self.0.iter().map(step).collect::<Vec<_>>().join("; ")
    }
}

impl Settings {
    /// Those of the pipeline file, of the vendor's credentials, and of the fields.
    fn patterns_for(&self, normalizer: &dyn Normalizer) -> Vec<Pattern> {
        let mut patterns = self.patterns.clone();
        let credentials = normalizer.credentials().iter().filter(|_| self.drop_credentials);
        patterns.extend(credentials.filter_map(|path| Pattern::parse(path, Action::Drop, Origin::Credentials).ok()));
        for (field, pointers) in normalizer.field_pointers() {
            let Some(action) = self.action_on(field) else { continue };
            patterns.extend(pointers.iter().filter_map(|path| Pattern::parse(path, action, Origin::Field).ok()));
        }
        patterns
    }

    fn action_on(&self, path: &str) -> Option<Action> {
        self.fields.iter().find(|(field, _)| *field == path).map(|(_, action)| *action)
    }
}

impl PartialEq for Redactions {
    fn eq(&self, other: &Self) -> bool {
        let digests = |of: &Self| of.0.iter().map(|(settings, _)| settings.digest).collect::<Vec<_>>();
        digests(self) == digests(other)
    }
}

impl Eq for Redactions {}

/// Redacts the events of one source.
#[derive(Clone, Debug, Default)]
pub struct Redactor(Vec<Step>);

#[derive(Clone, Debug)]
struct Step {
    settings: Arc<Settings>,
    patterns: Vec<Pattern>,
    /// Without it, what should be hashed is dropped.
    key: Option<HashKey>,
}

impl Redactor {
    /// Redacts an event. `raw` keeps its record, if that changes.
    pub fn apply<'e>(&self, event: &mut Event<'e>, raw: &'e mut String) {
        let mut record = Cow::Borrowed(event.raw);
        for step in &self.0 {
            if let Some(redacted) = step.apply(event, &record) {
                record = Cow::Owned(redacted);
            }
        }
        if let Cow::Owned(redacted) = record {
            *raw = redacted;
            event.raw = raw;
        }
    }
}

impl Step {
    /// Redacts the fields. Returns the record, if it changes.
    fn apply(&self, event: &mut Event<'_>, record: &str) -> Option<String> {
        let values = self.values_of(event, record);
        self.redact_fields(event, &values);
        redact_other_texts(event, &values);
        if self.settings.drop_raw {
            note(event, WHOLE);
            return Some(REMOVED.to_owned());
        }
        let (patterns, drop_credentials) = (&self.patterns, self.settings.drop_credentials);
        let rules = Rules { patterns, values: &values, drop_credentials, key: self.key.as_ref() };
        let (record, redacted) = rules.redact(record)?;
        for path in redacted {
            note(event, &path);
        }
        Some(record)
    }

    /// The values of the fields that are redacted, as they are in the event and in the record.
    fn values_of(&self, event: &mut Event<'_>, record: &str) -> Values {
        let mut values = Vec::new();
        fields::visit(event, &mut |path, field| {
            if let (Some(action), Some(value)) = (self.settings.action_on(path), field.as_deref()) {
                values.push((value.to_owned(), self.replacement(action, value)));
            }
        });
        for (index, text) in texts::of_fields(record, &self.patterns) {
            for value in texts::addresses_in(&text).chain([&*text]) {
                values.push((value.to_owned(), self.replacement(self.patterns[index].action, value)));
            }
        }
        Values::new(values)
    }

    fn redact_fields(&self, event: &mut Event<'_>, values: &Values) {
        let mut redacted = Vec::new();
        fields::visit(event, &mut |path, field| {
            let Some(value) = field.as_deref() else { return };
            let replacement = match (values.whole(value), self.settings.action_on(path)) {
                (Some(replacement), _) => replacement.clone(),
                (None, Some(action)) => self.replacement(action, value),
                (None, None) => match values.replaced(value) {
                    Some(text) => Some(text),
                    None => return,
                },
            };
            *field = replacement.map(Cow::Owned);
            redacted.push(path);
        });
        redacted.into_iter().for_each(|path| note(event, path));
    }

    fn replacement(&self, action: Action, value: &str) -> Option<String> {
        if action == Action::Drop { None } else { self.key.as_ref().map(|key| key.hash(value)) }
    }
}

/// Replaces values in what else holds texts of the record.
fn redact_other_texts(event: &mut Event<'_>, values: &Values) {
    if let Some(reason) = event.normalize_error.as_deref().and_then(|reason| values.replaced(reason)) {
        event.normalize_error = Some(reason);
        note(event, "normalize_error");
    }
    if let Some(time) = event.original_time.as_deref().and_then(|time| values.replaced(time)) {
        event.original_time = Some(Cow::Owned(time));
        note(event, "original_time");
    }
}

/// Adds to what the event says of itself.
fn note(event: &mut Event<'_>, path: &str) {
    if !event.redacted.iter().any(|noted| noted == path) {
        event.redacted.push(path.to_owned());
    }
}
