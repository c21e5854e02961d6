//! Several requests under way at once.

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

/// Does all of `work`, at most `most` pieces at once; returns what they came to, in no order. After a fault nothing new is
/// begun, and what is under way is waited for: a request that is dropped may still arrive, behind what undoes it.
pub(super) async fn all_or_fault<T, E>(most: usize, work: Vec<BoxFuture<'_, Result<T, E>>>) -> Result<Vec<T>, E> {
    let (mut work, mut running) = (work.into_iter(), FuturesUnordered::new());
    let (mut done, mut fault) = (Vec::new(), None);
    loop {
        if fault.is_none() {
            running.extend(work.by_ref().take(most.saturating_sub(running.len())));
        }
        match running.next().await {
            None => break,
            Some(Ok(result)) => done.push(result),
            Some(Err(error)) => fault = fault.or(Some(error)),
        }
    }
    fault.map_or(Ok(done), Err)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts how many begin and how many run at once; the piece numbered `broken` fails.
    async fn play(pieces: usize, most: usize, broken: usize) -> (Result<Vec<usize>, usize>, usize, usize) {
        let (begun, running, peak) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let piece = |number: usize| {
            let (begun, running, peak) = (&begun, &running, &peak);
            let work: BoxFuture<'_, Result<usize, usize>> = Box::pin(async move {
                begun.fetch_add(1, Ordering::SeqCst);
                peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                if number == broken { Err(number) } else { Ok(number) }
            });
            work
        };
        let result = all_or_fault(most, (0..pieces).map(piece).collect()).await;
        assert_eq!(running.load(Ordering::SeqCst), 0, "something is still under way");
        (result, begun.load(Ordering::SeqCst), peak.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn all_are_done_and_no_more_at_once_than_allowed() {
        let (result, begun, peak) = play(20, 3, usize::MAX).await;
        let mut numbers = result.expect("no fault");
        numbers.sort_unstable();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
        assert_eq!((begun, peak), (20, 3));
    }

    #[tokio::test]
    async fn after_a_fault_nothing_new_is_begun() {
        let (result, begun, _) = play(20, 3, 1).await;
        assert_eq!(result, Err(1));
        assert!(begun < 8, "{begun}");
    }
}
