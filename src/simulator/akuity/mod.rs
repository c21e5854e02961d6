//! Akuity's audit logs: offset and limit below `filters.`, no record ids, errors in the form of gRPC statuses.

mod query;
mod records;

use super::http::ApiRequest;
use super::http::Reply;
use super::record_builder::{RecordBuilder, quoted};
use super::store::Record;
use super::store::{Selection, join_records};
use super::variants::{TimeBasis, Variants};
use super::vendor_api::{RequestContext, RequestError, ScanPosition, VendorApi};
use query::QueryParams;

const ORGANIZATIONS: &str = "/api/v1/organizations";

/// Akuity's API.
pub(super) struct Akuity;

/// The resource that a path names.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Organizations,
    Organization(&'a str),
    AuditLogs(&'a str),
}

fn route(path: &str) -> Option<Route<'_>> {
    let rest = path.strip_prefix(ORGANIZATIONS)?;
    if rest.is_empty() {
        return Some(Route::Organizations);
    }
    let parts: Vec<&str> = rest.strip_prefix('/')?.split('/').collect();
    match parts[..] {
        [id] if !id.is_empty() => Some(Route::Organization(id)),
        [id, "audit-logs"] => Some(Route::AuditLogs(id)),
        _ => None,
    }
}

/// An error reply with a gRPC status code.
fn error_reply(status: u16, code: u8, message: &str) -> Reply {
    let reply = Reply::json(status, format!(r#"{{"code":{code},"message":{},"details":[]}}"#, quoted(message)));
    if status == 401 { reply.with_header("www-authenticate", message) } else { reply }
}

fn denied() -> Reply {
    error_reply(403, 7, "permission denied")
}

impl VendorApi for Akuity {
    fn digits(&self) -> &'static [u8] {
        &[6, 6, 5, 6, 3, 0]
    }

    fn has_ids(&self) -> bool {
        false
    }

    fn record(&self, builder: &mut RecordBuilder, variants: &Variants) -> String {
        records::write(builder, &variants.akuity)
    }

    fn authenticate(&self, context: &RequestContext<'_>) -> Result<(), Reply> {
        let (id, secret) = (&context.credentials.akuity_api_key_id, &context.credentials.akuity_api_key_secret);
        let by_headers = context.request.header("x-akuity-api-key-id") == Some(id)
            && context.request.header("x-akuity-api-key-secret") == Some(secret);
        if by_headers || context.request.has_basic(id, secret) {
            return Ok(());
        }
        Err(error_reply(401, 16, "unauthenticated"))
    }

    fn scan_position(&self, context: &RequestContext<'_>) -> Option<ScanPosition> {
        let params = QueryParams::read(context.request, &context.variants.akuity).ok()?;
        let can_add = params.is_time_only() && context.variants.akuity.time_basis == TimeBasis::Timestamp;
        let unread = can_add.then_some((context.variants.akuity.order, params.offset + params.limit));
        Some(ScanPosition { window: params.window, later_page: params.offset > 0, unread })
    }

    fn answer(&self, context: &mut RequestContext<'_>) -> Reply {
        let Some(route) = route(&context.request.path) else { return error_reply(404, 5, "Not Found") };
        if context.request.method != "GET" {
            return error_reply(501, 12, "Method Not Allowed");
        }
        match route {
            Route::Organizations => Reply::json(200, format!(r#"{{"organizations":[{}]}}"#, organization(context))),
            Route::Organization(id) => answer_organization(context, id),
            Route::AuditLogs(id) => answer_logs(context, id),
        }
    }

    fn error_reply(&self, error: RequestError, _request: &ApiRequest) -> Reply {
        match error {
            RequestError::Unauthorized => error_reply(401, 16, "unauthenticated"),
            RequestError::Forbidden => denied(),
            RequestError::InvalidCursor => error_reply(400, 3, "invalid cursor"),
            RequestError::RateLimited { .. } => error_reply(429, 8, "too many requests"),
            RequestError::Server(504) => error_reply(504, 4, "context deadline exceeded"),
            RequestError::Server(500) => error_reply(500, 13, "internal error"),
            RequestError::Server(status) => error_reply(status, 14, "upstream connect error"),
        }
    }
}

fn organization(context: &RequestContext<'_>) -> String {
    let name = quoted(&context.variants.akuity.organization_name);
    format!(r#"{{"id":{},"name":{name}}}"#, quoted(&context.credentials.akuity_organization_id))
}

fn answer_organization(context: &RequestContext<'_>, id: &str) -> Reply {
    let by_name = context.request.query.get("idType") == Some("NAME");
    let expected =
        if by_name { &context.variants.akuity.organization_name } else { &context.credentials.akuity_organization_id };
    if id != expected {
        return denied();
    }
    Reply::json(200, format!(r#"{{"organization":{}}}"#, organization(context)))
}

fn answer_logs(context: &mut RequestContext<'_>, id: &str) -> Reply {
    if id != context.credentials.akuity_organization_id || !context.variants.akuity.permission {
        return denied();
    }
    let params = match QueryParams::read(context.request, &context.variants.akuity) {
        Ok(params) => params,
        Err(reason) => return error_reply(400, 3, &reason),
    };
    let selection = select(context, &params);
    let total = selection.len();
    let page = selection.page(params.offset, params.limit);
    let items = join_records(context.store, &page);
    Reply::json(200, format!(r#"{{"items":[{items}],"totalCount":{total}}}"#))
}

fn select(context: &RequestContext<'_>, params: &QueryParams) -> Selection {
    let variants = &context.variants.akuity;
    let oldest = variants.common.retention.0.map(|kept| context.now - kept);
    let window = params.window.not_before(oldest);
    if variants.time_basis == TimeBasis::LastOccurred {
        let records = context.store.visible();
        let matches = |record: &Record| window.contains(record.last_at) && params.matches(&record.raw);
        let mut list: Vec<usize> = (0..records.len()).filter(|index| matches(&records[*index])).collect();
        list.sort_by_key(|index| (records[*index].last_at, records[*index].sequence));
        return Selection::of_list(context.store, list, variants.order);
    }
    if params.is_time_only() {
        return Selection::of(context.store, window, variants.order, None);
    }
    Selection::of(context.store, window, variants.order, Some(&|record: &Record| params.matches(&record.raw)))
}
