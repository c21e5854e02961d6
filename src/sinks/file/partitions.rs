//! The lines of a batch that are not written yet, one buffer a path.

use std::collections::HashMap;

use crate::time::Timestamp;

/// What a buffer takes beside its lines: its path twice and the map's entry.
const OVERHEAD_BYTES: usize = 256;

/// Memory of buffers that were written out, kept for the next ones: at most so many, of so many bytes each.
const SPARE_BUFFERS: usize = 8;
const SPARE_BYTES: usize = 2 << 20;

/// Lines for one path.
#[derive(Debug)]
pub(super) struct Partition {
    /// The path as the template gave it.
    pub(super) path: String,
    /// Whole lines.
    pub(super) lines: Vec<u8>,
    /// Whose lines they are.
    pub(super) events: Events,
}

/// How many events, and the time that they span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Events {
    pub(super) count: u64,
    pub(super) first_time: Timestamp,
    pub(super) last_time: Timestamp,
}

impl Default for Events {
    /// None: the span is the wrong way round, so that whatever is added becomes the span.
    fn default() -> Self {
        Self { count: 0, first_time: Timestamp::MAX, last_time: Timestamp::from_nanos(i64::MIN) }
    }
}

impl Events {
    fn add(&mut self, time: Timestamp) {
        self.merge(Self { count: 1, first_time: time, last_time: time });
    }

    /// These and those.
    pub(super) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.first_time = self.first_time.min(other.first_time);
        self.last_time = self.last_time.max(other.last_time);
    }
}

/// Buffers in the order in which their paths first appeared, which is the same at every attempt.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    all: Vec<Partition>,
    by_path: HashMap<String, usize>,
    current: Option<usize>,
    bytes: usize,
    spare: Vec<Vec<u8>>,
}

impl Partitions {
    /// Appends an event of `time` with `write` to the buffer of `path`. `same` says that it is the path of the call before.
    pub(super) fn append(&mut self, path: &str, same: bool, time: Timestamp, write: impl FnOnce(&mut Vec<u8>)) {
        let index = match self.current {
            Some(index) if same => index,
            _ => self.select(path),
        };
        let Partition { lines, events, .. } = &mut self.all[index];
        events.add(time);
        let before = lines.len();
        write(lines);
        self.bytes += lines.len() - before;
    }

    fn select(&mut self, path: &str) -> usize {
        let index = self.by_path.get(path).copied().unwrap_or_else(|| self.add(path));
        self.current = Some(index);
        index
    }

    fn add(&mut self, path: &str) -> usize {
        let index = self.all.len();
        self.by_path.insert(path.to_owned(), index);
        let lines = self.spare.pop().unwrap_or_default();
        self.all.push(Partition { path: path.to_owned(), lines, events: Events::default() });
        self.bytes += OVERHEAD_BYTES;
        index
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many paths have lines.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Takes everything out.
    pub(super) fn take(&mut self) -> Vec<Partition> {
        self.clear();
        std::mem::take(&mut self.all)
    }

    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        self.clear();
        self.all.clear();
    }

    fn clear(&mut self) {
        self.by_path.clear();
        self.current = None;
        self.bytes = 0;
    }

    /// Takes the memory of lines that were written: growing a buffer anew copies its lines several times over.
    pub(super) fn reuse(&mut self, mut lines: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS && lines.capacity() <= SPARE_BYTES {
            lines.clear();
            self.spare.push(lines);
        }
    }
}
