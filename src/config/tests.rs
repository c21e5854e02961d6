//! Reading settings with all their errors.

use std::num::NonZeroU16;

use proptest::prelude::*;
use serde::Deserialize;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::environment::{Environment, interpolate};
use super::multi_error::{self, ReadOutcome};
use super::node::KeyPath;
use super::yaml;
use crate::secret::Secret;
use crate::units::{ByteSize, RateLimit, Span};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read")]
struct Example {
    region: Region,
    api_token: Secret,
    organization_id: String,
    #[serde(default)]
    page_size: u32,
    #[serde(default)]
    verbose: bool,
    port: Option<NonZeroU16>,
    ratio: Option<f64>,
    overlap: Option<Span>,
    size: Option<ByteSize>,
    rate_limit: Option<RateLimit>,
    names: Option<Vec<String>>,
    nested: Option<Nested>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Region {
    UsWest,
    EuCentral,
    Custom { host: String },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read")]
struct Nested {
    depth: i64,
    other: Option<String>,
}

const GOOD: &str = "region: us_west\napi_token: ${TOKEN}\norganization_id: 0123\n";

fn read<T: serde::de::DeserializeOwned>(text: &str) -> (ReadOutcome<T>, Vec<Diagnostic>) {
    let environment = Environment::from_pairs([("TOKEN", "s3cret-token"), ("FIVE", "5"), ("YES", "true")]);
    let mut diagnostics = Diagnostics::of_file("x.yaml", text);
    let mut root = yaml::read(0, &mut diagnostics).expect("YAML");
    interpolate(&mut root, &[], &environment, &mut diagnostics);
    let outcome = multi_error::read_type(&root, &KeyPath::default(), &mut diagnostics);
    (outcome, diagnostics.resolve("x.yaml"))
}

fn read_valid(text: &str) -> Example {
    let (outcome, diagnostics) = read(text);
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    outcome.complete().expect("complete")
}

/// The key and the message of each diagnostic, in the order of the file.
fn messages_of(more: &str) -> Vec<String> {
    let (outcome, diagnostics) = read::<Example>(&format!("{GOOD}{more}"));
    assert!(outcome.complete().is_none() || diagnostics.is_empty());
    diagnostics.iter().map(|diagnostic| format!("{}: {}", diagnostic.key, diagnostic.message)).collect()
}

#[test]
fn every_kind_of_value_is_read() {
    let example = read_valid(
        "region: {custom: {host: h}}\napi_token: ${TOKEN}\norganization_id: 0123\npage_size: \"${FIVE}\"\n\
         verbose: ${YES}\nport: ${PORT:-80}\nratio: 1\noverlap: 90\nsize: 64MiB\nrate_limit: [2/s, 60/m]\n\
         names: [a, 1, true]\nnested: {depth: -3}\n",
    );
    assert_eq!(example.region, Region::Custom { host: "h".into() });
    assert_eq!(example.organization_id, "0123", "digits are a string where a string is expected");
    assert_eq!((example.page_size, example.verbose, example.port.map(NonZeroU16::get)), (5, true, Some(80)));
    assert_eq!(example.names.expect("names"), ["a", "1", "true"]);
    assert_eq!(example.api_token.reveal().expect("a secret"), "s3cret-token");
}

#[test]
fn an_empty_value_counts_as_absent() {
    let example = read_valid(&format!("{GOOD}port:\nnames: ~\n"));
    assert!(example.port.is_none() && example.names.is_none());
}

#[test]
fn wrong_types_name_the_found_and_the_expected_type() {
    for (more, expected) in [
        ("page_size: five", "page_size: found the string `five`, expected an integer from 0 to 4294967295"),
        ("page_size: -1", "page_size: found the number -1, expected an integer from 0 to 4294967295"),
        ("page_size: 1.5", "page_size: found the number 1.5, expected an integer from 0 to 4294967295"),
        ("page_size: [1]", "page_size: found a list, expected an integer from 0 to 4294967295"),
        ("verbose: yes", "verbose: found the string `yes`, expected a boolean (`true` or `false`)"),
        ("port: 0", "port: found the number 0, expected an integer, 1 or more"),
        ("names: a", "names: found a string, expected a list"),
        ("names: [a, {b: c}]", "names[1]: found a map (`key: value`), expected a string"),
        ("nested: 5", "nested: found a number, expected a map (`key: value`)"),
        ("nested: {depth: x}", "nested.depth: found the string `x`, expected an integer"),
        ("nested: {}", "nested: the setting `depth` is missing"),
        ("nested: {depth: 1, dept: 2}", "nested.dept: unknown setting `dept`"),
        (
            "rate_limit: [2/s, fast]",
            "rate_limit: `fast` is not a rate; write requests per time such as 2/s, 60/m or 1200/h",
        ),
    ] {
        assert_eq!(messages_of(more), [expected], "{more}");
    }
}

#[test]
fn all_errors_are_found_in_one_run() {
    let (outcome, diagnostics) = read::<Example>(
        "regoin: us_west\napi_token: {fil: x}\npage_size: five\nverbose: maybe\nnested: {dep: 1, othr: 2}\nnames: {a: b}\n",
    );
    assert!(outcome.complete().is_none());
    let found: Vec<_> =
        diagnostics.iter().map(|diagnostic| (diagnostic.key.as_str(), diagnostic.hint.as_str())).collect();
    assert_eq!(
        found,
        [
            ("", "add a line `organization_id: ...` here"),
            ("regoin", "did you mean `region`?"),
            ("api_token.fil", "did you mean `file`?"),
            ("page_size", "write it in digits, such as 10"),
            ("verbose", "write `true` or `false` without quotes"),
            ("nested.dep", "did you mean `depth`? allowed here: `depth`, `other`"),
            ("nested.othr", "did you mean `other`? allowed here: `depth`, `other`"),
            ("names", "write the values in brackets, `[one, another]`, or one per line after `- `"),
        ],
        "{diagnostics:#?}"
    );
}

#[test]
fn a_required_setting_that_is_wrong_is_not_reported_as_missing_too() {
    let (outcome, diagnostics) = read::<Example>("region: mars\napi_token: x\norganization_id: a\n");
    assert!(outcome.complete().is_none());
    assert_eq!(diagnostics.len(), 1, "{diagnostics:#?}");
    assert!(diagnostics[0].hint.contains("`us_west`, `eu_central`, `custom`"));
}

#[test]
fn values_of_variables_are_shown_by_the_variable_name() {
    for more in ["page_size: ${TOKEN}", "overlap: '${TOKEN}'", "rate_limit: [1/s, \"${TOKEN}\"]", "nested: ${TOKEN}"] {
        let (_, diagnostics) = read::<Example>(&format!("{GOOD}{more}\n"));
        let shown = diagnostics[0].to_string();
        assert_eq!(diagnostics.len(), 1, "{more}: {diagnostics:#?}");
        assert!(!shown.contains("s3cret-token"), "{shown}");
    }
    assert_eq!(messages_of("overlap: x${TOKEN}")[0].split(';').next(), Some("overlap: `x${TOKEN}` is not a duration"));
}

#[test]
fn literal_secrets_are_never_shown() {
    for text in [
        "region: us_west\norganization_id: a\napi_token: [hunter2]\n",
        "region: us_west\norganization_id: a\napi_token: {fil: hunter2}\n",
        "region: us_west\norganization_id: a\napi_tokn: hunter2\n",
        "region: us_west\napi_token: hunter2\norganization_id: {hunter2: 1}\nnested: {depth: hunter, api_token: hunter2}\n",
        "{region: us_west, api_token: hunter2, page_size: five}\n",
        "{region: us_west, api_token:hunter2}\n",
    ] {
        let (_, diagnostics) = read::<Example>(text);
        assert!(!diagnostics.is_empty(), "{text}");
        for diagnostic in diagnostics {
            let shown = diagnostic.to_string() + &serde_json::to_string(&diagnostic).expect("JSON");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}

proptest! {
    #[test]
    fn as_many_errors_are_reported_as_were_planted(planted in proptest::sample::subsequence(ERRORS, 0..=ERRORS.len())) {
        let mut text = String::from(GOOD);
        for (line, _) in &planted {
            text += line;
        }
        let (_, diagnostics) = read::<Example>(&text);
        prop_assert_eq!(diagnostics.len(), planted.iter().map(|(_, count)| count).sum::<usize>(), "{}\n{:#?}", text, diagnostics);
    }
}

/// Lines with errors, and the number of errors in each.
const ERRORS: &[(&str, usize)] = &[
    ("regoin: x\n", 1),
    ("page_size: five\n", 1),
    ("verbose: [1]\n", 1),
    ("port: 70000\n", 1),
    ("ratio: ${NOT_SET}\n", 1),
    ("overlap: 5 fortnights\n", 1),
    ("size: {a: b}\n", 1),
    ("rate_limit: [2/s, {}]\n", 1),
    ("names: [[], a, {}]\n", 2),
    ("nested: {depth: x, other: [], third: 1}\n", 3),
    ("region: eu_central\n", 1),
];
