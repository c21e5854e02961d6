//! Reading a settings type so that all its mistakes are found, not the first alone.
//!
//! ```text
//! read --> a value is wrong      --> note it, leave the value out, read again
//!      --> a setting is missing  --> note it, make one up, read again
//!      --> the whole is wrong    --> note it, give up on this component
//!      --> read                  --> the settings, if nothing was noted
//! ```

use serde::de::DeserializeOwned;

use super::deserialize::{Attempt, Reader};
use super::node::{Node, NodeId, Value};
use super::path::KeyPath;
use super::problem::{Finding, Findings};
use super::read_error::{ReadError, Spot};

/// What became of reading.
#[derive(Debug)]
pub(super) struct Outcome<T> {
    /// The settings as far as they could be read, without the values that are wrong; `None` if a required one is wrong
    /// or missing.
    pub(super) partial: Option<T>,
    /// Whether nothing was wrong.
    pub(super) clean: bool,
}

impl<T> Outcome<T> {
    /// The settings, if nothing was wrong.
    pub(super) fn whole(self) -> Option<T> {
        self.partial.filter(|_| self.clean)
    }
}

/// Reads a type by its own `Deserialize`.
pub(super) fn read_type<T: DeserializeOwned>(node: &Node, path: &KeyPath, findings: &mut Findings) -> Outcome<T> {
    read_all(node, path, findings, |reader| T::deserialize(reader))
}

/// Reads by `read`, as often as it takes.
pub(super) fn read_all<T>(
    node: &Node,
    path: &KeyPath,
    findings: &mut Findings,
    read: impl Fn(Reader<'_>) -> Result<T, ReadError>,
) -> Outcome<T> {
    let had_dropped = has_dropped(node, findings);
    let found_before = findings.len();
    let mut assumed: Vec<(NodeId, &'static str)> = Vec::new();
    loop {
        let attempt = Attempt { dropped: findings.dropped(), assumed: &assumed };
        match read(Reader::new(node, attempt)) {
            Ok(value) => {
                let clean = findings.len() == found_before && !had_dropped;
                return Outcome { partial: assumed.is_empty().then_some(value), clean };
            }
            Err(error) => {
                if !mend(error, node, path, findings, &mut assumed) {
                    return Outcome { partial: None, clean: false };
                }
            }
        }
    }
}

/// Notes the mistake and arranges that the next attempt does not meet it again. `false` if that cannot be done.
fn mend(
    error: ReadError,
    root: &Node,
    path: &KeyPath,
    findings: &mut Findings,
    assumed: &mut Vec<(NodeId, &'static str)>,
) -> bool {
    let whole = Spot { node: root.id, within: root.id, place: root.place, shows_token: false };
    let spot = error.spot.as_deref().copied().unwrap_or(whole);
    if let Some(field) = error.missing {
        if !error.is_consequence && !findings.is_misspelt(spot.node, field) {
            // The place of the whole component is its name, which can be shown.
            let spot = Spot { shows_token: spot.node == root.id, ..spot };
            findings.push(finding(error, spot, path));
        }
        let is_new = !assumed.contains(&(spot.node, field));
        assumed.push((spot.node, field));
        return is_new;
    }
    if error.is_consequence {
        return false;
    }
    if let Some(meant) = error.meant {
        findings.note_misspelt(spot.within, meant);
    }
    let is_new = findings.push_and_drop(finding(error, spot, path), spot.node);
    is_new && spot.node != root.id
}

fn finding(error: ReadError, spot: Spot, path: &KeyPath) -> Finding {
    let key = error.keys_inside_out.iter().rev().fold(path.clone(), |path, part| path.part(part));
    let finding = Finding::error(Some(spot.place), &key, error.message, error.hint);
    if spot.shows_token { finding } else { finding.without_token() }
}

fn has_dropped(node: &Node, findings: &Findings) -> bool {
    findings.is_dropped(node.id)
        || match &node.value {
            Value::Scalar(_) => false,
            Value::List(items) => items.iter().any(|item| has_dropped(item, findings)),
            Value::Map(entries) => entries.iter().any(|entry| has_dropped(&entry.value, findings)),
        }
}
