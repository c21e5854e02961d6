//! The checks of the sources of a pipeline file.
//!
//! One map in the file is read as two types: the settings that every source has, and the settings of its vendor.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::component::{self, Component};
use super::own_paths;
use super::validated::{SettingsIdentity, ValidatedSource};
use crate::collect::SourceOptions;
use crate::collect::options::StartTime;
use crate::config::component_settings::{read_vendor, vendor_fields};
use crate::config::deserialize::field_names;
use crate::config::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::config::node::TextSpan;
use crate::sinks::claims::OwnPath;
use crate::units::Span;
use crate::vendors::Vendor;

const GENERIC_KEYS: &[&str] = &["type"];

/// A source with the parts of its settings that are valid.
pub(super) struct CheckedSource {
    pub(super) name: String,
    vendor_name: Option<&'static str>,
    vendor: Option<Arc<dyn Vendor>>,
    options: Option<SourceOptions>,
    /// The files of its secrets.
    pub(super) secret_files: Vec<OwnPath>,
    /// The hash of its settings.
    digest: [u8; 32],
    directory: PathBuf,
}

impl CheckedSource {
    /// The validated source; `None` if a setting is wrong.
    pub(super) fn into_validated(self) -> Option<ValidatedSource> {
        let (vendor_name, vendor, options) = (self.vendor_name?, self.vendor?, self.options?);
        let mut files: Vec<_> = options.tls.files().cloned().collect();
        files.extend(self.secret_files.into_iter().map(|file| file.path));
        let identity = SettingsIdentity { digest: self.digest, directory: self.directory, files };
        Some(ValidatedSource { name: self.name, vendor_name, vendor, options, shard: None, identity })
    }

    /// How far back it reads again.
    pub(super) fn lookback(&self) -> Option<Span> {
        let settings = self.options.as_ref()?.over(self.vendor.as_ref()?.spec());
        let rechecked = settings.spec.recheck.map_or(Duration::ZERO, |recheck| recheck.lookback);
        Some(Span(settings.longest_overlap().max(rechecked)))
    }
}

/// Checks a source.
pub(super) fn check(component: &Component<'_>, directory: &Path, diagnostics: &mut Diagnostics) -> CheckedSource {
    let common_fields = field_names(|probe| SourceOptions::deserialize(probe));
    let mut options =
        component::read_fields(component, common_fields, diagnostics, |reader| SourceOptions::deserialize(reader));
    if let Some(options) = &mut options.partial {
        options.tls.resolve_against(directory);
        check_options(component, options, diagnostics);
    }
    let mut secret_files = Vec::new();
    let vendor = component
        .type_name
        .and_then(|name| check_vendor(component, name, common_fields, (directory, &mut secret_files), diagnostics));
    if let (Some(vendor), Some(options)) = (&vendor, &options.partial) {
        warn_of_page_size(component, vendor.as_ref(), options, diagnostics);
    }
    let (vendor_name, options) = (component.type_name, options.complete());
    let (name, digest) = (component.name.to_owned(), component.node.digest());
    CheckedSource { name, vendor_name, vendor, options, secret_files, digest, directory: directory.to_owned() }
}

fn check_vendor(
    component: &Component<'_>,
    name: &'static str,
    common_fields: &[&str],
    (directory, secret_files): (&Path, &mut Vec<OwnPath>),
    diagnostics: &mut Diagnostics,
) -> Option<Arc<dyn Vendor>> {
    let type_fields = vendor_fields(name);
    component::report_unknown_keys(component, &[GENERIC_KEYS, type_fields, common_fields], diagnostics);
    let read = component::read_fields(component, type_fields, diagnostics, |reader| read_vendor(name, reader));
    let (clean, mut config) = (read.clean, read.partial.flatten()?);
    config.secrets_mut().into_iter().for_each(|secret| secret.resolve_against(directory));
    if clean {
        let secrets = config.secrets_mut().into_iter().map(|secret| &*secret);
        *secret_files = own_paths::secret_files(component, secrets, diagnostics);
    }
    component::report_setting_diagnostics(component, &config.warnings(), Severity::Warning, clean, diagnostics);
    match config.build() {
        Ok(vendor) if vendor.spec().name != name => {
            diagnostics.push(name_mismatch(component, name, vendor.spec().name));
            None
        }
        Ok(vendor) => Some(vendor).filter(|_| clean),
        Err(reported) => {
            component::report_setting_diagnostics(component, &reported, Severity::Error, clean, diagnostics);
            if reported.is_empty() {
                diagnostics.push(invalid_settings(component));
            }
            None
        }
    }
}

/// Delivery finds the normalizer of a stored event by the name in the spec.
fn name_mismatch(component: &Component<'_>, name: &str, spec: &str) -> Diagnostic {
    let message = format!("the vendor is registered as `{name}`, but its spec has the name `{spec}`");
    let hint = "use the same name in `VendorType::NAME` and `ApiSpec::name`";
    Diagnostic::error(Some(component.span), &component.path, message, hint)
}

fn invalid_settings(component: &Component<'_>) -> Diagnostic {
    let message = format!("the settings of source `{}` are invalid", component.name);
    Diagnostic::error(Some(component.span), &component.path, message, "see docs/options.md for its settings")
}

fn check_options(component: &Component<'_>, options: &SourceOptions, diagnostics: &mut Diagnostics) {
    check_times(component, options, diagnostics);
    if options.tls.is_half_a_pair() {
        let hint = "set both `crt_file` and `key_file`, or neither";
        let message = "a client certificate needs its key, and a key its certificate";
        diagnostics.push(Diagnostic::error(span_of(component, "tls"), &component.path.key("tls"), message, hint));
    }
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
        let hint = "write a value above 0, or remove the line to use the default";
        diagnostics.push(Diagnostic::error(span_of(component, key), &component.path.key(key), message, hint));
    }
}

fn check_times(component: &Component<'_>, options: &SourceOptions, diagnostics: &mut Diagnostics) {
    let Some(end) = options.end_time else { return };
    let (span, key) = (span_of(component, "end_time"), component.path.key("end_time"));
    match options.backfill_start_time {
        Some(StartTime::At(start)) if start >= end.0 => {
            let hint = "set a later end_time, or remove it to collect without an end";
            diagnostics.push(Diagnostic::error(span, &key, "end_time is not after backfill_start_time", hint));
        }
        None if component.node.entry("backfill_start_time").is_none() => {
            let message = "end_time without backfill_start_time: events from before the first start are not collected";
            diagnostics.push(Diagnostic::warning(span, &key, message, "set backfill_start_time as well"));
        }
        _ => {}
    }
}

fn warn_of_page_size(
    component: &Component<'_>,
    vendor: &dyn Vendor,
    options: &SourceOptions,
    diagnostics: &mut Diagnostics,
) {
    let most = vendor.spec().max_page_size;
    if options.page_size.is_some_and(|size| size > most) {
        let message = format!("the largest page of {} is {most} records", vendor.spec().name);
        let (span, key) = (span_of(component, "page_size"), component.path.key("page_size"));
        diagnostics.push(Diagnostic::warning(
            span,
            &key,
            message,
            format!("{most} is used; set it to {most}, or remove the line"),
        ));
    }
}

fn span_of(component: &Component<'_>, key: &str) -> Option<TextSpan> {
    component.node.entry(key).map(|entry| entry.value.span)
}
