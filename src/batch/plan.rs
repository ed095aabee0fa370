//! Which record may run next. No clock, no I/O: indices in, indices out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The order in which the records of a batch may run.
pub(super) enum Plan {
    /// Any record at any time, from this one on: as a standard queue has it, thousands at a time.
    AnyOrder {
        next: Alone<AtomicUsize>,
        len: usize,
    },
    InLines(Mutex<Lines>),
}

/// Alone on its cache lines. All threads change the counter at every record, and what they only read beside it would
/// have to be fetched again each time.
#[repr(align(128))]
pub(super) struct Alone<T>(T);

/// Records that stand in lines. The head of a line may run; the one behind it may when the head has passed; and when the
/// head fails, the line ends there. A record that stands in no line never runs.
pub(super) struct Lines {
    lines: Vec<VecDeque<usize>>,
    /// For each record the line that it stands in.
    line_of: Vec<Option<usize>>,
    /// Lines whose head may run now.
    ready: VecDeque<usize>,
}

impl Plan {
    pub(super) fn any_order(records: usize) -> Self {
        Self::AnyOrder { next: Alone(AtomicUsize::new(0)), len: records }
    }

    /// Each of the lines runs in its order, beside the others.
    pub(super) fn in_lines(records: usize, lines: Vec<Vec<usize>>) -> Self {
        let mut line_of = vec![None; records];
        for (line, indices) in lines.iter().enumerate() {
            for &index in indices {
                line_of[index] = Some(line);
            }
        }
        let ready = (0..lines.len()).filter(|&line| !lines[line].is_empty()).collect();
        let lines = lines.into_iter().map(VecDeque::from).collect();
        Self::InLines(Mutex::new(Lines { lines, line_of, ready }))
    }

    /// How many records can run at a time, at most. Asked before the first one is taken.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::AnyOrder { len, .. } => *len,
            Self::InLines(lines) => lock(lines).ready.len(),
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
            Self::InLines(lines) => {
                let mut lines = lock(lines);
                let line = lines.ready.pop_front()?;
                lines.lines[line].pop_front()
            }
        }
    }

    /// What stands behind a record that was taken, in the order of its line.
    pub(super) fn behind(&self, index: usize) -> Vec<usize> {
        let Self::InLines(lines) = self else { return Vec::new() };
        let lines = lock(lines);
        let line = lines.line_of[index].map(|line| &lines.lines[line]);
        line.into_iter().flatten().copied().collect()
    }

    /// A record that was taken has come to its end. Where it failed, its line is never ready again.
    pub(super) fn finish(&self, index: usize, passed: bool) {
        let Self::InLines(lines) = self else { return };
        let mut lines = lock(lines);
        let Some(line) = lines.line_of[index] else { return };
        if passed && !lines.lines[line].is_empty() {
            lines.ready.push_back(line);
        }
    }
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
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
    fn only_heads_are_ready_and_each_passes_the_turn_on() {
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
