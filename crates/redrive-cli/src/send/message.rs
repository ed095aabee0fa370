//! A message on its way out.

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
    SendMessageBatchRequestEntry as Entry,
};

use redrive::internals::limits::{MAX_ATTRIBUTES, MAX_MESSAGE_BYTES};
use redrive::internals::{SEND_ID, TRACEPARENT};
use redrive_local::queue::check_body;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) place: Place,
    pub(crate) body: String,
    pub(crate) attributes: BTreeMap<String, MessageAttributeValue>,
    pub(crate) trace_header: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) deduplication_id: Option<String>,
    pub(crate) delay_seconds: Option<i32>,
    /// `traceparent` and `redrive.id` were added by a producer, and give way where the queue takes no message of that size.
    pub(crate) may_shrink: bool,
}

/// Where in the input a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Counted from 1.
    Line(u64),
    /// A record of an event, counted from 0 as its path is.
    Record(u64),
    Whole,
}

/// A message that is not sent, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unsendable {
    pub(crate) place: Place,
    pub(crate) cause: String,
}

impl Message {
    pub(crate) fn new(place: Place, body: String) -> Self {
        Self {
            place,
            body,
            attributes: BTreeMap::new(),
            trace_header: None,
            group: None,
            deduplication_id: None,
            delay_seconds: None,
            may_shrink: false,
        }
    }

    /// What SQS counts against its limits: the body, and names, types and values of attributes; not those of the system.
    ///
    /// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
    pub(crate) fn size_bytes(&self) -> usize {
        self.body.len() + self.attributes.iter().map(attribute_bytes).sum::<usize>()
    }

    /// Leaves out what gives way, in its order, until the message has no more bytes than that. Returns whether it has; where it cannot,
    /// nothing is left out.
    pub(crate) fn shrink_to(&mut self, limit_bytes: usize) -> bool {
        const IN_ORDER: [&str; 2] = [TRACEPARENT, SEND_ID];
        let gives_way = |name: &str| self.may_shrink && IN_ORDER.contains(&name);
        let most: usize = self.attributes.iter().filter(|(name, _)| gives_way(name)).map(attribute_bytes).sum();
        if self.size_bytes() - most > limit_bytes {
            return false;
        }
        for name in IN_ORDER {
            if self.size_bytes() > limit_bytes && self.attributes.remove(name).is_some() && name == SEND_ID {
                tracing::warn!(limit_bytes, "left redrive.id out of a message that is too large for its queue with it");
            }
        }
        true
    }

    /// Refuses what would have SQS refuse all of a batch, and not this message alone.
    pub(crate) fn checked(self, is_fifo: bool) -> Result<Self, Unsendable> {
        let place = self.place;
        let unsendable = |cause: String| Err(Unsendable { place, cause });
        if self.body.is_empty() {
            return unsendable("it is empty, and SQS takes no such message".to_owned());
        }
        if let Err(error) = check_body(&self.body) {
            return unsendable(error.message);
        }
        let (size, count) = (self.size_bytes(), self.attributes.len());
        if size > MAX_MESSAGE_BYTES {
            return unsendable(format!("it has {size} bytes with its attributes; SQS takes {MAX_MESSAGE_BYTES}"));
        }
        if count > MAX_ATTRIBUTES {
            return unsendable(format!("it has {count} attributes; SQS takes {MAX_ATTRIBUTES}"));
        }
        if is_fifo && self.group.is_none() {
            return unsendable("a FIFO queue takes no message without a group; pass --group".to_owned());
        }
        Ok(self)
    }

    /// `None` is for what cannot be: an entry without an id or a body.
    pub(crate) fn entry(&self, id: String) -> Option<Entry> {
        let attributes = self.attributes.iter().map(|(name, value)| (name.clone(), value.clone()));
        let mut entry = Entry::builder()
            .id(id)
            .message_body(&self.body)
            .set_message_attributes((!self.attributes.is_empty()).then(|| attributes.collect()))
            .set_message_group_id(self.group.clone())
            .set_message_deduplication_id(self.deduplication_id.clone())
            .set_delay_seconds(self.delay_seconds);
        if let Some(header) = &self.trace_header {
            let value = MessageSystemAttributeValue::builder().data_type("String").string_value(header);
            // Only a data type that is not set is an error.
            if let Ok(value) = value.build() {
                entry = entry.message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, value);
            }
        }
        entry.build().ok()
    }
}

fn attribute_bytes((name, value): (&String, &MessageAttributeValue)) -> usize {
    let string = value.string_value().map_or(0, str::len);
    let binary = value.binary_value().map_or(0, |binary| binary.as_ref().len());
    name.len() + value.data_type().len() + string + binary
}

impl Place {
    /// For a deduplication id: which message of the input this is, from 1.
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Line(line) => line,
            Self::Record(record) => record + 1,
            Self::Whole => 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Record(record) => write!(f, "Records[{record}]"),
            Self::Whole => f.write_str("the body"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(value: &str) -> MessageAttributeValue {
        MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap()
    }

    fn message(body: &str) -> Message {
        Message::new(Place::Line(1), body.to_owned())
    }

    #[test]
    fn names_types_and_values_of_attributes_count_and_the_trace_header_does_not() {
        let mut message = message("é");
        message.trace_header = Some("Root=1".to_owned());
        assert_eq!(message.size_bytes(), 2);
        message.attributes.insert("ab".to_owned(), string("xyz"));
        assert_eq!(message.size_bytes(), 2 + 2 + 6 + 3);
    }

    #[test]
    fn a_message_has_up_to_1_mib() {
        let most = message(&"x".repeat(MAX_MESSAGE_BYTES));
        assert!(most.clone().checked(false).is_ok());
        let mut more = most;
        more.attributes.insert("a".to_owned(), string("b"));
        assert!(more.checked(false).unwrap_err().cause.contains("1048584 bytes"));
    }

    #[test]
    fn what_a_producer_added_gives_way_in_its_order() {
        let mut moved = message(&"x".repeat(2_000));
        for name in [TRACEPARENT, SEND_ID, "own"] {
            moved.attributes.insert(name.to_owned(), string("0"));
        }
        let (all, own) = (moved.size_bytes(), 2_000 + "own".len() + 7);
        assert!(!moved.shrink_to(all - 1), "what somebody else wrote stays");
        moved.may_shrink = true;
        assert!(moved.shrink_to(all) && moved.attributes.len() == 3);
        assert!(moved.shrink_to(all - 1) && !moved.attributes.contains_key(TRACEPARENT));
        assert!(moved.attributes.contains_key(SEND_ID) && !moved.shrink_to(own - 1));
        assert!(moved.shrink_to(own) && moved.attributes.keys().eq(["own"]));
    }

    #[test]
    fn what_sqs_never_takes_is_not_sent() {
        let cause = |message: Message, is_fifo| message.checked(is_fifo).unwrap_err().cause;
        assert!(cause(message(""), false).contains("empty"));
        assert!(cause(message("a\0"), false).contains("U+0000"));
        assert!(cause(message("a"), true).contains("--group"));
        let mut eleven = message("a");
        eleven.attributes = (0..11).map(|n| (format!("a{n}"), string("b"))).collect();
        assert!(cause(eleven, false).contains("11 attributes"));
    }
}
