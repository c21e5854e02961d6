//! An answer, and its way onto the wire: compressed, late, or cut off if a fault says so.

use std::io::Write as _;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::{StreamExt as _, stream};

/// An answer as values.
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

/// Where a body is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cut {
    /// The announced length is right, but the connection ends after this share of it.
    Connection(f64),
    /// The body itself ends after this share of the text; its length is announced correctly.
    Text(f64),
}

/// Where an answer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// Before its first byte.
    Headers(Duration),
    /// In the middle of its body.
    Body(Duration),
}

/// An answer together with what goes wrong on its way.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) reply: Reply,
    pub(super) compress: bool,
    pub(super) cut: Option<Cut>,
    pub(super) pause: Option<Pause>,
}

impl Delivery {
    /// Waits if it must, and makes the answer for the wire.
    pub(super) async fn into_response(self) -> Response {
        if let Some(Pause::Headers(wait)) = self.pause {
            tokio::time::sleep(wait).await;
        }
        let Reply { status, mut headers, body } = self.reply;
        let mut bytes = body.into_bytes();
        if self.compress {
            bytes = gzip(&bytes);
            headers.push(("content-encoding".into(), "gzip".into()));
        }
        let announced = match self.cut {
            Some(Cut::Text(share)) => {
                bytes.truncate(cut_length(bytes.len(), share));
                bytes.len()
            }
            _ => bytes.len(),
        };
        let ends_early = match self.cut {
            Some(Cut::Connection(share)) => {
                bytes.truncate(cut_length(bytes.len(), share));
                true
            }
            _ => false,
        };
        let pause = match self.pause {
            Some(Pause::Body(wait)) => Some(wait),
            _ => None,
        };
        let mut response = Response::new(wire_body(bytes, pause, ends_early));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in headers {
            let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else { continue };
            response.headers_mut().append(name, value);
        }
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(announced));
        response
    }
}

/// The length after a cut: at least one byte less than the whole.
fn cut_length(length: usize, share: f64) -> usize {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a body's length; where exactly it is cut does not matter"
    )]
    let kept = (length as f64 * share) as usize;
    kept.min(length.saturating_sub(1))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing to memory cannot fail")
}

fn wire_body(bytes: Vec<u8>, pause: Option<Duration>, ends_early: bool) -> Body {
    let bytes = Bytes::from(bytes);
    if pause.is_none() && !ends_early {
        return Body::from(bytes);
    }
    let half = bytes.len() / 2;
    let first = stream::iter([Ok(bytes.slice(..half))]);
    let second = stream::once(async move {
        tokio::time::sleep(pause.unwrap_or_default()).await;
        Ok(bytes.slice(half..))
    });
    let end = stream::iter(ends_early.then(|| Err(std::io::Error::other("cut off on purpose"))));
    Body::from_stream(first.chain(second).chain(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_up_the_headers_or_the_second_half_of_the_body() {
        let hour = Duration::from_secs(3_600);
        let delivery =
            |pause| Delivery { reply: Reply::json(200, "{}"), compress: false, cut: None, pause: Some(pause) };
        let start = tokio::time::Instant::now();
        delivery(Pause::Headers(hour)).into_response().await;
        assert_eq!(start.elapsed().as_secs(), 3_600);
        let start = tokio::time::Instant::now();
        let mut body = delivery(Pause::Body(hour)).into_response().await.into_body().into_data_stream();
        assert_eq!(start.elapsed().as_secs(), 0);
        let first = body.next().await.expect("the first half").expect("bytes");
        assert_eq!((start.elapsed().as_secs(), &first[..]), (0, &b"{"[..]));
        let second = body.next().await.expect("the second half").expect("bytes");
        assert_eq!((start.elapsed().as_secs(), &second[..]), (3_600, &b"}"[..]));
    }

    #[test]
    fn a_cut_body_always_lacks_something() {
        for (length, share) in [(10, 0.0), (10, 0.5), (10, 1.0), (1, 1.0), (0, 0.5)] {
            assert!(cut_length(length, share) < length.max(1), "{length} {share}");
        }
    }
}
