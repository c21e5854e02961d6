//! Positions inside a long string value, such as a condition: from a character of the value to its line and column.
//!
//! ```text
//! condition: >-                                value: actor.type == "usr" && action == "delete"
//!   actor.type == "usr"                                             ^^^^^
//!   && action == "delete"                      file:  line 2, column 17
//! ```
//!
//! A YAML value may be plain, quoted or a block, on one line or on many. In each form its characters appear in the file in the
//! same order, with only white space, a block header, quotes and escapes between them. So value and file are read side by
//! side. Where that fails the caller uses the span of the whole value.

use std::ops::Range;

use super::node::{Node, TextSpan, Value};

/// The position of each character of a value in the file.
pub(crate) struct ValueSpans {
    file: usize,
    /// Byte in the value, line and column in the file, in order; without white space.
    characters: Vec<(usize, usize, usize)>,
}

impl ValueSpans {
    /// `None` if the value cannot be matched with the file: it has variables, or escapes other than `\"` and `''`.
    pub(crate) fn of(node: &Node, file: &str) -> Option<Self> {
        let Value::Scalar(scalar) = &node.value else { return None };
        if scalar.written.is_some() {
            return None;
        }
        let mut cursor = Cursor::at(file, node.span)?;
        cursor.skip_block_header();
        let quote = cursor.skip_quote(scalar.plain);
        let wanted = scalar.text.char_indices().filter(|(_, any)| !any.is_whitespace());
        let found = wanted.map(|(at, any)| cursor.find(any, quote).map(|(line, column)| (at, line, column)));
        found.collect::<Option<Vec<_>>>().map(|characters| Self { file: node.span.file, characters })
    }

    /// Whether a range of bytes of the value covers several lines of the file.
    pub(crate) fn is_on_several_lines(&self, range: Range<usize>) -> bool {
        let lines = || self.characters.iter().filter(|(at, ..)| range.contains(at)).map(|(_, line, _)| *line);
        lines().min() != lines().max()
    }

    /// The span of a range of bytes of the value. A range over several lines is cut at the end of the first. A range behind the
    /// end has the position after the last character.
    pub(crate) fn span(&self, range: Range<usize>) -> Option<TextSpan> {
        let first = self.characters.partition_point(|(at, ..)| *at < range.start);
        let Some((_, line, column)) = self.characters.get(first).copied() else {
            return self.characters.last().map(|(_, line, column)| TextSpan {
                file: self.file,
                line: *line,
                column: column + 1,
                width: 1,
            });
        };
        let on_line = self.characters[first..].iter().take_while(|(at, other, _)| *at < range.end && *other == line);
        let last = on_line.last().map_or(column, |(.., column)| *column);
        Some(TextSpan { file: self.file, line, column, width: last - column + 1 })
    }
}

/// A character of the file, with its line and column.
type FileChar = (char, usize, usize);

/// Reads the file from the start of a value.
struct Cursor {
    characters: std::iter::Peekable<std::vec::IntoIter<FileChar>>,
}

impl Cursor {
    fn at(file: &str, span: TextSpan) -> Option<Self> {
        let lines = file.lines().enumerate().skip(span.line.checked_sub(1)?);
        let characters: Vec<FileChar> = lines
            .flat_map(|(index, line)| line.chars().enumerate().map(move |(column, any)| (any, index + 1, column + 1)))
            .skip_while(|(_, line, column)| *line == span.line && *column < span.column)
            .collect();
        Some(Self { characters: characters.into_iter().peekable() })
    }

    /// Skips the `|` or `>` of a block, and the rest of that line.
    fn skip_block_header(&mut self) {
        let Some((_, heading, _)) = self.characters.next_if(|(any, ..)| matches!(any, '|' | '>')) else { return };
        while self.characters.next_if(|(_, line, _)| *line == heading).is_some() {}
    }

    fn skip_quote(&mut self, plain: bool) -> Option<char> {
        if plain {
            return None;
        }
        self.characters.next_if(|(any, ..)| matches!(any, '"' | '\'')).map(|(any, ..)| any)
    }

    /// The next character, which must be this one.
    fn find(&mut self, wanted: char, quote: Option<char>) -> Option<(usize, usize)> {
        while self.characters.next_if(|(any, ..)| any.is_whitespace()).is_some() {}
        let first = self.characters.next()?;
        let is_escape = match quote {
            Some('"') => first.0 == '\\',
            Some('\'') => first.0 == '\'',
            _ => false,
        };
        let (found, ..) = if is_escape { self.characters.next()? } else { first };
        (found == wanted).then_some((first.1, first.2))
    }
}
