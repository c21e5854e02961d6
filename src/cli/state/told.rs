//! How a change is told: a line with what it is, then a line or more for each thing to know, in at most 100 columns.

use crate::report::wrapped;

/// Where what is to be known about something begins.
const COLUMN: usize = 18;

/// A text that grows line by line.
pub(super) struct Told(String);

impl Told {
    pub(super) fn new(title: &str) -> Self {
        Self(format!("{title}\n"))
    }

    /// Something to know, under a word or two.
    pub(super) fn and(mut self, what: &str, text: &str) -> Self {
        // The word is laid out afterwards: what wraps words knows one blank only.
        let lines = wrapped(&format!("{}{text}", " ".repeat(COLUMN)), &" ".repeat(COLUMN));
        self.0 += &format!("  {what:<width$}", width = COLUMN - 2);
        self.0 += &lines[COLUMN..];
        self
    }

    /// The same, if there is something.
    pub(super) fn and_if(self, is_so: bool, what: &str, text: &str) -> Self {
        if is_so { self.and(what, text) } else { self }
    }

    pub(super) fn text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_stand_in_their_column() {
        let text = Told::new("title").and("what", &"word ".repeat(30)).and_if(false, "not", "told").text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(
            lines[1].starts_with("  what            word word") && lines[2].starts_with("                  word"),
            "{text}"
        );
        assert!(lines.iter().all(|line| line.len() <= 100), "{text}");
    }
}
