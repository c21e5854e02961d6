//! From the text of a condition to its words, numbers, texts and symbols.

use std::ops::Range;

use super::{Mistake, literal};

/// One piece of a condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'t> {
    /// A field, function or variable, or one of `true`, `false`, `null`, `in`.
    Word(&'t str),
    /// A whole number without its sign.
    Number(u64),
    /// A text, read from its literal.
    Text(String),
    /// An operator or a bracket.
    Symbol(&'static str),
}

/// A piece and its place.
pub(super) type Placed<'t> = (Token<'t>, Range<usize>);

/// Longer ones first.
const SYMBOLS: &[&str] = &["==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "(", ")", "[", "]", ",", ".", "-"];

/// Symbols that are not of this language, with what may have been meant.
const FOREIGN: &[(&str, &str)] = &[
    ("=", "to compare, write `==`"),
    ("&", "for `and`, write `&&`"),
    ("|", "for `or`, write `||`"),
    ("?", "conditions know no `a ? b : c`; write it with `&&` and `||`"),
    ("+", "conditions do not calculate"),
    ("*", "conditions do not calculate"),
    ("/", "conditions do not calculate; a regular expression is a text: name.matches(\"...\")"),
    ("%", "conditions do not calculate"),
    ("{", "conditions know no maps"),
    (";", "a condition is one expression; join its parts with `&&` or `||`"),
    ("`", "write texts between double or single quotes"),
    ("\u{201c}", "this is a typographic quote; write \""),
    ("\u{201d}", "this is a typographic quote; write \""),
    ("\u{2019}", "this is a typographic quote; write '"),
];

/// Cuts the text into pieces.
///
/// # Errors
/// The first place that is no piece of a condition.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed<'_>>, Mistake> {
    let mut tokens = Vec::new();
    let mut at = skip_blanks(text, 0);
    while at < text.len() {
        let (token, length) = token(text, at)?;
        tokens.push((token, at..at + length));
        at = skip_blanks(text, at + length);
    }
    Ok(tokens)
}

/// The places of all comments; none if the text cannot be cut into pieces.
pub(super) fn comments(text: &str) -> Vec<Range<usize>> {
    let Ok(tokens) = tokens(text) else { return Vec::new() };
    let mut comments = Vec::new();
    let mut at = 0;
    let ends = tokens.into_iter().map(|(_, place)| place.end);
    for end in ends.chain(std::iter::once(text.len())) {
        while let Some(comment) = comment(text, at) {
            at = comment.end;
            comments.push(comment);
        }
        at = end;
    }
    comments
}

/// Where white space and comments from `at` on end.
fn skip_blanks(text: &str, mut at: usize) -> usize {
    while let Some(comment) = comment(text, at) {
        at = comment.end;
    }
    text.len() - text[at..].trim_start_matches(BLANKS).len()
}

const BLANKS: [char; 5] = [' ', '\t', '\n', '\r', '\u{c}'];

/// The comment that begins at `at` or behind the white space there.
fn comment(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text[at..].trim_start_matches(BLANKS);
    let start = text.len() - rest.len();
    rest.starts_with("//").then(|| start..start + rest.find('\n').unwrap_or(rest.len()))
}

fn token(text: &str, at: usize) -> Result<(Token<'_>, usize), Mistake> {
    let rest = &text[at..];
    match rest.as_bytes().first() {
        Some(b'"' | b'\'') => text_literal(rest, at, 0),
        Some(b'0'..=b'9') => number(rest, at),
        Some(b'a'..=b'z' | b'A'..=b'Z' | b'_') => word_or_literal(rest, at),
        _ => symbol(rest, at),
    }
}

/// A literal that begins `prefix` bytes into `rest`, which begins at `at`.
fn text_literal(rest: &str, at: usize, prefix: usize) -> Result<(Token<'_>, usize), Mistake> {
    let raw = prefix > 0;
    match literal::read(&rest[prefix..], raw) {
        Ok((value, length)) => Ok((Token::Text(value), prefix + length)),
        Err(bad) => {
            let from = at + prefix + bad.at;
            Err(Mistake::new(from..from + bad.length, bad.message, bad.hint))
        }
    }
}

fn word_or_literal(rest: &str, at: usize) -> Result<(Token<'_>, usize), Mistake> {
    let word = &rest[..length_of_word(rest)];
    let is_prefix = rest[word.len()..].starts_with(['"', '\'']);
    match word {
        "r" | "R" if is_prefix => text_literal(rest, at, 1),
        _ if is_prefix => {
            let hint = "only `r` may stand right before a quote, for a regular expression";
            Err(Mistake::new(at..at + word.len(), format!("`{word}` cannot stand before a quote"), hint))
        }
        _ => Ok((Token::Word(word), word.len())),
    }
}

fn length_of_word(rest: &str) -> usize {
    rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count()
}

fn number(rest: &str, at: usize) -> Result<(Token<'_>, usize), Mistake> {
    let digits = &rest[..length_of_word(rest)];
    let has_point = rest[digits.len()..].starts_with('.');
    let read = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    match read {
        Ok(number) if !has_point => Ok((Token::Number(number), digits.len())),
        _ => {
            let message = format!("`{digits}` does not begin a whole number");
            let hint = "numbers are whole, without a point, a letter behind them or more than 19 digits; texts stand between quotes";
            Err(Mistake::new(at..at + digits.len(), message, hint))
        }
    }
}

fn symbol(rest: &str, at: usize) -> Result<(Token<'_>, usize), Mistake> {
    if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
        return Ok((Token::Symbol(symbol), symbol.len()));
    }
    let first = rest.chars().next().unwrap_or_default();
    let length = first.len_utf8().min(rest.len());
    let hint = FOREIGN.iter().find(|(symbol, _)| rest.starts_with(symbol)).map_or("", |(_, hint)| hint);
    Err(Mistake::new(at..at + length, format!("`{}` is not of this language", &rest[..length]), hint))
}
