//! `auditflow state` and a bucket: what is delivered again overwrites nothing, and the chain of manifests stays one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use auditflow::simulator::{NewRecord, VendorName};

use crate::bucket::{assert_manifests_complete, events};
use crate::common::{self, World};
use crate::store::Store;
use crate::{in_process, life, world};

fn state(world: &World, file: &Path, arguments: &[&str]) {
    let mut command = world.program(&["state", arguments[0], file.to_str().unwrap()]);
    let status = command.args(&arguments[1..]).arg("--yes").status().unwrap();
    assert!(status.success(), "{}", world.log_tail());
}

/// How often each event is there.
fn copies(objects: &BTreeMap<String, Vec<u8>>) -> BTreeMap<(String, u64), usize> {
    let mut copies = BTreeMap::new();
    for event in events(objects).into_values().flatten() {
        *copies.entry((event.id, event.version)).or_default() += 1;
    }
    copies
}

#[test]
fn in_process_redelivery_and_renaming_overwrite_nothing_and_the_chain_goes_on() {
    let store = Store::start();
    let bucket = in_process(&store);
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let world = world(seed, 200, &[]);
    let settings = "key_prefix: \"audit/vendor={{ vendor }}/\", batch: {max_events: 20, timeout_secs: 10ms}";
    let file = world.write_pipeline(&bucket.sink(settings));
    world.wait_until_quiet();
    world.run_once(&file);
    let former = bucket.assert_exact(&world);

    state(&world, &file, &["redeliver", "lake", "--from", "2000-01-01"]);
    for _ in 0..6 {
        world.run_and_kill(&file, life(&mut random));
    }
    world.run_once(&file);
    let twice = bucket.objects();
    assert!(former.iter().all(|(key, bytes)| twice.get(key) == Some(bytes)), "an object was overwritten");
    assert_manifests_complete(&twice);
    let expected: BTreeMap<_, _> = copies(&former).into_iter().map(|(event, copies)| (event, 2 * copies)).collect();
    assert_eq!(copies(&twice), expected);

    let text = fs::read_to_string(&file).unwrap().replace("  lake: {", "  sea: {");
    fs::write(&file, text).unwrap();
    state(&world, &file, &["rename", "lake", "sea"]);
    let control = world.simulator.control();
    VendorName::ALL.iter().for_each(|vendor| drop(control.insert(*vendor, NewRecord::default()).unwrap()));
    world.wait_until_quiet();
    world.run_once(&file);
    let renamed = bucket.objects();
    assert!(twice.iter().all(|(key, bytes)| renamed.get(key) == Some(bytes)), "an object was overwritten");
    assert!(renamed.keys().any(|key| key.starts_with("audit/_manifests/pipeline-sea/")), "{:?}", renamed.keys());
    assert_manifests_complete(&renamed);
    assert_eq!(copies(&renamed).len(), expected.len() + VendorName::ALL.len());
}
