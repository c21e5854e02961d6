//! What the journal keeps for the sink: the hash of its last manifest, and with a table that table's state.

use serde::{Deserialize, Serialize};

use crate::sinks::table_state::TableState;

/// The sink's state with a table. Without one it is the hash alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredState {
    /// SHA-256 of the last manifest.
    pub(super) manifest: Option<String>,
    pub(super) table: Option<TableState>,
}

impl StoredState {
    pub(super) fn decode(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|_| Self { manifest: Some(text.to_owned()), table: None })
    }

    /// `None` if there is nothing to keep.
    pub(super) fn encode(self) -> Option<String> {
        if self.table.is_none() {
            return self.manifest;
        }
        Some(serde_json::to_string(&self).expect("plain fields always become JSON"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_comes_back_with_and_without_a_table() {
        let hash = "9b0c".repeat(16);
        let table = TableState { version: 7, checkpoint: None, files: 2, rows: 30 };
        for (manifest, table) in [
            (Some(hash.clone()), None),
            (Some(hash), Some(table.clone())),
            (None, Some(TableState { checkpoint: Some(0), ..table })),
        ] {
            let state = StoredState { manifest, table };
            let text = state.clone().encode().expect("a state");
            assert_eq!(StoredState::decode(&text), state);
        }
        assert_eq!(StoredState::default().encode(), None);
        // Digits alone are JSON too.
        let digits = "1".repeat(64);
        assert_eq!(StoredState::decode(&digits).manifest, Some(digits));
    }
}
