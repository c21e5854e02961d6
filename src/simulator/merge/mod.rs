//! Merge's audit trail: bare cursors that hold a position in time, in the style of Django REST Framework.

mod cursor;
mod records;

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;

use super::http::ApiRequest;
use super::http::Reply;
use super::record_builder::{RecordBuilder, quoted_or_null};
use super::store::{Record, Window};
use super::store::{Selection, join_records};
use super::variants::{BoundKind, Order, Variants};
use super::vendor_api::{
    RequestContext, RequestError, ScanPosition, VendorApi, drf_error, drf_method_not_allowed, drf_request_error,
};
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

/// Merge's API.
pub(super) struct Merge;

/// The parsed query parameters of a request.
#[derive(Debug)]
struct QueryParams<'a> {
    page_size: usize,
    window: Window,
    event_type: Option<&'a str>,
    user_email: Option<&'a str>,
    cursor: Option<Cursor>,
}

impl<'a> QueryParams<'a> {
    fn read(context: &RequestContext<'a>) -> Result<Self, Reply> {
        let variants = &context.variants.merge;
        let query = &context.request.query;
        let size = query.get("page_size").and_then(|text| text.parse::<usize>().ok()).filter(|size| *size > 0);
        let cursor = match query.non_empty("cursor") {
            Some(text) => Some(read_cursor(context, text)?),
            None => None,
        };
        Ok(Self {
            page_size: size.unwrap_or(variants.default_page_size).min(variants.max_page_size),
            window: read_window(context)?,
            event_type: query.non_empty("event_type"),
            user_email: query.non_empty("user_email"),
            cursor,
        })
    }

    fn select(&self, context: &RequestContext<'_>) -> Selection {
        let variants = &context.variants.merge;
        let oldest = variants.common.retention.0.map(|kept| context.now - kept);
        let window = self.window.not_before(oldest);
        let order = if variants.order == Order::NewestFirst { Order::NewestFirst } else { Order::OldestFirst };
        if self.event_type.is_none() && self.user_email.is_none() {
            return Selection::of(context.store, window, order, None);
        }
        Selection::of(context.store, window, order, Some(&|record: &Record| self.matches(&record.raw)))
    }

    fn matches(&self, raw: &str) -> bool {
        let Ok(event) = serde_json::from_str::<Filtered<'_>>(raw) else { return false };
        self.event_type.is_none_or(|wanted| event.event_type.as_deref() == Some(wanted))
            && self.user_email.is_none_or(|wanted| event.user_email.as_deref() == Some(wanted))
    }
}

/// The fields that can be filtered by.
#[derive(Deserialize)]
struct Filtered<'a> {
    #[serde(borrow)]
    event_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_email: Option<Cow<'a, str>>,
}

fn read_cursor(context: &RequestContext<'_>, text: &str) -> Result<Cursor, Reply> {
    let cursor = Cursor::decode(text).ok_or_else(|| drf_error(404, "Invalid cursor"))?;
    let expired = |(life, issued): (Duration, Timestamp)| issued + life < context.now;
    if context.variants.merge.cursor_expiry.0.zip(cursor.issued).is_some_and(expired) {
        return Err(drf_error(404, "Invalid cursor"));
    }
    Ok(cursor)
}

fn read_window(context: &RequestContext<'_>) -> Result<Window, Reply> {
    let variants = &context.variants.merge;
    let from = read_date(context.request, "start_date")?.map_or(Window::ALL.from, |date| match variants.start_bound {
        BoundKind::Strict => date + NANOSECOND,
        BoundKind::Inclusive => date,
    });
    let to = read_date(context.request, "end_date")?.map_or(Window::ALL.to, |date| match variants.end_bound {
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

    fn record(&self, builder: &mut RecordBuilder, _variants: &Variants) -> String {
        records::write(builder)
    }

    fn authenticate(&self, context: &RequestContext<'_>) -> Result<(), Reply> {
        let Some(key) = context.request.header("authorization").and_then(|header| header.strip_prefix("Bearer "))
        else {
            return Err(drf_error(401, "Authentication credentials were not provided."));
        };
        if key == context.credentials.merge_api_key { Ok(()) } else { Err(drf_error(401, "Invalid token.")) }
    }

    fn scan_position(&self, context: &RequestContext<'_>) -> Option<ScanPosition> {
        let params = QueryParams::read(context).ok()?;
        Some(ScanPosition { window: params.window, later_page: params.cursor.is_some(), unread: None })
    }

    fn answer(&self, context: &mut RequestContext<'_>) -> Reply {
        if !is_audit_trail(&context.request.path) {
            return drf_error(404, "Not found.");
        }
        if context.request.method != "GET" {
            return drf_method_not_allowed(&context.request.method);
        }
        if !context.variants.merge.enterprise_plan {
            return drf_error(403, "You do not have permission to perform this action.");
        }
        match QueryParams::read(context) {
            Ok(params) => answer_page(context, &params),
            Err(reply) => reply,
        }
    }

    fn error_reply(&self, error: RequestError, _request: &ApiRequest) -> Reply {
        drf_request_error(error)
    }
}

fn answer_page(context: &mut RequestContext<'_>, params: &QueryParams<'_>) -> Reply {
    let selection = params.select(context);
    let rows = Rows {
        selection: &selection,
        records: context.store.visible(),
        newest_first: context.variants.merge.order == Order::NewestFirst,
    };
    let issued = context.variants.merge.cursor_expiry.0.map(|_| context.now);
    let Paged { page, next, previous } = cursor::paginate(&rows, params.cursor.as_ref(), params.page_size);
    let encode = |cursor: Cursor| Cursor { issued, ..cursor }.encode();
    let mut next = next.map(encode);
    if let Some(sent) = context.request.query.non_empty("cursor").filter(|_| context.repeat_token && next.is_some()) {
        next = Some(sent.to_owned());
    }
    let previous = previous.map(encode);
    let absent = context.variants.merge.next_absent;
    let results = join_records(context.store, &page);
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
