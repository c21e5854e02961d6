use proptest::prelude::*;

use super::*;
use tokio::time::Instant;

use crate::collect::monitors::{ClockMonitor, PollMonitor};
use crate::collect::options::{IgnoredChecks, StartTime};
use crate::collect::tests::example_spec;
use crate::collect::{Overlap, TlsOptions};
use crate::journal::{CoverageState, OpenWindow, SourceId};
use crate::vendors::Recheck;

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
        overlap: Overlap::Fixed(spec.overlap),
        spec,
        rate_limit_group: None,
        recheck_after: None,
        ignore_checks: IgnoredChecks::default(),
        tls: TlsOptions::default(),
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
        learned: None,
        last_recheck_at: None,
        rewound_to: None,
        former_normalizer_config: None,
    }
}

fn scheduler(start: Option<StartTime>, coverage: Vec<TimeRange>) -> WindowScheduler {
    WindowScheduler::new(&settings(start), &state(coverage), None)
}

/// Completes a window with all that it covers.
fn complete(scheduler: &mut WindowScheduler, id: WindowId, now: Timestamp, records_read: u64) {
    let covers = scheduler.window_of(id).expect("open").covers;
    scheduler.completed(id, covers, now, records_read);
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
        complete(&mut scheduler, WindowId(i64::from(tick)), now, 1);
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
            complete(&mut scheduler, WindowId(id), now, 0);
        } else {
            let parts = scheduler.bisect(window).expect("long enough");
            scheduler.split(WindowId(id), [(WindowId(100), parts[0]), (WindowId(101), parts[1])]);
            complete(&mut scheduler, WindowId(100), now, 5);
            complete(&mut scheduler, WindowId(101), now, 5);
        }
    }
    assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 32, 1].map(|length: u64| length.min(32)));
}

fn paused(windows: &[WindowId], records_of_each: usize) -> Paused {
    Paused { windows: windows.to_vec(), records: windows.len() * records_of_each, begun: windows.to_vec() }
}

#[test]
fn backfill_goes_on_while_windows_wait_for_their_next_scan() {
    let mut scheduler = scheduler(Some(StartTime::At(at(900_000))), Vec::new());
    let mut open = Vec::new();
    for number in 0..10 {
        let Some(Work::Begin(window)) = scheduler.next_backfill(at(FIRST_START)) else { break };
        open.push(WindowId(number));
        scheduler.opened(WindowId(number), window);
        scheduler.set_paused(paused(&open, 1));
    }
    assert_eq!((open.len(), scheduler.next_backfill(at(FIRST_START))), (MOST_PAUSED, None));
    scheduler.set_paused(paused(&open[..3], 1));
    assert_eq!(scheduler.next_backfill(at(FIRST_START)), Some(Work::Resume(WindowId(3))));
    let much = Paused { begun: Vec::new(), ..paused(&open[..3], MOST_PAUSED_RECORDS) };
    scheduler.set_paused(much.clone());
    assert_eq!(scheduler.next_backfill(at(FIRST_START)), None, "their keys are in memory");
    scheduler.set_paused(Paused { begun: vec![WindowId(5)], ..much });
    assert_eq!(scheduler.next_backfill(at(FIRST_START)), Some(Work::Resume(WindowId(5))), "so are those of this one");
    let Some(Work::Begin(live)) = scheduler.next_live(at(FIRST_START + 100), true) else { panic!("no live window") };
    scheduler.opened(WindowId(90), live);
    scheduler.set_paused(paused(&[WindowId(90)], 1));
    assert_eq!(scheduler.next_live(at(FIRST_START + 9_000), true), None, "it would read the same time again");
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
    complete(&mut scheduler, WindowId(1), later, 1);
    let recheck = begun(scheduler.next_backfill(later));
    assert_eq!(recheck.kind, WindowKind::Recheck);
    assert!(recheck.covers.is_empty());
    assert_eq!(recheck.fetch_range.to, at(FIRST_START + 500), "covered time only");
    scheduler.opened(WindowId(2), recheck);
    complete(&mut scheduler, WindowId(2), later, 1);
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
    complete(&mut scheduler, WindowId(1), now, 3);
    assert!(!scheduler.is_done(now));
    let recheck = begun(scheduler.next_backfill(now));
    scheduler.opened(WindowId(2), recheck);
    assert!(!scheduler.is_done(now));
    complete(&mut scheduler, WindowId(2), now, 3);
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
    assert_eq!(window.fetch_range, TimeRange::new(the_day_before_the_start, Timestamp::EPOCH + DAY * 5));
    let live = begun(scheduler.next_live(at(FIRST_START + 50), true));
    assert_eq!(live.covers, range(FIRST_START - 5, FIRST_START + 45));
    assert_eq!(live.fetch_range.to, live.fetch_range.to.floor_to(DAY));
}

/// The vendor's days may begin 14 hours before ours, and the last day of a request may not count.
#[test]
fn day_filters_request_the_days_of_every_zone() {
    let mut settings = settings(Some(StartTime::At(at(0))));
    settings.spec.time_granularity = DAY;
    settings.spec.overlap = DAY;
    let scheduler = WindowScheduler::new(&settings, &state(vec![]), None);
    let hours = |hours: u64| Timestamp::EPOCH + DAY * 20 + secs(hours * 3_600);
    let end_at = |to| scheduler.window(WindowKind::Live, TimeRange::new(hours(0), to)).fetch_range.to;
    assert_eq!(end_at(hours(10)), hours(24), "at 10:00 no zone has a later day");
    assert_eq!(end_at(hours(10) + secs(1)), hours(48));
    assert_eq!(end_at(hours(24)), hours(48));
}

#[test]
fn the_last_overlap_is_read_again_at_the_end() {
    let mut settings = settings(None);
    settings.end_time = Some(at(FIRST_START + 100));
    let mut scheduler = WindowScheduler::new(&settings, &state(vec![]), None);
    let polled = begun(scheduler.next_live(at(FIRST_START + 106), true));
    assert_eq!(polled.covers.to.floor_to(secs(1)), at(FIRST_START + 99));
    scheduler.opened(WindowId(1), polled);
    complete(&mut scheduler, WindowId(1), at(FIRST_START + 106), 1);
    assert_eq!(scheduler.next_live(at(FIRST_START + 130), false), None);
    let polled = begun(scheduler.next_live(at(FIRST_START + 130), true));
    assert!(polled.fetch_range.from <= at(FIRST_START + 40) && polled.covers.to < at(FIRST_START + 100), "{polled:?}");
    scheduler.opened(WindowId(2), polled);
    complete(&mut scheduler, WindowId(2), at(FIRST_START + 130), 1);
    assert!(!scheduler.is_done(at(FIRST_START + 159)));
    assert_eq!(scheduler.last_poll_at(), Some(at(FIRST_START + 160)));
    let last = begun(scheduler.next_live(at(FIRST_START + 160), false));
    assert_eq!(last.covers.to, at(FIRST_START + 100));
    assert!(last.fetch_range.from <= at(FIRST_START + 40), "{last:?}");
    scheduler.opened(WindowId(3), last);
    complete(&mut scheduler, WindowId(3), at(FIRST_START + 160), 1);
    assert!(scheduler.is_done(at(FIRST_START + 160)));
}

#[test]
fn one_run_does_not_wait_for_the_last_overlap() {
    let mut settings = settings(None);
    settings.end_time = Some(at(FIRST_START + 100));
    let scheduler = |until| WindowScheduler::new(&settings, &state(vec![range(FIRST_START, FIRST_START + 99)]), until);
    let early = begun(scheduler(Some(at(FIRST_START + 154))).next_live(at(FIRST_START + 159), false));
    assert!(early.covers.to < at(FIRST_START + 100), "the next run reads the rest");
    assert!(early.fetch_range.from <= at(FIRST_START + 40), "{early:?}");
    let late = begun(scheduler(Some(at(FIRST_START + 155))).next_live(at(FIRST_START + 160), false));
    assert_eq!(late.covers, range(FIRST_START + 99, FIRST_START + 100));
}

fn open_state(window: NewWindow) -> SourceState {
    SourceState { open: vec![OpenWindow { id: WindowId(1), window, progress: None }], ..state(vec![]) }
}

#[test]
fn windows_are_discarded_if_settings_change_what_they_keep() {
    let starting = |secs: i64| settings(Some(StartTime::At(at(FIRST_START - secs))));
    let first = WindowScheduler::new(&starting(5_000), &state(vec![]), None);
    let slice = begun(first.next_backfill(at(FIRST_START)));
    assert_eq!(slice.kept.from, at(FIRST_START - 5_000));
    let is_outdated = |settings: &SourceSettings| has_outdated(settings, &open_state(slice));
    assert!(!is_outdated(&starting(5_000)));
    assert!(is_outdated(&starting(4_500)), "a part is no longer wanted");
    assert!(is_outdated(&starting(1_000)), "none is wanted");
    assert!(is_outdated(&starting(5_010)), "the overlap before it was dropped, and is wanted now");
    let ending = |secs: i64| SourceSettings { end_time: Some(at(FIRST_START - secs)), ..starting(5_000) };
    assert!(is_outdated(&ending(4_500)));
    assert!(!is_outdated(&ending(3_000)), "after its time");
    let later = WindowScheduler::new(&starting(4_500), &open_state(slice), None);
    assert_eq!(begun(later.next_backfill(at(FIRST_START))).covers, range(FIRST_START - 4_500, FIRST_START - 3_500));
}

fn due(range: TimeRange) -> DueRecheck {
    DueRecheck { range, state: CoverageState::InDoubt, doubts: 1, completed_at: at(FIRST_START) }
}

#[test]
fn due_time_is_read_again_one_window_at_a_time() {
    let start = Some(StartTime::At(at(FIRST_START - 3_500)));
    let mut scheduler = scheduler(start, vec![range(FIRST_START - 3_000, FIRST_START + 500)]);
    let now = at(FIRST_START + 505);
    scheduler
        .recheck(&[due(range(FIRST_START - 9_000, FIRST_START - 1_500)), due(range(FIRST_START, FIRST_START + 9))]);
    let slice = begun(scheduler.next_backfill(now));
    assert_eq!((slice.kind, slice.covers), (WindowKind::Backfill, range(FIRST_START - 3_500, FIRST_START - 3_000)));
    scheduler.opened(WindowId(1), slice);
    complete(&mut scheduler, WindowId(1), now, 1);
    let mut read = Vec::new();
    for id in 2..10 {
        let Some(work) = scheduler.next_due() else { break };
        let window = begun(Some(work));
        assert_eq!((window.kind, window.kept), (WindowKind::Recheck, window.covers));
        scheduler.opened(WindowId(id), window);
        assert_eq!(scheduler.next_due(), Some(Work::Resume(WindowId(id))));
        assert_eq!(scheduler.next_backfill(now), None);
        assert_eq!(scheduler.due_of(&window).map(|due| due.doubts), Some(1));
        complete(&mut scheduler, WindowId(id), now, 1);
        read.push(window.covers);
    }
    let expected = [(-3_500, -2_500), (-2_500, -1_500), (0, 9)];
    assert_eq!(read, expected.map(|(from, to)| range(FIRST_START + from, FIRST_START + to)));
    assert!(!scheduler.has_due());
}

#[test]
fn coverage_ahead_of_the_clock_is_read_again() {
    let mut scheduler = scheduler(None, vec![range(FIRST_START, FIRST_START + 500)]);
    assert_eq!(scheduler.cut_for_clock(at(FIRST_START + 496)), None);
    assert_eq!(scheduler.cut_for_clock(at(FIRST_START - 1)), None, "the clock is wrong now");
    let from = scheduler.cut_for_clock(at(FIRST_START + 400)).expect("ahead");
    assert_eq!(from, at(FIRST_START + 395));
    scheduler.cut(from);
    assert_eq!(scheduler.cut_for_clock(at(FIRST_START + 400)), None);
    let window = begun(scheduler.next_live(at(FIRST_START + 430), true));
    assert_eq!(window.covers, range(FIRST_START + 395, FIRST_START + 425));
}

#[test]
fn backfill_gets_a_page_for_three_of_a_live_window() {
    let scheduler = scheduler(Some(StartTime::Earliest), vec![]);
    let live = scheduler.next_live(at(FIRST_START + 65), true);
    let backfill = scheduler.next_backfill(at(FIRST_START + 65));
    let mut polls = PollMonitor::default();
    let first = |polls: &PollMonitor, live| polls.order(live, backfill)[0].0;
    assert_eq!(first(&polls, live), Priority::Live);
    polls.live_began(Instant::now());
    assert_eq!(first(&polls, Some(Work::Resume(WindowId(1)))), Priority::Live, "a live window is read to its end");
    assert_eq!(first(&polls, live), Priority::Backfill);
    polls.page_requested(WindowKind::Live);
    assert_eq!(first(&polls, live), Priority::Backfill);
    polls.page_requested(WindowKind::Backfill);
    assert_eq!(first(&polls, live), Priority::Live);
    polls.live_began(Instant::now());
    (0..7).for_each(|_| polls.page_requested(WindowKind::Live));
    polls.page_requested(WindowKind::Backfill);
    assert_eq!(first(&polls, live), Priority::Backfill);
    polls.page_requested(WindowKind::Backfill);
    assert_eq!(first(&polls, live), Priority::Live);
}

#[test]
fn polls_longer_than_their_interval_are_reported_once_an_hour() {
    let settings = settings(None);
    let scheduler = scheduler(None, vec![]);
    let poll = scheduler.window(WindowKind::Live, range(FIRST_START, FIRST_START + 60));
    let slice = scheduler.window(WindowKind::Live, range(FIRST_START, FIRST_START + 1_000));
    let mut polls = PollMonitor::default();
    let begin = Instant::now();
    let mut took = |window: &NewWindow, after: u64, seconds: u64| {
        polls.live_began(begin + secs(after));
        polls.live_completed(window, &settings.spec, begin + secs(after + seconds))
    };
    assert!(!took(&poll, 0, 30), "as long as the interval");
    assert!(!took(&slice, 0, 500), "catching up");
    assert!(took(&poll, 0, 31));
    assert!(!took(&poll, 3_000, 100));
    assert!(took(&poll, 3_600, 100));
}

/// What can happen to a source.
#[derive(Clone, Debug)]
enum Action {
    Time(i64),
    Begin(bool),
    Complete { pick: usize, records_read: u64, cut_off: bool },
    Split(usize),
    CutForClock,
    Due { from: i64, length: i64 },
    Restart { start: Option<i64>, end: Option<i64>, overlap: u64 },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => (-50_i64..4_000).prop_map(Action::Time),
        6 => any::<bool>().prop_map(Action::Begin),
        6 => (0_usize..8, 0_u64..3, prop::bool::weighted(0.2))
            .prop_map(|(pick, records_read, cut_off)| Action::Complete { pick, records_read, cut_off }),
        1 => (0_usize..8).prop_map(Action::Split),
        1 => Just(Action::CutForClock),
        1 => (-20_000_i64..20_000, 1_i64..5_000).prop_map(|(from, length)| Action::Due { from, length }),
        2 => (prop::option::of(-20_000_i64..2_000), prop::option::of(-5_000_i64..20_000), 0_u64..200)
            .prop_map(|(start, end, overlap)| Action::Restart { start, end, overlap }),
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
            Action::Complete { pick, records_read, cut_off } => {
                if let Some(id) = self.pick(*pick) {
                    self.complete(id, *records_read, *cut_off);
                }
            }
            Action::Split(pick) => self.split(*pick),
            Action::CutForClock => {
                if let Some(from) = self.scheduler.cut_for_clock(self.now) {
                    self.scheduler.cut(from);
                }
            }
            Action::Due { from, length } => self.due(range(FIRST_START + from, FIRST_START + from + length)),
            Action::Restart { start, end, overlap } => self.restart(*start, *end, *overlap),
        }
    }

    fn pick(&self, pick: usize) -> Option<WindowId> {
        let open = &self.scheduler.open;
        (!open.is_empty()).then(|| open[pick % open.len()].0)
    }

    fn begin(&mut self, live: bool) {
        let past = || self.scheduler.next_backfill(self.now).or_else(|| self.scheduler.next_due());
        let work = if live { self.scheduler.next_live(self.now, true) } else { past() };
        let Some(Work::Begin(window)) = work else { return };
        assert!(!window.covers.is_empty(), "{window:?}");
        assert!(
            window.fetch_range.from <= window.covers.from && window.fetch_range.to >= window.covers.to,
            "{window:?}"
        );
        assert!(window.covers.from >= self.scheduler.start && window.covers.to <= self.now, "{window:?}");
        assert!(self.settings.end_time.is_none_or(|end| window.covers.to <= end), "{window:?}");
        if window.kind == WindowKind::Recheck {
            assert!(self.scheduler.open.iter().all(|(_, other)| other.kind != WindowKind::Recheck), "one at a time");
        } else {
            self.assert_is_new(&window);
        }
        let id = self.id();
        self.scheduler.opened(id, window);
    }

    fn assert_is_new(&self, window: &NewWindow) {
        for taken in &self.scheduler.coverage {
            assert!(ranges::intersection(*taken, window.covers).is_empty(), "{window:?} is covered already");
        }
        for (_, other) in self.scheduler.open.iter().filter(|(_, other)| other.kind != WindowKind::Recheck) {
            assert!(ranges::intersection(other.covers, window.covers).is_empty(), "{window:?} is open already");
        }
    }

    /// Time counts only if the window kept its records.
    fn complete(&mut self, id: WindowId, records_read: u64, cut_off: bool) {
        let window = self.scheduler.window_of(id).expect("open");
        assert_eq!(ranges::intersection(window.covers, window.kept), window.covers, "{window:?}");
        let half = window.covers.from + ranges::length(window.covers) / 2;
        let to = if cut_off { half } else { window.covers.to };
        self.scheduler.completed(id, TimeRange::new(window.covers.from, to), self.now, records_read);
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

    /// The part of a range that is covered is due.
    fn due(&mut self, range: TimeRange) {
        let covered = self.scheduler.coverage.iter().map(|covered| ranges::intersection(*covered, range));
        let covered: Vec<DueRecheck> = covered.filter(|range| !range.is_empty()).map(due).collect();
        self.scheduler.recheck(&covered);
    }

    fn restart(&mut self, start: Option<i64>, end: Option<i64>, overlap: u64) {
        self.settings.backfill_start_time = start.map(|start| StartTime::At(at(FIRST_START + start)));
        self.settings.end_time = end.map(|end| at(FIRST_START + end));
        self.settings.spec.overlap = secs(overlap);
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
            let past = || self.scheduler.next_backfill(self.now).or_else(|| self.scheduler.next_due());
            match self.scheduler.next_live(self.now, true).or_else(past) {
                Some(Work::Resume(id)) => self.complete(id, 1, false),
                Some(Work::Begin(window)) => self.begin(window.kind == WindowKind::Live),
                None => return,
            }
        }
        panic!("the work does not end");
    }
}

/// A clock that is behind the first start, then other settings: the last second before the clock waits for the next poll.
#[test]
fn nothing_is_missing_once_a_clock_is_right_again() {
    let mut harness = Harness::new();
    harness.apply(&Action::Time(-20));
    harness.apply(&Action::Restart { start: Some(-5_026), end: None, overlap: 0 });
    harness.finish_all();
    let missing = |harness: &Harness| harness.scheduler.missing_until(harness.scheduler.wanted_end(harness.now));
    assert!(missing(&harness).iter().all(|gap| ranges::length(*gap) < harness.settings.spec.poll_interval));
    harness.apply(&Action::Time(20));
    harness.finish_all();
    assert_eq!(missing(&harness), []);
}

proptest! {
    /// Whatever happens in whatever order, and however the settings change between restarts: no moment is scheduled
    /// twice, none counts that its window did not keep, and in the end none is missing.
    #[test]
    fn covers_every_instant_of_the_wanted_range_exactly_once(actions in prop::collection::vec(action(), 0..80)) {
        let mut harness = Harness::new();
        for action in &actions {
            harness.apply(action);
        }
        // While the clock is behind, what is missing at the clock waits for the next poll.
        harness.now = harness.now.max(harness.scheduler.head() + harness.settings.spec.delay);
        harness.finish_all();
        let end = harness.scheduler.wanted_end(harness.now);
        prop_assert_eq!(harness.scheduler.missing_until(end), vec![]);
        prop_assert!(harness.scheduler.open.is_empty() && !harness.scheduler.has_due());
    }
}

#[tokio::test(start_paused = true)]
async fn clocks_that_differ_are_reported_once_an_hour() {
    let mut monitor = ClockMonitor::default();
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    assert!(!monitor.check(Duration::from_secs(3), Instant::now()));
    assert!(!monitor.check_skew(Duration::from_secs(20), minutes(1), Instant::now()));
    assert!(monitor.check(minutes(2), Instant::now()));
    assert!(monitor.check_skew(minutes(2), minutes(1), Instant::now()));
    tokio::time::advance(minutes(59)).await;
    assert!(!monitor.check(minutes(2), Instant::now()));
    assert!(!monitor.check_skew(minutes(2), minutes(1), Instant::now()));
    tokio::time::advance(minutes(2)).await;
    assert!(monitor.check(minutes(2), Instant::now()));
    assert!(monitor.check_skew(minutes(2), minutes(1), Instant::now()));
}

#[test]
fn what_the_clock_has_not_reached_is_backfilled_poll_by_poll() {
    let covered = range(FIRST_START - 1_000, FIRST_START - 65);
    let scheduler = scheduler(Some(StartTime::At(covered.from)), vec![covered]);
    assert_eq!(scheduler.next_backfill(at(FIRST_START - 59)), None, "a second is not worth a request");
    let window = begun(scheduler.next_backfill(at(FIRST_START - 30)));
    assert_eq!(window.covers, range(FIRST_START - 65, FIRST_START - 35));
    let rest = begun(scheduler.next_backfill(at(FIRST_START)));
    assert_eq!(rest.covers, range(FIRST_START - 65, FIRST_START - 5));
}
