//! Conditions on real events; every kind of mistake; and, for any condition and any event, the same answer as a naive
//! interpreter on the event's JSON.

mod naive;
mod random;

use proptest::prelude::*;

use super::*;
use crate::event::native::{RawForm, encode};
use crate::event::{Action, Actor, ActorType, Category, Change, EventId, OnBehalfOf, Outcome, Related, Role, Target};
use crate::time::{EventTime, Timestamp};

fn text(word: &str) -> Option<std::borrow::Cow<'_, str>> {
    Some(std::borrow::Cow::Borrowed(word))
}

/// A right given by an administrator whose address is not known.
fn grant() -> Event<'static> {
    Event {
        id: EventId([0xab; 16]),
        version: None,
        vendor: "confluence",
        source: "acme",
        tenant: text("t-1"),
        vendor_event_id: None,
        event_type: "Space permission added".into(),
        action: Action::Grant,
        category: Category::Iam,
        outcome: Outcome::Success,
        message: None,
        timestamp: EventTime::parse_rfc3339("2026-01-31T12:00:00.5Z").expect("a time"),
        observed_at: Timestamp::parse_rfc3339("2026-01-31T12:05:00.004999Z").expect("a time"),
        actor: Actor { kind: ActorType::Admin, id: text("u-1"), name: text("Zoë"), ..Actor::default() },
        target: Some(Target { kind: text("space"), id: None, name: text("FIN") }),
        related: vec![Related {
            role: Role::Parent,
            object: Target { kind: text("site"), id: None, name: text("acme") },
        }],
        changes: vec![Change { field: "role".into(), old: None, new: text("owner") }],
        normalize_error: None,
        raw: r#"{"by":"Zo\u00eb","n":12}"#,
    }
}

fn holds(condition: &str) -> bool {
    match Condition::compile(condition) {
        Ok(compiled) => compiled.holds(&grant()),
        Err(mistakes) => panic!("{condition}: {mistakes:?}"),
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
        r#"observed_at == timestamp("2026-01-31T12:05:00.004Z")"#,
        r#"event_type.startsWith("Space") && event_type.endsWith("added") && event_type.contains("permission")"#,
        r#"event_type.matches(r"^Space \w+") && !event_type.matches("^permission")"#,
        r#"id.startsWith("ab")"#,
        r#"raw.contains("\"n\":12")"#,
        r#"related.exists(r, r.role == "parent" && r.name == "acme")"#,
        r#"changes.all(c, c.field == "role") && size(changes) == 1 && related.size() > 0"#,
        r#"related.exists(r, changes.exists(c, c.new == "owner" && r.type == "site"))"#,
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

/// What is unknown is equal to null alone, and asking more of it is answered with no.
#[test]
fn null_is_no_error_and_never_less_greater_or_a_part() {
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

/// What the manual shows as conditions.
#[test]
fn the_examples_of_the_manual_are_right() {
    let manual = include_str!("../../../docs/filter.md");
    let examples = manual.split("```cel\n").nth(1).and_then(|rest| rest.split("```").next()).expect("examples");
    assert!(examples.lines().count() > 5);
    for example in examples.lines() {
        Condition::compile(example).expect(example);
    }
}

/// Every field that an event is written with can be asked of.
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
        let loops = [("related.", "related.exists(x, has(x.", "))"), ("changes.", "changes.exists(x, has(x.", "))")];
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
    assert_eq!(known, 39);
}

/// Where the caret goes, what is said, and the hint or the words to choose from.
fn mistakes(condition: &str) -> Vec<String> {
    let mistakes = Condition::compile(condition).expect_err(condition);
    let quoted = |mistake: &Mistake| condition.get(mistake.place.clone()).unwrap_or("").to_owned();
    mistakes.iter().map(|mistake| format!("{}: {}", quoted(mistake), mistake.message)).collect()
}

#[test]
fn every_mistake_is_told_with_its_place() {
    for (condition, expected) in [
        ("actor.emial == \"x\"", "emial: it has no field `emial`"),
        ("acter.email == \"x\"", "acter: events have no field `acter`"),
        ("actor.type == \"usr\"", "\"usr\": there is no such word: `usr`"),
        ("action in [\"read\", \"raed\"]", "\"raed\": there is no such word: `raed`"),
        ("action == 5", "action == 5: a text cannot be compared so with a number"),
        ("timestamp > \"2026-01-01\"", "timestamp > \"2026-01-01\": a time cannot be compared so with a text"),
        ("timestamp > timestamp(\"2026-01-01\")", "\"2026-01-01\": this is not a time with its zone"),
        ("actor.email", "actor.email: this is a text, where something true or false is wanted"),
        ("has(actor.id) && target", "target: this is an object, where something true or false is wanted"),
        ("action == null", "action: this is never null"),
        ("message > null", "message > null: a text cannot be compared so with null"),
        ("version.contains(\"1\")", "version: this is a number, where a text is wanted"),
        ("raw.user.id == \"x\"", "user: the record's own fields cannot be asked for"),
        ("related.name == \"x\"", "name: a list has no fields"),
        ("action.word == \"x\"", "word: a text has no fields"),
        ("related.exists(r, r.nam == \"x\")", "nam: it has no field `nam`"),
        ("related.exists(r, name == \"x\")", "name: events have no field `name`"),
        ("related.exists(r, r == \"x\")", "r: this is an item of a list, an object"),
        (
            "related.exists(r.name == \"x\")",
            "related.exists(r.name == \"x\"): `exists` takes a variable and a condition on it",
        ),
        ("message.exists(m, true)", "message: this is a text, where a list is wanted"),
        ("message.has(\"x\")", "has: there is no method `has`"),
        ("message.lower() == \"x\"", "lower: there is no method `lower`"),
        ("contains(message, \"x\")", "contains: there is no function `contains`"),
        ("message.contains(\"x\", \"y\")", "message.contains(\"x\", \"y\"): `contains` takes one argument"),
        ("message.matches(\"(\")", "\"(\": this is not a regular expression: unclosed group"),
        ("message.matches(action)", "action: `matches` takes a regular expression as a text between quotes"),
        ("action in \"read\"", "\"read\": this is a text, where a list such as [\"a\", \"b\"] is wanted"),
        ("action = \"read\"", "=: `=` is not of this language"),
        ("has(message) and true", "and: `and` cannot stand here"),
        ("has(message) &&", ": the condition ends too early"),
        ("(has(message)", ": the condition ends too early"),
        ("related[0].name == \"x\"", "[: conditions know no `[...]` behind a value"),
        ("version > 1.5", "1: `1` does not begin a whole number"),
        (
            "version > 99999999999999999999",
            "99999999999999999999: `99999999999999999999` does not begin a whole number",
        ),
        ("version > 9223372036854775808", "9223372036854775808: the number is too large"),
        ("message == \"x", "\"x: a text that opens with `\"` is not closed in its line"),
        ("message == b\"x\"", "b: `b` cannot stand before a quote"),
        ("message.matches(\"\\d\")", "\\d: this escape does not exist, or has too few digits"),
        ("", ": the condition ends too early"),
        ("size(size(message)) == 1", "size(message): a number has no size"),
        ("has(\"x\")", "\"x\": `has` asks of a field"),
    ] {
        assert_eq!(mistakes(condition), [expected], "{condition}");
    }
}

#[test]
fn all_mistakes_of_meaning_are_found_at_once() {
    let found = mistakes("acton == \"read\" || (outcome in [\"ok\", \"failed\"] && !(target.nam == 5)) || message");
    assert_eq!(
        found,
        [
            "acton: events have no field `acton`",
            "\"ok\": there is no such word: `ok`",
            "\"failed\": there is no such word: `failed`",
            "nam: it has no field `nam`",
            "message: this is a text, where something true or false is wanted",
        ]
    );
}

#[test]
fn depth_and_length_are_bounded_and_long_chains_are_not_deep() {
    let nested = |levels: usize| format!("{}true{}", "(".repeat(levels), ")".repeat(levels));
    assert!(holds(&nested(40)));
    for deep in [
        nested(5_000),
        "!".repeat(5_000),
        "[".repeat(5_000),
        "has(".repeat(3_000),
        "a".to_owned() + &".a".repeat(5_000),
    ] {
        assert!(mistakes(&deep)[0].ends_with("nested more than 48 levels deep"), "{}", &deep[..20]);
    }
    let relations = format!("true{}", " == true".repeat(100));
    assert!(mistakes(&relations)[0].ends_with("nested more than 48 levels deep"));
    assert!(holds(&format!("true{}", " && true".repeat(1_900))));
    assert!(mistakes(&" ".repeat(MOST_BYTES + 1))[0].contains("longer than"));
}

#[test]
fn joined_conditions_are_and_and_or() {
    let of = |text: &str| Condition::compile(text).expect(text);
    let (yes, no) = (of("true"), of("false"));
    assert_eq!(
        [yes.and(&yes), no.and(&yes), no.or(&no), no.or(&yes)].map(|joined| joined.holds(&grant())),
        [true, false, false, true]
    );
    assert_eq!((yes.and(&no).as_str(), yes.or(&yes).as_str()), ("(true) && (false)", "true"));
}

#[test]
fn the_canonical_form_leaves_out_what_means_nothing() {
    let condition = Condition::compile("((action=='read')||( !(has(target)) ))&&true // x").expect("a condition");
    assert_eq!(condition.as_str(), "(action == \"read\" || !has(target)) && true");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    /// The compiled condition says what the naive interpreter says of the event's JSON; and so does its canonical form.
    #[test]
    fn a_condition_is_what_its_text_says(condition in random::condition(), event in random::event()) {
        let event = event.borrowed();
        let compiled = Condition::compile(&condition).map_err(|mistakes| TestCaseError::fail(format!("{condition}: {mistakes:?}")))?;
        let expected = naive::holds(&parse::parse(&condition).expect("parsed"), &event);
        prop_assert_eq!(compiled.holds(&event), expected, "{}", condition);
        let again = Condition::compile(compiled.as_str()).map_err(|mistakes| TestCaseError::fail(format!("{compiled}: {mistakes:?}")))?;
        prop_assert_eq!(again.as_str(), compiled.as_str());
        prop_assert_eq!(again.holds(&event), expected, "{}", again);
    }

    #[test]
    fn no_text_makes_the_compiler_panic(text in "(\\PC|\n){0,60}") {
        let _ = Condition::compile(&text);
    }

    /// Pieces of the language in any order: most are wrong somewhere behind the first words.
    #[test]
    fn no_order_of_its_words_makes_the_compiler_panic(words in proptest::collection::vec(random::word(), 0..40), between in "[ \n]?") {
        let text = words.join(&between);
        if let Err(mistakes) = Condition::compile(&text) {
            for mistake in mistakes {
                prop_assert!(mistake.place.start <= text.len() && mistake.place.start < mistake.place.end, "{mistake:?}");
                prop_assert!(text.is_char_boundary(mistake.place.start), "{mistake:?}");
            }
        }
    }

    /// A condition with a few characters changed.
    #[test]
    fn no_change_to_a_condition_makes_the_compiler_panic(condition in random::condition(), at in 0..200_usize, piece in "\\PC{0,3}") {
        let mut text = condition;
        let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.insert_str(at, &piece);
        let _ = Condition::compile(&text);
    }
}
