//! Merge's API (merge.dev): the Unified API's audit trail, `GET {base}/{category}/v1/audit-trail`.
//!
//! ```text
//! request: start_date, end_date, page_size, cursor --> {"next": cursor|null, "results": [AuditLogEvent ...]}
//! ```
//!
//! The cursor is an opaque value that is sent back as `cursor`, never a URL. The order of the list and whether the bounds
//! are inclusive are not documented, so nothing here depends on them. Two other Merge products (Agent Handler, Gateway)
//! have similar endpoints with other hosts and shapes; they are not supported.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::normalizer::{MergeNormalizer, NAME, records_of};
use crate::diagnostic::SettingDiagnostic;
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::units::Rate;
use crate::vendors::api_error::{self, ApiError, ApiErrorKind};
use crate::vendors::configured::{self, ConfiguredApi};
use crate::vendors::contract::{
    ApiSpec, Auth, BadPage, NormalizerConfig, Page, PageRequest, Paging, RecordOrder, Request, Vendor, VendorSettings,
};
use crate::vendors::page;
use crate::vendors::{record, settings};

/// The settings of a `merge` source.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// API key: a production key of an organization on the Enterprise plan.
    pub api_key: Secret,
    /// Region of the organization: `us` (default), `eu`, `ap` or `sandbox`. Each region is a separate organization.
    #[serde(default)]
    pub region: Region,
    /// API category whose path is requested. Every category lists the same organization-wide events, so one is enough;
    /// choose one that the organization has enabled. Default: `hris`.
    #[serde(default)]
    pub category: ApiCategory,
    /// Collect only events of this type, for example `CHANGED_SCOPES`. One value.
    pub event_type: Option<String>,
    /// Collect only events of the user who had this email address at the time.
    pub user_email: Option<String>,
    /// Token of a linked account, sent as `X-Account-Token`. According to the documentation the audit trail does not need
    /// it.
    pub account_token: Option<Secret>,
    /// Send the end of the time range with each request. Default: true. Without it each scan reads up to the present, so
    /// backfill slices are ten years long and no window is split.
    #[serde(default = "yes")]
    pub send_end_date: bool,
    /// Report `outcome: success` for every event. Default: false (`unknown`), since Merge's records have no result field;
    /// that Merge records only completed actions is an assumption.
    #[serde(default)]
    pub assume_success: bool,
    /// The Merge organization's id or name: the value of `tenant` and part of the event ids. Changing it changes the ids.
    pub tenant: Option<String>,
    /// Base URL of the API, for example `https://api.merge.dev/api`. Default: the region's.
    pub base_url: Option<String>,
}

const fn yes() -> bool {
    true
}

/// Merge's regions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Region {
    /// `https://api.merge.dev/api`
    #[default]
    Us,
    /// `https://api-eu.merge.dev/api`
    Eu,
    /// `https://api-ap.merge.dev/api`
    Ap,
    /// `https://api-sandbox.merge.dev/api`
    Sandbox,
}

impl Region {
    /// The documented base URL.
    const fn base_url(self) -> &'static str {
        match self {
            Self::Us => "https://api.merge.dev/api",
            Self::Eu => "https://api-eu.merge.dev/api",
            Self::Ap => "https://api-ap.merge.dev/api",
            Self::Sandbox => "https://api-sandbox.merge.dev/api",
        }
    }
}

/// The API categories that have an audit trail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApiCategory {
    /// Human resources.
    #[default]
    Hris,
    /// Applicant tracking.
    Ats,
    /// Accounting.
    Accounting,
    /// Customer relations.
    Crm,
    /// Ticketing.
    Ticketing,
    /// File storage.
    Filestorage,
    /// Knowledge bases.
    Knowledgebase,
    /// Chat.
    Chat,
    /// Calendars.
    Calendar,
    /// E-mail.
    Email,
    /// Marketing automation; assumed to have an audit trail.
    Mktg,
}

impl ApiCategory {
    const fn path(self) -> &'static str {
        match self {
            Self::Hris => "/hris/v1/audit-trail",
            Self::Ats => "/ats/v1/audit-trail",
            Self::Accounting => "/accounting/v1/audit-trail",
            Self::Crm => "/crm/v1/audit-trail",
            Self::Ticketing => "/ticketing/v1/audit-trail",
            Self::Filestorage => "/filestorage/v1/audit-trail",
            Self::Knowledgebase => "/knowledgebase/v1/audit-trail",
            Self::Chat => "/chat/v1/audit-trail",
            Self::Calendar => "/calendar/v1/audit-trail",
            Self::Email => "/email/v1/audit-trail",
            Self::Mktg => "/mktg/v1/audit-trail",
        }
    }
}

impl VendorSettings for Config {
    fn build(&self) -> Result<Arc<dyn Vendor>, Vec<SettingDiagnostic>> {
        configured::build(self)
    }

    fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        std::iter::once(&mut self.api_key).chain(self.account_token.as_mut()).collect()
    }
}

impl ConfiguredApi for Config {
    type Normalizer = MergeNormalizer;

    fn check(&self, diagnostics: &mut Vec<SettingDiagnostic>) -> String {
        settings::not_blank_if_given("event_type", self.event_type.as_deref(), diagnostics);
        settings::not_blank_if_given("user_email", self.user_email.as_deref(), diagnostics);
        settings::not_blank_if_given("tenant", self.tenant.as_deref(), diagnostics);
        if self.event_type.as_ref().is_some_and(|value| value.contains(',')) {
            let hint = "set one event type, or remove it and filter in the pipeline";
            settings::invalid(diagnostics, "event_type", "is a list, which Merge does not accept", hint);
        }
        settings::checked_base_url(self.base_url.as_deref(), self.region.base_url(), diagnostics)
    }

    fn normalizer_config(&self) -> NormalizerConfig {
        let mut config = NormalizerConfig { tenant: self.tenant.clone(), ..NormalizerConfig::default() };
        if self.assume_success {
            config.options.insert(record::ASSUME_SUCCESS.name.to_owned(), "true".to_owned());
        }
        config
    }

    fn spec(&self) -> ApiSpec {
        if self.send_end_date { spec() } else { spec().without_end() }
    }

    fn request(&self, page: &PageRequest<'_>) -> Request {
        let mut query = vec![("page_size", page.page_size.to_string()), ("start_date", page.range.from.to_string())];
        if self.send_end_date {
            query.push(("end_date", page.range.to.to_string()));
        }
        let filters = [("event_type", &self.event_type), ("user_email", &self.user_email)];
        for (name, value) in filters {
            query.extend(value.clone().map(|value| (name, value)));
        }
        query.extend(page.cursor.map(|cursor| ("cursor", cursor.to_owned())));
        let query = query.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let request = Request::json(self.category.path(), query, Auth::Bearer(self.api_key.clone()));
        let secret_headers = self.account_token.iter().map(|token| ("x-account-token", token.clone())).collect();
        Request { secret_headers, ..request }
    }

    fn parse_page<'a>(&self, body: &'a str, _page: &PageRequest<'_>) -> Result<Page<'a>, BadPage> {
        let envelope = page::envelope(NAME, body)?;
        let records = records_of(&envelope, body)?;
        let next = envelope.next("next")?.map(Cow::into_owned);
        Ok(Page { records, next, ..Page::default() })
    }

    fn classify_error(&self, status: u16, body: &str, has_cursor: bool) -> ApiError {
        let error = api_error::by_status(NAME, status, body, has_cursor);
        let detail = detail(body);
        if status == 404 && detail.trim_end_matches('.').eq_ignore_ascii_case("invalid cursor") {
            let hint = "the window is rescanned from its first page".to_owned();
            return ApiError { kind: ApiErrorKind::CursorExpired, hint, ..error };
        }
        error.with_hint(hint(status, &detail))
    }
}

fn spec() -> ApiSpec {
    ApiSpec {
        name: NAME,
        order: RecordOrder::Unknown,
        paging: Paging::Cursor,
        // `created_at` has microseconds; the filters are assumed to accept them.
        time_granularity: Duration::from_micros(1),
        has_ids: true,
        overlap: Duration::from_secs(10 * 60),
        delay: Duration::from_secs(5),
        poll_interval: Duration::from_secs(60),
        timeout: Duration::from_secs(60),
        page_size: 100,
        // Documented. Larger sizes are clamped silently, so only `next` marks the end of a scan, never a short page.
        max_page_size: 100,
        // Documented for the Enterprise plan: 600 a minute. Far less is needed, and more than 20 failing requests in
        // 10 seconds would block every Merge client behind the same address.
        rate_limit: vec![Rate { requests: 1, per: Duration::from_secs(1) }],
        // Documented: the retry example waits this long.
        default_rate_limit_wait: Duration::from_secs(60),
        // Not documented.
        retention: None,
        // Merge's API opened in 2021: 2021-01-01T00:00:00Z.
        earliest: Timestamp::from_secs(1_609_459_200),
        slice: Duration::from_secs(24 * 3_600),
        max_window_records: 10_000,
        recheck: None,
    }
}

/// The text of an error, `{"detail": "..."}`; empty if the body is something else.
fn detail(body: &str) -> Cow<'_, str> {
    #[derive(Deserialize)]
    struct ErrorBody<'a> {
        #[serde(borrow)]
        detail: Cow<'a, str>,
    }
    serde_json::from_str::<ErrorBody<'_>>(body).map(|error| error.detail).unwrap_or_default()
}

fn hint(status: u16, detail: &str) -> Option<&'static str> {
    let hint = match status {
        400 => "Merge rejected the request; check event_type, user_email and the time settings of the source",
        401 if detail.contains("X-Account-Token") => {
            "this address needs a linked account's token; set account_token, or check base_url and category"
        }
        401 => "check api_key and region; api_key must be a production API key created in that region",
        403 => "use an API key that may read the audit trail; the audit trail needs Merge's Enterprise plan",
        404 => "check category (the organization must have enabled it), region and base_url",
        405 => "set base_url to the address of Merge's Unified API",
        _ => return None,
    };
    Some(hint)
}
