use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::Config;
use super::normalizer::AkuityNormalizer;
use crate::event::{Action, ActorType, Category, ObjectType, Outcome, Via};
use crate::time::{TimeRange, Timestamp};
use crate::vendors::{ApiErrorKind, Auth, Normalizer, Page, PageRequest, ReadContext, Vendor, VendorSettings, testing};

const PAGE: &str = r#"{
  "items": [
    {
      "timestamp": "2026-03-02 09:14:07.13921 +0000 UTC",
      "action": "deleted",
      "actor": { "type": "api_key", "id": "ci-bot@example.io", "ip": "192.0.2.61" },
      "object": {
        "type": "custom_role",
        "id": { "name": "dev-team", "kind": "", "group": "" },
        "parentId": { "name": "", "parentName": "", "applicationName": "" }
      },
      "details": { "message": "Custom role deleted", "patch": "", "actionType": "DELETE" },
      "count": 1,
      "lastOccurredTimestamp": "2026-03-02 09:14:07.13921 +0000 UTC"
    },
    {
      "timestamp": "2026-03-02 09:02:11 +0000 UTC",
      "action": "sync-started",
      "actor": { "type": "argocd_user", "id": "kargo-controller" },
      "object": {
        "type": "argocd_application",
        "id": { "name": "web-app", "kind": "Application", "group": "argoproj.io" },
        "parentId": { "name": "default", "parentName": "prod-argocd", "applicationName": "" }
      },
      "details": { "message": "kargo-controller initiated sync to main", "patch": "", "actionType": "SYNC" },
      "count": 9,
      "lastOccurredTimestamp": "2026-03-02 09:11:40.5 +0000 UTC"
    },
    {
      "timestamp": "2026-03-02 08:59:30.004211 +0000 UTC",
      "action": "updated",
      "actor": { "type": "user", "id": "ada@example.com", "ip": "2001:db8::17" },
      "object": {
        "type": "k8s_resource",
        "id": { "name": "nginx", "kind": "Deployment", "group": "apps" },
        "parentId": { "name": "in-cluster", "parentName": "prod-argocd", "applicationName": "web-app" }
      },
      "details": {
        "message": "ada@example.com patched resource apps/Deployment 'nginx'",
        "patch": "{\"spec\":{\"replicas\":3}}",
        "actionType": "PATCH"
      },
      "count": 1,
      "lastOccurredTimestamp": "2026-03-02 08:59:30.004211 +0000 UTC"
    },
    {
      "timestamp": "2026-03-02 08:30:00.25 +0000 UTC",
      "action": "created",
      "actor": { "type": "system", "id": "" },
      "object": { "type": "organization_invite", "id": { "name": "bob@example.com", "kind": "", "group": "" }, "parentId": null },
      "details": null,
      "count": 1,
      "lastOccurredTimestamp": ""
    }
  ],
  "totalCount": 57
}"#;

const CONFIG: &str =
    r#"{"organization_id": "yx8wvj7xexample", "api_key_id": "key_id_123", "api_key_secret": "s3cr3t"}"#;

fn config(more: &str) -> Config {
    let settings = format!("{}{more}}}", CONFIG.trim_end_matches('}'));
    serde_json::from_str(&settings).expect(&settings)
}

fn plain() -> Arc<dyn Vendor> {
    config("").build().expect("a vendor")
}

fn normalizer() -> AkuityNormalizer {
    AkuityNormalizer::from(&plain().normalizer_config())
}

fn page_request(cursor: Option<&str>) -> PageRequest<'_> {
    let at = |text| Timestamp::parse_rfc3339(text).expect("a time");
    let range = TimeRange { from: at("2026-03-02T08:00:00.0000005Z"), to: at("2026-03-02T09:15:00.2500005Z") };
    PageRequest { range, cursor, page_size: 100 }
}

fn context() -> ReadContext<'static> {
    ReadContext { source: "acme_akuity", observed_at: Timestamp::from_millis(1_772_445_600_004), occurrence: 0 }
}

fn records() -> Vec<&'static str> {
    plain().parse_page(PAGE, &page_request(None)).expect("a page").records
}

#[test]
fn the_request_is_as_documented() {
    let request = plain().request(&page_request(None));
    assert_eq!(plain().base_url(), "https://akuity.cloud");
    assert_eq!(request.path, "/api/v1/organizations/yx8wvj7xexample/audit-logs");
    let query: Vec<(&str, &str)> = request.query.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(
        query,
        [
            ("filters.startTime", "2026-03-02T08:00:00Z"),
            ("filters.endTime", "2026-03-02T09:15:00.250001Z"),
            ("filters.limit", "100"),
            ("filters.offset", "0")
        ]
    );
    let Auth::Basic { user, password } = &request.auth else { panic!("basic authentication") };
    assert_eq!((user.as_str(), password.reveal().expect("a secret").as_str()), ("key_id_123", "s3cr3t"));
    assert!(!format!("{:?}{request:?}", plain()).contains("s3cr3t"));
}

#[test]
fn options_change_the_request() {
    let vendor = config(
        r#", "region": "eu", "time_filter_format": "epoch_millis",
           "extra_query": {"filters.actorType": ["user", "api_key"], "filters.member.enabled": true}"#,
    )
    .build()
    .expect("a vendor");
    let request = vendor.request(&page_request(Some("200")));
    assert_eq!(vendor.base_url(), "https://eu.akuity.cloud");
    let query: Vec<String> = request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        query,
        [
            "filters.startTime=1772438400000",
            "filters.endTime=1772442900251",
            "filters.limit=100",
            "filters.offset=200",
            "filters.actorType=user",
            "filters.actorType=api_key",
            "filters.member.enabled=true"
        ]
    );
    let seconds = config(r#", "time_filter_format": "rfc3339_seconds""#).build().expect("a vendor");
    assert_eq!(seconds.request(&page_request(None)).query[1].1, "2026-03-02T09:15:01Z");
    assert_eq!(seconds.spec().time_granularity, Duration::from_secs(1));
}

#[test]
fn every_invalid_setting_is_reported() {
    let bad = r#"{"organization_id": " ", "api_key_id": "", "api_key_secret": "s", "max_page_size": 0,
        "extra_query": {"filters.start_time": "x", "filters[limit]": 3}, "base_url": "nowhere"}"#;
    let diagnostics = serde_json::from_str::<Config>(bad).expect("readable").build().expect_err("diagnostics");
    let keys: Vec<&str> = diagnostics.iter().map(|diagnostic| &*diagnostic.key).collect();
    assert_eq!(
        keys,
        [
            "organization_id",
            "api_key_id",
            "max_page_size",
            "extra_query.filters.start_time",
            "extra_query.filters[limit]",
            "base_url"
        ]
    );
}

#[test]
fn an_organization_id_cannot_change_the_path() {
    let config = Config { organization_id: "../other?x=".to_owned(), ..config("") };
    let request = config.build().expect("a vendor").request(&page_request(None));
    assert_eq!(request.path, "/api/v1/organizations/..%2Fother%3Fx%3D/audit-logs");
}

#[test]
fn a_page_keeps_exact_bytes() {
    let page = plain().parse_page(PAGE, &page_request(None)).expect("a page");
    assert_eq!(page.records.len(), 4);
    assert!(page.records.iter().all(|record| PAGE.contains(record) && record.starts_with('{')));
    assert_eq!((page.next, page.total), (None, Some(57)));
    let empty = plain().parse_page(r#"{"items":[],"totalCount":57}"#, &page_request(Some("20"))).expect("a page");
    assert_eq!((empty.records.len(), empty.next), (0, None));
    assert_eq!(
        plain().parse_page(r#"{"items":[],"totalCount":0}"#, &page_request(None)).expect("a page").total,
        Some(0)
    );
}

#[test]
fn empty_fields_may_be_left_out() {
    let read = |body, cursor| plain().parse_page(body, &page_request(cursor)).expect(body);
    assert_eq!(read("{}", None), Page { total: Some(0), ..Page::default() });
    assert_eq!(read(r#"{"totalCount":57}"#, Some("57")), Page { total: Some(57), ..Page::default() });
    assert_eq!(read(r#"{"items":[{}],"totalCount":"57"}"#, None).total, Some(57));
    assert_eq!(read(r#"{"items":[{}],"totalCount":-1}"#, None).total, None);
    assert_eq!(normalizer().page_records("{}"), None, "a record, as far as anyone knows");
}

#[test]
fn other_bodies_are_errors() {
    for body in [
        "<html>",
        "[]",
        r#"{"code":16,"message":"unauthenticated","details":[]}"#,
        r#"{"items":{},"totalCount":1}"#,
        r#"{"items":null,"totalCount":57}"#,
        r#"{"totalCount":57}"#,
        &PAGE[..PAGE.len() - 9],
    ] {
        assert!(plain().parse_page(body, &page_request(None)).is_err(), "{body}");
    }
    assert!(plain().parse_page(PAGE, &page_request(Some("not a number"))).is_err());
}

#[test]
fn errors_have_a_kind_and_a_hint() {
    let error = |status, body| plain().classify_error(status, body, false);
    for (status, body, hint) in [
        (400, r#"{"code":3,"message":"parsing field \"limit\"","details":[]}"#, "extra_query"),
        (401, r#"{"code":16,"message":"unauthenticated","details":[]}"#, "api_key_secret"),
        (403, r#"{"code":7,"message":"permission denied","details":[]}"#, "Audit Log: Get"),
        (404, r#"{"code":5,"message":"Not Found","details":[]}"#, "organization_id"),
        (501, r#"{"code":12,"message":"Method Not Allowed","details":[]}"#, "base_url"),
    ] {
        let error = error(status, body);
        let kind = if status == 401 { ApiErrorKind::Unauthorized } else { ApiErrorKind::Permanent };
        assert_eq!(error.kind, kind, "{status}");
        assert!(error.hint.contains(hint), "{status}: {}", error.hint);
    }
    assert_eq!(error(429, r#"{"code":8}"#).kind, ApiErrorKind::RateLimited);
    for (status, body) in [(403, "<!DOCTYPE html>challenge"), (500, "{}"), (502, "<html>"), (504, ""), (499, "")] {
        assert_eq!(error(status, body).kind, ApiErrorKind::Transient, "{status}");
    }
}

#[test]
fn a_record_becomes_an_event() {
    let raw = records()[2];
    let event = normalizer().normalize(raw, &context());
    let key = normalizer().key_of(raw);
    assert_eq!((event.id, event.version), (key.id, Some(key.version)));
    assert_eq!(event.vendor_event_id, None);
    assert_eq!(event.tenant.as_deref(), Some("yx8wvj7xexample"));
    assert_eq!((&*event.event_type, event.action, event.category), ("updated", Action::Update, Category::Data));
    assert_eq!(event.outcome, Outcome::Unknown);
    assert_eq!(event.timestamp.to_string(), "2026-03-02T08:59:30.004211Z");
    assert_eq!(key.timestamp, Some(event.timestamp));
    assert_eq!((event.actor.kind, event.actor.name), (ActorType::User, None));
    assert_eq!(event.actor.id.as_deref(), Some("ada@example.com"));
    assert_eq!(event.actor.email.as_deref(), Some("ada@example.com"));
    assert_eq!(event.actor.ip.as_deref(), Some("2001:db8::17"));
    let target = event.target.expect("a target");
    assert_eq!(target.vendor_type.as_deref(), Some("k8s_resource"));
    assert_eq!(target.id.as_deref(), Some("prod-argocd/in-cluster/web-app/apps/Deployment/nginx"));
    assert_eq!(target.name.as_deref(), Some("nginx"));
    assert_eq!(event.message.as_deref(), Some("ada@example.com patched resource apps/Deployment 'nginx'"));
    assert_eq!(event.raw, raw);
}

#[test]
fn every_documented_sample_has_its_meaning() {
    let meaning = |raw: &'static str| {
        let event = normalizer().normalize(raw, &context());
        (event.action, event.category, event.target.expect("a target").kind, event.actor.kind, event.grants.len())
    };
    let expected = [
        (Action::Delete, Category::Iam, ObjectType::Role, ActorType::ApiKey, 0),
        (Action::Execute, Category::Data, ObjectType::Application, ActorType::Service, 0),
        (Action::Update, Category::Data, ObjectType::Other, ActorType::User, 0),
        (Action::Invite, Category::Iam, ObjectType::User, ActorType::System, 1),
    ];
    assert_eq!(records().into_iter().map(meaning).collect::<Vec<_>>(), expected);
}

#[test]
fn acts_that_are_not_in_the_samples() {
    for (action, object, expected) in [
        ("rotated", "api_key", (Action::Rotate, Category::Credential, ObjectType::ApiKey)),
        ("revoked", "api_key", (Action::Revoke, Category::Credential, ObjectType::ApiKey)),
        ("invited", "organization_invite", (Action::Invite, Category::Iam, ObjectType::User)),
        ("removed", "team_member", (Action::RemoveMember, Category::Iam, ObjectType::User)),
        ("enabled", "addon", (Action::Enable, Category::Configuration, ObjectType::Integration)),
        ("renamed", "organization", (Action::Update, Category::Configuration, ObjectType::Organization)),
        ("exported", "organization", (Action::Export, Category::Configuration, ObjectType::Organization)),
        ("created", "API_KEY", (Action::Create, Category::Credential, ObjectType::ApiKey)),
    ] {
        let raw = format!(
            r#"{{"timestamp":"2026-11-29 13:46:40 +0000 UTC","action":"{action}",
                "actor":{{"type":"user","id":"ada@example.com","ip":"192.0.2.1"}},
                "object":{{"type":"{object}","id":{{"name":"x"}}}},"details":{{"message":"","patch":"","actionType":""}}}}"#
        );
        let event = normalizer().normalize(&raw, &context());
        let target = event.target.expect("a target");
        assert_eq!((event.action, event.category, target.kind), expected, "{action} {object}");
        assert_eq!((target.name.as_deref(), event.normalize_error), (Some("x"), None));
    }
}

#[test]
fn actors_in_every_form() {
    let actor = |json: &str| {
        let raw: &'static str = Box::leak(format!(r#"{{"actor": {json}}}"#).into_boxed_str());
        normalizer().normalize(raw, &context()).actor
    };
    let key = actor(r#"{"type": "api_key", "id": "ci-bot@example.io"}"#);
    assert_eq!((key.kind, key.email.as_deref(), key.ip), (ActorType::ApiKey, Some("ci-bot@example.io"), None));
    assert_eq!((key.via, actor(r#"{"type": "user", "id": "a"}"#).via), (Via::Api, Via::Unknown));
    let blank = actor(r#"{"type": "user", "id": "Sarah Brown@example.io"}"#);
    assert_eq!((blank.email, blank.name.as_deref()), (None, Some("Sarah Brown@example.io")));
    let prefixed = actor(r#"{"type": "kargo_user", "id": "email:ada@example.com"}"#);
    assert_eq!(prefixed.id.as_deref(), Some("email:ada@example.com"));
    assert_eq!((prefixed.email.as_deref(), prefixed.name), (Some("ada@example.com"), None));
    let escaped = actor(r#"{"type": "user", "id": "email:\u0061da@example.com"}"#);
    assert_eq!(escaped.email.as_deref(), Some("ada@example.com"));
    let controller = actor(r#"{"type": "agent", "id": "controller:kargo"}"#);
    assert_eq!((controller.kind, controller.name, controller.email), (ActorType::Service, None, None));
    let nobody = actor(r#"{"type": "system", "id": ""}"#);
    assert_eq!((nobody.kind, nobody.id.as_deref(), nobody.name), (ActorType::System, Some("system"), None));
    assert_eq!(actor("null"), crate::event::Actor::default());
}

#[test]
fn changing_fields_change_the_version_and_not_the_id() {
    let raw = records()[1];
    let before = normalizer().key_of(raw);
    let grown = raw.replace("\"count\": 9", "\"count\": 10");
    let later = raw.replace("09:11:40.5", "09:12:40.5");
    let other_ip = raw.replace("\"kargo-controller\" }", "\"kargo-controller\", \"ip\": \"192.0.2.9\" }");
    let rfc3339 = raw.replace("2026-03-02 09:02:11 +0000 UTC", "2026-03-02T09:02:11Z");
    for changed in [&grown, &later, &other_ip, &rfc3339] {
        assert_ne!(changed.as_str(), raw);
        assert_eq!(normalizer().key_of(changed).id, before.id, "{changed}");
    }
    assert!(normalizer().key_of(&grown).version > before.version);
    assert!(normalizer().key_of(&later).version > before.version);
    assert_eq!(normalizer().key_of(&other_ip).version, before.version);
    assert!(before.version < 1 << 53, "a JSON reader must be able to hold it exactly");
}

#[test]
fn every_other_field_changes_the_id() {
    let raw = records()[2];
    let before = normalizer().key_of(raw).id;
    for (from, to) in [
        ("08:59:30.004211 +0000 UTC\",\n      \"action", "08:59:30.004212 +0000 UTC\",\n      \"action"),
        ("\"action\": \"updated\"", "\"action\": \"upserted\""),
        ("\"user\"", "\"kargo_user\""),
        ("\"ada@example.com\",", "\"eve@example.com\","),
        ("k8s_resource", "k8s_resources"),
        ("\"name\": \"nginx\"", "\"name\": \"nginy\""),
        ("\"kind\": \"Deployment\"", "\"kind\": \"StatefulSet\""),
        ("\"group\": \"apps\"", "\"group\": \"\""),
        ("in-cluster", "other"),
        ("prod-argocd", "test-argocd"),
        ("web-app", "app"),
        ("patched resource", "patched a resource"),
        ("replicas\\\":3", "replicas\\\":4"),
        ("PATCH", "UPDATE"),
    ] {
        let changed = raw.replacen(from, to, 1);
        assert_ne!(changed, raw, "{from}");
        assert_ne!(normalizer().key_of(&changed).id, before, "{from}");
    }
    let elsewhere = Config { organization_id: "other".to_owned(), ..config("") }.build().expect("a vendor");
    assert_ne!(elsewhere.normalizer().key_of(raw).id, before);
}

#[test]
fn missing_and_empty_fields_have_the_same_key() {
    let short = r#"{"timestamp": "2026-03-02 09:02:11 +0000 UTC", "action": "created"}"#;
    let long = r#"{"action": "created", "timestamp": "2026-03-02 09:02:11 +0000 UTC", "actor": null,
        "object": {"type": "", "id": null, "parentId": {"name": ""}}, "details": {"patch": ""}, "count": 0,
        "lastOccurredTimestamp": "0001-01-01 00:00:00 +0000 UTC"}"#;
    assert_eq!(normalizer().key_of(short), normalizer().key_of(long));
    assert_eq!(normalizer().normalize(long, &context()).target, None);
}

#[test]
fn updates_can_be_ignored() {
    let ignoring = config(r#", "collapsed_updates": "ignore""#).build().expect("a vendor");
    let stored = AkuityNormalizer::from(&ignoring.normalizer_config());
    let raw = records()[1];
    assert_eq!(ignoring.normalizer().key_of(raw).version, 0);
    let options = ignoring.normalizer().options();
    assert!(ignoring.normalizer_config().options.iter().all(|(name, word)| {
        options.iter().any(|option| option.name == name.as_str() && option.words.contains(&word.as_str()))
    }));
    assert_eq!(stored.key_of(raw), ignoring.normalizer().key_of(raw));
    assert_eq!(stored.normalize(raw, &context()).version, None);
    assert_eq!(stored.key_of(raw).id, normalizer().key_of(raw).id);
}

/// The id of a record is for ever: if this fails, the rule of the ids was changed. Computed without this program, as SHA-256
/// over `akuity`, the organization, the nanoseconds and the thirteen texts in the rule's order, each closed by a NUL byte.
#[test]
fn the_id_is_stable() {
    assert_eq!(normalizer().key_of(records()[2]).id.to_string(), "465491112f8354846a1501b03416c132");
}

#[test]
fn records_that_cannot_be_normalized_are_delivered_with_the_reason() {
    for raw in ["null", "[]", "{", r#"{"action": "deleted"}"#, r#"{"action": "deleted", "timestamp": "now"}"#] {
        let event = normalizer().normalize(raw, &context());
        assert!(event.normalize_error.is_some(), "{raw}");
        let action = if raw.starts_with("{\"") { Action::Delete } else { Action::Other };
        assert_eq!((event.action, event.category), (action, Category::Other), "{raw}");
        assert_eq!(event.timestamp.to_string(), "2026-03-02T10:00:00.004Z", "{raw}");
        assert_eq!((event.raw, event.id), (raw, normalizer().key_of(raw).id));
    }
    let event = normalizer().normalize(r#"{"action": "deleted", "timestamp": "now"}"#, &context());
    assert_eq!(event.event_type, "deleted");
    let (one, other) = (r#"{"timestamp": "now"}"#, r#"{"timestamp": "then"}"#);
    assert_ne!(
        normalizer().key_of(one).id,
        normalizer().key_of(other).id,
        "times that cannot be read still tell apart"
    );
}

#[test]
fn identical_records_get_separate_ids() {
    let second = ReadContext { occurrence: 1, ..context() };
    let raw = records()[0];
    assert_eq!(normalizer().normalize(raw, &second).id, normalizer().key_of(raw).id.nth(1));
}

#[test]
fn whole_pages_are_split_into_records() {
    assert_eq!(normalizer().page_records(PAGE), Some(records()));
    assert_eq!(normalizer().page_records(records()[0]), None, "a record is no page");
    assert_eq!(normalizer().page_records("[]"), None);
    assert_eq!((normalizer().has_ids(), plain().spec().has_ids), (false, false));
}

#[test]
fn every_form_of_an_empty_page_is_a_page() {
    for body in [r#"{"items":null}"#, r#"{"items":null,"totalCount":0}"#, r#"{"totalCount":0}"#] {
        assert_eq!(normalizer().page_records(body), Some(Vec::new()), "{body}");
    }
}

#[test]
fn records_without_a_usable_time_are_identified_by_their_bytes() {
    let (one, other) = (r#"{"note":"no time","number":1}"#, r#"{"note":"no time","number":2}"#);
    assert_ne!(normalizer().key_of(one).id, normalizer().key_of(other).id);
    assert_eq!(normalizer().normalize(one, &context()).id, normalizer().key_of(one).id);
}

proptest! {
    #[test]
    fn nothing_that_is_read_can_panic(body in testing::any_or_damaged(PAGE)) {
        testing::parse_in_every_way(&*plain(), &body);
    }
}
