//! Which readers read which formats: rows, pruning, times and nesting. The matrix is printed, and docs/lake.md has it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::bucket::{Bucket, copy_to};
use crate::readers::PYTHON_VARIABLE;
use crate::{security_lake, test_pipeline};

const HIVE: &str = "event_vendor={{ vendor }}/event_date=%Y-%m-%d/";

/// The same events in every format, each in a directory of its own.
fn sinks(bucket: &Bucket) -> String {
    let parquet = "format: parquet, bloom_filters: true";
    let formats = [
        ("ndjson", format!("key_prefix: \"ndjson/{HIVE}\", encoding: {{raw: string}}")),
        ("parquet", format!("key_prefix: \"parquet/{HIVE}\", {parquet}")),
        ("ocsf", format!("{}, bloom_filters: true", security_lake::settings(""))),
        ("delta", format!("key_prefix: \"delta/{HIVE}\", {parquet}, table: delta")),
    ];
    let sink = |(name, settings): &(&str, String)| {
        bucket.sink(settings).replace("sinks:\n", "").replace("  lake:", &format!("  {name}:"))
    };
    format!("sinks:\n{}", formats.iter().map(sink).collect::<String>())
}

/// What readers infer depends on what they see first: always the same events.
const SEED: u64 = 7;

/// Every reader finds what is there. The matrix is the one in the docs.
pub fn readers_times_formats(bucket: &Bucket) {
    let pipeline = test_pipeline(SEED, 300, &[]);
    let file = pipeline.write_pipeline(&sinks(bucket));
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    let copy = pipeline.path("copy");
    copy_to(&copy, &bucket.objects());
    let matrix = run(&copy);
    eprintln!("{matrix}");
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/lake.md")).unwrap();
    assert!(
        matrix.lines().count() > 5 && docs.contains(matrix.trim_end()),
        "docs/lake.md has another matrix than\n{matrix}"
    );
}

fn run(copy: &Path) -> String {
    let python = std::env::var(PYTHON_VARIABLE)
        .unwrap_or_else(|_| panic!("set {PYTHON_VARIABLE} to a python3 with tests/python/requirements.txt"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/s3/matrix.py");
    let output = Command::new(python).arg(script).arg(copy).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    eprint!("{errors}");
    String::from_utf8(output.stdout).unwrap()
}
