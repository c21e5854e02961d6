//! Progress on a terminal: a row a source and sink, redrawn in place; a bar for what is under way.

use std::collections::BTreeMap;

use indicatif::{ProgressBar, ProgressStyle};

use super::logging::display;
use super::progress::{Rates, sink_row, source_row};
use super::stretch::Course;
use crate::journal::{JournalStats, SinkStats};
use crate::time::Timestamp;

/// A terminal has only so many rows.
const MOST_ROWS: usize = 24;

/// Steps of a bar.
const STEPS: u64 = 1_000;

const PLAIN: &str = "  {prefix:27!} {wide_msg}";
const BAR: &str = "  {prefix:27!} {bar:20} {percent:>3} % {wide_msg}";

/// The rows that are drawn.
#[derive(Default)]
pub(super) struct Screen {
    rows: Vec<Row>,
}

struct Row {
    bar: ProgressBar,
    has_bar: bool,
}

impl Screen {
    /// Draws what is known now.
    pub(super) fn show(
        &mut self,
        summary: &JournalStats,
        rates: &Rates,
        courses: &BTreeMap<String, Course>,
        now: Timestamp,
    ) {
        let mut lines = vec![Line::plain("", heading(rates))];
        let idle = Course::default();
        lines.extend(summary.sources.iter().map(|source| {
            let course = courses.get(&source.name).unwrap_or(&idle);
            let share = course.share().filter(|_| source.last_error.is_none());
            Line { name: format!("source {}", source.name), share, message: source_row(source, course, now) }
        }));
        let active = summary.sinks.iter().filter(|sink: &&SinkStats| sink.active);
        lines.extend(active.map(|sink| Line::plain(&format!("sink   {}", sink.name), sink_row(sink, summary.head))));
        self.draw(fitted(lines));
    }

    fn draw(&mut self, lines: Vec<Line>) {
        while self.rows.len() < lines.len() {
            let bar = display().add(ProgressBar::new(STEPS).with_style(style(PLAIN)));
            self.rows.push(Row { bar, has_bar: false });
        }
        for (row, line) in self.rows.iter_mut().zip(lines) {
            row.draw(line);
        }
    }

    /// Takes everything away.
    pub(super) fn clear(&self) {
        self.rows.iter().for_each(|row| row.bar.finish_and_clear());
    }
}

impl Row {
    fn draw(&mut self, line: Line) {
        if self.has_bar != line.share.is_some() {
            self.has_bar = line.share.is_some();
            self.bar.set_style(style(if self.has_bar { BAR } else { PLAIN }));
        }
        self.bar.set_prefix(line.name);
        self.bar.set_message(line.message);
        self.bar.set_position(line.share.map_or(0, steps));
        self.bar.tick();
    }
}

/// One row's contents.
struct Line {
    name: String,
    share: Option<f64>,
    message: String,
}

impl Line {
    fn plain(name: &str, message: String) -> Self {
        Self { name: name.to_owned(), share: None, message }
    }
}

fn heading(rates: &Rates) -> String {
    format!("collecting {:.0} events/s, delivering {:.0} events/s", rates.collected, rates.delivered)
}

/// As many lines as there is room for; what is under way comes before what keeps up.
fn fitted(mut lines: Vec<Line>) -> Vec<Line> {
    let hidden = lines.len().saturating_sub(MOST_ROWS);
    if hidden == 0 {
        return lines;
    }
    let rest = lines.split_off(1);
    let (under_way, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|line| line.share.is_some());
    lines.extend(under_way.into_iter().chain(others).take(MOST_ROWS - 2));
    lines.push(Line::plain("", format!("and {} more; `auditflow status` shows all", hidden + 1)));
    lines
}

/// What is not all done is not drawn as done.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the number of steps")]
fn steps(share: f64) -> u64 {
    ((share.clamp(0.0, 1.0) * STEPS as f64) as u64).min(STEPS - 1)
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_well_formed() {
        for template in [PLAIN, BAR] {
            ProgressStyle::with_template(template).expect(template);
        }
    }

    #[test]
    fn a_crowd_is_cut_to_the_terminal_and_what_is_under_way_stays() {
        let mut lines = vec![Line::plain("", "heading".to_owned())];
        lines.extend((0..100).map(|number| Line::plain(&format!("source {number}"), String::new())));
        lines[90].share = Some(0.5);
        let fitted = fitted(lines);
        assert_eq!(fitted.len(), MOST_ROWS);
        assert_eq!((fitted[0].message.as_str(), fitted[1].name.as_str()), ("heading", "source 89"));
        assert_eq!(fitted[MOST_ROWS - 1].message, "and 78 more; `auditflow status` shows all");
    }

    #[test]
    fn what_is_not_done_is_not_drawn_as_done() {
        assert_eq!([0.0, 0.5, 0.99999, 1.0].map(steps), [0, 500, 999, 999]);
    }
}
