//! Failures, sorted by what the loop does about them.

use crate::journal::{JournalError, Seq};
use crate::sinks::SinkError;

/// Why a sink's loop ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The journal is damaged, belongs to another version, or was called out of turn.
    #[error(transparent)]
    Journal(JournalError),
    /// The counters of a batch do not add up. The position has not moved, so nothing is lost.
    #[error(
        "events {first} to {last} for sink `{sink}` do not add up: {expected} were to be written and {found} were; the sink stops where it is, nothing is lost; please report this as a defect of auditflow"
    )]
    Miscounted {
        /// The sink.
        sink: String,
        /// First sequence number of the batch.
        first: Seq,
        /// Last sequence number of the batch.
        last: Seq,
        /// Events that the journal or the loop counted.
        expected: u64,
        /// Events that were found.
        found: u64,
    },
    /// Writing on would break the sink's guarantee.
    #[error("{message}; {hint}")]
    Stopped {
        /// What happened.
        message: String,
        /// What the user must do before starting again.
        hint: String,
    },
    /// The journal gave a block of a source that was not asked for, or of a vendor that this build does not know.
    #[error(
        "source `{name}` of vendor `{vendor}` is not known to this auditflow; run the version that collected its events"
    )]
    UnknownVendor {
        /// The source.
        name: String,
        /// Its vendor.
        vendor: String,
    },
}

/// Why a step of the loop failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Try again later.
    Transient { message: String, hint: String },
    /// Try again at once.
    Again { reason: String },
    /// Trying again would not help.
    Fatal(DeliverError),
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Storage { .. } => Self::Transient {
                message: error.to_string(),
                hint: "free space or mend the disk that holds `data_dir`; auditflow goes on by itself".to_owned(),
            },
            other => Self::Fatal(DeliverError::Journal(other)),
        }
    }
}

impl From<SinkError> for Failure {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::Transient { message, hint } => Self::Transient { message, hint },
            SinkError::Again { reason } => Self::Again { reason },
            SinkError::Stopped { message, hint } => Self::Fatal(DeliverError::Stopped { message, hint }),
            SinkError::Journal(error) => error.into(),
        }
    }
}

impl From<DeliverError> for Failure {
    fn from(error: DeliverError) -> Self {
        Self::Fatal(error)
    }
}
