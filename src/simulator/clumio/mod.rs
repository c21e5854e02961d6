//! Clumio's audit trails: page numbers, a JSON filter in the query, HAL-like links with underscores.

mod filter;
mod records;

use super::http::ApiRequest;
use super::http::Reply;
use super::record_builder::{RecordBuilder, quoted};
use super::store::Record;
use super::store::{Selection, join_records};
use super::variants::{ClumioVariants, HrefForm, Strictness, UnauthorizedStatus, Variants};
use super::vendor_api::{RequestContext, RequestError, ScanPosition, VendorApi};
use filter::Filter;

const PATH: &str = "/audit-trails";
const ACCEPTED: [&str; 3] = ["application/api.clumio.audit-trails=v1+json", "application/api.clumio.*=v1+json", "*/*"];
const GLOBAL_UNIT: &str = "00000000-0000-0000-0000-000000000000";

/// Clumio's API.
pub(super) struct Clumio;

/// The parsed query parameters of a request.
#[derive(Debug)]
struct QueryParams {
    limit: usize,
    page: usize,
    filter: Filter,
}

impl QueryParams {
    fn read(context: &RequestContext<'_>) -> Result<Self, Reply> {
        let variants = &context.variants.clumio;
        let limit = read_limit(context.request, variants)?;
        let page = read_page(context.request, variants)?;
        let text = context.request.query.get("filter");
        let text = if variants.lenient_empty { text.filter(|text| !text.is_empty()) } else { text };
        let mut filter = match text {
            Some(text) => Filter::read(text, variants.unknown_filter_field, context.now)
                .map_err(|reason| error_reply(400, &reason))?,
            None => Filter::default(),
        };
        if let Some(unit) = organizational_unit(context.request) {
            filter.restrict_to_unit(unit);
        }
        Ok(Self { limit, page, filter })
    }

    fn offset(&self) -> usize {
        (self.page - 1).saturating_mul(self.limit)
    }

    fn select(&self, context: &RequestContext<'_>) -> Selection {
        let order = context.variants.clumio.order;
        let oldest = context.variants.clumio.common.retention.0.map(|kept| context.now - kept);
        let window = self.filter.window.not_before(oldest);
        if self.filter.is_time_only() {
            return Selection::of(context.store, window, order, None);
        }
        Selection::of(context.store, window, order, Some(&|record: &Record| self.filter.matches(&record.raw)))
    }
}

fn organizational_unit(request: &ApiRequest) -> Option<&str> {
    request.header("x-clumio-organizationalunit-context").filter(|unit| !unit.is_empty() && *unit != GLOBAL_UNIT)
}

fn read_limit(request: &ApiRequest, variants: &ClumioVariants) -> Result<usize, Reply> {
    let Some(text) = request.query.get("limit") else { return Ok(variants.default_limit) };
    if variants.lenient_empty && matches!(text, "" | "0") {
        return Ok(variants.default_limit);
    }
    match text.parse::<usize>() {
        Ok(limit) if limit > 0 => Ok(limit.min(variants.max_limit)),
        _ if variants.on_bad_limit == Strictness::Tolerate => Ok(variants.default_limit),
        _ => Err(error_reply(400, "Invalid limit.")),
    }
}

fn read_page(request: &ApiRequest, variants: &ClumioVariants) -> Result<usize, Reply> {
    match request.query.get("start") {
        None => Ok(1),
        Some("") if variants.lenient_empty => Ok(1),
        Some(text) => text.parse().ok().filter(|page| *page > 0).ok_or_else(|| error_reply(400, "Invalid start.")),
    }
}

fn error_reply(status: u16, message: &str) -> Reply {
    let code = if status == 401 { 402 } else { status };
    error_reply_with_code(status, code, message)
}

fn error_reply_with_code(status: u16, code: u16, message: &str) -> Reply {
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

    fn record(&self, builder: &mut RecordBuilder, variants: &Variants) -> String {
        records::write(builder, &variants.clumio)
    }

    fn authenticate(&self, context: &RequestContext<'_>) -> Result<(), Reply> {
        let Some(header) = context.request.header("authorization").filter(|header| !header.is_empty()) else {
            return Err(match context.variants.clumio.missing_token {
                UnauthorizedStatus::Forbidden => error_reply_with_code(403, 359, "The authentication token is missing"),
                UnauthorizedStatus::Unauthorized => error_reply(401, "Unauthorized access"),
            });
        };
        let token = header.strip_prefix("Bearer ");
        if token == Some(context.credentials.clumio_access_token.as_str()) {
            return Ok(());
        }
        Err(error_reply(401, "Unauthorized access"))
    }

    fn scan_position(&self, context: &RequestContext<'_>) -> Option<ScanPosition> {
        let params = QueryParams::read(context).ok()?;
        let unread =
            params.filter.is_time_only().then(|| (context.variants.clumio.order, params.offset() + params.limit));
        Some(ScanPosition { window: params.filter.window, later_page: params.page > 1, unread })
    }

    fn answer(&self, context: &mut RequestContext<'_>) -> Reply {
        if context.request.path != PATH {
            return error_reply(404, "Not found.");
        }
        if context.request.method != "GET" {
            return error_reply(405, "Method not allowed.");
        }
        let variants = &context.variants.clumio;
        if variants.strict_accept && !is_accepted(context.request) {
            return error_reply(406, "Not acceptable.");
        }
        match QueryParams::read(context) {
            Ok(params) => answer_page(context, &params),
            Err(reply) => reply,
        }
    }

    fn error_reply(&self, error: RequestError, _request: &ApiRequest) -> Reply {
        match error {
            RequestError::Unauthorized => error_reply(401, "Unauthorized access"),
            RequestError::Forbidden => error_reply(403, "Not authorized."),
            RequestError::InvalidCursor => error_reply(400, "Invalid start."),
            RequestError::RateLimited { .. } => error_reply(429, "Too many requests."),
            RequestError::Server(status) => error_reply(status, "Internal error."),
        }
    }
}

fn answer_page(context: &mut RequestContext<'_>, params: &QueryParams) -> Reply {
    let variants = &context.variants.clumio;
    let selection = params.select(context);
    let total = selection.len();
    let pages = total.div_ceil(params.limit);
    if params.page > pages.max(1) && variants.past_end == Strictness::Reject {
        return error_reply(400, "Invalid start.");
    }
    let page = selection.page(params.offset(), params.limit);
    let items = join_records(context.store, &page);
    let embedded =
        if page.is_empty() && variants.null_embedded { "null".to_owned() } else { format!(r#"{{"items":[{items}]}}"#) };
    let body = format!(
        r#"{{"_embedded":{embedded},"_links":{{{links}}},"current_count":{count},"filter_applied":{filter},"limit":{limit},"start":"{start}","total_count":{total},"total_pages_count":{pages}}}"#,
        links = links(context, params, pages),
        count = page.len(),
        filter = quoted(context.request.query.get("filter").unwrap_or_default()),
        limit = params.limit,
        start = params.page,
    );
    Reply::new(200, &variants.content_type, body)
}

fn links(context: &RequestContext<'_>, params: &QueryParams, pages: usize) -> String {
    let variants = &context.variants.clumio;
    let next = if context.repeat_token { params.page } else { params.page + 1 };
    let mut links = Vec::new();
    for (name, page, exists) in [
        ("_first", 1, true),
        ("_last", pages.max(1), true),
        ("_next", next, params.page < pages),
        ("_prev", params.page.saturating_sub(1), params.page > 1),
        ("_self", params.page, true),
    ] {
        if exists {
            let href = quoted(&href(context, params, page));
            links.push(format!(r#""{name}":{{"href":{href},"templated":false,"type":"get"}}"#));
        } else if variants.null_links {
            links.push(format!(r#""{name}":null"#));
        }
    }
    links.join(",")
}

fn href(context: &RequestContext<'_>, params: &QueryParams, page: usize) -> String {
    let origin = match context.variants.clumio.href {
        HrefForm::Path => String::new(),
        HrefForm::Absolute => context.request.origin(),
    };
    let filter = context.request.query.non_empty("filter").map_or_else(String::new, |filter| {
        format!("filter={}&", percent_encoding::utf8_percent_encode(filter, percent_encoding::NON_ALPHANUMERIC))
    });
    format!("{origin}{PATH}?{filter}limit={}&start={page}", params.limit)
}
