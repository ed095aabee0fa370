//! Which record may run next. No clock, no I/O: indices in, indices out.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::fifo::{self, BatchSource, Fifo, FifoLines};
use crate::per_lane::PerLane;
use crate::record::Batch;

/// The order in which the records of a batch may run.
pub(super) enum Plan {
    /// Any record at any time, from this one on: as a standard queue has it, thousands at a time.
    AnyOrder {
        next: Alone<AtomicUsize>,
        len: usize,
    },
    InLines(Mutex<FifoLines>),
}

/// Alone on its cache lines. All threads change the counter at every record, and the data next to it, which they only read, would
/// have to be fetched again each time.
#[repr(align(128))]
pub(super) struct Alone<T>(T);

impl Plan {
    /// The order in which the records of a batch from that queue may run.
    pub(super) fn of(batch: &PerLane<Batch>, source: &BatchSource, fifo: Fifo) -> Self {
        let records = batch.records.len();
        if source.is_fifo() { Self::in_lines(records, fifo::lines(batch, fifo)) } else { Self::any_order(records) }
    }

    pub(super) fn any_order(records: usize) -> Self {
        Self::AnyOrder { next: Alone(AtomicUsize::new(0)), len: records }
    }

    /// Each of the lines runs in its order, at the same time as the others.
    pub(super) fn in_lines(records: usize, lines: Vec<Vec<usize>>) -> Self {
        Self::InLines(Mutex::new(FifoLines::new(records, lines)))
    }

    /// How many records can run at a time, at most. Asked before the first one is taken.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::AnyOrder { len, .. } => *len,
            Self::InLines(lines) => lock(lines).width(),
        }
    }

    /// Takes the next record that may run now. It runs until [`Plan::finish`] is told of its end.
    ///
    /// At the end of a record at most one more becomes ready. So whoever has finished one and then finds none here may
    /// stop asking: for each record to come there is another who will.
    pub(super) fn next(&self) -> Option<usize> {
        match self {
            Self::AnyOrder { next, len } => {
                let index = next.0.fetch_add(1, Ordering::Relaxed);
                (index < *len).then_some(index)
            }
            Self::InLines(lines) => lock(lines).next(),
        }
    }

    /// What stands behind a record that was taken, in the order of its line.
    pub(super) fn behind(&self, index: usize) -> Vec<usize> {
        match self {
            Self::AnyOrder { .. } => Vec::new(),
            Self::InLines(lines) => lock(lines).behind(index),
        }
    }

    /// A record that was taken has come to its end. Where it failed, its line is never ready again.
    pub(super) fn finish(&self, index: usize, is_done: bool) {
        match self {
            Self::AnyOrder { .. } => {}
            Self::InLines(lines) => lock(lines).finish(index, is_done),
        }
    }
}

fn lock(lines: &Mutex<FifoLines>) -> MutexGuard<'_, FifoLines> {
    // Nothing under this lock calls a user's code.
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(plan: &Plan) -> Vec<usize> {
        std::iter::from_fn(|| plan.next()).collect()
    }

    #[test]
    fn in_any_order_all_are_ready_once() {
        let plan = Plan::any_order(3);
        assert_eq!(plan.width(), 3);
        assert_eq!(drain(&plan), [0, 1, 2]);
        plan.finish(1, false);
        assert!(drain(&plan).is_empty());
    }

    #[test]
    fn only_heads_are_ready_and_each_that_is_done_makes_the_next_one_ready() {
        let plan = Plan::in_lines(5, vec![vec![0, 2, 4], vec![1, 3]]);
        assert_eq!(plan.width(), 2);
        assert_eq!(drain(&plan), [0, 1]);
        plan.finish(1, true);
        assert_eq!(drain(&plan), [3]);
        plan.finish(0, true);
        plan.finish(3, true);
        assert_eq!(drain(&plan), [2]);
    }

    #[test]
    fn a_failure_ends_its_line_only() {
        let plan = Plan::in_lines(4, vec![vec![0, 2], vec![1, 3]]);
        assert_eq!(drain(&plan), [0, 1]);
        plan.finish(0, false);
        plan.finish(1, true);
        assert_eq!(drain(&plan), [3]);
    }

    #[test]
    fn behind_a_head_is_the_rest_of_its_line() {
        let plan = Plan::in_lines(4, vec![vec![0, 2, 3], vec![1]]);
        assert_eq!(drain(&plan), [0, 1]);
        assert_eq!((plan.behind(0), plan.behind(1)), (vec![2, 3], vec![]));
        assert!(Plan::any_order(2).behind(0).is_empty());
    }

    #[test]
    fn a_record_in_no_line_never_runs() {
        let plan = Plan::in_lines(3, vec![vec![2], vec![]]);
        assert_eq!(drain(&plan), [2]);
    }

    #[test]
    fn an_empty_line_holds_nobody_up() {
        let plan = Plan::in_lines(2, vec![vec![], vec![0], vec![1]]);
        assert_eq!((plan.width(), plan.next()), (2, Some(0)));
        plan.finish(0, true);
        assert_eq!(plan.next(), Some(1));
    }
}
