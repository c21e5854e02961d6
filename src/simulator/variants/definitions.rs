//! The definitions of the variants: common ones and those of each vendor, with the assumption as default.

use std::time::Duration;

use super::values::{
    BoundKind, DayOffset, EmailMatch, EndDate, FieldHandling, HrefForm, JsonSpacing, NullForm, OnExcess, OptionalCount,
    OptionalSpan, Order, RateLimits, RedirectForm, RetryAfter, Strictness, TimeBasis, TimeFormat, TokenKind,
    UnauthorizedStatus, VariantValue,
};
use crate::simulator::vendor_name::VendorName;

/// A variant, for lists.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct VariantInfo {
    /// `vendor.variant`.
    pub name: String,
    /// The present value, as it is written.
    pub value: String,
    /// What may be written.
    pub allowed: String,
    /// What it decides.
    pub about: String,
}

/// Defines a group of variants: the struct, its default, setting by name, and the list for people.
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
                /// Those that every vendor has.
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

            /// The variants of this group, for people.
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
        /// How long after its timestamp a record becomes visible; bears on records generated afterwards.
        visibility_delay: Duration = Duration::ZERO,
        /// Records older than this are no longer served.
        retention: OptionalSpan = OptionalSpan(None),
        /// The request budget; what exceeds it is answered 429.
        rate_limit: RateLimits = RateLimits(Vec::new()),
        /// What a 429 says about the time to wait.
        retry_after: RetryAfter = RetryAfter::Seconds,
        /// White space inside records; bears on records generated afterwards.
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

variants! {
    /// CaptivateIQ's variants.
    CaptivateIqVariants {
        common: CommonVariants = CommonVariants {
            rate_limit: RateLimits::of(&[(5, 1), (1_500, 3_600)]),
            ..CommonVariants::default()
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

variants! {
    /// Merge's variants.
    MergeVariants {
        common: CommonVariants = CommonVariants {
            rate_limit: RateLimits::of(&[(600, 60)]),
            ..CommonVariants::default()
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

variants! {
    /// Confluence's variants.
    ConfluenceVariants {
        common: CommonVariants = CommonVariants {
            retention: OptionalSpan(Some(Duration::from_secs(365 * 86_400))),
            ..CommonVariants::default()
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
            .ok_or_else(|| format!("`{name}` is no variant; write VENDOR.SWITCH, for example clumio.order"))?;
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
        format!("there is no variant `{name}`; write one of {}", known.join(", "))
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

    /// The variants that every vendor has, of one vendor, to be changed.
    pub fn common_mut(&mut self, vendor: VendorName) -> &mut CommonVariants {
        match vendor {
            VendorName::Akuity => &mut self.akuity.common,
            VendorName::CaptivateIq => &mut self.captivateiq.common,
            VendorName::Clumio => &mut self.clumio.common,
            VendorName::Confluence => &mut self.confluence.common,
            VendorName::Merge => &mut self.merge.common,
        }
    }

    /// Every variant of one vendor with its present value.
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

    /// Every variant with its present value.
    #[must_use]
    pub fn list(&self) -> Vec<VariantInfo> {
        VendorName::ALL.into_iter().flat_map(|vendor| self.list_of(vendor)).collect()
    }

    /// Takes every request budget away: for tests and measurements.
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
    fn every_listed_variant_takes_its_own_value_back() {
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
    fn mistakes_are_explained() {
        let mut variants = Variants::default();
        let said = variants.set("clumio.odrer", "asc").expect_err("no variant");
        assert!(said.contains("clumio.order"), "{said}");
        let said = variants.set("clumio.order", "up").expect_err("no value");
        assert!(said.contains("desc") && said.contains("asc"), "{said}");
        assert!(variants.set("order", "asc").is_err());
    }
}
