//! Parquet objects read by DuckDB, pyarrow, pandas and polars, from the bucket or from a copy of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use auditflow::simulator::VendorName;
use auditflow::simulator::proof::Delivered;
use serde::Deserialize;

use crate::bucket::{Bucket, copy_to};
use crate::{common, test_pipeline};

/// Names an interpreter that has the packages of `tests/python/requirements.txt`.
pub(crate) const PYTHON_VARIABLE: &str = "AUDITFLOW_TEST_PYTHON";

/// Vendor, action, events.
type Counts = Vec<(String, String, usize)>;

/// The results of the readers.
#[derive(Deserialize)]
struct Results {
    from: String,
    counts: Counts,
    columns: Vec<(String, String)>,
    wrong_dates: usize,
    actors: usize,
    changes: usize,
    raws: Vec<(String, String, Option<u64>, String)>,
    unsorted: usize,
    before_middle: usize,
    objects_all: usize,
    objects_with_time_before_middle: usize,
    pyarrow_counts: Counts,
    pyarrow_clumio: usize,
    pyarrow_actor_ids: usize,
    null_emails: usize,
    /// By reader: rows by partition of the vendor.
    ordinary_calls: BTreeMap<String, Vec<(String, usize)>>,
    /// By reader: rows whose partition is null.
    null_partitions: BTreeMap<String, usize>,
}

/// The readers find every event with its exact record, by Hive partitions, and object statistics allow pruning by time.
pub(crate) fn third_party_readers_find_every_event(bucket: &Bucket) {
    let pipeline = test_pipeline(common::seed(), 400, &[]);
    let settings = "format: parquet, key_prefix: \"audit/event_vendor={{ vendor }}/event_date=%Y-%m-%d/\"";
    let file = pipeline.write_pipeline(&bucket.sink(settings));
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    bucket.assert_exact(&pipeline);
    deliver_with_null_partitions(bucket);
    let copy = pipeline.path("copy");
    copy_to(&copy, &bucket.objects());
    let results = run_readers(bucket, &copy);
    eprintln!("DuckDB read the {}", results.from);

    pipeline.assert_all_delivered_once(by_vendor(&results.raws));
    let total = results.raws.len();
    assert_eq!(results.counts.iter().map(|(.., events)| events).sum::<usize>(), total);
    let mut by_partition = BTreeMap::new();
    for vendor in VendorName::ALL {
        let counted: usize =
            results.counts.iter().filter(|(name, ..)| name == vendor.as_str()).map(|count| count.2).sum();
        assert_eq!(counted, results.raws.iter().filter(|(_, name, ..)| name == vendor.as_str()).count(), "{vendor}");
        by_partition.insert(vendor.as_str().to_owned(), counted);
    }
    assert!(results.null_emails > 0 && results.ordinary_calls.len() == 4 && results.null_partitions.len() == 3);
    for (reader, vendors) in results.ordinary_calls {
        assert_eq!(BTreeMap::from_iter(vendors), by_partition, "{reader}");
    }
    for (reader, nulls) in results.null_partitions {
        assert_eq!(nulls, results.null_emails, "{reader}");
    }
    assert_eq!((results.wrong_dates, results.unsorted), (0, 0), "events under another day's key, rows out of order");
    assert_eq!(results.actors, total, "each actor has at least a type");
    assert!(results.changes > 0);
    let clumio = results.raws.iter().filter(|(_, name, ..)| name == "clumio").count();
    assert!(results.before_middle > 0 && results.before_middle < clumio, "{} of {clumio}", results.before_middle);
    assert!(
        results.objects_with_time_before_middle < results.objects_all,
        "the statistics of {} objects exclude none",
        results.objects_all
    );
    assert_eq!(results.pyarrow_counts, results.counts);
    assert_eq!(results.pyarrow_clumio, clumio);
    assert!(results.pyarrow_actor_ids > 0 && results.pyarrow_actor_ids <= total);
    assert_columns(&results.columns);
}

/// The same bucket gets objects whose partition is null where the target has no address: most events.
fn deliver_with_null_partitions(bucket: &Bucket) {
    let pipeline = test_pipeline(common::seed(), 20, &[]);
    let file = pipeline.write_pipeline(&bucket.sink("format: parquet, key_prefix: \"nulls/kind={{ target.email }}/\""));
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
}

fn assert_columns(columns: &[(String, String)]) {
    let type_of = |name: &str| columns.iter().find(|(column, _)| column == name).map(|(_, kind)| kind.as_str());
    for (name, kind) in [
        ("timestamp", "TIMESTAMP WITH TIME ZONE"),
        ("version", "BIGINT"),
        ("target", "STRUCT(\"type\" VARCHAR, vendor_type VARCHAR, id VARCHAR, \"name\" VARCHAR, email VARCHAR)"),
        ("changes", "STRUCT(field VARCHAR, \"old\" VARCHAR, \"new\" VARCHAR)[]"),
        ("raw", "VARCHAR"),
    ] {
        assert_eq!(type_of(name), Some(kind), "{name}");
    }
}

pub(crate) fn by_vendor(raws: &[(String, String, Option<u64>, String)]) -> BTreeMap<String, Vec<Delivered>> {
    let mut events: BTreeMap<String, Vec<Delivered>> = BTreeMap::new();
    for (id, vendor, version, raw) in raws {
        let (id, vendor, raw) = (id.clone(), vendor.clone(), raw.clone());
        let event = Delivered { id, vendor: vendor.clone(), version: version.unwrap_or(0), raw };
        events.entry(vendor).or_default().push(event);
    }
    events
}

fn run_readers(bucket: &Bucket, copy: &Path) -> Results {
    let python = std::env::var(PYTHON_VARIABLE)
        .unwrap_or_else(|_| panic!("set {PYTHON_VARIABLE} to a python3 with tests/python/requirements.txt"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/s3/readers.py");
    let output = Command::new(python).arg(script).args(bucket.address()).arg(copy).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
