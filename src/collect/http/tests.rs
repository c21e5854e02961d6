use std::time::Duration;

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response as HttpResponse};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::clock::ManualClock;
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::vendors::{ApiErrorKind, VendorSettings};

/// What the server received: paths with queries, and headers.
type Seen = Arc<Mutex<Vec<(String, HeaderMap)>>>;

async fn serve(respond: fn(&str) -> HttpResponse) -> (String, Seen) {
    let seen = Seen::default();
    let log = seen.clone();
    let app = Router::new().fallback(move |uri: Uri, headers: HeaderMap| async move {
        log.lock().expect("no panic").push((uri.to_string(), headers));
        respond(uri.path())
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}"), seen)
}

fn transport(base_url: &str) -> HttpTransport {
    let now = Timestamp::parse_rfc3339("2026-03-02T09:00:00Z").expect("a time");
    HttpTransport::new(base_url, Arc::new(ManualClock::starting_at(now))).expect("an address")
}

fn request(path: &str, auth: Auth) -> Request {
    Request {
        path: path.to_owned(),
        query: vec![("filter".into(), "a b&c=d/ü".into())],
        headers: vec![("accept", "application/json".into())],
        secret_headers: Vec::new(),
        auth,
    }
}

fn bearer() -> Auth {
    Auth::Bearer(Secret::from_value("s3cret".into()))
}

const LIMITS: ResponseLimits = ResponseLimits { timeout: Duration::from_secs(20), max_body_bytes: 1_000 };

fn gzipped(coding: &'static str, text: &str) -> HttpResponse {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).expect("memory");
    ([("content-encoding", coding)], encoder.finish().expect("memory")).into_response()
}

#[tokio::test]
async fn sends_below_the_base_path_and_authenticates() {
    let (origin, seen) = serve(|_| "{}".into_response()).await;
    let transport = transport(&format!("{origin}/api/v1"));
    for auth in [
        bearer(),
        Auth::Scheme("Token", Secret::from_value("s3cret".into())),
        Auth::Basic { user: "me@example.com".into(), password: Secret::from_value("s3cret".into()) },
    ] {
        let response = transport.send(&request("/logs", auth), LIMITS).await.expect("a response");
        assert_eq!((response.status, response.body.as_slice()), (200, &b"{}"[..]));
    }
    let seen = seen.lock().expect("no panic");
    let credentials: Vec<_> =
        seen.iter().map(|(_, headers)| headers["authorization"].to_str().expect("text")).collect();
    assert_eq!(credentials, ["Bearer s3cret", "Token s3cret", "Basic bWVAZXhhbXBsZS5jb206czNjcmV0"]);
    assert_eq!(seen[0].0, "/api/v1/logs?filter=a+b%26c%3Dd%2F%C3%BC");
    assert_eq!(seen[0].1["user-agent"], concat!("auditflow/", env!("CARGO_PKG_VERSION")));
    assert_eq!(seen[0].1["accept"], "application/json");
}

#[tokio::test]
async fn an_error_response_that_repeats_the_secret_does_not_show_it() {
    let (origin, _) =
        serve(|_| (StatusCode::UNAUTHORIZED, "bad: s3cret or bWVAZXhhbXBsZS5jb206czNjcmV0").into_response()).await;
    let auth = Auth::Basic { user: "me@example.com".into(), password: Secret::from_value("s3cret".into()) };
    let response = transport(&origin).send(&request("/logs", auth), LIMITS).await.expect("a response");
    assert_eq!(response.body, b"bad: *** or ***");
}

#[tokio::test]
async fn credentials_never_leave_the_configured_address() {
    let (origin, seen) = serve(|_| "{}".into_response()).await;
    let transport = transport(&format!("{origin}/api"));
    for path in ["@example.com/logs", ".example.com/logs", "/../other", "logs", "\\\\example.com", ":1/logs"] {
        let result = transport.send(&request(path, bearer()), LIMITS).await;
        assert!(matches!(result, Err(TransportError::NotSent(_))), "{path}: {result:?}");
    }
    assert!(seen.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn a_redirect_is_a_response_and_is_not_followed() {
    let (other, seen_other) = serve(|_| "{}".into_response()).await;
    static TARGET: Mutex<String> = Mutex::new(String::new());
    TARGET.lock().expect("no panic").clone_from(&other);
    let (origin, _) = serve(|_| {
        let target = TARGET.lock().expect("no panic").clone();
        (StatusCode::FOUND, [("location", target)]).into_response()
    })
    .await;
    let response = transport(&origin).send(&request("/logs", bearer()), LIMITS).await.expect("a response");
    assert_eq!(response.status, 302);
    assert!(seen_other.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn bodies_are_unpacked_and_bounded() {
    let (origin, _) = serve(|path| match path {
        "/small" => gzipped("gzip", "{\"ok\":true}"),
        "/upper" => gzipped("GZIP", "{\"ok\":true}"),
        "/x-gzip" => gzipped("x-gzip", "{\"ok\":true}"),
        "/unnamed" => gzipped("identity", "{\"ok\":true}"),
        "/bomb" => gzipped("gzip", &"x".repeat(1 << 20)),
        "/bomb-upper" => gzipped("GZIP", &"x".repeat(1 << 20)),
        "/damaged" => ([("content-encoding", "gzip")], "not gzip").into_response(),
        "/binary" => Bytes::from_static(&[0xff, 0xfe]).into_response(),
        _ => "y".repeat(1_001).into_response(),
    })
    .await;
    let transport = transport(&origin);
    let send = async |path: &str| transport.send(&request(path, bearer()), LIMITS).await;
    for path in ["/small", "/upper", "/x-gzip", "/unnamed"] {
        assert_eq!(send(path).await.expect(path).body, b"{\"ok\":true}", "{path}");
    }
    assert!(matches!(send("/bomb").await, Err(TransportError::TooLarge(1_000))));
    assert!(matches!(send("/long").await, Err(TransportError::TooLarge(1_000))));
    assert!(matches!(send("/damaged").await, Err(TransportError::Broken(_))));
    assert!(matches!(send("/bomb-upper").await, Err(TransportError::TooLarge(1_000))));
    assert_eq!(send("/binary").await.expect("any bytes").body, [0xff, 0xfe]);
}

#[tokio::test]
async fn a_response_that_breaks_off_is_an_error() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.expect("a client");
        let mut request = [0; 1_024];
        assert!(connection.read(&mut request).await.expect("a request") > 0);
        let truncated = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"records\":[";
        connection.write_all(truncated).await.expect("written");
    });
    let result = transport(&origin).send(&request("/logs", bearer()), LIMITS).await;
    assert!(matches!(result, Err(TransportError::Broken(_))), "{result:?}");
}

#[tokio::test]
async fn error_responses_keep_their_beginning_and_the_requested_wait() {
    let (origin, _) = serve(|path| match path {
        "/seconds" => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")], "slow").into_response(),
        "/date" => {
            let headers = [("retry-after", "Mon, 02 Mar 2026 09:10:00 GMT")];
            (StatusCode::SERVICE_UNAVAILABLE, headers, "slow").into_response()
        }
        _ => (StatusCode::BAD_GATEWAY, "z".repeat(100_000)).into_response(),
    })
    .await;
    let transport = transport(&origin);
    let send = async |path: &str| transport.send(&request(path, bearer()), LIMITS).await.expect("a response");
    assert_eq!(send("/seconds").await.retry_after, Some(Duration::from_secs(7)));
    let wait = send("/date").await.retry_after.expect("a wait");
    assert!((590..=600).contains(&wait.as_secs()), "{wait:?}");
    let gateway = send("/gateway").await;
    assert_eq!((gateway.status, gateway.retry_after), (502, None));
    assert!(!gateway.body.is_empty() && gateway.body.len() < 100_000);
}

fn about_headers(status: u16, headers: &[(&'static str, &'static str)]) -> Response {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, HeaderValue::from_static(value));
    }
    about(status, &map, Timestamp::EPOCH)
}

#[test]
fn the_vendors_clock_and_whether_the_answer_was_stored_in_between() {
    let fresh = about_headers(200, &[("date", "Mon, 02 Mar 2026 09:00:00 GMT")]);
    assert_eq!(fresh.date, Timestamp::parse_rfc3339("2026-03-02T09:00:00Z"));
    assert!(!fresh.is_cached);
    assert!(about_headers(200, &[("age", "17")]).is_cached);
    assert_eq!(about_headers(200, &[("date", "today")]).date, None);
}

#[test]
fn too_many_requests_may_be_answered_with_403_or_420() {
    let settings = serde_json::json!({ "api_key": "k" });
    let settings: crate::vendors::merge::Config = serde_json::from_value(settings).expect("settings");
    let vendor = settings.build().expect("valid");
    let kind = |status, headers: &[(&'static str, &'static str)]| {
        about_headers(status, headers).classify_error(vendor.as_ref(), false).kind
    };
    for status in [403, 420] {
        assert_eq!(kind(status, &[("retry-after", "5")]), ApiErrorKind::RateLimited, "{status}");
        assert_eq!(kind(status, &[("x-ratelimit-remaining", "0")]), ApiErrorKind::RateLimited, "{status}");
        assert_eq!(kind(status, &[("x-ratelimit-remaining", "7")]), ApiErrorKind::Permanent, "{status}");
    }
    assert_eq!(kind(400, &[("retry-after", "5")]), ApiErrorKind::Permanent);
}

#[tokio::test]
async fn timeout_and_unreachable_server() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("bound");
    let base = format!("http://{address}");
    let limits = ResponseLimits { timeout: Duration::from_millis(50), ..LIMITS };
    let result = transport(&base).send(&request("/logs", bearer()), limits).await;
    assert!(matches!(result, Err(TransportError::Timeout(_))), "{result:?}");
    drop(silent);
    let result = transport(&base).send(&request("/logs", bearer()), LIMITS).await;
    let Err(TransportError::Unreachable(reason)) = result else { panic!("{result:?}") };
    assert!(reason.starts_with(&format!("{base}: ")), "the address is named: {reason}");
}

#[tokio::test]
async fn a_rotated_secret_file_takes_effect_with_the_next_request() {
    let (origin, seen) = serve(|_| "{}".into_response()).await;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("token");
    let transport = transport(&origin);
    let send = async || {
        let auth = Auth::Bearer(Secret::from_file(path.clone()));
        transport.send(&request("/logs", auth), LIMITS).await
    };
    assert!(matches!(send().await, Err(TransportError::Secret(_))));
    for token in ["first", "second"] {
        std::fs::write(&path, token).expect("written");
        send().await.expect("a response");
    }
    let seen = seen.lock().expect("no panic");
    assert_eq!([&seen[0].1["authorization"], &seen[1].1["authorization"]], ["Bearer first", "Bearer second"]);
}

#[test]
fn secrets_are_sent_encrypted_or_not_at_all() {
    let clock = Arc::new(ManualClock::starting_at(Timestamp::EPOCH));
    for (url, fine) in [
        ("https://api.example.com/v1", true),
        ("http://localhost:8080", true),
        ("http://[::1]:8080/x", true),
        ("http://api.example.com", false),
        ("http://127.0.0.1.example.com", false),
        ("ftp://127.0.0.1", false),
        ("not a url", false),
    ] {
        assert_eq!(HttpTransport::new(url, clock.clone()).is_ok(), fine, "{url}");
    }
}

#[tokio::test]
async fn a_secret_that_a_header_cannot_hold_is_reported_without_being_shown() {
    let transport = transport("https://api.example.com");
    let auth = Auth::Bearer(Secret::from_value("sec\nret".into()));
    let error = transport.send(&request("/logs", auth), LIMITS).await.expect_err("not sent");
    assert!(matches!(error, TransportError::NotSent(_)));
    assert!(!format!("{error} {error:?}").contains("ret\""));
}

fn wait_in(name: &'static str, value: &'static str) -> Option<Duration> {
    let now = Timestamp::parse_rfc3339("2026-03-02T09:00:00Z").expect("a time");
    requested_wait(|header| (header == name).then_some(value), now)
}

#[test]
fn every_form_of_a_requested_wait() {
    for (name, value, secs) in [
        ("retry-after", "30", 30.0),
        ("retry-after", " 1.5 ", 1.5),
        ("retry-after", "Mon, 02 Mar 2026 09:01:00 GMT", 60.0),
        ("retry-after", "Mon, 02 Mar 2026 08:00:00 GMT", 0.0),
        ("retry-after-ms", "250", 0.25),
        ("x-ratelimit-reset", "2026-03-02T09:02Z", 120.0),
        ("x-ratelimit-reset", "2026-03-02T09:02:30Z", 150.0),
        ("x-ratelimit-reset", "17", 17.0),
        ("x-ratelimit-reset", "1772442060", 60.0),
    ] {
        assert_eq!(wait_in(name, value), Some(Duration::from_secs_f64(secs)), "{name}: {value}");
    }
    for (name, value) in [("retry-after", "soon"), ("retry-after", "-5"), ("x-ratelimit-reset", "-17"), ("age", "5")] {
        assert_eq!(wait_in(name, value), None, "{name}: {value}");
    }
}
