//! A proxy in front of a store that can answer requests itself or never answer them. It forwards all else unchanged, the `Host`
//! header too, so that signatures stay valid.

use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::Response;

use crate::store;

/// What the proxy does with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Forwards it to the store.
    Pass,
    /// Answers with this status and error code.
    Reply(u16, &'static str),
    /// Never answers.
    Hang,
}

type Decide = Box<dyn FnMut(&str) -> Action + Send>;

/// A running proxy. It stops when dropped.
pub struct Proxy {
    pub endpoint: String,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

struct Shared {
    target: String,
    client: reqwest::Client,
    decide: Mutex<Decide>,
    faults: Mutex<Vec<String>>,
}

impl Proxy {
    /// `decide` gets the method, path and query of each request, and whose it is: `GET /bucket/key?list by <access key id>`.
    pub fn before(target: &str, decide: impl FnMut(&str) -> Action + Send + 'static) -> Self {
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            client: reqwest::Client::builder().no_proxy().no_gzip().build().unwrap(),
            decide: Mutex::new(Box::new(decide)),
            faults: Mutex::default(),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(forward).with_state(Arc::clone(&shared));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await.unwrap();
        });
        Self { endpoint, shared, _runtime: runtime }
    }

    pub fn decide_by(&self, decide: impl FnMut(&str) -> Action + Send + 'static) {
        *self.shared.decide.lock().unwrap() = Box::new(decide);
    }

    /// The requests that were not forwarded.
    pub fn faults(&self) -> Vec<String> {
        self.shared.faults.lock().unwrap().clone()
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let authorization = parts.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let who = authorization.split("Credential=").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let described = format!("{} {} by {who}", parts.method, parts.uri);
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let action = (shared.decide.lock().unwrap())(&described);
    if action != Action::Pass {
        shared.faults.lock().unwrap().push(described);
    }
    match action {
        Action::Pass => {}
        Action::Reply(status, code) => return store::error(status, code),
        Action::Hang => std::future::pending().await,
    }
    let url = format!("{}{}", shared.target, parts.uri);
    let sent = shared.client.request(parts.method, url).headers(parts.headers).body(bytes).send().await;
    let Ok(reply) = sent else { return store::error(502, "BadGateway") };
    let mut response = Response::builder().status(reply.status());
    for (name, value) in reply.headers().iter().filter(|(name, _)| *name != "transfer-encoding") {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.bytes().await.unwrap_or_default())).unwrap()
}
