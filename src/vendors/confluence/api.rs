//! Confluence Cloud's API: the audit records of a site, `GET {base}/wiki/rest/api/audit`.
//!
//! ```text
//! request: startDate, endDate (milliseconds), start, limit --> {"results": [AuditRecord ...], "size": total, ...}
//! ```
//!
//! `size` is the number of records of the whole scan, not of the page. `_links` is never followed: it names a host other
//! than the one that accepts the credentials, and has no `next`. A `size` that counts the page after all is not used.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::normalizer::{ConfluenceNormalizer, NAME, SIZE, records_of};
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
use crate::vendors::settings;

/// The finest step of the time filter.
const MILLISECOND: Duration = Duration::from_millis(1);

/// The settings of a `confluence` source. Either `cloud_id` or `site` names the site: an API token with scopes works
/// only with `cloud_id`, one without scopes only with `site`.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The site's cloud id, for an API token **with** scopes (`read:audit-log:confluence`). Copy it from
    /// `https://<site>.atlassian.net/_edge/tenant_info`.
    pub cloud_id: Option<String>,
    /// The site's name (`acme` of `https://acme.atlassian.net`), for an API token **without** scopes.
    pub site: Option<String>,
    /// Email address of the account that the token belongs to, a Confluence administrator.
    pub email: String,
    /// API token. Atlassian's tokens expire after at most 365 days.
    pub api_token: Secret,
    /// Collect only records that contain this text.
    pub search_string: Option<String>,
    /// Value of `tenant`, which is part of the event ids. Default: `cloud_id` or `site`. Set it to the old value when you
    /// change from one to the other, so that the ids stay the same.
    pub tenant: Option<String>,
    /// The largest page size of the API. Default: 1000 (assumed). Set it to 100 if larger pages time out.
    pub max_page_size: Option<u32>,
    /// Base URL of the API, without the path `/wiki/rest/api/audit`. Default: derived from `cloud_id` or `site`.
    pub base_url: Option<String>,
}

impl Config {
    fn default_base_url(&self, diagnostics: &mut Vec<SettingDiagnostic>) -> String {
        const WHICH: &str = "set cloud_id for an API token with scopes, or site for a token without scopes";
        match (&self.cloud_id, &self.site) {
            (Some(cloud_id), None) => {
                if !is_id(cloud_id) {
                    let hint = "copy cloudId from https://<site>.atlassian.net/_edge/tenant_info";
                    settings::invalid(diagnostics, "cloud_id", "is not a cloud id", hint);
                }
                format!("https://api.atlassian.com/ex/confluence/{cloud_id}")
            }
            (None, Some(site)) => {
                let site = site_name(site);
                if !is_id(site) {
                    let hint = "write `acme` for https://acme.atlassian.net; for other hosts set base_url as well";
                    settings::invalid(diagnostics, "site", "is not the name of an Atlassian site", hint);
                }
                format!("https://{site}.atlassian.net")
            }
            (None, None) => {
                settings::invalid(diagnostics, "cloud_id", "neither `cloud_id` nor `site` is set", WHICH);
                String::new()
            }
            (Some(_), Some(_)) => {
                settings::invalid(diagnostics, "site", "cannot be combined with cloud_id", WHICH);
                String::new()
            }
        }
    }

    /// What the user must fix. The status decides what the collector does; the body only selects a hint.
    fn hint(&self, status: u16, body: &str) -> Option<&'static str> {
        let by_cloud_id = self.cloud_id.is_some();
        match status {
            400 => Some("Confluence rejected a parameter; check search_string, or set page_size to 100"),
            401 if by_cloud_id => Some(
                "check email and api_token; tokens expire after at most 365 days; with cloud_id the token needs scopes, among \
                 them read:audit-log:confluence (for a token without scopes set site instead)",
            ),
            401 => Some(
                "check email and api_token; tokens expire after at most 365 days; with site the token must have no scopes (for \
                 a token with scopes set cloud_id instead)",
            ),
            403 if body.contains("Free edition") => {
                Some("the audit log needs a paid Confluence plan; upgrade the site or remove this source")
            }
            403 if body.contains("not permitted to use Confluence") => Some(
                "the token's account has no access to Confluence; give it a Confluence seat and administrator permissions",
            ),
            403 => Some("give the token's account the global permission Confluence Administrator"),
            404 if by_cloud_id => Some(
                "no Confluence site has this cloud_id; copy it from https://<site>.atlassian.net/_edge/tenant_info",
            ),
            404 => Some("this site has no Confluence; check site and base_url"),
            _ => None,
        }
    }
}

impl VendorSettings for Config {
    fn build(&self) -> Result<Arc<dyn Vendor>, Vec<SettingDiagnostic>> {
        configured::build(self)
    }

    fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        vec![&mut self.api_token]
    }
}

impl ConfiguredApi for Config {
    type Normalizer = ConfluenceNormalizer;

    fn check(&self, diagnostics: &mut Vec<SettingDiagnostic>) -> String {
        let default_url = self.default_base_url(diagnostics);
        settings::not_blank("email", &self.email, "set it to the email address of the token's account", diagnostics);
        settings::not_blank_if_given("search_string", self.search_string.as_deref(), diagnostics);
        settings::not_blank_if_given("tenant", self.tenant.as_deref(), diagnostics);
        settings::at_least_one("max_page_size", self.max_page_size, diagnostics);
        settings::checked_base_url(self.base_url.as_deref(), &default_url, diagnostics)
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
            // Not documented, but true of every published answer.
            order: RecordOrder::NewestFirst,
            paging: Paging::Offset,
            time_granularity: MILLISECOND,
            has_ids: false,
            // No number is published. Other collectors stay five to ten minutes behind; this is more.
            overlap: Duration::from_secs(15 * 60),
            delay: Duration::from_secs(10),
            poll_interval: Duration::from_secs(60),
            timeout: Duration::from_secs(60),
            page_size: max_page_size,
            max_page_size,
            // No numbers are published; this is conservative.
            rate_limit: vec![Rate { requests: 2, per: Duration::from_secs(1) }],
            // Documented: the wait doubles each time, with jitter. Assumed: from one second on.
            default_rate_limit_wait: Duration::from_secs(1),
            // At most one year; the customer configures it.
            retention: Some(Duration::from_secs(365 * 24 * 3_600)),
            // Confluence Cloud had no audit log before: 2016-01-01T00:00:00Z.
            earliest: Timestamp::from_secs(1_451_606_400),
            slice: Duration::from_secs(24 * 3_600),
            // Keeps offsets far below 10,000; whether there is a largest one is not known.
            max_window_records: 5_000,
            recheck: None,
        }
    }

    fn request(&self, page: &PageRequest<'_>) -> Request {
        let own = [
            ("startDate", page.range.from.floor_to(MILLISECOND).as_millis().to_string()),
            ("endDate", page.range.to.ceil_to(MILLISECOND).as_millis().to_string()),
            ("start", page.cursor.unwrap_or("0").to_owned()),
            // Always sent: the documented default differs from the applied one.
            ("limit", page.page_size.to_string()),
        ];
        let search = self.search_string.clone().map(|text| ("searchString", text));
        let query = own.into_iter().chain(search).map(|(name, value)| (name.to_owned(), value)).collect();
        let auth = Auth::Basic { user: self.email.trim().to_owned(), password: self.api_token.clone() };
        Request::json("/wiki/rest/api/audit", query, auth)
    }

    fn parse_page<'a>(&self, body: &'a str, page: &PageRequest<'_>) -> Result<Page<'a>, BadPage> {
        let envelope = page::envelope(NAME, body)?;
        let offset = page::offset(page.cursor)?;
        // Records have no ids, so a page that is returned twice would look like identical events.
        if let Some(start) = envelope.count("start").filter(|start| *start != offset) {
            return Err(BadPage::unreadable(format!("it begins at record {start}, but {offset} was requested")));
        }
        let records = records_of(&envelope, body, offset)?;
        let (total, limit) = (envelope.count(SIZE), envelope.count("limit"));
        Ok(Page { records, total, limit, ..Page::default() })
    }

    fn classify_error(&self, status: u16, body: &str, has_cursor: bool) -> ApiError {
        let mut error = api_error::by_status(NAME, status, body, has_cursor).with_hint(self.hint(status, body));
        // Dates and numbers are always well formed here, so the likely cause is the page size: its limit is unpublished.
        if status == 400 && !has_cursor {
            error.kind = ApiErrorKind::PageTooLarge;
        }
        error
    }
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The name in `acme`, `acme.atlassian.net` or `https://acme.atlassian.net/`.
fn site_name(text: &str) -> &str {
    let text = text.trim().trim_start_matches("https://").trim_end_matches('/');
    text.strip_suffix(".atlassian.net").unwrap_or(text)
}
