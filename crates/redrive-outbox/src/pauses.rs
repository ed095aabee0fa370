//! Queues that accept no messages at the moment.
//!
//! Without a pause, a relay would try each message of a missing or forbidden queue. During a pause, only one message
//! goes ahead now and then.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use redrive::Backoff;
use redrive::{SendError, Sent};

/// Whether messages may be sent to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Open,
    Paused,
    /// The pause is over, and one message goes ahead.
    ToBeProbed,
}

#[derive(Debug)]
pub(super) struct Pauses {
    backoff: Backoff,
    of: Mutex<HashMap<String, Trouble>>,
}

/// The pause of a queue that did not accept the last message.
#[derive(Debug)]
struct Trouble {
    in_a_row: u32,
    last: Instant,
    pause: Option<Pause>,
}

#[derive(Debug)]
struct Pause {
    /// The number of this pause in a row.
    number: u32,
    until: Instant,
    /// One message has gone ahead to test the queue.
    is_probed: bool,
}

/// How many failures in a row pause a queue. They are those of two full calls, each with several attempts.
const MANY: u32 = 20;

/// A queue without messages for this long is forgotten. Its rows may be gone.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);

impl Pauses {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { backoff, of: Mutex::default() }
    }

    /// Returns whether a message may be sent to that queue: any message if it is open, one after a pause.
    pub(super) fn admits(&self, queue_url: &str) -> bool {
        let mut pauses = self.lock();
        let Some(pause) = pauses.get_mut(queue_url).and_then(|trouble| trouble.pause.as_mut()) else { return true };
        let is_admitted = Instant::now() >= pause.until && !pause.is_probed;
        pause.is_probed |= is_admitted;
        is_admitted
    }

    /// Records the result of a message for that queue.
    pub(super) fn note(&self, queue_url: &str, attempt: &Result<Sent, SendError>) {
        let mut pauses = self.lock();
        match attempt {
            Ok(_) => drop(pauses.remove(queue_url)),
            Err(error) if is_of_the_queue(error) || error.is_retryable() => {
                let now = Instant::now();
                let trouble = || Trouble { in_a_row: 0, last: now, pause: None };
                let trouble = pauses.entry(queue_url.to_owned()).or_insert_with(trouble);
                trouble.in_a_row = trouble.in_a_row.saturating_add(1);
                trouble.last = now;
                let next = match &trouble.pause {
                    // Messages that were in flight when the pause began do not extend it.
                    Some(pause) if !pause.is_probed => return,
                    Some(pause) => pause.number + 1,
                    None if is_of_the_queue(error) || trouble.in_a_row >= MANY => 1,
                    None => return,
                };
                let until = now + self.backoff.delay(next);
                trouble.pause = Some(Pause { number: next, until, is_probed: false });
            }
            // SQS checked the message, or no call was made.
            Err(_) => {
                if let Some(pause) = pauses.get_mut(queue_url).and_then(|trouble| trouble.pause.as_mut()) {
                    pause.is_probed = false;
                }
            }
        }
    }

    /// Returns the queue's state now.
    pub(super) fn standing(&self, queue_url: &str) -> Standing {
        match self.lock().get(queue_url).and_then(|trouble| trouble.pause.as_ref()) {
            None => Standing::Open,
            Some(pause) if Instant::now() < pause.until || pause.is_probed => Standing::Paused,
            Some(_) => Standing::ToBeProbed,
        }
    }

    /// Forgets queues that were not used for long.
    pub(super) fn forget(&self) {
        let now = Instant::now();
        self.lock().retain(|_, trouble| now < trouble.last + FORGOTTEN_AFTER);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Trouble>> {
        // Each change leaves the map consistent, so a poisoned lock does no harm.
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether this error concerns every message of the queue.
pub(super) fn is_of_the_queue(error: &SendError) -> bool {
    error.is_permission_denied() || error.is_queue_unavailable()
}

#[cfg(test)]
mod tests {
    use redrive::internals::send_results;

    use super::*;

    const QUEUE: &str = "https://sqs/1/orders";
    const NINE: Duration = Duration::from_secs(9);

    fn denied() -> Result<Sent, SendError> {
        Err(send_results::denied())
    }

    fn sent() -> Result<Sent, SendError> {
        Ok(send_results::sent())
    }

    #[tokio::test(start_paused = true)]
    async fn one_message_goes_ahead_after_a_pause() {
        let pauses = Pauses::new(Backoff::exponential(NINE..NINE));
        assert!(pauses.admits(QUEUE) && pauses.admits(QUEUE));
        pauses.note(QUEUE, &denied());
        assert!(!pauses.admits(QUEUE) && pauses.admits("another"));
        assert_eq!((pauses.standing(QUEUE), pauses.standing("another")), (Standing::Paused, Standing::Open));
        tokio::time::advance(NINE).await;
        assert_eq!(pauses.standing(QUEUE), Standing::ToBeProbed);
        assert!(pauses.admits(QUEUE) && !pauses.admits(QUEUE));
        assert_eq!(pauses.standing(QUEUE), Standing::Paused, "its probe is in flight");
        pauses.note(QUEUE, &sent());
        assert!(pauses.admits(QUEUE) && pauses.admits(QUEUE));
    }

    #[tokio::test(start_paused = true)]
    async fn pause_grows_by_failed_probes_and_not_by_calls_in_flight() {
        let pauses = Pauses::new(Backoff::exponential(NINE..NINE));
        let number = || pauses.lock().get(QUEUE).and_then(|trouble| trouble.pause.as_ref()).map(|pause| pause.number);
        (0..5).for_each(|_| pauses.note(QUEUE, &denied()));
        assert_eq!(number(), Some(1));
        tokio::time::advance(NINE).await;
        assert!(pauses.admits(QUEUE));
        pauses.note(QUEUE, &denied());
        assert_eq!(number(), Some(2));
        tokio::time::advance(NINE + FORGOTTEN_AFTER).await;
        pauses.forget();
        assert_eq!(number(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn single_failures_between_successes_do_not_pause_the_queue() {
        let pauses = Pauses::new(Backoff::exponential(NINE..NINE));
        let failed = || Err(send_results::failed());
        for _ in 0..3 {
            (1..MANY).for_each(|_| pauses.note(QUEUE, &failed()));
            assert!(pauses.admits(QUEUE));
            pauses.note(QUEUE, &sent());
        }
        (0..MANY).for_each(|_| pauses.note(QUEUE, &failed()));
        assert!(!pauses.admits(QUEUE));
    }

    #[tokio::test(start_paused = true)]
    async fn refused_message_does_not_pause_its_queue() {
        let pauses = Pauses::new(Backoff::exponential(NINE..NINE));
        let refused = Err(send_results::invalid());
        pauses.note(QUEUE, &refused);
        assert_eq!(pauses.standing(QUEUE), Standing::Open);
        pauses.note(QUEUE, &denied());
        tokio::time::advance(NINE).await;
        assert!(pauses.admits(QUEUE));
        pauses.note(QUEUE, &refused);
        assert!(pauses.admits(QUEUE), "another message goes ahead");
    }
}
