//! The rules of the architecture that the compiler does not check: directions of imports between modules, no import circles
//! between files, and who may name concrete vendors and sinks.
//!
//! ```text
//! src/**/*.rs --strip comments, strings, #[cfg(test)]--> tokens --> imports (use trees, inline paths)
//!     --resolve crate, self, super, aliases, re-exports--> edges between files --> rules
//! ```
//!
//! An import counts for the file that defines the item: re-exports are followed, and a `mod.rs` that only declares and
//! re-exports has no edges.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// For each module, the modules it may import from, in an order in which each imports only earlier ones.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("event", &[]),
    ("vendors", &["event"]),
    ("transform", &["event", "vendors"]),
    ("journal", &["event", "vendors"]),
    ("sinks", &["event", "vendors", "journal"]),
    ("collect", &["event", "vendors", "journal"]),
    ("forecast", &["event", "vendors", "journal", "collect"]),
    ("deliver", &["event", "vendors", "transform", "journal", "sinks"]),
    ("config", &["vendors", "transform", "journal", "sinks", "collect"]),
    ("pipeline", &["event", "vendors", "transform", "journal", "sinks", "collect", "deliver", "config"]),
    ("telemetry", &["journal"]),
    ("runtime", &["vendors", "journal", "sinks", "collect", "forecast", "deliver", "config", "pipeline", "telemetry"]),
    ("simulator", &["event"]),
    (
        "report",
        &["event", "vendors", "transform", "journal", "sinks", "collect", "forecast", "deliver", "config", "pipeline"],
    ),
    ("api", &["journal", "pipeline", "report"]),
    (
        "cli",
        &[
            "event",
            "vendors",
            "transform",
            "journal",
            "sinks",
            "collect",
            "forecast",
            "deliver",
            "config",
            "pipeline",
            "telemetry",
            "runtime",
            "simulator",
            "report",
            "api",
        ],
    ),
];

/// Small shared values, which every module may import, and which import only each other.
const SHARED: &[&str] =
    &["backoff", "clock", "diagnostic", "format", "json_schema", "secret", "shard", "time", "units"];

const CONCRETE_VENDORS: &[&str] = &["akuity", "captivateiq", "clumio", "confluence", "merge"];
const CONCRETE_SINKS: &[&str] = &["console", "file", "kafka", "s3"];
/// Files beside the registries that may name them: the dead letter queue is a file, and orphaned outputs are rolled back by
/// the sink type that wrote them.
const MAY_NAME_CONCRETE: &[[&str; 2]] =
    &[["vendors", "registry"], ["sinks", "registry"], ["sinks", "dead_letter"], ["sinks", "orphans"]];

/// The longest file, in lines without tests.
const MAX_LINES: usize = 500;

#[test]
fn imports_between_modules_point_one_way() {
    let crate_ = Crate::read();
    let mut wrong = Vec::new();
    for (from, to) in crate_.edges() {
        let (from_module, to_module) = (from.module(), to.module());
        let allowed = match MAY_IMPORT.iter().find(|(module, _)| *module == from_module) {
            Some((_, allowed)) => allowed.contains(&to_module) || SHARED.contains(&to_module),
            None => SHARED.contains(&from_module) && SHARED.contains(&to_module),
        };
        if from_module != to_module && !allowed {
            wrong.push(format!("{from} imports {to}"));
        }
    }
    assert!(wrong.is_empty(), "imports against the direction:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_rule() {
    for (index, (module, allowed)) in MAY_IMPORT.iter().enumerate() {
        for other in *allowed {
            let is_earlier = MAY_IMPORT[..index].iter().any(|(earlier, _)| earlier == other);
            assert!(is_earlier, "`{module}` may import `{other}`, which is not listed before it");
        }
    }
    for file in Crate::read().files {
        let module = file.id.module();
        let has_rule = SHARED.contains(&module) || MAY_IMPORT.iter().any(|(known, _)| *known == module);
        assert!(has_rule || module.is_empty(), "{} has no rule in this test", file.id);
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let circles = circles(&Crate::read().edges());
    assert!(circles.is_empty(), "{} import circles:\n{}", circles.len(), circles.join("\n"));
}

#[test]
fn only_the_registries_name_concrete_vendors_and_sinks() {
    let mut wrong = Vec::new();
    for (from, to) in Crate::read().edges() {
        for (module, concrete) in [("vendors", CONCRETE_VENDORS), ("sinks", CONCRETE_SINKS)] {
            let part = to.path.get(1).map(String::as_str).unwrap_or_default();
            let is_concrete = to.module() == module && concrete.contains(&part);
            let is_own = from.path.get(..2) == to.path.get(..2);
            let may_name = MAY_NAME_CONCRETE.iter().any(|file| from.path == *file);
            if is_concrete && !is_own && !may_name {
                wrong.push(format!("{from} imports {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "imports of concrete vendors and sinks:\n{}", wrong.join("\n"));
}

#[test]
fn sinks_see_only_the_contract_of_the_journal() {
    let is_storage = |to: &FileId| to.path.starts_with(&["journal".to_owned(), "sqlite".to_owned()]);
    let edges = Crate::read().edges();
    let wrong: Vec<_> = edges.iter().filter(|(from, to)| from.module() == "sinks" && is_storage(to)).collect();
    assert!(wrong.is_empty(), "sinks that import the storage engine: {wrong:?}");
}

#[test]
fn files_are_not_too_long() {
    let too_long = |file: &&SourceFile| file.lines > MAX_LINES;
    let long: Vec<_> =
        Crate::read().files.iter().filter(too_long).map(|file| (file.id.to_string(), file.lines)).collect();
    assert!(long.is_empty(), "files with more than {MAX_LINES} lines without tests: {long:?}");
}

/// A file, named by its module path: `src/sinks/file/mod.rs` is `sinks::file`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FileId {
    path: Vec<String>,
}

impl FileId {
    /// The top-level module; empty for the crate root.
    fn module(&self) -> &str {
        self.path.first().map(String::as_str).unwrap_or_default()
    }
}

impl std::fmt::Display for FileId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path.join("::"))
    }
}

struct SourceFile {
    id: FileId,
    uses: Vec<Use>,
    /// Paths in code that are not in a `use`, with the module that they are in.
    inline: Vec<(Vec<String>, Vec<String>)>,
    /// All identifiers outside of `use` items.
    names: BTreeSet<String>,
    /// Inline modules, and modules that have `mod name;` behind `#[cfg(test)]`.
    inner_modules: Vec<Vec<String>>,
    test_modules: Vec<Vec<String>>,
    lines: usize,
}

/// One leaf of a `use` tree.
#[derive(Clone, Debug)]
struct Use {
    /// The module that the item is in.
    module: Vec<String>,
    path: Vec<String>,
    /// The name that it introduces; `*` for a glob.
    name: String,
    is_reexport: bool,
}

struct Crate {
    files: Vec<SourceFile>,
    modules: BTreeMap<Vec<String>, FileId>,
    /// For each module, the names that its `use` items introduce, with the absolute path of each.
    names: BTreeMap<Vec<String>, BTreeMap<String, Vec<String>>>,
    globs: BTreeMap<Vec<String>, Vec<Vec<String>>>,
}

impl Crate {
    fn read() -> Self {
        let mut files: Vec<_> = rust_files(Path::new("src")).iter().filter_map(|path| read_file(path)).collect();
        let tests: Vec<Vec<String>> = files.iter().flat_map(|file| file.test_modules.clone()).collect();
        files.retain(|file| !tests.iter().any(|test| file.id.path.starts_with(test)));
        let mut modules = BTreeMap::new();
        for file in &files {
            modules.insert(file.id.path.clone(), file.id.clone());
            modules.extend(file.inner_modules.iter().map(|inner| (inner.clone(), file.id.clone())));
        }
        let mut crate_ = Self { files, modules, names: BTreeMap::new(), globs: BTreeMap::new() };
        let all_uses: Vec<Use> = crate_.files.iter().flat_map(|file| file.uses.clone()).collect();
        for item in all_uses {
            let Some(path) = crate_.absolute(&item.module, &item.path) else { continue };
            if item.name == "*" {
                crate_.globs.entry(item.module).or_default().push(path);
            } else {
                crate_.names.entry(item.module).or_default().insert(item.name, path);
            }
        }
        crate_
    }

    /// The path from the crate root; `None` if it is the path of another crate.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Vec<String>> {
        let mut rest = path;
        let mut base = match rest.first()?.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => module.to_vec(),
            first => {
                let child = [module, &[first.to_owned()]].concat();
                return self.modules.contains_key(&child).then(|| [module, path].concat());
            }
        };
        while let Some(first) = rest.first() {
            match first.as_str() {
                "crate" | "self" => {}
                "super" => drop(base.pop()),
                _ => break,
            }
            rest = &rest[1..];
        }
        base.extend(rest.iter().cloned());
        Some(base)
    }

    /// The file that defines what is at an absolute path; `None` if the path is that of a module.
    fn definition(&self, path: &[String], depth: usize) -> Option<FileId> {
        let known = (0..=path.len()).rev().find(|length| self.modules.contains_key(&path[..*length]))?;
        let (module, rest) = path.split_at(known);
        let name = rest.first()?;
        if depth > 0 {
            if let Some(target) = self.names.get(module).and_then(|names| names.get(name)) {
                let target = [target.as_slice(), &rest[1..]].concat();
                if target != path {
                    return self.definition(&target, depth - 1);
                }
            }
            for glob in self.globs.get(module).into_iter().flatten() {
                let target = [glob.as_slice(), rest].concat();
                if let Some(file) = self.definition(&target, depth - 1)
                    && self.defines(&file, rest.last().unwrap_or(name))
                {
                    return Some(file);
                }
            }
        }
        self.modules.get(module).cloned()
    }

    fn defines(&self, file: &FileId, name: &str) -> bool {
        self.files.iter().any(|other| other.id == *file && other.names.contains(name))
    }

    /// Each file with each other file that it imports from.
    fn edges(&self) -> BTreeSet<(FileId, FileId)> {
        const MAX_REEXPORTS: usize = 8;
        let mut edges = BTreeSet::new();
        for file in &self.files {
            let mut paths = Vec::new();
            for item in &file.uses {
                // A re-export is an import only if the file itself uses the name.
                if !item.is_reexport || file.names.contains(&item.name) {
                    paths.extend(self.absolute(&item.module, &item.path));
                }
            }
            for (module, path) in &file.inline {
                let alias = self.names.get(module).and_then(|names| names.get(&path[0]));
                match alias {
                    Some(target) => paths.push([target.as_slice(), &path[1..]].concat()),
                    None => paths.extend(self.absolute(module, path)),
                }
            }
            for path in paths {
                if let Some(to) = self.definition(&path, MAX_REEXPORTS)
                    && to != file.id
                {
                    edges.insert((file.id.clone(), to));
                }
            }
        }
        edges
    }
}

/// One shortest circle through each file that is in one, each set of files once.
fn circles(edges: &BTreeSet<(FileId, FileId)>) -> Vec<String> {
    let mut next: BTreeMap<&FileId, Vec<&FileId>> = BTreeMap::new();
    for (from, to) in edges {
        next.entry(from).or_default().push(to);
    }
    let mut found: BTreeMap<BTreeSet<&FileId>, String> = BTreeMap::new();
    for start in next.keys() {
        let mut before: BTreeMap<&FileId, &FileId> = BTreeMap::new();
        let mut queue = std::collections::VecDeque::from([*start]);
        while let Some(file) = queue.pop_front() {
            for to in next.get(file).into_iter().flatten() {
                if !before.contains_key(to) {
                    before.insert(to, file);
                    queue.push_back(to);
                }
            }
        }
        if !before.contains_key(start) {
            continue;
        }
        let mut path = vec![*start];
        let mut at = before[start];
        while at != *start {
            path.push(at);
            at = before[at];
        }
        path.reverse();
        let shown: Vec<_> = path.iter().chain(path.first()).map(ToString::to_string).collect();
        found.entry(path.into_iter().collect()).or_insert_with(|| shown.join(" -> "));
    }
    found.into_values().collect()
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a source directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn read_file(path: &Path) -> Option<SourceFile> {
    if path.ends_with("main.rs") {
        return None;
    }
    let relative = path.strip_prefix("src").expect("below src").with_extension("");
    let mut segments: Vec<String> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if segments.last().is_some_and(|last| last == "mod" || last == "lib") {
        segments.pop();
    }
    let text = fs::read_to_string(path).expect("a readable source file");
    let tokens = tokens(&text);
    let mut parser = Parser { tokens: &tokens, at: 0, modules: vec![segments.clone()], open: Vec::new(), file: None };
    parser.file = Some(SourceFile {
        id: FileId { path: segments },
        uses: Vec::new(),
        inline: Vec::new(),
        names: BTreeSet::new(),
        inner_modules: Vec::new(),
        test_modules: Vec::new(),
        lines: 0,
    });
    Some(parser.parse(text.lines().count()))
}

#[derive(Clone, Debug, PartialEq)]
struct Token {
    text: String,
    line: usize,
}

/// The code of a file as words and punctuation, without comments, strings and character literals.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    while at < chars.len() {
        let rest = &chars[at..];
        let skip = match rest {
            ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => block_comment(rest),
            ['"', ..] | ['b', '"', ..] | ['c', '"', ..] => string(rest),
            ['r', '"' | '#', ..] | ['b', 'r', '"' | '#', ..] if raw_string(rest) > 0 => raw_string(rest),
            ['\'', '\\', ..] => 2 + rest[2..].iter().skip(1).position(|c| *c == '\'').map_or(0, |end| end + 2),
            ['\'', _, '\'', ..] => 3,
            _ => 0,
        };
        if skip > 0 {
            line += chars[at..at + skip].iter().filter(|c| **c == '\n').count();
            at += skip;
            continue;
        }
        let c = chars[at];
        if is_word(c) {
            let end = rest.iter().position(|c| !is_word(*c)).unwrap_or(rest.len());
            tokens.push(Token { text: rest[..end].iter().collect(), line });
            at += end;
        } else if rest.starts_with(&[':', ':']) {
            tokens.push(Token { text: "::".to_owned(), line });
            at += 2;
        } else {
            if c == '\n' {
                line += 1;
            } else if !c.is_whitespace() {
                tokens.push(Token { text: c.to_string(), line });
            }
            at += 1;
        }
    }
    tokens
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(rest: &[char]) -> usize {
    let mut at = rest.iter().position(|c| *c == '"').unwrap_or(0) + 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// The length of a raw string; 0 if it is not one.
fn raw_string(rest: &[char]) -> usize {
    let start = rest.iter().position(|c| *c == 'r').unwrap_or(0) + 1;
    let hashes = rest[start..].iter().take_while(|c| **c == '#').count();
    if rest.get(start + hashes) != Some(&'"') {
        return 0;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = start + hashes + 1;
    rest[body..].windows(end.len()).position(|window| window == end).map_or(rest.len(), |at| body + at + end.len())
}

struct Parser<'t> {
    tokens: &'t [Token],
    at: usize,
    /// The module at this position, and those around it.
    modules: Vec<Vec<String>>,
    /// For each open brace, whether it opened a module.
    open: Vec<bool>,
    file: Option<SourceFile>,
}

impl Parser<'_> {
    fn parse(mut self, lines: usize) -> SourceFile {
        let mut file = self.file.take().expect("set");
        file.lines = lines;
        while self.at < self.tokens.len() {
            self.step(&mut file);
        }
        file
    }

    fn text(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map(|token| token.text.as_str()).unwrap_or_default()
    }

    fn module(&self) -> Vec<String> {
        self.modules.last().cloned().unwrap_or_default()
    }

    fn step(&mut self, file: &mut SourceFile) {
        if self.is_cfg_test() {
            self.skip_test_item(file);
        } else if self.text(0) == "use" && self.text(1) != "<" {
            let is_reexport = self.at > 0 && matches!(self.tokens[self.at - 1].text.as_str(), "pub" | ")");
            self.at += 1;
            self.use_tree(&mut Vec::new(), is_reexport, file);
        } else if self.text(0) == "mod" && self.text(2) == "{" {
            let inner = [self.module(), vec![self.text(1).to_owned()]].concat();
            file.inner_modules.push(inner.clone());
            self.modules.push(inner);
            self.open.push(true);
            self.at += 3;
        } else if is_identifier(self.text(0)) {
            self.path(file);
        } else {
            if self.text(0) == "{" {
                self.open.push(false);
            } else if self.text(0) == "}" && self.open.pop() == Some(true) {
                self.modules.pop();
            }
            self.at += 1;
        }
    }

    /// Whether `#[cfg(test)]` begins here.
    fn is_cfg_test(&self) -> bool {
        (0..7).map(|ahead| self.text(ahead)).eq(["#", "[", "cfg", "(", "test", ")", "]"])
    }

    /// Skips an item that only tests have, and takes its lines off.
    fn skip_test_item(&mut self, file: &mut SourceFile) {
        let first = self.tokens[self.at].line;
        self.at += 7;
        let mut depth = 0_i32;
        while self.at < self.tokens.len() {
            if depth == 0 && self.text(0) == "mod" && self.text(2) == ";" {
                file.test_modules.push([self.module(), vec![self.text(1).to_owned()]].concat());
            }
            match self.text(0) {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            let ends = depth == 0 && matches!(self.text(0), ";" | "}" | ",");
            let last = self.tokens[self.at].line;
            self.at += 1;
            if ends {
                file.lines -= last - first + 1;
                return;
            }
        }
    }

    /// Reads a `use` tree up to its `;`, `,` or `}`.
    fn use_tree(&mut self, prefix: &mut Vec<String>, is_reexport: bool, file: &mut SourceFile) {
        let depth = prefix.len();
        let mut alias = None;
        let mut is_group = false;
        loop {
            match self.text(0) {
                "::" => self.at += 1,
                "{" => {
                    is_group = true;
                    self.at += 1;
                    while self.text(0) != "}" && self.at < self.tokens.len() {
                        self.use_tree(prefix, is_reexport, file);
                        if self.text(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                }
                "as" => {
                    alias = Some(self.text(1).to_owned());
                    self.at += 2;
                }
                ";" | "," | "}" | "" => break,
                segment => {
                    prefix.push(segment.to_owned());
                    self.at += 1;
                }
            }
        }
        if !is_group && prefix.len() > depth {
            let mut path = prefix.clone();
            if path.len() > 1 && path.last().is_some_and(|last| last == "self" || last == "*") {
                let last = path.pop();
                alias = alias.or(last.filter(|last| last == "*"));
            }
            let name = alias.unwrap_or_else(|| path.last().cloned().unwrap_or_default());
            file.uses.push(Use { module: self.module(), path, name, is_reexport });
        }
        prefix.truncate(depth);
    }

    /// Reads an identifier, or a path of several.
    fn path(&mut self, file: &mut SourceFile) {
        let mut path = vec![self.text(0).to_owned()];
        let is_continued = self.at > 0 && matches!(self.tokens[self.at - 1].text.as_str(), "::" | ".");
        self.at += 1;
        while self.text(0) == "::" && is_identifier(self.text(1)) {
            path.push(self.text(1).to_owned());
            self.at += 2;
        }
        file.names.extend(path.iter().cloned());
        if path.len() > 1 && !is_continued {
            file.inline.push((self.module(), path));
        }
    }
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

#[test]
fn every_form_of_import_is_seen() {
    let text = r##"
        use std::fmt;
        use crate::{a, b::{self, C, d::*}};
        pub(crate) use super::e::F as G;
        // use crate::comment::X;
        #[cfg(test)]
        use crate::tests_only::Y;
        fn f<'a>(x: &'a str) -> char { let _ = r#"crate::raw::Z"#; let _ = "crate::s::Z\""; super::h::i(x); '"' }
        mod inner { use super::j::K; }
        #[cfg(test)]
        mod tests { use super::*; }
    "##;
    let tokens = tokens(text);
    let id = FileId { path: vec!["m".to_owned()] };
    let file = SourceFile {
        id: id.clone(),
        uses: Vec::new(),
        inline: Vec::new(),
        names: BTreeSet::new(),
        inner_modules: Vec::new(),
        test_modules: Vec::new(),
        lines: 0,
    };
    let parser = Parser { tokens: &tokens, at: 0, modules: vec![id.path], open: Vec::new(), file: Some(file) };
    let file = parser.parse(100);
    let uses: Vec<_> = file.uses.iter().map(|item| format!("{} {}", item.path.join("::"), item.name)).collect();
    let expected = [
        "std::fmt fmt",
        "crate::a a",
        "crate::b b",
        "crate::b::C C",
        "crate::b::d *",
        "super::e::F G",
        "super::j::K K",
    ];
    assert_eq!(uses, expected);
    let inline: Vec<_> = file.inline.iter().map(|(_, path)| path.join("::")).collect();
    assert_eq!(inline, ["super::h::i"]);
    assert_eq!(file.uses.iter().filter(|item| item.is_reexport).count(), 1);
    assert_eq!(file.inner_modules, [vec!["m".to_owned(), "inner".to_owned()]]);
}
