use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::Config;
use super::normalizer::CaptivateIqNormalizer;
use crate::event::{Action, ActorType, Category, EventId, Outcome, Role};
use crate::time::{TimeRange, Timestamp};
use crate::vendors::{
    ApiErrorKind, Auth, Normalizer, NormalizerConfig, Page, PageRequest, ReadContext, Vendor, VendorSettings, testing,
};

const PAGE: &str = include_str!("../../../tests/fixtures/captivateiq_page.json");

fn config(settings: serde_json::Value) -> Config {
    let mut settings = settings;
    settings["api_token"] = json!("t0ken");
    serde_json::from_value(settings).expect("settings")
}

fn vendor(settings: serde_json::Value) -> Arc<dyn Vendor> {
    config(settings).build().expect("a vendor")
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

fn page_request(cursor: Option<&str>) -> PageRequest<'_> {
    let range = TimeRange { from: at("2025-02-23T00:00:00Z"), to: at("2025-02-26T00:00:00Z") };
    PageRequest { range, cursor, page_size: 2 }
}

fn query(settings: serde_json::Value, cursor: Option<&str>) -> Vec<(String, String)> {
    vendor(settings).request(&page_request(cursor)).query
}

fn value<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn next(body: &str, cursor: Option<&str>) -> Option<String> {
    vendor(json!({})).parse_page(body, &page_request(cursor)).expect(body).next
}

fn context() -> ReadContext<'static> {
    ReadContext { source: "acme", observed_at: Timestamp::from_secs(1_755_000_000), occurrence: 0 }
}

fn normalizer(options: &[(&str, &str)]) -> CaptivateIqNormalizer {
    let options = options.iter().map(|(name, word)| ((*name).to_owned(), (*word).to_owned())).collect();
    CaptivateIqNormalizer::from(&NormalizerConfig { tenant: None, options })
}

#[test]
fn a_page_gives_its_records_link_and_total() {
    let vendor = vendor(json!({}));
    let page = vendor.parse_page(PAGE, &page_request(None)).expect("a page");
    assert_eq!(page.records.len(), 2);
    assert!(page.records.iter().all(|raw| PAGE.contains(raw)));
    assert_eq!((page.next.is_some(), page.total), (true, Some(5)));
}

#[test]
fn a_link_says_that_there_is_more() {
    for (body, is_more) in [
        (r#"{"data":[1,2],"next":"/ciq/v1/audit-logs/?limit=2&offset=4"}"#, true),
        (r#"{"data":[1,2],"next":null,"total_count":9}"#, false),
        (r#"{"data":[1,2],"next":""}"#, false),
        (r#"{"data":[1,2],"total_count":9}"#, false),
        (r#"{"data":[],"total_count":6}"#, false),
    ] {
        assert_eq!(next(body, Some("4")).is_some(), is_more, "{body}");
    }
}

#[test]
fn other_bodies_are_errors() {
    let vendor = vendor(json!({}));
    for body in [
        "",
        "<html>blocked</html>",
        "{}",
        "[]",
        r#"{"detail":"Invalid token."}"#,
        r#"{"data":null,"total_count":57}"#,
        r#"{"total_count":57,"next":null}"#,
        r#"{"data":[],"next":{}}"#,
        r#"{"data":{}}"#,
        &PAGE[..PAGE.len() / 2],
    ] {
        assert!(vendor.parse_page(body, &page_request(None)).is_err(), "{body}");
    }
}

#[test]
fn a_list_without_records_may_be_null() {
    let body = r#"{"object":"list","total_count":0,"next":null,"previous":null,"data":null}"#;
    let page = vendor(json!({})).parse_page(body, &page_request(None)).expect("a page");
    assert_eq!(page, Page { total: Some(0), ..Page::default() });
}

#[test]
fn the_request_is_the_documented_one() {
    let vendor = vendor(json!({"email": "a+b@example.com", "ordering": "created_at"}));
    let request = vendor.request(&page_request(Some("2000")));
    assert_eq!(request.path, "/audit-logs/");
    assert!(matches!(request.auth, Auth::Scheme("Token", _)));
    for (name, wanted) in [
        ("limit", "2"),
        ("offset", "2000"),
        ("start_date", "2025-02-23"),
        ("email", "a+b@example.com"),
        ("ordering", "created_at"),
    ] {
        assert_eq!(value(&request.query, name), Some(wanted), "{name}");
    }
    let plain = query(json!({}), None);
    assert_eq!((value(&plain, "offset"), value(&plain, "email"), value(&plain, "ordering")), (Some("0"), None, None));
}

#[test]
fn the_end_date_is_complete_under_either_reading() {
    for (setting, wanted) in [("day_after", Some("2025-02-26")), ("last_day", Some("2025-02-25")), ("omit", None)] {
        assert_eq!(value(&query(json!({"end_date": setting}), None), "end_date"), wanted, "{setting}");
    }
}

#[test]
fn every_invalid_setting_is_reported() {
    for (settings, key) in [
        (json!({"email": "nobody"}), "email"),
        (json!({"ordering": "a\nb"}), "ordering"),
        (json!({"base_url": "http://api.captivateiq.com"}), "base_url"),
    ] {
        assert_eq!(config(settings).build().expect_err(key)[0].key, key);
    }
}

#[test]
fn errors_have_a_kind_and_a_hint() {
    let vendor = vendor(json!({}));
    let error = vendor.classify_error(401, r#"{"detail":"Invalid token."}"#, false);
    assert_eq!(error.kind, ApiErrorKind::Unauthorized);
    assert!(error.hint.contains("Token") && error.message.contains("Invalid token."));
    assert_eq!(vendor.classify_error(403, "<html>", false).kind, ApiErrorKind::Transient);
    assert!(vendor.classify_error(403, "{}", false).hint.contains("administrator"));
}

#[test]
fn an_outage_is_transient() {
    for status in [500, 502, 503, 504] {
        assert_eq!(vendor(json!({})).classify_error(status, "<html>", false).kind, ApiErrorKind::Transient, "{status}");
    }
}

#[test]
fn without_an_end_date_windows_are_not_split() {
    let whole = vendor(json!({"end_date": "omit"}));
    assert_eq!((whole.spec().slice, whole.spec().max_window_records), (Duration::from_secs(3_650 * 86_400), u64::MAX));
    let sliced = vendor(json!({}));
    assert_eq!((sliced.spec().slice, sliced.spec().max_window_records), (Duration::from_secs(7 * 86_400), 100_000));
}

#[test]
fn impersonation_in_the_documented_sample() {
    let records = normalizer(&[]).page_records(PAGE).expect("a page");
    let event = normalizer(&[]).normalize(records[0], &context());
    assert_eq!(event.tenant.as_deref(), Some("org_123456"));
    assert_eq!(event.id, EventId::of_key("captivateiq", Some("org_123456"), "550e8400-e29b-41d4-a716-446655440000"));
    assert_eq!((event.action, event.category), (Action::Impersonate, Category::Authentication));
    let same = records[0].replace("admin_001", "user_001");
    assert_eq!(normalizer(&[]).normalize(&same, &context()).action, Action::Login);
    assert_eq!((event.outcome, event.event_type.as_ref()), (Outcome::Unknown, "user.login"));
    assert_eq!(event.actor.kind, ActorType::User);
    assert_eq!(event.actor.id.as_deref(), Some("admin_001"));
    let user = event.actor.on_behalf_of.expect("an effective user");
    assert_eq!((user.id.as_deref(), user.email.as_deref()), (Some("user_001"), Some("john.smith@example.com")));
    assert!(event.changes.is_empty() && event.related.is_empty());
    assert_eq!(event.raw, records[0]);
}

#[test]
fn changes_and_parents_in_the_documented_sample() {
    let records = normalizer(&[]).page_records(PAGE).expect("a page");
    let event = normalizer(&[]).normalize(records[1], &context());
    assert_eq!((event.action, event.category), (Action::Update, Category::Data));
    assert_eq!(event.actor.on_behalf_of, None);
    assert_eq!(event.changes.len(), 1);
    assert_eq!(event.changes[0].field, "name");
    assert_eq!(event.changes[0].old.as_deref(), Some("Quota"));
    assert_eq!(event.changes[0].new.as_deref(), Some("Quota FY25"));
    let kinds: Vec<_> = event.related.iter().map(|related| related.object.vendor_type.as_deref()).collect();
    assert_eq!(kinds, [Some("worksheet"), Some("workbook")]);
    assert!(event.related.iter().all(|related| related.role == Role::Parent));
}

#[test]
fn options_come_from_the_stored_config() {
    let vendor = vendor(json!({"actor": "effective", "assume_success": true, "event_type": "with_object_type"}));
    let stored = CaptivateIqNormalizer::from(&vendor.normalizer_config());
    let records = stored.page_records(PAGE).expect("a page");
    let login = stored.normalize(records[0], &context());
    assert_eq!((login.actor.id.as_deref(), login.actor.on_behalf_of), (Some("user_001"), None));
    assert_eq!((login.event_type.as_ref(), login.outcome), ("user.login", Outcome::Success));
    assert_eq!(stored.normalize(records[1], &context()).event_type, "column.update");
    let failed = r#"{"id":"a","event_type":"user.login_failed","created_at":"2025-02-23T14:30:00Z"}"#;
    assert_eq!(stored.normalize(failed, &context()).outcome, Outcome::Failure);
}

#[test]
fn data_of_any_type_is_accepted() {
    for (data, wanted) in [
        (r#"{"a":{"old":1.50,"new":null},"b":7,"c":{"x":1},"d":{"new":[1, 2]}}"#, 2),
        ("[1]", 0),
        ("\"text\"", 0),
        ("{}", 0),
    ] {
        let raw = format!(r#"{{"id":"a","created_at":"2025-02-23T14:30:00Z","data":{data}}}"#);
        let event = normalizer(&[]).normalize(&raw, &context());
        assert_eq!((event.changes.len(), &event.normalize_error), (wanted, &None), "{data}");
    }
    let raw = r#"{"data":{"a":{"old":1.50},"d":{"new":[1, 2]}}}"#;
    let changes = normalizer(&[]).normalize(raw, &context()).changes;
    assert_eq!((changes[0].old.as_deref(), changes[1].new.as_deref()), (Some("1.50"), Some("[1, 2]")));
}

#[test]
fn object_types_determine_the_category() {
    for (event_type, object_type, wanted) in [
        ("update", "worksheet", Category::Data),
        ("update", "user_role", Category::Iam),
        ("create", "api_token", Category::Credential),
        ("update", "organization_settings", Category::Configuration),
        ("update", "commission_plan", Category::Data),
        ("create", "employee visibility", Category::Iam),
        ("update", "hierarchy group", Category::Data),
        ("update", "organization settings", Category::Configuration),
        ("update", "employee", Category::Data),
        ("user.create", "", Category::Iam),
        ("teleport", "", Category::Other),
    ] {
        let mut raw = json!({"id": "a", "created_at": "2025-02-23T14:30:00Z", "event_type": event_type});
        raw["object_type"] = json!(object_type);
        let raw = raw.to_string();
        assert_eq!(normalizer(&[]).normalize(&raw, &context()).category, wanted, "{event_type} {object_type}");
    }
}

#[test]
fn values_of_other_types_are_read_as_meant() {
    let raw = |event_type: &str, object_type: &str| {
        format!(
            r#"{{"id":"d1","organization_id":"org_1","user_id":17,"user_name":"Ada","user_email":"x@example.com",
                "logged_in_user_id":18,"logged_in_user_email":"ada@example.com","ip_address":"not an ip",
                "created_at":"2026-11-29T13:46:40.000000Z","event_type":"{event_type}","data":null,"object_id":123,
                "object_name":"serial 1","object_type":"{object_type}","parent_objects":[]}}"#
        )
    };
    let update = raw("update", "report");
    let event = normalizer(&[]).normalize(&update, &context());
    assert_eq!((event.actor.id.as_deref(), event.actor.ip, event.normalize_error), (Some("18"), None, None));
    assert_eq!(event.actor.on_behalf_of.expect("the effective user").id.as_deref(), Some("17"));
    assert_eq!(event.target.expect("a target").id.as_deref(), Some("123"));
    let failed = raw("user.login.failed", "user").replace("17", "18");
    let event = normalizer(&[]).normalize(&failed, &context());
    assert_eq!((event.action, event.outcome), (Action::Login, Outcome::Failure));
    let reset = raw("user.password_reset", "user");
    let event = normalizer(&[]).normalize(&reset, &context());
    assert_eq!((event.action, event.category), (Action::PasswordReset, Category::Credential));
    let deleted = raw("delete", "user");
    let event = normalizer(&[]).normalize(&deleted, &context());
    assert_eq!((event.action, event.category), (Action::Delete, Category::Iam));
}

#[test]
fn records_without_a_user_have_the_system_as_actor() {
    let raw =
        r#"{"id":"a","created_at":"2025-02-23T14:30:00Z","user_id":null,"logged_in_user_email":"","ip_address":""}"#;
    let actor = normalizer(&[]).normalize(raw, &context()).actor;
    assert_eq!((actor.kind, actor.id, actor.ip, actor.on_behalf_of), (ActorType::System, None, None, None));
}

#[test]
fn missing_values_of_the_same_user_are_filled_in() {
    let raw =
        r#"{"id":"a","created_at":"2025-02-23T14:30:00Z","user_id":"u","user_name":"Ada","logged_in_user_id":"u"}"#;
    let actor = normalizer(&[]).normalize(raw, &context()).actor;
    assert_eq!((actor.id.as_deref(), actor.name.as_deref(), actor.on_behalf_of), (Some("u"), Some("Ada"), None));
}

#[test]
fn records_that_cannot_be_normalized_are_delivered_with_the_reason() {
    for (raw, reason) in [
        (r#"{"id":"a","created_at":12,"event_type":"create"}"#, "created_at"),
        (r#"{"created_at":"2025-02-23T14:30:00Z"}"#, "`id`"),
        ("7", "a number"),
        ("{", "not valid JSON"),
    ] {
        let event = normalizer(&[]).normalize(raw, &context());
        assert!(event.normalize_error.expect(raw).contains(reason), "{raw}");
        let action = if raw.contains("create\"") { Action::Create } else { Action::Other };
        assert_eq!((event.raw, event.action), (raw, action));
    }
}

#[test]
fn a_record_with_data_is_not_a_page() {
    assert_eq!(normalizer(&[]).page_records(r#"{"object":"audit_log","id":"a","data":[{"x":1}]}"#), None);
}

proptest! {
    #[test]
    fn nothing_that_is_read_can_panic(body in testing::any_or_damaged(PAGE)) {
        testing::parse_in_every_way(&*vendor(json!({})), &body);
    }
}
