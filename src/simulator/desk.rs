//! One vendor's desk: takes a request, lets time pass, lets faults have their turn, and answers.
//!
//! ```text
//! request -> time passes -> ordered failures -> 401/403 faults -> credentials -> disturbances -> budget -> page shift -> answer
//!                                                                                                                          |
//!                                                     wire <- compressed, late, cut off <----------------------------------+
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use super::api::{self, Refusal, Turn, VendorApi};
use super::faults::{FaultName, FaultSet};
use super::feed::{Feed, Settings};
use super::limiter::Limiter;
use super::log::RequestStats;
use super::name::VendorName;
use super::options::Credentials;
use super::page::Selection;
use super::registry;
use super::reply::{Cut, Delivery, Pause, Reply};
use super::request::ApiRequest;
use super::store::{Pending, Place, Record, Store, Window};
use super::switches::{Limits, Order, RetryAfter, Switches};
use super::timeline::Timeline;
use crate::time::Timestamp;

/// A shifted-in event lies at most this far before the end of a window that ends at the present.
const RECENT: Duration = Duration::from_secs(20);
/// A window that ends longer ago than this is history: late events do not appear at its end any more.
const PRESENT: Duration = Duration::from_secs(60);

/// A record that appears after some more requests.
#[derive(Debug)]
struct Appointment {
    requests_left: u64,
    at: Timestamp,
    raw: Option<String>,
}

/// Everything about one vendor.
pub(super) struct Desk {
    vendor: VendorName,
    api: &'static dyn VendorApi,
    store: Store,
    feed: Feed,
    rng: fastrand::Rng,
    limiter: Limiter,
    abuse: Limiter,
    failures: VecDeque<Reply>,
    appointments: Vec<Appointment>,
    credentials: Credentials,
    pub(super) faults: FaultSet,
    pub(super) switches: Switches,
    pub(super) stats: RequestStats,
}

impl Desk {
    pub(super) fn new(
        vendor: VendorName,
        timeline: Timeline,
        faults: FaultSet,
        switches: Switches,
        credentials: Credentials,
    ) -> Self {
        let rng = fastrand::Rng::with_seed(timeline.seed);
        Self {
            vendor,
            api: registry::of(vendor),
            store: Store::default(),
            feed: Feed::new(timeline),
            rng,
            limiter: Limiter::default(),
            abuse: Limiter::default(),
            failures: VecDeque::new(),
            appointments: Vec::new(),
            credentials,
            faults,
            switches,
            stats: RequestStats::default(),
        }
    }

    /// Lets everything happen whose time has come.
    pub(super) fn advance(&mut self, now: Timestamp) {
        let settings = Settings { vendor: self.vendor, api: self.api, faults: &self.faults, switches: &self.switches };
        self.feed.advance(now, settings, &mut self.store);
        self.store.advance(now);
    }

    /// Nothing new happens from `now` on.
    pub(super) fn stop_growth(&mut self, now: Timestamp) {
        self.advance(now);
        self.feed.stop(now);
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Answers a request.
    pub(super) fn serve(&mut self, request: &ApiRequest, now: Timestamp) -> Delivery {
        self.advance(now);
        self.keep_appointments(now);
        let (reply, is_page) = self.decide(request, now);
        self.stats.note(request, reply.status, now);
        self.wrap(reply, is_page, request)
    }

    /// The answer, and whether it is a page that faults may damage.
    fn decide(&mut self, request: &ApiRequest, now: Timestamp) -> (Reply, bool) {
        if let Some(reply) = self.failures.pop_front() {
            return (reply, false);
        }
        if let Err(reply) = self.admit(request, now) {
            return (reply, false);
        }
        self.shift_page(request, now);
        let repeat_token = self.hits(FaultName::RepeatedToken);
        let reply = self.api.answer(&mut self.turn(request, now, repeat_token));
        if (400..500).contains(&reply.status) {
            self.note_refused(now);
        }
        let is_page = reply.status == 200;
        (reply, is_page)
    }

    fn turn<'a>(&'a mut self, request: &'a ApiRequest, now: Timestamp, repeat_token: bool) -> Turn<'a> {
        Turn {
            request,
            store: &mut self.store,
            switches: &self.switches,
            credentials: &self.credentials,
            now,
            repeat_token,
        }
    }

    fn admit(&mut self, request: &ApiRequest, now: Timestamp) -> Result<(), Reply> {
        if self.hits(FaultName::Unauthorized) {
            return Err(self.api.refuse(Refusal::Unauthorized, request));
        }
        if self.hits(FaultName::Forbidden) {
            return Err(self.api.refuse(Refusal::Forbidden, request));
        }
        let api = self.api;
        if let Err(reply) = api.authenticate(&self.turn(request, now, false)) {
            self.spend(request, now)?;
            self.note_refused(now);
            return Err(reply);
        }
        self.disturb(request, now)?;
        self.spend(request, now)
    }

    /// Takes a request out of the budgets.
    fn spend(&mut self, request: &ApiRequest, now: Timestamp) -> Result<(), Reply> {
        let common = self.switches.common(self.vendor);
        let abuse = abuse_limit(self.vendor, &self.switches);
        let wait = self.limiter.wait(&common.rate_limit, now).max(self.abuse.wait(abuse, now));
        if let Some(seconds) = wait {
            let reply = self.api.refuse(Refusal::RateLimited { seconds, now }, request);
            return Err(api::with_retry_after(reply, common.retry_after, seconds, now));
        }
        self.limiter.count(&common.rate_limit, now);
        Ok(())
    }

    fn note_refused(&mut self, now: Timestamp) {
        self.abuse.count(abuse_limit(self.vendor, &self.switches), now);
    }

    /// Faults that answer in the place of the vendor.
    fn disturb(&mut self, request: &ApiRequest, now: Timestamp) -> Result<(), Reply> {
        for (fault, form) in [
            (FaultName::RateLimit, RetryAfter::Seconds),
            (FaultName::RateLimitDate, RetryAfter::Date),
            (FaultName::RateLimitBare, RetryAfter::None),
        ] {
            if self.hits(fault) {
                let seconds = self.whole_seconds(fault);
                let reply = self.api.refuse(Refusal::RateLimited { seconds, now }, request);
                return Err(api::with_retry_after(reply, form, seconds, now));
            }
        }
        if self.hits(FaultName::ServerError) {
            return Err(self.server_error(request));
        }
        if self.hits(FaultName::Html200) {
            return Err(Reply::html(200, "Please stand by"));
        }
        let has_cursor = self.vendor == VendorName::Merge && request.query.non_empty("cursor").is_some();
        if has_cursor && self.hits(FaultName::ExpiredCursor) {
            return Err(self.api.refuse(Refusal::InvalidCursor, request));
        }
        Ok(())
    }

    fn server_error(&mut self, request: &ApiRequest) -> Reply {
        let status = [500, 502, 503, 504][self.rng.usize(..4)];
        if self.rng.bool() {
            return Reply::html(status, "The server met an error");
        }
        self.api.refuse(Refusal::Server(status), request)
    }

    fn whole_seconds(&self, fault: FaultName) -> u64 {
        let seconds = self.faults.get(fault).map_or(0.0, |setting| setting.seconds.ceil());
        Duration::try_from_secs_f64(seconds).map_or(0, |wait| wait.as_secs())
    }

    /// Whether a fault strikes now.
    fn hits(&mut self, fault: FaultName) -> bool {
        self.faults.get(fault).is_some_and(|setting| self.rng.f64() < setting.probability)
    }

    /// Puts an event into the window that is being walked, where a perfect collector still finds it: at the end of a
    /// window that reaches to the present (the next poll's overlap reads it again), else among the rows not yet read.
    fn shift_page(&mut self, request: &ApiRequest, now: Timestamp) {
        if !self.hits(FaultName::PageShift) {
            return;
        }
        let api = self.api;
        let Some(walk) = api.walk(&self.turn(request, now, false)).filter(|walk| walk.later_page) else { return };
        let end = walk.window.to.min(now);
        let at = if end + PRESENT >= now {
            let back = RECENT.mul_f64(self.rng.f64()).max(Duration::from_millis(1));
            (end - back).max(walk.window.from)
        } else {
            let oldest = self.switches.common(self.vendor).retention.0.map(|kept| now - kept);
            let Some(at) = self.unread(walk.window.not_before(oldest), walk.unread) else { return };
            at
        };
        self.insert(at, now, None);
        self.store.advance(now);
    }

    /// The time of a row that the walk has not reached.
    fn unread(&mut self, window: Window, unread: Option<(Order, usize)>) -> Option<Timestamp> {
        let (order, first) = unread.filter(|(order, _)| *order != Order::Unordered)?;
        let rows = Selection::of(&self.store, window, order, None);
        let place = self.rng.usize(first..rows.len().max(first + 1));
        rows.get(place).map(|index| self.store.visible()[index].at)
    }

    fn wrap(&mut self, reply: Reply, is_page: bool, request: &ApiRequest) -> Delivery {
        let cut = (is_page && self.hits(FaultName::CutBody)).then(|| {
            let share = self.rng.f64();
            if self.rng.bool() { Cut::Connection(share) } else { Cut::Text(share) }
        });
        let pause = self.hits(FaultName::Slow).then(|| {
            let seconds = self.faults.get(FaultName::Slow).map_or(0.0, |setting| setting.seconds);
            let wait = Duration::from_secs_f64(seconds);
            if self.rng.bool() { Pause::Headers(wait) } else { Pause::Body(wait) }
        });
        let compress = request.accepts_gzip() && self.hits(FaultName::Gzip);
        Delivery { reply, compress, cut, pause }
    }

    fn keep_appointments(&mut self, now: Timestamp) {
        for appointment in &mut self.appointments {
            appointment.requests_left = appointment.requests_left.saturating_sub(1);
        }
        let (due, later) = std::mem::take(&mut self.appointments).into_iter().partition(|one| one.requests_left == 0);
        self.appointments = later;
        let due: Vec<Appointment> = due;
        for appointment in due {
            self.insert(appointment.at, now, appointment.raw);
        }
        self.store.advance(now);
    }

    /// Puts in a record that becomes visible after so many more requests have been answered.
    pub(super) fn insert_after(&mut self, requests: u64, at: Timestamp, raw: Option<String>) {
        self.appointments.push(Appointment { requests_left: requests.saturating_add(1), at, raw });
    }

    /// Puts in a record (a generated one if no text is given); returns its place.
    pub(super) fn insert(&mut self, at: Timestamp, visible_at: Timestamp, raw: Option<String>) -> Place {
        let settings = Settings { vendor: self.vendor, api: self.api, faults: &self.faults, switches: &self.switches };
        let record = self.feed.extra(at, visible_at, raw, settings);
        self.add(record)
    }

    /// Puts in a second, wholly identical record.
    pub(super) fn insert_twin(&mut self, sequence: u64, visible_at: Timestamp) -> Option<Place> {
        let (at, raw) = self.store.find(sequence).map(|record| (record.at, record.raw.to_string()))?;
        Some(self.insert(at, visible_at, Some(raw)))
    }

    fn add(&mut self, record: Record) -> Place {
        let place = record.place();
        self.store.schedule(record.visible_at, Pending::Appear(record));
        place
    }

    /// Gives a record another text.
    pub(super) fn change(&mut self, sequence: u64, raw: String, now: Timestamp) -> bool {
        let Some(place) = self.store.find(sequence).map(Record::place) else { return false };
        self.store.change(place, raw, Some(now))
    }

    /// The next `count` requests are answered like this.
    pub(super) fn fail_next(&mut self, count: usize, reply: &Reply) {
        self.failures.extend(std::iter::repeat_n(reply.clone(), count));
    }
}

fn abuse_limit(vendor: VendorName, switches: &Switches) -> &Limits {
    static NONE: Limits = Limits(Vec::new());
    if vendor == VendorName::Merge { &switches.merge.abuse_limit } else { &NONE }
}
