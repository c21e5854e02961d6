//! Time in doubt, around a run: at its start, doubt that the settings now ignore is accepted; at its end, new doubt is
//! reported.

use std::collections::HashMap;

use super::report::RunError;
use crate::journal::{CoverageState, DoubtfulTime, EvidenceRow, Journal};
use crate::pipeline::{ValidatedPipeline, ValidatedSource};
use crate::time::TimeRange;

/// Accepts what is in doubt for nothing but checks that the source ignores, and that no recheck will read again. What is read
/// again gets a new verdict then.
pub(super) async fn accept_ignored<'s>(
    sources: impl Iterator<Item = &'s ValidatedSource>,
    journal: &dyn Journal,
) -> Result<(), RunError> {
    let known = journal.sources().await?;
    for source in sources {
        let ignored = &source.options.ignore_checks;
        if ignored.is_empty() || !known.iter().any(|known| known.name == source.name) {
            continue;
        }
        for row in journal.evidence(&source.name, TimeRange::ALL).await? {
            let is_ignored = row.reasons.iter().all(|reason| ignored.contains(reason));
            if row.state != CoverageState::InDoubt || row.next_recheck_at.is_some() || !is_ignored {
                continue;
            }
            let windows = journal.accept(&source.name, row.covers).await?;
            tracing::info!(
                event = "doubt_accepted",
                source = source.name,
                windows,
                from = %row.covers.from,
                to = %row.covers.to,
                reasons = row.reasons.join(", "),
                "time in doubt counts as covered: the source ignores these checks"
            );
        }
    }
    Ok(())
}

/// Rows that are in doubt or unreadable, by source, in the order of the file.
pub(super) type Doubts = Vec<(String, Vec<EvidenceRow>)>;

/// All time that is in doubt or unreadable.
pub(super) async fn doubts(pipeline: &ValidatedPipeline, journal: &dyn Journal) -> Result<Doubts, RunError> {
    let known = journal.sources().await?;
    let mut doubts = Vec::new();
    for source in pipeline.sources.iter().filter(|source| known.iter().any(|known| known.name == source.name)) {
        let mut rows = journal.evidence(&source.name, TimeRange::ALL).await?;
        rows.retain(|row| row.state != CoverageState::Covered);
        doubts.push((source.name.clone(), rows));
    }
    Ok(doubts)
}

/// What a run has read that is in doubt or unreadable after it: rows that were not there before, or got one more verdict.
pub(super) fn doubts_of_run(before: &Doubts, after: Doubts) -> Vec<(String, DoubtfulTime)> {
    let mut new = Vec::new();
    let before: HashMap<_, _> = before.iter().map(|(name, rows)| (name, rows.as_slice())).collect();
    for (name, mut rows) in after {
        let known = before.get(&name).copied().unwrap_or_default();
        rows.retain(|row| !known.iter().any(|before| is_untouched(before, row)));
        new.extend(joined(rows.into_iter()).into_iter().map(|doubtful| (name.clone(), doubtful)));
    }
    new
}

/// Whether a row is what was there before, or a part of it.
fn is_untouched(before: &EvidenceRow, row: &EvidenceRow) -> bool {
    let verdict = |row: &EvidenceRow| (row.state, row.doubts, row.since);
    before.covers.from <= row.covers.from && row.covers.to <= before.covers.to && verdict(before) == verdict(row)
}

/// Rows that touch and have the same state and reasons, as one.
fn joined(rows: impl Iterator<Item = EvidenceRow>) -> Vec<DoubtfulTime> {
    let mut joined: Vec<DoubtfulTime> = Vec::new();
    for EvidenceRow { covers: range, state, reasons, doubts, since, next_recheck_at, .. } in rows {
        match joined.last_mut() {
            Some(last) if last.range.to == range.from && last.state == state && last.reasons == reasons => {
                last.range.to = range.to;
                last.doubts = last.doubts.max(doubts);
                last.since = last.since.min(since);
                last.next_recheck_at = [last.next_recheck_at, next_recheck_at].into_iter().flatten().min();
            }
            _ => joined.push(DoubtfulTime { range, state, reasons, doubts, since, next_recheck_at }),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::journal::{
        AfterPage, CollectJournal, Completion, JournalOptions, LatenessCounts, NewWindow, PageCommit, RequestCounts,
        SourceRegistration, SqliteJournal, WindowEvidence, WindowKind,
    };
    use crate::pipeline::{self, Environment, Overrides};
    use crate::time::Timestamp;
    use crate::units::ByteSize;
    use crate::vendors::NormalizerConfig;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn row(from: i64, to: i64, doubts: u32) -> EvidenceRow {
        EvidenceRow {
            kind: WindowKind::Live,
            covers: TimeRange::new(at(from), at(to)),
            state: CoverageState::InDoubt,
            reasons: vec!["total".to_owned()],
            doubts,
            since: at(100),
            next_recheck_at: Some(at(1_000)),
            windows: 1,
            rechecked: 0,
            found: 0,
            events: 0,
            first_time: None,
            last_time: None,
            completed_at: at(100),
            evidence: WindowEvidence::default(),
        }
    }

    #[test]
    fn a_run_reports_new_doubt_and_doubt_that_it_did_not_resolve() {
        let of = |rows: Vec<EvidenceRow>| vec![("audit".to_owned(), rows)];
        let before = of(vec![row(0, 10, 1), row(20, 40, 1)]);
        let after = of(vec![row(0, 10, 1), row(20, 30, 1), row(30, 40, 2), row(50, 60, 1), row(60, 70, 1)]);
        let found: Vec<_> =
            doubts_of_run(&before, after).into_iter().map(|(_, doubt)| (doubt.range, doubt.doubts)).collect();
        let range = |from, to| TimeRange::new(at(from), at(to));
        assert_eq!(found, [(range(30, 40), 2), (range(50, 70), 1)]);
        assert_eq!(doubts_of_run(&before, of(vec![row(0, 10, 1)])), [], "an earlier run has reported it");
        assert_eq!(doubts_of_run(&Vec::new(), of(vec![row(0, 10, 1)])).len(), 1);
    }

    #[tokio::test]
    async fn what_the_settings_ignore_is_accepted_if_no_recheck_is_left() {
        let directory = tempfile::tempdir().expect("a directory");
        let options = JournalOptions { data_dir: directory.path().to_owned(), max_size: ByteSize(1 << 20) };
        let journal = SqliteJournal::open(&options).expect("opens");
        let (name, vendor) = ("audit".to_owned(), "clumio".to_owned());
        let normalizer_config = NormalizerConfig::default();
        let registration = SourceRegistration { name, vendor, normalizer_config, now: at(0) };
        let source = journal.open_source(registration).await.expect("opens").id;
        for (from, reasons, next) in [
            (0, &["total"][..], None),
            (10, &["overlap", "total"], None),
            (20, &["total"], Some(at(900))),
            (30, &["found"], None),
        ] {
            let covers = TimeRange::new(at(from), at(from + 10));
            let window = NewWindow { kind: WindowKind::Live, covers, fetch_range: covers, kept: TimeRange::ALL };
            let window = journal.add_windows(source, vec![window]).await.expect("adds")[0];
            let completion = Completion {
                state: CoverageState::InDoubt,
                reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
                next_recheck_at: next,
                ..Completion::covered(covers, at(100))
            };
            let (lateness, then) = (LatenessCounts::default(), AfterPage::Complete(completion));
            let page = PageCommit {
                window,
                block: None,
                requests: RequestCounts::succeeded(1),
                lateness,
                evidence: Vec::new(),
                then,
            };
            journal.commit_page(page).await.expect("commits");
        }
        let text = "sources: {audit: {type: clumio, access_token: x, ignore_checks: [total]}}\n\
                    sinks: {screen: {type: console, inputs: audit}}\n";
        let environment = Environment::from_pairs([]);
        let pipeline = pipeline::validate("acme.yaml", text, Path::new(""), &environment, &Overrides::default());
        let pipeline = pipeline.expect("valid");
        accept_ignored(pipeline.sources.iter(), &journal).await.expect("accepts");
        let left = doubts(&pipeline, &journal).await.expect("reads");
        let left: Vec<_> = left[0].1.iter().map(|row| row.covers.from).collect();
        assert_eq!(left, [at(10), at(20), at(30)]);
    }
}
