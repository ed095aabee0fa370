//! How each record of a batch stands. All have failed, until they are done.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::plan::Plan;
use crate::per_lane::PerLane;
use crate::record::{Batch, Record};

/// A slot for each record, and the order in which they may run.
///
/// Only [`BatchState::finish`] makes a slot [`Status::Done`]. Whatever panics, is cancelled, runs out of time or never
/// begins leaves its slot as it was, which is failed.
pub(super) struct BatchState {
    batch: PerLane<Batch>,
    /// Not in the order of the batch: see [`BatchState::slot`].
    slots: Vec<AtomicUsize>,
    has_copies: bool,
    plan: Plan,
    /// Set once the batch is answered: nothing begins from then on.
    closed: AtomicBool,
}

/// How a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It has not begun.
    Waiting,
    /// It has begun, and not come to an end.
    Running,
    Failed,
    Done,
    /// The batch ended while it ran.
    CutOff,
    /// The batch ended before it began.
    NotRun,
    /// The host did not let it begin.
    Skipped,
    /// A copy of the message in that slot: it fares as that one does, and so must not run.
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

    /// Returns whether the record is to leave the queue. Everything else comes back.
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

/// A record, and those that fare as it does.
pub(crate) struct RecordSet {
    pub(crate) index: usize,
    /// The same message once more.
    pub(crate) copies: Vec<usize>,
    /// On a FIFO queue the records of its group that stand behind it, each with its copies: they come back with it. Where a failure stops the
    /// batch, others stand in its line too; the batch is over then, and they are not delayed with it.
    pub(crate) behind: Vec<usize>,
}

/// How the records of a batch stand at its end.
pub(super) struct Closed {
    pub(super) statuses: Vec<Status>,
    /// Those that only the end of the batch has settled, by position.
    pub(super) unsettled: Vec<usize>,
}

impl BatchState {
    /// A batch none of whose records has begun. The plan is made of the messages that are there once, or first.
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

    /// How many records can run at a time, at most.
    pub(super) fn width(&self) -> usize {
        self.plan.width()
    }

    /// Takes the next record that may run now. Copies of others are left out.
    pub(super) fn next(&self) -> Option<usize> {
        while !self.is_closed() {
            let index = self.plan.next()?;
            if self.change(index, Status::Waiting, Status::Running) {
                return Some(index);
            }
        }
        None
    }

    /// Settles a record that has run to its end, or that was not let run. Says whether it was settled by this, and not by the end of the
    /// batch.
    pub(super) fn finish(&self, index: usize, status: Status) -> bool {
        self.change(index, Status::Running, status)
    }

    /// Lets the line of a record go on that has finished. Where it is not done, its line never does.
    pub(super) fn go_on(&self, index: usize, status: Status) {
        self.plan.finish(index, status.is_done());
    }

    /// The record, with those that fare as it does.
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
        // Hardly any batch has some, and to look for them at every failure would take the square of its records.
        let indices = if self.has_copies { 0..self.len() } else { 0..0 };
        indices.filter(|&each| self.status(each) == Status::CopyOf(index)).collect()
    }

    /// Ends the batch, and says how each record stands at its end, copies as what they are copies of. Nothing changes a slot from then on.
    pub(super) fn close(&self) -> Closed {
        self.closed.store(true, Ordering::Relaxed);
        let mut unsettled = Vec::new();
        let end = |index| {
            let is_unsettled = match self.status(index) {
                // It may begin in this very moment.
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

    /// Says whether this was the one to change it.
    fn change(&self, index: usize, from: Status, to: Status) -> bool {
        // What the record did happens before its slot says that it is done.
        let changed =
            self.slot(index).compare_exchange(from.to_slot(), to.to_slot(), Ordering::Release, Ordering::Relaxed);
        changed.is_ok()
    }

    /// Records that run at the same time are neighbours in the batch. Their slots are not: on one cache line, threads
    /// would take it from each other at every record.
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

/// More than there are slots on a cache line.
const STRIDE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_begins_once_the_batch_is_closed() {
        let state = BatchState::new(Batch::of_event(r#"{"Records":[{},{}]}"#), |_| Plan::any_order(2));
        assert_eq!(state.next(), Some(0));
        assert_eq!(state.close().statuses, [Status::CutOff, Status::NotRun]);
        assert_eq!(state.next(), None);
    }

    #[test]
    fn nothing_is_done_once_the_batch_is_closed() {
        let state = BatchState::new(Batch::of_event(r#"{"Records":[{},{}]}"#), |_| Plan::any_order(2));
        assert_eq!((state.next(), state.next()), (Some(0), Some(1)));
        state.finish(0, Status::Done);
        assert_eq!(state.close().statuses, [Status::Done, Status::CutOff]);
        state.finish(1, Status::Done);
        assert_eq!(state.close().statuses, [Status::Done, Status::CutOff], "the answer has left");
    }

    #[test]
    fn copies_stand_as_the_first_one_does() {
        let record = r#"{"messageId":"a"}"#;
        let state =
            BatchState::new(Batch::of_event(&format!(r#"{{"Records":[{record},{record}]}}"#)), |_| Plan::any_order(2));
        assert_eq!((state.next(), state.next()), (Some(0), None), "a copy does not run");
        state.finish(0, Status::Done);
        assert_eq!(state.close().statuses, [Status::Done, Status::Done]);
    }

    #[test]
    fn behind_a_head_are_copies_too_and_no_other_group() {
        let record = |(id, group)| format!(r#"{{"messageId":"{id}","attributes":{{"MessageGroupId":"{group}"}}}}"#);
        let records = [("head", "a"), ("tail", "a"), ("tail", "a"), ("other", "b")].map(record).join(",");
        let batch = Batch::of_event(&format!(r#"{{"Records":[{records}]}}"#));
        let state = BatchState::new(batch, |_| Plan::in_lines(4, vec![vec![0, 1, 3]]));
        assert_eq!(state.next(), Some(0));
        assert_eq!(state.record_set(0).behind, [1, 2]);
    }
}
