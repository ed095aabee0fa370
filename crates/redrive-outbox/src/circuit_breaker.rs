//! A circuit breaker for each queue, which pauses a queue that accepts no messages at the moment.
//!
//! Without it, a relay would try each message of a missing or forbidden queue. While the circuit is open, only one
//! message goes ahead after each pause.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use redrive::Backoff;
use redrive::{SendError, Sent};

/// Whether messages may be sent to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CircuitState {
    /// Any message may be sent.
    Closed,
    /// The queue is paused.
    Open,
    /// The pause is over, and one message goes ahead.
    HalfOpen,
}

#[derive(Debug)]
pub(super) struct CircuitBreakers {
    backoff: Backoff,
    of: Mutex<HashMap<String, Circuit>>,
}

/// The failures of a queue that did not accept the last message.
#[derive(Debug)]
struct Circuit {
    failures_in_a_row: u32,
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
const FAILURE_THRESHOLD: u32 = 20;

/// A queue without messages for this long is forgotten. Its rows may be gone.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);

impl CircuitBreakers {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { backoff, of: Mutex::default() }
    }

    /// Returns whether a message may be sent to that queue: any message if its circuit is closed, one after a pause.
    pub(super) fn may_send(&self, queue_url: &str) -> bool {
        let mut circuits = self.lock();
        let Some(pause) = circuits.get_mut(queue_url).and_then(|circuit| circuit.pause.as_mut()) else { return true };
        let may_send = Instant::now() >= pause.until && !pause.is_probed;
        pause.is_probed |= may_send;
        may_send
    }

    /// Records the result of a message for that queue.
    pub(super) fn record(&self, queue_url: &str, attempt: &Result<Sent, SendError>) {
        let mut circuits = self.lock();
        match attempt {
            Ok(_) => drop(circuits.remove(queue_url)),
            Err(error) if is_of_the_queue(error) || error.is_retryable() => {
                let now = Instant::now();
                let circuit = || Circuit { failures_in_a_row: 0, last: now, pause: None };
                let circuit = circuits.entry(queue_url.to_owned()).or_insert_with(circuit);
                circuit.failures_in_a_row = circuit.failures_in_a_row.saturating_add(1);
                circuit.last = now;
                let next = match &circuit.pause {
                    // Messages that were in flight when the pause began do not extend it.
                    Some(pause) if !pause.is_probed => return,
                    Some(pause) => pause.number + 1,
                    None if is_of_the_queue(error) || circuit.failures_in_a_row >= FAILURE_THRESHOLD => 1,
                    None => return,
                };
                let until = now + self.backoff.delay(next);
                circuit.pause = Some(Pause { number: next, until, is_probed: false });
            }
            // SQS checked the message, or no call was made.
            Err(_) => {
                if let Some(pause) = circuits.get_mut(queue_url).and_then(|circuit| circuit.pause.as_mut()) {
                    pause.is_probed = false;
                }
            }
        }
    }

    /// Returns the state of the queue's circuit now.
    pub(super) fn state(&self, queue_url: &str) -> CircuitState {
        match self.lock().get(queue_url).and_then(|circuit| circuit.pause.as_ref()) {
            None => CircuitState::Closed,
            Some(pause) if Instant::now() < pause.until || pause.is_probed => CircuitState::Open,
            Some(_) => CircuitState::HalfOpen,
        }
    }

    /// Forgets queues that were not used for long.
    pub(super) fn forget(&self) {
        let now = Instant::now();
        self.lock().retain(|_, circuit| now < circuit.last + FORGOTTEN_AFTER);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Circuit>> {
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
        let breakers = CircuitBreakers::new(Backoff::exponential(NINE..NINE));
        assert!(breakers.may_send(QUEUE) && breakers.may_send(QUEUE));
        breakers.record(QUEUE, &denied());
        assert!(!breakers.may_send(QUEUE) && breakers.may_send("another"));
        assert_eq!((breakers.state(QUEUE), breakers.state("another")), (CircuitState::Open, CircuitState::Closed));
        tokio::time::advance(NINE).await;
        assert_eq!(breakers.state(QUEUE), CircuitState::HalfOpen);
        assert!(breakers.may_send(QUEUE) && !breakers.may_send(QUEUE));
        assert_eq!(breakers.state(QUEUE), CircuitState::Open, "its probe is in flight");
        breakers.record(QUEUE, &sent());
        assert!(breakers.may_send(QUEUE) && breakers.may_send(QUEUE));
    }

    #[tokio::test(start_paused = true)]
    async fn pause_grows_by_failed_probes_and_not_by_calls_in_flight() {
        let breakers = CircuitBreakers::new(Backoff::exponential(NINE..NINE));
        let number = || breakers.lock().get(QUEUE).and_then(|circuit| circuit.pause.as_ref()).map(|pause| pause.number);
        (0..5).for_each(|_| breakers.record(QUEUE, &denied()));
        assert_eq!(number(), Some(1));
        tokio::time::advance(NINE).await;
        assert!(breakers.may_send(QUEUE));
        breakers.record(QUEUE, &denied());
        assert_eq!(number(), Some(2));
        tokio::time::advance(NINE + FORGOTTEN_AFTER).await;
        breakers.forget();
        assert_eq!(number(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn single_failures_between_successes_do_not_pause_the_queue() {
        let breakers = CircuitBreakers::new(Backoff::exponential(NINE..NINE));
        let failed = || Err(send_results::failed());
        for _ in 0..3 {
            (1..FAILURE_THRESHOLD).for_each(|_| breakers.record(QUEUE, &failed()));
            assert!(breakers.may_send(QUEUE));
            breakers.record(QUEUE, &sent());
        }
        (0..FAILURE_THRESHOLD).for_each(|_| breakers.record(QUEUE, &failed()));
        assert!(!breakers.may_send(QUEUE));
    }

    #[tokio::test(start_paused = true)]
    async fn refused_message_does_not_pause_its_queue() {
        let breakers = CircuitBreakers::new(Backoff::exponential(NINE..NINE));
        let refused = Err(send_results::invalid());
        breakers.record(QUEUE, &refused);
        assert_eq!(breakers.state(QUEUE), CircuitState::Closed);
        breakers.record(QUEUE, &denied());
        tokio::time::advance(NINE).await;
        assert!(breakers.may_send(QUEUE));
        breakers.record(QUEUE, &refused);
        assert!(breakers.may_send(QUEUE), "another message goes ahead");
    }
}
