//! Messages as records by themselves, until it is known which of them make an event together.

mod message;
mod object;

use std::fmt;

use aws_sdk_sqs::types::Message;

use redrive::internals::source::Source;

use self::message::{CompleteMessage, HEAD_AND_TAIL_BYTES, Incomplete, write_event};

/// One message as a record of the event, with what is needed of it besides.
#[derive(Clone)]
pub struct Record {
    message_id: String,
    receipt_handle: String,
    /// The group whose order counts: none on a standard queue, whatever its messages say.
    group: Option<String>,
    receive_count: Option<u32>,
    sequence_number: Option<u128>,
    json: String,
}

impl Record {
    /// # Errors
    ///
    /// Where the message lacks what SQS gives every message.
    pub fn new(message: Message, source: &Source) -> Result<Self, Incomplete> {
        let group = source.ordered_group(&message).map(str::to_owned);
        let message = CompleteMessage::new(message)?;
        let mut json = String::with_capacity(message.expected_bytes());
        message.write(source, &mut json);
        Ok(Self {
            group,
            receive_count: message.receive_count(),
            sequence_number: message.sequence_number(),
            message_id: message.message_id,
            receipt_handle: message.receipt_handle,
            json,
        })
    }

    pub fn message_id(&self) -> &str {
        &self.message_id
    }

    pub fn receipt_handle(&self) -> &str {
        &self.receipt_handle
    }

    /// The message group, where its order counts.
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// Which receive of the message this is, where the queue says so.
    pub fn receive_count(&self) -> Option<u32> {
        self.receive_count
    }

    /// Its place in the order of a FIFO queue, where the queue says so.
    pub fn sequence_number(&self) -> Option<u128> {
        self.sequence_number
    }

    pub fn json(&self) -> &str {
        &self.json
    }

    /// By how much an event grows by this record: its text, and a comma.
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

/// Without the body, which is private, and the receipt handle, which is a key to the message.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message_id, group, json, .. } = self;
        write!(f, "Record {{ message_id: {message_id:?}, group: {group:?}, {} bytes }}", json.len())
    }
}

/// What an event takes beside [`Record::added_bytes`] of its records. One comma less, for the first has none before it.
pub const ENVELOPE_BYTES: usize = HEAD_AND_TAIL_BYTES - ",".len();

/// The event of one batch.
pub fn event(records: &[Record]) -> String {
    let room = records.iter().map(Record::added_bytes).sum();
    write_event(room, records, |record, event| event.push_str(&record.json))
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
    fn the_bytes_of_an_event_are_known_before_it_is_made() {
        let records: Vec<_> =
            ["a", "bb", "ccc"].map(|id| record(message(id).body("\u{1}\"\n\u{1F980}"))).into_iter().collect();
        for batch in (1..=records.len()).map(|len| &records[..len]) {
            let added: usize = batch.iter().map(Record::added_bytes).sum();
            assert_eq!(event(batch).len(), ENVELOPE_BYTES + added);
        }
        assert_eq!(event(&[]), r#"{"Records":[]}"#);
    }

    #[test]
    fn an_event_is_its_records_and_no_more() {
        let records = ["a", "b"].map(|id| record(message(id)));
        let [a, b] = records.each_ref().map(Record::json);
        assert_eq!(event(&records[..1]), format!(r#"{{"Records":[{a}]}}"#));
        assert_eq!(event(&records), format!(r#"{{"Records":[{a},{b}]}}"#));
    }

    #[test]
    fn a_record_has_its_group_where_the_order_counts() {
        let grouped = || message("a").attributes(System::MessageGroupId, "1").build();
        let fifo = Source::from_arn("arn:aws:sqs:eu-central-1:123456789012:orders.fifo").unwrap();
        assert_eq!(Record::new(grouped(), &fifo).unwrap().group(), Some("1"));
        assert_eq!(Record::new(grouped(), &source()).unwrap().group(), None);
    }

    #[test]
    fn what_is_logged_of_a_record_is_not_its_body() {
        let record = record(message("a"));
        assert_eq!((record.message_id(), record.receipt_handle()), ("a", "AQEB"));
        let debug = format!("{record:?}");
        assert!(debug.contains("\"a\"") && !debug.contains("order") && !debug.contains("AQEB"), "{debug}");
    }
}
