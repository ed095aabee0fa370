//! The events that a mapping reports.

use std::sync::Arc;
use std::time::Duration;

use crate::event::Record;

use crate::mapping::answer::Verdict;
use crate::mapping::answer::problem::Severity;

/// Receives the events of a mapping. It must not block.
pub type NewsSink = Arc<dyn Fn(News) + Send + Sync>;

#[derive(Debug)]
pub enum News {
    /// The function returned from a batch.
    Batch(BatchNews),
    /// Messages matched no filter and are deleted without an invocation.
    Filtered { message_ids: Vec<String> },
    /// The function does not start, or its server does not answer. Its messages stay in the queue or hidden until it
    /// does.
    NotReady {
        error: String,
        /// The number of consecutive attempts.
        attempts: u32,
    },
    /// A receive failed and is retried.
    PollFailed { error: String },
    /// A processed message could not be deleted and runs again.
    DeleteFailed { message_id: String, error: String },
}

#[derive(Debug)]
pub struct BatchNews {
    pub request_id: String,
    pub messages: Vec<MessageNews>,
    pub problems: Vec<(Severity, String)>,
    pub took: Duration,
}

/// A message of a batch.
#[derive(Debug)]
pub struct MessageNews {
    pub message_id: String,
    pub group: Option<String>,
    pub receive_count: u32,
    /// Whether the message is deleted. Otherwise it is retried.
    pub is_deleted: bool,
}

impl BatchNews {
    pub(super) fn new(request_id: String, records: &[Record], verdict: &Verdict, took: Duration) -> Self {
        let mut messages: Vec<_> = records.iter().map(MessageNews::of).collect();
        for &position in &verdict.deleted {
            messages[position].is_deleted = true;
        }
        let problems = verdict.problems.iter().map(|problem| (problem.severity(), problem.to_string()));
        Self { request_id, messages, problems: problems.collect(), took }
    }
}

impl MessageNews {
    fn of(record: &Record) -> Self {
        Self {
            message_id: record.message_id().to_owned(),
            group: record.group().map(str::to_owned),
            receive_count: record.receive_count().unwrap_or_default(),
            is_deleted: false,
        }
    }
}
