//! Times and commands as the page writes them.

use std::time::Duration;

use crate::report::text::brief;
use crate::time::Timestamp;

/// The pipeline file in commands: the process does not know how the reader would name it.
pub(super) const FILE: &str = "FILE";

/// `2026-03-02 09:14:07`
pub(super) fn moment(at: Timestamp) -> String {
    at.with_digits(0).to_string().replace('T', " ").replace('Z', "")
}

/// `1m5s ago`
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    if now.since(at) < Duration::from_secs(1) { "now".to_owned() } else { format!("{} ago", brief(now.since(at))) }
}
