//! What a test asks afterwards.

use std::collections::HashMap;

use crate::mapping::answer::problem::Severity;
use crate::poller::{BatchNews, News};

/// One delivery of a message: it was in an event that the function was invoked with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The id that SQS gave the message.
    pub message_id: String,
    /// The message's text, where a handler of redrive's has seen it.
    pub body: Option<String>,
    /// Its message group, on a FIFO queue.
    pub group: Option<String>,
    /// Which receive of the message this was, from 1.
    pub receive_count: u32,
    /// Whether it left the queue. If not, it came back, or was dead-lettered.
    pub done: bool,
    /// What the handler's error said, with its causes, or why the whole batch came back.
    pub why: Option<String>,
}

/// A message in a dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The id that SQS gave the message when it was sent to its queue.
    pub message_id: String,
    /// Its text.
    pub body: String,
    /// Its message group, where it has one.
    pub group: Option<String>,
    /// How often it was received before it was moved.
    pub receive_count: u32,
    /// The reason that the handler gave, or what was wrong at its last delivery.
    pub why: Option<String>,
}

/// What has happened at a queue, in order.
#[derive(Debug, Default)]
pub(super) struct History {
    deliveries: Vec<Delivery>,
    problems: Vec<String>,
    /// What handlers were given and what they said, by message and receive, until the batch has its answer.
    runs: HashMap<(String, u32), Told>,
}

#[derive(Debug, Default)]
struct Told {
    body: Option<String>,
    why: Option<String>,
}

impl History {
    /// A handler has ended with a record.
    pub(super) fn ran(&mut self, message_id: String, receive_count: u32, body: Option<String>, why: Option<String>) {
        self.runs.insert((message_id, receive_count), Told { body, why });
    }

    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Batch(batch) => self.batch(batch),
            News::Filtered { .. } => {}
            News::NotReady { error, .. } => self.problems.push(format!("the function was not ready: {error}")),
            News::PollFailed { error } => self.problems.push(format!("the queue could not be polled: {error}")),
            News::DeleteFailed { message_id, error } => {
                self.problems.push(format!("message {message_id} was done and could not be deleted: {error}"));
            }
        }
    }

    fn batch(&mut self, batch: BatchNews) {
        let of_batch = batch.problems.iter().find(|(severity, _)| *severity == Severity::BatchFailed);
        for message in batch.messages {
            let told = self.runs.remove(&(message.message_id.clone(), message.receive_count)).unwrap_or_default();
            self.deliveries.push(Delivery {
                message_id: message.message_id,
                body: told.body,
                group: message.group,
                receive_count: message.receive_count,
                done: message.is_deleted,
                why: told.why.or_else(|| of_batch.map(|(_, problem)| problem.clone())),
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

    /// What was wrong at the last delivery of each message.
    pub(super) fn last_whys(&self) -> HashMap<&str, Option<&str>> {
        self.deliveries.iter().map(|delivery| (delivery.message_id.as_str(), delivery.why.as_deref())).collect()
    }
}
