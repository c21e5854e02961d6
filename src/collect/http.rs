//! The transport over HTTP, and the clients that all transports of a run share.
//!
//! ```text
//! Request (path, query, headers) --+
//! base URL of the source ----------+--> URL below the configured base --> TLS --> status, wait, date, body
//! Secret, revealed only here ------+        (anything else is not sent)           (bounded while it is read)
//! ```

use std::io::Read as _;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::header::{HeaderMap, HeaderValue};
use url::{Host, Url};

use super::bad_address::BadAddress;
use super::tls::{self, TlsOptions};
use super::transport::{Response, ResponseLimits, Transport, TransportError};
use crate::clock::SharedClock;
use crate::secret::{SecretMask, SentSecrets};
use crate::time::Timestamp;
use crate::vendors::{Auth, Request};

/// Only this much of an unsuccessful response is read, in bytes.
const MAX_ERROR_BODY: u64 = 8 << 10;
/// At most this much memory is reserved for an announced body, in bytes.
const MAX_RESERVED_BODY: u64 = 4 << 20;
/// How a body that is packed with gzip begins. No text does.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections per host that stay open while idle.
const IDLE_CONNECTIONS: usize = 16;

/// Sends requests to one origin. Does not follow redirects, and uses plain HTTP with this machine only.
#[derive(Debug)]
pub struct HttpTransport {
    client: reqwest::Client,
    base: Url,
    clock: SharedClock,
    sent: SentSecrets,
}

impl HttpTransport {
    /// A transport to the vendor at `base_url` (no trailing slash) with its own client. HTTP dates are compared with the
    /// clock.
    ///
    /// # Errors
    /// The text is not a URL or not encrypted, or TLS cannot be set up.
    #[cfg(any(test, feature = "internals"))]
    pub fn new(base_url: &str, clock: SharedClock) -> Result<Self, BadAddress> {
        Self::sharing(&HttpClients::default(), base_url, &TlsOptions::default(), clock)
    }

    /// The same, with a client shared within the run.
    ///
    /// # Errors
    /// As [`HttpTransport::new`].
    pub fn sharing(
        clients: &HttpClients,
        base_url: &str,
        tls: &TlsOptions,
        clock: SharedClock,
    ) -> Result<Self, BadAddress> {
        let base = Url::parse(base_url)
            .map_err(|error| BadAddress::NotAUrl { url: base_url.to_owned(), reason: error.to_string() })?;
        let loopback = is_loopback(&base);
        if base.scheme() != "https" && !(base.scheme() == "http" && loopback) {
            return Err(BadAddress::NotEncrypted(base_url.to_owned()));
        }
        let client = clients.get(loopback, tls)?;
        Ok(Self { client, base, clock, sent: SentSecrets::default() })
    }

    /// Why there is no response; names the address if there was no connection.
    fn send_error(&self, error: reqwest::Error, limits: ResponseLimits) -> TransportError {
        let is_connect_timeout = error.is_connect() && error.is_timeout();
        let reason = match transport_error(error, limits) {
            TransportError::Unreachable(reason) => reason,
            TransportError::Timeout(_) if is_connect_timeout => format!("no connection within {CONNECT_TIMEOUT:?}"),
            other => return other,
        };
        let (scheme, host) = (self.base.scheme(), self.base.host_str().unwrap_or_default());
        if let Some(hint) = tls::hint(&reason) {
            return TransportError::Tls { host: host.to_owned(), reason, hint };
        }
        let port = self.base.port_or_known_default().unwrap_or_default();
        TransportError::Unreachable(format!("{scheme}://{host}:{port}: {reason}"))
    }

    async fn exchange(&self, request: &Request, limits: ResponseLimits) -> Result<Response, TransportError> {
        let url = url_below(&self.base, request)?;
        let credentials = Credentials::of(request)?;
        let mask = self.sent.add(&credentials.values);
        let mut call = self.client.get(url).timeout(limits.timeout);
        for (name, value) in &request.headers {
            call = call.header(*name, value);
        }
        for (name, value) in credentials.headers {
            call = call.header(name, value);
        }
        let mut response = call.send().await.map_err(|error| self.send_error(error, limits))?;
        let mut answer = about(response.status().as_u16(), response.headers(), self.clock.now());
        answer.body = if response.status().is_success() {
            let body = read_whole(&mut response, limits).await?;
            if body.starts_with(&GZIP_MAGIC) { unpack(&body, limits)? } else { body }
        } else {
            mask.mask(&read_beginning(&mut response).await).into_bytes()
        };
        answer.mask = mask;
        Ok(answer)
    }
}

/// The credentials of one request, read once: what is masked in the answer is what was sent.
struct Credentials {
    headers: Vec<(&'static str, HeaderValue)>,
    /// Each secret, and what was made of it.
    values: Vec<String>,
}

impl Credentials {
    fn of(request: &Request) -> Result<Self, TransportError> {
        let mut values = Vec::new();
        let authorization = match &request.auth {
            Auth::Bearer(secret) => format!("Bearer {}", kept(&mut values, secret.reveal()?)),
            Auth::Scheme(scheme, secret) => format!("{scheme} {}", kept(&mut values, secret.reveal()?)),
            Auth::Basic { user, password } => {
                let password = kept(&mut values, password.reveal()?);
                format!("Basic {}", kept(&mut values, BASE64.encode(format!("{user}:{password}"))))
            }
        };
        let mut headers = vec![("authorization", sensitive(&authorization)?)];
        for (name, secret) in &request.secret_headers {
            headers.push((name, sensitive(&kept(&mut values, secret.reveal()?))?));
        }
        Ok(Self { headers, values })
    }
}

fn kept(values: &mut Vec<String>, value: String) -> String {
    values.push(value.clone());
    value
}

/// The HTTP clients that all transports of a run share. Each is created when it is first needed.
///
/// A client holds the certificates that it trusts, a third of a megabyte, and open connections, which two sources of one
/// vendor then share.
#[derive(Debug, Default)]
pub struct HttpClients {
    /// Each with what it is for: addresses on this machine (never through a proxy) or others, and the TLS settings.
    clients: Mutex<Vec<((bool, TlsOptions), reqwest::Client)>>,
}

impl HttpClients {
    /// The client for addresses on this machine, or for all others. Fails if TLS or the resolver cannot be set up.
    fn get(&self, loopback: bool, tls: &TlsOptions) -> Result<reqwest::Client, BadAddress> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (loopback, tls.clone());
        if let Some((_, client)) = clients.iter().find(|(present, _)| *present == key) {
            return Ok(client.clone());
        }
        let client = new_client(loopback, tls)?;
        clients.push((key, client.clone()));
        Ok(client)
    }
}

/// The variables that name proxies. A client ignores one that it cannot parse, and then goes around the proxy.
const PROXIES: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// Fails if a variable names a proxy that the client cannot use.
fn check_proxies(value_of: impl Fn(&str) -> Option<String>) -> Result<(), BadAddress> {
    for variable in PROXIES {
        let Some(value) = value_of(variable).filter(|value| !value.trim().is_empty()) else { continue };
        let reason = match reqwest::Proxy::all(value.trim()) {
            Ok(_) => continue,
            Err(error) => chain(&error.without_url()),
        };
        return Err(BadAddress::BadProxy { variable, reason });
    }
    Ok(())
}

fn new_client(loopback: bool, tls: &TlsOptions) -> Result<reqwest::Client, BadAddress> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("auditflow/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .gzip(true);
    if loopback {
        builder = builder.no_proxy();
    } else {
        check_proxies(|variable| std::env::var(variable).ok())?;
    }
    tls.apply(builder)?.build().map_err(|error| BadAddress::NoClient(chain(&error)))
}

/// The URL of a request; always below the base URL.
pub(super) fn url_below(base: &Url, request: &Request) -> Result<Url, TransportError> {
    let text = format!("{}{}", base.as_str().trim_end_matches('/'), request.path);
    let mut url =
        Url::parse(&text).map_err(|error| TransportError::NotSent(format!("its address is not a URL: {error}")))?;
    let inside = request.path.starts_with('/')
        && url.origin() == base.origin()
        && url.username() == base.username()
        && url.path().starts_with(base.path().trim_end_matches('/'));
    if !inside {
        return Err(TransportError::NotSent("its address lies outside the configured base URL".to_owned()));
    }
    if !request.query.is_empty() {
        url.query_pairs_mut().extend_pairs(&request.query);
    }
    Ok(url)
}

impl Transport for HttpTransport {
    fn send<'a>(
        &'a self,
        request: &'a Request,
        limits: ResponseLimits,
    ) -> BoxFuture<'a, Result<Response, TransportError>> {
        self.exchange(request, limits).boxed()
    }
}

/// What a response says besides its body.
fn about(status: u16, headers: &HeaderMap, now: Timestamp) -> Response {
    let header = |name: &str| text_header(headers, name);
    let is_exhausted = header("x-ratelimit-remaining").is_some_and(|remaining| remaining.trim() == "0");
    let asks_to_wait = headers.contains_key("retry-after") || headers.contains_key("retry-after-ms");
    Response {
        status,
        retry_after: requested_wait(header, now),
        is_rate_limited: is_exhausted || asks_to_wait,
        date: header("date").and_then(|text| http_date(text.trim())),
        is_cached: headers.contains_key("age"),
        body: Vec::new(),
        mask: SecretMask::default(),
    }
}

/// How long the vendor asks the client to wait, from the headers of its response: `retry-after-ms`, `Retry-After` (seconds or an
/// HTTP date) or `X-RateLimit-Reset` (a time such as `2026-03-02T09:14Z`, as Atlassian documents it, or a number).
fn requested_wait<'h>(header: impl Fn(&str) -> Option<&'h str>, now: Timestamp) -> Option<Duration> {
    let millis = header("retry-after-ms").and_then(|text| text.trim().parse().ok()).map(Duration::from_millis);
    let after = || header("retry-after").and_then(|text| seconds_or_date(text.trim(), now));
    let reset = || header("x-ratelimit-reset").and_then(|text| until_time(text.trim(), now));
    millis.or_else(after).or_else(reset)
}

fn seconds_or_date(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    http_date(text).map(|at| at.since(now))
}

fn http_date(text: &str) -> Option<Timestamp> {
    let date = httpdate::parse_http_date(text).ok()?;
    let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::EPOCH + since_epoch)
}

/// A time as text or in seconds since 1970, or the number of seconds until then.
fn until_time(text: &str, now: Timestamp) -> Option<Duration> {
    /// Nobody asks for a wait of more than ten years.
    const LONGEST_SECS: i64 = 315_360_000;
    if let Ok(secs) = text.parse::<i64>() {
        let wait = if secs > LONGEST_SECS {
            Timestamp::from_secs(secs).since(now)
        } else {
            Duration::from_secs(secs.try_into().ok()?)
        };
        return Some(wait);
    }
    let with_seconds = || Timestamp::parse_rfc3339(&format!("{}:00Z", text.strip_suffix('Z')?));
    Timestamp::parse_rfc3339(text).or_else(with_seconds).map(|at| at.since(now))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

fn text_header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn sensitive(value: &str) -> Result<HeaderValue, TransportError> {
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| TransportError::NotSent("the secret has characters that an HTTP header cannot hold".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

async fn read_whole(response: &mut reqwest::Response, limits: ResponseLimits) -> Result<Vec<u8>, TransportError> {
    let announced = response.content_length().unwrap_or(0).min(limits.max_body_bytes).min(MAX_RESERVED_BODY);
    let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
    while let Some(chunk) = response.chunk().await.map_err(|error| transport_error(error, limits))? {
        if (body.len() + chunk.len()) as u64 > limits.max_body_bytes {
            return Err(TransportError::TooLarge(limits.max_body_bytes));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Unpacks a body that is still packed. The client unpacks the coding `gzip` in lower case only; servers also write `GZIP`,
/// `x-gzip` or nothing.
fn unpack(packed: &[u8], limits: ResponseLimits) -> Result<Vec<u8>, TransportError> {
    let mut body = Vec::new();
    let decoder = flate2::read::MultiGzDecoder::new(packed);
    let mut bounded = decoder.take(limits.max_body_bytes.saturating_add(1));
    bounded.read_to_end(&mut body).map_err(|error| TransportError::Broken(chain(&error)))?;
    if body.len() as u64 > limits.max_body_bytes {
        return Err(TransportError::TooLarge(limits.max_body_bytes));
    }
    Ok(body)
}

/// The status says enough: a body that breaks off, or that is not text, is kept as far as it was read.
async fn read_beginning(response: &mut reqwest::Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() as u64 >= MAX_ERROR_BODY {
            break;
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

fn transport_error(error: reqwest::Error, limits: ResponseLimits) -> TransportError {
    let error = error.without_url();
    if error.is_timeout() {
        return TransportError::Timeout(limits.timeout);
    }
    if error.is_builder() {
        return TransportError::NotSent("its headers or address are malformed".to_owned());
    }
    if error.is_body() || error.is_decode() {
        return TransportError::Broken(chain(&error));
    }
    TransportError::Unreachable(chain(&error))
}

/// An error with its causes on one line: the outermost alone rarely says enough.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        line.push_str(": ");
        line.push_str(&inner.to_string());
        cause = inner.source();
    }
    line
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
