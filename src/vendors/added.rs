//! Vendors that a program brings in beside those of the table.
//!
//! ```text
//! impl VendorType for MyConfig --pipeline::add_vendor--> `type: my_vendor` in pipeline files, conditions, journals
//! ```
//!
//! The set belongs to the process, as the table does: a vendor's name must mean the same to the reader of the pipeline file,
//! to the conditions of filters, and to the sinks, which find in the journal by name whose record an event is.
//! `examples/own_vendor.rs` is a whole one.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::registry::NAMES;
use super::{Normalizer, NormalizerConfig, Vendor};
use crate::diagnostic::SettingDiagnostic;
use crate::secret::Secret;

/// The settings of one source of a vendor that a program brings in, once they are read.
pub trait VendorSettings: fmt::Debug + Send + Sync {
    /// Checks the settings against each other and builds the vendor.
    ///
    /// # Errors
    /// Every setting that cannot be right.
    fn build(&self) -> Result<Arc<dyn Vendor>, Vec<SettingDiagnostic>>;

    /// Every secret among the settings, for resolving relative files.
    fn secrets_mut(&mut self) -> Vec<&mut Secret>;

    /// What works but is probably not meant.
    fn warnings(&self) -> Vec<SettingDiagnostic> {
        Vec::new()
    }
}

/// A vendor that a program brings in: implemented by the type that reads the settings of its sources. That type should
/// refuse unknown settings (`#[serde(deny_unknown_fields)]`); its doc comments are what editors show.
pub trait VendorType: VendorSettings + DeserializeOwned + JsonSchema + 'static {
    /// The vendor's name: `type` in the pipeline file and `vendor` in every event. Lower-case letters, digits and `_`.
    const NAME: &'static str;

    /// How its records are known again and normalized, from a stored profile: events of a source that was taken out of the
    /// pipeline file are still delivered.
    fn records(normalizer_config: &NormalizerConfig) -> Arc<dyn Normalizer>;
}

/// Why a vendor cannot be brought in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddVendorError {
    /// There is a vendor of this name.
    #[error("there is a vendor called `{0}` already; give yours another name, and bring it in once")]
    Taken(&'static str),
    /// The name would not do in pipeline files and paths.
    #[error("`{0}` cannot be a vendor's name; use lower-case letters, digits and `_`")]
    BadName(&'static str),
}

struct Added {
    name: &'static str,
    records: fn(&NormalizerConfig) -> Arc<dyn Normalizer>,
}

/// Those that were brought in, in the order in which they came.
struct AddedVendors(RwLock<Vec<Added>>);

static ADDED: AddedVendors = AddedVendors(RwLock::new(Vec::new()));

impl AddedVendors {
    fn add<V: VendorType>(&self, also: impl FnOnce()) -> Result<(), AddVendorError> {
        let name = V::NAME;
        if name.is_empty() || !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
            return Err(AddVendorError::BadName(name));
        }
        let mut added = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if NAMES.contains(&name) || added.iter().any(|known| known.name == name) {
            return Err(AddVendorError::Taken(name));
        }
        added.push(Added { name, records: V::records });
        also();
        Ok(())
    }

    fn names(&self) -> Vec<&'static str> {
        let added = self.0.read().unwrap_or_else(PoisonError::into_inner);
        added.iter().map(|vendor| vendor.name).collect()
    }

    fn records(&self, name: &str, normalizer_config: &NormalizerConfig) -> Option<Arc<dyn Normalizer>> {
        let added = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let vendor = added.iter().find(|vendor| vendor.name == name)?;
        Some((vendor.records)(normalizer_config))
    }
}

/// Brings in a vendor's name and records; `also` is done only if that could be done.
pub(crate) fn add<V: VendorType>(also: impl FnOnce()) -> Result<(), AddVendorError> {
    ADDED.add::<V>(also)
}

/// Their names, in the order in which they came.
pub(super) fn names() -> Vec<&'static str> {
    ADDED.names()
}

/// How the records of the one called `name` are read.
pub(super) fn records(name: &str, normalizer_config: &NormalizerConfig) -> Option<Arc<dyn Normalizer>> {
    ADDED.records(name, normalizer_config)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::vendors::clumio;

    /// Clumio under another name.
    macro_rules! vendor {
        ($type:ident, $name:literal) => {
            #[derive(Debug, Deserialize, JsonSchema)]
            struct $type {}

            impl VendorSettings for $type {
                fn build(&self) -> Result<Arc<dyn Vendor>, Vec<SettingDiagnostic>> {
                    Err(Vec::new())
                }

                fn secrets_mut(&mut self) -> Vec<&mut Secret> {
                    Vec::new()
                }
            }

            impl VendorType for $type {
                const NAME: &'static str = $name;

                fn records(normalizer_config: &NormalizerConfig) -> Arc<dyn Normalizer> {
                    Arc::new(clumio::ClumioNormalizer::new(normalizer_config))
                }
            }
        };
    }

    vendor!(OfTheTable, "clumio");
    vendor!(Unwritable, "My Vendor");
    vendor!(Good, "clumio_classic");

    #[test]
    fn a_vendor_comes_in_once_under_a_name_of_its_own() {
        let added = AddedVendors(RwLock::default());
        assert_eq!(added.add::<OfTheTable>(|| panic!("taken")), Err(AddVendorError::Taken("clumio")));
        assert_eq!(added.add::<Unwritable>(|| panic!("no name")), Err(AddVendorError::BadName("My Vendor")));
        assert!(added.records("clumio_classic", &NormalizerConfig::default()).is_none());
        let mut told = 0;
        assert_eq!(added.add::<Good>(|| told += 1), Ok(()));
        assert_eq!(added.add::<Good>(|| told += 1), Err(AddVendorError::Taken("clumio_classic")));
        assert_eq!((told, added.names()), (1, vec!["clumio_classic"]));
        assert!(added.records("clumio_classic", &NormalizerConfig::default()).is_some());
    }
}
