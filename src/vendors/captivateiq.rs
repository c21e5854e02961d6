//! CaptivateIQ: `GET /ciq/v1/audit-logs/`, limit/offset paging, filters by whole days.
//!
//! ```text
//! ?limit=1000&offset=0&start_date=2026-03-01&end_date=2026-03-09
//!     --> {"object":"list","total_count":5,"next":"...?limit=1000&offset=1000...","previous":null,"data":[...]}
//! ```
//!
//! What is documented is taken from the vendor's reference. What is assumed has a setting of its own: whether
//! `end_date` includes its day, the order of the list, the retention. `records` holds the mapping into the schema.

mod normalizer;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use normalizer::{ActorChoice, CaptivateIqNormalizer, EventType};

use super::settings::{self, choice};
use super::{
    ApiError, ApiErrorKind, ApiSpec, Auth, BadPage, NormalizerConfig, Page, PageRequest, RecordOrder, Request, Vendor,
    api_error, page, record, records_by_reader,
};
use crate::diagnostic::SettingDiagnostic;
use crate::secret::Secret;
use crate::time::{TimeRange, Timestamp};
use crate::units::{Rate, Span};

const NAME: &str = "captivateiq";

/// The one documented address; there are no regions.
const BASE_URL: &str = "https://api.captivateiq.com/ciq/v1";

const DAY: Duration = Duration::from_secs(86_400);

/// The settings of a `captivateiq` source.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// API token. CaptivateIQ: user profile > API Tokens; it acts with the rights of the user who made it.
    api_token: Secret,
    /// Another address for the API, without the path `/audit-logs/`. Unset: `https://api.captivateiq.com/ciq/v1`.
    base_url: Option<String>,
    /// Only events of the user with this e-mail address.
    email: Option<String>,
    /// Who is the actor when somebody acts as somebody else: `logged_in`, the person who really acts (the default; the
    /// other one then stands in `actor.on_behalf_of`), or `effective`, the user acted as.
    #[serde(default)]
    actor: ActorChoice,
    /// Whether events count as successes when nothing speaks of a failure. The feed has no such field, so the outcome
    /// is `unknown` unless this is `true`.
    #[serde(default)]
    assume_success: bool,
    /// What becomes `event_type`: the record's own word (`as_given`, the default), or `with_object_type` to write bare
    /// words together with what they were done to (`column.update`).
    #[serde(default)]
    event_type: EventType,
    /// An `ordering` to range for, such as `created_at`. Not documented for audit logs, so it is not sent unless set
    /// here.
    ordering: Option<String>,
    /// The order in which the API lists records: `newest_first`, `oldest_first` or `unknown` (the default: it is not
    /// documented).
    #[serde(default)]
    order: RecordOrder,
    /// The `end_date` that is sent: the `day_after` the last one wanted (the default: complete, whether or not the API
    /// counts the whole of its last day, and in whichever time zone its days are), the `last_day` itself, or `omit`:
    /// each walk then reads up to the present, so the past is read in slices of ten years and no window is cut.
    #[serde(default)]
    end_date: EndDate,
    /// How far back the API keeps records; not documented. Unset: without limit.
    retention: Option<Span>,
}

choice! {
    /// The `end_date` that is sent. The API does not say whether the day itself still counts.
    EndDate {
        /// One day more than wanted: right under either reading.
        DayAfter = "day_after",
        /// The last wanted day: right if the API counts the whole of that day, in UTC.
        LastDay = "last_day",
        /// None: each walk reads up to the present, so the past is read in slices of ten years and none is cut.
        Omit = "omit",
    }
}

impl Config {
    /// Checks the settings and builds the vendor.
    ///
    /// # Errors
    /// Every setting that cannot be right.
    pub fn build(&self) -> Result<Arc<dyn Vendor>, Vec<SettingDiagnostic>> {
        let mut problems = self.problems_of_texts();
        let base_url =
            settings::value_or_problem(settings::base_url(self.base_url.as_deref(), BASE_URL), &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Arc::new(CaptivateIq {
            spec: self.spec(),
            base_url,
            reader: CaptivateIqNormalizer::new(&self.normalizer_config()),
            settings: self.clone(),
        }))
    }

    /// Every secret among the settings.
    pub fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        vec![&mut self.api_token]
    }

    fn problems_of_texts(&self) -> Vec<SettingDiagnostic> {
        let texts = [("email", &self.email), ("ordering", &self.ordering)];
        let set = texts.iter().filter_map(|(key, value)| value.as_deref().map(|value| (*key, value)));
        let mut problems: Vec<_> = set.filter_map(|(key, value)| settings::not_plain(key, value)).collect();
        if problems.is_empty() && self.email.as_deref().is_some_and(|email| !email.contains('@')) {
            problems.push(SettingDiagnostic {
                key: "email".to_owned(),
                message: "this is no e-mail address".to_owned(),
                hint: "write the address of the user whose events are wanted, or leave the setting out".to_owned(),
            });
        }
        problems
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
    /// which less is used), requests ended after 30 seconds. Assumed: the overlap of a day, which covers day boundaries
    /// in another time zone, and that records are visible within seconds. Slices of a week, since a day's worth asks
    /// for three days: its own, the overlap's and the one after.
    fn spec(&self) -> ApiSpec {
        let spec = ApiSpec {
            name: NAME,
            order: self.order,
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
            // Assumed: back-off from a second on.
            default_rate_limit_wait: Duration::from_secs(1),
            retention: self.retention.map(|span| span.0),
            earliest: Timestamp::from_secs(1_483_228_800), // 2017-01-01, the year in which the company was founded
            slice: 7 * DAY,
            max_window_records: 100_000,
            recheck: None,
        };
        if self.end_date == EndDate::Omit { spec.without_end() } else { spec }
    }
}

/// One configured CaptivateIQ organization.
#[derive(Debug)]
struct CaptivateIq {
    settings: Config,
    spec: ApiSpec,
    base_url: String,
    reader: CaptivateIqNormalizer,
}

impl CaptivateIq {
    /// The first and the last date to send, as `YYYY-MM-DD` in UTC.
    fn dates(&self, range: TimeRange) -> (String, Option<String>) {
        let last_moment = (range.to - Duration::from_nanos(1)).max(range.from);
        let end = match self.settings.end_date {
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

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    total_count: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "page::present")]
    next: Option<Option<&'a RawValue>>,
    #[serde(borrow)]
    data: Option<Vec<&'a RawValue>>,
}

impl<'a> Envelope<'a> {
    fn read(body: &'a str) -> Result<Self, BadPage> {
        page::envelope(NAME, body)
    }

    fn records(&self) -> Option<Vec<&'a str>> {
        self.data.as_deref().map(page::records)
    }

    /// The offset of the next page. A link is taken at its word; if it names no offset, the place after what has been
    /// received is right, whatever page size the vendor has made of ours. Without the field, the total decides.
    fn next_offset(&self, asked: &PageRequest<'_>) -> Option<String> {
        let offset: u64 = asked.cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
        let received = self.data.as_ref().map_or(0, Vec::len) as u64;
        let after_received = offset.saturating_add(received);
        let more = match self.next {
            Some(None) => return None,
            Some(Some(link)) if link.get() == "\"\"" => return None,
            Some(Some(link)) => return Some(offset_in(link).unwrap_or(after_received).to_string()),
            None => match page::count(self.total_count) {
                Some(total) => after_received < total,
                None => received >= u64::from(asked.page_size),
            },
        };
        (more && received > 0).then(|| after_received.to_string())
    }
}

fn offset_in(link: &RawValue) -> Option<u64> {
    page::query_value(&page::text(Some(link))?, "offset")?.parse().ok()
}

records_by_reader!(CaptivateIq);

impl Vendor for CaptivateIq {
    fn spec(&self) -> &ApiSpec {
        &self.spec
    }

    fn base_url(&self) -> &str {
        &self.base_url
    }

    fn normalizer_config(&self) -> NormalizerConfig {
        self.settings.normalizer_config()
    }

    /// The trailing slash belongs to the path: without it the API redirects.
    fn request(&self, page: &PageRequest<'_>) -> Request {
        let (start_date, end_date) = self.dates(page.range);
        let mut query = vec![
            ("limit".to_owned(), page.page_size.to_string()),
            ("offset".to_owned(), page.cursor.unwrap_or("0").to_owned()),
            ("start_date".to_owned(), start_date),
        ];
        let optional = [
            ("end_date", end_date),
            ("email", self.settings.email.clone()),
            ("ordering", self.settings.ordering.clone()),
        ];
        query.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        Request {
            path: "/audit-logs/".to_owned(),
            query,
            headers: vec![("Accept", "application/json".to_owned())],
            secret_headers: Vec::new(),
            auth: Auth::Scheme("Token", self.settings.api_token.clone()),
        }
    }

    fn read<'a>(&self, body: &'a str, page: &PageRequest<'_>) -> Result<Page<'a>, BadPage> {
        let envelope = Envelope::read(body)?;
        let (next, total) = (envelope.next_offset(page), page::count(envelope.total_count));
        let records = envelope.records().ok_or_else(|| {
            BadPage("captivateiq sent an answer without `data`, so it is no page of audit logs; check base_url".into())
        })?;
        Ok(Page { records, next, total })
    }

    /// Documented: 502 also when a request took 30 seconds. It may as well be an outage, so it stays transient: after
    /// several in a row a smaller page is asked for in any case.
    fn classify_error(&self, status: u16, body: &str) -> ApiError {
        let mut error = api_error::by_status(NAME, status, body);
        if let Some(hint) = hint(status).filter(|_| error.kind != ApiErrorKind::Transient) {
            hint.clone_into(&mut error.hint);
        }
        error
    }
}

/// What an unsuccessful answer asks of the user.
fn hint(status: u16) -> Option<&'static str> {
    Some(match status {
        400 => "CaptivateIQ refuses the request; check email and ordering",
        401 => {
            "CaptivateIQ does not accept the token; make a new one under user profile > API Tokens and put it into \
             api_token (it is sent as `Authorization: Token ...`: a proxy in between must pass that on)"
        }
        403 => {
            "the user who made the token may not read audit logs; \
             make the token as an organization administrator with API access"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
