//! How much of the recent past each poll reads again: a fixed time, or what the measured lateness recommends.
//!
//! ```text
//!   pages --how late their new events are--> journal (seven days) --p99.9 and half of it--> overlap, each hour
//! ```

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::journal::LatenessCounts;
use crate::units::Span;

/// With `auto` no overlap is longer, unless the vendor's own is: the recheck a day later finds what comes after that.
const LONGEST_AUTOMATIC: Duration = Duration::from_secs(86_400);

/// How much of the recent past each poll reads again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// This much.
    Fixed(Duration),
    /// As the measured lateness recommends: at least the vendor's default, at most a day.
    Auto,
}

impl Overlap {
    /// The overlap, given a vendor's default and the measured lateness of the source's events.
    #[must_use]
    pub fn given(self, default: Duration, lateness: &LatenessCounts) -> Duration {
        match self {
            Self::Fixed(overlap) => overlap,
            Self::Auto => recommended(lateness).map_or(default, |overlap| overlap.min(LONGEST_AUTOMATIC)).max(default),
        }
    }

    /// The longest overlap that it can become, given a vendor's default.
    #[must_use]
    pub fn longest(self, default: Duration) -> Duration {
        match self {
            Self::Fixed(overlap) => overlap,
            Self::Auto => default.max(LONGEST_AUTOMATIC),
        }
    }
}

/// The overlap that a lateness calls for: its 99.9th percentile and half of it, in whole minutes. `None` if no event was
/// measured.
#[must_use]
pub fn recommended(lateness: &LatenessCounts) -> Option<Duration> {
    const MINUTE: u64 = 60;
    let secs = lateness.quantile(0.999)?.as_secs();
    let with_margin = secs.saturating_add(secs / 2).saturating_add(1);
    Some(Duration::from_secs(with_margin.div_ceil(MINUTE).saturating_mul(MINUTE)))
}

impl<'de> Deserialize<'de> for Overlap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = crate::units::PlainText::deserialize(deserializer)?;
        if text.as_str() == "auto" {
            return Ok(Self::Auto);
        }
        let span =
            Span::parse(text.as_str()).map_err(|reason| serde::de::Error::custom(format!("{reason}, or `auto`")))?;
        Ok(Self::Fixed(span.0))
    }
}

crate::json_schema::written_as!(Overlap, "Overlap", {
    "type": ["string", "number"],
    "minimum": 0,
    "examples": ["auto", "15m", "6h", 900]
});

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn late(by: Duration) -> LatenessCounts {
        let mut counts = LatenessCounts::default();
        counts.add(by);
        counts
    }

    #[test]
    fn an_automatic_overlap_follows_the_lateness_between_the_default_and_a_day() {
        let overlap = |counts: &LatenessCounts| Overlap::Auto.given(15 * MINUTE, counts);
        assert_eq!(overlap(&LatenessCounts::default()), 15 * MINUTE);
        assert_eq!(overlap(&late(MINUTE)), 15 * MINUTE);
        let hours = overlap(&late(60 * MINUTE));
        assert!(hours >= 90 * MINUTE && hours <= 105 * MINUTE, "{hours:?}");
        assert_eq!(overlap(&late(5_000 * MINUTE)), 1_440 * MINUTE);
        let two_days = 2_880 * MINUTE;
        assert_eq!(Overlap::Auto.given(two_days, &late(5_000 * MINUTE)), two_days);
        assert_eq!(Overlap::Fixed(MINUTE).given(15 * MINUTE, &late(60 * MINUTE)), MINUTE);
    }

    #[test]
    fn is_read_from_auto_or_a_duration() {
        let read = |text: &str| serde_json::from_str::<Overlap>(text).map_err(|error| error.to_string());
        assert_eq!(read("\"auto\""), Ok(Overlap::Auto));
        assert_eq!(read("\"15m\""), Ok(Overlap::Fixed(15 * MINUTE)));
        assert_eq!(read("60"), Ok(Overlap::Fixed(MINUTE)));
        assert!(read("\"long\"").expect_err("no duration").contains("or `auto`"));
    }
}
