//! Remembers which messages run and which are done, because SQS may hand out a message more than once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::sqs::hex::{number_of_uuid, uuid};

/// The most messages that are remembered as done and deleted. Above this the oldest is forgotten. If SQS hands it out
/// again, it runs again, as at-least-once delivery allows.
const MAX_DONE: usize = 50_000;

/// The most messages that are remembered as done and possibly not deleted. These do come back, so the limit is higher.
const MAX_LEFT: usize = 200_000;

/// How long a deleted message is remembered. A message whose delete was lost comes back when its visibility timeout
/// ends.
const DONE_FOR: Duration = Duration::from_secs(3_600);

/// The messages of a worker, by id.
#[derive(Debug)]
pub(super) struct RecentlySeen {
    done: Aged,
    /// Done, with deletes under way. Their number is limited by the settler's permits and by those of messages that wait
    /// for them.
    deleting: HashSet<MessageKey>,
    /// Done, with deletes that failed or whose result is unknown.
    left: Aged,
    running: HashSet<MessageKey>,
}

/// Messages that are forgotten after a time, or when they are the oldest of too many.
#[derive(Debug)]
struct Aged {
    since: HashMap<MessageKey, Instant>,
    /// Oldest first.
    order: VecDeque<(Instant, MessageKey)>,
    most: usize,
    keeps: Duration,
}

/// A message id. A UUID, the usual form, is stored as a number to save memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum MessageKey {
    Uuid(u128),
    Other(Box<str>),
}

impl MessageKey {
    pub(super) fn of(id: &str) -> Self {
        number_of_uuid(id).map_or_else(|| Self::Other(id.into()), Self::Uuid)
    }
}

/// The state of a message at its receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Nothing,
    /// It was received before and still runs.
    Running,
    /// It was processed. Its delete failed, or SQS handed it out twice.
    Done,
}

impl fmt::Display for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(number) => f.write_str(&uuid(*number)),
            Self::Other(id) => f.write_str(id),
        }
    }
}

impl RecentlySeen {
    /// Returns an empty memory. `lease` is the visibility timeout of the messages.
    pub(super) fn new(lease: Duration) -> Self {
        Self {
            done: Aged::new(MAX_DONE, DONE_FOR),
            deleting: HashSet::new(),
            // An undeleted message comes back when its lease ends, and its next delete may fail as well. Two leases
            // cover both.
            left: Aged::new(MAX_LEFT, DONE_FOR.max(2 * lease)),
            running: HashSet::new(),
        }
    }

    /// Returns the state of a received message. A new message counts as running from now on.
    pub(super) fn receive(&mut self, key: &MessageKey, now: Instant) -> Known {
        self.done.forget(now);
        self.left.forget(now);
        if self.deleting.contains(key) || self.done.contains(key) || self.left.contains(key) {
            Known::Done
        } else if self.running.insert(key.clone()) {
            Known::Nothing
        } else {
            Known::Running
        }
    }

    /// Notes that the message was processed and will be deleted.
    pub(super) fn done(&mut self, key: &MessageKey, now: Instant) {
        self.done.add(key, now);
        self.deleting.insert(key.clone());
    }

    /// Notes the result of a delete.
    pub(super) fn deleted(&mut self, key: &MessageKey, is_deleted: bool, now: Instant) {
        self.deleting.remove(key);
        if !is_deleted {
            self.left.add(key, now);
        }
    }

    /// Notes that the message no longer runs.
    pub(super) fn ended(&mut self, key: &MessageKey) {
        self.running.remove(key);
    }
}

impl Aged {
    fn new(most: usize, keeps: Duration) -> Self {
        Self { since: HashMap::new(), order: VecDeque::new(), most, keeps }
    }

    fn contains(&self, key: &MessageKey) -> bool {
        self.since.contains_key(key)
    }

    fn add(&mut self, key: &MessageKey, now: Instant) {
        self.since.insert(key.clone(), now);
        self.order.push_back((now, key.clone()));
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        while let Some((since, key)) = self.order.front() {
            let is_old = now.saturating_duration_since(*since) >= self.keeps;
            if !is_old && self.order.len() <= self.most {
                return;
            }
            // The message may have been added again since, with a later time.
            if self.since.get(key) == Some(since) {
                self.since.remove(key);
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

    const LEASE: Duration = Duration::from_secs(30);

    /// Records a message as done and deleted.
    fn done_and_deleted(recently_seen: &mut RecentlySeen, number: usize, now: Instant) {
        recently_seen.done(&key(number), now);
        recently_seen.deleted(&key(number), true, now);
    }

    #[test]
    fn a_message_runs_once_at_a_time_and_never_after_it_is_done() {
        let (mut recently_seen, now) = (RecentlySeen::new(LEASE), Instant::now());
        assert_eq!(recently_seen.receive(&key(1), now), Known::Nothing);
        assert_eq!(recently_seen.receive(&key(1), now), Known::Running);
        recently_seen.ended(&key(1));
        assert_eq!(recently_seen.receive(&key(1), now), Known::Nothing, "a failed message may run again");
        recently_seen.done(&key(1), now);
        recently_seen.ended(&key(1));
        assert_eq!(recently_seen.receive(&key(1), now), Known::Done);
        assert_eq!(recently_seen.receive(&key(2), now), Known::Nothing);
    }

    #[test]
    fn a_deleted_message_is_forgotten_after_a_time() {
        let (mut recently_seen, now) = (RecentlySeen::new(LEASE), Instant::now());
        done_and_deleted(&mut recently_seen, 1, now);
        done_and_deleted(&mut recently_seen, 1, now + DONE_FOR / 2);
        assert_eq!(
            recently_seen.receive(&key(1), now + DONE_FOR),
            Known::Done,
            "the message was processed again later"
        );
        assert_eq!(recently_seen.receive(&key(1), now + DONE_FOR * 3 / 2), Known::Nothing);
        assert!(recently_seen.done.since.is_empty() && recently_seen.done.order.is_empty());
    }

    #[test]
    fn the_oldest_deleted_message_is_forgotten_above_the_limit() {
        let (mut recently_seen, now) = (RecentlySeen::new(LEASE), Instant::now());
        (0..MAX_DONE + 10).for_each(|number| done_and_deleted(&mut recently_seen, number, now));
        assert_eq!((recently_seen.done.since.len(), recently_seen.done.order.len()), (MAX_DONE, MAX_DONE));
        assert_eq!(recently_seen.receive(&key(9), now), Known::Nothing);
        assert_eq!(recently_seen.receive(&key(10), now), Known::Done);
    }

    #[test]
    fn an_undeleted_message_is_remembered_though_many_are_done_after_it() {
        let (mut recently_seen, now) = (RecentlySeen::new(LEASE), Instant::now());
        recently_seen.done(&key(0), now);
        recently_seen.done(&key(1), now);
        recently_seen.deleted(&key(1), false, now);
        (2..MAX_DONE + 10).for_each(|number| done_and_deleted(&mut recently_seen, number, now));
        assert_eq!(recently_seen.receive(&key(0), now), Known::Done, "its delete is under way");
        assert_eq!(recently_seen.receive(&key(1), now), Known::Done, "its delete has failed");
        assert_eq!(recently_seen.receive(&key(2), now), Known::Nothing);
    }

    #[test]
    fn an_undeleted_message_is_remembered_for_two_leases_within_a_limit() {
        let (lease, now) = (DONE_FOR * 2, Instant::now());
        let mut recently_seen = RecentlySeen::new(lease);
        recently_seen.done(&key(1), now);
        recently_seen.deleted(&key(1), false, now);
        assert_eq!(recently_seen.receive(&key(1), now + 2 * lease - LEASE), Known::Done);
        assert_eq!(recently_seen.receive(&key(1), now + 2 * lease), Known::Nothing);
        (0..MAX_LEFT + 10).for_each(|number| recently_seen.deleted(&key(number), false, now));
        assert_eq!(recently_seen.left.since.len(), MAX_LEFT);
    }

    #[test]
    fn an_id_that_is_not_a_uuid_is_kept_as_text() {
        let uuid = MessageKey::of("059f36b4-87a3-44ab-83d2-661975830a7d");
        assert_eq!(uuid, MessageKey::Uuid(0x059f_36b4_87a3_44ab_83d2_6619_7583_0a7d));
        assert_eq!(uuid.to_string(), "059f36b4-87a3-44ab-83d2-661975830a7d");
        for other in ["", "m-1", "059F36B4-87a3-44ab-83d2-661975830a7d", "059f36b487a344ab83d2661975830a7d", "-----"] {
            assert_eq!(MessageKey::of(other), MessageKey::Other(other.into()));
            assert_eq!(MessageKey::of(other).to_string(), other);
        }
    }
}
