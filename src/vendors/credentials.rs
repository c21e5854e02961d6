//! Names that vendors give to credentials.

/// Parts of such names.
const PARTS: [&str; 5] = ["password", "passcode", "secret", "token", "credential"];

/// Which of `password`, `passcode`, `secret`, `token` and `credential` a name contains, in any case.
#[must_use]
pub fn part_of_name(name: &str) -> Option<&'static str> {
    let contains =
        |part: &&&str| name.as_bytes().windows(part.len()).any(|found| found.eq_ignore_ascii_case(part.as_bytes()));
    PARTS.iter().find(contains).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_names_in_any_case() {
        for (name, expected) in [
            ("newPassword", Some("password")),
            ("API_TOKEN", Some("token")),
            ("credentials", Some("credential")),
            ("pass", None),
            ("", None),
        ] {
            assert_eq!(part_of_name(name), expected, "{name}");
        }
    }
}
