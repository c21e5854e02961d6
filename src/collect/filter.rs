//! Which records of a page go into the journal: those in the window's scope, numbered, deduplicated, oldest first.
//!
//! ```text
//!   page --key_of--> in scope? --occurrence number--> seen before? --sort--> block
//! ```

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::dedup::{RecordStatus, SeenSet, greatest_versions};
use super::evidence::Taken;
use super::fetch::FetchedPage;
use super::ranges;
use super::retrying_journal::{RetryingJournal, StopReason};
use super::scheduler::key_range;
use crate::event::EventId;
use crate::journal::{BlockBuilder, EncodedBlock, JournalError, NewWindow, SeenKey, SourceId, WindowId, WindowKind};
use crate::time::{TimeRange, Timestamp};
use crate::vendors::{ApiSpec, RecordKey, RecordOrder};

/// A time filter of this granularity or coarser returns records of later windows too.
const DAY: Duration = Duration::from_secs(86_400);

/// What a page adds to the journal.
#[derive(Debug)]
pub(super) struct FilteredPage {
    /// The records to store; `None` if none is new.
    pub(super) block: Option<EncodedBlock>,
    /// How many are stored.
    pub(super) stored: usize,
    /// The times of records that were never collected before in any version.
    pub(super) new_times: Vec<Timestamp>,
}

/// An identical record that stood on another page of the scan, numbered now that the scan has proved that it exists.
#[derive(Clone, Debug)]
pub(super) struct ExtraRecord {
    /// The vendor's record.
    pub(super) raw: String,
    /// Its key, under the id of the first of its identical ones.
    pub(super) key: RecordKey,
    /// Its number among them.
    pub(super) occurrence: u32,
}

/// Filters the pages of one source.
#[derive(Debug)]
pub(super) struct PageFilter {
    source: SourceId,
    spec: ApiSpec,
    seen: SeenSet,
}

impl PageFilter {
    /// For a source with this spec.
    pub(super) fn new(source: SourceId, spec: &ApiSpec) -> Self {
        Self { source, spec: spec.clone(), seen: SeenSet::default() }
    }

    /// What is known of the time that a window requests: a scan has to meet it. Records close to the ends of the range, or
    /// to the end of the vendor's retention, are left out: their bounds are not known to the second.
    pub(super) async fn expected(
        &mut self,
        journal: &mut RetryingJournal,
        window: &NewWindow,
        now: Timestamp,
    ) -> Result<HashSet<EventId>, StopReason> {
        self.load(journal, self.seen.missing(key_range(window, &self.spec)), window.fetch_range.to).await?;
        let margin = Duration::from_secs(60) + self.spec.time_granularity;
        let kept_since = self.spec.retention.map(|retention| now - retention + margin * 60);
        let range = window.fetch_range;
        let is_expected = |at: Timestamp| {
            at >= range.from + margin && at + margin < range.to && kept_since.is_none_or(|since| at >= since)
        };
        Ok(self.seen.ids_where(is_expected))
    }

    /// What a page of a window adds to the journal. `taken` says which of its records were read before in this scan;
    /// identical records on this page get occurrence numbers. `extra` are those of other
    /// pages, numbered by the scan's end.
    pub(super) async fn filter(
        &mut self,
        journal: &mut RetryingJournal,
        (page, keys): (&FetchedPage, &[RecordKey]),
        (id, window): (WindowId, &NewWindow),
        taken: Taken,
        extra: &[ExtraRecord],
    ) -> Result<FilteredPage, StopReason> {
        let scope = WindowScope::new(window, &self.spec);
        let mut records = records_in_scope(page, keys, &scope, taken, self.spec.has_ids);
        let out_of_range = page.records().len() - records.len();
        records.extend(extra.iter().map(|record| InScopeRecord {
            raw: &record.raw,
            key: seen_key(&record.key, record.occurrence),
            occurrence: record.occurrence,
        }));
        let until = window.fetch_range.to;
        self.load(journal, self.seen.missing(key_range(window, &self.spec)), until).await?;
        self.load(journal, self.seen.missing_around(times(&records)), until).await?;
        if out_of_range > 0 {
            tracing::debug!(
                event = "records_out_of_range",
                window = id.0,
                records = out_of_range,
                "records outside of the time to collect were dropped"
            );
        }
        new_records(page, &records, &mut self.seen, self.spec.order, until).map_err(StopReason::Journal)
    }

    async fn load(
        &mut self,
        journal: &mut RetryingJournal,
        missing: Vec<TimeRange>,
        until: Timestamp,
    ) -> Result<(), StopReason> {
        let source = self.source;
        for range in missing {
            let keys = journal.retry(|journal| journal.keys_within(source, range)).await?;
            self.seen.load(range, keys, until);
        }
        Ok(())
    }

    /// Discards the seen records, after staged pages were discarded; they are loaded again when needed.
    pub(super) fn clear(&mut self) {
        self.seen.clear();
    }

    /// Keeps the seen records of the ranges in use.
    pub(super) fn prune(&mut self, in_use: &[TimeRange]) {
        self.seen.prune(in_use);
    }
}

/// Which records a window takes, by their own time. Records without a usable time are always taken.
#[derive(Clone, Copy, Debug)]
struct WindowScope {
    kept: TimeRange,
    own: Option<TimeRange>,
}

impl WindowScope {
    /// What the settings said when the window opened. With a time filter of whole days, records after the window's end
    /// are left to later windows; all that was requested before it is taken, however late it became visible. With finer
    /// filters even a record that was not requested is taken: its key tells whether it is new.
    fn new(window: &NewWindow, spec: &ApiSpec) -> Self {
        let whole_days = spec.time_granularity >= DAY && window.kind != WindowKind::Recheck;
        let own = TimeRange::new(window.fetch_range.from, window.covers.to);
        Self { kept: window.kept, own: whole_days.then_some(own) }
    }

    fn contains(&self, timestamp: Option<Timestamp>) -> bool {
        let Some(at) = timestamp else { return true };
        ranges::contains(self.kept, at) && self.own.is_none_or(|own| ranges::contains(own, at))
    }
}

/// A record of a page that is in scope.
#[derive(Clone, Copy, Debug)]
struct InScopeRecord<'p> {
    raw: &'p str,
    key: SeenKey,
    occurrence: u32,
}

/// Keeps the records in scope that this scan has not read before. Identical records of a vendor without ids are numbered
/// within their page: one answer cannot move under itself.
fn records_in_scope<'p>(
    page: &'p FetchedPage,
    keys: &[RecordKey],
    scope: &WindowScope,
    taken: Taken,
    has_ids: bool,
) -> Vec<InScopeRecord<'p>> {
    let (skip, take) = match taken {
        Taken::Page { known } => (known, usize::MAX),
        Taken::Head { new } => (0, new),
        Taken::Nothing => (0, usize::MAX),
    };
    let occurrences = if has_ids { vec![0; keys.len()] } else { occurrences_on_page(keys) };
    let records = page.records().zip(keys).zip(occurrences).take(take).skip(skip);
    let in_scope = records.filter(|((_, key), _)| scope.contains(key.timestamp));
    in_scope.map(|((raw, key), occurrence)| InScopeRecord { raw, key: seen_key(key, occurrence), occurrence }).collect()
}

/// The number of each record among those with the same id. The greatest version comes first, so that a number stays with
/// its record while the vendor adds others that it counts apart.
fn occurrences_on_page(keys: &[RecordKey]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(keys[*at].version));
    let mut next: HashMap<EventId, u32> = HashMap::new();
    let mut occurrences = vec![0; keys.len()];
    for at in order {
        let number = next.entry(keys[at].id).or_default();
        occurrences[at] = *number;
        *number += 1;
    }
    occurrences
}

fn seen_key(key: &RecordKey, occurrence: u32) -> SeenKey {
    SeenKey { id: key.id.nth(occurrence), version: key.version, timestamp: key.timestamp }
}

/// The records' own times.
fn times(records: &[InScopeRecord<'_>]) -> Vec<Timestamp> {
    records.iter().filter_map(|record| record.key.timestamp).collect()
}

/// Keeps what is new or changed, adds it to the seen records, and puts it into a block, oldest first. `until` is the end
/// of the time range that the scan requests.
fn new_records(
    page: &FetchedPage,
    records: &[InScopeRecord<'_>],
    seen: &mut SeenSet,
    order: RecordOrder,
    until: Timestamp,
) -> Result<FilteredPage, JournalError> {
    let mut kept = Vec::new();
    let mut new_times = Vec::new();
    for record in records {
        match seen.check(record.key, until) {
            RecordStatus::Duplicate => continue,
            RecordStatus::New => new_times.extend(record.key.timestamp),
            RecordStatus::Changed => {}
        }
        seen.insert(record.key, until);
        kept.push(*record);
    }
    let kept = oldest_first(without_superseded(kept), order);
    let mut block = BlockBuilder::new(page.observed_at);
    for record in &kept {
        block.push(record.raw, record.key, record.occurrence);
    }
    Ok(FilteredPage { block: block.finish()?, stored: kept.len(), new_times })
}

fn without_superseded(records: Vec<InScopeRecord<'_>>) -> Vec<InScopeRecord<'_>> {
    let keys: Vec<SeenKey> = records.iter().map(|record| record.key).collect();
    let keep = greatest_versions(&keys);
    records.into_iter().zip(keep).filter_map(|(record, keep)| keep.then_some(record)).collect()
}

/// By time; equal times stay in the vendor's order, and a record without a time stays behind its neighbor.
fn oldest_first(mut records: Vec<InScopeRecord<'_>>, order: RecordOrder) -> Vec<InScopeRecord<'_>> {
    if order == RecordOrder::NewestFirst {
        records.reverse();
    }
    let mut latest = records.iter().find_map(|record| record.key.timestamp).unwrap_or_default();
    let mut timed: Vec<(Timestamp, InScopeRecord<'_>)> = Vec::with_capacity(records.len());
    for record in records {
        latest = record.key.timestamp.unwrap_or(latest);
        timed.push((latest, record));
    }
    timed.sort_by_key(|(at, _)| *at);
    timed.into_iter().map(|(_, record)| record).collect()
}
