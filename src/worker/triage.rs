//! Sorts the messages of a poll by the next step for each.

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
    /// New messages to run.
    pub(super) fresh: Vec<Fresh>,
    /// Processed messages to delete.
    pub(super) done: Vec<Receipt>,
    /// Messages to release.
    pub(super) behind: Vec<Receipt>,
    /// Groups with a message that does not run. A later message of such a group must not overtake it.
    left_out: HashSet<String>,
}

impl Triage {
    /// Sorts the messages of a poll. Their leases end at `ends`, and at most `asked` of them run.
    pub(super) fn of(messages: Vec<Message>, ends: Deadline, asked: usize, shared: &Shared) -> Self {
        let mut triage = Self { fresh: Vec::with_capacity(messages.len()), ..Self::default() };
        for message in messages {
            let group = shared.queue.source.ordered_group(&message).map(str::to_owned);
            match ReceivedMessage::new(message) {
                Ok(message) => triage.sort(message, group, ends, asked, shared),
                Err(error) => {
                    tracing::error!(%error, "skipped a malformed message; it returns when its visibility timeout ends");
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
        // Copies of one message in one poll both go to the engine if both may run.
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
            // The message follows one of its group that does not run, or the poll returned more messages than there are
            // permits.
            Known::Nothing => {
                shared.recently_seen().ended(&key);
                self.behind.push(Receipt::of(key, &message, ends));
            }
            Known::Done => {
                tracing::info!(message_id = %key, "received a processed message again; the worker deletes it");
                self.done.push(Receipt::of(key, &message, ends));
            }
            // The first receipt decides about the message, and this one expires. If this one were released, the message
            // would run twice at a time.
            Known::Running => {
                tracing::info!(message_id = %key, "received a message again while it runs; this receipt is ignored");
            }
        }
        self.left_out.extend(group);
    }
}
