//! Records that the broker finds too large.
//!
//! The broker refuses a whole request, not a record: one that is too large takes its neighbors with it. So those of a
//! refused request are sent alone at the next attempt, and what is refused alone is refused for good. That is noted in the
//! batch's plan, so that after a crash the same records go to the dead letter.

use std::collections::{HashMap, HashSet};

use super::record::RecordId;
use crate::journal::RollbackRecord;

/// What the notes in the plan begin with.
const NOTE: &str = "kafka refused ";

/// What is known about records that are too large.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Came in a request that was refused: to be sent alone.
    suspects: HashSet<RecordId>,
    /// Refused for good.
    refused: HashMap<RecordId, String>,
}

impl Refusals {
    /// Whether the record is to be sent alone.
    pub(super) fn is_suspect(&self, id: RecordId) -> bool {
        self.suspects.contains(&id)
    }

    /// Why the record is refused for good, if it is.
    pub(super) fn reason(&self, id: RecordId) -> Option<&str> {
        self.refused.get(&id).map(String::as_str)
    }

    /// Takes in what the broker found too large; returns what must be noted in the plan.
    pub(super) fn learn(&mut self, too_large: Vec<RecordId>) -> Vec<RollbackRecord> {
        let mut notes = Vec::new();
        for id in too_large {
            if self.suspects.insert(id) {
                continue;
            }
            let reason = "the broker refuses the record: larger than the topic's max.message.bytes".to_owned();
            notes.push(RollbackRecord { name: format!("{NOTE}{id}"), before: reason.clone() });
            self.refused.insert(id, reason);
        }
        notes
    }

    /// The notes could not be recorded: what they say must be learned again, since a crash would forget it.
    pub(super) fn take_back(&mut self, notes: &[RollbackRecord]) {
        for note in notes {
            if let Some(id) = id_of(note) {
                self.refused.remove(&id);
            }
        }
    }

    /// Takes in the notes of a plan; returns the outputs that are something else.
    pub(super) fn recall(&mut self, outputs: &[RollbackRecord]) -> Vec<RollbackRecord> {
        let mut others = Vec::new();
        for output in outputs {
            match id_of(output) {
                Some(id) => drop(self.refused.insert(id, output.before.clone())),
                None => others.push(output.clone()),
            }
        }
        others
    }

    /// A batch is done: nothing of it comes again.
    pub(super) fn forget(&mut self) {
        self.suspects.clear();
        self.refused.clear();
    }
}

fn id_of(note: &RollbackRecord) -> Option<RecordId> {
    note.name.strip_prefix(NOTE).and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_refused_only_if_it_came_alone() {
        let id = RecordId::of_number(7);
        let mut refusals = Refusals::default();
        assert_eq!(refusals.learn(vec![id]), Vec::new());
        assert!(refusals.is_suspect(id));
        assert_eq!(refusals.reason(id), None);
        let notes = refusals.learn(vec![id]);
        assert!(refusals.reason(id).is_some());

        refusals.take_back(&notes);
        assert_eq!(refusals.reason(id), None);
        assert_eq!(refusals.learn(vec![id]), notes, "it is learned again");

        let mut after_a_crash = Refusals::default();
        let file = RollbackRecord { name: "/a/file".to_owned(), before: "{}".to_owned() };
        let outputs: Vec<_> = notes.into_iter().chain([file.clone()]).collect();
        assert_eq!(after_a_crash.recall(&outputs), vec![file]);
        assert_eq!(after_a_crash.reason(id), refusals.reason(id));
    }
}
