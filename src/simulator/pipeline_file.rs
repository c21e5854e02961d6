//! A pipeline file whose sources point at the simulator, ready to be pasted.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::name::VendorName;
use super::options::Credentials;

/// What a source's `base_url` must be.
pub(super) fn base_url(address: SocketAddr, vendor: VendorName) -> String {
    let below = match vendor {
        VendorName::CaptivateIq => "/ciq/v1",
        VendorName::Merge => "/api",
        VendorName::Akuity | VendorName::Clumio | VendorName::Confluence => "",
    };
    format!("http://{address}{below}")
}

/// The pipeline file.
pub(super) fn write(address: SocketAddr, credentials: &Credentials, vendors: &[VendorName]) -> String {
    let mut text = String::from("data_dir: ./auditflow-simulated/data\nsources:\n");
    for vendor in vendors {
        let _ = writeln!(text, "  simulated_{vendor}:\n    type: {vendor}");
        for (key, value) in settings(*vendor, credentials) {
            let _ = writeln!(text, "    {key}: {value}");
        }
        let _ = writeln!(text, "    base_url: {}", base_url(address, *vendor));
        text.push_str("    backfill_start_time: earliest\n");
    }
    text.push_str(
        "transforms:\n  events:\n    type: normalize\n    inputs: [simulated_*]\nsinks:\n  files:\n    type: file\n    \
         inputs: [events]\n    path: \"./auditflow-simulated/{{ vendor }}/%Y-%m-%d.ndjson\"\n",
    );
    text
}

fn settings(vendor: VendorName, credentials: &Credentials) -> Vec<(&'static str, &str)> {
    match vendor {
        VendorName::Akuity => vec![
            ("organization_id", &credentials.akuity_organization_id),
            ("api_key_id", &credentials.akuity_api_key_id),
            ("api_key_secret", &credentials.akuity_api_key_secret),
        ],
        VendorName::CaptivateIq => vec![("api_token", &credentials.captivateiq_api_token)],
        VendorName::Clumio => vec![("access_token", &credentials.clumio_access_token)],
        VendorName::Confluence => vec![
            ("site", "acme"),
            ("email", &credentials.confluence_email),
            ("api_token", &credentials.confluence_api_token),
        ],
        VendorName::Merge => vec![("api_key", &credentials.merge_api_key)],
    }
}
