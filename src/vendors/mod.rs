//! Vendors: what is true of each API, as pure values and functions.
//!
//! ```text
//!            request()                     read()                identify()            normalize()
//! Ask+page ------------> Request ==HTTP==> body ----> Page of raw ----------> Identity ----------> Event
//!                                 (collector)           records   (collector)           (deliver)
//! ```
//!
//! A vendor's file holds its configuration, its one request, how a page is read, how a record is known again and how it
//! is normalized: nothing asynchronous, no clock, no files, no retries. Everything that those need is in the collector,
//! once for all vendors. [`registry`] is the only place that knows every vendor by name; [`added`] holds those that a program
//! brings in.

pub mod added;
pub mod akuity;
pub mod api_error;
pub mod captivateiq;
pub mod clumio;
pub mod confluence;
mod lenient;
pub mod mapping;
pub mod merge;
pub mod page;
pub mod record;
pub mod registry;
pub mod settings;
#[cfg(test)]
mod testing;

use std::time::Duration;

pub use api_error::{ApiError, ApiErrorKind};

use crate::event::{Event, EventId};
use crate::secret::Secret;
use crate::time::{TimeRange, Timestamp};
use crate::units::Rate;

/// In which order a vendor lists its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordOrder {
    /// The newest record is on the first page.
    NewestFirst,
    /// The oldest record is on the first page.
    OldestFirst,
    /// Not documented, or configurable at the vendor: the collector looks at the times.
    #[default]
    Unknown,
}

/// What the collector must know of an API; each default can be overridden in the pipeline file.
#[derive(Clone, Debug)]
pub struct ApiSpec {
    /// The vendor's name: `type` in the pipeline file and `vendor` in every event.
    pub name: &'static str,
    /// Order of the records in a walk.
    pub order: RecordOrder,
    /// The smallest step that the time filter can express. If it is a day or more, the collector asks for whole steps
    /// and keeps only the records that lie inside the window by their own time.
    pub time_granularity: Duration,
    /// Whether each record has an id. Without one, two wholly identical records count as two events, and a walk during
    /// which the vendor's total changed is walked again.
    pub has_ids: bool,
    /// How much of the recent past each poll reads again, since vendors publish late.
    pub overlap: Duration,
    /// How far behind the present a poll stays.
    pub delay: Duration,
    /// Time between two polls.
    pub poll_interval: Duration,
    /// Time limit of one request.
    pub timeout: Duration,
    /// Records asked for a page.
    pub page_size: u32,
    /// The largest page that the vendor gives.
    pub max_page_size: u32,
    /// The request budget.
    pub rate_limit: Vec<Rate>,
    /// The least wait after a 429 that does not say how long; it grows while such answers go on.
    pub default_rate_limit_wait: Duration,
    /// How far back the vendor keeps records, if known.
    pub retention: Option<Duration>,
    /// No record can be older than this (the API did not exist); where `earliest` begins if `retention` is unknown.
    pub earliest: Timestamp,
    /// Length of a backfill window.
    pub slice: Duration,
    /// A window with more records than this is cut in two.
    pub max_window_records: u64,
    /// Records that change later are looked for again over this much of the past.
    pub recheck: Option<Recheck>,
}

impl ApiSpec {
    /// The same for requests that name no end. Each of their walks reads up to the present, so shorter slices would
    /// read the same records again and again, and cutting a window in two would only make two such walks of one.
    fn without_end(self) -> Self {
        const TEN_YEARS: Duration = Duration::from_secs(3_650 * 86_400);
        Self { slice: TEN_YEARS, max_window_records: u64::MAX, ..self }
    }
}

/// A periodic second look at a longer past, for vendors that change records after the fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recheck {
    /// Time between two rechecks.
    pub interval: Duration,
    /// How much of the past a recheck reads again.
    pub lookback: Duration,
}

/// One page to ask for.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest<'a> {
    /// The span of time; the same for every page of a walk.
    pub range: TimeRange,
    /// Where to go on: what [`Page::next`] said, `None` for the first page.
    pub cursor: Option<&'a str>,
    /// Records asked for.
    pub page_size: u32,
}

/// A GET request as values. It has no host: the transport joins it to the one origin that is configured, so credentials
/// cannot go anywhere else, whatever a link in an answer says.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path below the base URL, beginning with `/`, already percent-encoded.
    pub path: String,
    /// Query parameters, not yet percent-encoded.
    pub query: Vec<(String, String)>,
    /// Headers without secrets.
    pub headers: Vec<(&'static str, String)>,
    /// Headers whose values are secrets, besides [`Self::auth`]; revealed by the transport alone, at the last moment.
    pub secret_headers: Vec<(&'static str, Secret)>,
    /// How to authenticate.
    pub auth: Auth,
}

/// How a request authenticates. Secrets are revealed by the transport alone, at the last moment.
#[derive(Clone, Debug)]
pub enum Auth {
    /// `Authorization: Bearer <secret>`.
    Bearer(Secret),
    /// `Authorization: <scheme> <secret>`, for vendors with a word of their own.
    Scheme(&'static str, Secret),
    /// HTTP Basic.
    Basic {
        /// The user name, or key id.
        user: String,
        /// The password, token or key secret.
        password: Secret,
    },
}

/// One page of records, borrowed from the answer's body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page<'a> {
    /// The records, each the exact bytes of the vendor's JSON, in the vendor's order.
    pub records: Vec<&'a str>,
    /// Where the next page is; `None` at the end.
    pub next: Option<String>,
    /// How many records the vendor says the whole walk has.
    pub total: Option<u64>,
}

/// By what a record is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordKey {
    /// The event id of the first record with this content. Twins get theirs by [`EventId::nth`].
    pub id: EventId,
    /// The record's own time, if it has a usable one.
    pub timestamp: Option<Timestamp>,
    /// Grows when the record changes; 0 for records that never change.
    pub version: u64,
}

/// The circumstances of a record that its bytes do not tell.
#[derive(Clone, Copy, Debug)]
pub struct ReadContext<'a> {
    /// The source's name.
    pub source: &'a str,
    /// When the record was first read.
    pub observed_at: Timestamp,
    /// Its number among wholly identical records, from 0.
    pub occurrence: u32,
}

/// What of a source's configuration bears upon identity and normalizing. It is kept in the journal, so that events of a
/// source that was taken out of the pipeline file can still be delivered. Holds no secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct NormalizerConfig {
    /// The vendor's organization, cloud or account id.
    pub tenant: Option<String>,
    /// The vendor's own options, as its file defines them.
    pub options: std::collections::BTreeMap<String, String>,
}

/// An option of a [`NormalizerConfig`] that a vendor's records heed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormalizerOption {
    /// Its name: the same as that of the source's setting.
    pub name: &'static str,
    /// The words to choose from, the default first.
    pub words: &'static [&'static str],
}

/// What is true of a vendor's records: how they are known again and how they are brought into the schema.
pub trait Normalizer: Send + Sync + std::fmt::Debug {
    /// By what the record is known again. Total: a record without an id, or one that is no JSON object, is known by the
    /// hash of its bytes.
    fn key_of(&self, raw: &str) -> RecordKey;

    /// Brings a record into the schema. Total: whatever is missing becomes `None`, and a record that cannot be read at
    /// all is delivered with `normalize_error`.
    fn normalize<'a>(&self, raw: &'a str, context: &ReadContext<'a>) -> Event<'a>;

    /// The options of a profile that these records heed.
    fn options(&self) -> &'static [NormalizerOption] {
        &[]
    }

    /// Whether each record has an id of its own. Without one, wholly identical records are told apart by counting.
    fn has_ids(&self) -> bool {
        true
    }

    /// A record such as this vendor's documentation shows, for people who want to see where events would land.
    fn example(&self) -> &'static str {
        "{}"
    }

    /// The records of `json` if it is a whole page of this vendor's API, as it stands in archives of raw answers;
    /// `None` if it is anything else.
    fn page_records<'a>(&self, json: &'a str) -> Option<Vec<&'a str>> {
        let _ = json;
        None
    }
}

/// Has a vendor's field `reader` answer for its records: a [`RecordReader`](clumio::RecordReader) of its file.
macro_rules! records_by_reader {
    ($vendor:ty) => {
        impl $crate::vendors::Normalizer for $vendor {
            fn key_of(&self, raw: &str) -> $crate::vendors::RecordKey {
                self.reader.key_of(raw)
            }

            fn normalize<'a>(
                &self,
                raw: &'a str,
                context: &$crate::vendors::ReadContext<'a>,
            ) -> $crate::event::Event<'a> {
                self.reader.normalize(raw, context)
            }

            fn options(&self) -> &'static [$crate::vendors::NormalizerOption] {
                self.reader.options()
            }

            fn has_ids(&self) -> bool {
                self.reader.has_ids()
            }

            fn example(&self) -> &'static str {
                self.reader.example()
            }

            fn page_records<'a>(&self, json: &'a str) -> Option<Vec<&'a str>> {
                self.reader.page_records(json)
            }
        }
    };
}

use records_by_reader;

/// One configured account of a vendor.
pub trait Vendor: Normalizer {
    /// What the collector must know of the API.
    fn spec(&self) -> &ApiSpec;

    /// The configured origin and base path, for example `https://api.captivateiq.com/ciq/v1`, without a trailing slash.
    fn base_url(&self) -> &str;

    /// What bears upon identity and normalizing.
    fn normalizer_config(&self) -> NormalizerConfig;

    /// The request for one page.
    fn request(&self, page: &PageRequest<'_>) -> Request;

    /// Reads the body of a successful answer.
    ///
    /// # Errors
    /// When the body is not what this API sends (cut off, HTML, another shape): the page is then asked again.
    fn read<'a>(&self, body: &'a str, page: &PageRequest<'_>) -> Result<Page<'a>, BadPage>;

    /// Says what an unsuccessful answer means and what the user must do. `body` is at most its first few kilobytes.
    fn classify_error(&self, status: u16, body: &str) -> ApiError {
        api_error::by_status(self.spec().name, status, body)
    }
}

/// A body that is not a page of this API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPage(pub String);
