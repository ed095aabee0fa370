//! Creates a dead letter: the original message with the reason.

use std::collections::BTreeMap;

use aws_sdk_sqs::operation::send_message::builders::SendMessageInputBuilder;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeNameForSends as SystemAttribute, MessageSystemAttributeValue,
};

use super::limits::{MAX_ATTRIBUTES, is_allowed};
use super::note;
use crate::extract::{AttributeValue, SEND_ID, TRACEPARENT};
use crate::json::JsonError;
use crate::record::Record;

/// The reason of a dead letter, and the function that failed.
pub(super) struct About<'a> {
    pub(super) reason: &'a str,
    pub(super) error: Option<&'a str>,
    pub(super) function: Option<&'a str>,
}

/// The longest text of a note. It suffices for a chain of causes, but not for a copy of a payload that an error quotes.
const MAX_TEXT_BYTES: usize = 4_096;

/// A shortened reason or error keeps this much, so that it still tells something.
const SHORTEST_TEXT_BYTES: usize = 64;

const STRING: &str = "String";
const NUMBER: &str = "Number";

/// A dead letter with its size as SQS counts it.
pub(super) struct Letter {
    pub(super) message: SendMessageInputBuilder,
    pub(super) bytes: usize,
    /// The names of attributes without room.
    left_out: Vec<&'static str>,
}

impl Letter {
    /// Logs the attributes that the letter lacks, and returns it.
    pub(super) fn told(self, record: &Record, about: Option<&About<'_>>, limit_bytes: usize) -> Self {
        if !self.left_out.is_empty() {
            let (message_id, left_out) = (record.message_id(), self.left_out.join(", "));
            let message_id = message_id.as_deref();
            let (reason, error) = (about.map(|about| about.reason), about.and_then(|about| about.error));
            tracing::warn!(
                message_id,
                left_out,
                limit_bytes,
                reason,
                error,
                "a dead letter has no room for all of its attributes; it is sent without some of them"
            );
        }
        self
    }
}

/// Creates the dead letter for a queue with that size limit.
///
/// The body, the attributes and the group are the message's own. The deduplication id is the message id, as when SQS
/// moves a message itself. Under the old id SQS would accept and drop it within five minutes after the first send.
///
/// Without a note nothing is added.
///
/// # Errors
///
/// Returns an error if the record differs from those of SQS.
pub(super) fn message(
    record: &Record,
    about: Option<&About<'_>>,
    queue_url: &str,
    limit_bytes: usize,
) -> Result<Letter, JsonError> {
    let body = record.body()?.unwrap_or_default().into_owned();
    let own = record.message_attributes()?.into_iter().filter(|(name, _)| !note::ALL.contains(&&**name)).collect();
    let noted = about.map_or(Ok(Vec::new()), |about| noted(record, about))?;
    let Attributes { sent: attributes, bytes, left_out } = with_note(own, body.len(), noted, limit_bytes);
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
    let message = message
        .set_message_group_id(group.or_else(|| message_id.clone().filter(|_| is_fifo)))
        .set_message_deduplication_id(message_id.filter(|_| is_fifo));
    Ok(Letter { message, bytes, left_out })
}

/// A part of the note.
struct Part {
    name: &'static str,
    data_type: &'static str,
    text: String,
}

impl Part {
    fn bytes(&self) -> usize {
        self.name.len() + self.data_type.len() + self.text.len()
    }

    /// Shortens the text by that many bytes, but keeps a minimum. Returns how many bytes it removed.
    fn cut(&mut self, bytes: usize) -> usize {
        let before = self.text.len();
        let end = before.saturating_sub(bytes).max(SHORTEST_TEXT_BYTES.min(before));
        self.text.truncate(self.text.floor_char_boundary(end));
        before - self.text.len()
    }
}

/// Returns the parts of the note, the most useful first.
fn noted(record: &Record, about: &About<'_>) -> Result<Vec<Part>, JsonError> {
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
    let part = |(name, data_type, text): (_, _, Option<String>)| Some(Part { name, data_type, text: allowed(&text?) });
    Ok(noted.into_iter().filter_map(part).filter(|part| !part.text.is_empty()).collect())
}

/// The attributes of a dead letter.
struct Attributes {
    sent: Vec<(String, MessageAttributeValue)>,
    /// The bytes with the body.
    bytes: usize,
    /// The names of attributes without room.
    left_out: Vec<&'static str>,
}

/// Returns the message's own attributes with as much of the note as fits.
///
/// If the message is too large, `traceparent` is left out first. Then the note's error and reason are shortened, and
/// its last parts are left out. `redrive.id` is left out last. All other parts of the message stay.
fn with_note(
    mut own: BTreeMap<String, AttributeValue>,
    body_bytes: usize,
    mut noted: Vec<Part>,
    limit_bytes: usize,
) -> Attributes {
    let bytes = |own: &BTreeMap<_, _>, noted: &[Part]| {
        body_bytes + own.iter().map(bytes_of).sum::<usize>() + noted.iter().map(Part::bytes).sum::<usize>()
    };
    let for_want_of_attributes = noted.split_off(noted.len().min(MAX_ATTRIBUTES.saturating_sub(own.len())));
    let mut left_out = Vec::new();
    if bytes(&own, &noted) > limit_bytes {
        left_out.extend(own.remove(TRACEPARENT).map(|_| TRACEPARENT));
    }
    let for_want_of_bytes = shorten(&mut noted, limit_bytes.saturating_sub(bytes(&own, &[])));
    left_out.extend(for_want_of_bytes.iter().chain(&for_want_of_attributes).map(|part| part.name));
    if bytes(&own, &noted) > limit_bytes {
        left_out.extend(own.remove(SEND_ID).map(|_| SEND_ID));
    }
    let bytes = bytes(&own, &noted);
    let sent = own.into_iter().filter_map(sent).chain(noted.into_iter().filter_map(Part::sent)).collect();
    Attributes { sent, bytes, left_out }
}

/// Shortens the note to that many bytes. Returns the parts without room.
fn shorten(noted: &mut Vec<Part>, room: usize) -> Vec<Part> {
    let mut excess = noted.iter().map(Part::bytes).sum::<usize>().saturating_sub(room);
    for name in [note::ERROR, note::REASON] {
        if let Some(part) = noted.iter_mut().find(|part| part.name == name) {
            excess = excess.saturating_sub(part.cut(excess));
        }
    }
    let mut left_out = Vec::new();
    while excess > 0
        && let Some(part) = noted.pop()
    {
        excess = excess.saturating_sub(part.bytes());
        left_out.insert(0, part);
    }
    left_out
}

fn bytes_of((name, value): (&String, &AttributeValue)) -> usize {
    let value_bytes = value.as_str().map_or_else(|| value.as_bytes().map_or(0, <[u8]>::len), str::len);
    name.len() + value.data_type().len() + value_bytes
}

fn sent((name, value): (String, AttributeValue)) -> Option<(String, MessageAttributeValue)> {
    let sent = MessageAttributeValue::builder().data_type(value.data_type());
    let sent = sent.set_string_value(value.as_str().map(str::to_owned));
    sent.set_binary_value(value.as_bytes().map(Blob::new)).build().ok().map(|sent| (name, sent))
}

impl Part {
    fn sent(self) -> Option<(String, MessageAttributeValue)> {
        let value = MessageAttributeValue::builder().data_type(self.data_type).string_value(self.text).build();
        value.ok().map(|value| (self.name.to_owned(), value))
    }
}

/// Returns the text without characters that SQS refuses, and shortened.
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
    use serde_json::{Value, json};

    use super::*;
    use crate::sqs::limits::MAX_MESSAGE_BYTES;

    fn record(record: Value) -> Record {
        Record::of_json(&record.to_string())
    }

    fn sent(json: Value, queue_url: &str) -> SendMessageInputBuilder {
        let about = About { reason: "no such order", error: Some("a: b"), function: Some("orders") };
        message(&record(json), Some(&about), queue_url, MAX_MESSAGE_BYTES).unwrap().message
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
    fn dead_letter_has_the_original_message_and_the_reason() {
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
    fn nulls_do_not_keep_a_message_from_the_dead_letter_queue() {
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
    fn last_parts_of_the_note_are_left_out_first() {
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
        // 33 bytes suffice for the reason: "redrive.reason", "String" and "no such order".
        assert_eq!(names(&of(0, "b".repeat(MAX_MESSAGE_BYTES - 33))), ["redrive.reason"]);
        assert!(!names(&of(0, "b".repeat(MAX_MESSAGE_BYTES - 32))).contains(&"redrive.reason"));
    }

    /// Returns the dead letter of a message of 2,000 bytes with a producer's attributes and a long note.
    fn letter(limit_bytes: usize) -> Letter {
        let own = json!({ "redrive.id": attribute("7"), "traceparent": attribute("00"), "own": attribute("x") });
        let attributes = json!({ "ApproximateReceiveCount": "3" });
        let json =
            json!({ "messageId": "m", "body": "b".repeat(2_000), "attributes": attributes, "messageAttributes": own });
        let (reason, error) = ("r".repeat(500), "é".repeat(250));
        let about = About { reason: &reason, error: Some(&error), function: Some("orders") };
        message(&record(json), Some(&about), "http://q/1/dead", limit_bytes).unwrap()
    }

    const NOTE: [&str; 5] =
        ["redrive.error", "redrive.function", "redrive.message_id", "redrive.reason", "redrive.receive_count"];

    #[test]
    fn traceparent_is_left_out_first() {
        let all = letter(MAX_MESSAGE_BYTES);
        assert_eq!(names(&all.message), [&["own"][..], &NOTE, &["redrive.id", "traceparent"]].concat().sorted());
        let less = letter(all.bytes - 1);
        assert_eq!(names(&less.message), [&["own"][..], &NOTE, &["redrive.id"]].concat().sorted());
        assert_eq!(text(&less, "redrive.error").len(), 500, "the note is complete");
    }

    #[test]
    fn note_is_shortened_after_traceparent() {
        let least = 2_000 + "own".len() + "String".len() + 1;
        let id = SEND_ID.len() + "String".len() + 1;
        let cut = letter(least + id + 700);
        assert!(cut.bytes <= least + id + 700 && cut.bytes > least + id + 690);
        assert_eq!(
            names(&cut.message),
            [&["own"][..], &NOTE, &["redrive.id"]].concat().sorted(),
            "no part is left out"
        );
        assert!(text(&cut, "redrive.error").len() < text(&cut, "redrive.reason").len(), "the error is shortened first");
        let short = letter(least + id + 90);
        assert_eq!(names(&short.message), ["own", "redrive.id", "redrive.reason"]);
        assert_eq!(text(&short, "redrive.reason").len(), SHORTEST_TEXT_BYTES);
        assert_eq!(names(&letter(least + id).message), ["own", "redrive.id"]);
    }

    #[test]
    fn id_is_left_out_last_and_own_attributes_stay() {
        let least = 2_000 + "own".len() + "String".len() + 1;
        for limit in [least, least - 1] {
            let letter = letter(limit);
            assert_eq!((names(&letter.message), letter.bytes), (vec!["own"], least));
            assert_eq!(letter.message.get_message_body().as_ref().unwrap().len(), 2_000);
        }
    }

    #[test]
    fn dead_letter_without_a_note_has_nothing_added() {
        let json = json!({ "messageId": "m", "body": "b", "messageAttributes": { "own": attribute("x") } });
        let letter = message(&record(json), None, "http://q/1/dead", MAX_MESSAGE_BYTES).unwrap();
        assert_eq!(names(&letter.message), ["own"]);
    }

    fn text<'a>(letter: &'a Letter, name: &str) -> &'a str {
        letter.message.get_message_attributes().as_ref().unwrap()[name].string_value().unwrap()
    }

    trait Sorted {
        fn sorted(self) -> Self;
    }

    impl Sorted for Vec<&str> {
        fn sorted(mut self) -> Self {
            self.sort_unstable();
            self
        }
    }

    #[test]
    fn text_is_changed_to_one_that_sqs_accepts() {
        assert_eq!(allowed("a\u{0}b\u{fffe}c\td"), "a\u{fffd}b\u{fffd}c\td");
        assert_eq!(allowed(&"é".repeat(4_000)).len(), MAX_TEXT_BYTES);
    }
}
