//! Where an interrupted scan resumes, read from the evidence of its pages.

use serde::{Deserialize, Serialize};

use crate::event::EventId;
use crate::journal::{ScanProgress, SeenKey};
use crate::time::Timestamp;

/// Id, version and time of a record.
type KeyFields = ([u8; 16], u64, Option<i64>);

/// What one page leaves for a later process.
#[derive(Serialize, Deserialize)]
struct PageEvidence {
    next_cursor: String,
    pages: u64,
    records_read: u64,
    total: Option<u64>,
    keys: Vec<KeyFields>,
}

/// The last scan of an open window.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct InterruptedScan {
    /// Its number in the window.
    pub(crate) number: u32,
    /// Its page size.
    pub(crate) page_size: u32,
    /// Identifies its requests.
    pub(crate) fingerprint: String,
    /// The cursor of the next page; empty if no page has been read.
    pub(crate) next_cursor: String,
    /// Pages read.
    pub(crate) pages: u64,
    /// Records read, duplicates included.
    pub(crate) records_read: u64,
    /// The total that the first page announced.
    pub(crate) total: Option<u64>,
    /// For vendors without ids: every key read so far, duplicates included.
    pub(crate) scan_keys: Vec<SeenKey>,
}

impl InterruptedScan {
    /// The last scan of a window; evidence that cannot be read counts as none, and the scan starts over.
    pub(crate) fn of(progress: &ScanProgress) -> Option<Self> {
        let (spec, pages) = progress.scans.last()?;
        let mut scan = Self {
            number: spec.number,
            page_size: spec.page_size,
            fingerprint: spec.request_fingerprint.clone(),
            ..Self::default()
        };
        for page in pages {
            let PageEvidence { next_cursor, pages, records_read, total, keys } = serde_json::from_slice(page).ok()?;
            scan = Self { next_cursor, pages, records_read, total, ..scan };
            scan.scan_keys.extend(keys.into_iter().map(|(id, version, timestamp)| SeenKey {
                id: EventId(id),
                version,
                timestamp: timestamp.map(Timestamp::from_nanos),
            }));
        }
        Some(scan)
    }

    /// The evidence of the page read last; `keys` are those of this page alone.
    pub(crate) fn page(&self, keys: &[SeenKey]) -> Vec<u8> {
        let keys = keys.iter().map(|key| (key.id.0, key.version, key.timestamp.map(Timestamp::as_nanos))).collect();
        let page = PageEvidence {
            next_cursor: self.next_cursor.clone(),
            pages: self.pages,
            records_read: self.records_read,
            total: self.total,
            keys,
        };
        serde_json::to_vec(&page).unwrap_or_default()
    }
}
