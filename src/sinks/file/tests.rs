//! The file sink against real folders, and against a disk that fails at every call in turn.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::disk::{DiskFile, FileState};
use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::sinks::compression::tests::decompressed;
use crate::sinks::conformance::{self, Bench};
use crate::sinks::testing::{MemoryPlan, event};
use crate::time::Timestamp;

const DAY: &str = "2026-01-02T03:04:05Z";
const NAME: SinkName<'_> = SinkName { pipeline: "p", sink: "s" };

fn config(path: &Path, more: &str) -> FileConfig {
    serde_json::from_str(&format!(r#"{{"path": {:?}{more}}}"#, path.display().to_string())).expect("a config")
}

fn sink(path: &Path, more: &str) -> FileSink {
    config(path, more).build(Arc::new(SystemClock), NAME).expect("a sink")
}

/// Every file and folder below `root`; a folder ends with `/`.
fn outside(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(root).expect("below").display().to_string();
            if path.is_dir() {
                found.insert(format!("{name}/"), Vec::new());
                folders.push(path);
            } else {
                found.insert(name, fs::read(path).expect("a file"));
            }
        }
    }
    found
}

async fn write(sink: &mut FileSink, raws: &[&str]) -> Result<MemoryPlan, (MemoryPlan, SinkError)> {
    let mut plan = MemoryPlan::default();
    sink.begin(BatchRange { first: 1, last: raws.len() as u64 });
    for raw in raws {
        sink.absorb(&event(raw, DAY), EventForm::Raw).expect("absorbed");
    }
    match sink.commit(&mut plan).await {
        Ok(_) => Ok(plan),
        Err(error) => Err((plan, error)),
    }
}

fn message_and_hint(error: SinkError) -> (String, String) {
    match error {
        SinkError::Transient { message, hint } => (message, hint),
        error => panic!("{error}"),
    }
}

// --- the conformance suite, once a compression, without and with rotation ---

struct FileBench<const COMPRESSION: usize, const ROTATE: u64>(tempfile::TempDir);

impl<const COMPRESSION: usize, const ROTATE: u64> FileBench<COMPRESSION, ROTATE> {
    const HOW: Compression = Compression::ALL[COMPRESSION];

    fn settings() -> String {
        let rotate = if ROTATE > 0 { format!(r#", "rotate": {{"max_bytes": {ROTATE}}}"#) } else { String::new() };
        format!(r#", "compression": "{}"{rotate}"#, Self::HOW.as_str())
    }
}

impl<const COMPRESSION: usize, const ROTATE: u64> Bench for FileBench<COMPRESSION, ROTATE> {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(sink(&self.0.path().join("a/{{ vendor }}/%d/%F.ndjson"), &Self::settings()))
    }

    fn reconfigured(&self) -> Box<dyn Sink> {
        Box::new(sink(&self.0.path().join("elsewhere.ndjson"), ""))
    }

    fn outside(&self) -> BTreeMap<String, Vec<u8>> {
        outside(self.0.path())
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (_, bytes) in self.outside().iter().filter(|(name, _)| !name.ends_with('/')) {
            let text = String::from_utf8(decompressed(Self::HOW, bytes)).expect("text");
            lines.extend(text.lines().map(str::to_owned));
        }
        lines
    }
}

#[tokio::test]
async fn conforms_plain() {
    conformance::passes::<FileBench<0, 0>>().await;
    conformance::passes::<FileBench<0, 1_500>>().await;
}

#[tokio::test]
async fn conforms_with_gzip() {
    conformance::passes::<FileBench<1, 0>>().await;
    conformance::passes::<FileBench<1, 300>>().await;
}

#[tokio::test]
async fn conforms_with_zstd() {
    conformance::passes::<FileBench<2, 0>>().await;
    conformance::passes::<FileBench<2, 300>>().await;
}

// --- manifests ---

/// The same with manifests, which are no lines.
struct ManifestBench(FileBench<2, 300>);

impl Bench for ManifestBench {
    fn new() -> Self {
        Self(FileBench::new())
    }

    fn sink(&self) -> Box<dyn Sink> {
        let settings = r#", "compression": "zstd", "rotate": {"max_bytes": 300}, "manifest": true"#;
        Box::new(sink(&self.0.0.path().join("a/{{ vendor }}/%d/%F.ndjson"), settings))
    }

    fn reconfigured(&self) -> Box<dyn Sink> {
        self.0.reconfigured()
    }

    fn outside(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.outside()
    }

    fn lines(&self) -> Vec<String> {
        let files =
            outside(self.0.0.path()).into_iter().filter(|(name, _)| !name.contains('_') && !name.ends_with('/'));
        let texts = files.map(|(_, bytes)| String::from_utf8(decompressed(Compression::Zstd, &bytes)).expect("text"));
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

#[tokio::test]
async fn conforms_with_manifests() {
    conformance::passes::<ManifestBench>().await;
}

fn with_manifests(folder: &Path) -> FileSink {
    sink(&folder.join("a/{{ event_type }}.ndjson"), r#", "manifest": true"#)
}

async fn batch_of(sink: &mut FileSink, first: Seq, kinds: &[&str]) -> Result<MemoryPlan, SinkError> {
    let mut plan = MemoryPlan::default();
    let last = first + (kinds.len() as u64).max(1) - 1;
    sink.begin(BatchRange { first, last });
    for (number, kind) in kinds.iter().enumerate() {
        let mut event = event("{}", &format!("2026-01-02T03:04:0{number}Z"));
        event.event_type = (*kind).to_owned().into();
        sink.absorb(&event, EventForm::Raw).expect("absorbed");
    }
    sink.commit(&mut plan).await.map(|_| plan)
}

fn manifest_file(first: Seq, last: Seq) -> String {
    format!("a/_manifests/p-s/j1-{first:016}-{last:016}.json")
}

#[tokio::test]
async fn manifests_say_what_was_appended_where_and_follow_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sink = with_manifests(folder.path());
    sink.resume("j1").await.expect("no outside to ask");
    batch_of(&mut sink, 1, &["x", "y", "x"]).await.expect("written");
    let mut restarted = with_manifests(folder.path());
    restarted.remember(&sink.memo().expect("a hash"));
    restarted.resume("j1").await.expect("no outside to ask");
    let plan = batch_of(&mut restarted, 7, &["y"]).await.expect("written");
    let files = outside(folder.path());
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

    restarted.undo(&plan.outputs()).await.expect("undone");
    assert!(!outside(folder.path()).contains_key(&manifest_file(7, 7)));
    batch_of(&mut restarted, 7, &["y"]).await.expect("written");
    assert_eq!(outside(folder.path()), files);
}

#[tokio::test]
async fn what_is_delivered_again_has_manifests_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut former = with_manifests(folder.path());
    former.resume("j1").await.expect("no outside to ask");
    batch_of(&mut former, 1, &["x", "y"]).await.expect("written");
    let mut again = with_manifests(folder.path());
    again.use_generation(2);
    again.remember(&former.memo().expect("a hash"));
    again.resume("j1").await.expect("no outside to ask");
    batch_of(&mut again, 1, &["x", "y"]).await.expect("the manifest of the same range is no hindrance");
    let files = outside(folder.path());
    let name = "a/_manifests/p-s/j1.002-0000000000000001-0000000000000002.json";
    let manifest: serde_json::Value = serde_json::from_slice(&files[name]).expect("JSON");
    assert_eq!(manifest["previous"], crate::sinks::manifest::sha256_hex(&files[&manifest_file(1, 2)]));
    assert_eq!((&manifest["generation"], &manifest["objects"][0]["offset"]), (&2.into(), &3.into()));
}

#[tokio::test]
async fn a_batch_without_events_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    batch_of(&mut with_manifests(folder.path()), 1, &[]).await.expect("written");
    assert_eq!(outside(folder.path()), BTreeMap::new());
}

#[tokio::test]
async fn a_batch_whose_manifest_is_there_already_stops_the_sink() {
    let folder = tempfile::tempdir().expect("a folder");
    let write_with_journal = async |journal| {
        let mut sink = with_manifests(folder.path());
        sink.resume(journal).await.expect("no outside to ask");
        batch_of(&mut sink, 5, &["x"]).await
    };
    write_with_journal("j1").await.expect("written");
    write_with_journal("j2").await.expect("another journal, another name");
    match write_with_journal("j1").await {
        Err(SinkError::Stopped { message, hint }) => {
            assert!(message.contains("is there already") && hint.contains("restored"), "{message} {hint}");
        }
        other => panic!("{other:?}"),
    }
}

// --- a disk that fails at every call in turn ---

/// Lets `calls` calls pass and fails all after them; a failing append writes half of its bytes first.
#[derive(Debug)]
struct FailingDisk {
    calls: Arc<AtomicI64>,
    created: Option<Timestamp>,
}

impl FailingDisk {
    fn after(calls: i64) -> Self {
        Self { calls: Arc::new(AtomicI64::new(calls)), created: None }
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
        self.pass()?;
        let state = LocalDisk.state(path)?;
        Ok(state.map(|state| FileState { created: self.created.or(state.created), ..state }))
    }
    fn tail(&self, path: &Path, end: u64, bytes: u64) -> io::Result<Vec<u8>> {
        self.pass().and_then(|()| LocalDisk.tail(path, end, bytes))
    }
    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.pass().and_then(|()| LocalDisk.names(folder))
    }
    fn make_folders(&self, folder: &Path) -> io::Result<()> {
        self.pass().and_then(|()| LocalDisk.make_folders(folder))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.pass()?;
        Ok(Box::new(FailingFile(LocalDisk.open(path)?, Arc::clone(&self.calls))))
    }
    fn cut(&self, path: &Path, length: u64) -> io::Result<()> {
        self.pass().and_then(|()| LocalDisk.cut(path, length))
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.pass().and_then(|()| LocalDisk.remove_file(path))
    }
    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.pass().and_then(|()| LocalDisk.remove_folder(folder))
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.pass().and_then(|()| LocalDisk.sync_folder(folder))
    }
}

/// Two paths, one of them new, one of them there; stopped by the disk at its `calls`-th call, then undone by a disk that
/// fails as often as it can, then done again. Returns whether the disk failed at all.
async fn survives_failure_after(calls: i64) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x/{{ tenant }}.ndjson");
    let settings = config(&path, r#", "rotate": {"max_bytes": 1000}, "manifest": true"#);
    let build = |disk| settings.build_on(Arc::new(SystemClock), NAME, Arc::new(disk)).expect("a sink");
    let mut first = build(FailingDisk::after(i64::MAX));
    write(&mut first, &[r#"{"n":0}"#]).await.map_err(|(_, error)| error).expect("written");
    let before = outside(folder.path());

    let mut plan = MemoryPlan::default();
    let mut sink = build(FailingDisk::after(calls));
    let failed = write_two_paths(&mut sink, &mut plan).await.is_err();
    for undo_calls in 0.. {
        let mut undoer = build(FailingDisk::after(undo_calls));
        if undoer.undo(&plan.outputs()).await.is_ok() {
            break;
        }
    }
    assert_eq!(outside(folder.path()), before, "after {calls} calls");
    let mut again = build(FailingDisk::after(i64::MAX));
    write_two_paths(&mut again, &mut MemoryPlan::default()).await.expect("written");
    let after = outside(folder.path());
    assert_eq!(after["x/none.ndjson"], b"{\"n\":0}\n{\"n\":1}\n{\"n\":3}\n", "after {calls} calls");
    assert_eq!(after["x/other.ndjson"], b"{\"n\":2}\n", "after {calls} calls");
    failed
}

async fn write_two_paths(sink: &mut FileSink, plan: &mut MemoryPlan) -> Result<Written, SinkError> {
    sink.begin(BatchRange { first: 2, last: 4 });
    for (number, tenant) in [(1, None), (2, Some("other")), (3, None)] {
        let raw = format!("{{\"n\":{number}}}");
        let mut event = event(&raw, DAY);
        event.tenant = tenant.map(Into::into);
        sink.absorb(&event, EventForm::Raw)?;
        sink.flush(plan).await?;
    }
    sink.commit(plan).await
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_whichever_disk_call_fails() {
    let mut failures = 0;
    while survives_failure_after(failures).await {
        failures += 1;
    }
    assert!(failures > 15, "only {failures} calls were made to fail");
}

// --- real faults ---

#[tokio::test]
async fn a_full_disk_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("full.ndjson");
    std::os::unix::fs::symlink("/dev/full", &path).expect("a link");
    let (_, error) = write(&mut sink(&path, ""), &["{}"]).await.expect_err("the device is full");
    let (message, hint) = message_and_hint(error);
    assert!(message.contains("full.ndjson") && message.contains("No space left"), "{message}");
    assert!(hint.contains("free space"), "{hint}");
}

#[tokio::test]
async fn a_device_takes_everything() {
    write(&mut sink(Path::new("/dev/null"), ""), &["1", "2"]).await.map_err(|(_, error)| error).expect("written");
}

#[tokio::test]
async fn a_file_where_a_folder_is_needed_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("audit"), "mine").expect("a file");
    let mut sink = sink(&folder.path().join("audit/x.ndjson"), "");
    let (plan, error) = write(&mut sink, &["{}"]).await.expect_err("no folder can be made");
    let (_, hint) = message_and_hint(error);
    assert!(hint.contains("is a file where a folder is needed"), "{hint}");
    sink.undo(&plan.outputs()).await.expect("nothing to undo");
    assert_eq!(fs::read(folder.path().join("audit")).expect("a file"), b"mine");
}

// --- others who touch the same files ---

#[tokio::test]
async fn what_others_appended_between_batches_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.ndjson");
    let mut sink = sink(&path, "");
    write(&mut sink, &["1"]).await.expect("written");
    fs::write(&path, "1\ntheirs\n").expect("appended");
    let plan = write(&mut sink, &["2"]).await.expect("written");
    sink.undo(&plan.outputs()).await.expect("undone");
    assert_eq!(fs::read(&path).expect("a file"), b"1\ntheirs\n");
}

#[tokio::test]
async fn a_file_that_somebody_shortened_gets_no_hole() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.ndjson");
    let mut sink = sink(&path, "");
    write(&mut sink, &["1", "2", "3"]).await.expect("written");
    let plan = write(&mut sink, &["4"]).await.expect("written");
    fs::write(&path, "1\n").expect("cut");
    sink.undo(&plan.outputs()).await.expect("undone");
    write(&mut sink, &["4"]).await.expect("written");
    assert_eq!(fs::read(&path).expect("a file"), b"1\n4\n");
}

#[tokio::test]
async fn a_file_that_somebody_replaced_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.ndjson");
    let mut sink = sink(&path, "");
    write(&mut sink, &["1"]).await.expect("written");
    let plan = write(&mut sink, &["2"]).await.expect("written");
    fs::write(&path, "something else, longer than before").expect("replaced");
    sink.undo(&plan.outputs()).await.expect("undone");
    assert_eq!(fs::read(&path).expect("a file"), b"something else, longer than before");
}

#[tokio::test]
async fn a_folder_that_is_gone_is_waited_for_since_its_disk_may_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (disk, away) = (folder.path().join("disk"), folder.path().join("away"));
    fs::create_dir(&disk).expect("made");
    for name in ["x.ndjson", "new/y.ndjson"] {
        let mut sink = sink(&disk.join(name), "");
        let plan = write(&mut sink, &["1"]).await.expect("written");
        fs::rename(&disk, &away).expect("unmounted");
        let (message, hint) = message_and_hint(sink.undo(&plan.outputs()).await.expect_err("not there"));
        assert!(message.contains("disk") && hint.contains("mount"), "{message} {hint}");
        fs::rename(&away, &disk).expect("mounted");
        sink.undo(&plan.outputs()).await.expect("undone");
        assert_eq!(outside(&disk), BTreeMap::new());
    }
}

#[tokio::test]
async fn an_interrupted_undo_of_folders_that_the_batch_made_is_finished() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sink = sink(&folder.path().join("made/{{ event_type }}.ndjson"), "");
    let mut plan = MemoryPlan::default();
    sink.begin(BatchRange { first: 1, last: 2 });
    for kind in ["a", "b"] {
        let mut event = event("{}", DAY);
        event.event_type = kind.into();
        sink.absorb(&event, EventForm::Raw).expect("absorbed");
        sink.flush(&mut plan).await.expect("flushed");
    }
    fs::remove_dir_all(folder.path().join("made")).expect("removed, and not yet noted as undone");
    sink.undo(&plan.outputs()).await.expect("undone");
    assert_eq!(outside(folder.path()), BTreeMap::new());
}

#[tokio::test]
async fn a_file_that_is_removed_in_the_middle_of_a_batch_fails_the_batch() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.ndjson");
    let mut sink = sink(&path, "");
    let mut plan = MemoryPlan::default();
    sink.begin(BatchRange { first: 1, last: 1 });
    sink.absorb(&event("1", DAY), EventForm::Raw).expect("absorbed");
    sink.flush(&mut plan).await.expect("flushed");
    fs::remove_file(&path).expect("removed");
    let (message, _) = message_and_hint(sink.commit(&mut plan).await.expect_err("the lines are gone"));
    assert!(message.contains("removed or cut by somebody else"), "{message}");
    sink.undo(&plan.outputs()).await.expect("undone");
    write(&mut sink, &["1"]).await.expect("written");
    assert_eq!(fs::read(&path).expect("a file"), b"1\n");
}

#[tokio::test]
async fn a_record_of_another_sink_version_is_not_guessed_at() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sink = sink(&folder.path().join("x.ndjson"), "");
    let outputs = [RollbackRecord { name: "/x".to_owned(), before: "?".to_owned() }];
    let (message, hint) = message_and_hint(sink.undo(&outputs).await.expect_err("unreadable"));
    assert!(message.contains("/x") && hint.contains("version"), "{message} {hint}");
}

#[tokio::test]
async fn the_console_undoes_what_a_file_sink_of_its_name_began() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = write(&mut sink(&folder.path().join("a/b.ndjson"), ""), &["1"]).await.expect("written");
    let mut console = crate::sinks::console::ConsoleConfig::default().build();
    console.undo(&plan.outputs()).await.expect("undone");
    assert_eq!(outside(folder.path()), BTreeMap::new());
}

// --- rotation ---

#[tokio::test]
async fn files_rotate_by_size_and_go_on_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.ndjson.gz");
    for number in 0..6 {
        let raw = format!("\"number {number} {}\"", "padding".repeat(10));
        let mut sink = sink(&path, r#", "rotate": {"max_bytes": 170}"#);
        write(&mut sink, &[&raw]).await.expect("written");
    }
    let files = outside(folder.path());
    assert_eq!(files.keys().collect::<Vec<_>>(), ["x.1.ndjson.gz", "x.2.ndjson.gz", "x.ndjson.gz"]);
    assert!(files.values().all(|bytes| bytes.len() <= 170), "{:?}", files.values().map(Vec::len).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn files_rotate_by_age_and_a_second_attempt_lands_in_the_same_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = Timestamp::from_secs(1_800_000_000);
    let clock = ManualClock::starting_at(start);
    let disk = || FailingDisk { created: Some(start), ..FailingDisk::after(i64::MAX) };
    let settings = config(&folder.path().join("x.ndjson"), r#", "rotate": {"max_age_secs": "1h"}"#);
    let mut sink = settings.build_on(Arc::new(clock), NAME, Arc::new(disk())).expect("a sink");
    write(&mut sink, &["1"]).await.expect("written");
    let plan = write(&mut sink, &["2"]).await.expect("written");
    tokio::time::advance(Duration::from_secs(3_600)).await;
    sink.undo(&plan.outputs()).await.expect("undone");
    write(&mut sink, &["2"]).await.expect("written");
    assert_eq!(fs::read(folder.path().join("x.ndjson")).expect("a file"), b"1\n2\n");
    write(&mut sink, &["3"]).await.expect("written");
    assert_eq!(fs::read(folder.path().join("x.1.ndjson")).expect("a file"), b"3\n");
}

// --- the rest ---

#[tokio::test]
async fn many_paths_in_one_batch_stay_within_the_open_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sink = sink(&folder.path().join("{{ event_type }}.ndjson"), "");
    let mut plan = MemoryPlan::default();
    sink.begin(BatchRange { first: 1, last: 1_000 });
    for number in 0..1_000 {
        let mut event = event("{}", DAY);
        event.event_type = format!("type {}", number % 300).into();
        sink.absorb(&event, EventForm::Raw).expect("absorbed");
        if number % 400 == 399 {
            sink.flush(&mut plan).await.expect("flushed");
            assert!(sink.batch.open_files() <= 128);
        }
    }
    assert_eq!(sink.commit(&mut plan).await.expect("committed"), Written { events: 1_000, bytes: 3_000 });
    assert_eq!(outside(folder.path()).len(), 300);
}

#[tokio::test]
async fn two_paths_that_meet_in_one_file_share_it() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.ndjson"), "x".repeat(100)).expect("a file");
    fs::write(folder.path().join("a.1.ndjson"), "").expect("a file");
    let mut sink = sink(&folder.path().join("{{ event_type }}.ndjson"), r#", "rotate": {"max_bytes": 100}"#);
    let mut plan = MemoryPlan::default();
    sink.begin(BatchRange { first: 1, last: 2 });
    for kind in ["a", "a.1"] {
        let mut event = event("{}", DAY);
        event.event_type = kind.into();
        sink.absorb(&event, EventForm::Raw).expect("absorbed");
    }
    sink.commit(&mut plan).await.expect("committed");
    assert_eq!(plan.outputs().len(), 1);
    assert_eq!(fs::read(folder.path().join("a.1.ndjson")).expect("a file"), b"{}\n{}\n");
}

#[test]
fn relative_paths_become_absolute() {
    let sink = config(&PathBuf::from("x.ndjson"), "").build(Arc::new(SystemClock), NAME).expect("a sink");
    assert!(sink.root.is_absolute());
}
