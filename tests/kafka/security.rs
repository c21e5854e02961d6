//! TLS, users and ACLs: valid settings work, each error names the setting to fix, and delivery resumes after the fix.

use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::acls::{self, Operation, Permission, Resource};
use crate::broker::{Broker, PASSWORD, USER};
use crate::common;
use crate::harness::Harness;
use crate::reader;

const BATCHES: &str = "batch: {timeout_secs: 50ms}";

impl Harness {
    /// Writes a file that the pipeline reads.
    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.pipeline.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn certificate(&self) -> PathBuf {
        self.write("broker.pem", &self.broker.certificate())
    }

    /// Grants the user everything that this sink needs, with either guarantee.
    fn grant_all(&self) {
        for permissions in self.permissions() {
            acls::grant(&self.broker, &permissions);
        }
    }

    /// The permissions that the sink needs: for the position topic, the transactional id, the group and the topic.
    fn permissions(&self) -> [Vec<Permission<'_>>; 4] {
        let topic = |name, operation| Permission { resource: Resource::Topic, name, operation };
        let group = self.group.as_str();
        [
            [Operation::Describe, Operation::Create, Operation::Read, Operation::Write]
                .map(|operation| topic(group, operation))
                .to_vec(),
            [Operation::Describe, Operation::Write]
                .map(|operation| Permission { resource: Resource::TransactionalId, name: group, operation })
                .to_vec(),
            vec![Permission { resource: Resource::Group, name: group, operation: Operation::Read }],
            [Operation::Describe, Operation::Write].map(|operation| topic(&self.topic, operation)).to_vec(),
        ]
    }

    fn succeeds_with(&self, address: &str, settings: &str) {
        self.configure_at(address, &format!("{settings}, {BATCHES}"));
        let (passed, printed) = self.check();
        assert!(passed, "{settings}: {printed}");
        self.run_once();
        self.assert_exactly_once(&self.committed());
        self.pipeline.assert_counters_add_up(&["stream"]);
        assert_eq!(self.pipeline.text_count(PASSWORD), 0, "the password is in the log");
    }
}

fn ready(events: u64) -> Harness {
    let harness = Harness::without_faults(Broker::shared(), events);
    harness.create_topic();
    harness.pipeline.wait_until_quiet();
    harness
}

/// An unsigned token. A broker without a token issuer accepts it.
fn token() -> String {
    let now = common::system_clock().now().as_nanos() / 1_000_000_000;
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"sub":"{USER}","iat":{now},"exp":{}}}"#, now + 3_600);
    format!("{}.{}.", part(r#"{"alg":"none"}"#), part(&claims))
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn tls_and_every_sasl_mechanism_work_with_both_guarantees() {
    for (index, mechanism) in ["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"].into_iter().enumerate() {
        let harness = ready(40);
        harness.grant_all();
        let sasl = match mechanism {
            "" => String::new(),
            "OAUTHBEARER" => {
                // The sink cannot create topics with a token.
                let address = harness.broker.address();
                reader::create_topic(&address, &harness.group, &[("cleanup.policy", "compact")]);
                let file = harness.write("token", token().as_bytes());
                format!(", sasl: {{mechanism: OAUTHBEARER, token: {{file: {}}}}}", file.display())
            }
            _ => format!(", sasl: {{mechanism: {mechanism}, username: {USER}, password: {PASSWORD}}}"),
        };
        let address = if sasl.is_empty() { harness.broker.tls_address() } else { harness.broker.sasl_tls_address() };
        let delivery = if index % 2 == 0 { "exactly_once" } else { "at_least_once" };
        let ca_file = harness.certificate();
        harness
            .succeeds_with(&address, &format!("delivery: {delivery}, tls: {{ca_file: {}}}{sasl}", ca_file.display()));
    }
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_wrong_password_is_reported_and_delivery_resumes_with_the_right_one() {
    for (mechanism, delivery) in [("PLAIN", "at_least_once"), ("SCRAM-SHA-512", "exactly_once")] {
        let harness = ready(60);
        harness.grant_all();
        let password = harness.write("password", b"not the password");
        harness.configure_at(
            &harness.broker.sasl_address(),
            &format!(
                "delivery: {delivery}, sasl: {{mechanism: {mechanism}, username: {USER}, password: {{file: {}}}}}",
                password.display()
            ),
        );
        let (passed, printed) = harness.check();
        assert!(!passed && printed.contains("fix `sasl`"), "{printed}");
        let _running = harness.start();
        harness.pipeline.until_event("sink_retrying", "fix `sasl`");
        harness.write("password", PASSWORD.as_bytes());
        harness.until_all_is_delivered();
        harness.assert_exactly_once(&harness.committed());
    }
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_mechanism_that_the_listener_does_not_offer_is_reported() {
    let harness = ready(20);
    let password = format!("username: {USER}, password: {PASSWORD}");
    harness.configure_at(&harness.broker.address(), &format!("sasl: {{mechanism: SCRAM-SHA-256, {password}}}"));
    let (passed, printed) = harness.check();
    assert!(!passed && printed.contains("sasl"), "{printed}");
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn an_untrusted_certificate_is_reported_and_delivery_resumes_when_it_is_trusted() {
    let harness = ready(60);
    let ca_file = harness.write("ca.pem", include_bytes!("another_authority.pem"));
    let settings = format!("delivery: exactly_once, tls: {{ca_file: {}}}, {BATCHES}", ca_file.display());
    harness.configure_at(&harness.broker.tls_address(), &settings);
    let (passed, printed) = harness.check();
    assert!(!passed && printed.contains("fix `tls`") && printed.contains("ca_file"), "{printed}");
    let _running = harness.start();
    harness.pipeline.until_event("sink_retrying", "fix `tls`");
    harness.write("ca.pem", &harness.broker.certificate());
    harness.until_all_is_delivered();
    harness.assert_exactly_once(&harness.committed());
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_certificate_for_another_host_is_rejected_unless_verification_is_off() {
    let harness = ready(40);
    let ca_file = harness.certificate();
    let address = harness.broker.tls_address_with_wrong_host_name();
    harness.configure_at(&address, &format!("tls: {{ca_file: {}}}", ca_file.display()));
    let (passed, printed) = harness.check();
    assert!(!passed && printed.contains("fix `tls`"), "{printed}");
    harness.succeeds_with(&address, &format!("tls: {{ca_file: {}, verify_hostname: false}}", ca_file.display()));
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_listener_that_requires_tls_is_distinguished_from_an_unavailable_broker() {
    let harness = ready(20);
    harness.configure_at(&harness.broker.tls_address(), "delivery: at_least_once");
    let (passed, printed) = harness.check();
    assert!(!passed && printed.contains("`tls: {}`"), "{printed}");
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn each_missing_permission_is_reported_and_delivery_resumes_when_all_are_granted() {
    let harness = ready(60);
    let user = format!("sasl: {{mechanism: SCRAM-SHA-512, username: {USER}, password: {PASSWORD}}}");
    harness.configure_at(&harness.broker.sasl_address(), &format!("delivery: exactly_once, {user}, {BATCHES}"));
    let mut running = harness.start();
    let [positions, transactions, group, topic] = harness.permissions();
    let expected = [
        ("WRITE and DESCRIBE on the topic", topic),
        ("READ, WRITE, DESCRIBE and CREATE", positions),
        ("WRITE and DESCRIBE on the transactional ids", transactions),
        ("READ and DESCRIBE on the groups", group),
    ];
    for (hint, permissions) in expected {
        harness.pipeline.until_event("sink_retrying", hint);
        assert!(running.is_running());
        acls::grant(&harness.broker, &permissions);
    }
    harness.until_all_is_delivered();
    harness.assert_exactly_once(&harness.committed());
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_topic_without_write_permission_gets_its_events_when_it_is_granted() {
    let harness = ready(60);
    let user = format!("sasl: {{mechanism: PLAIN, username: {USER}, password: {PASSWORD}}}");
    harness.configure_at(&harness.broker.sasl_address(), &format!("delivery: at_least_once, {user}, {BATCHES}"));
    let of_topic = |operation| Permission { resource: Resource::Topic, name: harness.topic.as_str(), operation };
    acls::grant(&harness.broker, &[of_topic(Operation::Describe)]);
    let _running = harness.start();
    harness.pipeline.until_event("sink_retrying", "grant the user WRITE");
    assert!(harness.committed().is_empty());
    acls::grant(&harness.broker, &[of_topic(Operation::Write)]);
    harness.until_all_is_delivered();
    harness.assert_nothing_lost(&harness.committed());
}
