//! Tells when this machine's clock stands before what was collected already: it was set back, at the start or since.

use std::time::Duration;

use tokio::time::Instant;

use crate::units::Span;

/// Coverage ends before the present; a clock that is behind it by more than this was set back.
const SLACK: Duration = Duration::from_secs(5);
/// It is said again this often.
const REMINDER: Duration = Duration::from_secs(3_600);

/// When it was said last.
#[derive(Debug, Default)]
pub(super) struct ClockWatch {
    said_at: Option<Instant>,
}

impl ClockWatch {
    /// Warns if the coverage lies ahead of the clock. Whether it was said now.
    pub(super) fn look(&mut self, ahead: Duration, at: Instant) -> bool {
        let said_lately = self.said_at.is_some_and(|said| at.duration_since(said) < REMINDER);
        if ahead <= SLACK || said_lately {
            return false;
        }
        self.said_at = Some(at);
        tracing::warn!(
            ahead = %Span(ahead),
            "this machine's clock is behind what was collected already, so it was set back: nothing new is read until it \
             has caught up, and events of the time between may then be missed unless the overlap reaches them; mend the \
             clock, then rewind this source or widen its `overlap`"
        );
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_back_is_told_once_an_hour() {
        let (mut watch, start) = (ClockWatch::default(), Instant::now());
        assert!(!watch.look(Duration::from_secs(2), start));
        assert!(watch.look(Duration::from_secs(60), start));
        assert!(!watch.look(Duration::from_secs(60), start + REMINDER / 2));
        assert!(watch.look(Duration::from_secs(60), start + REMINDER));
    }
}
