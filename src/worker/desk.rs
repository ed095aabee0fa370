//! Where pollers get what a poll takes: permits for all messages that it may bring.
//!
//! No message is received without a permit to run it. So a slow handler stops the polling by itself, and no message waits in this
//! process while its visibility timeout runs out.
//!
//! With a handler of chunks a poll is for one call, and has the permits of a full chunk until the last of its messages has ended, however
//! few they are. With a permit a message, messages that trickle in would be a call each, and many times as many calls would run as the
//! concurrency says.

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
        match self.call {
            1 => MAX_MESSAGES.min(self.calls),
            // Were there several, the slowest would hold the permits of all: which of them have ended is not known here.
            _ => 1,
        }
    }

    /// Holds the permits of so many messages. The others are free.
    pub(super) fn hold(&self, permits: OwnedSemaphorePermit, messages: usize) -> Hold {
        Hold { permits: self.for_whole_calls(permits, messages), call: self.call, messages }
    }

    /// Leaves those of so many messages, and has those go back that are too many.
    fn for_whole_calls(&self, mut permits: OwnedSemaphorePermit, messages: usize) -> OwnedSemaphorePermit {
        permits.split(messages.next_multiple_of(self.call)).unwrap_or(permits)
    }

    /// Waits for the permits of at least one call, and a little for more: up to ten.
    pub(super) async fn turn(&self) -> Turn {
        let _turn = self.turn.lock().await;
        let mut permits = self.acquire(self.call).await;
        // All at once: whoever takes them one by one is woken for each.
        let more = self.calls_of_a_poll() - 1;
        match timeout(LINGER, self.acquire(more)).await {
            Ok(more) => permits.merge(more),
            Err(_) => self.take_free(&mut permits, more),
        }
        let messages = self.paced(permits.num_permits()).await;
        Turn { messages, permits: self.for_whole_calls(permits, messages) }
    }

    async fn acquire(&self, count: usize) -> OwnedSemaphorePermit {
        // Ten at most.
        self.permits.clone().acquire_many_owned(count as u32).await.expect("the semaphore is never closed")
    }

    /// Adds what is free, up to so many.
    fn take_free(&self, permits: &mut OwnedSemaphorePermit, most: usize) {
        for _ in 0..most {
            match self.permits.clone().try_acquire_owned() {
                Ok(permit) => permits.merge(permit),
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

/// The permits of what a poll has brought, until that has ended.
pub(super) struct Hold {
    permits: OwnedSemaphorePermit,
    call: usize,
    /// How many messages have not ended.
    messages: usize,
}

impl Hold {
    /// One of the messages has ended. The rest may be in one call each, so many are still held: of a chunk, all until the last one ends.
    pub(super) fn one_ended(&mut self) {
        self.messages = self.messages.saturating_sub(1);
        let free = self.permits.num_permits().saturating_sub(self.messages * self.call);
        drop(self.permits.split(free));
    }
}
