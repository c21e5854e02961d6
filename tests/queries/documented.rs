//! The SQL of `docs/queries.md`, run as it stands, except for its week and its person.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use auditflow::simulator::{MentionRole, Party, RecordMeaning, SimulatorOptions, TruthRecord, VendorName};
use auditflow::time::Timestamp;
use serde_json::{Value, json};

use crate::bucket::Bucket;
use crate::common::{self, TestPipeline};
use crate::store::{self, Store};

/// Names an interpreter that has the packages of `tests/python/requirements.txt`.
const PYTHON_VARIABLE: &str = "AUDITFLOW_TEST_PYTHON";

const DAY: Duration = Duration::from_secs(86_400);
/// The people who are looked for.
const PEOPLE: u64 = 5;

/// Rows of vendor, time in microseconds, and what else is compared. Equal rows are separate.
type Rows = Vec<(String, i64, String)>;

#[test]
#[ignore = "needs a python3 with duckdb, named by AUDITFLOW_TEST_PYTHON: tests/python/requirements.txt"]
fn the_documented_queries_find_what_the_simulator_wrote() {
    let store = Store::start();
    let bucket = Bucket::with_new_name(&store.endpoint(), store::ACCESS_KEY_ID, store::SECRET_ACCESS_KEY);
    bucket.create();
    let pipeline = deliver(&bucket);
    let truth = Truth::read(&pipeline);
    truth.assert_not_empty();
    for form in ["NDJSON files", "Parquet objects"] {
        let answers = ask(&pipeline.path(form), form, &truth);
        let rows = |query: &str, more: fn(&Value) -> String| rows_of(&answers[query], more);
        assert_eq!(
            rows("administrators", |row| format!("{} {}", row["whom"], row["privilege"])),
            truth.administrators(),
            "{form}"
        );
        assert_eq!(rows("failures", |_| String::new()), truth.failures(), "{form}");
        for number in 0..PEOPLE {
            let found = rows(&format!("person {number}"), |row| row["parts"].to_string());
            assert_eq!(found, truth.about(number), "{form}, person {number}");
        }
        let counted: u64 =
            answers["unattributed"].as_array().unwrap().iter().map(|row| row["events"].as_u64().unwrap()).sum();
        assert_eq!(counted, truth.unattributed(), "{form}");
    }
}

/// Two weeks of all vendors, as files and as objects, each below a directory of the name of its form.
fn deliver(bucket: &Bucket) -> TestPipeline {
    let pipeline = TestPipeline::new(SimulatorOptions {
        seed: 13,
        events_per_vendor: 2_000,
        span: 14 * DAY,
        faults: ["ties", "identical_records", "unknown_values"].map(|fault| fault.parse().unwrap()).to_vec(),
        clock: common::system_clock(),
        ..SimulatorOptions::default()
    });
    let sinks = bucket.sink("format: parquet, key_prefix: \"audit/vendor={{ vendor }}/date=%Y-%m-%d/\"")
        + "  files: {type: file, inputs: [events], path: \"NDJSON files/audit/{{ vendor }}/%Y-%m-%d.ndjson\"}\n";
    let file = pipeline.write_pipeline(&sinks);
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    for (key, bytes) in bucket.assert_exact(&pipeline) {
        let copy = pipeline.path("Parquet objects").join(key);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::write(copy, bytes).unwrap();
    }
    pipeline
}

/// The SQL blocks of the page, by their headings.
fn documented() -> BTreeMap<String, Vec<String>> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/queries.md")).unwrap();
    let (mut heading, mut blocks, mut in_sql) = ("", BTreeMap::<String, Vec<String>>::new(), false);
    for line in page.lines() {
        match line {
            "```sql" => {
                in_sql = true;
                blocks.entry(heading.to_owned()).or_default().push(String::new());
            }
            "```" => in_sql = false,
            _ if in_sql => blocks.get_mut(heading).unwrap().last_mut().unwrap().extend([line, "\n"]),
            _ if line.starts_with('#') => heading = line.trim_start_matches('#').trim(),
            _ => {}
        }
    }
    blocks
}

/// The answers of DuckDB in this directory.
fn ask(directory: &Path, form: &str, truth: &Truth) -> Value {
    let mut blocks = documented();
    let mut of = |heading: &str| blocks.remove(heading).unwrap_or_else(|| panic!("no SQL below `{heading}`"));
    let views = [of(form), of("The latest version of each event"), vec!["SET TimeZone = 'UTC'".to_owned()]].concat();
    let [week, administrators] = of("Who made whom an administrator last week?").try_into().unwrap();
    let [failures, unattributed] = of("All failed actions by API keys").try_into().unwrap();
    let [someone, is_person, person] = of("Everything about a person").try_into().unwrap();
    let this_week = format!(
        "SET VARIABLE week_start = TIMESTAMPTZ '{}'; SET VARIABLE week_end = TIMESTAMPTZ '{}'",
        truth.week.0, truth.week.1
    );
    let mut queries = json!({
        "administrators": [week, this_week, administrators], "failures": [failures], "unattributed": [unattributed],
    });
    for number in 0..PEOPLE {
        let values: Vec<String> =
            truth.values_of(number).iter().map(|value| format!("'{}'", value.replace('\'', "''"))).collect();
        let this_person = format!("SET VARIABLE person = [{}]", values.join(", "));
        queries[format!("person {number}")] = json!([someone, is_person, this_person, person]);
    }
    run(directory, &json!({"statements": views, "queries": queries}))
}

fn run(directory: &Path, asked: &Value) -> Value {
    let python = std::env::var(PYTHON_VARIABLE)
        .unwrap_or_else(|_| panic!("set {PYTHON_VARIABLE} to a python3 with tests/python/requirements.txt"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/queries/run.py");
    let mut command = Command::new(python);
    command.arg(script).current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn rows_of(answer: &Value, more: fn(&Value) -> String) -> Rows {
    let rows = answer.as_array().unwrap().iter();
    sorted(rows.map(|row| (row["vendor"].as_str().unwrap().to_owned(), row["timestamp"].as_i64().unwrap(), more(row))))
}

fn sorted(rows: impl Iterator<Item = (String, i64, String)>) -> Rows {
    let mut rows: Rows = rows.collect();
    rows.sort();
    rows
}

/// What the simulator wrote.
struct Truth {
    records: Vec<(VendorName, TruthRecord)>,
    /// The week that is asked about: neither the first nor the last events are in it.
    week: (Timestamp, Timestamp),
}

impl Truth {
    fn read(pipeline: &TestPipeline) -> Self {
        let control = pipeline.simulator.control();
        let of = |vendor| control.truth(vendor).unwrap().into_iter().map(move |record| (vendor, record));
        let end = control.now() - 3 * DAY;
        Self { records: VendorName::ALL.into_iter().flat_map(of).collect(), week: (end - 7 * DAY, end) }
    }

    /// The records with what they mean.
    fn meanings(&self) -> impl Iterator<Item = (VendorName, &TruthRecord, &RecordMeaning)> {
        self.records.iter().map(|(vendor, record)| (*vendor, record, record.meaning.as_ref().unwrap()))
    }

    fn administrators(&self) -> Rows {
        let in_week = |record: &TruthRecord| (self.week.0..self.week.1).contains(&record.timestamp);
        let succeeded = self.meanings().filter(|(_, record, meaning)| in_week(record) && !meaning.failed);
        sorted(succeeded.flat_map(|(vendor, record, meaning)| {
            let made = meaning.grants.iter().filter(|grant| grant.granted && grant.admin);
            made.map(move |grant| {
                let Party { id, name, email } = &grant.grantee;
                let whom = email.as_ref().or(name.as_ref()).or(id.as_ref());
                row(vendor, record, format!("{} {}", json!(whom), json!(grant.privilege)))
            })
        }))
    }

    fn failures(&self) -> Rows {
        let failed = self.meanings().filter(|(.., meaning)| meaning.failed && meaning.by_api);
        sorted(failed.map(|(vendor, record, _)| row(vendor, record, String::new())))
    }

    fn unattributed(&self) -> u64 {
        self.meanings().filter(|(.., meaning)| meaning.failed || meaning.by_api).count() as u64
    }

    fn about(&self, number: u64) -> Rows {
        let values = self.values_of(number);
        let is_person = |party: &Party| {
            [&party.id, &party.name, &party.email]
                .into_iter()
                .flatten()
                .any(|value| values.contains(&value.to_lowercase()))
        };
        let parts = |meaning: &RecordMeaning| {
            let plays = |role| meaning.people.iter().any(|mention| mention.role == role && is_person(&mention.party));
            let parts = [
                ("actor", plays(MentionRole::Actor)),
                ("on behalf of", plays(MentionRole::OnBehalfOf)),
                ("target", plays(MentionRole::Target)),
                ("grantee", meaning.grants.iter().any(|grant| is_person(&grant.grantee))),
                ("related", plays(MentionRole::Related)),
            ];
            parts.into_iter().filter(|part| part.1).map(|part| part.0).collect::<Vec<_>>()
        };
        let found = self.meanings().map(|(vendor, record, meaning)| (vendor, record, parts(meaning)));
        let found = found.filter(|(.., parts)| !parts.is_empty());
        sorted(found.map(|(vendor, record, parts)| row(vendor, record, json!(parts).to_string())))
    }

    /// All values by which the records name a person, in lower case: those beside the e-mail address, and beside the name.
    fn values_of(&self, number: u64) -> BTreeSet<String> {
        let mut values = BTreeSet::from([format!("user{number}@example.com")]);
        for _ in 0..2 {
            let parties = self.meanings().flat_map(|(.., meaning)| meaning.people.iter().map(|mention| &mention.party));
            for party in parties {
                let of_party: BTreeSet<String> = [&party.id, &party.name, &party.email]
                    .into_iter()
                    .flatten()
                    .map(|value| value.to_lowercase())
                    .collect();
                if !values.is_disjoint(&of_party) {
                    values.extend(of_party);
                }
            }
        }
        values
    }

    /// Each vendor has what its records can say, in numbers that make the comparison count.
    fn assert_not_empty(&self) {
        let count = |rows: &Rows, vendor: VendorName, what: &str| {
            rows.iter().filter(|row| row.0 == vendor.as_str() && row.2.contains(what)).count()
        };
        let people: Rows = (0..PEOPLE).flat_map(|number| self.about(number)).collect();
        for vendor in VendorName::ALL {
            let is_merge = vendor == VendorName::Merge;
            let administrators = count(&self.administrators(), vendor, "");
            let failures = count(&self.failures(), vendor, "");
            let parts = ["\"actor\"", "\"on behalf of\"", "\"target\"", "\"grantee\"", "\"related\""]
                .map(|part| count(&people, vendor, part));
            eprintln!("{vendor}: {administrators} administrators, {failures} failures by keys, people {parts:?}");
            assert_eq!(administrators == 0, is_merge, "{vendor}");
            assert_eq!(failures > 0, matches!(vendor, VendorName::Akuity | VendorName::Clumio), "{vendor}");
            assert_eq!(parts[1] > 0, vendor == VendorName::CaptivateIq, "{vendor}");
            assert_eq!(parts[3] == 0, is_merge, "{vendor}");
            assert_eq!(parts[4] == 0, vendor == VendorName::CaptivateIq, "{vendor}");
            assert!(parts[0] > 0 && parts[2] > 0, "{vendor}");
        }
    }
}

fn row(vendor: VendorName, record: &TruthRecord, more: String) -> (String, i64, String) {
    (vendor.as_str().to_owned(), record.timestamp.as_micros(), more)
}
