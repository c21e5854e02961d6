//! The threads of `auditflow normalize`: one reads, several normalize, the calling thread writes.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use crate::cli::raw_input::{Chunk, Input, InputError, MAX_RECORD_BYTES};
use crate::event::{EventId, native};
use crate::time::Timestamp;
use crate::vendors::{Normalizer, ReadContext};

/// Capacity of the channels to and from each worker, in chunks.
const CHANNEL_CHUNKS: usize = 2;

/// Bytes of input that are read and not yet written, at most; one chunk may be larger. Chunks of small records stay far
/// below it. Without it, huge records would take memory with each worker.
const MAX_BYTES_IN_FLIGHT: usize = 64 << 20;

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
    /// The size of the chunk.
    input_bytes: usize,
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
    let (written, from_writer) = channel();
    let mut in_flight = InFlight { bytes: 0, limit: MAX_BYTES_IN_FLIGHT, written: from_writer };
    threads.push(thread::spawn(move || read(&job, source, &to_workers, &mut in_flight)));
    let counts = write(&from_workers, output, &written)?;
    drop((from_workers, written));
    // Not reached if the output was closed: the reader may then wait forever for more input.
    for thread in threads {
        thread.join().map_err(|_| Failure::Panicked)?;
    }
    Ok(counts)
}

/// Bytes of input that are read and not yet written.
struct InFlight {
    bytes: usize,
    limit: usize,
    /// The sizes of written chunks.
    written: Receiver<usize>,
}

impl InFlight {
    /// Adds a chunk, once there is room for it or nothing else is in flight. Returns whether the writer is still there.
    fn add(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_sub(self.written.try_iter().sum());
        while self.bytes > 0 && self.bytes.saturating_add(bytes) > self.limit {
            let Ok(written) = self.written.recv() else { return false };
            self.bytes = self.bytes.saturating_sub(written);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        true
    }
}

/// Sends chunks to the workers round-robin, until the input, a worker or the writer ends.
fn read(job: &Job, source: Box<dyn Read + Send>, workers: &[SyncSender<Chunked<Chunk>>], in_flight: &mut InFlight) {
    let mut input = Input::new(source, MAX_RECORD_BYTES);
    let is_page = |json: &str| job.normalizer.page_records(json).is_some();
    for worker in workers.iter().cycle() {
        let passed = match input.next_chunk(&is_page) {
            Ok(None) => return,
            Ok(Some(chunk)) => Ok(chunk),
            Err(error) => Err(error),
        };
        let ends = passed.as_ref().map_or(true, |chunk| !in_flight.add(chunk.bytes.len()));
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
fn write(
    workers: &[Receiver<Chunked<Output>>],
    output: &mut dyn Write,
    written: &Sender<usize>,
) -> Result<Counts, Failure> {
    let (mut counts, mut occurrences) = (Counts::default(), Occurrences::default());
    for worker in workers.iter().cycle() {
        let Ok(passed) = worker.recv() else { break };
        let mut done = passed?;
        occurrences.number(&mut done);
        output.write_all(&done.bytes).map_err(output_failure)?;
        counts.records += done.counts.records;
        counts.failed += done.counts.failed;
        counts.without_tenant += done.counts.without_tenant;
        // The reader may have ended.
        let _ = written.send(done.input_bytes);
    }
    output.flush().map_err(output_failure)?;
    Ok(counts)
}

fn output_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe { Failure::OutputClosed } else { Failure::Output(error) }
}

fn normalize(job: &Job, chunk: &Chunk) -> Output {
    let bytes = Vec::with_capacity(chunk.bytes.len() * 2);
    let input_bytes = chunk.bytes.len();
    let mut done = Output { input_bytes, bytes, counts: Counts::default(), unnumbered: Vec::new() };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_waits_until_there_is_room_or_nothing_else_is_in_flight() {
        let (written, from_writer) = channel();
        let mut in_flight = InFlight { bytes: 0, limit: 10, written: from_writer };
        assert!(in_flight.add(25), "a chunk that is larger than the limit passes alone");
        written.send(25).expect("is received");
        assert!(in_flight.add(6) && in_flight.add(4), "what fits does not wait");
        written.send(6).expect("is received");
        written.send(4).expect("is received");
        assert!(in_flight.add(11), "both were written");
        drop(written);
        assert!(!in_flight.add(1), "nobody writes any more");
    }
}
