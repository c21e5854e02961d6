//! A page of a scan as the journal stores it, so that an interrupted scan proves as much as one that was not.

use super::facts::{PageFacts, Taken};
use super::fetch::FetchedPage;
use crate::event::EventId;
use crate::time::{TimeRange, Timestamp};
use crate::vendors::{ApiSpec, RecordKey};

/// The time of a record without one, in stored evidence.
pub(super) const NO_TIME: i64 = i64::MIN;

/// A page as evidence: its facts, its records' own times, and copies of records that wait for the verdict.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PageEvidence {
    pub(super) facts: PageFacts<EventId>,
    pub(super) times: Vec<i64>,
    /// Copies of records that wait for the verdict.
    pub(super) held: Vec<String>,
    /// Whether it brought a record that was not known.
    pub(super) found: bool,
    /// Whether it is a piece.
    pub(super) is_piece: bool,
}

/// A page of an interrupted scan, as its evidence shows it.
pub(super) struct ReplayedPage {
    pub(super) taken: Taken,
    pub(super) keys: Vec<EventId>,
    /// Copies of records that wait for the verdict.
    pub(super) held: Vec<String>,
}

impl PageEvidence {
    pub(super) fn of(page: &FetchedPage, keys: &[RecordKey], range: TimeRange, spec: &ApiSpec) -> Self {
        let margin = spec.time_granularity.max(std::time::Duration::from_secs(60));
        let inside = |at: Timestamp| at >= range.from - margin && at < range.to + margin;
        let outside = !keys.is_empty() && keys.iter().all(|key| key.timestamp.is_some_and(|at| !inside(at)));
        let facts = PageFacts {
            keys: keys.iter().map(|key| key.id).collect(),
            next: page.next.clone(),
            total: page.total,
            outside,
            short: page.limit.is_some_and(|limit| (keys.len() as u64) < limit),
        };
        let times = keys.iter().map(|key| key.timestamp.map_or(NO_TIME, Timestamp::as_nanos)).collect();
        Self { facts, times, held: Vec::new(), found: false, is_piece: false }
    }

    /// 24 bytes per record, the total, the link and the held records.
    pub(super) fn encode(&self) -> Vec<u8> {
        let facts = &self.facts;
        let mut bytes = Vec::with_capacity(16 + 24 * facts.keys.len());
        let flags = u8::from(facts.total.is_some())
            | u8::from(facts.next.is_some()) << 1
            | u8::from(facts.outside) << 2
            | u8::from(facts.short) << 3
            | u8::from(self.found) << 4
            | u8::from(self.is_piece) << 5;
        bytes.push(flags);
        bytes.extend(facts.total.unwrap_or(0).to_le_bytes());
        bytes.extend((facts.keys.len() as u64).to_le_bytes());
        for (key, time) in facts.keys.iter().zip(&self.times) {
            bytes.extend_from_slice(&key.0);
            bytes.extend_from_slice(&time.to_le_bytes());
        }
        bytes.extend((self.held.len() as u64).to_le_bytes());
        for raw in &self.held {
            bytes.extend((raw.len() as u64).to_le_bytes());
            bytes.extend_from_slice(raw.as_bytes());
        }
        bytes.extend_from_slice(facts.next.as_deref().unwrap_or_default().as_bytes());
        bytes
    }

    /// `None` if the bytes are not what [`Self::encode`] writes.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (flags, rest) = bytes.split_first()?;
        let (total, rest) = rest.split_first_chunk()?;
        let (count, mut rest) = rest.split_first_chunk()?;
        let mut evidence = Self::default();
        for _ in 0..u64::from_le_bytes(*count) {
            let (key, after_key) = rest.split_first_chunk()?;
            let (time, after_time) = after_key.split_first_chunk()?;
            evidence.facts.keys.push(EventId(*key));
            evidence.times.push(i64::from_le_bytes(*time));
            rest = after_time;
        }
        let (held, mut rest) = rest.split_first_chunk()?;
        for _ in 0..u64::from_le_bytes(*held) {
            let (length, after_length) = rest.split_first_chunk()?;
            let (raw, after_raw) = after_length.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
            evidence.held.push(std::str::from_utf8(raw).ok()?.to_owned());
            rest = after_raw;
        }
        let link = std::str::from_utf8(rest).ok()?;
        evidence.facts.total = (flags & 1 != 0).then(|| u64::from_le_bytes(*total));
        evidence.facts.next = (flags & 2 != 0).then(|| link.to_owned());
        evidence.facts.outside = flags & 4 != 0;
        evidence.facts.short = flags & 8 != 0;
        evidence.found = flags & 16 != 0;
        evidence.is_piece = flags & 32 != 0;
        Some(evidence)
    }
}

/// The stored evidence of a page with so many records, for tests of reports.
#[cfg(test)]
pub(crate) fn stored_page(records: u8, total: u64) -> Vec<u8> {
    let keys = (0..records).map(|number| EventId([number; 16])).collect();
    let facts = PageFacts { keys, total: Some(total), ..PageFacts::default() };
    let times = facts.keys.iter().map(|_| NO_TIME).collect();
    PageEvidence { facts, times, held: Vec::new(), found: false, is_piece: false }.encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_evidence_reads_back() {
        let facts = PageFacts {
            keys: vec![EventId([1; 16]), EventId([2; 16])],
            next: Some("cursor ä".to_owned()),
            total: Some(7),
            outside: true,
            short: true,
        };
        for facts in [facts, PageFacts::default(), PageFacts { total: Some(0), ..PageFacts::default() }] {
            let times = facts.keys.iter().map(|_| NO_TIME).collect();
            let held = facts.next.iter().map(|_| "a record ä".to_owned()).collect();
            let page = PageEvidence { facts, times, held, found: true, is_piece: true };
            assert_eq!(PageEvidence::decode(&page.encode()), Some(page));
        }
        assert_eq!(PageEvidence::decode(&[0; 9]), None);
    }
}
