//! CaptivateIQ's audit logs: limit and offset with links, filters of whole days, the manners of Django REST framework.

mod records;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::api::{Refusal, Turn, VendorApi, Walk};
use super::draft::{Draft, quoted, quoted_or_null};
use super::page::{Selection, paste};
use super::reply::Reply;
use super::request::ApiRequest;
use super::store::{Record, Window};
use super::switches::{CaptivateIqSwitches, EmailMatch, EndDate, HrefForm, RedirectForm, Switches};
use crate::time::Timestamp;

const PATH: &str = "/ciq/v1/audit-logs/";
const DAY: Duration = Duration::from_secs(86_400);

/// CaptivateIQ's part.
pub(super) struct CaptivateIq;

/// What a request asks for.
#[derive(Debug)]
struct Ask {
    limit: usize,
    offset: usize,
    window: Window,
    email: Option<String>,
}

impl Ask {
    fn read(turn: &Turn<'_>) -> Result<Self, Reply> {
        let switches = &turn.switches.captivateiq;
        let query = &turn.request.query;
        let email = query.non_empty("email").map(str::to_owned);
        if email.as_ref().is_some_and(|email| !email.contains('@')) {
            return Err(Reply::json(400, r#"{"email":["Enter a valid email address."]}"#));
        }
        let limit = query.get("limit").and_then(|text| text.parse::<usize>().ok()).filter(|limit| *limit > 0);
        Ok(Self {
            limit: limit.unwrap_or(switches.default_limit).min(switches.max_limit),
            offset: query.get("offset").and_then(|text| text.parse().ok()).unwrap_or(0),
            window: read_window(turn)?,
            email,
        })
    }

    fn select(&self, turn: &Turn<'_>) -> Selection {
        let switches = &turn.switches.captivateiq;
        let oldest = switches.common.retention.0.map(|kept| turn.now - kept);
        let window = self.window.not_before(oldest);
        let Some(email) = &self.email else { return Selection::of(turn.store, window, switches.order, None) };
        let matches = |record: &Record| has_email(&record.raw, email, switches.email);
        Selection::of(turn.store, window, switches.order, Some(&matches))
    }
}

fn read_window(turn: &Turn<'_>) -> Result<Window, Reply> {
    let switches = &turn.switches.captivateiq;
    let from = match read_day(turn.request, "start_date", switches)? {
        Some(day) => day,
        None => switches.default_lookback_days.0.map_or(Window::ALL.from, |days| turn.now - days_of(days)),
    };
    let to = read_day(turn.request, "end_date", switches)?.map_or(Window::ALL.to, |day| match switches.end_date {
        EndDate::InclusiveDay => day + DAY,
        EndDate::ExclusiveMidnight => day,
    });
    Ok(Window { from, to })
}

fn days_of(days: usize) -> Duration {
    DAY.saturating_mul(u32::try_from(days).unwrap_or(u32::MAX))
}

/// The moment at which the day of a parameter begins.
fn read_day(request: &ApiRequest, name: &str, switches: &CaptivateIqSwitches) -> Result<Option<Timestamp>, Reply> {
    let Some(text) = request.query.non_empty(name) else { return Ok(None) };
    let midnight = if text.len() == 10 { Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")) } else { None };
    let Some(midnight) = midnight else {
        return Err(Reply::json(400, format!(r#"{{"{name}":["Enter a valid date."]}}"#)));
    };
    let offset = switches.day_tz.0.saturating_mul(1_000_000_000);
    Ok(Some(Timestamp::from_nanos(midnight.as_nanos().saturating_sub(offset))))
}

/// The parts of a record that the e-mail filter looks at.
#[derive(Deserialize)]
struct Emails<'a> {
    #[serde(borrow)]
    user_email: Option<Cow<'a, str>>,
    #[serde(borrow)]
    logged_in_user_email: Option<Cow<'a, str>>,
}

fn has_email(raw: &str, email: &str, which: EmailMatch) -> bool {
    let Ok(emails) = serde_json::from_str::<Emails<'_>>(raw) else { return false };
    let effective = emails.user_email.as_deref() == Some(email);
    let logged_in = emails.logged_in_user_email.as_deref() == Some(email);
    match which {
        EmailMatch::Effective => effective,
        EmailMatch::LoggedIn => logged_in,
        EmailMatch::Either => effective || logged_in,
    }
}

fn refuse(status: u16, detail: &str) -> Reply {
    let reply = Reply::json(status, format!(r#"{{"detail":{}}}"#, quoted(detail)));
    if status == 401 { reply.with_header("www-authenticate", "Token") } else { reply }
}

impl VendorApi for CaptivateIq {
    fn digits(&self) -> &'static [u8] {
        &[6, 6, 6, 0]
    }

    fn has_ids(&self) -> bool {
        true
    }

    fn record(&self, draft: &mut Draft, _switches: &Switches) -> String {
        records::write(draft)
    }

    fn authenticate(&self, turn: &Turn<'_>) -> Result<(), Reply> {
        let header = turn.request.header("authorization").unwrap_or_default();
        let mut words = header.split_whitespace();
        if !words.next().is_some_and(|keyword| keyword.eq_ignore_ascii_case("Token")) {
            return Err(refuse(401, "Authentication credentials were not provided."));
        }
        let Some(token) = words.next() else {
            return Err(refuse(401, "Invalid token header. No credentials provided."));
        };
        if words.next().is_some() {
            return Err(refuse(401, "Invalid token header. Token string should not contain spaces."));
        }
        if token == turn.credentials.captivateiq_api_token { Ok(()) } else { Err(refuse(401, "Invalid token.")) }
    }

    fn walk(&self, turn: &Turn<'_>) -> Option<Walk> {
        // Rows in a window of whole days may lie outside what the client keeps of it, so none is added among them.
        let ask = Ask::read(turn).ok()?;
        Some(Walk { window: ask.window, later_page: ask.offset > 0, unread: None })
    }

    fn answer(&self, turn: &mut Turn<'_>) -> Reply {
        let request = turn.request;
        if request.path == PATH.trim_end_matches('/')
            && turn.switches.captivateiq.append_slash == RedirectForm::Redirect
        {
            let query = if request.query.text.is_empty() { String::new() } else { format!("?{}", request.query.text) };
            return Reply::html(301, "Moved Permanently").with_header("location", format!("{PATH}{query}"));
        }
        if request.path != PATH {
            return refuse(404, "Not found.");
        }
        if request.method != "GET" {
            return refuse(405, &format!("Method \"{}\" not allowed.", request.method));
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
            Refusal::InvalidCursor => refuse(404, "Not found."),
            Refusal::RateLimited { seconds, .. } => {
                refuse(429, &format!("Request was throttled. Expected available in {seconds} seconds."))
            }
            Refusal::Server(status) => refuse(status, "A server error occurred."),
        }
    }
}

fn answer_page(turn: &mut Turn<'_>, ask: &Ask) -> Reply {
    let selection = ask.select(turn);
    let total = selection.len();
    let page = selection.page(ask.offset, ask.limit);
    let has_next = ask.offset + ask.limit < total;
    let after = if turn.repeat_token { ask.offset } else { ask.offset + ask.limit };
    let next = has_next.then(|| link(turn, ask.limit, after));
    let previous = (ask.offset > 0).then(|| link(turn, ask.limit, ask.offset.saturating_sub(ask.limit)));
    let data = paste(turn.store, &page);
    Reply::json(
        200,
        format!(
            r#"{{"object":"list","total_count":{total},"next":{next},"previous":{previous},"data":[{data}]}}"#,
            next = quoted_or_null(next.as_deref()),
            previous = quoted_or_null(previous.as_deref()),
        ),
    )
}

/// The address of another page: the other parameters stay, sorted by name; an offset of zero is left out.
fn link(turn: &Turn<'_>, limit: usize, offset: usize) -> String {
    let mut parameters: BTreeMap<&str, String> =
        turn.request.query.pairs().iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    parameters.insert("limit", limit.to_string());
    parameters.insert("offset", offset.to_string());
    if offset == 0 {
        parameters.remove("offset");
    }
    let origin = match turn.switches.captivateiq.links {
        HrefForm::Absolute => turn.request.origin(),
        HrefForm::Path => String::new(),
    };
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("{origin}{PATH}?{query}")
}
