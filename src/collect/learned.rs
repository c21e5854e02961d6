//! What a source has learned about its vendor, as the journal keeps it: a process that has just started knows as much as one
//! that runs for weeks, which matters most to runs that end (`--once`).
//!
//! ```text
//!   scans --> PagingTraits --+                                                   +--> the next process
//!   verdicts --> Learned ----+--> stored() --> the transaction of a completed window --> restored()
//! ```

use serde::{Deserialize, Serialize};

use super::scan::PagingTraits;
use super::verdict::Learned;
use crate::event::EventId;

/// More missing records are not kept: they are looked for again.
const MOST_MISSING: usize = 1_000;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    offsets_are_rounded: bool,
    total_is_proven: bool,
    wrong_totals: u32,
    gone: u64,
    /// The ids of records that were missing, and whether they count as gone. In order, so that equal is the same text.
    missing: Vec<(String, bool)>,
}

/// As text, for the journal.
pub(super) fn stored(learned: &Learned<EventId>, traits: PagingTraits) -> String {
    let mut missing: Vec<(String, bool)> = Vec::new();
    if learned.missing().len() <= MOST_MISSING {
        missing.extend(learned.missing().iter().map(|(id, is_gone)| (id.to_string(), *is_gone)));
        missing.sort_unstable();
    }
    let stored = Stored {
        offsets_are_rounded: !traits.offsets_are_exact,
        total_is_proven: traits.total_is_proven,
        wrong_totals: learned.wrong_totals(),
        gone: learned.gone,
        missing,
    };
    serde_json::to_string(&stored).expect("plain fields always become JSON")
}

/// From the journal. Text that cannot be read, or none, has taught nothing.
pub(super) fn restored(text: Option<&str>) -> (Learned<EventId>, PagingTraits) {
    let stored: Stored = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let missing = stored.missing.iter().filter_map(|(id, is_gone)| Some((EventId::from_hex(id)?, *is_gone)));
    let learned = Learned::restored(stored.wrong_totals, stored.gone, missing.collect());
    let traits = PagingTraits {
        offsets_are_exact: !stored.offsets_are_rounded,
        total_is_proven: stored.total_is_proven,
        ..PagingTraits::default()
    };
    (learned, traits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_reads_back() {
        let ids = [EventId([7; 16]), EventId([0xa5; 16])];
        let learned = Learned::restored(3, 40, ids.into_iter().zip([true, false]).collect());
        let traits = PagingTraits { offsets_are_exact: false, total_is_proven: true, total_counts: true };
        let text = stored(&learned, traits);
        let (again, traits_again) = restored(Some(&text));
        assert_eq!((stored(&again, traits_again), traits_again), (text, traits));
        assert!(again.distrusts_total() && again.gone == 40 && again.missing()[&ids[0]]);
    }

    #[test]
    fn nothing_is_known_of_a_new_source_and_of_one_whose_text_is_damaged() {
        for text in [None, Some(""), Some("{\"gone\":")] {
            let (learned, traits) = restored(text);
            assert_eq!((learned.gone, traits), (0, PagingTraits::default()));
        }
    }
}
