//! The names under which the broker knows a sink, and what a topic name can contain.

use crate::event::Event;
use crate::sinks::template::{PathCache, Template};

/// The longest topic name that Kafka accepts.
const MAX_NAME_BYTES: usize = 249;

/// The names of a sink on the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// The sink's name in the pipeline file.
    pub(super) sink: String,
    /// The consumer group whose offset shows the position, and the transactional id.
    pub(super) group: String,
    /// The compacted topic that holds the position.
    pub(super) position_topic: String,
}

impl Names {
    pub(super) fn new(pipeline: &str, sink: &str) -> Self {
        let group = format!("auditflow.{pipeline}.{sink}");
        Self { sink: sink.to_owned(), position_topic: sanitized(&group), group }
    }
}

/// The topic of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicName {
    pub(super) name: String,
    /// The name without parts of the time; `None` if no value of an event is in it.
    pub(super) of_values: Option<String>,
}

/// Renders the topics of events.
///
/// Dots separate the parts of the template, so values have none: Kafka rejects a topic whose name differs from another one's
/// in `.` and `_` only, because both have the same metrics.
#[derive(Debug)]
pub(super) struct TopicNames {
    template: Template,
    of_values: Option<Template>,
    paths: PathCache,
}

impl TopicNames {
    pub(super) fn new(template: &Template) -> Self {
        Self { template: template.clone(), of_values: template.of_values(), paths: PathCache::default() }
    }

    /// The topic of an event; `None` if it is the one of the call before.
    pub(super) fn next(&mut self, event: &Event<'_>) -> Option<TopicName> {
        let (name, is_other) = self.paths.render(&self.template, event);
        is_other.then(|| TopicName {
            name: sanitized(name),
            of_values: self.of_values.as_ref().map(|template| sanitized(&template.render(event))),
        })
    }
}

/// A topic name: characters that Kafka does not accept become `_`.
pub(super) fn sanitized(text: &str) -> String {
    let letters = text.chars().map(|letter| if is_allowed(letter) { letter } else { '_' });
    letters.take(MAX_NAME_BYTES).collect()
}

fn is_allowed(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-')
}

/// Why the template cannot render topic names.
pub(super) fn template_problem(template: &Template) -> Option<String> {
    let fixed = template.fixed_text();
    if template.canonical().trim().is_empty() {
        return Some("the topic name is empty".to_owned());
    }
    if matches!(template.fixed_name(), Some("." | "..")) {
        return Some("a topic name cannot be `.` or `..`".to_owned());
    }
    if let Some(letter) = fixed.chars().find(|letter| !is_allowed(*letter)) {
        return Some(format!("a topic name cannot contain `{letter}`"));
    }
    (template.longest_part() > MAX_NAME_BYTES)
        .then(|| format!("the name can become longer than {MAX_NAME_BYTES} characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_contain_only_what_kafka_accepts() {
        assert_eq!(sanitized("audit.Größe/x y-1_a"), "audit.Gr__e_x_y-1_a");
        assert_eq!(sanitized(&"x".repeat(300)).len(), MAX_NAME_BYTES);
    }

    #[test]
    fn values_have_no_dots_and_the_time_does_not_count_as_a_value() {
        let raw = r#"{"number":1}"#;
        let mut event = crate::sinks::testing::event(raw, "2026-01-02T03:04:05Z");
        let template = Template::parse("audit.{{ source }}.%Y").expect("a template").with_plain_values();
        let mut names = TopicNames::new(&template);
        let mut named = |source: &'static str| {
            event.source = source;
            names.next(&event)
        };
        let name = |name: &str, of_values: &str| {
            Some(TopicName { name: name.to_owned(), of_values: Some(of_values.to_owned()) })
        };
        assert_eq!(named("a.b"), name("audit.a_b.2026", "audit.a_b."));
        assert_eq!(named("a.b"), None, "the same as before");
        assert_eq!(named("a/b"), name("audit.a_b.2026", "audit.a_b."));
        assert_eq!(named("a_b"), name("audit.a_b.2026", "audit.a_b."));
        let fixed = Template::parse("audit.v1.%Y").expect("a template").with_plain_values();
        let expected = TopicName { name: "audit.v1.2026".to_owned(), of_values: None };
        assert_eq!(TopicNames::new(&fixed).next(&event), Some(expected));
    }

    #[test]
    fn any_value_makes_a_valid_name() {
        let template = Template::parse("{{ source }}").expect("a template").with_plain_values();
        let long: &'static str = "ä/".repeat(400).leak();
        for value in
            ["..", ".", "", " ", "../../etc", "a\0b", "x\u{202e}y", "%2F", "audit\naudit", "{{ vendor }}", long]
        {
            let mut event = crate::sinks::testing::event("{}", "2026-01-02T03:04:05Z");
            event.source = value;
            let name = TopicNames::new(&template).next(&event).expect("the first one").name;
            assert!((1..=MAX_NAME_BYTES).contains(&name.len()), "{value:?}: {name:?}");
            assert!(name.chars().all(|letter| is_allowed(letter) && letter != '.'), "{value:?}: {name:?}");
        }
    }

    #[test]
    fn templates_that_cannot_render_topic_names_are_found() {
        let problem = |text: &str| template_problem(&Template::parse(text).expect(text));
        assert_eq!(problem("audit.{{ vendor }}.%Y"), None);
        for text in ["audit/{{ vendor }}", "", "..", "au dit", &"x".repeat(250)] {
            assert!(problem(text).is_some(), "{text}");
        }
    }
}
