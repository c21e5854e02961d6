//! Akuity's audit logs: offset and limit below `filters.`, no record ids, errors in the form of gRPC statuses.

mod query;
mod records;

use super::api::{Refusal, Turn, VendorApi, Walk};
use super::draft::{Draft, quoted};
use super::page::{Selection, paste};
use super::reply::Reply;
use super::request::ApiRequest;
use super::store::Record;
use super::switches::{Switches, TimeBasis};
use query::Ask;

const ORGANIZATIONS: &str = "/api/v1/organizations";

/// Akuity's part.
pub(super) struct Akuity;

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Organizations,
    Organization(&'a str),
    AuditLogs(&'a str),
}

fn place(path: &str) -> Option<Place<'_>> {
    let rest = path.strip_prefix(ORGANIZATIONS)?;
    if rest.is_empty() {
        return Some(Place::Organizations);
    }
    let parts: Vec<&str> = rest.strip_prefix('/')?.split('/').collect();
    match parts[..] {
        [id] if !id.is_empty() => Some(Place::Organization(id)),
        [id, "audit-logs"] => Some(Place::AuditLogs(id)),
        _ => None,
    }
}

/// A refusal with a gRPC status code.
fn refuse(status: u16, code: u8, message: &str) -> Reply {
    let reply = Reply::json(status, format!(r#"{{"code":{code},"message":{},"details":[]}}"#, quoted(message)));
    if status == 401 { reply.with_header("www-authenticate", message) } else { reply }
}

fn denied() -> Reply {
    refuse(403, 7, "permission denied")
}

impl VendorApi for Akuity {
    fn digits(&self) -> &'static [u8] {
        &[6, 6, 5, 6, 3, 0]
    }

    fn has_ids(&self) -> bool {
        false
    }

    fn record(&self, draft: &mut Draft, switches: &Switches) -> String {
        records::write(draft, &switches.akuity)
    }

    fn authenticate(&self, turn: &Turn<'_>) -> Result<(), Reply> {
        let (id, secret) = (&turn.credentials.akuity_api_key_id, &turn.credentials.akuity_api_key_secret);
        let by_headers = turn.request.header("x-akuity-api-key-id") == Some(id)
            && turn.request.header("x-akuity-api-key-secret") == Some(secret);
        if by_headers || turn.request.has_basic(id, secret) {
            return Ok(());
        }
        Err(refuse(401, 16, "unauthenticated"))
    }

    fn walk(&self, turn: &Turn<'_>) -> Option<Walk> {
        let ask = Ask::read(turn.request, &turn.switches.akuity).ok()?;
        let can_add = ask.is_time_only() && turn.switches.akuity.time_basis == TimeBasis::Timestamp;
        let unread = can_add.then_some((turn.switches.akuity.order, ask.offset + ask.limit));
        Some(Walk { window: ask.window, later_page: ask.offset > 0, unread })
    }

    fn answer(&self, turn: &mut Turn<'_>) -> Reply {
        let Some(place) = place(&turn.request.path) else { return refuse(404, 5, "Not Found") };
        if turn.request.method != "GET" {
            return refuse(501, 12, "Method Not Allowed");
        }
        match place {
            Place::Organizations => Reply::json(200, format!(r#"{{"organizations":[{}]}}"#, organization(turn))),
            Place::Organization(id) => answer_organization(turn, id),
            Place::AuditLogs(id) => answer_logs(turn, id),
        }
    }

    fn refuse(&self, refusal: Refusal, _request: &ApiRequest) -> Reply {
        match refusal {
            Refusal::Unauthorized => refuse(401, 16, "unauthenticated"),
            Refusal::Forbidden => denied(),
            Refusal::InvalidCursor => refuse(400, 3, "invalid cursor"),
            Refusal::RateLimited { .. } => refuse(429, 8, "too many requests"),
            Refusal::Server(504) => refuse(504, 4, "context deadline exceeded"),
            Refusal::Server(500) => refuse(500, 13, "internal error"),
            Refusal::Server(status) => refuse(status, 14, "upstream connect error"),
        }
    }
}

fn organization(turn: &Turn<'_>) -> String {
    let name = quoted(&turn.switches.akuity.organization_name);
    format!(r#"{{"id":{},"name":{name}}}"#, quoted(&turn.credentials.akuity_organization_id))
}

fn answer_organization(turn: &Turn<'_>, id: &str) -> Reply {
    let by_name = turn.request.query.get("idType") == Some("NAME");
    let expected =
        if by_name { &turn.switches.akuity.organization_name } else { &turn.credentials.akuity_organization_id };
    if id != expected {
        return denied();
    }
    Reply::json(200, format!(r#"{{"organization":{}}}"#, organization(turn)))
}

fn answer_logs(turn: &mut Turn<'_>, id: &str) -> Reply {
    if id != turn.credentials.akuity_organization_id || !turn.switches.akuity.permission {
        return denied();
    }
    let ask = match Ask::read(turn.request, &turn.switches.akuity) {
        Ok(ask) => ask,
        Err(reason) => return refuse(400, 3, &reason),
    };
    let selection = select(turn, &ask);
    let total = selection.len();
    let page = selection.page(ask.offset, ask.limit);
    let items = paste(turn.store, &page);
    Reply::json(200, format!(r#"{{"items":[{items}],"totalCount":{total}}}"#))
}

fn select(turn: &Turn<'_>, ask: &Ask) -> Selection {
    let switches = &turn.switches.akuity;
    let oldest = switches.common.retention.0.map(|kept| turn.now - kept);
    let window = ask.window.not_before(oldest);
    if switches.time_basis == TimeBasis::LastOccurred {
        let records = turn.store.visible();
        let matches = |record: &Record| window.contains(record.last_at) && ask.matches(&record.raw);
        let mut list: Vec<usize> = (0..records.len()).filter(|index| matches(&records[*index])).collect();
        list.sort_by_key(|index| (records[*index].last_at, records[*index].sequence));
        return Selection::of_list(turn.store, list, switches.order);
    }
    if ask.is_time_only() {
        return Selection::of(turn.store, window, switches.order, None);
    }
    Selection::of(turn.store, window, switches.order, Some(&|record: &Record| ask.matches(&record.raw)))
}
