//! The transport over HTTP.
//!
//! ```text
//! Request (path, query, headers) --+
//! base URL of the source ----------+--> URL inside the configured origin --> TLS --> status, wait, body as text
//! Secret -- revealed here only ----+        (anything else is not sent)              (bounded while it is read)
//! ```

mod clients;

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use url::{Host, Url};

use super::retry;
use super::transport::{Limits, Response, Transport, TransportError};
use crate::clock::SharedClock;
use crate::vendors::{Auth, Request};

pub use clients::HttpClients;

/// Of an unsuccessful answer only this much is read.
const MAX_FAULT_BODY: u64 = 8 << 10;
/// Memory that is set aside for a body because the answer announces it, at most, in bytes.
const MAX_RESERVED_BODY: u64 = 4 << 20;

/// Speaks HTTP with one origin. Redirects are not followed, and plain HTTP is spoken with this machine only.
#[derive(Debug)]
pub struct HttpTransport {
    client: reqwest::Client,
    base: Url,
    clock: SharedClock,
}

/// Why a source's address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadAddress {
    /// It is no URL.
    #[error("`{url}` is not a URL: {reason}; write one such as https://api.example.com")]
    NotAUrl {
        /// What was written.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Credentials would travel in the clear.
    #[error("`{0}` would send the credentials unencrypted; use https (http is for this machine only)")]
    NotEncrypted(String),
    /// TLS or the resolver cannot be set up.
    #[error("cannot set up HTTP: {0}; check the certificates and proxy settings of this machine")]
    NoClient(String),
}

impl HttpTransport {
    /// A transport to the vendor at `base_url` (no trailing slash) with a client of its own. The clock is what HTTP dates are
    /// compared with.
    ///
    /// # Errors
    /// If the address is no URL or not encrypted, or if TLS cannot be set up.
    #[cfg(any(test, feature = "internals"))]
    pub fn new(base_url: &str, clock: SharedClock) -> Result<Self, BadAddress> {
        Self::sharing(&HttpClients::default(), base_url, clock)
    }

    /// The same, with one of the clients of a run.
    ///
    /// # Errors
    /// As [`HttpTransport::new`].
    pub fn sharing(clients: &HttpClients, base_url: &str, clock: SharedClock) -> Result<Self, BadAddress> {
        let base = Url::parse(base_url)
            .map_err(|error| BadAddress::NotAUrl { url: base_url.to_owned(), reason: error.to_string() })?;
        let loopback = is_loopback(&base);
        if base.scheme() != "https" && !(base.scheme() == "http" && loopback) {
            return Err(BadAddress::NotEncrypted(base_url.to_owned()));
        }
        let client = clients.get(loopback)?;
        Ok(Self { client, base, clock })
    }

    fn url(&self, request: &Request) -> Result<Url, TransportError> {
        url_below(&self.base, request)
    }

    async fn exchange(&self, request: &Request, limits: Limits) -> Result<Response, TransportError> {
        let mut call = self.client.get(self.url(request)?).timeout(limits.timeout);
        for (name, value) in &request.headers {
            call = call.header(*name, value);
        }
        for (name, secret) in &request.secret_headers {
            call = call.header(*name, sensitive(&secret.reveal()?)?);
        }
        call = authenticate(call, &request.auth)?;
        let mut answer = call.send().await.map_err(|error| fault_of(error, limits))?;
        let status = answer.status().as_u16();
        let retry_after = retry::asked_wait(|name| text_header(answer.headers(), name), self.clock.now());
        let body = if answer.status().is_success() {
            read_whole(&mut answer, limits).await?
        } else {
            without_secrets(read_beginning(&mut answer).await, request)?
        };
        Ok(Response { status, retry_after, body })
    }
}

/// The URL of a request; only ever below the base URL.
pub(super) fn url_below(base: &Url, request: &Request) -> Result<Url, TransportError> {
    let text = format!("{}{}", base.as_str().trim_end_matches('/'), request.path);
    let mut url =
        Url::parse(&text).map_err(|error| TransportError::NotSent(format!("its address is no URL: {error}")))?;
    let inside = request.path.starts_with('/')
        && url.origin() == base.origin()
        && url.username() == base.username()
        && url.path().starts_with(base.path().trim_end_matches('/'));
    if !inside {
        return Err(TransportError::NotSent("its address lies outside the configured one".to_owned()));
    }
    if !request.query.is_empty() {
        url.query_pairs_mut().extend_pairs(&request.query);
    }
    Ok(url)
}

impl Transport for HttpTransport {
    fn send<'a>(&'a self, request: &'a Request, limits: Limits) -> BoxFuture<'a, Result<Response, TransportError>> {
        self.exchange(request, limits).boxed()
    }
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

fn authenticate(call: reqwest::RequestBuilder, auth: &Auth) -> Result<reqwest::RequestBuilder, TransportError> {
    let value = match auth {
        Auth::Basic { user, password } => return Ok(call.basic_auth(user, Some(password.reveal()?))),
        Auth::Bearer(secret) => format!("Bearer {}", secret.reveal()?),
        Auth::Scheme(scheme, secret) => format!("{scheme} {}", secret.reveal()?),
    };
    Ok(call.header(AUTHORIZATION, sensitive(&value)?))
}

fn sensitive(value: &str) -> Result<HeaderValue, TransportError> {
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| TransportError::NotSent("the secret has characters that no HTTP header can hold".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The body of a refusal goes into messages, and some APIs repeat there what they were sent.
fn without_secrets(mut body: String, request: &Request) -> Result<String, TransportError> {
    let mut secrets = Vec::new();
    match &request.auth {
        Auth::Bearer(secret) | Auth::Scheme(_, secret) => secrets.push(secret.reveal()?),
        Auth::Basic { user, password } => {
            let password = password.reveal()?;
            secrets.push(BASE64.encode(format!("{user}:{password}")));
            secrets.push(password);
        }
    }
    for (_, secret) in &request.secret_headers {
        secrets.push(secret.reveal()?);
    }
    for secret in secrets {
        body = body.replace(&secret, "***");
    }
    Ok(body)
}

async fn read_whole(answer: &mut reqwest::Response, limits: Limits) -> Result<String, TransportError> {
    let announced = answer.content_length().unwrap_or(0).min(limits.max_body_bytes).min(MAX_RESERVED_BODY);
    let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
    while let Some(chunk) = answer.chunk().await.map_err(|error| fault_of(error, limits))? {
        if (body.len() + chunk.len()) as u64 > limits.max_body_bytes {
            return Err(TransportError::TooLarge(limits.max_body_bytes));
        }
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body).map_err(|_| TransportError::NotText)
}

/// The status says enough: a body that breaks off, or that is no text, is taken as far as it goes.
async fn read_beginning(answer: &mut reqwest::Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() as u64 >= MAX_FAULT_BODY {
            break;
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

fn fault_of(error: reqwest::Error, limits: Limits) -> TransportError {
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

/// An error with its causes on one line: the outermost alone mostly says nothing.
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
