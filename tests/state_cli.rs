//! `auditflow state` on the real program: what each command says, when it refuses, and that it does nothing without consent.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use auditflow::journal::lock;
use auditflow::simulator::{SimulatorOptions, Variants};
use common::World;

const EVENTS: usize = 60;

/// One vendor whose events all happened before; all of them are in the file `out/clumio.ndjson` and in the journal.
struct Stage {
    world: World,
    file: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let mut variants = Variants::default();
        variants.lift_rate_limits();
        let world = World::new(SimulatorOptions {
            events_per_vendor: EVENTS as u64,
            variants,
            clock: common::system_clock(),
            ..SimulatorOptions::default()
        });
        world.simulator.control().stop_growth();
        let file = world.path("acme.yaml");
        let stage = Self { world, file };
        stage.write("audit", "files", "");
        stage
    }

    fn after_a_run() -> Self {
        let stage = Self::new();
        stage.world.wait_until_quiet();
        stage.world.run_once(&stage.file);
        assert_eq!(stage.lines(), EVENTS);
        stage
    }

    fn write(&self, source: &str, sink: &str, of_sink: &str) {
        let folder = self.world.folder.path().display();
        let text = format!(
            "data_dir: {folder}/data
journal: {{retention: 1h}}
sources:
  {source}: {{type: clumio, base_url: \"${{SIMULATOR}}\", access_token: \"${{CLUMIO_ACCESS_TOKEN}}\", backfill_start_time: earliest, settle: 1s, rate_limit: 1000/s}}
transforms:
  events: {{type: normalize, inputs: [{source}]}}
sinks:
  {sink}: {{type: file, inputs: [events], path: \"{folder}/out/clumio.ndjson\"{of_sink}}}
"
        );
        fs::write(&self.file, text).unwrap();
    }

    /// The program without any of the secrets that the file names, and without a terminal.
    fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
        let address = format!("http://{}", self.world.simulator.address());
        command.arg("state").args([arguments[0], self.file.to_str().unwrap()]).args(&arguments[1..]);
        command.env_clear().env("SIMULATOR", address).stdin(Stdio::null()).output().unwrap()
    }

    /// Exit code, and all that was said, without what is different each time.
    fn say(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.output(arguments);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        for secret in self.world.simulator.credentials().secrets() {
            assert!(!said.contains(secret), "a secret is shown: {said}");
        }
        assert!(output.status.code() != Some(0) || said.lines().all(|line| line.chars().count() <= 100), "{said}");
        (output.status.code().unwrap(), self.alike(&said))
    }

    fn alike(&self, said: &str) -> String {
        let joined = said.replace(&format!("\n{}", " ".repeat(18)), " ");
        let folder = self.world.folder.path().to_str().unwrap();
        let words: Vec<String> = joined.replace(folder, "FOLDER").split(' ').map(without_times).collect();
        words.join(" ")
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let before = contents(&self.world.path("data/journal.db"));
        let (code, said) = self.say(arguments);
        assert_eq!(code, 1, "{said}");
        assert_eq!(contents(&self.world.path("data/journal.db")), before, "a refused change has changed something");
        said
    }

    fn lines(&self) -> usize {
        fs::read_to_string(self.world.path("out/clumio.ndjson")).unwrap().lines().count()
    }
}

fn contents(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_default()
}

/// A time of this run, or a length of time in parentheses, made the same in every run. The years before are the test's own.
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
fn a_rewind_says_what_it_gives_up_and_needs_consent() {
    let stage = Stage::after_a_run();
    let (code, said) = stage.say(&["rewind", "audit", "--to", "2001-01-31"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(said, @r"
    rewind source `audit` to TIME
      from            TIME, where this source begins; nothing before it is asked for
      given up        TIME to TIME (SPAN)
      asked again     from TIME on, and the overlap before it (not before TIME); at the next `auditflow run`
      not twice       60 events of that time are known and will not be delivered again; what is new goes to: files
      not checked     whether the settings that ids are made of are those of before: variables of the file are not set here
      kept            60 events collected so far, every sink's position, and what is covered before TIME
    error: nothing was changed: there is no terminal to ask on; say it again with --yes to do this
    ");
    let (code, dry) = stage.say(&["rewind", "audit", "--to", "2001-01-31", "--dry-run"]);
    assert_eq!(code, 0);
    assert!(dry.ends_with("nothing was changed: this was a dry run\n"), "{dry}");
    let (code, said) = stage.say(&["rewind", "audit", "--to", "2001-01-31", "--yes"]);
    assert_eq!((code, said.ends_with("\ndone\n")), (0, true), "{said}");
    stage.world.run_once(&stage.file);
    assert_eq!(stage.lines(), EVENTS);
    let (code, said) = stage.say(&["rewind", "audit", "--to", "2101-01-31"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(said, @r"
    nothing to do: no time after 2101-01-31T00:00:00Z is covered by `audit`
    ");
}

#[test]
fn a_rewind_with_redelivery_says_that_events_come_twice() {
    let stage = Stage::after_a_run();
    let (code, said) = stage.say(&["rewind", "audit", "--to", "2001-01-31", "--redeliver", "--yes"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(said, @r"
    rewind source `audit` to TIME
      from            TIME, where this source begins; nothing before it is asked for
      given up        TIME to TIME (SPAN)
      asked again     from TIME on, and the overlap before it (not before TIME); at the next `auditflow run`
      delivered again what the vendor still has of that time, to: files. 60 events of it are known now and come ONCE MORE, with the same ids and new sequence numbers. Events without a time of their own stay known
      kept            60 events collected so far, every sink's position, and what is covered before TIME
    done
    ");
    stage.world.run_once(&stage.file);
    assert_eq!(stage.lines(), 2 * EVENTS);
}

#[test]
fn a_redelivery_says_how_many_come_again() {
    let stage = Stage::after_a_run();
    let (code, said) = stage.say(&["redeliver", "files", "--from", "2001-01-31T00:00:00Z", "--yes"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(said, @r"
    redeliver to sink `files` from 2001-01-31T00:00:00Z
      delivered again 60 events: those of its inputs among the journal's numbers 1 to 60, with times from TIME to TIME. They come ONCE MORE, with the same ids, at the next `auditflow run`
      why these       events stand in the order in which they were collected: from the first block on that has one of that time, all come, older ones among them too
      how             they are appended once more, wherever `path` puts them now; what the files hold already stays
      other sinks     get nothing again; the journal holds these events until this sink has passed them
    done
    ");
    let (code, said) = stage.say(&["redeliver", "files", "--from", "oldest"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(said, @r"
    nothing to do: `files` has delivered no event of that time that is held
    ");
    stage.world.run_once(&stage.file);
    assert_eq!(stage.lines(), 2 * EVENTS);
}

#[test]
fn what_the_journal_no_longer_holds_cannot_be_delivered_again() {
    let stage = Stage::new();
    let text = fs::read_to_string(&stage.file).unwrap().replace("retention: 1h", "retention: 0s");
    fs::write(&stage.file, text).unwrap();
    stage.world.wait_until_quiet();
    stage.world.run_once(&stage.file);
    // The next run's first deed is to trim.
    stage.world.run_once(&stage.file);
    insta::assert_snapshot!(stage.refused(&["redeliver", "files", "--from", "2001-01-31", "--yes"]), @r"
    error: not all events from 2001-01-31T00:00:00Z on are still in the journal: all from TIME on are (journal.retention says for how long); give --from TIME or later, or --from oldest for whatever is held; to have the others once more, let a source read them again, for all its sinks: auditflow state rewind FOLDER/acme.yaml SOURCE --to 2001-01-31T00:00:00Z --redeliver (sources of `files`: audit)
    ");
}

#[test]
fn a_rename_says_what_stays_and_wants_the_file_to_say_it_first() {
    let stage = Stage::after_a_run();
    insta::assert_snapshot!(stage.refused(&["rename", "audit", "clumio_eu", "--yes"]), @r"
    error: `audit` still stands in FOLDER/acme.yaml: under that name it would begin anew at the next start; write `clumio_eu` instead, then say this again
    ");
    stage.write("clumio_eu", "archive", "");
    insta::assert_snapshot!(stage.refused(&["rename", "audt", "clumio_eu", "--yes"]), @r"
    error: no source `audt` has ever run in FOLDER/data; `auditflow status FOLDER/acme.yaml` shows the names that it knows
    ");
    insta::assert_snapshot!(stage.refused(&["rename", "audit", "clumio_us", "--yes"]), @r"
    error: FOLDER/acme.yaml has no source or sink `clumio_us`; write it there instead of `audit`, wherever that stands, then say this again
    ");
    let (code, said) = stage.say(&["rename", "audit", "clumio_eu", "--yes"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(said, @r"
    rename source `audit` to `clumio_eu`
      kept            what is covered (up to TIME), 60 events and all keys: nothing is read anew, nothing comes twice
      ids             stay as they are: no name of a source is a part of them
      `source`        events say `clumio_eu` from now on, 60 events among them that the journal holds and that some sink may still have to deliver; what was delivered says `audit`
      inputs          are taken from the file: whatever named `audit` must name `clumio_eu` now
    done
    ");
    let (code, said) = stage.say(&["rename", "files", "archive", "--yes"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(said, @r"
    rename sink `files` to `archive`
      kept            its position, behind event 60 of the journal, and 60 events delivered: nothing comes twice
      outside         the files stay as they are
      dead letter     goes to dead_letter/archive.ndjson from now on; dead_letter/files.ndjson stays
    done
    ");
    stage.world.run_once(&stage.file);
    assert_eq!(stage.lines(), EVENTS);
    // Said again, it is no error: a script that was killed need not know how far it had come.
    let (code, said) = stage.say(&["rename", "files", "archive", "--yes"]);
    assert_eq!(code, 0);
    assert!(said.starts_with("nothing to do: no sink `files` is known"), "{said}");
    // A name that has a past already is not given away.
    stage.write("audit", "files", "");
    stage.world.run_once(&stage.file);
    stage.write("clumio_eu", "archive", "");
    insta::assert_snapshot!(stage.refused(&["rename", "files", "archive", "--yes"]), @r"
    error: the sink `archive` has a past of its own already, which would be lost; choose another name, or give that past up first: auditflow state forget FOLDER/acme.yaml archive
    ");
}

#[test]
fn forgetting_what_is_in_the_file_says_that_it_begins_anew() {
    let stage = Stage::after_a_run();
    let (code, said) = stage.say(&["forget", "audit"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(said, @r"
    forget the past of source `audit`, which is in the file and begins anew
      forgotten       that TIME to TIME is covered, and which events were delivered
      kept            60 events in the journal: sinks that have not had them still get them
      TWICE           everything from TIME on is read and delivered ONCE MORE to: files, with the same ids
      instead         to read again without getting events twice: auditflow state rewind FOLDER/acme.yaml audit --to TIME
    error: nothing was changed: there is no terminal to ask on; say it again with --yes to do this
    ");
    let (_, said) = stage.say(&["forget", "files"]);
    insta::assert_snapshot!(said, @r"
    forget the past of sink `files`, which is in the file and begins anew
      forgotten       its position, behind event 60 of the journal, and its figures
      TWICE           it begins at the oldest event held, 1: 60 events that it has delivered come ONCE MORE, with the same ids; they are appended once more, wherever `path` puts them now; what the files hold already stays
    error: nothing was changed: there is no terminal to ask on; say it again with --yes to do this
    ");
    stage.write("audit", "files", ", start: now");
    let (_, said) = stage.say(&["forget", "files"]);
    insta::assert_snapshot!(said, @r"
    forget the past of sink `files`, which is in the file and begins anew
      forgotten       its position, behind event 60 of the journal, and its figures
      MISSED          it begins behind event 60 (`start: now`): 0 events that wait for it are NEVER delivered to it
    error: nothing was changed: there is no terminal to ask on; say it again with --yes to do this
    ");
    assert_eq!(stage.say(&["forget", "files", "--yes"]).0, 0);
    assert_eq!(stage.say(&["forget", "audit", "--yes"]).0, 0);
    stage.world.run_once(&stage.file);
    assert_eq!(stage.lines(), 2 * EVENTS);
}

#[test]
fn forgetting_what_is_not_in_the_file_cleans_up() {
    let stage = Stage::after_a_run();
    stage.write("other", "others", "");
    let (code, said) = stage.say(&["forget", "audit", "--yes"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(said, @r"
    forget source `audit`, which is not in the file any more
      forgotten       that TIME to TIME is covered, its figures, and which events were delivered
      removed         60 events of it in the journal: those that no sink has delivered yet are LOST (while it is not in the file, they reach none)
      then            the name is free: whoever has it next begins with nothing
    done
    ");
    let (code, said) = stage.say(&["forget", "files", "--yes"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(said, @r"
    forget sink `files`, which is not in the file any more
      forgotten       its position, behind event 60 of the journal, and its figures
      then            the journal no longer holds events back for it
      outside         what it has written stays as it is; a sink that gets this name begins anew
    done
    ");
    insta::assert_snapshot!(stage.refused(&["forget", "files", "--yes"]), @r"
    error: nothing called `files` has ever run in FOLDER/data; `auditflow status FOLDER/acme.yaml` shows the names that it knows
    ");
}

#[test]
fn a_pipeline_that_runs_is_left_alone() {
    let stage = Stage::after_a_run();
    let arguments = ["run", stage.file.to_str().unwrap(), "--skip-check"];
    let mut child = stage.world.program(&arguments).spawn().unwrap();
    common::until("it runs", || lock::holder(&stage.world.path("data")).is_some());
    for arguments in [
        ["rewind", "audit", "--to", "2001-01-31", "--yes"].as_slice(),
        &["redeliver", "files", "--from", "oldest", "--yes"],
        &["rename", "files", "archive", "--yes"],
        &["forget", "files", "--dry-run"],
    ] {
        let (code, said) = stage.say(arguments);
        assert_eq!(code, 1);
        assert_eq!(said, format!("error: acme runs (process {}); stop it first, then say this again\n", child.id()));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(stage.say(&["forget", "files", "--dry-run"]).0, 0);
}

#[test]
fn names_that_nobody_knows_and_folders_where_nothing_ran_are_told() {
    let stage = Stage::new();
    insta::assert_snapshot!(stage.say(&["rewind", "audit", "--to", "2001-01-31"]).1, @r"
    error: nothing has run yet in FOLDER/data: there is nothing to change
    ");
    assert!(!stage.world.path("data").exists());
    let stage = Stage::after_a_run();
    insta::assert_snapshot!(stage.refused(&["rewind", "audt", "--to", "2001-01-31"]), @r"
    error: FOLDER/acme.yaml has no source `audt`; it has: audit
    ");
    insta::assert_snapshot!(stage.refused(&["redeliver", "audit", "--from", "2001-01-31"]), @r"
    error: FOLDER/acme.yaml has no sink `audit`; it has: files
    ");
    let (code, said) = stage.say(&["rewind", "audit", "--to", "yesterday"]);
    assert_eq!(code, 2);
    assert!(said.contains("write a time such as"), "{said}");
}
