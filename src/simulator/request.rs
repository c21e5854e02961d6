//! A request as the vendors' parts see it: method, path, decoded query, headers.

use axum::http::HeaderMap;

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
    /// A header as text; `None` if it is missing or no text.
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

    /// Whether the client takes gzip.
    pub(super) fn accepts_gzip(&self) -> bool {
        self.header("accept-encoding").is_some_and(|value| value.contains("gzip"))
    }
}
