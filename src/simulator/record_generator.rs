//! Generates a vendor's records in the order of their numbers. When events happen is a pure function of the seed, the
//! vendor and the event's number.
//!
//! ```text
//! number   0 ........................ events-1 | events ...............
//! time     start - span ............... start  | growth + k / rate .....    evenly, with jitter, then related:
//!          independent  tie (same time)  burst (+10..70 ms)  identical (same time and content)  independent ...
//! ```

use std::time::Duration;

use super::faults::{FaultName, FaultSet};
use super::meaning::RecordMeaning;
use super::record_builder::{RecordBuilder, mix, respace, unit};
use super::store::{Pending, Record, Store};
use super::variants::{CommonVariants, Variants};
use super::vendor_api::VendorApi;
use super::vendor_name::VendorName;
use crate::time::{EventTime, Timestamp};

/// Share of the events that have the timestamp of the one before even without the fault `ties`.
const TIES: f64 = 0.03;
/// Share of identical Confluence records even without the fault `identical_records`.
const CONFLUENCE_IDENTICAL: f64 = 0.003;
/// Share of records with values outside the catalogs even without the fault `unknown_values`.
const UNKNOWN_VALUES: f64 = 0.01;
/// Share of the acts that analysts look for.
const NOTABLE: f64 = 0.05;
/// Numbers of inserted records start here.
pub(super) const FIRST_INSERTED: u64 = 1 << 40;

/// The independent random streams of an event.
mod stream {
    pub(super) const UNKNOWN: u64 = 31;
    pub(super) const MALFORMED: u64 = 32;
    pub(super) const LATE: u64 = 33;
    pub(super) const LATENESS: u64 = 34;
    pub(super) const CHANGES: u64 = 35;
    pub(super) const SPACING: u64 = 36;
    pub(super) const NOTABLE: u64 = 37;
    pub(super) const CHANGE_MOMENT: u64 = 40;
}

/// What determines the generated records.
#[derive(Clone, Copy)]
pub(super) struct GeneratorContext<'a> {
    pub(super) vendor: VendorName,
    pub(super) api: &'static dyn VendorApi,
    pub(super) faults: &'a FaultSet,
    pub(super) variants: &'a Variants,
}

impl GeneratorContext<'_> {
    fn shares(&self) -> Shares {
        let always = if self.vendor == VendorName::Confluence { CONFLUENCE_IDENTICAL } else { 0.0 };
        let identical =
            if self.api.has_ids() { 0.0 } else { self.faults.probability(FaultName::IdenticalRecords).max(always) };
        Shares { ties: self.faults.probability(FaultName::Ties).max(TIES), identical }
    }

    fn common(&self) -> &CommonVariants {
        self.variants.common(self.vendor)
    }
}

/// The event generated last, which the next one may relate to.
#[derive(Clone, Copy, Debug)]
struct Previous {
    time: EventTime,
    content: u64,
}

/// Generates a vendor's records.
#[derive(Debug)]
pub(super) struct RecordGenerator {
    timeline: Timeline,
    next: u64,
    previous: Option<Previous>,
    inserted: u64,
}

impl RecordGenerator {
    pub(super) fn new(timeline: Timeline) -> Self {
        Self { timeline, next: 0, previous: None, inserted: 0 }
    }

    /// No further events happen from `now` on. Those that have happened may still become visible later.
    pub(super) fn stop(&mut self, now: Timestamp) {
        self.timeline.stopped_at.get_or_insert(now);
    }

    /// Generates every event that is due by `now`.
    pub(super) fn advance(&mut self, now: Timestamp, context: GeneratorContext<'_>, store: &mut Store) {
        while let Some(previous) = self.step(now, context.shares()) {
            self.generate(self.next, previous, context, store);
            self.previous = Some(previous);
            self.next += 1;
        }
    }

    /// Time and content of the next event; `None` if it is not due.
    fn step(&self, now: Timestamp, shares: Shares) -> Option<Previous> {
        let nominal = self.timeline.nominal(self.next)?;
        let Some(previous) = self.previous else { return self.independent(nominal, now) };
        match self.timeline.relation(self.next, shares) {
            Relation::Independent => self.independent(nominal, now),
            Relation::Tie => Some(Previous { content: self.next, ..previous }),
            Relation::Identical => Some(previous),
            Relation::Burst(millis) => Some(Previous { time: later(previous.time, millis), content: self.next }),
        }
    }

    fn independent(&self, nominal: Timestamp, now: Timestamp) -> Option<Previous> {
        (nominal <= now).then(|| Previous { time: self.timeline.written(self.next, nominal), content: self.next })
    }

    fn generate(&self, index: u64, event: Previous, context: GeneratorContext<'_>, store: &mut Store) {
        let visible_at = event.time.at + self.lateness(index, context);
        if self.timeline.draw(stream::MALFORMED, event.content)
            < context.faults.probability(FaultName::MalformedRecords)
        {
            let mut record = Record::new(event.time.at, index, visible_at, malformed(event.content));
            record.malformed = true;
            record.meaning = Some(RecordMeaning::default());
            store.schedule(visible_at, Pending::Appear(record));
            return;
        }
        let record = self.write(event, 0, event.time, context).into_record(event.time.at, index, visible_at);
        store.schedule(visible_at, Pending::Appear(record));
        self.schedule_changes(index, event, visible_at, context, store);
    }

    fn write(&self, event: Previous, revision: u32, changed: EventTime, context: GeneratorContext<'_>) -> Written {
        let mut builder = RecordBuilder::new(self.timeline.seed, event.content, event.time);
        (builder.revision, builder.changed) = (revision, changed);
        builder.time_to_start = self.timeline.start.since(event.time.at);
        builder.tied = event.content >= FIRST_INSERTED || self.is_related(event.content, context.shares());
        let share = context.faults.probability(FaultName::UnknownValues).max(UNKNOWN_VALUES);
        builder.unknown = self.timeline.draw(stream::UNKNOWN, event.content) < share;
        builder.notable = !builder.unknown && self.timeline.draw(stream::NOTABLE, event.content) < NOTABLE;
        let compact = context.api.record(&mut builder, context.variants);
        let seed = mix(self.timeline.seed, stream::SPACING, event.content);
        let raw = respace(compact, context.common().json_spacing, seed);
        Written { raw, last_at: builder.last_at, meaning: builder.meaning }
    }

    fn is_related(&self, index: u64, shares: Shares) -> bool {
        self.timeline.relation(index, shares) != Relation::Independent
            || self.timeline.relation(index + 1, shares) != Relation::Independent
    }

    fn lateness(&self, index: u64, context: GeneratorContext<'_>) -> Duration {
        let always = context.common().visibility_delay;
        let Some(late) = context.faults.get(FaultName::LateEvents) else { return always };
        if self.timeline.draw(stream::LATE, index) >= late.probability {
            return always;
        }
        let seconds = 1.0 + self.timeline.draw(stream::LATENESS, index) * (late.seconds - 1.0).max(0.0);
        always + Duration::from_secs_f64(seconds)
    }

    /// Schedules the later versions of a record, if its vendor and a fault have any. Identical records never change, since
    /// they could not be distinguished.
    fn schedule_changes(
        &self,
        index: u64,
        event: Previous,
        visible: Timestamp,
        context: GeneratorContext<'_>,
        store: &mut Store,
    ) {
        let (fault, most, longest) = match context.vendor {
            VendorName::Akuity if context.variants.akuity.omit_new_fields => return,
            VendorName::Akuity => (FaultName::ChangingRecords, 3, context.variants.akuity.collapse_interval),
            VendorName::Confluence => (FaultName::RenamedAuthors, 1, Duration::MAX),
            _ => return,
        };
        if longest.is_zero() {
            return;
        }
        let Some(setting) = context.faults.get(fault) else { return };
        let shares = context.shares();
        let is_identical =
            [index, index + 1].iter().any(|number| self.timeline.relation(*number, shares) == Relation::Identical);
        if is_identical || self.timeline.draw(stream::CHANGES, index) >= setting.probability {
            return;
        }
        let mut moments: Vec<f64> =
            (0..most).map(|number| self.timeline.draw(stream::CHANGE_MOMENT + number, index)).collect();
        moments.sort_by(f64::total_cmp);
        for (number, moment) in (1..).zip(moments) {
            let at = visible + Duration::from_secs_f64(moment * setting.seconds).min(longest);
            let changed = self.timeline.written(index, at);
            // Another version says the same.
            let Written { raw, last_at, .. } = self.write(event, number, changed, context);
            store.schedule(at, Pending::Change { position: (event.time.at, index), raw, last_at });
        }
    }

    /// An inserted record at (about) the given time.
    pub(super) fn extra(
        &mut self,
        at: Timestamp,
        visible_at: Timestamp,
        raw: Option<String>,
        context: GeneratorContext<'_>,
    ) -> Record {
        let index = FIRST_INSERTED + self.inserted;
        self.inserted += 1;
        if let Some(raw) = raw {
            return Record::new(at, index, visible_at, raw);
        }
        let digits = self.timeline.digits.iter().copied().max().unwrap_or(6);
        let step = Duration::from_nanos(10_u64.pow(9 - u32::from(digits)));
        let time = EventTime { at: at.floor_to(step), digits };
        self.write(Previous { time, content: index }, 0, time, context).into_record(time.at, index, visible_at)
    }
}

/// A record as its writer made it.
struct Written {
    raw: String,
    last_at: Timestamp,
    meaning: RecordMeaning,
}

impl Written {
    fn into_record(mut self, at: Timestamp, index: u64, visible_at: Timestamp) -> Record {
        self.meaning.shrink();
        let mut record = Record::new(at, index, visible_at, self.raw);
        (record.last_at, record.meaning) = (self.last_at, Some(self.meaning));
        record
    }
}

/// A little later, with the same number of sub-second digits.
fn later(time: EventTime, millis: u64) -> EventTime {
    let step = Duration::from_nanos(10_u64.pow(9 - u32::from(time.digits)));
    EventTime { at: (time.at + Duration::from_millis(millis)).floor_to(step), digits: time.digits }
}

/// A malformed record. Its content is unique.
fn malformed(index: u64) -> String {
    match index % 3 {
        0 => format!("9007199254740993{index:06}"),
        1 => format!("\"not a record, \\u00e9 but text {index}\""),
        _ => format!("{{\"note\":\"a record without a time\",\"number\":{index}}}"),
    }
}

/// A new group begins after at most this many events, which limits the length of chains.
const LONGEST_CHAIN: u64 = 24;
/// Share of the events that follow the previous one within milliseconds, as in bulk actions.
const BURSTS: f64 = 0.08;

/// When a vendor's events happen.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    /// The seed, already mixed with the vendor.
    pub(super) seed: u64,
    /// The end of the history.
    pub(super) start: Timestamp,
    /// The beginning of growth.
    pub(super) growth: Timestamp,
    /// How far back the history reaches.
    pub(super) span: Duration,
    /// Events in the history.
    pub(super) events: u64,
    /// New events per second from then on.
    pub(super) rate: f64,
    /// When growth stopped; `None` while it continues.
    pub(super) stopped_at: Option<Timestamp>,
    /// The possible numbers of sub-second digits, one drawn for each group.
    pub(super) digits: &'static [u8],
}

/// How an event relates to the previous one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Relation {
    /// Not related.
    Independent,
    /// Same timestamp.
    Tie,
    /// Follows by this many milliseconds.
    Burst(u64),
    /// Identical to it.
    Identical,
}

/// Shares of events that are ties or identical.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shares {
    pub(super) ties: f64,
    pub(super) identical: f64,
}

impl Timeline {
    /// The time of event `index` if it were independent; `None` if there is no such event.
    pub(super) fn nominal(&self, index: u64) -> Option<Timestamp> {
        let jitter = unit(mix(self.seed, 1, index));
        if index < self.events {
            #[expect(clippy::cast_precision_loss, reason = "a place in the history need not be exact")]
            let share = (index as f64 + jitter * 0.9) / self.events as f64;
            return Some(self.start - self.span + self.span.mul_f64(share));
        }
        if self.rate <= 0.0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a place in the growth need not be exact")]
        let number = (index - self.events) as f64 + jitter * 0.9;
        let at = self.growth + Duration::try_from_secs_f64(number / self.rate).unwrap_or(Duration::MAX);
        self.stopped_at.is_none_or(|stopped| at < stopped).then_some(at)
    }

    /// How event `index` relates to the previous one.
    pub(super) fn relation(&self, index: u64, shares: Shares) -> Relation {
        if index.is_multiple_of(LONGEST_CHAIN) || index == self.events {
            return Relation::Independent;
        }
        let bits = mix(self.seed, 2, index);
        let drawn = unit(bits);
        if drawn < shares.identical {
            Relation::Identical
        } else if drawn < shares.identical + shares.ties {
            Relation::Tie
        } else if drawn < shares.identical + shares.ties + BURSTS {
            Relation::Burst(10 + bits % 61)
        } else {
            Relation::Independent
        }
    }

    /// A time as the vendor writes it: truncated to a number of sub-second digits.
    pub(super) fn written(&self, index: u64, at: Timestamp) -> EventTime {
        let choice = mix(self.seed, 3, index) % self.digits.len() as u64;
        let digits = self.digits[usize::try_from(choice).unwrap_or(0)];
        let step = Duration::from_nanos(10_u64.pow(9 - u32::from(digits)));
        EventTime { at: at.floor_to(step), digits }
    }

    /// A random number from 0 up to 1 for event `index` in a stream.
    pub(super) fn draw(&self, stream: u64, index: u64) -> f64 {
        unit(mix(self.seed, stream, index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(events: u64, rate: f64) -> Timeline {
        let start = Timestamp::parse_rfc3339("2026-03-02T00:00:00Z").expect("a time");
        Timeline {
            seed: 4,
            start,
            growth: start,
            span: Duration::from_secs(86_400),
            events,
            rate,
            stopped_at: None,
            digits: &[0, 3, 6],
        }
    }

    #[test]
    fn the_history_ends_at_the_start_and_growth_follows_it() {
        let timeline = timeline(100, 2.0);
        for index in 0..100 {
            let at = timeline.nominal(index).expect("an event");
            assert!(at >= timeline.start - timeline.span && at < timeline.start, "{index}");
        }
        let later = timeline.nominal(120).expect("an event");
        assert!(later >= timeline.start + Duration::from_secs(10) && later < timeline.start + Duration::from_secs(11));
    }

    #[test]
    fn without_a_rate_nothing_follows_the_history() {
        assert_eq!(timeline(100, 0.0).nominal(100), None);
    }

    #[test]
    fn growth_can_be_stopped() {
        let mut timeline = timeline(100, 2.0);
        timeline.stopped_at = Some(timeline.start + Duration::from_secs(5));
        assert!(timeline.nominal(108).is_some());
        assert_eq!(timeline.nominal(111), None);
    }

    #[test]
    fn chains_of_followers_are_short() {
        let timeline = timeline(1_000, 0.0);
        let all = Shares { ties: 1.0, identical: 0.0 };
        let independent = (0..1_000).filter(|index| timeline.relation(*index, all) == Relation::Independent).count();
        assert!(independent >= 1_000 / 24, "{independent}");
    }
}
