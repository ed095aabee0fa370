//! Gathers received messages into batches.
//!
//! A batch goes out when its window ends, when it has all the messages it may have, or when the next one would take its
//! event over 6 MB. On a FIFO queue a group is in one batch at a time, and its messages never overtake each other.

mod permits;
#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

pub(crate) use self::permits::{Permit, Permits};
use super::config::Batching;
use crate::sqs::event::{ENVELOPE_BYTES, Record};

/// What Lambda takes as the payload of one invocation.
const MAX_EVENT_BYTES: usize = 6_291_456;

/// Messages that wait for their batch, and what is in flight.
///
/// Time is since a moment of the caller's choice, and never goes back.
#[derive(Debug)]
pub(crate) struct Gatherer {
    batching: Batching,
    permits: Permits,
    /// As they were received. There is a bound on it for a caller that heeds [`Gatherer::room`].
    waiting: VecDeque<Waiting>,
    groups_in_flight: HashSet<String>,
}

#[derive(Debug)]
struct Waiting {
    record: Record,
    since: Duration,
}

/// A batch that is to go out now. It is in flight until [`Gatherer::finish`] takes it back.
#[derive(Debug)]
#[must_use = "its groups and its permit are in use until it is finished"]
pub(crate) struct Batch {
    records: Vec<Record>,
    permit: Permit,
}

impl Batch {
    /// Never none.
    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }
}

impl Gatherer {
    pub(crate) fn new(batching: Batching, permits: Permits) -> Self {
        Self { batching, permits, waiting: VecDeque::new(), groups_in_flight: HashSet::new() }
    }

    /// How many messages may be received now. Each beyond it would wait for a permit, while its visibility timeout
    /// runs out unheard.
    pub(crate) fn room(&self) -> usize {
        (self.permits.free() * self.batching.size()).saturating_sub(self.waiting.len())
    }

    /// How many messages wait for their batch.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes what one receive call returned, in its order.
    pub(crate) fn add(&mut self, now: Duration, received: impl IntoIterator<Item = Record>) {
        self.waiting.extend(received.into_iter().map(|record| Waiting { record, since: now }));
    }

    /// The next batch that is to go out now. There may be more: ask until there is none.
    pub(crate) fn next_batch(&mut self, now: Duration) -> Option<Batch> {
        let Draft { chosen, is_full, due_at } = self.draft()?;
        if !is_full && now < due_at {
            return None;
        }
        let permit = self.permits.take()?;
        let mut chosen = chosen.into_iter().peekable();
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
        Some(Batch { records, permit })
    }

    /// When to ask for the next batch, should nothing be added or finished before. None where only that can help.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        let draft = self.draft()?;
        (self.permits.free() > 0).then_some(draft.due_at)
    }

    /// A batch has its answer. `come_back` are the positions in it that are not deleted.
    ///
    /// Returned are messages that may not run any more. They were received behind one of their group that now comes
    /// back, and would overtake it. Whoever polls lets go of them: they come back behind it.
    pub(crate) fn finish(&mut self, batch: Batch, come_back: &[usize]) -> Vec<Record> {
        for group in groups(&batch.records) {
            self.groups_in_flight.remove(&group);
        }
        let stopped: HashSet<&str> = come_back.iter().filter_map(|&position| batch.records[position].group()).collect();
        let is_stopped = |waiting: &Waiting| waiting.record.group().is_some_and(|group| stopped.contains(group));
        let (let_go, stay): (VecDeque<_>, VecDeque<_>) = self.waiting.drain(..).partition(is_stopped);
        self.waiting = stay;
        self.permits.give_back(batch.permit);
        let_go.into_iter().map(|waiting| waiting.record).collect()
    }

    /// What has been received and is in no batch.
    pub(crate) fn into_waiting(self) -> Vec<Record> {
        self.waiting.into_iter().map(|waiting| waiting.record).collect()
    }

    /// The batch that would go out next, and when. None where no message may go out.
    fn draft(&self) -> Option<Draft> {
        let mut draft: Option<Draft> = None;
        let mut bytes = ENVELOPE_BYTES;
        for (position, Waiting { record, since }) in self.waiting.iter().enumerate() {
            if record.group().is_some_and(|group| self.groups_in_flight.contains(group)) {
                continue;
            }
            bytes += record.added_bytes();
            let draft = draft.get_or_insert_with(|| Draft::new(*since + self.batching.window()));
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
}

struct Draft {
    /// Positions among those that wait. At least one, in order.
    chosen: Vec<usize>,
    is_full: bool,
    /// When the window ends that its first message opened.
    due_at: Duration,
}

impl Draft {
    fn new(due_at: Duration) -> Self {
        Self { chosen: Vec::new(), is_full: false, due_at }
    }
}

fn groups(records: &[Record]) -> impl Iterator<Item = String> {
    records.iter().filter_map(Record::group).map(str::to_owned)
}
