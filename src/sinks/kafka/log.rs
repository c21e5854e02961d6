//! Folds the log lines that librdkafka repeats: it writes some of them at every attempt to connect.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A line is written again after this time.
const INTERVAL: Duration = Duration::from_secs(3_600);

/// At most this many distinct lines are remembered.
const MAX_LINES: usize = 1_000;

/// The lines of all clients of a sink.
#[derive(Debug, Default)]
pub(super) struct FoldedLog(Mutex<HashMap<String, Line>>);

#[derive(Debug)]
struct Line {
    written: Instant,
    /// How often the line came since.
    repeated: u64,
}

impl FoldedLog {
    /// Whether a line is to be written: `Some` with the number of times it was left out since it was written last.
    pub(super) fn admit(&self, text: &str, now: Instant) -> Option<u64> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= MAX_LINES {
            lines.retain(|_, line| now.duration_since(line.written) < INTERVAL);
        }
        if lines.len() >= MAX_LINES {
            lines.clear();
        }
        let text = distinct_part(text);
        let Some(line) = lines.get_mut(&text) else {
            lines.insert(text, Line { written: now, repeated: 0 });
            return Some(0);
        };
        if now.duration_since(line.written) < INTERVAL {
            line.repeated += 1;
            return None;
        }
        line.written = now;
        Some(std::mem::take(&mut line.repeated))
    }
}

/// The text without what changes when the line is repeated: numbers that stand alone, and what is in brackets, such as
/// "(after 3ms in state CONNECT)".
fn distinct_part(text: &str) -> String {
    let mut depth = 0_usize;
    let outside = |letter: &char| {
        depth = match letter {
            '(' | '[' => depth + 1,
            ')' | ']' => depth.saturating_sub(1),
            _ => return depth == 0,
        };
        false
    };
    let text: String = text.chars().filter(outside).collect();
    let words = text.split_whitespace().filter(|word| !word.bytes().all(|byte| byte.is_ascii_digit()));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_line_is_written_once_per_hour_with_its_count() {
        let log = FoldedLog::default();
        let start = Instant::now();
        let line = |millis: u64| {
            format!(
                "[thrd:kafka:9092/1]: kafka:9092/1: Connect to kafka:9092 failed: Connection refused (after {millis}ms in state CONNECT)"
            )
        };
        assert_eq!(log.admit(&line(0), start), Some(0));
        for second in 1..=50 {
            assert_eq!(log.admit(&line(second), start + Duration::from_secs(second)), None);
        }
        assert_eq!(log.admit("kafka:9093/2: Connect to kafka:9093 failed: Connection refused", start), Some(0));
        assert_eq!(log.admit(&line(7), start + INTERVAL), Some(50));
        assert_eq!(log.admit(&line(8), start + INTERVAL), None);
    }

    #[test]
    fn counts_and_details_in_brackets_do_not_make_a_line_another_one() {
        let failed =
            |count: u32| format!("request for audit [{count}] with {count} message(s) failed (broker {count})");
        assert_eq!(distinct_part(&failed(1)), distinct_part(&failed(20)));
        assert_ne!(distinct_part("kafka:9092 failed"), distinct_part("kafka:9093 failed"));
    }

    #[test]
    fn the_memory_is_bounded() {
        let log = FoldedLog::default();
        let now = Instant::now();
        for number in 0..3 * MAX_LINES {
            assert_eq!(log.admit(&format!("host{number} failed"), now), Some(0));
        }
        assert!(log.0.lock().expect("not poisoned").len() <= MAX_LINES);
    }
}
