//! The data directory of a pipeline with shards: a complete data directory per shard, and a file that says how they came to be.
//!
//! ```text
//! data/shards.json        {"shards":12,"made_for":{"processes":3}}
//! data/shard-0/           journal.db, auditflow.lock, dead_letter/
//! data/shard-3/           ...
//! ```
//!
//! A shard with an empty directory would collect everything again, so one is created only where that is the first start: the
//! number of shards is that of the file, and the process has the same share of them as at the first start.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::JournalError;
use super::data_dir::{self, JOURNAL_FILE, not_opened, read_file, sync};
use crate::shard::{ShardCount, ShardSelection, ranges};

/// The name of the file in the data directory.
const SHARDS_FILE: &str = "shards.json";

/// The contents of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ShardsFile {
    shards: u16,
    made_for: Share,
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
                "start all processes with `--process I/{processes}` as before, or move the directories of shards to where their processes look for them"
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

/// Prepares the data directory for these shards: notes their number at the first start.
///
/// # Errors
/// Those of [`check`]; [`JournalError::ShardsElsewhere`] if a shard has no journal here although this is not the first start.
pub fn prepare(
    data_dir: &Path,
    shards: ShardCount,
    selection: &ShardSelection,
    selected: &[u16],
) -> Result<(), JournalError> {
    let now = ShardsFile { shards: shards.get(), made_for: Share::of(selection) };
    let before = match found(data_dir, Some(shards))? {
        Some(before) => before,
        None if create(&data_dir::open(data_dir)?, now)? => now,
        // Another process was faster.
        None => found(data_dir, Some(shards))?.unwrap_or(now),
    };
    if before.made_for == now.made_for || now.made_for == Share::Listed {
        return Ok(());
    }
    let missing: Vec<u16> = selected.iter().copied().filter(|shard| !has_journal(data_dir, *shard)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(JournalError::ShardsElsewhere {
        path: data_dir.display().to_string(),
        shards: ranges(&missing),
        remedy: before.made_for.remedy(data_dir),
    })
}

/// The file, if it fits.
fn found(data_dir: &Path, shards: Option<ShardCount>) -> Result<Option<ShardsFile>, JournalError> {
    let file = read(data_dir)?;
    let was = match file {
        Some(file) => Some(file.shards),
        None if shards.is_some() && data_dir.join(JOURNAL_FILE).exists() => None,
        None => return Ok(None),
    };
    let now = shards.map(ShardCount::get);
    if was == now {
        return Ok(file);
    }
    let text =
        |shards: Option<u16>| shards.map_or_else(|| "without `shards`".to_owned(), |n| format!("with `shards: {n}`"));
    Err(JournalError::OtherShards { path: data_dir.display().to_string(), was: text(was), now: text(now) })
}

fn read(data_dir: &Path) -> Result<Option<ShardsFile>, JournalError> {
    let path = data_dir.join(SHARDS_FILE);
    let mut text = String::new();
    match read_file(&path).and_then(|file| file.take(1_024).read_to_string(&mut text)) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        read => read.map_err(|error| not_read(&path, &error.to_string()))?,
    };
    serde_json::from_str(&text).map(Some).map_err(|error| not_read(&path, &error.to_string()))
}

fn not_read(path: &Path, reason: &str) -> JournalError {
    JournalError::NotRead { path: path.display().to_string(), reason: reason.to_owned() }
}

/// Writes the file unless there is one; whether there was none. It is whole or absent, whatever happens.
fn create(data_dir: &Path, contents: ShardsFile) -> Result<bool, JournalError> {
    let (path, new) = (data_dir.join(SHARDS_FILE), data_dir.join(format!(".{SHARDS_FILE}.{}", std::process::id())));
    let failed = |error: io::Error| not_opened(&path, &error);
    let mut text = serde_json::to_vec(&contents).expect("numbers always become JSON");
    text.push(b'\n');
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(failed)?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
    let linked = std::fs::hard_link(&new, &path);
    std::fs::remove_file(&new).map_err(failed)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        linked => linked.and_then(|()| sync(data_dir)).map(|()| true).map_err(failed),
    }
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

    fn start(data_dir: &Path, shards: u64, selection: &ShardSelection) -> Result<(), String> {
        let selected = selection.of(Some(count(shards)))?;
        prepare(data_dir, count(shards), selection, &selected).map_err(|error| error.to_string())?;
        for shard in selected {
            std::fs::create_dir_all(directory(data_dir, shard)).expect("created");
            std::fs::write(directory(data_dir, shard).join(JOURNAL_FILE), "").expect("written");
        }
        Ok(())
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
        // Its directories were moved here.
        for shard in [1, 2, 4, 5] {
            std::fs::create_dir(directory(&pod, shard)).expect("created");
            std::fs::write(directory(&pod, shard).join(JOURNAL_FILE), "").expect("written");
        }
        start(&pod, 6, &ShardSelection::All).expect("all are here");
        let machine = root.path().join("machine");
        start(&machine, 6, &listed("0-2")).expect("the first start");
        let error = start(&machine, 6, &ShardSelection::All).expect_err("all");
        assert!(error.contains("--shard 0-2"), "{error}");
        start(&machine, 6, &listed("0-3")).expect("the operator says so");
    }

    #[test]
    fn a_file_that_is_not_ours_is_an_error_and_not_a_first_start() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::write(root.path().join(SHARDS_FILE), "{}").expect("written");
        assert!(start(root.path(), 2, &ShardSelection::All).expect_err("unreadable").contains(SHARDS_FILE));
    }
}
