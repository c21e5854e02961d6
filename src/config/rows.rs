//! The rows of a list from which sources are made.

use super::node::TextSpan;

/// A list of rows.
#[derive(Debug, Default)]
pub(crate) struct RowList {
    /// The names of the columns.
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    /// Where it begins.
    pub(crate) span: TextSpan,
    /// Its values, by column; `None` if a map does not have the key.
    pub(crate) cells: Vec<Option<Cell>>,
}

/// One value.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) span: TextSpan,
}
