//! Gathers received messages into batches.
//!
//! A batch goes out when its window ends, when it has all the messages it may have, or when the next one would take its
//! event over 6 MB. On a FIFO queue a group is in one batch at a time, and its messages never overtake each other.

mod permits;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use crate::event::{ENVELOPE_BYTES, Record};

pub use self::permits::{Permit, Permits};
use super::config::Batching;

/// What Lambda takes as the payload of one invocation.
const MAX_EVENT_BYTES: usize = 6_291_456;

/// Messages that wait for their batch, and what is in flight.
///
/// Time is since a moment of the caller's choice, and never goes back.
#[derive(Debug)]
pub struct Gatherer {
    batching: Batching,
    permits: Permits,
    /// As they were received. There is a bound on it for a caller that heeds [`Gatherer::room`].
    waiting: VecDeque<Waiting>,
    groups_in_flight: HashSet<String>,
}

/// A message that waits for its batch.
#[derive(Debug)]
pub struct Waiting {
    pub record: Record,
    /// When it was received.
    pub since: Duration,
}

/// A batch that is to go out now. It is in flight until [`Gatherer::finish`] takes it back.
#[derive(Debug)]
#[must_use = "its groups and its permit are in use until it is finished"]
pub struct Batch {
    records: Vec<Record>,
    /// When the first of them was received.
    since: Duration,
    permit: Permit,
}

impl Batch {
    /// Never none.
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

    /// How many messages may be received with so many places at the function. A message beyond it would wait for a place,
    /// while its visibility timeout runs out unheard.
    pub fn room(&self, places: usize) -> usize {
        (places.min(self.permits.free()) * self.batching.size()).saturating_sub(self.waiting.len())
    }

    /// How many more batches may be with the function at a time.
    pub fn free(&self) -> usize {
        self.permits.free()
    }

    /// How many batches the waiting messages make. Those whose group is in flight go out when that is back, with the place
    /// that it had.
    pub fn batches(&self) -> usize {
        self.waiting.iter().filter(|waiting| !self.is_held_back(waiting)).count().div_ceil(self.batching.size())
    }

    /// How many messages wait for their batch.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes what one receive call returned, in its order.
    pub fn add(&mut self, now: Duration, received: impl IntoIterator<Item = Record>) {
        self.waiting.extend(received.into_iter().map(|record| Waiting { record, since: now }));
    }

    /// The next batch that is to go out now. There may be more: ask until there is none.
    pub fn next_batch(&mut self, now: Duration) -> Option<Batch> {
        let draft = self.draft()?;
        if !draft.is_full && now < draft.due_at {
            return None;
        }
        self.take(draft)
    }

    /// The same, for a mapping whose windows end at once.
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

    /// When to ask for the next batch, should nothing be added or finished before. None where only that can help.
    pub fn wake_at(&self) -> Option<Duration> {
        let draft = self.draft()?;
        (self.permits.free() > 0).then_some(draft.due_at)
    }

    /// A batch has its answer. `come_back` are the positions in it that are not deleted.
    ///
    /// Returned are messages that may not run any more, as they would overtake one of their group that comes back. Whoever
    /// polls gives them back to the queue, where they wait behind it. A message that has come back already is overtaken by
    /// none: it was received again while the rest of its batch ran.
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
        let (let_go, stay): (VecDeque<_>, VecDeque<_>) = self.waiting.drain(..).partition(is_stopped);
        self.waiting = stay;
        self.permits.give_back(batch.permit);
        let_go.into()
    }

    /// What has been received and is in no batch.
    pub fn into_waiting(self) -> Vec<Waiting> {
        self.waiting.into()
    }

    /// The batch that would go out next, and when. None where no message may go out.
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
            // One that is too large by itself goes out alone: held back, it would hold back all behind it.
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

/// The messages of a group that come back and have not been received again.
#[derive(Default)]
struct Missing {
    /// The number of the first of them; none where one has no number.
    first: Option<u128>,
    any: bool,
}

impl Missing {
    fn add(&mut self, record: &Record) {
        let number = record.sequence_number();
        self.first = if self.any { self.first.zip(number).map(|(first, number)| first.min(number)) } else { number };
        self.any = true;
    }

    /// Whether one of them comes before this record in their group. Where that is not known, it does.
    fn is_before(&self, record: &Record) -> bool {
        self.first.zip(record.sequence_number()).is_none_or(|(first, number)| first < number)
    }
}

struct Draft {
    /// Positions among those that wait. At least one, in order.
    chosen: Vec<usize>,
    is_full: bool,
    /// When its first message was received.
    since: Duration,
    /// When the window ends that its first message opened.
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
