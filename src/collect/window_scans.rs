//! What the scans of one window have in common: the verdict so far, counts, and records that wait for the verdict.

use tokio::time::Instant;

use super::by_id::{IdMap, IdSet};
use super::facts::Taken;
use super::fetch::FetchedPage;
use super::page_evidence::ReplayedPage;
use super::verdict::WindowVerdict;
use crate::event::EventId;
use crate::vendors::{Normalizer, RecordKey};

/// The scans of one window so far.
#[derive(Debug, Default)]
pub(super) struct WindowScans {
    /// The number of the present scan, from 1.
    pub(super) number: u32,
    /// How often a scan was given up because its cursor was rejected.
    pub(super) restarts: u32,
    pub(super) verdict: WindowVerdict<EventId>,
    /// The next scan does not begin before this moment.
    pub(super) paused_until: Option<Instant>,
    /// Known records that each scan has to meet.
    pub(super) expected: IdSet<EventId>,
    /// Bytes of the records that it has stored.
    pub(super) staged_bytes: u64,
    /// Why a part of it cannot be read.
    pub(super) unreadable: Option<String>,
    /// Whether damaged records were reported.
    pub(super) damaged_reported: bool,
    /// Records of the window that were not known.
    pub(super) found: u64,
    /// For vendors without ids: a copy of each record that stood on several pages of the present scan.
    pub(super) held: IdMap<EventId, HeldRecord>,
    /// Keys of the present scan's earlier pages.
    pub(super) earlier: IdSet<EventId>,
    /// Pages of all scans.
    pub(super) pages: u64,
    /// Records of all scans.
    pub(super) records: u64,
    /// Requests of all scans.
    pub(super) requests: u64,
}

/// A record that may be identical to one on another page.
#[derive(Debug)]
pub(super) struct HeldRecord {
    pub(super) raw: String,
    pub(super) key: RecordKey,
}

impl WindowScans {
    /// Counts a page, and keeps a copy of what stood on an earlier page too. Returns what it keeps from now on.
    pub(super) fn note_page(
        &mut self,
        page: &FetchedPage,
        keys: &[RecordKey],
        taken: Taken,
        has_ids: bool,
    ) -> Vec<String> {
        self.pages += 1;
        self.records += keys.len() as u64;
        let mut kept = Vec::new();
        let Taken::Page { known } = taken else { return kept };
        if has_ids {
            return kept;
        }
        for (raw, key) in page.records().zip(keys).skip(known).filter(|(_, key)| self.earlier.contains(&key.id)) {
            self.held.entry(key.id).or_insert_with(|| {
                kept.push(raw.to_owned());
                HeldRecord { raw: raw.to_owned(), key: *key }
            });
        }
        self.earlier.extend(keys.iter().map(|key| key.id));
        kept
    }

    /// After a restart: what [`Self::note_page`] kept of the pages of the present scan.
    pub(super) fn restore(&mut self, pages: Vec<ReplayedPage>, normalizer: &dyn Normalizer) {
        for page in pages {
            if matches!(page.taken, Taken::Page { .. }) && !normalizer.has_ids() {
                self.earlier.extend(page.keys);
            }
            for raw in page.held {
                let key = normalizer.key_of(&raw);
                self.held.insert(key.id, HeldRecord { raw, key });
            }
        }
    }

    /// Begins another scan.
    pub(super) fn begin_scan(&mut self) {
        self.number += 1;
        self.held.clear();
        self.earlier.clear();
    }
}
