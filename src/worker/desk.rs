//! Where pollers get what a poll takes: permits to run all messages that it may bring.
//!
//! No message is received without a permit to run it. So a slow handler stops the polling by itself, and no message waits in this
//! process while its visibility timeout runs out.
//!
//! A permit is for a call of the handler. With a handler of chunks a poll is for one call, and has its permit until the last of its messages
//! has ended, however few they are. With a permit a message, messages that trickle in would be a call each, and many times as many calls
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
    /// As many as there may be calls of them.
    pub(super) permits: OwnedSemaphorePermit,
}

pub(super) struct Desk {
    permits: Arc<Semaphore>,
    /// How many calls may run at a time.
    calls: usize,
    /// How many messages a call has at most.
    call_size: usize,
    /// Held by the poller whose turn it is: if several took permits one by one, each would get some.
    turn: tokio::sync::Mutex<()>,
    pace: Option<Mutex<Pace>>,
}

impl Desk {
    pub(super) fn new(concurrency: usize, call_size: NonZeroUsize, messages_per_second: Option<f64>) -> Self {
        let pace = messages_per_second.map(|limit| Mutex::new(Pace::new(limit, Instant::now())));
        // A chunk is of one poll.
        let call_size = call_size.get().min(MAX_MESSAGES);
        let calls = concurrency.clamp(1, Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(calls));
        Self { permits, calls, call_size, turn: tokio::sync::Mutex::default(), pace }
    }

    /// How many polls it takes to fill it.
    pub(super) fn polls(&self) -> usize {
        self.calls / self.calls_of_a_poll()
    }

    fn calls_of_a_poll(&self) -> usize {
        match self.call_size {
            1 => MAX_MESSAGES.min(self.calls),
            // Were there several, the slowest would hold the permits of all: which of them have ended is not known here.
            _ => 1,
        }
    }

    /// What of these permits so many messages need. The others go back.
    fn for_messages(&self, mut permits: OwnedSemaphorePermit, messages: usize) -> OwnedSemaphorePermit {
        permits.split(messages.div_ceil(self.call_size)).unwrap_or(permits)
    }

    /// Holds the permits of so many messages that a poll has brought.
    pub(super) fn hold(&self, permits: OwnedSemaphorePermit, messages: usize) -> Hold {
        Hold { permits: self.for_messages(permits, messages), messages }
    }

    /// Waits for at least one permit, and a little for more: for ten messages at most.
    pub(super) async fn turn(&self) -> Turn {
        let _turn = self.turn.lock().await;
        let mut permits = self.acquire(1).await;
        // All at once: whoever takes them one by one is woken for each.
        let more = self.calls_of_a_poll() - 1;
        match timeout(LINGER, self.acquire(more)).await {
            Ok(more) => permits.merge(more),
            Err(_) => self.take_free(&mut permits, more),
        }
        let messages = self.paced(permits.num_permits() * self.call_size).await;
        Turn { messages, permits: self.for_messages(permits, messages) }
    }

    async fn acquire(&self, count: usize) -> OwnedSemaphorePermit {
        // Ten at most; and nobody closes what is the desk's own.
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
    /// How many messages have not ended.
    messages: usize,
}

impl Hold {
    /// One of the messages has ended. The rest may be in a call each: no more permits than that are held.
    pub(super) fn one_ended(&mut self) {
        self.messages = self.messages.saturating_sub(1);
        let free = self.permits.num_permits().saturating_sub(self.messages);
        drop(self.permits.split(free));
    }
}
