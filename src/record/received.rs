//! Messages as a worker received them, as the backing of records.

use std::fmt;
use std::sync::Arc;

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};

/// A message that has what SQS gives every message.
pub(crate) struct ReceivedMessage {
    pub(crate) message_id: String,
    pub(crate) receipt_handle: String,
    pub(crate) body: String,
    /// Everything else.
    rest: Message,
}

impl ReceivedMessage {
    /// # Errors
    ///
    /// Where it lacks an id, a receipt handle or a body. Without an id it cannot be reported, without a receipt handle not be deleted.
    pub(crate) fn new(mut message: Message) -> Result<Self, Incomplete> {
        let lacks = |lacks| move || Incomplete { lacks };
        Ok(Self {
            message_id: message.message_id.take().filter(|id| !id.is_empty()).ok_or_else(lacks("MessageId"))?,
            receipt_handle: message.receipt_handle.take().ok_or_else(lacks("ReceiptHandle"))?,
            body: message.body.take().ok_or_else(lacks("Body"))?,
            rest: message,
        })
    }
}

/// The messages of one poll.
pub(crate) struct ReceivedMessages {
    messages: Vec<ReceivedMessage>,
    /// For each the first one with the same id, where that is another one.
    copies: Vec<Option<usize>>,
    queue_arn: Arc<str>,
}

impl ReceivedMessages {
    pub(crate) fn new(messages: Vec<ReceivedMessage>, queue_arn: Arc<str>) -> Self {
        // A poll brings ten messages at most.
        let first =
            |index: usize| messages[..index].iter().position(|other| other.message_id == messages[index].message_id);
        let copies = (0..messages.len()).map(first).collect();
        Self { messages, copies, queue_arn }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn copy_of(&self, index: usize) -> Option<usize> {
        self.copies[index]
    }

    pub(super) fn queue_arn(&self) -> &str {
        &self.queue_arn
    }

    pub(super) fn get(&self, index: usize) -> Received<'_> {
        Received { message: &self.messages[index], queue_arn: &self.queue_arn }
    }
}

/// A message, and the queue that it was received from.
#[derive(Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) message: &'a ReceivedMessage,
    pub(crate) queue_arn: &'a str,
}

impl<'a> Received<'a> {
    pub(super) fn attribute(self, name: &str) -> Option<&'a str> {
        let attributes = self.message.rest.attributes.as_ref()?;
        attributes.get(&MessageSystemAttributeName::from(name)).map(String::as_str)
    }

    pub(super) fn message_attribute(self, name: &str) -> Option<&'a MessageAttributeValue> {
        self.message.rest.message_attributes.as_ref()?.get(name)
    }

    pub(crate) fn message_attributes(self) -> impl Iterator<Item = (&'a String, &'a MessageAttributeValue)> {
        self.message.rest.message_attributes.iter().flatten()
    }

    /// Returns everything but id, receipt handle and body.
    pub(crate) fn rest(self) -> &'a Message {
        &self.message.rest
    }
}

/// A message that lacks what SQS gives every message.
#[derive(Debug)]
pub(crate) struct Incomplete {
    lacks: &'static str,
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the queue handed out a message without {}; check that the endpoint speaks SQS", self.lacks)
    }
}

impl std::error::Error for Incomplete {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_could_not_be_settled_is_refused() {
        let refused = |message: Message| ReceivedMessage::new(message).map(drop).unwrap_err().to_string();
        let message = |id: &str| Message::builder().message_id(id).receipt_handle("h").body("b");
        assert!(refused(Message::builder().build()).contains("without MessageId"));
        assert!(refused(message("").build()).contains("without MessageId"), "two of them would be one message");
        assert!(refused(Message::builder().message_id("a").build()).contains("without ReceiptHandle"));
        assert!(refused(Message::builder().message_id("a").receipt_handle("h").build()).contains("without Body"));
        assert!(ReceivedMessage::new(message("a").build()).is_ok());
    }

    #[test]
    fn messages_with_the_same_id_are_copies_of_the_first() {
        let message = |id: &str| Message::builder().message_id(id).receipt_handle("h").body("b").build();
        let messages = ["a", "b", "a", "a"].map(|id| ReceivedMessage::new(message(id)).unwrap());
        let messages = ReceivedMessages::new(messages.into(), "arn".into());
        assert_eq!([0, 1, 2, 3].map(|index| messages.copy_of(index)), [None, None, Some(0), Some(0)]);
    }
}
