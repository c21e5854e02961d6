//! One scan through the pages of a window: its progress, and the verdict at its end.
//!
//! ```text
//!   begin ----> page ----> page ----> last page --consistent-----------------> window complete
//!     ^           |                       |
//!     |           | too deep              +--suspect--> same records as the scan before? --yes--> window complete
//!     |           v                                            | no
//!     |         split the window                               v
//!     +--------------------------- rescan <--------------------+
//!                                   ^
//!          cursor expired, paging loop, smaller pages needed
//! ```
//!
//! A scan is suspect when the set of records may have changed during it, so that a record was skipped, or was read twice
//! and looks like an identical record. Records with ids cannot be confused; only a total that falls makes them suspect.
//! [`ScanHistory::judge`] is the only place that decides whether a finished scan counts.

use std::sync::Arc;

use super::dedup::OccurrenceCounter;
use super::fetch::{FetchError, FetchedPage, Fetcher, PrefetchedPages, ScanStart, request_fingerprint};
use super::interrupted::InterruptedScan;
use crate::journal::{AfterPage, Completion, LatenessCounts, NewWindow, ScanSpec, SeenKey, WindowEvidence};
use crate::time::Timestamp;
use crate::vendors::Vendor;

/// The smallest page that is requested.
const SMALLEST_PAGE: u32 = 10;
/// After this many failures in a row that a smaller page might have avoided, pages get smaller.
const SIZE_FAILURES: u32 = 3;
/// A suspect scan of a vendor with ids is accepted after this many: another scan would show nothing new.
const SUSPECT_SCANS_WITH_IDS: u32 = 3;
/// A scan may have this many pages, plus a tenth of the records that a window may have.
const SPARE_PAGES: u64 = 100;
/// A window that cannot be split may be this many times deeper.
const UNSPLIT_FACTOR: u64 = 32;

/// A scan in progress.
pub(super) struct PageScan {
    pub(super) window: NewWindow,
    pages: PrefetchedPages,
    page_size: u32,
    pages_read: u64,
    records_read: u64,
    total: TotalTracker,
    /// Whether this process read it from its first page. What the total did before a restart is not known.
    from_first_page: bool,
    /// Of the request, so that a cursor is never used with another request.
    fingerprint: String,
    /// For vendors without ids only.
    pub(super) occurrences: Option<OccurrenceCounter>,
    /// How many of the keys the evidence of earlier pages holds.
    stored_keys: usize,
    /// Whether the journal knows this scan.
    pub(super) begun: bool,
    /// Requests since the last commit.
    pub(super) requests: u64,
    size_failures: u32,
    /// How late its new events became visible.
    pub(super) lateness: LatenessCounts,
}

/// What the vendor's total did during the scan.
#[derive(Debug, Default)]
struct TotalTracker {
    first: Option<u64>,
    latest: Option<u64>,
    changed: bool,
    fell: bool,
}

impl TotalTracker {
    fn resumed(first: Option<u64>) -> Self {
        Self { first, latest: first, changed: false, fell: false }
    }

    fn record(&mut self, total: Option<u64>) {
        let Some(total) = total else { return };
        let before = *self.latest.get_or_insert(total);
        self.first.get_or_insert(total);
        self.changed |= total != before;
        self.fell |= total < before;
        self.latest = Some(total);
    }
}

/// What a scan is started with.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScanSetup {
    pub(super) window: NewWindow,
    /// Records to ask for per page.
    pub(super) page_size: u32,
    /// Whether the window could be split.
    pub(super) can_be_split: bool,
    /// The greatest depth of a window, in records.
    pub(super) max_records: u64,
}

impl PageScan {
    /// Starts at the first page, or where an interrupted scan stopped.
    pub(super) fn begin(fetcher: Arc<Fetcher>, setup: ScanSetup, progress: Option<InterruptedScan>) -> Self {
        let has_ids = fetcher.vendor.spec().has_ids;
        let page_size = progress.as_ref().map_or(setup.page_size, |progress| progress.page_size);
        let fingerprint = request_fingerprint(fetcher.vendor.as_ref(), setup.window.fetch_range, page_size);
        let allowed = SPARE_PAGES + setup.max_records / u64::from(SMALLEST_PAGE.min(page_size).max(1));
        let start = ScanStart {
            fetch_range: setup.window.fetch_range,
            page_size,
            cursor: progress.as_ref().and_then(|progress| cursor_of(progress, &fingerprint)).map(str::to_owned),
            max_pages: if setup.can_be_split { allowed } else { allowed.saturating_mul(UNSPLIT_FACTOR) },
        };
        let from_first_page = progress.is_none();
        let progress = progress.unwrap_or_default();
        let stored_keys = progress.scan_keys.len();
        Self {
            window: setup.window,
            page_size,
            pages: PrefetchedPages::new(fetcher, start),
            pages_read: progress.pages,
            records_read: progress.records_read,
            total: TotalTracker::resumed(progress.total),
            occurrences: (!has_ids)
                .then(|| OccurrenceCounter::resumed(&progress.scan_keys, known_page_size(&progress))),
            from_first_page,
            fingerprint,
            stored_keys,
            begun: !from_first_page,
            requests: 0,
            size_failures: 0,
            lateness: LatenessCounts::default(),
        }
    }

    /// Makes one attempt at the next page.
    pub(super) async fn attempt(&mut self) -> Result<FetchedPage, FetchError> {
        self.requests += 1;
        let past_end = || Err(FetchError::restart("the scan has ended already".into(), ""));
        let attempt = self.pages.next().await.unwrap_or_else(past_end);
        match &attempt {
            Ok(page) => self.record(page),
            Err(error) if error.may_be_size => self.size_failures += 1,
            Err(_) => self.size_failures = 0,
        }
        attempt
    }

    /// Requests the next page before it is needed.
    pub(super) fn prefetch(&mut self) {
        self.pages.prefetch();
    }

    /// Whether the next page has been requested already.
    pub(super) fn is_prefetched(&self) -> bool {
        self.pages.is_prefetched()
    }

    fn record(&mut self, page: &FetchedPage) {
        self.pages_read += 1;
        self.records_read += page.records().len() as u64;
        self.total.record(page.total);
        self.size_failures = 0;
    }

    /// Pages read so far.
    pub(super) fn pages_read(&self) -> u64 {
        self.pages_read
    }

    /// Records read so far, duplicates included.
    pub(super) fn records_read(&self) -> u64 {
        self.records_read
    }

    /// Whether the window has more records than a window should have.
    pub(super) fn is_deeper_than(&self, max_records: u64) -> bool {
        self.records_read.max(self.total.latest.unwrap_or(0)) > max_records
    }

    /// Why the records may have changed during this scan, now that it has ended.
    fn suspicion(&self) -> Option<&'static str> {
        let Some(occurrences) = &self.occurrences else {
            return self.total.fell.then_some("its total number of records fell during the scan");
        };
        if self.total.latest.is_some_and(|total| total != self.records_read) {
            return Some("the number of records differs from the announced total");
        }
        if occurrences.repeated_across_pages() {
            return Some("a record was repeated on a later page");
        }
        let only_grew = self.from_first_page && !self.total.fell;
        (self.total.changed && !only_grew).then_some("its total number of records changed during the scan")
    }

    /// How the journal knows this scan.
    pub(super) fn spec(&self) -> ScanSpec {
        let (page_size, request_fingerprint) = (self.page_size, self.fingerprint.clone());
        ScanSpec { number: 1, by_time: false, page_size, request_fingerprint }
    }

    /// What follows the page that was read last, and its evidence.
    pub(super) fn after_page(&mut self, next: Option<&str>, at: Timestamp) -> (AfterPage, Vec<u8>) {
        let Some(cursor) = next else { return (AfterPage::Complete(self.completion(at)), Vec::new()) };
        let scan = InterruptedScan {
            next_cursor: cursor.to_owned(),
            pages: self.pages_read,
            records_read: self.records_read,
            total: self.total.first,
            ..InterruptedScan::default()
        };
        let keys: &[SeenKey] = self.occurrences.as_ref().map_or(&[], OccurrenceCounter::keys);
        let evidence = scan.page(&keys[self.stored_keys.min(keys.len())..]);
        self.stored_keys = keys.len();
        (AfterPage::Continue, evidence)
    }

    fn completion(&self, at: Timestamp) -> Completion {
        let evidence = WindowEvidence {
            pages: self.pages_read,
            records_read: self.records_read,
            scans: 1,
            first_total: self.total.first,
            last_total: self.total.latest,
            kept: self.window.kept,
            ..WindowEvidence::default()
        };
        Completion { evidence, ..Completion::covered(self.window.covers, at) }
    }

    /// Half the page size, after the vendor said that pages are too large; `None` at the smallest.
    pub(super) fn smaller_page(&self) -> Option<u32> {
        halved(self.page_size, SMALLEST_PAGE)
    }

    /// Half the page size, after repeated failures that may come from the size. Not below a tenth of the configured size:
    /// most such errors have other causes, and tiny pages cost requests.
    pub(super) fn smaller_page_after_failures(&self, configured: u32) -> Option<u32> {
        let due = self.size_failures > 0 && self.size_failures.is_multiple_of(SIZE_FAILURES);
        if due { halved(self.page_size, SMALLEST_PAGE.max(configured / 10)) } else { None }
    }
}

/// The cursor at which an interrupted scan resumes; `None` if its request has changed since: other filters, another
/// order or another address number the pages differently.
pub(crate) fn cursor_to_resume<'p>(
    vendor: &dyn Vendor,
    window: &NewWindow,
    progress: &'p InterruptedScan,
) -> Option<&'p str> {
    cursor_of(progress, &request_fingerprint(vendor, window.fetch_range, progress.page_size))
}

fn cursor_of<'p>(progress: &'p InterruptedScan, fingerprint: &str) -> Option<&'p str> {
    let same_request = progress.fingerprint == fingerprint && !progress.next_cursor.is_empty();
    same_request.then_some(progress.next_cursor.as_str())
}

/// How many keys each page of an interrupted scan has, if all its pages were full and no record was left out.
fn known_page_size(progress: &InterruptedScan) -> Option<u32> {
    let full = progress.pages.saturating_mul(u64::from(progress.page_size));
    (progress.records_read == full && progress.scan_keys.len() as u64 == full).then_some(progress.page_size)
}

fn halved(size: u32, smallest: u32) -> Option<u32> {
    (size > smallest).then(|| (size / 2).max(smallest))
}

/// What is kept of a window from one scan to the next.
#[derive(Debug, Default)]
pub(super) struct ScanHistory {
    /// How often a scan was given up.
    pub(super) restarts: u32,
    /// Whether damaged records were reported.
    pub(super) damaged_reported: bool,
    suspect_scans: u32,
    digest: Option<u128>,
}

/// What to do with a window whose last page was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScanVerdict {
    /// Complete it.
    Accept,
    /// Complete it, and report that it may lack records.
    AcceptInDoubt(&'static str),
    /// Scan it again.
    Rescan(&'static str),
}

impl ScanHistory {
    /// Judges a scan that has ended. Two scans in a row that read the same records are accepted.
    pub(super) fn judge(&mut self, scan: &PageScan) -> ScanVerdict {
        let Some(reason) = scan.suspicion() else { return ScanVerdict::Accept };
        let digest = scan.occurrences.as_ref().map(OccurrenceCounter::digest);
        if digest.is_some() && digest == self.digest {
            return ScanVerdict::Accept;
        }
        self.digest = digest;
        self.suspect_scans += 1;
        if digest.is_none() && self.suspect_scans >= SUSPECT_SCANS_WITH_IDS {
            return ScanVerdict::AcceptInDoubt(reason);
        }
        ScanVerdict::Rescan(reason)
    }
}
