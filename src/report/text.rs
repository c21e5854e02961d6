//! The layout of reports for people: tables, durations and numbers in at most 100 columns.

use std::time::Duration;

use crate::format::count;
pub(crate) use crate::format::counted;
use crate::units::Span;

use super::observation::TimeSpan;

/// Maximum line width, in columns.
pub(super) const WIDTH: usize = 100;

/// Maximum width of a name in a table; JSON has full names.
pub(super) const NAME_WIDTH: usize = 22;

const SEPARATOR: &str = "  ";

/// Alignment of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// Rows of cells under headings.
#[derive(Debug)]
pub(super) struct Table {
    sides: Vec<Side>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(super) fn new(columns: &[(&str, Side)]) -> Self {
        let headings = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        Self { sides: columns.iter().map(|(_, side)| *side).collect(), rows: vec![headings] }
    }

    /// Adds a row with one cell per column.
    pub(super) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Whether it has headings only.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The table as text, one line per row.
    pub(super) fn render(&self) -> String {
        let widths = self.widths();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&self.sides).zip(&widths);
            let cells = cells.map(|((cell, side), &width)| match side {
                Side::Left => format!("{cell:<width$}"),
                Side::Right => format!("{cell:>width$}"),
            });
            text += cells.collect::<Vec<_>>().join(SEPARATOR).trim_end();
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let width_of = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max();
        (0..self.sides.len()).map(|column| width_of(column).unwrap_or(0)).collect()
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A name, shortened to its column's width.
pub(super) fn name(name: &str) -> String {
    if width(name) <= NAME_WIDTH {
        return name.to_owned();
    }
    name.chars().take(NAME_WIDTH - 1).chain(['…']).collect()
}

/// A duration in its two largest units: `27d9h`.
pub(crate) fn brief(duration: Duration) -> String {
    let secs = duration.as_secs();
    let step = match secs {
        0..3_600 => 1,
        3_600..86_400 => 60,
        _ => 3_600,
    };
    Span(Duration::from_secs(secs - secs % step)).to_string()
}

/// Seconds of a JSON field, as a duration in its two largest units.
pub(super) fn of_seconds(seconds: f64) -> String {
    brief(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// A span of time and its length.
pub(super) fn span_text(span: TimeSpan) -> String {
    let (from, to) = (span.from.with_digits(0), span.to.with_digits(0));
    format!("{from} .. {to}  {:>8}", of_seconds(span.seconds))
}

/// A number in at most ten characters: `99,999,999`, then `123.4M`, `5.6B`.
pub(super) fn short(number: u64) -> String {
    let (unit, letter) = match number {
        0..100_000_000 => return count(number),
        100_000_000..100_000_000_000 => (1_000_000, 'M'),
        _ => (1_000_000_000, 'B'),
    };
    format!("{}.{}{letter}", count(number / unit), number % unit * 10 / unit)
}

/// The text, or a dash.
pub(super) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// Wraps a text to [`WIDTH`] columns; the second and further lines begin with `indent`.
pub(crate) fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = String::new();
    let mut line = text.chars().take_while(|letter| *letter == ' ').collect::<String>();
    let mut is_empty = true;
    for word in text.split_whitespace().flat_map(pieces) {
        if !is_empty && width(&line) + 1 + width(&word) > WIDTH {
            lines += &line;
            lines.push('\n');
            indent.clone_into(&mut line);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line += &word;
        is_empty = false;
    }
    lines + &line + "\n"
}

/// Column in which the values of a report's labels begin.
const VALUE_COLUMN: usize = 15;

/// Wraps a text for the column of the values; the lines come without their indent.
pub(super) fn wrapped_value(text: &str) -> String {
    let indent = " ".repeat(VALUE_COLUMN);
    wrapped(&format!("{indent}{text}"), &indent)
        .lines()
        .fold(String::new(), |lines, line| lines + &line[VALUE_COLUMN..] + "\n")
}

/// Splits a word that is too long for a line, such as a URL.
fn pieces(word: &str) -> Vec<String> {
    const LONGEST: usize = WIDTH - 20;
    let letters: Vec<char> = word.chars().collect();
    letters.chunks(LONGEST).map(|piece| piece.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_have_two_units() {
        let texts = [0, 59, 61, 3_599, 3_661, 86_399, 90_061, 2_368_923].map(|secs| brief(Duration::from_secs(secs)));
        assert_eq!(texts, ["0s", "59s", "1m1s", "59m59s", "1h1m", "23h59m", "1d1h", "27d10h"]);
    }

    #[test]
    fn numbers_stay_short() {
        let texts = [0, 99_999_999, 100_000_000, 99_999_999_999, u64::MAX].map(short);
        assert_eq!(texts, ["0", "99,999,999", "100.0M", "99,999.9M", "18,446,744,073.7B"]);
    }

    proptest! {
        #[test]
        fn wrapped_lines_fit_and_keep_all_words(words in proptest::collection::vec("[a-z]{1,300}", 1..30)) {
            let text = words.join(" ");
            let lines = wrapped(&text, "    ");
            prop_assert!(lines.lines().all(|line| width(line) <= WIDTH), "{}", lines);
            let squeezed = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(squeezed(&lines), squeezed(&text));
        }
    }
}
