//! What each vendor's part provides: its paths, its authentication, its pages, its refusals and its records.

use super::http::ApiRequest;
use super::http::Reply;
use super::options::Credentials;
use super::record_builder::RecordBuilder;
use super::store::{Store, Window};
use super::variants::{Order, RetryAfter, Variants};
use crate::time::Timestamp;

/// One request on its way through a vendor's part.
pub(super) struct RequestContext<'a> {
    pub(super) request: &'a ApiRequest,
    pub(super) store: &'a mut Store,
    pub(super) variants: &'a Variants,
    pub(super) credentials: &'a Credentials,
    pub(super) now: Timestamp,
    /// Whether the answer shall name the page just asked as the next one.
    pub(super) repeat_token: bool,
}

/// Where a walk is, as far as its request tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScanPosition {
    /// The span of time that is walked.
    pub(super) window: Window,
    /// Whether this is a later page than the first.
    pub(super) later_page: bool,
    /// The order and the place (counted in that order) of the first record that this page does not reach, if rows shift
    /// and a record may be put among those not yet read.
    pub(super) unread: Option<(Order, usize)>,
}

/// Why a request is refused, for the vendor to put in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestError {
    /// Wrong or expired credentials.
    Unauthorized,
    /// The credentials may not do this.
    Forbidden,
    /// A page cursor that is not accepted.
    InvalidCursor,
    /// The budget is used up.
    RateLimited {
        /// Seconds to wait.
        seconds: u64,
        /// The present.
        now: Timestamp,
    },
    /// The server failed with this status.
    Server(u16),
}

/// A vendor's part of the simulator.
pub(super) trait VendorApi: Send + Sync {
    /// Sub-second digits that its timestamps may have.
    fn digits(&self) -> &'static [u8];

    /// Whether its records have ids.
    fn has_ids(&self) -> bool;

    /// Writes a record as compact JSON.
    fn record(&self, builder: &mut RecordBuilder, variants: &Variants) -> String;

    /// Checks the credentials.
    fn authenticate(&self, context: &RequestContext<'_>) -> Result<(), Reply>;

    /// Where the walk of this request is; `None` if it is no request for a page.
    fn scan_position(&self, context: &RequestContext<'_>) -> Option<ScanPosition>;

    /// Answers an authenticated request.
    fn answer(&self, context: &mut RequestContext<'_>) -> Reply;

    /// Refuses a request in the vendor's words.
    fn error_reply(&self, error: RequestError, request: &ApiRequest) -> Reply;
}

/// Adds what the answer says about the time to wait.
pub(super) fn with_retry_after(reply: Reply, form: RetryAfter, seconds: u64, now: Timestamp) -> Reply {
    match form {
        RetryAfter::None => reply,
        RetryAfter::Seconds => reply.with_header("retry-after", seconds.to_string()),
        RetryAfter::Date => {
            let at = now.ceil_to(std::time::Duration::from_secs(1)) + std::time::Duration::from_secs(seconds);
            let since_epoch = at.since(Timestamp::EPOCH);
            let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + since_epoch);
            reply.with_header("retry-after", date)
        }
    }
}
