//! What was asked: counts for tests, and the latest requests. Headers are not kept, so no credential is.

use std::collections::{BTreeMap, VecDeque};

use super::request::ApiRequest;
use crate::time::Timestamp;

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
    /// How many there were.
    pub requests: u64,
    /// How many had which status.
    pub by_status: BTreeMap<u16, u64>,
    /// How many are being answered now.
    pub in_flight: u64,
    /// The most that were ever answered at the same time.
    pub greatest_concurrent: u64,
    /// The query of the latest request.
    pub last_query: Option<String>,
    /// The latest requests (at most 1,000), oldest first.
    #[serde(skip)]
    pub recent: VecDeque<LoggedRequest>,
}

impl RequestStats {
    pub(super) fn enter(&mut self) {
        self.in_flight += 1;
        self.greatest_concurrent = self.greatest_concurrent.max(self.in_flight);
    }

    pub(super) fn leave(&mut self) {
        self.in_flight -= 1;
    }

    pub(super) fn note(&mut self, request: &ApiRequest, status: u16, at: Timestamp) {
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
