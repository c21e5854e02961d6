//! Windows whose requests fail, while others may succeed. Pure.
//!
//! ```text
//!   a request fails ----> again, as often as it takes         while no other request succeeds: the vendor is down
//!                    `--> other requests succeed: the window is set aside, and newer ones go on
//!                           smaller pages --> two shorter windows, and so on --> one record --> unreadable
//! ```
//!
//! Parts of a window share a number of failed requests; when it is used up, parts that fail are unreadable as they are. A
//! source that rejects all requests for its past so costs a bounded number of them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::journal::WindowId;

/// After this many failures in a row a window is narrowed for the first time, and is unreadable at the last.
const PERSISTENT: u32 = 3;
/// Failed requests that a window and its parts may cost. Enough for three single records among days.
const MOST_FAILURES: u32 = 96;
/// The fewest, after windows of which nothing could be read.
const LEAST_FAILURES: u32 = 6;
/// Causes that are remembered as reported.
const MOST_CAUSES: usize = 100;

/// A window whose requests fail, or that needs smaller pages.
#[derive(Clone, Copy, Debug)]
struct FailingWindow {
    /// The window that this is a part of.
    family: WindowId,
    /// In a row.
    failures: u32,
    /// How many pages the source had read at the first failure.
    pages_before: u64,
    /// Whether another request has succeeded since the first failure.
    is_proven: bool,
    /// Whether it was narrowed, or is a part of one that was.
    is_narrowed: bool,
    retry_at: Option<Instant>,
    page_size: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Family {
    failures: u32,
    windows: u32,
    is_read: bool,
}

/// The failing windows of a source.
#[derive(Debug)]
pub(super) struct FailingWindows {
    windows: HashMap<WindowId, FailingWindow>,
    families: HashMap<WindowId, Family>,
    pages_read: u64,
    most_failures: u32,
    reported: HashSet<String>,
}

impl Default for FailingWindows {
    fn default() -> Self {
        Self {
            windows: HashMap::new(),
            families: HashMap::new(),
            pages_read: 0,
            most_failures: MOST_FAILURES,
            reported: HashSet::new(),
        }
    }
}

impl FailingWindows {
    /// A page of a window was read.
    pub(super) fn page_read(&mut self, id: WindowId) {
        self.pages_read += 1;
        let Some(window) = self.windows.get_mut(&id) else { return };
        window.failures = 0;
        window.retry_at = None;
        if let Some(family) = self.families.get_mut(&window.family) {
            family.is_read = true;
        }
        if !window.is_proven && window.page_size.is_none() {
            self.completed(id);
        }
    }

    /// A request succeeded that belongs to no window.
    pub(super) fn probed(&mut self) {
        self.pages_read += 1;
    }

    /// A request of a window failed. Returns how many did in a row.
    pub(super) fn failed(&mut self, id: WindowId) -> u32 {
        let window = self.entry(id);
        window.failures = window.failures.saturating_add(1);
        let (family, failures) = (window.family, window.failures);
        let family = self.families.entry(family).or_default();
        family.failures = family.failures.saturating_add(1);
        failures
    }

    fn entry(&mut self, id: WindowId) -> &mut FailingWindow {
        let pages_before = self.pages_read;
        let families = &mut self.families;
        self.windows.entry(id).or_insert_with(|| {
            families.entry(id).or_default().windows += 1;
            FailingWindow {
                family: id,
                failures: 0,
                pages_before,
                is_proven: false,
                is_narrowed: false,
                retry_at: None,
                page_size: None,
            }
        })
    }

    /// Whether other requests succeed while those of this window fail. From then on it is set aside: newer windows go on.
    pub(super) fn is_proven(&mut self, id: WindowId) -> bool {
        let pages_read = self.pages_read;
        let Some(window) = self.windows.get_mut(&id) else { return false };
        window.is_proven |= pages_read > window.pages_before;
        window.is_proven
    }

    /// Whether a window that was narrowed before or has failed often enough may be narrowed.
    pub(super) fn is_persistent(&self, id: WindowId) -> bool {
        self.windows.get(&id).is_some_and(|window| window.is_narrowed || window.failures >= PERSISTENT)
    }

    /// Whether a window that cannot be narrowed any more has failed often enough to be given up.
    pub(super) fn is_hopeless(&self, id: WindowId) -> bool {
        self.is_spent(id) || self.windows.get(&id).is_some_and(|window| window.failures >= PERSISTENT)
    }

    /// Whether a window and its parts have cost as many failed requests as they may.
    pub(super) fn is_spent(&self, id: WindowId) -> bool {
        let family = self.windows.get(&id).and_then(|window| self.families.get(&window.family));
        family.is_some_and(|family| family.failures >= self.most_failures)
    }

    /// No request of this window for `wait`; others go on.
    pub(super) fn pause(&mut self, id: WindowId, wait: Duration) {
        self.entry(id).retry_at = Some(Instant::now() + wait);
    }

    /// From now on a window has pages of this size; others keep theirs.
    pub(super) fn set_page_size(&mut self, id: WindowId, page_size: u32) {
        let window = self.entry(id);
        window.page_size = Some(page_size);
        window.is_narrowed |= window.is_proven;
        window.failures = 0;
    }

    /// The page size of a window that needs smaller pages.
    pub(super) fn page_size(&self, id: WindowId) -> Option<u32> {
        self.windows.get(&id)?.page_size
    }

    /// A window is to be read in another way.
    pub(super) fn narrowed(&mut self, id: WindowId) {
        let window = self.entry(id);
        window.is_narrowed = true;
        window.failures = 0;
    }

    /// A window was replaced by parts, which need what it needed.
    pub(super) fn split(&mut self, id: WindowId, parts: &[WindowId]) {
        parts.iter().for_each(|part| self.joins(*part, id));
        self.completed(id);
    }

    /// A window is opened that reads a part of another one.
    pub(super) fn joins(&mut self, part: WindowId, of: WindowId) {
        let Some(window) = self.windows.get(&of).copied() else { return };
        self.windows.insert(part, FailingWindow { failures: 0, is_narrowed: window.is_proven, ..window });
        self.families.entry(window.family).or_default().windows += 1;
    }

    /// A window is complete, or gone.
    pub(super) fn completed(&mut self, id: WindowId) {
        let Some(window) = self.windows.remove(&id) else { return };
        let Some(family) = self.families.get_mut(&window.family) else { return };
        family.windows = family.windows.saturating_sub(1);
        if family.windows > 0 {
            return;
        }
        let spent = family.failures >= self.most_failures;
        let is_read = family.is_read;
        self.families.remove(&window.family);
        if is_read {
            self.most_failures = MOST_FAILURES;
        } else if spent {
            self.most_failures = (self.most_failures / 4).max(LEAST_FAILURES);
        }
    }

    /// Windows that are set aside, each with whether it pauses now.
    pub(super) fn set_aside(&self, now: Instant) -> Vec<(WindowId, bool)> {
        let aside = self.windows.iter().filter(|(_, window)| window.is_proven);
        aside.map(|(id, window)| (*id, window.retry_at.is_some_and(|at| at > now))).collect()
    }

    /// Whether a window is set aside.
    pub(super) fn is_set_aside(&self, id: WindowId) -> bool {
        self.windows.get(&id).is_some_and(|window| window.is_proven)
    }

    /// When the first pause of a window ends.
    pub(super) fn next_retry(&self, now: Instant) -> Option<Instant> {
        self.windows.values().filter_map(|window| window.retry_at).filter(|at| *at > now).min()
    }

    /// Whether a cause is reported for the first time.
    pub(super) fn is_new_cause(&mut self, error: &str) -> bool {
        if self.reported.len() >= MOST_CAUSES {
            self.reported.clear();
        }
        self.reported.insert(error.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_proven_to_fail_by_pages_of_others_only() {
        let (mut failing, id, other) = (FailingWindows::default(), WindowId(1), WindowId(2));
        failing.page_read(other);
        assert_eq!(failing.failed(id), 1);
        assert!(!failing.is_proven(id));
        failing.page_read(other);
        assert!(failing.is_proven(id));
        assert_eq!(failing.set_aside(Instant::now()), [(id, false)]);
        failing.split(id, &[WindowId(3), WindowId(4)]);
        assert!(failing.is_set_aside(WindowId(3)) && failing.is_persistent(WindowId(4)) && !failing.is_set_aside(id));
    }

    #[test]
    fn windows_of_which_nothing_can_be_read_cost_fewer_and_fewer_requests() {
        let mut failing = FailingWindows::default();
        let mut costs = Vec::new();
        for number in 0..4 {
            let id = WindowId(number);
            let cost = (1..).find(|_| {
                failing.failed(id);
                failing.is_spent(id)
            });
            failing.completed(id);
            costs.extend(cost);
        }
        assert_eq!(costs, [96, 24, 6, 6]);
        failing.failed(WindowId(9));
        failing.page_read(WindowId(9));
        failing.failed(WindowId(10));
        assert!(!failing.is_spent(WindowId(10)));
    }
}
