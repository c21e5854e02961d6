//! Clumio's audit trails: page numbers, a JSON filter in the query, HAL-like links with underscores.

mod filter;
mod records;

use super::api::{Refusal, Turn, VendorApi, Walk};
use super::draft::{Draft, quoted};
use super::page::{Selection, paste};
use super::reply::Reply;
use super::request::ApiRequest;
use super::store::Record;
use super::switches::{ClumioSwitches, HrefForm, Strictness, Switches, UnauthorizedStatus};
use filter::Filter;

const PATH: &str = "/audit-trails";
const ACCEPTED: [&str; 3] = ["application/api.clumio.audit-trails=v1+json", "application/api.clumio.*=v1+json", "*/*"];
const GLOBAL_UNIT: &str = "00000000-0000-0000-0000-000000000000";

/// Clumio's part.
pub(super) struct Clumio;

/// What a request asks for.
#[derive(Debug)]
struct Ask {
    limit: usize,
    page: usize,
    filter: Filter,
}

impl Ask {
    fn read(turn: &Turn<'_>) -> Result<Self, Reply> {
        let switches = &turn.switches.clumio;
        let limit = read_limit(turn.request, switches)?;
        let page = read_page(turn.request, switches)?;
        let text = turn.request.query.get("filter");
        let text = if switches.lenient_empty { text.filter(|text| !text.is_empty()) } else { text };
        let mut filter = match text {
            Some(text) => {
                Filter::read(text, switches.unknown_filter_field, turn.now).map_err(|reason| refuse(400, &reason))?
            }
            None => Filter::default(),
        };
        if let Some(unit) = organizational_unit(turn.request) {
            filter.restrict_to_unit(unit);
        }
        Ok(Self { limit, page, filter })
    }

    fn offset(&self) -> usize {
        (self.page - 1).saturating_mul(self.limit)
    }

    fn select(&self, turn: &Turn<'_>) -> Selection {
        let order = turn.switches.clumio.order;
        let oldest = turn.switches.clumio.common.retention.0.map(|kept| turn.now - kept);
        let window = self.filter.window.not_before(oldest);
        if self.filter.is_time_only() {
            return Selection::of(turn.store, window, order, None);
        }
        Selection::of(turn.store, window, order, Some(&|record: &Record| self.filter.matches(&record.raw)))
    }
}

fn organizational_unit(request: &ApiRequest) -> Option<&str> {
    request.header("x-clumio-organizationalunit-context").filter(|unit| !unit.is_empty() && *unit != GLOBAL_UNIT)
}

fn read_limit(request: &ApiRequest, switches: &ClumioSwitches) -> Result<usize, Reply> {
    let Some(text) = request.query.get("limit") else { return Ok(switches.default_limit) };
    if switches.lenient_empty && matches!(text, "" | "0") {
        return Ok(switches.default_limit);
    }
    match text.parse::<usize>() {
        Ok(limit) if limit > 0 => Ok(limit.min(switches.max_limit)),
        _ if switches.on_bad_limit == Strictness::Tolerate => Ok(switches.default_limit),
        _ => Err(refuse(400, "Invalid limit.")),
    }
}

fn read_page(request: &ApiRequest, switches: &ClumioSwitches) -> Result<usize, Reply> {
    match request.query.get("start") {
        None => Ok(1),
        Some("") if switches.lenient_empty => Ok(1),
        Some(text) => text.parse().ok().filter(|page| *page > 0).ok_or_else(|| refuse(400, "Invalid start.")),
    }
}

fn refuse(status: u16, message: &str) -> Reply {
    let code = if status == 401 { 402 } else { status };
    refuse_with(status, code, message)
}

fn refuse_with(status: u16, code: u16, message: &str) -> Reply {
    Reply::json(status, format!(r#"{{"errors":[{{"error_code":{code},"error_message":{}}}]}}"#, quoted(message)))
}

fn is_accepted(request: &ApiRequest) -> bool {
    let Some(accept) = request.header("accept") else { return true };
    accept.split(',').any(|one| ACCEPTED.contains(&one.split(';').next().unwrap_or_default().trim()))
}

impl VendorApi for Clumio {
    fn digits(&self) -> &'static [u8] {
        &[6, 6, 6, 6, 3, 0]
    }

    fn has_ids(&self) -> bool {
        true
    }

    fn record(&self, draft: &mut Draft, switches: &Switches) -> String {
        records::write(draft, &switches.clumio)
    }

    fn authenticate(&self, turn: &Turn<'_>) -> Result<(), Reply> {
        let Some(header) = turn.request.header("authorization").filter(|header| !header.is_empty()) else {
            return Err(match turn.switches.clumio.missing_token {
                UnauthorizedStatus::Forbidden => refuse_with(403, 359, "The authentication token is missing"),
                UnauthorizedStatus::Unauthorized => refuse(401, "Unauthorized access"),
            });
        };
        let token = header.strip_prefix("Bearer ");
        if token == Some(turn.credentials.clumio_access_token.as_str()) {
            return Ok(());
        }
        Err(refuse(401, "Unauthorized access"))
    }

    fn walk(&self, turn: &Turn<'_>) -> Option<Walk> {
        let ask = Ask::read(turn).ok()?;
        let unread = ask.filter.is_time_only().then(|| (turn.switches.clumio.order, ask.offset() + ask.limit));
        Some(Walk { window: ask.filter.window, later_page: ask.page > 1, unread })
    }

    fn answer(&self, turn: &mut Turn<'_>) -> Reply {
        if turn.request.path != PATH {
            return refuse(404, "Not found.");
        }
        if turn.request.method != "GET" {
            return refuse(405, "Method not allowed.");
        }
        let switches = &turn.switches.clumio;
        if switches.strict_accept && !is_accepted(turn.request) {
            return refuse(406, "Not acceptable.");
        }
        match Ask::read(turn) {
            Ok(ask) => answer_page(turn, &ask),
            Err(reply) => reply,
        }
    }

    fn refuse(&self, refusal: Refusal, _request: &ApiRequest) -> Reply {
        match refusal {
            Refusal::Unauthorized => refuse(401, "Unauthorized access"),
            Refusal::Forbidden => refuse(403, "Not authorized."),
            Refusal::InvalidCursor => refuse(400, "Invalid start."),
            Refusal::RateLimited { .. } => refuse(429, "Too many requests."),
            Refusal::Server(status) => refuse(status, "Internal error."),
        }
    }
}

fn answer_page(turn: &mut Turn<'_>, ask: &Ask) -> Reply {
    let switches = &turn.switches.clumio;
    let selection = ask.select(turn);
    let total = selection.len();
    let pages = total.div_ceil(ask.limit);
    if ask.page > pages.max(1) && switches.past_end == Strictness::Reject {
        return refuse(400, "Invalid start.");
    }
    let page = selection.page(ask.offset(), ask.limit);
    let items = paste(turn.store, &page);
    let embedded =
        if page.is_empty() && switches.null_embedded { "null".to_owned() } else { format!(r#"{{"items":[{items}]}}"#) };
    let body = format!(
        r#"{{"_embedded":{embedded},"_links":{{{links}}},"current_count":{count},"filter_applied":{filter},"limit":{limit},"start":"{start}","total_count":{total},"total_pages_count":{pages}}}"#,
        links = links(turn, ask, pages),
        count = page.len(),
        filter = quoted(turn.request.query.get("filter").unwrap_or_default()),
        limit = ask.limit,
        start = ask.page,
    );
    Reply::new(200, &switches.content_type, body)
}

fn links(turn: &Turn<'_>, ask: &Ask, pages: usize) -> String {
    let switches = &turn.switches.clumio;
    let next = if turn.repeat_token { ask.page } else { ask.page + 1 };
    let mut links = Vec::new();
    for (name, page, exists) in [
        ("_first", 1, true),
        ("_last", pages.max(1), true),
        ("_next", next, ask.page < pages),
        ("_prev", ask.page.saturating_sub(1), ask.page > 1),
        ("_self", ask.page, true),
    ] {
        if exists {
            let href = quoted(&href(turn, ask, page));
            links.push(format!(r#""{name}":{{"href":{href},"templated":false,"type":"get"}}"#));
        } else if switches.null_links {
            links.push(format!(r#""{name}":null"#));
        }
    }
    links.join(",")
}

fn href(turn: &Turn<'_>, ask: &Ask, page: usize) -> String {
    let origin = match turn.switches.clumio.href {
        HrefForm::Path => String::new(),
        HrefForm::Absolute => turn.request.origin(),
    };
    let filter = turn.request.query.non_empty("filter").map_or_else(String::new, |filter| {
        format!("filter={}&", percent_encoding::utf8_percent_encode(filter, percent_encoding::NON_ALPHANUMERIC))
    });
    format!("{origin}{PATH}?{filter}limit={}&start={page}", ask.limit)
}
