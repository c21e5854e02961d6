//! The definitions of the variants: common ones and those of each vendor, with the assumption as default.

use std::time::Duration;

use super::values::{
    BoundKind, DayOffset, EmailMatch, EndDate, FieldHandling, HrefForm, JsonSpacing, NullForm, OnExcess, OptionalCount,
    OptionalSpan, Order, RateLimits, RedirectForm, RetryAfter, Strictness, TimeBasis, TimeFormat, TokenKind,
    UnauthorizedStatus, VariantValue,
};
use crate::simulator::vendor_name::VendorName;

/// A variant with its description.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct VariantInfo {
    /// `vendor.variant`.
    pub name: String,
    /// The current value.
    pub value: String,
    /// The allowed values.
    pub allowed: String,
    /// What it determines.
    pub about: String,
}

/// Defines a group of variants: the struct, its default, setting by name, and the list of descriptions.
macro_rules! variants {
    (
        $(#[doc = $intro:literal])+
        $name:ident {
            $(common: $group:ty = $common:expr;)?
            $( $(#[doc = $about:literal])+ $field:ident: $kind:ty = $default:expr, )+
        }
    ) => {
        $(#[doc = $intro])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $(
                /// The variants that every vendor has.
                pub common: $group,
            )?
            $( $(#[doc = $about])+ pub $field: $kind, )+
        }

        impl Default for $name {
            fn default() -> Self { Self { $(common: $common,)? $($field: $default,)+ } }
        }

        impl $name {
            /// Sets the variant called `name`; `None` if this group has none of that name.
            fn set_own(&mut self, name: &str, text: &str) -> Option<Result<(), String>> {
                match name {
                    $(stringify!($field) => Some(VariantValue::read(text)
                        .map(|value| self.$field = value)),)+
                    _ => None,
                }
            }

            /// The variants of this group with descriptions.
            fn own_list(&self, vendor: &str) -> Vec<VariantInfo> {
                vec![$(VariantInfo {
                    name: format!("{vendor}.{}", stringify!($field)),
                    value: VariantValue::write(&self.$field),
                    allowed: <$kind as VariantValue>::allowed(),
                    about: concat!($($about),+).trim().to_owned(),
                },)+]
            }
        }
    };
}
variants! {
    /// The variants that every vendor has.
    CommonVariants {
        /// How long after its timestamp a record becomes visible; applies to records generated afterwards.
        visibility_delay: Duration = Duration::ZERO,
        /// Records older than this are no longer served.
        retention: OptionalSpan = OptionalSpan(None),
        /// The rate limit; excess requests get 429.
        rate_limit: RateLimits = RateLimits(Vec::new()),
        /// The form of `Retry-After` of a 429.
        retry_after: RetryAfter = RetryAfter::Seconds,
        /// White space inside records; applies to records generated afterwards.
        json_spacing: JsonSpacing = JsonSpacing::Plain,
    }
}

variants! {
    /// Clumio's variants.
    ClumioVariants {
        common: CommonVariants = CommonVariants {
            retention: OptionalSpan(Some(Duration::from_secs(90 * 86_400))),
            rate_limit: RateLimits::of(&[(100, 1)]),
            retry_after: RetryAfter::None,
            ..CommonVariants::default()
        };
        /// The order of the list.
        order: Order = Order::NewestFirst,
        /// The page size if the request names none.
        default_limit: usize = 100,
        /// The largest page size; larger sizes are reduced to it.
        max_limit: usize = 500,
        /// How to handle a `limit` that is not a positive integer.
        on_bad_limit: Strictness = Strictness::Reject,
        /// Whether `limit=0`, an empty `start` and an empty `filter` count as absent.
        lenient_empty: bool = false,
        /// Whether links without a target are `null` instead of absent.
        null_links: bool = false,
        /// How to answer a page past the end: an empty page, or 400.
        past_end: Strictness = Strictness::Tolerate,
        /// Whether an empty page has `_embedded: null`.
        null_embedded: bool = false,
        /// How to handle an undocumented filter field.
        unknown_filter_field: FieldHandling = FieldHandling::Match,
        /// The status of an answer to a request without a token.
        missing_token: UnauthorizedStatus = UnauthorizedStatus::Forbidden,
        /// The form of the hrefs in `_links`.
        href: HrefForm = HrefForm::Path,
        /// Whether an `Accept` header other than the versioned one or `*/*` is rejected with 406.
        strict_accept: bool = false,
        /// The content type of an answer.
        content_type: String = "application/api.clumio.audit-trails=v1+json".into(),
        /// How a system event represents the missing user; applies to records generated afterwards.
        system_user: NullForm = NullForm::Mixed,
    }
}

variants! {
    /// CaptivateIQ's variants.
    CaptivateIqVariants {
        common: CommonVariants = CommonVariants {
            rate_limit: RateLimits::of(&[(5, 1), (1_500, 3_600)]),
            ..CommonVariants::default()
        };
        /// The order of the list.
        order: Order = Order::NewestFirst,
        /// The page size if the request names none.
        default_limit: usize = 50,
        /// The largest page size; larger sizes are reduced to it.
        max_limit: usize = 1_000,
        /// The form of `next` and `previous`.
        links: HrefForm = HrefForm::Absolute,
        /// How to answer a path without the trailing slash.
        append_slash: RedirectForm = RedirectForm::Redirect,
        /// How many days back a request without `start_date` reads.
        default_lookback_days: OptionalCount = OptionalCount(None),
        /// The time zone in which days begin.
        day_tz: DayOffset = DayOffset(0),
        /// Whether `end_date` includes its day.
        end_date: EndDate = EndDate::InclusiveDay,
        /// Which email address `email` matches.
        email: EmailMatch = EmailMatch::Effective,
    }
}

variants! {
    /// Merge's variants.
    MergeVariants {
        common: CommonVariants = CommonVariants {
            rate_limit: RateLimits::of(&[(600, 60)]),
            ..CommonVariants::default()
        };
        /// The order of the list.
        order: Order = Order::OldestFirst,
        /// Whether an event exactly at `start_date` is listed.
        start_bound: BoundKind = BoundKind::Strict,
        /// Whether an event exactly at `end_date` is listed.
        end_bound: BoundKind = BoundKind::Strict,
        /// The page size if the request names none.
        default_page_size: usize = 30,
        /// The largest page size; larger sizes are reduced to it.
        max_page_size: usize = 100,
        /// Whether `next` and `previous` are left out instead of `null`.
        next_absent: bool = false,
        /// How long a cursor is accepted.
        cursor_expiry: OptionalSpan = OptionalSpan(None),
        /// Whether the plan has the audit trail; without it every answer is 403.
        enterprise_plan: bool = true,
        /// After more failed requests than this, all requests get 429.
        abuse_limit: RateLimits = RateLimits::of(&[(20, 10)]),
    }
}

variants! {
    /// Akuity's variants.
    AkuityVariants {
        common: CommonVariants = CommonVariants {
            retry_after: RetryAfter::None,
            ..CommonVariants::default()
        };
        /// The order of the list.
        order: Order = Order::NewestFirst,
        /// The format of timestamps; applies to records generated afterwards.
        time_format: TimeFormat = TimeFormat::Go,
        /// The time of a record that the filter and the order use.
        time_basis: TimeBasis = TimeBasis::Timestamp,
        /// Whether a record exactly at `endTime` is listed.
        end_bound: BoundKind = BoundKind::Inclusive,
        /// The longest time between the occurrences that one record represents; applies to records generated afterwards.
        /// `0s` turns collapsing off.
        collapse_interval: Duration = Duration::from_secs(3_600),
        /// The page size if the request names none.
        default_limit: usize = 20,
        /// The largest page size.
        max_limit: usize = 1_000,
        /// How to handle a larger page size.
        on_excess: OnExcess = OnExcess::Clamp,
        /// Whether unset fields are absent instead of `null`; applies to records generated afterwards.
        drop_nulls: bool = false,
        /// Whether records lack `count`, `lastOccurredTimestamp` and `ip`, as in old versions; bears on records generated
        /// afterwards.
        omit_new_fields: bool = false,
        /// Whether the key may read audit logs; without it every answer is 403.
        permission: bool = true,
        /// The organization's name, for the two lookup calls.
        organization_name: String = "acme".into(),
    }
}

variants! {
    /// Confluence's variants.
    ConfluenceVariants {
        common: CommonVariants = CommonVariants {
            retention: OptionalSpan(Some(Duration::from_secs(365 * 86_400))),
            ..CommonVariants::default()
        };
        /// The order of the list.
        order: Order = Order::NewestFirst,
        /// The page size if the request names none (25 was observed, 1000 is documented).
        default_limit: usize = 25,
        /// The largest page size; larger sizes are reduced to it.
        max_limit: usize = 1_000,
        /// Whether `_links` has a `next`.
        next_link: bool = false,
        /// Which kind of API token the credentials are.
        token_kind: TokenKind = TokenKind::Any,
        /// Whether the site answers a wrong token with an HTML page.
        html_401: bool = false,
        /// Whether dates may be ISO 8601 strings.
        iso_dates: bool = true,
        /// Whether the gateway also answers below `/ex/confluence/{cloudId}/rest/api/audit`.
        gateway_without_wiki: bool = true,
        /// Whether `searchString` is case-sensitive.
        search_case_sensitive: bool = false,
        /// Whether the account is a Confluence administrator; otherwise 403 with an empty body.
        administrator: bool = true,
        /// Whether the account has a Confluence seat; otherwise 403.
        seat: bool = true,
        /// Whether the plan has an audit log; otherwise 403.
        paid_plan: bool = true,
    }
}

/// The variants of every vendor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Variants {
    /// Akuity.
    pub akuity: AkuityVariants,
    /// CaptivateIQ.
    pub captivateiq: CaptivateIqVariants,
    /// Clumio.
    pub clumio: ClumioVariants,
    /// Confluence.
    pub confluence: ConfluenceVariants,
    /// Merge.
    pub merge: MergeVariants,
}

impl Variants {
    /// Sets the variant called `vendor.variant`.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        let (vendor, variant) = name
            .split_once('.')
            .ok_or_else(|| format!("`{name}` is not a variant; write VENDOR.NAME, for example clumio.order"))?;
        let vendor: VendorName = vendor.parse()?;
        self.set_own(vendor, variant, text)
            .unwrap_or_else(|| Err(self.unknown(vendor, name)))
            .map_err(|reason| format!("{name}: {reason}"))
    }

    fn set_own(&mut self, vendor: VendorName, variant: &str, text: &str) -> Option<Result<(), String>> {
        let own = match vendor {
            VendorName::Akuity => self.akuity.set_own(variant, text),
            VendorName::CaptivateIq => self.captivateiq.set_own(variant, text),
            VendorName::Clumio => self.clumio.set_own(variant, text),
            VendorName::Confluence => self.confluence.set_own(variant, text),
            VendorName::Merge => self.merge.set_own(variant, text),
        };
        own.or_else(|| self.common_mut(vendor).set_own(variant, text))
    }

    fn unknown(&self, vendor: VendorName, name: &str) -> String {
        let known: Vec<String> = self.list_of(vendor).into_iter().map(|info| info.name).collect();
        format!("unknown variant `{name}`; use one of {}", known.join(", "))
    }

    /// The variants that every vendor has, of one vendor.
    #[must_use]
    pub fn common(&self, vendor: VendorName) -> &CommonVariants {
        match vendor {
            VendorName::Akuity => &self.akuity.common,
            VendorName::CaptivateIq => &self.captivateiq.common,
            VendorName::Clumio => &self.clumio.common,
            VendorName::Confluence => &self.confluence.common,
            VendorName::Merge => &self.merge.common,
        }
    }

    /// The mutable variants that every vendor has, of one vendor.
    pub fn common_mut(&mut self, vendor: VendorName) -> &mut CommonVariants {
        match vendor {
            VendorName::Akuity => &mut self.akuity.common,
            VendorName::CaptivateIq => &mut self.captivateiq.common,
            VendorName::Clumio => &mut self.clumio.common,
            VendorName::Confluence => &mut self.confluence.common,
            VendorName::Merge => &mut self.merge.common,
        }
    }

    /// Every variant of one vendor with its current value.
    #[must_use]
    pub fn list_of(&self, vendor: VendorName) -> Vec<VariantInfo> {
        let name = vendor.as_str();
        let mut list = match vendor {
            VendorName::Akuity => self.akuity.own_list(name),
            VendorName::CaptivateIq => self.captivateiq.own_list(name),
            VendorName::Clumio => self.clumio.own_list(name),
            VendorName::Confluence => self.confluence.own_list(name),
            VendorName::Merge => self.merge.own_list(name),
        };
        list.extend(self.common(vendor).own_list(name));
        list
    }

    /// Every variant with its current value.
    #[must_use]
    pub fn list(&self) -> Vec<VariantInfo> {
        VendorName::ALL.into_iter().flat_map(|vendor| self.list_of(vendor)).collect()
    }

    /// Removes every rate limit, for tests and benchmarks.
    pub fn lift_rate_limits(&mut self) {
        for vendor in VendorName::ALL {
            self.common_mut(vendor).rate_limit = RateLimits(Vec::new());
        }
        self.merge.abuse_limit = RateLimits(Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_variant_accepts_its_own_value() {
        let mut variants = Variants::default();
        for info in Variants::default().list() {
            variants.set(&info.name, &info.value).unwrap_or_else(|reason| panic!("{}: {reason}", info.name));
            assert!(!info.about.is_empty() && !info.allowed.is_empty(), "{}", info.name);
        }
        assert_eq!(variants, Variants::default());
    }

    #[test]
    fn a_variant_is_set_by_name() {
        let mut variants = Variants::default();
        variants.set("clumio.order", "asc").expect("a variant");
        variants.set("merge.rate_limit", "2/s,60/m").expect("a variant");
        variants.set("confluence.retention", "365d").expect("a variant");
        assert_eq!(variants.clumio.order, Order::OldestFirst);
        assert_eq!(variants.merge.common.rate_limit.0.len(), 2);
        assert!(variants.confluence.common.retention.0.is_some());
    }

    #[test]
    fn errors_name_the_allowed_values() {
        let mut variants = Variants::default();
        let message = variants.set("clumio.odrer", "asc").expect_err("no variant");
        assert!(message.contains("clumio.order"), "{message}");
        let message = variants.set("clumio.order", "up").expect_err("no value");
        assert!(message.contains("desc") && message.contains("asc"), "{message}");
        assert!(variants.set("order", "asc").is_err());
    }
}
