//! The graph of components: which component reads which.
//!
//! ```text
//! inputs as written (names, patterns) --resolve--> edges --routes.rs--> routes (source, form, condition)
//!                            unknown names, patterns without a match; cycles; unused components
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::component::{Component, Input, Section};
use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::suggest;

/// The inputs of each transform and sink as written, in the order of the file. Names may be duplicates.
pub(super) type Inputs<'c, 't> = Vec<(&'c Component<'t>, Vec<Input>)>;

/// The components and their edges.
pub(super) struct Graph<'c, 't> {
    /// By name; of components with the same name, the first.
    pub(super) components: BTreeMap<&'c str, &'c Component<'t>>,
    /// For each reader, the components that it reads, with the input as written.
    pub(super) edges: BTreeMap<&'c str, Vec<(&'c str, &'c Input)>>,
}

impl<'c, 't> Graph<'c, 't> {
    /// Resolves all inputs. Errors go to `diagnostics`.
    pub(super) fn new(
        components: &'c [Component<'t>],
        inputs: &'c Inputs<'c, 't>,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut graph = Self { components: BTreeMap::new(), edges: BTreeMap::new() };
        for component in components {
            graph.components.entry(component.name).or_insert(component);
        }
        for (reader, written) in inputs {
            let edges = written.iter().flat_map(|input| graph.resolve(reader.name, input, diagnostics)).collect();
            if graph.owns_its_name(reader) {
                graph.edges.insert(reader.name, edges);
            }
        }
        graph
    }

    /// Whether its name refers to it, and not to an earlier component of the same name.
    pub(super) fn owns_its_name(&self, component: &Component<'_>) -> bool {
        self.components.get(component.name).is_some_and(|owner| owner.section == component.section)
    }

    fn resolve(&self, reader: &str, input: &'c Input, diagnostics: &mut Diagnostics) -> Vec<(&'c str, &'c Input)> {
        if input.text.contains(['*', '?']) {
            return self.resolve_glob(reader, input, diagnostics);
        }
        match self.components.get_key_value(input.text.as_str()) {
            Some((name, component)) if component.section != Section::Sink => vec![(*name, input)],
            Some(_) => {
                let message = format!("`{}` is a sink; a sink cannot be an input", input.shown);
                diagnostics.push(input.error(message, "name a source or a transform"));
                Vec::new()
            }
            None => {
                let message = format!("there is no source or transform called `{}`", input.shown);
                let names: Vec<_> = self.readable().filter(|name| *name != reader).collect();
                diagnostics.push(input.error(message, suggest::hint(&input.text, &names)));
                Vec::new()
            }
        }
    }

    fn resolve_glob(&self, reader: &str, input: &'c Input, diagnostics: &mut Diagnostics) -> Vec<(&'c str, &'c Input)> {
        let matching = self.readable().filter(|name| *name != reader && glob_matches(&input.text, name));
        let edges: Vec<_> = matching.map(|name| (name, input)).collect();
        if edges.is_empty() {
            let message = format!("no source or transform matches `{}`", input.shown);
            let names: Vec<_> = self.readable().filter(|name| *name != reader).collect();
            diagnostics.push(input.error(message, suggest::hint("", &names)));
        }
        edges
    }

    /// The names of all components that can be an input.
    fn readable(&self) -> impl Iterator<Item = &'c str> {
        self.components.iter().filter(|(_, component)| component.section != Section::Sink).map(|(name, _)| *name)
    }

    /// Reports each cycle at the input that closes it, and removes that input so that the other checks can continue.
    pub(super) fn remove_cycles(&mut self, diagnostics: &mut Diagnostics) {
        let mut search = CycleSearch { edges: &self.edges, done: BTreeSet::new(), closing: Vec::new() };
        for name in self.edges.keys().copied() {
            search.follow(name, &mut Vec::new(), diagnostics);
        }
        for (reader, closing) in search.closing {
            let edges = self.edges.get_mut(reader).into_iter();
            edges.for_each(|edges| edges.retain(|(upstream, _)| *upstream != closing));
        }
    }

    /// Warns of sources and transforms whose events reach no sink.
    pub(super) fn warn_of_unused(&self, diagnostics: &mut Diagnostics) {
        let mut read = BTreeSet::new();
        for (name, component) in &self.components {
            if component.section == Section::Sink {
                self.mark_upstream(name, &mut read);
            }
        }
        for (name, component) in &self.components {
            if component.section != Section::Sink && !read.contains(name) {
                diagnostics.push(unused(component));
            }
        }
    }

    fn mark_upstream(&self, reader: &str, read: &mut BTreeSet<&'c str>) {
        for (upstream, _) in self.edges.get(reader).into_iter().flatten() {
            if read.insert(upstream) {
                self.mark_upstream(upstream, read);
            }
        }
    }
}

/// A depth-first search for cycles.
struct CycleSearch<'g, 'c> {
    edges: &'g BTreeMap<&'c str, Vec<(&'c str, &'c Input)>>,
    done: BTreeSet<&'c str>,
    /// The edges that close a cycle: a reader, and its input.
    closing: Vec<(&'c str, &'c str)>,
}

impl<'c> CycleSearch<'_, 'c> {
    fn follow(&mut self, name: &'c str, path: &mut Vec<&'c str>, diagnostics: &mut Diagnostics) {
        path.push(name);
        let edges = self.edges;
        for (upstream, input) in edges.get(name).into_iter().flatten() {
            if let Some(start) = path.iter().position(|on_path| on_path == upstream) {
                diagnostics.push(cycle(&path[start..], input));
                self.closing.push((name, upstream));
            } else if !self.done.contains(upstream) {
                self.follow(upstream, path, diagnostics);
            }
        }
        path.pop();
        self.done.insert(name);
    }
}

fn cycle(names: &[&str], input: &Input) -> Diagnostic {
    // Edges point upstream; events flow the other way.
    let mut path: Vec<_> = names.iter().rev().copied().collect();
    path.extend(names.last());
    let message = format!("the inputs form a cycle: {}", path.join(" -> "));
    input.error(message, "remove one of these inputs")
}

fn unused(component: &Component<'_>) -> Diagnostic {
    let (noun, name) = (component.section.noun(), component.name);
    let message = match component.section {
        Section::Source => format!("no sink reads source `{name}`: its events are collected but not delivered"),
        _ => format!("no sink reads {noun} `{name}`"),
    };
    let hint = format!("add `{name}` to the inputs of a sink, or remove the {noun}");
    Diagnostic::warning(Some(component.span), &component.path, message, hint)
}

/// Whether a name matches a pattern: `*` matches any characters, `?` matches one.
fn glob_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at_pattern, mut at_name) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while at_name < name.len() {
        match pattern.get(at_pattern) {
            Some('*') => {
                last_star = Some((at_pattern, at_name));
                at_pattern += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == name[at_name] => {
                at_pattern += 1;
                at_name += 1;
            }
            _ => {
                let Some((star, from)) = last_star else { return false };
                last_star = Some((star, from + 1));
                at_pattern = star + 1;
                at_name = from + 1;
            }
        }
    }
    pattern[at_pattern..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::glob_matches;

    #[test]
    fn globs() {
        for (pattern, name, expected) in [
            ("acme_*", "acme_clumio", true),
            ("acme_*", "acme_", true),
            ("acme_*", "other", false),
            ("*", "anything", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*_*_c", "a_b_b_c", true),
            ("a.c", "abc", false),
            ("*a", "b", false),
        ] {
            assert_eq!(glob_matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
