//! What the view shows: the newest report in order, rates, and how far the user has moved; and what keys do.

use std::collections::{HashMap, VecDeque};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::report::{SinkState, SinkStatus, SourceState, SourceStatus, StatusReport};
use crate::time::Timestamp;

/// Rates are those of so many reports.
const RATE_INTERVALS: usize = 10;
/// Rows that a page key moves by.
const PAGE: usize = 10;

/// What follows a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Continue,
    Quit,
}

/// What is shown.
pub(super) struct Top {
    pub(super) report: StatusReport,
    /// Events collected by source or delivered by sink, at the latest times.
    counts: VecDeque<(Timestamp, HashMap<String, u64>)>,
    /// The first source that is shown.
    pub(super) first: usize,
}

impl Top {
    pub(super) fn new(report: StatusReport) -> Self {
        let mut top = Self { report: report.clone(), counts: VecDeque::new(), first: 0 };
        top.update(report);
        top
    }

    /// Takes a newer report, the worst first.
    pub(super) fn update(&mut self, mut report: StatusReport) {
        report.sources.sort_by(|a, b| badness_of_source(b).total_cmp(&badness_of_source(a)).then(a.name.cmp(&b.name)));
        report.sinks.sort_by(|a, b| badness_of_sink(b).total_cmp(&badness_of_sink(a)).then(a.name.cmp(&b.name)));
        let collected = report.sources.iter().map(|source| (source.name.clone(), source.events));
        let delivered = report.sinks.iter().map(|sink| (sink.name.clone(), sink.delivered));
        self.counts.push_back((report.head.at, collected.chain(delivered).collect()));
        if self.counts.len() > RATE_INTERVALS + 1 {
            self.counts.pop_front();
        }
        self.report = report;
        self.move_to(self.first);
    }

    pub(super) fn press(&mut self, key: KeyEvent) -> Next {
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Next::Quit,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Next::Quit,
            KeyCode::Down | KeyCode::Char('j') => self.move_to(self.first + 1),
            KeyCode::Up | KeyCode::Char('k') => self.move_to(self.first.saturating_sub(1)),
            KeyCode::PageDown => self.move_to(self.first + PAGE),
            KeyCode::PageUp => self.move_to(self.first.saturating_sub(PAGE)),
            KeyCode::Home => self.move_to(0),
            KeyCode::End => self.move_to(usize::MAX),
            _ => {}
        }
        Next::Continue
    }

    fn move_to(&mut self, first: usize) {
        self.first = first.min(self.report.sources.len().saturating_sub(1));
    }

    /// Events a second that a source collects or a sink delivers; `None` at first.
    pub(super) fn rate(&self, name: &str) -> Option<f64> {
        let (first, last) = (self.counts.front()?, self.counts.back()?);
        let seconds = last.0.since(first.0).as_secs_f64();
        let events = last.1.get(name)?.saturating_sub(*first.1.get(name)?);
        (seconds > 0.0).then(|| events as f64 / seconds)
    }
}

/// How much a source needs attention: by its state, then by its lag in days, at most one state's worth.
fn badness_of_source(source: &SourceStatus) -> f64 {
    let state = match source.state {
        SourceState::Error => 7.0,
        _ if source.unreadable_seconds > 0.0 || source.in_doubt_seconds > 0.0 => 6.0,
        SourceState::Paused => 5.0,
        SourceState::Behind => 4.0,
        SourceState::NotStarted | SourceState::Stopped | SourceState::Elsewhere | SourceState::Unreadable => 3.0,
        SourceState::Backfill => 2.0,
        SourceState::Live => 1.0,
        SourceState::Done => 0.0,
    };
    let days = source.lag_seconds.unwrap_or(0.0) / 86_400.0;
    state + days / (1.0 + days)
}

/// The same for a sink: by its state, then by its backlog.
fn badness_of_sink(sink: &SinkStatus) -> f64 {
    let state = match sink.state {
        SinkState::Error => 3.0,
        SinkState::Pending => 2.0,
        SinkState::NotStarted => 1.0,
        SinkState::Idle => 0.0,
    };
    let pending = sink.pending_events as f64;
    state + pending / (1.0 + pending)
}
