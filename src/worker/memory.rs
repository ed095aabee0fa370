//! Which messages are done, and which run: SQS may hand out a message more than once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// Beyond these the oldest is forgotten. A message that comes back then runs again, which it may at any time.
const MAX_DONE: usize = 50_000;

/// SQS hands a message out again when its delete was lost, and that is within its visibility timeout.
const DONE_FOR: Duration = Duration::from_secs(3_600);

/// The messages of a worker, by their ids.
#[derive(Debug, Default)]
pub(super) struct Memory {
    done: HashMap<MessageKey, Instant>,
    /// Those that are done, the oldest first.
    order: VecDeque<(Instant, MessageKey)>,
    running: HashSet<MessageKey>,
}

/// A message id: mostly a UUID, and then not kept as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum MessageKey {
    Uuid(u128),
    Other(Box<str>),
}

impl MessageKey {
    pub(super) fn of(id: &str) -> Self {
        let parts: Vec<_> = id.split('-').collect();
        let is_uuid = parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
            && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
        let uuid = is_uuid.then(|| u128::from_str_radix(&parts.concat(), 16).ok()).flatten();
        uuid.map_or_else(|| Self::Other(id.into()), Self::Uuid)
    }
}

/// What is known of a message that is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Nothing,
    /// It was received before, and that run has not ended.
    Running,
    /// It was processed, and not deleted, or handed out twice.
    Done,
}

impl Memory {
    /// What is known of the message. One that is new runs from now on.
    pub(super) fn receive(&mut self, key: &MessageKey, now: Instant) -> Known {
        self.forget(now);
        if self.done.contains_key(key) {
            Known::Done
        } else if self.running.insert(key.clone()) {
            Known::Nothing
        } else {
            Known::Running
        }
    }

    /// The message was processed.
    pub(super) fn done(&mut self, key: &MessageKey, now: Instant) {
        self.done.insert(key.clone(), now);
        self.order.push_back((now, key.clone()));
        self.forget(now);
    }

    /// The message does not run any more.
    pub(super) fn ended(&mut self, key: &MessageKey) {
        self.running.remove(key);
    }

    fn forget(&mut self, now: Instant) {
        while let Some((since, key)) = self.order.front() {
            let is_old = now.saturating_duration_since(*since) >= DONE_FOR;
            if !is_old && self.order.len() <= MAX_DONE {
                return;
            }
            // It may have been done once more since.
            if self.done.get(key) == Some(since) {
                self.done.remove(key);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> MessageKey {
        MessageKey::Uuid(number as u128)
    }

    #[test]
    fn a_message_runs_once_at_a_time_and_not_after_it_is_done() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        assert_eq!(memory.receive(&key(1), now), Known::Nothing);
        assert_eq!(memory.receive(&key(1), now), Known::Running);
        memory.ended(&key(1));
        assert_eq!(memory.receive(&key(1), now), Known::Nothing, "it has failed, and comes back");
        memory.done(&key(1), now);
        memory.ended(&key(1));
        assert_eq!(memory.receive(&key(1), now), Known::Done);
        assert_eq!(memory.receive(&key(2), now), Known::Nothing);
    }

    #[test]
    fn what_is_done_is_forgotten_after_a_time() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        memory.done(&key(1), now);
        memory.done(&key(1), now + DONE_FOR / 2);
        assert_eq!(memory.receive(&key(1), now + DONE_FOR), Known::Done, "it was done once more");
        assert_eq!(memory.receive(&key(1), now + DONE_FOR * 3 / 2), Known::Nothing);
        assert!(memory.done.is_empty() && memory.order.is_empty());
    }

    #[test]
    fn there_is_a_bound_to_it() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        (0..MAX_DONE + 10).for_each(|number| memory.done(&key(number), now));
        assert_eq!((memory.done.len(), memory.order.len()), (MAX_DONE, MAX_DONE));
        assert_eq!(memory.receive(&key(9), now), Known::Nothing);
        assert_eq!(memory.receive(&key(10), now), Known::Done);
    }

    #[test]
    fn an_id_is_a_uuid_or_whatever_it_is() {
        let uuid = MessageKey::of("059f36b4-87a3-44ab-83d2-661975830a7d");
        assert_eq!(uuid, MessageKey::Uuid(0x059f_36b4_87a3_44ab_83d2_6619_7583_0a7d));
        for other in ["", "m-1", "059F36B4-87a3-44ab-83d2-661975830a7d", "059f36b487a344ab83d2661975830a7d", "-----"] {
            assert_eq!(MessageKey::of(other), MessageKey::Other(other.into()));
        }
    }
}
