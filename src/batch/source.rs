//! Which queue a batch is from, and what that means for its order.

use std::borrow::Cow;
use std::collections::HashMap;

use super::ledger::{Ledger, Status};
use super::plan::Plan;
use crate::handler::Fifo;

/// The queue that a batch was received from.
pub(super) struct Source {
    queue_arn: Option<String>,
}

impl Source {
    pub(super) fn of(ledger: &Ledger) -> Self {
        Self { queue_arn: ledger.batch().records.queue_arn().map(Cow::into_owned) }
    }

    pub(super) fn queue_arn(&self) -> Option<&str> {
        self.queue_arn.as_deref()
    }

    /// By the ARN alone. A group id says nothing: fair queues are standard queues, and have them too.
    pub(super) fn fifo(&self) -> bool {
        self.queue_arn().is_some_and(|arn| arn.ends_with(".fifo"))
    }

    /// The order in which the records may run.
    pub(super) fn plan(&self, ledger: &Ledger, fifo: Fifo) -> Plan {
        if !self.fifo() {
            return Plan::any_order(ledger.len());
        }
        let heads = grouped(ledger);
        let lines = match fifo {
            Fifo::StopGroup => lines_by_group(heads),
            Fifo::StopBatch => vec![heads.into_iter().map(|(index, _)| index).collect()],
        };
        Plan::in_lines(ledger.len(), lines)
    }
}

/// The records of a FIFO batch with their groups, in order: each message once, and up to the first without a group,
/// which may belong before or after any that follow.
fn grouped(ledger: &Ledger) -> Vec<(usize, String)> {
    let mut grouped = Vec::with_capacity(ledger.len());
    for index in 0..ledger.len() {
        let record = ledger.record(index);
        let Ok(Some(group)) = record.group_id() else { break };
        if ledger.status(index) == Status::NotRun {
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
