//! Events as auditflow delivered them, and their records normalized again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::Event;
use crate::time::Timestamp;
use crate::vendors::{Normalizer, NormalizerConfig, ReadContext, registry};

/// More identical records than this are not distinguished.
const MOST_IDENTICAL: u32 = 1_000;

/// What an event in auditflow's own schema says of its record.
#[derive(Debug, Deserialize)]
pub(super) struct Delivered<'a> {
    id: String,
    pub(super) vendor: String,
    pub(super) source: String,
    tenant: Option<String>,
    version: Option<u64>,
    observed_at: Timestamp,
    #[serde(borrow)]
    raw: &'a RawValue,
}

impl<'a> Delivered<'a> {
    /// Reads a line; `None` if it is not such an event.
    pub(super) fn read(line: &'a str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    /// The vendor's record: as text if the event has it as text.
    pub(super) fn raw(&self) -> Cow<'a, str> {
        let json = self.raw.get();
        match serde_json::from_str::<String>(json) {
            Ok(text) => Cow::Owned(text),
            Err(_) => Cow::Borrowed(json),
        }
    }
}

/// Normalizes delivered records again.
#[derive(Debug, Default)]
pub(super) struct Renormalizer {
    /// The settings of sources of a pipeline file, by the source's name.
    pub(super) configured: HashMap<String, NormalizerConfig>,
    normalizers: HashMap<(String, NormalizerConfig), Arc<dyn Normalizer>>,
}

/// Which normalizer made an event, and how many identical records came before it.
pub(super) struct Origin {
    pub(super) normalizer: Arc<dyn Normalizer>,
    occurrence: u32,
}

impl Renormalizer {
    /// Who made the event: with the source's settings if they are known, else with those that lead to the same id. `None`
    /// if the vendor is not known.
    pub(super) fn origin(&mut self, event: &Delivered<'_>, raw: &str) -> Option<Origin> {
        let configs = match self.configured.get(&event.source) {
            Some(config) => vec![config.clone()],
            None => vec![
                NormalizerConfig { tenant: event.tenant.clone(), ..NormalizerConfig::default() },
                NormalizerConfig::default(),
            ],
        };
        let mut first = None;
        for config in configs {
            let normalizer = self.normalizer(&event.vendor, config)?;
            let id = normalizer.key_of(raw).id;
            let most = if normalizer.has_ids() { 1 } else { MOST_IDENTICAL };
            if let Some(occurrence) = (0..most).find(|number| id.nth(*number).to_string() == event.id) {
                return Some(Origin { normalizer, occurrence });
            }
            first.get_or_insert(Origin { normalizer, occurrence: 0 });
        }
        first
    }

    fn normalizer(&mut self, vendor: &str, config: NormalizerConfig) -> Option<Arc<dyn Normalizer>> {
        let key = (vendor.to_owned(), config);
        if let Some(known) = self.normalizers.get(&key) {
            return Some(known.clone());
        }
        let normalizer = registry::normalizer(vendor, &key.1)?;
        self.normalizers.insert(key, normalizer.clone());
        Some(normalizer)
    }
}

impl Origin {
    /// The event that the record becomes now.
    pub(super) fn normalize<'r>(&self, event: &'r Delivered<'_>, raw: &'r str) -> Event<'r> {
        let context =
            ReadContext { source: &event.source, observed_at: event.observed_at, occurrence: self.occurrence };
        let new = self.normalizer.normalize(raw, &context);
        Event { version: new.version.or(event.version), ..new }
    }
}
