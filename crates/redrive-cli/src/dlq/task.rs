//! A message move task: SQS moves all messages of a dead-letter queue.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html>

use std::time::Duration;

use aws_sdk_sqs::types::ListMessageMoveTasksResultEntry as Entry;
use indicatif::{ProgressBar, ProgressStyle};

use super::target::DeadLetterQueue;
use crate::interrupt::Stop;

/// The end of a task.
pub(super) struct Ended {
    pub(super) moved: u64,
    /// The approximate number of messages.
    pub(super) to_move: u64,
    pub(super) how: How,
}

pub(super) enum How {
    Completed,
    Cancelled,
    /// SQS does not know the source of a message that was sent directly. It moves none of the later ones.
    SourceUnknown,
    Failed(String),
}

/// The first wait before checking the task. It grows each time.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The maximum that SQS lists.
const MAX_TASKS: i32 = 10;

/// Lets SQS move all messages, each to its source or all to the queue with that ARN, and waits for the end.
pub(super) async fn move_all(
    queue: &DeadLetterQueue,
    to: Option<&str>,
    per_second: Option<i32>,
    stop: &Stop,
) -> Result<Ended, String> {
    let mut task = Task::start(queue, to, per_second).await?;
    let (bar, mut wait, mut is_cancelled) = (bar(), FIRST_WAIT, false);
    loop {
        let entry = task.look().await?;
        let count = |count: Option<i64>| u64::try_from(count.unwrap_or(0)).unwrap_or(0);
        let moved = count(Some(entry.approximate_number_of_messages_moved()));
        let to_move = count(entry.approximate_number_of_messages_to_move());
        bar.set_length(to_move);
        bar.set_position(moved);
        if let Some(how) = ended(&entry) {
            bar.finish_and_clear();
            return Ok(Ended { moved, to_move, how });
        }
        tokio::select! {
            () = stop.wanted(), if !is_cancelled => {
                task.cancel().await?;
                (is_cancelled, wait) = (true, FIRST_WAIT);
            }
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
        }
    }
}

struct Task<'a> {
    queue: &'a DeadLetterQueue,
    handle: String,
    /// The start time, which identifies the task after its end. SQS lists the handle only of a running task.
    started: Option<i64>,
}

impl<'a> Task<'a> {
    async fn start(queue: &'a DeadLetterQueue, to: Option<&str>, per_second: Option<i32>) -> Result<Self, String> {
        let start = queue.sqs.client.start_message_move_task().source_arn(&queue.arn);
        let start = start.set_destination_arn(to.map(str::to_owned)).set_max_number_of_messages_per_second(per_second);
        let started = start.send().await;
        let started = started.map_err(|error| {
            let problem = queue.sqs.explained(error, &format!("cannot start a message move task for {}", queue.name));
            format!("{problem}; --one-by-one, --id and --reason move messages without a task")
        })?;
        Ok(Self { queue, handle: started.task_handle.unwrap_or_default(), started: None })
    }

    async fn look(&mut self) -> Result<Entry, String> {
        let Self { queue, handle, started } = self;
        let list = queue.sqs.client.list_message_move_tasks().source_arn(&queue.arn).max_results(MAX_TASKS);
        let listed = list.send().await.map_err(|error| {
            let what = format!("the message move task of {} runs, but its progress cannot be read", queue.name);
            queue.sqs.explained(error, &what)
        });
        let mut entries = listed?.results.unwrap_or_default();
        let ours = entries.iter().position(|entry| match *started {
            Some(started) => entry.started_timestamp() == started,
            None => entry.task_handle() == Some(handle.as_str()),
        });
        // A task that ended before the first check is the one that was started last.
        let position = ours.or((started.is_none() && !entries.is_empty()).then_some(0));
        let position =
            position.ok_or_else(|| format!("SQS no longer lists the message move task of {}", queue.name))?;
        let entry = entries.swap_remove(position);
        if ours.is_some() {
            *started = Some(entry.started_timestamp());
        }
        Ok(entry)
    }

    /// Cancels the task. Moved messages stay moved. If the task has ended, there is nothing to cancel.
    async fn cancel(&mut self) -> Result<(), String> {
        let Err(error) = self.queue.sqs.client.cancel_message_move_task().task_handle(&self.handle).send().await else {
            return Ok(());
        };
        if ended(&self.look().await?).is_some() {
            return Ok(());
        }
        let what = format!("the message move task of {} continues, because it could not be cancelled", self.queue.name);
        Err(self.queue.sqs.explained(error, &what))
    }
}

/// Returns how a task ended, or `None` while it runs or is being cancelled.
fn ended(entry: &Entry) -> Option<How> {
    match entry.status()? {
        "COMPLETED" => Some(How::Completed),
        "CANCELLED" => Some(How::Cancelled),
        "FAILED" => Some(match entry.failure_reason() {
            Some(reason) if reason.contains("CouldNotDetermineMessageSource") => How::SourceUnknown,
            reason => How::Failed(reason.unwrap_or("it gave no reason").to_owned()),
        }),
        _ => None,
    }
}

/// Creates a progress bar, which is shown on a terminal only.
fn bar() -> ProgressBar {
    // A template that cannot be parsed is our own fault, and must not stop the move.
    let style = ProgressStyle::with_template("{bar:30} {pos} of about {len} moved, {elapsed}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
