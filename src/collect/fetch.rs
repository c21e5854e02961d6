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

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

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
    /// The page size that the vendor says it has applied.
    pub(super) limit: Option<u64>,
    /// How many of the records are not valid JSON.
    pub(super) damaged: u32,
    /// When it was read.
    pub(super) observed_at: Timestamp,
    /// The same, on a clock that nobody sets.
    pub(super) received: Instant,
    /// The vendor's clock, if the answer tells it.
    pub(super) vendor_time: Option<Timestamp>,
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
    /// The status of the answer; `None` if there was none, or it broke off.
    pub(super) status: Option<u16>,
    /// How long the vendor asks the client to wait.
    pub(super) retry_after: Option<Duration>,
    /// Whether a smaller page might have succeeded.
    pub(super) may_be_size: bool,
    /// Whether it may concern this request alone, so that requests for other time succeed.
    pub(super) may_be_request: bool,
    /// Whether the scan cannot continue from here and must restart at its first page.
    pub(super) must_restart: bool,
}

impl FetchError {
    /// An error after which the same page is requested again.
    pub(super) fn new(error: ApiError) -> Self {
        Self { error, status: None, retry_after: None, may_be_size: false, may_be_request: false, must_restart: false }
    }

    /// An error after which the scan restarts.
    pub(super) fn restart(message: String, hint: &str) -> Self {
        let error = ApiError { kind: ApiErrorKind::Transient, message, hint: hint.to_owned() };
        Self { must_restart: true, ..Self::new(error) }
    }
}

impl Fetcher {
    pub(super) async fn fetch(&self, page: &PageRequest<'_>) -> Result<FetchedPage, FetchError> {
        let request = self.vendor.request(page);
        let response = self.transport.send(&request, self.limits).await.map_err(|error| self.no_response(&error))?;
        if !(200..300).contains(&response.status) {
            let error = response.classify_error(self.vendor.as_ref(), page.cursor.is_some());
            let (retry_after, may_be_size) = (response.retry_after, response.status >= 500);
            let may_be_request = response.status >= 400 && !matches!(response.status, 401 | 403 | 407 | 420 | 429);
            let status = Some(response.status);
            return Err(FetchError { status, retry_after, may_be_size, may_be_request, ..FetchError::new(error) });
        }
        let vendor_time = response.date.filter(|_| !response.is_cached);
        let mask = response.mask;
        let read = match response.status {
            // No content: an empty page.
            204 => ReadPage::default(),
            _ => read_page(self.vendor.as_ref(), response.body, page)
                .map_err(|bad| self.unreadable(&mask.mask(&bad.message)))?,
        };
        let ReadPage { mut body, mut records, next, total, limit, damaged } = read;
        // A page of small records needs many times its bytes until it is stored, and the next one is read meanwhile.
        body.shrink_to_fit();
        records.shrink_to_fit();
        if next.as_ref().is_some_and(|cursor| mask.is_in(cursor)) {
            return Err(self.unreadable("its page cursor contains the secret of this source, and cursors are stored"));
        }
        let (observed_at, received) = (self.clock.now(), Instant::now());
        Ok(FetchedPage { body, records, next, total, limit, damaged, observed_at, received, vendor_time })
    }

    fn no_response(&self, error: &TransportError) -> FetchError {
        let may_be_size = error.may_be_size();
        let may_be_request = may_be_size || matches!(error, TransportError::Broken(_) | TransportError::TooLarge(_));
        FetchError { may_be_size, may_be_request, ..FetchError::new(error.to_api_error(self.vendor.spec().name)) }
    }

    fn unreadable(&self, reason: &str) -> FetchError {
        let message = format!("{} sent a page that cannot be read: {reason}", self.vendor.spec().name);
        let error = ApiError { kind: ApiErrorKind::Transient, message, hint: String::new() };
        FetchError { status: Some(200), may_be_request: true, ..FetchError::new(error) }
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

/// One page to request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageSpec {
    /// The time range to request.
    pub(super) range: TimeRange,
    /// The vendor's cursor; `None` for the first page.
    pub(super) cursor: Option<String>,
    /// Records to ask for.
    pub(super) page_size: u32,
}

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
    fetcher: Arc<Fetcher>,
    requested: Option<PageSpec>,
    /// At most one task.
    in_flight: JoinSet<Result<FetchedPage, FetchError>>,
}

impl PrefetchedPages {
    pub(super) fn new(fetcher: Arc<Fetcher>) -> Self {
        Self { fetcher, requested: None, in_flight: JoinSet::new() }
    }

    /// Requests a page now. Does nothing if a request is in flight.
    pub(super) fn prefetch(&mut self, page: PageSpec) {
        if !self.in_flight.is_empty() {
            return;
        }
        self.requested = Some(page.clone());
        let fetcher = self.fetcher.clone();
        self.in_flight.spawn(async move {
            let PageSpec { range, cursor, page_size } = page;
            fetcher.fetch(&PageRequest { range, cursor: cursor.as_deref(), page_size }).await
        });
    }

    /// Whether a request is in flight, or its result waits.
    pub(super) fn is_prefetched(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// The result of a request: of the one in flight if it is for this page, else of a new one.
    pub(super) async fn fetch(&mut self, page: PageSpec) -> Result<FetchedPage, FetchError> {
        if self.requested.as_ref() != Some(&page) {
            self.in_flight.abort_all();
            self.in_flight = JoinSet::new();
        }
        self.prefetch(page);
        match self.in_flight.join_next().await {
            Some(Ok(attempt)) => attempt,
            // A task is cancelled only when `self` is dropped, so this is a panic: pass it on.
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => Err(FetchError::restart("no request was made".to_owned(), "")),
        }
    }
}
