//! The deliver loop on the real journal, with a sink that fails, hangs or miscounts wherever the test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::ManualClock;
use crate::event::{Event, EventId};
use crate::journal::{
    AfterPage, BlockBuilder, JournalOptions, LatenessCounts, NewWindow, PageCommit, RollbackRecord, SeenKey, SinkStats,
    SourceId, SourceRegistration, SqliteJournal, WindowKind,
};
use crate::journal::{CollectJournal, DeliverJournal, LogReader};
use crate::sinks::registry::SinkConfig;
use crate::sinks::{BatchRange, PlanLog, SinkError, Written};
use crate::time::{TimeRange, Timestamp};
use crate::units::ByteSize;
use crate::vendors::NormalizerConfig;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

// --- a journal with events in it ---

struct Bench {
    journal: Arc<SqliteJournal>,
    clock: SharedClock,
    drain: CancellationToken,
    shutdown: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = JournalOptions { data_dir: folder.path().to_owned(), max_size: ByteSize(1 << 30) };
        Self {
            journal: Arc::new(SqliteJournal::open(&options).expect("a journal")),
            clock: Arc::new(ManualClock::starting_at(START)),
            drain: CancellationToken::new(),
            shutdown: CancellationToken::new(),
            _folder: folder,
        }
    }

    fn parts(&self) -> Parts {
        Parts {
            journal: self.journal.clone(),
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
        let window = NewWindow { kind: WindowKind::Live, covers, fetch_range: covers };
        let id = self.journal.add_windows(source, vec![window]).await.expect("added")[0];
        let mut block = BlockBuilder::new(self.clock.now());
        let raws: Vec<_> = records.map(|number| (number, record(name, number))).collect();
        for (number, raw) in &raws {
            let key = SeenKey { id: EventId::of_key("clumio", None, raw), version: 0, timestamp: Some(hour(*number)) };
            block.push(raw, key, 0);
        }
        let page = PageCommit {
            window: id,
            block: block.finish().expect("compressed"),
            requests: 1,
            lateness: LatenessCounts::default(),
            then: AfterPage::Complete { at: self.clock.now(), pages: 1, records_read: 0 },
        };
        self.journal.commit_page(page).await.expect("committed");
    }

    async fn summary(&self) -> SinkStats {
        self.journal.stats().await.expect("a summary").sinks.remove(0)
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
enum Act {
    Fail,
    /// Never comes back: the process was killed here.
    Hang,
}

/// The outside: named lists of lines, and the points that sinks have passed.
#[derive(Debug, Default)]
struct Outside {
    lists: BTreeMap<String, Vec<String>>,
    points: u32,
    script: Vec<(u32, Act)>,
    batches: Vec<BatchRange>,
}

#[derive(Clone, Debug)]
struct World {
    outside: Arc<Mutex<Outside>>,
    hung: watch::Sender<bool>,
    lines: watch::Sender<usize>,
}

impl World {
    fn new(script: &[(u32, Act)]) -> Self {
        let outside = Outside { script: script.to_vec(), ..Outside::default() };
        Self { outside: Arc::new(Mutex::new(outside)), hung: watch::Sender::new(false), lines: watch::Sender::new(0) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Outside> {
        self.outside.lock().expect("not poisoned")
    }

    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.lock().lists.values().flatten().cloned().collect();
        lines.sort_by_key(|line| (line.len(), line.clone()));
        lines
    }

    fn sink(&self, name: &str) -> ScriptedSink {
        ScriptedSink {
            world: self.clone(),
            name: name.to_owned(),
            lines: Vec::new(),
            written: Written::default(),
            planned: false,
            miscounts: false,
            outside_has: None,
        }
    }

    async fn has_lines(&self, count: usize) {
        self.lines.subscribe().wait_for(|lines| *lines >= count).await.expect("the world lives");
    }
}

#[derive(Debug)]
struct ScriptedSink {
    world: World,
    /// The list that it writes to, and its config.
    name: String,
    lines: Vec<String>,
    written: Written,
    planned: bool,
    miscounts: bool,
    /// How far the outside says that this sink has come.
    outside_has: Option<Seq>,
}

impl ScriptedSink {
    /// A place where the script may make it fail or hang.
    async fn point(&self) -> Result<(), SinkError> {
        let act = {
            let mut outside = self.world.lock();
            outside.points += 1;
            let here = outside.points;
            outside.script.iter().find(|(point, _)| *point == here).map(|(_, act)| *act)
        };
        match act {
            None => Ok(()),
            Some(Act::Fail) => {
                Err(SinkError::Transient { message: "the disk is full".to_owned(), hint: "free space".to_owned() })
            }
            Some(Act::Hang) => {
                self.world.hung.send_replace(true);
                std::future::pending().await
            }
        }
    }

    async fn write_out(&mut self, plan: &mut dyn PlanLog) -> Result<(), SinkError> {
        self.point().await?;
        if !self.planned {
            let before = self.world.lock().lists.get(&self.name).map_or(0, Vec::len).to_string();
            plan.record(vec![RollbackRecord { name: self.name.clone(), before }]).await?;
            self.planned = true;
        }
        for line in std::mem::take(&mut self.lines) {
            self.world.lock().lists.entry(self.name.clone()).or_default().push(line);
            self.written.events += 1;
            self.written.bytes += 1;
        }
        self.point().await
    }
}

impl Sink for ScriptedSink {
    fn fingerprint(&self) -> String {
        self.name.clone()
    }

    fn begin(&mut self, range: BatchRange) {
        self.lines.clear();
        self.written = Written::default();
        self.planned = false;
        self.world.lock().batches.push(range);
    }

    fn absorb(&mut self, event: &Event<'_>, form: EventForm) -> Result<(), SinkError> {
        let mark = if form == EventForm::Raw { "" } else { "normalized " };
        self.lines.push(format!("{mark}{}", event.raw));
        Ok(())
    }

    /// Claims a lot, so that it is asked to write out every few events.
    fn buffered_bytes(&self) -> usize {
        self.lines.len() << 21
    }

    fn flush<'a>(&'a mut self, plan: &'a mut dyn PlanLog) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.write_out(plan))
    }

    fn commit<'a>(&'a mut self, plan: &'a mut dyn PlanLog) -> BoxFuture<'a, Result<Written, SinkError>> {
        Box::pin(async move {
            self.write_out(plan).await?;
            self.point().await?;
            let lines = self.world.lock().lists.values().map(Vec::len).sum();
            self.world.lines.send_replace(lines);
            self.written.events -= u64::from(self.miscounts);
            Ok(self.written)
        })
    }

    fn resume<'a>(&'a mut self, _journal: &'a str) -> BoxFuture<'a, Result<Option<Seq>, SinkError>> {
        Box::pin(std::future::ready(Ok(self.outside_has)))
    }

    fn undo<'a>(&'a mut self, outputs: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.point().await?;
            for output in outputs {
                let length = output.before.parse().expect("a length");
                self.world.lock().lists.entry(output.name.clone()).or_default().truncate(length);
            }
            self.point().await
        })
    }
}

fn task(sink: ScriptedSink, sources: &[&str]) -> SinkTask {
    let routes = sources
        .iter()
        .map(|source| Route { source: (*source).to_owned(), form: EventForm::Raw, condition: None })
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
async fn run_until_hung(task: SinkTask, parts: Parts, world: &World) -> Option<SinkEnd> {
    let mut hung = world.hung.subscribe();
    tokio::select! {
        end = run(task, parts) => Some(end.expect("no defect")),
        true = async { hung.wait_for(|hung| *hung).await.is_ok() } => {
            world.hung.send_replace(false);
            None
        }
    }
}

// --- the tests ---

/// The real sink on the real journal, on several threads as in the program.
#[tokio::test(flavor = "multi_thread")]
async fn fills_files() {
    let (bench, files) = (Bench::new(), tempfile::tempdir().expect("a folder"));
    let (a, b) = (bench.source("a").await, bench.source("b").await);
    bench.append(a, "a", 0..25).await;
    bench.append(b, "b", 0..7).await;
    bench.drain.cancel();
    let path = files.path().join("{{ source }}.ndjson").display().to_string();
    let config = serde_json::json!({"path": path});
    let config = SinkConfig::read("file", config).expect("a type").expect("a config");
    let mut task = task(World::new(&[]).sink("x"), &["a", "b"]);
    task.sink = config
        .build(Arc::clone(&bench.clock), crate::sinks::registry::SinkName { pipeline: "p", sink: "s" })
        .expect("a sink");
    let end = run(task, bench.parts()).await.expect("delivered");
    let lines = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(files.path().join(name)).expect("a file");
        text.lines().map(str::to_owned).collect()
    };
    assert_eq!((lines("a.ndjson"), lines("b.ndjson")), (records("a", 0..25), records("b", 0..7)));
    assert_eq!((end.delivered, end.drained), (32, true));
}

#[tokio::test(start_paused = true)]
async fn drains_everything_once_and_counts_it() {
    let (bench, world) = (Bench::new(), World::new(&[]));
    let source = bench.source("a").await;
    bench.append(source, "a", 0..17).await;
    bench.append(source, "a", 17..25).await;
    bench.drain.cancel();
    let end = run(task(world.sink("x"), &["a"]), bench.parts()).await.expect("delivered");
    assert_eq!(world.lock().lists["x"], records("a", 0..25));
    assert_eq!((end.drained, end.delivered, end.batches, end.position), (true, 25, 3, 25));
    let summary = bench.stats().await;
    assert_eq!((summary.delivered, summary.bytes, summary.position, summary.last_error), (25, 25, 25, None));
}

/// Fails, fails three times, or is killed at every point of the sink in turn; with and without another config afterwards.
#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_doubled_whatever_fails_and_whenever() {
    for (kind, script_of) in [
        ("fail", (|point| vec![(point, Act::Fail)]) as fn(u32) -> Vec<(u32, Act)>),
        ("fail on", |point| (point..point + 3).map(|point| (point, Act::Fail)).collect()),
        ("kill", |point| vec![(point, Act::Hang)]),
        ("fail, kill", |point| vec![(point, Act::Fail), (point + 1, Act::Hang)]),
        ("kill, fail", |point| vec![(point, Act::Hang), (point + 1, Act::Fail)]),
        ("kill twice", |point| vec![(point, Act::Hang), (point + 2, Act::Hang)]),
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
async fn delivers_all(script: &[(u32, Act)], changed: bool) -> bool {
    let (bench, world) = (Bench::new(), World::new(script));
    let source = bench.source("a").await;
    bench.append(source, "a", 0..13).await;
    bench.drain.cancel();
    let mut name = "x";
    let mut delivered = None;
    while delivered.is_none() {
        delivered = run_until_hung(task(world.sink(name), &["a"]), bench.parts(), &world).await;
        name = if changed { "y" } else { "x" };
    }
    assert_eq!(world.lines(), records("a", 0..13), "{script:?} {changed}");
    let summary = bench.stats().await;
    assert_eq!((summary.delivered, summary.position, summary.last_error), (13, 13, None), "{script:?} {changed}");
    let points = world.lock().points;
    points >= script[0].0
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_batch_is_done_again_with_the_same_boundaries() {
    let (bench, world) = (Bench::new(), World::new(&[(2, Act::Hang)]));
    let source = bench.source("a").await;
    bench.append(source, "a", 0..4).await;
    bench.drain.cancel();
    assert_eq!(run_until_hung(task(world.sink("x"), &["a"]), bench.parts(), &world).await, None);
    bench.append(source, "a", 4..8).await;
    run(task(world.sink("x"), &["a"]), bench.parts()).await.expect("delivered");
    let ranges: Vec<_> = world.lock().batches.iter().map(|range| (range.first, range.last)).collect();
    assert_eq!(ranges, [(1, 4), (1, 4), (5, 8)]);
}

#[tokio::test(start_paused = true)]
async fn changed_inputs_count_as_a_changed_config() {
    let (bench, world) = (Bench::new(), World::new(&[(2, Act::Hang)]));
    let (a, b) = (bench.source("a").await, bench.source("b").await);
    bench.append(a, "a", 0..3).await;
    bench.append(b, "b", 0..3).await;
    bench.drain.cancel();
    assert_eq!(run_until_hung(task(world.sink("x"), &["a"]), bench.parts(), &world).await, None);
    run(task(world.sink("x"), &["a", "b"]), bench.parts()).await.expect("delivered");
    assert_eq!(world.lines(), [records("a", 0..3), records("b", 0..3)].concat());
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_its_timeout() {
    let (bench, world) = (Bench::new(), World::new(&[]));
    let source = bench.source("a").await;
    bench.append(source, "a", 0..3).await;
    let running = tokio::spawn(run(task(world.sink("x"), &["a"]), bench.parts()));
    world.has_lines(3).await;
    assert!(bench.clock.now() >= START + Duration::from_secs(900));
    bench.shutdown.cancel();
    let end = running.await.expect("no panic").expect("stopped");
    assert_eq!((end.drained, end.batches), (false, 1));
}

#[tokio::test]
async fn a_full_batch_does_not_wait() {
    let (bench, world) = (Bench::new(), World::new(&[]));
    let source = bench.source("a").await;
    let running = tokio::spawn(run(task(world.sink("x"), &["a"]), bench.parts()));
    bench.append(source, "a", 0..12).await;
    world.has_lines(10).await;
    assert_eq!(world.lines(), records("a", 0..10));
    bench.shutdown.cancel();
    running.await.expect("no panic").expect("stopped");
}

#[tokio::test(start_paused = true)]
async fn events_of_other_sources_are_passed_over_and_do_not_hold_the_journal() {
    let (bench, world) = (Bench::new(), World::new(&[]));
    let (a, b) = (bench.source("a").await, bench.source("b").await);
    bench.append(b, "b", 0..5).await;
    bench.append(a, "a", 0..2).await;
    bench.append(b, "b", 5..9).await;
    bench.drain.cancel();
    let end = run(task(world.sink("x"), &["a"]), bench.parts()).await.expect("delivered");
    assert_eq!(world.lines(), records("a", 0..2));
    assert_eq!((end.position, end.delivered), (11, 2));
}

#[tokio::test]
async fn a_source_that_registers_after_the_sink_is_heard() {
    let (bench, world) = (Bench::new(), World::new(&[]));
    let other = bench.source("other").await;
    bench.append(other, "other", 0..3).await;
    let running = tokio::spawn(run(task(world.sink("x"), &["late"]), bench.parts()));
    let late = bench.source("late").await;
    bench.append(late, "late", 0..10).await;
    world.has_lines(10).await;
    bench.drain.cancel();
    let end = running.await.expect("no panic").expect("drained");
    assert_eq!((world.lines(), end.drained), (records("late", 0..10), true));
}

#[tokio::test(start_paused = true)]
async fn forms_follow_the_routes() {
    let (bench, world) = (Bench::new(), World::new(&[]));
    let source = bench.source("a").await;
    bench.append(source, "a", 0..1).await;
    bench.drain.cancel();
    let mut task = task(world.sink("x"), &["a"]);
    task.routes[0].form = EventForm::Normalized;
    run(task, bench.parts()).await.expect("delivered");
    assert_eq!(world.lines(), ["normalized {\"a\":0}"]);
}

fn filtered(mut task: SinkTask, condition: &str) -> SinkTask {
    task.routes[0].condition = Some(Condition::compile(condition).expect(condition));
    task
}

/// Of the records 0 to 24, those with a 3 in them.
#[tokio::test(start_paused = true)]
async fn what_a_filter_drops_is_counted_and_moves_the_position() {
    let (bench, world) = (Bench::new(), World::new(&[]));
    let source = bench.source("a").await;
    bench.append(source, "a", 0..25).await;
    bench.drain.cancel();
    let task = filtered(task(world.sink("x"), &["a"]), "raw.contains('3')");
    let end = run(task, bench.parts()).await.expect("delivered");
    assert_eq!(world.lines(), [record("a", 3), record("a", 13), record("a", 23)]);
    assert_eq!((end.delivered, end.filtered, end.position, end.drained), (3, 22, 25, true));
    let summary = bench.stats().await;
    assert_eq!((summary.delivered, summary.filtered, summary.position), (3, 22, 25));
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_every_event_is_filtered_moves_the_position() {
    let (bench, world) = (Bench::new(), World::new(&[]));
    let source = bench.source("a").await;
    bench.append(source, "a", 0..25).await;
    bench.drain.cancel();
    let end = run(filtered(task(world.sink("x"), &["a"]), "false"), bench.parts()).await.expect("delivered");
    assert_eq!((end.delivered, end.filtered, end.position), (0, 25, 25));
    assert_eq!(world.lines(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_changed_filter_counts_as_a_changed_config() {
    let (bench, world) = (Bench::new(), World::new(&[(2, Act::Hang)]));
    let source = bench.source("a").await;
    bench.append(source, "a", 0..3).await;
    bench.drain.cancel();
    let first = filtered(task(world.sink("x"), &["a"]), "raw.contains('1')");
    assert_eq!(run_until_hung(first, bench.parts(), &world).await, None);
    let second = filtered(task(world.sink("x"), &["a"]), "raw.contains('2')");
    run(second, bench.parts()).await.expect("delivered");
    assert_eq!(world.lines(), [record("a", 2)]);
    assert_eq!((bench.stats().await.delivered, bench.stats().await.filtered), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_new_sink_may_start_at_the_present() {
    let (bench, world) = (Bench::new(), World::new(&[]));
    let source = bench.source("a").await;
    bench.append(source, "a", 0..3).await;
    let mut task = task(world.sink("x"), &["a"]);
    task.start = SinkStart::Now;
    task.batch.max_events = 2;
    let running = tokio::spawn(run(task, bench.parts()));
    while bench.journal.stats().await.expect("a summary").sinks.is_empty() {}
    bench.append(source, "a", 3..5).await;
    world.has_lines(2).await;
    assert_eq!(world.lines(), records("a", 3..5));
    bench.shutdown.cancel();
    running.await.expect("no panic").expect("stopped");
}

#[tokio::test(start_paused = true)]
async fn trouble_is_noted_while_it_lasts_and_stops_no_shutdown() {
    let script: Vec<_> = (1..500).map(|point| (point, Act::Fail)).collect();
    let (bench, world) = (Bench::new(), World::new(&script));
    let source = bench.source("a").await;
    bench.append(source, "a", 0..3).await;
    bench.drain.cancel();
    let running = tokio::spawn(run(task(world.sink("x"), &["a"]), bench.parts()));
    while bench.journal.stats().await.expect("a summary").sinks.first().is_none_or(|sink| sink.last_error.is_none()) {}
    let last_error = bench.stats().await.last_error.expect("noted");
    assert_eq!((last_error.message.as_str(), last_error.hint.as_str()), ("the disk is full", "free space"));
    bench.shutdown.cancel();
    let end = running.await.expect("no panic").expect("stopped");
    assert_eq!((end.drained, end.last_error), (false, Some(last_error)));

    world.lock().script.clear();
    let again = Parts { shutdown: CancellationToken::new(), ..bench.parts() };
    let end = run(task(world.sink("x"), &["a"]), again).await.expect("drained");
    assert_eq!((end.drained, end.last_error, bench.stats().await.last_error), (true, None, None));
    assert_eq!(world.lines(), records("a", 0..3));
}

#[tokio::test(start_paused = true)]
async fn the_batch_in_hand_is_finished_on_shutdown_and_no_other_begun() {
    let (bench, world) = (Bench::new(), World::new(&[]));
    let source = bench.source("a").await;
    bench.append(source, "a", 0..35).await;
    let shutdown = bench.shutdown.clone();
    let mut lines = world.lines.subscribe();
    let stopper = tokio::spawn(async move {
        lines.wait_for(|lines| *lines > 0).await.expect("the world lives");
        shutdown.cancel();
    });
    let end = run(task(world.sink("x"), &["a"]), bench.parts()).await.expect("stopped");
    stopper.await.expect("no panic");
    assert!(!end.drained && end.delivered % 10 == 0 && end.delivered < 35, "{end:?}");
    assert_eq!(world.lines().len() as u64, end.delivered);
    assert_eq!(bench.stats().await.position, end.delivered);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_miscounts_is_stopped_before_the_position_moves() {
    let (bench, world) = (Bench::new(), World::new(&[]));
    let source = bench.source("a").await;
    bench.append(source, "a", 0..3).await;
    bench.drain.cancel();
    let mut sink = world.sink("x");
    sink.miscounts = true;
    let error = run(task(sink, &["a"]), bench.parts()).await.expect_err("a defect");
    assert!(matches!(error, DeliverError::Miscounted { expected: 3, found: 2, .. }), "{error}");
    assert_eq!(bench.stats().await.position, 0);
    assert_eq!(world.lines(), [""; 0]);
}

/// The journal was put back from an older copy: what it collects from now on must not pass for delivered.
#[tokio::test(start_paused = true)]
async fn an_outside_that_is_ahead_of_the_journal_stops_the_sink() {
    let (bench, world) = (Bench::new(), World::new(&[]));
    let source = bench.source("a").await;
    bench.append(source, "a", 0..20).await;
    bench.drain.cancel();
    let mut sink = world.sink("x");
    sink.outside_has = Some(21);
    let error = run(task(sink, &["a"]), bench.parts()).await.expect_err("not of this journal");
    assert!(matches!(&error, DeliverError::Stopped { message, .. } if message.contains("event 21")), "{error}");
    assert_eq!((bench.stats().await.position, world.lines().len()), (0, 0));
}

/// The sink compares the end of what the outside has: before that, the position must not move.
#[tokio::test(start_paused = true)]
async fn what_the_outside_has_is_one_batch() {
    let (bench, world) = (Bench::new(), World::new(&[]));
    let source = bench.source("a").await;
    bench.append(source, "a", 0..40).await;
    bench.drain.cancel();
    let mut sink = world.sink("x");
    sink.outside_has = Some(25);
    let end = run(task(sink, &["a"]), bench.parts()).await.expect("delivered");
    let batches: Vec<_> = world.lock().batches.iter().map(|range| (range.first, range.last)).collect();
    assert_eq!(batches, [(1, 25), (26, 35), (36, 40)]);
    assert_eq!((end.position, end.delivered), (40, 40));
}

/// While a disk is full, attempts are made again and again: the plan must not grow with them.
#[tokio::test(start_paused = true)]
async fn a_plan_does_not_grow_with_the_attempts() {
    let attempts = (0..20).map(|attempt| (4 * attempt + 2, Act::Fail));
    let (bench, world) = (Bench::new(), World::new(&attempts.chain([(82, Act::Hang)]).collect::<Vec<_>>()));
    let source = bench.source("a").await;
    bench.append(source, "a", 0..3).await;
    bench.drain.cancel();
    assert_eq!(run_until_hung(task(world.sink("x"), &["a"]), bench.parts(), &world).await, None);
    assert_eq!(world.lock().batches.len(), 21);
    let state = bench.journal.open_sink("lake", SinkStart::Beginning).await.expect("opened");
    assert_eq!(state.intent.expect("an open plan").records.len(), 1);
}
