//! Appending to the journal and reading back, page by page as collect and deliver do it.
//!
//! ```text
//! page of 1,000 records --BlockBuilder--> compressed block            "packed": one core
//!                                           |--commit_page--> disk    "appended": packed, and durable page by page,
//!                                           |                         with 16 bytes of evidence per record
//! journal --read--> block --decode--> records                         "read back"
//! ```
//!
//! "appended" is elapsed time, since it waits for the disk; it is the rate of one source alone, concurrent sources share
//! commits. The others are processor time of one thread. The journal is in a temporary directory, or where
//! `AUDITFLOW_BENCH_DIR` says.
#![allow(clippy::print_stdout)]

mod common;

use std::hint::black_box;
use std::time::Duration;

use anyhow::Context;
use auditflow::journal::{
    AfterPage, BlockBuilder, CollectJournal, Completion, EncodedBlock, JournalOptions, LatenessCounts, LogReader,
    NewWindow, PageCommit, RequestCounts, ScanSpec, SeenKey, SourceId, SourceRegistration, SqliteJournal, WindowId,
    WindowKind,
};
use auditflow::simulator::VendorName;
use auditflow::time::{TimeRange, Timestamp};
use auditflow::units::ByteSize;
use auditflow::vendors::{self, NormalizerConfig};
use tokio::time::Instant;

use common::{best_of, megabytes, rate};

const PAGE: usize = 1_000;
const PAGES: usize = 200;
/// Bytes of evidence per record: a hash of its key.
const EVIDENCE_PER_RECORD: usize = 16;
const ROUNDS: usize = 5;
/// Repeats per round, so that a round is long enough for the processor time clock.
const REPEATS: u32 = 20;
const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    println!("{PAGES} pages of {PAGE} records: thousands of events per second, and MB/s of records");
    println!(
        "{:<12} {:>7} | {:>13} | {:>13} | {:>13} | {:>22}",
        "vendor", "bytes", "packed", "appended", "read back", "disk bytes per event"
    );
    for vendor in VendorName::ALL {
        measure(vendor).await?;
    }
    Ok(())
}

async fn measure(vendor: VendorName) -> anyhow::Result<()> {
    let records = common::records(vendor, (PAGE * 20) as u64).await?;
    let normalizer =
        vendors::registry::normalizer(vendor.as_str(), &NormalizerConfig::default()).context("a registered vendor")?;
    let keys: Vec<SeenKey> = records.iter().map(|raw| key(&normalizer.key_of(raw))).collect();
    let pages: Vec<_> = records.chunks(PAGE).zip(keys.chunks(PAGE)).collect();
    let bytes: usize = records.iter().map(String::len).sum();

    let packed = best_of(ROUNDS, || {
        (0..REPEATS).for_each(|_| pages.iter().for_each(|page| drop(black_box(block(page.0, page.1)))));
    }) / REPEATS;
    let directory = common::directory()?;
    let journal = Bench::open(directory.path(), vendor).await?;
    let begin = Instant::now();
    for page in pages.iter().cycle().take(PAGES) {
        journal.append(block(page.0, page.1)?).await?;
    }
    let appended = begin.elapsed();
    let on_disk = journal.complete().await?;
    let read = journal.read_all().await?;

    let all = bytes * PAGES / pages.len();
    let column =
        |count, bytes, time: Duration| format!("{:>6.0} {:>6.0}", rate(count, time) / 1e3, megabytes(bytes, time));
    println!(
        "{:<12} {:>7} | {} | {} | {} | {:>22.0}",
        vendor.as_str(),
        bytes / records.len(),
        column(records.len(), bytes, packed),
        column(PAGE * PAGES, all, appended),
        column(PAGE * PAGES, all, read),
        on_disk as f64 / (PAGE * PAGES) as f64,
    );
    Ok(())
}

fn key(key: &vendors::RecordKey) -> SeenKey {
    SeenKey { id: key.id, version: key.version, timestamp: key.timestamp, content: 1 }
}

fn block(records: &[String], keys: &[SeenKey]) -> anyhow::Result<EncodedBlock> {
    let mut block = BlockBuilder::new(NOW, 0);
    records.iter().zip(keys).for_each(|(raw, key)| block.push(raw, *key, 0));
    block.finish()?.context("a page with records")
}

/// A journal with one source and one open window.
struct Bench {
    journal: SqliteJournal,
    source: SourceId,
    window: WindowId,
    file: std::path::PathBuf,
}

impl Bench {
    async fn open(directory: &std::path::Path, vendor: VendorName) -> anyhow::Result<Self> {
        let options = JournalOptions { data_dir: directory.to_owned(), max_size: ByteSize(1 << 40) };
        let journal = SqliteJournal::open(&options)?;
        let registration = SourceRegistration {
            name: "acme".to_owned(),
            vendor: vendor.as_str().to_owned(),
            normalizer_config: NormalizerConfig::default(),
            now: NOW,
        };
        let source = journal.open_source(registration).await?.id;
        let all = TimeRange::new(Timestamp::EPOCH, NOW);
        let window = NewWindow { kind: WindowKind::Backfill, covers: all, fetch_range: all, kept: all };
        let window = journal.add_windows(source, vec![window]).await?[0];
        let scan = ScanSpec { number: 1, by_time: false, page_size: 1_000, request_fingerprint: String::new() };
        journal.begin_scan(window, scan, RequestCounts::default()).await?;
        Ok(Self { journal, source, window, file: directory.join("journal.db") })
    }

    async fn append(&self, block: EncodedBlock) -> anyhow::Result<()> {
        self.commit(Some(block), AfterPage::Continue).await
    }

    /// Completes the window, so that its events can be read; returns the length of the journal's file in bytes.
    async fn complete(&self) -> anyhow::Result<u64> {
        self.commit(None, AfterPage::Complete(Completion::covered(TimeRange::new(Timestamp::EPOCH, NOW), NOW))).await?;
        Ok(std::fs::metadata(&self.file)?.len())
    }

    async fn commit(&self, block: Option<EncodedBlock>, then: AfterPage) -> anyhow::Result<()> {
        let lateness = LatenessCounts::default();
        let evidence = vec![7; PAGE * EVIDENCE_PER_RECORD];
        let page =
            PageCommit { window: self.window, block, requests: RequestCounts::succeeded(1), lateness, evidence, then };
        Ok(self.journal.commit_page(page).await?)
    }

    /// Reads and decompresses everything, as the deliver loop does; returns the time it took.
    async fn read_all(&self) -> anyhow::Result<Duration> {
        let head = *self.journal.head().borrow();
        let begin = Instant::now();
        let mut next = 1;
        while next <= head {
            let blocks = self.journal.read(next, head, vec![self.source], 8).await?;
            for block in &blocks {
                black_box(block.decode()?.records().map(|record| record.raw.len()).sum::<usize>());
                next = block.last() + 1;
            }
        }
        Ok(begin.elapsed())
    }
}
