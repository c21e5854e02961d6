//! `type: filter`: passes the events for which a condition holds.
//!
//! The condition is evaluated on the normalized event when a batch is written. The journal still holds the filtered events; a
//! changed filter applies to the events that follow. Filters in sequence are joined by `&&`, and several routes from a source to
//! a sink by `||`.

use serde::Deserialize;

use super::condition::{Condition, ConditionDiagnostic};

/// The settings of a `filter` transform.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Condition on events in a subset of CEL, such as `actor.type == "admin" || action in ["delete", "export"]`. Events for which it holds pass.
    pub condition: String,
}

impl Config {
    /// Compiles the condition.
    ///
    /// # Errors
    /// All errors in it, with their spans.
    pub fn compile(&self) -> Result<Condition, Vec<ConditionDiagnostic>> {
        Condition::compile(&self.condition)
    }
}
