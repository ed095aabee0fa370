//! A message of a dead-letter queue, with the note about its failure.

use std::collections::BTreeMap;

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName as System};
use redrive::internals::note;
use redrive::{AttributeValue, Outgoing};

use crate::trace_header::without_lineage;

/// A dead letter.
#[derive(Debug)]
pub(super) struct DeadLetter {
    pub(super) id: String,
    pub(super) receipt_handle: String,
    pub(super) body: String,
    attributes: BTreeMap<String, MessageAttributeValue>,
    system: BTreeMap<System, String>,
}

impl DeadLetter {
    /// Converts a message. `None` if it lacks the parts that a delete needs.
    pub(super) fn of(message: Message) -> Option<Self> {
        Some(Self {
            id: message.message_id?,
            receipt_handle: message.receipt_handle?,
            body: message.body.unwrap_or_default(),
            attributes: message.message_attributes.unwrap_or_default().into_iter().collect(),
            system: message.attributes.unwrap_or_default().into_iter().collect(),
        })
    }

    /// Returns whether the RedrivePolicy moved it here. A note is then about an earlier failure, after which it was
    /// moved back: SQS neither adds nor removes notes.
    pub(super) fn is_moved_by_sqs(&self) -> bool {
        self.system.contains_key(&System::DeadLetterQueueSourceArn)
    }

    pub(super) fn reason(&self) -> Option<&str> {
        self.noted(note::REASON)
    }

    pub(super) fn error(&self) -> Option<&str> {
        self.noted(note::ERROR)
    }

    pub(super) fn function(&self) -> Option<&str> {
        self.noted(note::FUNCTION)
    }

    /// Returns the id in its source queue, if it had another id there.
    pub(super) fn original_id(&self) -> Option<&str> {
        self.noted(note::MESSAGE_ID).filter(|_| !self.is_moved_by_sqs())
    }

    /// Returns the id in its note, for whichever failure.
    pub(super) fn noted_id(&self) -> Option<&str> {
        self.noted(note::MESSAGE_ID)
    }

    /// Returns when it arrived here, in milliseconds since 1970, or when it was sent if the RedrivePolicy moved it.
    pub(super) fn arrived_ms(&self) -> Option<u64> {
        self.system.get(&System::SentTimestamp)?.parse().ok()
    }

    /// Returns its receive count. SQS continues the count after moving it here.
    pub(super) fn receive_count(&self) -> u64 {
        let noted = self.noted(note::RECEIVE_COUNT).filter(|_| !self.is_moved_by_sqs());
        let own = || self.system.get(&System::ApproximateReceiveCount).map(String::as_str);
        noted.or_else(own).and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// Returns the ARN of the queue that it failed in.
    pub(super) fn source(&self) -> Option<&str> {
        self.source_by_sqs().or_else(|| self.noted(note::SOURCE))
    }

    /// Returns that ARN if SQS itself states it. Anybody who may send here can write a note.
    pub(super) fn source_by_sqs(&self) -> Option<&str> {
        self.system.get(&System::DeadLetterQueueSourceArn).map(String::as_str)
    }

    pub(super) fn group(&self) -> Option<&str> {
        self.system.get(&System::MessageGroupId).map(String::as_str)
    }

    /// Returns when its producer sent it, in milliseconds since 1970, or else when it arrived here.
    pub(super) fn sent_timestamp(&self) -> Option<u64> {
        let noted = self.noted(note::SENT_TIMESTAMP).filter(|_| !self.is_moved_by_sqs());
        noted.or_else(|| self.system.get(&System::SentTimestamp).map(String::as_str))?.parse().ok()
    }

    /// Returns the message as it was before it failed. Its deduplication id is its id here, as when SQS moves a message
    /// itself. An older id would drop it as a duplicate, and this one drops only a second copy.
    pub(super) fn sent_back(&self, is_fifo: bool) -> Outgoing {
        let own = self.attributes.iter().filter(|(name, _)| !note::ALL.contains(&name.as_str()));
        let mut outgoing = own.fold(Outgoing::text(&*self.body), |outgoing, (name, value)| {
            outgoing.attribute(name, attribute_value(value))
        });
        if let Some(header) = self.system.get(&System::AwsTraceHeader).and_then(|header| without_lineage(header)) {
            outgoing = outgoing.trace_header(header);
        }
        if let Some(group) = self.group() {
            outgoing = outgoing.group(group);
        }
        if is_fifo { outgoing.deduplication_id(&*self.id) } else { outgoing }
    }

    fn noted(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).and_then(MessageAttributeValue::string_value)
    }
}

fn attribute_value(value: &MessageAttributeValue) -> AttributeValue {
    let (basic_type, label) = value.data_type().split_once('.').unwrap_or((value.data_type(), ""));
    let text = value.string_value().unwrap_or_default();
    let value = match (basic_type, value.binary_value()) {
        (_, Some(bytes)) => AttributeValue::binary(bytes.as_ref()),
        ("Number", None) => AttributeValue::number(text),
        (_, None) => AttributeValue::string(text),
    };
    if label.is_empty() { value } else { value.labelled(label) }
}

#[cfg(test)]
pub(super) mod tests {
    use aws_sdk_sqs::types::MessageAttributeValue;

    use super::*;

    pub(in crate::dlq) fn dead_letter(system: &[(&str, &str)], attributes: &[(&str, &str)]) -> DeadLetter {
        dead_letter_of("here", system, attributes)
    }

    pub(in crate::dlq) fn dead_letter_of(id: &str, system: &[(&str, &str)], attributes: &[(&str, &str)]) -> DeadLetter {
        let string = |value: &str| MessageAttributeValue::builder().data_type("String").string_value(value).build();
        let mut message = Message::builder().message_id(id).receipt_handle("r").body("{}");
        for &(name, value) in system {
            message = message.attributes(name.into(), value);
        }
        for &(name, value) in attributes {
            message = message.message_attributes(name, string(value).unwrap());
        }
        DeadLetter::of(message.build()).unwrap()
    }

    const NOTE: [(&str, &str); 6] = [
        (note::REASON, "no such order"),
        (note::RECEIVE_COUNT, "3"),
        (note::SOURCE, "arn:aws:sqs:us-east-1:1:orders"),
        (note::MESSAGE_ID, "there"),
        (note::SENT_TIMESTAMP, "1000"),
        ("channel", "web"),
    ];

    #[test]
    fn note_adds_what_sqs_does_not_know() {
        let dead_letter = dead_letter(&[("SentTimestamp", "5000"), ("ApproximateReceiveCount", "1")], &NOTE);
        assert_eq!((dead_letter.receive_count(), dead_letter.sent_timestamp()), (3, Some(1_000)));
        assert_eq!(dead_letter.source(), Some("arn:aws:sqs:us-east-1:1:orders"));
        assert_eq!((dead_letter.source_by_sqs(), dead_letter.original_id()), (None, Some("there")));
    }

    #[test]
    fn note_of_a_message_moved_by_sqs_is_about_an_earlier_failure() {
        let by_sqs = [
            ("SentTimestamp", "5000"),
            ("ApproximateReceiveCount", "6"),
            ("DeadLetterQueueSourceArn", "arn:aws:sqs:us-east-1:1:refunds"),
        ];
        let dead_letter = dead_letter(&by_sqs, &NOTE);
        assert_eq!((dead_letter.receive_count(), dead_letter.sent_timestamp()), (6, Some(5_000)));
        assert_eq!((dead_letter.source(), dead_letter.original_id()), (Some("arn:aws:sqs:us-east-1:1:refunds"), None));
    }

    #[test]
    fn message_is_sent_back_without_its_note_under_its_own_id() {
        let dead_letter = dead_letter(
            &[("MessageGroupId", "g"), ("AWSTraceHeader", "Root=1;Parent=2;Lineage=a:1:2;Sampled=1")],
            &NOTE,
        );
        let sent = dead_letter.sent_back(true);
        assert_eq!(sent.get_attributes().map(|(name, _)| name).collect::<Vec<_>>(), ["channel"]);
        assert_eq!((sent.get_group(), sent.get_deduplication_id()), (Some("g"), Some("here")));
        assert_eq!(sent.get_trace_header(), Some("Root=1;Parent=2;Sampled=1"));
        assert_eq!(dead_letter.sent_back(false).get_deduplication_id(), None);
    }

    #[test]
    fn an_attribute_goes_back_with_its_type_and_value() {
        let value = |data_type: &str| MessageAttributeValue::builder().data_type(data_type);
        let number = value("Number.int").string_value("7").build().unwrap();
        assert_eq!(attribute_value(&number), AttributeValue::number(7).labelled("int"));
        let image = value("Binary.png").binary_value(aws_sdk_sqs::primitives::Blob::new([0, 1])).build().unwrap();
        assert_eq!(attribute_value(&image), AttributeValue::binary([0, 1]).labelled("png"));
        assert_eq!(attribute_value(&value("String").string_value("x").build().unwrap()), AttributeValue::string("x"));
    }
}
