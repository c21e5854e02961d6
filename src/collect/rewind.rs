//! Prepares a rewind: derives again the dedup keys that were trimmed before their records.
//!
//! ```text
//! journal --blocks without keys--> decode --records--> Normalizer::key_of --keys--> journal: ONE transaction
//! ```
//!
//! The journal stores records and keys but does not know vendors, so the keys come from here. Between [`prepare`] and the
//! edit the caller holds the journal's directory lock: nothing changes in between, and a process that is killed leaves the
//! rewind applied as a whole or not at all. Holds about 35 bytes of memory for each event whose key was trimmed.

use super::filter::seen_key;
use crate::journal::{
    BlockKeys, Edit, Journal, JournalError, RecordBlock, Rewind, RewindPreview, SeenKey, SourceEdit, SourceInfo,
};
use crate::vendors::{Normalizer, registry};

/// Blocks read at once. A block is a vendor's page.
const BLOCKS_AT_ONCE: usize = 16;

/// A rewind that is ready to apply.
#[derive(Clone, Debug)]
pub struct PreparedRewind {
    /// What it would do; events whose keys were derived again count as known.
    pub preview: RewindPreview,
    rewind: Rewind,
    keys: Vec<BlockKeys>,
}

impl PreparedRewind {
    /// The change for [`Journal::apply`].
    #[must_use]
    pub fn into_edit(self) -> Edit {
        Edit::Source(SourceEdit::Rewind { rewind: self.rewind, keys: self.keys })
    }
}

/// Previews a rewind and derives the keys that it needs. Changes nothing. `None` if the journal does not know the source.
///
/// # Errors
/// If the journal cannot be read, or keys are needed and this build has no vendor of the source's name.
pub async fn prepare(journal: &dyn Journal, rewind: Rewind) -> Result<Option<PreparedRewind>, JournalError> {
    let Some(mut preview) = journal.preview_rewind(rewind.clone()).await? else { return Ok(None) };
    let known = journal.sources().await?;
    let Some(source) = known.into_iter().find(|source| source.name == rewind.source) else { return Ok(None) };
    let mut keys = Vec::new();
    let mut after = 0;
    loop {
        let blocks = journal.blocks_without_keys(source.id, rewind.reads_from(), after, BLOCKS_AT_ONCE).await?;
        let Some(last) = blocks.last() else { break };
        after = last.first;
        let normalizer =
            registry::normalizer(&source.vendor, &source.normalizer_config).ok_or_else(|| unknown_vendor(&source))?;
        for block in &blocks {
            let derived = derive_keys(block, normalizer.as_ref())?;
            preview.known_events +=
                derived.iter().filter(|key| key.timestamp.is_some_and(|at| at >= rewind.to)).count() as u64;
            keys.push(BlockKeys::new(block.first, &derived)?);
        }
    }
    Ok(Some(PreparedRewind { preview, rewind, keys }))
}

fn unknown_vendor(source: &SourceInfo) -> JournalError {
    JournalError::InvalidState(format!("source `{}` has the unknown vendor `{}`", source.name, source.vendor))
}

fn derive_keys(block: &RecordBlock, normalizer: &dyn Normalizer) -> Result<Vec<SeenKey>, JournalError> {
    let decoded = block.decode()?;
    let keys = decoded.records().map(|record| {
        let key = seen_key(record.raw, &normalizer.key_of(record.raw), record.occurrence, normalizer.has_ids());
        SeenKey { version: record.version.max(key.version), ..key }
    });
    Ok(keys.collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::EventId;
    use crate::journal::conformance::{self, at, complete, live, range, window};
    use crate::journal::{
        BatchCommit, BlockBuilder, JournalOptions, LatenessCounts, PageCommit, RequestCounts, SinkStart, WindowId,
    };
    use crate::journal::{CollectJournal, DeliverJournal, SqliteJournal};
    use crate::time::Timestamp;
    use crate::units::ByteSize;
    use crate::vendors::NormalizerConfig;

    const DAY: i64 = 86_400;

    fn clumio(number: i64) -> String {
        format!(r#"{{"id":"n{number}","timestamp":"{}"}}"#, at(number))
    }

    fn id_of_clumio(number: i64) -> EventId {
        registry::normalizer("clumio", &NormalizerConfig::default()).expect("a vendor").key_of(&clumio(number)).id
    }

    /// The last page of a window, of Clumio records whose keys are derived as the collector derives them.
    fn page_of_clumio(window: WindowId, covers: (i64, i64), numbers: &[i64]) -> PageCommit {
        let normalizer = registry::normalizer("clumio", &NormalizerConfig::default()).expect("a vendor");
        let mut block = BlockBuilder::new(at(1_000), 0);
        let raws: Vec<String> = numbers.iter().map(|number| clumio(*number)).collect();
        for (number, raw) in numbers.iter().zip(&raws) {
            let key = normalizer.key_of(raw);
            assert_eq!(key.timestamp, Some(at(*number)));
            block.push(raw, seen_key(raw, &key, 0, true), 0);
        }
        let then = complete(covers.0, covers.1);
        let block = block.finish().expect("compresses");
        PageCommit {
            window,
            block,
            requests: RequestCounts::succeeded(1),
            lateness: LatenessCounts::default(),
            evidence: Vec::new(),
            then,
        }
    }

    fn rewind(to: i64) -> Rewind {
        let reach_back = Duration::from_secs(5);
        Rewind { source: "a".to_owned(), to: at(to), reach_back, redeliver: false, now: Timestamp::MAX }
    }

    async fn prepared(journal: &dyn Journal, rewind: Rewind) -> PreparedRewind {
        prepare(journal, rewind).await.expect("reads").expect("is known")
    }

    #[tokio::test]
    async fn trimmed_keys_are_derived_from_records_and_forgotten_time_is_reported() {
        let directory = tempfile::tempdir().expect("a directory");
        let options = JournalOptions { data_dir: directory.path().to_owned(), max_size: ByteSize(u64::MAX) };
        let journal = SqliteJournal::open(&options).expect("opens");
        let source = conformance::source(&journal, "a").await;
        for day in [0, 10, 20, 30] {
            let open = window(&journal, source, live(day * DAY, (day + 10) * DAY)).await;
            journal
                .commit_page(page_of_clumio(open, (day * DAY, (day + 10) * DAY), &[(day + 4) * DAY, (day + 5) * DAY]))
                .await
                .expect("commits");
        }
        let sink = journal.open_sink("x", SinkStart::Beginning).await.expect("opens").id;
        let batch = BatchCommit { position: 2, delivered: 2, ..BatchCommit::default() };
        journal.commit_batch(sink, batch).await.expect("commits");
        journal.trim(Timestamp::MAX, Timestamp::MAX).await.expect("trims");
        // Only keys near the ends of the coverage are left; the records of the first window are trimmed too.
        let preview = prepared(&journal, rewind(14 * DAY)).await.preview;
        assert_eq!((preview.forgotten_to, preview.known_events), (Some(at(5 * DAY)), 6));
        assert!(preview.is_exact(&rewind(14 * DAY)) && !preview.is_exact(&rewind(5 * DAY)));
        let exact_from = preview.exact_from(&rewind(0)).expect("not any time");
        assert_eq!(exact_from, at(5 * DAY + 6));
        assert!(preview.is_exact(&Rewind { to: exact_from, ..rewind(0) }));
        let inexact = prepared(&journal, rewind(3 * DAY)).await.into_edit();
        journal.apply(inexact).await.expect_err("would deliver events twice");
        let without_keys = SourceEdit::Rewind { rewind: rewind(14 * DAY), keys: Vec::new() };
        journal.apply(Edit::Source(without_keys)).await.expect_err("would deliver events twice");
        let coverage = async || journal.source_history("a").await.expect("reads").expect("is known").coverage;
        assert_eq!(coverage().await, [range(0, 40 * DAY)]);

        let edit = prepared(&journal, rewind(14 * DAY)).await.into_edit();
        journal.apply(edit).await.expect("applies");
        let keys = journal.keys_within(source, range(14 * DAY, 40 * DAY)).await.expect("reads");
        for day in [14, 15, 24, 25, 34, 35] {
            assert!(keys.iter().any(|key| key.id == id_of_clumio(day * DAY) && key.timestamp == Some(at(day * DAY))));
        }
        // With a redelivery any moment is allowed.
        let redeliver = Rewind { redeliver: true, ..rewind(3 * DAY) };
        let edit = prepared(&journal, redeliver).await.into_edit();
        journal.apply(edit).await.expect("applies");
        assert_eq!(coverage().await, [range(0, 3 * DAY)]);
    }
}
