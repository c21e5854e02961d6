//! The lines of a batch that are not written yet, one buffer a path.

use std::collections::HashMap;

/// What a buffer takes beside its lines: its path twice and the map's entry.
const OVERHEAD_BYTES: usize = 256;

/// Lines for one path.
#[derive(Debug)]
pub(super) struct Partition {
    /// The path as the template gave it.
    pub(super) path: String,
    /// Whole lines.
    pub(super) lines: Vec<u8>,
}

/// Buffers in the order in which their paths first appeared, which is the same at every attempt.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    all: Vec<Partition>,
    by_path: HashMap<String, usize>,
    current: Option<usize>,
    bytes: usize,
}

impl Partitions {
    /// Appends with `write` to the buffer of `path`. `same` says that it is the path of the call before.
    pub(super) fn append(&mut self, path: &str, same: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let index = match self.current {
            Some(index) if same => index,
            _ => self.select(path),
        };
        let lines = &mut self.all[index].lines;
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
        self.all.push(Partition { path: path.to_owned(), lines: Vec::new() });
        self.bytes += OVERHEAD_BYTES;
        index
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes everything out.
    pub(super) fn take(&mut self) -> Vec<Partition> {
        std::mem::take(self).all
    }
}
