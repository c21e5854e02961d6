//! The server on a free port, with a pipeline that has not run yet.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::pipeline::{self, ActiveConfig, Environment, Overrides};

const PIPELINE: &str = "
sources: {acme: {type: clumio, access_token: not-for-others}}
sinks: {screen: {type: console, inputs: [acme]}}
";

fn config() -> ActiveConfig {
    let environment = Environment::from_pairs([]);
    let pipeline =
        pipeline::validate("acme.yaml", PIPELINE, Path::new("/nowhere"), &environment, &Overrides::default());
    ActiveConfig::new(pipeline.expect("a good file"))
}

async fn served() -> (SocketAddr, RunState) {
    let server = ApiServer::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("a free port");
    let address = server.address();
    let state = RunState {
        started: CancellationToken::new(),
        shutdown: CancellationToken::new(),
        writer_ended: CancellationToken::new(),
    };
    tokio::spawn(server.serve(watch::Sender::new(config()).subscribe(), state.clone()));
    (address, state)
}

/// The whole answer to a request, until the server closes the connection.
async fn answer(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(request.as_bytes()).await.expect("is written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("is closed in order");
    answer
}

async fn get(address: SocketAddr, path: &str) -> String {
    answer(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")).await
}

#[tokio::test]
async fn it_is_ready_from_the_start_of_all_components_until_it_is_to_stop() {
    let (address, state) = served().await;
    let starting = get(address, "/readyz").await;
    assert!(starting.starts_with("HTTP/1.1 503 ") && starting.ends_with("\r\n\r\nstarting\n"), "{starting}");
    state.started.cancel();
    let ready = get(address, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200 ") && ready.ends_with("\r\n\r\nok\n"), "{ready}");
    state.shutdown.cancel();
    let stopping = get(address, "/readyz").await;
    assert!(stopping.starts_with("HTTP/1.1 503 ") && stopping.ends_with("\r\n\r\nstopping\n"), "{stopping}");
    assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200 "), "it lives until it has stopped");
}

#[tokio::test]
async fn it_no_longer_lives_once_the_journal_cannot_be_written() {
    let (address, state) = served().await;
    assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200 "));
    state.writer_ended.cancel();
    let dead = get(address, "/livez").await;
    assert!(dead.starts_with("HTTP/1.1 503 ") && dead.ends_with("restart auditflow\n"), "{dead}");
}

#[tokio::test]
async fn before_the_first_run_counters_are_zero_and_there_is_no_journal() {
    let (address, _state) = served().await;
    let metrics = get(address, "/metrics").await;
    assert!(metrics.contains("\nauditflow_source_events_total{source=\"acme\",vendor=\"clumio\"} 0\n"), "{metrics}");
    assert!(metrics.contains("\nauditflow_sink_delivered_total{sink=\"screen\",type=\"console\"} 0\n"), "{metrics}");
    assert!(!metrics.contains("\nauditflow_journal_head "), "{metrics}");
    let status = get(address, "/status.json").await;
    assert!(status.contains("\"has_run\":false") && !status.contains("not-for-others"), "{status}");
}

#[tokio::test]
async fn it_is_read_only_and_refuses_what_it_does_not_know() {
    let (address, _state) = served().await;
    let post =
        answer(address, &format!("POST /metrics HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n")).await;
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
    let unknown = get(address, "/metric").await;
    assert!(unknown.starts_with("HTTP/1.1 404 ") && unknown.contains("try /, /metrics"), "{unknown}");
    let no_http = answer(address, "\x16\x03\x01\r\n\r\n").await;
    assert!(no_http.starts_with("HTTP/1.1 400 "), "{no_http}");
}

async fn ask_host(address: SocketAddr, host: &str) -> String {
    answer(address, &format!("GET /status.json HTTP/1.1\r\nHost: {host}\r\n\r\n")).await
}

#[tokio::test]
async fn a_web_page_cannot_read_it_under_a_name_of_its_own() {
    let (address, _state) = served().await;
    for host in ["evil.example", "evil.example:9598", "127.0.0.1.evil.example"] {
        let refused = ask_host(address, host).await;
        assert!(refused.starts_with("HTTP/1.1 403 ") && !refused.contains("acme"), "{host}: {refused}");
    }
    for host in ["localhost:9598", "127.0.0.1:9598", "[::1]:9598", "[::1]", "auditflow"] {
        let answered = ask_host(address, host).await;
        assert!(answered.starts_with("HTTP/1.1 200 "), "{host}: {answered}");
    }
}

/// The paused clock passes to the end of the connections as soon as every client waits.
#[tokio::test(start_paused = true)]
async fn slow_clients_are_disconnected_and_others_answered() {
    let (address, _state) = served().await;
    let mut slow = Vec::new();
    for _ in 0..server::MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: ").await.expect("is written");
        slow.push(stream);
    }
    let begin = Instant::now();
    assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200 "));
    assert_eq!(begin.elapsed().as_secs(), server::MAX_HEAD_TIME.as_secs(), "it had to wait for its turn");
    for mut stream in slow {
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0, "is closed without an answer");
    }
}

#[tokio::test]
async fn an_address_that_is_not_free_or_not_ours_is_reported_with_what_to_do() {
    let taken = ApiServer::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("a free port");
    let error = ApiServer::bind(taken.address()).await.expect_err("is in use").to_string();
    assert!(error.contains("`api.address`") && error.ends_with("or choose another port"), "{error}");
    let documentation = SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9_598));
    let error = ApiServer::bind(documentation).await.expect_err("is not of this machine").to_string();
    assert!(error.contains("[2001:db8::1]:9598"), "{error}");
}
