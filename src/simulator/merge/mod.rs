//! Merge's audit trail: bare cursors that hold a position in time, in the manner of Django REST framework.

mod cursor;
mod records;

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;

use super::api::{Refusal, Turn, VendorApi, Walk};
use super::draft::{Draft, quoted, quoted_or_null};
use super::page::{Selection, paste};
use super::reply::Reply;
use super::request::ApiRequest;
use super::store::{Record, Window};
use super::switches::{BoundKind, Order, Switches};
use crate::time::Timestamp;
use cursor::{Cursor, Paged, Rows};

const CATEGORIES: [&str; 11] = [
    "hris",
    "ats",
    "accounting",
    "crm",
    "ticketing",
    "filestorage",
    "knowledgebase",
    "chat",
    "calendar",
    "email",
    "mktg",
];
const NANOSECOND: Duration = Duration::from_nanos(1);

/// Merge's part.
pub(super) struct Merge;

/// What a request asks for.
#[derive(Debug)]
struct Ask<'a> {
    page_size: usize,
    window: Window,
    event_type: Option<&'a str>,
    user_email: Option<&'a str>,
    cursor: Option<Cursor>,
}

impl<'a> Ask<'a> {
    fn read(turn: &Turn<'a>) -> Result<Self, Reply> {
        let switches = &turn.switches.merge;
        let query = &turn.request.query;
        let size = query.get("page_size").and_then(|text| text.parse::<usize>().ok()).filter(|size| *size > 0);
        let cursor = match query.non_empty("cursor") {
            Some(text) => Some(read_cursor(turn, text)?),
            None => None,
        };
        Ok(Self {
            page_size: size.unwrap_or(switches.default_page_size).min(switches.max_page_size),
            window: read_window(turn)?,
            event_type: query.non_empty("event_type"),
            user_email: query.non_empty("user_email"),
            cursor,
        })
    }

    fn select(&self, turn: &Turn<'_>) -> Selection {
        let switches = &turn.switches.merge;
        let oldest = switches.common.retention.0.map(|kept| turn.now - kept);
        let window = self.window.not_before(oldest);
        let order = if switches.order == Order::NewestFirst { Order::NewestFirst } else { Order::OldestFirst };
        if self.event_type.is_none() && self.user_email.is_none() {
            return Selection::of(turn.store, window, order, None);
        }
        Selection::of(turn.store, window, order, Some(&|record: &Record| self.matches(&record.raw)))
    }

    fn matches(&self, raw: &str) -> bool {
        let Ok(event) = serde_json::from_str::<Filtered<'_>>(raw) else { return false };
        self.event_type.is_none_or(|wanted| event.event_type.as_deref() == Some(wanted))
            && self.user_email.is_none_or(|wanted| event.user_email.as_deref() == Some(wanted))
    }
}

/// The parts of a record that can be filtered by.
#[derive(Deserialize)]
struct Filtered<'a> {
    #[serde(borrow)]
    event_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_email: Option<Cow<'a, str>>,
}

fn read_cursor(turn: &Turn<'_>, text: &str) -> Result<Cursor, Reply> {
    let cursor = Cursor::decode(text).ok_or_else(|| refuse(404, "Invalid cursor"))?;
    let expired = |(life, issued): (Duration, Timestamp)| issued + life < turn.now;
    if turn.switches.merge.cursor_expiry.0.zip(cursor.issued).is_some_and(expired) {
        return Err(refuse(404, "Invalid cursor"));
    }
    Ok(cursor)
}

fn read_window(turn: &Turn<'_>) -> Result<Window, Reply> {
    let switches = &turn.switches.merge;
    let from = read_date(turn.request, "start_date")?.map_or(Window::ALL.from, |date| match switches.start_bound {
        BoundKind::Strict => date + NANOSECOND,
        BoundKind::Inclusive => date,
    });
    let to = read_date(turn.request, "end_date")?.map_or(Window::ALL.to, |date| match switches.end_bound {
        BoundKind::Strict => date,
        BoundKind::Inclusive => date + NANOSECOND,
    });
    Ok(Window { from, to })
}

fn read_date(request: &ApiRequest, name: &str) -> Result<Option<Timestamp>, Reply> {
    let Some(text) = request.query.non_empty(name) else { return Ok(None) };
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    Timestamp::parse_rfc3339(&whole)
        .map(Some)
        .ok_or_else(|| Reply::json(400, format!(r#"{{"{name}":["Enter a valid date/time."]}}"#)))
}

fn refuse(status: u16, detail: &str) -> Reply {
    Reply::json(status, format!(r#"{{"detail":{}}}"#, quoted(detail)))
}

fn is_audit_trail(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(parts[..], ["", "api", category, "v1", "audit-trail"] if CATEGORIES.contains(&category))
}

impl VendorApi for Merge {
    fn digits(&self) -> &'static [u8] {
        &[6, 6, 6, 3, 0]
    }

    fn has_ids(&self) -> bool {
        true
    }

    fn record(&self, draft: &mut Draft, _switches: &Switches) -> String {
        records::write(draft)
    }

    fn authenticate(&self, turn: &Turn<'_>) -> Result<(), Reply> {
        let Some(key) = turn.request.header("authorization").and_then(|header| header.strip_prefix("Bearer ")) else {
            return Err(refuse(401, "Authentication credentials were not provided."));
        };
        if key == turn.credentials.merge_api_key { Ok(()) } else { Err(refuse(401, "Invalid token.")) }
    }

    fn walk(&self, turn: &Turn<'_>) -> Option<Walk> {
        let ask = Ask::read(turn).ok()?;
        Some(Walk { window: ask.window, later_page: ask.cursor.is_some(), unread: None })
    }

    fn answer(&self, turn: &mut Turn<'_>) -> Reply {
        if !is_audit_trail(&turn.request.path) {
            return refuse(404, "Not found.");
        }
        if turn.request.method != "GET" {
            return refuse(405, &format!("Method \"{}\" not allowed.", turn.request.method));
        }
        if !turn.switches.merge.enterprise_plan {
            return refuse(403, "You do not have permission to perform this action.");
        }
        match Ask::read(turn) {
            Ok(ask) => answer_page(turn, &ask),
            Err(reply) => reply,
        }
    }

    fn refuse(&self, refusal: Refusal, _request: &ApiRequest) -> Reply {
        match refusal {
            Refusal::Unauthorized => refuse(401, "Invalid token."),
            Refusal::Forbidden => refuse(403, "You do not have permission to perform this action."),
            Refusal::InvalidCursor => refuse(404, "Invalid cursor"),
            Refusal::RateLimited { seconds, .. } => {
                refuse(429, &format!("Request was throttled. Expected available in {seconds} seconds."))
            }
            Refusal::Server(status) => refuse(status, "A server error occurred."),
        }
    }
}

fn answer_page(turn: &mut Turn<'_>, ask: &Ask<'_>) -> Reply {
    let selection = ask.select(turn);
    let rows = Rows {
        selection: &selection,
        records: turn.store.visible(),
        newest_first: turn.switches.merge.order == Order::NewestFirst,
    };
    let issued = turn.switches.merge.cursor_expiry.0.map(|_| turn.now);
    let Paged { page, next, previous } = cursor::paginate(&rows, ask.cursor.as_ref(), ask.page_size);
    let encode = |cursor: Cursor| Cursor { issued, ..cursor }.encode();
    let mut next = next.map(encode);
    if let Some(sent) = turn.request.query.non_empty("cursor").filter(|_| turn.repeat_token && next.is_some()) {
        next = Some(sent.to_owned());
    }
    let previous = previous.map(encode);
    let absent = turn.switches.merge.next_absent;
    let results = paste(turn.store, &page);
    let next = link("next", next.as_deref(), absent);
    let previous = link("previous", previous.as_deref(), absent);
    Reply::json(200, format!(r#"{{{next}{previous}"results":[{results}]}}"#))
}

fn link(name: &str, cursor: Option<&str>, absent: bool) -> String {
    if cursor.is_none() && absent {
        return String::new();
    }
    format!(r#""{name}":{},"#, quoted_or_null(cursor))
}
