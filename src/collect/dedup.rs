//! Which records are new: the set of seen records.
//!
//! ```text
//!   record --key_of--> id, version
//!                        |  vendors without ids: the n-th identical record gets id.nth(n)
//!                        v
//!                      SeenSet?  not in it: new     lower version in it: changed, delivered again     else: duplicate
//! ```
//!
//! [`SeenSet`] is a cache of the journal's keys, for the time ranges in use only. It is filled when a scan first needs a
//! range, and when a vendor returns a record from outside of it. It may be cleared at any time, which happens when a
//! window's staged pages are discarded.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use super::ranges;
use crate::event::EventId;
use crate::journal::SeenKey;
use crate::time::{TimeRange, Timestamp};

/// Records from outside the loaded ranges are looked up together if they are this close to each other.
const NEARBY: Duration = Duration::from_secs(600);
/// Below this many keys, a pruning pass is not worth its cost.
const SMALL: usize = 4_096;

/// An id is a part of a cryptographic hash: eight of its bytes are used as they are.
type ById = BuildHasherDefault<FirstBytes>;

#[derive(Debug, Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    /// The length of the id, which is always the same.
    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The keys of collected records, for the time ranges in use.
#[derive(Debug, Default)]
pub(super) struct SeenSet {
    records: HashMap<EventId, SeenRecord, ById>,
    loaded: Vec<TimeRange>,
    size_after_pruning: usize,
}

#[derive(Clone, Copy, Debug)]
struct SeenRecord {
    version: u64,
    timestamp: Option<Timestamp>,
    /// The end of the latest scan that read it: only scans that request this moment can read it again.
    until: Timestamp,
}

/// A record, compared with the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordStatus {
    /// Never collected.
    New,
    /// Collected in a lower version.
    Changed,
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

    /// Compares a record with the seen ones, and notes that a scan up to `until` has read it.
    pub(super) fn check(&mut self, key: SeenKey, until: Timestamp) -> RecordStatus {
        let Some(seen) = self.records.get_mut(&key.id) else { return RecordStatus::New };
        seen.until = seen.until.max(until);
        if seen.version < key.version { RecordStatus::Changed } else { RecordStatus::Duplicate }
    }

    /// Adds a record that goes into the journal; `until` is the end of the scan that found it.
    pub(super) fn insert(&mut self, key: SeenKey, until: Timestamp) {
        let new = SeenRecord { version: key.version, timestamp: key.timestamp, until };
        let seen = self.records.entry(key.id).or_insert(new);
        seen.version = seen.version.max(key.version);
        seen.until = seen.until.max(until);
    }

    /// The ids of the loaded records whose own time fulfills a condition.
    pub(super) fn ids_where(&self, is_wanted: impl Fn(Timestamp) -> bool) -> HashSet<EventId> {
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
        let used_part =
            |range: &TimeRange| in_use.iter().map(|used| ranges::intersection(*range, *used)).collect::<Vec<_>>();
        self.loaded = ranges::merged(self.loaded.iter().flat_map(used_part).collect());
        self.size_after_pruning = self.records.len();
    }
}

/// Of the records of one page that are to be delivered, keeps the greatest version of each id; returns which ones to
/// keep.
pub(super) fn greatest_versions(keys: &[SeenKey]) -> Vec<bool> {
    let mut greatest: HashMap<EventId, usize, ById> = HashMap::with_capacity_and_hasher(keys.len(), ById::default());
    for (index, key) in keys.iter().enumerate() {
        let best = greatest.entry(key.id).or_insert(index);
        if key.version > keys[*best].version {
            *best = index;
        }
    }
    keys.iter().enumerate().map(|(index, key)| greatest.get(&key.id) == Some(&index)).collect()
}

#[cfg(test)]
mod tests;
