//! The loop of one sink, as steps that can fail and be taken again.

use std::time::Duration;

use tokio::sync::watch;

use super::announce::{self, PassedOver};
use super::closing::{self, Next};
use super::failure::{DeliverError, Failure};
use super::last_error::TroubleReport;
use super::outside;
use super::routed::RoutedSources;
use super::writing::{BatchWriter, Outcome, Recorder};
use super::{Parts, Route, SinkEnd, SinkTask};
use crate::backoff::Backoff;
use crate::journal::{BatchIntent, BatchCommit, PendingBatch, RollbackRecord, Seq, SinkId};
use crate::sinks::dead_letter::{self, DeadLetter};
use crate::sinks::{BatchRange, Written};
use crate::time::Timestamp;

/// A wait for a time of day is cut into pieces, so that a clock that was set is noticed.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// No wait of the backoff is longer.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// What the loop does after a step.
#[derive(Debug)]
enum Step {
    /// Takes the next one.
    Again,
    /// Waits for this time, for more events, or for a signal.
    Wait(Option<Timestamp>),
    /// Ends: all is delivered and nothing more will come.
    Drained,
}

/// A batch that is begun and not finished.
#[derive(Debug)]
struct Batch {
    range: BatchRange,
    /// Events in it; not known of a batch that an earlier process has begun.
    events: Option<u64>,
    /// Whether it is to be written; else it is only undone, since the settings have changed.
    wanted: bool,
    /// Whether the journal knows of it.
    planned: bool,
    /// Whether the outside may hold a part of it.
    touched: bool,
    /// What it has touched or is about to.
    outputs: Vec<RollbackRecord>,
    /// It is durable; the journal does not know that yet.
    written: Option<BatchCommit>,
}

impl Batch {
    fn new(pending: &PendingBatch) -> Self {
        Self {
            range: BatchRange { first: pending.first, last: pending.last },
            events: Some(pending.events),
            wanted: true,
            planned: false,
            touched: false,
            outputs: Vec::new(),
            written: None,
        }
    }

    /// Cut where the outside says that it has come to: the sink counts the events up to there and does not write them.
    fn up_to(pending: &PendingBatch, outside: Seq) -> Self {
        if !(pending.first..pending.last).contains(&outside) {
            return Self::new(pending);
        }
        let mut batch = Self::new(pending);
        batch.range.last = outside;
        batch.events = None;
        batch
    }

    fn left_behind(plan: BatchIntent, fingerprint: &str) -> Self {
        Self {
            range: BatchRange { first: plan.first, last: plan.last },
            events: None,
            wanted: plan.fingerprint == fingerprint,
            planned: true,
            touched: true,
            outputs: plan.outputs,
            written: None,
        }
    }
}

/// The loop of one sink.
pub(super) struct SinkLoop {
    task: SinkTask,
    parts: Parts,
    fingerprint: String,
    sources: RoutedSources,
    /// The sink's number, once the journal has told.
    id: Option<SinkId>,
    position: Seq,
    /// How far the outside says that this sink has come, once it was asked; 0 if it does not know.
    outside: Option<Seq>,
    /// The batch in hand.
    batch: Option<Batch>,
    /// Since when something is pending behind the position.
    seen_since: Option<Timestamp>,
    head: watch::Receiver<Seq>,
    last_error: TroubleReport,
    backoff: Backoff,
    end: SinkEnd,
}

impl SinkLoop {
    pub(super) fn new(task: SinkTask, parts: Parts) -> Self {
        Self {
            fingerprint: fingerprint(&task),
            sources: RoutedSources::new(&task.routes),
            id: None,
            position: 0,
            outside: None,
            batch: None,
            seen_since: None,
            head: parts.journal.head(),
            last_error: TroubleReport::default(),
            backoff: Backoff::new(parts.rng_seed, LONGEST_BACKOFF),
            end: SinkEnd::new(&task.name),
            task,
            parts,
        }
    }

    pub(super) async fn run(mut self) -> Result<SinkEnd, DeliverError> {
        while !self.parts.shutdown.is_cancelled() {
            match self.step().await {
                Ok(Step::Again) => {}
                Ok(Step::Wait(due)) => self.wait(due).await,
                Ok(Step::Drained) => {
                    self.end.drained = true;
                    break;
                }
                Err(failure) => self.failed(failure).await?,
            }
        }
        Ok(SinkEnd { position: self.position, last_error: self.last_error.present().cloned(), ..self.end })
    }

    async fn step(&mut self) -> Result<Step, Failure> {
        let Some(id) = self.id else { return self.open().await };
        let Some(outside) = self.outside else { return self.resume().await };
        let Some(mut batch) = self.batch.take() else { return self.look(id, outside).await };
        let advanced = self.advance(id, &mut batch).await;
        if advanced.is_err() {
            self.batch = Some(batch);
        }
        advanced.map(|()| Step::Again)
    }

    async fn open(&mut self) -> Result<Step, Failure> {
        let state = self.parts.journal.open_sink(&self.task.name, self.task.start).await?;
        let passed_over = self.passed_over(state.position).await?;
        announce::start(&self.task.name, &state, &self.fingerprint, &passed_over);
        self.id = Some(state.id);
        self.position = state.position;
        self.task.sink.use_generation(state.generation);
        if let Some(memo) = &state.memo {
            self.task.sink.remember(memo);
        }
        self.batch = state.plan.map(|plan| Batch::left_behind(plan, &self.fingerprint));
        Ok(Step::Again)
    }

    async fn resume(&mut self) -> Result<Step, Failure> {
        let journal = self.parts.journal.identity().await?;
        let outside = self.task.sink.resume(&journal).await?.unwrap_or(0);
        outside::expect_known(&self.task.name, outside, *self.head.borrow())?;
        if outside > self.position {
            tracing::info!(
                sink = self.task.name,
                position = self.position,
                outside,
                "the outside is further than the journal knows; what lies between is counted and not written again"
            );
        }
        // What is outside for good cannot be given up, whatever the settings are now: it is counted.
        if let Some(batch) = self.batch.as_mut().filter(|batch| batch.range.last <= outside) {
            batch.wanted = true;
        }
        self.outside = Some(outside);
        Ok(Step::Again)
    }

    async fn passed_over(&mut self, position: Seq) -> Result<PassedOver, Failure> {
        let sources = self.parts.journal.sources().await?;
        let others: Vec<_> = sources.iter().filter(|source| !self.sources.is_routed(source)).collect();
        let ids = others.iter().map(|source| source.id).collect();
        let all = i64::MAX.unsigned_abs();
        let events = self.parts.journal.next_batch(position, ids, all, all).await?.events;
        let names = others.iter().map(|source| source.name.clone()).collect();
        self.sources.update(sources)?;
        Ok(PassedOver { events, sources: names })
    }

    // --- between batches ---

    /// Looks what is pending, and decides.
    async fn look(&mut self, id: SinkId, outside: Seq) -> Result<Step, Failure> {
        let draining = self.parts.drain.is_cancelled();
        self.head.borrow_and_update();
        let limits = outside::limits(self.task.batch, outside, self.position);
        let ids = self.sources.ids();
        let pending = self.parts.journal.next_batch(self.position, ids, limits.max_events, limits.max_bytes).await?;
        // A source that registered just now may have events in what was taken for events of others.
        if self.sources.update(self.parts.journal.sources().await?)? {
            return Ok(Step::Again);
        }
        let now = self.parts.clock.now();
        let seen_since = *self.seen_since.get_or_insert(now);
        match closing::next(&pending, &limits, seen_since, now, draining) {
            Next::Deliver => self.batch = Some(Batch::up_to(&pending, outside)),
            Next::PassOver => self.finish(id, BatchCommit { position: pending.last, ..BatchCommit::default() }).await?,
            Next::WaitUntil(due) => return Ok(self.idle(Some(due)).await),
            Next::Idle => {
                self.seen_since = None;
                let wait = self.idle(None).await;
                return Ok(if draining { Step::Drained } else { wait });
            }
        }
        Ok(Step::Again)
    }

    async fn idle(&mut self, due: Option<Timestamp>) -> Step {
        self.succeeded().await;
        Step::Wait(due)
    }

    // --- one batch ---

    /// Takes a batch to its end, from wherever it stands.
    async fn advance(&mut self, id: SinkId, batch: &mut Batch) -> Result<(), Failure> {
        if let Some(delivery) = &batch.written {
            return self.finish(id, delivery.clone()).await;
        }
        self.undo(batch).await?;
        if !batch.wanted {
            return Ok(self.parts.journal.abort_batch(id).await?);
        }
        let delivery = match self.write(id, batch).await {
            Ok(delivery) => delivery,
            Err(failure) => {
                self.undo_early(batch).await;
                return Err(failure);
            }
        };
        batch.written = Some(delivery.clone());
        self.end.batches += 1;
        self.finish(id, delivery).await
    }

    async fn undo(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        if batch.touched {
            let outputs = dead_letter::undo(&self.task.dead_letter, &batch.outputs)?;
            self.task.sink.undo(&outputs).await?;
            batch.touched = false;
        }
        Ok(())
    }

    /// Undoes at once, so that readers of the outside do not see half a batch during the wait. If that fails too, it is
    /// done before the next attempt.
    async fn undo_early(&mut self, batch: &mut Batch) {
        if let Err(failure) = self.undo(batch).await {
            tracing::debug!(sink = self.task.name, ?failure, "the unfinished batch cannot be undone yet");
        }
    }

    async fn write(&mut self, id: SinkId, batch: &mut Batch) -> Result<BatchCommit, Failure> {
        let journal = self.parts.journal.as_ref();
        let range = batch.range;
        if !batch.planned {
            journal.prepare_batch(id, range.first, range.last, self.fingerprint.clone()).await?;
            batch.planned = true;
        }
        batch.touched = true;
        let mut writer = BatchWriter {
            journal,
            sources: &self.sources,
            sink: self.task.sink.as_mut(),
            recorder: Recorder::new(journal, id, &mut batch.outputs),
            dead_letter: DeadLetter::of_batch(&self.task.name, &self.task.dead_letter),
            filtered: 0,
        };
        let Outcome { read, written, filtered, dead_lettered } = writer.write(range).await?;
        self.check_count(range, batch.events.unwrap_or(read), read)?;
        self.check_count(range, read, written.events + filtered + dead_lettered)?;
        let Written { events: delivered, bytes } = written;
        let memo = self.task.sink.memo();
        Ok(BatchCommit { position: range.last, delivered, filtered, dead_lettered, bytes, memo })
    }

    fn check_count(&self, range: BatchRange, expected: u64, found: u64) -> Result<(), DeliverError> {
        if expected == found {
            return Ok(());
        }
        let BatchRange { first, last } = range;
        Err(DeliverError::Miscounted { sink: self.task.name.clone(), first, last, expected, found })
    }

    /// What lies up to the delivery's position is delivered or passed over: moves the position.
    async fn finish(&mut self, id: SinkId, delivery: BatchCommit) -> Result<(), Failure> {
        let BatchCommit { position, delivered, filtered, dead_lettered, bytes, .. } = delivery;
        self.parts.journal.commit_batch(id, delivery).await?;
        tracing::debug!(sink = self.task.name, position, delivered, filtered, bytes, "the position has moved");
        if dead_lettered > 0 {
            let file = self.task.dead_letter.display();
            tracing::warn!(sink = self.task.name, events = dead_lettered, %file, "events were refused for good; they are in the dead letter, with the reason");
        }
        self.position = position;
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
        let journal = self.parts.journal.as_ref();
        self.last_error.clear(journal, (&self.task.name, self.id), self.parts.clock.now()).await;
    }

    async fn failed(&mut self, failure: Failure) -> Result<(), DeliverError> {
        match failure {
            Failure::Transient { message, hint } => {
                self.raise(message, hint).await;
                let wait = self.backoff.next();
                self.pause(wait).await;
                Ok(())
            }
            Failure::Again { reason } => {
                tracing::debug!(sink = self.task.name, reason, "the sink wants the batch again");
                Ok(())
            }
            Failure::Fatal(error) => {
                self.raise(
                    error.to_string(),
                    "the sink has stopped; start auditflow again once that is done".to_owned(),
                )
                .await;
                Err(error)
            }
        }
    }

    async fn raise(&mut self, message: String, hint: String) {
        let journal = self.parts.journal.as_ref();
        let now = self.parts.clock.now();
        self.last_error.raise(journal, (&self.task.name, self.id), message, hint, now).await;
    }

    async fn pause(&mut self, wait: Duration) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.parts.shutdown.cancelled() => {}
        }
    }

    /// Until there is more to look at: more events, the time that was named, or a signal.
    async fn wait(&mut self, due: Option<Timestamp>) {
        let wait = due.map(|due| due.since(self.parts.clock.now()).min(LONGEST_WAIT));
        let sleep = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Ok(()) = self.head.changed() => {}
            () = sleep => {}
            () = self.parts.drain.cancelled() => {}
            () = self.parts.shutdown.cancelled() => {}
        }
    }
}

/// The sink's own settings, its inputs and the filters before it: all say which bytes a range comes to.
fn fingerprint(task: &SinkTask) -> String {
    let mut routes: Vec<_> = task.routes.iter().map(fingerprint_of_route).collect();
    routes.sort_unstable();
    format!("{} inputs={}", task.sink.fingerprint(), routes.join(","))
}

fn fingerprint_of_route(route: &Route) -> String {
    let Route { source, form, condition } = route;
    match condition {
        Some(condition) => format!("{source}={form:?} if {condition}"),
        None => format!("{source}={form:?}"),
    }
}
