//! What a killed process, a strange clock or a vendor that refuses old time must not cost.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::errors::FailingJournal;
use super::fake_api::*;
use crate::collect::options::StartTime;
use crate::collect::transport::Response;
use crate::collect::{CollectMode, SourceEnd};
use crate::journal::SourceState;
use crate::time::Timestamp;
use crate::units::{Rate, Span};
use crate::vendors::{ApiSpec, RecordOrder};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn state_of(source: &FakeSource) -> SourceState {
    source.snapshot().expect("exists").source("audit").expect("known").state.clone()
}

/// Twenty records of one moment, of which two far apart are identical.
fn identical_far_apart() -> Vec<FakeRecord> {
    let name = |n: usize| if n == 12 { 3 } else { n };
    (0..20).map(|n| record(&format!("x{:02}", name(n)), -5_000)).collect()
}

#[tokio::test(start_paused = true)]
async fn identical_records_on_two_pages_survive_a_kill_between_them() {
    for stop in 1..12 {
        let spec = ApiSpec { has_ids: false, order: RecordOrder::Unknown, slice: DAY, ..example_spec() };
        let mut source = FakeSource::new(spec, true, identical_far_apart());
        source.options.backfill_start_time = Some(StartTime::Earliest);
        let once = CollectMode::Once { until: START };
        let _ = source.run(once, Some(stop)).await;
        source.restart();
        assert_eq!(source.collect_until(0).await, SourceEnd::Finished);
        assert_eq!(source.collected().await, source.truth(), "killed at request {stop}");
        assert_eq!(state_of(&source).in_doubt, [], "killed at request {stop}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_recheck_found_before_a_kill_is_doubt_after_it() {
    for killed_at in 1..8 {
        let mut records: Vec<FakeRecord> = (0..40).map(|n| record(&format!("r{n}"), n * 2)).collect();
        records.push(late("late", 79, 5_000));
        let mut source = FakeSource::new(example_spec(), true, records);
        source.options.poll_interval = Some(Span(HOUR));
        source.collect_until(100).await;
        let (shutdown, mut rechecks) = (CancellationToken::new(), 0);
        let kill = shutdown.clone();
        source.hook(move |_, call, _| {
            rechecks += i32::from(call.to <= at_secs(100) && call.at > START + DAY);
            if rechecks == killed_at {
                kill.cancel();
            }
            None
        });
        // The recheck is due at 101,600, and what it puts in doubt is read again at 102,600.
        let once = CollectMode::Once { until: at_secs(102_000) };
        let _ = source.run_with(once, shutdown).await;
        source.restart();
        source.collect_until(102_000).await;
        assert_eq!(source.collected().await, source.truth());
        let in_doubt = state_of(&source).in_doubt;
        assert!(in_doubt.iter().any(|time| time.reasons == ["found"]), "killed at request {killed_at}: {in_doubt:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn covered_time_that_the_vendor_refuses_to_show_again_is_not_asked_for_without_end() {
    let records = (0..40).map(|n| record(&format!("r{n}"), n * 2)).collect();
    let mut source = FakeSource::new(example_spec(), true, records);
    source.options.poll_interval = Some(Span(HOUR));
    source.collect_until(100).await;
    let shutdown = CancellationToken::new();
    let (stop, old) = (shutdown.clone(), Arc::new(std::sync::Mutex::new(Vec::new())));
    let seen = old.clone();
    source.hook(move |_, call, _| {
        let mut old = seen.lock().expect("no panic");
        if call.at > START + DAY * 12 || old.len() > 400 {
            stop.cancel();
        }
        if call.to + HOUR * 12 > call.at {
            return None;
        }
        old.extend((call.from < at_secs(100)).then_some(call.at));
        status(500)
    });
    source.run_with(CollectMode::Continuous, shutdown).await;
    let old = old.lock().expect("no panic").clone();
    assert!(source.now() > START + DAY * 12 && !old.is_empty(), "{} requests", old.len());
    assert!(old.iter().all(|at| *at < START + DAY * 10), "{old:?}");
}

#[tokio::test(start_paused = true)]
async fn one_answer_with_a_date_of_long_ago_does_not_stop_a_source() {
    let records = (0..4_000).map(|n| record(&format!("r{n}"), n)).collect();
    let mut source = FakeSource::new(ApiSpec { page_size: 1_000, ..example_spec() }, true, records);
    source.hook(|number, call, records| {
        (number == 5).then(|| Ok(Response { date: Some(Timestamp::EPOCH), ..page_of(call, records) }))
    });
    let polled = tokio::time::timeout(HOUR * 3, source.poll(60)).await;
    assert!(polled.is_ok(), "{} requests", source.calls().len());
}

#[tokio::test(start_paused = true)]
async fn time_beyond_the_vendors_clock_is_not_covered_by_a_slow_disk() {
    let records = (0..12).map(|n| record(&format!("r{n}"), n - 900)).collect();
    // Too few requests for a page to be requested before the last one is stored.
    let rate_limit = vec![Rate { requests: 1, per: Duration::from_secs(1) }];
    let mut source = FakeSource::new(ApiSpec { rate_limit, ..example_spec() }, false, records);
    source.options.backfill_start_time = Some(StartTime::At(at_secs(-1_000)));
    let (_not_full, full) = tokio::sync::watch::channel(false);
    let journal = Arc::new(FailingJournal { inner: source.journal(), failures: 0.into(), full });
    source.wrap_journal(journal.clone());
    source.hook(move |number, call, records| {
        if number == 3 {
            journal.failures.store(5, Ordering::Relaxed);
        }
        let mut response = page_of(call, records);
        response.date = Some(call.at - Duration::from_secs(60));
        let text = String::from_utf8(response.body).expect("text").replace("\"total\":12", "\"total\":null");
        Some(Ok(Response { body: text.into_bytes(), ..response }))
    });
    source.poll(40).await;
    let coverage = state_of(&source).coverage;
    assert_eq!(coverage.len(), 1, "{coverage:?}");
}

#[tokio::test(start_paused = true)]
async fn pages_of_one_to_four_records_are_read_to_the_end_without_doubt() {
    for page_size in 1..=4 {
        for (has_ids, has_total) in [(true, true), (true, false), (false, true), (false, false)] {
            for order in [RecordOrder::NewestFirst, RecordOrder::OldestFirst, RecordOrder::Unknown] {
                let records = (0..11).map(|n| record(&format!("r{n}"), n / 2 - 500)).collect();
                let spec = ApiSpec { has_ids, page_size, order, ..example_spec() };
                let mut source = FakeSource::new(spec, has_total, records);
                source.options.backfill_start_time = Some(StartTime::Earliest);
                assert_eq!(source.collect_until(0).await, SourceEnd::Finished);
                let case = format!("{page_size} ids {has_ids} total {has_total} {order:?}");
                assert_eq!(source.collected().await, source.truth(), "{case}");
                assert_eq!(state_of(&source).in_doubt, [], "{case}");
            }
        }
    }
}
