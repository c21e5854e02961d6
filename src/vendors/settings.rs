//! Checks of settings that several vendors share: the base URL, enumerated values, values for headers and paths.

use serde::de::{DeserializeOwned, IntoDeserializer, value::Error};
use url::{Host, Url};

use super::contract::NormalizerConfig;
use crate::diagnostic::SettingDiagnostic;

/// Defines a setting with enumerated values; the first is the default.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident {
        $(#[$first_doc:meta])* $first:ident = $first_word:literal,
        $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
        pub enum $name {
            $(#[$first_doc])*
            #[default]
            #[serde(rename = $first_word)]
            $first,
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every value, the default first.
            pub const WORDS: &'static [&'static str] = &[$first_word, $($word,)+];

            /// The value as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { Self::$first => $first_word, $(Self::$variant => $word,)+ }
            }
        }
    };
}

pub(crate) use choice;

/// The value of an option from the journal; the default if it is missing or unknown to this version.
#[must_use]
pub fn chosen<T: DeserializeOwned + Default>(normalizer_config: &NormalizerConfig, option: &str) -> T {
    let word = normalizer_config.options.get(option).map(String::as_str).unwrap_or_default();
    T::deserialize(IntoDeserializer::<Error>::into_deserializer(word)).unwrap_or_default()
}

/// Checks the `base_url` of a source and returns it without a trailing slash; `standard` if it is not set.
///
/// # Errors
/// When it is not an `https://` URL (`http://` is for loopback hosts only), or has credentials, a query or a fragment.
pub fn base_url(setting: Option<&str>, standard: &str) -> Result<String, SettingDiagnostic> {
    let Some(written) = setting else { return Ok(standard.to_owned()) };
    let invalid = |message: String| SettingDiagnostic {
        key: "base_url".to_owned(),
        message,
        hint: format!("write a URL such as {standard}"),
    };
    let url = Url::parse(written).map_err(|error| invalid(format!("is not a URL: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("the URL must not contain credentials".to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("the URL must not have a query or a fragment".to_owned()));
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            return Err(invalid(
                "http:// would send credentials unencrypted; it is allowed for loopback addresses only".to_owned(),
            ));
        }
        other => return Err(invalid(format!("the scheme `{other}` is not supported"))),
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The diagnostic of an unknown value, with the nearest known one.
#[must_use]
pub fn unknown_word(key: &str, value: &str, known: &[&str]) -> SettingDiagnostic {
    let nearest = known.iter().max_by(|a, b| strsim::jaro_winkler(a, value).total_cmp(&strsim::jaro_winkler(b, value)));
    let hint = match nearest {
        Some(word) if strsim::jaro_winkler(word, value) > 0.7 => {
            format!("did you mean `{word}`? use one of {}", known.join(", "))
        }
        _ => format!("use one of {}", known.join(", ")),
    };
    SettingDiagnostic { key: key.to_owned(), message: format!("`{value}` is unknown"), hint }
}

/// An optional string that goes into a request must be printable ASCII and not blank.
pub(super) fn plain_if_given(key: &str, value: Option<&str>, diagnostics: &mut Vec<SettingDiagnostic>) {
    let Some(value) = value else { return };
    let plain = !value.trim().is_empty() && value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if !plain {
        let hint = "copy the value from the vendor's web pages, or remove the setting";
        invalid(diagnostics, key, "is empty or contains characters that cannot be sent", hint);
    }
}

/// [`base_url`] with its error added to the list and an empty URL as placeholder.
pub(super) fn checked_base_url(
    setting: Option<&str>,
    standard: &str,
    diagnostics: &mut Vec<SettingDiagnostic>,
) -> String {
    base_url(setting, standard).map_err(|diagnostic| diagnostics.push(diagnostic)).unwrap_or_default()
}

/// Adds one diagnostic to the list.
pub(super) fn invalid(diagnostics: &mut Vec<SettingDiagnostic>, key: &str, message: impl Into<String>, hint: &str) {
    diagnostics.push(SettingDiagnostic { key: key.to_owned(), message: message.into(), hint: hint.to_owned() });
}

/// A required string must not be blank.
pub(super) fn not_blank(key: &str, value: &str, hint: &str, diagnostics: &mut Vec<SettingDiagnostic>) {
    if value.trim().is_empty() {
        invalid(diagnostics, key, "is empty", hint);
    }
}

/// An optional string must not be blank.
pub(super) fn not_blank_if_given(key: &str, value: Option<&str>, diagnostics: &mut Vec<SettingDiagnostic>) {
    if let Some(value) = value {
        not_blank(key, value, "set a value or remove the setting", diagnostics);
    }
}

/// A number must be at least 1.
pub(super) fn at_least_one(key: &str, value: Option<u32>, diagnostics: &mut Vec<SettingDiagnostic>) {
    if value == Some(0) {
        invalid(diagnostics, key, "is 0", "set at least 1, or remove the setting");
    }
}

/// One segment of a path, percent-encoded.
pub(super) fn path_segment(text: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, UNRESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_and_loopback_are_accepted_without_trailing_slash() {
        for (written, accepted) in [
            (None, "https://api.example.com/v1"),
            (Some("https://proxy.example.com/ciq/v1/"), "https://proxy.example.com/ciq/v1"),
            (Some("http://127.0.0.1:8080/clumio"), "http://127.0.0.1:8080/clumio"),
            (Some("http://localhost:1"), "http://localhost:1"),
            (Some("http://[::1]:9/"), "http://[::1]:9"),
        ] {
            assert_eq!(base_url(written, "https://api.example.com/v1").as_deref(), Ok(accepted));
        }
    }

    #[test]
    fn other_urls_are_rejected_with_an_example() {
        for written in [
            "http://api.example.com",
            "http://localhost.evil.example",
            "ftp://127.0.0.1",
            "https://user:pw@example.com",
            "https://example.com/?x=1",
            "https://example.com/#x",
            "api.example.com",
            "",
        ] {
            let diagnostic = base_url(Some(written), "https://api.example.com").expect_err(written);
            assert!(diagnostic.hint.contains("https://api.example.com"), "{written}");
            assert!(!diagnostic.message.contains("pw"), "{written}");
        }
    }

    #[test]
    fn the_nearest_value_is_suggested() {
        let known = ["us-west-2", "us-east-1"];
        assert!(unknown_word("region", "us-est-1", &known).hint.contains("did you mean `us-east-1`"));
        assert!(!unknown_word("region", "mars", &known).hint.contains("did you mean"));
    }

    #[test]
    fn values_that_would_split_a_header_are_rejected() {
        let is_rejected = |value| {
            let mut diagnostics = Vec::new();
            plain_if_given("organizational_unit", Some(value), &mut diagnostics);
            !diagnostics.is_empty()
        };
        assert!(is_rejected("a\r\nX: y"));
        assert!(is_rejected(" "));
        assert!(!is_rejected("5b2f1f0e"));
    }

    #[test]
    fn a_path_segment_stays_one_segment() {
        assert_eq!(path_segment("yx8wvj7x-_.~"), "yx8wvj7x-_.~");
        assert_eq!(path_segment("a/../b?c#d e"), "a%2F..%2Fb%3Fc%23d%20e");
    }
}
