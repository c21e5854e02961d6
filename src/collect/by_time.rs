//! A scan by time: only the first page of what is left is ever read, and the next request begins at the last second met.
//!
//! ```text
//!   [from ............................ to)   first page: 9 8 7 6 5        newest first
//!   [from ........... second of 5, whole)    first page: 5 4 3 2          one answer cannot move under itself
//!   [from . second of 2, whole)              first page: 2 1, short: over
//! ```
//!
//! Pages that shift, ties in unstable order, lost links, ignored offsets and capped totals all disappear, because each
//! request stands alone and borders lie between seconds, not between places. It needs a time filter that is honored to the
//! second, and pages that are sorted by time, which their records show: where either is missing, the scan says that it does
//! not apply.

use std::hash::Hash;
use std::time::Duration;

use super::by_id::IdMap;
use super::facts::{Check, PageFacts};
use crate::vendors::{ApiSpec, Paging};

/// A time filter of this granularity or coarser does not narrow a request.
const DAY: Duration = Duration::from_secs(86_400);

/// Whether a vendor with this spec can be scanned by time: its filter is finer than a day.
pub(super) fn may_apply(spec: &ApiSpec) -> bool {
    spec.time_granularity < DAY
}

/// One second, in the unit of the times given.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByTimeRules {
    /// How pages are addressed.
    pub(super) paging: Paging,
    /// Records asked for per page.
    pub(super) page_size: usize,
    /// Whether the total can be used.
    pub(super) total_counts: bool,
    /// The step in which borders are drawn: one second, or the vendor's granularity if that is coarser.
    pub(super) step: i64,
}

/// What a scan by time asks next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextByTime {
    /// The first page of `[from, to)`.
    First { from: i64, to: i64 },
    /// The second page of `[from, to)`, which begins after `skip` records: is there more?
    Second { from: i64, to: i64, skip: usize },
    /// Nothing: the scan is over.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    /// The page looked like the end.
    End,
    /// One second fills a page.
    FullSecond,
}

/// The evidence of one scan by time.
#[derive(Clone, Debug)]
pub(super) struct ByTimeEvidence<K> {
    rules: ByTimeRules,
    /// Whether the newest record comes first, once a page has shown it.
    newest_first: Option<bool>,
    from: i64,
    to: i64,
    next: NextByTime,
    probe: Probe,
    first_page: bool,
    longest_page: usize,
    counts: IdMap<K, usize>,
    times: IdMap<K, i64>,
    asked: Vec<(i64, i64, u64)>,
    last: Option<(usize, Option<u64>, bool, Option<i64>)>,
    disagrees: Vec<Check>,
    applies: bool,
}

impl<K: Copy + Eq + Hash> ByTimeEvidence<K> {
    /// A scan of `[from, to)` that has not begun.
    pub(super) fn new(rules: ByTimeRules, from: i64, to: i64) -> Self {
        Self {
            rules,
            newest_first: None,
            from,
            to,
            next: NextByTime::First { from, to },
            probe: Probe::End,
            first_page: true,
            longest_page: 0,
            counts: IdMap::default(),
            times: IdMap::default(),
            asked: Vec::new(),
            last: None,
            disagrees: Vec::new(),
            applies: true,
        }
    }

    /// What to ask next.
    pub(super) fn next(&self) -> NextByTime {
        self.next
    }

    /// Takes the answer to [`Self::next`]; `times` holds the records' own times in the order of the keys.
    pub(super) fn take(&mut self, page: &PageFacts<K>, times: &[i64]) {
        match self.next {
            NextByTime::Done => {}
            NextByTime::Second { .. } => self.take_second(!page.keys.is_empty()),
            NextByTime::First { .. } => self.take_first(page, times),
        }
    }

    fn take_first(&mut self, page: &PageFacts<K>, times: &[i64]) {
        let len = page.keys.len();
        self.longest_page = self.longest_page.max(len);
        let total = page.total.filter(|_| self.rules.total_counts);
        if let Some(total) = total {
            self.asked.push((self.from, self.to, total));
        }
        let mut on_page: IdMap<K, usize> = IdMap::default();
        for (key, time) in page.keys.iter().zip(times) {
            *on_page.entry(*key).or_default() += 1;
            self.times.insert(*key, *time);
        }
        for (key, count) in on_page {
            let most = self.counts.entry(key).or_default();
            *most = count.max(*most);
        }
        // A record without a time of its own has no place in a list by time.
        if times.contains(&i64::MIN) {
            return self.not_applicable();
        }
        if !self.is_sorted(times) {
            return self.not_applicable();
        }
        let has_link = page.next.is_some() && self.rules.paging == Paging::Cursor;
        let is_short = len < self.longest_page || (len < self.rules.page_size && self.first_page);
        self.first_page = false;
        self.last = Some((len, total, has_link, times.last().copied()));
        let may_be_end = is_short && !has_link;
        if may_be_end && total.is_none() && len > 0 && self.rules.paging != Paging::Cursor {
            self.probe = Probe::End;
            self.next = NextByTime::Second { from: self.from, to: self.to, skip: len };
            return;
        }
        self.go_on(may_be_end);
    }

    /// Whether a page is sorted by time, in the order of the pages before it.
    fn is_sorted(&mut self, times: &[i64]) -> bool {
        let changes = times.windows(2).find(|pair| pair[0] != pair[1]);
        let shown = changes.map(|pair| pair[0] > pair[1]);
        self.newest_first = self.newest_first.or(shown);
        let in_order =
            |pair: &[i64]| if self.newest_first == Some(true) { pair[0] >= pair[1] } else { pair[0] <= pair[1] };
        times.windows(2).all(in_order)
    }

    fn take_second(&mut self, has_more: bool) {
        match self.probe {
            Probe::End => self.go_on(!has_more),
            Probe::FullSecond if has_more => self.stop(Check::Repeats),
            Probe::FullSecond => self.next = NextByTime::Done,
        }
    }

    fn go_on(&mut self, may_be_end: bool) {
        let Some((len, total, has_link, last)) = self.last else {
            return self.not_applicable();
        };
        let lacks = total.is_some_and(|total| total > len as u64) && len > 0;
        if may_be_end && !lacks {
            self.next = NextByTime::Done;
            return;
        }
        let Some(last) = last else { return self.not_applicable() };
        // Records of one second do not tell where the rest is.
        let Some(newest_first) = self.newest_first else { return self.not_applicable() };
        let second = last.div_euclid(self.rules.step).saturating_mul(self.rules.step);
        let narrowed = if newest_first { second.saturating_add(self.rules.step) } else { second };
        // The page went beyond the range: a vendor that shows other time too is not read to its end.
        let is_beyond = if newest_first { narrowed <= self.from } else { narrowed >= self.to };
        if is_beyond {
            self.next = NextByTime::Done;
            return;
        }
        let is_stuck = if newest_first { narrowed >= self.to } else { narrowed <= self.from };
        if is_stuck && has_link {
            return self.not_applicable();
        }
        if is_stuck {
            let is_full = len >= self.rules.page_size.min(self.longest_page) && len > 1;
            self.probe = Probe::FullSecond;
            self.next =
                if is_full { NextByTime::Second { from: self.from, to: self.to, skip: len } } else { NextByTime::Done };
            return;
        }
        if newest_first {
            self.to = narrowed
        } else {
            self.from = narrowed
        }
        self.next = NextByTime::First { from: self.from, to: self.to };
    }

    fn not_applicable(&mut self) {
        self.applies = false;
        self.stop(Check::End);
    }

    fn stop(&mut self, check: Check) {
        self.disagrees.push(check);
        self.next = NextByTime::Done;
    }

    /// Whether this vendor can be read in this way; else the scan proves nothing.
    pub(super) fn applies(&self) -> bool {
        self.applies
    }

    /// Every check that disagrees. Only a total above what was met does; below it, records may have gone meanwhile.
    pub(super) fn checks(&self) -> Vec<Check> {
        let mut disagrees = self.disagrees.clone();
        let mut met: Vec<(i64, usize)> = self.counts.iter().map(|(key, count)| (self.times[key], *count)).collect();
        met.sort_unstable();
        let mut sums = vec![0];
        sums.extend(met.iter().scan(0, |sum, (_, count)| {
            *sum += *count as u64;
            Some(*sum)
        }));
        let before = |moment: i64| sums[met.partition_point(|(at, _)| *at < moment)];
        let lacks = |(from, to, total): &(i64, i64, u64)| *total > before(*to).saturating_sub(before(*from));
        if self.asked.iter().any(lacks) {
            disagrees.push(Check::Total);
        }
        disagrees
    }

    /// How often each record was met on one page at most.
    pub(super) fn counts(&self) -> &IdMap<K, usize> {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn rules() -> ByTimeRules {
        ByTimeRules { paging: Paging::Offset, page_size: 2, total_counts: true, step: SECOND }
    }

    /// A scan of a vendor with these records that answers with at most two of those that `answers` lets through.
    fn read(rules: ByTimeRules, range: (i64, i64), times: &[i64], answers: impl Fn(i64, (i64, i64)) -> bool) -> u32 {
        let mut scan = ByTimeEvidence::new(rules, range.0, range.1);
        let mut requests = 0;
        loop {
            let (from, to, skip) = match scan.next() {
                NextByTime::Done => return requests,
                NextByTime::First { from, to } => (from, to, 0),
                NextByTime::Second { from, to, skip } => (from, to, skip),
            };
            requests += 1;
            let found = times.iter().copied().filter(|at| answers(*at, (from, to))).skip(skip).take(2);
            let (keys, times) = found.map(|at| (at, at)).unzip::<_, _, Vec<i64>, Vec<i64>>();
            scan.take(&PageFacts { keys, ..PageFacts::default() }, &times);
        }
    }

    #[test]
    fn a_vendor_that_shows_older_time_too_is_not_read_to_its_beginning() {
        let newest_first: Vec<i64> = (0..1_000).map(|n| (1_000 - n) * SECOND).collect();
        let range = (990 * SECOND, 1_001 * SECOND);
        assert!(read(rules(), range, &newest_first, |at, (_, to)| at < to) < 20);
        let oldest_first: Vec<i64> = newest_first.iter().rev().copied().collect();
        let range = (0, 11 * SECOND);
        assert!(read(rules(), range, &oldest_first, |at, (from, _)| at >= from) < 20);
    }

    #[test]
    fn times_at_the_ends_of_the_calendar_are_read() {
        for at in [[i64::MAX, i64::MAX - 1, i64::MAX - 2], [i64::MIN + 1, i64::MIN + 2, i64::MIN + 3]] {
            assert!(read(rules(), (0, SECOND), &at, |_, _| true) < 20);
        }
    }
}
