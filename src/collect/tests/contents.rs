//! Records that change under their id, that get another time, and that are read again where their keys are gone.

use std::time::Duration;

use super::fake_api::*;
use crate::collect::options::StartTime;
use crate::journal::{BatchCommit, SinkStart};
use crate::time::Timestamp;
use crate::units::Span;
use crate::vendors::ApiSpec;

const DAY: i64 = 86_400;

/// A record with something that its vendor may change.
fn saying(id: &str, secs: i64, what: &str) -> FakeRecord {
    let record = record(id, secs);
    let raw = format!(r#"{{"id":"{id}","at":{},"what":"{what}"}}"#, record.at.as_millis());
    FakeRecord { raw, ..record }
}

/// What was delivered of the records whose text has `part`: each with its version.
async fn delivered(source: &mut FakeSource, part: &str) -> Vec<(String, u64)> {
    let journal = source.journal();
    let head = *journal.head().borrow();
    let sources = journal.sources().await.expect("read").iter().map(|source| source.id).collect();
    let mut found = Vec::new();
    for block in journal.read(1, head, sources, usize::MAX >> 1).await.expect("read") {
        let decoded = block.decode().expect("sound");
        let matching = decoded.records().filter(|record| record.raw.contains(part));
        found.extend(matching.map(|record| (record.raw.to_owned(), record.version)));
    }
    found
}

/// Every word that a record has said, in the order of its versions.
async fn words(source: &mut FakeSource, id: &str) -> Vec<String> {
    let mut found = delivered(source, &format!("\"{id}\"")).await;
    found.sort_by_key(|(_, version)| *version);
    assert!(found.windows(2).all(|pair| pair[0].1 < pair[1].1), "versions are unique: {found:?}");
    assert!(found.first().is_none_or(|(_, version)| *version == 0), "the first version is 0: {found:?}");
    found.iter().map(|(raw, _)| raw.split('"').nth(9).unwrap_or_default().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_changed_record_is_delivered_again_and_survives_restarts() {
    let mut source = FakeSource::new(example_spec(), true, vec![saying("a", 20, "one"), saying("b", 21, "one")]);
    source.collect_until(30).await;
    source.hook(|_, _, records| {
        records.retain(|record| !record.raw.contains("\"a\""));
        records.push(saying("a", 20, "two"));
        None
    });
    for until in [40, 50, 60] {
        source.restart();
        source.collect_until(until).await;
    }
    assert_eq!(words(&mut source, "a").await, ["one", "two"]);
    assert_eq!(words(&mut source, "b").await, ["one"]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_only_written_differently_is_not_delivered_again() {
    let mut source = FakeSource::new(example_spec(), true, vec![saying("a", 20, "one")]);
    source.collect_until(30).await;
    source.hook(|_, _, records| {
        let at = at_secs(20).as_millis();
        records[0].raw = format!(r#"{{ "what": "\u006fne", "more": null, "at": {at}, "id": "a" }}"#);
        None
    });
    source.collect_until(50).await;
    assert_eq!(source.events().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_changes_back_is_delivered_when_two_windows_have_met_it() {
    let mut source = FakeSource::new(example_spec(), true, vec![saying("a", 20, "one")]);
    source.collect_until(30).await;
    for (until, what, wanted) in [
        (32, "two", vec!["one", "two"]),
        (34, "one", vec!["one", "two"]),
        (36, "two", vec!["one", "two"]),
        (38, "one", vec!["one", "two"]),
    ] {
        source.hook(move |_, _, records| {
            records[0] = saying("a", 20, what);
            None
        });
        source.collect_until(until).await;
        assert_eq!(words(&mut source, "a").await, wanted, "at {until}");
    }
    source.poll(12).await;
    assert_eq!(words(&mut source, "a").await, ["one", "two", "one"]);
}

#[tokio::test(start_paused = true)]
async fn two_records_that_share_an_id_are_both_delivered_once() {
    for apart in [0, 1, 15] {
        let records = vec![saying("a", 20, "one"), saying("a", 20 + apart, "two"), record("b", 25)];
        let mut source = FakeSource::new(example_spec(), true, records);
        source.poll(10).await;
        assert_eq!(words(&mut source, "a").await, ["one", "two"], "{apart} s apart");
        assert_eq!(source.events().await.len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_known_record_at_another_time_is_a_new_version_however_far_away() {
    let mut source = FakeSource::new(example_spec(), true, vec![saying("a", -9_000, "one"), record("b", -8_000)]);
    source.options.backfill_start_time = Some(StartTime::Earliest);
    source.collect_until(10).await;
    source.hook(|_, _, records| {
        records[0] = saying("a", 15, "one");
        None
    });
    source.restart();
    source.collect_until(30).await;
    source.collect_until(50).await;
    assert_eq!(words(&mut source, "a").await, ["one", "one"]);
    assert_eq!(source.events().await.len(), 3);
}

/// Passes all events on and trims all keys that may be trimmed.
async fn trim(source: &mut FakeSource) {
    let journal = source.journal();
    let head = *journal.head().borrow();
    let sink = journal.open_sink("sink", SinkStart::Beginning).await.expect("opens").id;
    let batch = BatchCommit { position: head, delivered: head, ..BatchCommit::default() };
    journal.commit_batch(sink, batch).await.expect("commits");
    journal.trim(Timestamp::MAX, Timestamp::MAX).await.expect("trims");
}

/// Ten days with a record per hour, collected; the keys of most of them are gone.
async fn trimmed_source(spec: ApiSpec) -> FakeSource {
    let records = (0..240_i64).map(|n| record(&format!("r{n}"), n * 3_600 - 10 * DAY)).collect();
    let spec = ApiSpec { earliest: at_secs(-12 * DAY), slice: Duration::from_secs(86_400), ..spec };
    let mut source = FakeSource::new(spec, true, records);
    source.options.backfill_start_time = Some(StartTime::At(at_secs(-11 * DAY)));
    source.collect_until(10).await;
    trim(&mut source).await;
    source
}

#[tokio::test(start_paused = true)]
async fn an_earlier_start_brings_nothing_again_where_keys_are_gone() {
    let mut source = trimmed_source(example_spec()).await;
    // A vendor whose filter has no end.
    source.hook(|_, call, records| {
        if records.len() == 240 {
            records.insert(0, record("old", -11 * DAY - 3_600));
        }
        let after: Vec<&str> =
            records.iter().rev().filter(|record| record.at >= call.from).map(|record| record.raw.as_str()).collect();
        let page = &after[call.offset.min(after.len())..(call.offset + call.limit).min(after.len())];
        let end = call.offset + page.len();
        let next = if end < after.len() { format!("\"{end}\"") } else { "null".to_owned() };
        body(&format!(r#"{{"records":[{}],"next":{next},"total":{}}}"#, page.join(","), after.len()))
    });
    source.options.backfill_start_time = Some(StartTime::At(at_secs(-12 * DAY)));
    source.collect_until(20).await;
    assert_eq!(source.events().await.len(), 1, "the others were trimmed before");
    assert_eq!(source.journal().stats().await.expect("read").sources[0].events, 241);
}

#[tokio::test(start_paused = true)]
async fn a_longer_recheck_brings_nothing_again_where_keys_are_gone() {
    let mut source = trimmed_source(example_spec()).await;
    source.options.recheck_interval = Some(Span(Duration::from_secs(1)));
    source.options.recheck_lookback = Some(Span(Duration::from_secs(9 * 86_400)));
    source.collect_until(20).await;
    assert_eq!(source.journal().stats().await.expect("read").sources[0].events, 240);
}
