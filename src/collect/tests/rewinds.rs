//! Rewinds between and in the middle of walks, against what a naive count says: plain ones bring nothing twice, those with
//! a redelivery bring exactly one more of each.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::play::*;
use crate::collect::options::StartTime;
use crate::collect::planner;
use crate::collect::rewind::prepare;
use crate::journal::{Edit, Journal, Rewind, SourceEdit};
use crate::vendors::ApiSpec;

#[derive(Clone, Debug)]
enum Act {
    /// Collects until so many requests have been answered.
    Poll(usize),
    /// Goes back to so many seconds from the start.
    Rewind { to: i64, redeliver: bool },
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (1..9_usize).prop_map(Act::Poll),
        2 => (-3_000..10_i64, any::<bool>()).prop_map(|(to, redeliver)| Act::Rewind { to, redeliver }),
    ]
}

/// Moments of records, and how many more wholly identical ones each has.
fn any_records() -> impl Strategy<Value = Vec<(i64, usize)>> {
    prop::collection::vec((-3_000..0_i64, prop_oneof![4 => Just(0_usize), 1 => 1..3_usize]), 1..40)
}

fn stage(records: &[(i64, usize)], has_ids: bool) -> Stage {
    let spec = ApiSpec { has_ids, slice: std::time::Duration::from_secs(600), ..example_facts() };
    let held_by_vendor = records.iter().enumerate().flat_map(|(index, (secs, twins))| {
        vec![held(&format!("r{index}"), *secs); if has_ids { 1 } else { twins + 1 }]
    });
    let mut stage = Stage::new(spec, true, held_by_vendor.collect());
    stage.options.backfill_start_time = Some(StartTime::At(moment(-3_000)));
    stage
}

/// How often each record must have been collected in the end, as far as is known yet.
struct Count {
    expected: BTreeMap<String, usize>,
    truth: BTreeMap<String, usize>,
}

impl Count {
    /// What lies behind the moment comes once more than it is there now.
    fn redelivered(&mut self, there: &BTreeMap<String, usize>, to: i64) {
        for (raw, times) in &self.truth {
            let at: i64 =
                raw.split("\"at\":").nth(1).and_then(|rest| rest.split(',').next()?.parse().ok()).expect("a time");
            if at >= moment(to).as_millis() {
                self.expected.insert(raw.clone(), there.get(raw).copied().unwrap_or(0) + times);
            }
        }
    }
}

async fn rewind(stage: &mut Stage, count: &mut Count, to: i64, redeliver: bool) {
    let there = stage.collected().await;
    let reach_back = planner::reach_back(&example_facts());
    let edit = Rewind { source: "audit".to_owned(), to: moment(to), reach_back, redeliver, now: stage.now() };
    let journal = stage.own_journal();
    let Some(prepared) = prepare(&journal, edit.clone()).await.expect("reads") else { return };
    assert!(prepared.preview.is_exact(&edit));
    journal.apply(prepared.into_edit()).await.expect("is done");
    if redeliver {
        count.redelivered(&there, to);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn each_record_comes_once_and_once_more_where_that_was_asked(
        records in any_records(),
        has_ids in any::<bool>(),
        acts in prop::collection::vec(any_act(), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let mut stage = stage(&records, has_ids);
            let truth = stage.truth();
            let mut count = Count { expected: truth.clone(), truth };
            for act in &acts {
                match act {
                    Act::Poll(requests) => stage.poll(*requests).await,
                    Act::Rewind { to, redeliver } => rewind(&mut stage, &mut count, *to, *redeliver).await,
                }
            }
            stage.collect_until(30).await;
            assert_eq!(stage.collected().await, count.expected);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn no_window_asks_for_more_than_a_rewind_counts_with() {
    for step in [1, 1_000, 86_400_000] {
        let spec = ApiSpec { time_granularity: std::time::Duration::from_millis(step), ..example_facts() };
        let mut stage = Stage::new(spec.clone(), true, vec![held("a", -50)]);
        stage.options.backfill_start_time = Some(StartTime::At(moment(-3_000)));
        stage.collect_until(0).await;
        let calls = stage.calls().len();
        let reach_back = planner::reach_back(&spec);
        let edit =
            Rewind { source: "audit".to_owned(), to: moment(-777), reach_back, redeliver: false, now: stage.now() };
        let change = Edit::Source(SourceEdit::Rewind { rewind: edit.clone(), keys: Vec::new() });
        stage.own_journal().apply(change).await.expect("is done");
        stage.collect_until(0).await;
        let asked = stage.calls()[calls..].iter().map(|call| call.from).min().expect("it has asked again");
        assert!(asked >= edit.reads_from() && asked < edit.to, "{step}: {asked}");
    }
}
