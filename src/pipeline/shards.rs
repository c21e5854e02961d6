//! The part of a pipeline that one shard runs, or the shards of one process.
//!
//! ```text
//! ValidatedPipeline --selected--> the sources of these shards --of_shard--> one journal: an ordinary pipeline
//! ```

use std::collections::HashSet;
use std::path::PathBuf;

use super::validated::{ValidatedPipeline, ValidatedSink, ValidatedSource};
use crate::deliver::Route;
use crate::journal::shard_dirs::{self, ShardsOfSources};
use crate::shard::{ShardKey, ShardSelection};
use crate::sinks::claims::OwnPath;

impl ValidatedPipeline {
    /// The pipeline with the sources of the selected shards only. Without shards it is the pipeline itself.
    ///
    /// # Errors
    /// It has no such shards; the text says what to do.
    pub fn selected(mut self, selection: &ShardSelection) -> Result<Self, String> {
        let selected = selection.of(self.settings.shards)?;
        if self.settings.shards.is_some() {
            self.keep_sources(|source| source.shard.is_some_and(|shard| selected.binary_search(&shard).is_ok()));
        }
        self.shards = selected;
        self.selection = selection.clone();
        Ok(self)
    }

    /// The pipeline of one shard: its sources, all sinks, and a journal of its own. Its name says the shard, and with it all that
    /// sinks name after the pipeline. A sink that reads none of its sources may still have to deliver what one of them has left.
    #[must_use]
    pub fn of_shard(&self, shard: u16) -> Self {
        let sources: Vec<_> = self.sources.iter().filter(|source| source.shard == Some(shard)).cloned().collect();
        let names: HashSet<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        let mut of_shard = self.part(shard, |route| names.contains(route.source.as_str()));
        of_shard.sources = sources;
        of_shard
    }

    /// The sinks and the journal of one shard, without sources: its outputs are found without knowing the accounts of sources.
    #[must_use]
    pub fn outputs_of_shard(&self, shard: u16) -> Self {
        self.part(shard, |_| true)
    }

    fn part(&self, shard: u16, is_its: impl Fn(&Route) -> bool) -> Self {
        let of_sink = |sink: &ValidatedSink| ValidatedSink {
            name: sink.name.clone(),
            config: sink.written.with_shard(&shard.to_string()),
            written: sink.written.clone(),
            routes: sink.routes.iter().filter(|route| is_its(route)).cloned().collect(),
            identity: sink.identity.clone(),
            batch: sink.batch,
            start: sink.start,
        };
        let mut settings = self.settings.clone();
        settings.data_dir = shard_dirs::directory(&self.settings.data_dir, shard);
        let name = format!("{}-shard-{shard}", self.name);
        settings.name = Some(name.clone());
        Self {
            name,
            sources: Vec::new(),
            sinks: self.sinks.iter().map(of_sink).collect(),
            shards: vec![shard],
            shard: Some(shard),
            selection: self.selection.clone(),
            // All others are those of the whole pipeline, as are its components, tests and warnings.
            own_paths: vec![OwnPath { path: settings.data_dir.clone(), what: "the data directory" }],
            shards_of_sources: ShardsOfSources::new(),
            settings,
            components: Vec::new(),
            tests: Ok(Vec::new()),
            warnings: Vec::new(),
        }
    }

    /// Drops other sources, also from what sinks read.
    fn keep_sources(&mut self, is_kept: impl Fn(&ValidatedSource) -> bool) {
        self.sources.retain(is_kept);
        let names: HashSet<&str> = self.sources.iter().map(|source| source.name.as_str()).collect();
        self.sinks.iter_mut().for_each(|sink| sink.routes.retain(|route| names.contains(route.source.as_str())));
    }

    /// The data directories of its journals: of each selected shard, or its own.
    #[must_use]
    pub fn data_dirs(&self) -> Vec<PathBuf> {
        let data_dir = &self.settings.data_dir;
        if !self.is_sharded() {
            return vec![data_dir.clone()];
        }
        self.shards.iter().map(|shard| shard_dirs::directory(data_dir, *shard)).collect()
    }

    /// Whether it has several journals: it has shards, and is not the pipeline of one.
    #[must_use]
    pub fn is_sharded(&self) -> bool {
        self.settings.shards.is_some() && self.shard.is_none()
    }

    /// Puts each source into its shard.
    pub(super) fn assign_shards(&mut self) {
        let Some(count) = self.settings.shards else { return };
        for source in &mut self.sources {
            let account = source.vendor.normalizer_config().tenant;
            let key = ShardKey {
                vendor: source.vendor_name,
                source: &source.name,
                account: account.as_deref(),
                rate_limit_group: source.options.rate_limit_group.as_deref(),
            };
            let shard = key.shard(count);
            source.shard = Some(shard);
            self.shards_of_sources.insert(source.name.clone(), shard);
        }
        self.shards = (0..count.get()).collect();
    }
}
