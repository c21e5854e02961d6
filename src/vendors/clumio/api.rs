//! Clumio's API: `GET /audit-trails`, page-number paging, a JSON filter with half-open time bounds.
//!
//! ```text
//! ?limit=100&start=2&filter={"start_timestamp":{"$gte":from,"$lt":to}}
//!     --> {"_embedded":{"items":[...]},"_links":{"_next":{"href":"/audit-trails?...&start=3"}},"total_count":5,...}
//! ```
//!
//! Documented facts come from the vendor's REST reference and its official SDKs. Each assumed fact is an option: the order
//! of the list, the largest page, the retention, and the effect of the three entity filters.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::normalizer::{ClumioNormalizer, DedupeKey, EventType, NAME, matches_all, parse_page};
use crate::diagnostic::SettingDiagnostic;
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::units::{Rate, Span};
use crate::vendors::api_error::{self, ApiError, ApiErrorKind};
use crate::vendors::configured::{self, ConfiguredApi};
use crate::vendors::contract::{
    ApiSpec, Auth, BadPage, NormalizerConfig, Page, PageRequest, Paging, RecordOrder, Request, Vendor, VendorSettings,
};
use crate::vendors::page;
use crate::vendors::settings::{self, choice};

/// The control planes and their addresses. The hosts outside the United States carry a country label, so the address
/// cannot be built from the region's name (documented by the vendor's Terraform provider and REST guide).
pub(super) const REGIONS: &[(&str, &str)] = &[
    ("us-west-2", "https://us-west-2.api.clumio.com"),
    ("us-east-1", "https://us-east-1.api.clumio.com"),
    ("ca-central-1", "https://ca-central-1.ca.api.clumio.com"),
    ("eu-central-1", "https://eu-central-1.de.api.clumio.com"),
    ("ap-southeast-2", "https://ap-southeast-2.au.api.clumio.com"),
];

/// The media type that pins version 1 of the endpoint, as both official SDKs send it.
const MEDIA_TYPE: &str = "application/api.clumio.audit-trails=v1+json";

/// The settings of a `clumio` source.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// API token, preferably a service token. Clumio: Settings > Access Management > API Tokens.
    access_token: Secret,
    /// The control plane on which the account was registered (not the AWS region that is backed up): `us-west-2` (the
    /// default), `us-east-1`, `ca-central-1`, `eu-central-1` or `ap-southeast-2`.
    region: Option<String>,
    /// Base URL of the API, without the path `/audit-trails`. Default: the region's.
    base_url: Option<String>,
    /// UUID of the organizational unit to read. Default: the token's own. It becomes the events' `tenant` and part of
    /// their ids.
    organizational_unit: Option<String>,
    /// Collect only events of this S3 asset of a protection group.
    protection_group_s3_asset_id: Option<String>,
    /// Collect only events of this protection group backup.
    parent_protection_group_backup_id: Option<String>,
    /// Collect only events of buckets in this AWS region.
    bucket_region: Option<String>,
    /// How to apply the three filters above, which Clumio's reference does not list for audit trails: `send` them to the
    /// API (default), `match_locally` against the records read, or `ignore` them.
    #[serde(default)]
    undocumented_filters: UndocumentedFilters,
    /// Additional conditions of the API's filter, combined with AND: `{category: {$in: [users, mfa]}}`.
    #[serde(default)]
    extra_filter: serde_json::Map<String, serde_json::Value>,
    /// Value of `event_type`: the record's `action` (default), or `category_action` for both joined by a dot
    /// (`protection.apply`).
    #[serde(default)]
    event_type: EventType,
    /// What records are deduplicated by: `id` (default), or `id+status` if Clumio repeats a record with another status
    /// under the same id.
    #[serde(default)]
    dedupe_key: DedupeKey,
    /// Order in which the API lists records: `newest_first`, `oldest_first` or `unknown` (default, since it is not
    /// documented).
    #[serde(default)]
    order: RecordOrder,
    /// The largest page size of the API; not documented, assumed to be 500.
    max_page_size: Option<u32>,
    /// How far back the API keeps records; assumed to be 90 days, as in the vendor's audit report.
    retention: Option<Span>,
}

choice! {
    /// How to apply filters that the vendor's reference does not list for this endpoint.
    UndocumentedFilters {
        /// Send them.
        Send = "send",
        /// Match the records read against them.
        MatchLocally = "match_locally",
        /// Do not apply them.
        Ignore = "ignore",
    }
}

impl Config {
    /// The three filters that are set, with their names.
    fn undocumented(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("protection_group_s3_asset_id", &self.protection_group_s3_asset_id),
            ("parent_protection_group_backup_id", &self.parent_protection_group_backup_id),
            ("bucket_region", &self.bucket_region),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.as_deref().map(|value| (name, value)))
    }

    fn check_extra_filter(&self, diagnostics: &mut Vec<SettingDiagnostic>) {
        for (field, condition) in &self.extra_filter {
            let key = format!("extra_filter.{field}");
            if field == "start_timestamp" || field == "timestamp" {
                let message = "auditflow sets the time bounds; another condition on the time would lose events";
                settings::invalid(diagnostics, &key, message, "use backfill_start_time and end_time");
            }
            let operators = condition.as_object().filter(|operators| !operators.is_empty());
            if !operators.is_some_and(|operators| operators.keys().all(|operator| operator.starts_with('$'))) {
                let hint = "write an operator: {$in: [value]} or {$eq: value}";
                settings::invalid(diagnostics, &key, "is not a condition", hint);
            }
        }
    }

    /// The conditions after the time bounds, each with a comma before it, as JSON.
    fn filter_tail(&self) -> String {
        let sent = self.undocumented_filters == UndocumentedFilters::Send;
        let undocumented = self.undocumented().filter(|_| sent);
        let equals = undocumented.map(|(name, value)| (name, serde_json::json!({ "$eq": value })));
        let extra = self.extra_filter.iter().map(|(name, condition)| (name.as_str(), condition.clone()));
        equals.chain(extra).map(|(name, condition)| format!(",{}:{condition}", serde_json::Value::from(name))).collect()
    }

    /// What the user must fix.
    fn hint(&self, status: u16) -> Option<&'static str> {
        Some(match status {
            400 if self.undocumented().next().is_some() => {
                "Clumio rejected the request, possibly because of a filter that its reference does not list; \
                 set undocumented_filters to match_locally or ignore"
            }
            400 => "Clumio rejected the request; check extra_filter and page_size",
            401 => {
                "Clumio rejected the token (expired, refreshed or deleted); \
                 create a new one in Clumio under API Tokens and set access_token to it"
            }
            403 => {
                "the token may not read the audit trail, or belongs to an account on another control plane; \
                 give its role the permission to read reports, and check region and organizational_unit"
            }
            404 => "this address has no audit trail; check region, base_url and organizational_unit",
            _ => return None,
        })
    }
}

/// How many records the pages before this one hold, if they are full.
fn records_before(request: &PageRequest<'_>) -> Result<u64, BadPage> {
    let number = page::offset(request.cursor)?;
    Ok(number.saturating_sub(1).saturating_mul(request.page_size.into()))
}

impl VendorSettings for Config {
    fn build(&self) -> Result<Arc<dyn Vendor>, Vec<SettingDiagnostic>> {
        configured::build(self)
    }

    fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        vec![&mut self.access_token]
    }

    /// The filters that are sent although the vendor's reference does not list them.
    fn warnings(&self) -> Vec<SettingDiagnostic> {
        let sent = self.undocumented_filters == UndocumentedFilters::Send;
        let warning = |(name, _): (&str, &str)| SettingDiagnostic {
            key: name.to_owned(),
            message: "Clumio's reference does not list this filter for audit trails".to_owned(),
            hint: "if the API rejects it or returns no events, set undocumented_filters to match_locally or ignore"
                .to_owned(),
        };
        self.undocumented().filter(|_| sent).map(warning).collect()
    }
}

impl ConfiguredApi for Config {
    type Normalizer = ClumioNormalizer;

    fn check(&self, diagnostics: &mut Vec<SettingDiagnostic>) -> String {
        settings::plain_if_given("organizational_unit", self.organizational_unit.as_deref(), diagnostics);
        for (key, value) in self.undocumented() {
            settings::plain_if_given(key, Some(value), diagnostics);
        }
        self.check_extra_filter(diagnostics);
        let region = self.region.as_deref().unwrap_or(REGIONS[0].0);
        let Some((_, standard)) = REGIONS.iter().find(|(name, _)| *name == region) else {
            let known: Vec<&str> = REGIONS.iter().map(|(name, _)| *name).collect();
            diagnostics.push(settings::unknown_word("region", region, &known));
            return String::new();
        };
        settings::checked_base_url(self.base_url.as_deref(), standard, diagnostics)
    }

    fn normalizer_config(&self) -> NormalizerConfig {
        let options = [
            (EventType::OPTION.to_owned(), self.event_type.as_str().to_owned()),
            (DedupeKey::OPTION.to_owned(), self.dedupe_key.as_str().to_owned()),
        ];
        NormalizerConfig { tenant: self.organizational_unit.clone(), options: options.into() }
    }

    /// Documented: 100 requests a second for each organization, of which a tenth is used, and no record older than 90
    /// days in the audit report. Assumed: how late records may appear, page sizes.
    fn spec(&self) -> ApiSpec {
        ApiSpec {
            name: NAME,
            order: self.order,
            paging: Paging::PageNumber,
            time_granularity: Duration::from_micros(1),
            has_ids: true,
            overlap: Duration::from_secs(15 * 60),
            delay: Duration::from_secs(60),
            poll_interval: Duration::from_secs(60),
            timeout: Duration::from_secs(60),
            page_size: 100,
            max_page_size: self.max_page_size.unwrap_or(500).max(1),
            rate_limit: vec![Rate { requests: 10, per: Duration::from_secs(1) }],
            // Assumed: backoff from one second on.
            default_rate_limit_wait: Duration::from_secs(1),
            retention: Some(self.retention.map_or(Duration::from_secs(90 * 86_400), |span| span.0)),
            earliest: Timestamp::from_secs(1_483_228_800), // 2017-01-01, the year in which the company was founded
            slice: Duration::from_secs(86_400),
            max_window_records: 100_000, // 1,000 pages
            recheck: None,
        }
    }

    /// The upper bound is rounded up to the next microsecond, the finest that is sent, so that it leaves nothing out.
    fn request(&self, page: &PageRequest<'_>) -> Request {
        let (from, to) =
            (page.range.from.with_digits(6), page.range.to.ceil_to(Duration::from_micros(1)).with_digits(6));
        let filter = format!(r#"{{"start_timestamp":{{"$gte":"{from}","$lt":"{to}"}}{}}}"#, self.filter_tail());
        Request {
            path: "/audit-trails".to_owned(),
            query: vec![
                ("limit".to_owned(), page.page_size.to_string()),
                ("start".to_owned(), page.cursor.unwrap_or("1").to_owned()),
                ("filter".to_owned(), filter),
            ],
            headers: vec![
                ("Accept", MEDIA_TYPE.to_owned()),
                // Sent empty when not configured, as the official SDKs do: it then means the token's own unit.
                ("X-Clumio-OrganizationalUnit-Context", self.organizational_unit.clone().unwrap_or_default()),
            ],
            secret_headers: Vec::new(),
            auth: Auth::Bearer(self.access_token.clone()),
        }
    }

    fn parse_page<'a>(&self, body: &'a str, request: &PageRequest<'_>) -> Result<Page<'a>, BadPage> {
        let mut page = parse_page(body, records_before(request)?)?;
        if self.undocumented_filters == UndocumentedFilters::MatchLocally {
            let wanted: Vec<_> = self.undocumented().collect();
            page.records.retain(|raw| matches_all(raw, &wanted));
            page.total = page.total.filter(|_| wanted.is_empty());
        }
        Ok(page)
    }

    /// Decides by the HTTP status alone: the body's `error_code` is an application code (402 inside an HTTP 401).
    fn classify_error(&self, status: u16, body: &str, has_cursor: bool) -> ApiError {
        let mut error = api_error::by_status(NAME, status, body, has_cursor);
        if status == 409 {
            error.kind = ApiErrorKind::Permanent;
        }
        error.with_hint(self.hint(status))
    }
}
