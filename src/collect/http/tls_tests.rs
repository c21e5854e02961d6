//! TLS against a server with certificates of an authority that the system does not know.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::*;
use crate::clock::SystemClock;
use crate::secret::Secret;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

fn certificates(name: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(fixture(name)).expect("a file").map(|found| found.expect("PEM")).collect()
}

/// A server called `localhost`. Returns its port.
async fn serve(wants_client: bool) -> u16 {
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).expect("a key");
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates("authority.pem"));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().expect("TLS");
    let builder = match wants_client {
        true => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().expect("roots"),
        ),
        false => builder.with_no_client_auth(),
    };
    let config = builder.with_single_cert(certificates("server.pem"), key).expect("a certificate");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 4_096];
            let read = stream.read(&mut request).await.unwrap_or(0);
            if read > 0 {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").await;
                let _ = stream.shutdown().await;
            }
        }
    });
    port
}

async fn send(url: &str, tls: &TlsOptions) -> Result<Response, TransportError> {
    let transport = HttpTransport::sharing(&HttpClients::default(), url, tls, Arc::new(SystemClock)).expect("a client");
    send_by(&transport).await
}

async fn send_by(transport: &HttpTransport) -> Result<Response, TransportError> {
    let auth = Auth::Bearer(Secret::from_value("s3cret".into()));
    let request = Request::json("/logs", Vec::new(), auth);
    let limits = ResponseLimits { timeout: Duration::from_secs(20), max_body_bytes: 1_000 };
    transport.send(&request, limits).await
}

fn trusting() -> TlsOptions {
    TlsOptions { ca_file: Some(fixture("authority.pem")), ..TlsOptions::default() }
}

/// The host and the hint of a failed handshake.
fn failed(result: Result<Response, TransportError>) -> (String, &'static str) {
    match result {
        Err(TransportError::Tls { host, hint, .. }) => (host, hint),
        other => panic!("no TLS error: {other:?}"),
    }
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_when_it_is_configured() {
    let url = format!("https://localhost:{}", serve(false).await);
    let (host, hint) = failed(send(&url, &TlsOptions::default()).await);
    assert_eq!(host, "localhost");
    assert!(hint.contains("tls.ca_file"), "{hint}");
    assert_eq!(send(&url, &trusting()).await.expect("trusted").body, b"{}");
    let by_address = url.replace("localhost", "127.0.0.1");
    let (host, hint) = failed(send(&by_address, &trusting()).await);
    assert!(host == "127.0.0.1" && hint.contains("another host"), "{hint}");
}

#[tokio::test]
async fn a_server_may_require_a_client_certificate() {
    let url = format!("https://localhost:{}", serve(true).await);
    let (_, hint) = failed(send(&url, &trusting()).await);
    assert!(hint.contains("tls.crt_file"), "{hint}");
    let (crt_file, key_file) = (Some(fixture("client.pem")), Some(fixture("client.key")));
    let response = send(&url, &TlsOptions { crt_file, key_file, ..trusting() }).await;
    assert_eq!(response.expect("accepted").body, b"{}");
}

#[tokio::test]
async fn files_that_vanish_after_the_start_are_not_missed() {
    let directory = tempfile::tempdir().expect("a directory");
    let copied = |name: &str| {
        let copy = directory.path().join(name);
        std::fs::copy(fixture(name), &copy).expect("copied");
        Some(copy)
    };
    let (ca_file, crt_file, key_file) = (copied("authority.pem"), copied("client.pem"), copied("client.key"));
    let tls = TlsOptions { ca_file, crt_file, key_file };
    let url = format!("https://localhost:{}", serve(true).await);
    let clients = HttpClients::default();
    let transport = HttpTransport::sharing(&clients, &url, &tls, Arc::new(SystemClock)).expect("a client");
    assert_eq!(send_by(&transport).await.expect("accepted").body, b"{}");
    drop(directory);
    assert_eq!(send_by(&transport).await.expect("a new connection").body, b"{}");
    let another = HttpTransport::sharing(&HttpClients::default(), &url, &tls, Arc::new(SystemClock));
    assert!(another.is_err_and(|error| error.to_string().contains("tls.ca_file")), "the next start names the file");
}

#[tokio::test]
async fn a_port_without_tls_is_distinguished_from_an_unreachable_one() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let (_, hint) = failed(send(&format!("https://localhost:{port}"), &trusting()).await);
    assert!(hint.contains("does not speak TLS"), "{hint}");
}

#[test]
fn files_that_cannot_be_used_name_the_option() {
    let build = |tls: &TlsOptions| {
        let clients = HttpClients::default();
        HttpTransport::sharing(&clients, "https://localhost", tls, Arc::new(SystemClock))
            .err()
            .map(|error| error.to_string())
    };
    let missing = TlsOptions { ca_file: Some(fixture("none.pem")), ..TlsOptions::default() };
    assert!(build(&missing).is_some_and(|error| error.contains("tls.ca_file") && error.contains("none.pem")));
    let not_pem = TlsOptions { ca_file: Some(fixture("README.md")), ..TlsOptions::default() };
    assert!(build(&not_pem).is_some_and(|error| error.contains("holds no certificate")));
    let (crt_file, key_file) = (Some(fixture("README.md")), Some(fixture("client.key")));
    assert!(
        build(&TlsOptions { crt_file, key_file, ..TlsOptions::default() })
            .is_some_and(|error| error.contains("crt_file"))
    );
}

#[test]
fn a_proxy_variable_that_is_no_url_is_an_error_that_names_it() {
    let set = |name: &'static str, value: &'static str| move |asked: &str| (asked == name).then(|| value.to_owned());
    assert!(check_proxies(set("HTTPS_PROXY", "http://proxy:3128")).is_ok());
    assert!(check_proxies(set("https_proxy", "")).is_ok());
    let error = check_proxies(set("all_proxy", "http://:bad:port")).err().map(|error| error.to_string());
    assert!(error.is_some_and(|error| error.contains("all_proxy") && !error.contains(":bad:")));
}
