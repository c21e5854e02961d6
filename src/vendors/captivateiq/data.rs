//! What changed, from a record's `data`. Its shape is not documented; read are
//!
//! ```text
//! {"name": {"old": "Quota", "new": "Quota FY25"}}      any field
//! {"role": ["Viewer", "Editor"]}, {"role": "Editor"}   fields of users and of employee visibility
//! ```
//!
//! Values of fields that are named after a secret are not read.

use std::borrow::Cow;

use crate::event::Change;
use crate::vendors::credentials;
use crate::vendors::lenient::{self, Json, Members, Text, json_object};

/// The fields whose old and new values may also be a list of two, or the new value alone.
const FIELDS: [&str; 5] = ["is_organization_admin", "is_active", "role", "user", "visible_employee"];

json_object! {
    /// A value before and after.
    struct OldAndNew<'a> {
        old: Json<'a> = "old",
        new: Json<'a> = "new",
    }
}

/// The changes in `data`.
pub(super) fn changes(data: Json<'_>) -> Vec<Change<'_>> {
    let fields: Members<'_, Json<'_>> = data.0.map(lenient::value).unwrap_or_default();
    fields.0.into_iter().filter_map(|(field, value)| change(field, value)).collect()
}

/// The values before and after of a field.
pub(super) fn values<'c, 'a>(
    changes: &'c [Change<'a>],
    field: &str,
) -> (Option<&'c Cow<'a, str>>, Option<&'c Cow<'a, str>>) {
    let change = changes.iter().find(|change| change.field == field);
    change.map_or((None, None), |change| (change.old.as_ref(), change.new.as_ref()))
}

fn change<'a>(field: Cow<'a, str>, value: Json<'a>) -> Option<Change<'a>> {
    let (old, new) = old_and_new(&field, value.0?)?;
    if credentials::part_of_name(&field).is_some() {
        return Some(Change { field, old: None, new: None });
    }
    Some(Change { field, old, new })
}

/// The values; `None` if there are none of a known shape.
fn old_and_new<'a>(field: &str, json: &'a str) -> Option<(Text<'a>, Text<'a>)> {
    let is_listed = FIELDS.contains(&field);
    match json.as_bytes().first()? {
        b'{' => {
            let values: OldAndNew<'_> = lenient::value(json);
            let is_known = values.old.0.is_some() || values.new.0.is_some();
            is_known.then(|| (values.old.shown(), values.new.shown()))
        }
        b'[' if is_listed => {
            let values: Vec<Json<'_>> = lenient::value(json);
            let [old, new] = values[..] else { return None };
            Some((old.shown(), new.shown()))
        }
        _ if is_listed => Some((None, Json(Some(json)).shown())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_three_shapes() {
        let shown = |json: &'static str| {
            let changes = changes(lenient::value(json)).into_iter();
            changes.map(|change| (change.field, change.old, change.new)).collect::<Vec<_>>()
        };
        let role = |old: Option<&'static str>| vec![("role".into(), old.map(Into::into), Some("Editor".into()))];
        assert_eq!(shown(r#"{"role": {"old": "Viewer", "new": "Editor"}}"#), role(Some("Viewer")));
        assert_eq!(shown(r#"{"role": ["Viewer", "Editor"]}"#), role(Some("Viewer")));
        assert_eq!(shown(r#"{"role": "Editor", "name": "Ada", "names": ["a", "b"]}"#), role(None));
        assert!(shown(r#"{"role": ["a", "b", "c"], "is_active": null, "user": {"id": 1}}"#).is_empty());
    }

    #[test]
    fn secrets_are_not_read() {
        for field in ["password", "newPassword", "api_token", "client_SECRET"] {
            let json = format!(r#"{{"{field}": {{"old": "hunter1", "new": "hunter2"}}}}"#);
            let changes = changes(lenient::value(&json));
            assert_eq!(changes, [Change { field: field.into(), old: None, new: None }]);
        }
    }
}
