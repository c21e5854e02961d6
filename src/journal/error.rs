//! Errors of the journal: what is wrong, and what to do.

/// Why a call of the journal failed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system does not accept the write: full, read-only, broken. Nothing was changed; the call can be repeated.
    #[error("cannot write the journal {path}: {reason}; free disk space or fix the disk, auditflow keeps retrying")]
    Storage {
        /// The file.
        path: String,
        /// The file system's or SQLite's message.
        reason: String,
    },
    /// The journal cannot be opened at start.
    #[error("cannot open the journal {path}: {reason}; make the directory writable, or set another data_dir")]
    NotOpened {
        /// The file or directory.
        path: String,
        /// The file system's or SQLite's message.
        reason: String,
    },
    /// The file is damaged, or is not a journal.
    #[error(
        "the journal {path} is damaged: {reason}; restore it from a backup, or move it away to start over (each source then starts as at its first start)"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Another version of auditflow wrote the file.
    #[error(
        "the journal {path} has schema version {found}, this auditflow reads version {known} only; run the auditflow that wrote it, or move the file away to start over (each source then starts as at its first start)"
    )]
    OtherVersion {
        /// The file.
        path: String,
        /// Its schema version.
        found: i64,
        /// The schema version of this build.
        known: i64,
    },
    /// The journal cannot be read for a snapshot.
    #[error("cannot read the journal {path}: {reason}; run this command as the user that runs the pipeline")]
    NotRead {
        /// The file.
        path: String,
        /// The file system's or SQLite's message.
        reason: String,
    },
    /// Another process uses the directory.
    #[error(
        "another auditflow (process {pid}) uses {path}; stop it first. Another pipeline needs a pipeline file and outputs of its own"
    )]
    InUse {
        /// The directory.
        path: String,
        /// The process id, as text; `unknown` if it cannot be read.
        pid: String,
    },
    /// A process that is not an auditflow holds the lock.
    #[error(
        "a program that is not auditflow holds the lock {path}; find it with `fuser {path}` and end it, then start again"
    )]
    LockHeld {
        /// The lock file.
        path: String,
    },
    /// Somebody else could change or hold what is in the data directory.
    #[error("the data directory is not used: {path} {problem}; {remedy}")]
    Unsafe {
        /// The file or directory.
        path: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// The data directory was made with another number of shards.
    #[error(
        "{path} was made {was}, and the pipeline file is {now}: its sources would be in other journals and collect everything again; set `shards` back, or start over with another data_dir and other outputs"
    )]
    OtherShards {
        /// The data directory.
        path: String,
        /// How it was made, such as `with `shards: 4``.
        was: String,
        /// How the pipeline file is.
        now: String,
    },
    /// Shards have no journal in the data directory, and this is not their first start.
    #[error(
        "there is no journal of shard {shards} in {path}: it may be elsewhere, and without it everything would be collected again; {remedy}"
    )]
    ShardsElsewhere {
        /// The data directory.
        path: String,
        /// The shards, as ranges.
        shards: String,
        /// What to do.
        remedy: String,
    },
    /// Shards have begun here before, and their journals are gone.
    #[error(
        "shard {shards} has been here, and there is no journal of it in {path}: without it everything would be collected again; move its directory back, or run it where it is; to begin it anew here all the same, remove its number from `begun` in {path}/shards.json"
    )]
    ShardsGone {
        /// The data directory.
        path: String,
        /// The shards, as ranges.
        shards: String,
    },
    /// The directory of a shard is that of another one.
    #[error("{path} is {is}, and the pipeline looks for {wanted} there; move the right directory there")]
    OtherShardDirectory {
        /// The directory.
        path: String,
        /// What it is.
        is: String,
        /// What it should be.
        wanted: String,
    },
    /// The settings put a source into another shard than before.
    #[error(
        "source `{name}` belongs to shard {was}, and its settings now put it into shard {now}, where it would collect everything again: its account or `rate_limit_group` has changed, or a name that they leave to decide; change it back, or give the source another name (if it has collected nothing yet: `auditflow state remove FILE {name} --shard {was}` while it is not in the file)"
    )]
    OtherShard {
        /// The source.
        name: String,
        /// The shard that it belonged to.
        was: u16,
        /// The shard that its settings name.
        now: u16,
    },
    /// The source's name belongs to another vendor in this journal.
    #[error("source `{name}` was a {was} source before and is a {now} source now; give the new source another name")]
    OtherVendor {
        /// The source.
        name: String,
        /// The vendor it had.
        was: String,
        /// The vendor it has now.
        now: String,
    },
    /// A call that does not fit the journal's state, which is a bug of the caller.
    #[error("invalid journal call: {0}; please report this as a bug of auditflow")]
    InvalidState(String),
}
