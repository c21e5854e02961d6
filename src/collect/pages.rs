//! The pages of one walk as a stream, the same for every vendor.
//!
//! ```text
//!   cursor --request()--> Request --send--> Response --read()--> records, next cursor
//!     ^                                                                    |
//!     +--------------------------------------------------------------------+   until there is no next
//! ```
//!
//! A failed attempt is an item too: the stream stays where it is, and polling it again asks the same page again. So all
//! waiting is done by whoever polls.

use std::collections::HashSet;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use tokio_stream::Stream;

use super::transport::{Limits, Transport, TransportError};
use crate::clock::SharedClock;
use crate::event::EventId;
use crate::time::{TimeRange, Timestamp};
use crate::vendors::{ApiError, ApiErrorKind, PageRequest, Request, Vendor};

/// Asks one vendor for pages.
pub(super) struct Fetcher {
    pub(super) vendor: Arc<dyn Vendor>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) clock: SharedClock,
    pub(super) limits: Limits,
}

/// A page as it was read.
#[derive(Debug)]
pub(super) struct Fetched {
    body: String,
    records: Vec<Range<usize>>,
    /// Where the next page is; `None` at the end.
    pub(super) next: Option<String>,
    /// How many records the vendor says the whole walk has.
    pub(super) total: Option<u64>,
    /// When it was read.
    pub(super) observed_at: Timestamp,
}

impl Fetched {
    /// The records' bytes, in the vendor's order.
    pub(super) fn records(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.records.iter().map(|range| &self.body[range.clone()])
    }
}

/// Why an attempt gave no page.
#[derive(Clone, Debug)]
pub(super) struct Setback {
    /// What happened, and what to do about it.
    pub(super) fault: ApiError,
    /// How long the vendor asks us to wait.
    pub(super) asked_wait: Option<Duration>,
    /// Whether a smaller page might have come through.
    pub(super) may_be_size: bool,
    /// Whether the walk cannot go on from here and must begin again.
    pub(super) astray: bool,
}

impl Setback {
    fn of(fault: ApiError) -> Self {
        Self { fault, asked_wait: None, may_be_size: false, astray: false }
    }

    fn astray(message: String) -> Self {
        let hint = "if this stays, the API's paging has changed: please report it".to_owned();
        Self { astray: true, ..Self::of(ApiError { kind: ApiErrorKind::Transient, message, hint }) }
    }
}

/// One attempt each.
pub(super) type PageStream = Pin<Box<dyn Stream<Item = Result<Fetched, Setback>> + Send>>;

/// Where a walk begins.
#[derive(Clone, Debug)]
pub(super) struct Start {
    /// The span asked for.
    pub(super) fetch_range: TimeRange,
    /// Records asked for a page.
    pub(super) page_size: u32,
    /// Where to go on; `None` at the first page.
    pub(super) cursor: Option<String>,
    /// No walk has more pages than this.
    pub(super) max_pages: u64,
}

/// The pages of one walk.
pub(super) fn pages(fetcher: Arc<Fetcher>, start: Start) -> PageStream {
    let walker = Walker { fetcher, passed: HashSet::new(), pages: 0, ended: false, start };
    Box::pin(stream::unfold(walker, |mut walker| async move {
        if walker.ended {
            return None;
        }
        let attempt = walker.attempt().await;
        Some((attempt, walker))
    }))
}

struct Walker {
    fetcher: Arc<Fetcher>,
    start: Start,
    passed: HashSet<String>,
    pages: u64,
    ended: bool,
}

impl Walker {
    async fn attempt(&mut self) -> Result<Fetched, Setback> {
        let range = TimeRange { from: self.start.fetch_range.from, to: self.start.fetch_range.to };
        let page = PageRequest { range, cursor: self.start.cursor.as_deref(), page_size: self.start.page_size };
        let fetched = self.fetcher.fetch(&page).await?;
        self.pages += 1;
        self.go_to(fetched.next.clone())?;
        Ok(fetched)
    }

    /// Every cursor is passed once. One that comes back would lead round in a circle for ever.
    fn go_to(&mut self, next: Option<String>) -> Result<(), Setback> {
        let Some(next) = next else {
            self.ended = true;
            return Ok(());
        };
        let vendor = self.fetcher.vendor.spec().name;
        if self.pages >= self.start.max_pages {
            return Err(Setback::astray(format!("{vendor}: the pages do not end (after {} of them)", self.pages)));
        }
        self.passed.extend(self.start.cursor.take());
        if self.passed.contains(&next) {
            return Err(Setback::astray(format!("{vendor}: the pages lead back to one that was read before")));
        }
        self.start.cursor = Some(next);
        Ok(())
    }
}

/// Eight hex digits that differ when what is asked for differs, in whatever way: address, filters, order, page size.
pub(super) fn fingerprint(vendor: &dyn Vendor, fetch_range: TimeRange, page_size: u32) -> String {
    let range = TimeRange { from: fetch_range.from, to: fetch_range.to };
    let Request { path, query, headers, .. } = vendor.request(&PageRequest { range, cursor: None, page_size });
    let request = format!("{} {path} {query:?} {headers:?}", vendor.base_url());
    let digest = EventId::of_key(vendor.spec().name, None, &request).to_string();
    digest.chars().take(8).collect()
}

impl Fetcher {
    async fn fetch(&self, page: &PageRequest<'_>) -> Result<Fetched, Setback> {
        let request = self.vendor.request(page);
        let response = self.transport.send(&request, self.limits).await.map_err(|fault| self.unanswered(&fault))?;
        if !(200..300).contains(&response.status) {
            let fault = self.vendor.classify_error(response.status, &response.body);
            let may_be_size = response.status >= 500;
            return Err(Setback { asked_wait: response.retry_after, may_be_size, ..Setback::of(fault) });
        }
        self.read(response.body, page)
    }

    fn unanswered(&self, fault: &TransportError) -> Setback {
        let may_be_size = fault.may_be_size();
        Setback { may_be_size, ..Setback::of(fault.explained(self.vendor.spec().name)) }
    }

    fn read(&self, body: String, page: &PageRequest<'_>) -> Result<Fetched, Setback> {
        let read = self.vendor.parse_page(&body, page).map_err(|bad| self.unreadable(&bad.0))?;
        let places = read.records.iter().map(|record| place_of(record, &body)).collect::<Option<Vec<_>>>();
        let (next, total) = (read.next, read.total);
        let records = places.ok_or_else(|| self.unreadable("a record lies outside of the answer"))?;
        Ok(Fetched { body, records, next, total, observed_at: self.clock.now() })
    }

    fn unreadable(&self, reason: &str) -> Setback {
        let message = format!("{} sent a page that cannot be read: {reason}", self.vendor.spec().name);
        Setback::of(ApiError { kind: ApiErrorKind::Transient, message, hint: String::new() })
    }
}

/// Where a part of a text is in it.
fn place_of(part: &str, whole: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}
