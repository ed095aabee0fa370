//! Computes the pause of a poller after an empty answer.

use std::time::Duration;

use crate::sqs::Backoff;

/// The first pause between two empty polls. It doubles with each empty poll.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two empty polls. A message on an idle queue waits at most this long.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The pause of one poller. A long poll waits at SQS and needs no pause. Without a pause, a poll that does not wait, or
/// a server that always answers at once, would cause a thousand calls a second.
#[derive(Debug, Default)]
pub(crate) struct IdlePause {
    empty_polls: u32,
}

impl IdlePause {
    /// Returns the pause after an empty poll. `took` is the duration of that poll.
    pub(crate) fn after_empty(&mut self, took: Duration) -> Duration {
        self.empty_polls = self.empty_polls.saturating_add(1);
        Backoff::exponential(FIRST_PAUSE..LONGEST_PAUSE).max_delay(self.empty_polls).saturating_sub(took)
    }

    /// Starts again with the shortest pause: after a message there may be more.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_a_second_and_restarts_after_a_message() {
        let mut pause = IdlePause::default();
        let pauses: Vec<_> = (0..7).map(|_| pause.after_empty(Duration::ZERO).as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1_000, 1_000]);
        pause.reset();
        assert_eq!(pause.after_empty(Duration::ZERO), FIRST_PAUSE);
    }

    #[test]
    fn the_wait_of_a_poll_at_sqs_shortens_the_pause() {
        let mut pause = IdlePause::default();
        assert_eq!(pause.after_empty(FIRST_PAUSE / 5), FIRST_PAUSE / 5 * 4);
        for _ in 0..10 {
            assert_eq!(pause.after_empty(LONGEST_PAUSE), Duration::ZERO, "a long poll needs no pause");
        }
    }
}
