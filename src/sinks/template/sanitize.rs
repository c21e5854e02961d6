//! Makes a vendor's value usable as one part of a path.

use sha2::{Digest, Sha256};

/// The most bytes that one value takes in a path.
pub const MAX_VALUE_BYTES: usize = 64;

/// Written for a value that the event does not have.
const NONE: &str = "none";

/// Digits of the hash that ends a value which was cut.
const HASH_DIGITS: usize = 8;

/// Appends `value` so that it is one valid part of a path: slashes, backslashes and control characters become `_`, so
/// does a leading dot (no `..`, no hidden files). A value longer than [`MAX_VALUE_BYTES`] is cut and ends with a hash, so
/// that two long values with the same beginning stay apart. An empty value becomes `none`. Case is kept.
pub fn push_sanitized(value: &str, path: &mut String) {
    if value.is_empty() {
        path.push_str(NONE);
        return;
    }
    if value.len() <= MAX_VALUE_BYTES {
        push_clean(value, path);
        return;
    }
    push_clean(cut(value, MAX_VALUE_BYTES - HASH_DIGITS - 1), path);
    path.push('-');
    let hash = Sha256::digest(value);
    for byte in &hash[..HASH_DIGITS / 2] {
        path.push_str(&format!("{byte:02x}"));
    }
}

fn push_clean(value: &str, path: &mut String) {
    for (index, letter) in value.char_indices() {
        let unsafe_here = matches!(letter, '/' | '\\') || letter.is_control() || (index == 0 && letter == '.');
        path.push(if unsafe_here { '_' } else { letter });
    }
}

fn cut(value: &str, bytes: usize) -> &str {
    &value[..value.floor_char_boundary(bytes)]
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
            ("..", "_."),
            (".", "_"),
            ("../../etc/passwd", "_._.._etc_passwd"),
            ("a\\b\0c\nd", "a_b_c_d"),
            (".hidden", "_hidden"),
            ("Avery Example", "Avery Example"),
        ] {
            assert_eq!(sanitized(value), expected, "{value:?}");
        }
    }

    #[test]
    fn long_values_are_cut_and_stay_apart() {
        let (one, two) = ("é".repeat(200), format!("{}x", "é".repeat(200)));
        assert_ne!(sanitized(&one), sanitized(&two));
        assert!(sanitized(&one).starts_with("éé"));
    }

    proptest! {
        #[test]
        fn any_value_is_one_short_part(value in any::<String>()) {
            let part = sanitized(&value);
            prop_assert!(!part.is_empty() && part.len() <= MAX_VALUE_BYTES);
            prop_assert!(!part.starts_with('.') && !part.contains('/') && !part.chars().any(char::is_control));
            let only = std::path::Path::new(&part).components().count();
            prop_assert_eq!(only, 1);
        }
    }
}
