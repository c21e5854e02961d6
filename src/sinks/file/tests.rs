//! The file sink on real directories, and on a disk that fails at every call in turn.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::journal::{FileBefore, FileRecord, RollbackRecord, Seq};
use crate::sinks::compression::Compression;
use crate::sinks::compression::tests::decompressed;
use crate::sinks::conformance::{self, Fixture};
use crate::sinks::disk::{Disk, DiskFile, FileState, LocalDisk, check_writable};
use crate::sinks::registry::SinkName;
use crate::sinks::template::Template;
use crate::sinks::testing::{MemoryLog, event};
use crate::sinks::{BatchRange, Committed, EventForm, Sink, SinkError, StoredPosition};
use crate::time::Timestamp;

const DAY: &str = "2026-01-02T03:04:05Z";
const NAME: SinkName<'_> = SinkName { pipeline: "p", sink: "s" };

fn config(path: &Path, more: &str) -> FileConfig {
    serde_json::from_str(&format!(r#"{{"path": {:?}{more}}}"#, path.display().to_string())).expect("a config")
}

fn sink(path: &Path, more: &str) -> FileSink {
    config(path, more).build(Arc::new(SystemClock), NAME).expect("a sink")
}

/// Every file and directory below `root` but markers; a directory ends with `/`.
fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(root).expect("below").display().to_string();
            if name.ends_with(".auditflow") {
                continue;
            }
            if path.is_dir() {
                found.insert(format!("{name}/"), Vec::new());
                directories.push(path);
            } else {
                found.insert(name, fs::read(path).expect("a file"));
            }
        }
    }
    found
}

async fn write(sink: &mut FileSink, raws: &[&str]) -> Result<MemoryLog, (MemoryLog, SinkError)> {
    let mut log = MemoryLog::default();
    sink.begin(BatchRange { first: 1, last: raws.len() as u64 });
    for (seq, raw) in (1..).zip(raws) {
        let _ = sink.write(seq, &event(raw, DAY), EventForm::Raw).expect("encoded");
    }
    match sink.commit(None, &mut log).await {
        Ok(_) => Ok(log),
        Err(error) => Err((log, error)),
    }
}

fn message_and_hint(error: SinkError) -> (String, String) {
    match error {
        SinkError::Transient { message, hint } => (message, hint),
        error => panic!("{error}"),
    }
}

// --- the conformance suite, once per compression, with and without rotation ---

struct FileFixture<const COMPRESSION: usize, const ROTATE: u64>(tempfile::TempDir);

impl<const COMPRESSION: usize, const ROTATE: u64> FileFixture<COMPRESSION, ROTATE> {
    const HOW: Compression = Compression::ALL[COMPRESSION];

    fn settings() -> String {
        let rotate = if ROTATE > 0 { format!(r#", "rotate": {{"max_bytes": {ROTATE}}}"#) } else { String::new() };
        format!(r#", "compression": "{}"{rotate}"#, Self::HOW.as_str())
    }
}

impl<const COMPRESSION: usize, const ROTATE: u64> Fixture for FileFixture<COMPRESSION, ROTATE> {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(sink(&self.0.path().join("a/{{ vendor }}/%d/%F.ndjson"), &Self::settings()))
    }

    fn reconfigured(&self) -> Box<dyn Sink> {
        Box::new(sink(&self.0.path().join("elsewhere.ndjson"), ""))
    }

    fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = contents(self.0.path());
        // The marker keeps the directory of the files.
        found.remove("a/");
        found
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (_, bytes) in self.contents().iter().filter(|(name, _)| !name.ends_with('/')) {
            let text = String::from_utf8(decompressed(Self::HOW, bytes)).expect("text");
            lines.extend(text.lines().map(str::to_owned));
        }
        lines
    }
}

#[tokio::test]
async fn conforms_plain() {
    conformance::passes::<FileFixture<0, 0>>().await;
    conformance::passes::<FileFixture<0, 1_500>>().await;
}

#[tokio::test]
async fn conforms_with_gzip() {
    conformance::passes::<FileFixture<1, 0>>().await;
    conformance::passes::<FileFixture<1, 300>>().await;
}

#[tokio::test]
async fn conforms_with_zstd() {
    conformance::passes::<FileFixture<2, 0>>().await;
    conformance::passes::<FileFixture<2, 300>>().await;
}

// --- manifests ---

/// The same with manifests, which are not event lines.
struct ManifestFixture(FileFixture<2, 300>);

impl Fixture for ManifestFixture {
    fn new() -> Self {
        Self(FileFixture::new())
    }

    fn sink(&self) -> Box<dyn Sink> {
        let settings = r#", "compression": "zstd", "rotate": {"max_bytes": 300}, "manifest": true"#;
        Box::new(sink(&self.0.0.path().join("a/{{ vendor }}/%d/%F.ndjson"), settings))
    }

    fn reconfigured(&self) -> Box<dyn Sink> {
        self.0.reconfigured()
    }

    fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.contents()
    }

    fn lines(&self) -> Vec<String> {
        let files =
            contents(self.0.0.path()).into_iter().filter(|(name, _)| !name.contains('_') && !name.ends_with('/'));
        let texts = files.map(|(_, bytes)| String::from_utf8(decompressed(Compression::Zstd, &bytes)).expect("text"));
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

#[tokio::test]
async fn conforms_with_manifests() {
    conformance::passes::<ManifestFixture>().await;
}

fn with_manifests(directory: &Path) -> FileSink {
    sink(&directory.join("a/{{ event_type }}.ndjson"), r#", "manifest": true"#)
}

async fn open(sink: &mut FileSink, journal: &str, generation: u64, state: Option<&str>) {
    let stored = StoredPosition { journal, generation, state, position: 0, up_to: Seq::MAX };
    let position = sink.recover_position(stored).await;
    assert_eq!(position.expect("opened"), None);
}

/// Writes a batch; returns its rollback records and its state.
async fn batch_of(sink: &mut FileSink, first: Seq, kinds: &[&str]) -> Result<(MemoryLog, Option<String>), SinkError> {
    let mut log = MemoryLog::default();
    let last = first + (kinds.len() as u64).max(1) - 1;
    sink.begin(BatchRange { first, last });
    for (number, kind) in kinds.iter().enumerate() {
        let mut event = event("{}", &format!("2026-01-02T03:04:0{number}Z"));
        event.event_type = (*kind).to_owned().into();
        let _ = sink.write(1, &event, EventForm::Raw).expect("encoded");
    }
    sink.commit(None, &mut log).await.map(|committed| (log, committed.state))
}

fn manifest_file(first: Seq, last: Seq) -> String {
    format!("a/_manifests/p-s/j1-{first:016}-{last:016}.json")
}

#[tokio::test]
async fn manifests_list_what_was_appended_and_form_a_chain() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut sink = with_manifests(directory.path());
    open(&mut sink, "j1", 0, None).await;
    let (_, state) = batch_of(&mut sink, 1, &["x", "y", "x"]).await.expect("written");
    let mut restarted = with_manifests(directory.path());
    open(&mut restarted, "j1", 0, Some(&state.expect("a hash"))).await;
    let (log, _) = batch_of(&mut restarted, 7, &["y"]).await.expect("written");
    let files = contents(directory.path());
    let first = &files[&manifest_file(1, 3)];
    let hash = crate::sinks::manifest::sha256_hex;
    let expected = serde_json::json!({
        "manifest_version": 1, "pipeline": "p", "sink": "s", "journal": "j1", "first": 1, "last": 3, "rows": 3,
        "objects": [
            {"key": "x.ndjson", "offset": 0, "size": 6, "sha256": hash(b"{}\n{}\n"), "rows": 2,
             "first_time": "2026-01-02T03:04:00Z", "last_time": "2026-01-02T03:04:02Z"},
            {"key": "y.ndjson", "offset": 0, "size": 3, "sha256": hash(b"{}\n"), "rows": 1,
             "first_time": "2026-01-02T03:04:01Z", "last_time": "2026-01-02T03:04:01Z"},
        ],
        "previous": null,
    });
    assert_eq!(serde_json::from_slice::<serde_json::Value>(first).expect("JSON"), expected);
    let second: serde_json::Value = serde_json::from_slice(&files[&manifest_file(7, 7)]).expect("JSON");
    assert_eq!(second["previous"], hash(first));
    assert_eq!(second["objects"][0]["offset"], 3);

    restarted.rollback(&log.records()).await.expect("rolled back");
    assert!(!contents(directory.path()).contains_key(&manifest_file(7, 7)));
    batch_of(&mut restarted, 7, &["y"]).await.expect("written");
    assert_eq!(contents(directory.path()), files);
}

#[tokio::test]
async fn a_redelivery_has_its_own_manifests() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut former = with_manifests(directory.path());
    open(&mut former, "j1", 0, None).await;
    let (_, state) = batch_of(&mut former, 1, &["x", "y"]).await.expect("written");
    let mut again = with_manifests(directory.path());
    open(&mut again, "j1", 2, Some(&state.expect("a hash"))).await;
    batch_of(&mut again, 1, &["x", "y"]).await.expect("the manifest of the same range does not conflict");
    let files = contents(directory.path());
    let name = "a/_manifests/p-s/j1.002-0000000000000001-0000000000000002.json";
    let manifest: serde_json::Value = serde_json::from_slice(&files[name]).expect("JSON");
    assert_eq!(manifest["previous"], crate::sinks::manifest::sha256_hex(&files[&manifest_file(1, 2)]));
    assert_eq!((&manifest["generation"], &manifest["objects"][0]["offset"]), (&2.into(), &3.into()));
}

#[tokio::test]
async fn a_batch_without_events_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    batch_of(&mut with_manifests(directory.path()), 1, &[]).await.expect("written");
    assert_eq!(contents(directory.path()), BTreeMap::new());
}

#[tokio::test]
async fn a_batch_whose_manifest_exists_already_stops_the_sink() {
    let directory = tempfile::tempdir().expect("a directory");
    let write_with_journal = async |journal| {
        let mut sink = with_manifests(directory.path());
        open(&mut sink, journal, 0, None).await;
        batch_of(&mut sink, 5, &["x"]).await
    };
    write_with_journal("j1").await.expect("written");
    match write_with_journal("j1").await {
        Err(SinkError::Stopped { message, hint }) => {
            assert!(message.contains("exists already") && hint.contains("restored"), "{message} {hint}");
        }
        other => panic!("{other:?}"),
    }
}

// --- a disk that fails at every call in turn ---

/// Lets `calls` calls succeed and fails all later ones; a failing append writes half of its bytes first.
#[derive(Debug)]
struct FailingDisk {
    calls: Arc<AtomicI64>,
    created: Option<Timestamp>,
    /// Nothing below it may be looked at.
    forbidden: Option<PathBuf>,
}

impl FailingDisk {
    fn after(calls: i64) -> Self {
        Self { calls: Arc::new(AtomicI64::new(calls)), created: None, forbidden: None }
    }

    fn look_at(&self, path: &Path) -> io::Result<()> {
        self.pass()?;
        let is_forbidden =
            self.forbidden.as_ref().is_some_and(|forbidden| path != forbidden && path.starts_with(forbidden));
        if is_forbidden { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }

    fn pass(&self) -> io::Result<()> {
        pass(&self.calls)
    }
}

fn pass(calls: &AtomicI64) -> io::Result<()> {
    if calls.fetch_sub(1, Ordering::Relaxed) > 0 { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
}

#[derive(Debug)]
struct FailingFile(Box<dyn DiskFile>, Arc<AtomicI64>);

impl DiskFile for FailingFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = pass(&self.1) {
            self.0.append(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.0.append(bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        pass(&self.1).and_then(|()| self.0.sync())
    }
}

impl Disk for FailingDisk {
    fn state(&self, path: &Path) -> io::Result<Option<FileState>> {
        self.look_at(path)?;
        let state = LocalDisk::PRIVATE.state(path)?;
        Ok(state.map(|state| FileState { created: self.created.or(state.created), ..state }))
    }
    fn tail(&self, path: &Path, end: u64, bytes: u64) -> io::Result<Vec<u8>> {
        self.pass().and_then(|()| LocalDisk::PRIVATE.tail(path, end, bytes))
    }
    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        if self.forbidden.as_deref() == Some(directory) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.pass().and_then(|()| LocalDisk::PRIVATE.names(directory))
    }
    fn create_directories(&self, directory: &Path) -> io::Result<()> {
        self.pass().and_then(|()| LocalDisk::PRIVATE.create_directories(directory))
    }
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.look_at(path).and_then(|()| LocalDisk::PRIVATE.read(path))
    }
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.pass().and_then(|()| LocalDisk::PRIVATE.replace(path, bytes))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.pass()?;
        Ok(Box::new(FailingFile(LocalDisk::PRIVATE.open(path)?, Arc::clone(&self.calls))))
    }
    fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        self.pass().and_then(|()| LocalDisk::PRIVATE.truncate(path, length))
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.pass().and_then(|()| LocalDisk::PRIVATE.remove_file(path))
    }
    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        self.pass().and_then(|()| LocalDisk::PRIVATE.remove_directory(directory))
    }
    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.pass().and_then(|()| LocalDisk::PRIVATE.sync_directory(directory))
    }
}

/// Two paths, one new and one existing: the disk fails after `calls` calls, the batch is rolled back on a disk that fails as
/// often as it can, then it is written again. Returns whether the disk failed at all.
async fn survives_failure_after(calls: i64) -> bool {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("x/{{ tenant }}.ndjson");
    let settings = config(&path, r#", "rotate": {"max_bytes": 1000}, "manifest": true"#);
    let build = |disk| settings.build_on(Arc::new(SystemClock), NAME, Arc::new(disk)).expect("a sink");
    let mut first = build(FailingDisk::after(i64::MAX));
    write(&mut first, &[r#"{"n":0}"#]).await.map_err(|(_, error)| error).expect("written");
    let before = contents(directory.path());

    let mut log = MemoryLog::default();
    let mut sink = build(FailingDisk::after(calls));
    sink.recover_position(after(1)).await.ok();
    let failed = write_two_paths(&mut sink, &mut log).await.is_err();
    for rollback_calls in 0.. {
        let mut restarted = build(FailingDisk::after(rollback_calls));
        if restarted.recover_position(StoredPosition { up_to: 4, ..after(1) }).await.is_err() {
            continue;
        }
        if restarted.rollback(&log.records()).await.is_ok() {
            break;
        }
    }
    assert_eq!(contents(directory.path()), before, "after {calls} calls");
    let mut again = build(FailingDisk::after(i64::MAX));
    again.recover_position(after(1)).await.expect("the marker is back where the journal is");
    write_two_paths(&mut again, &mut MemoryLog::default()).await.expect("written");
    let after = contents(directory.path());
    assert_eq!(after["x/none.ndjson"], b"{\"n\":0}\n{\"n\":1}\n{\"n\":3}\n", "after {calls} calls");
    assert_eq!(after["x/other.ndjson"], b"{\"n\":2}\n", "after {calls} calls");
    failed
}

/// Somebody else's directory of markers, which this user may not read.
#[tokio::test]
async fn markers_that_may_not_be_read_hinder_neither_a_batch_nor_its_rollback() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::create_dir(directory.path().join("a")).expect("created");
    fs::create_dir(directory.path().join(".auditflow")).expect("created");
    let disk = || FailingDisk { forbidden: Some(directory.path().join(".auditflow")), ..FailingDisk::after(i64::MAX) };
    let build = || {
        let config = config(&directory.path().join("a/{{ vendor }}.ndjson"), "");
        config.build_on(Arc::new(SystemClock), NAME, Arc::new(disk())).expect("a sink")
    };
    let mut first = build();
    first.recover_position(after(0)).await.expect("its own");
    let log = write(&mut first, &["1"]).await.expect("written");
    assert_eq!(fs::read_dir(directory.path().join("a/.auditflow")).expect("inside").count(), 1);
    let mut again = build();
    again.recover_position(StoredPosition { up_to: 1, ..after(0) }).await.expect("its unfinished batch");
    again.rollback(&log.records()).await.expect("rolled back");
    let marker = fs::read_dir(directory.path().join("a/.auditflow")).expect("inside").next().expect("a marker");
    let marker = fs::read_to_string(marker.expect("an entry").path()).expect("text");
    assert!(marker.contains("\"position\":0") && marker.contains("{{ vendor }}.ndjson"), "{marker}");
}

/// A journal that has delivered up to `position` and has no unfinished batch.
fn after(position: Seq) -> StoredPosition<'static> {
    StoredPosition { journal: "j", generation: 0, state: None, position, up_to: position }
}

async fn write_two_paths(sink: &mut FileSink, log: &mut MemoryLog) -> Result<Committed, SinkError> {
    sink.begin(BatchRange { first: 2, last: 4 });
    for (number, tenant) in [(1, None), (2, Some("other")), (3, None)] {
        let raw = format!("{{\"n\":{number}}}");
        let mut event = event(&raw, DAY);
        event.tenant = tenant.map(Into::into);
        let _ = sink.write(2, &event, EventForm::Raw)?;
        sink.flush(log).await?;
    }
    sink.commit(None, log).await
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_whichever_disk_call_fails() {
    let mut failures = 0;
    while survives_failure_after(failures).await {
        failures += 1;
    }
    assert!(failures > 15, "only {failures} calls were made to fail");
}

// --- real errors ---

#[tokio::test]
async fn a_full_disk_says_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("full.ndjson");
    std::os::unix::fs::symlink("/dev/full", &path).expect("a link");
    let (_, error) = write(&mut sink(&path, ""), &["{}"]).await.expect_err("the device is full");
    let (message, hint) = message_and_hint(error);
    assert!(message.contains("full.ndjson") && message.contains("No space left"), "{message}");
    assert!(hint.contains("free space"), "{hint}");
}

#[tokio::test]
async fn a_device_accepts_everything() {
    write(&mut sink(Path::new("/dev/null"), ""), &["1", "2"]).await.map_err(|(_, error)| error).expect("written");
}

#[tokio::test]
async fn a_file_where_a_directory_is_needed_says_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("audit"), "mine").expect("a file");
    let mut sink = sink(&directory.path().join("audit/x.ndjson"), "");
    let (log, error) = write(&mut sink, &["{}"]).await.expect_err("no directory can be made");
    let (_, hint) = message_and_hint(error);
    assert!(hint.contains("is a file where a directory is needed"), "{hint}");
    sink.rollback(&log.records()).await.expect("nothing to roll back");
    assert_eq!(fs::read(directory.path().join("audit")).expect("a file"), b"mine");
}

// --- whose output it is ---

fn stopped(error: SinkError) -> String {
    let SinkError::Stopped { message, hint } = error else { panic!("{error}") };
    format!("{message} | {hint}")
}

#[tokio::test]
async fn a_second_journal_is_refused_until_it_adopts_the_output() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("{{ vendor }}/x.ndjson");
    let mut first = sink(&path, "");
    first.recover_position(after(0)).await.expect("free");
    write(&mut first, &["1", "2"]).await.expect("written");
    let mut second = sink(&path, "");
    let other = StoredPosition { journal: "another", ..after(0) };
    assert!(stopped(second.recover_position(other).await.expect_err("is refused")).contains("another journal"));
    let mut elsewhere = sink(&directory.path().join("{{ vendor }}/y.ndjson"), "");
    elsewhere.recover_position(other).await.expect("other files in the same directory");
    second.adopt(other).await.expect("adopted");
    second.recover_position(other).await.expect("its own now");
    let (_, error) = write(&mut first, &["3"]).await.expect_err("not the first one's any more, while it runs");
    assert!(stopped(error).contains("state adopt FILE s"));
    write(&mut second, &["3"]).await.expect("written");
    assert_eq!(contents(directory.path())["clumio/x.ndjson"], b"1\n2\n3\n");
}

#[tokio::test]
async fn another_journal_is_refused_whatever_its_template_is() {
    for (first, second, refused) in [
        ("out/{{ vendor }}.ndjson", "out/{{ source }}.ndjson", true),
        ("out/{{ vendor }}/x.ndjson", "out/clumio/x.ndjson", true),
        ("out/clumio/x.ndjson", "out/{{ vendor }}/x.ndjson", true),
        ("out/%Y/{{ source }}.ndjson", "{{ tenant }}/{{ vendor }}/x.ndjson", false),
        ("out/a.ndjson", "out/b.ndjson", false),
        ("out/{{ vendor }}.ndjson", "out/sub/{{ vendor }}.ndjson", false),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let mut first = sink(&directory.path().join(first), "");
        first.recover_position(after(0)).await.expect("free");
        write(&mut first, &["1"]).await.expect("written");
        let before = contents(directory.path());
        let mut other = sink(&directory.path().join(second), "");
        let stored = StoredPosition { journal: "another", ..after(0) };
        other.recover_position(stored).await.expect("only an event shows where it leads");
        let written = write(&mut other, &["1"]).await;
        assert_eq!(written.is_err(), refused, "{second}");
        if let Err((_, error)) = written {
            let error = stopped(error);
            assert!(error.contains("another data_dir") && error.contains(".auditflow/"), "{error}");
            assert_eq!(contents(directory.path()), before);
            let mut again = sink(&directory.path().join(second), "");
            again.recover_position(after(0)).await.expect("the same journal");
            write(&mut again, &["2"]).await.expect("another sink of the first journal may");
        }
        write(&mut first, &["3"]).await.expect("the first one goes on");
    }
}

#[tokio::test]
async fn an_older_copy_of_the_journal_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("x.ndjson");
    let mut running = sink(&path, "");
    running.recover_position(after(0)).await.expect("free");
    write(&mut running, &["1", "2"]).await.expect("written");
    sink(&path, "").recover_position(after(2)).await.expect("as the journal left it");
    let unfinished = StoredPosition { up_to: 2, ..after(0) };
    sink(&path, "").recover_position(unfinished).await.expect("killed before the journal moved its position");
    let mut restored = sink(&path, "");
    assert!(stopped(restored.recover_position(after(0)).await.expect_err("is refused")).contains("restored"));
    let again = StoredPosition { generation: 1, ..after(0) };
    sink(&path, "").recover_position(again).await.expect("a redelivery is a later generation");
}

#[tokio::test]
async fn a_rollback_touches_no_file_that_is_not_an_output() {
    let directory = tempfile::tempdir().expect("a directory");
    let victim = directory.path().join("victim.ndjson");
    fs::write(&victim, "theirs\n").expect("written");
    fs::create_dir(directory.path().join("out")).expect("created");
    std::os::unix::fs::symlink(&victim, directory.path().join("out/link.ndjson")).expect("links");
    let mut sink = sink(&directory.path().join("out/{{ vendor }}.ndjson"), "");
    sink.recover_position(after(0)).await.expect("free");
    for path in
        [victim.clone(), directory.path().join("out/../victim.ndjson"), directory.path().join("out/link.ndjson")]
    {
        let before = FileBefore::Absent { first_new_directory: Some("/".into()) };
        let record = RollbackRecord::File(FileRecord { path: path.clone(), before });
        let error = stopped(sink.rollback(&[record]).await.expect_err("is refused"));
        assert!(error.contains(&path.display().to_string()) && error.contains("nothing was touched"), "{error}");
        assert_eq!(fs::read(&victim).expect("there"), b"theirs\n");
    }
}

#[tokio::test]
async fn files_are_private_and_the_mode_is_an_option() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a directory");
    for (settings, file_mode, directory_mode) in
        [(", \"manifest\": true", 0o600, 0o700), (", \"manifest\": true, \"file_mode\": \"0640\"", 0o640, 0o750)]
    {
        let base = directory.path().join(format!("{file_mode:o}"));
        let mut sink = sink(&base.join("{{ vendor }}/x.ndjson"), settings);
        sink.recover_position(after(0)).await.expect("free");
        write(&mut sink, &["1"]).await.expect("written");
        let mut directories = vec![base];
        while let Some(path) = directories.pop() {
            let mode = fs::metadata(&path).expect("there").permissions().mode() & 0o777;
            assert_eq!(mode, if path.is_dir() { directory_mode } else { file_mode }, "{}", path.display());
            directories.extend(fs::read_dir(&path).into_iter().flatten().map(|entry| entry.expect("an entry").path()));
        }
    }
}

// --- other programs that change the same files ---

#[tokio::test]
async fn lines_that_others_append_between_batches_stay() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("x.ndjson");
    let mut sink = sink(&path, "");
    write(&mut sink, &["1"]).await.expect("written");
    fs::write(&path, "1\ntheirs\n").expect("appended");
    let log = write(&mut sink, &["2"]).await.expect("written");
    sink.rollback(&log.records()).await.expect("rolled back");
    assert_eq!(fs::read(&path).expect("a file"), b"1\ntheirs\n");
}

#[tokio::test]
async fn a_truncated_file_gets_no_hole() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("x.ndjson");
    let mut sink = sink(&path, "");
    write(&mut sink, &["1", "2", "3"]).await.expect("written");
    let log = write(&mut sink, &["4"]).await.expect("written");
    fs::write(&path, "1\n").expect("cut");
    sink.rollback(&log.records()).await.expect("rolled back");
    write(&mut sink, &["4"]).await.expect("written");
    assert_eq!(fs::read(&path).expect("a file"), b"1\n4\n");
}

#[tokio::test]
async fn a_replaced_file_is_left_unchanged() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("x.ndjson");
    let mut sink = sink(&path, "");
    write(&mut sink, &["1"]).await.expect("written");
    let log = write(&mut sink, &["2"]).await.expect("written");
    fs::write(&path, "something else, longer than before").expect("replaced");
    sink.rollback(&log.records()).await.expect("rolled back");
    assert_eq!(fs::read(&path).expect("a file"), b"something else, longer than before");
}

#[tokio::test]
async fn a_missing_directory_is_waited_for_because_its_disk_may_be_mounted_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (disk, away) = (directory.path().join("disk"), directory.path().join("away"));
    fs::create_dir(&disk).expect("made");
    for name in ["x.ndjson", "new/y.ndjson"] {
        let mut sink = sink(&disk.join(name), "");
        let log = write(&mut sink, &["1"]).await.expect("written");
        fs::rename(&disk, &away).expect("unmounted");
        let (message, hint) = message_and_hint(sink.rollback(&log.records()).await.expect_err("not there"));
        assert!(message.contains("disk") && hint.contains("mount"), "{message} {hint}");
        fs::rename(&away, &disk).expect("mounted");
        sink.rollback(&log.records()).await.expect("rolled back");
        assert_eq!(contents(&disk), BTreeMap::new());
    }
}

#[tokio::test]
async fn an_interrupted_rollback_of_new_directories_is_finished() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut sink = sink(&directory.path().join("made/{{ event_type }}.ndjson"), "");
    let mut log = MemoryLog::default();
    sink.begin(BatchRange { first: 1, last: 2 });
    for kind in ["a", "b"] {
        let mut event = event("{}", DAY);
        event.event_type = kind.into();
        let _ = sink.write(1, &event, EventForm::Raw).expect("encoded");
        sink.flush(&mut log).await.expect("flushed");
    }
    fs::remove_dir_all(directory.path().join("made")).expect("removed, and the rollback is not stored yet");
    sink.rollback(&log.records()).await.expect("rolled back");
    assert_eq!(contents(directory.path()), BTreeMap::new());
}

#[tokio::test]
async fn a_file_that_is_removed_during_a_batch_fails_the_batch() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("x.ndjson");
    let mut sink = sink(&path, "");
    let mut log = MemoryLog::default();
    sink.begin(BatchRange { first: 1, last: 1 });
    let _ = sink.write(1, &event("1", DAY), EventForm::Raw).expect("encoded");
    sink.flush(&mut log).await.expect("flushed");
    fs::remove_file(&path).expect("removed");
    let (message, _) = message_and_hint(sink.commit(None, &mut log).await.expect_err("the lines are gone"));
    assert!(message.contains("removed or truncated by another program"), "{message}");
    sink.rollback(&log.records()).await.expect("rolled back");
    write(&mut sink, &["1"]).await.expect("written");
    assert_eq!(fs::read(&path).expect("a file"), b"1\n");
}

#[tokio::test]
async fn the_console_rolls_back_the_batch_of_a_file_sink_with_its_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut file = sink(&directory.path().join("a/b.ndjson"), "");
    crate::sinks::orphans::own_journal("the journal of the console");
    open(&mut file, "the journal of the console", 0, None).await;
    let log = write(&mut file, &["1"]).await.expect("written");
    let mut console = crate::sinks::console::ConsoleConfig::default().build();
    console.rollback(&log.records()).await.expect("rolled back");
    assert_eq!(contents(directory.path()).into_keys().collect::<Vec<_>>(), Vec::<String>::new());
}

// --- rotation ---

#[tokio::test]
async fn files_rotate_by_size_and_continue_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("x.ndjson.gz");
    for number in 0..6 {
        let raw = format!("\"number {number} {}\"", "padding".repeat(10));
        let mut sink = sink(&path, r#", "rotate": {"max_bytes": 170}"#);
        write(&mut sink, &[&raw]).await.expect("written");
    }
    let files = contents(directory.path());
    assert_eq!(files.keys().collect::<Vec<_>>(), ["x.1.ndjson.gz", "x.2.ndjson.gz", "x.ndjson.gz"]);
    assert!(files.values().all(|bytes| bytes.len() <= 170), "{:?}", files.values().map(Vec::len).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn files_rotate_by_age_and_a_second_attempt_uses_the_same_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let start = Timestamp::from_secs(1_800_000_000);
    let clock = ManualClock::starting_at(start);
    let disk = || FailingDisk { created: Some(start), ..FailingDisk::after(i64::MAX) };
    let settings = config(&directory.path().join("x.ndjson"), r#", "rotate": {"max_age": "1h"}"#);
    let mut sink = settings.build_on(Arc::new(clock), NAME, Arc::new(disk())).expect("a sink");
    write(&mut sink, &["1"]).await.expect("written");
    let log = write(&mut sink, &["2"]).await.expect("written");
    tokio::time::advance(Duration::from_secs(3_600)).await;
    sink.rollback(&log.records()).await.expect("rolled back");
    write(&mut sink, &["2"]).await.expect("written");
    assert_eq!(fs::read(directory.path().join("x.ndjson")).expect("a file"), b"1\n2\n");
    write(&mut sink, &["3"]).await.expect("written");
    assert_eq!(fs::read(directory.path().join("x.1.ndjson")).expect("a file"), b"3\n");
}

// --- other cases ---

#[tokio::test]
async fn many_paths_in_one_batch_stay_within_the_open_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut sink = sink(&directory.path().join("{{ event_type }}.ndjson"), "");
    let mut log = MemoryLog::default();
    sink.begin(BatchRange { first: 1, last: 1_000 });
    for number in 0..1_000 {
        let mut event = event("{}", DAY);
        event.event_type = format!("type {}", number % 300).into();
        let _ = sink.write(1, &event, EventForm::Raw).expect("encoded");
        if number % 400 == 399 {
            sink.flush(&mut log).await.expect("flushed");
            assert!(sink.batch.open_files() <= 128);
        }
    }
    assert_eq!(
        sink.commit(None, &mut log).await.expect("committed"),
        Committed { events: 1_000, bytes: 3_000, state: None }
    );
    assert_eq!(contents(directory.path()).len(), 300);
}

#[tokio::test]
async fn two_paths_that_resolve_to_one_file_share_it() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("a.ndjson"), "x".repeat(100)).expect("a file");
    fs::write(directory.path().join("a.1.ndjson"), "").expect("a file");
    let mut sink = sink(&directory.path().join("{{ event_type }}.ndjson"), r#", "rotate": {"max_bytes": 100}"#);
    let mut log = MemoryLog::default();
    sink.begin(BatchRange { first: 1, last: 2 });
    for kind in ["a", "a.1"] {
        let mut event = event("{}", DAY);
        event.event_type = kind.into();
        let _ = sink.write(1, &event, EventForm::Raw).expect("encoded");
    }
    sink.commit(None, &mut log).await.expect("committed");
    assert_eq!(log.records().len(), 1);
    assert_eq!(fs::read(directory.path().join("a.1.ndjson")).expect("a file"), b"{}\n{}\n");
}

#[test]
fn relative_paths_become_absolute() {
    let sink = config(&PathBuf::from("x.ndjson"), "").build(Arc::new(SystemClock), NAME).expect("a sink");
    assert!(sink.root.is_absolute());
}

// --- the health check ---

fn check_below(root: &Path, path: &str) -> Result<(), SinkError> {
    let template = Template::parse(path).expect("a template");
    check_writable(&root.join(template.fixed_directory()))
}

#[test]
fn a_directory_that_can_be_created_is_enough_and_none_is_created() {
    let root = tempfile::tempdir().expect("a directory");
    check_below(root.path(), "new/deep/{{ vendor }}.ndjson").expect("can be created");
    assert!(!root.path().join("new").exists());
}

#[test]
fn a_file_in_place_of_a_directory_is_named() {
    let root = tempfile::tempdir().expect("a directory");
    fs::write(root.path().join("audit"), "").expect("written");
    let error = check_below(root.path(), "audit/{{ vendor }}.ndjson").expect_err("a file");
    assert!(error.to_string().contains("audit"), "{error}");
}

#[tokio::test]
async fn a_file_that_another_sink_writes_is_refused_whatever_its_path_looks_like() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::create_dir(directory.path().join("real")).expect("created");
    std::os::unix::fs::symlink("real", directory.path().join("link")).expect("links");
    let other = SinkName { pipeline: "p", sink: "other" };
    let build =
        |path: &str, name| config(&directory.path().join(path), "").build(Arc::new(SystemClock), name).expect("a sink");
    write(&mut build("real/a.ndjson", NAME), &["1"]).await.expect("written");
    let (_, error) = write(&mut build("link/a.ndjson", other), &["2"]).await.expect_err("is refused");
    let SinkError::Stopped { message, .. } = error else { panic!("{error}") };
    assert!(message.contains("written by the sink s of pipeline p"), "{message}");
    assert_eq!(contents(directory.path())["real/a.ndjson"], b"1\n");
    write(&mut build("link/b.ndjson", other), &["3"]).await.expect("another file");
    write(&mut build("real/a.ndjson", NAME), &["4"]).await.expect("the same sink");
}
