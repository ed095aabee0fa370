//! Remembers which messages this run has met, and which ones it has moved back.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::dead_letter::DeadLetter;

/// Stores message ids as 64-bit hashes: 8 bytes of memory for each id, and as much again for the table. Among a million
/// ids two collide once in 37 million runs. The second message then counts as met, and stays.
#[derive(Default)]
pub(super) struct Seen {
    hasher: RandomState,
    met: HashSet<u64>,
    /// The new ids of messages that were moved back.
    sent_back: HashSet<u64>,
    /// When the run began by the queue's clock, in milliseconds since 1970, if known.
    began_ms: Option<u64>,
    /// Messages from before the run.
    pub(super) looked_at: usize,
    /// Messages that returned, or arrived after the start.
    pub(super) late: usize,
}

/// The result of meeting a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meeting {
    First,
    /// Its lease ended, or SQS delivered it twice.
    Again,
    /// This run moved it back and it failed again, or it was sent after the start.
    Late,
}

/// A header has whole seconds, rounded down.
const DATE_PRECISION_MS: u64 = 1_000;
/// How far the header's clock and the timestamps' clock may differ if both belong to the queue.
const CLOCK_TOLERANCE_MS: u64 = 60_000;

impl Seen {
    /// Sets the start to the date of the run's first answer. Messages sent earlier are from before the run.
    pub(super) fn begins_at(&mut self, date_ms: Option<u64>) {
        self.began_ms = date_ms.map(|date| date + DATE_PRECISION_MS);
    }

    /// `running_ms`: the time since that answer.
    pub(super) fn meet(&mut self, dead_letter: &DeadLetter, running_ms: u64) -> Meeting {
        if !self.met.insert(self.hasher.hash_one(&dead_letter.id)) {
            return Meeting::Again;
        }
        // Timestamps ahead of the header come from another clock, so the header does not count.
        let is_ahead = |began: u64| dead_letter.arrived_ms() > Some(began + running_ms + CLOCK_TOLERANCE_MS);
        if self.began_ms.is_some_and(is_ahead) {
            self.began_ms = None;
        }
        let is_sent_back = |id: &str| self.sent_back.contains(&self.hasher.hash_one(id));
        let is_later = self.began_ms.is_some_and(|began| dead_letter.arrived_ms() >= Some(began));
        if is_later || is_sent_back(&dead_letter.id) || dead_letter.noted_id().is_some_and(is_sent_back) {
            self.late += 1;
            return Meeting::Late;
        }
        self.looked_at += 1;
        Meeting::First
    }

    /// Adds the ids of messages in their destination. A message that fails there returns under this id, or its note
    /// names it.
    pub(super) fn were_sent_back(&mut self, ids: &[String]) {
        self.sent_back.extend(ids.iter().map(|id| self.hasher.hash_one(id)));
    }
}

#[cfg(test)]
mod tests {
    use redrive::internals::note;

    use super::*;
    use crate::dlq::dead_letter::tests::dead_letter_of;

    fn dead_letter(id: &str, sent: &str) -> DeadLetter {
        dead_letter_of(id, &[("SentTimestamp", sent)], &[])
    }

    #[test]
    fn message_is_new_once() {
        let mut seen = Seen::default();
        assert_eq!([0, 1].map(|_| seen.meet(&dead_letter("a", "1"), 0)), [Meeting::First, Meeting::Again]);
        assert_eq!((seen.looked_at, seen.late), (1, 0));
    }

    #[test]
    fn moved_message_is_late_under_its_new_id_and_in_a_note() {
        let mut seen = Seen::default();
        seen.were_sent_back(&["back".to_owned()]);
        assert_eq!(seen.meet(&dead_letter("back", "1"), 0), Meeting::Late);
        let noted = dead_letter_of("dead again", &[], &[(note::MESSAGE_ID, "back")]);
        assert_eq!(seen.meet(&noted, 0), Meeting::Late);
        assert_eq!(seen.meet(&dead_letter("another", "1"), 0), Meeting::First);
    }

    #[test]
    fn message_sent_after_the_start_is_late() {
        let mut seen = Seen::default();
        seen.begins_at(Some(5_000));
        assert_eq!(seen.meet(&dead_letter("before", "5999"), 0), Meeting::First, "in the second of the start");
        assert_eq!(seen.meet(&dead_letter("after", "6000"), 1_000), Meeting::Late);
        let mut without = Seen::default();
        without.begins_at(None);
        assert_eq!(without.meet(&dead_letter("after", "6000"), 1_000), Meeting::First);
    }

    #[test]
    fn header_of_another_clock_is_ignored() {
        let mut seen = Seen::default();
        seen.begins_at(Some(5_000));
        assert_eq!(seen.meet(&dead_letter("of tomorrow", "86400000"), 10), Meeting::First);
    }
}
