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
    /// Number of normalizing threads.
    pub(super) workers: usize,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Events written.
    pub(super) records: u64,
    /// Events with `normalize_error`.
    pub(super) failed: u64,
    /// Events without `tenant`.
    pub(super) without_tenant: u64,
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
    /// The events of a vendor without ids, in order.
    unnumbered: Vec<Unnumbered>,
}

/// An event whose id is that of the first of identical records. Which one it is only the order of the input tells.
struct Unnumbered {
    key: (EventId, u64),
    /// Where its line begins.
    start: usize,
}

/// How often each record has occurred.
#[derive(Default)]
struct Occurrences(HashMap<(EventId, u64), u32, ahash::RandomState>);

impl Occurrences {
    /// Gives identical records their own ids.
    fn number(&mut self, output: &mut Output) {
        for Unnumbered { key, start } in output.unnumbered.drain(..) {
            let next = self.0.entry(key).or_insert(0);
            if *next > 0 {
                native::replace_id(&mut output.bytes[start..], key.0.nth(*next));
            }
            *next += 1;
        }
    }
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
    for passed in chunks {
        if done.send(passed.map(|chunk| normalize(job, &chunk))).is_err() {
            return;
        }
    }
}

/// Writes the workers' output round-robin, which is the order of the input. Ends with the first worker that has no more.
fn write(workers: &[Receiver<Chunked<Output>>], output: &mut dyn Write) -> Result<Counts, Failure> {
    let (mut counts, mut occurrences) = (Counts::default(), Occurrences::default());
    for worker in workers.iter().cycle() {
        let Ok(passed) = worker.recv() else { break };
        let mut done = passed?;
        occurrences.number(&mut done);
        output.write_all(&done.bytes).map_err(output_failure)?;
        counts.records += done.counts.records;
        counts.failed += done.counts.failed;
        counts.without_tenant += done.counts.without_tenant;
    }
    output.flush().map_err(output_failure)?;
    Ok(counts)
}

fn output_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe { Failure::OutputClosed } else { Failure::Output(error) }
}

fn normalize(job: &Job, chunk: &Chunk) -> Output {
    let bytes = Vec::with_capacity(chunk.bytes.len() * 2);
    let mut done = Output { bytes, counts: Counts::default(), unnumbered: Vec::new() };
    chunk.each_record(job.normalizer.as_ref(), |raw, is_sound| normalize_record(job, raw, is_sound, &mut done));
    done
}

fn normalize_record(job: &Job, raw: &str, is_sound: bool, done: &mut Output) {
    let context = ReadContext { source: &job.source, observed_at: job.observed_at, occurrence: 0 };
    let mut event = job.normalizer.normalize(raw, &context);
    if !is_sound && event.normalize_error.is_none() {
        event.normalize_error = Some("the record is not UTF-8; invalid bytes have been replaced".to_owned());
    }
    if !job.normalizer.has_ids() {
        let key = (event.id, event.version.unwrap_or(0));
        done.unnumbered.push(Unnumbered { key, start: done.bytes.len() });
    }
    native::encode(&event, native::RawForm::Keep, &mut done.bytes);
    done.bytes.push(b'\n');
    done.counts.records += 1;
    done.counts.failed += u64::from(event.normalize_error.is_some());
    done.counts.without_tenant += u64::from(event.tenant.is_none());
}
