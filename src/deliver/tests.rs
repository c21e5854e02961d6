//! The deliver loop on the real journal, with a sink that fails, hangs or miscounts where the test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::{ManualClock, SharedClock};
use crate::event::{Event, EventId};
use crate::journal::{
    AfterPage, BlockBuilder, CollectJournal, Completion, DeliverJournal, FileBefore, FileRecord, JournalOptions,
    LatenessCounts, LogReader, NewWindow, PageCommit, RequestCounts, RollbackRecord, SeenKey, Seq, SinkStart,
    SinkStats, SourceId, SourceRegistration, SqliteJournal, WindowKind,
};
use crate::sinks::registry::SinkConfig;
use crate::sinks::{
    BatchOptions, BatchRange, Committed, EventForm, RollbackLog, Sink, SinkError, StoredPosition, WriteOutcome,
};
use crate::time::{TimeRange, Timestamp};
use crate::transform::condition::Condition;
use crate::transform::redact::Redactions;
use crate::units::ByteSize;
use crate::vendors::NormalizerConfig;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

// --- a journal with events in it ---

struct TestJournal {
    journal: Arc<SqliteJournal>,
    clock: SharedClock,
    drain: CancellationToken,
    shutdown: CancellationToken,
    _directory: tempfile::TempDir,
}

impl TestJournal {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let options = JournalOptions { data_dir: directory.path().to_owned(), max_size: ByteSize(1 << 30) };
        Self {
            journal: Arc::new(SqliteJournal::open(&options).expect("a journal")),
            clock: Arc::new(ManualClock::starting_at(START)),
            drain: CancellationToken::new(),
            shutdown: CancellationToken::new(),
            _directory: directory,
        }
    }

    fn context(&self) -> SinkContext {
        SinkContext {
            journal: Arc::clone(&self.journal) as Arc<dyn DeliverJournal>,
            clock: Arc::clone(&self.clock),
            rng_seed: 7,
            drain: self.drain.clone(),
            shutdown: self.shutdown.clone(),
        }
    }

    async fn source(&self, name: &str) -> SourceId {
        let registration = SourceRegistration {
            name: name.to_owned(),
            vendor: "clumio".to_owned(),
            normalizer_config: NormalizerConfig::default(),
            now: START,
        };
        self.journal.open_source(registration).await.expect("registered").id
    }

    /// Appends one block of the records `<name> <from>`, `<name> <from + 1>` ... as one complete window.
    async fn append(&self, source: SourceId, name: &str, records: std::ops::Range<u32>) {
        let hour = |number: u32| START + Duration::from_secs(3_600 * u64::from(number));
        let covers = TimeRange::new(hour(records.start), hour(records.end));
        let window = NewWindow { kind: WindowKind::Live, covers, fetch_range: covers, kept: TimeRange::ALL };
        let id = self.journal.add_windows(source, vec![window]).await.expect("added")[0];
        let mut block = BlockBuilder::new(self.clock.now(), 0);
        let raws: Vec<_> = records.map(|number| (number, record(name, number))).collect();
        for (number, raw) in &raws {
            let key = SeenKey {
                id: EventId::of_key("clumio", None, raw),
                version: 0,
                timestamp: Some(hour(*number)),
                content: 0,
            };
            block.push(raw, key, 0);
        }
        let page = PageCommit {
            window: id,
            block: block.finish().expect("compressed"),
            requests: RequestCounts::succeeded(1),
            lateness: LatenessCounts::default(),
            evidence: Vec::new(),
            then: AfterPage::Complete(Completion::covered(covers, self.clock.now())),
        };
        self.journal.commit_page(page).await.expect("committed");
    }

    async fn stats(&self) -> SinkStats {
        self.journal.stats().await.expect("stats").sinks.remove(0)
    }
}

fn record(name: &str, number: u32) -> String {
    format!("{{\"{name}\":{number}}}")
}

fn records(name: &str, numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| record(name, number)).collect()
}

// --- a sink that writes to memory and fails on demand ---

/// What the sink does at one of its points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Fail,
    /// Does not return: the process was killed here.
    Hang,
}

/// The target: named lists of lines, and the points that sinks have passed.
#[derive(Debug, Default)]
struct TargetState {
    lists: BTreeMap<String, Vec<String>>,
    points: u32,
    script: Vec<(u32, Action)>,
    batches: Vec<BatchRange>,
    /// The generation and the state that each sink was opened with.
    opened: Vec<(u64, Option<String>)>,
}

#[derive(Clone, Debug)]
struct MemoryTarget {
    state: Arc<Mutex<TargetState>>,
    hung: watch::Sender<bool>,
    lines: watch::Sender<usize>,
}

impl MemoryTarget {
    fn new(script: &[(u32, Action)]) -> Self {
        let state = TargetState { script: script.to_vec(), ..TargetState::default() };
        Self { state: Arc::new(Mutex::new(state)), hung: watch::Sender::new(false), lines: watch::Sender::new(0) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, TargetState> {
        self.state.lock().expect("not poisoned")
    }

    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.lock().lists.values().flatten().cloned().collect();
        lines.sort_by_key(|line| (line.len(), line.clone()));
        lines
    }

    fn sink(&self, name: &str) -> ScriptedSink {
        ScriptedSink {
            target: self.clone(),
            name: name.to_owned(),
            lines: Vec::new(),
            committed: Committed::default(),
            is_recorded: false,
            miscounts: false,
            position: None,
            rejects: None,
        }
    }

    async fn has_lines(&self, count: usize) {
        self.lines.subscribe().wait_for(|lines| *lines >= count).await.expect("the target exists");
    }
}

#[derive(Debug)]
struct ScriptedSink {
    target: MemoryTarget,
    /// The list that it writes to, and its config.
    name: String,
    lines: Vec<String>,
    committed: Committed,
    is_recorded: bool,
    miscounts: bool,
    /// The position that the target stores.
    position: Option<Seq>,
    /// Records with this text are rejected.
    rejects: Option<&'static str>,
}

impl ScriptedSink {
    /// A point where the script may make it fail or hang.
    async fn point(&self) -> Result<(), SinkError> {
        let action = {
            let mut target = self.target.lock();
            target.points += 1;
            let here = target.points;
            target.script.iter().find(|(point, _)| *point == here).map(|(_, action)| *action)
        };
        match action {
            None => Ok(()),
            Some(Action::Fail) => {
                Err(SinkError::Transient { message: "the disk is full".to_owned(), hint: "free space".to_owned() })
            }
            Some(Action::Hang) => {
                self.target.hung.send_replace(true);
                std::future::pending().await
            }
        }
    }

    async fn write_out(&mut self, log: &mut dyn RollbackLog) -> Result<(), SinkError> {
        self.point().await?;
        if !self.is_recorded {
            let length = self.target.lock().lists.get(&self.name).map_or(0, Vec::len) as u64;
            let before = FileBefore::Existing { length, tail_hash: String::new() };
            log.record(vec![RollbackRecord::File(FileRecord { path: self.name.clone().into(), before })]).await?;
            self.is_recorded = true;
        }
        for line in std::mem::take(&mut self.lines) {
            self.target.lock().lists.entry(self.name.clone()).or_default().push(line);
            self.committed.events += 1;
            self.committed.bytes += 1;
        }
        self.point().await
    }
}

impl Sink for ScriptedSink {
    fn fingerprint(&self) -> &str {
        &self.name
    }

    fn healthcheck<'a>(&'a mut self, _stored: StoredPosition<'a>) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn adopt<'a>(&'a mut self, _stored: StoredPosition<'a>) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn recover_position<'a>(&'a mut self, stored: StoredPosition<'a>) -> BoxFuture<'a, Result<Option<Seq>, SinkError>> {
        self.target.lock().opened.push((stored.generation, stored.state.map(str::to_owned)));
        Box::pin(std::future::ready(Ok(self.position)))
    }

    fn begin(&mut self, range: BatchRange) {
        self.lines.clear();
        self.committed = Committed { state: Some(format!("batch {}", range.first)), ..Committed::default() };
        self.is_recorded = false;
        self.target.lock().batches.push(range);
    }

    /// Asks for a flush every few events.
    fn write(&mut self, _seq: Seq, event: &Event<'_>, form: EventForm) -> Result<WriteOutcome, SinkError> {
        if self.rejects.is_some_and(|text| event.raw.contains(text)) {
            return Ok(WriteOutcome::Rejected { reason: "too large".to_owned() });
        }
        let mark = if form == EventForm::Raw { "" } else { "normalized " };
        self.lines.push(format!("{mark}{}", event.raw));
        Ok(if self.lines.len() > 4 { WriteOutcome::FlushDue } else { WriteOutcome::Buffered })
    }

    fn flush<'a>(&'a mut self, log: &'a mut dyn RollbackLog) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.write_out(log))
    }

    fn commit<'a>(
        &'a mut self,
        _last_event: Option<EventId>,
        log: &'a mut dyn RollbackLog,
    ) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(async move {
            self.write_out(log).await?;
            self.point().await?;
            let lines = self.target.lock().lists.values().map(Vec::len).sum();
            self.target.lines.send_replace(lines);
            self.committed.events -= u64::from(self.miscounts);
            Ok(self.committed.clone())
        })
    }

    fn prepare_retry<'a>(&'a mut self, records: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>> {
        self.rollback(records)
    }

    fn rollback<'a>(&'a mut self, records: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.point().await?;
            for record in records {
                let RollbackRecord::File(FileRecord { path, before: FileBefore::Existing { length, .. } }) = record
                else {
                    panic!("{record:?} was not recorded by this sink")
                };
                let list = path.to_str().expect("a name").to_owned();
                let length = usize::try_from(*length).expect("few");
                self.target.lock().lists.entry(list).or_default().truncate(length);
            }
            self.point().await
        })
    }
}

fn task(sink: ScriptedSink, sources: &[&str]) -> SinkTask {
    let routes = sources
        .iter()
        .map(|source| Route {
            source: (*source).to_owned(),
            form: EventForm::Raw,
            condition: None,
            redactions: Redactions::default(),
        })
        .collect();
    SinkTask {
        name: "lake".to_owned(),
        sink: Box::new(sink),
        routes,
        batch: BatchOptions { max_events: 10, max_bytes: 1 << 20, timeout: Duration::from_secs(900) },
        start: SinkStart::Beginning,
        dead_letter: std::env::temp_dir().join("auditflow-no-dead-letter.ndjson"),
    }
}

/// Runs to the end, or until the sink hangs: then everything in memory is dropped.
async fn run_until_hung(task: SinkTask, context: SinkContext, target: &MemoryTarget) -> Option<SinkEnd> {
    let mut hung = target.hung.subscribe();
    tokio::select! {
        end = run(task, context) => Some(end.expect("no error")),
        true = async { hung.wait_for(|hung| *hung).await.is_ok() } => {
            target.hung.send_replace(false);
            None
        }
    }
}

// --- the tests ---

/// The real sink on the real journal, on several threads as in the program.
#[tokio::test(flavor = "multi_thread")]
async fn fills_files() {
    let (journal, files) = (TestJournal::new(), tempfile::tempdir().expect("a directory"));
    let (a, b) = (journal.source("a").await, journal.source("b").await);
    journal.append(a, "a", 0..25).await;
    journal.append(b, "b", 0..7).await;
    journal.drain.cancel();
    let path = files.path().join("{{ source }}.ndjson").display().to_string();
    let config = serde_json::json!({"path": path});
    let config = SinkConfig::read("file", config).expect("a type").expect("a config");
    let mut task = task(MemoryTarget::new(&[]).sink("x"), &["a", "b"]);
    task.sink = config
        .build(Arc::clone(&journal.clock), crate::sinks::registry::SinkName { pipeline: "p", sink: "s" })
        .expect("a sink");
    let end = run(task, journal.context()).await.expect("delivered");
    let lines = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(files.path().join(name)).expect("a file");
        text.lines().map(str::to_owned).collect()
    };
    assert_eq!((lines("a.ndjson"), lines("b.ndjson")), (records("a", 0..25), records("b", 0..7)));
    assert_eq!((end.delivered, end.drained), (32, true));
}

#[tokio::test(start_paused = true)]
async fn drains_everything_once_and_counts_it() {
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(&[]));
    let source = journal.source("a").await;
    journal.append(source, "a", 0..17).await;
    journal.append(source, "a", 17..25).await;
    journal.drain.cancel();
    let end = run(task(target.sink("x"), &["a"]), journal.context()).await.expect("delivered");
    assert_eq!(target.lock().lists["x"], records("a", 0..25));
    assert_eq!((end.drained, end.delivered, end.batches, end.position), (true, 25, 3, 25));
    let summary = journal.stats().await;
    assert_eq!((summary.delivered, summary.bytes, summary.position, summary.last_error), (25, 25, 25, None));
}

/// Fails, fails three times, or is killed at every point of the sink in turn; with and without another config afterwards.
#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_doubled_whatever_fails_and_whenever() {
    for (kind, script_of) in [
        ("fail", (|point| vec![(point, Action::Fail)]) as fn(u32) -> Vec<(u32, Action)>),
        ("fail on", |point| (point..point + 3).map(|point| (point, Action::Fail)).collect()),
        ("kill", |point| vec![(point, Action::Hang)]),
        ("fail, kill", |point| vec![(point, Action::Fail), (point + 1, Action::Hang)]),
        ("kill, fail", |point| vec![(point, Action::Hang), (point + 1, Action::Fail)]),
        ("kill twice", |point| vec![(point, Action::Hang), (point + 2, Action::Hang)]),
    ] {
        for changed in [false, true] {
            let mut point = 1;
            while delivers_all(&script_of(point), changed).await {
                point += 1;
            }
            assert!(point > 10, "{kind}: the sink has only {point} points");
        }
    }
}

/// Returns whether the script's first act was reached.
async fn delivers_all(script: &[(u32, Action)], changed: bool) -> bool {
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(script));
    let source = journal.source("a").await;
    journal.append(source, "a", 0..13).await;
    journal.drain.cancel();
    let mut name = "x";
    let mut delivered = None;
    while delivered.is_none() {
        delivered = run_until_hung(task(target.sink(name), &["a"]), journal.context(), &target).await;
        name = if changed { "y" } else { "x" };
    }
    assert_eq!(target.lines(), records("a", 0..13), "{script:?} {changed}");
    let summary = journal.stats().await;
    assert_eq!((summary.delivered, summary.position, summary.last_error), (13, 13, None), "{script:?} {changed}");
    let points = target.lock().points;
    points >= script[0].0
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_batch_is_repeated_with_the_same_boundaries() {
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(&[(2, Action::Hang)]));
    let source = journal.source("a").await;
    journal.append(source, "a", 0..4).await;
    journal.drain.cancel();
    assert_eq!(run_until_hung(task(target.sink("x"), &["a"]), journal.context(), &target).await, None);
    journal.append(source, "a", 4..8).await;
    run(task(target.sink("x"), &["a"]), journal.context()).await.expect("delivered");
    let ranges: Vec<_> = target.lock().batches.iter().map(|range| (range.first, range.last)).collect();
    assert_eq!(ranges, [(1, 4), (1, 4), (5, 8)]);
}

#[tokio::test(start_paused = true)]
async fn changed_inputs_count_as_a_changed_config() {
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(&[(2, Action::Hang)]));
    let (a, b) = (journal.source("a").await, journal.source("b").await);
    journal.append(a, "a", 0..3).await;
    journal.append(b, "b", 0..3).await;
    journal.drain.cancel();
    assert_eq!(run_until_hung(task(target.sink("x"), &["a"]), journal.context(), &target).await, None);
    run(task(target.sink("x"), &["a", "b"]), journal.context()).await.expect("delivered");
    assert_eq!(target.lines(), [records("a", 0..3), records("b", 0..3)].concat());
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_its_timeout() {
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(&[]));
    let source = journal.source("a").await;
    journal.append(source, "a", 0..3).await;
    let running = tokio::spawn(run(task(target.sink("x"), &["a"]), journal.context()));
    target.has_lines(3).await;
    assert!(journal.clock.now() >= START + Duration::from_secs(900));
    journal.shutdown.cancel();
    let end = running.await.expect("no panic").expect("stopped");
    assert_eq!((end.drained, end.batches), (false, 1));
}

#[tokio::test]
async fn a_full_batch_does_not_wait() {
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(&[]));
    let source = journal.source("a").await;
    let running = tokio::spawn(run(task(target.sink("x"), &["a"]), journal.context()));
    journal.append(source, "a", 0..12).await;
    target.has_lines(10).await;
    assert_eq!(target.lines(), records("a", 0..10));
    journal.shutdown.cancel();
    running.await.expect("no panic").expect("stopped");
}

#[tokio::test(start_paused = true)]
async fn events_of_other_sources_are_skipped_and_do_not_block_trimming() {
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(&[]));
    let (a, b) = (journal.source("a").await, journal.source("b").await);
    journal.append(b, "b", 0..5).await;
    journal.append(a, "a", 0..2).await;
    journal.append(b, "b", 5..9).await;
    journal.drain.cancel();
    let end = run(task(target.sink("x"), &["a"]), journal.context()).await.expect("delivered");
    assert_eq!(target.lines(), records("a", 0..2));
    assert_eq!((end.position, end.delivered), (11, 2));
}

#[tokio::test]
async fn a_source_that_registers_after_the_sink_is_delivered() {
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(&[]));
    let other = journal.source("other").await;
    journal.append(other, "other", 0..3).await;
    let running = tokio::spawn(run(task(target.sink("x"), &["late"]), journal.context()));
    let late = journal.source("late").await;
    journal.append(late, "late", 0..10).await;
    target.has_lines(10).await;
    journal.drain.cancel();
    let end = running.await.expect("no panic").expect("drained");
    assert_eq!((target.lines(), end.drained), (records("late", 0..10), true));
}

#[tokio::test(start_paused = true)]
async fn forms_follow_the_routes() {
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(&[]));
    let source = journal.source("a").await;
    journal.append(source, "a", 0..1).await;
    journal.drain.cancel();
    let mut task = task(target.sink("x"), &["a"]);
    task.routes[0].form = EventForm::Normalized;
    run(task, journal.context()).await.expect("delivered");
    assert_eq!(target.lines(), ["normalized {\"a\":0}"]);
}

fn filtered(mut task: SinkTask, condition: &str) -> SinkTask {
    task.routes[0].condition = Some(Condition::compile(condition).expect(condition));
    task
}

/// Of the records 0 to 24, those with a 3 in them.
#[tokio::test(start_paused = true)]
async fn filtered_events_are_counted_and_move_the_position() {
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(&[]));
    let source = journal.source("a").await;
    journal.append(source, "a", 0..25).await;
    journal.drain.cancel();
    let task = filtered(task(target.sink("x"), &["a"]), "raw.contains('3')");
    let end = run(task, journal.context()).await.expect("delivered");
    assert_eq!(target.lines(), [record("a", 3), record("a", 13), record("a", 23)]);
    assert_eq!((end.delivered, end.filtered, end.position, end.drained), (3, 22, 25, true));
    let summary = journal.stats().await;
    assert_eq!((summary.delivered, summary.filtered, summary.position), (3, 22, 25));
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_every_event_is_filtered_moves_the_position() {
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(&[]));
    let source = journal.source("a").await;
    journal.append(source, "a", 0..25).await;
    journal.drain.cancel();
    let end = run(filtered(task(target.sink("x"), &["a"]), "false"), journal.context()).await.expect("delivered");
    assert_eq!((end.delivered, end.filtered, end.position), (0, 25, 25));
    assert_eq!(target.lines(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_changed_filter_counts_as_a_changed_config() {
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(&[(2, Action::Hang)]));
    let source = journal.source("a").await;
    journal.append(source, "a", 0..3).await;
    journal.drain.cancel();
    let first = filtered(task(target.sink("x"), &["a"]), "raw.contains('1')");
    assert_eq!(run_until_hung(first, journal.context(), &target).await, None);
    let second = filtered(task(target.sink("x"), &["a"]), "raw.contains('2')");
    run(second, journal.context()).await.expect("delivered");
    assert_eq!(target.lines(), [record("a", 2)]);
    assert_eq!((journal.stats().await.delivered, journal.stats().await.filtered), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_new_sink_can_start_at_the_present() {
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(&[]));
    let source = journal.source("a").await;
    journal.append(source, "a", 0..3).await;
    let mut task = task(target.sink("x"), &["a"]);
    task.start = SinkStart::Now;
    task.batch.max_events = 2;
    let running = tokio::spawn(run(task, journal.context()));
    while journal.journal.stats().await.expect("a summary").sinks.is_empty() {}
    journal.append(source, "a", 3..5).await;
    target.has_lines(2).await;
    assert_eq!(target.lines(), records("a", 3..5));
    journal.shutdown.cancel();
    running.await.expect("no panic").expect("stopped");
}

#[tokio::test(start_paused = true)]
async fn an_error_is_stored_while_it_lasts_and_does_not_block_a_shutdown() {
    let script: Vec<_> = (1..500).map(|point| (point, Action::Fail)).collect();
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(&script));
    let source = journal.source("a").await;
    journal.append(source, "a", 0..3).await;
    journal.drain.cancel();
    let running = tokio::spawn(run(task(target.sink("x"), &["a"]), journal.context()));
    while journal.journal.stats().await.expect("a summary").sinks.first().is_none_or(|sink| sink.last_error.is_none()) {
    }
    let last_error = journal.stats().await.last_error.expect("noted");
    assert_eq!((last_error.message.as_str(), last_error.hint.as_str()), ("the disk is full", "free space"));
    journal.shutdown.cancel();
    let end = running.await.expect("no panic").expect("stopped");
    assert_eq!((end.drained, end.last_error), (false, Some(last_error)));

    target.lock().script.clear();
    let again = SinkContext { shutdown: CancellationToken::new(), ..journal.context() };
    let end = run(task(target.sink("x"), &["a"]), again).await.expect("drained");
    assert_eq!((end.drained, end.last_error, journal.stats().await.last_error), (true, None, None));
    assert_eq!(target.lines(), records("a", 0..3));
}

#[tokio::test(start_paused = true)]
async fn the_current_batch_is_finished_on_shutdown_and_no_other_is_started() {
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(&[]));
    let source = journal.source("a").await;
    journal.append(source, "a", 0..35).await;
    let shutdown = journal.shutdown.clone();
    let mut lines = target.lines.subscribe();
    let stopper = tokio::spawn(async move {
        lines.wait_for(|lines| *lines > 0).await.expect("the target exists");
        shutdown.cancel();
    });
    let end = run(task(target.sink("x"), &["a"]), journal.context()).await.expect("stopped");
    stopper.await.expect("no panic");
    assert!(!end.drained && end.delivered % 10 == 0 && end.delivered < 35, "{end:?}");
    assert_eq!(target.lines().len() as u64, end.delivered);
    assert_eq!(journal.stats().await.position, end.delivered);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_miscounts_is_stopped_before_the_position_moves() {
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(&[]));
    let source = journal.source("a").await;
    journal.append(source, "a", 0..3).await;
    journal.drain.cancel();
    let mut sink = target.sink("x");
    sink.miscounts = true;
    let error = run(task(sink, &["a"]), journal.context()).await.expect_err("an error");
    assert!(matches!(error, DeliverError::Miscounted { expected: 3, found: 2, .. }), "{error}");
    assert_eq!(journal.stats().await.position, 0);
    assert_eq!(target.lines(), [""; 0]);
}

/// The journal was restored from an older copy: what it collects from now on must not count as delivered.
#[tokio::test(start_paused = true)]
async fn a_sink_position_beyond_the_journal_stops_the_sink() {
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(&[]));
    let source = journal.source("a").await;
    journal.append(source, "a", 0..20).await;
    journal.drain.cancel();
    let mut sink = target.sink("x");
    sink.position = Some(21);
    let error = run(task(sink, &["a"]), journal.context()).await.expect_err("not of this journal");
    assert!(matches!(&error, DeliverError::Stopped { message, .. } if message.contains("event 21")), "{error}");
    assert_eq!((journal.stats().await.position, target.lines().len()), (0, 0));
}

/// The sink compares the end of what the target has: before that, the position must not move.
#[tokio::test(start_paused = true)]
async fn what_the_position_is_one_batch() {
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(&[]));
    let source = journal.source("a").await;
    journal.append(source, "a", 0..40).await;
    journal.drain.cancel();
    let mut sink = target.sink("x");
    sink.position = Some(25);
    let end = run(task(sink, &["a"]), journal.context()).await.expect("delivered");
    let batches: Vec<_> = target.lock().batches.iter().map(|range| (range.first, range.last)).collect();
    assert_eq!(batches, [(1, 25), (26, 35), (36, 40)]);
    assert_eq!((end.position, end.delivered), (40, 40));
}

/// While a disk is full, attempts are repeated: the batch intent must not grow with them.
#[tokio::test(start_paused = true)]
async fn a_batch_intent_does_not_grow_with_the_attempts() {
    let attempts = (0..20).map(|attempt| (4 * attempt + 2, Action::Fail));
    let (journal, target) =
        (TestJournal::new(), MemoryTarget::new(&attempts.chain([(82, Action::Hang)]).collect::<Vec<_>>()));
    let source = journal.source("a").await;
    journal.append(source, "a", 0..3).await;
    journal.drain.cancel();
    assert_eq!(run_until_hung(task(target.sink("x"), &["a"]), journal.context(), &target).await, None);
    assert_eq!(target.lock().batches.len(), 21);
    let state = journal.journal.open_sink("lake", SinkStart::Beginning).await.expect("opened");
    assert_eq!(state.intent.expect("an unfinished batch").records.len(), 1);
}

/// Each sink is opened with the generation and the state of the last committed batch.
#[tokio::test(start_paused = true)]
async fn a_restarted_sink_gets_its_state() {
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(&[]));
    let source = journal.source("a").await;
    journal.append(source, "a", 0..13).await;
    journal.drain.cancel();
    for _ in 0..2 {
        run(task(target.sink("x"), &["a"]), journal.context()).await.expect("delivered");
    }
    assert_eq!(target.lock().opened, [(0, None), (0, Some("batch 11".to_owned()))]);
}

/// Rejected events are in the dead letter before the sink commits, once each, whatever fails and whenever.
#[tokio::test(start_paused = true)]
async fn rejected_events_are_in_the_dead_letter_once() {
    for point in 1..12 {
        for action in [Action::Fail, Action::Hang] {
            let (journal, target) = (TestJournal::new(), MemoryTarget::new(&[(point, action)]));
            let directory = tempfile::tempdir().expect("a directory");
            let dead_letter = directory.path().join("dead_letter/lake.ndjson");
            let source = journal.source("a").await;
            journal.append(source, "a", 0..8).await;
            journal.drain.cancel();
            let mut end = None;
            while end.is_none() {
                let mut sink = target.sink("x");
                sink.rejects = Some("7");
                let mut task = task(sink, &["a"]);
                task.dead_letter.clone_from(&dead_letter);
                end = run_until_hung(task, journal.context(), &target).await;
                let committed = journal.stats().await;
                let text = std::fs::read_to_string(&dead_letter).unwrap_or_default();
                assert!(text.lines().count() <= 1, "{point} {action:?}: {text}");
                assert!(committed.position == 0 || text.lines().count() == 1, "{point} {action:?}: {text}");
            }
            let text = std::fs::read_to_string(&dead_letter).expect("a dead letter");
            assert!(text.starts_with(r#"{"sink":"lake","reason":"too large","event":{"#), "{text}");
            assert_eq!(target.lines(), records("a", 0..7), "{point} {action:?}");
            let summary = journal.stats().await;
            assert_eq!((summary.delivered, summary.dead_lettered, summary.position), (7, 1, 8));
        }
    }
}

/// Redacted events are redacted in the dead letter too, and the redaction is a part of the batch's identity.
#[tokio::test(start_paused = true)]
async fn what_is_redacted_is_in_no_output() {
    let (journal, target) = (TestJournal::new(), MemoryTarget::new(&[(3, Action::Hang)]));
    let directory = tempfile::tempdir().expect("a directory");
    let source = journal.source("a").await;
    journal.append(source, "a", 0..8).await;
    journal.drain.cancel();
    let task = || {
        let mut sink = target.sink("x");
        sink.rejects = Some("{}");
        let mut task = task(sink, &["a"]);
        let settings = serde_json::json!({"drop": ["/raw/a"]});
        let config: crate::transform::redact::Config = serde_json::from_value(settings).expect("settings");
        task.routes[0].redactions = config.compile([0; 32]).expect("valid");
        task.routes[0].form = EventForm::Normalized;
        task.dead_letter = directory.path().join("dead_letter/lake.ndjson");
        task
    };
    while run_until_hung(task(), journal.context(), &target).await.is_none() {
        let state = journal.journal.open_sink("lake", SinkStart::Beginning).await.expect("opened");
        let fingerprint = state.intent.expect("an unfinished batch").fingerprint;
        assert!(fingerprint.ends_with("inputs=a=Normalized without Drop /raw/a"), "{fingerprint}");
    }
    let text = std::fs::read_to_string(directory.path().join("dead_letter/lake.ndjson")).expect("a dead letter");
    assert_eq!((text.lines().count(), target.lines()), (8, Vec::<String>::new()));
    for line in text.lines() {
        assert!(line.ends_with(r#""redacted":["/raw/a"],"raw":{}}}"#), "{line}");
    }
}
