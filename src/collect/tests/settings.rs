//! Settings and clocks that change between runs and while windows are open.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fake_api::*;
use crate::collect::options::{PointInTime, StartTime};
use crate::collect::transport::Response;
use crate::collect::{CollectMode, Overlap, SourceEnd};
use crate::journal::{
    AfterPage, Completion, CoverageState, LatenessCounts, NewWindow, PageCommit, RequestCounts, WindowKind,
};
use crate::time::TimeRange;
use crate::units::Rate;
use crate::vendors::ApiSpec;

fn before_start(records: i64) -> Vec<FakeRecord> {
    (0..records).map(|n| record(&format!("r{n}"), n * 15 - 2_000)).collect()
}

/// A source that was stopped in the middle of its only backfill window.
async fn stopped_in_a_window() -> FakeSource {
    let mut source = FakeSource::new(example_spec(), true, before_start(100));
    source.options.backfill_start_time = Some(StartTime::At(at_secs(-2_000)));
    let once = CollectMode::Once { until: START };
    assert_eq!(source.run(once, Some(5)).await, SourceEnd::Shutdown);
    source.restart();
    source
}

#[tokio::test(start_paused = true)]
async fn a_start_that_moves_while_a_window_is_open_and_back_loses_nothing() {
    for start in [Some(StartTime::At(at_secs(-900))), Some(StartTime::At(at_secs(-1_990))), None] {
        let mut source = stopped_in_a_window().await;
        source.options.backfill_start_time = start;
        source.collect_until(0).await;
        source.restart();
        let wanted = match start {
            Some(StartTime::At(from)) => before_start(100).iter().filter(|record| record.at >= from).count(),
            _ => 0,
        };
        assert_eq!(source.events().await.len(), wanted, "{start:?}");
        source.options.backfill_start_time = Some(StartTime::At(at_secs(-2_000)));
        source.collect_until(0).await;
        assert_eq!(source.collected().await, source.truth(), "{start:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_moves_while_a_window_is_open_and_back_loses_nothing() {
    for end in [-1_000, -1_999] {
        let mut source = stopped_in_a_window().await;
        source.options.end_time = Some(PointInTime(at_secs(end)));
        source.collect_until(0).await;
        source.restart();
        let wanted = before_start(100).iter().filter(|record| record.at < at_secs(end)).count();
        assert_eq!(source.events().await.len(), wanted);
        source.options.end_time = None;
        source.collect_until(0).await;
        assert_eq!(source.collected().await, source.truth());
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_counts_back_from_the_first_start_stays_there_in_later_runs() {
    let mut source = FakeSource::new(example_spec(), true, before_start(100));
    source.options.backfill_start_time = Some(StartTime::Ago(Duration::from_secs(2_000)));
    let once = CollectMode::Once { until: START };
    assert_eq!(source.run(once, Some(1)).await, SourceEnd::Shutdown);
    source.restart();
    tokio::time::advance(Duration::from_secs(1_500)).await;
    source.collect_until(1_500).await;
    assert_eq!(source.collected().await, source.truth());
}

#[tokio::test(start_paused = true)]
async fn records_that_become_visible_within_the_last_overlap_are_collected() {
    let records = (0..100).map(|n| late(&format!("r{n}"), n, n + if n % 3 == 0 { 50 } else { 0 })).collect();
    let mut source = FakeSource::new(example_spec(), true, records);
    source.options.end_time = Some(PointInTime(at_secs(100)));
    assert_eq!(source.run(CollectMode::Continuous, None).await, SourceEnd::Finished);
    assert_eq!(source.now(), at_secs(160));
    assert_eq!(source.collected().await, source.truth());
    source.restart();
    let requests = source.calls().len();
    assert_eq!(source.run(CollectMode::Continuous, None).await, SourceEnd::Finished);
    assert_eq!(source.calls().len(), requests, "it is read once");
}

#[tokio::test(start_paused = true)]
async fn polls_that_take_longer_than_their_interval_leave_pages_to_the_backfill() {
    let old = (0..30).map(|n| record(&format!("old{n}"), n - 9_000));
    let recent = (0..400).map(|n| record(&format!("recent{n}"), n - 450));
    let spec = ApiSpec {
        overlap: Duration::from_secs(500),
        rate_limit: vec![Rate { requests: 1, per: Duration::from_secs(1) }],
        ..example_spec()
    };
    let mut source = FakeSource::new(spec, false, old.chain(recent).collect());
    source.options.backfill_start_time = Some(StartTime::Earliest);
    source.poll(500).await;
    let collected = source.collected().await;
    assert!((0..30).all(|n| collected.contains_key(&record(&format!("old{n}"), n - 9_000).raw)));
}

#[tokio::test(start_paused = true)]
async fn unreadable_time_is_read_again_when_it_is_due() {
    let mut source = FakeSource::new(example_spec(), true, vec![record("hidden", -990)]);
    source.collect_until(0).await;
    let state = source.snapshot().expect("exists").source("audit").expect("known").state.clone();
    let range = TimeRange::new(at_secs(-1_000), at_secs(-900));
    let (at, due) = (source.now(), at_secs(1_000));
    let journal = source.journal();
    let window = NewWindow { kind: WindowKind::Backfill, covers: range, fetch_range: range, kept: TimeRange::ALL };
    let ids = journal.add_windows(state.id, vec![window]).await.expect("added");
    let completion = Completion {
        state: CoverageState::Unreadable,
        reasons: vec!["unreadable:HTTP 500".into()],
        next_recheck_at: Some(due),
        ..Completion::covered(range, at)
    };
    let (lateness, then) = (LatenessCounts::default(), AfterPage::Complete(completion));
    let page = PageCommit {
        window: ids[0],
        block: None,
        requests: RequestCounts::succeeded(1),
        lateness,
        evidence: Vec::new(),
        then,
    };
    journal.commit_page(page).await.expect("committed");
    source.options.backfill_start_time = Some(StartTime::At(at_secs(-1_000)));
    source.collect_until(900).await;
    assert_eq!(source.events().await.len(), 0, "not before it is due");
    source.collect_until(1_100).await;
    assert_eq!(source.events().await.len(), 1);
    let state = source.snapshot().expect("exists").source("audit").expect("known").state.clone();
    assert_eq!((state.in_doubt, state.coverage.len()), (vec![], 1));
}

#[tokio::test(start_paused = true)]
async fn time_that_was_covered_by_a_clock_that_was_ahead_is_read_again() {
    let records = (0..60).map(|n| record(&format!("r{n}"), n * 10)).collect();
    let mut source = FakeSource::new(example_spec(), true, records);
    source.options.overlap = Some(Overlap::Fixed(Duration::from_secs(1)));
    source.hook(|_, _, _| body(r#"{"records":[],"next":null,"total":0}"#));
    source.collect_until(500).await;
    source.hook(|_, _, _| None);
    source.restart();
    source.set_clock_back(Duration::from_secs(305));
    assert_eq!(source.now(), at_secs(200));
    source.collect_until(700).await;
    let collected = source.collected().await;
    let lost: Vec<_> = (20..60).filter(|n| !collected.contains_key(&record(&format!("r{n}"), n * 10).raw)).collect();
    assert_eq!(lost, Vec::<i64>::new());
}

/// This machine's clock is two hours ahead, as the vendor's `Date` says, and is set right while the source runs.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_does_not_stop_the_source() {
    const AHEAD: Duration = Duration::from_secs(7_200);
    let all: Vec<FakeRecord> = (0..60).map(|n| record(&format!("r{n}"), n * 10 - 7_200)).collect();
    let mut source = FakeSource::new(example_spec(), true, Vec::new());
    source.options.backfill_start_time = Some(StartTime::At(at_secs(-7_300)));
    let (clock, began, existing) = (source.clock(), Instant::now(), all.clone());
    let mut is_ahead = true;
    source.hook(move |_, call, records| {
        let now = at_secs(-7_200) + began.elapsed();
        *records = existing.iter().filter(|record| record.at <= now).cloned().collect();
        if is_ahead && began.elapsed() > Duration::from_secs(100) {
            is_ahead = false;
            clock.set_back(AHEAD);
        }
        Some(Ok(Response { date: Some(now), ..page_of(call, records) }))
    });
    let shutdown = CancellationToken::new();
    let stop = async {
        tokio::time::sleep(Duration::from_secs(600)).await;
        shutdown.cancel();
    };
    tokio::join!(source.run_with(CollectMode::Continuous, shutdown.clone()), stop);
    let collected = source.collected().await;
    let lost: Vec<_> = all.iter().take(50).filter(|record| !collected.contains_key(&record.raw)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test(start_paused = true)]
async fn an_automatic_overlap_follows_the_lateness_of_the_events_and_fetches_what_a_fixed_one_misses() {
    let punctual = (0..500).map(|n| late(&format!("r{n}"), n * 10, n * 10 + 50));
    let records: Vec<FakeRecord> = punctual.chain([late("later", 4_000, 4_110)]).collect();
    for (overlap, is_found) in [(None, false), (Some(Overlap::Auto), true)] {
        let mut source = FakeSource::new(ApiSpec { delay: Duration::ZERO, ..example_spec() }, true, records.clone());
        source.options.overlap = overlap;
        let shutdown = CancellationToken::new();
        let end = tokio::time::sleep(Duration::from_secs(4_500));
        let cancel = async {
            end.await;
            shutdown.cancel();
        };
        tokio::join!(source.run_with(CollectMode::Continuous, shutdown.clone()), cancel);
        assert_eq!(source.collected().await.contains_key(&records[500].raw), is_found, "{overlap:?}");
    }
}
