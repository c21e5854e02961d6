//! `mapping`: how much of the vendors' records the normalizers understand, by event type.
//!
//! ```text
//! record + event --+--> shares: action, category, actor, target, grants      per vendor and event type
//!                  +--> words without a meaning: event types, types of objects
//!                  +--> fields with another type of value, fields that are not read: paths, never values
//! ```

use std::collections::BTreeMap;

use serde::Serialize;

use super::text::{Side, Table, name, wrapped};
use crate::event::{Action, Category, Event, ObjectType};
use crate::format::{count, counted};
use crate::vendors::record::first_reason;
use crate::vendors::shape::{Difference, Shape};

/// No more different words or paths are remembered of a vendor: further ones are counted together.
const MOST_NAMES: usize = 1_000;
/// What is beyond [`MOST_NAMES`].
const FURTHER: &str = "(further ones)";
/// No more names are listed for people in one list; JSON has all.
const MOST_LISTED: usize = 40;
/// Without records nothing is known.
const NO_RECORDS: &str =
    "no records; a journal holds only what its sinks have not delivered yet, and a little more: give a file\n";
/// Event types of this length or longer are free text and may hold values.
const LONGEST_WORD: usize = 80;

/// How well records are understood.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MappingReport {
    /// The version of this form.
    pub format: u32,
    /// Whether there are records, at least the wanted share of each vendor's records has an action and a category, none has
    /// `normalize_error`, and no value is lost.
    pub complete: bool,
    /// Each vendor, by name.
    pub vendors: BTreeMap<&'static str, VendorMapping>,
}

/// The records of one vendor.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct VendorMapping {
    /// All of them.
    pub total: Shares,
    /// By the vendor's event type.
    pub event_types: BTreeMap<String, Shares>,
    /// Event types whose action or category is `other`, with the number of records.
    pub unknown_event_types: BTreeMap<String, u64>,
    /// The vendor's words for types of objects that are `other`, with the number of records.
    pub unknown_object_types: BTreeMap<String, u64>,
    /// The first reasons of `normalize_error`, without values.
    pub normalize_errors: BTreeMap<String, u64>,
    /// Fields with another type of value than expected.
    pub other_types: Vec<OtherType>,
    /// Fields that are in `raw` only.
    pub fields_not_read: BTreeMap<String, u64>,
}

/// A field with another type of value than expected.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OtherType {
    /// Its path in the record.
    pub path: String,
    /// The expected types.
    pub expected: String,
    /// The type that was found.
    pub found: &'static str,
    /// Whether the value is lost: the event does not have it.
    pub lost: bool,
    /// How often.
    pub count: u64,
}

/// How many records have what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Shares {
    /// Records.
    pub records: u64,
    /// With an action other than `other`.
    pub action: u64,
    /// With a category other than `other`.
    pub category: u64,
    /// With an actor's id, name or e-mail address.
    pub actor: u64,
    /// With a target's id, name or e-mail address.
    pub target: u64,
    /// With grants.
    pub grants: u64,
    /// With `normalize_error`.
    pub normalize_error: u64,
}

impl Shares {
    fn add(&mut self, event: &Event<'_>) {
        let actor = [&event.actor.id, &event.actor.name, &event.actor.email];
        self.records += 1;
        self.action += u64::from(event.action != Action::Other);
        self.category += u64::from(event.category != Category::Other);
        self.actor += u64::from(actor.into_iter().any(Option::is_some));
        self.target += u64::from(event.target.as_ref().is_some_and(crate::event::Target::is_identified));
        self.grants += u64::from(!event.grants.is_empty());
        self.normalize_error += u64::from(event.normalize_error.is_some());
    }

    /// Whether at least this percentage has both an action and a category, as far as the two counts tell.
    fn are_mapped(&self, percent: f64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "a share for people")]
        let share = |part: u64| part as f64 * 100.0 >= percent * self.records as f64;
        share(self.action) && share(self.category)
    }
}

/// Collects a [`MappingReport`], record by record.
#[derive(Clone, Debug, Default)]
pub struct MappingCounter {
    vendors: BTreeMap<&'static str, VendorMapping>,
    other_types: BTreeMap<(&'static str, String, Difference), u64>,
}

impl MappingCounter {
    /// Takes a record and the event that it became.
    pub fn add(&mut self, event: &Event<'_>, shape: &Shape) {
        let vendor = self.vendors.entry(event.vendor).or_default();
        let word = shown_word(&event.event_type);
        vendor.total.add(event);
        if vendor.event_types.contains_key(word) || vendor.event_types.len() < MOST_NAMES {
            vendor.event_types.entry(word.to_owned()).or_default().add(event);
        } else {
            vendor.event_types.entry(FURTHER.to_owned()).or_default().add(event);
        }
        if let Some(reason) = &event.normalize_error {
            bump(&mut vendor.normalize_errors, first_reason(reason));
        }
        if event.action == Action::Other || event.category == Category::Other {
            bump(&mut vendor.unknown_event_types, word);
        }
        let objects = event.target.iter().chain(event.related.iter().map(|related| &related.object));
        for word in objects.filter(|object| object.kind == ObjectType::Other).filter_map(|it| it.vendor_type.as_deref())
        {
            bump(&mut vendor.unknown_object_types, shown_word(word));
        }
        let (not_read, other_types) = (&mut vendor.fields_not_read, &mut self.other_types);
        shape.differences(event.raw, &mut |path, difference| match difference {
            Difference::NotRead => bump(not_read, path),
            Difference::OtherType { .. } => {
                *other_types.entry((event.vendor, path.to_owned(), difference)).or_default() += 1;
            }
        });
    }

    /// The report; complete if at least `percent` of each vendor's records have an action and a category.
    #[must_use]
    pub fn finish(mut self, percent: f64) -> MappingReport {
        for ((vendor, path, difference), count) in self.other_types {
            let Difference::OtherType { expected, found, is_lost: lost } = difference else { continue };
            let found = OtherType { path, expected, found, lost, count };
            self.vendors.entry(vendor).or_default().other_types.push(found);
        }
        let complete = !self.vendors.is_empty()
            && self.vendors.values().all(|vendor| {
                let loses = vendor.other_types.iter().any(|other| other.lost);
                vendor.total.are_mapped(percent) && vendor.total.normalize_error == 0 && !loses
            });
        MappingReport { format: 1, complete, vendors: self.vendors }
    }
}

/// Free text may hold values.
fn shown_word(word: &str) -> &str {
    match word {
        "" => "(none)",
        long if long.len() > LONGEST_WORD => "(free text)",
        word => word,
    }
}

fn bump(counts: &mut BTreeMap<String, u64>, key: &str) {
    if let Some(count) = counts.get_mut(key) {
        *count += 1;
    } else if counts.len() < MOST_NAMES {
        counts.insert(key.to_owned(), 1);
    } else {
        *counts.entry(FURTHER.to_owned()).or_default() += 1;
    }
}

impl MappingReport {
    /// The report for people, in lines of at most 100 columns where the vendors' words allow it.
    #[must_use]
    pub fn text(&self) -> String {
        let vendors: Vec<String> = self.vendors.iter().map(|(name, vendor)| vendor.text(name)).collect();
        if vendors.is_empty() { NO_RECORDS.to_owned() } else { vendors.join("\n") }
    }
}

impl VendorMapping {
    fn text(&self, vendor: &str) -> String {
        let mut text = format!("{vendor}: {}\n\n", counted(self.total.records, "record"));
        text += &self.table();
        let errors: Vec<_> = sorted(&self.normalize_errors);
        text += &list("could not be normalized completely", &errors);
        let lost: Vec<_> = self.other_types.iter().map(|other| (other.text(), other.count)).collect();
        text += &list("values of another type than expected", &lost);
        text += &list("event types whose action or category is `other`", &sorted(&self.unknown_event_types));
        text += &list("types of objects that are `other`", &sorted(&self.unknown_object_types));
        text += &list("fields that are in `raw` only", &sorted(&self.fields_not_read));
        text
    }

    fn table(&self) -> String {
        let mut table = Table::new(&[
            ("EVENT TYPE", Side::Left),
            ("RECORDS", Side::Right),
            ("ACTION", Side::Right),
            ("CATEGORY", Side::Right),
            ("ACTOR", Side::Right),
            ("TARGET", Side::Right),
            ("GRANTS", Side::Right),
            ("ERRORS", Side::Right),
        ]);
        for (word, shares) in &self.event_types {
            table.push(shares.row(&name(word)));
        }
        if self.event_types.len() > 1 {
            table.push(self.total.row("all"));
        }
        table.render()
    }
}

impl Shares {
    fn row(&self, name: &str) -> Vec<String> {
        let shares = [self.action, self.category, self.actor, self.target, self.grants];
        let mut row = vec![name.to_owned(), count(self.records)];
        row.extend(shares.map(|part| percent(part, self.records)));
        row.push(if self.normalize_error == 0 { "-".to_owned() } else { count(self.normalize_error) });
        row
    }
}

/// Rounded down, so that 100 % means all of them.
fn percent(part: u64, whole: u64) -> String {
    if part == 0 { "-".to_owned() } else { format!("{} %", part * 100 / whole.max(1)) }
}

impl OtherType {
    fn text(&self) -> String {
        let path = if self.path.is_empty() { "the record" } else { &self.path };
        let lost = if self.lost { ", lost" } else { "" };
        format!("{path}: {} instead of {}{lost}", self.found, self.expected)
    }
}

/// The most frequent first.
fn sorted(counts: &BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let mut sorted: Vec<(String, u64)> = counts.iter().map(|(key, count)| (key.clone(), *count)).collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    sorted
}

fn list(title: &str, items: &[(String, u64)]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let shown = items.iter().take(MOST_LISTED);
    let lines: String =
        shown.map(|(name, number)| wrapped(&format!("  {name} ({})", count(*number)), "    ")).collect();
    let further = items.len().saturating_sub(MOST_LISTED);
    let further = if further > 0 { format!("  and {further} more: see --json\n") } else { String::new() };
    format!("\n{title}:\n{lines}{further}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use crate::vendors::{NormalizerConfig, ReadContext, registry};

    fn report(vendor: &str, records: &[&str], percent: f64) -> MappingReport {
        let normalizer = registry::normalizer(vendor, &NormalizerConfig::default()).expect("a vendor");
        let shape = normalizer.shape();
        let mut counter = MappingCounter::default();
        for raw in records {
            let context = ReadContext { source: "audit", observed_at: Timestamp::from_secs(0), occurrence: 0 };
            counter.add(&normalizer.normalize(raw, &context), &shape);
        }
        counter.finish(percent)
    }

    const KNOWN: &str = r#"{"id":"7b1c","event_type":"INVITED_USER","user_email":"ada@acme.example",
        "event_description":"Invited Bo","created_at":"2026-01-02T10:00:00Z"}"#;
    const UNKNOWN: &str =
        r#"{"id":"7b1d","event_type":"DANCED","created_at":"2026-01-02T10:00:00Z","tempo":{"bpm":120}}"#;
    const DAMAGED: &str = r#"{"id":["x"],"event_type":"DANCED","user_name":{"first":"Ada"},"created_at":"yesterday"}"#;

    #[test]
    fn known_records_are_complete() {
        let report = report("merge", &[KNOWN], 100.0);
        assert!(report.complete, "{report:?}");
        let total = report.vendors["merge"].total;
        assert_eq!((total.records, total.action, total.category, total.actor), (1, 1, 1, 1));
    }

    #[test]
    fn without_records_nothing_is_complete() {
        assert!(!MappingCounter::default().finish(0.0).complete);
    }

    #[test]
    fn what_is_unknown_is_named_without_its_values() {
        let report = report("merge", &[KNOWN, UNKNOWN, UNKNOWN, DAMAGED], 100.0);
        assert!(!report.complete);
        let json = serde_json::to_string(&report).expect("JSON");
        for value in ["120", "yesterday", "first", "Ada", "ada@"] {
            assert!(!json.contains(value), "{value} in {json}");
        }
        insta::assert_snapshot!(report.text());
    }

    #[test]
    fn a_share_of_unknown_words_may_be_accepted() {
        assert!(report("merge", &[KNOWN, UNKNOWN], 50.0).complete);
        assert!(!report("merge", &[KNOWN, UNKNOWN], 51.0).complete);
        assert!(!report("merge", &[KNOWN, DAMAGED], 0.0).complete, "lost values are never accepted");
    }

    #[test]
    fn free_text_is_no_word_and_words_have_a_limit() {
        let long = UNKNOWN.replace("DANCED", &"x".repeat(100));
        let many: Vec<String> = (0..1_010).map(|number| UNKNOWN.replace("DANCED", &format!("D{number}"))).collect();
        let records: Vec<&str> = [long.as_str()].into_iter().chain(many.iter().map(String::as_str)).collect();
        let report = report("merge", &records, 100.0);
        let vendor = &report.vendors["merge"];
        assert_eq!(vendor.unknown_event_types["(free text)"], 1);
        assert_eq!(vendor.unknown_event_types[FURTHER], 11);
        assert_eq!(vendor.event_types[FURTHER].records, 11);
    }
}
