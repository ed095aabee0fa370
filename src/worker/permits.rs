//! Grants pollers the permits to run all messages that a poll may receive.
//!
//! No message is received without a permit to run it. A slow handler therefore stops the polling, and no message waits
//! in this process while its visibility timeout runs.
//!
//! A permit is for one call of the handler. With a batch handler, a poll is for one call and keeps its permit until the
//! last of its messages has ended. With a permit per message, messages that trickle in would cause one call each, and
//! far more calls than the concurrency would run.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::rate_limit::RateLimit;

/// The most messages that SQS hands out in one answer.
const MAX_MESSAGES: usize = 10;

/// Limits how long a poll with one permit waits for more, because a call costs the same for one message as for ten.
/// With two permits it waits half as long for the next one, and so on. The wait shrinks because every permit that waits
/// could run a message.
const LINGER: Duration = Duration::from_millis(5);

/// The time between two looks at the free permits. Tokio's clock has no finer resolution.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The permits of one poll.
pub(super) struct PollGrant {
    /// The most messages that the poll may receive.
    pub(super) messages: usize,
    /// One permit for each call that these messages may need.
    pub(super) permits: OwnedSemaphorePermit,
}

pub(super) struct Permits {
    semaphore: Arc<Semaphore>,
    /// The most calls that may run at a time.
    calls: usize,
    /// The most messages of one call.
    call_size: usize,
    /// Held by the poller whose turn it is. If several pollers took permits one by one, each would get only a few.
    turn: tokio::sync::Mutex<()>,
    rate_limit: Option<Mutex<RateLimit>>,
}

impl Permits {
    pub(super) fn new(concurrency: usize, call_size: NonZeroUsize, messages_per_second: Option<f64>) -> Self {
        let rate_limit = messages_per_second.map(|limit| Mutex::new(RateLimit::new(limit, Instant::now())));
        // A call contains the messages of one poll only.
        let call_size = call_size.get().min(MAX_MESSAGES);
        let calls = concurrency.clamp(1, Semaphore::MAX_PERMITS);
        let semaphore = Arc::new(Semaphore::new(calls));
        Self { semaphore, calls, call_size, turn: tokio::sync::Mutex::default(), rate_limit }
    }

    /// Returns how many polls can use all permits.
    pub(super) fn polls(&self) -> usize {
        self.calls / self.calls_of_a_poll()
    }

    fn calls_of_a_poll(&self) -> usize {
        match self.call_size {
            1 => MAX_MESSAGES.min(self.calls),
            // With several calls, the slowest would hold the permits of all, because it is not known here which of them
            // have ended.
            _ => 1,
        }
    }

    /// Returns the permits that this number of messages needs, and frees the others.
    fn for_messages(&self, mut permits: OwnedSemaphorePermit, messages: usize) -> OwnedSemaphorePermit {
        permits.split(messages.div_ceil(self.call_size)).unwrap_or(permits)
    }

    /// Holds the permits of the messages that a poll has received.
    pub(super) fn in_flight(&self, permits: OwnedSemaphorePermit, messages: usize) -> InFlight {
        InFlight { permits: self.for_messages(permits, messages), messages }
    }

    /// Waits for at least one permit, and briefly for more. The grant is for at most ten messages.
    pub(super) async fn grant(&self) -> PollGrant {
        let _turn = self.turn.lock().await;
        let mut permits = self.acquire(1).await;
        self.linger(&mut permits).await;
        let messages = self.rate_limited(permits.num_permits() * self.call_size).await;
        PollGrant { messages, permits: self.for_messages(permits, messages) }
    }

    /// Waits for as many permits as a poll can use, while more of them become free.
    async fn linger(&self, permits: &mut OwnedSemaphorePermit) {
        let begin = Instant::now();
        // The time of the last look, and the time of the look before the last permit was found.
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
            // The missing permits are acquired together, because a waiter for single permits is woken for each.
            if let Ok(more) = timeout(left.min(LOOK_EVERY), self.acquire(missing)).await {
                permits.merge(more);
                return;
            }
        }
    }

    async fn acquire(&self, count: usize) -> OwnedSemaphorePermit {
        // `count` is at most ten, so the cast is exact. This type owns the semaphore and never closes it.
        self.semaphore.clone().acquire_many_owned(count as u32).await.expect("the semaphore is never closed")
    }

    /// Adds the free permits that a poll can use, and returns how many there are then.
    fn add_free(&self, permits: &mut OwnedSemaphorePermit) -> usize {
        let missing = self.calls_of_a_poll() - permits.num_permits();
        // No other poller takes permits meanwhile, because this poller holds the turn.
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

    /// Returns the rate limit's tokens of messages that a poll did not receive.
    pub(super) fn unused(&self, count: usize) {
        if let Some(rate_limit) = &self.rate_limit {
            rate_limit.lock().unwrap_or_else(PoisonError::into_inner).give_back(count, Instant::now());
        }
    }
}

/// The permits of received messages. They are freed as the messages end.
pub(super) struct InFlight {
    permits: OwnedSemaphorePermit,
    /// The number of messages that have not ended.
    messages: usize,
}

impl InFlight {
    /// Notes that one message has ended. Each of the others may still need a call, so one permit for each is kept.
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

    /// Returns for how many messages a grant is, and after how many milliseconds it comes. Nine of ten permits are held
    /// at first. Each number is the delay in milliseconds after which one of them is freed, on a paused clock.
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
        // Each wait may take a millisecond longer than requested.
        (grant.messages, begin.elapsed().as_millis() as u64)
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_with_a_permit_waits_briefly_for_more() {
        assert!(matches!(grant_of([]).await, (1, 5..=6)));
        assert!(matches!(grant_of([3]).await, (2, 5..=6)));
        assert!(matches!(grant_of([4, 5, 6, 7]).await, (2..=4, 5..=6)), "the total wait is limited");
        assert!(matches!(grant_of([3; 9]).await, (10, 3..=4)), "the wait ends when the poll can use no more");
        assert!(
            matches!(grant_of(1..=9).await, (4..=5, 4..=5)),
            "the wait for each shrinks with the number of permits"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_does_not_wait_if_all_its_permits_are_free() {
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
    async fn many_permits_wait_only_briefly_for_one_that_is_missing() {
        assert!(matches!(grant_of([0; 8]).await, (9, 1..=2)));
        assert!(matches!(grant_of([1; 8]).await, (9, 1..=3)));
        assert!(matches!(grant_of([0; 3]).await, (4, 1..=2)));
    }
}
