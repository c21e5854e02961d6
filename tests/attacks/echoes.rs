//! A vendor, or somebody in between, repeats the credential in its answers: it reaches no log, state or report.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::server::{Answer, Pipeline, Received, SECRET, page, record, serve};

/// Texts that give the secret away.
fn forms() -> Vec<(&'static str, String)> {
    let encoded: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let json = serde_json::to_string(SECRET).unwrap();
    vec![
        ("verbatim", SECRET.to_owned()),
        ("URL-encoded", encoded.replace('+', "%20")),
        ("JSON", json.trim_matches('"').to_owned()),
        ("base64", STANDARD.encode(SECRET)),
        ("base64 behind a name", STANDARD.encode(format!("me:{SECRET}"))),
        ("base64 for URLs", URL_SAFE_NO_PAD.encode(format!("a{SECRET}"))),
        ("cut", SECRET.chars().take(14).collect()),
    ]
}

/// A part of each form that no text contains by chance.
fn give_aways() -> Vec<String> {
    let middle = |text: &str| text.chars().skip(3).take(10).collect::<String>();
    let cores = forms().into_iter().map(|(_, form)| middle(&form));
    cores.chain([middle(SECRET)]).collect()
}

/// Nothing that the program writes or prints gives the secret away; the pipeline file names a variable only.
fn assert_secret_is_kept(name: &str, pipeline: &Pipeline) {
    for (place, text) in pipeline.said_and_written() {
        for part in give_aways() {
            assert!(!text.contains(&part), "{name}: `{part}` in {place}:\n{text}");
        }
    }
}

fn to_files(address: &str) -> Pipeline {
    Pipeline::new(address, "", "type: file, path: out/events.ndjson")
}

fn check(name: &str, answer: impl Fn(&Received) -> Answer + Send + Sync + 'static) {
    assert_secret_is_kept(name, &to_files(&serve(answer)));
}

#[test]
fn error_answers_that_repeat_the_secret() {
    for status in [400, 401, 403, 404, 429, 500, 503] {
        let (name, form) = forms().swap_remove(status as usize % 7);
        check(name, move |_| (status, String::new(), format!("{{\"error\":\"no access for {form}\"}}").into_bytes()));
    }
    check("the header itself", |request| (401, String::new(), format!("got {}", request.authorization).into_bytes()));
}

#[test]
fn pages_that_cannot_be_read_and_repeat_the_secret() {
    for (name, form) in forms() {
        let quoted = serde_json::to_string(&form).unwrap();
        for body in [
            format!("{{\"results\":{quoted},\"next\":null}}"),
            format!("{{\"next\":{quoted}}}"),
            format!("{{\"results\":[],\"next\":{{\"to\":{quoted}}}}}"),
            quoted.clone(),
            format!("{form} is not JSON"),
        ] {
            check(name, move |_| (200, String::new(), body.clone().into_bytes()));
        }
    }
}

#[test]
fn cursors_and_headers_that_repeat_the_secret() {
    for (name, form) in forms().into_iter().filter(|(name, _)| *name != "cut") {
        let next = format!("https://api.example.com/audit-trail?cursor={form}");
        check(name, move |_| (200, String::new(), page(Some(&next), &[record(1, "")])));
    }
    let encoded: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    check("headers", move |_| {
        let headers = format!(
            "retry-after: {encoded}\r\ndate: {encoded}\r\nx-ratelimit-reset: {encoded}\r\nlocation: /{encoded}\r\n"
        );
        (302, headers, Vec::new())
    });
}

#[test]
fn a_secret_file_that_was_rotated_before_the_answer_came() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    fs::write(&file, SECRET).unwrap();
    let rotated = file.clone();
    let address = serve(move |request| {
        fs::write(&rotated, "another-key-0123456789").unwrap();
        (500, String::new(), format!("refused {}", request.authorization).into_bytes())
    });
    let pipeline = to_files(&address);
    let yaml = pipeline.path("pipeline.yaml");
    let text = fs::read_to_string(&yaml).unwrap();
    fs::write(&yaml, text.replace("\"${KEY}\"", &format!("{{file: {}}}", file.display()))).unwrap();
    assert_secret_is_kept("rotated", &pipeline);
}
