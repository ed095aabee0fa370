//! Which messages this run has met already, and which ones it has itself sent on their way back here.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::letter::Letter;

/// The ids of messages as 64-bit hashes: 8 bytes of memory for each id, and as much again for the table. Among a million ids two
/// collide once in 37 million runs; the second message then counts as met, and stays.
#[derive(Default)]
pub(super) struct Seen {
    hasher: RandomState,
    met: HashSet<u64>,
    /// Ids that messages got when they were moved back.
    sent_back: HashSet<u64>,
    /// When the run began, in milliseconds since 1970 by the queue's clock, where that is known.
    began_ms: Option<u64>,
    /// Messages of before the run.
    pub(super) looked_at: usize,
    /// Messages that returned, or arrived after the run had begun.
    pub(super) late: usize,
}

/// How a message is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meeting {
    First,
    /// Its lease ran out, or SQS has delivered it twice.
    Again,
    /// It was moved back in this run and has failed again, or it was sent after the run had begun.
    Late,
}

/// A header has whole seconds, rounded down.
const DATE_PRECISION_MS: u64 = 1_000;
/// How far the clock of a header and that of timestamps may differ where both are the queue's.
const CLOCK_TOLERANCE_MS: u64 = 60_000;

impl Seen {
    /// The first answer of the run has this date. What was sent before it is of before the run.
    pub(super) fn begins_at(&mut self, date_ms: Option<u64>) {
        self.began_ms = date_ms.map(|date| date + DATE_PRECISION_MS);
    }

    /// `running_ms`: how long ago that answer was.
    pub(super) fn meet(&mut self, letter: &Letter, running_ms: u64) -> Meeting {
        if !self.met.insert(self.hasher.hash_one(&letter.id)) {
            return Meeting::Again;
        }
        // Timestamps are ahead of the header: they come from another clock, which says nothing here.
        let is_ahead = |began: u64| letter.arrived_ms() > Some(began + running_ms + CLOCK_TOLERANCE_MS);
        if self.began_ms.is_some_and(is_ahead) {
            self.began_ms = None;
        }
        let is_sent_back = |id: &str| self.sent_back.contains(&self.hasher.hash_one(id));
        let is_later = self.began_ms.is_some_and(|began| letter.arrived_ms() >= Some(began));
        if is_later || is_sent_back(&letter.id) || letter.noted_id().is_some_and(is_sent_back) {
            self.late += 1;
            return Meeting::Late;
        }
        self.looked_at += 1;
        Meeting::First
    }

    /// The ids that messages have where they were moved to. Should one fail there, it returns under this id, or names it.
    pub(super) fn were_sent_back(&mut self, ids: &[String]) {
        self.sent_back.extend(ids.iter().map(|id| self.hasher.hash_one(id)));
    }
}

#[cfg(test)]
mod tests {
    use redrive::internals::note;

    use super::*;
    use crate::dlq::letter::tests::letter_of;

    fn letter(id: &str, sent: &str) -> Letter {
        letter_of(id, &[("SentTimestamp", sent)], &[])
    }

    #[test]
    fn a_message_is_met_for_the_first_time_once() {
        let mut seen = Seen::default();
        assert_eq!([0, 1].map(|_| seen.meet(&letter("a", "1"), 0)), [Meeting::First, Meeting::Again]);
        assert_eq!((seen.looked_at, seen.late), (1, 0));
    }

    #[test]
    fn a_message_that_was_moved_back_is_late_under_its_new_id_and_where_it_names_that() {
        let mut seen = Seen::default();
        seen.were_sent_back(&["back".to_owned()]);
        assert_eq!(seen.meet(&letter("back", "1"), 0), Meeting::Late);
        let noted = letter_of("dead again", &[], &[(note::MESSAGE_ID, "back")]);
        assert_eq!(seen.meet(&noted, 0), Meeting::Late);
        assert_eq!(seen.meet(&letter("another", "1"), 0), Meeting::First);
    }

    #[test]
    fn a_message_that_was_sent_after_the_beginning_is_late() {
        let mut seen = Seen::default();
        seen.begins_at(Some(5_000));
        assert_eq!(seen.meet(&letter("before", "5999"), 0), Meeting::First, "in the second of the beginning");
        assert_eq!(seen.meet(&letter("after", "6000"), 1_000), Meeting::Late);
        let mut without = Seen::default();
        without.begins_at(None);
        assert_eq!(without.meet(&letter("after", "6000"), 1_000), Meeting::First);
    }

    #[test]
    fn a_header_of_another_clock_than_the_timestamps_counts_for_nothing() {
        let mut seen = Seen::default();
        seen.begins_at(Some(5_000));
        assert_eq!(seen.meet(&letter("of tomorrow", "86400000"), 10), Meeting::First);
    }
}
