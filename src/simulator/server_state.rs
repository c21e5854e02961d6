//! The state of the server: one mock per vendor and the clock. It is also the registry of the simulator's vendors: the only
//! place that knows each of them by name and by path.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::faults::{FaultOrder, FaultSet};
use super::mock_vendor::MockVendor;
use super::options::{SimulatorError, SimulatorOptions};
use super::record_builder::mix;
use super::record_generator::Timeline;
use super::vendor_api::VendorApi;
use super::vendor_name::VendorName;
use super::{akuity, captivateiq, clumio, confluence, merge};
use crate::clock::SharedClock;
use crate::time::Timestamp;

/// Every vendor's mock, and the clock.
pub(super) struct ServerState {
    mocks: [Option<Mutex<MockVendor>>; 5],
    pub(super) clock: SharedClock,
}

impl std::fmt::Debug for ServerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerState").field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl ServerState {
    /// Generates the whole history of every vendor.
    pub(super) fn new(options: &SimulatorOptions) -> Self {
        let start = options.start.unwrap_or_else(|| options.clock.now());
        let mocks = VendorName::ALL.map(|vendor| {
            options.vendors.contains(&vendor).then(|| {
                let mut mock = new_mock(vendor, options, start);
                mock.advance(start);
                Mutex::new(mock)
            })
        });
        Self { mocks, clock: options.clock.clone() }
    }

    /// A vendor's mock.
    ///
    /// # Errors
    /// When the vendor is not served.
    pub(super) fn mock(&self, vendor: VendorName) -> Result<MutexGuard<'_, MockVendor>, SimulatorError> {
        let mock = self.mocks[vendor.index()].as_ref().ok_or(SimulatorError::NotServed(vendor))?;
        // A mock stays usable after a panic: each change to it is complete.
        Ok(mock.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The vendors that are served.
    pub(super) fn vendors(&self) -> impl Iterator<Item = VendorName> + '_ {
        VendorName::ALL.into_iter().filter(|vendor| self.mocks[vendor.index()].is_some())
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn new_mock(vendor: VendorName, options: &SimulatorOptions, start: Timestamp) -> MockVendor {
    let timeline = Timeline {
        seed: mix(options.seed, 101, vendor.index() as u64),
        start,
        growth: start.max(options.clock.now()),
        span: options.span,
        events: options.events_per_vendor,
        rate: options.rate,
        stopped_at: None,
        digits: api_of(vendor).digits(),
    };
    let faults = faults_of(vendor, &options.faults);
    MockVendor::new(vendor, api_of(vendor), timeline, faults, options.variants.clone(), options.credentials.clone())
}

fn faults_of(vendor: VendorName, orders: &[FaultOrder]) -> FaultSet {
    let mut faults = FaultSet::default();
    for order in orders.iter().filter(|order| order.vendor.is_none_or(|one| one == vendor)) {
        faults.set(order.fault, order.setting);
    }
    faults
}

/// A vendor's API.
fn api_of(vendor: VendorName) -> &'static dyn VendorApi {
    match vendor {
        VendorName::Akuity => &akuity::Akuity,
        VendorName::CaptivateIq => &captivateiq::CaptivateIq,
        VendorName::Clumio => &clumio::Clumio,
        VendorName::Confluence => &confluence::Confluence,
        VendorName::Merge => &merge::Merge,
    }
}

/// The vendor that a path belongs to.
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
