//! The status of each record of a batch. A record counts as failed until it is done.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::plan::Plan;
use crate::per_lane::PerLane;
use crate::record::{Batch, Record};

/// A slot for each record, and the order in which the records may run.
///
/// Only [`BatchState::finish`] makes a slot [`Status::Done`]. A record that panics, is cancelled, runs out of time or
/// never starts keeps its slot, and so counts as failed.
pub(super) struct BatchState {
    batch: PerLane<Batch>,
    /// Not in batch order: see [`BatchState::slot`].
    slots: Vec<AtomicUsize>,
    has_copies: bool,
    plan: Plan,
    /// Set once the batch is answered. No record starts after that.
    closed: AtomicBool,
}

/// The status of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// The record has not started.
    Waiting,
    /// The record has started and not ended.
    Running,
    Failed,
    Done,
    /// The batch ended while the record ran.
    CutOff,
    /// The batch ended before the record started.
    NotRun,
    /// The host did not allow the record to start.
    Skipped,
    /// A copy of the message at that index. It does not run and takes that record's status.
    CopyOf(usize),
}

impl Status {
    const FIRST_COPY: usize = 7;

    fn to_slot(self) -> usize {
        match self {
            Self::Waiting => 0,
            Self::Running => 1,
            Self::Failed => 2,
            Self::Done => 3,
            Self::CutOff => 4,
            Self::NotRun => 5,
            Self::Skipped => 6,
            Self::CopyOf(index) => index.saturating_add(Self::FIRST_COPY),
        }
    }

    fn of_slot(slot: usize) -> Self {
        match slot {
            0 => Self::Waiting,
            1 => Self::Running,
            2 => Self::Failed,
            3 => Self::Done,
            4 => Self::CutOff,
            5 => Self::NotRun,
            6 => Self::Skipped,
            copy => Self::CopyOf(copy - Self::FIRST_COPY),
        }
    }

    /// Returns whether the record is to leave the queue. Every other record is retried.
    pub(crate) fn is_done(self) -> bool {
        match self {
            Self::Done => true,
            Self::Waiting
            | Self::Running
            | Self::Failed
            | Self::CutOff
            | Self::NotRun
            | Self::Skipped
            | Self::CopyOf(_) => false,
        }
    }
}

/// A record, with the records that share its settlement.
pub(crate) struct RecordSet {
    pub(crate) index: usize,
    /// Copies of the same message.
    pub(crate) copies: Vec<usize>,
    /// On a FIFO queue, the records behind it in its group, with their copies. They are retried with it. With
    /// [`Fifo::StopBatch`](super::Fifo) its line also holds records of other groups. These are left out, so they are
    /// not delayed.
    pub(crate) behind: Vec<usize>,
}

/// The statuses of a batch at its end.
pub(super) struct Closed {
    pub(super) statuses: Vec<Status>,
    /// The indices of the records that only the end of the batch settled.
    pub(super) unsettled: Vec<usize>,
}

impl BatchState {
    /// Creates a batch whose records have not started. The plan is made before copies are marked.
    pub(super) fn new(batch: Batch, plan: impl FnOnce(&PerLane<Batch>) -> Plan) -> Self {
        let batch = PerLane::new(batch);
        let slots = batch.records.len().next_multiple_of(STRIDE);
        let slots = std::iter::repeat_with(|| AtomicUsize::new(Status::Waiting.to_slot())).take(slots).collect();
        let plan = plan(&batch);
        let mut state = Self { batch, slots, has_copies: false, plan, closed: AtomicBool::new(false) };
        for index in 0..state.len() {
            if let Some(first) = state.batch.records.copy_of(index) {
                *state.slot_mut(index) = AtomicUsize::new(Status::CopyOf(first).to_slot());
                state.has_copies = true;
            }
        }
        state
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

    /// Returns the maximum number of concurrent records.
    pub(super) fn width(&self) -> usize {
        self.plan.width()
    }

    /// Takes the next record that may run now. Copies are skipped.
    pub(super) fn next(&self) -> Option<usize> {
        while !self.is_closed() {
            let index = self.plan.next()?;
            if self.change(index, Status::Waiting, Status::Running) {
                return Some(index);
            }
        }
        None
    }

    /// Settles a record that has run, or that was not allowed to run. Returns false if the end of the batch has already
    /// settled it.
    pub(super) fn finish(&self, index: usize, status: Status) -> bool {
        self.change(index, Status::Running, status)
    }

    /// Lets the line of a finished record continue, if the record is done.
    pub(super) fn go_on(&self, index: usize, status: Status) {
        self.plan.finish(index, status.is_done());
    }

    /// Returns the record, with the records that share its settlement.
    pub(super) fn record_set(&self, index: usize) -> RecordSet {
        let mut behind = self.plan.behind(index);
        if !behind.is_empty() {
            let group = self.group(index);
            behind.retain(|&each| self.group(each) == group);
        }
        let and_copies = |index| [index].into_iter().chain(self.copies_of(index));
        let behind = behind.into_iter().flat_map(and_copies).collect();
        RecordSet { index, copies: self.copies_of(index), behind }
    }

    fn group(&self, index: usize) -> Option<String> {
        self.record(index).group_id().ok().flatten().map(|group| group.into_owned())
    }

    fn copies_of(&self, index: usize) -> Vec<usize> {
        // Few batches have copies. To look for them at every failure would take time quadratic in the number of
        // records.
        let indices = if self.has_copies { 0..self.len() } else { 0..0 };
        indices.filter(|&each| self.status(each) == Status::CopyOf(index)).collect()
    }

    /// Ends the batch and returns the final status of each record. A copy has the status of its first record. No slot
    /// changes after that.
    pub(super) fn close(&self) -> Closed {
        self.closed.store(true, Ordering::Relaxed);
        let mut unsettled = Vec::new();
        let end = |index| {
            let is_unsettled = match self.status(index) {
                // It may begin at the same moment.
                Status::Waiting => {
                    self.change(index, Status::Waiting, Status::NotRun)
                        || self.change(index, Status::Running, Status::CutOff)
                }
                Status::Running => self.change(index, Status::Running, Status::CutOff),
                Status::Failed
                | Status::Done
                | Status::CutOff
                | Status::NotRun
                | Status::Skipped
                | Status::CopyOf(_) => false,
            };
            if is_unsettled {
                unsettled.push(index);
            }
            self.status(index)
        };
        let mut statuses: Vec<_> = (0..self.len()).map(end).collect();
        for index in 0..statuses.len() {
            if let Status::CopyOf(first) = statuses[index] {
                statuses[index] = statuses[first];
            }
        }
        Closed { statuses, unsettled }
    }

    /// Returns whether the batch has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub(super) fn status(&self, index: usize) -> Status {
        Status::of_slot(self.slot(index).load(Ordering::Acquire))
    }

    /// Changes a slot from `from` to `to`. Returns whether it did.
    fn change(&self, index: usize, from: Status, to: Status) -> bool {
        // Release: the effects of the record's run become visible before its slot is done.
        let changed =
            self.slot(index).compare_exchange(from.to_slot(), to.to_slot(), Ordering::Release, Ordering::Relaxed);
        changed.is_ok()
    }

    /// Returns the slot of a record. Concurrent records are neighbours in the batch, but their slots are apart. On one
    /// cache line, threads would contend for it at every record.
    fn slot(&self, index: usize) -> &AtomicUsize {
        &self.slots[self.place(index)]
    }

    fn slot_mut(&mut self, index: usize) -> &mut AtomicUsize {
        let place = self.place(index);
        &mut self.slots[place]
    }

    fn place(&self, index: usize) -> usize {
        let rows = self.slots.len() / STRIDE;
        index % STRIDE * rows + index / STRIDE
    }
}

/// More than the number of slots on a cache line.
const STRIDE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_record_starts_after_the_batch_is_closed() {
        let state = BatchState::new(Batch::of_event(r#"{"Records":[{},{}]}"#), |_| Plan::any_order(2));
        assert_eq!(state.next(), Some(0));
        assert_eq!(state.close().statuses, [Status::CutOff, Status::NotRun]);
        assert_eq!(state.next(), None);
    }

    #[test]
    fn no_record_becomes_done_after_the_batch_is_closed() {
        let state = BatchState::new(Batch::of_event(r#"{"Records":[{},{}]}"#), |_| Plan::any_order(2));
        assert_eq!((state.next(), state.next()), (Some(0), Some(1)));
        state.finish(0, Status::Done);
        assert_eq!(state.close().statuses, [Status::Done, Status::CutOff]);
        state.finish(1, Status::Done);
        assert_eq!(state.close().statuses, [Status::Done, Status::CutOff], "the answer has left");
    }

    #[test]
    fn copy_has_the_status_of_the_first_record() {
        let record = r#"{"messageId":"a"}"#;
        let state =
            BatchState::new(Batch::of_event(&format!(r#"{{"Records":[{record},{record}]}}"#)), |_| Plan::any_order(2));
        assert_eq!((state.next(), state.next()), (Some(0), None), "a copy does not run");
        state.finish(0, Status::Done);
        assert_eq!(state.close().statuses, [Status::Done, Status::Done]);
    }

    #[test]
    fn records_behind_a_head_include_copies_and_no_other_group() {
        let record = |(id, group)| format!(r#"{{"messageId":"{id}","attributes":{{"MessageGroupId":"{group}"}}}}"#);
        let records = [("head", "a"), ("tail", "a"), ("tail", "a"), ("other", "b")].map(record).join(",");
        let batch = Batch::of_event(&format!(r#"{{"Records":[{records}]}}"#));
        let state = BatchState::new(batch, |_| Plan::in_lines(4, vec![vec![0, 1, 3]]));
        assert_eq!(state.next(), Some(0));
        assert_eq!(state.record_set(0).behind, [1, 2]);
    }
}
