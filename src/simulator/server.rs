//! The HTTP server: one port, the vendors' paths, and `/_sim/` beside them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::name::VendorName;
use super::registry;
use super::reply::{Delivery, Reply};
use super::request::{ApiRequest, Query};
use super::side_door;
use super::world::World;

/// The running server; it stops when it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    stop: DropGuard,
    task: JoinHandle<()>,
}

/// Serves until the returned handle is dropped.
pub(super) fn spawn(listener: TcpListener, world: Arc<World>, pipeline_file: String) -> Server {
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let router = Router::new()
        .nest("/_sim", side_door::router(Arc::clone(&world), pipeline_file))
        .fallback(answer)
        .with_state(world);
    let task = tokio::spawn(async move {
        // Serving ends without an error: what fails on one connection stays on it.
        let _ = axum::serve(listener, router).with_graceful_shutdown(stopped).await;
    });
    Server { stop: stop.drop_guard(), task }
}

impl Server {
    pub(super) async fn shutdown(self) {
        drop(self.stop);
        // The task cannot fail but by a panic of its own, and then it has ended too.
        let _ = self.task.await;
    }
}

async fn answer(State(world): State<Arc<World>>, request: Request) -> Response {
    let request = api_request(&request);
    let Some(vendor) = registry::vendor_of(&request.path) else { return not_there().into_response().await };
    let Some(visit) = Visit::begin(&world, vendor) else { return not_there().into_response().await };
    let delivery = match world.desk(vendor) {
        Ok(mut desk) => desk.serve(&request, world.now()),
        Err(_) => not_there(),
    };
    let response = delivery.into_response().await;
    drop(visit);
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

fn not_there() -> Delivery {
    let reply = Reply::json(404, r#"{"error":"no vendor that is played has this path; see /_sim/health"}"#);
    Delivery { reply, compress: false, cut: None, pause: None }
}

/// Counts a request as being answered for as long as it lives, even if its client goes away.
struct Visit<'a> {
    world: &'a World,
    vendor: VendorName,
}

impl<'a> Visit<'a> {
    fn begin(world: &'a World, vendor: VendorName) -> Option<Self> {
        world.desk(vendor).ok()?.stats.enter();
        Some(Self { world, vendor })
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if let Ok(mut desk) = self.world.desk(self.vendor) {
            desk.stats.leave();
        }
    }
}
