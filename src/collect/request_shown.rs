//! A request as it may be shown to people: everything of it but the credentials.

use serde::Serialize;
use url::Url;

use super::http::url_below;
use crate::vendors::{Auth, PageRequest, Vendor};

/// What stands in the place of a credential.
const HIDDEN: &str = "***";

/// A request without its credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownRequest {
    /// Always `GET`.
    pub method: &'static str,
    /// The address without the query.
    pub url: String,
    /// Query parameters, not percent-encoded.
    pub query: Vec<(String, String)>,
    /// Headers; the value of one that is secret is `***`.
    pub headers: Vec<(String, String)>,
}

/// The request that `vendor` makes for a page. Reads no secret: none of them is revealed to be hidden again.
#[must_use]
pub fn shown(vendor: &dyn Vendor, page: &PageRequest<'_>) -> ShownRequest {
    let request = vendor.request(page);
    let url = Url::parse(vendor.base_url()).ok().and_then(|base| url_below(&base, &request).ok());
    let url = url.map_or_else(|| format!("{}{}", vendor.base_url(), request.path), without_query_and_password);
    let plain = request.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let secret = request.secret_headers.iter().map(|(name, _)| ((*name).to_owned(), HIDDEN.to_owned()));
    let auth = ("Authorization".to_owned(), hidden(&request.auth));
    ShownRequest { method: "GET", url, headers: plain.chain(secret).chain([auth]).collect(), query: request.query }
}

fn hidden(auth: &Auth) -> String {
    let scheme = match auth {
        Auth::Bearer(_) => "Bearer",
        Auth::Scheme(scheme, _) => scheme,
        Auth::Basic { .. } => "Basic",
    };
    format!("{scheme} {HIDDEN}")
}

fn without_query_and_password(mut url: Url) -> String {
    url.set_query(None);
    if url.password().is_some() {
        // Fails only for addresses without a host, which have no password.
        let _ = url.set_password(Some(HIDDEN));
    }
    url.to_string()
}
