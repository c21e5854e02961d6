//! Confluence's audit records: offsets, a `size` that is the total, no ids, dates as milliseconds, two addresses.

mod records;

use std::time::Duration;

use super::api::{Refusal, Turn, VendorApi, Walk};
use super::draft::{Draft, quoted};
use super::page::{Selection, paste};
use super::reply::Reply;
use super::request::ApiRequest;
use super::store::{Record, Window};
use super::switches::{Switches, TokenKind};
use crate::time::Timestamp;

const AUDIT: &str = "rest/api/audit";
const SITE: &str = "https://acme.atlassian.net";
const MILLISECOND: Duration = Duration::from_millis(1);
/// Messages of the server may begin with the name of a Java class.
const SERVICE_EXCEPTION: &str =
    "com.atlassian.confluence.api.service.exceptions.ServiceException: temporarily unavailable";

/// Confluence's part.
pub(super) struct Confluence;

/// By which address the request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door<'a> {
    Site,
    Gateway { cloud_id: &'a str, with_wiki: bool },
    TenantInfo,
}

/// The address and what lies behind it.
fn door(path: &str) -> Option<(Door<'_>, &str)> {
    if path == "/_edge/tenant_info" {
        return Some((Door::TenantInfo, ""));
    }
    if let Some(rest) = path.strip_prefix("/wiki/") {
        return Some((Door::Site, rest));
    }
    let (cloud_id, rest) = path.strip_prefix("/ex/confluence/")?.split_once('/')?;
    let (with_wiki, rest) = rest.strip_prefix("wiki/").map_or((false, rest), |rest| (true, rest));
    Some((Door::Gateway { cloud_id, with_wiki }, rest))
}

fn is_gateway(path: &str) -> bool {
    path.starts_with("/ex/")
}

/// What a request asks for.
#[derive(Debug)]
struct Ask<'a> {
    start: usize,
    limit: usize,
    window: Window,
    search: Option<&'a str>,
}

impl<'a> Ask<'a> {
    fn read(turn: &Turn<'a>) -> Result<Self, Reply> {
        let switches = &turn.switches.confluence;
        let from = read_date(turn, "startDate")?.unwrap_or(Window::ALL.from);
        // Both ends are inclusive.
        let to = read_date(turn, "endDate")?.map_or(Window::ALL.to, |to| to.floor_to(MILLISECOND) + MILLISECOND);
        Ok(Self {
            start: read_number(turn.request, "start")?.unwrap_or(0),
            limit: read_number(turn.request, "limit")?.unwrap_or(switches.default_limit).min(switches.max_limit),
            window: Window { from, to },
            search: turn.request.query.non_empty("searchString"),
        })
    }

    fn select(&self, turn: &Turn<'_>) -> Selection {
        let switches = &turn.switches.confluence;
        let oldest = switches.common.retention.0.map(|kept| turn.now - kept);
        let window = self.window.not_before(oldest);
        let Some(search) = self.search else { return Selection::of(turn.store, window, switches.order, None) };
        let matches = |record: &Record| holds_text(&record.raw, search, switches.search_case_sensitive);
        Selection::of(turn.store, window, switches.order, Some(&matches))
    }
}

fn read_number(request: &ApiRequest, name: &str) -> Result<Option<usize>, Reply> {
    let Some(text) = request.query.non_empty(name) else { return Ok(None) };
    match text.parse::<i32>().ok().and_then(|number| usize::try_from(number).ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(refuse(400, &format!("{name} must be a number from 0 on"))),
    }
}

fn read_date(turn: &Turn<'_>, name: &str) -> Result<Option<Timestamp>, Reply> {
    let Some(text) = turn.request.query.non_empty(name) else { return Ok(None) };
    if let Ok(millis) = text.parse::<i64>() {
        return Ok(Some(Timestamp::from_millis(millis)));
    }
    let iso = Timestamp::parse_rfc3339(text).filter(|_| turn.switches.confluence.iso_dates);
    iso.map(Some).ok_or_else(|| refuse(400, &format!("{name} must be a number of milliseconds")))
}

/// Whether one of the texts inside a record holds the searched one.
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

/// The documented general body of errors.
fn refuse(status: u16, message: &str) -> Reply {
    let message = quoted(message);
    Reply::json(
        status,
        format!(
            r#"{{"statusCode":{status},"data":{{"authorized":{authorized},"valid":false,"errors":[{{"message":{{"translation":{message},"args":[]}}}}],"successful":false}},"message":{message}}}"#,
            authorized = status != 403,
        ),
    )
}

fn unauthorized(turn_path: &str, html: bool) -> Reply {
    if html && !is_gateway(turn_path) {
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

    fn record(&self, draft: &mut Draft, _switches: &Switches) -> String {
        records::write(draft)
    }

    fn authenticate(&self, turn: &Turn<'_>) -> Result<(), Reply> {
        let path = &turn.request.path;
        if matches!(door(path), Some((Door::TenantInfo, _))) {
            return Ok(());
        }
        let switches = &turn.switches.confluence;
        let fits_address = match switches.token_kind {
            TokenKind::Any => true,
            TokenKind::Scoped => is_gateway(path),
            TokenKind::Unscoped => !is_gateway(path),
        };
        let (email, token) = (&turn.credentials.confluence_email, &turn.credentials.confluence_api_token);
        if fits_address && turn.request.has_basic(email, token) {
            return Ok(());
        }
        Err(unauthorized(path, switches.html_401))
    }

    fn walk(&self, turn: &Turn<'_>) -> Option<Walk> {
        let ask = Ask::read(turn).ok()?;
        let unread = ask.search.is_none().then_some((turn.switches.confluence.order, ask.start + ask.limit));
        Some(Walk { window: ask.window, later_page: ask.start > 0, unread })
    }

    fn answer(&self, turn: &mut Turn<'_>) -> Reply {
        let request = turn.request;
        let Some((door, rest)) = door(&request.path) else { return refuse(404, "Not Found") };
        match door {
            Door::TenantInfo => {
                let cloud_id = quoted(&turn.credentials.confluence_cloud_id);
                return Reply::json(200, format!(r#"{{"cloudId":{cloud_id}}}"#));
            }
            Door::Gateway { cloud_id, .. } if cloud_id != turn.credentials.confluence_cloud_id => {
                return Reply::json(404, r#"{"code":404,"message":"Not Found"}"#);
            }
            Door::Gateway { with_wiki: false, .. } if !turn.switches.confluence.gateway_without_wiki => {
                return Reply::json(404, r#"{"code":404,"message":"Not Found"}"#);
            }
            Door::Gateway { .. } | Door::Site => {}
        }
        if rest != AUDIT {
            return refuse(404, "Not Found");
        }
        if request.method != "GET" {
            return refuse(405, "Method Not Allowed");
        }
        if let Some(reply) = not_permitted(turn) {
            return reply;
        }
        match Ask::read(turn) {
            Ok(ask) => answer_page(turn, &ask),
            Err(reply) => reply,
        }
    }

    fn refuse(&self, refusal: Refusal, request: &ApiRequest) -> Reply {
        match refusal {
            Refusal::Unauthorized => unauthorized(&request.path, false),
            Refusal::Forbidden => Reply::json(403, ""),
            Refusal::InvalidCursor => refuse(400, "start must be a number from 0 on"),
            Refusal::RateLimited { seconds, now } => rate_limited(seconds, now),
            Refusal::Server(503) => refuse(503, SERVICE_EXCEPTION).with_header("retry-after", "1"),
            Refusal::Server(status) => refuse(status, SERVICE_EXCEPTION),
        }
    }
}

/// 429 with the platform's own headers; the reset is told to the minute.
fn rate_limited(seconds: u64, now: Timestamp) -> Reply {
    let reset = (now + Duration::from_secs(seconds)).ceil_to(Duration::from_secs(60)).with_digits(0).to_string();
    let reset = format!("{}Z", reset.trim_end_matches(":00Z"));
    refuse(429, "Rate limit exceeded")
        .with_header("x-ratelimit-limit", "100")
        .with_header("x-ratelimit-remaining", "0")
        .with_header("x-ratelimit-nearlimit", "true")
        .with_header("x-ratelimit-reset", reset)
}

/// The three ways in which an account may not read the audit log.
fn not_permitted(turn: &Turn<'_>) -> Option<Reply> {
    let switches = &turn.switches.confluence;
    if !switches.paid_plan {
        const FREE: &str =
            "Cannot make this request because you are on Free edition. Please upgrade to standard or premium.";
        return Some(refuse(403, FREE));
    }
    if !switches.seat {
        let body = r#"{"message":"Current user not permitted to use Confluence","statusCode":403}"#;
        return Some(Reply::json(403, body));
    }
    (!switches.administrator).then(|| Reply::json(403, ""))
}

fn answer_page(turn: &mut Turn<'_>, ask: &Ask<'_>) -> Reply {
    let selection = ask.select(turn);
    let total = selection.len();
    let page = selection.page(ask.start, ask.limit);
    let end = ask.start + page.len();
    let results = paste(turn.store, &page);
    let next = if turn.switches.confluence.next_link && end < total {
        let from = if turn.repeat_token { ask.start } else { end };
        format!(r#","next":"/rest/api/audit?start={from}&limit={}""#, ask.limit)
    } else {
        String::new()
    };
    Reply::json(
        200,
        format!(
            r#"{{"results":[{results}],"start":{start},"limit":{limit},"size":{total},"_links":{{"base":"{SITE}/wiki","context":"/wiki"{next},"self":{this}}}}}"#,
            start = ask.start,
            limit = ask.limit,
            this = quoted(&self_link(turn.request)),
        ),
    )
}

/// The address of the walk: the site's, with the dates and nothing else.
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
    fn both_addresses_lead_to_the_audit_log() {
        assert_eq!(door("/wiki/rest/api/audit"), Some((Door::Site, AUDIT)));
        let gateway = |with_wiki| Some((Door::Gateway { cloud_id: "c1", with_wiki }, AUDIT));
        assert_eq!(door("/ex/confluence/c1/wiki/rest/api/audit"), gateway(true));
        assert_eq!(door("/ex/confluence/c1/rest/api/audit"), gateway(false));
        assert_eq!(door("/ex/jira/c1/rest/api/audit"), None);
    }

    #[test]
    fn the_search_looks_into_every_text() {
        let raw = r#"{"summary":"Space created","associatedObjects":[{"name":"Finance","objectType":"Space"}]}"#;
        assert!(holds_text(raw, "finANCE", false));
        assert!(!holds_text(raw, "finANCE", true));
        assert!(!holds_text(raw, "summary", false));
    }
}
