//! The one suite that every sink with outputs passes. It uses nothing but the trait and what is left outside.
//!
//! A batch is stopped at each of its steps; what is outside is undone, by the same sink, by a fresh one (a restart) and by
//! one with another config; then the batch is done again. Outside must look as before, and then as if nothing happened.

use std::collections::BTreeMap;

use super::testing::{MemoryPlan, event};
use super::{BatchRange, EventForm, Sink, Written};

/// Somewhere for a sink to write, and a look at what is there.
pub(crate) trait Bench {
    /// An empty place.
    fn new() -> Self;
    /// The sink under test, as after a restart.
    fn sink(&self) -> Box<dyn Sink>;
    /// The same sink with another config.
    fn reconfigured(&self) -> Box<dyn Sink>;
    /// Everything outside: name and bytes.
    fn outside(&self) -> BTreeMap<String, Vec<u8>>;
    /// Lines outside, decompressed, in no order.
    fn lines(&self) -> Vec<String>;
}

/// After which step a batch is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Begin,
    Absorb,
    Flush,
    SecondFlush,
    Commit,
}

const STOPS: [Stop; 5] = [Stop::Begin, Stop::Absorb, Stop::Flush, Stop::SecondFlush, Stop::Commit];

/// Who undoes.
#[derive(Clone, Copy, Debug)]
enum Undoer {
    Same,
    Fresh,
    Reconfigured,
}

fn absorb(sink: &mut dyn Sink, batch: u64, part: u64) {
    for number in 0..20 {
        sink.next_is(batch * 60 + part * 20 + number + 1);
        let raw = format!(r#"{{"batch":{batch},"part":{part},"number":{number}}}"#);
        let day = 1 + (number + batch + part) % 2;
        let event = event(&raw, &format!("2026-01-0{day}T00:00:00Z"));
        sink.absorb(&event, EventForm::Normalized).expect("absorbed");
    }
}

async fn write(sink: &mut dyn Sink, batch: u64, plan: &mut MemoryPlan, stop: Stop) -> Option<Written> {
    sink.begin(BatchRange { first: batch * 60 + 1, last: batch * 60 + 60 });
    if stop == Stop::Begin {
        return None;
    }
    for part in 0..2 {
        absorb(sink, batch, part);
        assert!(sink.buffered_bytes() > 0);
        if stop == Stop::Absorb {
            return None;
        }
        sink.flush(plan).await.expect("flushed");
        if stop == Stop::Flush || (stop == Stop::SecondFlush && part == 1) {
            return None;
        }
    }
    absorb(sink, batch, 2);
    Some(sink.commit(plan).await.expect("committed"))
}

async fn committed(sink: &mut dyn Sink, batch: u64) -> Written {
    write(sink, batch, &mut MemoryPlan::default(), Stop::Commit).await.expect("not stopped")
}

/// Every event of every batch is there once, and the counters say so.
async fn writes_every_event_once<B: Bench>() {
    let bench = B::new();
    let mut sink = bench.sink();
    for batch in 0..3 {
        let written = committed(sink.as_mut(), batch).await;
        assert_eq!(written.events, 60);
    }
    let mut lines = bench.lines();
    assert_eq!(lines.len(), 180);
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 180);
}

/// Bytes that a batch adds are the bytes that it says.
async fn counts_its_bytes<B: Bench>() {
    let bench = B::new();
    let size = |bench: &B| bench.outside().values().map(|bytes| bytes.len() as u64).sum::<u64>();
    let mut sink = bench.sink();
    let first = committed(sink.as_mut(), 0).await;
    assert_eq!(size(&bench), first.bytes);
    let second = committed(sink.as_mut(), 1).await;
    assert_eq!(size(&bench), first.bytes + second.bytes);
}

async fn stopped_batch_comes_out_right<B: Bench>(stop: Stop, undoer: Undoer, first_batch: bool) {
    let (bench, untouched) = (B::new(), B::new());
    let (mut sink, mut steady) = (bench.sink(), untouched.sink());
    if !first_batch {
        committed(sink.as_mut(), 0).await;
        committed(steady.as_mut(), 0).await;
    }
    let before = bench.outside();
    let memo = sink.memo();
    let mut plan = MemoryPlan::default();
    write(sink.as_mut(), 1, &mut plan, stop).await;
    match undoer {
        Undoer::Same => {}
        Undoer::Fresh => sink = bench.sink(),
        Undoer::Reconfigured => sink = bench.reconfigured(),
    }
    if let (Some(memo), Undoer::Fresh | Undoer::Reconfigured) = (memo, undoer) {
        sink.remember(&memo);
    }
    for _ in 0..2 {
        sink.undo(&plan.outputs()).await.expect("undone");
        assert_eq!(bench.outside(), before, "{stop:?} {undoer:?}");
    }
    if !matches!(undoer, Undoer::Reconfigured) {
        committed(sink.as_mut(), 1).await;
        committed(steady.as_mut(), 1).await;
        assert_eq!(bench.outside(), untouched.outside(), "{stop:?} {undoer:?}");
    }
}

/// If the plan cannot be recorded, nothing outside has been touched.
async fn touches_nothing_that_is_not_recorded<B: Bench>() {
    let bench = B::new();
    let mut sink = bench.sink();
    sink.begin(BatchRange { first: 1, last: 20 });
    absorb(sink.as_mut(), 0, 0);
    sink.flush(&mut MemoryPlan::refusing()).await.expect_err("the plan cannot be recorded");
    assert_eq!(bench.outside(), BTreeMap::new());
}

/// All outputs that a flush touches for the first time are recorded in one call, and known ones not again.
async fn records_once_a_flush<B: Bench>() {
    let bench = B::new();
    let mut sink = bench.sink();
    let mut plan = MemoryPlan::default();
    write(sink.as_mut(), 0, &mut plan, Stop::Commit).await;
    let calls = plan.calls();
    let mut names: Vec<_> = plan.outputs().into_iter().map(|output| output.name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    assert!(calls.len() <= 3 && calls.iter().all(|call| !call.is_empty()), "{calls:?}");
}

/// A batch whose every event was filtered leaves nothing outside, and the next one comes out as ever.
async fn takes_a_batch_without_events<B: Bench>() {
    let bench = B::new();
    let mut sink = bench.sink();
    let mut plan = MemoryPlan::default();
    sink.begin(BatchRange { first: 1, last: 60 });
    let written = sink.commit(&mut plan).await.expect("committed");
    assert_eq!((written.events, written.bytes, plan.outputs()), (0, 0, Vec::new()));
    assert_eq!(bench.outside(), BTreeMap::new());
    assert_eq!(committed(sink.as_mut(), 1).await.events, 60);
    assert_eq!(bench.lines().len(), 60);
}

/// Runs the whole suite.
pub(crate) async fn passes<B: Bench>() {
    writes_every_event_once::<B>().await;
    counts_its_bytes::<B>().await;
    touches_nothing_that_is_not_recorded::<B>().await;
    records_once_a_flush::<B>().await;
    takes_a_batch_without_events::<B>().await;
    for stop in STOPS {
        for undoer in [Undoer::Same, Undoer::Fresh, Undoer::Reconfigured] {
            for first_batch in [true, false] {
                stopped_batch_comes_out_right::<B>(stop, undoer, first_batch).await;
            }
        }
    }
}
