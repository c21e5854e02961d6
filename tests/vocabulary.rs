//! The project's language: words that were retired stay out of code, docs, examples and pipelines.
//!
//! Text and identifiers are read alike: `PageWalk`, `page_walk` and "page walk" are the words "page" and "walk". A retired
//! term is one word or several in a row, also across a line break; `*` at its end stands for any ending.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Retired terms, each with what to write instead.
const RETIRED: &[(&str, &str)] = &[
    // The field has a word for it.
    ("walk", "scan"),
    ("walks", "scans"),
    ("walked", "records_read, scanned"),
    ("walking", "scanning"),
    ("walker", "scan"),
    ("twin", "identical record"),
    ("twins", "identical records"),
    ("wholly", "exactly"),
    ("known again", "deduplicated"),
    ("setback*", "FetchError"),
    ("astray", "must_restart"),
    ("ledger*", "RetryingJournal"),
    ("lane", "priority"),
    ("lanes", "priorities"),
    ("intake", "filter_page"),
    ("sift*", "filter"),
    ("tally", "counter"),
    ("outlook", "progress, forecast"),
    ("sighting*", "ReadContext"),
    ("settle", "delay"),
    ("settles", "is old enough"),
    ("settled", "old enough"),
    ("settling", "delay"),
    ("sweep*", "recheck"),
    ("swept", "rechecked"),
    ("trouble", "last_error, error"),
    ("troubles", "errors"),
    ("stands still", "stopped"),
    ("stand still", "stop"),
    ("held up", "retrying, blocked"),
    ("memo", "state"),
    ("memos", "states"),
    ("absorb*", "write"),
    ("undo", "roll back"),
    ("undoes", "rolls back"),
    ("undone", "rolled back"),
    ("undoing", "rolling back"),
    ("foresee*", "preview"),
    ("foreseen", "preview"),
    ("foresight", "preview"),
    ("patience", "deadline"),
    ("survey*", "backlog"),
    ("upkeep", "maintenance"),
    ("desk*", "MockVendor"),
    ("side door", "admin_api"),
    ("folder*", "directory"),
    // Metaphors and riddles.
    ("house", "architecture"),
    ("houses", "third parties"),
    ("rooms", "modules"),
    ("mend", "fix"),
    ("mends", "fixes"),
    ("mended", "fixed"),
    ("mending", "fixing"),
    ("told", "said, reported, given"),
    ("the outside", "the target"),
    ("in vain", "without success"),
    ("for good", "permanently"),
    ("goes on by itself", "retries"),
    ("comes to nothing", "has no effect"),
    ("by a name of your choice", "by any name"),
    // American spelling.
    ("normalis*", "normaliz..."),
    ("organis*", "organiz..."),
    ("recognis*", "recogniz..."),
    ("serialis*", "serializ..."),
    ("initialis*", "initializ..."),
    ("optimis*", "optimiz..."),
    ("behaviour*", "behavior"),
    ("neighbour*", "neighbor"),
    ("colour*", "color"),
];

/// Where a retired term may stand all the same, and why.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("src/transform/registry.rs", "normalis*", "a misspelled transform that must be refused"),
    ("tests/ocsf/schema.json", "*", "the words of OCSF"),
    ("docs/lake.md", "house", "ClickHouse"),
    ("tests/s3/matrix.py", "house", "ClickHouse"),
    ("tests/vocabulary.rs", "*", "the list itself"),
];

/// A word of a file, in lower case, and its line.
struct Word {
    text: String,
    line: usize,
}

#[test]
fn retired_words_stay_out() {
    let mut found = Vec::new();
    for file in files() {
        let words = words_of(&fs::read_to_string(&file).unwrap());
        for (term, instead) in RETIRED.iter().filter(|(term, _)| !is_allowed(&file, term)) {
            for line in lines_with(term, &words) {
                found.push(format!("{}:{line}: `{term}`: write {instead}", file.display()));
            }
        }
    }
    assert!(found.is_empty(), "{} retired words:\n{}", found.len(), found.join("\n"));
}

#[test]
fn identifiers_sentences_and_line_breaks_are_read_alike() {
    for text in ["let PageWalk = 1;", "page_walk", "WALK", "a walk of pages", "`walk`"] {
        assert_eq!(lines_with("walk", &words_of(text)), [1], "{text}");
    }
    assert_eq!(lines_with("known again", &words_of("/// It is known\n/// again.")), [1]);
    assert_eq!(lines_with("sweep*", &words_of("fine\nsweeping")), [2]);
    assert!(lines_with("walk", &words_of("sidewalks and boardwalk")).is_empty());
}

fn is_allowed(file: &Path, term: &str) -> bool {
    ALLOWED.iter().any(|(path, allowed, _)| file == Path::new(path) && (*allowed == "*" || *allowed == term))
}

/// The lines on which a term begins.
fn lines_with(term: &str, words: &[Word]) -> Vec<usize> {
    let parts: Vec<&str> = term.split(' ').collect();
    let matching = words
        .windows(parts.len())
        .filter(|window| window.iter().zip(&parts).all(|(word, part)| fits(&word.text, part)));
    matching.map(|window| window[0].line).collect()
}

fn fits(word: &str, part: &str) -> bool {
    part.strip_suffix('*').map_or(word == part, |beginning| word.starts_with(beginning))
}

fn words_of(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        for run in content.split(|c: char| !c.is_ascii_alphabetic()) {
            words.extend(humps(run).map(|hump| Word { text: hump.to_ascii_lowercase(), line }));
        }
    }
    words
}

/// `PageWalk` is `Page` and `Walk`; `HTTPServer` stays one, which is enough here.
fn humps(run: &str) -> impl Iterator<Item = &str> {
    let mut starts = vec![0];
    let bytes = run.as_bytes();
    starts.extend((1..run.len()).filter(|at| bytes[at - 1].is_ascii_lowercase() && bytes[*at].is_ascii_uppercase()));
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([run.len()]).collect();
    starts.into_iter().zip(ends).map(|(start, end)| &run[start..end]).filter(|hump| !hump.is_empty())
}

/// Everything that people read.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for directory in ["src", "tests", "benches", "examples", "docs", "pipelines"] {
        collect(Path::new(directory), &mut files);
    }
    let top = fs::read_dir(".").unwrap().flatten().map(|entry| entry.path().strip_prefix("./").unwrap().to_owned());
    files.extend(top.filter(|path| path.is_file() && is_text(path)));
    assert!(files.len() > 200, "only {} files were found", files.len());
    files
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if is_text(&path) {
            files.push(path);
        }
    }
}

fn is_text(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["rs", "md", "yaml", "yml", "toml", "py", "sh", "snap", "json", "txt"].contains(&extension)
}
