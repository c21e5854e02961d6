//! The simulator: the vendors' APIs as a server on this machine, with seeded data, faults and the truth to compare with.
//!
//! ```text
//! seed --> timeline --> feed (records) --> store --> page --> reply --> wire        one desk a vendor
//!          (when)       (what, by vendor)   |                   ^
//!                                           |                   +-- faults, budgets, switches
//!                                           +--> truth: what a perfect collector must have
//! ```
//!
//! A part of the product, and the ground on which its tests stand: a user points a pipeline at it and sees what happens
//! when a vendor answers 429, publishes late or cuts a body. Nothing here knows the collector or the vendors' readers,
//! so that neither can agree with the other by mistake.

mod akuity;
mod api;
mod captivateiq;
mod clumio;
mod confluence;
mod control;
mod desk;
mod draft;
mod faults;
mod feed;
mod limiter;
mod log;
mod merge;
mod name;
mod options;
mod page;
mod pipeline_file;
pub mod proof;
mod registry;
mod reply;
mod request;
mod server;
mod side_door;
mod store;
pub mod switches;
mod timeline;
mod truth;
mod world;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

pub use control::{NewRecord, OrderedAnswer, SimulatorControl};
pub use faults::{FaultName, FaultOrder, FaultSetting};
pub use log::{LoggedRequest, RequestStats};
pub use name::VendorName;
pub use options::{Credentials, SimulatorOptions};
pub use switches::{SwitchInfo, Switches};
pub use truth::{TruthQuery, TruthRecord};

use world::World;

/// Why the simulator cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address with --listen, port 0 takes a free one")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system answered.
        source: std::io::Error,
    },
    /// The vendor is not among those that are played.
    #[error("{0} is not played; start the simulator with it")]
    NotPlayed(VendorName),
    /// There is no visible record with this key.
    #[error("there is no visible record with the key `{0}`; take a key from /_sim/truth")]
    NoRecord(String),
    /// There is no such switch, or it cannot have this value.
    #[error("{0}")]
    BadSwitch(String),
}

/// Starts simulators.
#[derive(Debug)]
pub struct Simulator;

impl Simulator {
    /// Makes the data and starts to serve it.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(options: SimulatorOptions) -> Result<RunningSimulator, SimulatorError> {
        let address = options.listen;
        let listen = |source| SimulatorError::Listen { address, source };
        let listener = tokio::net::TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let credentials = options.credentials.clone();
        let world =
            tokio::task::spawn_blocking(move || World::new(&options)).await.expect("making data does not panic");
        let world = Arc::new(world);
        let control = SimulatorControl::new(Arc::clone(&world));
        let server = server::spawn(listener, world, pipeline_file::write(address, &credentials, &control.vendors()));
        Ok(RunningSimulator { address, credentials, control, server })
    }
}

/// A simulator that serves. It stops when it is dropped.
#[derive(Debug)]
pub struct RunningSimulator {
    address: SocketAddr,
    credentials: Credentials,
    control: SimulatorControl,
    server: server::Server,
}

impl RunningSimulator {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a source's `base_url` must be. Confluence's is that of the site; with a cloud id it is
    /// [`Self::confluence_gateway_url`].
    #[must_use]
    pub fn base_url(&self, vendor: VendorName) -> String {
        pipeline_file::base_url(self.address, vendor)
    }

    /// The `base_url` of a Confluence source that has a `cloud_id`.
    #[must_use]
    pub fn confluence_gateway_url(&self) -> String {
        format!("http://{}/ex/confluence/{}", self.address, self.credentials.confluence_cloud_id)
    }

    /// The credentials that it accepts.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Steers it.
    #[must_use]
    pub fn control(&self) -> SimulatorControl {
        self.control.clone()
    }

    /// A pipeline file whose sources point at it.
    #[must_use]
    pub fn pipeline_file(&self) -> String {
        pipeline_file::write(self.address, &self.credentials, &self.control.vendors())
    }

    /// Stops serving, after the requests that are being answered.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}
