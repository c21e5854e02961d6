//! API variants: one for every fact of a vendor's API that its documentation leaves open.
//!
//! The default of each is the assumption that the collector makes too. Another value shows whether a pipeline also works if
//! the assumption is wrong. Set them at the start (`--variant clumio.order=asc`) or while running (`PUT /_sim/variants`).

mod definitions;
mod values;

pub use definitions::{
    AkuityVariants, CaptivateIqVariants, ClumioVariants, CommonVariants, ConfluenceVariants, MergeVariants,
    VariantInfo, Variants,
};
pub use values::{
    BoundKind, DayOffset, EmailMatch, EndDate, FieldHandling, HrefForm, JsonSpacing, NullForm, OnExcess, OptionalCount,
    OptionalSpan, Order, RateLimits, RedirectForm, RetryAfter, Strictness, TimeBasis, TimeFormat, TokenKind,
    UnauthorizedStatus, VariantValue,
};
