//! What is known of each record of a batch. All have failed, until they are done.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::per_lane::PerLane;
use crate::record::{Batch, Record};

/// A slot for each record.
///
/// Only [`Ledger::finish`] makes a slot [`Standing::Done`]. Whatever panics, is cancelled, runs out of time or never
/// begins leaves its slot as it was, which is failed.
pub(super) struct Ledger {
    batch: PerLane<Batch>,
    /// Not in the order of the batch: see [`Ledger::slot`].
    slots: Vec<AtomicU32>,
}

/// How a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    NotRun,
    /// Begun, and not come to an end. Once the batch is answered: cut off.
    Running,
    Failed,
    Done,
    /// A copy of the message in that slot: it fares as that one does.
    CopyOf(u32),
}

impl Standing {
    const FIRST_COPY: u32 = 4;

    fn to_slot(self) -> u32 {
        match self {
            Self::NotRun => 0,
            Self::Running => 1,
            Self::Failed => 2,
            Self::Done => 3,
            Self::CopyOf(index) => index.saturating_add(Self::FIRST_COPY),
        }
    }

    fn of_slot(slot: u32) -> Self {
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
        let slots = std::iter::repeat_with(|| AtomicU32::new(Standing::NotRun.to_slot())).take(slots).collect();
        Self { batch: PerLane::new(batch), slots }
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

    /// Finds the records whose id another one before them has. They fare as that one does, and so must not run.
    pub(super) fn mark_copies(&self) {
        let mut first_of = HashMap::with_capacity(self.len());
        for index in 0..self.len() {
            let Some(id) = self.message_id(index) else { continue };
            match first_of.entry(id) {
                Entry::Vacant(vacant) => {
                    vacant.insert(index);
                }
                Entry::Occupied(first) => {
                    let first = u32::try_from(*first.get());
                    self.set(index, first.map_or(Standing::Failed, Standing::CopyOf));
                }
            }
        }
    }

    /// Begins a record, unless it is a copy of another.
    pub(super) fn begin(&self, index: usize) -> bool {
        let begins = self.standing(index) == Standing::NotRun;
        if begins {
            self.set(index, Standing::Running);
        }
        begins
    }

    /// Settles a record that has run to its end.
    pub(super) fn finish(&self, index: usize, passed: bool) {
        self.set(index, if passed { Standing::Done } else { Standing::Failed });
    }

    /// How each record stands now, copies as what they are copies of. What happens to the ledger later changes nothing
    /// in it.
    pub(super) fn snapshot(&self) -> Vec<Standing> {
        let mut standings: Vec<_> = (0..self.len()).map(|index| self.standing(index)).collect();
        for index in 0..standings.len() {
            if let Standing::CopyOf(first) = standings[index] {
                standings[index] = standings[first as usize];
            }
        }
        standings
    }

    pub(super) fn standing(&self, index: usize) -> Standing {
        Standing::of_slot(self.slot(index).load(Ordering::Acquire))
    }

    fn set(&self, index: usize, standing: Standing) {
        // What the record did happens before its slot says that it is done.
        self.slot(index).store(standing.to_slot(), Ordering::Release);
    }

    /// Records that run at the same time are neighbours in the batch. Their slots are not: on one cache line, threads
    /// would take it from each other at every record.
    fn slot(&self, index: usize) -> &AtomicU32 {
        let rows = self.slots.len() / STRIDE;
        &self.slots[index % STRIDE * rows + index / STRIDE]
    }
}

/// More than there are slots on a cache line.
const STRIDE: usize = 32;
