//! The contract of a transport: one request out, one response in. [`super::http`] implements it over HTTP; tests implement
//! it in memory.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::secret::{SecretError, SecretMask};
use crate::time::Timestamp;
use crate::vendors::{ApiError, ApiErrorKind, Request, Vendor};

/// What a response may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseLimits {
    /// Time from the first byte sent to the last byte received.
    pub timeout: Duration,
    /// The longest accepted body, in bytes after decompression.
    pub max_body_bytes: u64,
}

/// A response, successful or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// How long the vendor asks the client to wait, if it does.
    pub retry_after: Option<Duration>,
    /// Whether its headers say that there were too many requests: `Retry-After`, or `X-RateLimit-Remaining: 0`.
    pub is_rate_limited: bool,
    /// The vendor's clock, from the header `Date`.
    pub date: Option<Timestamp>,
    /// Whether it was stored in between (header `Age`): then `date` may be long ago.
    pub is_cached: bool,
    /// The body, which may be any bytes; of an unsuccessful response at most the first kilobytes, without secrets.
    pub body: Vec<u8>,
    /// The secrets of the request: no text of a successful body enters a message or the journal before it is masked.
    pub mask: SecretMask,
}

impl Response {
    /// What an unsuccessful response to one of `vendor`'s requests means. Some vendors refuse with 403, 420 or 503 when
    /// there were too many requests, and say how long to wait.
    #[must_use]
    pub fn classify_error(&self, vendor: &dyn Vendor, has_cursor: bool) -> ApiError {
        let body = String::from_utf8_lossy(&self.body);
        let mut error = vendor.classify_error(self.status, &body, has_cursor);
        if self.is_rate_limited && matches!(self.status, 403 | 420 | 503) {
            error.kind = ApiErrorKind::RateLimited;
            error.hint.clear();
        }
        error
    }
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No complete response within the time limit.
    #[error("no complete response within {0:?}")]
    Timeout(Duration),
    /// No connection: name, network, TLS.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The TLS handshake failed.
    #[error("the TLS handshake with {host} failed: {reason}")]
    Tls {
        /// The host of the URL.
        host: String,
        /// What the library says.
        reason: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// The connection broke in the middle of the response, or its compression is damaged.
    #[error("the response broke off: {0}")]
    Broken(String),
    /// The body is longer than allowed.
    #[error("the response is longer than {0} bytes")]
    TooLarge(u64),
    /// The secret could not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The request was not sent, because sending it would be wrong.
    #[error("the request was not sent: {0}")]
    NotSent(String),
}

impl TransportError {
    /// The same as an API error of `vendor`, which decides what the source loop does.
    #[must_use]
    pub fn to_api_error(&self, vendor: &str) -> ApiError {
        let (kind, hint) = match self {
            Self::Timeout(_) | Self::Broken(_) => (ApiErrorKind::Transient, ""),
            Self::Unreachable(_) => (
                ApiErrorKind::Transient,
                "check base_url, site or region of this source, and this machine's network, proxy and DNS",
            ),
            Self::Tls { hint, .. } => (ApiErrorKind::Transient, *hint),
            Self::TooLarge(_) => {
                (ApiErrorKind::PageTooLarge, "raise max_body_bytes of this source if smaller pages do not help")
            }
            Self::Secret(_) => (ApiErrorKind::Permanent, "fix the secret; the next request reads it again"),
            Self::NotSent(_) => (ApiErrorKind::Permanent, "check base_url and the credentials of this source"),
        };
        ApiError { kind, message: format!("{vendor}: {self}"), hint: hint.to_owned() }
    }

    /// Whether a smaller page might have succeeded.
    #[must_use]
    pub fn may_be_size(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }
}

/// Sends requests to the one vendor that it was made for.
pub trait Transport: Send + Sync {
    /// Sends a request and reads the whole response. Never retries and never follows a redirect.
    fn send<'a>(
        &'a self,
        request: &'a Request,
        limits: ResponseLimits,
    ) -> BoxFuture<'a, Result<Response, TransportError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_waiting_may_not_fix_say_what_to_check() {
        for (error, says) in [
            (TransportError::Unreachable("dns error".to_owned()), "DNS"),
            (TransportError::TooLarge(9), "max_body_bytes"),
            (TransportError::NotSent("plain text".to_owned()), "base_url"),
        ] {
            let api_error = error.to_api_error("merge");
            assert!(api_error.hint.contains(says), "{api_error:?}");
        }
    }
}
