//! `/metrics`: the figures of `status` and the counters of the journal, in the text format of OpenMetrics 1.0.
//!
//! ```text
//! Observation --> StatusReport + SourceView --> one sample per source or sink and metric --> text
//! ```
//!
//! Nothing is counted in memory: counters come from the journal, so that they continue after a restart. Labels hold only
//! names of the pipeline file, so that their number is bounded.

use std::fmt::Write as _;
use std::time::Duration;

use super::observation::{Observation, SourceView};
use super::status::{JournalStatus, ShardState, ShardStatus, SinkStatus, SourceStatus, StatusReport};
use crate::journal::{RequestCounts, SourceStats};
use crate::pipeline::ActiveConfig;
use crate::time::Timestamp;

/// The quantiles of the lateness that are shown.
const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

const UNITS: [&str; 2] = ["bytes", "seconds"];

/// A metric of something that `T` describes. `value` is `None` where it is not known.
struct Metric<T> {
    /// The name without `auditflow_`, and without `_total`.
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&T) -> Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

const fn counter<T>(name: &'static str, help: &'static str, value: fn(&T) -> Option<f64>) -> Metric<T> {
    Metric { name, kind: Kind::Counter, help, value }
}

const fn gauge<T>(name: &'static str, help: &'static str, value: fn(&T) -> Option<f64>) -> Metric<T> {
    Metric { name, kind: Kind::Gauge, help, value }
}

/// What the metrics of a source are made of.
struct Source<'o> {
    status: &'o SourceStatus,
    stats: Option<&'o SourceStats>,
    view: &'o SourceView<'o>,
}

impl Source<'_> {
    fn count(&self, of: fn(&SourceStats) -> u64) -> Option<f64> {
        Some(self.stats.map_or(0, of) as f64)
    }

    /// Time since the newest covered time (since the first start if there is none) that is due, less `delay`.
    fn freshness(&self) -> Option<f64> {
        let first_started_at = self.view.snapshot?.state.first_started_at;
        let covered_to = self.status.covered_to.unwrap_or(first_started_at);
        Some(self.view.progress.wanted.to.since(covered_to).as_secs_f64())
    }

    fn backfill_remaining(&self) -> Duration {
        let holes = self.view.progress.gaps.iter().filter(|gap| !gap.at_head);
        holes.map(|gap| gap.range.to.since(gap.range.from)).sum()
    }
}

fn source_metrics<'o>() -> Vec<Metric<Source<'o>>> {
    vec![
        counter("source_events", "Events collected.", |source| source.count(|stats| stats.events)),
        counter("source_bytes", "Bytes of the raw records collected.", |source| source.count(|stats| stats.raw_bytes)),
        counter("source_pages", "Pages read.", |source| source.count(|stats| stats.pages)),
        counter("source_normalize_errors", "Events delivered with `normalize_error`.", |source| {
            source.count(|stats| stats.normalize_errors)
        }),
        counter("source_unmapped_actions", "Other events delivered whose action is `other`.", |source| {
            source.count(|stats| stats.unmapped_actions)
        }),
        gauge("source_covered_until_seconds", "End of the newest covered time, as Unix time.", |source| {
            source.status.covered_to.map(unix_seconds)
        }),
        gauge("source_newest_event_timestamp_seconds", "Time of the newest event, as Unix time.", |source| {
            source.status.newest_event_at.map(unix_seconds)
        }),
        gauge("source_empty_seconds", "Covered time since the newest event: read, and really empty.", |source| {
            source.status.since_newest_event.map(|since| since.empty_seconds)
        }),
        gauge(
            "source_freshness_seconds",
            "Time that is due, less `delay`, since the newest covered time.",
            Source::freshness,
        ),
        gauge("source_gap_seconds", "Time that should be covered and was not read.", |source| {
            Some(source.view.progress.missing().as_secs_f64())
        }),
        gauge(
            "source_backfill_remaining_seconds",
            "Part of the gap that is before the newest covered time.",
            |source| Some(source.backfill_remaining().as_secs_f64()),
        ),
        gauge("source_in_doubt_seconds", "Time that was read and is in doubt.", |source| {
            Some(source.status.in_doubt_seconds)
        }),
        gauge("source_unreadable_seconds", "Time for which the vendor rejects every request.", |source| {
            Some(source.status.unreadable_seconds)
        }),
        gauge("source_open_windows", "Windows that are not complete.", |source| {
            source.count(|stats| stats.open_windows)
        }),
        gauge("source_staged_events", "Events of open windows; sinks do not see them yet.", |source| {
            source.count(|stats| stats.staged)
        }),
        gauge("source_error", "1 while an error blocks collecting.", |source| {
            Some(flag(source.status.last_error.is_some()))
        }),
    ]
}

const SINK_METRICS: &[Metric<SinkStatus>] = &[
    counter("sink_delivered", "Events delivered.", |sink| Some(sink.delivered as f64)),
    counter("sink_filtered", "Events dropped by a filter.", |sink| Some(sink.filtered as f64)),
    counter("sink_dead_lettered", "Events in the dead letter.", |sink| Some(sink.dead_lettered as f64)),
    counter("sink_redelivered", "Events that `auditflow state redeliver` repeated.", |sink| {
        Some(sink.redelivered as f64)
    }),
    counter(
        "sink_skipped",
        "Events that were not delivered because their source had left the sink's inputs.",
        |sink| Some(sink.skipped as f64),
    ),
    counter("sink_bytes", "Bytes written.", |sink| Some(sink.bytes_written as f64)),
    gauge("sink_position", "Sequence number of the last event that the sink has passed.", |sink| {
        Some(sink.position as f64)
    }),
    gauge("sink_lag_events", "Events of its sources that the sink has not delivered yet.", |sink| {
        Some(sink.pending_events as f64)
    }),
    gauge("sink_lag_bytes", "Bytes of the raw records that the sink has not delivered yet.", |sink| {
        Some(sink.pending_bytes as f64)
    }),
    gauge(
        "sink_oldest_undelivered_seconds",
        "Time since the oldest undelivered event became visible; 0 if there is none.",
        |sink| Some(sink.oldest_pending_seconds.unwrap_or(0.0)),
    ),
    gauge("sink_batch_timeout_seconds", "How long an event may wait for others: `batch.timeout_secs`.", |sink| {
        Some(sink.batch_timeout_seconds)
    }),
    gauge(
        "sink_delivered_until_seconds",
        "Every event that became visible before is delivered, filtered or dead-lettered, as Unix time.",
        |sink| sink.delivered_to.map(unix_seconds),
    ),
    gauge("sink_last_delivery_timestamp_seconds", "When it last delivered an event, as Unix time.", |sink| {
        sink.last_delivered_at.map(unix_seconds)
    }),
    gauge("sink_error", "1 while an error blocks delivering.", |sink| Some(flag(sink.last_error.is_some()))),
];

const JOURNAL_METRICS: &[Metric<JournalStatus>] = &[
    gauge("journal_events", "Events held.", |journal| Some(journal.events as f64)),
    gauge("journal_head", "Sequence number of the newest event.", |journal| Some(journal.head as f64)),
    gauge("journal_bytes", "Size of the events held.", |journal| Some(journal.bytes as f64)),
    gauge("journal_limit_bytes", "`journal.max_size`.", |journal| Some(journal.max_bytes as f64)),
    gauge("journal_full", "1 while the sources pause at the limit.", |journal| Some(flag(journal.full))),
];

/// Only with shards: a journal that fills up or is damaged must not vanish in sums.
const SHARD_METRICS: &[Metric<ShardStatus>] = &[
    gauge("shard_journal_bytes", "Size of the events that the shard's journal holds.", |shard| {
        Some(shard.journal_bytes as f64)
    }),
    gauge("shard_journal_full", "1 while the shard's sources pause at `journal.max_size`.", |shard| {
        Some(flag(shard.journal_full))
    }),
    gauge("shard_unreadable", "1 while the shard's journal cannot be read.", |shard| {
        Some(flag(shard.state == ShardState::Unreadable))
    }),
];

const CONFIG_METRICS: &[Metric<ActiveConfig>] = &[
    gauge("config_reload_success", "1 if the last reload succeeded, or none was asked for.", |config| {
        Some(flag(config.reload_succeeded))
    }),
    gauge(
        "config_reload_success_timestamp_seconds",
        "When the pipeline file was last read without an error, as Unix time.",
        |config| Some(unix_seconds(config.reload_succeeded_at)),
    ),
];

/// The metrics of a pipeline, as OpenMetrics text.
#[must_use]
pub fn openmetrics(config: &ActiveConfig, observation: &Observation) -> String {
    let pipeline = config.pipeline.as_ref();
    let views = observation.views(pipeline);
    let report = StatusReport::of_views(pipeline, observation, &views);
    // Of a source whose journal is not read nothing is known; 0 would be a wrong number.
    let known = report.sources.iter().zip(&views).filter(|(_, view)| observation.absent_shard(view.plan).is_none());
    let sources = known.map(|(status, view)| {
        let labels = labels(&[("source", &status.name), ("vendor", status.vendor)]);
        (labels, Source { status, stats: observation.source_stats(&status.name), view })
    });
    let sources: Vec<_> = sources.collect();
    let sinks = report.sinks.into_iter();
    let sinks: Vec<_> = sinks.map(|sink| (labels(&[("sink", &sink.name), ("type", sink.type_name)]), sink)).collect();
    let journal: Vec<_> = report.journal.into_iter().map(|journal| (String::new(), journal)).collect();
    let shards = report.shards.into_iter();
    let shards: Vec<_> = shards.map(|shard| (labels(&[("shard", &shard.shard.to_string())]), shard)).collect();

    let mut text = String::from("# TYPE auditflow_build info\n# HELP auditflow_build The running version.\n");
    let _ = writeln!(text, "auditflow_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    write_metrics(&mut text, &source_metrics(), &sources);
    write_requests(&mut text, &sources);
    write_lateness(&mut text, &sources);
    // Without one of the journals a counter would go back, which reads as a restart from 0.
    let is_readable = observation.is_readable();
    let sink_metrics = SINK_METRICS.iter().filter(|metric| is_readable || metric.kind == Kind::Gauge);
    write_metrics(&mut text, sink_metrics, &sinks);
    write_metrics(&mut text, JOURNAL_METRICS, &journal);
    if !shards.is_empty() {
        write_metrics(&mut text, SHARD_METRICS, &shards);
    }
    write_metrics(&mut text, CONFIG_METRICS, &[(String::new(), config.clone())]);
    text + "# EOF\n"
}

fn write_metrics<'m, T: 'm>(
    text: &mut String,
    metrics: impl IntoIterator<Item = &'m Metric<T>>,
    components: &[(String, T)],
) {
    let in_braces: Vec<_> = components.iter().map(|(labels, _)| in_braces(labels)).collect();
    for Metric { name, kind, help, value } in metrics {
        let (kind, suffix) = match kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
        };
        write_head(text, name, kind, help);
        for ((_, component), labels) in components.iter().zip(&in_braces) {
            let Some(value) = value(component) else { continue };
            // Thousands of sources make a hundred thousand lines, so a line is put together without formatting.
            for part in ["auditflow_", name, suffix, labels.as_str(), " "] {
                text.push_str(part);
            }
            write_value(text, value);
            text.push('\n');
        }
    }
}

/// Most values are 0, and 0 needs no formatting of a floating-point number.
fn write_value(text: &mut String, value: f64) {
    if value == 0.0 {
        text.push('0');
    } else {
        let _ = write!(text, "{value}");
    }
}

/// By the class of the answer's status. Classes that a source has never met are left out, but for that of success:
/// thousands of sources would add four lines each that say nothing.
fn write_requests(text: &mut String, sources: &[(String, Source<'_>)]) {
    let name = "source_requests";
    write_head(text, name, "counter", "Requests to the vendor, failed ones included, by the class of their status.");
    for (labels, source) in sources {
        let requests = source.stats.map_or_else(RequestCounts::default, |stats| stats.requests);
        for (class, count) in requests.by_class() {
            if count > 0 || class == "2xx" {
                let _ = writeln!(text, "auditflow_{name}_total{{{labels},status_class=\"{class}\"}} {count}");
            }
        }
    }
}

/// A summary and not a histogram: the journal counts the lateness of the last seven days, and the buckets of a histogram
/// never shrink.
fn write_lateness(text: &mut String, sources: &[(String, Source<'_>)]) {
    let name = "source_lateness_seconds";
    write_head(text, name, "summary", "From an event's time to when it was read, over seven days.");
    for (labels, source) in sources {
        let Some(snapshot) = source.view.snapshot else { continue };
        for quantile in QUANTILES {
            if let Some(lateness) = snapshot.lateness.quantile(quantile) {
                let lateness = lateness.as_secs_f64();
                let _ = writeln!(text, "auditflow_{name}{{{labels},quantile=\"{quantile}\"}} {lateness}");
            }
        }
    }
}

/// A metric with a unit ends with it.
fn write_head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# TYPE auditflow_{name} {kind}");
    if let Some(unit) = UNITS.iter().find(|unit| name.ends_with(*unit)) {
        let _ = writeln!(text, "# UNIT auditflow_{name} {unit}");
    }
    let _ = writeln!(text, "# HELP auditflow_{name} {help}");
}

/// Labels without their braces.
fn labels(pairs: &[(&str, &str)]) -> String {
    let label = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", escaped(value));
    pairs.iter().map(label).collect::<Vec<_>>().join(",")
}

fn in_braces(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn unix_seconds(time: Timestamp) -> f64 {
    time.as_millis() as f64 / 1_000.0
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(labels(&[("source", "a\"b\\c\nd"), ("vendor", "clumio")]), r#"source="a\"b\\c\nd",vendor="clumio""#);
    }
}
