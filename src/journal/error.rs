//! Why the journal could not do what it was asked, and what to do about it.

/// Why the journal could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The journal's file system refuses: full, read-only, broken. What was asked is not done and can be asked again.
    #[error("the journal {path} cannot be written: {reason}; free space or mend the disk, auditflow goes on by itself")]
    Storage {
        /// The file.
        path: String,
        /// What was answered.
        reason: String,
    },
    /// The journal cannot be opened at start.
    #[error("the journal {path} cannot be opened: {reason}; make the folder writable, or choose another data_dir")]
    NotOpened {
        /// The file or folder.
        path: String,
        /// What was answered.
        reason: String,
    },
    /// The file is damaged, or is no journal.
    #[error(
        "the journal {path} is damaged: {reason}; restore it from a backup, or move it away to begin anew (sources then start as at a first start)"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The file was written by a newer auditflow.
    #[error(
        "the journal {path} has schema version {found}, this auditflow knows versions up to {known}; run the newer auditflow again, or restore a backup from before the upgrade"
    )]
    NewerVersion {
        /// The file.
        path: String,
        /// Its version.
        found: i64,
        /// The newest version that this build knows.
        known: i64,
    },
    /// The file was written by an older auditflow, and whoever asks may not change it.
    #[error(
        "the journal {path} has schema version {found}, this auditflow reads version {known}; `auditflow run` brings it up to date when it starts"
    )]
    OlderVersion {
        /// The file.
        path: String,
        /// Its version.
        found: usize,
        /// The version that this build reads.
        known: usize,
    },
    /// The journal cannot be looked at from outside.
    #[error("the journal {path} cannot be read: {reason}; look at it as the user that the pipeline runs as")]
    NotRead {
        /// The file.
        path: String,
        /// What was answered.
        reason: String,
    },
    /// Another process uses the folder.
    #[error("another auditflow (process {pid}) uses {path}; stop it first, or give this one another data_dir")]
    InUse {
        /// The folder.
        path: String,
        /// The process that holds it, as text; `unknown` if it cannot be read.
        pid: String,
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
    /// A call that does not fit the state, which is a defect of the caller.
    #[error("journal called out of turn: {0}; please report this as a defect of auditflow")]
    InvalidState(String),
}
