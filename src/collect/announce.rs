//! What a source says of itself in the log.

use super::options::StartTime;
use super::source::Collector;
use crate::journal::{NewWindow, SourceRegistration, SourceState, WindowId, WindowKind};
use crate::units::Span;
use crate::vendors::Profile;

/// Ids are made of the vendor's account, among others. Where it is told anew, what the overlap brings again is not known
/// again.
pub(super) fn warn_of_other_ids(state: &SourceState, now: &SourceRegistration) {
    let Some(before) = &state.former_profile else { return };
    tracing::warn!(
        source = now.name,
        before = %shown(before),
        now = %shown(&now.profile),
        "the settings that ids are made of have changed: events from now on have other ids, and those of the overlap come once more under them; for another account, give the source another name"
    );
}

fn shown(profile: &Profile) -> String {
    let tenant = profile.tenant.iter().map(|tenant| format!("tenant {tenant}"));
    let options = profile.options.iter().map(|(name, value)| format!("{name} {value}"));
    tenant.chain(options).collect::<Vec<_>>().join(", ")
}

impl Collector {
    /// A window is complete.
    pub(super) fn report(&mut self, id: WindowId, window: &NewWindow, pages: u64, walked: u64) {
        let (from, to, latest) = (window.asks.from, window.asks.to, Span(self.lateness.greatest()));
        let first_poll = window.kind == WindowKind::Live && !std::mem::replace(&mut self.polled_before, true);
        if first_poll || window.kind == WindowKind::Backfill {
            tracing::info!(window = id.0, kind = ?window.kind, %from, %to, pages, records = walked, "window complete");
        } else {
            tracing::debug!(window = id.0, kind = ?window.kind, %from, %to, pages, records = walked, %latest, "window complete");
        }
    }

    pub(super) fn say_where_it_begins(&self) {
        let now = self.clock.now();
        let facts = &self.settings.facts;
        if let (Some(StartTime::At(from)), Some(kept)) = (self.settings.backfill_start_time, facts.retention)
            && from < now - kept
        {
            tracing::warn!(
                kept = %Span(kept),
                "backfill_start_time lies further back than the vendor keeps records: the oldest time may be empty"
            );
        }
    }
}
