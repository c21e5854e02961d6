//! Errors of the vendor, of the disk and of the user's settings.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::fake_api::*;
use crate::collect::transport::{Response, TransportError};
use crate::collect::{CollectMode, Overlap, SourceEnd};
use crate::event::EventId;
use crate::journal::*;
use crate::time::{TimeRange, Timestamp};
use crate::units::Span;
use crate::vendors::{ApiErrorKind, ApiSpec, Paging};

fn few() -> Vec<FakeRecord> {
    (0..25).map(|n| record(&format!("r{n}"), n)).collect()
}

fn source() -> FakeSource {
    FakeSource::new(example_spec(), true, few())
}

async fn assert_exact(source: &mut FakeSource) {
    assert_eq!(source.collected().await, source.truth());
}

/// Whether a request of a first run belongs to the backfill: live windows begin at what was readable at the start.
fn is_backfill(call: &Call) -> bool {
    call.to <= START - example_spec().delay
}

/// How long after the first request the second was made.
fn pause_before_second(source: &FakeSource) -> Duration {
    let calls = source.calls();
    calls[1].at.since(calls[0].at)
}

#[tokio::test(start_paused = true)]
async fn a_429_is_waited_out_as_long_as_the_vendor_says() {
    let mut source = source();
    source.hook(|number, _, _| {
        let requested = Some(Duration::from_secs(77));
        (number == 1).then(|| Ok(Response { status: 429, retry_after: requested, ..Response::default() }))
    });
    source.collect_until(30).await;
    assert!((77..=78).contains(&pause_before_second(&source).as_secs()));
    assert_exact(&mut source).await;
}

#[tokio::test(start_paused = true)]
async fn a_429_without_a_wait_is_waited_out_too() {
    let mut source = source();
    source.hook(|number, _, _| if number <= 5 { status(429) } else { None });
    source.collect_until(30).await;
    assert!(pause_before_second(&source) >= example_spec().default_rate_limit_wait);
    assert_exact(&mut source).await;
}

#[tokio::test(start_paused = true)]
async fn transient_errors_are_retried_without_end_and_shown_after_the_third() {
    let mut source = source();
    source.hook(|number, _, _| match number {
        1..=20 => status(503),
        21..=40 => Some(Err(TransportError::Unreachable("no route".into()))),
        41..=60 => body("<html>maintenance</html>"),
        _ => None,
    });
    source.poll(2).await;
    assert_eq!(source.last_error().await, None);
    source.poll(4).await;
    assert!(source.last_error().await.expect("shown").contains("503"));
    source.poll(50).await;
    assert!(source.last_error().await.expect("shown").contains("page that cannot be read"));
    source.collect_until(30).await;
    assert_eq!(source.last_error().await, None);
    assert_exact(&mut source).await;
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_the_class_of_their_answer() {
    let mut source = source();
    source.hook(|number, _, _| match number {
        1..=2 => status(503),
        3 => status(429),
        4..=6 => Some(Err(TransportError::Unreachable("no route".into()))),
        7 => body("<html>maintenance</html>"),
        8 => status(302),
        _ => None,
    });
    source.collect_until(30).await;
    let counted = source.journal().stats().await.expect("read").sources[0].requests;
    let failed = RequestCounts { redirect: 1, client_error: 1, server_error: 2, unanswered: 3, ..counted };
    assert_eq!((counted, counted.total()), (failed, source.calls().len() as u64));
    assert!(counted.success >= 2, "{counted:?}");
    assert_exact(&mut source).await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_with_many_texts_is_one_error_since_its_first_request() {
    let mut source = source();
    source.hook(|number, _, _| status([500, 502, 503][number % 3]));
    source.poll(20).await;
    let (first, last) = (source.calls()[0].at, source.calls()[19].at);
    assert!(last.since(first) > Duration::from_secs(60), "{first} to {last}");
    let stats = source.journal().stats().await.expect("read");
    let error = stats.sources[0].last_error.clone().expect("shown");
    assert!(error.since.since(first) < Duration::from_secs(1), "{error:?}, first request at {first}");
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_that_a_vendor_asks_for_is_shown_at_once() {
    let mut source = source();
    source.hook(|number, _, _| {
        let retry_after = (number == 1).then_some(Duration::from_secs(600));
        (number == 1).then(|| Ok(Response { status: 500, retry_after, ..Response::default() }))
    });
    source.poll(2).await;
    assert!(source.calls()[1].at.since(source.calls()[0].at) >= Duration::from_secs(600));
    assert!(source.last_error().await.expect("shown").contains("500"));
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_is_retried_slowly_and_recovers_without_a_restart() {
    let mut source = source();
    source.options.error_retry_interval = Some(Span(Duration::from_secs(200)));
    let journal = source.journal();
    let mut last_errors = Vec::new();
    let observed = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = observed.clone();
    source.hook(move |number, call, _| {
        seen.lock().expect("no panic").push(call.at);
        if number <= 3 { status(403) } else { None }
    });
    source.poll(3).await;
    last_errors.push(journal.stats().await.expect("read").sources[0].last_error.clone());
    source.poll(3).await;
    last_errors.push(journal.stats().await.expect("read").sources[0].last_error.clone());
    let last_error = last_errors[0].clone().expect("shown");
    assert!(last_error.message.contains("403") && !last_error.hint.is_empty(), "{last_error:?}");
    assert_eq!(last_errors[1], None);
    let times = observed.lock().expect("no panic").clone();
    assert!(times[1].since(times[0]) >= Duration::from_secs(200), "{times:?}");
    assert!(times[2].since(times[1]) >= Duration::from_secs(200), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_to_end_ends_at_a_permanent_error() {
    let mut source = source();
    source.hook(|_, _, _| status(403));
    let SourceEnd::Stopped(error) = source.collect_until(30).await else { panic!("it should have stopped") };
    assert_eq!(error.kind, ApiErrorKind::Permanent);
    assert_eq!(source.calls().len(), 1);
    assert!(source.last_error().await.expect("shown").contains("403"));
}

#[tokio::test(start_paused = true)]
async fn one_401_does_not_end_a_run_but_two_in_a_row_do() {
    let mut source = source();
    source.hook(|number, _, _| if number == 2 { status(401) } else { None });
    assert_eq!(source.collect_until(30).await, SourceEnd::Finished);
    assert_exact(&mut source).await;

    let mut source = self::source();
    source.hook(|number, _, _| if number >= 2 { status(401) } else { None });
    let SourceEnd::Stopped(error) = source.collect_until(30).await else { panic!("it should have stopped") };
    assert_eq!(error.kind, ApiErrorKind::Permanent);
    assert_eq!(source.calls().len(), 3);
    assert!(source.last_error().await.expect("shown").contains("401"));
}

#[tokio::test(start_paused = true)]
async fn a_refused_cursor_restarts_the_scan() {
    let mut source = source();
    let mut refused = false;
    source.hook(move |_, call, _| {
        let is_first_cursor = call.offset > 0 && !std::mem::replace(&mut refused, true);
        if is_first_cursor { status(400) } else { None }
    });
    assert_eq!(source.collect_until(30).await, SourceEnd::Finished);
    let offsets: Vec<usize> = source.calls().iter().map(|call| call.offset).collect();
    assert!(offsets.windows(2).any(|pair| pair[0] > 0 && pair[1] == 0), "{offsets:?}");
    assert_exact(&mut source).await;
}

#[tokio::test(start_paused = true)]
async fn a_damaged_record_is_kept_as_text_beside_the_others() {
    let mut source = source();
    let damaged = r#"{"id":"r3","at":1000003,"score":NaN}"#;
    source.hook(move |_, _, records| {
        records[3].raw = damaged.to_owned();
        None
    });
    assert_eq!(source.collect_until(30).await, SourceEnd::Finished);
    let collected = source.collected().await;
    assert_eq!(collected.len(), 25);
    assert_eq!(collected.get(&serde_json::Value::from(damaged).to_string()), Some(&1), "{collected:?}");
    assert_eq!(source.last_error().await, None);
}

#[tokio::test(start_paused = true)]
async fn no_content_is_an_empty_page() {
    let mut source = source();
    source.hook(|_, _, _| status(204));
    assert_eq!(source.collect_until(30).await, SourceEnd::Finished);
    assert!(source.events().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cursor_that_no_request_line_can_hold_is_a_bad_page() {
    let mut source = source();
    source.hook(|number, _, _| {
        let cursor = "1".repeat(9_000);
        if number <= 6 { body(&format!(r#"{{"records":[],"next":"{cursor}","total":null}}"#)) } else { None }
    });
    source.poll(6).await;
    assert!(source.last_error().await.expect("shown").contains("9000 bytes"));
    source.collect_until(30).await;
    assert_exact(&mut source).await;
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_backfill_leaves_live_polls_alone() {
    let mut source = source();
    source.options.backfill_start_time = Some(crate::collect::options::StartTime::Earliest);
    let is_probe = |call: &Call| call.limit == 1 && call.to >= START - Duration::from_secs(10);
    let rejected = Arc::new(AtomicUsize::new(0));
    let count = rejected.clone();
    source.hook(move |_, call, _| {
        let is_rejected = is_backfill(call) && !is_probe(call);
        count.fetch_add(usize::from(is_rejected), Ordering::Relaxed);
        if is_rejected { status(400) } else { None }
    });
    source.collect_until(30).await;
    assert_exact(&mut source).await;
    assert!(unreadable(&source).iter().all(|time| time.reasons[0].contains("400")));
    let rejected = rejected.load(Ordering::Relaxed);
    // A window and its parts may cost 96, whatever can be read of them.
    assert!(rejected <= 6 * 96, "{rejected} requests for time that the vendor rejects as a whole");
}

/// Time that is unreadable.
fn unreadable(source: &FakeSource) -> Vec<DoubtfulTime> {
    let snapshot = source.snapshot().expect("exists");
    let in_doubt = snapshot.source("audit").expect("known").state.in_doubt.clone();
    in_doubt.into_iter().filter(|time| time.state == CoverageState::Unreadable).collect()
}

/// Whether a page holds a record of this second; newest first.
fn holds(call: &Call, records: &[FakeRecord], secs: i64) -> bool {
    let listed =
        |record: &&FakeRecord| record.visible_from <= call.at && call.from <= record.at && record.at <= call.to;
    let mut times: Vec<Timestamp> = records.iter().filter(listed).map(|record| record.at).collect();
    times.sort_unstable_by(|one, other| other.cmp(one));
    times.iter().skip(call.offset).take(call.limit).any(|at| *at == at_secs(secs))
}

#[tokio::test(start_paused = true)]
async fn a_record_that_fails_its_page_is_cut_around_and_newer_windows_go_on() {
    for reply in [|| status(500), || status(400), || body("<html>")] {
        let mut source = FakeSource::new(example_spec(), true, (0..300).map(|n| record(&format!("r{n}"), n)).collect());
        source.hook(move |_, call, records| if holds(call, records, 60) { reply() } else { None });
        source.poll(250).await;
        let mut truth = source.truth();
        truth.retain(|raw, _| *raw != record("r60", 60).raw);
        let until = source.now() - Duration::from_secs(40);
        let due: Vec<String> = truth.into_keys().filter(|raw| raw_time(raw) < until).collect();
        let collected = source.collected().await;
        let lost: Vec<&String> = due.iter().filter(|raw| !collected.contains_key(*raw)).collect();
        assert_eq!((due.len() > 100, lost), (true, vec![]));
        let holes = unreadable(&source);
        assert!(holes.iter().all(|hole| hole.range.to.since(hole.range.from) < Duration::from_secs(2)), "{holes:?}");
        assert!(holes.iter().any(|hole| hole.range.from <= at_secs(60) && at_secs(60) < hole.range.to), "{holes:?}");
        assert!(holes.len() < 5, "{holes:?}");
        source.hook(|_, _, _| None);
        source.restart();
        source.collect_until(20_000).await;
        assert_exact(&mut source).await;
        assert_eq!(unreadable(&source), vec![], "a recheck reads it");
    }
}

fn raw_time(raw: &str) -> Timestamp {
    let millis = raw.split("\"at\":").nth(1).and_then(|rest| rest.split(',').next()).expect("has a time");
    Timestamp::from_millis(millis.parse().expect("a number"))
}

#[tokio::test(start_paused = true)]
async fn a_record_that_fails_is_stepped_over_where_the_filter_cannot_leave_it_out() {
    for paging in [Paging::Offset, Paging::PageNumber] {
        let spec = ApiSpec { time_granularity: Duration::from_secs(3_600), paging, ..example_spec() };
        let mut source = FakeSource::new(spec, true, (0..40).map(|n| record(&format!("r{n}"), n)).collect());
        source.hook(move |_, call, records| {
            let first =
                if paging == Paging::PageNumber { call.offset.saturating_sub(1) * call.limit } else { call.offset };
            let call = Call { offset: first, ..call.clone() };
            if holds(&call, records, 17) { status(500) } else { Some(Ok(page_of(&call, records))) }
        });
        source.collect_until(50).await;
        let mut truth = source.truth();
        truth.retain(|raw, _| *raw != record("r17", 17).raw);
        assert_eq!(source.collected().await, truth, "{paging:?}");
        assert!(!unreadable(&source).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_narrows_nothing() {
    let mut source = source();
    source.options.backfill_start_time = Some(crate::collect::options::StartTime::Earliest);
    source.hook(|_, _, _| status(500));
    source.poll(100).await;
    let calls = source.calls();
    let smaller = calls.iter().filter(|call| call.limit != 10 && call.limit != 1).count();
    assert_eq!((smaller, unreadable(&source)), (0, vec![]));
    let ranges: std::collections::HashSet<_> =
        calls.iter().filter(|call| call.limit == 10).map(|call| (call.from, call.to)).collect();
    assert!(ranges.len() <= 4, "{ranges:?}");
    source.hook(|_, _, _| None);
    source.collect_until(30).await;
    assert_exact(&mut source).await;
}

#[tokio::test(start_paused = true)]
async fn cursors_that_always_expire_do_not_end_in_restarts_for_ever() {
    let spec = ApiSpec { paging: Paging::Cursor, ..example_spec() };
    let mut source = FakeSource::new(spec, false, few());
    source.hook(|_, call, _| if call.offset > 0 { status(404) } else { None });
    assert_eq!(source.collect_until(30).await, SourceEnd::Finished);
    assert_exact(&mut source).await;
    assert!(source.calls().len() < 30, "{}", source.calls().len());
    // Neither a scan by time nor larger pages help here: the order is unknown, and no page is larger.
    let spec = ApiSpec {
        paging: Paging::Cursor,
        order: crate::vendors::RecordOrder::Unknown,
        max_page_size: 10,
        time_granularity: Duration::from_secs(3_600),
        ..example_spec()
    };
    let mut source = FakeSource::new(spec, false, few());
    source.hook(|_, call, _| if call.offset > 0 { status(404) } else { None });
    assert_eq!(source.collect_until(30).await, SourceEnd::Finished);
    let state = source.snapshot().expect("exists").source("audit").expect("known").state.clone();
    assert!(state.in_doubt.iter().all(|time| time.reasons == ["end"]) && !state.in_doubt.is_empty(), "{state:?}");
    assert!((10..25).contains(&source.events().await.len()), "what came is delivered");
}

#[tokio::test(start_paused = true)]
async fn a_window_that_stores_too_much_is_split() {
    let old = (0..100).map(|n| record(&format!("r{n}"), n - 3_000)).collect();
    let mut source = FakeSource::new(example_spec(), true, old);
    source.options.backfill_start_time = Some(crate::collect::options::StartTime::At(at_secs(-3_200)));
    source.max_staged_bytes = 1_000;
    source.collect_until(0).await;
    assert_exact(&mut source).await;
    let first_pages: std::collections::HashSet<_> = source.calls().iter().map(|call| (call.from, call.to)).collect();
    assert!(first_pages.len() >= 3, "{first_pages:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_that_the_vendor_asks_for_is_shown_at_once() {
    for code in [429, 503, 403, 420] {
        let mut source = source();
        source.hook(move |number, _, _| {
            let wait = Response { status: code, is_rate_limited: true, ..Response::default() };
            (number == 1).then(|| Ok(Response { retry_after: Some(Duration::from_secs(300)), ..wait }))
        });
        let journal = source.journal();
        let observed = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(100)).await;
            journal.stats().await.expect("read").sources[0].last_error.clone()
        });
        source.collect_until(30).await;
        let waits = observed.await.expect("no panic").expect("shown");
        assert!(waits.message.contains(&code.to_string()) && waits.hint.contains("wait of 30"), "{waits:?}");
        assert!((300..=301).contains(&pause_before_second(&source).as_secs()));
        assert_eq!(source.last_error().await, None);
        assert_exact(&mut source).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_cursor_restarts_the_window() {
    let mut source = source();
    source.hook(|number, call, _| if call.offset > 0 && number < 8 { status(410) } else { None });
    source.collect_until(30).await;
    assert_exact(&mut source).await;
}

#[tokio::test(start_paused = true)]
async fn pages_that_loop_are_discarded_and_read_again() {
    let mut source = source();
    source.hook(|number, call, _| {
        let again = r#"{"records":[],"next":"10","total":25}"#;
        if call.offset > 0 && number < 12 { body(again) } else { None }
    });
    source.collect_until(30).await;
    assert_exact(&mut source).await;
    assert!(source.calls().len() >= 4);
}

#[tokio::test(start_paused = true)]
async fn an_empty_page_in_the_middle_is_skipped() {
    let mut source = source();
    source.hook(|number, _, _| {
        let empty = r#"{"records":[],"next":"0","total":25}"#;
        if number == 1 { body(empty) } else { None }
    });
    source.collect_until(30).await;
    assert_exact(&mut source).await;
}

#[tokio::test(start_paused = true)]
async fn pages_that_are_too_large_become_smaller() {
    let spec = ApiSpec { page_size: 100, ..example_spec() };
    let mut source = FakeSource::new(spec, true, few());
    source.hook(|_, call, _| if call.limit > 30 { status(413) } else { None });
    source.collect_until(30).await;
    let limits: Vec<usize> = source.calls().iter().map(|call| call.limit).collect();
    assert_eq!(
        limits,
        [100, 50, 25, 100, 50, 25, 25],
        "each window finds its size; the last page shows that there is no more"
    );
    assert_exact(&mut source).await;
}

#[tokio::test(start_paused = true)]
async fn pages_that_time_out_again_and_again_become_smaller() {
    let spec = ApiSpec { page_size: 100, ..example_spec() };
    let mut source = FakeSource::new(spec, true, few());
    source.hook(|_, call, _| (call.limit > 30).then(|| Err(TransportError::Timeout(Duration::from_secs(30)))));
    source.collect_until(30).await;
    let limits: Vec<usize> = source.calls().iter().map(|call| call.limit).collect();
    let window = [100, 100, 100, 1, 50, 25];
    assert_eq!(limits, [&window[..], &window, &[25]].concat(), "a request for one record succeeds: it is the size");
    assert_exact(&mut source).await;
}

#[tokio::test(start_paused = true)]
async fn shutting_down_ends_a_long_wait_at_once() {
    let mut source = source();
    source.options.error_retry_interval = Some(Span(Duration::from_secs(100_000)));
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    source.hook(move |_, _, _| {
        let token = token.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            token.cancel();
        });
        status(401)
    });
    let begun = tokio::time::Instant::now();
    assert_eq!(source.run_with(CollectMode::Continuous, shutdown).await, SourceEnd::Shutdown);
    assert!(begun.elapsed() < Duration::from_secs(1_000));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_live_polls_pauses_the_backfill_too() {
    let mut source = source();
    source.options.backfill_start_time = Some(crate::collect::options::StartTime::Earliest);
    source.hook(|_, call, _| if is_backfill(call) { status(503) } else { status(403) });
    source.poll(12).await;
    let first_403 = source.calls().iter().position(|call| !is_backfill(call)).expect("polled");
    let calls = &source.calls()[first_403..];
    assert!(calls[1].at.since(calls[0].at) >= Duration::from_secs(300), "{calls:?}");
}

/// A journal whose storage fails at first, and that can be full.
pub(super) struct FailingJournal {
    pub(super) inner: Arc<dyn CollectJournal>,
    pub(super) failures: AtomicU32,
    pub(super) full: watch::Receiver<bool>,
}

impl FailingJournal {
    fn fail<T: Send + 'static>(&self) -> Option<JournalFuture<'_, T>> {
        let left = self.failures.load(Ordering::Relaxed);
        if left == 0 {
            return None;
        }
        self.failures.store(left - 1, Ordering::Relaxed);
        let error = JournalError::Storage { path: "journal".into(), reason: "no space".into() };
        Some(Box::pin(std::future::ready(Err(error))))
    }
}

macro_rules! forward {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+) => {
        $(fn $name(&self, $($argument: $type),*) -> JournalFuture<'_, $answer> { self.inner.$name($($argument),*) })+
    };
}

macro_rules! fail_at_first {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+) => {
        $(fn $name(&self, $($argument: $type),*) -> JournalFuture<'_, $answer> {
            self.fail().unwrap_or_else(|| self.inner.$name($($argument),*))
        })+
    };
}

impl CollectJournal for FailingJournal {
    fail_at_first! {
        open_source(source: SourceRegistration) -> SourceState;
        add_windows(source: SourceId, windows: Vec<NewWindow>) -> Vec<WindowId>;
        begin_scan(window: WindowId, scan: ScanSpec, requests: RequestCounts) -> ();
        commit_page(page: PageCommit) -> ();
        restart_window(window: WindowId, requests: RequestCounts) -> ();
        split_window(window: WindowId, parts: [NewWindow; 2]) -> [WindowId; 2];
        discard_windows(source: SourceId) -> ();
        keys_within(source: SourceId, range: TimeRange) -> Vec<SeenKey>;
        known_records(source: SourceId, ids: Vec<EventId>) -> KnownRecords;
        due_rechecks(source: SourceId, now: Timestamp, limit: usize) -> Vec<DueRecheck>;
        lateness(source: SourceId) -> LatenessCounts;
        cut_coverage(source: SourceId, from: Timestamp) -> ();
        set_source_error(source: SourceId, last_error: Option<LastError>) -> ();
    }
    forward! {
        source_history(name: &str) -> Option<SourceHistory>;
        preview_rewind(rewind: Rewind) -> Option<RewindPreview>;
        blocks_without_keys(source: SourceId, from: Timestamp, after: Seq, limit: usize) -> Vec<RecordBlock>;
        evidence(source: &str, range: TimeRange) -> Vec<EvidenceRow>;
        accept(source: &str, range: TimeRange) -> u64;
        edit_source(edit: SourceEdit) -> ();
    }
    fn full(&self) -> watch::Receiver<bool> {
        self.full.clone()
    }
}

fn failing_journal(source: &mut FakeSource, failures: u32) -> watch::Sender<bool> {
    let (sender, full) = watch::channel(false);
    let inner = source.journal();
    source.wrap_journal(Arc::new(FailingJournal { inner, failures: AtomicU32::new(failures), full }));
    sender
}

#[tokio::test(start_paused = true)]
async fn storage_errors_cost_time_and_nothing_else() {
    for failures in [1, 4, 9, 30] {
        let mut source = source();
        let _not_full = failing_journal(&mut source, failures);
        source.collect_until(30).await;
        assert_exact(&mut source).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_journal_pauses_the_source_until_there_is_room() {
    let mut source = source();
    let sender = Arc::new(failing_journal(&mut source, 0));
    source.hook(move |number, _, _| {
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
    source.collect_until(30).await;
    let calls = source.calls();
    assert!(calls[2].at.since(calls[1].at) >= Duration::from_secs(500));
    assert_exact(&mut source).await;
}

#[tokio::test(start_paused = true)]
async fn every_request_is_counted() {
    let mut source = source();
    source.hook(|number, call, _| match number {
        2 => status(500),
        5 if call.offset > 0 => status(410),
        _ => None,
    });
    source.options.max_window_records = Some(20);
    source.options.overlap = Some(Overlap::Fixed(Duration::ZERO));
    source.run(CollectMode::Once { until: at_secs(30) }, None).await;
    let summary = source.journal().stats().await.expect("read");
    assert_eq!(summary.sources[0].requests.total(), source.calls().len() as u64);
    assert_eq!(summary.sources[0].events, 25);
}
