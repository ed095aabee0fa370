//! A call in flight, and the results of its messages.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::call::{AttemptResult, Block, send};
use super::driver::ProducerInner;
use super::error::SendError;
use super::id::Id;
use super::queued::Queued;
use super::reply::SendResult;
use super::runtime_ended;
use super::scheduler::Scheduled;
use crate::moment::{Deadline, Moment};
use crate::sqs::Backoff;
use crate::sqs::call_error::Trouble;
use crate::sqs::limits::MAX_ENTRIES;
use crate::sqs::random::random;

/// A call in flight, followed by the next call while one is due. If it is dropped because its runtime ends, its
/// messages may have arrived.
pub(super) struct CallTask {
    inner: Arc<ProducerInner>,
    entries: Vec<Scheduled<Queued>>,
}

impl CallTask {
    pub(super) fn new(inner: Arc<ProducerInner>, entries: Vec<Scheduled<Queued>>) -> Self {
        Self { inner, entries }
    }

    pub(super) async fn run(mut self) {
        while !self.entries.is_empty() {
            let until = self.start_attempts();
            let messages: Vec<_> = self.entries.iter().map(|scheduled| &scheduled.queued.checked.message).collect();
            if !messages.is_empty() {
                let attempts = send(&self.inner.queue, &messages, until).await;
                self.inner.settle_all(&mut self.entries, attempts);
            }
            // The memory is reused, because glibc compacts its heap for each freed block of that size.
            let emptied = std::mem::take(&mut self.entries);
            self.entries = self.inner.next_call(emptied).await;
        }
    }

    /// Gives up messages that waited too long for this call. Returns the deadline for attempts of the rest.
    fn start_attempts(&mut self) -> Deadline {
        let (now, try_for) = (Moment::now(), self.inner.settings.try_for);
        let is_late = |scheduled: &mut Scheduled<Queued>| scheduled.queued.is_out_of_time_in(Duration::ZERO, try_for);
        let late: Vec<_> = self.entries.extract_if(.., is_late).collect();
        for scheduled in late {
            self.inner.give_up_as_it_is(scheduled);
        }
        let ends = self.entries.iter_mut().map(|scheduled| scheduled.queued.attempt_starts(now, try_for));
        let until = ends.reduce(Deadline::or_earlier);
        self.draw_ids();
        until.unwrap_or(Deadline::after(now, Duration::ZERO))
    }

    /// Draws the ids of all messages with one system call.
    fn draw_ids(&mut self) {
        let mut ids = self.entries.iter_mut().filter_map(|scheduled| scheduled.queued.id_to_draw()).peekable();
        if ids.peek().is_some() {
            let drawn = random::<{ 16 * MAX_ENTRIES }>();
            for (id, drawn) in ids.zip(drawn.as_chunks().0) {
                *id = Id::Random(*drawn);
            }
        }
    }
}

impl Drop for CallTask {
    fn drop(&mut self) {
        for scheduled in self.entries.drain(..) {
            self.inner.give_up(scheduled, runtime_ended());
        }
        let settled = {
            let scheduler = &mut self.inner.state().scheduler;
            scheduler.call_ended();
            scheduler.settled_below()
        };
        self.inner.settled_below(settled);
        self.inner.wake.notify_one();
    }
}

impl ProducerInner {
    /// Settles the accepted messages, usually most of them, under one lock, and each other message by its result.
    fn settle_all(self: &Arc<Self>, entries: &mut Vec<Scheduled<Queued>>, attempts: Vec<AttemptResult>) {
        let largest = entries.iter().zip(&attempts).filter(|(_, attempt)| matches!(attempt, AttemptResult::Sent(_)));
        if attempts.iter().any(AttemptResult::is_answer) {
            self.has_answered.store(true, Ordering::Relaxed);
        }
        self.size_limit.took(largest.map(|(scheduled, _)| scheduled.queued.checked.bytes).max().unwrap_or_default());
        {
            let scheduler = &mut self.state().scheduler;
            let arrived =
                entries.iter().zip(&attempts).filter(|(_, attempt)| matches!(attempt, AttemptResult::Sent(_)));
            arrived.for_each(|(scheduled, _)| scheduler.settle(scheduled));
        }
        let mut room: Option<OwnedSemaphorePermit> = None;
        for (scheduled, attempt) in entries.drain(..).zip(attempts) {
            match attempt {
                AttemptResult::Sent(sent) => {
                    let given_back = scheduled.queued.reply(Ok(sent));
                    // Senders that wait for room are woken once.
                    match &mut room {
                        Some(room) => room.merge(given_back),
                        None => room = Some(given_back),
                    }
                }
                attempt => self.settle(scheduled, attempt),
            }
        }
    }

    pub(super) fn settle(self: &Arc<Self>, scheduled: Scheduled<Queued>, attempt: AttemptResult) {
        match attempt {
            AttemptResult::Sent(sent) => self.end(scheduled, Ok(sent)),
            // The messages behind this one must not pass it: it may be in the queue, or it may be sent once its cause
            // is fixed.
            AttemptResult::Refused(why) if scheduled.queued.may_be_sent() => {
                self.give_up(scheduled, SendError::refused(why))
            }
            // This message can never be sent, so the ones behind it may pass.
            AttemptResult::Refused(why) => self.end(scheduled, Err(SendError::refused(why))),
            AttemptResult::TooLarge(refusal, why) => self.refit(scheduled, refusal, why),
            AttemptResult::NoQueue(trouble, why) => self.give_up(scheduled, SendError::no_queue(why).of_call(trouble)),
            AttemptResult::Blocked(Block::NoSqs, why) => {
                self.give_up(scheduled, SendError::no_queue(why).of_call(Trouble::NoSqs));
            }
            AttemptResult::Denied(why) | AttemptResult::Blocked(Block::Denied, why) => {
                let error = SendError::denied(why).of_call(Trouble::Denied);
                if scheduled.queued.was_denied() {
                    self.give_up(scheduled, error)
                } else {
                    self.try_again(scheduled, error)
                }
            }
            AttemptResult::Failed(trouble, why) => self.try_again(scheduled, SendError::failed(why).of_call(trouble)),
            AttemptResult::Lost(why) => self.try_again(scheduled, SendError::unknown(why).of_call(Trouble::Lost)),
            AttemptResult::Unnamed => {
                self.give_up(scheduled, SendError::unknown("the answer of SQS does not name it".to_owned()));
            }
        }
    }

    pub(super) fn end(&self, scheduled: Scheduled<Queued>, result: SendResult) {
        self.state().scheduler.settle(&scheduled);
        drop(scheduled.queued.reply(result));
    }

    fn try_again(&self, mut scheduled: Scheduled<Queued>, error: SendError) {
        tracing::debug!(%error, "an attempt to send a message failed");
        if self.settings.fails_fast && error.is_not_reached() && !self.has_answered.load(Ordering::Relaxed) {
            return self.give_up(scheduled, error);
        }
        let attempts = scheduled.queued.attempt_failed(error);
        let wait = Backoff::exponential(FIRST_WAIT..LONGEST_WAIT).delay(attempts);
        if scheduled.queued.is_out_of_time_in(wait, self.settings.try_for) {
            self.give_up_as_it_is(scheduled);
        } else {
            self.state().scheduler.schedule_retry(scheduled, Instant::now() + wait);
            // The call that follows in this one's place may take long.
            self.wake.notify_one();
        }
    }

    /// Gives up a message that has run out of time.
    fn give_up_as_it_is(&self, scheduled: Scheduled<Queued>) {
        let error = scheduled.queued.last_error();
        self.give_up(scheduled, error);
    }

    pub(super) fn give_up(&self, scheduled: Scheduled<Queued>, error: SendError) {
        let group = scheduled.group.clone();
        let (queued, behind) = {
            let scheduler = &mut self.state().scheduler;
            let (queued, behind) = scheduler.give_up(scheduled);
            // This happens under the lock, so that a sender cannot add a message of the group before it learns that it
            // must not.
            if let Some(group) = &group {
                std::iter::once(&queued).chain(&behind).for_each(|queued| queued.reply_to.break_group(group));
            }
            (queued, behind)
        };
        drop(queued.reply(Err(error)));
        for (queued, group) in behind.into_iter().zip(std::iter::repeat(group).flatten()) {
            drop(queued.reply(Err(SendError::behind(&group))));
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
