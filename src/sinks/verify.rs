//! Whether the outputs of a sink still are what its manifests say. Reads, and changes nothing.
//!
//! ```text
//! manifests, by name --Chain--> one was removed, changed, or two hold the same events
//!      |
//!      +-- objects --SHA-256--> one is missing, or has other bytes
//!
//! the chain's end <--> the newest hash that the journal knows: the end was cut off, or the journal is an older copy
//! ```
//!
//! Who can write the outputs can replace a whole chain, but not the hash in the journal.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::SinkError;
use super::blocking::blocking;
use super::disk::io_error;
use super::manifest::{MANIFEST_VERSION, ManifestObject, StoredManifest, sha256_hex};
use crate::journal::Seq;
use crate::time::Timestamp;

/// Objects that are read at once.
const CONCURRENCY: usize = 4;

/// The bytes of a file that are read at once.
const CHUNK_BYTES: usize = 1 << 16;

/// What a sink has written, as far as manifests name it.
pub trait WrittenOutputs: Send + Sync {
    /// Where the manifests are.
    fn place(&self) -> &str;

    /// The names of all manifests, in any order; none if there is no such place.
    fn manifests(&self) -> BoxFuture<'_, Result<Vec<String>, SinkError>>;

    /// The bytes of the manifest with this name.
    fn manifest<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<u8>, SinkError>>;

    /// [`sha256_hex`] of the bytes that `object` names; `None` if there is no such object, or it is shorter.
    fn sha256<'a>(&'a self, object: &'a ManifestObject) -> BoxFuture<'a, Result<Option<String>, SinkError>>;
}

/// Outputs in a local directory: of a file sink, or a copy of a bucket.
#[derive(Clone, Debug)]
pub struct LocalOutputs {
    base: PathBuf,
    manifests: PathBuf,
    place: String,
}

impl LocalOutputs {
    /// Keys are paths below `base`; the manifests are the `.json` files in `manifests`.
    #[must_use]
    pub fn new(base: PathBuf, manifests: PathBuf) -> Self {
        let place = manifests.components().collect::<PathBuf>().display().to_string();
        Self { base, manifests, place }
    }
}

impl WrittenOutputs for LocalOutputs {
    fn place(&self) -> &str {
        &self.place
    }

    fn manifests(&self) -> BoxFuture<'_, Result<Vec<String>, SinkError>> {
        Box::pin(async { names_in(&self.manifests).map_err(|error| io_error("read", &self.manifests, &error)) })
    }

    fn manifest<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<u8>, SinkError>> {
        let path = self.manifests.join(name);
        Box::pin(async move {
            let read = blocking(|| regular_file(&path).and_then(|file| file.map(read_to_end).transpose()));
            let found = read.map_err(|error| io_error("read", &path, &error))?;
            // What is no file is no manifest either.
            Ok(found.unwrap_or_default())
        })
    }

    fn sha256<'a>(&'a self, object: &'a ManifestObject) -> BoxFuture<'a, Result<Option<String>, SinkError>> {
        Box::pin(async {
            // A key that leads elsewhere is not the sink's.
            if !Path::new(&object.key).components().all(|part| matches!(part, Component::Normal(_))) {
                return Ok(None);
            }
            let path = self.base.join(&object.key);
            blocking(|| sha256_of_file(&path, object)).map_err(|error| io_error("read", &path, &error))
        })
    }
}

fn names_in(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok().filter(|name| is_manifest(name)));
    }
    Ok(names)
}

/// Whether a name in the manifests' directory is that of a manifest.
pub(super) fn is_manifest(name: &str) -> bool {
    name.ends_with(".json") && !name.starts_with('.')
}

/// Opens a regular file. `None` if there is none, also if there is something else: opening a pipe would wait for a writer.
fn regular_file(path: &Path) -> io::Result<Option<File>> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(metadata) if !metadata.is_file() => Ok(None),
        found => found.and_then(|_| File::open(path)).map(Some),
    }
}

fn read_to_end(mut file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn sha256_of_file(path: &Path, object: &ManifestObject) -> io::Result<Option<String>> {
    let Some(mut file) = regular_file(path)? else { return Ok(None) };
    file.seek(SeekFrom::Start(object.offset.unwrap_or(0)))?;
    let (mut hash, mut left, mut chunk) = (Sha256::new(), object.size, vec![0; CHUNK_BYTES]);
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let read = file.read(&mut chunk[..wanted])?;
        if read == 0 {
            return Ok(None);
        }
        hash.update(&chunk[..read]);
        left -= read as u64;
    }
    Ok(Some(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// What is wrong with outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// A manifest that cannot be read.
    ManifestUnreadable,
    /// A manifest does not follow the one before it: one was removed or changed.
    ChainBroken,
    /// Two manifests hold the same events.
    EventsTwice,
    /// An object is not there, or shorter.
    ObjectMissing,
    /// An object has other bytes.
    ObjectChanged,
    /// The newest manifest that the journal knows is not there.
    EndMissing,
    /// There are newer manifests than the journal knows.
    NewerThanJournal,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What.
    pub problem: ProblemKind,
    /// The manifest or the object.
    pub at: String,
    /// In words.
    pub message: String,
}

/// What the outputs of one sink are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Manifests read.
    pub manifests: u64,
    /// Objects, or pieces of files, that they name.
    pub objects: u64,
    /// Of these, those that were not read, because all their events are older than asked for.
    pub objects_skipped: u64,
    /// Events in all objects.
    pub events: u64,
    /// Of a table, those that are not there any more: whoever compacts a table rewrites its objects.
    pub objects_rewritten: u64,
    /// Bytes of all objects.
    pub bytes: u64,
    /// The earliest event's time.
    pub first_time: Option<Timestamp>,
    /// The latest event's time.
    pub last_time: Option<Timestamp>,
    /// By journal: the hash that its first manifest follows, in another location, under an earlier name of the sink, or removed.
    pub follows: BTreeMap<String, String>,
    /// By journal: the hash of its newest manifest.
    pub newest: BTreeMap<String, String>,
    /// Whether the end of the chain is what the journal knows; `None` if there was no journal to compare with.
    pub matches_journal: Option<bool>,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
    /// The journal and the hash of each manifest.
    #[serde(skip)]
    chain: Vec<(String, String)>,
}

/// The last manifest of a journal.
struct Link {
    hash: String,
    generation: u64,
    last: Seq,
}

/// What is to be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerifyOptions {
    /// Objects all of whose events are older are not read; `None`: all are.
    pub since: Option<Timestamp>,
    /// Whether the objects are those of a table, which others may compact.
    pub is_table: bool,
}

/// Reads all manifests, and the objects that they name.
///
/// # Errors
/// The outputs cannot be read.
pub async fn verify(outputs: &dyn WrittenOutputs, options: VerifyOptions) -> Result<Verification, SinkError> {
    let mut names = outputs.manifests().await?;
    names.sort_unstable();
    let (mut found, mut links) = (Verification::default(), BTreeMap::new());
    for name in &names {
        let bytes = outputs.manifest(name).await?;
        found.manifests += 1;
        match read(&bytes) {
            Ok(manifest) => {
                found.follow(&mut links, name, &manifest, sha256_hex(&bytes));
                found.take_objects(outputs, name, &manifest.objects, options).await?;
            }
            Err(reason) => found.add(ProblemKind::ManifestUnreadable, name, reason),
        }
    }
    found.newest = links.into_iter().map(|(journal, link)| (journal, link.hash)).collect();
    Ok(found)
}

fn read(bytes: &[u8]) -> Result<StoredManifest, String> {
    let manifest: StoredManifest =
        serde_json::from_slice(bytes).map_err(|error| format!("is not a manifest: {error}"))?;
    if manifest.manifest_version > MANIFEST_VERSION {
        let version = manifest.manifest_version;
        return Err(format!("has version {version}, and this auditflow reads {MANIFEST_VERSION}: use a newer one"));
    }
    Ok(manifest)
}

impl Verification {
    fn add(&mut self, problem: ProblemKind, at: &str, message: String) {
        self.problems.push(Problem { problem, at: at.to_owned(), message });
    }

    fn follow(&mut self, links: &mut BTreeMap<String, Link>, name: &str, manifest: &StoredManifest, hash: String) {
        let StoredManifest { journal, generation, first, last, previous, .. } = manifest;
        match (links.get(journal), previous) {
            (None, None) => {}
            (None, Some(previous)) => {
                self.follows.insert(journal.clone(), previous.clone());
            }
            (Some(link), previous) if previous.as_ref() != Some(&link.hash) => {
                let message = "does not follow the manifest before it: one was removed or changed".to_owned();
                self.add(ProblemKind::ChainBroken, name, message);
            }
            (Some(_), _) => {}
        }
        let twice = links.get(journal).filter(|link| link.generation == *generation && link.last >= *first);
        if let Some(link) = twice {
            let message =
                format!("holds the events from {first} on, and the manifest before it those to {}", link.last);
            self.add(ProblemKind::EventsTwice, name, message);
        }
        self.chain.push((journal.clone(), hash.clone()));
        links.insert(journal.clone(), Link { hash, generation: *generation, last: *last });
    }

    async fn take_objects(
        &mut self,
        outputs: &dyn WrittenOutputs,
        manifest: &str,
        objects: &[ManifestObject],
        options: VerifyOptions,
    ) -> Result<(), SinkError> {
        for object in objects {
            self.objects += 1;
            self.events += object.rows;
            self.bytes += object.size;
            self.first_time = Some(self.first_time.map_or(object.first_time, |time| time.min(object.first_time)));
            self.last_time = self.last_time.max(Some(object.last_time));
        }
        let is_wanted = |object: &&ManifestObject| options.since.is_none_or(|since| object.last_time >= since);
        let wanted: Vec<_> = objects.iter().filter(is_wanted).collect();
        self.objects_skipped += (objects.len() - wanted.len()) as u64;
        let mut hashes = stream::iter(wanted.iter().map(|object| outputs.sha256(object))).buffered(CONCURRENCY);
        for object in &wanted {
            let Some(hash) = hashes.next().await else { break };
            match hash? {
                Some(hash) if hash == object.sha256 => {}
                Some(_) => {
                    let message = format!("its bytes differ from those that {manifest} names");
                    self.add(ProblemKind::ObjectChanged, &object.key, message);
                }
                None if options.is_table => self.objects_rewritten += 1,
                None => {
                    let message = format!("{manifest} names it, and it is not there, or shorter");
                    self.add(ProblemKind::ObjectMissing, &object.key, message);
                }
            }
        }
        Ok(())
    }

    /// Compares the chain's end with the newest hashes that the journal knew before the manifests were listed, and after. A
    /// batch whose manifest is written and that the journal does not know yet is the only one that may come after.
    pub fn compare(&mut self, before: Option<&str>, after: Option<&str>) {
        let problems = self.problems.len();
        let known = [after, before].into_iter().flatten();
        let place = known.filter_map(|hash| self.chain.iter().position(|(_, other)| other == hash)).max();
        match (place, before) {
            (Some(place), _) => self.compare_end(place),
            (None, Some(hash)) => {
                let message =
                    "the newest manifest that the journal knows is not there: the end of the chain was removed, or \
                               the manifests were moved"
                        .to_owned();
                self.add(ProblemKind::EndMissing, hash, message);
            }
            (None, None) if self.chain.len() > 1 => {
                let message = "the journal knows none of these manifests: another journal wrote them".to_owned();
                let newest = self.chain.last().map_or_else(String::new, |(_, hash)| hash.clone());
                self.add(ProblemKind::NewerThanJournal, &newest, message);
            }
            (None, None) => {}
        }
        self.matches_journal = Some(self.problems.len() == problems);
    }

    fn compare_end(&mut self, place: usize) {
        let journal = &self.chain[place].0;
        let later: Vec<_> = self.chain[place + 1..].iter().filter(|(other, _)| other == journal).collect();
        if let [_, .., (_, newest)] = later.as_slice() {
            let message = format!(
                "{} manifests are newer than the newest that the journal knows: it is an older copy of the one that wrote them",
                later.len()
            );
            self.add(ProblemKind::NewerThanJournal, &newest.clone(), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::manifest::{Manifest, name_of};

    /// A directory with a chain of manifests, each of one file with one event.
    struct Written {
        directory: tempfile::TempDir,
        names: Vec<String>,
        hashes: Vec<String>,
    }

    impl Written {
        fn new(batches: u64) -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            std::fs::create_dir(directory.path().join("m")).expect("created");
            let mut written = Self { directory, names: Vec::new(), hashes: Vec::new() };
            (0..batches).for_each(|batch| written.add(batch + 1));
            written
        }

        fn add(&mut self, seq: u64) {
            let text = format!("event {seq}\n");
            let time = Timestamp::from_secs(i64::try_from(seq).expect("few"));
            let object = ManifestObject {
                key: format!("day/{seq}.ndjson"),
                offset: None,
                size: text.len() as u64,
                sha256: sha256_hex(text.as_bytes()),
                rows: 1,
                first_time: time,
                last_time: time,
            };
            self.write(&object.key, &text);
            let manifest = Manifest {
                manifest_version: MANIFEST_VERSION,
                pipeline: "acme",
                sink: "lake",
                journal: "0123456789abcdef",
                generation: 0,
                first: seq,
                last: seq,
                rows: 1,
                objects: &[object],
                previous: self.hashes.last().map(String::as_str),
            };
            let (name, bytes) = (name_of("0123456789abcdef", 0, seq, seq) + ".json", manifest.encode());
            std::fs::write(self.directory.path().join("m").join(&name), &bytes).expect("written");
            self.names.push(name);
            self.hashes.push(sha256_hex(&bytes));
        }

        fn write(&self, key: &str, text: &str) {
            let path = self.directory.path().join(key);
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("created");
            std::fs::write(path, text).expect("written");
        }

        fn remove(&self, key: &str) {
            std::fs::remove_file(self.directory.path().join(key)).expect("removed");
        }

        fn verify(&self, since: Option<Timestamp>) -> Verification {
            let base = self.directory.path().to_path_buf();
            let outputs = LocalOutputs::new(base.clone(), base.join("m"));
            let options = VerifyOptions { since, is_table: false };
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(verify(&outputs, options)).expect("read")
        }
    }

    fn kinds(found: &Verification) -> Vec<ProblemKind> {
        found.problems.iter().map(|problem| problem.problem).collect()
    }

    #[test]
    fn a_whole_chain_has_no_problem() {
        let written = Written::new(3);
        let mut found = written.verify(None);
        assert_eq!((found.manifests, found.objects, found.events, found.bytes), (3, 3, 3, 24));
        assert_eq!((found.first_time, found.last_time), (Some(Timestamp::from_secs(1)), Some(Timestamp::from_secs(3))));
        assert_eq!((kinds(&found), found.matches_journal), (vec![], None));
        let newest = Some(written.hashes[2].as_str());
        found.compare(newest, newest);
        assert_eq!((kinds(&found), found.matches_journal), (vec![], Some(true)));
        assert_eq!(found.newest.values().collect::<Vec<_>>(), [&written.hashes[2]]);
    }

    #[test]
    fn every_removed_or_changed_part_is_a_problem() {
        type Change = fn(&Written);
        let cases: [(Change, &[ProblemKind], &str); 6] = [
            (|written| written.remove("day/2.ndjson"), &[ProblemKind::ObjectMissing], "day/2.ndjson"),
            (|written| written.write("day/2.ndjson", "event X\n"), &[ProblemKind::ObjectChanged], "day/2.ndjson"),
            (|written| written.write("day/2.ndjson", "event"), &[ProblemKind::ObjectMissing], "day/2.ndjson"),
            (
                |written| written.remove(&format!("m/{}", written.names[1])),
                &[ProblemKind::ChainBroken],
                "-0000000000000003",
            ),
            (
                |written| written.write(&format!("m/{}", written.names[1]), "{}"),
                &[ProblemKind::ManifestUnreadable, ProblemKind::ChainBroken],
                "-0000000000000002",
            ),
            (
                |written| {
                    let path = format!("m/{}", written.names[2]);
                    let text = std::fs::read_to_string(written.directory.path().join(&path)).expect("read");
                    written.write(&path, &text.replace("\"first\":3", "\"first\":2"));
                },
                &[ProblemKind::EventsTwice],
                "-0000000000000003",
            ),
        ];
        for (change, problems, at) in cases {
            let written = Written::new(3);
            change(&written);
            let found = written.verify(None);
            assert_eq!(kinds(&found), problems);
            assert!(found.problems[0].at.contains(at), "{:?}", found.problems);
        }
    }

    #[test]
    fn the_end_is_compared_with_the_journal() {
        let written = Written::new(4);
        let hash = |index: usize| Some(written.hashes[index].as_str());
        let compared = |before, after| {
            let mut found = written.verify(None);
            found.compare(before, after);
            kinds(&found)
        };
        assert_eq!(compared(hash(2), hash(2)), [], "the manifest of an unfinished batch");
        assert_eq!(compared(hash(2), Some("written meanwhile")), []);
        assert_eq!(compared(hash(0), hash(3)), [], "written meanwhile");
        assert_eq!(compared(hash(1), hash(1)), [ProblemKind::NewerThanJournal]);
        assert_eq!(compared(None, None), [ProblemKind::NewerThanJournal]);
        written.remove(&format!("m/{}", written.names[3]));
        assert_eq!(compared(hash(3), hash(3)), [ProblemKind::EndMissing]);
        let mut nothing = Written::new(0).verify(None);
        nothing.compare(None, None);
        assert_eq!((kinds(&nothing), nothing.matches_journal), (vec![], Some(true)));
    }

    #[test]
    fn older_objects_may_have_expired() {
        let written = Written::new(3);
        written.remove("day/1.ndjson");
        written.remove("day/2.ndjson");
        let found = written.verify(Some(Timestamp::from_secs(3)));
        assert_eq!((kinds(&found), found.objects, found.objects_skipped), (vec![], 3, 2));
    }

    #[test]
    fn a_chain_that_continues_from_elsewhere_says_so() {
        let written = Written::new(3);
        written.remove(&format!("m/{}", written.names[0]));
        let found = written.verify(None);
        assert_eq!((kinds(&found), found.follows.values().collect::<Vec<_>>()), (vec![], vec![&written.hashes[0]]));
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let written = Written::new(2);
        let replace = |key: &str| {
            written.remove(key);
            let path = written.directory.path().join(key);
            rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).expect("a pipe");
        };
        replace("day/1.ndjson");
        replace(&format!("m/{}", written.names[1]));
        assert_eq!(kinds(&written.verify(None)), [ProblemKind::ObjectMissing, ProblemKind::ManifestUnreadable]);
    }

    #[test]
    fn a_key_that_leads_elsewhere_is_not_read() {
        let written = Written::new(1);
        let object = ManifestObject {
            key: "../../etc/hostname".to_owned(),
            offset: None,
            size: 1,
            sha256: String::new(),
            rows: 1,
            first_time: Timestamp::from_secs(0),
            last_time: Timestamp::from_secs(0),
        };
        let outputs = LocalOutputs::new(written.directory.path().join("day/x"), written.directory.path().join("m"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        assert_eq!(runtime.block_on(outputs.sha256(&object)).expect("read"), None);
    }
}
