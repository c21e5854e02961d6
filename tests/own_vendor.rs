//! A vendor of an embedding program that is built inconsistently is rejected when the pipeline file is read.
//! `examples/own_vendor.rs` shows and tests a correct one.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::Arc;

use auditflow::diagnostic::SettingDiagnostic;
use auditflow::pipeline::{self, Environment, Overrides};
use auditflow::secret::Secret;
use auditflow::vendors::{Normalizer, NormalizerConfig, Vendor, VendorSettings, VendorType, clumio};

/// Clumio's settings under another name; the vendor that they build is still named `clumio`.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
struct Renamed(clumio::Config);

impl VendorSettings for Renamed {
    fn build(&self) -> Result<Arc<dyn Vendor>, Vec<SettingDiagnostic>> {
        self.0.build()
    }

    fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        self.0.secrets_mut()
    }
}

impl VendorType for Renamed {
    const NAME: &'static str = "clumio_classic";

    fn normalizer(config: &NormalizerConfig) -> Arc<dyn Normalizer> {
        Arc::new(clumio::ClumioNormalizer::from(config))
    }
}

#[test]
fn a_vendor_with_two_names_is_rejected() {
    pipeline::add_vendor::<Renamed>().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("acme.yaml");
    fs::write(
        &file,
        "sources:\n  acme: {type: clumio_classic, access_token: x}\nsinks:\n  out: {type: console, inputs: [acme]}\n",
    )
    .unwrap();
    let diagnostics = pipeline::load(&file.into(), &Environment::from_pairs([]), &Overrides::default()).unwrap_err();
    let message = format!("{diagnostics:?}");
    assert!(
        message.contains("the vendor is registered as `clumio_classic`, but its spec has the name `clumio`"),
        "{message}"
    );
}
