//! What is known of a source's time, and the evidence for it.
//!
//! ```text
//!   window complete ----> covered      every check that applies has agreed
//!                    |--> in_doubt     delivered, but checks disagree    --recheck--> covered, or in doubt once more
//!                    `--> unreadable   no answer covers it               --recheck--> ...
//!   anything else         a gap: not read yet, and planned
//! ```

use serde::{Deserialize, Serialize};

use crate::time::{TimeRange, Timestamp};

/// Why a window exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowKind {
    /// The growing end of the coverage.
    Live,
    /// A slice of the past.
    Backfill,
    /// Time read again; covers nothing new.
    Recheck,
}

/// State of a completed window's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoverageState {
    /// Every check that the vendor's answers allow has agreed.
    Covered,
    /// What came was delivered, but checks disagree after repeated scans.
    InDoubt,
    /// No answer covers it: the vendor rejects every request for it.
    Unreadable,
}

impl CoverageState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Covered, Self::InDoubt, Self::Unreadable];

    /// The word in the journal, in reports and in log fields.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Covered => "covered",
            Self::InDoubt => "in_doubt",
            Self::Unreadable => "unreadable",
        }
    }
}

/// How a window is completed.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// When.
    pub at: Timestamp,
    /// The verdict on its time.
    pub state: CoverageState,
    /// The checks that disagree: `end`, `total`, `place`, `repeats`, `range`, `page_size`, `overlap`, `unconfirmed`,
    /// `found` (a recheck found events), `unreadable:<error>`. Empty if covered.
    pub reasons: Vec<String>,
    /// The time that the verdict is about: what the window covers, or less (cut off at the clock). The rest stays a gap.
    pub covers: TimeRange,
    /// When to read it again; `None`: never.
    pub next_recheck_at: Option<Timestamp>,
    /// What the verdict rests on.
    pub evidence: WindowEvidence,
    /// What the source has learned about its vendor, for the next process: text that the journal does not read. `None`: nothing
    /// new.
    pub learned: Option<String>,
}

impl Completion {
    /// Of time that is covered and not read again.
    #[cfg(any(test, feature = "internals"))]
    #[must_use]
    pub fn covered(covers: TimeRange, at: Timestamp) -> Self {
        Self {
            at,
            state: CoverageState::Covered,
            reasons: Vec::new(),
            covers,
            next_recheck_at: None,
            evidence: WindowEvidence::default(),
            learned: None,
        }
    }
}

/// What the verdict on a window rests on. Of several windows: sums, and the worst verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowEvidence {
    /// Pages read, by all scans.
    pub pages: u64,
    /// Requests made, failed ones included.
    pub requests: u64,
    /// Records read, duplicates included.
    pub records_read: u64,
    /// Distinct keys among them.
    pub keys: u64,
    /// Scans made.
    pub scans: u32,
    /// The first total that the vendor announced; `None` if there was none, or not in every window.
    pub first_total: Option<u64>,
    /// The last one.
    pub last_total: Option<u64>,
    /// Records by which the list grew while it was read.
    pub shift: u64,
    /// Known records that the vendor no longer lists.
    pub gone: u64,
    /// What ended the last scan; `several` if windows ended differently.
    pub ended_by: String,
    /// The checks that disagreed in the last verdict, sorted.
    pub checks: Vec<String>,
    /// Records outside this range, by their own time, were not kept.
    pub kept: TimeRange,
    /// Hash of the settings that narrow what is requested; `several` if windows were read with different ones.
    pub settings_hash: String,
    /// The vendor's clock minus this machine's, in milliseconds; of several windows, the farthest from zero.
    pub skew_millis: i64,
}

impl Default for WindowEvidence {
    /// Of a window that nothing was read of.
    fn default() -> Self {
        Self {
            pages: 0,
            requests: 0,
            records_read: 0,
            keys: 0,
            scans: 0,
            first_total: None,
            last_total: None,
            shift: 0,
            gone: 0,
            ended_by: String::new(),
            checks: Vec::new(),
            kept: TimeRange::ALL,
            settings_hash: String::new(),
            skew_millis: 0,
        }
    }
}

impl WindowEvidence {
    /// The evidence of two windows together.
    #[must_use]
    pub fn merge(mut self, other: &Self) -> Self {
        self.checks.extend(other.checks.iter().cloned());
        self.checks.sort_unstable();
        self.checks.dedup();
        let sum = |one: Option<u64>, other: Option<u64>| Some(one?.saturating_add(other?));
        let farther = other.skew_millis.unsigned_abs() > self.skew_millis.unsigned_abs();
        Self {
            pages: self.pages.saturating_add(other.pages),
            requests: self.requests.saturating_add(other.requests),
            records_read: self.records_read.saturating_add(other.records_read),
            keys: self.keys.saturating_add(other.keys),
            scans: self.scans.saturating_add(other.scans),
            first_total: sum(self.first_total, other.first_total),
            last_total: sum(self.last_total, other.last_total),
            shift: self.shift.saturating_add(other.shift),
            gone: self.gone.saturating_add(other.gone),
            ended_by: one_of(self.ended_by, &other.ended_by),
            checks: self.checks,
            kept: TimeRange::new(self.kept.from.min(other.kept.from), self.kept.to.max(other.kept.to)),
            settings_hash: one_of(self.settings_hash, &other.settings_hash),
            skew_millis: if farther { other.skew_millis } else { self.skew_millis },
        }
    }
}

fn one_of(one: String, other: &str) -> String {
    if one == other { one } else { "several".to_owned() }
}

/// Time that is in doubt or unreadable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoubtfulTime {
    /// The time.
    pub range: TimeRange,
    /// [`CoverageState::InDoubt`] or [`CoverageState::Unreadable`].
    pub state: CoverageState,
    /// See [`Completion::reasons`].
    pub reasons: Vec<String>,
    /// Verdicts of doubt in a row: 1 after the window itself, one more after each recheck that does not agree.
    pub doubts: u32,
    /// Since when it has this state.
    pub since: Timestamp,
    /// When it is read again; `None`: never, a person must decide.
    pub next_recheck_at: Option<Timestamp>,
}

/// Time that is due to be read again: windows that touch, of the same state and number of doubts, are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRecheck {
    /// The time.
    pub range: TimeRange,
    /// Its state.
    pub state: CoverageState,
    /// See [`DoubtfulTime::doubts`].
    pub doubts: u32,
    /// When the last of its windows was completed.
    pub completed_at: Timestamp,
}

/// A completed window, or several that were merged, as `coverage --evidence` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EvidenceRow {
    /// Why it was read.
    pub kind: WindowKind,
    /// Its time.
    pub covers: TimeRange,
    /// Its state.
    pub state: CoverageState,
    /// See [`Completion::reasons`]; `accepted` if an operator has accepted it.
    pub reasons: Vec<String>,
    /// See [`DoubtfulTime::doubts`].
    pub doubts: u32,
    /// Since when it has this state.
    pub since: Timestamp,
    /// When it is read again.
    pub next_recheck_at: Option<Timestamp>,
    /// Number of windows.
    pub windows: u64,
    /// How many of them were read again to the end.
    pub rechecked: u64,
    /// In how many of them a recheck found events.
    pub found: u64,
    /// Events that became visible with them.
    pub events: u64,
    /// Time of the earliest event.
    pub first_time: Option<Timestamp>,
    /// Time of the latest event.
    pub last_time: Option<Timestamp>,
    /// When the last of the windows was completed.
    pub completed_at: Timestamp,
    /// What the verdict rests on.
    pub evidence: WindowEvidence,
}

impl EvidenceRow {
    /// Two rows of one kind and state that touch, as one.
    #[must_use]
    pub fn merge(self, other: &Self) -> Self {
        let earliest = |times: [Option<Timestamp>; 2]| times.into_iter().flatten().min();
        Self {
            covers: TimeRange::new(self.covers.from.min(other.covers.from), self.covers.to.max(other.covers.to)),
            doubts: self.doubts.max(other.doubts),
            since: self.since.min(other.since),
            next_recheck_at: earliest([self.next_recheck_at, other.next_recheck_at]),
            windows: self.windows + other.windows,
            rechecked: self.rechecked + other.rechecked,
            found: self.found + other.found,
            events: self.events + other.events,
            first_time: earliest([self.first_time, other.first_time]),
            last_time: self.last_time.max(other.last_time),
            completed_at: self.completed_at.max(other.completed_at),
            evidence: self.evidence.merge(&other.evidence),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_evidence_sums_up_and_keeps_the_worst_verdict() {
        let one = WindowEvidence {
            pages: 2,
            first_total: Some(5),
            last_total: Some(6),
            ended_by: "link".to_owned(),
            checks: vec!["total".to_owned()],
            skew_millis: 40,
            ..WindowEvidence::default()
        };
        let other = WindowEvidence {
            pages: 3,
            first_total: Some(7),
            ended_by: "short_page".to_owned(),
            checks: vec!["end".to_owned(), "total".to_owned()],
            skew_millis: -700,
            ..WindowEvidence::default()
        };
        let merged = one.clone().merge(&other);
        assert_eq!((merged.pages, merged.first_total, merged.last_total), (5, Some(12), None));
        assert_eq!((merged.ended_by.as_str(), merged.skew_millis), ("several", -700));
        assert_eq!(merged.checks, ["end", "total"]);
        assert_eq!(one.clone().merge(&one).ended_by, "link");
    }
}
