//! From the tree to the checked plan. Pure: touches neither the network nor the disk.
//!
//! ```text
//! text -> tree -> variables -> settings
//!                           -> components -> sources, transforms, sinks -> routes -> Pipeline
//!                 every step adds what it finds wrong to one list and goes on as far as it can
//! ```

use std::path::Path;

use super::definition::{self, Component, Kind};
use super::environment::Environment;
use super::graph::{Graph, Inputs};
use super::node::{Node, Value};
use super::path::KeyPath;
use super::plan::{Pipeline, SinkPlan};
use super::problem::{Finding, Findings, Problem};
use super::settings::{self, Overrides, Settings};
use super::sinks::{self, Sinks};
use super::sources::{self, CheckedSource};
use super::transforms::Filters;
use super::ways::Ways;
use super::{component, interpolate, suggest, transforms, yaml};

/// Checks the text of a pipeline file.
///
/// `name` is how the file is called in messages; `folder` is the one that relative secret files are in.
///
/// # Errors
/// Every problem of the file, warnings included, in the order of the file.
pub fn check(
    name: &str,
    text: &str,
    folder: &Path,
    environment: &Environment,
    overrides: &Overrides,
) -> Result<Pipeline, Vec<Problem>> {
    let mut findings = Findings::default();
    let pipeline = plan(name, text, folder, environment, overrides, &mut findings);
    let problems = findings.into_problems(name, text);
    match pipeline {
        Some(pipeline) if !problems.iter().any(Problem::is_error) => Ok(Pipeline { warnings: problems, ..pipeline }),
        _ => Err(problems),
    }
}

fn plan(
    name: &str,
    text: &str,
    folder: &Path,
    environment: &Environment,
    overrides: &Overrides,
    findings: &mut Findings,
) -> Option<Pipeline> {
    let mut root = yaml::read(text, findings)?;
    interpolate::interpolate(&mut root, &KeyPath::default(), environment, findings);
    if !check_top_level(&root, findings) {
        return None;
    }
    let settings = settings::read(name, &root, environment, overrides, findings);
    let components = definition::components(&root, findings);
    let checked = check_components(&components, text, folder, findings);
    sinks::report_shared_places(&components, &checked.sinks, findings);
    check_key_retention(&settings, &checked.sources, &root, findings);
    let sinks = route(&components, &checked.inputs, &checked.filters, checked.sinks, findings);
    let sources = checked.sources.into_iter().map(CheckedSource::into_plan).collect::<Option<Vec<_>>>()?;
    let transforms = components.iter().filter(|component| component.kind == Kind::Transform).count();
    let name = Path::new(name).file_stem().map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned());
    Some(Pipeline { name, settings, sources, sinks, transforms, warnings: Vec::new() })
}

/// Whether the file is a map at all; reports the keys that no one knows.
fn check_top_level(root: &Node, findings: &mut Findings) -> bool {
    if !matches!(root.value, Value::Map(_)) && !root.is_nothing() {
        let hint = "a pipeline file begins with keys such as `sources:` and `sinks:`";
        let finding = Finding::error(Some(root.place), "", "this is not a pipeline", hint);
        findings.push(finding.without_token());
        return false;
    }
    let mut known: Vec<&str> = Kind::ALL.map(Kind::section).to_vec();
    known.extend(Settings::NAMES);
    for entry in root.entries().iter().filter(|entry| !known.contains(&entry.key.as_str())) {
        let message = format!("unknown setting `{}`", entry.key);
        findings.push(Finding::error(Some(entry.place), &entry.key, message, suggest::hint(&entry.key, &known)));
    }
    true
}

#[derive(Default)]
struct Checked<'c, 't> {
    sources: Vec<CheckedSource>,
    filters: Filters<'t>,
    sinks: Sinks<'t>,
    inputs: Inputs<'c, 't>,
}

fn check_components<'c, 't>(
    components: &'c [Component<'t>],
    text: &str,
    folder: &Path,
    findings: &mut Findings,
) -> Checked<'c, 't> {
    let mut checked = Checked::default();
    for component in components {
        match component.kind {
            Kind::Source => checked.sources.push(sources::check(component, folder, findings)),
            Kind::Transform => {
                let condition = transforms::check(component, text, findings);
                checked.filters.extend(condition.map(|condition| (component.name, condition)));
            }
            Kind::Sink => {
                let sink = sinks::check(component, folder, findings);
                checked.sinks.extend(sink.map(|sink| (component.name, sink)));
            }
        }
        if component.kind != Kind::Source {
            checked.inputs.push((component, component::inputs(component, findings)));
        }
    }
    checked
}

/// Records are known again by their keys; keys that are forgotten while the source still reads that time again would
/// bring every event twice.
fn check_key_retention(settings: &Settings, sources: &[CheckedSource], root: &Node, findings: &mut Findings) {
    let kept = settings.journal.key_retention;
    for source in sources {
        let Some(looked_back) = source.looks_back().filter(|looked_back| *looked_back > kept) else { continue };
        let message =
            format!("key_retention is {kept}, but source `{}` reads the last {looked_back} again", source.name);
        let place = root.entry_at("journal.key_retention").map(|entry| entry.value.place);
        let hint = format!("set it to {looked_back} or more, or events would come twice");
        findings.push(Finding::error(place, "journal.key_retention", message, hint));
    }
}

fn route<'c, 't>(
    components: &'c [Component<'t>],
    inputs: &'c Inputs<'c, 't>,
    filters: &Filters<'_>,
    mut checked: Sinks<'_>,
    findings: &mut Findings,
) -> Vec<SinkPlan> {
    let found_before = findings.len();
    let mut graph = Graph::new(components, inputs, findings);
    graph.cut_cycles(findings);
    // With a broken input, or one of a component whose name is taken, something is unread only as a consequence.
    let is_whole = |(reader, written): &(&Component<'_>, Vec<_>)| graph.holds_its_name(reader) && !written.is_empty();
    if findings.len() == found_before && inputs.iter().all(is_whole) {
        graph.warn_of_unread(findings);
    }
    let mut ways = Ways::new(&graph, filters);
    ways.report_raw_filters(findings);
    let is_sink = |component: &&Component<'_>| component.kind == Kind::Sink && graph.holds_its_name(component);
    let mut plans = Vec::new();
    for component in components.iter().filter(is_sink) {
        let routes = ways.routes(component, findings);
        plans.extend(checked.remove(component.name).map(|sink| sink.into_plan(component.name, routes)));
    }
    plans
}
