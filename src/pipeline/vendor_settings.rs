//! How the settings of each type of source are read: by the table of vendors, or by the type that the program brought in.
//!
//! The table reads by any deserializer. A type that comes at run time cannot, so what reads it is made when it is brought in,
//! where both the type and this module's reader are known.

use std::sync::{PoisonError, RwLock};

use schemars::{Schema, SchemaGenerator};

use super::deserialize::Reader;
use super::fields::fields_of;
use super::read_error::ReadError;
use crate::vendors::registry::{self, AddVendorError, VendorConfig};
use crate::vendors::{VendorSettings, VendorType};

/// How the settings of a vendor that the program brought in are read.
#[derive(Clone, Copy)]
struct AddedReader {
    name: &'static str,
    fields: fn() -> &'static [&'static str],
    read: fn(Reader<'_>) -> Result<Box<dyn VendorSettings>, ReadError>,
    schema: fn(&mut SchemaGenerator) -> Schema,
}

static ADDED: RwLock<Vec<AddedReader>> = RwLock::new(Vec::new());

/// Brings a vendor in: from now on it is a `type` of source in every pipeline file that this process reads, with the same
/// checks and suggestions as any other. Do so first of all, before a pipeline is read.
///
/// # Errors
/// When its name is taken, or is no name.
pub fn add_vendor<V: VendorType>() -> Result<(), AddVendorError> {
    let reader = AddedReader {
        name: V::NAME,
        fields: || fields_of(|probe| V::deserialize(probe)),
        read: |reader| Ok(Box::new(V::deserialize(reader)?)),
        schema: |generator| V::json_schema(generator),
    };
    registry::add::<V>(|| ADDED.write().unwrap_or_else(PoisonError::into_inner).push(reader))
}

fn added_reader(name: &str) -> Option<AddedReader> {
    let added = ADDED.read().unwrap_or_else(PoisonError::into_inner);
    added.iter().find(|reader| reader.name == name).copied()
}

/// The names of the settings that only sources of the vendor called `name` have.
pub(super) fn fields(name: &str) -> &'static [&'static str] {
    match added_reader(name) {
        Some(added) => (added.fields)(),
        None => fields_of(|probe| VendorConfig::read(name, probe).transpose()),
    }
}

/// The settings of a source of the vendor called `name`; `None` if there is no such vendor.
pub(super) fn read(name: &str, reader: Reader<'_>) -> Result<Option<VendorConfig>, ReadError> {
    match added_reader(name) {
        Some(added) => (added.read)(reader).map(|settings| Some(VendorConfig::Added(settings))),
        None => VendorConfig::read(name, reader).transpose(),
    }
}

/// The JSON Schema of these settings; `None` if there is no such vendor.
pub(super) fn schema(name: &str, generator: &mut SchemaGenerator) -> Option<Schema> {
    match added_reader(name) {
        Some(added) => Some((added.schema)(generator)),
        None => VendorConfig::schema(name, generator),
    }
}
