//! From the texts of the files of a pipeline to the validated pipeline.
//!
//! ```text
//! text -> tree -> variables --+
//! text -> tree -> variables --+-> merge -> settings
//!                                       -> components -> sources, transforms, sinks -> routes -> ValidatedPipeline
//!                 each step adds its diagnostics to one list and continues as far as it can
//! ```
//!
//! Nothing opens a connection or changes anything. A relative path starts in the directory of its pipeline file, so that a
//! pipeline has one data directory and one set of outputs, wherever it is started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::component::{self, Component, Section};
use super::fan_out;
use super::files::{FileDigests, PipelineFiles, ReadFiles};
use super::graph::{Graph, Inputs};
use super::merge::merge;
use super::own_paths;
use super::routes::RouteFinder;
use super::sinks::{self, Sinks};
use super::sources::{self, CheckedSource};
use super::sources_from;
use super::transforms::{self, Effect, Effects};
use super::unit_tests;
use super::validated::{ComponentKind, ValidatedPipeline, ValidatedSink, WiredComponent};
use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::environment::{Environment, interpolate};
use crate::config::node::{Node, Value};
use crate::config::settings::{self, Overrides, Settings};
use crate::config::source_list::SOURCES_FROM;
use crate::config::unit_test::{self, UnitTest};
use crate::config::{suggest, yaml};
use crate::deliver::Route;
use crate::shard::{ShardCount, ShardSelection};
use crate::sinks::EventForm;
use crate::sinks::claims::OwnPath;

/// Reads and validates the files of a pipeline.
///
/// # Errors
/// All diagnostics of all files, warnings included; those of files that cannot be read alone if there are some.
pub fn load(
    files: &PipelineFiles,
    environment: &Environment,
    overrides: &Overrides,
) -> Result<ValidatedPipeline, Vec<Diagnostic>> {
    load_with_digests(files, environment, overrides).0
}

/// The same, with the hashes of all files that were read, whether they are valid or not.
pub(crate) fn load_with_digests(
    files: &PipelineFiles,
    environment: &Environment,
    overrides: &Overrides,
) -> (Result<ValidatedPipeline, Vec<Diagnostic>>, FileDigests) {
    let expanded = match files.expanded() {
        Ok(expanded) => expanded,
        Err(errors) => return (Err(errors), FileDigests::new()),
    };
    let mut loader = Loader::new(environment, overrides);
    let roots = expanded.iter().map(|file| loader.read_file(file)).collect();
    loader.are_several = files.are_several();
    let pipeline = loader.pipeline(roots, &files.name(), &files.directory());
    (resolved(pipeline, loader.diagnostics, &files.to_string()), loader.read.digests)
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
    let mut loader = Loader::new(environment, overrides);
    let file = loader.read.add(name, text, directory, &mut loader.diagnostics);
    let root = loader.root(file);
    let stem = Path::new(name).file_stem().map_or_else(|| name.into(), |stem| stem.to_string_lossy());
    let pipeline = loader.pipeline(vec![root], &stem, directory);
    resolved(pipeline, loader.diagnostics, name)
}

fn resolved(
    pipeline: Option<ValidatedPipeline>,
    diagnostics: Diagnostics,
    name: &str,
) -> Result<ValidatedPipeline, Vec<Diagnostic>> {
    let resolved = diagnostics.resolve(name);
    match pipeline {
        Some(pipeline) if !resolved.iter().any(Diagnostic::is_error) => {
            Ok(ValidatedPipeline { warnings: resolved, ..pipeline })
        }
        _ => Err(resolved),
    }
}

struct Loader<'l> {
    environment: &'l Environment,
    overrides: &'l Overrides,
    read: ReadFiles,
    diagnostics: Diagnostics,
    /// Whether the order of the files is no more than that of arguments.
    are_several: bool,
    /// The tests of each file that has some.
    tests: Vec<Node>,
}

impl<'l> Loader<'l> {
    fn new(environment: &'l Environment, overrides: &'l Overrides) -> Self {
        let (read, diagnostics) = (ReadFiles::default(), Diagnostics::default());
        Self { environment, overrides, read, diagnostics, are_several: false, tests: Vec::new() }
    }

    /// The tree of a pipeline file; `None` if there is none, which is reported.
    fn read_file(&mut self, path: &Path) -> Option<Node> {
        match self.read.read(path, "the pipeline file", &mut self.diagnostics) {
            Ok(file) => self.root(file),
            Err(error) => {
                let message = format!("cannot read the file: {error}");
                let hint = "check the path and its permissions, and that the file is UTF-8 text".to_owned();
                self.diagnostics.push(Diagnostic::of_file(&path.display().to_string(), message, hint));
                None
            }
        }
    }

    fn root(&mut self, file: usize) -> Option<Node> {
        let mut root = yaml::read(file, &mut self.diagnostics)?;
        // Records of tests may contain `${`.
        self.tests.extend(root.take(unit_test::SECTION));
        interpolate(&mut root, Settings::NAMES, self.environment, &mut self.diagnostics);
        check_top_level(&root, &mut self.diagnostics).then_some(root)
    }

    /// The pipeline of all files, if each of them has a tree. Without a path of their own, things are in `directory`.
    fn pipeline(&mut self, roots: Vec<Option<Node>>, name: &str, directory: &Path) -> Option<ValidatedPipeline> {
        let roots = roots.into_iter().collect::<Option<Vec<_>>>()?;
        let (read, diagnostics) = (&mut self.read, &mut self.diagnostics);
        let mut root = merge(roots, read, diagnostics);
        sources_from::expand(&mut root, read, self.environment, diagnostics);
        let mut settings = settings::read(&root, self.environment, self.overrides, diagnostics);
        let name = self.name(&root, &settings, name);
        settings.name = Some(name.clone());
        settings.data_dir = self.data_dir(&root, directory).join(&settings.data_dir);
        let (read, diagnostics) = (&self.read, &mut self.diagnostics);
        fan_out::fan_out(&mut root);
        let components = component::components(&root, diagnostics);
        let checked = check_components(&components, settings.shards, read, diagnostics);
        sinks::report_conflicting_targets(&components, &checked.sinks, diagnostics);
        let mut own_paths = own_paths::of_process(&settings, read);
        own_paths.extend(checked.sources.iter().flat_map(|source| source.secret_files.iter().cloned()));
        own_paths.extend(checked.secret_files);
        own_paths.extend(checked.sinks.values().flat_map(|sink| sink.secret_files.iter().cloned()));
        sinks::report_own_paths(&components, &checked.sinks, &own_paths, diagnostics);
        check_key_retention(&settings, &checked.sources, &root, diagnostics);
        components.iter().for_each(|component| component::warn_of_literal_secrets(component, diagnostics));
        if root.entry(Section::Source.key()).is_some_and(|sources| diagnostics.is_dropped(sources.value.id)) {
            // Not all sources are known: inputs could only be reported as a consequence.
            return None;
        }
        let (sinks, wired) = route(&components, &checked.inputs, &checked.effects, checked.sinks, diagnostics);
        let sources = checked.sources.into_iter().map(CheckedSource::into_validated).collect::<Option<Vec<_>>>()?;
        let tests = self.tests(&name, &wired);
        let mut pipeline = ValidatedPipeline {
            name,
            settings,
            sources,
            sinks,
            components: wired,
            own_paths,
            tests,
            shards: Vec::new(),
            shards_of_sources: BTreeMap::new(),
            selection: ShardSelection::All,
            shard: None,
            warnings: Vec::new(),
        };
        pipeline.assign_shards();
        Some(pipeline)
    }

    /// The tests of all files. Their mistakes are apart from those of the pipeline, which runs in spite of them.
    fn tests(&self, name: &str, components: &[WiredComponent]) -> Result<Vec<UnitTest>, Vec<Diagnostic>> {
        let (mut diagnostics, mut tests) = (self.diagnostics.of_same_files(), Vec::new());
        for node in &self.tests {
            let directory = self.read.directory(node.span);
            tests.extend(unit_tests::read(node, directory, components, &mut diagnostics));
        }
        let found = diagnostics.resolve(name);
        if found.is_empty() { Ok(tests) } else { Err(found) }
    }

    /// The pipeline's name. Outputs and the broker know it, so several files must say what it is: the first of them is another one as
    /// soon as somebody adds a file or writes them in another order. The same holds for where its journal is.
    fn name(&mut self, root: &Node, settings: &Settings, default: &str) -> String {
        let is_placed =
            root.entry("data_dir").is_some() || Settings::data_dir_is_overridden(self.environment, self.overrides);
        for (setting, is_set, example) in
            [("name", settings.name.is_some(), "name: acme"), ("data_dir", is_placed, "data_dir: ./data")]
        {
            if self.are_several && !is_set {
                let message = format!("a pipeline of several files and directories needs `{setting}`");
                let hint =
                    format!("add a line such as `{example}` to one of the files: it must not depend on their order");
                self.diagnostics.push(Diagnostic::error(None, setting, message, hint));
            }
        }
        if let Some(entry) = root.entry("name").filter(|_| settings.name.as_deref() == Some("")) {
            let hint = "write a name such as acme, or remove the line";
            self.diagnostics.push(Diagnostic::error(Some(entry.value.span), "name", "the name is empty", hint));
        }
        settings.name.as_deref().unwrap_or(default).to_owned()
    }

    /// Where a relative data directory starts: beside the file that sets it.
    fn data_dir(&self, root: &Node, directory: &Path) -> PathBuf {
        match root.entry("data_dir") {
            Some(entry) if !Settings::data_dir_is_overridden(self.environment, self.overrides) => {
                self.read.directory(entry.value.span).to_owned()
            }
            _ => directory.to_owned(),
        }
    }
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
    known.push(SOURCES_FROM);
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
    shards: Option<ShardCount>,
    read: &ReadFiles,
    diagnostics: &mut Diagnostics,
) -> Checked<'c, 't> {
    let mut checked = Checked::default();
    for component in components {
        let directory = read.directory(component.node.span);
        match component.section {
            Section::Source => checked.sources.push(sources::check(component, directory, diagnostics)),
            Section::Transform => {
                let effect = transforms::check(component, directory, &mut checked.secret_files, diagnostics);
                checked.effects.extend(effect.map(|effect| (component.name, effect)));
            }
            Section::Sink => {
                let sink = sinks::check(component, directory, shards, diagnostics);
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
