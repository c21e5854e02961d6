//! Writes JSON directly into a byte buffer: strings with escapes, records without line breaks, objects without empty values.
//!
//! Encoders append to one growing buffer, without a tree of values or intermediate strings.

use std::io::Write;

/// How each byte of a string is written: 0 unchanged, `u` as `\u00xx`, anything else as a backslash and that letter.
const ESCAPES: [u8; 256] = escapes();

const fn escapes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = b'u';
        control += 1;
    }
    table[0x08] = b'b';
    table[b'\t' as usize] = b't';
    table[b'\n' as usize] = b'n';
    table[0x0c] = b'f';
    table[b'\r' as usize] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
}

/// Appends `text` as a JSON string with its quotes.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = first_to_escape(rest) {
        out.extend_from_slice(&rest[..at]);
        push_escape(out, rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Most strings need no escapes, so eight bytes are checked at a time.
fn first_to_escape(bytes: &[u8]) -> Option<usize> {
    let first_in = |word: &[u8; 8], start: usize| {
        let found = first_escape(u64::from_le_bytes(*word));
        (found != 0).then(|| start + found.trailing_zeros() as usize / 8)
    };
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        if let Some(found) = first_in(word, 8 * index) {
            return Some(found);
        }
    }
    match bytes.last_chunk::<8>() {
        // The last eight bytes: some of them are checked twice.
        Some(word) => first_in(word, bytes.len() - 8),
        None => tail.iter().position(|byte| ESCAPES[usize::from(*byte)] != 0),
    }
}

/// Marks, with the highest bit of its byte, the lowest of eight bytes that cannot stand in a JSON string as it is: a quote, a
/// backslash, or one below 0x20. Subtracting borrows into the highest bit of a byte that is smaller; above the first such
/// byte there may be false marks.
#[must_use]
pub const fn first_escape(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHEST: u64 = 0x80 * ONES;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGHEST
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match ESCAPES[usize::from(byte)] {
        b'u' => {
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]])
        }
        letter => out.extend_from_slice(&[b'\\', letter]),
    }
}

/// Readers of JSON refuse what is nested deeper than their limit; few have one below this.
const DEEPEST: usize = 256;

/// Whether JSON is nested deeper than 256 levels.
pub fn is_too_deep(json: &str) -> bool {
    // Nearly every record has fewer brackets than that.
    if json.len() <= 2 * DEEPEST || opening_brackets(json.as_bytes()) <= DEEPEST {
        return false;
    }
    let (mut depth, mut in_text, mut is_escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return true;
        }
    }
    false
}

/// Counts in bytes as far as they reach, which the compiler does for many at once.
fn opening_brackets(json: &[u8]) -> usize {
    let count = |chunk: &[u8]| chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    json.chunks(255).map(|chunk| usize::from(count(chunk))).sum()
}

/// Appends `json`, which must be valid JSON, on one line: byte for byte if it has no line break, else without the white space
/// between its tokens. All tokens keep their bytes: numbers their digits, strings their escapes.
pub fn push_in_one_line(out: &mut Vec<u8>, json: &str) {
    let bytes = json.as_bytes();
    if memchr::memchr2(b'\n', b'\r', bytes).is_none() {
        out.extend_from_slice(bytes);
        return;
    }
    let mut rest = bytes;
    while let Some(quote) = memchr::memchr(b'"', rest) {
        push_without_white_space(out, &rest[..quote]);
        let (string, after) = rest.split_at(end_of_string(rest, quote));
        out.extend_from_slice(&string[quote..]);
        rest = after;
    }
    push_without_white_space(out, rest);
}

fn push_without_white_space(out: &mut Vec<u8>, between_strings: &[u8]) {
    out.extend(between_strings.iter().filter(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')));
}

/// The offset after the closing quote of the string that opens at `quote`; the end if it is not closed.
fn end_of_string(bytes: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[at..]) {
        if bytes[at + found] == b'"' {
            return at + found + 1;
        }
        at = (at + found + 2).min(bytes.len());
    }
    bytes.len()
}

/// Writes a JSON object that holds only known values: no nulls, empty strings, empty lists or empty objects. OCSF and ECS
/// require that; the native encoding writes every field.
pub(super) struct ObjectWriter<'out> {
    out: &'out mut Vec<u8>,
    is_empty: bool,
}

impl ObjectWriter<'_> {
    /// Appends an object with the fields that `fill` adds; `{}` if it adds none.
    pub(super) fn write(out: &mut Vec<u8>, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        Self::write_unless_empty(out, fill);
    }

    /// Returns whether `fill` has added a field.
    fn write_unless_empty(out: &mut Vec<u8>, fill: impl FnOnce(&mut ObjectWriter<'_>)) -> bool {
        out.push(b'{');
        let mut object = ObjectWriter { out, is_empty: true };
        fill(&mut object);
        let is_empty = object.is_empty;
        out.push(b'}');
        !is_empty
    }

    /// Adds a string; omitted if it is empty.
    pub(super) fn string(&mut self, key: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        self.key(key);
        push_string(self.out, text);
    }

    /// Adds a string; omitted if it is `None` or empty.
    pub(super) fn optional(&mut self, key: &str, text: Option<&str>) {
        self.string(key, text.unwrap_or_default());
    }

    /// Adds a string that needs no escaping: a time, an id, a value of an enumeration.
    pub(super) fn unescaped(&mut self, key: &str, value: impl std::fmt::Display) {
        self.key(key);
        write!(self.out, "\"{value}\"").expect("writing to memory cannot fail");
    }

    /// Adds a boolean.
    pub(super) fn boolean(&mut self, key: &str, value: bool) {
        self.key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Adds an integer.
    pub(super) fn number(&mut self, key: &str, number: impl Into<i128>) {
        self.key(key);
        write!(self.out, "{}", number.into()).expect("writing to memory cannot fail");
    }

    /// Adds an object; omitted if `fill` adds no field.
    pub(super) fn object(&mut self, key: &str, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        self.remove_if_empty(key, |out| Self::write_unless_empty(out, fill));
    }

    /// Adds a list of objects, one per item that `fill` adds a field for; omitted if it is empty.
    pub(super) fn objects<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut fill: impl FnMut(&mut ObjectWriter<'_>, T),
    ) {
        self.list(key, items, |out, item| Self::write_unless_empty(out, |object| fill(object, item)));
    }

    /// Adds a list of strings, without empty ones; omitted if it is empty.
    pub(super) fn strings<'t>(&mut self, key: &str, texts: impl IntoIterator<Item = &'t str>) {
        self.list(key, texts, |out, text| {
            push_string(out, text);
            !text.is_empty()
        });
    }

    /// Adds a list of what `push` writes per item. Items for which it returns `false` are removed again.
    fn list<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut push: impl FnMut(&mut Vec<u8>, T) -> bool,
    ) {
        self.remove_if_empty(key, |out| {
            out.push(b'[');
            let start = out.len();
            for item in items {
                let before = out.len();
                if before > start {
                    out.push(b',');
                }
                if !push(out, item) {
                    out.truncate(before);
                }
            }
            let has_items = out.len() > start;
            out.push(b']');
            has_items
        });
    }

    fn remove_if_empty(&mut self, key: &str, push: impl FnOnce(&mut Vec<u8>) -> bool) {
        let (before, was_empty) = (self.out.len(), self.is_empty);
        self.key(key);
        if !push(self.out) {
            self.out.truncate(before);
            self.is_empty = was_empty;
        }
    }

    fn key(&mut self, key: &str) {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        push_string(&mut out, text);
        String::from_utf8(out).expect("text")
    }

    fn in_one_line(json: &str) -> String {
        let mut out = Vec::new();
        push_in_one_line(&mut out, json);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn every_control_character_is_escaped() {
        assert_eq!(written("a\"b\\c\n\r\t\u{8}\u{c}\u{1}\u{1f}é"), r#""a\"b\\c\n\r\t\b\f\u0001\u001fé""#);
    }

    #[test]
    fn json_without_line_breaks_is_unchanged() {
        let json = r#"{ "a" : [ 1.0 , 2 ] }"#;
        assert_eq!(in_one_line(json), json);
    }

    #[test]
    fn line_breaks_are_removed_and_tokens_are_unchanged() {
        let json = "{\r\n  \"a b\\\" \\\\\": [1.50,\t12345678901234567890],\n \"c\": \"\\u00e9  \"\n}\n";
        assert_eq!(in_one_line(json), r#"{"a b\" \\":[1.50,12345678901234567890],"c":"\u00e9  "}"#);
    }

    #[test]
    fn each_byte_is_found_at_each_offset() {
        for offset in 0..24 {
            for byte in 0..=0x7f_u8 {
                let mut text = [b'a'; 24];
                text[offset] = byte;
                let expected = (ESCAPES[usize::from(byte)] != 0).then_some(offset);
                assert_eq!(first_to_escape(&text), expected, "{byte:#04x} at {offset}");
            }
        }
    }

    fn object(fill: impl FnOnce(&mut ObjectWriter<'_>)) -> String {
        let mut out = Vec::new();
        ObjectWriter::write(&mut out, fill);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn empty_values_are_omitted() {
        let line = object(|object| {
            object.string("a", "");
            object.optional("b", None);
            object.object("c", |inner| inner.object("d", |_| {}));
            object.strings("e", ["", ""]);
            object.objects("f", [1, 2], |_, _| {});
        });
        assert_eq!(line, "{}");
    }

    #[test]
    fn commas_separate_only_written_fields_and_items() {
        let line = object(|object| {
            object.object("gone", |_| {});
            object.string("a", "\"x\"");
            object.number("n", -3);
            object.object("gone_too", |inner| inner.string("b", ""));
            object.strings("t", ["", "one", "", "two", ""]);
            object.objects("o", ["", "p", "q"], |inner, text| inner.string("k", text));
            object.unescaped("w", 7);
        });
        assert_eq!(line, r#"{"a":"\"x\"","n":-3,"t":["one","two"],"o":[{"k":"p"},{"k":"q"}],"w":"7"}"#);
    }

    proptest! {
        #[test]
        fn strings_round_trip(text in ".*") {
            let read: String = serde_json::from_str(&written(&text)).expect("valid");
            prop_assert_eq!(read, text);
        }

        #[test]
        fn one_line_never_panics_and_has_no_line_break_outside_strings(text in "[\\[\\]{}\",:\\\\ \n\r\ta0]{0,40}") {
            let line = in_one_line(&text);
            if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
                prop_assert!(!line.contains(['\n', '\r']));
                let before: serde_json::Value = serde_json::from_str(&text).expect("valid");
                let after: serde_json::Value = serde_json::from_str(&line).expect("still valid");
                prop_assert_eq!(before, after);
            }
        }
    }
}
