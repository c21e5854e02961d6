//! Log events: every log line has a name, and docs/operating.md lists exactly the names that the code has.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const MACROS: [&str; 4] = ["tracing::error!(", "tracing::warn!(", "tracing::info!(", "tracing::debug!("];

#[test]
fn every_log_line_has_an_event_that_the_documentation_lists() {
    let mut names = BTreeSet::new();
    for file in rust_files(Path::new("src")) {
        let text = fs::read_to_string(&file).unwrap();
        for (at, call) in MACROS.iter().flat_map(|call| text.match_indices(call)) {
            let arguments = &text[at + call.len()..];
            let line = text[..at].lines().count();
            let name =
                name_of(arguments).unwrap_or_else(|| panic!("{}:{line}: the log line has no event", file.display()));
            names.insert(name.to_owned());
        }
    }
    assert!(names.len() > 50, "only {} log events were found", names.len());
    assert_eq!(listed(), names, "docs/operating.md, Log events, on the left; the code on the right");
}

/// The value of `event = "..."`, which is the first field; a `target:` may come before it.
fn name_of(arguments: &str) -> Option<&str> {
    let fields = arguments.trim_start();
    let fields = match fields.strip_prefix("target:") {
        Some(rest) => rest.split_once(',')?.1.trim_start(),
        None => fields,
    };
    fields.strip_prefix("event = \"")?.split('"').next()
}

fn listed() -> BTreeSet<String> {
    let page = fs::read_to_string("docs/operating.md").unwrap();
    let section =
        page.split("\n## ").find(|section| section.starts_with("Log events")).expect("a section `Log events`");
    let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let names = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    names.filter(is_name).map(str::to_owned).collect()
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
