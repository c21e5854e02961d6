//! The switches of each vendor, each with the assumption as its default.

use std::time::Duration;

use super::value::{
    BoundKind, DayOffset, EmailMatch, EndDate, FieldHandling, HrefForm, Limits, NullForm, OnExcess, OptionalCount,
    OptionalSpan, Order, RedirectForm, RetryAfter, Strictness, TimeBasis, TimeFormat, TokenKind, UnauthorizedStatus,
};
use super::{CommonSwitches, switches};

switches! {
    /// Clumio's switches.
    ClumioSwitches {
        common: CommonSwitches = CommonSwitches {
            retention: OptionalSpan(Some(Duration::from_secs(90 * 86_400))),
            rate_limit: Limits::of(&[(100, 1)]),
            retry_after: RetryAfter::None,
            ..CommonSwitches::default()
        };
        /// In which order trails are listed.
        order: Order = Order::NewestFirst,
        /// The page size if the request names none.
        default_limit: usize = 100,
        /// The largest page size; a larger one is lowered to it.
        max_limit: usize = 500,
        /// What is done with a `limit` that is no number from 1 on.
        on_bad_limit: Strictness = Strictness::Reject,
        /// Whether `limit=0`, an empty `start` and an empty `filter` count as absent.
        lenient_empty: bool = false,
        /// Whether links that lead nowhere are `null` instead of left out.
        null_links: bool = false,
        /// What is done with a page past the end: an empty page, or 400.
        past_end: Strictness = Strictness::Tolerate,
        /// Whether an empty page has `_embedded: null`.
        null_embedded: bool = false,
        /// What is done with a filter field that is not documented.
        unknown_filter_field: FieldHandling = FieldHandling::Match,
        /// The status of an answer to a request without a token.
        missing_token: UnauthorizedStatus = UnauthorizedStatus::Forbidden,
        /// The form of the hrefs in `_links`.
        href: HrefForm = HrefForm::Path,
        /// Whether an `Accept` header other than the versioned one or `*/*` is refused with 406.
        strict_accept: bool = false,
        /// The content type of an answer.
        content_type: String = "application/api.clumio.audit-trails=v1+json".into(),
        /// How the missing user of a system event is written; bears on records generated afterwards.
        system_user: NullForm = NullForm::Mixed,
    }
}

switches! {
    /// CaptivateIQ's switches.
    CaptivateIqSwitches {
        common: CommonSwitches = CommonSwitches {
            rate_limit: Limits::of(&[(5, 1), (1_500, 3_600)]),
            ..CommonSwitches::default()
        };
        /// In which order logs are listed.
        order: Order = Order::NewestFirst,
        /// The page size if the request names none.
        default_limit: usize = 50,
        /// The largest page size; a larger one is lowered to it.
        max_limit: usize = 1_000,
        /// The form of `next` and `previous`.
        links: HrefForm = HrefForm::Absolute,
        /// How a path without its last slash is answered.
        append_slash: RedirectForm = RedirectForm::Redirect,
        /// How many days back a request without `start_date` reaches.
        default_lookback_days: OptionalCount = OptionalCount(None),
        /// The time zone in which days begin.
        day_tz: DayOffset = DayOffset(0),
        /// Up to where `end_date` reaches.
        end_date: EndDate = EndDate::InclusiveDay,
        /// Which e-mail address `email` looks at.
        email: EmailMatch = EmailMatch::Effective,
    }
}

switches! {
    /// Merge's switches.
    MergeSwitches {
        common: CommonSwitches = CommonSwitches {
            rate_limit: Limits::of(&[(600, 60)]),
            ..CommonSwitches::default()
        };
        /// In which order events are listed.
        order: Order = Order::OldestFirst,
        /// Whether an event exactly at `start_date` is listed.
        start_bound: BoundKind = BoundKind::Strict,
        /// Whether an event exactly at `end_date` is listed.
        end_bound: BoundKind = BoundKind::Strict,
        /// The page size if the request names none.
        default_page_size: usize = 30,
        /// The largest page size; a larger one is lowered to it.
        max_page_size: usize = 100,
        /// Whether `next` and `previous` are left out instead of `null`.
        next_absent: bool = false,
        /// How long a cursor is accepted.
        cursor_expiry: OptionalSpan = OptionalSpan(None),
        /// Whether the plan has the audit trail; without it every answer is 403.
        enterprise_plan: bool = true,
        /// More refused requests than this, and all are answered 429.
        abuse_limit: Limits = Limits::of(&[(20, 10)]),
    }
}

switches! {
    /// Akuity's switches.
    AkuitySwitches {
        common: CommonSwitches = CommonSwitches {
            retry_after: RetryAfter::None,
            ..CommonSwitches::default()
        };
        /// In which order logs are listed.
        order: Order = Order::NewestFirst,
        /// How points in time are written; bears on records generated afterwards.
        time_format: TimeFormat = TimeFormat::Go,
        /// Which time of a record the filter and the order look at.
        time_basis: TimeBasis = TimeBasis::Timestamp,
        /// Whether a record exactly at `endTime` is listed.
        end_bound: BoundKind = BoundKind::Inclusive,
        /// The longest time between the occurrences that one record stands for; bears on records generated afterwards.
        /// `0s` turns collapsing off.
        collapse_interval: Duration = Duration::from_secs(3_600),
        /// The page size if the request names none.
        default_limit: usize = 20,
        /// The largest page size.
        max_limit: usize = 1_000,
        /// What is done with a larger page size.
        on_excess: OnExcess = OnExcess::Clamp,
        /// Whether parts that are not set are left out instead of `null`; bears on records generated afterwards.
        drop_nulls: bool = false,
        /// Whether records lack `count`, `lastOccurredTimestamp` and `ip`, as in old versions; bears on records generated
        /// afterwards.
        omit_new_fields: bool = false,
        /// Whether the key may read audit logs; without it every answer is 403.
        permission: bool = true,
        /// The organization's name, for the two look-up calls.
        organization_name: String = "acme".into(),
    }
}

switches! {
    /// Confluence's switches.
    ConfluenceSwitches {
        common: CommonSwitches = CommonSwitches {
            retention: OptionalSpan(Some(Duration::from_secs(365 * 86_400))),
            ..CommonSwitches::default()
        };
        /// In which order records are listed.
        order: Order = Order::NewestFirst,
        /// The page size if the request names none (25 was observed, 1000 is documented).
        default_limit: usize = 25,
        /// The largest page size; a larger one is lowered to it.
        max_limit: usize = 1_000,
        /// Whether `_links` has a `next`.
        next_link: bool = false,
        /// Which kind of API token the credentials are.
        token_kind: TokenKind = TokenKind::Any,
        /// Whether a wrong token at the site is answered with a web page.
        html_401: bool = false,
        /// Whether dates may be ISO 8601 text.
        iso_dates: bool = true,
        /// Whether the gateway also answers below `/ex/confluence/{cloudId}/rest/api/audit`.
        gateway_without_wiki: bool = true,
        /// Whether `searchString` tells capitals from small letters.
        search_case_sensitive: bool = false,
        /// Whether the account is a Confluence administrator; otherwise 403 with an empty body.
        administrator: bool = true,
        /// Whether the account has a Confluence seat; otherwise 403.
        seat: bool = true,
        /// Whether the plan has an audit log; otherwise 403.
        paid_plan: bool = true,
    }
}
