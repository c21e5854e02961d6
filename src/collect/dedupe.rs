//! Which records are new: the memory of what is in the journal, and the counting of twins within a walk.
//!
//! ```text
//!   record --identify--> id, version
//!                          |  vendors without ids: the n-th equal record of this walk gets id.nth(n)
//!                          v
//!                        Known?  not there: new     lower version there: changed, delivered again     else: dropped
//! ```
//!
//! [`Known`] is a cache over the journal's keys, for the spans of time in use only. It is filled when a walk first
//! needs a span, and when a vendor answers with a record from outside of it; so it may be emptied at any moment without
//! harm, which is what happens when a window's staged pages are forgotten.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use super::ranges;
use crate::event::EventId;
use crate::journal::SeenKey;
use crate::time::{TimeRange, Timestamp};
use crate::vendors::RecordKey;

/// Records from outside the loaded spans are looked up together if they lie this close to each other.
const NEARBY: Duration = Duration::from_secs(600);
/// Below this many keys, forgetting the old ones is not worth a pass.
const SMALL: usize = 4_096;

/// An id is a part of a cryptographic hash: eight of its bytes serve as they are.
type ById = BuildHasherDefault<FirstBytes>;

#[derive(Debug, Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    /// The length of the id, which says nothing.
    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The keys of collected records, for the spans in use.
#[derive(Debug, Default)]
pub(super) struct Known {
    records: HashMap<EventId, Sight, ById>,
    loaded: Vec<TimeRange>,
    kept_at_last_pass: usize,
}

#[derive(Clone, Copy, Debug)]
struct Sight {
    version: u64,
    timestamp: Option<Timestamp>,
    /// The end of the latest walk that met it: only walks that ask for this moment can meet it again.
    until: Timestamp,
}

/// What a record is, compared with the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Never collected.
    New,
    /// Collected in a lower version.
    Changed,
    /// Collected.
    Old,
}

impl Known {
    /// The parts of `span` whose keys have to be fetched from the journal first.
    pub(super) fn missing(&self, span: TimeRange) -> Vec<TimeRange> {
        ranges::without(span, &self.loaded)
    }

    /// The spans to be fetched for records whose own times lie outside of what is loaded.
    pub(super) fn missing_around(&self, mut times: Vec<Timestamp>) -> Vec<TimeRange> {
        times.retain(|at| !self.loaded.iter().any(|range| ranges::holds(*range, *at)));
        times.sort_unstable();
        let mut spans: Vec<TimeRange> = Vec::new();
        for at in times {
            let end = at + Duration::from_nanos(1);
            match spans.last_mut() {
                Some(last) if at.since(last.to) <= NEARBY => last.to = end.max(last.to),
                _ => spans.push(TimeRange::new(at, end)),
            }
        }
        spans
    }

    /// Takes in what the journal has of a span, for a walk up to `until`.
    pub(super) fn load(&mut self, span: TimeRange, keys: Vec<SeenKey>, until: Timestamp) {
        for key in keys {
            self.remember(key, until);
        }
        self.loaded.push(span);
        self.loaded = ranges::merged(std::mem::take(&mut self.loaded));
    }

    /// Compares a record with what is known, and notes that a walk up to `until` has met it.
    pub(super) fn judge(&mut self, key: SeenKey, until: Timestamp) -> Verdict {
        let Some(sight) = self.records.get_mut(&key.id) else { return Verdict::New };
        sight.until = sight.until.max(until);
        if sight.version < key.version { Verdict::Changed } else { Verdict::Old }
    }

    /// Notes a record that is now in the journal; `until` is the end of the walk that found it.
    pub(super) fn remember(&mut self, key: SeenKey, until: Timestamp) {
        let sight = Sight { version: key.version, timestamp: key.timestamp, until };
        let known = self.records.entry(key.id).or_insert(sight);
        known.version = known.version.max(key.version);
        known.until = known.until.max(until);
    }

    /// Forgets everything; it is fetched again when needed.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets what lies outside the (merged) spans in use, now and then: a pass costs as much as it may free.
    pub(super) fn prune(&mut self, in_use: &[TimeRange]) {
        if self.records.len() < SMALL.max(self.kept_at_last_pass * 2) {
            return;
        }
        let used = |at: Timestamp| in_use.iter().any(|range| ranges::holds(*range, at));
        self.records.retain(|_, sight| used(sight.until) || sight.timestamp.is_some_and(used));
        let both = |range: &TimeRange| in_use.iter().map(|used| ranges::common(*range, *used)).collect::<Vec<_>>();
        self.loaded = ranges::merged(self.loaded.iter().flat_map(both).collect());
        self.kept_at_last_pass = self.records.len();
    }
}

/// What a walk has met so far: numbers twins, and tells whether two walks met the same.
#[derive(Debug, Default)]
pub(super) struct Tally {
    met: HashMap<(EventId, u64), Met>,
    page: u64,
    digest: u128,
    repeated_across_pages: bool,
    keys: Vec<SeenKey>,
}

/// How often a record was met, and on which page last.
#[derive(Debug, Default)]
struct Met {
    count: u32,
    page: u64,
}

impl Tally {
    /// Of a walk that was interrupted, from the keys it had noted. Without `page_size`, the number of them on each page,
    /// nobody knows which were on one page: then each counts as alone on its own.
    pub(super) fn resumed(keys: &[SeenKey], page_size: Option<u32>) -> Self {
        let mut tally = Self::default();
        let on_a_page = page_size.map_or(1, |size| usize::try_from(size).unwrap_or(usize::MAX).max(1));
        for (place, key) in keys.iter().enumerate() {
            if place % on_a_page == 0 {
                tally.begin_page();
            }
            let identity = RecordKey { id: key.id, timestamp: key.timestamp, version: key.version };
            tally.number(&identity);
        }
        tally
    }

    /// What is met from now on is on another page.
    pub(super) fn begin_page(&mut self) {
        self.page += 1;
    }

    /// A record that is left out. That it comes again on a later page tells of moving records all the same.
    pub(super) fn pass_by(&mut self, identity: &RecordKey) {
        self.meet(identity);
    }

    /// The number of this record among the equal ones of this walk, from 0. For vendors without ids.
    pub(super) fn number(&mut self, identity: &RecordKey) -> u32 {
        let occurrence = self.meet(identity);
        self.keys.push(SeenKey { id: identity.id, version: identity.version, timestamp: identity.timestamp });
        self.digest = self.digest.wrapping_add(fingerprint(identity.id.nth(occurrence), identity.version));
        occurrence
    }

    /// A number that is the same for two walks that met the same records, in whatever order.
    pub(super) fn digest(&self) -> u128 {
        self.digest
    }

    /// Whether a record was met again on a later page: a twin, or the records moved. Equal ones of one page are twins.
    pub(super) fn repeated_across_pages(&self) -> bool {
        self.repeated_across_pages
    }

    fn meet(&mut self, identity: &RecordKey) -> u32 {
        let met = self.met.entry((identity.id, identity.version)).or_default();
        let before = met.count;
        self.repeated_across_pages |= before > 0 && met.page != self.page;
        *met = Met { count: before.saturating_add(1), page: self.page };
        before
    }

    /// Every record met, each under the id of the first of its equals.
    pub(super) fn keys(&self) -> &[SeenKey] {
        &self.keys
    }
}

fn fingerprint(id: EventId, version: u64) -> u128 {
    u128::from_le_bytes(id.0) ^ u128::from(version).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
}

/// Of the records of one page that are to be delivered, keeps the greatest version of each id; returns which stay.
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
