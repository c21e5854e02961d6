//! What each change of an operator does to the journal, what it does not change, and what trimming must keep afterwards.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::journal::conformance::{
    self, at, collect, complete, key_of, live, page, range, rollback_record, visible, window,
};
use crate::journal::sqlite::JOURNAL_FILE;
use crate::journal::{
    AfterPage, BatchCommit, CollectJournal, DeliverJournal, Edit, Journal, JournalOptions, LogReader, Redeliver,
    RequestCounts, Rewind, SinkEdit, SinkId, SinkStart, SourceEdit, SourceId, SqliteJournal,
};
use crate::time::{TimeRange, Timestamp};
use crate::units::ByteSize;

fn open(directory: &Path) -> SqliteJournal {
    let options = JournalOptions { data_dir: directory.to_owned(), max_size: ByteSize(u64::MAX) };
    SqliteJournal::open(&options).expect("opens")
}

fn fresh() -> (SqliteJournal, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    (open(directory.path()), directory)
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

/// A rewind of a source whose keys are all held.
fn rewind_edit(rewind: Rewind) -> Edit {
    Edit::Source(SourceEdit::Rewind { rewind, keys: Vec::new() })
}

fn redeliver_edit(from: i64) -> Edit {
    Edit::Sink(SinkEdit::Redeliver(redeliver(from)))
}

fn rename_source(source: &str, new_name: &str) -> Edit {
    Edit::Source(SourceEdit::Rename { source: source.to_owned(), new_name: new_name.to_owned() })
}

fn rename_sink(sink: &str, new_name: &str) -> Edit {
    Edit::Sink(SinkEdit::Rename { sink: sink.to_owned(), new_name: new_name.to_owned() })
}

fn remove_source() -> Edit {
    Edit::Source(SourceEdit::Remove { source: "a".to_owned() })
}

fn remove_sink() -> Edit {
    Edit::Sink(SinkEdit::Remove { sink: "x".to_owned() })
}

fn reset_sink(position: u64) -> Edit {
    Edit::Sink(SinkEdit::Reset { sink: "x".to_owned(), position })
}

fn redeliver(from: i64) -> Redeliver {
    Redeliver { sink: "x".to_owned(), sources: vec!["a".to_owned(), "b".to_owned()], from: Some(at(from)) }
}

async fn coverage(journal: &SqliteJournal) -> Vec<TimeRange> {
    journal.source_history("a").await.expect("reads").expect("is known").coverage
}

async fn knows(journal: &SqliteJournal, source: SourceId, raws: &[&str]) -> Vec<bool> {
    let keys =
        journal.keys_within(source, TimeRange::new(at(i64::MIN / 1_000_000_000), Timestamp::MAX)).await.expect("reads");
    raws.iter().map(|raw| keys.iter().any(|key| key.id == key_of(raw, None).id)).collect()
}

/// Windows of ten seconds; each has an event at its beginning.
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
    let state = Some("the newest manifest".to_owned());
    let batch = BatchCommit { position, delivered: position, state, ..BatchCommit::default() };
    journal.commit_batch(id, batch).await.expect("commits");
    id
}

// --- rewind ---

#[tokio::test]
async fn a_rewind_removes_coverage_and_keeps_keys() {
    let (journal, _directory) = fresh();
    let source = three_windows(&journal).await;
    for (covers, raw) in [(live(30, 40), "staged"), (live(40, 50), "too")] {
        let open = window(&journal, source, covers).await;
        journal.commit_page(page(open, &[(raw, Some(35))], AfterPage::Continue)).await.expect("commits");
    }
    let seen = journal.preview_rewind(rewind(15)).await.expect("reads").expect("is known");
    assert_eq!((seen.removed_coverage.clone(), seen.open_windows, seen.staged_events), (vec![range(15, 30)], 2, 2));
    assert_eq!((seen.known_events, seen.forgotten_to, seen.is_exact(&rewind(15))), (1, None, true));
    journal.apply(rewind_edit(rewind(15))).await.expect("applies");
    assert_eq!(coverage(&journal).await, [range(0, 15)]);
    let state = journal.open_source(conformance::registration("a")).await.expect("opens");
    assert!(state.open.is_empty());
    assert_eq!(knows(&journal, source, &["1", "2", "3", "staged"]).await, [true, true, true, false]);
    assert_eq!(visible(&journal, source).await.len(), 3);
    // The removed time can be scanned again.
    let again = window(&journal, source, live(15, 30)).await;
    journal.commit_page(page(again, &[("new", Some(22))], complete(15, 30))).await.expect("commits");
    assert_eq!(coverage(&journal).await, [range(0, 30)]);
}

/// With a clock that was fast, future time counted as covered: it is read when it comes, and does not delay the present.
#[tokio::test]
async fn coverage_of_future_time_is_removed() {
    let (journal, _directory) = fresh();
    three_windows(&journal).await;
    journal.apply(rewind_edit(Rewind { now: at(12), ..rewind(5) })).await.expect("applies");
    let state = journal.open_source(conformance::registration("a")).await.expect("opens");
    assert_eq!((state.coverage, state.rewound_to), (vec![range(0, 5)], Some(at(12))));
}

#[tokio::test]
async fn a_redelivery_can_follow_a_plain_rewind() {
    let (journal, _directory) = fresh();
    let source = three_windows(&journal).await;
    journal.apply(rewind_edit(rewind(15))).await.expect("applies");
    assert_eq!(knows(&journal, source, &["2", "3"]).await, [true, true]);
    journal.apply(rewind_edit(Rewind { redeliver: true, ..rewind(15) })).await.expect("applies");
    assert_eq!(knows(&journal, source, &["2", "3"]).await, [true, false]);
    assert_eq!(coverage(&journal).await, [range(0, 15)]);
}

#[tokio::test]
async fn a_rewind_without_coverage_changes_nothing() {
    let (journal, _directory) = fresh();
    three_windows(&journal).await;
    let open = journal.add_windows(SourceId(1), vec![live(30, 40)]).await.expect("adds");
    let seen = journal.preview_rewind(rewind(30)).await.expect("reads").expect("is known");
    assert!(seen.removed_coverage.is_empty());
    journal.apply(rewind_edit(rewind(30))).await.expect("applies");
    assert_eq!(coverage(&journal).await, [range(0, 30)]);
    journal.restart_window(open[0], RequestCounts::default()).await.expect("is still open");
    assert_eq!(journal.preview_rewind(Rewind { source: "z".to_owned(), ..rewind(0) }).await.expect("reads"), None);
}

#[tokio::test]
async fn keys_are_kept_until_the_rewound_time_is_covered_again() {
    const DAY: i64 = 86_400;
    let (journal, _directory) = fresh();
    let source = conformance::source(&journal, "a").await;
    for (from, raw) in [(0, "1"), (10, "2"), (20, "3"), (30, "4")] {
        collect(&journal, source, (from * DAY, (from + 10) * DAY), &[raw]).await;
    }
    journal.apply(rewind_edit(rewind(5 * DAY))).await.expect("applies");
    journal.trim(at(0), Timestamp::MAX).await.expect("trims");
    let held = knows(&journal, source, &["1", "2", "3", "4"]).await;
    assert_eq!(held[1..], [true, true, true]);
    let again = window(&journal, source, live(5 * DAY, 40 * DAY)).await;
    journal.commit_page(page(again, &[], complete(5 * DAY, 40 * DAY))).await.expect("commits");
    journal.trim(at(0), Timestamp::MAX).await.expect("trims");
    assert_eq!(knows(&journal, source, &["2", "3"]).await, [false, false]);
}

#[tokio::test]
async fn a_redelivery_deletes_only_the_keys_after_its_moment() {
    let (journal, _directory) = fresh();
    let source = conformance::source(&journal, "a").await;
    let open = window(&journal, source, live(0, 30)).await;
    journal
        .commit_page(page(open, &[("1", Some(3)), ("2", Some(15)), ("3", Some(25))], complete(0, 30)))
        .await
        .expect("commits");
    collect(&journal, source, (30, 40), &["4"]).await;
    let open = window(&journal, source, live(40, 50)).await;
    journal.commit_page(page(open, &[("5", Some(44)), ("no time", None)], complete(40, 50))).await.expect("commits");
    let edit = Rewind { redeliver: true, ..rewind(15) };
    let seen = journal.preview_rewind(edit.clone()).await.expect("reads").expect("is known");
    assert_eq!(seen.known_events, 4);
    journal.apply(rewind_edit(edit)).await.expect("applies");
    let known = knows(&journal, source, &["1", "2", "3", "4", "5", "no time"]).await;
    assert_eq!(known, [true, false, false, false, false, true]);
    // A rewind that follows does not restore these keys: the redelivery is still to come.
    journal.apply(rewind_edit(rewind(10))).await.expect("applies");
    assert_eq!(knows(&journal, source, &["1", "2", "3", "4", "5"]).await, [true, false, false, false, false]);
}

// --- redeliver ---

#[tokio::test]
async fn a_sink_goes_back_to_the_block_with_the_first_event_of_that_time() {
    let (journal, _directory) = fresh();
    let source = three_windows(&journal).await;
    let other = conformance::source(&journal, "other").await;
    collect(&journal, other, (0, 10), &["foreign"]).await;
    collect(&journal, source, (30, 40), &["late", "4"]).await;
    sink_at_head(&journal).await;
    let seen = journal.preview_redeliver(redeliver(12)).await.expect("reads").expect("is known");
    assert_eq!((seen.position, seen.back_to, seen.events), (6, 2, 3));
    assert_eq!((seen.times, seen.trimmed_time, seen.unfinished_batch), (Some((at(20), at(30))), None, false));
    journal.apply(redeliver_edit(12)).await.expect("applies");
    let state = journal.open_sink("x", SinkStart::Now).await.expect("opens");
    assert_eq!((state.position, state.generation, state.state.as_deref()), (2, 1, Some("the newest manifest")));
    let summary = &journal.stats().await.expect("reads").sinks[0];
    assert_eq!((summary.delivered, summary.redelivered, summary.active), (6, 3, true));
    // No event of that time has been delivered: nothing changes, and the generation stays.
    journal.apply(redeliver_edit(1_000)).await.expect("applies");
    assert_eq!(journal.open_sink("x", SinkStart::Now).await.expect("opens").generation, 1);
}

#[tokio::test]
async fn a_position_in_the_middle_of_a_block_counts_the_events_before_it() {
    let (journal, _directory) = fresh();
    let source = conformance::source(&journal, "a").await;
    collect(&journal, source, (0, 10), &["1", "2", "3"]).await;
    let sink = journal.open_sink("x", SinkStart::Beginning).await.expect("opens").id;
    journal
        .commit_batch(sink, BatchCommit { position: 2, delivered: 2, ..BatchCommit::default() })
        .await
        .expect("commits");
    let seen = journal.preview_redeliver(redeliver(0)).await.expect("reads").expect("is known");
    assert_eq!((seen.back_to, seen.events), (0, 2));
}

#[tokio::test]
async fn a_redelivery_reports_trimmed_events_and_keeps_the_rest() {
    let (journal, _directory) = fresh();
    three_windows(&journal).await;
    sink_at_head(&journal).await;
    journal.trim(at(20), at(0)).await.expect("trims");
    let seen = journal.preview_redeliver(redeliver(0)).await.expect("reads").expect("is known");
    assert_eq!((seen.trimmed_time, seen.back_to, seen.events), (Some(at(0)), 1, 2));
    assert!(!seen.is_complete(at(0)) && seen.is_complete(at(1)));
    assert_eq!(seen.complete_from(), Some(at(1)));
    let oldest = journal.preview_redeliver(Redeliver { from: None, ..redeliver(0) }).await.expect("reads");
    assert_eq!(oldest.expect("is known").back_to, 1);
    journal.retire_sinks(Vec::new()).await.expect("retires");
    journal.open_sink("y", SinkStart::Now).await.expect("opens");
    journal.apply(redeliver_edit(1)).await.expect("applies");
    assert_eq!(journal.trim(Timestamp::MAX, at(0)).await.expect("trims"), 0);
}

#[tokio::test]
async fn nothing_changes_in_the_middle_of_a_batch() {
    let (journal, _directory) = fresh();
    three_windows(&journal).await;
    let sink = sink_at_head(&journal).await;
    collect(&journal, SourceId(1), (30, 40), &["4"]).await;
    journal.prepare_batch(sink, 4, 4, "config".to_owned()).await.expect("begins");
    journal.add_rollback_records(sink, vec![rollback_record("/f")]).await.expect("adds");
    for edit in [redeliver_edit(0), rename_sink("x", "y"), reset_sink(1), remove_sink(), remove_source()] {
        let error = journal.apply(edit.clone()).await.expect_err("a batch is open").to_string();
        assert!(error.contains("in the middle of a batch"), "{edit:?}: {error}");
    }
    let state = journal.open_sink("x", SinkStart::Now).await.expect("opens");
    assert_eq!((state.position, state.generation, state.intent.is_some()), (3, 0, true));
    assert_eq!(visible(&journal, SourceId(1)).await.len(), 4);
}

// --- rename, reset, remove ---

#[tokio::test]
async fn a_rename_changes_only_the_name() {
    let (journal, _directory) = fresh();
    let source = three_windows(&journal).await;
    let sink = sink_at_head(&journal).await;
    for edit in [rename_source("a", "b"), rename_sink("x", "y")] {
        journal.apply(edit.clone()).await.expect("applies");
        journal.apply(edit).await.expect_err("the old name is unknown");
    }
    let known = journal.open_source(conformance::registration("b")).await.expect("opens");
    assert_eq!((known.id, known.coverage), (source, vec![range(0, 30)]));
    let state = journal.open_sink("y", SinkStart::Beginning).await.expect("opens");
    assert_eq!((state.id, state.position, state.state.as_deref()), (sink, 3, Some("the newest manifest")));
    assert_eq!(state.generation, 1, "output under the new name is not this sink's");
    let other = conformance::source(&journal, "c").await;
    journal.apply(rename_source("c", "b")).await.expect_err("the name is taken");
    assert_eq!(conformance::source(&journal, "c").await, other);
}

#[tokio::test]
async fn a_renamed_source_is_no_source_that_left() {
    let (journal, _directory) = fresh();
    three_windows(&journal).await;
    let sink = journal.open_sink("x", SinkStart::Beginning).await.expect("opens").id;
    let leaving = async |inputs: &[&str]| {
        let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
        journal.set_sink_inputs(sink, inputs, 0).await.expect("sets").len()
    };
    leaving(&["a"]).await;
    journal.apply(rename_source("a", "b")).await.expect("applies");
    assert_eq!((leaving(&["b"]).await, leaving(&[]).await), (0, 1));
    journal.apply(reset_sink(0)).await.expect("applies");
    assert_eq!(leaving(&[]).await, 0, "it begins anew");
}

#[tokio::test]
async fn a_removed_source_leaves_nothing_and_others_keep_everything() {
    let (journal, directory) = fresh();
    let source = three_windows(&journal).await;
    let other = conformance::source(&journal, "other").await;
    collect(&journal, other, (0, 10), &["foreign"]).await;
    sink_at_head(&journal).await;
    let open = window(&journal, source, live(30, 40)).await;
    journal.commit_page(page(open, &[("staged", Some(35))], AfterPage::Continue)).await.expect("commits");
    let before = journal.stats().await.expect("reads");
    journal.apply(remove_source()).await.expect("applies");
    assert_eq!(journal.source_history("a").await.expect("reads"), None);
    let after = journal.stats().await.expect("reads");
    assert_eq!((after.head, after.sources.len()), (before.head, 1));
    assert!(after.bytes > 0 && after.bytes < before.bytes);
    assert_eq!(visible(&journal, other).await, [(4, "foreign".to_owned())]);
    drop(journal);
    let file = rusqlite::Connection::open(directory.path().join(JOURNAL_FILE)).expect("opens");
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
async fn a_reset_source_still_delivers_its_events() {
    let (journal, _directory) = fresh();
    let source = three_windows(&journal).await;
    let edit = Edit::Source(SourceEdit::Reset { source: "a".to_owned(), at: at(700) });
    journal.apply(edit).await.expect("applies");
    let state = journal.open_source(conformance::registration("a")).await.expect("opens");
    assert_eq!((state.id, state.first_started_at, state.coverage), (source, at(700), Vec::new()));
    assert_eq!(visible(&journal, source).await.len(), 3);
    assert_eq!(knows(&journal, source, &["1", "2", "3"]).await, [false, false, false]);
    // A rewind does not restore the old keys from the records.
    collect(&journal, source, (0, 10), &["1"]).await;
    journal.apply(rewind_edit(rewind(5))).await.expect("applies");
    assert_eq!(knows(&journal, source, &["1", "2", "3"]).await, [true, false, false]);
}

#[tokio::test]
async fn reset_and_removed_sinks_start_in_a_new_generation() {
    let (journal, _directory) = fresh();
    three_windows(&journal).await;
    sink_at_head(&journal).await;
    journal.apply(reset_sink(4)).await.expect_err("the journal ends at 3");
    journal.apply(reset_sink(1)).await.expect("applies");
    let state = journal.open_sink("x", SinkStart::Now).await.expect("opens");
    assert_eq!((state.position, state.generation, state.state.as_deref()), (1, 1, Some("the newest manifest")));
    assert_eq!(journal.stats().await.expect("reads").sinks[0].delivered, 0);
    journal.apply(remove_sink()).await.expect("applies");
    assert_eq!(journal.sink_history("x").await.expect("reads"), None);
    assert_eq!(journal.open_sink("x", SinkStart::Beginning).await.expect("opens").generation, 2);
}

// --- all ---

/// A process that is killed leaves any part of its bytes in the log.
#[tokio::test]
async fn a_change_is_applied_as_a_whole_or_not_at_all() {
    for edit in [
        rewind_edit(Rewind { redeliver: true, ..rewind(5) }),
        redeliver_edit(0),
        rename_sink("x", "y"),
        remove_source(),
    ] {
        let (journal, directory) = fresh();
        three_windows(&journal).await;
        sink_at_head(&journal).await;
        let before = contents(&journal).await;
        let log = directory.path().join("journal.db-wal");
        let kept = std::fs::metadata(&log).expect("is there").len();
        journal.apply(edit.clone()).await.expect("applies");
        let after = contents(&journal).await;
        assert_ne!(before, after);
        let bytes = std::fs::read(&log).expect("reads");
        let appended = bytes.len() as u64 - kept;
        for part in 0..=20 {
            let end = usize::try_from(kept + appended * part / 20).expect("fits");
            let copy = tempfile::tempdir().expect("a directory");
            std::fs::copy(directory.path().join(JOURNAL_FILE), copy.path().join(JOURNAL_FILE)).expect("copies");
            std::fs::write(copy.path().join("journal.db-wal"), &bytes[..end]).expect("writes");
            let found = contents(&open(copy.path())).await;
            assert_eq!(found, if part == 20 { after.clone() } else { before.clone() }, "{edit:?} after {part}/20");
        }
    }
}

/// Everything that these changes affect.
async fn contents(journal: &SqliteJournal) -> String {
    let keys = journal.keys_within(SourceId(1), TimeRange::new(at(-1_000), Timestamp::MAX)).await.expect("reads");
    let sinks = [journal.sink_history("x").await.expect("reads"), journal.sink_history("y").await.expect("reads")];
    let source = journal.source_history("a").await.expect("reads");
    format!("{keys:?} {sinks:?} {source:?} {:?}", journal.stats().await.expect("reads"))
}
