//! The options of a simulator, the credentials that it accepts, and its errors.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::faults::FaultOrder;
use super::variants::Variants;
use super::vendor_name::VendorName;
use crate::clock::{SharedClock, SystemClock};
use crate::time::Timestamp;

/// The options of a simulator. The same seed, number of events, span and start give the same records, byte for byte.
#[derive(Clone, Debug)]
pub struct SimulatorOptions {
    /// The seed of all randomness.
    pub seed: u64,
    /// Address to listen on; port 0 selects a free port.
    pub listen: SocketAddr,
    /// The vendors to serve.
    pub vendors: Vec<VendorName>,
    /// Events per vendor at the start.
    pub events_per_vendor: u64,
    /// How far back from the start they reach.
    pub span: Duration,
    /// New events per second and vendor while running; 0 for none.
    pub rate: f64,
    /// When the history ends; `None` for now. Growth begins now or at this time, whichever is later.
    pub start: Option<Timestamp>,
    /// The faults enabled at the start.
    pub faults: Vec<FaultOrder>,
    /// The API variants.
    pub variants: Variants,
    /// The credentials that it accepts.
    pub credentials: Credentials,
    /// The clock.
    pub clock: SharedClock,
}

impl Default for SimulatorOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            vendors: VendorName::ALL.to_vec(),
            events_per_vendor: 1_000,
            span: Duration::from_secs(7 * 86_400),
            rate: 0.0,
            start: None,
            faults: Vec::new(),
            variants: Variants::default(),
            credentials: Credentials::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// The credentials and account names that the simulator accepts. The secrets among the defaults all begin with
/// `SIMULATOR_SECRET_`, so that a search for leaks can find them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Clumio: `Authorization: Bearer <this>`.
    pub clumio_access_token: String,
    /// CaptivateIQ: `Authorization: Token <this>`.
    pub captivateiq_api_token: String,
    /// Merge: `Authorization: Bearer <this>`.
    pub merge_api_key: String,
    /// Akuity: the organization's id, in the path.
    pub akuity_organization_id: String,
    /// Akuity: the user name of HTTP Basic.
    pub akuity_api_key_id: String,
    /// Akuity: the password of HTTP Basic.
    pub akuity_api_key_secret: String,
    /// Confluence: the cloud id in the gateway's path.
    pub confluence_cloud_id: String,
    /// Confluence: the user name of HTTP Basic.
    pub confluence_email: String,
    /// Confluence: the password of HTTP Basic.
    pub confluence_api_token: String,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            clumio_access_token: "SIMULATOR_SECRET_CLUMIO".into(),
            captivateiq_api_token: "SIMULATOR_SECRET_CAPTIVATEIQ".into(),
            merge_api_key: "SIMULATOR_SECRET_MERGE".into(),
            akuity_organization_id: "yx8wvj7xsimulator".into(),
            akuity_api_key_id: "simulator-key-id".into(),
            akuity_api_key_secret: "SIMULATOR_SECRET_AKUITY".into(),
            confluence_cloud_id: "7f8f6a52-58a6-4a3a-9d0e-5a1e2b3c4d5e".into(),
            confluence_email: "audit@acme.example".into(),
            confluence_api_token: "SIMULATOR_SECRET_CONFLUENCE".into(),
        }
    }
}

impl Credentials {
    /// The values that must not appear in any log, error or file.
    #[must_use]
    pub fn secrets(&self) -> [&str; 5] {
        [
            &self.clumio_access_token,
            &self.captivateiq_api_token,
            &self.merge_api_key,
            &self.akuity_api_key_secret,
            &self.confluence_api_token,
        ]
    }
}

/// An error of the simulator.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The simulator cannot listen on the address.
    #[error("cannot listen on {address}: {source}; choose another address with --listen; port 0 selects a free port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The vendor is not served.
    #[error("{0} is not served; start the simulator with --vendor {0}")]
    NotServed(VendorName),
    /// There is no visible record with this key.
    #[error("no visible record has the key `{0}`; use a key from /_sim/truth")]
    NoRecord(String),
    /// The variant does not exist or cannot have this value.
    #[error("{0}")]
    BadVariant(String),
}
