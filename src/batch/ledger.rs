//! What is known of each record of a batch. All have failed, until they are done.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::per_lane::PerLane;
use crate::record::{Batch, Record};

/// A slot for each record.
///
/// Only [`Ledger::finish`] makes a slot [`Status::Done`]. Whatever panics, is cancelled, runs out of time or never
/// begins leaves its slot as it was, which is failed.
pub(super) struct Ledger {
    batch: PerLane<Batch>,
    /// Not in the order of the batch: see [`Ledger::slot`].
    slots: Vec<AtomicUsize>,
    has_copies: bool,
}

/// How a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    NotRun,
    /// Begun, and not come to an end. Once the batch is answered: cut off.
    Running,
    Failed,
    Done,
    /// A copy of the message in that slot: it fares as that one does, and so must not run.
    CopyOf(usize),
}

impl Status {
    const FIRST_COPY: usize = 4;

    fn to_slot(self) -> usize {
        match self {
            Self::NotRun => 0,
            Self::Running => 1,
            Self::Failed => 2,
            Self::Done => 3,
            Self::CopyOf(index) => index.saturating_add(Self::FIRST_COPY),
        }
    }

    fn of_slot(slot: usize) -> Self {
        match slot {
            0 => Self::NotRun,
            1 => Self::Running,
            2 => Self::Failed,
            3 => Self::Done,
            copy => Self::CopyOf(copy - Self::FIRST_COPY),
        }
    }
}

impl Ledger {
    pub(super) fn new(batch: Batch) -> Self {
        let slots = batch.records.len().next_multiple_of(STRIDE);
        let slots = std::iter::repeat_with(|| AtomicUsize::new(Status::NotRun.to_slot())).take(slots).collect();
        let mut ledger = Self { batch: PerLane::new(batch), slots, has_copies: false };
        for index in 0..ledger.len() {
            if let Some(first) = ledger.batch.records.copy_of(index) {
                ledger.set(index, Status::CopyOf(first));
                ledger.has_copies = true;
            }
        }
        ledger
    }

    pub(super) fn len(&self) -> usize {
        self.batch.records.len()
    }

    pub(super) fn batch(&self) -> &PerLane<Batch> {
        &self.batch
    }

    pub(super) fn record(&self, index: usize) -> Record {
        Record::new(self.batch.clone(), index)
    }

    /// The id to report a record by, if it has one.
    pub(super) fn message_id(&self, index: usize) -> Option<Cow<'_, str>> {
        self.batch.records.message_id(index)
    }

    /// The group of a FIFO queue's record.
    pub(super) fn group(&self, index: usize) -> Option<String> {
        self.record(index).group_id().ok().flatten().map(Cow::into_owned)
    }

    /// The copies of a record.
    pub(super) fn copies_of(&self, index: usize) -> Vec<usize> {
        // Hardly any batch has some, and to look for them at every failure would take the square of its records.
        let indices = if self.has_copies { 0..self.len() } else { 0..0 };
        indices.filter(|&each| self.status(each) == Status::CopyOf(index)).collect()
    }

    /// Begins a record, unless it is a copy of another.
    pub(super) fn begin(&self, index: usize) -> bool {
        let begins = self.status(index) == Status::NotRun;
        if begins {
            self.set(index, Status::Running);
        }
        begins
    }

    /// Settles a record that has run to its end.
    pub(super) fn finish(&self, index: usize, passed: bool) {
        self.set(index, if passed { Status::Done } else { Status::Failed });
    }

    /// How each record stands now, copies as what they are copies of. What happens to the ledger later changes nothing
    /// in it.
    pub(super) fn snapshot(&self) -> Vec<Status> {
        let mut statuses: Vec<_> = (0..self.len()).map(|index| self.status(index)).collect();
        for index in 0..statuses.len() {
            if let Status::CopyOf(first) = statuses[index] {
                statuses[index] = statuses[first];
            }
        }
        statuses
    }

    pub(super) fn status(&self, index: usize) -> Status {
        Status::of_slot(self.slot(index).load(Ordering::Acquire))
    }

    fn set(&self, index: usize, status: Status) {
        // What the record did happens before its slot says that it is done.
        self.slot(index).store(status.to_slot(), Ordering::Release);
    }

    /// Records that run at the same time are neighbours in the batch. Their slots are not: on one cache line, threads
    /// would take it from each other at every record.
    fn slot(&self, index: usize) -> &AtomicUsize {
        let rows = self.slots.len() / STRIDE;
        &self.slots[index % STRIDE * rows + index / STRIDE]
    }
}

/// More than there are slots on a cache line.
const STRIDE: usize = 32;
