//! The content of a record as a number: equal for two spellings of one JSON value.
//!
//! ```text
//! raw --one pass--> each text, number, true, false, list and object, hashed with its path --sum--> 8 bytes
//! ```
//!
//! Vendors write the same record in different ways: another order of members, other white space, `\u00e9` for `é`, `1.0`
//! for `1`, or a null member that was left out before. None of that is a change, so none of it is part of the hash: a sum
//! does not depend on the order, and a path names members by their names and elements by their places. Of 2^64 values, a
//! change of a record meets the former one with a chance of 5e-20. Every record that is read passes through here, so
//! nothing is allocated.

use super::json::{Reader, unescape};
use crate::event::json::first_escape;

/// Whole numbers up to here are exact in JSON.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// A record that is nested deeper is hashed as it is.
const DEEPEST: usize = 128;

// The fractional digits of the square roots of 2, 3, 5, 7 and 11. They differ: a number combined with itself would be zero,
// and so would every product with it.
const TEXT: u64 = 0x6a09_e667_f3bc_c909;
const NUMBER: u64 = 0xbb67_ae85_84ca_a73b;
const PLACE: u64 = 0x3c6e_f372_fe94_f82b;
const VALUE: u64 = 0xa54f_f53a_5f1d_36f1;
const ROOT: u64 = 0x510e_527f_ade6_82d1;

/// What stands for values without a text or a number.
#[derive(Clone, Copy)]
enum Mark {
    Null = 1,
    False,
    True,
    List,
    Object,
}

/// The hash of a record's content; never 0. A record that is not JSON is hashed as it is.
#[must_use]
pub fn content_hash(raw: &str) -> u64 {
    let sum = sum_of(raw, &mut |_, _| {});
    finished(sum.unwrap_or_else(|| hash_text(raw.as_bytes())))
}

/// The same of a record that is a JSON object, else `None`. Passes its members to `on_member`, each name as it is written and
/// the JSON of its value: who needs some of them too saves a pass.
pub(super) fn content_hash_with_members<'a>(raw: &'a str, on_member: &mut dyn FnMut(&'a str, &'a str)) -> Option<u64> {
    if !raw.starts_with('{') {
        return None;
    }
    sum_of(raw, on_member).map(finished)
}

/// `None` if it is not JSON, or too deep.
fn sum_of<'a>(raw: &'a str, on_member: &mut dyn FnMut(&'a str, &'a str)) -> Option<u64> {
    let mut scanner = Scanner { text: raw, at: 0, plain: Vec::new(), on_member };
    scanner.value(ROOT, 0, false).filter(|_| scanner.is_at_end())
}

fn finished(sum: u64) -> u64 {
    fold(sum, VALUE).max(1)
}

/// Mixes two numbers: the halves of their product.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    let lower = product as u64;
    lower ^ (product >> 64) as u64
}

/// The hash of a text, eight bytes at a time.
fn hash_text(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    let mut hash = TEXT;
    for word in words.by_ref() {
        hash = with_word(hash, u64::from_le_bytes(word.try_into().unwrap_or_default()));
    }
    let mut last = [0; 8];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    with_last_word(hash, u64::from_le_bytes(last), words.remainder().len())
}

fn with_word(hash: u64, word: u64) -> u64 {
    fold(hash ^ word, TEXT).wrapping_add(hash)
}

/// The last word has less than eight bytes.
fn with_last_word(hash: u64, word: u64, len: usize) -> u64 {
    fold(hash ^ word ^ ((len as u64 + 1) << 56), VALUE).wrapping_add(hash)
}

/// Reads one JSON value, and refuses what is not valid JSON.
struct Scanner<'a, 'm> {
    text: &'a str,
    at: usize,
    /// Begins with the last text with escapes, without them.
    plain: Vec<u8>,
    on_member: &'m mut dyn FnMut(&'a str, &'a str),
}

impl Scanner<'_, '_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is not white space.
    fn next_token(&mut self) -> Option<u8> {
        while let Some(byte) = self.peek() {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn is_at_end(&mut self) -> bool {
        self.next_token().is_none()
    }

    /// The sum of the hashes of a value and all in it; `None` if it is not JSON. A null member is as one that is missing.
    fn value(&mut self, path: u64, depth: usize, is_member: bool) -> Option<u64> {
        match self.next_token()? {
            b'{' => self.object(path, depth),
            b'[' => self.list(path, depth),
            b'"' => self.string().map(|hash| fold(path ^ TEXT, VALUE ^ hash)),
            b't' => self.word("true", path, Mark::True),
            b'f' => self.word("false", path, Mark::False),
            b'n' => self.word("null", path, Mark::Null).map(|hash| if is_member { 0 } else { hash }),
            _ => self.number(path),
        }
    }

    fn word(&mut self, word: &str, path: u64, mark: Mark) -> Option<u64> {
        let is_there = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        is_there.then(|| marked(path, mark))
    }

    fn object(&mut self, path: u64, depth: usize) -> Option<u64> {
        let mut sum = marked(path, Mark::Object);
        self.at += 1;
        if depth == DEEPEST || self.closes(b'}') {
            return (depth < DEEPEST).then_some(sum);
        }
        loop {
            (self.next_token()? == b'"').then_some(())?;
            let name_start = self.at + 1;
            let name = self.string()?;
            let name_end = self.at - 1;
            (self.next_token()? == b':').then_some(())?;
            self.at += 1;
            let start = self.at;
            sum = sum.wrapping_add(self.value(fold(path ^ PLACE, VALUE ^ name), depth + 1, true)?);
            if depth == 0 {
                (self.on_member)(&self.text[name_start..name_end], &self.text[start..self.at]);
            }
            if !self.continues(b'}')? {
                return Some(sum);
            }
        }
    }

    fn list(&mut self, path: u64, depth: usize) -> Option<u64> {
        let mut sum = marked(path, Mark::List);
        self.at += 1;
        if depth == DEEPEST || self.closes(b']') {
            return (depth < DEEPEST).then_some(sum);
        }
        for place in 1.. {
            sum = sum.wrapping_add(self.value(fold(path ^ NUMBER, VALUE ^ place), depth + 1, false)?);
            if !self.continues(b']')? {
                return Some(sum);
            }
        }
        None
    }

    /// Whether a list or object is empty; steps over its end.
    fn closes(&mut self, end: u8) -> bool {
        let closes = self.next_token() == Some(end);
        self.at += usize::from(closes);
        closes
    }

    /// Whether another element follows; steps over the comma or the end.
    fn continues(&mut self, end: u8) -> Option<bool> {
        let next = self.next_token()?;
        self.at += 1;
        (next == b',' || next == end).then_some(next == b',')
    }

    /// The hash of the text that begins here. Searches its end and hashes it in one pass, eight bytes at a time.
    fn string(&mut self) -> Option<u64> {
        self.at += 1;
        let bytes = self.text.as_bytes();
        let (start, mut hash) = (self.at, TEXT);
        while let Some(word) = bytes.get(self.at..self.at + 8) {
            let word = u64::from_le_bytes(word.try_into().ok()?);
            let end = first_escape(word);
            if end == 0 {
                hash = with_word(hash, word);
                self.at += 8;
                continue;
            }
            let len = end.trailing_zeros() as usize / 8;
            self.at += len;
            if bytes[self.at] != b'"' {
                return self.escaped(start);
            }
            self.at += 1;
            let kept = word & ((1_u64 << (8 * len)) - 1);
            return Some(with_last_word(hash, kept, len));
        }
        let len = bytes[self.at..].iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
        self.at += len;
        if bytes[self.at] != b'"' {
            return self.escaped(start);
        }
        self.at += 1;
        Some(hash_text(&bytes[start..self.at - 1]))
    }

    /// The hash of a text with escapes that begins at `start`.
    fn escaped(&mut self, start: usize) -> Option<u64> {
        let (end, len) = unescape(&self.text[start..], &mut self.plain)?;
        self.at = start + end + 1;
        Some(hash_text(&self.plain[..len]))
    }

    fn number(&mut self, path: u64) -> Option<u64> {
        let number = Reader::new(&self.text[self.at..]).number().ok()?;
        self.at += number.len();
        if let Ok(whole) = number.parse::<i64>() {
            return Some(whole_number(path, whole.into()));
        }
        if let Ok(whole) = number.parse::<u64>() {
            return Some(whole_number(path, whole.into()));
        }
        let value: f64 = number.parse().ok()?;
        #[expect(clippy::cast_possible_truncation, reason = "whole and small enough")]
        Some(match value.fract() == 0.0 && value.abs() < EXACT {
            true => whole_number(path, (value as i64).into()),
            false => fold(path ^ PLACE, NUMBER ^ value.to_bits()),
        })
    }
}

fn marked(path: u64, mark: Mark) -> u64 {
    fold(path ^ VALUE, PLACE ^ mark as u64)
}

fn whole_number(path: u64, number: i128) -> u64 {
    let bytes = number.to_le_bytes();
    fold(path ^ NUMBER, hash_text(&bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn another_spelling_of_a_record_is_the_same_content() {
        let content = content_hash(r#"{"id":"a","who":{"name":"René","age":7},"tags":["x","y"]}"#);
        for same in [
            r#"{ "tags" : ["x", "y"], "who": {"age": 7, "name": "René"}, "id": "a" }"#,
            r#"{"id":"a","who":{"name":"Ren\u00e9","age":7.0},"tags":["x","y"],"more":null}"#,
        ] {
            assert_eq!(content_hash(same), content, "{same}");
        }
    }

    #[test]
    fn another_value_is_another_content() {
        let records = [
            r#"{"id":"a"}"#,
            r#"{"id":"b"}"#,
            r#"{"id":"a","n":1}"#,
            r#"{"id":"a","n":1.5}"#,
            r#"{"id":"a","n":"1"}"#,
            r#"{"id":"a","n":[1]}"#,
            r#"{"id":"a","n":[1,null]}"#,
            r#"{"id":"a","n":[[1]]}"#,
            r#"{"id":"a","n":{"m":1}}"#,
            r#"{"id":"a","n":true}"#,
            r#"{"id":"a","n":18446744073709551615}"#,
            r#"{"id":"a","n":-1}"#,
            r#"["id","a"]"#,
            r#"["a","id"]"#,
            "{\"id\":\"a\"",
            "null",
            "1.25",
            "2.5",
        ];
        let hashes: std::collections::BTreeSet<u64> = records.iter().map(|raw| content_hash(raw)).collect();
        assert_eq!(hashes.len(), records.len());
    }

    #[test]
    fn texts_of_every_length_are_distinguished_and_escapes_are_not() {
        let mut seen = std::collections::BTreeSet::new();
        for len in 0..40 {
            for last in ["", "x", "\u{0}", "é"] {
                let text = format!("{}{last}", "a".repeat(len));
                let hash = content_hash(&serde_json::json!([text]).to_string());
                let escaped: String = text.chars().map(|letter| format!("\\u{:04x}", u32::from(letter))).collect();
                assert_eq!(content_hash(&format!("[\"{escaped}\"]")), hash, "{text}");
                assert_eq!(content_hash(&format!("[ \"{}\" ] ", text.replace('\0', "\\u0000"))), hash, "{text}");
                seen.insert(hash);
            }
        }
        assert_eq!(seen.len(), 40 * 4);
    }

    #[test]
    fn what_is_not_json_or_too_deep_is_hashed_as_it_is() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let texts =
            ["", "{", "[1,", "\"a", "\"\\", "\"\\q\"", "tru", "1 2", "{\"a\" 1}", "nul", "[1}"].map(str::to_owned);
        let texts: Vec<String> = texts.into_iter().chain([deep(500), deep(501)]).collect();
        let hashes: std::collections::BTreeSet<u64> = texts.iter().map(|text| content_hash(text)).collect();
        assert_eq!(hashes.len(), texts.len());
        assert_eq!(content_hash(&deep(100)), content_hash(&deep(100).replace("[", "[ ")));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("a fraction", |number| number.fract() != 0.0).prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(".{0,9}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// The value without null members, with members in the opposite order.
    fn respelled(value: &Value) -> String {
        match value {
            Value::Array(list) => format!("[{}]", list.iter().map(respelled).collect::<Vec<_>>().join(" , ")),
            Value::Object(members) => {
                let kept = members.iter().filter(|(_, value)| !value.is_null()).rev();
                let written =
                    kept.map(|(name, value)| format!("{}:\n{}", Value::from(name.as_str()), respelled(value)));
                format!("{{ {} }}", written.collect::<Vec<_>>().join(","))
            }
            other => other.to_string(),
        }
    }

    proptest! {
        #[test]
        fn only_the_value_counts(value in values(), other in values()) {
            let hash = content_hash(&value.to_string());
            prop_assert_eq!(content_hash(&respelled(&value)), hash);
            prop_assert_eq!(content_hash(&serde_json::to_string_pretty(&value).expect("JSON")), hash);
            let is_same = respelled(&value) == respelled(&other);
            prop_assert_eq!(content_hash(&other.to_string()) == hash, is_same);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}", json in "[\\[\\]{}\",:0-9a-f\\\\ ]{0,40}") {
            prop_assert!(content_hash(&text) != 0 && content_hash(&json) != 0);
        }
    }
}
