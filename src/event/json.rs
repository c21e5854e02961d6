//! Writing JSON straight into a byte buffer: strings with their escapes, and foreign JSON without its line breaks.
//!
//! Events are written by hand, piece by piece, into one growing buffer: no tree of values, no text in between.

/// What each byte of a string becomes: 0 as it is, `u` as `\u00xx`, anything else as a backslash and that letter.
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

/// Most texts have nothing to escape, so eight bytes are looked at together.
fn first_to_escape(bytes: &[u8]) -> Option<usize> {
    let (words, tail) = bytes.as_chunks::<8>();
    let place = words.iter().position(|word| has_one_to_escape(u64::from_le_bytes(*word)));
    let from = place.map_or(bytes.len() - tail.len(), |word| 8 * word);
    let found = bytes[from..].iter().position(|byte| ESCAPES[usize::from(*byte)] != 0);
    found.map(|at| from + at)
}

/// Whether one of eight bytes is a quote, a backslash or below 0x20. Subtracting borrows into a byte's highest bit just where
/// that byte is smaller; beyond the first such byte there may be false ones, which does not matter here.
const fn has_one_to_escape(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHEST: u64 = 0x80 * ONES;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGHEST != 0
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

/// Appends `text` as a JSON string, `None` as `null`.
pub fn push_optional_string(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => push_string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends `json`, which must be valid JSON, in one line: byte for byte if it has no line break, else without the
/// white space between its tokens. Every token keeps its bytes: numbers their digits, strings their escapes.
pub fn push_in_one_line(out: &mut Vec<u8>, json: &str) {
    let bytes = json.as_bytes();
    if memchr::memchr2(b'\n', b'\r', bytes).is_none() {
        out.extend_from_slice(bytes);
        return;
    }
    let mut rest = bytes;
    while let Some(quote) = memchr::memchr(b'"', rest) {
        push_without_blanks(out, &rest[..quote]);
        let (string, after) = rest.split_at(end_of_string(rest, quote));
        out.extend_from_slice(&string[quote..]);
        rest = after;
    }
    push_without_blanks(out, rest);
}

fn push_without_blanks(out: &mut Vec<u8>, between_strings: &[u8]) {
    out.extend(between_strings.iter().filter(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')));
}

/// The place after the closing quote of the string that opens at `quote`; the end if it is never closed.
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
    fn json_without_line_breaks_keeps_its_blanks() {
        let json = r#"{ "a" : [ 1.0 , 2 ] }"#;
        assert_eq!(in_one_line(json), json);
    }

    #[test]
    fn line_breaks_go_and_tokens_stay() {
        let json = "{\r\n  \"a b\\\" \\\\\": [1.50,\t12345678901234567890],\n \"c\": \"\\u00e9  \"\n}\n";
        assert_eq!(in_one_line(json), r#"{"a b\" \\":[1.50,12345678901234567890],"c":"\u00e9  "}"#);
    }

    #[test]
    fn each_byte_is_seen_at_each_place() {
        for place in 0..24 {
            for byte in 0..=0x7f_u8 {
                let mut text = [b'a'; 24];
                text[place] = byte;
                let expected = (ESCAPES[usize::from(byte)] != 0).then_some(place);
                assert_eq!(first_to_escape(&text), expected, "{byte:#04x} at {place}");
            }
        }
    }

    proptest! {
        #[test]
        fn strings_read_back(text in ".*") {
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
