//! A message on its way to the dead-letter queue: as it was, and with the reason.

use std::collections::BTreeMap;

use aws_sdk_sqs::operation::send_message::builders::SendMessageInputBuilder;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeNameForSends as SystemAttribute, MessageSystemAttributeValue,
};

use super::limits::{MAX_ATTRIBUTES, MAX_MESSAGE_BYTES, is_allowed};
use super::note;
use crate::extract::AttributeValue;
use crate::json::JsonError;
use crate::record::Record;

/// Why a message is a dead letter, and of whom.
pub(super) struct About<'a> {
    pub(super) reason: &'a str,
    pub(super) error: Option<&'a str>,
    pub(super) function: Option<&'a str>,
}

/// Enough for a chain of causes, and no copy of a payload that some error quotes.
const MAX_TEXT_BYTES: usize = 4_096;

const STRING: &str = "String";
const NUMBER: &str = "Number";

/// What is sent to the dead-letter queue.
///
/// The body, the attributes and the group are the message's own. The deduplication id is the message id, as where SQS
/// moves a message itself: with its old one SQS would take it, and drop it, in the five minutes after the first send.
///
/// # Errors
///
/// Where the record is not what SQS hands out.
pub(super) fn message(
    record: &Record,
    about: &About<'_>,
    queue_url: &str,
) -> Result<SendMessageInputBuilder, JsonError> {
    let body = record.body()?.unwrap_or_default().into_owned();
    let own = record.message_attributes()?.into_iter().filter(|(name, _)| !note::ALL.contains(&&**name)).collect();
    let (attributes, left_out) = with_note(own, body.len(), &noted(record, about)?);
    if !left_out.is_empty() {
        let (message_id, left_out) = (record.message_id(), left_out.join(", "));
        let message_id = message_id.as_deref();
        let About { reason, error, .. } = *about;
        tracing::warn!(message_id, left_out, reason, error, "a dead letter has no room for all that is noted on it");
    }
    let trace = record
        .attribute("AWSTraceHeader")?
        .map(|header| MessageSystemAttributeValue::builder().data_type(STRING).string_value(header).build().ok());
    let mut message = SendMessageInputBuilder::default().queue_url(queue_url).message_body(body);
    for (name, value) in attributes {
        message = message.message_attributes(name, value);
    }
    if let Some(trace) = trace.flatten() {
        message = message.message_system_attributes(SystemAttribute::AwsTraceHeader, trace);
    }
    let is_fifo = queue_url.ends_with(".fifo");
    let message_id = record.message_id().map(|id| id.into_owned());
    let group = record.attribute("MessageGroupId")?.map(|group| group.into_owned());
    Ok(message
        .set_message_group_id(group.or_else(|| message_id.clone().filter(|_| is_fifo)))
        .set_message_deduplication_id(message_id.filter(|_| is_fifo)))
}

/// What we note, the most useful first.
fn noted(record: &Record, about: &About<'_>) -> Result<Vec<(&'static str, &'static str, String)>, JsonError> {
    let owned = |text: Option<std::borrow::Cow<'_, str>>| text.map(|text| text.into_owned());
    let sent_timestamp = record.attribute("SentTimestamp")?.and_then(|sent| sent.parse::<u64>().ok());
    let noted = [
        (note::REASON, STRING, Some(about.reason.to_owned())),
        (note::ERROR, STRING, about.error.map(str::to_owned)),
        (note::RECEIVE_COUNT, NUMBER, record.receive_count().map(|count| count.to_string())),
        (note::SOURCE, STRING, owned(record.queue_arn()?)),
        (note::MESSAGE_ID, STRING, owned(record.message_id())),
        (note::DEDUPLICATION_ID, STRING, owned(record.attribute("MessageDeduplicationId")?)),
        (note::SENT_TIMESTAMP, NUMBER, sent_timestamp.map(|sent| sent.to_string())),
        (note::FUNCTION, STRING, about.function.map(str::to_owned)),
    ];
    let noted = noted.into_iter().filter_map(|(name, data_type, text)| Some((name, data_type, allowed(&text?))));
    Ok(noted.filter(|(_, _, text)| !text.is_empty()).collect())
}

/// The message's own attributes, and as much of the note as there is room for; and what of that is left out. The message is never
/// what gives way; of the note the last parts do.
fn with_note(
    own: BTreeMap<String, AttributeValue>,
    body_bytes: usize,
    noted: &[(&'static str, &'static str, String)],
) -> (Vec<(String, MessageAttributeValue)>, Vec<&'static str>) {
    let mut bytes = body_bytes;
    let (mut attributes, mut left_out) = (Vec::new(), Vec::new());
    for (name, value) in own {
        let value_bytes = value.as_str().map_or_else(|| value.as_bytes().map_or(0, <[u8]>::len), str::len);
        bytes += name.len() + value.data_type().len() + value_bytes;
        let sent = MessageAttributeValue::builder().data_type(value.data_type());
        let sent = sent.set_string_value(value.as_str().map(str::to_owned));
        attributes.extend(sent.set_binary_value(value.as_bytes().map(Blob::new)).build().ok().map(|sent| (name, sent)));
    }
    for (name, data_type, text) in noted {
        let added = name.len() + data_type.len() + text.len();
        if attributes.len() == MAX_ATTRIBUTES || bytes + added > MAX_MESSAGE_BYTES {
            left_out.push(*name);
            continue;
        }
        bytes += added;
        let value = MessageAttributeValue::builder().data_type(*data_type).string_value(text).build();
        attributes.extend(value.ok().map(|value| ((*name).to_owned(), value)));
    }
    (attributes, left_out)
}

/// A text as SQS takes it: no control characters, and not too long.
fn allowed(text: &str) -> String {
    let mut allowed = String::new();
    for character in text.chars() {
        let character = if is_allowed(character) { character } else { char::REPLACEMENT_CHARACTER };
        if allowed.len() + character.len_utf8() > MAX_TEXT_BYTES {
            break;
        }
        allowed.push(character);
    }
    allowed
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::event::Event;
    use crate::per_lane::PerLane;
    use crate::record::Batch;

    fn record(record: Value) -> Record {
        let event: Event = json!({ "Records": [record] }).to_string().parse().unwrap();
        Record::new(
            PerLane::new(Batch {
                records: event.into_records().unwrap(),
                origin: Arc::new(()),
                is_kept: false,
                on_failure: None,
            }),
            0,
        )
    }

    fn sent(json: Value, queue_url: &str) -> SendMessageInputBuilder {
        let about = About { reason: "no such order", error: Some("a: b"), function: Some("orders") };
        message(&record(json), &about, queue_url).unwrap()
    }

    fn names(message: &SendMessageInputBuilder) -> Vec<&str> {
        let mut names: Vec<_> = message.get_message_attributes().iter().flatten().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names
    }

    fn attribute(value: &str) -> Value {
        json!({ "stringValue": value, "dataType": "String", "stringListValues": [], "binaryListValues": [] })
    }

    #[test]
    fn the_message_is_as_it_was_and_says_why() {
        let message = sent(
            json!({
                "messageId": "m", "body": "a \"body\"", "eventSourceARN": "arn:aws:sqs:us-east-1:1:orders.fifo",
                "attributes": {
                    "ApproximateReceiveCount": "3", "MessageGroupId": "g", "MessageDeduplicationId": "d",
                    "AWSTraceHeader": "Root=1", "SentTimestamp": "1545082649183",
                },
                "messageAttributes": {
                    "text": attribute("t"),
                    "bytes": { "binaryValue": "AQI=", "dataType": "Binary.raw" },
                    "redrive.reason": attribute("of a life before"),
                },
            }),
            "http://q/1/dead.fifo",
        );
        assert_eq!(message.get_message_body().as_deref(), Some("a \"body\""));
        assert_eq!(message.get_message_group_id().as_deref(), Some("g"));
        assert_eq!(message.get_message_deduplication_id().as_deref(), Some("m"));
        let attributes = message.get_message_attributes().as_ref().unwrap();
        assert_eq!(attributes["bytes"].binary_value().unwrap().as_ref(), [1, 2]);
        assert_eq!(attributes["bytes"].data_type(), "Binary.raw");
        let text = |name: &str| attributes[name].string_value().unwrap();
        assert_eq!((text("text"), text("redrive.reason"), text("redrive.error")), ("t", "no such order", "a: b"));
        assert_eq!((text("redrive.receive_count"), text("redrive.deduplication_id")), ("3", "d"));
        assert_eq!(text("redrive.sent_timestamp"), "1545082649183");
        assert_eq!(
            (text("redrive.source"), text("redrive.function")),
            ("arn:aws:sqs:us-east-1:1:orders.fifo", "orders")
        );
        let system = message.get_message_system_attributes().as_ref().unwrap();
        assert_eq!(system[&SystemAttribute::AwsTraceHeader].string_value(), Some("Root=1"));
    }

    #[test]
    fn nulls_keep_no_message_from_the_dead_letter_queue() {
        let attributes = json!({
            "none": null,
            "empty": { "stringValue": null, "binaryValue": null, "dataType": "String" },
            "text": { "stringValue": "t", "binaryValue": null, "stringListValues": null, "dataType": null },
        });
        let message = sent(
            json!({ "messageId": "m", "body": "b", "attributes": null, "messageAttributes": attributes }),
            "http://q/1/dead",
        );
        let own: Vec<_> = names(&message).into_iter().filter(|name| !name.starts_with("redrive.")).collect();
        assert_eq!(own, ["text"]);
        assert_eq!(message.get_message_attributes().as_ref().unwrap()["text"].data_type(), "String");
        let none = json!({ "messageId": "m", "body": "b", "messageAttributes": null });
        assert!(names(&sent(none, "http://q/1/dead")).iter().all(|name| name.starts_with("redrive.")));
    }

    #[test]
    fn only_a_fifo_queue_has_deduplication_and_needs_a_group() {
        let of_standard = |url| sent(json!({ "messageId": "m", "body": "b" }), url);
        let (standard, fifo) = (of_standard("http://q/1/dead"), of_standard("http://q/1/dead.fifo"));
        assert_eq!((standard.get_message_group_id(), standard.get_message_deduplication_id()), (&None, &None));
        assert_eq!(fifo.get_message_group_id().as_deref(), Some("m"));
        let fair = json!({ "messageId": "m", "body": "b", "attributes": { "MessageGroupId": "tenant" } });
        assert_eq!(sent(fair, "http://q/1/dead").get_message_group_id().as_deref(), Some("tenant"));
    }

    #[test]
    fn of_the_note_the_last_parts_give_way() {
        let of = |count: usize, body: String| {
            let own: serde_json::Map<_, _> = (0..count).map(|n| (format!("own{n}"), attribute("x"))).collect();
            let attributes = json!({ "ApproximateReceiveCount": "3" });
            sent(
                json!({ "messageId": "m", "body": body, "attributes": attributes, "messageAttributes": own }),
                "http://q/1/dead",
            )
        };
        assert_eq!(names(&of(10, "b".into())).iter().filter(|name| note::ALL.contains(name)).count(), 0);
        let nine = of(9, "b".into());
        assert!(names(&nine).contains(&"redrive.reason") && !names(&nine).contains(&"redrive.error"));
        // 33 bytes are room for the reason, which takes "redrive.reason", "String" and "no such order".
        assert_eq!(names(&of(0, "b".repeat(MAX_MESSAGE_BYTES - 33))), ["redrive.reason"]);
        assert!(!names(&of(0, "b".repeat(MAX_MESSAGE_BYTES - 32))).contains(&"redrive.reason"));
    }

    #[test]
    fn a_text_is_made_one_that_sqs_takes() {
        assert_eq!(allowed("a\u{0}b\u{fffe}c\td"), "a\u{fffd}b\u{fffd}c\td");
        assert_eq!(allowed(&"é".repeat(4_000)).len(), MAX_TEXT_BYTES);
    }
}
