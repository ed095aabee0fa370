//! Sends a batch to the queue, and returns the result of each message.

use aws_sdk_sqs::Client;
use redrive::internals::{SendCause, fail_fast};
use redrive::{Producer, SendError, TraceContext};

use super::message::{InputPosition, Message};
use crate::sqs::{Found, explained};

/// A queue to send to.
pub(crate) struct Destination {
    producer: Producer,
    /// The queue's name, for messages to the user.
    pub(crate) name: String,
    endpoint: String,
}

/// The outcome of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SendOutcome {
    Sent,
    Failed(String),
    /// The message may be in the queue or not.
    Unknown(String),
    /// The message was not sent, because no message can be sent now.
    Hopeless,
}

/// The outcome of a batch.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) outcomes: Vec<(InputPosition, SendOutcome)>,
    /// The ids of the sent messages, as SQS assigned them.
    pub(crate) ids: Vec<String>,
    /// The reason if sending more is useless.
    pub(crate) hopeless: Option<String>,
}

impl From<Found> for Destination {
    fn from(Found { sqs, name, url }: Found) -> Self {
        Self::new(sqs.client, url, name, sqs.endpoint.url().to_owned())
    }
}

impl Destination {
    pub(crate) fn new(client: Client, url: String, name: String, endpoint: String) -> Self {
        let producer = Producer::builder(client, url)
            // A message is sent exactly as it is in the input.
            .without_send_id()
            .content_based_deduplication()
            .trace_context(TraceContext::default);
        Self { producer: fail_fast(producer).build(), name, endpoint }
    }

    pub(crate) fn is_fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }

    /// Sends the batch. The messages of a group arrive in their order: each is sent only when the result of the one
    /// before it is known.
    pub(crate) async fn deliver(&self, mut batch: Vec<Message>) -> Delivered {
        let mut delivered = Delivered::default();
        while !batch.is_empty() && delivered.hopeless.is_none() {
            let outgoing: Vec<_> = batch.iter().map(|message| message.outgoing.clone()).collect();
            let results = self.producer.send_all(outgoing).await;
            delivered.hopeless = self.why_hopeless(&batch, &results);
            let mut behind = Vec::new();
            for (message, result) in batch.into_iter().zip(results) {
                match result.as_ref().map_err(|error| (error.is_unknown(), SendCause::from(error))) {
                    Ok(sent) => {
                        delivered.ids.push(sent.message_id().to_owned());
                        delivered.outcomes.push((message.position, SendOutcome::Sent));
                    }
                    // By now the result of the message before it is known and recorded.
                    Err((_, SendCause { is_behind: true, .. })) => behind.push(message),
                    Err((true, cause)) => {
                        delivered.outcomes.push((message.position, SendOutcome::Unknown(cause.text.to_owned())))
                    }
                    Err((false, cause)) if delivered.hopeless.is_some() && is_for_all(&message, &cause) => {
                        delivered.outcomes.push((message.position, SendOutcome::Hopeless));
                    }
                    Err((false, cause)) => {
                        delivered.outcomes.push((message.position, SendOutcome::Failed(cause.text.to_owned())))
                    }
                }
            }
            batch = behind;
        }
        delivered.outcomes.extend(batch.into_iter().map(|message| (message.position, SendOutcome::Hopeless)));
        delivered
    }

    /// Returns why the next batch would fail like this one. If some messages of this batch were sent, the others failed
    /// for reasons of their own.
    fn why_hopeless(&self, batch: &[Message], results: &[Result<redrive::Sent, SendError>]) -> Option<String> {
        if results.iter().any(Result::is_ok) {
            return None;
        }
        let what = format!("cannot send to {}", self.name);
        batch.iter().zip(results).find_map(|(message, result)| {
            let cause = SendCause::from(result.as_ref().err()?);
            match cause.trouble {
                Some(trouble) => Some(explained(trouble, cause.text, &what, &self.endpoint)),
                None => lacks_id(message, &cause).then(|| format!("{what}: {LACKS_IDS}")),
            }
        })
    }
}

/// Returns whether the message failed for a cause that other messages share.
fn is_for_all(message: &Message, cause: &SendCause<'_>) -> bool {
    cause.trouble.is_some() || lacks_id(message, cause)
}

const LACKS_IDS: &str =
    "it has no content-based deduplication, so each message needs its own id; pass --deduplication-id";

/// Returns whether the message failed because it has no deduplication id. SQS has no separate code for that.
fn lacks_id(message: &Message, cause: &SendCause<'_>) -> bool {
    message.outgoing.get_deduplication_id().is_none() && cause.text.contains("ContentBasedDeduplication")
}

#[cfg(test)]
mod tests;
