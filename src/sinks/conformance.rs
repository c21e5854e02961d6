//! The suite that every sink passes. It uses only the trait and what is left in the target.
//!
//! A batch is interrupted after each of its steps. The target is rolled back by the same sink, by a new one (a restart) and by
//! one with another configuration; then the batch is written again. The target must look as before, and then as if nothing
//! had happened. A sink that ignores its generation or its stored state does not pass: the last tests here prove that.

use std::collections::{BTreeMap, BTreeSet};

use super::testing::{MemoryLog, event};
use super::{BatchRange, Committed, EventForm, Sink, StoredPosition, WriteOutcome};
use crate::event::EventId;
use crate::journal::Seq;

const JOURNAL: &str = "00112233445566778899aabbccddeeff";

/// Events per batch.
const EVENTS: u64 = 60;

/// A target, and sinks that write to it.
pub(crate) trait Fixture {
    /// Whether a rollback removes what the batch wrote. If not (a topic, a terminal), it stays and may be written again.
    const ROLLS_BACK: bool = true;

    /// Whether the target keeps the position, so that a batch that it already has is not written again.
    const KEEPS_POSITION: bool = false;

    /// An empty target.
    fn new() -> Self;
    /// The sink under test, as after a restart.
    fn sink(&self) -> Box<dyn Sink>;
    /// The same sink with another configuration.
    fn reconfigured(&self) -> Box<dyn Sink>;
    /// Everything in the target: name and bytes.
    fn contents(&self) -> BTreeMap<String, Vec<u8>>;
    /// The event lines in the target, decompressed, in any order.
    fn lines(&self) -> Vec<String>;
}

/// The step after which a batch is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Begin,
    Write,
    Flush,
    SecondFlush,
    Commit,
}

const STOPS: [Stop; 5] = [Stop::Begin, Stop::Write, Stop::Flush, Stop::SecondFlush, Stop::Commit];

/// The sink that rolls back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restart {
    None,
    Same,
    Reconfigured,
}

async fn open(sink: &mut dyn Sink, generation: u64, state: Option<&str>) -> Option<Seq> {
    let stored = StoredPosition { journal: JOURNAL, generation, state, position: 0, up_to: Seq::MAX };
    sink.recover_position(stored).await.expect("opened")
}

async fn opened(mut sink: Box<dyn Sink>, generation: u64, state: Option<&str>) -> Box<dyn Sink> {
    open(sink.as_mut(), generation, state).await;
    sink
}

/// Writes a third of a batch.
fn write_part(sink: &mut dyn Sink, batch: u64, part: u64) -> Option<EventId> {
    let mut last = None;
    for number in 0..20 {
        let seq = batch * EVENTS + part * 20 + number + 1;
        let raw = format!(r#"{{"batch":{batch},"part":{part},"number":{number}}}"#);
        let day = 1 + (number + batch + part) % 2;
        let event = event(&raw, &format!("2026-01-0{day}T00:00:00Z"));
        last = Some(event.id);
        let outcome = sink.write(seq, &event, EventForm::Normalized).expect("encoded");
        assert!(!matches!(outcome, WriteOutcome::Rejected { .. }), "{outcome:?}");
    }
    last
}

async fn write(sink: &mut dyn Sink, batch: u64, log: &mut MemoryLog, stop: Stop) -> Option<Committed> {
    sink.begin(range(batch));
    if stop == Stop::Begin {
        return None;
    }
    for part in 0..2 {
        write_part(sink, batch, part);
        if stop == Stop::Write {
            return None;
        }
        sink.flush(log).await.expect("flushed");
        if stop == Stop::Flush || (stop == Stop::SecondFlush && part == 1) {
            return None;
        }
    }
    let last_event = write_part(sink, batch, 2);
    Some(sink.commit(last_event, log).await.expect("committed"))
}

fn range(batch: u64) -> BatchRange {
    BatchRange { first: batch * EVENTS + 1, last: (batch + 1) * EVENTS }
}

async fn committed(sink: &mut dyn Sink, batch: u64) -> Committed {
    write(sink, batch, &mut MemoryLog::default(), Stop::Commit).await.expect("not interrupted")
}

/// Fingerprints are stable, and differ between configurations.
async fn fingerprints_identify_the_configuration<F: Fixture>() {
    let fixture = F::new();
    assert_eq!(fixture.sink().fingerprint(), fixture.sink().fingerprint());
    assert_ne!(fixture.sink().fingerprint(), fixture.reconfigured().fingerprint());
    assert!(!fixture.sink().fingerprint().is_empty());
}

/// A health check changes nothing.
async fn healthcheck_leaves_nothing<F: Fixture>() {
    let fixture = F::new();
    let before = fixture.contents();
    let stored = StoredPosition { journal: JOURNAL, generation: 0, state: None, position: 0, up_to: 0 };
    fixture.sink().healthcheck(stored).await.expect("healthy");
    assert_eq!(fixture.contents(), before);
}

/// Every event of every batch is written once, and the counters agree.
async fn writes_every_event_once<F: Fixture>() {
    let fixture = F::new();
    let mut sink = opened(fixture.sink(), 0, None).await;
    for batch in 0..3 {
        assert_eq!(committed(sink.as_mut(), batch).await.events, EVENTS);
    }
    let lines = fixture.lines();
    assert_eq!(lines.len(), 180);
    assert_eq!(lines.into_iter().collect::<BTreeSet<_>>().len(), 180);
}

/// The bytes that a batch adds are the bytes that it reports.
async fn counts_its_bytes<F: Fixture>() {
    let fixture = F::new();
    let size = |fixture: &F| fixture.contents().values().map(|bytes| bytes.len() as u64).sum::<u64>();
    let mut sink = opened(fixture.sink(), 0, None).await;
    let first = committed(sink.as_mut(), 0).await;
    assert_eq!(size(&fixture), first.bytes);
    let second = committed(sink.as_mut(), 1).await;
    assert_eq!(size(&fixture), first.bytes + second.bytes);
}

async fn an_interrupted_batch_is_rolled_back<F: Fixture>(stop: Stop, restart: Restart, first_batch: bool) {
    let (fixture, untouched) = (F::new(), F::new());
    let (mut sink, mut steady) = (opened(fixture.sink(), 0, None).await, opened(untouched.sink(), 0, None).await);
    let mut state = None;
    if !first_batch {
        state = committed(sink.as_mut(), 0).await.state;
        committed(steady.as_mut(), 0).await;
    }
    let before = fixture.contents();
    let mut log = MemoryLog::default();
    write(sink.as_mut(), 1, &mut log, stop).await;
    match restart {
        Restart::None => {}
        Restart::Same => sink = opened(fixture.sink(), 0, state.as_deref()).await,
        Restart::Reconfigured => sink = opened(fixture.reconfigured(), 0, state.as_deref()).await,
    }
    for _ in 0..2 {
        sink.rollback(&log.records()).await.expect("rolled back");
        assert_eq!(fixture.contents(), before, "{stop:?} {restart:?}");
    }
    if restart != Restart::Reconfigured {
        committed(sink.as_mut(), 1).await;
        committed(steady.as_mut(), 1).await;
        assert_eq!(fixture.contents(), untouched.contents(), "{stop:?} {restart:?}");
    }
}

/// A batch that is written again leaves the same as one that was not interrupted, and the second attempt can be rolled back.
async fn an_interrupted_batch_is_written_again<F: Fixture>(stop: Stop, restart: Restart, second_stop: Option<Stop>) {
    let (fixture, untouched) = (F::new(), F::new());
    let (mut sink, mut steady) = (opened(fixture.sink(), 0, None).await, opened(untouched.sink(), 0, None).await);
    let state = committed(sink.as_mut(), 0).await.state;
    committed(steady.as_mut(), 0).await;
    let before = fixture.contents();
    let mut log = MemoryLog::default();
    write(sink.as_mut(), 1, &mut log, stop).await;
    if restart == Restart::Same {
        sink = opened(fixture.sink(), 0, state.as_deref()).await;
    }
    sink.prepare_retry(&log.records()).await.expect("prepared");
    if let Some(second_stop) = second_stop {
        write(sink.as_mut(), 1, &mut log, second_stop).await;
        sink = opened(fixture.reconfigured(), 0, state.as_deref()).await;
        sink.rollback(&log.records()).await.expect("rolled back");
        assert_eq!(fixture.contents(), before, "{stop:?} {restart:?} {second_stop:?}");
        return;
    }
    write(sink.as_mut(), 1, &mut log, Stop::Commit).await;
    committed(steady.as_mut(), 1).await;
    assert_eq!(fixture.contents(), untouched.contents(), "{stop:?} {restart:?}");
}

/// After a restart with the state of the last commit, the sink continues exactly as it would have without one.
async fn continues_after_a_restart<F: Fixture>() {
    let (fixture, untouched) = (F::new(), F::new());
    let mut steady = opened(untouched.sink(), 0, None).await;
    let mut state = None;
    for batch in 0..3 {
        let mut sink = opened(fixture.sink(), 0, state.as_deref()).await;
        state = committed(sink.as_mut(), batch).await.state.or(state);
        committed(steady.as_mut(), batch).await;
    }
    let (restarted, steady) = (fixture.contents(), untouched.contents());
    assert_eq!(restarted, steady, "the sink ignores the stored state");
}

/// A redelivery: the same range in a new generation is written again, and leaves what is there untouched.
async fn a_new_generation_overwrites_nothing<F: Fixture>() {
    let fixture = F::new();
    let mut sink = opened(fixture.sink(), 0, None).await;
    let state = committed(sink.as_mut(), 0).await.state;
    let before = fixture.contents();
    for generation in [1, 2] {
        let mut again = fixture.sink();
        let position = open(again.as_mut(), generation, state.as_deref()).await;
        assert!(
            position.is_none_or(|position| position == 0),
            "the position is of an earlier generation: {position:?}"
        );
        let mut log = MemoryLog::default();
        let events = write(again.as_mut(), 0, &mut log, Stop::Commit).await.expect("not interrupted").events;
        assert_eq!(events, EVENTS);
        let copies = usize::try_from(EVENTS * (generation + 1)).expect("few");
        assert_eq!(fixture.lines().len(), copies, "the sink ignores the generation");
        if F::ROLLS_BACK && generation == 1 {
            again.rollback(&log.records()).await.expect("rolled back");
            assert_eq!(fixture.contents(), before, "the sink ignores the generation");
            open(again.as_mut(), generation, state.as_deref()).await;
            committed(again.as_mut(), 0).await;
        }
    }
}

/// The target keeps the position: a batch that it has is counted and not written again.
async fn recovers_the_position<F: Fixture>() {
    let fixture = F::new();
    let mut sink = fixture.sink();
    assert_eq!(open(sink.as_mut(), 0, None).await, Some(0));
    committed(sink.as_mut(), 0).await;
    let mut restarted = fixture.sink();
    assert_eq!(open(restarted.as_mut(), 0, None).await, Some(EVENTS));
    assert_eq!(committed(restarted.as_mut(), 0).await.events, EVENTS);
    assert_eq!(fixture.lines().len(), 60);
}

/// If the rollback record cannot be stored, the target is not touched.
async fn touches_nothing_that_is_not_recorded<F: Fixture>() {
    let fixture = F::new();
    let mut sink = opened(fixture.sink(), 0, None).await;
    sink.begin(range(0));
    write_part(sink.as_mut(), 0, 0);
    sink.flush(&mut MemoryLog::failing()).await.expect_err("the rollback record cannot be stored");
    assert_eq!(fixture.contents(), BTreeMap::new());
}

/// All outputs that a flush touches for the first time are recorded in one call, and no output twice.
async fn records_once_per_flush<F: Fixture>() {
    let fixture = F::new();
    let mut sink = opened(fixture.sink(), 0, None).await;
    let mut log = MemoryLog::default();
    write(sink.as_mut(), 0, &mut log, Stop::Commit).await;
    let calls = log.calls();
    let names: Vec<_> = log.records().iter().map(ToString::to_string).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    assert!(calls.len() <= 3 && calls.iter().all(|call| !call.is_empty()), "{calls:?}");
}

/// A batch whose events were all filtered leaves nothing in the target, and the next one is written as usual.
async fn accepts_a_batch_without_events<F: Fixture>() {
    let fixture = F::new();
    let mut sink = opened(fixture.sink(), 0, None).await;
    let mut log = MemoryLog::default();
    sink.begin(range(0));
    let empty = sink.commit(None, &mut log).await.expect("committed");
    assert_eq!((empty.events, empty.bytes, log.records()), (0, 0, Vec::new()));
    assert_eq!(fixture.lines(), Vec::<String>::new());
    assert_eq!(committed(sink.as_mut(), 1).await.events, EVENTS);
    assert_eq!(fixture.lines().len(), 60);
}

/// Runs the whole suite.
pub(crate) async fn passes<F: Fixture>() {
    fingerprints_identify_the_configuration::<F>().await;
    healthcheck_leaves_nothing::<F>().await;
    writes_every_event_once::<F>().await;
    a_new_generation_overwrites_nothing::<F>().await;
    accepts_a_batch_without_events::<F>().await;
    if F::KEEPS_POSITION {
        recovers_the_position::<F>().await;
    }
    if !F::ROLLS_BACK {
        return;
    }
    counts_its_bytes::<F>().await;
    continues_after_a_restart::<F>().await;
    touches_nothing_that_is_not_recorded::<F>().await;
    records_once_per_flush::<F>().await;
    for stop in STOPS {
        for restart in [Restart::None, Restart::Same, Restart::Reconfigured] {
            for first_batch in [true, false] {
                an_interrupted_batch_is_rolled_back::<F>(stop, restart, first_batch).await;
            }
        }
        for restart in [Restart::None, Restart::Same] {
            for second_stop in [None, Some(Stop::Flush), Some(Stop::Commit)] {
                an_interrupted_batch_is_written_again::<F>(stop, restart, second_stop).await;
            }
        }
    }
}

/// A sink in memory that can be made to break the contract.
mod faulty {
    use std::sync::{Arc, Mutex};

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::event::Event;
    use crate::journal::{FileBefore, FileRecord, RollbackRecord};
    use crate::sinks::{RollbackLog, SinkError};

    pub(super) const CORRECT: u8 = 0;
    pub(super) const IGNORES_GENERATION: u8 = 1;
    pub(super) const IGNORES_STATE: u8 = 2;
    pub(super) const IGNORES_ROLLBACK: u8 = 3;

    type Target = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

    /// A target in memory; `DEFECT` is what its sinks do wrong.
    pub(super) struct MemoryTarget<const DEFECT: u8>(Target);

    struct MemorySink<const DEFECT: u8> {
        target: Target,
        fingerprint: String,
        generation: u64,
        /// The name of the object before this one: each object starts with it.
        previous: String,
        /// The last event and the name of the newest object. The next batch shows whether it was kept.
        latest: Option<(Seq, String)>,
        range: BatchRange,
        lines: Vec<u8>,
        events: u64,
        is_recorded: bool,
    }

    impl<const DEFECT: u8> Fixture for MemoryTarget<DEFECT> {
        fn new() -> Self {
            Self(Target::default())
        }

        fn sink(&self) -> Box<dyn Sink> {
            Box::new(MemorySink::<DEFECT>::new(&self.0, "memory"))
        }

        fn reconfigured(&self) -> Box<dyn Sink> {
            Box::new(MemorySink::<DEFECT>::new(&self.0, "other"))
        }

        fn contents(&self) -> BTreeMap<String, Vec<u8>> {
            self.0.lock().expect("not poisoned").clone()
        }

        fn lines(&self) -> Vec<String> {
            let texts = self.contents().into_values().map(|bytes| String::from_utf8(bytes).expect("text"));
            texts.flat_map(|text| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()).collect()
        }
    }

    impl<const DEFECT: u8> MemorySink<DEFECT> {
        fn new(target: &Target, fingerprint: &str) -> Self {
            Self {
                target: Arc::clone(target),
                fingerprint: fingerprint.to_owned(),
                generation: 0,
                previous: String::new(),
                latest: None,
                range: range(0),
                lines: Vec::new(),
                events: 0,
                is_recorded: false,
            }
        }

        fn name(&self) -> String {
            format!("/{}-{}", self.generation, self.range.first)
        }

        async fn record(&mut self, log: &mut dyn RollbackLog) -> Result<(), SinkError> {
            if !self.is_recorded {
                let before = FileBefore::Absent { first_new_directory: None };
                log.record(vec![RollbackRecord::File(FileRecord { path: self.name().into(), before })]).await?;
                self.is_recorded = true;
            }
            Ok(())
        }
    }

    impl<const DEFECT: u8> Sink for MemorySink<DEFECT> {
        fn fingerprint(&self) -> &str {
            &self.fingerprint
        }

        fn healthcheck<'a>(&'a mut self, _stored: StoredPosition<'a>) -> BoxFuture<'a, Result<(), SinkError>> {
            Box::pin(std::future::ready(Ok(())))
        }

        fn recover_position<'a>(
            &'a mut self,
            stored: StoredPosition<'a>,
        ) -> BoxFuture<'a, Result<Option<Seq>, SinkError>> {
            if DEFECT != IGNORES_GENERATION {
                self.generation = stored.generation;
            }
            if DEFECT != IGNORES_STATE {
                stored.state.unwrap_or_default().clone_into(&mut self.previous);
            }
            Box::pin(std::future::ready(Ok(None)))
        }

        fn adopt<'a>(&'a mut self, _stored: StoredPosition<'a>) -> BoxFuture<'a, Result<(), SinkError>> {
            Box::pin(std::future::ready(Ok(())))
        }

        fn begin(&mut self, range: BatchRange) {
            if let Some((_, name)) = self.latest.take().filter(|(last, _)| *last < range.first) {
                self.previous = name;
            }
            self.range = range;
            self.lines.clear();
            self.events = 0;
            self.is_recorded = false;
        }

        fn write(&mut self, _seq: Seq, event: &Event<'_>, _form: EventForm) -> Result<WriteOutcome, SinkError> {
            self.lines.extend_from_slice(event.raw.as_bytes());
            self.lines.push(b'\n');
            self.events += 1;
            Ok(WriteOutcome::Buffered)
        }

        fn flush<'a>(&'a mut self, log: &'a mut dyn RollbackLog) -> BoxFuture<'a, Result<(), SinkError>> {
            Box::pin(self.record(log))
        }

        fn commit<'a>(
            &'a mut self,
            _last_event: Option<EventId>,
            log: &'a mut dyn RollbackLog,
        ) -> BoxFuture<'a, Result<Committed, SinkError>> {
            Box::pin(async move {
                if self.lines.is_empty() {
                    return Ok(Committed::default());
                }
                self.record(log).await?;
                let name = self.name();
                let object = [self.previous.as_bytes(), b"\n", &self.lines].concat();
                let bytes = object.len() as u64;
                self.target.lock().expect("not poisoned").insert(name.clone(), object);
                self.latest = Some((self.range.last, name.clone()));
                Ok(Committed { events: self.events, bytes, state: Some(name) })
            })
        }

        fn prepare_retry<'a>(&'a mut self, records: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>> {
            self.rollback(records)
        }

        fn rollback<'a>(&'a mut self, records: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>> {
            for record in records.iter().filter(|_| DEFECT != IGNORES_ROLLBACK) {
                self.target.lock().expect("not poisoned").remove(&record.to_string());
            }
            Box::pin(std::future::ready(Ok(())))
        }
    }
}

#[tokio::test]
async fn a_correct_sink_passes() {
    passes::<faulty::MemoryTarget<{ faulty::CORRECT }>>().await;
}

#[tokio::test]
#[should_panic(expected = "the sink ignores the generation")]
async fn a_sink_that_ignores_the_generation_fails() {
    passes::<faulty::MemoryTarget<{ faulty::IGNORES_GENERATION }>>().await;
}

#[tokio::test]
#[should_panic(expected = "the sink ignores the stored state")]
async fn a_sink_that_ignores_the_stored_state_fails() {
    passes::<faulty::MemoryTarget<{ faulty::IGNORES_STATE }>>().await;
}

#[tokio::test]
#[should_panic(expected = "Commit")]
async fn a_sink_that_does_not_roll_back_fails() {
    an_interrupted_batch_is_rolled_back::<faulty::MemoryTarget<{ faulty::IGNORES_ROLLBACK }>>(
        Stop::Commit,
        Restart::None,
        true,
    )
    .await;
}
