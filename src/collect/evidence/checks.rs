//! What the pages of a scan prove together: its checks, and how often each record exists.

use std::hash::{Hash, Hasher};

use super::{Met, ScanEvidence};
use crate::collect::by_id::IdMap;
use crate::collect::facts::Check;
use crate::vendors::Paging;

impl<K: Copy + Eq + Hash> ScanEvidence<K> {
    /// A total that always equals the number of records on its own page is not a total: on two pages with records, or on
    /// one and an empty page that announces none.
    fn total_is_page_count(&self) -> bool {
        let announces_none = self.pages_with_records == 1 && self.totals.last() == Some(&0);
        self.totals_are_page_counts && (self.pages_with_records >= 2 || announces_none)
    }

    /// Whether a total was met that does not count the records of its own page.
    pub(in crate::collect) fn total_is_proven(&self) -> bool {
        !self.totals.is_empty() && !self.totals_are_page_counts
    }

    pub(in crate::collect) fn total_is_usable(&self) -> bool {
        self.rules.total_counts && !self.total_is_page_count()
    }

    /// The announced totals in the order of the answers; empty where they cannot be used.
    pub(in crate::collect) fn totals(&self) -> &[u64] {
        if self.total_is_usable() { &self.totals } else { &[] }
    }

    /// Every check that disagrees, in a fixed order; empty if all agree. Only of a scan that is over.
    pub(in crate::collect) fn checks(&self) -> Vec<Check> {
        let mut disagrees = self.disagrees.clone();
        if self.has_false_repeats() || (self.is_apart() && !self.counts_by_page()) {
            disagrees.push(Check::Repeats);
        }
        if self.total_disagrees() {
            disagrees.push(Check::Total);
        }
        let by_number = match self.rules.paging {
            Paging::PageNumber => true,
            Paging::Offset => !self.is_anchored() && self.records > self.longest_page,
            Paging::Cursor => false,
        };
        if disagrees.is_empty() && by_number && self.totals().is_empty() && self.pages > 1 {
            disagrees.push(Check::Unconfirmed);
        }
        disagrees.sort_unstable();
        disagrees.dedup();
        disagrees
    }

    fn total_disagrees(&self) -> bool {
        let totals = self.totals();
        let Some(last) = totals.last() else { return false };
        !totals.is_sorted() || (self.distinct() + self.shift) as u64 != *last
    }

    /// Whether identical records on two pages are the only doubt that the same order in a second scan would remove.
    pub(in crate::collect) fn is_apart(&self) -> bool {
        !self.rules.has_ids && (self.apart || self.run_fills_page)
    }

    /// Whether records that were met on two pages may be one record that moved.
    fn has_false_repeats(&self) -> bool {
        !self.rules.has_ids && self.moved && self.on_two_pages
    }

    /// Whether only what stood on one page at once counts as several records.
    pub(in crate::collect) fn counts_by_page(&self) -> bool {
        let total_changed = self.totals.windows(2).any(|pair| pair[0] != pair[1]) && !self.total_is_page_count();
        let is_placed = self.is_anchored() && self.pages > 1 && !self.disagrees.contains(&Check::Place);
        self.moved
            || (total_changed && !is_placed)
            || self.disagrees.contains(&Check::PageSize)
            || self.disagrees.contains(&Check::Repeats)
            || (self.rules.paging == Paging::PageNumber && self.shift > 0)
    }

    fn count_of(&self, met: &Met, by_page: bool) -> usize {
        match (self.rules.has_ids, by_page) {
            (true, _) => 1,
            (false, true) => met.on_one_page as usize,
            (false, false) => met.count as usize,
        }
    }

    fn distinct(&self) -> usize {
        let by_page = self.counts_by_page();
        self.met.values().map(|met| self.count_of(met, by_page)).sum()
    }

    /// How often each record exists, as far as the scan proves it.
    pub(in crate::collect) fn counts(&self) -> IdMap<K, usize> {
        let by_page = self.counts_by_page();
        self.met.iter().map(|(key, met)| (*key, self.count_of(met, by_page))).collect()
    }

    /// How often each record stood on one page at most; `None` for records with ids, which are one each.
    pub(in crate::collect) fn counts_on_one_page(&self) -> Option<IdMap<K, usize>> {
        let on_one_page = || self.met.iter().map(|(key, met)| (*key, met.on_one_page as usize)).collect();
        (!self.rules.has_ids).then(on_one_page)
    }

    /// A hash of the order in which records were met.
    pub(in crate::collect) fn order(&self) -> u64 {
        self.order.finish()
    }

    /// Whether the vendor answered another offset with the same page: it rounds offsets to whole pages.
    pub(in crate::collect) fn offsets_are_rounded(&self) -> bool {
        self.rounded
    }

    /// Records by which the list grew at its head during the scan.
    pub(in crate::collect) fn shift(&self) -> usize {
        self.shift
    }
}
