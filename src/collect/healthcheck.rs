//! One request to see whether a source can be reached with its credentials, and requests as they may be shown.

use std::time::Duration;

use serde::Serialize;
use url::Url;

use super::http::url_below;
use super::options::SourceSettings;
use super::transport::{ResponseLimits, Transport};
use crate::time::{TimeRange, Timestamp};
use crate::vendors::damaged::read_page;
use crate::vendors::{ApiError, ApiErrorKind, Auth, PageRequest, Vendor};

/// How much of the recent past is requested.
const LOOKBACK: Duration = Duration::from_secs(3_600);
/// Replaces a credential.
const REDACTED: &str = "***";

/// Requests one page from the vendor and keeps nothing of it. A rate limit error counts as success: the credentials work.
///
/// # Errors
/// The vendor rejects the request, or cannot be reached.
pub async fn healthcheck(
    vendor: &dyn Vendor,
    settings: &SourceSettings,
    transport: &dyn Transport,
    now: Timestamp,
) -> Result<(), ApiError> {
    let spec = &settings.spec;
    let range = TimeRange { from: now - LOOKBACK, to: now };
    let page = PageRequest { range, cursor: None, page_size: spec.page_size };
    let limits = ResponseLimits { timeout: spec.timeout, max_body_bytes: settings.max_body_bytes };
    let response =
        transport.send(&vendor.request(&page), limits).await.map_err(|error| error.to_api_error(spec.name))?;
    if !(200..300).contains(&response.status) {
        let error = response.classify_error(vendor, false);
        return if error.kind == ApiErrorKind::RateLimited { Ok(()) } else { Err(error) };
    }
    if response.status == 204 {
        return Ok(());
    }
    let mask = response.mask;
    read_page(vendor, response.body, &page).map(|_| ()).map_err(|bad| ApiError {
        kind: ApiErrorKind::Transient,
        message: format!("{} sent a page that cannot be read: {}", spec.name, mask.mask(&bad.to_string())),
        hint: "check base_url: another service may respond there".to_owned(),
    })
}

/// A request without its credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RedactedRequest {
    /// Always `GET`.
    pub method: &'static str,
    /// The URL without the query.
    pub url: String,
    /// Query parameters, not percent-encoded.
    pub query: Vec<(String, String)>,
    /// Headers; the value of a secret one is `***`.
    pub headers: Vec<(String, String)>,
}

/// The request that `vendor` makes for a page. Reads no secret.
#[must_use]
pub fn redacted_request(vendor: &dyn Vendor, page: &PageRequest<'_>) -> RedactedRequest {
    let request = vendor.request(page);
    let url = Url::parse(vendor.base_url()).ok().and_then(|base| url_below(&base, &request).ok());
    let url = url.map_or_else(|| format!("{}{}", vendor.base_url(), request.path), without_query_and_password);
    let plain = request.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let secret = request.secret_headers.iter().map(|(name, _)| ((*name).to_owned(), REDACTED.to_owned()));
    let auth = ("Authorization".to_owned(), redacted_auth(&request.auth));
    RedactedRequest { method: "GET", url, headers: plain.chain(secret).chain([auth]).collect(), query: request.query }
}

fn redacted_auth(auth: &Auth) -> String {
    let scheme = match auth {
        Auth::Bearer(_) => "Bearer",
        Auth::Scheme(scheme, _) => scheme,
        Auth::Basic { .. } => "Basic",
    };
    format!("{scheme} {REDACTED}")
}

fn without_query_and_password(mut url: Url) -> String {
    url.set_query(None);
    if url.password().is_some() {
        // Fails only for URLs without a host, which have no password.
        let _ = url.set_password(Some(REDACTED));
    }
    url.to_string()
}
