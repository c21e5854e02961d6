//! The rules of the contract as tests against `dyn Journal`.
//!
//! `journal_conformance!(fresh)` makes a test of each rule; `fresh()` returns an empty journal, and whatever must not be
//! dropped before it.

pub(crate) use super::conformance_coverage::*;
use super::{
    AfterPage, BatchCommit, BlockBuilder, Completion, FileBefore, FileRecord, Journal, JournalError, LastError,
    LatenessCounts, NewWindow, NormalizeFindings, PageCommit, RequestCounts, RollbackRecord, ScanProgress, ScanSpec,
    SeenKey, Seq, SinkId, SinkStart, SourceId, SourceRegistration, WindowId, WindowKind,
};
use crate::event::EventId;
use crate::time::{TimeRange, Timestamp};
use crate::vendors::NormalizerConfig;

/// Makes a tokio test of each rule.
macro_rules! journal_conformance {
    ($fresh:expr) => {
        $crate::journal::conformance::journal_conformance!($fresh;
            a_source_is_stored,
            a_source_keeps_its_vendor,
            pages_are_invisible_until_their_window_is_complete,
            a_window_becomes_visible_with_earlier_times_first,
            scans_and_their_evidence_are_stored,
            another_scan_keeps_what_is_staged,
            scans_are_numbered_in_order,
            a_restarted_window_deletes_its_pages,
            a_split_window_covers_the_same,
            windows_never_cover_the_same_time_twice,
            touching_windows_are_one_coverage,
            rechecks_cover_nothing,
            time_in_doubt_is_delivered_and_not_covered,
            only_the_time_of_the_verdict_is_covered,
            a_recheck_that_agrees_ends_a_doubt,
            a_recheck_changes_only_the_time_that_it_covers,
            a_recheck_that_cannot_read_changes_no_state,
            what_a_source_has_learned_is_kept,
            unreadable_time_lets_newer_windows_go_on,
            what_is_due_is_read_in_large_slices,
            an_operator_accepts_doubt,
            coverage_is_cut_back,
            coverage_without_keys_is_not_cut_back,
            evidence_is_stored,
            keys_are_kept_where_time_can_be_read_again,
            a_page_of_no_open_window_is_an_error,
            keys_are_found_by_time,
            a_batch_is_cut_by_events,
            a_batch_is_closed_by_bytes,
            a_batch_skips_other_sources,
            reading_returns_blocks_that_overlap_the_range,
            an_intent_is_stored_until_its_batch_is_committed,
            events_of_a_source_that_leaves_are_counted_as_skipped,
            a_source_that_returns_in_time_is_not_skipped,
            an_aborted_intent_is_deleted,
            invalid_intents_are_errors,
            sinks_begin_at_their_start_option,
            trimming_waits_for_every_active_sink,
            trimming_keeps_the_retention,
            a_sink_that_was_removed_learns_what_it_missed,
            keys_outlive_their_events,
            last_errors_are_stored_and_cleared,
            counters_add_up,
            the_head_is_published,
            the_identity_never_changes,
            a_sinks_state_stays_until_it_stores_another,
            findings_move_with_the_position,
        );
    };
    ($fresh:expr; $($rule:ident),* $(,)?) => {$(
        #[tokio::test]
        async fn $rule() {
            let (journal, _keep) = $fresh();
            $crate::journal::conformance::$rule(&journal).await;
        }
    )*};
}
pub(crate) use journal_conformance;

pub(crate) fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

pub(crate) fn range(from: i64, to: i64) -> TimeRange {
    TimeRange::new(at(from), at(to))
}

pub(crate) fn live(from: i64, to: i64) -> NewWindow {
    NewWindow { kind: WindowKind::Live, covers: range(from, to), fetch_range: range(from, to), kept: TimeRange::ALL }
}

/// A key whose id is derived from the record's text.
pub(crate) fn key_of(raw: &str, time: Option<i64>) -> SeenKey {
    SeenKey { id: EventId::of_key("test", None, raw), version: 0, timestamp: time.map(at), content: 0 }
}

/// A page of records, each with its time; `then` is what follows it.
pub(crate) fn page(window: WindowId, records: &[(&str, Option<i64>)], then: AfterPage) -> PageCommit {
    let mut block = BlockBuilder::new(at(1_000), 0);
    for (raw, time) in records {
        block.push(raw, key_of(raw, *time), 0);
    }
    PageCommit {
        window,
        block: block.finish().expect("compresses"),
        requests: RequestCounts::succeeded(1),
        lateness: LatenessCounts::default(),
        evidence: b"evidence".to_vec(),
        then,
    }
}

/// Covers the range at its end.
pub(crate) fn complete(from: i64, to: i64) -> AfterPage {
    AfterPage::Complete(Completion::covered(range(from, to), at(to)))
}

pub(crate) fn scan(number: u32) -> ScanSpec {
    ScanSpec { number, by_time: false, page_size: 100, request_fingerprint: "12345678".to_owned() }
}

pub(crate) fn registration(name: &str) -> SourceRegistration {
    SourceRegistration {
        name: name.to_owned(),
        vendor: "clumio".to_owned(),
        normalizer_config: NormalizerConfig::default(),
        now: at(500),
    }
}

pub(crate) async fn source(journal: &dyn Journal, name: &str) -> SourceId {
    journal.open_source(registration(name)).await.expect("opens").id
}

/// Opens a window and begins its first scan.
pub(crate) async fn window(journal: &dyn Journal, source: SourceId, window: NewWindow) -> WindowId {
    let id = journal.add_windows(source, vec![window]).await.expect("is added")[0];
    journal.begin_scan(id, scan(1), RequestCounts::default()).await.expect("begins");
    id
}

/// Completes a window of one page.
pub(crate) async fn collect(journal: &dyn Journal, source: SourceId, covers: (i64, i64), records: &[&str]) {
    let window = window(journal, source, live(covers.0, covers.1)).await;
    let records: Vec<_> = records.iter().map(|raw| (*raw, Some(covers.0))).collect();
    journal.commit_page(page(window, &records, complete(covers.0, covers.1))).await.expect("is committed");
}

/// All visible records of a source in order.
pub(crate) async fn visible(journal: &dyn Journal, source: SourceId) -> Vec<(Seq, String)> {
    let blocks = journal.read(1, Seq::from(u32::MAX), vec![source], usize::MAX).await.expect("reads");
    let decoded: Vec<_> = blocks.iter().map(|block| block.decode().expect("decodes")).collect();
    decoded.iter().flat_map(|block| block.records()).map(|record| (record.seq, record.raw.to_owned())).collect()
}

async fn texts(journal: &dyn Journal, source: SourceId) -> Vec<String> {
    visible(journal, source).await.into_iter().map(|(_, raw)| raw).collect()
}

async fn coverage(journal: &dyn Journal, name: &str) -> Vec<TimeRange> {
    journal.open_source(registration(name)).await.expect("opens").coverage
}

pub(crate) fn rollback_record(name: &str) -> RollbackRecord {
    let before = FileBefore::Existing { length: 7, tail_hash: String::new() };
    RollbackRecord::File(FileRecord { path: name.into(), before })
}

async fn sink(journal: &dyn Journal, name: &str) -> SinkId {
    journal.open_sink(name, SinkStart::Beginning).await.expect("opens").id
}

async fn move_to(journal: &dyn Journal, sink: SinkId, position: Seq) {
    journal.commit_batch(sink, BatchCommit { position, ..BatchCommit::default() }).await.expect("moves");
}

fn is_invalid_state<T>(result: &Result<T, JournalError>) -> bool {
    matches!(result, Err(JournalError::InvalidState(_)))
}

pub(crate) async fn a_source_is_stored(journal: &dyn Journal) {
    let first = journal.open_source(registration("a")).await.expect("opens");
    assert_eq!((first.first_started_at, first.coverage, first.last_recheck_at), (at(500), vec![], None));
    let normalizer_config = NormalizerConfig { tenant: Some("t".to_owned()), ..NormalizerConfig::default() };
    let later = SourceRegistration { now: at(900), normalizer_config: normalizer_config.clone(), ..registration("a") };
    let second = journal.open_source(later).await.expect("opens again");
    assert_eq!((second.id, second.first_started_at), (first.id, at(500)));
    let known = journal.sources().await.expect("lists");
    assert_eq!(known.len(), 1);
    assert_eq!(
        (known[0].name.as_str(), known[0].vendor.as_str(), &known[0].normalizer_config),
        ("a", "clumio", &normalizer_config)
    );
}

pub(crate) async fn a_source_keeps_its_vendor(journal: &dyn Journal) {
    source(journal, "a").await;
    let other = SourceRegistration { vendor: "merge".to_owned(), ..registration("a") };
    let error = journal.open_source(other).await.expect_err("another vendor");
    assert!(matches!(&error, JournalError::OtherVendor { was, now, .. } if was == "clumio" && now == "merge"));
}

pub(crate) async fn pages_are_invisible_until_their_window_is_complete(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    let window = window(journal, source, live(0, 100)).await;
    journal.commit_page(page(window, &[("1", Some(1))], AfterPage::Continue)).await.expect("commits");
    assert_eq!(texts(journal, source).await, Vec::<String>::new());
    assert_eq!(coverage(journal, "a").await, vec![]);
    journal.commit_page(page(window, &[("2", Some(2))], complete(0, 100))).await.expect("commits");
    assert_eq!(visible(journal, source).await, vec![(1, "1".to_owned()), (2, "2".to_owned())]);
    assert_eq!(coverage(journal, "a").await, vec![range(0, 100)]);
    assert_eq!(journal.open_source(registration("a")).await.expect("opens").open, vec![]);
}

pub(crate) async fn a_window_becomes_visible_with_earlier_times_first(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    let window = window(journal, source, live(0, 100)).await;
    for (records, then) in [
        (vec![("late", Some(90))], AfterPage::Continue),
        (vec![("tie one", Some(50)), ("tie one b", Some(51))], AfterPage::Continue),
        (vec![("tie two", Some(50))], AfterPage::Continue),
        (vec![], AfterPage::Continue),
        (vec![("early", Some(10))], complete(0, 100)),
    ] {
        journal.commit_page(page(window, &records, then)).await.expect("commits");
    }
    let order = ["early", "tie one", "tie one b", "tie two", "late"];
    assert_eq!(texts(journal, source).await, order);
    let seqs: Vec<Seq> = visible(journal, source).await.into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5]);
}

async fn open_windows(journal: &dyn Journal) -> Vec<(WindowId, NewWindow, Option<ScanProgress>)> {
    let open = journal.open_source(registration("a")).await.expect("opens").open;
    open.into_iter().map(|open| (open.id, open.window, open.progress)).collect()
}

fn page_with(window: WindowId, records: &[(&str, Option<i64>)], evidence: &[u8]) -> PageCommit {
    PageCommit { evidence: evidence.to_vec(), ..page(window, records, AfterPage::Continue) }
}

pub(crate) async fn scans_and_their_evidence_are_stored(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    let kept = NewWindow { kept: range(20, 90), ..live(0, 100) };
    let first = journal.add_windows(source, vec![kept]).await.expect("adds")[0];
    let second = window(journal, source, live(100, 200)).await;
    for evidence in [b"page 1".as_slice(), b"", b"page 3"] {
        journal.commit_page(page_with(second, &[], evidence)).await.expect("commits");
    }
    let again = ScanSpec { by_time: true, page_size: 7, request_fingerprint: "f".to_owned(), ..scan(2) };
    journal.begin_scan(second, again.clone(), RequestCounts::succeeded(4)).await.expect("begins");
    journal.commit_page(page_with(second, &[("x", Some(110))], b"other page 1")).await.expect("commits");
    let pages = |pages: &[&[u8]]| pages.iter().map(|page| page.to_vec()).collect::<Vec<_>>();
    let scans = vec![(scan(1), pages(&[b"page 1", b"", b"page 3"])), (again, pages(&[b"other page 1"]))];
    let wanted = vec![(first, kept, None), (second, live(100, 200), Some(ScanProgress { scans }))];
    assert_eq!(open_windows(journal).await, wanted);
    assert_eq!(journal.stats().await.expect("reads").sources[0].requests.total(), 8);
}

pub(crate) async fn another_scan_keeps_what_is_staged(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    let window = window(journal, source, live(0, 100)).await;
    journal.commit_page(page(window, &[("one", Some(1))], AfterPage::Continue)).await.expect("commits");
    journal.begin_scan(window, scan(2), RequestCounts::default()).await.expect("begins");
    assert_eq!(journal.keys_within(source, range(0, 100)).await.expect("reads"), vec![key_of("one", Some(1))]);
    journal.commit_page(page(window, &[("two", Some(2))], complete(0, 100))).await.expect("commits");
    assert_eq!(texts(journal, source).await, ["one", "two"]);
}

pub(crate) async fn scans_are_numbered_in_order(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    let window = journal.add_windows(source, vec![live(0, 100)]).await.expect("adds")[0];
    let more = page(window, &[("x", Some(1))], AfterPage::Continue);
    assert!(is_invalid_state(&journal.commit_page(more.clone()).await), "no scan has begun");
    assert_eq!(journal.keys_within(source, range(0, 100)).await.expect("reads"), vec![]);
    assert!(is_invalid_state(&journal.begin_scan(window, scan(2), RequestCounts::default()).await));
    journal.begin_scan(window, scan(1), RequestCounts::default()).await.expect("begins");
    assert!(is_invalid_state(&journal.begin_scan(window, scan(1), RequestCounts::default()).await));
    journal.commit_page(more).await.expect("commits");
    journal.restart_window(window, RequestCounts::default()).await.expect("restarts");
    journal.begin_scan(window, scan(1), RequestCounts::default()).await.expect("a restart deletes all scans");
}

pub(crate) async fn a_restarted_window_deletes_its_pages(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    let window = window(journal, source, live(0, 100)).await;
    journal.commit_page(page(window, &[("old", Some(1))], AfterPage::Continue)).await.expect("commits");
    journal.restart_window(window, RequestCounts::succeeded(3)).await.expect("restarts");
    assert_eq!(journal.keys_within(source, range(0, 100)).await.expect("reads"), vec![]);
    assert_eq!(journal.open_source(registration("a")).await.expect("opens").open[0].progress, None);
    journal.commit_page(page(window, &[("new", Some(1))], complete(0, 100))).await.expect("commits");
    assert_eq!(texts(journal, source).await, ["new"]);
    assert_eq!(journal.stats().await.expect("reads").sources[0].requests.total(), 5);
}

pub(crate) async fn a_split_window_covers_the_same(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    let window = window(journal, source, live(0, 100)).await;
    journal.commit_page(page(window, &[("old", Some(1))], AfterPage::Continue)).await.expect("commits");
    assert!(is_invalid_state(&journal.split_window(window, [live(0, 40), live(41, 100)]).await));
    let [left, right] = journal.split_window(window, [live(0, 40), live(40, 100)]).await.expect("splits");
    assert!(is_invalid_state(&journal.restart_window(window, RequestCounts::default()).await));
    journal.commit_page(page(right, &[("right", Some(60))], complete(40, 100))).await.expect("commits");
    assert_eq!(coverage(journal, "a").await, vec![range(40, 100)]);
    journal.commit_page(page(left, &[("left", Some(1))], complete(0, 40))).await.expect("commits");
    assert_eq!(coverage(journal, "a").await, vec![range(0, 100)]);
    assert_eq!(texts(journal, source).await, ["right", "left"]);
}

pub(crate) async fn windows_never_cover_the_same_time_twice(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    collect(journal, source, (0, 100), &[]).await;
    assert!(is_invalid_state(&journal.add_windows(source, vec![live(99, 150)]).await));
    assert!(is_invalid_state(&journal.add_windows(source, vec![live(100, 150), live(149, 160)]).await));
    window(journal, source, live(100, 150)).await;
    assert_eq!(journal.stats().await.expect("reads").sources[0].open_windows, 1, "a failed call adds nothing");
}

pub(crate) async fn touching_windows_are_one_coverage(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    for covers in [(0, 10), (20, 30), (50, 60), (30, 50)] {
        collect(journal, source, covers, &[]).await;
    }
    assert_eq!(coverage(journal, "a").await, vec![range(0, 10), range(20, 60)]);
}

pub(crate) async fn rechecks_cover_nothing(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    let recheck =
        NewWindow { kind: WindowKind::Recheck, covers: range(0, 0), fetch_range: range(0, 100), kept: TimeRange::ALL };
    let recheck = window(journal, source, recheck).await;
    journal
        .commit_page(page(
            recheck,
            &[("changed", Some(5))],
            AfterPage::Complete(Completion::covered(range(0, 0), at(70))),
        ))
        .await
        .expect("commits");
    let state = journal.open_source(registration("a")).await.expect("opens");
    assert_eq!((state.coverage, state.last_recheck_at), (vec![], Some(at(70))));
    assert_eq!(texts(journal, source).await, ["changed"]);
}

pub(crate) async fn a_page_of_no_open_window_is_an_error(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    let window = window(journal, source, live(0, 100)).await;
    journal.commit_page(page(window, &[("1", Some(1))], complete(0, 100))).await.expect("commits");
    assert!(is_invalid_state(&journal.commit_page(page(window, &[("2", Some(1))], complete(0, 100))).await));
    assert_eq!(texts(journal, source).await, ["1"]);
}

pub(crate) async fn keys_are_found_by_time(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    let window = window(journal, source, live(0, 100)).await;
    for records in
        [vec![("10", Some(10)), ("20", Some(20))], vec![("30", Some(30))], vec![("timeless", None), ("90", Some(90))]]
    {
        journal.commit_page(page(window, &records, AfterPage::Continue)).await.expect("commits");
    }
    let timeless = [key_of("timeless", None), key_of("90", Some(90))];
    let first = [key_of("10", Some(10)), key_of("20", Some(20))];
    let third = [key_of("30", Some(30))];
    for (asked, mut wanted) in [
        (range(15, 16), [first.as_slice(), &timeless].concat()),
        (range(20, 30), [first.as_slice(), &timeless].concat()),
        (range(30, 31), [third.as_slice(), &timeless].concat()),
        (range(21, 30), timeless.to_vec()),
        (range(0, 100), [first.as_slice(), &third, &timeless].concat()),
    ] {
        let mut found = journal.keys_within(source, asked).await.expect("reads");
        found.sort_by_key(|key| key.id);
        wanted.sort_by_key(|key| key.id);
        assert_eq!(found, wanted, "{asked:?}");
    }
}

pub(crate) async fn a_batch_is_cut_by_events(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    collect(journal, source, (0, 10), &["1", "2", "3"]).await;
    collect(journal, source, (10, 20), &["4", "5", "6"]).await;
    let batch = async |after, max_events| {
        let batch = journal.next_batch(after, vec![source], max_events, u64::MAX).await.expect("reads");
        (batch.first, batch.last, batch.events, batch.full)
    };
    assert_eq!(batch(0, 2).await, (1, 2, 2, true));
    assert_eq!(batch(2, 2).await, (3, 4, 2, true));
    assert_eq!(batch(0, 3).await, (1, 3, 3, true));
    assert_eq!(batch(4, 100).await, (5, 6, 2, false));
    assert_eq!(batch(6, 100).await, (7, 6, 0, false));
}

pub(crate) async fn a_batch_is_closed_by_bytes(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    collect(journal, source, (0, 10), &["1234567890", "1234567890"]).await;
    collect(journal, source, (10, 20), &["1234567890", "1234567890"]).await;
    let batch = async |after, max_bytes| {
        let batch = journal.next_batch(after, vec![source], 100, max_bytes).await.expect("reads");
        (batch.last, batch.raw_bytes, batch.full)
    };
    assert_eq!(batch(0, 1).await, (2, 20, true));
    assert_eq!(batch(0, 21).await, (4, 40, true));
    assert_eq!(batch(1, 100).await, (4, 30, false));
    let batch = journal.next_batch(0, vec![source], 100, 1_000).await.expect("reads");
    assert_eq!(batch.oldest_visible_at, Some(at(10)));
}

pub(crate) async fn a_batch_skips_other_sources(journal: &dyn Journal) {
    let (wanted, other) = (source(journal, "a").await, source(journal, "b").await);
    collect(journal, other, (0, 10), &["o", "o"]).await;
    collect(journal, wanted, (0, 10), &["w"]).await;
    collect(journal, other, (10, 20), &["o", "o"]).await;
    let batch = journal.next_batch(0, vec![wanted], 100, 1_000).await.expect("reads");
    assert_eq!((batch.first, batch.last, batch.events, batch.full), (1, 5, 1, false));
    let batch = journal.next_batch(0, vec![wanted], 1, 1_000).await.expect("reads");
    assert_eq!((batch.first, batch.last, batch.events, batch.full), (1, 3, 1, true));
    let batch = journal.next_batch(3, vec![wanted], 100, 1_000).await.expect("reads");
    assert_eq!((batch.last, batch.events, batch.oldest_visible_at), (5, 0, None));
}

pub(crate) async fn reading_returns_blocks_that_overlap_the_range(journal: &dyn Journal) {
    let (wanted, other) = (source(journal, "a").await, source(journal, "b").await);
    collect(journal, wanted, (0, 10), &["1", "2", "3"]).await;
    collect(journal, other, (0, 10), &["4"]).await;
    collect(journal, wanted, (10, 20), &["5", "6"]).await;
    let firsts = async |first, last, sources, limit| {
        let blocks = journal.read(first, last, sources, limit).await.expect("reads");
        blocks.iter().map(|block| block.first).collect::<Vec<_>>()
    };
    assert_eq!(firsts(2, 2, vec![wanted], 10).await, [1]);
    assert_eq!(firsts(3, 5, vec![wanted], 10).await, [1, 5]);
    assert_eq!(firsts(3, 5, vec![wanted, other], 10).await, [1, 4, 5]);
    assert_eq!(firsts(4, 4, vec![wanted], 10).await, [0_u64; 0]);
    assert_eq!(firsts(1, 6, vec![wanted, other], 2).await, [1, 4]);
    let block = &journal.read(5, 5, vec![wanted], 1).await.expect("reads")[0];
    assert_eq!((block.observed_at, block.visible_at, block.count), (at(1_000), at(20), 2));
}

pub(crate) async fn an_intent_is_stored_until_its_batch_is_committed(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    collect(journal, source, (0, 10), &["1", "2"]).await;
    let id = sink(journal, "files").await;
    journal.prepare_batch(id, 1, 2, "v1".to_owned()).await.expect("prepares");
    journal.add_rollback_records(id, vec![rollback_record("b"), rollback_record("a")]).await.expect("adds");
    journal.add_rollback_records(id, vec![rollback_record("c")]).await.expect("adds");
    let state = journal.open_sink("files", SinkStart::Beginning).await.expect("opens");
    assert!(!state.is_new);
    let intent = state.intent.expect("is open");
    assert_eq!((state.position, intent.first, intent.last, intent.fingerprint.as_str()), (0, 1, 2, "v1"));
    assert_eq!(intent.records, vec![rollback_record("b"), rollback_record("a"), rollback_record("c")]);
    let batch = BatchCommit {
        position: 2,
        delivered: 1,
        filtered: 1,
        dead_lettered: 0,
        bytes: 40,
        delivered_at: Some(at(9)),
        state: Some("m".to_owned()),
        findings: Vec::new(),
    };
    journal.commit_batch(id, batch).await.expect("commits");
    let state = journal.open_sink("files", SinkStart::Beginning).await.expect("opens");
    assert!(!state.is_new);
    assert_eq!((state.position, state.intent, state.state.as_deref(), state.missed), (2, None, Some("m"), 0));
    assert!(journal.open_sink("another", SinkStart::Now).await.expect("opens").is_new);
}

pub(crate) async fn a_sinks_state_stays_until_it_stores_another(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    collect(journal, source, (0, 10), &["1", "2", "3"]).await;
    let id = sink(journal, "files").await;
    for (position, state, kept) in [(1, None, None), (2, Some("x"), Some("x")), (3, None, Some("x"))] {
        let state = state.map(str::to_owned);
        journal.commit_batch(id, BatchCommit { position, state, ..BatchCommit::default() }).await.expect("moves");
        let found = journal.open_sink("files", SinkStart::Beginning).await.expect("opens");
        assert_eq!(found.state.as_deref(), kept);
    }
}

pub(crate) async fn findings_move_with_the_position(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    collect(journal, source, (0, 10), &["1", "2", "3"]).await;
    let found = |errors, unmapped, secs| NormalizeFindings {
        source,
        normalize_errors: errors,
        unmapped_actions: unmapped,
        at: at(secs),
    };
    for (name, position, findings) in
        [("files", 1, found(1, 0, 100)), ("files", 3, found(0, 2, 200)), ("lake", 2, found(1, 1, 300))]
    {
        let id = sink(journal, name).await;
        let batch = BatchCommit { position, findings: vec![findings], ..BatchCommit::default() };
        journal.commit_batch(id, batch).await.expect("moves");
        let state = journal.open_sink(name, SinkStart::Beginning).await.expect("opens");
        assert_eq!((state.position, state.furthest), (position, position));
    }
    let stats = journal.stats().await.expect("reads");
    let counters = &stats.sources[0];
    assert_eq!((counters.normalize_errors, counters.unmapped_actions), (1, 2), "each event once, not once per sink");
    assert_eq!(counters.normalize_error_at, Some(at(300)));
}

/// What `set_sink_inputs` returns, as pairs.
async fn leaving(journal: &dyn Journal, sink: SinkId, inputs: &[&str], passed: Seq) -> Vec<(String, u64)> {
    let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
    let leaving = journal.set_sink_inputs(sink, inputs, passed).await.expect("sets");
    leaving.into_iter().map(|source| (source.name, source.events)).collect()
}

async fn skipped(journal: &dyn Journal) -> u64 {
    journal.stats().await.expect("reads").sinks[0].skipped
}

pub(crate) async fn events_of_a_source_that_leaves_are_counted_as_skipped(journal: &dyn Journal) {
    let (a, b) = (source(journal, "a").await, source(journal, "b").await);
    collect(journal, a, (0, 10), &["1", "2", "3"]).await;
    collect(journal, b, (0, 10), &["4", "5", "6"]).await;
    let id = sink(journal, "files").await;
    assert_eq!(leaving(journal, id, &["a", "b", "later"], 0).await, []);
    journal.commit_batch(id, BatchCommit { position: 1, ..BatchCommit::default() }).await.expect("moves");
    // The target has already stored event 2.
    assert_eq!(leaving(journal, id, &["b"], 2).await, [("a".to_owned(), 1)]);
    collect(journal, a, (10, 20), &["7", "8"]).await;
    assert_eq!(leaving(journal, id, &["b"], 2).await, [("a".to_owned(), 1)], "what came later was never its");
    assert_eq!(skipped(journal).await, 0, "still pending");
    journal.commit_batch(id, BatchCommit { position: 2, ..BatchCommit::default() }).await.expect("moves");
    assert_eq!((skipped(journal).await, leaving(journal, id, &["b"], 2).await.len()), (0, 1));
    journal.commit_batch(id, BatchCommit { position: 5, ..BatchCommit::default() }).await.expect("moves");
    assert_eq!(skipped(journal).await, 1);
    assert_eq!(leaving(journal, id, &[], 5).await, [("b".to_owned(), 1)]);
    journal.commit_batch(id, BatchCommit { position: 8, ..BatchCommit::default() }).await.expect("moves");
    assert_eq!((skipped(journal).await, leaving(journal, id, &[], 8).await.len()), (2, 0));
}

pub(crate) async fn a_source_that_returns_in_time_is_not_skipped(journal: &dyn Journal) {
    let a = source(journal, "a").await;
    collect(journal, a, (0, 10), &["1", "2", "3"]).await;
    let id = sink(journal, "files").await;
    assert_eq!(leaving(journal, id, &["a"], 0).await, []);
    assert_eq!(leaving(journal, id, &[], 0).await, [("a".to_owned(), 3)]);
    assert_eq!(leaving(journal, id, &["a"], 0).await, []);
    journal.commit_batch(id, BatchCommit { position: 3, delivered: 3, ..BatchCommit::default() }).await.expect("moves");
    assert_eq!(skipped(journal).await, 0);
}

pub(crate) async fn an_aborted_intent_is_deleted(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    collect(journal, source, (0, 10), &["1", "2"]).await;
    let id = sink(journal, "files").await;
    journal.prepare_batch(id, 1, 2, "v1".to_owned()).await.expect("prepares");
    journal.add_rollback_records(id, vec![rollback_record("f")]).await.expect("adds");
    journal.abort_batch(id).await.expect("aborts");
    journal.prepare_batch(id, 1, 1, "v2".to_owned()).await.expect("prepares again");
    let state = journal.open_sink("files", SinkStart::Beginning).await.expect("opens");
    let intent = state.intent.expect("is open");
    assert_eq!((state.position, intent.last, intent.records), (0, 1, vec![]));
}

pub(crate) async fn invalid_intents_are_errors(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    collect(journal, source, (0, 10), &["1", "2"]).await;
    let id = sink(journal, "files").await;
    assert!(is_invalid_state(&journal.add_rollback_records(id, vec![]).await), "no batch is open");
    assert!(is_invalid_state(&journal.prepare_batch(id, 1, 3, String::new()).await), "beyond the head");
    journal.prepare_batch(id, 1, 1, String::new()).await.expect("prepares");
    assert!(is_invalid_state(&journal.prepare_batch(id, 1, 1, String::new()).await), "one is open");
    move_to(journal, id, 2).await;
    assert!(is_invalid_state(&journal.prepare_batch(id, 2, 2, String::new()).await), "behind the position");
    let back = BatchCommit { position: 1, ..BatchCommit::default() };
    assert!(is_invalid_state(&journal.commit_batch(id, back).await), "backwards");
    let beyond = BatchCommit { position: 3, ..BatchCommit::default() };
    assert!(is_invalid_state(&journal.commit_batch(id, beyond).await), "beyond the head");
}

pub(crate) async fn sinks_begin_at_their_start_option(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    collect(journal, source, (0, 10), &["1", "2"]).await;
    let position = async |name, start| journal.open_sink(name, start).await.expect("opens").position;
    assert_eq!(position("all", SinkStart::Beginning).await, 0);
    assert_eq!(position("new", SinkStart::Now).await, 2);
    collect(journal, source, (10, 20), &["3"]).await;
    assert_eq!(position("all", SinkStart::Now).await, 0, "a known sink keeps its position");
    assert_eq!(position("new", SinkStart::Now).await, 2);
    let all = sink(journal, "all").await;
    move_to(journal, all, 3).await;
    let new = sink(journal, "new").await;
    move_to(journal, new, 3).await;
    journal.trim(at(11), at(0)).await.expect("trims");
    let late = journal.open_sink("late", SinkStart::Beginning).await.expect("opens");
    assert_eq!((late.position, late.missed), (2, 0), "at the oldest event held");
}

pub(crate) async fn trimming_waits_for_every_active_sink(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    collect(journal, source, (0, 10), &["1", "2"]).await;
    collect(journal, source, (10, 20), &["3", "4"]).await;
    assert_eq!(journal.trim(Timestamp::MAX, at(0)).await.expect("trims"), 0, "no sink has delivered them");
    let (fast, slow) = (sink(journal, "fast").await, sink(journal, "slow").await);
    move_to(journal, fast, 4).await;
    move_to(journal, slow, 3).await;
    assert_eq!(journal.trim(Timestamp::MAX, at(0)).await.expect("trims"), 2, "the block that every sink has passed");
    assert_eq!(texts(journal, source).await, ["3", "4"]);
    assert_eq!(journal.stats().await.expect("reads").oldest, 3);
    let retired = journal.retire_sinks(vec!["fast".to_owned()]).await.expect("retires");
    assert_eq!(retired, ["slow"]);
    assert_eq!(journal.retire_sinks(vec!["fast".to_owned()]).await.expect("retires"), Vec::<String>::new());
    assert_eq!(journal.trim(Timestamp::MAX, at(0)).await.expect("trims"), 2);
    let stats = journal.stats().await.expect("reads");
    assert_eq!((stats.head, stats.oldest, stats.bytes), (4, 5, 0));
    let batch = journal.next_batch(4, vec![source], 10, 10).await.expect("reads");
    assert_eq!((batch.first, batch.last, batch.events), (5, 4, 0));
}

pub(crate) async fn trimming_keeps_the_retention(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    collect(journal, source, (0, 10), &["1"]).await;
    collect(journal, source, (10, 20), &["2"]).await;
    let id = sink(journal, "files").await;
    move_to(journal, id, 2).await;
    assert_eq!(journal.trim(at(10), at(0)).await.expect("trims"), 0);
    assert_eq!(journal.trim(at(20), at(0)).await.expect("trims"), 1);
    assert_eq!(texts(journal, source).await, ["2"]);
}

pub(crate) async fn a_sink_that_was_removed_learns_what_it_missed(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    collect(journal, source, (0, 10), &["1", "2", "3"]).await;
    collect(journal, source, (10, 20), &["4"]).await;
    let (stays, leaves) = (sink(journal, "stays").await, sink(journal, "leaves").await);
    move_to(journal, leaves, 1).await;
    move_to(journal, stays, 3).await;
    journal.retire_sinks(vec!["stays".to_owned()]).await.expect("retires");
    journal.trim(Timestamp::MAX, at(0)).await.expect("trims");
    let back = journal.open_sink("leaves", SinkStart::Beginning).await.expect("opens");
    assert_eq!((back.position, back.missed), (1, 2));
    let batch = journal.next_batch(back.position, vec![source], 10, 100).await.expect("reads");
    assert_eq!((batch.first, batch.last, batch.events), (2, 4, 1));
    move_to(journal, stays, 4).await;
    assert_eq!(journal.trim(Timestamp::MAX, at(0)).await.expect("trims"), 0, "it keeps events again");
}

pub(crate) async fn keys_outlive_their_events(journal: &dyn Journal) {
    const DAY: i64 = 86_400;
    let source = source(journal, "a").await;
    for day in [0, 1, 2, 3, 4, 5] {
        collect(journal, source, (day * DAY, (day + 1) * DAY), &[&day.to_string()]).await;
    }
    let open = NewWindow {
        kind: WindowKind::Recheck,
        covers: range(0, 0),
        fetch_range: range(2 * DAY, 2 * DAY + 10),
        kept: TimeRange::ALL,
    };
    window(journal, source, open).await;
    let id = sink(journal, "files").await;
    move_to(journal, id, 6).await;
    assert_eq!(journal.trim(Timestamp::MAX, at(0)).await.expect("trims"), 6);
    let keys = async || {
        let keys = journal.keys_within(source, range(0, 10 * DAY)).await.expect("reads");
        let mut days: Vec<_> =
            keys.iter().map(|key| key.timestamp.map_or(0, |t| t.as_nanos() / 1_000_000_000 / DAY)).collect();
        days.sort_unstable();
        days
    };
    assert_eq!(keys().await, [0, 1, 2, 3, 4, 5], "events are deleted, keys are not");
    journal.trim(Timestamp::MAX, Timestamp::MAX).await.expect("trims");
    assert_eq!(keys().await, [0, 1, 2, 5], "needed at an end of the coverage, or by the open window");
}

pub(crate) async fn last_errors_are_stored_and_cleared(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    let sink = sink(journal, "files").await;
    let last_error = LastError { message: "401".to_owned(), hint: "renew the token".to_owned(), since: at(5) };
    journal.set_source_error(source, Some(last_error.clone())).await.expect("stores");
    journal.set_sink_error(sink, Some(last_error.clone())).await.expect("stores");
    let stats = journal.stats().await.expect("reads");
    assert_eq!(
        (&stats.sources[0].last_error, &stats.sinks[0].last_error),
        (&Some(last_error.clone()), &Some(last_error))
    );
    journal.set_source_error(source, None).await.expect("clears");
    journal.set_sink_error(sink, None).await.expect("clears");
    let stats = journal.stats().await.expect("reads");
    assert_eq!((&stats.sources[0].last_error, &stats.sinks[0].last_error), (&None, &None));
}

pub(crate) async fn counters_add_up(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    collect(journal, source, (0, 10), &["12", "345"]).await;
    let open = window(journal, source, live(10, 20)).await;
    journal.commit_page(page(open, &[("staged", Some(11))], AfterPage::Continue)).await.expect("commits");
    let id = sink(journal, "files").await;
    for (position, delivered) in [(1, 1), (2, 0)] {
        let delivered_at = (delivered > 0).then_some(at(7));
        let filtered = 1 - delivered;
        let batch = BatchCommit { position, delivered, filtered, bytes: 10, delivered_at, ..BatchCommit::default() };
        journal.commit_batch(id, batch).await.expect("moves");
    }
    let stats = journal.stats().await.expect("reads");
    let counters = &stats.sources[0];
    assert_eq!((counters.events, counters.raw_bytes, counters.pages, counters.requests.total()), (2, 5, 2, 2));
    assert_eq!((counters.covered_to, counters.open_windows), (Some(at(10)), 1));
    let counters = &stats.sinks[0];
    assert_eq!((counters.position, counters.delivered, counters.filtered, counters.bytes), (2, 1, 1, 20));
    assert_eq!((counters.active, counters.delivered_at), (true, Some(at(7))));
    assert_eq!((stats.head, stats.oldest), (2, 1));
    assert!(stats.bytes > 0);
}

pub(crate) async fn the_head_is_published(journal: &dyn Journal) {
    let mut head = journal.head();
    assert_eq!(*head.borrow_and_update(), 0);
    let source = source(journal, "a").await;
    collect(journal, source, (0, 10), &["1", "2"]).await;
    assert!(head.has_changed().expect("the journal lives"), "it changes before the call returns");
    assert_eq!(*head.borrow_and_update(), 2);
}

pub(crate) async fn the_identity_never_changes(journal: &dyn Journal) {
    let identity = journal.identity().await.expect("reads");
    assert!(identity.len() >= 16, "{identity} could be another journal's too");
    source(journal, "a").await;
    assert_eq!(journal.identity().await.expect("reads"), identity);
}
