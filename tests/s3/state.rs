//! `auditflow state` with a bucket: redelivery overwrites no object, and the chain of manifests stays unbroken.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use auditflow::simulator::{NewRecord, VendorName};

use crate::bucket::{assert_manifests_complete, events};
use crate::common::{self, TestPipeline};
use crate::store::Store;
use crate::{in_process, run_duration, test_pipeline};

fn state(pipeline: &TestPipeline, file: &Path, arguments: &[&str]) {
    let mut command = pipeline.program(&["state", arguments[0], file.to_str().unwrap()]);
    let status = command.args(&arguments[1..]).arg("--yes").status().unwrap();
    assert!(status.success(), "{}", pipeline.log_tail());
}

/// How many times each event is in the bucket.
fn copies(objects: &BTreeMap<String, Vec<u8>>) -> BTreeMap<(String, u64), usize> {
    let mut copies = BTreeMap::new();
    for event in events(objects).into_values().flatten() {
        *copies.entry((event.id, event.version)).or_default() += 1;
    }
    copies
}

#[test]
fn in_process_redelivery_and_renaming_overwrite_nothing_and_extend_the_chain() {
    let store = Store::start();
    let bucket = in_process(&store);
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let pipeline = test_pipeline(seed, 200, &[]);
    let settings = "key_prefix: \"audit/event_vendor={{ vendor }}/\", batch: {max_events: 20, timeout_secs: 10ms}";
    let file = pipeline.write_pipeline(&bucket.sink(settings));
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    let before = bucket.assert_exact(&pipeline);

    state(&pipeline, &file, &["redeliver", "lake", "--from", "2000-01-01"]);
    for _ in 0..6 {
        pipeline.run_and_kill(&file, run_duration(&mut random));
    }
    pipeline.run_once(&file);
    let after = bucket.objects();
    assert!(before.iter().all(|(key, bytes)| after.get(key) == Some(bytes)), "an object was overwritten");
    assert_manifests_complete(&after);
    let expected: BTreeMap<_, _> = copies(&before).into_iter().map(|(event, copies)| (event, 2 * copies)).collect();
    assert_eq!(copies(&after), expected);

    let text = fs::read_to_string(&file).unwrap().replace("  lake: {", "  sea: {");
    fs::write(&file, text).unwrap();
    state(&pipeline, &file, &["rename", "lake", "--to", "sea"]);
    let control = pipeline.simulator.control();
    VendorName::ALL.iter().for_each(|vendor| drop(control.insert(*vendor, NewRecord::default()).unwrap()));
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    let renamed = bucket.objects();
    assert!(after.iter().all(|(key, bytes)| renamed.get(key) == Some(bytes)), "an object was overwritten");
    assert!(renamed.keys().any(|key| key.starts_with("audit/_manifests/pipeline-sea/")), "{:?}", renamed.keys());
    assert_manifests_complete(&renamed);
    assert_eq!(copies(&renamed).len(), expected.len() + VendorName::ALL.len());
}
