//! Receives messages and turns them into records.

use std::sync::Arc;
use std::time::Duration;

use redrive::internals::safe_text::text_of;

use crate::event::Record;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{EventSourceMapping, News, limited, stop};
use crate::function::Slot;

/// SQS's limit for waiting for a message.
const MAX_WAIT: Duration = Duration::from_secs(20);
const MAX_MESSAGES: usize = 10;

/// A planned poll.
pub(super) struct Poll {
    /// The slots that the poll has. Without one, it waits for a slot first.
    pub(super) slots: Vec<Slot>,
    /// The number of slots that it may take in addition.
    pub(super) may_take: usize,
    /// The number of slots that earlier messages hold while they wait for their batch.
    pub(super) in_hand: usize,
    /// The number of these earlier messages.
    pub(super) waiting: usize,
    /// Whether the queue probably has more messages.
    pub(super) has_backlog: bool,
    /// Whether the poll receives messages. Otherwise it only takes a slot.
    pub(super) receives: bool,
    /// The end of the poll, if its slots are borrowed from messages whose window ends then.
    pub(super) ends: Option<Instant>,
}

/// A finished poll with its slots.
pub(super) struct Polled {
    pub(super) slots: Vec<Slot>,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    Received {
        /// The records that match a filter.
        records: Vec<Record>,
        asked: usize,
        found: usize,
        /// Whether the receive was a long poll.
        waited: bool,
    },
    /// The poll was stopped before the receive, or had no room for a message.
    Unasked,
    /// The function was not ready, or the receive failed. The mapping has reported the reason.
    Failed,
}

impl EventSourceMapping {
    /// Receives once, at most as many messages as can start. A stop ends only the wait for a slot, and never a running
    /// receive, because SQS may already have delivered messages.
    pub(super) async fn poll(
        self: Arc<Self>,
        mut poll: Poll,
        pause: Duration,
        failures: u32,
        stopped: watch::Receiver<bool>,
    ) -> Polled {
        let prepared = tokio::select! {
            biased;
            () = stop(stopped) => Err(Outcome::Unasked),
            prepared = self.prepare(&mut poll, pause, failures) => prepared,
        };
        let outcome = match prepared {
            Ok(()) => self.receive(&poll).await,
            Err(outcome) => outcome,
        };
        Polled { slots: poll.slots, outcome }
    }

    /// Takes a slot, and further slots if the queue has more messages.
    async fn prepare(&self, poll: &mut Poll, pause: Duration, failures: u32) -> Result<(), Outcome> {
        tokio::time::sleep(pause).await;
        if poll.slots.is_empty() {
            match Slot::take(&self.function).await {
                Ok(slot) => poll.slots.push(slot),
                Err(error) => {
                    self.tell(News::NotReady { error: error.to_string(), attempts: failures.saturating_add(1) });
                    return Err(Outcome::Failed);
                }
            }
            poll.may_take = poll.may_take.saturating_sub(1);
        }
        // On a FIFO queue a second batch of a receive could wait for the first, because they may share a group.
        let most = if self.source.is_fifo() { 1 } else { MAX_MESSAGES.div_ceil(self.batching.size()) };
        while poll.slots.len() < most
            && poll.may_take > 0
            && (poll.has_backlog || self.function.slots().has_spare())
            && let Some(slot) = Slot::try_take(&self.function)
        {
            poll.slots.push(slot);
            poll.may_take -= 1;
        }
        if poll.receives && self.room(poll) > 0 { Ok(()) } else { Err(Outcome::Unasked) }
    }

    fn room(&self, poll: &Poll) -> usize {
        let room = (poll.slots.len() + poll.in_hand).saturating_mul(self.batching.size());
        room.saturating_sub(poll.waiting).min(MAX_MESSAGES)
    }

    /// Receives messages and deletes those that match no filter.
    async fn receive(&self, poll: &Poll) -> Outcome {
        let (asked, wait_seconds) = (self.room(poll), self.wait(poll).as_secs());
        let Ok(messages) = self.receive_message(asked, wait_seconds).await else { return Outcome::Failed };
        let found = messages.len();
        let (mut records, mut filtered) = (Vec::new(), Vec::new());
        for message in messages {
            match Record::new(message, &self.source) {
                Ok(record) if self.filter.lets_through(&record) => records.push(record),
                Ok(record) => filtered.push(record),
                Err(error) => {
                    self.tell(News::PollFailed { error: error.to_string() });
                    self.settle(1);
                }
            }
        }
        if !filtered.is_empty() {
            let message_ids = filtered.iter().map(|record| record.message_id().to_owned()).collect();
            self.tell(News::Filtered { message_ids });
            self.delete(filtered.iter()).await;
            self.settle(filtered.len());
        }
        Outcome::Received { records, asked, found, waited: wait_seconds > 0 }
    }

    /// Returns how long the receive waits. A poll does not wait if another mapping may need its slot.
    fn wait(&self, poll: &Poll) -> Duration {
        let slots = self.function.slots();
        match poll.ends {
            Some(_) if slots.are_crowded() => Duration::ZERO,
            Some(ends) => ends.saturating_duration_since(Instant::now()).min(MAX_WAIT),
            None if slots.are_plenty() => MAX_WAIT,
            None => Duration::ZERO,
        }
    }

    async fn receive_message(&self, max: usize, wait_seconds: u64) -> Result<Vec<Message>, ()> {
        let wait_seconds = i32::try_from(wait_seconds).unwrap_or(0);
        let receive = self.client.receive_message().queue_url(&self.queue_url).wait_time_seconds(wait_seconds);
        let receive = receive.max_number_of_messages(i32::try_from(max).unwrap_or(1));
        let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
        let receive = receive.message_attribute_names("All").customize();
        match receive.config_override(limited()).send().await {
            Ok(answer) => Ok(answer.messages.unwrap_or_default()),
            Err(error) => {
                self.tell(News::PollFailed { error: text_of(&error) });
                Err(())
            }
        }
    }
}
