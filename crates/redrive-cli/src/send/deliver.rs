//! A batch on its way into the queue, and the result of each of its messages.

use aws_sdk_sqs::Client;
use redrive::internals::{Cause, fail_fast};
use redrive::{Producer, SendError, TraceContext};

use super::message::{Message, Place};
use crate::sqs::{Found, explained};

/// A queue to send to.
pub(crate) struct Queue {
    producer: Producer,
    /// For errors.
    pub(crate) name: String,
    endpoint: String,
}

/// What has become of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Sent,
    Failed(String),
    /// It may be in the queue or not.
    Unknown(String),
    /// It was not sent, as nothing can be now.
    Hopeless,
}

/// What has become of a batch.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) fates: Vec<(Place, Fate)>,
    /// The ids that SQS gave those that were sent.
    pub(crate) ids: Vec<String>,
    /// Why it is of no use to send more.
    pub(crate) hopeless: Option<String>,
}

impl From<Found> for Queue {
    fn from(Found { sqs, name, url }: Found) -> Self {
        Self::new(sqs.client, url, name, sqs.endpoint.url().to_owned())
    }
}

impl Queue {
    pub(crate) fn new(client: Client, url: String, name: String, endpoint: String) -> Self {
        let producer = Producer::builder(client, url)
            // A message is sent as it is in the input: nothing is added to it.
            .without_send_id()
            .content_based_deduplication()
            .trace_context(TraceContext::default);
        Self { producer: fail_fast(producer).build(), name, endpoint }
    }

    pub(crate) fn is_fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }

    /// Sends the batch. The messages of a group arrive in their order, and none is sent before the result of an earlier one is known.
    pub(crate) async fn deliver(&self, mut batch: Vec<Message>) -> Delivered {
        let mut delivered = Delivered::default();
        while !batch.is_empty() && delivered.hopeless.is_none() {
            let outgoing: Vec<_> = batch.iter().map(|message| message.outgoing.clone()).collect();
            let results = self.producer.send_all(outgoing).await;
            delivered.hopeless = self.why_hopeless(&batch, &results);
            let mut behind = Vec::new();
            for (message, result) in batch.into_iter().zip(results) {
                match result.as_ref().map_err(|error| (error.is_unknown(), Cause::from(error))) {
                    Ok(sent) => {
                        delivered.ids.push(sent.message_id().to_owned());
                        delivered.fates.push((message.place, Fate::Sent));
                    }
                    // The result of the one before it is known by now, and printed.
                    Err((_, Cause { is_behind: true, .. })) => behind.push(message),
                    Err((true, cause)) => delivered.fates.push((message.place, Fate::Unknown(cause.text.to_owned()))),
                    Err((false, cause)) if delivered.hopeless.is_some() && is_for_all(&message, &cause) => {
                        delivered.fates.push((message.place, Fate::Hopeless));
                    }
                    Err((false, cause)) => delivered.fates.push((message.place, Fate::Failed(cause.text.to_owned()))),
                }
            }
            batch = behind;
        }
        delivered.fates.extend(batch.into_iter().map(|message| (message.place, Fate::Hopeless)));
        delivered
    }

    /// Why the next batch would fail as this one has. Where some messages of it were sent, the others failed for what they are.
    fn why_hopeless(&self, batch: &[Message], results: &[Result<redrive::Sent, SendError>]) -> Option<String> {
        if results.iter().any(Result::is_ok) {
            return None;
        }
        let what = format!("cannot send to {}", self.name);
        batch.iter().zip(results).find_map(|(message, result)| {
            let cause = Cause::from(result.as_ref().err()?);
            match cause.trouble {
                Some(trouble) => Some(explained(trouble, cause.text, &what, &self.endpoint)),
                None => lacks_id(message, &cause).then(|| format!("{what}: {LACKS_IDS}")),
            }
        })
    }
}

/// Whether the message failed for what others fail for too.
fn is_for_all(message: &Message, cause: &Cause<'_>) -> bool {
    cause.trouble.is_some() || lacks_id(message, cause)
}

const LACKS_IDS: &str =
    "it has no content-based deduplication, so each message needs an id of its own; pass --deduplication-id";

/// Whether the message failed for want of a deduplication id. SQS has no code for it alone.
fn lacks_id(message: &Message, cause: &Cause<'_>) -> bool {
    message.outgoing.get_deduplication_id().is_none() && cause.text.contains("ContentBasedDeduplication")
}

#[cfg(test)]
mod tests;
