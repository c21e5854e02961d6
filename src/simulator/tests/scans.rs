//! A plain scan of every vendor returns the truth, whatever the page size, order and filter.

use std::time::Duration;

use super::{Harness, sorted, start};
use crate::simulator::{FaultOrder, VendorName};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn every_page_size_returns_the_truth_byte_for_byte() {
    let harness = Harness::start(|_| {}).await;
    for vendor in VendorName::ALL {
        for size in [1, 7, 100, 1_000] {
            let pages = harness.scan(vendor, size, "").await;
            let mut truth = harness.truth(vendor);
            assert_eq!(truth.len(), 300, "{vendor}");
            if vendor != VendorName::Merge {
                truth.reverse();
            }
            assert_eq!(pages.concat(), truth, "{vendor} {size}");
        }
    }
}

#[tokio::test]
async fn the_other_orders_return_the_truth_too() {
    let harness = Harness::start(|options| {
        for name in ["akuity.order", "captivateiq.order", "clumio.order", "confluence.order"] {
            options.variants.set(name, "asc").expect("a variant");
        }
        options.variants.set("merge.order", "desc").expect("a variant");
    })
    .await;
    for vendor in VendorName::ALL {
        let mut records_read = harness.scan(vendor, 40, "").await.concat();
        if vendor == VendorName::Merge {
            records_read.reverse();
        }
        assert_eq!(records_read, harness.truth(vendor), "{vendor}");
    }
    harness.control().set_variant("captivateiq.order", "unstable").expect("a variant");
    let records_read = harness.scan(VendorName::CaptivateIq, 40, "").await.concat();
    assert_ne!(records_read, harness.truth(VendorName::CaptivateIq));
    assert_eq!(sorted(records_read), sorted(harness.truth(VendorName::CaptivateIq)));
}

#[tokio::test]
async fn ties_identical_records_and_unusual_white_space_are_all_served() {
    let harness = Harness::start(|options| {
        for fault in ["ties=0.7", "identical_records=0.2", "unknown_values=0.5", "malformed_records=0.1"] {
            options.faults.push(fault.parse::<FaultOrder>().expect("a fault"));
        }
        for vendor in VendorName::ALL {
            options.variants.set(&format!("{vendor}.json_spacing"), "random").expect("a variant");
        }
    })
    .await;
    for vendor in VendorName::ALL {
        let records_read = harness.scan(vendor, 7, "").await.concat();
        assert_eq!(sorted(records_read), sorted(harness.truth(vendor)), "{vendor}");
        let truth = harness.control().truth(vendor).expect("a vendor");
        let identical = truth.iter().filter(|record| record.occurrence > 0).count();
        let has_ids = !matches!(vendor, VendorName::Akuity | VendorName::Confluence);
        assert_eq!(identical == 0, has_ids, "{vendor} has {identical} identical");
        assert!(truth.iter().any(|record| record.malformed), "{vendor}");
        let ties = truth.windows(2).filter(|pair| pair[0].timestamp == pair[1].timestamp).count();
        assert!(ties > 100, "{vendor} has {ties} ties");
    }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_bytes_and_another_gives_others() {
    let truth_of = async |seed| {
        let harness = Harness::start(|options| options.seed = seed).await;
        VendorName::ALL.map(|vendor| harness.truth(vendor))
    };
    let first = truth_of(7).await;
    assert_eq!(first, truth_of(7).await);
    assert_ne!(first, truth_of(8).await);
}

#[tokio::test]
async fn time_filters_apply_at_both_ends() {
    let harness = Harness::start(|_| {}).await;
    let truth = |vendor| harness.control().truth(vendor).expect("a vendor");
    for vendor in VendorName::ALL {
        let all = truth(vendor);
        let (from, to) = (all[100].timestamp, all[200].timestamp);
        let more = match vendor {
            VendorName::Akuity => format!("&filters.startTime={from}&filters.endTime={to}"),
            VendorName::CaptivateIq => format!("&start_date={}&end_date={}", day(from), day(to)),
            VendorName::Clumio => {
                let filter = format!(r#"{{"start_timestamp":{{"$gte":"{from}","$lt":"{to}"}}}}"#);
                format!(
                    "&{}",
                    url::form_urlencoded::Serializer::new(String::new()).append_pair("filter", &filter).finish()
                )
            }
            VendorName::Confluence => format!("&startDate={}&endDate={}", from.as_millis(), to.as_millis()),
            VendorName::Merge => format!("&start_date={from}&end_date={to}"),
        };
        let inside = |at| match vendor {
            VendorName::Akuity | VendorName::Confluence => from <= at && at <= to,
            VendorName::CaptivateIq => from.floor_to(DAY) <= at && at < to.floor_to(DAY) + DAY,
            VendorName::Clumio => from <= at && at < to,
            VendorName::Merge => from < at && at < to,
        };
        let expected = all.into_iter().filter(|record| inside(record.timestamp)).map(|record| record.raw).collect();
        assert_eq!(sorted(harness.scan(vendor, 30, &more).await.concat()), sorted(expected), "{vendor}");
    }
}

fn day(at: crate::time::Timestamp) -> String {
    at.to_string()[..10].to_owned()
}

#[tokio::test]
async fn other_filters_choose_among_the_records() {
    let harness = Harness::start(|_| {}).await;
    let clumio = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("filter", r#"{"status":{"$in":["failure"]}}"#)
        .finish();
    for (vendor, more, needle) in [
        (VendorName::Akuity, "&filters.action=promoted".to_owned(), r#""action":"promoted""#),
        (VendorName::CaptivateIq, "&email=user3%40example.com".to_owned(), r#","user_email":"user3@example.com""#),
        (VendorName::Clumio, format!("&{clumio}"), r#""status":"failure""#),
        (VendorName::Confluence, "&searchString=space%20created".to_owned(), r#""summary":"Space created""#),
        (VendorName::Merge, "&event_type=MUTED_ISSUE".to_owned(), r#""event_type":"MUTED_ISSUE""#),
        (VendorName::Merge, "&user_email=user3%40example.com".to_owned(), r#""user_email":"user3@example.com""#),
    ] {
        let expected: Vec<String> = harness.truth(vendor).into_iter().filter(|raw| raw.contains(needle)).collect();
        assert!(!expected.is_empty(), "{vendor}");
        assert_eq!(sorted(harness.scan(vendor, 10, &more).await.concat()), sorted(expected), "{vendor} {more}");
    }
}

#[tokio::test]
async fn the_data_grow_with_the_clock() {
    let harness = Harness::start(|options| options.rate = 2.0).await;
    for (seconds, at_least) in [(0, 300), (10, 318), (30, 378)] {
        harness.clock.advance(Duration::from_secs(seconds));
        for vendor in VendorName::ALL {
            let truth = harness.control().truth(vendor).expect("a vendor");
            let now = harness.control().now();
            assert!(truth.len() >= at_least && truth.len() < at_least + 30, "{vendor} has {}", truth.len());
            assert!(truth.iter().all(|record| record.timestamp <= now), "{vendor} knows the future");
            assert_eq!(sorted(harness.scan(vendor, 100, "").await.concat()), sorted(harness.truth(vendor)), "{vendor}");
        }
    }
}

#[tokio::test]
async fn growth_does_not_depend_on_when_it_is_read() {
    let grown = async |steps: u64| {
        let harness = Harness::start(|options| options.rate = 3.0).await;
        for _ in 0..steps {
            harness.clock.advance(Duration::from_secs(60 / steps));
            harness.truth(VendorName::Akuity);
        }
        harness.truth(VendorName::Akuity)
    };
    assert_eq!(grown(1).await, grown(12).await);
}

#[tokio::test]
async fn an_empty_vendor_serves_an_empty_page() {
    let harness = Harness::start(|options| options.events_per_vendor = 0).await;
    for vendor in VendorName::ALL {
        assert_eq!(harness.scan(vendor, 10, "").await, [Vec::<String>::new()], "{vendor}");
    }
}

#[tokio::test]
async fn records_older_than_the_retention_are_gone_and_not_expected() {
    let harness = Harness::start(|options| {
        for vendor in VendorName::ALL {
            options.variants.set(&format!("{vendor}.retention"), "2d").expect("a variant");
        }
    })
    .await;
    for vendor in VendorName::ALL {
        let truth = harness.control().truth(vendor).expect("a vendor");
        assert!(truth.len() < 150 && truth.iter().all(|record| record.timestamp >= start() - DAY * 2), "{vendor}");
        assert_eq!(sorted(harness.scan(vendor, 50, "").await.concat()), sorted(harness.truth(vendor)), "{vendor}");
    }
}
