//! What normalizing finds in the events of a batch: counted per source for `status`, and logged.
//!
//! ```text
//! record --normalize--> Event --+--> normalize_error     counted once, when the sink reads the event for the first time
//!                               +--> action "other"      (a redelivery counts nothing)
//! ```
//!
//! The counts move in the transaction that moves the sink's position, so a crash neither loses nor doubles them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::event::{Action, Event};
use crate::journal::{NormalizeFindings, Seq, SourceId};
use crate::time::Timestamp;
use crate::vendors::record::first_reason;

/// No source is reported again sooner.
const REPORT_INTERVAL: Duration = Duration::from_secs(3_600);

/// What was found in one batch.
#[derive(Debug)]
pub(super) struct BatchFindings {
    /// Events up to here have been counted before.
    counted_to: Seq,
    of: BTreeMap<SourceId, Found>,
}

/// What was found in the events of one source.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    normalize_errors: u64,
    unmapped_actions: u64,
    /// The first reason of the first error. It names a field and holds no value.
    reason: String,
    /// The first event type without an action.
    event_type: String,
}

impl BatchFindings {
    /// Nothing found yet, in a batch of a sink that has been at `furthest` before.
    pub(super) fn after(furthest: Seq) -> Self {
        Self { counted_to: furthest, of: BTreeMap::new() }
    }

    /// Notes what is wrong with an event, if anything is.
    pub(super) fn note(&mut self, source: SourceId, seq: Seq, event: &Event<'_>) {
        if seq <= self.counted_to {
            return;
        }
        if let Some(reason) = &event.normalize_error {
            let found = self.of.entry(source).or_default();
            if found.normalize_errors == 0 {
                first_reason(reason).clone_into(&mut found.reason);
            }
            found.normalize_errors += 1;
            return;
        }
        if event.action == Action::Other {
            let found = self.of.entry(source).or_default();
            if found.unmapped_actions == 0 {
                found.event_type = event.event_type.clone().into_owned();
            }
            found.unmapped_actions += 1;
        }
    }

    /// For the journal.
    pub(super) fn counts(&self, at: Timestamp) -> Vec<NormalizeFindings> {
        let counts = |(source, found): (&SourceId, &Found)| NormalizeFindings {
            source: *source,
            normalize_errors: found.normalize_errors,
            unmapped_actions: found.unmapped_actions,
            at,
        };
        self.of.iter().map(counts).collect()
    }
}

/// Reports findings in the log: of each source at once, then once an hour at most, with what came in between.
#[derive(Debug, Default)]
pub(super) struct FindingsLog {
    of: HashMap<SourceId, Unreported>,
}

#[derive(Debug, Default)]
struct Unreported {
    found: Found,
    errors_reported: Option<Timestamp>,
    actions_reported: Option<Timestamp>,
}

impl FindingsLog {
    /// Takes the findings of a batch that is committed. `name_of` names a source.
    pub(super) fn report(&mut self, findings: &BatchFindings, now: Timestamp, name_of: impl Fn(SourceId) -> String) {
        for (source, found) in &findings.of {
            let unreported = self.of.entry(*source).or_default();
            unreported.add(found);
            let name = name_of(*source);
            unreported.report_errors(&name, now);
            unreported.report_actions(&name, now);
        }
    }
}

impl Unreported {
    fn add(&mut self, found: &Found) {
        if self.found.normalize_errors == 0 {
            self.found.reason.clone_from(&found.reason);
        }
        if self.found.unmapped_actions == 0 {
            self.found.event_type.clone_from(&found.event_type);
        }
        self.found.normalize_errors += found.normalize_errors;
        self.found.unmapped_actions += found.unmapped_actions;
    }

    fn report_errors(&mut self, source: &str, now: Timestamp) {
        if self.found.normalize_errors == 0 || !is_due(self.errors_reported, now) {
            return;
        }
        self.errors_reported = Some(now);
        let events = std::mem::take(&mut self.found.normalize_errors);
        tracing::warn!(
            event = "normalize_errors",
            source,
            events,
            reason = self.found.reason,
            hint = "`auditflow mapping --pipeline FILE` counts them by event type; they are delivered with their raw record",
            "events could not be normalized completely"
        );
    }

    fn report_actions(&mut self, source: &str, now: Timestamp) {
        if self.found.unmapped_actions == 0 || !is_due(self.actions_reported, now) {
            return;
        }
        self.actions_reported = Some(now);
        let events = std::mem::take(&mut self.found.unmapped_actions);
        tracing::info!(
            event = "actions_unmapped",
            source,
            events,
            event_type = self.found.event_type,
            "the vendor's words for some actions are not known; these events have the action `other`"
        );
    }
}

fn is_due(last: Option<Timestamp>, now: Timestamp) -> bool {
    last.is_none_or(|last| now < last || now.since(last) >= REPORT_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventId;

    fn event(action: Action, error: Option<&str>) -> Event<'static> {
        let id = EventId::of_key("merge", None, "1");
        let event = Event::new(id, "merge", "audit", Timestamp::from_secs(0), "{}");
        Event { action, normalize_error: error.map(str::to_owned), event_type: "DANCED".into(), ..event }
    }

    #[test]
    fn events_are_counted_when_they_are_read_for_the_first_time() {
        let (one, two) = (SourceId(1), SourceId(2));
        let mut findings = BatchFindings::after(10);
        findings.note(one, 10, &event(Action::Other, Some("no id")));
        findings.note(one, 11, &event(Action::Other, Some("no id")));
        findings.note(one, 12, &event(Action::Create, None));
        findings.note(two, 13, &event(Action::Other, None));
        findings.note(two, 14, &event(Action::Other, None));
        let at = Timestamp::from_secs(7);
        let counts = |source, normalize_errors, unmapped_actions| NormalizeFindings {
            source,
            normalize_errors,
            unmapped_actions,
            at,
        };
        assert_eq!(findings.counts(at), [counts(one, 1, 0), counts(two, 0, 2)]);
    }

    #[test]
    fn a_source_is_reported_at_once_and_then_hourly() {
        let mut found = Unreported::default();
        let some = Found { normalize_errors: 2, unmapped_actions: 1, ..Found::default() };
        let mut left = |secs| {
            let now = Timestamp::from_secs(secs);
            found.add(&some);
            found.report_errors("audit", now);
            found.report_actions("audit", now);
            (found.found.normalize_errors, found.found.unmapped_actions)
        };
        assert_eq!(left(1_000), (0, 0));
        assert_eq!(left(1_001), (2, 1));
        assert_eq!(left(1_002), (4, 2));
        assert_eq!(left(1_000 + 3_600), (0, 0));
        assert_eq!(left(500), (0, 0), "the clock was set back");
    }
}
