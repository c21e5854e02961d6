//! What happens when the vendor, the disk or the user's settings are at fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::play::*;
use crate::collect::transport::{Response, TransportError};
use crate::collect::{Mode, SourceEnd};
use crate::journal::*;
use crate::time::{TimeRange, Timestamp};
use crate::units::Span;
use crate::vendors::{ApiErrorKind, ApiSpec};

fn few() -> Vec<Held> {
    (0..25).map(|n| held(&format!("r{n}"), n)).collect()
}

fn stage() -> Stage {
    Stage::new(example_facts(), true, few())
}

async fn assert_exact(stage: &mut Stage) {
    assert_eq!(stage.collected().await, stage.truth());
}

/// Whether a request of a first run belongs to the backfill: the live lane begins at what had settled at the start.
fn of_the_past(call: &Call) -> bool {
    call.to <= START - example_facts().delay
}

/// How long after the first request the second was made.
fn pause_before_second(stage: &Stage) -> Duration {
    let calls = stage.calls();
    calls[1].at.since(calls[0].at)
}

#[tokio::test(start_paused = true)]
async fn a_429_is_waited_out_as_long_as_the_vendor_says() {
    let mut stage = stage();
    stage.hook(|number, _, _| {
        let asked = Some(Duration::from_secs(77));
        (number == 1).then(|| Ok(Response { status: 429, retry_after: asked, body: String::new() }))
    });
    stage.collect_until(30).await;
    assert!((77..=78).contains(&pause_before_second(&stage).as_secs()));
    assert_exact(&mut stage).await;
}

#[tokio::test(start_paused = true)]
async fn a_429_that_says_nothing_is_waited_out_too() {
    let mut stage = stage();
    stage.hook(|number, _, _| if number <= 5 { status(429) } else { None });
    stage.collect_until(30).await;
    assert!(pause_before_second(&stage) >= example_facts().default_rate_limit_wait);
    assert_exact(&mut stage).await;
}

#[tokio::test(start_paused = true)]
async fn passing_faults_are_retried_without_end_and_shown_after_the_third() {
    let mut stage = stage();
    stage.hook(|number, _, _| match number {
        1..=20 => status(503),
        21..=40 => Some(Err(TransportError::Unreachable("no route".into()))),
        41..=60 => body("<html>maintenance</html>"),
        _ => None,
    });
    stage.poll(2).await;
    assert_eq!(stage.last_error().await, None);
    stage.poll(4).await;
    assert!(stage.last_error().await.expect("shown").contains("503"));
    stage.poll(50).await;
    assert!(stage.last_error().await.expect("shown").contains("page that cannot be read"));
    stage.collect_until(30).await;
    assert_eq!(stage.last_error().await, None);
    assert_exact(&mut stage).await;
}

#[tokio::test(start_paused = true)]
async fn a_permanent_fault_is_looked_at_again_slowly_and_mended_without_a_restart() {
    let mut stage = stage();
    stage.options.error_retry_interval = Some(Span(Duration::from_secs(200)));
    let journal = stage.journal();
    let mut troubles = Vec::new();
    let observed = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = observed.clone();
    stage.hook(move |number, call, _| {
        seen.lock().expect("no panic").push(call.at);
        if number <= 3 { status(401) } else { None }
    });
    stage.poll(3).await;
    troubles.push(journal.stats().await.expect("read").sources[0].last_error.clone());
    stage.poll(3).await;
    troubles.push(journal.stats().await.expect("read").sources[0].last_error.clone());
    let last_error = troubles[0].clone().expect("shown");
    assert!(last_error.message.contains("401") && !last_error.hint.is_empty(), "{last_error:?}");
    assert_eq!(troubles[1], None);
    let times = observed.lock().expect("no panic").clone();
    assert!(times[1].since(times[0]) >= Duration::from_secs(200), "{times:?}");
    assert!(times[2].since(times[1]) >= Duration::from_secs(200), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_to_end_ends_at_a_permanent_fault() {
    let mut stage = stage();
    stage.hook(|_, _, _| status(403));
    let SourceEnd::Stopped(fault) = stage.collect_until(30).await else { panic!("it should have stopped") };
    assert_eq!(fault.kind, ApiErrorKind::Permanent);
    assert_eq!(stage.calls().len(), 1);
    assert!(stage.last_error().await.expect("shown").contains("403"));
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_past_leaves_live_polls_alone() {
    let mut stage = stage();
    stage.options.backfill_start_time = Some(crate::collect::options::StartTime::Earliest);
    stage.hook(|_, call, _| if of_the_past(call) { status(400) } else { None });
    stage.poll(40).await;
    assert_exact(&mut stage).await;
    assert!(stage.last_error().await.expect("shown").contains("400"));
}

#[tokio::test(start_paused = true)]
async fn an_expired_cursor_walks_the_window_again() {
    let mut stage = stage();
    stage.hook(|number, call, _| if call.offset > 0 && number < 8 { status(410) } else { None });
    stage.collect_until(30).await;
    assert_exact(&mut stage).await;
}

#[tokio::test(start_paused = true)]
async fn pages_that_lead_in_a_circle_are_left_and_read_again() {
    let mut stage = stage();
    stage.hook(|number, call, _| {
        let again = r#"{"records":[],"next":"10","total":25}"#;
        if call.offset == 10 && number < 12 { body(again) } else { None }
    });
    stage.collect_until(30).await;
    assert_exact(&mut stage).await;
    assert!(stage.calls().len() >= 12);
}

#[tokio::test(start_paused = true)]
async fn an_empty_page_in_the_middle_is_passed() {
    let mut stage = stage();
    stage.hook(|number, _, _| {
        let empty = r#"{"records":[],"next":"0","total":25}"#;
        if number == 1 { body(empty) } else { None }
    });
    stage.collect_until(30).await;
    assert_exact(&mut stage).await;
}

#[tokio::test(start_paused = true)]
async fn pages_that_are_too_large_become_smaller() {
    let spec = ApiSpec { page_size: 100, ..example_facts() };
    let mut stage = Stage::new(spec, true, few());
    stage.hook(|_, call, _| if call.limit > 30 { status(413) } else { None });
    stage.collect_until(30).await;
    let limits: Vec<usize> = stage.calls().iter().map(|call| call.limit).collect();
    assert_eq!(limits, [100, 50, 25, 25]);
    assert_exact(&mut stage).await;
}

#[tokio::test(start_paused = true)]
async fn pages_that_time_out_again_and_again_become_smaller() {
    let spec = ApiSpec { page_size: 100, ..example_facts() };
    let mut stage = Stage::new(spec, true, few());
    stage.hook(|_, call, _| (call.limit > 30).then(|| Err(TransportError::Timeout(Duration::from_secs(30)))));
    stage.collect_until(30).await;
    let limits: Vec<usize> = stage.calls().iter().map(|call| call.limit).collect();
    assert_eq!(limits, [100, 100, 100, 50, 50, 50, 25, 25]);
    assert_exact(&mut stage).await;
}

#[tokio::test(start_paused = true)]
async fn shutting_down_ends_a_long_wait_at_once() {
    let mut stage = stage();
    stage.options.error_retry_interval = Some(Span(Duration::from_secs(100_000)));
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    stage.hook(move |_, _, _| {
        let token = token.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            token.cancel();
        });
        status(401)
    });
    let begun = tokio::time::Instant::now();
    assert_eq!(stage.run_with(Mode::Continuous, shutdown).await, SourceEnd::Shutdown);
    assert!(begun.elapsed() < Duration::from_secs(1_000));
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_live_polls_meet_holds_up_the_past_too() {
    let mut stage = stage();
    stage.options.backfill_start_time = Some(crate::collect::options::StartTime::Earliest);
    stage.hook(|_, call, _| if of_the_past(call) { status(503) } else { status(401) });
    stage.poll(12).await;
    let first_401 = stage.calls().iter().position(|call| !of_the_past(call)).expect("polled");
    let calls = &stage.calls()[first_401..];
    assert!(calls[1].at.since(calls[0].at) >= Duration::from_secs(300), "{calls:?}");
}

/// A journal whose disk refuses the first commits, and that can be full.
struct WeakJournal {
    inner: Arc<dyn Journal>,
    refusals: AtomicU32,
    full: watch::Receiver<bool>,
}

impl WeakJournal {
    fn refuse<T: Send + 'static>(&self) -> Option<JournalFuture<'_, T>> {
        let left = self.refusals.load(Ordering::Relaxed);
        if left == 0 {
            return None;
        }
        self.refusals.store(left - 1, Ordering::Relaxed);
        let error = JournalError::Storage { path: "journal".into(), reason: "no space".into() };
        Some(Box::pin(std::future::ready(Err(error))))
    }
}

macro_rules! pass_on {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+) => {
        $(fn $name(&self, $($argument: $type),*) -> JournalFuture<'_, $answer> { self.inner.$name($($argument),*) })+
    };
}

macro_rules! refuse_at_first {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+) => {
        $(fn $name(&self, $($argument: $type),*) -> JournalFuture<'_, $answer> {
            self.refuse().unwrap_or_else(|| self.inner.$name($($argument),*))
        })+
    };
}

impl CollectJournal for WeakJournal {
    refuse_at_first! {
        open_source(source: SourceRegistration) -> SourceState;
        add_windows(source: SourceId, windows: Vec<NewWindow>) -> Vec<WindowId>;
        commit_page(page: PageCommit) -> ();
        restart_window(window: WindowId, requests: u64) -> ();
        split_window(window: WindowId, parts: [NewWindow; 2]) -> [WindowId; 2];
        keys_within(source: SourceId, range: TimeRange) -> Vec<SeenKey>;
        set_source_error(source: SourceId, last_error: Option<LastError>) -> ();
    }
    pass_on! {
        source_history(name: &str) -> Option<SourceHistory>;
        preview_rewind(rewind: Rewind) -> Option<RewindPreview>;
        blocks_without_keys(source: SourceId, from: Timestamp, after: Seq, limit: usize) -> Vec<RecordBlock>;
        edit_source(edit: SourceEdit) -> ();
    }
    fn full(&self) -> watch::Receiver<bool> {
        self.full.clone()
    }
}

impl LogReader for WeakJournal {
    pass_on! {
        sources() -> Vec<SourceInfo>;
        next_batch(after: Seq, sources: Vec<SourceId>, max_events: u64, max_bytes: u64) -> PendingBatch;
        read(first: Seq, last: Seq, sources: Vec<SourceId>, limit: usize) -> Vec<RecordBlock>;
        identity() -> String;
        stats() -> JournalStats;
    }
    fn head(&self) -> watch::Receiver<Seq> {
        self.inner.head()
    }
}

impl DeliverJournal for WeakJournal {
    pass_on! {
        open_sink(name: &str, start: SinkStart) -> SinkState;
        retire_sinks(active: Vec<String>) -> Vec<String>;
        prepare_batch(sink: SinkId, first: Seq, last: Seq, fingerprint: String) -> ();
        add_rollback_records(sink: SinkId, records: Vec<RollbackRecord>) -> ();
        commit_batch(sink: SinkId, batch: BatchCommit) -> ();
        abort_batch(sink: SinkId) -> ();
        set_sink_error(sink: SinkId, last_error: Option<LastError>) -> ();
        trim(visible_before: Timestamp, keys_before: Timestamp) -> u64;
        sink_history(name: &str) -> Option<SinkHistory>;
        preview_redeliver(redeliver: Redeliver) -> Option<RedeliverPreview>;
        edit_sink(edit: SinkEdit) -> ();
    }
}

fn weak(stage: &mut Stage, refusals: u32) -> watch::Sender<bool> {
    let (sender, full) = watch::channel(false);
    let inner = stage.journal();
    stage.replace_journal(Arc::new(WeakJournal { inner, refusals: AtomicU32::new(refusals), full }));
    sender
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_refuses_costs_time_and_nothing_else() {
    for refusals in [1, 4, 9, 30] {
        let mut stage = stage();
        let _not_full = weak(&mut stage, refusals);
        stage.collect_until(30).await;
        assert_exact(&mut stage).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_journal_pauses_the_source_until_there_is_room() {
    let mut stage = stage();
    let sender = Arc::new(weak(&mut stage, 0));
    stage.hook(move |number, _, _| {
        if number == 2 {
            sender.send_replace(true);
            let sender = sender.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(500)).await;
                sender.send_replace(false);
            });
        }
        None
    });
    stage.collect_until(30).await;
    let calls = stage.calls();
    assert!(calls[2].at.since(calls[1].at) >= Duration::from_secs(500));
    assert_exact(&mut stage).await;
}

#[tokio::test(start_paused = true)]
async fn every_request_is_counted() {
    let mut stage = stage();
    stage.hook(|number, call, _| match number {
        2 => status(500),
        5 if call.offset > 0 => status(410),
        _ => None,
    });
    stage.options.max_window_records = Some(20);
    stage.options.overlap = Some(Span(Duration::ZERO));
    stage.run(Mode::Once { until: moment(30) }, None).await;
    let summary = stage.journal().stats().await.expect("read");
    assert_eq!(summary.sources[0].requests, stage.calls().len() as u64);
    assert_eq!(summary.sources[0].events, 25);
}
