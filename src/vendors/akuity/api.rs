//! Akuity's API: the audit log of an organization, `GET {base}/api/v1/organizations/{id}/audit-logs`.
//!
//! ```text
//! request: filters.startTime, .endTime, .limit, .offset --> {"items": [AuditLog ...], "totalCount": n}
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess};

use super::normalizer::{AkuityNormalizer, CollapsedUpdates, NAME, TOTAL, records_of};
use crate::diagnostic::SettingDiagnostic;
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::units::{Rate, Span};
use crate::vendors::api_error::{self, ApiError};
use crate::vendors::configured::{self, ConfiguredApi};
use crate::vendors::contract::{
    ApiSpec, Auth, BadPage, NormalizerConfig, Page, PageRequest, Paging, Recheck, RecordOrder, Request, Vendor,
    VendorSettings,
};
use crate::vendors::page;
use crate::vendors::settings;

/// The settings of an `akuity` source.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The organization's id (not its name), as in the URL of its pages. It is part of every event id.
    pub organization_id: String,
    /// The id of an organization API key whose role may read audit logs (Owner, or a custom role with *Audit Log: Get*).
    pub api_key_id: String,
    /// The secret of that key.
    pub api_key_secret: Secret,
    /// Region of the organization: `us` (default) or `eu`. For a self-hosted platform set `base_url`.
    #[serde(default)]
    pub region: Region,
    /// What to do when a delivered record grows (`count`, `lastOccurredTimestamp`): `emit` (default) delivers it again
    /// with the same id and a higher version, `ignore` does not.
    #[serde(default)]
    pub collapsed_updates: CollapsedUpdates,
    /// Format of the time filters: `rfc3339` (default), `rfc3339_seconds` (without fractions) or `epoch_millis`. The
    /// API documents only that they are strings.
    #[serde(default)]
    pub time_filter_format: TimeFilterFormat,
    /// Additional query parameters, sent unchanged; for example `filters.actorType: [user, api_key]`.
    #[serde(default)]
    pub extra_query: BTreeMap<String, QueryValues>,
    /// The largest page size of the API. Default: 1000 (assumed).
    pub max_page_size: Option<u32>,
    /// How far back the platform keeps records, for `backfill_start_time: earliest`. Default: since 2023, when the audit
    /// log was introduced. Hosted plans keep 6 or 12 months.
    pub retention: Option<Span>,
    /// Base URL of the API, for example of a self-hosted platform. Default: the region's.
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

/// The format of the time filters.
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

impl VendorSettings for Config {
    fn build(&self) -> Result<Arc<dyn Vendor>, Vec<SettingDiagnostic>> {
        configured::build(self)
    }

    fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        vec![&mut self.api_key_secret]
    }
}

impl ConfiguredApi for Config {
    type Normalizer = AkuityNormalizer;

    fn check(&self, diagnostics: &mut Vec<SettingDiagnostic>) -> String {
        let organization_hint = "copy `id` from GET /api/v1/organizations";
        settings::not_blank("organization_id", &self.organization_id, organization_hint, diagnostics);
        settings::not_blank("api_key_id", &self.api_key_id, "set it to the id of an organization API key", diagnostics);
        settings::at_least_one("max_page_size", self.max_page_size, diagnostics);
        check_extra_query(&self.extra_query, diagnostics);
        settings::checked_base_url(self.base_url.as_deref(), self.region.base_url(), diagnostics)
    }

    fn normalizer_config(&self) -> NormalizerConfig {
        let mut config = NormalizerConfig { tenant: Some(self.organization_id.clone()), ..NormalizerConfig::default() };
        if self.collapsed_updates == CollapsedUpdates::Ignore {
            let (name, word) = (CollapsedUpdates::OPTION.name, self.collapsed_updates.as_str());
            config.options.insert(name.to_owned(), word.to_owned());
        }
        config
    }

    fn spec(&self) -> ApiSpec {
        let max_page_size = self.max_page_size.unwrap_or(1_000);
        ApiSpec {
            name: NAME,
            // Not documented, and there is no sort parameter.
            order: RecordOrder::Unknown,
            paging: Paging::Offset,
            time_granularity: self.time_filter_format.step(),
            has_ids: false,
            // Records come from agents and clusters too, and may lag by minutes.
            overlap: Duration::from_secs(15 * 60),
            delay: Duration::from_secs(10),
            poll_interval: Duration::from_secs(60),
            timeout: Duration::from_secs(60),
            page_size: 100.min(max_page_size),
            max_page_size,
            // No limit is documented; this is conservative.
            rate_limit: vec![Rate { requests: 2, per: Duration::from_secs(1) }],
            // Assumed: backoff from one second on.
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

    fn request(&self, page: &PageRequest<'_>) -> Request {
        let format = self.time_filter_format;
        let own = [
            ("filters.startTime", format.write(page.range.from.floor_to(format.step()))),
            ("filters.endTime", format.write(page.range.to.ceil_to(format.step()))),
            ("filters.limit", page.page_size.to_string()),
            ("filters.offset", page.cursor.unwrap_or("0").to_owned()),
        ];
        let mut query: Vec<(String, String)> = own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        query.extend(extra_pairs(&self.extra_query));
        let path = format!("/api/v1/organizations/{}/audit-logs", settings::path_segment(&self.organization_id));
        let user = self.api_key_id.trim().to_owned();
        Request::json(path, query, Auth::Basic { user, password: self.api_key_secret.clone() })
    }

    fn parse_page<'a>(&self, body: &'a str, page: &PageRequest<'_>) -> Result<Page<'a>, BadPage> {
        let envelope = page::envelope(NAME, body)?;
        if envelope.is_empty() {
            // Encoders of its protocol leave out empty fields: nothing, and a total of zero.
            return Ok(Page { total: Some(0), ..Page::default() });
        }
        let records = records_of(&envelope, body, page::offset(page.cursor)?)?;
        Ok(Page { records, total: envelope.count(TOTAL), ..Page::default() })
    }

    fn classify_error(&self, status: u16, body: &str, has_cursor: bool) -> ApiError {
        api_error::by_status(NAME, status, body, has_cursor).with_hint(hint(status))
    }
}

/// What the user must fix. The status says as much as the gRPC code in the body: 400 is code 3, 9 or 11, 401 is 16,
/// 403 is 7, 404 is 5, 501 is 12.
const fn hint(status: u16) -> Option<&'static str> {
    match status {
        400 => Some("Akuity rejected a parameter; check extra_query, time_filter_format and max_page_size"),
        401 => Some("check api_key_id, api_key_secret and region; the key may be wrong, expired or revoked"),
        403 => Some(
            "give the API key's role the permission *Audit Log: Get* (Owner has it); use a key of the organization, not of a \
             workspace; set organization_id to that organization's id, not its name",
        ),
        404 => Some("this address has no audit log; check organization_id and base_url"),
        501 => Some("this platform has no audit logs; check base_url and the platform's version"),
        _ => None,
    }
}

/// One or more values of a query parameter. Several values repeat the parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryValues(pub Vec<String>);

crate::json_schema::written_as!(QueryValues, "QueryValues", {
    "type": ["string", "integer", "boolean", "array"],
    "items": { "type": ["string", "integer", "boolean"] }
});

/// The parameters that the collector sends, in both spellings that the API accepts.
const OWN_PARAMETERS: [&str; 6] = [
    "filters.startTime",
    "filters.start_time",
    "filters.endTime",
    "filters.end_time",
    "filters.limit",
    "filters.offset",
];

/// Adds a diagnostic for every parameter that conflicts with the collector's own.
fn check_extra_query(extra: &BTreeMap<String, QueryValues>, diagnostics: &mut Vec<SettingDiagnostic>) {
    for name in extra.keys() {
        let key = format!("extra_query.{name}");
        if OWN_PARAMETERS.contains(&name.as_str()) {
            let hint = "remove it; use backfill_start_time, end_time and page_size";
            settings::invalid(diagnostics, &key, "is set by auditflow", hint);
        }
        if name.contains('[') {
            let hint = "write a dotted path such as filters.actorType";
            settings::invalid(diagnostics, &key, "is map syntax, which Akuity rejects", hint);
        }
    }
}

/// Each parameter with each of its values.
fn extra_pairs(extra: &BTreeMap<String, QueryValues>) -> impl Iterator<Item = (String, String)> {
    extra.iter().flat_map(|(name, values)| values.0.iter().map(|value| (name.clone(), value.clone())))
}

impl<'de> Deserialize<'de> for QueryValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValuesVisitor)
    }
}

struct ValuesVisitor;

impl<'de> de::Visitor<'de> for ValuesVisitor {
    type Value = QueryValues;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, an integer, true, false, or a list of those")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<QueryValues, E> {
        Ok(QueryValues(vec![text.to_owned()]))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<QueryValues, E> {
        self.visit_str(if value { "true" } else { "false" })
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<QueryValues, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<QueryValues, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<QueryValues, A::Error> {
        let mut values = Vec::new();
        while let Some(QueryValues(more)) = items.next_element()? {
            values.extend(more);
        }
        Ok(QueryValues(values))
    }
}
