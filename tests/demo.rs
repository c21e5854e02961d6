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

/// Runs a line of shell that the demo prints; returns the number that it prints.
fn shell(directory: &tempfile::TempDir) -> impl Fn(&str) -> String {
    let directory = directory.path().to_owned();
    move |line| {
        let output = Command::new("sh").args(["-c", line]).current_dir(&directory).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
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
    let was_killed = directory.path().join("auditflow-demo/unfinished").exists();
    let kills = if was_killed { "; 1 kill so far" } else { "; 0 kills so far" };

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
        assert!(printed.contains("It got through ") && printed.contains(kills), "{printed}");
        let counts: Vec<String> =
            printed.lines().filter(|line| line.starts_with("  cat ")).map(shell(&directory)).collect();
        assert_eq!(counts, ["2000", "0"], "{printed}");
        assert!(!printed.contains(SECRET), "{printed}");
    }
    let file = directory.path().join("auditflow-demo/pipeline.yaml");
    for command in ["validate", "status", "coverage"] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_auditflow")).arg(command).arg(&file).env_clear().output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("  files:", "  archive:")).unwrap();
    let output = demo(directory.path()).output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains("state rename") && !printed.contains("This is a bug"), "{printed}");
    for file in common::files_below(directory.path()) {
        let bytes = std::fs::read(&file).unwrap();
        let found = memchr::memmem::find(&bytes, SECRET.as_bytes());
        assert!(found.is_none(), "a secret is in {}", file.display());
    }
}
