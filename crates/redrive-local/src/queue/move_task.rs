//! Implements StartMessageMoveTask, CancelMessageMoveTask and ListMessageMoveTasks, the redrive of a dead-letter queue.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::account::{Account, Queue};
use super::error::{Code, SqsError};
use super::message::{Message, MessageId};
use super::number::bounded;
use super::time::Time;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct StartMessageMoveTask {
    pub source_arn: String,
    pub destination_arn: Option<String>,
    pub max_number_of_messages_per_second: Option<i64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TaskHandle {
    pub task_handle: String,
}

/// The content of a task handle: JSON, encoded as base64.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HandleParts {
    task_id: String,
    source_arn: String,
}

impl HandleParts {
    fn to_handle(&self) -> String {
        // The object contains only two texts, so serializing cannot fail.
        BASE64.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn read(handle: &str) -> Option<Self> {
        serde_json::from_slice(&BASE64.decode(handle).ok()?).ok()
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Cancelled {
    approximate_number_of_messages_moved: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ListMessageMoveTasks {
    pub source_arn: String,
    pub max_results: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MoveTaskList {
    results: Vec<MoveTaskEntry>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct MoveTaskEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    task_handle: Option<String>,
    status: Status,
    source_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_number_of_messages_per_second: Option<u32>,
    approximate_number_of_messages_moved: u64,
    approximate_number_of_messages_to_move: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<String>,
    started_timestamp: u64,
}

/// The tasks of all queues, in the order of their starts.
#[derive(Debug, Default)]
pub(super) struct MoveTasks(Vec<MoveTask>);

#[derive(Clone, Debug)]
struct MoveTask {
    handle: String,
    source_arn: String,
    /// The destination. Without one, each message returns to its source queue.
    destination_arn: Option<String>,
    per_second: Option<u32>,
    started: Time,
    /// The number of messages at the start of the task. Later messages are not moved.
    to_move: u64,
    moved: u64,
    status: Status,
    failure: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Status {
    Running,
    Completed,
    Cancelled,
    Failed,
}

/// The highest rate that a caller may set, and the rate that AWS calls "system optimized".
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html>
const MAX_PER_SECOND: u32 = 500;
/// The limit of stored and listed tasks of a queue.
const MAX_TASKS: u32 = 10;

impl Account {
    pub fn start_message_move_task(
        &mut self,
        request: StartMessageMoveTask,
        now: Time,
    ) -> Result<TaskHandle, SqsError> {
        self.advance(now);
        let StartMessageMoveTask { source_arn, destination_arn, max_number_of_messages_per_second: rate } = request;
        let per_second =
            rate.map(|rate| bounded("MaxNumberOfMessagesPerSecond", rate, 1..=MAX_PER_SECOND)).transpose()?;
        let to_move = self.check_source(&source_arn)?;
        self.check_destination(&source_arn, destination_arn.as_deref())?;
        let task_id = MessageId::random(&mut self.rng).to_string();
        let handle = HandleParts { task_id, source_arn: source_arn.clone() }.to_handle();
        self.tasks.0.push(MoveTask {
            handle: handle.clone(),
            source_arn: source_arn.clone(),
            destination_arn,
            per_second,
            started: now,
            to_move,
            moved: 0,
            status: Status::Running,
            failure: None,
        });
        self.tasks.forget_oldest(&source_arn);
        self.advance(now);
        Ok(TaskHandle { task_handle: handle })
    }

    /// Checks the source queue and returns its number of messages.
    fn check_source(&mut self, arn: &str) -> Result<u64, SqsError> {
        if arn.is_empty() {
            return Err(SqsError::missing("SourceArn"));
        }
        let Some(source) = self.queue_by_arn(arn) else { return Err(no_such_resource("SourceArn")) };
        let messages = source.store.counts().visible as u64;
        let is_source = |queue: &Queue| queue.settings.redrive.as_ref().is_some_and(|policy| policy.target_arn == arn);
        if !self.queues.values().any(is_source) {
            let message = "Source queue must be configured as a Dead Letter Queue.";
            return Err(SqsError::new(Code::InvalidParameterValue, message));
        }
        if self.tasks.0.iter().any(|task| task.source_arn == arn && task.status == Status::Running) {
            let message = "There is already a task running. Only one active task is allowed for a source queue \
                           arn at a given time.";
            return Err(SqsError::new(Code::InvalidParameterValue, message));
        }
        Ok(messages)
    }

    fn check_destination(&mut self, source: &str, destination: Option<&str>) -> Result<(), SqsError> {
        let Some(destination) = destination else { return Ok(()) };
        let source_is_fifo = self.queue_by_arn(source).is_some_and(|queue| queue.is_fifo());
        match self.queue_by_arn(destination) {
            None => Err(no_such_resource("DestinationArn")),
            Some(_) if source == destination => Err(SqsError::parameter(
                "DestinationArn",
                destination,
                "Source queue arn and destination queue arn are the same.",
            )),
            Some(queue) if queue.is_fifo() != source_is_fifo => Err(SqsError::parameter(
                "DestinationArn",
                destination,
                "Source and destination queues are of different types.",
            )),
            Some(_) => Ok(()),
        }
    }

    pub fn cancel_message_move_task(&mut self, request: TaskHandle, now: Time) -> Result<Cancelled, SqsError> {
        self.advance(now);
        if request.task_handle.is_empty() {
            return Err(SqsError::missing("TaskHandle"));
        }
        let Some(HandleParts { source_arn, .. }) = HandleParts::read(&request.task_handle) else {
            return Err(SqsError::new(Code::InvalidParameterValue, "Value for parameter TaskHandle is invalid."));
        };
        if self.queue_by_arn(&source_arn).is_none() {
            return Err(no_such_resource("SourceArn"));
        }
        let task = self.tasks.0.iter_mut().find(|task| task.handle == request.task_handle);
        let Some(task) = task else {
            return Err(SqsError::new(Code::ResourceNotFoundException, "Task does not exist."));
        };
        if task.status != Status::Running {
            let message = "Only a task that is running can be cancelled.";
            return Err(SqsError::new(Code::UnsupportedOperation, message));
        }
        task.status = Status::Cancelled;
        Ok(Cancelled { approximate_number_of_messages_moved: task.moved })
    }

    pub fn list_message_move_tasks(
        &mut self,
        request: ListMessageMoveTasks,
        now: Time,
    ) -> Result<MoveTaskList, SqsError> {
        self.advance(now);
        if request.source_arn.is_empty() {
            return Err(SqsError::missing("SourceArn"));
        }
        if self.queue_by_arn(&request.source_arn).is_none() {
            return Err(no_such_resource("SourceArn"));
        }
        let max = bounded("MaxResults", request.max_results.unwrap_or(1), 1..=MAX_TASKS)?;
        let tasks = self.tasks.0.iter().rev().filter(|task| task.source_arn == request.source_arn);
        Ok(MoveTaskList { results: tasks.take(max as usize).map(MoveTask::entry).collect() })
    }

    pub(super) fn advance_tasks(&mut self, now: Time) {
        // The tasks leave the account for the loop, because moving a message borrows the whole account.
        let mut tasks = std::mem::take(&mut self.tasks);
        for task in &mut tasks.0 {
            while task.next_due().is_some_and(|due| due <= now) {
                self.advance_task(task, now);
            }
        }
        self.tasks = tasks;
    }

    /// Moves one message or ends the task.
    fn advance_task(&mut self, task: &mut MoveTask, now: Time) {
        if task.moved == task.to_move {
            task.status = Status::Completed;
            return;
        }
        let oldest = self.queue_by_arn(&task.source_arn).and_then(|queue| queue.store.oldest_receivable());
        let Some((position, message)) = oldest else {
            // The remaining messages were deleted or are in flight.
            task.status = Status::Completed;
            return;
        };
        let destination = task.destination_arn.as_deref().or(message.dead_letter_source.as_deref()).map(str::to_owned);
        // A message without a destination keeps its position: put back, it would stand behind later messages.
        let Some(destination) = destination else { return task.fail("CouldNotDetermineMessageSource") };
        if self.queue_by_arn(&destination).is_none() {
            return task.fail("AWS.SimpleQueueService.NonExistentQueue");
        }
        let id = MessageId::random(&mut self.rng);
        let message = self.queue_by_arn(&task.source_arn).and_then(|queue| queue.store.remove(position));
        if let (Some(message), Some(queue)) = (message, self.queue_by_arn(&destination)) {
            queue.adopt(renewed(message, id, now), now);
            let queue = queue.id;
            self.has_changed(queue);
            task.moved += 1;
        }
    }
}

/// Turns a moved message into a new one: it has a new id, and its age starts at the move.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html>
fn renewed(message: Message, id: MessageId, now: Time) -> Message {
    Message {
        id,
        sent: now,
        first_received: None,
        receive_count: 0,
        received_elsewhere: 0,
        dead_letter_source: None,
        ..message
    }
}

fn no_such_resource(parameter: &str) -> SqsError {
    let message = format!("The resource that you specified for the {parameter} parameter doesn't exist.");
    SqsError::new(Code::ResourceNotFoundException, message)
}

impl MoveTasks {
    pub(super) fn next_due(&self) -> Option<Time> {
        self.0.iter().filter_map(MoveTask::next_due).min()
    }

    pub(super) fn is_any_running(&self) -> bool {
        self.0.iter().any(|task| task.status == Status::Running)
    }

    fn forget_oldest(&mut self, source_arn: &str) {
        let of_source = |task: &MoveTask| task.source_arn == source_arn;
        if self.0.iter().filter(|task| of_source(task)).count() > MAX_TASKS as usize
            && let Some(oldest) = self.0.iter().position(of_source)
        {
            self.0.remove(oldest);
        }
    }
}

impl MoveTask {
    /// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/troubleshooting-dlq-redrive.html>
    fn fail(&mut self, reason: &str) {
        self.status = Status::Failed;
        self.failure = Some(reason.to_owned());
    }

    /// Returns the time at which the task moves its next message or ends.
    fn next_due(&self) -> Option<Time> {
        let millis = self.moved * 1_000 / u64::from(self.per_second.unwrap_or(MAX_PER_SECOND));
        (self.status == Status::Running).then(|| self.started + Duration::from_millis(millis))
    }

    fn entry(&self) -> MoveTaskEntry {
        MoveTaskEntry {
            task_handle: (self.status == Status::Running).then(|| self.handle.clone()),
            status: self.status,
            source_arn: self.source_arn.clone(),
            destination_arn: self.destination_arn.clone(),
            max_number_of_messages_per_second: self.per_second,
            approximate_number_of_messages_moved: self.moved,
            approximate_number_of_messages_to_move: self.to_move,
            failure_reason: self.failure.clone(),
            started_timestamp: self.started.as_millis(),
        }
    }
}
