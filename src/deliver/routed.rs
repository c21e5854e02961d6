//! The sources that a sink reads: from the names in the pipeline file to what normalizes their records.

use std::collections::HashMap;
use std::sync::Arc;

use super::Route;
use super::failure::DeliverError;
use crate::event::Event;
use crate::journal::{SourceId, SourceInfo};
use crate::vendors::{self, Normalizer};

/// A source that is routed to the sink and known to the journal.
#[derive(Debug)]
pub(super) struct RoutedSource {
    info: SourceInfo,
    pub(super) route: Route,
    pub(super) records: Arc<dyn Normalizer>,
}

impl RoutedSource {
    pub(super) fn name(&self) -> &str {
        &self.info.name
    }

    /// Whether the filters on the way to the sink let the event through.
    pub(super) fn lets_through(&self, event: &Event<'_>) -> bool {
        self.route.condition.as_ref().is_none_or(|condition| condition.holds(event))
    }
}

/// The routed sources that the journal knows so far. A source registers itself at its first start, which may come after
/// the sink's, and its profile may change when the pipeline file does: so this is brought up to date for every batch.
#[derive(Debug)]
pub(super) struct RoutedSources {
    routes: HashMap<String, Route>,
    known: HashMap<SourceId, RoutedSource>,
}

impl RoutedSources {
    pub(super) fn new(routes: &[Route]) -> Self {
        let routes = routes.iter().map(|route| (route.source.clone(), route.clone())).collect();
        Self { routes, known: HashMap::new() }
    }

    /// The numbers of the routed sources, in order.
    pub(super) fn ids(&self) -> Vec<SourceId> {
        let mut ids: Vec<_> = self.known.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn get(&self, id: SourceId) -> Option<&RoutedSource> {
        self.known.get(&id)
    }

    pub(super) fn is_routed(&self, source: &SourceInfo) -> bool {
        self.routes.contains_key(&source.name)
    }

    /// Takes in what the journal knows now. Returns whether a routed source is new.
    pub(super) fn update(&mut self, sources: Vec<SourceInfo>) -> Result<bool, DeliverError> {
        let mut grown = false;
        for info in sources {
            let Some(route) = self.routes.get(&info.name) else { continue };
            if self.known.get(&info.id).is_some_and(|known| known.info == info) {
                continue;
            }
            let records = vendors::registry::normalizer(&info.vendor, &info.normalizer_config)
                .ok_or_else(|| DeliverError::UnknownVendor { name: info.name.clone(), vendor: info.vendor.clone() })?;
            let source = RoutedSource { route: route.clone(), records, info };
            grown |= self.known.insert(source.info.id, source).is_none();
        }
        Ok(grown)
    }
}
