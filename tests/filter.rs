//! Filters in a complete pipeline: each sink gets the events that match its conditions, filtered events are counted, and a sink
//! without a filter gets all events.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use auditflow::format::count;
use auditflow::simulator::{SimulatorOptions, Variants};
use common::TestPipeline;
use serde_json::Value;

fn test_pipeline() -> TestPipeline {
    let mut variants = Variants::default();
    variants.lift_rate_limits();
    TestPipeline::new(SimulatorOptions {
        events_per_vendor: 200,
        variants,
        clock: common::system_clock(),
        ..SimulatorOptions::default()
    })
}

/// A sink behind two filters in sequence, one behind two filters in parallel, one behind a filter that passes nothing, and one
/// that gets all events, some of them by a second route.
fn write_filters(pipeline: &TestPipeline) -> std::path::PathBuf {
    let sink = |name: &str, inputs: &str| {
        let path = pipeline.path(name).join("{{ vendor }}.ndjson");
        format!(
            "  {name}: {{type: file, inputs: [{inputs}], path: \"{}\", batch: {{max_events: 90}}}}\n",
            path.display()
        )
    };
    let sinks = [
        sink("few", "people"),
        sink("either", "deletions, backups"),
        sink("none", "nothing"),
        sink("all", "events, people"),
    ];
    pipeline.write_pipeline(&format!("{FILTERS}sinks:\n{}", sinks.concat()))
}

const FILTERS: &str = "
  deletions:
    type: filter
    inputs: [events]
    condition: action == \"delete\"
  people:
    type: filter
    inputs: [deletions]
    condition: >-
      actor.type in [\"user\", \"admin\"]
      && vendor != \"merge\"
  backups:
    type: filter
    inputs: events
    condition: 'vendor == \"clumio\" && raw.contains(\"id\")'
  nothing:
    type: filter
    inputs: [backups]
    condition: vendor == \"merge\"
";

fn events(directory: &Path) -> Vec<Value> {
    let files = if directory.exists() { common::files_below(directory) } else { Vec::new() };
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
    texts.flat_map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>()).collect()
}

fn ids<'e>(events: impl IntoIterator<Item = &'e Value>) -> BTreeSet<(String, u64)> {
    let id = |event: &Value| (event["id"].as_str().unwrap().to_owned(), event["version"].as_u64().unwrap_or(0));
    events.into_iter().map(id).collect()
}

#[test]
fn filters_pass_matching_events_and_count_the_others() {
    let pipeline = test_pipeline();
    let file = write_filters(&pipeline);
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);

    pipeline.assert_exact(&pipeline.path("all"));
    let all = events(&pipeline.path("all"));
    let deleted = |event: &&Value| event["action"] == "delete";
    let by_people = |event: &&Value| event["actor"]["type"] == "user" || event["actor"]["type"] == "admin";
    let few = ids(all.iter().filter(deleted).filter(by_people).filter(|event| event["vendor"] != "merge"));
    let either = ids(all.iter().filter(|event| deleted(event) || event["vendor"] == "clumio"));
    assert!(
        !few.is_empty() && few.len() < either.len() && either.len() < all.len(),
        "the generated events are too uniform"
    );
    for (sink, expected) in [("few", few), ("either", either), ("none", BTreeSet::new())] {
        let delivered = events(&pipeline.path(sink));
        assert_eq!(ids(&delivered), expected, "{sink}");
        assert_eq!(delivered.len(), expected.len(), "{sink} has duplicates");
    }

    pipeline.assert_counters_add_up(&["few", "either", "none", "all"]);
    let dropped = format!("{} filtered", count(all.len() as u64));
    let log = fs::read_to_string(pipeline.path("log")).unwrap();
    let summary = log.lines().find(|line| line.starts_with("sink   none ")).unwrap();
    assert!(summary.contains(" 0 events delivered") && summary.ends_with(&dropped), "{dropped} in {summary}");
}
