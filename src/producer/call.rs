//! One call of `SendMessageBatch`, and its result for each message.

use std::cell::Cell;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sqs::error::BoxError;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeNameForSends as SystemAttribute, MessageSystemAttributeValue,
    SendMessageBatchRequestEntry as Entry,
};

use super::outgoing::Outgoing;
use super::{Id, Sent};
use crate::extract::{AttributeValue, SEND_ID};
use crate::moment::Deadline;
use crate::sqs::call_error::{CallError, Trouble};
use crate::sqs::entries::{EntryError, by_position};
use crate::sqs::size_limit::TooLarge;

/// The result of an attempt for one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AttemptResult {
    Sent(Sent),
    /// SQS refused it and always will.
    Refused(String),
    /// The message is above the queue's size limit.
    TooLarge(TooLarge, String),
    /// A proxy or firewall refused it, so SQS has not seen it.
    Blocked(Block, String),
    /// The queue, or an SQS, does not exist there, so no other message can be sent either.
    NoQueue(Trouble, String),
    /// The sender has no permission, so no other message can be sent either. A retry can succeed: the answer corrects a
    /// wrong clock, and credentials and keys change.
    Denied(String),
    /// It was not sent, and a retry may succeed. Without a trouble the message failed, and not its call.
    Failed(Option<Trouble>, String),
    /// The answer was lost, so it may have been sent. At worst, a retry sends it twice.
    Lost(String),
    /// SQS answered without naming it.
    Unnamed,
}

impl AttemptResult {
    /// Returns whether there was an answer.
    pub(super) fn is_answer(&self) -> bool {
        use Trouble::{NoCredentials, Unreachable, Unsent};
        !matches!(self, Self::Lost(_) | Self::Failed(Some(Unreachable | NoCredentials | Unsent), _))
    }
}

/// The meaning of a refusal by a proxy or firewall, if only one message got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    Denied,
    NoSqs,
}

/// The queue that messages are sent to.
pub(super) struct TargetQueue {
    pub(super) client: Client,
    pub(super) url: String,
    pub(super) is_fifo: bool,
}

/// Sends the messages in one call. If SQS refuses the whole call because of one message, smaller calls follow in the
/// same order, at most 19 for ten messages. No call starts after `until`.
pub(super) async fn send(to: &TargetQueue, messages: &[&Outgoing], until: Deadline) -> Vec<AttemptResult> {
    let mut attempts = send_in_parts(to, messages, until).await;
    let is_answered = |attempt: &AttemptResult| matches!(attempt, AttemptResult::Sent(_) | AttemptResult::Refused(_));
    // If other messages of the call passed the same way, this message was refused. Otherwise the way may be blocked.
    let is_passable = attempts.iter().any(is_answered);
    for attempt in &mut attempts {
        if let AttemptResult::Blocked(block, why) = attempt {
            let why = std::mem::take(why);
            *attempt = match block {
                _ if is_passable => AttemptResult::Refused(format!("{why}, for this message alone of its call")),
                Block::Denied => AttemptResult::Denied(why),
                Block::NoSqs => AttemptResult::NoQueue(Trouble::NoSqs, why),
            };
        }
    }
    attempts
}

async fn send_in_parts(to: &TargetQueue, messages: &[&Outgoing], until: Deadline) -> Vec<AttemptResult> {
    let error = match call(to, messages).await {
        Ok(answer) => return attempts(messages, &answer),
        Err(error) if messages.len() > 1 && error.may_be_for_one_entry() => error,
        Err(error) => return vec![of_error(&error); messages.len()],
    };
    // A call that is too large may pass in halves. Any other call is refused because of one message.
    let part = if error.trouble == Trouble::TooLarge { messages.len().div_ceil(2) } else { 1 };
    let mut attempts = Vec::with_capacity(messages.len());
    for part in messages.chunks(part) {
        attempts.extend(match until.is_over() {
            false => Box::pin(send_in_parts(to, part, until)).await,
            // These messages were only in the call that was refused.
            true => vec![AttemptResult::Failed(None, format!("its call was refused: {}", error.text())); part.len()],
        });
    }
    attempts
}

async fn call(to: &TargetQueue, messages: &[&Outgoing]) -> Result<SendMessageBatchOutput, CallError> {
    let mut entries = Vec::with_capacity(messages.len());
    entries.extend(messages.iter().enumerate().filter_map(|(position, message)| entry(to, position, message)));
    let call = to.client.send_message_batch().queue_url(&to.url).set_entries(Some(entries));
    let answered = async {
        let answer = call.send().await;
        (answer, IS_TRANSMITTED.with(Cell::get))
    };
    let (answer, is_transmitted) = IS_TRANSMITTED.scope(Cell::new(false), answered).await;
    answer.map_err(|error| match CallError::from(error).hiding(carried_by(messages)) {
        error if is_transmitted => error,
        // Fetching the credentials took too long.
        error => error.before_it_was_sent(),
    })
}

/// Returns the texts that must not appear in an error if SQS quotes them.
fn carried_by<'a>(messages: &'a [&Outgoing]) -> impl Iterator<Item = &'a str> {
    messages.iter().flat_map(|message| {
        let values = message.attributes.values().filter_map(|value| value.as_str());
        std::iter::once(&*message.body).chain(values)
    })
}

tokio::task_local! {
    /// Whether the current call's request was handed to the connection. Until then nothing has left the process,
    /// however the call ends.
    static IS_TRANSMITTED: Cell<bool>;
}

/// Records when a request is handed to the connection.
#[derive(Debug)]
pub(super) struct NoteTransmission;

impl Intercept for NoteTransmission {
    fn name(&self) -> &'static str {
        "NoteTransmission"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // All calls of this client are made within the scope, so access cannot fail.
        let _ = IS_TRANSMITTED.try_with(|is_transmitted| is_transmitted.set(true));
        Ok(())
    }
}

fn of_error(error: &CallError) -> AttemptResult {
    let text = error.text().to_owned();
    let of_sqs = |text: String| format!("sqs:SendMessage: {text}");
    match error.trouble {
        trouble @ (Trouble::Unreachable | Trouble::NoCredentials | Trouble::Unsent | Trouble::Busy) => {
            AttemptResult::Failed(Some(trouble), text)
        }
        Trouble::Lost => AttemptResult::Lost(text),
        Trouble::NoSqs if error.is_foreign() => AttemptResult::Blocked(Block::NoSqs, of_sqs(text)),
        Trouble::Denied if error.is_foreign() => AttemptResult::Blocked(Block::Denied, of_sqs(text)),
        trouble @ (Trouble::NoQueue | Trouble::NoSqs) => AttemptResult::NoQueue(trouble, of_sqs(text)),
        Trouble::Denied => AttemptResult::Denied(of_sqs(text)),
        Trouble::TooLarge | Trouble::Refused => match error.too_large() {
            Some(refusal) => AttemptResult::TooLarge(refusal, of_sqs(text)),
            None => AttemptResult::Refused(of_sqs(text)),
        },
    }
}

fn attempts(messages: &[&Outgoing], answer: &SendMessageBatchOutput) -> Vec<AttemptResult> {
    let successful = answer.successful().iter();
    let successful = successful.map(|entry| (entry.id(), Sent::new(entry.message_id(), entry.sequence_number())));
    let hidden = |result: Result<_, EntryError>| result.map_err(|error| error.hiding(carried_by(messages)));
    let attempt = |result: Option<Result<_, EntryError>>| {
        // The limit is read before parts of the text are hidden.
        let too_large = result.as_ref().and_then(|result| TooLarge::in_text(result.as_ref().err()?.text()));
        match (result.map(hidden), too_large) {
            (Some(Ok(sent)), _) => AttemptResult::Sent(sent),
            (Some(Err(EntryError::SenderFault(why))), Some(too_large)) => AttemptResult::TooLarge(too_large, why),
            (Some(Err(EntryError::SenderFault(why))), None) => AttemptResult::Refused(why),
            (Some(Err(EntryError::Denied(why))), _) => AttemptResult::Denied(why),
            (Some(Err(EntryError::MayPass(why))), _) => AttemptResult::Failed(None, why),
            (None, _) => AttemptResult::Unnamed,
        }
    };
    by_position(messages.len(), successful, answer.failed()).into_iter().map(attempt).collect()
}

fn entry(to: &TargetQueue, position: usize, message: &Outgoing) -> Option<Entry> {
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
    let entry = entry.set_delay_seconds(message.delay_seconds()).set_message_group_id(message.group.clone());
    entry.set_message_deduplication_id(deduplication_id).build().ok()
}

fn attribute(value: &AttributeValue) -> Option<MessageAttributeValue> {
    let attribute = MessageAttributeValue::builder().data_type(value.data_type());
    let attribute = attribute.set_string_value(value.as_str().map(str::to_owned));
    attribute.set_binary_value(value.as_bytes().map(Blob::new)).build().ok()
}
