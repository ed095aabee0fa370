//! Decides what a mapping does next.
//!
//! A mapping takes a slot at the function before it receives messages, and their batch keeps the slot. Messages that
//! wait for the end of their window keep a slot as well. Every received batch can therefore start on time.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::batch::Finished;
use super::hide::Lease;
use super::receive::{Outcome, Poll, Polled};
use super::{EventSourceMapping, backoff, done, sleep_until};
use crate::function::Slot;
use crate::mapping::gather::{Batch, Gatherer, Permits, Waiting};

/// The longest pause between polls of an empty queue when mappings wait for each other's slots. A long poll would hold
/// a slot for its whole wait.
const MAX_IDLE_PAUSE: Duration = Duration::from_secs(1);

/// SQS waits for messages in whole seconds.
const SECOND: Duration = Duration::from_secs(1);

pub(super) struct Driver {
    mapping: Arc<EventSourceMapping>,
    gatherer: Gatherer,
    /// The slots of messages that wait for their batch.
    hand: Vec<Slot>,
    /// The running poll, at most one.
    polls: JoinSet<Polled>,
    batches: JoinSet<Finished>,
    began: Instant,
    /// The number of consecutive failed polls.
    failures: u32,
    /// The number of consecutive polls that did not wait and found no message.
    idle: u32,
    /// Whether the last poll found as many messages as it asked for, so the queue may have more.
    has_backlog: bool,
    stopped: watch::Sender<bool>,
}

impl Driver {
    pub(super) fn new(mapping: Arc<EventSourceMapping>) -> Self {
        Self {
            gatherer: Gatherer::new(mapping.batching, Permits::new(mapping.maximum_concurrency)),
            mapping,
            hand: Vec::new(),
            polls: JoinSet::new(),
            batches: JoinSet::new(),
            began: Instant::now(),
            failures: 0,
            idle: 0,
            has_backlog: false,
            stopped: watch::Sender::new(false),
        }
    }

    pub(super) async fn run(mut self, mut shutdown: Pin<&mut impl Future<Output = ()>>) {
        let _sharing = self.mapping.function.slots().share();
        loop {
            if !self.stops() {
                self.dispatch();
                // Waiting messages need one slot per batch, so surplus slots become free.
                self.hand.truncate(self.gatherer.batches());
                self.poll();
            } else if self.polls.is_empty() && self.batches.is_empty() {
                break;
            }
            let wake_at = self.wake_at();
            tokio::select! {
                // A fixed order instead of a random one makes a run repeatable.
                biased;
                Some(polled) = self.polls.join_next() => self.polled(done(polled)),
                Some(finished) = self.batches.join_next() => self.finished(done(finished)).await,
                () = sleep_until(wake_at) => {}
                () = &mut shutdown, if !self.stops() => drop(self.stopped.send_replace(true)),
            }
        }
        let waiting = self.gatherer.into_waiting();
        give_back(&self.mapping, self.began, waiting).await;
    }

    fn stops(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Returns when a window ends. Slots that a poll borrowed return with the poll.
    fn wake_at(&self) -> Option<Instant> {
        let wake_at = self.gatherer.wake_at().filter(|_| !self.stops() && !self.hand.is_empty());
        wake_at.map(|at| self.began + at)
    }

    /// Starts the batches that are ready and have a slot.
    fn dispatch(&mut self) {
        while !self.hand.is_empty()
            && let Some(batch) = self.next_batch()
            && let Some(slot) = self.hand.pop()
        {
            let received_at = self.began + batch.since();
            let batch = self.mapping.clone().run_batch(batch, slot, received_at, self.stopped.subscribe());
            self.batches.spawn(batch);
        }
    }

    /// Returns the next batch. If other mappings wait for the slot, its window ends once the queue is empty.
    fn next_batch(&mut self) -> Option<Batch> {
        if self.mapping.function.slots().are_crowded() && !self.has_backlog {
            return self.gatherer.next_batch_without_window();
        }
        self.gatherer.next_batch(self.began.elapsed())
    }

    /// Starts a poll, unless one is running or a received message could not start.
    fn poll(&mut self) {
        if !self.polls.is_empty() {
            return;
        }
        let Some(poll) = self.next_poll() else { return };
        let pause = match self.idle {
            0 => Duration::ZERO,
            idle => backoff(idle).min(MAX_IDLE_PAUSE),
        };
        let pause = pause.max(backoff(self.failures));
        self.polls.spawn(self.mapping.clone().poll(poll, pause, self.failures, self.stopped.subscribe()));
    }

    fn next_poll(&mut self) -> Option<Poll> {
        let (in_hand, waiting) = (self.hand.len(), self.gatherer.waiting());
        let poll = Poll {
            slots: Vec::new(),
            may_take: self.gatherer.free().saturating_sub(in_hand),
            in_hand,
            waiting,
            has_backlog: self.has_backlog,
            // A batch without a slot starts before the mapping receives more messages.
            receives: in_hand > 0 || self.gatherer.batches() == 0,
            ends: None,
        };
        if in_hand == 0 {
            let has_use = !poll.receives || self.gatherer.room(1) > 0;
            return (poll.may_take > 0 && has_use).then_some(poll);
        }
        if poll.may_take > 0
            && self.mapping.function.slots().has_spare()
            && let Some(slot) = Slot::try_take(&self.mapping.function)
        {
            let (slots, may_take) = (vec![slot], poll.may_take - 1);
            return Some(Poll { slots, may_take, ..poll });
        }
        self.borrowing(poll)
    }

    /// Returns a poll for more messages of the waiting batches, with their slots. It ends with their window.
    fn borrowing(&mut self, poll: Poll) -> Option<Poll> {
        let ends = self.began + self.gatherer.wake_at()?;
        let is_nearly_over = ends.saturating_duration_since(Instant::now()) < SECOND;
        if self.gatherer.room(self.hand.len()) == 0 || (self.idle > 0 && is_nearly_over) {
            return None;
        }
        Some(Poll { slots: std::mem::take(&mut self.hand), may_take: 0, in_hand: 0, ends: Some(ends), ..poll })
    }

    fn polled(&mut self, Polled { slots, outcome }: Polled) {
        self.hand.extend(slots);
        match outcome {
            Outcome::Unasked => self.failures = 0,
            Outcome::Failed => self.failures = self.failures.saturating_add(1),
            Outcome::Received { records, asked, found, waited } => {
                self.failures = 0;
                self.has_backlog = found >= asked;
                self.idle = if found == 0 && !waited { self.idle.saturating_add(1) } else { 0 };
                self.gatherer.add(self.began.elapsed(), records);
            }
        }
    }

    async fn finished(&mut self, Finished { batch, come_back, slot }: Finished) {
        // Messages that waited for this batch reuse its slot.
        self.hand.push(slot);
        let released = self.gatherer.finish(batch, &come_back);
        give_back(&self.mapping, self.began, released).await;
    }
}

/// Makes messages visible again. Messages of one receive share a lease, so they go back together.
async fn give_back(mapping: &EventSourceMapping, began: Instant, waiting: Vec<Waiting>) {
    for together in waiting.chunk_by(|one, next| one.since == next.since) {
        let lease = Lease::new(began + together[0].since, mapping.visibility_timeout);
        let records: Vec<_> = together.iter().map(|waiting| waiting.record.clone()).collect();
        mapping.give_back(&records, &lease).await;
    }
}
