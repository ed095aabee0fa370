//! Decides which messages share a call and when it is sent. Time comes in as an argument; nothing here waits or calls.
//!
//! A message is ready, behind another of its group, in a call, or waiting for another attempt. On a FIFO queue only one
//! message of a group at a time is not behind another, so no message passes an earlier one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::open::Open;
use crate::sqs::limits::MAX_ENTRIES;

/// A message with its number in the order of arrival.
#[derive(Debug)]
pub(super) struct Packed<T> {
    seq: u64,
    generation: u64,
    /// When it stops waiting for others.
    due: Instant,
    bytes: usize,
    /// The group whose other messages this one must not pass.
    pub(super) group: Option<Arc<str>>,
    pub(super) item: T,
}

impl<T> Packed<T> {
    /// Changes the message's size.
    pub(super) fn resize(&mut self, bytes: usize) {
        self.bytes = bytes;
    }
}

/// The next action.
#[derive(Debug)]
pub(super) enum Next<T> {
    /// Send these messages in one call.
    Call(Vec<Packed<T>>),
    /// Wait until that time or the next event.
    Wait(Option<Instant>),
}

pub(super) struct Pack<T> {
    linger: Duration,
    max_bytes: usize,
    max_calls: usize,
    calls: usize,
    next_seq: u64,
    /// Messages that are ready: retries first, then new ones in the order of arrival.
    ready: VecDeque<Packed<T>>,
    ready_bytes: usize,
    /// Messages by the time of their next attempt.
    later: BTreeMap<(Instant, u64), Packed<T>>,
    /// The messages behind another of their group, by group.
    behind: HashMap<Arc<str>, VecDeque<Packed<T>>>,
    /// All messages that are here or in a call.
    open: Open,
}

impl<T> Pack<T> {
    pub(super) fn new(linger: Duration, max_bytes: usize, max_calls: usize) -> Self {
        Self {
            linger,
            max_bytes,
            max_calls,
            calls: 0,
            next_seq: 0,
            ready: VecDeque::new(),
            ready_bytes: 0,
            later: BTreeMap::new(),
            behind: HashMap::new(),
            open: Open::default(),
        }
    }

    /// Adds a message. Returns whether a call may now be due earlier.
    pub(super) fn push(&mut self, item: T, bytes: usize, group: Option<Arc<str>>, now: Instant) -> bool {
        let seq = self.next_seq;
        self.next_seq += 1;
        let packed = Packed { seq, generation: self.open.add(), due: now + self.linger, bytes, group, item };
        if let Some(group) = &packed.group {
            if let Some(behind) = self.behind.get_mut(group) {
                behind.push_back(packed);
                return false;
            }
            self.behind.insert(group.clone(), VecDeque::new());
        }
        self.make_ready(packed);
        // If all calls are in flight, the end of a call wakes the driver.
        self.calls < self.max_calls && (self.ready.len() == 1 || self.is_full())
    }

    fn make_ready(&mut self, packed: Packed<T>) {
        self.ready_bytes += packed.bytes;
        self.ready.push_back(packed);
    }

    fn is_full(&self) -> bool {
        self.ready.len() >= MAX_ENTRIES || self.ready_bytes >= self.max_bytes
    }

    /// Returns what to do now.
    pub(super) fn next(&mut self, now: Instant) -> Next<T> {
        match self.is_due(now) {
            Ok(()) => Next::Call(self.take(Vec::new())),
            Err(until) => Next::Wait(until),
        }
    }

    /// Checks whether a call is due now.
    ///
    /// # Errors
    ///
    /// Returns the time until which no call is due, unless something happens.
    fn is_due(&mut self, now: Instant) -> Result<(), Option<Instant>> {
        let retry = self.bring_back(now);
        if self.ready.is_empty() {
            return Err(retry);
        }
        if self.calls == self.max_calls {
            return Err(None);
        }
        match self.due().filter(|due| *due > now) {
            None => Ok(()),
            Some(due) => Err(Some(retry.map_or(due, |retry| retry.min(due)))),
        }
    }

    /// Makes due retries ready, ahead of new messages, because their time for attempts is limited. Returns the time of
    /// the next retry.
    fn bring_back(&mut self, now: Instant) -> Option<Instant> {
        let ((first, _), _) = self.later.first_key_value()?;
        if *first > now {
            return Some(*first);
        }
        let waiting = self.later.split_off(&(now + Duration::from_nanos(1), 0));
        for (_, packed) in std::mem::replace(&mut self.later, waiting).into_iter().rev() {
            self.ready_bytes += packed.bytes;
            self.ready.push_front(packed);
        }
        self.later.first_key_value().map(|((at, _), _)| *at)
    }

    /// Returns when a call of the ready messages is due. `None` means now.
    fn due(&self) -> Option<Instant> {
        if self.is_full() {
            return None;
        }
        // A message that became ready after another was settled may be older than those before it, and a flush may wait
        // for it.
        let (mut due, mut is_past) = (None::<Instant>, false);
        for packed in &self.ready {
            due = Some(due.map_or(packed.due, |due| due.min(packed.due)));
            is_past |= self.open.is_past(packed.generation);
        }
        due.filter(|_| !is_past)
    }

    fn take(&mut self, mut taken: Vec<Packed<T>>) -> Vec<Packed<T>> {
        self.calls += 1;
        taken.reserve(self.ready.len().min(MAX_ENTRIES));
        let mut room = self.max_bytes;
        while taken.len() < MAX_ENTRIES
            && let Some(packed) = self.ready.pop_front_if(|packed| packed.bytes <= room)
        {
            room -= packed.bytes;
            self.ready_bytes -= packed.bytes;
            taken.push(packed);
        }
        taken
    }

    /// Returns whether a call of the ready messages would have room left.
    pub(super) fn may_fill(&self) -> bool {
        !self.ready.is_empty() && !self.is_full()
    }

    /// Returns the next call's messages in the memory of a finished call's. If no call is due it returns none, and the
    /// call still counts.
    pub(super) fn next_in_place(&mut self, emptied: Vec<Packed<T>>, now: Instant) -> Vec<Packed<T>> {
        self.calls -= 1;
        match self.is_due(now) {
            Ok(()) => self.take(emptied),
            Err(_) => {
                self.calls += 1;
                emptied
            }
        }
    }

    /// Records the end of a call. Its messages are settled separately.
    pub(super) fn call_ended(&mut self) {
        self.calls -= 1;
    }

    /// Settles a message, so that the next one of its group may be sent.
    pub(super) fn settle(&mut self, packed: &Packed<T>) {
        self.open.remove(packed.generation);
        if let Some(group) = &packed.group
            && let Some(behind) = self.behind.get_mut(group)
        {
            match behind.pop_front() {
                Some(next) => self.make_ready(next),
                None => drop(self.behind.remove(group)),
            }
        }
    }

    /// Removes a failed message, together with the messages of its group behind it, which must not pass it.
    pub(super) fn give_up(&mut self, packed: Packed<T>) -> (T, Vec<T>) {
        self.open.remove(packed.generation);
        let behind = packed.group.as_ref().and_then(|group| self.behind.remove(group)).unwrap_or_default();
        for each in &behind {
            self.open.remove(each.generation);
        }
        (packed.item, behind.into_iter().map(|each| each.item).collect())
    }

    /// Schedules another attempt of a message.
    pub(super) fn again(&mut self, mut packed: Packed<T>, at: Instant) {
        packed.due = at;
        self.later.insert((at, packed.seq), packed);
    }

    /// Makes all present messages due without lingering. Returns the generation after them.
    pub(super) fn hurry(&mut self) -> u64 {
        self.open.next_generation()
    }

    /// Returns the generation before which all messages are settled.
    pub(super) fn settled_below(&self) -> u64 {
        self.open.settled_below()
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_millis(5);

    /// Creates a pack whose items are names.
    fn pack(max_calls: usize) -> (Pack<&'static str>, Instant) {
        (Pack::new(LINGER, 100, max_calls), Instant::now())
    }

    fn of_group(group: &str) -> Option<Arc<str>> {
        Some(group.into())
    }

    fn items(next: Next<&'static str>) -> Vec<&'static str> {
        match next {
            Next::Call(batch) => batch.into_iter().map(|packed| packed.item).collect(),
            Next::Wait(_) => Vec::new(),
        }
    }

    fn batch(next: Next<&'static str>) -> Vec<Packed<&'static str>> {
        let Next::Call(batch) = next else { panic!("nothing leaves") };
        batch
    }

    #[tokio::test]
    async fn call_leaves_when_it_is_full_or_after_lingering() {
        let (mut pack, now) = pack(9);
        assert!(matches!(pack.next(now), Next::Wait(None)));
        assert!(pack.push("a", 10, None, now), "there is a time to wait for");
        assert!(!pack.push("b", 10, None, now));
        assert!(matches!(pack.next(now), Next::Wait(Some(until)) if until == now + LINGER));
        assert_eq!(items(pack.next(now + LINGER)), ["a", "b"]);
        for _ in 0..9 {
            pack.push("x", 1, None, now);
        }
        assert!(matches!(pack.next(now), Next::Wait(Some(_))));
        assert!(pack.push("x", 1, None, now), "it is full");
        assert_eq!(items(pack.next(now)).len(), 10);
    }

    #[tokio::test]
    async fn bytes_fill_a_call_in_the_order_of_arrival() {
        let (mut pack, now) = pack(9);
        for (item, bytes) in [("a", 60), ("b", 50), ("c", 10), ("d", 100)] {
            pack.push(item, bytes, None, now);
        }
        assert_eq!(items(pack.next(now)), ["a"], "c would fit, and does not pass b");
        assert_eq!(items(pack.next(now)), ["b", "c"]);
        assert_eq!(items(pack.next(now)), ["d"]);
    }

    #[tokio::test]
    async fn number_of_calls_is_limited() {
        let (mut pack, now) = pack(1);
        pack.push("a", 100, None, now);
        pack.push("b", 100, None, now);
        assert_eq!(items(pack.next(now)), ["a"]);
        assert!(matches!(pack.next(now + LINGER), Next::Wait(None)));
        pack.call_ended();
        assert_eq!(items(pack.next(now)), ["b"]);
    }

    #[tokio::test]
    async fn one_message_of_a_group_is_in_flight() {
        let (mut pack, now) = pack(9);
        for (item, group) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a")] {
            pack.push(item, 1, of_group(group), now);
        }
        pack.hurry();
        let mut first = batch(pack.next(now));
        assert_eq!(first.iter().map(|packed| packed.item).collect::<Vec<_>>(), ["a1", "b1"]);
        let (b1, a1) = (first.pop().unwrap(), first.pop().unwrap());
        pack.settle(&b1);
        assert!(matches!(pack.next(now + LINGER), Next::Wait(None)), "a1 is not settled");
        pack.again(a1, now + LINGER * 2);
        assert!(matches!(pack.next(now + LINGER), Next::Wait(Some(until)) if until == now + LINGER * 2));
        let a1 = batch(pack.next(now + LINGER * 2)).pop().unwrap();
        assert_eq!(a1.item, "a1");
        pack.settle(&a1);
        assert_eq!(items(pack.next(now + LINGER * 2)), ["a2"]);
    }

    #[tokio::test]
    async fn given_up_message_takes_those_behind_it_along() {
        let (mut pack, now) = pack(9);
        for item in ["1", "2", "3"] {
            pack.push(item, 1, of_group("g"), now);
        }
        let first = batch(pack.next(now + LINGER)).pop().unwrap();
        assert_eq!(pack.give_up(first), ("1", vec!["2", "3"]));
        assert_eq!(pack.len(), 0);
        pack.push("4", 1, of_group("g"), now);
        assert_eq!(items(pack.next(now + LINGER)), ["4"], "the group goes on");
    }

    #[tokio::test]
    async fn flushed_messages_do_not_linger_and_later_ones_do() {
        let (mut pack, now) = pack(9);
        pack.push("a", 1, None, now);
        let flushed = pack.hurry();
        let first = batch(pack.next(now));
        assert_eq!(first.iter().map(|packed| packed.item).collect::<Vec<_>>(), ["a"]);
        pack.push("b", 1, None, now);
        assert!(matches!(pack.next(now), Next::Wait(Some(_))));
        assert!(pack.settled_below() < flushed);
        pack.settle(&first[0]);
        assert_eq!((pack.settled_below(), pack.len()), (flushed, 1));
    }

    #[tokio::test]
    async fn flush_does_not_wait_for_a_later_message_to_linger() {
        let (mut pack, now) = pack(9);
        pack.push("1", 1, of_group("g"), now);
        pack.push("2", 1, of_group("g"), now);
        pack.hurry();
        let first = batch(pack.next(now)).pop().unwrap();
        pack.push("new", 1, of_group("another"), now);
        pack.settle(&first);
        assert_eq!(items(pack.next(now)), ["new", "2"]);
    }

    #[tokio::test]
    async fn retries_are_sent_before_new_messages() {
        let (mut pack, now) = pack(9);
        for item in ["a", "b", "c"] {
            pack.push(item, 1, None, now);
        }
        for (again, at) in batch(pack.next(now + LINGER)).into_iter().zip([2, 1, 3]) {
            pack.again(again, now + LINGER * at);
        }
        pack.push("new", 1, None, now);
        assert_eq!(items(pack.next(now + LINGER * 2)), ["b", "a", "new"]);
        assert!(matches!(pack.next(now + LINGER * 2), Next::Wait(Some(until)) if until == now + LINGER * 3));
        assert_eq!(items(pack.next(now + LINGER * 3)), ["c"]);
    }
}
