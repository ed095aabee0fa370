//! Queues that take nothing for the time being.
//!
//! A queue that does not exist, or that may not be sent to, would be tried with each of its messages. One message goes ahead from time to
//! time instead.

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
    /// Its pause is over, and one message goes ahead.
    ToBeProbed,
}

#[derive(Debug)]
pub(super) struct Pauses {
    backoff: Backoff,
    of: Mutex<HashMap<String, Trouble>>,
}

/// Of a queue that has not taken the last message that was sent to it.
#[derive(Debug)]
struct Trouble {
    in_a_row: u32,
    last: Instant,
    pause: Option<Pause>,
}

#[derive(Debug)]
struct Pause {
    /// Which one it is.
    number: u32,
    until: Instant,
    /// One message has gone ahead, to see whether the queue takes it.
    is_probed: bool,
}

/// Failures in a row that are no accident any more: of two full calls, each of which was tried several times.
const MANY: u32 = 20;

/// What nobody has sent to for so long is forgotten: its rows may be gone.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);

impl Pauses {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { backoff, of: Mutex::default() }
    }

    /// Whether a message may be sent to that queue: any as long as it takes them, and one after a pause.
    pub(super) fn admits(&self, queue_url: &str) -> bool {
        let mut pauses = self.lock();
        let Some(pause) = pauses.get_mut(queue_url).and_then(|trouble| trouble.pause.as_mut()) else { return true };
        let is_admitted = Instant::now() >= pause.until && !pause.is_probed;
        pause.is_probed |= is_admitted;
        is_admitted
    }

    /// What came of a message for that queue.
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
                    // What was under way when it began is no reason for another.
                    Some(pause) if !pause.is_probed => return,
                    Some(pause) => pause.number + 1,
                    None if is_of_the_queue(error) || trouble.in_a_row >= MANY => 1,
                    None => return,
                };
                let until = now + self.backoff.delay(next);
                trouble.pause = Some(Pause { number: next, until, is_probed: false });
            }
            // SQS has looked at the message, or nobody has.
            Err(_) => {
                if let Some(pause) = pauses.get_mut(queue_url).and_then(|trouble| trouble.pause.as_mut()) {
                    pause.is_probed = false;
                }
            }
        }
    }

    /// How the queue stands now.
    pub(super) fn standing(&self, queue_url: &str) -> Standing {
        match self.lock().get(queue_url).and_then(|trouble| trouble.pause.as_ref()) {
            None => Standing::Open,
            Some(pause) if Instant::now() < pause.until || pause.is_probed => Standing::Paused,
            Some(_) => Standing::ToBeProbed,
        }
    }

    /// Forgets queues that nobody has sent to for long.
    pub(super) fn forget(&self) {
        let now = Instant::now();
        self.lock().retain(|_, trouble| now < trouble.last + FORGOTTEN_AFTER);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Trouble>> {
        // What is in it is whole at any time.
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether no other message of the queue will be sent either.
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
    async fn after_a_pause_one_message_goes_ahead() {
        let pauses = Pauses::new(Backoff::exponential(NINE..NINE));
        assert!(pauses.admits(QUEUE) && pauses.admits(QUEUE));
        pauses.note(QUEUE, &denied());
        assert!(!pauses.admits(QUEUE) && pauses.admits("another"));
        assert_eq!((pauses.standing(QUEUE), pauses.standing("another")), (Standing::Paused, Standing::Open));
        tokio::time::advance(NINE).await;
        assert_eq!(pauses.standing(QUEUE), Standing::ToBeProbed);
        assert!(pauses.admits(QUEUE) && !pauses.admits(QUEUE));
        assert_eq!(pauses.standing(QUEUE), Standing::Paused, "its probe is under way");
        pauses.note(QUEUE, &sent());
        assert!(pauses.admits(QUEUE) && pauses.admits(QUEUE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_grows_by_what_goes_ahead_and_not_by_what_was_under_way() {
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
    async fn a_failure_between_others_that_arrive_is_an_accident() {
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
    async fn a_message_that_is_at_fault_itself_says_nothing_of_its_queue() {
        let pauses = Pauses::new(Backoff::exponential(NINE..NINE));
        let refused = Err(send_results::invalid());
        pauses.note(QUEUE, &refused);
        assert_eq!(pauses.standing(QUEUE), Standing::Open);
        pauses.note(QUEUE, &denied());
        tokio::time::advance(NINE).await;
        assert!(pauses.admits(QUEUE));
        pauses.note(QUEUE, &refused);
        assert!(pauses.admits(QUEUE), "another goes ahead");
    }
}
