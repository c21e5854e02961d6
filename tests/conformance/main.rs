//! The conformance suite: rules that hold for every registered vendor, tested with the simulator through the real collector,
//! HTTP transport and journal.
//!
//! ```text
//! vendors::registry::NAMES --each--> rule(vendor) --> passed | panic message      one test per rule, all vendors at once
//! ```
//!
//! A vendor that is added to the registry is tested without a change here. A vendor that the simulator does not serve fails
//! every rule. A failure names the vendor.
#![allow(clippy::unwrap_used)]

mod faults;
mod harness;
mod pages;
mod time;
mod transports;

use std::panic::AssertUnwindSafe;

use auditflow::simulator::VendorName;
use auditflow::vendors::registry;
use futures_util::FutureExt;
use futures_util::future::join_all;

/// The registered vendors, by their names in the simulator.
fn vendors() -> Vec<VendorName> {
    let simulated =
        |name: &&str| name.parse().unwrap_or_else(|reason| panic!("{name} is not in the simulator: {reason}"));
    registry::NAMES.iter().map(simulated).collect()
}

/// Tests a rule for all vendors at the same time, and reports every vendor that breaks it.
async fn every_vendor<F: Future<Output = ()>>(rule: impl Fn(VendorName) -> F) {
    let results = vendors().into_iter().map(async |vendor| {
        let result = AssertUnwindSafe(rule(vendor)).catch_unwind().await;
        result.err().map(|panic| format!("{vendor}: {}", panic_message(panic.as_ref())))
    });
    let broken: Vec<String> = join_all(results).await.into_iter().flatten().collect();
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

/// Makes a test of each rule, with the same name.
macro_rules! rules {
    ($($module:ident::$rule:ident,)+) => {
        $(
            #[tokio::test]
            async fn $rule() {
                every_vendor($module::$rule).await;
            }
        )+
    };
}

rules! {
    pages::every_page_is_read_and_kept_byte_for_byte,
    pages::an_empty_page_covers_its_time,
    pages::ties_on_one_timestamp_are_all_kept_across_pages_and_windows,
    pages::identical_records_are_both_kept_where_the_vendor_has_no_ids,
    pages::a_record_listed_twice_is_one_event_where_the_vendor_has_ids,
    pages::a_malformed_record_is_delivered_with_its_error_and_affects_no_other,
    pages::a_page_shift_loses_nothing_and_duplicates_nothing,
    pages::a_restart_at_every_page_loses_nothing_and_duplicates_nothing,
    pages::compressed_responses_are_read,
    faults::a_repeated_token_puts_time_in_doubt_until_it_is_read_again,
    faults::retry_after_in_seconds_is_respected,
    faults::retry_after_as_a_date_is_respected,
    faults::a_401_stops_the_source_until_the_credentials_work,
    faults::a_response_that_is_not_a_page_is_requested_again,
    faults::no_secret_is_written,
    time::a_late_event_inside_the_overlap_is_collected_once,
    time::a_changed_record_is_a_later_version_of_the_same_event,
    time::without_a_backfill_nothing_before_the_first_start_is_collected,
    time::the_stats_add_up,
}

#[test]
fn the_registry_and_the_simulator_have_the_same_vendors() {
    assert_eq!(vendors(), VendorName::ALL);
}
