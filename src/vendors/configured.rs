//! The part that is the same in every vendor of this crate: from checked settings to a [`Vendor`].
//!
//! ```text
//! Config: ConfiguredApi --build--> check() --> ConfiguredVendor { config, base URL, spec, normalizer }: Vendor
//! ```

use std::fmt::Debug;
use std::sync::Arc;

use super::api_error::ApiError;
use super::contract::{ApiSpec, BadPage, Normalizer, NormalizerConfig, Page, PageRequest, Request, Vendor};
use crate::diagnostic::SettingDiagnostic;

/// A vendor's API as the settings of one source describe it.
pub(super) trait ConfiguredApi: Clone + Debug + Send + Sync + 'static {
    /// What identifies and normalizes its records.
    type Normalizer: Normalizer + for<'a> From<&'a NormalizerConfig> + 'static;

    /// Returns the base URL without a trailing slash and adds a diagnostic for every invalid setting.
    fn check(&self, diagnostics: &mut Vec<SettingDiagnostic>) -> String;

    /// See [`Vendor::spec`].
    fn spec(&self) -> ApiSpec;

    /// See [`Vendor::normalizer_config`].
    fn normalizer_config(&self) -> NormalizerConfig;

    /// See [`Vendor::request`].
    fn request(&self, page: &PageRequest<'_>) -> Request;

    /// See [`Vendor::parse_page`].
    fn parse_page<'a>(&self, body: &'a str, page: &PageRequest<'_>) -> Result<Page<'a>, BadPage>;

    /// See [`Vendor::classify_error`].
    fn classify_error(&self, status: u16, body: &str, has_cursor: bool) -> ApiError;
}

/// Checks the settings and builds the vendor.
pub(super) fn build<A: ConfiguredApi>(api: &A) -> Result<Arc<dyn Vendor>, Vec<SettingDiagnostic>> {
    let mut diagnostics = Vec::new();
    let base_url = api.check(&mut diagnostics);
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    let normalizer = A::Normalizer::from(&api.normalizer_config());
    Ok(Arc::new(ConfiguredVendor { api: api.clone(), base_url, spec: api.spec(), normalizer }))
}

#[derive(Debug)]
struct ConfiguredVendor<A: ConfiguredApi> {
    api: A,
    base_url: String,
    spec: ApiSpec,
    normalizer: A::Normalizer,
}

impl<A: ConfiguredApi> Vendor for ConfiguredVendor<A> {
    fn spec(&self) -> &ApiSpec {
        &self.spec
    }

    fn base_url(&self) -> &str {
        &self.base_url
    }

    fn normalizer_config(&self) -> NormalizerConfig {
        self.api.normalizer_config()
    }

    fn normalizer(&self) -> &dyn Normalizer {
        &self.normalizer
    }

    fn request(&self, page: &PageRequest<'_>) -> Request {
        self.api.request(page)
    }

    fn parse_page<'a>(&self, body: &'a str, page: &PageRequest<'_>) -> Result<Page<'a>, BadPage> {
        self.api.parse_page(body, page)
    }

    fn classify_error(&self, status: u16, body: &str, has_cursor: bool) -> ApiError {
        self.api.classify_error(status, body, has_cursor)
    }
}
