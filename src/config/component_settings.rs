//! The settings of each component type: their names, how to read them, their JSON Schema.
//!
//! The registry of vendors reads settings with any deserializer. A vendor that is added at run time cannot be generic, so
//! [`add_vendor`] stores functions that are made where both the vendor's type and this module's deserializer are known.

use std::sync::{PoisonError, RwLock};

use schemars::{Schema, SchemaGenerator};
use serde::Deserialize;

use super::deserialize::{NodeDeserializer, field_names};
use super::read_error::ReadError;
use crate::journal::SinkStart;
use crate::sinks::BatchSettings;
use crate::vendors::registry::VendorConfig;
use crate::vendors::registry::{self, AddVendorError};
use crate::vendors::{VendorSettings, VendorType};

/// The settings that every sink has, beside `type` and `inputs`.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CommonSinkSettings {
    /// When a batch closes. Default: the sink type's default.
    pub(crate) batch: BatchSettings,
    /// Where the sink begins at its first start.
    pub(crate) start: SinkStart,
}

/// How to read the settings of a vendor that the program added.
#[derive(Clone, Copy)]
struct AddedReader {
    name: &'static str,
    fields: fn() -> &'static [&'static str],
    read: fn(NodeDeserializer<'_>) -> Result<Box<dyn VendorSettings>, ReadError>,
    schema: fn(&mut SchemaGenerator) -> Schema,
}

static ADDED: RwLock<Vec<AddedReader>> = RwLock::new(Vec::new());

/// Adds a vendor. Its name is then a `type` of source in every pipeline file that this process reads, with the same checks
/// and suggestions as the built-in vendors. Call this before you load a pipeline.
///
/// # Errors
/// The name is taken, or is not a valid name.
pub fn add_vendor<V: VendorType>() -> Result<(), AddVendorError> {
    let reader = AddedReader {
        name: V::NAME,
        fields: || field_names(|probe| V::deserialize(probe)),
        read: |reader| Ok(Box::new(V::deserialize(reader)?)),
        schema: |generator| V::json_schema(generator),
    };
    registry::add::<V>(|| ADDED.write().unwrap_or_else(PoisonError::into_inner).push(reader))
}

fn added_reader(name: &str) -> Option<AddedReader> {
    let added = ADDED.read().unwrap_or_else(PoisonError::into_inner);
    added.iter().find(|reader| reader.name == name).copied()
}

/// The names of the settings that are specific to the vendor called `name`.
pub(crate) fn vendor_fields(name: &str) -> &'static [&'static str] {
    match added_reader(name) {
        Some(added) => (added.fields)(),
        None => field_names(|probe| VendorConfig::read(name, probe).transpose()),
    }
}

/// Reads the settings that are specific to the vendor called `name`; `None` if there is no such vendor.
pub(crate) fn read_vendor(name: &str, reader: NodeDeserializer<'_>) -> Result<Option<VendorConfig>, ReadError> {
    match added_reader(name) {
        Some(added) => (added.read)(reader).map(|settings| Some(VendorConfig::Added(settings))),
        None => VendorConfig::read(name, reader).transpose(),
    }
}

/// The JSON Schema of these settings; `None` if there is no such vendor.
pub(crate) fn vendor_schema(name: &str, generator: &mut SchemaGenerator) -> Option<Schema> {
    match added_reader(name) {
        Some(added) => Some((added.schema)(generator)),
        None => VendorConfig::schema(name, generator),
    }
}
