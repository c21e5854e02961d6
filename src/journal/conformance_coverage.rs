//! The rules of the contract about states of time, rechecks and evidence.

use super::conformance::{at, collect, complete, key_of, live, page, range, registration, source, visible, window};
use super::{
    AfterPage, Completion, CoverageState, DoubtfulTime, DueRecheck, EvidenceRow, Journal, JournalError, NewWindow,
    SinkStart, SourceId, SourceState, WindowEvidence, WindowKind,
};
use crate::time::{TimeRange, Timestamp};

const DAY: i64 = 86_400;

fn doubt(from: i64, to: i64) -> Completion {
    Completion {
        state: CoverageState::InDoubt,
        reasons: vec!["total".to_owned()],
        next_recheck_at: Some(at(to + 900)),
        ..Completion::covered(range(from, to), at(to))
    }
}

fn unreadable(from: i64, to: i64, error: &str) -> Completion {
    Completion { state: CoverageState::Unreadable, reasons: vec![format!("unreadable:{error}")], ..doubt(from, to) }
}

fn doubtful(from: i64, to: i64) -> DoubtfulTime {
    DoubtfulTime {
        range: range(from, to),
        state: CoverageState::InDoubt,
        reasons: vec!["total".to_owned()],
        doubts: 1,
        since: at(to),
        next_recheck_at: Some(at(to + 900)),
    }
}

/// Completes a window of one record per text.
async fn finish(journal: &dyn Journal, source: SourceId, opened: NewWindow, completion: Completion, records: &[&str]) {
    let id = window(journal, source, opened).await;
    let records: Vec<_> = records.iter().map(|raw| (*raw, Some(opened.covers.from.as_millis() / 1_000))).collect();
    journal.commit_page(page(id, &records, AfterPage::Complete(completion))).await.expect("commits");
}

fn recheck(from: i64, to: i64) -> NewWindow {
    NewWindow { kind: WindowKind::Recheck, ..live(from, to) }
}

async fn state(journal: &dyn Journal) -> SourceState {
    journal.open_source(registration("a")).await.expect("opens")
}

async fn rows(journal: &dyn Journal) -> Vec<EvidenceRow> {
    journal.evidence("a", TimeRange::ALL).await.expect("reads")
}

fn is_invalid_state<T>(result: &Result<T, JournalError>) -> bool {
    matches!(result, Err(JournalError::InvalidState(_)))
}

pub(crate) async fn time_in_doubt_is_delivered_and_not_covered(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    collect(journal, source, (0, 10), &["1"]).await;
    finish(journal, source, live(10, 20), doubt(10, 20), &["2"]).await;
    finish(journal, source, live(20, 30), doubt(20, 30), &["3"]).await;
    assert_eq!(visible(journal, source).await.len(), 3);
    let state = state(journal).await;
    assert_eq!(state.coverage, [range(0, 10)]);
    let one = DoubtfulTime { range: range(10, 30), ..doubtful(10, 20) };
    assert_eq!(state.in_doubt, [one], "windows that touch are one, with the earliest times");
    assert_eq!(state.decided(), [range(0, 30)]);
    assert!(is_invalid_state(&journal.add_windows(source, vec![live(15, 40)]).await), "it is not planned anew");
}

pub(crate) async fn only_the_time_of_the_verdict_is_covered(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    let shorter = Completion::covered(range(0, 60), at(100));
    finish(journal, source, live(0, 100), shorter, &["1", "2"]).await;
    assert_eq!(state(journal).await.coverage, [range(0, 60)]);
    assert_eq!(visible(journal, source).await.len(), 2);
    let rest = window(journal, source, live(60, 100)).await;
    let longer = AfterPage::Complete(Completion::covered(range(60, 101), at(100)));
    assert!(is_invalid_state(&journal.commit_page(page(rest, &[], longer)).await));
    let nothing = AfterPage::Complete(Completion::covered(range(60, 60), at(100)));
    journal.commit_page(page(rest, &[("3", Some(70))], nothing)).await.expect("commits");
    assert_eq!(state(journal).await.coverage, [range(0, 60)]);
    window(journal, source, live(60, 100)).await;
}

pub(crate) async fn a_recheck_that_agrees_ends_a_doubt(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    finish(journal, source, live(0, 10), doubt(0, 10), &["1"]).await;
    collect(journal, source, (10, 20), &["2"]).await;
    let again = Completion { at: at(500), next_recheck_at: Some(at(900)), ..doubt(0, 20) };
    finish(journal, source, recheck(0, 20), again, &["found"]).await;
    let found = state(journal).await;
    assert_eq!(found.coverage, []);
    let doubts: Vec<_> = found.in_doubt.iter().map(|time| (time.range, time.doubts, time.since)).collect();
    assert_eq!(doubts, [(range(0, 10), 2, at(10)), (range(10, 20), 1, at(500))]);
    let counted: Vec<_> = rows(journal).await.iter().map(|row| (row.windows, row.rechecked, row.found)).collect();
    assert_eq!(counted, [(1, 1, 1), (1, 1, 0)], "the record that was found is of the first window");
    let agrees = Completion::covered(range(0, 20), at(1_000));
    finish(journal, source, recheck(0, 20), agrees, &[]).await;
    let found = state(journal).await;
    assert_eq!((found.coverage, found.in_doubt, found.last_recheck_at), (vec![range(0, 20)], vec![], Some(at(1_000))));
}

pub(crate) async fn a_recheck_changes_only_the_time_that_it_covers(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    finish(journal, source, live(0, 10), doubt(0, 10), &["1"]).await;
    finish(journal, source, recheck(4, 50), Completion::covered(range(4, 6), at(100)), &[]).await;
    let found = state(journal).await;
    assert_eq!(found.coverage, [range(4, 6)], "and adds no coverage");
    let ranges: Vec<_> = found.in_doubt.iter().map(|time| time.range).collect();
    assert_eq!(ranges, [range(0, 4), range(6, 10)]);
    assert_eq!(rows(journal).await.iter().map(|row| row.events).sum::<u64>(), 1);
}

pub(crate) async fn a_recheck_that_cannot_read_changes_no_state(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    collect(journal, source, (0, 10), &["1"]).await;
    finish(journal, source, live(10, 20), doubt(10, 20), &[]).await;
    finish(journal, source, live(20, 30), unreadable(20, 30, "500"), &[]).await;
    let unread = Completion {
        state: CoverageState::Unreadable,
        reasons: vec!["unreadable:502".to_owned()],
        next_recheck_at: Some(at(2_000)),
        ..Completion::covered(range(0, 30), at(1_000))
    };
    finish(journal, source, recheck(0, 30), unread, &[]).await;
    let found: Vec<_> = rows(journal).await.into_iter().map(|row| (row.state, row.reasons, row.doubts)).collect();
    assert_eq!(
        found,
        [
            (CoverageState::Covered, vec![], 0),
            (CoverageState::InDoubt, vec!["total".to_owned()], 2),
            (CoverageState::Unreadable, vec!["unreadable:502".to_owned()], 2),
        ]
    );
    let evidence = WindowEvidence { pages: 7, ..WindowEvidence::default() };
    let read = Completion { evidence: evidence.clone(), ..Completion::covered(range(20, 30), at(2_000)) };
    finish(journal, source, recheck(20, 30), read, &["2"]).await;
    let row = rows(journal).await.pop().expect("a row");
    assert_eq!((row.state, row.since, row.evidence), (CoverageState::Covered, at(2_000), evidence));
}

pub(crate) async fn what_a_source_has_learned_is_kept(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    for (from, learned, kept) in [(0, None, None), (10, Some("{}"), Some("{}")), (20, None, Some("{}"))] {
        let learned = learned.map(str::to_owned);
        let done = Completion { learned, ..Completion::covered(range(from, from + 10), at(from)) };
        finish(journal, source, live(from, from + 10), done, &[]).await;
        assert_eq!(state(journal).await.learned.as_deref(), kept);
    }
}

pub(crate) async fn unreadable_time_lets_newer_windows_go_on(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    let bad = window(journal, source, live(0, 10)).await;
    let more = window(journal, source, live(10, 30)).await;
    journal.commit_page(page(bad, &[("read before", Some(1))], AfterPage::Continue)).await.expect("commits");
    let gives_up = AfterPage::Complete(unreadable(0, 10, "500: boom"));
    journal.commit_page(page(bad, &[], gives_up)).await.expect("commits");
    assert_eq!(visible(journal, source).await, [(1, "read before".to_owned())]);
    journal.commit_page(page(more, &[], complete(10, 30))).await.expect("commits");
    let found = state(journal).await;
    let reasons = vec!["unreadable:500: boom".to_owned()];
    let unreadable = DoubtfulTime { state: CoverageState::Unreadable, reasons, ..doubtful(0, 10) };
    assert_eq!((found.coverage, found.in_doubt), (vec![range(10, 30)], vec![unreadable]));
}

pub(crate) async fn what_is_due_is_read_in_large_slices(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    for from in [0, 10, 30] {
        let completion =
            Completion { next_recheck_at: Some(at(100)), ..Completion::covered(range(from, from + 10), at(50)) };
        finish(journal, source, live(from, from + 10), completion, &[]).await;
    }
    finish(journal, source, live(40, 50), doubt(40, 50), &[]).await;
    let due = async |now, limit| journal.due_rechecks(source, at(now), limit).await.expect("reads");
    assert_eq!(due(99, 9).await, []);
    let covered = |from, to| DueRecheck {
        range: range(from, to),
        state: CoverageState::Covered,
        doubts: 0,
        completed_at: at(50),
    };
    assert_eq!(due(100, 9).await, [covered(0, 20), covered(30, 40)]);
    let in_doubt = DueRecheck { state: CoverageState::InDoubt, doubts: 1, ..covered(40, 50) };
    assert_eq!(due(950, 2).await, [in_doubt, covered(0, 20)], "doubt comes first");
    finish(journal, source, recheck(0, 20), Completion::covered(range(0, 20), at(960)), &[]).await;
    assert_eq!(due(970, 9).await.len(), 2, "what was read again is not due any more");
}

pub(crate) async fn an_operator_accepts_doubt(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    collect(journal, source, (0, 10), &[]).await;
    finish(journal, source, live(10, 20), doubt(10, 20), &[]).await;
    finish(journal, source, live(20, 30), doubt(20, 30), &[]).await;
    assert_eq!(journal.accept("a", range(0, 25)).await.expect("accepts"), 2);
    let found = state(journal).await;
    assert_eq!((found.coverage, found.in_doubt.len()), (vec![range(0, 25)], 1));
    assert_eq!(journal.due_rechecks(source, Timestamp::MAX, 9).await.expect("reads").len(), 1);
    let reasons: Vec<_> = rows(journal).await.into_iter().map(|row| row.reasons.join(" ")).collect();
    assert_eq!(reasons, ["", "total accepted", "total accepted", "total"]);
    assert_eq!(journal.accept("a", range(0, 25)).await.expect("accepts"), 0);
    assert!(is_invalid_state(&journal.accept("unknown", range(0, 25)).await));
}

pub(crate) async fn coverage_is_cut_back(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    collect(journal, source, (0, 10), &["1"]).await;
    collect(journal, source, (10, 20), &["2"]).await;
    finish(journal, source, live(20, 30), doubt(20, 30), &["3"]).await;
    journal.cut_coverage(source, at(15)).await.expect("cuts");
    let found = state(journal).await;
    assert_eq!((found.coverage, found.in_doubt), (vec![range(0, 15)], vec![]));
    assert_eq!(journal.keys_within(source, range(0, 30)).await.expect("reads").len(), 3);
    assert_eq!(visible(journal, source).await.len(), 3);
    window(journal, source, live(15, 30)).await;
}

/// Else what is read again would be delivered again.
pub(crate) async fn coverage_without_keys_is_not_cut_back(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    journal.open_sink("x", SinkStart::Beginning).await.expect("opens");
    collect(journal, source, (0, 10 * DAY), &[]).await;
    let opened = window(journal, source, live(10 * DAY, 20 * DAY)).await;
    let record = [("1", Some(15 * DAY))];
    journal.commit_page(page(opened, &record, complete(10 * DAY, 20 * DAY))).await.expect("commits");
    journal.trim(at(0), Timestamp::MAX).await.expect("trims");
    assert!(journal.keys_within(source, TimeRange::ALL).await.expect("reads").is_empty());
    assert!(is_invalid_state(&journal.cut_coverage(source, at(12 * DAY)).await));
    journal.cut_coverage(source, at(19 * DAY)).await.expect("cuts");
    assert_eq!(state(journal).await.coverage, [range(0, 19 * DAY)]);
}

pub(crate) async fn evidence_is_stored(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    let kept = NewWindow { kept: range(2, 90), ..live(0, 10) };
    let evidence = WindowEvidence {
        pages: 3,
        requests: 4,
        records_read: 250,
        keys: 240,
        scans: 2,
        first_total: Some(240),
        last_total: Some(241),
        shift: 1,
        gone: 2,
        ended_by: "short_page".to_owned(),
        checks: vec!["total".to_owned()],
        kept: kept.kept,
        settings_hash: "ab".to_owned(),
        skew_millis: -20,
    };
    finish(journal, source, kept, Completion { evidence: evidence.clone(), ..doubt(0, 10) }, &["1"]).await;
    collect(journal, source, (10, 20), &[]).await;
    let found = journal.evidence("a", range(9, 10)).await.expect("reads");
    let [row] = found.as_slice() else { panic!("one row, not {found:?}") };
    assert_eq!((row.kind, row.covers, row.events, row.first_time), (WindowKind::Live, range(0, 10), 1, Some(at(0))));
    assert_eq!((&row.evidence, row.completed_at, row.next_recheck_at), (&evidence, at(10), Some(at(910))));
    assert_eq!(rows(journal).await.len(), 2);
}

pub(crate) async fn keys_are_kept_where_time_can_be_read_again(journal: &dyn Journal) {
    let source = source(journal, "a").await;
    let days = |day: i64| range(day * DAY, (day + 10) * DAY);
    for (day, completion) in [
        (0, Completion::covered(days(0), at(0))),
        (10, Completion::covered(days(10), at(0))),
        (20, Completion { state: CoverageState::InDoubt, ..Completion::covered(days(20), at(0)) }),
        (30, Completion { next_recheck_at: Some(at(0)), ..Completion::covered(days(30), at(0)) }),
        // The window read ten days, of which one counts: the rest is read again.
        (40, Completion::covered(range(40 * DAY, 41 * DAY), at(0))),
        (50, Completion { state: CoverageState::Unreadable, ..Completion::covered(days(50), at(0)) }),
    ] {
        let opened = window(journal, source, live(day * DAY, (day + 10) * DAY)).await;
        let text = day.to_string();
        let record = [(text.as_str(), Some((day + 5) * DAY))];
        journal.commit_page(page(opened, &record, AfterPage::Complete(completion))).await.expect("commits");
    }
    journal.trim(at(0), Timestamp::MAX).await.expect("trims");
    let mut kept = journal.keys_within(source, TimeRange::ALL).await.expect("reads");
    kept.sort_by_key(|key| key.timestamp);
    let wanted: Vec<_> = [20, 30, 40, 50].map(|day: i64| key_of(&day.to_string(), Some((day + 5) * DAY))).into();
    assert_eq!(kept, wanted);
    for day in [20, 30] {
        finish(journal, source, recheck(day * DAY, (day + 10) * DAY), Completion::covered(days(day), at(0)), &[]).await;
    }
    journal.trim(at(0), Timestamp::MAX).await.expect("trims");
    let kept = journal.keys_within(source, range(0, 40 * DAY)).await.expect("reads");
    assert_eq!(kept, [], "once no recheck is due and nothing is in doubt, they are deleted");
}
