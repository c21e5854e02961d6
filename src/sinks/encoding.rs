//! Encodes one event as one line or one record.

use serde::Deserialize;

use super::EventForm;
use super::template::Template;
use crate::diagnostic::SettingDiagnostic;
use crate::event::Event;
use crate::event::ecs;
use crate::event::fields::FIELDS;
use crate::event::native::{self, RawForm};
use crate::event::ocsf::{self, OcsfVersion};

/// `encoding:` in the pipeline file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EncodingOptions {
    /// `native` (default), `ocsf` or `ecs`.
    pub schema: Schema,
    /// With `schema: ocsf`: `1.8.0` (default), `1.7.0`, or `1.3.0` for Amazon Security Lake.
    pub ocsf_version: OcsfVersion,
    /// The vendor's record: `keep` (JSON, byte for byte; the default), `string` (a JSON string with the exact bytes) or
    /// `drop`.
    pub raw: RawForm,
}

/// The schema of encoded events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Schema {
    /// auditflow's own schema.
    #[default]
    Native,
    /// Open Cybersecurity Schema Framework.
    Ocsf,
    /// Elastic Common Schema.
    Ecs,
}

/// The columns of an event in the Open Cybersecurity Schema Framework, over all classes.
const OCSF_COLUMNS: &[&str] = &[
    "activity_id",
    "activity_name",
    "actor",
    "api",
    "category_uid",
    "class_uid",
    "group",
    "message",
    "metadata",
    "observables",
    "privileges",
    "raw_data",
    "raw_data_hash",
    "raw_data_size",
    "resources",
    "service",
    "severity_id",
    "src_endpoint",
    "status",
    "status_id",
    "time",
    "type_uid",
    "unmapped",
    "user",
];

/// The columns of an event in the Elastic Common Schema.
const ECS_COLUMNS: &[&str] =
    &["@timestamp", "ecs", "message", "event", "user", "group", "source", "organization", "related", "audit"];

impl Schema {
    /// Whether events have a column of this name. Case does not count, as for Hive.
    fn has_column(self, name: &str) -> bool {
        let is_name = |column: &str| column.eq_ignore_ascii_case(name);
        match self {
            Self::Native => FIELDS.iter().any(|field| is_name(field.name)),
            Self::Ocsf => OCSF_COLUMNS.iter().any(|column| is_name(column)),
            Self::Ecs => ECS_COLUMNS.iter().any(|column| is_name(column)),
        }
    }

    /// A warning for each Hive partition of the template in the setting `key` that is also a column: readers refuse such a
    /// table, or lose one of the two.
    pub(super) fn partition_warnings(self, key: &str, template: &Template) -> Vec<SettingDiagnostic> {
        let mut warnings = Vec::new();
        for name in template.partition_names().into_iter().filter(|name| self.has_column(name)) {
            warnings.push(SettingDiagnostic {
                key: key.to_owned(),
                message: format!("the partition `{name}=` has the name of a column of the events: pyarrow, pandas, Athena, Trino and others refuse that"),
                hint: format!("write `event_{name}=`"),
            });
        }
        warnings
    }
}

/// Appends the event in its form, and a newline.
pub fn push_line(event: &Event<'_>, form: EventForm, options: EncodingOptions, out: &mut Vec<u8>) {
    push_event(event, form, options, out);
    out.push(b'\n');
}

/// Appends the event in its form, without line breaks.
pub fn push_event(event: &Event<'_>, form: EventForm, options: EncodingOptions, out: &mut Vec<u8>) {
    match (form, options.schema) {
        // Every line of the output is valid JSON.
        (EventForm::Raw, _) => native::push_record(event, out),
        (EventForm::Normalized, Schema::Native) => native::encode(event, options.raw, out),
        (EventForm::Normalized, Schema::Ocsf) => ocsf::encode(event, options.ocsf_version, options.raw, out),
        (EventForm::Normalized, Schema::Ecs) => ecs::encode(event, options.raw, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::testing::event;

    fn line(event: &Event<'_>, form: EventForm, raw: RawForm) -> String {
        let mut out = Vec::new();
        push_line(event, form, EncodingOptions { raw, ..EncodingOptions::default() }, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_raw_event_is_the_vendors_record_in_one_line() {
        let raw = |record| line(&event(record, "2026-01-02T03:04:05Z"), EventForm::Raw, RawForm::Drop);
        assert_eq!(raw("{\"a\": 1.10}"), "{\"a\": 1.10}\n");
        assert_eq!(raw("{\n \"a\": \"b c\"\n}"), "{\"a\":\"b c\"}\n");
        let mut broken = event("{\n\"a", "2026-01-02T03:04:05Z");
        broken.normalize_error = Some("cut off".to_owned());
        assert_eq!(line(&broken, EventForm::Raw, RawForm::Keep), "\"{\\n\\\"a\"\n");
    }

    #[test]
    fn the_raw_option_is_applied() {
        let event = event("{\"a\":1}", "2026-01-02T03:04:05Z");
        assert!(line(&event, EventForm::Normalized, RawForm::Keep).contains("\"raw\":{\"a\":1}"));
        assert!(line(&event, EventForm::Normalized, RawForm::String).contains("\"raw\":\"{"));
        assert!(!line(&event, EventForm::Normalized, RawForm::Drop).contains("\"raw\""));
    }

    #[test]
    fn every_column_of_an_encoded_event_is_known() {
        let event = event("{\"a\":1}", "2026-01-02T03:04:05Z");
        for schema in [Schema::Native, Schema::Ocsf, Schema::Ecs] {
            let mut out = Vec::new();
            push_event(
                &event,
                EventForm::Normalized,
                EncodingOptions { schema, ..EncodingOptions::default() },
                &mut out,
            );
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&out).expect("an object");
            for name in object.keys() {
                assert!(schema.has_column(name), "{schema:?}: {name}");
            }
        }
    }
}
