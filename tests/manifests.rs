//! The file sink's manifests under SIGKILL: the chain has no gap, and lists every byte of every file exactly once.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use auditflow::simulator::{SimulatorOptions, Variants};
use auditflow::sinks::manifest::sha256_hex;
use common::TestPipeline;
use serde_json::{Value, json};

fn busy(seed: u64) -> SimulatorOptions {
    let mut variants = Variants::default();
    variants.lift_rate_limits();
    let span = Duration::from_secs(3 * 86_400);
    let clock = common::system_clock();
    SimulatorOptions {
        variants,
        seed,
        events_per_vendor: 3_000,
        span,
        rate: 40.0,
        clock,
        ..SimulatorOptions::default()
    }
}

#[test]
fn after_kills_the_chain_is_complete_and_lists_every_byte_once() {
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let pipeline = TestPipeline::new(busy(seed));
    let out = pipeline.path("out");
    let file = pipeline.write_pipeline(&format!(
        "sinks:
  files: {{type: file, inputs: [events], manifest: true, compression: gzip, rotate: {{max_bytes: 64KiB}}, path: \"{}/{{{{ vendor }}}}/%Y-%m-%d.ndjson.gz\", batch: {{max_events: 20, timeout_secs: 0.01}}}}
",
        out.display()
    ));
    for _ in 0..30 {
        pipeline.run_and_kill(&file, Duration::from_millis(random.u64(50..700)));
    }
    assert!(pipeline.event_count("batch_recovered") > 0, "no kill interrupted a batch: the test is inconclusive");
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    let manifests = manifests_below(&out.join("_manifests"));
    assert_chain(&manifests);
    assert_every_byte_is_listed_once(&out, &manifests);
    assert_verified(&pipeline, &file, &out);
    fs::rename(out.join("_manifests"), pipeline.path("manifests")).unwrap();
    pipeline.assert_exact(&out);
    let rows: u64 = manifests.iter().map(|bytes| parsed(bytes)["rows"].as_u64().unwrap()).sum();
    assert_eq!(rows, common::delivered_below(&out).values().map(|events| events.len() as u64).sum::<u64>());
}

fn verify(pipeline: &TestPipeline, file: &Path) -> (Option<i32>, Value) {
    let output =
        pipeline.program(&["verify", file.to_str().unwrap(), "--json"]).stdout(Stdio::piped()).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code(), report["sinks"][0]["found"].clone())
}

/// `verify` finds nothing wrong, and each thing that is made wrong.
fn assert_verified(pipeline: &TestPipeline, file: &Path, out: &Path) {
    let (code, found) = verify(pipeline, file);
    assert_eq!((code, &found["problems"], &found["matches_journal"]), (Some(0), &json!([]), &json!(true)));
    let mut manifests = common::files_below(&out.join("_manifests"));
    manifests.sort();
    let events: u64 = manifests.iter().map(|file| parsed(&fs::read(file).unwrap())["rows"].as_u64().unwrap()).sum();
    assert_eq!((&found["events"], &found["manifests"]), (&json!(events), &json!(manifests.len())));
    let (middle, last) = (&manifests[manifests.len() / 2], &manifests[manifests.len() - 1]);
    let object = parsed(&fs::read(middle).unwrap())["objects"][0]["key"].as_str().unwrap().to_owned();
    for (path, problem) in [(&out.join(object), "object_missing"), (middle, "chain_broken"), (last, "end_missing")] {
        let elsewhere = pipeline.path("elsewhere");
        fs::rename(path, &elsewhere).unwrap();
        let (code, found) = verify(pipeline, file);
        assert_eq!((code, &found["problems"][0]["problem"]), (Some(1), &json!(problem)));
        fs::rename(&elsewhere, path).unwrap();
    }
    assert_eq!(verify(pipeline, file).0, Some(0));
}

/// All manifests, sorted by name.
fn manifests_below(directory: &Path) -> Vec<Vec<u8>> {
    let mut files = common::files_below(directory);
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn parsed(manifest: &[u8]) -> Value {
    serde_json::from_slice(manifest).unwrap()
}

fn assert_chain(manifests: &[Vec<u8>]) {
    assert!(manifests.len() > 100, "only {} batches", manifests.len());
    let (mut previous, mut last) = (Value::Null, 0);
    for bytes in manifests {
        let manifest = parsed(bytes);
        assert_eq!(manifest["previous"], previous);
        assert!(manifest["first"].as_u64().unwrap() > last);
        last = manifest["last"].as_u64().unwrap();
        previous = sha256_hex(bytes).into();
    }
}

fn assert_every_byte_is_listed_once(directory: &Path, manifests: &[Vec<u8>]) {
    let mut lengths: BTreeMap<String, u64> = BTreeMap::new();
    for bytes in manifests {
        for object in parsed(bytes)["objects"].as_array().unwrap() {
            let key = object["key"].as_str().unwrap();
            let length = lengths.entry(key.to_owned()).or_default();
            assert_eq!(object["offset"].as_u64(), Some(*length), "{key}");
            let end = *length + object["size"].as_u64().unwrap();
            let file = fs::read(directory.join(key)).unwrap();
            let piece = &file[usize::try_from(*length).unwrap()..usize::try_from(end).unwrap()];
            assert_eq!(object["sha256"], sha256_hex(piece), "{key}");
            *length = end;
        }
    }
    let files =
        common::files_below(directory).into_iter().filter(|file| file.extension().is_some_and(|end| end == "gz"));
    let found: BTreeMap<String, u64> = files
        .map(|file| {
            let key = file.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
            (key, fs::metadata(&file).unwrap().len())
        })
        .collect();
    assert_eq!(lengths, found);
}

#[test]
fn without_manifests_nothing_is_proved() {
    let pipeline = TestPipeline::without_growth(10);
    let file = pipeline.with_files();
    let verified = |more: &[&str]| {
        let arguments = [&["verify", file.to_str().unwrap()], more].concat();
        let mut command = pipeline.program(&arguments);
        // No secret is needed.
        command.env_clear().env("SIMULATOR", format!("http://{}", pipeline.simulator.address()));
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, printed) = verified(&[]);
    assert!(code == Some(1) && printed.contains("nothing was verified"), "{printed}");
    let (code, printed) = verified(&["--copy", "/"]);
    assert!(code == Some(1) && printed.contains("nothing was verified"), "{printed}");
    let (code, printed) = verified(&["--copy", "/no/such/directory"]);
    assert!(code == Some(2) && printed.contains("is not a directory"), "{printed}");
    let (code, printed) = verified(&["--sink", "nowhere"]);
    assert!(code == Some(2) && printed.contains("there is no sink `nowhere`"), "{printed}");
    let (code, printed) = verified(&["--sink", "files", "--copy", "/"]);
    assert!(code == Some(2) && printed.contains("writes local files"), "{printed}");
}
