//! Every documented error, word for word.

use super::{Harness, ORGANIZATION, first_path};
use crate::simulator::VendorName;

/// A path, the header that authenticates, and the status and body expected.
type Case<'a> = (VendorName, &'a str, &'a str, u16, &'a str);

async fn check(harness: &Harness, cases: &[Case<'_>]) {
    for (vendor, path, authorization, status, body) in cases {
        let mut request = harness.client.get(harness.url(path));
        if !authorization.is_empty() {
            request = request.header("authorization", *authorization);
        }
        let answer = Harness::send(request).await.expect("an answer");
        assert_eq!((answer.status, answer.body.as_str()), (*status, *body), "{vendor} {path} {authorization}");
    }
}

#[tokio::test]
async fn credentials_that_are_missing_or_wrong() {
    use VendorName::{Akuity, CaptivateIq, Clumio, Confluence, Merge};
    let harness = Harness::start(|_| {}).await;
    let akuity = r#"{"code":16,"message":"unauthenticated","details":[]}"#;
    let confluence = r#"{"code":401,"message":"Unauthorized; scope does not match"}"#;
    let ciq = "/ciq/v1/audit-logs/";
    let merge = "/api/hris/v1/audit-trail";
    check(
        &harness,
        &[
            (
                Clumio,
                "/audit-trails",
                "",
                403,
                r#"{"errors":[{"error_code":359,"error_message":"The authentication token is missing"}]}"#,
            ),
            (
                Clumio,
                "/audit-trails",
                "Bearer wrong",
                401,
                r#"{"errors":[{"error_code":402,"error_message":"Unauthorized access"}]}"#,
            ),
            (CaptivateIq, ciq, "", 401, r#"{"detail":"Authentication credentials were not provided."}"#),
            (CaptivateIq, ciq, "Bearer x", 401, r#"{"detail":"Authentication credentials were not provided."}"#),
            (CaptivateIq, ciq, "Token", 401, r#"{"detail":"Invalid token header. No credentials provided."}"#),
            (
                CaptivateIq,
                ciq,
                "Token a b",
                401,
                r#"{"detail":"Invalid token header. Token string should not contain spaces."}"#,
            ),
            (CaptivateIq, ciq, "Token wrong", 401, r#"{"detail":"Invalid token."}"#),
            (Merge, merge, "", 401, r#"{"detail":"Authentication credentials were not provided."}"#),
            (Merge, merge, "Bearer wrong", 401, r#"{"detail":"Invalid token."}"#),
            (Akuity, ORGANIZATION, "", 401, akuity),
            (Akuity, ORGANIZATION, "Basic d3Jvbmc6d3Jvbmc=", 401, akuity),
            (Akuity, ORGANIZATION, "Bearer SIMULATOR_SECRET_AKUITY", 401, akuity),
            (Confluence, "/wiki/rest/api/audit", "", 401, confluence),
            (Confluence, "/wiki/rest/api/audit", "Basic d3Jvbmc6d3Jvbmc=", 401, confluence),
        ],
    )
    .await;
    let answer = Harness::send(harness.client.get(harness.url(ciq))).await.expect("an answer");
    assert_eq!(answer.header("www-authenticate"), Some("Token"));
}

#[tokio::test]
async fn requests_that_are_wrong() {
    use VendorName::{Akuity, CaptivateIq, Clumio, Confluence, Merge};
    let harness = Harness::start(|_| {}).await;
    let clumio = |text: &str| format!(r#"{{"errors":[{{"error_code":400,"error_message":"{text}"}}]}}"#);
    let akuity = |text: &str| format!(r#"{{"code":3,"message":"{text}","details":[]}}"#);
    let general = |text: &str| {
        format!(
            r#"{{"statusCode":400,"data":{{"authorized":true,"valid":false,"errors":[{{"message":{{"translation":"{text}","args":[]}}}}],"successful":false}},"message":"{text}"}}"#
        )
    };
    for (vendor, path, status, body) in [
        (Clumio, "/audit-trails?filter=%7B", 400, clumio("Invalid filter.")),
        (Clumio, "/audit-trails?limit=0", 400, clumio("Invalid limit.")),
        (Clumio, "/audit-trails?limit=many", 400, clumio("Invalid limit.")),
        (Clumio, "/audit-trails?start=0", 400, clumio("Invalid start.")),
        (Clumio, "/audit-trails/x", 404, r#"{"errors":[{"error_code":404,"error_message":"Not found."}]}"#.into()),
        (
            CaptivateIq,
            "/ciq/v1/audit-logs/?start_date=2026-03-01T00:00:00Z",
            400,
            r#"{"start_date":["Enter a valid date."]}"#.into(),
        ),
        (CaptivateIq, "/ciq/v1/audit-logs/?end_date=2026-02-30", 400, r#"{"end_date":["Enter a valid date."]}"#.into()),
        (CaptivateIq, "/ciq/v1/audit-logs/?email=x", 400, r#"{"email":["Enter a valid email address."]}"#.into()),
        (CaptivateIq, "/ciq/v1/employees/", 404, r#"{"detail":"Not found."}"#.into()),
        (Merge, "/api/hris/v1/audit-trail?start_date=x", 400, r#"{"start_date":["Enter a valid date/time."]}"#.into()),
        (Merge, "/api/hris/v1/audit-trail?cursor=x", 404, r#"{"detail":"Invalid cursor"}"#.into()),
        (Merge, "/api/weather/v1/audit-trail", 404, r#"{"detail":"Not found."}"#.into()),
        (
            Akuity,
            "/api/v1/organizations/yx8wvj7xsimulator/audit-logs/",
            404,
            r#"{"code":5,"message":"Not Found","details":[]}"#.into(),
        ),
        (
            Akuity,
            "/api/v1/organizations/other/audit-logs",
            403,
            r#"{"code":7,"message":"permission denied","details":[]}"#.into(),
        ),
        (
            Akuity,
            "/api/v1/organizations/yx8wvj7xsimulator/audit-logs?filters.limit=1&filters.limit=2",
            400,
            akuity(r#"too many values for field \"limit\": 1, 2"#),
        ),
        (Confluence, "/wiki/rest/api/audit?startDate=soon", 400, general("startDate must be a number of milliseconds")),
        (Confluence, "/wiki/rest/api/audit?limit=-1", 400, general("limit must be a number from 0 on")),
        (Confluence, "/ex/confluence/other/wiki/rest/api/audit", 404, r#"{"code":404,"message":"Not Found"}"#.into()),
    ] {
        let answer = harness.get(vendor, path).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body.as_str()), "{vendor} {path}");
    }
    let answer = Harness::send(harness.client.get(harness.url("/elsewhere"))).await.expect("an answer");
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn methods_other_than_get() {
    let harness = Harness::start(|_| {}).await;
    for (vendor, status) in [
        (VendorName::Akuity, 501),
        (VendorName::CaptivateIq, 405),
        (VendorName::Clumio, 405),
        (VendorName::Confluence, 405),
        (VendorName::Merge, 405),
    ] {
        let mut request = harness.request(vendor, &first_path(vendor, 1, "")).build().expect("a request");
        *request.method_mut() = reqwest::Method::POST;
        assert_eq!(harness.client.execute(request).await.expect("an answer").status().as_u16(), status, "{vendor}");
    }
}

#[tokio::test]
async fn variants_that_reject_requests() {
    let harness = Harness::start(|_| {}).await;
    for (variant, value, vendor, path, status, says) in [
        ("clumio.missing_token", "401", VendorName::Clumio, "/audit-trails", 200, ""),
        ("clumio.past_end", "reject", VendorName::Clumio, "/audit-trails?start=99", 400, "Invalid start."),
        (
            "clumio.unknown_filter_field",
            "reject",
            VendorName::Clumio,
            "/audit-trails?filter=%7B%22bucket_region%22%3A%7B%22%24eq%22%3A%22x%22%7D%7D",
            400,
            "bucket_region",
        ),
        ("clumio.strict_accept", "true", VendorName::Clumio, "/audit-trails", 200, ""),
        ("captivateiq.append_slash", "not_found", VendorName::CaptivateIq, "/ciq/v1/audit-logs", 404, "Not found."),
        (
            "merge.enterprise_plan",
            "false",
            VendorName::Merge,
            "/api/crm/v1/audit-trail",
            403,
            "You do not have permission",
        ),
        ("akuity.permission", "false", VendorName::Akuity, ORGANIZATION, 403, "permission denied"),
        (
            "akuity.on_excess",
            "reject",
            VendorName::Akuity,
            "/api/v1/organizations/yx8wvj7xsimulator/audit-logs?filters.limit=1001",
            403,
            "",
        ),
        ("confluence.administrator", "false", VendorName::Confluence, "/wiki/rest/api/audit", 403, ""),
        (
            "confluence.seat",
            "false",
            VendorName::Confluence,
            "/wiki/rest/api/audit",
            403,
            "Current user not permitted to use Confluence",
        ),
        ("confluence.paid_plan", "false", VendorName::Confluence, "/wiki/rest/api/audit", 403, "Free edition"),
        (
            "confluence.token_kind",
            "scoped",
            VendorName::Confluence,
            "/wiki/rest/api/audit",
            401,
            "scope does not match",
        ),
        ("confluence.html_401", "true", VendorName::Confluence, "/wiki/rest/api/audit", 401, "<html>"),
    ] {
        harness.control().set_variant(variant, value).expect(variant);
        let answer = harness.get(vendor, path).await;
        assert_eq!(answer.status, status, "{variant} {}", answer.body);
        assert!(answer.body.contains(says), "{variant} {}", answer.body);
    }
}

#[tokio::test]
async fn paths_beside_the_audit_logs() {
    let harness = Harness::start(|_| {}).await;
    let answer = harness.get(VendorName::CaptivateIq, "/ciq/v1/audit-logs?limit=3").await;
    assert_eq!((answer.status, answer.header("location")), (301, Some("/ciq/v1/audit-logs/?limit=3")));
    let answer = Harness::send(harness.client.get(harness.url("/_edge/tenant_info"))).await.expect("an answer");
    assert_eq!(answer.body, r#"{"cloudId":"7f8f6a52-58a6-4a3a-9d0e-5a1e2b3c4d5e"}"#);
    let organization = r#"{"id":"yx8wvj7xsimulator","name":"acme"}"#;
    let answer = harness.get(VendorName::Akuity, "/api/v1/organizations").await;
    assert_eq!(answer.body, format!(r#"{{"organizations":[{organization}]}}"#));
    let answer = harness.get(VendorName::Akuity, "/api/v1/organizations/acme?idType=NAME").await;
    assert_eq!(answer.body, format!(r#"{{"organization":{organization}}}"#));
    for path in ["wiki/rest/api/audit", "rest/api/audit"] {
        let path = format!("/ex/confluence/7f8f6a52-58a6-4a3a-9d0e-5a1e2b3c4d5e/{path}");
        assert_eq!(harness.get(VendorName::Confluence, &path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn exceeded_rate_limits() {
    let harness = Harness::start(|options| options.variants = crate::simulator::Variants::default()).await;
    let path = first_path(VendorName::CaptivateIq, 1, "");
    for _ in 0..5 {
        assert_eq!(harness.get(VendorName::CaptivateIq, &path).await.status, 200);
    }
    let answer = harness.get(VendorName::CaptivateIq, &path).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")));
    assert_eq!(answer.body, r#"{"detail":"Request was throttled. Expected available in 1 seconds."}"#);
    harness.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(harness.get(VendorName::CaptivateIq, &path).await.status, 200);
}

#[tokio::test]
async fn too_many_failed_requests_block_merge_temporarily() {
    let harness = Harness::start(|options| options.variants = crate::simulator::Variants::default()).await;
    let wrong = || harness.client.get(harness.url("/api/hris/v1/audit-trail")).bearer_auth("wrong");
    for _ in 0..20 {
        assert_eq!(Harness::send(wrong()).await.expect("an answer").status, 401);
    }
    let path = first_path(VendorName::Merge, 1, "");
    assert_eq!(Harness::send(wrong()).await.expect("an answer").status, 429);
    assert_eq!(harness.get(VendorName::Merge, &path).await.status, 429);
    harness.clock.advance(std::time::Duration::from_secs(10));
    assert_eq!(harness.get(VendorName::Merge, &path).await.status, 200);
}

#[tokio::test]
async fn page_sizes_have_defaults_and_limits() {
    let harness = Harness::start(|options| options.events_per_vendor = 1_200).await;
    for (vendor, path, expected) in [
        (VendorName::Akuity, ORGANIZATION.to_owned(), 20),
        (VendorName::CaptivateIq, "/ciq/v1/audit-logs/?limit=many".to_owned(), 50),
        (VendorName::Clumio, "/audit-trails".to_owned(), 100),
        (VendorName::Confluence, "/wiki/rest/api/audit".to_owned(), 25),
        (VendorName::Merge, "/api/hris/v1/audit-trail?page_size=0".to_owned(), 30),
        (VendorName::Akuity, first_path(VendorName::Akuity, 9_999, ""), 1_000),
        (VendorName::CaptivateIq, first_path(VendorName::CaptivateIq, 9_999, ""), 1_000),
        (VendorName::Clumio, first_path(VendorName::Clumio, 9_999, ""), 500),
        (VendorName::Confluence, first_path(VendorName::Confluence, 9_999, ""), 1_000),
        (VendorName::Merge, first_path(VendorName::Merge, 9_999, ""), 100),
    ] {
        let answer = harness.get(vendor, &path).await;
        assert_eq!(super::records(vendor, &answer.body).len(), expected, "{vendor} {path}");
    }
}
