//! From the text of a pipeline file to the validated pipeline.
//!
//! ```text
//! text -> tree -> variables -> settings
//!                           -> components -> sources, transforms, sinks -> routes -> ValidatedPipeline
//!                 each step adds its diagnostics to one list and continues as far as it can
//! ```
//!
//! Nothing opens a connection or changes anything. All relative paths start in the directory of the pipeline file, so that a
//! pipeline has one data directory and one set of outputs, wherever it is started.

use std::path::Path;

use super::component::{self, Component, Section};
use super::fan_out;
use super::graph::{Graph, Inputs};
use super::own_paths;
use super::routes::RouteFinder;
use super::sinks::{self, Sinks};
use super::sources::{self, CheckedSource};
use super::transforms::{self, Effect, Effects};
use super::unit_tests;
use super::validated::{ComponentKind, ValidatedPipeline, ValidatedSink, WiredComponent};
use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::environment::{Environment, interpolate};
use crate::config::node::{Node, Value};
use crate::config::settings::{self, Overrides, Settings};
use crate::config::unit_test::{self, UnitTest};
use crate::config::{suggest, yaml};
use crate::deliver::Route;
use crate::sinks::EventForm;
use crate::sinks::claims::OwnPath;

/// Reads and validates a pipeline file.
///
/// # Errors
/// All diagnostics of the file, warnings included; one diagnostic if the file cannot be read.
pub fn load(
    path: &Path,
    environment: &Environment,
    overrides: &Overrides,
) -> Result<ValidatedPipeline, Vec<Diagnostic>> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let message = format!("cannot read the file: {error}");
        let hint = "check the path and its permissions, and that the file is UTF-8 text".to_owned();
        vec![Diagnostic::of_file(&name, message, hint)]
    })?;
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    validate_file((&name, Some(path)), &text, directory, environment, overrides)
}

/// Validates the text of a pipeline file.
///
/// `name` is the name of the file in diagnostics. Relative paths start in `directory`.
///
/// # Errors
/// All diagnostics of the file, warnings included, in the order of the file.
pub fn validate(
    name: &str,
    text: &str,
    directory: &Path,
    environment: &Environment,
    overrides: &Overrides,
) -> Result<ValidatedPipeline, Vec<Diagnostic>> {
    validate_file((name, None), text, directory, environment, overrides)
}

fn validate_file(
    (name, file): (&str, Option<&Path>),
    text: &str,
    directory: &Path,
    environment: &Environment,
    overrides: &Overrides,
) -> Result<ValidatedPipeline, Vec<Diagnostic>> {
    let mut diagnostics = Diagnostics::default();
    let pipeline = build((name, file), text, directory, environment, overrides, &mut diagnostics);
    let resolved = diagnostics.resolve(name, text);
    match pipeline {
        Some(pipeline) if !resolved.iter().any(Diagnostic::is_error) => {
            Ok(ValidatedPipeline { warnings: resolved, ..pipeline })
        }
        _ => Err(resolved),
    }
}

fn build(
    (name, file): (&str, Option<&Path>),
    text: &str,
    directory: &Path,
    environment: &Environment,
    overrides: &Overrides,
    diagnostics: &mut Diagnostics,
) -> Option<ValidatedPipeline> {
    let mut root = yaml::read(text, diagnostics)?;
    // Records of tests may contain `${`.
    let tests = root.take(unit_test::SECTION);
    interpolate(&mut root, Settings::NAMES, environment, diagnostics);
    if !check_top_level(&root, diagnostics) {
        return None;
    }
    let mut settings = settings::read(name, &root, environment, overrides, diagnostics);
    settings.data_dir = directory.join(&settings.data_dir);
    fan_out::fan_out(&mut root);
    let components = component::components(&root, diagnostics);
    let checked = check_components(&components, text, directory, diagnostics);
    sinks::report_conflicting_targets(&components, &checked.sinks, diagnostics);
    let mut own_paths = own_paths::of_process(&settings, file);
    own_paths.extend(checked.sources.iter().flat_map(|source| source.secret_files.iter().cloned()));
    own_paths.extend(checked.secret_files);
    own_paths.extend(checked.sinks.values().flat_map(|sink| sink.secret_files.iter().cloned()));
    sinks::report_own_paths(&components, &checked.sinks, &own_paths, diagnostics);
    check_key_retention(&settings, &checked.sources, &root, diagnostics);
    components.iter().for_each(|component| component::warn_of_literal_secrets(component, diagnostics));
    let (sinks, wired) = route(&components, &checked.inputs, &checked.effects, checked.sinks, diagnostics);
    let sources = checked.sources.into_iter().map(CheckedSource::into_validated).collect::<Option<Vec<_>>>()?;
    let tests = check_tests(tests.as_ref(), &wired, (name, text));
    let name = Path::new(name).file_stem().map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned());
    Some(ValidatedPipeline {
        name,
        settings,
        sources,
        sinks,
        components: wired,
        own_paths,
        tests,
        warnings: Vec::new(),
    })
}

fn check_tests(
    tests: Option<&Node>,
    components: &[WiredComponent],
    (name, text): (&str, &str),
) -> Result<Vec<UnitTest>, Vec<Diagnostic>> {
    let mut diagnostics = Diagnostics::default();
    let tests = tests.map(|node| unit_tests::read(node, components, &mut diagnostics)).unwrap_or_default();
    let found = diagnostics.resolve(name, text);
    if found.is_empty() { Ok(tests) } else { Err(found) }
}

/// Whether the file is a map. Reports unknown keys.
fn check_top_level(root: &Node, diagnostics: &mut Diagnostics) -> bool {
    if !matches!(root.value, Value::Map(_)) && !root.is_null() {
        let hint = "a pipeline file has keys such as `sources:` and `sinks:`";
        let diagnostic = Diagnostic::error(Some(root.span), "", "this is not a pipeline file", hint);
        diagnostics.push(diagnostic.without_token());
        return false;
    }
    let mut known: Vec<&str> = Section::ALL.map(Section::key).to_vec();
    known.extend(Settings::NAMES);
    known.push(unit_test::SECTION);
    for entry in root.entries().iter().filter(|entry| !known.contains(&entry.key.as_str())) {
        let message = format!("unknown setting `{}`", entry.key);
        diagnostics.push(Diagnostic::error(Some(entry.span), &entry.key, message, suggest::hint(&entry.key, &known)));
    }
    true
}

#[derive(Default)]
struct Checked<'c, 't> {
    sources: Vec<CheckedSource>,
    effects: Effects<'t>,
    /// The files of secrets of transforms.
    secret_files: Vec<OwnPath>,
    sinks: Sinks<'t>,
    inputs: Inputs<'c, 't>,
}

fn check_components<'c, 't>(
    components: &'c [Component<'t>],
    text: &str,
    directory: &Path,
    diagnostics: &mut Diagnostics,
) -> Checked<'c, 't> {
    let mut checked = Checked::default();
    for component in components {
        match component.section {
            Section::Source => checked.sources.push(sources::check(component, directory, diagnostics)),
            Section::Transform => {
                let files = &mut checked.secret_files;
                let effect = transforms::check(component, (text, directory), files, diagnostics);
                checked.effects.extend(effect.map(|effect| (component.name, effect)));
            }
            Section::Sink => {
                let sink = sinks::check(component, directory, diagnostics);
                checked.sinks.extend(sink.map(|sink| (component.name, sink)));
            }
        }
        if component.section != Section::Source {
            checked.inputs.push((component, component::inputs(component, diagnostics)));
        }
    }
    checked
}

/// Records are deduplicated by their keys. If a source reads a time again after its keys were dropped, its events would be
/// delivered twice.
fn check_key_retention(settings: &Settings, sources: &[CheckedSource], root: &Node, diagnostics: &mut Diagnostics) {
    let kept = settings.journal.key_retention;
    for source in sources {
        let Some(lookback) = source.lookback().filter(|lookback| *lookback > kept) else { continue };
        let message = format!("key_retention is {kept}, but source `{}` reads the last {lookback} again", source.name);
        let span = root.entry_at("journal.key_retention").map(|entry| entry.value.span);
        let hint = format!("set it to {lookback} or more; otherwise events are delivered twice");
        diagnostics.push(Diagnostic::error(span, "journal.key_retention", message, hint));
    }
}

fn route<'c, 't>(
    components: &'c [Component<'t>],
    inputs: &'c Inputs<'c, 't>,
    effects: &Effects<'_>,
    mut checked: Sinks<'_>,
    diagnostics: &mut Diagnostics,
) -> (Vec<ValidatedSink>, Vec<WiredComponent>) {
    let count_before = diagnostics.len();
    let mut graph = Graph::new(components, inputs, diagnostics);
    graph.remove_cycles(diagnostics);
    // A wrong input or a duplicate name makes components unused as a consequence.
    let is_complete = |(reader, written): &(&Component<'_>, Vec<_>)| graph.owns_its_name(reader) && !written.is_empty();
    if diagnostics.len() == count_before && inputs.iter().all(is_complete) {
        graph.warn_of_unused(diagnostics);
    }
    let mut finder = RouteFinder::new(&graph, effects);
    finder.report_raw_filters(diagnostics);
    let is_sink = |component: &&Component<'_>| component.section == Section::Sink && graph.owns_its_name(component);
    let mut validated = Vec::new();
    for component in components.iter().filter(is_sink) {
        let routes = finder.routes(component, diagnostics);
        warn_of_raw_records(component, &routes, diagnostics);
        validated.extend(checked.remove(component.name).map(|sink| sink.into_validated(component.name, routes)));
    }
    let wired =
        components.iter().map(|component| wired(component, &graph, effects, finder.passing(component))).collect();
    (validated, wired)
}

fn wired(
    component: &Component<'_>,
    graph: &Graph<'_, '_>,
    effects: &Effects<'_>,
    routes: Vec<Route>,
) -> WiredComponent {
    let inputs = graph.edges.get(component.name).into_iter().flatten();
    WiredComponent {
        name: component.name.to_owned(),
        kind: match component.section {
            Section::Source => ComponentKind::Source,
            Section::Transform => ComponentKind::Transform,
            Section::Sink => ComponentKind::Sink,
        },
        type_name: component.type_name.unwrap_or_default().to_owned(),
        condition: match effects.get(component.name) {
            Some(Effect::Filter(condition)) => Some(condition.as_str().to_owned()),
            _ => None,
        },
        inputs: inputs.map(|(upstream, _)| (*upstream).to_owned()).collect(),
        routes,
    }
}

/// Settings of events have no effect on a vendor's raw records.
fn warn_of_raw_records(sink: &Component<'_>, routes: &[Route], diagnostics: &mut Diagnostics) {
    let Some(entry) = sink.node.entry("encoding").filter(|entry| !entry.value.is_null()) else { return };
    let Some(raw) = routes.iter().find(|route| route.form == EventForm::Raw) else { return };
    let message = format!(
        "`encoding` does not apply to source `{}`: sink `{}` gets its raw records, since no `normalize` is between them",
        raw.source, sink.name
    );
    let hint = "read a transform of `type: normalize` instead of the source, or remove `encoding`";
    let key = sink.path.key("encoding");
    diagnostics.push(Diagnostic::warning(Some(entry.span), &key, message, hint).without_token());
}
