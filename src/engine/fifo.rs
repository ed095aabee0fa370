//! Which queue a batch is from, and what a failure stops where that is a FIFO queue.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use crate::per_lane::PerLane;
use crate::record::{Batch, Record};

/// What a failure stops on a FIFO queue. In either case the records that it stopped are reported, unrun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fifo {
    /// The rest of its message group. Groups run in parallel, each in order.
    #[default]
    StopGroup,
    /// The rest of the batch. Records run one at a time, in the order of the batch.
    StopBatch,
}

/// The queue that a batch was received from.
pub(super) struct BatchSource {
    queue_arn: Option<String>,
}

impl BatchSource {
    pub(super) fn of(batch: &Batch) -> Self {
        Self { queue_arn: batch.records.queue_arn().map(Cow::into_owned) }
    }

    pub(super) fn queue_arn(&self) -> Option<&str> {
        self.queue_arn.as_deref()
    }

    /// By the ARN alone. A group id says nothing: fair queues are standard queues, and have them too.
    pub(super) fn is_fifo(&self) -> bool {
        self.queue_arn().is_some_and(|arn| arn.ends_with(".fifo"))
    }
}

/// The lines in which the records of a FIFO batch stand.
pub(super) fn lines(batch: &PerLane<Batch>, fifo: Fifo) -> Vec<Vec<usize>> {
    let grouped = grouped(batch);
    match fifo {
        Fifo::StopGroup => lines_by_group(grouped),
        Fifo::StopBatch => vec![grouped.into_iter().map(|(index, _)| index).collect()],
    }
}

/// The records of a FIFO batch with their groups, in order: each message once, and up to the first without a group,
/// which may belong before or after any that follow.
fn grouped(batch: &PerLane<Batch>) -> Vec<(usize, String)> {
    let mut grouped = Vec::with_capacity(batch.records.len());
    for index in 0..batch.records.len() {
        let record = Record::new(batch.clone(), index);
        let Ok(Some(group)) = record.group_id() else { break };
        if batch.records.copy_of(index).is_none() {
            grouped.push((index, group.into_owned()));
        }
    }
    grouped
}

fn lines_by_group(records: Vec<(usize, String)>) -> Vec<Vec<usize>> {
    let mut lines: Vec<Vec<usize>> = Vec::new();
    let mut line_of = HashMap::new();
    for (index, group) in records {
        let line = *line_of.entry(group).or_insert_with(|| {
            lines.push(Vec::new());
            lines.len() - 1
        });
        lines[line].push(index);
    }
    lines
}

/// Records that stand in lines. The head of a line may run; the one behind it may when the head is done; and when the
/// head fails, the line ends there. A record that stands in no line never runs.
pub(super) struct FifoLines {
    lines: Vec<VecDeque<usize>>,
    /// For each record the line that it stands in.
    line_of: Vec<Option<usize>>,
    /// Lines whose head may run now.
    ready: VecDeque<usize>,
}

impl FifoLines {
    /// Each of the lines runs in its order, at the same time as the others.
    pub(super) fn new(records: usize, lines: Vec<Vec<usize>>) -> Self {
        let mut line_of = vec![None; records];
        for (line, indices) in lines.iter().enumerate() {
            for &index in indices {
                line_of[index] = Some(line);
            }
        }
        let ready = (0..lines.len()).filter(|&line| !lines[line].is_empty()).collect();
        let lines = lines.into_iter().map(VecDeque::from).collect();
        Self { lines, line_of, ready }
    }

    /// How many lines have a head that may run.
    pub(super) fn width(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn next(&mut self) -> Option<usize> {
        let line = self.ready.pop_front()?;
        self.lines[line].pop_front()
    }

    /// What stands behind a record that was taken, in the order of its line.
    pub(super) fn behind(&self, index: usize) -> Vec<usize> {
        let line = self.line_of[index].map(|line| &self.lines[line]);
        line.into_iter().flatten().copied().collect()
    }

    /// A record that was taken has come to its end. Where it failed, its line is never ready again.
    pub(super) fn finish(&mut self, index: usize, is_done: bool) {
        let Some(line) = self.line_of[index] else { return };
        if is_done && !self.lines[line].is_empty() {
            self.ready.push_back(line);
        }
    }
}
