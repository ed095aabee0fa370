//! A message that SQS takes, as large as one queue takes it.

use super::id::Id;
use super::outgoing::{Outgoing, attribute_bytes};
use crate::extract::{AttributeValue, SEND_ID, TRACEPARENT};
use crate::sqs::limits::{MAX_ATTRIBUTES, MAX_MESSAGE_BYTES};

/// A message that SQS takes, and its bytes: to count them goes through all of its attributes.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) message: Outgoing,
    pub(super) bytes: usize,
    /// With the one that it may get when it leaves.
    attributes: usize,
    /// What is added stays below that.
    limit_bytes: usize,
    /// On a standard queue the id leaves as an attribute, and counts as one.
    has_id_attribute: bool,
}

/// What a message may do without, where the queue takes no message of its size: in the order in which it gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extra {
    Traceparent,
    SendId,
}

impl Extra {
    const IN_ORDER: [Self; 2] = [Self::Traceparent, Self::SendId];

    fn name(self) -> &'static str {
        match self {
            Self::Traceparent => TRACEPARENT,
            Self::SendId => SEND_ID,
        }
    }
}

impl Checked {
    pub(super) fn new(message: Outgoing, bytes: usize) -> Self {
        let attributes = message.attributes.len();
        Self { message, bytes, attributes, limit_bytes: MAX_MESSAGE_BYTES, has_id_attribute: false }
    }

    /// The same message for a queue with that limit. It does without what it has of ours, if it fits then.
    pub(super) fn within(mut self, limit_bytes: usize) -> Self {
        self.limit_bytes = limit_bytes;
        self.shrink_to(limit_bytes);
        self
    }

    /// For a standard queue: SQS takes no deduplication id there, and the message gets it as an attribute when it leaves. A message that
    /// has that attribute, or no room for it, has no id then.
    pub(super) fn identify_by_an_attribute(&mut self) {
        let id = self.message.deduplication_id.take().unwrap_or(Id::NotDrawn);
        let is_there = self.message.attributes.contains_key(SEND_ID);
        if !is_there && self.takes_up(SEND_ID, "String".len() + id.len()) {
            self.message.deduplication_id = Some(id);
            self.has_id_attribute = true;
        }
    }

    /// Leaves the attribute with the id out: it was not added yet, or its value is that of the deduplication id, as a row of an outbox has
    /// it.
    pub(super) fn without_id_attribute(&mut self, is_fifo: bool) {
        let id = self.message.deduplication_id.as_ref().and_then(Id::text);
        let own = self.message.attributes.get(SEND_ID).and_then(AttributeValue::as_str);
        if id.is_some() && own == id.as_deref() {
            self.leave_out(Extra::SendId);
        }
        if !is_fifo {
            self.message.deduplication_id = None;
        }
    }

    /// Adds an attribute of ours, unless SQS would refuse the message for it.
    pub(crate) fn add_if_there_is_room(&mut self, name: &str, value: AttributeValue) {
        let bytes = value.data_type().len() + value.len();
        if !self.message.attributes.contains_key(name) && self.takes_up(name, bytes) {
            self.message.attributes.insert(name.to_owned(), value);
        }
    }

    /// Counts one attribute more, where there is room for it.
    fn takes_up(&mut self, name: &str, bytes: usize) -> bool {
        let bytes = self.bytes + name.len() + bytes;
        let has_room = self.attributes < MAX_ATTRIBUTES && bytes <= self.limit_bytes;
        if has_room {
            (self.bytes, self.attributes) = (bytes, self.attributes + 1);
        } else if name == SEND_ID && self.attributes < MAX_ATTRIBUTES {
            warn_of_lost_id(self.limit_bytes);
        } else {
            tracing::debug!(attribute = name, "left an attribute out of a message that has no room for it");
        }
        has_room
    }

    /// Leaves out what it may do without until the message has no more bytes than that. Returns whether it has; where it cannot, nothing
    /// is left out.
    pub(super) fn shrink_to(&mut self, limit_bytes: usize) -> bool {
        if self.least_bytes() > limit_bytes {
            return false;
        }
        for extra in Extra::IN_ORDER {
            if self.bytes > limit_bytes && self.leave_out(extra) {
                match extra {
                    Extra::Traceparent => {
                        tracing::debug!(limit_bytes, "left traceparent out of a message that has no room for it")
                    }
                    Extra::SendId => warn_of_lost_id(limit_bytes),
                }
            }
        }
        true
    }

    /// Its bytes without all that it may do without.
    pub(super) fn least_bytes(&self) -> usize {
        self.bytes - Extra::IN_ORDER.into_iter().map(|extra| self.bytes_of(extra).unwrap_or_default()).sum::<usize>()
    }

    fn bytes_of(&self, extra: Extra) -> Option<usize> {
        let own = self.message.attributes.get(extra.name()).map(|value| attribute_bytes(extra.name(), value));
        own.or_else(|| {
            let id = self.message.deduplication_id.as_ref().filter(|_| extra == Extra::SendId && self.has_id_attribute);
            id.map(|id| SEND_ID.len() + "String".len() + id.len())
        })
    }

    /// Returns whether it was there.
    fn leave_out(&mut self, extra: Extra) -> bool {
        let Some(bytes) = self.bytes_of(extra) else { return false };
        self.bytes -= bytes;
        self.attributes -= 1;
        if self.message.attributes.remove(extra.name()).is_none() {
            self.message.deduplication_id = None;
            self.has_id_attribute = false;
        }
        true
    }

    /// Makes room for one attribute more, if what it may do without has it.
    #[cfg(feature = "large-messages")]
    pub(super) fn make_room_for_an_attribute(&mut self) {
        for extra in Extra::IN_ORDER {
            if self.attributes >= MAX_ATTRIBUTES && self.leave_out(extra) {
                tracing::debug!(
                    attribute = extra.name(),
                    "left an attribute out of a message whose body goes through S3"
                );
            }
        }
    }

    /// Counts again, after the message has got another body and attributes.
    #[cfg(feature = "large-messages")]
    pub(super) fn recount(&mut self) {
        self.bytes = self.message.bytes();
        self.attributes = self.message.attributes.len();
        if self.has_id_attribute {
            self.bytes += self.bytes_of(Extra::SendId).unwrap_or_default();
            self.attributes += 1;
        }
    }
}

fn warn_of_lost_id(limit_bytes: usize) {
    tracing::warn!(
        limit_bytes,
        "left redrive.id out of a message that is too large for its queue with it; the receiver cannot tell a copy of the message"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_within_what_sqs_takes() {
        let with = |own| {
            let message = (0..own)
                .fold(Outgoing::text("x"), |message, n| message.attribute(n.to_string(), AttributeValue::string("x")));
            let mut checked = message.check(false).unwrap();
            checked.identify_by_an_attribute();
            checked.add_if_there_is_room("traceparent", AttributeValue::string("00"));
            (checked.message.deduplication_id.is_some(), checked.message.attributes.len() - own)
        };
        assert_eq!((with(8), with(9), with(10)), ((true, 1), (true, 0), (false, 0)));
        let mut known = Outgoing::text("x").attribute(SEND_ID, AttributeValue::string("7")).check(false).unwrap();
        known.identify_by_an_attribute();
        assert_eq!((known.message.deduplication_id, known.bytes), (None, 1 + SEND_ID.len() + "String7".len()));
        let mut full = Outgoing::text("x".repeat(MAX_MESSAGE_BYTES)).check(false).unwrap();
        full.identify_by_an_attribute();
        assert_eq!(full.message.deduplication_id, None);
    }

    fn checked(body_bytes: usize) -> Checked {
        let mut checked = Outgoing::text("x".repeat(body_bytes)).check(false).unwrap();
        checked.identify_by_an_attribute();
        checked.add_if_there_is_room(TRACEPARENT, AttributeValue::string("0".repeat(55)));
        checked
    }

    /// The name, the type and 32 digits.
    const ID_BYTES: usize = SEND_ID.len() + 6 + 32;
    const TRACEPARENT_BYTES: usize = TRACEPARENT.len() + 6 + 55;

    fn parts(checked: &Checked) -> (bool, bool) {
        (checked.message.attributes.contains_key(TRACEPARENT), checked.message.deduplication_id.is_some())
    }

    #[test]
    fn traceparent_gives_way_before_the_id_and_neither_without_need() {
        let all = 2_000 + ID_BYTES + TRACEPARENT_BYTES;
        for (limit, expected) in [
            (all, (true, true)),
            (all - 1, (false, true)),
            (2_000 + ID_BYTES, (false, true)),
            (2_000 + ID_BYTES - 1, (false, false)),
            (2_000, (false, false)),
        ] {
            let mut checked = checked(2_000);
            assert!(checked.shrink_to(limit) && checked.bytes <= limit, "{limit}");
            assert_eq!(parts(&checked), expected, "{limit}");
        }
    }

    #[test]
    fn a_message_that_is_too_large_without_them_keeps_them() {
        let mut checked = checked(2_000);
        assert!(!checked.shrink_to(1_999));
        assert_eq!((parts(&checked), checked.bytes), ((true, true), 2_000 + ID_BYTES + TRACEPARENT_BYTES));
    }

    #[test]
    fn what_a_row_of_an_outbox_has_of_ours_gives_way_too() {
        let message = Outgoing::text("x".repeat(2_000))
            .attribute(SEND_ID, AttributeValue::string("7"))
            .attribute(TRACEPARENT, AttributeValue::string("00"))
            .deduplication_id("7");
        let checked = message.group("g").check(true).unwrap().within(2_000);
        assert_eq!((checked.bytes, checked.message.attributes.len()), (2_000, 0));
        assert_eq!(checked.message.deduplication_id, Some(Id::Given("7".to_owned())), "the one of a FIFO queue stays");
    }
}
