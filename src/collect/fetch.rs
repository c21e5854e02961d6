//! The pages of one scan as a stream, the same for every vendor, and the prefetch of the next page.
//!
//! ```text
//!   cursor --request()--> Request --send--> Response --read()--> records, next cursor
//!     ^                                                                    |
//!     +--------------------------------------------------------------------+   until there is no next
//! ```
//!
//! A failed attempt is an item too: the stream stays where it is, and polling it again requests the same page again. All
//! waiting is done by whoever polls.

use std::collections::HashSet;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use tokio::task::JoinSet;
use tokio_stream::{Stream, StreamExt};

use super::transport::{ResponseLimits, Transport, TransportError};
use crate::clock::SharedClock;
use crate::event::EventId;
use crate::time::{TimeRange, Timestamp};
use crate::vendors::damaged::{ReadPage, read_page};
use crate::vendors::{ApiError, ApiErrorKind, PageRequest, Request, Vendor};

/// Fetches pages from one vendor.
pub(super) struct Fetcher {
    pub(super) vendor: Arc<dyn Vendor>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) clock: SharedClock,
    pub(super) limits: ResponseLimits,
}

/// A page as it was read.
#[derive(Debug)]
pub(super) struct FetchedPage {
    body: String,
    records: Vec<Range<usize>>,
    /// The cursor of the next page; `None` at the end.
    pub(super) next: Option<String>,
    /// How many records the whole scan has, according to the vendor.
    pub(super) total: Option<u64>,
    /// How many of the records are not valid JSON.
    pub(super) damaged: u32,
    /// When it was read.
    pub(super) observed_at: Timestamp,
}

impl FetchedPage {
    /// The records' bytes, in the vendor's order.
    pub(super) fn records(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.records.iter().map(|range| &self.body[range.clone()])
    }
}

/// Why an attempt returned no page.
#[derive(Clone, Debug)]
pub(super) struct FetchError {
    /// What happened, and what to do about it.
    pub(super) error: ApiError,
    /// How long the vendor asks the client to wait.
    pub(super) retry_after: Option<Duration>,
    /// Whether a smaller page might have succeeded.
    pub(super) may_be_size: bool,
    /// Whether the scan cannot continue from here and must restart at its first page.
    pub(super) must_restart: bool,
}

impl FetchError {
    /// An error after which the same page is requested again.
    pub(super) fn new(error: ApiError) -> Self {
        Self { error, retry_after: None, may_be_size: false, must_restart: false }
    }

    /// An error after which the scan restarts.
    pub(super) fn restart(message: String, hint: &str) -> Self {
        let error = ApiError { kind: ApiErrorKind::Transient, message, hint: hint.to_owned() };
        Self { must_restart: true, ..Self::new(error) }
    }

    fn paging(message: String) -> Self {
        Self::restart(message, "if this persists, the API's paging has changed: please report it")
    }
}

impl Fetcher {
    async fn fetch(&self, page: &PageRequest<'_>) -> Result<FetchedPage, FetchError> {
        let request = self.vendor.request(page);
        let response = self.transport.send(&request, self.limits).await.map_err(|error| self.no_response(&error))?;
        if !(200..300).contains(&response.status) {
            let error = response.classify_error(self.vendor.as_ref(), page.cursor.is_some());
            let may_be_size = response.status >= 500;
            return Err(FetchError { retry_after: response.retry_after, may_be_size, ..FetchError::new(error) });
        }
        let read = match response.status {
            // No content: an empty page.
            204 => ReadPage::default(),
            _ => read_page(self.vendor.as_ref(), response.body, page).map_err(|bad| self.unreadable(&bad.message))?,
        };
        let ReadPage { body, records, next, total, damaged } = read;
        Ok(FetchedPage { body, records, next, total, damaged, observed_at: self.clock.now() })
    }

    fn no_response(&self, error: &TransportError) -> FetchError {
        let may_be_size = error.may_be_size();
        FetchError { may_be_size, ..FetchError::new(error.to_api_error(self.vendor.spec().name)) }
    }

    fn unreadable(&self, reason: &str) -> FetchError {
        let message = format!("{} sent a page that cannot be read: {reason}", self.vendor.spec().name);
        FetchError::new(ApiError { kind: ApiErrorKind::Transient, message, hint: String::new() })
    }
}

/// Eight hex digits that change when the request changes in any way: address, filters, order, page size.
pub(super) fn request_fingerprint(vendor: &dyn Vendor, fetch_range: TimeRange, page_size: u32) -> String {
    let page = PageRequest { range: fetch_range, cursor: None, page_size };
    let Request { path, query, headers, .. } = vendor.request(&page);
    let request = format!("{} {path} {query:?} {headers:?}", vendor.base_url());
    let digest = EventId::of_key(vendor.spec().name, None, &request).to_string();
    digest.chars().take(8).collect()
}

/// Where a scan starts, and how far it may go.
#[derive(Clone, Debug)]
pub(super) struct ScanStart {
    /// The time range to request.
    pub(super) fetch_range: TimeRange,
    /// Records to ask for per page.
    pub(super) page_size: u32,
    /// The cursor of the first page to request; `None` for the first page of all.
    pub(super) cursor: Option<String>,
    /// No scan has more pages than this.
    pub(super) max_pages: u64,
}

/// One attempt per item.
type PageStream = Pin<Box<dyn Stream<Item = Result<FetchedPage, FetchError>> + Send>>;

fn page_stream(fetcher: Arc<Fetcher>, start: ScanStart) -> PageStream {
    let pager = Pager { fetcher, cursors: HashSet::new(), pages: 0, ended: false, start };
    Box::pin(stream::unfold(pager, |mut pager| async move {
        if pager.ended {
            return None;
        }
        let attempt = pager.attempt().await;
        Some((attempt, pager))
    }))
}

struct Pager {
    fetcher: Arc<Fetcher>,
    start: ScanStart,
    /// Every cursor that was followed.
    cursors: HashSet<String>,
    pages: u64,
    ended: bool,
}

impl Pager {
    async fn attempt(&mut self) -> Result<FetchedPage, FetchError> {
        let ScanStart { fetch_range, page_size, .. } = self.start;
        let page = PageRequest { range: fetch_range, cursor: self.start.cursor.as_deref(), page_size };
        let fetched = self.fetcher.fetch(&page).await?;
        self.pages += 1;
        self.advance(fetched.next.clone())?;
        Ok(fetched)
    }

    /// Every cursor is followed once. One that returns would make the scan endless.
    fn advance(&mut self, next: Option<String>) -> Result<(), FetchError> {
        let Some(next) = next else {
            self.ended = true;
            return Ok(());
        };
        let vendor = self.fetcher.vendor.spec().name;
        if self.pages >= self.start.max_pages {
            return Err(FetchError::paging(format!("{vendor}: the pages do not end (after {} of them)", self.pages)));
        }
        self.cursors.extend(self.start.cursor.take());
        if self.cursors.contains(&next) {
            return Err(FetchError::paging(format!("{vendor}: the pages lead back to one that was read before")));
        }
        self.start.cursor = Some(next);
        Ok(())
    }
}

type Attempt = Option<Result<FetchedPage, FetchError>>;

/// The pages of a scan. The next one may be prefetched while the last one is stored.
///
/// ```text
/// page 1 --> filtered, compressed, committed --> page 2 --> filtered, compressed, committed --> ...
///       \                                        ^      \
///        +--prefetch--> a task: HTTP, parsing ---+       +--prefetch--> ...
/// ```
///
/// A page is returned only when the one before it is durable, and at most one request is in flight. Dropping this cancels
/// the request.
pub(super) struct PrefetchedPages {
    /// Present while no request is in flight.
    stream: Option<PageStream>,
    /// At most one task; it returns the stream.
    in_flight: JoinSet<(PageStream, Attempt)>,
}

impl PrefetchedPages {
    pub(super) fn new(fetcher: Arc<Fetcher>, start: ScanStart) -> Self {
        Self { stream: Some(page_stream(fetcher, start)), in_flight: JoinSet::new() }
    }

    /// Makes the next attempt now. Does nothing if one is in flight.
    pub(super) fn prefetch(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            self.in_flight.spawn(async move {
                let attempt = stream.next().await;
                (stream, attempt)
            });
        }
    }

    /// Whether an attempt is in flight, or its result waits.
    pub(super) fn is_prefetched(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// The result of the attempt in flight, or of a new one. `None` after the last page.
    pub(super) async fn next(&mut self) -> Attempt {
        self.prefetch();
        match self.in_flight.join_next().await? {
            Ok((stream, attempt)) => {
                self.stream = Some(stream);
                attempt
            }
            // The task is cancelled only when `self` is dropped, so this is a panic: pass it on.
            Err(error) => std::panic::resume_unwind(error.try_into_panic().ok()?),
        }
    }
}
