//! Which shard's journal a `state` command changes: that of the source, by the whole file, else the only one that has the name.

use crate::journal::{SnapshotQuery, SqliteJournal, shard_dirs};
use crate::pipeline::{PipelineFiles, ValidatedPipeline, ValidatedSource};
use crate::shard::{ShardKey, ranges};

/// The names that a command is about. They differ if it renames.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    /// That of the journal.
    pub(super) recorded: &'a str,
    /// That of the file.
    pub(super) in_file: &'a str,
}

impl<'a> From<&'a String> for Target<'a> {
    fn from(name: &'a String) -> Self {
        Self { recorded: name, in_file: name }
    }
}

/// A pipeline with shards, and what the command line says of the one that is meant.
pub(super) struct ShardSearch<'a> {
    /// The files, as the user names them.
    pub(super) files: &'a PipelineFiles,
    /// The whole pipeline.
    pub(super) pipeline: &'a ValidatedPipeline,
    /// Whether all variables of the file are set.
    pub(super) environment_is_complete: bool,
    /// The value of `--shard`.
    pub(super) option: Option<u16>,
}

impl ShardSearch<'_> {
    /// The shard that a command is about.
    pub(super) fn shard(&self, target: Target<'_>) -> Result<u16, String> {
        let name = target.in_file;
        if self.pipeline.sinks.iter().any(|sink| sink.name == name) {
            return self.option.ok_or_else(|| {
                let count = self.pipeline.shards.len();
                format!(
                    "sink `{name}` is in each of the {count} shards, and this command changes the journal of one; name it with --shard"
                )
            });
        }
        match self.pipeline.sources.iter().find(|source| source.name == name) {
            // Placeholders would put it into another shard.
            Some(_) if !self.environment_is_complete => Err(format!(
                "variables of the file are not set, and the shard of source `{name}` may depend on them; use the environment of `run` (`auditflow validate {}` names what is missing), then repeat this command",
                self.files
            )),
            Some(source) => self.shard_of_source(source, target),
            None => self.shard_of_recorded(target.recorded),
        }
    }

    fn shard_of_source(&self, source: &ValidatedSource, target: Target<'_>) -> Result<u16, String> {
        let shard = source.shard.expect("a pipeline with shards has put each source into one");
        let was = if target.recorded == target.in_file { Vec::new() } else { self.shards_with(target.recorded) };
        if let Some(was) = was.first().filter(|_| !was.contains(&shard)) {
            return Err(self.moved(source, shard, target.recorded, *was));
        }
        match self.option {
            Some(option) if option != shard => {
                Err(format!("source `{}` belongs to shard {shard}: use --shard {shard}", source.name))
            }
            _ => Ok(shard),
        }
    }

    /// A source that the file no longer has is where it ran.
    fn shard_of_recorded(&self, name: &str) -> Result<u16, String> {
        if let Some(option) = self.option {
            return Ok(option);
        }
        match self.shards_with(name).as_slice() {
            [shard] => Ok(*shard),
            [] => Err(format!(
                "{} has no source or sink `{name}`, and no journal in {} knows one; `auditflow status {0}` lists the names that are recorded there",
                self.files,
                self.pipeline.settings.data_dir.display()
            )),
            several => Err(format!(
                "`{name}` is recorded in shards {}, and this command changes the journal of one; name it with --shard",
                ranges(several)
            )),
        }
    }

    /// The shards whose journals here have a source or sink of this name. What cannot be read is passed over: it is another
    /// shard's, or it is opened later, with its error.
    fn shards_with(&self, name: &str) -> Vec<u16> {
        let query = SnapshotQuery { sources: Some(&[]), sinks: &[], evidence: None };
        let has_name = |shard: &u16| {
            let directory = shard_dirs::directory(&self.pipeline.settings.data_dir, *shard);
            let Ok(Some(journal)) = SqliteJournal::snapshot(&directory, &query) else { return false };
            let stats = &journal.stats;
            stats.sources.iter().any(|source| source.name == name) || stats.sinks.iter().any(|sink| sink.name == name)
        };
        self.pipeline.shards.iter().copied().filter(has_name).collect()
    }

    /// A rename would move a source into another journal.
    fn moved(&self, source: &ValidatedSource, now: u16, old: &str, was: u16) -> String {
        let new = &source.name;
        let way_out = match (source.options.rate_limit_group.is_some(), self.pipeline.settings.shards) {
            (false, Some(count)) => {
                let shard_of = |group: &str| {
                    let key = ShardKey {
                        vendor: source.vendor_name,
                        source: new,
                        account: None,
                        rate_limit_group: Some(group),
                    };
                    key.shard(count)
                };
                let groups = (0_u32..).map(|number| format!("{new}-{number}"));
                let group = groups.into_iter().find(|group| shard_of(group) == was).expect("some group has each shard");
                format!("set `rate_limit_group: {group}` for it, with which its shard is {was}")
            }
            _ => format!("give it the `rate_limit_group` of `{old}`"),
        };
        format!(
            "`{old}` is recorded in shard {was}, and `{new}` belongs to shard {now}: a rename cannot move it to another journal; {way_out}, or keep the name `{old}`"
        )
    }
}
