//! The table of vendors: the one place that knows them all by name. A new vendor is one file and one line here.
//!
//! A program that embeds auditflow can bring in further ones, see [`added`].

use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserializer;

use super::added::{self, VendorSettings};
use super::{Normalizer, NormalizerConfig, Vendor};
use crate::diagnostic::SettingDiagnostic;

macro_rules! vendors {
    ($($name:literal => $module:ident :: $variant:ident, $normalizer:ident;)+) => {
        /// The configuration of a source, by vendor.
        #[derive(Debug)]
        pub enum VendorConfig {
            $(
                #[doc = concat!("`type: ", $name, "`")]
                $variant(super::$module::Config),
            )+
            /// A vendor that the program brought in.
            Added(Box<dyn VendorSettings>),
        }

        /// The name of every vendor of this table, in alphabetical order.
        pub const NAMES: &[&str] = &[$($name,)+];

        impl VendorConfig {
            /// Reads the settings of the vendor called `name`; `None` if this table has no such vendor.
            ///
            /// # Errors
            /// What the deserializer finds wrong: unknown keys, wrong types, missing settings.
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

            /// Checks the settings against each other and builds the vendor.
            ///
            /// # Errors
            /// Every setting that cannot be right.
            pub fn build(&self) -> Result<Arc<dyn Vendor>, Vec<SettingDiagnostic>> {
                match self { $(Self::$variant(config) => config.build(),)+ Self::Added(settings) => settings.build() }
            }

            /// What works but is probably not meant.
            #[must_use]
            pub fn warnings(&self) -> Vec<SettingDiagnostic> {
                match self {
                    Self::Clumio(config) => config.warnings(),
                    Self::Added(settings) => settings.warnings(),
                    _ => Vec::new(),
                }
            }

            /// Every secret of the source, for resolving relative files.
            pub fn secrets_mut(&mut self) -> Vec<&mut crate::secret::Secret> {
                match self { $(Self::$variant(config) => config.secrets_mut(),)+ Self::Added(settings) => settings.secrets_mut() }
            }
        }

        /// How records of the vendor called `name` are known again and normalized, from a stored profile; `None` if
        /// there is no such vendor.
        #[must_use]
        pub fn normalizer(name: &str, normalizer_config: &NormalizerConfig) -> Option<Arc<dyn Normalizer>> {
            match name {
                $($name => Some(Arc::new(super::$module::$normalizer::new(normalizer_config))),)+
                _ => added::records(name, normalizer_config),
            }
        }
    };
}

/// The name of every vendor, those that the program brought in included, in alphabetical order.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let mut names = [NAMES, &added::names()].concat();
    names.sort_unstable();
    names
}

vendors! {
    "akuity" => akuity::Akuity, AkuityNormalizer;
    "captivateiq" => captivateiq::CaptivateIq, CaptivateIqNormalizer;
    "clumio" => clumio::Clumio, ClumioNormalizer;
    "confluence" => confluence::Confluence, ConfluenceNormalizer;
    "merge" => merge::Merge, MergeNormalizer;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use crate::vendors::ReadContext;

    #[test]
    fn every_vendor_has_an_example_that_reads_well() {
        let context = ReadContext { source: "acme", observed_at: Timestamp::EPOCH, occurrence: 0 };
        for name in NAMES {
            let normalizer = normalizer(name, &NormalizerConfig::default()).expect(name);
            let event = normalizer.normalize(normalizer.example(), &context);
            assert_eq!(event.normalize_error, None, "{name}");
            assert!(event.timestamp.at > Timestamp::EPOCH && event.actor.id.is_some(), "{name}: {event:?}");
        }
    }
}
