//! HTTP as values: a request, a reply and what happens to it on the wire, and the log of requests.
//!
//! ```text
//! axum request --> ApiRequest --> mock vendor --> Reply --> WireReply: compressed, delayed, truncated --> axum response
//!                                      +--> RequestStats: counts and the latest requests, without headers
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::{StreamExt as _, stream};

use crate::time::Timestamp;

/// A request without its body (none of the APIs reads one).
#[derive(Clone, Debug)]
pub(super) struct ApiRequest {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
}

/// Query parameters, decoded, in the order of the address.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    pub(super) text: String,
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = url::form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        Self { text: text.to_owned(), pairs }
    }

    /// The value of a parameter; the last one if it is repeated.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter; `None` also if it is empty.
    pub(super) fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }
}

impl ApiRequest {
    /// A header as text; `None` if it is missing or not text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The address that the client used, for absolute links.
    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.header("host").unwrap_or("localhost"))
    }

    /// Whether the `Authorization` header is HTTP Basic with these credentials.
    pub(super) fn has_basic(&self, user: &str, password: &str) -> bool {
        use base64::Engine as _;
        let expected = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.header("authorization").and_then(|value| value.strip_prefix("Basic ")) == Some(expected.as_str())
    }

    /// Whether the client accepts gzip.
    pub(super) fn accepts_gzip(&self) -> bool {
        self.header("accept-encoding").is_some_and(|value| value.contains("gzip"))
    }
}

/// A reply as values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn json(status: u16, body: impl Into<String>) -> Self {
        Self::new(status, "application/json", body)
    }

    pub(super) fn html(status: u16, text: &str) -> Self {
        let body =
            format!("<!DOCTYPE html>\n<html><head><title>{text}</title></head><body><h1>{text}</h1></body></html>\n");
        Self::new(status, "text/html; charset=utf-8", body)
    }

    pub(super) fn new(status: u16, content_type: &str, body: impl Into<String>) -> Self {
        Self { status, headers: vec![("content-type".into(), content_type.into())], body: body.into() }
    }

    pub(super) fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// Where a body is truncated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Truncation {
    /// The announced length is right, but the connection ends after this share of it.
    Connection(f64),
    /// The body itself ends after this share of the text; its length is announced correctly.
    Text(f64),
}

/// Where a reply is delayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delay {
    /// Before the first byte.
    Headers(Duration),
    /// In the middle of the body.
    Body(Duration),
}

/// A reply and what happens to it on the wire.
#[derive(Clone, Debug)]
pub(super) struct WireReply {
    pub(super) reply: Reply,
    pub(super) compress: bool,
    pub(super) cut: Option<Truncation>,
    pub(super) delay: Option<Delay>,
}

impl WireReply {
    /// Applies delay, compression and truncation.
    pub(super) async fn into_response(self) -> Response {
        if let Some(Delay::Headers(wait)) = self.delay {
            tokio::time::sleep(wait).await;
        }
        let Reply { status, mut headers, body } = self.reply;
        let mut bytes = body.into_bytes();
        if self.compress {
            bytes = gzip(&bytes);
            headers.push(("content-encoding".into(), "gzip".into()));
        }
        let announced = match self.cut {
            Some(Truncation::Text(share)) => {
                bytes.truncate(truncated_length(bytes.len(), share));
                bytes.len()
            }
            _ => bytes.len(),
        };
        let ends_early = match self.cut {
            Some(Truncation::Connection(share)) => {
                bytes.truncate(truncated_length(bytes.len(), share));
                true
            }
            _ => false,
        };
        let delay = match self.delay {
            Some(Delay::Body(wait)) => Some(wait),
            _ => None,
        };
        let mut response = Response::new(wire_body(bytes, delay, ends_early));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in headers {
            let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else { continue };
            response.headers_mut().append(name, value);
        }
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(announced));
        response
    }
}

/// The length after truncation: at least one byte less than the whole.
fn truncated_length(length: usize, share: f64) -> usize {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a body's length; the exact length does not matter"
    )]
    let kept = (length as f64 * share) as usize;
    kept.min(length.saturating_sub(1))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing to memory cannot fail")
}

fn wire_body(bytes: Vec<u8>, delay: Option<Duration>, ends_early: bool) -> Body {
    let bytes = Bytes::from(bytes);
    if delay.is_none() && !ends_early {
        return Body::from(bytes);
    }
    let half = bytes.len() / 2;
    let first = stream::iter([Ok(bytes.slice(..half))]);
    let second = stream::once(async move {
        tokio::time::sleep(delay.unwrap_or_default()).await;
        Ok(bytes.slice(half..))
    });
    let end = stream::iter(ends_early.then(|| Err(std::io::Error::other("truncated by a fault"))));
    Body::from_stream(first.chain(second).chain(end))
}

/// How many of the latest requests are kept for each vendor.
const KEPT: usize = 1_000;

/// One request that was answered.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LoggedRequest {
    /// When.
    pub at: Timestamp,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query as it was sent.
    pub query: String,
    /// The status of the answer.
    pub status: u16,
}

/// A vendor's requests so far.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct RequestStats {
    /// The number of requests.
    pub requests: u64,
    /// The number of requests per status.
    pub by_status: BTreeMap<u16, u64>,
    /// How often each fault was applied to an answer.
    pub faults: BTreeMap<&'static str, u64>,
    /// The number of requests in flight.
    pub in_flight: u64,
    /// The highest number of requests in flight so far.
    pub max_concurrent: u64,
    /// The query of the latest request.
    pub last_query: Option<String>,
    /// The latest requests (at most 1,000), oldest first.
    #[serde(skip)]
    pub recent: VecDeque<LoggedRequest>,
}

impl RequestStats {
    pub(super) fn enter(&mut self) {
        self.in_flight += 1;
        self.max_concurrent = self.max_concurrent.max(self.in_flight);
    }

    pub(super) fn leave(&mut self) {
        self.in_flight -= 1;
    }

    pub(super) fn record(&mut self, request: &ApiRequest, status: u16, at: Timestamp) {
        self.requests += 1;
        *self.by_status.entry(status).or_default() += 1;
        self.last_query = Some(request.query.text.clone());
        if self.recent.len() == KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(LoggedRequest {
            at,
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.text.clone(),
            status,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_delay_applies_to_the_headers_or_the_second_half_of_the_body() {
        let hour = Duration::from_secs(3_600);
        let delivery =
            |delay| WireReply { reply: Reply::json(200, "{}"), compress: false, cut: None, delay: Some(delay) };
        let start = tokio::time::Instant::now();
        delivery(Delay::Headers(hour)).into_response().await;
        assert_eq!(start.elapsed().as_secs(), 3_600);
        let start = tokio::time::Instant::now();
        let mut body = delivery(Delay::Body(hour)).into_response().await.into_body().into_data_stream();
        assert_eq!(start.elapsed().as_secs(), 0);
        let first = body.next().await.expect("the first half").expect("bytes");
        assert_eq!((start.elapsed().as_secs(), &first[..]), (0, &b"{"[..]));
        let second = body.next().await.expect("the second half").expect("bytes");
        assert_eq!((start.elapsed().as_secs(), &second[..]), (3_600, &b"}"[..]));
    }

    #[test]
    fn a_truncated_body_is_always_shorter() {
        for (length, share) in [(10, 0.0), (10, 0.5), (10, 1.0), (1, 1.0), (0, 0.5)] {
            assert!(truncated_length(length, share) < length.max(1), "{length} {share}");
        }
    }
}
