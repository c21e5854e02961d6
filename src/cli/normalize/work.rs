//! The threads of `auditflow normalize`: one reads, some normalize, the caller's writes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::input::{Chunk, Input, InputError, LONGEST, Places};
use crate::event::{EventId, native};
use crate::time::Timestamp;
use crate::vendors::{Normalizer, ReadContext};

/// Chunks that wait in front of each worker and behind it.
const WAITING_CHUNKS: usize = 2;

/// What is to be done.
pub(super) struct Job {
    /// How the vendor's records are read.
    pub(super) records: Arc<dyn Normalizer>,
    /// The events' `source`.
    pub(super) source: String,
    /// The events' `observed_at`.
    pub(super) observed_at: Timestamp,
    /// Threads that normalize. One where identical records are counted: only then the counts follow the input's order.
    pub(super) workers: usize,
}

/// What has been done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Events written.
    pub(super) records: u64,
    /// Those of them with `normalize_error`.
    pub(super) unreadable: u64,
}

/// Why it ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The reader of our output has had enough (`| head`).
    #[error("the output was closed")]
    OutputClosed,
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// The input cannot be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A thread broke down, which is a defect.
    #[error("a thread broke down; please report this as a defect of auditflow")]
    Broken,
}

/// A chunk on its way, or why there are no more.
type Passed<T> = Result<T, InputError>;

/// A normalized chunk.
struct Done {
    bytes: Vec<u8>,
    counts: Counts,
}

/// Normalizes the whole source into `output`.
pub(super) fn run(job: Job, source: Box<dyn Read + Send>, output: &mut dyn Write) -> Result<Counts, Failure> {
    let job = Arc::new(job);
    let mut threads = Vec::new();
    let mut to_workers = Vec::new();
    let mut from_workers = Vec::new();
    for _ in 0..job.workers {
        let (chunk_sender, chunks) = sync_channel(WAITING_CHUNKS);
        let (done_sender, done) = sync_channel(WAITING_CHUNKS);
        let job = Arc::clone(&job);
        threads.push(thread::spawn(move || work(&job, &chunks, &done_sender)));
        to_workers.push(chunk_sender);
        from_workers.push(done);
    }
    threads.push(thread::spawn(move || read(&job, source, &to_workers)));
    let counts = write(&from_workers, output)?;
    drop(from_workers);
    // Not reached when the output was closed: the reader may then be waiting for input that never comes.
    for thread in threads {
        thread.join().map_err(|_| Failure::Broken)?;
    }
    Ok(counts)
}

/// Gives chunks to the workers in turn, until the input ends or nobody takes them any more.
fn read(job: &Job, source: Box<dyn Read + Send>, workers: &[SyncSender<Passed<Chunk>>]) {
    let mut input = Input::new(source, LONGEST);
    let is_page = |json: &str| job.records.page_records(json).is_some();
    for worker in workers.iter().cycle() {
        let passed = match input.next_chunk(&is_page) {
            Ok(None) => return,
            Ok(Some(chunk)) => Ok(chunk),
            Err(error) => Err(error),
        };
        let ends = passed.is_err();
        if worker.send(passed).is_err() || ends {
            return;
        }
    }
}

fn work(job: &Job, chunks: &Receiver<Passed<Chunk>>, done: &SyncSender<Passed<Done>>) {
    let mut worker = Worker { job, seen: HashMap::new() };
    for passed in chunks {
        if done.send(passed.map(|chunk| worker.normalize(&chunk))).is_err() {
            return;
        }
    }
}

/// Writes what the workers give, in turn, so in the input's order. The first that has nothing more ends it.
fn write(workers: &[Receiver<Passed<Done>>], output: &mut dyn Write) -> Result<Counts, Failure> {
    let mut counts = Counts::default();
    for worker in workers.iter().cycle() {
        let Ok(passed) = worker.recv() else { break };
        let done = passed?;
        output.write_all(&done.bytes).map_err(output_failure)?;
        counts.records += done.counts.records;
        counts.unreadable += done.counts.unreadable;
    }
    output.flush().map_err(output_failure)?;
    Ok(counts)
}

fn output_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe { Failure::OutputClosed } else { Failure::Output(error) }
}

struct Worker<'j> {
    job: &'j Job,
    /// How often each record has come, for vendors without ids.
    seen: HashMap<(EventId, u64), u32>,
}

impl Worker<'_> {
    fn normalize(&mut self, chunk: &Chunk) -> Done {
        let mut done = Done { bytes: Vec::with_capacity(chunk.bytes.len() * 2), counts: Counts::default() };
        match &chunk.records {
            Places::Lines => {
                for line in chunk.bytes.split(|byte| *byte == b'\n') {
                    self.value(line.trim_ascii(), chunk.pages, &mut done);
                }
            }
            Places::At(places) => {
                for place in places {
                    self.value(&chunk.bytes[place.clone()], chunk.pages, &mut done);
                }
            }
        }
        done
    }

    /// A record, or a page of them; nothing for a blank line.
    fn value(&mut self, bytes: &[u8], may_be_page: bool, done: &mut Done) {
        if bytes.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(bytes);
        let damaged = matches!(text, Cow::Owned(_));
        let page = if may_be_page { self.job.records.page_records(&text) } else { None };
        match page {
            Some(records) => records.into_iter().for_each(|raw| self.record(raw, damaged, done)),
            None => self.record(&text, damaged, done),
        }
    }

    /// Of a damaged page, only the records that the damage may have reached are told to be so.
    fn record(&mut self, raw: &str, damaged: bool, done: &mut Done) {
        let occurrence = if self.job.records.has_ids() { 0 } else { self.occurrence(raw) };
        let context = ReadContext { source: &self.job.source, observed_at: self.job.observed_at, occurrence };
        let mut event = self.job.records.normalize(raw, &context);
        if damaged && raw.contains(char::REPLACEMENT_CHARACTER) && event.normalize_error.is_none() {
            event.normalize_error = Some("the record is not UTF-8; what was no text has been replaced".to_owned());
        }
        native::encode(&event, native::RawForm::Keep, &mut done.bytes);
        done.bytes.push(b'\n');
        done.counts.records += 1;
        done.counts.unreadable += u64::from(event.normalize_error.is_some());
    }

    /// The record's number among wholly identical ones, from 0.
    fn occurrence(&mut self, raw: &str) -> u32 {
        let identity = self.job.records.key_of(raw);
        let next = self.seen.entry((identity.id, identity.version)).or_insert(0);
        let occurrence = *next;
        *next += 1;
        occurrence
    }
}
