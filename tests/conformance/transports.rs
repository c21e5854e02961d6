//! Transports around the real one: one records each exchange, one stops the process at a chosen step.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use auditflow::collect::{Response, ResponseLimits, Transport, TransportError};
use auditflow::vendors::Request;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// When the process is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// The first page is received and not stored.
    BeforeCommit,
    /// The first page is stored, and the second is about to be requested.
    AfterCommit,
}

/// Stops the process at a chosen step.
pub(crate) struct InterruptedTransport {
    pub(crate) inner: Arc<dyn Transport>,
    pub(crate) interruption: Interruption,
    pub(crate) shutdown: CancellationToken,
    sent: AtomicUsize,
}

impl InterruptedTransport {
    pub(crate) fn new(inner: Arc<dyn Transport>, interruption: Interruption, shutdown: CancellationToken) -> Self {
        Self { inner, interruption, shutdown, sent: AtomicUsize::new(0) }
    }
}

impl Transport for InterruptedTransport {
    fn send<'a>(
        &'a self,
        request: &'a Request,
        limits: ResponseLimits,
    ) -> BoxFuture<'a, Result<Response, TransportError>> {
        async move {
            let before = self.sent.fetch_add(1, Ordering::SeqCst);
            if self.interruption == Interruption::AfterCommit && before == 1 {
                self.shutdown.cancel();
                return std::future::pending().await;
            }
            let response = self.inner.send(request, limits).await;
            if self.interruption == Interruption::BeforeCommit {
                // The response is never delivered.
                self.shutdown.cancel();
                return std::future::pending().await;
            }
            response
        }
        .boxed()
    }
}

/// One request and its response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    pub(crate) sent: Instant,
    pub(crate) received: Instant,
    pub(crate) status: u16,
}

/// Records every exchange.
pub(crate) struct RecordingTransport {
    inner: Arc<dyn Transport>,
    exchanges: Mutex<Vec<Exchange>>,
}

impl RecordingTransport {
    pub(crate) fn new(inner: Arc<dyn Transport>) -> Self {
        Self { inner, exchanges: Mutex::default() }
    }

    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        self.exchanges.lock().expect("no panic").clone()
    }
}

impl Transport for RecordingTransport {
    fn send<'a>(
        &'a self,
        request: &'a Request,
        limits: ResponseLimits,
    ) -> BoxFuture<'a, Result<Response, TransportError>> {
        async move {
            let sent = Instant::now();
            let response = self.inner.send(request, limits).await;
            let status = response.as_ref().map_or(0, |response| response.status);
            self.exchanges.lock().expect("no panic").push(Exchange { sent, received: Instant::now(), status });
            response
        }
        .boxed()
    }
}
