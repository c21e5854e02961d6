//! What a diagnostic shows of a line: the key and the rejected word. The rest of the line may be a secret.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::node::TextSpan;

/// The part of a line that may be shown, and where the caret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    shown: String,
    caret_at: usize,
    caret_width: usize,
}

impl Excerpt {
    /// Cuts it out of a file. Without `shows_token` the text at the span is hidden.
    pub(super) fn cut(text: &str, span: TextSpan, shows_token: bool) -> Option<Self> {
        let line: Vec<char> = text.lines().nth(span.line.checked_sub(1)?)?.chars().collect();
        let from = span.column.checked_sub(1)?.min(line.len());
        let to = (from + span.width).min(line.len());
        let mut shown: String = line[..lead_length(&line).min(from)].iter().collect();
        if line[shown.chars().count()..from].iter().any(|hidden| !hidden.is_whitespace()) {
            shown.push_str("... ");
        } else {
            shown.extend(&line[shown.chars().count()..from]);
        }
        let caret_at = shown.chars().count();
        if shows_token {
            shown.push_str(&mask_urls(&line[from..to].iter().collect::<String>()));
        } else if from < line.len() {
            shown.push_str("...");
        }
        let caret_width = (shown.chars().count() - caret_at).max(1);
        shown.push_str(rest_as_shown(&line[to..], shows_token));
        Some(Self { shown, caret_at, caret_width })
    }

    /// As it is shown below a message.
    pub(super) fn beside(&self, line: usize) -> String {
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(self.caret_at);
        let carets = "^".repeat(self.caret_width);
        format!("\n{margin} |\n{number} | {}\n{margin} | {indent}{carets}", self.shown)
    }
}

/// The length of the start of a line that cannot hold a value: its indentation, a list's dash, and `key: ` if one is there.
fn lead_length(line: &[char]) -> usize {
    let indent = line.iter().take_while(|any| any.is_whitespace() || **any == '-').count();
    let word = line[indent..].iter().take_while(|any| any.is_alphanumeric() || "_-.".contains(**any)).count();
    if word == 0 || line.get(indent + word) != Some(&':') {
        return indent;
    }
    let after_colon = indent + word + 1;
    after_colon + line[after_colon..].iter().take_while(|any| any.is_whitespace()).count()
}

fn rest_as_shown(rest: &[char], shows_token: bool) -> &'static str {
    let rest: String = rest.iter().collect();
    let rest = rest.trim();
    match rest {
        _ if !shows_token => "",
        "" => "",
        ":" => ":",
        _ if rest.starts_with('#') => "",
        _ if rest.starts_with(':') => ": ...",
        _ => " ...",
    }
}

/// The text without what may be secret in URLs: user, password, and the values of the query.
pub(super) fn mask_urls(text: &str) -> Cow<'_, str> {
    static URL: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"[A-Za-z][A-Za-z0-9+.-]*://[^\s`'"]+"#).expect("a valid pattern"));
    static SECRET: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(://)[^/?#@]*@|([?&][^=&#]*=)[^&#]+").expect("a valid pattern"));
    URL.replace_all(text, |url: &Captures<'_>| {
        let masked = SECRET.replace_all(&url[0], |found: &Captures<'_>| match found.get(1) {
            Some(start) => format!("{}***@", start.as_str()),
            None => format!("{}***", &found[2]),
        });
        masked.into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(line: &str, token: &str, shows_token: bool) -> String {
        let column = line.find(token).expect("the token") + 1;
        let span = TextSpan { file: 0, line: 1, column, width: token.len() };
        Excerpt::cut(line, span, shows_token).expect("an excerpt").shown
    }

    #[test]
    fn an_excerpt_shows_the_key_and_the_rejected_word_only() {
        assert_eq!(excerpt("  regoin: us", "regoin", true), "  regoin: ...");
        assert_eq!(excerpt("  page_size: five # six", "five", true), "  page_size: five");
        assert_eq!(excerpt("  api_token: hunter2", "hunter2", false), "  api_token: ...");
        assert_eq!(excerpt("  a: {api_token: hunter2, sie: 5}", "sie", true), "  a: ... sie: ...");
        assert_eq!(excerpt("  hunter2, x", "x", true), "  ... x");
        assert_eq!(excerpt("  - acme_clumoi", "acme_clumoi", true), "  - acme_clumoi");
    }

    #[test]
    fn urls_are_shown_without_what_may_be_secret() {
        let url = "http://audit:hunter2@api.example.com/v1?key=hunter3&page=4#top";
        let masked = "http://***@api.example.com/v1?key=***&page=***#top";
        assert_eq!(mask_urls(&format!("`{url}` is not encrypted")), format!("`{masked}` is not encrypted"));
        assert_eq!(excerpt(&format!("  base_url: {url}"), url, true), format!("  base_url: {masked}"));
        assert_eq!(mask_urls("https://api.example.com/a@b"), "https://api.example.com/a@b");
    }

    #[test]
    fn a_span_outside_the_text_has_no_excerpt_or_an_empty_one() {
        let span = |line, column| TextSpan { file: 0, line, column, width: 3 };
        assert_eq!(Excerpt::cut("a", span(9, 1), true), None);
        assert!(Excerpt::cut("a", span(1, 90), true).is_some());
        assert!(Excerpt::cut("", span(1, 1), false).is_none());
    }
}
