//! How long to wait after a failure. The one layer that retries is the source's loop; this module only counts.

use std::time::Duration;

use crate::time::Timestamp;

/// The first wait is at most this long, each further one up to twice as long.
const BASE: Duration = Duration::from_secs(1);
/// No wait of our own is longer.
const LONGEST: Duration = Duration::from_secs(120);
/// A wait that the vendor asks for is cut to this, so that a wrong header cannot silence a source for days.
const LONGEST_ASKED: Duration = Duration::from_secs(15 * 60);

/// Draws waits from a seeded generator.
#[derive(Debug)]
pub(super) struct Backoff {
    random: fastrand::Rng,
}

impl Backoff {
    /// The same seed gives the same waits.
    pub(super) fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed) }
    }

    /// The wait after the `failures`-th failure in a row: anything from nothing to a bound that doubles ("full jitter"),
    /// so that many clients do not come back at the same moment.
    pub(super) fn after_failure(&mut self, failures: u32) -> Duration {
        doubled(BASE, failures).mul_f64(self.random.f64())
    }

    /// The wait that a vendor asks for, and a little more.
    pub(super) fn as_asked(&mut self, asked: Duration) -> Duration {
        asked.min(LONGEST_ASKED) + BASE.mul_f64(self.random.f64())
    }

    /// The wait after the `failures`-th refusal in a row that does not say how long: `least`, and anything up to a bound
    /// that doubles, so that the vendor's limit is not met again too soon.
    pub(super) fn after_bare_refusal(&mut self, failures: u32, least: Duration) -> Duration {
        let most = doubled(least, failures.saturating_add(1));
        least + most.saturating_sub(least).mul_f64(self.random.f64())
    }
}

fn doubled(base: Duration, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    base.saturating_mul(1 << doublings).min(LONGEST)
}

/// How long the vendor asks us to wait, from the headers of its answer: `retry-after-ms`, `Retry-After` (seconds or an
/// HTTP date) or `X-RateLimit-Reset` (a time such as `2026-03-02T09:14Z`, as Atlassian documents it).
pub(super) fn asked_wait<'h>(header: impl Fn(&str) -> Option<&'h str>, now: Timestamp) -> Option<Duration> {
    let millis = header("retry-after-ms").and_then(|text| text.trim().parse().ok()).map(Duration::from_millis);
    let after = || header("retry-after").and_then(|text| seconds_or_date(text.trim(), now));
    let reset = || header("x-ratelimit-reset").and_then(|text| until(text.trim(), now));
    millis.or_else(after).or_else(reset)
}

fn seconds_or_date(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some((Timestamp::EPOCH + since_epoch).since(now))
}

fn until(text: &str, now: Timestamp) -> Option<Duration> {
    let with_seconds = || Timestamp::parse_rfc3339(&format!("{}:00Z", text.strip_suffix('Z')?));
    Timestamp::parse_rfc3339(text).or_else(with_seconds).map(|at| at.since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &'static str, value: &'static str) -> Option<Duration> {
        let now = Timestamp::parse_rfc3339("2026-03-02T09:00:00Z").expect("a time");
        asked_wait(|header| (header == name).then_some(value), now)
    }

    #[test]
    fn every_form_of_asking_for_silence() {
        for (name, value, secs) in [
            ("retry-after", "30", 30.0),
            ("retry-after", " 1.5 ", 1.5),
            ("retry-after", "Mon, 02 Mar 2026 09:01:00 GMT", 60.0),
            ("retry-after", "Mon, 02 Mar 2026 08:00:00 GMT", 0.0),
            ("retry-after-ms", "250", 0.25),
            ("x-ratelimit-reset", "2026-03-02T09:02Z", 120.0),
            ("x-ratelimit-reset", "2026-03-02T09:02:30Z", 150.0),
        ] {
            assert_eq!(asked(name, value), Some(Duration::from_secs_f64(secs)), "{name}: {value}");
        }
        for (name, value) in [("retry-after", "soon"), ("retry-after", "-5"), ("x-ratelimit-reset", "17"), ("age", "5")]
        {
            assert_eq!(asked(name, value), None, "{name}: {value}");
        }
    }

    #[test]
    fn waits_grow_to_a_bound_and_never_end() {
        let mut backoff = Backoff::new(7);
        for failures in [1, 2, 5, 40, u32::MAX] {
            assert!(backoff.after_failure(failures) <= doubled(BASE, failures));
        }
        assert_eq!(doubled(BASE, 3), Duration::from_secs(4));
        assert_eq!(doubled(BASE, u32::MAX), LONGEST);
    }

    #[test]
    fn a_refusal_that_does_not_say_how_long_is_waited_out_for_at_least_the_vendors_time() {
        let mut backoff = Backoff::new(7);
        for (least, failures, most) in
            [(1, 1, 2), (1, 4, 16), (1, u32::MAX, 120), (60, 1, 120), (60, 9, 120), (500, 3, 500)]
        {
            let wait = backoff.after_bare_refusal(failures, Duration::from_secs(least));
            assert!((Duration::from_secs(least)..=Duration::from_secs(most)).contains(&wait), "{wait:?}");
        }
    }

    #[test]
    fn an_asked_wait_is_kept_up_to_a_quarter_of_an_hour() {
        let mut backoff = Backoff::new(7);
        assert!((40..=41).contains(&backoff.as_asked(Duration::from_secs(40)).as_secs()));
        assert!(backoff.as_asked(Duration::from_secs(86_400)) <= LONGEST_ASKED + BASE);
    }
}
