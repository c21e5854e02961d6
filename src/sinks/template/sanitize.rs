//! Makes a vendor's value usable as one part of a path, as Hive's writers do: what a path or a partition cannot contain is
//! percent-encoded, and readers decode it. So different values stay different, and no value is one of our own names.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::format::is_printable;

/// The most bytes that one value takes in a path.
pub const MAX_VALUE_BYTES: usize = 64;

/// Written for a value that the event does not have.
const NONE: &str = "none";

/// The same as the value of a Hive partition (`name=`): readers turn this word into null.
pub const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// Written for the values of further partitions when a batch has too many.
pub(super) const OTHER: &str = "too-many-values";

/// Digits of the hash that ends a value which was cut.
const HASH_DIGITS: usize = 8;

/// Appends `value` so that it is one valid part of a path. Slashes, control characters, marks of direction and the characters
/// that Hive escapes (`=`, `%` and others) are percent-encoded; so are a leading dot and a leading underscore (no `..`, no file
/// that readers ignore, no name of ours) and the first letter of a name that has a meaning here (`none`, `too-many-values`). A
/// value that is longer than [`MAX_VALUE_BYTES`] then is cut and ends with a hash, so that two long values with the same
/// beginning stay apart. An empty value becomes `none`, after `name=` Hive's word for null. Case is kept.
pub fn push_sanitized(value: &str, path: &mut String) {
    if value.is_empty() {
        path.push_str(if path.ends_with('=') { NULL_PARTITION } else { NONE });
        return;
    }
    let start = path.len();
    let mut cut_at = start;
    let is_reserved = matches!(value, NONE | OTHER);
    for (index, letter) in value.char_indices() {
        push_letter(letter, index == 0 && (is_reserved || matches!(letter, '.' | '_')), path);
        if path.len() - start < MAX_VALUE_BYTES - HASH_DIGITS {
            cut_at = path.len();
        }
        if path.len() - start > MAX_VALUE_BYTES {
            path.truncate(cut_at);
            push_hash(value, path);
            return;
        }
    }
}

fn push_letter(letter: char, is_escaped: bool, path: &mut String) {
    if !is_escaped && !letter.is_control() && is_printable(letter) && !HIVE_ESCAPES.contains(letter) {
        path.push(letter);
        return;
    }
    for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
        // Writing to a string cannot fail.
        let _ = write!(path, "%{byte:02X}");
    }
}

/// `FileUtils.escapePathName` of Hive, besides control characters.
const HIVE_ESCAPES: &str = "\"#%'*/:=?\\{[]^";

fn push_hash(value: &str, path: &mut String) {
    path.push('-');
    for byte in &Sha256::digest(value)[..HASH_DIGITS / 2] {
        let _ = write!(path, "{byte:02x}");
    }
}

/// The first `length` bytes of a value or more, as a key of a set: as much as its path can show.
pub(super) fn shown(value: &str) -> Cow<'_, str> {
    if value.len() <= MAX_VALUE_BYTES {
        return Cow::Borrowed(value);
    }
    let mut path = String::new();
    push_sanitized(value, &mut path);
    Cow::Owned(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sanitized(value: &str) -> String {
        let mut path = String::new();
        push_sanitized(value, &mut path);
        path
    }

    #[test]
    fn values_cannot_leave_their_directory() {
        for (value, expected) in [
            ("", "none"),
            ("none", "%6Eone"),
            ("too-many-values", "%74oo-many-values"),
            ("..", "%2E."),
            (".", "%2E"),
            ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
            ("a\\b\0c\nd", "a%5Cb%00c%0Ad"),
            (".hidden", "%2Ehidden"),
            ("_manifests", "%5Fmanifests"),
            ("_auditflow", "%5Fauditflow"),
            ("__HIVE_DEFAULT_PARTITION__", "%5F_HIVE_DEFAULT_PARTITION__"),
            ("a=b", "a%3Db"),
            ("50%20off", "50%2520off"),
            ("\u{85}", "%C2%85"),
            ("Avery Example", "Avery Example"),
        ] {
            assert_eq!(sanitized(value), expected, "{value:?}");
        }
    }

    #[test]
    fn a_partition_without_a_value_has_hives_word_for_null() {
        let mut path = "who=".to_owned();
        push_sanitized("", &mut path);
        assert_eq!(path, "who=__HIVE_DEFAULT_PARTITION__");
    }

    #[test]
    fn long_values_are_cut_and_stay_apart() {
        let (one, two) = ("é".repeat(200), format!("{}x", "é".repeat(200)));
        assert_ne!(sanitized(&one), sanitized(&two));
        assert!(sanitized(&one).starts_with("éé"));
    }

    proptest! {
        #[test]
        fn readers_decode_what_was_not_cut(value in "[a-z_.=%/ é]{1,16}") {
            let part = sanitized(&value);
            prop_assert_eq!(percent_encoding::percent_decode_str(&part).decode_utf8().expect("text"), value);
        }

        #[test]
        fn any_value_is_one_short_part(value in any::<String>()) {
            let part = sanitized(&value);
            prop_assert!(!part.is_empty() && part.len() <= MAX_VALUE_BYTES);
            prop_assert!(!part.starts_with(['.', '_']) && !part.contains(['/', '=']) && !part.chars().any(char::is_control));
            let only = std::path::Path::new(&part).components().count();
            prop_assert_eq!(only, 1);
        }
    }
}
