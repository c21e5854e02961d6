//! What is particular to the SQLite file: damage, versions, the lock, full disks, limits, shared commits.

use std::os::unix::fs::PermissionsExt;

use futures_util::future::join_all;
use tempfile::TempDir;

use super::*;
use crate::journal::conformance::{
    self, at, collect, complete, go_on, journal_conformance, live, page, range, visible,
};

pub(super) fn options(folder: &Path, max_size: u64) -> JournalOptions {
    JournalOptions { data_dir: folder.to_owned(), max_size: ByteSize(max_size) }
}

fn fresh() -> (SqliteJournal, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    (SqliteJournal::open(&options(folder.path(), u64::MAX)).expect("opens"), folder)
}

journal_conformance!(fresh);

fn reopen(folder: &TempDir) -> Result<SqliteJournal, JournalError> {
    SqliteJournal::open(&options(folder.path(), u64::MAX))
}

/// A journal of two events, closed.
async fn closed_journal() -> TempDir {
    let (journal, folder) = fresh();
    let source = conformance::source(&journal, "a").await;
    collect(&journal, source, (0, 10), &["1", "2"]).await;
    folder
}

fn edit(folder: &TempDir, sql: &str) {
    let file = Connection::open(folder.path().join(JOURNAL_FILE)).expect("opens");
    file.execute_batch(sql).expect("is edited");
}

#[tokio::test]
async fn everything_is_there_after_closing_and_opening() {
    let folder = closed_journal().await;
    assert!(!folder.path().join("journal.db-wal").exists(), "a closed journal is one file");
    let journal = reopen(&folder).expect("opens");
    let source = conformance::source(&journal, "a").await;
    assert_eq!(visible(&journal, source).await, [(1, "1".to_owned()), (2, "2".to_owned())]);
    assert_eq!(*journal.head().borrow(), 2);
}

#[tokio::test]
async fn the_folder_is_made_for_its_owner_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("deep/data");
    let journal = SqliteJournal::open(&options(&data_dir, u64::MAX)).expect("opens");
    conformance::source(&journal, "a").await;
    let mode = |path: &Path| std::fs::metadata(path).expect("is there").permissions().mode() & 0o777;
    assert_eq!(mode(&data_dir), 0o700);
    assert_eq!(mode(&data_dir.join(JOURNAL_FILE)), 0o600);
    assert_eq!(mode(&data_dir.join("journal.db-wal")), 0o600);
}

#[test]
fn a_second_journal_of_the_folder_is_refused() {
    let (journal, folder) = fresh();
    let error = reopen(&folder).expect_err("is in use");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(journal);
    reopen(&folder).expect("is free again");
}

#[test]
fn an_empty_file_is_a_new_journal() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(JOURNAL_FILE), "").expect("writes");
    reopen(&folder).expect("opens");
}

/// A first start that was killed between making the file and its tables.
#[test]
fn a_database_without_tables_is_a_new_journal() {
    let folder = tempfile::tempdir().expect("a folder");
    edit(&folder, "PRAGMA journal_mode = WAL; CREATE TABLE t (x); DROP TABLE t;");
    reopen(&folder).expect("opens");
}

#[tokio::test]
async fn a_journal_of_a_newer_version_is_refused_and_left_alone() {
    let folder = closed_journal().await;
    edit(&folder, "PRAGMA user_version = 99");
    let before = std::fs::read(folder.path().join(JOURNAL_FILE)).expect("reads");
    let error = reopen(&folder).expect_err("is newer");
    assert!(matches!(error, JournalError::NewerVersion { found: 99, .. }), "{error}");
    assert_eq!(std::fs::read(folder.path().join(JOURNAL_FILE)).expect("reads"), before);
}

#[test]
fn a_database_of_another_program_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    edit(&folder, "CREATE TABLE songs (title TEXT); INSERT INTO songs VALUES ('x')");
    let error = reopen(&folder).expect_err("is not ours");
    assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("another program"), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    for text in ["a shopping list", &"long ".repeat(10_000)] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(JOURNAL_FILE);
        std::fs::write(&path, text).expect("writes");
        let error = reopen(&folder).expect_err("is no database");
        assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("restore it from a backup"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("reads"), text);
    }
}

#[tokio::test]
async fn a_cut_file_is_damaged() {
    let folder = closed_journal().await;
    let path = folder.path().join(JOURNAL_FILE);
    let bytes = std::fs::read(&path).expect("reads");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("writes");
    let error = reopen(&folder).expect_err("is cut");
    assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
}

/// Whatever byte goes bad, the answer is an error or the events as they were collected.
#[tokio::test]
async fn bad_bytes_never_give_other_events() {
    let folder = closed_journal().await;
    let path = folder.path().join(JOURNAL_FILE);
    let good = std::fs::read(&path).expect("reads");
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..100 {
        let mut bad = good.clone();
        let offset = random.usize(..bad.len());
        bad[offset] ^= random.u8(1..);
        std::fs::write(&path, &bad).expect("writes");
        let Ok(journal) = reopen(&folder) else { continue };
        let Ok(blocks) = journal.read(1, 2, vec![SourceId(1)], 10).await else { continue };
        for block in blocks {
            let Ok(decoded) = block.decode() else { continue };
            let raw: Vec<_> = decoded.records().map(|record| record.raw).collect();
            assert_eq!(raw, ["1", "2"], "byte {offset}");
        }
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
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
async fn after_a_full_disk_everything_goes_on() {
    let (journal, folder) = fresh();
    let source = conformance::source(&journal, "a").await;
    let window = conformance::window(&journal, source, live(0, 100)).await;
    journal.commit_page(page(window, &[("before", Some(1))], go_on("2"))).await.expect("commits");
    set_page_limit(&journal, 1).await;

    let mut random = fastrand::Rng::with_seed(1);
    let large: String = std::iter::repeat_with(|| random.alphanumeric()).take(100_000).collect();
    let large = [(large.as_str(), Some(2))];
    for _ in 0..3 {
        let error = journal.commit_page(page(window, &large, go_on("3"))).await.expect_err("the disk is full");
        assert!(matches!(&error, JournalError::Storage { reason, .. } if reason.contains("full")), "{error}");
    }
    assert_eq!(journal.stats().await.expect("reads go on").sources[0].pages, 1);

    set_page_limit(&journal, 1_000_000).await;
    journal.commit_page(page(window, &large, complete(100))).await.expect("commits");
    drop(journal);
    let journal = reopen(&folder).expect("opens");
    let found = visible(&journal, source).await;
    assert_eq!((found.len(), found[0].1.as_str(), found[1].1.len()), (2, "before", 100_000));
}

#[tokio::test]
async fn calls_that_share_a_commit_have_outcomes_of_their_own() {
    let (journal, folder) = fresh();
    let source = conformance::source(&journal, "a").await;
    let windows: Vec<_> = (0..50).map(|index| live(index * 10, index * 10 + 10)).collect();
    let windows = journal.add_windows(source, windows).await.expect("are added");
    let calls = windows.iter().enumerate().map(|(index, &window)| {
        let window = if index % 3 == 0 { WindowId(10_000) } else { window };
        journal.commit_page(page(window, &[(&index.to_string(), Some(1))], complete(500)))
    });
    let answers = join_all(calls).await;
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(answer.is_err(), index % 3 == 0, "{index}: {answer:?}");
    }
    drop(journal);
    let journal = reopen(&folder).expect("opens");
    let mut found: Vec<usize> =
        visible(&journal, source).await.iter().map(|(_, raw)| raw.parse().expect("a number")).collect();
    found.sort_unstable();
    assert_eq!(found, (0..50).filter(|index| index % 3 != 0).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_journal_says_so_until_it_is_trimmed() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = SqliteJournal::open(&options(folder.path(), 1)).expect("opens");
    let full = journal.full();
    let source = conformance::source(&journal, "a").await;
    let sink = journal.open_sink("files", SinkStart::Beginning).await.expect("opens").id;
    assert!(!*full.borrow());
    collect(&journal, source, (0, 10), &["1"]).await;
    assert!(*full.borrow());
    drop(journal);

    let journal = SqliteJournal::open(&options(folder.path(), 1)).expect("opens");
    let full = journal.full();
    assert!(*full.borrow(), "it is known from the beginning");
    journal.commit_batch(sink, Delivery { position: 1, ..Delivery::default() }).await.expect("moves");
    journal.trim(Timestamp::MAX, at(0)).await.expect("trims");
    assert!(!*full.borrow());
}

async fn page_count(journal: &SqliteJournal) -> i64 {
    let count = |file: &Connection| Ok(file.query_row("PRAGMA page_count", [], |row| row.get(0))?);
    journal.look(count).await.expect("counts")
}

#[tokio::test]
async fn space_of_trimmed_events_is_used_again() {
    let (journal, _folder) = fresh();
    let source = conformance::source(&journal, "a").await;
    let sink = journal.open_sink("files", SinkStart::Beginning).await.expect("opens").id;
    let mut random = fastrand::Rng::with_seed(1);
    let mut largest = 0;
    for round in 0..20 {
        let large: String = std::iter::repeat_with(|| random.alphanumeric()).take(50_000).collect();
        collect(&journal, source, (round * 10, round * 10 + 10), &[&large]).await;
        let position = *journal.head().borrow();
        journal.commit_batch(sink, Delivery { position, ..Delivery::default() }).await.expect("moves");
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
    let (journal, _folder) = fresh();
    let source = conformance::source(&journal, "a").await;
    let sink = journal.open_sink("files", SinkStart::Beginning).await.expect("opens").id;
    let window = conformance::window(&journal, source, live(0, 100)).await;
    for _ in 0..200 {
        journal.commit_page(page(window, &[("x", Some(1))], go_on("next"))).await.expect("commits");
    }
    journal.commit_page(page(window, &[], complete(100))).await.expect("commits");
    journal.commit_batch(sink, Delivery { position: 199, ..Delivery::default() }).await.expect("moves");
    assert_eq!(journal.trim(Timestamp::MAX, at(0)).await.expect("trims"), 199);
    assert_eq!(visible(&journal, source).await, [(200, "x".to_owned())]);
}

/// A source that was off for long still knows the records before its gap.
#[tokio::test]
async fn keys_within_the_overlap_stay_however_old() {
    let (journal, _folder) = fresh();
    let source = conformance::source(&journal, "a").await;
    let days = |days: i64| days * 86_400;
    let overlapping = |from, to| NewWindow { fetch_range: range(from - days(3), to), ..live(from, to) };
    for day in 0..10 {
        let window = conformance::window(&journal, source, overlapping(days(day), days(day + 1))).await;
        let text = day.to_string();
        let records = [(text.as_str(), Some(days(day)))];
        journal.commit_page(page(window, &records, complete(days(day + 1)))).await.expect("commits");
    }
    journal.trim(at(0), Timestamp::MAX).await.expect("trims");
    let next = range(days(10) - days(3), days(30));
    assert_eq!(journal.keys_within(source, next).await.expect("reads").len(), 3);
    assert_eq!(journal.keys_within(source, range(days(5), days(6))).await.expect("reads").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_stands_still_while_the_journal_works() {
    let (journal, _folder) = fresh();
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
