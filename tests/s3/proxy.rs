//! A proxy in front of a store that answers or holds up requests on demand. It passes everything on as it came, the `Host`
//! field too, so that signatures stay right.

use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::Response;

use crate::store;

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Pass,
    /// Answered with this status and code.
    JournalFuture(u16, &'static str),
    /// Never answered.
    Hang,
}

type Judge = Box<dyn FnMut(&str) -> Fate + Send>;

/// Ends with its test.
pub struct Proxy {
    pub endpoint: String,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

struct Shared {
    target: String,
    client: reqwest::Client,
    judge: Mutex<Judge>,
    faults: Mutex<Vec<String>>,
}

impl Proxy {
    /// `judge` is shown the method, path and query of each request.
    pub fn before(target: &str, judge: impl FnMut(&str) -> Fate + Send + 'static) -> Self {
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            client: reqwest::Client::builder().no_proxy().no_gzip().build().unwrap(),
            judge: Mutex::new(Box::new(judge)),
            faults: Mutex::default(),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(pass_on).with_state(Arc::clone(&shared));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await.unwrap();
        });
        Self { endpoint, shared, _runtime: runtime }
    }

    pub fn judge(&self, judge: impl FnMut(&str) -> Fate + Send + 'static) {
        *self.shared.judge.lock().unwrap() = Box::new(judge);
    }

    /// The requests that were not passed on.
    pub fn faults(&self) -> Vec<String> {
        self.shared.faults.lock().unwrap().clone()
    }
}

async fn pass_on(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let asked = format!("{} {}", parts.method, parts.uri);
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let fate = (shared.judge.lock().unwrap())(&asked);
    if fate != Fate::Pass {
        shared.faults.lock().unwrap().push(asked);
    }
    match fate {
        Fate::Pass => {}
        Fate::JournalFuture(status, code) => return store::error(status, code),
        Fate::Hang => std::future::pending().await,
    }
    let url = format!("{}{}", shared.target, parts.uri);
    let sent = shared.client.request(parts.method, url).headers(parts.headers).body(bytes).send().await;
    let Ok(answered) = sent else { return store::error(502, "BadGateway") };
    let mut response = Response::builder().status(answered.status());
    for (name, value) in answered.headers().iter().filter(|(name, _)| *name != "transfer-encoding") {
        response = response.header(name, value);
    }
    response.body(Body::from(answered.bytes().await.unwrap_or_default())).unwrap()
}
