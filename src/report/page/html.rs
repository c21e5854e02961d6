//! HTML that is safe by construction: markup comes from this program, everything else is escaped, in one place.

use std::fmt::{Display, Write as _};

use crate::format::printable;

/// HTML text that grows.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Adds markup.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds text: the content of an element, or the value of an attribute in double quotes.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        self.0.push_str(&escaped(&text.to_string()));
        self
    }

    /// Adds text that somebody else has written, such as a name or a vendor's error: its direction does not change that of
    /// the text around it.
    pub(super) fn foreign(&mut self, text: &str) -> &mut Self {
        self.raw("<bdi>").text(text).raw("</bdi>")
    }

    /// Adds text with commands in backticks, which are shown as code.
    pub(super) fn hint(&mut self, text: &str) -> &mut Self {
        for (index, part) in text.split('`').enumerate() {
            if index % 2 == 0 {
                self.text(part);
            } else {
                self.raw("<code>").text(part).raw("</code>");
            }
        }
        self
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Without what could end an element or an attribute, and without control characters and marks of direction.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in printable(text).chars() {
        match letter {
            '&' | '<' | '>' | '"' | '\'' => {
                // Writing into a String cannot fail.
                let _ = write!(safe, "&#{};", u32::from(letter));
            }
            _ => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_others_wrote_becomes_markup_or_changes_the_direction() {
        let hostile = "<script>alert('1')</script>\" onload=\"x & \u{202e}\u{2066}\u{0}\u{1b}[31m\u{85}`<b>`";
        let mut html = Html::default();
        html.text(hostile).foreign(hostile).hint(hostile);
        let html = html.finish();
        for markup in ["<bdi>", "</bdi>", "<code>", "</code>"] {
            assert!(html.contains(markup), "{html}");
        }
        let rest = ["<bdi>", "</bdi>", "<code>", "</code>"].iter().fold(html, |html, own| html.replace(own, ""));
        assert!(!rest.contains(['<', '>', '"', '\'', '\u{202e}', '\u{2066}', '\0', '\u{1b}', '\u{85}']), "{rest}");
        assert!(rest.contains("&#60;script&#62;alert(&#39;1&#39;)") && rest.contains("&#34; onload=&#34;x &#38; "));
    }
}
