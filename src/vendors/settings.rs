//! Checks of settings that several vendors share: the base URL, words of a closed list, values that go into headers.

use serde::de::{DeserializeOwned, IntoDeserializer, value::Error};
use url::{Host, Url};

use super::NormalizerConfig;
use crate::diagnostic::SettingDiagnostic;

/// Defines a setting with a few words to choose from; the first is the default.
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
            /// Every word, the default first.
            pub const WORDS: &'static [&'static str] = &[$first_word, $($word,)+];

            /// The word as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { Self::$first => $first_word, $(Self::$variant => $word,)+ }
            }
        }
    };
}

pub(crate) use choice;

/// The choice that a stored profile holds; the default where it holds none, or a word that this build does not know.
#[must_use]
pub fn chosen<T: DeserializeOwned + Default>(normalizer_config: &NormalizerConfig, option: &str) -> T {
    let word = normalizer_config.options.get(option).map(String::as_str).unwrap_or_default();
    T::deserialize(IntoDeserializer::<Error>::into_deserializer(word)).unwrap_or_default()
}

/// Checks the `base_url` of a source and returns it without a trailing slash; `standard` if it is not set.
///
/// # Errors
/// When it is no `https://` address (plain `http://` is for loopback hosts only: tests and the simulator), or carries
/// credentials, a query or a fragment.
pub fn base_url(setting: Option<&str>, standard: &str) -> Result<String, SettingDiagnostic> {
    let Some(written) = setting else { return Ok(standard.to_owned()) };
    let problem = |message: String| SettingDiagnostic {
        key: "base_url".to_owned(),
        message,
        hint: format!("write an address such as {standard}"),
    };
    let url = Url::parse(written).map_err(|error| problem(format!("this is no address: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(problem("the address must not hold credentials".to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(problem("the address must end with its path".to_owned()));
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            return Err(problem("credentials would travel in the clear: http:// is for this machine only".to_owned()));
        }
        other => return Err(problem(format!("`{other}` is no scheme of this API"))),
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

/// The problem of a value that is not in a closed list, with the nearest right word.
#[must_use]
pub fn unknown_word(key: &str, value: &str, known: &[&str]) -> SettingDiagnostic {
    let nearest = known.iter().max_by(|a, b| strsim::jaro_winkler(a, value).total_cmp(&strsim::jaro_winkler(b, value)));
    let hint = match nearest {
        Some(word) if strsim::jaro_winkler(word, value) > 0.7 => {
            format!("did you mean `{word}`? known are {}", known.join(", "))
        }
        _ => format!("known are {}", known.join(", ")),
    };
    SettingDiagnostic { key: key.to_owned(), message: format!("`{value}` is not known"), hint }
}

/// The problem of a text that cannot stand in a request: empty, or with characters beyond printable ASCII.
#[must_use]
pub fn not_plain(key: &str, value: &str) -> Option<SettingDiagnostic> {
    let plain = !value.trim().is_empty() && value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    (!plain).then(|| SettingDiagnostic {
        key: key.to_owned(),
        message: "this is empty or holds characters that cannot be sent".to_owned(),
        hint: "copy the value from the vendor's own pages, or leave the setting out".to_owned(),
    })
}

/// The checked value; what is wrong with it is added to the list, and a stand-in goes on so that the rest is checked too.
pub(super) fn value_or_problem<T: Default>(
    checked: Result<T, SettingDiagnostic>,
    problems: &mut Vec<SettingDiagnostic>,
) -> T {
    checked.map_err(|problem| problems.push(problem)).unwrap_or_default()
}

/// Adds one problem to the list.
pub(super) fn problem(problems: &mut Vec<SettingDiagnostic>, key: &str, message: impl Into<String>, hint: &str) {
    problems.push(SettingDiagnostic { key: key.to_owned(), message: message.into(), hint: hint.to_owned() });
}

/// A required text must not be blank.
pub(super) fn not_blank(key: &str, value: &str, hint: &str, problems: &mut Vec<SettingDiagnostic>) {
    if value.trim().is_empty() {
        problem(problems, key, "is empty", hint);
    }
}

/// An optional text must not be blank if it is given.
pub(super) fn not_blank_if_given(key: &str, value: Option<&str>, problems: &mut Vec<SettingDiagnostic>) {
    if let Some(value) = value {
        not_blank(key, value, "give it a value or leave it out", problems);
    }
}

/// A largest page size that the user corrects must be at least 1.
pub(super) fn at_least_one(key: &str, value: Option<u32>, problems: &mut Vec<SettingDiagnostic>) {
    if value == Some(0) {
        problem(problems, key, "is 0", "give at least 1, or leave it out");
    }
}

/// Text as one segment of a path, percent-encoded.
pub(super) fn path_segment(text: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, UNRESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_and_loopback_are_taken_without_trailing_slash() {
        for (written, taken) in [
            (None, "https://api.example.com/v1"),
            (Some("https://proxy.example.com/ciq/v1/"), "https://proxy.example.com/ciq/v1"),
            (Some("http://127.0.0.1:8080/clumio"), "http://127.0.0.1:8080/clumio"),
            (Some("http://localhost:1"), "http://localhost:1"),
            (Some("http://[::1]:9/"), "http://[::1]:9"),
        ] {
            assert_eq!(base_url(written, "https://api.example.com/v1").as_deref(), Ok(taken));
        }
    }

    #[test]
    fn other_addresses_are_refused_with_an_example() {
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
            let problem = base_url(Some(written), "https://api.example.com").expect_err(written);
            assert!(problem.hint.contains("https://api.example.com"), "{written}");
            assert!(!problem.message.contains("pw"), "{written}");
        }
    }

    #[test]
    fn the_nearest_word_is_offered() {
        let known = ["us-west-2", "us-east-1"];
        assert!(unknown_word("region", "us-est-1", &known).hint.contains("did you mean `us-east-1`"));
        assert!(!unknown_word("region", "mars", &known).hint.contains("did you mean"));
    }

    #[test]
    fn values_that_would_split_a_header_are_refused() {
        assert!(not_plain("organizational_unit", "a\r\nX: y").is_some());
        assert!(not_plain("organizational_unit", " ").is_some());
        assert!(not_plain("organizational_unit", "5b2f1f0e").is_none());
    }

    #[test]
    fn a_path_segment_cannot_leave_its_place() {
        assert_eq!(path_segment("yx8wvj7x-_.~"), "yx8wvj7x-_.~");
        assert_eq!(path_segment("a/../b?c#d e"), "a%2F..%2Fb%3Fc%23d%20e");
    }
}
