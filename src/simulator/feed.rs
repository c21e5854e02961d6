//! Makes a vendor's records in the order of their numbers and hands them to the store.

use std::time::Duration;

use super::api::VendorApi;
use super::draft::{Draft, mix, respace};
use super::faults::{FaultName, FaultSet};
use super::name::VendorName;
use super::store::{Pending, Record, Store};
use super::switches::{CommonSwitches, Switches};
use super::timeline::{Link, Shares, Timeline};
use crate::time::{EventTime, Timestamp};

/// Share of the events that have the timestamp of the one before even without the fault `ties`.
const TIES: f64 = 0.03;
/// Share of wholly identical Confluence records even without the fault `twins`.
const CONFLUENCE_TWINS: f64 = 0.003;
/// Share of records with values outside the catalogs even without the fault `unknown_values`.
const UNKNOWN_VALUES: f64 = 0.01;
/// Numbers of records that were put in while running begin here.
pub(super) const FIRST_INSERTED: u64 = 1 << 40;

/// Lanes of independent random choices about an event.
mod lane {
    pub(super) const UNKNOWN: u64 = 31;
    pub(super) const MALFORMED: u64 = 32;
    pub(super) const LATE: u64 = 33;
    pub(super) const LATENESS: u64 = 34;
    pub(super) const CHANGES: u64 = 35;
    pub(super) const SPACING: u64 = 36;
    pub(super) const CHANGE_MOMENT: u64 = 40;
}

/// What bears on the records to be made.
#[derive(Clone, Copy)]
pub(super) struct Settings<'a> {
    pub(super) vendor: VendorName,
    pub(super) api: &'static dyn VendorApi,
    pub(super) faults: &'a FaultSet,
    pub(super) switches: &'a Switches,
}

impl Settings<'_> {
    fn shares(&self) -> Shares {
        let always = if self.vendor == VendorName::Confluence { CONFLUENCE_TWINS } else { 0.0 };
        let twins = if self.api.has_ids() { 0.0 } else { self.faults.probability(FaultName::Twins).max(always) };
        Shares { ties: self.faults.probability(FaultName::Ties).max(TIES), twins }
    }

    fn common(&self) -> &CommonSwitches {
        self.switches.common(self.vendor)
    }
}

/// The event made last, which the next one may follow.
#[derive(Clone, Copy, Debug)]
struct Previous {
    time: EventTime,
    content: u64,
}

/// Makes a vendor's records.
#[derive(Debug)]
pub(super) struct Feed {
    timeline: Timeline,
    next: u64,
    previous: Option<Previous>,
    inserted: u64,
}

impl Feed {
    pub(super) fn new(timeline: Timeline) -> Self {
        Self { timeline, next: 0, previous: None, inserted: 0 }
    }

    /// No further events happen from `now` on. Those that have happened may still become visible later.
    pub(super) fn stop(&mut self, now: Timestamp) {
        self.timeline.stopped_at.get_or_insert(now);
    }

    /// Makes every event whose turn has come by `now`.
    pub(super) fn advance(&mut self, now: Timestamp, settings: Settings<'_>, store: &mut Store) {
        while let Some(previous) = self.step(now, settings.shares()) {
            self.make(self.next, previous, settings, store);
            self.previous = Some(previous);
            self.next += 1;
        }
    }

    /// Time and content of the next event; `None` if its turn has not come.
    fn step(&self, now: Timestamp, shares: Shares) -> Option<Previous> {
        let nominal = self.timeline.nominal(self.next)?;
        let Some(previous) = self.previous else { return self.leader(nominal, now) };
        match self.timeline.link(self.next, shares) {
            Link::Leader => self.leader(nominal, now),
            Link::Tie => Some(Previous { content: self.next, ..previous }),
            Link::Twin => Some(previous),
            Link::Burst(millis) => Some(Previous { time: later(previous.time, millis), content: self.next }),
        }
    }

    fn leader(&self, nominal: Timestamp, now: Timestamp) -> Option<Previous> {
        (nominal <= now).then(|| Previous { time: self.timeline.written(self.next, nominal), content: self.next })
    }

    fn make(&self, index: u64, event: Previous, settings: Settings<'_>, store: &mut Store) {
        let visible_at = event.time.at + self.lateness(index, settings);
        if self.timeline.draw(lane::MALFORMED, event.content) < settings.faults.probability(FaultName::MalformedRecords)
        {
            let mut record = Record::new(event.time.at, index, visible_at, malformed(event.content));
            record.malformed = true;
            store.schedule(visible_at, Pending::Appear(record));
            return;
        }
        let (raw, last_at) = self.write(event, 0, event.time, settings);
        let mut record = Record::new(event.time.at, index, visible_at, raw);
        record.last_at = last_at;
        store.schedule(visible_at, Pending::Appear(record));
        self.schedule_changes(index, event, visible_at, settings, store);
    }

    fn write(&self, event: Previous, revision: u32, changed: EventTime, settings: Settings<'_>) -> (String, Timestamp) {
        let mut draft = Draft::new(self.timeline.seed, event.content, event.time);
        (draft.revision, draft.changed) = (revision, changed);
        draft.room = self.timeline.start.since(event.time.at);
        draft.tied = event.content >= FIRST_INSERTED || self.is_linked(event.content, settings.shares());
        let share = settings.faults.probability(FaultName::UnknownValues).max(UNKNOWN_VALUES);
        draft.unknown = self.timeline.draw(lane::UNKNOWN, event.content) < share;
        let compact = settings.api.record(&mut draft, settings.switches);
        let seed = mix(self.timeline.seed, lane::SPACING, event.content);
        (respace(compact, settings.common().json_spacing, seed), draft.last_at)
    }

    fn is_linked(&self, index: u64, shares: Shares) -> bool {
        self.timeline.link(index, shares) != Link::Leader || self.timeline.link(index + 1, shares) != Link::Leader
    }

    fn lateness(&self, index: u64, settings: Settings<'_>) -> Duration {
        let always = settings.common().visibility_delay;
        let Some(late) = settings.faults.get(FaultName::LateEvents) else { return always };
        if self.timeline.draw(lane::LATE, index) >= late.probability {
            return always;
        }
        let seconds = 1.0 + self.timeline.draw(lane::LATENESS, index) * (late.seconds - 1.0).max(0.0);
        always + Duration::from_secs_f64(seconds)
    }

    /// Plans the later versions of a record, if its vendor has any and a fault asks for them. Twins never change, since
    /// nobody could tell which of them did.
    fn schedule_changes(
        &self,
        index: u64,
        event: Previous,
        visible: Timestamp,
        settings: Settings<'_>,
        store: &mut Store,
    ) {
        let (fault, most, longest) = match settings.vendor {
            VendorName::Akuity if settings.switches.akuity.omit_new_fields => return,
            VendorName::Akuity => (FaultName::ChangingRecords, 3, settings.switches.akuity.collapse_interval),
            VendorName::Confluence => (FaultName::RenamedAuthors, 1, Duration::MAX),
            _ => return,
        };
        if longest.is_zero() {
            return;
        }
        let Some(setting) = settings.faults.get(fault) else { return };
        let shares = settings.shares();
        let twin = [index, index + 1].iter().any(|number| self.timeline.link(*number, shares) == Link::Twin);
        if twin || self.timeline.draw(lane::CHANGES, index) >= setting.probability {
            return;
        }
        let mut moments: Vec<f64> =
            (0..most).map(|number| self.timeline.draw(lane::CHANGE_MOMENT + number, index)).collect();
        moments.sort_by(f64::total_cmp);
        for (number, moment) in (1..).zip(moments) {
            let at = visible + Duration::from_secs_f64(moment * setting.seconds).min(longest);
            let changed = self.timeline.written(index, at);
            let (raw, last_at) = self.write(event, number, changed, settings);
            store.schedule(at, Pending::Change { place: (event.time.at, index), raw, last_at });
        }
    }

    /// A new record outside the flow of numbers, at (about) the given time.
    pub(super) fn extra(
        &mut self,
        at: Timestamp,
        visible_at: Timestamp,
        raw: Option<String>,
        settings: Settings<'_>,
    ) -> Record {
        let index = FIRST_INSERTED + self.inserted;
        self.inserted += 1;
        if let Some(raw) = raw {
            return Record::new(at, index, visible_at, raw);
        }
        let digits = self.timeline.digits.iter().copied().max().unwrap_or(6);
        let step = Duration::from_nanos(10_u64.pow(9 - u32::from(digits)));
        let time = EventTime { at: at.floor_to(step), digits };
        let (raw, last_at) = self.write(Previous { time, content: index }, 0, time, settings);
        let mut record = Record::new(time.at, index, visible_at, raw);
        record.last_at = last_at;
        record
    }
}

/// A little later, with the same number of sub-second digits.
fn later(time: EventTime, millis: u64) -> EventTime {
    let step = Duration::from_nanos(10_u64.pow(9 - u32::from(time.digits)));
    EventTime { at: (time.at + Duration::from_millis(millis)).floor_to(step), digits: time.digits }
}

/// Something in the place of a record that is none. Its content is its own, so that it can be told from others.
fn malformed(index: u64) -> String {
    match index % 3 {
        0 => format!("9007199254740993{index:06}"),
        1 => format!("\"not a record, \\u00e9 but text {index}\""),
        _ => format!("{{\"note\":\"a record without a time\",\"number\":{index}}}"),
    }
}
