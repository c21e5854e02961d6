//! Every command of auditflow on every page is one that the program knows, with options that it has. Those that only look are
//! run, in a folder that holds what the page shows.
//!
//! ```text
//! a line of a block --> its commands --> auditflow ...?  must be understood by the real command line
//!                                    --> all of them only look?  run in a shell; output that is shown must come
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use auditflow::vendors::{NormalizerConfig, registry};
use clap::error::ErrorKind;

use crate::pages::{Block, all_blocks, blocks, root};
use crate::pipelines::{complete, variables_of};
use crate::shell;

/// The sub-commands that reach no vendor and no sink, change nothing, and end by themselves (but for `--watch`).
const LOOKING: [&str; 7] = ["completions", "coverage", "normalize", "plan", "schema", "status", "validate"];

/// Other programs that only write to their output, and that every Unix has.
const HARMLESS: [&str; 3] = ["cut", "printf", "sha256sum"];

/// A line that a reader would type, and what the page shows below it.
struct Line {
    place: String,
    page: PathBuf,
    text: String,
    output: String,
}

/// The lines of a shell's block: all of a script, those behind `$` of a session.
fn lines_of(block: &Block) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (number, text) in block.text.lines().enumerate() {
        let typed = if block.language == "console" { text.strip_prefix("$ ") } else { Some(text) };
        match (typed, lines.last_mut()) {
            (Some(typed), _) => lines.push(Line {
                place: format!("{}:{}", block.page.display(), block.line + number),
                page: block.page.clone(),
                text: typed.to_owned(),
                output: String::new(),
            }),
            // A comment that goes on in a line of its own is no output.
            (None, Some(_)) if text.trim_start().starts_with('#') => {}
            (None, Some(line)) => line.output.extend([text, "\n"]),
            (None, None) => panic!("{}: the session begins without a command", block.place()),
        }
    }
    lines
}

fn lines() -> Vec<Line> {
    all_blocks(&["sh", "console"]).iter().flat_map(lines_of).collect()
}

/// The arguments for auditflow, however it is called; `None` if it is another command.
fn arguments(words: &[String]) -> Option<&[String]> {
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["auditflow", ..] => Some(&words[1..]),
        ["cargo", "run", "--", ..] => Some(&words[3..]),
        _ => None,
    }
}

#[test]
fn every_command_is_one_that_the_program_knows() {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for line in lines() {
        for words in shell::commands(&line.text) {
            let Some(arguments) = arguments(&words) else { continue };
            assert_understood(&line, arguments);
            *known.entry(arguments[0].clone()).or_default() += 1;
        }
    }
    for command in auditflow::cli::command().get_subcommands() {
        assert!(known.contains_key(command.get_name()), "no page shows how to use `{}`", command.get_name());
    }
}

fn assert_understood(line: &Line, arguments: &[String]) {
    let words = ["auditflow"].into_iter().chain(arguments.iter().map(String::as_str));
    let Err(reason) = auditflow::cli::command().try_get_matches_from(words) else { return };
    let asks_for_text = matches!(reason.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    assert!(asks_for_text, "{}: {}\n{reason}", line.place, line.text);
}

#[test]
fn what_a_command_names_of_the_project_is_there() {
    let mut found = 0;
    for line in lines() {
        for path in shell::commands(&line.text).iter().flat_map(|words| named_by(words)) {
            let is_there =
                [path.clone(), path.with_extension("rs"), path.join("main.rs")].iter().any(|path| path.is_file());
            assert!(is_there, "{}: {} is not there", line.place, path.display());
            found += 1;
        }
    }
    assert!(found > 3, "only {found} were found");
}

/// The files of the project that a command names: by their path, or as a target of cargo (then without an ending).
fn named_by(words: &[String]) -> Vec<PathBuf> {
    let target = |pair: &[String]| {
        let folder = match pair[0].as_str() {
            "--example" => "examples",
            "--test" => "tests",
            "--bench" => "benches",
            _ => return None,
        };
        Some(root().join(folder).join(&pair[1]))
    };
    let is_ours = |word: &&String| ["examples/", "pipelines/", "tests/"].iter().any(|folder| word.starts_with(folder));
    let targets = words.windows(2).filter(|_| words[0] == "cargo").filter_map(target);
    words.iter().filter(is_ours).map(|word| root().join(word)).chain(targets).collect()
}

#[test]
fn every_command_that_only_looks_does_what_the_page_shows() {
    let mut run_in_all = 0;
    for line in lines().iter().filter(|line| only_looks(&line.text)) {
        let folder = tempfile::tempdir().unwrap();
        let variables = lay_out(folder.path(), line);
        let output = run(line, folder.path(), &variables);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}: {} ended with {}\n{said}", line.place, line.text, output.status);
        assert!(said.contains(&line.output), "{}: {}\n{said}\ninstead of\n{}", line.place, line.text, line.output);
        run_in_all += 1;
    }
    assert!(run_in_all >= 10, "only {run_in_all} commands were run");
}

/// Whether nothing but the folder that it runs in can be reached or changed by it.
fn only_looks(line: &str) -> bool {
    let commands = shell::commands(line);
    let looks = |words: &Vec<String>| match arguments(words) {
        Some([first, rest @ ..]) => {
            first == "--version" || (LOOKING.contains(&first.as_str()) && !rest.iter().any(|word| word == "--watch"))
        }
        Some([]) => false,
        None => HARMLESS.contains(&words[0].as_str()),
    };
    !commands.is_empty() && commands.iter().all(looks)
}

/// Puts into the folder what the page says is there: the pipelines that it names in their first line (`# acme.yaml`), else
/// the README's; the project's own ones; an export of a vendor. Returns the variables that the pipelines name.
fn lay_out(folder: &Path, line: &Line) -> BTreeMap<String, String> {
    symlink(root().join("pipelines"), folder.join("pipelines")).unwrap();
    for page in [&root().join("README.md"), &line.page] {
        for block in blocks(page, &["yaml"]) {
            let name = block.text.lines().next().and_then(|first| first.strip_prefix("# ")).unwrap_or_default();
            if name.ends_with(".yaml") && !name.contains([' ', '/']) {
                fs::write(folder.join(name), complete(&block.text)).unwrap();
            }
        }
    }
    for words in shell::commands(&line.text) {
        if let Some(at) = words.iter().position(|word| word == "--vendor") {
            let records = registry::normalizer(&words[at + 1], &NormalizerConfig::default()).unwrap();
            fs::write(folder.join(words.last().unwrap()), records.example()).unwrap();
        }
    }
    let pipelines = ["acme.yaml", "try.yaml", "pipelines/all.yaml"].map(|name| fs::read_to_string(folder.join(name)));
    let names = pipelines.iter().flatten().flat_map(|text| variables_of(text));
    names.map(|name| (name, "value".to_owned())).collect()
}

fn run(line: &Line, folder: &Path, variables: &BTreeMap<String, String>) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_auditflow"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", &line.text]).current_dir(folder).env_clear().envs(variables).env("PATH", path);
    command.output().unwrap()
}
