//! Draws the view: a head line, the sources, the sinks, the errors, the keys.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, Wrap};

use super::rows::Top;
use crate::format::{count, printable};
use crate::report::{LastErrorReport, SinkState, SinkStatus, SourceState, SourceStatus, StatusReport, brief};
use crate::units::ByteSize;

const BAD: Color = Color::Red;
const DOUBTFUL: Color = Color::Yellow;
const GOOD: Color = Color::Green;

/// Lines that the errors may take.
const ERROR_LINES: usize = 8;
/// Lines of a table besides its rows: the borders and the head.
const TABLE_LINES: usize = 3;

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, top: &Top) {
    let report = &top.report;
    let errors = errors(report);
    let error_lines = if errors.is_empty() { 0 } else { (2 * errors.len() + 2).min(ERROR_LINES) };
    let sink_lines = report.sinks.len() + TABLE_LINES;
    let [head, sources, sinks, problems, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(length(TABLE_LINES + 1)),
        Constraint::Max(length(sink_lines)),
        Constraint::Length(length(error_lines)),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Line::from(head_text(report)).style(Modifier::BOLD), head);
    draw_sources(frame, top, sources);
    draw_sinks(frame, top, sinks);
    if !errors.is_empty() {
        let text = Text::from_iter(errors.into_iter().flatten());
        frame.render_widget(
            Paragraph::new(text).wrap(Wrap { trim: false }).block(framed("errors".to_owned())),
            problems,
        );
    }
    frame.render_widget(Line::from("q quit   arrows, PgUp, PgDn: more sources").style(Modifier::DIM), keys);
}

fn length(lines: usize) -> u16 {
    u16::try_from(lines).unwrap_or(u16::MAX)
}

fn framed(title: String) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(title)
}

fn head_text(report: &StatusReport) -> String {
    let head = &report.head;
    let state = match (head.has_run, head.process.running, head.process.pid) {
        (false, ..) => "nothing has run yet".to_owned(),
        (_, false, _) => "not running".to_owned(),
        (_, _, Some(pid)) => format!("running (process {pid})"),
        (_, _, None) => "running".to_owned(),
    };
    let journal = report.journal.as_ref().map(|journal| {
        let full = if journal.full { ", full" } else { "" };
        format!("   journal {} of {}{full}", ByteSize(journal.bytes), ByteSize(journal.max_bytes))
    });
    format!("{} at {}: {state}{}", printable(&head.pipeline), head.at.with_digits(0), journal.unwrap_or_default())
}

fn draw_sources(frame: &mut Frame<'_>, top: &Top, area: Rect) {
    let all = &top.report.sources;
    let rows = all.iter().skip(top.first).map(|source| source_row(source, top.rate(&source.name)));
    let title = match top.first {
        0 => format!("sources {}", all.len()),
        first => format!("sources {}, from {}", all.len(), first + 1),
    };
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(12),
        Constraint::Length(20),
        Constraint::Length(9),
        Constraint::Length(13),
        Constraint::Length(9),
    ];
    let head = Row::new(["SOURCE", "STATE", "COVERED TO", "LAG", "EVENTS", "EVENTS/S"]).style(Modifier::DIM);
    frame.render_widget(Table::new(rows, widths).header(head).block(framed(title)), area);
}

fn source_row(source: &SourceStatus, rate: Option<f64>) -> Row<'static> {
    let (state, color) = source_state(source);
    Row::new([
        Cell::from(printable(&source.name).into_owned()),
        Cell::from(state).style(Style::new().fg(color)),
        Cell::from(or_dash(source.covered_to.map(|to| to.with_digits(0).to_string()))),
        Cell::from(or_dash(source.lag_seconds.map(seconds))),
        Cell::from(count(source.events)),
        Cell::from(rate_text(rate)),
    ])
}

fn source_state(source: &SourceStatus) -> (&'static str, Color) {
    match source.state {
        SourceState::Error => ("error", BAD),
        _ if source.unreadable_seconds > 0.0 => ("unreadable", BAD),
        _ if source.in_doubt_seconds > 0.0 => ("in doubt", DOUBTFUL),
        SourceState::NotStarted => ("not started", DOUBTFUL),
        SourceState::Paused => ("paused", DOUBTFUL),
        SourceState::Behind => ("behind", DOUBTFUL),
        SourceState::Stopped => ("stopped", DOUBTFUL),
        SourceState::Elsewhere => ("elsewhere", DOUBTFUL),
        SourceState::Unreadable => ("unreadable", DOUBTFUL),
        SourceState::Backfill => ("backfill", GOOD),
        SourceState::Live => ("live", GOOD),
        SourceState::Done => ("done", GOOD),
    }
}

fn draw_sinks(frame: &mut Frame<'_>, top: &Top, area: Rect) {
    let rows = top.report.sinks.iter().map(|sink| sink_row(sink, top.rate(&sink.name)));
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(12),
        Constraint::Length(20),
        Constraint::Length(9),
        Constraint::Length(13),
        Constraint::Length(9),
    ];
    let head = Row::new(["SINK", "STATE", "BACKLOG", "OLDEST", "DELIVERED", "EVENTS/S"]).style(Modifier::DIM);
    let title = format!("sinks {}", top.report.sinks.len());
    frame.render_widget(Table::new(rows, widths).header(head).block(framed(title)), area);
}

fn sink_row(sink: &SinkStatus, rate: Option<f64>) -> Row<'static> {
    let (state, color) = match sink.state {
        SinkState::Error => ("error", BAD),
        SinkState::NotStarted => ("not started", DOUBTFUL),
        SinkState::Pending => ("pending", GOOD),
        SinkState::Idle => ("idle", GOOD),
    };
    Row::new([
        Cell::from(printable(&sink.name).into_owned()),
        Cell::from(state).style(Style::new().fg(color)),
        Cell::from(count(sink.pending_events)),
        Cell::from(or_dash(sink.oldest_pending_seconds.map(seconds))),
        Cell::from(count(sink.delivered)),
        Cell::from(rate_text(rate)),
    ])
}

/// Two lines for each error: what, and what to do.
fn errors(report: &StatusReport) -> Vec<Vec<Line<'static>>> {
    let of_sources = report.sources.iter().map(|source| (&source.name, &source.last_error));
    let of_sinks = report.sinks.iter().map(|sink| (&sink.name, &sink.last_error));
    of_sources.chain(of_sinks).filter_map(|(name, error)| Some(error_lines(name, error.as_ref()?, report))).collect()
}

fn error_lines(name: &str, error: &LastErrorReport, report: &StatusReport) -> Vec<Line<'static>> {
    let age = brief(report.head.at.since(error.since));
    let what = format!("{}, for {age}: {}", printable(name), printable(&error.message));
    let mut lines = vec![Line::from(what).style(Style::new().fg(BAD))];
    if !error.hint.is_empty() {
        lines.push(Line::from(format!("  {}", printable(&error.hint))));
    }
    lines
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn seconds(seconds: f64) -> String {
    brief(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn rate_text(rate: Option<f64>) -> String {
    or_dash(rate.map(|rate| format!("{rate:.1}")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::super::rows::Next;
    use super::*;
    use crate::pipeline::{self, Environment, Overrides, ValidatedPipeline};
    use crate::time::Timestamp;

    const FILE: &str = "
data_dir: nowhere
sources:
  quiet: {type: clumio, access_token: x}
  broken: {type: merge, api_key: x}
  late: {type: clumio, access_token: x}
  doubtful: {type: clumio, access_token: x}
sinks:
  screen: {type: console, inputs: [quiet]}
  archive: {type: file, inputs: [quiet, broken], path: out.ndjson}
";

    fn pipeline() -> ValidatedPipeline {
        let environment = Environment::from_pairs([]);
        pipeline::validate("acme.yaml", FILE, Path::new("/nowhere"), &environment, &Overrides::default())
            .expect("a good file")
    }

    /// A report of so many seconds after a moment, as a journal could give it.
    fn report(after: i64) -> StatusReport {
        let at = Timestamp::from_secs(1_764_000_000 + after);
        let pipeline = pipeline();
        let observation = crate::report::observe(&pipeline, at, false).expect("nothing to read");
        let mut report = StatusReport::new(&pipeline, &observation);
        report.head.has_run = true;
        report.head.process.running = true;
        report.head.process.pid = Some(4_711);
        for (source, state, lag) in report
            .sources
            .iter_mut()
            .zip([SourceState::Live, SourceState::Error, SourceState::Behind, SourceState::Live])
            .zip([5.0, 86_400.0, 7_200.0, 6.0])
            .map(|((source, state), lag)| (source, state, lag))
        {
            (source.state, source.lag_seconds, source.events) =
                (state, Some(lag), 1_000_000 + 20 * after.unsigned_abs());
            source.covered_to = Some(at - Duration::from_secs_f64(lag));
        }
        report.sources[1].last_error = Some(LastErrorReport {
            message: "the vendor rejects the credentials (401)\u{1b}[2J".to_owned(),
            hint: "set `api_key` to a valid key".to_owned(),
            since: at - Duration::from_secs(3_600),
        });
        report.sources[3].in_doubt_seconds = 60.0;
        report.sinks[0].state = SinkState::Idle;
        report.sinks[1].state = SinkState::Pending;
        (report.sinks[1].pending_events, report.sinks[1].oldest_pending_seconds) = (1_234, Some(90.0));
        report
    }

    fn drawn(top: &Top) -> String {
        let mut terminal = Terminal::new(TestBackend::new(90, 20)).expect("a terminal");
        terminal.draw(|frame| draw(frame, top)).expect("is drawn");
        terminal.backend().to_string()
    }

    #[test]
    fn the_worst_is_first_and_errors_say_what_to_do() {
        let mut top = Top::new(report(0));
        top.update(report(10));
        insta::assert_snapshot!(drawn(&top));
    }

    #[test]
    fn before_the_first_run_and_after_the_end_there_is_a_view() {
        let pipeline = pipeline();
        let at = Timestamp::from_secs(1_764_000_000);
        let observation = crate::report::observe(&pipeline, at, false).expect("nothing to read");
        let shown = drawn(&Top::new(StatusReport::new(&pipeline, &observation)));
        assert!(shown.contains("nothing has run yet") && shown.contains("not started"), "{shown}");
        let mut stopped = report(0);
        stopped.head.process.running = false;
        let shown = drawn(&Top::new(stopped));
        assert!(shown.contains(": not running") && shown.contains("1,000,000"), "{shown}");
    }

    #[test]
    fn keys_move_and_quit_and_a_small_terminal_is_no_error() {
        let mut top = Top::new(report(0));
        let key = |code| KeyEvent::new(code, KeyModifiers::NONE);
        assert_eq!(top.press(key(KeyCode::Down)), Next::Continue);
        let shown = drawn(&top);
        assert!(shown.contains("sources 4, from 2"), "{shown}");
        for (code, first) in [(KeyCode::End, 3), (KeyCode::PageDown, 3), (KeyCode::Up, 2), (KeyCode::Home, 0)] {
            top.press(key(code));
            assert_eq!(top.first, first);
        }
        assert_eq!(top.press(key(KeyCode::Char('q'))), Next::Quit);
        assert_eq!(top.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Next::Quit);
        let mut terminal = Terminal::new(TestBackend::new(5, 3)).expect("a terminal");
        terminal.draw(|frame| draw(frame, &top)).expect("is drawn");
    }
}
