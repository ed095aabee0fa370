//! Which queue a batch is from, and what that means for its order.

use std::collections::HashMap;

use super::ledger::{Ledger, Standing};
use super::plan::Plan;
use crate::error::{Error, Kind};
use crate::handler::Fifo;
use crate::record::Record;

/// The queue that a batch was received from.
pub(super) struct Source {
    queue_arn: Option<String>,
}

/// What SQS's records have as their `eventSource`.
const SQS: &str = "aws:sqs";

impl Source {
    /// Looks at the first record that says where it is from. It speaks for all of them: a mapping polls one queue.
    ///
    /// # Errors
    ///
    /// Where that is another service.
    pub(super) fn of(ledger: &Ledger) -> Result<Self, Error> {
        for record in (0..ledger.len()).map(|index| ledger.record(index)) {
            check_source(&record)?;
            if let Ok(Some(arn)) = record.queue_arn() {
                return Ok(Self { queue_arn: Some(arn.into_owned()) });
            }
        }
        Ok(Self { queue_arn: None })
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

fn check_source(record: &Record) -> Result<(), Error> {
    match record.event_source() {
        Ok(Some(source)) if source != SQS => {
            Err(Kind::Event(format!("a record comes from {source}, not from {SQS}")).into())
        }
        // Events written by hand leave it out.
        _ => Ok(()),
    }
}

/// The records of a FIFO batch with their groups, in order: each message once, and up to the first without a group,
/// which may belong before or after any that follow.
fn grouped(ledger: &Ledger) -> Vec<(usize, String)> {
    let mut grouped = Vec::with_capacity(ledger.len());
    for index in 0..ledger.len() {
        let record = ledger.record(index);
        let Ok(Some(group)) = record.attribute("MessageGroupId") else { break };
        if ledger.standing(index) == Standing::NotRun {
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
