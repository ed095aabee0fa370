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

use super::rate_limit::RateLimit;

/// What SQS hands out at a time.
const MAX_MESSAGES: usize = 10;

/// How long a poll with a permit waits for more of them, at most: a call costs the same for one message as for ten. For the next one it
/// waits so long with one, half as long with two, and so on. What waits could run, and nine are not to wait for one that takes its time.
const LINGER: Duration = Duration::from_millis(5);

/// How often it looks how many there are. Tokio's clock knows no shorter time.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What a poll is made with.
pub(super) struct PollGrant {
    /// How many messages it may bring.
    pub(super) messages: usize,
    /// As many as there may be calls of them.
    pub(super) permits: OwnedSemaphorePermit,
}

pub(super) struct Permits {
    semaphore: Arc<Semaphore>,
    /// How many calls may run at a time.
    calls: usize,
    /// How many messages a call has at most.
    call_size: usize,
    /// Held by the poller whose turn it is: if several took permits one by one, each would get some.
    turn: tokio::sync::Mutex<()>,
    rate_limit: Option<Mutex<RateLimit>>,
}

impl Permits {
    pub(super) fn new(concurrency: usize, call_size: NonZeroUsize, messages_per_second: Option<f64>) -> Self {
        let rate_limit = messages_per_second.map(|limit| Mutex::new(RateLimit::new(limit, Instant::now())));
        // A chunk is of one poll.
        let call_size = call_size.get().min(MAX_MESSAGES);
        let calls = concurrency.clamp(1, Semaphore::MAX_PERMITS);
        let semaphore = Arc::new(Semaphore::new(calls));
        Self { semaphore, calls, call_size, turn: tokio::sync::Mutex::default(), rate_limit }
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
    pub(super) fn in_flight(&self, permits: OwnedSemaphorePermit, messages: usize) -> InFlight {
        InFlight { permits: self.for_messages(permits, messages), messages }
    }

    /// Waits for at least one permit, and a little for more: for ten messages at most.
    pub(super) async fn grant(&self) -> PollGrant {
        let _turn = self.turn.lock().await;
        let mut permits = self.acquire(1).await;
        self.linger(&mut permits).await;
        let messages = self.rate_limited(permits.num_permits() * self.call_size).await;
        PollGrant { messages, permits: self.for_messages(permits, messages) }
    }

    /// Waits for as many permits as a poll has use for, while more of them come.
    async fn linger(&self, permits: &mut OwnedSemaphorePermit) {
        let begin = Instant::now();
        // When it looked last, and when it did before the last one came.
        let (mut looked, mut since) = (begin, begin);
        loop {
            let (had, now) = (permits.num_permits(), Instant::now());
            let count = self.add_free(permits);
            if count > had {
                since = looked;
            }
            looked = now;
            let missing = self.calls_of_a_poll() - count;
            let end = (since + LINGER / count as u32).min(begin + LINGER);
            let left = end.saturating_duration_since(now);
            if missing == 0 || left.is_zero() {
                return;
            }
            // All at once: whoever takes them one by one is woken for each.
            if let Ok(more) = timeout(left.min(LOOK_EVERY), self.acquire(missing)).await {
                permits.merge(more);
                return;
            }
        }
    }

    async fn acquire(&self, count: usize) -> OwnedSemaphorePermit {
        // Ten at most; and nobody closes what is their own.
        self.semaphore.clone().acquire_many_owned(count as u32).await.expect("the semaphore is never closed")
    }

    /// Adds what is free, up to what a poll has use for, and says how many there are then.
    fn add_free(&self, permits: &mut OwnedSemaphorePermit) -> usize {
        let missing = self.calls_of_a_poll() - permits.num_permits();
        // Nobody else takes any meanwhile: the turn is this poller's.
        let free = self.semaphore.available_permits().min(missing);
        if let Ok(more) = self.semaphore.clone().try_acquire_many_owned(free as u32) {
            permits.merge(more);
        }
        permits.num_permits()
    }

    async fn rate_limited(&self, most: usize) -> usize {
        let Some(rate_limit) = &self.rate_limit else { return most };
        loop {
            let taken = rate_limit.lock().unwrap_or_else(PoisonError::into_inner).take(most, Instant::now());
            match taken {
                Ok(taken) => return taken,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// So many messages less than a poll was for have come of it.
    pub(super) fn unused(&self, count: usize) {
        if let Some(rate_limit) = &self.rate_limit {
            rate_limit.lock().unwrap_or_else(PoisonError::into_inner).give_back(count, Instant::now());
        }
    }
}

/// The permits of what a poll has brought, until that has ended.
pub(super) struct InFlight {
    permits: OwnedSemaphorePermit,
    /// How many messages have not ended.
    messages: usize,
}

impl InFlight {
    /// One of the messages has ended. The rest may be in a call each: no more permits than that are held.
    pub(super) fn one_ended(&mut self) {
        self.messages = self.messages.saturating_sub(1);
        let free = self.permits.num_permits().saturating_sub(self.messages);
        drop(self.permits.split(free));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// For how many messages a grant is, and after how many ms, of ten permits all but one of which are held. They are
    /// given up after so many ms each, of a paused clock.
    async fn grant_of(given_up_after: impl IntoIterator<Item = u64>) -> (usize, u64) {
        let permits = Permits::new(10, NonZeroUsize::MIN, None);
        let mut held = permits.acquire(9).await;
        for after in given_up_after {
            let permit = held.split(1).expect("nine are held");
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(after)).await;
                drop(permit);
            });
        }
        let begin = Instant::now();
        let grant = permits.grant().await;
        // Each wait may be a millisecond longer than it is to be.
        (grant.messages, begin.elapsed().as_millis() as u64)
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_a_permit_waits_a_little_for_more() {
        assert!(matches!(grant_of([]).await, (1, 5..=6)));
        assert!(matches!(grant_of([3]).await, (2, 5..=6)));
        assert!(matches!(grant_of([4, 5, 6, 7]).await, (2..=4, 5..=6)), "no longer than that in all");
        assert!(matches!(grant_of([3; 9]).await, (10, 3..=4)), "nor longer than there is use for");
        assert!(matches!(grant_of(1..=9).await, (4..=5, 4..=5)), "each comes while it is worth the wait");
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_whose_permits_are_free_goes_at_once() {
        let permits = Permits::new(20, NonZeroUsize::MIN, None);
        let mut held = Vec::new();
        for poll in 0..2 {
            let mut grant = pin!(permits.grant());
            let Poll::Ready(grant) = grant.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
                panic!("poll {poll} waits");
            };
            assert_eq!(grant.messages, 10);
            held.push(grant);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_are_there_do_not_wait_long_for_one_that_takes_its_time() {
        assert!(matches!(grant_of([0; 8]).await, (9, 1..=2)));
        assert!(matches!(grant_of([1; 8]).await, (9, 1..=3)));
        assert!(matches!(grant_of([0; 3]).await, (4, 1..=2)));
    }
}
