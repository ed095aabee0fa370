//! A message of the SDK that is known to be whole.

use std::fmt;

use aws_sdk_sqs::types::Message;

/// A message with the fields that SQS sets on every message.
pub struct ReceivedMessage {
    pub message_id: String,
    pub receipt_handle: String,
    pub body: String,
    /// The other fields of the message.
    pub rest: Message,
}

impl ReceivedMessage {
    /// Takes the required fields out of a message.
    ///
    /// # Errors
    ///
    /// Returns an error if the id, the receipt handle or the body is missing. A message without an id cannot be
    /// reported, and without a receipt handle it cannot be deleted.
    pub fn new(mut message: Message) -> Result<Self, Incomplete> {
        let lacks = |lacks| move || Incomplete { lacks };
        Ok(Self {
            message_id: message.message_id.take().filter(|id| !id.is_empty()).ok_or_else(lacks("MessageId"))?,
            receipt_handle: message.receipt_handle.take().ok_or_else(lacks("ReceiptHandle"))?,
            body: message.body.take().ok_or_else(lacks("Body"))?,
            rest: message,
        })
    }
}

/// The error of a message without a field that SQS sets on every message.
#[derive(Debug)]
pub struct Incomplete {
    lacks: &'static str,
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "received a message without {}; check that the endpoint speaks SQS", self.lacks)
    }
}

impl std::error::Error for Incomplete {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_without_id_handle_or_body_is_refused() {
        let refused = |message: Message| ReceivedMessage::new(message).map(drop).unwrap_err().to_string();
        let message = |id: &str| Message::builder().message_id(id).receipt_handle("h").body("b");
        assert!(refused(Message::builder().build()).contains("without MessageId"));
        assert!(refused(message("").build()).contains("without MessageId"), "two such messages would have the same id");
        assert!(refused(Message::builder().message_id("a").build()).contains("without ReceiptHandle"));
        assert!(refused(Message::builder().message_id("a").receipt_handle("h").build()).contains("without Body"));
        assert!(ReceivedMessage::new(message("a").build()).is_ok());
    }
}
