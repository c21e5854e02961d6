//! Akuity's query: dotted paths into a nested message, as grpc-gateway reads them.
//!
//! Each element may be written in lowerCamelCase or snake_case; unknown names are ignored; a repeated scalar,
//! an invalid number and map syntax are errors.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::simulator::http::ApiRequest;
use crate::simulator::store::Window;
use crate::simulator::variants::{AkuityVariants, BoundKind, OnExcess};
use crate::time::Timestamp;

/// The object types that can be requested, as in the query and in `object.type`.
const OBJECTS: [(&str, &str); 20] = [
    ("k8sResource", "k8s_resource"),
    ("argocdApplication", "argocd_application"),
    ("argocdCluster", "argocd_cluster"),
    ("argocdInstance", "argocd_instance"),
    ("argocdProject", "argocd_project"),
    ("member", "member"),
    ("organizationInvite", "organization_invite"),
    ("kargoInstance", "kargo_instance"),
    ("kargoAgent", "kargo_agent"),
    ("kargoPromotion", "kargo_promotion"),
    ("kargoFreight", "kargo_freight"),
    ("customRoles", "custom_role"),
    ("notificationCfg", "notification_cfg"),
    ("apiKeys", "api_key"),
    ("addons", "addon"),
    ("addonRepos", "addon_repo"),
    ("addonMarketplaceInstall", "addon_marketplace_install"),
    ("workspace", "workspace"),
    ("workspaceMember", "workspace_member"),
    ("organization", "organization"),
];

/// The parsed query parameters of a request.
#[derive(Debug)]
pub(super) struct QueryParams {
    pub(super) window: Window,
    pub(super) limit: usize,
    pub(super) offset: usize,
    /// Requested values by field: `actorId`, `actorType`, `action`.
    values: BTreeMap<String, Vec<String>>,
    /// Requested objects: the conditions of each type.
    objects: BTreeMap<&'static str, BTreeMap<String, Vec<String>>>,
}

impl QueryParams {
    /// Reads the query; the error is the message of the error.
    pub(super) fn read(request: &ApiRequest, variants: &AkuityVariants) -> Result<Self, String> {
        let fields = Fields::read(request)?;
        let from = fields.time("startTime")?.unwrap_or(Window::ALL.from);
        let to = fields.time("endTime")?.map_or(Window::ALL.to, |to| match variants.end_bound {
            BoundKind::Inclusive => to + Duration::from_nanos(1),
            BoundKind::Strict => to,
        });
        let limit = fields.number("limit")?.filter(|limit| *limit > 0).unwrap_or(variants.default_limit);
        if limit > variants.max_limit && variants.on_excess == OnExcess::Reject {
            return Err(format!("limit must be at most {}", variants.max_limit));
        }
        Ok(Self {
            window: Window { from, to },
            limit: limit.min(variants.max_limit),
            offset: fields.number("offset")?.unwrap_or(0),
            values: fields.repeated(&["actorId", "actorType", "action"]),
            objects: fields.objects()?,
        })
    }

    pub(super) fn is_time_only(&self) -> bool {
        self.values.is_empty() && self.objects.is_empty()
    }

    /// Whether a record matches; a malformed record matches no condition.
    pub(super) fn matches(&self, raw: &str) -> bool {
        if self.is_time_only() {
            return true;
        }
        let Ok(log) = serde_json::from_str::<Log<'_>>(raw) else { return false };
        self.values.iter().all(|(field, wanted)| is_among(log.value(field), wanted)) && self.matches_object(&log)
    }

    fn matches_object(&self, log: &Log<'_>) -> bool {
        if self.objects.is_empty() {
            return true;
        }
        let Some(object) = &log.object else { return false };
        let conditions = object.kind.as_deref().and_then(|kind| self.objects.get(kind));
        conditions.is_some_and(|fields| fields.iter().all(|(field, wanted)| is_among(object.value(field), wanted)))
    }
}

fn is_among(found: Option<&str>, wanted: &[String]) -> bool {
    found.is_some_and(|found| wanted.iter().any(|one| one == found))
}

/// The parameters below `filters.`, by their path in lowerCamelCase.
struct Fields(BTreeMap<String, Vec<String>>);

impl Fields {
    fn read(request: &ApiRequest) -> Result<Self, String> {
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in request.query.pairs() {
            if let Some((path, _)) = name.split_once('[').filter(|(path, _)| *path == "filters") {
                return Err(format!("invalid path: {path:?} is not a map"));
            }
            let Some(path) = name.strip_prefix("filters.") else { continue };
            fields.entry(lower_camel(path)).or_default().push(value.clone());
        }
        Ok(Self(fields))
    }

    fn scalar(&self, name: &str) -> Result<Option<&str>, String> {
        match self.0.get(name).map(Vec::as_slice) {
            None => Ok(None),
            Some([one]) => Ok(Some(one)),
            Some(many) => Err(format!("too many values for field {:?}: {}", snake(name), many.join(", "))),
        }
    }

    fn number(&self, name: &str) -> Result<Option<usize>, String> {
        let Some(text) = self.scalar(name)? else { return Ok(None) };
        let number = text.parse::<u32>().map_err(|_| {
            format!("parsing field {:?}: strconv.ParseUint: parsing {text:?}: invalid syntax", snake(name))
        })?;
        Ok(usize::try_from(number).ok())
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, String> {
        let Some(text) = self.scalar(name)?.filter(|text| !text.is_empty()) else { return Ok(None) };
        Timestamp::parse_rfc3339(text)
            .map(Some)
            .ok_or_else(|| format!("invalid {}: {text:?} is not RFC 3339", snake(name)))
    }

    fn repeated(&self, names: &[&str]) -> BTreeMap<String, Vec<String>> {
        let wanted = names.iter().filter_map(|name| Some(((*name).to_owned(), self.0.get(*name)?.clone())));
        wanted.collect()
    }

    /// The objects with `enabled=true`, each with its conditions.
    fn objects(&self) -> Result<BTreeMap<&'static str, BTreeMap<String, Vec<String>>>, String> {
        let mut objects = BTreeMap::new();
        for (object, kind) in OBJECTS {
            if self.scalar(&format!("{object}.enabled"))? != Some("true") {
                continue;
            }
            let prefix = format!("{object}.object");
            let conditions = self.0.iter().filter_map(|(path, values)| {
                let field = path.strip_prefix(&prefix)?;
                Some((field.to_owned(), values.clone()))
            });
            objects.insert(kind, conditions.collect());
        }
        Ok(objects)
    }
}

/// `start_time` and `startTime` are the same field.
fn lower_camel(path: &str) -> String {
    let mut camel = String::with_capacity(path.len());
    let mut raise = false;
    for letter in path.chars() {
        if letter == '_' {
            raise = true;
        } else if raise {
            camel.push(letter.to_ascii_uppercase());
            raise = false;
        } else {
            camel.push(letter);
        }
    }
    camel
}

fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 2);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// The fields that can be filtered by.
#[derive(Deserialize)]
struct Log<'a> {
    #[serde(borrow)]
    action: Option<Cow<'a, str>>,
    #[serde(borrow)]
    actor: Option<Actor<'a>>,
    #[serde(borrow)]
    object: Option<Object<'a>>,
}

#[derive(Deserialize)]
struct Actor<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
    #[serde(borrow)]
    parent_id: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
}

impl Log<'_> {
    fn value(&self, field: &str) -> Option<&str> {
        match field {
            "action" => self.action.as_deref(),
            "actorId" => self.actor.as_ref()?.id.as_deref(),
            _ => self.actor.as_ref()?.kind.as_deref(),
        }
    }
}

impl Object<'_> {
    /// The value of a condition's field, which is named without its leading `object`.
    fn value(&self, field: &str) -> Option<&str> {
        let (part, name) = match field {
            "Name" => (&self.id, "name"),
            "Kind" => (&self.id, "kind"),
            "Group" => (&self.id, "group"),
            "ParentName" | "ParentKargoProjectName" => (&self.parent_id, "name"),
            "ParentParentName" => (&self.parent_id, "parentName"),
            "ParentApplicationName" => (&self.parent_id, "applicationName"),
            _ => return None,
        };
        part.as_ref()?.get(name).map(|value| &**value)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::*;
    use crate::simulator::http::Query;

    fn params(query: &str) -> Result<QueryParams, String> {
        let (method, path) = ("GET".to_owned(), String::new());
        let request = ApiRequest { method, path, query: Query::parse(query), headers: HeaderMap::new() };
        QueryParams::read(&request, &AkuityVariants::default())
    }

    #[test]
    fn both_spellings_of_a_name_are_equal() {
        let first = params("filters.startTime=2026-03-02T08:00:00Z&filters.limit=5").expect("an params");
        let second = params("filters.start_time=2026-03-02T08:00:00Z&filters.limit=5").expect("an params");
        assert_eq!((first.window, first.limit), (second.window, second.limit));
    }

    #[test]
    fn unknown_names_are_ignored() {
        assert_eq!(params("startTime=2026-03-02T08:00:00Z&filters.color=red").expect("an params").window, Window::ALL);
    }

    #[test]
    fn errors_match_those_of_the_gateway() {
        let message = params("filters.limit=x").expect_err("no number");
        assert!(message.starts_with("parsing field \"limit\":"), "{message}");
        let message = params("filters.limit=1&filters.limit=2").expect_err("twice");
        assert_eq!(message, "too many values for field \"limit\": 1, 2");
        for query in ["filters[startTime]=x", "filters.startTime=yesterday", "filters.offset=-1"] {
            assert!(params(query).is_err(), "{query}");
        }
    }

    #[test]
    fn values_of_one_field_are_alternatives_and_fields_are_combined() {
        let raw = r#"{"action":"deleted","actor":{"type":"api_key","id":"ci"},"object":{"type":"custom_role",
            "id":{"name":"dev","kind":"","group":""},"parentId":null}}"#;
        for (query, passes) in [
            ("filters.action=created&filters.action=deleted", true),
            ("filters.action=deleted&filters.actorType=user", false),
            ("filters.customRoles.enabled=true", true),
            ("filters.customRoles.enabled=true&filters.customRoles.objectName=ops", false),
            ("filters.workspace.enabled=true", false),
            (
                "filters.workspace.enabled=true&filters.customRoles.enabled=true&filters.customRoles.objectName=dev",
                true,
            ),
        ] {
            assert_eq!(params(query).expect(query).matches(raw), passes, "{query}");
        }
    }
}
