//! How long a poller rests on an empty queue that answers at once.

use std::time::Duration;

/// The time from one empty poll to the next, at first. It doubles with each empty poll.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest time from one empty poll to the next: a message on an idle queue waits for up to this long.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The pause of one poller. A long poll waits at SQS, and needs none; one that does not wait, or whose server answers at once whatever it is
/// asked, would be made a thousand times a second.
#[derive(Debug)]
pub(crate) struct IdlePause {
    next: Duration,
}

impl Default for IdlePause {
    fn default() -> Self {
        Self { next: FIRST_PAUSE }
    }
}

impl IdlePause {
    /// Returns how long to rest after an empty poll that took so long.
    pub(crate) fn after_empty(&mut self, took: Duration) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_PAUSE);
        pause.saturating_sub(took)
    }

    /// A poll brought a message: there may be more.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_a_second_and_begins_anew_after_a_message() {
        let mut pause = IdlePause::default();
        let pauses: Vec<_> = (0..7).map(|_| pause.after_empty(Duration::ZERO).as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1_000, 1_000]);
        pause.reset();
        assert_eq!(pause.after_empty(Duration::ZERO), FIRST_PAUSE);
    }

    #[test]
    fn the_time_that_a_poll_waited_at_sqs_counts() {
        let mut pause = IdlePause::default();
        assert_eq!(pause.after_empty(FIRST_PAUSE / 5), FIRST_PAUSE / 5 * 4);
        for _ in 0..10 {
            assert_eq!(pause.after_empty(LONGEST_PAUSE), Duration::ZERO, "a long poll needs no pause");
        }
    }
}
