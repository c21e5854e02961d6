//! The data directory of a pipeline with shards: a complete data directory per shard, and a file that says how they came to be.
//!
//! ```text
//! data/shards.json          {"shards":12,"made_for":{"processes":3},"begun":[0,3],"sources":{"acme_clumio":3,...}}
//! data/shard-0/shard.json   {"shards":12,"shard":0}
//! data/shard-0/             journal.db, auditflow.lock, dead_letter/
//! data/shard-3/             ...
//! ```
//!
//! A shard with an empty directory would collect everything again, and so would a source in another shard. So a shard begins
//! only where that is its first start: not where it has begun before, and not where its directory may be elsewhere. Each process
//! reads the whole pipeline file and notes the shard of every source, those of other processes too: a source that moves is
//! refused by all of them, whichever journals they have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::JournalError;
use super::data_dir::{self, JOURNAL_FILE, not_opened, read_file, sync};
use crate::shard::{ShardCount, ShardSelection, ranges};

/// The name of the file in the data directory.
const SHARDS_FILE: &str = "shards.json";
/// Locked while that file is changed: several processes may share the data directory.
const SHARDS_LOCK: &str = "shards.lock";
/// The name of the file in the directory of a shard.
const SHARD_FILE: &str = "shard.json";

/// The shard of each source of a pipeline file, by name.
pub type ShardsOfSources = BTreeMap<String, u16>;

/// The contents of the file in the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ShardsFile {
    shards: u16,
    made_for: Share,
    /// The shards whose journals were here.
    begun: BTreeSet<u16>,
    /// Every source that the pipeline file has ever had.
    sources: ShardsOfSources,
}

/// The contents of the file in the directory of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ShardFile {
    shards: u16,
    shard: u16,
}

/// Which shards the data directory was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Share {
    All,
    Listed,
    Processes(u16),
}

impl Share {
    fn of(selection: &ShardSelection) -> Self {
        match selection {
            ShardSelection::All => Self::All,
            ShardSelection::Listed(_) => Self::Listed,
            ShardSelection::Process(share) => Self::Processes(share.processes),
        }
    }

    /// How to run what is here.
    fn remedy(self, directory: &Path) -> String {
        let here = ranges(&present(directory)).replace(' ', "");
        match self {
            Self::Processes(processes) => format!(
                "start all processes with `--process I/{processes}` as before, or move the directories of shards to where their processes look for them; `--shard` with others begins them here"
            ),
            _ if here.is_empty() => "name those that are to begin here with `--shard`".to_owned(),
            _ => format!(
                "run those that are here with `--shard {here}`, or move the directories of the others here; `--shard` with others begins them here"
            ),
        }
    }
}

/// The data directory of a shard.
#[must_use]
pub fn directory(data_dir: &Path, shard: u16) -> PathBuf {
    data_dir.join(format!("shard-{shard}"))
}

/// Whether a shard has a journal in the data directory.
#[must_use]
pub fn has_journal(data_dir: &Path, shard: u16) -> bool {
    directory(data_dir, shard).join(JOURNAL_FILE).exists()
}

/// Whether a pipeline with so many shards fits the data directory. Changes nothing.
///
/// # Errors
/// [`JournalError::OtherShards`] if the directory was made with another number, or without shards; errors of reading it.
pub fn check(data_dir: &Path, shards: Option<ShardCount>) -> Result<(), JournalError> {
    found(data_dir, shards).map(drop)
}

/// Prepares the data directory for a start with the selected shards: creates their directories, and notes the shard of each
/// source of the pipeline file. Once their journals are open, [`note_begun`] follows.
///
/// # Errors
/// Those of [`check`]; [`JournalError::ShardsElsewhere`] or [`JournalError::ShardsGone`] if a shard has no journal here although
/// this is not its first start; [`JournalError::OtherShardDirectory`] if a directory is another shard's;
/// [`JournalError::OtherShard`] if a source was in another shard.
pub fn prepare(
    data_dir: &Path,
    shards: ShardCount,
    selection: &ShardSelection,
    selected: &[u16],
    sources: &ShardsOfSources,
) -> Result<(), JournalError> {
    data_dir::open(data_dir)?;
    let _lock = lock(data_dir)?;
    let (before, share) = (found(data_dir, Some(shards))?, Share::of(selection));
    let is_first = before.is_none() && present(data_dir).is_empty();
    let made_for = before.as_ref().map(|before| before.made_for);
    let mut file = before.unwrap_or_else(|| ShardsFile {
        shards: shards.get(),
        made_for: share,
        begun: BTreeSet::new(),
        sources: ShardsOfSources::new(),
    });
    let missing: Vec<u16> = selected.iter().copied().filter(|shard| !has_journal(data_dir, *shard)).collect();
    let gone: Vec<u16> = missing.iter().copied().filter(|shard| file.begun.contains(shard)).collect();
    let path = data_dir.display().to_string();
    if !gone.is_empty() {
        return Err(JournalError::ShardsGone { path, shards: ranges(&gone) });
    }
    let may_begin = is_first || made_for == Some(share) || share == Share::Listed;
    if !may_begin && !missing.is_empty() {
        let remedy = file.made_for.remedy(data_dir);
        return Err(JournalError::ShardsElsewhere { path, shards: ranges(&missing), remedy });
    }
    file.note(sources)?;
    for shard in selected.iter().copied() {
        expect_own(data_dir, ShardFile { shards: shards.get(), shard })?;
    }
    if share != Share::Listed {
        file.made_for = share;
    }
    write(&data_dir.join(SHARDS_FILE), &file)
}

/// The journals of these shards are open: from now on they are never begun here again.
///
/// # Errors
/// The file cannot be read or written.
pub fn note_begun(data_dir: &Path, shards: &[u16]) -> Result<(), JournalError> {
    change(data_dir, |file| {
        file.begun.extend(shards);
        Ok(())
    })
}

/// Notes the shard of each source of a pipeline file that was read again.
///
/// # Errors
/// [`JournalError::OtherShard`] if a source was in another shard; the file cannot be read or written.
pub fn note_sources(data_dir: &Path, sources: &ShardsOfSources) -> Result<(), JournalError> {
    change(data_dir, |file| file.note(sources))
}

/// The shard that a source was noted in.
///
/// # Errors
/// The file cannot be read.
pub fn shard_of_source(data_dir: &Path, name: &str) -> Result<Option<u16>, JournalError> {
    let file = read::<ShardsFile>(&data_dir.join(SHARDS_FILE))?;
    Ok(file.and_then(|file| file.sources.get(name).copied()))
}

/// The journal has no source of this name any more: another one may have it, in any shard.
///
/// # Errors
/// The file cannot be read or written.
pub fn forget_source(data_dir: &Path, name: &str) -> Result<(), JournalError> {
    change(data_dir, |file| {
        file.sources.remove(name);
        Ok(())
    })
}

impl ShardsFile {
    fn note(&mut self, sources: &ShardsOfSources) -> Result<(), JournalError> {
        for (name, now) in sources {
            let was = *self.sources.entry(name.clone()).or_insert(*now);
            if was != *now {
                return Err(JournalError::OtherShard { name: name.clone(), was, now: *now });
            }
        }
        Ok(())
    }
}

/// Changes the file, if there is one.
fn change(
    data_dir: &Path,
    change: impl FnOnce(&mut ShardsFile) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let _lock = lock(data_dir)?;
    let path = data_dir.join(SHARDS_FILE);
    let Some(before) = read::<ShardsFile>(&path)? else { return Ok(()) };
    let mut after = before.clone();
    change(&mut after)?;
    if after == before { Ok(()) } else { write(&path, &after) }
}

/// Held while the file is read and changed.
fn lock(data_dir: &Path) -> Result<File, JournalError> {
    let path = data_dir.join(SHARDS_LOCK);
    let file = data_dir::open_file(&path)?;
    flock(&file, FlockOperation::LockExclusive).map_err(|errno| not_opened(&path, &errno.into()))?;
    Ok(file)
}

/// The directory is that of this shard, and is created if it is not there.
fn expect_own(data_dir: &Path, own: ShardFile) -> Result<(), JournalError> {
    let directory = data_dir::open(&directory(data_dir, own.shard))?;
    let path = directory.join(SHARD_FILE);
    if !directory.join(JOURNAL_FILE).exists() {
        return write(&path, &own);
    }
    let found = read::<ShardFile>(&path)?;
    if found == Some(own) {
        return Ok(());
    }
    let is = found.map_or_else(
        || "of a pipeline without `shards`".to_owned(),
        |found| format!("shard {} of {}", found.shard, found.shards),
    );
    let path = directory.display().to_string();
    Err(JournalError::OtherShardDirectory { path, is, wanted: format!("shard {} of {}", own.shard, own.shards) })
}

/// The file, if it fits. Without it, the directories of shards tell their number.
fn found(data_dir: &Path, shards: Option<ShardCount>) -> Result<Option<ShardsFile>, JournalError> {
    let file = read::<ShardsFile>(&data_dir.join(SHARDS_FILE))?;
    let of_directory = || match present(data_dir).first() {
        Some(shard) => read::<ShardFile>(&directory(data_dir, *shard).join(SHARD_FILE)),
        None => Ok(None),
    };
    let was = match &file {
        Some(file) => Some(file.shards),
        None => of_directory()?.map(|found| found.shards),
    };
    let is_new = was.is_none() && (shards.is_none() || !data_dir.join(JOURNAL_FILE).exists());
    let now = shards.map(ShardCount::get);
    if was == now || is_new {
        return Ok(file);
    }
    let text =
        |shards: Option<u16>| shards.map_or_else(|| "without `shards`".to_owned(), |n| format!("with `shards: {n}`"));
    Err(JournalError::OtherShards { path: data_dir.display().to_string(), was: text(was), now: text(now) })
}

/// The contents of a file; `None` if it is not there.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, JournalError> {
    let mut text = String::new();
    match read_file(path).and_then(|mut file| file.read_to_string(&mut text)) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        read => read.map_err(|error| not_read(path, &error.to_string()))?,
    };
    serde_json::from_str(&text).map(Some).map_err(|error| not_read(path, &error.to_string()))
}

fn not_read(path: &Path, reason: &str) -> JournalError {
    JournalError::NotRead { path: path.display().to_string(), reason: reason.to_owned() }
}

/// Writes a file. It is whole, old or new, whatever happens.
fn write(path: &Path, contents: &impl Serialize) -> Result<(), JournalError> {
    let failed = |error: io::Error| not_opened(path, &error);
    let mut text = serde_json::to_vec(contents).expect("names and numbers always become JSON");
    text.push(b'\n');
    let new = path.with_extension("json.new");
    let mut file = data_dir::open_file(&new)?;
    file.set_len(0).and_then(|()| file.write_all(&text)).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&new, path).and_then(|()| path.parent().map_or(Ok(()), sync)).map_err(failed)
}

/// The shards that have a journal here, in order.
fn present(data_dir: &Path) -> Vec<u16> {
    let names = std::fs::read_dir(data_dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let numbers = names.filter_map(|name| name.to_str()?.strip_prefix("shard-")?.parse().ok());
    let mut present: Vec<u16> = numbers.filter(|shard| has_journal(data_dir, *shard)).collect();
    present.sort_unstable();
    present
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{ProcessShare, ShardList};

    fn count(count: u64) -> ShardCount {
        ShardCount::try_from(count).expect("a count")
    }

    fn share(text: &str) -> ShardSelection {
        ShardSelection::Process(ProcessShare::parse(text).expect("a share"))
    }

    fn listed(text: &str) -> ShardSelection {
        ShardSelection::Listed(ShardList::parse(text).expect("a list"))
    }

    fn start_with(
        data_dir: &Path,
        shards: u64,
        selection: &ShardSelection,
        sources: &[(&str, u16)],
    ) -> Result<(), String> {
        let selected = selection.of(Some(count(shards)))?;
        let sources = sources.iter().map(|(name, shard)| ((*name).to_owned(), *shard)).collect();
        prepare(data_dir, count(shards), selection, &selected, &sources).map_err(|error| error.to_string())?;
        for shard in &selected {
            std::fs::write(directory(data_dir, *shard).join(JOURNAL_FILE), "").expect("written");
        }
        note_begun(data_dir, &selected).map_err(|error| error.to_string())
    }

    fn start(data_dir: &Path, shards: u64, selection: &ShardSelection) -> Result<(), String> {
        start_with(data_dir, shards, selection, &[])
    }

    fn move_shard(from: &Path, to: &Path, shard: u16) {
        std::fs::rename(directory(from, shard), directory(to, shard)).expect("moved");
    }

    #[test]
    fn another_number_of_shards_is_refused_and_none_counts_as_one() {
        let root = tempfile::tempdir().expect("a directory");
        let data = root.path().join("data");
        start(&data, 4, &ShardSelection::All).expect("the first start");
        start(&data, 4, &ShardSelection::All).expect("the second");
        let error = start(&data, 5, &ShardSelection::All).expect_err("another number");
        assert!(error.contains("with `shards: 4`") && error.contains("with `shards: 5`"), "{error}");
        let error = check(&data, None).expect_err("without").to_string();
        assert!(error.contains("without `shards`"), "{error}");
        let single = root.path().join("single");
        std::fs::create_dir(&single).expect("created");
        std::fs::write(single.join(JOURNAL_FILE), "").expect("written");
        check(&single, None).expect("as before");
        check(&single, Some(count(1))).expect_err("a journal without shards");
        check(&root.path().join("new"), Some(count(1))).expect("nothing is there");
    }

    #[test]
    fn a_shard_whose_journal_may_be_elsewhere_does_not_begin_here() {
        let root = tempfile::tempdir().expect("a directory");
        let pod = root.path().join("pod-0");
        start(&pod, 6, &share("pod-0/3")).expect("the first start");
        start(&pod, 6, &share("pod-0/3")).expect("the second");
        // Shard 2 is on another volume.
        let error = start(&pod, 6, &share("pod-0/2")).expect_err("fewer processes");
        assert!(error.contains("2, 4") && error.contains("--process I/3"), "{error}");
        start(&pod, 6, &ShardSelection::All).expect_err("one process");
        // The directories of the others are moved here.
        let other = root.path().join("other");
        start(&other, 6, &listed("1,2,4,5")).expect("the first start");
        [1, 2, 4, 5].into_iter().for_each(|shard| move_shard(&other, &pod, shard));
        start(&pod, 6, &ShardSelection::All).expect("all are here");
        let error = start(&other, 6, &listed("1")).expect_err("it has begun there");
        assert!(error.contains("shard 1 has been here"), "{error}");
        let machine = root.path().join("machine");
        start(&machine, 6, &listed("0-2")).expect("the first start");
        let error = start(&machine, 6, &ShardSelection::All).expect_err("all");
        assert!(error.contains("--shard 0-2"), "{error}");
        start(&machine, 6, &listed("0-3")).expect("the operator says so");
    }

    #[test]
    fn a_shard_that_is_gone_does_not_begin_anew() {
        let root = tempfile::tempdir().expect("a directory");
        let data = root.path().join("data");
        start(&data, 2, &ShardSelection::All).expect("the first start");
        std::fs::remove_dir_all(directory(&data, 1)).expect("removed");
        for selection in [ShardSelection::All, listed("1"), share("1/2")] {
            let error = start(&data, 2, &selection).expect_err("it is gone");
            assert!(error.contains("shard 1") && error.contains("begun"), "{error}");
        }
        start(&data, 2, &listed("0")).expect("the other one runs");
    }

    #[test]
    fn a_kill_before_the_beginning_is_noted_hinders_no_start() {
        let root = tempfile::tempdir().expect("a directory");
        let data = root.path().join("data");
        prepare(&data, count(2), &ShardSelection::All, &[0, 1], &ShardsOfSources::new()).expect("the first start");
        // It is killed after the first journal.
        std::fs::write(directory(&data, 0).join(JOURNAL_FILE), "").expect("written");
        start(&data, 2, &ShardSelection::All).expect("the second");
        start(&data, 2, &ShardSelection::All).expect("the third");
    }

    #[test]
    fn a_directory_of_another_shard_or_pipeline_is_refused() {
        let root = tempfile::tempdir().expect("a directory");
        let (data, copy) = (root.path().join("data"), root.path().join("copy"));
        start(&data, 4, &ShardSelection::All).expect("the first start");
        std::fs::remove_dir_all(directory(&data, 1)).expect("removed");
        std::fs::rename(directory(&data, 0), directory(&data, 1)).expect("moved");
        let error = start(&data, 4, &listed("1")).expect_err("it is shard 0");
        assert!(error.contains("shard 0 of 4") && error.contains("shard 1 of 4"), "{error}");
        // The directory alone, without the file beside it.
        std::fs::create_dir(&copy).expect("created");
        move_shard(&data, &copy, 3);
        let error = start(&copy, 5, &listed("3")).expect_err("another number");
        assert!(error.contains("with `shards: 4`"), "{error}");
        check(&copy, None).expect_err("no shards");
        start(&copy, 4, &share("1/2")).expect_err("shard 1 may be elsewhere");
        start(&copy, 4, &listed("3")).expect("it is that shard");
    }

    #[test]
    fn a_source_that_moves_to_another_shard_is_refused_whoever_has_its_journal() {
        let root = tempfile::tempdir().expect("a directory");
        let data = root.path().join("data");
        start_with(&data, 2, &share("0/2"), &[("a", 0), ("b", 1)]).expect("the first start");
        let error = start_with(&data, 2, &share("0/2"), &[("a", 0), ("b", 0)]).expect_err("b has moved");
        assert!(error.contains("`b`") && error.contains("shard 1") && error.contains("shard 0"), "{error}");
        let moved = ShardsOfSources::from([("a".to_owned(), 1)]);
        note_sources(&data, &moved).expect_err("a reload");
        start_with(&data, 2, &share("0/2"), &[("b", 1)]).expect("a has left");
        note_sources(&data, &moved).expect_err("it returns elsewhere");
        assert_eq!(shard_of_source(&data, "a").expect("reads"), Some(0));
        forget_source(&data, "a").expect("forgotten");
        note_sources(&data, &moved).expect("another source");
    }

    #[test]
    fn a_file_that_is_not_ours_is_an_error_and_not_a_first_start() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::write(root.path().join(SHARDS_FILE), "{}").expect("written");
        assert!(start(root.path(), 2, &ShardSelection::All).expect_err("unreadable").contains(SHARDS_FILE));
    }
}
