//! Reads the input in chunks of complete records: lines of NDJSON, items of an array, or pretty-printed values.
//!
//! The first bytes decide which, and the first value whether records or pages of the vendor's API. NDJSON, the format of
//! large archives, is split at line ends without parsing.

mod splitter;

use std::borrow::Cow;
use std::io::{self, Read};
use std::ops::Range;

use splitter::{Found, Splitter};

use crate::vendors::Normalizer;

/// Bytes per read, and the approximate size of a chunk.
const CHUNK: usize = 1 << 20;

/// Maximum size of a record or page, in bytes.
pub(super) const MAX_RECORD_BYTES: usize = 256 << 20;

/// Complete records.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Their bytes.
    pub(super) bytes: Vec<u8>,
    /// Where they are in the bytes.
    pub(super) records: Bounds,
    /// Whether they may be pages of the vendor's API.
    pub(super) pages: bool,
}

impl Chunk {
    /// Calls `take` with each record, pages taken apart, and with whether it came as UTF-8: if not, bytes were replaced.
    pub(super) fn each_record(&self, normalizer: &dyn Normalizer, mut take: impl FnMut(&str, bool)) {
        self.each_value(|bytes| {
            // The check alone is several times as fast as the replacing one.
            let text = std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
            let is_sound = matches!(text, Cow::Borrowed(_));
            match self.pages.then(|| normalizer.page_records(&text)).flatten() {
                // In a page that is not UTF-8, only records with a replacement character are damaged.
                Some(records) => {
                    let damaged = |raw: &str| !is_sound && raw.contains(char::REPLACEMENT_CHARACTER);
                    records.into_iter().for_each(|raw| take(raw, !damaged(raw)));
                }
                None => take(&text, is_sound),
            }
        });
    }

    /// Calls `take` with each value that is not blank.
    pub(super) fn each_value(&self, mut take: impl FnMut(&[u8])) {
        match &self.records {
            Bounds::Lines => {
                let mut start = 0;
                for end in memchr::memchr_iter(b'\n', &self.bytes).chain([self.bytes.len()]) {
                    let line = self.bytes[start..end].trim_ascii();
                    start = end + 1;
                    if !line.is_empty() {
                        take(line);
                    }
                }
            }
            Bounds::Ranges(ranges) => ranges.iter().for_each(|range| take(&self.bytes[range.clone()])),
        }
    }
}

/// Where the records of a chunk are.
#[derive(Debug)]
pub(super) enum Bounds {
    /// One per line that is not blank.
    Lines,
    /// These byte ranges.
    Ranges(Vec<Range<usize>>),
}

/// Why the input cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    /// An error of the operating system.
    #[error("cannot read the input: {0}")]
    Io(#[from] io::Error),
    /// The input is not in a supported format.
    #[error("line {line}: {what}")]
    NotRecords {
        /// The line, from 1.
        line: u64,
        /// What is wrong, and what to do.
        what: String,
    },
}

#[derive(Debug)]
enum Form {
    Lines,
    Values(Splitter),
    Array(Splitter),
    /// An array whose closing bracket has been read.
    Closed,
}

/// Reads a source in chunks.
pub(super) struct Input<R> {
    source: R,
    buffer: Vec<u8>,
    at_end: bool,
    lines_before: u64,
    form: Option<Form>,
    pages: Option<bool>,
    longest: usize,
}

impl<R: Read> Input<R> {
    /// Reads from `source`; records are limited to `longest` bytes. Nothing is read yet.
    pub(super) fn new(source: R, longest: usize) -> Self {
        Self { source, buffer: Vec::new(), at_end: false, lines_before: 0, form: None, pages: None, longest }
    }

    /// The next chunk; `None` at the end. `is_page` recognizes pages of the vendor's API; the first value decides for the
    /// whole input.
    pub(super) fn next_chunk(&mut self, is_page: &dyn Fn(&str) -> bool) -> Result<Option<Chunk>, InputError> {
        if self.form.is_none() {
            self.form = self.detect(is_page)?;
        }
        match self.form.take() {
            None => Ok(None),
            Some(Form::Lines) => {
                self.form = Some(Form::Lines);
                self.next_lines()
            }
            Some(Form::Values(splitter)) => self.next_values(splitter, false, is_page),
            Some(Form::Array(splitter)) => self.next_values(splitter, true, is_page),
            Some(Form::Closed) => self.end_after_array(),
        }
    }

    fn detect(&mut self, is_page: &dyn Fn(&str) -> bool) -> Result<Option<Form>, InputError> {
        let Some(start) = self.find_first_byte()? else { return Ok(None) };
        if self.buffer[start] == b'[' {
            return Ok(Some(Form::Array(Splitter::of_array(start))));
        }
        let end = self.find_line_end(start)?;
        let line = String::from_utf8_lossy(&self.buffer[start..end]);
        match serde_json::from_str::<serde::de::IgnoredAny>(&line) {
            Ok(_) => {
                self.pages = Some(is_page(line.trim()));
                Ok(Some(Form::Lines))
            }
            Err(error) if error.is_eof() && line.starts_with('{') => Ok(Some(Form::Values(Splitter::of_values()))),
            Err(error) => Err(self.not_records(
                start,
                &format!("this is not JSON ({error}); provide NDJSON, a JSON array, or a page of the vendor's API"),
            )),
        }
    }

    /// Offset of the first byte that is neither white space nor part of a byte-order mark.
    fn find_first_byte(&mut self) -> Result<Option<usize>, InputError> {
        loop {
            if self.buffer.starts_with(b"\xef\xbb\xbf") {
                self.buffer[..3].fill(b' ');
            }
            let first = self.buffer.iter().position(|byte| !byte.is_ascii_whitespace());
            if first.is_some() && (self.buffer.len() >= 3 || self.at_end) {
                return Ok(first);
            }
            if self.at_end {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    /// The end of the line that contains `start`.
    fn find_line_end(&mut self, start: usize) -> Result<usize, InputError> {
        let mut searched = start;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                return Ok(searched + end);
            }
            searched = self.buffer.len();
            if self.at_end {
                return Ok(searched);
            }
            self.check_length(start)?;
            self.fill()?;
        }
    }

    fn next_lines(&mut self) -> Result<Option<Chunk>, InputError> {
        let mut searched = 0;
        loop {
            if let Some(end) = memchr::memrchr(b'\n', &self.buffer[searched..]) {
                return Ok(Some(self.take(searched + end + 1, Bounds::Lines)));
            }
            searched = self.buffer.len();
            if self.at_end {
                return Ok((searched > 0).then(|| self.take(searched, Bounds::Lines)));
            }
            self.check_length(0)?;
            self.fill()?;
        }
    }

    fn next_values(
        &mut self,
        mut splitter: Splitter,
        in_array: bool,
        is_page: &dyn Fn(&str) -> bool,
    ) -> Result<Option<Chunk>, InputError> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        loop {
            match splitter.next(&self.buffer, self.at_end) {
                Found::Value(range) => {
                    self.decide_pages(&range, is_page);
                    ranges.push(range);
                }
                Found::ArrayEnd(end) => {
                    self.form = Some(Form::Closed);
                    return Ok(Some(self.take(end, Bounds::Ranges(ranges))));
                }
                Found::Invalid(_) if !ranges.is_empty() => break,
                Found::Invalid(at) => return Err(self.not_records(at, "this is not a JSON value")),
                Found::NeedMore if !ranges.is_empty() || self.at_end => break,
                Found::NeedMore => {
                    self.check_length(splitter.pending_from())?;
                    self.fill()?;
                }
            }
        }
        if ranges.is_empty() {
            return self.end_of_values(&splitter, in_array);
        }
        let end = splitter.pending_from();
        splitter.shift(end);
        self.form = Some(if in_array { Form::Array(splitter) } else { Form::Values(splitter) });
        Ok(Some(self.take(end, Bounds::Ranges(ranges))))
    }

    /// The first value decides whether the input consists of pages.
    fn decide_pages(&mut self, range: &Range<usize>, is_page: &dyn Fn(&str) -> bool) {
        if self.pages.is_none() {
            self.pages = Some(std::str::from_utf8(&self.buffer[range.clone()]).is_ok_and(is_page));
        }
    }

    /// The input has ended between values, or within one.
    fn end_of_values(&self, splitter: &Splitter, in_array: bool) -> Result<Option<Chunk>, InputError> {
        if splitter.is_inside() {
            return Err(self.not_records(splitter.pending_from(), "the value that begins here is truncated"));
        }
        if in_array {
            return Err(self.not_records(self.buffer.len(), "the array is truncated: its closing bracket is missing"));
        }
        Ok(None)
    }

    fn end_after_array(&mut self) -> Result<Option<Chunk>, InputError> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| !byte.is_ascii_whitespace()) {
                return Err(self.not_records(at, "unexpected data after the array; provide one array, or NDJSON"));
            }
            if self.at_end {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    fn check_length(&self, start: usize) -> Result<(), InputError> {
        if self.buffer.len() - start > self.longest {
            let what = format!(
                "the record that begins here is longer than {}; is this NDJSON?",
                crate::units::ByteSize(self.longest as u64)
            );
            return Err(self.not_records(start, &what));
        }
        Ok(())
    }

    /// Removes the first `end` bytes of the buffer and returns them as a chunk.
    fn take(&mut self, end: usize, records: Bounds) -> Chunk {
        let rest = self.buffer.split_off(end);
        let bytes = std::mem::replace(&mut self.buffer, rest);
        self.lines_before += lines_in(&bytes);
        Chunk { bytes, records, pages: self.pages.unwrap_or(false) }
    }

    /// Reads what is available, up to a chunk, so that records from a slow pipe are not delayed.
    fn fill(&mut self) -> Result<(), InputError> {
        let filled = self.buffer.len();
        self.buffer.resize(filled + CHUNK, 0);
        let read = loop {
            match self.source.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        self.at_end = read? == 0;
        Ok(())
    }

    fn not_records(&self, at: usize, what: &str) -> InputError {
        let line = 1 + self.lines_before + lines_in(&self.buffer[..at]);
        InputError::NotRecords { line, what: what.to_owned() }
    }
}

fn lines_in(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `step` bytes per read, like a slow pipe.
    struct Slow<'a> {
        rest: &'a [u8],
        step: usize,
    }

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.step.min(self.rest.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.rest[..count]);
            self.rest = &self.rest[count..];
            Ok(count)
        }
    }

    fn records(text: &str, step: usize) -> Result<Vec<String>, String> {
        let mut input = Input::new(Slow { rest: text.as_bytes(), step }, 64);
        let mut found = Vec::new();
        while let Some(chunk) = input.next_chunk(&|_| false).map_err(|error| error.to_string())? {
            let text = String::from_utf8(chunk.bytes).expect("text");
            match chunk.records {
                Bounds::Lines => {
                    found.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned))
                }
                Bounds::Ranges(ranges) => found.extend(ranges.into_iter().map(|range| text[range].to_owned())),
            }
        }
        Ok(found)
    }

    #[test]
    fn every_format_yields_the_same_records_at_any_read_size() {
        for (text, expected) in [
            ("{\"a\":1}\n\n{\"a\":2}\nbroken\n", vec!["{\"a\":1}", "{\"a\":2}", "broken"]),
            ("\u{feff}{\"a\":1}", vec!["{\"a\":1}"]),
            ("  [{\"a\":1},\n{\"a\":2}]\n", vec!["{\"a\":1}", "{\"a\":2}"]),
            ("[]", vec![]),
            ("{\n\"a\":1}\n{\"a\":\n2}", vec!["{\n\"a\":1}", "{\"a\":\n2}"]),
            ("", vec![]),
            (" \n\n", vec![]),
        ] {
            for step in [1, 2, 3, 7, 1_000] {
                assert_eq!(records(text, step), Ok(expected.iter().map(|word| (*word).to_owned()).collect()), "{text}");
            }
        }
    }

    #[test]
    fn invalid_input_is_reported_with_its_line() {
        let long = format!("{{\"a\":\"{}\"}}\n", "x".repeat(100));
        for (text, expected) in [
            ("\nid,time\n1,2\n", "line 2: this is not JSON"),
            ("[{\"a\":1}\n,{\"b\":", "line 2: the value that begins here is truncated"),
            ("[1\n", "line 2: the array is truncated"),
            ("[1]\n\nx", "line 3: unexpected data"),
            ("{\n\"a\":1}\n,", "line 3: this is not a JSON value"),
            ("{\n\"a\":1", "line 1: the value that begins here is truncated"),
            (long.as_str(), "line 1: the record that begins here is longer than 64 B"),
        ] {
            for step in [1, 3, 20] {
                let error = records(text, step).expect_err(text);
                assert!(error.starts_with(expected), "{text}: {error}");
            }
        }
    }

    #[test]
    fn the_first_value_decides_whether_the_input_is_pages() {
        for (text, pages) in [("{\"p\":1}\n", true), ("{\n\"p\":1}", true), ("[{\"p\":1}]", true), ("{\"a\":1}", false)]
        {
            let mut input = Input::new(text.as_bytes(), 64);
            let chunk = input.next_chunk(&|json| json.contains("\"p\"")).expect("readable").expect("a chunk");
            assert_eq!(chunk.pages, pages, "{text}");
        }
    }
}
