//! Every auditflow command on every page exists in the program, with options that it has. Read-only commands are run, in a
//! directory with the files that the page shows.
//!
//! ```text
//! a line of a block --> its commands --> auditflow ...?        the real command line must accept it
//!                                    --> all are read-only?  run in a shell; it must print the output on the page
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

/// The subcommands that reach no vendor and no sink, change nothing, and end (except with `--watch`).
const READ_ONLY: [&str; 8] = ["completions", "coverage", "normalize", "plan", "schema", "status", "test", "validate"];

/// Other programs that only write to standard output, and that every Unix has.
const HARMLESS: [&str; 3] = ["cut", "printf", "sha256sum"];

/// A line that the reader types, and the output that the page shows below it.
struct Line {
    place: String,
    page: PathBuf,
    text: String,
    output: String,
}

/// The command lines of a block: all lines of a script, those after `$` in a session.
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
            // A comment on its own line is not output.
            (None, Some(_)) if text.trim_start().starts_with('#') => {}
            (None, Some(line)) => line.output.extend([text, "\n"]),
            (None, None) => panic!("{}: the session starts without a command", block.place()),
        }
    }
    lines
}

fn lines() -> Vec<Line> {
    all_blocks(&["sh", "console"]).iter().flat_map(lines_of).collect()
}

/// The arguments of auditflow; `None` if this is another command.
fn arguments(words: &[String]) -> Option<&[String]> {
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["auditflow", ..] => Some(&words[1..]),
        ["cargo", "run", "--", ..] => Some(&words[3..]),
        _ => None,
    }
}

#[test]
fn every_command_exists_in_the_program() {
    let mut shown: BTreeMap<String, usize> = BTreeMap::new();
    for line in lines() {
        for words in shell::commands(&line.text) {
            let Some(arguments) = arguments(&words) else { continue };
            assert_accepted(&line, arguments);
            *shown.entry(arguments[0].clone()).or_default() += 1;
        }
    }
    // `top` is behind a feature: the pages cannot show it where the program may lack it.
    let command = auditflow::cli::command();
    for command in command.get_subcommands().filter(|command| command.get_name() != "top") {
        assert!(shown.contains_key(command.get_name()), "no page shows how to use `{}`", command.get_name());
    }
}

fn assert_accepted(line: &Line, arguments: &[String]) {
    let words = ["auditflow"].into_iter().chain(arguments.iter().map(String::as_str));
    let Err(reason) = auditflow::cli::command().try_get_matches_from(words) else { return };
    let is_help = matches!(reason.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    assert!(is_help, "{}: {}\n{reason}", line.place, line.text);
}

#[test]
fn project_files_named_in_commands_exist() {
    let mut found = 0;
    for line in lines() {
        for path in shell::commands(&line.text).iter().flat_map(|words| named_by(words)) {
            let exists =
                [path.clone(), path.with_extension("rs"), path.join("main.rs")].iter().any(|path| path.is_file());
            assert!(exists, "{}: {} does not exist", line.place, path.display());
            found += 1;
        }
    }
    assert!(found > 3, "only {found} were found");
}

/// The project files that a command names: by their path, or as a target of cargo (then without an extension).
fn named_by(words: &[String]) -> Vec<PathBuf> {
    let target = |pair: &[String]| {
        let directory = match pair[0].as_str() {
            "--example" => "examples",
            "--test" => "tests",
            "--bench" => "benches",
            _ => return None,
        };
        Some(root().join(directory).join(&pair[1]))
    };
    let is_ours =
        |word: &&String| ["examples/", "pipelines/", "tests/"].iter().any(|directory| word.starts_with(directory));
    let targets = words.windows(2).filter(|_| words[0] == "cargo").filter_map(target);
    words.iter().filter(is_ours).map(|word| root().join(word)).chain(targets).collect()
}

#[test]
fn every_read_only_command_prints_what_the_page_shows() {
    let mut commands_run = 0;
    for line in lines().iter().filter(|line| is_read_only(&line.text)) {
        let directory = tempfile::tempdir().unwrap();
        let variables = create_files(directory.path(), line);
        let output = run(line, directory.path(), &variables);
        let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}: {} ended with {}\n{printed}", line.place, line.text, output.status);
        assert!(
            printed.contains(&line.output),
            "{}: {}\n{printed}\ninstead of\n{}",
            line.place,
            line.text,
            line.output
        );
        commands_run += 1;
    }
    assert!(commands_run >= 10, "only {commands_run} commands were run");
}

/// Whether the line can read and change nothing outside its directory.
fn is_read_only(line: &str) -> bool {
    let commands = shell::commands(line);
    let is_harmless = |words: &Vec<String>| match arguments(words) {
        Some([first, rest @ ..]) => {
            first == "--version" || (READ_ONLY.contains(&first.as_str()) && !rest.iter().any(|word| word == "--watch"))
        }
        Some([]) => false,
        None => HARMLESS.contains(&words[0].as_str()),
    };
    !commands.is_empty() && commands.iter().all(is_harmless)
}

/// Creates the files that the page assumes: pipelines with a name in their first line (`# acme.yaml`), those of the README too,
/// the project's `pipelines`, and an export of a vendor. Returns the variables that the pipelines name.
fn create_files(directory: &Path, line: &Line) -> BTreeMap<String, String> {
    symlink(root().join("pipelines"), directory.join("pipelines")).unwrap();
    for page in [&root().join("README.md"), &line.page] {
        for block in blocks(page, &["yaml"]) {
            let name = block.text.lines().next().and_then(|first| first.strip_prefix("# ")).unwrap_or_default();
            if name.ends_with(".yaml") && !name.contains([' ', '/']) {
                fs::write(directory.join(name), complete(&block.text)).unwrap();
            }
        }
    }
    for words in shell::commands(&line.text) {
        if let Some(at) = words.iter().position(|word| word == "--vendor") {
            let normalizer = registry::normalizer(&words[at + 1], &NormalizerConfig::default()).unwrap();
            fs::write(directory.join(words.last().unwrap()), normalizer.example()).unwrap();
        }
    }
    let pipelines = ["acme.yaml", "tested.yaml", "try.yaml", "pipelines/all.yaml"]
        .map(|name| fs::read_to_string(directory.join(name)));
    let names = pipelines.iter().flatten().flat_map(|text| variables_of(text));
    names.map(|name| (name, "value".to_owned())).collect()
}

fn run(line: &Line, directory: &Path, variables: &BTreeMap<String, String>) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_auditflow"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", &line.text]).current_dir(directory).env_clear().envs(variables).env("PATH", path);
    command.output().unwrap()
}
