//! Decides which messages share a call and when it is sent. Time comes in as an argument; nothing here waits or calls.
//!
//! A message is ready, behind another of its group, in a call, or waiting for another attempt. On a FIFO queue only one
//! message of a group at a time is not behind another, so no message passes an earlier one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::generations::Generations;
use crate::sqs::limits::MAX_ENTRIES;

/// A message with its number in the order of arrival.
#[derive(Debug)]
pub(super) struct Scheduled<T> {
    seq: u64,
    generation: u64,
    /// When it stops waiting for others.
    due: Instant,
    bytes: usize,
    /// The group whose other messages this one must not pass.
    pub(super) group: Option<Arc<str>>,
    pub(super) queued: T,
}

impl<T> Scheduled<T> {
    /// Changes the message's size.
    pub(super) fn resize(&mut self, bytes: usize) {
        self.bytes = bytes;
    }
}

/// The next action.
#[derive(Debug)]
pub(super) enum Next<T> {
    /// Send these messages in one call.
    Call(Vec<Scheduled<T>>),
    /// Wait until that time or the next event.
    Wait(Option<Instant>),
}

pub(super) struct Scheduler<T> {
    linger: Duration,
    max_bytes: usize,
    max_calls: usize,
    calls: usize,
    next_seq: u64,
    /// Messages that are ready: retries first, then new ones in the order of arrival.
    ready: VecDeque<Scheduled<T>>,
    ready_bytes: usize,
    /// Messages by the time of their next attempt.
    later: BTreeMap<(Instant, u64), Scheduled<T>>,
    /// The messages behind another of their group, by group.
    behind: HashMap<Arc<str>, VecDeque<Scheduled<T>>>,
    /// All messages that are here or in a call.
    generations: Generations,
}

impl<T> Scheduler<T> {
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
            generations: Generations::default(),
        }
    }

    /// Adds a message. Returns whether a call may now be due earlier.
    pub(super) fn push(&mut self, queued: T, bytes: usize, group: Option<Arc<str>>, now: Instant) -> bool {
        let seq = self.next_seq;
        self.next_seq += 1;
        let scheduled =
            Scheduled { seq, generation: self.generations.add(), due: now + self.linger, bytes, group, queued };
        if let Some(group) = &scheduled.group {
            if let Some(behind) = self.behind.get_mut(group) {
                behind.push_back(scheduled);
                return false;
            }
            self.behind.insert(group.clone(), VecDeque::new());
        }
        self.make_ready(scheduled);
        // If all calls are in flight, the end of a call wakes the driver.
        self.calls < self.max_calls && (self.ready.len() == 1 || self.is_full())
    }

    fn make_ready(&mut self, scheduled: Scheduled<T>) {
        self.ready_bytes += scheduled.bytes;
        self.ready.push_back(scheduled);
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
        for (_, scheduled) in std::mem::replace(&mut self.later, waiting).into_iter().rev() {
            self.ready_bytes += scheduled.bytes;
            self.ready.push_front(scheduled);
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
        for scheduled in &self.ready {
            due = Some(due.map_or(scheduled.due, |due| due.min(scheduled.due)));
            is_past |= self.generations.is_past(scheduled.generation);
        }
        due.filter(|_| !is_past)
    }

    fn take(&mut self, mut taken: Vec<Scheduled<T>>) -> Vec<Scheduled<T>> {
        self.calls += 1;
        taken.reserve(self.ready.len().min(MAX_ENTRIES));
        let mut room = self.max_bytes;
        while taken.len() < MAX_ENTRIES
            && let Some(scheduled) = self.ready.pop_front_if(|scheduled| scheduled.bytes <= room)
        {
            room -= scheduled.bytes;
            self.ready_bytes -= scheduled.bytes;
            taken.push(scheduled);
        }
        taken
    }

    /// Returns whether a call of the ready messages would have room left.
    pub(super) fn may_fill(&self) -> bool {
        !self.ready.is_empty() && !self.is_full()
    }

    /// Returns the next call's messages in the memory of a finished call's. If no call is due it returns none, and the
    /// call still counts.
    pub(super) fn next_in_place(&mut self, emptied: Vec<Scheduled<T>>, now: Instant) -> Vec<Scheduled<T>> {
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
    pub(super) fn settle(&mut self, scheduled: &Scheduled<T>) {
        self.generations.remove(scheduled.generation);
        if let Some(group) = &scheduled.group
            && let Some(behind) = self.behind.get_mut(group)
        {
            match behind.pop_front() {
                Some(next) => self.make_ready(next),
                None => drop(self.behind.remove(group)),
            }
        }
    }

    /// Removes a failed message, together with the messages of its group behind it, which must not pass it.
    pub(super) fn give_up(&mut self, scheduled: Scheduled<T>) -> (T, Vec<T>) {
        self.generations.remove(scheduled.generation);
        let behind = scheduled.group.as_ref().and_then(|group| self.behind.remove(group)).unwrap_or_default();
        for each in &behind {
            self.generations.remove(each.generation);
        }
        (scheduled.queued, behind.into_iter().map(|each| each.queued).collect())
    }

    /// Schedules another attempt of a message.
    pub(super) fn schedule_retry(&mut self, mut scheduled: Scheduled<T>, at: Instant) {
        scheduled.due = at;
        self.later.insert((at, scheduled.seq), scheduled);
    }

    /// Makes all present messages due without lingering. Returns the generation after them.
    pub(super) fn hurry(&mut self) -> u64 {
        self.generations.next_generation()
    }

    /// Returns the generation before which all messages are settled.
    pub(super) fn settled_below(&self) -> u64 {
        self.generations.settled_below()
    }

    pub(super) fn len(&self) -> usize {
        self.generations.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_millis(5);

    /// Creates a scheduler of names.
    fn scheduler(max_calls: usize) -> (Scheduler<&'static str>, Instant) {
        (Scheduler::new(LINGER, 100, max_calls), Instant::now())
    }

    fn of_group(group: &str) -> Option<Arc<str>> {
        Some(group.into())
    }

    fn items(next: Next<&'static str>) -> Vec<&'static str> {
        match next {
            Next::Call(batch) => batch.into_iter().map(|scheduled| scheduled.queued).collect(),
            Next::Wait(_) => Vec::new(),
        }
    }

    fn batch(next: Next<&'static str>) -> Vec<Scheduled<&'static str>> {
        let Next::Call(batch) = next else { panic!("nothing leaves") };
        batch
    }

    #[tokio::test]
    async fn call_leaves_when_it_is_full_or_after_lingering() {
        let (mut scheduler, now) = scheduler(9);
        assert!(matches!(scheduler.next(now), Next::Wait(None)));
        assert!(scheduler.push("a", 10, None, now), "there is a time to wait for");
        assert!(!scheduler.push("b", 10, None, now));
        assert!(matches!(scheduler.next(now), Next::Wait(Some(until)) if until == now + LINGER));
        assert_eq!(items(scheduler.next(now + LINGER)), ["a", "b"]);
        for _ in 0..9 {
            scheduler.push("x", 1, None, now);
        }
        assert!(matches!(scheduler.next(now), Next::Wait(Some(_))));
        assert!(scheduler.push("x", 1, None, now), "it is full");
        assert_eq!(items(scheduler.next(now)).len(), 10);
    }

    #[tokio::test]
    async fn bytes_fill_a_call_in_the_order_of_arrival() {
        let (mut scheduler, now) = scheduler(9);
        for (item, bytes) in [("a", 60), ("b", 50), ("c", 10), ("d", 100)] {
            scheduler.push(item, bytes, None, now);
        }
        assert_eq!(items(scheduler.next(now)), ["a"], "c would fit, and does not pass b");
        assert_eq!(items(scheduler.next(now)), ["b", "c"]);
        assert_eq!(items(scheduler.next(now)), ["d"]);
    }

    #[tokio::test]
    async fn number_of_calls_is_limited() {
        let (mut scheduler, now) = scheduler(1);
        scheduler.push("a", 100, None, now);
        scheduler.push("b", 100, None, now);
        assert_eq!(items(scheduler.next(now)), ["a"]);
        assert!(matches!(scheduler.next(now + LINGER), Next::Wait(None)));
        scheduler.call_ended();
        assert_eq!(items(scheduler.next(now)), ["b"]);
    }

    #[tokio::test]
    async fn one_message_of_a_group_is_in_flight() {
        let (mut scheduler, now) = scheduler(9);
        for (item, group) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a")] {
            scheduler.push(item, 1, of_group(group), now);
        }
        scheduler.hurry();
        let mut first = batch(scheduler.next(now));
        assert_eq!(first.iter().map(|scheduled| scheduled.queued).collect::<Vec<_>>(), ["a1", "b1"]);
        let (b1, a1) = (first.pop().unwrap(), first.pop().unwrap());
        scheduler.settle(&b1);
        assert!(matches!(scheduler.next(now + LINGER), Next::Wait(None)), "a1 is not settled");
        scheduler.schedule_retry(a1, now + LINGER * 2);
        assert!(matches!(scheduler.next(now + LINGER), Next::Wait(Some(until)) if until == now + LINGER * 2));
        let a1 = batch(scheduler.next(now + LINGER * 2)).pop().unwrap();
        assert_eq!(a1.queued, "a1");
        scheduler.settle(&a1);
        assert_eq!(items(scheduler.next(now + LINGER * 2)), ["a2"]);
    }

    #[tokio::test]
    async fn given_up_message_takes_those_behind_it_along() {
        let (mut scheduler, now) = scheduler(9);
        for item in ["1", "2", "3"] {
            scheduler.push(item, 1, of_group("g"), now);
        }
        let first = batch(scheduler.next(now + LINGER)).pop().unwrap();
        assert_eq!(scheduler.give_up(first), ("1", vec!["2", "3"]));
        assert_eq!(scheduler.len(), 0);
        scheduler.push("4", 1, of_group("g"), now);
        assert_eq!(items(scheduler.next(now + LINGER)), ["4"], "the group goes on");
    }

    #[tokio::test]
    async fn flushed_messages_do_not_linger_and_later_ones_do() {
        let (mut scheduler, now) = scheduler(9);
        scheduler.push("a", 1, None, now);
        let flushed = scheduler.hurry();
        let first = batch(scheduler.next(now));
        assert_eq!(first.iter().map(|scheduled| scheduled.queued).collect::<Vec<_>>(), ["a"]);
        scheduler.push("b", 1, None, now);
        assert!(matches!(scheduler.next(now), Next::Wait(Some(_))));
        assert!(scheduler.settled_below() < flushed);
        scheduler.settle(&first[0]);
        assert_eq!((scheduler.settled_below(), scheduler.len()), (flushed, 1));
    }

    #[tokio::test]
    async fn flush_does_not_wait_for_a_later_message_to_linger() {
        let (mut scheduler, now) = scheduler(9);
        scheduler.push("1", 1, of_group("g"), now);
        scheduler.push("2", 1, of_group("g"), now);
        scheduler.hurry();
        let first = batch(scheduler.next(now)).pop().unwrap();
        scheduler.push("new", 1, of_group("another"), now);
        scheduler.settle(&first);
        assert_eq!(items(scheduler.next(now)), ["new", "2"]);
    }

    #[tokio::test]
    async fn retries_are_sent_before_new_messages() {
        let (mut scheduler, now) = scheduler(9);
        for item in ["a", "b", "c"] {
            scheduler.push(item, 1, None, now);
        }
        for (again, at) in batch(scheduler.next(now + LINGER)).into_iter().zip([2, 1, 3]) {
            scheduler.schedule_retry(again, now + LINGER * at);
        }
        scheduler.push("new", 1, None, now);
        assert_eq!(items(scheduler.next(now + LINGER * 2)), ["b", "a", "new"]);
        assert!(matches!(scheduler.next(now + LINGER * 2), Next::Wait(Some(until)) if until == now + LINGER * 3));
        assert_eq!(items(scheduler.next(now + LINGER * 3)), ["c"]);
    }
}
