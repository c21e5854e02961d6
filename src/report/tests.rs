//! The three reports over a journal with an outage, a gap, late events, an unfinished backfill, a source that was never
//! started, a sink that is behind and one that cannot write.

use std::path::Path;
use std::time::Duration;

use super::text::WIDTH;
use super::*;
use crate::collect::page_evidence::stored_page;
use crate::event::EventId;
use crate::journal::lock::LockOwner;
use crate::journal::{
    AfterPage, BatchCommit, BlockBuilder, CollectJournal, Completion, DeliverJournal, JournalOptions, LastError,
    LatenessCounts, NewWindow, PageCommit, RequestCounts, ScanSpec, SeenKey, SinkStart, SourceId, SourceRegistration,
    SqliteJournal, WindowKind,
};
use crate::pipeline::{self, ActiveConfig, Environment, Overrides, ValidatedPipeline};
use crate::time::{TimeRange, Timestamp};
use crate::transform::condition::Condition;
use crate::units::ByteSize;
use crate::vendors::NormalizerConfig;

mod doubt;
mod status_page;

const PIPELINE: &str = r#"
data_dir: DATA
journal: {max_size: 1MiB}
sources:
  acme_clumio:
    type: clumio
    region: us-west-2
    access_token: ${CLUMIO}
    backfill_start_time: 2026-02-01
  acme_merge:
    type: merge
    api_key: ${MERGE}
    backfill_start_time: 2026-03-01
  acme_confluence:
    type: confluence
    site: acme
    email: audit@acme.example
    api_token: ${CONFLUENCE}
    backfill_start_time: 2026-03-01
    backfill_slice: 6h
  a_source_with_a_name_that_is_far_too_long_for_a_table:
    type: akuity
    organization_id: acme
    api_key_id: audit
    api_key_secret: ${AKUITY}
transforms:
  events: {type: normalize, inputs: [acme_*]}
sinks:
  archive: {type: file, inputs: [events], path: "audit/{{ vendor }}/%Y-%m-%d.ndjson"}
  lake: {type: file, inputs: [acme_merge], path: "lake/{{ source }}/{{ actor.name }}.ndjson"}
  screen: {type: console, inputs: ["a_*"]}
"#;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect(text)
}

fn now() -> Timestamp {
    at("2026-03-02T09:14:07Z")
}

fn pipeline(data_dir: &Path) -> ValidatedPipeline {
    validated(&PIPELINE.replace("DATA", data_dir.to_str().expect("text")))
}

fn validated(text: &str) -> ValidatedPipeline {
    let environment = Environment::from_pairs([]).with_placeholders();
    pipeline::validate("acme.yaml", text, Path::new(""), &environment, &Overrides::default()).expect("a good file")
}

/// Fills a journal.
struct JournalBuilder {
    journal: SqliteJournal,
}

impl JournalBuilder {
    async fn source(&self, name: &str, vendor: &str, first_start: &str) -> SourceId {
        let registration = SourceRegistration {
            name: name.to_owned(),
            vendor: vendor.to_owned(),
            normalizer_config: NormalizerConfig::default(),
            now: at(first_start),
        };
        self.journal.open_source(registration).await.expect("opens").id
    }

    async fn window(&self, source: SourceId, kind: WindowKind, from: &str, to: &str) -> crate::journal::WindowId {
        let covers = TimeRange::new(at(from), at(to));
        let window = NewWindow {
            kind,
            covers,
            fetch_range: TimeRange::new(covers.from - Duration::from_secs(900), covers.to),
            kept: TimeRange::ALL,
        };
        self.journal.add_windows(source, vec![window]).await.expect("adds")[0]
    }

    /// Covers a time range with `events` events, with the given latenesses in seconds.
    async fn covered(&self, source: SourceId, kind: WindowKind, span: (&str, &str), events: usize, late: &[u64]) {
        let window = self.window(source, kind, span.0, span.1).await;
        let mut lateness = LatenessCounts::default();
        late.iter().for_each(|late| lateness.add(Duration::from_secs(*late)));
        let mut block = BlockBuilder::new(at(span.1), 0);
        let raw = |number| format!("{{\"of\":{},\"from\":\"{}\",\"number\":{number}}}", source.0, span.0);
        let raws: Vec<String> = (0..events).map(raw).collect();
        for raw in &raws {
            let id = EventId::of_key("test", None, raw);
            block.push(raw, SeenKey { id, version: 0, timestamp: Some(at(span.0)), content: 0 }, 0);
        }
        let then = AfterPage::Complete(Completion::covered(TimeRange::new(at(span.0), at(span.1)), at(span.1)));
        let block = block.finish().expect("packs");
        self.journal
            .commit_page(PageCommit {
                window,
                block,
                requests: RequestCounts::succeeded(1),
                lateness,
                evidence: Vec::new(),
                then,
            })
            .await
            .expect("commits");
    }

    /// Adds a window in progress, after three pages.
    async fn in_progress(&self, source: SourceId, kind: WindowKind, span: (&str, &str)) {
        let window = self.window(source, kind, span.0, span.1).await;
        let spec = ScanSpec { number: 1, by_time: false, page_size: 100, request_fingerprint: "12345678".to_owned() };
        self.journal.begin_scan(window, spec, RequestCounts::default()).await.expect("begins");
        for requests in [2, 2, 1] {
            let (lateness, evidence) = (LatenessCounts::default(), stored_page(100, 1_200));
            let page = PageCommit {
                window,
                block: None,
                requests: RequestCounts::succeeded(requests),
                lateness,
                evidence,
                then: AfterPage::Continue,
            };
            self.journal.commit_page(page).await.expect("commits");
        }
    }

    async fn sink(&self, name: &str, position: u64, dead_lettered: u64) -> crate::journal::SinkId {
        let sink = self.journal.open_sink(name, SinkStart::Beginning).await.expect("opens").id;
        let delivered = position - dead_lettered;
        let delivered_at = Some(at("2026-03-02T09:10:00Z"));
        let delivery = BatchCommit {
            position,
            delivered,
            dead_lettered,
            bytes: position * 500,
            delivered_at,
            ..BatchCommit::default()
        };
        self.journal.commit_batch(sink, delivery).await.expect("moves");
        sink
    }
}

fn last_error(message: &str, hint: &str, since: &str) -> Option<LastError> {
    Some(LastError { message: message.to_owned(), hint: hint.to_owned(), since: at(since) })
}

async fn fill_journal(data_dir: &Path) {
    let options = JournalOptions { data_dir: data_dir.to_owned(), max_size: ByteSize(1 << 20) };
    let builder = JournalBuilder { journal: SqliteJournal::open(&options).expect("opens") };
    unfinished_backfill_with_late_events(&builder).await;
    outage(&builder).await;
    gap(&builder).await;
    builder.source("old_source", "clumio", "2026-01-01T00:00:00Z").await;
    builder.sink("archive", 60, 0).await;
    let lake = builder.sink("lake", 40, 2).await;
    let full = last_error(
        "cannot write lake/acme_merge/Ada Example.ndjson: No space left on device (os error 28)",
        "free space on the disk",
        "2026-03-02T09:00:00Z",
    );
    builder.journal.set_sink_error(lake, full).await.expect("notes");
}

async fn unfinished_backfill_with_late_events(builder: &JournalBuilder) {
    let source = builder.source("acme_clumio", "clumio", "2026-03-01T00:00:00Z").await;
    for day in 1..=9 {
        let (from, to) = (format!("2026-02-{day:02}T00:00:00Z"), format!("2026-02-{:02}T00:00:00Z", day + 1));
        builder.covered(source, WindowKind::Backfill, (&from, &to), 3, &[]).await;
    }
    builder.in_progress(source, WindowKind::Backfill, ("2026-02-10T00:00:00Z", "2026-02-11T00:00:00Z")).await;
    let prompt = vec![70; 98];
    builder.covered(source, WindowKind::Live, ("2026-02-28T23:59:00Z", "2026-03-02T09:00:00Z"), 30, &prompt).await;
    builder.covered(source, WindowKind::Live, ("2026-03-02T09:00:00Z", "2026-03-02T09:13:02Z"), 3, &[500, 600]).await;
}

async fn outage(builder: &JournalBuilder) {
    let source = builder.source("acme_merge", "merge", "2026-03-01T00:00:00Z").await;
    builder.covered(source, WindowKind::Live, ("2026-03-01T00:00:00Z", "2026-03-02T07:05:00Z"), 20, &[30]).await;
    let error = last_error(
        "merge cannot be reached: error sending request: client error (Connect): dns error: failed to lookup address",
        "check the network and base_url",
        "2026-03-02T07:08:00Z",
    );
    builder.journal.set_source_error(source, error).await.expect("notes");
}

async fn gap(builder: &JournalBuilder) {
    let source = builder.source("acme_confluence", "confluence", "2026-03-01T00:00:00Z").await;
    builder.covered(source, WindowKind::Live, ("2026-03-01T00:00:00Z", "2026-03-01T10:00:00Z"), 5, &[20]).await;
    builder.covered(source, WindowKind::Live, ("2026-03-01T11:30:00Z", "2026-03-02T09:13:50Z"), 5, &[20]).await;
}

async fn observed() -> (ValidatedPipeline, Observation) {
    let directory = tempfile::tempdir().expect("a directory");
    fill_journal(directory.path()).await;
    let pipeline = pipeline(directory.path());
    let mut observation = observe(&pipeline, now(), false).expect("can be read");
    assert_eq!(observation.process, None);
    // The compressed size may change with the compression library.
    observation.journal.as_mut().expect("has run").stats.bytes = 4_321;
    observation.process = Some(LockOwner { pid: Some(4_242) });
    (
        ValidatedPipeline {
            settings: pipeline::Settings { data_dir: "data".into(), ..pipeline.settings.clone() },
            ..pipeline
        },
        observation,
    )
}

fn assert_fits(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= WIDTH, "{line}");
    }
}

#[tokio::test]
async fn events_that_cannot_be_normalized_count_against_health_for_a_day() {
    let (pipeline, mut observation) = observed().await;
    let sources = pipeline.sources[..1].to_vec();
    let pipeline = ValidatedPipeline { sources, sinks: Vec::new(), ..pipeline };
    let mut report = |errors: u64, hours: u64| {
        let stats = &mut observation.journal.as_mut().expect("has run").stats.sources[0];
        stats.normalize_errors = errors;
        stats.normalize_error_at = (errors > 0).then(|| now() - Duration::from_secs(hours * 3_600));
        StatusReport::new(&pipeline, &observation)
    };
    assert!(report(0, 0).healthy);
    let failing = report(20, 1);
    assert!(!failing.healthy);
    assert_eq!(failing.sources[0].normalize_errors, 20);
    let text = failing.text("acme.yaml");
    assert_fits(&text);
    assert!(
        text.contains("! acme_clumio: 20 events could not be normalized completely, the last at 2026-03-02T08:14:07Z")
    );
    let past = report(20, 25);
    assert!(past.healthy && !past.text("acme.yaml").contains("normalized"));
}

#[tokio::test]
async fn status_as_text() {
    let (pipeline, observation) = observed().await;
    let report = StatusReport::new(&pipeline, &observation);
    assert!(!report.healthy);
    assert_fits(&report.text("acme.yaml"));
    insta::assert_snapshot!(report.text("acme.yaml"));
}

#[tokio::test]
async fn status_as_json() {
    let (pipeline, observation) = observed().await;
    let report = StatusReport::new(&pipeline, &observation);
    insta::assert_snapshot!(serde_json::to_string_pretty(&report).expect("plain"));
}

#[tokio::test]
async fn metrics_of_all_sources_and_sinks() {
    let (pipeline, observation) = observed().await;
    let config = ActiveConfig { reload_succeeded_at: now(), ..ActiveConfig::new(pipeline) };
    let text = metrics::openmetrics(&config, &observation);
    insta::assert_snapshot!(text.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
}

#[test]
fn a_damaged_journal_of_a_shard_hides_no_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = PIPELINE.replace("data_dir: DATA", &format!("data_dir: {}\nshards: 2", directory.path().display()));
    let text = text.replace("path: \"", "path: \"{{ shard }}/");
    let pipeline = validated(&text);
    let shard = directory.path().join("shard-1");
    std::fs::create_dir(&shard).expect("created");
    std::fs::write(shard.join("journal.db"), "damaged".repeat(1_000)).expect("written");
    let observation = observe(&pipeline, now(), false).expect("the other shard is reported");
    let report = StatusReport::new(&pipeline, &observation);
    let states: Vec<_> = report.shards.iter().map(|shard| shard.state).collect();
    assert_eq!(states, [status::ShardState::Elsewhere, status::ShardState::Unreadable]);
    assert!(report.head.has_run && !report.healthy && report.complete == Some(false));
    assert!(report.text("p.yaml").contains("! shard 1: its journal cannot be read"), "{}", report.text("p.yaml"));
    assert!(!CoverageReport::new(&pipeline, &observation).healthy);
    let metrics = metrics::openmetrics(&ActiveConfig::new(pipeline), &observation);
    assert!(metrics.contains("auditflow_shard_unreadable{shard=\"1\"} 1\n"), "{metrics}");
    assert!(!metrics.contains("auditflow_source_gap_seconds{"), "{metrics}");
    assert!(!metrics.contains("auditflow_sink_delivered_total"), "{metrics}");
}

#[tokio::test]
async fn coverage_as_text() {
    let (pipeline, observation) = observed().await;
    let report = CoverageReport::new(&pipeline, &observation);
    assert_fits(&report.text("acme.yaml"));
    insta::assert_snapshot!(report.text("acme.yaml"));
}

#[tokio::test]
async fn coverage_as_json() {
    let (pipeline, observation) = observed().await;
    let report = CoverageReport::new(&pipeline, &observation);
    insta::assert_snapshot!(serde_json::to_string_pretty(&report).expect("plain"));
}

#[tokio::test]
async fn plan_as_text() {
    let (pipeline, observation) = observed().await;
    insta::assert_snapshot!(PlanReport::new(&pipeline, &observation).text());
}

#[tokio::test]
async fn plan_as_json() {
    let (pipeline, observation) = observed().await;
    let report = PlanReport::new(&pipeline, &observation);
    insta::assert_snapshot!(serde_json::to_string_pretty(&report).expect("plain"));
}

#[tokio::test]
async fn a_plan_says_which_examples_a_filter_drops() {
    let (mut pipeline, observation) = observed().await;
    let condition = Condition::compile("vendor == \"clumio\"").expect("a condition");
    for route in &mut pipeline.sinks[0].routes {
        route.condition = Some(condition.clone());
    }
    let plan = PlanReport::new(&pipeline, &observation);
    for example in &plan.sinks[0].examples {
        assert_eq!(example.filtered, example.vendor != "clumio");
    }
    assert!(plan.text().contains("an event of acme_merge at 2026-03-02T08:59:30Z is dropped by a filter; "));
}

#[test]
fn before_the_first_run_nothing_has_started() {
    let directory = tempfile::tempdir().expect("a directory");
    let pipeline = pipeline(directory.path());
    let observation = observe(&pipeline, now(), false).expect("a missing journal is not an error");
    let stable = |text: String| text.replace(directory.path().to_str().expect("text"), "DATA");
    let status = StatusReport::new(&pipeline, &observation);
    assert!(status.healthy);
    insta::assert_snapshot!("status_before_the_first_run", stable(status.text("acme.yaml")));
    insta::assert_snapshot!(
        "coverage_before_the_first_run",
        stable(CoverageReport::new(&pipeline, &observation).text("acme.yaml"))
    );
    insta::assert_snapshot!("plan_before_the_first_run", stable(PlanReport::new(&pipeline, &observation).text()));
    assert_eq!(std::fs::read_dir(directory.path()).expect("reads").count(), 0, "reading must not create files");
}
