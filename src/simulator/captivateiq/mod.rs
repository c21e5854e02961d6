//! CaptivateIQ's audit logs: limit and offset with links, filters of whole days, in the style of Django REST Framework.

mod records;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::http::ApiRequest;
use super::http::Reply;
use super::record_builder::{RecordBuilder, quoted_or_null};
use super::store::{Record, Window};
use super::store::{Selection, join_records};
use super::variants::{CaptivateIqVariants, EmailMatch, EndDate, HrefForm, RedirectForm, Variants};
use super::vendor_api::{
    RequestContext, RequestError, ScanPosition, VendorApi, drf_error, drf_method_not_allowed, drf_request_error,
};
use crate::time::Timestamp;

const PATH: &str = "/ciq/v1/audit-logs/";
const DAY: Duration = Duration::from_secs(86_400);

/// CaptivateIQ's API.
pub(super) struct CaptivateIq;

/// The parsed query parameters of a request.
#[derive(Debug)]
struct QueryParams {
    limit: usize,
    offset: usize,
    window: Window,
    email: Option<String>,
}

impl QueryParams {
    fn read(context: &RequestContext<'_>) -> Result<Self, Reply> {
        let variants = &context.variants.captivateiq;
        let query = &context.request.query;
        let email = query.non_empty("email").map(str::to_owned);
        if email.as_ref().is_some_and(|email| !email.contains('@')) {
            return Err(Reply::json(400, r#"{"email":["Enter a valid email address."]}"#));
        }
        let limit = query.get("limit").and_then(|text| text.parse::<usize>().ok()).filter(|limit| *limit > 0);
        Ok(Self {
            limit: limit.unwrap_or(variants.default_limit).min(variants.max_limit),
            offset: query.get("offset").and_then(|text| text.parse().ok()).unwrap_or(0),
            window: read_window(context)?,
            email,
        })
    }

    fn select(&self, context: &RequestContext<'_>) -> Selection {
        let variants = &context.variants.captivateiq;
        let oldest = variants.common.retention.0.map(|kept| context.now - kept);
        let window = self.window.not_before(oldest);
        let Some(email) = &self.email else { return Selection::of(context.store, window, variants.order, None) };
        let matches = |record: &Record| has_email(&record.raw, email, variants.email);
        Selection::of(context.store, window, variants.order, Some(&matches))
    }
}

fn read_window(context: &RequestContext<'_>) -> Result<Window, Reply> {
    let variants = &context.variants.captivateiq;
    let from = match read_day(context.request, "start_date", variants)? {
        Some(day) => day,
        None => variants.default_lookback_days.0.map_or(Window::ALL.from, |days| context.now - days_of(days)),
    };
    let to = read_day(context.request, "end_date", variants)?.map_or(Window::ALL.to, |day| match variants.end_date {
        EndDate::InclusiveDay => day + DAY,
        EndDate::ExclusiveMidnight => day,
    });
    Ok(Window { from, to })
}

fn days_of(days: usize) -> Duration {
    DAY.saturating_mul(u32::try_from(days).unwrap_or(u32::MAX))
}

/// The start of a parameter's day.
fn read_day(request: &ApiRequest, name: &str, variants: &CaptivateIqVariants) -> Result<Option<Timestamp>, Reply> {
    let Some(text) = request.query.non_empty(name) else { return Ok(None) };
    let midnight = if text.len() == 10 { Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")) } else { None };
    let Some(midnight) = midnight else {
        return Err(Reply::json(400, format!(r#"{{"{name}":["Enter a valid date."]}}"#)));
    };
    let offset = variants.day_tz.0.saturating_mul(1_000_000_000);
    Ok(Some(Timestamp::from_nanos(midnight.as_nanos().saturating_sub(offset))))
}

/// The fields that the email filter matches.
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

fn error_reply(status: u16, detail: &str) -> Reply {
    with_token_scheme(drf_error(status, detail))
}

fn with_token_scheme(reply: Reply) -> Reply {
    if reply.status == 401 { reply.with_header("www-authenticate", "Token") } else { reply }
}

impl VendorApi for CaptivateIq {
    fn digits(&self) -> &'static [u8] {
        &[6, 6, 6, 0]
    }

    fn has_ids(&self) -> bool {
        true
    }

    fn record(&self, builder: &mut RecordBuilder, _variants: &Variants) -> String {
        records::write(builder)
    }

    fn authenticate(&self, context: &RequestContext<'_>) -> Result<(), Reply> {
        let header = context.request.header("authorization").unwrap_or_default();
        let mut words = header.split_whitespace();
        if !words.next().is_some_and(|keyword| keyword.eq_ignore_ascii_case("Token")) {
            return Err(error_reply(401, "Authentication credentials were not provided."));
        }
        let Some(token) = words.next() else {
            return Err(error_reply(401, "Invalid token header. No credentials provided."));
        };
        if words.next().is_some() {
            return Err(error_reply(401, "Invalid token header. Token string should not contain spaces."));
        }
        if token == context.credentials.captivateiq_api_token {
            Ok(())
        } else {
            Err(error_reply(401, "Invalid token."))
        }
    }

    fn scan_position(&self, context: &RequestContext<'_>) -> Option<ScanPosition> {
        // Rows in a window of whole days may lie outside what the client keeps of it, so none is added among them.
        let params = QueryParams::read(context).ok()?;
        Some(ScanPosition { window: params.window, later_page: params.offset > 0, unread: None })
    }

    fn answer(&self, context: &mut RequestContext<'_>) -> Reply {
        let request = context.request;
        if request.path == PATH.trim_end_matches('/')
            && context.variants.captivateiq.append_slash == RedirectForm::Redirect
        {
            let query = if request.query.text.is_empty() { String::new() } else { format!("?{}", request.query.text) };
            return Reply::html(301, "Moved Permanently").with_header("location", format!("{PATH}{query}"));
        }
        if request.path != PATH {
            return error_reply(404, "Not found.");
        }
        if request.method != "GET" {
            return drf_method_not_allowed(&request.method);
        }
        match QueryParams::read(context) {
            Ok(params) => answer_page(context, &params),
            Err(reply) => reply,
        }
    }

    fn error_reply(&self, error: RequestError, _request: &ApiRequest) -> Reply {
        with_token_scheme(drf_request_error(error))
    }
}

fn answer_page(context: &mut RequestContext<'_>, params: &QueryParams) -> Reply {
    let selection = params.select(context);
    let total = selection.len();
    let page = selection.page(params.offset, params.limit);
    let has_next = params.offset + params.limit < total;
    let after = if context.repeat_token { params.offset } else { params.offset + params.limit };
    let next = has_next.then(|| link(context, params.limit, after));
    let previous = (params.offset > 0).then(|| link(context, params.limit, params.offset.saturating_sub(params.limit)));
    let data = join_records(context.store, &page);
    Reply::json(
        200,
        format!(
            r#"{{"object":"list","total_count":{total},"next":{next},"previous":{previous},"data":[{data}]}}"#,
            next = quoted_or_null(next.as_deref()),
            previous = quoted_or_null(previous.as_deref()),
        ),
    )
}

/// The URL of another page: the other parameters stay, sorted by name; a zero offset is omitted.
fn link(context: &RequestContext<'_>, limit: usize, offset: usize) -> String {
    let mut parameters: BTreeMap<&str, String> =
        context.request.query.pairs().iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    parameters.insert("limit", limit.to_string());
    parameters.insert("offset", offset.to_string());
    if offset == 0 {
        parameters.remove("offset");
    }
    let origin = match context.variants.captivateiq.links {
        HrefForm::Absolute => context.request.origin(),
        HrefForm::Path => String::new(),
    };
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("{origin}{PATH}?{query}")
}
