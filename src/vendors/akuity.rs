//! Akuity: the audit log of an organization, `GET {base}/api/v1/organizations/{id}/audit-logs`.
//!
//! ```text
//! request: filters.startTime, .endTime, .limit, .offset --> {"items": [AuditLog ...], "totalCount": n}
//! ```
//!
//! A record has no id, and it changes: repetitions of an event are folded into the record of the first one, whose
//! `count` and `lastOccurredTimestamp` grow. So a record is known by what it says besides those two, they make its
//! version, and a recheck looks for grown records over the last day. `reader` knows and normalizes the records,
//! `go_time` reads their times, `words` is the mapping of Akuity's words, `query` the user's own filters.

mod go_time;
mod mapping;
mod normalizer;
mod query;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use self::query::QueryValues;
use super::{
    ApiError, ApiErrorKind, ApiSpec, Auth, BadPage, NormalizerConfig, Page, PageRequest, Recheck, RecordOrder, Request,
    Vendor, api_error, page, records_by_reader, settings,
};
use crate::diagnostic::SettingDiagnostic;
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::units::{Rate, Span};

pub use normalizer::{AkuityNormalizer, CollapsedUpdates};

const NAME: &str = "akuity";

/// The settings of an `akuity` source.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The organization's id (not its name), as in the address of its pages. It is a part of every event id.
    pub organization_id: String,
    /// The id of an organization API key whose role may read audit logs (Owner, or a custom role with *Audit Log: Get*).
    pub api_key_id: String,
    /// The secret of that key.
    pub api_key_secret: Secret,
    /// Where the organization lives: `us` (default) or `eu`. For a self-hosted platform set `base_url`.
    #[serde(default)]
    pub region: Region,
    /// What to do when a record that was delivered grows (`count`, `lastOccurredTimestamp`): `emit` (default) delivers it
    /// again with the same id and a higher version, `ignore` does not.
    #[serde(default)]
    pub collapsed_updates: CollapsedUpdates,
    /// How the time filters are written: `rfc3339` (default), `rfc3339_seconds` (without fractions) or `epoch_millis`.
    /// The API documents only that they are text.
    #[serde(default)]
    pub time_filter_format: TimeFilterFormat,
    /// Further query parameters, sent as they are: for example `filters.actorType: [user, api_key]`.
    #[serde(default)]
    pub extra_query: BTreeMap<String, QueryValues>,
    /// The largest page that the API gives. Default: 1000, which is assumed.
    pub max_page_size: Option<u32>,
    /// How far back the platform keeps records, for `backfill_start_time: earliest`. Unset: begin in 2023, when the
    /// audit log was introduced. Hosted plans keep 6 or 12 months.
    pub retention: Option<Span>,
    /// Another address of the API, for example that of a self-hosted platform, in place of the region's.
    pub base_url: Option<String>,
}

/// Akuity's regions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Region {
    /// `https://akuity.cloud`
    #[default]
    Us,
    /// `https://eu.akuity.cloud`
    Eu,
}

impl Region {
    /// The documented base URL.
    const fn base_url(self) -> &'static str {
        match self {
            Self::Us => "https://akuity.cloud",
            Self::Eu => "https://eu.akuity.cloud",
        }
    }
}

/// How the time filters are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeFilterFormat {
    /// RFC 3339 in UTC, with microseconds where needed.
    #[default]
    Rfc3339,
    /// RFC 3339 in UTC, whole seconds.
    Rfc3339Seconds,
    /// Milliseconds since 1970.
    EpochMillis,
}

impl TimeFilterFormat {
    const fn step(self) -> Duration {
        match self {
            Self::Rfc3339 => Duration::from_micros(1),
            Self::Rfc3339Seconds => Duration::from_secs(1),
            Self::EpochMillis => Duration::from_millis(1),
        }
    }

    fn write(self, at: Timestamp) -> String {
        match self {
            Self::Rfc3339 | Self::Rfc3339Seconds => at.to_string(),
            Self::EpochMillis => at.as_millis().to_string(),
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
        let organization_hint = "take it from GET /api/v1/organizations, field `id`";
        settings::not_blank("organization_id", &self.organization_id, organization_hint, &mut problems);
        settings::not_blank("api_key_id", &self.api_key_id, "give the id of an organization API key", &mut problems);
        settings::at_least_one("max_page_size", self.max_page_size, &mut problems);
        query::check(&self.extra_query, &mut problems);
        let base_url = settings::base_url(self.base_url.as_deref(), self.region.base_url());
        let base_url = settings::value_or_problem(base_url, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let path = format!("/api/v1/organizations/{}/audit-logs", settings::path_segment(&self.organization_id));
        let reader = AkuityNormalizer::new(&self.normalizer_config());
        Ok(Arc::new(Akuity { config: self.clone(), base_url, path, spec: self.spec(), reader }))
    }

    /// Every secret among the settings.
    pub fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        vec![&mut self.api_key_secret]
    }

    fn normalizer_config(&self) -> NormalizerConfig {
        let mut normalizer_config =
            NormalizerConfig { tenant: Some(self.organization_id.clone()), ..NormalizerConfig::default() };
        if self.collapsed_updates == CollapsedUpdates::Ignore {
            let (name, word) = (CollapsedUpdates::OPTION.name, self.collapsed_updates.as_str());
            normalizer_config.options.insert(name.to_owned(), word.to_owned());
        }
        normalizer_config
    }

    fn spec(&self) -> ApiSpec {
        let max_page_size = self.max_page_size.unwrap_or(1_000);
        ApiSpec {
            name: NAME,
            // Not documented, and there is no sort parameter.
            order: RecordOrder::Unknown,
            time_granularity: self.time_filter_format.step(),
            has_ids: false,
            // Records come from agents and clusters too, and may lag by minutes.
            overlap: Duration::from_secs(15 * 60),
            delay: Duration::from_secs(10),
            poll_interval: Duration::from_secs(60),
            timeout: Duration::from_secs(60),
            page_size: 100.min(max_page_size),
            max_page_size,
            // No limit is documented; this is gentle.
            rate_limit: vec![Rate { requests: 2, per: Duration::from_secs(1) }],
            // Assumed: back-off from a second on.
            default_rate_limit_wait: Duration::from_secs(1),
            retention: self.retention.map(|span| span.0),
            // The audit log was introduced in January 2023: 2023-01-01T00:00:00Z.
            earliest: Timestamp::from_secs(1_672_531_200),
            slice: Duration::from_secs(24 * 3_600),
            max_window_records: 10_000,
            recheck: Some(Recheck {
                interval: Duration::from_secs(15 * 60),
                lookback: Duration::from_secs(24 * 3_600),
            }),
        }
    }
}

/// A configured Akuity organization.
#[derive(Debug)]
struct Akuity {
    config: Config,
    base_url: String,
    path: String,
    spec: ApiSpec,
    reader: AkuityNormalizer,
}

records_by_reader!(Akuity);

impl Vendor for Akuity {
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
        let format = self.config.time_filter_format;
        let own = [
            ("filters.startTime", format.write(page.range.from.floor_to(format.step()))),
            ("filters.endTime", format.write(page.range.to.ceil_to(format.step()))),
            ("filters.limit", page.page_size.to_string()),
            ("filters.offset", page.cursor.unwrap_or("0").to_owned()),
        ];
        let mut query: Vec<(String, String)> = own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        query.extend(query::pairs(&self.config.extra_query));
        Request {
            path: self.path.clone(),
            query,
            headers: vec![("accept", "application/json".to_owned())],
            secret_headers: Vec::new(),
            auth: Auth::Basic {
                user: self.config.api_key_id.trim().to_owned(),
                password: self.config.api_key_secret.clone(),
            },
        }
    }

    fn read<'a>(&self, body: &'a str, page: &PageRequest<'_>) -> Result<Page<'a>, BadPage> {
        let envelope: Envelope<'a> = page::envelope(NAME, body)?;
        let records = envelope.records().ok_or_else(|| page::no_page(NAME, body))?;
        let next = page::next_offset(page.cursor, records.len(), envelope.total_count)?;
        Ok(Page { records, next, total: envelope.total_count })
    }

    fn classify_error(&self, status: u16, body: &str) -> ApiError {
        let error = api_error::by_status(NAME, status, body);
        if error.kind != ApiErrorKind::Permanent {
            return error;
        }
        match hint(status) {
            Some(hint) => ApiError { hint: hint.to_owned(), ..error },
            None => error,
        }
    }
}

/// `GetAuditLogsResponse`. The API writes empty fields out, so one of the keys must be there at least.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "page::present")]
    items: Option<Option<Vec<&'a RawValue>>>,
    #[serde(default, rename = "totalCount")]
    total_count: Option<u64>,
}

impl<'a> Envelope<'a> {
    /// The page's records; `None` if this is no page.
    fn records(&self) -> Option<Vec<&'a str>> {
        if self.items.is_none() && self.total_count.is_none() {
            return None;
        }
        Some(self.items.iter().flatten().flat_map(|list| page::records(list)).collect())
    }
}

/// What to mend. The status tells as much as the gRPC code in the body: 400 is code 3, 9 or 11, 401 is 16, 403 is 7,
/// 404 is 5, 501 is 12.
const fn hint(status: u16) -> Option<&'static str> {
    match status {
        400 => Some("Akuity refuses a parameter; check extra_query, time_filter_format and max_page_size"),
        401 => Some("check api_key_id and api_key_secret: the key may be wrong, expired, revoked or of another region"),
        403 => Some(
            "the API key's role needs the permission *Audit Log: Get* (Owner has it), the key must be one of the \
             organization and not of a workspace, and organization_id must be the id (not the name) of that organization",
        ),
        404 => Some("there is no audit log at this address; check organization_id and base_url"),
        501 => Some("this platform does not offer audit logs; check base_url and the platform's version"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
