//! The conformance suite: rules that hold for every vendor of the table, played against the simulator through the real
//! collector, the real HTTP transport and the real journal.
//!
//! ```text
//! vendors::registry::NAMES --each--> rule(vendor) --> passed | what it broke      one test a rule, all vendors at once
//! ```
//!
//! A vendor that is added to the table is tested without a further word here; one that the simulator cannot play fails
//! every rule. A failure names the vendor.
#![allow(clippy::unwrap_used)]

mod faults;
mod pages;
mod stage;
mod time;
mod transports;

use std::panic::AssertUnwindSafe;

use auditflow::simulator::VendorName;
use auditflow::vendors::registry;
use futures_util::FutureExt;
use futures_util::future::join_all;

/// The vendors of the table, as the simulator plays them.
fn vendors() -> Vec<VendorName> {
    let played = |name: &&str| name.parse().unwrap_or_else(|reason| panic!("{name} has no simulator: {reason}"));
    registry::NAMES.iter().map(played).collect()
}

/// Holds a rule against every vendor at the same time, and tells every vendor that breaks it.
async fn every_vendor<F: Future<Output = ()>>(rule: impl Fn(VendorName) -> F) {
    let held = vendors().into_iter().map(async |vendor| {
        let held = AssertUnwindSafe(rule(vendor)).catch_unwind().await;
        held.err().map(|panic| format!("{vendor}: {}", what_was_said(panic.as_ref())))
    });
    let broken: Vec<String> = join_all(held).await.into_iter().flatten().collect();
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}

fn what_was_said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}

/// A rule becomes a test of its name.
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
    pages::a_malformed_record_is_delivered_with_its_reason_and_harms_no_other,
    pages::a_page_shift_loses_nothing_and_makes_no_false_twin,
    pages::a_restart_at_every_page_loses_nothing_and_doubles_nothing,
    pages::compressed_answers_are_read,
    faults::a_repeated_token_ends_in_a_trouble_and_not_in_a_circle,
    faults::retry_after_in_seconds_is_kept,
    faults::retry_after_as_a_date_is_kept,
    faults::a_401_stops_the_source_until_it_is_mended,
    faults::an_answer_that_is_no_page_is_asked_again,
    faults::no_secret_is_written_anywhere,
    time::a_late_event_inside_the_overlap_is_collected_once,
    time::a_changed_record_is_a_later_version_of_the_same_event,
    time::without_a_backfill_nothing_from_before_the_first_start,
    time::the_figures_add_up,
}

#[test]
fn the_table_and_the_simulator_have_the_same_vendors() {
    assert_eq!(vendors(), VendorName::ALL);
}
