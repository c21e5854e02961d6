//! The contract of a vendor: two traits and the values that they exchange.
//!
//! ```text
//! VendorSettings --build--> Vendor:      spec          facts of the API: order, time filter, page size, rate limit
//!                                        request       values only: path, query, headers
//!                                        parse_page    body -> raw records, next cursor, announced total
//!                                        classify_error
//!                                        normalizer --> Normalizer: key_of, normalize
//! ```
//!
//! Every method is a pure function of its arguments and the settings. Methods with a default change nothing about which
//! records are collected or delivered: they refine hints, examples and options.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::api_error::{self, ApiError};
use super::shape::Shape;
use crate::diagnostic::SettingDiagnostic;
use crate::event::{Event, EventId};
use crate::secret::Secret;
use crate::time::{TimeRange, Timestamp};
use crate::units::Rate;

/// The order in which a vendor lists its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordOrder {
    /// The newest record is on the first page.
    NewestFirst,
    /// The oldest record is on the first page.
    OldestFirst,
    /// Not documented, or configurable at the vendor: the collector compares the records' times.
    #[default]
    Unknown,
}

/// How a vendor's pages follow one another, and which cursors the collector may make up itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paging {
    /// The cursor is the number of records before the page, as a decimal number from 0. The collector may request any
    /// offset.
    Offset,
    /// The cursor is the number of the page, as a decimal number; the first page has the number 1. The collector may
    /// request any page.
    PageNumber,
    /// The cursor is opaque: only one that an answer brought may be requested.
    Cursor,
}

/// The facts of an API that the collector needs. The pipeline file can override each default.
#[derive(Clone, Debug)]
pub struct ApiSpec {
    /// The vendor's name: `type` in the pipeline file and `vendor` in every event.
    pub name: &'static str,
    /// The order of the records in a scan.
    pub order: RecordOrder,
    /// How pages follow one another.
    pub paging: Paging,
    /// The smallest step that the time filter can express. If it is a day or more, the collector requests whole steps
    /// and keeps only the records whose own time lies inside the window.
    pub time_granularity: Duration,
    /// Whether each record has an id. Without ids, two identical records count as two events, and a scan during which
    /// the vendor's total changed is repeated.
    pub has_ids: bool,
    /// How much of the recent past each poll reads again, since vendors publish late.
    pub overlap: Duration,
    /// How far behind the present a poll stays.
    pub delay: Duration,
    /// Time between two polls.
    pub poll_interval: Duration,
    /// Time limit of one request.
    pub timeout: Duration,
    /// Records requested per page.
    pub page_size: u32,
    /// The largest page that the vendor returns.
    pub max_page_size: u32,
    /// Rate limits that all apply.
    pub rate_limit: Vec<Rate>,
    /// The shortest wait after a 429 without `Retry-After`; it grows with each further 429.
    pub default_rate_limit_wait: Duration,
    /// How far back the vendor keeps records, if known.
    pub retention: Option<Duration>,
    /// No record is older than this (the API did not exist). `earliest` begins here if `retention` is unknown.
    pub earliest: Timestamp,
    /// Length of a backfill window.
    pub slice: Duration,
    /// A window with more records than this is split.
    pub max_window_records: u64,
    /// Records that change later are read again over this much of the past.
    pub recheck: Option<Recheck>,
}

impl ApiSpec {
    /// The spec for requests without an end date. Each scan reads up to the present, so shorter slices would read the
    /// same records again, and a split window would only double the work.
    pub(super) fn without_end(self) -> Self {
        const TEN_YEARS: Duration = Duration::from_secs(3_650 * 86_400);
        Self { slice: TEN_YEARS, max_window_records: u64::MAX, ..self }
    }
}

/// A periodic rescan of a longer past, for vendors that change records afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recheck {
    /// Time between two rechecks.
    pub interval: Duration,
    /// How much of the past a recheck reads again.
    pub lookback: Duration,
}

/// One page to request.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest<'a> {
    /// The time range; the same for every page of a scan.
    pub range: TimeRange,
    /// [`Page::next`] of the page before; `None` for the first page.
    pub cursor: Option<&'a str>,
    /// Number of records requested.
    pub page_size: u32,
}

/// A GET request as values. It has no host: the transport joins it to the one configured origin, so credentials cannot
/// go anywhere else, whatever a link in an answer says.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path below the base URL, beginning with `/`, already percent-encoded.
    pub path: String,
    /// Query parameters, not yet percent-encoded.
    pub query: Vec<(String, String)>,
    /// Headers without secrets.
    pub headers: Vec<(&'static str, String)>,
    /// Headers whose values are secrets, besides [`Self::auth`]. Only the transport reveals them.
    pub secret_headers: Vec<(&'static str, Secret)>,
    /// How the request authenticates.
    pub auth: Auth,
}

impl Request {
    /// A request for JSON without further headers.
    pub fn json(path: impl Into<String>, query: Vec<(String, String)>, auth: Auth) -> Self {
        let headers = vec![("accept", "application/json".to_owned())];
        Self { path: path.into(), query, headers, secret_headers: Vec::new(), auth }
    }
}

/// How a request authenticates. Only the transport reveals the secrets.
#[derive(Clone, Debug)]
pub enum Auth {
    /// `Authorization: Bearer <secret>`.
    Bearer(Secret),
    /// `Authorization: <scheme> <secret>`, for vendors with a scheme of their own.
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
    /// The records in the vendor's order, each the exact bytes of the vendor's JSON.
    pub records: Vec<&'a str>,
    /// The vendor's cursor or link of the next page; `None` if it gives none. Where pages are requested by offset or
    /// number, only its presence counts: it says that there is more.
    pub next: Option<String>,
    /// The number of records that the vendor announces: of the scan, if its answers agree with that.
    pub total: Option<u64>,
    /// The page size that the vendor says it has applied; less than requested if it has a limit of its own.
    pub limit: Option<u64>,
    /// How many of the records are not valid JSON. Their bytes are kept: see [`super::damaged`].
    pub damaged: u32,
}

/// A body that is not a page of this API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadPage {
    /// Whether it is a page at all.
    pub kind: BadPageKind,
    /// What is wrong with it, in one line.
    pub message: String,
}

/// What is wrong with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPageKind {
    /// The body is not a page: truncated, HTML, other JSON, or a cursor that cannot be used.
    Unreadable,
    /// The body is a page, but its list of records is missing although there are records to list.
    Shape,
}

impl BadPage {
    /// A body that is not a page.
    #[must_use]
    pub fn unreadable(message: impl Into<String>) -> Self {
        Self { kind: BadPageKind::Unreadable, message: message.into() }
    }

    /// A page without its list of records.
    #[must_use]
    pub fn shape(message: impl Into<String>) -> Self {
        Self { kind: BadPageKind::Shape, message: message.into() }
    }
}

/// What identifies a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordKey {
    /// The event id of the first record with this content. Further identical records get theirs from [`EventId::nth`].
    pub id: EventId,
    /// The record's own time, if it has a usable one.
    pub timestamp: Option<Timestamp>,
    /// Grows when the record changes; 0 for records that never change.
    pub version: u64,
    /// The hash of its content if it was computed on the way, else 0: then the collector computes it. Set it to exactly
    /// [`content_hash`](crate::vendors::content::content_hash) of the record, or to 0: a record whose hash differs from the stored one
    /// is delivered again as changed.
    pub content: u64,
}

/// What a record's bytes do not say about it.
#[derive(Clone, Copy, Debug)]
pub struct ReadContext<'a> {
    /// The source's name.
    pub source: &'a str,
    /// When the record was first read.
    pub observed_at: Timestamp,
    /// The record's number among identical records, from 0. Only the event's id may depend on it.
    pub occurrence: u32,
}

/// The settings of a source that determine event ids and normalization. The journal keeps them, so that the events of a
/// source that is no longer in the pipeline file can still be delivered. Holds no secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct NormalizerConfig {
    /// The vendor's organization, cloud or account id.
    pub tenant: Option<String>,
    /// The vendor's own options by name.
    pub options: BTreeMap<String, String>,
}

/// An option of a [`NormalizerConfig`] that a vendor's normalizer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormalizerOption {
    /// Its name: the same as that of the source's setting.
    pub name: &'static str,
    /// The allowed values, the default first.
    pub words: &'static [&'static str],
}

/// Names of fields, such as `actor.email`, each with JSON Pointers into the record as in [`Normalizer::credentials`].
pub type FieldPointers = &'static [(&'static str, &'static [&'static str])];

/// Identifies and normalizes a vendor's records.
pub trait Normalizer: Send + Sync + Debug {
    /// The key of a record. Never fails: a record without an id, or one that is not a JSON object, is identified by the
    /// hash of its bytes.
    fn key_of(&self, raw: &str) -> RecordKey;

    /// The event of a record. Never fails: a missing field becomes `None`, and a record that cannot be read is
    /// delivered with `normalize_error`. The event's id is [`EventId::nth`] of the key's, and its version is the key's.
    fn normalize<'a>(&self, raw: &'a str, context: &ReadContext<'a>) -> Event<'a>;

    /// Whether each record has an id of its own. Without ids, identical records are counted as separate events.
    fn has_ids(&self) -> bool;

    /// The options that this normalizer reads.
    fn options(&self) -> &'static [NormalizerOption] {
        &[]
    }

    /// An example record as in the vendor's documentation, for previews.
    fn example(&self) -> &'static str {
        "{}"
    }

    /// The parts of a record that can hold passwords, tokens and other credentials: JSON Pointers that begin with `/raw/`, with
    /// `*` for any name or index and `**` for any number of levels. `drop_credentials` of a `redact` transform cuts them out.
    /// Their names match in any case. Members with the usual names need not be listed: see [`super::credentials`].
    fn credentials(&self) -> &'static [&'static str] {
        &[]
    }

    /// Where fields of events are read from. A `redact` transform redacts these parts of the record together with the field,
    /// also where the normalizer cannot read them.
    fn field_pointers(&self) -> FieldPointers {
        &[]
    }

    /// The fields that this normalizer reads, and the values that it expects in them.
    fn shape(&self) -> Shape {
        Shape::Any
    }

    /// The records of `json` if it is a whole page of this API, as archives of raw answers hold them; otherwise `None`.
    fn page_records<'a>(&self, json: &'a str) -> Option<Vec<&'a str>> {
        let _ = json;
        None
    }
}

/// One configured account of a vendor.
pub trait Vendor: Send + Sync + Debug {
    /// The facts of the API.
    fn spec(&self) -> &ApiSpec;

    /// The configured origin and base path, for example `https://api.captivateiq.com/ciq/v1`, without a trailing slash.
    fn base_url(&self) -> &str;

    /// The settings that determine event ids and normalization.
    fn normalizer_config(&self) -> NormalizerConfig;

    /// The normalizer that [`Self::normalizer_config`] describes.
    fn normalizer(&self) -> &dyn Normalizer;

    /// The request for one page.
    fn request(&self, page: &PageRequest<'_>) -> Request;

    /// Parses the body of a successful answer.
    ///
    /// # Errors
    /// When the body is not what this API sends (truncated, HTML, another shape). The collector requests the page again.
    /// A record that is not valid JSON is no reason: [`super::damaged::read_page`] replaces it before.
    fn parse_page<'a>(&self, body: &'a str, page: &PageRequest<'_>) -> Result<Page<'a>, BadPage>;

    /// Classifies an unsuccessful answer and says what the user must do. `body` is at most its first few kilobytes.
    /// `has_cursor` tells whether the request carried a [`PageRequest::cursor`].
    fn classify_error(&self, status: u16, body: &str, has_cursor: bool) -> ApiError {
        api_error::by_status(self.spec().name, status, body, has_cursor)
    }
}

/// The settings of one source, parsed.
pub trait VendorSettings: Debug + Send + Sync {
    /// Validates the settings and builds the vendor.
    ///
    /// # Errors
    /// Every invalid setting.
    fn build(&self) -> Result<Arc<dyn Vendor>, Vec<SettingDiagnostic>>;

    /// Every secret among the settings. The pipeline resolves relative secret files through it.
    fn secrets_mut(&mut self) -> Vec<&mut Secret>;

    /// Settings that are valid but probably not intended.
    fn warnings(&self) -> Vec<SettingDiagnostic> {
        Vec::new()
    }
}

/// A vendor of an embedding program, implemented by the type that its sources' settings are parsed into. That type should
/// reject unknown settings (`#[serde(deny_unknown_fields)]`); editors show its doc comments.
pub trait VendorType: VendorSettings + DeserializeOwned + JsonSchema + 'static {
    /// The vendor's name: `type` in the pipeline file and `vendor` in every event. Lower-case letters, digits and `_`.
    const NAME: &'static str;

    /// The normalizer for a configuration from the journal. Events of a source that is no longer in the pipeline file
    /// are still delivered.
    fn normalizer(config: &NormalizerConfig) -> Arc<dyn Normalizer>;
}
