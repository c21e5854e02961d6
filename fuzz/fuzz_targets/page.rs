//! Any bytes as the body of an answer: nothing panics, and every record of a page is JSON that is part of it.
#![no_main]

mod vendors;

use auditflow::time::{TimeRange, Timestamp};
use auditflow::vendors::PageRequest;
use auditflow::vendors::damaged::read_page;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

fuzz_target!(|body: &[u8]| {
    let range = TimeRange::new(Timestamp::from_secs(1_700_000_000), Timestamp::from_secs(1_800_000_000));
    for vendor in vendors::VENDORS.iter() {
        for cursor in [None, Some("2")] {
            let request = PageRequest { range, cursor, page_size: 100 };
            let Ok(page) = read_page(vendor.as_ref(), body.to_vec(), &request) else { continue };
            for record in &page.records {
                let raw = &page.body[record.clone()];
                assert!(serde_json::from_str::<&RawValue>(raw).is_ok(), "{raw}");
            }
        }
        vendor.classify_error(400, &String::from_utf8_lossy(body), true);
    }
});
