//! Which records are new: the set of seen records.
//!
//! ```text
//!   record --key_of--> id, version
//!                        |  vendors without ids: the n-th identical record gets id.nth(n)
//!                        v
//!                      SeenSet?  not in it: new     lower version or other content in it: changed     else: duplicate
//! ```
//!
//! A vendor with ids may change a record without saying so. The hash of its content tells, and it is delivered again in a
//! higher version. A content that was delivered before and comes back is either a change back or an answer of a replica
//! that is behind: only when a second window meets it a minute later or more, and no window met the latest content in
//! between, is it a change.
//! Two records that share one id are neither: while both are listed, each is delivered once.
//!
//! ```text
//!   A  version 0     B  version t1     A  met once     A  met again: version t2     B  met once ...
//!                                      A  met once     B  met: forget that A came back
//! ```
//!
//! [`SeenSet`] is a cache of the journal's keys, for the time ranges in use only. It is filled when a scan first needs a
//! range, and when a vendor returns a record from outside of it. It may be cleared at any time, which happens when a
//! window's staged pages are discarded.

use std::collections::hash_map::Entry;
use std::time::Duration;

use super::by_id::{IdMap, IdSet};
use super::ranges;
use crate::event::EventId;
use crate::journal::{SeenKey, WindowId};
use crate::time::{TimeRange, Timestamp};

/// Records from outside the loaded ranges are looked up together if they are this close to each other.
const NEARBY: Duration = Duration::from_secs(600);
/// Below this many keys, a pruning pass is not worth its cost.
const SMALL: usize = 4_096;
/// Two answers with a content that has come back are evidence if they are this far apart.
const RETURN_PAUSE: Duration = Duration::from_secs(60);

/// The keys of collected records, for the time ranges in use.
#[derive(Debug, Default)]
pub(super) struct SeenSet {
    records: IdMap<EventId, SeenRecord>,
    /// Of the records that have changed.
    changes: IdMap<EventId, Changes>,
    loaded: Vec<TimeRange>,
    size_after_pruning: usize,
}

#[derive(Clone, Copy, Debug)]
struct SeenRecord {
    version: u64,
    content: u64,
    timestamp: Option<Timestamp>,
    /// The end of the latest scan that read it: only scans that request this moment can read it again.
    until: Timestamp,
}

/// What a record was before it became what it is.
#[derive(Debug, Default)]
struct Changes {
    /// Contents that were delivered before, with the record's own time in them.
    earlier: Vec<(u64, Option<Timestamp>)>,
    /// One of them that has come back, and the scan that met it first.
    returned: Option<(u64, Reader)>,
    /// The window that met the latest content last.
    latest_met: Option<WindowId>,
}

impl Changes {
    fn has(&self, content: u64) -> bool {
        self.earlier.iter().any(|(known, _)| *known == content)
    }

    fn add(&mut self, content: u64, timestamp: Option<Timestamp>) {
        if !self.has(content) {
            self.earlier.push((content, timestamp));
        }
    }

    /// Whether a content that differs from the latest one, whose record has the time `latest`, is a change.
    fn is_change(&mut self, key: &SeenKey, latest: Option<Timestamp>, reader: Reader) -> bool {
        let Some((_, time)) = self.earlier.iter().find(|(known, _)| *known == key.content) else { return true };
        if *time != latest || self.latest_met == Some(reader.window) {
            return false;
        }
        match self.returned {
            Some((content, first)) if content == key.content => {
                first.window != reader.window && reader.at.since(first.at) >= RETURN_PAUSE
            }
            _ => {
                self.returned = Some((key.content, reader));
                false
            }
        }
    }
}

/// The scan that reads a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader {
    /// Its window.
    pub(super) window: WindowId,
    /// When the page was read.
    pub(super) at: Timestamp,
    /// The end of the time that it requests.
    pub(super) until: Timestamp,
}

/// A record, compared with the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordStatus {
    /// Never collected.
    New,
    /// Collected, in this lower version, or with another content.
    Changed {
        /// The latest version so far.
        version: u64,
    },
    /// Collected.
    Duplicate,
}

impl SeenSet {
    /// The parts of `range` whose keys must be loaded from the journal first.
    pub(super) fn missing(&self, range: TimeRange) -> Vec<TimeRange> {
        ranges::without(range, &self.loaded)
    }

    /// The ranges to load for records whose own times are outside of what is loaded.
    pub(super) fn missing_around(&self, mut times: Vec<Timestamp>) -> Vec<TimeRange> {
        times.retain(|at| !self.loaded.iter().any(|range| ranges::contains(*range, *at)));
        times.sort_unstable();
        let mut missing: Vec<TimeRange> = Vec::new();
        for at in times {
            let end = at + Duration::from_nanos(1);
            match missing.last_mut() {
                Some(last) if at.since(last.to) <= NEARBY => last.to = end.max(last.to),
                _ => missing.push(TimeRange::new(at, end)),
            }
        }
        missing
    }

    /// Adds the journal's keys of a range, for a scan up to `until`.
    pub(super) fn load(&mut self, range: TimeRange, keys: Vec<SeenKey>, until: Timestamp) {
        for key in keys {
            self.insert(key, until);
        }
        self.loaded.push(range);
        self.loaded = ranges::merged(std::mem::take(&mut self.loaded));
    }

    /// Whether a record was seen with this content; whatever its version, if it has no content.
    pub(super) fn knows(&self, key: &SeenKey) -> bool {
        let Some(seen) = self.records.get(&key.id) else { return false };
        let earlier = || self.changes.get(&key.id).is_some_and(|changes| changes.has(key.content));
        key.content == 0 || key.content == seen.content || earlier()
    }

    /// Compares a record with the seen ones, and notes that a scan has read it.
    pub(super) fn check(&mut self, key: &SeenKey, reader: Reader) -> RecordStatus {
        let Some(seen) = self.records.get_mut(&key.id) else { return RecordStatus::New };
        seen.until = seen.until.max(reader.until);
        let is_changed = if key.content == 0 || seen.content == 0 {
            seen.version < key.version
        } else if key.content == seen.content {
            if let Some(changes) = self.changes.get_mut(&key.id) {
                (changes.returned, changes.latest_met) = (None, Some(reader.window));
            }
            false
        } else {
            let changes = self.changes.get_mut(&key.id);
            changes.is_none_or(|changes| changes.is_change(key, seen.timestamp, reader))
        };
        if is_changed { RecordStatus::Changed { version: seen.version } } else { RecordStatus::Duplicate }
    }

    /// Adds a record that goes into the journal; `until` is the end of the scan that found it.
    pub(super) fn insert(&mut self, key: SeenKey, until: Timestamp) {
        let SeenKey { id, version, timestamp, content } = key;
        let seen = match self.records.entry(id) {
            Entry::Occupied(seen) => seen.into_mut(),
            Entry::Vacant(vacant) => {
                vacant.insert(SeenRecord { version, content, timestamp, until });
                return;
            }
        };
        seen.until = seen.until.max(until);
        let (mut earlier, is_latest) = ((content, timestamp), version > seen.version);
        if is_latest {
            earlier = (seen.content, seen.timestamp);
            (seen.version, seen.content, seen.timestamp) = (version, content, timestamp);
        }
        if earlier.0 == 0 || earlier.0 == seen.content {
            return;
        }
        let changes = self.changes.entry(id).or_default();
        changes.add(earlier.0, earlier.1);
        if is_latest {
            (changes.returned, changes.latest_met) = (None, None);
        }
    }

    /// The ids of the loaded records whose own time fulfills a condition.
    pub(super) fn ids_where(&self, is_wanted: impl Fn(Timestamp) -> bool) -> IdSet<EventId> {
        let wanted = self.records.iter().filter(|(_, seen)| seen.timestamp.is_some_and(&is_wanted));
        wanted.map(|(id, _)| *id).collect()
    }

    /// Removes everything; it is loaded again when needed.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Removes what is outside the (merged) ranges in use, now and then: a pass costs as much as it may free.
    pub(super) fn prune(&mut self, in_use: &[TimeRange]) {
        if self.records.len() < SMALL.max(self.size_after_pruning * 2) {
            return;
        }
        let used = |at: Timestamp| in_use.iter().any(|range| ranges::contains(*range, at));
        self.records.retain(|_, seen| used(seen.until) || seen.timestamp.is_some_and(used));
        self.changes.retain(|id, _| self.records.contains_key(id));
        let used_part =
            |range: &TimeRange| in_use.iter().map(|used| ranges::intersection(*range, *used)).collect::<Vec<_>>();
        self.loaded = ranges::merged(self.loaded.iter().flat_map(used_part).collect());
        self.size_after_pruning = self.records.len();
    }
}

/// Of the records of one page that are to be delivered, keeps the greatest of the vendor's versions of each id; returns
/// which ones to keep. Every content is kept.
pub(super) fn greatest_versions(keys: &[SeenKey]) -> Vec<bool> {
    let mut greatest: IdMap<EventId, u64> = IdMap::default();
    greatest.reserve(keys.len());
    for key in keys {
        let best = greatest.entry(key.id).or_insert(key.version);
        *best = key.version.max(*best);
    }
    keys.iter().map(|key| key.content != 0 || greatest.get(&key.id) == Some(&key.version)).collect()
}

#[cfg(test)]
mod tests;
