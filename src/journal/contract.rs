//! The journal's three traits, one for each kind of caller.

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::admin::{
    Edit, Redeliver, RedeliverPreview, Rewind, RewindPreview, SinkEdit, SinkHistory, SourceEdit, SourceHistory,
};
use super::block::{RecordBlock, SeenKey, Seq, SourceId};
use super::collecting::{
    KnownRecords, NewWindow, PageCommit, RequestCounts, ScanSpec, SourceInfo, SourceRegistration, SourceState, WindowId,
};
use super::coverage::{DueRecheck, EvidenceRow};
use super::delivering::{BatchCommit, PendingBatch, PendingSource, SinkId, SinkStart, SinkState};
use super::error::JournalError;
use super::lateness::LatenessCounts;
use super::rollback::RollbackRecord;
use super::stats::{JournalStats, LastError};
use crate::event::EventId;
use crate::time::{TimeRange, Timestamp};

/// What every call returns.
pub type JournalFuture<'a, T> = BoxFuture<'a, Result<T, JournalError>>;

/// What collecting needs: windows, pages, coverage, dedup keys, and the changes an operator makes to a source.
///
/// All tasks share it; calls may be concurrent.
pub trait CollectJournal: Send + Sync {
    /// Registers a source at its first start, and returns what the journal knows of it.
    fn open_source(&self, source: SourceRegistration) -> JournalFuture<'_, SourceState>;

    /// Adds windows to be scanned: all of them, or none if one (but a recheck) covers time that has a state or that an
    /// open window covers. Ids follow the order given.
    fn add_windows(&self, source: SourceId, windows: Vec<NewWindow>) -> JournalFuture<'_, Vec<WindowId>>;

    /// Begins a scan of an open window: the first one, or another one after it, numbered in order. What the window has
    /// staged and the evidence of earlier scans stay. `requests` counts requests that no page was committed for. A window
    /// that its first page completes needs no scan.
    fn begin_scan(&self, window: WindowId, scan: ScanSpec, requests: RequestCounts) -> JournalFuture<'_, ()>;

    /// Appends one page and its evidence to the window's last scan, or completes the window. The page and its requests
    /// are counted at once, its events when they become visible.
    ///
    /// Completing a recheck changes the state of all completed windows in the time that it covers, and covers nothing
    /// new: what a window of them lacked is now visible.
    fn commit_page(&self, page: PageCommit) -> JournalFuture<'_, ()>;

    /// Deletes what an open window has staged, and all its scans; it starts over. `requests` is the number of requests
    /// made without a page.
    fn restart_window(&self, window: WindowId, requests: RequestCounts) -> JournalFuture<'_, ()>;

    /// Replaces an open window by two that meet, and deletes what it has staged. Both have its kind, and together they
    /// cover exactly what it covers; anything else is a [`JournalError::InvalidState`].
    fn split_window(&self, window: WindowId, parts: [NewWindow; 2]) -> JournalFuture<'_, [WindowId; 2]>;

    /// Deletes all open windows of a source with what they have staged, so that their time is planned anew. All of them: a
    /// window leaves out what another one has staged.
    fn discard_windows(&self, source: SourceId) -> JournalFuture<'_, ()>;

    /// The keys of all records of the source, visible or staged, whose pages have times within `range`. Pages that hold a
    /// record without a time are always included.
    fn keys_within(&self, source: SourceId, range: TimeRange) -> JournalFuture<'_, Vec<SeenKey>>;

    /// The keys of the source with these ids, whatever their times, and the time of which keys are gone.
    fn known_records(&self, source: SourceId, ids: Vec<EventId>) -> JournalFuture<'_, KnownRecords>;

    /// Time that is due to be read again at `now`: first what is in doubt or unreadable, then by time; at most `limit`.
    fn due_rechecks(&self, source: SourceId, now: Timestamp, limit: usize) -> JournalFuture<'_, Vec<DueRecheck>>;

    /// How late the source's events became visible, over the last seven days on which any were counted.
    fn lateness(&self, source: SourceId) -> JournalFuture<'_, LatenessCounts>;

    /// Gives up the state of all time at and after `from`, because a clock was wrong: it becomes a gap again. Events and
    /// dedup keys stay, so that it is read again without duplicates; fails with [`JournalError::InvalidState`] if keys of
    /// that time are gone. Open windows stay: complete them for less time ([`Completion::covers`]).
    ///
    /// [`Completion::covers`]: super::Completion::covers
    fn cut_coverage(&self, source: SourceId, from: Timestamp) -> JournalFuture<'_, ()>;

    /// Stores the last error of a source; `None` clears it. If the journal cannot be written, keeps it beside the journal
    /// where [`LogReader::stats`] and snapshots find it.
    fn set_source_error(&self, source: SourceId, last_error: Option<LastError>) -> JournalFuture<'_, ()>;

    /// Whether the size limit is reached; it stays true until a tenth of the limit is free again. Sources pause while it
    /// is true. Never true while no event is visible: nothing could be trimmed then, and only completing an open window
    /// helps.
    fn full(&self) -> watch::Receiver<bool>;

    /// What an operator needs to know of a source before changing it; `None` if the journal does not know the name.
    fn source_history(&self, name: &str) -> JournalFuture<'_, Option<SourceHistory>>;

    /// What a rewind would do; `None` if the journal does not know the source. Counts events by the keys that the
    /// journal holds: those of [`CollectJournal::blocks_without_keys`] come on top.
    fn preview_rewind(&self, rewind: Rewind) -> JournalFuture<'_, Option<RewindPreview>>;

    /// Visible blocks whose keys were trimmed before their records and that may hold events at or after `from`: at most
    /// `limit`, in order, whose first event comes after `after`. Collecting derives their keys for a rewind.
    fn blocks_without_keys(
        &self,
        source: SourceId,
        from: Timestamp,
        after: Seq,
        limit: usize,
    ) -> JournalFuture<'_, Vec<RecordBlock>>;

    /// The completed windows of a source that touch `range`, with their evidence, in order.
    fn evidence(&self, source: &str, range: TimeRange) -> JournalFuture<'_, Vec<EvidenceRow>>;

    /// An operator accepts doubt: all time of a source within `range` that is in doubt or unreadable is covered from now
    /// on, with the reason `accepted`. Returns the number of windows that it concerned.
    fn accept(&self, source: &str, range: TimeRange) -> JournalFuture<'_, u64>;

    /// Applies an operator's change to a source, in one transaction.
    ///
    /// Fails with [`JournalError::InvalidState`], and changes nothing, if the change does not fit what the journal holds;
    /// a preview shows that beforehand.
    fn edit_source(&self, edit: SourceEdit) -> JournalFuture<'_, ()>;
}

/// Reads the log. Reads never wait for writes.
pub trait LogReader: Send + Sync {
    /// Every source ever registered, with what normalizing needs.
    fn sources(&self) -> JournalFuture<'_, Vec<SourceInfo>>;

    /// The next batch of the given sources after `after`, without its records.
    ///
    /// The batch closes in the middle of a block at `max_events` (0 counts as 1), or at the end of the block whose records
    /// reach `max_bytes`; then `full` is true and `last` is its last event. Otherwise it extends to the head: `last` is the
    /// head, whichever sources the last events belong to, even if `events` is 0. Trimmed events are skipped. Of a block
    /// that is cut, `raw_bytes` counts the share of its events, not their true lengths.
    fn next_batch(
        &self,
        after: Seq,
        sources: Vec<SourceId>,
        max_events: u64,
        max_bytes: u64,
    ) -> JournalFuture<'_, PendingBatch>;

    /// The blocks of the given sources that hold events of `first..=last`, in order, at most `limit` of them. A block may
    /// begin before `first` or end after `last`; the caller cuts. After `limit` blocks, continue behind the last one's
    /// [`RecordBlock::last`]; fewer blocks mean that there are no more.
    fn read(&self, first: Seq, last: Seq, sources: Vec<SourceId>, limit: usize) -> JournalFuture<'_, Vec<RecordBlock>>;

    /// The newest visible event. Changes before the call that caused them returns.
    fn head(&self) -> watch::Receiver<Seq>;

    /// A random string made with the journal that never changes. A copy of the file has the same.
    fn identity(&self) -> JournalFuture<'_, String>;

    /// Counters and sizes of all sources and sinks.
    fn stats(&self) -> JournalFuture<'_, JournalStats>;
}

/// What delivering needs: positions, batch intents, trimming, and the changes an operator makes to a sink.
pub trait DeliverJournal: LogReader {
    /// Registers a sink at its first start, and returns what the journal knows of it. From now on events that it has not
    /// delivered are not trimmed. Events that it missed are reported at every start until its position is past them.
    fn open_sink(&self, name: &str, start: SinkStart) -> JournalFuture<'_, SinkState>;

    /// From now on the sink reads the sources of these names. Returns the others that it has read before and of which events
    /// after `passed`, the last one that it has delivered, are pending: the sink skips them as its position moves over them
    /// ([`SinkStats::skipped`](super::SinkStats::skipped)), unless their source returns before.
    fn set_sink_inputs(&self, sink: SinkId, inputs: Vec<String>, passed: Seq) -> JournalFuture<'_, Vec<PendingSource>>;

    /// Marks every sink that is not in `active` as removed: it no longer keeps events from being trimmed. Returns the
    /// names that were active until now.
    fn retire_sinks(&self, active: Vec<String>) -> JournalFuture<'_, Vec<String>>;

    /// Stores the intent to write a batch between the sink's position and the head. A sink has at most one open intent.
    fn prepare_batch(&self, sink: SinkId, first: Seq, last: Seq, fingerprint: String) -> JournalFuture<'_, ()>;

    /// Adds to the open intent what the batch is about to touch.
    fn add_rollback_records(&self, sink: SinkId, records: Vec<RollbackRecord>) -> JournalFuture<'_, ()>;

    /// The batch is durable: moves the position, adds to the counters, deletes the intent. Without an open intent it only
    /// moves the position (over events of other sources). A position never goes back.
    fn commit_batch(&self, sink: SinkId, batch: BatchCommit) -> JournalFuture<'_, ()>;

    /// Deletes the open intent, if there is one: its batch has been rolled back.
    fn abort_batch(&self, sink: SinkId) -> JournalFuture<'_, ()>;

    /// Stores the last error of a sink; `None` clears it. Kept beside the journal like that of a source.
    fn set_sink_error(&self, sink: SinkId, last_error: Option<LastError>) -> JournalFuture<'_, ()>;

    /// Changes nothing, and returns once all changes that were asked for before are made or have failed: whether the journal
    /// still works through its calls.
    fn pass_through(&self) -> JournalFuture<'_, ()>;

    /// Deletes events that every active sink has passed and that became visible before `visible_before` (now minus
    /// `retention`): oldest first, whole blocks. Deletes none if no sink is active. Returns the number of events deleted.
    ///
    /// Also deletes the keys of visible records of windows whose fetch range ends before `keys_before` (now minus what
    /// the longest recheck looks back), but only in covered time that no recheck is to read again, farther from its ends
    /// than the source's longest overlap plus a day. Keys in the fetch range of an open window stay.
    fn trim(&self, visible_before: Timestamp, keys_before: Timestamp) -> JournalFuture<'_, u64>;

    /// What an operator needs to know of a sink before changing it; `None` if the journal does not know the name.
    fn sink_history(&self, name: &str) -> JournalFuture<'_, Option<SinkHistory>>;

    /// What a redelivery would do; `None` if the journal does not know the sink.
    fn preview_redeliver(&self, redeliver: Redeliver) -> JournalFuture<'_, Option<RedeliverPreview>>;

    /// Applies an operator's change to a sink, in one transaction.
    ///
    /// Fails with [`JournalError::InvalidState`], and changes nothing, if the change does not fit what the journal holds;
    /// a preview shows that beforehand.
    fn edit_sink(&self, edit: SinkEdit) -> JournalFuture<'_, ()>;
}

/// The whole journal, as the runtime holds it.
pub trait Journal: CollectJournal + DeliverJournal {
    /// Applies an operator's change to a source or a sink.
    fn apply(&self, edit: Edit) -> JournalFuture<'_, ()> {
        match edit {
            Edit::Source(edit) => self.edit_source(edit),
            Edit::Sink(edit) => self.edit_sink(edit),
        }
    }
}

impl<J: CollectJournal + DeliverJournal> Journal for J {}
