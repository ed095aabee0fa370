//! Converts a received message into the record of a Lambda event.
//!
//! Field names and their order follow AWS's example events
//! (<https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>). The order of the system attributes, which the
//! examples do not show, follows events recorded on AWS.

use std::collections::BTreeMap;

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName as System};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use redrive::internals::source::Source;
use redrive::internals::{Incomplete, ReceivedMessage};

use super::object::Object;

/// A message with all parts that SQS always sends, for a record.
pub(crate) struct CompleteMessage(pub(super) ReceivedMessage);

impl CompleteMessage {
    /// # Errors
    ///
    /// Returns an error if a part is missing.
    pub(crate) fn new(message: Message) -> Result<Self, Incomplete> {
        ReceivedMessage::new(message).map(Self)
    }

    /// Returns the receive count, if the queue sent it.
    pub(super) fn receive_count(&self) -> Option<u32> {
        self.0.rest.attributes.as_ref()?.get(&System::ApproximateReceiveCount)?.parse().ok()
    }

    /// Returns the sequence number of a FIFO queue's message.
    pub(super) fn sequence_number(&self) -> Option<u128> {
        self.0.rest.attributes.as_ref()?.get(&System::SequenceNumber)?.parse().ok()
    }

    /// Returns the expected size of the record.
    pub(super) fn expected_bytes(&self) -> usize {
        // Quotation marks make a JSON body grow. A text that outgrows its room is copied, several times if it starts
        // without room.
        self.0.body.len() + self.0.body.len() / 4 + self.0.receipt_handle.len() + OTHER_BYTES
    }

    /// Writes the record.
    pub(super) fn write(&self, source: &Source, text: &mut String) {
        let ReceivedMessage { message_id, receipt_handle, body, rest } = &self.0;
        let message_attributes = message_attributes(rest);
        let md5_of_message_attributes = rest.md5_of_message_attributes().filter(|_| !message_attributes.is_empty());
        let mut record = Object::begin(text);
        for (key, value) in [("messageId", message_id), ("receiptHandle", receipt_handle), ("body", body)] {
            record.text(key, value);
        }
        record.object("attributes", |attributes| write_system_attributes(rest, attributes));
        record.object("messageAttributes", |object| {
            for (name, value) in message_attributes {
                object.object(name, |attribute| write_message_attribute(value, attribute));
            }
        });
        let md5s = [("md5OfBody", rest.md5_of_body()), ("md5OfMessageAttributes", md5_of_message_attributes)];
        for (key, value) in md5s {
            if let Some(value) = value {
                record.text(key, value);
            }
        }
        let of_the_queue =
            [("eventSource", "aws:sqs"), ("eventSourceARN", source.arn()), ("awsRegion", source.region())];
        for (key, value) in of_the_queue {
            record.text(key, value);
        }
        record.end();
    }
}

/// The usual bytes of a record apart from its body and its receipt handle.
const OTHER_BYTES: usize = 768;

/// The system attributes that Lambda passes on, all as text.
///
/// AWS's examples do not show `DeadLetterQueueSourceArn`, but recorded events of functions that read a dead-letter
/// queue have it (<https://github.com/aws-powertools/powertools-lambda-python/issues/4111>).
pub const SYSTEM_ATTRIBUTES: [&str; 9] = [
    "DeadLetterQueueSourceArn",
    "ApproximateReceiveCount",
    "AWSTraceHeader",
    "SentTimestamp",
    "SequenceNumber",
    "MessageGroupId",
    "SenderId",
    "MessageDeduplicationId",
    "ApproximateFirstReceiveTimestamp",
];

/// Writes the attributes in that order. Each one of the message is looked up in the list, because looking up each name
/// in the message would hash all names.
fn write_system_attributes(message: &Message, object: &mut Object<'_>) {
    let mut values = [None; SYSTEM_ATTRIBUTES.len()];
    for (name, value) in message.attributes.iter().flatten() {
        if let Some(place) = SYSTEM_ATTRIBUTES.iter().position(|known| *known == name.as_str()) {
            values[place] = Some(value);
        }
    }
    for (name, value) in SYSTEM_ATTRIBUTES.into_iter().zip(values) {
        if let Some(value) = value {
            object.text(name, value);
        }
    }
}

/// Returns the attributes by name, so that the same message always gives the same event. AWS promises no order.
fn message_attributes(message: &Message) -> BTreeMap<&str, &MessageAttributeValue> {
    let attributes = message.message_attributes.iter().flatten();
    attributes.map(|(name, value)| (name.as_str(), value)).collect()
}

fn write_message_attribute(value: &MessageAttributeValue, object: &mut Object<'_>) {
    if let Some(text) = value.string_value() {
        object.text("stringValue", text);
    }
    if let Some(bytes) = value.binary_value() {
        object.text("binaryValue", &BASE64.encode(bytes));
    }
    // SQS reserves these lists and never fills them. Lambda passes them on empty.
    object.empty_list("stringListValues");
    object.empty_list("binaryListValues");
    object.text("dataType", value.data_type());
}

const HEAD: &str = r#"{"Records":["#;
const TAIL: &str = "]}";

/// The bytes of an event around its records.
pub(super) const HEAD_AND_TAIL_BYTES: usize = HEAD.len() + TAIL.len();

/// Writes an event of separately written records, with room for that many bytes.
pub(super) fn write_event<T>(
    room: usize,
    records: impl IntoIterator<Item = T>,
    mut write: impl FnMut(T, &mut String),
) -> String {
    let mut event = String::with_capacity(HEAD_AND_TAIL_BYTES + room);
    event.push_str(HEAD);
    for record in records {
        if event.len() > HEAD.len() {
            event.push(',');
        }
        write(record, &mut event);
    }
    event.push_str(TAIL);
    event
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::primitives::Blob;
    use aws_sdk_sqs::types::builders::MessageBuilder;

    use super::*;

    const ARN: &str = "arn:aws:sqs:eu-central-1:123456789012:orders";
    const FIFO_ARN: &str = "arn:aws:sqs:eu-central-1:123456789012:orders.fifo";

    fn message(id: &str) -> MessageBuilder {
        Message::builder()
            .message_id(id)
            .receipt_handle("AQEB")
            .body(r#"{"order":1}"#)
            .md5_of_body("e4e6")
            .attributes(System::ApproximateReceiveCount, "1")
            .attributes(System::SentTimestamp, "1545082649183")
            .attributes(System::SenderId, "AIDA")
            .attributes(System::ApproximateFirstReceiveTimestamp, "1545082649185")
    }

    fn complete(message: MessageBuilder) -> CompleteMessage {
        CompleteMessage::new(message.build()).unwrap()
    }

    fn json(message: MessageBuilder, arn: &str) -> String {
        let mut json = String::new();
        complete(message).write(&Source::from_arn(arn).unwrap(), &mut json);
        json
    }

    #[test]
    fn record_of_a_standard_queue_is_exact() {
        let expected = concat!(
            r#"{"messageId":"a","receiptHandle":"AQEB","body":"{\"order\":1}","attributes":{"#,
            r#""ApproximateReceiveCount":"1","SentTimestamp":"1545082649183","SenderId":"AIDA","#,
            r#""ApproximateFirstReceiveTimestamp":"1545082649185"},"messageAttributes":{},"md5OfBody":"e4e6","#,
            r#""eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-central-1:123456789012:orders","#,
            r#""awsRegion":"eu-central-1"}"#,
        );
        assert_eq!(json(message("a"), ARN), expected);
    }

    #[test]
    fn fifo_queue_adds_three_attributes_in_the_order_of_the_example() {
        let message = message("a")
            .attributes(System::SequenceNumber, "18849496460467696128")
            .attributes(System::MessageGroupId, "1")
            .attributes(System::MessageDeduplicationId, "1");
        let expected = concat!(
            r#""attributes":{"ApproximateReceiveCount":"1","SentTimestamp":"1545082649183","#,
            r#""SequenceNumber":"18849496460467696128","MessageGroupId":"1","SenderId":"AIDA","#,
            r#""MessageDeduplicationId":"1","ApproximateFirstReceiveTimestamp":"1545082649185"},"#,
        );
        let json = json(message.clone(), FIFO_ARN);
        assert!(json.contains(expected), "{json}");
        assert_eq!(Source::from_arn(FIFO_ARN).unwrap().ordered_group(&message.build()), Some("1"));
    }

    #[test]
    fn fair_queue_passes_the_group_on_without_order() {
        let message = message("a").attributes(System::MessageGroupId, "tenant");
        assert!(json(message.clone(), ARN).contains(r#""MessageGroupId":"tenant""#));
        assert_eq!(Source::from_arn(ARN).unwrap().ordered_group(&message.build()), None);
    }

    #[test]
    fn trace_header_and_source_of_a_dead_letter_are_passed_on_as_recorded() {
        let message = message("a")
            .attributes(System::AwsTraceHeader, "Root=1-6")
            .attributes(System::DeadLetterQueueSourceArn, ARN)
            .attributes(System::from("SomethingNew"), "x");
        let json = json(message, ARN);
        let expected = format!(
            r#"{{"DeadLetterQueueSourceArn":"{ARN}","ApproximateReceiveCount":"1","AWSTraceHeader":"Root=1-6","Sent"#
        );
        assert!(json.contains(&expected), "{json}");
        assert!(!json.contains("SomethingNew"), "Lambda does not pass it on");
    }

    #[test]
    fn message_attributes_are_text_or_base64_with_empty_lists() {
        let text = MessageAttributeValue::builder().data_type("Number").string_value("7").build().unwrap();
        let bytes = MessageAttributeValue::builder().data_type("Binary.png").binary_value(Blob::new([0, 255, 1]));
        let message = message("a")
            .message_attributes("n", text)
            .message_attributes("b", bytes.build().unwrap())
            .md5_of_message_attributes("00ff");
        let json = json(message, ARN);
        let expected = concat!(
            r#""messageAttributes":{"b":{"binaryValue":"AP8B","stringListValues":[],"binaryListValues":[],"#,
            r#""dataType":"Binary.png"},"n":{"stringValue":"7","stringListValues":[],"binaryListValues":[],"#,
            r#""dataType":"Number"}},"md5OfBody":"e4e6","md5OfMessageAttributes":"00ff","eventSource""#,
        );
        assert!(json.contains(expected), "{json}");
    }

    #[test]
    fn message_without_attributes_has_no_md5_of_them() {
        let json = json(message("a").md5_of_message_attributes("00ff"), ARN);
        assert!(!json.contains("md5OfMessageAttributes"), "{json}");
    }

    #[test]
    fn message_that_could_not_be_settled_is_refused() {
        let refused = |message: Message| CompleteMessage::new(message).map(drop).unwrap_err().to_string();
        assert!(refused(Message::builder().build()).contains("without MessageId"));
        assert!(refused(message("").build()).contains("without MessageId"), "two such messages would be one");
        assert!(refused(Message::builder().message_id("a").build()).contains("without ReceiptHandle"));
        assert!(refused(Message::builder().message_id("a").receipt_handle("h").build()).contains("without Body"));
    }
}
