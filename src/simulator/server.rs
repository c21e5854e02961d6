//! The running simulator: one port with the vendors' paths, and `/_sim/` beside them.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::admin_api;
use super::control::SimulatorControl;
use super::http::{ApiRequest, Query, Reply, WireReply};
use super::options::{Credentials, SimulatorError, SimulatorOptions};
use super::server_state::{ServerState, vendor_of};
use super::vendor_name::VendorName;

/// Starts simulators.
#[derive(Debug)]
pub struct Simulator;

impl Simulator {
    /// Generates the data and starts to serve it.
    ///
    /// # Errors
    /// When the simulator cannot listen on the address.
    pub async fn start(options: SimulatorOptions) -> Result<RunningSimulator, SimulatorError> {
        let address = options.listen;
        let listen = |source| SimulatorError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let credentials = options.credentials.clone();
        let state =
            tokio::task::spawn_blocking(move || ServerState::new(&options)).await.expect("making data does not panic");
        let state = Arc::new(state);
        let control = SimulatorControl::new(Arc::clone(&state));
        let server = spawn(listener, state, pipeline_file(address, &credentials, &control.vendors()));
        Ok(RunningSimulator { address, credentials, control, server })
    }
}

/// A running simulator. It stops when dropped.
#[derive(Debug)]
pub struct RunningSimulator {
    address: SocketAddr,
    credentials: Credentials,
    control: SimulatorControl,
    server: Server,
}

impl RunningSimulator {
    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The `base_url` for a vendor's source. For a Confluence source with a `cloud_id` see
    /// [`Self::confluence_gateway_url`].
    #[must_use]
    pub fn base_url(&self, vendor: VendorName) -> String {
        base_url(self.address, vendor)
    }

    /// The `base_url` of a Confluence source that has a `cloud_id`.
    #[must_use]
    pub fn confluence_gateway_url(&self) -> String {
        format!("http://{}/ex/confluence/{}", self.address, self.credentials.confluence_cloud_id)
    }

    /// The credentials that it accepts.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Controls it.
    #[must_use]
    pub fn control(&self) -> SimulatorControl {
        self.control.clone()
    }

    /// A pipeline file whose sources point at it.
    #[must_use]
    pub fn pipeline_file(&self) -> String {
        pipeline_file(self.address, &self.credentials, &self.control.vendors())
    }

    /// Stops serving after answering the requests in flight.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}

/// The running server; it stops when it is dropped.
#[derive(Debug)]
struct Server {
    stop: DropGuard,
    task: JoinHandle<()>,
}

/// Serves until the returned handle is dropped.
fn spawn(listener: TcpListener, state: Arc<ServerState>, pipeline_file: String) -> Server {
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let router = Router::new()
        .nest("/_sim", admin_api::router(Arc::clone(&state), pipeline_file))
        .fallback(answer)
        .with_state(state);
    let task = tokio::spawn(async move {
        // Serving ends without an error: a failed connection affects no other.
        let _ = axum::serve(listener, router).with_graceful_shutdown(stopped).await;
    });
    Server { stop: stop.drop_guard(), task }
}

impl Server {
    async fn shutdown(self) {
        drop(self.stop);
        // The task fails only by panicking, which ends it as well.
        let _ = self.task.await;
    }
}

async fn answer(State(state): State<Arc<ServerState>>, request: Request) -> Response {
    let request = api_request(&request);
    let Some(vendor) = vendor_of(&request.path) else { return unknown_path().into_response().await };
    let Some(guard) = RequestGuard::begin(&state, vendor) else { return unknown_path().into_response().await };
    let delivery = match state.mock(vendor) {
        Ok(mut mock) => mock.serve(&request, state.now()),
        Err(_) => unknown_path(),
    };
    let response = delivery.into_response().await;
    drop(guard);
    response
}

fn api_request(request: &Request) -> ApiRequest {
    let uri = request.uri();
    ApiRequest {
        method: request.method().to_string(),
        path: uri.path().to_owned(),
        query: Query::parse(uri.query().unwrap_or_default()),
        headers: request.headers().clone(),
    }
}

fn unknown_path() -> WireReply {
    let reply = Reply::json(404, r#"{"error":"no served vendor has this path; see /_sim/health"}"#);
    WireReply { reply, compress: false, cut: None, delay: None }
}

/// Counts a request as in flight while it lives, even if the client disconnects.
struct RequestGuard<'a> {
    state: &'a ServerState,
    vendor: VendorName,
}

impl<'a> RequestGuard<'a> {
    fn begin(state: &'a ServerState, vendor: VendorName) -> Option<Self> {
        state.mock(vendor).ok()?.stats.enter();
        Some(Self { state, vendor })
    }
}

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        if let Ok(mut mock) = self.state.mock(self.vendor) {
            mock.stats.leave();
        }
    }
}

/// The `base_url` for a vendor's source.
fn base_url(address: SocketAddr, vendor: VendorName) -> String {
    let below = match vendor {
        VendorName::CaptivateIq => "/ciq/v1",
        VendorName::Merge => "/api",
        VendorName::Akuity | VendorName::Clumio | VendorName::Confluence => "",
    };
    format!("http://{address}{below}")
}

/// A pipeline file whose sources point at the simulator.
fn pipeline_file(address: SocketAddr, credentials: &Credentials, vendors: &[VendorName]) -> String {
    let mut text = String::from("data_dir: ./auditflow-simulated/data\nsources:\n");
    for vendor in vendors {
        let _ = writeln!(text, "  simulated_{vendor}:\n    type: {vendor}");
        for (key, value) in settings(*vendor, credentials) {
            let _ = writeln!(text, "    {key}: {value}");
        }
        let _ = writeln!(text, "    base_url: {}", base_url(address, *vendor));
        text.push_str("    backfill_start_time: earliest\n");
    }
    text.push_str(
        "transforms:\n  events:\n    type: normalize\n    inputs: [simulated_*]\nsinks:\n  files:\n    type: file\n    \
         inputs: [events]\n    path: \"./auditflow-simulated/{{ vendor }}/%Y-%m-%d.ndjson\"\n",
    );
    text
}

fn settings(vendor: VendorName, credentials: &Credentials) -> Vec<(&'static str, &str)> {
    match vendor {
        VendorName::Akuity => vec![
            ("organization_id", &credentials.akuity_organization_id),
            ("api_key_id", &credentials.akuity_api_key_id),
            ("api_key_secret", &credentials.akuity_api_key_secret),
        ],
        VendorName::CaptivateIq => vec![("api_token", &credentials.captivateiq_api_token)],
        VendorName::Clumio => vec![("access_token", &credentials.clumio_access_token)],
        VendorName::Confluence => vec![
            ("site", "acme"),
            ("email", &credentials.confluence_email),
            ("api_token", &credentials.confluence_api_token),
        ],
        VendorName::Merge => vec![("api_key", &credentials.merge_api_key)],
    }
}
