//! Parses a template's text and reports the position of errors.

use super::{Field, Part, TIME_PARTS, TemplateError};

/// The parts of a template's text.
pub(super) fn parts(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut reader = Reader { text, at: 0, parts: Vec::new(), fixed: String::new() };
    while reader.at < text.len() {
        reader.step()?;
    }
    reader.close_fixed();
    Ok(reader.parts)
}

struct Reader<'t> {
    text: &'t str,
    /// Byte offset of the unread text.
    at: usize,
    parts: Vec<Part>,
    /// Fixed text that is not a part yet.
    fixed: String,
}

impl Reader<'_> {
    fn step(&mut self) -> Result<(), TemplateError> {
        let rest = &self.text[self.at..];
        if rest.starts_with("{{") {
            return self.field();
        }
        if rest.starts_with('%') {
            return self.time();
        }
        let first = rest.chars().next().map_or(1, char::len_utf8);
        let length = rest[first..].find(['{', '%']).map_or(rest.len(), |found| found + first);
        self.fixed.push_str(&rest[..length]);
        self.at += length;
        Ok(())
    }

    fn field(&mut self) -> Result<(), TemplateError> {
        let inside = &self.text[self.at + 2..];
        let Some(length) = inside.find("}}") else {
            return Err(self.error(self.at, "`{{` is not closed", "write the field's name and `}}`: {{ vendor }}"));
        };
        let name = inside[..length].trim();
        let field = Field::ALL.iter().find(|(known, _)| *known == name.strip_prefix('.').unwrap_or(name));
        let Some((_, field)) = field else { return Err(self.unknown_field(name, &inside[..length])) };
        self.close_fixed();
        self.parts.push(Part::Field(*field));
        self.at += 2 + length + 2;
        Ok(())
    }

    fn time(&mut self) -> Result<(), TemplateError> {
        let letter = self.text[self.at + 1..].chars().next();
        if letter == Some('%') {
            self.fixed.push('%');
            self.at += 2;
            return Ok(());
        }
        let part = letter.and_then(|letter| TIME_PARTS.iter().find(|(known, _)| *known == letter));
        let Some((_, part)) = part else { return Err(self.unknown_time(letter)) };
        self.close_fixed();
        self.parts.push(Part::Time(*part));
        self.at += 2;
        Ok(())
    }

    fn close_fixed(&mut self) {
        if !self.fixed.is_empty() {
            self.parts.push(Part::Fixed(std::mem::take(&mut self.fixed)));
        }
    }

    fn unknown_field(&self, name: &str, inside: &str) -> TemplateError {
        let lead = inside.len() - inside.trim_start().len();
        let names = Field::ALL.iter().map(|(name, _)| *name);
        let all = names.clone().collect::<Vec<_>>().join(", ");
        let nearest = names
            .map(|known| (strsim::damerau_levenshtein(known, name), known))
            .min()
            .filter(|(distance, known)| *distance <= known.len() / 3);
        let hint = match nearest {
            _ if name.starts_with("timestamp") => "the event's time has strftime letters: %Y-%m-%d".to_owned(),
            Some((_, known)) => format!("did you mean `{known}`? The fields are {all}"),
            None => format!("the fields are {all}"),
        };
        self.error(self.at + 2 + lead, &format!("there is no field `{name}`"), &hint)
    }

    fn unknown_time(&self, letter: Option<char>) -> TemplateError {
        let message = match letter {
            Some(letter) => format!("`%{letter}` is not a time part that a path can contain"),
            None => "`%` is at the end".to_owned(),
        };
        let all = TIME_PARTS.iter().map(|(letter, _)| format!("%{letter}")).collect::<Vec<_>>().join(" ");
        self.error(self.at, &message, &format!("write one of {all}, or %% for a percent sign"))
    }

    fn error(&self, at: usize, message: &str, hint: &str) -> TemplateError {
        let column = self.text[..at].chars().count() + 1;
        TemplateError { column, message: message.to_owned(), hint: hint.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Template;

    fn error_of(text: &str) -> (usize, String) {
        let error = Template::parse(text).expect_err(text);
        (error.column, format!("{} | {}", error.message, error.hint))
    }

    #[test]
    fn an_unknown_field_names_the_nearest() {
        let (column, text) = error_of("é/{{ vendr }}/x");
        assert_eq!(column, 6);
        assert!(text.contains("`vendr`") && text.contains("did you mean `vendor`?"), "{text}");
    }

    #[test]
    fn a_field_like_none_lists_them_all() {
        let (_, text) = error_of("{{ color }}");
        assert!(text.contains("the fields are vendor, source"), "{text}");
        assert!(!text.contains("did you mean"), "{text}");
    }

    #[test]
    fn mistakes_point_at_their_place() {
        assert_eq!(error_of("ab/{{ vendor }").0, 4);
        assert_eq!(error_of("ab/%Q").0, 4);
        assert_eq!(error_of("ab%").0, 3);
        assert!(error_of("{{ timestamp }}").1.contains("%Y-%m-%d"));
    }
}
