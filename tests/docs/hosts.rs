//! The list of hosts for firewalls is complete: each address that a vendor's code begins with is on it.

use std::collections::BTreeSet;
use std::fs;

use regex::Regex;

use crate::pages::root;

#[test]
fn every_host_of_a_vendor_is_listed_for_firewalls() {
    let page = fs::read_to_string(root().join("docs/operating.md")).unwrap();
    let (_, section) = page.split_once("\n## Firewalls\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let address = Regex::new(r#""https://([a-z0-9.{}-]+\.[a-z]+)"#).unwrap();
    let mut hosts = BTreeSet::new();
    for vendor in fs::read_dir(root().join("src/vendors")).unwrap().flatten() {
        let Ok(text) = fs::read_to_string(vendor.path().join("api.rs")) else { continue };
        hosts.extend(address.captures_iter(&text).map(|found| found[1].replace("{site}", "SITE")));
    }
    hosts.retain(|host| !host.starts_with("acme."));
    assert!(hosts.len() > 10, "{hosts:?}");
    let missing: Vec<_> = hosts.iter().filter(|host| !section.contains(&format!("`{host}`"))).collect();
    assert!(missing.is_empty(), "not in docs/operating.md, Firewalls: {missing:?}");
}
