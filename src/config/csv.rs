//! CSV with the span of each value: RFC 4180, with a header.
//!
//! A quoted value can have commas, line breaks and doubled quotes. Empty lines and a byte order mark are skipped.

use std::iter::Peekable;
use std::str::Chars;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::node::TextSpan;
use super::rows::{Cell, Row, RowList};

/// Reads a file of `diagnostics`, and adds its errors there. `None` if it is not CSV. A row with too many or too few values is
/// left out.
pub(super) fn read(file: usize, diagnostics: &mut Diagnostics) -> Option<RowList> {
    let text = diagnostics.text(file);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut reader = Reader { file, rest: text.chars().peekable(), line: 1, column: 1 };
    let mut list = RowList::default();
    loop {
        let cells = match reader.record() {
            Ok(Some(cells)) => cells,
            Ok(None) => return Some(list),
            Err(error) => {
                diagnostics.push(*error);
                return None;
            }
        };
        if list.columns.is_empty() {
            list.columns = header(&cells, diagnostics);
            continue;
        }
        let span = TextSpan { width: 1, ..cells[0].span };
        if cells.len() == list.columns.len() {
            list.rows.push(Row { span, cells: cells.into_iter().map(Some).collect() });
            continue;
        }
        let message = format!("this row has {} values, but the header has {} columns", cells.len(), list.columns.len());
        let hint = "write one value per column; quote a value with a comma";
        diagnostics.push(Diagnostic::error(Some(span), "", message, hint).without_token());
    }
}

fn header(cells: &[Cell], diagnostics: &mut Diagnostics) -> Vec<String> {
    for (index, cell) in cells.iter().enumerate() {
        let message = match cells[..index].iter().any(|earlier| earlier.text == cell.text) {
            _ if cell.text.is_empty() => "this column has no name".to_owned(),
            true => format!("two columns are called `{}`", cell.text),
            false => continue,
        };
        let hint = "the first line has the names of the columns, each once";
        diagnostics.push(Diagnostic::error(Some(cell.span), "", message, hint));
    }
    cells.iter().map(|cell| cell.text.clone()).collect()
}

struct Reader<'t> {
    file: usize,
    rest: Peekable<Chars<'t>>,
    line: usize,
    column: usize,
}

impl Reader<'_> {
    /// The values of the next line that is not empty.
    fn record(&mut self) -> Result<Option<Vec<Cell>>, Box<Diagnostic>> {
        while self.end_of_line() {}
        if self.rest.peek().is_none() {
            return Ok(None);
        }
        let mut cells = vec![self.cell()?];
        while self.rest.peek() == Some(&',') {
            self.next();
            cells.push(self.cell()?);
        }
        let here = self.here();
        if self.rest.peek().is_some() && !self.end_of_line() {
            return Err(error(here, "only a comma or the end of the line can follow a closing quote"));
        }
        Ok(Some(cells))
    }

    fn cell(&mut self) -> Result<Cell, Box<Diagnostic>> {
        let start = self.here();
        let text = if self.rest.peek() == Some(&'"') { self.quoted(start)? } else { self.unquoted()? };
        let width = if self.line == start.line { self.column.saturating_sub(start.column).max(1) } else { 1 };
        Ok(Cell { text, span: TextSpan { width, ..start } })
    }

    fn quoted(&mut self, start: TextSpan) -> Result<String, Box<Diagnostic>> {
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                None => return Err(error(start, "this quote is not closed")),
                Some('"') if self.rest.peek() != Some(&'"') => return Ok(text),
                Some('"') => text.extend(self.next()),
                Some(any) => text.push(any),
            }
        }
    }

    fn unquoted(&mut self) -> Result<String, Box<Diagnostic>> {
        let mut text = String::new();
        while let Some(any) = self.rest.next_if(|any| !matches!(any, ',' | '\n' | '\r')) {
            if any == '"' {
                return Err(error(self.here(), "a quote inside a value"));
            }
            self.column += 1;
            text.push(any);
        }
        Ok(text)
    }

    fn end_of_line(&mut self) -> bool {
        let carriage_return = self.rest.next_if_eq(&'\r').is_some();
        if self.rest.peek() == Some(&'\n') {
            self.next();
            return true;
        }
        carriage_return
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.next()?;
        (self.line, self.column) = if next == '\n' { (self.line + 1, 1) } else { (self.line, self.column + 1) };
        Some(next)
    }

    fn here(&self) -> TextSpan {
        TextSpan { file: self.file, line: self.line, column: self.column, width: 1 }
    }
}

fn error(span: TextSpan, message: &str) -> Box<Diagnostic> {
    let hint = "put the whole value in quotes, and write a quote inside it twice: `\"a \"\"b\"\", c\"`";
    Box::new(Diagnostic::error(Some(span), "", format!("this is not CSV: {message}"), hint).without_token())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> (Option<RowList>, Vec<String>) {
        let mut diagnostics = Diagnostics::of_file("a.csv", text);
        let list = read(0, &mut diagnostics);
        let shown = diagnostics.resolve("").into_iter();
        (
            list,
            shown.map(|one| format!("{:?} {}", one.span.map(|span| (span.line, span.column)), one.message)).collect(),
        )
    }

    #[test]
    fn values_are_read_as_the_rfc_says_with_their_places() {
        let (list, mistakes) = read_text("\u{feff}a,b\r\n1,\"two, \"\"x\"\"\"\r\n\r\n\"line\nbreak\",\r\n , é\n");
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let list = list.expect("CSV");
        assert_eq!(list.columns, ["a", "b"]);
        let cells = list.rows.iter().flat_map(|row| row.cells.iter().flatten());
        let found: Vec<_> = cells.map(|cell| (cell.text.as_str(), cell.span.line, cell.span.column)).collect();
        let expected =
            [("1", 2, 1), ("two, \"x\"", 2, 3), ("line\nbreak", 4, 1), ("", 5, 8), (" ", 6, 1), (" é", 6, 3)];
        assert_eq!(found, expected);
        assert_eq!(list.rows[0].cells[1].as_ref().expect("a value").span.width, 12);
    }

    #[test]
    fn mistakes_have_their_places() {
        for (text, place) in [
            ("a,b\n1\n", "(2, 1)"),
            ("a,b\n1,2,3\n", "(2, 1)"),
            ("a,a\n", "(1, 3)"),
            ("a,\n", "(1, 3)"),
            ("a\n\"x\n\n", "(2, 1)"),
            ("a\n\"x\"y\n", "(2, 4)"),
            ("a\nx\"y\n", "(2, 2)"),
        ] {
            let (_, mistakes) = read_text(text);
            assert!(mistakes.len() == 1 && mistakes[0].contains(place), "{text}: {mistakes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn values_that_are_written_by_the_rfc_come_back(
            rows in proptest::collection::vec(proptest::collection::vec("[a-z,\"\\n\\r é]{0,6}", 2), 1..6),
        ) {
            let quoted = |value: &String| format!("\"{}\"", value.replace('"', "\"\""));
            let lines: Vec<_> = rows.iter().map(|row| row.iter().map(quoted).collect::<Vec<_>>().join(",")).collect();
            let (list, mistakes) = read_text(&format!("a,b\r\n{}", lines.join("\r\n")));
            proptest::prop_assert!(mistakes.is_empty(), "{:?}", mistakes);
            let texts = |row: &Row| row.cells.iter().flatten().map(|cell| cell.text.clone()).collect::<Vec<_>>();
            let read: Vec<_> = list.expect("CSV").rows.iter().map(texts).collect();
            proptest::prop_assert_eq!(read, rows);
        }
    }
}
