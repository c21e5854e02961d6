//! Fields that the records of all vendors have: identifiers, addresses, e-mail addresses.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use super::json::{Kind, Malformed, Reader};
use super::lenient::{FromJson, Text};
use super::shape::Shape;

/// An identifier: text, or a number as its text. Any other value that is not null is lost (as text, `true` would make one
/// record of many), which must be said: see [`Problems`](super::record::Problems).
#[derive(Debug, Default)]
pub(super) struct Identifier<'a> {
    text: Text<'a>,
    is_lost: bool,
}

impl<'a> Identifier<'a> {
    /// The text.
    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// The text, to keep.
    pub(super) fn into_text(self) -> Text<'a> {
        self.text
    }

    /// Whether the record has a value that is not usable as an identifier.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    const LOST: Self = Self { text: None, is_lost: true };
}

impl<'a> From<Text<'a>> for Identifier<'a> {
    fn from(text: Text<'a>) -> Self {
        Self { text, is_lost: false }
    }
}

impl<'de> FromJson<'de> for Identifier<'de> {
    fn shape() -> Shape {
        Shape::Value(&[Kind::Text], &[Kind::Number])
    }

    fn from_text(text: Cow<'de, str>) -> Self {
        Text::from_text(text).into()
    }

    fn from_bool(_value: bool) -> Self {
        Self::LOST
    }

    fn from_number(number: &'de str) -> Self {
        Text::from_number(number).map_or(Self::LOST, |text| Some(text).into())
    }

    fn from_object(reader: &mut Reader<'de>) -> Result<Self, Malformed> {
        reader.skip().map(|_| Self::LOST)
    }

    fn from_list(reader: &mut Reader<'de>) -> Result<Self, Malformed> {
        reader.skip().map(|_| Self::LOST)
    }
}

/// An IP address: of a list, as proxies write it, the first valid one; without port and brackets.
#[derive(Debug, Default)]
pub(super) struct Address<'a>(Text<'a>);

impl<'a> Address<'a> {
    /// The address, if there is a valid one.
    pub(super) fn ip(self) -> Text<'a> {
        self.0
    }
}

impl<'de> FromJson<'de> for Address<'de> {
    fn shape() -> Shape {
        Shape::Value(&[Kind::Text], &[Kind::List])
    }

    fn from_text(text: Cow<'de, str>) -> Self {
        Self(ip(Some(text)))
    }

    fn from_list(reader: &mut Reader<'de>) -> Result<Self, Malformed> {
        let addresses: Vec<Self> = Vec::from_list(reader)?;
        Ok(Self(addresses.into_iter().find_map(Self::ip)))
    }
}

/// The first valid address of a text; see [`Address`].
pub(super) fn ip(text: Text<'_>) -> Text<'_> {
    let text = text?;
    if text.parse::<IpAddr>().is_ok() {
        return Some(text);
    }
    text.split([',', ';']).find_map(address).map(|address| Cow::Owned(address.to_string()))
}

fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// The e-mail address in lower case; `None` if the text does not look like one.
pub(super) fn email(text: Text<'_>) -> Text<'_> {
    let text = text?;
    let trimmed = text.trim();
    if !looks_like_email(trimmed) {
        return None;
    }
    if trimmed.len() == text.len() && !text.chars().any(char::is_uppercase) {
        return Some(text);
    }
    Some(Cow::Owned(trimmed.to_lowercase()))
}

/// Whether the text looks like one e-mail address: no white space, one `@`, a dot inside the domain.
pub(super) fn looks_like_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let inner_dot = domain.trim_matches('.').contains('.');
    !local.is_empty() && inner_dot && !domain.contains('@') && !text.chars().any(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendors::lenient;

    #[test]
    fn identifiers_are_text_or_lost_but_never_silently_absent() {
        for (json, text, is_lost) in [
            (r#""a1""#, Some("a1"), false),
            ("12345", Some("12345"), false),
            ("18446744073709551615", Some("18446744073709551615"), false),
            ("1.5", Some("1.5"), false),
            ("true", None, true),
            ("null", None, false),
            (r#""""#, None, false),
            ("1e300", None, true),
            (r#"{"a":1}"#, None, true),
            ("[1]", None, true),
        ] {
            let id: Identifier<'_> = lenient::value(json);
            assert_eq!((id.text(), id.is_lost()), (text, is_lost), "{json}");
        }
    }

    #[test]
    fn the_first_valid_address_counts_without_port_and_brackets() {
        for (json, ip) in [
            (r#""192.0.2.61""#, Some("192.0.2.61")),
            (r#""2001:db8::17""#, Some("2001:db8::17")),
            (r#""203.0.113.5, 10.0.0.1""#, Some("203.0.113.5")),
            (r#""unknown, 2001:db8::17 ,10.0.0.1""#, Some("2001:db8::17")),
            (r#""203.0.113.5:443""#, Some("203.0.113.5")),
            (r#""[2001:db8::17]:443""#, Some("2001:db8::17")),
            (r#""[2001:db8::17]""#, Some("2001:db8::17")),
            (r#"["-", null, "203.0.113.5:443", "10.0.0.1"]"#, Some("203.0.113.5")),
            (r#""""#, None),
            (r#""-""#, None),
            (r#""not an ip""#, None),
            (r#""300.1.1.1""#, None),
            (r#""10.0.0.1:port""#, None),
            ("17", None),
            ("{}", None),
        ] {
            assert_eq!(lenient::value::<Address<'_>>(json).ip().as_deref(), ip, "{json}");
        }
    }

    #[test]
    fn emails_are_in_lower_case_and_look_like_one() {
        for (text, address) in [
            ("ada@example.com", Some("ada@example.com")),
            (" Ada@Example.com ", Some("ada@example.com")),
            ("ci-bot@a.example.io", Some("ci-bot@a.example.io")),
            ("Sarah Brown@example.io", None),
            ("admin", None),
            ("-", None),
            ("@example.com", None),
            ("a@b", None),
            ("a@b@c.d", None),
            ("a@.d", None),
            ("a\t@b.c", None),
        ] {
            assert_eq!(email(Some(text.into())).as_deref(), address, "{text}");
        }
        assert!(matches!(email(Some("ada@example.com".into())), Some(Cow::Borrowed(_))));
    }
}
