//! CaptivateIQ's API: `GET /ciq/v1/audit-logs/`, limit/offset paging, filters by whole days.
//!
//! ```text
//! ?limit=1000&offset=0&start_date=2026-03-01&end_date=2026-03-09
//!     --> {"object":"list","total_count":5,"next":"...?limit=1000&offset=1000...","previous":null,"data":[...]}
//! ```
//!
//! Documented facts come from the vendor's reference. Each assumed fact is an option: whether `end_date` includes its day,
//! the order of the list, the retention.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::normalizer::{ActorChoice, CaptivateIqNormalizer, EventType, NAME, parse_page};
use crate::diagnostic::SettingDiagnostic;
use crate::secret::Secret;
use crate::time::{TimeRange, Timestamp};
use crate::units::{Rate, Span};
use crate::vendors::api_error::{self, ApiError};
use crate::vendors::configured::{self, ConfiguredApi};
use crate::vendors::contract::{
    ApiSpec, Auth, BadPage, NormalizerConfig, Page, PageRequest, Paging, RecordOrder, Request, Vendor, VendorSettings,
};
use crate::vendors::record;
use crate::vendors::settings::{self, choice};

/// The only documented address; there are no regions.
const BASE_URL: &str = "https://api.captivateiq.com/ciq/v1";

const DAY: Duration = Duration::from_secs(86_400);

/// The settings of a `captivateiq` source.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// API token. CaptivateIQ: user profile > API Tokens. It has the permissions of the user who created it.
    api_token: Secret,
    /// Base URL of the API, without the path `/audit-logs/`. Default: `https://api.captivateiq.com/ciq/v1`.
    base_url: Option<String>,
    /// Collect only events of the user with this email address.
    email: Option<String>,
    /// The actor when one user impersonates another: `logged_in` (default), the user who acts; the other one is
    /// `actor.on_behalf_of`. Or `effective`, the impersonated user.
    #[serde(default)]
    actor: ActorChoice,
    /// Report `outcome: success` for events that do not name a failure. Default: false (`unknown`), since records have no
    /// result field.
    #[serde(default)]
    assume_success: bool,
    /// Value of `event_type`: the record's own (`as_given`, default), or `with_object_type` to prefix the object type to
    /// values without a dot (`column.update`).
    #[serde(default)]
    event_type: EventType,
    /// Value of the query parameter `ordering`, such as `created_at`. Not documented for audit logs, so it is sent only if
    /// set.
    ordering: Option<String>,
    /// Order in which the API lists records: `newest_first`, `oldest_first` or `unknown` (default, since it is not
    /// documented).
    #[serde(default)]
    order: RecordOrder,
    /// Value of the query parameter `end_date`: `day_after` the last requested day (default; complete whether or not the
    /// API includes its last day, in any time zone), `last_day`, or `omit`. With `omit` each scan reads up to the
    /// present, so backfill slices are ten years long and no window is split.
    #[serde(default)]
    end_date: EndDate,
    /// How far back the API keeps records; not documented. Default: without limit.
    retention: Option<Span>,
}

choice! {
    /// The `end_date` that is sent. The API does not document whether it includes that day.
    EndDate {
        /// One day later than requested: complete under either reading.
        DayAfter = "day_after",
        /// The last requested day: complete if the API includes that whole day, in UTC.
        LastDay = "last_day",
        /// None: each scan reads up to the present, so backfill slices are ten years long and no window is split.
        Omit = "omit",
    }
}

impl VendorSettings for Config {
    fn build(&self) -> Result<Arc<dyn Vendor>, Vec<SettingDiagnostic>> {
        configured::build(self)
    }

    fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        vec![&mut self.api_token]
    }
}

impl ConfiguredApi for Config {
    type Normalizer = CaptivateIqNormalizer;

    fn check(&self, diagnostics: &mut Vec<SettingDiagnostic>) -> String {
        let before = diagnostics.len();
        settings::plain_if_given("email", self.email.as_deref(), diagnostics);
        settings::plain_if_given("ordering", self.ordering.as_deref(), diagnostics);
        if diagnostics.len() == before && self.email.as_deref().is_some_and(|email| !email.contains('@')) {
            let hint = "write the email address of the user whose events you want, or remove the setting";
            settings::invalid(diagnostics, "email", "is not an email address", hint);
        }
        settings::checked_base_url(self.base_url.as_deref(), BASE_URL, diagnostics)
    }

    fn normalizer_config(&self) -> NormalizerConfig {
        let options = [
            (ActorChoice::OPTION.to_owned(), self.actor.as_str().to_owned()),
            (record::ASSUME_SUCCESS.name.to_owned(), self.assume_success.to_string()),
            (EventType::OPTION.to_owned(), self.event_type.as_str().to_owned()),
        ];
        NormalizerConfig { tenant: None, options: options.into() }
    }

    /// Documented: pages of at most 1,000, filters by whole days, at least 5 requests a second and 1,500 an hour (of
    /// which less is used), requests ended after 30 seconds. Assumed: an overlap of a day, which covers day boundaries
    /// in another time zone, and that records are visible within seconds. Slices of a week, since a slice of one day
    /// would request three: its own, the overlap's and the one after.
    fn spec(&self) -> ApiSpec {
        let spec = ApiSpec {
            name: NAME,
            order: self.order,
            paging: Paging::Offset,
            time_granularity: DAY,
            has_ids: true,
            overlap: DAY,
            delay: Duration::from_secs(30),
            poll_interval: Duration::from_secs(60),
            timeout: Duration::from_secs(45),
            page_size: 1_000,
            max_page_size: 1_000,
            rate_limit: vec![
                Rate { requests: 2, per: Duration::from_secs(1) },
                Rate { requests: 1_200, per: Duration::from_secs(3_600) },
            ],
            // Assumed: backoff from one second on.
            default_rate_limit_wait: Duration::from_secs(1),
            retention: self.retention.map(|span| span.0),
            earliest: Timestamp::from_secs(1_483_228_800), // 2017-01-01, the year in which the company was founded
            slice: 7 * DAY,
            max_window_records: 100_000,
            recheck: None,
        };
        if self.end_date == EndDate::Omit { spec.without_end() } else { spec }
    }

    fn request(&self, page: &PageRequest<'_>) -> Request {
        let (start_date, end_date) = self.dates(page.range);
        let mut query = vec![
            ("limit".to_owned(), page.page_size.to_string()),
            ("offset".to_owned(), page.cursor.unwrap_or("0").to_owned()),
            ("start_date".to_owned(), start_date),
        ];
        let optional = [("end_date", end_date), ("email", self.email.clone()), ("ordering", self.ordering.clone())];
        query.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        Request::json("/audit-logs/", query, Auth::Scheme("Token", self.api_token.clone()))
    }

    fn parse_page<'a>(&self, body: &'a str, page: &PageRequest<'_>) -> Result<Page<'a>, BadPage> {
        parse_page(body, page)
    }

    /// Documented: 502 also when a request took 30 seconds. It may be an outage as well, so it stays transient; after
    /// several in a row the collector requests smaller pages anyway.
    fn classify_error(&self, status: u16, body: &str, has_cursor: bool) -> ApiError {
        api_error::by_status(NAME, status, body, has_cursor).with_hint(hint(status))
    }
}

impl Config {
    /// The first and the last date to send, as `YYYY-MM-DD` in UTC.
    fn dates(&self, range: TimeRange) -> (String, Option<String>) {
        let last_moment = (range.to - Duration::from_nanos(1)).max(range.from);
        let end = match self.end_date {
            EndDate::DayAfter => Some(last_moment + DAY),
            EndDate::LastDay => Some(last_moment),
            EndDate::Omit => None,
        };
        (date_of(range.from), end.map(date_of))
    }
}

fn date_of(moment: Timestamp) -> String {
    moment.calendar().strftime("%Y-%m-%d").to_string()
}

/// What the user must fix.
fn hint(status: u16) -> Option<&'static str> {
    Some(match status {
        400 => "CaptivateIQ rejected the request; check email and ordering",
        401 => {
            "CaptivateIQ rejected the token; create a new one under user profile > API Tokens and set api_token to it; a proxy \
             in between must pass on `Authorization: Token ...`"
        }
        403 => {
            "the user who created the token may not read audit logs; \
             create the token as an organization administrator with API access"
        }
        _ => return None,
    })
}
