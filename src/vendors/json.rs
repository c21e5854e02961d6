//! Reads JSON that a vendor sent, without copies: pages, the fields of records, the content of records.
//!
//! ```text
//! text --Reader--> names, texts, numbers, lists in the order in which they stand        every part borrowed
//!            \---> a value that is skipped: its exact text, checked
//! ```
//!
//! Every byte that is collected passes here several times (page, key, content, event), which makes this the hottest code
//! of all. `serde_json` stops at each byte of a text; this looks at eight at once. Both accept the same texts, which a
//! property test asserts; one thing is read further: a text with half a surrogate pair is a text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, Visitor};

use crate::event::json::first_escape;

/// The text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The types of JSON values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `"..."`
    Text,
    /// `-1.5e3`
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
    /// `[...]`
    List,
    /// `{...}`
    Object,
}

impl Kind {
    /// The name of the type in JSON's terms.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Number => "number",
            Self::Bool => "boolean",
            Self::Null => "null",
            Self::List => "array",
            Self::Object => "object",
        }
    }
}

/// A position in a JSON text.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// At the beginning of a text.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The offset of the next byte.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.at
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is not white space. It stays unread.
    fn next_token(&mut self) -> Result<u8, Malformed> {
        while let Some(byte) = self.peek() {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Ok(byte);
            }
            self.at += 1;
        }
        Err(Malformed)
    }

    /// Steps over one byte, if it is the next one that is not white space.
    fn steps_over(&mut self, byte: u8) -> Result<bool, Malformed> {
        let is_next = self.next_token()? == byte;
        self.at += usize::from(is_next);
        Ok(is_next)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        self.steps_over(byte)?.then_some(()).ok_or(Malformed)
    }

    /// The type of the next value.
    ///
    /// # Errors
    /// When no value begins here.
    pub fn kind(&mut self) -> Result<Kind, Malformed> {
        Ok(match self.next_token()? {
            b'"' => Kind::Text,
            b'{' => Kind::Object,
            b'[' => Kind::List,
            b't' | b'f' => Kind::Bool,
            b'n' => Kind::Null,
            b'-' | b'0'..=b'9' => Kind::Number,
            _ => return Err(Malformed),
        })
    }

    /// Checks that nothing follows.
    ///
    /// # Errors
    /// When something does.
    pub fn end(&mut self) -> Result<(), Malformed> {
        if self.next_token().is_ok() { Err(Malformed) } else { Ok(()) }
    }

    /// The next value's exact text.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn skip(&mut self) -> Result<&'a str, Malformed> {
        self.next_token()?;
        let start = self.at;
        let mut open = OpenBrackets::default();
        loop {
            let (close, is_object) = match self.next_token()? {
                b'{' => (b'}', true),
                b'[' => (b']', false),
                _ => (0, false),
            };
            if close == 0 {
                self.skip_scalar()?;
            } else {
                self.at += 1;
                if !self.steps_over(close)? {
                    open.push(is_object);
                    if is_object {
                        self.skip_name()?;
                    }
                    continue;
                }
            }
            // A value has ended: what does its comma or bracket begin or end?
            loop {
                let Some(is_object) = open.last() else { return Ok(&self.text[start..self.at]) };
                match (self.next_token()?, is_object) {
                    (b',', _) => break,
                    (b'}', true) | (b']', false) => open.pop(),
                    _ => return Err(Malformed),
                }
                self.at += 1;
            }
            self.at += 1;
            if open.last() == Some(true) {
                self.skip_name()?;
            }
        }
    }

    fn skip_name(&mut self) -> Result<(), Malformed> {
        self.expect(b'"')?;
        self.rest_of_text()?;
        self.expect(b':')
    }

    fn skip_scalar(&mut self) -> Result<(), Malformed> {
        match self.kind()? {
            Kind::Text => {
                self.at += 1;
                self.rest_of_text().map(drop)
            }
            Kind::Number => self.number().map(drop),
            Kind::Bool => self.bool().map(drop),
            _ => self.word("null"),
        }
    }

    /// Steps behind the closing quotation mark. Returns where the text ends, and whether it has escapes.
    fn rest_of_text(&mut self) -> Result<(usize, bool), Malformed> {
        let bytes = self.text.as_bytes();
        let (mut rest, mut has_escapes) = (&bytes[self.at..], false);
        loop {
            while let Some((word, after)) = rest.split_first_chunk() {
                let end = first_escape(u64::from_le_bytes(*word));
                if end != 0 {
                    rest = &rest[end.trailing_zeros() as usize / 8..];
                    break;
                }
                rest = after;
            }
            rest = match rest {
                [b'"', ..] => {
                    let end = bytes.len() - rest.len();
                    self.at = end + 1;
                    return Ok((end, has_escapes));
                }
                [b'\\', escape @ ..] => {
                    has_escapes = true;
                    after_escape(escape).ok_or(Malformed)?
                }
                [] | [0..0x20, ..] => return Err(Malformed),
                [_, after @ ..] => after,
            };
        }
    }

    /// The text that comes next, borrowed unless it has escapes. Half a surrogate pair becomes the replacement character.
    ///
    /// # Errors
    /// When the next value is not a text.
    pub fn text(&mut self) -> Result<Cow<'a, str>, Malformed> {
        self.expect(b'"')?;
        let start = self.at;
        let (end, has_escapes) = self.rest_of_text()?;
        if !has_escapes {
            return Ok(Cow::Borrowed(&self.text[start..end]));
        }
        let mut plain = Vec::new();
        if let Some((_, len)) = unescape(&self.text[start..=end], &mut plain) {
            plain.truncate(len);
            if let Ok(text) = String::from_utf8(plain) {
                return Ok(Cow::Owned(text));
            }
        }
        decoded(&self.text[start - 1..=end])
    }

    /// The number that comes next, as it is written.
    ///
    /// # Errors
    /// When the next value is not a number.
    pub fn number(&mut self) -> Result<&'a str, Malformed> {
        self.next_token()?;
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1
        } else {
            self.digits()?
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    /// Steps over digits, at least one.
    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(Malformed) } else { Ok(()) }
    }

    /// The `true` or `false` that comes next.
    ///
    /// # Errors
    /// When the next value is something else.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        let value = self.next_token()? == b't';
        self.word(if value { "true" } else { "false" })?;
        Ok(value)
    }

    fn word(&mut self, word: &str) -> Result<(), Malformed> {
        let is_there = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        is_there.then_some(()).ok_or(Malformed)
    }

    /// Steps into the object or list that comes next.
    ///
    /// # Errors
    /// When the next value is neither.
    pub fn open(&mut self) -> Result<(), Malformed> {
        let is_open = matches!(self.next_token()?, b'{' | b'[');
        self.at += 1;
        is_open.then_some(()).ok_or(Malformed)
    }

    /// The name of the next member of the object that is open; its value comes next. `None` at its end, which is stepped
    /// over. `is_first` is true before the first call.
    ///
    /// # Errors
    /// When neither a member nor the end comes next.
    pub fn member(&mut self, is_first: &mut bool) -> Result<Option<Cow<'a, str>>, Malformed> {
        if !self.continues(b'}', is_first)? {
            return Ok(None);
        }
        let name = self.text()?;
        self.expect(b':')?;
        Ok(Some(name))
    }

    /// Whether another element of the list that is open comes next. Steps over the end. `is_first` is true before the first
    /// call.
    ///
    /// # Errors
    /// When neither an element nor the end comes next.
    pub fn element(&mut self, is_first: &mut bool) -> Result<bool, Malformed> {
        self.continues(b']', is_first)
    }

    /// Steps over the comma before the next member or element, or over the end.
    fn continues(&mut self, end: u8, is_first: &mut bool) -> Result<bool, Malformed> {
        let next = self.next_token()?;
        if next == end {
            self.at += 1;
            return Ok(false);
        }
        if !std::mem::take(is_first) {
            self.at += 1;
            (next == b',').then_some(()).ok_or(Malformed)?;
        }
        Ok(true)
    }
}

/// What follows the escape whose backslash stands before `bytes`; `None` if JSON does not know it.
fn after_escape(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', after @ ..] => Some(after),
        [b'u', a, b, c, d, after @ ..] if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) => Some(after),
        _ => None,
    }
}

/// Writes what a JSON string stands for to the beginning of `plain`, which grows if need be. `json` begins behind the opening
/// quotation mark. Returns the offset of the closing one, and the length of the text. `None` if it is not a JSON string, or
/// has half a surrogate pair.
///
/// A JSON document inside a string has an escape every few bytes, so each step copies eight bytes, however many of them
/// count.
pub(super) fn unescape(json: &str, plain: &mut Vec<u8>) -> Option<(usize, usize)> {
    let bytes = json.as_bytes();
    if plain.len() < bytes.len() + 8 {
        plain.resize(bytes.len() + 8, 0);
    }
    let (mut from, mut to) = (0, 0);
    loop {
        if let Some(word) = bytes.get(from..from + 8) {
            plain[to..to + 8].copy_from_slice(word);
            let found = first_escape(u64::from_le_bytes(word.try_into().ok()?));
            let count = found.trailing_zeros() as usize / 8;
            (from, to) = (from + count, to + count);
            if found == 0 {
                continue;
            }
        }
        match bytes[from..] {
            [b'"', ..] => return Some((from, to)),
            [b'\\', byte @ (b'"' | b'\\' | b'/'), ..] => {
                plain[to] = byte;
                (from, to) = (from + 2, to + 1);
            }
            [b'\\', ref escape @ ..] => {
                let (length, character) = escape_at(escape)?;
                to += character.encode_utf8(&mut plain[to..]).len();
                from += 1 + length;
            }
            [] | [0..0x20, ..] => return None,
            [byte, ..] => {
                plain[to] = byte;
                (from, to) = (from + 1, to + 1);
            }
        }
    }
}

/// The character of the escape whose backslash stands before `bytes`, and how many of them belong to it.
fn escape_at(bytes: &[u8]) -> Option<(usize, char)> {
    Some(match bytes {
        [plain @ (b'"' | b'\\' | b'/'), ..] => (1, char::from(*plain)),
        [b'n', ..] => (1, '\n'),
        [b't', ..] => (1, '\t'),
        [b'r', ..] => (1, '\r'),
        [b'b', ..] => (1, '\u{8}'),
        [b'f', ..] => (1, '\u{c}'),
        [b'u', digits @ ..] => {
            let first = hex_unit(digits)?;
            if let Some(character) = char::from_u32(first.into()) {
                return Some((5, character));
            }
            let second = hex_unit(digits.get(4..)?.strip_prefix(b"\\u")?)?;
            (11, char::decode_utf16([first, second]).next()?.ok()?)
        }
        _ => return None,
    })
}

/// The number in four hex digits.
fn hex_unit(digits: &[u8]) -> Option<u16> {
    let mut unit = 0;
    for digit in digits.get(..4)? {
        unit = unit << 4 | char::from(*digit).to_digit(16)?;
    }
    unit.try_into().ok()
}

/// The text in a JSON string with escapes, its quotation marks included.
fn decoded(json: &str) -> Result<Cow<'_, str>, Malformed> {
    // As bytes, halves of surrogate pairs pass.
    let text = serde_json::Deserializer::from_str(json).deserialize_bytes(LossyText).map_err(|_| Malformed)?;
    Ok(Cow::Owned(text))
}

struct LossyText;

impl Visitor<'_> for LossyText {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<String, E> {
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// Which brackets are open: one bit each, true for objects. Nothing is allocated for the first 64.
#[derive(Default)]
struct OpenBrackets {
    last: u64,
    count: usize,
    before: Vec<u64>,
}

impl OpenBrackets {
    fn push(&mut self, is_object: bool) {
        if self.count > 0 && self.count.is_multiple_of(64) {
            self.before.push(self.last);
        }
        self.last = self.last << 1 | u64::from(is_object);
        self.count += 1;
    }

    fn pop(&mut self) {
        self.last >>= 1;
        self.count -= 1;
        if self.count > 0 && self.count.is_multiple_of(64) {
            self.last = self.before.pop().unwrap_or_default();
        }
    }

    fn last(&self) -> Option<bool> {
        (self.count > 0).then_some(self.last & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;
    use serde_json::value::RawValue;

    use super::*;

    fn skipped(text: &str) -> Result<&str, Malformed> {
        let mut reader = Reader::new(text);
        let value = reader.skip()?;
        reader.end().map(|()| value)
    }

    #[test]
    fn values_are_skipped_with_their_exact_text() {
        for json in [
            "null",
            "-0.5e+3",
            r#""a \" \\ \u00e9 ]""#,
            "[]",
            "{}",
            "[ ]",
            "{ }",
            r#"[1, [2, {"a": [], "b": {}}], "x"]"#,
            r#"{"a" : {"b":[{"c":null}, true]} ,"d":false}"#,
            r#""a text of more than eight bytes, é included, and half a pair: \ud800""#,
        ] {
            assert_eq!(skipped(json), Ok(json));
            assert_eq!(skipped(&format!("\t{json}\r\n ")), Ok(json));
        }
        let deep = "[{\"a\":".repeat(1000) + "1" + &"}]".repeat(1000);
        assert_eq!(skipped(&deep), Ok(deep.as_str()));
        assert_eq!(skipped(&deep.replace("1}]", "1]}")), Err(Malformed));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            " ",
            "nul",
            "tru",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "\"",
            "\"a",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u12",
            "\"\\",
            "\"a\nb\"",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "]",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":1,}",
            "{,\"a\":1}",
            "{a:1}",
            "{1:1}",
            "{\"a\":1]",
            "[1}",
            "1 2",
            "NaN",
            "'a'",
            "\u{a0}1",
        ] {
            assert_eq!(skipped(text), Err(Malformed), "{text}");
            assert!(serde_json::from_str::<IgnoredAny>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn members_and_elements_come_in_their_order() {
        let mut reader = Reader::new(r#" {"a": 1, "\u0062": ["x\ty", true], "a": null} "#);
        let (mut first, mut found) = (true, Vec::new());
        assert_eq!(reader.kind(), Ok(Kind::Object));
        reader.open().expect("an object");
        while let Some(name) = reader.member(&mut first).expect("members") {
            found.push(name.into_owned());
            if reader.kind() != Ok(Kind::List) {
                found.push(reader.skip().expect("a value").to_owned());
                continue;
            }
            reader.open().expect("a list");
            let mut first = true;
            while reader.element(&mut first).expect("elements") {
                let is_text = reader.kind() == Ok(Kind::Text);
                found.push(if is_text { reader.text().expect("a text").into_owned() } else { String::new() });
                assert!(is_text || reader.bool() == Ok(true));
            }
        }
        assert_eq!(found, ["a", "1", "b", "x\ty", "", "a", "null"]);
        assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn texts_are_borrowed_unless_they_have_escapes() {
        let text = |json| Reader::new(json).text();
        assert!(matches!(text(r#""plain é""#), Ok(Cow::Borrowed("plain é"))));
        assert_eq!(text(r#""a\/b \ud83d\ude00""#).as_deref(), Ok("a/b 😀"));
        assert!(text(r#""half \ud800 pair""#).is_ok_and(|text| text.starts_with("half \u{fffd}")));
        assert_eq!((text("1"), text("\"a")), (Err(Malformed), Err(Malformed)));
    }

    proptest! {
        #[test]
        fn escapes_are_read_as_serde_json_reads_them(
            text in "(\\PC|[\u{0}-\u{20}\"\\\\]){0,40}",
            escaped in "([a-zé]|\\\\[\"\\\\/bfnrtux]|\\\\u[0-9a-dA-D]{4}|\\\\ud83d\\\\ude0[0-9]){0,12}",
        ) {
            for json in [serde_json::Value::from(text.as_str()).to_string(), format!("\"{escaped}\"")] {
                let known = serde_json::from_str::<String>(&json).ok();
                let mut plain = Vec::new();
                let found = unescape(&json[1..], &mut plain).and_then(|(_, len)| {
                    plain.truncate(len);
                    String::from_utf8(plain).ok()
                });
                prop_assert_eq!(found, known, "{}", json);
            }
        }

        #[test]
        fn it_accepts_what_serde_json_accepts(
            like in "[\\[\\]{}\",:0-9a-f\\\\ .eE+\\-\n]{0,24}",
            text in "\"[\\PC\\\\\"\u{0}-\u{20}unft0-9]{0,40}\"",
            words in proptest::collection::vec(
                prop_oneof![
                    Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just(":"), Just("\"a\""), Just("\"\\u00e9\""),
                    Just("null"), Just("true"), Just("false"), Just("-1.5E3"), Just("0"), Just(" "), Just("\"a\":"),
                ],
                0..16,
            ),
        ) {
            for json in [like, text, words.concat()] {
                let known = serde_json::from_str::<&RawValue>(&json).ok().map(RawValue::get);
                prop_assert_eq!(skipped(&json).ok(), known, "{}", json);
            }
        }
    }
}
