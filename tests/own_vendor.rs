//! A program's own vendor that is put together wrongly is refused when the pipeline file is read. What a right one does is
//! shown and tested in `examples/own_vendor.rs`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::Arc;

use auditflow::diagnostic::SettingDiagnostic;
use auditflow::pipeline::{self, Environment, Overrides};
use auditflow::secret::Secret;
use auditflow::vendors::added::{VendorSettings, VendorType};
use auditflow::vendors::{Normalizer, NormalizerConfig, Vendor, clumio};

/// Clumio's settings under another name, building what still calls itself `clumio`.
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

    fn records(normalizer_config: &NormalizerConfig) -> Arc<dyn Normalizer> {
        Arc::new(clumio::ClumioNormalizer::new(normalizer_config))
    }
}

#[test]
fn a_vendor_with_two_names_is_refused() {
    pipeline::add_vendor::<Renamed>().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("acme.yaml");
    fs::write(
        &file,
        "sources:\n  acme: {type: clumio_classic, access_token: x}\nsinks:\n  out: {type: console, inputs: [acme]}\n",
    )
    .unwrap();
    let problems = pipeline::load(&file, &Environment::from_pairs([]), &Overrides::default()).unwrap_err();
    let said = format!("{problems:?}");
    assert!(
        said.contains("the vendor is registered as `clumio_classic`, but its spec has the name `clumio`"),
        "{said}"
    );
}
