//! Every pipeline on every page is valid according to `auditflow validate`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use assert_cmd::Command;

use crate::pages::all_blocks;

/// What a page may omit when it shows only a sink.
const SOURCES: &str = "sources:\n  acme:\n    type: clumio\n    access_token: {file: token}\n";
const TRANSFORMS: &str = "transforms:\n  events:\n    type: normalize\n    inputs: [acme]\n";

#[test]
fn every_pipeline_on_every_page_is_valid() {
    let blocks = all_blocks(&["yaml", "yml"]);
    assert!(blocks.len() >= 5, "only {} blocks of YAML were found", blocks.len());
    let directory = tempfile::tempdir().unwrap();
    for block in &blocks {
        let file = directory.path().join("pipeline.yaml");
        fs::write(&file, complete(&block.text)).unwrap();
        let output = validate(&file, &variables_of(&block.text));
        let printed = String::from_utf8_lossy(&output.stderr);
        // The files of secrets on the pages do not exist here.
        let mut others = printed.split("\n\n").filter(|text| !text.trim().starts_with("warning: the secret file "));
        assert!(output.status.success() && others.all(|text| text.trim().is_empty()), "{}\n{printed}", block.place());
    }
}

fn validate(file: &Path, variables: &BTreeSet<String>) -> std::process::Output {
    let mut command = Command::cargo_bin("auditflow").unwrap();
    command.env_clear().envs(variables.iter().map(|name| (name, "value"))).arg("validate").arg(file);
    command.output().unwrap()
}

/// The block as a complete pipeline: with a source and a transform if it shows only a sink.
pub(crate) fn complete(block: &str) -> String {
    let has = |section: &str| block.lines().any(|line| line.starts_with(section));
    let sources = if has("sources:") { "" } else { SOURCES };
    let transforms = if has("transforms:") { "" } else { TRANSFORMS };
    format!("{sources}{transforms}{block}")
}

/// The environment variables that must be set for a pipeline: those without a default.
pub(crate) fn variables_of(pipeline: &str) -> BTreeSet<String> {
    let references = pipeline.split("${").skip(1).filter_map(|rest| rest.split('}').next());
    references.filter(|reference| !reference.contains(':')).map(str::to_owned).collect()
}
