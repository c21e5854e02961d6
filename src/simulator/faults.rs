//! Fault injection: what the simulator does wrong on request.
//!
//! A fault never changes what happened (the truth), only how and when it is served. Each has a probability: a share of
//! the records for faults of the data, a share of the answers for faults of the traffic.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::vendor_name::VendorName;

/// The setting of a fault.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSetting {
    /// Share of the affected records or answers, 0 to 1.
    pub probability: f64,
    /// A duration in seconds, explained in [`FaultName::about`]; most faults ignore it.
    #[serde(default)]
    pub seconds: f64,
}

macro_rules! faults {
    ($($variant:ident $text:literal $probability:literal $seconds:literal $about:literal,)+) => {
        /// A way in which the simulator misbehaves on demand.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum FaultName {
            $(#[doc = $about] $variant,)+
        }

        impl FaultName {
            /// Every fault.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name on the command line and in `/_sim/faults`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// What it does, in one line.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)+ }
            }

            /// The setting if only the name is given.
            #[must_use]
            pub const fn default_setting(self) -> FaultSetting {
                match self { $(Self::$variant => FaultSetting { probability: $probability, seconds: $seconds },)+ }
            }
        }
    };
}

faults! {
    LateEvents "late_events" 0.05 20.0 "events that become visible 1 to SECONDS seconds after their timestamp",
    Ties "ties" 0.3 0.0 "events with the timestamp of the previous event",
    IdenticalRecords "identical_records" 0.05 0.0 "events identical to the previous event (vendors without record ids)",
    UnknownValues "unknown_values" 0.2 0.0 "records with undocumented values and fields",
    MalformedRecords "malformed_records" 0.02 0.0 "records that are a number, a string or an object without a time",
    ChangingRecords "changing_records" 0.2 60.0 "Akuity: records that grow within SECONDS seconds after becoming visible",
    RenamedAuthors "renamed_authors" 0.1 60.0 "Confluence: records whose author gets another public name within SECONDS seconds",
    PageShift "page_shift" 0.2 0.0 "an event is inserted into the scanned window before a later page is answered",
    RepeatedToken "repeated_token" 0.05 0.0 "the next page is the current page (vendors whose answers name the next page)",
    ExpiredCursor "expired_cursor" 0.05 0.0 "a page cursor is rejected (Merge: 404 Invalid cursor)",
    RateLimit "rate_limit" 0.1 1.0 "429 with Retry-After: SECONDS",
    RateLimitDate "rate_limit_date" 0.1 1.0 "429 with Retry-After as an HTTP date SECONDS ahead",
    RateLimitBare "rate_limit_bare" 0.05 0.0 "429 without Retry-After",
    ServerError "server_error" 0.1 0.0 "500, 502, 503 or 504, with a JSON or an HTML body",
    Html200 "html_200" 0.05 0.0 "status 200 with an HTML body",
    CutBody "cut_body" 0.1 0.0 "the connection ends in the middle of the body, or the body is truncated JSON with a matching Content-Length",
    Slow "slow" 0.1 1.0 "the answer, or the second half of its body, is delayed by SECONDS seconds",
    Unauthorized "unauthorized" 1.0 0.0 "401 until the fault is cleared",
    Forbidden "forbidden" 1.0 0.0 "403 until the fault is cleared",
    Gzip "gzip" 1.0 0.0 "bodies are compressed if the client accepts it",
}

impl fmt::Display for FaultName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FaultName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|fault| fault.as_str() == text).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|fault| fault.as_str()).collect();
            format!("`{text}` is not a fault; use one of {}", known.join(", "))
        })
    }
}

/// A fault to enable: `rate_limit`, `rate_limit=0.5`, `slow=0.1:2.5`, `merge.unauthorized`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultOrder {
    /// The vendor; `None` for all.
    pub vendor: Option<VendorName>,
    /// Which fault.
    pub fault: FaultName,
    /// Its setting.
    pub setting: FaultSetting,
}

impl From<FaultName> for FaultOrder {
    fn from(fault: FaultName) -> Self {
        Self { vendor: None, fault, setting: fault.default_setting() }
    }
}

impl FromStr for FaultOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (subject, strength) = text.split_once('=').map_or((text, None), |(subject, value)| (subject, Some(value)));
        let (vendor, fault) = parse_subject(subject)?;
        let mut setting = fault.default_setting();
        if let Some(strength) = strength {
            read_strength(strength, &mut setting).ok_or_else(|| {
                format!(
                    "`{strength}` is not PROBABILITY or PROBABILITY:SECONDS; write 0.1 or 0.1:2.5 (probability 0 to 1)"
                )
            })?;
        }
        Ok(Self { vendor, fault, setting })
    }
}

/// Reads `fault` or `vendor.fault`.
///
/// # Errors
/// A sentence with the known names.
pub(super) fn parse_subject(text: &str) -> Result<(Option<VendorName>, FaultName), String> {
    match text.split_once('.') {
        Some((vendor, fault)) => Ok((Some(vendor.parse()?), fault.parse()?)),
        None => Ok((None, text.parse()?)),
    }
}

fn read_strength(text: &str, setting: &mut FaultSetting) -> Option<()> {
    let (probability, seconds) = text.split_once(':').map_or((text, None), |(left, right)| (left, Some(right)));
    setting.probability = probability.parse().ok()?;
    if let Some(seconds) = seconds {
        setting.seconds = seconds.parse().ok()?;
    }
    setting.is_valid().then_some(())
}

impl FaultSetting {
    /// Whether the probability is in 0 to 1 and the seconds are finite and not negative.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        (0.0..=1.0).contains(&self.probability) && (0.0..=1e9).contains(&self.seconds)
    }
}

/// The enabled faults with their settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct FaultSet(BTreeMap<FaultName, FaultSetting>);

impl FaultSet {
    pub(super) fn set(&mut self, fault: FaultName, setting: FaultSetting) {
        self.0.insert(fault, setting);
    }

    pub(super) fn clear(&mut self, fault: FaultName) {
        self.0.remove(&fault);
    }

    pub(super) fn clear_all(&mut self) {
        self.0.clear();
    }

    pub(super) fn get(&self, fault: FaultName) -> Option<FaultSetting> {
        self.0.get(&fault).copied()
    }

    /// The probability of a fault; 0 if it is disabled.
    pub(super) fn probability(&self, fault: FaultName) -> f64 {
        self.get(fault).map_or(0.0, |setting| setting.probability)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (FaultName, FaultSetting)> + '_ {
        self.0.iter().map(|(fault, setting)| (*fault, *setting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_parse_in_every_form() {
        let order: FaultOrder = "rate_limit".parse().expect("a fault");
        assert_eq!(order, FaultName::RateLimit.into());
        let order: FaultOrder = "merge.slow=0.25:2.5".parse().expect("a fault");
        assert_eq!(order.vendor, Some(VendorName::Merge));
        assert_eq!(order.setting, FaultSetting { probability: 0.25, seconds: 2.5 });
    }

    #[test]
    fn invalid_orders_are_errors_with_the_known_names() {
        for text in ["", "fire", "slow=2", "slow=x", "slow=0.1:-1", "slow=NaN", "nobody.slow"] {
            assert!(text.parse::<FaultOrder>().is_err(), "{text}");
        }
        assert!("fire".parse::<FaultOrder>().expect_err("no fault").contains("late_events"));
    }
}
