//! `auditflow init`: a commented pipeline file to begin with, put together from the example of each vendor.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;

use super::process::{EXIT_DONE, EXIT_FAILED, print_data, print_stderr};

/// The example of each vendor.
const EXAMPLES: [(&str, &str); 5] = [
    ("akuity", include_str!("../../pipelines/akuity.yaml")),
    ("captivateiq", include_str!("../../pipelines/captivateiq.yaml")),
    ("clumio", include_str!("../../pipelines/clumio.yaml")),
    ("confluence", include_str!("../../pipelines/confluence.yaml")),
    ("merge", include_str!("../../pipelines/merge.yaml")),
];
/// Above the variables in each example, and below them.
const VARIABLES: (&str, &str) = ("# Set these variables before the first start:\n", "# Then run:\n");

/// Write a commented pipeline file for these vendors
///
/// Prints it, or writes it with --output. Exit code 0 on success, 1 if the file exists or cannot be written.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The vendors to collect from
    #[arg(required = true, value_name = "VENDOR", value_parser = PossibleValuesParser::new(EXAMPLES.map(|(name, _)| name)))]
    vendors: Vec<String>,
    /// Write to this file, which must not exist
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let name = arguments.output.as_ref().map_or_else(|| "FILE".to_owned(), |file| file.display().to_string());
    let text = pipeline(&arguments.vendors, &name);
    let Some(file) = &arguments.output else {
        print_data(&text);
        return EXIT_DONE;
    };
    let written = std::fs::OpenOptions::new().write(true).create_new(true).open(file);
    match written.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes())) {
        Ok(()) => {
            print_stderr(&format!(
                "{name} is written: set the variables that it names, then `auditflow validate {name}`\n"
            ));
            EXIT_DONE
        }
        Err(error) => {
            print_stderr(&format!("error: cannot write {name}: {error}; give another --output\n"));
            EXIT_FAILED
        }
    }
}

/// The file for these vendors, each once.
fn pipeline(vendors: &[String], name: &str) -> String {
    let examples: Vec<_> =
        EXAMPLES.iter().filter(|(vendor, _)| vendors.iter().any(|wanted| wanted == vendor)).collect();
    let variables: String = examples.iter().map(|(_, example)| between(example, VARIABLES)).collect();
    let sources: Vec<&str> =
        examples.iter().map(|(_, example)| between(example, ("\nsources:\n", "\ntransforms:")).trim_end()).collect();
    let names: Vec<&str> = examples.iter().map(|(vendor, _)| *vendor).collect();
    format!(
        "# yaml-language-server: $schema=./auditflow.schema.json
# The line above lets an editor complete and check this file: `auditflow schema > auditflow.schema.json` writes the schema.
#
{}{variables}{}#   auditflow validate {name}
#   auditflow run {name}
# Later, `tests:` and `auditflow test {name}` check your own filters: docs/pipelines.md

data_dir: ./data                        # the journal: collected events, covered time, sink positions

sources:
{}

transforms:
  events:
    type: normalize                     # the common schema
    inputs: [{}]

sinks:
  files:                                # other types: kafka, s3, console
    type: file
    inputs: [events]
    path: ./audit/{{{{ vendor }}}}/%Y-%m-%d.ndjson    # one file per vendor and day of the event's time
",
        VARIABLES.0,
        VARIABLES.1,
        sources.join("\n\n"),
        names.join(", "),
    )
}

/// The text between two others. The examples have them all, which a test asserts.
fn between<'t>(text: &'t str, (before, after): (&str, &str)) -> &'t str {
    let (_, rest) = text.split_once(before).unwrap_or_default();
    rest.split_once(after).map_or(rest, |(between, _)| between)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::pipeline::{Environment, Overrides, validate};
    use crate::vendors::registry;

    #[test]
    fn what_it_writes_is_a_pipeline_without_mistakes() {
        let all: Vec<String> = EXAMPLES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(EXAMPLES.map(|(name, _)| name).to_vec(), registry::names());
        let each = all.iter().map(|vendor| vec![vendor.clone()]);
        for vendors in each.chain([all.clone()]) {
            let text = pipeline(&vendors, "acme.yaml");
            let environment = Environment::from_pairs([]).with_placeholders();
            let pipeline = validate("acme.yaml", &text, Path::new(""), &environment, &Overrides::default());
            let pipeline = pipeline.unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{text}"));
            assert_eq!((pipeline.sources.len(), pipeline.warnings.len()), (vendors.len(), 0), "{text}");
            for variable in text.split("${").skip(1).filter_map(|rest| rest.split('}').next()) {
                assert!(text.contains(&format!("#   {variable} ")), "{variable} is not explained:\n{text}");
            }
        }
    }
}
