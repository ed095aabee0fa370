//! Selects the next record to run. It reads no clock and does no I/O: indices go in and come out.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::fifo::{self, BatchSource, Fifo, FifoLines};
use crate::per_lane::PerLane;
use crate::record::Batch;

/// The order in which the records of a batch may run.
pub(super) enum Plan {
    /// Any record at any time, starting at `next`. Batches of standard queues may have thousands of records.
    AnyOrder {
        next: Alone<AtomicUsize>,
        len: usize,
    },
    InLines(Mutex<FifoLines>),
}

/// A value alone on its cache lines. All threads change the counter at every record. Without the padding they would
/// also reload the read-only data next to it.
#[repr(align(128))]
pub(super) struct Alone<T>(T);

impl Plan {
    /// Returns the plan for a batch from that queue.
    pub(super) fn of(batch: &PerLane<Batch>, source: &BatchSource, fifo: Fifo) -> Self {
        let records = batch.records.len();
        if source.is_fifo() { Self::in_lines(records, fifo::lines(batch, fifo)) } else { Self::any_order(records) }
    }

    pub(super) fn any_order(records: usize) -> Self {
        Self::AnyOrder { next: Alone(AtomicUsize::new(0)), len: records }
    }

    /// Creates a plan of lines that run in parallel, each in order.
    pub(super) fn in_lines(records: usize, lines: Vec<Vec<usize>>) -> Self {
        Self::InLines(Mutex::new(FifoLines::new(records, lines)))
    }

    /// Returns the maximum number of concurrent records. It is called before the first record is taken.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::AnyOrder { len, .. } => *len,
            Self::InLines(lines) => lock(lines).width(),
        }
    }

    /// Takes the next record that may run now. It runs until [`Plan::finish`] is called for it.
    ///
    /// The end of a record makes at most one more record ready. So a lane that finishes a record and then gets `None`
    /// may stop. Every record still to run has another lane that will ask for it.
    pub(super) fn next(&self) -> Option<usize> {
        match self {
            Self::AnyOrder { next, len } => {
                let index = next.0.fetch_add(1, Ordering::Relaxed);
                (index < *len).then_some(index)
            }
            Self::InLines(lines) => lock(lines).next(),
        }
    }

    /// Returns the records behind a taken record, in the order of its line.
    pub(super) fn behind(&self, index: usize) -> Vec<usize> {
        match self {
            Self::AnyOrder { .. } => Vec::new(),
            Self::InLines(lines) => lock(lines).behind(index),
        }
    }

    /// Ends a taken record. If it failed, its line is never ready again.
    pub(super) fn finish(&self, index: usize, is_done: bool) {
        match self {
            Self::AnyOrder { .. } => {}
            Self::InLines(lines) => lock(lines).finish(index, is_done),
        }
    }
}

fn lock(lines: &Mutex<FifoLines>) -> MutexGuard<'_, FifoLines> {
    // Nothing under this lock calls user code.
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(plan: &Plan) -> Vec<usize> {
        std::iter::from_fn(|| plan.next()).collect()
    }

    #[test]
    fn any_order_makes_each_record_ready_once() {
        let plan = Plan::any_order(3);
        assert_eq!(plan.width(), 3);
        assert_eq!(drain(&plan), [0, 1, 2]);
        plan.finish(1, false);
        assert!(drain(&plan).is_empty());
    }

    #[test]
    fn done_head_makes_the_next_record_of_its_line_ready() {
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
    fn failed_head_ends_only_its_line() {
        let plan = Plan::in_lines(4, vec![vec![0, 2], vec![1, 3]]);
        assert_eq!(drain(&plan), [0, 1]);
        plan.finish(0, false);
        plan.finish(1, true);
        assert_eq!(drain(&plan), [3]);
    }

    #[test]
    fn behind_returns_the_rest_of_the_line() {
        let plan = Plan::in_lines(4, vec![vec![0, 2, 3], vec![1]]);
        assert_eq!(drain(&plan), [0, 1]);
        assert_eq!((plan.behind(0), plan.behind(1)), (vec![2, 3], vec![]));
        assert!(Plan::any_order(2).behind(0).is_empty());
    }

    #[test]
    fn record_without_a_line_never_runs() {
        let plan = Plan::in_lines(3, vec![vec![2], vec![]]);
        assert_eq!(drain(&plan), [2]);
    }

    #[test]
    fn empty_line_delays_no_other_line() {
        let plan = Plan::in_lines(2, vec![vec![], vec![0], vec![1]]);
        assert_eq!((plan.width(), plan.next()), (2, Some(0)));
        plan.finish(0, true);
        assert_eq!(plan.next(), Some(1));
    }
}
