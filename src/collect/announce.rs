//! What a source says of itself in the log.

use super::options::StartTime;
use super::source::Collector;
use crate::journal::{NewWindow, SourceRegistration, SourceState, WindowId, WindowKind};
use crate::units::Span;
use crate::vendors::NormalizerConfig;

/// Ids are made of the vendor's account, among others. Where it is told anew, what the overlap brings again is not known
/// again.
pub(super) fn warn_of_other_ids(state: &SourceState, now: &SourceRegistration) {
    let Some(before) = &state.former_normalizer_config else { return };
    tracing::warn!(
        source = now.name,
        before = %shown(before),
        now = %shown(&now.normalizer_config),
        "the settings that ids are made of have changed: events from now on have other ids, and those of the overlap come once more under them; for another account, give the source another name"
    );
}

fn shown(normalizer_config: &NormalizerConfig) -> String {
    let tenant = normalizer_config.tenant.iter().map(|tenant| format!("tenant {tenant}"));
    let options = normalizer_config.options.iter().map(|(name, value)| format!("{name} {value}"));
    tenant.chain(options).collect::<Vec<_>>().join(", ")
}

impl Collector {
    /// A window is complete.
    pub(super) fn report(&mut self, id: WindowId, window: &NewWindow, pages: u64, records_read: u64) {
        let (from, to, latest) = (window.fetch_range.from, window.fetch_range.to, Span(self.lateness.greatest()));
        let first_poll = window.kind == WindowKind::Live && !std::mem::replace(&mut self.polled_before, true);
        if first_poll || window.kind == WindowKind::Backfill {
            tracing::info!(window = id.0, kind = ?window.kind, %from, %to, pages, records = records_read, "window complete");
        } else {
            tracing::debug!(window = id.0, kind = ?window.kind, %from, %to, pages, records = records_read, %latest, "window complete");
        }
    }

    pub(super) fn say_where_it_begins(&self) {
        let now = self.clock.now();
        let spec = &self.settings.spec;
        if let (Some(StartTime::At(from)), Some(kept)) = (self.settings.backfill_start_time, spec.retention)
            && from < now - kept
        {
            tracing::warn!(
                kept = %Span(kept),
                "backfill_start_time lies further back than the vendor keeps records: the oldest time may be empty"
            );
        }
    }
}
