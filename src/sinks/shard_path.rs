//! `{{ shard }}` in the path of an output: the number of the shard that writes it, so that no two shards write to one file.
//!
//! It is replaced before the path is read as a template: of a shard that runs, it is fixed text.

use std::ops::Range;

/// Whether each shard has paths of its own: somewhere `{{ shard }}` stands between separators, and on one side of it, up to the
/// next slash, no other value does. Else the digits of one value could be read as those of another: shard 1 with `1q`, and
/// shard 11 with `q`.
pub(super) fn separates_shards(path: &str) -> bool {
    let mut from = 0;
    while let Some(found) = next(path, from) {
        let (before, after) = (&path[..found.start], &path[found.end..]);
        let before = before.rsplit('/').next().unwrap_or_default();
        let after = after.split('/').next().unwrap_or_default();
        let is_separator = |character: char| "-._".contains(character);
        let stands_alone =
            before.chars().next_back().is_none_or(is_separator) && after.chars().next().is_none_or(is_separator);
        let is_fixed = |text: &str| !text.contains("{{") && !text.contains("}}") && !text.contains('%');
        if stands_alone && (is_fixed(before) || is_fixed(after)) {
            return true;
        }
        from = found.end;
    }
    false
}

/// The path with `{{ shard }}` replaced.
pub(super) fn with_shard(path: &str, shard: &str) -> String {
    let (mut written, mut from) = (String::with_capacity(path.len()), 0);
    while let Some(found) = next(path, from) {
        written.push_str(&path[from..found.start]);
        written.push_str(shard);
        from = found.end;
    }
    written + &path[from..]
}

/// The next `{{ shard }}` from there on.
fn next(path: &str, mut from: usize) -> Option<Range<usize>> {
    while let Some(open) = path[from..].find("{{") {
        let begin = from + open;
        let end = begin + path[begin..].find("}}")? + 2;
        if path[begin + 2..end - 2].trim() == "shard" {
            return Some(begin..end);
        }
        from = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_shards_have_a_path_in_common() {
        for path in [
            "out/{{ shard }}/{{ source }}.ndjson",
            "out/{{ source }}-{{ shard }}.ndjson",
            "{{shard}}.{{ source }}",
            "out/{{ shard }}{{ source }}/{{ shard }}",
            "out/%Y-{{ shard }}",
        ] {
            assert!(separates_shards(path), "{path}");
        }
        for path in [
            "out/{{ source }}.ndjson",
            "out/{{ shard }}{{ source }}.ndjson",
            "out/{{ source }}{{ shard }}.ndjson",
            "out/{{ shard }}%d.ndjson",
            "out/{{ shard }}a",
            "out/1{{ shard }}",
            // Shard 2 with `a-1` and `b`, and shard 1 with `a` and `2-b`.
            "out/{{ source }}-{{ shard }}-{{ tenant }}",
        ] {
            assert!(!separates_shards(path), "{path}");
        }
    }

    #[test]
    fn only_the_shard_is_replaced() {
        let path = "audit/{{ vendor }}/{{shard}}-{{ shard }}/%Y.ndjson";
        assert_eq!(with_shard(path, "7"), "audit/{{ vendor }}/7-7/%Y.ndjson");
        for path in ["audit/{{ shards }}", "audit/shard", "audit/{{ shard", "{{", ""] {
            assert_eq!(with_shard(path, "7"), path);
        }
    }
}
