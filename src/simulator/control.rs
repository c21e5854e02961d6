//! Control of a running simulator from the same process; `/_sim/` offers the same over HTTP.

use std::sync::Arc;

use super::faults::{FaultName, FaultOrder, FaultSetting};
use super::http::Reply;
use super::http::RequestStats;
use super::options::SimulatorError;
use super::proof::{self, TruthQuery, TruthRecord};
use super::server_state::ServerState;
use super::store::RecordPosition;
use super::vendor_name::VendorName;
use crate::time::Timestamp;

/// A record to insert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// Its own time; `None` for now. It is truncated to the vendor's sub-second digits.
    pub timestamp: Option<Timestamp>,
    /// When it becomes visible; `None` for now.
    pub visible_at: Option<Timestamp>,
    /// Its exact text, which should contain the same time; `None` for a generated record.
    pub raw: Option<String>,
}

/// A reply to send instead of the vendor's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CannedReply {
    /// The status.
    pub status: u16,
    /// Headers. The content type defaults to JSON.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// Controls a running simulator. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SimulatorControl {
    state: Arc<ServerState>,
}

impl SimulatorControl {
    pub(super) fn new(state: Arc<ServerState>) -> Self {
        Self { state }
    }

    /// The simulator's current time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.state.now()
    }

    /// The vendors that are served.
    #[must_use]
    pub fn vendors(&self) -> Vec<VendorName> {
        self.state.vendors().collect()
    }

    /// Every record that has been visible so far, oldest first.
    ///
    /// # Errors
    /// When the vendor is not served.
    pub fn truth(&self, vendor: VendorName) -> Result<Vec<TruthRecord>, SimulatorError> {
        self.truth_of(vendor, TruthQuery::default())
    }

    /// A part of the truth, oldest first.
    ///
    /// # Errors
    /// When the vendor is not served.
    pub fn truth_of(&self, vendor: VendorName, query: TruthQuery) -> Result<Vec<TruthRecord>, SimulatorError> {
        let now = self.now();
        let mut mock = self.state.mock(vendor)?;
        mock.advance(now);
        let retention = mock.variants.common(vendor).retention.0;
        Ok(proof::truth_of_store(vendor, mock.store(), query, retention.map(|kept| now - kept)))
    }

    /// Stops generating new events for every vendor.
    pub fn stop_growth(&self) {
        let now = self.now();
        for vendor in self.vendors() {
            if let Ok(mut mock) = self.state.mock(vendor) {
                mock.stop_growth(now);
            }
        }
    }

    /// Whether every event is visible and no further change is pending. Stays true once growth has stopped and the last
    /// late event is visible.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let now = self.now();
        self.vendors().into_iter().all(|vendor| {
            self.state.mock(vendor).is_ok_and(|mut mock| {
                mock.advance(now);
                !mock.store().has_pending()
            })
        })
    }

    /// How many records are visible now.
    ///
    /// # Errors
    /// When the vendor is not served.
    pub fn count(&self, vendor: VendorName) -> Result<usize, SimulatorError> {
        let now = self.now();
        let mut mock = self.state.mock(vendor)?;
        mock.advance(now);
        Ok(mock.store().visible().len())
    }

    /// Inserts a record; returns its key.
    ///
    /// # Errors
    /// When the vendor is not served.
    pub fn insert(&self, vendor: VendorName, record: NewRecord) -> Result<String, SimulatorError> {
        let now = self.now();
        let mut mock = self.state.mock(vendor)?;
        let visible_at = record.visible_at.unwrap_or(now);
        let position = mock.insert(record.timestamp.unwrap_or(now), visible_at, record.raw);
        mock.advance(now);
        Ok(key(vendor, position))
    }

    /// Inserts a record after `requests` further requests have been answered, for example between two pages of a scan.
    /// Ignores `visible_at`.
    ///
    /// # Errors
    /// When the vendor is not served.
    pub fn insert_after(&self, vendor: VendorName, requests: u64, record: NewRecord) -> Result<(), SimulatorError> {
        let at = record.timestamp.unwrap_or_else(|| self.now());
        self.state.mock(vendor)?.insert_after(requests, at, record.raw);
        Ok(())
    }

    /// Inserts a record identical to a visible one; returns its key.
    ///
    /// # Errors
    /// When there is no such record, or the vendor is not served.
    pub fn insert_identical(&self, vendor: VendorName, of: &str) -> Result<String, SimulatorError> {
        let now = self.now();
        let sequence = proof::sequence_of(vendor, of).ok_or_else(|| SimulatorError::NoRecord(of.to_owned()))?;
        let mut mock = self.state.mock(vendor)?;
        mock.advance(now);
        let position = mock.insert_identical(sequence, now).ok_or_else(|| SimulatorError::NoRecord(of.to_owned()))?;
        mock.advance(now);
        Ok(key(vendor, position))
    }

    /// Replaces the text of a visible record with its next version.
    ///
    /// # Errors
    /// When there is no such record, or the vendor is not served.
    pub fn change(&self, vendor: VendorName, of: &str, raw: String) -> Result<(), SimulatorError> {
        let now = self.now();
        let sequence = proof::sequence_of(vendor, of).ok_or_else(|| SimulatorError::NoRecord(of.to_owned()))?;
        let mut mock = self.state.mock(vendor)?;
        mock.advance(now);
        if mock.change(sequence, raw, now) { Ok(()) } else { Err(SimulatorError::NoRecord(of.to_owned())) }
    }

    /// Enables or changes a fault, for all vendors if the order names none.
    pub fn set_fault(&self, order: impl Into<FaultOrder>) {
        let order = order.into();
        for vendor in self.selected(order.vendor) {
            if let Ok(mut mock) = self.state.mock(vendor) {
                mock.faults.set(order.fault, order.setting);
            }
        }
    }

    /// Disables a fault, for one vendor or all.
    pub fn clear_fault(&self, vendor: Option<VendorName>, fault: FaultName) {
        for vendor in self.selected(vendor) {
            if let Ok(mut mock) = self.state.mock(vendor) {
                mock.faults.clear(fault);
            }
        }
    }

    /// Disables every fault.
    pub fn clear_faults(&self) {
        for vendor in self.vendors() {
            if let Ok(mut mock) = self.state.mock(vendor) {
                mock.faults.clear_all();
            }
        }
    }

    /// The enabled faults.
    #[must_use]
    pub fn faults(&self) -> Vec<(VendorName, FaultName, FaultSetting)> {
        let mut all = Vec::new();
        for vendor in self.vendors() {
            let Ok(mock) = self.state.mock(vendor) else { continue };
            all.extend(mock.faults.iter().map(|(fault, setting)| (vendor, fault, setting)));
        }
        all
    }

    fn selected(&self, vendor: Option<VendorName>) -> Vec<VendorName> {
        vendor.map_or_else(|| self.vendors(), |one| vec![one])
    }

    /// Answers the next `count` requests to a vendor with this reply.
    ///
    /// # Errors
    /// When the vendor is not served.
    pub fn fail_next(&self, vendor: VendorName, count: usize, answer: CannedReply) -> Result<(), SimulatorError> {
        let mut headers = answer.headers;
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            headers.push(("content-type".into(), "application/json".into()));
        }
        self.state.mock(vendor)?.fail_next(count, &Reply { status: answer.status, headers, body: answer.body });
        Ok(())
    }

    /// Sets a variant (`vendor.variant`).
    ///
    /// # Errors
    /// When there is no such variant or value, or the vendor is not served.
    pub fn set_variant(&self, name: &str, value: &str) -> Result<(), SimulatorError> {
        let vendor = name.split_once('.').map_or(name, |(vendor, _)| vendor);
        let vendor: VendorName = vendor.parse().map_err(SimulatorError::BadVariant)?;
        self.state.mock(vendor)?.variants.set(name, value).map_err(SimulatorError::BadVariant)
    }

    /// The variants of the served vendors with their current values.
    #[must_use]
    pub fn variants(&self) -> Vec<super::variants::VariantInfo> {
        let mocks = self.vendors().into_iter().filter_map(|vendor| Some((vendor, self.state.mock(vendor).ok()?)));
        mocks.flat_map(|(vendor, mock)| mock.variants.list_of(vendor)).collect()
    }

    /// The requests to a vendor so far.
    ///
    /// # Errors
    /// When the vendor is not served.
    pub fn requests(&self, vendor: VendorName) -> Result<RequestStats, SimulatorError> {
        Ok(self.state.mock(vendor)?.stats.clone())
    }
}

fn key(vendor: VendorName, position: RecordPosition) -> String {
    proof::key_of(vendor, position.1)
}
