//! What changes while it is read: the vendor's records, their number, the request itself.

use std::time::Duration;

use super::fake_api::*;
use crate::collect::options::StartTime;
use crate::collect::{CollectMode, SourceEnd};
use crate::vendors::{ApiSpec, RecordOrder};

fn before_start(records: i64) -> Vec<FakeRecord> {
    (0..records).map(|n| record(&format!("r{n}"), n * 15 - 2_000)).collect()
}

fn backfilled(spec: ApiSpec, records: Vec<FakeRecord>) -> FakeSource {
    let mut source = FakeSource::new(spec, true, records);
    source.options.backfill_start_time = Some(StartTime::Earliest);
    source
}

#[tokio::test(start_paused = true)]
async fn records_that_move_without_changing_the_total_do_not_look_identical() {
    let spec = ApiSpec { has_ids: false, ..example_spec() };
    let mut source = backfilled(spec, before_start(60));
    let mut moved = false;
    source.hook(move |_, call, records| {
        if call.offset == 20 && !std::mem::replace(&mut moved, true) {
            records.retain(|record| !record.raw.contains("\"r0\""));
            records.push(record("late", -100));
        }
        None
    });
    source.collect_until(0).await;
    assert_eq!(source.collected().await, source.truth());
}

#[tokio::test(start_paused = true)]
async fn a_total_that_only_grows_does_not_keep_a_window_from_ending() {
    let spec = ApiSpec { has_ids: false, order: RecordOrder::OldestFirst, ..example_spec() };
    let mut source = backfilled(spec, before_start(60));
    source.hook(|number, _, records| {
        records.push(record(&format!("new{number}"), i64::try_from(number).expect("small") - 900));
        None
    });
    assert_eq!(source.run(CollectMode::Once { until: START }, Some(60)).await, SourceEnd::Finished);
    let collected = source.collected().await;
    assert!(before_start(60).iter().all(|record| collected.contains_key(&record.raw)));
    assert!(collected.values().all(|count| *count == 1), "{collected:?}");
}

#[tokio::test(start_paused = true)]
async fn small_pages_end() {
    let spec = ApiSpec { page_size: 1, max_window_records: 400, ..example_spec() };
    let many = (0..150).map(|n| record(&format!("m{n}"), n - 200)).collect();
    let mut source = backfilled(spec, many);
    assert_eq!(source.run(CollectMode::Once { until: START }, Some(400)).await, SourceEnd::Finished);
    assert_eq!(source.collected().await, source.truth());
}

#[tokio::test(start_paused = true)]
async fn with_a_filter_of_days_a_record_later_than_the_overlap_is_taken_when_it_is_read() {
    let day = Duration::from_secs(86_400);
    let spec = ApiSpec { time_granularity: day, slice: day, overlap: Duration::from_secs(600), ..example_spec() };
    let mut source = FakeSource::new(spec, true, vec![record("a", 50), late("b", 100, 12_000), record("c", 11_000)]);
    source.collect_until(10_000).await;
    assert_eq!(source.events().await.len(), 1);
    source.collect_until(20_000).await;
    assert_eq!(source.collected().await, source.truth());
}

#[tokio::test(start_paused = true)]
async fn a_partly_read_window_is_read_again_when_the_request_has_changed() {
    let spec = ApiSpec { order: RecordOrder::OldestFirst, ..example_spec() };
    let mut source = backfilled(spec, before_start(60));
    assert_eq!(source.run(CollectMode::Once { until: START }, Some(6)).await, SourceEnd::Shutdown);
    source.restart();
    assert!(source.calls().iter().any(|call| call.offset > 0), "it stopped inside the window");
    source.filter = "more";
    source.hook(|_, _, records| {
        if records.len() == 60 {
            records.extend((0..30).map(|n| record(&format!("more{n}"), n - 2_100)));
        }
        None
    });
    source.collect_until(0).await;
    assert_eq!(source.collected().await, source.truth());
}
