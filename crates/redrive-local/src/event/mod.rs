//! Converts messages into records, before it is known which of them form an event.

mod message;
mod object;

use std::fmt;

use aws_sdk_sqs::types::Message;

use redrive::internals::Incomplete;
use redrive::internals::source::Source;

pub use self::message::SYSTEM_ATTRIBUTES;
use self::message::{CompleteMessage, HEAD_AND_TAIL_BYTES, write_event};

/// A message as a record of an event, with the values that the worker needs.
#[derive(Clone)]
pub struct Record {
    message_id: String,
    receipt_handle: String,
    /// The group that keeps its order. A standard queue has none, even if its messages name groups.
    group: Option<String>,
    receive_count: Option<u32>,
    sequence_number: Option<u128>,
    json: String,
}

impl Record {
    /// # Errors
    ///
    /// Returns an error if the message lacks a part that SQS always sends.
    pub fn new(message: Message, source: &Source) -> Result<Self, Incomplete> {
        let group = source.ordered_group(&message).map(str::to_owned);
        let message = CompleteMessage::new(message)?;
        let mut json = String::with_capacity(message.expected_bytes());
        message.write(source, &mut json);
        Ok(Self {
            group,
            receive_count: message.receive_count(),
            sequence_number: message.sequence_number(),
            message_id: message.0.message_id,
            receipt_handle: message.0.receipt_handle,
            json,
        })
    }

    pub fn message_id(&self) -> &str {
        &self.message_id
    }

    pub fn receipt_handle(&self) -> &str {
        &self.receipt_handle
    }

    /// Returns the message group on a FIFO queue.
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// Returns the receive count, if the queue sent it.
    pub fn receive_count(&self) -> Option<u32> {
        self.receive_count
    }

    /// Returns the sequence number of a FIFO queue's message, if the queue sent it.
    pub fn sequence_number(&self) -> Option<u128> {
        self.sequence_number
    }

    pub fn json(&self) -> &str {
        &self.json
    }

    /// Returns by how many bytes the record enlarges an event: its text and a comma.
    pub fn added_bytes(&self) -> usize {
        self.json.len() + ",".len()
    }

    #[cfg(test)]
    pub fn for_test(message_id: &str, group: Option<&str>, json: &str) -> Self {
        Self {
            message_id: message_id.to_owned(),
            receipt_handle: format!("handle of {message_id}"),
            group: group.map(str::to_owned),
            receive_count: None,
            sequence_number: None,
            json: json.to_owned(),
        }
    }
}

#[cfg(test)]
impl Record {
    pub fn in_order(self, sequence_number: u128) -> Self {
        Self { sequence_number: Some(sequence_number), ..self }
    }
}

/// Leaves out the body, which is private, and the receipt handle, which gives access to the message.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message_id, group, json, .. } = self;
        write!(f, "Record {{ message_id: {message_id:?}, group: {group:?}, {} bytes }}", json.len())
    }
}

/// The bytes of an event apart from [`Record::added_bytes`]. The first record has no comma.
pub const ENVELOPE_BYTES: usize = HEAD_AND_TAIL_BYTES - ",".len();

/// Writes the event of a batch.
pub fn event(records: &[Record]) -> String {
    let room = records.iter().map(Record::added_bytes).sum();
    write_event(room, records, |record, event| event.push_str(&record.json))
}

/// Returns the record of a message, as Lambda makes it.
///
/// # Errors
///
/// If the message lacks a part which SQS always sends.
pub fn record_json(message: Message, queue_arn: &str) -> Result<String, Box<dyn std::error::Error>> {
    Ok(Record::new(message, &Source::from_arn(queue_arn)?)?.json)
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::types::MessageSystemAttributeName as System;
    use aws_sdk_sqs::types::builders::MessageBuilder;

    use super::*;

    fn message(id: &str) -> MessageBuilder {
        Message::builder().message_id(id).receipt_handle("AQEB").body("an order")
    }

    fn source() -> Source {
        Source::from_arn("arn:aws:sqs:eu-central-1:123456789012:orders").unwrap()
    }

    fn record(message: MessageBuilder) -> Record {
        Record::new(message.build(), &source()).unwrap()
    }

    #[test]
    fn size_of_an_event_is_known_before_it_is_written() {
        let records: Vec<_> =
            ["a", "bb", "ccc"].map(|id| record(message(id).body("\u{1}\"\n\u{1F980}"))).into_iter().collect();
        for batch in (1..=records.len()).map(|len| &records[..len]) {
            let added: usize = batch.iter().map(Record::added_bytes).sum();
            assert_eq!(event(batch).len(), ENVELOPE_BYTES + added);
        }
        assert_eq!(event(&[]), r#"{"Records":[]}"#);
    }

    #[test]
    fn event_consists_of_its_records() {
        let records = ["a", "b"].map(|id| record(message(id)));
        let [a, b] = records.each_ref().map(Record::json);
        assert_eq!(event(&records[..1]), format!(r#"{{"Records":[{a}]}}"#));
        assert_eq!(event(&records), format!(r#"{{"Records":[{a},{b}]}}"#));
    }

    #[test]
    fn record_has_a_group_only_on_a_fifo_queue() {
        let grouped = || message("a").attributes(System::MessageGroupId, "1").build();
        let fifo = Source::from_arn("arn:aws:sqs:eu-central-1:123456789012:orders.fifo").unwrap();
        assert_eq!(Record::new(grouped(), &fifo).unwrap().group(), Some("1"));
        assert_eq!(Record::new(grouped(), &source()).unwrap().group(), None);
    }

    #[test]
    fn debug_output_of_a_record_hides_its_body() {
        let record = record(message("a"));
        assert_eq!((record.message_id(), record.receipt_handle()), ("a", "AQEB"));
        let debug = format!("{record:?}");
        assert!(debug.contains("\"a\"") && !debug.contains("order") && !debug.contains("AQEB"), "{debug}");
    }
}
