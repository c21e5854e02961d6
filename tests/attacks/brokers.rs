//! A Kafka broker repeats the password in its answers: it reaches no log, state or report.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::server::{Pipeline, SECRET, page, record, serve};

const API_VERSIONS: i16 = 18;
const SASL_HANDSHAKE: i16 = 17;
const SASL_AUTHENTICATE: i16 = 36;
const UNSUPPORTED_VERSION: i16 = 35;
const SASL_AUTHENTICATION_FAILED: i16 = 58;

/// Starts a broker that refuses every login and says what it received. Returns its address.
fn broker() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || while answer(&stream).is_some() {});
        }
    });
    address
}

/// Reads a request (size, API, version, correlation id, client id, body) and answers it.
fn answer(mut stream: &TcpStream) -> Option<()> {
    let mut size = [0; 4];
    stream.read_exact(&mut size).ok()?;
    let mut request = vec![0; usize::try_from(u32::from_be_bytes(size)).ok()?];
    stream.read_exact(&mut request).ok()?;
    let number = |at: usize| i16::from_be_bytes([request[at], request[at + 1]]);
    let client_id_bytes = usize::try_from(number(8)).ok()?;
    let body = match (number(0), number(2)) {
        (API_VERSIONS, 0) => api_versions(0),
        (API_VERSIONS, _) => api_versions(UNSUPPORTED_VERSION),
        (SASL_HANDSHAKE, _) => [&[0, 0, 0, 0, 0, 1][..], &text("PLAIN")].concat(),
        (SASL_AUTHENTICATE, _) => {
            let login = String::from_utf8_lossy(&request[10 + client_id_bytes + 4..]).replace('\0', " ");
            let message = text(&format!("no such login: {login}"));
            [&SASL_AUTHENTICATION_FAILED.to_be_bytes()[..], &message, &[0; 4]].concat()
        }
        _ => return None,
    };
    let length = u32::try_from(4 + body.len()).ok()?;
    stream.write_all(&[&length.to_be_bytes()[..], &request[4..8], &body].concat()).ok()
}

fn api_versions(error: i16) -> Vec<u8> {
    let apis = [(3, 0, 4), (API_VERSIONS, 0, 0), (SASL_HANDSHAKE, 0, 1), (SASL_AUTHENTICATE, 0, 0)];
    let apis = apis.iter().flat_map(|(api, from, to)| [*api, *from, *to]).flat_map(i16::to_be_bytes);
    error.to_be_bytes().into_iter().chain([0, 0, 0, 4]).chain(apis).collect()
}

fn text(text: &str) -> Vec<u8> {
    [&i16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

#[test]
fn a_refusal_that_repeats_the_password() {
    let address = broker();
    let vendor = serve(|_| (200, String::new(), page(None, &[record(1, "")])));
    let sink = format!(
        "type: kafka, topic: audit, bootstrap_servers: \"{address}\", message_timeout_ms: 1000, \
         librdkafka_options: {{debug: \"broker,security,protocol\"}}, \
         sasl: {{mechanism: PLAIN, username: me, password: \"${{KEY}}\"}}"
    );
    let pipeline = Pipeline::new(&vendor, "", &sink);
    let texts = pipeline.said_and_written();
    let has = |wanted: &str| texts.iter().any(|(place, text)| place == "status" && text.contains(wanted));
    assert!(has("no such login") && has("***") && has(&format!("sasl_plaintext://{address}")), "{texts:?}");
    for (place, text) in &texts {
        assert!(!text.contains(&SECRET[3..13]), "the password is in {place}:\n{text}");
    }
}
