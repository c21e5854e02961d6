//! What a pipeline file that was read again changes, by component.

use std::collections::{BTreeSet, HashMap};

use crate::journal::ComponentKind;
use crate::pipeline::{FileDigests, Settings, SettingsIdentity, ValidatedPipeline};

/// A pipeline, and the contents of the files that its components name.
#[derive(Clone, Copy)]
pub(super) struct Configuration<'c> {
    pub(super) pipeline: &'c ValidatedPipeline,
    pub(super) files: &'c FileDigests,
}

/// The names of components, and of settings, by what happens to them. A name that was a source and now is a sink, or the
/// other way round, is removed and added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) added: BTreeSet<String>,
    pub(super) removed: BTreeSet<String>,
    /// With other settings, inputs or filters, or with other contents of a file that they name.
    pub(super) changed: BTreeSet<String>,
    /// Unchanged, but stopped by an error.
    pub(super) restarted: BTreeSet<String>,
    /// Settings of the process that apply from now on.
    pub(super) settings: Vec<&'static str>,
}

impl Changes {
    /// What leads from one configuration to another. `has_failed` says which components an error has stopped.
    pub(super) fn between(
        before: Configuration<'_>,
        after: Configuration<'_>,
        has_failed: impl Fn(ComponentKind, &str) -> bool,
    ) -> Self {
        let mut changes =
            Self { settings: applied(&before.pipeline.settings, &after.pipeline.settings), ..Self::default() };
        let is_same = |old: &SettingsIdentity, new: &SettingsIdentity| {
            old == new && new.files.iter().all(|file| before.files.get(file) == after.files.get(file))
        };
        let old: HashMap<_, _> = before.pipeline.sources.iter().map(|old| (&old.name, old)).collect();
        for new in &after.pipeline.sources {
            let old = old.get(&new.name);
            let is_same = old.map(|old| is_same(&old.identity, &new.identity));
            changes.add(&new.name, is_same, has_failed(ComponentKind::Source, &new.name));
        }
        for new in &after.pipeline.sinks {
            let old = before.pipeline.sinks.iter().find(|old| old.name == new.name);
            let is_same = old.map(|old| old.routes == new.routes && is_same(&old.identity, &new.identity));
            changes.add(&new.name, is_same, has_failed(ComponentKind::Sink, &new.name));
        }
        let remaining: BTreeSet<_> = components(after.pipeline).collect();
        let removed = components(before.pipeline).filter(|component| !remaining.contains(component));
        changes.removed = removed.map(|(_, name)| name.clone()).collect();
        changes
    }

    fn add(&mut self, name: &str, is_same: Option<bool>, has_failed: bool) {
        let names = match is_same {
            None => &mut self.added,
            Some(false) => &mut self.changed,
            Some(true) if has_failed => &mut self.restarted,
            Some(true) => return,
        };
        names.insert(name.to_owned());
    }

    /// Whether nothing changes.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a component starts.
    pub(super) fn starts(&self, name: &str) -> bool {
        [&self.added, &self.changed, &self.restarted].iter().any(|names| names.contains(name))
    }

    /// The components that end, if they run.
    pub(super) fn stopped(&self) -> BTreeSet<String> {
        self.removed.union(&self.changed).cloned().collect()
    }
}

/// Every component as its kind and its name.
fn components(pipeline: &ValidatedPipeline) -> impl Iterator<Item = (&'static str, &String)> {
    let sources = pipeline.sources.iter().map(|source| (ComponentKind::Source.as_str(), &source.name));
    sources.chain(pipeline.sinks.iter().map(|sink| (ComponentKind::Sink.as_str(), &sink.name)))
}

/// The changed settings of the process that a reload applies.
fn applied(before: &Settings, after: &Settings) -> Vec<&'static str> {
    let changed = [
        ("journal.retention", before.journal.retention != after.journal.retention),
        ("journal.key_retention", before.journal.key_retention != after.journal.key_retention),
        ("shutdown_timeout", before.shutdown_timeout != after.shutdown_timeout),
    ];
    changed.into_iter().filter(|(_, is_changed)| *is_changed).map(|(name, _)| name).collect()
}

/// Puts back the settings of the process that only a start applies, and returns the names of those that were changed.
pub(super) fn keep_fixed(before: &Settings, after: &mut Settings) -> Vec<&'static str> {
    let changed = [
        ("name", before.name != after.name),
        ("data_dir", before.data_dir != after.data_dir),
        ("log", before.log != after.log),
        ("journal.max_size", before.journal.max_size != after.journal.max_size),
        ("api.address", before.api != after.api),
        ("threads", before.threads != after.threads),
    ];
    after.name.clone_from(&before.name);
    after.data_dir.clone_from(&before.data_dir);
    after.log = before.log;
    after.journal.max_size = before.journal.max_size;
    after.api = before.api;
    after.threads = before.threads;
    changed.into_iter().filter(|(_, is_changed)| *is_changed).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::pipeline::{self, Environment, Overrides};

    const FILE: &str = "
sources:
  acme: {type: clumio, access_token: {file: token}, page_size: 10}
  other: {type: clumio, access_token: '${TOKEN}'}
transforms:
  events: {type: normalize, inputs: [acme, other]}
  deletes: {type: filter, inputs: [events], condition: 'action == \"delete\"'}
sinks:
  all: {type: console, inputs: [events]}
  few: {type: console, inputs: [deletes]}
";

    fn pipeline(text: &str) -> ValidatedPipeline {
        let environment = Environment::from_pairs([("TOKEN", "secret")]);
        pipeline::validate("acme.yaml", text, Path::new("/acme"), &environment, &Overrides::default())
            .expect("a good file")
    }

    fn changes(from: &str, to: &str) -> Changes {
        let (from, to, files) = (pipeline(from), pipeline(to), FileDigests::new());
        let before = Configuration { pipeline: &from, files: &files };
        Changes::between(before, Configuration { pipeline: &to, files: &files }, |_, _| false)
    }

    fn names(of: &[&str]) -> BTreeSet<String> {
        of.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn comments_and_the_order_of_keys_change_nothing() {
        let other = FILE
            .replace(
                "type: clumio, access_token: {file: token}, page_size: 10",
                "page_size: 10, access_token: {file: token}, type: clumio",
            )
            .replace("sinks:", "# all of them\nsinks:");
        assert_eq!(changes(FILE, &other), Changes::default());
        assert!(changes(FILE, FILE).is_empty());
    }

    #[test]
    fn a_component_changes_with_its_settings_its_inputs_and_the_filters_before_it() {
        let changed = |from: &str, to: &str| changes(FILE, &FILE.replace(from, to)).changed;
        assert_eq!(changed("page_size: 10", "page_size: 20"), names(&["acme"]));
        assert_eq!(changed("'${TOKEN}'", "'other'"), names(&["other"]));
        assert_eq!(changed("\"delete\"", "\"create\""), names(&["few"]));
        assert_eq!(changed("inputs: [deletes]", "inputs: [deletes], batch: {max_events: 3}"), names(&["few"]));
        assert_eq!(changed("inputs: [acme, other]", "inputs: [acme]"), names(&["all", "few"]));
    }

    #[test]
    fn what_is_added_removed_or_has_failed_is_named() {
        let without = FILE.replace("  few: {type: console, inputs: [deletes]}\n", "");
        let removed = changes(FILE, &without);
        assert_eq!((removed.removed.clone(), removed.stopped()), (names(&["few"]), names(&["few"])));
        let added = changes(&without, FILE);
        assert_eq!(added.added, names(&["few"]));
        assert!(added.starts("few") && !added.starts("all") && added.stopped().is_empty());
        let (same, files) = (pipeline(FILE), FileDigests::new());
        let same = Configuration { pipeline: &same, files: &files };
        assert_eq!(Changes::between(same, same, |_, name| name == "all").restarted, names(&["all"]));
    }

    #[test]
    fn a_name_that_changes_its_kind_is_removed_and_added() {
        let swapped = FILE
            .replace("  acme: {", "  few: {")
            .replace("inputs: [acme, other]", "inputs: [few, other]")
            .replace("  few: {type: console", "  acme: {type: console");
        let found = changes(FILE, &swapped);
        assert_eq!((&found.removed, &found.added), (&names(&["acme", "few"]), &names(&["acme", "few"])));
        assert_eq!(found.changed, names(&["all"]), "an input of its transform has another name");
        assert!(found.starts("acme") && found.starts("few"));
    }

    #[test]
    fn the_error_of_a_source_does_not_restart_a_sink() {
        let (same, files) = (pipeline(FILE), FileDigests::new());
        let same = Configuration { pipeline: &same, files: &files };
        let of_sources = |kind: ComponentKind, name: &str| kind == ComponentKind::Source && name == "all";
        assert!(Changes::between(same, same, of_sources).is_empty());
    }

    #[test]
    fn the_contents_of_a_named_file_count() {
        let pipeline = pipeline(FILE);
        let files = |content: u8| FileDigests::from([("/acme/token".into(), Some([content; 32]))]);
        let (one, two) = (files(1), files(2));
        let before = Configuration { pipeline: &pipeline, files: &one };
        let after = Configuration { pipeline: &pipeline, files: &two };
        assert_eq!(Changes::between(before, after, |_, _| false).changed, names(&["acme"]));
    }

    #[test]
    fn settings_of_the_process_apply_or_are_kept() {
        let before = Settings { name: Some("before".to_owned()), ..Settings::default() };
        let mut after = pipeline(&format!(
            "name: after\ndata_dir: elsewhere\nlog: {{level: debug}}\napi: {{address: 127.0.0.1:1}}\nthreads: 3\nshutdown_timeout: 5s\n\
             journal: {{max_size: 1GiB, retention: 1h}}\n{FILE}"
        ))
        .settings;
        assert_eq!(applied(&before, &after), ["journal.retention", "shutdown_timeout"]);
        assert_eq!(
            keep_fixed(&before, &mut after),
            ["name", "data_dir", "log", "journal.max_size", "api.address", "threads"]
        );
        assert_eq!((&after.name, &after.data_dir), (&before.name, &before.data_dir));
        assert_eq!((after.log, after.api, after.threads), (before.log, before.api, before.threads));
        assert_eq!(after.journal.max_size, before.journal.max_size);
        assert_ne!(after.journal.retention, before.journal.retention, "it applies");
    }
}
