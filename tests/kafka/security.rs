//! TLS, users and rights: what works, what is said when it does not, and that delivery goes on once it is mended.

use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::acls::{self, Allowed, Operation, Resource};
use crate::broker::{Broker, PASSWORD, USER};
use crate::common;
use crate::reader;
use crate::stage::Stage;

const BATCHES: &str = "batch: {timeout_secs: 50ms}";

impl Stage {
    /// A file that the pipeline reads.
    fn put(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.world.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn certificate(&self) -> PathBuf {
        self.put("broker.pem", &self.broker.certificate())
    }

    /// Allows the user everything that this sink needs, with either guarantee.
    fn allow_all(&self) {
        for rights in self.rights() {
            acls::allow(&self.broker, &rights);
        }
    }

    /// What the sink needs, in the order in which it meets it.
    fn rights(&self) -> [Vec<Allowed<'_>>; 4] {
        let topic = |name, operation| Allowed { resource: Resource::Topic, name, operation };
        let group = self.group.as_str();
        [
            [Operation::Describe, Operation::Create, Operation::Read, Operation::Write]
                .map(|operation| topic(group, operation))
                .to_vec(),
            [Operation::Describe, Operation::Write]
                .map(|operation| Allowed { resource: Resource::TransactionalId, name: group, operation })
                .to_vec(),
            vec![Allowed { resource: Resource::Group, name: group, operation: Operation::Read }],
            [Operation::Describe, Operation::Write].map(|operation| topic(&self.topic, operation)).to_vec(),
        ]
    }

    fn succeeds_with(&self, address: &str, settings: &str) {
        self.configure_at(address, &format!("{settings}, {BATCHES}"));
        let (content, said) = self.check();
        assert!(content, "{settings}: {said}");
        self.run_once();
        self.assert_exactly_once(&self.committed());
        self.world.assert_counters_add_up(&["stream"]);
        assert_eq!(self.world.log_count(PASSWORD), 0, "the password is in the log");
    }
}

fn ready(events: u64) -> Stage {
    let stage = Stage::calm(Broker::shared(), events);
    stage.create_topic();
    stage.world.wait_until_quiet();
    stage
}

/// A token that a broker without an issuer of tokens takes: not signed.
fn token() -> String {
    let now = common::system_clock().now().as_nanos() / 1_000_000_000;
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"sub":"{USER}","iat":{now},"exp":{}}}"#, now + 3_600);
    format!("{}.{}.", part(r#"{"alg":"none"}"#), part(&claims))
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn tls_and_every_way_to_say_who_we_are_work_with_both_guarantees() {
    for (index, mechanism) in ["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"].into_iter().enumerate() {
        let stage = ready(40);
        stage.allow_all();
        let sasl = match mechanism {
            "" => String::new(),
            "OAUTHBEARER" => {
                // The sink cannot make topics with a token.
                let address = stage.broker.address();
                reader::create_topic(&address, &stage.group, &[("cleanup.policy", "compact")]);
                let file = stage.put("token", token().as_bytes());
                format!(", sasl: {{mechanism: OAUTHBEARER, token: {{file: {}}}}}", file.display())
            }
            _ => format!(", sasl: {{mechanism: {mechanism}, username: {USER}, password: {PASSWORD}}}"),
        };
        let address = if sasl.is_empty() { stage.broker.tls_address() } else { stage.broker.sasl_tls_address() };
        let delivery = if index % 2 == 0 { "exactly_once" } else { "at_least_once" };
        let ca_file = stage.certificate();
        stage.succeeds_with(&address, &format!("delivery: {delivery}, tls: {{ca_file: {}}}{sasl}", ca_file.display()));
    }
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_wrong_password_is_named_and_the_running_program_goes_on_with_the_right_one() {
    for (mechanism, delivery) in [("PLAIN", "at_least_once"), ("SCRAM-SHA-512", "exactly_once")] {
        let stage = ready(60);
        stage.allow_all();
        let password = stage.put("password", b"not the password");
        stage.configure_at(
            &stage.broker.sasl_address(),
            &format!(
                "delivery: {delivery}, sasl: {{mechanism: {mechanism}, username: {USER}, password: {{file: {}}}}}",
                password.display()
            ),
        );
        let (content, said) = stage.check();
        assert!(!content && said.contains("mend `sasl`"), "{said}");
        let _running = stage.start();
        stage.until_logged("the credentials are named", "mend `sasl`");
        stage.put("password", PASSWORD.as_bytes());
        stage.until_all_is_there();
        stage.assert_exactly_once(&stage.committed());
    }
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_mechanism_that_the_listener_does_not_offer_is_named() {
    let stage = ready(20);
    let password = format!("username: {USER}, password: {PASSWORD}");
    stage.configure_at(&stage.broker.address(), &format!("sasl: {{mechanism: SCRAM-SHA-256, {password}}}"));
    let (content, said) = stage.check();
    assert!(!content && said.contains("sasl"), "{said}");
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_certificate_that_is_not_trusted_is_named_and_the_running_program_goes_on_once_it_is() {
    let stage = ready(60);
    let ca_file = stage.put("ca.pem", include_bytes!("another_authority.pem"));
    let settings = format!("delivery: exactly_once, tls: {{ca_file: {}}}, {BATCHES}", ca_file.display());
    stage.configure_at(&stage.broker.tls_address(), &settings);
    let (content, said) = stage.check();
    assert!(!content && said.contains("mend `tls`") && said.contains("ca_file"), "{said}");
    let _running = stage.start();
    stage.until_logged("the option is named", "mend `tls`");
    stage.put("ca.pem", &stage.broker.certificate());
    stage.until_all_is_there();
    stage.assert_exactly_once(&stage.committed());
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_certificate_for_another_host_is_refused_unless_that_is_turned_off() {
    let stage = ready(40);
    let ca_file = stage.certificate();
    let address = stage.broker.tls_address_of_another_name();
    stage.configure_at(&address, &format!("tls: {{ca_file: {}}}", ca_file.display()));
    let (content, said) = stage.check();
    assert!(!content && said.contains("mend `tls`"), "{said}");
    stage.succeeds_with(&address, &format!("tls: {{ca_file: {}, verify_hostname: false}}", ca_file.display()));
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_listener_that_wants_tls_is_told_from_a_broker_that_is_away() {
    let stage = ready(20);
    stage.configure_at(&stage.broker.tls_address(), "delivery: at_least_once");
    let (content, said) = stage.check();
    assert!(!content && said.contains("`tls: {}`"), "{said}");
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn each_right_that_is_missing_is_named_and_delivery_goes_on_once_all_are_given() {
    let stage = ready(60);
    let user = format!("sasl: {{mechanism: SCRAM-SHA-512, username: {USER}, password: {PASSWORD}}}");
    stage.configure_at(&stage.broker.sasl_address(), &format!("delivery: exactly_once, {user}, {BATCHES}"));
    let mut running = stage.start();
    let [positions, transactions, group, topic] = stage.rights();
    let said = [
        ("WRITE and DESCRIBE on the topic", topic),
        ("READ, WRITE, DESCRIBE and CREATE", positions),
        ("WRITE and DESCRIBE on the transactional ids", transactions),
        ("READ and DESCRIBE on the groups", group),
    ];
    for (hint, rights) in said {
        stage.until_logged("the right is named", hint);
        assert!(running.is_running());
        acls::allow(&stage.broker, &rights);
    }
    stage.until_all_is_there();
    stage.assert_exactly_once(&stage.committed());
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_topic_that_may_be_seen_and_not_written_gets_its_events_once_it_may() {
    let stage = ready(60);
    let user = format!("sasl: {{mechanism: PLAIN, username: {USER}, password: {PASSWORD}}}");
    stage.configure_at(&stage.broker.sasl_address(), &format!("delivery: at_least_once, {user}, {BATCHES}"));
    let of_topic = |operation| Allowed { resource: Resource::Topic, name: stage.topic.as_str(), operation };
    acls::allow(&stage.broker, &[of_topic(Operation::Describe)]);
    let _running = stage.start();
    stage.until_logged("the right is named", "allow the user WRITE");
    assert!(stage.committed().is_empty());
    acls::allow(&stage.broker, &[of_topic(Operation::Write)]);
    stage.until_all_is_there();
    stage.assert_nothing_lost(&stage.committed());
}
