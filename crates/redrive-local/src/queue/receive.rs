//! Implements ReceiveMessage.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::account::{Account, Queue};
use super::attribute::{Attributes, md5_of};
use super::error::{Code, SqsError};
use super::message::{Message, Position};
use super::number::bounded;
use super::receipt::Receipt;
use super::send::check_token;
use super::settle::visibility_timeout;
use super::store::Taken;
use super::time::Time;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ReceiveMessage {
    pub queue_url: String,
    /// The old name of [`ReceiveMessage::message_system_attribute_names`].
    attribute_names: Vec<String>,
    pub message_system_attribute_names: Vec<String>,
    pub message_attribute_names: Vec<String>,
    pub max_number_of_messages: Option<i64>,
    pub visibility_timeout: Option<i64>,
    pub wait_time_seconds: Option<i64>,
    pub receive_request_attempt_id: Option<String>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Received {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<ReceivedMessage>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReceivedMessage {
    pub message_id: String,
    pub receipt_handle: String,
    #[serde(rename = "MD5OfBody")]
    md5_of_body: String,
    pub body: Box<str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<&'static str, String>,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    md5_of_message_attributes: Option<String>,
    #[serde(skip_serializing_if = "Attributes::is_empty")]
    message_attributes: Attributes,
}

/// AWS's limit on messages in flight is "about 120,000" for both types of queue.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html>
pub(super) const MAX_IN_FLIGHT: usize = 120_000;

const MAX_MESSAGES: u32 = 10;
const MAX_WAIT_SECONDS: u32 = 20;
/// SQS returns the id of the sender's principal.
const SENDER_ID: &str = "AIDAIENQZJOLO23YVJ4VO";

impl Account {
    /// Receives the available messages. The caller does the waiting, see [`Account::wait_time`].
    pub fn receive_message(&mut self, request: &ReceiveMessage, now: Time) -> Result<Received, SqsError> {
        let queue = self.queue(&request.queue_url, now)?;
        let wanted = Wanted::of(request, queue)?;
        if let Some(repeated) = queue.repeat(&wanted, request, now) {
            return Ok(queue.show(&repeated, request));
        }
        let (name, redrive) = (queue.name.clone(), queue.settings.redrive.clone());
        // Without its dead-letter queue a message stays in the queue, so that it is not lost.
        let redrive = redrive.filter(|policy| self.queue_by_arn(&policy.target_arn).is_some());
        let queue = self.queue(&request.queue_url, now)?;
        let Taken { received, dead } =
            queue.take(&wanted, redrive.as_ref().map(|policy| policy.max_receive_count), now)?;
        let receipts = queue.receipts(&received);
        queue.handed_out += receipts.len() as u64;
        let shown = queue.show(&receipts, request);
        if let Some(id) = request.receive_request_attempt_id.as_ref().filter(|_| !receipts.is_empty()) {
            queue.attempts.insert(id.clone(), receipts, now);
        }
        if let Some(policy) = redrive {
            self.dead_letter(&name, &policy.target_arn, dead, now);
        }
        Ok(shown)
    }

    /// Makes a received message visible to others, as standard queues do now and then.
    pub fn duplicate(&mut self, url: &str, handle: &str, now: Time) {
        if let Ok(queue) = self.queue(url, now)
            && !queue.is_fifo()
            && let Ok(receipt) = Receipt::of_handle(handle, queue.id)
        {
            queue.store.duplicate(receipt.position);
            let id = queue.id;
            self.has_changed(id);
        }
    }

    /// Returns the queue of a receive, and how long the receive waits for a message.
    pub fn wait_time(&mut self, request: &ReceiveMessage, now: Time) -> Result<(u64, Duration), SqsError> {
        let queue = self.queue(&request.queue_url, now)?;
        Ok((queue.id, Wanted::of(request, queue)?.wait))
    }
}

/// A checked request, with the queue's own values where the request has none.
struct Wanted {
    max: usize,
    visibility_timeout: Duration,
    wait: Duration,
}

impl Wanted {
    fn of(request: &ReceiveMessage, queue: &Queue) -> Result<Self, SqsError> {
        let max = bounded("MaxNumberOfMessages", request.max_number_of_messages.unwrap_or(1), 1..=MAX_MESSAGES)?;
        let wait = match request.wait_time_seconds {
            None => queue.settings.receive_wait,
            Some(seconds) => wait_time(seconds)?,
        };
        if let (false, Some(id)) = (queue.is_fifo(), &request.receive_request_attempt_id) {
            return Err(SqsError::wrong_queue_type("ReceiveRequestAttemptId", id));
        }
        check_token("ReceiveRequestAttemptId", request.receive_request_attempt_id.as_deref())?;
        check_names(request)?;
        let timeout = request.visibility_timeout.map(visibility_timeout).transpose()?;
        let visibility_timeout = timeout.unwrap_or(queue.settings.visibility_timeout);
        Ok(Self { max: max as usize, visibility_timeout, wait })
    }
}

/// Checks the wait time. AWS words this range differently from others.
fn wait_time(seconds: i64) -> Result<Duration, SqsError> {
    let seconds_in_range = u32::try_from(seconds).ok().filter(|seconds| *seconds <= MAX_WAIT_SECONDS);
    seconds_in_range.map(|seconds| Duration::from_secs(seconds.into())).ok_or_else(|| {
        let reason = format!("Must be >= 0 and <= {MAX_WAIT_SECONDS}, if provided.");
        SqsError::parameter("WaitTimeSeconds", seconds, &reason)
    })
}

const SYSTEM_ATTRIBUTES: [&str; 9] = [
    "ApproximateFirstReceiveTimestamp",
    "ApproximateReceiveCount",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
    "MessageDeduplicationId",
    "MessageGroupId",
    "SenderId",
    "SentTimestamp",
    "SequenceNumber",
];

fn check_names(request: &ReceiveMessage) -> Result<(), SqsError> {
    let is_known = |name: &str| name == "All" || SYSTEM_ATTRIBUTES.contains(&name);
    match request.system_names().find(|name| !is_known(name)) {
        Some(unknown) => Err(SqsError::new(Code::InvalidAttributeName, format!("Unknown Attribute {unknown}."))),
        None => Ok(()),
    }
}

impl ReceiveMessage {
    fn system_names(&self) -> impl Iterator<Item = &str> {
        self.attribute_names.iter().chain(&self.message_system_attribute_names).map(String::as_str)
    }

    fn wants_system(&self, name: &str) -> bool {
        self.system_names().any(|wanted| wanted == "All" || wanted == name)
    }

    /// Returns whether the request asks for an attribute: by name, by prefix (`order.*`), or for all (`All`, `*`).
    fn wants(&self, name: &str) -> bool {
        self.message_attribute_names.iter().any(|wanted| match wanted.strip_suffix(".*") {
            _ if matches!(wanted.as_str(), "All" | "*") => true,
            Some(prefix) => name.starts_with(prefix),
            None => wanted == name,
        })
    }
}

impl Queue {
    fn take(&mut self, wanted: &Wanted, max_receive_count: Option<u32>, now: Time) -> Result<Taken, SqsError> {
        let room = MAX_IN_FLIGHT.saturating_sub(self.store.counts().in_flight);
        if room == 0 && !self.is_fifo() && wanted.wait.is_zero() {
            let message = format!("Too many messages in flight: {MAX_IN_FLIGHT} are received and not deleted.");
            return Err(SqsError::new(Code::OverLimit, message));
        }
        Ok(self.store.receive(wanted.max.min(room), now, now + wanted.visibility_timeout, max_receive_count))
    }

    /// Returns the earlier receipts of a repeated attempt, if all their messages are still in flight and unchanged.
    fn repeat(&mut self, wanted: &Wanted, request: &ReceiveMessage, now: Time) -> Option<Vec<Receipt>> {
        let id = request.receive_request_attempt_id.as_deref()?;
        let receipts = self.attempts.get(id, now)?.to_vec();
        let unchanged = |receipt: &Receipt| {
            let flight = self.store.flight(receipt.position);
            let count = self.store.message(receipt.position).map(|message| message.receive_count);
            flight.is_some_and(|flight| !flight.changed) && count == Some(receipt.receive_count)
        };
        if !receipts.iter().all(unchanged) {
            return None;
        }
        for receipt in &receipts {
            self.store.renew(receipt.position, now, now + wanted.visibility_timeout);
        }
        Some(receipts)
    }

    fn receipts(&self, positions: &[Position]) -> Vec<Receipt> {
        let receipt = |&position| {
            let receive_count = self.store.message(position)?.receive_count;
            Some(Receipt { queue: self.id, position, receive_count })
        };
        positions.iter().filter_map(receipt).collect()
    }

    fn show(&self, receipts: &[Receipt], request: &ReceiveMessage) -> Received {
        let messages = receipts.iter().filter_map(|receipt| {
            let message = self.store.message(receipt.position)?;
            Some(ReceivedMessage::of(message, *receipt, request))
        });
        Received { messages: messages.collect() }
    }
}

impl ReceivedMessage {
    fn of(message: &Message, receipt: Receipt, request: &ReceiveMessage) -> Self {
        let attributes = message.attributes.iter().flat_map(|attributes| attributes.iter());
        let attributes: Vec<_> = attributes.filter(|(name, _)| request.wants(name)).collect();
        Self {
            message_id: message.id.to_string(),
            receipt_handle: receipt.to_handle(),
            md5_of_body: message.md5_of_body.to_string(),
            body: message.body.clone(),
            attributes: system_attributes(message, request),
            // The digest covers only the returned attributes, because SDKs check it against these.
            md5_of_message_attributes: (!attributes.is_empty()).then(|| md5_of(attributes.iter().copied()).to_string()),
            message_attributes: attributes.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect(),
        }
    }
}

fn system_attributes(message: &Message, request: &ReceiveMessage) -> BTreeMap<&'static str, String> {
    let value = |name| match name {
        "ApproximateFirstReceiveTimestamp" => message.first_received.map(|time| time.as_millis().to_string()),
        "ApproximateReceiveCount" => Some(message.receive_count.to_string()),
        "AWSTraceHeader" => message.trace_header.as_deref().map(str::to_owned),
        "DeadLetterQueueSourceArn" => message.dead_letter_source.as_deref().map(str::to_owned),
        "MessageDeduplicationId" => message.fifo.as_ref().map(|fifo| fifo.deduplication_id.to_string()),
        "MessageGroupId" => message.group.as_deref().map(str::to_owned),
        "SenderId" => Some(SENDER_ID.to_owned()),
        "SentTimestamp" => Some(message.sent.as_millis().to_string()),
        "SequenceNumber" => message.fifo.as_ref().map(|fifo| fifo.sequence_number.to_string()),
        _ => None,
    };
    let wanted = SYSTEM_ATTRIBUTES.into_iter().filter(|name| request.wants_system(name));
    wanted.filter_map(|name| Some((name, value(name)?))).collect()
}
