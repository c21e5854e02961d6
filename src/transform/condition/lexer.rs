//! Splits the text of a condition into tokens, and reads and writes CEL's string literals.
//!
//! ```text
//! "a" 'a'          one line; with escapes
//! """a""" '''a'''  several lines; with escapes
//! r"a\d"           without escapes, for regular expressions
//! ```

use std::fmt::{self, Write};
use std::ops::Range;
use std::str::Chars;

use super::diagnostic::ConditionDiagnostic;

/// A token of a condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'t> {
    /// A field, function or variable, or one of `true`, `false`, `null`, `in`.
    Word(&'t str),
    /// An integer without its sign.
    Number(u64),
    /// A string, with its escapes resolved.
    String(String),
    /// An operator or a bracket.
    Symbol(&'static str),
}

/// A token and its span.
pub(super) type Spanned<'t> = (Token<'t>, Range<usize>);

/// Longer symbols first.
const SYMBOLS: &[&str] = &["==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "(", ")", "[", "]", ",", ".", "-"];

/// Symbols that conditions do not have, with a hint.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("=", "to compare, write `==`"),
    ("&", "for `and`, write `&&`"),
    ("|", "for `or`, write `||`"),
    ("?", "conditions have no `a ? b : c`; use `&&` and `||`"),
    ("+", "conditions have no arithmetic"),
    ("*", "conditions have no arithmetic"),
    ("/", "conditions have no arithmetic; write a regular expression as a string: name.matches(\"...\")"),
    ("%", "conditions have no arithmetic"),
    ("{", "conditions have no maps"),
    (";", "a condition is one expression; join its parts with `&&` or `||`"),
    ("`", "write strings between double or single quotes"),
    ("\u{201c}", "this is a typographic quote; write \""),
    ("\u{201d}", "this is a typographic quote; write \""),
    ("\u{2019}", "this is a typographic quote; write '"),
];

/// Splits the text into tokens.
///
/// # Errors
/// The first text that is not a token.
pub(super) fn tokens(text: &str) -> Result<Vec<Spanned<'_>>, ConditionDiagnostic> {
    let mut tokens = Vec::new();
    let mut at = skip_white_space(text, 0);
    while at < text.len() {
        let (token, length) = token(text, at)?;
        tokens.push((token, at..at + length));
        at = skip_white_space(text, at + length);
    }
    Ok(tokens)
}

/// The spans of all comments; none if the text cannot be split into tokens.
pub(super) fn comments(text: &str) -> Vec<Range<usize>> {
    let Ok(tokens) = tokens(text) else { return Vec::new() };
    let mut comments = Vec::new();
    let mut at = 0;
    let ends = tokens.into_iter().map(|(_, span)| span.end);
    for end in ends.chain(std::iter::once(text.len())) {
        while let Some(comment) = comment(text, at) {
            at = comment.end;
            comments.push(comment);
        }
        at = end;
    }
    comments
}

/// The offset after the white space and comments at `at`.
fn skip_white_space(text: &str, mut at: usize) -> usize {
    while let Some(comment) = comment(text, at) {
        at = comment.end;
    }
    text.len() - text[at..].trim_start_matches(WHITE_SPACE).len()
}

const WHITE_SPACE: [char; 5] = [' ', '\t', '\n', '\r', '\u{c}'];

/// The comment at `at`, or after the white space there.
fn comment(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text[at..].trim_start_matches(WHITE_SPACE);
    let start = text.len() - rest.len();
    rest.starts_with("//").then(|| start..start + rest.find('\n').unwrap_or(rest.len()))
}

fn token(text: &str, at: usize) -> Result<(Token<'_>, usize), ConditionDiagnostic> {
    let rest = &text[at..];
    match rest.as_bytes().first() {
        Some(b'"' | b'\'') => string_literal(rest, at, 0),
        Some(b'0'..=b'9') => number(rest, at),
        Some(b'a'..=b'z' | b'A'..=b'Z' | b'_') => word_or_literal(rest, at),
        _ => symbol(rest, at),
    }
}

/// A literal that begins `prefix` bytes into `rest`, which begins at `at`.
fn string_literal(rest: &str, at: usize, prefix: usize) -> Result<(Token<'_>, usize), ConditionDiagnostic> {
    let raw = prefix > 0;
    match read_string(&rest[prefix..], raw) {
        Ok((value, length)) => Ok((Token::String(value), prefix + length)),
        Err(error) => {
            let from = at + prefix + error.at;
            Err(ConditionDiagnostic::new(from..from + error.length, error.message, error.hint))
        }
    }
}

fn word_or_literal(rest: &str, at: usize) -> Result<(Token<'_>, usize), ConditionDiagnostic> {
    let word = &rest[..length_of_word(rest)];
    let is_prefix = rest[word.len()..].starts_with(['"', '\'']);
    match word {
        "r" | "R" if is_prefix => string_literal(rest, at, 1),
        _ if is_prefix => {
            let hint = "only `r` may precede a quote, for a regular expression";
            Err(ConditionDiagnostic::new(at..at + word.len(), format!("`{word}` cannot precede a quote"), hint))
        }
        _ => Ok((Token::Word(word), word.len())),
    }
}

fn length_of_word(rest: &str) -> usize {
    rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count()
}

fn number(rest: &str, at: usize) -> Result<(Token<'_>, usize), ConditionDiagnostic> {
    let digits = &rest[..length_of_word(rest)];
    let has_point = rest[digits.len()..].starts_with('.');
    let read = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    match read {
        Ok(number) if !has_point => Ok((Token::Number(number), digits.len())),
        _ => {
            let message = format!("`{digits}` is not an integer");
            let hint = "integers have up to 19 digits and no decimal point or unit; write strings between quotes";
            Err(ConditionDiagnostic::new(at..at + digits.len(), message, hint))
        }
    }
}

fn symbol(rest: &str, at: usize) -> Result<(Token<'_>, usize), ConditionDiagnostic> {
    if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
        return Ok((Token::Symbol(symbol), symbol.len()));
    }
    let first = rest.chars().next().unwrap_or_default();
    let length = first.len_utf8().min(rest.len());
    let hint = UNSUPPORTED.iter().find(|(symbol, _)| rest.starts_with(symbol)).map_or("", |(_, hint)| hint);
    Err(ConditionDiagnostic::new(at..at + length, format!("unsupported symbol `{}`", &rest[..length]), hint))
}

/// An error in a string literal, at this offset and of this length in bytes.
#[derive(Debug, PartialEq)]
struct InvalidString {
    at: usize,
    length: usize,
    message: &'static str,
    hint: &'static str,
}

/// Reads the literal at the start of `text`, which is its opening quote. Returns its value and its length in bytes.
fn read_string(text: &str, raw: bool) -> Result<(String, usize), InvalidString> {
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
                let escaped = escape(&mut chars).ok_or_else(|| invalid_escape(at, rest))?;
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

fn unclosed(quote: &str, length: usize) -> InvalidString {
    let (message, hint) = match quote {
        "\"" => ("a string that opens with `\"` is not closed on its line", "close it with `\"`"),
        "'" => ("a string that opens with `'` is not closed on its line", "close it with `'`"),
        _ => ("a string that opens with three quotes is not closed", "close it with the same three quotes"),
    };
    InvalidString { at: 0, length, message, hint }
}

fn invalid_escape(at: usize, rest: &str) -> InvalidString {
    InvalidString {
        at,
        length: rest.chars().take(2).map(char::len_utf8).sum(),
        message: "this escape is unknown or has too few digits",
        hint: "write a backslash as `\\\\`, or put an `r` before the opening quote of a regular expression: r\"\\d+\"",
    }
}

/// The character of an escape; `chars` is after the backslash.
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

/// Writes a string as a literal that reads as the same string.
pub(super) fn write_string(text: &str, out: &mut fmt::Formatter<'_>) -> fmt::Result {
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
            assert_eq!(read_string(text, false), Ok((value.to_owned(), text.len())), "{text}");
        }
        assert_eq!(read_string(r#""\d+\"#, true).map_err(|error| error.at), Err(0));
        assert_eq!(read_string(r#""\d+" == x"#, true), Ok((r"\d+".to_owned(), 5)));
    }

    #[test]
    fn invalid_literals_are_reported_with_their_span() {
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
            let error = read_string(text, false).expect_err(text);
            assert_eq!((error.at, error.length), (at, length), "{text}");
        }
    }
}
