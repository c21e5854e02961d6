//! What is specific to the SQLite file: damage, versions, the lock, full disks, limits, shared commits, snapshots.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use futures_util::future::join_all;
use tempfile::TempDir;

use super::*;
use crate::journal::conformance::{self, at, collect, complete, journal_conformance, live, page, range, visible};
use crate::journal::{AfterPage, Completion, CoverageState};

pub(super) fn options(directory: &Path, max_size: u64) -> JournalOptions {
    JournalOptions { data_dir: directory.to_owned(), max_size: ByteSize(max_size) }
}

fn fresh() -> (SqliteJournal, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    (SqliteJournal::open(&options(directory.path(), u64::MAX)).expect("opens"), directory)
}

journal_conformance!(fresh);

fn reopen(directory: &TempDir) -> Result<SqliteJournal, JournalError> {
    SqliteJournal::open(&options(directory.path(), u64::MAX))
}

/// A journal of two events, closed.
async fn closed_journal() -> TempDir {
    let (journal, directory) = fresh();
    let source = conformance::source(&journal, "a").await;
    collect(&journal, source, (0, 10), &["1", "2"]).await;
    directory
}

fn execute(directory: &TempDir, sql: &str) {
    let file = Connection::open(directory.path().join(JOURNAL_FILE)).expect("opens");
    file.execute_batch(sql).expect("executes");
}

#[tokio::test]
async fn everything_survives_closing_and_opening() {
    let directory = closed_journal().await;
    assert!(!directory.path().join("journal.db-wal").exists(), "a closed journal is one file");
    let journal = reopen(&directory).expect("opens");
    let source = conformance::source(&journal, "a").await;
    assert_eq!(visible(&journal, source).await, [(1, "1".to_owned()), (2, "2".to_owned())]);
    assert_eq!(*journal.head().borrow(), 2);
}

#[tokio::test]
async fn the_directory_is_private_to_its_owner() {
    let directory = tempfile::tempdir().expect("a directory");
    let data_dir = directory.path().join("deep/data");
    let journal = SqliteJournal::open(&options(&data_dir, u64::MAX)).expect("opens");
    conformance::source(&journal, "a").await;
    let mode = |path: &Path| std::fs::metadata(path).expect("is there").permissions().mode() & 0o777;
    assert_eq!(mode(&data_dir), 0o700);
    assert_eq!(mode(&data_dir.join(JOURNAL_FILE)), 0o600);
    assert_eq!(mode(&data_dir.join("journal.db-wal")), 0o600);
}

#[test]
fn a_second_journal_of_a_directory_is_an_error() {
    let (journal, directory) = fresh();
    let error = reopen(&directory).expect_err("is in use");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(journal);
    reopen(&directory).expect("is free again");
}

#[test]
fn an_empty_file_is_a_new_journal() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join(JOURNAL_FILE), "").expect("writes");
    reopen(&directory).expect("opens");
}

/// A first start that was killed between creating the file and its tables.
#[test]
fn a_database_without_tables_is_a_new_journal() {
    let directory = tempfile::tempdir().expect("a directory");
    execute(&directory, "PRAGMA journal_mode = WAL; CREATE TABLE t (x); DROP TABLE t;");
    reopen(&directory).expect("opens");
}

#[tokio::test]
async fn a_journal_of_another_version_is_an_error_and_not_changed() {
    let directory = closed_journal().await;
    execute(&directory, "PRAGMA user_version = 99");
    let before = std::fs::read(directory.path().join(JOURNAL_FILE)).expect("reads");
    let error = reopen(&directory).expect_err("is another version");
    assert!(matches!(error, JournalError::OtherVersion { found: 99, .. }), "{error}");
    assert_eq!(std::fs::read(directory.path().join(JOURNAL_FILE)).expect("reads"), before);
}

#[test]
fn a_database_of_another_program_is_an_error() {
    let directory = tempfile::tempdir().expect("a directory");
    execute(&directory, "CREATE TABLE songs (title TEXT); INSERT INTO songs VALUES ('x')");
    let error = reopen(&directory).expect_err("is not ours");
    assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("another program"), "{error}");
}

#[test]
fn a_file_that_is_not_a_database_is_an_error_and_not_changed() {
    for text in ["a shopping list", &"long ".repeat(10_000)] {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(JOURNAL_FILE);
        std::fs::write(&path, text).expect("writes");
        let error = reopen(&directory).expect_err("is not a database");
        assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("restore it from a backup"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("reads"), text);
    }
}

#[tokio::test]
async fn a_truncated_file_is_damaged() {
    let directory = closed_journal().await;
    let path = directory.path().join(JOURNAL_FILE);
    let bytes = std::fs::read(&path).expect("reads");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("writes");
    let error = reopen(&directory).expect_err("is cut");
    assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
}

/// Whichever byte changes, reading returns an error or the events as they were collected.
#[tokio::test]
async fn bad_bytes_never_change_events() {
    let directory = closed_journal().await;
    let path = directory.path().join(JOURNAL_FILE);
    let good = std::fs::read(&path).expect("reads");
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..100 {
        let mut bad = good.clone();
        let offset = random.usize(..bad.len());
        bad[offset] ^= random.u8(1..);
        std::fs::write(&path, &bad).expect("writes");
        let Ok(journal) = reopen(&directory) else { continue };
        let Ok(blocks) = journal.read(1, 2, vec![SourceId(1)], 10).await else { continue };
        for block in blocks {
            let Ok(decoded) = block.decode() else { continue };
            let raw: Vec<_> = decoded.records().map(|record| record.raw).collect();
            assert_eq!(raw, ["1", "2"], "byte {offset}");
        }
    }
}

#[test]
fn a_directory_that_cannot_be_created_is_an_error() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("writes");
    let error = SqliteJournal::open(&options(&file.join("data"), u64::MAX)).expect_err("is below a file");
    assert!(matches!(error, JournalError::NotOpened { .. }), "{error}");
}

async fn set_page_limit(journal: &SqliteJournal, pages: i64) {
    let set = move |file: &Connection| {
        Ok(file.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, i64>(0))?)
    };
    journal.write(set).await.expect("is set");
}

#[tokio::test]
async fn after_a_full_disk_calls_succeed_again() {
    let (journal, directory) = fresh();
    let source = conformance::source(&journal, "a").await;
    let window = conformance::window(&journal, source, live(0, 100)).await;
    journal.commit_page(page(window, &[("before", Some(1))], AfterPage::Continue)).await.expect("commits");
    set_page_limit(&journal, 1).await;

    let mut random = fastrand::Rng::with_seed(1);
    let large: String = std::iter::repeat_with(|| random.alphanumeric()).take(100_000).collect();
    let large = [(large.as_str(), Some(2))];
    for _ in 0..3 {
        let error = journal.commit_page(page(window, &large, AfterPage::Continue)).await.expect_err("the disk is full");
        assert!(matches!(&error, JournalError::Storage { reason, .. } if reason.contains("full")), "{error}");
    }
    assert_eq!(journal.stats().await.expect("still reads").sources[0].pages, 1);

    set_page_limit(&journal, 1_000_000).await;
    journal.commit_page(page(window, &large, complete(0, 100))).await.expect("commits");
    drop(journal);
    let journal = reopen(&directory).expect("opens");
    let found = visible(&journal, source).await;
    assert_eq!((found.len(), found[0].1.as_str(), found[1].1.len()), (2, "before", 100_000));
}

#[tokio::test]
async fn calls_that_share_a_commit_have_results_of_their_own() {
    let (journal, directory) = fresh();
    let source = conformance::source(&journal, "a").await;
    let windows: Vec<_> = (0..50).map(|index| live(index * 10, index * 10 + 10)).collect();
    let windows = journal.add_windows(source, windows).await.expect("are added");
    let then = |index: usize| {
        let from = i64::try_from(index).expect("fits") * 10;
        complete(from, from + 10)
    };
    let calls = windows.iter().enumerate().map(|(index, &window)| {
        let window = if index % 3 == 0 { WindowId(10_000) } else { window };
        journal.commit_page(page(window, &[(&index.to_string(), Some(1))], then(index)))
    });
    let results = join_all(calls).await;
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result.is_err(), index % 3 == 0, "{index}: {result:?}");
    }
    drop(journal);
    let journal = reopen(&directory).expect("opens");
    let mut found: Vec<usize> =
        visible(&journal, source).await.iter().map(|(_, raw)| raw.parse().expect("a number")).collect();
    found.sort_unstable();
    assert_eq!(found, (0..50).filter(|index| index % 3 != 0).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_journal_is_full_until_it_is_trimmed() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = SqliteJournal::open(&options(directory.path(), 1)).expect("opens");
    let full = journal.full();
    let source = conformance::source(&journal, "a").await;
    let sink = journal.open_sink("files", SinkStart::Beginning).await.expect("opens").id;
    assert!(!*full.borrow());
    collect(&journal, source, (0, 10), &["1"]).await;
    assert!(*full.borrow());
    drop(journal);

    let journal = SqliteJournal::open(&options(directory.path(), 1)).expect("opens");
    let full = journal.full();
    assert!(*full.borrow(), "it is full from the start");
    journal.commit_batch(sink, BatchCommit { position: 1, ..BatchCommit::default() }).await.expect("moves");
    journal.trim(Timestamp::MAX, at(0)).await.expect("trims");
    assert!(!*full.borrow());
}

async fn page_count(journal: &SqliteJournal) -> i64 {
    let count = |file: &Connection| Ok(file.query_row("PRAGMA page_count", [], |row| row.get(0))?);
    journal.query(count).await.expect("counts")
}

#[tokio::test]
async fn space_of_trimmed_events_is_reused() {
    let (journal, _directory) = fresh();
    let source = conformance::source(&journal, "a").await;
    let sink = journal.open_sink("files", SinkStart::Beginning).await.expect("opens").id;
    let mut random = fastrand::Rng::with_seed(1);
    let mut largest = 0;
    for round in 0..20 {
        let large: String = std::iter::repeat_with(|| random.alphanumeric()).take(50_000).collect();
        collect(&journal, source, (round * 10, round * 10 + 10), &[&large]).await;
        let position = *journal.head().borrow();
        journal.commit_batch(sink, BatchCommit { position, ..BatchCommit::default() }).await.expect("moves");
        journal.trim(Timestamp::MAX, at(0)).await.expect("trims");
        let pages = page_count(&journal).await;
        if round == 5 {
            largest = pages;
        }
        assert!(round <= 5 || pages <= largest + 8, "round {round}: {pages} pages after {largest}");
    }
}

#[tokio::test]
async fn a_large_backlog_is_trimmed_in_steps() {
    let (journal, _directory) = fresh();
    let source = conformance::source(&journal, "a").await;
    let sink = journal.open_sink("files", SinkStart::Beginning).await.expect("opens").id;
    let window = conformance::window(&journal, source, live(0, 100)).await;
    for _ in 0..200 {
        journal.commit_page(page(window, &[("x", Some(1))], AfterPage::Continue)).await.expect("commits");
    }
    journal.commit_page(page(window, &[], complete(0, 100))).await.expect("commits");
    journal.commit_batch(sink, BatchCommit { position: 199, ..BatchCommit::default() }).await.expect("moves");
    assert_eq!(journal.trim(Timestamp::MAX, at(0)).await.expect("trims"), 199);
    assert_eq!(visible(&journal, source).await, [(200, "x".to_owned())]);
}

/// A source that was off for long still deduplicates the records before its gap.
#[tokio::test]
async fn keys_within_the_overlap_are_kept_at_any_age() {
    let (journal, _directory) = fresh();
    let source = conformance::source(&journal, "a").await;
    let days = |days: i64| days * 86_400;
    let overlapping = |from, to| NewWindow { fetch_range: range(from - days(3), to), ..live(from, to) };
    for day in 0..10 {
        let window = conformance::window(&journal, source, overlapping(days(day), days(day + 1))).await;
        let text = day.to_string();
        let records = [(text.as_str(), Some(days(day)))];
        journal.commit_page(page(window, &records, complete(days(day), days(day + 1)))).await.expect("commits");
    }
    journal.trim(at(0), Timestamp::MAX).await.expect("trims");
    let next = range(days(10) - days(3), days(30));
    assert_eq!(journal.keys_within(source, next).await.expect("reads").len(), 3);
    assert_eq!(journal.keys_within(source, range(days(5), days(6))).await.expect("reads").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_does_not_advance_while_the_journal_works() {
    let (journal, _directory) = fresh();
    let before = tokio::time::Instant::now();
    let working = async {
        let source = conformance::source(&journal, "a").await;
        collect(&journal, source, (0, 10), &["1"]).await;
        before.elapsed()
    };
    let took = tokio::select! {
        took = working => took,
        () = tokio::time::sleep(std::time::Duration::from_secs(3_600)) => panic!("the clock ran ahead"),
    };
    assert!(took.is_zero());
}

/// Bytes that all commits of a window of this many pages append to the log, per page.
async fn log_bytes_per_page(pages: u64) -> u64 {
    const RECORDS: usize = 1_000;
    let (journal, directory) = fresh();
    let source = conformance::source(&journal, "a").await;
    let window = conformance::window(&journal, source, live(0, 100)).await;
    let no_checkpoints = |file: &Connection| Ok(file.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(()))?);
    journal.write(no_checkpoints).await.expect("sets");
    for number in 0..pages {
        let evidence = number.to_le_bytes().repeat(2 * RECORDS);
        let page = PageCommit { evidence, ..page(window, &[], AfterPage::Continue) };
        journal.commit_page(page).await.expect("commits");
    }
    journal.commit_page(page(window, &[], complete(0, 100))).await.expect("commits");
    let left = "SELECT (SELECT count(*) FROM scan_pages) + (SELECT count(*) FROM scans)";
    let left = journal.query(move |file| Ok(file.query_row(left, [], |row| row.get::<_, i64>(0))?));
    assert_eq!(left.await.expect("counts"), 0, "a complete window leaves no evidence of pages");
    std::fs::metadata(directory.path().join("journal.db-wal")).expect("is there").len() / pages
}

/// 180,000 records with 16 bytes of evidence each cost what they are, however many pages came before.
#[tokio::test]
async fn the_cost_of_a_page_does_not_grow_with_its_window() {
    let (few, many) = (log_bytes_per_page(10).await, log_bytes_per_page(180).await);
    assert!(many <= few && many < 16_000 + 40_000, "{few} bytes per page for 10 pages, {many} for 180");
}

#[tokio::test]
async fn a_snapshot_shows_doubt_and_evidence_on_request() {
    let (journal, directory) = fresh();
    let source = conformance::source(&journal, "a").await;
    let id = conformance::window(&journal, source, live(0, 10)).await;
    let doubt = Completion { state: CoverageState::InDoubt, ..Completion::covered(range(0, 10), at(10)) };
    journal.commit_page(page(id, &[], AfterPage::Complete(doubt))).await.expect("commits");
    let query = |evidence| SnapshotQuery { sources: None, sinks: &[], evidence };
    for (evidence, wanted) in [(None, 0), (Some(range(10, 20)), 0), (Some(range(0, 1)), 1)] {
        let snapshot = SqliteJournal::snapshot(directory.path(), &query(evidence)).expect("reads").expect("is there");
        let source = snapshot.source("a").expect("known");
        assert_eq!((source.state.in_doubt.len(), source.evidence.len()), (1, wanted));
    }
}

// --- snapshots ---

fn open(directory: &Path) -> SqliteJournal {
    SqliteJournal::open(&options(directory, 1 << 30)).expect("opens")
}

async fn fill(journal: &SqliteJournal) {
    let source = conformance::source(journal, "a").await;
    let windows = journal.add_windows(source, vec![live(0, 10), live(10, 20)]).await.expect("adds");
    journal.commit_page(page(windows[0], &[("1", Some(1)), ("2", Some(2))], complete(0, 10))).await.expect("commits");
    journal.open_sink("files", SinkStart::Beginning).await.expect("opens");
}

fn snapshot_of(directory: &Path) -> Result<Option<JournalSnapshot>, JournalError> {
    let sinks = [("files".to_owned(), vec!["a".to_owned()]), ("unknown".to_owned(), Vec::new())];
    SqliteJournal::snapshot(directory, &SnapshotQuery { sources: None, sinks: &sinks, evidence: None })
}

fn assert_filled(snapshot: &JournalSnapshot) {
    let source = snapshot.source("a").expect("known");
    assert_eq!((source.state.coverage.len(), source.state.open.len(), source.hourly[0].events), (1, 1, 2));
    assert_eq!(source.newest_event_at, Some(at(2)));
    let (name, pending) = snapshot.pending.first().expect("a sink");
    assert_eq!((name.as_str(), pending.events, pending.oldest_visible_at), ("files", 2, Some(at(10))));
    assert_eq!(snapshot.pending.len(), 1, "a sink that never ran has nothing pending");
}

fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = std::fs::read_dir(directory).expect("reads").map(|entry| entry.expect("reads").path());
    paths.map(|path| (path.clone(), std::fs::read(path).expect("reads"))).collect()
}

#[tokio::test]
async fn a_snapshot_shows_what_is_committed_and_does_not_block_writes() {
    let directory = tempfile::tempdir().expect("a directory");
    assert_eq!(snapshot_of(directory.path()).expect("nothing there"), None);
    assert_eq!(snapshot_of(&directory.path().join("missing")).expect("nothing there"), None);
    let journal = open(directory.path());
    assert!(snapshot_of(directory.path()).expect("reads").expect("is there").sources.is_empty());
    fill(&journal).await;
    assert_filled(&snapshot_of(directory.path()).expect("reads").expect("is there"));
    conformance::source(&journal, "b").await;
    assert_eq!(snapshot_of(directory.path()).expect("reads").expect("is there").sources.len(), 2);
}

#[tokio::test]
async fn a_snapshot_of_a_closed_journal_does_not_change_a_byte() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = open(directory.path());
    fill(&journal).await;
    drop(journal);
    let before = contents(directory.path());
    assert_filled(&snapshot_of(directory.path()).expect("reads").expect("is there"));
    assert_eq!(contents(directory.path()), before);
}

#[tokio::test]
async fn a_snapshot_includes_the_log_that_a_killed_process_left() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = open(directory.path());
    fill(&journal).await;
    let killed = tempfile::tempdir().expect("a directory");
    for name in ["journal.db", "journal.db-wal"] {
        std::fs::copy(directory.path().join(name), killed.path().join(name)).expect("copies");
    }
    assert_filled(&snapshot_of(killed.path()).expect("reads").expect("is there"));
    drop(open(killed.path()));
    assert_filled(&snapshot_of(killed.path()).expect("reads").expect("is there"));
}

#[tokio::test]
async fn a_snapshot_of_another_version_is_an_error_and_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(open(directory.path()));
    let path = directory.path().join(JOURNAL_FILE);
    let present: i64 = schema_version(&path);
    for number in [present - 1, present + 1] {
        let file = Connection::open(&path).expect("opens");
        file.pragma_update(None, "user_version", number).expect("sets");
        drop(file);
        let error = snapshot_of(directory.path()).expect_err("another version").to_string();
        assert!(error.contains(&format!("schema version {number}")) && error.contains("journal.db"), "{error}");
        assert_eq!(schema_version(&path), number);
    }
    std::fs::write(&path, "not a journal, but long enough to be taken for one").expect("writes");
    let error = snapshot_of(directory.path()).expect_err("not a journal").to_string();
    assert!(error.contains("damaged"), "{error}");
}

fn schema_version(path: &Path) -> i64 {
    let file = Connection::open(path).expect("opens");
    file.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("reads")
}

/// A defect in one call must not leave a process that looks alive and does nothing: whoever watches the head notices.
#[tokio::test]
async fn a_panic_of_the_writer_fails_every_call_and_closes_the_head() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = open(directory.path());
    let mut head = journal.head();
    let failed = journal.write(|_| -> Result<(), SqliteError> { panic!("a defect, on purpose") }).await;
    assert!(matches!(failed, Err(JournalError::Storage { .. })), "{failed:?}");
    assert!(head.changed().await.is_err(), "its publisher is gone");
    let later = journal.write(|_| Ok(())).await;
    assert!(matches!(later, Err(JournalError::Storage { .. })), "{later:?}");
}
