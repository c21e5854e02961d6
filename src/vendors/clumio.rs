//! Clumio: `GET /audit-trails`, page-number paging, a JSON filter with half-open time bounds.
//!
//! ```text
//! ?limit=100&start=2&filter={"start_timestamp":{"$gte":from,"$lt":to}}
//!     --> {"_embedded":{"items":[...]},"_links":{"_next":{"href":"/audit-trails?...&start=3"}},"total_count":5,...}
//! ```
//!
//! What is documented is taken from the vendor's REST reference and its official SDKs. What is assumed has a setting of
//! its own: the order of the list, the largest page, the retention, and what the three entity filters do. `records`
//! holds the mapping into the schema.

mod normalizer;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use normalizer::{ClumioNormalizer, DedupeKey, EventType};

use super::settings::{self, choice};
use super::{
    ApiError, ApiErrorKind, ApiSpec, Auth, BadPage, NormalizerConfig, Page, PageRequest, RecordOrder, Request, Vendor,
    api_error, page, records_by_reader,
};
use crate::diagnostic::SettingDiagnostic;
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::units::{Rate, Span};

const NAME: &str = "clumio";

/// The control planes and their addresses. The hosts outside the United States carry a country label, so the address
/// cannot be built from the region's name (documented by the vendor's Terraform provider and REST guide).
const REGIONS: &[(&str, &str)] = &[
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
    /// API token; a service token is best. Clumio: Settings > Access Management > API Tokens.
    access_token: Secret,
    /// The control plane on which the account was registered (not the AWS region that is backed up): `us-west-2` (the
    /// default), `us-east-1`, `ca-central-1`, `eu-central-1` or `ap-southeast-2`.
    region: Option<String>,
    /// Another address for the API, without the path `/audit-trails`. Unset: the region's.
    base_url: Option<String>,
    /// UUID of the organizational unit whose trail is read. Unset: the token's own. It is the events' `tenant`, and so
    /// a part of their ids.
    organizational_unit: Option<String>,
    /// Only events of this S3 asset of a protection group.
    protection_group_s3_asset_id: Option<String>,
    /// Only events of this protection group backup.
    parent_protection_group_backup_id: Option<String>,
    /// Only events of buckets in this AWS region.
    bucket_region: Option<String>,
    /// What is done with the three filters above, which Clumio's reference does not list for audit trails: `send` them
    /// to the API (the default), `match_locally` against the records read, or `ignore` them.
    #[serde(default)]
    undocumented_filters: UndocumentedFilters,
    /// Further conditions of the API's filter, all of which must hold: `{category: {$in: [users, mfa]}}`.
    #[serde(default)]
    extra_filter: serde_json::Map<String, serde_json::Value>,
    /// What becomes `event_type`: the record's `action` (the default), or `category_action` for both, with a dot
    /// between (`protection.apply`).
    #[serde(default)]
    event_type: EventType,
    /// By what a record is known again: its `id` (the default), or `id+status` if Clumio should give a record again
    /// with another status under the same id.
    #[serde(default)]
    dedupe_key: DedupeKey,
    /// The order in which the API lists records: `newest_first`, `oldest_first` or `unknown` (the default: it is not
    /// documented).
    #[serde(default)]
    order: RecordOrder,
    /// The largest page that the API gives; not documented, assumed to be 500.
    max_page_size: Option<u32>,
    /// How far back the API keeps records; assumed to be 90 days as in the vendor's audit report.
    retention: Option<Span>,
}

choice! {
    /// What is done with filters that the vendor's reference does not list for this endpoint.
    UndocumentedFilters {
        /// They are sent.
        Send = "send",
        /// The records read are matched against them.
        MatchLocally = "match_locally",
        /// Nothing.
        Ignore = "ignore",
    }
}

impl Config {
    /// Checks the settings and builds the vendor.
    ///
    /// # Errors
    /// Every setting that cannot be right.
    pub fn build(&self) -> Result<Arc<dyn Vendor>, Vec<SettingDiagnostic>> {
        let mut problems = self.problems_of_texts();
        problems.extend(self.problems_of_extra_filter());
        let base_url = settings::value_or_problem(self.checked_base_url(), &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Arc::new(Clumio {
            spec: self.spec(),
            base_url,
            reader: ClumioNormalizer::new(&self.normalizer_config()),
            filter_tail: self.filter_tail(),
            settings: self.clone(),
        }))
    }

    /// The filters that are sent although the vendor's reference does not list them.
    #[must_use]
    pub fn warnings(&self) -> Vec<SettingDiagnostic> {
        let sent = self.undocumented_filters == UndocumentedFilters::Send;
        let warning = |(name, _): (&str, &str)| SettingDiagnostic {
            key: name.to_owned(),
            message: "Clumio's reference does not list this filter for audit trails".to_owned(),
            hint: "if the API refuses it, or no events come, set undocumented_filters to match_locally or ignore"
                .to_owned(),
        };
        self.undocumented().filter(|_| sent).map(warning).collect()
    }

    /// Every secret among the settings.
    pub fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        vec![&mut self.access_token]
    }

    fn checked_base_url(&self) -> Result<String, SettingDiagnostic> {
        let region = self.region.as_deref().unwrap_or(REGIONS[0].0);
        let Some((_, standard)) = REGIONS.iter().find(|(name, _)| *name == region) else {
            let known: Vec<&str> = REGIONS.iter().map(|(name, _)| *name).collect();
            return Err(settings::unknown_word("region", region, &known));
        };
        settings::base_url(self.base_url.as_deref(), standard)
    }

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

    fn problems_of_texts(&self) -> Vec<SettingDiagnostic> {
        let unit = self.organizational_unit.as_deref().map(|unit| ("organizational_unit", unit));
        unit.into_iter().chain(self.undocumented()).filter_map(|(key, value)| settings::not_plain(key, value)).collect()
    }

    fn problems_of_extra_filter(&self) -> Vec<SettingDiagnostic> {
        let problem = |field: &str, message: &str, hint: &str| SettingDiagnostic {
            key: format!("extra_filter.{field}"),
            message: message.to_owned(),
            hint: hint.to_owned(),
        };
        let mut problems = Vec::new();
        for (field, condition) in &self.extra_filter {
            if field == "start_timestamp" || field == "timestamp" {
                problems.push(problem(
                    field,
                    "auditflow sets the time bounds itself; another condition on the time would lose events",
                    "use backfill_start_time and end_time",
                ));
            }
            let operators = condition.as_object().filter(|operators| !operators.is_empty());
            if !operators.is_some_and(|operators| operators.keys().all(|operator| operator.starts_with('$'))) {
                problems.push(problem(
                    field,
                    "this is no condition",
                    "write an operator: {$in: [value]} or {$eq: value}",
                ));
            }
        }
        problems
    }

    fn normalizer_config(&self) -> NormalizerConfig {
        let options = [
            (EventType::OPTION.to_owned(), self.event_type.as_str().to_owned()),
            (DedupeKey::OPTION.to_owned(), self.dedupe_key.as_str().to_owned()),
        ];
        NormalizerConfig { tenant: self.organizational_unit.clone(), options: options.into() }
    }

    /// The conditions after the time bounds, each with a comma before it, as JSON.
    fn filter_tail(&self) -> String {
        let sent = self.undocumented_filters == UndocumentedFilters::Send;
        let undocumented = self.undocumented().filter(|_| sent);
        let equals = undocumented.map(|(name, value)| (name, serde_json::json!({ "$eq": value })));
        let extra = self.extra_filter.iter().map(|(name, condition)| (name.as_str(), condition.clone()));
        equals.chain(extra).map(|(name, condition)| format!(",{}:{condition}", serde_json::Value::from(name))).collect()
    }

    /// Documented: 100 requests a second for each organization, of which a tenth is used, and no record older than 90
    /// days in the audit report. Assumed: how late records may appear, page sizes.
    fn spec(&self) -> ApiSpec {
        ApiSpec {
            name: NAME,
            order: self.order,
            time_granularity: Duration::from_micros(1),
            has_ids: true,
            overlap: Duration::from_secs(15 * 60),
            delay: Duration::from_secs(60),
            poll_interval: Duration::from_secs(60),
            timeout: Duration::from_secs(60),
            page_size: 100,
            max_page_size: self.max_page_size.unwrap_or(500).max(1),
            rate_limit: vec![Rate { requests: 10, per: Duration::from_secs(1) }],
            // Assumed: back-off from a second on.
            default_rate_limit_wait: Duration::from_secs(1),
            retention: Some(self.retention.map_or(Duration::from_secs(90 * 86_400), |span| span.0)),
            earliest: Timestamp::from_secs(1_483_228_800), // 2017-01-01, the year in which the company was founded
            slice: Duration::from_secs(86_400),
            max_window_records: 100_000, // 1,000 pages
            recheck: None,
        }
    }
}

/// One configured Clumio account.
#[derive(Debug)]
struct Clumio {
    settings: Config,
    spec: ApiSpec,
    base_url: String,
    reader: ClumioNormalizer,
    filter_tail: String,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "_embedded", default, deserialize_with = "page::present")]
    embedded: Option<Option<Embedded<'a>>>,
    #[serde(borrow, rename = "_links")]
    links: Option<Links<'a>>,
    #[serde(borrow)]
    total_count: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Embedded<'a> {
    #[serde(borrow, default, deserialize_with = "page::present")]
    items: Option<Option<Vec<&'a RawValue>>>,
}

#[derive(Deserialize)]
struct Links<'a> {
    #[serde(borrow, rename = "_next")]
    next: Option<Link<'a>>,
}

#[derive(Clone, Copy, Deserialize)]
struct Link<'a> {
    #[serde(borrow)]
    href: Option<&'a RawValue>,
}

/// Reads a page. `_embedded: null` and `items: null` are empty pages, as the official SDKs read them.
fn read_page(body: &str) -> Result<Page<'_>, BadPage> {
    let envelope: Envelope<'_> = page::envelope(NAME, body)?;
    let embedded = envelope.embedded.ok_or_else(|| no_records("_embedded"))?;
    let items = match embedded {
        Some(embedded) => embedded.items.ok_or_else(|| no_records("_embedded.items"))?.unwrap_or_default(),
        None => Vec::new(),
    };
    let next = envelope.links.and_then(|links| links.next).map(next_page).transpose()?;
    Ok(Page { records: page::records(&items), next, total: page::count(envelope.total_count) })
}

fn no_records(missing: &str) -> BadPage {
    BadPage(format!("clumio sent an answer without `{missing}`, so it is no page of audit trails; check base_url"))
}

/// The page number in the link to the next page. A link without one is refused, as the official SDK does: taking it for
/// the end would lose the rest.
fn next_page(link: Link<'_>) -> Result<String, BadPage> {
    page::text(link.href).and_then(|href| page::query_value(&href, "start")).ok_or_else(|| {
        BadPage("clumio sent a link to the next page without a page number (`start`), so it cannot be followed".into())
    })
}

records_by_reader!(Clumio);

impl Vendor for Clumio {
    fn spec(&self) -> &ApiSpec {
        &self.spec
    }

    fn base_url(&self) -> &str {
        &self.base_url
    }

    fn normalizer_config(&self) -> NormalizerConfig {
        self.settings.normalizer_config()
    }

    /// The upper bound is rounded up to the next microsecond, the finest that is sent, so that it leaves nothing out.
    fn request(&self, page: &PageRequest<'_>) -> Request {
        let (from, to) =
            (page.range.from.with_digits(6), page.range.to.ceil_to(Duration::from_micros(1)).with_digits(6));
        let filter = format!(r#"{{"start_timestamp":{{"$gte":"{from}","$lt":"{to}"}}{}}}"#, self.filter_tail);
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
                ("X-Clumio-OrganizationalUnit-Context", self.settings.organizational_unit.clone().unwrap_or_default()),
            ],
            secret_headers: Vec::new(),
            auth: Auth::Bearer(self.settings.access_token.clone()),
        }
    }

    fn read<'a>(&self, body: &'a str, _page: &PageRequest<'_>) -> Result<Page<'a>, BadPage> {
        let mut page = read_page(body)?;
        if self.settings.undocumented_filters == UndocumentedFilters::MatchLocally {
            let wanted: Vec<_> = self.settings.undocumented().collect();
            page.records.retain(|raw| normalizer::matches_all(raw, &wanted));
            page.total = page.total.filter(|_| wanted.is_empty());
        }
        Ok(page)
    }

    /// Decides by the HTTP status alone: the body's `error_code` is an application code (402 inside an HTTP 401).
    fn classify_error(&self, status: u16, body: &str) -> ApiError {
        let mut error = api_error::by_status(NAME, status, body);
        if status == 409 {
            error.kind = ApiErrorKind::Permanent;
        }
        if let Some(hint) = self.hint(status).filter(|_| error.kind == ApiErrorKind::Permanent) {
            hint.clone_into(&mut error.hint);
        }
        error
    }
}

impl Clumio {
    /// What a refused request asks of the user.
    fn hint(&self, status: u16) -> Option<&'static str> {
        Some(match status {
            400 if self.settings.undocumented().next().is_some() => {
                "Clumio refuses the request, perhaps for a filter that its reference does not list; \
                 set undocumented_filters to match_locally or ignore"
            }
            400 => "Clumio refuses the request; check extra_filter and page_size",
            401 => {
                "Clumio does not accept the token (it has expired, or was refreshed or deleted); \
                 create a new one in Clumio under API Tokens and put it into access_token"
            }
            403 => {
                "the token may not read the audit trail, or belongs to an account on another control plane; \
                 give its role the right to read reports, and check region and organizational_unit"
            }
            404 => "there is no audit trail at this address; check region, base_url and organizational_unit",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
