//! The loop of one sink, as steps that can fail and be repeated.

use std::time::Duration;

use tokio::sync::watch;

use super::batch_policy::{self, Decision};
use super::batch_writer::{BatchLog, BatchTotals, BatchWriter, RoutedSources};
use super::contract::{DeliverError, Route, SinkContext, SinkEnd, SinkTask, StepError};
use super::findings::{BatchFindings, FindingsLog};
use super::recovery::{self, OpenBatch};
use crate::backoff::Backoff;
use crate::journal::{BatchCommit, DeliverJournal, LastError, Seq, SinkId};
use crate::sinks::dead_letter::{self, DeadLetter};
use crate::sinks::{BatchRange, StoredPosition};
use crate::time::Timestamp;

/// The longest uninterrupted wait: a clock that was set is noticed after it.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest wait between two attempts.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(60);

/// Delivers to a sink until it is drained or stopped.
///
/// # Errors
/// Errors that a retry does not fix: a damaged journal, counters that do not add up, or a sink that stopped. The position
/// stays before the batch.
pub async fn run(task: SinkTask, context: SinkContext) -> Result<SinkEnd, DeliverError> {
    SinkLoop::new(task, context).run().await
}

/// What the loop does after a step.
#[derive(Debug)]
enum Step {
    /// Takes the next one.
    Continue,
    /// Waits for this time, for more events, or for a signal.
    Wait(Option<Timestamp>),
    /// Ends: everything is delivered and no more events will arrive.
    Drained,
}

/// The loop of one sink.
struct SinkLoop {
    task: SinkTask,
    context: SinkContext,
    fingerprint: String,
    sources: RoutedSources,
    /// The sink's id; `None` until the journal has opened it.
    id: Option<SinkId>,
    position: Seq,
    /// The highest position so far: events up to here were read before.
    furthest: Seq,
    generation: u64,
    /// The state that the sink gets when it starts.
    state: Option<String>,
    /// The position that the target stores; 0 if it stores none, `None` until it was read.
    sink_position: Option<Seq>,
    /// The current batch.
    batch: Option<OpenBatch>,
    /// Since when events after the position are pending.
    seen_since: Option<Timestamp>,
    head: watch::Receiver<Seq>,
    last_error: ErrorReport,
    findings: FindingsLog,
    /// What was found in the batch that is to be committed next.
    found: Option<BatchFindings>,
    backoff: Backoff,
    end: SinkEnd,
}

impl SinkLoop {
    fn new(task: SinkTask, context: SinkContext) -> Self {
        Self {
            fingerprint: fingerprint(&task),
            sources: RoutedSources::new(&task.routes),
            id: None,
            position: 0,
            furthest: 0,
            generation: 0,
            state: None,
            sink_position: None,
            batch: None,
            seen_since: None,
            head: context.journal.head(),
            last_error: ErrorReport::default(),
            findings: FindingsLog::default(),
            found: None,
            backoff: Backoff::new(context.rng_seed, MAX_RETRY_WAIT),
            end: SinkEnd::new(&task.name),
            task,
            context,
        }
    }

    async fn run(mut self) -> Result<SinkEnd, DeliverError> {
        while !self.context.shutdown.is_cancelled() {
            match self.step().await {
                Ok(Step::Continue) => {}
                Ok(Step::Wait(due)) => self.wait(due).await,
                Ok(Step::Drained) => {
                    self.end.drained = true;
                    break;
                }
                Err(StepError::ReaderClosed) => {
                    tracing::info!(event = "reader_closed", sink = self.task.name, "the reader has closed the output");
                    self.end.reader_closed = true;
                    break;
                }
                Err(error) => self.failed(error).await?,
            }
        }
        Ok(SinkEnd { position: self.position, last_error: self.last_error.current.clone(), ..self.end })
    }

    async fn step(&mut self) -> Result<Step, StepError> {
        let Some(id) = self.id else { return self.open().await };
        let Some(sink_position) = self.sink_position else { return self.recover_position(id).await };
        let Some(mut batch) = self.batch.take() else { return self.next_batch(id, sink_position).await };
        let advanced = self.advance(id, &mut batch).await;
        if advanced.is_err() {
            self.batch = Some(batch);
        }
        advanced.map(|()| Step::Continue)
    }

    async fn open(&mut self) -> Result<Step, StepError> {
        let state = self.context.journal.open_sink(&self.task.name, self.task.start).await?;
        self.sources.update(self.context.journal.sources().await?)?;
        recovery::log_start(&self.task.name, &state, &self.fingerprint);
        self.id = Some(state.id);
        self.position = state.position;
        self.furthest = state.furthest;
        self.generation = state.generation;
        self.state = state.state;
        self.batch = state.intent.map(|intent| OpenBatch::unfinished(intent, &self.fingerprint));
        Ok(Step::Continue)
    }

    async fn recover_position(&mut self, id: SinkId) -> Result<Step, StepError> {
        let journal = self.context.journal.identity().await?;
        let stored = StoredPosition {
            journal: &journal,
            generation: self.generation,
            state: self.state.as_deref(),
            position: self.position,
            up_to: self.batch.as_ref().map_or(self.position, |batch| batch.range.last.max(self.position)),
        };
        let sink_position = self.task.sink.recover_position(stored).await?.unwrap_or(0);
        recovery::expect_in_journal(&self.task.name, sink_position, *self.head.borrow())?;
        if sink_position > self.position {
            tracing::info!(
                event = "sink_position_ahead",
                sink = self.task.name,
                position = self.position,
                sink_position,
                "sink position is ahead of the journal; the events in between were already delivered and will be skipped"
            );
        }
        // What the target stores as delivered cannot be rolled back, whatever the settings are now: it is counted.
        if let Some(batch) = self.batch.as_mut().filter(|batch| batch.range.last <= sink_position) {
            batch.is_wanted = true;
        }
        let inputs = self.task.routes.iter().map(|route| route.source.clone()).collect();
        let passed = self.position.max(sink_position);
        let leaving = self.context.journal.set_sink_inputs(id, inputs, passed).await?;
        recovery::log_skipped(&self.task.name, &leaving);
        self.sink_position = Some(sink_position);
        Ok(Step::Continue)
    }

    // --- between batches ---

    /// Reads what is pending, and decides.
    async fn next_batch(&mut self, id: SinkId, sink_position: Seq) -> Result<Step, StepError> {
        let draining = self.context.drain.is_cancelled();
        self.head.borrow_and_update();
        let limits = batch_policy::limits(self.task.batch, sink_position, self.position);
        let ids = self.sources.ids();
        let pending = self.context.journal.next_batch(self.position, ids, limits.max_events, limits.max_bytes).await?;
        // A source that has just registered may have events among those that were read as events of other sources.
        if self.sources.update(self.context.journal.sources().await?)? {
            return Ok(Step::Continue);
        }
        let now = self.context.clock.now();
        let seen_since = *self.seen_since.get_or_insert(now);
        match batch_policy::decide(&pending, &limits, seen_since, now, draining) {
            Decision::Deliver => self.batch = Some(OpenBatch::up_to(&pending, sink_position)),
            Decision::Skip => self.commit(id, BatchCommit { position: pending.last, ..BatchCommit::default() }).await?,
            Decision::WaitUntil(due) => return Ok(self.idle(Some(due)).await),
            Decision::Idle => {
                self.seen_since = None;
                let wait = self.idle(None).await;
                return Ok(if draining { Step::Drained } else { wait });
            }
        }
        Ok(Step::Continue)
    }

    async fn idle(&mut self, due: Option<Timestamp>) -> Step {
        self.succeeded().await;
        Step::Wait(due)
    }

    // --- one batch ---

    /// Continues a batch from its current state until it is committed.
    async fn advance(&mut self, id: SinkId, batch: &mut OpenBatch) -> Result<(), StepError> {
        if let Some(delivery) = &batch.delivery {
            return self.commit(id, delivery.clone()).await;
        }
        self.roll_back(batch).await?;
        if !batch.is_wanted {
            return Ok(self.context.journal.abort_batch(id).await?);
        }
        let delivery = match self.write(id, batch).await {
            Ok(delivery) => delivery,
            Err(error) => {
                self.roll_back_early(batch).await;
                return Err(error);
            }
        };
        batch.delivery = Some(delivery.clone());
        self.end.batches += 1;
        self.commit(id, delivery).await
    }

    async fn roll_back(&mut self, batch: &mut OpenBatch) -> Result<(), StepError> {
        if batch.is_touched {
            let records = dead_letter::roll_back(&batch.records, &self.task.dead_letter)?;
            let sink = &mut self.task.sink;
            if batch.is_wanted {
                sink.prepare_retry(&records).await?
            } else {
                sink.rollback(&records).await?
            }
            batch.is_touched = false;
            let BatchRange { first, last } = batch.range;
            tracing::debug!(event = "batch_rolled_back", sink = self.task.name, first, last, "batch rolled back");
        }
        Ok(())
    }

    /// Rolls back immediately, so that readers of the target do not see half a batch during the wait. If that fails too, it
    /// is done before the next attempt.
    async fn roll_back_early(&mut self, batch: &mut OpenBatch) {
        if let Err(error) = self.roll_back(batch).await {
            let BatchRange { first, last } = batch.range;
            tracing::debug!(
                event = "batch_rollback_failed",
                sink = self.task.name,
                first,
                last,
                ?error,
                "cannot roll back the unfinished batch yet"
            );
        }
    }

    async fn write(&mut self, id: SinkId, batch: &mut OpenBatch) -> Result<BatchCommit, StepError> {
        let journal = self.context.journal.as_ref();
        let range = batch.range;
        if !batch.is_prepared {
            journal.prepare_batch(id, range.first, range.last, self.fingerprint.clone()).await?;
            batch.is_prepared = true;
        }
        batch.is_touched = true;
        let mut writer = BatchWriter {
            journal,
            sources: &self.sources,
            sink: self.task.sink.as_mut(),
            log: BatchLog::new(journal, id, &mut batch.records),
            dead_letter: DeadLetter::of_batch(&self.task.name, &self.task.dead_letter),
            filtered: 0,
            last_event: None,
            findings: BatchFindings::after(self.furthest),
        };
        let BatchTotals { read, committed, filtered, dead_lettered } = writer.write(range).await?;
        let found = writer.findings;
        let now = self.context.clock.now();
        let findings = found.counts(now);
        self.found = Some(found);
        self.check_count(range, batch.events.unwrap_or(read), read)?;
        self.check_count(range, read, committed.events + filtered + dead_lettered)?;
        Ok(BatchCommit {
            position: range.last,
            delivered: committed.events,
            filtered,
            dead_lettered,
            bytes: committed.bytes,
            delivered_at: (committed.events > 0).then_some(now),
            state: committed.state,
            findings,
        })
    }

    fn check_count(&self, range: BatchRange, expected: u64, found: u64) -> Result<(), DeliverError> {
        if expected == found {
            return Ok(());
        }
        let BatchRange { first, last } = range;
        Err(DeliverError::Miscounted { sink: self.task.name.clone(), first, last, expected, found })
    }

    /// Moves the position: everything up to it is delivered or skipped.
    async fn commit(&mut self, id: SinkId, delivery: BatchCommit) -> Result<(), StepError> {
        let BatchCommit { position, delivered, filtered, dead_lettered, bytes, .. } = delivery;
        self.context.journal.commit_batch(id, delivery).await?;
        tracing::debug!(
            event = "batch_committed",
            sink = self.task.name,
            position,
            delivered,
            filtered,
            dead_lettered,
            bytes,
            "batch committed"
        );
        if dead_lettered > 0 {
            let file = self.task.dead_letter.display();
            tracing::warn!(
                event = "events_dead_lettered",
                sink = self.task.name,
                events = dead_lettered,
                %file,
                "the target rejected events; they are in the dead letter with the reason"
            );
        }
        if let Some(found) = self.found.take() {
            self.findings.report(&found, self.context.clock.now(), |source| self.sources.name_of(source));
        }
        self.position = position;
        self.furthest = self.furthest.max(position);
        self.seen_since = None;
        self.end.delivered += delivered;
        self.end.filtered += filtered;
        self.end.dead_lettered += dead_lettered;
        self.end.bytes += bytes;
        self.succeeded().await;
        Ok(())
    }

    // --- success, failure, waiting ---

    async fn succeeded(&mut self) {
        self.backoff.reset();
        let journal = self.context.journal.as_ref();
        self.last_error.clear(journal, (&self.task.name, self.id), self.context.clock.now()).await;
    }

    async fn failed(&mut self, error: StepError) -> Result<(), DeliverError> {
        match error {
            StepError::Transient { message, hint } => {
                self.raise(message, hint).await;
                let wait = self.backoff.next();
                self.pause(wait).await;
                Ok(())
            }
            StepError::ReaderClosed => Ok(()),
            StepError::Again { reason } => {
                tracing::debug!(event = "batch_retried", sink = self.task.name, reason, "batch is written again");
                Ok(())
            }
            StepError::Fatal(error) => {
                let hint = "fix the cause, then reload (SIGHUP) or start again";
                tracing::error!(event = "sink_stopped", sink = self.task.name, %error, hint, "sink stopped");
                self.last_error.keep(error.to_string(), hint.to_owned(), self.context.clock.now());
                self.last_error.store(self.context.journal.as_ref(), self.id).await;
                Err(error)
            }
        }
    }

    async fn raise(&mut self, message: String, hint: String) {
        let journal = self.context.journal.as_ref();
        let now = self.context.clock.now();
        self.last_error.raise(journal, (&self.task.name, self.id), message, hint, now).await;
    }

    async fn pause(&mut self, wait: Duration) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.context.shutdown.cancelled() => {}
        }
    }

    /// Waits for more events, the given time, or a signal.
    async fn wait(&mut self, due: Option<Timestamp>) {
        let wait = due.map(|due| due.since(self.context.clock.now()).min(LONGEST_WAIT));
        let sleep = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Ok(()) = self.head.changed() => {}
            () = sleep => {}
            () = self.context.drain.cancelled() => {}
            () = self.context.shutdown.cancelled() => {}
        }
    }
}

/// The sink's settings, its inputs, and the filters and redactions before it: together they determine the bytes of a range.
fn fingerprint(task: &SinkTask) -> String {
    let mut routes: Vec<_> = task.routes.iter().map(fingerprint_of_route).collect();
    routes.sort_unstable();
    format!("{} inputs={}", task.sink.fingerprint(), routes.join(","))
}

fn fingerprint_of_route(route: &Route) -> String {
    let Route { source, form, condition, redactions } = route;
    let condition = condition.as_ref().map(|condition| format!(" if {condition}")).unwrap_or_default();
    let redacted = if redactions.is_empty() { String::new() } else { format!(" without {}", redactions.fingerprint()) };
    format!("{source}={form:?}{condition}{redacted}")
}

/// The sink's current error: logged once when it begins or changes and once when it is over, and stored in the journal for
/// `status`.
#[derive(Debug, Default)]
struct ErrorReport {
    current: Option<LastError>,
    /// Whether the journal has the current value. An earlier process may have left an error there.
    is_stored: bool,
}

impl ErrorReport {
    /// An attempt failed and will be repeated.
    async fn raise(
        &mut self,
        journal: &dyn DeliverJournal,
        sink: (&str, Option<SinkId>),
        message: String,
        hint: String,
        now: Timestamp,
    ) {
        if self.current.as_ref().is_none_or(|current| current.message != message) {
            tracing::warn!(event = "sink_retrying", sink = sink.0, error = message, hint, "sink is retrying");
            self.keep(message, hint, now);
        }
        self.store(journal, sink.1).await;
    }

    fn keep(&mut self, message: String, hint: String, now: Timestamp) {
        let since = self.current.as_ref().map_or(now, |current| current.since);
        self.current = Some(LastError { message, hint, since });
        self.is_stored = false;
    }

    /// An attempt succeeded.
    async fn clear(&mut self, journal: &dyn DeliverJournal, sink: (&str, Option<SinkId>), now: Timestamp) {
        if let Some(past) = self.current.take() {
            let after_secs = now.since(past.since).as_secs();
            tracing::info!(event = "sink_recovered", sink = sink.0, after_secs, "sink recovered");
            self.is_stored = false;
        }
        self.store(journal, sink.1).await;
    }

    /// Stores the current value in the journal. If the journal cannot be written either, the next report stores it.
    async fn store(&mut self, journal: &dyn DeliverJournal, sink: Option<SinkId>) {
        let Some(sink) = sink.filter(|_| !self.is_stored) else { return };
        match journal.set_sink_error(sink, self.current.clone()).await {
            Ok(()) => self.is_stored = true,
            Err(error) => {
                tracing::debug!(event = "sink_error_not_stored", sink = sink.0, %error, "cannot store the sink's error");
            }
        }
    }
}
