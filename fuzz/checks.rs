//! What must hold for any input: called by the targets of `cargo fuzz` and, on mutated samples, by `tests/fuzz.rs`.

use std::sync::{Arc, LazyLock};

use auditflow::event::native::{self, RawForm};
use auditflow::time::{TimeRange, Timestamp};
use auditflow::vendors::content::content_hash;
use auditflow::vendors::damaged::read_page;
use auditflow::vendors::registry::VendorConfig;
use auditflow::vendors::{PageRequest, ReadContext, Vendor};
use serde_json::json;
use serde_json::value::RawValue;

/// Every vendor, with its smallest settings.
pub static VENDORS: LazyLock<Vec<Arc<dyn Vendor>>> = LazyLock::new(|| {
    let settings = [
        ("akuity", json!({"organization_id": "o", "api_key_id": "k", "api_key_secret": "none"})),
        ("captivateiq", json!({"api_token": "none"})),
        ("clumio", json!({"access_token": "none"})),
        (
            "confluence",
            json!({"cloud_id": "11111111-2222-4333-8444-555555555555", "email": "a@example.com", "api_token": "none"}),
        ),
        ("merge", json!({"api_key": "none"})),
    ];
    let build = |(name, settings)| {
        let config = VendorConfig::read(name, settings).expect("a vendor").expect("settings");
        config.build().expect("valid settings")
    };
    settings.into_iter().map(build).collect()
});

/// Any bytes as the body of an answer: nothing panics, and every record of a page is JSON that is part of it. Returns the
/// number of pages that could be read.
pub fn page(body: &[u8]) -> usize {
    let range = TimeRange::new(Timestamp::from_secs(1_700_000_000), Timestamp::from_secs(1_800_000_000));
    let mut pages = 0;
    for vendor in VENDORS.iter() {
        for cursor in [None, Some("2")] {
            let request = PageRequest { range, cursor, page_size: 100 };
            let Ok(page) = read_page(vendor.as_ref(), body.to_vec(), &request) else { continue };
            for record in &page.records {
                let raw = &page.body[record.clone()];
                assert!(serde_json::from_str::<&RawValue>(raw).is_ok(), "{raw}");
            }
            pages += 1;
        }
        vendor.classify_error(400, &String::from_utf8_lossy(body), true);
    }
    pages
}

/// Any text as a record: nothing panics, its event has the id of its key, and is one line of valid JSON. Returns the number of
/// vendors for which it could be normalized.
pub fn record(raw: &str) -> usize {
    assert_ne!(content_hash(raw), 0);
    let mut normalized = 0;
    for vendor in VENDORS.iter() {
        let context = ReadContext { source: "acme", observed_at: Timestamp::from_secs(1_790_000_000), occurrence: 0 };
        let event = vendor.normalizer().normalize(raw, &context);
        assert_eq!((event.raw, event.id), (raw, vendor.normalizer().key_of(raw).id));
        normalized += usize::from(event.normalize_error.is_none());
        let mut line = Vec::new();
        native::encode(&event, RawForm::Keep, &mut line);
        assert!(!line.contains(&b'\n'));
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_ok(), "{}", String::from_utf8_lossy(&line));
    }
    normalized
}
