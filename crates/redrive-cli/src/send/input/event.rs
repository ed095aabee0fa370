//! Reads the messages of an SQS event, one from each record.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::atomic::Ordering;

use redrive::Outgoing;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Gone, InputItem, MAX_EVENT_BYTES, Reading};
use crate::send::attribute::value;
use crate::send::message::{InputPosition, Message};
use crate::trace_header::without_lineage;

/// The records are split here and parsed one by one, so that a bad record affects only its own message.
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
    message_attributes: Option<BTreeMap<String, Option<EventAttribute>>>,
}

/// The system attributes that a sender can set. SQS sets the others.
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
struct EventAttribute {
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
            let problem =
                format!("{name} is longer than {MAX_EVENT_BYTES} bytes, the limit for an event; send it with --lines");
            return self.tell(InputItem::Broken(problem));
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
                    "{name} begins as an SQS event and cannot be parsed: {error}; pass --lines to send each line as a \
                     body, or --whole to send the input as one body"
                );
                return self.tell(InputItem::Broken(problem));
            }
        };
        // The input is read completely by now. From here on the progress counts the records that are handed on.
        self.read_bytes.store(0, Ordering::Relaxed);
        for (number, record) in (0..).zip(records) {
            let position = InputPosition::Record(number);
            match message(position, record.get()) {
                Ok(message) => self.message(message)?,
                Err(cause) => self.unsendable(position, cause)?,
            }
            self.read_bytes.fetch_add(record.get().len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn message(position: InputPosition, json: &str) -> Result<Message, String> {
    let record: Record =
        serde_json::from_str(json).map_err(|error| format!("it is not an SQS record: {error}; check the event"))?;
    let Some(body) = record.body else {
        return Err("it has no body, so it is not an SQS record; pass --whole to send the event itself".to_owned());
    };
    let system = record.attributes.unwrap_or_default();
    let attributes = record.message_attributes.unwrap_or_default().into_iter();
    let attributes = attributes.filter_map(|(name, attribute)| Some((name, attribute?))).map(|(name, attribute)| {
        let basic_type = if attribute.string_value.is_some() { "String" } else { "Binary" };
        let text = attribute.string_value.or(attribute.binary_value).unwrap_or_default();
        let value = value(attribute.data_type.as_deref().unwrap_or(basic_type), &text);
        value.map(|value| (name.clone(), value)).map_err(|problem| format!("the attribute {name:?}: {problem}"))
    });
    let mut outgoing = Outgoing::text(body);
    for attribute in attributes {
        let (name, value) = attribute?;
        outgoing = outgoing.attribute(name, value);
    }
    // The lineage detects loops between functions, and this command is not a function.
    if let Some(header) = system.trace_header.and_then(|header| without_lineage(&header)) {
        outgoing = outgoing.trace_header(header);
    }
    if let Some(group) = system.group {
        outgoing = outgoing.group(group);
    }
    if let Some(id) = system.deduplication_id {
        outgoing = outgoing.deduplication_id(id);
    }
    Ok(Message { position, outgoing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_all_fields_that_a_sender_can_set() {
        let sent = message(
            InputPosition::Record(0),
            r#"{"body": "a", "messageId": "1", "attributes": {"ApproximateReceiveCount": "2", "AWSTraceHeader": "Root=1",
                "MessageGroupId": "g", "MessageDeduplicationId": "d"}, "messageAttributes": {
                "n": {"stringValue": "1", "dataType": "Number", "stringListValues": []},
                "b": {"binaryValue": "AAE=", "dataType": "Binary"}}}"#,
        );
        let sent = sent.unwrap().outgoing;
        assert_eq!((sent.get_body(), sent.get_trace_header()), ("a", Some("Root=1")));
        assert_eq!((sent.get_group(), sent.get_deduplication_id()), (Some("g"), Some("d")));
        let [number, binary] = ["n", "b"].map(|name| sent.get_attribute(name).unwrap());
        assert_eq!((number.data_type(), number.as_str()), ("Number", Some("1")));
        assert_eq!((binary.data_type(), binary.as_bytes()), ("Binary", Some(&[0, 1][..])));
    }

    #[test]
    fn null_fields_count_as_absent() {
        let sent = message(
            InputPosition::Record(0),
            r#"{"body": "a", "attributes": {"AWSTraceHeader": null}, "messageAttributes": {"none": null,
                "a": {"stringValue": "x", "binaryValue": null, "stringListValues": null, "dataType": null}}}"#,
        );
        let sent = sent.unwrap().outgoing;
        assert_eq!(sent.get_attributes().map(|(name, _)| name).collect::<Vec<_>>(), ["a"]);
        let attribute = sent.get_attribute("a").unwrap();
        assert_eq!((attribute.data_type(), attribute.as_str()), ("String", Some("x")));
        let without = r#"{"body": "a", "attributes": null, "messageAttributes": null}"#;
        assert_eq!(message(InputPosition::Record(0), without).unwrap().outgoing.get_attributes().count(), 0);
    }

    #[test]
    fn a_trace_header_is_sent_without_its_lineage() {
        let json = r#"{"body": "a", "attributes": {"AWSTraceHeader": "Root=1;Lineage=a:16:1"}}"#;
        assert_eq!(message(InputPosition::Record(0), json).unwrap().outgoing.get_trace_header(), Some("Root=1"));
    }

    #[test]
    fn a_record_that_cannot_be_sent_fails_with_its_cause() {
        let cause = |json| message(InputPosition::Record(0), json).unwrap_err();
        assert!(cause(r#"{"s3": {}}"#).contains("--whole"));
        assert!(cause(r#"{"body": 5}"#).contains("not an SQS record"));
        assert!(cause("5").contains("not an SQS record"));
        let odd = r#"{"body": "a", "messageAttributes": {"b": {"binaryValue": "%", "dataType": "Binary"}}}"#;
        assert!(cause(odd).contains("\"b\": the value is not base64"));
    }
}
