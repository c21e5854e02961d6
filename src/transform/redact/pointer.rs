//! JSON Pointers (RFC 6901) into the vendor's record, with `*` for any name or index and `**` for any number of levels.
//!
//! ```text
//! /raw/details/**/new_password     patterns are followed all at once, level by level: a state is a pattern and how much of it has matched
//! ```

use std::fmt;

/// What happens to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Drop,
    Hash,
}

/// Who names a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The pipeline file.
    Pipeline,
    /// The vendor's list of credentials: names match in any case.
    Credentials,
    /// A field that is redacted and read from there: the value is replaced in its place, unless it is null or empty.
    Field,
}

/// A pattern of pointers.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    segments: Vec<Segment>,
    pub(super) action: Action,
    pub(super) origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Name(String),
    Any,
    Deep,
}

/// The patterns that may still match below a value: the index of each, and the number of its segments that have matched.
pub(super) type States = Vec<(usize, usize)>;

impl Pattern {
    /// Reads a pointer that begins with `/raw/`; else the error and a hint.
    pub(super) fn parse(text: &str, action: Action, origin: Origin) -> Result<Self, (String, String)> {
        let wrong = |message: &str, hint: &str| Err((format!("`{text}` {message}"), hint.to_owned()));
        let Some(path) = text.strip_prefix("/raw/") else {
            let hint = "write `/raw/` and a path such as `user_email`; to remove the whole record, write `drop: [raw]`";
            return wrong("is not a pointer to a part of the vendor's record", hint);
        };
        let mut segments = Vec::new();
        for segment in path.split('/') {
            segments.push(match segment {
                "" => return wrong("has an empty segment", "remove the extra `/`"),
                "*" => Segment::Any,
                "**" if segments.last() == Some(&Segment::Deep) => continue,
                "**" => Segment::Deep,
                name => Segment::Name(name.replace("~1", "/").replace("~0", "~")),
            });
        }
        if segments.last() == Some(&Segment::Deep) {
            return wrong("ends with `**`", "end it with a name or `*`");
        }
        Ok(Self { text: text.to_owned(), segments, action, origin })
    }

    fn names(&self, expected: &str, name: &str) -> bool {
        expected == name || (self.origin == Origin::Credentials && expected.eq_ignore_ascii_case(name))
    }

    /// Whether what it matches is cut out. Without a key nothing can be hashed.
    pub(super) fn cuts(&self, has_key: bool) -> bool {
        self.origin != Origin::Field && (self.action == Action::Drop || !has_key)
    }

    /// Of several patterns that match one value, the greatest wins: what cuts before what drops in its place before what hashes.
    fn rank(&self) -> u8 {
        match (self.action, self.origin) {
            (Action::Drop, Origin::Pipeline | Origin::Credentials) => 2,
            (Action::Drop, Origin::Field) => 1,
            (Action::Hash, _) => 0,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// All patterns, at the record itself.
pub(super) fn start(patterns: &[Pattern]) -> States {
    (0..patterns.len()).map(|index| (index, 0)).collect()
}

/// The patterns of fields, at the record itself.
pub(super) fn start_of_fields(patterns: &[Pattern]) -> States {
    start(patterns).into_iter().filter(|(index, _)| patterns[*index].origin == Origin::Field).collect()
}

/// One level down, to the member or element with this name: the patterns that may match below it, and the one that matches it.
pub(super) fn step(patterns: &[Pattern], states: &[(usize, usize)], name: &str) -> (States, Option<usize>) {
    let (mut below, mut matched): (States, Option<usize>) = (States::new(), None);
    for &(index, at) in states {
        let segments = &patterns[index].segments;
        let at = match segments[at] {
            Segment::Deep => {
                push(&mut below, (index, at));
                at + 1
            }
            _ => at,
        };
        let is_match = match &segments[at] {
            Segment::Name(expected) => patterns[index].names(expected, name),
            Segment::Any | Segment::Deep => true,
        };
        if !is_match {
            continue;
        }
        if at + 1 < segments.len() {
            push(&mut below, (index, at + 1));
        } else if matched.is_none_or(|other| patterns[other].rank() < patterns[index].rank()) {
            matched = Some(index);
        }
    }
    (below, matched)
}

fn push(states: &mut States, state: (usize, usize)) {
    if !states.contains(&state) {
        states.push(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &[&str]) -> bool {
        let patterns = [Pattern::parse(pattern, Action::Drop, Origin::Pipeline).expect("a pattern")];
        let (mut states, mut matched) = (start(&patterns), None);
        for name in path {
            (states, matched) = step(&patterns, &states, name);
        }
        matched.is_some()
    }

    #[test]
    fn names_wildcards_and_escapes() {
        for (pattern, path, expected) in [
            ("/raw/a/b", &["a", "b"][..], true),
            ("/raw/a/b", &["a"], false),
            ("/raw/a/b", &["a", "b", "c"], false),
            ("/raw/a/*/c", &["a", "0", "c"], true),
            ("/raw/a~1b/m~0n/~01", &["a/b", "m~n", "~1"], true),
            ("/raw/**/c", &["c"], true),
            ("/raw/**/c", &["a", "0", "c"], true),
            ("/raw/a/**/**/c", &["a", "x", "y", "c"], true),
            ("/raw/a/**/c", &["b", "c"], false),
            ("/raw/**/a/b", &["a", "a", "b"], true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path:?}");
        }
    }

    #[test]
    fn what_drops_wins() {
        let patterns = [
            ("/raw/a", Action::Hash, Origin::Pipeline),
            ("/raw/a", Action::Drop, Origin::Field),
            ("/raw/*", Action::Drop, Origin::Pipeline),
            ("/raw/**/a", Action::Hash, Origin::Pipeline),
        ];
        let patterns = patterns.map(|(text, action, origin)| Pattern::parse(text, action, origin).expect("a pattern"));
        assert_eq!(step(&patterns, &start(&patterns), "a").1, Some(2));
        assert_eq!(step(&patterns, &start_of_fields(&patterns), "a").1, Some(1));
    }

    #[test]
    fn names_of_credentials_match_in_any_case() {
        for (origin, expected) in [(Origin::Pipeline, None), (Origin::Credentials, Some(0))] {
            let patterns = [Pattern::parse("/raw/**/external_id", Action::Drop, origin).expect("a pattern")];
            assert_eq!(step(&patterns, &start(&patterns), "External_ID").1, expected);
        }
    }

    #[test]
    fn wrong_pointers_are_named() {
        for wrong in ["/raw", "/rawx/a", "/a", "/raw/", "/raw/a//b", "/raw/a/**"] {
            let (message, hint) = Pattern::parse(wrong, Action::Drop, Origin::Pipeline).expect_err(wrong);
            assert!(message.contains(wrong) && !hint.is_empty(), "{message}; {hint}");
        }
    }
}
