//! `coverage --evidence`: what the state of each source's time rests on, merged by day, and what rechecks have found.
//!
//! ```text
//! rows of the journal --same day, kind, state and reasons--> one row per day
//!                     --rechecked, found-------------------> measured loss: k of n windows; for k = 0 at most 3/n
//! ```

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::doubt::reasons_text;
use super::observation::{TimeSpan, seconds, window_kind};
use super::text::{counted, span_text, wrapped_value};
use crate::format::count;
use crate::journal::EvidenceRow;
use crate::time::{TimeRange, Timestamp};

/// The evidence for a source's time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvidenceReport {
    /// The rows, in order.
    pub rows: Vec<DayEvidence>,
    /// What rechecks have found.
    pub loss: MeasuredLoss,
}

/// What the state of a range of time rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DayEvidence {
    /// The range.
    #[serde(flatten)]
    pub span: TimeSpan,
    /// `live` or `backfill`.
    pub kind: &'static str,
    /// `covered`, `in_doubt` or `unreadable`.
    pub state: &'static str,
    /// Why it is not covered; `accepted` if an operator decided that it is.
    pub reasons: Vec<String>,
    /// Verdicts of doubt in a row.
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
    /// Events.
    pub events: u64,
    /// Pages read.
    pub pages: u64,
    /// Requests made, failed ones included.
    pub requests: u64,
    /// Records read, duplicates included.
    pub records_read: u64,
    /// Distinct keys among them.
    pub keys: u64,
    /// Scans made.
    pub scans: u32,
    /// The totals that the vendor announced first, summed up; `None` if it did not for every window.
    pub first_total: Option<u64>,
    /// The totals that it announced last.
    pub last_total: Option<u64>,
    /// Records by which the list grew while it was read.
    pub shift: u64,
    /// Known records that the vendor no longer lists.
    pub gone: u64,
    /// What ended the last scan; `several` if windows ended differently.
    pub ended_by: String,
    /// The checks that disagreed in the last verdict.
    pub checks: Vec<String>,
    /// Records before this time were not kept; `None`: no limit.
    pub kept_from: Option<Timestamp>,
    /// Records at or after this time were not kept; `None`: no limit.
    pub kept_to: Option<Timestamp>,
    /// Hash of the settings that narrow what is requested; `several` if they changed.
    pub settings_hash: String,
    /// The vendor's clock minus this machine's, in seconds: the farthest from zero.
    pub skew_seconds: f64,
    /// When the last of the windows was completed.
    pub completed_at: Timestamp,
}

/// What rechecks have found. A second look cannot find what the vendor hides from it in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MeasuredLoss {
    /// Windows that were read again to the end.
    pub rechecked_windows: u64,
    /// Those of them in which a recheck found events.
    pub found_windows: u64,
    /// The share of the two, 0 to 1; `None` if no window was read again.
    pub found_share: Option<f64>,
    /// If nothing was found: the share that a second look would exceed with a chance of 5 % at most, 3/n.
    pub found_share_bound: Option<f64>,
}

impl EvidenceReport {
    /// The report of a source's rows, which are in order.
    pub(super) fn new(rows: &[EvidenceRow]) -> Self {
        let mut days: Vec<EvidenceRow> = Vec::new();
        for row in rows {
            match days.pop() {
                Some(day) if is_same_day(&day, row) => days.push(day.merge(row)),
                day => days.extend(day.into_iter().chain([row.clone()])),
            }
        }
        Self { rows: days.into_iter().map(DayEvidence::from).collect(), loss: MeasuredLoss::of(rows) }
    }

    /// The rows for people, in lines for the column of the values.
    pub(super) fn text(&self) -> String {
        self.rows.iter().map(DayEvidence::text).collect()
    }
}

const DAY: Duration = Duration::from_secs(86_400);

fn is_same_day(day: &EvidenceRow, row: &EvidenceRow) -> bool {
    let of = |row: &EvidenceRow| (row.covers.from.floor_to(DAY), row.kind, row.state, row.doubts);
    day.covers.to == row.covers.from && of(day) == of(row) && day.reasons == row.reasons
}

impl From<EvidenceRow> for DayEvidence {
    fn from(row: EvidenceRow) -> Self {
        let EvidenceRow { covers, evidence, .. } = row;
        let kept = evidence.kept;
        let skew = seconds(Duration::from_millis(evidence.skew_millis.unsigned_abs()));
        Self {
            span: covers.into(),
            kind: window_kind(row.kind),
            state: row.state.as_str(),
            reasons: row.reasons,
            doubts: row.doubts,
            since: row.since,
            next_recheck_at: row.next_recheck_at,
            windows: row.windows,
            rechecked: row.rechecked,
            found: row.found,
            events: row.events,
            pages: evidence.pages,
            requests: evidence.requests,
            records_read: evidence.records_read,
            keys: evidence.keys,
            scans: evidence.scans,
            first_total: evidence.first_total,
            last_total: evidence.last_total,
            shift: evidence.shift,
            gone: evidence.gone,
            ended_by: evidence.ended_by,
            checks: evidence.checks,
            kept_from: Some(kept.from).filter(|from| *from > TimeRange::ALL.from),
            kept_to: Some(kept.to).filter(|to| *to < TimeRange::ALL.to),
            settings_hash: evidence.settings_hash,
            skew_seconds: if evidence.skew_millis < 0 { -skew } else { skew },
            completed_at: row.completed_at,
        }
    }
}

impl DayEvidence {
    fn text(&self) -> String {
        let head = format!("{}  {}, {}\n", span_text(self.span), self.kind, self.state);
        let read = format!(
            "{}, {}, {}, {}, {} and {} read",
            counted(self.windows, "window"),
            counted(u64::from(self.scans), "scan"),
            counted(self.pages, "page"),
            counted(self.requests, "request"),
            counted(self.keys, "key"),
            counted(self.records_read, "record"),
        );
        let rechecks = format!("{} rechecked, events found in {}", count(self.rechecked), count(self.found));
        let mut parts = vec![read, self.details(), rechecks];
        if !self.reasons.is_empty() {
            parts.insert(0, format!("reasons: {}", reasons_text(&self.reasons)));
        }
        parts.iter().fold(head, |text, part| text + &wrapped_value(part))
    }

    fn details(&self) -> String {
        let totals = match (self.first_total, self.last_total) {
            (Some(first), Some(last)) => format!("totals {} to {}", count(first), count(last)),
            _ => "no totals".to_owned(),
        };
        let mut text = format!("{totals}, shift {}, gone {}", count(self.shift), count(self.gone));
        // Writing into a String cannot fail.
        if !self.checks.is_empty() {
            let _ = write!(text, ", checks that disagreed: {}", self.checks.join(", "));
        }
        let bound = |at: Option<Timestamp>| at.map_or_else(String::new, |at| at.with_digits(0).to_string());
        if self.kept_from.is_some() || self.kept_to.is_some() {
            let _ = write!(text, ", kept {}..{}", bound(self.kept_from), bound(self.kept_to));
        }
        let _ = write!(text, ", clock skew {}s", self.skew_seconds);
        text
    }
}

impl MeasuredLoss {
    fn of(rows: &[EvidenceRow]) -> Self {
        let rechecked_windows: u64 = rows.iter().map(|row| row.rechecked).sum();
        let found_windows: u64 = rows.iter().map(|row| row.found).sum();
        let share = |windows: u64| windows as f64 / rechecked_windows as f64;
        let any = rechecked_windows > 0;
        Self {
            rechecked_windows,
            found_windows,
            found_share: any.then(|| share(found_windows)),
            found_share_bound: (any && found_windows == 0).then(|| share(3).min(1.0)),
        }
    }

    /// The measured loss, for people.
    pub(super) fn text(&self) -> String {
        let Some(share) = self.found_share else {
            return "not measured: no window has been read again yet".to_owned();
        };
        let (found, windows) = (count(self.found_windows), counted(self.rechecked_windows, "rechecked window"));
        let measured = match self.found_share_bound {
            Some(bound) => format!("with 95 % confidence it finds events in at most {}", percent(bound)),
            None => percent(share),
        };
        format!(
            "a second look found events in {found} of {windows}: {measured}; what a second look cannot find is not measured"
        )
    }
}

fn percent(share: f64) -> String {
    format!("{:.3} %", share * 100.0)
}
