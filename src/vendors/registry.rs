//! The registry of vendors: the only place that knows every vendor by name. A new vendor is one directory and one line here.
//!
//! ```text
//! the `vendors!` table below ------------------------------------+
//!                                                                +--> `type: <name>` in pipeline files, conditions, journals
//! impl VendorType for MyConfig --pipeline::add_vendor--> ADDED --+
//! ```
//!
//! Added vendors belong to the process, as the table does: a vendor's name must mean the same to the reader of the
//! pipeline file, to the conditions of filters, and to the sinks, which find the normalizer of an event in the journal by
//! the vendor's name. `examples/own_vendor.rs` is a complete one.

use std::sync::{Arc, PoisonError, RwLock};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserializer;

use super::contract::{Normalizer, NormalizerConfig, Vendor, VendorSettings, VendorType};
use crate::diagnostic::SettingDiagnostic;

macro_rules! vendors {
    ($($name:literal => $module:ident :: $variant:ident, $normalizer:ident;)+) => {
        /// The settings of a source, by vendor.
        #[derive(Debug)]
        pub enum VendorConfig {
            $(
                #[doc = concat!("`type: ", $name, "`")]
                $variant(super::$module::Config),
            )+
            /// A vendor of the embedding program.
            Added(Box<dyn VendorSettings>),
        }

        /// The name of every vendor of this table, in alphabetical order.
        pub const NAMES: &[&str] = &[$($name,)+];

        impl VendorConfig {
            /// Parses the settings of the vendor called `name`; `None` if this table has no such vendor.
            ///
            /// # Errors
            /// Those of the deserializer: unknown keys, wrong types, missing settings.
            pub fn read<'de, D: Deserializer<'de>>(name: &str, settings: D) -> Option<Result<Self, D::Error>> {
                match name {
                    $($name => Some(serde::Deserialize::deserialize(settings).map(Self::$variant)),)+
                    _ => None,
                }
            }

            /// The JSON Schema of the settings of the vendor called `name`; `None` if this table has no such vendor.
            #[must_use]
            pub fn schema(name: &str, generator: &mut SchemaGenerator) -> Option<Schema> {
                match name {
                    $($name => Some(super::$module::Config::json_schema(generator)),)+
                    _ => None,
                }
            }

            /// Validates the settings and builds the vendor.
            ///
            /// # Errors
            /// Every invalid setting.
            pub fn build(&self) -> Result<Arc<dyn Vendor>, Vec<SettingDiagnostic>> {
                self.settings().build()
            }

            /// Settings that are valid but probably not intended.
            #[must_use]
            pub fn warnings(&self) -> Vec<SettingDiagnostic> {
                self.settings().warnings()
            }

            /// Every secret of the source, for resolving relative files.
            pub fn secrets_mut(&mut self) -> Vec<&mut crate::secret::Secret> {
                match self { $(Self::$variant(config) => config.secrets_mut(),)+ Self::Added(settings) => settings.secrets_mut() }
            }

            fn settings(&self) -> &dyn VendorSettings {
                match self { $(Self::$variant(config) => config,)+ Self::Added(settings) => &**settings }
            }
        }

        /// The normalizer of the vendor called `name` for a configuration from the journal; `None` if there is no such
        /// vendor.
        #[must_use]
        pub fn normalizer(name: &str, config: &NormalizerConfig) -> Option<Arc<dyn Normalizer>> {
            match name {
                $($name => Some(Arc::new(super::$module::$normalizer::from(config))),)+
                _ => ADDED.normalizer(name, config),
            }
        }
    };
}

vendors! {
    "akuity" => akuity::Akuity, AkuityNormalizer;
    "captivateiq" => captivateiq::CaptivateIq, CaptivateIqNormalizer;
    "clumio" => clumio::Clumio, ClumioNormalizer;
    "confluence" => confluence::Confluence, ConfluenceNormalizer;
    "merge" => merge::Merge, MergeNormalizer;
}

/// The name of every vendor, added ones included, in alphabetical order.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let mut names = [NAMES, &ADDED.names()].concat();
    names.sort_unstable();
    names
}

/// Why a vendor cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddVendorError {
    /// There is a vendor of this name.
    #[error("the vendor name `{0}` is already taken; choose another name and add each vendor once")]
    Taken(&'static str),
    /// The name does not fit into pipeline files and paths.
    #[error("`{0}` is not a valid vendor name; use lower-case letters, digits and `_`")]
    BadName(&'static str),
}

/// Adds a vendor's name and normalizer; calls `then` only if that succeeds.
pub(crate) fn add<V: VendorType>(then: impl FnOnce()) -> Result<(), AddVendorError> {
    ADDED.add::<V>(then)
}

struct AddedVendor {
    name: &'static str,
    normalizer: fn(&NormalizerConfig) -> Arc<dyn Normalizer>,
}

/// The added vendors in the order in which they were added.
struct AddedVendors(RwLock<Vec<AddedVendor>>);

static ADDED: AddedVendors = AddedVendors(RwLock::new(Vec::new()));

impl AddedVendors {
    fn add<V: VendorType>(&self, then: impl FnOnce()) -> Result<(), AddVendorError> {
        let name = V::NAME;
        if name.is_empty() || !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
            return Err(AddVendorError::BadName(name));
        }
        let mut added = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if NAMES.contains(&name) || added.iter().any(|vendor| vendor.name == name) {
            return Err(AddVendorError::Taken(name));
        }
        added.push(AddedVendor { name, normalizer: V::normalizer });
        then();
        Ok(())
    }

    fn names(&self) -> Vec<&'static str> {
        let added = self.0.read().unwrap_or_else(PoisonError::into_inner);
        added.iter().map(|vendor| vendor.name).collect()
    }

    fn normalizer(&self, name: &str, config: &NormalizerConfig) -> Option<Arc<dyn Normalizer>> {
        let added = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let vendor = added.iter().find(|vendor| vendor.name == name)?;
        Some((vendor.normalizer)(config))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::secret::Secret;
    use crate::time::Timestamp;
    use crate::vendors::ReadContext;
    use crate::vendors::clumio::ClumioNormalizer;

    #[test]
    fn every_vendor_has_an_example_that_normalizes() {
        let context = ReadContext { source: "acme", observed_at: Timestamp::EPOCH, occurrence: 0 };
        for name in NAMES {
            let normalizer = normalizer(name, &NormalizerConfig::default()).expect(name);
            let event = normalizer.normalize(normalizer.example(), &context);
            assert_eq!(event.normalize_error, None, "{name}");
            assert!(event.timestamp > Timestamp::EPOCH && event.actor.id.is_some(), "{name}: {event:?}");
        }
    }

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

                fn normalizer(config: &NormalizerConfig) -> Arc<dyn Normalizer> {
                    Arc::new(ClumioNormalizer::from(config))
                }
            }
        };
    }

    vendor!(BuiltIn, "clumio");
    vendor!(Invalid, "My Vendor");
    vendor!(Valid, "clumio_classic");

    #[test]
    fn a_vendor_is_added_once_under_a_new_name() {
        let added = AddedVendors(RwLock::default());
        assert_eq!(added.add::<BuiltIn>(|| panic!("taken")), Err(AddVendorError::Taken("clumio")));
        assert_eq!(added.add::<Invalid>(|| panic!("no name")), Err(AddVendorError::BadName("My Vendor")));
        assert!(added.normalizer("clumio_classic", &NormalizerConfig::default()).is_none());
        let mut calls = 0;
        assert_eq!(added.add::<Valid>(|| calls += 1), Ok(()));
        assert_eq!(added.add::<Valid>(|| calls += 1), Err(AddVendorError::Taken("clumio_classic")));
        assert_eq!((calls, added.names()), (1, vec!["clumio_classic"]));
        assert!(added.normalizer("clumio_classic", &NormalizerConfig::default()).is_some());
    }
}
