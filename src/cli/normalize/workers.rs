//! The threads of `auditflow normalize`: one reads, several normalize, the calling thread writes.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::cli::raw_input::{Chunk, Input, InputError, MAX_RECORD_BYTES};
use crate::event::{EventId, native};
use crate::time::Timestamp;
use crate::vendors::{Normalizer, ReadContext};

/// Capacity of the channels to and from each worker, in chunks.
const CHANNEL_CHUNKS: usize = 2;

/// What to normalize.
pub(super) struct Job {
    /// The vendor's normalizer.
    pub(super) normalizer: Arc<dyn Normalizer>,
    /// The events' `source`.
    pub(super) source: String,
    /// The events' `observed_at`.
    pub(super) observed_at: Timestamp,
    /// Number of normalizing threads; 1 if identical records are numbered, so that the numbers follow the input's order.
    pub(super) workers: usize,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Events written.
    pub(super) records: u64,
    /// Events with `normalize_error`.
    pub(super) failed: u64,
}

/// Why the command ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The reader of the output has closed the pipe (`| head`).
    #[error("the output was closed")]
    OutputClosed,
    /// Writing the output failed.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// Reading the input failed.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A thread panicked, which is a bug.
    #[error("a thread panicked; this is a bug in auditflow, please report it")]
    Panicked,
}

/// A chunk, or why there are no more.
type Chunked<T> = Result<T, InputError>;

/// A normalized chunk.
struct Output {
    bytes: Vec<u8>,
    counts: Counts,
}

/// Normalizes the whole input into `output`.
pub(super) fn run(job: Job, source: Box<dyn Read + Send>, output: &mut dyn Write) -> Result<Counts, Failure> {
    let job = Arc::new(job);
    let mut threads = Vec::new();
    let mut to_workers = Vec::new();
    let mut from_workers = Vec::new();
    for _ in 0..job.workers {
        let (chunk_sender, chunks) = sync_channel(CHANNEL_CHUNKS);
        let (done_sender, done) = sync_channel(CHANNEL_CHUNKS);
        let job = Arc::clone(&job);
        threads.push(thread::spawn(move || work(&job, &chunks, &done_sender)));
        to_workers.push(chunk_sender);
        from_workers.push(done);
    }
    threads.push(thread::spawn(move || read(&job, source, &to_workers)));
    let counts = write(&from_workers, output)?;
    drop(from_workers);
    // Not reached if the output was closed: the reader may then wait forever for more input.
    for thread in threads {
        thread.join().map_err(|_| Failure::Panicked)?;
    }
    Ok(counts)
}

/// Sends chunks to the workers round-robin, until the input or a worker ends.
fn read(job: &Job, source: Box<dyn Read + Send>, workers: &[SyncSender<Chunked<Chunk>>]) {
    let mut input = Input::new(source, MAX_RECORD_BYTES);
    let is_page = |json: &str| job.normalizer.page_records(json).is_some();
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

fn work(job: &Job, chunks: &Receiver<Chunked<Chunk>>, done: &SyncSender<Chunked<Output>>) {
    let mut worker = Worker { job, seen: HashMap::new() };
    for passed in chunks {
        if done.send(passed.map(|chunk| worker.normalize(&chunk))).is_err() {
            return;
        }
    }
}

/// Writes the workers' output round-robin, which is the order of the input. Ends with the first worker that has no more.
fn write(workers: &[Receiver<Chunked<Output>>], output: &mut dyn Write) -> Result<Counts, Failure> {
    let mut counts = Counts::default();
    for worker in workers.iter().cycle() {
        let Ok(passed) = worker.recv() else { break };
        let done = passed?;
        output.write_all(&done.bytes).map_err(output_failure)?;
        counts.records += done.counts.records;
        counts.failed += done.counts.failed;
    }
    output.flush().map_err(output_failure)?;
    Ok(counts)
}

fn output_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe { Failure::OutputClosed } else { Failure::Output(error) }
}

struct Worker<'j> {
    job: &'j Job,
    /// How often each record has occurred, for vendors without ids.
    seen: HashMap<(EventId, u64), u32>,
}

impl Worker<'_> {
    fn normalize(&mut self, chunk: &Chunk) -> Output {
        let mut done = Output { bytes: Vec::with_capacity(chunk.bytes.len() * 2), counts: Counts::default() };
        let job = self.job;
        chunk.each_record(job.normalizer.as_ref(), |raw, is_sound| self.record(raw, is_sound, &mut done));
        done
    }

    fn record(&mut self, raw: &str, is_sound: bool, done: &mut Output) {
        let occurrence = if self.job.normalizer.has_ids() { 0 } else { self.occurrence(raw) };
        let context = ReadContext { source: &self.job.source, observed_at: self.job.observed_at, occurrence };
        let mut event = self.job.normalizer.normalize(raw, &context);
        if !is_sound && event.normalize_error.is_none() {
            event.normalize_error = Some("the record is not UTF-8; invalid bytes have been replaced".to_owned());
        }
        native::encode(&event, native::RawForm::Keep, &mut done.bytes);
        done.bytes.push(b'\n');
        done.counts.records += 1;
        done.counts.failed += u64::from(event.normalize_error.is_some());
    }

    /// The occurrence number of the record among identical records, from 0.
    fn occurrence(&mut self, raw: &str) -> u32 {
        let key = self.job.normalizer.key_of(raw);
        let next = self.seen.entry((key.id, key.version)).or_insert(0);
        let occurrence = *next;
        *next += 1;
        occurrence
    }
}
