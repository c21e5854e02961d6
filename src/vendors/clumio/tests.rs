use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::Config;
use super::api::REGIONS;
use super::normalizer::{ClumioNormalizer, parse_page};
use crate::diagnostic::SettingDiagnostic;
use crate::event::{Action, ActorType, Category, EventId, ObjectType, Outcome, Role, Via};
use crate::time::{TimeRange, Timestamp};
use crate::vendors::{
    ApiErrorKind, Auth, Normalizer, NormalizerConfig, Page, PageRequest, ReadContext, RecordOrder, Vendor,
    VendorSettings, testing,
};

const PAGE: &str = include_str!("../../../tests/fixtures/clumio_page.json");

fn config(settings: serde_json::Value) -> Config {
    let mut settings = settings;
    settings["access_token"] = json!("t0ken");
    serde_json::from_value(settings).expect("settings")
}

fn vendor(settings: serde_json::Value) -> Arc<dyn Vendor> {
    config(settings).build().expect("a vendor")
}

fn diagnostics(settings: serde_json::Value) -> Vec<SettingDiagnostic> {
    config(settings).build().expect_err("diagnostics")
}

fn page_request(cursor: Option<&str>) -> PageRequest<'_> {
    let from = Timestamp::parse_rfc3339("2025-08-11T23:00:00Z").expect("a time");
    PageRequest {
        range: TimeRange { from, to: from + Duration::from_nanos(3_600_000_000_001) },
        cursor,
        page_size: 100,
    }
}

fn query(settings: serde_json::Value, cursor: Option<&str>, name: &str) -> String {
    let request = vendor(settings).request(&page_request(cursor));
    request.query.into_iter().find(|(key, _)| key == name).expect("the parameter").1
}

fn context() -> ReadContext<'static> {
    ReadContext { source: "acme", observed_at: Timestamp::from_secs(1_755_000_000), occurrence: 0 }
}

fn normalizer() -> ClumioNormalizer {
    ClumioNormalizer::from(&NormalizerConfig::default())
}

#[test]
fn a_page_gives_its_records_next_page_and_total() {
    let vendor = vendor(json!({}));
    let page = vendor.parse_page(PAGE, &page_request(None)).expect("a page");
    assert_eq!(page.records.len(), 2);
    assert!(page.records.iter().all(|raw| PAGE.contains(raw)));
    assert_eq!((page.next.as_deref(), page.total), (Some("2"), Some(5)));
}

#[test]
fn the_last_page_has_no_next_or_a_null_one() {
    let vendor = vendor(json!({}));
    for body in [
        r#"{"_embedded":{"items":[{"id":"a"}]},"_links":{"_self":{"href":"/x?start=1"}}}"#,
        r#"{"_embedded":{"items":[{"id":"a"}]},"_links":{"_next":null}}"#,
        r#"{"_embedded":{"items":[{"id":"a"}]},"_links":null}"#,
        r#"{"_embedded":{"items":[{"id":"a"}]}}"#,
    ] {
        let page = vendor.parse_page(body, &page_request(None)).expect(body);
        assert_eq!((page.records.len(), page.next), (1, None), "{body}");
    }
}

#[test]
fn empty_pages_in_every_form() {
    let vendor = vendor(json!({}));
    for body in [r#"{"_embedded":{"items":[]}}"#, r#"{"_embedded":null}"#, r#"{"_embedded":{"items":null}}"#] {
        assert_eq!(vendor.parse_page(body, &page_request(None)).expect(body), Page::default());
    }
}

#[test]
fn other_bodies_are_errors() {
    let vendor = vendor(json!({}));
    for body in [
        "",
        "<html></html>",
        "{}",
        "[]",
        r#"{"_embedded":{}}"#,
        r#"{"errors":[{"error_code":400,"error_message":"Invalid filter."}]}"#,
        r#"{"_embedded":{"items":{}}}"#,
        r#"{"_embedded":{"items":[]},"_links":{"_next":{"href":"/audit-trails?limit=2"}}}"#,
        r#"{"_embedded":{"items":[]},"_links":{"_next":{"href":"/audit-trails?filter={start_timestamp=3}"}}}"#,
        r#"{"_embedded":{"items":[]},"_links":{"_next":{"templated":false}}}"#,
        r#"{"_embedded":{"items":null},"total_count":57}"#,
        r#"{"_embedded":null,"total_count":57}"#,
        &PAGE[..PAGE.len() / 2],
    ] {
        assert!(vendor.parse_page(body, &page_request(None)).is_err(), "{body}");
    }
}

#[test]
fn a_link_that_leads_nowhere_ends_the_scan() {
    for next in [r#"{"href":""}"#, r#"{"href":null}"#, "null", "false", r#""""#] {
        let body = format!(r#"{{"_embedded":{{"items":[{{}}]}},"_links":{{"_next":{next}}},"total_count":"1"}}"#);
        let page = vendor(json!({})).parse_page(&body, &page_request(None)).expect("a page");
        assert_eq!((page.next, page.total), (None, Some(1)), "{next}");
    }
    let behind_the_end =
        vendor(json!({})).parse_page(r#"{"_embedded":null,"total_count":2}"#, &page_request(Some("3")));
    assert_eq!(behind_the_end.expect("a page").records, Vec::<&str>::new());
}

#[test]
fn the_request_is_the_documented_one() {
    let request = vendor(json!({"organizational_unit": "ou-1"})).request(&page_request(Some("3")));
    assert_eq!(request.path, "/audit-trails");
    let query: Vec<(&str, &str)> = request.query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        query,
        [
            ("limit", "100"),
            ("start", "3"),
            (
                "filter",
                r#"{"start_timestamp":{"$gte":"2025-08-11T23:00:00.000000Z","$lt":"2025-08-12T00:00:00.000001Z"}}"#
            ),
        ]
    );
    assert!(request.headers.contains(&("Accept", "application/api.clumio.audit-trails=v1+json".to_owned())));
    assert!(request.headers.contains(&("X-Clumio-OrganizationalUnit-Context", "ou-1".to_owned())));
    assert!(matches!(request.auth, Auth::Bearer(_)));
    assert_eq!(query_of_first_page(), "1");
}

fn query_of_first_page() -> String {
    query(json!({}), None, "start")
}

#[test]
fn filters_are_joined_as_json() {
    let settings = json!({"bucket_region": "us-\"west", "extra_filter": {"category": {"$in": ["users", "mfa"]}}});
    let filter: serde_json::Value = serde_json::from_str(&query(settings.clone(), None, "filter")).expect("JSON");
    assert_eq!(filter["bucket_region"], json!({"$eq": "us-\"west"}));
    assert_eq!(filter["category"], json!({"$in": ["users", "mfa"]}));
    for handling in ["ignore", "match_locally"] {
        let mut settings = settings.clone();
        settings["undocumented_filters"] = json!(handling);
        assert!(!query(settings, None, "filter").contains("bucket_region"), "{handling}");
    }
}

#[test]
fn filters_match_locally_if_configured() {
    let body = r#"{"_embedded":{"items":[
        {"id":"1","primary_entity":{"id":"asset"},"details_json":{"tags":[{"type":"bucket_region","value":"us-west-2"}]}},
        {"id":"2","primary_entity":{"id":"asset"},"details_json":{"tags":[{"type":"bucket_region","value":"eu-west-1"}]}},
        {"id":"3","primary_entity":{"id":"other"}},
        "odd"
    ]},"total_count":4}"#;
    let settings = json!({
        "undocumented_filters": "match_locally", "protection_group_s3_asset_id": "asset", "bucket_region": "us-west-2",
    });
    let vendor = vendor(settings);
    let page = vendor.parse_page(body, &page_request(None)).expect("a page");
    assert_eq!(page.records.len(), 2, "the matching record, and the one that cannot be looked into");
    assert!(page.records[0].contains(r#""id":"1""#));
    assert_eq!(page.total, None, "the vendor's total counts what was left out");
}

#[test]
fn each_undocumented_filter_that_is_sent_gets_a_warning() {
    let mut settings = json!({"protection_group_s3_asset_id": "asset", "bucket_region": "us-west-2"});
    let keys = |settings: &serde_json::Value| -> Vec<String> {
        config(settings.clone()).warnings().into_iter().map(|warning| warning.key).collect()
    };
    assert_eq!(keys(&settings), ["protection_group_s3_asset_id", "bucket_region"]);
    settings["undocumented_filters"] = json!("match_locally");
    assert!(keys(&settings).is_empty() && keys(&json!({})).is_empty());
}

#[test]
fn regions_have_their_documented_addresses() {
    for (region, address) in REGIONS {
        assert_eq!(vendor(json!({"region": region})).base_url(), *address);
    }
    assert_eq!(vendor(json!({})).base_url(), "https://us-west-2.api.clumio.com");
    assert_eq!(vendor(json!({"base_url": "http://127.0.0.1:9/clumio/"})).base_url(), "http://127.0.0.1:9/clumio");
}

#[test]
fn every_invalid_setting_is_reported() {
    let found = diagnostics(json!({
        "region": "us-west-3", "organizational_unit": "a\nb",
        "extra_filter": {"start_timestamp": {"$eq": 1}, "category": ["users"]},
    }));
    let keys: Vec<&str> = found.iter().map(|diagnostic| diagnostic.key.as_str()).collect();
    assert_eq!(keys, ["organizational_unit", "extra_filter.category", "extra_filter.start_timestamp", "region"]);
    assert!(found[3].hint.contains("us-west-2"));
    assert!(serde_json::from_value::<Config>(json!({"access_token": "x", "regoin": "us-west-2"})).is_err());
}

#[test]
fn settings_parse_as_written_in_yaml() {
    let written = "
access_token: {file: /run/secrets/clumio}
region: eu-central-1
organizational_unit: 5b2f1f0e-77f2-11ef-8f0e-0a58a9feac02
extra_filter:
  category: {$in: [users, mfa]}
order: newest_first
retention: 30d
max_page_size: 250
";
    let config: Config = serde_saphyr::from_str(written).expect("settings");
    let vendor = config.build().expect("a vendor");
    let spec = vendor.spec();
    assert_eq!(spec.retention, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!((spec.order, spec.max_page_size), (RecordOrder::NewestFirst, 250));
    assert!(vendor.request(&page_request(None)).query[2].1.ends_with(r#","category":{"$in":["users","mfa"]}}"#));
}

#[test]
fn errors_have_a_kind_and_a_hint() {
    let vendor = vendor(json!({"bucket_region": "us-west-2"}));
    let body = r#"{"errors":[{"error_code":402,"error_message":"Unauthorized access"}]}"#;
    let error = vendor.classify_error(401, body, false);
    assert_eq!(error.kind, ApiErrorKind::Unauthorized);
    assert!(error.message.contains("Unauthorized access") && error.hint.contains("access_token"));
    assert!(vendor.classify_error(400, body, false).hint.contains("undocumented_filters"));
    assert!(vendor.classify_error(403, body, false).hint.contains("region"));
    assert_eq!(vendor.classify_error(409, body, false).kind, ApiErrorKind::Permanent);
    assert_eq!(vendor.classify_error(429, "", false).kind, ApiErrorKind::RateLimited);
    assert_eq!(vendor.classify_error(503, "<html>", false).kind, ApiErrorKind::Transient);
}

#[test]
fn the_documented_sample_in_the_schema() {
    let page = parse_page(PAGE, 0).expect("a page");
    let event = normalizer().normalize(page.records[0], &context());
    assert_eq!(event.id, EventId::of_key("clumio", None, "d38fcaa9-200d-538e-a661-fbed769b1fc5"));
    assert_eq!(event.vendor_event_id.as_deref(), Some("d38fcaa9-200d-538e-a661-fbed769b1fc5"));
    assert_eq!(event.event_type, "user_deleted");
    assert_eq!((event.action, event.category), (Action::Delete, Category::Iam));
    assert_eq!(event.outcome, Outcome::Failure);
    assert_eq!(event.timestamp.to_string(), "2025-08-11T23:46:28.285759Z");
    assert_eq!(event.actor.kind, ActorType::User);
    assert_eq!(event.actor.id.as_deref(), Some("Robin Sample@example.com"));
    assert_eq!(event.actor.email, None, "it does not look like an address");
    let target = event.target.expect("a target");
    assert_eq!((target.kind, target.vendor_type.as_deref()), (ObjectType::Session, Some("auth")));
    assert_eq!(target.name.as_deref(), Some("Multi-Factor Authentication"));
    assert_eq!(event.actor.via, Via::Webhook);
    let related: Vec<_> = event.related.iter().map(|related| (related.role, related.object.kind)).collect();
    assert_eq!(
        related,
        [
            (Role::Mentioned, ObjectType::User),
            (Role::Associated, ObjectType::Session),
            (Role::Associated, ObjectType::Organization)
        ]
    );
    assert_eq!(event.related[0].object.email.as_deref(), Some("user@example.com"));
    assert_eq!((event.normalize_error, event.raw), (None, page.records[0]));
}

#[test]
fn a_system_event_with_a_parent() {
    let page = parse_page(PAGE, 0).expect("a page");
    let event = normalizer().normalize(page.records[1], &context());
    assert_eq!(event.timestamp.to_string(), "2025-08-11T23:41:02Z");
    assert_eq!((event.actor.kind, &event.actor.email, &event.actor.ip), (ActorType::System, &None, &None));
    assert_eq!(event.actor.id, None);
    assert_eq!(event.related.len(), 1);
    assert_eq!(event.related[0].role, Role::Parent);
    assert_eq!(event.related[0].object.vendor_type.as_deref(), Some("aws_environment"));
}

#[test]
fn a_dash_is_no_person_and_no_address() {
    let raw = r#"{"id":"a","timestamp":"2025-08-11T23:41:02Z","user_email":"-","ip_address":"-","interface":"-"}"#;
    let actor = normalizer().normalize(raw, &context()).actor;
    assert_eq!((actor.kind, actor.id, actor.email, actor.ip), (ActorType::System, None, None, None));
    assert_eq!(actor.via, Via::Unknown);
}

#[test]
fn values_in_other_forms_are_read_as_meant() {
    let raw = |fields: &str| {
        format!(
            r#"{{"action":"create","category":"policy","details_json":{{}},"interface":"UI","timestamp":"2026-11-29T13:46:40.000000Z",
                "user_email":"ada@example.com",{fields}}}"#
        )
    };
    for (fields, ip, vendor_id, target_id) in [
        (r#""id":"c1","ip_address":"203.0.113.4, 10.0.0.1""#, Some("203.0.113.4"), "c1", None),
        (r#""id":"c2","ip_address":"203.0.113.4:443""#, Some("203.0.113.4"), "c2", None),
        (r#""id":77,"ip_address":"-""#, None, "77", None),
        (r#""id":"c4","primary_entity":{"id":5,"type":"policy","value":"p"}"#, None, "c4", Some("5")),
    ] {
        let raw = raw(fields);
        let event = normalizer().normalize(&raw, &context());
        assert_eq!(event.actor.ip.as_deref(), ip, "{fields}");
        assert_eq!(event.vendor_event_id.as_deref(), Some(vendor_id), "{fields}");
        let target = event.target.expect("the policy");
        assert_eq!((target.kind, target.id.as_deref()), (ObjectType::Policy, target_id), "{fields}");
        assert_eq!((event.actor.via, event.normalize_error), (Via::Ui, None), "{fields}");
    }
}

#[test]
fn without_a_primary_entity_the_parent_or_the_category_is_the_target() {
    let of = |entities: &str| {
        let raw = format!(r#"{{"id":"a","timestamp":"2025-08-11T23:41:02Z","category":"SSO",{entities}}}"#);
        let event = normalizer().normalize(&raw, &context());
        (event.target.and_then(|target| target.vendor_type).map(String::from), event.related.len())
    };
    assert_eq!(of(r#""primary_entity":null,"parent_entity":{"type":"Org"}"#), (Some("Org".into()), 0));
    assert_eq!(of(r#""primary_entity":{"id":"","type":""},"parent_entity":7"#), (Some("SSO".into()), 0));
}

#[test]
fn known_and_unknown_values_are_mapped() {
    for (category, action, wanted) in [
        ("mfa", "enable", (Action::MfaEnable, Category::Iam)),
        ("protection", "apply", (Action::Update, Category::Configuration)),
        ("authentication", "login", (Action::Login, Category::Authentication)),
        ("api_tokens", "refresh", (Action::Rotate, Category::Credential)),
        ("restore", "granular_retrieval", (Action::Restore, Category::Data)),
        ("user_groups", "group_renamed", (Action::Update, Category::Iam)),
        ("galaxy", "teleport", (Action::Other, Category::Other)),
    ] {
        let raw = json!({"id": "a", "timestamp": "2025-08-11T23:41:02Z", "category": category, "action": action});
        let raw = raw.to_string();
        let event = normalizer().normalize(&raw, &context());
        assert_eq!((event.action, event.category), wanted, "{category} {action}");
        assert_eq!(event.event_type, action);
    }
}

#[test]
fn options_come_from_the_stored_config() {
    let vendor = vendor(json!({
        "organizational_unit": "ou-1", "event_type": "category_action", "dedupe_key": "id+status",
    }));
    let stored = ClumioNormalizer::from(&vendor.normalizer_config());
    let raw = r#"{"id":"a","timestamp":"2025-08-11T23:41:02Z","category":"mfa","action":"enable","status":"success"}"#;
    let event = stored.normalize(raw, &context());
    assert_eq!(event.event_type, "mfa.enable");
    assert_eq!(event.tenant.as_deref(), Some("ou-1"));
    assert_eq!(event.id, EventId::of_key("clumio", Some("ou-1"), "a\0success"));
    assert_eq!(event.id, vendor.normalizer().key_of(raw).id);
}

#[test]
fn records_that_cannot_be_normalized_are_delivered_with_the_reason() {
    for (raw, reason) in [
        (r#"{"id":"a","timestamp":"yesterday","action":"login"}"#, "timestamp"),
        (r#"{"id":"a"}"#, "timestamp"),
        (r#"{"timestamp":"0001-01-01T00:00:00Z","id":"a"}"#, "timestamp"),
        (r#"{"id":{"n":7},"timestamp":"2025-08-11T23:41:02Z"}"#, "`id`"),
        ("[1,2]", "an array"),
        ("null", "null"),
        ("{\"id\":", "not valid JSON"),
        ("", "not valid JSON"),
    ] {
        let event = normalizer().normalize(raw, &context());
        let message = event.normalize_error.expect(raw);
        assert!(message.contains(reason), "{raw}: {message}");
        assert_eq!(event.raw, raw);
        assert_eq!(event.id, normalizer().key_of(raw).id);
    }
    let event = normalizer().normalize(r#"{"id":"a","action":"login"}"#, &context());
    assert_eq!(event.timestamp, context().observed_at);
    assert_eq!((event.action, event.category), (Action::Login, Category::Authentication), "what was read is kept");
    assert_eq!(event.event_type, "login");
}

#[test]
fn a_page_is_distinguished_from_a_record() {
    assert_eq!(normalizer().page_records(PAGE).map(|records| records.len()), Some(2));
    assert_eq!(normalizer().page_records(r#"{"id":"a"}"#), None);
}

proptest! {
    #[test]
    fn nothing_that_is_read_can_panic(body in testing::any_or_damaged(PAGE)) {
        testing::parse_in_every_way(&*vendor(json!({})), &body);
    }
}
