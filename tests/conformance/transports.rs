//! Transports laid around the real one: they look on, and end the process at a chosen step.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use auditflow::collect::{Response, ResponseLimits, Transport, TransportError};
use auditflow::vendors::Request;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Where a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The first page has come and is not stored.
    BeforeCommit,
    /// The first page is stored, and the second is about to be asked for.
    AfterCommit,
}

/// Ends the process at a step.
pub(crate) struct Ending {
    pub(crate) inner: Arc<dyn Transport>,
    pub(crate) end: End,
    pub(crate) shutdown: CancellationToken,
    sent: AtomicUsize,
}

impl Ending {
    pub(crate) fn new(inner: Arc<dyn Transport>, end: End, shutdown: CancellationToken) -> Self {
        Self { inner, end, shutdown, sent: AtomicUsize::new(0) }
    }
}

impl Transport for Ending {
    fn send<'a>(
        &'a self,
        request: &'a Request,
        limits: ResponseLimits,
    ) -> BoxFuture<'a, Result<Response, TransportError>> {
        async move {
            let before = self.sent.fetch_add(1, Ordering::SeqCst);
            if self.end == End::AfterCommit && before == 1 {
                self.shutdown.cancel();
                return std::future::pending().await;
            }
            let answer = self.inner.send(request, limits).await;
            if self.end == End::BeforeCommit {
                // Whoever waits for this answer never gets it.
                self.shutdown.cancel();
                return std::future::pending().await;
            }
            answer
        }
        .boxed()
    }
}

/// One request, as it was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) asked: Instant,
    pub(crate) answered: Instant,
    pub(crate) status: u16,
}

/// Looks on.
pub(crate) struct Watched {
    inner: Arc<dyn Transport>,
    seen: Mutex<Vec<Seen>>,
}

impl Watched {
    pub(crate) fn new(inner: Arc<dyn Transport>) -> Self {
        Self { inner, seen: Mutex::default() }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }
}

impl Transport for Watched {
    fn send<'a>(
        &'a self,
        request: &'a Request,
        limits: ResponseLimits,
    ) -> BoxFuture<'a, Result<Response, TransportError>> {
        async move {
            let asked = Instant::now();
            let answer = self.inner.send(request, limits).await;
            let status = answer.as_ref().map_or(0, |response| response.status);
            self.seen.lock().expect("no panic").push(Seen { asked, answered: Instant::now(), status });
            answer
        }
        .boxed()
    }
}
