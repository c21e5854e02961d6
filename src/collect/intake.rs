//! What of a page goes into the journal: the records in scope, numbered, compared with what is known, oldest first.
//!
//! ```text
//!   page --identify--> in scope? --number twins--> known? --order--> block
//! ```

use super::dedupe::{Known, Tally, Verdict, greatest_versions};
use super::pages::Fetched;
use super::planner::DAY;
use super::ranges;
use crate::journal::{BlockBuilder, EncodedBlock, JournalError, NewWindow, SeenKey, WindowKind};
use crate::time::{TimeRange, Timestamp};
use crate::vendors::{ApiSpec, Normalizer, RecordKey, RecordOrder};

/// Which records a window takes, by their own time. Those without a usable time are always taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    own: Option<TimeRange>,
}

impl Scope {
    /// Nothing from before `from` or after `to`. Where the filter only knows whole days, what lies behind the window's
    /// end is left to later windows. All that was asked for before it is taken, however late it became visible, and
    /// elsewhere even a record that was not asked for: its id tells whether it is new.
    pub(super) fn new(from: Option<Timestamp>, to: Option<Timestamp>, window: &NewWindow, spec: &ApiSpec) -> Self {
        let whole_days = spec.time_granularity >= DAY && window.kind != WindowKind::Recheck;
        let own = TimeRange::new(window.fetch_range.from, window.covers.to);
        Self { from, to, own: whole_days.then_some(own) }
    }

    fn takes(&self, timestamp: Option<Timestamp>) -> bool {
        let Some(at) = timestamp else { return true };
        self.from.is_none_or(|from| at >= from)
            && self.to.is_none_or(|to| at < to)
            && self.own.is_none_or(|own| ranges::holds(own, at))
    }
}

/// A record of a page that is in scope.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'p> {
    raw: &'p str,
    key: SeenKey,
    occurrence: u32,
}

/// Identifies a page's records and keeps those in scope. `tally` is there for vendors without ids.
pub(super) fn candidates<'p>(
    page: &'p Fetched,
    records: &(impl Normalizer + ?Sized),
    scope: &Scope,
    mut tally: Option<&mut Tally>,
) -> Vec<Candidate<'p>> {
    let mut kept = Vec::with_capacity(page.records().len());
    if let Some(tally) = tally.as_mut() {
        tally.begin_page();
    }
    for raw in page.records() {
        let identity = records.key_of(raw);
        if !scope.takes(identity.timestamp) {
            if let Some(tally) = tally.as_mut() {
                tally.pass_by(&identity);
            }
        } else {
            let occurrence = tally.as_mut().map_or(0, |tally| tally.number(&identity));
            kept.push(Candidate { raw, key: key_of(&identity, occurrence), occurrence });
        }
    }
    kept
}

fn key_of(identity: &RecordKey, occurrence: u32) -> SeenKey {
    SeenKey { id: identity.id.nth(occurrence), version: identity.version, timestamp: identity.timestamp }
}

/// The records' own times.
pub(super) fn times(candidates: &[Candidate<'_>]) -> Vec<Timestamp> {
    candidates.iter().filter_map(|candidate| candidate.key.timestamp).collect()
}

/// What a page brings.
#[derive(Debug)]
pub(super) struct Sifted {
    /// The records to be stored; `None` if none is new.
    pub(super) block: Option<EncodedBlock>,
    /// How many are stored.
    pub(super) stored: usize,
    /// The times of those that were never collected before in any version.
    pub(super) new_times: Vec<Timestamp>,
}

/// Keeps what is new or changed, notes it as known, and puts it into a block, oldest first. `until` is the end of the
/// span that the walk asks for.
pub(super) fn sift(
    page: &Fetched,
    candidates: &[Candidate<'_>],
    known: &mut Known,
    order: RecordOrder,
    until: Timestamp,
) -> Result<Sifted, JournalError> {
    let mut taken = Vec::new();
    let mut new_times = Vec::new();
    for candidate in candidates {
        let verdict = known.judge(candidate.key, until);
        if verdict == Verdict::Old {
            continue;
        }
        if verdict == Verdict::New {
            new_times.extend(candidate.key.timestamp);
        }
        known.remember(candidate.key, until);
        taken.push(*candidate);
    }
    let taken = oldest_first(without_superseded(taken), order);
    let mut block = BlockBuilder::new(page.observed_at);
    for candidate in &taken {
        block.push(candidate.raw, candidate.key, candidate.occurrence);
    }
    Ok(Sifted { block: block.finish()?, stored: taken.len(), new_times })
}

fn without_superseded(taken: Vec<Candidate<'_>>) -> Vec<Candidate<'_>> {
    let keys: Vec<SeenKey> = taken.iter().map(|candidate| candidate.key).collect();
    let stays = greatest_versions(&keys);
    taken.into_iter().zip(stays).filter_map(|(candidate, stays)| stays.then_some(candidate)).collect()
}

/// By time; equal times as the vendor lists them, and a record without a time stays behind its neighbor.
fn oldest_first(mut taken: Vec<Candidate<'_>>, order: RecordOrder) -> Vec<Candidate<'_>> {
    if order == RecordOrder::NewestFirst {
        taken.reverse();
    }
    let mut latest = taken.iter().find_map(|candidate| candidate.key.timestamp).unwrap_or_default();
    let mut timed: Vec<(Timestamp, Candidate<'_>)> = Vec::with_capacity(taken.len());
    for candidate in taken {
        latest = candidate.key.timestamp.unwrap_or(latest);
        timed.push((latest, candidate));
    }
    timed.sort_by_key(|(at, _)| *at);
    timed.into_iter().map(|(_, candidate)| candidate).collect()
}
