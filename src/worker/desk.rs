//! Where pollers get what a poll takes: permits for all messages that it may bring.
//!
//! No message is received without a permit to run it. So a slow handler stops the polling by itself, and no message waits in this
//! process while its visibility timeout runs out.
//!
//! A call of a handler of chunks counts as a full one, however few messages come for it: its permits are taken together, and what its
//! messages do not take stays with the last of them. Otherwise messages that trickle in would be a call each, and many times as many calls
//! would run as the concurrency says.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::pace::Pace;

/// What SQS hands out at a time.
const MAX_MESSAGES: usize = 10;

/// How long a poll with a permit waits for more of them. A call costs the same for one message as for ten.
const LINGER: Duration = Duration::from_millis(5);

/// What a poll is made with.
pub(super) struct Turn {
    /// How many messages it may bring.
    pub(super) messages: usize,
    /// Permits for whole calls: one a message at least.
    pub(super) permits: OwnedSemaphorePermit,
}

pub(super) struct Desk {
    permits: Arc<Semaphore>,
    /// How many calls may run at a time.
    calls: usize,
    /// How many messages, and so permits, a call has at most.
    call: usize,
    /// Held by the poller whose turn it is: if several took permits one by one, each would get some.
    turn: tokio::sync::Mutex<()>,
    pace: Option<Mutex<Pace>>,
}

impl Desk {
    pub(super) fn new(concurrency: usize, call_size: NonZeroUsize, messages_per_second: Option<f64>) -> Self {
        let pace = messages_per_second.map(|limit| Mutex::new(Pace::new(limit, Instant::now())));
        // A chunk is of one poll.
        let call = call_size.get().min(MAX_MESSAGES);
        let calls = concurrency.clamp(1, Semaphore::MAX_PERMITS / MAX_MESSAGES);
        Self { permits: Arc::new(Semaphore::new(calls * call)), calls, call, turn: tokio::sync::Mutex::default(), pace }
    }

    /// How many polls it takes to fill it.
    pub(super) fn polls(&self) -> usize {
        self.calls / self.calls_of_a_poll()
    }

    fn calls_of_a_poll(&self) -> usize {
        (MAX_MESSAGES / self.call).min(self.calls)
    }

    /// How many permits so many messages have beside their own: those of calls that are not full.
    pub(super) fn beside(&self, messages: usize) -> usize {
        messages.next_multiple_of(self.call) - messages
    }

    /// Waits for the permits of at least one call, and a little for more: up to ten.
    pub(super) async fn turn(&self) -> Turn {
        let _turn = self.turn.lock().await;
        let mut permits = self.acquire(self.call).await;
        // All at once: whoever takes them one by one is woken for each.
        let more = (self.calls_of_a_poll() - 1) * self.call;
        match timeout(LINGER, self.acquire(more)).await {
            Ok(more) => permits.merge(more),
            Err(_) => self.take_free(&mut permits, more),
        }
        let messages = self.paced(permits.num_permits()).await;
        // Those that are too many go back.
        let permits = permits.split(messages + self.beside(messages)).unwrap_or(permits);
        Turn { messages, permits }
    }

    async fn acquire(&self, count: usize) -> OwnedSemaphorePermit {
        // Ten at most.
        self.permits.clone().acquire_many_owned(count as u32).await.expect("the semaphore is never closed")
    }

    /// Adds what is free for whole calls, up to so many.
    fn take_free(&self, permits: &mut OwnedSemaphorePermit, most: usize) {
        for _ in (0..most).step_by(self.call) {
            match self.permits.clone().try_acquire_many_owned(self.call as u32) {
                Ok(call) => permits.merge(call),
                Err(_) => return,
            }
        }
    }

    async fn paced(&self, most: usize) -> usize {
        let Some(pace) = &self.pace else { return most };
        loop {
            let taken = pace.lock().unwrap_or_else(PoisonError::into_inner).take(most, Instant::now());
            match taken {
                Ok(taken) => return taken,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// A poll has brought so many messages less than there were permits for.
    pub(super) fn unused(&self, count: usize) {
        if let Some(pace) = &self.pace {
            pace.lock().unwrap_or_else(PoisonError::into_inner).give_back(count, Instant::now());
        }
    }
}
