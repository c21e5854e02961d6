//! The vendors that the simulator serves.

use std::fmt;
use std::str::FromStr;

/// A vendor that the simulator serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VendorName {
    /// Akuity Platform, organization audit logs.
    Akuity,
    /// CaptivateIQ, audit logs.
    CaptivateIq,
    /// Clumio, audit trails.
    Clumio,
    /// Confluence Cloud, audit records.
    Confluence,
    /// Merge Unified API, audit trail.
    Merge,
}

impl VendorName {
    /// All of them, in alphabetical order.
    pub const ALL: [Self; 5] = [Self::Akuity, Self::CaptivateIq, Self::Clumio, Self::Confluence, Self::Merge];

    /// The name as in a pipeline file (`type: clumio`).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Akuity => "akuity",
            Self::CaptivateIq => "captivateiq",
            Self::Clumio => "clumio",
            Self::Confluence => "confluence",
            Self::Merge => "merge",
        }
    }

    /// The index in [`Self::ALL`].
    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for VendorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for VendorName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|vendor| vendor.as_str() == text).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|vendor| vendor.as_str()).collect();
            format!("`{text}` is not a vendor of the simulator; use one of {}", known.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_and_is_a_registered_vendor() {
        for vendor in VendorName::ALL {
            assert_eq!(vendor.as_str().parse::<VendorName>(), Ok(vendor));
            assert_eq!(VendorName::ALL[vendor.index()], vendor);
            assert!(crate::vendors::registry::NAMES.contains(&vendor.as_str()));
        }
        assert!("salesforce".parse::<VendorName>().is_err());
    }
}
