//! Remembers which messages a FIFO queue accepted in the last five minutes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::message::{MessageId, SequenceNumber};
use super::time::Time;

/// The time in which another message with the same deduplication id is not delivered. A deletion does not shorten it.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-exactly-once-processing.html>
pub(super) const DEDUPLICATION_INTERVAL: Duration = Duration::from_secs(5 * 60);

#[derive(Debug, Default)]
pub(super) struct Deduplication {
    accepted: HashMap<Key, Accepted>,
    by_age: VecDeque<(Time, Key)>,
}

/// The key that identifies a duplicate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The group, if the queue compares ids only within a group.
    pub group: Option<Arc<str>>,
    pub id: Box<str>,
}

/// The answer to the sender of the first message. The sender of a duplicate receives the same answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub message_id: MessageId,
    pub sequence_number: SequenceNumber,
}

impl Deduplication {
    pub(super) fn get(&mut self, key: &Key, now: Time) -> Option<Accepted> {
        while let Some((_, key)) = self.by_age.pop_front_if(|(at, _)| *at + DEDUPLICATION_INTERVAL <= now) {
            self.accepted.remove(&key);
        }
        self.accepted.get(key).copied()
    }

    pub(super) fn insert(&mut self, key: Key, accepted: Accepted, now: Time) {
        self.accepted.insert(key.clone(), accepted);
        self.by_age.push_back((now, key));
    }
}
