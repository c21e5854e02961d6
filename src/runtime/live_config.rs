//! The files of a pipeline, read again while it runs.
//!
//! ```text
//! SIGHUP ----------------------------> request_reload --+   one request is kept, however many are made
//! watch_files: two looks agree ------> request_reload --+--> requested --> load --> the run applies it --> active
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::MissedTickBehavior;

use super::file_digests::{ChangedFiles, digests};
use super::maintenance::on_own_thread;
use crate::pipeline::{
    self, ActiveConfig, Diagnostic, Environment, FileDigests, Overrides, PipelineFiles, ValidatedPipeline,
};
use crate::shard::ShardSelection;

/// How often files are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// What [`LiveConfig::watch_files`] has seen.
#[derive(Default)]
struct Looks {
    last: FileDigests,
    asked_for: FileDigests,
}

impl Looks {
    /// Whether a reload is due: the files are no longer those that were `read`, and they were the same at the look before. A
    /// file that is still being written must not be read: a YAML file that ends early is often a valid one.
    fn is_reload_due(&mut self, read: &FileDigests, now: FileDigests) -> bool {
        let is_due = now == self.last && now != *read && now != self.asked_for;
        if is_due {
            self.asked_for.clone_from(&now);
        }
        self.last = now;
        is_due
    }
}

/// The files of a pipeline with what a run has made of them. Clones share it.
#[derive(Clone)]
pub struct LiveConfig(Arc<Shared>);

struct Shared {
    files: PipelineFiles,
    environment: Environment,
    overrides: Overrides,
    requested: Notify,
    read: Mutex<ReadDigests>,
    active: watch::Sender<ActiveConfig>,
    /// Of the configuration of one shard: what that of the process has read for it. It never reads the files itself, which are
    /// those of all shards.
    handed_out: Option<Mutex<HandedOut>>,
    /// Whether the run of the shard has ended.
    ended: watch::Sender<bool>,
}

/// What a reload of the process hands to a shard, and where the shard says whether it has applied it.
#[derive(Default)]
struct HandedOut {
    loaded: Option<Loaded>,
    answer: Option<oneshot::Sender<bool>>,
}

/// The files as they were when a reload read them last, whether it succeeded or not.
#[derive(Clone, Debug, Default)]
struct ReadDigests {
    /// The files of the pipeline.
    pipeline: FileDigests,
    /// The files that its components name.
    named: FileDigests,
}

impl ReadDigests {
    fn all(&self) -> FileDigests {
        self.pipeline.iter().chain(&self.named).map(|(file, digest)| (file.clone(), *digest)).collect()
    }
}

/// A pipeline whose files were read again.
pub(super) struct Loaded {
    pub(super) pipeline: ValidatedPipeline,
    /// The files that its components name.
    pub(super) files: FileDigests,
}

impl LiveConfig {
    /// Reads and validates the files of a pipeline.
    ///
    /// # Errors
    /// Those of [`pipeline::load`].
    pub fn load(files: PipelineFiles, environment: Environment, overrides: Overrides) -> Result<Self, Vec<Diagnostic>> {
        let (pipeline, read) = pipeline::load_with_digests(&files, &environment, &overrides);
        Ok(Self::new(files, environment, overrides, pipeline?, read, None))
    }

    fn new(
        files: PipelineFiles,
        environment: Environment,
        overrides: Overrides,
        pipeline: ValidatedPipeline,
        read: FileDigests,
        handed_out: Option<Mutex<HandedOut>>,
    ) -> Self {
        Self(Arc::new(Shared {
            files,
            environment,
            overrides,
            requested: Notify::new(),
            read: Mutex::new(ReadDigests { pipeline: read, named: FileDigests::new() }),
            active: watch::Sender::new(ActiveConfig::new(pipeline)),
            handed_out,
            ended: watch::Sender::new(false),
        }))
    }

    /// Selects the shards that this process runs.
    ///
    /// # Errors
    /// The pipeline has no such shards; the text says what to do.
    pub fn select(&self, selection: &ShardSelection) -> Result<(), String> {
        let pipeline = self.0.active.borrow().pipeline.as_ref().clone().selected(selection)?;
        self.0.active.send_modify(|active| active.pipeline = Arc::new(pipeline));
        Ok(())
    }

    /// The configuration of a shard, whose pipeline this one hands out at each reload.
    pub(super) fn of_shard(&self, pipeline: ValidatedPipeline) -> Self {
        let Shared { files, environment, overrides, .. } = &*self.0;
        Self::new(
            files.clone(),
            environment.clone(),
            overrides.clone(),
            pipeline,
            FileDigests::new(),
            Some(Mutex::default()),
        )
    }

    /// Hands a pipeline that was read to the run of a shard, which applies it. Whether it did; `None` if it has ended.
    pub(super) async fn hand_out(&self, pipeline: ValidatedPipeline, files: FileDigests) -> Option<bool> {
        let (answer, answered) = oneshot::channel();
        self.hand(HandedOut { loaded: Some(Loaded { pipeline, files }), answer: Some(answer) });
        self.request_reload();
        let mut ended = self.0.ended.subscribe();
        tokio::select! {
            answer = answered => answer.ok(),
            _ = ended.wait_for(|ended| *ended) => None,
        }
    }

    /// Whether it is that of one shard.
    pub(super) fn is_of_shard(&self) -> bool {
        self.0.handed_out.is_some()
    }

    /// Whether a reload was applied.
    pub(super) fn answer(&self, succeeded: bool) {
        let answer = self.handed_out().and_then(|mut handed_out| handed_out.answer.take());
        // Without a shard nobody waits for it.
        let _ = answer.map(|answer| answer.send(succeeded));
    }

    /// The run of the shard has ended: nothing is applied any more.
    pub(super) fn end(&self) {
        self.0.ended.send_replace(true);
    }

    /// The shard runs again, with this pipeline.
    pub(super) fn begin_again(&self, pipeline: ValidatedPipeline) {
        self.hand(HandedOut::default());
        self.0.active.send_modify(|active| active.pipeline = Arc::new(pipeline));
        self.0.ended.send_replace(false);
    }

    fn hand(&self, next: HandedOut) {
        if let Some(mut handed_out) = self.handed_out() {
            *handed_out = next;
        }
    }

    fn handed_out(&self) -> Option<MutexGuard<'_, HandedOut>> {
        // No call leaves it half changed.
        self.0.handed_out.as_ref().map(|handed_out| handed_out.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The configuration that the run works with.
    #[must_use]
    pub fn active(&self) -> watch::Receiver<ActiveConfig> {
        self.0.active.subscribe()
    }

    /// Asks for a reload. A request during the start or during a reload waits for its end.
    pub fn request_reload(&self) {
        self.0.requested.notify_one();
    }

    /// Asks for a reload whenever a file of the pipeline or a file that one names has changed and was the same at two looks, or
    /// a file of a directory was added or removed. Links are followed.
    pub async fn watch_files(self) {
        let mut ticks = tokio::time::interval(WATCH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut changed, mut looks) = (ChangedFiles::default(), Looks::default());
        loop {
            ticks.tick().await;
            let (read, files) = (self.read().all(), self.0.files.clone());
            let look = tokio::task::spawn_blocking(move || {
                // A directory that cannot be read now has no files that are new.
                let expanded = files.expanded().unwrap_or_default();
                let now = changed.digests(read.keys().chain(&expanded).collect::<BTreeSet<_>>().into_iter());
                (now, read, changed)
            });
            let Ok((now, read, looked)) = look.await else { return };
            changed = looked;
            if looks.is_reload_due(&read, now) {
                tracing::debug!(
                    event = "config_file_changed",
                    "a file of the pipeline or a file that one names has changed"
                );
                self.request_reload();
            }
        }
    }

    pub(super) async fn requested(&self) {
        loop {
            self.0.requested.notified().await;
            // What a shard was asked for before it ran again is part of what it runs with.
            if self.handed_out().is_none_or(|handed_out| handed_out.loaded.is_some()) {
                return;
            }
        }
    }

    pub(super) fn sender(&self) -> watch::Sender<ActiveConfig> {
        self.0.active.clone()
    }

    /// The files of a pipeline that is about to start, as they are now.
    pub(super) fn files_of(&self, pipeline: &ValidatedPipeline) -> FileDigests {
        let files = digests(pipeline);
        self.read().named.extend(files.clone());
        files
    }

    /// Reads the files again, or takes what was handed out.
    pub(super) async fn reload(&self) -> Result<Loaded, Vec<Diagnostic>> {
        if let Some(mut handed_out) = self.handed_out() {
            let unchanged = || {
                let pipeline = self.0.active.borrow().pipeline.as_ref().clone();
                Loaded { files: digests(&pipeline), pipeline }
            };
            return Ok(handed_out.loaded.take().unwrap_or_else(unchanged));
        }
        let config = self.clone();
        on_own_thread(move || config.reload_now()).await
    }

    fn reload_now(&self) -> Result<Loaded, Vec<Diagnostic>> {
        let Shared { files, environment, overrides, .. } = &*self.0;
        let (pipeline, read) = pipeline::load_with_digests(files, environment, overrides);
        self.read().pipeline = read;
        let pipeline = pipeline?;
        let files = digests(&pipeline);
        // Files of the pipeline that runs stay: if this one cannot be applied, their next change is a reason to try again.
        self.read().named.extend(files.clone());
        Ok(Loaded { pipeline, files })
    }

    /// These are the files of the pipeline that runs now: others need not be watched.
    pub(super) fn applied(&self, files: &FileDigests) {
        self.read().named.retain(|file, _| files.contains_key(file));
    }

    fn read(&self) -> MutexGuard<'_, ReadDigests> {
        // No call leaves it half changed.
        self.0.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LiveConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveConfig").field("files", &self.0.files).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_once_it_is_the_same_at_two_looks() {
        let files = |content: u8| FileDigests::from([("acme.yaml".into(), Some([content; 32]))]);
        let (read, half, whole) = (files(0), files(1), files(2));
        let mut looks = Looks::default();
        let mut is_due = |read: &FileDigests, now: &FileDigests| looks.is_reload_due(read, now.clone());
        assert!(!is_due(&read, &read) && !is_due(&read, &read), "nothing has changed");
        assert!(!is_due(&read, &half), "it may be half written");
        assert!(!is_due(&read, &whole), "it was");
        assert!(is_due(&read, &whole));
        assert!(!is_due(&read, &whole), "one request is enough");
        assert!(!is_due(&whole, &whole), "it is read");
        assert!(!is_due(&whole, &read) && is_due(&whole, &read), "the former contents are a change too");
    }
}
