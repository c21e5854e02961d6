//! What both targets share: every vendor, with its smallest settings.

use std::sync::{Arc, LazyLock};

use auditflow::vendors::Vendor;
use auditflow::vendors::registry::VendorConfig;
use serde_json::json;

pub static VENDORS: LazyLock<Vec<Arc<dyn Vendor>>> = LazyLock::new(|| {
    let settings = [
        ("akuity", json!({"organization_id": "o", "api_key_id": "k", "api_key_secret": "none"})),
        ("captivateiq", json!({"api_token": "none"})),
        ("clumio", json!({"access_token": "none"})),
        ("confluence", json!({"cloud_id": "11111111-2222-4333-8444-555555555555", "email": "a@example.com", "api_token": "none"})),
        ("merge", json!({"api_key": "none"})),
    ];
    let build = |(name, settings)| {
        let config = VendorConfig::read(name, settings).expect("a vendor").expect("settings");
        config.build().expect("valid settings")
    };
    settings.into_iter().map(build).collect()
});
