//! The real collector and the real journal against model vendors: what each class of vendors promises must hold.
//!
//! ```text
//!   seed --> ModelApi <--requests-- collect::run --pages--> SQLite journal
//!               |                                               |
//!               |    backfill, six minutes of polls,            |
//!               |    eleven days of what is due again             |
//!               v                                               v
//!             listed when ------------> examine <------- delivered, covered, in doubt
//! ```
//!
//! A record is lost in silence if it was not delivered although its time is covered and it was listed all through the last
//! scan of that time. `AUDITFLOW_MODEL_SEEDS` sets the number of seeds per class, `AUDITFLOW_TEST_SEED` runs one seed,
//! `AUDITFLOW_MODEL_CLASS` keeps the classes whose names contain it. `--nocapture` shows the table.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use fastrand::Rng;
use tokio_util::sync::CancellationToken;

use super::model_classes::{self, Class, Promise};
use super::model_vendor::{
    Behavior, FIRST_START, LAST_RECORD, LIVE_END, Logged, ModelApi, ModelRecord, ModelVendor, START,
};
use crate::clock::{Clock, ManualClock};
use crate::collect::{
    CollectMode, RateLimitGroups, Source, SourceContext, SourceEnd, SourceOptions, StartTime, ranges, run,
};
use crate::journal::{
    DoubtfulTime, Journal, JournalOptions, NewWindow, OpenWindow, SourceRegistration, SourceState, SqliteJournal,
};
use crate::time::{TimeRange, Timestamp};
use crate::units::{ByteSize, Span};
use crate::vendors::NormalizerConfig;

/// Seeds per class, and how many more of the mixed classes.
const SEEDS: u64 = 5;
const MIXED_FACTOR: u64 = 5;
/// The last recheck comes a week and a quarter after the first scan.
const RECHECKS_END: Duration = Duration::from_secs(11 * 86_400);

/// The head of a list is read again within so many seconds.
const HEAD_AFTER: i64 = 4;

/// The collector asks for the time at most so often per request: more is a loop that does not sleep.
const MOST_TIME_READS: usize = 50;

/// A clock that counts how often it is read.
#[derive(Clone, Debug)]
struct CountingClock {
    clock: ManualClock,
    reads: Arc<AtomicUsize>,
}

impl Clock for CountingClock {
    fn now(&self) -> Timestamp {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.clock.now()
    }
}

/// One source, one journal, one vendor.
struct Model {
    api: Arc<ModelApi>,
    clock: CountingClock,
    journal: Arc<dyn Journal>,
    _data_dir: tempfile::TempDir,
    rng: Rng,
    seed: u64,
}

/// What the journal holds, and what was requested until then.
struct Observed {
    delivered: HashMap<String, usize>,
    covered: Vec<TimeRange>,
    in_doubt: Vec<TimeRange>,
    doubts: Vec<DoubtfulTime>,
    /// Windows whose scan has not ended, in model seconds: from where they cover, and to where they request.
    open: Vec<(i64, i64)>,
    log: Vec<Logged>,
    /// How often the clock was read.
    time_reads: usize,
}

impl Model {
    fn new(class: &Class, seed: u64) -> Self {
        let mut hasher = DefaultHasher::new();
        (class.name, seed).hash(&mut hasher);
        let seed = hasher.finish();
        let mut rng = Rng::with_seed(seed);
        let behavior = class.behavior(&mut rng);
        let clock = ManualClock::starting_at(behavior.time(FIRST_START));
        // In memory where possible: the journal's own tests cover the disk.
        let data_dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
        let options = JournalOptions { data_dir: data_dir.path().to_owned(), max_size: ByteSize(1 << 30) };
        let journal = Arc::new(SqliteJournal::open(&options).expect("opened"));
        let api = Arc::new(ModelApi::new(behavior, clock.clone(), rng.u64(..)));
        let clock = CountingClock { clock, reads: Arc::default() };
        Self { api, clock, journal, _data_dir: data_dir, rng, seed }
    }

    fn behavior(&self) -> &Behavior {
        &self.api.behavior
    }

    /// Collects with polls once a minute, then for eleven days with a poll a day. Returns what was observed after each.
    async fn collect(&mut self) -> [Observed; 2] {
        let options = SourceOptions {
            backfill_start_time: Some(StartTime::At(self.behavior().time(START))),
            ..Default::default()
        };
        self.collect_for(&options, self.behavior().span(LIVE_END - FIRST_START)).await;
        let live = self.observe().await;
        let day = Duration::from_secs(86_400);
        let options = SourceOptions { poll_interval: Some(Span(day)), backfill_slice: Some(Span(day * 30)), ..options };
        self.collect_for(&options, RECHECKS_END).await;
        [live, self.observe().await]
    }

    /// Runs the collector this long, and starts it again whenever the vendor has stopped it.
    async fn collect_for(&mut self, options: &SourceOptions, span: Duration) {
        let end = self.clock.now() + span;
        while self.clock.now() < end && !self.api.is_exhausted() {
            let shutdown = CancellationToken::new();
            self.api.stop_with(shutdown.clone());
            let time_is_up = tokio::time::sleep(end.since(self.clock.now()));
            let collecting = self.run(options, shutdown.clone());
            let within = self.api.behavior.killed_within;
            let steps = if within > 0 { self.rng.usize(1..=within) } else { usize::MAX };
            let collecting = killed_after(steps, collecting);
            tokio::pin!(time_is_up, collecting);
            tokio::select! {
                ended = &mut collecting => assert!(matches!(ended, None | Some(SourceEnd::Shutdown)), "{ended:?}"),
                () = &mut time_is_up => {
                    shutdown.cancel();
                    collecting.await;
                }
            }
            let pause = self.api.behavior.span(self.rng.i64(1..=self.api.behavior.restart_secs));
            tokio::time::sleep(pause.min(end.since(self.clock.now()))).await;
        }
    }

    fn run(&self, options: &SourceOptions, shutdown: CancellationToken) -> impl Future<Output = SourceEnd> + use<> {
        let vendor = ModelVendor { spec: self.behavior().spec() };
        let settings = options.over(&vendor.spec);
        let source = Source { name: "audit".into(), vendor: Arc::new(vendor), settings };
        let context = SourceContext {
            journal: self.journal.clone(),
            transport: self.api.clone(),
            rate_limit_groups: RateLimitGroups::default(),
            max_staged_bytes: 1 << 28,
            clock: Arc::new(self.clock.clone()),
            rng_seed: self.seed,
            mode: CollectMode::Continuous,
            shutdown,
        };
        async move { run(source, context).await.expect("the journal works") }
    }

    /// What the journal knows of the source.
    async fn source(&self) -> SourceState {
        let registration = SourceRegistration {
            name: "audit".into(),
            vendor: "example".into(),
            normalizer_config: NormalizerConfig::default(),
            now: self.clock.now(),
        };
        self.journal.open_source(registration).await.expect("read")
    }

    async fn observe(&self) -> Observed {
        let state = self.source().await;
        let head = *self.journal.head().borrow();
        let blocks = self.journal.read(1, head, vec![state.id], usize::MAX >> 1).await.expect("read");
        let mut versions: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
        for block in blocks {
            for record in block.decode().expect("sound").records() {
                let id = record.raw.split(",\"content\"").next().unwrap_or_default();
                versions.entry(id.to_owned()).or_default().push((record.version, record.raw.to_owned()));
            }
        }
        let mut delivered = HashMap::new();
        versions.into_values().for_each(|versions| count_versions(versions, &mut delivered));
        let in_doubt = in_doubt(&state);
        let covered = state.coverage.iter().flat_map(|range| ranges::without(*range, &in_doubt)).collect();
        let secs = |open: &OpenWindow| {
            let NewWindow { covers, fetch_range, .. } = open.window;
            (self.behavior().secs(covers.from), self.behavior().secs(fetch_range.to))
        };
        let open = state.open.iter().map(secs).collect();
        Observed {
            delivered,
            covered,
            in_doubt,
            doubts: state.in_doubt,
            open,
            log: self.api.log(),
            time_reads: self.clock.reads.load(Ordering::Relaxed),
        }
    }
}

/// Drops a future after so many of its steps, as a kill would; `None` then.
async fn killed_after<T>(mut steps: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    poll_fn(|context| {
        steps -= 1;
        if steps == 0 { Poll::Ready(None) } else { future.as_mut().poll(context).map(Some) }
    })
    .await
}

/// Counts what was delivered under one id. A replica that is behind may show the former content after the present one was
/// delivered: then the present one comes back once, in a higher version, and that does not count.
fn count_versions(mut versions: Vec<(u64, String)>, delivered: &mut HashMap<String, usize>) {
    versions.sort();
    let mut returned = HashSet::new();
    for (index, (version, raw)) in versions.iter().enumerate() {
        let comes_back = index > 0 && versions[index - 1].0 < *version && versions[index - 1].1 != *raw;
        let count: &mut usize = delivered.entry(raw.clone()).or_default();
        if *count == 0 || !comes_back || !returned.insert(raw) {
            *count += 1;
        }
    }
}

/// Time that was read and cannot be proved complete.
fn in_doubt(state: &SourceState) -> Vec<TimeRange> {
    ranges::merged(state.in_doubt.iter().map(|doubtful| doubtful.range).collect())
}

/// What became of one seed, or the sum of many.
#[derive(Clone, Debug, Default)]
struct Outcome {
    seeds: usize,
    /// Seeds that lose a record in silence: at the end, and when polling ends.
    lossy: usize,
    early: usize,
    /// Seeds that deliver a record more often than it exists.
    twice: usize,
    /// Seeds that the collector could not finish, and in which it did not sleep.
    endless: usize,
    sleepless: usize,
    /// Share of the time in doubt when polling ends and at the end, and share neither covered nor in doubt at the end.
    in_doubt: f64,
    in_doubt_at_end: f64,
    uncovered: f64,
    /// Requests until polling ends, all, and the fewest possible.
    live_requests: usize,
    requests: usize,
    least_requests: usize,
}

impl Outcome {
    fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.lossy += other.lossy;
        self.early += other.early;
        self.twice += other.twice;
        self.endless += other.endless;
        self.sleepless += other.sleepless;
        self.in_doubt += other.in_doubt;
        self.in_doubt_at_end += other.in_doubt_at_end;
        self.uncovered += other.uncovered;
        self.live_requests += other.live_requests;
        self.requests += other.requests;
        self.least_requests += other.least_requests;
    }
}

/// Compares what was delivered with what the vendor listed.
fn examine(api: &ModelApi, [live, end]: &[Observed; 2]) -> Outcome {
    let all = TimeRange::new(api.behavior.time(START), api.behavior.time(LAST_RECORD));
    let covered: Vec<TimeRange> = end.covered.iter().chain(&end.in_doubt).copied().collect();
    Outcome {
        seeds: 1,
        lossy: usize::from(!lost(api, end).is_empty()),
        early: usize::from(!lost(api, live).is_empty()),
        twice: usize::from(delivered_twice(api, end) > 0),
        endless: usize::from(api.is_exhausted()),
        sleepless: usize::from(end.time_reads > MOST_TIME_READS * end.log.len()),
        in_doubt: share(&live.in_doubt, all),
        in_doubt_at_end: share(&end.in_doubt, all),
        uncovered: 1.0 - share(&covered, all),
        live_requests: live.log.len(),
        requests: end.log.len(),
        least_requests: least_requests(&live.log, api.behavior.page_size),
    }
}

/// The share of a range that others cover.
fn share(parts: &[TimeRange], whole: TimeRange) -> f64 {
    let rest = ranges::without(whole, &ranges::merged(parts.to_vec()));
    let rest: Duration = rest.into_iter().map(ranges::length).sum();
    1.0 - rest.as_secs_f64() / ranges::length(whole).as_secs_f64()
}

/// Records lost in silence; of identical ones, one.
fn lost<'a>(api: &'a ModelApi, observed: &Observed) -> Vec<&'a ModelRecord> {
    let behavior = &api.behavior;
    let starts = scan_starts(&observed.log);
    let is_of = |request: &Logged, open: &(i64, i64)| open.0 < request.asked.1 && request.asked.1 <= open.1;
    let is_ended = |request: &&Logged| !observed.open.iter().any(|open| is_of(request, open));
    let ended: Vec<&Logged> = observed.log.iter().filter(is_ended).collect();
    let mut needed: BTreeMap<usize, (usize, &ModelRecord)> = BTreeMap::new();
    for record in &api.records {
        let at = behavior.time(record.at);
        let is_wanted = record.at >= START && observed.covered.iter().any(|range| ranges::contains(*range, at));
        let last = ended.iter().rev().find(|request| request.from <= record.at && record.at < request.to);
        let can_be_read = !record.is_filtered(behavior) && !record.is_unreadable(behavior);
        let Some(last) = last.filter(|_| is_wanted && can_be_read) else { continue };
        if record.is_listed(starts[&last.scan] - behavior.lag, last.at) {
            needed.entry(record.key).or_insert((0, record)).0 += 1;
        }
    }
    let is_lost = |(count, record): &(usize, &ModelRecord)| times_delivered(behavior, record, observed) < *count;
    needed.into_values().filter(is_lost).map(|(_, record)| record).collect()
}

/// When each scan began. A first page alone that follows the pages of the same range is their head, read again.
fn scan_starts(log: &[Logged]) -> HashMap<usize, i64> {
    let mut requests: HashMap<usize, usize> = HashMap::new();
    log.iter().for_each(|request| *requests.entry(request.scan).or_default() += 1);
    let mut starts: HashMap<usize, i64> = HashMap::new();
    let mut latest: HashMap<(i64, i64), &Logged> = HashMap::new();
    for request in log {
        let before = latest.insert(request.asked, request);
        let is_head = requests[&request.scan] == 1;
        let before = before.filter(|before| is_head && request.at - before.at <= HEAD_AFTER);
        let start = before.map_or(request.at, |before| starts[&before.scan]);
        starts.entry(request.scan).or_insert(start);
    }
    starts
}

fn times_delivered(behavior: &Behavior, record: &ModelRecord, observed: &Observed) -> usize {
    let distinct = record.contents(behavior).iter().take(2);
    distinct.filter_map(|content| observed.delivered.get(&record.raw(behavior, *content))).sum()
}

/// Deliveries of records beyond those that exist.
fn delivered_twice(api: &ModelApi, observed: &Observed) -> usize {
    surplus(api, observed).map(|(_, count)| count).sum()
}

/// What was delivered more often than it exists, and how much more often.
fn surplus<'a>(api: &ModelApi, observed: &'a Observed) -> impl Iterator<Item = (&'a String, usize)> + use<'a> {
    let mut existing: HashMap<String, usize> = HashMap::new();
    for record in &api.records {
        for content in record.contents(&api.behavior) {
            *existing.entry(record.raw(&api.behavior, *content)).or_default() += 1;
        }
    }
    observed.delivered.iter().map(move |(raw, count)| (raw, count.saturating_sub(existing[raw])))
}

/// The requests of a collector that asks for each page of each window once. A scan that moves only one bound of the range
/// reads a window in parts.
fn least_requests(log: &[Logged], page_size: u32) -> usize {
    let (mut from, mut to) = (HashSet::new(), HashSet::new());
    let mut least = 0;
    for request in log {
        if from.insert(request.asked.0) & to.insert(request.asked.1) {
            least += request.listed.div_ceil(page_size as usize).max(1);
        }
    }
    least
}

/// Most seeds that may lose records where a share of them does: two standard deviations above the expected number, and one.
#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn at_most(percent: f64, seeds: usize) -> f64 {
    let expected = percent / 100.0 * seeds as f64;
    expected + 2.0 * expected.sqrt() + 1.0
}

/// Why a class breaks its promise.
#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn broken_promise(class: &Class, sum: &Outcome) -> Option<&'static str> {
    if sum.twice > 0 {
        return Some("records are delivered twice");
    }
    if sum.endless > 0 {
        return Some("the collector sends requests without end");
    }
    if sum.sleepless > 0 {
        return Some("the collector does not sleep");
    }
    // Several faults at once may keep the collector busy past the end of the model: then time is left, and listed as a gap.
    if sum.uncovered > 0.0 && !matches!(class.promise, Promise::Measured(_) | Promise::Gaps) {
        return Some("time is neither covered nor in doubt");
    }
    match class.promise {
        Promise::Measured(most) if sum.lossy as f64 > at_most(most, sum.seeds) => {
            Some("more is lost in silence than was measured")
        }
        Promise::Measured(_) => None,
        _ if sum.lossy > 0 => Some("records are lost in silence"),
        Promise::Healthy if sum.in_doubt_at_end > 0.0 => Some("a healthy vendor ends in doubt"),
        // A single seed in doubt is more than the percentage of a few seeds.
        Promise::FewDoubts(most) if 100.0 * sum.in_doubt_at_end > 100.0 + most * sum.seeds as f64 => {
            Some("more of the time ends in doubt than was measured")
        }
        Promise::NoSilentLoss | Promise::Gaps | Promise::Healthy | Promise::FewDoubts(_) => None,
    }
}

fn run_seed(class: &Class, seed: u64) -> Outcome {
    let (api, observed) = collected(class, seed);
    if number("AUDITFLOW_TEST_SEED").is_some() {
        print_requests(&api, &observed[1]);
    }
    examine(&api, &observed)
}

fn collected(class: &Class, seed: u64) -> (Arc<ModelApi>, [Observed; 2]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let mut model = Model::new(class, seed);
        let observed = model.collect().await;
        (model.api.clone(), observed)
    })
}

/// What happened in one seed.
fn print_requests(api: &ModelApi, end: &Observed) {
    eprintln!("{:#?}", api.behavior);
    for Logged { at, asked: (from, to), scan, listed, cursor, .. } in &end.log {
        eprintln!("{at}: scan {scan} of {from}..{to}, {listed} records, cursor {cursor:?}");
    }
    for record in lost(api, end) {
        eprintln!("lost: {record:?}");
    }
    for (raw, count) in surplus(api, end).filter(|(_, count)| *count > 0) {
        eprintln!("delivered {count} times too often: {raw}, of {} delivered", end.delivered[raw]);
    }
    for DoubtfulTime { range, state, reasons, doubts, .. } in &end.doubts {
        let (from, to) = (api.behavior.secs(range.from), api.behavior.secs(range.to));
        eprintln!("{state:?} for the {doubts}th time: {from}..{to}, {reasons:?}");
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str) -> Option<u64> {
    variable(name).map(|value| value.parse().expect("a whole number"))
}

/// The seeds of each class.
fn jobs() -> Vec<(&'static Class, u64)> {
    let wanted = variable("AUDITFLOW_MODEL_CLASS").unwrap_or_default();
    let seeds = number("AUDITFLOW_MODEL_SEEDS").unwrap_or(SEEDS);
    let mut jobs = Vec::new();
    for class in model_classes::all().filter(|class| class.name.contains(&wanted)) {
        let factor = if class.name.starts_with("mixed") { MIXED_FACTOR } else { 1 };
        match number("AUDITFLOW_TEST_SEED") {
            Some(seed) => jobs.push((class, seed)),
            None => jobs.extend((0..seeds * factor).map(|seed| (class, seed))),
        }
    }
    jobs
}

/// Runs all seeds on twice as many threads as there are cores: each waits for its journal's threads half of the time.
fn run_all(jobs: &[(&'static Class, u64)]) -> Vec<(&'static Class, u64, Outcome)> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) * 2 {
            scope.spawn(|| {
                while let Some(&(class, seed)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run_seed(class, seed);
                    outcomes.lock().expect("no panic").push((class, seed, outcome));
                }
            });
        }
    });
    outcomes.into_inner().expect("no panic")
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn print_row(class: &Class, sum: &Outcome, examples: &[String]) {
    let seeds = sum.seeds as f64;
    let percent = |count: usize| 100.0 * count as f64 / seeds;
    let times = |requests: usize| requests as f64 / sum.least_requests.max(1) as f64;
    let Outcome { lossy, early, twice, endless, in_doubt, in_doubt_at_end, uncovered, .. } = sum;
    let examples = examples.join(" ");
    eprintln!(
        "{:<40} {:>5} | {:>5.1} {:>5.1} {:>5.1} {:>5.1} | {:>5.1} {:>5.1} {:>5.1} | {:>5.2} {:>6.2} | {examples}",
        class.name,
        sum.seeds,
        percent(*lossy),
        percent(*early),
        percent(*twice),
        percent(*endless),
        100.0 * in_doubt / seeds,
        100.0 * in_doubt_at_end / seeds,
        100.0 * uncovered / seeds,
        times(sum.live_requests),
        times(sum.requests),
    );
}

/// The first seeds in which something went wrong.
fn examples(outcomes: &[(&'static Class, u64, Outcome)], class: &Class) -> Vec<String> {
    let of_class = || outcomes.iter().filter(|(other, ..)| other.name == class.name);
    let first = |wrong: fn(&Outcome) -> bool| of_class().filter(|found| wrong(&found.2)).map(|found| found.1).min();
    let lossy = first(|outcome| outcome.lossy > 0).map(|seed| format!("lost in seed {seed}"));
    let twice = first(|outcome| outcome.twice > 0).map(|seed| format!("twice in seed {seed}"));
    let endless = first(|outcome| outcome.endless > 0).map(|seed| format!("endless in seed {seed}"));
    let sleepless = first(|outcome| outcome.sleepless > 0).map(|seed| format!("sleepless in seed {seed}"));
    let doubt = first(|outcome| outcome.in_doubt_at_end > 0.0).map(|seed| format!("in doubt in seed {seed}"));
    [lossy, twice, endless, sleepless, doubt].into_iter().flatten().collect()
}

#[test]
fn every_class_of_vendors_keeps_its_promise() {
    let outcomes = run_all(&jobs());
    eprintln!("percent of seeds: lost in silence at the end and when polling ends, delivered twice, endless");
    eprintln!("percent of time: in doubt when polling ends and at the end, uncovered at the end");
    eprintln!("requests: until polling ends and all, by the fewest possible\n");
    let mut broken = Vec::new();
    for class in model_classes::all() {
        let mut sum = Outcome::default();
        outcomes.iter().filter(|(other, ..)| other.name == class.name).for_each(|(_, _, outcome)| sum.add(outcome));
        if sum.seeds == 0 {
            continue;
        }
        let examples = examples(&outcomes, class);
        print_row(class, &sum, &examples);
        if let Some(why) = broken_promise(class, &sum) {
            broken.push(format!("{}: {why}: {}", class.name, examples.join(", ")));
        }
    }
    assert!(broken.is_empty(), "repeat with AUDITFLOW_TEST_SEED and AUDITFLOW_MODEL_CLASS:\n{}", broken.join("\n"));
}

#[test]
fn a_seed_repeats_itself() {
    let mixed = model_classes::all().filter(|class| class.name.starts_with("mixed"));
    for class in mixed {
        let requests = || collected(class, 3).1.map(|observed| format!("{:?}", observed.log));
        assert_eq!(requests(), requests());
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_vendor_has_taught_is_known_to_the_next_process() {
    let class = model_classes::all().find(|class| class.name == "offset rounded to pages").expect("a class");
    let mut model = Model::new(class, 1);
    let options =
        SourceOptions { backfill_start_time: Some(StartTime::At(model.behavior().time(START))), ..Default::default() };
    model.collect_for(&options, Duration::from_secs(150)).await;
    let first = model.observe().await.log.len();
    assert!(model.source().await.learned.is_some_and(|learned| learned.contains("\"offsets_are_rounded\":true")));
    // With exact offsets a request would begin with records that are known.
    model.collect_for(&options, Duration::from_secs(150)).await;
    let size = i64::from(model.behavior().page_size);
    let log = model.observe().await.log;
    let offsets = log[first..].iter().filter_map(|request| request.cursor.as_ref()?.parse::<i64>().ok());
    assert!(
        offsets.clone().count() > 0 && offsets.clone().all(|offset| offset % size == 0),
        "{:?}",
        offsets.collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_listed_and_covered_and_is_not_delivered_is_lost() {
    let class = model_classes::all().next().expect("a class");
    let model = Model::new(class, 1);
    let (api, behavior) = (&model.api, model.behavior());
    let all = TimeRange::new(behavior.time(START), behavior.time(LIVE_END));
    let request =
        Logged { at: LIVE_END, from: START, to: LIVE_END, asked: (START, LIVE_END), scan: 0, listed: 0, cursor: None };
    let mut observed = Observed {
        delivered: HashMap::new(),
        covered: vec![all],
        in_doubt: Vec::new(),
        doubts: Vec::new(),
        open: Vec::new(),
        log: vec![request],
        time_reads: 0,
    };
    let wanted = || api.records.iter().filter(|record| record.at >= START);
    assert_eq!(lost(api, &observed).len(), wanted().count());
    observed.open = vec![(START, LIVE_END)];
    assert_eq!(lost(api, &observed).len(), 0, "the scan has not ended");
    observed.open.clear();
    observed.delivered = wanted().map(|record| (record.raw(behavior, 0), 1)).collect();
    assert_eq!((lost(api, &observed).len(), delivered_twice(api, &observed)), (0, 0));
    observed.delivered.values_mut().next().map(|count| *count += 1).expect("records");
    assert_eq!(delivered_twice(api, &observed), 1);
    observed.delivered.clear();
    observed.covered.clear();
    assert_eq!(lost(api, &observed).len(), 0, "nothing is covered");
}
