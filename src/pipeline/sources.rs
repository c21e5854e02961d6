//! The sources of a pipeline file, checked.
//!
//! One map in the file is read as two types: the settings that every source has, and those of its vendor.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::component;
use super::definition::Component;
use super::fields::fields_of;
use super::node::Place;
use super::plan::SourcePlan;
use super::problem::{Finding, Findings, Severity};
use super::vendor_settings;
use crate::collect::SourceOptions;
use crate::collect::options::StartTime;
use crate::units::Span;
use crate::vendors::Vendor;

const ALWAYS: &[&str] = &["type"];

/// A source, as far as nothing in it is wrong.
pub(super) struct CheckedSource {
    pub(super) name: String,
    vendor_name: Option<&'static str>,
    vendor: Option<Arc<dyn Vendor>>,
    options: Option<SourceOptions>,
}

impl CheckedSource {
    /// The plan; `None` if something was wrong.
    pub(super) fn into_plan(self) -> Option<SourcePlan> {
        let (vendor_name, vendor, options) = (self.vendor_name?, self.vendor?, self.options?);
        Some(SourcePlan { name: self.name, vendor_name, vendor, options })
    }

    /// How much of the past it reads again.
    pub(super) fn looks_back(&self) -> Option<Span> {
        let spec = self.options.as_ref()?.over(self.vendor.as_ref()?.spec()).spec;
        let rechecked = spec.recheck.map_or(Duration::ZERO, |recheck| recheck.lookback);
        Some(Span(spec.overlap.max(rechecked)))
    }
}

/// Checks a source.
pub(super) fn check(component: &Component<'_>, folder: &Path, findings: &mut Findings) -> CheckedSource {
    let common_fields = fields_of(|probe| SourceOptions::deserialize(probe));
    let options =
        component::read_fields(component, common_fields, findings, |reader| SourceOptions::deserialize(reader));
    if let Some(options) = &options.partial {
        check_options(component, options, findings);
    }
    let vendor = component.type_name.and_then(|name| check_vendor(component, name, common_fields, folder, findings));
    if let (Some(vendor), Some(options)) = (&vendor, &options.partial) {
        warn_of_page_size(component, vendor.as_ref(), options, findings);
    }
    let (vendor_name, options) = (component.type_name, options.whole());
    CheckedSource { name: component.name.to_owned(), vendor_name, vendor, options }
}

fn check_vendor(
    component: &Component<'_>,
    name: &'static str,
    common_fields: &[&str],
    folder: &Path,
    findings: &mut Findings,
) -> Option<Arc<dyn Vendor>> {
    let own_fields = vendor_settings::fields(name);
    component::report_unknown_keys(component, &[ALWAYS, own_fields, common_fields], findings);
    let read = component::read_fields(component, own_fields, findings, |reader| vendor_settings::read(name, reader));
    let (clean, mut config) = (read.clean, read.partial.flatten()?);
    config.secrets_mut().into_iter().for_each(|secret| secret.resolve_against(folder));
    component::report_problems(component, &config.warnings(), Severity::Warning, clean, findings);
    match config.build() {
        Ok(vendor) if vendor.spec().name != name => {
            findings.push(other_name(component, name, vendor.spec().name));
            None
        }
        Ok(vendor) => Some(vendor).filter(|_| clean),
        Err(problems) => {
            component::report_problems(component, &problems, Severity::Error, clean, findings);
            if problems.is_empty() {
                findings.push(unexplained(component));
            }
            None
        }
    }
}

/// Events are found again in the journal by the name in the facts.
fn other_name(component: &Component<'_>, name: &str, spec: &str) -> Finding {
    let message =
        format!("the vendor `{name}` calls itself `{spec}` in its spec, so its events could not be delivered");
    let hint = "this is a mistake of the program that brings the vendor in: give both the same name";
    Finding::error(Some(component.place), &component.path, message, hint)
}

fn unexplained(component: &Component<'_>) -> Finding {
    let message = format!("the settings of source `{}` do not fit together", component.name);
    Finding::error(Some(component.place), &component.path, message, "compare them with docs/pipelines.md")
}

fn check_options(component: &Component<'_>, options: &SourceOptions, findings: &mut Findings) {
    check_times(component, options, findings);
    let is_zero = |span: Option<Span>| span.is_some_and(|span| span.0.is_zero());
    let zeroes = [
        ("page_size", options.page_size == Some(0)),
        ("max_window_records", options.max_window_records == Some(0)),
        ("max_body_bytes", options.max_body_bytes.is_some_and(|size| size.0 == 0)),
        ("poll_interval", is_zero(options.poll_interval)),
        ("timeout", is_zero(options.timeout)),
        ("backfill_slice", is_zero(options.backfill_slice)),
        ("recheck_interval", is_zero(options.recheck_interval)),
        ("error_retry_interval", is_zero(options.error_retry_interval)),
    ];
    for (key, _) in zeroes.into_iter().filter(|(_, is_zero)| *is_zero) {
        let message = format!("`{key}` cannot be 0");
        let hint = "write a value above 0, or take the line out for the default";
        findings.push(Finding::error(place_of(component, key), &component.path.key(key), message, hint));
    }
}

fn check_times(component: &Component<'_>, options: &SourceOptions, findings: &mut Findings) {
    let Some(end) = options.end_time else { return };
    let (place, key) = (place_of(component, "end_time"), component.path.key("end_time"));
    match options.backfill_start_time {
        Some(StartTime::At(start)) if start >= end.0 => {
            let hint = "set end_time to a later moment, or take it out to collect without an end";
            findings.push(Finding::error(place, &key, "end_time is not after backfill_start_time", hint));
        }
        None if component.node.entry("backfill_start_time").is_none() => {
            let message = "end_time without backfill_start_time: nothing from before the first start is collected";
            findings.push(Finding::warning(place, &key, message, "set backfill_start_time as well"));
        }
        _ => {}
    }
}

fn warn_of_page_size(component: &Component<'_>, vendor: &dyn Vendor, options: &SourceOptions, findings: &mut Findings) {
    let most = vendor.spec().max_page_size;
    if options.page_size.is_some_and(|size| size > most) {
        let message = format!("the largest page of {} is {most} records", vendor.spec().name);
        let (place, key) = (place_of(component, "page_size"), component.path.key("page_size"));
        findings.push(Finding::warning(
            place,
            &key,
            message,
            format!("{most} is used; write that, or take the line out"),
        ));
    }
}

fn place_of(component: &Component<'_>, key: &str) -> Option<Place> {
    component.node.entry(key).map(|entry| entry.value.place)
}
