//! From the queue to records.

use std::sync::Arc;
use std::time::Duration;

use redrive::internals::safe_text::text_of;

use crate::event::Record;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Mapping, News, limited, stop};
use crate::function::Place;

/// The most that SQS waits for a message.
const MAX_WAIT: Duration = Duration::from_secs(20);
const MAX_MESSAGES: usize = 10;

/// A poll that is to be made.
pub(super) struct Poll {
    /// Places that it has. Where there are none it waits for one.
    pub(super) places: Vec<Place>,
    /// How many places it may take beyond these.
    pub(super) may_take: usize,
    /// How many places wait with the messages that were received before.
    pub(super) in_hand: usize,
    /// How many messages these are.
    pub(super) waiting: usize,
    /// Whether the queue has more messages, as far as is known.
    pub(super) has_backlog: bool,
    /// Whether it asks for messages, or is for a place alone.
    pub(super) receives: bool,
    /// When it has to be over, as its places are borrowed from messages whose window ends then.
    pub(super) ends: Option<Instant>,
}

/// A poll that is over, with the places that it has.
pub(super) struct Polled {
    pub(super) places: Vec<Place>,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    Received {
        /// Without those that match no filter.
        records: Vec<Record>,
        asked: usize,
        found: usize,
        /// Whether the queue was to wait for a message.
        waited: bool,
    },
    /// It was stopped before it asked, or had no room for a message.
    Unasked,
    /// The function could not be made ready, or the queue not be polled. The news have said why.
    Failed,
}

impl Mapping {
    /// One receive, for as many messages as can begin. To stop it ends the wait for a place, and never a receive: SQS may have
    /// handed out messages already.
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
        Polled { places: poll.places, outcome }
    }

    /// Takes a place, and more of them where more messages are there.
    async fn prepare(&self, poll: &mut Poll, pause: Duration, failures: u32) -> Result<(), Outcome> {
        tokio::time::sleep(pause).await;
        if poll.places.is_empty() {
            match self.function.ready().await {
                Ok(place) => poll.places.push(place),
                Err(error) => {
                    self.tell(News::NotReady { error: error.to_string(), attempts: failures.saturating_add(1) });
                    return Err(Outcome::Failed);
                }
            }
            poll.may_take = poll.may_take.saturating_sub(1);
        }
        // A FIFO queue has one batch a receive: what is behind it in its group would wait for it to end.
        let most = if self.source.is_fifo() { 1 } else { MAX_MESSAGES.div_ceil(self.batching.size()) };
        while poll.places.len() < most
            && poll.may_take > 0
            && (poll.has_backlog || self.function.places().has_spare())
            && let Some(place) = self.function.try_ready()
        {
            poll.places.push(place);
            poll.may_take -= 1;
        }
        if poll.receives && self.room(poll) > 0 { Ok(()) } else { Err(Outcome::Unasked) }
    }

    fn room(&self, poll: &Poll) -> usize {
        let room = (poll.places.len() + poll.in_hand).saturating_mul(self.batching.size());
        room.saturating_sub(poll.waiting).min(MAX_MESSAGES)
    }

    /// What matches no filter is deleted.
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

    /// How long the queue is to wait for a message. A poll with a place that another mapping may need does not wait.
    fn wait(&self, poll: &Poll) -> Duration {
        let places = self.function.places();
        match poll.ends {
            Some(_) if places.are_crowded() => Duration::ZERO,
            Some(ends) => ends.saturating_duration_since(Instant::now()).min(MAX_WAIT),
            None if places.are_plenty() => MAX_WAIT,
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
