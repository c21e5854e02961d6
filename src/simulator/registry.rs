//! The table of the simulator's vendors: the one place that knows every part by name and by path.

use super::api::VendorApi;
use super::name::VendorName;
use super::{akuity, captivateiq, clumio, confluence, merge};

/// A vendor's part.
pub(super) fn of(vendor: VendorName) -> &'static dyn VendorApi {
    match vendor {
        VendorName::Akuity => &akuity::Akuity,
        VendorName::CaptivateIq => &captivateiq::CaptivateIq,
        VendorName::Clumio => &clumio::Clumio,
        VendorName::Confluence => &confluence::Confluence,
        VendorName::Merge => &merge::Merge,
    }
}

/// The vendor to whose address space a path belongs.
pub(super) fn vendor_of(path: &str) -> Option<VendorName> {
    let mut parts = path.trim_start_matches('/').split('/');
    match (parts.next()?, parts.next()) {
        ("audit-trails", _) => Some(VendorName::Clumio),
        ("ciq", _) => Some(VendorName::CaptivateIq),
        ("api", Some("v1")) => Some(VendorName::Akuity),
        ("api", _) => Some(VendorName::Merge),
        ("wiki" | "ex" | "_edge", _) => Some(VendorName::Confluence),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_their_vendor() {
        for (path, vendor) in [
            ("/audit-trails", Some(VendorName::Clumio)),
            ("/ciq/v1/audit-logs/", Some(VendorName::CaptivateIq)),
            ("/api/hris/v1/audit-trail", Some(VendorName::Merge)),
            ("/api/v1/organizations/x/audit-logs", Some(VendorName::Akuity)),
            ("/wiki/rest/api/audit", Some(VendorName::Confluence)),
            ("/ex/confluence/x/wiki/rest/api/audit", Some(VendorName::Confluence)),
            ("/", None),
            ("/elsewhere", None),
        ] {
            assert_eq!(vendor_of(path), vendor, "{path}");
        }
    }
}
