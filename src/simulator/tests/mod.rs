//! The simulator over HTTP, as a plain client sees it.

mod controls;
mod errors;
mod faults;
mod scans;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use super::{RunningSimulator, Simulator, SimulatorControl, SimulatorOptions, VendorName};
use crate::clock::ManualClock;
use crate::time::Timestamp;

const START: &str = "2026-03-02T12:00:00Z";

/// A running simulator with a client and a clock.
struct Harness {
    simulator: RunningSimulator,
    clock: Arc<ManualClock>,
    client: reqwest::Client,
}

/// An answer that was read to its end.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

fn start() -> Timestamp {
    Timestamp::parse_rfc3339(START).expect("a time")
}

/// The text of one field of a JSON object, as it stands.
fn field(body: &str, name: &str) -> String {
    let fields: HashMap<String, Box<RawValue>> = serde_json::from_str(body).unwrap_or_else(|_| panic!("{body}"));
    fields[name].get().to_owned()
}

fn items(array: &str) -> Vec<String> {
    let items: Vec<Box<RawValue>> = serde_json::from_str(array).expect("an array");
    items.into_iter().map(|item| item.get().to_owned()).collect()
}

/// The records of a page, byte for byte.
fn records(vendor: VendorName, body: &str) -> Vec<String> {
    match vendor {
        VendorName::Akuity => items(&field(body, "items")),
        VendorName::CaptivateIq => items(&field(body, "data")),
        VendorName::Clumio => items(&field(&field(body, "_embedded"), "items")),
        VendorName::Confluence | VendorName::Merge => items(&field(body, "results")),
    }
}

impl Harness {
    async fn start(change: impl FnOnce(&mut SimulatorOptions)) -> Self {
        let clock = Arc::new(ManualClock::fixed_at(start()));
        let mut options =
            SimulatorOptions { events_per_vendor: 300, clock: Arc::clone(&clock) as _, ..SimulatorOptions::default() };
        options.variants.lift_rate_limits();
        change(&mut options);
        let simulator = Simulator::start(options).await.expect("it listens");
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        Self { simulator, clock, client }
    }

    fn control(&self) -> SimulatorControl {
        self.simulator.control()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.simulator.address())
    }

    /// An authenticated request that has not been sent.
    fn request(&self, vendor: VendorName, path: &str) -> reqwest::RequestBuilder {
        let credentials = self.simulator.credentials();
        let request = self.client.get(self.url(path));
        match vendor {
            VendorName::Akuity => {
                request.basic_auth(&credentials.akuity_api_key_id, Some(&credentials.akuity_api_key_secret))
            }
            VendorName::CaptivateIq => {
                request.header("authorization", format!("Token {}", credentials.captivateiq_api_token))
            }
            VendorName::Clumio => request.bearer_auth(&credentials.clumio_access_token),
            VendorName::Confluence => {
                request.basic_auth(&credentials.confluence_email, Some(&credentials.confluence_api_token))
            }
            VendorName::Merge => request.bearer_auth(&credentials.merge_api_key),
        }
    }

    async fn send(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, body: response.text().await? })
    }

    /// An authenticated answer.
    async fn get(&self, vendor: VendorName, path: &str) -> Answer {
        Self::send(self.request(vendor, path)).await.expect("an answer")
    }

    /// The first page of a vendor, with more parameters if given.
    async fn first_page(&self, vendor: VendorName, size: usize, more: &str) -> Answer {
        self.get(vendor, &first_path(vendor, size, more)).await
    }

    /// Scans all pages of a vendor and returns the records, page by page.
    async fn scan(&self, vendor: VendorName, size: usize, more: &str) -> Vec<Vec<String>> {
        let mut pages: Vec<Vec<String>> = Vec::new();
        let mut path = Some(first_path(vendor, size, more));
        while let Some(this) = path {
            let answer = self.get(vendor, &this).await;
            assert_eq!(answer.status, 200, "{this}: {}", answer.body);
            let page = records(vendor, &answer.body);
            let records_read = pages.iter().map(Vec::len).sum::<usize>() + page.len();
            path = next_path(vendor, &answer.json(), size, more, records_read, page.is_empty());
            pages.push(page);
            assert!(pages.len() < 2_000, "the scan does not end");
        }
        pages
    }

    fn truth(&self, vendor: VendorName) -> Vec<String> {
        let truth = self.control().truth(vendor).expect("a vendor");
        truth.into_iter().map(|record| record.raw).collect()
    }
}

const ORGANIZATION: &str = "/api/v1/organizations/yx8wvj7xsimulator/audit-logs";

fn first_path(vendor: VendorName, size: usize, more: &str) -> String {
    match vendor {
        VendorName::Akuity => format!("{ORGANIZATION}?filters.limit={size}{more}"),
        VendorName::CaptivateIq => format!("/ciq/v1/audit-logs/?limit={size}{more}"),
        VendorName::Clumio => format!("/audit-trails?limit={size}{more}"),
        VendorName::Confluence => format!("/wiki/rest/api/audit?limit={size}{more}"),
        VendorName::Merge => format!("/api/hris/v1/audit-trail?page_size={size}{more}"),
    }
}

/// The path of the next page as the vendor's documentation says it is found.
fn next_path(
    vendor: VendorName,
    page: &Value,
    size: usize,
    more: &str,
    records_read: usize,
    empty: bool,
) -> Option<String> {
    let first = first_path(vendor, size, more);
    match vendor {
        VendorName::Akuity => {
            let total = page["totalCount"].as_u64().expect("a total");
            (!empty && (records_read as u64) < total).then(|| format!("{first}&filters.offset={records_read}"))
        }
        VendorName::Confluence => {
            let total = page["size"].as_u64().expect("a size");
            (!empty && (records_read as u64) < total).then(|| format!("{first}&start={records_read}"))
        }
        VendorName::Clumio => page["_links"]["_next"]["href"].as_str().map(str::to_owned),
        VendorName::CaptivateIq => {
            let next = page["next"].as_str()?;
            Some(next.split_once("/ciq").map_or_else(|| next.to_owned(), |(_, path)| format!("/ciq{path}")))
        }
        VendorName::Merge => {
            let next = page["next"].as_str()?;
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("cursor", next);
            Some(format!("{first}&{}", query.finish()))
        }
    }
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts
}
