//! The receipt for a message that SQS accepted.

use std::fmt;

/// The receipt for a message that SQS accepted.
#[derive(Clone, PartialEq, Eq)]
pub struct Sent {
    message_id: CompactId,
    sequence_number: Option<Box<str>>,
}

/// A message id. One of the usual length takes no allocation: callers keep many receipts, and long-lived allocations
/// scattered among short-lived ones slow all of them down.
#[derive(Clone, PartialEq, Eq)]
enum CompactId {
    /// A UUID with its hyphens.
    Usual([u8; 36]),
    Other(Box<str>),
}

impl Sent {
    pub(crate) fn new(message_id: &str, sequence_number: Option<&str>) -> Self {
        let usual = message_id.as_bytes().try_into().map(CompactId::Usual);
        let message_id = usual.unwrap_or_else(|_| CompactId::Other(message_id.into()));
        Self { message_id, sequence_number: sequence_number.map(Into::into) }
    }

    /// Returns the message id that SQS assigned.
    pub fn message_id(&self) -> &str {
        match &self.message_id {
            // The bytes came from a `str`.
            CompactId::Usual(bytes) => str::from_utf8(bytes).unwrap_or_default(),
            CompactId::Other(text) => text,
        }
    }

    /// Returns the position on a FIFO queue. It is larger for each later message of a group.
    pub fn sequence_number(&self) -> Option<&str> {
        self.sequence_number.as_deref()
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Sent");
        fields.field("message_id", &self.message_id()).field("sequence_number", &self.sequence_number()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_id_of_any_length_is_kept() {
        for id in ["5fea7756-0ea4-451a-a703-a558b933e274", "", "m-1", &"é".repeat(18), &"x".repeat(100)] {
            assert_eq!(Sent::new(id, None).message_id(), id);
        }
        let fifo = Sent::new("m", Some("18849496460467696128"));
        assert_eq!(fifo.sequence_number(), Some("18849496460467696128"));
        assert_eq!(format!("{fifo:?}"), r#"Sent { message_id: "m", sequence_number: Some("18849496460467696128") }"#);
    }
}
