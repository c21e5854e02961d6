//! A scan in pieces: what can be read of a window where a page fails again and again.
//!
//! ```text
//!   offset 0       16      32   36   38 39    40            48
//!   |-- 16 --|-- 16 fails --|
//!            |- 8 -|- 8 fails -|
//!                  |- 4 -| 2 | 1 | x |  stepped over, then larger pieces again
//! ```
//!
//! Pieces are powers of two and begin at a multiple of their size, so that offsets and page numbers name the same ones. Such
//! a scan proves nothing: its window ends unreadable, and what came is delivered.

use std::hash::Hash;

use super::by_id::IdMap;
use crate::vendors::Paging;

/// The largest piece.
const LARGEST: u64 = 64;
/// After so many records in a row that cannot be read, the rest counts as unreadable too.
const MOST_HOLES: u32 = 8;

/// Where a scan in pieces is.
#[derive(Clone, Debug)]
pub(super) struct ByPieceEvidence<K> {
    paging: Paging,
    largest: u64,
    size: u64,
    offset: u64,
    holes_in_a_row: u32,
    is_over: bool,
    counts: IdMap<K, usize>,
}

impl<K: Copy + Eq + Hash> ByPieceEvidence<K> {
    /// A scan that has not begun, for vendors whose pages can be addressed by number.
    pub(super) fn new(paging: Paging, page_size: u32) -> Self {
        let largest = previous_power_of_two(u64::from(page_size).clamp(1, LARGEST));
        let counts = IdMap::default();
        Self { paging, largest, size: largest, offset: 0, holes_in_a_row: 0, is_over: false, counts }
    }

    /// The cursor and the size of the next piece; `None` if the scan is over.
    pub(super) fn next(&self) -> Option<(Option<String>, u32)> {
        let cursor = match self.paging {
            Paging::PageNumber => self.offset / self.size + 1,
            Paging::Offset | Paging::Cursor => self.offset,
        };
        let cursor = (self.offset > 0).then(|| cursor.to_string());
        (!self.is_over).then(|| (cursor, u32::try_from(self.size).unwrap_or(u32::MAX)))
    }

    /// A piece was read.
    pub(super) fn take(&mut self, keys: &[K], total: Option<u64>) {
        for key in keys {
            *self.counts.entry(*key).or_default() += 1;
        }
        self.holes_in_a_row = 0;
        self.offset += self.size;
        self.is_over = keys.is_empty() || total.is_some_and(|total| self.offset >= total && total > keys.len() as u64);
        if self.size < self.largest && self.offset.is_multiple_of(self.size * 2) {
            self.size *= 2;
        }
    }

    /// A piece cannot be read: smaller ones, or the next record. Returns whether a record was stepped over.
    pub(super) fn narrow(&mut self) -> bool {
        if self.size > 1 {
            self.size /= 2;
            return false;
        }
        self.offset += 1;
        self.holes_in_a_row += 1;
        self.is_over = self.holes_in_a_row >= MOST_HOLES;
        true
    }

    /// How often each record was met.
    pub(super) fn counts(&self) -> &IdMap<K, usize> {
        &self.counts
    }
}

fn previous_power_of_two(number: u64) -> u64 {
    1 << number.ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of `len` records of which these cannot be.
    fn read(paging: Paging, len: u64, bad: &[u64], total: Option<u64>) -> Vec<u64> {
        let mut scan = ByPieceEvidence::new(paging, 20);
        while let Some((cursor, size)) = scan.next() {
            let size = u64::from(size);
            let number: u64 = cursor.map_or(0, |cursor| cursor.parse().expect("a number"));
            let from = if paging == Paging::PageNumber { number.saturating_sub(1) * size } else { number };
            let piece: Vec<u64> = (from..(from + size).min(len)).collect();
            if piece.iter().any(|record| bad.contains(record)) {
                scan.narrow();
            } else {
                scan.take(&piece, total);
            }
        }
        let mut met: Vec<u64> = scan.counts().keys().copied().collect();
        met.sort_unstable();
        met
    }

    #[test]
    fn all_but_the_records_that_fail_are_read() {
        for paging in [Paging::Offset, Paging::PageNumber] {
            for total in [None, Some(53)] {
                for bad in [vec![0], vec![17], vec![15, 16, 40], vec![52], (20..26).collect()] {
                    let sound: Vec<u64> = (0..53).filter(|record| !bad.contains(record)).collect();
                    assert_eq!(read(paging, 53, &bad, total), sound, "{paging:?} {bad:?}");
                }
            }
        }
        let all: Vec<u64> = (0..10_000).collect();
        assert_eq!(read(Paging::Offset, 53, &all, None), Vec::<u64>::new(), "it ends");
    }
}
