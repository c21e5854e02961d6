//! The types of values of variants, and their text form.

use std::time::Duration;

use crate::units::{Rate, Span};

/// A value of a variant.
pub trait VariantValue: Sized {
    /// Parses the text form.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    fn read(text: &str) -> Result<Self, String>;

    /// The text form.
    fn write(&self) -> String;

    /// The allowed values, for people.
    fn allowed() -> String;
}

/// Defines enumerated values.
macro_rules! words {
    ($( $(#[doc = $intro:literal])+ $name:ident { $( $(#[doc = $about:literal])+ $variant:ident = $word:literal, )+ } )+) => {$(
        $(#[doc = $intro])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $( $(#[doc = $about])+ $variant, )+ }

        impl VariantValue for $name {
            fn read(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("`{text}` is not one of {}", Self::allowed())),
                }
            }
            fn write(&self) -> String {
                match self { $(Self::$variant => $word,)+ }.to_owned()
            }
            fn allowed() -> String {
                [$($word),+].join(" | ")
            }
        }
    )+};
}

words! {
    /// The order of a list.
    Order {
        /// The newest record is on the first page.
        NewestFirst = "desc",
        /// The oldest record is on the first page.
        OldestFirst = "asc",
        /// An order independent of time, the same for every request.
        Unordered = "unstable",
    }
    /// How to handle an invalid value.
    Strictness {
        /// Reject it.
        Reject = "reject",
        /// Ignore it or use the nearest allowed value.
        Tolerate = "tolerate",
    }
    /// How to handle a page size above the maximum.
    OnExcess {
        /// Use the maximum.
        Clamp = "clamp",
        /// Reject the request.
        Reject = "reject",
    }
    /// How to handle an undocumented filter field.
    FieldHandling {
        /// Match the three fields that integrations send against the closest fields; reject others.
        Match = "match",
        /// Reject it.
        Reject = "reject",
        /// Ignore it.
        Ignore = "ignore",
    }
    /// The form of links.
    HrefForm {
        /// A path on the same host.
        Path = "path",
        /// An absolute URL.
        Absolute = "absolute",
    }
    /// The status of an answer to a request without a token.
    UnauthorizedStatus {
        /// 403.
        Forbidden = "403",
        /// 401.
        Unauthorized = "401",
    }
    /// The form of `Retry-After` of a 429.
    RetryAfter {
        /// Whole seconds.
        Seconds = "seconds",
        /// An HTTP date.
        Date = "date",
        /// Nothing.
        None = "none",
    }
    /// White space inside records.
    JsonSpacing {
        /// None.
        Plain = "plain",
        /// A space after each colon and comma.
        Spaced = "spaced",
        /// Random spaces, tabs and line breaks per record.
        Random = "random",
    }
    /// The representation of a missing value.
    NullForm {
        /// `null`.
        Null = "null",
        /// `""`.
        Empty = "empty",
        /// The key is absent.
        Absent = "absent",
        /// Each of the three at random.
        Mixed = "mixed",
    }
    /// Whether an end date includes its day.
    EndDate {
        /// Up to the end of the day.
        InclusiveDay = "inclusive_day",
        /// Up to the start of the day.
        ExclusiveMidnight = "exclusive_midnight",
    }
    /// Which email address the filter matches.
    EmailMatch {
        /// The effective user's.
        Effective = "effective",
        /// The logged-in user's.
        LoggedIn = "logged_in",
        /// Either.
        Either = "either",
    }
    /// How to answer a path without the trailing slash.
    RedirectForm {
        /// 301 to the path with the slash.
        Redirect = "redirect",
        /// 404.
        NotFound = "not_found",
    }
    /// Whether a window includes a record exactly at its bound.
    BoundKind {
        /// No.
        Strict = "strict",
        /// Yes.
        Inclusive = "inclusive",
    }
    /// The format of timestamps in records.
    TimeFormat {
        /// `2026-03-02 09:14:07.13921 +0000 UTC`.
        Go = "go",
        /// `2026-03-02T09:14:07.13921Z`.
        Rfc3339 = "rfc3339",
    }
    /// Which time of a record the filter uses.
    TimeBasis {
        /// The first occurrence.
        Timestamp = "timestamp",
        /// The latest occurrence.
        LastOccurred = "last_occurred",
    }
    /// Which kind of API token the credentials are.
    TokenKind {
        /// Either works at either address.
        Any = "any",
        /// Works at the gateway (`/ex/confluence/...`) only.
        Scoped = "scoped",
        /// Works at the site (`/wiki/...`) only.
        Unscoped = "unscoped",
    }
}

impl VariantValue for bool {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("`{text}` is not true or false"))
    }
    fn write(&self) -> String {
        self.to_string()
    }
    fn allowed() -> String {
        "true | false".into()
    }
}

impl VariantValue for usize {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().ok().filter(|number| *number > 0).ok_or_else(|| format!("`{text}` is not a positive integer"))
    }
    fn write(&self) -> String {
        self.to_string()
    }
    fn allowed() -> String {
        "a positive integer".into()
    }
}

impl VariantValue for String {
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
    fn write(&self) -> String {
        self.clone()
    }
    fn allowed() -> String {
        "a string".into()
    }
}

impl VariantValue for Duration {
    fn read(text: &str) -> Result<Self, String> {
        Span::parse(text).map(|span| span.0)
    }
    fn write(&self) -> String {
        Span(*self).to_string()
    }
    fn allowed() -> String {
        "a duration such as 90s".into()
    }
}

/// A duration, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionalSpan(pub Option<Duration>);

impl VariantValue for OptionalSpan {
    fn read(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        Duration::read(text).map(|span| Self(Some(span)))
    }
    fn write(&self) -> String {
        self.0.map_or_else(|| "none".to_owned(), |span| span.write())
    }
    fn allowed() -> String {
        "none | a duration such as 90d".into()
    }
}

/// A number, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionalCount(pub Option<usize>);

impl VariantValue for OptionalCount {
    fn read(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        usize::read(text).map(|count| Self(Some(count)))
    }
    fn write(&self) -> String {
        self.0.map_or_else(|| "none".to_owned(), |count| count.to_string())
    }
    fn allowed() -> String {
        "none | a positive integer".into()
    }
}

/// Rate limits that all apply; an empty list is written `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimits(pub Vec<Rate>);

impl RateLimits {
    /// Pairs of requests and seconds.
    pub(super) fn of(rates: &[(u32, u64)]) -> Self {
        Self(rates.iter().map(|(requests, secs)| rate(*requests, *secs)).collect())
    }
}

fn rate(requests: u32, secs: u64) -> Rate {
    Rate { requests, per: Duration::from_secs(secs) }
}

impl VariantValue for RateLimits {
    fn read(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(Vec::new()));
        }
        text.split(',').map(read_rate).collect::<Result<_, _>>().map(Self)
    }
    fn write(&self) -> String {
        if self.0.is_empty() {
            return "off".into();
        }
        self.0.iter().map(|rate| format!("{}/{}s", rate.requests, rate.per.as_secs())).collect::<Vec<_>>().join(",")
    }
    fn allowed() -> String {
        "off | rates such as 5/s,1500/h or 20/10s".into()
    }
}

/// Parses `5/s`, and `20/10s`, which [`Rate::parse`] does not support.
fn read_rate(text: &str) -> Result<Rate, String> {
    if let Ok(rate) = Rate::parse(text) {
        return Ok(rate);
    }
    let hint = || format!("`{text}` is not a rate; write off, or rates such as 5/s,1500/h or 20/10s");
    let (requests, per) = text.split_once('/').ok_or_else(hint)?;
    let requests = requests.trim().parse().ok().filter(|requests| *requests > 0).ok_or_else(hint)?;
    let per = Span::parse(per).map_err(|_| hint())?.0;
    if per.is_zero() { Err(hint()) } else { Ok(Rate { requests, per }) }
}

/// How far local time is ahead of UTC, in seconds; written `UTC`, `+02:00` or `-08:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayOffset(pub i64);

impl VariantValue for DayOffset {
    fn read(text: &str) -> Result<Self, String> {
        if text == "UTC" {
            return Ok(Self(0));
        }
        let hint = || format!("`{text}` is not UTC or an offset such as -08:00");
        let sign = match text.bytes().next() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return Err(hint()),
        };
        let (hours, minutes) = text[1..].split_once(':').ok_or_else(hint)?;
        let hours: i64 = hours.parse().ok().filter(|hours| (0..=14).contains(hours)).ok_or_else(hint)?;
        let minutes: i64 = minutes.parse().ok().filter(|minutes| (0..60).contains(minutes)).ok_or_else(hint)?;
        Ok(Self(sign * (hours * 3_600 + minutes * 60)))
    }
    fn write(&self) -> String {
        if self.0 == 0 {
            return "UTC".into();
        }
        let sign = if self.0 < 0 { '-' } else { '+' };
        format!("{sign}{:02}:{:02}", self.0.abs() / 3_600, self.0.abs() / 60 % 60)
    }
    fn allowed() -> String {
        "UTC | an offset such as -08:00".into()
    }
}
