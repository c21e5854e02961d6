//! `type: filter`: lets those events through for which a condition holds.
//!
//! The condition is evaluated where a batch is written, on the normalized event, just before the sink takes it: so what a
//! filter drops is still in the journal, and a sink whose filter was changed is given what comes from then on. Several
//! filters in a row are one condition, joined by `&&`; several ways from a source to a sink are joined by `||`.

use serde::Deserialize;

use super::condition::{Condition, Mistake};

/// The settings of a `filter` transform.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The events that pass: a condition in a subset of CEL, such as `actor.type == "admin" || action in ["delete", "export"]`.
    pub condition: String,
}

impl Config {
    /// Compiles the condition.
    ///
    /// # Errors
    /// Everything that is wrong in it, each with its place.
    pub fn compile(&self) -> Result<Condition, Vec<Mistake>> {
        Condition::compile(&self.condition)
    }
}
