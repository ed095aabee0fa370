//! Models a message as a queue stores it.

use std::fmt;
use std::sync::Arc;

use md5::{Digest, Md5};
use redrive::internals::hex::{hex, uuid};

use super::attribute::Attributes;
use super::error::{Code, SqsError};
use super::time::Time;

/// The size limit of one message and of one batch call: 1 MiB.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
pub(super) const MAX_MESSAGE_BYTES: usize = 1_048_576;

/// The position of a message in its queue. Later messages have greater positions.
pub(super) type Position = u64;

#[derive(Clone, Debug)]
pub struct Message {
    pub id: MessageId,
    pub body: Box<str>,
    pub md5_of_body: Md5Sum,
    /// The attributes. Few messages have any, so the list takes no room without them.
    pub attributes: Option<Attributes>,
    pub trace_header: Option<Box<str>>,
    /// The message group id. A FIFO queue requires it; on a standard queue it serves fair queues.
    pub group: Option<Arc<str>>,
    pub fifo: Option<Box<FifoPart>>,
    /// The time of the send. A message of a standard queue keeps it in the dead-letter queue.
    pub sent: Time,
    pub first_received: Option<Time>,
    pub receive_count: u32,
    /// The number of receives in queues that dead-lettered the message. They do not count against this queue's
    /// maxReceiveCount. Otherwise a message would move without end in a circle of queues.
    pub received_elsewhere: u32,
    /// The ARN of the queue from which a RedrivePolicy moved the message.
    pub dead_letter_source: Option<Arc<str>>,
}

impl Message {
    /// Returns the number of receives in this queue.
    pub fn received_here(&self) -> u32 {
        self.receive_count - self.received_elsewhere
    }

    /// Returns whether this receive count belongs to a receive of this queue.
    pub fn was_handed_out_here(&self, receive_count: u32) -> bool {
        receive_count > self.received_elsewhere && receive_count <= self.receive_count
    }

    /// Returns the text or number of an attribute, if the message has it.
    pub fn text_attribute(&self, name: &str) -> Option<&str> {
        self.attributes.as_ref()?.get(name)?.as_text()
    }
}

/// The fields that only messages of FIFO queues have.
#[derive(Clone, Debug)]
pub struct FifoPart {
    pub deduplication_id: Box<str>,
    pub sequence_number: SequenceNumber,
}

/// A random UUID, version 4.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(u128);

impl MessageId {
    pub fn random(rng: &mut fastrand::Rng) -> Self {
        let version = 4 << 76;
        let variant = 0b10 << 62;
        let cleared = rng.u128(..) & !(0xf << 76) & !(0b11 << 62);
        Self(cleared | version | variant)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&uuid(self.0))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A sequence number, which grows with each message of a queue. It has 20 digits and gaps, like those of SQS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SequenceNumber(u64);

impl SequenceNumber {
    pub fn nth(n: u64) -> Self {
        Self(n)
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", 18_850_000_000_000_000_000 + u128::from(self.0) * 256)
    }
}

/// An MD5 digest. `Display` writes hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Md5Sum([u8; 16]);

impl Md5Sum {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Md5::digest(bytes).into())
    }
}

impl fmt::Display for Md5Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(u128::from_be_bytes(self.0)))
    }
}

/// Checks a body: SQS requires at least one character and allows only the characters of XML 1.0.
pub fn check_body(body: &str) -> Result<(), SqsError> {
    if body.is_empty() {
        return Err(SqsError::missing("MessageBody"));
    }
    match body.chars().find(|&char| !is_allowed(char)) {
        None => Ok(()),
        Some(char) => {
            let message = format!(
                "Invalid characters found: U+{:04X} is not among those that a message may have",
                u32::from(char)
            );
            Err(SqsError::new(Code::InvalidMessageContents, message))
        }
    }
}

/// Returns whether a message may have a character: `#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to
/// #x10FFFF`.
pub fn is_allowed(char: char) -> bool {
    matches!(char, '\u{9}' | '\u{a}' | '\u{d}' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_id_is_a_random_uuid() {
        let mut rng = fastrand::Rng::with_seed(1);
        let id = MessageId::random(&mut rng).to_string();
        let lengths: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(&id[14..15], "4", "{id}");
        assert!("89ab".contains(&id[19..20]), "{id}");
        assert_ne!(id, MessageId::random(&mut rng).to_string());
    }

    #[test]
    fn sequence_numbers_have_twenty_digits_and_grow() {
        let [first, second] = [0, 1].map(|n| SequenceNumber::nth(n).to_string());
        assert_eq!(first.len(), 20);
        assert!(first < second);
    }

    #[test]
    fn md5_of_a_body_is_computed_from_its_bytes() {
        // The expected digest is in AWS's own example of a record.
        assert_eq!(Md5Sum::of(b"Test message.").to_string(), "e4e68fb7bd0e697a0ae8f1bb342846b3");
        assert_eq!(Md5Sum::of(b"").to_string(), "d41d8cd98f00b204e9800998ecf8427e");
    }

    #[test]
    fn body_with_characters_outside_xml_is_refused() {
        for body in ["a", "\t\n\r ", "\u{d7ff}\u{e000}\u{fffd}\u{10000}\u{10ffff}"] {
            assert_eq!(check_body(body), Ok(()), "{body:?}");
        }
        for body in ["\0", "a\u{8}", "\u{b}", "\u{1f}", "\u{fffe}", "\u{ffff}"] {
            assert_eq!(check_body(body).unwrap_err().code, Code::InvalidMessageContents, "{body:?}");
        }
        assert_eq!(check_body("").unwrap_err().code, Code::MissingParameter);
    }
}
