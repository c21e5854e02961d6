//! Conditions on events; every kind of error; and random conditions on random events, compared with a reference interpreter on
//! the event's JSON.

mod random;
mod reference;

use proptest::prelude::*;

use super::*;
use crate::event::native::{RawForm, encode};
use crate::event::{
    Action, Actor, ActorType, Category, Change, EventId, Grant, Grantee, GranteeType, ObjectType, OnBehalfOf, Outcome,
    Related, Role, Target,
};
use crate::time::Timestamp;

fn text(value: &str) -> Option<std::borrow::Cow<'_, str>> {
    Some(std::borrow::Cow::Borrowed(value))
}

/// A permission granted by an administrator without an e-mail address.
fn grant() -> Event<'static> {
    let observed_at = Timestamp::parse_rfc3339("2026-01-31T12:05:00.004999Z").expect("a time");
    let (id, raw) = (EventId([0xab; 16]), r#"{"by":"Zo\u00eb","n":12}"#);
    let kim = Grantee { kind: GranteeType::User, name: text("Kim"), ..Grantee::default() };
    Event {
        tenant: text("t-1"),
        event_type: "Space permission added".into(),
        action: Action::Grant,
        category: Category::Iam,
        outcome: Outcome::Success,
        timestamp: Timestamp::parse_rfc3339("2026-01-31T12:00:00.5Z").expect("a time"),
        actor: Actor { kind: ActorType::Admin, id: text("u-1"), name: text("Zoë"), ..Actor::default() },
        target: Some(object(ObjectType::Space, "Space", "FIN")),
        grants: vec![
            Grant::granted(kim).privilege(text("owner"), &["owner"]).scope(ObjectType::Space, None, text("FIN")),
            Grant::revoked(Grantee::default()),
        ],
        related: vec![Related { role: Role::Parent, object: object(ObjectType::Organization, "site", "acme") }],
        changes: vec![Change { field: "role".into(), old: None, new: text("owner") }],
        ..Event::new(id, "confluence", "acme", observed_at, raw)
    }
}

fn object(kind: ObjectType, vendor_type: &'static str, name: &'static str) -> Target<'static> {
    Target { kind, vendor_type: text(vendor_type), name: text(name), ..Target::default() }
}

fn holds(condition: &str) -> bool {
    match Condition::compile(condition) {
        Ok(compiled) => compiled.holds(&grant()),
        Err(diagnostics) => panic!("{condition}: {diagnostics:?}"),
    }
}

#[test]
fn conditions_that_hold() {
    for condition in [
        "true",
        r#"actor.type == "admin""#,
        r#"actor.type in ["admin", "user"] && !(action in ["read", "list"])"#,
        r#"vendor == 'confluence' || category == "data""#,
        r#"timestamp >= timestamp("2026-01-31T13:00:00+01:00") && timestamp < timestamp("2026-01-31T12:00:00.6Z")"#,
        r#"observed_at == timestamp("2026-01-31T12:05:00.004999Z")"#,
        r#"event_type.startsWith("Space") && event_type.endsWith("added") && event_type.contains("permission")"#,
        r#"event_type.matches(r"^Space \w+") && !event_type.matches("^permission")"#,
        r#"id.startsWith("ab")"#,
        r#"raw.contains("\"n\":12")"#,
        r#"related.exists(r, r.role == "parent" && r.name == "acme")"#,
        r#"changes.all(c, c.field == "role") && size(changes) == 1 && related.size() > 0"#,
        r#"related.exists(r, changes.exists(c, c.new == "owner" && r.vendor_type == "site"))"#,
        r#"grants.exists(g, g.effect == "granted" && g.admin && g.grantee.name == "Kim" && g.scope.type == "space")"#,
        "grants.exists(g, g.admin == true) && !grants.exists(g, g.admin == false)",
        "grants.exists(g, g.admin == null && g.scope == null && !has(g.admin) && g.privilege == null)",
        "grants.exists(g, has(g.scope) && g.scope.id == null && has(g.grantee)) && size(grants) == 2",
        "grants.all(g, grants.exists(h, h.admin != g.admin))",
        r#"target.type == "space" && target.vendor_type == "Space" && actor.via == "unknown""#,
        "size(actor.name) == 3",
        "has(target) && has(target.name) && !has(target.id) && has(related) && has(id)",
        "target.id == null && target != null && actor.on_behalf_of == null",
        "version == null",
        "has(target) == true && has(message) != has(target)",
        "tenant < \"t-2\" && -1 < size(tenant)",
        "// who\n  action == \"grant\" // what\n",
        "\"owner\" in [\"user\", \"owner\"] && !(action in [])",
    ] {
        assert!(holds(condition), "{condition}");
    }
}

/// Null is equal only to null; every other test of it is false.
#[test]
fn null_is_not_an_error_and_has_no_order_and_no_parts() {
    for condition in [
        r#"actor.email == "a@example.com""#,
        r#"actor.email < "a""#,
        r#"actor.email >= "a""#,
        r#"actor.email.contains("")"#,
        r#"actor.email.matches("")"#,
        r#"actor.name.contains(actor.email)"#,
        r#"actor.email in ["", "a"]"#,
        "size(message) >= 0",
        "version > 0",
        "actor.on_behalf_of.email.endsWith(\"x\")",
    ] {
        assert!(!holds(condition), "{condition}");
        assert!(holds(&format!("!({condition})")), "!({condition})");
    }
    assert!(holds(r#"actor.email != "a@example.com" && actor.email == actor.ip && message in [null, "x"]"#));
}

/// The conditions of the documentation.
#[test]
fn the_examples_of_the_documentation_compile() {
    let page = include_str!("../../../docs/filter.md");
    let examples = page.split("```cel\n").nth(1).and_then(|rest| rest.split("```").next()).expect("examples");
    assert!(examples.lines().count() > 5);
    for example in examples.lines() {
        Condition::compile(example).expect(example);
    }
}

/// Conditions can use every field of the native encoding.
#[test]
fn every_field_of_the_schema_is_known() {
    let mut event = grant();
    event.version = Some(1);
    event.normalize_error = Some("odd".to_owned());
    event.actor.on_behalf_of = Some(OnBehalfOf::default());
    let mut line = Vec::new();
    encode(&event, RawForm::String, &mut line);
    let json: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
    let mut known = 0;
    let mut objects = vec![(String::new(), json)];
    while let Some((path, object)) = objects.pop() {
        let loops = [
            ("grants.", "grants.exists(x, has(x.", "))"),
            ("related.", "related.exists(x, has(x.", "))"),
            ("changes.", "changes.exists(x, has(x.", "))"),
        ];
        for (name, value) in object.as_object().expect("an object") {
            let path = format!("{path}{name}");
            let in_list =
                loops.iter().find_map(|(list, before, after)| Some((path.strip_prefix(list)?, before, after)));
            let condition =
                in_list.map_or(format!("has({path})"), |(name, before, after)| format!("{before}{name}{after}"));
            Condition::compile(&condition).expect(&condition);
            known += 1;
            let below = value.as_array().map_or(value, |items| &items[0]);
            objects.extend(below.is_object().then(|| (format!("{path}."), below.clone())));
        }
    }
    assert_eq!(known, 57);
}

/// The text at the span and the message of each error.
fn diagnostics(condition: &str) -> Vec<String> {
    let diagnostics = Condition::compile(condition).expect_err(condition);
    let quoted = |diagnostic: &ConditionDiagnostic| condition.get(diagnostic.span.clone()).unwrap_or("").to_owned();
    diagnostics.iter().map(|diagnostic| format!("{}: {}", quoted(diagnostic), diagnostic.message)).collect()
}

#[test]
fn every_error_is_reported_with_its_span() {
    for (condition, expected) in [
        ("actor.emial == \"x\"", "emial: unknown field `emial`"),
        ("acter.email == \"x\"", "acter: unknown field `acter`"),
        ("actor.type == \"usr\"", "\"usr\": unknown value `usr`"),
        ("action in [\"read\", \"raed\"]", "\"raed\": unknown value `raed`"),
        ("action == 5", "action == 5: cannot compare a string with a number in this way"),
        ("timestamp > \"2026-01-01\"", "timestamp > \"2026-01-01\": cannot compare a time with a string in this way"),
        ("timestamp > timestamp(\"2026-01-01\")", "\"2026-01-01\": this is not a time with a time zone"),
        ("actor.email", "actor.email: expected a boolean, found a string"),
        ("has(actor.id) && target", "target: expected a boolean, found an object"),
        ("action == null", "action: this is never null"),
        ("message > null", "message > null: cannot compare a string with null in this way"),
        ("version.contains(\"1\")", "version: expected a string, found a number"),
        ("raw.user.id == \"x\"", "user: conditions cannot use fields of the vendor's record"),
        ("related.name == \"x\"", "name: a list has no fields"),
        ("action.word == \"x\"", "word: a string has no fields"),
        ("related.exists(r, r.nam == \"x\")", "nam: unknown field `nam`"),
        ("related.exists(r, name == \"x\")", "name: unknown field `name`"),
        ("related.exists(r, r == \"x\")", "r: this is an item of a list, which is an object"),
        (
            "related.exists(r.name == \"x\")",
            "related.exists(r.name == \"x\"): `exists` takes a variable and a condition on it",
        ),
        ("message.exists(m, true)", "message: expected a list, found a string"),
        ("message.has(\"x\")", "has: unknown method `has`"),
        ("message.lower() == \"x\"", "lower: unknown method `lower`"),
        ("contains(message, \"x\")", "contains: unknown function `contains`"),
        ("message.contains(\"x\", \"y\")", "message.contains(\"x\", \"y\"): `contains` takes one argument"),
        ("message.matches(\"(\")", "\"(\": this is not a regular expression: unclosed group"),
        ("message.matches(action)", "action: `matches` takes a regular expression as a string literal"),
        ("action in \"read\"", "\"read\": expected a list such as [\"a\", \"b\"], found a string"),
        ("action = \"read\"", "=: unsupported symbol `=`"),
        ("has(message) and true", "and: unexpected `and`"),
        ("has(message) &&", ": unexpected end of the condition"),
        ("(has(message)", ": unexpected end of the condition"),
        ("related[0].name == \"x\"", "[: conditions have no `[...]` after a value"),
        ("version > 1.5", "1: `1` is not an integer"),
        ("version > 99999999999999999999", "99999999999999999999: `99999999999999999999` is not an integer"),
        ("version > 9223372036854775808", "9223372036854775808: the number is too large"),
        ("message == \"x", "\"x: a string that opens with `\"` is not closed on its line"),
        ("message == b\"x\"", "b: `b` cannot precede a quote"),
        ("message.matches(\"\\d\")", "\\d: this escape is unknown or has too few digits"),
        ("", ": unexpected end of the condition"),
        ("size(size(message)) == 1", "size(message): a number has no size"),
        ("has(\"x\")", "\"x\": `has` takes a field"),
    ] {
        assert_eq!(diagnostics(condition), [expected], "{condition}");
    }
}

#[test]
fn all_type_errors_are_found_at_once() {
    let found = diagnostics("acton == \"read\" || (outcome in [\"ok\", \"failed\"] && !(target.nam == 5)) || message");
    assert_eq!(
        found,
        [
            "acton: unknown field `acton`",
            "\"ok\": unknown value `ok`",
            "\"failed\": unknown value `failed`",
            "nam: unknown field `nam`",
            "message: expected a boolean, found a string",
        ]
    );
}

#[test]
fn depth_and_length_are_limited_and_long_chains_are_not_deep() {
    let nested = |levels: usize| format!("{}true{}", "(".repeat(levels), ")".repeat(levels));
    assert!(holds(&nested(40)));
    for deep in [
        nested(5_000),
        "!".repeat(5_000),
        "[".repeat(5_000),
        "has(".repeat(3_000),
        "a".to_owned() + &".a".repeat(5_000),
    ] {
        assert!(diagnostics(&deep)[0].ends_with("nested more than 48 levels deep"), "{}", &deep[..20]);
    }
    let relations = format!("true{}", " == true".repeat(100));
    assert!(diagnostics(&relations)[0].ends_with("nested more than 48 levels deep"));
    assert!(holds(&format!("true{}", " && true".repeat(1_900))));
    assert!(diagnostics(&" ".repeat(MAX_BYTES + 1))[0].contains("longer than"));
}

#[test]
fn conditions_are_joined_with_and_and_or() {
    let of = |text: &str| Condition::compile(text).expect(text);
    let (yes, no) = (of("true"), of("false"));
    assert_eq!(
        [yes.and(&yes), no.and(&yes), no.or(&no), no.or(&yes)].map(|joined| joined.holds(&grant())),
        [true, false, false, true]
    );
    assert_eq!((yes.and(&no).as_str(), yes.or(&yes).as_str()), ("(true) && (false)", "true"));
}

#[test]
fn the_canonical_text_has_no_redundant_parts() {
    let condition = Condition::compile("((action=='read')||( !(has(target)) ))&&true // x").expect("a condition");
    assert_eq!(condition.as_str(), "(action == \"read\" || !has(target)) && true");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    /// The compiled condition and its canonical text evaluate as the reference interpreter does.
    #[test]
    fn conditions_evaluate_as_the_reference_interpreter(condition in random::condition(), event in random::event()) {
        let event = event.borrowed();
        let compiled = Condition::compile(&condition).map_err(|diagnostics| TestCaseError::fail(format!("{condition}: {diagnostics:?}")))?;
        let expected = reference::holds(&parser::parse(&condition).expect("parsed"), &event);
        prop_assert_eq!(compiled.holds(&event), expected, "{}", condition);
        let again = Condition::compile(compiled.as_str()).map_err(|diagnostics| TestCaseError::fail(format!("{compiled}: {diagnostics:?}")))?;
        prop_assert_eq!(again.as_str(), compiled.as_str());
        prop_assert_eq!(again.holds(&event), expected, "{}", again);
    }

    #[test]
    fn no_text_makes_the_compiler_panic(text in "(\\PC|\n){0,60}") {
        let _ = Condition::compile(&text);
    }

    /// Tokens in any order: most are invalid after the first ones.
    #[test]
    fn no_order_of_tokens_makes_the_compiler_panic(words in proptest::collection::vec(random::word(), 0..40), between in "[ \n]?") {
        let text = words.join(&between);
        if let Err(diagnostics) = Condition::compile(&text) {
            for diagnostic in diagnostics {
                prop_assert!(diagnostic.span.start <= text.len() && diagnostic.span.start < diagnostic.span.end, "{diagnostic:?}");
                prop_assert!(text.is_char_boundary(diagnostic.span.start), "{diagnostic:?}");
            }
        }
    }

    /// A condition with a few characters inserted.
    #[test]
    fn no_change_to_a_condition_makes_the_compiler_panic(condition in random::condition(), at in 0..200_usize, piece in "\\PC{0,3}") {
        let mut text = condition;
        let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.insert_str(at, &piece);
        let _ = Condition::compile(&text);
    }
}
