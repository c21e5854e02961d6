//! Which records of a page go into the journal: those in the window's scope, numbered, deduplicated, oldest first.
//!
//! ```text
//!   page --key_of--> in scope? --occurrence number--> seen before? --sort--> block
//! ```

use std::time::Duration;

use super::dedup::{OccurrenceCounter, RecordStatus, SeenSet, greatest_versions};
use super::fetch::FetchedPage;
use super::ranges;
use super::retrying_journal::{RetryingJournal, StopReason};
use super::scheduler::key_range;
use crate::journal::{BlockBuilder, EncodedBlock, JournalError, NewWindow, SeenKey, SourceId, WindowId, WindowKind};
use crate::time::{TimeRange, Timestamp};
use crate::vendors::{ApiSpec, Normalizer, RecordKey, RecordOrder};

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

    /// What a page of a window adds to the journal. `occurrences` is given for vendors without ids.
    pub(super) async fn filter(
        &mut self,
        journal: &mut RetryingJournal,
        page: &FetchedPage,
        (id, window): (WindowId, &NewWindow),
        normalizer: &(impl Normalizer + ?Sized),
        occurrences: Option<&mut OccurrenceCounter>,
    ) -> Result<FilteredPage, StopReason> {
        let scope = WindowScope::new(window, &self.spec);
        let records = records_in_scope(page, normalizer, &scope, occurrences);
        let until = window.fetch_range.to;
        self.load(journal, self.seen.missing(key_range(window, &self.spec)), until).await?;
        self.load(journal, self.seen.missing_around(times(&records)), until).await?;
        let out_of_range = page.records().len() - records.len();
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

/// Computes the keys of a page's records and keeps the records in scope. `occurrences` is given for vendors without ids.
fn records_in_scope<'p>(
    page: &'p FetchedPage,
    normalizer: &(impl Normalizer + ?Sized),
    scope: &WindowScope,
    mut occurrences: Option<&mut OccurrenceCounter>,
) -> Vec<InScopeRecord<'p>> {
    let mut kept = Vec::with_capacity(page.records().len());
    if let Some(occurrences) = occurrences.as_mut() {
        occurrences.begin_page();
    }
    for raw in page.records() {
        let key = normalizer.key_of(raw);
        if scope.contains(key.timestamp) {
            let occurrence = occurrences.as_mut().map_or(0, |occurrences| occurrences.number(&key));
            kept.push(InScopeRecord { raw, key: seen_key(&key, occurrence), occurrence });
        } else if let Some(occurrences) = occurrences.as_mut() {
            occurrences.skip(&key);
        }
    }
    kept
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
