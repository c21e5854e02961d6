use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::Config;
use super::normalizer::MergeNormalizer;
use crate::event::{Action, ActorType, Category, ObjectType, Outcome, Role, Via};
use crate::time::{TimeRange, Timestamp};
use crate::vendors::{ApiErrorKind, Auth, Normalizer, Page, PageRequest, ReadContext, Vendor, VendorSettings, testing};

const PAGE: &str = r#"{
  "next": "cD0yMDI2LTAzLTAyKzA5JTNBMTQlM0EwNy4xMjAwNDUlMkIwMCUzQTAw",
  "previous": null,
  "results": [
    {
      "id": "0f6d2c1e-5a0b-4c55-9d0e-2f7c1b8a9e01",
      "user_name": "Ada Example",
      "user_email": "ada@example.com",
      "role": "ADMIN",
      "ip_address": "192.0.2.123",
      "event_type": "CHANGED_SCOPES",
      "event_description": "Organization-wide Scopes for model hris.Employee updated from Read to Read+Write",
      "created_at": "2026-03-02T08:59:30.004211Z"
    },
    {
      "id": "7b1f4e63-91aa-4a43-8b8f-6a3d0c5e7f02",
      "user_name": null,
      "user_email": null,
      "role": "API",
      "ip_address": "198.51.100.7",
      "event_type": "CREATED_TEST_API_KEY",
      "event_description": "Test API key \"ci-runner\" created",
      "created_at": "2026-03-02T09:02:11Z"
    },
    {
      "id": "c2a9d7b4-0c3e-4f1d-a6b7-91e2f3a4b503",
      "user_name": "Merge Support",
      "user_email": "support@merge.example",
      "role": "MERGE_TEAM",
      "ip_address": "",
      "event_type": "END_USER_CREDENTIALS_ACCESSED",
      "event_description": "Credentials of Linked Account \"Example Corp\" were accessed",
      "created_at": "2026-03-02T11:14:07.120045+02:00"
    }
  ]
}"#;

fn config(settings: &str) -> Config {
    serde_json::from_str(settings).expect(settings)
}

fn vendor(settings: &str) -> Arc<dyn Vendor> {
    config(settings).build().expect(settings)
}

fn plain() -> Arc<dyn Vendor> {
    vendor(r#"{"api_key": "k3y"}"#)
}

fn normalizer() -> MergeNormalizer {
    MergeNormalizer::from(&plain().normalizer_config())
}

fn page_request(cursor: Option<&str>) -> PageRequest<'_> {
    let at = |text| Timestamp::parse_rfc3339(text).expect("a time");
    let range = TimeRange { from: at("2026-03-02T08:00:00Z"), to: at("2026-03-02T09:15:00.25Z") };
    PageRequest { range, cursor, page_size: 100 }
}

fn context() -> ReadContext<'static> {
    ReadContext { source: "acme_merge", observed_at: Timestamp::from_millis(1_772_445_600_004), occurrence: 0 }
}

fn records() -> Vec<&'static str> {
    plain().parse_page(PAGE, &page_request(None)).expect("a page").records
}

#[test]
fn the_request_is_as_documented() {
    let request = plain().request(&page_request(None));
    assert_eq!(plain().base_url(), "https://api.merge.dev/api");
    assert_eq!(request.path, "/hris/v1/audit-trail");
    let query: Vec<(&str, &str)> = request.query.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(
        query,
        [("page_size", "100"), ("start_date", "2026-03-02T08:00:00Z"), ("end_date", "2026-03-02T09:15:00.25Z")]
    );
    assert!(request.secret_headers.is_empty());
    assert!(matches!(request.auth, Auth::Bearer(key) if key.reveal().expect("a key") == "k3y"));
}

#[test]
fn options_change_the_request() {
    let vendor = vendor(
        r#"{"api_key": "k3y", "region": "eu", "category": "crm", "event_type": "CHANGED_SCOPES",
            "user_email": "ada@example.com", "send_end_date": false, "account_token": "t0ken"}"#,
    );
    let request = vendor.request(&page_request(Some("cD0y+/=")));
    assert_eq!(vendor.base_url(), "https://api-eu.merge.dev/api");
    assert_eq!(request.path, "/crm/v1/audit-trail");
    let names: Vec<&str> = request.query.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["page_size", "start_date", "event_type", "user_email", "cursor"]);
    assert_eq!(request.query[4].1, "cD0y+/=");
    assert_eq!(request.secret_headers[0].0, "x-account-token");
    assert!(!format!("{vendor:?}{request:?}").contains("t0ken"));
}

#[test]
fn every_invalid_setting_is_reported() {
    let diagnostics = config(
        r#"{"api_key": "k", "event_type": "A,B", "user_email": " ", "base_url": "http://api.merge.dev", "tenant": ""}"#,
    )
    .build()
    .expect_err("diagnostics");
    let keys: Vec<&str> = diagnostics.iter().map(|diagnostic| &*diagnostic.key).collect();
    assert_eq!(keys, ["user_email", "tenant", "event_type", "base_url"]);
    assert!(serde_json::from_str::<Config>(r#"{"api_key": "k", "regoin": "us"}"#).is_err());
    assert!(serde_json::from_str::<Config>(r#"{"api_key": "k", "category": "payroll"}"#).is_err());
    assert_eq!(config(r#"{"api_key": "k", "account_token": "t"}"#).secrets_mut().len(), 2);
}

#[test]
fn every_region_and_category_has_an_address() {
    for (region, base_url) in [
        ("us", "https://api.merge.dev/api"),
        ("eu", "https://api-eu.merge.dev/api"),
        ("ap", "https://api-ap.merge.dev/api"),
        ("sandbox", "https://api-sandbox.merge.dev/api"),
    ] {
        assert_eq!(vendor(&format!(r#"{{"api_key": "k", "region": "{region}"}}"#)).base_url(), base_url);
    }
    for category in
        "hris ats accounting crm ticketing filestorage knowledgebase chat calendar email mktg".split_whitespace()
    {
        let vendor = vendor(&format!(r#"{{"api_key": "k", "category": "{category}"}}"#));
        assert_eq!(vendor.request(&page_request(None)).path, format!("/{category}/v1/audit-trail"));
    }
}

#[test]
fn a_page_gives_the_exact_bytes_of_its_records() {
    let page = plain().parse_page(PAGE, &page_request(None)).expect("a page");
    assert_eq!(page.records.len(), 3);
    assert!(page.records.iter().all(|record| PAGE.contains(record) && record.starts_with('{')));
    assert_eq!(page.next.as_deref(), Some("cD0yMDI2LTAzLTAyKzA5JTNBMTQlM0EwNy4xMjAwNDUlMkIwMCUzQTAw"));
    assert_eq!(page.total, None);
}

#[test]
fn a_scan_ends_without_next_and_continues_after_an_empty_page() {
    let read = |body| plain().parse_page(body, &page_request(None)).expect(body);
    for last in [
        r#"{"next": null, "previous": null, "results": []}"#,
        r#"{"previous": null, "results": null}"#,
        r#"{"next": "", "results": []}"#,
        r#"{"next": false, "results": []}"#,
        r#"{"next": 0, "results": []}"#,
    ] {
        assert_eq!(read(last), Page::default(), "{last}");
    }
    assert_eq!(read(r#"{"next": "b", "results": []}"#).next.as_deref(), Some("b"));
}

#[test]
fn other_bodies_are_errors() {
    for (body, reason) in [
        ("<html>sign in</html>", "web page"),
        (r#"{"detail": "Not found."}"#, "not a page"),
        ("{}", "not a page"),
        ("[]", "not a page"),
        (r#"{"results": {}}"#, "of another type"),
        (r#"{"next": null, "previous": null, "data": [{}]}"#, "`results` is missing"),
        (r#"{"next": {"page": 3}, "results": []}"#, "does not lead"),
        (&PAGE[..PAGE.len() / 2], "truncated"),
    ] {
        let message = plain().parse_page(body, &page_request(None)).expect_err(body);
        assert!(message.message.contains(reason), "{body}: {message}");
    }
}

#[test]
fn errors_have_a_kind_and_a_hint() {
    let error = |status, body| plain().classify_error(status, body, false);
    assert_eq!(error(404, r#"{"detail":"Invalid cursor"}"#).kind, ApiErrorKind::CursorExpired);
    for (status, body, hint) in [
        (404, r#"{"detail":"Not found."}"#, "category"),
        (401, r#"{"detail":"Invalid token."}"#, "api_key"),
        (401, r#"{"detail":"Account Token must be passed in as an X-Account-Token header."}"#, "account_token"),
        (403, r#"{"detail":"You do not have permission to perform this action."}"#, "Enterprise"),
        (400, r#"{"start_date":["bad"]}"#, "event_type"),
        (405, "", "base_url"),
    ] {
        let error = error(status, body);
        let kind = if status == 401 { ApiErrorKind::Unauthorized } else { ApiErrorKind::Permanent };
        assert_eq!(error.kind, kind, "{status} {body}");
        assert!(error.hint.contains(hint), "{status} {body}: {}", error.hint);
    }
    assert_eq!(error(429, r#"{"detail":"Request was throttled."}"#).kind, ApiErrorKind::RateLimited);
    assert_eq!(error(502, "<html>").kind, ApiErrorKind::Transient);
    assert_eq!(error(408, "").kind, ApiErrorKind::Transient);
    assert_eq!(plain().classify_error(400, r#"{"detail":"?"}"#, true).kind, ApiErrorKind::CursorExpired);
}

#[test]
fn a_record_becomes_an_event() {
    let raw = records()[0];
    let event = normalizer().normalize(raw, &context());
    assert_eq!(event.id, normalizer().key_of(raw).id);
    assert_eq!(event.vendor_event_id.as_deref(), Some("0f6d2c1e-5a0b-4c55-9d0e-2f7c1b8a9e01"));
    assert_eq!(event.event_type, "CHANGED_SCOPES");
    assert_eq!((event.action, event.category, event.outcome), (Action::Update, Category::Iam, Outcome::Unknown));
    assert_eq!(event.timestamp.to_string(), "2026-03-02T08:59:30.004211Z");
    assert_eq!(event.actor.kind, ActorType::Admin);
    assert_eq!(event.actor.id.as_deref(), Some("ada@example.com"));
    assert_eq!(event.actor.name.as_deref(), Some("Ada Example"));
    assert_eq!(event.actor.email.as_deref(), Some("ada@example.com"));
    assert_eq!(event.actor.ip.as_deref(), Some("192.0.2.123"));
    let target = event.target.expect("the model's scopes");
    assert_eq!((target.kind, target.vendor_type.as_deref()), (ObjectType::Setting, Some("scopes")));
    assert_eq!(target.name.as_deref(), Some("hris.Employee"));
    assert_eq!(event.changes[0].field, "scope");
    assert_eq!((event.changes[0].old.as_deref(), event.changes[0].new.as_deref()), (Some("Read"), Some("Read+Write")));
    assert!(event.grants.is_empty() && event.related.is_empty());
    assert!(event.message.expect("a message").starts_with("Organization-wide"));
    assert_eq!((event.normalize_error, event.version, event.tenant), (None, None, None));
    assert_eq!(event.raw, raw);
}

#[test]
fn without_a_user_the_role_is_the_actor_and_an_empty_address_is_absent() {
    let api = normalizer().normalize(records()[1], &context());
    assert_eq!((api.actor.kind, api.actor.id.as_deref(), api.actor.name), (ActorType::ApiKey, Some("API"), None));
    assert_eq!((api.actor.via, api.target.expect("a key").kind), (Via::Api, ObjectType::ApiKey));
    assert_eq!(api.timestamp.to_string(), "2026-03-02T09:02:11Z");
    let staff = normalizer().normalize(records()[2], &context());
    assert_eq!((staff.actor.kind, staff.actor.ip), (ActorType::Service, None));
    assert_eq!((staff.action, staff.category), (Action::Read, Category::Credential));
    assert_eq!(staff.timestamp.to_string(), "2026-03-02T09:14:07.120045Z");
}

#[test]
fn the_stored_config_holds_what_determines_events() {
    let configured = vendor(r#"{"api_key": "k", "tenant": "acme", "assume_success": true}"#);
    let stored = MergeNormalizer::from(&configured.normalizer_config());
    let event = stored.normalize(records()[0], &context());
    assert_eq!(event, configured.normalizer().normalize(records()[0], &context()));
    assert_eq!((event.outcome, event.tenant.as_deref()), (Outcome::Success, Some("acme")));
    assert_ne!(event.id, normalizer().key_of(records()[0]).id);
    let options = configured.normalizer().options();
    assert!(configured.normalizer_config().options.iter().all(|(name, word)| {
        options.iter().any(|option| option.name == name.as_str() && option.words.contains(&word.as_str()))
    }));
}

/// The id of a record is for ever: if this fails, the rule of the ids was changed. Computed without this program:
/// `printf 'merge\0acme\0%s' 0f6d2c1e-5a0b-4c55-9d0e-2f7c1b8a9e01 | sha256sum | cut -c1-32`
#[test]
fn the_id_is_stable() {
    let hex = |tenant: &str| vendor(tenant).normalizer().key_of(records()[0]).id.to_string();
    assert_eq!(hex(r#"{"api_key": "k"}"#), "0906bd11916eabf1bda885584d333d98");
    assert_eq!(hex(r#"{"api_key": "k", "tenant": "acme"}"#), "c6a82e67ff0ca4a45da2b34ab20b4584");
}

#[test]
fn records_without_id_are_identified_by_their_bytes() {
    let (one, other) = (r#"{"created_at": "2026-03-02T09:02:11Z", "role": "API"}"#, r#"{"role": "API"}"#);
    assert_ne!(normalizer().key_of(one).id, normalizer().key_of(other).id);
    assert_eq!(normalizer().key_of(one), normalizer().key_of(one));
    assert_eq!(normalizer().key_of(one).timestamp, Timestamp::parse_rfc3339("2026-03-02T09:02:11Z"));
    let event = normalizer().normalize(one, &context());
    assert_eq!(event.vendor_event_id, None);
    assert!(event.normalize_error.is_some_and(|reason| reason.contains("`id`")));
    assert_eq!(normalizer().normalize(r#"{"id": 12345}"#, &context()).vendor_event_id.as_deref(), Some("12345"));
}

#[test]
fn records_that_cannot_be_normalized_are_delivered_with_the_reason() {
    for raw in ["null", "[]", "{", r#"{"id": "a"}"#, r#"{"id": "a", "created_at": "yesterday"}"#] {
        let event = normalizer().normalize(raw, &context());
        assert!(event.normalize_error.is_some(), "{raw}");
        assert_eq!((event.action, event.category), (Action::Other, Category::Other), "{raw}");
        assert_eq!(event.timestamp.to_string(), "2026-03-02T10:00:00.004Z", "{raw}");
        assert_eq!(event.raw, raw);
        assert_eq!(event.id, normalizer().key_of(raw).id, "{raw}");
    }
    let event = normalizer().normalize(r#"{"id": "a", "created_at": "yesterday", "role": "API"}"#, &context());
    assert_eq!(event.vendor_event_id.as_deref(), Some("a"));
    assert_eq!(event.actor.kind, ActorType::ApiKey);
    assert!(event.normalize_error.expect("a reason").contains("yesterday"));
}

#[test]
fn unknown_values_and_wrong_types_are_tolerated() {
    let raw = r#"{"id": 7, "role": "WIZARD", "event_type": "CREATED_PORTAL", "user_name": {"x": 1}, "new": [1],
                  "created_at": "2026-03-02T09:02:11.1Z"}"#;
    let event = normalizer().normalize(raw, &context());
    assert_eq!((event.action, event.category, event.target), (Action::Create, Category::Other, None));
    assert_eq!((event.actor.kind, event.actor.id.as_deref()), (ActorType::Unknown, Some("WIZARD")));
    assert_eq!(event.normalize_error, None);
}

fn record(event_type: &str, description: &str) -> String {
    serde_json::json!({
        "id": "a", "created_at": "2026-11-29T10:00:00Z", "role": "admin", "user_name": "Ada", "user_email": "ada@example.com",
        "event_type": event_type, "event_description": description,
    })
    .to_string()
}

#[test]
fn the_acts_of_users_on_their_own_account_have_them_as_target() {
    for event_type in ["TWO_FACTOR_AUTH_DISABLED", "CHANGED_PASSWORD", "RESET_PASSWORD", "CHANGED_PERSONAL_INFORMATION"]
    {
        let raw = record(event_type, "");
        let event = normalizer().normalize(&raw, &context());
        let target = event.target.expect(event_type);
        assert_eq!((target.kind, target.email.as_deref()), (ObjectType::User, Some("ada@example.com")), "{event_type}");
        assert_eq!((target.name.as_deref(), event.actor.kind), (Some("Ada"), ActorType::Admin), "{event_type}");
    }
    let event = normalizer().normalize(
        r#"{"id": "a", "created_at": "2026-11-29T10:00:00Z", "role": "API", "event_type": "RESET_PASSWORD"}"#,
        &context(),
    );
    assert!(!event.target.expect("a user").is_identified(), "a key has no password");
}

#[test]
fn people_in_descriptions_are_related_and_grant_nothing() {
    let raw = record(
        "INVITED_USER",
        "ada@example.com invited \"Robin@Example.com\" <robin@example.com> and eve@example.com.",
    );
    let event = normalizer().normalize(&raw, &context());
    let people = event.related.iter().map(|person| (person.role, person.object.kind, person.object.email.as_deref()));
    assert_eq!(
        people.collect::<Vec<_>>(),
        [
            (Role::Mentioned, ObjectType::User, Some("robin@example.com")),
            (Role::Mentioned, ObjectType::User, Some("eve@example.com"))
        ]
    );
    assert!(event.grants.is_empty());
    assert_eq!(event.action, Action::Invite);
}

#[test]
fn times_and_ids_in_other_forms_are_read_as_meant() {
    let ten = "2026-11-29T10:00:00Z";
    for (time, said) in [
        (r#""2026-11-29T10:00:00+0000""#, None),
        (r#""2026-11-29 10:00:00 UTC""#, None),
        (r#""2026-11-29T10:00:00.000""#, Some("no time zone")),
        (r#""Sun, 29 Nov 2026 10:00:00 GMT""#, None),
        ("1795946400000", None),
        (r#""1795946400""#, None),
    ] {
        let raw = format!(r#"{{"id":12345,"event_type":"CHANGED_SCOPES","created_at":{time}}}"#);
        let event = normalizer().normalize(&raw, &context());
        assert_eq!(event.timestamp.to_string(), ten, "{time}");
        assert_eq!(event.vendor_event_id.as_deref(), Some("12345"));
        assert_eq!(event.normalize_error.is_some(), said.is_some(), "{time}");
    }
    for id in ["true", "null", r#""""#, r#"{"a":1}"#] {
        let raw = format!(r#"{{"id":{id},"event_type":"CHANGED_SCOPES","created_at":"{ten}"}}"#);
        let event = normalizer().normalize(&raw, &context());
        assert_eq!((event.action, event.category), (Action::Update, Category::Iam), "{id}");
        assert!(event.normalize_error.is_some_and(|reason| reason.contains("`id`")), "{id}");
    }
}

#[test]
fn whole_pages_are_split_into_records() {
    assert_eq!(normalizer().page_records(PAGE), Some(records()));
    assert_eq!(normalizer().page_records(records()[0]), None, "a record is no page");
    assert_eq!(normalizer().page_records("[]"), None);
    assert_eq!((normalizer().has_ids(), plain().spec().has_ids), (true, true));
}

#[test]
fn every_form_of_an_empty_page_is_a_page() {
    for body in [r#"{"results":null}"#, r#"{"next":null,"results":[]}"#] {
        assert_eq!(normalizer().page_records(body), Some(Vec::new()), "{body}");
        assert_eq!(plain().parse_page(body, &page_request(None)).expect(body).records, Vec::<&str>::new());
    }
}

#[test]
fn without_an_end_date_windows_are_not_split() {
    let day = Duration::from_secs(86_400);
    let whole = vendor(r#"{"api_key": "k3y", "send_end_date": false}"#);
    assert_eq!((whole.spec().slice, whole.spec().max_window_records), (3_650 * day, u64::MAX));
    assert_eq!((plain().spec().slice, plain().spec().max_window_records), (day, 10_000));
}

proptest! {
    #[test]
    fn nothing_that_is_read_can_panic(body in testing::any_or_damaged(PAGE)) {
        testing::parse_in_every_way(&*plain(), &body);
    }
}
