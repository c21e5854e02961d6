//! What a user meets when something outside is broken: the run says so, ends if it should, and loses nothing.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::time::Duration;

use auditflow::simulator::{SimulatorOptions, Variants};
use common::World;

fn world(events: u64) -> World {
    let mut variants = Variants::default();
    variants.lift_rate_limits();
    World::new(SimulatorOptions {
        events_per_vendor: events,
        variants,
        clock: common::system_clock(),
        ..SimulatorOptions::default()
    })
}

fn sink(world: &World, name: &str) -> String {
    let path = world.path("out/{{ vendor }}.ndjson");
    format!("sinks:\n  {name}: {{type: file, inputs: [events], path: \"{}\"}}\n", path.display())
}

#[test]
fn a_bounded_run_gives_up_on_a_broken_disk_says_why_and_the_next_one_goes_on() {
    let world = world(50);
    let file = world.write_pipeline(&sink(&world, "files"));
    fs::write(world.path("out"), "no folder").unwrap();
    let arguments = ["run", file.to_str().unwrap(), "--once", "--give-up-after", "1s"];
    let child = world.program(&arguments).spawn().unwrap();
    let status = common::wait(child, Duration::from_secs(60), || world.log_tail());
    assert_eq!(status.code(), Some(3), "{}", world.log_tail());
    assert!(world.log_count("unfinished: files: ") == 1, "{}", world.log_tail());
    fs::remove_file(world.path("out")).unwrap();
    world.wait_until_quiet();
    world.run_once(&file);
    world.assert_exact(&world.path("out"));
    world.assert_no_secret_anywhere();
}

#[test]
fn a_sink_that_is_renamed_in_the_middle_of_a_batch_leaves_nothing_torn() {
    let world = world(300);
    let mut unfinished = 0;
    for life in 0..60 {
        // Small batches, one after the other: most of the time one is in the middle.
        let sink = sink(&world, if life % 2 == 0 { "one" } else { "other" });
        let small = sink.replace("type: file", "type: file, batch: {max_events: 7, timeout_secs: 1ms}");
        world.run_and_kill(&world.write_pipeline(&small), Duration::from_millis(120 + life * 7));
        unfinished = world.log_count("left the pipeline file in the middle of a batch");
        if unfinished > 2 {
            break;
        }
    }
    assert!(unfinished > 0, "no kill hit a batch of a sink that was renamed afterwards");
    world.wait_until_quiet();
    let file = world.write_pipeline(&sink(&world, "one"));
    world.run_once(&file);
    // Each of the two names delivers all events to the same files: every line is whole, and each event is there.
    let delivered = common::delivered_below(&world.path("out"));
    for (vendor, events) in delivered {
        let distinct: std::collections::BTreeSet<_> = events.iter().map(|event| &event.id).collect();
        assert_eq!(distinct.len(), 300, "{vendor}");
    }
    world.assert_no_secret_anywhere();
}

#[test]
fn a_full_journal_makes_room_before_its_retention_and_the_run_goes_on() {
    let world = world(2_000);
    let small = "journal: {max_size: 400KiB, retention: 30d}\n".to_owned();
    let file = world.write_pipeline(&(small + &sink(&world, "files")));
    world.wait_until_quiet();
    world.run_once(&file);
    assert!(world.log_count("journal_full") > 0, "the journal was never full: {}", world.log_tail());
    world.assert_exact(&world.path("out"));
}

#[test]
fn nobody_reading_the_log_stops_nothing() {
    let world = world(50);
    let file = world.write_pipeline(&sink(&world, "files"));
    let mut command = world.program(&["run", file.to_str().unwrap(), "--log-level", "debug"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = command.stderr(writer).spawn().unwrap();
    drop(command);
    common::until("all five vendors' events are in files", || {
        world.path("out").exists() && fs::read_dir(world.path("out")).unwrap().count() == 5
    });
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    let mut ended = None;
    common::until("the program has ended", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(0));
}
