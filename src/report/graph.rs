//! `graph`: how the components of a pipeline are joined, as a picture in text.
//!
//! ```text
//! ValidatedPipeline --components, inputs, conditions--> Mermaid (GitHub, GitLab and most wikis draw it) or DOT (Graphviz)
//! ```
//!
//! The condition of a filter stands on the edges out of it: that is what passes there.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::pipeline::{ComponentKind, ValidatedPipeline, WiredComponent};

/// The longest condition on an edge, in characters.
const LONGEST_LABEL: usize = 80;

/// A language for graphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphFormat {
    /// A flowchart of Mermaid.
    Mermaid,
    /// A digraph of Graphviz.
    Dot,
}

/// The graph of a pipeline.
#[must_use]
pub fn graph(pipeline: &ValidatedPipeline, format: GraphFormat) -> String {
    let numbers: BTreeMap<&str, usize> =
        pipeline.components.iter().enumerate().map(|(number, component)| (component.name.as_str(), number)).collect();
    let mut text = match format {
        GraphFormat::Mermaid => "flowchart LR\n".to_owned(),
        GraphFormat::Dot => {
            format!("digraph \"{}\" {{\n  rankdir=LR\n  node [fontname=\"sans-serif\"]\n", of_dot(&pipeline.name))
        }
    };
    for (number, component) in pipeline.components.iter().enumerate() {
        push_node(&mut text, number, component, format);
    }
    for (number, component) in pipeline.components.iter().enumerate() {
        for input in &component.inputs {
            let Some(from) = numbers.get(input.as_str()).map(|from| (*from, &pipeline.components[*from])) else {
                continue;
            };
            push_edge(&mut text, from, number, format);
        }
    }
    if format == GraphFormat::Dot {
        text.push_str("}\n");
    }
    text
}

fn push_node(text: &mut String, number: usize, component: &WiredComponent, format: GraphFormat) {
    let WiredComponent { name, kind, type_name, .. } = component;
    let _ = match format {
        GraphFormat::Mermaid => {
            let (open, close) = match kind {
                ComponentKind::Source => ("([", "])"),
                ComponentKind::Transform => ("[", "]"),
                ComponentKind::Sink => ("[(", ")]"),
            };
            let (name, type_name) = (of_mermaid(name), of_mermaid(type_name));
            writeln!(text, "  n{number}{open}\"{name}<br/>{type_name}\"{close}")
        }
        GraphFormat::Dot => {
            let shape = match kind {
                ComponentKind::Source => "oval",
                ComponentKind::Transform => "box",
                ComponentKind::Sink => "cylinder",
            };
            writeln!(text, "  n{number} [shape={shape} label=\"{}\\n{}\"]", of_dot(name), of_dot(type_name))
        }
    };
}

fn push_edge(text: &mut String, (from, upstream): (usize, &WiredComponent), to: usize, format: GraphFormat) {
    let label = upstream.condition.as_deref().map(shortened);
    let _ = match (format, label) {
        (GraphFormat::Mermaid, Some(label)) => writeln!(text, "  n{from} -->|\"{}\"| n{to}", of_mermaid(&label)),
        (GraphFormat::Mermaid, None) => writeln!(text, "  n{from} --> n{to}"),
        (GraphFormat::Dot, Some(label)) => writeln!(text, "  n{from} -> n{to} [label=\"{}\"]", of_dot(&label)),
        (GraphFormat::Dot, None) => writeln!(text, "  n{from} -> n{to}"),
    };
}

/// On one line, and cut.
fn shortened(condition: &str) -> String {
    let words: Vec<&str> = condition.split_whitespace().collect();
    let line = words.join(" ");
    if line.chars().count() <= LONGEST_LABEL {
        return line;
    }
    line.chars().take(LONGEST_LABEL - 1).chain(['…']).collect()
}

/// Text between quotation marks in Mermaid: what could be markup there is written as its character code.
fn of_mermaid(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' | '#' | '&' | '<' | '>' | '`' | '|' => {
                let _ = write!(safe, "#{};", u32::from(letter));
            }
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe
}

/// Text between quotation marks in DOT.
fn of_dot(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' | '\\' => safe.extend(['\\', letter]),
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::pipeline::{Environment, Overrides, validate};

    const PIPELINE: &str = "\
sources:
  acme_clumio: {type: clumio, access_token: x}
  acme_merge: {type: merge, api_key: x}
transforms:
  events: {type: normalize, inputs: [acme_*]}
  admins: {type: filter, inputs: events, condition: 'actor.type == \"admin\" && action != \"read\"'}
sinks:
  all: {type: file, inputs: [events], path: all.ndjson}
  few: {type: console, inputs: [admins]}
";

    fn drawn(format: GraphFormat) -> String {
        let environment = Environment::from_pairs([]);
        let pipeline = validate("acme.yaml", PIPELINE, Path::new(""), &environment, &Overrides::default());
        graph(&pipeline.expect("a good file"), format)
    }

    #[test]
    fn a_pipeline_in_mermaid() {
        insta::assert_snapshot!(drawn(GraphFormat::Mermaid));
    }

    #[test]
    fn a_pipeline_in_dot() {
        insta::assert_snapshot!(drawn(GraphFormat::Dot));
    }

    #[test]
    fn text_of_the_file_is_no_markup() {
        assert_eq!(of_mermaid("a\"<b>#1\n|x|"), "a#34;#60;b#62;#35;1 #124;x#124;");
        assert_eq!(of_dot("a\"\\n\n"), "a\\\"\\\\n ");
        let long = shortened(&"action == 'read' ||\n".repeat(9));
        assert!(long.chars().count() == LONGEST_LABEL && long.ends_with('…'), "{long}");
    }
}
