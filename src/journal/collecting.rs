//! The values of [`CollectJournal`](super::CollectJournal): sources, windows, pages, coverage.

use super::block::{EncodedBlock, SeenKey, SourceId};
use super::lateness::LatenessCounts;
use crate::time::{TimeRange, Timestamp};
use crate::vendors::NormalizerConfig;

/// A window's id in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowId(pub i64);

/// Why a window exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WindowKind {
    /// The growing end of the coverage.
    Live,
    /// A slice of the past.
    Backfill,
    /// Covered time read again, for records that change; covers nothing new.
    Recheck,
}

/// A window to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewWindow {
    /// Why it exists.
    pub kind: WindowKind,
    /// The time that is covered once the window is complete. Windows of a source never overlap here. Empty for rechecks.
    pub covers: TimeRange,
    /// The time that the vendor is asked for: `covers` and the overlap before it.
    pub fetch_range: TimeRange,
}

/// A window that is not complete.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenWindow {
    /// Its id.
    pub id: WindowId,
    /// Its kind and times.
    pub window: NewWindow,
    /// The progress of its scan; `None` if no page has been read.
    pub progress: Option<ScanProgress>,
}

/// The progress of the scan through a window's pages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScanProgress {
    /// The cursor of the next page.
    pub next_cursor: String,
    /// The page size of this scan: it must not change while the scan runs.
    pub page_size: u32,
    /// Pages read.
    pub pages: u64,
    /// Records read, duplicates included.
    pub records_read: u64,
    /// The total that the first page announced.
    pub total: Option<u64>,
    /// For vendors without ids: every key read so far, duplicates included, so that occurrence numbers are right after a
    /// restart. Empty for vendors with ids.
    pub scan_keys: Vec<SeenKey>,
}

/// One page to commit.
#[derive(Clone, Debug)]
pub struct PageCommit {
    /// The window that it belongs to.
    pub window: WindowId,
    /// The new records of the page and their keys; `None` if it had no new ones.
    pub block: Option<EncodedBlock>,
    /// Requests made for it, failed ones included.
    pub requests: u64,
    /// The lateness of all events of the scan; given with its last page.
    pub lateness: LatenessCounts,
    /// Whether the scan continues or the window is complete.
    pub then: AfterPage,
}

/// What follows a page.
#[derive(Clone, Debug)]
pub enum AfterPage {
    /// Another page.
    Continue(ScanProgress),
    /// The window is complete: its events become visible and its time is covered.
    Complete {
        /// When.
        at: Timestamp,
        /// Pages of the whole scan.
        pages: u64,
        /// Records of the whole scan, duplicates included.
        records_read: u64,
    },
}

/// A source at its start.
#[derive(Clone, Debug)]
pub struct SourceRegistration {
    /// Its name in the pipeline file.
    pub name: String,
    /// Its vendor. A name that belongs to another vendor in this journal is an error.
    pub vendor: String,
    /// What normalizing its records needs.
    pub normalizer_config: NormalizerConfig,
    /// The present time; stored at the first start only.
    pub now: Timestamp,
}

/// What the journal knows of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceState {
    /// Its id.
    pub id: SourceId,
    /// The time of its first start.
    pub first_started_at: Timestamp,
    /// All covered time, merged and in order.
    pub coverage: Vec<TimeRange>,
    /// Windows that are not complete.
    pub open: Vec<OpenWindow>,
    /// When the last recheck was completed.
    pub last_recheck_at: Option<Timestamp>,
    /// The end of the coverage that a rewind removed and that is not covered again: gaps before it are filled by backfill.
    pub rewound_to: Option<Timestamp>,
    /// Its normalizer config before this registration, if it was another one.
    pub former_normalizer_config: Option<NormalizerConfig>,
}

/// What normalizing a source's records needs.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceInfo {
    /// Its id.
    pub id: SourceId,
    /// Its name.
    pub name: String,
    /// Its vendor.
    pub vendor: String,
    /// How its records are normalized.
    pub normalizer_config: NormalizerConfig,
}
