//! All desks behind one door: what the server and the controls share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::desk::Desk;
use super::draft::mix;
use super::faults::{FaultOrder, FaultSet};
use super::name::VendorName;
use super::options::SimulatorOptions;
use super::timeline::Timeline;
use super::{SimulatorError, registry};
use crate::clock::SharedClock;
use crate::time::Timestamp;

/// Every vendor's desk, and the clock.
pub(super) struct World {
    desks: [Option<Mutex<Desk>>; 5],
    pub(super) clock: SharedClock,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl World {
    /// Makes the desks with their whole history.
    pub(super) fn new(options: &SimulatorOptions) -> Self {
        let start = options.start.unwrap_or_else(|| options.clock.now());
        let desks = VendorName::ALL.map(|vendor| {
            options.vendors.contains(&vendor).then(|| {
                let mut desk = desk_of(vendor, options, start);
                desk.advance(start);
                Mutex::new(desk)
            })
        });
        Self { desks, clock: options.clock.clone() }
    }

    /// A vendor's desk, up to the present.
    ///
    /// # Errors
    /// When the vendor is not played.
    pub(super) fn desk(&self, vendor: VendorName) -> Result<MutexGuard<'_, Desk>, SimulatorError> {
        let desk = self.desks[vendor.index()].as_ref().ok_or(SimulatorError::NotPlayed(vendor))?;
        // A panic while a desk was held leaves it usable: its parts are changed one whole step at a time.
        Ok(desk.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The vendors that are played.
    pub(super) fn vendors(&self) -> impl Iterator<Item = VendorName> + '_ {
        VendorName::ALL.into_iter().filter(|vendor| self.desks[vendor.index()].is_some())
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn desk_of(vendor: VendorName, options: &SimulatorOptions, start: Timestamp) -> Desk {
    let timeline = Timeline {
        seed: mix(options.seed, 101, vendor.index() as u64),
        start,
        growth: start.max(options.clock.now()),
        span: options.span,
        events: options.events_per_vendor,
        rate: options.rate,
        stopped_at: None,
        digits: registry::of(vendor).digits(),
    };
    let faults = faults_of(vendor, &options.faults);
    Desk::new(vendor, timeline, faults, options.switches.clone(), options.credentials.clone())
}

fn faults_of(vendor: VendorName, orders: &[FaultOrder]) -> FaultSet {
    let mut faults = FaultSet::default();
    for order in orders.iter().filter(|order| order.vendor.is_none_or(|one| one == vendor)) {
        faults.set(order.fault, order.setting);
    }
    faults
}
