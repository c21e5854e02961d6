//! The pages of the project: every pipeline that they show must be right, as `auditflow validate` sees it.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;

/// What a page may leave out when it shows a sink alone.
const SOURCES: &str = "sources:\n  acme:\n    type: clumio\n    access_token: token\n";
const TRANSFORMS: &str = "transforms:\n  events:\n    type: normalize\n    inputs: [acme]\n";

/// A block of YAML on a page.
struct Block {
    page: PathBuf,
    line: usize,
    text: String,
}

#[test]
fn every_pipeline_on_every_page_is_right() {
    let blocks: Vec<Block> = pages().iter().flat_map(|page| yaml_blocks(page)).collect();
    assert!(blocks.len() >= 5, "only {} blocks of YAML were found", blocks.len());
    let folder = tempfile::tempdir().unwrap();
    for block in &blocks {
        let file = folder.path().join("pipeline.yaml");
        fs::write(&file, complete(&block.text)).unwrap();
        let output = validate(&file, &variables_of(&block.text));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{}:{}\n{said}", block.page.display(), block.line);
    }
}

fn validate(file: &Path, variables: &BTreeSet<String>) -> std::process::Output {
    let mut command = Command::cargo_bin("auditflow").unwrap();
    command.env_clear().envs(variables.iter().map(|name| (name, "value"))).arg("validate").arg(file);
    command.output().unwrap()
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = |name: &str| fs::read_dir(root.join(name)).unwrap().map(|entry| entry.unwrap().path());
    let docs = folder("docs").chain(folder("docs/sources"));
    let pages = docs.chain([root.join("README.md"), root.join("ARCHITECTURE.md"), root.join("CONTRIBUTING.md")]);
    pages.filter(|page| page.extension().is_some_and(|end| end == "md")).collect()
}

fn yaml_blocks(page: &Path) -> Vec<Block> {
    let text = fs::read_to_string(page).unwrap();
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.trim_end()) {
            (None, "```yaml" | "```yml") => {
                open = Some(Block { page: page.to_owned(), line: number + 2, text: String::new() });
            }
            (Some(_), "```") => blocks.extend(open.take()),
            (Some(block), _) => block.text.extend([line, "\n"]),
            (None, _) => {}
        }
    }
    assert!(open.is_none(), "{}: a block of YAML has no end", page.display());
    blocks
}

/// The block as a whole pipeline: with a source and a transform if it shows a sink alone.
fn complete(block: &str) -> String {
    let has = |section: &str| block.lines().any(|line| line.starts_with(section));
    let sources = if has("sources:") { "" } else { SOURCES };
    let transforms = if has("transforms:") { "" } else { TRANSFORMS };
    format!("{sources}{transforms}{block}")
}

/// The environment variables that a block names.
fn variables_of(block: &str) -> BTreeSet<String> {
    let names = block.split("${").skip(1).filter_map(|rest| rest.split(['}', ':']).next());
    names.map(str::to_owned).collect()
}
