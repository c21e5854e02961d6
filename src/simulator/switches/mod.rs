//! Switches: one for every fact of a vendor's API that its documentation leaves open.
//!
//! The default of each is the assumption that the collector makes too; turning a switch shows whether a pipeline also
//! works if the assumption is wrong. They can be set at the start (`--switch clumio.order=asc`) and while running
//! (`PUT /_sim/switches`).

mod value;
mod vendor;

use std::time::Duration;

pub use value::{
    BoundKind, DayOffset, EmailMatch, EndDate, FieldHandling, HrefForm, JsonSpacing, Limits, NullForm, OnExcess,
    OptionalCount, OptionalSpan, Order, RedirectForm, RetryAfter, Strictness, SwitchValue, TimeBasis, TimeFormat,
    TokenKind, UnauthorizedStatus,
};
pub use vendor::{AkuitySwitches, CaptivateIqSwitches, ClumioSwitches, ConfluenceSwitches, MergeSwitches};

use super::name::VendorName;

/// A switch, for lists.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SwitchInfo {
    /// `vendor.switch`.
    pub name: String,
    /// The present value, as it is written.
    pub value: String,
    /// What may be written.
    pub allowed: String,
    /// What it decides.
    pub about: String,
}

/// Defines a group of switches: the struct, its default, setting by name, and the list for people.
macro_rules! switches {
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
            /// Sets the switch called `name`; `None` if this group has none of that name.
            pub(in crate::simulator) fn set_own(&mut self, name: &str, text: &str) -> Option<Result<(), String>> {
                match name {
                    $(stringify!($field) => Some($crate::simulator::switches::SwitchValue::read(text)
                        .map(|value| self.$field = value)),)+
                    _ => None,
                }
            }

            /// The switches of this group, for people.
            pub(in crate::simulator) fn own_list(&self, vendor: &str) -> Vec<$crate::simulator::switches::SwitchInfo> {
                vec![$($crate::simulator::switches::SwitchInfo {
                    name: format!("{vendor}.{}", stringify!($field)),
                    value: $crate::simulator::switches::SwitchValue::write(&self.$field),
                    allowed: <$kind as $crate::simulator::switches::SwitchValue>::allowed(),
                    about: concat!($($about),+).trim().to_owned(),
                },)+]
            }
        }
    };
}
pub(super) use switches;

switches! {
    /// The switches that every vendor has.
    CommonSwitches {
        /// How long after its timestamp a record becomes visible; bears on records generated afterwards.
        visibility_delay: Duration = Duration::ZERO,
        /// Records older than this are no longer served.
        retention: OptionalSpan = OptionalSpan(None),
        /// The request budget; what exceeds it is answered 429.
        rate_limit: Limits = Limits(Vec::new()),
        /// What a 429 says about the time to wait.
        retry_after: RetryAfter = RetryAfter::Seconds,
        /// White space inside records; bears on records generated afterwards.
        json_spacing: JsonSpacing = JsonSpacing::Plain,
    }
}

/// The switches of every vendor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Switches {
    /// Akuity.
    pub akuity: AkuitySwitches,
    /// CaptivateIQ.
    pub captivateiq: CaptivateIqSwitches,
    /// Clumio.
    pub clumio: ClumioSwitches,
    /// Confluence.
    pub confluence: ConfluenceSwitches,
    /// Merge.
    pub merge: MergeSwitches,
}

impl Switches {
    /// Sets the switch called `vendor.switch`.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        let (vendor, switch) = name
            .split_once('.')
            .ok_or_else(|| format!("`{name}` is no switch; write VENDOR.SWITCH, for example clumio.order"))?;
        let vendor: VendorName = vendor.parse()?;
        self.set_own(vendor, switch, text)
            .unwrap_or_else(|| Err(self.unknown(vendor, name)))
            .map_err(|reason| format!("{name}: {reason}"))
    }

    fn set_own(&mut self, vendor: VendorName, switch: &str, text: &str) -> Option<Result<(), String>> {
        let own = match vendor {
            VendorName::Akuity => self.akuity.set_own(switch, text),
            VendorName::CaptivateIq => self.captivateiq.set_own(switch, text),
            VendorName::Clumio => self.clumio.set_own(switch, text),
            VendorName::Confluence => self.confluence.set_own(switch, text),
            VendorName::Merge => self.merge.set_own(switch, text),
        };
        own.or_else(|| self.common_mut(vendor).set_own(switch, text))
    }

    fn unknown(&self, vendor: VendorName, name: &str) -> String {
        let known: Vec<String> = self.list_of(vendor).into_iter().map(|info| info.name).collect();
        format!("there is no switch `{name}`; write one of {}", known.join(", "))
    }

    /// The switches that every vendor has, of one vendor.
    #[must_use]
    pub fn common(&self, vendor: VendorName) -> &CommonSwitches {
        match vendor {
            VendorName::Akuity => &self.akuity.common,
            VendorName::CaptivateIq => &self.captivateiq.common,
            VendorName::Clumio => &self.clumio.common,
            VendorName::Confluence => &self.confluence.common,
            VendorName::Merge => &self.merge.common,
        }
    }

    /// The switches that every vendor has, of one vendor, to be changed.
    pub fn common_mut(&mut self, vendor: VendorName) -> &mut CommonSwitches {
        match vendor {
            VendorName::Akuity => &mut self.akuity.common,
            VendorName::CaptivateIq => &mut self.captivateiq.common,
            VendorName::Clumio => &mut self.clumio.common,
            VendorName::Confluence => &mut self.confluence.common,
            VendorName::Merge => &mut self.merge.common,
        }
    }

    /// Every switch of one vendor with its present value.
    #[must_use]
    pub fn list_of(&self, vendor: VendorName) -> Vec<SwitchInfo> {
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

    /// Every switch with its present value.
    #[must_use]
    pub fn list(&self) -> Vec<SwitchInfo> {
        VendorName::ALL.into_iter().flat_map(|vendor| self.list_of(vendor)).collect()
    }

    /// Takes every request budget away: for tests and measurements.
    pub fn lift_rate_limits(&mut self) {
        for vendor in VendorName::ALL {
            self.common_mut(vendor).rate_limit = Limits(Vec::new());
        }
        self.merge.abuse_limit = Limits(Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_switch_takes_its_own_value_back() {
        let mut switches = Switches::default();
        for info in Switches::default().list() {
            switches.set(&info.name, &info.value).unwrap_or_else(|reason| panic!("{}: {reason}", info.name));
            assert!(!info.about.is_empty() && !info.allowed.is_empty(), "{}", info.name);
        }
        assert_eq!(switches, Switches::default());
    }

    #[test]
    fn a_switch_is_set_by_name() {
        let mut switches = Switches::default();
        switches.set("clumio.order", "asc").expect("a switch");
        switches.set("merge.rate_limit", "2/s,60/m").expect("a switch");
        switches.set("confluence.retention", "365d").expect("a switch");
        assert_eq!(switches.clumio.order, Order::OldestFirst);
        assert_eq!(switches.merge.common.rate_limit.0.len(), 2);
        assert!(switches.confluence.common.retention.0.is_some());
    }

    #[test]
    fn mistakes_are_explained() {
        let mut switches = Switches::default();
        let said = switches.set("clumio.odrer", "asc").expect_err("no switch");
        assert!(said.contains("clumio.order"), "{said}");
        let said = switches.set("clumio.order", "up").expect_err("no value");
        assert!(said.contains("desc") && said.contains("asc"), "{said}");
        assert!(switches.set("order", "asc").is_err());
    }
}
