//! Checks across components, and inputs that must never panic or show a secret.

use std::path::Path;

use proptest::prelude::*;

use super::{Environment, Overrides, ValidatedSink, validate};

fn environment() -> Environment {
    Environment::from_pairs([("TOKEN", "s3cret-token")])
}

/// The diagnostics about anything but the settings of vendors.
fn messages_of(text: &str) -> Vec<String> {
    let outcome = validate("x.yaml", text, Path::new(""), &environment(), &Overrides::default());
    outcome
        .err()
        .unwrap_or_default()
        .iter()
        .map(|diagnostic| format!("{}: {}", diagnostic.key, diagnostic.message))
        .collect()
}

#[test]
fn sinks_that_get_a_source_in_two_forms_are_rejected() {
    let text = "sources: {a: {type: clumio, access_token: '${TOKEN}'}}\n\
                transforms: {n: {type: normalize, inputs: a}, m: {type: normalize, inputs: [a, n]}}\n\
                sinks: {good: {type: console, inputs: [n, m]}, raw: {type: console, inputs: a}, bad: {type: console, inputs: ['*']}}\n";
    let diagnostics = messages_of(text);
    let two_forms: Vec<_> = diagnostics.iter().filter(|diagnostic| diagnostic.contains("twice")).collect();
    assert_eq!(
        two_forms,
        ["sinks.bad.inputs: sink `bad` gets source `a` twice: as normalized events and as raw records"]
    );
}

/// Each sink's condition on source `a`, by sink.
fn conditions(transforms_and_sinks: &str) -> Vec<Option<String>> {
    let text = format!("sources: {{a: {{type: clumio, access_token: '${{TOKEN}}'}}}}\n{transforms_and_sinks}");
    let pipeline = validate("x.yaml", &text, Path::new(""), &environment(), &Overrides::default()).expect("valid");
    let condition = |sink: &ValidatedSink| sink.routes[0].condition.as_ref().map(ToString::to_string);
    pipeline.sinks.iter().map(condition).collect()
}

#[test]
fn a_route_has_an_output_for_each_condition_and_one_for_the_rest() {
    let found = conditions(
        "transforms:
  n: {type: normalize, inputs: a}
  by_kind:
    type: route
    inputs: n
    route: {iam: category == 'iam', deletes: \"action == 'delete'\"}
  people: {type: filter, inputs: by_kind.iam, condition: actor.type == 'user'}
sinks:
  iam: {type: console, inputs: by_kind.iam}
  rest: {type: console, inputs: [by_kind._unmatched]}
  some: {type: console, inputs: [people, 'by_kind.d*']}
  all: {type: console, inputs: [by_kind.iam, by_kind.deletes, by_kind._unmatched]}
",
    );
    let found: Vec<&str> = found.iter().map(|condition| condition.as_deref().expect("a condition")).collect();
    assert_eq!(found[0], "category == \"iam\"");
    assert_eq!(found[1], "!(category == \"iam\" || action == \"delete\")");
    assert_eq!(found[2], "((category == \"iam\") && (actor.type == \"user\")) || (action == \"delete\")");
    assert!(found[3].ends_with("|| (!(category == \"iam\" || action == \"delete\"))"), "{}", found[3]);
}

const REDACTING: &str = "sources: {a: {type: clumio, access_token: '${TOKEN}'}}
transforms:
  n: {type: normalize, inputs: a}
  f: {type: filter, inputs: n, condition: action == 'delete'}
  p: {type: redact, inputs: n, hash: [actor.email], hash_secret: '${TOKEN}-0123456789'}
  q: {type: redact, inputs: [p], drop: [/raw/ip_address]}
";

#[test]
fn a_sink_gets_what_the_transforms_before_it_redact() {
    let text = format!(
        "{REDACTING}  late: {{type: filter, inputs: q, condition: outcome == 'failure'}}
sinks:
  open: {{type: console, inputs: [n, f]}}
  private: {{type: console, inputs: [late]}}
  once: {{type: console, inputs: [q, q]}}
"
    );
    let pipeline = validate("x.yaml", &text, Path::new(""), &environment(), &Overrides::default()).expect("valid");
    let routes = |name: &str| &pipeline.sinks.iter().find(|sink| sink.name == name).expect("a sink").routes[0];
    assert!(routes("open").redactions.is_empty());
    assert_eq!(routes("private").redactions.fingerprint(), "Hash actor.email; Drop /raw/ip_address");
    assert_eq!(
        routes("private").condition.as_ref().map(ToString::to_string).as_deref(),
        Some("outcome == \"failure\"")
    );
    assert_eq!(routes("once").redactions, routes("private").redactions);
    let warnings: Vec<String> = pipeline.warnings.iter().map(|warning| warning.message.clone()).collect();
    assert_eq!(warnings, ["`raw` still may hold the same person in another form"]);

    let rotated = Environment::from_pairs([("TOKEN", "another")]);
    let rotated = validate("x.yaml", &text, Path::new(""), &rotated, &Overrides::default()).expect("valid");
    let is_same = |index: usize| pipeline.sinks[index].routes == rotated.sinks[index].routes;
    assert!(is_same(0) && !is_same(1), "another key restarts the sinks behind it");
}

#[test]
fn the_file_of_a_key_belongs_to_the_sinks_behind_it() {
    let text = REDACTING.replace("'${TOKEN}-0123456789'", "{file: key}")
        + "sinks: {open: {type: console, inputs: n}, private: {type: console, inputs: q}}\n";
    let pipeline = validate("x.yaml", &text, Path::new("/etc/auditflow"), &environment(), &Overrides::default());
    let pipeline = pipeline.expect("valid");
    let file = Path::new("/etc/auditflow/key");
    let sinks = pipeline.sinks.iter();
    let has_file: Vec<bool> = sinks.map(|sink| sink.identity.files.iter().any(|path| path == file)).collect();
    assert_eq!(has_file, [false, true], "a rotated key restarts these sinks only");
    assert!(pipeline.own_paths.iter().any(|own| own.path == file), "no sink may write to it");
}

#[test]
fn redactions_that_differ_or_get_raw_records_are_rejected() {
    let text = format!(
        "{REDACTING}  r: {{type: redact, inputs: a, drop: [actor.id]}}
  odd: {{type: redact, inputs: n, drop: [actor.mail]}}
sinks: {{s: {{type: console, inputs: [p, q]}}, t: {{type: console, inputs: [n, p]}}, u: {{type: console, inputs: [r, odd]}}}}
"
    );
    let found = messages_of(&text);
    for expected in [
        "sinks.s.inputs: sink `s` gets source `a` on several paths that redact differently",
        "sinks.t.inputs: sink `t` gets source `a` on several paths that redact differently",
        "transforms.r.inputs: redact `r` gets raw records of source `a`, which have no fields to redact",
        "transforms.odd.drop: `actor.mail` is not a field that can be redacted",
    ] {
        assert!(found.iter().any(|message| message == expected), "{expected} in {found:#?}");
    }
}

#[test]
fn mistakes_in_a_route_are_reported_where_they_are() {
    let with = |route: &str, input: &str| {
        messages_of(&format!(
            "sources: {{a: {{type: clumio, access_token: '${{TOKEN}}'}}}}
transforms:
  n: {{type: normalize, inputs: a}}
  r: {{type: route, inputs: n, {route}}}
sinks: {{s: {{type: console, inputs: [{input}]}}}}
"
        ))
    };
    let cases = [
        ("route: {x: actoin == 'read'}", "r.x", "transforms.r.x.condition: unknown field `actoin`"),
        ("route: {x: 'true'}", "r", "sinks.s.inputs[0]: there is no source or transform called `r`"),
        ("route: {x: 'true'}", "r.y", "sinks.s.inputs[0]: there is no source or transform called `r.y`"),
        ("route: {}", "r", "transforms.r.route: a route needs at least one output"),
        ("routes: {x: 'true'}", "r", "transforms.r.routes: unknown setting `routes`"),
        ("route: [x]", "r", "transforms.r.route"),
        ("route: {'x y': 'true'}", "r.*", "transforms.r.x y: `r.x y` is not a valid name"),
    ];
    for (route, input, expected) in cases {
        let found = with(route, input);
        assert!(found.iter().any(|message| message.starts_with(expected)), "{route}: {found:#?}");
    }
}

#[test]
fn filters_in_a_row_are_joined_by_and_and_paths_that_meet_by_or() {
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
fn a_filter_of_raw_records_is_rejected() {
    let text = "sources: {a: {type: clumio, access_token: '${TOKEN}'}, b: {type: clumio, access_token: '${TOKEN}'}}\n\
                transforms: {n: {type: normalize, inputs: a}, f: {type: filter, inputs: [n, b], condition: 'true'}}\n\
                sinks: {s: {type: console, inputs: f}}\n";
    assert_eq!(
        messages_of(text),
        ["transforms.f.inputs[1]: filter `f` gets raw records of source `b`, which have no fields to filter by"]
    );
}

/// The number of paths grows exponentially here: the file is rejected, quickly.
#[test]
fn too_many_filters_between_a_source_and_a_sink_are_rejected() {
    let mut text = "sources: {a: {type: clumio, access_token: '${TOKEN}'}}\ntransforms:\n  n: {type: normalize, inputs: a}\n  \
                    f0: {type: filter, inputs: n, condition: has(message)}\n  g0: {type: filter, inputs: n, condition: has(target)}\n"
        .to_owned();
    for level in 1..60 {
        let below = level - 1;
        text += &format!("  f{level}: {{type: filter, inputs: [f{below}, g{below}], condition: version == {level}}}\n");
        text += &format!("  g{level}: {{type: filter, inputs: [f{below}, g{below}], condition: version < {level}}}\n");
    }
    text += "sinks: {s: {type: console, inputs: [f59, g59]}}\n";
    assert_eq!(messages_of(&text), ["sinks.s.inputs: too many filters between source `a` and sink `s`"]);
}

/// Line, column and width of each error in the condition of one filter.
fn spans(condition: &str) -> Vec<(usize, usize, usize)> {
    let text = format!(
        "sources: {{a: {{type: clumio, access_token: '${{TOKEN}}'}}}}\ntransforms:\n  n: {{type: normalize, inputs: a}}\n  f:\n    \
         type: filter\n    inputs: n\n    condition: {condition}\nsinks: {{s: {{type: console, inputs: f}}}}\n"
    );
    let diagnostics =
        validate("x.yaml", &text, Path::new(""), &environment(), &Overrides::default()).expect_err(condition);
    diagnostics
        .iter()
        .filter_map(|diagnostic| diagnostic.span)
        .map(|span| (span.line, span.column, span.width))
        .collect()
}

#[test]
fn an_error_in_a_condition_has_its_span_in_every_yaml_style() {
    for (condition, span) in [
        ("actor.emial == \"x\" # é", (7, 22, 5)),
        ("'actor.name == \"it''s\" && acton == \"read\"'", (7, 42, 5)),
        ("\"message == \\\"\\\\\\\"\\\" && acton == 'read'\"", (7, 40, 5)),
        ("has(message)\n      && actor.type == \"usr\"", (8, 24, 5)),
        (">-\n      has(message)\n      && actor.type == \"usr\"", (9, 24, 5)),
        ("| # why\n      has(message) && // why\n\n      actor.type == \"usr\"", (10, 21, 5)),
        ("has(message) &&", (7, 31, 1)),
        (">\n      has(message) // lost\n      && has(target)", (8, 20, 7)),
        // An escaped line break cannot be matched with the file, so the span is that of the value.
        ("\"has(message) &&\\n acton == 'read'\"", (7, 16, 35)),
    ] {
        assert_eq!(spans(condition), [span], "{condition}");
    }
}

#[test]
fn values_of_variables_in_a_condition_are_not_shown() {
    for condition in ["actor.type == '${TOKEN}'", "actor.${TOKEN} == ''", "${TOKEN}", "has(message) ${TOKEN} true"] {
        let text = format!(
            "sources: {{a: {{type: clumio, access_token: '${{TOKEN}}'}}}}\ntransforms: {{n: {{type: normalize, inputs: a}}, \
             f: {{type: filter, inputs: n, condition: \"{condition}\"}}}}\nsinks: {{s: {{type: console, inputs: f}}}}\n"
        );
        let diagnostics =
            validate("x.yaml", &text, Path::new(""), &environment(), &Overrides::default()).expect_err(&text);
        let shown = diagnostics.iter().map(ToString::to_string).collect::<String>();
        assert!(shown.contains("after its variables are replaced") && !shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn an_empty_file_lists_what_is_missing() {
    assert_eq!(messages_of(""), ["sources: the pipeline has no sources", "sinks: the pipeline has no sinks"]);
    assert_eq!(messages_of("- a\n"), [": this is not a pipeline file"]);
    assert_eq!(
        messages_of("sources: [a]\nsinks:\n"),
        ["sources: `sources` must be a map of names to settings", "sinks: the pipeline has no sinks"]
    );
}

#[test]
fn a_long_cycle_is_reported_once_in_the_direction_of_the_events() {
    let text = "sources: {s: {type: clumio, access_token: '${TOKEN}'}}\ntransforms:\n  a: {type: normalize, inputs: [s, c]}\n  \
                b: {type: normalize, inputs: a}\n  c: {type: normalize, inputs: b}\nsinks: {k: {type: console, inputs: c}}\n";
    let diagnostics = messages_of(text);
    let cycles: Vec<_> = diagnostics.iter().filter(|diagnostic| diagnostic.contains("cycle")).collect();
    assert_eq!(cycles.len(), 1, "{diagnostics:?}");
    assert!(cycles[0].contains("b -> c -> a -> b") || cycles[0].contains("a -> b -> c -> a"), "{cycles:?}");
}

#[test]
fn a_cycle_hides_no_other_error() {
    let text = "sources: {s: {type: clumio, access_token: '${TOKEN}'}}\ntransforms:\n  a: {type: normalize, inputs: [s, b]}\n  \
                b: {type: normalize, inputs: a}\n  f: {type: filter, inputs: s, condition: 'true'}\n\
                sinks: {k: {type: console, inputs: [a, f, s]}}\n";
    assert_eq!(
        messages_of(text),
        [
            "transforms.b.inputs: the inputs form a cycle: b -> a -> b",
            "transforms.f.inputs: filter `f` gets raw records of source `s`, which have no fields to filter by",
            "sinks.k.inputs: sink `k` gets source `s` twice: as normalized events and as raw records",
        ]
    );
}

#[test]
fn a_duplicate_name_hides_no_error_in_the_inputs_of_either_component() {
    let text = "sources: {s: {type: clumio, access_token: '${TOKEN}'}}\ntransforms:\n  n: {type: normalize, inputs: [s, one]}\n\
                sinks: {k: {type: console, inputs: n}, n: {type: console, inputs: [n, two]}}\n";
    assert_eq!(
        messages_of(text),
        [
            "transforms.n.inputs[1]: there is no source or transform called `one`",
            "sinks.n: the name `n` is already used by the transform in line 3",
            "sinks.n.inputs[1]: there is no source or transform called `two`",
        ]
    );
}

#[test]
fn a_secret_without_a_space_before_it_is_not_shown() {
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
        let diagnostics =
            validate("x.yaml", text, Path::new(""), &environment(), &Overrides::default()).expect_err(text);
        for diagnostic in diagnostics {
            assert!(!diagnostic.to_string().contains("hunter2"), "{text}\n{diagnostic}");
        }
    }
}

const VALID: &str = "data_dir: ./data\nlog: {level: info}\nsources:\n  a:\n    type: clumio\n    access_token: ${TOKEN}\n    \
                     poll_interval: 1m\ntransforms:\n  n:\n    type: normalize\n    inputs: [a*]\nsinks:\n  k:\n    \
                     type: console\n    inputs: [n]\n    batch: {max_events: 5}\n";

proptest! {
    #[test]
    fn no_text_causes_a_panic(text in "(\\PC|[\\n:{}\\[\\]&*!|>'\"#$-]){0,200}") {
        let _ = validate("x.yaml", &text, Path::new(""), &environment(), &Overrides::default());
    }

    #[test]
    fn no_change_to_a_valid_file_causes_a_panic_or_shows_a_secret(
        at in 0..VALID.len(),
        cut in 0..20_usize,
        insert in "(\\PC|[\\n:{}\\[\\]&*!|>'\"#$ -]){0,8}",
    ) {
        let end = (at + cut).min(VALID.len());
        let text = format!("{}{insert}{}", &VALID[..at], &VALID[end..]);
        let outcome = validate("x.yaml", &text, Path::new(""), &environment(), &Overrides::default());
        for diagnostic in outcome.err().unwrap_or_default() {
            prop_assert!(!diagnostic.to_string().contains("s3cret-token"), "{diagnostic}");
        }
    }
}

#[test]
fn ignored_checks_are_names_of_checks() {
    let source = |options: &str| {
        format!(
            "sources: {{a: {{type: clumio, access_token: '${{TOKEN}}', {options}}}}}\nsinks: {{s: {{type: console, inputs: a}}}}\n"
        )
    };
    let load = |options| validate("x.yaml", &source(options), Path::new(""), &environment(), &Overrides::default());
    let wrong = load("ignore_checks: [totals]").expect_err("no such check");
    assert_eq!(
        (wrong[0].message.as_str(), wrong[0].key.as_str()),
        ("unknown value `totals`", "sources.a.ignore_checks[0]")
    );
    assert!(wrong[0].hint.contains("`total`"), "{}", wrong[0].hint);
    let settings = |options| {
        let pipeline = load(options).expect("valid");
        pipeline.sources[0].options.over(pipeline.sources[0].vendor.spec())
    };
    let given = settings("ignore_checks: [total, page_size], recheck_after: 0");
    let is_ignored = ["total", "page_size", "overlap", "found", "unreadable:total"]
        .map(|reason| given.ignore_checks.contains(reason));
    assert_eq!((is_ignored, given.recheck_after), ([true, true, false, false, false], None));
    let default = settings("delay: 1s");
    assert_eq!(
        (default.ignore_checks.is_empty(), default.recheck_after),
        (true, Some(std::time::Duration::from_secs(86_400)))
    );
}

#[cfg(all(feature = "s3", feature = "parquet"))]
#[test]
fn objects_of_security_lake_come_every_5_minutes_to_every_day() {
    let found = |batch: &str| {
        let sink = include_str!("../../pipelines/security_lake.yaml").replace("{timeout_secs: 15m}", batch);
        let variables = [("CLUMIO_ACCESS_TOKEN", "token"), ("SECURITY_LAKE_EXTERNAL_ID", "id")];
        let environment = Environment::from_pairs(variables);
        validate("x.yaml", &sink, Path::new(""), &environment, &Overrides::default()).err().unwrap_or_default()
    };
    for batch in ["{timeout_secs: 5m}", "{timeout_secs: 24h}", "{max_events: 5}"] {
        assert_eq!(found(batch), [], "{batch}");
    }
    for batch in ["{timeout_secs: 60}", "{timeout_secs: 25h}"] {
        let found = found(batch);
        assert_eq!(found.len(), 1, "{batch}: {found:?}");
        assert_eq!(found[0].key, "sinks.security_lake.batch.timeout_secs");
        assert!(found[0].hint.contains("between 5m and 24h"), "{}", found[0].hint);
    }
}
