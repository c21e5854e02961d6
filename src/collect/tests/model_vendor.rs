//! A model vendor that misbehaves as its [`Behavior`] says: its records are drawn from a seed, it answers over a
//! [`Transport`], and its log of requests tells which record was listed when.
//!
//! ```text
//!   Behavior + seed --> records: time, visible from, gone at, hidden, changed
//!   collector --request(from, to, cursor, limit)--> list at that moment --> page, next, total --> bent by the behavior
//!                                                        |
//!                                                        +--> log: range, moment, scan   (read by `examine`)
//! ```
//!
//! Times are whole model seconds: a poll is 60, the overlap 120, the delay 10, and a day of a filter that knows only days
//! is 300. `Behavior::unit` is how many real seconds a model second lasts.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::fake_api::example_spec;
use crate::clock::{Clock, ManualClock};
use crate::collect::transport::{Response, ResponseLimits, Transport, TransportError};
use crate::event::{Event, EventId};
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::vendors::{
    self, ApiSpec, Auth, BadPage, Normalizer, NormalizerConfig, Page, PageRequest, ReadContext, RecordKey, RecordOrder,
    Request, Vendor, record,
};

/// Where the backfill starts.
pub(super) const START: i64 = 10_000;
/// When the collector starts.
pub(super) const FIRST_START: i64 = 10_900;
/// The last record is at most a minute younger.
pub(super) const LAST_RECORD: i64 = 11_260;
/// When polling once a minute ends. From then on only what is due again is read.
pub(super) const LIVE_END: i64 = 11_380;
/// A filter of whole days, in model seconds.
pub(super) const MODEL_DAY: i64 = 300;
/// How far behind the present a poll stays.
const DELAY: i64 = 10;
/// How long a bad page is returned again.
const CACHE_SECS: i64 = 300;
const NEVER: i64 = i64::MAX / 4;
/// A seed with more requests than this is given up.
const MAX_REQUESTS: usize = 20_000;

/// How a list is paged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paging {
    Offset,
    PageNumber,
    /// Continues after the last record.
    Cursor,
    /// An opaque link that holds an offset.
    Link,
}

/// What is announced as the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Total {
    Exact,
    None,
    /// The records of this page.
    Page,
    /// Rounded to tens.
    Estimate,
    /// Never more than 15.
    Capped,
    /// The records from this page on.
    Remaining,
    /// The count of 45 seconds ago.
    Old,
    /// More than there are by this many.
    TooHigh(usize),
}

/// From a moment to another.
pub(super) type Period = Option<(i64, i64)>;

/// Everything that a vendor may do. Shares are chances from 0 to 1, times are model seconds.
#[derive(Clone, Debug)]
pub(super) struct Behavior {
    pub(super) paging: Paging,
    pub(super) order: RecordOrder,
    pub(super) has_ids: bool,
    pub(super) total: Total,
    pub(super) page_size: u32,
    /// Equal times come in another order with each request.
    pub(super) shuffles_ties: bool,
    /// Whether live requests name an end.
    pub(super) sends_end: bool,
    pub(super) start_inclusive: bool,
    pub(super) end_inclusive: bool,
    /// The step of the time filter.
    pub(super) granularity: i64,
    /// The filter cuts both bounds to this step without saying so.
    pub(super) hidden_granularity: Option<i64>,
    /// How long a response takes.
    pub(super) response_secs: i64,
    /// Records per second.
    pub(super) rate: f64,
    /// Share of moments with a further record.
    pub(super) bursts: f64,
    /// Share of records with an identical one.
    pub(super) identical: f64,
    pub(super) late: f64,
    pub(super) late_max: i64,
    pub(super) deleted: f64,
    pub(super) retention: Option<i64>,
    /// The clock that stamps records, compared with the true one, and how much more it is off when the last one comes.
    pub(super) skew: i64,
    pub(super) drift: i64,
    /// The clock of the `Date` header; `None`: that of the records.
    pub(super) date_skew: Option<i64>,
    /// From this moment on pages have at most, or before it had at most, half the size.
    pub(super) clamp: Option<Clamp>,
    /// Share of records that are filtered after paging.
    pub(super) shortened: f64,
    /// Only some records pass a filter after paging: many pages are empty.
    pub(super) sparse: bool,
    pub(super) outage: Period,
    pub(super) outage_keeps_total: bool,
    pub(super) ignores_offsets: Period,
    pub(super) loses_links: Period,
    /// Every link leads to the same page.
    pub(super) repeats_links: Period,
    /// Share of cursors that are refused, and how long after the first page each cursor is.
    pub(super) refuses_cursors: f64,
    pub(super) cursor_secs: Option<i64>,
    /// Share of pages that are cut in half; each page is cached.
    pub(super) bad_pages: f64,
    /// Share of requests that a replica answers, and how far it lags behind.
    pub(super) replica: f64,
    pub(super) lag: i64,
    /// Share of records that are not listed for a while.
    pub(super) hidden: f64,
    pub(super) hidden_for: i64,
    pub(super) hidden_counted: bool,
    pub(super) rounds_offsets: bool,
    pub(super) changed: f64,
    /// Share of changed records that change back.
    pub(super) changed_back: f64,
    /// Share of further pages at which the collector is stopped, and for how long at most.
    pub(super) restarts: f64,
    pub(super) restart_secs: i64,
    /// The collector is dropped, as a kill would, after at most so many steps: wherever it waits then. 0: never. How many steps
    /// there are depends on the threads of the journal too, so that such a seed may differ when it is repeated.
    pub(super) killed_within: usize,
    /// Share of records that no page can be made with.
    pub(super) unreadable: f64,
    /// Real seconds per model second.
    pub(super) unit: i64,
}

/// A page size that changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clamp {
    pub(super) at: i64,
    pub(super) grows: bool,
}

impl Behavior {
    /// A vendor without peculiarities.
    pub(super) fn plain() -> Self {
        Self {
            paging: Paging::Offset,
            order: RecordOrder::NewestFirst,
            has_ids: true,
            total: Total::Exact,
            page_size: 10,
            shuffles_ties: false,
            sends_end: true,
            start_inclusive: true,
            end_inclusive: false,
            granularity: 1,
            hidden_granularity: None,
            response_secs: 1,
            rate: 0.1,
            bursts: 0.0,
            identical: 0.0,
            late: 0.0,
            late_max: 60,
            deleted: 0.0,
            retention: None,
            skew: 0,
            drift: 0,
            date_skew: None,
            clamp: None,
            shortened: 0.0,
            sparse: false,
            outage: None,
            outage_keeps_total: false,
            ignores_offsets: None,
            loses_links: None,
            repeats_links: None,
            refuses_cursors: 0.0,
            cursor_secs: None,
            bad_pages: 0.0,
            replica: 0.0,
            lag: 0,
            hidden: 0.0,
            hidden_for: 600,
            hidden_counted: true,
            rounds_offsets: false,
            changed: 0.0,
            changed_back: 0.0,
            restarts: 0.0,
            restart_secs: 300,
            killed_within: 0,
            unreadable: 0.0,
            unit: 1,
        }
    }

    /// The real time of a model second.
    pub(super) fn time(&self, secs: i64) -> Timestamp {
        Timestamp::from_secs(secs * self.unit)
    }

    /// The model second of a real time, rounded down.
    pub(super) fn secs(&self, at: Timestamp) -> i64 {
        at.as_nanos().div_euclid(self.unit * 1_000_000_000)
    }

    /// How far the clock that stamps records is off at a moment.
    fn skew_at(&self, secs: i64) -> i64 {
        self.skew + self.drift * (secs.min(LAST_RECORD) - START) / (LAST_RECORD - START)
    }

    /// A real duration.
    pub(super) fn span(&self, secs: i64) -> Duration {
        Duration::from_secs((secs * self.unit).unsigned_abs())
    }

    /// The spec of this vendor's API.
    pub(super) fn spec(&self) -> ApiSpec {
        ApiSpec {
            order: self.order,
            paging: match self.paging {
                Paging::Offset => vendors::Paging::Offset,
                Paging::PageNumber => vendors::Paging::PageNumber,
                Paging::Cursor | Paging::Link => vendors::Paging::Cursor,
            },
            time_granularity: self.span(self.granularity),
            has_ids: self.has_ids,
            overlap: self.span(120),
            delay: self.span(DELAY),
            poll_interval: self.span(60),
            page_size: self.page_size,
            retention: self.retention.map(|secs| self.span(secs)),
            earliest: Timestamp::from_secs(0),
            slice: self.span(300),
            ..example_spec()
        }
    }
}

/// A record with its whole life.
#[derive(Clone, Debug)]
pub(super) struct ModelRecord {
    number: usize,
    /// The number of the first of its identical records.
    pub(super) key: usize,
    pub(super) at: i64,
    visible_from: i64,
    gone_at: i64,
    changed_at: i64,
    changed_back_at: i64,
    hidden: (i64, i64),
    tie: f64,
}

impl ModelRecord {
    /// Whether it was listed all the time from `first` to `last`.
    pub(super) fn is_listed(&self, first: i64, last: i64) -> bool {
        let hidden = self.hidden.0 <= last && first < self.hidden.1;
        self.visible_from <= first && last < self.gone_at && !hidden
    }

    /// The contents that it has over time, one after the other.
    pub(super) fn contents(&self, behavior: &Behavior) -> &'static [i64] {
        match (self.changed_at, self.changed_back_at) {
            _ if !behavior.has_ids => &[0],
            (NEVER, _) => &[0],
            (_, NEVER) => &[0, 1],
            _ => &[0, 1, 0],
        }
    }

    fn is_visible(&self, now: i64) -> bool {
        self.visible_from <= now && now < self.gone_at
    }

    fn is_hidden(&self, now: i64) -> bool {
        self.hidden.0 <= now && now < self.hidden.1
    }

    /// A number below 100 that never changes.
    fn percentile(&self) -> f64 {
        Rng::with_seed(self.number as u64 ^ 0x5eed).f64() * 100.0
    }

    /// Whether each page with it fails.
    pub(super) fn is_unreadable(&self, behavior: &Behavior) -> bool {
        behavior.unreadable > 0.0 && Rng::with_seed(self.number as u64 ^ 0xbad).f64() < behavior.unreadable
    }

    /// Whether it is never listed, by a filter that is part of the vendor.
    pub(super) fn is_filtered(&self, behavior: &Behavior) -> bool {
        self.percentile() < behavior.shortened * 100.0 || behavior.sparse && self.at.rem_euclid(200) >= 60
    }

    /// The bytes that are listed.
    pub(super) fn raw(&self, behavior: &Behavior, content: i64) -> String {
        let millis = behavior.time(self.at).as_millis();
        if behavior.has_ids {
            return format!(r#"{{"id":"r{}","at":{millis},"content":{content}}}"#, self.number);
        }
        format!(r#"{{"what":"r{}","at":{millis}}}"#, self.key)
    }
}

fn draw_records(behavior: &Behavior, rng: &mut Rng) -> Vec<ModelRecord> {
    let mut records: Vec<ModelRecord> = Vec::new();
    let mut at = START - 400;
    while at < LAST_RECORD {
        #[expect(clippy::cast_possible_truncation, reason = "a pause of seconds")]
        let pause = (-(1.0 - rng.f64()).ln() / behavior.rate).round() as i64;
        at += pause.max(1);
        for _ in 0..repeated(behavior.bursts, 8, rng) {
            let key = records.len();
            for _ in 0..repeated(behavior.identical, 4, rng) {
                let record = draw_record(behavior, records.len(), at, rng);
                records.push(ModelRecord { key: if behavior.has_ids { record.number } else { key }, ..record });
            }
        }
    }
    records.sort_by(|a, b| a.at.cmp(&b.at).then(a.tie.total_cmp(&b.tie)));
    records
}

/// At least one, and one more as long as chance says so.
fn repeated(share: f64, most: usize, rng: &mut Rng) -> usize {
    let mut count = 1;
    while count < most && rng.f64() < share {
        count += 1;
    }
    count
}

fn draw_record(behavior: &Behavior, number: usize, at: i64, rng: &mut Rng) -> ModelRecord {
    let mut visible_from = at;
    if rng.f64() < behavior.late {
        visible_from += rng.i64(1..=behavior.late_max);
    }
    let deleted = rng.f64() < behavior.deleted;
    let mut gone_at = if deleted { rng.i64(FIRST_START - 30..=LAST_RECORD) } else { NEVER };
    gone_at = gone_at.min(behavior.retention.map_or(NEVER, |kept| at + kept));
    let changed_at = if rng.f64() < behavior.changed { rng.i64(at..=11_500) } else { NEVER };
    let is_back = behavior.changed_back > 0.0 && changed_at != NEVER && rng.f64() < behavior.changed_back;
    let changed_back_at = if is_back { changed_at + rng.i64(1..=600) } else { NEVER };
    let mut hidden = (0, 0);
    if rng.f64() < behavior.hidden {
        let from = if rng.u8(..3) == 0 { rng.i64(visible_from..=visible_from + 200) } else { 0 };
        hidden = (from, visible_from.max(from) + rng.i64(1..=behavior.hidden_for));
    }
    let at = at + behavior.skew_at(at);
    let tie = rng.f64();
    ModelRecord { number, key: number, at, visible_from, gone_at, changed_at, changed_back_at, hidden, tie }
}

/// A request that was received.
#[derive(Clone, Debug)]
pub(super) struct Logged {
    /// When the list was read.
    pub(super) at: i64,
    /// The range as the vendor understood it: the end is exclusive.
    pub(super) from: i64,
    pub(super) to: i64,
    /// The range as it was asked for.
    pub(super) asked: (i64, i64),
    /// The scan's number.
    pub(super) scan: usize,
    /// The records that such a range had.
    pub(super) listed: usize,
    pub(super) cursor: Option<String>,
}

/// The model vendor's API.
pub(super) struct ModelApi {
    pub(super) behavior: Behavior,
    pub(super) records: Vec<ModelRecord>,
    clock: ManualClock,
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    log: Vec<Logged>,
    /// The latest scan of each range.
    scans: HashMap<(i64, i64), usize>,
    cache: HashMap<Query, (i64, Answer)>,
    stop: CancellationToken,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Query {
    from: i64,
    to: Option<i64>,
    cursor: Option<String>,
    limit: usize,
}

#[derive(Clone, Debug)]
struct Answer {
    records: Vec<String>,
    next: Option<String>,
    total: Option<usize>,
    fails: bool,
}

impl ModelApi {
    pub(super) fn new(behavior: Behavior, clock: ManualClock, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let records = draw_records(&behavior, &mut rng);
        let state = State {
            rng,
            log: Vec::new(),
            scans: HashMap::new(),
            cache: HashMap::new(),
            stop: CancellationToken::new(),
        };
        Self { behavior, records, clock, state: Mutex::new(state) }
    }

    /// What a stop of the collector cancels.
    pub(super) fn stop_with(&self, stop: CancellationToken) {
        self.state.lock().expect("no panic").stop = stop;
    }

    /// Every request so far.
    pub(super) fn log(&self) -> Vec<Logged> {
        self.state.lock().expect("no panic").log.clone()
    }

    /// Whether the collector has sent more requests than any sound one would.
    pub(super) fn is_exhausted(&self) -> bool {
        self.state.lock().expect("no panic").log.len() >= MAX_REQUESTS
    }

    fn now(&self) -> i64 {
        self.behavior.secs(self.clock.now())
    }

    /// The response's status and body, or `None` if the collector is stopped instead.
    fn respond(&self, request: &Request) -> Option<(u16, String)> {
        let value = |name: &str| request.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let number = |name| value(name).and_then(|text| text.parse::<i64>().ok()).expect("sent by the vendor's code");
        let unit = self.behavior.unit * 1_000_000_000;
        let (from, to) = (number("from").div_euclid(unit), -(-number("to")).div_euclid(unit));
        let cursor = value("cursor").map(str::to_owned);
        let limit = usize::try_from(number("limit")).expect("not negative");
        let mut state = self.state.lock().expect("no panic");
        let now = self.now();
        let exhausted = state.log.len() >= MAX_REQUESTS;
        if exhausted || cursor.is_some() && state.rng.f64() < self.behavior.restarts {
            state.stop.cancel();
            return None;
        }
        let open_end = !self.behavior.sends_end && to > FIRST_START - DELAY + self.behavior.skew_at(FIRST_START).min(0);
        let query = Query { from, to: (!open_end || now >= LIVE_END).then_some(to), cursor, limit };
        self.record_request(&mut state, &query, (from, to), now);
        if query.cursor.is_some() && self.refuses(&mut state, now) {
            return Some((400, r#"{"error":"invalid cursor"}"#.to_owned()));
        }
        let Answer { records, next, total, fails } = self.answer_or_repeat(&mut state, query, now);
        if fails {
            return Some((500, r#"{"error":"internal error"}"#.to_owned()));
        }
        let next = next.map_or("null".to_owned(), |next| format!("\"{next}\""));
        let total = total.map_or("null".to_owned(), |total| total.to_string());
        Some((200, format!(r#"{{"records":[{}],"next":{next},"total":{total}}}"#, records.join(","))))
    }

    /// What the header `Date` says.
    fn date(&self) -> Timestamp {
        let now = self.clock.now();
        let skew = self.behavior.date_skew.unwrap_or_else(|| self.behavior.skew_at(self.behavior.secs(now)));
        let real_secs = now.as_nanos().div_euclid(1_000_000_000);
        Timestamp::from_secs(real_secs + skew * self.behavior.unit)
    }

    /// Whether the cursor of the latest request is refused.
    fn refuses(&self, state: &mut State, now: i64) -> bool {
        let scan = state.log.last().map(|request| request.scan);
        let started = state.log.iter().find(|request| Some(request.scan) == scan).map_or(now, |request| request.at);
        let is_old = self.behavior.cursor_secs.is_some_and(|secs| now - started > secs);
        is_old || self.behavior.refuses_cursors > 0.0 && state.rng.f64() < self.behavior.refuses_cursors
    }

    fn record_request(&self, state: &mut State, query: &Query, asked: (i64, i64), now: i64) {
        let scans = state.scans.len() + state.log.len();
        let scan = match query.cursor {
            Some(_) => *state.scans.entry(asked).or_insert(scans),
            None => *state.scans.entry(asked).insert_entry(scans).get(),
        };
        let (from, to) = self.understood(query.from, query.to);
        let listed = self.records.iter().filter(|record| record.is_visible(now) && from <= record.at && record.at < to);
        let (listed, cursor) = (listed.count(), query.cursor.clone());
        state.log.push(Logged { at: now, from, to, asked, scan, listed, cursor });
    }

    fn answer_or_repeat(&self, state: &mut State, query: Query, now: i64) -> Answer {
        if self.behavior.bad_pages == 0.0 {
            return self.answer(&mut state.rng, &query, now);
        }
        if let Some((at, answer)) = state.cache.get(&query)
            && now - at < CACHE_SECS
        {
            return answer.clone();
        }
        let mut answer = self.answer(&mut state.rng, &query, now);
        if state.rng.f64() < self.behavior.bad_pages && !answer.records.is_empty() {
            answer.records.truncate(answer.records.len() / 2);
            answer.next = None;
        }
        state.cache.insert(query, (now, answer.clone()));
        answer
    }

    fn answer(&self, rng: &mut Rng, query: &Query, now: i64) -> Answer {
        let behavior = &self.behavior;
        let behind = if behavior.replica > 0.0 && rng.f64() < behavior.replica { behavior.lag } else { 0 };
        let view = now - behind;
        let mut rows = self.rows(rng, view, query.from, query.to);
        let all = rows.len();
        rows.retain(|index| !self.records[*index].is_hidden(view));
        let mut count = if behavior.hidden_counted { all } else { rows.len() };
        let limit = behavior.clamp.map_or(query.limit, |clamp| clamp.limit(query.limit, now));
        let offset = self.offset(&rows, query, limit, now);
        let mut page: Vec<usize> = rows.iter().skip(offset).take(limit).copied().collect();
        let end = offset + page.len();
        let mut next = match (behavior.paging, page.last()) {
            (Paging::Cursor, Some(last)) if end < rows.len() => Some(last.to_string()),
            (Paging::Link, Some(_)) if end < rows.len() => Some(end.to_string()),
            _ => None,
        };
        if is_during(behavior.loses_links, now) {
            next = None;
        }
        if is_during(behavior.repeats_links, now) && next.is_some() {
            next = query.cursor.clone().or(next);
        }
        if behavior.shortened > 0.0 || behavior.sparse {
            page.retain(|index| !self.records[*index].is_filtered(behavior));
            count = rows.iter().filter(|index| !self.records[**index].is_filtered(behavior)).count();
        }
        if is_during(behavior.outage, now) {
            (page, next) = (Vec::new(), None);
            count = if behavior.outage_keeps_total { count } else { 0 };
        }
        let total = self.total(rng, query, count, page.len(), offset, now);
        let content = |record: &ModelRecord| i64::from(record.changed_at <= view && view < record.changed_back_at);
        let records = page.iter().map(|index| &self.records[*index]);
        let fails = records.clone().any(|record| record.is_unreadable(behavior));
        Answer { records: records.map(|record| record.raw(behavior, content(record))).collect(), next, total, fails }
    }

    /// Where a page begins.
    fn offset(&self, rows: &[usize], query: &Query, limit: usize, now: i64) -> usize {
        let Some(cursor) = query.cursor.as_deref().and_then(|text| text.parse::<usize>().ok()) else { return 0 };
        let behavior = &self.behavior;
        let offset = match behavior.paging {
            Paging::Offset if behavior.rounds_offsets => cursor - cursor % limit.max(1),
            Paging::Offset | Paging::Link => cursor,
            Paging::PageNumber => (cursor - 1) * limit,
            Paging::Cursor => {
                let is_after = |index: &usize| match behavior.order {
                    RecordOrder::OldestFirst => *index > cursor,
                    RecordOrder::NewestFirst | RecordOrder::Unknown => *index < cursor,
                };
                return rows.iter().position(is_after).unwrap_or(rows.len());
            }
        };
        if is_during(behavior.ignores_offsets, now) { 0 } else { offset }
    }

    fn total(
        &self,
        rng: &mut Rng,
        query: &Query,
        count: usize,
        on_page: usize,
        offset: usize,
        now: i64,
    ) -> Option<usize> {
        if self.behavior.sparse {
            return None;
        }
        Some(match self.behavior.total {
            Total::None => return None,
            Total::Exact => count,
            Total::Page => on_page,
            Total::Estimate if count > 10 => (count + 4) / 10 * 10,
            Total::Estimate => count,
            Total::Capped => count.min(15),
            Total::Remaining => count.saturating_sub(offset),
            Total::Old => self.rows(rng, now - 45, query.from, query.to).len(),
            Total::TooHigh(_) if count == 0 => 0,
            Total::TooHigh(by) => count + by,
        })
    }

    /// The range that a filter really means: from the first second to before the last one.
    fn understood(&self, from: i64, to: Option<i64>) -> (i64, i64) {
        let behavior = &self.behavior;
        let step = behavior.granularity;
        let (mut from, mut to) = (from - from.rem_euclid(step), to);
        if let Some(step) = behavior.hidden_granularity {
            (from, to) = (from - from.rem_euclid(step), to.map(|to| to - to.rem_euclid(step)));
        }
        let end = match to {
            None => NEVER,
            Some(to) if step > 1 => (to - 1) - (to - 1).rem_euclid(step) + step,
            Some(to) => to + i64::from(behavior.end_inclusive),
        };
        (from + i64::from(!behavior.start_inclusive), end)
    }

    /// The records that are visible in a range, in the order of the list.
    fn rows(&self, rng: &mut Rng, now: i64, from: i64, to: Option<i64>) -> Vec<usize> {
        let (from, to) = self.understood(from, to);
        let first = self.records.partition_point(|record| record.at < from);
        let last = self.records.partition_point(|record| record.at < to).max(first);
        let mut rows: Vec<usize> = (first..last).filter(|index| self.records[*index].is_visible(now)).collect();
        if self.behavior.shuffles_ties {
            rng.shuffle(&mut rows);
            rows.sort_by_key(|index| self.records[*index].at);
        }
        if self.behavior.order == RecordOrder::NewestFirst {
            rows.reverse();
        }
        rows
    }
}

impl Clamp {
    fn limit(self, limit: usize, now: i64) -> usize {
        let is_small = if self.grows { now < self.at } else { now >= self.at };
        if is_small { limit.min(5) } else { limit }
    }
}

fn is_during(period: Period, now: i64) -> bool {
    period.is_some_and(|(from, to)| from <= now && now < to)
}

impl Transport for ModelApi {
    fn send<'a>(
        &'a self,
        request: &'a Request,
        _limits: ResponseLimits,
    ) -> BoxFuture<'a, Result<Response, TransportError>> {
        async move {
            let Some((status, body)) = self.respond(request) else { return std::future::pending().await };
            tokio::time::sleep(self.behavior.span(self.behavior.response_secs)).await;
            Ok(Response { status, body: body.into_bytes(), date: Some(self.date()), ..Response::default() })
        }
        .boxed()
    }
}

/// The vendor's code.
#[derive(Debug)]
pub(super) struct ModelVendor {
    pub(super) spec: ApiSpec,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    records: Vec<&'a RawValue>,
    next: Option<String>,
    total: Option<u64>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    id: Option<&'a str>,
    at: i64,
}

impl Normalizer for ModelVendor {
    fn key_of(&self, raw: &str) -> RecordKey {
        let fields: Fields<'_> = serde_json::from_str(raw).expect("sent by the model");
        RecordKey {
            id: EventId::of_key("example", None, fields.id.unwrap_or(raw)),
            timestamp: Some(Timestamp::from_millis(fields.at)),
            version: 0,
            content: 0,
        }
    }

    fn normalize<'a>(&self, raw: &'a str, context: &ReadContext<'a>) -> Event<'a> {
        record::unreadable("example", None, raw, context, String::new())
    }

    fn has_ids(&self) -> bool {
        self.spec.has_ids
    }
}

impl Vendor for ModelVendor {
    fn spec(&self) -> &ApiSpec {
        &self.spec
    }

    fn base_url(&self) -> &str {
        "https://example.com"
    }

    fn normalizer_config(&self) -> NormalizerConfig {
        NormalizerConfig::default()
    }

    fn normalizer(&self) -> &dyn Normalizer {
        self
    }

    fn request(&self, page: &PageRequest<'_>) -> Request {
        let mut query = vec![
            ("from".to_owned(), page.range.from.as_nanos().to_string()),
            ("to".to_owned(), page.range.to.as_nanos().to_string()),
            ("limit".to_owned(), page.page_size.to_string()),
        ];
        query.extend(page.cursor.map(|cursor| ("cursor".to_owned(), cursor.to_owned())));
        Request::json("/logs", query, Auth::Bearer(Secret::from_value("s3cret".into())))
    }

    fn parse_page<'a>(&self, body: &'a str, _page: &PageRequest<'_>) -> Result<Page<'a>, BadPage> {
        let envelope: Envelope<'a> =
            serde_json::from_str(body).map_err(|error| BadPage::unreadable(error.to_string()))?;
        let records: Vec<&str> = envelope.records.iter().map(|raw| raw.get()).collect();
        Ok(Page { records, next: envelope.next, total: envelope.total, ..Page::default() })
    }
}
