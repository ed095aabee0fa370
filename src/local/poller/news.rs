//! What a mapping tells of its work.

use std::sync::Arc;
use std::time::Duration;

use crate::local::mapping::answer::Verdict;
use crate::local::mapping::answer::problem::Severity;
use crate::sqs::event::Record;

/// Takes the news as they come. It must not block.
pub(crate) type NewsSink = Arc<dyn Fn(News) + Send + Sync>;

#[derive(Debug)]
pub(crate) enum News {
    /// A batch has come back from the function.
    Batch(BatchNews),
    /// Messages matched no filter, and are deleted unread.
    Filtered { message_ids: Vec<String> },
    /// The function does not start, or is not served. Its messages stay in the queue, or hidden, until it does.
    NotReady {
        error: String,
        /// How often that was tried in a row.
        attempts: u32,
    },
    /// A receive failed, and is tried again.
    PollFailed { error: String },
    /// A message that is done could not be deleted, and runs again.
    DeleteFailed { message_id: String, error: String },
}

#[derive(Debug)]
pub(crate) struct BatchNews {
    pub(crate) request_id: String,
    pub(crate) messages: Vec<MessageNews>,
    pub(crate) problems: Vec<(Severity, String)>,
    pub(crate) took: Duration,
}

/// A message in a batch.
#[derive(Debug)]
pub(crate) struct MessageNews {
    pub(crate) message_id: String,
    pub(crate) group: Option<String>,
    pub(crate) receive_count: u32,
    /// If not, it comes back.
    pub(crate) is_deleted: bool,
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
