//! Which records of a page go into the journal: those in the window's scope, numbered, deduplicated, oldest first.
//!
//! ```text
//!   page --key_of--> in scope? --occurrence number--> sort --> seen before? --> block
//!                                                              |
//!            keys of the time that is read, or of the id at any time: the journal
//! ```
//!
//! Where dedup keys are gone, a record cannot be distinguished from a collected one. So a record of such time that the window
//! does not cover for the first time is left out, counted and reported.

use std::time::Duration;

use tokio::time::Instant;

use super::by_id::{IdMap, IdSet};
use super::dedup::{Reader, RecordStatus, SeenSet, greatest_versions};
use super::facts::Taken;
use super::fetch::FetchedPage;
use super::monitors::HourlyWarning;
use super::ranges;
use super::retrying_journal::{RetryingJournal, StopReason};
use super::scheduler::key_range;
use crate::event::EventId;
use crate::journal::{BlockBuilder, EncodedBlock, JournalError, NewWindow, SeenKey, SourceId, WindowId, WindowKind};
use crate::time::{TimeRange, Timestamp};
use crate::vendors::content::content_hash;
use crate::vendors::{ApiSpec, RecordKey, RecordOrder};

/// How far inside a requested range a record lies at least that a scan has to meet: some filters are coarser than they
/// seem, or exclude the moments that they name. Less where the overlap is short, so that the overlap proves something.
const BOUNDS_MARGIN: Duration = Duration::from_secs(60);
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
    report: ChangeReport,
}

/// Reports changed records, and those that cannot be distinguished from collected ones: each at most once per hour.
#[derive(Debug, Default)]
struct ChangeReport {
    changed: u64,
    changed_warning: HourlyWarning,
    without_keys: u64,
    without_keys_warning: HourlyWarning,
}

impl ChangeReport {
    fn add_changed(&mut self, records: usize, example: Option<EventId>) {
        let Some(id) = example else { return };
        self.changed += records as u64;
        if self.changed_warning.is_due(Instant::now()) {
            tracing::warn!(
                event = "records_changed",
                records = std::mem::take(&mut self.changed),
                %id,
                "records have other content under a known id: they are delivered again in a higher version"
            );
        }
    }

    fn add_without_keys(&mut self, records: usize) {
        self.without_keys += records as u64;
        if records > 0 && self.without_keys_warning.is_due(Instant::now()) {
            tracing::warn!(
                event = "records_without_dedup_keys",
                records = std::mem::take(&mut self.without_keys),
                hint = "set a longer journal.key_retention to read this time again",
                "records of covered time whose dedup keys are gone are left out: they may have been delivered before"
            );
        }
    }
}

impl PageFilter {
    /// For a source with this spec.
    pub(super) fn new(source: SourceId, spec: &ApiSpec) -> Self {
        Self { source, spec: spec.clone(), seen: SeenSet::default(), report: ChangeReport::default() }
    }

    /// What is known of the time that a window requests: a scan has to meet it. Records close to the ends of the range, or
    /// to the end of the vendor's retention, are left out: their bounds are not known to the second.
    pub(super) async fn expected(
        &mut self,
        journal: &mut RetryingJournal,
        window: &NewWindow,
        now: Timestamp,
    ) -> Result<IdSet<EventId>, StopReason> {
        self.load(journal, self.seen.missing(key_range(window, &self.spec)), window.fetch_range.to).await?;
        let margin = BOUNDS_MARGIN.min(self.spec.overlap / 4) + self.spec.time_granularity;
        let kept_since = self.kept_since(now);
        let range = window.fetch_range;
        let is_expected = |at: Timestamp| {
            at >= range.from + margin && at + margin < range.to && kept_since.is_none_or(|since| at >= since)
        };
        Ok(self.seen.ids_where(is_expected))
    }

    /// Known records that the vendor may no longer keep: they are close to the end of its retention, or beyond it.
    pub(super) fn expired(&self, now: Timestamp) -> IdSet<EventId> {
        let Some(kept_since) = self.kept_since(now) else { return IdSet::default() };
        self.seen.ids_where(|at| at < kept_since)
    }

    /// What is younger is surely kept by the vendor; `None` if everything is.
    fn kept_since(&self, now: Timestamp) -> Option<Timestamp> {
        let margin = (BOUNDS_MARGIN + self.spec.time_granularity) * 60;
        self.spec.retention.map(|retention| now - retention + margin)
    }

    /// What a page of a window adds to the journal. `taken` says which of its records were read before in this scan;
    /// identical records on this page get occurrence numbers. `extra` are those of other
    /// pages, numbered by the scan's end.
    pub(super) async fn filter(
        &mut self,
        journal: &mut RetryingJournal,
        (page, keys): (&FetchedPage, Vec<RecordKey>),
        (id, window): (WindowId, &NewWindow),
        taken: Taken,
        extra: &[ExtraRecord],
    ) -> Result<FilteredPage, StopReason> {
        let scope = WindowScope::new(window, &self.spec);
        let mut records = records_in_scope(page, &keys, &scope, taken, self.spec.has_ids);
        drop(keys);
        let out_of_range = page.records().len() - records.len();
        records.extend(extra.iter().map(|record| InScopeRecord {
            raw: &record.raw,
            key: seen_key(&record.raw, &record.key, record.occurrence, self.spec.has_ids),
            occurrence: record.occurrence,
        }));
        let reader = Reader { window: id, at: page.observed_at, until: window.fetch_range.to };
        self.load(journal, self.seen.missing(key_range(window, &self.spec)), reader.until).await?;
        self.load(journal, self.seen.missing_around(times(&records)), reader.until).await?;
        let forgotten = self.load_by_id(journal, &records, reader.until).await?;
        let before = records.len();
        records.retain(|record| self.seen.knows(&record.key) || !is_forgotten(record, window, &forgotten));
        self.report.add_without_keys(before - records.len());
        if out_of_range > 0 {
            tracing::debug!(
                event = "records_out_of_range",
                window = id.0,
                records = out_of_range,
                "records outside of the time to collect were dropped"
            );
        }
        let records = oldest_first(records, self.spec.order);
        let (filtered, changed) = new_records(page, records, &mut self.seen, reader).map_err(StopReason::Journal)?;
        self.report.add_changed(changed.len(), changed.first().copied());
        Ok(filtered)
    }

    /// Adds what the journal knows of records that no key of their own time explains: their vendor may have given them
    /// another time. Returns the time whose keys are gone.
    async fn load_by_id(
        &mut self,
        journal: &mut RetryingJournal,
        records: &[InScopeRecord<'_>],
        until: Timestamp,
    ) -> Result<Vec<TimeRange>, StopReason> {
        let unknown = records.iter().filter(|record| !self.seen.knows(&record.key)).map(|record| record.key.id);
        let unknown: Vec<EventId> = unknown.collect();
        if unknown.is_empty() {
            return Ok(Vec::new());
        }
        // An id that is made of the record's time is never met at another one.
        let ids = if self.spec.has_ids { unknown } else { Vec::new() };
        let source = self.source;
        let known = journal.retry(|journal| journal.known_records(source, ids.clone())).await?;
        known.keys.into_iter().for_each(|key| self.seen.insert(key, until));
        Ok(known.forgotten)
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
    let record =
        |((raw, key), occurrence)| InScopeRecord { raw, key: seen_key(raw, key, occurrence, has_ids), occurrence };
    let mut found = Vec::with_capacity(keys.len());
    found.extend(in_scope.map(record));
    found
}

/// The number of each record among those with the same id. The greatest version comes first, so that a number stays with
/// its record while the vendor adds others that it counts apart.
fn occurrences_on_page(keys: &[RecordKey]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(keys[*at].version));
    let mut next: IdMap<EventId, u32> = IdMap::default();
    let mut occurrences = vec![0; keys.len()];
    for at in order {
        let number = next.entry(keys[at].id).or_default();
        occurrences[at] = *number;
        *number += 1;
    }
    occurrences
}

/// The key of a record. Its content is hashed where nothing else would tell that it has changed: neither an id that is
/// made of the content nor a version of the vendor's.
pub(super) fn seen_key(raw: &str, key: &RecordKey, occurrence: u32, has_ids: bool) -> SeenKey {
    let RecordKey { id, timestamp, version, content } = *key;
    let content = match content {
        _ if !has_ids || version > 0 => 0,
        0 => content_hash(raw),
        known => known,
    };
    SeenKey { id: id.nth(occurrence), version, timestamp, content }
}

/// Whether a record, if no key of it is known, may have been collected nevertheless: keys of its time are gone, and it is
/// not time that the window is the first to cover.
fn is_forgotten(record: &InScopeRecord<'_>, window: &NewWindow, forgotten: &[TimeRange]) -> bool {
    let Some(at) = record.key.timestamp else { return false };
    let is_first = window.kind != WindowKind::Recheck && ranges::contains(window.covers, at);
    !is_first && forgotten.iter().any(|range| ranges::contains(*range, at))
}

/// The records' own times.
fn times(records: &[InScopeRecord<'_>]) -> Vec<Timestamp> {
    records.iter().filter_map(|record| record.key.timestamp).collect()
}

/// Keeps what is new or changed, adds it to the seen records, and puts it into a block. Returns the ids of records with
/// another content too. The records are in order, so that of two contents on one page the later record has the higher
/// version.
fn new_records(
    page: &FetchedPage,
    mut records: Vec<InScopeRecord<'_>>,
    seen: &mut SeenSet,
    reader: Reader,
) -> Result<(FilteredPage, Vec<EventId>), JournalError> {
    let (mut new_times, mut changed) = (Vec::new(), Vec::new());
    let mut has_versions = false;
    records.retain_mut(|record| {
        match seen.check(&record.key, reader) {
            RecordStatus::Duplicate => return false,
            RecordStatus::New => new_times.extend(record.key.timestamp),
            RecordStatus::Changed { version } if record.key.content != 0 => {
                let observed = u64::try_from(page.observed_at.as_micros()).unwrap_or(0);
                record.key.version = observed.max(version + 1);
                changed.push(record.key.id);
            }
            RecordStatus::Changed { .. } => has_versions = true,
        }
        seen.insert(record.key, reader.until);
        true
    });
    // An id stands on the page twice only if the second record of it is a change.
    let kept = if has_versions { without_superseded(records) } else { records };
    let stored = kept.len();
    let mut block = BlockBuilder::new(page.observed_at, stored);
    for record in kept {
        if record.key.content != 0 && record.key.version > 0 {
            block.push_changed(record.raw, record.key, record.occurrence);
        } else {
            block.push(record.raw, record.key, record.occurrence);
        }
    }
    Ok((FilteredPage { block: block.finish()?, stored, new_times }, changed))
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
    if records.iter().filter_map(|record| record.key.timestamp).is_sorted() {
        return records;
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
