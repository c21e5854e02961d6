//! What a perfect collector must have: every record that was ever visible, whatever faults stood in the way.

use std::collections::HashMap;

use super::name::VendorName;
use super::store::{Record, Store, Window};
use crate::time::Timestamp;

/// One event as it truly is. Two wholly identical records are two of these.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TruthRecord {
    /// The simulator's own key: `vendor-number`. It appears in no answer.
    pub key: String,
    /// The record's own time.
    pub timestamp: Timestamp,
    /// From when on it was served.
    pub visible_at: Timestamp,
    /// The exact text that is served, its latest version.
    pub raw: String,
    /// Its number among wholly identical records, from 0.
    pub twin_number: u32,
    /// The present version, from 1: how many versions there have been.
    pub version: u32,
    /// How many of the versions were served in a page.
    pub versions_served: u32,
    /// The texts of the earlier versions, oldest first.
    pub earlier: Vec<String>,
    /// Whether it has no usable time or is no object.
    pub malformed: bool,
}

/// Which part of the truth is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TruthQuery {
    /// Records of this time and later.
    pub from: Option<Timestamp>,
    /// Records before this time.
    pub to: Option<Timestamp>,
    /// Records that were visible by this moment; never more than what is visible now.
    pub visible_by: Option<Timestamp>,
}

/// The truth of a store, oldest first. Records older than `oldest` count only if they were served before they vanished.
pub(super) fn of(vendor: VendorName, store: &Store, query: TruthQuery, oldest: Option<Timestamp>) -> Vec<TruthRecord> {
    let window = Window { from: query.from.unwrap_or(Window::ALL.from), to: query.to.unwrap_or(Window::ALL.to) };
    let visible_by = query.visible_by.unwrap_or(Timestamp::MAX);
    let mut equals: HashMap<&str, u32> = HashMap::new();
    let records = &store.visible()[store.range(window)];
    records
        .iter()
        .filter(|record| record.visible_at <= visible_by)
        .filter(|record| record.versions_served > 0 || oldest.is_none_or(|oldest| record.at >= oldest))
        .map(|record| {
            let count = equals.entry(&record.raw).or_default();
            *count += 1;
            truth_of(vendor, record, *count - 1)
        })
        .collect()
}

fn truth_of(vendor: VendorName, record: &Record, twin_number: u32) -> TruthRecord {
    TruthRecord {
        key: key_of(vendor, record.sequence),
        timestamp: record.at,
        visible_at: record.visible_at,
        raw: record.raw.to_string(),
        twin_number,
        version: u32::try_from(record.earlier.len()).unwrap_or(u32::MAX).saturating_add(1),
        versions_served: record.versions_served,
        earlier: record.earlier.iter().map(ToString::to_string).collect(),
        malformed: record.malformed,
    }
}

pub(super) fn key_of(vendor: VendorName, sequence: u64) -> String {
    format!("{vendor}-{sequence}")
}

/// The sequence in a key; `None` if it is no key of this vendor.
pub(super) fn sequence_of(vendor: VendorName, key: &str) -> Option<u64> {
    key.strip_prefix(vendor.as_str())?.strip_prefix('-')?.parse().ok()
}
