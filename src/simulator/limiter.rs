//! The vendors' request budgets: sliding windows over the requests that were admitted.

use std::collections::VecDeque;

use super::switches::Limits;
use crate::time::Timestamp;
use crate::units::Rate;

/// Counts requests against budgets that all hold.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    budgets: Vec<(Rate, VecDeque<Timestamp>)>,
}

impl Limiter {
    /// Takes over the budgets in force; a changed budget begins anew.
    fn follow(&mut self, limits: &Limits) {
        if self.budgets.iter().map(|(rate, _)| rate).ne(&limits.0) {
            self.budgets = limits.0.iter().map(|rate| (*rate, VecDeque::new())).collect();
        }
    }

    /// Seconds (rounded up) until the next request may come; `None` if one may come now.
    pub(super) fn wait(&mut self, limits: &Limits, now: Timestamp) -> Option<u64> {
        self.follow(limits);
        self.budgets.iter_mut().filter_map(|(rate, times)| wait_of(*rate, times, now)).max()
    }

    /// Counts a request.
    pub(super) fn count(&mut self, limits: &Limits, now: Timestamp) {
        self.follow(limits);
        for (_, times) in &mut self.budgets {
            times.push_back(now);
        }
    }
}

fn wait_of(rate: Rate, times: &mut VecDeque<Timestamp>, now: Timestamp) -> Option<u64> {
    while times.front().is_some_and(|time| *time + rate.per <= now) {
        times.pop_front();
    }
    let full = times.len() >= usize::try_from(rate.requests).unwrap_or(usize::MAX);
    let oldest = times.front().filter(|_| full)?;
    let left = (*oldest + rate.per).since(now);
    Some(left.as_secs() + u64::from(left.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::switches::SwitchValue as _;

    #[test]
    fn a_full_budget_says_how_long_to_wait_and_frees_itself() {
        let limits = Limits::read("2/s,3/m").expect("limits");
        let mut limiter = Limiter::default();
        let at = Timestamp::from_millis;
        for millis in [0, 100] {
            assert_eq!(limiter.wait(&limits, at(millis)), None);
            limiter.count(&limits, at(millis));
        }
        assert_eq!(limiter.wait(&limits, at(200)), Some(1));
        assert_eq!(limiter.wait(&limits, at(1_000)), None);
        limiter.count(&limits, at(1_000));
        assert_eq!(limiter.wait(&limits, at(2_500)), Some(58));
        assert_eq!(limiter.wait(&limits, at(60_000)), None);
    }

    #[test]
    fn no_budget_never_waits() {
        let limits = Limits(Vec::new());
        assert_eq!(Limiter::default().wait(&limits, Timestamp::EPOCH), None);
    }
}
