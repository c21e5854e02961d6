//! Reports over a journal with time in doubt, unreadable time and rechecked time.

use super::*;
use crate::journal::{CoverageState, WindowEvidence, WindowId};

const FILE: &str = "pipelines/acme.yaml";

impl JournalBuilder {
    /// Reads a window, or a completed one again, with this outcome. `next` is when it is read again.
    async fn judged(
        &self,
        source: SourceId,
        kind: WindowKind,
        span: (&str, &str),
        reasons: &[&str],
        next: Option<&str>,
    ) {
        let window = self.window(source, kind, span.0, span.1).await;
        let covers = TimeRange::new(at(span.0), at(span.1));
        let reasons: Vec<String> = reasons.iter().map(|reason| (*reason).to_owned()).collect();
        let completion = Completion {
            state: if reasons.is_empty() { CoverageState::Covered } else { CoverageState::InDoubt },
            next_recheck_at: next.map(at),
            evidence: WindowEvidence {
                pages: 4,
                requests: 5,
                records_read: 400,
                keys: 390,
                scans: if reasons.is_empty() { 1 } else { 4 },
                first_total: Some(395),
                last_total: Some(400),
                shift: 5,
                ended_by: "short_page".to_owned(),
                checks: reasons.clone(),
                kept: TimeRange { from: at("2026-02-01T00:00:00Z"), ..TimeRange::ALL },
                skew_millis: -700,
                ..WindowEvidence::default()
            },
            reasons,
            ..Completion::covered(covers, covers.to)
        };
        self.commit(window, 5, completion).await;
    }

    async fn commit(&self, window: WindowId, requests: u64, completion: Completion) {
        let (lateness, then) = (LatenessCounts::default(), AfterPage::Complete(completion));
        let page = PageCommit {
            window,
            block: None,
            requests: RequestCounts::succeeded(requests),
            lateness,
            evidence: Vec::new(),
            then,
        };
        self.journal.commit_page(page).await.expect("commits");
    }
}

async fn doubtful() -> (ValidatedPipeline, Observation) {
    let directory = tempfile::tempdir().expect("a directory");
    let options = JournalOptions { data_dir: directory.path().to_owned(), max_size: ByteSize(1 << 20) };
    let builder = JournalBuilder { journal: SqliteJournal::open(&options).expect("opens") };
    let source = builder.source("acme_clumio", "clumio", "2026-03-01T00:00:00Z").await;
    use WindowKind::{Backfill, Live, Recheck};
    for day in ["2026-02-01", "2026-02-02", "2026-02-03"] {
        let hours = (format!("{day}T00:00:00Z"), format!("{day}T12:00:00Z"), format!("{day}T18:00:00Z"));
        builder.judged(source, Backfill, (&hours.0, &hours.1), &[], None).await;
        builder.judged(source, Backfill, (&hours.1, &hours.2), &[], None).await;
    }
    builder.judged(source, Recheck, ("2026-02-01T00:00:00Z", "2026-02-03T18:00:00Z"), &[], None).await;
    let forever = ("2026-02-10T00:00:00Z", "2026-02-11T00:00:00Z");
    builder.judged(source, Backfill, forever, &["total"], Some("2026-02-11T00:15:00Z")).await;
    builder.judged(source, Recheck, forever, &["total"], None).await;
    let found = ("2026-02-12T00:00:00Z", "2026-02-12T00:10:00Z");
    builder.judged(source, Backfill, found, &["found"], None).await;
    let unreadable = TimeRange::new(at("2026-02-13T08:00:00Z"), at("2026-02-13T08:00:01Z"));
    let error = "500 Internal Server Error: cannot render the audit record 7f3a, please contact support at https://status.clumio.example/incidents".to_owned();
    let again = Some(at("2026-03-03T00:00:00Z"));
    let completion = Completion {
        state: CoverageState::Unreadable,
        reasons: vec![format!("unreadable:{error}")],
        next_recheck_at: again,
        ..Completion::covered(unreadable, at("2026-02-28T23:59:00Z"))
    };
    let window = builder.window(source, Backfill, "2026-02-13T08:00:00Z", "2026-02-13T08:00:01Z").await;
    builder.commit(window, 0, completion).await;
    let waiting = ("2026-03-02T09:00:00Z", "2026-03-02T09:13:02Z");
    builder.judged(source, Live, waiting, &["place", "total"], Some("2026-03-02T09:28:02Z")).await;
    builder.in_progress(source, Backfill, ("2026-02-14T00:00:00Z", "2026-02-15T00:00:00Z")).await;
    let pipeline = pipeline(directory.path());
    let mut observation = observe(&pipeline, now(), true).expect("can be read");
    // The compressed size may change with the compression library.
    observation.journal.as_mut().expect("has run").stats.bytes = 4_321;
    let settings = pipeline::Settings { data_dir: "data".into(), ..pipeline.settings };
    let sources = pipeline.sources[..1].to_vec();
    (ValidatedPipeline { settings, sources, sinks: Vec::new(), ..pipeline }, observation)
}

#[tokio::test]
async fn doubt_in_coverage_as_text() {
    let (pipeline, observation) = doubtful().await;
    let report = CoverageReport::new(&pipeline, &observation);
    assert!(!report.healthy);
    assert_fits(&report.text(FILE));
    insta::assert_snapshot!(report.text(FILE));
}

#[tokio::test]
async fn doubt_in_coverage_as_json() {
    let (pipeline, observation) = doubtful().await;
    let report = CoverageReport::new(&pipeline, &observation);
    let report = serde_json::to_value(report).expect("plain");
    let source = &report["sources"][0];
    insta::assert_snapshot!(
        serde_json::to_string_pretty(&serde_json::json!({
            "covered_share": source["covered_share"],
            "in_doubt": source["in_doubt"],
            "unreadable": source["unreadable"],
            "first evidence": source["evidence"]["rows"][0],
            "loss": source["evidence"]["loss"],
        }))
        .expect("plain")
    );
}

#[tokio::test]
async fn doubt_in_status() {
    let (pipeline, observation) = doubtful().await;
    let report = StatusReport::new(&pipeline, &observation);
    assert!(!report.healthy);
    assert_fits(&report.text(FILE));
    insta::assert_snapshot!(report.text(FILE));
    let source = &report.sources[0];
    assert_eq!((source.in_doubt_seconds, source.unreadable_seconds), (86_400.0 + 600.0 + 782.0, 1.0));
    assert_eq!(source.in_doubt_reasons, ["found", "place", "total"]);
}

#[tokio::test]
async fn without_the_option_there_is_no_evidence() {
    let (pipeline, observation) = doubtful().await;
    let observation = Observation { has_evidence: false, ..observation };
    let report = CoverageReport::new(&pipeline, &observation);
    assert_eq!(report.sources[0].evidence, None);
}
