//! Your own vendor in one file: the fictional Teahouse and its audit API.
//!
//! ```console
//! $ cargo run --example own_vendor                        # runs a pipeline against a small Teahouse server in this process
//! $ cargo run --example own_vendor -- validate acme.yaml  # the whole command line, with `type: teahouse` among the sources
//! ```
//!
//! ```text
//! TeahouseConfig --build--> Teahouse: request, parse_page            what to request, where the records are in the answer
//!                           TeahouseNormalizer: key_of, normalize    what identifies a record, the event it becomes
//! ```
//!
//! All of it is values and pure functions. The collector adds rate limits, retries, restarts, paging, late events and
//! exactly-once delivery.

use std::borrow::Cow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use auditflow::diagnostic::SettingDiagnostic;
use auditflow::event::{Action, Actor, ActorType, Category, Event, EventId, Target};
use auditflow::pipeline::{self, Environment, Overrides};
use auditflow::runtime::{RunMode, RunOptions, run};
use auditflow::secret::Secret;
use auditflow::time::Timestamp;
use auditflow::units::Rate;
use auditflow::vendors::{
    ApiSpec, Auth, BadPage, Normalizer, NormalizerConfig, Page, PageRequest, Paging, ReadContext, RecordKey,
    RecordOrder, Request, Vendor, VendorSettings, VendorType, page, record, settings,
};
use axum::extract::Query;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

const NAME: &str = "teahouse";

/// The settings of a `teahouse` source. The doc comments are what an editor shows.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct TeahouseConfig {
    /// API token, created on the Teahouse's page "Integrations".
    api_token: Secret,
    /// Base URL of the API, for example of a proxy.
    base_url: Option<String>,
}

impl VendorType for TeahouseConfig {
    const NAME: &'static str = NAME;

    fn normalizer(_: &NormalizerConfig) -> Arc<dyn Normalizer> {
        Arc::new(TeahouseNormalizer)
    }
}

impl VendorSettings for TeahouseConfig {
    fn build(&self) -> Result<Arc<dyn Vendor>, Vec<SettingDiagnostic>> {
        let base_url = settings::base_url(self.base_url.as_deref(), "https://api.teahouse.example");
        let base_url = base_url.map_err(|diagnostic| vec![diagnostic])?;
        Ok(Arc::new(Teahouse { base_url, api_token: self.api_token.clone(), spec: spec() }))
    }

    fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        vec![&mut self.api_token]
    }
}

/// The facts of the API. The pipeline file can override each of them.
fn spec() -> ApiSpec {
    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(24 * 3_600);
    ApiSpec {
        name: NAME,
        order: RecordOrder::OldestFirst,
        paging: Paging::Cursor,
        time_granularity: Duration::from_secs(1),
        has_ids: true,
        overlap: 10 * MINUTE,
        delay: Duration::from_secs(5),
        poll_interval: MINUTE,
        timeout: MINUTE,
        page_size: 100,
        max_page_size: 100,
        rate_limit: vec![Rate { requests: 5, per: Duration::from_secs(1) }],
        default_rate_limit_wait: MINUTE,
        retention: None,
        earliest: Timestamp::from_secs(1_735_689_600), // the Teahouse opened on 1 January 2025
        slice: 30 * DAY,
        max_window_records: 10_000,
        recheck: None,
    }
}

/// One configured account.
#[derive(Debug)]
struct Teahouse {
    base_url: String,
    api_token: Secret,
    spec: ApiSpec,
}

impl Vendor for Teahouse {
    fn spec(&self) -> &ApiSpec {
        &self.spec
    }

    fn base_url(&self) -> &str {
        &self.base_url
    }

    fn normalizer_config(&self) -> NormalizerConfig {
        NormalizerConfig::default()
    }

    fn normalizer(&self) -> &dyn Normalizer {
        &TeahouseNormalizer
    }

    fn request(&self, page: &PageRequest<'_>) -> Request {
        let mut query = vec![
            ("since".to_owned(), page.range.from.to_string()),
            ("until".to_owned(), page.range.to.to_string()),
            ("limit".to_owned(), page.page_size.to_string()),
        ];
        query.extend(page.cursor.map(|cursor| ("after".to_owned(), cursor.to_owned())));
        Request::json("/v1/audit", query, Auth::Bearer(self.api_token.clone()))
    }

    fn parse_page<'a>(&self, body: &'a str, _page: &PageRequest<'_>) -> Result<Page<'a>, BadPage> {
        let envelope = page::envelope(NAME, body)?;
        let next = envelope.next("next")?.map(Cow::into_owned);
        Ok(Page { records: envelope.list("events", None)?, next, ..Page::default() })
    }
}

/// Identifies and normalizes the Teahouse's records.
#[derive(Debug)]
struct TeahouseNormalizer;

/// One record, borrowed from its bytes.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    at: Cow<'a, str>,
    who: Cow<'a, str>,
    did: Cow<'a, str>,
    what: Cow<'a, str>,
}

impl Normalizer for TeahouseNormalizer {
    fn key_of(&self, raw: &str) -> RecordKey {
        match serde_json::from_str::<Record<'_>>(raw) {
            Ok(record) => RecordKey {
                id: EventId::of_key(NAME, None, &record.id),
                timestamp: Timestamp::parse_rfc3339(&record.at),
                version: 0,
                content: 0,
            },
            Err(_) => record::key_of_bytes(NAME, None, raw),
        }
    }

    /// Never fails: a record that cannot be read is delivered with the reason.
    fn normalize<'a>(&self, raw: &'a str, context: &ReadContext<'a>) -> Event<'a> {
        let record: Record<'a> = match serde_json::from_str(raw) {
            Ok(record) => record,
            Err(error) => return record::unreadable(NAME, None, raw, context, error.to_string()),
        };
        let Some(timestamp) = Timestamp::parse_rfc3339(&record.at) else {
            return record::unreadable(NAME, None, raw, context, format!("`at` is not a time: {}", record.at));
        };
        let (action, category) = meaning(&record.did);
        let id = EventId::of_key(NAME, None, &record.id);
        Event {
            vendor_event_id: Some(record.id),
            event_type: record.did,
            action,
            category,
            timestamp,
            actor: Actor { kind: ActorType::User, email: Some(record.who), ..Actor::default() },
            target: Some(Target { name: Some(record.what), ..Target::default() }),
            ..Event::new(id, NAME, context.source, context.observed_at, raw)
        }
    }

    fn has_ids(&self) -> bool {
        true
    }

    fn example(&self) -> &'static str {
        r#"{"id":"t-1","at":"2026-03-02T12:00:00Z","who":"ada@example.com","did":"kettle.removed","what":"kettle 7"}"#
    }
}

/// Maps the vendor's values to the schema. A new value becomes `other`; `event_type` keeps it.
fn meaning(did: &str) -> (Action, Category) {
    match did {
        "guest.signed_in" => (Action::Login, Category::Authentication),
        "kettle.added" => (Action::Create, Category::Configuration),
        "kettle.removed" => (Action::Delete, Category::Configuration),
        _ => (Action::Other, Category::Other),
    }
}

fn main() -> ExitCode {
    if let Err(reason) = pipeline::add_vendor::<TeahouseConfig>() {
        eprintln!("error: {reason}");
        return ExitCode::FAILURE;
    }
    if std::env::args().len() > 1 {
        return auditflow::cli::main();
    }
    match demonstrate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason:#}");
            ExitCode::FAILURE
        }
    }
}

/// The token that the fictional API accepts.
const TOKEN: &str = "let-me-in";

const PIPELINE: &str = r#"
data_dir: auditflow-teahouse/data
sources:
  teahouse:
    type: teahouse
    base_url: ${TEAHOUSE}
    api_token: ${TEAHOUSE_TOKEN}
    backfill_start_time: earliest
    rate_limit: 100/s                 # the server is on this machine
transforms:
  events: {type: normalize, inputs: [teahouse]}
  changes: {type: filter, inputs: [events], condition: vendor == "teahouse" && category == "configuration"}
sinks:
  files: {type: file, inputs: [changes], path: "auditflow-teahouse/{{ vendor }}/%Y-%m.ndjson"}
"#;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the numbers are this program's output")]
async fn demonstrate() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, Router::new().route("/v1/audit", get(audit))).into_future());
    let variables = Environment::from_pairs([("TEAHOUSE", address.as_str()), ("TEAHOUSE_TOKEN", TOKEN)]);
    let pipeline = pipeline::validate("teahouse.yaml", PIPELINE, Path::new("."), &variables, &Overrides::default())
        .map_err(|diagnostics| anyhow::anyhow!(diagnostics.iter().map(ToString::to_string).collect::<String>()))?;
    let mode = RunMode::Once { give_up_after: Duration::from_secs(60) };
    let report = run(pipeline, RunOptions::new(mode, CancellationToken::new())).await?;
    anyhow::ensure!(report.unfinished().is_empty(), "work is left: {:?}", report.unfinished());
    for sink in &report.stats.sinks {
        println!("{}: {} events delivered, {} filtered", sink.name, sink.delivered, sink.filtered);
    }
    Ok(())
}

#[derive(Deserialize)]
struct AuditQuery {
    since: Timestamp,
    until: Timestamp,
    limit: usize,
    after: Option<usize>,
}

/// The fictional API: one hour of events, in pages.
async fn audit(headers: HeaderMap, Query(query): Query<AuditQuery>) -> Result<Json<serde_json::Value>, StatusCode> {
    if headers.get("authorization").is_none_or(|given| given != format!("Bearer {TOKEN}").as_str()) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let begin = Timestamp::from_secs(1_772_452_800); // 2026-03-02T12:00:00Z
    let event = |number: u32| {
        let did = ["guest.signed_in", "kettle.added", "kettle.removed", "tea.spilt"][number as usize % 4];
        let at = begin + Duration::from_secs(10) * number;
        (
            at,
            serde_json::json!({"id": format!("t-{number}"), "at": at, "who": "ada@example.com", "did": did, "what": "kettle 7"}),
        )
    };
    let within = (0..360).map(event).filter(|(at, _)| (query.since..query.until).contains(at));
    let after = query.after.unwrap_or(0);
    let events: Vec<_> = within.skip(after).take(query.limit).map(|(_, event)| event).collect();
    let next = (events.len() == query.limit).then(|| (after + query.limit).to_string());
    Ok(Json(serde_json::json!({"events": events, "next": next})))
}
