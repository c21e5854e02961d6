//! Names that vendors give to credentials.

/// Parts of such names.
const PARTS: [&[u8]; 5] = [b"password", b"passcode", b"secret", b"token", b"credential"];

/// Whether a name, in any case, contains `password`, `passcode`, `secret`, `token` or `credential`.
#[must_use]
pub fn names_one(name: &str) -> bool {
    let contains = |part: &&[u8]| name.as_bytes().windows(part.len()).any(|found| found.eq_ignore_ascii_case(part));
    PARTS.iter().any(contains)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_names_in_any_case() {
        for (name, expected) in
            [("newPassword", true), ("API_TOKEN", true), ("credentials", true), ("pass", false), ("", false)]
        {
            assert_eq!(names_one(name), expected, "{name}");
        }
    }
}
