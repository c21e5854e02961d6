//! The check before a run: every source and sink is reached with its real credentials, and nothing is written.

use std::sync::Arc;

use futures_util::future::join_all;

use super::plan::{Pipeline, SinkPlan, SourcePlan};
use super::run::{RunError, build_sink};
use crate::clock::SharedClock;
use crate::collect::{self, HttpTransport};
use crate::sinks::SinkError;
use crate::vendors::FaultKind;

/// How a source or sink was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Its name.
    pub name: String,
    /// What keeps it from working, if anything.
    pub obstacle: Option<Obstacle>,
}

/// What keeps a source or sink from working.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What happened.
    pub message: String,
    /// What the user can do; may be empty.
    pub hint: String,
    /// Whether it may pass by itself: a run begins all the same.
    pub may_pass: bool,
}

/// Reaches all sources and sinks of a pipeline at the same time.
///
/// # Errors
/// A part could not be built from its settings.
pub async fn reach(pipeline: &Pipeline, clock: &SharedClock) -> Result<Vec<Reached>, RunError> {
    let sources = join_all(pipeline.sources.iter().map(|source| reach_source(source, clock))).await;
    let sinks = join_all(pipeline.sinks.iter().map(|sink| reach_sink(pipeline, sink, clock))).await;
    sources.into_iter().chain(sinks).collect()
}

async fn reach_source(plan: &SourcePlan, clock: &SharedClock) -> Result<Reached, RunError> {
    let settings = plan.options.over(plan.vendor.facts());
    let transport = HttpTransport::new(plan.vendor.base_url(), Arc::clone(clock))
        .map_err(|reason| RunError::Part { name: plan.name.clone(), reason: reason.to_string() })?;
    let probed = collect::probe(plan.vendor.as_ref(), &settings, &transport, clock.now()).await;
    let obstacle = probed.err().map(|fault| Obstacle {
        may_pass: fault.kind != FaultKind::Permanent,
        message: fault.message,
        hint: fault.hint,
    });
    Ok(Reached { name: plan.name.clone(), obstacle })
}

async fn reach_sink(pipeline: &Pipeline, plan: &SinkPlan, clock: &SharedClock) -> Result<Reached, RunError> {
    let mut sink = build_sink(pipeline, plan, clock)?;
    let obstacle = match sink.check().await {
        Ok(()) => None,
        Err(SinkError::Transient { message, hint }) => Some(Obstacle { message, hint, may_pass: true }),
        Err(SinkError::Stopped { message, hint }) => Some(Obstacle { message, hint, may_pass: false }),
        Err(other) => Some(Obstacle { message: other.to_string(), hint: String::new(), may_pass: true }),
    };
    Ok(Reached { name: plan.name.clone(), obstacle })
}
