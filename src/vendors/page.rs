//! Parsing the envelope of a page: errors for other bodies, fields that are read as meant, links, offsets.
//!
//! ```text
//! body --one pass--> fields, fields of fields, and each element of a list as the exact bytes that were sent
//! ```

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::api_error;
use super::contract::BadPage;
use super::json::{Kind, Malformed, Reader};
use super::lenient;

/// Objects in an envelope that are nested deeper are skipped. The deepest field of a documented envelope is at 3.
const MAX_DEPTH: u8 = 4;

/// Parses a page's envelope.
///
/// # Errors
/// When the body is a web page, empty, truncated, or not a JSON object.
pub fn envelope<'a>(vendor: &str, body: &'a str) -> Result<Fields<'a>, BadPage> {
    let start = body.trim_start();
    if start.is_empty() {
        return Err(BadPage::unreadable(format!("{vendor} sent an empty answer")));
    }
    if start.starts_with('<') {
        return Err(BadPage::unreadable(format!(
            "{vendor} sent a web page instead of JSON; \
             check base_url, and whether a proxy, firewall or login page is in front of the API"
        )));
    }
    if start.starts_with('{')
        && let Ok(fields) = fields_of_body(body)
    {
        return Ok(fields);
    }
    match serde_json::from_str::<IgnoredAny>(body) {
        Err(error) if error.is_eof() => {
            Err(BadPage::unreadable(format!("the answer of {vendor} is truncated after {} bytes", body.len())))
        }
        Err(error) => Err(BadPage::unreadable(format!(
            "{vendor} sent a body that is not a page of its audit trail: {}",
            api_error::excerpt(&error.to_string())
        ))),
        Ok(IgnoredAny) => Err(not_a_page(vendor, body)),
    }
}

fn fields_of_body(body: &str) -> Result<Fields<'_>, Malformed> {
    let mut reader = Reader::new(body);
    let fields = read_fields(&mut reader, MAX_DEPTH)?;
    reader.end().map(|()| fields)
}

fn read_fields<'a>(reader: &mut Reader<'a>, depth: u8) -> Result<Fields<'a>, Malformed> {
    let (mut fields, mut is_first) = (Fields::default(), true);
    reader.open()?;
    while let Some(name) = reader.member(&mut is_first)? {
        fields.0.push((name, read_field(reader, depth - 1)?));
    }
    Ok(fields)
}

fn read_field<'a>(reader: &mut Reader<'a>, depth: u8) -> Result<Field<'a>, Malformed> {
    Ok(match reader.kind()? {
        Kind::Object if depth > 0 => Field::Object(read_fields(reader, depth)?),
        Kind::List => {
            let (mut elements, mut is_first) = (Vec::new(), true);
            reader.open()?;
            while reader.element(&mut is_first)? {
                elements.push(reader.skip()?);
            }
            Field::List(elements)
        }
        _ => Field::Other(reader.skip()?),
    })
}

/// The error for valid JSON that is not this vendor's envelope.
#[must_use]
pub fn not_a_page(vendor: &str, body: &str) -> BadPage {
    BadPage::unreadable(format!(
        "{vendor} sent a body that is not a page of its audit trail: {}",
        api_error::excerpt(body)
    ))
}

/// The fields of an envelope, or of an object in it. The last of repeated fields wins, and a value of another type than
/// the documented one is read as meant where its meaning is clear.
#[derive(Debug, Default)]
pub struct Fields<'a>(Vec<(Cow<'a, str>, Field<'a>)>);

#[derive(Debug)]
enum Field<'a> {
    Object(Fields<'a>),
    /// The exact bytes of each element.
    List(Vec<&'a str>),
    /// The exact bytes of any other value, or of an object that is nested too deep.
    Other(&'a str),
}

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&Field<'a>> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, field)| field)
    }

    /// The JSON of a field that is neither an object nor a list.
    fn scalar(&self, name: &str) -> Option<&'a str> {
        let Some(Field::Other(json)) = self.get(name) else { return None };
        Some(json)
    }

    /// Whether one of the fields is present.
    #[must_use]
    pub fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.get(name).is_some())
    }

    /// Whether a field is `null`.
    #[must_use]
    pub fn is_null(&self, name: &str) -> bool {
        self.scalar(name) == Some("null")
    }

    /// Whether there is no field at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields of a nested object; none if it is absent, null or of another type.
    #[must_use]
    pub fn nested(&self, name: &str) -> &Self {
        const NONE: &Fields<'static> = &Fields(Vec::new());
        if let Some(Field::Object(fields)) = self.get(name) { fields } else { NONE }
    }

    /// A field as a string; `None` for any other type.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        lenient::value(self.scalar(name)?)
    }

    /// A count: also as text or with a fraction of zero. Negative numbers stand for unknown ones.
    #[must_use]
    pub fn count(&self, name: &str) -> Option<u64> {
        lenient::value::<Option<i64>>(self.scalar(name)?)?.try_into().ok()
    }

    /// What leads to the next page, as text. Absent, `null`, `false`, `0` and `""` mean that there is no next page.
    ///
    /// # Errors
    /// For any other type: to treat it as the end would lose the remaining records.
    pub fn next(&self, name: &str) -> Result<Option<Cow<'a, str>>, BadPage> {
        let wrong = |json: &str| {
            BadPage::unreadable(format!("its `{name}` does not lead to a next page: {}", api_error::excerpt(json)))
        };
        match self.get(name) {
            None | Some(Field::Other("null" | "false" | "0" | "\"\"")) => Ok(None),
            Some(Field::Other(json)) if json.starts_with('"') || json.bytes().all(|byte| byte.is_ascii_digit()) => {
                lenient::value::<lenient::Text<'a>>(json).map(Some).ok_or_else(|| wrong(json))
            }
            Some(Field::Other(json)) => Err(wrong(json)),
            Some(Field::Object(_)) => Err(wrong("an object")),
            Some(Field::List(_)) => Err(wrong("a list")),
        }
    }

    /// The records of a list, each as the exact bytes that were sent. `left` is how many records there are from this page
    /// on, if the vendor says so: with none left, the list may be absent; unless there are some, it may be null.
    ///
    /// # Errors
    /// When the list is missing, or of another type.
    pub fn list(&self, name: &str, left: Option<u64>) -> Result<Vec<&'a str>, BadPage> {
        let missing = |what: &str| {
            let records = left.map_or_else(String::new, |left| format!(", although {left} records are announced"));
            BadPage::shape(format!("its list of records `{name}` is {what}{records}; if this persists, check base_url"))
        };
        match self.get(name) {
            None if left == Some(0) => Ok(Vec::new()),
            None => Err(missing("missing")),
            Some(Field::Other("null")) if left.is_none_or(|left| left == 0) => Ok(Vec::new()),
            Some(Field::Other("null")) => Err(missing("null")),
            Some(Field::List(records)) => Ok(records.clone()),
            Some(_) => Err(missing("of another type")),
        }
    }
}

/// The value of a query parameter of a link, absolute or relative. Only the value is used, never the link's host.
#[must_use]
pub fn query_value(link: &str, name: &str) -> Option<String> {
    let (_, query) = link.split_once('?')?;
    let query = query.split('#').next().unwrap_or_default();
    let (_, value) = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name)?;
    (!value.is_empty()).then(|| value.into_owned())
}

/// The offset that a cursor holds; 0 for the first page.
///
/// # Errors
/// When the cursor is not a number.
pub fn offset(cursor: Option<&str>) -> Result<u64, BadPage> {
    let Some(cursor) = cursor else { return Ok(0) };
    cursor.parse().map_err(|_| BadPage::unreadable(format!("the page cursor `{cursor}` is not an offset")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendors::BadPageKind;

    #[test]
    fn other_bodies_are_described() {
        for (body, says) in [
            ("", "empty"),
            (" <html>log in</html>", "web page"),
            ("{\"a\":", "truncated"),
            ("{\"a\" null}", "not a page"),
            ("[[1]]", "not a page"),
            ("[1]", "not a page"),
        ] {
            let error = envelope("clumio", body).expect_err(body);
            assert!(error.message.contains(says), "{error}");
        }
    }

    #[test]
    fn query_values_are_found_by_full_name() {
        let link = "/audit-trails?filter=%7B%22start_timestamp%22%3A%22start%3D9%22%7D&limit=2&start=2#start=7";
        assert_eq!(query_value(link, "start").as_deref(), Some("2"));
        assert_eq!(query_value("https://example.com/x?a=b%20c", "a").as_deref(), Some("b c"));
        for link in ["/x", "/x?start=", "/x?limit=2", "/x#?start=2x"] {
            assert_eq!(query_value(link, "begin"), None, "{link}");
        }
        assert_eq!(query_value("/x?start=", "start"), None);
    }

    #[test]
    fn offsets() {
        assert_eq!(offset(None), Ok(0));
        assert_eq!(offset(Some("1000")), Ok(1000));
        assert!(offset(Some("cD0y")).is_err());
    }

    fn fields(json: &str) -> Fields<'_> {
        envelope("clumio", json).expect("an object")
    }

    #[test]
    fn counts_are_read_as_meant() {
        for (json, count) in [
            (r#"{"size": 57}"#, Some(57)),
            (r#"{"size": "57"}"#, Some(57)),
            (r#"{"size": 57.0}"#, Some(57)),
            (r#"{"size": 1, "size": 57}"#, Some(57)),
            (r#"{"size": -1}"#, None),
            (r#"{"size": null}"#, None),
            (r#"{"size": "many"}"#, None),
            (r#"{"size": {}}"#, None),
            ("{}", None),
        ] {
            assert_eq!(fields(json).count("size"), count, "{json}");
        }
    }

    #[test]
    fn a_list_may_be_missing_only_if_nothing_is_left() {
        let list = |json, left| fields(json).list("items", left).map_err(|bad| bad.kind);
        let missing = Err(BadPageKind::Shape);
        assert_eq!(list(r#"{"items": [{"a": 1}, 2]}"#, Some(2)), Ok(vec![r#"{"a": 1}"#, "2"]));
        assert_eq!(list(r#"{"items": [], "items": [2]}"#, None), Ok(vec!["2"]));
        assert_eq!(list(r#"{"items": null}"#, Some(0)), Ok(vec![]));
        assert_eq!(list(r#"{"items": null}"#, None), Ok(vec![]));
        assert_eq!(list(r#"{"items": null}"#, Some(57)), missing);
        assert_eq!(list("{}", Some(0)), Ok(vec![]));
        assert_eq!(list("{}", Some(57)), missing);
        assert_eq!(list("{}", None), missing);
        assert_eq!(list(r#"{"items": {}}"#, Some(0)), missing);
    }

    #[test]
    fn what_leads_to_no_next_page() {
        for json in ["{}", r#"{"next": null}"#, r#"{"next": false}"#, r#"{"next": 0}"#, r#"{"next": ""}"#] {
            assert_eq!(fields(json).next("next"), Ok(None), "{json}");
        }
        assert_eq!(fields(r#"{"next": "cD0y"}"#).next("next").expect("a cursor").as_deref(), Some("cD0y"));
        assert_eq!(fields(r#"{"next": 7}"#).next("next").expect("a cursor").as_deref(), Some("7"));
        assert!(fields(r#"{"next": {"page": 2}}"#).next("next").is_err());
        assert!(fields(r#"{"next": true}"#).next("next").is_err());
    }
}
