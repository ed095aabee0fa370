//! Parses requests.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Answer;
use crate::queue::{
    Account, AddPermission, ChangeMessageVisibility, Code, CreateQueue, DeleteMessage, GetQueueAttributes, GetQueueUrl,
    ListDeadLetterSourceQueues, ListMessageMoveTasks, ListQueues, OfQueue, ReceiveMessage, RemovePermission,
    SendMessage, SendMessageBatch, SetQueueAttributes, SettleBatch, SqsError, StartMessageMoveTask, TagQueue,
    TaskHandle, Time, UntagQueue,
};

/// A parsed call whose values are not checked.
#[derive(Debug)]
pub(crate) enum Request {
    AddPermission(AddPermission),
    CancelMessageMoveTask(TaskHandle),
    ChangeMessageVisibility(ChangeMessageVisibility),
    ChangeMessageVisibilityBatch(SettleBatch),
    CreateQueue(CreateQueue),
    DeleteMessage(DeleteMessage),
    DeleteMessageBatch(SettleBatch),
    DeleteQueue(OfQueue),
    GetQueueAttributes(GetQueueAttributes),
    GetQueueUrl(GetQueueUrl),
    ListDeadLetterSourceQueues(ListDeadLetterSourceQueues),
    ListMessageMoveTasks(ListMessageMoveTasks),
    ListQueueTags(OfQueue),
    ListQueues(ListQueues),
    PurgeQueue(OfQueue),
    ReceiveMessage(ReceiveMessage),
    RemovePermission(RemovePermission),
    SendMessage(SendMessage),
    SendMessageBatch(SendMessageBatch),
    SetQueueAttributes(SetQueueAttributes),
    StartMessageMoveTask(StartMessageMoveTask),
    TagQueue(TagQueue),
    UntagQueue(UntagQueue),
}

/// The service's name, which precedes the operation, as in `AmazonSQS.SendMessage`.
pub(super) const SERVICE: &str = "AmazonSQS.";

impl Request {
    pub(crate) fn parse(target: &str, body: &[u8]) -> Result<Self, SqsError> {
        let Some(operation) = target.strip_prefix(SERVICE) else {
            let message = "This is SQS, and the request is no call. A call has a header X-Amz-Target: AmazonSQS.OPERATION \
                           (JSON protocol), or a parameter Action (Query protocol).";
            return Err(SqsError::new(Code::InvalidAction, message));
        };
        Ok(match operation {
            "AddPermission" => Self::AddPermission(read(body)?),
            "CancelMessageMoveTask" => Self::CancelMessageMoveTask(read(body)?),
            "ChangeMessageVisibility" => Self::ChangeMessageVisibility(read(body)?),
            "ChangeMessageVisibilityBatch" => Self::ChangeMessageVisibilityBatch(read(body)?),
            "CreateQueue" => Self::CreateQueue(read(body)?),
            "DeleteMessage" => Self::DeleteMessage(read(body)?),
            "DeleteMessageBatch" => Self::DeleteMessageBatch(read(body)?),
            "DeleteQueue" => Self::DeleteQueue(read(body)?),
            "GetQueueAttributes" => Self::GetQueueAttributes(read(body)?),
            "GetQueueUrl" => Self::GetQueueUrl(read(body)?),
            "ListDeadLetterSourceQueues" => Self::ListDeadLetterSourceQueues(read(body)?),
            "ListMessageMoveTasks" => Self::ListMessageMoveTasks(read(body)?),
            "ListQueueTags" => Self::ListQueueTags(read(body)?),
            "ListQueues" => Self::ListQueues(read(body)?),
            "PurgeQueue" => Self::PurgeQueue(read(body)?),
            "ReceiveMessage" => Self::ReceiveMessage(read(body)?),
            "RemovePermission" => Self::RemovePermission(read(body)?),
            "SendMessage" => Self::SendMessage(read(body)?),
            "SendMessageBatch" => Self::SendMessageBatch(read(body)?),
            "SetQueueAttributes" => Self::SetQueueAttributes(read(body)?),
            "StartMessageMoveTask" => Self::StartMessageMoveTask(read(body)?),
            "TagQueue" => Self::TagQueue(read(body)?),
            "UntagQueue" => Self::UntagQueue(read(body)?),
            _ => {
                let message = format!("SQS has no operation {operation}.");
                return Err(SqsError::new(Code::InvalidAction, message));
            }
        })
    }

    /// Sets the call's trace on messages that have none.
    pub(crate) fn traced(mut self, trace_id: Option<&str>) -> Self {
        if let (Self::SendMessage(request), Some(trace_id)) = (&mut self, trace_id.filter(|id| !id.is_empty())) {
            request.message.trace_id = Some(trace_id.to_owned());
        }
        self
    }

    /// Removes the entries that `pick` selects by id from a batch. Returns whether the batch is empty afterwards.
    pub(crate) fn take_entries(&mut self, mut pick: impl FnMut(&str) -> bool) -> bool {
        match self {
            Self::SendMessageBatch(request) => {
                request.entries.retain(|entry| !pick(&entry.id));
                request.entries.is_empty()
            }
            Self::ChangeMessageVisibilityBatch(request) | Self::DeleteMessageBatch(request) => {
                request.entries.retain(|entry| !pick(&entry.id));
                request.entries.is_empty()
            }
            _ => false,
        }
    }

    pub(crate) fn apply(self, account: &mut Account, base_url: &str, now: Time) -> Answer {
        match self {
            Self::AddPermission(request) => Answer::of(account.add_permission(request, now)),
            Self::CancelMessageMoveTask(request) => Answer::of(account.cancel_message_move_task(request, now)),
            Self::ChangeMessageVisibility(request) => Answer::of(account.change_message_visibility(request, now)),
            Self::ChangeMessageVisibilityBatch(request) => {
                Answer::of(account.change_message_visibility_batch(request, now))
            }
            Self::CreateQueue(request) => Answer::of(account.create_queue(request, base_url, now)),
            Self::DeleteMessage(request) => Answer::of(account.delete_message(request, now)),
            Self::DeleteMessageBatch(request) => Answer::of(account.delete_message_batch(request, now)),
            Self::DeleteQueue(request) => Answer::of(account.delete_queue(request, now)),
            Self::GetQueueAttributes(request) => Answer::of(account.get_queue_attributes(request, now)),
            Self::GetQueueUrl(request) => Answer::of(account.get_queue_url(request, base_url)),
            Self::ListDeadLetterSourceQueues(request) => {
                Answer::of(account.list_dead_letter_source_queues(request, base_url, now))
            }
            Self::ListMessageMoveTasks(request) => Answer::of(account.list_message_move_tasks(request, now)),
            Self::ListQueueTags(request) => Answer::of(account.list_queue_tags(request, now)),
            Self::ListQueues(request) => Answer::of(account.list_queues(request, base_url)),
            Self::PurgeQueue(request) => Answer::of(account.purge_queue(request, now)),
            Self::ReceiveMessage(request) => Answer::of(account.receive_message(&request, now)),
            Self::RemovePermission(request) => Answer::of(account.remove_permission(request, now)),
            Self::SendMessage(request) => Answer::of(account.send_message(request, now)),
            Self::SendMessageBatch(request) => Answer::of(account.send_message_batch(request, now)),
            Self::SetQueueAttributes(request) => Answer::of(account.set_queue_attributes(request, now)),
            Self::StartMessageMoveTask(request) => Answer::of(account.start_message_move_task(request, now)),
            Self::TagQueue(request) => Answer::of(account.tag_queue(request, now)),
            Self::UntagQueue(request) => Answer::of(account.untag_queue(request, now)),
        }
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, SqsError> {
    // Some clients send an empty body for an empty request. Others send null for an absent value.
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).or_else(|error| {
        let json = serde_json::from_slice(body).ok().map(without_nulls);
        let read = json.and_then(|json| serde_json::from_value(json).ok());
        read.ok_or_else(|| SqsError::new(Code::SerializationException, error.to_string()))
    })
}

fn without_nulls(json: Value) -> Value {
    match json {
        Value::Object(entries) => {
            let present = entries.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(present.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}
