//! Records that the broker refuses permanently.
//!
//! ```text
//! known before sending   the topic's settings refuse it (rules)                              -> rejected
//! refused by the broker  by name, or alone in its request                                    -> rejected
//!                        together with others of its request, and nothing says which of them -> suspect
//! ```
//!
//! A broker refuses a whole request. Since Kafka 2.4 it names the records that it refuses in it, except those that are too
//! large. Suspects are sent in requests of one record each at the next attempt, so that what is refused then is refused alone.
//!
//! A rejection is stored as a rollback record, so that after a crash the same events go to the dead letter.

use std::collections::{HashMap, HashSet};

use rdkafka::error::RDKafkaErrorCode as Code;

use super::record::RecordId;
use crate::journal::RollbackRecord;

/// A record that the broker refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) id: RecordId,
    pub(super) topic: String,
    pub(super) time_ms: i64,
    pub(super) code: Code,
    /// The broker named the record, or it was alone in its request.
    pub(super) is_certain: bool,
}

impl Refused {
    /// The broker's reason.
    pub(super) fn reason(&self) -> String {
        match self.code {
            Code::MessageSizeTooLarge => {
                "the broker rejects the record: larger than the topic's max.message.bytes".to_owned()
            }
            code => format!("the broker rejects the record: {code}"),
        }
    }
}

/// Whether a broker that answers with this code refuses the record itself, at every attempt.
pub(super) const fn is_permanent(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidTimestamp | Code::InvalidRecord
    )
}

/// Whether the code may mean the record's time. A broker that refuses several records of a request reports them all as
/// invalid records.
pub(super) const fn may_mean_time(code: Code) -> bool {
    matches!(code, Code::InvalidTimestamp | Code::InvalidRecord)
}

/// The refused records of a batch.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    /// Records to be sent alone.
    suspects: HashSet<RecordId>,
    /// Records that are rejected permanently.
    rejected: HashMap<RecordId, String>,
    /// Rejections that are not stored yet.
    unstored: Vec<RollbackRecord>,
}

impl Rejections {
    /// Whether each record needs a request of its own.
    pub(super) fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Whether the record must be sent alone.
    pub(super) fn is_suspect(&self, id: RecordId) -> bool {
        self.suspects.contains(&id)
    }

    /// Why the record is rejected permanently, if it is.
    pub(super) fn reason(&self, id: RecordId) -> Option<&str> {
        self.rejected.get(&id).map(String::as_str)
    }

    /// Rejects a record permanently.
    pub(super) fn reject(&mut self, id: RecordId, reason: String) {
        self.unstored.push(id.rejection(reason.clone()));
        self.rejected.insert(id, reason);
    }

    /// The record must be sent alone.
    pub(super) fn suspect(&mut self, id: RecordId) {
        self.suspects.insert(id);
    }

    /// The rejections that must be stored before the batch is committed.
    pub(super) fn take_unstored(&mut self) -> Vec<RollbackRecord> {
        std::mem::take(&mut self.unstored)
    }

    /// Forgets rejections that could not be stored, because a crash would forget them too: they are found again.
    pub(super) fn remove(&mut self, records: &[RollbackRecord]) {
        for record in records {
            if let RollbackRecord::KafkaRejection(rejection) = record
                && let Some(id) = RecordId::of_rejection(rejection)
            {
                self.rejected.remove(&id);
            }
        }
    }

    /// Restores the rejections among `records`; returns the other records.
    pub(super) fn restore(&mut self, records: &[RollbackRecord]) -> Vec<RollbackRecord> {
        let unstored = self.take_unstored();
        self.remove(&unstored);
        let mut others = Vec::new();
        for record in records {
            match record {
                RollbackRecord::KafkaRejection(rejection) => {
                    let id = RecordId::of_rejection(rejection);
                    self.rejected.extend(id.map(|id| (id, rejection.reason.clone())));
                }
                other => others.push(other.clone()),
            }
        }
        others
    }

    /// Forgets everything at the end of a batch.
    pub(super) fn clear(&mut self) {
        self.suspects.clear();
        self.rejected.clear();
        self.unstored.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{FileBefore, FileRecord};

    #[test]
    fn a_rejection_that_was_stored_survives_a_crash_and_one_that_was_not_is_forgotten() {
        let (id, other) = (RecordId::of_number(7), RecordId::of_number(8));
        let mut rejections = Rejections::default();
        rejections.suspect(id);
        assert!(rejections.has_suspects());
        assert_eq!(rejections.reason(id), None, "a suspect is sent");
        rejections.reject(id, "too old".to_owned());
        let records = rejections.take_unstored();
        assert_eq!((rejections.reason(id), records.len()), (Some("too old"), 1));

        rejections.remove(&records);
        assert_eq!(rejections.reason(id), None, "it could not be stored");

        let mut after_a_crash = Rejections::default();
        after_a_crash.reject(other, "not stored".to_owned());
        let before = FileBefore::Absent { first_new_directory: None };
        let file = RollbackRecord::File(FileRecord { path: "/a/file".into(), before });
        let all: Vec<_> = records.into_iter().chain([file.clone()]).collect();
        assert_eq!(after_a_crash.restore(&all), vec![file]);
        assert_eq!(after_a_crash.reason(id), Some("too old"));
        assert_eq!(after_a_crash.reason(other), None);
        assert_eq!(after_a_crash.take_unstored(), Vec::new());
    }

    #[test]
    fn the_reason_is_the_brokers() {
        let refused = |code| Refused {
            id: RecordId::of_number(1),
            topic: "audit".to_owned(),
            time_ms: 0,
            code,
            is_certain: true,
        };
        assert!(refused(Code::InvalidTimestamp).reason().contains("InvalidTimestamp"));
        assert!(refused(Code::MessageSizeTooLarge).reason().contains("max.message.bytes"));
        assert!(!is_permanent(Code::NotEnoughReplicas) && !is_permanent(Code::TopicAuthorizationFailed));
    }
}
