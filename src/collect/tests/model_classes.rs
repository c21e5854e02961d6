//! The classes of vendors that the model test runs: each changes a few things about a plain vendor, and promises what
//! becomes of its records.

use fastrand::Rng;

use super::model_vendor::{Behavior, Clamp, FIRST_START, MODEL_DAY, Paging, Total};
use crate::vendors::RecordOrder;

/// What must hold at the end of every seed of a class. Nothing is ever delivered twice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Promise {
    /// Everything is covered, nothing is lost, nothing is in doubt.
    Healthy,
    /// As healthy, but at most this percentage of the time ends in doubt: what disagreed when it was read is gone when it is
    /// due again.
    FewDoubts(f64),
    /// All time is covered or in doubt, and nothing is lost in silence.
    NoSilentLoss,
    /// Nothing is lost in silence: what cannot be read is a gap.
    Gaps,
    /// The behavior leaves no trace in any answer: silent loss is measured, in at most this percentage of the seeds.
    Measured(f64),
}

/// A kind of vendor.
pub(super) struct Class {
    pub(super) name: &'static str,
    pub(super) promise: Promise,
    set: fn(&mut Behavior, &mut Rng),
}

impl Class {
    /// The vendor of one seed.
    pub(super) fn behavior(&self, rng: &mut Rng) -> Behavior {
        let mut behavior = Behavior::plain();
        (self.set)(&mut behavior, rng);
        if behavior.granularity == MODEL_DAY {
            // Whole days have rules of their own, so a day must last a day.
            behavior.unit = 86_400 / MODEL_DAY;
        }
        behavior
    }
}

/// Every class: healthy vendors, faulty ones, and mixtures.
pub(super) fn all() -> impl Iterator<Item = &'static Class> {
    HEALTHY.iter().chain([&MIXED_HEALTHY]).chain(FAULTY).chain([&MIXED_FAULTY])
}

const fn healthy(name: &'static str, set: fn(&mut Behavior, &mut Rng)) -> Class {
    Class { name, promise: Promise::Healthy, set }
}

const fn faulty(name: &'static str, set: fn(&mut Behavior, &mut Rng)) -> Class {
    Class { name, promise: Promise::NoSilentLoss, set }
}

const fn unreadable(name: &'static str, set: fn(&mut Behavior, &mut Rng)) -> Class {
    Class { name, promise: Promise::Gaps, set }
}

const fn traceless(name: &'static str, max_percent: f64, set: fn(&mut Behavior, &mut Rng)) -> Class {
    Class { name, promise: Promise::Measured(max_percent), set }
}

static MIXED_HEALTHY: Class = healthy("mixed healthy", mix);
static MIXED_FAULTY: Class = traceless("mixed faulty", 1.0, mix_faults);

fn busy(b: &mut Behavior) {
    (b.sends_end, b.rate) = (false, 0.4);
}

fn paged(b: &mut Behavior, paging: Paging, total: Total) {
    (b.paging, b.total) = (paging, total);
}

/// Vendors that do nothing wrong.
static HEALTHY: &[Class] = &[
    healthy("plain offset, total", |_, _| {}),
    healthy("plain offset, no total", |b, _| b.total = Total::None),
    healthy("plain page, total", |b, _| b.paging = Paging::PageNumber),
    healthy("plain page, no total", |b, _| paged(b, Paging::PageNumber, Total::None)),
    healthy("plain cursor", |b, _| paged(b, Paging::Cursor, Total::None)),
    healthy("plain link, total", |b, _| b.paging = Paging::Link),
    healthy("plain offset, no ids", |b, _| (b.has_ids, b.end_inclusive) = (false, true)),
    healthy("oldest first", |b, _| b.order = RecordOrder::OldestFirst),
    healthy("busy, open end, offset, total", |b, _| busy(b)),
    healthy("busy, open end, offset, no total", |b, _| {
        busy(b);
        b.total = Total::None;
    }),
    healthy("busy, open end, offset, no ids", |b, _| {
        busy(b);
        b.has_ids = false;
    }),
    healthy("busy, open end, page, total", |b, _| {
        busy(b);
        b.paging = Paging::PageNumber;
    }),
    healthy("busy, open end, page, no total", |b, _| {
        busy(b);
        paged(b, Paging::PageNumber, Total::None);
    }),
    healthy("busy, open end, oldest first", |b, _| {
        busy(b);
        b.order = RecordOrder::OldestFirst;
    }),
    healthy("days only, open end", |b, _| {
        busy(b);
        b.granularity = MODEL_DAY;
    }),
    healthy("late inside overlap", |b, _| b.late = 0.3),
    healthy("late inside overlap, no ids", |b, _| (b.late, b.has_ids) = (0.3, false)),
    // A record is gone every ten seconds, and a scan takes five: its total falls.
    Class { name: "retention, newest first", promise: Promise::FewDoubts(0.5), set: |b, _| b.retention = Some(800) },
    healthy("retention, oldest first", |b, _| (b.retention, b.order) = (Some(800), RecordOrder::OldestFirst)),
    healthy("retention, page, oldest first", |b, _| {
        (b.retention, b.order, b.paging) = (Some(800), RecordOrder::OldestFirst, Paging::PageNumber);
    }),
    healthy("few records deleted", |b, _| b.deleted = 0.02),
    healthy("few deleted, no total", |b, _| (b.deleted, b.total) = (0.02, Total::None)),
    healthy("few deleted, no ids", |b, _| (b.deleted, b.has_ids) = (0.02, false)),
    healthy("identical, no ids", |b, _| (b.has_ids, b.identical) = (false, 0.4)),
    healthy("identical, no ids, no total", |b, _| (b.has_ids, b.identical, b.total) = (false, 0.4, Total::None)),
    healthy("identical, busy, open end", |b, _| {
        busy(b);
        (b.has_ids, b.identical) = (false, 0.4);
    }),
    healthy("identical, busy, no total", |b, _| {
        busy(b);
        (b.has_ids, b.identical, b.total) = (false, 0.4, Total::None);
    }),
    healthy("total is page count", |b, _| b.total = Total::Page),
    faulty("total is an estimate", |b, _| (b.total, b.rate) = (Total::Estimate, 0.15)),
    healthy("total capped", |b, _| b.total = Total::Capped),
    healthy("total counts the remainder", |b, _| b.total = Total::Remaining),
    healthy("total 45 s old, busy", |b, _| (b.total, b.rate) = (Total::Old, 0.4)),
    faulty("total 2 too high", |b, _| b.total = Total::TooHigh(2)),
    healthy("empty pages with next", |b, _| {
        paged(b, Paging::Link, Total::None);
        (b.sparse, b.page_size) = (true, 5);
    }),
    healthy("pages filtered after paging", |b, _| b.shortened = 0.1),
    healthy("offset rounded to pages", |b, _| b.rounds_offsets = true),
    healthy("offset rounded, no total", |b, _| (b.rounds_offsets, b.total) = (true, Total::None)),
    healthy("bounds exclusive", |b, _| b.start_inclusive = false),
    healthy("bounds inclusive", |b, _| b.end_inclusive = true),
    healthy("filter cuts to 20 s", |b, _| (b.hidden_granularity, b.rate) = (Some(20), 0.4)),
    healthy("records change", |b, _| b.changed = 0.2),
    healthy("records change, replica 30 s behind", |b, _| (b.changed, b.replica, b.lag) = (0.2, 0.3, 30)),
    healthy("records change and change back", |b, _| (b.changed, b.changed_back) = (0.3, 0.7)),
    healthy("quiet", |b, _| (b.rate, b.total) = (0.004, Total::None)),
];

fn ties(b: &mut Behavior) {
    (b.shuffles_ties, b.bursts) = (true, 0.6);
}

fn clamped(b: &mut Behavior, rng: &mut Rng) {
    b.paging = Paging::PageNumber;
    b.clamp = Some(Clamp { at: rng.i64(FIRST_START..FIRST_START + 30), grows: rng.bool() });
}

/// Vendors that do something wrong: they may end in doubt.
static FAULTY: &[Class] = &[
    faulty("ties shuffled, ids, total", |b, _| ties(b)),
    faulty("ties shuffled, ids, no total", |b, _| {
        ties(b);
        b.total = Total::None;
    }),
    faulty("ties shuffled, page, total", |b, _| {
        ties(b);
        b.paging = Paging::PageNumber;
    }),
    faulty("ties shuffled, page, no total", |b, _| {
        ties(b);
        paged(b, Paging::PageNumber, Total::None);
    }),
    faulty("ties shuffled, no ids, total", |b, _| {
        ties(b);
        b.has_ids = false;
    }),
    faulty("many deleted in scan, page, total", |b, _| (b.paging, b.deleted) = (Paging::PageNumber, 0.5)),
    faulty("many deleted in scan, page, no total", |b, _| {
        paged(b, Paging::PageNumber, Total::None);
        b.deleted = 0.5;
    }),
    faulty("many deleted in scan, offset, no total", |b, _| (b.deleted, b.total) = (0.5, Total::None)),
    // A record that goes while another one comes leaves the pages and the total as they were.
    traceless("deleted and late, page, total", 1.0, |b, _| {
        (b.paging, b.deleted, b.late, b.late_max) = (Paging::PageNumber, 0.5, 0.5, 110);
    }),
    faulty("retention at the edge, page, no total", |b, _| {
        paged(b, Paging::PageNumber, Total::None);
        (b.retention, b.order) = (Some(700), RecordOrder::OldestFirst);
    }),
    faulty("outage: empty 5 min, total 0", |b, _| b.outage = Some((10_905, 11_200))),
    faulty("outage: empty 5 min, total kept", |b, _| {
        (b.outage, b.outage_keeps_total) = (Some((10_905, 11_200)), true);
    }),
    faulty("outage: empty 5 min, cursor", |b, _| {
        paged(b, Paging::Cursor, Total::None);
        b.outage = Some((10_905, 11_200));
    }),
    faulty("outage: empty 40 min", |b, _| b.outage = Some((10_990, 13_400))),
    faulty("outage: empty 2 d", |b, _| b.outage = Some((10_905, 180_000))),
    // Emptiness past the last recheck looks like a quiet time.
    traceless("outage: empty 20 d", 100.0, |b, _| b.outage = Some((10_905, 1_728_000))),
    faulty("bad pages, cached 5 min", |b, _| b.bad_pages = 0.1),
    // Without a total, a last page that is cut down to what was read before looks like the end.
    traceless("bad pages, cached, no total", 2.0, |b, _| (b.bad_pages, b.total) = (0.1, Total::None)),
    // A page cut short without a link looks like the last one.
    traceless("bad pages, cached, cursor", 6.0, |b, _| {
        paged(b, Paging::Cursor, Total::None);
        b.bad_pages = 0.1;
    }),
    faulty("offset ignored for 3 min", |b, _| b.ignores_offsets = Some((10_900, 11_080))),
    faulty("offset ignored, no ids, no total", |b, _| {
        (b.ignores_offsets, b.has_ids, b.total) = (Some((10_900, 11_080)), false, Total::None);
    }),
    faulty("clamp changes, page, total", clamped),
    faulty("clamp changes, page, no total", |b, rng| {
        clamped(b, rng);
        b.total = Total::None;
    }),
    faulty("hidden for 10 min, counted", |b, _| b.hidden = 0.1),
    faulty("hidden for 10 min, not counted", |b, _| (b.hidden, b.hidden_counted) = (0.1, false)),
    faulty("hidden, no total", |b, _| (b.hidden, b.total) = (0.1, Total::None)),
    faulty("next link missing for 5 min", |b, _| (b.paging, b.loses_links) = (Paging::Link, Some((10_900, 11_200)))),
    faulty("next link missing, no total", |b, _| {
        paged(b, Paging::Cursor, Total::None);
        b.loses_links = Some((10_900, 11_200));
    }),
    faulty("links lead to the same page for 3 min", |b, _| {
        paged(b, Paging::Link, Total::None);
        b.repeats_links = Some((10_900, 11_080));
    }),
    faulty("one in twenty cursors refused", |b, _| {
        paged(b, Paging::Cursor, Total::None);
        b.refuses_cursors = 0.05;
    }),
    faulty("cursors expire after 6 s", |b, _| {
        paged(b, Paging::Cursor, Total::None);
        (b.cursor_secs, b.rate) = (Some(6), 0.4);
    }),
    faulty("replica 100 s behind", |b, _| (b.replica, b.lag) = (0.3, 100)),
    faulty("replica 100 s behind, no total", |b, _| (b.replica, b.lag, b.total) = (0.3, 100, Total::None)),
    faulty("replica behind, no ids", |b, _| (b.replica, b.lag, b.has_ids) = (0.3, 100, false)),
    faulty("clock 400 s behind, Date says so", |b, _| b.skew = -400),
    faulty("clock 400 s behind, Date right", |b, _| (b.skew, b.date_skew) = (-400, Some(0))),
    faulty("clock 60 s ahead, Date says so", |b, _| b.skew = 60),
    faulty("clock drifts by 90 s, Date says so", |b, _| b.drift = -90),
    faulty("later than the overlap", |b, _| (b.late, b.late_max) = (0.2, 4_000)),
    faulty("restarts, ids", |b, _| (b.restarts, b.late) = (0.1, 0.2)),
    faulty("restarts, no ids, identical", |b, _| {
        (b.restarts, b.has_ids, b.identical, b.late) = (0.1, false, 0.3, 0.2);
    }),
    faulty("restarts, page, deletes", |b, _| (b.restarts, b.paging, b.deleted) = (0.1, Paging::PageNumber, 0.3)),
    faulty("kills, late", |b, _| (b.killed_within, b.late) = (80, 0.2)),
    faulty("kills, no ids, identical", |b, _| {
        (b.killed_within, b.has_ids, b.identical, b.late) = (80, false, 0.3, 0.2);
    }),
    faulty("kills while windows pause", |b, _| {
        ties(b);
        (b.killed_within, b.has_ids, b.total) = (80, false, Total::None);
    }),
    unreadable("unreadable records", |b, _| b.unreadable = 0.01),
    unreadable("unreadable records, kills", |b, _| (b.unreadable, b.killed_within) = (0.01, 80)),
    unreadable("unreadable records, page, no ids, kills", |b, _| {
        (b.unreadable, b.killed_within, b.paging, b.has_ids) = (0.01, 80, Paging::PageNumber, false);
    }),
];

/// A healthy vendor with several properties at once.
fn mix(b: &mut Behavior, rng: &mut Rng) {
    b.paging = pick(rng, &[Paging::Offset, Paging::Offset, Paging::PageNumber, Paging::Cursor, Paging::Link]);
    b.order = pick(rng, &[RecordOrder::NewestFirst, RecordOrder::NewestFirst, RecordOrder::OldestFirst]);
    b.has_ids = rng.f64() < 0.6;
    b.total = pick(rng, &[Total::Exact, Total::Exact, Total::None, Total::Page]);
    b.sends_end = rng.f64() < 0.7;
    b.end_inclusive = rng.bool();
    b.start_inclusive = rng.f64() < 0.8;
    b.page_size = pick(rng, &[8, 10, 20]);
    b.rate = pick(rng, &[0.05, 0.1, 0.3]);
    b.granularity = pick(rng, &[1, 1, 1, MODEL_DAY]);
    b.response_secs = pick(rng, &[1, 1, 2]);
    let identical = pick(rng, &[0.0, 0.2, 0.4]);
    b.identical = if b.has_ids { 0.0 } else { identical };
    b.late = if rng.f64() < 0.4 { 0.2 } else { 0.0 };
    b.changed = if rng.f64() < 0.2 { 0.1 } else { 0.0 };
    b.deleted = if rng.f64() < 0.2 { 0.01 } else { 0.0 };
}

/// A mixed vendor with up to three faults. What leaves no trace in any answer has classes of its own.
fn mix_faults(b: &mut Behavior, rng: &mut Rng) {
    mix(b, rng);
    for _ in 0..pick(rng, &[1, 1, 2, 3]) {
        let (paging, total, has_ids) = (b.paging, b.total, b.has_ids);
        let faults =
            FAULTY.iter().filter(|class| class.promise == Promise::NoSilentLoss || class.name.contains("late"));
        let faults: Vec<&Class> = faults.collect();
        (pick(rng, &faults).set)(b, rng);
        b.paging = if rng.bool() { paging } else { b.paging };
        b.total = if rng.bool() { total } else { b.total };
        b.has_ids = if rng.bool() { has_ids } else { b.has_ids };
    }
    b.identical = if b.has_ids { 0.0 } else { b.identical };
    b.restarts = if rng.f64() < 0.2 { 0.1 } else { b.restarts };
    b.killed_within = if rng.f64() < 0.2 { 80 } else { b.killed_within };
    without_traceless(b);
}

fn without_traceless(b: &mut Behavior) {
    let has_total = !matches!(b.total, Total::None | Total::Page);
    if matches!(b.paging, Paging::Cursor | Paging::Link) && !has_total {
        b.bad_pages = 0.0;
    }
    let listed_for_less =
        b.outage.is_some() || b.loses_links.is_some() || b.shuffles_ties || b.skew != 0 || b.drift != 0;
    if listed_for_less || [b.replica, b.hidden, b.bad_pages, b.deleted].iter().any(|share| *share > 0.0) {
        b.retention = None;
    }
    if b.outage.is_some() {
        // A day of the model lasts a real day: an outage of two days would become one of two years.
        b.granularity = 1;
    }
    if b.total == Total::Page {
        // The page size that the vendor's code expects would end a list too early.
        b.clamp = None;
    }
}

fn pick<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.usize(..choices.len())]
}
