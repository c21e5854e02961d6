//! Merge (merge.dev): the Unified API's audit trail, `GET {base}/{category}/v1/audit-trail`.
//!
//! ```text
//! request: start_date, end_date, page_size, cursor --> {"next": cursor|null, "results": [AuditLogEvent ...]}
//! ```
//!
//! The cursor is an opaque value that goes back as `cursor`, never an address. Each record has a UUID. The direction of
//! the order and whether the bounds are inclusive are not documented, so nothing here depends on them. `reader` knows
//! and normalizes the records, `mapping` is the mapping of Merge's event types.
//!
//! Two other Merge products (Agent Handler, Gateway) have look-alike endpoints with other hosts and shapes; this is
//! neither.

mod mapping;
mod normalizer;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    ApiError, ApiErrorKind, ApiSpec, Auth, BadPage, NormalizerConfig, Page, PageRequest, RecordOrder, Request, Vendor,
    api_error, page, record, records_by_reader, settings,
};
use crate::diagnostic::SettingDiagnostic;
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::units::Rate;

pub use normalizer::MergeNormalizer;

const NAME: &str = "merge";

/// The settings of a `merge` source.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The Merge API key: a production key of an organization on the Enterprise plan.
    pub api_key: Secret,
    /// Where the organization lives: `us` (default), `eu`, `ap` or `sandbox`. Each region is an organization of its own.
    #[serde(default)]
    pub region: Region,
    /// The API category whose path is asked. Every category lists the same organization-wide events, so one is enough;
    /// choose one that the organization has enabled. Default: `hris`.
    #[serde(default)]
    pub category: ApiCategory,
    /// Collect only this event type, for example `CHANGED_SCOPES`. One value.
    pub event_type: Option<String>,
    /// Collect only events of the user who had this e-mail address when they happened.
    pub user_email: Option<String>,
    /// A linked account's token, sent as `X-Account-Token`. Not needed for the audit trail as documented.
    pub account_token: Option<Secret>,
    /// Send the end of the time span with each request. Default: true. Without it each walk reads up to the present, so
    /// the past is read in slices of ten years and no window is cut.
    #[serde(default = "yes")]
    pub send_end_date: bool,
    /// Report `outcome: success` for every event. Default: false (`unknown`): Merge records have no result, and that only
    /// completed actions are recorded is an assumption.
    #[serde(default)]
    pub assume_success: bool,
    /// The Merge organization's id or name, put into `tenant` and into the event ids. Changing it changes the ids.
    pub tenant: Option<String>,
    /// Another address of the API, for example `https://api.merge.dev/api`, in place of the region's.
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
    /// Marketing automation; that it has an audit trail is assumed.
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

impl Config {
    /// Checks the settings and builds the vendor.
    ///
    /// # Errors
    /// Every setting that cannot be right.
    pub fn build(&self) -> Result<Arc<dyn Vendor>, Vec<SettingDiagnostic>> {
        let mut problems = Vec::new();
        settings::not_blank_if_given("event_type", self.event_type.as_deref(), &mut problems);
        settings::not_blank_if_given("user_email", self.user_email.as_deref(), &mut problems);
        settings::not_blank_if_given("tenant", self.tenant.as_deref(), &mut problems);
        if self.event_type.as_ref().is_some_and(|value| value.contains(',')) {
            let hint = "give one event type, or leave it out and filter in the pipeline";
            settings::problem(&mut problems, "event_type", "is a list, which Merge does not take", hint);
        }
        let base_url = settings::base_url(self.base_url.as_deref(), self.region.base_url());
        let base_url = settings::value_or_problem(base_url, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let reader = MergeNormalizer::new(&self.normalizer_config());
        Ok(Arc::new(Merge { config: self.clone(), base_url, spec: self.spec(), reader }))
    }

    /// Every secret among the settings.
    pub fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        std::iter::once(&mut self.api_key).chain(self.account_token.as_mut()).collect()
    }

    fn normalizer_config(&self) -> NormalizerConfig {
        let mut normalizer_config = NormalizerConfig { tenant: self.tenant.clone(), ..NormalizerConfig::default() };
        if self.assume_success {
            normalizer_config.options.insert(record::ASSUME_SUCCESS.name.to_owned(), "true".to_owned());
        }
        normalizer_config
    }

    fn spec(&self) -> ApiSpec {
        if self.send_end_date { spec() } else { spec().without_end() }
    }
}

fn spec() -> ApiSpec {
    ApiSpec {
        name: NAME,
        order: RecordOrder::Unknown,
        // `created_at` has microseconds; that the filters take them too is assumed.
        time_granularity: Duration::from_micros(1),
        has_ids: true,
        overlap: Duration::from_secs(10 * 60),
        delay: Duration::from_secs(5),
        poll_interval: Duration::from_secs(60),
        timeout: Duration::from_secs(60),
        page_size: 100,
        // Documented. More is clamped without a word, so the end of a walk is told by `next`, never by a short page.
        max_page_size: 100,
        // Documented for the Enterprise plan are 600 a minute. Far less is needed, and more than 20 failing requests in
        // 10 seconds would shut out every Merge client behind the same address.
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

/// A configured Merge organization.
#[derive(Debug)]
struct Merge {
    config: Config,
    base_url: String,
    spec: ApiSpec,
    reader: MergeNormalizer,
}

records_by_reader!(Merge);

impl Vendor for Merge {
    fn spec(&self) -> &ApiSpec {
        &self.spec
    }

    fn base_url(&self) -> &str {
        &self.base_url
    }

    fn normalizer_config(&self) -> NormalizerConfig {
        self.config.normalizer_config()
    }

    fn request(&self, page: &PageRequest<'_>) -> Request {
        let mut query = vec![("page_size", page.page_size.to_string()), ("start_date", page.range.from.to_string())];
        if self.config.send_end_date {
            query.push(("end_date", page.range.to.to_string()));
        }
        let filters = [("event_type", &self.config.event_type), ("user_email", &self.config.user_email)];
        for (name, value) in filters {
            query.extend(value.clone().map(|value| (name, value)));
        }
        query.extend(page.cursor.map(|cursor| ("cursor", cursor.to_owned())));
        Request {
            path: self.config.category.path().to_owned(),
            query: query.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            headers: vec![("accept", "application/json".to_owned())],
            secret_headers: self
                .config
                .account_token
                .clone()
                .map(|token| ("x-account-token", token))
                .into_iter()
                .collect(),
            auth: Auth::Bearer(self.config.api_key.clone()),
        }
    }

    fn read<'a>(&self, body: &'a str, _page: &PageRequest<'_>) -> Result<Page<'a>, BadPage> {
        let envelope: Envelope<'a> = page::envelope(NAME, body)?;
        let records = envelope.records().ok_or_else(|| page::no_page(NAME, body))?;
        let next = envelope.next.flatten().filter(|cursor| !cursor.is_empty()).map(Cow::into_owned);
        Ok(Page { records, next, total: None })
    }

    fn classify_error(&self, status: u16, body: &str) -> ApiError {
        let error = api_error::by_status(NAME, status, body);
        let detail = detail(body);
        if status == 404 && detail.trim_end_matches('.').eq_ignore_ascii_case("invalid cursor") {
            let hint = "the window is walked again from its first page; nothing is lost".to_owned();
            return ApiError { kind: ApiErrorKind::CursorExpired, hint, ..error };
        }
        if error.kind != ApiErrorKind::Permanent {
            return error;
        }
        match hint(status, &detail) {
            Some(hint) => ApiError { hint: hint.to_owned(), ..error },
            None => error,
        }
    }
}

/// `PaginatedAuditLogEventList`. Each field is nullable or may be absent, so one of the keys must be there at least.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "page::present")]
    next: Option<Option<Cow<'a, str>>>,
    #[serde(borrow, default, deserialize_with = "page::present")]
    previous: Option<Option<&'a RawValue>>,
    #[serde(borrow, default, deserialize_with = "page::present")]
    results: Option<Option<Vec<&'a RawValue>>>,
}

impl<'a> Envelope<'a> {
    /// The page's records; `None` if this is no page.
    fn records(&self) -> Option<Vec<&'a str>> {
        if self.next.is_none() && self.previous.is_none() && self.results.is_none() {
            return None;
        }
        Some(self.results.iter().flatten().flat_map(|list| page::records(list)).collect())
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
        400 => "Merge refuses the request; check event_type, user_email and the time settings of the source",
        401 if detail.contains("X-Account-Token") => {
            "Merge wants a linked account's token for this address; set account_token, or check base_url and category"
        }
        401 => "check api_key: a production API key of the organization, and the region that it was made in",
        403 => "the audit trail needs Merge's Enterprise plan and an API key that may read it",
        404 => "check category (one that the organization has enabled), region and base_url",
        405 => "base_url does not lead to Merge's Unified API; correct it",
        _ => return None,
    };
    Some(hint)
}

#[cfg(test)]
mod tests;
