//! The file: its directory, its tables, and how it is opened.
//!
//! ```text
//! sources --< windows (open ones) --< scans --< scan_pages        sinks --< rollback_records
//!         --< covered (complete ones, merged when old)           totals (one row: head, sizes, identity)
//!         --< blocks (one row per page) --- block_data (records)
//!         --< keys   (one row per page; outlives its block)
//!         --< forgotten_keys (time of which keys were trimmed)
//!         --< lateness (counts of seven days)
//!         --< hourly_events (counts of two days)
//!         --< normalize_findings >-- sinks (of the events that a sink has read for the first time)
//! ```
//!
//! A page's records are in a table of their own, so that making a window visible and skipping through a backlog never
//! read them. The evidence of a scan is a row per page, so that its cost grows with the records, not with their square. The file does not shrink: SQLite reuses the pages of trimmed events, so the file stays as large as the
//! largest backlog so far, which the size limit bounds. Shrinking it (`auto_vacuum`) would cost every write an extra page.
//!
//! You can look inside with the `sqlite3` command. Times are nanoseconds since 1970, UTC.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::sql::SqliteError;
use crate::journal::JournalError;

pub use crate::journal::data_dir::JOURNAL_FILE;

/// Marks the file as a journal in its header: `auJ1` in ASCII.
const APPLICATION_ID: i32 = 0x6175_4a31;

/// The version of [`SCHEMA`], stored as the file's `user_version`.
const SCHEMA_VERSION: i64 = 1;

/// How long a call waits if another program (the `sqlite3` command) has locked the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many statements a connection keeps prepared: more than there are. With rusqlite's 16, a window's calls took turns in
/// pushing each other out, and a good part of a commit was spent on parsing SQL.
const CACHED_STATEMENTS: usize = 256;

const SCHEMA: &str = "
CREATE TABLE totals (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    identity      TEXT NOT NULL,        -- random; no other journal has it
    head          INTEGER NOT NULL,     -- sequence number of the newest visible event
    trimmed_to    INTEGER NOT NULL,     -- sequence number of the newest trimmed event
    visible_bytes INTEGER NOT NULL,     -- bytes of visible blocks
    staged_bytes  INTEGER NOT NULL,     -- bytes of blocks of open windows
    generation    INTEGER NOT NULL      -- the highest generation of a sink so far
) STRICT;
INSERT INTO totals VALUES (1, lower(hex(randomblob(16))), 0, 0, 0, 0, 0);

CREATE TABLE sources (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    name              TEXT NOT NULL UNIQUE,
    vendor            TEXT NOT NULL,
    normalizer_config TEXT NOT NULL,                -- JSON, without secrets
    first_started_at  INTEGER NOT NULL,
    last_recheck_at   INTEGER,
    learned           TEXT,                         -- what it knows of its vendor; JSON that only collecting reads
    overlap           INTEGER NOT NULL DEFAULT 0,   -- nanoseconds; the longest overlap of a window so far
    rewound_from      INTEGER,                      -- a rewind removed the coverage from here ...
    rewound_to        INTEGER,                      -- ... to here, and it is not covered again
    forgotten_to      INTEGER,                      -- latest time of an event of which neither key nor record is held
    trimmed_time      INTEGER,                      -- latest time of an event whose record was trimmed
    newest_event_at   INTEGER,                      -- latest time of an event, at most when it was read
    events            INTEGER NOT NULL DEFAULT 0,
    raw_bytes         INTEGER NOT NULL DEFAULT 0,
    pages             INTEGER NOT NULL DEFAULT 0,
    requests_2xx      INTEGER NOT NULL DEFAULT 0,
    requests_3xx      INTEGER NOT NULL DEFAULT 0,
    requests_4xx      INTEGER NOT NULL DEFAULT 0,
    requests_5xx      INTEGER NOT NULL DEFAULT 0,
    requests_none     INTEGER NOT NULL DEFAULT 0,
    last_error        TEXT                          -- JSON
) STRICT;

CREATE TABLE windows (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    source      INTEGER NOT NULL REFERENCES sources (id),
    kind        TEXT NOT NULL,          -- live, backfill or recheck
    covers_from INTEGER NOT NULL,
    covers_to   INTEGER NOT NULL,
    fetch_from  INTEGER NOT NULL,
    fetch_to    INTEGER NOT NULL,
    kept_from   INTEGER NOT NULL,       -- records outside are not kept
    kept_to     INTEGER NOT NULL
) STRICT;
CREATE INDEX windows_of_source ON windows (source);

CREATE TABLE scans (
    window              INTEGER NOT NULL REFERENCES windows (id),
    number              INTEGER NOT NULL,       -- from 1
    by_time             INTEGER NOT NULL,       -- 1: requests first pages only
    page_size           INTEGER NOT NULL,
    request_fingerprint TEXT NOT NULL,
    PRIMARY KEY (window, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE scan_pages (
    window   INTEGER NOT NULL REFERENCES windows (id),
    scan     INTEGER NOT NULL,
    page     INTEGER NOT NULL,          -- from 1
    evidence BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX scan_pages_in_order ON scan_pages (window, scan, page);

CREATE TABLE covered (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    source          INTEGER NOT NULL REFERENCES sources (id),
    kind            TEXT NOT NULL,
    covers_from     INTEGER NOT NULL,
    covers_to       INTEGER NOT NULL,
    state           TEXT NOT NULL,      -- covered, in_doubt or unreadable
    reasons         TEXT NOT NULL,      -- JSON: the checks that disagreed
    doubts          INTEGER NOT NULL,   -- verdicts of doubt in a row
    since           INTEGER NOT NULL,   -- when it got this state
    next_recheck_at INTEGER,
    windows         INTEGER NOT NULL,   -- number of windows merged into this row
    rechecked       INTEGER NOT NULL,   -- how many of them were read again
    found           INTEGER NOT NULL,   -- in how many of them a recheck found events
    events          INTEGER NOT NULL,
    first_time      INTEGER,
    last_time       INTEGER,
    completed_at    INTEGER NOT NULL,
    evidence        TEXT NOT NULL,      -- JSON: see `WindowEvidence`
    merged          INTEGER NOT NULL    -- 1: older than a day, and merged with its neighbors of the same day
) STRICT;
CREATE INDEX covered_from ON covered (source, covers_from, covers_to, state);
CREATE INDEX covered_to ON covered (source, covers_to, state);
CREATE INDEX covered_unmerged ON covered (source, completed_at) WHERE merged = 0 AND state = 'covered';
CREATE INDEX covered_in_doubt ON covered (source, covers_from) WHERE state <> 'covered';
CREATE INDEX covered_recheck ON covered (source, next_recheck_at) WHERE next_recheck_at IS NOT NULL;

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
    block      INTEGER PRIMARY KEY,
    source     INTEGER NOT NULL REFERENCES sources (id),
    fetch_from INTEGER NOT NULL,        -- the fetch range of the window
    fetch_to   INTEGER NOT NULL,
    min_time   INTEGER,
    max_time   INTEGER,
    data       BLOB NOT NULL
) STRICT;
CREATE INDEX keys_by_time ON keys (source, max_time);
CREATE INDEX keys_by_end ON keys (fetch_to, block);

CREATE TABLE forgotten_keys (
    source    INTEGER NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
    from_time INTEGER NOT NULL,
    to_time   INTEGER NOT NULL,
    PRIMARY KEY (source, from_time)
) STRICT, WITHOUT ROWID;

CREATE TABLE lateness (
    source INTEGER NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
    day    INTEGER NOT NULL,            -- days since 1970, UTC, on which the events were read
    bucket INTEGER NOT NULL,            -- how late: see `LatenessCounts`
    events INTEGER NOT NULL,
    PRIMARY KEY (source, day, bucket)
) STRICT, WITHOUT ROWID;

CREATE TABLE hourly_events (
    source INTEGER NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
    hour   INTEGER NOT NULL,            -- start of the hour in which the events became visible
    events INTEGER NOT NULL,
    PRIMARY KEY (source, hour)
) STRICT, WITHOUT ROWID;

CREATE TABLE sinks (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    name              TEXT NOT NULL UNIQUE,
    active            INTEGER NOT NULL,             -- 1: in the pipeline file; keeps events from being trimmed
    position          INTEGER NOT NULL,             -- sequence number of the last event that it has passed
    furthest          INTEGER NOT NULL DEFAULT 0,   -- the highest position that it has had
    generation        INTEGER NOT NULL,
    state             TEXT,                         -- what the sink stored with its last batch
    batch_first       INTEGER,                      -- the batch that is prepared and not committed
    batch_last        INTEGER,
    batch_fingerprint TEXT,
    delivered         INTEGER NOT NULL DEFAULT 0,
    filtered          INTEGER NOT NULL DEFAULT 0,
    dead_lettered     INTEGER NOT NULL DEFAULT 0,
    bytes             INTEGER NOT NULL DEFAULT 0,
    redelivered       INTEGER NOT NULL DEFAULT 0,
    skipped           INTEGER NOT NULL DEFAULT 0,   -- events of sources that left its inputs before it delivered them
    delivered_at      INTEGER,                      -- when it last delivered an event
    last_error        TEXT                          -- JSON
) STRICT;

CREATE TABLE sink_inputs (
    sink   INTEGER NOT NULL REFERENCES sinks (id) ON DELETE CASCADE,
    source TEXT NOT NULL,               -- its name: a sink may start before its sources are registered
    after  INTEGER,                     -- of a source that left: its events from after this one
    last   INTEGER,                     -- up to this one are pending; NULL while it is an input
    PRIMARY KEY (sink, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX sink_inputs_that_left ON sink_inputs (sink) WHERE last IS NOT NULL;

CREATE TABLE normalize_findings (
    sink             INTEGER NOT NULL REFERENCES sinks (id) ON DELETE CASCADE,
    source           INTEGER NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
    normalize_errors INTEGER NOT NULL,
    unmapped_actions INTEGER NOT NULL,
    last_error_at    INTEGER,           -- when the last event with an error was delivered
    PRIMARY KEY (sink, source)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollback_records (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    sink   INTEGER NOT NULL REFERENCES sinks (id),
    record TEXT NOT NULL                -- JSON
) STRICT;
CREATE INDEX rollback_records_of_sink ON rollback_records (sink);
";

/// Each connection is used by one thread at a time.
const NO_MUTEX: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

/// The path has no links: the directory's path was resolved, and the file is not one.
const NO_FOLLOW: OpenFlags = OpenFlags::SQLITE_OPEN_NOFOLLOW;

/// Warns of a directory on which locks and flushes are unreliable.
pub(super) fn warn_of_network(directory: &Path) {
    if is_on_network(directory) {
        tracing::warn!(
            event = "data_dir_on_network",
            path = %directory.display(),
            "the data directory is on a network file system, where file locks and flushes are unreliable; \
             set data_dir to a local disk"
        );
    }
}

#[cfg(target_os = "linux")]
fn is_on_network(directory: &Path) -> bool {
    /// NFS, SMB, CIFS and SMB2, from `statfs(2)`.
    const NETWORK: [u64; 4] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42];
    let kind = rustix::fs::statfs(directory).ok().and_then(|found| u64::try_from(found.f_type).ok());
    kind.is_some_and(|kind| NETWORK.contains(&kind))
}

#[cfg(not(target_os = "linux"))]
fn is_on_network(_directory: &Path) -> bool {
    false
}

/// Opens the one connection that writes; creates the tables in a new file.
pub(super) fn open_writer(path: &Path) -> Result<Connection, SqliteError> {
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | NO_MUTEX | NO_FOLLOW)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    let is_new = !is_journal(&connection, path)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(SqliteError::Storage(
            "this file system has no shared memory for SQLite; set data_dir to a local disk".to_owned(),
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
    if is_new {
        create_tables(&mut connection)?;
    }
    Ok(connection)
}

/// Opens a connection for reading. Reads see the last commit and never wait for a write.
pub(super) fn open_reader(path: &Path) -> Result<Connection, SqliteError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    connection.execute_batch("PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;")?;
    Ok(connection)
}

/// Whether the file is a journal of this version; `false` for a new file without tables. Anything else is an error.
pub(super) fn is_journal(connection: &Connection, path: &Path) -> Result<bool, SqliteError> {
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if application == 0 && version == 0 && tables == 0 {
        return Ok(false);
    }
    if application != i64::from(APPLICATION_ID) {
        return Err(SqliteError::Damaged("it is a database of another program".to_owned()));
    }
    if version != SCHEMA_VERSION {
        let path = path.display().to_string();
        return Err(SqliteError::Rejected(JournalError::OtherVersion { path, found: version, known: SCHEMA_VERSION }));
    }
    Ok(true)
}

/// Creates all tables in an empty file.
pub(super) fn create_tables(connection: &mut Connection) -> Result<(), SqliteError> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()?;
    Ok(())
}
