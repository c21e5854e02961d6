//! Runs a pipeline from start to end: its one journal, or those of its shards.

use std::sync::Arc;

use tokio::sync::watch;

use super::journal_run::{open_journal, run_journal};
use super::report::{RunError, RunReport};
use super::shards;
use super::start::RunOptions;
use crate::journal::shard_dirs;
use crate::pipeline::{ActiveConfig, ValidatedPipeline};
use crate::telemetry::ServiceManager;

/// Runs a pipeline to its end.
///
/// # Errors
/// The pipeline cannot be started, or nothing can write to the journal any more. Later errors of one source or sink are in
/// the report.
pub async fn run(pipeline: ValidatedPipeline, options: RunOptions) -> Result<RunReport, RunError> {
    let manager = Arc::new(options.config.as_ref().map(|_| ServiceManager::of_process()).unwrap_or_default());
    if pipeline.is_sharded() {
        return shards::run(pipeline, options, manager).await;
    }
    if pipeline.shard.is_none() {
        shard_dirs::check(&pipeline.settings.data_dir, None)?;
    }
    let journal = open_journal(&pipeline)?;
    let config = match &options.config {
        Some(live) => live.sender(),
        None => watch::Sender::new(ActiveConfig::new(pipeline)),
    };
    run_journal(journal, config, options, manager).await
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::pipeline::{Environment, Overrides, validate};
    use crate::runtime::RunMode;

    #[tokio::test]
    async fn the_end_of_the_journals_writer_ends_the_run_with_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let text = format!(
            "
data_dir: {}
sources: {{acme: {{type: clumio, base_url: 'http://127.0.0.1:1', access_token: secret}}}}
transforms: {{events: {{type: normalize, inputs: [acme]}}}}
sinks: {{out: {{type: file, inputs: [events], path: out.ndjson}}}}
",
            directory.path().join("data").display()
        );
        let overrides = Overrides::default();
        let pipeline =
            validate("acme.yaml", &text, Path::new("/acme"), &Environment::from_pairs([("", ""); 0]), &overrides)
                .expect("a good file");
        let options = RunOptions::new(RunMode::Continuous, CancellationToken::new());
        let (started, writer_ended) = (options.started.clone(), options.writer_ended.clone());
        let running = tokio::spawn(run(pipeline, options));
        started.cancelled().await;
        writer_ended.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(60), running).await.expect("it ends").expect("no panic");
        let error = ended.expect_err("the run has failed").to_string();
        assert!(error.contains("intact") && error.contains("restart auditflow"), "{error}");
    }
}
