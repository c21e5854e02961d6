//! Reads the log of a table.
//!
//! ```text
//! start          _last_checkpoint -> LIST from there -> the newest checkpoint, then each version after it
//! later          LIST from the last known version on, that one included: if it is gone, everything is read again
//! ```

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::actions::{self, Entry, MetaData, Protocol};
use super::checkpoint;
use super::layout::TableLayout;
use super::snapshot::Snapshot;
use crate::journal::Seq;
use crate::sinks::SinkError;
use crate::sinks::s3::error::transient;
use crate::sinks::s3::upload::{Store, all_or_error};

/// Versions that are read at once.
const READS_AT_ONCE: usize = 16;

/// The object that names a recent checkpoint.
const LAST_CHECKPOINT: &str = "_last_checkpoint";

/// What a writer knows of the table.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    /// The newest version; `None` if there is no table.
    pub(super) version: Option<i64>,
    /// The newest checkpoint.
    pub(super) checkpoint: Option<i64>,
    /// The version at which this sink tried to write one last.
    pub(super) tried: Option<i64>,
    pub(super) metadata: Option<MetaData>,
    /// The last commit of this sink.
    pub(super) own: Option<OwnCommit>,
}

/// A commit of this sink, as the log shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnCommit {
    /// The version; of a commit that only a checkpoint shows, the checkpoint's.
    pub(super) version: i64,
    /// The last event in it.
    pub(super) position: Seq,
    /// What it says of itself. A checkpoint does not keep it.
    pub(super) note: Option<CommitNote>,
}

/// What a commit says of itself, in `commitInfo.userMetadata`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CommitNote {
    pub(super) first: Seq,
    pub(super) last: Seq,
    pub(super) rows: u64,
    /// The process that first wrote the batch.
    pub(super) token: String,
    /// The key of the batch's manifest, and its SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) manifest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) manifest_sha256: Option<String>,
}

impl Head {
    /// Takes over a version, or a checkpoint.
    ///
    /// # Errors
    /// The table has features that this writer does not know.
    pub(super) fn apply(&mut self, version: i64, entries: &[Entry], app: &str) -> Result<(), SinkError> {
        let note = entries.iter().find_map(note_of);
        for entry in entries {
            if let Some(protocol) = &entry.protocol {
                expect_protocol(protocol)?;
            }
            if let Some(metadata) = &entry.meta_data {
                expect_properties(metadata)?;
                self.metadata = Some(metadata.clone());
            }
            if let Some(txn) = entry.txn.as_ref().filter(|txn| txn.app_id == app) {
                let position = Seq::try_from(txn.version).unwrap_or_default();
                self.own = Some(OwnCommit { version, position, note: note.clone() });
            }
        }
        self.version = Some(version);
        Ok(())
    }
}

fn note_of(entry: &Entry) -> Option<CommitNote> {
    serde_json::from_str(entry.commit_info.as_ref()?.get("userMetadata")?.as_str()?).ok()
}

fn expect_protocol(protocol: &Protocol) -> Result<(), SinkError> {
    let Protocol { min_reader_version, min_writer_version } = protocol;
    if *min_reader_version == 1 && *min_writer_version <= 2 {
        return Ok(());
    }
    Err(refused(&format!(
        "it needs reader version {min_reader_version} and writer version {min_writer_version}, and auditflow writes tables of 1 and 2"
    )))
}

/// Properties that change what a writer must do.
const PROPERTIES: &[(&str, &str, &str)] = &[
    ("delta.columnMapping.mode", "none", "column mapping"),
    ("delta.enableRowTracking", "false", "row tracking"),
    ("delta.enableInCommitTimestamps", "false", "in-commit timestamps"),
    ("delta.enableDeletionVectors", "false", "deletion vectors"),
    ("delta.enableChangeDataFeed", "false", "the change data feed"),
];

fn expect_properties(metadata: &MetaData) -> Result<(), SinkError> {
    for (name, without, feature) in PROPERTIES {
        if metadata.configuration.get(*name).is_some_and(|value| !value.eq_ignore_ascii_case(without)) {
            return Err(refused(&format!("it has {feature} ({name}), which auditflow does not write")));
        }
    }
    Ok(())
}

/// The names of the log that a LIST shows.
#[derive(Debug, Default)]
struct Listed {
    versions: Vec<i64>,
    /// The files of each checkpoint.
    checkpoints: BTreeMap<i64, Vec<String>>,
}

impl Listed {
    fn of(keys: Vec<String>) -> Self {
        let mut listed = Self::default();
        for key in keys {
            let name = key.rsplit('/').next().unwrap_or_default();
            let Some((digits, rest)) = name.split_at_checked(20) else { continue };
            let Ok(version) = digits.parse::<i64>() else { continue };
            match rest {
                ".json" => listed.versions.push(version),
                _ if rest.starts_with(".checkpoint.") && rest.ends_with(".parquet") => {
                    listed.checkpoints.entry(version).or_default().push(key);
                }
                _ => {}
            }
        }
        listed
    }

    /// The newest checkpoint with all its files.
    fn newest(&self) -> Option<(i64, &[String])> {
        let is_complete = |files: &[String]| {
            let parts = files[0].rsplit('.').nth(1).and_then(|parts| parts.parse().ok()).unwrap_or(1);
            files.len() == parts
        };
        self.checkpoints.iter().rev().find(|(_, files)| is_complete(files)).map(|(version, files)| (*version, &**files))
    }
}

/// The name of a version.
pub(super) fn name_of(version: i64) -> String {
    format!("{version:020}.json")
}

/// The log of one table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log<'a> {
    pub(super) layout: &'a TableLayout,
    /// This sink, among those that write to the table.
    pub(super) app: &'a str,
}

impl Log<'_> {
    /// Brings `head` up to the newest version.
    ///
    /// # Errors
    /// The store cannot be read, or the table cannot be written by this version of auditflow.
    pub(super) async fn advance(self, store: &mut Store, head: &mut Head) -> Result<(), SinkError> {
        let Some(known) = head.version else { return self.load(store, head).await };
        let listed = self.list(store, known).await?;
        if !is_gapless(&listed.versions, known) {
            return self.load(store, head).await;
        }
        for (version, entries) in self.read(store, &listed.versions[1..]).await? {
            head.apply(version, &entries, self.app)?;
        }
        head.checkpoint = head.checkpoint.max(listed.newest().map(|(version, _)| version));
        Ok(())
    }

    async fn load(self, store: &mut Store, head: &mut Head) -> Result<(), SinkError> {
        let mut loaded = Head { tried: head.tried, ..Head::default() };
        let replay = self.replay(store, |version, entries| loaded.apply(version, &entries, self.app));
        let checkpoint = replay.await?;
        loaded.checkpoint = checkpoint;
        *head = loaded;
        Ok(())
    }

    /// All that the table has.
    pub(super) async fn snapshot(self, store: &mut Store) -> Result<(i64, Snapshot), SinkError> {
        let (mut newest, mut snapshot) = (0, Snapshot::default());
        let replay = self.replay(store, |version, entries| {
            newest = version;
            snapshot.apply(entries);
            Ok(())
        });
        replay.await?;
        Ok((newest, snapshot))
    }

    /// Calls `apply` with the newest checkpoint and each version after it. Returns the checkpoint's version.
    async fn replay(
        self,
        store: &mut Store,
        mut apply: impl FnMut(i64, Vec<Entry>) -> Result<(), SinkError>,
    ) -> Result<Option<i64>, SinkError> {
        let hint = store.read(&self.layout.log_key(LAST_CHECKPOINT)).await?;
        let from =
            hint.and_then(|bytes| serde_json::from_slice::<LastCheckpoint>(&bytes).ok()).map_or(0, |hint| hint.version);
        let listed = self.list(store, from).await?;
        let newest = listed.newest();
        if let Some((version, files)) = newest {
            let mut entries = Vec::new();
            for key in files {
                entries.extend(
                    checkpoint::decode(self.expect(store, key).await?).map_err(|reason| unreadable(key, &reason))?,
                );
            }
            apply(version, entries)?;
        }
        let after = newest.map_or(-1, |(version, _)| version);
        let versions: Vec<_> = listed.versions.iter().copied().filter(|version| *version > after).collect();
        if versions.first().is_some_and(|first| *first != after + 1)
            || !is_gapless(&versions, after + 1) && !versions.is_empty()
        {
            let log = self.layout.log_key("");
            let hint = "if an engine cleans the log up at the moment, it is complete again at the next attempt; otherwise repair the table with it";
            return Err(transient(format!("the log of the Delta table has a gap after version {after} ({log})"), hint));
        }
        for (version, entries) in self.read(store, &versions).await? {
            apply(version, entries)?;
        }
        Ok(newest.map(|(version, _)| version))
    }

    /// What the log has of this version and of later ones.
    async fn list(self, store: &mut Store, from: i64) -> Result<Listed, SinkError> {
        let directory = self.layout.log_key("");
        // A dot sorts before the names of this version, whose digits are followed by one.
        Ok(Listed::of(store.keys_after(&directory, &format!("{directory}{from:020}")).await?))
    }

    async fn read(self, store: &mut Store, versions: &[i64]) -> Result<Vec<(i64, Vec<Entry>)>, SinkError> {
        let client = &store.client().await?;
        let store = &*store;
        let mut reads: Vec<BoxFuture<'_, Result<_, SinkError>>> = Vec::new();
        for version in versions.iter().copied() {
            let key = self.layout.log_key(&name_of(version));
            reads.push(Box::pin(async move {
                let bytes = store.read_by(client, &key).await?.ok_or_else(|| vanished(&key))?;
                let entries = actions::decode(&bytes).map_err(|error| unreadable(&key, &error.to_string()))?;
                Ok((version, entries))
            }));
        }
        let mut read = all_or_error(READS_AT_ONCE, reads).await?;
        read.sort_unstable_by_key(|(version, _)| *version);
        Ok(read)
    }

    async fn expect(self, store: &mut Store, key: &str) -> Result<Vec<u8>, SinkError> {
        store.read(key).await?.ok_or_else(|| vanished(key))
    }

    /// Writes the checkpoint of the newest version.
    pub(super) async fn write_checkpoint(self, store: &mut Store, now_millis: i64) -> Result<i64, SinkError> {
        let (version, snapshot) = self.snapshot(store).await?;
        let encoded =
            checkpoint::encode(&snapshot, now_millis).map_err(|reason| unreadable("the checkpoint", &reason))?;
        let (bytes, size) = encoded;
        let key = self.layout.log_key(&format!("{version:020}.checkpoint.parquet"));
        store.put_over(&key, bytes).await?;
        let last = serde_json::to_vec(&LastCheckpoint { version, size }).expect("plain fields always become JSON");
        store.put_over(&self.layout.log_key(LAST_CHECKPOINT), last).await?;
        Ok(version)
    }
}

/// `_last_checkpoint`.
#[derive(Debug, Serialize, Deserialize)]
struct LastCheckpoint {
    version: i64,
    /// Entries in it.
    size: usize,
}

/// The table is not one that this sink can write.
pub(super) fn refused(reason: &str) -> SinkError {
    SinkError::Stopped {
        message: format!("cannot write to the Delta table that is there: {reason}"),
        hint: "give the sink a table of its own: another directory at the start of `key_prefix`".to_owned(),
    }
}

fn is_gapless(versions: &[i64], first: i64) -> bool {
    versions.first() == Some(&first) && versions.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

fn vanished(key: &str) -> SinkError {
    transient(
        format!("{key} was in the log of the Delta table a moment ago, and is gone"),
        "see who cleans up the bucket: nothing but the engine's own clean-up may delete below `_delta_log/`",
    )
}

fn unreadable(key: &str, reason: &str) -> SinkError {
    transient(
        format!("cannot read {key} of the Delta table: {reason}"),
        "repair the table, or write another one: change `key_prefix`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> Listed {
        Listed::of(names.iter().map(|name| format!("audit/_delta_log/{name}")).collect())
    }

    #[test]
    fn a_checkpoint_counts_with_all_its_parts() {
        let listed = listed(&[
            "00000000000000000001.json",
            "00000000000000000002.checkpoint.0000000001.0000000002.parquet",
            "00000000000000000002.checkpoint.0000000002.0000000002.parquet",
            "00000000000000000003.checkpoint.0000000001.0000000002.parquet",
            "00000000000000000003.crc",
            "_last_checkpoint",
        ]);
        assert_eq!(listed.versions, [1]);
        assert_eq!(listed.newest().map(|(version, files)| (version, files.len())), Some((2, 2)));
    }

    #[test]
    fn a_gap_is_seen() {
        assert!(is_gapless(&[4, 5, 6], 4) && is_gapless(&[4], 4));
        assert!(!is_gapless(&[], 4) && !is_gapless(&[5, 6], 4) && !is_gapless(&[4, 6], 4));
    }

    #[test]
    fn tables_that_need_more_of_a_writer_are_refused() {
        let apply = |line: &str| Head::default().apply(0, &actions::decode(line.as_bytes()).expect("an entry"), "app");
        apply(r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#).expect("ours");
        let metadata = |name: &str, value: &str| {
            format!(
                r#"{{"metaData":{{"id":"x","format":{{"provider":"parquet"}},"schemaString":"","partitionColumns":[],"configuration":{{"{name}":"{value}"}}}}}}"#
            )
        };
        apply(&metadata("delta.columnMapping.mode", "none")).expect("no mapping");
        for (line, word) in [
            (
                r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["v2Checkpoint"]}}"#
                    .to_owned(),
                "writer version 7",
            ),
            (metadata("delta.columnMapping.mode", "name"), "column mapping"),
            (metadata("delta.enableRowTracking", "true"), "row tracking"),
            (metadata("delta.enableInCommitTimestamps", "true"), "in-commit timestamps"),
        ] {
            let error = apply(&line).expect_err("refused");
            assert!(matches!(&error, SinkError::Stopped { message, .. } if message.contains(word)), "{error:?}");
        }
    }
}
