//! Which source reaches which sink, in which form, and through which filters.
//!
//! ```text
//! inputs as written (names, globs) --resolve--> edges --ways--> routes (source, form, condition)
//!                                  dangling, empty globs      cycles, two forms of one source, unread components
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::definition::{Component, Kind};
use super::node::Place;
use super::problem::{Finding, Findings};
use super::suggest;

/// One entry of `inputs`, as written.
#[derive(Clone, Debug)]
pub(super) struct InputAsWritten {
    pub(super) text: String,
    /// The text for messages: with the variable's name, if it came from one.
    pub(super) shown: String,
    pub(super) place: Place,
    pub(super) key: String,
}

/// What each transform and sink reads, as written, in the order of the file. Two of them may claim one name.
pub(super) type Inputs<'c, 't> = Vec<(&'c Component<'t>, Vec<InputAsWritten>)>;

/// Who reads from whom.
pub(super) struct Graph<'c, 't> {
    /// Those that hold their name: of several that claim one, the first.
    pub(super) components: BTreeMap<&'c str, &'c Component<'t>>,
    /// For each reader, what it reads and where that is written.
    pub(super) edges: BTreeMap<&'c str, Vec<(&'c str, &'c InputAsWritten)>>,
}

impl<'c, 't> Graph<'c, 't> {
    /// Resolves all inputs. What is wrong with them goes to `findings`.
    pub(super) fn new(components: &'c [Component<'t>], inputs: &'c Inputs<'c, 't>, findings: &mut Findings) -> Self {
        let mut graph = Self { components: BTreeMap::new(), edges: BTreeMap::new() };
        for component in components {
            graph.components.entry(component.name).or_insert(component);
        }
        for (reader, written) in inputs {
            let edges = written.iter().flat_map(|input| graph.resolve(reader.name, input, findings)).collect();
            if graph.holds_its_name(reader) {
                graph.edges.insert(reader.name, edges);
            }
        }
        graph
    }

    /// Whether it is the one that others mean by its name.
    pub(super) fn holds_its_name(&self, component: &Component<'_>) -> bool {
        self.components.get(component.name).is_some_and(|holder| holder.kind == component.kind)
    }

    fn resolve(
        &self,
        reader: &str,
        input: &'c InputAsWritten,
        findings: &mut Findings,
    ) -> Vec<(&'c str, &'c InputAsWritten)> {
        if input.text.contains(['*', '?']) {
            return self.resolve_glob(reader, input, findings);
        }
        match self.components.get_key_value(input.text.as_str()) {
            Some((name, component)) if component.kind != Kind::Sink => vec![(*name, input)],
            Some(_) => {
                let message = format!("`{}` is a sink, and nothing comes out of a sink", input.shown);
                findings.push(input.error(message, "name a source or a transform"));
                Vec::new()
            }
            None => {
                let message = format!("there is no source or transform called `{}`", input.shown);
                let names: Vec<_> = self.readable().filter(|name| *name != reader).collect();
                findings.push(input.error(message, suggest::hint(&input.text, &names)));
                Vec::new()
            }
        }
    }

    fn resolve_glob(
        &self,
        reader: &str,
        input: &'c InputAsWritten,
        findings: &mut Findings,
    ) -> Vec<(&'c str, &'c InputAsWritten)> {
        let matching = self.readable().filter(|name| *name != reader && glob_matches(&input.text, name));
        let edges: Vec<_> = matching.map(|name| (name, input)).collect();
        if edges.is_empty() {
            let message = format!("no source or transform matches `{}`", input.shown);
            let names: Vec<_> = self.readable().filter(|name| *name != reader).collect();
            findings.push(input.error(message, suggest::hint("", &names)));
        }
        edges
    }

    /// The names of all components that have something to read.
    fn readable(&self) -> impl Iterator<Item = &'c str> {
        self.components.iter().filter(|(_, component)| component.kind != Kind::Sink).map(|(name, _)| *name)
    }

    /// Reports every cycle at the input that closes it, and takes that input out: what else is wrong can still be found.
    pub(super) fn cut_cycles(&mut self, findings: &mut Findings) {
        let mut search = CycleSearch { edges: &self.edges, done: BTreeSet::new(), closing: Vec::new() };
        for name in self.edges.keys().copied() {
            search.follow(name, &mut Vec::new(), findings);
        }
        for (reader, closing) in search.closing {
            let edges = self.edges.get_mut(reader).into_iter();
            edges.for_each(|edges| edges.retain(|(upstream, _)| *upstream != closing));
        }
    }

    /// Warns of sources and transforms whose events reach no sink.
    pub(super) fn warn_of_unread(&self, findings: &mut Findings) {
        let mut read = BTreeSet::new();
        for (name, component) in &self.components {
            if component.kind == Kind::Sink {
                self.mark_upstream(name, &mut read);
            }
        }
        for (name, component) in &self.components {
            if component.kind != Kind::Sink && !read.contains(name) {
                findings.push(unread(component));
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

/// The search for cycles, depth first.
struct CycleSearch<'g, 'c> {
    edges: &'g BTreeMap<&'c str, Vec<(&'c str, &'c InputAsWritten)>>,
    done: BTreeSet<&'c str>,
    /// The edges that close a cycle: a reader, and what it reads.
    closing: Vec<(&'c str, &'c str)>,
}

impl<'c> CycleSearch<'_, 'c> {
    fn follow(&mut self, name: &'c str, path: &mut Vec<&'c str>, findings: &mut Findings) {
        path.push(name);
        let edges = self.edges;
        for (upstream, input) in edges.get(name).into_iter().flatten() {
            if let Some(start) = path.iter().position(|on_path| on_path == upstream) {
                findings.push(cycle(&path[start..], input));
                self.closing.push((name, upstream));
            } else if !self.done.contains(upstream) {
                self.follow(upstream, path, findings);
            }
        }
        path.pop();
        self.done.insert(name);
    }
}

impl InputAsWritten {
    pub(super) fn error(&self, message: String, hint: impl Into<String>) -> Finding {
        Finding::error(Some(self.place), self.key.clone(), message, hint)
    }

    /// The key of the list that it stands in.
    pub(super) fn list_key(&self) -> &str {
        self.key.split('[').next().unwrap_or(&self.key)
    }
}

fn cycle(names: &[&str], input: &InputAsWritten) -> Finding {
    // Edges lead upstream; events run the other way.
    let mut way: Vec<_> = names.iter().rev().copied().collect();
    way.extend(names.last());
    let message = format!("events would go round in a circle: {}", way.join(" -> "));
    input.error(message, "take one of these inputs out")
}

fn unread(component: &Component<'_>) -> Finding {
    let (noun, name) = (component.kind.noun(), component.name);
    let message = match component.kind {
        Kind::Source => format!("no sink reads source `{name}`: its events are collected and delivered nowhere"),
        _ => format!("no sink reads {noun} `{name}`"),
    };
    let hint = format!("add `{name}` to the inputs of a sink, or take the {noun} out");
    Finding::warning(Some(component.place), &component.path, message, hint)
}

/// Whether a name matches a pattern in which `*` stands for any characters and `?` for one.
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
