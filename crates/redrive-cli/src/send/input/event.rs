//! The messages of an SQS event, as its records have them.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::atomic::Ordering;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Gone, Item, MAX_EVENT_BYTES, Reading};
use crate::send::attribute::value;
use crate::send::message::{Message, Place};
use crate::trace_header::without_lineage;

/// Split, not parsed: one bad record costs one message.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "Records", borrow)]
    records: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    body: Option<String>,
    attributes: Option<SystemAttributes>,
    message_attributes: Option<BTreeMap<String, Option<Attribute>>>,
}

/// Those that a sender can give. The others are SQS's own.
#[derive(Default, Deserialize)]
struct SystemAttributes {
    #[serde(rename = "AWSTraceHeader")]
    trace_header: Option<String>,
    #[serde(rename = "MessageGroupId")]
    group: Option<String>,
    #[serde(rename = "MessageDeduplicationId")]
    deduplication_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attribute {
    data_type: Option<String>,
    string_value: Option<String>,
    binary_value: Option<String>,
}

impl Reading {
    pub(super) fn event(&self, from: impl Read) -> Result<(), Gone> {
        let mut json = Vec::new();
        if let Err(error) = from.take(MAX_EVENT_BYTES + 1).read_to_end(&mut json) {
            return self.broken(&error);
        }
        let name = &self.name;
        if json.len() as u64 > MAX_EVENT_BYTES {
            let problem = format!("{name} is longer than an event of {MAX_EVENT_BYTES} bytes; send it with --lines");
            return self.tell(Item::Broken(problem));
        }
        let is_list = json.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        let read = if is_list {
            serde_json::from_slice(&json)
        } else {
            serde_json::from_slice(&json).map(|event: Event<'_>| event.records)
        };
        let records: Vec<&RawValue> = match read {
            Ok(records) => records,
            Err(error) => {
                let problem = format!(
                    "{name} begins as an SQS event and is none: {error}; to send each line as a body pass --lines, to \
                     send all of it as one --whole"
                );
                return self.tell(Item::Broken(problem));
            }
        };
        // All of it is read by now. What counts is how much of it has gone.
        self.read_bytes.store(0, Ordering::Relaxed);
        for (number, record) in (0..).zip(records) {
            let place = Place::Record(number);
            match message(place, record.get()) {
                Ok(message) => self.message(message)?,
                Err(cause) => self.unsendable(place, cause)?,
            }
            self.read_bytes.fetch_add(record.get().len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn message(place: Place, json: &str) -> Result<Message, String> {
    let record: Record = serde_json::from_str(json).map_err(|error| format!("it is no SQS record: {error}"))?;
    let Some(body) = record.body else {
        return Err("it has no body, so it is no SQS record; to send the event itself pass --whole".to_owned());
    };
    let system = record.attributes.unwrap_or_default();
    let attributes = record.message_attributes.unwrap_or_default().into_iter();
    let attributes = attributes.filter_map(|(name, attribute)| Some((name, attribute?))).map(|(name, attribute)| {
        let basic_type = if attribute.string_value.is_some() { "String" } else { "Binary" };
        let text = attribute.string_value.or(attribute.binary_value).unwrap_or_default();
        let value = value(attribute.data_type.as_deref().unwrap_or(basic_type), &text);
        value.map(|value| (name.clone(), value)).map_err(|problem| format!("the attribute {name:?}: {problem}"))
    });
    Ok(Message {
        attributes: attributes.collect::<Result<_, _>>()?,
        // Whoever sends it is no function that could be in a loop.
        trace_header: system.trace_header.and_then(|header| without_lineage(&header)),
        group: system.group,
        deduplication_id: system.deduplication_id,
        ..Message::new(place, body)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_what_a_sender_can_give() {
        let sent = message(
            Place::Record(0),
            r#"{"body": "a", "messageId": "1", "attributes": {"ApproximateReceiveCount": "2", "AWSTraceHeader": "Root=1",
                "MessageGroupId": "g", "MessageDeduplicationId": "d"}, "messageAttributes": {
                "n": {"stringValue": "1", "dataType": "Number", "stringListValues": []},
                "b": {"binaryValue": "AAE=", "dataType": "Binary"}}}"#,
        );
        let sent = sent.unwrap();
        assert_eq!((sent.body.as_str(), sent.trace_header.as_deref()), ("a", Some("Root=1")));
        assert_eq!((sent.group.as_deref(), sent.deduplication_id.as_deref()), (Some("g"), Some("d")));
        assert_eq!(sent.attributes["n"].string_value(), Some("1"));
        assert_eq!(sent.attributes["b"].binary_value().unwrap().as_ref(), [0, 1]);
        assert_eq!(sent.size_bytes(), 1 + (1 + 6 + 1) + (1 + 6 + 2));
    }

    #[test]
    fn nulls_cost_nothing() {
        let sent = message(
            Place::Record(0),
            r#"{"body": "a", "attributes": {"AWSTraceHeader": null}, "messageAttributes": {"none": null,
                "a": {"stringValue": "x", "binaryValue": null, "stringListValues": null, "dataType": null}}}"#,
        );
        let sent = sent.unwrap();
        assert_eq!(sent.attributes.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!((sent.attributes["a"].data_type(), sent.attributes["a"].string_value()), ("String", Some("x")));
        let without = r#"{"body": "a", "attributes": null, "messageAttributes": null}"#;
        assert!(message(Place::Record(0), without).unwrap().attributes.is_empty());
    }

    #[test]
    fn a_header_is_sent_without_its_lineage() {
        let json = r#"{"body": "a", "attributes": {"AWSTraceHeader": "Root=1;Lineage=a:16:1"}}"#;
        assert_eq!(message(Place::Record(0), json).unwrap().trace_header.as_deref(), Some("Root=1"));
    }

    #[test]
    fn a_record_that_cannot_be_sent_says_why() {
        let cause = |json| message(Place::Record(0), json).unwrap_err();
        assert!(cause(r#"{"s3": {}}"#).contains("--whole"));
        assert!(cause(r#"{"body": 5}"#).contains("no SQS record"));
        assert!(cause("5").contains("no SQS record"));
        let odd = r#"{"body": "a", "messageAttributes": {"b": {"binaryValue": "%", "dataType": "Binary"}}}"#;
        assert!(cause(odd).contains("\"b\": the value is not base64"));
    }
}
