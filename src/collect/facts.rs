//! What a page shows, what a scan asks next, and which checks may disagree: the words between a scan and its evidence.

use crate::vendors::Paging;

/// What one scan asks next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The page at this offset.
    Offset(usize),
    /// The page with this number, from 1.
    Page(usize),
    /// The page of this cursor; `None` for the first one.
    Cursor(Option<String>),
    /// The first page once more, to see whether the list grew at its head.
    Head,
    /// Nothing: the scan is over.
    Done,
}

/// What an answer shows, in the vendor's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageFacts<K> {
    /// The records' keys. Without ids: content hashes, so equal keys are identical records.
    pub(super) keys: Vec<K>,
    /// The vendor's link or cursor of the next page.
    pub(super) next: Option<String>,
    /// The announced total.
    pub(super) total: Option<u64>,
    /// Whether every record lies outside the asked range by more than its margin.
    pub(super) outside: bool,
    /// Whether the page is shorter than the page size that the vendor says it has applied.
    pub(super) short: bool,
}

impl<K> Default for PageFacts<K> {
    fn default() -> Self {
        Self { keys: Vec::new(), next: None, total: None, outside: false, short: false }
    }
}

/// A check that disagrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Check {
    /// The vendor says that there is more, but the scan could not go on.
    End,
    /// The announced total fell, or is not the number of records met.
    Total,
    /// A page did not begin where the one before it ended.
    Place,
    /// A record came on two pages.
    Repeats,
    /// A page lies outside the asked range as a whole.
    Range,
    /// The vendor changed the size of its pages during the scan.
    PageSize,
    /// Pages by number, no total, more than one page: nothing shows that the list stood. A second scan that adds nothing does.
    Unconfirmed,
}

/// How a scan reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScanRules {
    /// How pages are addressed.
    pub(super) paging: Paging,
    /// Whether each record has an id of its own.
    pub(super) has_ids: bool,
    /// Whether the newest record comes first.
    pub(super) newest_first: bool,
    /// Records asked for per page.
    pub(super) page_size: usize,
    /// Whether a total was met that does not count the records of its own page.
    pub(super) total_is_proven: bool,
    /// Whether the total can be used; it cannot where it was found to be wrong.
    pub(super) total_counts: bool,
    /// Whether offsets are honored to the record; a vendor that rounds them to pages has no anchors.
    pub(super) offsets_are_exact: bool,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Its records count but for the first ones, which were read before.
    Page {
        /// How many that are.
        known: usize,
    },
    /// Its first records appeared at the head of the list during the scan.
    Head {
        /// How many that are.
        new: usize,
    },
    /// It shows the place only; the next request says more.
    Nothing,
}
