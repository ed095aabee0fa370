//! Which record may run next. No clock, no I/O: indices in, indices out.

use std::collections::VecDeque;

/// The order in which the records of a batch may run.
///
/// Records stand in lines. The head of a line may run; the one behind it may when the head has passed; and when the head
/// fails, the line ends there. A record that stands in no line never runs.
pub(super) struct Plan {
    lines: Lines,
    /// Lines whose head may run now.
    ready: VecDeque<usize>,
}

enum Lines {
    /// Every record a line of its own, from `next` on: as a standard queue has it, thousands at a time.
    Singles { next: usize, len: usize },
    /// Lines of records, and for each record the line that it stands in.
    Grouped { lines: Vec<VecDeque<usize>>, line_of: Vec<Option<usize>> },
}

impl Plan {
    /// Every record may run at any time.
    pub(super) fn any_order(records: usize) -> Self {
        Self { lines: Lines::Singles { next: 0, len: records }, ready: VecDeque::new() }
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
        Self { lines: Lines::Grouped { lines, line_of }, ready }
    }

    /// How many records can run at a time, at most.
    pub(super) fn width(&self) -> usize {
        match &self.lines {
            Lines::Singles { next, len } => len - next,
            Lines::Grouped { .. } => self.ready.len(),
        }
    }

    /// Takes the next record that may run now. It runs until [`Plan::finish`] is told of its end.
    ///
    /// At the end of a record at most one more becomes ready. So whoever has finished one and then finds none here may
    /// stop asking: for each record to come there is another who will.
    pub(super) fn next(&mut self) -> Option<usize> {
        match &mut self.lines {
            Lines::Singles { next, len } => {
                let index = (*next < *len).then_some(*next)?;
                *next += 1;
                Some(index)
            }
            Lines::Grouped { lines, .. } => {
                let line = self.ready.pop_front()?;
                lines[line].pop_front()
            }
        }
    }

    /// A record that was taken has come to its end.
    pub(super) fn finish(&mut self, index: usize, passed: bool) {
        let Lines::Grouped { lines, line_of } = &mut self.lines else {
            return;
        };
        let Some(line) = line_of[index] else { return };
        if !passed {
            lines[line].clear();
        } else if !lines[line].is_empty() {
            self.ready.push_back(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(plan: &mut Plan) -> Vec<usize> {
        std::iter::from_fn(|| plan.next()).collect()
    }

    #[test]
    fn in_any_order_all_are_ready_once() {
        let mut plan = Plan::any_order(3);
        assert_eq!(plan.width(), 3);
        assert_eq!(drain(&mut plan), [0, 1, 2]);
        plan.finish(1, false);
        assert!(drain(&mut plan).is_empty());
    }

    #[test]
    fn only_heads_are_ready_and_each_passes_the_turn_on() {
        let mut plan = Plan::in_lines(5, vec![vec![0, 2, 4], vec![1, 3]]);
        assert_eq!(plan.width(), 2);
        assert_eq!(drain(&mut plan), [0, 1]);
        plan.finish(1, true);
        assert_eq!(drain(&mut plan), [3]);
        plan.finish(0, true);
        plan.finish(3, true);
        assert_eq!(drain(&mut plan), [2]);
    }

    #[test]
    fn a_failure_ends_its_line_only() {
        let mut plan = Plan::in_lines(4, vec![vec![0, 2], vec![1, 3]]);
        assert_eq!(drain(&mut plan), [0, 1]);
        plan.finish(0, false);
        plan.finish(1, true);
        assert_eq!(drain(&mut plan), [3]);
    }

    #[test]
    fn a_record_in_no_line_never_runs() {
        let mut plan = Plan::in_lines(3, vec![vec![2], vec![]]);
        assert_eq!(drain(&mut plan), [2]);
    }
}
