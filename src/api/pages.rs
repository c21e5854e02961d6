//! The pages. None shows a secret, a record, or anything that `auditflow status` does not.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, Request, State};
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
use crate::report::{self, Observation, StatusReport, metrics, page};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// A browser loads nothing but the page and its style sheet, runs no script, and shows the page in no frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; \
                                       form-action 'none'; frame-ancestors 'none'";

/// How long requests share one snapshot of the journal: so many times as long as reading it took, within these limits. With
/// thousands of sources, reading for frequent requests would else keep a core busy.
const AGE_PER_READ: u32 = 10;
const MIN_AGE: Duration = Duration::from_secs(1);
const MAX_AGE: Duration = Duration::from_secs(5);

/// How far a run has come.
#[derive(Clone, Debug)]
pub(crate) struct RunState {
    /// Cancelled once every source and sink has started.
    pub(crate) started: CancellationToken,
    /// Cancelled once the run is to stop.
    pub(crate) shutdown: CancellationToken,
    /// Cancelled if the journal can no longer be written, which only a restart repairs.
    pub(crate) writer_ended: CancellationToken,
}

/// What the handlers share.
#[derive(Clone)]
struct Pages {
    config: watch::Receiver<ActiveConfig>,
    state: RunState,
    latest: Arc<Mutex<Option<Latest>>>,
}

/// The latest snapshot of the journal.
struct Latest {
    observation: Observation,
    /// Until when requests share it.
    until: Instant,
}

/// How long requests share a snapshot that took so long to read.
fn max_age(reading: Duration) -> Duration {
    (reading * AGE_PER_READ).clamp(MIN_AGE, MAX_AGE)
}

/// The pages of a run. `only_local` if other machines cannot connect.
pub(super) fn router(config: watch::Receiver<ActiveConfig>, state: RunState, only_local: bool) -> Router {
    let pages = Pages { config, state, latest: Arc::default() };
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/", get(status_page))
        .route("/style.css", get(|| async { ([(header::CONTENT_TYPE, CSS)], page::STYLE) }))
        .route("/metrics", get(openmetrics))
        .route("/status.json", get(status))
        .fallback(|| async { text(StatusCode::NOT_FOUND, "try /, /metrics, /status.json, /livez or /readyz\n") })
        .with_state(pages);
    let router = if only_local { router.layer(middleware::from_fn(refuse_rebinding)) } else { router };
    router.layer(middleware::map_response(async |response: Response| {
        let headers = [
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        (headers, response)
    }))
}

/// Whether a restart would not help. Errors of the disk, of vendors and of targets are none that it repairs.
async fn livez(State(pages): State<Pages>) -> Response {
    if pages.state.writer_ended.is_cancelled() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the journal's writing thread has ended; restart auditflow\n");
    }
    text(StatusCode::OK, "ok\n")
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

/// `?page=2` shows further sources.
async fn status_page(State(pages): State<Pages>, RawQuery(query): RawQuery) -> Response {
    let number = query.and_then(|query| query.strip_prefix("page=")?.parse().ok()).unwrap_or(1);
    pages.render(HTML, move |config, observation| page::html(config, observation, number)).await
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
    async fn render(&self, content_type: &'static str, page: impl Page) -> Response {
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

/// Makes a page of a snapshot.
trait Page: FnOnce(&ActiveConfig, &Observation) -> String + Send + 'static {}

impl<P: FnOnce(&ActiveConfig, &Observation) -> String + Send + 'static> Page for P {}

fn rendered(
    config: &ActiveConfig,
    runs: bool,
    latest: &mut Option<Latest>,
    page: impl Page,
) -> Result<String, JournalError> {
    let fresh = latest.take().filter(|latest| Instant::now() < latest.until);
    let Latest { observation, .. } = match fresh {
        Some(fresh) => latest.insert(fresh),
        None => {
            let began = Instant::now();
            let observation = report::observe_own(&config.pipeline, SystemClock.now(), runs)?;
            latest.insert(Latest { observation, until: Instant::now() + max_age(began.elapsed()) })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_that_took_long_to_read_is_shared_for_longer() {
        let ages = [1, 50, 200, 300, 10_000].map(|reading| max_age(Duration::from_millis(reading)).as_millis());
        assert_eq!(ages, [1_000, 1_000, 2_000, 3_000, 5_000]);
    }
}
