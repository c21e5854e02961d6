//! The verdict over a window: covered, scan again, or in doubt. Pure.
//!
//! ```text
//!   scan 1 --agrees-------------------------------------------------------------> covered
//!     | disagrees
//!     v            how: by time, other page size, by time; pauses grow
//!   scan 2..4 --agrees, or the union of scans with one unmoved total is complete--> covered
//!     | disagrees, or lacks what an earlier scan met
//!     v
//!   in doubt, with the reasons; what came is delivered; looked at again later
//! ```
//!
//! | Check | Disagrees when |
//! |---|---|
//! | end, total, place, repeats, range, page size | see [`ScanEvidence`](super::evidence::ScanEvidence) |
//! | overlap | a known record well inside the asked range was not met |
//! | unconfirmed | pages by number without a total: the next scan has to add nothing |
//! | found | a recheck of covered time met a new record |

use std::collections::BTreeSet;
use std::hash::Hash;

use super::by_id::{IdMap, IdSet};
use super::facts::Check;
use super::options::IgnoredChecks;

/// Scans of a window at most, before it is in doubt.
const MOST_SCANS: u32 = 4;
/// So many windows in a row whose total alone was wrong make the total one that is not rescanned for.
const WRONG_TOTALS: u32 = 3;

/// Why time is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Reason {
    /// A check of the scan.
    Check(Check),
    /// Known records were not met.
    Overlap,
    /// A recheck found records that were not known.
    Found,
}

impl Reason {
    /// The name in the journal, in reports and in log fields.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Check(Check::End) => "end",
            Self::Check(Check::Total) => "total",
            Self::Check(Check::Place) => "place",
            Self::Check(Check::Repeats) => "repeats",
            Self::Check(Check::Range) => "range",
            Self::Check(Check::PageSize) => "page_size",
            Self::Check(Check::Unconfirmed) => "unconfirmed",
            Self::Overlap => "overlap",
            Self::Found => "found",
        }
    }
}

/// One finished scan.
#[derive(Clone, Debug)]
pub(super) struct ScanResult<K> {
    /// Checks that disagree.
    pub(super) checks: Vec<Check>,
    /// How often each record exists, as far as the scan proves it.
    pub(super) counts: IdMap<K, usize>,
    /// How often each record stood on one page at most; `None` if that is `counts`.
    pub(super) on_one_page: Option<IdMap<K, usize>>,
    /// The ids of all of `counts`: of n identical records, n ids. `None` if there are no identical records.
    pub(super) ids: Option<IdSet<K>>,
    /// The announced totals; empty where they cannot be used.
    pub(super) totals: Vec<u64>,
    /// A hash of the order in which records were met.
    pub(super) order: u64,
    /// Whether the only doubt is that identical records stand on two pages, so that the same order seen again proves it.
    pub(super) apart: bool,
}

impl<K: Copy + Eq + Hash> ScanResult<K> {
    /// How often each record stood on one page at most.
    fn proved(&self) -> &IdMap<K, usize> {
        self.on_one_page.as_ref().unwrap_or(&self.counts)
    }

    /// Whether a record with this id was met.
    fn has_id(&self, key: &K) -> bool {
        self.ids.as_ref().map_or_else(|| self.counts.contains_key(key), |ids| ids.contains(key))
    }

    fn all_ids(&self) -> IdSet<K> {
        self.ids.clone().unwrap_or_else(|| self.counts.keys().copied().collect())
    }
}

/// What is known of a window before a verdict.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected<K> {
    /// The ids of known records that a scan has to meet: well inside the asked range and inside retention.
    pub(super) known: IdSet<K>,
    /// Records that the vendor may have stopped keeping since they were met.
    pub(super) expired: IdSet<K>,
    /// Whether a poll after this one reads the window's time again.
    pub(super) is_read_again: bool,
    /// Whether this is a second look at covered time.
    pub(super) is_recheck: bool,
    /// How often the window's time was in doubt before.
    pub(super) doubts: u32,
    /// Checks that the source's settings leave out.
    pub(super) ignored: IgnoredChecks,
    /// Whether a scan by time may apply: a filter finer than a day, and a known order.
    pub(super) by_time: bool,
}

/// What follows a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict<K> {
    /// Every check agrees. `gone` are known records that the vendor no longer lists.
    Covered { gone: Vec<K> },
    /// Another scan, after a pause.
    Rescan { by_time: bool, smaller_by: u32, pause_secs: u64 },
    /// The checks disagree after every scan.
    InDoubt { reasons: Vec<Reason> },
}

/// What a source has learned about its vendor, from window to window.
#[derive(Clone, Debug)]
pub(super) struct Learned<K> {
    wrong_totals: u32,
    /// Records that were missing, and whether they count as gone.
    missing: IdMap<K, bool>,
    /// Records that have gone, over all windows.
    pub(super) gone: u64,
}

impl<K> Default for Learned<K> {
    fn default() -> Self {
        Self { wrong_totals: 0, missing: IdMap::default(), gone: 0 }
    }
}

impl<K> Learned<K> {
    /// From an earlier process.
    pub(super) fn restored(wrong_totals: u32, gone: u64, missing: IdMap<K, bool>) -> Self {
        Self { wrong_totals, missing, gone }
    }

    /// In how many windows in a row the total alone disagreed.
    pub(super) fn wrong_totals(&self) -> u32 {
        self.wrong_totals
    }

    /// Records that were missing, and whether they count as gone.
    pub(super) fn missing(&self) -> &IdMap<K, bool> {
        &self.missing
    }

    /// Whether the total was wrong so often that one scan per window has to do.
    pub(super) fn distrusts_total(&self) -> bool {
        self.wrong_totals >= WRONG_TOTALS
    }
}

/// The scans of one window so far.
#[derive(Clone, Debug)]
pub(super) struct WindowVerdict<K> {
    scans: u32,
    union: IdMap<K, usize>,
    /// The total that every scan of the present run announced, and the union of these scans.
    run_total: Option<u64>,
    run: IdMap<K, usize>,
    run_ids: IdSet<K>,
    confirmed: Option<IdSet<K>>,
    last_order: Option<u64>,
    last_reasons: BTreeSet<Reason>,
    /// What a scan lacked that agreed in all else, while no later scan has met one of these or a further record.
    lacked: Option<IdSet<K>>,
}

impl<K> Default for WindowVerdict<K> {
    fn default() -> Self {
        Self {
            scans: 0,
            union: IdMap::default(),
            run_total: None,
            run: IdMap::default(),
            run_ids: IdSet::default(),
            confirmed: None,
            last_order: None,
            last_reasons: BTreeSet::new(),
            lacked: None,
        }
    }
}

impl<K: Copy + Eq + Hash> WindowVerdict<K> {
    /// After a restart: takes an earlier scan of the window, which disagreed.
    pub(super) fn resume(&mut self, mut scan: ScanResult<K>) {
        self.scans += 1;
        self.confirm_order(&mut scan);
        self.note_union(&scan);
        self.note_run(&scan);
    }

    /// Every record met by a scan of this window, with how many there are: what is delivered.
    pub(super) fn union(&self) -> &IdMap<K, usize> {
        &self.union
    }

    /// Judges a finished scan.
    pub(super) fn judge(
        &mut self,
        mut scan: ScanResult<K>,
        expected: &Expected<K>,
        learned: &mut Learned<K>,
    ) -> Verdict<K> {
        self.scans += 1;
        self.confirm_order(&mut scan);
        scan.checks.retain(|check| !expected.ignored.contains(Reason::Check(*check).as_str()));
        let unconfirmed = scan.checks.contains(&Check::Unconfirmed);
        let mut reasons: BTreeSet<Reason> = scan
            .checks
            .iter()
            .filter(|check| **check != Check::Unconfirmed)
            .map(|check| Reason::Check(*check))
            .collect();
        let met_before = self.union.len();
        self.note_union(&scan);
        let missing = self.missing(&scan, expected);
        let unexplained = missing.iter().any(|key| learned.missing.get(key) != Some(&true));
        if unexplained && !expected.ignored.contains(Reason::Overlap.as_str()) {
            reasons.insert(Reason::Overlap);
        }
        self.last_reasons.clone_from(&reasons);
        if reasons.is_empty() {
            if unconfirmed && (!expected.is_read_again) && !self.adds_nothing() {
                self.note_run(&scan);
                return self
                    .rescan(expected, learned)
                    .unwrap_or(Verdict::InDoubt { reasons: vec![Reason::Check(Check::Unconfirmed)] });
            }
            return self.covered(&scan, learned);
        }
        self.note_run(&scan);
        self.confirmed = Some(self.union.keys().copied().collect());
        let meets = |key: &K| scan.has_id(key) || scan.counts.contains_key(key);
        if reasons.iter().eq([&Reason::Overlap]) {
            self.lacked = Some(missing.iter().copied().collect());
        } else if self.union.len() > met_before || self.lacked.iter().flatten().any(meets) {
            self.lacked = None;
        }
        if self.run_is_complete(expected) && !reasons.contains(&Reason::Check(Check::Range)) {
            return self.covered(&scan, learned);
        }
        match self.rescan(expected, learned) {
            Some(rescan) => rescan,
            None => self.in_doubt(reasons, &missing, expected, learned),
        }
    }

    /// Identical records on two pages are proved by the same order in a second scan with other page borders.
    fn confirm_order(&mut self, scan: &mut ScanResult<K>) {
        if !scan.apart {
            return;
        }
        if self.last_order == Some(scan.order) {
            scan.checks.retain(|check| *check != Check::Repeats);
            return;
        }
        self.last_order = Some(scan.order);
        if let Some(on_one_page) = &scan.on_one_page {
            scan.counts.clone_from(on_one_page);
        }
    }

    fn note_union(&mut self, scan: &ScanResult<K>) {
        if self.union.is_empty() {
            self.union.clone_from(&scan.counts);
            return;
        }
        for (key, count) in &scan.counts {
            let most = self.union.entry(*key).or_default();
            *most = (*count).max(*most);
        }
    }

    /// Known records that this scan has not met, and records of earlier scans of this window.
    fn missing(&self, scan: &ScanResult<K>, expected: &Expected<K>) -> Vec<K> {
        let known = expected.known.iter().filter(|key| !scan.has_id(key)).copied();
        let earlier = (self.scans > 1).then_some(&self.union);
        let of_earlier = earlier.into_iter().flat_map(IdMap::keys);
        let of_earlier = of_earlier.filter(|key| !scan.counts.contains_key(key) && !expected.known.contains(key));
        let of_earlier = of_earlier.filter(|key| !expected.expired.contains(key));
        known.chain(of_earlier.copied()).collect()
    }

    fn note_run(&mut self, scan: &ScanResult<K>) {
        let Some(first) = scan.totals.first() else { return };
        let stood = scan.totals.iter().all(|total| total == first);
        let proved = scan.proved();
        if stood && self.run_total == Some(*first) {
            for (key, count) in proved {
                let most = self.run.entry(*key).or_default();
                *most = (*count).max(*most);
            }
            self.run_ids.extend(scan.all_ids());
            return;
        }
        self.run_total = stood.then_some(*first);
        self.run.clone_from(proved);
        self.run_ids = scan.all_ids();
    }

    /// Whether the union of scans in a row with one unmoved total has that size and lacks nothing known.
    fn run_is_complete(&self, expected: &Expected<K>) -> bool {
        self.scans > 1
            && self.run_total.is_some_and(|total| self.run.values().sum::<usize>() as u64 == total)
            && expected.known.is_subset(&self.run_ids)
    }

    fn adds_nothing(&mut self) -> bool {
        let now: IdSet<K> = self.union.keys().copied().collect();
        let same = self.confirmed.as_ref() == Some(&now);
        self.confirmed = Some(now);
        same
    }

    fn rescan(&self, expected: &Expected<K>, learned: &Learned<K>) -> Option<Verdict<K>> {
        let only_total = self.last_reasons.iter().eq([&Reason::Check(Check::Total)]);
        if self.scans >= MOST_SCANS || (only_total && learned.distrusts_total()) {
            return None;
        }
        let only_overlap = self.last_reasons.iter().eq([&Reason::Overlap]);
        let by_time = expected.by_time && self.scans % 2 == 1 && !only_overlap;
        let pause_secs = [5, 20, 60][(self.scans as usize - 1).min(2)];
        // By time, the records of one second have to fit into a page.
        let smaller_by = if by_time { self.scans / 2 } else { self.scans + u32::from(expected.is_recheck) };
        Some(Verdict::Rescan { by_time, smaller_by, pause_secs })
    }

    fn covered(&self, scan: &ScanResult<K>, learned: &mut Learned<K>) -> Verdict<K> {
        if !scan.totals.is_empty() && !scan.checks.contains(&Check::Total) {
            learned.wrong_totals = 0;
        }
        learned.missing.retain(|key, _| !self.union.contains_key(key));
        Verdict::Covered { gone: Vec::new() }
    }

    /// Known records that are missing while all else agrees have gone: a tenth of them at once, half if a later look agrees.
    fn in_doubt(
        &self,
        reasons: BTreeSet<Reason>,
        missing: &[K],
        expected: &Expected<K>,
        learned: &mut Learned<K>,
    ) -> Verdict<K> {
        if reasons.iter().eq([&Reason::Check(Check::Total)]) {
            learned.wrong_totals += 1;
        }
        if self.lacked.is_none() {
            return Verdict::InDoubt { reasons: reasons.into_iter().collect() };
        }
        let known = expected.known.len();
        let is_last = expected.doubts >= 4;
        let seen_before = expected.doubts > 0 && missing.iter().all(|key| learned.missing.contains_key(key));
        let few = missing.len() <= (known / 10).max(1);
        let half = missing.len() * 2 <= known;
        if few || (half && seen_before) || is_last {
            learned.gone += missing.len() as u64;
            learned.missing.extend(missing.iter().map(|key| (*key, true)));
            return Verdict::Covered { gone: missing.to_vec() };
        }
        for key in missing {
            learned.missing.entry(*key).or_insert(false);
        }
        Verdict::InDoubt { reasons: vec![Reason::Overlap] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(met: std::ops::Range<u32>, checks: &[Check]) -> ScanResult<u32> {
        let counts: IdMap<u32, usize> = met.map(|key| (key, 1)).collect();
        let checks = checks.to_vec();
        ScanResult { checks, counts, on_one_page: None, ids: None, totals: Vec::new(), order: 0, apart: false }
    }

    /// The verdict over scans of a window in which the first twenty records are known.
    fn verdict_of(scans: &[ScanResult<u32>]) -> Verdict<u32> {
        let expected = Expected { known: (0..20).collect(), ..Expected::default() };
        let (mut window, mut learned) = (WindowVerdict::default(), Learned::default());
        let mut verdicts = scans.iter().map(|scan| window.judge(scan.clone(), &expected, &mut learned));
        verdicts.by_ref().take(scans.len() - 1).for_each(|verdict| {
            assert!(matches!(verdict, Verdict::Rescan { .. }), "{verdict:?}");
        });
        verdicts.next().expect("a last scan")
    }

    #[test]
    fn a_known_record_that_no_scan_meets_has_gone() {
        let lacks_one = scan(1..20, &[]);
        let gone = Verdict::Covered { gone: vec![0] };
        assert_eq!(verdict_of(&[lacks_one.clone(), lacks_one.clone(), lacks_one.clone(), lacks_one.clone()]), gone);
        let repeats = scan(1..20, &[Check::Repeats]);
        assert_eq!(verdict_of(&[repeats.clone(), lacks_one, repeats.clone(), repeats]), gone);
    }

    #[test]
    fn a_scan_that_lacked_what_a_later_one_met_proves_nothing() {
        let (lacks_one, short) = (scan(1..20, &[]), scan(0..20, &[Check::Total]));
        let doubt = Verdict::InDoubt { reasons: vec![Reason::Check(Check::Total)] };
        assert_eq!(verdict_of(&[lacks_one.clone(), short.clone(), short.clone(), short]), doubt);
        let longer = scan(1..30, &[Check::Total]);
        let doubt = Verdict::InDoubt { reasons: vec![Reason::Check(Check::Total), Reason::Overlap] };
        assert_eq!(verdict_of(&[lacks_one, longer.clone(), longer.clone(), longer]), doubt);
    }
}
