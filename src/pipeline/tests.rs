//! Reading with all mistakes, checks across components, and what no text may do to the reader.

use std::num::NonZeroU16;
use std::path::Path;

use proptest::prelude::*;
use serde::Deserialize;

use super::collect_all::{self, Outcome};
use super::environment::Environment;
use super::interpolate::interpolate;
use super::path::KeyPath;
use super::problem::Findings;
use super::settings::Overrides;
use super::{Problem, SinkPlan, check, yaml};
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

fn read<T: serde::de::DeserializeOwned>(text: &str) -> (Outcome<T>, Vec<Problem>) {
    let environment = Environment::from_pairs([("TOKEN", "s3cret-token"), ("FIVE", "5"), ("YES", "true")]);
    let mut findings = Findings::default();
    let mut root = yaml::read(text, &mut findings).expect("YAML");
    interpolate(&mut root, &KeyPath::default(), &environment, &mut findings);
    let outcome = collect_all::read_type(&root, &KeyPath::default(), &mut findings);
    (outcome, findings.into_problems("x.yaml", text))
}

fn read_well(text: &str) -> Example {
    let (outcome, problems) = read(text);
    assert!(problems.is_empty(), "{problems:#?}");
    outcome.whole().expect("whole")
}

/// The key and the message of each problem, in the order of the file.
fn problems_of(more: &str) -> Vec<String> {
    let (outcome, problems) = read::<Example>(&format!("{GOOD}{more}"));
    assert!(outcome.whole().is_none() || problems.is_empty());
    problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
}

#[test]
fn every_kind_of_value_is_read() {
    let example = read_well(
        "region: {custom: {host: h}}\napi_token: ${TOKEN}\norganization_id: 0123\npage_size: \"${FIVE}\"\n\
         verbose: ${YES}\nport: ${PORT:-80}\nratio: 1\noverlap: 90\nsize: 64MiB\nrate_limit: [2/s, 60/m]\n\
         names: [a, 1, true]\nnested: {depth: -3}\n",
    );
    assert_eq!(example.region, Region::Custom { host: "h".into() });
    assert_eq!(example.organization_id, "0123", "digits are text where text is wanted, just as written");
    assert_eq!((example.page_size, example.verbose, example.port.map(NonZeroU16::get)), (5, true, Some(80)));
    assert_eq!(example.names.expect("names"), ["a", "1", "true"]);
    assert_eq!(example.api_token.reveal().expect("a secret"), "s3cret-token");
}

#[test]
fn an_empty_value_is_as_good_as_none() {
    let example = read_well(&format!("{GOOD}port:\nnames: ~\n"));
    assert!(example.port.is_none() && example.names.is_none());
}

#[test]
fn wrong_types_say_what_was_found_and_what_was_expected() {
    for (more, expected) in [
        ("page_size: five", "page_size: found text `five`, expected a whole number from 0 to 4294967295"),
        ("page_size: -1", "page_size: found the number -1, expected a whole number from 0 to 4294967295"),
        ("page_size: 1.5", "page_size: found the number 1.5, expected a whole number from 0 to 4294967295"),
        ("page_size: [1]", "page_size: found a list, expected a whole number from 0 to 4294967295"),
        ("verbose: yes", "verbose: found text `yes`, expected `true` or `false`"),
        ("port: 0", "port: found the number 0, expected a whole number, 1 or more"),
        ("names: a", "names: found text, expected a list"),
        ("names: [a, {b: c}]", "names[1]: found settings (`key: value`), expected text"),
        ("nested: 5", "nested: found a number, expected settings (`key: value`)"),
        ("nested: {depth: x}", "nested.depth: found text `x`, expected a whole number"),
        ("nested: {}", "nested: the setting `depth` is missing"),
        ("nested: {depth: 1, dept: 2}", "nested.dept: unknown setting `dept`"),
        (
            "rate_limit: [2/s, fast]",
            "rate_limit: `fast` is not a rate; write requests per time such as 2/s, 60/m or 1200/h",
        ),
    ] {
        assert_eq!(problems_of(more), [expected], "{more}");
    }
}

#[test]
fn all_mistakes_are_found_in_one_run() {
    let (outcome, problems) = read::<Example>(
        "regoin: us_west\napi_token: {fil: x}\npage_size: five\nverbose: maybe\nnested: {dep: 1, othr: 2}\nnames: {a: b}\n",
    );
    assert!(outcome.partial.is_none());
    let found: Vec<_> = problems.iter().map(|problem| (problem.key.as_str(), problem.hint.as_str())).collect();
    assert_eq!(
        found,
        [
            ("", "add a line `organization_id: ...` here"),
            ("regoin", "did you mean `region`?"),
            ("api_token.fil", "did you mean `file`?"),
            ("page_size", "write it in digits, such as 10"),
            ("verbose", "write one of the two words, without quotes"),
            ("nested.dep", "did you mean `depth`? allowed here: `depth`, `other`"),
            ("nested.othr", "did you mean `other`? allowed here: `depth`, `other`"),
            ("names", "write the values in brackets, `[one, another]`, or each in a line of its own behind `- `"),
        ],
        "{problems:#?}"
    );
}

#[test]
fn a_required_setting_that_is_wrong_is_not_reported_as_missing_too() {
    let (outcome, problems) = read::<Example>("region: mars\napi_token: x\norganization_id: a\n");
    assert!(outcome.partial.is_none());
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].hint.contains("`us_west`, `eu_central`, `custom`"));
}

#[test]
fn what_came_from_a_variable_is_shown_by_its_name() {
    for more in ["page_size: ${TOKEN}", "overlap: '${TOKEN}'", "rate_limit: [1/s, \"${TOKEN}\"]", "nested: ${TOKEN}"] {
        let (_, problems) = read::<Example>(&format!("{GOOD}{more}\n"));
        let shown = problems[0].to_string();
        assert_eq!(problems.len(), 1, "{more}: {problems:#?}");
        assert!(!shown.contains("s3cret-token"), "{shown}");
    }
    assert_eq!(
        problems_of("overlap: x${TOKEN}")[0].split(';').next(),
        Some("overlap: `x${TOKEN}` is not a length of time")
    );
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
        let (_, problems) = read::<Example>(text);
        assert!(!problems.is_empty(), "{text}");
        for problem in problems {
            let shown = problem.to_string() + &serde_json::to_string(&problem).expect("JSON");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}

fn environment() -> Environment {
    Environment::from_pairs([("TOKEN", "s3cret-token")])
}

/// The problems about anything but the settings of vendors.
fn check_text(text: &str) -> Vec<String> {
    let outcome = check("x.yaml", text, Path::new(""), &environment(), &Overrides::default());
    outcome.err().unwrap_or_default().iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
}

#[test]
fn sinks_that_get_a_source_in_two_forms_are_refused() {
    let text = "sources: {a: {type: clumio, access_token: x}}\n\
                transforms: {n: {type: normalize, inputs: a}, m: {type: normalize, inputs: [a, n]}}\n\
                sinks: {good: {type: console, inputs: [n, m]}, raw: {type: console, inputs: a}, bad: {type: console, inputs: ['*']}}\n";
    let problems = check_text(text);
    let two_forms: Vec<_> = problems.iter().filter(|problem| problem.contains("twice")).collect();
    assert_eq!(two_forms, ["sinks.bad.inputs: sink `bad` gets source `a` twice: normalized and as raw records"]);
}

/// Each sink's condition on source `a`, by sink.
fn conditions(transforms_and_sinks: &str) -> Vec<Option<String>> {
    let text = format!("sources: {{a: {{type: clumio, access_token: x}}}}\n{transforms_and_sinks}");
    let pipeline = check("x.yaml", &text, Path::new(""), &environment(), &Overrides::default()).expect("right");
    let condition = |sink: &SinkPlan| sink.routes[0].condition.as_ref().map(ToString::to_string);
    pipeline.sinks.iter().map(condition).collect()
}

#[test]
fn filters_in_a_row_are_and_and_ways_that_meet_are_or() {
    let found = conditions(
        "transforms:
  n: {type: normalize, inputs: a}
  read: {type: filter, inputs: n, condition: action=='read'}
  iam: {type: filter, inputs: [read], condition: category == 'iam'}
  again: {type: normalize, inputs: read}
  users: {type: filter, inputs: [read, iam], condition: actor.type == 'user'}
sinks:
  plain: {type: console, inputs: n}
  one: {type: console, inputs: again}
  row: {type: console, inputs: iam}
  met: {type: console, inputs: users}
  unfiltered: {type: console, inputs: [iam, n, users]}
  twice: {type: console, inputs: [read, again]}
",
    );
    let read = r#"action == "read""#;
    let row = format!(r#"({read}) && (category == "iam")"#);
    let met = format!(r#"(({read}) || ({row})) && (actor.type == "user")"#);
    assert_eq!(found, [None, Some(read.to_owned()), Some(row), Some(met), None, Some(read.to_owned())]);
}

#[test]
fn a_filter_of_raw_records_is_refused() {
    let text = "sources: {a: {type: clumio, access_token: x}, b: {type: clumio, access_token: x}}\n\
                transforms: {n: {type: normalize, inputs: a}, f: {type: filter, inputs: [n, b], condition: 'true'}}\n\
                sinks: {s: {type: console, inputs: f}}\n";
    assert_eq!(
        check_text(text),
        ["transforms.f.inputs[1]: filter `f` gets raw records of source `b`, which have no fields to ask of"]
    );
}

/// Ways that part and meet again and again multiply: they are refused, and take no time.
#[test]
fn too_many_filters_between_a_source_and_a_sink_are_refused() {
    let mut text = "sources: {a: {type: clumio, access_token: x}}\ntransforms:\n  n: {type: normalize, inputs: a}\n  \
                    f0: {type: filter, inputs: n, condition: has(message)}\n  g0: {type: filter, inputs: n, condition: has(target)}\n"
        .to_owned();
    for level in 1..60 {
        let below = level - 1;
        text += &format!("  f{level}: {{type: filter, inputs: [f{below}, g{below}], condition: version == {level}}}\n");
        text += &format!("  g{level}: {{type: filter, inputs: [f{below}, g{below}], condition: version < {level}}}\n");
    }
    text += "sinks: {s: {type: console, inputs: [f59, g59]}}\n";
    assert_eq!(check_text(&text), ["sinks.s.inputs: the filters between source `a` and sink `s` are too many"]);
}

/// Line, column and width of each mistake in the condition of one filter, which is written as `condition` says.
fn places(condition: &str) -> Vec<(usize, usize, usize)> {
    let text = format!(
        "sources: {{a: {{type: clumio, access_token: x}}}}\ntransforms:\n  n: {{type: normalize, inputs: a}}\n  f:\n    \
         type: filter\n    inputs: n\n    condition: {condition}\nsinks: {{s: {{type: console, inputs: f}}}}\n"
    );
    let problems = check("x.yaml", &text, Path::new(""), &environment(), &Overrides::default()).expect_err(condition);
    problems.iter().filter_map(|problem| problem.place).map(|place| (place.line, place.column, place.width)).collect()
}

#[test]
fn a_mistake_in_a_condition_is_shown_where_it_stands_however_it_is_written() {
    for (condition, place) in [
        ("actor.emial == \"x\" # é", (7, 22, 5)),
        ("'actor.name == \"it''s\" && acton == \"read\"'", (7, 42, 5)),
        ("\"message == \\\"\\\\\\\"\\\" && acton == 'read'\"", (7, 40, 5)),
        ("has(message)\n      && actor.type == \"usr\"", (8, 24, 5)),
        (">-\n      has(message)\n      && actor.type == \"usr\"", (9, 24, 5)),
        ("| # why\n      has(message) && // why\n\n      actor.type == \"usr\"", (10, 21, 5)),
        ("has(message) &&", (7, 31, 1)),
        (">\n      has(message) // lost\n      && has(target)", (8, 20, 7)),
        // What a line break comes to cannot be found again: the whole value is named.
        ("\"has(message) &&\\n acton == 'read'\"", (7, 16, 35)),
    ] {
        assert_eq!(places(condition), [place], "{condition}");
    }
}

#[test]
fn what_a_variable_brings_into_a_condition_is_not_shown() {
    for condition in ["actor.type == '${TOKEN}'", "actor.${TOKEN} == ''", "${TOKEN}", "has(message) ${TOKEN} true"] {
        let text = format!(
            "sources: {{a: {{type: clumio, access_token: x}}}}\ntransforms: {{n: {{type: normalize, inputs: a}}, \
             f: {{type: filter, inputs: n, condition: \"{condition}\"}}}}\nsinks: {{s: {{type: console, inputs: f}}}}\n"
        );
        let problems = check("x.yaml", &text, Path::new(""), &environment(), &Overrides::default()).expect_err(&text);
        let shown = problems.iter().map(ToString::to_string).collect::<String>();
        assert!(shown.contains("once its variables are filled in") && !shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn a_file_without_anything_says_what_is_needed() {
    assert_eq!(check_text(""), ["sources: the pipeline has no sources", "sinks: the pipeline has no sinks"]);
    assert_eq!(check_text("- a\n"), [": this is not a pipeline"]);
    assert_eq!(
        check_text("sources: [a]\nsinks:\n"),
        ["sources: `sources` must hold settings by name", "sinks: the pipeline has no sinks"]
    );
}

#[test]
fn a_longer_cycle_is_printed_once_in_the_direction_of_the_events() {
    let text = "sources: {s: {type: clumio, access_token: x}}\ntransforms:\n  a: {type: normalize, inputs: [s, c]}\n  \
                b: {type: normalize, inputs: a}\n  c: {type: normalize, inputs: b}\nsinks: {k: {type: console, inputs: c}}\n";
    let problems = check_text(text);
    let cycles: Vec<_> = problems.iter().filter(|problem| problem.contains("circle")).collect();
    assert_eq!(cycles.len(), 1, "{problems:?}");
    assert!(cycles[0].contains("b -> c -> a -> b") || cycles[0].contains("a -> b -> c -> a"), "{cycles:?}");
}

#[test]
fn a_cycle_hides_no_other_mistake_of_the_ways() {
    let text = "sources: {s: {type: clumio, access_token: x}}\ntransforms:\n  a: {type: normalize, inputs: [s, b]}\n  \
                b: {type: normalize, inputs: a}\n  f: {type: filter, inputs: s, condition: 'true'}\n\
                sinks: {k: {type: console, inputs: [a, f, s]}}\n";
    assert_eq!(
        check_text(text),
        [
            "transforms.b.inputs: events would go round in a circle: b -> a -> b",
            "transforms.f.inputs: filter `f` gets raw records of source `s`, which have no fields to ask of",
            "sinks.k.inputs: sink `k` gets source `s` twice: normalized and as raw records",
        ]
    );
}

#[test]
fn a_name_that_is_taken_hides_no_mistake_in_the_inputs_of_either() {
    let text = "sources: {s: {type: clumio, access_token: x}}\ntransforms:\n  n: {type: normalize, inputs: [s, one]}\n\
                sinks: {k: {type: console, inputs: n}, n: {type: console, inputs: [n, two]}}\n";
    assert_eq!(
        check_text(text),
        [
            "transforms.n.inputs[1]: there is no source or transform called `one`",
            "sinks.n: the name `n` is taken by the transform in line 3",
            "sinks.n.inputs[1]: there is no source or transform called `two`",
        ]
    );
}

#[test]
fn a_secret_without_a_blank_before_it_is_not_shown() {
    for text in [
        "sources:\n  a:\n    type: clumio\n    access_token:hunter2\n",
        "sources:\n  a:\n    access_token:hunter2\n    type: clumio\n",
        "sources:\n  a:\n    access_token:hunter2\n",
        "sources: {a: {type: clumio, access_token:hunter2}}\n",
        "sources:\n  access_token:hunter2\n",
        "access_token: hunter2\n  type: clumio\n",
        "sources: {a: {type: clumio, access_token: \"hunter2}}\n",
        "sources: {a: {type: clumio, access_token: *hunter2}}\n",
        "sources: {a: {type: clumio, access_token: !hunter2 x}}\n",
    ] {
        let problems = check("x.yaml", text, Path::new(""), &environment(), &Overrides::default()).expect_err(text);
        for problem in problems {
            assert!(!problem.to_string().contains("hunter2"), "{text}\n{problem}");
        }
    }
}

const VALID: &str = "data_dir: ./data\nlog: {level: info}\nsources:\n  a:\n    type: clumio\n    access_token: ${TOKEN}\n    \
                     poll_interval: 1m\ntransforms:\n  n:\n    type: normalize\n    inputs: [a*]\nsinks:\n  k:\n    \
                     type: console\n    inputs: [n]\n    batch: {max_events: 5}\n";

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(\\PC|[\\n:{}\\[\\]&*!|>'\"#$-]){0,200}") {
        let _ = check("x.yaml", &text, Path::new(""), &environment(), &Overrides::default());
    }

    #[test]
    fn no_change_to_a_valid_file_makes_the_reader_panic_or_show_a_secret(
        at in 0..VALID.len(),
        cut in 0..20_usize,
        insert in "(\\PC|[\\n:{}\\[\\]&*!|>'\"#$ -]){0,8}",
    ) {
        let end = (at + cut).min(VALID.len());
        let text = format!("{}{insert}{}", &VALID[..at], &VALID[end..]);
        let outcome = check("x.yaml", &text, Path::new(""), &environment(), &Overrides::default());
        for problem in outcome.err().unwrap_or_default() {
            prop_assert!(!problem.to_string().contains("s3cret-token"), "{problem}");
        }
    }

    #[test]
    fn as_many_problems_are_reported_as_were_planted(planted in proptest::sample::subsequence(MISTAKES, 0..=MISTAKES.len())) {
        let mut text = String::from(GOOD);
        for (line, _) in &planted {
            text += line;
        }
        let (_, problems) = read::<Example>(&text);
        prop_assert_eq!(problems.len(), planted.iter().map(|(_, count)| count).sum::<usize>(), "{}\n{:#?}", text, problems);
    }
}

/// Lines with mistakes, and how many each holds.
const MISTAKES: &[(&str, usize)] = &[
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
