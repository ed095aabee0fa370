//! The source queue of a batch, and the order of records on a FIFO queue.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use crate::per_lane::PerLane;
use crate::record::{Batch, Record};

/// Selects which records a failure stops on a FIFO queue. The stopped records are not run and are retried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fifo {
    /// Stops the rest of its message group. Groups run in parallel, each in order. This is the default.
    #[default]
    StopGroup,
    /// Stops the rest of the batch. Records run one at a time, in batch order.
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

    /// Returns whether the ARN names a FIFO queue. A group id proves nothing: messages of fair queues have them too,
    /// and fair queues are standard queues.
    pub(super) fn is_fifo(&self) -> bool {
        self.queue_arn().is_some_and(|arn| arn.ends_with(".fifo"))
    }
}

/// Returns the lines of a FIFO batch. The records of a line run one after another.
pub(super) fn lines(batch: &PerLane<Batch>, fifo: Fifo) -> Vec<Vec<usize>> {
    let grouped = grouped(batch);
    match fifo {
        Fifo::StopGroup => lines_by_group(grouped),
        Fifo::StopBatch => vec![grouped.into_iter().map(|(index, _)| index).collect()],
    }
}

/// Returns the records of a FIFO batch with their groups, in order and without copies. It stops at the first record
/// without a group, because that record's order relative to later ones is unknown.
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

/// Records in lines. Only the head of a line may run. When the head is done, the next record becomes the head. When the
/// head fails, the line ends. A record in no line never runs.
pub(super) struct FifoLines {
    lines: Vec<VecDeque<usize>>,
    /// The line of each record.
    line_of: Vec<Option<usize>>,
    /// Lines whose head may run now.
    ready: VecDeque<usize>,
}

impl FifoLines {
    /// Creates lines that run in parallel, each in order.
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

    /// Returns the number of lines whose head may run.
    pub(super) fn width(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn next(&mut self) -> Option<usize> {
        let line = self.ready.pop_front()?;
        self.lines[line].pop_front()
    }

    /// Returns the records behind a taken record, in the order of its line.
    pub(super) fn behind(&self, index: usize) -> Vec<usize> {
        let line = self.line_of[index].map(|line| &self.lines[line]);
        line.into_iter().flatten().copied().collect()
    }

    /// Ends a taken record. If it failed, its line is never ready again.
    pub(super) fn finish(&mut self, index: usize, is_done: bool) {
        let Some(line) = self.line_of[index] else { return };
        if is_done && !self.lines[line].is_empty() {
            self.ready.push_back(line);
        }
    }
}
