//! A pipeline with shards: several processes and kills, refusals, reports over all shards, and reloads.
#![allow(clippy::unwrap_used)]

mod common;
#[cfg(feature = "s3")]
#[path = "common/store.rs"]
#[allow(dead_code, reason = "shared with other tests, which use more of it")]
mod store;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use auditflow::shard::{ShardCount, ShardKey};
use auditflow::simulator::VendorName;
use auditflow::simulator::proof::{self, Delivered};
use common::{TestPipeline, until};
use rustix::process::{Pid, Signal, kill_process};

const TENANTS: usize = 12;

/// The pipeline file: a source for each tenant, and whatever else.
fn write_pipeline(pipeline: &TestPipeline, shards: &str, tenants: usize) -> String {
    write_pipeline_with(pipeline, shards, tenants, FILES)
}

const FILES: &str = "files: {type: file, inputs: [events], manifest: true, path: \"out/{{ shard }}/{{ source }}.ndjson\", \
                     batch: {max_events: 7, timeout_secs: 0.05}}";

fn write_pipeline_with(pipeline: &TestPipeline, shards: &str, tenants: usize, sinks: &str) -> String {
    let mut text = format!("name: acme\n{shards}\nsources:\n");
    for tenant in 0..tenants {
        writeln!(
            text,
            "  tenant_{tenant:02}: {{type: merge, tenant: t{tenant}, base_url: \"${{SIMULATOR}}/api\", api_key: \"${{MERGE_API_KEY}}\", \
             backfill_start_time: earliest, poll_interval: 500ms, delay: 1s, overlap: 120s, rate_limit: 1000/s}}"
        )
        .unwrap();
    }
    write!(text, "transforms:\n  events: {{type: normalize, inputs: [tenant_*]}}\nsinks:\n  {sinks}\n").unwrap();
    let file = pipeline.path("pipeline.yaml");
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Runs a command without the secrets, as reports are.
fn auditflow(pipeline: &TestPipeline, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    command.current_dir(pipeline.directory.path()).env("SIMULATOR", "http://127.0.0.1:1").args(arguments);
    command.output().unwrap()
}

/// Runs a command with the environment of `run`.
fn with_secrets(pipeline: &TestPipeline, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    command.current_dir(pipeline.directory.path()).envs(pipeline.environment()).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(output)))
}

/// A program that is killed when the test ends.
struct Running(Child);

impl Running {
    fn start(pipeline: &TestPipeline, arguments: &[&str]) -> Self {
        let mut command = pipeline.program(&["run", "pipeline.yaml", "--skip-check", "--log-format", "json"]);
        Self(command.current_dir(pipeline.directory.path()).args(arguments).spawn().unwrap())
    }

    fn reload(&self) {
        kill_process(Pid::from_child(&self.0), Signal::HUP).unwrap();
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run_once(pipeline: &TestPipeline, arguments: &[&str]) {
    let mut command = pipeline.program(&["run", "pipeline.yaml", "--once"]);
    let status = command.current_dir(pipeline.directory.path()).args(arguments).status().unwrap();
    assert!(status.success(), "{}", pipeline.log_tail());
}

fn source_of(file: &Path) -> String {
    file.file_stem().unwrap().to_string_lossy().into_owned()
}

/// Each source has exactly the vendor's records, in files of its own shard.
fn assert_all_once(pipeline: &TestPipeline, tenants: usize) {
    let mut by_source: BTreeMap<String, Vec<Delivered>> = BTreeMap::new();
    let files = common::files_below(&pipeline.path("out"));
    for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "ndjson")) {
        let events = fs::read_to_string(file).unwrap();
        let events = events.lines().map(|line| Delivered::from_line(line).unwrap());
        by_source.entry(source_of(file)).or_default().extend(events);
    }
    let truth = pipeline.simulator.control().truth(VendorName::Merge).unwrap();
    for tenant in 0..tenants {
        let delivered = by_source.remove(&format!("tenant_{tenant:02}")).unwrap_or_default();
        let verdict = proof::compare(truth.iter().map(|record| record.raw.as_str()), &delivered);
        assert!(verdict.expected > 0 && verdict.is_perfect(), "tenant {tenant}: {verdict:?}");
    }
    assert!(by_source.is_empty(), "{:?}", by_source.keys());
}

/// How many events were written whole so far.
fn delivered_events(pipeline: &TestPipeline) -> usize {
    if !pipeline.path("out").exists() {
        return 0;
    }
    let files = common::files_below(&pipeline.path("out"));
    let events = files.iter().filter(|file| file.extension().is_some_and(|end| end == "ndjson"));
    events.map(|file| common::lines_so_far(file)).sum()
}

fn get(address: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn two_processes_with_kills_deliver_each_source_once_and_reports_join_the_shards() {
    let pipeline = TestPipeline::without_growth(60);
    write_pipeline(&pipeline, "shards: 4", TENANTS);
    let mut random = fastrand::Rng::with_seed(common::seed());
    let expected = pipeline.simulator.control().truth(VendorName::Merge).unwrap().len() * TENANTS;
    for _ in 0..6 {
        let wanted = (delivered_events(&pipeline) + random.usize(1..150)).min(expected);
        let running =
            [Running::start(&pipeline, &["--process", "0/2"]), Running::start(&pipeline, &["--process", "pod-1/2"])];
        until("both deliver", || delivered_events(&pipeline) >= wanted);
        drop(running);
    }
    // A process that runs half of the shards, while the other is away.
    run_once(&pipeline, &["--process", "0/2"]);
    run_once(&pipeline, &["--shard", "1,3"]);
    assert_all_once(&pipeline, TENANTS);

    let status = json(&auditflow(&pipeline, &["status", "pipeline.yaml", "--json"]));
    assert_eq!(status["sinks"].as_array().unwrap().len(), 1);
    assert_eq!(status["sinks"][0]["delivered"].as_u64(), Some(expected as u64));
    assert_eq!(status["sinks"][0]["pending_events"], 0);
    assert_eq!(status["shards"].as_array().unwrap().len(), 4);
    let shards: Vec<_> =
        status["sources"].as_array().unwrap().iter().map(|source| source["shard"].as_u64().unwrap()).collect();
    assert!((0..4).filter(|shard| shards.contains(shard)).count() > 2, "{shards:?}");
    let coverage = json(&auditflow(&pipeline, &["coverage", "pipeline.yaml", "--json"]));
    assert!(coverage["sources"].as_array().unwrap().iter().all(|source| source["events"].as_u64() != Some(0)));
    let verify = auditflow(&pipeline, &["verify", "pipeline.yaml"]);
    let verified = String::from_utf8_lossy(&verify.stdout).into_owned();
    assert!(verify.status.success() && verified.contains("files of shard 0 (file)"), "{verified}{}", stderr(&verify));
    let tapped = auditflow(&pipeline, &["tap", "pipeline.yaml", "--limit", "1000000"]);
    assert_eq!(tapped.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count(), expected);
    let mapping = auditflow(&pipeline, &["mapping", "--pipeline", "pipeline.yaml", "--json"]);
    assert!(mapping.status.success(), "{}", stderr(&mapping));

    // A shard whose directory is not here is elsewhere, and does not begin anew.
    fs::rename(pipeline.path("data/shard-3"), pipeline.path("moved")).unwrap();
    let status = auditflow(&pipeline, &["status", "pipeline.yaml"]);
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(text.contains("3 not in this data directory"), "{text}");
    let mut all = pipeline.program(&["run", "pipeline.yaml", "--once"]);
    let refused = all.current_dir(pipeline.directory.path()).stderr(Stdio::piped()).output().unwrap();
    assert!(stderr(&refused).contains("shard 3 has been here"), "{}", stderr(&refused));
    assert_nothing_is_said_of_a_shard_elsewhere(&pipeline);

    // A damaged journal does not hide the others.
    fs::write(pipeline.path("data/shard-2/journal.db"), "damaged".repeat(1_000)).unwrap();
    let status = auditflow(&pipeline, &["status", "pipeline.yaml"]);
    assert_eq!(status.status.code(), Some(1));
    assert!(stdout(&status).contains("! shard 2: its journal cannot be read"), "{}", stdout(&status));
    let status = json(&auditflow(&pipeline, &["status", "pipeline.yaml", "--json"]));
    let states: Vec<_> = status["shards"].as_array().unwrap().iter().map(|shard| shard["state"].clone()).collect();
    assert_eq!(states, ["stopped", "stopped", "unreadable", "elsewhere"]);
    assert!(status["sinks"][0]["delivered"].as_u64().unwrap() > 0);
    let verify = auditflow(&pipeline, &["verify", "pipeline.yaml"]);
    assert!(stdout(&verify).contains("NOT VERIFIED: the journal of shard 2 cannot be read"), "{}", stdout(&verify));
    assert_eq!(auditflow(&pipeline, &["plan", "pipeline.yaml"]).status.code(), Some(1));
}

/// Shard 3 is elsewhere.
fn assert_nothing_is_said_of_a_shard_elsewhere(pipeline: &TestPipeline) {
    let report = |command| auditflow(pipeline, &[command, "pipeline.yaml", "--json"]);
    let status = json(&report("status"));
    assert_eq!((&status["complete"], &status["sinks"][0]["delivered_to"]), (&false.into(), &serde_json::Value::Null));
    let is_elsewhere = |source: &&serde_json::Value| source["shard"] == 3;
    let source = status["sources"].as_array().unwrap().iter().find(is_elsewhere).unwrap().clone();
    assert_eq!((&source["state"], &source["covered_to"]), (&"elsewhere".into(), &serde_json::Value::Null));
    for command in ["plan", "coverage"] {
        let report = json(&report(command));
        let sources = report["sources"].as_array().unwrap();
        let of_source = sources.iter().find(|other| other["name"] == source["name"]).unwrap();
        assert_eq!(of_source["not_known"], "the journal of shard 3 is not in this data directory");
        assert!(sources.iter().any(|source| source["not_known"].is_null()), "{report}");
        let text = stdout(&auditflow(pipeline, &[command, "pipeline.yaml"]));
        assert!(text.contains("the journal of shard 3 is not in this data directory"), "{text}");
        assert!(!text.contains("backfill ") && !text.contains("has not started"), "{text}");
    }
    let verify = report("verify");
    assert_eq!((verify.status.code(), &json(&verify)["not_verified"][0]["shard"]), (Some(1), &3.into()));
}

#[test]
fn what_would_collect_again_is_refused() {
    let pipeline = TestPipeline::without_growth(5);
    let file = write_pipeline(&pipeline, "shards: 4", TENANTS);
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("tenant: t11, ", "")).unwrap();
    run_once(&pipeline, &[]);
    assert_all_once(&pipeline, TENANTS);
    assert_state_commands_find_the_shard(&pipeline, &file);
    let run = |arguments: &[&str]| {
        let mut command = pipeline.program(&["run", "pipeline.yaml", "--once", "--skip-check"]);
        let output =
            command.current_dir(pipeline.directory.path()).args(arguments).stderr(Stdio::piped()).output().unwrap();
        assert!(!output.status.success());
        stderr(&output)
    };
    let text = fs::read_to_string(&file).unwrap();
    let with = |from: &str, to: &str, arguments: &[&str]| {
        fs::write(&file, text.replace(from, to)).unwrap();
        let refused = run(arguments);
        fs::write(&file, &text).unwrap();
        refused
    };
    let refused = with("shards: 4", "shards: 5", &[]);
    assert!(refused.contains("was made with `shards: 4`") && refused.contains("with `shards: 5`"), "{refused}");
    let refused = with("shards: 4", "", &[]);
    assert!(refused.contains("set `shards` in the pipeline file"), "{refused}");
    let refused = with("shards: 4", "", &["--shard", "1"]);
    assert!(refused.contains("set `shards` in the pipeline file"), "{refused}");
    let refused = with("out/{{ shard }}/{{ source }}", "out/{{ source }}", &[]);
    assert!(refused.contains("{{ shard }}") && refused.contains("same files"), "{refused}");
    let refused = with("tenant: t0,", "tenant: t0, rate_limit_group: shared-2,", &[]);
    assert!(refused.contains("source `tenant_00` belongs to shard"), "{refused}");
    assert!(run(&["--shard", "4"]).contains("the shards 0 to 3"));
    assert!(run(&["--process", "2/2"]).contains("there is no process 2 of 2"));

    // Once its state is removed, the name is free.
    let others: String =
        text.lines().filter(|line| !line.contains("tenant_00")).map(|line| format!("{line}\n")).collect();
    fs::write(&file, others).unwrap();
    let removed = auditflow(&pipeline, &["state", "remove", "pipeline.yaml", "tenant_00", "--yes"]);
    assert!(removed.status.success(), "{}", stderr(&removed));
    fs::write(&file, text.replace("tenant: t0,", "tenant: t0, rate_limit_group: shared-2,")).unwrap();
    run_once(&pipeline, &[]);

    // One shard twice.
    let _running = Running::start(&pipeline, &["--shard", "0-1"]);
    let status = || {
        let status = auditflow(&pipeline, &["status", "pipeline.yaml"]);
        String::from_utf8_lossy(&status.stdout).into_owned()
    };
    until("two shards run", || status().contains("0-1 running (process"));
    let refused = run(&["--shard", "1-2"]);
    assert!(refused.contains("shard 1: another auditflow"), "{refused}");
    assert!(status().contains("2-3 stopped"), "{}", status());
}

fn assert_state_commands_find_the_shard(pipeline: &TestPipeline, file: &str) {
    let state = |command: &str, arguments: &[&str]| {
        with_secrets(pipeline, &[&["state", command, "pipeline.yaml"], arguments].concat())
    };
    let refused = |output: Output, text: &str| {
        assert!(
            output.status.code() == Some(1) && stderr(&output).contains(text),
            "{}{}",
            stdout(&output),
            stderr(&output)
        );
        stderr(&output)
    };
    refused(state("reset", &["files", "--dry-run"]), "name it with --shard");
    let status = json(&auditflow(pipeline, &["status", "pipeline.yaml", "--json"]));
    let shard = status["sources"][0]["shard"].as_u64().unwrap();
    let other = ((shard + 1) % 4).to_string();
    let found = state("reset", &["tenant_00", "--dry-run"]);
    assert!(found.status.success() && stdout(&found).contains("reset source `tenant_00`"), "{}", stderr(&found));
    for (command, more) in [("rewind", &["--to", "2026-01-01"][..]), ("reset", &[]), ("remove", &[])] {
        let arguments = [&["tenant_00", "--dry-run", "--shard", &other], more].concat();
        refused(state(command, &arguments), &format!("belongs to shard {shard}: use --shard {shard}"));
    }
    refused(state("remove", &["tenant_00", "--yes"]), "is still in pipeline.yaml");
    refused(state("reset", &["nobody", "--dry-run"]), "has no source or sink `nobody`");

    // With another account, which is not known here, the source would seem to be in no file.
    let text = fs::read_to_string(file).unwrap();
    fs::write(file, text.replace("tenant: t0,", "tenant: \"${TEN}\",")).unwrap();
    // Reports know its shard from the journal.
    let status = json(&auditflow(pipeline, &["status", "pipeline.yaml", "--json"]));
    assert_eq!(status["sources"][0]["shard"], shard);
    for shard in ["0", "1", "2", "3"] {
        let output = state("remove", &["tenant_00", "--yes", "--shard", shard]);
        refused(output, "variables of the file are not set, and the shard of source `tenant_00` may depend on them");
    }

    // A new name may belong to another shard.
    let count = ShardCount::try_from(4).unwrap();
    let shard_of =
        |source: &str| ShardKey { vendor: "merge", source, account: None, rate_limit_group: None }.shard(count);
    let names = (0..).map(|number| format!("tenant_new_{number}"));
    let new = names.into_iter().find(|name| shard_of(name) != shard_of("tenant_11")).unwrap();
    let renamed = text.replace("tenant_11: {", &format!("{new}: {{"));
    fs::write(file, &renamed).unwrap();
    let rename = || state("rename", &["tenant_11", "--to", &new, "--dry-run"]);
    let text_of_refusal = refused(rename(), "a rename cannot move it to another journal");
    let group = text_of_refusal.split("`rate_limit_group: ").nth(1).unwrap().split('`').next().unwrap();
    let with_group = format!("{new}: {{rate_limit_group: {group}, ");
    fs::write(file, renamed.replace(&format!("{new}: {{"), &with_group)).unwrap();
    let found = rename();
    assert!(found.status.success() && stdout(&found).contains("rename source `tenant_11`"), "{}", stderr(&found));
    fs::write(file, text).unwrap();
}

#[test]
fn one_process_serves_and_reloads_its_shards() {
    let pipeline = TestPipeline::without_growth(5);
    let file = write_pipeline(&pipeline, "shards: 16\napi: {address: \"127.0.0.1:0\"}", 3);
    let mut running = Running::start(&pipeline, &["--shard", "0-15"]);
    let line: serde_json::Value = serde_json::from_str(&pipeline.until_event("api_started", "")).unwrap();
    let address = line["address"].as_str().unwrap().to_owned();
    let events = pipeline.simulator.control().truth(VendorName::Merge).unwrap().len();
    let delivered = || format!("auditflow_sink_delivered_total{{sink=\"files\",type=\"file\"}} {}\n", 3 * events);
    until("three sources are delivered", || get(&address, "/metrics").contains(&delivered()));
    let status = get(&address, "/status.json");
    assert!(status.contains("\"shard\":15") && status.contains("\"running\""), "{status}");
    assert!(get(&address, "/").contains("0-15 running"), "the page");
    assert!(get(&address, "/readyz").contains("ok"));
    let metrics = get(&address, "/metrics");
    for (metric, value) in [("journal_full", " 0"), ("unreadable", " 0"), ("journal_bytes", "")] {
        assert!(metrics.contains(&format!("\nauditflow_shard_{metric}{{shard=\"15\"}}{value}")), "{metric}: {metrics}");
    }

    // A source that joins begins in a shard that had none.
    write_pipeline(&pipeline, "shards: 16\napi: {address: \"127.0.0.1:0\"}", 4);
    running.reload();
    until("the new source delivers", || {
        let file = common::files_below(&pipeline.path("out")).into_iter().find(|file| source_of(file) == "tenant_03");
        file.is_some_and(|file| common::lines_so_far(&file) == events)
    });
    let line = pipeline.until_event("config_reloaded", "tenant_03");
    assert!(line.contains("\"shard\""), "{line}");

    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("shards: 16", "shards: 15")).unwrap();
    running.reload();
    pipeline.until_event("config_reload_failed", "the number of shards cannot be changed");

    // A source that leaves and comes back with another account would be collected again in its new shard.
    write_pipeline(&pipeline, "shards: 16\napi: {address: \"127.0.0.1:0\"}", 3);
    running.reload();
    pipeline.until_event("config_reloaded", "\"removed\":\"tenant_03\"");
    fs::write(&file, text.replace("tenant: t3,", "tenant: t3, rate_limit_group: shared-2,")).unwrap();
    running.reload();
    pipeline.until_event("config_reload_failed", "source `tenant_03` belongs to shard");
    fs::write(&file, &text).unwrap();
    running.reload();
    until("it is back", || pipeline.event_lines("config_reloaded").last().unwrap().contains("\"added\":\"tenant_03\""));
    assert!(!running.has_ended(), "{}", pipeline.log_tail());
    kill_process(Pid::from_child(&running.0), Signal::TERM).unwrap();
    until("it ends", || running.has_ended());
    assert!(running.0.wait().unwrap().success());
    assert_all_once(&pipeline, 4);
    pipeline.assert_no_secret_anywhere();
}

/// Two processes write the shards of a pipeline below one prefix of a bucket, and into one Delta table, with kills.
#[cfg(feature = "s3")]
#[test]
fn shards_share_a_prefix_and_a_table_in_a_bucket() {
    let pipeline = TestPipeline::without_growth(20);
    let store = store::Store::with_bucket("lake");
    let common = format!(
        "type: s3, inputs: [events], bucket: lake, region: eu-central-1, endpoint: \"{}\", \
         auth: {{access_key_id: {}, secret_access_key: {}}}, batch: {{max_events: 30, timeout_secs: 10ms}}",
        store.endpoint(),
        store::ACCESS_KEY_ID,
        store::SECRET_ACCESS_KEY
    );
    let sinks = format!(
        "plain: {{{common}, key_prefix: plain/, encoding: {{raw: keep}}}}\n  \
         table: {{{common}, key_prefix: \"table/event_date=%Y-%m-%d/\", format: parquet, table: delta}}"
    );
    write_pipeline_with(&pipeline, "shards: 4", 6, &sinks);
    for _ in 0..3 {
        let (before, progress) = (store.objects("lake").len(), pipeline.event_count("progress"));
        let running =
            [Running::start(&pipeline, &["--process", "0/2"]), Running::start(&pipeline, &["--process", "1/2"])];
        until("more objects", || {
            store.objects("lake").len() > before + 4 || pipeline.event_count("progress") > progress
        });
        drop(running);
    }
    let runs = ["0/2", "1/2"].map(|share| {
        let mut command = pipeline.program(&["run", "pipeline.yaml", "--once", "--process", share]);
        command.current_dir(pipeline.directory.path()).spawn().unwrap()
    });
    for run in runs {
        assert!(
            common::wait(run, std::time::Duration::from_secs(120), || pipeline.log_tail()).success(),
            "{}",
            pipeline.log_tail()
        );
    }

    let truth = pipeline.simulator.control().truth(VendorName::Merge).unwrap();
    let objects = store.objects("lake");
    let mut by_tenant: BTreeMap<String, Vec<Delivered>> = BTreeMap::new();
    for (_, bytes) in objects.iter().filter(|(key, _)| key.starts_with("plain/acme-shard-")) {
        let mut text = String::new();
        if flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_string(&mut text).is_err() {
            text = String::from_utf8(zstd::decode_all(bytes.as_slice()).unwrap_or_else(|_| bytes.clone())).unwrap();
        }
        for line in text.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            let tenant = event["tenant"].as_str().unwrap().to_owned();
            by_tenant.entry(tenant).or_default().push(Delivered::from_line(line).unwrap());
        }
    }
    assert_eq!(by_tenant.len(), 6, "{:?}", objects.keys());
    for (tenant, delivered) in by_tenant {
        let verdict = proof::compare(truth.iter().map(|record| record.raw.as_str()), &delivered);
        assert!(verdict.is_perfect(), "{tenant}: {verdict:?}");
    }
    let log = objects.iter().filter(|(key, _)| key.starts_with("table/_delta_log/") && key.ends_with(".json"));
    let entries = log.flat_map(|(_, bytes)| {
        String::from_utf8(bytes.clone()).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let rows: u64 = entries
        .filter_map(|line| {
            serde_json::from_str::<serde_json::Value>(&line).unwrap()["add"]["stats"].as_str().map(str::to_owned)
        })
        .map(|stats| serde_json::from_str::<serde_json::Value>(&stats).unwrap()["numRecords"].as_u64().unwrap())
        .sum();
    assert_eq!(rows, 6 * truth.len() as u64, "rows of the table");
    let mut verify = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    verify.current_dir(pipeline.directory.path()).envs(pipeline.environment()).args(["verify", "pipeline.yaml"]);
    let verify = verify.output().unwrap();
    assert!(verify.status.success(), "{}{}", String::from_utf8_lossy(&verify.stdout), stderr(&verify));
}
