//! Values that are redacted wherever they occur in an event.
//!
//! ```text
//! a whole text, number, object:  looked up                                   in any case
//! a part of a longer text:       all values are searched for in one pass     in any case, not inside of words
//! ```

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use crate::event::{Action, ActorType, Category, ObjectType, Outcome, Via};

/// What stands in a longer text in the place of a dropped value.
pub(super) const DROPPED: &str = "[redacted]";

/// A shorter value is redacted in its own field only: elsewhere it may be anything.
const MIN_VALUE: usize = 3;

/// A shorter number that equals a value may be anything.
const MIN_NUMBER: usize = 5;

/// Values and their replacements; `None` if they are dropped.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// By the value in lower case.
    replacements: HashMap<String, Option<String>>,
    parts: Option<Parts>,
    has_json: bool,
}

/// The values that are replaced inside of longer texts.
#[derive(Debug)]
struct Parts {
    search: AhoCorasick,
    /// By the number of the value in the search.
    replacements: Vec<Option<String>>,
}

/// A part of a text that is replaced.
#[derive(Clone, Copy, Debug)]
struct Match {
    start: usize,
    end: usize,
    /// The longest value in it, and its length.
    value: usize,
    length: usize,
}

impl Values {
    /// The values without those that are too short. Of a value that is both dropped and hashed, drop wins.
    pub(super) fn new(values: impl IntoIterator<Item = (String, Option<String>)>) -> Self {
        let mut replacements = HashMap::new();
        for (value, replacement) in values {
            if value.chars().count() < MIN_VALUE {
                continue;
            }
            let known = replacements.entry(lower(&value).into_owned()).or_insert_with(|| replacement.clone());
            if replacement.is_none() {
                *known = None;
            }
        }
        let has_json = replacements.keys().any(|value| value.starts_with(['{', '[']));
        Self { parts: Parts::new(&replacements), replacements, has_json }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.replacements.is_empty()
    }

    /// Whether one of the values may be an object or list.
    pub(super) fn has_json(&self) -> bool {
        self.has_json
    }

    /// The replacement of a text that is one of the values.
    pub(super) fn whole(&self, text: &str) -> Option<&Option<String>> {
        if self.is_empty() { None } else { self.replacements.get(&*lower(text)) }
    }

    /// What stands in the place of a number that is one of the values.
    pub(super) fn number(&self, number: &str) -> Option<String> {
        if number.len() < MIN_NUMBER { None } else { self.whole(number).map(shown) }
    }

    /// The text that stands in the place of one that is or holds values; `None` if it holds none.
    pub(super) fn replaced(&self, text: &str) -> Option<String> {
        self.whole(text).map(shown).or_else(|| self.parts.as_ref()?.replaced(text))
    }
}

fn shown(replacement: &Option<String>) -> String {
    replacement.clone().unwrap_or_else(|| DROPPED.to_owned())
}

impl Parts {
    fn new(values: &HashMap<String, Option<String>>) -> Option<Self> {
        let parts: Vec<(&String, &Option<String>)> =
            values.iter().filter(|(value, _)| !is_word_of_the_schema(value)).collect();
        if parts.is_empty() {
            return None;
        }
        // Quick to build, since it serves one event, and constant in time per match.
        let mut builder = AhoCorasick::builder();
        builder.kind(Some(AhoCorasickKind::ContiguousNFA)).prefilter(false).dense_depth(0);
        let search = builder.build(parts.iter().map(|(value, _)| value)).expect("values are shorter than 2 GiB");
        Some(Self { search, replacements: parts.into_iter().map(|(_, replacement)| replacement.clone()).collect() })
    }

    fn replaced(&self, text: &str) -> Option<String> {
        let matches = self.matches(text);
        let (mut out, mut copied) = (String::new(), 0);
        for found in &matches {
            out.push_str(&text[copied..found.start]);
            out.push_str(self.replacements[found.value].as_deref().unwrap_or(DROPPED));
            copied = found.end;
        }
        out.push_str(&text[copied..]);
        (!matches.is_empty()).then_some(out)
    }

    /// The parts of a text that are values, in their order. Those that overlap are joined, so that nothing of them stays.
    fn matches(&self, text: &str) -> Vec<Match> {
        let lower = Lower::of(text);
        let mut matches: Vec<Match> = Vec::new();
        // They come by their ends.
        for found in self.search.find_overlapping_iter(&*lower.text) {
            let (start, end) = lower.range_in(text, found.start(), found.end());
            if is_part_of_a_word(text.as_bytes(), start, end) {
                continue;
            }
            let mut joined = Match { start, end, value: found.pattern().as_usize(), length: end - start };
            while let Some(last) = matches.pop_if(|last| last.end > joined.start) {
                let longest = if last.length > joined.length { last } else { joined };
                joined = Match { start: last.start.min(joined.start), end, ..longest };
            }
            matches.push(joined);
        }
        matches
    }
}

/// Words that auditflow and vendors use for types and actions are no one's name.
fn is_word_of_the_schema(value: &str) -> bool {
    static WORDS: OnceLock<HashSet<&str>> = OnceLock::new();
    let words = || {
        let actors = [ActorType::values(), ObjectType::values(), Via::values()];
        let all = [vec!["true", "false", "null"], Action::values(), Category::values(), Outcome::values()];
        all.into_iter().chain(actors).flatten().collect()
    };
    WORDS.get_or_init(words).contains(value)
}

/// A text in lower case, as values are compared. The last letter of a Greek word has a form of its own, which does not count.
pub(super) fn lower(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        let has_capitals = text.bytes().any(|byte| byte.is_ascii_uppercase());
        return if has_capitals { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) };
    }
    Cow::Owned(text.chars().flat_map(lower_letter).collect())
}

fn lower_letter(letter: char) -> impl Iterator<Item = char> {
    letter.to_lowercase().map(|letter| if letter == 'ς' { 'σ' } else { letter })
}

/// A text in lower case, and where its bytes come from.
struct Lower<'t> {
    text: Cow<'t, str>,
    /// For each byte the offset of its letter; `None` if both texts have the same offsets.
    origins: Option<Vec<usize>>,
}

impl<'t> Lower<'t> {
    fn of(text: &'t str) -> Self {
        if text.is_ascii() {
            return Self { text: lower(text), origins: None };
        }
        let (mut lower, mut origins) = (String::with_capacity(text.len()), Vec::with_capacity(text.len()));
        for (at, letter) in text.char_indices() {
            lower.extend(lower_letter(letter));
            origins.resize(lower.len(), at);
        }
        Self { text: Cow::Owned(lower), origins: Some(origins) }
    }

    /// The part of the text that a part of the text in lower case comes from.
    fn range_in(&self, text: &str, start: usize, end: usize) -> (usize, usize) {
        let Some(origins) = &self.origins else { return (start, end) };
        let last = origins[end - 1];
        (origins[start], last + text[last..].chars().next().map_or(0, char::len_utf8))
    }
}

/// Whether a part of a text that begins or ends with a letter A to Z or a digit has another one beside it. Other letters may be:
/// not all languages put spaces between words.
fn is_part_of_a_word(text: &[u8], start: usize, end: usize) -> bool {
    let is_word = |at: usize| text.get(at).is_some_and(u8::is_ascii_alphanumeric);
    (is_word(start) && ends_in_a_word(&text[..start])) || (is_word(end - 1) && is_word(end))
}

/// Whether a text ends with a letter or digit, and not with an escape such as `\n`, `\u00e9` or `%3c`.
fn ends_in_a_word(text: &[u8]) -> bool {
    let is_hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    match text {
        [.., b'\\', b'b' | b'f' | b'n' | b'r' | b't'] => false,
        [.., b'%', one, two] if is_hex(&[*one, *two]) => false,
        [.., b'\\', b'u', one, two, three, four] if is_hex(&[*one, *two, *three, *four]) => false,
        [.., last] => last.is_ascii_alphanumeric(),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(values: &[(&str, Option<&str>)]) -> Values {
        Values::new(values.iter().map(|(value, replacement)| ((*value).to_owned(), replacement.map(str::to_owned))))
    }

    #[test]
    fn values_are_replaced_unless_they_are_parts_of_words() {
        let values = values(&[
            ("Ada", None),
            ("ada@example.com", Some("H")),
            ("10.0.0.1", None),
            ("x", None),
            ("Émile", None),
            ("ΑΔΑΣ", None),
            ("ana-ana", None),
            ("user", None),
        ]);
        for (text, expected) in [
            ("Invited ADA@example.com (Ada), x", "Invited H ([redacted]), x"),
            ("10.0.0.1:80 10.0.0.12 110.0.0.1", "[redacted]:80 10.0.0.12 110.0.0.1"),
            ("Adam, a-da, Ada", "Adam, a-da, [redacted]"),
            ("由ada@example.com邀请", "由H邀请"),
            (r"\nada@example.com \u00e9Ada %3cada@example.com%3e nada", r"\nH \u00e9[redacted] %3cH%3e nada"),
            ("éMILE, ÉMILE, İ Ada", "[redacted], [redacted], İ [redacted]"),
            ("αδας αδασ", "[redacted] [redacted]"),
            ("bana-ana-ana did", "bana-[redacted] did"),
            ("ana-ana-ana", "[redacted]"),
        ] {
            assert_eq!(values.replaced(text).as_deref(), Some(expected));
        }
        assert_eq!(values.replaced("nobody"), None);
        assert_eq!(values.replaced("a user"), None, "a word of the schema");
        assert_eq!(values.whole("ADA"), Some(&None));
        assert_eq!(values.whole("x"), None, "too short");
    }

    #[test]
    fn values_that_overlap_are_replaced_as_one() {
        let values = values(&[("ada ex", Some("A")), ("ex@example.com", Some("B")), ("ada", None), ("com", Some("C"))]);
        assert_eq!(values.replaced("by ada ex@example.com, ada; com").as_deref(), Some("by B, [redacted]; C"));
    }

    #[test]
    fn drop_wins() {
        for order in [[Some("H"), None], [None, Some("H")]] {
            assert_eq!(values(&order.map(|replacement| ("Ada", replacement))).whole("ada"), Some(&None));
        }
    }

    #[test]
    fn short_numbers_are_not_replaced() {
        let values = values(&[("100", None), ("123456", Some("H"))]);
        assert_eq!((values.number("100"), values.number("123456")), (None, Some("H".to_owned())));
    }
}
