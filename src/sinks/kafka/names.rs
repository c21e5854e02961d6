//! The names under which the broker knows a sink, and what a topic name can contain.

use crate::sinks::template::Template;

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
    fn templates_that_cannot_render_topic_names_are_found() {
        let problem = |text: &str| template_problem(&Template::parse(text).expect(text));
        assert_eq!(problem("audit.{{ vendor }}.%Y"), None);
        for text in ["audit/{{ vendor }}", "", "..", "au dit", &"x".repeat(250)] {
            assert!(problem(text).is_some(), "{text}");
        }
    }
}
