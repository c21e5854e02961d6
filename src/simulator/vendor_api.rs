//! What the simulator needs of each vendor's API: its authentication, its pages, its error replies and its records. Also
//! the error replies of Django REST Framework, which two of the vendors are built on.

use super::http::{ApiRequest, Reply};
use super::options::Credentials;
use super::record_builder::{RecordBuilder, quoted};
use super::store::{Store, Window};
use super::variants::{Order, RetryAfter, Variants};
use crate::time::Timestamp;

/// One request and what its answer depends on.
pub(super) struct RequestContext<'a> {
    pub(super) request: &'a ApiRequest,
    pub(super) store: &'a mut Store,
    pub(super) variants: &'a Variants,
    pub(super) credentials: &'a Credentials,
    pub(super) now: Timestamp,
    /// Whether the answer names the current page as the next one (a fault).
    pub(super) repeat_token: bool,
}

/// The position of a scan, as far as its request shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScanPosition {
    /// The time range of the scan.
    pub(super) window: Window,
    /// Whether this is not the first page.
    pub(super) later_page: bool,
    /// The order and the index (in that order) of the first record after this page, if rows shift and a record may be
    /// inserted among the unread ones.
    pub(super) unread: Option<(Order, usize)>,
}

/// Why a request fails; each vendor has its own reply for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestError {
    /// Wrong or expired credentials.
    Unauthorized,
    /// The credentials may not do this.
    Forbidden,
    /// An invalid page cursor.
    InvalidCursor,
    /// The rate limit is exceeded.
    RateLimited {
        /// Seconds to wait.
        seconds: u64,
        /// The present.
        now: Timestamp,
    },
    /// The server failed with this status.
    Server(u16),
}

/// A vendor's API in the simulator.
pub(super) trait VendorApi: Send + Sync {
    /// The numbers of sub-second digits that its timestamps may have.
    fn digits(&self) -> &'static [u8];

    /// Whether its records have ids.
    fn has_ids(&self) -> bool;

    /// Writes a record as compact JSON.
    fn record(&self, builder: &mut RecordBuilder, variants: &Variants) -> String;

    /// Checks the credentials.
    fn authenticate(&self, context: &RequestContext<'_>) -> Result<(), Reply>;

    /// The position of the scan that this request belongs to; `None` if it does not request a page.
    fn scan_position(&self, context: &RequestContext<'_>) -> Option<ScanPosition>;

    /// Answers an authenticated request.
    fn answer(&self, context: &mut RequestContext<'_>) -> Reply;

    /// The vendor's reply to a failed request.
    fn error_reply(&self, error: RequestError, request: &ApiRequest) -> Reply;
}

/// Adds the header `Retry-After`.
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

/// An error reply of Django REST Framework.
pub(super) fn drf_error(status: u16, detail: &str) -> Reply {
    Reply::json(status, format!(r#"{{"detail":{}}}"#, quoted(detail)))
}

/// Django REST Framework's reply to a failed request.
pub(super) fn drf_request_error(error: RequestError) -> Reply {
    match error {
        RequestError::Unauthorized => drf_error(401, "Invalid token."),
        RequestError::Forbidden => drf_error(403, "You do not have permission to perform this action."),
        RequestError::InvalidCursor => drf_error(404, "Invalid cursor"),
        RequestError::RateLimited { seconds, .. } => {
            drf_error(429, &format!("Request was throttled. Expected available in {seconds} seconds."))
        }
        RequestError::Server(status) => drf_error(status, "A server error occurred."),
    }
}

/// Django REST Framework's reply to methods other than GET.
pub(super) fn drf_method_not_allowed(method: &str) -> Reply {
    drf_error(405, &format!("Method \"{method}\" not allowed."))
}
