//! What a poll has brought, by what is to become of it.

use std::collections::HashSet;

use aws_sdk_sqs::types::Message;
use tokio::time::Instant;

use super::received::Fresh;
use super::recently_seen::{Known, MessageKey};
use super::settler::Receipt;
use super::shared::Shared;
use crate::moment::Deadline;
use crate::record::ReceivedMessage;

#[derive(Default)]
pub(super) struct Triage {
    /// To be run.
    pub(super) fresh: Vec<Fresh>,
    /// Was run, and is to be deleted.
    pub(super) done: Vec<Receipt>,
    /// To be given back.
    pub(super) behind: Vec<Receipt>,
    /// Groups of which one is left out: none that comes after it may be before it.
    left_out: HashSet<String>,
}

impl Triage {
    /// Sorts the messages of a poll, whose leases end at that time, and of which no more run than were asked for.
    pub(super) fn of(messages: Vec<Message>, ends: Deadline, asked: usize, shared: &Shared) -> Self {
        let mut triage = Self { fresh: Vec::with_capacity(messages.len()), ..Self::default() };
        for message in messages {
            let group = shared.queue.source.ordered_group(&message).map(str::to_owned);
            match ReceivedMessage::new(message) {
                Ok(message) => triage.sort(message, group, ends, asked, shared),
                Err(error) => {
                    tracing::error!(%error, "a message is left alone");
                    triage.left_out.extend(group);
                }
            }
        }
        triage
    }

    fn sort(&mut self, message: ReceivedMessage, group: Option<String>, ends: Deadline, asked: usize, shared: &Shared) {
        let key = MessageKey::of(&message.message_id);
        let is_behind = group.as_ref().is_some_and(|group| self.left_out.contains(group));
        let may_run = !is_behind && self.fresh.len() < asked;
        // Of the same message twice in one poll both are the engine's matter, as far as both may run.
        let known = match self.fresh.iter().any(|fresh| fresh.key == key) {
            true if may_run => Known::Nothing,
            true => Known::Running,
            false => shared.recently_seen().receive(&key, Instant::now()),
        };
        match known {
            Known::Nothing if may_run => {
                self.fresh.push(Fresh { key, message });
                return;
            }
            // Its group is left out, or it is more than was asked for: there may be no permit for it.
            Known::Nothing => {
                shared.recently_seen().ended(&key);
                self.behind.push(Receipt::of(key, &message, ends));
            }
            Known::Done => {
                tracing::info!(message_id = %key, "a message that was processed came back, and is deleted");
                self.done.push(Receipt::of(key, &message, ends));
            }
            // Its other receipt says what becomes of it. This one runs out: given back, the message would run beside itself.
            Known::Running => {
                tracing::info!(message_id = %key, "a message that runs here was handed out once more");
            }
        }
        self.left_out.extend(group);
    }
}
