//! Prepares a rewind: derives again the dedup keys that were trimmed before their records.
//!
//! ```text
//! journal --blocks without keys--> decode --records--> Normalizer::key_of --keys--> journal: ONE transaction
//! ```
//!
//! The journal stores records and keys but does not know vendors, so the keys come from here. Between [`prepare`] and the
//! edit the caller holds the journal's directory lock: nothing changes in between, and a process that is killed leaves the
//! rewind applied as a whole or not at all. Holds about 25 bytes of memory for each event whose key was trimmed.

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
        let normalizer = registry::normalizer(&source.vendor, &source.normalizer_config)
            .ok_or_else(|| unknown_vendor(&source))?;
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
        let key = normalizer.key_of(record.raw);
        SeenKey { id: key.id.nth(record.occurrence), version: key.version, timestamp: key.timestamp }
    });
    Ok(keys.collect())
}
