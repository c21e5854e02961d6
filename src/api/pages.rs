//! The pages. None shows a secret, a record, or anything that `auditflow status` does not.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, SystemClock};
use crate::journal::JournalError;
use crate::pipeline::ActiveConfig;
use crate::report::{self, Observation, StatusReport, metrics};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Requests within this time share one snapshot of the journal.
const MAX_AGE: Duration = Duration::from_secs(1);

/// How far a run has come.
#[derive(Clone, Debug)]
pub(crate) struct RunState {
    /// Cancelled once every source and sink has started.
    pub(crate) started: CancellationToken,
    /// Cancelled once the run is to stop.
    pub(crate) shutdown: CancellationToken,
}

/// What the handlers share.
#[derive(Clone)]
struct Pages {
    config: watch::Receiver<ActiveConfig>,
    state: RunState,
    latest: Arc<Mutex<Option<(Instant, Observation)>>>,
}

/// The pages of a run. `only_local` if other machines cannot connect.
pub(super) fn router(config: watch::Receiver<ActiveConfig>, state: RunState, only_local: bool) -> Router {
    let pages = Pages { config, state, latest: Arc::default() };
    let router = Router::new()
        .route("/livez", get(|| async { text(StatusCode::OK, "ok\n") }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(openmetrics))
        .route("/status.json", get(status))
        .fallback(|| async { text(StatusCode::NOT_FOUND, "try /metrics, /status.json, /livez or /readyz\n") })
        .with_state(pages);
    let router = if only_local { router.layer(middleware::from_fn(refuse_rebinding)) } else { router };
    router.layer(middleware::map_response(async |response: Response| {
        ([(header::CACHE_CONTROL, "no-store"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")], response)
    }))
}

/// Whether the pipeline works. Not whether vendors and targets do: a restart would not help, so their errors are metrics.
async fn readyz(State(pages): State<Pages>) -> Response {
    if pages.state.shutdown.is_cancelled() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    if !pages.state.started.is_cancelled() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "starting\n");
    }
    text(StatusCode::OK, "ok\n")
}

async fn openmetrics(State(pages): State<Pages>) -> Response {
    pages.render(OPENMETRICS, metrics::openmetrics).await
}

async fn status(State(pages): State<Pages>) -> Response {
    pages.render("application/json", status_json).await
}

fn status_json(config: &ActiveConfig, observation: &Observation) -> String {
    let report = StatusReport::new(&config.pipeline, observation);
    serde_json::to_string(&report).expect("reports hold strings and numbers only") + "\n"
}

impl Pages {
    /// A page made of a snapshot of the journal. The lock is held by the thread that reads, so that a disk that hangs blocks
    /// one thread, whatever the number of requests.
    async fn render(&self, content_type: &'static str, page: Page) -> Response {
        let mut latest = Arc::clone(&self.latest).lock_owned().await;
        let config = self.config.borrow().clone();
        let runs = self.state.started.is_cancelled();
        let rendered = tokio::task::spawn_blocking(move || rendered(&config, runs, &mut latest, page)).await;
        match rendered {
            Ok(Ok(page)) => ([(header::CONTENT_TYPE, content_type)], page).into_response(),
            Ok(Err(error)) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
            // The run ends meanwhile.
            Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, format!("the page was not made: {error}\n")),
        }
    }
}

type Page = fn(&ActiveConfig, &Observation) -> String;

fn rendered(
    config: &ActiveConfig,
    runs: bool,
    latest: &mut Option<(Instant, Observation)>,
    page: Page,
) -> Result<String, JournalError> {
    let fresh = latest.take().filter(|(read_at, _)| read_at.elapsed() < MAX_AGE);
    let (_, observation) = match fresh {
        Some(fresh) => latest.insert(fresh),
        None => {
            let observation = report::observe_own(&config.pipeline, SystemClock.now(), runs)?;
            latest.insert((Instant::now(), observation))
        }
    };
    Ok(page(config, observation))
}

fn text(status: StatusCode, body: impl Into<String>) -> Response {
    (status, [(header::CONTENT_TYPE, TEXT)], body.into()).into_response()
}

/// Where only this machine can connect, a web page in a browser on it must not read the answers. It could do so by a name of
/// its own that resolves to this address (DNS rebinding). Addresses, and names without a dot, are no such names.
async fn refuse_rebinding(request: Request, next: Next) -> Response {
    if is_public_name(request.headers()) {
        return text(StatusCode::FORBIDDEN, "the host is a name with a dot; use an IP address or `localhost`\n");
    }
    next.run(request).await
}

fn is_public_name(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let without_port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = without_port.map_or(host, |(name, _)| name).trim_start_matches('[').trim_end_matches(']');
    name.contains('.') && name.parse::<IpAddr>().is_err()
}
