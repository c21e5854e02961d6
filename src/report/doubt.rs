//! Time that is in doubt or unreadable, and what a person can do about it.
//!
//! ```text
//! doubt --rechecks left--> wait, or decide now     ignore_checks: the check is wrong at this vendor
//!       `--none left-----> a person decides -----> state accept: this range was compared with the vendor's own view
//! ```

use serde::Serialize;

use super::observation::{SourceView, TimeSpan};
use super::text::{brief, counted, of_seconds, wrapped_value};
use crate::collect::CheckName;
use crate::journal::{CoverageState, DoubtfulTime};
use crate::time::Timestamp;

/// Time that is in doubt or unreadable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DoubtReport {
    /// The time.
    #[serde(flatten)]
    pub span: TimeSpan,
    /// The checks that disagree, or `found`: a recheck found events. Empty if the time is unreadable.
    pub reasons: Vec<String>,
    /// The vendor's error, if the time is unreadable.
    pub error: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// Verdicts of doubt in a row.
    pub doubts: u32,
    /// When it is read again; `None`: never, a person must decide.
    pub next_recheck_at: Option<Timestamp>,
    /// The checks that `ignore_checks` has to name so that this time is no longer in doubt; empty if that cannot help.
    pub ignore_checks: Vec<&'static str>,
}

/// The times of a source that have a state.
pub(super) fn doubts(view: &SourceView<'_>, state: CoverageState) -> Vec<DoubtReport> {
    let all = view.snapshot.iter().flat_map(|snapshot| &snapshot.state.in_doubt);
    all.filter(|doubtful| doubtful.state == state).map(DoubtReport::from).collect()
}

/// The length of all these times together, in seconds.
pub(super) fn total_seconds(doubts: &[DoubtReport]) -> f64 {
    doubts.iter().fold(0.0, |total, doubt| total + doubt.span.seconds)
}

/// The checks that would have to be ignored; empty if one of the reasons is not a check.
fn checks_to_ignore(reasons: &[String]) -> Vec<&'static str> {
    let checks: Option<Vec<_>> =
        reasons.iter().map(|reason| CheckName::of_reason(reason).map(CheckName::as_str)).collect();
    checks.unwrap_or_default()
}

impl From<&DoubtfulTime> for DoubtReport {
    fn from(doubtful: &DoubtfulTime) -> Self {
        let is_error = |reason: &&String| reason.starts_with(UNREADABLE);
        let error = doubtful.reasons.iter().find(is_error).map(|error| error[UNREADABLE.len()..].to_owned());
        Self {
            span: doubtful.range.into(),
            error: error.filter(|_| doubtful.state == CoverageState::Unreadable),
            ignore_checks: checks_to_ignore(&doubtful.reasons),
            reasons: doubtful.reasons.iter().filter(|reason| !is_error(reason)).cloned().collect(),
            since: doubtful.since,
            doubts: doubtful.doubts,
            next_recheck_at: doubtful.next_recheck_at,
        }
    }
}

/// What the reason of unreadable time begins with; the vendor's error follows.
const UNREADABLE: &str = "unreadable:";

/// Reasons for people: the names of checks, or the vendor's error as it is.
pub(crate) fn reasons_text(reasons: &[String]) -> String {
    let texts: Vec<&str> = reasons.iter().map(|reason| reason.strip_prefix(UNREADABLE).unwrap_or(reason)).collect();
    texts.join(", ")
}

/// The lines below a time: why, since when, what follows, and what a person can do if nothing does.
pub(super) fn explanation(doubt: &DoubtReport, file: &str, source: &str, now: Timestamp) -> String {
    let why = match &doubt.error {
        Some(error) => format!("the vendor's error: {error}"),
        None => format!("reasons: {}", doubt.reasons.join(", ")),
    };
    let since = format!("{} ({})", doubt.since.with_digits(0), brief(now.since(doubt.since)));
    let verdicts = counted(u64::from(doubt.doubts), "verdict");
    let follows = match doubt.next_recheck_at {
        Some(at) if at > now => format!("read again at {}", at.with_digits(0)),
        Some(_) => "due to be read again".to_owned(),
        None => "no recheck is left. You decide:".to_owned(),
    };
    let text = wrapped_value(&format!("{why}; since {since}, {verdicts}; {follows}"));
    if doubt.next_recheck_at.is_some() {
        return text;
    }
    text + &ways_out(&doubt.ignore_checks, doubt.span, file, source)
}

/// What a person can do now about the times that will be read again; `None` if there are none.
pub(super) fn ways_out_now(doubts: &[DoubtReport], file: &str, source: &str) -> Option<String> {
    let waiting: Vec<_> = doubts.iter().filter(|doubt| doubt.next_recheck_at.is_some()).collect();
    let (first, last) = (waiting.first()?, waiting.last()?);
    let mut checks: Vec<&'static str> = waiting.iter().flat_map(|doubt| &doubt.ignore_checks).copied().collect();
    checks.sort_unstable();
    checks.dedup();
    let time = of_seconds(waiting.iter().map(|doubt| doubt.span.seconds).sum());
    let span = TimeSpan { to: last.span.to, ..first.span };
    Some(wrapped_value(&format!("{time} of it is read again. To decide now:")) + &ways_out(&checks, span, file, source))
}

fn ways_out(checks: &[&str], span: TimeSpan, file: &str, source: &str) -> String {
    let mut text = String::new();
    if !checks.is_empty() {
        let checks = checks.join(", ");
        text += &wrapped_value(&format!(
            "- `ignore_checks: [{checks}]` in this source, if the vendor is known to be wrong there"
        ));
    }
    text += &wrapped_value("- accept this time, if you have compared it with the vendor's own view:");
    // On lines of its own and not wrapped, so that it can be copied.
    let (from, to) = (span.from, span.to);
    text + &format!("  auditflow state accept {file} {source} \\\n    --from {from} --to {to}\n")
}
