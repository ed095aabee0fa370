//! Implements DeleteMessage, ChangeMessageVisibility and their batch calls.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::account::{Account, Queue};
use super::batch::{BatchResult, Succeeded, check_ids};
use super::error::SqsError;
use super::number::bounded;
use super::receipt::Receipt;
use super::time::Time;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DeleteMessage {
    pub queue_url: String,
    pub receipt_handle: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ChangeMessageVisibility {
    pub queue_url: String,
    pub receipt_handle: String,
    pub visibility_timeout: Option<i64>,
}

/// The request of DeleteMessageBatch and ChangeMessageVisibilityBatch.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SettleBatch {
    pub queue_url: String,
    pub entries: Vec<Settle>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Settle {
    pub id: String,
    pub receipt_handle: String,
    pub visibility_timeout: Option<i64>,
}

/// An empty answer.
#[derive(Debug, Serialize)]
pub struct Nothing {}

/// Twelve hours from the receive, for all changes of the timeout together.
const MAX_IN_FLIGHT_SECONDS: u32 = 43_200;
const MAX_IN_FLIGHT_TIME: Duration = Duration::from_secs(MAX_IN_FLIGHT_SECONDS as u64);

impl Account {
    pub fn delete_message(&mut self, request: DeleteMessage, now: Time) -> Result<Nothing, SqsError> {
        let queue = self.queue(&request.queue_url, now)?;
        queue.delete(&request.receipt_handle)?;
        let id = queue.id;
        self.has_changed(id);
        Ok(Nothing {})
    }

    pub fn delete_message_batch(
        &mut self,
        request: SettleBatch,
        now: Time,
    ) -> Result<BatchResult<Succeeded>, SqsError> {
        self.settle(request, "DeleteMessageBatchRequestEntry", now, |queue, entry| queue.delete(&entry.receipt_handle))
    }

    pub fn change_message_visibility(
        &mut self,
        request: ChangeMessageVisibility,
        now: Time,
    ) -> Result<Nothing, SqsError> {
        let queue = self.queue(&request.queue_url, now)?;
        queue.change_visibility(&request.receipt_handle, request.visibility_timeout, now)?;
        let id = queue.id;
        self.has_changed(id);
        Ok(Nothing {})
    }

    pub fn change_message_visibility_batch(
        &mut self,
        request: SettleBatch,
        now: Time,
    ) -> Result<BatchResult<Succeeded>, SqsError> {
        self.settle(request, "ChangeMessageVisibilityBatchRequestEntry", now, |queue, entry| {
            queue.change_visibility(&entry.receipt_handle, entry.visibility_timeout, now)
        })
    }

    fn settle(
        &mut self,
        request: SettleBatch,
        entry: &str,
        now: Time,
        settle: impl Fn(&mut Queue, &Settle) -> Result<(), SqsError>,
    ) -> Result<BatchResult<Succeeded>, SqsError> {
        let queue = self.queue(&request.queue_url, now)?;
        check_ids(entry, request.entries.iter().map(|entry| entry.id.as_str()))?;
        let results = request.entries.into_iter().map(|entry| {
            let result = settle(queue, &entry);
            (entry.id.clone(), result.map(|()| Succeeded { id: entry.id }))
        });
        let results = BatchResult::of(results);
        let id = queue.id;
        self.has_changed(id);
        Ok(results)
    }
}

impl Queue {
    /// Deletes a message. A stale handle deletes nothing, and neither this nor a deleted message is an error. A FIFO
    /// queue reports an expired handle, because another consumer may receive or have received the message.
    /// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessage.html>
    fn delete(&mut self, handle: &str) -> Result<(), SqsError> {
        let receipt = Receipt::of_handle(handle, self.id)?;
        let Some(message) = self.store.message(receipt.position) else { return Ok(()) };
        let is_latest = message.receive_count == receipt.receive_count;
        if self.is_fifo() && !(is_latest && self.store.flight(receipt.position).is_some()) {
            return Err(SqsError::parameter("ReceiptHandle", handle, "The receipt handle has expired."));
        }
        if is_latest {
            self.store.remove(receipt.position);
        }
        Ok(())
    }

    /// Changes until when a message is hidden. On a standard queue every handle of the message changes its current
    /// flight. If the message is visible, the call succeeds and changes nothing. On a FIFO queue only the latest handle
    /// is valid, and only while its message is in flight.
    fn change_visibility(&mut self, handle: &str, timeout: Option<i64>, now: Time) -> Result<(), SqsError> {
        let receipt = Receipt::of_handle(handle, self.id)?;
        let timeout = visibility_timeout(timeout.ok_or_else(|| SqsError::missing("VisibilityTimeout"))?)?;
        let unavailable = || {
            let reason = "Message does not exist or is not available for visibility timeout change.";
            SqsError::parameter("ReceiptHandle", handle, reason)
        };
        let message = self.store.message(receipt.position).ok_or_else(unavailable)?;
        let is_good = match self.is_fifo() {
            true => message.receive_count == receipt.receive_count,
            false => message.was_handed_out_here(receipt.receive_count),
        };
        if !is_good {
            return Err(unavailable());
        }
        let Some(flight) = self.store.flight(receipt.position) else {
            return if self.is_fifo() { Err(unavailable()) } else { Ok(()) };
        };
        if now + timeout > flight.received + MAX_IN_FLIGHT_TIME {
            let reason = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]";
            return Err(SqsError::parameter("VisibilityTimeout", timeout.as_secs(), reason));
        }
        self.store.hide_until(receipt.position, now, now + timeout);
        Ok(())
    }
}

pub(super) fn visibility_timeout(seconds: i64) -> Result<Duration, SqsError> {
    bounded("VisibilityTimeout", seconds, 0..=MAX_IN_FLIGHT_SECONDS).map(|seconds| Duration::from_secs(seconds.into()))
}
