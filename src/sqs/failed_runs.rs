//! Counts failed runs of messages in this process.
//!
//! SQS counts receives, and a receive is not a run. Behind a poison message of a FIFO group the whole group is received
//! each time and never runs. So failures in this process are counted separately. Other processes' failures are unknown
//! here: a count is too low rather than too high, and in the end the queue's RedrivePolicy decides.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// The limit of counted messages. Beyond it, the message whose last failure is oldest is forgotten and starts again at
/// zero.
const MAX_MESSAGES: usize = 50_000;

/// The longest time that a message stays in a queue.
const KEPT_FOR: Duration = Duration::from_secs(14 * 24 * 3_600);

/// The number of failed runs by message id.
#[derive(Debug, Default)]
pub(super) struct FailedRuns {
    by_id: HashMap<Box<str>, Failures>,
    /// All failures in memory, the oldest first.
    order: VecDeque<(Instant, Box<str>)>,
}

#[derive(Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

impl FailedRuns {
    /// Returns how many runs of the message have failed, as far as this process knows.
    pub(super) fn of(&self, message_id: &str) -> u32 {
        self.by_id.get(message_id).map_or(0, |failures| failures.count)
    }

    /// Counts a failed run of the message.
    pub(super) fn add(&mut self, message_id: &str, now: Instant) {
        let failures = self.by_id.entry(message_id.into()).or_insert(Failures { count: 0, last: now });
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        self.order.push_back((now, message_id.into()));
        self.forget_old(now);
    }

    /// Forgets a message that has left the queue.
    pub(super) fn forget(&mut self, message_id: &str) {
        self.by_id.remove(message_id);
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((at, message_id)) = self.order.front() {
            if self.order.len() <= MAX_MESSAGES && now.saturating_duration_since(*at) < KEPT_FOR {
                return;
            }
            // The message may have failed again since.
            if self.by_id.get(message_id).is_some_and(|failures| failures.last == *at) {
                self.by_id.remove(message_id);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_has_its_own_count() {
        let (mut runs, now) = (FailedRuns::default(), Instant::now());
        for id in ["a", "b", "a"] {
            runs.add(id, now);
        }
        assert_eq!((runs.of("a"), runs.of("b"), runs.of("c")), (2, 1, 0));
        runs.forget("a");
        assert_eq!((runs.of("a"), runs.of("b")), (0, 1));
    }

    #[test]
    fn message_with_the_oldest_failure_is_forgotten_at_the_limit() {
        let (mut runs, begin) = (FailedRuns::default(), Instant::now());
        let at = |number: usize| begin + Duration::from_millis(number as u64);
        (0..MAX_MESSAGES).for_each(|number| runs.add(&number.to_string(), at(number)));
        runs.add("0", at(MAX_MESSAGES));
        runs.add("one more", at(MAX_MESSAGES + 1));
        assert_eq!((runs.of("0"), runs.of("1"), runs.of("2")), (2, 0, 1));
        assert!(runs.by_id.len() <= MAX_MESSAGES && runs.order.len() == MAX_MESSAGES);
    }

    #[test]
    fn message_is_forgotten_after_the_longest_retention() {
        let (mut runs, now) = (FailedRuns::default(), Instant::now());
        runs.add("a", now);
        runs.add("b", now + KEPT_FOR);
        assert_eq!((runs.of("a"), runs.of("b")), (0, 1));
    }
}
