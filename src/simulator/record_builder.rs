//! What the vendors' record writers share: seeded choices, people, addresses and JSON strings.

use std::fmt::Write as _;
use std::time::Duration;

use super::meaning::RecordMeaning;
use super::variants::JsonSpacing;
use crate::time::{EventTime, Timestamp};

/// Hashes numbers (the finalizer of SplitMix64), so that every event has its own random stream that depends only on the
/// seed and its number.
pub(super) fn mix(seed: u64, stream: u64, index: u64) -> u64 {
    let mut value = seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index.wrapping_mul(0xd1b5_4a32_d192_ed03);
    for _ in 0..2 {
        value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^= value >> 31;
    }
    value
}

/// A number from 0 up to but not including 1.
pub(super) fn unit(bits: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "the upper 53 bits fit a float exactly")]
    let numerator = (bits >> 11) as f64;
    numerator / 9_007_199_254_740_992.0
}

/// The inputs of one record: its times and its random stream.
#[derive(Debug)]
pub(super) struct RecordBuilder {
    /// The event's number; content derived from it is unique.
    pub(super) index: u64,
    /// When it happened.
    pub(super) time: EventTime,
    /// How often the record has changed.
    pub(super) revision: u32,
    /// When the latest change happened.
    pub(super) changed: EventTime,
    /// How long before the end of the history it happened; zero for events that happen while running.
    pub(super) time_to_start: Duration,
    /// The last occurrence, for records that represent several. Set by the writer.
    pub(super) last_at: Timestamp,
    /// Whether another event has the same timestamp, so that the content must differ.
    pub(super) tied: bool,
    /// Whether to use values and fields that are in no catalog.
    pub(super) unknown: bool,
    /// Whether to write one of the acts that analysts look for: of access, of failures, on people.
    pub(super) notable: bool,
    /// What the record says. Noted by the writer.
    pub(super) meaning: RecordMeaning,
    rng: fastrand::Rng,
}

impl RecordBuilder {
    pub(super) fn new(seed: u64, index: u64, time: EventTime) -> Self {
        let rng = fastrand::Rng::with_seed(mix(seed, 7, index));
        Self {
            index,
            time,
            revision: 0,
            changed: time,
            time_to_start: Duration::ZERO,
            last_at: time.at,
            tied: false,
            unknown: false,
            notable: false,
            meaning: RecordMeaning::default(),
            rng,
        }
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.rng.f64() < share
    }

    /// One of several.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.rng.usize(..choices.len())]
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.rng.u64(..end)
    }

    /// A UUID of random bits.
    pub(super) fn uuid(&mut self) -> String {
        let bits = self.rng.u128(..);
        format_uuid(bits)
    }

    /// A UUID that is the same for the same number, for recurring accounts and groups.
    pub(super) fn uuid_of(number: u64) -> String {
        format_uuid((u128::from(mix(3, 11, number)) << 64) | u128::from(mix(5, 13, number)))
    }

    /// A unique name for the target of the event.
    pub(super) fn unique_name(&mut self, stem: &str) -> String {
        format!("{stem}-{:x}", self.index.wrapping_mul(0x9e37) ^ 0x5a5a)
    }

    /// One of about forty people, some with non-ASCII names.
    pub(super) fn person(&mut self) -> Person {
        let number = self.below(PEOPLE);
        Person::numbered(number)
    }

    /// One of them, but not this one.
    pub(super) fn person_other_than(&mut self, other: Option<&Person>) -> Person {
        let person = self.person();
        if other.is_some_and(|other| other.number == person.number) {
            return Person::numbered((person.number + 1) % PEOPLE);
        }
        person
    }

    /// An IP address from the documentation ranges, version 4 or 6.
    pub(super) fn ip(&mut self) -> String {
        let low = self.below(254) + 1;
        match self.below(5) {
            0 => format!("2001:db8::{low:x}"),
            1 => format!("198.51.100.{low}"),
            2 => format!("192.0.2.{low}"),
            _ => format!("203.0.113.{low}"),
        }
    }
}

fn format_uuid(bits: u128) -> String {
    let hex = format!("{bits:032x}");
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

/// The number of people.
const PEOPLE: u64 = 42;
const FIRST_NAMES: [&str; 14] = [
    "Ada",
    "Blake",
    "Casey",
    "Zoë",
    "Łukasz",
    "陽菜",
    "Søren",
    "Mary \"Mae\"",
    "Dmitri",
    "Íñigo",
    "Priya",
    "Chloé",
    "José",
    "Ngọc",
];
const LAST_NAMES: [&str; 9] =
    ["Example", "Sample", "O'Brien", "Müller", "渡辺", "Kowalczyk", "García-López", "Nguyễn", "Smith 🦊"];

/// A person who acts, or is acted on.
#[derive(Clone, Debug)]
pub(super) struct Person {
    /// The person's number, for ids.
    pub(super) number: u64,
    /// Full name, any letters.
    pub(super) name: String,
    /// Email address.
    pub(super) email: String,
}

impl Person {
    fn numbered(number: u64) -> Self {
        let first = FIRST_NAMES[index_in(number, FIRST_NAMES.len())];
        let last = LAST_NAMES[index_in(mix(1, 17, number), LAST_NAMES.len())];
        Self { number, name: format!("{first} {last}"), email: format!("user{number}@example.com") }
    }
}

fn index_in(number: u64, length: usize) -> usize {
    usize::try_from(number % length as u64).unwrap_or(0)
}

/// A string as JSON, with its quotes.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A string as JSON, or `null`.
pub(super) fn quoted_or_null(text: Option<&str>) -> String {
    text.map_or_else(|| "null".to_owned(), quoted)
}

/// Adds white space between the tokens of compact JSON without changing its meaning.
pub(super) fn respace(compact: String, spacing: JsonSpacing, seed: u64) -> String {
    let blanks: &[&str] = match spacing {
        JsonSpacing::Plain => return compact,
        JsonSpacing::Spaced => &[" "],
        JsonSpacing::Random => &["", " ", "  ", "\n  ", "\t", "\r\n"],
    };
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut spaced = String::with_capacity(compact.len() * 5 / 4);
    let (mut in_string, mut escaped) = (false, false);
    for letter in compact.chars() {
        spaced.push(letter);
        if in_string {
            in_string = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
        } else if letter == '"' {
            in_string = true;
        } else if matches!(letter, ',' | ':') {
            let _ = spaced.write_str(blanks[rng.usize(..blanks.len())]);
        }
    }
    spaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_gives_the_same_choices() {
        let time = EventTime::parse_rfc3339("2026-03-02T09:00:00Z").expect("a time");
        let draw = |index| {
            let mut builder = RecordBuilder::new(9, index, time);
            (builder.uuid(), builder.person().name, builder.ip())
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }

    #[test]
    fn white_space_changes_no_meaning() {
        let compact = r#"{"a":"x, y: \"z\" \\","b":[1,2,{"c":null}]}"#;
        for spacing in [JsonSpacing::Plain, JsonSpacing::Spaced, JsonSpacing::Random] {
            let spaced = respace(compact.to_owned(), spacing, 3);
            let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
            assert_eq!(read(&spaced), read(compact));
        }
        assert!(respace(compact.to_owned(), JsonSpacing::Spaced, 3).contains(": null"));
    }
}
