//! One call of `SendMessageBatch`, and what it says of each of its messages.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeNameForSends as SystemAttribute, MessageSystemAttributeValue,
    SendMessageBatchRequestEntry as Entry,
};

use tokio::time::Instant;

use super::outgoing::Outgoing;
use super::{Id, Sent};
use crate::extract::{AttributeValue, SEND_ID};
use crate::sqs::call_error::{CallError, Trouble};
use crate::sqs::entries::{EntryError, by_position};

/// What an attempt has come to, for one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    Sent(Sent),
    /// It never will go as it is.
    Refused(String),
    /// Neither will any other: there is no queue.
    NoQueue(String),
    /// Nor any other: whoever sends may not. Clocks are set by what an answer says, and credentials and keys change.
    Denied(String),
    /// It did not go, and may another time.
    Failed(String),
    /// It may have gone. Another try brings it there once more, at worst.
    Lost(String),
    /// SQS has answered, and said nothing of it.
    Unnamed,
}

/// Where messages are sent.
pub(super) struct Queue {
    pub(super) client: Client,
    pub(super) url: String,
    pub(super) is_fifo: bool,
}

/// Sends the messages in one call; each in one of its own where the call was refused, as one of them may be why. None of these begins
/// after `until`.
pub(super) async fn send(to: &Queue, messages: &[&Outgoing], until: Instant) -> Vec<Attempt> {
    match call(to, messages).await {
        Ok(answer) => attempts(messages, &answer),
        Err(error) if error.trouble == Trouble::Refused && messages.len() > 1 => {
            send_each(to, messages, &error, until).await
        }
        Err(error) => vec![of_error(&error); messages.len()],
    }
}

async fn send_each(to: &Queue, messages: &[&Outgoing], refusal: &CallError, until: Instant) -> Vec<Attempt> {
    let mut attempts = Vec::with_capacity(messages.len());
    for message in messages {
        attempts.extend(match Instant::now() < until {
            true => Box::pin(send(to, &[message], until)).await,
            // It was in the call that was refused, and nowhere else.
            false => vec![Attempt::Failed(format!("in a call that was refused: {}", refusal.text()))],
        });
    }
    attempts
}

async fn call(to: &Queue, messages: &[&Outgoing]) -> Result<SendMessageBatchOutput, CallError> {
    let mut entries = Vec::with_capacity(messages.len());
    entries.extend(messages.iter().enumerate().filter_map(|(position, message)| entry(to, position, message)));
    let call = to.client.send_message_batch().queue_url(&to.url).set_entries(Some(entries));
    call.send().await.map_err(|error| CallError::from(error).hiding(carried_by(messages)))
}

/// What must not be shown, should SQS quote it.
fn carried_by<'a>(messages: &'a [&Outgoing]) -> impl Iterator<Item = &'a str> {
    messages.iter().flat_map(|message| {
        let values = message.attributes.iter().filter_map(|(_, value)| value.as_str());
        std::iter::once(&*message.body).chain(values)
    })
}

fn of_error(error: &CallError) -> Attempt {
    let text = error.text().to_owned();
    match error.trouble {
        Trouble::Unreachable | Trouble::Busy => Attempt::Failed(text),
        Trouble::Lost => Attempt::Lost(text),
        Trouble::NoQueue | Trouble::NoSqs => Attempt::NoQueue(format!("sqs:SendMessage: {text}")),
        Trouble::Denied => Attempt::Denied(format!("sqs:SendMessage: {text}")),
        Trouble::Refused => Attempt::Refused(format!("sqs:SendMessage: {text}")),
    }
}

fn attempts(messages: &[&Outgoing], answer: &SendMessageBatchOutput) -> Vec<Attempt> {
    let successful = answer.successful().iter();
    let successful = successful.map(|entry| (entry.id(), Sent::new(entry.message_id(), entry.sequence_number())));
    let hidden = |result: Result<_, EntryError>| result.map_err(|error| error.hiding(carried_by(messages)));
    let attempt = |result: Option<Result<_, EntryError>>| match result.map(hidden) {
        Some(Ok(sent)) => Attempt::Sent(sent),
        Some(Err(EntryError::SenderFault(why))) => Attempt::Refused(why),
        Some(Err(EntryError::Denied(why))) => Attempt::Denied(why),
        Some(Err(EntryError::MayPass(why))) => Attempt::Failed(why),
        None => Attempt::Unnamed,
    };
    by_position(messages.len(), successful, answer.failed()).into_iter().map(attempt).collect()
}

fn entry(to: &Queue, position: usize, message: &Outgoing) -> Option<Entry> {
    let mut entry = Entry::builder().id(position.to_string()).message_body(&message.body);
    for (name, value) in &message.attributes {
        entry = entry.message_attributes(name, attribute(value)?);
    }
    let id = message.deduplication_id.as_ref().and_then(Id::text);
    let (deduplication_id, send_id) = if to.is_fifo { (id, None) } else { (None, id) };
    if let Some(id) = send_id {
        let id = MessageAttributeValue::builder().data_type("String").string_value(id).build().ok()?;
        entry = entry.message_attributes(SEND_ID, id);
    }
    if let Some(header) = &message.trace_header {
        let value = MessageSystemAttributeValue::builder().data_type("String").string_value(header).build().ok()?;
        entry = entry.message_system_attributes(SystemAttribute::AwsTraceHeader, value);
    }
    // SQS counts in whole seconds. Not before its time is what was asked for.
    let seconds = |delay: std::time::Duration| i32::try_from(delay.as_millis().div_ceil(1_000)).unwrap_or(i32::MAX);
    let entry = entry.set_delay_seconds(message.delay.map(seconds)).set_message_group_id(message.group.clone());
    entry.set_message_deduplication_id(deduplication_id).build().ok()
}

fn attribute(value: &AttributeValue) -> Option<MessageAttributeValue> {
    let attribute = MessageAttributeValue::builder().data_type(value.data_type());
    let attribute = attribute.set_string_value(value.as_str().map(str::to_owned));
    attribute.set_binary_value(value.as_bytes().map(Blob::new)).build().ok()
}
