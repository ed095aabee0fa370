//! The event that a function receives, made of messages as the queue handed them out.
//!
//! Field names and their order are those of AWS's example events
//! (<https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>). Where those are silent, the order of the system
//! attributes is that of events recorded on AWS.

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName as System};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use super::source::Source;

/// One message as a record of the event, with what is needed of it besides.
#[derive(Clone)]
pub(crate) struct Record {
    message_id: String,
    receipt_handle: String,
    /// The group whose order counts: none on a standard queue, whatever its messages say.
    group: Option<String>,
    receive_count: Option<u32>,
    json: String,
}

impl Record {
    /// # Errors
    ///
    /// Where the message lacks what SQS gives every message. Without an id it cannot be reported, without a receipt
    /// handle not be deleted.
    pub(crate) fn new(message: &Message, source: &Source) -> Result<Self, Incomplete> {
        let message_id = message.message_id().ok_or(Incomplete { lacks: "MessageId" })?;
        let receipt_handle = message.receipt_handle().ok_or(Incomplete { lacks: "ReceiptHandle" })?;
        let body = message.body().ok_or(Incomplete { lacks: "Body" })?;
        let attributes = SystemAttributes::of(message);
        let message_attributes = message_attributes(message);
        let json = RecordJson {
            message_id,
            receipt_handle,
            body,
            md5_of_message_attributes: message.md5_of_message_attributes().filter(|_| !message_attributes.is_empty()),
            message_attributes,
            md5_of_body: message.md5_of_body(),
            event_source: "aws:sqs",
            event_source_arn: source.arn(),
            aws_region: source.region(),
            attributes,
        };
        Ok(Self {
            message_id: message_id.to_owned(),
            receipt_handle: receipt_handle.to_owned(),
            group: json.attributes.message_group_id.filter(|_| source.is_fifo()).map(str::to_owned),
            receive_count: json.attributes.approximate_receive_count.and_then(|count| count.parse().ok()),
            json: json.to_text(),
        })
    }

    pub(crate) fn message_id(&self) -> &str {
        &self.message_id
    }

    pub(crate) fn receipt_handle(&self) -> &str {
        &self.receipt_handle
    }

    /// The message group, where its order counts.
    pub(crate) fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// Which receive of the message this is, where the queue says so.
    pub(crate) fn receive_count(&self) -> Option<u32> {
        self.receive_count
    }

    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// By how much an event grows by this record: its text, and a comma.
    pub(crate) fn added_bytes(&self) -> usize {
        self.json.len() + ",".len()
    }

    #[cfg(test)]
    pub(crate) fn for_test(message_id: &str, group: Option<&str>, json: &str) -> Self {
        Self {
            message_id: message_id.to_owned(),
            receipt_handle: format!("handle of {message_id}"),
            group: group.map(str::to_owned),
            receive_count: None,
            json: json.to_owned(),
        }
    }
}

/// Without the body, which is private, and the receipt handle, which is a key to the message.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message_id, group, json, .. } = self;
        write!(f, "Record {{ message_id: {message_id:?}, group: {group:?}, {} bytes }}", json.len())
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

const HEAD: &str = r#"{"Records":["#;
const TAIL: &str = "]}";

/// What an event takes beside [`Record::added_bytes`] of its records. One comma less, for the first has none before it.
pub(crate) const ENVELOPE_BYTES: usize = HEAD.len() + TAIL.len() - ",".len();

/// The event of one batch.
pub(crate) fn event(records: &[Record]) -> String {
    let bytes = ENVELOPE_BYTES + records.iter().map(Record::added_bytes).sum::<usize>();
    let mut event = String::with_capacity(bytes.max(HEAD.len() + TAIL.len()));
    event.push_str(HEAD);
    for (position, record) in records.iter().enumerate() {
        if position > 0 {
            event.push(',');
        }
        event.push_str(&record.json);
    }
    event.push_str(TAIL);
    event
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordJson<'a> {
    message_id: &'a str,
    receipt_handle: &'a str,
    body: &'a str,
    attributes: SystemAttributes<'a>,
    message_attributes: BTreeMap<&'a str, AttributeJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    md5_of_body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    md5_of_message_attributes: Option<&'a str>,
    event_source: &'a str,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: &'a str,
    aws_region: &'a str,
}

/// What a record takes beside its body and its receipt handle, mostly.
const OTHER_BYTES: usize = 768;

impl RecordJson<'_> {
    fn to_text(&self) -> String {
        // A body of JSON grows by its quotation marks. What outgrows its room is copied, several times where it begins with none.
        let room = self.body.len() + self.body.len() / 4 + self.receipt_handle.len() + OTHER_BYTES;
        let mut text = Vec::with_capacity(room);
        // All that is in it is text, under names that are: serde_json refuses none of that, and a vector takes whatever is written to it.
        serde_json::to_writer(&mut text, self).expect("text under keys that are text always serializes");
        // Texts are UTF-8, and so is what serde_json puts between and in them.
        String::from_utf8(text).expect("JSON is UTF-8")
    }
}

/// The system attributes that Lambda passes on, all as text.
///
/// `DeadLetterQueueSourceArn` is in no example of AWS's, but in events recorded from functions that read a dead-letter
/// queue (<https://github.com/aws-powertools/powertools-lambda-python/issues/4111>).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SystemAttributes<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_queue_source_arn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approximate_receive_count: Option<&'a str>,
    #[serde(rename = "AWSTraceHeader", skip_serializing_if = "Option::is_none")]
    aws_trace_header: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_timestamp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_group_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_deduplication_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approximate_first_receive_timestamp: Option<&'a str>,
}

impl<'a> SystemAttributes<'a> {
    fn of(message: &'a Message) -> Self {
        let get = |name| message.attributes().and_then(|all| all.get(&name)).map(String::as_str);
        Self {
            dead_letter_queue_source_arn: get(System::DeadLetterQueueSourceArn),
            approximate_receive_count: get(System::ApproximateReceiveCount),
            aws_trace_header: get(System::AwsTraceHeader),
            sent_timestamp: get(System::SentTimestamp),
            sequence_number: get(System::SequenceNumber),
            message_group_id: get(System::MessageGroupId),
            sender_id: get(System::SenderId),
            message_deduplication_id: get(System::MessageDeduplicationId),
            approximate_first_receive_timestamp: get(System::ApproximateFirstReceiveTimestamp),
        }
    }
}

/// By name, so that the same messages always make the same event. AWS promises no order.
fn message_attributes(message: &Message) -> BTreeMap<&str, AttributeJson<'_>> {
    let attributes = message.message_attributes().into_iter().flatten();
    attributes.map(|(name, value)| (name.as_str(), AttributeJson::of(value))).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AttributeJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    string_value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binary_value: Option<String>,
    /// SQS has reserved the lists and never filled them. Lambda passes them on, empty.
    string_list_values: [&'a str; 0],
    binary_list_values: [&'a str; 0],
    data_type: &'a str,
}

impl<'a> AttributeJson<'a> {
    fn of(value: &'a MessageAttributeValue) -> Self {
        Self {
            string_value: value.string_value(),
            binary_value: value.binary_value().map(|bytes| BASE64.encode(bytes.as_ref())),
            string_list_values: [],
            binary_list_values: [],
            data_type: value.data_type(),
        }
    }
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

    fn record(message: MessageBuilder, arn: &str) -> Record {
        Record::new(&message.build(), &Source::from_arn(arn).unwrap()).unwrap()
    }

    #[test]
    fn a_message_of_a_standard_queue_to_the_letter() {
        let expected = concat!(
            r#"{"messageId":"a","receiptHandle":"AQEB","body":"{\"order\":1}","attributes":{"#,
            r#""ApproximateReceiveCount":"1","SentTimestamp":"1545082649183","SenderId":"AIDA","#,
            r#""ApproximateFirstReceiveTimestamp":"1545082649185"},"messageAttributes":{},"md5OfBody":"e4e6","#,
            r#""eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-central-1:123456789012:orders","#,
            r#""awsRegion":"eu-central-1"}"#,
        );
        assert_eq!(record(message("a"), ARN).json(), expected);
        assert_eq!(event(&[record(message("a"), ARN)]), format!(r#"{{"Records":[{expected}]}}"#));
    }

    #[test]
    fn a_fifo_queue_adds_its_three_in_the_order_of_the_example() {
        let message = message("a")
            .attributes(System::SequenceNumber, "18849496460467696128")
            .attributes(System::MessageGroupId, "1")
            .attributes(System::MessageDeduplicationId, "1");
        let expected = concat!(
            r#""attributes":{"ApproximateReceiveCount":"1","SentTimestamp":"1545082649183","#,
            r#""SequenceNumber":"18849496460467696128","MessageGroupId":"1","SenderId":"AIDA","#,
            r#""MessageDeduplicationId":"1","ApproximateFirstReceiveTimestamp":"1545082649185"},"#,
        );
        let record = record(message, FIFO_ARN);
        assert!(record.json().contains(expected), "{}", record.json());
        assert_eq!(record.group(), Some("1"));
    }

    #[test]
    fn a_fair_queue_passes_the_group_on_and_keeps_no_order() {
        let record = record(message("a").attributes(System::MessageGroupId, "tenant"), ARN);
        assert!(record.json().contains(r#""MessageGroupId":"tenant""#));
        assert_eq!(record.group(), None);
    }

    #[test]
    fn a_trace_header_and_the_queue_a_dead_letter_came_from_are_passed_on_as_recorded() {
        let message = message("a")
            .attributes(System::AwsTraceHeader, "Root=1-6")
            .attributes(System::DeadLetterQueueSourceArn, ARN)
            .attributes(System::from("SomethingNew"), "x");
        let json = record(message, ARN).json().to_owned();
        let expected = format!(
            r#"{{"DeadLetterQueueSourceArn":"{ARN}","ApproximateReceiveCount":"1","AWSTraceHeader":"Root=1-6","Sent"#
        );
        assert!(json.contains(&expected), "{json}");
        assert!(!json.contains("SomethingNew"), "only what Lambda passes on");
    }

    #[test]
    fn message_attributes_are_text_or_base64_with_empty_lists() {
        let text = MessageAttributeValue::builder().data_type("Number").string_value("7").build().unwrap();
        let bytes = MessageAttributeValue::builder().data_type("Binary.png").binary_value(Blob::new([0, 255, 1]));
        let message = message("a")
            .message_attributes("n", text)
            .message_attributes("b", bytes.build().unwrap())
            .md5_of_message_attributes("00ff");
        let json = record(message, ARN).json().to_owned();
        let expected = concat!(
            r#""messageAttributes":{"b":{"binaryValue":"AP8B","stringListValues":[],"binaryListValues":[],"#,
            r#""dataType":"Binary.png"},"n":{"stringValue":"7","stringListValues":[],"binaryListValues":[],"#,
            r#""dataType":"Number"}},"md5OfBody":"e4e6","md5OfMessageAttributes":"00ff","eventSource""#,
        );
        assert!(json.contains(expected), "{json}");
    }

    #[test]
    fn without_message_attributes_there_is_no_md5_of_them() {
        let json = record(message("a").md5_of_message_attributes("00ff"), ARN).json().to_owned();
        assert!(!json.contains("md5OfMessageAttributes"), "{json}");
    }

    #[test]
    fn the_bytes_of_an_event_are_known_before_it_is_made() {
        let records: Vec<_> =
            ["a", "bb", "ccc"].map(|id| record(message(id).body("\u{1}\"\n\u{1F980}"), ARN)).into_iter().collect();
        for batch in (1..=records.len()).map(|len| &records[..len]) {
            let added: usize = batch.iter().map(Record::added_bytes).sum();
            assert_eq!(event(batch).len(), ENVELOPE_BYTES + added);
        }
        assert_eq!(event(&[]), r#"{"Records":[]}"#);
    }

    #[test]
    fn a_message_that_could_not_be_settled_is_refused() {
        let source = Source::from_arn(ARN).unwrap();
        let refused = |message: Message| Record::new(&message, &source).unwrap_err().to_string();
        assert!(refused(Message::builder().build()).contains("without MessageId"));
        assert!(refused(Message::builder().message_id("a").build()).contains("without ReceiptHandle"));
        assert!(refused(Message::builder().message_id("a").receipt_handle("h").build()).contains("without Body"));
    }

    #[test]
    fn what_is_logged_of_a_record_is_not_its_body() {
        let record = record(message("a"), ARN);
        assert_eq!((record.message_id(), record.receipt_handle()), ("a", "AQEB"));
        let debug = format!("{record:?}");
        assert!(debug.contains("\"a\"") && !debug.contains("order") && !debug.contains("AQEB"), "{debug}");
    }
}
