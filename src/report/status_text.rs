//! `status` for people: two tables, troubles below them, and the journal's size.

use std::time::Duration;

use super::heading;
use super::status::{JournalStatus, SinkCondition, SinkStatus, SourceCondition, SourceStatus, StatusReport};
use super::text::{Side, Table, brief, last_error, name, or_dash, short, wrapped};
use crate::format::count;
use crate::units::ByteSize;

pub(super) fn text(report: &StatusReport) -> String {
    let has_journal = report.journal.is_some();
    let mut text =
        heading("status", &report.pipeline, &report.data_dir, &report.process, has_journal, report.at) + "\n";
    text += &sources(&report.sources);
    text.push('\n');
    text += &sinks(&report.sinks);
    text += &troubles(report);
    if let Some(journal) = &report.journal {
        text += &format!("\n{}\n", journal_line(journal));
    }
    if !report.not_in_file.is_empty() {
        text += &wrapped(&format!("not in the file any more: {}", report.not_in_file.join(", ")), "  ");
    }
    text
}

fn sources(sources: &[SourceStatus]) -> String {
    let mut table = Table::new(&[
        ("SOURCE", Side::Left),
        ("STATE", Side::Left),
        ("COVERED TO", Side::Left),
        ("LAG", Side::Right),
        ("EVENTS", Side::Right),
        ("IN 24 H", Side::Right),
    ]);
    for source in sources {
        table.push(vec![
            name(&source.name),
            source_state(source),
            or_dash(source.covered_to.map(|to| to.with_digits(0).to_string())),
            or_dash(source.lag_seconds.map(of_seconds)),
            short(source.events),
            short(source.events_last_24h),
        ]);
    }
    table.render()
}

fn source_state(source: &SourceStatus) -> String {
    match source.state {
        SourceCondition::NotStarted => "not started".to_owned(),
        SourceCondition::Error => "error".to_owned(),
        SourceCondition::Paused => "paused".to_owned(),
        SourceCondition::Backfill => format!("backfill {:.0} %", percent(source.covered_share)),
        SourceCondition::Behind => "behind".to_owned(),
        SourceCondition::Live => "live".to_owned(),
        SourceCondition::Done => "done".to_owned(),
    }
}

/// What is not all is not told as all.
fn percent(share: f64) -> f64 {
    (share * 100.0).floor().clamp(0.0, 99.0)
}

fn sinks(sinks: &[SinkStatus]) -> String {
    let mut table = Table::new(&[
        ("SINK", Side::Left),
        ("POSITION", Side::Right),
        ("PENDING", Side::Right),
        ("BYTES", Side::Right),
        ("OLDEST", Side::Right),
        ("DELIVERED", Side::Right),
        ("FILTERED", Side::Right),
        ("DEAD", Side::Right),
    ]);
    for sink in sinks {
        let started = sink.state != SinkCondition::NotStarted;
        let figure = |number: u64| or_dash(started.then(|| short(number)));
        table.push(vec![
            name(&sink.name),
            figure(sink.position),
            figure(sink.pending_events),
            or_dash(started.then(|| ByteSize(sink.pending_bytes).to_string())),
            or_dash(sink.oldest_pending_seconds.map(of_seconds)),
            figure(sink.delivered),
            figure(sink.filtered),
            figure(sink.dead_lettered),
        ]);
    }
    table.render()
}

fn troubles(report: &StatusReport) -> String {
    let sources = report.sources.iter().map(|source| (&source.name, &source.last_error));
    let sinks = report.sinks.iter().map(|sink| (&sink.name, &sink.last_error));
    let told: String =
        sources.chain(sinks).filter_map(|(name, known)| Some(last_error(name, known.as_ref()?, report.at))).collect();
    if told.is_empty() { told } else { format!("\n{told}") }
}

fn journal_line(journal: &JournalStatus) -> String {
    let (held, limit) = (ByteSize(journal.bytes), ByteSize(journal.max_bytes));
    let full = if journal.full { "; FULL: the sources wait until the sinks have caught up" } else { "" };
    format!("journal: {} events, {held} of {limit}{full}", count(journal.events))
}

pub(super) fn of_seconds(seconds: f64) -> String {
    brief(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}
