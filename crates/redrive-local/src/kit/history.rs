//! Records what happens in a test.

use std::collections::HashMap;

use crate::mapping::answer::problem::Severity;
use crate::poller::{BatchNews, News};

/// One delivery of a message in an event of an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The message id from SQS.
    pub message_id: String,
    /// The message's body, if a redrive handler processed the message.
    pub body: Option<String>,
    /// The message group, on a FIFO queue.
    pub group: Option<String>,
    /// The receive count of this delivery, starting at 1.
    pub receive_count: u32,
    /// Whether the message was deleted. Otherwise it was retried or dead-lettered.
    pub done: bool,
    /// The handler's error with its causes, or the reason for retrying the whole batch.
    pub why: Option<String>,
}

/// A message in a dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The message id from SQS at the first send.
    pub message_id: String,
    /// The message's body.
    pub body: String,
    /// The message group, if it has one.
    pub group: Option<String>,
    /// The receive count at the time of the move.
    pub receive_count: u32,
    /// The handler's reason, or the error of the last delivery.
    pub why: Option<String>,
}

/// The events of a queue, in order.
#[derive(Debug, Default)]
pub(super) struct History {
    deliveries: Vec<Delivery>,
    problems: Vec<String>,
    /// The runs of handlers, by message and receive count, until the batch is settled.
    runs: HashMap<(String, u32), Run>,
}

#[derive(Debug, Default)]
struct Run {
    body: Option<String>,
    why: Option<String>,
}

impl History {
    /// Records that a handler has finished a record.
    pub(super) fn ran(&mut self, message_id: String, receive_count: u32, body: Option<String>, why: Option<String>) {
        self.runs.insert((message_id, receive_count), Run { body, why });
    }

    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Batch(batch) => self.batch(batch),
            News::Filtered { .. } => {}
            News::NotReady { error, .. } => self.problems.push(format!("the function was not ready: {error}")),
            News::PollFailed { error } => self.problems.push(format!("a poll of the queue failed: {error}")),
            News::DeleteFailed { message_id, error } => {
                self.problems.push(format!("message {message_id} was processed but could not be deleted: {error}"));
            }
        }
    }

    fn batch(&mut self, batch: BatchNews) {
        let of_batch = batch.problems.iter().find(|(severity, _)| *severity == Severity::BatchFailed);
        for message in batch.messages {
            let run = self.runs.remove(&(message.message_id.clone(), message.receive_count)).unwrap_or_default();
            self.deliveries.push(Delivery {
                message_id: message.message_id,
                body: run.body,
                group: message.group,
                receive_count: message.receive_count,
                done: message.is_deleted,
                why: run.why.or_else(|| of_batch.map(|(_, problem)| problem.clone())),
            });
        }
        self.problems.extend(batch.problems.into_iter().map(|(_, problem)| problem));
    }

    pub(super) fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Returns the error of the last delivery of each message.
    pub(super) fn last_whys(&self) -> HashMap<&str, Option<&str>> {
        self.deliveries.iter().map(|delivery| (delivery.message_id.as_str(), delivery.why.as_deref())).collect()
    }
}
