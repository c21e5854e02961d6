//! What is collected: everything, once.

use std::time::Duration;

use proptest::prelude::*;

use super::fake_api::*;
use crate::collect::options::StartTime;
use crate::collect::{CollectMode, SourceEnd};
use crate::journal::WindowKind;
use crate::time::TimeRange;
use crate::units::{Rate, Span};
use crate::vendors::{ApiSpec, Recheck, RecordOrder};

const DAY: Duration = Duration::from_secs(86_400);

/// A record every 15 seconds of the hour before the start, three of every ten with another at the same moment.
fn past_hour() -> Vec<FakeRecord> {
    let pairs = (0..240_i64).flat_map(|n| {
        let at = n * 15 - 3_600;
        let mut pair = vec![record(&format!("r{n}"), at)];
        if n % 10 < 3 {
            pair.push(record(&format!("t{n}"), at));
        }
        pair
    });
    pairs.collect()
}

fn backfilled(spec: ApiSpec, has_total: bool, records: Vec<FakeRecord>) -> FakeSource {
    let mut source = FakeSource::new(spec, has_total, records);
    source.options.backfill_start_time = Some(StartTime::Earliest);
    source
}

fn identical() -> Vec<FakeRecord> {
    let mut records = past_hour();
    records.extend([record("r3", 45 - 3_600), record("r3", 45 - 3_600), record("r200", 3_000 - 3_600)]);
    records
}

async fn assert_exact(source: &mut FakeSource) {
    assert_eq!(source.collected().await, source.truth());
}

#[tokio::test(start_paused = true)]
async fn whatever_the_order_all_of_it_is_collected_oldest_first() {
    for order in [RecordOrder::NewestFirst, RecordOrder::OldestFirst, RecordOrder::Unknown] {
        for has_total in [true, false] {
            let spec = ApiSpec { order, page_size: 50, ..example_spec() };
            let mut source = backfilled(spec, has_total, past_hour());
            assert_eq!(source.collect_until(0).await, SourceEnd::Finished);
            assert_exact(&mut source).await;
            let events = source.events().await;
            if order != RecordOrder::Unknown {
                let at = |raw: &str| raw.split("\"at\":").nth(1).map(str::to_owned);
                assert!(events.is_sorted_by_key(|(raw, _)| at(raw)), "{order:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_backfill_nothing_from_before_the_first_start() {
    let mut records = past_hour();
    records.push(record("after", 3));
    let mut source = FakeSource::new(example_spec(), true, records);
    source.collect_until(20).await;
    let events = source.events().await;
    assert_eq!(events.len(), 1);
    assert!(events[0].0.contains("after"));
}

#[tokio::test(start_paused = true)]
async fn a_first_backfill_does_not_follow_the_present_request_by_request() {
    let spec = ApiSpec { delay: Duration::from_secs(60), page_size: 1_000, ..example_spec() };
    let mut source = backfilled(spec, true, past_hour());
    source.poll(10).await;
    let requested: Vec<i64> =
        source.calls().iter().map(|call| (call.at.as_millis() - START.as_millis()) / 1_000).collect();
    assert!(requested[9] >= 120, "ten requests take longer than the delay of the first minute: {requested:?}");
    assert_exact(&mut source).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_live_window_begins_as_soon_as_something_is_readable() {
    let spec = ApiSpec { delay: Duration::from_secs(5), poll_interval: Duration::from_secs(600), ..example_spec() };
    let mut source = FakeSource::new(spec, true, vec![record("first", 0)]);
    source.poll(2).await;
    let requested: Vec<i64> =
        source.calls().iter().map(|call| (call.at.as_millis() - START.as_millis()) / 1_000).collect();
    assert_eq!(requested, [6, 606]);
    assert_exact(&mut source).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_killed_at_every_page_collects_everything_once() {
    for has_ids in [true, false] {
        for has_total in [true, false] {
            let records = if has_ids { past_hour() } else { identical() };
            let spec = ApiSpec { has_ids, page_size: 30, ..example_spec() };
            let mut source = backfilled(spec, has_total, records);
            let mut kills = 0;
            while source.run(CollectMode::Once { until: START }, Some(1 + kills / 12)).await == SourceEnd::Shutdown {
                source.restart();
                kills += 1;
                assert!(kills < 200, "no progress");
            }
            assert!(kills >= 10, "{kills}");
            assert_exact(&mut source).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn identical_records_of_a_vendor_without_ids_are_all_kept() {
    for has_total in [true, false] {
        let spec = ApiSpec { has_ids: false, page_size: 7, ..example_spec() };
        let mut source = backfilled(spec, has_total, identical());
        source.collect_until(0).await;
        assert_exact(&mut source).await;
        let mut numbers: Vec<u32> =
            source.events().await.iter().filter(|(raw, _)| raw.contains("\"r3\"")).map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_overlap_reads_again_is_not_collected_again() {
    for has_ids in [true, false] {
        let mut records: Vec<FakeRecord> = (0..300).map(|n| record(&format!("r{n}"), n)).collect();
        records.extend([record("r7", 7), record("r7", 7)]);
        if has_ids {
            records.truncate(300);
        }
        let mut source = FakeSource::new(ApiSpec { has_ids, page_size: 500, ..example_spec() }, true, records);
        source.poll(12).await;
        let collected = source.collected().await;
        assert!(source.calls().len() >= 12 && collected.len() > 250);
        assert!(collected.iter().all(|(raw, count)| *count == source.truth()[raw]), "{collected:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_becomes_visible_late_is_found_inside_the_overlap() {
    for has_ids in [true, false] {
        let records = vec![record("a", 10), late("late", 12, 62), record("b", 40), record("c", 70)];
        let mut source = FakeSource::new(ApiSpec { has_ids, ..example_spec() }, true, records);
        source.collect_until(50).await;
        assert_eq!(source.events().await.len(), 2);
        source.collect_until(90).await;
        assert_exact(&mut source).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_shift_neither_duplicates_nor_loses_records() {
    for has_ids in [true, false] {
        for has_total in [true, false] {
            let spec = ApiSpec { has_ids, ..example_spec() };
            let mut source = backfilled(spec, has_total, past_hour());
            source.hook(|number, _, records| {
                if matches!(number, 3 | 5 | 30) {
                    let late = record(&format!("late{number}"), -i64::try_from(number).expect("small"));
                    records.push(late);
                }
                None
            });
            source.collect_until(0).await;
            source.collect_until(40).await;
            assert_exact(&mut source).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_disappear_during_a_scan_hide_no_others() {
    for has_ids in [true, false] {
        let spec = ApiSpec { has_ids, order: RecordOrder::OldestFirst, ..example_spec() };
        let mut source = backfilled(spec, true, past_hour());
        source.hook(|number, _, records| {
            if number == 7 {
                records.retain(|record| !record.raw.contains("\"r1\""));
            }
            None
        });
        source.collect_until(0).await;
        let collected = source.collected().await;
        assert!(source.truth().iter().all(|(raw, count)| collected.get(raw) == Some(count)));
        assert!(collected.values().all(|count| *count == 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_that_is_too_deep_is_split_until_it_is_not() {
    for has_total in [true, false] {
        let spec = ApiSpec { max_window_records: 40, overlap: Duration::from_secs(20), ..example_spec() };
        let mut source = backfilled(spec, has_total, past_hour());
        source.collect_until(0).await;
        assert_exact(&mut source).await;
        let deepest = source.calls().iter().map(|call| call.offset).max();
        assert!(deepest <= Some(40), "{deepest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_instant_with_more_records_than_a_window_should_have_is_read_to_its_end() {
    let records = (0..200).map(|n| record(&format!("r{n}"), -100)).collect();
    let spec = ApiSpec { max_window_records: 40, overlap: Duration::ZERO, ..example_spec() };
    let mut source = backfilled(spec, true, records);
    source.collect_until(0).await;
    assert_exact(&mut source).await;
}

#[tokio::test(start_paused = true)]
async fn a_filter_of_whole_days_collects_each_moment_once() {
    for has_ids in [true, false] {
        let records: Vec<FakeRecord> = (0..400).map(|n| record(&format!("r{n}"), n * 3_000 - 600_000)).collect();
        let spec = ApiSpec {
            has_ids,
            time_granularity: DAY,
            slice: DAY * 2,
            overlap: DAY,
            poll_interval: Duration::from_secs(3_600),
            earliest: START - DAY * 8,
            page_size: 20,
            ..example_spec()
        };
        let mut source = backfilled(spec, true, records);
        source.collect_until(600_000).await;
        let expected = source.truth().into_keys().filter(|raw| {
            let millis: i64 =
                raw.split("\"at\":").nth(1).and_then(|rest| rest.split(',').next()?.parse().ok()).expect("a time");
            millis < at_secs(600_000).as_millis()
        });
        assert_eq!(source.collected().await, expected.map(|raw| (raw, 1)).collect());
        assert!(
            source.calls().iter().all(|call| call.from == call.from.floor_to(DAY) && call.to == call.to.floor_to(DAY))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_changes_is_delivered_again_in_its_higher_version() {
    let mut spec = example_spec();
    spec.recheck = Some(Recheck { interval: Duration::from_secs(600), lookback: Duration::from_secs(3_600) });
    spec.overlap = Duration::ZERO;
    let mut source = FakeSource::new(spec, true, vec![versioned("a", 10, 1), versioned("b", 20, 1)]);
    source.collect_until(60).await;
    source.hook(|_, _, records| {
        *records = vec![versioned("a", 10, 3), versioned("b", 20, 1)];
        None
    });
    source.collect_until(120).await;
    source.collect_until(180).await;
    let events = source.events().await;
    let raws: Vec<&str> = events.iter().map(|(raw, _)| raw.as_str()).collect();
    let expected = [versioned("a", 10, 1), versioned("b", 20, 1), versioned("a", 10, 3)].map(|record| record.raw);
    assert_eq!(raws, expected);
}

#[tokio::test(start_paused = true)]
async fn a_record_without_a_usable_time_is_collected_once() {
    let mut source = FakeSource::new(example_spec(), false, vec![]);
    source.hook(|_, _, _| body(r#"{"records":[{"id":"no time"},17,"text"],"next":null,"total":null}"#));
    source.poll(6).await;
    source.restart();
    source.poll(6).await;
    assert_eq!(source.collected().await.into_values().collect::<Vec<_>>(), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_old_record_that_the_filter_returns_for_another_reason_is_collected_once() {
    let mut source = backfilled(example_spec(), false, vec![]);
    let ancient = format!(r#"{{"records":[{}],"next":null,"total":null}}"#, record("ancient", -500_000).raw);
    source.hook(move |_, _, _| body(&ancient));
    for _ in 0..3 {
        source.poll(8).await;
        source.restart();
    }
    assert_eq!(source.collected().await.into_values().collect::<Vec<_>>(), [1]);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_start_is_backfilled_later_and_an_end_is_kept() {
    let mut source = FakeSource::new(example_spec(), true, past_hour());
    source.collect_until(10).await;
    assert_eq!(source.events().await.len(), 0);
    source.options.backfill_start_time = Some(StartTime::At(at_secs(-1_800)));
    source.options.end_time = Some(crate::collect::options::PointInTime(at_secs(-900)));
    assert_eq!(source.run(CollectMode::Continuous, None).await, SourceEnd::Finished);
    let half = source.events().await.len();
    let within = past_hour().iter().filter(|record| record.at >= at_secs(-1_800) && record.at < at_secs(-900)).count();
    assert_eq!(half, within);
    source.options.backfill_start_time = Some(StartTime::Earliest);
    source.options.end_time = None;
    source.collect_until(10).await;
    assert_exact(&mut source).await;
}

#[tokio::test(start_paused = true)]
async fn live_polls_go_between_the_pages_of_a_backfill() {
    let mut spec = ApiSpec { page_size: 1, ..example_spec() };
    spec.rate_limit = vec![Rate { requests: 1, per: Duration::from_secs(1) }];
    let mut source = backfilled(spec, true, past_hour());
    source.poll(250).await;
    let live: Vec<i64> = (source.calls().iter().filter(|call| call.to > START && call.offset == 0))
        .map(|call| call.at.as_millis() / 1_000 - START.as_millis() / 1_000)
        .collect();
    assert!(live.len() >= 7, "{live:?}");
    assert!(live.windows(2).all(|pair| (29..=32).contains(&(pair[1] - pair[0]))), "{live:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_downtime_is_caught_up_oldest_first() {
    let records: Vec<FakeRecord> = (0..100).map(|n| record(&format!("r{n}"), n * 200)).collect();
    let mut source = FakeSource::new(example_spec(), true, records);
    source.collect_until(300).await;
    tokio::time::advance(Duration::from_secs(20_000)).await;
    source.collect_until(19_900).await;
    assert_exact(&mut source).await;
    assert!(source.calls().iter().all(|call| call.to.since(call.from) <= Duration::from_secs(3_700)));
}

#[tokio::test(start_paused = true)]
async fn coverage_is_what_was_collected() {
    let mut source = backfilled(example_spec(), true, past_hour());
    source.options.backfill_slice = Some(Span(Duration::from_secs(600)));
    source.collect_until(60).await;
    let registration = crate::journal::SourceRegistration {
        name: "audit".into(),
        vendor: "example".into(),
        normalizer_config: crate::vendors::NormalizerConfig::default(),
        now: START,
    };
    let state = source.journal().open_source(registration).await.expect("opened");
    assert_eq!(state.coverage, [TimeRange::new(at_secs(-10_000), at_secs(60))]);
    assert!(state.open.iter().all(|open| open.window.kind != WindowKind::Live));
    assert!(state.open.is_empty());
}

/// A random source, with random errors and kills.
#[derive(Clone, Debug)]
struct Scenario {
    has_ids: bool,
    has_total: bool,
    order: RecordOrder,
    page_size: u32,
    max_window_records: u64,
    moments: Vec<(i64, u8)>,
    kills: Vec<usize>,
    errors: Vec<u8>,
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let order = prop_oneof![Just(RecordOrder::NewestFirst), Just(RecordOrder::OldestFirst)];
    let sizes = (1_u32..12, 5_u64..60);
    let moments = prop::collection::vec((-1_800_i64..100, 0_u8..3), 0..60);
    let rest = (prop::collection::vec(1_usize..15, 0..6), prop::collection::vec(0_u8..10, 0..40));
    (any::<bool>(), any::<bool>(), order, sizes, moments, rest).prop_map(
        |(has_ids, has_total, order, (page_size, max_window_records), moments, (kills, errors))| Scenario {
            has_ids,
            has_total,
            order,
            page_size,
            max_window_records,
            moments,
            kills,
            errors,
        },
    )
}

impl Scenario {
    fn source(&self) -> FakeSource {
        let records = self.moments.iter().enumerate().flat_map(|(index, (secs, identical))| {
            let identical = if self.has_ids { 0 } else { *identical };
            vec![record(&format!("r{index}"), *secs); usize::from(identical) + 1]
        });
        let spec = ApiSpec {
            has_ids: self.has_ids,
            order: self.order,
            // Up to three records are identical: pages that they fill show no place, and leave doubt.
            page_size: if self.has_ids { self.page_size } else { self.page_size.max(5) },
            max_window_records: self.max_window_records,
            slice: Duration::from_secs(500),
            ..example_spec()
        };
        let source = backfilled(spec, self.has_total, records.collect());
        let errors = self.errors.clone();
        source.hook(move |number, _, _| match errors.get(number) {
            Some(0) => status(500),
            Some(1) => status(429),
            Some(2) => status(410),
            Some(3) => body("{\"records\":["),
            Some(4) => body("<html>"),
            _ => None,
        });
        source
    }

    async fn run(&self) -> Result<(), TestCaseError> {
        let mut source = self.source();
        let until = at_secs(100);
        for kill in &self.kills {
            source.run(CollectMode::Once { until }, Some(*kill)).await;
            source.restart();
        }
        prop_assert_eq!(source.run(CollectMode::Once { until }, None).await, SourceEnd::Finished);
        prop_assert_eq!(source.collected().await, source.truth());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever the vendor's API and errors, and wherever the process is killed: everything is collected once.
    #[test]
    fn exactly_once_in_every_scenario(scenario in scenario()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(scenario.run())?;
    }
}
