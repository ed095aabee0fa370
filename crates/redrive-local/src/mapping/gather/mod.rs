//! Gathers received messages into batches.
//!
//! A batch is ready when its window ends, when it is full, or when the next message would exceed 6 MB. On a FIFO queue
//! only one batch at a time contains messages of a group, and its messages keep their order.

mod permits;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use crate::event::{ENVELOPE_BYTES, Record};

pub use self::permits::{Permit, Permits};
use super::config::Batching;

/// Lambda's limit for the payload of one invocation.
const MAX_EVENT_BYTES: usize = 6_291_456;

/// Collects messages until their batch is ready, and tracks batches in flight.
///
/// Times are durations since a moment that the caller chooses. They never decrease.
#[derive(Debug)]
pub struct Gatherer {
    batching: Batching,
    permits: Permits,
    /// The messages in the order of their receives. A caller that respects [`Gatherer::room`] bounds their number.
    waiting: VecDeque<Waiting>,
    groups_in_flight: HashSet<String>,
}

/// A message that waits for its batch.
#[derive(Debug)]
pub struct Waiting {
    pub record: Record,
    /// The time of the receive.
    pub since: Duration,
}

/// A batch that is ready to be invoked. It is in flight until [`Gatherer::finish`] takes it back.
#[derive(Debug)]
#[must_use = "a batch keeps its groups and its permit in use until it is finished"]
pub struct Batch {
    records: Vec<Record>,
    /// The receive time of its first message.
    since: Duration,
    permit: Permit,
}

impl Batch {
    /// Returns the records, at least one.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    pub fn since(&self) -> Duration {
        self.since
    }
}

impl Gatherer {
    pub fn new(batching: Batching, permits: Permits) -> Self {
        Self { batching, permits, waiting: VecDeque::new(), groups_in_flight: HashSet::new() }
    }

    /// Returns how many messages may be received with this many slots at the function. A further message would wait
    /// for a slot while its visibility timeout runs.
    pub fn room(&self, slots: usize) -> usize {
        (slots.min(self.permits.free()) * self.batching.size()).saturating_sub(self.waiting.len())
    }

    /// Returns how many more batches may be in flight.
    pub fn free(&self) -> usize {
        self.permits.free()
    }

    /// Returns how many batches the waiting messages need. Messages of a group in flight follow its batch and use the
    /// same slot.
    pub fn batches(&self) -> usize {
        self.waiting.iter().filter(|waiting| !self.is_held_back(waiting)).count().div_ceil(self.batching.size())
    }

    /// Returns how many messages wait for their batch.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Adds the messages of one receive call, in their order.
    pub fn add(&mut self, now: Duration, received: impl IntoIterator<Item = Record>) {
        self.waiting.extend(received.into_iter().map(|record| Waiting { record, since: now }));
    }

    /// Returns a batch that is ready now. Several may be ready, so the caller repeats the call until it returns `None`.
    pub fn next_batch(&mut self, now: Duration) -> Option<Batch> {
        let draft = self.draft()?;
        if !draft.is_full && now < draft.due_at {
            return None;
        }
        self.take(draft)
    }

    /// Returns the next batch without waiting for its window to end.
    pub fn next_batch_without_window(&mut self) -> Option<Batch> {
        let draft = self.draft()?;
        self.take(draft)
    }

    fn take(&mut self, draft: Draft) -> Option<Batch> {
        let permit = self.permits.take()?;
        let mut chosen = draft.chosen.into_iter().peekable();
        let mut records = Vec::with_capacity(chosen.len());
        let mut left = VecDeque::with_capacity(self.waiting.len() - chosen.len());
        for (position, waiting) in self.waiting.drain(..).enumerate() {
            match chosen.next_if_eq(&position) {
                Some(_) => records.push(waiting.record),
                None => left.push_back(waiting),
            }
        }
        self.waiting = left;
        self.groups_in_flight.extend(groups(&records));
        Some(Batch { records, since: draft.since, permit })
    }

    /// Returns the time of the next batch, or `None` if only another message or a finished batch can make one ready.
    pub fn wake_at(&self) -> Option<Duration> {
        let draft = self.draft()?;
        (self.permits.free() > 0).then_some(draft.due_at)
    }

    /// Ends a batch. `come_back` contains the positions of the messages that are not deleted.
    ///
    /// Returns waiting messages that must not run, because an earlier message of their group is retried. The caller
    /// makes them visible again, and SQS delivers them after that message. A retried message that was received again
    /// while its batch ran holds back no others.
    pub fn finish(&mut self, batch: Batch, come_back: &[usize]) -> Vec<Waiting> {
        for group in groups(&batch.records) {
            self.groups_in_flight.remove(&group);
        }
        let received: HashSet<&str> = self.waiting.iter().map(|waiting| waiting.record.message_id()).collect();
        let mut missing: HashMap<&str, Missing> = HashMap::new();
        for record in come_back.iter().map(|&position| &batch.records[position]) {
            let Some(group) = record.group().filter(|_| !received.contains(record.message_id())) else { continue };
            missing.entry(group).or_default().add(record);
        }
        let is_stopped = |waiting: &Waiting| {
            let missing = waiting.record.group().and_then(|group| missing.get(group));
            missing.is_some_and(|missing| missing.is_before(&waiting.record))
        };
        let (released, stay): (VecDeque<_>, VecDeque<_>) = self.waiting.drain(..).partition(is_stopped);
        self.waiting = stay;
        self.permits.give_back(batch.permit);
        released.into()
    }

    /// Returns the messages that are in no batch.
    pub fn into_waiting(self) -> Vec<Waiting> {
        self.waiting.into()
    }

    /// Returns the next batch and its time, or `None` if no message may run.
    fn draft(&self) -> Option<Draft> {
        let mut draft: Option<Draft> = None;
        let mut bytes = ENVELOPE_BYTES;
        for (position, waiting) in self.waiting.iter().enumerate() {
            let Waiting { record, since } = waiting;
            if self.is_held_back(waiting) {
                continue;
            }
            bytes += record.added_bytes();
            let draft = draft.get_or_insert_with(|| Draft::new(*since, *since + self.batching.window()));
            // A message that exceeds the limit alone becomes its own batch. Held back, it would block all later
            // messages.
            if bytes > MAX_EVENT_BYTES && !draft.chosen.is_empty() {
                draft.is_full = true;
                break;
            }
            draft.chosen.push(position);
            if draft.chosen.len() == self.batching.size() {
                draft.is_full = true;
                break;
            }
        }
        draft
    }

    fn is_held_back(&self, waiting: &Waiting) -> bool {
        waiting.record.group().is_some_and(|group| self.groups_in_flight.contains(group))
    }
}

/// The messages of a group that are retried and were not received again.
#[derive(Default)]
struct Missing {
    /// The sequence number of the first message, or `None` if any message has no number.
    first: Option<u128>,
    any: bool,
}

impl Missing {
    fn add(&mut self, record: &Record) {
        let number = record.sequence_number();
        self.first = if self.any { self.first.zip(number).map(|(first, number)| first.min(number)) } else { number };
        self.any = true;
    }

    /// Returns whether a missing message precedes this record in their group. Assumes so if the order is unknown.
    fn is_before(&self, record: &Record) -> bool {
        self.first.zip(record.sequence_number()).is_none_or(|(first, number)| first < number)
    }
}

struct Draft {
    /// The positions of the messages among the waiting ones, ascending. Never empty.
    chosen: Vec<usize>,
    is_full: bool,
    /// The receive time of the first message.
    since: Duration,
    /// The end of the window that the first message opened.
    due_at: Duration,
}

impl Draft {
    fn new(since: Duration, due_at: Duration) -> Self {
        Self { chosen: Vec::new(), is_full: false, since, due_at }
    }
}

fn groups(records: &[Record]) -> impl Iterator<Item = String> {
    records.iter().filter_map(Record::group).map(str::to_owned)
}
