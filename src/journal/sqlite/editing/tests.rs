//! What each change does to the journal, what it leaves alone, and what trimming must not take afterwards.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::event::EventId;
use crate::journal::conformance::{self, at, collect, complete, go_on, key_of, live, page, range, visible, window};
use crate::journal::editing::{AfterRemoval, ComponentKind, Edit, Forget, Redeliver, Rename, Rewind};
use crate::journal::sqlite::JOURNAL_FILE;
use crate::journal::{
    BlockBuilder, Delivery, FileBefore, FileRecord, Journal, JournalOptions, LatenessCounts, PageCommit,
    RollbackRecord, SeenKey, SinkId, SinkStart, SourceId, SqliteJournal,
};
use crate::time::{TimeRange, Timestamp};
use crate::units::ByteSize;
use crate::vendors::{NormalizerConfig, registry};

fn open(folder: &Path) -> SqliteJournal {
    let options = JournalOptions { data_dir: folder.to_owned(), max_size: ByteSize(u64::MAX) };
    SqliteJournal::open(&options).expect("opens")
}

fn fresh() -> (SqliteJournal, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    (open(folder.path()), folder)
}

fn rewind(to: i64) -> Rewind {
    Rewind {
        source: "a".to_owned(),
        to: at(to),
        reach_back: Duration::from_secs(5),
        redeliver: false,
        now: Timestamp::MAX,
    }
}

fn redeliver(from: i64) -> Redeliver {
    Redeliver { sink: "x".to_owned(), sources: vec!["a".to_owned(), "b".to_owned()], from: Some(at(from)) }
}

async fn coverage(journal: &SqliteJournal) -> Vec<TimeRange> {
    journal.past_of_source("a").await.expect("reads").expect("is known").coverage
}

async fn knows(journal: &SqliteJournal, source: SourceId, raws: &[&str]) -> Vec<bool> {
    let keys =
        journal.keys_within(source, TimeRange::new(at(i64::MIN / 1_000_000_000), Timestamp::MAX)).await.expect("reads");
    raws.iter().map(|raw| keys.iter().any(|key| key.id == key_of(raw, None).id)).collect()
}

/// Ten seconds a window; each has an event at its beginning.
async fn three_windows(journal: &SqliteJournal) -> SourceId {
    let source = conformance::source(journal, "a").await;
    for (from, raw) in [(0, "1"), (10, "2"), (20, "3")] {
        collect(journal, source, (from, from + 10), &[raw]).await;
    }
    source
}

/// A sink that has delivered everything.
async fn sink_at_head(journal: &SqliteJournal) -> SinkId {
    let id = journal.open_sink("x", SinkStart::Beginning).await.expect("opens").id;
    let position = *journal.head().borrow();
    let memo = Some("the newest manifest".to_owned());
    let delivery = Delivery { position, delivered: position, memo, ..Delivery::default() };
    journal.commit_batch(id, delivery).await.expect("finishes");
    id
}

// --- rewind ---

#[tokio::test]
async fn a_rewind_gives_up_what_lies_behind_and_keeps_the_keys() {
    let (journal, _folder) = fresh();
    let source = three_windows(&journal).await;
    for (covers, raw) in [(live(30, 40), "staged"), (live(40, 50), "too")] {
        let open = window(&journal, source, covers).await;
        journal.commit_page(page(open, &[(raw, Some(35))], go_on("next"))).await.expect("commits");
    }
    let seen = journal.preview_rewind(rewind(15)).await.expect("reads").expect("is known");
    assert_eq!((seen.given_up.clone(), seen.open_windows, seen.staged_events), (vec![range(15, 30)], 2, 2));
    assert_eq!((seen.known_events, seen.forgotten_to, seen.is_exact(&rewind(15))), (1, None, true));
    journal.apply(Edit::Rewind(rewind(15))).await.expect("is done");
    assert_eq!(coverage(&journal).await, [range(0, 15)]);
    let state = journal.open_source(conformance::registration("a")).await.expect("opens");
    assert!(state.open.is_empty());
    assert_eq!(knows(&journal, source, &["1", "2", "3", "staged"]).await, [true, true, true, false]);
    assert_eq!(visible(&journal, source).await.len(), 3);
    // What was given up may be walked once more, and what is known there is trimmed again once it is covered.
    let again = window(&journal, source, live(15, 30)).await;
    journal.commit_page(page(again, &[("new", Some(22))], complete(30))).await.expect("commits");
    assert_eq!(coverage(&journal).await, [range(0, 30)]);
}

/// The clock was ahead, and time was taken for covered that had not come: it is read when it comes, and the present is not
/// kept waiting for it.
#[tokio::test]
async fn time_that_was_covered_ahead_of_the_clock_is_given_up() {
    let (journal, _folder) = fresh();
    three_windows(&journal).await;
    journal.apply(Edit::Rewind(Rewind { now: at(12), ..rewind(5) })).await.expect("is done");
    let state = journal.open_source(conformance::registration("a")).await.expect("opens");
    assert_eq!((state.coverage, state.rewound_to), (vec![range(0, 5)], Some(at(12))));
}

#[tokio::test]
async fn a_redelivery_may_be_asked_for_after_a_plain_rewind() {
    let (journal, _folder) = fresh();
    let source = three_windows(&journal).await;
    journal.apply(Edit::Rewind(rewind(15))).await.expect("is done");
    assert_eq!(knows(&journal, source, &["2", "3"]).await, [true, true]);
    journal.apply(Edit::Rewind(Rewind { redeliver: true, ..rewind(15) })).await.expect("is done");
    assert_eq!(knows(&journal, source, &["2", "3"]).await, [true, false]);
    assert_eq!(coverage(&journal).await, [range(0, 15)]);
}

#[tokio::test]
async fn where_nothing_is_covered_a_rewind_changes_nothing() {
    let (journal, _folder) = fresh();
    three_windows(&journal).await;
    let open = journal.add_windows(SourceId(1), vec![live(30, 40)]).await.expect("adds");
    let seen = journal.preview_rewind(rewind(30)).await.expect("reads").expect("is known");
    assert!(seen.given_up.is_empty());
    journal.apply(Edit::Rewind(rewind(30))).await.expect("is done");
    assert_eq!(coverage(&journal).await, [range(0, 30)]);
    journal.restart_window(open[0], 0).await.expect("is still open");
    assert_eq!(journal.preview_rewind(Rewind { source: "z".to_owned(), ..rewind(0) }).await.expect("reads"), None);
}

#[tokio::test]
async fn keys_are_held_until_the_rewound_time_is_covered_again() {
    const DAY: i64 = 86_400;
    let (journal, _folder) = fresh();
    let source = conformance::source(&journal, "a").await;
    for (from, raw) in [(0, "1"), (10, "2"), (20, "3"), (30, "4")] {
        collect(&journal, source, (from * DAY, (from + 10) * DAY), &[raw]).await;
    }
    journal.apply(Edit::Rewind(rewind(5 * DAY))).await.expect("is done");
    journal.trim(at(0), Timestamp::MAX).await.expect("trims");
    let held = knows(&journal, source, &["1", "2", "3", "4"]).await;
    assert_eq!(held[1..], [true, true, true]);
    let again = window(&journal, source, live(5 * DAY, 40 * DAY)).await;
    journal.commit_page(page(again, &[], complete(41 * DAY))).await.expect("commits");
    journal.trim(at(0), Timestamp::MAX).await.expect("trims");
    assert_eq!(knows(&journal, source, &["2", "3"]).await, [false, false]);
}

fn clumio(number: i64) -> String {
    format!(r#"{{"id":"n{number}","timestamp":"{}"}}"#, at(number))
}

/// A page of Clumio's own records, each known by its vendor's id.
fn page_of_clumio(journal_window: crate::journal::WindowId, numbers: &[i64]) -> PageCommit {
    let records = registry::normalizer("clumio", &NormalizerConfig::default()).expect("a vendor");
    let mut block = BlockBuilder::new(at(1_000));
    let raws: Vec<String> = numbers.iter().map(|number| clumio(*number)).collect();
    for (number, raw) in numbers.iter().zip(&raws) {
        let identity = records.key_of(raw);
        assert_eq!(identity.timestamp, Some(at(*number)));
        block.push(raw, SeenKey { id: identity.id, version: identity.version, timestamp: identity.timestamp }, 0);
    }
    let then = complete(numbers.last().copied().unwrap_or(0) + 1);
    let block = block.finish().expect("compresses");
    PageCommit { window: journal_window, block, requests: 1, lateness: LatenessCounts::default(), then }
}

fn id_of_clumio(number: i64) -> EventId {
    registry::normalizer("clumio", &NormalizerConfig::default()).expect("a vendor").key_of(&clumio(number)).id
}

#[tokio::test]
async fn keys_that_are_gone_are_made_of_records_and_where_both_are_gone_it_is_told() {
    const DAY: i64 = 86_400;
    let (journal, _folder) = fresh();
    let source = conformance::source(&journal, "a").await;
    for day in [0, 10, 20, 30] {
        let open = window(&journal, source, live(day * DAY, (day + 10) * DAY)).await;
        journal.commit_page(page_of_clumio(open, &[(day + 4) * DAY, (day + 5) * DAY])).await.expect("commits");
    }
    let sink = journal.open_sink("x", SinkStart::Beginning).await.expect("opens").id;
    journal.commit_batch(sink, Delivery { position: 2, delivered: 2, ..Delivery::default() }).await.expect("finishes");
    journal.trim(Timestamp::MAX, Timestamp::MAX).await.expect("trims");
    // All keys but those about the ends of the coverage are gone; of the first window the records are, too.
    let seen = journal.preview_rewind(rewind(14 * DAY)).await.expect("reads").expect("is known");
    assert_eq!((seen.forgotten_to, seen.known_events), (Some(at(5 * DAY)), 6));
    assert!(seen.is_exact(&rewind(14 * DAY)) && !seen.is_exact(&rewind(5 * DAY)));
    let exact_from = seen.exact_from(&rewind(0)).expect("not any time");
    assert_eq!(exact_from, at(5 * DAY + 6));
    assert!(seen.is_exact(&Rewind { to: exact_from, ..rewind(0) }));
    journal.apply(Edit::Rewind(rewind(3 * DAY))).await.expect_err("would bring doubles");
    assert_eq!(coverage(&journal).await, [range(0, 40 * DAY)]);

    journal.apply(Edit::Rewind(rewind(14 * DAY))).await.expect("is done");
    let keys = journal.keys_within(source, range(14 * DAY, 40 * DAY)).await.expect("reads");
    for day in [14, 15, 24, 25, 34, 35] {
        assert!(keys.iter().any(|key| key.id == id_of_clumio(day * DAY) && key.timestamp == Some(at(day * DAY))));
    }
    // With a redelivery it goes back as far as anyone likes.
    journal.apply(Edit::Rewind(Rewind { redeliver: true, ..rewind(3 * DAY) })).await.expect("is done");
    assert_eq!(coverage(&journal).await, [range(0, 3 * DAY)]);
}

#[tokio::test]
async fn with_a_redelivery_only_what_lies_behind_is_taken_as_new() {
    let (journal, _folder) = fresh();
    let source = conformance::source(&journal, "a").await;
    let open = window(&journal, source, live(0, 30)).await;
    journal
        .commit_page(page(open, &[("1", Some(3)), ("2", Some(15)), ("3", Some(25))], complete(30)))
        .await
        .expect("commits");
    collect(&journal, source, (30, 40), &["4"]).await;
    let open = window(&journal, source, live(40, 50)).await;
    journal.commit_page(page(open, &[("5", Some(44)), ("no time", None)], complete(50))).await.expect("commits");
    let edit = Rewind { redeliver: true, ..rewind(15) };
    let seen = journal.preview_rewind(edit.clone()).await.expect("reads").expect("is known");
    assert_eq!(seen.known_events, 4);
    journal.apply(Edit::Rewind(edit)).await.expect("is done");
    let known = knows(&journal, source, &["1", "2", "3", "4", "5", "no time"]).await;
    assert_eq!(known, [true, false, false, false, false, true]);
    // A rewind that follows does not make these keys again from the records: what was asked for is still to come.
    journal.apply(Edit::Rewind(rewind(10))).await.expect("is done");
    assert_eq!(knows(&journal, source, &["1", "2", "3", "4", "5"]).await, [true, false, false, false, false]);
}

// --- redeliver ---

#[tokio::test]
async fn a_sink_goes_back_to_the_block_with_the_first_event_of_that_time() {
    let (journal, _folder) = fresh();
    let source = three_windows(&journal).await;
    let other = conformance::source(&journal, "other").await;
    collect(&journal, other, (0, 10), &["foreign"]).await;
    collect(&journal, source, (30, 40), &["late", "4"]).await;
    sink_at_head(&journal).await;
    let seen = journal.preview_redeliver(redeliver(12)).await.expect("reads").expect("is known");
    assert_eq!((seen.position, seen.back_to, seen.events), (6, 2, 3));
    assert_eq!((seen.times, seen.trimmed_time, seen.open_plan), (Some((at(20), at(30))), None, false));
    journal.apply(Edit::Redeliver(redeliver(12))).await.expect("is done");
    let state = journal.open_sink("x", SinkStart::Now).await.expect("opens");
    assert_eq!((state.position, state.generation, state.memo.as_deref()), (2, 1, Some("the newest manifest")));
    let summary = &journal.summary().await.expect("reads").sinks[0];
    assert_eq!((summary.delivered, summary.redelivered, summary.active), (6, 3, true));
    // Nothing of that time has been delivered: nothing to do, and the generation stays.
    journal.apply(Edit::Redeliver(redeliver(1_000))).await.expect("is done");
    assert_eq!(journal.open_sink("x", SinkStart::Now).await.expect("opens").generation, 1);
}

#[tokio::test]
async fn a_position_in_the_middle_of_a_block_counts_what_lies_before_it() {
    let (journal, _folder) = fresh();
    let source = conformance::source(&journal, "a").await;
    collect(&journal, source, (0, 10), &["1", "2", "3"]).await;
    let sink = journal.open_sink("x", SinkStart::Beginning).await.expect("opens").id;
    journal.commit_batch(sink, Delivery { position: 2, delivered: 2, ..Delivery::default() }).await.expect("finishes");
    let seen = journal.preview_redeliver(redeliver(0)).await.expect("reads").expect("is known");
    assert_eq!((seen.back_to, seen.events), (0, 2));
}

#[tokio::test]
async fn what_was_trimmed_is_told_and_nothing_more_is_trimmed_under_a_sink_that_was_away() {
    let (journal, _folder) = fresh();
    three_windows(&journal).await;
    sink_at_head(&journal).await;
    journal.trim(at(20), at(0)).await.expect("trims");
    let seen = journal.preview_redeliver(redeliver(0)).await.expect("reads").expect("is known");
    assert_eq!((seen.trimmed_time, seen.back_to, seen.events), (Some(at(0)), 1, 2));
    assert!(!seen.is_whole(at(0)) && seen.is_whole(at(1)));
    assert_eq!(seen.whole_from(), Some(at(1)));
    let oldest = journal.preview_redeliver(Redeliver { from: None, ..redeliver(0) }).await.expect("reads");
    assert_eq!(oldest.expect("is known").back_to, 1);
    journal.retire_sinks(Vec::new()).await.expect("retires");
    journal.open_sink("y", SinkStart::Now).await.expect("opens");
    journal.apply(Edit::Redeliver(redeliver(1))).await.expect("is done");
    assert_eq!(journal.trim(Timestamp::MAX, at(0)).await.expect("trims"), 0);
}

#[tokio::test]
async fn nothing_is_done_in_the_middle_of_a_batch() {
    let (journal, _folder) = fresh();
    three_windows(&journal).await;
    let sink = sink_at_head(&journal).await;
    collect(&journal, SourceId(1), (30, 40), &["4"]).await;
    journal.prepare_batch(sink, 4, 4, "config".to_owned()).await.expect("begins");
    let before = FileBefore::Existing { length: 3, tail_hash: String::new() };
    let output = RollbackRecord::File(FileRecord { path: "/f".into(), before });
    journal.add_rollback_records(sink, vec![output]).await.expect("adds");
    let forget = |kind, name: &str| Edit::Forget(Forget { kind, name: name.to_owned(), then: AfterRemoval::Gone });
    for edit in [
        Edit::Redeliver(redeliver(0)),
        Edit::Rename(Rename { kind: ComponentKind::Sink, old: "x".to_owned(), new: "y".to_owned() }),
        forget(ComponentKind::Sink, "x"),
        forget(ComponentKind::Source, "a"),
    ] {
        let error = journal.apply(edit.clone()).await.expect_err("a batch is open").to_string();
        assert!(error.contains("in the middle of a batch"), "{edit:?}: {error}");
    }
    let state = journal.open_sink("x", SinkStart::Now).await.expect("opens");
    assert_eq!((state.position, state.generation, state.plan.is_some()), (3, 0, true));
    assert_eq!(visible(&journal, SourceId(1)).await.len(), 4);
}

// --- names ---

#[tokio::test]
async fn a_name_changes_and_nothing_else() {
    let (journal, _folder) = fresh();
    let source = three_windows(&journal).await;
    let sink = sink_at_head(&journal).await;
    for (kind, old, new) in [(ComponentKind::Source, "a", "b"), (ComponentKind::Sink, "x", "y")] {
        let edit = Edit::Rename(Rename { kind, old: old.to_owned(), new: new.to_owned() });
        journal.apply(edit.clone()).await.expect("is done");
        journal.apply(edit).await.expect_err("the old name is not known any more");
    }
    let known = journal.open_source(conformance::registration("b")).await.expect("opens");
    assert_eq!((known.id, known.coverage), (source, vec![range(0, 30)]));
    let state = journal.open_sink("y", SinkStart::Beginning).await.expect("opens");
    assert_eq!((state.id, state.position, state.memo.as_deref()), (sink, 3, Some("the newest manifest")));
    assert_eq!(state.generation, 1, "what the outside knows under the new name is not this sink's");
    let other = conformance::source(&journal, "c").await;
    let edit = Edit::Rename(Rename { kind: ComponentKind::Source, old: "c".to_owned(), new: "b".to_owned() });
    journal.apply(edit).await.expect_err("the name is taken");
    assert_eq!(conformance::source(&journal, "c").await, other);
}

#[tokio::test]
async fn a_source_that_is_forgotten_is_gone_and_nothing_of_others_with_it() {
    let (journal, folder) = fresh();
    let source = three_windows(&journal).await;
    let other = conformance::source(&journal, "other").await;
    collect(&journal, other, (0, 10), &["foreign"]).await;
    sink_at_head(&journal).await;
    let open = window(&journal, source, live(30, 40)).await;
    journal.commit_page(page(open, &[("staged", Some(35))], go_on("next"))).await.expect("commits");
    let before = journal.summary().await.expect("reads");
    let edit = Edit::Forget(Forget { kind: ComponentKind::Source, name: "a".to_owned(), then: AfterRemoval::Gone });
    journal.apply(edit).await.expect("is done");
    assert_eq!(journal.past_of_source("a").await.expect("reads"), None);
    let after = journal.summary().await.expect("reads");
    assert_eq!((after.head, after.sources.len()), (before.head, 1));
    assert!(after.bytes > 0 && after.bytes < before.bytes);
    assert_eq!(visible(&journal, other).await, [(4, "foreign".to_owned())]);
    drop(journal);
    let file = rusqlite::Connection::open(folder.path().join(JOURNAL_FILE)).expect("opens");
    for table in ["windows", "covered", "blocks", "keys", "lateness"] {
        let sql = format!("SELECT count(*) FROM {table} WHERE source = {}", source.0);
        let rows: i64 = file.query_row(&sql, [], |row| row.get(0)).expect("reads");
        assert_eq!(rows, 0, "{table}");
    }
    let orphans = "SELECT (SELECT count(*) FROM block_data WHERE block NOT IN (SELECT id FROM blocks)),
                          (SELECT visible_bytes + staged_bytes - (SELECT sum(bytes) FROM blocks) FROM totals)";
    let (records, bytes): (i64, i64) =
        file.query_row(orphans, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("reads");
    assert_eq!((records, bytes), (0, 0));
}

#[tokio::test]
async fn a_source_that_begins_anew_still_delivers_what_it_had() {
    let (journal, _folder) = fresh();
    let source = three_windows(&journal).await;
    let then = AfterRemoval::SourceBegins(at(700));
    let edit = Edit::Forget(Forget { kind: ComponentKind::Source, name: "a".to_owned(), then });
    journal.apply(edit).await.expect("is done");
    let state = journal.open_source(conformance::registration("a")).await.expect("opens");
    assert_eq!((state.id, state.first_started_at, state.coverage), (source, at(700), Vec::new()));
    assert_eq!(visible(&journal, source).await.len(), 3);
    assert_eq!(knows(&journal, source, &["1", "2", "3"]).await, [false, false, false]);
    // Nor does a rewind bring the old keys back from the records.
    collect(&journal, source, (0, 10), &["1"]).await;
    journal.apply(Edit::Rewind(rewind(5))).await.expect("is done");
    assert_eq!(knows(&journal, source, &["1", "2", "3"]).await, [true, false, false]);
}

#[tokio::test]
async fn sinks_that_are_forgotten_begin_anew_in_a_generation_of_their_own() {
    let (journal, _folder) = fresh();
    three_windows(&journal).await;
    sink_at_head(&journal).await;
    let forget = |then| Edit::Forget(Forget { kind: ComponentKind::Sink, name: "x".to_owned(), then });
    journal.apply(forget(AfterRemoval::SinkBegins(4))).await.expect_err("the journal ends at 3");
    journal.apply(forget(AfterRemoval::SinkBegins(1))).await.expect("is done");
    let state = journal.open_sink("x", SinkStart::Now).await.expect("opens");
    assert_eq!((state.position, state.generation, state.memo.as_deref()), (1, 1, Some("the newest manifest")));
    assert_eq!(journal.summary().await.expect("reads").sinks[0].delivered, 0);
    journal.apply(forget(AfterRemoval::Gone)).await.expect("is done");
    assert_eq!(journal.past_of_sink("x").await.expect("reads"), None);
    assert_eq!(journal.open_sink("x", SinkStart::Beginning).await.expect("opens").generation, 2);
}

// --- all ---

/// A process that is killed in the middle leaves any part of its bytes in the log.
#[tokio::test]
async fn a_change_is_there_wholly_or_not_at_all() {
    for edit in [
        Edit::Rewind(Rewind { redeliver: true, ..rewind(5) }),
        Edit::Redeliver(redeliver(0)),
        Edit::Rename(Rename { kind: ComponentKind::Sink, old: "x".to_owned(), new: "y".to_owned() }),
        Edit::Forget(Forget { kind: ComponentKind::Source, name: "a".to_owned(), then: AfterRemoval::Gone }),
    ] {
        let (journal, folder) = fresh();
        three_windows(&journal).await;
        sink_at_head(&journal).await;
        let before = told(&journal).await;
        let log = folder.path().join("journal.db-wal");
        let kept = std::fs::metadata(&log).expect("is there").len();
        journal.apply(edit.clone()).await.expect("is done");
        let after = told(&journal).await;
        assert_ne!(before, after);
        let bytes = std::fs::read(&log).expect("reads");
        let appended = bytes.len() as u64 - kept;
        for part in 0..=20 {
            let end = usize::try_from(kept + appended * part / 20).expect("fits");
            let copy = tempfile::tempdir().expect("a folder");
            std::fs::copy(folder.path().join(JOURNAL_FILE), copy.path().join(JOURNAL_FILE)).expect("copies");
            std::fs::write(copy.path().join("journal.db-wal"), &bytes[..end]).expect("writes");
            let found = told(&open(copy.path())).await;
            assert_eq!(found, if part == 20 { after.clone() } else { before.clone() }, "{edit:?} after {part}/20");
        }
    }
}

/// Everything that these changes touch.
async fn told(journal: &SqliteJournal) -> String {
    let keys = journal.keys_within(SourceId(1), TimeRange::new(at(-1_000), Timestamp::MAX)).await.expect("reads");
    let sinks = [journal.past_of_sink("x").await.expect("reads"), journal.past_of_sink("y").await.expect("reads")];
    let source = journal.past_of_source("a").await.expect("reads");
    format!("{keys:?} {sinks:?} {source:?} {:?}", journal.summary().await.expect("reads"))
}
