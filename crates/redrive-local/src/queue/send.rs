//! Implements SendMessage and SendMessageBatch.

use std::fmt::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::account::{Account, Queue};
use super::attribute::{Attributes, check_attributes, md5_of, size_of};
use super::batch::{BatchResult, check_ids};
use super::deduplication::{Accepted, Key};
use super::error::{Code, SqsError};
use super::message::{FifoPart, MAX_MESSAGE_BYTES, Md5Sum, Message, MessageId, SequenceNumber, check_body};
use super::time::Time;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SendMessage {
    pub queue_url: String,
    #[serde(flatten)]
    pub message: Outgoing,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SendMessageBatch {
    pub queue_url: String,
    pub entries: Vec<Outgoing>,
}

/// A message in its sender's form.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Outgoing {
    /// The id of a batch entry. Empty in a single call.
    pub id: String,
    pub message_body: String,
    pub delay_seconds: Option<i64>,
    pub message_attributes: Option<Attributes>,
    pub message_system_attributes: Option<Attributes>,
    pub message_deduplication_id: Option<String>,
    pub message_group_id: Option<String>,
    /// The `X-Amzn-Trace-Id` of the call, for a message without its own trace header.
    #[serde(skip)]
    pub trace_id: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Sent {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    pub message_id: String,
    #[serde(rename = "MD5OfMessageBody")]
    md5_of_message_body: String,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    md5_of_message_attributes: Option<String>,
    #[serde(rename = "MD5OfMessageSystemAttributes", skip_serializing_if = "Option::is_none")]
    md5_of_message_system_attributes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence_number: Option<String>,
}

const TRACE_HEADER: &str = "AWSTraceHeader";
const MAX_DELAY_SECONDS: i64 = 900;
const MAX_TOKEN_CHARS: usize = 128;

impl Account {
    pub fn send_message(&mut self, request: SendMessage, now: Time) -> Result<Sent, SqsError> {
        let mut rng = self.rng.fork();
        let queue = self.queue(&request.queue_url, now)?;
        let sent = queue.send(request.message, &mut rng, now)?;
        let id = queue.id;
        self.has_changed(id);
        Ok(sent)
    }

    pub fn send_message_batch(&mut self, request: SendMessageBatch, now: Time) -> Result<BatchResult<Sent>, SqsError> {
        let mut rng = self.rng.fork();
        let queue = self.queue(&request.queue_url, now)?;
        check_ids("SendMessageBatchRequestEntry", request.entries.iter().map(|entry| entry.id.as_str()))?;
        let bytes: usize = request.entries.iter().map(Outgoing::size).sum();
        if bytes > MAX_MESSAGE_BYTES {
            let message =
                format!("Batch requests cannot be longer than {MAX_MESSAGE_BYTES} bytes. You have sent {bytes} bytes.");
            return Err(SqsError::new(Code::BatchRequestTooLong, message));
        }
        request.entries.iter().try_for_each(|entry| queue.check_fifo_ids(entry))?;
        let sent = request.entries.into_iter().map(|entry| (entry.id.clone(), queue.send(entry, &mut rng, now)));
        let sent = BatchResult::of(sent);
        let id = queue.id;
        self.has_changed(id);
        Ok(sent)
    }
}

impl Outgoing {
    /// Returns the size that counts against the limits. System attributes do not count.
    fn size(&self) -> usize {
        self.message_body.len() + self.message_attributes.as_ref().map_or(0, size_of)
    }

    fn check(&self, max_bytes: usize) -> Result<(), SqsError> {
        check_body(&self.message_body)?;
        self.message_attributes.as_ref().map_or(Ok(()), check_attributes)?;
        self.trace_header()?;
        if self.size() > max_bytes {
            // AWS words this error differently for a single message and for a batch entry.
            let problem = if self.id.is_empty() { "are invalid" } else { "cannot be validated" };
            let message =
                format!("One or more parameters {problem}. Reason: Message must be shorter than {max_bytes} bytes.");
            return Err(SqsError::new(Code::InvalidParameterValue, message));
        }
        check_token("MessageGroupId", self.message_group_id.as_deref())?;
        check_token("MessageDeduplicationId", self.message_deduplication_id.as_deref())
    }

    /// Returns the trace header, the only system attribute that a sender may set.
    fn trace_header(&self) -> Result<Option<&str>, SqsError> {
        let given = self.message_system_attributes.iter().flat_map(Attributes::iter);
        let mut header = None;
        for (name, value) in given {
            let text = value.as_string().filter(|text| name == TRACE_HEADER && !text.is_empty());
            header = Some(text.ok_or_else(|| {
                let message = format!(
                    "The message system attribute '{name}' is invalid: AWSTraceHeader, a text, is the only one."
                );
                SqsError::new(Code::InvalidParameterValue, message)
            })?);
        }
        Ok(header)
    }

    fn delay(&self, fifo: bool) -> Result<Option<Duration>, SqsError> {
        let Some(seconds) = self.delay_seconds else { return Ok(None) };
        match u64::try_from(seconds) {
            Ok(0) if fifo => Ok(None),
            _ if fifo => Err(SqsError::wrong_queue_type("DelaySeconds", seconds)),
            Ok(delay) if seconds <= MAX_DELAY_SECONDS => Ok(Some(Duration::from_secs(delay))),
            _ => Err(SqsError::parameter("DelaySeconds", seconds, "DelaySeconds must be >= 0 and <= 900.")),
        }
    }
}

/// Checks a group, deduplication or attempt id: 1 to 128 printable characters of ASCII, without spaces.
pub(super) fn check_token(name: &str, token: Option<&str>) -> Result<(), SqsError> {
    match token {
        Some(token)
            if token.is_empty() || token.len() > MAX_TOKEN_CHARS || !token.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            let reason =
                format!("{name} can only include alphanumeric and punctuation characters. 1 to 128 in length.");
            Err(SqsError::parameter(name, token, &reason))
        }
        _ => Ok(()),
    }
}

impl Queue {
    fn send(&mut self, outgoing: Outgoing, rng: &mut fastrand::Rng, now: Time) -> Result<Sent, SqsError> {
        outgoing.check(self.settings.max_message_bytes)?;
        let delay = outgoing.delay(self.is_fifo())?.unwrap_or(self.settings.delay);
        let message = Message {
            id: MessageId::random(rng),
            md5_of_body: Md5Sum::of(outgoing.message_body.as_bytes()),
            trace_header: outgoing.trace_header()?.or(outgoing.trace_id.as_deref()).map(Into::into),
            fifo: self.fifo_part(&outgoing)?,
            body: outgoing.message_body.into(),
            attributes: outgoing.message_attributes.filter(|attributes| !attributes.is_empty()),
            group: outgoing.message_group_id.map(Into::into),
            sent: now,
            first_received: None,
            receive_count: 0,
            received_elsewhere: 0,
            dead_letter_source: None,
        };
        let system_attributes = outgoing.message_system_attributes.filter(|attributes| !attributes.is_empty());
        let mut sent = Sent {
            id: outgoing.id,
            message_id: message.id.to_string(),
            md5_of_message_body: message.md5_of_body.to_string(),
            md5_of_message_attributes: message
                .attributes
                .as_ref()
                .map(|attributes| md5_of(attributes.iter()).to_string()),
            md5_of_message_system_attributes: system_attributes.map(|attributes| md5_of(attributes.iter()).to_string()),
            sequence_number: message.fifo.as_ref().map(|fifo| fifo.sequence_number.to_string()),
        };
        match self.accepted_before(&message, now) {
            Some(Accepted { message_id, sequence_number }) => {
                sent.message_id = message_id.to_string();
                sent.sequence_number = Some(sequence_number.to_string());
            }
            None => self.store.insert(message, now, delay),
        }
        Ok(sent)
    }

    /// Returns the earlier answer for a duplicate. Otherwise records this message as accepted.
    fn accepted_before(&mut self, message: &Message, now: Time) -> Option<Accepted> {
        let (fifo, settings) = (message.fifo.as_ref()?, self.settings.fifo?);
        let group = message.group.clone().filter(|_| settings.deduplicates_by_group);
        let key = Key { group, id: fifo.deduplication_id.clone() };
        let before = self.deduplication.get(&key, now);
        if before.is_none() {
            let accepted = Accepted { message_id: message.id, sequence_number: fifo.sequence_number };
            self.deduplication.insert(key, accepted, now);
        }
        before
    }

    /// Checks the ids of an entry. An entry without a group or a deduplication id fails the whole batch on a FIFO
    /// queue.
    fn check_fifo_ids(&self, entry: &Outgoing) -> Result<(), SqsError> {
        let Some(settings) = self.settings.fifo else { return Ok(()) };
        if entry.message_group_id.is_none() {
            let SqsError { message, .. } = SqsError::missing("MessageGroupId");
            return Err(SqsError::new(Code::InvalidParameterValue, message));
        }
        if entry.message_deduplication_id.is_none() && !settings.content_based_deduplication {
            return Err(no_deduplication_id());
        }
        Ok(())
    }

    fn fifo_part(&mut self, outgoing: &Outgoing) -> Result<Option<Box<FifoPart>>, SqsError> {
        let Some(settings) = self.settings.fifo else {
            return match &outgoing.message_deduplication_id {
                Some(id) => Err(SqsError::wrong_queue_type("MessageDeduplicationId", id)),
                None => Ok(None),
            };
        };
        if outgoing.message_group_id.is_none() {
            return Err(SqsError::missing("MessageGroupId"));
        }
        let deduplication_id: Box<str> = match &outgoing.message_deduplication_id {
            Some(id) => id.as_str().into(),
            None if settings.content_based_deduplication => sha256(&outgoing.message_body).into(),
            None => return Err(no_deduplication_id()),
        };
        Ok(Some(Box::new(FifoPart { deduplication_id, sequence_number: self.next_sequence() })))
    }

    pub(super) fn next_sequence(&mut self) -> SequenceNumber {
        self.next_sequence += 1;
        SequenceNumber::nth(self.next_sequence)
    }
}

fn no_deduplication_id() -> SqsError {
    let message =
        "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly";
    SqsError::new(Code::InvalidParameterValue, message)
}

fn sha256(body: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(body) {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
