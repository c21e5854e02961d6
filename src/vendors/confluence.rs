//! Confluence Cloud: the audit records of a site, `GET {base}/wiki/rest/api/audit`.
//!
//! ```text
//! request: startDate, endDate (milliseconds), start, limit --> {"results": [AuditRecord ...], "size": total, ...}
//! ```
//!
//! `size` is the number of records of the whole walk, not of the page, and `_links` is never followed: it names another
//! host than the one that takes the credentials, and has no `next`. A record has no id, so it is known by what it says
//! (`reader`); `words` is the mapping of the summaries.

mod mapping;
mod normalizer;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    ApiError, ApiErrorKind, ApiSpec, Auth, BadPage, NormalizerConfig, Page, PageRequest, RecordOrder, Request, Vendor,
    api_error, page, records_by_reader, settings,
};
use crate::diagnostic::SettingDiagnostic;
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::units::Rate;

pub use normalizer::ConfluenceNormalizer;

const NAME: &str = "confluence";

/// The settings of a `confluence` source. Either `cloud_id` or `site` says which site: an API token with scopes works
/// with `cloud_id` only, one without scopes with `site` only.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The site's cloud id, for an API token **with** scopes (`read:audit-log:confluence`). It is found at
    /// `https://<site>.atlassian.net/_edge/tenant_info`.
    pub cloud_id: Option<String>,
    /// The site's name (`acme` of `https://acme.atlassian.net`), for an API token **without** scopes.
    pub site: Option<String>,
    /// The e-mail address of the account that the token belongs to: a Confluence administrator.
    pub email: String,
    /// The API token. Atlassian's tokens live 365 days at most.
    pub api_token: Secret,
    /// Collect only records that contain this text.
    pub search_string: Option<String>,
    /// What stands as `tenant` and goes into the event ids, in place of `cloud_id` or `site`. Set it to the former value
    /// when changing from one to the other, so that the ids stay as they were.
    pub tenant: Option<String>,
    /// The largest page that the API gives. Default: 1000, which is assumed; 100 if larger ones time out.
    pub max_page_size: Option<u32>,
    /// Another address, up to but not including `/wiki/rest/api/audit`, in place of the one that `cloud_id` or `site`
    /// leads to.
    pub base_url: Option<String>,
}

impl Config {
    /// Checks the settings and builds the vendor.
    ///
    /// # Errors
    /// Every setting that cannot be right.
    pub fn build(&self) -> Result<Arc<dyn Vendor>, Vec<SettingDiagnostic>> {
        let mut problems = Vec::new();
        let default_url = self.default_base_url(&mut problems);
        settings::not_blank("email", &self.email, "give the e-mail address of the token's account", &mut problems);
        settings::not_blank_if_given("search_string", self.search_string.as_deref(), &mut problems);
        settings::not_blank_if_given("tenant", self.tenant.as_deref(), &mut problems);
        settings::at_least_one("max_page_size", self.max_page_size, &mut problems);
        let base_url = settings::base_url(self.base_url.as_deref(), &default_url);
        let base_url = settings::value_or_problem(base_url, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let reader = ConfluenceNormalizer::new(&self.normalizer_config());
        Ok(Arc::new(Confluence { config: self.clone(), base_url, spec: self.spec(), reader }))
    }

    /// Every secret among the settings.
    pub fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        vec![&mut self.api_token]
    }

    fn default_base_url(&self, problems: &mut Vec<SettingDiagnostic>) -> String {
        const WHICH: &str = "set cloud_id for an API token with scopes, site for one without";
        match (&self.cloud_id, &self.site) {
            (Some(cloud_id), None) => {
                if !is_cloud_id(cloud_id) {
                    let hint = "take the cloudId from https://<site>.atlassian.net/_edge/tenant_info";
                    settings::problem(problems, "cloud_id", "is not a cloud id", hint);
                }
                format!("https://api.atlassian.com/ex/confluence/{cloud_id}")
            }
            (None, Some(site)) => {
                let site = site_name(site);
                if !is_site_name(site) {
                    let hint = "write `acme` for https://acme.atlassian.net; for other hosts set base_url as well";
                    settings::problem(problems, "site", "is not the name of an Atlassian site", hint);
                }
                format!("https://{site}.atlassian.net")
            }
            (None, None) => {
                settings::problem(problems, "cloud_id", "is missing, and so is site", WHICH);
                String::new()
            }
            (Some(_), Some(_)) => {
                settings::problem(problems, "site", "cannot be set beside cloud_id", WHICH);
                String::new()
            }
        }
    }

    fn normalizer_config(&self) -> NormalizerConfig {
        let site = self.site.as_deref().map(|site| site_name(site).to_owned());
        let tenant = self.tenant.clone().or_else(|| self.cloud_id.clone()).or(site);
        NormalizerConfig { tenant, ..NormalizerConfig::default() }
    }

    fn spec(&self) -> ApiSpec {
        let max_page_size = self.max_page_size.unwrap_or(1_000);
        ApiSpec {
            name: NAME,
            // Not documented, but so in every published answer.
            order: RecordOrder::NewestFirst,
            time_granularity: Duration::from_millis(1),
            has_ids: false,
            // No figure is published. Other collectors stay five to ten minutes behind; this is more.
            overlap: Duration::from_secs(15 * 60),
            delay: Duration::from_secs(10),
            poll_interval: Duration::from_secs(60),
            timeout: Duration::from_secs(60),
            page_size: max_page_size,
            max_page_size,
            // No numbers are published; this is gentle.
            rate_limit: vec![Rate { requests: 2, per: Duration::from_secs(1) }],
            // Documented: the wait doubles each time, with jitter. Assumed: from a second on.
            default_rate_limit_wait: Duration::from_secs(1),
            // At most a year, as the customer sets it.
            retention: Some(Duration::from_secs(365 * 24 * 3_600)),
            // Confluence Cloud had no audit log before: 2016-01-01T00:00:00Z.
            earliest: Timestamp::from_secs(1_451_606_400),
            slice: Duration::from_secs(24 * 3_600),
            // Keeps offsets far below 10,000; whether there is a greatest one is not known.
            max_window_records: 5_000,
            recheck: None,
        }
    }
}

fn is_cloud_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The name in `acme`, `acme.atlassian.net` or `https://acme.atlassian.net/`.
fn site_name(text: &str) -> &str {
    let text = text.trim().trim_start_matches("https://").trim_end_matches('/');
    text.strip_suffix(".atlassian.net").unwrap_or(text)
}

fn is_site_name(text: &str) -> bool {
    is_cloud_id(text)
}

/// A configured Confluence site.
#[derive(Debug)]
struct Confluence {
    config: Config,
    base_url: String,
    spec: ApiSpec,
    reader: ConfluenceNormalizer,
}

records_by_reader!(Confluence);

impl Vendor for Confluence {
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
        let step = self.spec.time_granularity;
        let own = [
            ("startDate", page.range.from.floor_to(step).as_millis().to_string()),
            ("endDate", page.range.to.ceil_to(step).as_millis().to_string()),
            ("start", page.cursor.unwrap_or("0").to_owned()),
            // Never left out: the documented default is not the one that is applied.
            ("limit", page.page_size.to_string()),
        ];
        let search = self.config.search_string.clone().map(|text| ("searchString", text));
        Request {
            path: "/wiki/rest/api/audit".to_owned(),
            query: own.into_iter().chain(search).map(|(name, value)| (name.to_owned(), value)).collect(),
            headers: vec![("accept", "application/json".to_owned())],
            secret_headers: Vec::new(),
            auth: Auth::Basic { user: self.config.email.trim().to_owned(), password: self.config.api_token.clone() },
        }
    }

    fn read<'a>(&self, body: &'a str, page: &PageRequest<'_>) -> Result<Page<'a>, BadPage> {
        let envelope: Envelope<'a> = page::envelope(NAME, body)?;
        let asked = page::offset(page.cursor)?;
        // Records have no ids, so the same page given twice would pass as so many identical events.
        if let Some(start) = envelope.start.filter(|start| *start != asked) {
            return Err(BadPage(format!("confluence gave the records from {start} on, where {asked} was asked for")));
        }
        let records = page::records(&envelope.results);
        let next = page::next_offset(page.cursor, records.len(), envelope.size)?;
        Ok(Page { records, next, total: envelope.size })
    }

    fn classify_error(&self, status: u16, body: &str) -> ApiError {
        let mut error = api_error::by_status(NAME, status, body);
        if error.kind != ApiErrorKind::Permanent {
            return error;
        }
        if let Some(hint) = self.hint(status, body) {
            error.hint = hint.to_owned();
        }
        // Dates and numbers are always well formed here, so the page size is the first suspect: its limit is unpublished.
        if status == 400 {
            error.kind = ApiErrorKind::PageTooLarge;
        }
        error
    }
}

/// `AuditRecordArray`. Both `results` and `size` are required by the documentation; without a `size` the walk goes on
/// until a page is empty.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
    start: Option<u64>,
    size: Option<u64>,
}

impl Confluence {
    /// What to mend. The status decides what is done; the texts of bodies, which change, only choose among hints.
    fn hint(&self, status: u16, body: &str) -> Option<&'static str> {
        let by_cloud_id = self.config.cloud_id.is_some();
        match status {
            400 => {
                Some("Confluence refuses a parameter; check search_string, and set page_size to 100 if that is not it")
            }
            401 if by_cloud_id => Some(
                "check email and api_token: the token may have expired (they live 365 days at most); with cloud_id it must \
                 have scopes, among them read:audit-log:confluence (for a token without scopes set site instead)",
            ),
            401 => Some(
                "check email and api_token: the token may have expired (they live 365 days at most); with site it must be \
                 one without scopes (for a token with scopes set cloud_id instead)",
            ),
            403 if body.contains("Free edition") => {
                Some("the audit log needs a paid Confluence plan; upgrade the site or take this source out")
            }
            403 if body.contains("not permitted to use Confluence") => Some(
                "the token's account has no access to Confluence; give it a Confluence seat and administrator rights",
            ),
            403 => Some("the token's account needs the global permission Confluence Administrator"),
            404 if by_cloud_id => Some(
                "there is no Confluence with this cloud_id; take it from https://<site>.atlassian.net/_edge/tenant_info",
            ),
            404 => Some("there is no Confluence at this site; check site and base_url"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
