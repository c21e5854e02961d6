//! Apache Kafka in a container. Built with the feature `servers` only, so that `cargo test` shares its build with
//! `cargo run`; without it the tests are named, and ignored.

use std::sync::OnceLock;

#[cfg(feature = "servers")]
use testcontainers::{Container, ImageExt, runners::SyncRunner};
#[cfg(feature = "servers")]
use testcontainers_modules::kafka::apache::{KAFKA_PORT, Kafka};

#[cfg(feature = "servers")]
const IMAGE_TAG: &str = "4.1.0";

/// A broker in a container, on a port that stays the same when it is started again.
pub struct Broker {
    #[cfg(feature = "servers")]
    container: Container<Kafka>,
    /// Where clients reach it: host and port.
    pub address: String,
}

impl Broker {
    /// The broker that all tests share that leave it running.
    pub fn shared() -> &'static str {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        &SHARED.get_or_init(Self::start).address
    }
}

#[cfg(feature = "servers")]
impl Broker {
    pub fn start() -> Self {
        let port = free_port();
        let container = Kafka::default()
            .with_jvm_image()
            .with_tag(IMAGE_TAG)
            .with_mapped_port(port, KAFKA_PORT)
            .with_env_var("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1")
            .with_env_var("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1")
            .with_env_var("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false")
            .with_env_var("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0")
            .start()
            .expect("a container engine and the image apache/kafka");
        Self { container, address: format!("127.0.0.1:{port}") }
    }

    pub fn stop(&self) {
        self.container.stop_with_timeout(Some(2)).unwrap();
    }

    pub fn start_again(&self) {
        self.container.start().unwrap();
    }
}

/// Ports that were just free. Nobody else takes them: the system hands out others first.
#[cfg(feature = "servers")]
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[cfg(not(feature = "servers"))]
impl Broker {
    pub fn start() -> Self {
        panic!("the containers are not built in: cargo test --features servers --test kafka -- --ignored")
    }

    pub fn stop(&self) {}

    pub fn start_again(&self) {}
}
