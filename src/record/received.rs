//! Messages that a worker received, as the backing of records.

use std::sync::Arc;

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};

use super::received_message::ReceivedMessage;

/// The messages of one poll.
pub(crate) struct ReceivedMessages {
    messages: Vec<ReceivedMessage>,
    /// For each message the index of the first one with the same id, if that is another message.
    copies: Vec<Option<usize>>,
    queue_arn: Arc<str>,
}

impl ReceivedMessages {
    pub(crate) fn new(messages: Vec<ReceivedMessage>, queue_arn: Arc<str>) -> Self {
        // A poll returns at most ten messages, so the quadratic search is cheap.
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

/// A message with the ARN of its queue.
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

    /// Returns the fields other than id, receipt handle and body.
    pub(crate) fn rest(self) -> &'a Message {
        &self.message.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_with_a_seen_id_is_a_copy_of_the_first() {
        let message = |id: &str| Message::builder().message_id(id).receipt_handle("h").body("b").build();
        let messages = ["a", "b", "a", "a"].map(|id| ReceivedMessage::new(message(id)).unwrap());
        let messages = ReceivedMessages::new(messages.into(), "arn".into());
        assert_eq!([0, 1, 2, 3].map(|index| messages.copy_of(index)), [None, None, Some(0), Some(0)]);
    }
}
