//! `status` for people: tables of sources, sinks and freshness, what is wrong, the journal's size.

use super::problems::problems;
use super::status::{
    JournalStatus, ShardState, ShardStatus, SinkState, SinkStatus, SourceState, SourceStatus, StatusReport,
};
use super::text::{Side, Table, name, of_seconds, or_dash, short, wrapped};
use crate::format::{count, counted};
use crate::shard::ranges;
use crate::units::ByteSize;

impl StatusReport {
    /// The report for people: three tables, what is in doubt, the errors, and the journal's size, in lines of at most 100
    /// columns. `file` is the pipeline file as the user names it.
    #[must_use]
    pub fn text(&self, file: &str) -> String {
        let mut text = self.head.text("status") + "\n";
        text += &source_table(&self.sources);
        text.push('\n');
        text += &sink_table(&self.sinks);
        text += &self.sinks.iter().map(table_text).collect::<String>();
        text += &self.sinks.iter().map(skipped_text).collect::<String>();
        text += &freshness_table(&self.sources);
        let problems = problems(self, file);
        if !problems.is_empty() {
            text.push('\n');
        }
        problems.iter().for_each(|problem| text += &problem.text(self.head.at));
        if let Some(journal) = &self.journal {
            text += &format!("\n{}\n", journal_line(journal));
        }
        if !self.shards.is_empty() {
            text += &wrapped(&format!("shards: {}", shards_text(&self.shards)), "  ");
        }
        if self.complete == Some(false) {
            text += &wrapped(
                "incomplete: the numbers of sinks and of the journal are those of the shards whose journals were read",
                "  ",
            );
        }
        if !self.not_in_file.is_empty() {
            text += &wrapped(&format!("no longer in the file: {}", self.not_in_file.join(", ")), "  ");
        }
        text
    }
}

fn source_table(sources: &[SourceStatus]) -> String {
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
            source_state_text(source),
            or_dash(source.covered_to.map(|to| to.with_digits(0).to_string())),
            or_dash(source.lag_seconds.map(of_seconds)),
            short(source.events),
            short(source.events_last_24h),
        ]);
    }
    table.render()
}

/// What is known of the time since the newest event of each source that has run; empty if none has.
fn freshness_table(sources: &[SourceStatus]) -> String {
    let mut table = Table::new(&[
        ("SOURCE", Side::Left),
        ("NEWEST EVENT", Side::Left),
        ("SINCE THEN (OR SINCE THE START)", Side::Left),
    ]);
    for source in sources {
        let Some(since) = &source.since_newest_event else { continue };
        let newest = or_dash(source.newest_event_at.map(|at| at.with_digits(0).to_string()));
        table.push(vec![name(&source.name), newest, since.text()]);
    }
    if table.is_empty() { String::new() } else { format!("\n{}", table.render()) }
}

pub(super) fn source_state_text(source: &SourceStatus) -> String {
    match source.state {
        SourceState::NotStarted => "not started".to_owned(),
        SourceState::Error => "error".to_owned(),
        SourceState::Paused => "paused".to_owned(),
        SourceState::Backfill => format!("backfill {:.0} %", percent(source.covered_share)),
        SourceState::Behind => "behind".to_owned(),
        SourceState::Live => "live".to_owned(),
        SourceState::Done => "done".to_owned(),
        SourceState::Stopped if source.has_holes => format!("stopped at {:.0} %", percent(source.covered_share)),
        SourceState::Stopped => "stopped".to_owned(),
        SourceState::Elsewhere => "elsewhere".to_owned(),
        SourceState::Unreadable => "unreadable".to_owned(),
    }
}

/// The numbers of the shards by what they do: `0-3 running (process 12), 4-7 not in this data directory`.
pub(super) fn shards_text(shards: &[ShardStatus]) -> String {
    let mut groups: Vec<(String, Vec<u16>)> = Vec::new();
    for shard in shards {
        let text = match (shard.state, shard.pid) {
            (ShardState::Running, Some(pid)) => format!("running (process {pid})"),
            (ShardState::Running, None) => "running".to_owned(),
            (ShardState::Stopped, _) => "stopped".to_owned(),
            (ShardState::Elsewhere, _) => "not in this data directory".to_owned(),
            (ShardState::Unreadable, _) => "unreadable".to_owned(),
        };
        match groups.iter_mut().find(|(known, _)| *known == text) {
            Some((_, numbers)) => numbers.push(shard.shard),
            None => groups.push((text, vec![shard.shard])),
        }
    }
    let parts: Vec<_> = groups.into_iter().map(|(text, numbers)| format!("{} {text}", ranges(&numbers))).collect();
    parts.join("; ")
}

/// Rounds down, to at most 99: 100 % would mean that nothing is missing.
fn percent(share: f64) -> f64 {
    (share * 100.0).floor().clamp(0.0, 99.0)
}

fn sink_table(sinks: &[SinkStatus]) -> String {
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
        let started = sink.state != SinkState::NotStarted;
        let number = |number: u64| or_dash(started.then(|| short(number)));
        table.push(vec![
            name(&sink.name),
            number(sink.position),
            number(sink.pending_events),
            or_dash(started.then(|| ByteSize(sink.pending_bytes).to_string())),
            or_dash(sink.oldest_pending_seconds.map(of_seconds)),
            number(sink.delivered),
            number(sink.filtered),
            number(sink.dead_lettered),
        ]);
    }
    table.render()
}

/// The table of a sink; empty without one.
fn table_text(sink: &SinkStatus) -> String {
    let Some(table) = &sink.table else { return String::new() };
    let checkpoint = table.checkpoint.map_or_else(|| "none".to_owned(), count);
    let (files, rows) = (counted(table.files, "file"), counted(table.rows, "row"));
    let line =
        format!("{}: table version {} (+{files}, {rows}), checkpoint {checkpoint}", sink.name, count(table.version));
    wrapped(&line, "  ")
}

/// What a sink has skipped; empty if nothing.
fn skipped_text(sink: &SinkStatus) -> String {
    if sink.skipped == 0 {
        return String::new();
    }
    let events = counted(sink.skipped, "event");
    wrapped(&format!("{}: {events} not delivered, since their source had left the inputs of the sink", sink.name), "  ")
}

fn journal_line(journal: &JournalStatus) -> String {
    let (size, max_size) = (ByteSize(journal.bytes), ByteSize(journal.max_bytes));
    let full = if journal.full { "; FULL: the sources are paused until the sinks have delivered" } else { "" };
    format!("journal: {} events, {size} of {max_size}{full}", count(journal.events))
}
