//! Places inside a long text value, such as a condition: from a character of the value to its line and column in the file.
//!
//! ```text
//! condition: >-                                value: actor.type == "usr" && action == "delete"
//!   actor.type == "usr"                                             ^^^^^
//!   && action == "delete"                      file:  line 2, column 17
//! ```
//!
//! A YAML value may stand plain, between quotes, in a block, on one line or on many. Whatever the form, its characters
//! stand in the file in their order, with nothing but white space, a heading, quotes and escapes between: so the two are
//! walked side by side. Where that fails the caller names the place of the whole value.

use std::ops::Range;

use super::node::{Node, Place, Value};

/// Where each character of a value stands in the file.
pub(super) struct Spots {
    /// Byte in the value, line and column in the file, in order; without white space.
    characters: Vec<(usize, usize, usize)>,
}

impl Spots {
    /// `None` if the value cannot be found again in the file: it holds variables, or escapes other than `\"` and `''`.
    pub(super) fn of(node: &Node, file: &str) -> Option<Self> {
        let Value::Scalar(scalar) = &node.value else { return None };
        if scalar.written.is_some() {
            return None;
        }
        let mut cursor = Cursor::at(file, node.place)?;
        cursor.skip_heading();
        let quote = cursor.skip_quote(scalar.plain);
        let wanted = scalar.text.char_indices().filter(|(_, any)| !any.is_whitespace());
        let found = wanted.map(|(at, any)| cursor.find(any, quote).map(|(line, column)| (at, line, column)));
        found.collect::<Option<Vec<_>>>().map(|characters| Self { characters })
    }

    /// Whether a range of bytes of the value stands on several lines of the file.
    pub(super) fn is_on_several_lines(&self, range: Range<usize>) -> bool {
        let lines = || self.characters.iter().filter(|(at, ..)| range.contains(at)).map(|(_, line, _)| *line);
        lines().min() != lines().max()
    }

    /// The place of a range of bytes of the value. What reaches over several lines is marked up to the end of the first;
    /// what lies behind the end is marked there.
    pub(super) fn place(&self, range: Range<usize>) -> Option<Place> {
        let first = self.characters.partition_point(|(at, ..)| *at < range.start);
        let Some((_, line, column)) = self.characters.get(first).copied() else {
            return self.characters.last().map(|(_, line, column)| Place { line: *line, column: column + 1, width: 1 });
        };
        let on_line = self.characters[first..].iter().take_while(|(at, other, _)| *at < range.end && *other == line);
        let last = on_line.last().map_or(column, |(.., column)| *column);
        Some(Place { line, column, width: last - column + 1 })
    }
}

/// A character of the file, with its line and column.
type Spot = (char, usize, usize);

/// Walks through the file from where a value begins.
struct Cursor {
    spots: std::iter::Peekable<std::vec::IntoIter<Spot>>,
}

impl Cursor {
    fn at(file: &str, place: Place) -> Option<Self> {
        let lines = file.lines().enumerate().skip(place.line.checked_sub(1)?);
        let spots: Vec<Spot> = lines
            .flat_map(|(index, line)| line.chars().enumerate().map(move |(column, any)| (any, index + 1, column + 1)))
            .skip_while(|(_, line, column)| *line == place.line && *column < place.column)
            .collect();
        Some(Self { spots: spots.into_iter().peekable() })
    }

    /// The `|` or `>` of a block, and what else is in its line.
    fn skip_heading(&mut self) {
        let Some((_, heading, _)) = self.spots.next_if(|(any, ..)| matches!(any, '|' | '>')) else { return };
        while self.spots.next_if(|(_, line, _)| *line == heading).is_some() {}
    }

    fn skip_quote(&mut self, plain: bool) -> Option<char> {
        if plain {
            return None;
        }
        self.spots.next_if(|(any, ..)| matches!(any, '"' | '\'')).map(|(any, ..)| any)
    }

    /// The next character, which must be this one.
    fn find(&mut self, wanted: char, quote: Option<char>) -> Option<(usize, usize)> {
        while self.spots.next_if(|(any, ..)| any.is_whitespace()).is_some() {}
        let first = self.spots.next()?;
        let is_escape = match quote {
            Some('"') => first.0 == '\\',
            Some('\'') => first.0 == '\'',
            _ => false,
        };
        let (found, ..) = if is_escape { self.spots.next()? } else { first };
        (found == wanted).then_some((first.1, first.2))
    }
}
