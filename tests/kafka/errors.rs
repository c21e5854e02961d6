//! Unavailable brokers and wrong addresses.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::Broker;
use crate::common;
use crate::harness::Harness;

const BATCHES: &str = "batch: {timeout_secs: 50ms}";

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_minute_without_the_broker_loses_and_duplicates_nothing() {
    let harness = Harness::with_faults(Arc::new(Broker::start()), 500);
    harness.create_topic();
    harness.configure(&format!("delivery: exactly_once, {BATCHES}"));
    let mut running = harness.start();
    harness.until_first_records();
    harness.broker.kill();
    let begin = tokio::time::Instant::now();
    common::until("the minute is over", || {
        assert!(running.is_running(), "the program ended before it was killed:\n{}", harness.pipeline.log_tail());
        begin.elapsed() > Duration::from_secs(60)
    });
    harness.pipeline.until_event("sink_retrying", "`bootstrap_servers`");
    harness.broker.restart();
    harness.pipeline.until_event("sink_recovered", "stream");
    harness.until_all_is_delivered();
    harness.assert_exactly_once(&harness.committed());
    running.kill();
    harness.pipeline.assert_counters_add_up(&["stream"]);
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_wrong_address_is_reported_and_nothing_is_lost_after_it_is_fixed() {
    for delivery in ["at_least_once", "exactly_once"] {
        let harness = Harness::without_faults(Broker::shared(), 100);
        harness.create_topic();
        let settings = format!("delivery: {delivery}, {BATCHES}");
        for (address, reason) in [("kafka.invalid:9092", "kafka.invalid"), ("127.0.0.1:1", "Connection refused")] {
            harness.configure_at(address, &settings);
            let running = harness.start();
            let line = harness.pipeline.until_event("sink_retrying", reason);
            assert!(line.contains("fix `bootstrap_servers`"), "{line}");
            running.kill();
        }
        harness.configure(&settings);
        harness.run_once();
        harness.assert_exactly_once(&harness.committed());
        harness.pipeline.assert_counters_add_up(&["stream"]);
    }
}
