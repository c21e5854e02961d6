//! What the tests of every vendor share: damaged bodies, and parsing them in every way.

use proptest::prelude::*;

use super::{PageRequest, ReadContext, Vendor};
use crate::time::{TimeRange, Timestamp};

/// Any text, or the page with some of its bytes replaced, removed or repeated.
pub(super) fn any_or_damaged(page: &'static str) -> impl Strategy<Value = String> {
    let edits = proptest::collection::vec((0..page.len(), 0..40_usize, "[\\[\\]{}\":,0-9nulta<\\\\\\PC]{0,6}"), 1..4);
    let damaged = edits.prop_map(|edits| {
        let mut text = page.to_owned();
        edits.into_iter().for_each(|(at, length, piece)| replace(&mut text, at, length, &piece));
        text
    });
    prop_oneof![1 => ".*", 3 => damaged]
}

fn replace(text: &mut String, at: usize, length: usize, piece: &str) {
    let boundary = |text: &str, at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    let (start, end) = (boundary(text, at).unwrap_or(0), boundary(text, at + length).unwrap_or(0));
    text.replace_range(start..end, piece);
}

/// Parses the body as a page, as a record and as an error: nothing panics, no byte of a record is lost, and the event's
/// id equals the record key's.
pub(super) fn parse_in_every_way(vendor: &dyn Vendor, body: &str) {
    let range = TimeRange { from: Timestamp::from_secs(1_700_000_000), to: Timestamp::from_secs(1_800_000_000) };
    for cursor in [None, Some(body)] {
        let page = vendor.parse_page(body, &PageRequest { range, cursor, page_size: 100 });
        page.into_iter().flat_map(|page| page.records).for_each(|record| normalize(vendor, record));
    }
    normalize(vendor, body);
    vendor.normalizer().page_records(body).into_iter().flatten().for_each(|record| normalize(vendor, record));
    for status in [400, 403, 404] {
        vendor.classify_error(status, body, true);
    }
}

fn normalize(vendor: &dyn Vendor, record: &str) {
    let context = ReadContext { source: "acme", observed_at: Timestamp::from_secs(1_790_000_000), occurrence: 0 };
    let event = vendor.normalizer().normalize(record, &context);
    assert_eq!((event.raw, event.id), (record, vendor.normalizer().key_of(record).id));
}
