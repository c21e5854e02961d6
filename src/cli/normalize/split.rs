//! Finding where JSON values end in a stream of bytes, without reading them: for arrays and pretty-printed records.
//!
//! Only brackets and strings are followed; whether a value is valid is found out when it is normalized.

use std::ops::Range;

/// What is found next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole value, by its place in the buffer.
    Value(Range<usize>),
    /// The buffer ends before the next value does.
    NeedMore,
    /// The closing bracket of the array, up to here.
    ArrayEnd(usize),
    /// A byte that can begin no value.
    Garbage(usize),
}

/// Goes through a buffer that grows at its end; [`Splitter::shift`] says when its beginning has been taken away.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// Whether the values are the items of an array whose opening bracket is behind us.
    in_array: bool,
    at: usize,
    start: Option<usize>,
    depth: usize,
    in_string: bool,
}

impl Splitter {
    /// For values with white space between them.
    pub(super) fn of_values() -> Self {
        Self::default()
    }

    /// For the items of an array, from after its opening bracket at `at` on.
    pub(super) fn of_array(at: usize) -> Self {
        Self { in_array: true, at: at + 1, ..Self::default() }
    }

    /// Where the value begins that is not whole yet; the present place between values.
    pub(super) fn pending_from(&self) -> usize {
        self.start.unwrap_or(self.at)
    }

    /// Whether a value has begun and not ended.
    pub(super) fn is_inside(&self) -> bool {
        self.start.is_some()
    }

    /// The first `bytes` of the buffer have been taken away.
    pub(super) fn shift(&mut self, bytes: usize) {
        self.at -= bytes;
        self.start = self.start.map(|start| start - bytes);
    }

    /// Finds the next value in `buffer`. `at_end`: nothing follows, so that a number at the very end is whole.
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
            if self.is_whole(buffer) {
                return self.value(self.at);
            }
        }
        if at_end && self.depth == 0 && !self.in_string { self.value(buffer.len()) } else { Found::NeedMore }
    }

    /// Skips what stands between values; `None` when a value begins.
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
                _ => return Some(Found::Garbage(self.at)),
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

    /// Goes on behind the closing quote, or behind an escape (whose letter may still be to come), or to the buffer's
    /// end.
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

    /// Whether an object, an array or a string has just been closed at the outermost level.
    fn is_whole(&self, buffer: &[u8]) -> bool {
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

    /// All values of `text`, given to the splitter `step` bytes at a time.
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
    fn what_begins_no_value_is_told() {
        assert_eq!(split("{} }", 9, Splitter::of_values()).1, Found::Garbage(3));
        assert_eq!(split("{},{}", 9, Splitter::of_values()).1, Found::Garbage(2));
    }

    proptest! {
        #[test]
        fn values_are_found_again_whatever_the_buffer_size(
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
        fn no_bytes_make_it_panic_or_stand_still(text in "[\\[\\]{}\",\\\\ 1a\n]{0,30}", step in 1..9usize) {
            split(&text, step, Splitter::of_values());
            split(&text, step, Splitter { in_array: true, ..Splitter::default() });
        }
    }
}
