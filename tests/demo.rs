//! The README's first command: the demo does the main job, proves it, and goes on after a kill.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

mod common;

/// What every secret of the simulator begins with.
const SECRET: &str = "SIMULATOR_SECRET";

fn demo(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    command.current_dir(folder).args(["demo", "--events", "400"]).stdin(Stdio::null());
    command
}

#[test]
fn the_demo_collects_delivers_and_proves_and_a_killed_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = demo(folder.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let files = folder.path().join("auditflow-demo/events");
    let begin = Instant::now();
    while !files.exists() && first.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the demo has delivered nothing for a minute");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    first.kill().unwrap();
    first.wait().unwrap();

    for _ in 0..2 {
        let output = demo(folder.path()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        for vendor in ["akuity", "captivateiq", "clumio", "confluence", "merge"] {
            let row = said.lines().rfind(|line| line.starts_with(vendor)).unwrap_or_default();
            let figures: Vec<&str> = row.split_whitespace().skip(1).collect();
            assert_eq!(figures, ["400", "400", "0", "0"], "{vendor}: {said}");
        }
        assert!(said.contains("demo_clumio") && said.contains("Try also"), "{said}");
        assert!(!said.contains(SECRET), "{said}");
    }
    for file in common::files_below(folder.path()) {
        let bytes = std::fs::read(&file).unwrap();
        let found = memchr::memmem::find(&bytes, SECRET.as_bytes());
        assert!(found.is_none(), "a secret stands in {}", file.display());
    }
}
