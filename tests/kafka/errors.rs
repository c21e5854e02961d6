//! Brokers that are away or were never there.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::Broker;
use crate::common;
use crate::stage::Stage;

const BATCHES: &str = "batch: {timeout_secs: 50ms}";

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_broker_that_is_away_for_a_minute_costs_nothing() {
    let stage = Stage::lively(Arc::new(Broker::start()), 500);
    stage.create_topic();
    stage.configure(&format!("delivery: exactly_once, {BATCHES}"));
    let mut running = stage.start();
    stage.until_first_records();
    stage.broker.kill();
    let begin = tokio::time::Instant::now();
    common::until("the minute is over", || {
        assert!(running.is_running(), "the program ended by itself:\n{}", stage.world.log_tail());
        begin.elapsed() > Duration::from_secs(60)
    });
    stage.until_logged("the trouble is named", "start the brokers");
    stage.broker.start_again();
    stage.until_logged("it goes on by itself", "delivering again");
    stage.until_all_is_there();
    stage.assert_exactly_once(&stage.committed());
    running.kill();
    stage.world.assert_counters_add_up(&["stream"]);
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_wrong_address_is_named_and_nothing_is_lost_once_it_is_mended() {
    for delivery in ["at_least_once", "exactly_once"] {
        let stage = Stage::calm(Broker::shared(), 100);
        stage.create_topic();
        let settings = format!("delivery: {delivery}, {BATCHES}");
        for (address, said) in [("kafka.invalid:9092", "kafka.invalid"), ("127.0.0.1:1", "Connection refused")] {
            stage.configure_at(address, &settings);
            let running = stage.start();
            stage.until_logged("the address is named", said);
            stage.until_logged("the option is named", "mend `bootstrap_servers`");
            running.kill();
        }
        stage.configure(&settings);
        stage.run_once();
        stage.assert_exactly_once(&stage.committed());
        stage.world.assert_counters_add_up(&["stream"]);
    }
}
