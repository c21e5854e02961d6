//! `auditflow state` with the real program: what each command prints, which changes it rejects, and that it changes nothing without
//! confirmation.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use auditflow::journal::{
    AfterPage, CollectJournal, Completion, CoverageState, JournalOptions, LatenessCounts, LogReader, NewWindow,
    PageCommit, RequestCounts, SqliteJournal, WindowKind, lock,
};
use auditflow::simulator::{SimulatorOptions, Variants};
use auditflow::time::{TimeRange, Timestamp};
use auditflow::units::ByteSize;
use common::TestPipeline;

const EVENTS: usize = 60;

/// A pipeline with one vendor that generates no new events. Its output is `out/clumio.ndjson`.
struct Harness {
    pipeline: TestPipeline,
    file: PathBuf,
}

impl Harness {
    fn new() -> Self {
        let mut variants = Variants::default();
        variants.lift_rate_limits();
        let pipeline = TestPipeline::new(SimulatorOptions {
            events_per_vendor: EVENTS as u64,
            variants,
            clock: common::system_clock(),
            ..SimulatorOptions::default()
        });
        pipeline.simulator.control().stop_growth();
        let file = pipeline.path("acme.yaml");
        let harness = Self { pipeline, file };
        harness.write("audit", "files", "");
        harness
    }

    fn after_a_run() -> Self {
        let harness = Self::new();
        harness.pipeline.wait_until_quiet();
        harness.pipeline.run_once(&harness.file);
        assert_eq!(harness.lines(), EVENTS);
        harness
    }

    fn write(&self, source: &str, sink: &str, of_sink: &str) {
        let directory = self.pipeline.directory.path().display();
        let text = format!(
            "data_dir: {directory}/data
journal: {{retention: 1h}}
sources:
  {source}: {{type: clumio, base_url: \"${{SIMULATOR}}\", access_token: \"${{CLUMIO_ACCESS_TOKEN}}\", backfill_start_time: earliest, delay: 1s, rate_limit: 1000/s}}
transforms:
  events: {{type: normalize, inputs: [{source}]}}
sinks:
  {sink}: {{type: file, inputs: [events], path: \"{directory}/out/clumio.ndjson\"{of_sink}}}
"
        );
        fs::write(&self.file, text).unwrap();
    }

    /// Runs a `state` command without the secrets that the file names, and without a terminal.
    fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
        let address = format!("http://{}", self.pipeline.simulator.address());
        command.arg("state").args([arguments[0], self.file.to_str().unwrap()]).args(&arguments[1..]);
        command.env_clear().env("SIMULATOR", address).stdin(Stdio::null()).output().unwrap()
    }

    /// Exit code and output of a command that only reads.
    fn report(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
        command.arg(arguments[0]).arg(&self.file).args(&arguments[1..]);
        let address = format!("http://{}", self.pipeline.simulator.address());
        let output = command.env_clear().env("SIMULATOR", address).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    /// Marks time as unreadable, as collecting does after every request for it was rejected.
    fn mark_unreadable(&self, from: &str, to: &str) {
        let options = JournalOptions { data_dir: self.pipeline.path("data"), max_size: ByteSize(1 << 30) };
        let journal = SqliteJournal::open(&options).unwrap();
        let range = TimeRange::new(time(from), time(to));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let source = journal.sources().await.unwrap()[0].id;
            let window =
                NewWindow { kind: WindowKind::Backfill, covers: range, fetch_range: range, kept: TimeRange::ALL };
            let ids = journal.add_windows(source, vec![window]).await.unwrap();
            let completion = Completion {
                state: CoverageState::Unreadable,
                reasons: vec!["unreadable:500 Internal Server Error".to_owned()],
                ..Completion::covered(range, time("2019-03-01T00:00:00Z"))
            };
            let (lateness, then) = (LatenessCounts::default(), AfterPage::Complete(completion));
            let page = PageCommit {
                window: ids[0],
                block: None,
                requests: RequestCounts::succeeded(1),
                lateness,
                evidence: Vec::new(),
                then,
            };
            journal.commit_page(page).await.unwrap();
        });
    }

    /// Exit code and all output, without values that differ between runs.
    fn state(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.output(arguments);
        let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        for secret in self.pipeline.simulator.credentials().secrets() {
            assert!(!printed.contains(secret), "a secret is shown: {printed}");
        }
        assert!(
            output.status.code() != Some(0) || printed.lines().all(|line| line.chars().count() <= 100),
            "{printed}"
        );
        (output.status.code().unwrap(), self.stable(&printed))
    }

    fn stable(&self, printed: &str) -> String {
        let joined = printed.replace(&format!("\n{}", " ".repeat(18)), " ");
        let directory = self.pipeline.directory.path().to_str().unwrap();
        let words: Vec<String> = joined.replace(directory, "DIRECTORY").split(' ').map(without_times).collect();
        words.join(" ")
    }

    fn rejected(&self, arguments: &[&str]) -> String {
        let before = contents(&self.pipeline.path("data/journal.db"));
        let (code, printed) = self.state(arguments);
        assert_eq!(code, 1, "{printed}");
        assert_eq!(
            contents(&self.pipeline.path("data/journal.db")),
            before,
            "a rejected change must not change the journal"
        );
        printed
    }

    fn lines(&self) -> usize {
        fs::read_to_string(self.pipeline.path("out/clumio.ndjson")).unwrap().lines().count()
    }
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// Every row of every table. The file's bytes say less: closing it moves pages, whoever opened it.
fn contents(path: &Path) -> Vec<String> {
    let journal = rusqlite::Connection::open(path).unwrap();
    let names = |sql: &str| -> Vec<String> {
        let mut statement = journal.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let mut rows = Vec::new();
    for table in names("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name") {
        let mut statement = journal.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let mut found = statement.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let values: Vec<_> =
                (0..columns).map(|column| row.get::<_, rusqlite::types::Value>(column).unwrap()).collect();
            rows.push(format!("{table} {values:?}"));
        }
    }
    rows
}

/// Replaces times of this run, and durations in parentheses. Years before 2020 are the test's own.
fn without_times(word: &str) -> String {
    let is_time = word.starts_with("202") && word.contains('T') && word.contains('Z');
    let is_span = word.starts_with('(') && word[1..].starts_with(|c: char| c.is_ascii_digit()) && !word.contains(':');
    let end = if is_time { word.find('Z').map(|at| at + 1) } else { word.find(')') };
    match end {
        Some(end) if is_time => format!("TIME{}", &word[end..]),
        Some(end) if is_span => format!("(SPAN{}", &word[end..]),
        _ => word.to_owned(),
    }
}

#[test]
fn a_rewind_prints_what_it_changes_and_needs_confirmation() {
    let harness = Harness::after_a_run();
    let (code, printed) = harness.state(&["rewind", "audit", "--to", "2001-01-31"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(printed, @r"
    rewind source `audit` to TIME
      from            TIME, the start of this source; nothing before it is requested
      uncovered       TIME to TIME (SPAN)
      collected       again from TIME on, with the overlap before it (from TIME on), at the next `auditflow run`
      deduplicated    60 events of that time were collected before and are not delivered again; new events go to: files
      not checked     whether settings that determine event ids have changed: variables of the file are not set
      kept            60 events collected so far, the position of every sink, and the coverage before TIME
    error: nothing was changed: there is no terminal for the confirmation; add --yes to make this change
    ");
    let (code, dry) = harness.state(&["rewind", "audit", "--to", "2001-01-31", "--dry-run"]);
    assert_eq!(code, 0);
    assert!(dry.ends_with("dry run: nothing was changed\n"), "{dry}");
    let (code, printed) = harness.state(&["rewind", "audit", "--to", "2001-01-31", "--yes"]);
    assert_eq!((code, printed.ends_with("\ndone\n")), (0, true), "{printed}");
    harness.pipeline.run_once(&harness.file);
    assert_eq!(harness.lines(), EVENTS);
    let (code, printed) = harness.state(&["rewind", "audit", "--to", "2101-01-31"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(printed, @r"
    nothing to do: `audit` has no coverage after 2101-01-31T00:00:00Z
    ");
}

#[test]
fn a_rewind_with_redelivery_warns_of_duplicates() {
    let harness = Harness::after_a_run();
    let (code, printed) = harness.state(&["rewind", "audit", "--to", "2001-01-31", "--redeliver", "--yes"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(printed, @r"
    rewind source `audit` to TIME
      from            TIME, the start of this source; nothing before it is requested
      uncovered       TIME to TIME (SPAN)
      collected       again from TIME on, with the overlap before it (from TIME on), at the next `auditflow run`
      DUPLICATES      all events of that time that the vendor still has are delivered to: files. 60 events of them were collected before and are delivered again, with the same ids and new sequence numbers. Events without a time of their own are deduplicated
      kept            60 events collected so far, the position of every sink, and the coverage before TIME
    done
    ");
    harness.pipeline.run_once(&harness.file);
    assert_eq!(harness.lines(), 2 * EVENTS);
}

#[test]
fn a_redelivery_prints_the_number_of_duplicates() {
    let harness = Harness::after_a_run();
    let (code, printed) = harness.state(&["redeliver", "files", "--from", "2001-01-31T00:00:00Z", "--yes"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(printed, @r"
    redeliver events since 2001-01-31T00:00:00Z to sink `files`
      DUPLICATES      60 events of its inputs, numbers 1 to 60 of the journal, with times from TIME to TIME. They are delivered again, with the same ids, at the next `auditflow run`
      range           the journal is in the order of collection: all events from the first page with an event of that time on, including older ones
      target          the events are appended again, where `path` puts them now; existing lines stay
      other sinks     receive nothing again; the journal keeps these events until this sink has delivered them
    done
    ");
    let (code, printed) = harness.state(&["redeliver", "files", "--from", "oldest"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(printed, @r"
    nothing to do: the journal holds no event of that time that `files` has delivered
    ");
    harness.pipeline.run_once(&harness.file);
    assert_eq!(harness.lines(), 2 * EVENTS);
}

#[test]
fn trimmed_events_cannot_be_redelivered() {
    let harness = Harness::new();
    let text = fs::read_to_string(&harness.file).unwrap().replace("retention: 1h", "retention: 0s");
    fs::write(&harness.file, text).unwrap();
    harness.pipeline.wait_until_quiet();
    harness.pipeline.run_once(&harness.file);
    // The next run trims the journal first.
    harness.pipeline.run_once(&harness.file);
    insta::assert_snapshot!(harness.rejected(&["redeliver", "files", "--from", "2001-01-31", "--yes"]), @r"
    error: the journal does not hold all events since 2001-01-31T00:00:00Z, only those since TIME (see journal.retention); use --from TIME or later, or --from oldest for all that it holds; to deliver older events again to all sinks, collect them again: auditflow state rewind DIRECTORY/acme.yaml SOURCE --to 2001-01-31T00:00:00Z --redeliver (sources of `files`: audit)
    ");
}

#[test]
fn a_rename_prints_what_it_keeps_and_follows_the_file() {
    let harness = Harness::after_a_run();
    insta::assert_snapshot!(harness.rejected(&["rename", "audit", "--to", "clumio_eu", "--yes"]), @r"
    error: `audit` is still in DIRECTORY/acme.yaml: the next run would start it without recorded state; change the name to `clumio_eu` there, then repeat this command
    ");
    harness.write("clumio_eu", "archive", "");
    insta::assert_snapshot!(harness.rejected(&["rename", "audt", "--to", "clumio_eu", "--yes"]), @r"
    error: source `audt` has never run in DIRECTORY/data; `auditflow status DIRECTORY/acme.yaml` lists the names that are recorded there
    ");
    insta::assert_snapshot!(harness.rejected(&["rename", "audit", "--to", "clumio_us", "--yes"]), @r"
    error: DIRECTORY/acme.yaml has no source or sink `clumio_us`; change `audit` to it there, in inputs too, then repeat this command
    ");
    let (code, printed) = harness.state(&["rename", "audit", "--to", "clumio_eu", "--yes"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(printed, @r"
    rename source `audit` to `clumio_eu`
      kept            coverage (up to TIME), 60 events and the keys for deduplication: nothing is collected again
      ids             do not change: the name of the source is not part of them
      `source`        is `clumio_eu` in events that are delivered from now on, including undelivered ones among the 60 events in the journal; delivered events keep `audit`
      inputs          come from the file: replace `audit` by `clumio_eu` there
    done
    ");
    let (code, printed) = harness.state(&["rename", "files", "--to", "archive", "--yes"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(printed, @r"
    rename sink `files` to `archive`
      kept            its position (event 60 of the journal) and 60 events delivered: nothing is delivered again
      target          the files stay unchanged
      dead letter     goes to dead_letter/archive.ndjson from now on; dead_letter/files.ndjson stays
    done
    ");
    harness.pipeline.run_once(&harness.file);
    assert_eq!(harness.lines(), EVENTS);
    // Repeating it is not an error: a script may run again after it was killed.
    let (code, printed) = harness.state(&["rename", "files", "--to", "archive", "--yes"]);
    assert_eq!(code, 0);
    assert!(printed.starts_with("nothing to do: no sink `files` is recorded"), "{printed}");
    // A name with recorded state is rejected.
    harness.write("audit", "files", "");
    harness.pipeline.run_once(&harness.file);
    harness.write("clumio_eu", "archive", "");
    insta::assert_snapshot!(harness.rejected(&["rename", "files", "--to", "archive", "--yes"]), @r"
    error: the sink `archive` has recorded state of its own; use another name, or remove `archive` from the file and its state from the journal first: auditflow state remove DIRECTORY/acme.yaml archive
    ");
}

#[test]
fn a_reset_prints_duplicates_and_losses() {
    let harness = Harness::after_a_run();
    let (code, printed) = harness.state(&["reset", "audit"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(printed, @r"
    reset source `audit`
      cleared         coverage from TIME to TIME and the keys for deduplication
      kept            60 events in the journal; sinks that have not delivered them still do
      DUPLICATES      all events since TIME are collected and delivered again, with the same ids, to: files
      alternative     to read again without duplicates: auditflow state rewind DIRECTORY/acme.yaml audit --to TIME
    error: nothing was changed: there is no terminal for the confirmation; add --yes to make this change
    ");
    let (_, printed) = harness.state(&["reset", "files"]);
    insta::assert_snapshot!(printed, @r"
    reset sink `files`
      cleared         its position (event 60 of the journal) and its statistics
      DUPLICATES      the sink starts at the oldest event in the journal, 1: 60 events that it has already delivered are delivered again, with the same ids; the events are appended again, where `path` puts them now; existing lines stay
    error: nothing was changed: there is no terminal for the confirmation; add --yes to make this change
    ");
    harness.write("audit", "files", ", start: now");
    let (_, printed) = harness.state(&["reset", "files"]);
    insta::assert_snapshot!(printed, @r"
    reset sink `files`
      cleared         its position (event 60 of the journal) and its statistics
      LOST            the sink starts after event 60 (`start: now`): 0 events that it has not delivered yet are never delivered to it
    error: nothing was changed: there is no terminal for the confirmation; add --yes to make this change
    ");
    insta::assert_snapshot!(harness.rejected(&["remove", "files", "--yes"]), @r"
    error: `files` is still in DIRECTORY/acme.yaml; remove it from the file first, or let it start over: auditflow state reset DIRECTORY/acme.yaml files
    ");
    assert_eq!(harness.state(&["reset", "files", "--yes"]).0, 0);
    assert_eq!(harness.state(&["reset", "audit", "--yes"]).0, 0);
    harness.pipeline.run_once(&harness.file);
    assert_eq!(harness.lines(), 2 * EVENTS);
}

#[test]
fn removing_what_is_no_longer_in_the_file_deletes_its_state() {
    let harness = Harness::after_a_run();
    harness.write("other", "others", "");
    insta::assert_snapshot!(harness.rejected(&["reset", "audit", "--yes"]), @r"
    error: DIRECTORY/acme.yaml has no source or sink `audit`; to remove the recorded state of one that is no longer in the file: auditflow state remove DIRECTORY/acme.yaml audit
    ");
    let (code, printed) = harness.state(&["remove", "audit", "--yes"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(printed, @r"
    remove source `audit`, which is no longer in the file
      deleted         coverage from TIME to TIME, its statistics and the keys for deduplication
      LOST            60 events of it are deleted from the journal; those that a sink has not delivered yet are never delivered
      name            is free; a source that gets it starts without recorded state
    done
    ");
    let (code, printed) = harness.state(&["remove", "files", "--yes"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(printed, @r"
    remove sink `files`, which is no longer in the file
      deleted         its position (event 60 of the journal) and its statistics
      journal         no longer keeps events for it
      target          what the sink has written stays; a sink that gets this name starts without recorded state
    done
    ");
    insta::assert_snapshot!(harness.rejected(&["remove", "files", "--yes"]), @r"
    error: `files` has never run in DIRECTORY/data; `auditflow status DIRECTORY/acme.yaml` lists the names that are recorded there
    ");
}

#[test]
fn time_that_is_not_covered_is_shown_until_it_is_accepted() {
    let harness = Harness::after_a_run();
    let (from, to) = ("2019-01-31T08:00:00Z", "2019-01-31T09:00:00Z");
    harness.mark_unreadable(from, to);
    let (code, status) = harness.report(&["status"]);
    assert_eq!(code, 1);
    assert!(status.contains("! audit: 1h unreadable\n"), "{status}");
    let (code, coverage) = harness.report(&["coverage"]);
    assert_eq!(code, 1);
    assert!(
        coverage.contains("auditflow state accept ") && coverage.contains("500 Internal Server Error"),
        "{coverage}"
    );

    let accept = |from, to, last| harness.state(&["accept", "audit", "--from", from, "--to", to, last]);
    insta::assert_snapshot!(harness.rejected(&["accept", "audit", "--from", to, "--to", from, "--yes"]), @r"
    error: --to 2019-01-31T08:00:00Z is not after --from 2019-01-31T09:00:00Z; write the beginning of the time first
    ");
    insta::assert_snapshot!(harness.rejected(&["accept", "audt", "--from", from, "--to", to, "--yes"]), @r"
    error: DIRECTORY/acme.yaml has no source `audt`; it has: audit
    ");
    let (code, printed) = accept(from, "2019-01-31T08:30:00Z", "--dry-run");
    assert_eq!(code, 0);
    insta::assert_snapshot!(printed, @r"
    accept 1 window of source `audit`
      unreadable      2019-01-31T08:00:00Z to 2019-01-31T08:30:00Z (30m): 500 Internal Server Error
      then            this time counts as covered, and no recheck reads it again; its evidence keeps the reasons
      kept            what was read of it was delivered, and stays delivered
      alternative     to read it again without duplicates: auditflow state rewind DIRECTORY/acme.yaml audit --to 2019-01-31T08:00:00Z
    dry run: nothing was changed
    ");
    assert_eq!(harness.report(&["status"]).0, 1, "a dry run changes nothing");
    let (code, printed) = accept(from, "2019-01-31T08:30:00Z", "--yes");
    assert_eq!((code, printed.ends_with("\ndone\n")), (0, true), "{printed}");
    let (_, status) = harness.report(&["status"]);
    assert!(status.contains("! audit: 30m unreadable\n"), "{status}");
    let (code, _) = accept("2019-01-31", "2019-02-01", "--yes");
    assert_eq!((code, harness.report(&["status"]).0, harness.report(&["coverage"]).0), (0, 0, 0));
    let (code, printed) = accept(from, to, "--yes");
    assert_eq!(code, 0);
    insta::assert_snapshot!(printed, @r"
    nothing to do: `audit` has no time in doubt from 2019-01-31T08:00:00Z to 2019-01-31T09:00:00Z
    ");
    let (_, evidence) = harness.report(&["coverage", "--evidence"]);
    assert!(evidence.contains("reasons: 500 Internal Server Error, accepted"), "{evidence}");
    // It is not read again.
    harness.pipeline.run_once(&harness.file);
    assert_eq!(harness.lines(), EVENTS);
}

#[test]
fn a_running_pipeline_is_rejected() {
    let harness = Harness::after_a_run();
    let arguments = ["run", harness.file.to_str().unwrap(), "--skip-check"];
    let mut child = harness.pipeline.program(&arguments).spawn().unwrap();
    common::until("it runs", || lock::owner(&harness.pipeline.path("data")).is_some());
    for arguments in [
        ["rewind", "audit", "--to", "2001-01-31", "--yes"].as_slice(),
        &["redeliver", "files", "--from", "oldest", "--yes"],
        &["accept", "audit", "--from", "2001-01-31", "--to", "2001-02-01", "--yes"],
        &["rename", "files", "--to", "archive", "--yes"],
        &["reset", "files", "--dry-run"],
    ] {
        let (code, printed) = harness.state(arguments);
        assert_eq!(code, 1);
        assert_eq!(
            printed,
            format!("error: acme is running (process {}); stop it, then repeat this command\n", child.id())
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(harness.state(&["reset", "files", "--dry-run"]).0, 0);
}

#[test]
fn unknown_names_and_empty_data_directories_are_reported() {
    let harness = Harness::new();
    insta::assert_snapshot!(harness.state(&["rewind", "audit", "--to", "2001-01-31"]).1, @r"
    error: nothing has run yet in DIRECTORY/data: there is no state to change
    ");
    assert!(!harness.pipeline.path("data").exists());
    let harness = Harness::after_a_run();
    insta::assert_snapshot!(harness.rejected(&["rewind", "audt", "--to", "2001-01-31"]), @r"
    error: DIRECTORY/acme.yaml has no source `audt`; it has: audit
    ");
    insta::assert_snapshot!(harness.rejected(&["redeliver", "audit", "--from", "2001-01-31"]), @r"
    error: DIRECTORY/acme.yaml has no sink `audit`; it has: files
    ");
    let (code, printed) = harness.state(&["rewind", "audit", "--to", "yesterday"]);
    assert_eq!(code, 2);
    assert!(printed.contains("write a time such as"), "{printed}");
}
