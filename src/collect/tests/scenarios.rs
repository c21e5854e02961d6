//! What is collected: everything, once.

use crate::time::TimeRange;
use std::time::Duration;

use proptest::prelude::*;

use super::play::*;
use crate::collect::options::StartTime;
use crate::collect::{Mode, SourceEnd};
use crate::journal::WindowKind;
use crate::units::{Rate, Span};
use crate::vendors::{ApiSpec, Recheck, RecordOrder};

const DAY: Duration = Duration::from_secs(86_400);

/// A record every 15 seconds of the hour before the start, three of every ten with another at the same moment.
fn past_hour() -> Vec<Held> {
    let pairs = (0..240_i64).flat_map(|n| {
        let at = n * 15 - 3_600;
        let mut pair = vec![held(&format!("r{n}"), at)];
        if n % 10 < 3 {
            pair.push(held(&format!("t{n}"), at));
        }
        pair
    });
    pairs.collect()
}

fn backfilled(spec: ApiSpec, tells_total: bool, records: Vec<Held>) -> Stage {
    let mut stage = Stage::new(spec, tells_total, records);
    stage.options.backfill_start_time = Some(StartTime::Earliest);
    stage
}

fn twins() -> Vec<Held> {
    let mut records = past_hour();
    records.extend([held("r3", 45 - 3_600), held("r3", 45 - 3_600), held("r200", 3_000 - 3_600)]);
    records
}

async fn assert_exact(stage: &mut Stage) {
    assert_eq!(stage.collected().await, stage.truth());
}

#[tokio::test(start_paused = true)]
async fn whatever_the_order_all_of_it_is_collected_oldest_first() {
    for order in [RecordOrder::NewestFirst, RecordOrder::OldestFirst, RecordOrder::Unknown] {
        for tells_total in [true, false] {
            let spec = ApiSpec { order, page_size: 50, ..example_facts() };
            let mut stage = backfilled(spec, tells_total, past_hour());
            assert_eq!(stage.collect_until(0).await, SourceEnd::Finished);
            assert_exact(&mut stage).await;
            let events = stage.events().await;
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
    records.push(held("after", 3));
    let mut stage = Stage::new(example_facts(), true, records);
    stage.collect_until(20).await;
    let events = stage.events().await;
    assert_eq!(events.len(), 1);
    assert!(events[0].0.contains("after"));
}

#[tokio::test(start_paused = true)]
async fn a_first_backfill_does_not_chase_the_present_request_by_request() {
    let spec = ApiSpec { delay: Duration::from_secs(60), page_size: 1_000, ..example_facts() };
    let mut stage = backfilled(spec, true, past_hour());
    stage.poll(10).await;
    let asked: Vec<i64> = stage.calls().iter().map(|call| (call.at.as_millis() - START.as_millis()) / 1_000).collect();
    assert!(asked[9] >= 120, "ten requests reach further than the settling of the first minute: {asked:?}");
    assert_exact(&mut stage).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_live_window_comes_as_soon_as_something_has_settled() {
    let spec = ApiSpec { delay: Duration::from_secs(5), poll_interval: Duration::from_secs(600), ..example_facts() };
    let mut stage = Stage::new(spec, true, vec![held("first", 0)]);
    stage.poll(2).await;
    let asked: Vec<i64> = stage.calls().iter().map(|call| (call.at.as_millis() - START.as_millis()) / 1_000).collect();
    assert_eq!(asked, [6, 606]);
    assert_exact(&mut stage).await;
}

#[tokio::test(start_paused = true)]
async fn killed_at_every_page_nothing_is_lost_and_nothing_twice() {
    for has_ids in [true, false] {
        for tells_total in [true, false] {
            let records = if has_ids { past_hour() } else { twins() };
            let spec = ApiSpec { has_ids, page_size: 30, ..example_facts() };
            let mut stage = backfilled(spec, tells_total, records);
            let mut kills = 0;
            while stage.run(Mode::Once { until: START }, Some(1 + kills / 12)).await == SourceEnd::Shutdown {
                stage.restart();
                kills += 1;
                assert!(kills < 200, "it gets nowhere");
            }
            assert!(kills >= 10, "{kills}");
            assert_exact(&mut stage).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn identical_records_of_a_vendor_without_ids_are_all_kept() {
    for tells_total in [true, false] {
        let spec = ApiSpec { has_ids: false, page_size: 7, ..example_facts() };
        let mut stage = backfilled(spec, tells_total, twins());
        stage.collect_until(0).await;
        assert_exact(&mut stage).await;
        let mut numbers: Vec<u32> =
            stage.events().await.iter().filter(|(raw, _)| raw.contains("\"r3\"")).map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_overlap_reads_again_is_not_collected_again() {
    for has_ids in [true, false] {
        let mut records: Vec<Held> = (0..300).map(|n| held(&format!("r{n}"), n)).collect();
        records.extend([held("r7", 7), held("r7", 7)]);
        if has_ids {
            records.truncate(300);
        }
        let mut stage = Stage::new(ApiSpec { has_ids, page_size: 500, ..example_facts() }, true, records);
        stage.poll(12).await;
        let collected = stage.collected().await;
        assert!(stage.calls().len() >= 12 && collected.len() > 250);
        assert!(collected.iter().all(|(raw, count)| *count == stage.truth()[raw]), "{collected:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_becomes_visible_late_is_found_inside_the_overlap() {
    for has_ids in [true, false] {
        let records = vec![held("a", 10), late("late", 12, 62), held("b", 40), held("c", 70)];
        let mut stage = Stage::new(ApiSpec { has_ids, ..example_facts() }, true, records);
        stage.collect_until(50).await;
        assert_eq!(stage.events().await.len(), 2);
        stage.collect_until(90).await;
        assert_exact(&mut stage).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_shift_makes_no_false_twin_and_loses_nothing() {
    for has_ids in [true, false] {
        for tells_total in [true, false] {
            let spec = ApiSpec { has_ids, ..example_facts() };
            let mut stage = backfilled(spec, tells_total, past_hour());
            stage.hook(|number, _, records| {
                if matches!(number, 3 | 5 | 30) {
                    let late = held(&format!("late{number}"), -i64::try_from(number).expect("small"));
                    records.push(late);
                }
                None
            });
            stage.collect_until(0).await;
            stage.collect_until(40).await;
            assert_exact(&mut stage).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_go_away_in_the_middle_hide_no_others() {
    for has_ids in [true, false] {
        let spec = ApiSpec { has_ids, order: RecordOrder::OldestFirst, ..example_facts() };
        let mut stage = backfilled(spec, true, past_hour());
        stage.hook(|number, _, records| {
            if number == 7 {
                records.retain(|held| !held.raw.contains("\"r1\""));
            }
            None
        });
        stage.collect_until(0).await;
        let collected = stage.collected().await;
        assert!(stage.truth().iter().all(|(raw, count)| collected.get(raw) == Some(count)));
        assert!(collected.values().all(|count| *count == 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_too_deep_is_cut_until_it_is_not() {
    for tells_total in [true, false] {
        let spec = ApiSpec { max_window_records: 40, overlap: Duration::from_secs(20), ..example_facts() };
        let mut stage = backfilled(spec, tells_total, past_hour());
        stage.collect_until(0).await;
        assert_exact(&mut stage).await;
        let deepest = stage.calls().iter().map(|call| call.offset).max();
        assert!(deepest <= Some(40), "{deepest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_moment_with_more_records_than_a_window_should_have_is_read_to_its_end() {
    let records = (0..200).map(|n| held(&format!("r{n}"), -100)).collect();
    let spec = ApiSpec { max_window_records: 40, overlap: Duration::ZERO, ..example_facts() };
    let mut stage = backfilled(spec, true, records);
    stage.collect_until(0).await;
    assert_exact(&mut stage).await;
}

#[tokio::test(start_paused = true)]
async fn a_filter_of_whole_days_collects_each_moment_once() {
    for has_ids in [true, false] {
        let records: Vec<Held> = (0..400).map(|n| held(&format!("r{n}"), n * 3_000 - 600_000)).collect();
        let spec = ApiSpec {
            has_ids,
            time_granularity: DAY,
            slice: DAY * 2,
            overlap: DAY,
            poll_interval: Duration::from_secs(3_600),
            earliest: START - DAY * 8,
            page_size: 20,
            ..example_facts()
        };
        let mut stage = backfilled(spec, true, records);
        stage.collect_until(600_000).await;
        let expected = stage.truth().into_keys().filter(|raw| {
            let millis: i64 =
                raw.split("\"at\":").nth(1).and_then(|rest| rest.split(',').next()?.parse().ok()).expect("a time");
            millis < moment(600_000).as_millis()
        });
        assert_eq!(stage.collected().await, expected.map(|raw| (raw, 1)).collect());
        assert!(
            stage.calls().iter().all(|call| call.from == call.from.floor_to(DAY) && call.to == call.to.floor_to(DAY))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_changes_is_delivered_again_in_its_higher_version() {
    let mut spec = example_facts();
    spec.recheck = Some(Recheck { interval: Duration::from_secs(600), lookback: Duration::from_secs(3_600) });
    spec.overlap = Duration::ZERO;
    let mut stage = Stage::new(spec, true, vec![versioned("a", 10, 1), versioned("b", 20, 1)]);
    stage.collect_until(60).await;
    stage.hook(|_, _, records| {
        *records = vec![versioned("a", 10, 3), versioned("b", 20, 1)];
        None
    });
    stage.collect_until(120).await;
    stage.collect_until(180).await;
    let events = stage.events().await;
    let raws: Vec<&str> = events.iter().map(|(raw, _)| raw.as_str()).collect();
    let expected = [versioned("a", 10, 1), versioned("b", 20, 1), versioned("a", 10, 3)].map(|held| held.raw);
    assert_eq!(raws, expected);
}

#[tokio::test(start_paused = true)]
async fn a_record_without_a_usable_time_is_collected_once() {
    let mut stage = Stage::new(example_facts(), false, vec![]);
    stage.hook(|_, _, _| body(r#"{"records":[{"id":"no time"},17,"text"],"next":null,"total":null}"#));
    stage.poll(6).await;
    stage.restart();
    stage.poll(6).await;
    assert_eq!(stage.collected().await.into_values().collect::<Vec<_>>(), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_old_record_that_the_filter_returns_for_another_reason_is_collected_once() {
    let mut stage = backfilled(example_facts(), false, vec![]);
    let ancient = format!(r#"{{"records":[{}],"next":null,"total":null}}"#, held("ancient", -500_000).raw);
    stage.hook(move |_, _, _| body(&ancient));
    for _ in 0..3 {
        stage.poll(8).await;
        stage.restart();
    }
    assert_eq!(stage.collected().await.into_values().collect::<Vec<_>>(), [1]);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_start_is_backfilled_later_and_an_end_is_kept() {
    let mut stage = Stage::new(example_facts(), true, past_hour());
    stage.collect_until(10).await;
    assert_eq!(stage.events().await.len(), 0);
    stage.options.backfill_start_time = Some(StartTime::At(moment(-1_800)));
    stage.options.end_time = Some(crate::collect::options::PointInTime(moment(-900)));
    assert_eq!(stage.run(Mode::Continuous, None).await, SourceEnd::Finished);
    let half = stage.events().await.len();
    let within = past_hour().iter().filter(|held| held.at >= moment(-1_800) && held.at < moment(-900)).count();
    assert_eq!(half, within);
    stage.options.backfill_start_time = Some(StartTime::Earliest);
    stage.options.end_time = None;
    stage.collect_until(10).await;
    assert_exact(&mut stage).await;
}

#[tokio::test(start_paused = true)]
async fn live_polls_go_between_the_pages_of_a_backfill() {
    let mut spec = ApiSpec { page_size: 1, ..example_facts() };
    spec.rate_limit = vec![Rate { requests: 1, per: Duration::from_secs(1) }];
    let mut stage = backfilled(spec, true, past_hour());
    stage.poll(250).await;
    let live: Vec<i64> = (stage.calls().iter().filter(|call| call.to > START && call.offset == 0))
        .map(|call| call.at.as_millis() / 1_000 - START.as_millis() / 1_000)
        .collect();
    assert!(live.len() >= 7, "{live:?}");
    assert!(live.windows(2).all(|pair| (29..=32).contains(&(pair[1] - pair[0]))), "{live:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_downtime_is_caught_up_oldest_first() {
    let records: Vec<Held> = (0..100).map(|n| held(&format!("r{n}"), n * 200)).collect();
    let mut stage = Stage::new(example_facts(), true, records);
    stage.collect_until(300).await;
    tokio::time::advance(Duration::from_secs(20_000)).await;
    stage.collect_until(19_900).await;
    assert_exact(&mut stage).await;
    assert!(stage.calls().iter().all(|call| call.to.since(call.from) <= Duration::from_secs(3_700)));
}

#[tokio::test(start_paused = true)]
async fn coverage_tells_what_was_collected() {
    let mut stage = backfilled(example_facts(), true, past_hour());
    stage.options.backfill_slice = Some(Span(Duration::from_secs(600)));
    stage.collect_until(60).await;
    let registration = crate::journal::SourceRegistration {
        name: "audit".into(),
        vendor: "example".into(),
        normalizer_config: crate::vendors::NormalizerConfig::default(),
        now: START,
    };
    let state = stage.journal().open_source(registration).await.expect("opened");
    assert_eq!(state.coverage, [TimeRange::new(moment(-10_000), moment(60))]);
    assert!(state.open.iter().all(|open| open.window.kind != WindowKind::Live));
    assert!(state.open.is_empty());
}

/// A world drawn at random.
#[derive(Clone, Debug)]
struct World {
    has_ids: bool,
    tells_total: bool,
    order: RecordOrder,
    page_size: u32,
    max_window_records: u64,
    moments: Vec<(i64, u8)>,
    kills: Vec<usize>,
    faults: Vec<u8>,
}

fn world() -> impl Strategy<Value = World> {
    let order = prop_oneof![Just(RecordOrder::NewestFirst), Just(RecordOrder::OldestFirst)];
    let sizes = (1_u32..12, 5_u64..60);
    let moments = prop::collection::vec((-1_800_i64..100, 0_u8..3), 0..60);
    let rest = (prop::collection::vec(1_usize..15, 0..6), prop::collection::vec(0_u8..10, 0..40));
    (any::<bool>(), any::<bool>(), order, sizes, moments, rest).prop_map(
        |(has_ids, tells_total, order, (page_size, max_window_records), moments, (kills, faults))| World {
            has_ids,
            tells_total,
            order,
            page_size,
            max_window_records,
            moments,
            kills,
            faults,
        },
    )
}

impl World {
    fn stage(&self) -> Stage {
        let records = self.moments.iter().enumerate().flat_map(|(index, (secs, twins))| {
            let twins = if self.has_ids { 0 } else { *twins };
            vec![held(&format!("r{index}"), *secs); usize::from(twins) + 1]
        });
        let spec = ApiSpec {
            has_ids: self.has_ids,
            order: self.order,
            page_size: self.page_size,
            max_window_records: self.max_window_records,
            slice: Duration::from_secs(500),
            ..example_facts()
        };
        let stage = backfilled(spec, self.tells_total, records.collect());
        let faults = self.faults.clone();
        stage.hook(move |number, _, _| match faults.get(number) {
            Some(0) => status(500),
            Some(1) => status(429),
            Some(2) => status(410),
            Some(3) => body("{\"records\":["),
            Some(4) => body("<html>"),
            _ => None,
        });
        stage
    }

    async fn play(&self) -> Result<(), TestCaseError> {
        let mut stage = self.stage();
        let until = moment(100);
        for kill in &self.kills {
            stage.run(Mode::Once { until }, Some(*kill)).await;
            stage.restart();
        }
        prop_assert_eq!(stage.run(Mode::Once { until }, None).await, SourceEnd::Finished);
        prop_assert_eq!(stage.collected().await, stage.truth());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever the vendor's habits and faults and wherever the process is killed: everything, once.
    #[test]
    fn exactly_once_in_every_world(world in world()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(world.play())?;
    }
}
