//! One vendor's mock: takes a request, advances time, applies faults and rate limits, and answers.
//!
//! ```text
//! request -> advance time -> canned replies -> 401/403 faults -> credentials -> other faults -> rate limit -> page shift
//!                                                                                                                |
//!            wire <- compressed, delayed, truncated <-------------------------- answer of the vendor's API <-----+
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use super::faults::{FaultName, FaultSet};
use super::http::{ApiRequest, Delay, Reply, RequestStats, Truncation, WireReply};
use super::options::Credentials;
use super::record_generator::{GeneratorContext, RecordGenerator, Timeline};
use super::store::{Pending, Record, RecordPosition, Selection, Store, Window};
use super::variants::{Order, RateLimits, RetryAfter, Variants};
use super::vendor_api::{RequestContext, RequestError, VendorApi, with_retry_after};
use super::vendor_name::VendorName;
use crate::time::Timestamp;
use crate::units::Rate;

/// An event inserted by a page shift is at most this far before the end of a window that ends at the present.
const RECENT: Duration = Duration::from_secs(20);
/// A window that ended longer ago than this is history: late events no longer appear at its end.
const PRESENT: Duration = Duration::from_secs(60);

/// A record that appears after a number of further requests.
#[derive(Debug)]
struct ScheduledInsert {
    requests_left: u64,
    at: Timestamp,
    raw: Option<String>,
}

/// One vendor: its records, its faults, variants and rate limits.
pub(super) struct MockVendor {
    vendor: VendorName,
    api: &'static dyn VendorApi,
    store: Store,
    generator: RecordGenerator,
    rng: fastrand::Rng,
    limiter: RateLimiter,
    abuse: RateLimiter,
    canned_replies: VecDeque<Reply>,
    scheduled_inserts: Vec<ScheduledInsert>,
    credentials: Credentials,
    pub(super) faults: FaultSet,
    pub(super) variants: Variants,
    pub(super) stats: RequestStats,
}

impl MockVendor {
    pub(super) fn new(
        vendor: VendorName,
        api: &'static dyn VendorApi,
        timeline: Timeline,
        faults: FaultSet,
        variants: Variants,
        credentials: Credentials,
    ) -> Self {
        let rng = fastrand::Rng::with_seed(timeline.seed);
        Self {
            vendor,
            api,
            store: Store::default(),
            generator: RecordGenerator::new(timeline),
            rng,
            limiter: RateLimiter::default(),
            abuse: RateLimiter::default(),
            canned_replies: VecDeque::new(),
            scheduled_inserts: Vec::new(),
            credentials,
            faults,
            variants,
            stats: RequestStats::default(),
        }
    }

    /// Generates and publishes everything that is due by `now`.
    pub(super) fn advance(&mut self, now: Timestamp) {
        let context =
            GeneratorContext { vendor: self.vendor, api: self.api, faults: &self.faults, variants: &self.variants };
        self.generator.advance(now, context, &mut self.store);
        self.store.advance(now);
    }

    /// Nothing new happens from `now` on.
    pub(super) fn stop_growth(&mut self, now: Timestamp) {
        self.advance(now);
        self.generator.stop(now);
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Answers a request.
    pub(super) fn serve(&mut self, request: &ApiRequest, now: Timestamp) -> WireReply {
        self.advance(now);
        self.insert_due(now);
        let (reply, is_page) = self.reply_to(request, now);
        self.stats.record(request, reply.status, now);
        self.apply_wire_faults(reply, is_page, request)
    }

    /// The answer, and whether it is a page that faults may damage.
    fn reply_to(&mut self, request: &ApiRequest, now: Timestamp) -> (Reply, bool) {
        if let Some(reply) = self.canned_replies.pop_front() {
            return (reply, false);
        }
        if let Err(reply) = self.admit(request, now) {
            return (reply, false);
        }
        self.shift_page(request, now);
        let repeat_token = self.triggers(FaultName::RepeatedToken);
        let reply = self.api.answer(&mut self.context(request, now, repeat_token));
        if (400..500).contains(&reply.status) {
            self.count_error(now);
        }
        let is_page = reply.status == 200;
        (reply, is_page)
    }

    fn context<'a>(&'a mut self, request: &'a ApiRequest, now: Timestamp, repeat_token: bool) -> RequestContext<'a> {
        RequestContext {
            request,
            store: &mut self.store,
            variants: &self.variants,
            credentials: &self.credentials,
            now,
            repeat_token,
        }
    }

    fn admit(&mut self, request: &ApiRequest, now: Timestamp) -> Result<(), Reply> {
        if self.triggers(FaultName::Unauthorized) {
            return Err(self.api.error_reply(RequestError::Unauthorized, request));
        }
        if self.triggers(FaultName::Forbidden) {
            return Err(self.api.error_reply(RequestError::Forbidden, request));
        }
        let api = self.api;
        if let Err(reply) = api.authenticate(&self.context(request, now, false)) {
            self.consume_budget(request, now)?;
            self.count_error(now);
            return Err(reply);
        }
        self.inject_faults(request, now)?;
        self.consume_budget(request, now)
    }

    /// Counts a request against the rate limits.
    fn consume_budget(&mut self, request: &ApiRequest, now: Timestamp) -> Result<(), Reply> {
        let common = self.variants.common(self.vendor);
        let abuse = abuse_limit(self.vendor, &self.variants);
        let wait = self.limiter.wait(&common.rate_limit, now).max(self.abuse.wait(abuse, now));
        if let Some(seconds) = wait {
            let reply = self.api.error_reply(RequestError::RateLimited { seconds, now }, request);
            return Err(with_retry_after(reply, common.retry_after, seconds, now));
        }
        self.limiter.count(&common.rate_limit, now);
        Ok(())
    }

    fn count_error(&mut self, now: Timestamp) {
        self.abuse.count(abuse_limit(self.vendor, &self.variants), now);
    }

    /// Faults that answer instead of the vendor's API.
    fn inject_faults(&mut self, request: &ApiRequest, now: Timestamp) -> Result<(), Reply> {
        for (fault, form) in [
            (FaultName::RateLimit, RetryAfter::Seconds),
            (FaultName::RateLimitDate, RetryAfter::Date),
            (FaultName::RateLimitBare, RetryAfter::None),
        ] {
            if self.triggers(fault) {
                let seconds = self.whole_seconds(fault);
                let reply = self.api.error_reply(RequestError::RateLimited { seconds, now }, request);
                return Err(with_retry_after(reply, form, seconds, now));
            }
        }
        if self.triggers(FaultName::ServerError) {
            return Err(self.server_error(request));
        }
        if self.triggers(FaultName::Html200) {
            return Err(Reply::html(200, "Maintenance"));
        }
        let has_cursor = self.vendor == VendorName::Merge && request.query.non_empty("cursor").is_some();
        if has_cursor && self.triggers(FaultName::ExpiredCursor) {
            return Err(self.api.error_reply(RequestError::InvalidCursor, request));
        }
        Ok(())
    }

    fn server_error(&mut self, request: &ApiRequest) -> Reply {
        let status = [500, 502, 503, 504][self.rng.usize(..4)];
        if self.rng.bool() {
            return Reply::html(status, "Internal Server Error");
        }
        self.api.error_reply(RequestError::Server(status), request)
    }

    fn whole_seconds(&self, fault: FaultName) -> u64 {
        let seconds = self.faults.get(fault).map_or(0.0, |setting| setting.seconds.ceil());
        Duration::try_from_secs_f64(seconds).map_or(0, |wait| wait.as_secs())
    }

    /// Whether a fault occurs now.
    fn triggers(&mut self, fault: FaultName) -> bool {
        let occurs = self.faults.get(fault).is_some_and(|setting| self.rng.f64() < setting.probability);
        if occurs {
            *self.stats.faults.entry(fault.as_str()).or_default() += 1;
        }
        occurs
    }

    /// Inserts an event into the window that is being scanned, where a perfect collector still finds it: at the end of a
    /// window that reaches the present (the next poll's overlap reads it), otherwise among the unread rows.
    fn shift_page(&mut self, request: &ApiRequest, now: Timestamp) {
        if !self.triggers(FaultName::PageShift) {
            return;
        }
        let api = self.api;
        let Some(scan) = api.scan_position(&self.context(request, now, false)).filter(|scan| scan.later_page) else {
            return;
        };
        let end = scan.window.to.min(now);
        let at = if end + PRESENT >= now {
            let back = RECENT.mul_f64(self.rng.f64()).max(Duration::from_millis(1));
            (end - back).max(scan.window.from)
        } else {
            let oldest = self.variants.common(self.vendor).retention.0.map(|kept| now - kept);
            let Some(at) = self.unread(scan.window.not_before(oldest), scan.unread) else { return };
            at
        };
        self.insert(at, now, None);
        self.store.advance(now);
    }

    /// The time of a row that the scan has not reached.
    fn unread(&mut self, window: Window, unread: Option<(Order, usize)>) -> Option<Timestamp> {
        let (order, first) = unread.filter(|(order, _)| *order != Order::Unordered)?;
        let rows = Selection::of(&self.store, window, order, None);
        let position = self.rng.usize(first..rows.len().max(first + 1));
        rows.get(position).map(|index| self.store.visible()[index].at)
    }

    fn apply_wire_faults(&mut self, reply: Reply, is_page: bool, request: &ApiRequest) -> WireReply {
        let cut = (is_page && self.triggers(FaultName::CutBody)).then(|| {
            let share = self.rng.f64();
            if self.rng.bool() { Truncation::Connection(share) } else { Truncation::Text(share) }
        });
        let delay = self.triggers(FaultName::Slow).then(|| {
            let seconds = self.faults.get(FaultName::Slow).map_or(0.0, |setting| setting.seconds);
            let wait = Duration::from_secs_f64(seconds);
            if self.rng.bool() { Delay::Headers(wait) } else { Delay::Body(wait) }
        });
        let compress = request.accepts_gzip() && self.triggers(FaultName::Gzip);
        WireReply { reply, compress, cut, delay }
    }

    fn insert_due(&mut self, now: Timestamp) {
        for insert in &mut self.scheduled_inserts {
            insert.requests_left = insert.requests_left.saturating_sub(1);
        }
        let (due, later) =
            std::mem::take(&mut self.scheduled_inserts).into_iter().partition(|one| one.requests_left == 0);
        self.scheduled_inserts = later;
        let due: Vec<ScheduledInsert> = due;
        for insert in due {
            self.insert(insert.at, now, insert.raw);
        }
        self.store.advance(now);
    }

    /// Inserts a record that becomes visible after `requests` further requests have been answered.
    pub(super) fn insert_after(&mut self, requests: u64, at: Timestamp, raw: Option<String>) {
        self.scheduled_inserts.push(ScheduledInsert { requests_left: requests.saturating_add(1), at, raw });
    }

    /// Inserts a record (a generated one if `raw` is `None`); returns its position.
    pub(super) fn insert(&mut self, at: Timestamp, visible_at: Timestamp, raw: Option<String>) -> RecordPosition {
        let record = self.extra(at, visible_at, raw);
        self.add(record)
    }

    fn extra(&mut self, at: Timestamp, visible_at: Timestamp, raw: Option<String>) -> Record {
        let context =
            GeneratorContext { vendor: self.vendor, api: self.api, faults: &self.faults, variants: &self.variants };
        self.generator.extra(at, visible_at, raw, context)
    }

    /// Inserts a second, identical record.
    pub(super) fn insert_identical(&mut self, sequence: u64, visible_at: Timestamp) -> Option<RecordPosition> {
        let original = self.store.find(sequence)?;
        let (at, raw, meaning) = (original.at, original.raw.to_string(), original.meaning.clone());
        let record = Record { meaning, ..self.extra(at, visible_at, Some(raw)) };
        Some(self.add(record))
    }

    fn add(&mut self, record: Record) -> RecordPosition {
        let position = record.position();
        self.store.schedule(record.visible_at, Pending::Appear(record));
        position
    }

    /// Replaces the text of a record.
    pub(super) fn change(&mut self, sequence: u64, raw: String, now: Timestamp) -> bool {
        let Some(position) = self.store.find(sequence).map(Record::position) else { return false };
        self.store.replace(position, raw, now)
    }

    /// Answers the next `count` requests with this reply.
    pub(super) fn fail_next(&mut self, count: usize, reply: &Reply) {
        self.canned_replies.extend(std::iter::repeat_n(reply.clone(), count));
    }
}

fn abuse_limit(vendor: VendorName, variants: &Variants) -> &RateLimits {
    static NONE: RateLimits = RateLimits(Vec::new());
    if vendor == VendorName::Merge { &variants.merge.abuse_limit } else { &NONE }
}

/// Counts requests against rate limits that all apply, in sliding windows over the admitted requests.
#[derive(Debug, Default)]
pub(super) struct RateLimiter {
    budgets: Vec<(Rate, VecDeque<Timestamp>)>,
}

impl RateLimiter {
    /// Adopts the current rate limits; a changed one starts empty.
    fn follow(&mut self, limits: &RateLimits) {
        if self.budgets.iter().map(|(rate, _)| rate).ne(&limits.0) {
            self.budgets = limits.0.iter().map(|rate| (*rate, VecDeque::new())).collect();
        }
    }

    /// Seconds (rounded up) until the next request is admitted; `None` if it is admitted now.
    pub(super) fn wait(&mut self, limits: &RateLimits, now: Timestamp) -> Option<u64> {
        self.follow(limits);
        self.budgets.iter_mut().filter_map(|(rate, times)| wait_of(*rate, times, now)).max()
    }

    /// Counts a request.
    pub(super) fn count(&mut self, limits: &RateLimits, now: Timestamp) {
        self.follow(limits);
        for (_, times) in &mut self.budgets {
            times.push_back(now);
        }
    }
}

fn wait_of(rate: Rate, times: &mut VecDeque<Timestamp>, now: Timestamp) -> Option<u64> {
    while times.front().is_some_and(|time| *time + rate.per <= now) {
        times.pop_front();
    }
    let full = times.len() >= usize::try_from(rate.requests).unwrap_or(usize::MAX);
    let oldest = times.front().filter(|_| full)?;
    let left = (*oldest + rate.per).since(now);
    Some(left.as_secs() + u64::from(left.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::variants::VariantValue as _;

    #[test]
    fn a_full_budget_returns_the_wait_and_recovers() {
        let limits = RateLimits::read("2/s,3/m").expect("limits");
        let mut limiter = RateLimiter::default();
        let at = Timestamp::from_millis;
        for millis in [0, 100] {
            assert_eq!(limiter.wait(&limits, at(millis)), None);
            limiter.count(&limits, at(millis));
        }
        assert_eq!(limiter.wait(&limits, at(200)), Some(1));
        assert_eq!(limiter.wait(&limits, at(1_000)), None);
        limiter.count(&limits, at(1_000));
        assert_eq!(limiter.wait(&limits, at(2_500)), Some(58));
        assert_eq!(limiter.wait(&limits, at(60_000)), None);
    }

    #[test]
    fn without_limits_there_is_no_wait() {
        let limits = RateLimits(Vec::new());
        assert_eq!(RateLimiter::default().wait(&limits, Timestamp::EPOCH), None);
    }
}
