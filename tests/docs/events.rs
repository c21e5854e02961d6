//! Every event on every page is what the normalizer makes of the record before it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use auditflow::event::native::{self, RawForm};
use auditflow::time::Timestamp;
use auditflow::vendors::{Normalizer, NormalizerConfig, ReadContext, registry};
use serde_json::{Map, Value};

use crate::pages::{self, Block};

/// An event on a page.
struct Shown {
    block: Block,
    /// Its fields.
    fields: Map<String, Value>,
    /// The record before it, if there is one.
    record: Option<String>,
}

impl Shown {
    fn text(&self, field: &str) -> &str {
        self.fields[field].as_str().unwrap_or_else(|| panic!("{}: `{field}` is not a string", self.block.place()))
    }

    fn normalizer(&self) -> Arc<dyn Normalizer> {
        let tenant = self.fields["tenant"].as_str().map(str::to_owned);
        let normalizer_config = NormalizerConfig { tenant, ..NormalizerConfig::default() };
        registry::normalizer(self.text("vendor"), &normalizer_config)
            .unwrap_or_else(|| panic!("{}: unknown vendor", self.block.place()))
    }

    /// The event of a record, with the source, tenant and `observed_at` of the shown event; without `raw`.
    fn event_of(&self, record: &str) -> String {
        let observed_at = Timestamp::parse_rfc3339(self.text("observed_at")).unwrap();
        let context = ReadContext { source: self.text("source"), observed_at, occurrence: 0 };
        let mut encoded = Vec::new();
        native::encode(&self.normalizer().normalize(record, &context), RawForm::Drop, &mut encoded);
        String::from_utf8(encoded).unwrap().trim_end().to_owned()
    }
}

/// The events of a page. A block of JSON right before an event that is not itself an event is its record.
fn events_of(page: &Path) -> Vec<Shown> {
    let mut events = Vec::new();
    let mut record = None;
    for block in pages::blocks(page, &["json"]) {
        let Ok(Value::Object(fields)) = serde_json::from_str(&block.text) else { continue };
        if fields.contains_key("schema_version") {
            events.push(Shown { record: record.take(), fields, block });
        } else {
            record = Some(block.text);
        }
    }
    events
}

/// The JSON in one line: pages break lines for reading.
fn in_one_line(json: &str) -> String {
    json.lines().map(str::trim).collect()
}

#[test]
fn every_event_after_a_record_is_what_the_normalizer_makes_of_it() {
    let mut vendors = BTreeSet::new();
    for shown in pages::pages().iter().flat_map(|page| events_of(page)) {
        let Some(record) = &shown.record else { continue };
        assert_eq!(in_one_line(&shown.block.text), shown.event_of(record), "{}", shown.block.place());
        vendors.insert((shown.text("vendor").to_owned(), shown.block.page.ends_with("event-schema.md")));
    }
    let everywhere = registry::NAMES.iter().flat_map(|name| [false, true].map(|schema| ((*name).to_owned(), schema)));
    assert_eq!(vendors, everywhere.collect(), "each vendor has an event on its own page and one on the schema's");
}

#[test]
fn the_schema_page_shows_the_example_record_of_each_vendor() {
    for shown in events_of(&pages::root().join("docs/event-schema.md")) {
        let Some(record) = &shown.record else { continue };
        assert_eq!(in_one_line(record), in_one_line(shown.normalizer().example()), "{}", shown.block.place());
    }
}

#[test]
fn every_event_has_the_fields_of_the_schema() {
    for shown in pages::pages().iter().flat_map(|page| events_of(page)) {
        let normalized: Map<String, Value> =
            serde_json::from_str(&shown.event_of(shown.normalizer().example())).unwrap();
        let names = |fields: &Map<String, Value>| -> BTreeSet<String> {
            fields.keys().filter(|name| *name != "raw").cloned().collect()
        };
        assert_eq!(names(&shown.fields), names(&normalized), "{}", shown.block.place());
    }
}
