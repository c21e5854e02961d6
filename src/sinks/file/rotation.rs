//! Rotation without renames: `2026-11-21.ndjson`, then `2026-11-21.1.ndjson`, `2026-11-21.2.ndjson` ...
//!
//! The current number is read from the directory, never from memory, so a restart continues where the last process stopped.
//! The file is chosen once per batch and path. The choice of a batch that was rolled back is kept ([`Pins`]), so that the
//! second attempt writes to the same files even if a file has become too old in the meantime.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sinks::disk::{Disk, FileState};
use crate::time::Timestamp;

/// When to start a new file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rotation {
    /// A file does not grow beyond this, unless one batch alone is larger.
    pub(super) max_bytes: Option<u64>,
    /// No batch is appended to a file older than this.
    pub(super) max_age: Option<Duration>,
}

impl Rotation {
    pub(super) fn is_off(self) -> bool {
        self.max_bytes.is_none() && self.max_age.is_none()
    }

    fn is_over(self, file: FileState, incoming: u64, now: Timestamp) -> bool {
        let too_large = self.max_bytes.is_some_and(|max| file.length.saturating_add(incoming) > max);
        let age = file.created.map(|created| now.since(created));
        let too_old = self.max_age.is_some_and(|max| age.is_some_and(|age| age >= max));
        file.length > 0 && (too_large || too_old)
    }
}

/// A file to append to, and its metadata.
pub(super) struct Choice {
    pub(super) path: PathBuf,
    pub(super) state: Option<FileState>,
}

/// The file that `incoming` bytes for `base` are appended to.
pub(super) fn choose(
    disk: &dyn Disk,
    rotation: Rotation,
    pins: &Pins,
    base: &Path,
    incoming: u64,
    now: Timestamp,
) -> io::Result<Choice> {
    if rotation.is_off() {
        return Ok(Choice { state: disk.state(base)?, path: base.to_owned() });
    }
    if let Some(index) = pins.index(base) {
        let path = nth(base, index);
        return Ok(Choice { state: disk.state(&path)?, path });
    }
    let newest = newest_index(disk, base)?;
    let path = nth(base, newest);
    match disk.state(&path)? {
        Some(state) if rotation.is_over(state, incoming, now) => {
            Ok(Choice { path: nth(base, newest + 1), state: None })
        }
        state => Ok(Choice { path, state }),
    }
}

fn newest_index(disk: &dyn Disk, base: &Path) -> io::Result<u64> {
    let (Some(directory), Some(name)) = (base.parent(), base.file_name().and_then(|name| name.to_str())) else {
        return Ok(0);
    };
    let names = disk.names(directory)?;
    Ok(names.iter().filter_map(|other| index_of(name, other)).max().unwrap_or(0))
}

/// The choices of a batch that was rolled back: which number each file had.
#[derive(Debug, Default)]
pub(super) struct Pins(HashMap<PathBuf, u64>);

impl Pins {
    /// The files of a batch.
    pub(super) fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut pins = HashMap::new();
        for path in paths {
            if let Some((base, index)) = base_of(path) {
                pins.insert(base, index);
            }
            pins.entry(path.to_owned()).or_insert(0);
        }
        Self(pins)
    }

    fn index(&self, base: &Path) -> Option<u64> {
        self.0.get(base).copied()
    }
}

/// `a/b.ndjson.gz` and 2 make `a/b.2.ndjson.gz`; 0 is the base itself.
fn nth(base: &Path, index: u64) -> PathBuf {
    match base.file_name().and_then(|name| name.to_str()) {
        Some(name) if index > 0 => {
            let (stem, extensions) = split(name);
            base.with_file_name(format!("{stem}.{index}{extensions}"))
        }
        _ => base.to_owned(),
    }
}

/// The number of a file among those of the base called `base`, if it is one of them.
fn index_of(base: &str, name: &str) -> Option<u64> {
    if name == base {
        return Some(0);
    }
    let (stem, extensions) = split(base);
    number(name.strip_prefix(stem)?.strip_suffix(extensions)?.strip_prefix('.')?)
}

/// The base and the number of a rotated file; `None` if the name has no number that the sink writes.
fn base_of(path: &Path) -> Option<(PathBuf, u64)> {
    let name = path.file_name()?.to_str()?;
    name.match_indices('.').find_map(|(dot, _)| {
        let rest = &name[dot + 1..];
        let end = rest.find('.').unwrap_or(rest.len());
        let index = number(&rest[..end])?;
        let base = format!("{}{}", &name[..dot], &rest[end..]);
        (index_of(&base, name) == Some(index)).then(|| (path.with_file_name(base), index))
    })
}

/// A number as the sink writes it: no sign, no leading zero.
fn number(digits: &str) -> Option<u64> {
    let plain = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// A name's stem and its extensions, including the one of a compression.
fn split(name: &str) -> (&str, &str) {
    let compressed = [".gz", ".zst"].iter().find_map(|end| name.strip_suffix(end)).filter(|rest| !rest.is_empty());
    let inner = compressed.unwrap_or(name);
    let stem = inner.rfind('.').filter(|at| *at > 0).unwrap_or(inner.len());
    name.split_at(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_before_the_extensions() {
        for (base, second) in [
            ("/a/2026-11-21.ndjson", "/a/2026-11-21.2.ndjson"),
            ("/a/x.ndjson.gz", "/a/x.2.ndjson.gz"),
            ("/a/x.gz", "/a/x.2.gz"),
            ("/a/plain", "/a/plain.2"),
            ("/a/.hidden", "/a/.hidden.2"),
        ] {
            assert_eq!(nth(Path::new(base), 2), Path::new(second));
            assert_eq!(nth(Path::new(base), 0), Path::new(base));
            let (base_again, index) = base_of(Path::new(second)).expect(second);
            assert_eq!((base_again.as_path(), index), (Path::new(base), 2));
        }
    }

    #[test]
    fn only_names_that_the_sink_writes_count() {
        assert_eq!(index_of("x.ndjson", "x.ndjson"), Some(0));
        assert_eq!(index_of("x.ndjson", "x.12.ndjson"), Some(12));
        for other in ["x.01.ndjson", "x.a.ndjson", "x..ndjson", "x.1.ndjson.gz", "xy.1.ndjson", "x.+1.ndjson"] {
            assert_eq!(index_of("x.ndjson", other), None, "{other}");
        }
    }

    #[test]
    fn a_batch_that_was_rolled_back_is_written_to_the_same_file_again() {
        let pins = Pins::of([Path::new("/a/x.3.ndjson"), Path::new("/a/y.ndjson")]);
        assert_eq!(pins.index(Path::new("/a/x.ndjson")), Some(3));
        assert_eq!(pins.index(Path::new("/a/y.ndjson")), Some(0));
        assert_eq!(pins.index(Path::new("/a/z.ndjson")), None);
    }
}
