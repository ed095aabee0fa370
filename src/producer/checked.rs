//! A message that passed SQS's rules, and its size limit.

use super::id::Id;
use super::outgoing::{Outgoing, attribute_bytes};
use crate::extract::{AttributeValue, SEND_ID, TRACEPARENT};
use crate::sqs::limits::{MAX_ATTRIBUTES, MAX_MESSAGE_BYTES};

/// A message that passed SQS's rules, with its size. Counting the bytes goes through all attributes, so it is done
/// once.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) message: Outgoing,
    pub(super) bytes: usize,
    /// The number of attributes, with the one that may be added when the message is sent.
    attributes: usize,
    /// The limit for bytes that are added.
    limit_bytes: usize,
    /// Whether the id is sent as an attribute, as on a standard queue, and counts as one.
    has_id_attribute: bool,
}

/// Parts that are left out of a message above its queue's size limit, in this order.
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

    /// Applies a queue's size limit. Added parts are left out if the message fits without them.
    pub(super) fn within(mut self, limit_bytes: usize) -> Self {
        self.limit_bytes = limit_bytes;
        self.shrink_to(limit_bytes);
        self
    }

    /// Identifies the message on a standard queue, where SQS accepts no deduplication id: the id is sent as an
    /// attribute. The message has no id if the attribute exists already or has no room.
    pub(super) fn identify_by_an_attribute(&mut self) {
        let id = self.message.deduplication_id.take().unwrap_or(Id::NotDrawn);
        let is_there = self.message.attributes.contains_key(SEND_ID);
        if !is_there && self.takes_up(SEND_ID, "String".len() + id.len()) {
            self.message.deduplication_id = Some(id);
            self.has_id_attribute = true;
        }
    }

    /// Leaves out the id attribute: one that is not added yet, or one equal to the deduplication id, as in an outbox
    /// row.
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

    /// Adds an attribute, unless SQS would refuse the message because of it.
    pub(crate) fn add_if_there_is_room(&mut self, name: &str, value: AttributeValue) {
        let bytes = value.data_type().len() + value.len();
        if !self.message.attributes.contains_key(name) && self.takes_up(name, bytes) {
            self.message.attributes.insert(name.to_owned(), value);
        }
    }

    /// Counts another attribute if there is room for it.
    fn takes_up(&mut self, name: &str, bytes: usize) -> bool {
        let bytes = self.bytes + name.len() + bytes;
        let has_room = self.attributes < MAX_ATTRIBUTES && bytes <= self.limit_bytes;
        if has_room {
            (self.bytes, self.attributes) = (bytes, self.attributes + 1);
        } else if name == SEND_ID && self.attributes < MAX_ATTRIBUTES {
            warn_of_lost_id(self.limit_bytes);
        } else {
            tracing::debug!(
                attribute = name,
                "a message has no room for an attribute; it is sent without the attribute"
            );
        }
        has_room
    }

    /// Leaves out optional parts until the message fits into the limit. Returns whether it fits. If it cannot fit,
    /// nothing is left out.
    pub(super) fn shrink_to(&mut self, limit_bytes: usize) -> bool {
        if self.least_bytes() > limit_bytes {
            return false;
        }
        for extra in Extra::IN_ORDER {
            if self.bytes > limit_bytes && self.leave_out(extra) {
                match extra {
                    Extra::Traceparent => {
                        tracing::debug!(limit_bytes, "a message has no room for traceparent; it is sent without it")
                    }
                    Extra::SendId => warn_of_lost_id(limit_bytes),
                }
            }
        }
        true
    }

    /// Returns the size without the optional parts.
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

    /// Leaves out a part. Returns whether the message had it.
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

    /// Makes room for another attribute by leaving out an optional part.
    #[cfg(feature = "large-messages")]
    pub(super) fn make_room_for_an_attribute(&mut self) {
        for extra in Extra::IN_ORDER {
            if self.attributes >= MAX_ATTRIBUTES && self.leave_out(extra) {
                tracing::debug!(
                    attribute = extra.name(),
                    "a message whose body goes through S3 has too many attributes; it is sent without this one"
                );
            }
        }
    }

    /// Counts again after the message got another body and other attributes.
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
        "a message is too large for its queue with redrive.id and is sent without it; the receiver cannot recognize a copy"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_attributes_stay_within_the_limits_of_sqs() {
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

    /// The bytes of the name, the type and 32 digits.
    const ID_BYTES: usize = SEND_ID.len() + 6 + 32;
    const TRACEPARENT_BYTES: usize = TRACEPARENT.len() + 6 + 55;

    fn parts(checked: &Checked) -> (bool, bool) {
        (checked.message.attributes.contains_key(TRACEPARENT), checked.message.deduplication_id.is_some())
    }

    #[test]
    fn traceparent_is_left_out_before_the_id_and_only_if_needed() {
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
    fn message_that_stays_too_large_keeps_its_attributes() {
        let mut checked = checked(2_000);
        assert!(!checked.shrink_to(1_999));
        assert_eq!((parts(&checked), checked.bytes), ((true, true), 2_000 + ID_BYTES + TRACEPARENT_BYTES));
    }

    #[test]
    fn added_attributes_of_an_outbox_row_are_left_out_too() {
        let message = Outgoing::text("x".repeat(2_000))
            .attribute(SEND_ID, AttributeValue::string("7"))
            .attribute(TRACEPARENT, AttributeValue::string("00"))
            .deduplication_id("7");
        let checked = message.group("g").check(true).unwrap().within(2_000);
        assert_eq!((checked.bytes, checked.message.attributes.len()), (2_000, 0));
        assert_eq!(checked.message.deduplication_id, Some(Id::Given("7".to_owned())), "a FIFO queue's id stays");
    }
}
