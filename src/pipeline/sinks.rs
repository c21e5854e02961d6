//! The checks of the sinks of a pipeline file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::component::{self, Component, Section};
use super::own_paths;
use super::validated::{SettingsIdentity, ValidatedSink};
use crate::config::component_settings::CommonSinkSettings;
use crate::config::deserialize::field_names;
use crate::config::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::deliver::Route;
use crate::shard::ShardCount;
use crate::sinks::claims::{OwnPath, real_path};
use crate::sinks::registry::SinkConfig;

const GENERIC_KEYS: &[&str] = &["type", "inputs"];

/// A sink whose settings are valid.
pub(super) struct CheckedSink {
    pub(super) config: SinkConfig,
    /// With `{{ shard }}` as written.
    written: SinkConfig,
    common: CommonSinkSettings,
    /// The files of its secrets.
    pub(super) secret_files: Vec<OwnPath>,
    /// The hash of its settings.
    digest: [u8; 32],
    directory: PathBuf,
}

/// The sinks whose settings are valid, by name.
pub(super) type Sinks<'t> = BTreeMap<&'t str, CheckedSink>;

impl CheckedSink {
    pub(super) fn into_validated(self, name: &str, routes: Vec<Route>) -> ValidatedSink {
        let batch = self.common.batch.over(self.config.default_batch());
        let mut files = self.config.files();
        files.extend(self.secret_files.into_iter().map(|file| file.path));
        files.extend(routes.iter().flat_map(|route| route.redactions.files()));
        let identity = SettingsIdentity { digest: self.digest, directory: self.directory, files };
        ValidatedSink {
            name: name.to_owned(),
            config: self.config,
            written: self.written,
            batch,
            start: self.common.start,
            routes,
            identity,
        }
    }
}

/// Checks a sink. Returns it if its settings are valid.
pub(super) fn check(
    component: &Component<'_>,
    directory: &Path,
    shards: Option<ShardCount>,
    diagnostics: &mut Diagnostics,
) -> Option<CheckedSink> {
    let common_fields = field_names(|probe| CommonSinkSettings::deserialize(probe));
    let common =
        component::read_fields(component, common_fields, diagnostics, |reader| CommonSinkSettings::deserialize(reader));
    let name = component.type_name?;
    let type_fields = field_names(|probe| SinkConfig::read(name, probe).transpose());
    component::report_unknown_keys(component, &[GENERIC_KEYS, common_fields, type_fields], diagnostics);
    let read = component::read_fields(component, type_fields, diagnostics, |reader| {
        SinkConfig::read(name, reader).transpose()
    });
    let (clean, mut config) = (read.clean, read.partial.flatten());
    config.iter_mut().for_each(|config| config.resolve_against(directory));
    let secrets = config.iter_mut().filter(|_| clean).flat_map(SinkConfig::secrets_mut);
    let secret_files = own_paths::secret_files(component, secrets.map(|secret| &*secret), diagnostics);
    let written = config.clone();
    if shards.is_some() {
        // All shards have the same problems.
        config = config.map(|config| config.with_shard("0"));
    }
    if let (Some(written), true) = (&written, shards.is_some_and(|shards| shards.get() > 1)) {
        component::report_setting_diagnostics(
            component,
            written.check_shards().as_slice(),
            Severity::Error,
            clean,
            diagnostics,
        );
    }
    if let Some(config) = &config {
        component::report_setting_diagnostics(component, &config.check(), Severity::Error, clean, diagnostics);
        component::report_setting_diagnostics(component, &config.warnings(), Severity::Warning, clean, diagnostics);
    }
    let (config, written, common) = (config.filter(|_| clean)?, written?, common.complete()?);
    let of_batch = config.check_batch(&common.batch.over(config.default_batch()));
    component::report_setting_diagnostics(component, of_batch.as_slice(), Severity::Error, true, diagnostics);
    let (digest, directory) = (component.node.digest(), directory.to_owned());
    Some(CheckedSink { config, written, common, secret_files, digest, directory })
}

/// Reports sinks that write to the same target.
pub(super) fn report_conflicting_targets(
    components: &[Component<'_>],
    sinks: &Sinks<'_>,
    diagnostics: &mut Diagnostics,
) {
    let mut first: BTreeMap<String, &Component<'_>> = BTreeMap::new();
    for component in components {
        let target = sinks.get(component.name).and_then(|sink| sink.config.conflict_key());
        let Some(target) = target.filter(|_| component.section == Section::Sink) else { continue };
        let Some(other) = first.get(&target) else {
            first.insert(target, component);
            continue;
        };
        let message = format!("sink `{}` writes to the same target as sink `{}`", component.name, other.name);
        let hint = "give each sink its own target, or give one sink the inputs of both";
        diagnostics.push(Diagnostic::error(Some(component.span), &component.path, message, hint));
    }
}

/// Reports sinks that would write to the program's own files.
pub(super) fn report_own_paths(
    components: &[Component<'_>],
    sinks: &Sinks<'_>,
    own: &[OwnPath],
    diagnostics: &mut Diagnostics,
) {
    let own: BTreeMap<PathBuf, &OwnPath> = own.iter().map(|own| (real_path(&own.path), own)).collect();
    for component in components.iter().filter(|component| component.section == Section::Sink) {
        let Some(target) = sinks.get(component.name).and_then(|sink| sink.config.local_target()) else { continue };
        let Some(own) = real_path(&target).ancestors().find_map(|path| own.get(path)) else { continue };
        let span = component.node.entry("path").map_or(component.span, |entry| entry.value.span);
        let message = format!("sink `{}` would write into {} ({})", component.name, own.what, own.path.display());
        let hint = "write to a directory that holds nothing else";
        diagnostics.push(Diagnostic::error(Some(span), &component.path.key("path"), message, hint));
    }
}
