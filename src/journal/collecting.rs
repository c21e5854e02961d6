//! What collecting tells the journal and learns from it: windows, pages, coverage.

use super::{EncodedBlock, LatenessCounts, SeenKey, SourceId, WindowId};
use crate::time::{TimeRange, Timestamp};
use crate::vendors::NormalizerConfig;

/// Why a window exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WindowKind {
    /// The growing end of the coverage.
    Live,
    /// A slice of the past.
    Backfill,
    /// A second look at covered time, for records that change; covers nothing new.
    Recheck,
}

/// A window to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewWindow {
    /// Why it exists.
    pub kind: WindowKind,
    /// The time that is covered once it is complete. Windows of a source never overlap here. Empty for rechecks.
    pub covers: TimeRange,
    /// The time that is asked for: `covers` and the overlap before it.
    pub fetch_range: TimeRange,
}

/// A window that is not complete.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenWindow {
    /// Its number.
    pub id: WindowId,
    /// What it is.
    pub window: NewWindow,
    /// How far its walk has come; `None` if no page has been read.
    pub progress: Option<ScanProgress>,
}

/// How far the walk through a window's pages has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScanProgress {
    /// Where to go on.
    pub next_cursor: String,
    /// The page size of this walk: it must not change in the middle.
    pub page_size: u32,
    /// Pages read.
    pub pages: u64,
    /// Records read, the known ones included.
    pub records_read: u64,
    /// The total that the first page told.
    pub total: Option<u64>,
    /// For vendors without ids: every key walked so far, known ones included, so that twins are counted right after a
    /// restart. Empty for vendors with ids.
    pub scan_keys: Vec<SeenKey>,
}

/// One page, made durable.
#[derive(Clone, Debug)]
pub struct PageCommit {
    /// The window that it belongs to.
    pub window: WindowId,
    /// The new records of the page and their keys; `None` if it had no new ones.
    pub block: Option<EncodedBlock>,
    /// Requests that were made for it, failed ones included.
    pub requests: u64,
    /// How late the events of the whole walk became visible; given with its last page.
    pub lateness: LatenessCounts,
    /// Whether the window goes on or is complete.
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
        /// Pages of the whole walk.
        pages: u64,
        /// Records of the whole walk, the known ones included.
        records_read: u64,
    },
}

/// A source as it begins.
#[derive(Clone, Debug)]
pub struct SourceRegistration {
    /// Its name in the pipeline file.
    pub name: String,
    /// Its vendor. A source that had another vendor under this name is refused.
    pub vendor: String,
    /// What deliver must know to normalize its records.
    pub normalizer_config: NormalizerConfig,
    /// The present moment: remembered at the first start only.
    pub now: Timestamp,
}

/// What the journal knows of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceState {
    /// Its number.
    pub id: SourceId,
    /// When it was started for the first time.
    pub first_started_at: Timestamp,
    /// All covered time, merged and in order.
    pub coverage: Vec<TimeRange>,
    /// Windows that are not complete.
    pub open: Vec<OpenWindow>,
    /// When the last recheck was completed.
    pub last_recheck_at: Option<Timestamp>,
    /// Where coverage ended before it was given up by a rewind: what is missing before it is the past's.
    pub rewound_to: Option<Timestamp>,
    /// What its profile was until this registration, if that was another.
    pub former_normalizer_config: Option<NormalizerConfig>,
}
