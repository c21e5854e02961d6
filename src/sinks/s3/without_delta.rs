//! In the place of `delta` in a build without Parquet, which refuses `table: delta` before it could make a table.

use super::upload::Store;
use crate::clock::SharedClock;
use crate::journal::{RollbackRecord, Seq};
use crate::sinks::manifest::ManifestObject;
use crate::sinks::table_state::TableState;
use crate::sinks::template::Template;
use crate::sinks::{BatchRange, SinkError, StoredPosition};

/// There is none.
#[derive(Debug)]
pub(super) enum Table {}

/// What would be committed.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableBatch<'a> {
    pub(super) range: BatchRange,
    pub(super) rows: u64,
    pub(super) objects: &'a [ManifestObject],
    pub(super) manifest: Option<(&'a str, &'a str)>,
}

pub(super) mod layout {
    //! No prefix is checked.

    use crate::sinks::template::Template;

    pub(in crate::sinks::s3) fn prefix_problem(_prefix: &Template, _with_raw: bool) -> Option<String> {
        None
    }

    pub(in crate::sinks::s3) fn root_of(_prefix: &Template) -> Option<String> {
        None
    }
}

impl Table {
    pub(super) fn new(_: &Template, _with_raw: bool, _: &SharedClock, _pipeline: &str, _sink: &str) -> Option<Self> {
        None
    }

    pub(super) async fn check(&mut self, _: &mut Store, _name: &str) -> Result<(), SinkError> {
        match *self {}
    }

    pub(super) async fn open(&mut self, _: &mut Store, _: StoredPosition<'_>) -> Result<Option<Seq>, SinkError> {
        match *self {}
    }

    pub(super) fn begin(&mut self) {
        match *self {}
    }

    pub(super) fn retry(&mut self, _: BatchRange, _: &[RollbackRecord]) {
        match *self {}
    }

    pub(super) fn give_up(&mut self) {
        match *self {}
    }

    pub(super) fn has(&self, _: BatchRange) -> bool {
        match *self {}
    }

    pub(super) fn has_latest(&self, _: BatchRange) -> bool {
        match *self {}
    }

    pub(super) fn contains(&self, _key: &str) -> bool {
        match *self {}
    }

    pub(super) fn manifest_hash(&self) -> Option<String> {
        match *self {}
    }

    pub(super) fn state(&self, _files: u64, _rows: u64) -> Option<TableState> {
        match *self {}
    }

    pub(super) async fn prepare(&mut self, _: &mut Store, _: BatchRange) -> Result<(), SinkError> {
        match *self {}
    }

    pub(super) async fn commit(&mut self, _: &mut Store, batch: TableBatch<'_>) -> Result<(), SinkError> {
        let _ = (batch.range, batch.rows, batch.objects, batch.manifest);
        match *self {}
    }

    pub(super) async fn adopt(&mut self, _: &mut Store, _: StoredPosition<'_>) -> Result<(), SinkError> {
        match *self {}
    }
}
