//! Redacts the vendor's record in its text: what is not redacted keeps its bytes.
//!
//! ```text
//! {"user": "ada", "password": "x", "body": "{\"passcode\": 7}"}
//!                ^^^^^^^^^^^^^^^^^ cut               ^^^^^^^^^^ a string that holds JSON is redacted like JSON
//! ```

use std::collections::BTreeSet;

use super::key::HashKey;
use super::pointer::{self, Action, Origin, Pattern, States};
use super::values::{DROPPED, Values};
use crate::event::json::push_string;
use crate::vendors::json::{Kind, Malformed, Reader};
use crate::vendors::{credentials, damaged};

/// Levels of nesting up to which records are read; a deeper one is removed as a whole.
pub(super) const MAX_DEPTH: usize = 256;

/// May stand before JSON.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// What an unreadable record becomes.
const UNREADABLE: &str = r#""[redacted: the record cannot be read]""#;

/// The whole record, as events name it in `redacted`.
pub(super) const WHOLE: &str = "/raw";

/// A record that was removed.
pub(super) const REMOVED: &str = "null";

/// What is redacted in a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'r> {
    pub(super) patterns: &'r [Pattern],
    pub(super) values: &'r Values,
    /// Whether members are cut out whose names contain those of credentials.
    pub(super) drop_credentials: bool,
    pub(super) key: Option<&'r HashKey>,
}

/// What was redacted in a record.
#[derive(Debug, Default)]
struct Found {
    /// The patterns of the pipeline and of credentials.
    patterns: BTreeSet<usize>,
    /// The parts of names by which members were credentials.
    names: BTreeSet<&'static str>,
    /// Whether a value of a field was, or a text that cannot be read.
    is_in_record: bool,
}

impl Found {
    fn add(&mut self, other: Self) {
        self.patterns.extend(other.patterns);
        self.names.extend(other.names);
        self.is_in_record |= other.is_in_record;
    }
}

/// Whether a value stays in its object or list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
}

impl Rules<'_> {
    /// The redacted record, and what was redacted; `None` if nothing was.
    pub(super) fn redact(&self, record: &str) -> Option<(String, Vec<String>)> {
        if record == REMOVED {
            return None;
        }
        let mut found = Found::default();
        let is_object = record.trim_start().starts_with('{') && damaged::reason_of(record).is_none();
        let redacted = match is_object {
            true => self.redacted(record, &pointer::start(self.patterns), 0, &mut found),
            false => Err(Malformed),
        };
        let Ok(redacted) = redacted else { return Some((UNREADABLE.to_owned(), vec![WHOLE.to_owned()])) };
        let paths = found.patterns.into_iter().map(|index| self.patterns[index].to_string());
        let names = found.names.into_iter().map(|name| format!("/raw/**/*{name}*"));
        let whole = found.is_in_record.then(|| WHOLE.to_owned());
        Some((redacted?, whole.into_iter().chain(paths).chain(names).collect()))
    }

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
        if rewriter.value(states, None, depth)? == Fate::Goes {
            return Err(Malformed);
        }
        rewriter.reader.end()?;
        if rewriter.copied == 0 && rewriter.out.is_empty() {
            return Ok(None);
        }
        rewriter.out.extend_from_slice(&text.as_bytes()[rewriter.copied..]);
        String::from_utf8(rewriter.out).map(Some).map_err(|_| Malformed)
    }

    /// Whether something in a text that holds JSON may have to be redacted.
    fn apply_below(&self, states: &[(usize, usize)]) -> bool {
        !states.is_empty() || self.drop_credentials || !self.values.is_empty()
    }

    /// Whether a text that begins like JSON and cannot be read may hold something that only its names tell.
    fn may_match_in(&self, text: &str, states: &[(usize, usize)]) -> bool {
        // Values are found in texts too, but not if they are written with escapes.
        let may_hide_values = !self.values.is_empty() && text.contains('\\');
        !states.is_empty() || may_hide_values || (self.drop_credentials && credentials::part_of_name(text).is_some())
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

    /// Reads a value. `by` is the pattern by which everything in it is replaced.
    fn value(&mut self, states: &[(usize, usize)], by: Option<usize>, depth: usize) -> Result<Fate, Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed);
        }
        let kind = self.reader.kind()?;
        let from = self.reader.offset();
        if let Some(index) = by.filter(|index| !self.is_hashed(*index)) {
            return self.drop_in_place(from, index);
        }
        match kind {
            Kind::Object | Kind::List if self.is_known_value(from)? => {}
            Kind::Object => return self.object(states, by, depth),
            Kind::List => return self.list(states, by, depth),
            Kind::Text => return self.string(from, states, by, depth),
            Kind::Number => {
                let number = self.reader.number()?;
                match by {
                    Some(index) => self.hash(from, number, index),
                    None => self.replace_value(from, self.rules.values.number(number)),
                }
            }
            Kind::Bool | Kind::Null => {
                let word = self.reader.skip()?;
                let is_hashed = |index: &usize| kind == Kind::Bool || !self.is_of_field(*index);
                if let Some(index) = by.filter(is_hashed) {
                    self.hash(from, word, index);
                }
            }
        }
        Ok(Fate::Stays)
    }

    fn is_of_field(&self, index: usize) -> bool {
        self.rules.patterns[index].origin == Origin::Field
    }

    /// Without a key nothing can be hashed.
    fn is_hashed(&self, index: usize) -> bool {
        self.rules.patterns[index].action == Action::Hash && self.rules.key.is_some()
    }

    fn note(&mut self, index: usize) {
        if self.is_of_field(index) {
            self.found.is_in_record = true;
        } else {
            self.found.patterns.insert(index);
        }
    }

    /// Replaces a value by its hash. Of a value that is also dropped, drop wins.
    fn hash(&mut self, from: usize, value: &str, index: usize) {
        let known = self.rules.values.whole(value).is_some_and(Option::is_none);
        let hash = self.rules.key.filter(|_| !known).map(|key| key.hash(value));
        self.replace(from, hash.as_deref().unwrap_or(DROPPED));
        self.note(index);
    }

    /// Replaces a value that a field was read from, unless it is null or empty.
    fn drop_in_place(&mut self, from: usize, index: usize) -> Result<Fate, Malformed> {
        if !matches!(self.reader.skip()?, "null" | "\"\"") {
            self.replace(from, DROPPED);
            self.note(index);
        }
        Ok(Fate::Stays)
    }

    /// Replaces an object or list that is the value of a field.
    fn is_known_value(&mut self, from: usize) -> Result<bool, Malformed> {
        if !self.rules.values.has_json() {
            return Ok(false);
        }
        let mut reader = self.reader.clone();
        let Some(new) = self.rules.values.whole(reader.skip()?) else { return Ok(false) };
        self.reader = reader;
        self.replace_value(from, Some(new.clone().unwrap_or_else(|| DROPPED.to_owned())));
        Ok(true)
    }

    /// Replaces a value that is or holds the value of a field.
    fn replace_value(&mut self, from: usize, new: Option<String>) {
        if let Some(new) = new {
            self.replace(from, &new);
            self.found.is_in_record = true;
        }
    }

    fn string(
        &mut self,
        from: usize,
        states: &[(usize, usize)],
        by: Option<usize>,
        depth: usize,
    ) -> Result<Fate, Malformed> {
        let text = self.reader.text()?;
        if let Some(index) = by {
            if !(text.is_empty() && self.is_of_field(index)) {
                self.hash(from, &text, index);
            }
            return Ok(Fate::Stays);
        }
        let json = text.trim_start_matches(|c: char| c.is_whitespace() || c == BYTE_ORDER_MARK);
        let is_like_json = json.starts_with(['{', '[', '"']) && self.rules.values.whole(&text).is_none();
        if !is_like_json || !self.rules.apply_below(states) {
            self.replace_value(from, self.rules.values.replaced(&text));
            return Ok(Fate::Stays);
        }
        let mut found = Found::default();
        match self.rules.redacted(json, states, depth + 1, &mut found) {
            Ok(Some(new)) => {
                self.replace(from, &new);
                self.found.add(found);
            }
            Ok(None) => {}
            Err(Malformed) if is_cut_off_json(json) && self.rules.may_match_in(json, states) => {
                self.found.is_in_record = true;
                return Ok(Fate::Goes);
            }
            Err(Malformed) => self.replace_value(from, self.rules.values.replaced(&text)),
        }
        Ok(Fate::Stays)
    }

    fn object(&mut self, states: &[(usize, usize)], by: Option<usize>, depth: usize) -> Result<Fate, Malformed> {
        self.reader.open()?;
        let mut part = Part::new(self.reader.offset());
        let mut is_first = true;
        while let Some(name) = self.reader.member(&mut is_first)? {
            let (below, matched) = pointer::step(self.rules.patterns, states, &name);
            let is_searched = self.rules.drop_credentials && !self.cuts(matched);
            let credential = if is_searched { credentials::part_of_name(&name) } else { None };
            self.part(&mut part, &below, (matched, credential), by, depth)?;
        }
        Ok(Fate::Stays)
    }

    fn list(&mut self, states: &[(usize, usize)], by: Option<usize>, depth: usize) -> Result<Fate, Malformed> {
        self.reader.open()?;
        let mut part = Part::new(self.reader.offset());
        let (mut is_first, mut index) = (true, 0_usize);
        while self.reader.element(&mut is_first)? {
            let (below, matched) = match states.is_empty() {
                true => (States::new(), None),
                false => pointer::step(self.rules.patterns, states, &index.to_string()),
            };
            self.part(&mut part, &below, (matched, None), by, depth)?;
            index += 1;
        }
        Ok(Fate::Stays)
    }

    fn cuts(&self, matched: Option<usize>) -> bool {
        matched.is_some_and(|index| self.rules.patterns[index].cuts(self.rules.key.is_some()))
    }

    /// Reads one member or element, and cuts it out if it goes: by the pattern that matches it, or as a credential by its name.
    fn part(
        &mut self,
        part: &mut Part,
        below: &[(usize, usize)],
        (matched, credential): (Option<usize>, Option<&'static str>),
        by: Option<usize>,
        depth: usize,
    ) -> Result<(), Malformed> {
        let fate = if credential.is_some() || self.cuts(matched) {
            self.reader.skip()?;
            self.found.patterns.extend(matched.filter(|_| credential.is_none()));
            self.found.names.extend(credential);
            Fate::Goes
        } else {
            if !part.has_kept && !part.is_first {
                // Everything before it was cut, but not the comma.
                let comma = self.text[part.end..].find(',').ok_or(Malformed)?;
                self.cut(part.end, part.end + comma + 1);
            }
            self.value(below, matched.or(by), depth + 1)?
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

/// Whether a text that is not JSON begins like an object, or like a list of something: it may be one that was cut off.
fn is_cut_off_json(text: &str) -> bool {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '"');
    let Some(rest) = text.strip_prefix('[') else { return text.starts_with('{') };
    rest.trim_start().starts_with(['[', '"']) || rest.contains('{') || begins_with_element(text)
}

/// Whether the first element of a list is followed by another one.
fn begins_with_element(list: &str) -> bool {
    let mut reader = Reader::new(list);
    let mut read = || {
        let mut is_first = true;
        reader.open()?;
        reader.element(&mut is_first)?;
        reader.skip()?;
        reader.element(&mut is_first)
    };
    read() == Ok(true)
}
