//! The admin API below `/_sim/`: the truth, request counts and controls over HTTP. Not part of any vendor's API.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::control::{CannedReply, NewRecord, SimulatorControl};
use super::faults::{FaultOrder, FaultSetting, parse_subject};
use super::http::RequestStats;
use super::options::SimulatorError;
use super::proof::TruthQuery;
use super::server_state::ServerState;
use super::vendor_name::VendorName;
use crate::time::Timestamp;

/// Most answers that can be ordered at once.
const MOST_ANSWERS: usize = 10_000;

/// What the handlers share.
#[derive(Clone)]
struct AdminApi {
    control: SimulatorControl,
    pipeline_file: Arc<str>,
}

pub(super) fn router<S: Clone + Send + Sync + 'static>(state: Arc<ServerState>, pipeline_file: String) -> Router<S> {
    Router::new()
        .route("/health", get(health))
        .route("/truth/{vendor}", get(truth))
        .route("/requests", get(requests))
        .route("/faults", get(faults).put(put_faults))
        .route("/variants", get(variants).put(put_variants))
        .route("/fail_next/{vendor}", post(fail_next))
        .route("/records/{vendor}", post(insert))
        .route("/records/{vendor}/{key}", put(change))
        .route("/pipeline", get(pipeline))
        .layer(axum::middleware::from_fn(refuse_web_pages))
        .with_state(AdminApi { control: SimulatorControl::new(state), pipeline_file: pipeline_file.into() })
}

/// Refuses what a web page in a browser on this machine sends: it must not control the simulator.
async fn refuse_web_pages(request: Request, next: Next) -> Response {
    match refusal(request.headers()) {
        Some(reason) => AdminError(StatusCode::FORBIDDEN, reason.to_owned()).into_response(),
        None => next.run(request).await,
    }
}

/// A web page sends its `Origin`, or reaches this address by a name of its own (DNS rebinding). Addresses, and names without
/// a dot such as those of containers, are no such names.
fn refusal(headers: &HeaderMap) -> Option<&'static str> {
    if headers.contains_key(header::ORIGIN) {
        return Some("requests of web pages are refused; use a client such as curl");
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let without_port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = without_port.map_or(host, |(name, _)| name).trim_start_matches('[').trim_end_matches(']');
    let is_public = name.contains('.') && name.parse::<IpAddr>().is_err();
    is_public.then_some("the host is a name with a dot; use an IP address or `localhost`")
}

/// An error reply with the reason as JSON.
struct AdminError(StatusCode, String);

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<SimulatorError> for AdminError {
    fn from(error: SimulatorError) -> Self {
        let status = match error {
            SimulatorError::NotServed(_) | SimulatorError::NoRecord(_) => StatusCode::NOT_FOUND,
            SimulatorError::BadVariant(_) | SimulatorError::Listen { .. } => StatusCode::BAD_REQUEST,
        };
        Self(status, error.to_string())
    }
}

fn bad_request(reason: impl std::fmt::Display) -> AdminError {
    AdminError(StatusCode::BAD_REQUEST, format!("{reason}"))
}

fn vendor(name: &str) -> Result<VendorName, AdminError> {
    name.parse().map_err(|reason| AdminError(StatusCode::NOT_FOUND, reason))
}

fn read<'a, T: Deserialize<'a>>(body: &'a Bytes) -> Result<T, AdminError> {
    serde_json::from_slice(body).map_err(bad_request)
}

async fn health(State(api): State<AdminApi>) -> Result<Response, AdminError> {
    let mut records = BTreeMap::new();
    for vendor in api.control.vendors() {
        records.insert(vendor.as_str(), api.control.count(vendor)?);
    }
    Ok(Json(json!({ "status": "ok", "now": api.control.now(), "records": records })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TruthParameters {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    visible_by: Option<Timestamp>,
}

async fn truth(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
    Query(parameters): Query<TruthParameters>,
) -> Result<Response, AdminError> {
    let TruthParameters { from, to, visible_by } = parameters;
    let records = api.control.truth_of(vendor(&name)?, TruthQuery { from, to, visible_by })?;
    let mut lines = Vec::new();
    for record in records {
        serde_json::to_writer(&mut lines, &record).map_err(bad_request)?;
        lines.push(b'\n');
    }
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

async fn requests(State(api): State<AdminApi>) -> Result<Response, AdminError> {
    let mut all: BTreeMap<&str, RequestStats> = BTreeMap::new();
    for vendor in api.control.vendors() {
        all.insert(vendor.as_str(), api.control.requests(vendor)?);
    }
    Ok(Json(all).into_response())
}

async fn faults(State(api): State<AdminApi>) -> Response {
    let all: BTreeMap<String, FaultSetting> = api
        .control
        .faults()
        .into_iter()
        .map(|(vendor, fault, setting)| (format!("{vendor}.{fault}"), setting))
        .collect();
    Json(all).into_response()
}

/// A fault's setting: `true`, a probability, or both numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Strength {
    On(bool),
    Probability(f64),
    Whole(FaultSetting),
}

async fn put_faults(State(api): State<AdminApi>, body: Bytes) -> Result<Response, AdminError> {
    let wanted: BTreeMap<String, Strength> = read(&body)?;
    let mut orders = Vec::new();
    for (subject, strength) in wanted {
        orders.extend(order(&subject, &strength)?);
    }
    api.control.clear_faults();
    // Orders for all vendors come first, so that those for one vendor override them.
    orders.sort_by_key(|order| order.vendor.is_some());
    for order in orders {
        api.control.set_fault(order);
    }
    Ok(faults(State(api)).await)
}

fn order(subject: &str, strength: &Strength) -> Result<Option<FaultOrder>, AdminError> {
    let (vendor, fault) = parse_subject(subject).map_err(bad_request)?;
    let default = fault.default_setting();
    let setting = match strength {
        Strength::On(false) => return Ok(None),
        Strength::On(true) => default,
        Strength::Probability(probability) => FaultSetting { probability: *probability, ..default },
        Strength::Whole(setting) => *setting,
    };
    if !setting.is_valid() {
        return Err(bad_request(format!("{subject}: the probability must be between 0 and 1")));
    }
    Ok(Some(FaultOrder { vendor, fault, setting }))
}

async fn variants(State(api): State<AdminApi>) -> Response {
    Json(api.control.variants()).into_response()
}

async fn put_variants(State(api): State<AdminApi>, body: Bytes) -> Result<Response, AdminError> {
    let wanted: BTreeMap<String, String> = read(&body)?;
    for (name, value) in wanted {
        api.control.set_variant(&name, &value)?;
    }
    Ok(variants(State(api)).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FailNext {
    #[serde(default = "one")]
    count: usize,
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
}

fn one() -> usize {
    1
}

async fn fail_next(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<StatusCode, AdminError> {
    let FailNext { count, status, headers, body } = read(&body)?;
    if count > MOST_ANSWERS || !(200..=599).contains(&status) {
        return Err(bad_request(format!("`count` is at most {MOST_ANSWERS}, and `status` lies between 200 and 599")));
    }
    let answer = CannedReply { status, headers: headers.into_iter().collect(), body };
    api.control.fail_next(vendor(&name)?, count, answer)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Insert<'a> {
    timestamp: Option<Timestamp>,
    visible_at: Option<Timestamp>,
    #[serde(borrow)]
    raw: Option<&'a RawValue>,
    identical_to: Option<String>,
    after_requests: Option<u64>,
}

async fn insert(State(api): State<AdminApi>, Path(name): Path<String>, body: Bytes) -> Result<Response, AdminError> {
    let wanted: Insert<'_> = read(&body)?;
    let vendor = vendor(&name)?;
    if let Some(key) = wanted.identical_to {
        let key = api.control.insert_identical(vendor, &key)?;
        return Ok(Json(json!({ "key": key })).into_response());
    }
    let record = NewRecord {
        timestamp: wanted.timestamp,
        visible_at: wanted.visible_at,
        raw: wanted.raw.map(|raw| raw.get().to_owned()),
    };
    if let Some(requests) = wanted.after_requests {
        api.control.insert_after(vendor, requests, record)?;
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    let key = api.control.insert(vendor, record)?;
    Ok(Json(json!({ "key": key })).into_response())
}

/// The body is the record's new text.
async fn change(
    State(api): State<AdminApi>,
    Path((name, key)): Path<(String, String)>,
    body: Bytes,
) -> Result<StatusCode, AdminError> {
    let raw: &RawValue = read(&body)?;
    api.control.change(vendor(&name)?, &key, raw.get().to_owned())?;
    Ok(StatusCode::NO_CONTENT)
}

async fn pipeline(State(api): State<AdminApi>) -> Response {
    ([(header::CONTENT_TYPE, "application/yaml")], api.pipeline_file.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn web_pages_are_refused_and_clients_are_not() {
        let refused = |host: &'static str, origin: Option<&'static str>| {
            let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
            headers.extend(origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))));
            refusal(&headers).is_some()
        };
        for host in ["127.0.0.1:8080", "localhost:8080", "localhost", "[::1]:8080", "::1", "simulator:80", "10.0.0.7"] {
            assert!(!refused(host, None), "{host}");
            assert!(refused(host, Some("https://attacker.example")), "{host}");
        }
        for host in ["attacker.example", "attacker.example:8080", "127.0.0.1.attacker.example:80"] {
            assert!(refused(host, None), "{host}");
        }
    }
}
