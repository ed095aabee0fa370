//! Tests that a handler sees the same message on Lambda and on a worker.

use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName as System};
use proptest::{collection, num, prop_assert_eq, proptest};
use redrive_local::event::{SYSTEM_ATTRIBUTES, record_json};

use super::Record;
use crate::extract::{FromRecord, Message as Whole};

const ARN: &str = "arn:aws:sqs:eu-central-1:123456789012:orders";

proptest! {
    #[test]
    fn both_backings_of_a_record_return_the_same_values(
        id in "a|b|\"|é",
        body in "\\PC{0,9}|[\"\\\\\n\u{1}]{0,9}",
        text in "\\PC{1,9}",
        bytes in collection::vec(num::u8::ANY, 1..9),
        count in 0_usize..3,
    ) {
        let value = || MessageAttributeValue::builder();
        let own = [
            ("text", value().data_type("String.x").string_value(&text).build().unwrap()),
            ("bytes", value().data_type("Binary").binary_value(Blob::new(bytes)).build().unwrap()),
        ];
        let mut message = Message::builder()
            .message_id(id)
            .receipt_handle("AQEB")
            .body(body)
            .md5_of_body("e4e6")
            .md5_of_message_attributes("00ff")
            .attributes(System::ApproximateReceiveCount, "1")
            .attributes(System::SentTimestamp, "1545082649183")
            .attributes(System::SenderId, "AIDA")
            .attributes(System::ApproximateFirstReceiveTimestamp, "1545082649185")
            .attributes(System::MessageGroupId, &text)
            .attributes(System::AwsTraceHeader, "Root=1-6");
        for (name, value) in own.into_iter().take(count) {
            message = message.message_attributes(name, value);
        }
        let of_event = Record::of_json(&record_json(message.clone().build(), ARN).unwrap());
        let of_message = Record::of_message(message.build(), ARN);
        let both = [&of_event, &of_message];

        let [one, other] = both.map(|record| (record.message_id(), record.receive_count(), record.check().is_ok()));
        prop_assert_eq!(one, other);
        let [one, other] = both.map(|record| [record.receipt_handle(), record.body(), record.queue_arn(), record.group_id()]);
        prop_assert_eq!(one, other);
        for name in SYSTEM_ATTRIBUTES {
            prop_assert_eq!(of_event.attribute(name), of_message.attribute(name));
        }
        for name in ["text", "bytes", "none"] {
            prop_assert_eq!(of_event.message_attribute(name), of_message.message_attribute(name));
        }
        prop_assert_eq!(of_event.message_attributes(), of_message.message_attributes());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let [one, other] = both.map(|record| runtime.block_on(Whole::from_record(record, &())).unwrap());
        prop_assert_eq!(one, other);
    }
}
