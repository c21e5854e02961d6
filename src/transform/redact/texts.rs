//! The texts that fields were read from, as they stand in the record: a normalizer may have rewritten, chosen or discarded them.

use std::borrow::Cow;
use std::net::IpAddr;

use super::pointer::{self, Pattern};
use super::record::MAX_DEPTH;
use crate::vendors::json::{Kind, Malformed, Reader};

/// A text, and the index of the pattern that matches it.
type Found<'t> = Vec<(usize, Cow<'t, str>)>;

/// The strings and numbers at the pointers of fields, or in lists there. Of a record that cannot be read, some of them.
pub(super) fn of_fields<'t>(record: &'t str, patterns: &[Pattern]) -> Found<'t> {
    let mut finder = Finder { reader: Reader::new(record), patterns, found: Vec::new() };
    // A record that cannot be read is removed as a whole.
    let _: Result<(), Malformed> = finder.value(&pointer::start_of_fields(patterns), None, 0);
    finder.found
}

/// The e-mail and IP addresses that are parts of a text.
pub(super) fn addresses_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| c.is_whitespace() || "\"'`<>()[]{},;".contains(c));
    words.filter(move |word| word.len() < text.len() && (word.contains('@') || word.parse::<IpAddr>().is_ok()))
}

struct Finder<'t, 'p> {
    reader: Reader<'t>,
    patterns: &'p [Pattern],
    found: Found<'t>,
}

impl Finder<'_, '_> {
    fn value(&mut self, states: &[(usize, usize)], at: Option<usize>, depth: usize) -> Result<(), Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed);
        }
        match (self.reader.kind()?, at) {
            (Kind::Text, Some(index)) => self.found.push((index, self.reader.text()?)),
            (Kind::Number, Some(index)) => self.found.push((index, Cow::Borrowed(self.reader.number()?))),
            (Kind::Object, _) if !states.is_empty() => self.object(states, depth)?,
            (Kind::List, _) if !states.is_empty() || at.is_some() => self.list(states, at, depth)?,
            _ => drop(self.reader.skip()?),
        }
        Ok(())
    }

    fn object(&mut self, states: &[(usize, usize)], depth: usize) -> Result<(), Malformed> {
        self.reader.open()?;
        let mut is_first = true;
        while let Some(name) = self.reader.member(&mut is_first)? {
            let (below, matched) = pointer::step(self.patterns, states, &name);
            self.value(&below, matched, depth + 1)?;
        }
        Ok(())
    }

    fn list(&mut self, states: &[(usize, usize)], at: Option<usize>, depth: usize) -> Result<(), Malformed> {
        self.reader.open()?;
        let (mut is_first, mut index) = (true, 0_usize);
        while self.reader.element(&mut is_first)? {
            let (below, matched) = pointer::step(self.patterns, states, &index.to_string());
            self.value(&below, matched.or(at), depth + 1)?;
            index += 1;
        }
        Ok(())
    }
}
