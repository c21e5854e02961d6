//! What moves while it is read: the vendor's records, their number, the request itself.

use std::time::Duration;

use super::play::*;
use crate::collect::options::StartTime;
use crate::collect::{Mode, SourceEnd};
use crate::vendors::{ApiSpec, RecordOrder};

fn before_start(records: i64) -> Vec<Held> {
    (0..records).map(|n| held(&format!("r{n}"), n * 15 - 2_000)).collect()
}

fn backfilled(spec: ApiSpec, records: Vec<Held>) -> Stage {
    let mut stage = Stage::new(spec, true, records);
    stage.options.backfill_start_time = Some(StartTime::Earliest);
    stage
}

#[tokio::test(start_paused = true)]
async fn rows_that_move_without_the_total_changing_make_no_false_twin() {
    let spec = ApiSpec { has_ids: false, ..example_facts() };
    let mut stage = backfilled(spec, before_start(60));
    let mut moved = false;
    stage.hook(move |_, call, records| {
        if call.offset == 20 && !std::mem::replace(&mut moved, true) {
            records.retain(|held| !held.raw.contains("\"r0\""));
            records.push(held("late", -100));
        }
        None
    });
    stage.collect_until(0).await;
    assert_eq!(stage.collected().await, stage.truth());
}

#[tokio::test(start_paused = true)]
async fn a_total_that_only_grows_does_not_keep_a_window_from_ending() {
    let spec = ApiSpec { has_ids: false, order: RecordOrder::OldestFirst, ..example_facts() };
    let mut stage = backfilled(spec, before_start(60));
    stage.hook(|number, _, records| {
        records.push(held(&format!("new{number}"), i64::try_from(number).expect("small") - 900));
        None
    });
    assert_eq!(stage.run(Mode::Once { until: START }, Some(60)).await, SourceEnd::Finished);
    let collected = stage.collected().await;
    assert!(before_start(60).iter().all(|held| collected.contains_key(&held.raw)));
    assert!(collected.values().all(|count| *count == 1), "{collected:?}");
}

#[tokio::test(start_paused = true)]
async fn small_pages_come_to_an_end() {
    let spec = ApiSpec { page_size: 1, max_window_records: 400, ..example_facts() };
    let many = (0..150).map(|n| held(&format!("m{n}"), n - 200)).collect();
    let mut stage = backfilled(spec, many);
    assert_eq!(stage.run(Mode::Once { until: START }, Some(400)).await, SourceEnd::Finished);
    assert_eq!(stage.collected().await, stage.truth());
}

#[tokio::test(start_paused = true)]
async fn with_a_filter_of_days_a_record_later_than_the_overlap_is_taken_when_it_is_read() {
    let day = Duration::from_secs(86_400);
    let spec = ApiSpec { time_granularity: day, slice: day, overlap: Duration::from_secs(600), ..example_facts() };
    let mut stage = Stage::new(spec, true, vec![held("a", 50), late("b", 100, 12_000), held("c", 11_000)]);
    stage.collect_until(10_000).await;
    assert_eq!(stage.events().await.len(), 1);
    stage.collect_until(20_000).await;
    assert_eq!(stage.collected().await, stage.truth());
}

#[tokio::test(start_paused = true)]
async fn a_half_read_window_is_read_again_when_the_request_has_changed() {
    let spec = ApiSpec { order: RecordOrder::OldestFirst, ..example_facts() };
    let mut stage = backfilled(spec, before_start(60));
    assert_eq!(stage.run(Mode::Once { until: START }, Some(6)).await, SourceEnd::Shutdown);
    stage.restart();
    assert!(stage.calls().iter().any(|call| call.offset > 0), "it stopped in the middle");
    stage.filter = "more";
    stage.hook(|_, _, records| {
        if records.len() == 60 {
            records.extend((0..30).map(|n| held(&format!("more{n}"), n - 2_100)));
        }
        None
    });
    stage.collect_until(0).await;
    assert_eq!(stage.collected().await, stage.truth());
}
