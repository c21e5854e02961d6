//! Redacts the vendor's record in its text: what is not redacted keeps its bytes.
//!
//! ```text
//! {"user": "ada", "password": "x", "body": "{\"passcode\": 7}"}
//!                ^^^^^^^^^^^^^^^^^ cut               ^^^^^^^^^^ a string that holds JSON is redacted like JSON
//! ```

use std::collections::BTreeSet;

use super::pointer::{self, Action, Pattern, States};
use super::values::{DROPPED, HashKey, Values};
use crate::event::json::push_string;
use crate::vendors::damaged;
use crate::vendors::json::{Kind, Malformed, Reader};

/// Levels of nesting up to which records are read; a deeper one is removed as a whole.
const MAX_DEPTH: usize = 256;

/// What an unreadable record becomes.
const UNREADABLE: &str = r#""[redacted: the record cannot be read]""#;

/// The whole record, as events name it in `redacted`.
const WHOLE: &str = "/raw";

/// The redacted record, and what was redacted; `None` if nothing was.
pub(super) fn redact(
    record: &str,
    patterns: &[Pattern],
    values: &Values,
    key: Option<&HashKey>,
) -> Option<(String, Vec<String>)> {
    let rules = Rules { patterns, values, key };
    let mut found = Found::default();
    let is_object = record.trim_start().starts_with('{') && damaged::reason_of(record).is_none();
    let redacted = match is_object {
        true => rules.redacted(record, &pointer::start(patterns), 0, &mut found),
        false => Err(Malformed),
    };
    let Ok(redacted) = redacted else { return Some((UNREADABLE.to_owned(), vec![WHOLE.to_owned()])) };
    let paths = found.patterns.into_iter().map(|index| patterns[index].to_string());
    Some((redacted?, found.value.then(|| WHOLE.to_owned()).into_iter().chain(paths).collect()))
}

/// What was found in a record.
#[derive(Debug, Default)]
struct Found {
    /// The patterns that matched.
    patterns: BTreeSet<usize>,
    /// Whether one of the values of fields was in it.
    value: bool,
}

#[derive(Clone, Copy, Debug)]
struct Rules<'r> {
    patterns: &'r [Pattern],
    values: &'r Values,
    key: Option<&'r HashKey>,
}

/// Whether a value stays in its object or list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
}

impl Rules<'_> {
    /// A JSON text redacted; `None` if nothing changes.
    fn redacted(
        &self,
        text: &str,
        states: &[(usize, usize)],
        depth: usize,
        found: &mut Found,
    ) -> Result<Option<String>, Malformed> {
        let mut rewriter =
            Rewriter { rules: *self, text, reader: Reader::new(text), out: Vec::new(), copied: 0, found };
        rewriter.value(states, None, depth)?;
        rewriter.reader.end()?;
        if rewriter.copied == 0 && rewriter.out.is_empty() {
            return Ok(None);
        }
        rewriter.out.extend_from_slice(&text.as_bytes()[rewriter.copied..]);
        String::from_utf8(rewriter.out).map(Some).map_err(|_| Malformed)
    }
}

/// Reads a JSON text and copies what stays.
struct Rewriter<'t, 'r> {
    rules: Rules<'r>,
    text: &'t str,
    reader: Reader<'t>,
    out: Vec<u8>,
    /// Everything before this offset is copied, or left out.
    copied: usize,
    found: &'r mut Found,
}

impl Rewriter<'_, '_> {
    /// Leaves out a part.
    fn cut(&mut self, from: usize, to: usize) {
        let from = from.max(self.copied);
        self.out.extend_from_slice(&self.text.as_bytes()[self.copied..from]);
        self.copied = to;
    }

    /// Writes a string in the place of the value that begins at `from` and has just been read.
    fn replace(&mut self, from: usize, with: &str) {
        self.cut(from, self.reader.offset());
        push_string(&mut self.out, with);
    }

    /// Reads a value. `hashed` is the pattern by which everything in it is hashed.
    fn value(&mut self, states: &[(usize, usize)], hashed: Option<usize>, depth: usize) -> Result<Fate, Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed);
        }
        let kind = self.reader.kind()?;
        let from = self.reader.offset();
        match kind {
            Kind::Object => return self.object(states, hashed, depth),
            Kind::List => return self.list(states, hashed, depth),
            Kind::Text => return self.string(from, states, hashed, depth),
            Kind::Number => {
                let number = self.reader.number()?;
                let hash = hashed.and(self.rules.key).map(|key| key.hash(number));
                let known = || self.rules.values.whole(number).map(|known| known.clone().unwrap_or(DROPPED.to_owned()));
                self.found.value |= hash.is_none() && known().is_some();
                if let Some(new) = hash.or_else(known) {
                    self.replace(from, &new);
                }
            }
            Kind::Bool => drop(self.reader.bool()?),
            Kind::Null => drop(self.reader.skip()?),
        }
        Ok(Fate::Stays)
    }

    fn string(
        &mut self,
        from: usize,
        states: &[(usize, usize)],
        hashed: Option<usize>,
        depth: usize,
    ) -> Result<Fate, Malformed> {
        let text = self.reader.text()?;
        if let Some(key) = hashed.and(self.rules.key) {
            self.replace(from, &key.hash(&text));
            return Ok(Fate::Stays);
        }
        if text.trim_start().starts_with(['{', '[']) && !(states.is_empty() && self.rules.values.is_empty()) {
            match self.rules.redacted(&text, states, depth + 1, self.found) {
                Ok(Some(new)) => self.replace(from, &new),
                Err(Malformed) if !states.is_empty() && is_cut_off_json(&text) => {
                    self.found.patterns.extend(states.iter().map(|(index, _)| index));
                    return Ok(Fate::Goes);
                }
                Ok(None) => {}
                Err(Malformed) => self.replace_values(from, &text),
            }
            return Ok(Fate::Stays);
        }
        self.replace_values(from, &text);
        Ok(Fate::Stays)
    }

    fn replace_values(&mut self, from: usize, text: &str) {
        let whole = self.rules.values.whole(text).map(|known| known.clone().unwrap_or(DROPPED.to_owned()));
        if let Some(new) = whole.or_else(|| self.rules.values.replaced(text)) {
            self.found.value = true;
            self.replace(from, &new);
        }
    }

    fn object(&mut self, states: &[(usize, usize)], hashed: Option<usize>, depth: usize) -> Result<Fate, Malformed> {
        self.reader.open()?;
        let mut part = Part::new(self.reader.offset());
        let mut is_first = true;
        while let Some(name) = self.reader.member(&mut is_first)? {
            let (below, matched) = pointer::step(self.rules.patterns, states, &name);
            self.part(&mut part, &below, matched, hashed, depth)?;
        }
        Ok(Fate::Stays)
    }

    fn list(&mut self, states: &[(usize, usize)], hashed: Option<usize>, depth: usize) -> Result<Fate, Malformed> {
        self.reader.open()?;
        let mut part = Part::new(self.reader.offset());
        let (mut is_first, mut index) = (true, 0_usize);
        while self.reader.element(&mut is_first)? {
            let (below, matched) = match states.is_empty() {
                true => (States::new(), None),
                false => pointer::step(self.rules.patterns, states, &index.to_string()),
            };
            self.part(&mut part, &below, matched, hashed, depth)?;
            index += 1;
        }
        Ok(Fate::Stays)
    }

    /// Reads one member or element, and cuts it out if it goes.
    fn part(
        &mut self,
        part: &mut Part,
        below: &[(usize, usize)],
        matched: Option<usize>,
        hashed: Option<usize>,
        depth: usize,
    ) -> Result<(), Malformed> {
        self.found.patterns.extend(matched);
        let by_pattern = matched.map(|index| self.rules.patterns[index].action);
        let is_hashed = by_pattern == Some(Action::Hash);
        // Without a key nothing can be hashed.
        let goes = by_pattern == Some(Action::Drop) || (is_hashed && self.rules.key.is_none());
        let fate = if goes {
            self.reader.skip()?;
            Fate::Goes
        } else {
            if !part.has_kept && !part.is_first {
                // Everything before it was cut, but not the comma.
                let comma = self.text[part.end..].find(',').ok_or(Malformed)?;
                self.cut(part.end, part.end + comma + 1);
            }
            self.value(below, if is_hashed { matched } else { hashed }, depth + 1)?
        };
        let end = self.reader.offset();
        if fate == Fate::Goes {
            self.cut(part.end, end);
        }
        *part = Part { end, is_first: false, has_kept: part.has_kept || fate == Fate::Stays };
        Ok(())
    }
}

/// Where the last member or element ended, and whether there was one that stayed.
struct Part {
    end: usize,
    is_first: bool,
    has_kept: bool,
}

impl Part {
    fn new(end: usize) -> Self {
        Self { end, is_first: true, has_kept: false }
    }
}

/// Whether a text that is not JSON begins like an object or a list of something: it may be one that was cut off.
fn is_cut_off_json(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with('{') || text.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with(['{', '[', '"']))
}
