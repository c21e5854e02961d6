//! Finds where JSON values end in a stream of bytes, for arrays and pretty-printed records.
//!
//! It follows only brackets and strings; the normalizer checks whether a value is valid.

use std::ops::Range;

/// The next item in the buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A complete value: its range in the buffer.
    Value(Range<usize>),
    /// The buffer ends within or before the next value.
    NeedMore,
    /// The array's closing bracket; this is the offset after it.
    ArrayEnd(usize),
    /// A byte, at this offset, that cannot start a value.
    Invalid(usize),
}

/// Scans a buffer that grows at its end; call [`Splitter::shift`] after removing bytes at its start.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// Whether the values are items of an array.
    in_array: bool,
    at: usize,
    start: Option<usize>,
    depth: usize,
    in_string: bool,
}

impl Splitter {
    /// For values that are separated by white space.
    pub(super) fn of_values() -> Self {
        Self::default()
    }

    /// For the items of the array whose opening bracket is at `at`.
    pub(super) fn of_array(at: usize) -> Self {
        Self { in_array: true, at: at + 1, ..Self::default() }
    }

    /// Start of the incomplete value, or the current offset between values.
    pub(super) fn pending_from(&self) -> usize {
        self.start.unwrap_or(self.at)
    }

    /// Whether a value is incomplete.
    pub(super) fn is_inside(&self) -> bool {
        self.start.is_some()
    }

    /// Adjusts the offsets after the first `bytes` of the buffer were removed.
    pub(super) fn shift(&mut self, bytes: usize) {
        self.at -= bytes;
        self.start = self.start.map(|start| start - bytes);
    }

    /// Finds the next value in `buffer`. `at_end`: nothing follows, so a number at the end is complete.
    pub(super) fn next(&mut self, buffer: &[u8], at_end: bool) -> Found {
        if self.start.is_none()
            && let Some(found) = self.skip_to_value(buffer)
        {
            return found;
        }
        while let Some(byte) = buffer.get(self.at) {
            if self.in_string {
                self.skip_in_string(buffer);
            } else if self.ends_scalar(*byte) {
                return self.value(self.at);
            } else {
                self.at += 1;
                self.step(*byte);
            }
            if self.is_complete(buffer) {
                return self.value(self.at);
            }
        }
        if at_end && self.depth == 0 && !self.in_string { self.value(buffer.len()) } else { Found::NeedMore }
    }

    /// Skips separators; `None` if a value begins.
    fn skip_to_value(&mut self, buffer: &[u8]) -> Option<Found> {
        while let Some(byte) = buffer.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b',' if self.in_array => self.at += 1,
                b']' if self.in_array => return Some(Found::ArrayEnd(self.at + 1)),
                b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                    self.start = Some(self.at);
                    return None;
                }
                _ => return Some(Found::Invalid(self.at)),
            }
        }
        Some(Found::NeedMore)
    }

    fn step(&mut self, byte: u8) {
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    /// Moves to after the closing quote, after an escape (whose letter may not have been read yet), or to the buffer's end.
    fn skip_in_string(&mut self, buffer: &[u8]) {
        match memchr::memchr2(b'"', b'\\', &buffer[self.at..]) {
            None => self.at = buffer.len(),
            Some(found) if buffer[self.at + found] == b'"' => {
                self.at += found + 1;
                self.in_string = false;
            }
            Some(found) => self.at += found + 2,
        }
    }

    fn ends_scalar(&self, byte: u8) -> bool {
        let separates = matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b']' | b'}');
        self.depth == 0 && separates && self.start != Some(self.at)
    }

    /// Whether an object, array or string of the outermost level ends here.
    fn is_complete(&self, buffer: &[u8]) -> bool {
        let last = self.at.checked_sub(1).and_then(|last| buffer.get(last));
        self.depth == 0 && !self.in_string && matches!(last, Some(b'}' | b']' | b'"'))
    }

    fn value(&mut self, end: usize) -> Found {
        let start = self.start.take().unwrap_or(end);
        self.at = end;
        Found::Value(start..end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All values of `text`, given to the splitter in pieces of `step` bytes.
    fn split(text: &str, step: usize, mut splitter: Splitter) -> (Vec<&str>, Found) {
        let mut values = Vec::new();
        let mut known = 0;
        loop {
            known = (known + step).min(text.len());
            loop {
                match splitter.next(&text.as_bytes()[..known], known == text.len()) {
                    Found::Value(range) => values.push(&text[range]),
                    Found::NeedMore if known == text.len() => return (values, Found::NeedMore),
                    Found::NeedMore => break,
                    end => return (values, end),
                }
            }
        }
    }

    #[test]
    fn pretty_printed_values() {
        let text = "{\n \"a\": [1, \"}\\\"\"]\n}\n{\"b\":{}} 12 \"x\" null";
        for step in 1..=text.len() {
            let (values, _) = split(text, step, Splitter::of_values());
            assert_eq!(values, ["{\n \"a\": [1, \"}\\\"\"]\n}", "{\"b\":{}}", "12", "\"x\"", "null"], "{step}");
        }
    }

    #[test]
    fn items_of_an_array() {
        let text = "[ {\"a\":\"]\"} ,[1,2],3, true] ";
        for step in 1..=text.len() {
            let (values, end) = split(text, step, Splitter::of_array(0));
            assert_eq!(values, ["{\"a\":\"]\"}", "[1,2]", "3", "true"], "{step}");
            assert_eq!(end, Found::ArrayEnd(text.len() - 1));
        }
    }

    #[test]
    fn bytes_that_cannot_start_a_value_are_invalid() {
        assert_eq!(split("{} }", 9, Splitter::of_values()).1, Found::Invalid(3));
        assert_eq!(split("{},{}", 9, Splitter::of_values()).1, Found::Invalid(2));
    }

    proptest! {
        #[test]
        fn values_are_found_with_any_buffer_size(
            values in proptest::collection::vec("[a-z \"\\\\{}\\[\\],\n]{0,8}", 0..5), step in 1..9usize,
        ) {
            let written: Vec<String> =
                values.iter().map(|text| serde_json::json!({ "text": text, "list": [text, 1] }).to_string()).collect();
            let text = format!("[{}]", written.join(", "));
            let (found, end) = split(&text, step, Splitter::of_array(0));
            prop_assert_eq!(found, written);
            prop_assert_eq!(end, Found::ArrayEnd(text.len()));
        }

        #[test]
        fn no_bytes_cause_a_panic_or_an_endless_loop(text in "[\\[\\]{}\",\\\\ 1a\n]{0,30}", step in 1..9usize) {
            split(&text, step, Splitter::of_values());
            split(&text, step, Splitter { in_array: true, ..Splitter::default() });
        }
    }
}
