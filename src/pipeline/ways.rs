//! What comes to each reader of the graph: from which source, in which form, and which of its events.
//!
//! ```text
//! source --raw, all--> normalize --normalized, all--> filter --normalized, if a--> filter --if a && b--+
//!                          |                                                                          or--> sink
//!                          +----------------------------------> filter --normalized, if c-------------+
//! ```
//!
//! Filters in a row are joined by `&&`, ways that meet by `||`: so a sink gets an event once, however many ways it could
//! come, and gets every event of a source of which one way is without filters.

use std::collections::BTreeMap;

use super::definition::{Component, Kind};
use super::graph::{Graph, InputAsWritten};
use super::problem::{Finding, Findings};
use super::transforms::Filters;
use crate::deliver::Route;
use crate::sinks::EventForm;
use crate::transform::condition::Condition;

/// The transform that brings events into the schema.
const NORMALIZE: &str = "normalize";
/// The transform that lets events through for which a condition holds.
const FILTER: &str = "filter";

/// How many filters may stand between a source and a sink, each counted once a way: ways that part and meet again and again
/// multiply.
const MOST_FILTERS: usize = 200;

/// Which events pass.
#[derive(Clone, Debug)]
enum Passing {
    All,
    Those(Condition),
}

impl Passing {
    fn or(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Those(_), Self::Those(_)) if self.is_too_long() => self.clone(),
            (Self::Those(one), Self::Those(another)) => Self::Those(one.or(another)),
            _ => Self::All,
        }
    }

    /// What passes a further filter. What is too long already stays as it is: it is reported, and must not grow.
    fn and(&self, condition: &Condition) -> Self {
        match self {
            Self::All => Self::Those(condition.clone()),
            Self::Those(_) if self.is_too_long() => self.clone(),
            Self::Those(before) => Self::Those(before.and(condition)),
        }
    }

    fn is_too_long(&self) -> bool {
        matches!(self, Self::Those(condition) if condition.joins() >= MOST_FILTERS)
    }

    fn into_condition(self) -> Option<Condition> {
        match self {
            Self::All => None,
            Self::Those(condition) => Some(condition),
        }
    }
}

/// What comes of one source: its raw records, its normalized events, or (by mistake) both.
#[derive(Clone, Debug, Default)]
struct Arrival {
    raw: Option<Passing>,
    normalized: Option<Passing>,
}

impl Arrival {
    fn add(&mut self, other: &Self) {
        for (mine, other) in [(&mut self.raw, &other.raw), (&mut self.normalized, &other.normalized)] {
            *mine = match (mine.take(), other) {
                (Some(mine), Some(other)) => Some(mine.or(other)),
                (mine, other) => mine.or_else(|| other.clone()),
            };
        }
    }
}

/// What comes to a reader, or out of a component, by source.
type Arrivals<'c> = BTreeMap<&'c str, Arrival>;

/// What comes to each reader. Made for a graph without cycles.
pub(super) struct Ways<'g, 'c, 't> {
    graph: &'g Graph<'c, 't>,
    filters: &'g Filters<'g>,
    /// What comes out of each source and transform that was looked at.
    known: BTreeMap<&'c str, Arrivals<'c>>,
}

impl<'g, 'c, 't> Ways<'g, 'c, 't> {
    pub(super) fn new(graph: &'g Graph<'c, 't>, filters: &'g Filters<'g>) -> Self {
        Self { graph, filters, known: BTreeMap::new() }
    }

    /// What a sink gets. A source that comes in two forms is a mistake.
    pub(super) fn routes(&mut self, sink: &Component<'_>, findings: &mut Findings) -> Vec<Route> {
        let mut routes = Vec::new();
        for (source, arrival) in self.arriving(sink.name) {
            if arrival.raw.is_some() && arrival.normalized.is_some() {
                findings.push(self.two_forms(sink, source));
            }
            let (form, passing) = match (arrival.raw, arrival.normalized) {
                (Some(passing), _) => (EventForm::Raw, passing),
                (None, Some(passing)) => (EventForm::Normalized, passing),
                (None, None) => continue,
            };
            if passing.is_too_long() {
                findings.push(self.too_long(sink, source));
            }
            routes.push(Route { source: source.to_owned(), form, condition: passing.into_condition() });
        }
        routes
    }

    /// Reports filters that get raw records.
    pub(super) fn report_raw_filters(&mut self, findings: &mut Findings) {
        let graph = self.graph;
        let filters = graph.components.values().filter(|component| component.type_name == Some(FILTER));
        for filter in filters {
            for (upstream, input) in graph.edges.get(filter.name).into_iter().flatten() {
                let arrivals = self.coming_out(upstream);
                let raw = arrivals.iter().find(|(_, arrival)| arrival.raw.is_some());
                if let Some((source, _)) = raw {
                    findings.push(raw_records(filter, source, input));
                }
            }
        }
    }

    /// What comes to a reader.
    fn arriving(&mut self, reader: &str) -> Arrivals<'c> {
        let graph = self.graph;
        let mut arrivals = Arrivals::new();
        for (upstream, _) in graph.edges.get(reader).into_iter().flatten() {
            for (source, arrival) in self.coming_out(upstream) {
                arrivals.entry(source).or_default().add(&arrival);
            }
        }
        arrivals
    }

    /// What comes out of a source or transform. One of an unknown type lets everything through.
    fn coming_out(&mut self, name: &'c str) -> Arrivals<'c> {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let Some(component) = self.graph.components.get(name).copied() else { return Arrivals::new() };
        let arrivals = match component.kind {
            Kind::Source => Arrivals::from([(name, Arrival { raw: Some(Passing::All), normalized: None })]),
            _ => self.transformed(component),
        };
        self.known.insert(name, arrivals.clone());
        arrivals
    }

    fn transformed(&mut self, transform: &Component<'_>) -> Arrivals<'c> {
        let mut arrivals = self.arriving(transform.name);
        match transform.type_name {
            Some(NORMALIZE) => arrivals.values_mut().for_each(|arrival| {
                let raw = Arrival { raw: None, normalized: arrival.raw.take() };
                arrival.add(&raw);
            }),
            Some(FILTER) => {
                // Raw records do not pass: that they come here is reported.
                arrivals.values_mut().for_each(|arrival| arrival.raw = None);
                let Some(condition) = self.filters.get(transform.name) else { return arrivals };
                arrivals.values_mut().for_each(|arrival| {
                    arrival.normalized = arrival.normalized.take().map(|passing| passing.and(condition));
                });
            }
            _ => {}
        }
        arrivals
    }

    fn two_forms(&self, sink: &Component<'_>, source: &str) -> Finding {
        let message = format!("sink `{}` gets source `{source}` twice: normalized and as raw records", sink.name);
        let hint = "take either the source or the `normalize` transform out of its inputs, or use two sinks";
        self.at_inputs(sink, message, hint)
    }

    fn too_long(&self, sink: &Component<'_>, source: &str) -> Finding {
        let message = format!("the filters between source `{source}` and sink `{}` are too many", sink.name);
        self.at_inputs(sink, message, "let fewer filters read each other, or join their conditions in one filter")
    }

    fn at_inputs(&self, sink: &Component<'_>, message: String, hint: &str) -> Finding {
        let written = self.graph.edges.get(sink.name).into_iter().flatten().map(|(_, input)| *input).next();
        match written {
            Some(input) => Finding::error(Some(input.place), input.list_key(), message, hint),
            None => Finding::error(Some(sink.place), &sink.path, message, hint),
        }
    }
}

fn raw_records(filter: &Component<'_>, source: &str, input: &InputAsWritten) -> Finding {
    let message =
        format!("filter `{}` gets raw records of source `{source}`, which have no fields to ask of", filter.name);
    input.error(message, "put a transform of `type: normalize` between them, and name it here")
}
