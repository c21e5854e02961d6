//! Apache Kafka in a container. Built with the feature `servers` only, so that `cargo test` shares its build with
//! `cargo run`; without it the tests are listed, and ignored.
//!
//! ```text
//! host port -> PLAIN     no authentication, every client is the super user: for topics, ACLs and the verifying consumer
//!           -> TLS       a self-signed certificate for `localhost`
//!           -> SASL      PLAIN, SCRAM and OAUTHBEARER; users need ACLs
//!           -> SASLTLS   the same over TLS
//! ```

use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::common;
use crate::reader::client;

/// The user of the broker, for PLAIN and SCRAM.
pub const USER: &str = "collector";
pub const PASSWORD: &str = "KAFKA_SECRET_7c1f";

/// A broker in a container. A restart keeps its ports. It is removed when dropped.
pub struct Broker {
    container: Container,
    ports: Ports,
}

/// The ports on the host.
#[derive(Clone, Copy)]
struct Ports {
    plain: u16,
    tls: u16,
    sasl: u16,
    sasl_tls: u16,
}

impl Broker {
    pub fn start() -> Self {
        let ports = Ports { plain: free_port(), tls: free_port(), sasl: free_port(), sasl_tls: free_port() };
        let broker = Self { container: Container::start(ports), ports };
        broker.wait_until_ready();
        broker
    }

    /// The broker that tests share if they do not stop it. It runs as long as one of them uses it.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let broker = Arc::new(Self::start());
            *shared = Arc::downgrade(&broker);
            broker
        })
    }

    /// Host and port of the listener without TLS and authentication.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.plain)
    }

    /// The TLS listener, by the host name in its certificate.
    pub fn tls_address(&self) -> String {
        format!("localhost:{}", self.ports.tls)
    }

    /// The TLS listener, by a host name that is not in its certificate.
    pub fn tls_address_with_wrong_host_name(&self) -> String {
        format!("127.0.0.1:{}", self.ports.tls)
    }

    /// The SASL listener.
    pub fn sasl_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.sasl)
    }

    /// The SASL listener over TLS.
    pub fn sasl_tls_address(&self) -> String {
        format!("localhost:{}", self.ports.sasl_tls)
    }

    /// The broker's certificate, PEM.
    pub fn certificate(&self) -> Vec<u8> {
        self.container.read("/tmp/broker.pem")
    }

    /// Kills the broker, as a power failure does.
    pub fn kill(&self) {
        self.container.stop(0);
    }

    /// Shuts the broker down.
    pub fn stop(&self) {
        self.container.stop(20);
    }

    /// Starts a stopped broker. Returns at once; the broker needs some seconds.
    pub fn restart(&self) {
        self.container.restart();
    }

    fn wait_until_ready(&self) {
        let consumer: BaseConsumer = client(&self.address()).create().unwrap();
        common::until("the broker responds", || consumer.fetch_metadata(None, Duration::from_secs(2)).is_ok());
    }
}

/// A free port. The operating system gives out other ports first, so it stays free.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[cfg(feature = "servers")]
use in_a_container::Container;

#[cfg(feature = "servers")]
mod in_a_container {
    use testcontainers::core::ContainerPort;
    use testcontainers::runners::SyncRunner;
    use testcontainers::{GenericImage, ImageExt};

    use super::{PASSWORD, Ports, USER};

    const IMAGE: (&str, &str) = ("apache/kafka", "4.1.0");

    /// Creates the certificate and the storage at the first start, then runs the broker.
    const START: &str = r#"set -e
cd /tmp
[ -f broker.p12 ] || keytool -genkeypair -alias broker -keyalg EC -dname CN=localhost -ext san=dns:localhost \
    -ext bc:critical=ca:true -validity 30 -storetype PKCS12 -storepass changeit -keystore broker.p12
[ -f broker.pem ] || keytool -exportcert -rfc -alias broker -storepass changeit -keystore broker.p12 >broker.pem
[ -f log/meta.properties ] || java -cp '/opt/kafka/libs/*' kafka.tools.StorageTool format --cluster-id \
    5L6g3nShT-eMCtK--X86sw --config server.properties $SCRAM
exec java -Xmx400m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp '/opt/kafka/libs/*' kafka.Kafka server.properties"#;

    pub(super) struct Container(testcontainers::Container<GenericImage>);

    impl Container {
        pub(super) fn start(ports: Ports) -> Self {
            let users = ["SCRAM-SHA-256", "SCRAM-SHA-512"]
                .map(|mechanism| format!("--add-scram {mechanism}=[name={USER},password={PASSWORD}]"));
            let mut request = GenericImage::new(IMAGE.0, IMAGE.1)
                .with_entrypoint("bash")
                .with_cmd(["-c", START])
                .with_env_var("SCRAM", users.join(" "))
                .with_copy_to("/tmp/server.properties", properties(ports).into_bytes());
            for (host, container) in
                [(ports.plain, 9092), (ports.tls, 9093), (ports.sasl, 9094), (ports.sasl_tls, 9095)]
            {
                request = request.with_mapped_port(host, ContainerPort::Tcp(container));
            }
            Self(request.start().expect("a container engine and the image apache/kafka"))
        }

        pub(super) fn stop(&self, timeout_secs: i32) {
            self.0.stop_with_timeout(Some(timeout_secs)).unwrap();
        }

        pub(super) fn restart(&self) {
            self.0.start().unwrap();
        }

        pub(super) fn read(&self, path: &str) -> Vec<u8> {
            self.0.copy_file_from(path, Vec::new()).unwrap()
        }
    }

    fn properties(ports: Ports) -> String {
        let Ports { plain, tls, sasl, sasl_tls } = ports;
        let module = "org.apache.kafka.common.security";
        let mut text = format!(
            "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:9097
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listeners=PLAIN://:9092,TLS://:9093,SASL://:9094,SASLTLS://:9095,INTERNAL://localhost:9096,CONTROLLER://localhost:9097
advertised.listeners=PLAIN://127.0.0.1:{plain},TLS://localhost:{tls},SASL://127.0.0.1:{sasl},SASLTLS://localhost:{sasl_tls},INTERNAL://localhost:9096
listener.security.protocol.map=PLAIN:PLAINTEXT,TLS:SSL,SASL:SASL_PLAINTEXT,SASLTLS:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
ssl.keystore.type=PKCS12
ssl.keystore.location=/tmp/broker.p12
ssl.keystore.password=changeit
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=5
group.initial.rebalance.delay.ms=0
log.dirs=/tmp/log
"
        );
        for listener in ["sasl", "sasltls"] {
            text += &format!(
                "listener.name.{listener}.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";
listener.name.{listener}.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;
listener.name.{listener}.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;
listener.name.{listener}.oauthbearer.sasl.jaas.config={module}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\";
"
            );
        }
        text
    }
}

/// Placeholder for builds without containers. Their tests are ignored.
#[cfg(not(feature = "servers"))]
struct Container;

#[cfg(not(feature = "servers"))]
impl Container {
    fn start(_: Ports) -> Self {
        panic!("this build has no containers: cargo test --features servers --test kafka -- --ignored")
    }

    fn stop(&self, _: i32) {}

    fn restart(&self) {}

    fn read(&self, _: &str) -> Vec<u8> {
        Vec::new()
    }
}
