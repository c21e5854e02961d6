//! The attributes of the OCSF 1.3.0 classes that events have, with their types: what an engine needs that must know all columns
//! before it reads. The JSON encoder is held to it by tests.
//!
//! OCSF has hundreds of attributes per class; these are the ones that [`encode`](super::encode) writes. `unmapped` is free, so
//! it is one column with JSON.

use super::{Event, OcsfVersion, class_in};

/// An attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
}

/// The type of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A 32-bit integer.
    Int,
    /// A 64-bit integer, also a time in milliseconds.
    Long,
    /// A list of strings.
    Texts,
    /// An object.
    Object(&'static [Column]),
    /// A list of objects.
    Objects(&'static [Column]),
    /// An object without a fixed form, as JSON.
    Json,
}

/// The version that the columns belong to.
pub const VERSION: OcsfVersion = OcsfVersion::V1_3;

/// The ids of all classes that events have.
pub const CLASSES: &[u32] = &[3_001, 3_002, 3_005, 3_006, 6_003];

/// The id of the class that [`VERSION`] has for the event.
#[must_use]
pub fn class_uid(event: &Event<'_>) -> u32 {
    class_in(VERSION, event).uid()
}

/// The columns of a class: those of all classes, scalars first, then its own, then `raw_data` and `unmapped`.
#[must_use]
pub fn columns_of(class_uid: u32) -> Vec<Column> {
    let own = match class_uid {
        3_001 => ACCOUNT_CHANGE,
        3_002 => AUTHENTICATION,
        3_005 => USER_ACCESS,
        3_006 => GROUP_MANAGEMENT,
        _ => API_ACTIVITY,
    };
    [BASE, own, LAST].concat()
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

const fn text(name: &'static str) -> Column {
    column(name, Kind::Text)
}

const BASE: &[Column] = &[
    column("time", Kind::Long),
    column("category_uid", Kind::Int),
    column("class_uid", Kind::Int),
    column("activity_id", Kind::Int),
    text("activity_name"),
    column("type_uid", Kind::Long),
    column("severity_id", Kind::Int),
    column("status_id", Kind::Int),
    text("status"),
    text("message"),
    column("metadata", Kind::Object(METADATA)),
    column("actor", Kind::Object(&[text("app_name"), USER])),
    column("src_endpoint", Kind::Object(&[text("ip"), text("svc_name")])),
    column("observables", Kind::Objects(&[text("name"), column("type_id", Kind::Int), text("value")])),
];

const METADATA: &[Column] = &[
    text("version"),
    column("profiles", Kind::Texts),
    column("product", Kind::Object(&[text("name"), text("vendor_name")])),
    text("uid"),
    text("event_code"),
    text("log_name"),
    text("tenant_uid"),
    text("original_time"),
    column("logged_time", Kind::Long),
];

const USER: Column = column(
    "user",
    Kind::Object(&[text("uid"), text("name"), text("email_addr"), text("type"), column("type_id", Kind::Int)]),
);

const SERVICE: Column = column("service", Kind::Object(&[text("name")]));

const PRIVILEGES: Column = column("privileges", Kind::Texts);

const ACCOUNT_CHANGE: &[Column] = &[USER];

const AUTHENTICATION: &[Column] = &[USER, SERVICE];

const USER_ACCESS: &[Column] = &[USER, PRIVILEGES];

const GROUP_MANAGEMENT: &[Column] = &[column("group", Kind::Object(&[text("uid"), text("name")])), USER, PRIVILEGES];

const API_ACTIVITY: &[Column] = &[
    column("api", Kind::Object(&[text("operation"), SERVICE])),
    column("resources", Kind::Objects(&[text("uid"), text("name"), text("type")])),
];

const LAST: &[Column] = &[text("raw_data"), column("unmapped", Kind::Json)];
