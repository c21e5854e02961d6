//! What reports show of a source: how late its events were, and what it would request next.

use std::time::Duration;

use super::fake_api::{FakeSource, at_secs, example_spec, late, record};
use crate::collect::options::StartTime;
use crate::journal::LatenessCounts;

fn every_minute() -> Vec<super::fake_api::FakeRecord> {
    (0..180).map(|minute| record(&format!("r{minute}"), -60 * minute - 30)).collect()
}

fn lateness(source: &FakeSource) -> LatenessCounts {
    source.snapshot().expect("it has run").source("audit").expect("the source is in it").lateness.clone()
}

#[tokio::test(start_paused = true)]
async fn lateness_is_counted_by_polls_and_not_by_a_backfill() {
    let mut records = every_minute();
    records.extend([record("a", 10), late("late", 12, 62), record("b", 40), record("c", 70)]);
    let mut source = FakeSource::new(example_spec(), true, records);
    source.options.backfill_start_time = Some(StartTime::At(at_secs(-7_200)));
    source.poll(40).await;
    let counts = lateness(&source);
    assert_eq!(counts.events(), 4);
    let (median, greatest) = (counts.quantile(0.5).expect("counted"), counts.quantile(1.0).expect("counted"));
    assert!(median < Duration::from_secs(45), "{median:?}");
    assert!((50..105).contains(&greatest.as_secs()), "{greatest:?}");
}

#[tokio::test(start_paused = true)]
async fn the_forecast_windows_are_requested_next() {
    let mut source = FakeSource::new(example_spec(), true, every_minute());
    source.options.page_size = Some(1_000);
    source.options.backfill_slice = Some(crate::units::Span(Duration::from_secs(1_800)));
    source.options.backfill_start_time = Some(StartTime::At(at_secs(-10_000)));
    for calls_before in [0, 2] {
        let expected: Vec<_> = source.forecast(3).first.iter().map(|forecast| forecast.window.fetch_range).collect();
        assert_eq!(expected.len(), 3);
        source.poll(if calls_before == 0 { 2 } else { 3 }).await;
        let calls = source.calls();
        let requested = calls.iter().skip(calls_before).map(|call| (call.from, call.to));
        for (fetch_range, (from, to)) in expected.iter().zip(requested) {
            assert_eq!((fetch_range.from, fetch_range.to), (from, to));
        }
        source.restart();
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_scan_is_forecast_where_it_resumes() {
    let mut source = FakeSource::new(example_spec(), true, every_minute());
    source.options.backfill_start_time = Some(StartTime::At(at_secs(-10_000)));
    // The third page is prefetched while the second is stored. Each page begins two records before the end of the last.
    source.poll(3).await;
    let forecast = source.forecast(1);
    assert!(forecast.first[0].open);
    assert_eq!(forecast.first[0].cursor.as_deref(), Some("16"));
    source.filter = "another";
    assert_eq!(source.forecast(1).first[0].cursor, None, "another request starts at its first page");
}
