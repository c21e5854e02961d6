//! The sinks of a pipeline file, checked.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::component;
use super::definition::{Component, Kind};
use super::fields::fields_of;
use super::plan::SinkPlan;
use super::problem::{Finding, Findings, Severity};
use crate::deliver::Route;
use crate::journal::SinkStart;
use crate::sinks::BatchSettings;
use crate::sinks::registry::SinkConfig;

/// The settings that every sink has, beside `type` and `inputs`.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CommonSettings {
    /// When a batch closes. What is not given is the sink type's default.
    batch: BatchSettings,
    /// Where the sink begins at its first start.
    start: SinkStart,
}

const ALWAYS: &[&str] = &["type", "inputs"];

/// A sink without anything wrong in its own settings.
pub(super) struct CheckedSink {
    config: SinkConfig,
    common: CommonSettings,
}

/// The sinks without anything wrong, by name.
pub(super) type Sinks<'t> = BTreeMap<&'t str, CheckedSink>;

impl CheckedSink {
    pub(super) fn into_plan(self, name: &str, routes: Vec<Route>) -> SinkPlan {
        let batch = self.common.batch.over(self.config.default_batch());
        SinkPlan { name: name.to_owned(), config: self.config, batch, start: self.common.start, routes }
    }
}

/// Checks a sink; returns it if nothing in it is wrong.
pub(super) fn check(component: &Component<'_>, folder: &Path, findings: &mut Findings) -> Option<CheckedSink> {
    let common_fields = fields_of(|probe| CommonSettings::deserialize(probe));
    let common =
        component::read_fields(component, common_fields, findings, |reader| CommonSettings::deserialize(reader));
    let name = component.type_name?;
    let own_fields = fields_of(|probe| SinkConfig::read(name, probe).transpose());
    component::report_unknown_keys(component, &[ALWAYS, common_fields, own_fields], findings);
    let read =
        component::read_fields(component, own_fields, findings, |reader| SinkConfig::read(name, reader).transpose());
    let (clean, mut config) = (read.clean, read.partial.flatten());
    let secrets = config.iter_mut().flat_map(SinkConfig::secrets_mut);
    secrets.for_each(|secret| secret.resolve_against(folder));
    if let Some(config) = &config {
        component::report_problems(component, &config.check(), Severity::Error, clean, findings);
        component::report_problems(component, &config.warnings(), Severity::Warning, clean, findings);
    }
    let (config, common) = (config.filter(|_| clean)?, common.whole()?);
    Some(CheckedSink { config, common })
}

/// Reports sinks that would write to the same place.
pub(super) fn report_shared_places(components: &[Component<'_>], sinks: &Sinks<'_>, findings: &mut Findings) {
    let mut first: BTreeMap<String, &Component<'_>> = BTreeMap::new();
    for component in components {
        let place = sinks.get(component.name).and_then(|sink| sink.config.conflict_key());
        let Some(place) = place.filter(|_| component.kind == Kind::Sink) else { continue };
        let Some(other) = first.get(&place) else {
            first.insert(place, component);
            continue;
        };
        let message = format!("sink `{}` would write to the same place as sink `{}`", component.name, other.name);
        let hint = "give each sink a place of its own, or give one sink the inputs of both";
        findings.push(Finding::error(Some(component.place), &component.path, message, hint));
    }
}
