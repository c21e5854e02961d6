//! The state of the table at one version: what a checkpoint contains.

use std::collections::BTreeMap;

use super::actions::{Add, Entry, MetaData, Protocol, Remove, Txn};
use super::layout::decoded;

/// Everything that a checkpoint contains.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) protocol: Option<Protocol>,
    pub(super) metadata: Option<MetaData>,
    pub(super) txns: BTreeMap<String, Txn>,
    /// By their paths without encoding: engines encode in different ways.
    pub(super) adds: BTreeMap<String, Add>,
    pub(super) removes: BTreeMap<String, Remove>,
}

impl Snapshot {
    pub(super) fn apply(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.protocol = entry.protocol.or(self.protocol.take());
            self.metadata = entry.meta_data.or(self.metadata.take());
            if let Some(txn) = entry.txn {
                self.txns.insert(txn.app_id.clone(), txn);
            }
            if let Some(remove) = entry.remove {
                let path = decoded(&remove.path);
                self.adds.remove(&path);
                self.removes.insert(path, remove);
            }
            if let Some(add) = entry.add {
                let path = decoded(&add.path);
                self.removes.remove(&path);
                self.adds.insert(path, add);
            }
        }
    }
}
