//! A call in flight, and the results of its messages.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::call::{Attempt, Block, send};
use super::driver::Shared;
use super::error::SendError;
use super::id::Id;
use super::item::Item;
use super::pack::Packed;
use super::runtime_ended;
use super::told::Outcome;
use crate::moment::{Deadline, Moment};
use crate::sqs::Backoff;
use crate::sqs::call_error::Trouble;
use crate::sqs::limits::MAX_ENTRIES;
use crate::sqs::random::random;

/// A call in flight, followed by the next call while one is due. If it is dropped because its runtime ends, its
/// messages may have arrived.
pub(super) struct Flight {
    shared: Arc<Shared>,
    batch: Vec<Packed<Item>>,
}

impl Flight {
    pub(super) fn new(shared: Arc<Shared>, batch: Vec<Packed<Item>>) -> Self {
        Self { shared, batch }
    }

    pub(super) async fn fly(mut self) {
        while !self.batch.is_empty() {
            let until = self.leave();
            let messages: Vec<_> = self.batch.iter().map(|packed| &packed.item.checked.message).collect();
            if !messages.is_empty() {
                let attempts = send(&self.shared.queue, &messages, until).await;
                self.shared.settle_all(&mut self.batch, attempts);
            }
            // The memory is reused, because glibc compacts its heap for each freed block of that size.
            let emptied = std::mem::take(&mut self.batch);
            self.batch = self.shared.next_call(emptied).await;
        }
    }

    /// Gives up messages that waited too long for this call. Returns the deadline for attempts of the rest.
    fn leave(&mut self) -> Deadline {
        let (now, try_for) = (Moment::now(), self.shared.settings.try_for);
        let is_late = |packed: &mut Packed<Item>| packed.item.is_out_of_time_in(Duration::ZERO, try_for);
        let late: Vec<_> = self.batch.extract_if(.., is_late).collect();
        for packed in late {
            self.shared.give_up_as_it_is(packed);
        }
        let ends = self.batch.iter_mut().map(|packed| packed.item.leaves(now, try_for));
        let until = ends.reduce(Deadline::or_earlier);
        self.draw_ids();
        until.unwrap_or(Deadline::after(now, Duration::ZERO))
    }

    /// Draws the ids of all messages with one system call.
    fn draw_ids(&mut self) {
        let mut ids = self.batch.iter_mut().filter_map(|packed| packed.item.id_to_draw()).peekable();
        if ids.peek().is_some() {
            let drawn = random::<{ 16 * MAX_ENTRIES }>();
            for (id, drawn) in ids.zip(drawn.as_chunks().0) {
                *id = Id::Random(*drawn);
            }
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        for packed in self.batch.drain(..) {
            self.shared.give_up(packed, runtime_ended());
        }
        let settled = {
            let pack = &mut self.shared.line().pack;
            pack.call_ended();
            pack.settled_below()
        };
        self.shared.settled_below(settled);
        self.shared.wake.notify_one();
    }
}

impl Shared {
    /// Settles the accepted messages, usually most of them, under one lock, and each other message by its result.
    fn settle_all(self: &Arc<Self>, batch: &mut Vec<Packed<Item>>, attempts: Vec<Attempt>) {
        let largest = batch.iter().zip(&attempts).filter(|(_, attempt)| matches!(attempt, Attempt::Sent(_)));
        if attempts.iter().any(Attempt::is_answer) {
            self.has_answered.store(true, Ordering::Relaxed);
        }
        self.size_limit.took(largest.map(|(packed, _)| packed.item.checked.bytes).max().unwrap_or_default());
        {
            let pack = &mut self.line().pack;
            let arrived = batch.iter().zip(&attempts).filter(|(_, attempt)| matches!(attempt, Attempt::Sent(_)));
            arrived.for_each(|(packed, _)| pack.settle(packed));
        }
        let mut room: Option<OwnedSemaphorePermit> = None;
        for (packed, attempt) in batch.drain(..).zip(attempts) {
            match attempt {
                Attempt::Sent(sent) => {
                    let given_back = packed.item.tell(Ok(sent));
                    // Senders that wait for room are woken once.
                    match &mut room {
                        Some(room) => room.merge(given_back),
                        None => room = Some(given_back),
                    }
                }
                attempt => self.settle(packed, attempt),
            }
        }
    }

    pub(super) fn settle(self: &Arc<Self>, packed: Packed<Item>, attempt: Attempt) {
        match attempt {
            Attempt::Sent(sent) => self.end(packed, Ok(sent)),
            // The messages behind this one must not pass it: it may be in the queue, or it may be sent once its cause
            // is fixed.
            Attempt::Refused(why) if packed.item.may_be_sent() => self.give_up(packed, SendError::refused(why)),
            // This message can never be sent, so the ones behind it may pass.
            Attempt::Refused(why) => self.end(packed, Err(SendError::refused(why))),
            Attempt::TooLarge(refusal, why) => self.refit(packed, refusal, why),
            Attempt::NoQueue(trouble, why) => self.give_up(packed, SendError::no_queue(why).of_call(trouble)),
            Attempt::Blocked(Block::NoSqs, why) => {
                self.give_up(packed, SendError::no_queue(why).of_call(Trouble::NoSqs));
            }
            Attempt::Denied(why) | Attempt::Blocked(Block::Denied, why) => {
                let error = SendError::denied(why).of_call(Trouble::Denied);
                if packed.item.was_denied() { self.give_up(packed, error) } else { self.try_again(packed, error) }
            }
            Attempt::Failed(trouble, why) => self.try_again(packed, SendError::failed(why).of_call(trouble)),
            Attempt::Lost(why) => self.try_again(packed, SendError::unknown(why).of_call(Trouble::Lost)),
            Attempt::Unnamed => {
                self.give_up(packed, SendError::unknown("the answer of SQS does not name it".to_owned()));
            }
        }
    }

    pub(super) fn end(&self, packed: Packed<Item>, outcome: Outcome) {
        self.line().pack.settle(&packed);
        drop(packed.item.tell(outcome));
    }

    fn try_again(&self, mut packed: Packed<Item>, error: SendError) {
        tracing::debug!(%error, "an attempt to send a message failed");
        if self.settings.fails_fast && error.is_not_reached() && !self.has_answered.load(Ordering::Relaxed) {
            return self.give_up(packed, error);
        }
        let attempts = packed.item.has_failed(error);
        let wait = Backoff::exponential(FIRST_WAIT..LONGEST_WAIT).delay(attempts);
        if packed.item.is_out_of_time_in(wait, self.settings.try_for) {
            self.give_up_as_it_is(packed);
        } else {
            self.line().pack.again(packed, Instant::now() + wait);
            // The call that follows in this one's place may take long.
            self.wake.notify_one();
        }
    }

    /// Gives up a message that has run out of time.
    fn give_up_as_it_is(&self, packed: Packed<Item>) {
        let error = packed.item.last_error();
        self.give_up(packed, error);
    }

    pub(super) fn give_up(&self, packed: Packed<Item>, error: SendError) {
        let group = packed.group.clone();
        let (item, behind) = {
            let pack = &mut self.line().pack;
            let (item, behind) = pack.give_up(packed);
            // This happens under the lock, so that a sender cannot add a message of the group before it learns that it
            // must not.
            if let Some(group) = &group {
                std::iter::once(&item).chain(&behind).for_each(|item| item.teller.breaks(group));
            }
            (item, behind)
        };
        drop(item.tell(Err(error)));
        for (item, group) in behind.into_iter().zip(std::iter::repeat(group).flatten()) {
            drop(item.tell(Err(SendError::behind(&group))));
        }
    }
}

/// The limits of the waits between attempts of a message.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::types::QueueAttributeName::FifoQueue;

    use super::*;
    use crate::moment::set_wall_clock_ahead;
    use crate::producer::{Outgoing, Producer};
    use redrive_local::{Faults, Sqs};

    #[tokio::test(start_paused = true)]
    async fn unanswered_message_is_not_sent_again_after_a_suspend() {
        const FIVE_MINUTES: Duration = Duration::from_secs(300);
        fastrand::seed(1);
        let sqs = Sqs::with_seed(1);
        let create = sqs.client().create_queue().queue_name("orders.fifo").attributes(FifoQueue, "true");
        let queue_url = create.send().await.unwrap().queue_url.unwrap();
        sqs.set_faults(Faults::none().lost_answers(1.0));
        let producer = Producer::builder(sqs.client(), queue_url).retry_for(FIVE_MINUTES).build();
        let began = Instant::now();
        let sending = tokio::spawn(async move { producer.send(Outgoing::text("an order").group("a")).await });
        sqs.next_change().await;
        set_wall_clock_ahead(FIVE_MINUTES);
        let error = sending.await.unwrap().unwrap_err();
        assert!(error.is_unknown(), "{error}");
        // The queue would accept another attempt as a new message.
        assert!(began.elapsed() < LONGEST_WAIT, "{:?}", began.elapsed());
    }
}
