//! Rewinds between and during scans, compared with a plain count: without redelivery nothing is collected twice, with
//! redelivery exactly one more of each record.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fake_api::*;
use crate::collect::options::StartTime;
use crate::collect::rewind::prepare;
use crate::journal::{Edit, Journal, Rewind, SourceEdit};
use crate::vendors::ApiSpec;

#[derive(Clone, Debug)]
enum Action {
    /// Collects until this many requests have a response.
    Poll(usize),
    /// Rewinds to this many seconds from the start.
    Rewind { to: i64, redeliver: bool },
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => (1..9_usize).prop_map(Action::Poll),
        2 => (-3_000..10_i64, any::<bool>()).prop_map(|(to, redeliver)| Action::Rewind { to, redeliver }),
    ]
}

/// Times of records, and how many more identical ones each has.
fn any_records() -> impl Strategy<Value = Vec<(i64, usize)>> {
    prop::collection::vec((-3_000..0_i64, prop_oneof![4 => Just(0_usize), 1 => 1..3_usize]), 1..40)
}

fn source(records: &[(i64, usize)], has_ids: bool) -> FakeSource {
    let spec = ApiSpec { has_ids, slice: std::time::Duration::from_secs(600), ..example_spec() };
    let all_records = records.iter().enumerate().flat_map(|(index, (secs, identical))| {
        vec![record(&format!("r{index}"), *secs); if has_ids { 1 } else { identical + 1 }]
    });
    let mut source = FakeSource::new(spec, true, all_records.collect());
    source.options.backfill_start_time = Some(StartTime::At(at_secs(-3_000)));
    source
}

/// How often each record must have been collected in the end, as far as is known yet.
struct Count {
    expected: BTreeMap<String, usize>,
    truth: BTreeMap<String, usize>,
}

impl Count {
    /// Records from `to` on are collected once more than they are now.
    fn redelivered(&mut self, collected: &BTreeMap<String, usize>, to: i64) {
        for (raw, times) in &self.truth {
            let at: i64 =
                raw.split("\"at\":").nth(1).and_then(|rest| rest.split(',').next()?.parse().ok()).expect("a time");
            if at >= at_secs(to).as_millis() {
                self.expected.insert(raw.clone(), collected.get(raw).copied().unwrap_or(0) + times);
            }
        }
    }
}

async fn rewind(source: &mut FakeSource, count: &mut Count, to: i64, redeliver: bool) {
    let collected = source.collected().await;
    let reach_back = source.settings().max_lookback();
    let edit = Rewind { source: "audit".to_owned(), to: at_secs(to), reach_back, redeliver, now: source.now() };
    let journal = source.admin_journal();
    let Some(prepared) = prepare(&journal, edit.clone()).await.expect("read") else { return };
    assert!(prepared.preview.is_exact(&edit));
    journal.apply(prepared.into_edit()).await.expect("applied");
    if redeliver {
        count.redelivered(&collected, to);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn each_record_is_collected_once_and_once_more_per_redelivery(
        records in any_records(),
        has_ids in any::<bool>(),
        actions in prop::collection::vec(any_action(), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let mut source = source(&records, has_ids);
            let truth = source.truth();
            let mut count = Count { expected: truth.clone(), truth };
            for action in &actions {
                match action {
                    Action::Poll(requests) => source.poll(*requests).await,
                    Action::Rewind { to, redeliver } => rewind(&mut source, &mut count, *to, *redeliver).await,
                }
            }
            source.collect_until(30).await;
            assert_eq!(source.collected().await, count.expected);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn no_window_requests_more_than_a_rewind_expects() {
    for step in [1, 1_000, 86_400_000] {
        let spec = ApiSpec { time_granularity: std::time::Duration::from_millis(step), ..example_spec() };
        let mut source = FakeSource::new(spec.clone(), true, vec![record("a", -50)]);
        source.options.backfill_start_time = Some(StartTime::At(at_secs(-3_000)));
        source.collect_until(0).await;
        let calls = source.calls().len();
        let reach_back = source.settings().max_lookback();
        let edit =
            Rewind { source: "audit".to_owned(), to: at_secs(-777), reach_back, redeliver: false, now: source.now() };
        let change = Edit::Source(SourceEdit::Rewind { rewind: edit.clone(), keys: Vec::new() });
        source.admin_journal().apply(change).await.expect("applied");
        source.collect_until(0).await;
        let requested_from = source.calls()[calls..].iter().map(|call| call.from).min().expect("requested again");
        assert!(requested_from >= edit.reads_from() && requested_from < edit.to, "{step}: {requested_from}");
    }
}
