//! An S3 store repeats the credentials in its answers: they reach no log, state or report.

use std::net::TcpListener;

use crate::server::{Answer, Pipeline, Received, SECRET, page, record, serve};

const KEY_ID: &str = "AKIDEXAMPLE0123456789";
const TOKEN: &str = "FwoGZXIvYXdzEXAMPLEtoken/0123456789abcdef";

fn to_store(store: &str) -> Pipeline {
    let vendor = serve(|_| (200, String::new(), page(None, &[record(1, "")])));
    let sink = format!(
        "type: s3, bucket: audit, endpoint: \"{store}\", auth: {{access_key_id: \"{KEY_ID}\", \
         secret_access_key: \"${{KEY}}\", session_token: \"{TOKEN}\"}}"
    );
    Pipeline::new(&vendor, "", &sink)
}

/// What was said and written, but for the pipeline file.
fn assert_kept(name: &str, pipeline: &Pipeline) {
    let texts = pipeline.said_and_written();
    let is_shown = texts.iter().any(|(place, text)| place == "status" && text.contains("***"));
    assert!(is_shown, "{name}: `status` does not show the answer: {texts:?}");
    for (place, text) in texts.iter().filter(|(place, _)| !place.ends_with("pipeline.yaml")) {
        for part in [&KEY_ID[4..16], &TOKEN[3..20], &SECRET[..10]] {
            assert!(!text.contains(part), "{name}: `{part}` in {place}:\n{text}");
        }
    }
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>");
    (status, String::new(), body.into_bytes())
}

#[test]
fn error_answers_that_repeat_the_credentials() {
    let echo = |request: &Received| request.headers.replace(['\n', '<'], " ");
    let message = move |request: &Received| error(403, "AccessDenied", &format!("no access for {}", echo(request)));
    assert_kept("message", &to_store(&serve(message)));
    let code = move |request: &Received| error(500, &echo(request), "as you said");
    assert_kept("code", &to_store(&serve(code)));
    assert_kept("the secret key", &to_store(&serve(|_| error(400, "Odd", &format!("your key is {}", &SECRET[..14])))));
    let region = |_: &Received| {
        let (status, _, body) = error(301, "PermanentRedirect", "elsewhere");
        (status, format!("x-amz-bucket-region: {TOKEN}\r\n"), body)
    };
    assert_kept("region", &to_store(&serve(region)));
}

#[test]
fn a_marker_that_repeats_the_credentials() {
    let marker =
        format!("{{\"journal\":\"j\",\"pipeline\":\"{TOKEN}\",\"sink\":\"{KEY_ID}\",\"generation\":0,\"position\":9}}");
    let answer = move |_: &Received| (200, "etag: \"e\"\r\n".to_owned(), marker.clone().into_bytes());
    assert_kept("marker", &to_store(&serve(answer)));
}

#[test]
fn a_store_that_cannot_be_reached_is_named_with_scheme_and_port() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let pipeline = to_store(&format!("http://{address}"));
    for command in [pipeline.run(), pipeline.auditflow(&["status"]), pipeline.auditflow(&["check"])] {
        let said = String::from_utf8_lossy(&[command.stdout, command.stderr].concat()).into_owned();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(&format!(" at http://{address}: ")), "{said}");
    }
}
