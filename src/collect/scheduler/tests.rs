use proptest::prelude::*;

use super::*;
use crate::collect::options::StartTime;
use crate::collect::tests::example_spec;
use crate::journal::SourceId;

const FIRST_START: i64 = 1_000_000;
const DAY: Duration = Duration::from_secs(86_400);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn range(from: i64, to: i64) -> TimeRange {
    TimeRange::new(at(from), at(to))
}

fn settings(start: Option<StartTime>) -> SourceSettings {
    let spec = ApiSpec {
        overlap: secs(60),
        delay: secs(5),
        slice: secs(1_000),
        time_granularity: Duration::from_millis(1),
        earliest: at(900_000),
        ..example_spec()
    };
    SourceSettings {
        backfill_start_time: start,
        end_time: None,
        spec,
        error_retry_interval: secs(300),
        max_body_bytes: 1 << 20,
    }
}

fn state(coverage: Vec<TimeRange>) -> SourceState {
    SourceState {
        id: SourceId(1),
        first_started_at: at(FIRST_START),
        coverage,
        in_doubt: Vec::new(),
        open: Vec::new(),
        last_recheck_at: None,
        rewound_to: None,
        former_normalizer_config: None,
    }
}

fn scheduler(start: Option<StartTime>, coverage: Vec<TimeRange>) -> WindowScheduler {
    WindowScheduler::new(&settings(start), &state(coverage), None)
}

fn begun(work: Option<Work>) -> NewWindow {
    match work {
        Some(Work::Begin(window)) => window,
        other => panic!("expected a window to begin, not {other:?}"),
    }
}

#[test]
fn without_a_backfill_nothing_from_before_the_first_start() {
    let scheduler = scheduler(None, vec![]);
    assert_eq!(scheduler.next_live(at(FIRST_START + 3), true), None);
    let window = begun(scheduler.next_live(at(FIRST_START + 65), true));
    assert_eq!(window.covers, range(FIRST_START, FIRST_START + 60));
    assert_eq!(window.fetch_range.from, at(FIRST_START) - Duration::from_millis(1));
    assert_eq!(scheduler.next_backfill(at(FIRST_START + 65)), None);
}

#[test]
fn a_first_backfill_ends_where_live_windows_begin_however_the_readable_end_moves() {
    let mut settings = settings(Some(StartTime::At(at(FIRST_START - 1_500))));
    settings.spec.delay = secs(60);
    let mut scheduler = WindowScheduler::new(&settings, &state(vec![]), None);
    let mut scheduled = Vec::new();
    for tick in 0..2_000 {
        let now = at(FIRST_START) + Duration::from_millis(100) * tick;
        let poll_due = tick % 300 == 0;
        let Some(Work::Begin(window)) = scheduler.next_live(now, poll_due).or_else(|| scheduler.next_backfill(now))
        else {
            continue;
        };
        scheduled.push((window.kind, window.covers));
        scheduler.opened(WindowId(i64::from(tick)), window);
        scheduler.completed(WindowId(i64::from(tick)), now, 1);
    }
    let live = (1..=6).map(|poll| {
        let from = FIRST_START - 60 + (poll - 1) * 30;
        (WindowKind::Live, range(from, from + 30))
    });
    let backfill = [range(FIRST_START - 1_500, FIRST_START - 500), range(FIRST_START - 500, FIRST_START - 60)];
    let expected: Vec<_> = backfill.map(|covers| (WindowKind::Backfill, covers)).into_iter().chain(live).collect();
    assert_eq!(scheduled, expected);
}

#[test]
fn each_poll_reads_the_overlap_again() {
    let scheduler = scheduler(None, vec![range(FIRST_START, FIRST_START + 500)]);
    let window = begun(scheduler.next_live(at(FIRST_START + 565), true));
    assert_eq!(window.covers, range(FIRST_START + 500, FIRST_START + 560));
    assert_eq!(window.fetch_range.from, at(FIRST_START + 440) - Duration::from_millis(1));
    assert_eq!(scheduler.next_live(at(FIRST_START + 565), false), None, "not before the poll interval has passed");
}

#[test]
fn after_a_downtime_the_head_is_caught_up_in_slices_oldest_first() {
    let scheduler = scheduler(None, vec![range(FIRST_START, FIRST_START + 500)]);
    let window = begun(scheduler.next_live(at(FIRST_START + 9_000), false));
    assert_eq!(window.covers, range(FIRST_START + 500, FIRST_START + 1_500));
}

/// Its keys are then loaded window by window, and live polls do not wait for it.
#[test]
fn coverage_removed_by_a_rewind_belongs_to_backfill() {
    let rewound_to = Some(at(FIRST_START + 9_000));
    let state = SourceState { rewound_to, ..state(vec![range(FIRST_START, FIRST_START + 500)]) };
    let scheduler = WindowScheduler::new(&settings(None), &state, None);
    let now = at(FIRST_START + 9_065);
    let live = begun(scheduler.next_live(now, true));
    assert_eq!(live.covers, range(FIRST_START + 8_995, FIRST_START + 9_060));
    let past = begun(scheduler.next_backfill(now));
    assert_eq!((past.kind, past.covers), (WindowKind::Backfill, range(FIRST_START + 500, FIRST_START + 1_500)));
    let recent = scheduler.ranges_in_use();
    assert!(recent.iter().all(|range| range.from > at(FIRST_START + 8_000)), "{recent:?}");
}

#[test]
fn an_earlier_start_opens_a_gap_and_a_later_one_leaves_the_coverage_alone() {
    let covered = vec![range(FIRST_START, FIRST_START + 500)];
    let earlier = scheduler(Some(StartTime::At(at(FIRST_START - 1_500))), covered.clone());
    let window = begun(earlier.next_backfill(at(FIRST_START + 505)));
    assert_eq!(window.covers, range(FIRST_START - 1_500, FIRST_START - 500));
    assert_eq!(window.kind, WindowKind::Backfill);
    let later = scheduler(Some(StartTime::At(at(FIRST_START + 300))), covered);
    assert_eq!(later.next_backfill(at(FIRST_START + 505)), None);
}

#[test]
fn earliest_begins_where_the_vendor_keeps_records_and_stays_there() {
    let mut settings = settings(Some(StartTime::Earliest));
    assert_eq!(WindowScheduler::new(&settings, &state(vec![]), None).start, at(900_000));
    settings.spec.retention = Some(secs(50_000));
    assert_eq!(WindowScheduler::new(&settings, &state(vec![]), None).start, at(FIRST_START - 50_000));
}

#[test]
fn empty_slices_grow_and_a_deep_one_brings_them_back() {
    let mut scheduler = scheduler(Some(StartTime::Earliest), vec![]);
    let now = at(FIRST_START);
    let mut lengths = Vec::new();
    for id in 0..8 {
        let window = begun(scheduler.next_backfill(now));
        lengths.push(ranges::length(window.covers).as_secs() / 1_000);
        scheduler.opened(WindowId(id), window);
        if id < 6 {
            scheduler.completed(WindowId(id), now, 0);
        } else {
            let parts = scheduler.bisect(window).expect("long enough");
            scheduler.split(WindowId(id), [(WindowId(100), parts[0]), (WindowId(101), parts[1])]);
            scheduler.completed(WindowId(100), now, 5);
            scheduler.completed(WindowId(101), now, 5);
        }
    }
    assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 32, 1].map(|length: u64| length.min(32)));
}

#[test]
fn open_windows_first_then_a_due_recheck_then_the_next_slice() {
    let mut settings = settings(Some(StartTime::Earliest));
    settings.spec.recheck = Some(Recheck { interval: secs(600), lookback: secs(3_600) });
    let mut scheduler = WindowScheduler::new(&settings, &state(vec![range(FIRST_START, FIRST_START + 500)]), None);
    let soon = at(FIRST_START + 505);
    let slice = begun(scheduler.next_backfill(soon));
    assert_eq!(slice.kind, WindowKind::Backfill);
    scheduler.opened(WindowId(1), slice);
    let later = at(FIRST_START + 700);
    assert_eq!(scheduler.next_backfill(later), Some(Work::Resume(WindowId(1))));
    scheduler.completed(WindowId(1), later, 1);
    let recheck = begun(scheduler.next_backfill(later));
    assert_eq!(recheck.kind, WindowKind::Recheck);
    assert!(recheck.covers.is_empty());
    assert_eq!(recheck.fetch_range.to, at(FIRST_START + 500), "covered time only");
    scheduler.opened(WindowId(2), recheck);
    scheduler.completed(WindowId(2), later, 1);
    assert_eq!(begun(scheduler.next_backfill(later)).kind, WindowKind::Backfill);
}

#[test]
fn a_recheck_in_the_future_does_not_stop_rechecking() {
    let mut settings = settings(None);
    settings.spec.recheck = Some(Recheck { interval: secs(600), lookback: secs(3_600) });
    let mut state = state(vec![range(FIRST_START, FIRST_START + 500)]);
    state.last_recheck_at = Some(at(FIRST_START + 1_000_000));
    let scheduler = WindowScheduler::new(&settings, &state, None);
    assert_eq!(begun(scheduler.next_backfill(at(FIRST_START + 600))).kind, WindowKind::Recheck);
}

#[test]
fn a_bounded_run_is_done_when_all_is_covered_and_rechecked_once() {
    let mut settings = settings(None);
    settings.spec.recheck = Some(Recheck { interval: secs(600), lookback: secs(3_600) });
    let until = at(FIRST_START + 100);
    let mut scheduler = WindowScheduler::new(&settings, &state(vec![]), Some(until));
    let now = until + secs(5);
    assert!(!scheduler.is_done(now));
    let window = begun(scheduler.next_live(now, false));
    assert_eq!(window.covers, range(FIRST_START, FIRST_START + 100));
    scheduler.opened(WindowId(1), window);
    assert_eq!(scheduler.next_backfill(now), None);
    scheduler.completed(WindowId(1), now, 3);
    assert!(!scheduler.is_done(now));
    let recheck = begun(scheduler.next_backfill(now));
    scheduler.opened(WindowId(2), recheck);
    assert!(!scheduler.is_done(now));
    scheduler.completed(WindowId(2), now, 3);
    assert!(scheduler.is_done(now));
}

#[test]
fn windows_that_are_mostly_overlap_are_not_split() {
    let scheduler = scheduler(None, vec![]);
    let mostly_overlap = scheduler.window(WindowKind::Live, range(FIRST_START + 500, FIRST_START + 530));
    assert_eq!(scheduler.bisect(mostly_overlap), None);
    let long = scheduler.window(WindowKind::Live, range(FIRST_START + 500, FIRST_START + 800));
    let [first, second] = scheduler.bisect(long).expect("long enough");
    assert_eq!((first.covers.to, second.covers.from), (at(FIRST_START + 650), at(FIRST_START + 650)));
    assert!(second.fetch_range.from < second.covers.from, "the second part requests the overlap before it");
}

#[test]
fn day_filters_request_whole_days_and_split_at_midnight() {
    let mut settings = settings(Some(StartTime::At(at(100_000))));
    settings.spec.time_granularity = DAY;
    settings.spec.slice = DAY * 3;
    settings.spec.overlap = DAY;
    let scheduler = WindowScheduler::new(&settings, &state(vec![]), None);
    let window = begun(scheduler.next_backfill(at(FIRST_START)));
    assert_eq!(window.covers, TimeRange::new(at(100_000), Timestamp::EPOCH + DAY * 4));
    let the_day_before_the_start = Timestamp::EPOCH;
    assert_eq!(window.fetch_range, TimeRange::new(the_day_before_the_start, Timestamp::EPOCH + DAY * 4));
    let live = begun(scheduler.next_live(at(FIRST_START + 50), true));
    assert_eq!(live.covers, range(FIRST_START - 5, FIRST_START + 45));
    assert_eq!(live.fetch_range.to, live.fetch_range.to.floor_to(DAY));
}

/// What can happen to a source.
#[derive(Clone, Debug)]
enum Action {
    Time(i64),
    Begin(bool),
    Complete { pick: usize, records_read: u64 },
    Split(usize),
    Restart { start: Option<i64>, end: Option<i64> },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => (-50_i64..4_000).prop_map(Action::Time),
        6 => any::<bool>().prop_map(Action::Begin),
        6 => (0_usize..8, 0_u64..3).prop_map(|(pick, records_read)| Action::Complete { pick, records_read }),
        1 => (0_usize..8).prop_map(Action::Split),
        1 => (prop::option::of(-20_000_i64..2_000), prop::option::of(-5_000_i64..20_000))
            .prop_map(|(start, end)| Action::Restart { start, end }),
    ]
}

/// A source and its scheduler.
struct Harness {
    now: Timestamp,
    settings: SourceSettings,
    scheduler: WindowScheduler,
    next_id: i64,
}

impl Harness {
    fn new() -> Self {
        let settings = settings(None);
        let scheduler = WindowScheduler::new(&settings, &state(vec![]), None);
        Self { now: at(FIRST_START), settings, scheduler, next_id: 0 }
    }

    fn id(&mut self) -> WindowId {
        self.next_id += 1;
        WindowId(self.next_id)
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::Time(step) => self.now = Timestamp::from_nanos(self.now.as_nanos() + step * 1_000_000_000),
            Action::Begin(live) => self.begin(*live),
            Action::Complete { pick, records_read } => {
                if let Some(id) = self.pick(*pick) {
                    self.scheduler.completed(id, self.now, *records_read);
                }
            }
            Action::Split(pick) => self.split(*pick),
            Action::Restart { start, end } => self.restart(*start, *end),
        }
    }

    fn pick(&self, pick: usize) -> Option<WindowId> {
        let open = &self.scheduler.open;
        (!open.is_empty()).then(|| open[pick % open.len()].0)
    }

    fn begin(&mut self, live: bool) {
        let work = if live { self.scheduler.next_live(self.now, true) } else { self.scheduler.next_backfill(self.now) };
        let Some(Work::Begin(window)) = work else { return };
        assert!(!window.covers.is_empty(), "{window:?}");
        assert!(
            window.fetch_range.from <= window.covers.from && window.fetch_range.to >= window.covers.to,
            "{window:?}"
        );
        assert!(window.covers.from >= self.scheduler.start && window.covers.to <= self.now, "{window:?}");
        for taken in &self.scheduler.coverage {
            assert!(ranges::intersection(*taken, window.covers).is_empty(), "{window:?} is covered already");
        }
        for (_, other) in &self.scheduler.open {
            assert!(ranges::intersection(other.covers, window.covers).is_empty(), "{window:?} is open already");
        }
        let id = self.id();
        self.scheduler.opened(id, window);
    }

    fn split(&mut self, pick: usize) {
        let Some(id) = self.pick(pick) else { return };
        let whole = self.scheduler.window_of(id).expect("open");
        let Some(parts) = self.scheduler.bisect(whole) else { return };
        assert_eq!((parts[0].covers.from, parts[1].covers.to), (whole.covers.from, whole.covers.to));
        assert_eq!(parts[0].covers.to, parts[1].covers.from);
        assert!(!parts[0].covers.is_empty() && !parts[1].covers.is_empty());
        let ids = [self.id(), self.id()];
        self.scheduler.split(id, [(ids[0], parts[0]), (ids[1], parts[1])]);
    }

    fn restart(&mut self, start: Option<i64>, end: Option<i64>) {
        self.settings.backfill_start_time = start.map(|start| StartTime::At(at(FIRST_START + start)));
        self.settings.end_time = end.map(|end| at(FIRST_START + end));
        let open = self.scheduler.open.iter();
        let state = SourceState {
            coverage: self.scheduler.coverage.clone(),
            open: open.map(|(id, window)| OpenWindow { id: *id, window: *window, progress: None }).collect(),
            ..state(vec![])
        };
        self.scheduler = WindowScheduler::new(&self.settings, &state, None);
    }

    /// Does all the work that is left now.
    fn finish_all(&mut self) {
        for _ in 0..10_000 {
            match self.scheduler.next_live(self.now, true).or_else(|| self.scheduler.next_backfill(self.now)) {
                Some(Work::Resume(id)) => self.scheduler.completed(id, self.now, 1),
                Some(Work::Begin(window)) => self.begin(window.kind == WindowKind::Live),
                None => return,
            }
        }
        panic!("the work does not end");
    }
}

proptest! {
    /// Whatever happens in whatever order: no moment is scheduled twice, and in the end none is missing.
    #[test]
    fn covers_every_instant_of_the_wanted_range_exactly_once(actions in prop::collection::vec(action(), 0..80)) {
        let mut harness = Harness::new();
        for action in &actions {
            harness.apply(action);
        }
        harness.finish_all();
        let end = harness.scheduler.wanted_end(harness.now);
        prop_assert_eq!(harness.scheduler.missing_until(end), vec![]);
        prop_assert!(harness.scheduler.open.is_empty());
    }
}
