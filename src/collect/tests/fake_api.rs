//! A vendor in memory: a list of records behind an offset-paged API, with a hook that sees every request and may respond
//! in the vendor's place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, ManualClock};
use crate::collect::transport::{Response, ResponseLimits, Transport, TransportError};
use crate::collect::{
    CollectMode, RateLimitGroups, Source, SourceContext, SourceEnd, SourceOptions, SourceSettings, run,
};
use crate::event::{Event, EventId};
use crate::forecast::{Assumption, Forecast, forecast, initial_state};
use crate::journal::{CollectJournal, Journal, JournalOptions, JournalSnapshot, SnapshotQuery, SqliteJournal};
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::units::{ByteSize, Rate};
use crate::vendors::{
    ApiSpec, Auth, BadPage, Normalizer, NormalizerConfig, Page, PageRequest, Paging, ReadContext, RecordKey,
    RecordOrder, Request, Vendor, api_error, record,
};

/// The time at which every test starts.
pub(super) const START: Timestamp = Timestamp::from_secs(1_000_000);

/// The spec of a typical vendor: ids, newest first, millisecond filter.
pub(in crate::collect) fn example_spec() -> ApiSpec {
    ApiSpec {
        name: "example",
        order: RecordOrder::NewestFirst,
        paging: Paging::Offset,
        time_granularity: Duration::from_millis(1),
        has_ids: true,
        overlap: Duration::from_secs(60),
        delay: Duration::from_secs(5),
        poll_interval: Duration::from_secs(30),
        timeout: Duration::from_secs(30),
        page_size: 10,
        max_page_size: 1_000,
        rate_limit: vec![Rate { requests: 1_000, per: Duration::from_secs(1) }],
        default_rate_limit_wait: Duration::from_secs(20),
        retention: None,
        earliest: START - Duration::from_secs(10_000),
        slice: Duration::from_secs(3_600),
        max_window_records: 10_000,
        recheck: None,
    }
}

/// A record that the vendor holds.
#[derive(Clone, Debug)]
pub(super) struct FakeRecord {
    pub(super) at: Timestamp,
    pub(super) raw: String,
    pub(super) visible_from: Timestamp,
}

/// A record with an id, `secs` seconds from the start, visible at once.
pub(super) fn record(id: &str, secs: i64) -> FakeRecord {
    versioned(id, secs, 0)
}

pub(super) fn versioned(id: &str, secs: i64, version: u64) -> FakeRecord {
    let at = at_secs(secs);
    let raw = format!(r#"{{"id":"{id}","at":{},"v":{version}}}"#, at.as_millis());
    FakeRecord { at, raw, visible_from: at }
}

pub(super) fn late(id: &str, secs: i64, visible_secs: i64) -> FakeRecord {
    FakeRecord { visible_from: at_secs(visible_secs), ..record(id, secs) }
}

pub(super) fn at_secs(secs: i64) -> Timestamp {
    Timestamp::from_millis(START.as_millis() + secs * 1_000)
}

/// What a request was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) at: Timestamp,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) offset: usize,
    pub(super) limit: usize,
}

/// The response of a hook; `None` lets the vendor respond.
pub(super) type Reply = Option<Result<Response, TransportError>>;
type Hook = Box<dyn FnMut(usize, &Call, &mut Vec<FakeRecord>) -> Reply + Send>;

pub(super) fn status(status: u16) -> Reply {
    Some(Ok(Response { status, ..Response::default() }))
}

pub(super) fn body(text: &str) -> Reply {
    Some(Ok(Response { status: 200, body: text.into(), ..Response::default() }))
}

/// A page of records, newest first, with a total.
pub(super) fn page_of(call: &Call, records: &[FakeRecord]) -> Response {
    let clock = ManualClock::starting_at(call.at);
    let state = State { records: vec![], calls: vec![], hook: Box::new(|_, _, _| None), stop: None };
    let api = FakeApi { clock, order: RecordOrder::NewestFirst, has_total: true, state: Mutex::new(state) };
    api.page(records, call)
}

/// The vendor's API.
pub(super) struct FakeApi {
    clock: ManualClock,
    order: RecordOrder,
    has_total: bool,
    state: Mutex<State>,
}

struct State {
    records: Vec<FakeRecord>,
    calls: Vec<Call>,
    hook: Hook,
    stop: Option<(usize, CancellationToken)>,
}

impl FakeApi {
    fn respond(&self, request: &Request) -> Result<Response, TransportError> {
        let number = |name: &str| {
            let found = request.query.iter().find(|(key, _)| key == name);
            found.and_then(|(_, value)| value.parse::<i64>().ok()).expect("sent by the vendor's code")
        };
        let time = |name| Timestamp::from_nanos(number(name));
        let count = |name| usize::try_from(number(name)).expect("not negative");
        let call = Call {
            at: self.clock.now(),
            from: time("from"),
            to: time("to"),
            offset: count("offset"),
            limit: count("limit"),
        };
        let mut state = self.state.lock().expect("no panic");
        let State { records, calls, hook, stop } = &mut *state;
        calls.push(call.clone());
        if let Some((at, token)) = stop
            && calls.len() >= *at
        {
            token.cancel();
        }
        hook(calls.len(), &call, records).unwrap_or_else(|| Ok(self.page(records, &call)))
    }

    fn page(&self, records: &[FakeRecord], call: &Call) -> Response {
        let matches =
            |record: &&FakeRecord| record.visible_from <= call.at && call.from <= record.at && record.at <= call.to;
        let mut found: Vec<&FakeRecord> = records.iter().filter(matches).collect();
        found.sort_by_key(|record| record.at);
        match self.order {
            RecordOrder::NewestFirst => found.reverse(),
            RecordOrder::Unknown => found.sort_by_key(|record| std::cmp::Reverse(record.raw.len())),
            RecordOrder::OldestFirst => {}
        }
        let page: Vec<&str> =
            found.iter().skip(call.offset).take(call.limit).map(|record| record.raw.as_str()).collect();
        let end = call.offset + page.len();
        let next = if end < found.len() { format!("\"{end}\"") } else { "null".into() };
        let total = if self.has_total { found.len().to_string() } else { "null".into() };
        let body = format!(r#"{{"records":[{}],"next":{next},"total":{total}}}"#, page.join(","));
        Response { status: 200, body: body.into_bytes(), ..Response::default() }
    }
}

impl Transport for FakeApi {
    fn send<'a>(
        &'a self,
        request: &'a Request,
        _limits: ResponseLimits,
    ) -> BoxFuture<'a, Result<Response, TransportError>> {
        async move { self.respond(request) }.boxed()
    }
}

/// The vendor's code: its spec, and a filter that is a part of every request.
#[derive(Debug)]
struct ExampleVendor(ApiSpec, &'static str);

#[derive(Deserialize)]
struct ExampleRecord<'a> {
    id: Option<&'a str>,
    at: Option<i64>,
    v: Option<u64>,
}

#[derive(Deserialize)]
struct ExamplePage<'a> {
    #[serde(borrow)]
    records: Vec<&'a RawValue>,
    next: Option<String>,
    total: Option<u64>,
}

impl Normalizer for ExampleVendor {
    fn key_of(&self, raw: &str) -> RecordKey {
        let Ok(found) = serde_json::from_str::<ExampleRecord<'_>>(raw) else {
            return record::key_of_bytes("example", None, raw);
        };
        let key = if self.0.has_ids { found.id.unwrap_or(raw) } else { raw };
        RecordKey {
            id: EventId::of_key("example", None, key),
            timestamp: found.at.map(Timestamp::from_millis),
            version: found.v.unwrap_or(0),
            content: 0,
        }
    }

    fn normalize<'a>(&self, raw: &'a str, context: &ReadContext<'a>) -> Event<'a> {
        Event {
            id: self.key_of(raw).id.nth(context.occurrence),
            ..record::unreadable("example", None, raw, context, String::new())
        }
    }

    fn has_ids(&self) -> bool {
        self.0.has_ids
    }
}

impl Vendor for ExampleVendor {
    fn spec(&self) -> &ApiSpec {
        &self.0
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
        let query = [
            ("from", page.range.from.as_nanos().to_string()),
            ("to", page.range.to.as_nanos().to_string()),
            ("offset", page.cursor.unwrap_or("0").to_owned()),
            ("limit", page.page_size.to_string()),
        ];
        Request {
            path: "/logs".into(),
            query: query.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            headers: vec![("x-filter", self.1.to_owned())],
            secret_headers: Vec::new(),
            auth: Auth::Bearer(Secret::from_value("s3cret".into())),
        }
    }

    fn parse_page<'a>(&self, body: &'a str, request: &PageRequest<'_>) -> Result<Page<'a>, BadPage> {
        let page: ExamplePage<'a> =
            serde_json::from_str(body).map_err(|error| BadPage::unreadable(error.to_string()))?;
        Ok(Page {
            records: page.records.iter().map(|raw| raw.get()).collect(),
            next: page.next,
            total: page.total,
            limit: Some(request.page_size.into()),
            ..Page::default()
        })
    }

    fn classify_error(&self, status: u16, body: &str, has_cursor: bool) -> api_error::ApiError {
        let mut error = api_error::by_status("example", status, body, has_cursor);
        match status {
            410 => error.kind = api_error::ApiErrorKind::CursorExpired,
            413 => error.kind = api_error::ApiErrorKind::PageTooLarge,
            _ => {}
        }
        error
    }
}

/// A source with its clock, its vendor and its journal.
pub(super) struct FakeSource {
    clock: ManualClock,
    spec: ApiSpec,
    pub(super) options: SourceOptions,
    /// What the pipeline file filters by.
    pub(super) filter: &'static str,
    pub(super) max_staged_bytes: u64,
    api: Arc<FakeApi>,
    data_dir: tempfile::TempDir,
    journal: Option<Arc<dyn Journal>>,
    /// What the collector gets instead of the journal.
    wrapper: Option<Arc<dyn CollectJournal>>,
}

impl FakeSource {
    /// The current time.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The clock, which the source shares.
    pub(super) fn clock(&self) -> ManualClock {
        self.clock.clone()
    }

    /// Moves the clock back.
    pub(super) fn set_clock_back(&self, by: Duration) {
        self.clock.set_back(by);
    }

    pub(super) fn new(spec: ApiSpec, has_total: bool, records: Vec<FakeRecord>) -> Self {
        let clock = ManualClock::starting_at(START);
        let state = State { records, calls: vec![], hook: Box::new(|_, _, _| None), stop: None };
        let api = FakeApi { clock: clock.clone(), order: spec.order, has_total, state: Mutex::new(state) };
        // In memory where possible: the journal's own tests cover the disk.
        let data_dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
        Self {
            clock,
            spec,
            options: SourceOptions::default(),
            filter: "",
            max_staged_bytes: u64::MAX,
            api: Arc::new(api),
            data_dir,
            journal: None,
            wrapper: None,
        }
    }

    /// Sees every request from now on, numbered from 1 since the start.
    pub(super) fn hook(&self, hook: impl FnMut(usize, &Call, &mut Vec<FakeRecord>) -> Reply + Send + 'static) {
        self.api.state.lock().expect("no panic").hook = Box::new(hook);
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.api.state.lock().expect("no panic").calls.clone()
    }

    pub(super) fn truth(&self) -> BTreeMap<String, usize> {
        counted(self.api.state.lock().expect("no panic").records.iter().map(|record| record.raw.clone()))
    }

    pub(super) fn journal(&mut self) -> Arc<dyn Journal> {
        let data_dir = self.data_dir.path().to_owned();
        let open = || {
            let options = JournalOptions { data_dir, max_size: ByteSize(1 << 30) };
            Arc::new(SqliteJournal::open(&options).expect("opened")) as Arc<dyn Journal>
        };
        self.journal.get_or_insert_with(open).clone()
    }

    /// Gives the collector a journal that wraps the real one.
    pub(super) fn wrap_journal(&mut self, wrapper: Arc<dyn CollectJournal>) {
        self.wrapper = Some(wrapper);
    }

    /// The journal's snapshot.
    pub(super) fn snapshot(&self) -> Option<JournalSnapshot> {
        let look = SnapshotQuery { sources: None, sinks: &[], evidence: None };
        SqliteJournal::snapshot(self.data_dir.path(), &look).expect("read")
    }

    /// The first windows that the source would read now, if each had records.
    pub(super) fn forecast(&self, show: usize) -> Forecast {
        let now = self.clock.now();
        let known = self.snapshot().and_then(|snapshot| Some(snapshot.source("audit")?.state.clone()));
        let state = known.unwrap_or_else(|| initial_state(now));
        let vendor = ExampleVendor(self.spec.clone(), self.filter);
        forecast(&vendor, &self.settings(), &state, now, Assumption::Records, show)
    }

    pub(super) fn settings(&self) -> SourceSettings {
        self.options.over(&self.spec)
    }

    /// Runs the source until it ends, or until the `stop`-th request from now has a response.
    pub(super) async fn run(&mut self, mode: CollectMode, stop: Option<usize>) -> SourceEnd {
        let shutdown = CancellationToken::new();
        {
            let mut state = self.api.state.lock().expect("no panic");
            let made = state.calls.len();
            state.stop = stop.map(|stop| (made + stop, shutdown.clone()));
        }
        self.run_with(mode, shutdown).await
    }

    /// Runs the source until it ends or is shut down.
    pub(super) async fn run_with(&mut self, mode: CollectMode, shutdown: CancellationToken) -> SourceEnd {
        let source = Source {
            name: "audit".into(),
            vendor: Arc::new(ExampleVendor(self.spec.clone(), self.filter)),
            settings: self.settings(),
        };
        let context = SourceContext {
            journal: self.wrapper.clone().unwrap_or_else(|| self.journal()),
            transport: self.api.clone(),
            rate_limit_groups: RateLimitGroups::default(),
            max_staged_bytes: self.max_staged_bytes,
            clock: Arc::new(self.clock.clone()),
            rng_seed: 1,
            mode,
            shutdown,
        };
        run(source, context).await.expect("the journal works")
    }

    /// Collects everything up to this many seconds from the start.
    pub(super) async fn collect_until(&mut self, secs: i64) -> SourceEnd {
        self.run(CollectMode::Once { until: at_secs(secs) }, None).await
    }

    /// Polls until this many more requests have a response.
    pub(super) async fn poll(&mut self, requests: usize) {
        assert_eq!(self.run(CollectMode::Continuous, Some(requests)).await, SourceEnd::Shutdown);
    }

    /// The journal with its administrative calls; closes the one in use.
    pub(super) fn admin_journal(&mut self) -> SqliteJournal {
        self.restart();
        let options = JournalOptions { data_dir: self.data_dir.path().to_owned(), max_size: ByteSize(1 << 30) };
        SqliteJournal::open(&options).expect("opened")
    }

    /// Closes the journal, as the end of a process does.
    pub(super) fn restart(&mut self) {
        self.wrapper = None;
        self.journal = None;
    }

    /// Every visible event, in order.
    pub(super) async fn events(&mut self) -> Vec<(String, u32)> {
        let journal = self.journal();
        let head = *journal.head().borrow();
        let sources = journal.sources().await.expect("read").iter().map(|source| source.id).collect();
        let blocks = journal.read(1, head, sources, usize::MAX >> 1).await.expect("read");
        let mut events = Vec::new();
        for block in blocks {
            let decoded = block.decode().expect("sound");
            events.extend(decoded.records().map(|record| (record.raw.to_owned(), record.occurrence)));
        }
        events
    }

    /// How often each raw record was collected.
    pub(super) async fn collected(&mut self) -> BTreeMap<String, usize> {
        counted(self.events().await.into_iter().map(|(raw, _)| raw))
    }

    pub(super) async fn last_error(&mut self) -> Option<String> {
        let summary = self.journal().stats().await.expect("read");
        summary.sources[0].last_error.as_ref().map(|last_error| last_error.message.clone())
    }
}

fn counted(raws: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for raw in raws {
        *counts.entry(raw).or_default() += 1;
    }
    counts
}
