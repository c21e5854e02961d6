//! The README's first command: the demo collects, delivers and verifies, and resumes after a kill.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

mod common;

/// The prefix of every secret of the simulator.
const SECRET: &str = "SIMULATOR_SECRET";

fn demo(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    command.current_dir(directory).args(["demo", "--events", "400"]).stdin(Stdio::null());
    command
}

#[test]
fn the_demo_collects_delivers_and_verifies_and_resumes_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = demo(directory.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let files = directory.path().join("auditflow-demo/events");
    let begin = Instant::now();
    while !files.exists() && first.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the demo delivered nothing for a minute");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    first.kill().unwrap();
    first.wait().unwrap();

    for _ in 0..2 {
        let output = demo(directory.path()).output().unwrap();
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{printed}");
        for vendor in ["akuity", "captivateiq", "clumio", "confluence", "merge"] {
            let row = printed.lines().rfind(|line| line.starts_with(vendor)).unwrap_or_default();
            let columns: Vec<&str> = row.split_whitespace().skip(1).collect();
            assert_eq!(columns, ["400", "400", "0", "0"], "{vendor}: {printed}");
        }
        assert!(printed.contains("demo_clumio") && printed.contains("Try also"), "{printed}");
        assert!(!printed.contains(SECRET), "{printed}");
    }
    for file in common::files_below(directory.path()) {
        let bytes = std::fs::read(&file).unwrap();
        let found = memchr::memmem::find(&bytes, SECRET.as_bytes());
        assert!(found.is_none(), "a secret is in {}", file.display());
    }
}
