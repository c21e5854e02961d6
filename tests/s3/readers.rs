//! Parquet objects as others read them: DuckDB and pyarrow, from the bucket or from a copy of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use auditflow::simulator::VendorName;
use auditflow::simulator::proof::Delivered;
use serde::Deserialize;

use crate::bucket::Bucket;
use crate::{common, world};

/// Names an interpreter that has the packages of `tests/python/requirements.txt`.
const PYTHON_VARIABLE: &str = "AUDITFLOW_TEST_PYTHON";

/// Vendor, action, events.
type Counts = Vec<(String, String, usize)>;

/// What the readers saw.
#[derive(Deserialize)]
struct Seen {
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
}

/// DuckDB and pyarrow find every event with its exact record, by Hive partitions, and objects are told apart by time.
pub(crate) fn read_by_others(bucket: &Bucket) {
    let world = world(common::seed(), 400, &[]);
    let settings = "format: parquet, key_prefix: \"audit/vendor={{ vendor }}/date=%Y-%m-%d/\"";
    let file = world.write_pipeline(&bucket.sink(settings));
    world.wait_until_quiet();
    world.run_once(&file);
    let copy = world.path("copy");
    copy_to(&copy, &bucket.assert_exact(&world));
    let seen = ask_readers(bucket, &copy);
    eprintln!("DuckDB read the {}", seen.from);

    world.assert_all_delivered_once(by_vendor(&seen.raws));
    let total = seen.raws.len();
    assert_eq!(seen.counts.iter().map(|(.., events)| events).sum::<usize>(), total);
    for vendor in VendorName::ALL {
        let counted: usize = seen.counts.iter().filter(|(name, ..)| name == vendor.as_str()).map(|count| count.2).sum();
        assert_eq!(counted, seen.raws.iter().filter(|(_, name, ..)| name == vendor.as_str()).count(), "{vendor}");
    }
    assert_eq!((seen.wrong_dates, seen.unsorted), (0, 0), "events under another day's key, rows out of order");
    assert_eq!(seen.actors, total, "an actor has a type at least");
    assert!(seen.changes > 0);
    let clumio = seen.raws.iter().filter(|(_, name, ..)| name == "clumio").count();
    assert!(seen.before_middle > 0 && seen.before_middle < clumio, "{} of {clumio}", seen.before_middle);
    assert!(
        seen.objects_with_time_before_middle < seen.objects_all,
        "the statistics of {} objects rule none out",
        seen.objects_all
    );
    assert_eq!(seen.pyarrow_counts, seen.counts);
    assert_eq!(seen.pyarrow_clumio, clumio);
    assert!(seen.pyarrow_actor_ids > 0 && seen.pyarrow_actor_ids <= total);
    assert_columns(&seen.columns);
}

fn assert_columns(columns: &[(String, String)]) {
    let type_of = |name: &str| columns.iter().find(|(column, _)| column == name).map(|(_, kind)| kind.as_str());
    for (name, kind) in [
        ("timestamp", "TIMESTAMP WITH TIME ZONE"),
        ("version", "BIGINT"),
        ("target", "STRUCT(\"type\" VARCHAR, id VARCHAR, \"name\" VARCHAR)"),
        ("changes", "STRUCT(field VARCHAR, \"old\" VARCHAR, \"new\" VARCHAR)[]"),
        ("raw", "VARCHAR"),
    ] {
        assert_eq!(type_of(name), Some(kind), "{name}");
    }
}

fn by_vendor(raws: &[(String, String, Option<u64>, String)]) -> BTreeMap<String, Vec<Delivered>> {
    let mut events: BTreeMap<String, Vec<Delivered>> = BTreeMap::new();
    for (id, vendor, version, raw) in raws {
        let (id, vendor, raw) = (id.clone(), vendor.clone(), raw.clone());
        let event = Delivered { id, vendor: vendor.clone(), version: version.unwrap_or(0), raw };
        events.entry(vendor).or_default().push(event);
    }
    events
}

fn copy_to(folder: &Path, objects: &BTreeMap<String, Vec<u8>>) {
    for (key, bytes) in objects {
        let file = folder.join(key);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
}

fn ask_readers(bucket: &Bucket, copy: &Path) -> Seen {
    let python = std::env::var(PYTHON_VARIABLE)
        .unwrap_or_else(|_| panic!("{PYTHON_VARIABLE} names no python3 with duckdb and pyarrow"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/s3/readers.py");
    let output = Command::new(python).arg(script).args(bucket.address()).arg(copy).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
