//! The journal against a model made of plain lists, under random crash points.
//!
//! A crash copies the file and its write-ahead log, the log truncated at a random byte of what the last call appended:
//! what a kill or a power loss in the middle of that call leaves. The copy must contain every call that returned before,
//! and the last call as a whole or not at all.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::runtime::Builder;

use super::tests::options;
use super::*;
use crate::journal::conformance::{at, key_of, live, page, range, registration, scan, visible};
use crate::journal::{
    AfterPage, BatchIntent, Completion, CoverageState, DoubtfulTime, LatenessCounts, PageCommit, RequestCounts,
    ScanProgress, WindowKind,
};
use crate::time::TimeRange;

const SOURCES: [&str; 2] = ["a", "b"];
const SINKS: [&str; 2] = ["x", "y"];

#[derive(Clone, Debug)]
enum Op {
    AddWindow { source: usize, length: i64 },
    AddRecheck { source: usize, from: i64, length: i64 },
    Page { pick: usize, times: Vec<i64>, last: Option<Verdict> },
    Scan { pick: usize },
    Unreadable { pick: usize },
    Accept { source: usize, from: i64, length: i64 },
    Cut { source: usize, from: i64 },
    Restart { pick: usize },
    Split { pick: usize },
    Prepare { sink: usize, events: u64 },
    Commit { sink: usize, events: u64 },
    Trim { before: i64 },
}

/// How a window is completed: with a state, and for how many of its last seconds not.
#[derive(Clone, Copy, Debug)]
struct Verdict {
    state: CoverageState,
    cut_off: i64,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    Reopen,
    /// A crash with this share of the last call's bytes in the log, in 1/255.
    Crash(u8),
}

fn any_op() -> impl Strategy<Value = Op> {
    let times = prop::collection::vec(0..50_i64, 0..4);
    let state = prop::sample::select(CoverageState::ALL.to_vec());
    let verdict = (state, prop_oneof![3 => Just(0), 1 => 0..60_i64]);
    let last = prop::option::of(verdict.prop_map(|(state, cut_off)| Verdict { state, cut_off }));
    prop_oneof![
        2 => (0..2_usize, 1..50_i64).prop_map(|(source, length)| Op::AddWindow { source, length }),
        2 => (0..2_usize, 0..100_i64, 1..50_i64).prop_map(|(source, from, length)| Op::AddRecheck { source, from, length }),
        8 => (any::<usize>(), times, last).prop_map(|(pick, times, last)| Op::Page { pick, times, last }),
        1 => any::<usize>().prop_map(|pick| Op::Scan { pick }),
        1 => any::<usize>().prop_map(|pick| Op::Unreadable { pick }),
        1 => (0..2_usize, 0..100_i64, 1..50_i64).prop_map(|(source, from, length)| Op::Accept { source, from, length }),
        1 => (0..2_usize, 0..150_i64).prop_map(|(source, from)| Op::Cut { source, from }),
        1 => any::<usize>().prop_map(|pick| Op::Restart { pick }),
        1 => any::<usize>().prop_map(|pick| Op::Split { pick }),
        1 => (0..2_usize, 1..6_u64).prop_map(|(sink, events)| Op::Prepare { sink, events }),
        2 => (0..2_usize, 1..6_u64).prop_map(|(sink, events)| Op::Commit { sink, events }),
        1 => (0..60_i64).prop_map(|before| Op::Trim { before }),
    ]
}

fn any_then() -> impl Strategy<Value = Then> {
    prop_oneof![
        8 => Just(Then::Nothing),
        1 => Just(Then::Reopen),
        3 => prop_oneof![any::<u8>(), Just(255)].prop_map(Then::Crash),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct WindowModel {
    id: WindowId,
    source: usize,
    window: NewWindow,
    staged: Vec<Vec<(String, i64)>>,
    progress: Option<ScanProgress>,
}

#[derive(Clone, Debug, PartialEq)]
struct BlockModel {
    first: Seq,
    source: usize,
    records: Vec<String>,
    visible_at: i64,
}

impl BlockModel {
    fn last(&self) -> Seq {
        self.first + self.records.len() as u64 - 1
    }
}

/// First and last event of an open batch.
type OpenBatch = Option<(Seq, Seq)>;

/// What the journal must contain, as plain lists.
#[derive(Clone, Debug, Default)]
struct Model {
    windows: Vec<WindowModel>,
    /// The state and number of doubts of each second.
    time: [BTreeMap<i64, (CoverageState, u32)>; 2],
    keys: [Vec<SeenKey>; 2],
    next_from: [i64; 2],
    log: Vec<BlockModel>,
    head: Seq,
    trimmed_to: Seq,
    sinks: [(Seq, OpenBatch); 2],
    steps: i64,
}

/// Everything that the journal's calls return.
#[derive(Debug, PartialEq)]
struct Contents {
    coverage: Vec<Vec<TimeRange>>,
    in_doubt: Vec<Vec<(TimeRange, CoverageState, u32)>>,
    open: Vec<(WindowId, NewWindow, Option<ScanProgress>)>,
    events: Vec<Vec<(Seq, String)>>,
    keys: Vec<Vec<SeenKey>>,
    sinks: Vec<(Seq, OpenBatch, u64)>,
    head: Seq,
    oldest: Seq,
}

impl Model {
    fn contents(&self) -> Contents {
        let mut windows = self.windows.clone();
        windows.sort_by_key(|window| (window.source, window.id));
        Contents {
            coverage: self.time.iter().map(coverage_of).collect(),
            in_doubt: self.time.iter().map(in_doubt_of).collect(),
            open: windows.into_iter().map(|window| (window.id, window.window, window.progress)).collect(),
            events: (0..SOURCES.len()).map(|source| self.events_of(source)).collect(),
            keys: self.keys.iter().map(|keys| sorted(keys.clone())).collect(),
            sinks: self.sinks.iter().map(|(at, batch)| (*at, *batch, self.trimmed_to.saturating_sub(*at))).collect(),
            head: self.head,
            oldest: self.trimmed_to + 1,
        }
    }

    fn events_of(&self, source: usize) -> Vec<(Seq, String)> {
        let blocks = self.log.iter().filter(|block| block.source == source);
        blocks.flat_map(|block| (block.first..).zip(block.records.iter().cloned())).collect()
    }

    fn unstage(&mut self, index: usize) {
        let window = &mut self.windows[index];
        let staged: Vec<SeenKey> =
            window.staged.drain(..).flatten().map(|(raw, time)| key_of(&raw, Some(time))).collect();
        window.progress = None;
        self.keys[window.source].retain(|key| !staged.contains(key));
    }

    fn complete(&mut self, index: usize, now: i64, completion: &Completion) {
        let mut window = self.windows.remove(index);
        let time = &mut self.time[window.source];
        for second in seconds(completion.covers) {
            match (window.window.kind, time.get_mut(&second)) {
                (WindowKind::Recheck, None) => {}
                (WindowKind::Recheck, Some(known)) => *known = judged_again(*known, completion.state),
                _ => drop(time.insert(second, judged_again((completion.state, 0), completion.state))),
            }
        }
        let earliest = |page: &Vec<(String, i64)>| page.iter().map(|(_, time)| *time).min();
        window.staged.sort_by_key(earliest);
        for page in window.staged {
            let records: Vec<String> = page.into_iter().map(|(raw, _)| raw).collect();
            let count = records.len() as u64;
            self.log.push(BlockModel { first: self.head + 1, source: window.source, records, visible_at: now });
            self.head += count;
        }
    }

    fn trim(&mut self, before: i64) {
        let passed = self.sinks.iter().map(|(position, _)| *position).min().unwrap_or(0);
        while let Some(block) = self.log.first()
            && block.last() <= passed
            && block.visible_at < before
        {
            self.trimmed_to = block.last();
            self.log.remove(0);
        }
    }
}

fn seconds(range: TimeRange) -> std::ops::Range<i64> {
    range.from.as_millis() / 1_000..range.to.as_millis() / 1_000
}

/// A recheck that could not read changes no state.
fn judged_again((was, doubts): (CoverageState, u32), verdict: CoverageState) -> (CoverageState, u32) {
    let state = if verdict == CoverageState::Unreadable { was } else { verdict };
    (state, if state == CoverageState::Covered { 0 } else { doubts + 1 })
}

/// The runs of seconds of one state.
fn runs(time: &BTreeMap<i64, (CoverageState, u32)>) -> Vec<(TimeRange, CoverageState, u32)> {
    let seconds: Vec<_> = time.iter().collect();
    let runs = seconds.chunk_by(|one, next| *one.0 + 1 == *next.0 && one.1 == next.1);
    runs.map(|run| (range(*run[0].0, run[run.len() - 1].0 + 1), run[0].1.0, run[0].1.1)).collect()
}

fn coverage_of(time: &BTreeMap<i64, (CoverageState, u32)>) -> Vec<TimeRange> {
    runs(time).into_iter().filter(|run| run.1 == CoverageState::Covered).map(|run| run.0).collect()
}

fn in_doubt_of(time: &BTreeMap<i64, (CoverageState, u32)>) -> Vec<(TimeRange, CoverageState, u32)> {
    runs(time).into_iter().filter(|run| run.1 != CoverageState::Covered).collect()
}

/// The reasons follow from the state, so that doubts that touch are one.
fn reasons(state: CoverageState) -> Vec<String> {
    match state {
        CoverageState::Covered => Vec::new(),
        CoverageState::InDoubt => vec!["total".to_owned()],
        CoverageState::Unreadable => vec!["unreadable:500".to_owned()],
    }
}

fn sorted(mut keys: Vec<SeenKey>) -> Vec<SeenKey> {
    keys.sort_by_key(|key| key.id);
    keys
}

async fn read_all(journal: &SqliteJournal) -> Contents {
    let all_time = TimeRange::new(Timestamp::from_nanos(i64::MIN), Timestamp::MAX);
    let (mut coverage, mut in_doubt, mut open) = (vec![], vec![], vec![]);
    let (mut events, mut keys, mut sinks) = (vec![], vec![], vec![]);
    for name in SOURCES {
        let state = journal.open_source(registration(name)).await.expect("opens");
        coverage.push(state.coverage);
        let doubt = |time: DoubtfulTime| (time.range, time.state, time.doubts);
        in_doubt.push(state.in_doubt.into_iter().map(doubt).collect());
        open.extend(state.open.into_iter().map(|open| (open.id, open.window, open.progress)));
        events.push(visible(journal, state.id).await);
        keys.push(sorted(journal.keys_within(state.id, all_time).await.expect("reads")));
    }
    for name in SINKS {
        let state = journal.open_sink(name, SinkStart::Beginning).await.expect("opens");
        sinks.push((state.position, state.intent.map(|BatchIntent { first, last, .. }| (first, last)), state.missed));
    }
    let stats = journal.stats().await.expect("reads");
    let counted = "SELECT coalesce(sum(bytes), 0) FROM blocks";
    let counted = journal.query(move |file| Ok(file.query_row(counted, [], |row| row.get::<_, i64>(0))?));
    assert_eq!(stats.bytes, counted.await.expect("counts").cast_unsigned(), "the running total matches the blocks");
    Contents { coverage, in_doubt, open, events, keys, sinks, head: stats.head, oldest: stats.oldest }
}

/// The journal and the model, side by side.
struct Pair {
    open: Option<SqliteJournal>,
    directory: TempDir,
    model: Model,
    source_ids: [SourceId; 2],
    sink_ids: [SinkId; 2],
}

impl Pair {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let journal = SqliteJournal::open(&options(directory.path(), u64::MAX)).expect("opens");
        read_all(&journal).await;
        let (source_ids, sink_ids) = ([SourceId(1), SourceId(2)], [SinkId(1), SinkId(2)]);
        Self { open: Some(journal), directory, model: Model::default(), source_ids, sink_ids }
    }

    async fn apply(&mut self, op: &Op) {
        self.model.steps += 1;
        match *op {
            Op::AddWindow { source, length } => self.add_window(source, length).await,
            Op::Page { pick, ref times, last } => self.page(pick, times, last).await,
            Op::AddRecheck { source, from, length } => self.add_recheck(source, range(from, from + length)).await,
            Op::Scan { pick } => self.begin_scan(pick).await,
            Op::Unreadable { pick } => self.mark_unreadable(pick).await,
            Op::Accept { source, from, length } => self.accept(source, range(from, from + length)).await,
            Op::Cut { source, from } => {
                self.journal().cut_coverage(self.source_ids[source], at(from)).await.expect("cuts");
                self.model.time[source].retain(|second, _| *second < from);
            }
            Op::Restart { pick } => self.restart(pick).await,
            Op::Split { pick } => self.split(pick).await,
            Op::Prepare { sink, events } => self.prepare(sink, events).await,
            Op::Commit { sink, events } => self.commit(sink, events).await,
            Op::Trim { before } => {
                let no_keys = Timestamp::from_nanos(i64::MIN);
                self.journal().trim(at(before), no_keys).await.expect("trims");
                self.model.trim(before);
            }
        }
    }

    /// A window that is open, if there is one.
    fn pick(&self, pick: usize) -> Option<usize> {
        pick.checked_rem(self.model.windows.len())
    }

    async fn add_window(&mut self, source: usize, length: i64) {
        let from = self.model.next_from[source];
        let window = live(from, from + length);
        let ids = self.journal().add_windows(self.source_ids[source], vec![window]).await.expect("is added");
        self.model.windows.push(WindowModel { id: ids[0], source, window, staged: vec![], progress: None });
        self.model.next_from[source] = from + length;
    }

    async fn page(&mut self, pick: usize, times: &[i64], last: Option<Verdict>) {
        let Some(index) = self.pick(pick) else { return };
        if last.is_none() && self.model.windows[index].progress.is_none() {
            return self.begin_scan(pick).await;
        }
        let now = self.model.steps;
        let window = self.model.windows[index].id;
        let text = |number: usize, time: &i64| (format!("{{\"event\":\"{now}-{number}\"}}"), *time);
        let records: Vec<(String, i64)> = times.iter().enumerate().map(|(number, time)| text(number, time)).collect();
        let given: Vec<(&str, Option<i64>)> = records.iter().map(|(raw, time)| (raw.as_str(), Some(*time))).collect();
        let covers = self.model.windows[index].window.covers;
        let completion = last.map(|Verdict { state, cut_off }| {
            let to = (covers.to - std::time::Duration::from_secs(cut_off.unsigned_abs())).max(covers.from);
            let covers = TimeRange::new(covers.from, to);
            Completion { state, reasons: reasons(state), ..Completion::covered(covers, at(now)) }
        });
        let then = completion.clone().map_or(AfterPage::Continue, AfterPage::Complete);
        let evidence = now.to_string().into_bytes();
        let page = PageCommit { evidence: evidence.clone(), ..page(window, &given, then) };
        self.journal().commit_page(page).await.expect("commits");
        let window = &mut self.model.windows[index];
        self.model.keys[window.source].extend(records.iter().map(|(raw, time)| key_of(raw, Some(*time))));
        if let Some((_, pages)) = window.progress.as_mut().and_then(|progress| progress.scans.last_mut()) {
            pages.push(evidence);
        }
        if !records.is_empty() {
            window.staged.push(records);
        }
        if let Some(completion) = completion {
            self.model.complete(index, now, &completion);
        }
    }

    async fn add_recheck(&mut self, source: usize, covers: TimeRange) {
        let window = NewWindow { kind: WindowKind::Recheck, covers, fetch_range: covers, kept: covers };
        let ids = self.journal().add_windows(self.source_ids[source], vec![window]).await.expect("is added");
        self.model.windows.push(WindowModel { id: ids[0], source, window, staged: vec![], progress: None });
    }

    async fn begin_scan(&mut self, pick: usize) {
        let Some(index) = self.pick(pick) else { return };
        let window = &self.model.windows[index];
        let number = window.progress.as_ref().map_or(0, |progress| progress.scans.len()) + 1;
        let spec = scan(u32::try_from(number).expect("few"));
        self.journal().begin_scan(window.id, spec.clone(), RequestCounts::succeeded(1)).await.expect("begins");
        self.model.windows[index].progress.get_or_insert_default().scans.push((spec, Vec::new()));
    }

    async fn mark_unreadable(&mut self, pick: usize) {
        let Some(index) = self.pick(pick) else { return };
        let WindowModel { id, window, .. } = self.model.windows[index].clone();
        if window.kind == WindowKind::Recheck || window.covers.is_empty() {
            return;
        }
        let (now, state) = (self.model.steps, CoverageState::Unreadable);
        let reasons = vec!["unreadable:500".to_owned()];
        let completion = Completion { state, reasons, ..Completion::covered(window.covers, at(now)) };
        let (lateness, then) = (LatenessCounts::default(), AfterPage::Complete(completion.clone()));
        let page = PageCommit {
            window: id,
            block: None,
            requests: RequestCounts::succeeded(1),
            lateness,
            evidence: Vec::new(),
            then,
        };
        self.journal().commit_page(page).await.expect("commits");
        self.model.complete(index, now, &completion);
    }

    async fn accept(&mut self, source: usize, accepted: TimeRange) {
        self.journal().accept(SOURCES[source], accepted).await.expect("accepts");
        for (_, known) in self.model.time[source].range_mut(seconds(accepted)) {
            *known = (CoverageState::Covered, 0);
        }
    }

    async fn restart(&mut self, pick: usize) {
        let Some(index) = self.pick(pick) else { return };
        self.journal()
            .restart_window(self.model.windows[index].id, RequestCounts::succeeded(1))
            .await
            .expect("restarts");
        self.model.unstage(index);
    }

    async fn split(&mut self, pick: usize) {
        let Some(index) = self.pick(pick) else { return };
        let old = self.model.windows[index].clone();
        let TimeRange { from, to } = old.window.covers;
        let middle = (from + to.since(from) / 2).floor_to(std::time::Duration::from_secs(1));
        let part = |from, to| NewWindow {
            covers: TimeRange::new(from, to),
            fetch_range: TimeRange::new(from, to),
            ..old.window
        };
        let parts = [part(from, middle), part(middle, to)];
        let ids = self.journal().split_window(old.id, parts).await.expect("splits");
        self.model.unstage(index);
        self.model.windows.remove(index);
        for (id, window) in ids.into_iter().zip(parts) {
            self.model.windows.push(WindowModel { id, source: old.source, window, staged: vec![], progress: None });
        }
    }

    async fn prepare(&mut self, sink: usize, events: u64) {
        let (position, batch) = self.model.sinks[sink];
        let last = (position + events).min(self.model.head);
        if batch.is_some() || last == position {
            return;
        }
        self.journal().prepare_batch(self.sink_ids[sink], position + 1, last, String::new()).await.expect("prepares");
        self.model.sinks[sink].1 = Some((position + 1, last));
    }

    async fn commit(&mut self, sink: usize, events: u64) {
        let (position, batch) = self.model.sinks[sink];
        let position = batch.map_or((position + events).min(self.model.head), |(_, last)| last);
        let commit = BatchCommit { position, ..BatchCommit::default() };
        self.journal().commit_batch(self.sink_ids[sink], commit).await.expect("commits");
        self.model.sinks[sink] = (position, None);
    }

    fn log_length(&self) -> u64 {
        std::fs::metadata(self.directory.path().join("journal.db-wal")).map_or(0, |found| found.len())
    }

    fn journal(&self) -> &SqliteJournal {
        self.open.as_ref().expect("is open except while it is reopened")
    }

    fn reopen(&mut self) {
        self.open = None;
        self.open = Some(SqliteJournal::open(&options(self.directory.path(), u64::MAX)).expect("opens"));
    }

    /// Continues with what a crash in the last call leaves: `kept` / 255 of its bytes in the log.
    async fn crash(&mut self, before: (Model, u64), kept: u8) {
        let (model_before, log_before) = before;
        let appended = self.log_length().saturating_sub(log_before);
        let log = log_before + appended * u64::from(kept) / 255;
        let left = tempfile::tempdir().expect("a directory");
        copy_truncated(self.directory.path(), left.path(), log);
        self.open = None;
        self.directory = left;
        self.reopen();
        let found = read_all(self.journal()).await;
        if found != self.model.contents() {
            assert!(kept < 255, "a call that returned is lost: {found:#?}\ninstead of {:#?}", self.model.contents());
            assert_eq!(found, model_before.contents(), "neither before nor after the last call");
            self.model = model_before;
        }
    }
}

fn copy_truncated(from: &Path, to: &Path, log_length: u64) {
    for name in [JOURNAL_FILE, "journal.db-wal"] {
        std::fs::copy(from.join(name), to.join(name)).expect("copies");
    }
    let log = std::fs::OpenOptions::new().write(true).open(to.join("journal.db-wal")).expect("opens");
    log.set_len(log_length).expect("truncates");
}

async fn run(ops: &[(Op, Then)]) {
    let mut pair = Pair::new().await;
    for (op, then) in ops {
        let before = (pair.model.clone(), pair.log_length());
        pair.apply(op).await;
        match then {
            Then::Nothing => {}
            Then::Reopen => pair.reopen(),
            Then::Crash(kept) => pair.crash(before, *kept).await,
        }
    }
    assert_eq!(read_all(pair.journal()).await, pair.model.contents());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn a_journal_that_crashes_anywhere_matches_the_model(
        ops in prop::collection::vec((any_op(), any_then()), 1..60),
    ) {
        Builder::new_current_thread().build().expect("a runtime").block_on(run(&ops));
    }
}
