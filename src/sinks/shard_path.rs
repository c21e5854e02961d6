//! `{{ shard }}` in the path of an output: the number of the shard that writes it, so that no two shards write to one file.
//!
//! It is replaced before the path is read as a template: of a shard that runs, it is fixed text.

use std::ops::Range;

/// Whether a path contains `{{ shard }}`.
pub(super) fn names_shard(path: &str) -> bool {
    next(path, 0).is_some()
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
    fn only_the_shard_is_replaced() {
        let path = "audit/{{ vendor }}/{{shard}}-{{ shard }}/%Y.ndjson";
        assert!(names_shard(path));
        assert_eq!(with_shard(path, "7"), "audit/{{ vendor }}/7-7/%Y.ndjson");
        for path in ["audit/{{ shards }}", "audit/shard", "audit/{{ shard", "{{", ""] {
            assert!(!names_shard(path), "{path}");
            assert_eq!(with_shard(path, "7"), path);
        }
    }
}
