//! Path templates: `audit/{{ vendor }}/%Y-%m-%d.ndjson` becomes one path per event.
//!
//! ```text
//! text --parse--> parts: fixed text | field of the event | part of the event's own time (UTC)
//! event + parts --render--> path; repeating the last partition costs a few comparisons (PathCache)
//! ```
//!
//! The fixed text comes from the user and is used unchanged. Values come from vendors, so they are sanitized as parts of a path
//! (`sanitize`): no value can leave its directory, hide a file, be one of our own names or make a name too long for the file
//! system. A batch has at most [`MAX_PARTITIONS`] partitions from values; the values of further events are written as `too-many-values`.

mod sanitize;

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;

use crate::event::Event;
use crate::time::Timestamp;

pub use sanitize::{MAX_VALUE_BYTES, NULL_PARTITION, push_sanitized};

pub use crate::event::fields::TextField as Field;

/// A part of the event's time, by its strftime letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TimePart {
    /// The formatter's specifier, for example `%Y`.
    specifier: &'static str,
    /// The text stays the same for this many seconds, counted from 1970.
    holds_secs: i64,
}

const DAY: i64 = 86_400;

/// The strftime letters that a template can contain. Letters whose text contains a `/` or depends on a locale or time zone
/// are excluded.
const TIME_PARTS: &[(char, TimePart)] = &[
    ('Y', TimePart { specifier: "%Y", holds_secs: DAY }),
    ('y', TimePart { specifier: "%y", holds_secs: DAY }),
    ('m', TimePart { specifier: "%m", holds_secs: DAY }),
    ('d', TimePart { specifier: "%d", holds_secs: DAY }),
    ('F', TimePart { specifier: "%F", holds_secs: DAY }),
    ('j', TimePart { specifier: "%j", holds_secs: DAY }),
    ('G', TimePart { specifier: "%G", holds_secs: DAY }),
    ('V', TimePart { specifier: "%V", holds_secs: DAY }),
    ('u', TimePart { specifier: "%u", holds_secs: DAY }),
    ('a', TimePart { specifier: "%a", holds_secs: DAY }),
    ('A', TimePart { specifier: "%A", holds_secs: DAY }),
    ('b', TimePart { specifier: "%b", holds_secs: DAY }),
    ('B', TimePart { specifier: "%B", holds_secs: DAY }),
    ('H', TimePart { specifier: "%H", holds_secs: 3_600 }),
    ('M', TimePart { specifier: "%M", holds_secs: 60 }),
    ('S', TimePart { specifier: "%S", holds_secs: 1 }),
];

/// The most combinations of values that the paths of one batch have, each at any number of times. More of them are most likely
/// a field with a value per event, such as an id: one file each would exhaust the file system or the store.
pub const MAX_PARTITIONS: usize = 4_096;

fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_')
}

/// The longest text of a time part: `Wednesday`, `September`, or a date.
const MAX_TIME_BYTES: usize = 10;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Fixed(String),
    Field(Field),
    Time(TimePart),
}

impl Part {
    /// Where this part of a path may end that begins at `from`.
    fn ends(&self, path: &str, from: usize) -> Vec<usize> {
        let rest = &path[from..];
        if let Self::Fixed(text) = self {
            return rest.starts_with(text.as_str()).then_some(from + text.len()).into_iter().collect();
        }
        let name = rest.split('/').next().unwrap_or_default();
        name.char_indices().map(|(at, letter)| from + at + letter.len_utf8()).collect()
    }
}

/// A checked template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    /// The rendered text stays the same for this many seconds; 0 if it contains no time.
    holds_secs: i64,
    /// Whether values are written in letters, digits, `-` and `_`.
    has_plain_values: bool,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct TemplateError {
    /// The position, counted in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// The fix.
    pub hint: String,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// The first error: an unknown field or time letter, a brace that is not closed.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let parts = parse(text)?;
        let times =
            parts.iter().filter_map(|part| if let Part::Time(time) = part { Some(time.holds_secs) } else { None });
        let holds_secs = times.min().unwrap_or(0);
        Ok(Self { parts, holds_secs, has_plain_values: false })
    }

    /// The template with values in ASCII letters, digits, `-` and `_`: for names in which dots separate the values. All else
    /// becomes `_`.
    #[must_use]
    pub fn with_plain_values(self) -> Self {
        Self { has_plain_values: true, ..self }
    }

    /// The template without the parts of the time; `None` if it has no values either.
    #[must_use]
    pub fn of_values(&self) -> Option<Self> {
        fields(self).next()?;
        let parts = self.parts.iter().filter(|part| !matches!(part, Part::Time(_))).cloned().collect();
        Some(Self { parts, holds_secs: 0, has_plain_values: self.has_plain_values })
    }

    /// The path of an event.
    #[must_use]
    pub fn render(&self, event: &Event<'_>) -> String {
        self.render_with(event, push_sanitized)
    }

    fn render_with(&self, event: &Event<'_>, push_value: impl Fn(&str, &mut String)) -> String {
        let mut path = String::with_capacity(64);
        for part in &self.parts {
            match part {
                Part::Fixed(text) => path.push_str(text),
                Part::Field(field) if self.has_plain_values => {
                    push_value(&field.value(event).replace(|letter| !is_plain(letter), "_"), &mut path);
                }
                Part::Field(field) => push_value(field.value(event), &mut path),
                Part::Time(time) => push_time(*time, event.timestamp, &mut path),
            }
        }
        path
    }

    /// The text of an event with unchanged values: for headers, never for paths.
    #[must_use]
    pub fn render_text(&self, event: &Event<'_>) -> String {
        self.render_with(event, |value, text| text.push_str(value))
    }

    /// All fixed text, without values.
    #[must_use]
    pub fn fixed_text(&self) -> String {
        self.parts
            .iter()
            .filter_map(|part| if let Part::Fixed(text) = part { Some(text.as_str()) } else { None })
            .collect()
    }

    /// The text of every event, if the template has no values.
    #[must_use]
    pub fn fixed_name(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Fixed(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether an event could have this path: a value is any part of a name.
    #[must_use]
    pub fn may_render(&self, path: &str) -> bool {
        let mut ends = BTreeSet::from([0]);
        for part in &self.parts {
            ends = ends.iter().flat_map(|from| part.ends(path, *from)).collect();
        }
        ends.contains(&path.len())
    }

    /// The canonical form, so that `{{vendor}}` and `{{ vendor }}`, `%F` and `%Y-%m-%d` are equal.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Fixed(fixed) => text.push_str(&fixed.replace('%', "%%")),
                Part::Field(field) => drop(write!(text, "{{{{ {} }}}}", field.path())),
                Part::Time(TimePart { specifier: "%F", .. }) => text.push_str("%Y-%m-%d"),
                Part::Time(time) => text.push_str(time.specifier),
            }
        }
        text
    }

    /// The names of the Hive partitions: `event_vendor` of `audit/event_vendor={{ vendor }}/`.
    #[must_use]
    pub fn partition_names(&self) -> Vec<String> {
        let text = self.canonical();
        text.split('/').filter_map(|part| part.split_once('=')).map(|(name, _)| name.to_owned()).collect()
    }

    /// The fixed text at the start, for example `audit/`; empty if the template begins with a value.
    #[must_use]
    pub fn fixed_start(&self) -> &str {
        match self.parts.first() {
            Some(Part::Fixed(text)) => text,
            _ => "",
        }
    }

    /// The directory that contains every path; empty if there is none.
    #[must_use]
    pub fn fixed_directory(&self) -> &str {
        let slash = self.fixed_start().rsplit_once('/');
        slash.map_or("", |(directory, _)| if directory.is_empty() { "/" } else { directory })
    }

    /// The template without the directory at its start that is fixed.
    #[must_use]
    pub fn below_fixed_directory(&self) -> Self {
        let mut below = self.clone();
        if let Some(Part::Fixed(text)) = below.parts.first_mut() {
            *text = text.rsplit_once('/').map_or(text.as_str(), |(_, name)| name).to_owned();
        }
        below
    }

    /// The fixed text at the end, for example `.ndjson.gz`; empty if the template ends with a value.
    #[must_use]
    pub fn fixed_end(&self) -> &str {
        match self.parts.last() {
            Some(Part::Fixed(text)) => text,
            _ => "",
        }
    }

    /// The maximum length of the whole path in bytes.
    #[must_use]
    pub fn longest(&self) -> usize {
        let length = |part: &Part| match part {
            Part::Field(_) => MAX_VALUE_BYTES,
            Part::Time(_) => MAX_TIME_BYTES,
            Part::Fixed(text) => text.len(),
        };
        self.parts.iter().map(length).sum()
    }

    /// The maximum length of one part of the path (between two slashes) in bytes.
    #[must_use]
    pub fn longest_part(&self) -> usize {
        let (mut longest, mut current) = (0, 0);
        for part in &self.parts {
            match part {
                Part::Field(_) => current += MAX_VALUE_BYTES,
                Part::Time(_) => current += MAX_TIME_BYTES,
                Part::Fixed(text) => {
                    for (index, piece) in text.split('/').enumerate() {
                        if index > 0 {
                            longest = longest.max(current);
                            current = 0;
                        }
                        current += piece.len();
                    }
                }
            }
        }
        longest.max(current)
    }

    fn time_slot(&self, at: Timestamp) -> i64 {
        if self.holds_secs == 0 { 0 } else { at.as_millis().div_euclid(1_000 * self.holds_secs) }
    }
}

fn push_time(part: TimePart, at: Timestamp, path: &mut String) {
    // Every specifier is one of `TIME_PARTS`, which a test renders, and every moment has a date: this cannot fail.
    if let Ok(text) = jiff::fmt::strtime::format(part.specifier, at.calendar()) {
        path.push_str(&text);
    }
}

/// Caches the last path, so that consecutive events of one partition neither format nor allocate.
#[derive(Debug, Default)]
pub struct PathCache {
    values: Vec<String>,
    slot: i64,
    path: Option<String>,
    /// The combinations of values of the current batch; `None` without a limit.
    partitions: Option<HashSet<Vec<String>>>,
    has_warned: bool,
}

impl PathCache {
    /// A cache whose paths have at most [`MAX_PARTITIONS`] combinations of values per batch.
    #[must_use]
    pub fn limited() -> Self {
        Self { partitions: Some(HashSet::new()), ..Self::default() }
    }

    /// Starts a batch: the same events then get the same paths at every attempt.
    pub fn begin(&mut self) {
        self.path = None;
        if let Some(partitions) = &mut self.partitions {
            partitions.clear();
        }
    }

    /// The path of an event, and whether it is another one than at the call before.
    pub fn render(&mut self, template: &Template, event: &Event<'_>) -> (&str, bool) {
        let changed = !self.holds(template, event);
        if changed {
            self.render_again(template, event);
        }
        (self.path.as_deref().unwrap_or_default(), changed)
    }

    fn holds(&self, template: &Template, event: &Event<'_>) -> bool {
        let values = fields(template).map(|field| field.value(event));
        self.path.is_some() && self.slot == template.time_slot(event.timestamp) && values.eq(self.values.iter())
    }

    fn render_again(&mut self, template: &Template, event: &Event<'_>) {
        self.slot = template.time_slot(event.timestamp);
        self.values.clear();
        self.values.extend(fields(template).map(|field| field.value(event).to_owned()));
        self.path = Some(if self.has_room() {
            template.render(event)
        } else {
            template.render_with(event, |_, path| path.push_str(sanitize::OTHER))
        });
    }

    /// Whether the current values are a partition of the batch, or can become one.
    fn has_room(&mut self) -> bool {
        let Some(partitions) = self.partitions.as_mut().filter(|_| !self.values.is_empty()) else { return true };
        let values: Vec<String> = self.values.iter().map(|value| sanitize::shown(value).into_owned()).collect();
        if partitions.contains(&values) {
            return true;
        }
        if partitions.len() < MAX_PARTITIONS {
            return partitions.insert(values);
        }
        if !self.has_warned {
            self.has_warned = true;
            tracing::warn!(
                event = "partitions_limited",
                limit = MAX_PARTITIONS,
                hint =
                    "remove the field that has a value per event from `path` or `key_prefix`, or set smaller batches",
                "a batch has too many different values in its paths; the values of further events are written as `too-many-values`"
            );
        }
        false
    }
}

fn fields(template: &Template) -> impl Iterator<Item = Field> + '_ {
    template.parts.iter().filter_map(|part| if let Part::Field(field) = part { Some(*field) } else { None })
}

// --- parsing ---

/// The parts of a template's text.
fn parse(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut reader = Reader { text, at: 0, parts: Vec::new(), fixed: String::new() };
    while reader.at < text.len() {
        reader.step()?;
    }
    reader.close_fixed();
    Ok(reader.parts)
}

/// A template's text while it is parsed.
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
        let field = Field::for_templates().find(|field| field.path() == name.strip_prefix('.').unwrap_or(name));
        let Some(field) = field else { return Err(self.unknown_field(name, &inside[..length])) };
        self.close_fixed();
        self.parts.push(Part::Field(field));
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
        let names = Field::for_templates().map(Field::path);
        let all = names.clone().collect::<Vec<_>>().join(", ");
        let nearest = names
            .map(|known| (strsim::damerau_levenshtein(known, name), known))
            .min()
            .filter(|(distance, known)| *distance <= known.len() / 3);
        let hint = match nearest {
            _ if name == "shard" => {
                "set `shards` in the pipeline file; then `path` and `key_prefix` may contain it".to_owned()
            }
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
mod parse_tests {
    use super::Template;

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sinks::testing::event;

    fn render(template: &str, at: &str, tenant: &str) -> String {
        let template = Template::parse(template).expect(template);
        let mut event = event("{}", at);
        event.tenant = Some(tenant.into());
        template.render(&event)
    }

    #[test]
    fn fields_and_the_events_own_time_in_utc() {
        let path = render("audit/{{ vendor }}/{{tenant}}/%Y-%m-%d/%H.ndjson", "2026-11-21T23:30:00-02:00", "acme");
        assert_eq!(path, "audit/clumio/acme/2026-11-22/01.ndjson");
    }

    #[test]
    fn every_field_and_time_letter_renders() {
        for name in Field::for_templates().map(Field::path) {
            assert!(!render(&format!("{{{{ {name} }}}}"), "2026-01-02T03:04:05Z", "t").is_empty(), "{name}");
        }
        for (letter, part) in TIME_PARTS {
            let text = render(&format!("%{letter}"), "2026-09-30T03:04:05Z", "t");
            assert!((1..=MAX_TIME_BYTES).contains(&text.len()), "{} gives {text}", part.specifier);
        }
    }

    #[test]
    fn fixed_text_is_the_users() {
        assert_eq!(render("../a {b} 100%% }}", "2026-01-02T03:04:05Z", ""), "../a {b} 100% }}");
    }

    #[test]
    fn canonical_forms_meet() {
        let canonical = |text: &str| Template::parse(text).expect(text).canonical();
        assert_eq!(canonical("{{vendor}}/%F"), canonical("{{  .vendor }}/%Y-%m-%d"));
        assert_ne!(canonical("{{vendor}}"), canonical("{{source}}"));
        assert_eq!(canonical("5%%"), "5%%");
    }

    #[test]
    fn a_path_that_an_event_could_have_is_recognized() {
        for (template, path, may) in [
            ("{{ vendor }}.ndjson", "clumio.ndjson", true),
            ("{{ vendor }}.ndjson", ".ndjson", false),
            ("{{ vendor }}.ndjson", "a/clumio.ndjson", false),
            ("a-{{ vendor }}-%F/{{ source }}.x", "a-ü-b-2026-01-01/x.x.x", true),
            ("a-{{ vendor }}-%F/{{ source }}.x", "a-ü/x.x", false),
            ("a.x", "a.x", true),
            ("a.x", "a.x.x", false),
        ] {
            assert_eq!(Template::parse(template).expect(template).may_render(path), may, "{template} {path}");
        }
        let hostile = "{{ vendor }}".repeat(100);
        assert!(!Template::parse(&hostile).expect("a template").may_render(&"x".repeat(99)));
    }

    #[test]
    fn the_longest_part_is_counted_between_slashes() {
        let longest = |text: &str| Template::parse(text).expect(text).longest_part();
        assert_eq!(longest("abc/{{ vendor }}x/ab"), MAX_VALUE_BYTES + 1);
        assert_eq!(longest("abcd/a/b"), 4);
    }

    #[test]
    fn a_limited_cache_gives_the_same_paths_at_every_attempt() {
        let template = Template::parse("{{ tenant }}/%d").expect("a template");
        let mut cache = PathCache::limited();
        let mut attempt = || -> Vec<String> {
            cache.begin();
            let mut paths = Vec::new();
            for number in (0..5_000).chain([7, 8_000, 4_999]) {
                let mut event = event("{}", "2026-01-02T03:04:05Z");
                event.tenant = Some(number.to_string().into());
                paths.push(cache.render(&template, &event).0.to_owned());
            }
            paths
        };
        let paths = attempt();
        assert_eq!(attempt(), paths);
        assert_eq!((paths[4_095].as_str(), paths[4_096].as_str()), ("4095/02", "too-many-values/02"));
        let different: HashSet<_> = paths.iter().collect();
        assert_eq!(different.len(), MAX_PARTITIONS + 1);
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_errors_point_into_the_text(text in "[{}% a-zA-Z./é]{0,24}") {
            if let Err(error) = Template::parse(&text) {
                prop_assert!(error.column >= 1 && error.column <= text.chars().count() + 1);
                prop_assert!(!error.hint.is_empty());
            }
        }

        #[test]
        fn the_cache_always_gives_what_rendering_gives(
            events in proptest::collection::vec((0i64..200_000, "[ab/.]{0,2}", "[xy]?"), 1..30),
        ) {
            let template = Template::parse("{{ tenant }}/{{ event_type }}-%d-%H").expect("a template");
            let mut cache = PathCache::default();
            let mut before = None;
            for (secs, tenant, event_type) in events {
                let mut event = event("{}", "2026-01-02T03:04:05Z");
                event.timestamp = Timestamp::from_secs(secs);
                event.tenant = Some(tenant.into());
                event.event_type = event_type.into();
                let expected = template.render(&event);
                let (path, changed) = cache.render(&template, &event);
                prop_assert_eq!(path, &expected);
                prop_assert!(changed || before.as_ref() == Some(&expected));
                before = Some(expected);
            }
        }
    }
}
