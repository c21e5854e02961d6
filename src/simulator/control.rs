//! Steering a running simulator from the same process; `/_sim/` offers the same over HTTP.

use std::sync::Arc;

use super::SimulatorError;
use super::faults::{FaultName, FaultOrder, FaultSetting};
use super::log::RequestStats;
use super::name::VendorName;
use super::reply::Reply;
use super::store::Place;
use super::truth::{self, TruthQuery, TruthRecord};
use super::world::World;
use crate::time::Timestamp;

/// A record to be put in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// Its own time; `None` for the present. A vendor that writes fewer sub-second digits cuts it.
    pub timestamp: Option<Timestamp>,
    /// From when on it is served; `None` for now.
    pub visible_at: Option<Timestamp>,
    /// Its exact text, which should carry the same time; `None` for a generated record.
    pub raw: Option<String>,
}

/// An answer to be given in the place of the vendor's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderedAnswer {
    /// The status.
    pub status: u16,
    /// Headers beside the content type, which is JSON if not given here.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// Steers a running simulator. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SimulatorControl {
    world: Arc<World>,
}

impl SimulatorControl {
    pub(super) fn new(world: Arc<World>) -> Self {
        Self { world }
    }

    /// The simulator's present moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.world.now()
    }

    /// The vendors that are played.
    #[must_use]
    pub fn vendors(&self) -> Vec<VendorName> {
        self.world.vendors().collect()
    }

    /// Every record that has been visible so far, oldest first.
    ///
    /// # Errors
    /// When the vendor is not played.
    pub fn truth(&self, vendor: VendorName) -> Result<Vec<TruthRecord>, SimulatorError> {
        self.truth_of(vendor, TruthQuery::default())
    }

    /// A part of the truth, oldest first.
    ///
    /// # Errors
    /// When the vendor is not played.
    pub fn truth_of(&self, vendor: VendorName, query: TruthQuery) -> Result<Vec<TruthRecord>, SimulatorError> {
        let now = self.now();
        let mut desk = self.world.desk(vendor)?;
        desk.advance(now);
        let retention = desk.switches.common(vendor).retention.0;
        Ok(truth::of(vendor, desk.store(), query, retention.map(|kept| now - kept)))
    }

    /// Stops the growth of every vendor's data: nothing new happens from now on.
    pub fn stop_growth(&self) {
        let now = self.now();
        for vendor in self.vendors() {
            if let Ok(mut desk) = self.world.desk(vendor) {
                desk.stop_growth(now);
            }
        }
    }

    /// Whether everything that has happened is visible and no record is going to change any more. True for good once
    /// growth has stopped and the last late event has appeared.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let now = self.now();
        self.vendors().into_iter().all(|vendor| {
            self.world.desk(vendor).is_ok_and(|mut desk| {
                desk.advance(now);
                !desk.store().has_pending()
            })
        })
    }

    /// How many records are visible now.
    ///
    /// # Errors
    /// When the vendor is not played.
    pub fn count(&self, vendor: VendorName) -> Result<usize, SimulatorError> {
        let now = self.now();
        let mut desk = self.world.desk(vendor)?;
        desk.advance(now);
        Ok(desk.store().visible().len())
    }

    /// Puts in a record; returns its key.
    ///
    /// # Errors
    /// When the vendor is not played.
    pub fn insert(&self, vendor: VendorName, record: NewRecord) -> Result<String, SimulatorError> {
        let now = self.now();
        let mut desk = self.world.desk(vendor)?;
        let visible_at = record.visible_at.unwrap_or(now);
        let place = desk.insert(record.timestamp.unwrap_or(now), visible_at, record.raw);
        desk.advance(now);
        Ok(key(vendor, place))
    }

    /// Puts in a record as soon as `requests` more requests have been answered, before the next one: between the pages
    /// of a walk. Its `visible_at` does not count.
    ///
    /// # Errors
    /// When the vendor is not played.
    pub fn insert_after(&self, vendor: VendorName, requests: u64, record: NewRecord) -> Result<(), SimulatorError> {
        let at = record.timestamp.unwrap_or_else(|| self.now());
        self.world.desk(vendor)?.insert_after(requests, at, record.raw);
        Ok(())
    }

    /// Puts in a record wholly identical to a visible one; returns its key.
    ///
    /// # Errors
    /// When there is no such record, or the vendor is not played.
    pub fn insert_twin(&self, vendor: VendorName, of: &str) -> Result<String, SimulatorError> {
        let now = self.now();
        let sequence = truth::sequence_of(vendor, of).ok_or_else(|| SimulatorError::NoRecord(of.to_owned()))?;
        let mut desk = self.world.desk(vendor)?;
        desk.advance(now);
        let place = desk.insert_twin(sequence, now).ok_or_else(|| SimulatorError::NoRecord(of.to_owned()))?;
        desk.advance(now);
        Ok(key(vendor, place))
    }

    /// Gives a visible record another text: its next version.
    ///
    /// # Errors
    /// When there is no such record, or the vendor is not played.
    pub fn change(&self, vendor: VendorName, of: &str, raw: String) -> Result<(), SimulatorError> {
        let now = self.now();
        let sequence = truth::sequence_of(vendor, of).ok_or_else(|| SimulatorError::NoRecord(of.to_owned()))?;
        let mut desk = self.world.desk(vendor)?;
        desk.advance(now);
        if desk.change(sequence, raw, now) { Ok(()) } else { Err(SimulatorError::NoRecord(of.to_owned())) }
    }

    /// Turns a fault on, or changes how strong it is; for all vendors if the order names none.
    pub fn set_fault(&self, order: impl Into<FaultOrder>) {
        let order = order.into();
        for vendor in self.concerned(order.vendor) {
            if let Ok(mut desk) = self.world.desk(vendor) {
                desk.faults.set(order.fault, order.setting);
            }
        }
    }

    /// Turns a fault off, for one vendor or all.
    pub fn clear_fault(&self, vendor: Option<VendorName>, fault: FaultName) {
        for vendor in self.concerned(vendor) {
            if let Ok(mut desk) = self.world.desk(vendor) {
                desk.faults.clear(fault);
            }
        }
    }

    /// Turns every fault off.
    pub fn clear_faults(&self) {
        for vendor in self.vendors() {
            if let Ok(mut desk) = self.world.desk(vendor) {
                desk.faults.clear_all();
            }
        }
    }

    /// The faults that are on.
    #[must_use]
    pub fn faults(&self) -> Vec<(VendorName, FaultName, FaultSetting)> {
        let mut all = Vec::new();
        for vendor in self.vendors() {
            let Ok(desk) = self.world.desk(vendor) else { continue };
            all.extend(desk.faults.iter().map(|(fault, setting)| (vendor, fault, setting)));
        }
        all
    }

    fn concerned(&self, vendor: Option<VendorName>) -> Vec<VendorName> {
        vendor.map_or_else(|| self.vendors(), |one| vec![one])
    }

    /// The next `count` requests to a vendor are answered like this, whatever they ask.
    ///
    /// # Errors
    /// When the vendor is not played.
    pub fn fail_next(&self, vendor: VendorName, count: usize, answer: OrderedAnswer) -> Result<(), SimulatorError> {
        let mut headers = answer.headers;
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            headers.push(("content-type".into(), "application/json".into()));
        }
        self.world.desk(vendor)?.fail_next(count, &Reply { status: answer.status, headers, body: answer.body });
        Ok(())
    }

    /// Turns a switch (`vendor.switch`).
    ///
    /// # Errors
    /// When there is no such switch or value, or the vendor is not played.
    pub fn set_switch(&self, name: &str, value: &str) -> Result<(), SimulatorError> {
        let vendor = name.split_once('.').map_or(name, |(vendor, _)| vendor);
        let vendor: VendorName = vendor.parse().map_err(SimulatorError::BadSwitch)?;
        self.world.desk(vendor)?.switches.set(name, value).map_err(SimulatorError::BadSwitch)
    }

    /// The switches of the played vendors with their present values.
    #[must_use]
    pub fn switches(&self) -> Vec<super::switches::SwitchInfo> {
        let desks = self.vendors().into_iter().filter_map(|vendor| Some((vendor, self.world.desk(vendor).ok()?)));
        desks.flat_map(|(vendor, desk)| desk.switches.list_of(vendor)).collect()
    }

    /// What was asked of a vendor so far.
    ///
    /// # Errors
    /// When the vendor is not played.
    pub fn requests(&self, vendor: VendorName) -> Result<RequestStats, SimulatorError> {
        Ok(self.world.desk(vendor)?.stats.clone())
    }
}

fn key(vendor: VendorName, place: Place) -> String {
    truth::key_of(vendor, place.1)
}
