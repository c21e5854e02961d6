//! The file: its tables, its versions, and how it is opened.
//!
//! ```text
//! sources --< windows (open ones) --- walks (how far)        sinks --< plan_outputs
//!         --< covered (complete ones, merged when old)       totals (one row: head, sizes)
//!         --< blocks (a row a page) --- block_data (records)
//!         --< keys   (a row a page; outlives its block)
//!         --< lateness (counts of seven days)
//! ```
//!
//! A page's records lie in a table of their own, so that making a window visible and skipping through a backlog never
//! touch them. The file does not shrink: SQLite uses the pages of trimmed events again, so it stays as large as the
//! largest backlog so far, which the size limit bounds. Shrinking it (`auto_vacuum`) would cost every write an extra page.
//!
//! Anyone may look inside with the `sqlite3` command. Times are nanoseconds since 1970, UTC.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::fault::SqliteError;
use super::values::int;
use crate::journal::JournalError;

/// Marks the file as ours in its header: `auJ1` in ASCII.
const APPLICATION_ID: i32 = 0x6175_4a31;

/// How long a call waits if someone else (the `sqlite3` command) has locked the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The steps from an empty file to the present schema. The file's `user_version` is the number of steps it has had.
/// A released step is never changed; a new one is added at the end.
const MIGRATIONS: &[&str] = &[FIRST_SCHEMA, IDENTITY, MEMO, LATENESS, EDITING];

const IDENTITY: &str = "
ALTER TABLE totals ADD COLUMN identity TEXT NOT NULL DEFAULT '';
UPDATE totals SET identity = lower(hex(randomblob(16)));
";

const MEMO: &str = "ALTER TABLE sinks ADD COLUMN memo TEXT;";

/// Of a source that is forgotten nothing is left here.
const LATENESS: &str = "
CREATE TABLE lateness (
    source INTEGER NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
    day    INTEGER NOT NULL,            -- days since 1970, UTC, on which the events were read
    bucket INTEGER NOT NULL,            -- how late: see `LatenessCounts`
    events INTEGER NOT NULL,
    PRIMARY KEY (source, day, bucket)
) STRICT, WITHOUT ROWID;
";

/// What was trimmed before this step is not known: then it may have been anything up to the last completed window.
const EDITING: &str = "
ALTER TABLE sources ADD COLUMN rewound_from INTEGER;    -- from here on coverage was given up by a rewind
ALTER TABLE sources ADD COLUMN rewound_to   INTEGER;    -- up to here
ALTER TABLE sources ADD COLUMN forgotten_to INTEGER;    -- latest time of an event of which neither key nor record is held
ALTER TABLE sources ADD COLUMN trimmed_time INTEGER;    -- latest time of an event whose record was trimmed
ALTER TABLE sinks ADD COLUMN generation  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sinks ADD COLUMN redelivered INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN generations INTEGER NOT NULL DEFAULT 0;   -- the highest generation of a sink
UPDATE sources SET forgotten_to = (SELECT max(max(completed_at, coalesce(last_time, completed_at))) FROM covered
                                   WHERE source = sources.id) WHERE (SELECT trimmed_to FROM totals) > 0;
UPDATE sources SET trimmed_time = forgotten_to;
";

const FIRST_SCHEMA: &str = "
CREATE TABLE totals (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    head          INTEGER NOT NULL,     -- sequence number of the newest visible event
    trimmed_to    INTEGER NOT NULL,     -- sequence number of the newest event that was trimmed
    visible_bytes INTEGER NOT NULL,     -- bytes of visible blocks
    staged_bytes  INTEGER NOT NULL      -- bytes of blocks of open windows
) STRICT;
INSERT INTO totals VALUES (1, 0, 0, 0, 0);

CREATE TABLE sources (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    name             TEXT NOT NULL UNIQUE,
    vendor           TEXT NOT NULL,
    profile          TEXT NOT NULL,                 -- JSON, without secrets
    first_started_at INTEGER NOT NULL,
    last_recheck_at    INTEGER,
    overlap          INTEGER NOT NULL DEFAULT 0,    -- nanoseconds; the longest that a window has asked for
    events           INTEGER NOT NULL DEFAULT 0,
    raw_bytes        INTEGER NOT NULL DEFAULT 0,
    pages            INTEGER NOT NULL DEFAULT 0,
    requests         INTEGER NOT NULL DEFAULT 0,
    trouble          TEXT                           -- JSON
) STRICT;

CREATE TABLE windows (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    source      INTEGER NOT NULL REFERENCES sources (id),
    kind        TEXT NOT NULL,
    covers_from INTEGER NOT NULL,
    covers_to   INTEGER NOT NULL,
    asks_from   INTEGER NOT NULL,
    asks_to     INTEGER NOT NULL
) STRICT;
CREATE INDEX windows_of_source ON windows (source);

CREATE TABLE walks (
    window      INTEGER PRIMARY KEY REFERENCES windows (id),
    next_cursor TEXT NOT NULL,
    page_size   INTEGER NOT NULL,
    pages       INTEGER NOT NULL,
    walked      INTEGER NOT NULL,
    total       INTEGER,
    scan_keys BLOB
) STRICT;

CREATE TABLE covered (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    source       INTEGER NOT NULL REFERENCES sources (id),
    kind         TEXT NOT NULL,
    covers_from  INTEGER NOT NULL,
    covers_to    INTEGER NOT NULL,
    windows      INTEGER NOT NULL,      -- how many windows were merged into this row
    pages        INTEGER NOT NULL,
    walked       INTEGER NOT NULL,
    events       INTEGER NOT NULL,
    first_time   INTEGER,
    last_time    INTEGER,
    completed_at INTEGER NOT NULL,
    settled      INTEGER NOT NULL       -- 1: old enough to be merged with its neighbors of the same day
) STRICT;
CREATE INDEX covered_from ON covered (source, covers_from);
CREATE INDEX covered_to ON covered (source, covers_to);
CREATE INDEX covered_unsettled ON covered (source, completed_at) WHERE settled = 0;

CREATE TABLE blocks (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    source      INTEGER NOT NULL REFERENCES sources (id),
    window      INTEGER NOT NULL,
    first       INTEGER,                -- sequence number of its first event; NULL while its window is open
    count       INTEGER NOT NULL,
    raw_bytes   INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    observed_at INTEGER NOT NULL,
    visible_at  INTEGER,
    min_time    INTEGER,
    max_time    INTEGER
) STRICT;
CREATE UNIQUE INDEX blocks_visible ON blocks (first) WHERE first IS NOT NULL;
CREATE INDEX blocks_staged ON blocks (window) WHERE first IS NULL;

CREATE TABLE block_data (
    block INTEGER PRIMARY KEY,
    data  BLOB NOT NULL
) STRICT;

CREATE TABLE keys (
    block     INTEGER PRIMARY KEY,
    source    INTEGER NOT NULL REFERENCES sources (id),
    asks_from INTEGER NOT NULL,         -- the time that the window asked for
    asks_to   INTEGER NOT NULL,
    min_time  INTEGER,
    max_time  INTEGER,
    data      BLOB NOT NULL
) STRICT;
CREATE INDEX keys_by_time ON keys (source, max_time);
CREATE INDEX keys_by_end ON keys (asks_to, block);

CREATE TABLE sinks (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    name             TEXT NOT NULL UNIQUE,
    active           INTEGER NOT NULL,
    position         INTEGER NOT NULL,
    delivered        INTEGER NOT NULL DEFAULT 0,
    filtered         INTEGER NOT NULL DEFAULT 0,
    dead_lettered    INTEGER NOT NULL DEFAULT 0,
    bytes            INTEGER NOT NULL DEFAULT 0,
    plan_first       INTEGER,
    plan_last        INTEGER,
    plan_fingerprint TEXT,
    trouble          TEXT               -- JSON
) STRICT;

CREATE TABLE plan_outputs (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    sink   INTEGER NOT NULL REFERENCES sinks (id),
    name   TEXT NOT NULL,
    before TEXT NOT NULL
) STRICT;
CREATE INDEX plan_outputs_of_sink ON plan_outputs (sink);
";

/// The newest schema version that this build knows.
fn newest_version() -> i64 {
    int(MIGRATIONS.len() as u64)
}

/// Opens the one connection that writes, and brings the schema up to date.
pub(super) fn open_writer(path: &Path) -> Result<Connection, SqliteError> {
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let version = check_identity(&connection, path)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(SqliteError::Storage(
            "this file system has no shared memory for SQLite; use a local disk".to_owned(),
        ));
    }
    connection.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA cell_size_check = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA temp_store = MEMORY;
         PRAGMA journal_size_limit = 67108864;",
    )?;
    migrate(&mut connection, version)?;
    Ok(connection)
}

/// Opens a connection for reading. Reads see the last commit and never wait for a write.
pub(super) fn open_reader(path: &Path) -> Result<Connection, SqliteError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch("PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;")?;
    Ok(connection)
}

/// Each connection is used by one thread at a time.
const NO_MUTEX: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

/// Refuses what is not a journal of this or an earlier version. Returns the file's version; 0 for a new file.
fn check_identity(connection: &Connection, path: &Path) -> Result<usize, SqliteError> {
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if application == 0 && version == 0 && tables == 0 {
        return Ok(0);
    }
    if application != i64::from(APPLICATION_ID) {
        return Err(SqliteError::Damaged("it is a database of another program".to_owned()));
    }
    let known = newest_version();
    if version > known {
        let path = path.display().to_string();
        return Err(SqliteError::Refused(JournalError::NewerVersion { path, found: version, known }));
    }
    usize::try_from(version).map_err(|_| SqliteError::Damaged(format!("its schema version is {version}")))
}

/// Whether the file holds a journal of the present version that can be looked at; not so if it was only just made.
pub(super) fn is_present(connection: &Connection, path: &Path) -> Result<bool, SqliteError> {
    let (found, known) = (check_identity(connection, path)?, MIGRATIONS.len());
    if found > 0 && found < known {
        let path = path.display().to_string();
        return Err(SqliteError::Refused(JournalError::OlderVersion { path, found, known }));
    }
    Ok(found > 0)
}

pub(super) fn migrate(connection: &mut Connection, version: usize) -> Result<(), SqliteError> {
    for (done, step) in MIGRATIONS.iter().enumerate().skip(version) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", int(done as u64 + 1))?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    /// What an older version has trimmed nobody has noted: then the last that it may have been is taken for it.
    #[test]
    fn a_journal_from_before_the_notes_on_trimming_is_not_taken_for_whole() {
        for (trimmed_to, expected) in [(0, None), (7, Some(Timestamp::from_nanos(90)))] {
            let mut file = Connection::open_in_memory().expect("opens");
            let before = MIGRATIONS.iter().position(|step| *step == EDITING).expect("is a step");
            for step in &MIGRATIONS[..before] {
                file.execute_batch(step).expect("migrates");
            }
            file.execute_batch(&format!(
                "INSERT INTO sources (name, vendor, profile, first_started_at) VALUES ('a', 'v', '{{}}', 0);
                 INSERT INTO covered (source, kind, covers_from, covers_to, windows, pages, walked, events, last_time,
                                      completed_at, settled)
                 VALUES (1, 'live', 0, 50, 1, 1, 1, 1, 49, 60, 0), (1, 'live', 50, 80, 1, 1, 1, 1, NULL, 90, 0);
                 UPDATE totals SET trimmed_to = {trimmed_to};"
            ))
            .expect("is filled");
            migrate(&mut file, before).expect("migrates");
            let times = file.query_row("SELECT forgotten_to, trimmed_time FROM sources", [], |row| {
                Ok((row.get::<_, Option<Timestamp>>(0)?, row.get::<_, Option<Timestamp>>(1)?))
            });
            assert_eq!(times.expect("reads"), (expected, expected));
        }
    }
}
