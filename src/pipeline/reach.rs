//! The check before a run: every source and sink is reached with its real credentials, all at the same time, and nothing is
//! kept and nothing left behind.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::plan::{Pipeline, SinkPlan, SourcePlan};
use super::run::{RunError, build_sink};
use crate::clock::SharedClock;
use crate::collect::{self, HttpClients, HttpTransport};
use crate::sinks::SinkError;
use crate::vendors::ApiErrorKind;

pub use crate::journal::editing::ComponentKind;

/// How long one part may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a source or sink was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// What it is.
    pub kind: ComponentKind,
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
    /// Whether it may pass by itself: a vendor that is away, a timeout. Else somebody must mend something.
    pub may_pass: bool,
}

/// Reaches all sources and sinks of a pipeline; they come in the order of the file, sources first.
///
/// # Errors
/// A part could not be built from its settings.
pub async fn reach(pipeline: &Pipeline, clock: &SharedClock) -> Result<Vec<Reached>, RunError> {
    let clients = HttpClients::default();
    let sources = join_all(pipeline.sources.iter().map(|source| reach_source(source, &clients, clock)));
    let sinks = join_all(pipeline.sinks.iter().map(|sink| reach_sink(pipeline, sink, clock)));
    let (sources, sinks) = tokio::join!(sources, sinks);
    sources.into_iter().chain(sinks).collect()
}

async fn reach_source(plan: &SourcePlan, clients: &HttpClients, clock: &SharedClock) -> Result<Reached, RunError> {
    let settings = plan.options.over(plan.vendor.spec());
    let transport = HttpTransport::sharing(clients, plan.vendor.base_url(), Arc::clone(clock))
        .map_err(|reason| RunError::Part { name: plan.name.clone(), reason: reason.to_string() })?;
    let probe = collect::probe(plan.vendor.as_ref(), &settings, &transport, clock.now());
    let obstacle = match tokio::time::timeout(PATIENCE, probe).await {
        Err(_) => Some(no_answer()),
        Ok(Ok(())) => None,
        Ok(Err(fault)) => {
            Some(Obstacle { may_pass: fault.kind != ApiErrorKind::Permanent, message: fault.message, hint: fault.hint })
        }
    };
    Ok(Reached { kind: ComponentKind::Source, name: plan.name.clone(), obstacle })
}

async fn reach_sink(pipeline: &Pipeline, plan: &SinkPlan, clock: &SharedClock) -> Result<Reached, RunError> {
    let mut sink = build_sink(pipeline, plan, clock)?;
    let obstacle = match tokio::time::timeout(PATIENCE, sink.healthcheck()).await {
        Err(_) => Some(no_answer()),
        Ok(Ok(())) => None,
        Ok(Err(SinkError::Transient { message, hint })) => Some(Obstacle { message, hint, may_pass: true }),
        Ok(Err(SinkError::Stopped { message, hint })) => Some(Obstacle { message, hint, may_pass: false }),
        Ok(Err(other)) => Some(Obstacle { message: other.to_string(), hint: String::new(), may_pass: true }),
    };
    Ok(Reached { kind: ComponentKind::Sink, name: plan.name.clone(), obstacle })
}

fn no_answer() -> Obstacle {
    Obstacle {
        message: format!("no answer within {} seconds", PATIENCE.as_secs()),
        hint: "check the address and the network between".to_owned(),
        may_pass: true,
    }
}
