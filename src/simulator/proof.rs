//! The truth, and the comparison of what was delivered with it.
//!
//! ```text
//! truth (exact bytes of every record) ---+
//!                                        +--> Verdict: lost, duplicated, unexpected
//! delivered lines (id, version, raw) ----+
//! ```

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::meaning::RecordMeaning;
use super::store::{Record, Store, Window};
use super::vendor_name::VendorName;
use crate::time::Timestamp;

/// One delivered event, as far as the proof needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The vendor's name.
    pub vendor: String,
    /// The event's id.
    pub id: String,
    /// Its version; 0 if it has none.
    pub version: u64,
    /// The vendor's record, byte for byte.
    pub raw: String,
}

impl Delivered {
    /// Reads one line of normalized NDJSON.
    ///
    /// # Errors
    /// When the line is not an event.
    pub fn from_line(line: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Line<'a> {
            vendor: String,
            id: String,
            #[serde(default)]
            version: u64,
            #[serde(borrow)]
            raw: &'a RawValue,
        }
        let line: Line<'_> = serde_json::from_str(line)?;
        Ok(Self { vendor: line.vendor, id: line.id, version: line.version, raw: line.raw.get().to_owned() })
    }
}

/// The result of the comparison. Each list holds raw records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Records of the truth.
    pub expected: usize,
    /// Delivered lines that are the latest version of a record.
    pub delivered: usize,
    /// Delivered lines that were followed by a later version of the same record.
    pub earlier_versions: usize,
    /// In the truth but not delivered.
    pub lost: Vec<String>,
    /// Delivered more often than in the truth.
    pub duplicated: Vec<String>,
    /// Delivered but not in the truth.
    pub unexpected: Vec<String>,
}

impl Verdict {
    /// Whether nothing is lost, duplicated or unexpected.
    #[must_use]
    pub fn is_perfect(&self) -> bool {
        self.lost.is_empty() && self.duplicated.is_empty() && self.unexpected.is_empty()
    }
}

/// Compares the truth's raw records (identical ones appear more than once) with what was delivered.
#[must_use]
pub fn compare<'a>(truth: impl IntoIterator<Item = &'a str>, delivered: &[Delivered]) -> Verdict {
    let mut open: HashMap<&str, usize> = HashMap::new();
    let mut verdict = Verdict::default();
    for raw in truth {
        *open.entry(raw).or_default() += 1;
        verdict.expected += 1;
    }
    let mut latest_version: HashMap<&str, u64> = HashMap::new();
    let mut seen: HashSet<(&str, u64)> = HashSet::new();
    let mut others = Vec::new();
    for event in delivered {
        match open.get_mut(event.raw.as_str()) {
            None => others.push(event),
            Some(left) if *left == 0 || !seen.insert((&event.id, event.version)) => {
                verdict.duplicated.push(event.raw.clone())
            }
            Some(left) => {
                *left -= 1;
                verdict.delivered += 1;
                latest_version.insert(&event.id, event.version);
            }
        }
    }
    for event in others {
        match latest_version.get(event.id.as_str()) {
            Some(latest) if event.version < *latest && seen.insert((&event.id, event.version)) => {
                verdict.earlier_versions += 1
            }
            Some(_) => verdict.duplicated.push(event.raw.clone()),
            None => verdict.unexpected.push(event.raw.clone()),
        }
    }
    for (raw, left) in open {
        verdict.lost.extend(std::iter::repeat_n(raw.to_owned(), left));
    }
    verdict
}

/// One event of the truth. Identical records are separate events.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TruthRecord {
    /// The simulator's own key: `vendor-number`. Vendors' answers do not contain it.
    pub key: String,
    /// The record's own time.
    pub timestamp: Timestamp,
    /// When it became visible.
    pub visible_at: Timestamp,
    /// The exact text of its latest version.
    pub raw: String,
    /// Its number among identical records, from 0.
    pub occurrence: u32,
    /// The number of versions so far, from 1.
    pub version: u32,
    /// How many of the versions were served in a page.
    pub versions_served: u32,
    /// The texts of the earlier versions, oldest first.
    pub earlier: Vec<String>,
    /// Whether it has no usable time or is not an object.
    pub malformed: bool,
    /// What it says, as far as the simulator wrote it: `None` for a text that was inserted or changed.
    pub meaning: Option<RecordMeaning>,
}

/// Selects a part of the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TruthQuery {
    /// Records of this time and later.
    pub from: Option<Timestamp>,
    /// Records before this time.
    pub to: Option<Timestamp>,
    /// Records that were visible by this moment; never more than what is visible now.
    pub visible_by: Option<Timestamp>,
}

/// The truth of a store, oldest first. Records older than `oldest` count only if they were served while visible.
pub(super) fn truth_of_store(
    vendor: VendorName,
    store: &Store,
    query: TruthQuery,
    oldest: Option<Timestamp>,
) -> Vec<TruthRecord> {
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

fn truth_of(vendor: VendorName, record: &Record, occurrence: u32) -> TruthRecord {
    TruthRecord {
        key: key_of(vendor, record.sequence),
        timestamp: record.at,
        visible_at: record.visible_at,
        raw: record.raw.to_string(),
        occurrence,
        version: u32::try_from(record.earlier.len()).unwrap_or(u32::MAX).saturating_add(1),
        versions_served: record.versions_served,
        earlier: record.earlier.iter().map(ToString::to_string).collect(),
        malformed: record.malformed,
        meaning: record.meaning.clone(),
    }
}

pub(super) fn key_of(vendor: VendorName, sequence: u64) -> String {
    format!("{vendor}-{sequence}")
}

/// The sequence in a key; `None` if it is not a key of this vendor.
pub(super) fn sequence_of(vendor: VendorName, key: &str) -> Option<u64> {
    key.strip_prefix(vendor.as_str())?.strip_prefix('-')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, version: u64, raw: &str) -> Delivered {
        Delivered { vendor: "akuity".into(), id: id.into(), version, raw: raw.into() }
    }

    #[test]
    fn everything_once_is_perfect_identical_records_included() {
        let verdict = compare(["a", "b", "b"], &[event("1", 0, "a"), event("2", 0, "b"), event("3", 0, "b")]);
        assert!(verdict.is_perfect());
        assert_eq!((verdict.expected, verdict.delivered), (3, 3));
    }

    #[test]
    fn finds_lost_duplicated_and_unexpected_records() {
        let verdict = compare(["a", "b"], &[event("1", 0, "a"), event("1", 0, "a"), event("9", 0, "z")]);
        assert_eq!(
            (verdict.lost, verdict.duplicated, verdict.unexpected),
            (vec!["b".into()], vec!["a".into()], vec!["z".into()])
        );
    }

    #[test]
    fn an_identical_record_needs_an_id_of_its_own() {
        let verdict = compare(["b", "b"], &[event("2", 0, "b"), event("2", 0, "b")]);
        assert_eq!(verdict.duplicated, ["b"]);
    }

    #[test]
    fn earlier_versions_of_a_record_are_no_doubles_unless_repeated() {
        let seen = [event("1", 5, "old"), event("1", 7, "new"), event("1", 5, "old")];
        let verdict = compare(["new"], &seen);
        assert_eq!((verdict.earlier_versions, verdict.duplicated.len()), (1, 1));
    }

    #[test]
    fn reads_raw_byte_for_byte() {
        let line = r#"{"id":"1","vendor":"clumio","raw":{"n":1.10, "x":"\u00e9"}}"#;
        assert_eq!(Delivered::from_line(line).expect("an event").raw, r#"{"n":1.10, "x":"\u00e9"}"#);
    }
}
