//! Counters and snapshots of a journal: for logs, `status`, `coverage`, `plan` and tests.

use serde::{Deserialize, Serialize};

use super::block::Seq;
use super::collecting::{RequestCounts, SourceState};
use super::coverage::EvidenceRow;
use super::delivering::PendingBatch;
use super::lateness::LatenessCounts;
use crate::time::{TimeRange, Timestamp};

/// The error that a source or sink has at present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// What is wrong, without secrets.
    pub message: String,
    /// What the user must do.
    pub hint: String,
    /// Since when.
    pub since: Timestamp,
}

/// Counters of a source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceStats {
    /// Its name.
    pub name: String,
    /// Its vendor.
    pub vendor: String,
    /// Events collected since the first start.
    pub events: u64,
    /// Bytes of their raw records.
    pub raw_bytes: u64,
    /// Pages read.
    pub pages: u64,
    /// Requests made, failed ones included.
    pub requests: RequestCounts,
    /// The end of the newest covered time.
    pub covered_to: Option<Timestamp>,
    /// Windows that are not complete.
    pub open_windows: u64,
    /// Events of these windows so far; sinks do not see them yet.
    pub staged: u64,
    /// Events with `normalize_error`, among those that the furthest of its sinks has read.
    pub normalize_errors: u64,
    /// Other events whose action is `other`, likewise.
    pub unmapped_actions: u64,
    /// When the last event with `normalize_error` was delivered.
    pub normalize_error_at: Option<Timestamp>,
    /// The present error.
    pub last_error: Option<LastError>,
}

/// Counters of a sink.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SinkStats {
    /// Its name.
    pub name: String,
    /// Whether it is in the pipeline file at present.
    pub active: bool,
    /// Its position.
    pub position: Seq,
    /// Events written since the first start.
    pub delivered: u64,
    /// Events dropped by a filter.
    pub filtered: u64,
    /// Events in the dead letter.
    pub dead_lettered: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Events that an operator let it deliver again; the counters above count them again.
    pub redelivered: u64,
    /// Events that it passed and did not deliver, because their source had left its inputs.
    pub skipped: u64,
    /// When it last delivered an event.
    pub delivered_at: Option<Timestamp>,
    /// What the sink stored with its last batch.
    #[serde(skip)]
    pub state: Option<String>,
    /// The present error.
    pub last_error: Option<LastError>,
}

/// What the journal holds, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JournalStats {
    /// Every source ever started.
    pub sources: Vec<SourceStats>,
    /// Every sink ever started.
    pub sinks: Vec<SinkStats>,
    /// The newest visible event.
    pub head: Seq,
    /// The oldest event still held; `head + 1` if none is.
    pub oldest: Seq,
    /// Size of the events held, in bytes on disk.
    pub bytes: u64,
}

impl JournalStats {
    /// Several journals as one: the sources of all, and each sink once. Its numbers are sums; so are `head` and `oldest`, and
    /// `head - position` stays the number of events that it is behind.
    #[must_use]
    pub fn joined(journals: Vec<Self>) -> Self {
        let mut journals = journals.into_iter();
        let Some(mut joined) = journals.next() else {
            return Self { sources: Vec::new(), sinks: Vec::new(), head: 0, oldest: 0, bytes: 0 };
        };
        for journal in journals {
            // A sink that one of the journals does not know is not behind there.
            let unknown = |sinks: &[SinkStats], name: &str| !sinks.iter().any(|sink| sink.name == name);
            let joined_head = joined.head;
            for sink in joined.sinks.iter_mut().filter(|sink| unknown(&journal.sinks, &sink.name)) {
                sink.position += journal.head;
            }
            for mut sink in journal.sinks {
                match joined.sinks.iter_mut().find(|known| known.name == sink.name) {
                    Some(known) => known.add(sink),
                    None => {
                        sink.position += joined_head;
                        joined.sinks.push(sink);
                    }
                }
            }
            joined.sources.extend(journal.sources);
            joined.head += journal.head;
            joined.oldest += journal.oldest;
            joined.bytes += journal.bytes;
        }
        joined
    }
}

impl JournalSnapshot {
    /// Several journals as one, as [`JournalStats::joined`]; `None` if there are none.
    #[must_use]
    pub fn joined(journals: Vec<Self>) -> Option<Self> {
        let (mut stats, mut held, mut sources) = (Vec::new(), 0, Vec::new());
        let mut pending: Vec<(String, PendingBatch)> = Vec::new();
        if journals.is_empty() {
            return None;
        }
        for journal in journals {
            stats.push(journal.stats);
            held += journal.held;
            sources.extend(journal.sources);
            for (name, batch) in journal.pending {
                match pending.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) => known.add(batch),
                    None => pending.push((name, batch)),
                }
            }
        }
        Some(Self { stats: JournalStats::joined(stats), held, sources, pending })
    }
}

impl SinkStats {
    /// Adds the same sink of another journal. Its last error is the older one, its state that of the later delivery.
    fn add(&mut self, other: Self) {
        self.active |= other.active;
        self.position += other.position;
        self.delivered += other.delivered;
        self.filtered += other.filtered;
        self.dead_lettered += other.dead_lettered;
        self.bytes += other.bytes;
        self.redelivered += other.redelivered;
        self.skipped += other.skipped;
        if other.delivered_at > self.delivered_at {
            (self.delivered_at, self.state) = (other.delivered_at, other.state);
        }
        let is_older = |error: &LastError| self.last_error.as_ref().is_none_or(|own| error.since < own.since);
        if other.last_error.as_ref().is_some_and(is_older) {
            self.last_error = other.last_error;
        }
    }
}

/// What a snapshot contains.
#[derive(Clone, Debug)]
pub struct SnapshotQuery<'a> {
    /// The sources whose coverage is wanted; `None`: all of them.
    pub sources: Option<&'a [String]>,
    /// The sinks of the pipeline file, each with the sources that it reads.
    pub sinks: &'a [(String, Vec<String>)],
    /// The time whose evidence is wanted; `None`: none.
    pub evidence: Option<TimeRange>,
}

/// A journal at one moment, read without opening it for work.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalSnapshot {
    /// The counters.
    pub stats: JournalStats,
    /// Visible events that are held.
    pub held: u64,
    /// The requested sources, in the order of the counters.
    pub sources: Vec<SourceSnapshot>,
    /// What each requested sink that the journal knows has still to deliver.
    pub pending: Vec<(String, PendingBatch)>,
}

/// The events of a source that became visible in an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourlyEvents {
    /// The start of the hour.
    pub hour: Timestamp,
    /// How many.
    pub events: u64,
}

/// A source in a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSnapshot {
    /// Its name.
    pub name: String,
    /// Coverage, time in doubt, and open windows.
    pub state: SourceState,
    /// The lateness of its events, over the last seven days on which any were counted.
    pub lateness: LatenessCounts,
    /// The latest time of an event, at most when it was read.
    pub newest_event_at: Option<Timestamp>,
    /// The hours of the last two days in which events became visible, in order.
    pub hourly: Vec<HourlyEvents>,
    /// The completed windows that touch the time whose evidence is wanted, in order.
    pub evidence: Vec<EvidenceRow>,
}

#[cfg(test)]
impl JournalSnapshot {
    /// A source by its name.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<&SourceSnapshot> {
        self.sources.iter().find(|source| source.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(name: &str, position: Seq, error_since: Option<i64>) -> SinkStats {
        let last_error = error_since.map(|since| LastError {
            message: format!("since {since}"),
            hint: String::new(),
            since: Timestamp::from_secs(since),
        });
        SinkStats {
            name: name.to_owned(),
            active: true,
            position,
            delivered: position,
            filtered: 0,
            dead_lettered: 0,
            bytes: 10 * position,
            skipped: 0,
            redelivered: 0,
            delivered_at: Some(Timestamp::from_secs(position.cast_signed())),
            state: Some(format!("at {position}")),
            last_error,
        }
    }

    #[test]
    fn of_several_journals_a_sink_is_as_far_behind_as_in_all_of_them_together() {
        let journal = |head, sinks| JournalStats { sources: Vec::new(), sinks, head, oldest: 1, bytes: 100 };
        let joined = JournalStats::joined(vec![
            journal(10, vec![sink("all", 7, Some(30))]),
            journal(20, vec![sink("few", 20, None), sink("all", 15, Some(20))]),
            journal(5, Vec::new()),
        ]);
        assert_eq!((joined.head, joined.bytes, joined.sinks.len()), (35, 300, 2));
        let behind =
            |name: &str| joined.head - joined.sinks.iter().find(|sink| sink.name == name).expect(name).position;
        assert_eq!((behind("all"), behind("few")), (3 + 5, 0));
        let all = &joined.sinks[0];
        assert_eq!((all.delivered, all.bytes, all.state.as_deref()), (22, 220, Some("at 15")));
        assert_eq!(all.last_error.as_ref().map(|error| error.message.as_str()), Some("since 20"), "the older error");
        assert_eq!(JournalStats::joined(Vec::new()).head, 0);
    }
}
