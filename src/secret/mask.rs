//! Removes secrets from text that comes from outside, before it enters a message, the journal or a report: some APIs repeat
//! in an answer what they received.
//!
//! ```text
//! value --> its forms: as it is, URL-encoded, JSON-escaped, base64 at each alignment --> longest first
//! text  --> each form, or a long beginning of one (texts are cut) --> ***
//! ```

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands in place of a secret.
const SHOWN: &str = "***";
/// Shorter values are words, not secrets.
const SHORTEST_VALUE: usize = 4;
/// A shorter encoded form occurs by chance.
const SHORTEST_FORM: usize = 8;
/// At least so much of the beginning of a form is masked too, in bytes: a quarter of it within these bounds.
const BEGINNING: (usize, usize) = (8, 16);
/// The values of the last rotations that are masked.
const MAX_VALUES: usize = 16;
/// What `encodeURIComponent` and most libraries leave as it is.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The secrets to remove from texts. Cheap to clone; the default one removes nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretMask {
    values: Arc<Vec<String>>,
    /// The longest first, so that none is taken for a part of another.
    forms: Arc<Vec<String>>,
}

impl SecretMask {
    /// The same with these values too; the oldest ones are forgotten when there are many.
    #[must_use]
    pub fn with(&self, values: &[String]) -> Self {
        let is_new = |value: &&String| value.len() >= SHORTEST_VALUE && !self.values.contains(value);
        let new: Vec<&String> = values.iter().filter(is_new).collect();
        if new.is_empty() {
            return self.clone();
        }
        let mut all: Vec<String> = self.values.iter().chain(new).cloned().collect();
        all.drain(..all.len().saturating_sub(MAX_VALUES));
        let mut forms: Vec<String> = all.iter().flat_map(|value| forms_of(value)).collect();
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self { values: Arc::new(all), forms: Arc::new(forms) }
    }

    /// The text with `***` in place of each secret.
    #[must_use]
    pub fn mask(&self, text: &str) -> String {
        let whole = |masked: String, form: &String| masked.replace(form.as_str(), SHOWN);
        let masked = self.forms.iter().fold(text.to_owned(), whole);
        // What is left are beginnings. Two secrets may begin alike, so this comes after all whole ones.
        self.forms.iter().fold(masked, |masked, form| without_beginnings(&masked, form))
    }

    /// Whether the text contains a whole secret, in any of its forms. Values as short as words do not count.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        self.forms.iter().any(|form| form.len() >= SHORTEST_FORM && text.contains(form.as_str()))
    }
}

/// The secrets that were sent to one place: shared by what sends them and by what reads the answers. They stay known after a
/// rotation, because an answer may repeat an earlier one.
#[derive(Clone, Debug, Default)]
pub struct SentSecrets(Arc<Mutex<SecretMask>>);

impl SentSecrets {
    /// Adds values. Returns the mask of all of them.
    pub fn add(&self, values: &[String]) -> SecretMask {
        let mut mask = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *mask = mask.with(values);
        mask.clone()
    }

    /// The mask of all of them.
    #[must_use]
    pub fn mask(&self) -> SecretMask {
        self.add(&[])
    }
}

impl fmt::Debug for SecretMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHOWN)
    }
}

/// A text without the long beginnings of a form.
fn without_beginnings(text: &str, form: &str) -> String {
    let beginning = beginning_of(form);
    let mut masked = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(beginning) {
        let common = rest[at..].chars().zip(form.chars()).take_while(|(found, wanted)| found == wanted);
        let end = at + common.map(|(found, _)| found.len_utf8()).sum::<usize>();
        masked.push_str(&rest[..at]);
        masked.push_str(SHOWN);
        rest = &rest[end..];
    }
    masked.push_str(rest);
    masked
}

/// The shortest beginning of a form that gives it away.
fn beginning_of(form: &str) -> &str {
    let wanted = (form.len() / 4).clamp(BEGINNING.0, BEGINNING.1);
    let end = form.char_indices().map(|(at, _)| at).find(|at| *at >= wanted);
    &form[..end.unwrap_or(form.len())]
}

/// The ways in which a text may repeat a value.
fn forms_of(value: &str) -> Vec<String> {
    let mut encoded = vec![
        utf8_percent_encode(value, NON_ALPHANUMERIC).to_string(),
        utf8_percent_encode(value, COMPONENT).to_string(),
        url::form_urlencoded::byte_serialize(value.as_bytes()).collect(),
    ];
    let lower_case: Vec<String> = encoded.iter().map(|form| with_lower_case_hex(form)).collect();
    encoded.extend(lower_case);
    let json = serde_json::Value::from(value).to_string();
    let json = json.trim_matches('"');
    encoded.extend([json.to_owned(), json.replace('/', "\\/"), format!("{value:?}").trim_matches('"').to_owned()]);
    for shift in 0..3 {
        encoded.extend([&STANDARD_NO_PAD, &URL_SAFE_NO_PAD].map(|alphabet| base64_at(alphabet, value, shift)));
    }
    encoded.retain(|form| form.len() >= SHORTEST_FORM);
    encoded.push(value.to_owned());
    encoded
}

fn with_lower_case_hex(form: &str) -> String {
    let mut since_percent = 3;
    let lower = |letter: char| {
        since_percent = if letter == '%' { 0 } else { since_percent + 1 };
        if since_percent <= 2 { letter.to_ascii_lowercase() } else { letter }
    };
    form.chars().map(lower).collect()
}

/// The characters of the base64 of a text that depend on `value` alone, if it follows `shift` other bytes (modulo 3).
fn base64_at(alphabet: &impl Engine, value: &str, shift: usize) -> String {
    let bytes: Vec<u8> = std::iter::repeat_n(0, shift).chain(value.bytes()).collect();
    let encoded = alphabet.encode(&bytes);
    let (begin, end) = ((shift * 8).div_ceil(6), bytes.len() * 8 / 6);
    encoded[begin..end].to_owned()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "s3cret/with+odd \"chars\"&more=ü_end";

    fn mask(values: &[&str]) -> SecretMask {
        SecretMask::default().with(&values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn every_form_of_a_secret_is_masked() {
        let mask = mask(&[SECRET]);
        let lower = with_lower_case_hex(&utf8_percent_encode(SECRET, NON_ALPHANUMERIC).to_string());
        for form in [
            SECRET.to_owned(),
            utf8_percent_encode(SECRET, NON_ALPHANUMERIC).to_string(),
            lower,
            url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect(),
            serde_json::json!({ "echo": SECRET }).to_string(),
            serde_json::json!({ "echo": SECRET }).to_string().replace('/', "\\/"),
            format!("{SECRET:?}"),
        ] {
            let masked = mask.mask(&format!("bad token {form}, sorry"));
            assert!(masked.contains("***") && !masked.contains("odd") && masked.ends_with(", sorry"), "{masked}");
            assert!(mask.is_in(&form));
        }
    }

    #[test]
    fn base64_is_masked_wherever_the_secret_stands_in_it() {
        let mask = mask(&["0123456789abcdef"]);
        for user in ["", "a", "ab", "abc", "me@example.com:"] {
            for alphabet in [STANDARD, base64::engine::general_purpose::URL_SAFE] {
                let text = alphabet.encode(format!("{user}0123456789abcdef!"));
                let masked = mask.mask(&text);
                assert!(masked.contains("***"), "{text}");
                assert!(masked.len() <= text.len() - 15, "{text} -> {masked}");
            }
        }
    }

    #[test]
    fn a_secret_that_was_cut_is_masked_and_short_words_stay() {
        let mask = mask(&["abcdefghijklmnopqrstuvwxyz0123456789", "no"]);
        assert_eq!(mask.mask("token abcdefghijklmn..."), "token ***...");
        assert_eq!(mask.mask("no abcdefg"), "no abcdefg");
        assert!(!mask.is_in("abcdefghijklmn"));
    }

    #[test]
    fn values_of_earlier_rotations_stay_masked_and_are_few() {
        let mask = (0..40).fold(SecretMask::default(), |mask, n| mask.with(&[format!("rotated-{n:03}-secret")]));
        assert_eq!(mask.mask("rotated-039-secret rotated-030-secret"), "*** ***");
        assert_eq!(mask.values.len(), MAX_VALUES);
        assert_eq!(format!("{mask:?}"), "***");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_show_the_whole_secret(value in ".{4,40}", before in ".{0,20}", after in ".{0,20}") {
            let mask = mask(&[&value]);
            let masked = mask.mask(&format!("{before}{value}{after}"));
            prop_assert!(!masked.contains(&value) || SHOWN.contains(&value) || before.contains(&value) || after.contains(&value));
        }
    }
}
