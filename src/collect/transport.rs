//! The way to a vendor and back, as a contract: one request out, one answer in. [`super::http`] does it over HTTP; tests
//! play the vendor in memory.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::secret::SecretError;
use crate::vendors::{ApiError, ApiErrorKind, Request};

/// What an answer may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time from the first byte out to the last byte in.
    pub timeout: Duration,
    /// The longest body that is accepted, in bytes after decompression.
    pub max_body_bytes: u64,
}

/// An answer, successful or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// How long the vendor asks us to wait, if it says so.
    pub retry_after: Option<Duration>,
    /// The body; of an unsuccessful answer at most its first kilobytes.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Nothing complete came within the time limit.
    #[error("no complete answer within {0:?}")]
    Timeout(Duration),
    /// No connection: name, network, TLS.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke in the middle of the answer, or its compression is damaged.
    #[error("the answer broke off: {0}")]
    Broken(String),
    /// The body is longer than allowed.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(u64),
    /// The body is no UTF-8 text.
    #[error("the answer is not text")]
    NotText,
    /// The secret could not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The request was not sent, because sending it would be wrong.
    #[error("the request was not sent: {0}")]
    NotSent(String),
}

impl TransportError {
    /// What the collector does about it.
    #[must_use]
    pub fn explained(&self, vendor: &str) -> ApiError {
        let (kind, hint) = match self {
            Self::Timeout(_) | Self::Broken(_) => (ApiErrorKind::Transient, ""),
            Self::Unreachable(_) => (
                ApiErrorKind::Transient,
                "check base_url, site or region of this source, and this machine's network, proxy and DNS",
            ),
            Self::NotText => (
                ApiErrorKind::Transient,
                "if it stays, check base_url, and whether a proxy or firewall in between alters the answers",
            ),
            Self::TooLarge(_) => {
                (ApiErrorKind::PageTooLarge, "raise max_body_bytes of this source if smaller pages do not help")
            }
            Self::Secret(_) => (ApiErrorKind::Permanent, "mend the secret; auditflow reads it again by itself"),
            Self::NotSent(_) => (ApiErrorKind::Permanent, "check base_url and the credentials of this source"),
        };
        ApiError { kind, message: format!("{vendor}: {self}"), hint: hint.to_owned() }
    }

    /// Whether a smaller page might have come through.
    #[must_use]
    pub fn may_be_size(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }
}

/// Sends requests to the one vendor that it was made for.
pub trait Transport: Send + Sync {
    /// Sends a request and reads the whole answer. Never retries and never follows a redirect.
    fn send<'a>(&'a self, request: &'a Request, limits: Limits) -> BoxFuture<'a, Result<Response, TransportError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waiting_may_not_mend_says_what_to_check() {
        for (fault, says) in [
            (TransportError::Unreachable("dns error".to_owned()), "DNS"),
            (TransportError::NotText, "base_url"),
            (TransportError::TooLarge(9), "max_body_bytes"),
            (TransportError::NotSent("plain text".to_owned()), "base_url"),
        ] {
            let explained = fault.explained("merge");
            assert!(explained.hint.contains(says), "{explained:?}");
        }
    }
}
