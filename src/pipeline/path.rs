//! The path of a key: `sources.acme.inputs[1]`.

use std::fmt;

/// Where a value stands in the tree, for people to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyPath {
    text: String,
    depth: usize,
}

impl KeyPath {
    /// The path of a key below this one.
    pub(super) fn key(&self, key: &str) -> Self {
        if self.text.is_empty() { self.below(key.to_owned()) } else { self.below(format!("{self}.{key}")) }
    }

    /// The path of an item below this one, counted from 0.
    pub(super) fn index(&self, index: usize) -> Self {
        self.below(format!("{self}[{index}]"))
    }

    /// The path of a part below this one as errors carry it: a key, or an index such as `[3]`.
    pub(super) fn part(&self, part: &str) -> Self {
        if part.starts_with('[') { self.below(format!("{self}{part}")) } else { self.key(part) }
    }

    /// How many parts it has.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    fn below(&self, text: String) -> Self {
        Self { text, depth: self.depth + 1 }
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<&KeyPath> for String {
    fn from(path: &KeyPath) -> Self {
        path.text.clone()
    }
}
