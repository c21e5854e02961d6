//! The journal's running totals: its head and sizes, in one row, published to watchers after each commit.

use rusqlite::{Connection, params};
use tokio::sync::watch;

use super::sql::{Counts, SqliteError, int};
use crate::journal::Seq;

/// The row of totals. Each changes in the same transaction as what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    /// The newest visible event.
    pub(super) head: Seq,
    /// The newest trimmed event.
    pub(super) trimmed_to: Seq,
    /// Bytes of visible blocks.
    pub(super) visible_bytes: u64,
    /// Bytes of blocks of open windows.
    pub(super) staged_bytes: u64,
}

impl Totals {
    pub(super) fn read(connection: &Connection) -> Result<Self, SqliteError> {
        let mut row = connection.prepare_cached("SELECT head, trimmed_to, visible_bytes, staged_bytes FROM totals")?;
        Ok(row.query_row([], |row| {
            Ok(Self {
                head: row.count(0)?,
                trimmed_to: row.count(1)?,
                visible_bytes: row.count(2)?,
                staged_bytes: row.count(3)?,
            })
        })?)
    }

    pub(super) fn write(self, connection: &Connection) -> Result<(), SqliteError> {
        let sql = "UPDATE totals SET head = ?1, trimmed_to = ?2, visible_bytes = ?3, staged_bytes = ?4";
        connection.prepare_cached(sql)?.execute(params![
            int(self.head),
            int(self.trimmed_to),
            int(self.visible_bytes),
            int(self.staged_bytes)
        ])?;
        Ok(())
    }

    /// The oldest event held; `head + 1` if none is.
    pub(super) fn oldest(self) -> Seq {
        self.trimmed_to + 1
    }

    /// Bytes held.
    pub(super) fn bytes(self) -> u64 {
        self.visible_bytes.saturating_add(self.staged_bytes)
    }
}

/// The random string that no other journal has.
pub(super) fn identity(connection: &Connection) -> Result<String, SqliteError> {
    let mut row = connection.prepare_cached("SELECT identity FROM totals")?;
    Ok(row.query_row([], |row| row.get(0))?)
}

/// Publishes the head and whether the journal is full.
///
/// The journal is full when it reaches the limit, until a tenth of the limit is free again. It is never full without
/// visible events: nothing could be trimmed then, and only completing an open window helps, so sources must continue.
#[derive(Debug)]
pub(super) struct Publisher {
    max_bytes: u64,
    head: watch::Sender<Seq>,
    full: watch::Sender<bool>,
}

impl Publisher {
    pub(super) fn new(max_bytes: u64, totals: Totals) -> Self {
        let publisher = Self { max_bytes, head: watch::Sender::new(totals.head), full: watch::Sender::new(false) };
        publisher.publish(totals);
        publisher
    }

    pub(super) fn head(&self) -> watch::Receiver<Seq> {
        self.head.subscribe()
    }

    pub(super) fn full(&self) -> watch::Receiver<bool> {
        self.full.subscribe()
    }

    /// Wakes the watchers of a value that has changed.
    pub(super) fn publish(&self, totals: Totals) {
        self.head.send_if_modified(|head| std::mem::replace(head, totals.head) != totals.head);
        self.full.send_if_modified(|full| {
            let now_full = self.is_full(*full, totals);
            std::mem::replace(full, now_full) != now_full
        });
    }

    fn is_full(&self, was_full: bool, totals: Totals) -> bool {
        let limit = if was_full { self.max_bytes - self.max_bytes / 10 } else { self.max_bytes };
        totals.visible_bytes > 0 && totals.bytes() >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(visible_bytes: u64, staged_bytes: u64) -> Totals {
        Totals { head: 1, trimmed_to: 0, visible_bytes, staged_bytes }
    }

    #[test]
    fn full_from_the_limit_until_a_tenth_is_free() {
        let publisher = Publisher::new(1_000, totals(999, 0));
        let full = publisher.full();
        for (visible, staged, wanted) in
            [(999, 0, false), (999, 1, true), (950, 0, true), (900, 0, true), (899, 0, false), (950, 0, false)]
        {
            publisher.publish(totals(visible, staged));
            assert_eq!(*full.borrow(), wanted, "{visible} visible, {staged} staged");
        }
    }

    #[test]
    fn open_windows_alone_never_make_it_full() {
        let publisher = Publisher::new(1_000, totals(0, 5_000));
        assert!(!*publisher.full().borrow());
        publisher.publish(totals(1, 5_000));
        assert!(*publisher.full().borrow());
        publisher.publish(totals(0, 5_000));
        assert!(!*publisher.full().borrow());
    }
}
