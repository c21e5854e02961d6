//! One walk through the pages of a window: how far it is, and whether it can be trusted.
//!
//! ```text
//!   begin ----> page ----> page ----> last page --clean--------------------> complete
//!     ^           |                       |
//!     |           | too deep              +--suspect--> agrees with the walk before? --yes--> complete
//!     |           v                                            | no
//!     |         split in two                                   v
//!     +--------------------------- walk again <----------------+
//!                                   ^
//!          cursor expired, paging in a circle, smaller pages needed
//! ```
//!
//! A walk is suspect when the set of records may have moved under it, so that one was passed over, or was met twice and
//! looks like a twin. Records with ids cannot be taken for twins; only a shrinking total makes them suspect.

use std::sync::Arc;

use super::ahead::PagesAhead;
use super::dedupe::Tally;
use super::pages::{Fetched, Fetcher, Setback, Start, fingerprint, pages};
use crate::journal::{AfterPage, LatenessCounts, NewWindow, ScanProgress};
use crate::time::Timestamp;
use crate::vendors::{ApiError, ApiErrorKind, Vendor};

/// The smallest page that is asked for.
const SMALLEST_PAGE: u32 = 10;
/// So many failures in a row that a smaller page might have avoided make it smaller.
const HEAVY_FAILURES: u32 = 3;
/// A suspect walk of a vendor with ids is accepted after this many: nothing can be told apart better.
const SUSPECT_WALKS_WITH_IDS: u32 = 3;
/// Pages of a walk may be this many and a tenth of the records that a window may have.
const SPARE_PAGES: u64 = 100;
/// A window that cannot be cut in two may be this many times deeper.
const DEEPER_UNCUT: u64 = 32;

/// A walk in progress.
pub(super) struct Walk {
    pub(super) window: NewWindow,
    pages: PagesAhead,
    page_size: u32,
    pages_read: u64,
    records_read: u64,
    total: TotalWatch,
    /// Whether all of it was seen by this process. What the total did before a restart is not known.
    from_first_page: bool,
    /// Of the request, so that a cursor is never used with another.
    fingerprint: String,
    /// For vendors without ids only.
    pub(super) tally: Option<Tally>,
    /// Requests since the last commit.
    pub(super) requests: u64,
    heavy_failures: u32,
    /// How late its new events became visible.
    pub(super) lateness: LatenessCounts,
}

/// What the vendor's total did during the walk.
#[derive(Debug, Default)]
struct TotalWatch {
    first: Option<u64>,
    latest: Option<u64>,
    changed: bool,
    fell: bool,
}

impl TotalWatch {
    fn resumed(first: Option<u64>) -> Self {
        Self { first, latest: first, changed: false, fell: false }
    }

    fn note(&mut self, total: Option<u64>) {
        let Some(total) = total else { return };
        let before = *self.latest.get_or_insert(total);
        self.first.get_or_insert(total);
        self.changed |= total != before;
        self.fell |= total < before;
        self.latest = Some(total);
    }
}

/// How a walk is set out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outset {
    pub(super) window: NewWindow,
    /// Records asked for a page.
    pub(super) page_size: u32,
    /// Whether the window could be cut in two.
    pub(super) can_be_cut: bool,
    /// The greatest depth of a window, in records.
    pub(super) max_records: u64,
}

impl Walk {
    /// Begins at the first page, or where an interrupted walk had come to.
    pub(super) fn begin(fetcher: Arc<Fetcher>, outset: Outset, progress: Option<ScanProgress>) -> Self {
        let has_ids = fetcher.vendor.spec().has_ids;
        let page_size = progress.as_ref().map_or(outset.page_size, |progress| progress.page_size);
        let fingerprint = fingerprint(fetcher.vendor.as_ref(), outset.window.fetch_range, page_size);
        let allowed = SPARE_PAGES + outset.max_records / u64::from(SMALLEST_PAGE.min(page_size).max(1));
        let start = Start {
            fetch_range: outset.window.fetch_range,
            page_size,
            cursor: progress.as_ref().and_then(|progress| cursor_of(progress, &fingerprint)).map(str::to_owned),
            max_pages: if outset.can_be_cut { allowed } else { allowed.saturating_mul(DEEPER_UNCUT) },
        };
        let from_first_page = progress.is_none();
        let progress = progress.unwrap_or_default();
        Self {
            window: outset.window,
            page_size: start.page_size,
            pages: PagesAhead::new(pages(fetcher, start)),
            pages_read: progress.pages,
            records_read: progress.records_read,
            total: TotalWatch::resumed(progress.total),
            tally: (!has_ids).then(|| Tally::resumed(&progress.scan_keys, known_page_size(&progress))),
            from_first_page,
            fingerprint,
            requests: 0,
            heavy_failures: 0,
            lateness: LatenessCounts::default(),
        }
    }

    /// Makes one attempt at the next page.
    pub(super) async fn attempt(&mut self) -> Result<Fetched, Setback> {
        self.requests += 1;
        let attempt = self.pages.next().await.unwrap_or_else(|| Err(over()));
        match &attempt {
            Ok(page) => self.note(page),
            Err(setback) if setback.may_be_size => self.heavy_failures += 1,
            Err(_) => self.heavy_failures = 0,
        }
        attempt
    }

    /// Asks for the next page before it is wanted.
    pub(super) fn ask_ahead(&mut self) {
        self.pages.ask();
    }

    /// Whether the next page has been asked for already.
    pub(super) fn is_asked_ahead(&self) -> bool {
        self.pages.is_asked()
    }

    fn note(&mut self, page: &Fetched) {
        self.pages_read += 1;
        self.records_read += page.records().len() as u64;
        self.total.note(page.total);
        self.heavy_failures = 0;
    }

    /// Pages read so far.
    pub(super) fn pages_read(&self) -> u64 {
        self.pages_read
    }

    /// Records read so far, known ones included.
    pub(super) fn records_read(&self) -> u64 {
        self.records_read
    }

    /// Whether the window has more records than a window should have.
    pub(super) fn deeper_than(&self, max_records: u64) -> bool {
        self.records_read.max(self.total.latest.unwrap_or(0)) > max_records
    }

    /// Why the records may have moved under this walk, now that it has ended.
    pub(super) fn suspicion(&self) -> Option<&'static str> {
        let Some(tally) = &self.tally else {
            return self.total.fell.then_some("records went away while it was read");
        };
        let as_announced = self.total.latest.is_none_or(|total| total == self.records_read);
        let only_grew = self.from_first_page && !self.total.fell;
        if !as_announced {
            return Some("it gave another number of records than it had announced");
        }
        if tally.repeated_across_pages() {
            return Some("a record came again on a later page");
        }
        (self.total.changed && !only_grew).then_some("its number of records changed while it was read")
    }

    /// Where the walk stands before the page at `cursor`.
    pub(super) fn progress(&self, cursor: &str) -> ScanProgress {
        ScanProgress {
            next_cursor: format!("{}:{cursor}", self.fingerprint),
            page_size: self.page_size,
            pages: self.pages_read,
            records_read: self.records_read,
            total: self.total.first,
            scan_keys: self.tally.as_ref().map_or_else(Vec::new, |tally| tally.keys().to_vec()),
        }
    }

    /// What follows the page that was read last.
    pub(super) fn then(&self, next: Option<&str>, at: Timestamp) -> AfterPage {
        match next {
            Some(cursor) => AfterPage::Continue(self.progress(cursor)),
            None => AfterPage::Complete { at, pages: self.pages_read, records_read: self.records_read },
        }
    }

    /// Half the page size, because the vendor says that pages are too large.
    pub(super) fn smaller_page(&self) -> Option<u32> {
        halved(self.page_size, SMALLEST_PAGE)
    }

    /// Half the page size, because pages fail again and again in a way that may come from their size. Not below a tenth
    /// of the configured size: most such faults have other causes, and tiny pages cost requests.
    pub(super) fn smaller_page_after_failures(&self, configured: u32) -> Option<u32> {
        let due = self.heavy_failures > 0 && self.heavy_failures.is_multiple_of(HEAVY_FAILURES);
        if due { halved(self.page_size, SMALLEST_PAGE.max(configured / 10)) } else { None }
    }
}

/// Whether an interrupted walk may go on: the request must be the one that its cursor came from.
pub(super) fn can_be_resumed(fetcher: &Fetcher, window: &NewWindow, progress: &ScanProgress) -> bool {
    cursor_to_resume(fetcher.vendor.as_ref(), window, progress).is_some()
}

/// Where a walk that was interrupted would go on; `None` if its request has changed since.
pub(super) fn cursor_to_resume<'p>(
    vendor: &dyn Vendor,
    window: &NewWindow,
    progress: &'p ScanProgress,
) -> Option<&'p str> {
    cursor_of(progress, &fingerprint(vendor, window.fetch_range, progress.page_size))
}

/// The vendor's cursor, which is noted as `<fingerprint of the request>:<cursor>`.
fn cursor_of<'p>(progress: &'p ScanProgress, fingerprint: &str) -> Option<&'p str> {
    progress.next_cursor.strip_prefix(fingerprint)?.strip_prefix(':')
}

/// How many keys each page of an interrupted walk has, if all its pages were full and no record was left out.
fn known_page_size(progress: &ScanProgress) -> Option<u32> {
    let full = progress.pages.saturating_mul(u64::from(progress.page_size));
    (progress.records_read == full && progress.scan_keys.len() as u64 == full).then_some(progress.page_size)
}

fn halved(size: u32, smallest: u32) -> Option<u32> {
    (size > smallest).then(|| (size / 2).max(smallest))
}

fn over() -> Setback {
    let fault =
        ApiError { kind: ApiErrorKind::Transient, message: "the walk is over already".into(), hint: String::new() };
    Setback { fault, asked_wait: None, may_be_size: false, astray: true }
}

/// What is remembered of a window from one walk to the next.
#[derive(Debug, Default)]
pub(super) struct History {
    /// How often it was walked in vain.
    pub(super) restarts: u32,
    suspect_walks: u32,
    digest: Option<u128>,
}

/// What to do with a window whose last page was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Complete it.
    Accept,
    /// Complete it, and say that it may lack something.
    AcceptInDoubt(&'static str),
    /// Walk it again.
    WalkAgain(&'static str),
}

impl History {
    /// Judges a walk that has come to its end: two in a row that met the same records are believed.
    pub(super) fn judge(&mut self, walk: &Walk) -> Ending {
        let Some(reason) = walk.suspicion() else { return Ending::Accept };
        let digest = walk.tally.as_ref().map(Tally::digest);
        if digest.is_some() && digest == self.digest {
            return Ending::Accept;
        }
        self.digest = digest;
        self.suspect_walks += 1;
        if digest.is_none() && self.suspect_walks >= SUSPECT_WALKS_WITH_IDS {
            return Ending::AcceptInDoubt(reason);
        }
        Ending::WalkAgain(reason)
    }
}
