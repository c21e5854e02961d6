//! The routes of each sink: from which source, in which form, and which of its events.
//!
//! ```text
//! source --raw, all--> normalize --normalized, all--> filter --normalized, if a--> filter --if a && b--+
//!                          |                                                                          or--> sink
//!                          +----------------------------------> filter --normalized, if c-------------+
//! ```
//!
//! Filters in a row are joined by `&&`, paths that meet by `||`. So a sink gets each event once, whatever the number of paths,
//! and gets every event of a source if one path has no filter. All conditions are evaluated before anything is redacted. So
//! the paths of a source that meet at a sink must redact the same.

use std::collections::BTreeMap;

use super::component::{Component, Input, Section};
use super::graph::Graph;
use super::transforms::{Effect, Effects};
use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::deliver::Route;
use crate::sinks::EventForm;
use crate::transform::condition::Condition;
use crate::transform::redact::Redactions;
use crate::transform::registry::{FILTER, NORMALIZE, REDACT};

/// The most filters between a source and a sink, counted per path. The number of paths can grow exponentially.
const MAX_FILTERS: usize = 200;

/// The events that pass.
#[derive(Clone, Debug)]
enum Selection {
    All,
    Matching(Condition),
}

impl Selection {
    fn or(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Matching(_), Self::Matching(_)) if self.is_too_long() => self.clone(),
            (Self::Matching(one), Self::Matching(another)) => Self::Matching(one.or(another)),
            _ => Self::All,
        }
    }

    /// The events that also pass another filter. A selection that is too long is reported and does not grow.
    fn and(&self, condition: &Condition) -> Self {
        match self {
            Self::All => Self::Matching(condition.clone()),
            Self::Matching(_) if self.is_too_long() => self.clone(),
            Self::Matching(before) => Self::Matching(before.and(condition)),
        }
    }

    fn is_too_long(&self) -> bool {
        matches!(self, Self::Matching(condition) if condition.joins() >= MAX_FILTERS)
    }

    fn into_condition(self) -> Option<Condition> {
        match self {
            Self::All => None,
            Self::Matching(condition) => Some(condition),
        }
    }
}

/// The events of one source: raw records, normalized events or, which is an error, both.
#[derive(Clone, Debug, Default)]
struct Flow {
    raw: Option<Selection>,
    normalized: Option<Selection>,
    redactions: Redactions,
    /// Whether paths meet that redact differently, which is an error.
    redacts_differently: bool,
}

impl Flow {
    fn add(&mut self, other: &Self) {
        if self.normalized.is_some() && other.normalized.is_some() {
            self.redacts_differently |= self.redactions != other.redactions;
        } else if other.normalized.is_some() {
            self.redactions = other.redactions.clone();
        }
        self.redacts_differently |= other.redacts_differently;
        for (mine, other) in [(&mut self.raw, &other.raw), (&mut self.normalized, &other.normalized)] {
            *mine = match (mine.take(), other) {
                (Some(mine), Some(other)) => Some(mine.or(other)),
                (mine, other) => mine.or_else(|| other.clone()),
            };
        }
    }
}

/// The events that flow into or out of a component, by source.
type Flows<'c> = BTreeMap<&'c str, Flow>;

/// Finds the routes of a graph without cycles.
pub(super) struct RouteFinder<'g, 'c, 't> {
    graph: &'g Graph<'c, 't>,
    effects: &'g Effects<'g>,
    /// The flows out of each visited source and transform.
    visited: BTreeMap<&'c str, Flows<'c>>,
}

impl<'g, 'c, 't> RouteFinder<'g, 'c, 't> {
    pub(super) fn new(graph: &'g Graph<'c, 't>, effects: &'g Effects<'g>) -> Self {
        Self { graph, effects, visited: BTreeMap::new() }
    }

    /// The routes of a sink. A source that arrives in two forms is an error.
    pub(super) fn routes(&mut self, sink: &Component<'_>, diagnostics: &mut Diagnostics) -> Vec<Route> {
        let mut routes = Vec::new();
        for (source, flow) in self.flows_into(sink.name) {
            if flow.raw.is_some() && flow.normalized.is_some() {
                diagnostics.push(self.two_forms(sink, source));
            }
            if flow.redacts_differently {
                diagnostics.push(self.two_redactions(sink, source));
            }
            let (form, selection) = match (flow.raw, flow.normalized) {
                (Some(selection), _) => (EventForm::Raw, selection),
                (None, Some(selection)) => (EventForm::Normalized, selection),
                (None, None) => continue,
            };
            if selection.is_too_long() {
                diagnostics.push(self.too_long(sink, source));
            }
            let (source, condition) = (source.to_owned(), selection.into_condition());
            routes.push(Route { source, form, condition, redactions: flow.redactions });
        }
        routes
    }

    /// What passes a component, by source. Of two forms, the raw records.
    pub(super) fn passing(&mut self, component: &Component<'c>) -> Vec<Route> {
        let flows = match component.section {
            Section::Sink => self.flows_into(component.name),
            Section::Source | Section::Transform => self.flows_out_of(component.name),
        };
        let route = |(source, flow): (&str, Flow)| {
            let (form, selection) = match (flow.raw, flow.normalized) {
                (Some(selection), _) => (EventForm::Raw, selection),
                (None, selection) => (EventForm::Normalized, selection?),
            };
            let (source, condition) = (source.to_owned(), selection.into_condition());
            Some(Route { source, form, condition, redactions: flow.redactions })
        };
        flows.into_iter().filter_map(route).collect()
    }

    /// Reports filters and redactions that read raw records.
    pub(super) fn report_raw_filters(&mut self, diagnostics: &mut Diagnostics) {
        let graph = self.graph;
        let needs_events = |component: &&&Component<'_>| matches!(component.type_name, Some(FILTER | REDACT));
        let filters = graph.components.values().filter(needs_events);
        for filter in filters {
            for (upstream, input) in graph.edges.get(filter.name).into_iter().flatten() {
                let flows = self.flows_out_of(upstream);
                let raw = flows.iter().find(|(_, flow)| flow.raw.is_some());
                if let Some((source, _)) = raw {
                    diagnostics.push(raw_records(filter, source, input));
                }
            }
        }
    }

    /// The flows into a component.
    fn flows_into(&mut self, reader: &str) -> Flows<'c> {
        let graph = self.graph;
        let mut flows = Flows::new();
        for (upstream, _) in graph.edges.get(reader).into_iter().flatten() {
            for (source, flow) in self.flows_out_of(upstream) {
                flows.entry(source).or_default().add(&flow);
            }
        }
        flows
    }

    /// The flows out of a source or transform. A transform of an unknown type passes everything.
    fn flows_out_of(&mut self, name: &'c str) -> Flows<'c> {
        if let Some(known) = self.visited.get(name) {
            return known.clone();
        }
        let Some(component) = self.graph.components.get(name).copied() else { return Flows::new() };
        let flows = match component.section {
            Section::Source => Flows::from([(name, Flow { raw: Some(Selection::All), ..Flow::default() })]),
            _ => self.transformed(component),
        };
        self.visited.insert(name, flows.clone());
        flows
    }

    fn transformed(&mut self, transform: &Component<'_>) -> Flows<'c> {
        let mut flows = self.flows_into(transform.name);
        match transform.type_name {
            Some(NORMALIZE) => flows.values_mut().for_each(|flow| {
                let raw = Flow { normalized: flow.raw.take(), ..Flow::default() };
                flow.add(&raw);
            }),
            Some(FILTER | REDACT) => {
                // Raw records do not pass; `report_raw_filters` reports them.
                flows.values_mut().for_each(|flow| flow.raw = None);
                let Some(effect) = self.effects.get(transform.name) else { return flows };
                flows.values_mut().for_each(|flow| match effect {
                    Effect::Filter(condition) => {
                        flow.normalized = flow.normalized.take().map(|selection| selection.and(condition));
                    }
                    Effect::Redact(redactions) => flow.redactions = flow.redactions.and(redactions),
                });
            }
            _ => {}
        }
        flows
    }

    fn two_forms(&self, sink: &Component<'_>, source: &str) -> Diagnostic {
        let message =
            format!("sink `{}` gets source `{source}` twice: as normalized events and as raw records", sink.name);
        let hint = "remove either the source or the `normalize` transform from its inputs, or use two sinks";
        self.at_inputs(sink, message, hint)
    }

    fn two_redactions(&self, sink: &Component<'_>, source: &str) -> Diagnostic {
        let message = format!("sink `{}` gets source `{source}` on several paths that redact differently", sink.name);
        let hint = "let all of them pass the same `redact` transforms in the same order, for example one right before the sink, or use two sinks";
        self.at_inputs(sink, message, hint)
    }

    fn too_long(&self, sink: &Component<'_>, source: &str) -> Diagnostic {
        let message = format!("too many filters between source `{source}` and sink `{}`", sink.name);
        self.at_inputs(sink, message, "combine their conditions in one filter")
    }

    fn at_inputs(&self, sink: &Component<'_>, message: String, hint: &str) -> Diagnostic {
        let written = self.graph.edges.get(sink.name).into_iter().flatten().map(|(_, input)| *input).next();
        match written {
            Some(input) => Diagnostic::error(Some(input.span), input.list_key(), message, hint),
            None => Diagnostic::error(Some(sink.span), &sink.path, message, hint),
        }
    }
}

fn raw_records(filter: &Component<'_>, source: &str, input: &Input) -> Diagnostic {
    let (kind, purpose) = if filter.type_name == Some(FILTER) { (FILTER, "filter by") } else { (REDACT, "redact") };
    let message =
        format!("{kind} `{}` gets raw records of source `{source}`, which have no fields to {purpose}", filter.name);
    input.error(message, "add a transform of `type: normalize` between them, and name it here")
}
