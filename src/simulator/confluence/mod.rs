//! Confluence's audit records: offsets, a `size` that is the total, no ids, dates as milliseconds, two addresses.

mod records;

use std::time::Duration;

use super::http::ApiRequest;
use super::http::Reply;
use super::record_builder::{RecordBuilder, quoted};
use super::store::{Record, Window};
use super::store::{Selection, join_records};
use super::variants::{TokenKind, Variants};
use super::vendor_api::{RequestContext, RequestError, ScanPosition, VendorApi};
use crate::time::Timestamp;

const AUDIT: &str = "rest/api/audit";
const SITE: &str = "https://acme.atlassian.net";
const MILLISECOND: Duration = Duration::from_millis(1);
/// Messages of the server may begin with the name of a Java class.
const SERVICE_EXCEPTION: &str =
    "com.atlassian.confluence.api.service.exceptions.ServiceException: temporarily unavailable";

/// Confluence's API.
pub(super) struct Confluence;

/// The endpoint of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint<'a> {
    Site,
    Gateway { cloud_id: &'a str, with_wiki: bool },
    TenantInfo,
}

/// The endpoint and the path below it.
fn endpoint(path: &str) -> Option<(Endpoint<'_>, &str)> {
    if path == "/_edge/tenant_info" {
        return Some((Endpoint::TenantInfo, ""));
    }
    if let Some(rest) = path.strip_prefix("/wiki/") {
        return Some((Endpoint::Site, rest));
    }
    let (cloud_id, rest) = path.strip_prefix("/ex/confluence/")?.split_once('/')?;
    let (with_wiki, rest) = rest.strip_prefix("wiki/").map_or((false, rest), |rest| (true, rest));
    Some((Endpoint::Gateway { cloud_id, with_wiki }, rest))
}

fn is_gateway(path: &str) -> bool {
    path.starts_with("/ex/")
}

/// The parsed query parameters of a request.
#[derive(Debug)]
struct QueryParams<'a> {
    start: usize,
    limit: usize,
    window: Window,
    search: Option<&'a str>,
}

impl<'a> QueryParams<'a> {
    fn read(context: &RequestContext<'a>) -> Result<Self, Reply> {
        let variants = &context.variants.confluence;
        let from = read_date(context, "startDate")?.unwrap_or(Window::ALL.from);
        // Both ends are inclusive.
        let to = read_date(context, "endDate")?.map_or(Window::ALL.to, |to| to.floor_to(MILLISECOND) + MILLISECOND);
        Ok(Self {
            start: read_number(context.request, "start")?.unwrap_or(0),
            limit: read_number(context.request, "limit")?.unwrap_or(variants.default_limit).min(variants.max_limit),
            window: Window { from, to },
            search: context.request.query.non_empty("searchString"),
        })
    }

    fn select(&self, context: &RequestContext<'_>) -> Selection {
        let variants = &context.variants.confluence;
        let oldest = variants.common.retention.0.map(|kept| context.now - kept);
        let window = self.window.not_before(oldest);
        let Some(search) = self.search else { return Selection::of(context.store, window, variants.order, None) };
        let matches = |record: &Record| holds_text(&record.raw, search, variants.search_case_sensitive);
        Selection::of(context.store, window, variants.order, Some(&matches))
    }
}

fn read_number(request: &ApiRequest, name: &str) -> Result<Option<usize>, Reply> {
    let Some(text) = request.query.non_empty(name) else { return Ok(None) };
    match text.parse::<i32>().ok().and_then(|number| usize::try_from(number).ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(error_reply(400, &format!("{name} must be a number from 0 on"))),
    }
}

fn read_date(context: &RequestContext<'_>, name: &str) -> Result<Option<Timestamp>, Reply> {
    let Some(text) = context.request.query.non_empty(name) else { return Ok(None) };
    if let Ok(millis) = text.parse::<i64>() {
        return Ok(Some(Timestamp::from_millis(millis)));
    }
    let iso = Timestamp::parse_rfc3339(text).filter(|_| context.variants.confluence.iso_dates);
    iso.map(Some).ok_or_else(|| error_reply(400, &format!("{name} must be a number of milliseconds")))
}

/// Whether one of the strings in a record contains the search string.
fn holds_text(raw: &str, search: &str, case_sensitive: bool) -> bool {
    let Ok(record) = serde_json::from_str::<serde_json::Value>(raw) else { return false };
    let fold = |text: &str| if case_sensitive { text.to_owned() } else { text.to_lowercase() };
    let search = fold(search);
    let mut left = vec![&record];
    while let Some(value) = left.pop() {
        match value {
            serde_json::Value::String(text) if fold(text).contains(&search) => return true,
            serde_json::Value::Array(items) => left.extend(items),
            serde_json::Value::Object(fields) => left.extend(fields.values()),
            _ => {}
        }
    }
    false
}

/// The documented body of errors.
fn error_reply(status: u16, message: &str) -> Reply {
    let message = quoted(message);
    Reply::json(
        status,
        format!(
            r#"{{"statusCode":{status},"data":{{"authorized":{authorized},"valid":false,"errors":[{{"message":{{"translation":{message},"args":[]}}}}],"successful":false}},"message":{message}}}"#,
            authorized = status != 403,
        ),
    )
}

fn unauthorized(path: &str, html: bool) -> Reply {
    if html && !is_gateway(path) {
        return Reply::html(401, "Unauthorized");
    }
    Reply::json(401, r#"{"code":401,"message":"Unauthorized; scope does not match"}"#)
}

impl VendorApi for Confluence {
    fn digits(&self) -> &'static [u8] {
        &[3]
    }

    fn has_ids(&self) -> bool {
        false
    }

    fn record(&self, builder: &mut RecordBuilder, _variants: &Variants) -> String {
        records::write(builder)
    }

    fn authenticate(&self, context: &RequestContext<'_>) -> Result<(), Reply> {
        let path = &context.request.path;
        if matches!(endpoint(path), Some((Endpoint::TenantInfo, _))) {
            return Ok(());
        }
        let variants = &context.variants.confluence;
        let fits_address = match variants.token_kind {
            TokenKind::Any => true,
            TokenKind::Scoped => is_gateway(path),
            TokenKind::Unscoped => !is_gateway(path),
        };
        let (email, token) = (&context.credentials.confluence_email, &context.credentials.confluence_api_token);
        if fits_address && context.request.has_basic(email, token) {
            return Ok(());
        }
        Err(unauthorized(path, variants.html_401))
    }

    fn scan_position(&self, context: &RequestContext<'_>) -> Option<ScanPosition> {
        let params = QueryParams::read(context).ok()?;
        let unread =
            params.search.is_none().then_some((context.variants.confluence.order, params.start + params.limit));
        Some(ScanPosition { window: params.window, later_page: params.start > 0, unread })
    }

    fn answer(&self, context: &mut RequestContext<'_>) -> Reply {
        let request = context.request;
        let Some((endpoint, rest)) = endpoint(&request.path) else { return error_reply(404, "Not Found") };
        match endpoint {
            Endpoint::TenantInfo => {
                let cloud_id = quoted(&context.credentials.confluence_cloud_id);
                return Reply::json(200, format!(r#"{{"cloudId":{cloud_id}}}"#));
            }
            Endpoint::Gateway { cloud_id, .. } if cloud_id != context.credentials.confluence_cloud_id => {
                return Reply::json(404, r#"{"code":404,"message":"Not Found"}"#);
            }
            Endpoint::Gateway { with_wiki: false, .. } if !context.variants.confluence.gateway_without_wiki => {
                return Reply::json(404, r#"{"code":404,"message":"Not Found"}"#);
            }
            Endpoint::Gateway { .. } | Endpoint::Site => {}
        }
        if rest != AUDIT {
            return error_reply(404, "Not Found");
        }
        if request.method != "GET" {
            return error_reply(405, "Method Not Allowed");
        }
        if let Some(reply) = not_permitted(context) {
            return reply;
        }
        match QueryParams::read(context) {
            Ok(params) => answer_page(context, &params),
            Err(reply) => reply,
        }
    }

    fn error_reply(&self, error: RequestError, request: &ApiRequest) -> Reply {
        match error {
            RequestError::Unauthorized => unauthorized(&request.path, false),
            RequestError::Forbidden => Reply::json(403, ""),
            RequestError::InvalidCursor => error_reply(400, "start must be a number from 0 on"),
            RequestError::RateLimited { seconds, now } => rate_limited(seconds, now),
            RequestError::Server(503) => error_reply(503, SERVICE_EXCEPTION).with_header("retry-after", "1"),
            RequestError::Server(status) => error_reply(status, SERVICE_EXCEPTION),
        }
    }
}

/// 429 with the platform's own headers; the reset has minute precision.
fn rate_limited(seconds: u64, now: Timestamp) -> Reply {
    let reset = (now + Duration::from_secs(seconds)).ceil_to(Duration::from_secs(60)).with_digits(0).to_string();
    let reset = format!("{}Z", reset.trim_end_matches(":00Z"));
    error_reply(429, "Rate limit exceeded")
        .with_header("x-ratelimit-limit", "100")
        .with_header("x-ratelimit-remaining", "0")
        .with_header("x-ratelimit-nearlimit", "true")
        .with_header("x-ratelimit-reset", reset)
}

/// The three reasons why an account may not read the audit log.
fn not_permitted(context: &RequestContext<'_>) -> Option<Reply> {
    let variants = &context.variants.confluence;
    if !variants.paid_plan {
        const FREE: &str =
            "Cannot make this request because you are on Free edition. Please upgrade to standard or premium.";
        return Some(error_reply(403, FREE));
    }
    if !variants.seat {
        let body = r#"{"message":"Current user not permitted to use Confluence","statusCode":403}"#;
        return Some(Reply::json(403, body));
    }
    (!variants.administrator).then(|| Reply::json(403, ""))
}

fn answer_page(context: &mut RequestContext<'_>, params: &QueryParams<'_>) -> Reply {
    let selection = params.select(context);
    let total = selection.len();
    let page = selection.page(params.start, params.limit);
    let end = params.start + page.len();
    let results = join_records(context.store, &page);
    let next = if context.variants.confluence.next_link && end < total {
        let from = if context.repeat_token { params.start } else { end };
        format!(r#","next":"/rest/api/audit?start={from}&limit={}""#, params.limit)
    } else {
        String::new()
    };
    Reply::json(
        200,
        format!(
            r#"{{"results":[{results}],"start":{start},"limit":{limit},"size":{total},"_links":{{"base":"{SITE}/wiki","context":"/wiki"{next},"self":{this}}}}}"#,
            start = params.start,
            limit = params.limit,
            this = quoted(&self_link(context.request)),
        ),
    )
}

/// The URL of the scan: the site's, with the dates only.
fn self_link(request: &ApiRequest) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for name in ["endDate", "startDate"] {
        if let Some(value) = request.query.non_empty(name) {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{SITE}/wiki/{AUDIT}{mark}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_endpoints_have_the_audit_log() {
        assert_eq!(endpoint("/wiki/rest/api/audit"), Some((Endpoint::Site, AUDIT)));
        let gateway = |with_wiki| Some((Endpoint::Gateway { cloud_id: "c1", with_wiki }, AUDIT));
        assert_eq!(endpoint("/ex/confluence/c1/wiki/rest/api/audit"), gateway(true));
        assert_eq!(endpoint("/ex/confluence/c1/rest/api/audit"), gateway(false));
        assert_eq!(endpoint("/ex/jira/c1/rest/api/audit"), None);
    }

    #[test]
    fn the_search_matches_every_string() {
        let raw = r#"{"summary":"Space created","associatedObjects":[{"name":"Finance","objectType":"Space"}]}"#;
        assert!(holds_text(raw, "finANCE", false));
        assert!(!holds_text(raw, "finANCE", true));
        assert!(!holds_text(raw, "summary", false));
    }
}
