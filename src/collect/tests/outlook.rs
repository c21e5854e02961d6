//! What is told from outside of a source: how late its events were, and what it would ask next.

use std::time::Duration;

use super::play::{Stage, example_facts, held, late, moment};
use crate::collect::options::StartTime;
use crate::journal::LatenessCounts;

fn every_minute() -> Vec<super::play::Held> {
    (0..180).map(|minute| held(&format!("r{minute}"), -60 * minute - 30)).collect()
}

fn lateness(stage: &Stage) -> LatenessCounts {
    stage.look().expect("it has run").source("audit").expect("it is known").lateness.clone()
}

#[tokio::test(start_paused = true)]
async fn lateness_is_counted_by_polls_and_not_by_a_backfill() {
    let mut records = every_minute();
    records.extend([held("a", 10), late("late", 12, 62), held("b", 40), held("c", 70)]);
    let mut stage = Stage::new(example_facts(), true, records);
    stage.options.backfill_start_time = Some(StartTime::At(moment(-7_200)));
    stage.poll(40).await;
    let counts = lateness(&stage);
    assert_eq!(counts.events(), 4);
    let (median, greatest) = (counts.quantile(0.5).expect("counted"), counts.quantile(1.0).expect("counted"));
    assert!(median < Duration::from_secs(45), "{median:?}");
    assert!((50..105).contains(&greatest.as_secs()), "{greatest:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_planned_ahead_is_what_is_asked_then() {
    let mut stage = Stage::new(example_facts(), true, every_minute());
    stage.options.page_size = Some(1_000);
    stage.options.backfill_slice = Some(crate::units::Span(Duration::from_secs(1_800)));
    stage.options.backfill_start_time = Some(StartTime::At(moment(-10_000)));
    for asked_before in [0, 2] {
        let planned: Vec<_> = stage.ahead(3).first.iter().map(|ahead| ahead.window.fetch_range).collect();
        assert_eq!(planned.len(), 3);
        stage.poll(if asked_before == 0 { 2 } else { 3 }).await;
        let calls = stage.calls();
        let asked = calls.iter().skip(asked_before).map(|call| (call.from, call.to));
        for (fetch_range, (from, to)) in planned.iter().zip(asked) {
            assert_eq!((fetch_range.from, fetch_range.to), (from, to));
        }
        stage.restart();
    }
}

#[tokio::test(start_paused = true)]
async fn a_walk_that_was_interrupted_is_planned_where_it_goes_on() {
    let mut stage = Stage::new(example_facts(), true, every_minute());
    stage.options.backfill_start_time = Some(StartTime::At(moment(-10_000)));
    // The third page is asked for while the second is stored.
    stage.poll(3).await;
    let ahead = stage.ahead(1);
    assert!(ahead.first[0].open);
    assert_eq!(ahead.first[0].cursor.as_deref(), Some("20"));
    stage.filter = "another";
    assert_eq!(stage.ahead(1).first[0].cursor, None, "another request is asked from its first page");
}
