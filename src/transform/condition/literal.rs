//! Text literals: CEL's quotes and escapes, read and written.
//!
//! ```text
//! "a" 'a'        one line; escapes
//! """a""" '''a'''  several lines; escapes
//! r"a\d"         as it stands, for regular expressions
//! ```

use std::fmt::{self, Write};
use std::str::Chars;

/// Why a literal cannot be read: how many bytes into it, and how long what is wrong is.
#[derive(Debug, PartialEq)]
pub(super) struct BadLiteral {
    pub(super) at: usize,
    pub(super) length: usize,
    pub(super) message: &'static str,
    pub(super) hint: &'static str,
}

/// Reads the literal that `text` begins with, its opening quote first. Returns its value and its length in bytes.
pub(super) fn read(text: &str, raw: bool) -> Result<(String, usize), BadLiteral> {
    let quote = quote_of(text);
    let mut value = String::new();
    let mut at = quote.len();
    loop {
        let rest = &text[at..];
        if rest.starts_with(quote) {
            return Ok((value, at + quote.len()));
        }
        let mut chars = rest.chars();
        match chars.next() {
            None => return Err(unclosed(quote, text.len())),
            Some('\n' | '\r') if quote.len() == 1 => return Err(unclosed(quote, at)),
            Some('\\') if !raw => {
                let escaped = escape(&mut chars).ok_or_else(|| bad_escape(at, rest))?;
                value.push(escaped);
            }
            Some(plain) => value.push(plain),
        }
        at = text.len() - chars.as_str().len();
    }
}

fn quote_of(text: &str) -> &str {
    let length = if text.starts_with("\"\"\"") || text.starts_with("'''") { 3 } else { 1 };
    &text[..length]
}

fn unclosed(quote: &str, length: usize) -> BadLiteral {
    let (message, hint) = match quote {
        "\"" => ("a text that opens with `\"` is not closed in its line", "close it with `\"`"),
        "'" => ("a text that opens with `'` is not closed in its line", "close it with `'`"),
        _ => ("a text that opens with three quotes is not closed", "close it with the same three quotes"),
    };
    BadLiteral { at: 0, length, message, hint }
}

fn bad_escape(at: usize, rest: &str) -> BadLiteral {
    BadLiteral {
        at,
        length: rest.chars().take(2).map(char::len_utf8).sum(),
        message: "this escape does not exist, or has too few digits",
        hint: "write a backslash as `\\\\`, or put an `r` before the opening quote of a regular expression: r\"\\d+\"",
    }
}

/// The character that an escape stands for; `chars` is behind the backslash.
fn escape(chars: &mut Chars<'_>) -> Option<char> {
    match chars.next()? {
        same @ ('\\' | '?' | '"' | '\'' | '`') => Some(same),
        'a' => Some('\u{7}'),
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\u{b}'),
        'x' | 'X' => code_point(chars, 2, 16, 0),
        'u' => code_point(chars, 4, 16, 0),
        'U' => code_point(chars, 8, 16, 0),
        first @ '0'..='3' => code_point(chars, 2, 8, first.to_digit(8)?),
        _ => None,
    }
}

fn code_point(chars: &mut Chars<'_>, digits: usize, radix: u32, before: u32) -> Option<char> {
    let mut code = before;
    for _ in 0..digits {
        code = code.checked_mul(radix)?.checked_add(chars.next()?.to_digit(radix)?)?;
    }
    char::from_u32(code)
}

/// Writes a text as a literal that reads back as the same text.
pub(super) fn write(text: &str, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    out.write_char('"')?;
    for any in text.chars() {
        match any {
            '"' | '\\' => write!(out, "\\{any}")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            _ if any.is_control() => write!(out, "\\u{:04x}", u32::from(any))?,
            _ => out.write_char(any)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes_of_cel() {
        for (text, value) in [
            (r#""a'b""#, "a'b"),
            (r"'a\'b'", "a'b"),
            (r#""\\ \? \" \' \` \a\b\f\n\r\t\v""#, "\\ ? \" ' ` \u{7}\u{8}\u{c}\n\r\t\u{b}"),
            (r#""\x41\X42\u00e9\U0001F600\101""#, "ABé😀A"),
            ("\"\"\"two\n\"lines\" \"\"\"", "two\n\"lines\" "),
            ("''''a'''", "'a"),
            (r#""""#, ""),
        ] {
            assert_eq!(read(text, false), Ok((value.to_owned(), text.len())), "{text}");
        }
        assert_eq!(read(r#""\d+\"#, true).map_err(|bad| bad.at), Err(0));
        assert_eq!(read(r#""\d+" == x"#, true), Ok((r"\d+".to_owned(), 5)));
    }

    #[test]
    fn what_is_no_literal_is_told_with_its_place() {
        for (text, at, length) in [
            (r#""abc"#, 0, 4),
            ("\"a\nb\"", 0, 2),
            (r#""a\qb""#, 2, 2),
            (r#""\x4""#, 1, 2),
            (r#""\ud800""#, 1, 2),
            (r#""\UFFFFFFFF""#, 1, 2),
            (r#""\400""#, 1, 2),
            ("'''a''", 0, 6),
        ] {
            let bad = read(text, false).expect_err(text);
            assert_eq!((bad.at, bad.length), (at, length), "{text}");
        }
    }
}
