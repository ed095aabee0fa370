//! Records in Lambda's format, and intended panics, for handler tests on every host.

use std::panic;
use std::sync::Once;

use serde_json::{Value, json};

pub(crate) const STANDARD: &str = "arn:aws:sqs:eu-west-1:123456789012:orders";
pub(crate) const FIFO: &str = "arn:aws:sqs:eu-west-1:123456789012:orders.fifo";

/// Returns a record of a standard queue.
pub(crate) fn record(id: &str, body: &str) -> Value {
    json!({
        "messageId": id,
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1545082649183",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1545082649185"
        },
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": STANDARD,
        "awsRegion": "eu-west-1"
    })
}

/// Returns a record of a FIFO queue.
pub(crate) fn fifo_record(id: &str, group: &str, body: &str) -> Value {
    let mut record = with_attribute(record(id, body), "MessageGroupId", group);
    record["eventSourceARN"] = json!(FIFO);
    record
}

pub(crate) fn with_attribute(mut record: Value, name: &str, value: &str) -> Value {
    record["attributes"][name] = json!(value);
    record
}

/// Returns the record with another value at one key, or without the key if the value is `None`.
pub(crate) fn with(mut record: Value, key: &str, value: impl Into<Option<Value>>) -> Value {
    let fields = record.as_object_mut().expect("a record is an object");
    match value.into() {
        Some(value) => fields.insert(key.to_owned(), value),
        None => fields.remove(key),
    };
    record
}

/// The message of intended panics, which are kept out of the output.
pub(crate) const INTENDED: &str = "intended panic";

pub(crate) fn quiet_intended_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !info.payload_as_str().is_some_and(|message| message.contains(INTENDED)) {
                previous(info);
            }
        }));
    });
}
