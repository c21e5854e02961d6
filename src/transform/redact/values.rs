//! Values that are redacted wherever they occur in an event, and keyed hashes of values.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What stands in a longer text in the place of a dropped value.
pub(super) const DROPPED: &str = "[redacted]";

/// A shorter value is redacted in its own field only: elsewhere it may be anything.
const MIN_VALUE: usize = 3;

/// The key of hashes.
#[derive(Clone)]
pub(super) struct HashKey(Hmac<Sha256>);

impl HashKey {
    pub(super) fn new(secret: &str) -> Self {
        Self(Hmac::new_from_slice(secret.as_bytes()).expect("any length is a key"))
    }

    /// `hmac-` and 32 hex digits. The case of the letters A to Z does not count, since it does not in addresses.
    pub(super) fn hash(&self, value: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(value.to_ascii_lowercase().as_bytes());
        let digest = mac.finalize().into_bytes();
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("hmac-{hex}")
    }
}

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Values, in lower case, and their replacements; `None` if they are dropped.
#[derive(Debug, Default)]
pub(super) struct Values(Vec<(String, Option<String>)>);

impl Values {
    /// Adds a value, unless it is too short.
    pub(super) fn add(&mut self, value: &str, replacement: Option<String>) {
        if value.chars().count() >= MIN_VALUE {
            self.0.push((value.to_ascii_lowercase(), replacement));
        }
    }

    /// So that an address is found before a name in it.
    pub(super) fn longest_first(&mut self) {
        self.0.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The replacement of a text that is one of the values.
    pub(super) fn whole(&self, text: &str) -> Option<&Option<String>> {
        let found = self.0.iter().find(|(value, _)| value.eq_ignore_ascii_case(text));
        found.map(|(_, replacement)| replacement)
    }

    /// The text with every value replaced that is not a part of a longer word or number; `None` if there is none.
    pub(super) fn replaced(&self, text: &str) -> Option<String> {
        let mut replaced: Option<String> = None;
        for (value, replacement) in &self.0 {
            let replacement = replacement.as_deref().unwrap_or(DROPPED);
            let new = replace(replaced.as_deref().unwrap_or(text), value, replacement);
            replaced = new.or(replaced);
        }
        replaced
    }
}

/// Replaces a value in lower case, ignoring case, where no letter A to Z or digit is before or after it. Other letters may be:
/// not all languages put spaces between words.
fn replace(text: &str, value: &str, replacement: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let (mut out, mut copied) = (String::new(), 0);
    for (start, _) in lower.match_indices(value) {
        let end = start + value.len();
        let continues = text.as_bytes().get(end).is_some_and(u8::is_ascii_alphanumeric);
        if start < copied || continues || ends_in_a_word(&text.as_bytes()[..start]) {
            continue;
        }
        out.push_str(&text[copied..start]);
        out.push_str(replacement);
        copied = end;
    }
    out.push_str(&text[copied..]);
    (copied > 0).then_some(out)
}

/// Whether a text ends with a letter or digit, and not with an escape such as `\n`, `\u00e9` or `%3c`.
fn ends_in_a_word(text: &[u8]) -> bool {
    let is_hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    match text {
        [.., b'\\', b'b' | b'f' | b'n' | b'r' | b't'] => false,
        [.., b'%', one, two] if is_hex(&[*one, *two]) => false,
        [.., b'\\', b'u', one, two, three, four] if is_hex(&[*one, *two, *three, *four]) => false,
        [.., last] => last.is_ascii_alphanumeric(),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_hmac_sha_256() {
        // printf ada@example.com | openssl dgst -sha256 -hmac 0123456789abcdef | cut -c1-32
        let key = HashKey::new("0123456789abcdef");
        assert_eq!(key.hash("Ada@example.com"), key.hash("ada@EXAMPLE.com"));
        assert_eq!(key.hash("ada@example.com"), "hmac-512383176ce1b4c279ee430548cf07ec");
        assert_ne!(key.hash("ada@example.com"), HashKey::new("fedcba9876543210").hash("ada@example.com"));
        assert_eq!(format!("{key:?}"), "***");
    }

    #[test]
    fn values_are_replaced_unless_they_are_parts_of_words() {
        let mut values = Values::default();
        values.add("Ada", None);
        values.add("ada@example.com", Some("H".to_owned()));
        values.add("10.0.0.1", None);
        values.add("x", None);
        values.longest_first();
        for (text, expected) in [
            ("Invited ADA@example.com (Ada), x", "Invited H ([redacted]), x"),
            ("10.0.0.1:80 10.0.0.12 110.0.0.1", "[redacted]:80 10.0.0.12 110.0.0.1"),
            ("Adam, a-da, Ada", "Adam, a-da, [redacted]"),
            ("由ada@example.com邀请", "由H邀请"),
            (r"\nada@example.com \u00e9Ada %3cada@example.com%3e nada", r"\nH \u00e9[redacted] %3cH%3e nada"),
        ] {
            assert_eq!(values.replaced(text).as_deref(), Some(expected));
        }
        assert_eq!(values.replaced("nobody"), None);
        assert_eq!(values.whole("ADA"), Some(&None));
        assert_eq!(values.whole("x"), None, "too short");
    }
}
