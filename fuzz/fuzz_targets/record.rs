//! Any text as a record: nothing panics, its event has the id of its key, and is one line of valid JSON.
#![no_main]

mod vendors;

use auditflow::event::native::{self, RawForm};
use auditflow::time::Timestamp;
use auditflow::vendors::ReadContext;
use auditflow::vendors::content::content_hash;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &str| {
    assert_ne!(content_hash(raw), 0);
    for vendor in vendors::VENDORS.iter() {
        let context = ReadContext { source: "acme", observed_at: Timestamp::from_secs(1_790_000_000), occurrence: 0 };
        let event = vendor.normalizer().normalize(raw, &context);
        assert_eq!((event.raw, event.id), (raw, vendor.normalizer().key_of(raw).id));
        let mut line = Vec::new();
        native::encode(&event, RawForm::Keep, &mut line);
        assert!(!line.contains(&b'\n'));
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_ok(), "{}", String::from_utf8_lossy(&line));
    }
});
