//! Reading a page although one of its records is not valid JSON.
//!
//! ```text
//! body --parse_page()--> page                                                              nearly always
//!   |
//!   +- not JSON or not UTF-8 --split into elements--> a good one stays as it is
//!                                                     a damaged one becomes a JSON string with its text,
//!                                                     or {"base64": "..."} if it is not UTF-8
//!                                                          |
//!                                                          +--parse_page()--> page
//! ```
//!
//! Only elements of lists are replaced. If the answer around them is damaged too (truncated, brackets that do not match),
//! it stays a bad page. A byte order mark, a prefix against script inclusion and zeros at the end are left out.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::IgnoredAny;

use super::contract::{BadPage, PageRequest, Vendor};

/// Longer cursors are not cursors: they would not fit into the line of a request.
const MAX_CURSOR_BYTES: usize = 8 << 10;

/// Prefixes that keep an answer from being run as a script.
const SCRIPT_GUARDS: [&[u8]; 4] = [b")]}',", b")]}'", b"for(;;);", b"while(1);"];

/// A page together with the text that its records are parts of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadPage {
    /// The body, with damaged records replaced.
    pub body: String,
    /// Where the records are in the body, in the vendor's order.
    pub records: Vec<Range<usize>>,
    /// As [`super::Page::next`].
    pub next: Option<String>,
    /// As [`super::Page::total`].
    pub total: Option<u64>,
    /// As [`super::Page::limit`].
    pub limit: Option<u64>,
    /// As [`super::Page::damaged`].
    pub damaged: u32,
}

/// Reads the page in the body of a successful answer.
///
/// # Errors
/// When the body is not a page of this API.
pub fn read_page(vendor: &dyn Vendor, body: Vec<u8>, request: &PageRequest<'_>) -> Result<ReadPage, BadPage> {
    let name = vendor.spec().name;
    let (read, body) = match String::from_utf8(body) {
        Ok(text) => match parse(vendor, &text, request) {
            Ok(page) => return Ok(ReadPage { body: text, ..page }),
            Err(bad) => (bad, text.into_bytes()),
        },
        Err(error) => (BadPage::unreadable(format!("the answer of {name} is not text")), error.into_bytes()),
    };
    // A second reading helps only where something was replaced or left out.
    let Some(repaired) = repair(&body).filter(|repaired| repaired.text.as_bytes() != body) else { return Err(read) };
    let page = parse(vendor, &repaired.text, request)?;
    Ok(ReadPage { body: repaired.text, damaged: page.damaged.saturating_add(repaired.damaged), ..page })
}

fn parse(vendor: &dyn Vendor, body: &str, request: &PageRequest<'_>) -> Result<ReadPage, BadPage> {
    let page = vendor.parse_page(body, request)?;
    if let Some(cursor) = page.next.as_ref().filter(|cursor| cursor.len() > MAX_CURSOR_BYTES) {
        return Err(BadPage::unreadable(format!("its page cursor has {} bytes", cursor.len())));
    }
    let records = page.records.iter().map(|record| range_within(record, body)).collect::<Option<Vec<_>>>();
    let records = records.ok_or_else(|| BadPage::unreadable("a record is not a part of the response"))?;
    let (body, limit) = (String::new(), page.limit);
    Ok(ReadPage { body, records, next: page.next, total: page.total, limit, damaged: page.damaged })
}

/// The byte range of a part within the whole text.
fn range_within(part: &str, whole: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}

/// Why a record that [`read_page`] replaced cannot be read; `None` for any other record.
pub(crate) fn reason_of(raw: &str) -> Option<String> {
    if raw.starts_with('"') {
        let text: String = serde_json::from_str(raw).ok()?;
        let error = serde_json::from_str::<IgnoredAny>(&text).err().filter(|_| text.starts_with(['{', '[']))?;
        return Some(format!("the record is not valid JSON: {error}; `raw` is its text"));
    }
    let encoded = raw.strip_prefix(r#"{"base64":""#)?.strip_suffix(r#""}"#)?;
    BASE64.decode(encoded).ok()?;
    Some("the record is not UTF-8; `raw.base64` is its bytes".to_owned())
}

struct Repaired {
    text: String,
    damaged: u32,
}

/// The body with every damaged element of a list replaced. `None` if it cannot be split into elements.
fn repair(body: &[u8]) -> Option<Repaired> {
    let body = without_wrapping(body);
    let mut splitter = Splitter { body, out: Vec::with_capacity(body.len()), copied: 0, damaged: 0, open: Vec::new() };
    splitter.split()?;
    Some(Repaired { text: String::from_utf8(splitter.out).ok()?, damaged: splitter.damaged })
}

/// Without the bytes around the JSON that some servers add.
fn without_wrapping(body: &[u8]) -> &[u8] {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    let guarded = SCRIPT_GUARDS.iter().find_map(|guard| body.strip_prefix(*guard));
    let mut body = guarded.unwrap_or(body).trim_ascii();
    while let Some(shorter) = body.strip_suffix(b"\0") {
        body = shorter.trim_ascii_end();
    }
    body
}

/// Copies a body and replaces the damaged elements of its outermost lists.
struct Splitter<'b> {
    body: &'b [u8],
    out: Vec<u8>,
    /// How far the body is copied.
    copied: usize,
    damaged: u32,
    /// The brackets that are open, as their closing ones.
    open: Vec<u8>,
}

impl Splitter<'_> {
    /// `None` if brackets or quotation marks do not match.
    fn split(&mut self) -> Option<()> {
        let mut at = 0;
        // How many brackets are open in the list whose elements are looked at, itself included.
        let mut list_depth = None;
        while let Some(byte) = self.body.get(at) {
            match byte {
                b'"' => at = self.end_of_string(at)?,
                b'{' => self.open.push(b'}'),
                b'[' => {
                    self.open.push(b']');
                    if list_depth.is_none() {
                        list_depth = Some(self.open.len());
                        self.copy_to(at + 1);
                    }
                }
                b',' if list_depth == Some(self.open.len()) => self.end_element(at, false),
                b'}' | b']' => {
                    if list_depth == Some(self.open.len()) {
                        self.end_element(at, true);
                        list_depth = None;
                    }
                    self.open.pop().filter(|closing| closing == byte)?;
                }
                _ => {}
            }
            at += 1;
        }
        self.copy_to(at);
        self.open.is_empty().then_some(())
    }

    /// The index of the closing quotation mark.
    fn end_of_string(&self, start: usize) -> Option<usize> {
        let mut at = start + 1;
        loop {
            match self.body.get(at)? {
                b'"' => return Some(at),
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
    }

    fn copy_to(&mut self, end: usize) {
        self.out.extend_from_slice(&self.body[self.copied..end]);
        self.copied = end;
    }

    /// Copies the element between what is copied and `end`, or its replacement, and the separator behind it.
    fn end_element(&mut self, end: usize, is_last: bool) {
        let element = &self.body[self.copied..end];
        let is_blank = element.trim_ascii().is_empty();
        if is_blank && is_last && self.out.last() == Some(&b',') {
            // A comma behind the last element.
            self.out.pop();
        }
        match replacement(element).filter(|_| !(is_blank && is_last)) {
            Some(replacement) => {
                self.out.extend_from_slice(replacement.as_bytes());
                self.damaged = self.damaged.saturating_add(1);
            }
            None => self.out.extend_from_slice(element),
        }
        self.copied = end;
        if !is_last {
            self.copy_to(end + 1);
        }
    }
}

/// What stands for a damaged element; `None` if it is valid JSON.
fn replacement(element: &[u8]) -> Option<String> {
    let element = element.trim_ascii();
    let Ok(text) = std::str::from_utf8(element) else {
        return Some(format!(r#"{{"base64":"{}"}}"#, BASE64.encode(element)));
    };
    let is_valid = serde_json::from_str::<IgnoredAny>(text).is_ok();
    (!is_valid).then(|| serde_json::Value::from(Cow::from(text)).to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn elements(body: &[u8]) -> (Vec<Value>, u32) {
        let repaired = repair(body).expect("it can be split");
        let page: Value = serde_json::from_str(&repaired.text).expect("valid JSON");
        let records = page["results"].as_array().expect("a list").clone();
        (records, repaired.damaged)
    }

    #[test]
    fn a_damaged_record_becomes_its_text_and_the_others_stay() {
        for damaged in [
            r#"{"id": 2, "score": NaN}"#,
            r#"{"id": 2, "score": -Infinity}"#,
            r#"{"id": 2,}"#,
            "{\"id\": \"a\nb\"}",
            "{\"id\": \"a\tb\"}",
            r#"{"id": "\x41 ]"}"#,
            r#"{"id": 2, 'q': 1}"#,
            "undefined",
        ] {
            let body = format!(r#"{{"next": null, "results": [{{"id": [1]}}, {damaged} ,{{"id": "]"}}]}}"#);
            let (records, count) = elements(body.as_bytes());
            assert_eq!(count, 1, "{damaged}");
            assert_eq!(records[0]["id"][0], 1);
            assert_eq!(records[1], damaged);
            assert_eq!(records[2]["id"], "]");
        }
    }

    #[test]
    fn bytes_that_are_not_text_become_base64() {
        let (records, count) = elements(b"{\"results\": [{\"name\": \"caf\xe9\"}, 1]}");
        assert_eq!(count, 1);
        let bytes = BASE64.decode(records[0]["base64"].as_str().expect("text")).expect("base64");
        assert_eq!(bytes, b"{\"name\": \"caf\xe9\"}");
        assert_eq!(records[1], 1);
    }

    #[test]
    fn what_is_around_the_json_is_left_out() {
        for body in [
            &b"\xef\xbb\xbf{\"results\": [1]}"[..],
            b")]}',\n{\"results\": [1]}",
            b"for(;;);{\"results\": [1]}",
            b"{\"results\": [1]}\0\0\n",
            b"{\"results\": [1,]}",
        ] {
            assert_eq!(elements(body), (vec![Value::from(1)], 0), "{}", body.escape_ascii());
        }
        assert_eq!(elements(b"{\"results\": [1,,2]}").1, 1);
    }

    #[test]
    fn damage_around_the_records_stays_a_bad_page() {
        for body in [
            &b"{\"results\": [{\"a\": 1}, {\"b\""[..],
            b"{\"results\": [{\"a\": \"open}]}",
            b"{\"results\": [{\"a\": 1]}]}",
            b"{\"name\": \"caf\xe9\", \"results\": []}",
        ] {
            assert!(repair(body).is_none(), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn a_replaced_record_says_why() {
        let text = replacement(br#"{"id": NaN}"#).expect("damaged");
        assert!(reason_of(&text).is_some_and(|reason| reason.contains("not valid JSON")));
        let bytes = replacement(b"{\"id\": \"\xff\"}").expect("damaged");
        assert!(reason_of(&bytes).is_some_and(|reason| reason.contains("not UTF-8")));
        for other in [r#""oops""#, r#""{}""#, "{}", r#"{"base64":"%"}"#, r#"{"base64":"AAAA","id":1}"#, "17"] {
            assert_eq!(reason_of(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..60), like in "[\\[\\]{}\",: a\\\\]{0,40}") {
            repair(&body);
            repair(like.as_bytes());
        }

        #[test]
        fn valid_json_stays_as_it_is(text in "[a-z\"\\\\\\]}]{0,10}", number in any::<i32>()) {
            let body = serde_json::json!({ "a": [number, { "b": [text] }, text], "c": {} }).to_string();
            let repaired = repair(body.as_bytes()).expect("it can be split");
            prop_assert_eq!((repaired.text, repaired.damaged), (body, 0));
        }
    }
}
