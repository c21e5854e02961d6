//! The running sources, or the running sinks: one task each, which can be stopped alone.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// How a component is asked to end.
#[derive(Clone)]
pub(super) struct Signals {
    /// After the page or batch in progress.
    pub(super) stop: CancellationToken,
    /// A sink: once it has delivered everything.
    pub(super) drain: CancellationToken,
}

impl Signals {
    /// Those of one component; what ends all of them ends this one too.
    pub(super) fn below(stop: &CancellationToken, drain: &CancellationToken) -> Self {
        Self { stop: stop.child_token(), drain: drain.child_token() }
    }
}

/// The tasks, and how those that have ended did.
pub(super) struct Tasks<T, E> {
    tasks: JoinSet<(String, Result<T, E>)>,
    /// What ends each running task.
    signals: BTreeMap<String, Signals>,
    ends: BTreeMap<String, Result<T, E>>,
}

impl<T: Send + 'static, E: std::fmt::Display + Send + 'static> Tasks<T, E> {
    pub(super) fn new() -> Self {
        Self { tasks: JoinSet::new(), signals: BTreeMap::new(), ends: BTreeMap::new() }
    }

    /// Starts a component that watches these signals.
    pub(super) fn spawn(
        &mut self,
        name: String,
        signals: Signals,
        task: impl Future<Output = Result<T, E>> + Send + 'static,
    ) {
        self.ends.remove(&name);
        let former = self.signals.insert(name.clone(), signals);
        debug_assert!(former.is_none(), "{name} still runs, and nothing could stop it any more");
        self.tasks.spawn(async move { (name, task.await) }.in_current_span());
    }

    /// Whether none runs.
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The names of those that run.
    pub(super) fn running(&self) -> impl Iterator<Item = &String> {
        self.signals.keys()
    }

    /// Whether it ended because of an error.
    pub(super) fn has_failed(&self, name: &str) -> bool {
        matches!(self.ends.get(name), Some(Err(_)))
    }

    /// Asks a component to end in order, if it runs.
    pub(super) fn stop(&self, name: &str) {
        if let Some(signals) = self.signals.get(name) {
            signals.stop.cancel();
        }
    }

    /// Asks a component to end once it has delivered everything, if it runs.
    pub(super) fn drain(&self, name: &str) {
        if let Some(signals) = self.signals.get(name) {
            signals.drain.cancel();
        }
    }

    /// Waits for the next end, and returns its name; pending while none runs. Cancelling it loses nothing.
    pub(super) async fn next_end(&mut self) -> (String, &Result<T, E>) {
        let Some(joined) = self.tasks.join_next().await else { return std::future::pending().await };
        let (name, end) = joined.unwrap_or_else(resume_panic);
        if let Err(error) = &end {
            tracing::error!(event = "component_failed", component = name, %error, "component failed");
        }
        self.signals.remove(&name);
        self.ends.insert(name.clone(), end);
        let end = &self.ends[&name];
        (name, end)
    }

    /// How each ended, in the order of these names.
    pub(super) fn into_ends<'n>(mut self, names: impl Iterator<Item = &'n String>) -> Vec<(String, Result<T, E>)> {
        names.filter_map(|name| Some((name.clone(), self.ends.remove(name)?))).collect()
    }

    /// Those of these names that still run.
    pub(super) fn still_running(&self, names: &BTreeSet<String>) -> Vec<String> {
        self.signals.keys().filter(|name| names.contains(*name)).cloned().collect()
    }
}

/// A panic of a task is a defect: it ends the process with its message, so that it cannot leave a silent gap.
fn resume_panic<T>(failed: JoinError) -> T {
    match failed.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(cancelled) => unreachable!("no task is cancelled while it is gathered: {cancelled}"),
    }
}
