//! The content of a record as a number: equal for two spellings of one JSON value.
//!
//! ```text
//! raw --parse--> canonical bytes: members sorted by name, no white space, no null members --SHA-256--> 8 bytes
//! ```
//!
//! Vendors write the same record in different ways: another order of members, other white space, `\u00e9` for `é`, `1.0`
//! for `1`, or a null member that was left out before. None of that is a change, so none of it is part of the hash. Of 2^64
//! values, a change of a record meets the former one with a chance of 5e-20.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use sha2::{Digest, Sha256};

/// Whole numbers up to here are exact in JSON.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The hash of a record's content; never 0. A record that is not JSON is hashed as it is.
#[must_use]
pub fn content_hash(raw: &str) -> u64 {
    let mut canonical = Vec::with_capacity(raw.len() + raw.len() / 2);
    let mut reader = serde_json::Deserializer::from_str(raw);
    let read = Canonical(&mut canonical).deserialize(&mut reader).and_then(|()| reader.end());
    let digest = Sha256::digest(if read.is_ok() { canonical.as_slice() } else { raw.as_bytes() });
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first).max(1)
}

/// Appends the canonical bytes of a value.
struct Canonical<'b>(&'b mut Vec<u8>);

impl Canonical<'_> {
    fn push(&mut self, tag: u8, bytes: &[u8]) {
        self.0.push(tag);
        self.0.extend_from_slice(bytes);
    }

    fn push_text(&mut self, tag: u8, text: &str) {
        self.push(tag, &(text.len() as u64).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }
}

impl<'de> DeserializeSeed<'de> for Canonical<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Canonical<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(mut self) -> Result<(), E> {
        self.push(b'n', &[]);
        Ok(())
    }

    fn visit_bool<E>(mut self, value: bool) -> Result<(), E> {
        self.push(b'b', &[u8::from(value)]);
        Ok(())
    }

    fn visit_i64<E>(mut self, value: i64) -> Result<(), E> {
        self.push(b'i', &i128::from(value).to_le_bytes());
        Ok(())
    }

    fn visit_u64<E>(mut self, value: u64) -> Result<(), E> {
        self.push(b'i', &i128::from(value).to_le_bytes());
        Ok(())
    }

    fn visit_f64<E>(mut self, value: f64) -> Result<(), E> {
        if value.fract() == 0.0 && value.abs() < EXACT {
            #[expect(clippy::cast_possible_truncation, reason = "whole and small enough")]
            self.push(b'i', &i128::from(value as i64).to_le_bytes());
        } else {
            self.push(b'f', &value.to_bits().to_le_bytes());
        }
        Ok(())
    }

    fn visit_str<E>(mut self, value: &str) -> Result<(), E> {
        self.push_text(b's', value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.push(b'[');
        while list.next_element_seed(Canonical(self.0))?.is_some() {}
        self.0.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        self.0.push(b'{');
        let start = self.0.len();
        let mut members: Vec<Range<usize>> = Vec::new();
        loop {
            let member = self.0.len();
            if object.next_key_seed(Canonical(self.0))?.is_none() {
                break;
            }
            let value = self.0.len();
            object.next_value_seed(Canonical(self.0))?;
            if self.0[value..] == *b"n" {
                self.0.truncate(member);
            } else {
                members.push(member..self.0.len());
            }
        }
        sort_members(self.0, start, members);
        self.0.push(b'}');
        Ok(())
    }
}

/// Brings the members behind `start` into the order of their bytes.
fn sort_members(bytes: &mut Vec<u8>, start: usize, mut members: Vec<Range<usize>>) {
    let order = |a: &Range<usize>, b: &Range<usize>| bytes[a.clone()].cmp(&bytes[b.clone()]);
    if members.windows(2).all(|pair| order(&pair[0], &pair[1]) != Ordering::Greater) {
        return;
    }
    members.sort_by(order);
    let sorted: Vec<u8> = members.into_iter().flat_map(|member| bytes[member].iter().copied()).collect();
    bytes.truncate(start);
    bytes.extend_from_slice(&sorted);
}

#[cfg(test)]
mod tests {
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
        ];
        let hashes: std::collections::BTreeSet<u64> = records.iter().map(|raw| content_hash(raw)).collect();
        assert_eq!(hashes.len(), records.len());
    }
}
