//! Rows of many sources, read by one statement each: a statement per source would take most of the time of a snapshot of
//! thousands of them.

use std::collections::HashMap;

use crate::journal::SourceId;

/// A value per source, collected from rows that are ordered by source.
#[derive(Debug)]
pub(super) struct BySource<T> {
    rows: Vec<(SourceId, T)>,
    places: HashMap<SourceId, usize>,
}

impl<T> Default for BySource<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), places: HashMap::new() }
    }
}

impl<T: Default> BySource<T> {
    /// The value of the row's source, to be changed.
    pub(super) fn of(&mut self, source: SourceId) -> &mut T {
        if self.rows.last().is_none_or(|(last, _)| *last != source) {
            self.places.insert(source, self.rows.len());
            self.rows.push((source, T::default()));
        }
        let last = self.rows.len() - 1;
        &mut self.rows[last].1
    }

    /// The value of a source.
    pub(super) fn take(&mut self, source: SourceId) -> T {
        let place = self.places.get(&source);
        place.map(|place| std::mem::take(&mut self.rows[*place].1)).unwrap_or_default()
    }
}

/// The condition for the rows of the source ?1, or for all rows if that is NULL.
pub(super) fn of_source(source: Option<SourceId>) -> &'static str {
    if source.is_some() { "source = ?1" } else { "?1 IS NULL" }
}
