//! One scan of a window: which page comes next, and what its pages prove.
//!
//! ```text
//!   next_page --> (fetch) --> take: keys, times, total, link --> evidence --> next_page ... None: the scan is over
//!                                            |                                        |
//!                                            v                                        v
//!                                  one row of the journal per page              ScanResult --> verdict
//! ```
//!
//! The evidence is stored page by page. After a restart it is replayed, so that a scan which was interrupted proves as much
//! as one that was not.

use std::sync::Arc;

use super::by_id::{IdMap, IdSet};
use super::by_piece::ByPieceEvidence;
use super::by_time::{ByTimeEvidence, ByTimeRules, NextByTime};
use super::evidence::ScanEvidence;
use super::facts::{Check, Next, ScanRules, Taken};
use super::fetch::{FetchError, FetchedPage, Fetcher, PageSpec, PrefetchedPages, request_fingerprint};
use super::page_evidence::{PageEvidence, ReplayedPage};
use super::verdict::ScanResult;
use crate::event::EventId;
use crate::journal::{LatenessCounts, NewWindow, RequestCounts, ScanProgress, ScanSpec};
use crate::time::{TimeRange, Timestamp};
use crate::vendors::{ApiSpec, Paging, RecordKey, RecordOrder, Vendor};

/// The smallest page that is requested of a whole window.
const SMALLEST_PAGE: u32 = 10;
/// The evidence of a scan.
#[derive(Clone, Debug)]
enum Evidence {
    Pages(Box<ScanEvidence<EventId>>),
    ByTime(ByTimeEvidence<EventId>),
    ByPiece(ByPieceEvidence<EventId>),
}

/// What a source has learned about its vendor's paging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PagingTraits {
    /// Offsets are honored to the record.
    pub(super) offsets_are_exact: bool,
    /// A total was met that does not count the records of its own page.
    pub(super) total_is_proven: bool,
    /// The announced total can be used.
    pub(super) total_counts: bool,
}

impl Default for PagingTraits {
    fn default() -> Self {
        Self { offsets_are_exact: true, total_is_proven: false, total_counts: true }
    }
}

/// Where a scan is, as far as its pages show: pure.
#[derive(Clone, Debug)]
struct ScanState {
    window: NewWindow,
    spec: ScanSpec,
    evidence: Evidence,
    api: ApiSpec,
    pages_read: u64,
    records_read: u64,
    latest_total: Option<u64>,
    /// Of replayed pages: how many brought a record that was not known.
    pages_with_new: u64,
}

impl ScanState {
    fn new(api: &ApiSpec, window: NewWindow, spec: ScanSpec, traits: PagingTraits) -> Self {
        let newest_first = api.order != RecordOrder::OldestFirst;
        let page_size = usize::try_from(spec.page_size).unwrap_or(usize::MAX);
        let evidence = if spec.by_time {
            let step = i64::try_from(api.time_granularity.as_nanos()).unwrap_or(i64::MAX).max(1_000_000_000);
            let (paging, total_counts) = (api.paging, traits.total_counts);
            let rules = ByTimeRules { paging, page_size, total_counts, step };
            let range = window.fetch_range;
            Evidence::ByTime(ByTimeEvidence::new(rules, range.from.as_nanos(), range.to.as_nanos()))
        } else {
            let rules = ScanRules {
                paging: api.paging,
                has_ids: api.has_ids,
                newest_first,
                page_size,
                total_is_proven: traits.total_is_proven,
                total_counts: traits.total_counts,
                offsets_are_exact: traits.offsets_are_exact,
            };
            Evidence::Pages(Box::new(ScanEvidence::new(rules)))
        };
        Self {
            window,
            spec,
            evidence,
            api: api.clone(),
            pages_read: 0,
            records_read: 0,
            latest_total: None,
            pages_with_new: 0,
        }
    }

    /// Replays the stored pages of an interrupted scan. `None` if one of them cannot be read or is a piece: where the next
    /// one begins is not stored.
    fn replay(&mut self, pages: &[Vec<u8>]) -> Option<Vec<ReplayedPage>> {
        let mut replayed = Vec::with_capacity(pages.len());
        for bytes in pages {
            let page = PageEvidence::decode(bytes).filter(|page| !page.is_piece)?;
            let _ = self.next_page();
            let taken = self.record(&page);
            self.pages_with_new += u64::from(page.found);
            replayed.push(ReplayedPage { taken, keys: page.facts.keys, held: page.held });
        }
        Some(replayed)
    }

    /// The page to request next; `None` if the scan is over.
    fn next_page(&mut self) -> Option<PageSpec> {
        let (range, page_size) = (self.window.fetch_range, self.spec.page_size);
        match &mut self.evidence {
            Evidence::Pages(evidence) => {
                let cursor = match evidence.next() {
                    Next::Done => return None,
                    Next::Head | Next::Offset(0) | Next::Page(1) => None,
                    Next::Offset(offset) => Some(offset.to_string()),
                    Next::Page(number) => Some(number.to_string()),
                    Next::Cursor(cursor) => cursor,
                };
                Some(PageSpec { range, cursor, page_size })
            }
            Evidence::ByTime(evidence) => {
                let (from, to, cursor) = match evidence.next() {
                    NextByTime::Done => return None,
                    NextByTime::First { from, to } => (from, to, None),
                    NextByTime::Second { from, to, skip } => {
                        let number = if self.api.paging == Paging::PageNumber { 2 } else { skip };
                        (from, to, Some(number.to_string()))
                    }
                };
                let range = TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(to));
                Some(PageSpec { range, cursor, page_size })
            }
            Evidence::ByPiece(evidence) => {
                evidence.next().map(|(cursor, page_size)| PageSpec { range, cursor, page_size })
            }
        }
    }

    fn record(&mut self, page: &PageEvidence) -> Taken {
        self.pages_read += 1;
        self.records_read += page.facts.keys.len() as u64;
        self.latest_total = page.facts.total.or(self.latest_total);
        match &mut self.evidence {
            Evidence::Pages(evidence) => evidence.take(&page.facts),
            Evidence::ByTime(evidence) => {
                evidence.take(&page.facts, &page.times);
                Taken::Page { known: 0 }
            }
            Evidence::ByPiece(evidence) => {
                evidence.take(&page.facts.keys, page.facts.total);
                Taken::Page { known: 0 }
            }
        }
    }
}

/// How far the last scan of an open window has come, as its stored evidence shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScanCounts {
    /// Pages read so far.
    pub(crate) pages: u64,
    /// Records read so far, duplicates included.
    pub(crate) records_read: u64,
    /// The last announced total.
    pub(crate) total: Option<u64>,
}

impl ScanCounts {
    /// `None` if no scan has begun. Evidence that cannot be read counts as none.
    pub(crate) fn of(progress: &ScanProgress) -> Option<Self> {
        let (_, pages) = progress.scans.last()?;
        let mut counts = Self::default();
        for page in pages.iter().filter_map(|bytes| PageEvidence::decode(bytes)) {
            counts.pages += 1;
            counts.records_read += page.facts.keys.len() as u64;
            counts.total = page.facts.total.or(counts.total);
        }
        Some(counts)
    }
}

/// Where an interrupted scan resumes.
pub(crate) struct ResumedScan {
    /// The cursor of the next page; `None` for the first one.
    pub(crate) cursor: Option<String>,
    /// Records per page.
    pub(crate) page_size: u32,
}

/// Where an interrupted scan resumes; `None` if it starts over, because its request has changed or nothing was read.
pub(crate) fn stored_scan(vendor: &dyn Vendor, window: &NewWindow, progress: &ScanProgress) -> Option<ResumedScan> {
    let (spec, pages) = progress.scans.last()?;
    if !can_resume(vendor, window, spec) {
        return None;
    }
    let mut scan = ScanState::new(vendor.spec(), *window, spec.clone(), PagingTraits::default());
    scan.replay(pages)?;
    let cursor = scan.next_page()?.cursor;
    Some(ResumedScan { cursor, page_size: spec.page_size })
}

/// A scan in progress.
pub(super) struct PageScan {
    state: ScanState,
    pages: PrefetchedPages,
    /// Requests since the last commit.
    pub(super) requests: RequestCounts,
    /// How late its new events became visible.
    pub(super) lateness: LatenessCounts,
}

impl PageScan {
    /// A scan at its first page.
    pub(super) fn begin(fetcher: Arc<Fetcher>, window: NewWindow, spec: ScanSpec, traits: PagingTraits) -> Self {
        let state = ScanState::new(fetcher.vendor.spec(), window, spec, traits);
        let lateness = LatenessCounts::default();
        Self { state, pages: PrefetchedPages::new(fetcher), requests: RequestCounts::default(), lateness }
    }

    /// Replays the stored pages of an interrupted scan. `None` if one of them cannot be read.
    pub(super) fn replay(&mut self, pages: &[Vec<u8>]) -> Option<Vec<ReplayedPage>> {
        self.state.replay(pages)
    }

    /// The window.
    pub(super) fn window(&self) -> NewWindow {
        self.state.window
    }

    /// How it reads.
    pub(super) fn spec(&self) -> &ScanSpec {
        &self.state.spec
    }

    /// Whether its last page was read.
    pub(super) fn is_over(&mut self) -> bool {
        self.state.next_page().is_none()
    }

    /// Makes one attempt at the next page.
    pub(super) async fn attempt(&mut self) -> Result<FetchedPage, FetchError> {
        let Some(page) = self.state.next_page() else {
            return Err(FetchError::restart("the scan has ended already".to_owned(), ""));
        };
        let fetched = self.pages.fetch(page).await;
        self.count_request(&fetched);
        fetched
    }

    /// Counts a request that was made for this scan.
    pub(super) fn count_request(&mut self, fetched: &Result<FetchedPage, FetchError>) {
        self.requests.add(fetched.as_ref().map_or_else(|failed| failed.status, |_| Some(200)));
    }

    /// From now on it reads in pieces whatever can be read, from the beginning.
    pub(super) fn read_by_piece(&mut self) {
        let evidence = ByPieceEvidence::new(self.state.api.paging, self.state.api.page_size);
        self.state.evidence = Evidence::ByPiece(evidence);
    }

    /// Whether it reads in pieces.
    pub(super) fn is_by_piece(&self) -> bool {
        matches!(&self.state.evidence, Evidence::ByPiece(_))
    }

    /// Whether the next page is a single record.
    pub(super) fn is_one_record(&mut self) -> bool {
        self.state.next_page().is_some_and(|page| page.page_size == 1)
    }

    /// The next piece cannot be read: smaller ones, or without its record. Returns whether a record was stepped over.
    pub(super) fn narrow_piece(&mut self) -> bool {
        match &mut self.state.evidence {
            Evidence::ByPiece(evidence) => evidence.narrow(),
            Evidence::Pages(_) | Evidence::ByTime(_) => false,
        }
    }

    /// Requests the next page before it is needed.
    pub(super) fn prefetch(&mut self) {
        if let Some(page) = self.state.next_page() {
            self.pages.prefetch(page);
        }
    }

    /// Whether the next page has been requested already.
    pub(super) fn is_prefetched(&self) -> bool {
        self.pages.is_prefetched()
    }

    /// Takes a page into the evidence. Returns what became of it, and what to store.
    pub(super) fn take(&mut self, page: &FetchedPage, keys: &[RecordKey]) -> (Taken, PageEvidence) {
        let mut evidence = PageEvidence::of(page, keys, self.state.window.fetch_range, &self.state.api);
        evidence.is_piece = self.is_by_piece();
        let taken = self.state.record(&evidence);
        (taken, evidence)
    }

    /// What the scan proves, now that it is over.
    pub(super) fn result(&self) -> ScanResult<EventId> {
        match &self.state.evidence {
            Evidence::Pages(evidence) => {
                let (counts, on_one_page) = (evidence.counts(), evidence.counts_on_one_page());
                ScanResult {
                    checks: evidence.checks(),
                    ids: on_one_page.is_some().then(|| ids_of(&counts)),
                    counts,
                    on_one_page,
                    totals: evidence.totals().to_vec(),
                    order: evidence.order(),
                    apart: evidence.is_apart() && !evidence.counts_by_page(),
                }
            }
            Evidence::ByTime(evidence) => of_counts(evidence.counts(), evidence.checks()),
            Evidence::ByPiece(evidence) => of_counts(evidence.counts(), vec![Check::End]),
        }
    }

    /// Whether the scan says anything at all: a scan by time does not where pages are not sorted by time.
    pub(super) fn applies(&self) -> bool {
        !matches!(&self.state.evidence, Evidence::ByTime(evidence) if !evidence.applies())
    }

    /// Whether a total was met that does not count the records of its own page.
    pub(super) fn total_is_proven(&self) -> bool {
        matches!(&self.state.evidence, Evidence::Pages(evidence) if evidence.total_is_proven())
    }

    /// Whether the vendor was seen to round offsets to whole pages.
    pub(super) fn offsets_are_rounded(&self) -> bool {
        matches!(&self.state.evidence, Evidence::Pages(evidence) if evidence.offsets_are_rounded())
    }

    /// Records by which the list grew during the scan.
    pub(super) fn shift(&self) -> u64 {
        match &self.state.evidence {
            Evidence::Pages(evidence) => evidence.shift() as u64,
            Evidence::ByTime(_) | Evidence::ByPiece(_) => 0,
        }
    }

    /// The first and the last announced total.
    pub(super) fn totals(&self) -> (Option<u64>, Option<u64>) {
        match &self.state.evidence {
            Evidence::Pages(evidence) => (evidence.totals().first().copied(), evidence.totals().last().copied()),
            Evidence::ByTime(_) | Evidence::ByPiece(_) => (None, None),
        }
    }

    /// Records read so far, duplicates included.
    pub(super) fn records_read(&self) -> u64 {
        self.state.records_read
    }

    /// How many replayed pages brought a record that was not known.
    pub(super) fn pages_with_new(&self) -> u64 {
        self.state.pages_with_new
    }

    /// Whether records of this vendor have ids.
    pub(super) fn has_ids(&self) -> bool {
        self.state.api.has_ids
    }

    /// Whether the window has more records than a window should have.
    pub(super) fn is_deeper_than(&self, max_records: u64) -> bool {
        self.state.records_read.max(self.state.latest_total.unwrap_or(0)) > max_records
    }

    /// Half the page size, after the vendor said that pages are too large; `None` at the smallest.
    pub(super) fn smaller_page(&self) -> Option<u32> {
        halved(self.state.spec.page_size, SMALLEST_PAGE)
    }

    /// Half the page size, after repeated failures that may come from the size. Not below a tenth of the configured size:
    /// most such errors have other causes, and tiny pages cost requests.
    pub(super) fn smaller_page_after_failures(&self, configured: u32) -> Option<u32> {
        halved(self.state.spec.page_size, SMALLEST_PAGE.max(configured / 10))
    }
}

/// What a scan proves whose pages stand alone.
fn of_counts(counts: &IdMap<EventId, usize>, checks: Vec<Check>) -> ScanResult<EventId> {
    ScanResult {
        checks,
        ids: Some(ids_of(counts)),
        counts: counts.clone(),
        on_one_page: Some(counts.clone()),
        totals: Vec::new(),
        order: 0,
        apart: false,
    }
}

/// The event ids of identical records: of n records, n ids.
fn ids_of(counts: &IdMap<EventId, usize>) -> IdSet<EventId> {
    let all = counts
        .iter()
        .flat_map(|(id, count)| (0..*count).map(|number| id.nth(u32::try_from(number).unwrap_or(u32::MAX))));
    all.collect()
}

/// Whether an interrupted scan may resume: other filters, another order or another address number the pages differently.
pub(super) fn can_resume(vendor: &dyn Vendor, window: &NewWindow, scan: &ScanSpec) -> bool {
    request_fingerprint(vendor, window.fetch_range, scan.page_size) == scan.request_fingerprint
}

fn halved(size: u32, smallest: u32) -> Option<u32> {
    (size > smallest).then(|| (size / 2).max(smallest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::facts::PageFacts;
    use crate::collect::page_evidence::NO_TIME;
    use crate::journal::WindowKind;

    #[test]
    fn a_scan_in_pieces_is_not_continued_as_one_of_pages() {
        let api = ApiSpec { paging: Paging::PageNumber, page_size: 20, ..crate::collect::tests::example_spec() };
        let covers = TimeRange::new(Timestamp::from_secs(0), Timestamp::from_secs(60));
        let window = NewWindow { kind: WindowKind::Backfill, covers, fetch_range: covers, kept: TimeRange::ALL };
        let spec = ScanSpec { number: 1, by_time: false, page_size: 20, request_fingerprint: String::new() };
        let pages = |is_piece| {
            [0..16, 16..24].map(|records| {
                let keys: Vec<EventId> = records.map(|number| EventId([number; 16])).collect();
                let times = keys.iter().map(|_| NO_TIME).collect();
                PageEvidence {
                    facts: PageFacts { keys, ..PageFacts::default() },
                    times,
                    is_piece,
                    ..PageEvidence::default()
                }
                .encode()
            })
        };
        let mut scan = ScanState::new(&api, window, spec, PagingTraits::default());
        assert!(scan.clone().replay(&pages(true)).is_none(), "the third page would leave out sixteen records");
        assert!(scan.replay(&pages(false)).is_some());
    }
}
