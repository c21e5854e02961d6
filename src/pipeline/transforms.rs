//! The transforms of a pipeline file, checked.

use super::component;
use super::definition::Component;
use super::fields::fields_of;
use super::problem::Findings;
use crate::transform::table::TransformConfig;

const ALWAYS: &[&str] = &["type", "inputs"];

/// Checks a transform's settings.
pub(super) fn check(component: &Component<'_>, findings: &mut Findings) {
    let Some(name) = component.type_name else { return };
    let own_fields = fields_of(|probe| TransformConfig::read(name, probe).transpose());
    component::report_unknown_keys(component, &[ALWAYS, own_fields], findings);
    component::read_fields(component, own_fields, findings, |reader| TransformConfig::read(name, reader).transpose());
}
