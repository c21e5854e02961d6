//! What the pages of one scan prove, and what they do not. Pure: no vendor, no clock, no journal.
//!
//! ```text
//!            +--------- next() ---------+                          checks: end, total, place, repeats, size
//!            v                          |                                        |
//!   ScanEvidence --> Request --> (fetch) --> PageFacts --> take()  -- done -->  checks() --> agree | disagree | not applicable
//! ```
//!
//! A vendor's list can change between two requests of a scan: records appear, go, or change places. Offsets then skip a
//! record or show one twice. So each request by offset begins a few records before the end of the last page (the
//! **anchor**): the page has to begin with records that are known, in order, followed by unknown ones only. Known records
//! beyond the anchor are a **shift**: the list grew at its head. That is healthy if the announced total grew as much, or if
//! the head, read again, shows as many new records.
//!
//! Page numbers and opaque links have no anchor: see [`Check::Unconfirmed`].

mod checks;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::by_id::IdMap;
use super::facts::{Check, Next, PageFacts, ScanRules, Taken};
use crate::vendors::Paging;

/// Records that each request by offset reads again.
const ANCHOR: usize = 2;
/// A scan ends in doubt after so many pages in a row without a record that is new to it.
const PAGES_WITHOUT_NEW: u32 = 3;
/// Empty pages with a new link are progress, up to so many in a row.
const EMPTY_PAGES: u32 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Reading,
    Head,
    Done,
}

/// How often a key was met.
#[derive(Clone, Copy, Debug, Default)]
struct Met {
    /// In the scan, anchors left out.
    count: u32,
    /// On one page, at most.
    on_one_page: u32,
    /// The last page that it was on.
    page: u32,
}

/// The evidence of one scan, page by page. Holds some 30 bytes per record, and one page.
#[derive(Clone, Debug)]
pub(super) struct ScanEvidence<K> {
    rules: ScanRules,
    stage: Stage,
    met: IdMap<K, Met>,
    /// The last records in the order met, anchors left out; at least a page of them.
    tail: Vec<K>,
    /// The first records, by which a repeated head is recognized.
    first: Vec<K>,
    order: DefaultHasher,
    records: usize,
    raw_records: usize,
    pages: u32,
    totals: Vec<u64>,
    totals_are_page_counts: bool,
    pages_with_records: u32,
    last_page: Vec<K>,
    seen_pages: HashSet<u64>,
    used_links: HashSet<String>,
    link: Option<String>,
    /// Where the next page begins, in records.
    position: usize,
    /// What was asked last.
    offset: usize,
    overlap: usize,
    one_page_back: bool,
    longest_page: usize,
    first_page_len: Option<usize>,
    had_short_page: bool,
    pages_without_new: u32,
    empty_pages: u32,
    /// Records by which the list grew at its head.
    shift: usize,
    /// The part of `shift` that no total accounts for.
    unexplained: usize,
    /// A run of identical records as long as a page: nothing shows the place.
    run_fills_page: bool,
    /// Identical records on two pages, not side by side over an anchor.
    apart: bool,
    on_two_pages: bool,
    /// The vendor answered another offset with the same page.
    rounded: bool,
    moved: bool,
    disagrees: Vec<Check>,
}

impl<K: Copy + Eq + Hash> ScanEvidence<K> {
    /// A scan that has not begun.
    pub(super) fn new(rules: ScanRules) -> Self {
        Self {
            rules,
            stage: Stage::Reading,
            met: IdMap::default(),
            tail: Vec::new(),
            first: Vec::new(),
            order: DefaultHasher::new(),
            records: 0,
            raw_records: 0,
            pages: 0,
            totals: Vec::new(),
            totals_are_page_counts: true,
            pages_with_records: 0,
            last_page: Vec::new(),
            seen_pages: HashSet::new(),
            used_links: HashSet::new(),
            link: None,
            position: 0,
            offset: 0,
            overlap: 0,
            one_page_back: false,
            longest_page: 0,
            first_page_len: None,
            had_short_page: false,
            pages_without_new: 0,
            empty_pages: 0,
            shift: 0,
            unexplained: 0,
            run_fills_page: false,
            apart: false,
            on_two_pages: false,
            rounded: false,
            moved: false,
            disagrees: Vec::new(),
        }
    }

    /// What to ask next.
    pub(super) fn next(&mut self) -> Next {
        match self.stage {
            Stage::Done => Next::Done,
            Stage::Head => Next::Head,
            Stage::Reading => match self.rules.paging {
                Paging::PageNumber => Next::Page(self.pages as usize + 1),
                Paging::Cursor => Next::Cursor(self.link.clone()),
                Paging::Offset => {
                    self.overlap = self.anchor_len();
                    self.offset = if self.one_page_back {
                        (self.position + ANCHOR).saturating_sub(self.rules.page_size)
                    } else {
                        self.position - self.overlap
                    };
                    Next::Offset(self.offset)
                }
            },
        }
    }

    /// How many records the next request reads again: two, and back before the last run of identical ones.
    fn anchor_len(&mut self) -> usize {
        if !self.has_anchors() {
            return 0;
        }
        let size = self.rules.page_size;
        let mut back = if size > 3 * ANCHOR { ANCHOR } else { size.saturating_sub(2).max(1) };
        if let Some(last) = self.tail.last().copied().filter(|_| !self.rules.has_ids) {
            let is_last = |back: usize| self.tail[self.tail.len() - back] == last;
            back = back.clamp(1, self.tail.len());
            while back < self.tail.len() && back + 1 < size && is_last(back) {
                back += 1;
            }
            self.run_fills_page |= is_last(back) && self.met[&last].count > 1;
        }
        back.min(self.position)
    }

    fn has_anchors(&self) -> bool {
        self.position > 0 && self.is_anchored()
    }

    /// Whether requests can begin before the end of the last page. A page that holds no more than the anchor brings nothing
    /// new with it: then the next request begins where the last page ended.
    fn is_anchored(&self) -> bool {
        self.rules.paging == Paging::Offset && self.rules.offsets_are_exact && self.longest_page > ANCHOR
    }

    /// Takes the answer to [`Self::next`].
    pub(super) fn take(&mut self, page: &PageFacts<K>) -> Taken {
        if self.stage == Stage::Head {
            return self.take_head(page);
        }
        self.note_total(page);
        let place = if self.has_anchors() { self.place_by_anchor(page) } else { self.place_by_known_head(page) };
        let Some(known) = place else { return Taken::Nothing };
        self.add(page, known);
        if self.is_over(page, page.keys.len() - known) {
            self.end();
        } else {
            self.link.clone_from(&page.next);
        }
        Taken::Page { known }
    }

    fn note_total(&mut self, page: &PageFacts<K>) {
        let Some(total) = page.total else { return };
        self.totals.push(total);
        self.totals_are_page_counts &= total == page.keys.len() as u64;
        self.pages_with_records += u32::from(!page.keys.is_empty());
    }

    /// How many records at the beginning of the page are known; `None` if the page shows no new records.
    fn place_by_anchor(&mut self, page: &PageFacts<K>) -> Option<usize> {
        let keys = &page.keys;
        let same_page = keys.len() > 1
            && *keys == self.last_page
            && keys.len() >= self.longest_page
            && !keys.iter().all(|key| *key == keys[0]);
        if let Some(known) = self.known_in_order(keys).filter(|_| !same_page) {
            if known > self.overlap && !self.one_page_back {
                self.grew(known - self.overlap, page.total, Check::Place);
            }
            if self.one_page_back || known < self.overlap.min(self.records) {
                // The list shrank: records that come later have moved to where this scan has been.
                self.disagree(Check::Place);
            }
            self.one_page_back = false;
            return Some(known);
        }
        if !self.one_page_back && self.offset > 0 && self.rules.page_size > 2 && !same_page {
            self.one_page_back = true;
            return None;
        }
        self.one_page_back = false;
        self.moved = true;
        self.disagree(Check::Place);
        if same_page {
            self.rounded = true;
            self.end();
            return None;
        }
        Some(0)
    }

    fn known_in_order(&self, keys: &[K]) -> Option<usize> {
        let known = if self.rules.has_ids {
            let known = keys.iter().take_while(|key| self.met.contains_key(key)).count();
            let rest_is_new = !keys[known..].iter().any(|key| self.met.contains_key(key));
            (known > 0 && rest_is_new).then_some(known)?
        } else {
            let longest = keys.len().min(self.tail.len());
            (self.overlap.max(1)..=longest).find(|known| self.tail.ends_with(&keys[..*known]))?
        };
        // A page of known records alone that ends elsewhere than the last one is progress only if it is full and new.
        let is_stuck = known == keys.len() && keys.last() != self.tail.last();
        let is_progress = self.rules.has_ids && keys.len() >= self.longest_page && *keys != *self.last_page;
        (!is_stuck || is_progress).then_some(known)
    }

    /// Page numbers: a page that begins with the end of the last one means that the list grew.
    fn place_by_known_head(&mut self, page: &PageFacts<K>) -> Option<usize> {
        if !self.rules.has_ids || self.tail.is_empty() || self.rules.paging == Paging::Cursor {
            return Some(0);
        }
        let known = page.keys.iter().take_while(|key| self.met.contains_key(key)).count();
        if known == 0 || !self.tail.ends_with(&page.keys[..known]) {
            return Some(0);
        }
        self.grew(known, page.total, Check::Repeats);
        Some(known)
    }

    /// The list grew by `shift` records. A total has to show it, if there is one.
    fn grew(&mut self, shift: usize, total: Option<u64>, check: Check) {
        self.shift += shift;
        let former = self.totals.iter().rev().nth(1).copied();
        match (total, former) {
            (Some(total), Some(former)) if self.total_is_usable() => {
                let is_short = total < former.saturating_add(shift as u64);
                self.moved |= is_short && check == Check::Place;
                if is_short {
                    self.disagree(check);
                }
            }
            _ if self.rules.total_counts => self.unexplained += shift,
            _ => {}
        }
        // Without an anchor a record that changed its place looks like growth: only the head shows the difference.
        if self.rules.paging == Paging::PageNumber {
            self.unexplained = self.shift;
        }
    }

    fn add(&mut self, page: &PageFacts<K>, known: usize) {
        let (keys, new) = (&page.keys, &page.keys[known..]);
        if !self.seen_pages.insert(hash_of(keys)) && !keys.is_empty() && known == 0 {
            self.disagree(Check::Repeats);
        }
        let fresh = new.iter().filter(|key| !self.met.contains_key(key)).count();
        if self.rules.has_ids && fresh < new.len() {
            self.disagree(Check::Repeats);
        }
        if page.outside {
            self.disagree(Check::Range);
        }
        // Without ids a known key may be another record, but not where the page is the one before.
        let adds_nothing = if self.rules.has_ids || *keys == self.last_page { fresh == 0 } else { new.is_empty() };
        self.pages_without_new = if adds_nothing { self.pages_without_new + 1 } else { 0 };
        self.empty_pages = if keys.is_empty() { self.empty_pages + 1 } else { 0 };
        self.note_page_len(keys.len());
        self.position = if self.has_anchors() && !self.disagrees.contains(&Check::Place) {
            self.offset + keys.len()
        } else {
            self.position + new.len()
        };
        self.pages += 1;
        if !self.rules.has_ids {
            self.note_place_on_page(if self.moved { keys } else { new });
            new.iter().for_each(|key| key.hash(&mut self.order));
        }
        for key in new {
            self.met.entry(*key).or_default().count += 1;
        }
        self.records += new.len();
        self.raw_records += keys.len();
        self.first.extend(new.iter().take(3 - self.first.len().min(3)));
        self.tail.extend_from_slice(new);
        let spare = self.tail.len().saturating_sub(self.longest_page.max(self.rules.page_size));
        self.tail.drain(..spare);
        self.last_page.clone_from(keys);
    }

    /// Which records stand on one page, and which on several.
    fn note_place_on_page(&mut self, keys: &[K]) {
        let anchored = self.is_anchored();
        let mut previous = self.tail.last().copied();
        let mut on_page: IdMap<K, u32> = IdMap::default();
        for key in keys {
            *on_page.entry(*key).or_default() += 1;
            let former = self.met.get(key).map_or(0, |met| met.page);
            let elsewhere = former != 0 && former != self.pages;
            self.on_two_pages |= elsewhere;
            self.apart |= elsewhere && (previous != Some(*key) || !anchored);
            self.met.entry(*key).or_default().page = self.pages;
            previous = Some(*key);
        }
        for (key, count) in on_page {
            let met = self.met.entry(key).or_default();
            met.on_one_page = met.on_one_page.max(count);
        }
    }

    fn note_page_len(&mut self, len: usize) {
        self.longest_page = self.longest_page.max(len);
        if self.rules.paging != Paging::PageNumber || len == 0 {
            return;
        }
        let first = *self.first_page_len.get_or_insert(len);
        if len > first || (len < first && self.had_short_page) {
            self.disagree(Check::PageSize);
        }
        self.had_short_page |= len < first;
    }

    fn is_over(&mut self, page: &PageFacts<K>, new: usize) -> bool {
        match self.rules.paging {
            Paging::Cursor => self.is_over_by_link(page),
            Paging::Offset | Paging::PageNumber => self.is_over_by_records(page, new),
        }
    }

    fn is_over_by_link(&mut self, page: &PageFacts<K>) -> bool {
        let Some(next) = &page.next else { return true };
        if !self.used_links.insert(next.clone()) {
            self.disagree(Check::Repeats);
            return true;
        }
        // An empty page with a new link is progress.
        let stuck = if page.keys.is_empty() {
            self.empty_pages > EMPTY_PAGES
        } else {
            self.pages_without_new >= PAGES_WITHOUT_NEW
        };
        if stuck {
            self.disagree(Check::End);
        }
        stuck
    }

    fn is_over_by_records(&mut self, page: &PageFacts<K>, new: usize) -> bool {
        let len = page.keys.len();
        let full_page_of_known = self.has_anchors() && len >= self.longest_page && len > 1;
        if new == 0 && !full_page_of_known {
            if page.next.is_some() {
                self.disagree(Check::End);
            }
            return true;
        }
        let reached = if self.rules.paging == Paging::Offset { self.position } else { self.raw_records };
        let is_short = len < self.rules.page_size && (self.pages == 1 || len < self.longest_page);
        let all_announced = page.total.is_some_and(|total| reached as u64 >= total) && self.total_is_usable();
        // The total may be the number of records on the page, and the vendor's pages shorter than asked for.
        let may_count_page =
            self.totals_are_page_counts && self.pages == 1 && !self.rules.total_is_proven && !page.short;
        let all_announced = all_announced && (!may_count_page || len == 0);
        let is_rounded = self.rules.paging == Paging::Offset && !self.rules.offsets_are_exact;
        if is_short && page.next.is_none() && (all_announced || is_rounded) {
            return true;
        }
        let stuck = self.pages_without_new >= PAGES_WITHOUT_NEW;
        if stuck {
            self.disagree(Check::End);
        }
        stuck
    }

    /// Reading is over. A shift is growth only if the head of the list shows it.
    fn end(&mut self) {
        let shift = if self.rules.newest_first { self.shift } else { self.unexplained };
        let in_place = !self.disagrees.contains(&Check::Place) && !self.disagrees.contains(&Check::Repeats);
        self.stage = if shift > 0 && in_place { Stage::Head } else { Stage::Done };
    }

    fn take_head(&mut self, page: &PageFacts<K>) -> Taken {
        self.stage = Stage::Done;
        let keys = &page.keys;
        let is_old = |at: usize| match self.rules.has_ids {
            true => self.met.contains_key(&keys[at]),
            false => keys[at..].starts_with(&self.first),
        };
        let new = (0..keys.len()).take_while(|at| !is_old(*at)).count();
        let whole_page_is_new = new == keys.len() && new >= self.longest_page;
        if !self.rules.newest_first || (new < self.unexplained && !whole_page_is_new) {
            self.moved = true;
            self.disagree(Check::Place);
        }
        Taken::Head { new }
    }

    fn disagree(&mut self, check: Check) {
        if !self.disagrees.contains(&check) {
            self.disagrees.push(check);
        }
    }
}

fn hash_of<K: Hash>(keys: &[K]) -> u64 {
    let mut hasher = DefaultHasher::new();
    keys.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::collect::by_id::IdSet;

    /// A change of the list before one of the requests.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Edit {
        Insert(usize),
        Delete(usize),
        Swap(usize),
    }

    /// Before which request, and what.
    type Edits = Vec<(usize, Edit)>;

    /// A vendor's list that is edited between requests. A row is a record; rows of one key are identical.
    struct List {
        rows: Vec<(usize, usize)>,
        keys: IdMap<usize, usize>,
        always_listed: IdSet<usize>,
        inserted: usize,
        requests: usize,
        has_ids: bool,
        has_total: bool,
    }

    impl List {
        fn new(keys: &[usize], has_ids: bool, has_total: bool) -> Self {
            let rows: Vec<_> = keys.iter().copied().enumerate().collect();
            let keys = rows.iter().copied().collect();
            let always_listed = (0..rows.len()).collect();
            Self { rows, keys, always_listed, inserted: 100, requests: 0, has_ids, has_total }
        }

        fn edit(&mut self, edit: Edit) {
            match edit {
                Edit::Insert(at) if at <= self.rows.len() => {
                    let same_as = self.rows.get(at.min(self.rows.len().saturating_sub(1))).filter(|_| !self.has_ids);
                    let key = same_as.map_or(self.inserted, |(_, key)| *key);
                    self.rows.insert(at, (self.inserted, key));
                    self.keys.insert(self.inserted, key);
                    self.inserted += 1;
                }
                Edit::Delete(at) if at < self.rows.len() => {
                    let (row, _) = self.rows.remove(at);
                    self.always_listed.remove(&row);
                }
                Edit::Swap(at) if at + 1 < self.rows.len() => self.rows.swap(at, at + 1),
                _ => {}
            }
        }

        fn answer(&mut self, edits: &Edits, offset: usize, size: usize) -> PageFacts<usize> {
            for (before, edit) in edits {
                if *before == self.requests {
                    self.edit(*edit);
                }
            }
            self.requests += 1;
            let keys: Vec<usize> = self.rows.iter().skip(offset).take(size).map(|(_, key)| *key).collect();
            let total = self.has_total.then_some(self.rows.len() as u64);
            PageFacts { keys, total, ..PageFacts::default() }
        }

        /// Whether a record that was listed at every request was not met.
        fn lacks(&self, met: &IdMap<usize, usize>) -> bool {
            let listed = counted(self.always_listed.iter().map(|row| self.keys[row]));
            listed.iter().any(|(key, count)| met.get(key).is_none_or(|met| met < count))
        }

        /// Whether a record was met more often than it ever existed.
        fn is_exceeded_by(&self, met: &IdMap<usize, usize>) -> bool {
            let existed = counted(self.keys.values().copied());
            met.iter().any(|(key, count)| existed.get(key).is_none_or(|existed| existed < count))
        }
    }

    fn counted(keys: impl IntoIterator<Item = usize>) -> IdMap<usize, usize> {
        let mut counts = IdMap::default();
        for key in keys {
            *counts.entry(key).or_default() += 1;
        }
        counts
    }

    fn scan(list: &mut List, edits: &Edits, paging: Paging, size: usize) -> ScanEvidence<usize> {
        scan_with(list, edits, paging, (size, size))
    }

    /// Asks for pages of one size and gets pages of another.
    fn scan_with(list: &mut List, edits: &Edits, paging: Paging, (asked, size): (usize, usize)) -> ScanEvidence<usize> {
        let rules = ScanRules {
            paging,
            has_ids: list.has_ids,
            newest_first: true,
            page_size: asked,
            total_is_proven: true,
            total_counts: true,
            offsets_are_exact: true,
        };
        let mut evidence = ScanEvidence::new(rules);
        for _ in 0..60 {
            let offset = match evidence.next() {
                Next::Done => return evidence,
                Next::Offset(offset) => offset,
                Next::Page(number) => (number - 1) * size,
                Next::Cursor(_) | Next::Head => 0,
            };
            let page = list.answer(edits, offset, size);
            evidence.take(&page);
        }
        panic!("the scan does not end: {edits:?}");
    }

    /// Every choice of up to `most` edits, before the second to fourth request, at every place.
    fn all_edits(most: usize, places: usize) -> Vec<Edits> {
        let kinds = |place| [Edit::Insert(place), Edit::Delete(place), Edit::Swap(place)];
        let single: Edits =
            (1..4).flat_map(|before| (0..places).flat_map(kinds).map(move |edit| (before, edit))).collect();
        let mut all = vec![Vec::new()];
        let mut last: Vec<(usize, Edits)> = vec![(0, Vec::new())];
        for _ in 0..most {
            let longer = |(from, edits): &(usize, Edits)| {
                let edits = edits.clone();
                (*from..single.len())
                    .map(|at| (at + 1, [edits.as_slice(), &single[at..=at]].concat()))
                    .collect::<Vec<_>>()
            };
            last = last.iter().flat_map(longer).collect();
            all.extend(last.iter().map(|(_, edits)| edits.clone()));
        }
        all
    }

    fn lists(has_ids: bool, size: usize) -> Vec<Vec<usize>> {
        if has_ids {
            return (size + 1 + usize::from(size > 3)..=2 * size).map(|length| (0..length).collect()).collect();
        }
        vec![
            (0..4).collect(),
            (0..6).collect(),
            vec![0, 1, 1, 2, 3],
            vec![0, 1, 2, 2, 3, 4],
            vec![0, 1, 1, 1, 2, 3],
            vec![0, 1, 2, 3, 3, 4, 5],
            vec![0, 1, 2, 3, 3, 3, 4, 5],
        ]
    }

    /// Edits that leave no trace in any answer: something goes and something comes between the same two requests, and
    /// no total or long anchor shows it. `docs/guarantees.md` names them.
    fn is_traceless(edits: &Edits, paging: Paging, has_total: bool) -> bool {
        let at = |before: usize| edits.iter().filter(move |(other, _)| *other == before).map(|(_, edit)| *edit);
        let has = |before, kind: fn(&Edit) -> bool| at(before).any(|edit| kind(&edit));
        (1..4).any(|before| {
            let deleted = has(before, |edit| matches!(edit, Edit::Delete(_)));
            let inserted = has(before, |edit| matches!(edit, Edit::Insert(_)));
            let swapped = has(before, |edit| matches!(edit, Edit::Swap(_)));
            match paging {
                Paging::Offset => deleted && swapped && (inserted || !has_total),
                _ => deleted && inserted,
            }
        })
    }

    /// Scans every list under all edits: a scan that agrees lacks no record that was listed throughout and counts none
    /// twice. Returns how many scans were made and how many agree.
    fn expect_no_loss(paging: Paging, has_ids: bool, has_total: bool, most_edits: usize, size: usize) -> (u64, u64) {
        let (mut scans, mut agree) = (0, 0);
        let lists = lists(has_ids, size);
        for edits in all_edits(most_edits, 2 * size) {
            for keys in &lists {
                let mut list = List::new(keys, has_ids, has_total);
                let evidence = scan(&mut list, &edits, paging, size);
                scans += 1;
                let head_grew = !edits.is_empty() && edits.iter().all(|(_, edit)| *edit == Edit::Insert(0));
                if head_grew && has_ids && paging == Paging::Offset {
                    assert_eq!(evidence.checks(), [], "a list that grows at its head is healthy: {keys:?} {edits:?}");
                }
                if !evidence.checks().is_empty() {
                    continue;
                }
                agree += 1;
                let met = evidence.counts();
                assert!(
                    !list.is_exceeded_by(&met),
                    "twice: {paging:?} ids {has_ids} total {has_total} {keys:?} {edits:?}"
                );
                if !is_traceless(&edits, paging, has_total) {
                    assert!(!list.lacks(&met), "lost: {paging:?} ids {has_ids} total {has_total} {keys:?} {edits:?}");
                }
            }
        }
        (scans, agree)
    }

    #[test]
    fn a_scan_that_agrees_lacks_nothing_under_any_two_edits() {
        for size in [3, 4] {
            for (has_ids, has_total) in [(true, true), (true, false), (false, true), (false, false)] {
                for paging in [Paging::Offset, Paging::PageNumber] {
                    let (scans, agree) = expect_no_loss(paging, has_ids, has_total, 2, size);
                    eprintln!(
                        "{paging:?}, pages of {size}, ids {has_ids}, total {has_total}: {scans} scans, {agree} agree"
                    );
                }
            }
        }
    }

    /// A vendor that gives one or two records per page, whatever is asked for.
    #[test]
    fn pages_as_short_as_an_anchor_are_read_to_the_end() {
        for (size, has_total) in [(1, true), (1, false), (2, true), (2, false)] {
            let mut list = List::new(&[0, 1, 2, 3, 4], true, has_total);
            let evidence = scan_with(&mut list, &Vec::new(), Paging::Offset, (100, size));
            assert_eq!(evidence.counts().len(), 5, "{size} {has_total}");
            let expected = if has_total { Vec::new() } else { vec![Check::Unconfirmed] };
            assert_eq!(evidence.checks(), expected, "{size} {has_total}");
        }
    }

    /// A vendor whose pages are shorter than asked for, and whose total may count the records of a page.
    #[test]
    fn a_first_page_is_not_the_last_one_by_a_total_that_may_count_it() {
        let rules = ScanRules {
            paging: Paging::Offset,
            has_ids: true,
            newest_first: true,
            page_size: 100,
            total_is_proven: false,
            total_counts: true,
            offsets_are_exact: true,
        };
        let page = PageFacts { keys: (0..25).collect(), total: Some(25), ..PageFacts::default() };
        let next_after = |rules, page| {
            let mut evidence = ScanEvidence::new(rules);
            evidence.take(&page);
            evidence.next()
        };
        assert_eq!(next_after(rules, page.clone()), Next::Offset(23));
        assert_eq!(next_after(rules, PageFacts { short: true, ..page.clone() }), Next::Done);
        assert_eq!(next_after(ScanRules { total_is_proven: true, ..rules }, page), Next::Done);
        let empty = PageFacts { total: Some(0), ..PageFacts::default() };
        assert_eq!(next_after(rules, empty), Next::Done);
    }

    #[test]
    fn a_list_that_grows_under_the_greatest_total_is_read() {
        let rules = ScanRules {
            paging: Paging::Offset,
            has_ids: true,
            newest_first: true,
            page_size: 8,
            total_is_proven: true,
            total_counts: true,
            offsets_are_exact: true,
        };
        let mut evidence = ScanEvidence::new(rules);
        let page = |keys: std::ops::Range<usize>| PageFacts {
            keys: keys.collect(),
            total: Some(u64::MAX),
            ..PageFacts::default()
        };
        let _ = evidence.next();
        evidence.take(&page(0..8));
        let _ = evidence.next();
        evidence.take(&page(4..12));
        assert_eq!((evidence.counts().len(), evidence.shift()), (12, 2));
    }

    #[test]
    fn offsets_with_ids_and_a_total_lack_nothing_under_any_three_edits() {
        for size in [3, 4] {
            let (scans, agree) = expect_no_loss(Paging::Offset, true, true, 3, size);
            eprintln!("pages of {size}: {scans} scans, {agree} agree");
            assert!(agree > scans / 4, "most scans are put in doubt");
        }
    }
}
