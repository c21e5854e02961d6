//! The values of [`CollectJournal`](super::CollectJournal): sources, windows, pages, coverage.

use serde::Serialize;

use super::block::{EncodedBlock, RecordBlock, SeenKey, Seq, SourceId};
use super::coverage::{Completion, CoverageState, DoubtfulTime, WindowKind};
use super::lateness::LatenessCounts;
use crate::time::{TimeRange, Timestamp};
use crate::vendors::NormalizerConfig;

/// A window's id in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowId(pub i64);

/// A window to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewWindow {
    /// Why it exists.
    pub kind: WindowKind,
    /// The time that is covered once the window is complete. Windows of a source never overlap here. Of a recheck: the
    /// completed windows whose state it decides anew.
    pub covers: TimeRange,
    /// The time that the vendor is asked for: `covers` and the overlap before it.
    pub fetch_range: TimeRange,
    /// Records whose own time lies outside are not kept. Stored when the window opens: settings that change later do not
    /// change what an open window keeps.
    pub kept: TimeRange,
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

/// One scan through a window's pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanSpec {
    /// Its number in the window, from 1.
    pub number: u32,
    /// Whether it requests first pages only, each from the last second of the page before.
    pub by_time: bool,
    /// Its page size: it must not change while the scan runs.
    pub page_size: u32,
    /// Identifies its requests: a cursor is never used with another request.
    pub request_fingerprint: String,
}

/// Every scan of an open window, each with the evidence of its pages, in order. Replaying it rebuilds the scans. The bytes
/// are encoded by collecting; the journal does not read them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanProgress {
    /// The scans.
    pub scans: Vec<(ScanSpec, Vec<Vec<u8>>)>,
}

/// Requests, by the class of the status that they were answered with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RequestCounts {
    /// Answered with a page, or with something that cannot be read as one.
    #[serde(rename = "2xx")]
    pub success: u64,
    /// Redirected: redirects are not followed.
    #[serde(rename = "3xx")]
    pub redirect: u64,
    /// Rejected.
    #[serde(rename = "4xx")]
    pub client_error: u64,
    /// Failed at the vendor, or in front of it.
    #[serde(rename = "5xx")]
    pub server_error: u64,
    /// Not answered to the end: no connection, TLS, a timeout, an answer that broke off.
    #[serde(rename = "none")]
    pub unanswered: u64,
}

impl RequestCounts {
    /// So many requests, each answered with success.
    #[must_use]
    pub fn succeeded(requests: u64) -> Self {
        Self { success: requests, ..Self::default() }
    }

    /// Counts a request that was answered with this status; `None` if it was not answered to the end.
    pub fn add(&mut self, status: Option<u16>) {
        let count = match status {
            Some(200..300) => &mut self.success,
            Some(300..400) => &mut self.redirect,
            Some(400..500) => &mut self.client_error,
            Some(500..) => &mut self.server_error,
            Some(..200) | None => &mut self.unanswered,
        };
        *count += 1;
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_class().into_iter().map(|(_, requests)| requests).sum()
    }

    /// Each class with its count.
    #[must_use]
    pub fn by_class(&self) -> [(&'static str, u64); 5] {
        [
            ("2xx", self.success),
            ("3xx", self.redirect),
            ("4xx", self.client_error),
            ("5xx", self.server_error),
            ("none", self.unanswered),
        ]
    }
}

/// One page to commit.
#[derive(Clone, Debug)]
pub struct PageCommit {
    /// The window that it belongs to.
    pub window: WindowId,
    /// The new records of the page and their keys; `None` if it had no new ones.
    pub block: Option<EncodedBlock>,
    /// Requests made for it, failed ones included.
    pub requests: RequestCounts,
    /// The lateness of all events of the scan; given with its last page.
    pub lateness: LatenessCounts,
    /// What the page shows, for the verdict at the end: appended to the window's scan that began last, and never
    /// rewritten. Not stored with the page that completes the window.
    pub evidence: Vec<u8>,
    /// Whether the scan continues or the window is complete.
    pub then: AfterPage,
}

impl PageCommit {
    /// Whether no page was read, and the window is complete without one: it is unreadable.
    pub(crate) fn is_missing(&self) -> bool {
        self.block.is_none()
            && matches!(&self.then, AfterPage::Complete(completion) if completion.state == CoverageState::Unreadable)
    }
}

/// What follows a page.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one value per page, next to a block of it")]
pub enum AfterPage {
    /// Another page, or another scan.
    Continue,
    /// The window is complete: its events become visible and its time gets its state.
    Complete(Completion),
}

/// What the journal knows of records, whatever their times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownRecords {
    /// All keys with the ids that were asked for.
    pub keys: Vec<SeenKey>,
    /// Time of which keys were trimmed, in order: a record of it may have been collected although no key is left.
    pub forgotten: Vec<TimeRange>,
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
    /// All covered time, merged and in order. Not what is in doubt.
    pub coverage: Vec<TimeRange>,
    /// All time that is in doubt or unreadable, in order. Windows that touch and differ in nothing but their times are
    /// one.
    pub in_doubt: Vec<DoubtfulTime>,
    /// Windows that are not complete.
    pub open: Vec<OpenWindow>,
    /// What the source has learned about its vendor, as the last completed window stored it.
    pub learned: Option<String>,
    /// When the last recheck was completed.
    pub last_recheck_at: Option<Timestamp>,
    /// The end of the coverage that a rewind removed and that is not covered again: gaps before it are filled by backfill.
    pub rewound_to: Option<Timestamp>,
    /// Its normalizer config before this registration, if it was another one.
    pub former_normalizer_config: Option<NormalizerConfig>,
}

impl SourceState {
    /// All time that is not to be planned as new: covered, in doubt, or unreadable. Merged and in order.
    #[must_use]
    pub fn decided(&self) -> Vec<TimeRange> {
        let doubtful = self.in_doubt.iter().map(|doubtful| doubtful.range);
        let mut ranges: Vec<TimeRange> = self.coverage.iter().copied().chain(doubtful).collect();
        ranges.sort_unstable();
        let mut decided: Vec<TimeRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match decided.last_mut() {
                Some(last) if range.from <= last.to => last.to = last.to.max(range.to),
                _ => decided.push(range),
            }
        }
        decided
    }
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

/// Takes the events of a journal that is read as it is.
pub trait BlockVisitor {
    /// The first event to take; 0 and 1 for all.
    fn first(&self) -> Seq;

    /// The journal changed while it was read: what came so far comes again.
    fn restart(&mut self);

    /// A page of events of a source.
    fn block(&mut self, source: &SourceInfo, block: &RecordBlock);
}
