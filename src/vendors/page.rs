//! Parsing the envelope of a page: errors for other bodies, query values of links, offsets.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::contract::BadPage;
use super::{api_error, lenient};

/// Parses a page's envelope.
///
/// # Errors
/// When the body is a web page, empty, truncated, or of another shape.
pub fn envelope<'a, T: Deserialize<'a>>(vendor: &str, body: &'a str) -> Result<T, BadPage> {
    let start = body.trim_start();
    if start.is_empty() {
        return Err(BadPage(format!("{vendor} sent an empty answer")));
    }
    if start.starts_with('<') {
        return Err(BadPage(format!(
            "{vendor} sent a web page instead of JSON; \
             check base_url, and whether a proxy, firewall or login page is in front of the API"
        )));
    }
    let envelope = serde_json::from_str(body).map_err(|error| match error.is_eof() {
        true => BadPage(format!("the answer of {vendor} is truncated after {} bytes", body.len())),
        false => BadPage(format!(
            "{vendor} sent a body that is not a page of its audit trail: {}",
            api_error::excerpt(&error.to_string())
        )),
    })?;
    // Serde would accept a list as a struct.
    if start.starts_with('{') { Ok(envelope) } else { Err(not_a_page(vendor, body)) }
}

/// The error for valid JSON that is not this vendor's envelope.
#[must_use]
pub fn not_a_page(vendor: &str, body: &str) -> BadPage {
    BadPage(format!("{vendor} sent a body that is not a page of its audit trail: {}", api_error::excerpt(body)))
}

/// For `#[serde(default, deserialize_with = "present")]`: distinguishes a field that is null from one that is absent.
///
/// # Errors
/// Those of the field's own type.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A field of the envelope as a string; `None` for any other type, which does not make the page invalid.
#[must_use]
pub fn text(part: Option<&RawValue>) -> Option<Cow<'_, str>> {
    lenient::value(part?.get())
}

/// A field of the envelope as a number; `None` for any other type, which does not make the page invalid.
#[must_use]
pub fn count(part: Option<&RawValue>) -> Option<u64> {
    lenient::value::<Option<i64>>(part?.get())?.try_into().ok()
}

/// The value of a query parameter of a link, absolute or relative. Only the value is used, never the link's host.
#[must_use]
pub fn query_value(link: &str, name: &str) -> Option<String> {
    let (_, query) = link.split_once('?')?;
    let query = query.split('#').next().unwrap_or_default();
    let (_, value) = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name)?;
    (!value.is_empty()).then(|| value.into_owned())
}

/// The records of a list, each as the exact bytes that were sent.
#[must_use]
pub fn records<'a>(list: &[&'a RawValue]) -> Vec<&'a str> {
    list.iter().map(|record| record.get()).collect()
}

/// The offset that a cursor holds; 0 for the first page.
///
/// # Errors
/// When the cursor is not a number.
pub fn offset(cursor: Option<&str>) -> Result<u64, BadPage> {
    let Some(cursor) = cursor else { return Ok(0) };
    cursor.parse().map_err(|_| BadPage(format!("the page cursor `{cursor}` is not an offset")))
}

/// The cursor after a page with `received` records (a vendor may return fewer than requested). `None` when the page is
/// empty or the vendor's total is reached.
///
/// # Errors
/// When the cursor is not a number.
pub fn next_offset(cursor: Option<&str>, received: usize, total: Option<u64>) -> Result<Option<String>, BadPage> {
    let reached = offset(cursor)?.saturating_add(u64::try_from(received).unwrap_or(u64::MAX));
    let is_last = received == 0 || total.is_some_and(|total| reached >= total);
    Ok((!is_last).then(|| reached.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bodies_are_described() {
        for (body, says) in [
            ("", "empty"),
            (" <html>log in</html>", "web page"),
            ("{\"a\":", "truncated"),
            ("{\"a\":null}", "not a page"),
            ("[[1]]", "not a page"),
            ("[1]", "not a page"),
        ] {
            let error = envelope::<std::collections::BTreeMap<String, u8>>("clumio", body).expect_err(body);
            assert!(error.0.contains(says), "{}", error.0);
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

    #[test]
    fn offset_paging_ends_at_the_total_or_at_an_empty_page() {
        assert_eq!(next_offset(None, 3, Some(57)), Ok(Some("3".to_owned())));
        assert_eq!(next_offset(Some("55"), 2, Some(57)), Ok(None));
        assert_eq!(next_offset(Some("60"), 2, Some(57)), Ok(None));
        assert_eq!(next_offset(Some("30"), 0, Some(57)), Ok(None));
        assert_eq!(next_offset(Some("30"), 5, None), Ok(Some("35".to_owned())));
    }
}
