//! The listener. Each connection carries one request and ends within a fixed time, and few are open at once, so that slow
//! or many clients cost little and never stop the pipeline.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::pages::{self, RunState};
use crate::pipeline::ActiveConfig;

/// Connections that are open at once; further ones wait in the operating system's queue.
pub(super) const MAX_CONNECTIONS: usize = 32;

/// How long a connection may take from its start to the end of the response.
pub(super) const MAX_CONNECTION_TIME: Duration = Duration::from_secs(10);

/// How long the head of a request may take: a connection without one does not keep others waiting.
pub(super) const MAX_HEAD_TIME: Duration = Duration::from_secs(1);

/// The largest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// The wait after the operating system could not accept a connection, for example because too many files are open.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (`api.address`): {source}; {hint}")]
pub(crate) struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
    hint: &'static str,
}

impl ListenError {
    fn new(address: SocketAddr, source: std::io::Error) -> Self {
        let hint = match source.kind() {
            ErrorKind::AddrInUse => "stop the program that listens there, or choose another port",
            ErrorKind::AddrNotAvailable => "use an address of this machine, such as 127.0.0.1",
            ErrorKind::PermissionDenied => "choose a port above 1023",
            _ => "choose another address, or remove the setting",
        };
        Self { address, source, hint }
    }
}

/// Listens, and serves once it is asked to.
#[derive(Debug)]
pub(crate) struct ApiServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl ApiServer {
    /// Listens on `address`; port 0 selects a free port. Connections wait until [`ApiServer::serve`].
    ///
    /// # Errors
    /// The address is in use, is not of this machine, or is not allowed.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source| ListenError::new(address, source);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address that it listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is dropped.
    pub(crate) async fn serve(self, config: watch::Receiver<ActiveConfig>, state: RunState) {
        let router = pages::router(config, state, self.address.ip().is_loopback());
        let open = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&open).acquire_owned().await else { return };
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(ACCEPT_RETRY_INTERVAL).await;
                continue;
            };
            let router = router.clone();
            tokio::spawn(async move {
                serve_connection(stream, router).await;
                drop(permit);
            });
        }
    }
}

/// Answers one request. A client that is too slow, or sends something else than HTTP, is disconnected.
async fn serve_connection(stream: TcpStream, router: Router) {
    let mut http = http1::Builder::new();
    http.keep_alive(false).max_buf_size(MAX_HEAD_BYTES).timer(TokioTimer::new()).header_read_timeout(MAX_HEAD_TIME);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let _ = tokio::time::timeout(MAX_CONNECTION_TIME, connection).await;
}
