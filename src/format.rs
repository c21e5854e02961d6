//! Numbers and durations as text, for logs, progress, reports and summaries.

use std::borrow::Cow;
use std::time::Duration;

/// A number with thousands separators: `1,234,567`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 window`, `2 windows`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// The duration rounded down to whole seconds.
#[must_use]
pub fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

/// The text without what could change how a terminal shows the rest: control characters (except line breaks and tabs), C1
/// controls, and marks that change the direction of text. All output for people passes through here: names, reasons and hints
/// may quote what a vendor or somebody else's file says.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().filter(|letter| is_printable(*letter)).collect())
}

/// Whether a letter leaves the rest of a text as it is: no control character, no mark of direction.
#[must_use]
pub fn is_printable(letter: char) -> bool {
    let is_control = letter.is_control() && !matches!(letter, '\n' | '\t');
    let is_direction = matches!(letter,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !is_control && !is_direction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_stays() {
        let text = "a\x1b[31mb\x07\r\x7f\u{9b}2J\u{202e}c\u{2066}\u{200f}\u{61c}\u{85}";
        assert_eq!(printable(text), "a[31mb2Jc");
        let fine = "Zoë\t名前 …\n";
        assert!(matches!(printable(fine), Cow::Borrowed(same) if same == fine));
    }

    #[test]
    fn counts_have_thousands_separators() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }
}
