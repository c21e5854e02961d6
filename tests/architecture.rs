//! The house rules that a compiler does not check: which room may import which, and that only the tables know all
//! vendors and sinks by name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// For each room, the rooms it may import from. The ground (time, clock, units, secret) is open to all.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("event", &[]),
    ("vendors", &["event"]),
    ("transform", &["event", "vendors"]),
    ("journal", &["event", "vendors"]),
    ("sinks", &["event", "journal", "vendors"]),
    ("collect", &["event", "journal", "vendors"]),
    ("deliver", &["event", "journal", "vendors", "transform", "sinks"]),
    ("observe", &["journal"]),
    ("simulator", &["event"]),
    ("pipeline", &["event", "journal", "vendors", "transform", "sinks", "collect", "deliver", "observe"]),
    ("report", &["event", "journal", "vendors", "sinks", "collect", "deliver", "observe", "pipeline"]),
    (
        "cli",
        &[
            "event",
            "journal",
            "vendors",
            "transform",
            "sinks",
            "collect",
            "deliver",
            "observe",
            "pipeline",
            "report",
            "simulator",
        ],
    ),
];

const GROUND: &[&str] = &["time", "clock", "units", "secret", "json_schema", "diagnostic"];

#[test]
fn imports_point_one_way() {
    let mut wrong = Vec::new();
    for (room, allowed) in MAY_IMPORT {
        for file in rust_files(&Path::new("src").join(room)).into_iter().filter(|file| !is_test(file)) {
            let text = fs::read_to_string(&file).expect("a readable source file");
            for imported in imported_rooms(production_part(&text)) {
                let fine =
                    imported == *room || allowed.contains(&imported.as_str()) || GROUND.contains(&imported.as_str());
                if !fine {
                    wrong.push(format!("{} imports crate::{imported}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the direction:\n{}", wrong.join("\n"));
}

#[test]
fn every_room_has_its_rule() {
    let rules: Vec<&str> = MAY_IMPORT.iter().map(|(room, _)| *room).collect();
    for entry in fs::read_dir("src").expect("src").flatten() {
        if entry.path().is_dir() {
            let name = entry.file_name().into_string().expect("a plain name");
            assert!(rules.contains(&name.as_str()), "src/{name} has no rule in this test");
        }
    }
}

#[test]
fn a_sink_sees_only_the_journals_contract() {
    for file in rust_files(Path::new("src/sinks")) {
        let text = fs::read_to_string(&file).expect("a readable source file");
        assert!(!production_part(&text).contains("journal::sqlite"), "{} reaches into the journal", file.display());
    }
}

#[test]
fn files_stay_readable() {
    const MOST_LINES: usize = 400;
    let long: BTreeMap<PathBuf, usize> = rust_files(Path::new("src"))
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).expect("a readable source file");
            let lines = production_part(&text).lines().count();
            (file, lines)
        })
        .filter(|(file, lines)| *lines > MOST_LINES && !is_test(file))
        .collect();
    assert!(long.is_empty(), "files with more than {MOST_LINES} lines of production code: {long:?}");
}

/// Whether a file holds nothing but tests.
fn is_test(file: &Path) -> bool {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    stem == "tests" || stem == "conformance" || file.components().any(|part| part.as_os_str() == "tests")
}

/// What stands before the test module that ends a file.
fn production_part(text: &str) -> &str {
    text.find("\n#[cfg(test)]\nmod tests").map_or(text, |at| &text[..at])
}

fn imported_rooms(text: &str) -> Vec<String> {
    text.split("crate::")
        .skip(1)
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>())
        .filter(|room| !room.is_empty())
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a source folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
