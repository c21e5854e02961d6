//! One request, to see whether a source can be reached with its credentials. Nothing is kept of the answer.

use std::time::Duration;

use super::{Limits, SourceSettings, Transport};
use crate::time::{TimeRange, Timestamp};
use crate::vendors::{ApiError, ApiErrorKind, PageRequest, Vendor};

/// How much of the recent past is asked for.
const LOOKBACK: Duration = Duration::from_secs(3_600);

/// Asks the vendor for one page. Being asked to slow down counts as being let in.
///
/// # Errors
/// What the vendor, or the way to it, has against the request.
pub async fn probe(
    vendor: &dyn Vendor,
    settings: &SourceSettings,
    transport: &dyn Transport,
    now: Timestamp,
) -> Result<(), ApiError> {
    let spec = &settings.spec;
    let range = TimeRange { from: now - LOOKBACK, to: now };
    let page = PageRequest { range, cursor: None, page_size: spec.page_size };
    let limits = Limits { timeout: spec.timeout, max_body_bytes: settings.max_body_bytes };
    let answer = transport.send(&vendor.request(&page), limits).await.map_err(|fault| fault.explained(spec.name))?;
    if !(200..300).contains(&answer.status) {
        let fault = vendor.classify_error(answer.status, &answer.body);
        return if fault.kind == ApiErrorKind::RateLimited { Ok(()) } else { Err(fault) };
    }
    vendor.parse_page(&answer.body, &page).map(|_| ()).map_err(|bad| ApiError {
        kind: ApiErrorKind::Transient,
        message: format!("{} sent a page that cannot be read: {bad}", spec.name),
        hint: "check base_url: something else may answer there".to_owned(),
    })
}
