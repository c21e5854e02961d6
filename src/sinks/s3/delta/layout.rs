//! Where the table lies, and its partitions: both follow from `key_prefix`.
//!
//! ```text
//! audit/event_vendor={{ vendor }}/event_date=%Y-%m-%d/
//! root  partition, string         partition, date
//! ```

use std::collections::HashSet;

use arrow_schema::Fields;

use super::actions::Values;
use crate::sinks::parquet;
use crate::sinks::template::{NULL_PARTITION, Template};

/// A partition of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sinks::s3) struct Partition {
    pub(super) name: String,
    pub(super) is_date: bool,
}

/// The place of a table in its bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sinks::s3) struct TableLayout {
    /// The start of every key: empty, or a directory with a slash at the end.
    pub(in crate::sinks::s3) root: String,
    pub(super) partitions: Vec<Partition>,
}

impl TableLayout {
    /// The layout that a key prefix gives.
    ///
    /// # Errors
    /// Why it cannot be a table's.
    pub(in crate::sinks::s3) fn of(prefix: &Template, columns: &[String]) -> Result<Self, String> {
        let text = prefix.canonical();
        let mut partitions = Vec::new();
        for (name, value) in text.split('/').filter_map(|part| part.split_once('=')) {
            partitions.push(Partition { name: name.to_owned(), is_date: value == "%Y-%m-%d" });
        }
        let fixed = prefix.fixed_start();
        let above = fixed.split_once('=').map_or(fixed, |(above, _)| above);
        if !partitions.is_empty() && !fixed.contains('=') {
            return Err("the directory before the first `name=` has values in it, so the table has no root".to_owned());
        }
        let mut names = HashSet::new();
        for Partition { name, .. } in &partitions {
            if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') || name.is_empty() {
                return Err(format!("`{name}` cannot be the name of a partition: use letters, digits and _"));
            }
            if columns.iter().any(|column| column.eq_ignore_ascii_case(name)) {
                return Err(format!("the partition `{name}` has the name of a column"));
            }
            if !names.insert(name.to_ascii_lowercase()) {
                return Err(format!("the partition `{name}` is there twice"));
            }
        }
        let root = above.rfind('/').map_or("", |end| &above[..=end]).to_owned();
        Ok(Self { root, partitions })
    }

    /// The path of an object in the log, and the values of its partitions.
    pub(super) fn path_of(&self, key: &str) -> (String, Values) {
        let relative = key.strip_prefix(&self.root).unwrap_or(key);
        let mut values = Values::new();
        for (name, value) in relative.split('/').filter_map(|part| part.split_once('=')) {
            if self.partitions.iter().any(|partition| partition.name == name) {
                values.entry(name.to_owned()).or_insert_with(|| (value != NULL_PARTITION).then(|| decoded(value)));
            }
        }
        (percent_encoding::utf8_percent_encode(relative, PATH).to_string(), values)
    }

    /// The key below the log's directory.
    pub(super) fn log_key(&self, name: &str) -> String {
        format!("{}_delta_log/{name}", self.root)
    }
}

/// Why the key prefix cannot be that of a table.
pub(in crate::sinks::s3) fn prefix_problem(prefix: &Template, with_raw: bool) -> Option<String> {
    TableLayout::of(prefix, &names_of(&parquet::fields(with_raw))).err()
}

/// The directory of the table: the start of every key.
pub(in crate::sinks::s3) fn root_of(prefix: &Template) -> Option<String> {
    TableLayout::of(prefix, &[]).ok().map(|layout| layout.root)
}

/// The names of columns.
pub(super) fn names_of(columns: &Fields) -> Vec<String> {
    columns.iter().map(|column| column.name().clone()).collect()
}

/// All but what a path of a URL contains as it is.
const PATH: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'/').remove(b'=').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A text without the percent-encoding of paths.
pub(super) fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(prefix: &str) -> Result<TableLayout, String> {
        TableLayout::of(&Template::parse(prefix).expect("a template"), &["vendor".to_owned()])
    }

    #[test]
    fn the_root_is_above_the_first_partition() {
        let table = layout("audit/logs/event_vendor={{ vendor }}/event_date=%F/").expect("a table");
        assert_eq!(table.root, "audit/logs/");
        assert_eq!(table.log_key("x"), "audit/logs/_delta_log/x");
        assert_eq!(table.partitions.iter().map(|partition| partition.is_date).collect::<Vec<_>>(), [false, true]);
        assert_eq!(layout("event_vendor={{ vendor }}/").expect("a table").root, "");
        let flat = layout("audit/%Y/%m/").expect("a table without partitions");
        assert_eq!((flat.root.as_str(), flat.partitions.len()), ("audit/", 0));
    }

    #[test]
    fn values_are_those_of_the_event_and_paths_are_encoded_once_more() {
        let table = layout("audit/event_vendor={{ vendor }}/actor_name={{ actor.name }}/").expect("a table");
        let key = "audit/event_vendor=a%2Fb c/actor_name=__HIVE_DEFAULT_PARTITION__/x.parquet";
        let (path, values) = table.path_of(key);
        assert_eq!(path, "event_vendor=a%252Fb%20c/actor_name=__HIVE_DEFAULT_PARTITION__/x.parquet");
        assert_eq!(decoded(&path), key["audit/".len()..]);
        assert_eq!(values["event_vendor"].as_deref(), Some("a/b c"));
        assert_eq!(values["actor_name"], None);
    }

    #[test]
    fn what_cannot_be_a_table_is_refused() {
        for (prefix, word) in [
            ("audit/%Y/event_vendor={{ vendor }}/", "no root"),
            ("audit/Vendor={{ vendor }}/", "name of a column"),
            ("audit/a b={{ vendor }}/", "cannot be the name"),
            ("audit/x={{ vendor }}/X=%F/", "twice"),
        ] {
            let reason = layout(prefix).expect_err(prefix);
            assert!(reason.contains(word), "{reason}");
        }
    }
}
