//! Reads a settings type and finds all of its errors, not only the first.
//!
//! ```text
//! read --> a value is wrong      --> record it, skip the value, read again
//!      --> a setting is missing  --> record it, use a placeholder, read again
//!      --> all of it is wrong    --> record it, give up on this component
//!      --> ok                    --> the settings, if nothing was recorded
//! ```

use serde::de::DeserializeOwned;

use super::deserialize::{Attempt, NodeDeserializer};
use super::diagnostic::{Diagnostic, Diagnostics};
use super::node::{KeyPath, Node, NodeId, Value};
use super::read_error::{ErrorLocation, ReadError};

/// The result of reading a settings type.
#[derive(Debug)]
pub(crate) struct ReadOutcome<T> {
    /// The settings without the wrong values, and with placeholders for required settings that are wrong or missing, so that
    /// further checks can find what else is wrong; `None` if they cannot be read even so.
    pub(crate) partial: Option<T>,
    /// Whether nothing was wrong.
    pub(crate) clean: bool,
}

impl<T> ReadOutcome<T> {
    /// The settings, if nothing was wrong.
    pub(crate) fn complete(self) -> Option<T> {
        self.partial.filter(|_| self.clean)
    }
}

/// Reads a type by its own `Deserialize`.
pub(crate) fn read_type<T: DeserializeOwned>(
    node: &Node,
    path: &KeyPath,
    diagnostics: &mut Diagnostics,
) -> ReadOutcome<T> {
    read_all(node, path, diagnostics, |reader| T::deserialize(reader))
}

/// Reads with `read` until it succeeds or no further error can be dropped.
pub(crate) fn read_all<T>(
    node: &Node,
    path: &KeyPath,
    diagnostics: &mut Diagnostics,
    read: impl Fn(NodeDeserializer<'_>) -> Result<T, ReadError>,
) -> ReadOutcome<T> {
    let had_dropped = has_dropped(node, diagnostics);
    let found_before = diagnostics.len();
    let mut placeholders: Vec<(NodeId, &'static str)> = Vec::new();
    loop {
        let attempt = Attempt { dropped: diagnostics.dropped(), placeholders: &placeholders };
        match read(NodeDeserializer::new(node, attempt)) {
            Ok(value) => {
                let clean = diagnostics.len() == found_before && !had_dropped;
                return ReadOutcome { partial: Some(value), clean: clean && placeholders.is_empty() };
            }
            Err(error) => {
                if !record_error(error, node, path, diagnostics, &mut placeholders) {
                    return ReadOutcome { partial: None, clean: false };
                }
            }
        }
    }
}

/// Records the error and changes the next attempt so that it does not fail for the same reason. `false` if it would.
fn record_error(
    error: ReadError,
    root: &Node,
    path: &KeyPath,
    diagnostics: &mut Diagnostics,
    placeholders: &mut Vec<(NodeId, &'static str)>,
) -> bool {
    let component = ErrorLocation { node: root.id, within: root.id, span: root.span, shows_token: false };
    let location = error.location.as_deref().copied().unwrap_or(component);
    if let Some(field) = error.missing {
        if !error.is_consequence && !diagnostics.is_misspelled(location.node, field) {
            // The span of the component is its name, which is not a secret.
            let location = ErrorLocation { shows_token: location.node == root.id, ..location };
            let missing = match diagnostics.left_out(location.node, field) {
                None => diagnostic(error, location, path),
                Some(span) => {
                    let hint = "this value of the list is empty: fill it in".to_owned();
                    let location = ErrorLocation { span, shows_token: false, ..location };
                    diagnostic(ReadError { hint, ..error }, location, path)
                }
            };
            diagnostics.push(missing);
        }
        let is_new = !placeholders.contains(&(location.node, field));
        placeholders.push((location.node, field));
        return is_new;
    }
    if error.is_consequence {
        return false;
    }
    if let Some(meant) = error.meant {
        diagnostics.note_misspelled(location.within, meant);
    }
    let is_new = diagnostics.push_and_drop(diagnostic(error, location, path), location.node);
    is_new && location.node != root.id
}

fn diagnostic(error: ReadError, location: ErrorLocation, path: &KeyPath) -> Diagnostic {
    let key = error.keys_inside_out.iter().rev().fold(path.clone(), |path, part| path.segment(part));
    let diagnostic = Diagnostic::error(Some(location.span), &key, error.message, error.hint);
    if location.shows_token { diagnostic } else { diagnostic.without_token() }
}

fn has_dropped(node: &Node, diagnostics: &Diagnostics) -> bool {
    diagnostics.is_dropped(node.id)
        || match &node.value {
            Value::Scalar(_) => false,
            Value::List(items) => items.iter().any(|item| has_dropped(item, diagnostics)),
            Value::Map(entries) => entries.iter().any(|entry| has_dropped(&entry.value, diagnostics)),
        }
}
