//! Defines a message of the input and its position.

use std::fmt;

use redrive::Outgoing;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) position: InputPosition,
    pub(crate) outgoing: Outgoing,
}

/// The position of a message in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum InputPosition {
    /// A line, counted from 1.
    Line(u64),
    /// A record of an event, counted from 0 like its index in `Records`.
    Record(u64),
    Whole,
}

/// A message that cannot be sent, and the cause.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unsendable {
    pub(crate) position: InputPosition,
    pub(crate) cause: String,
}

impl Message {
    pub(crate) fn new(position: InputPosition, body: impl Into<String>) -> Self {
        Self { position, outgoing: Outgoing::text(body) }
    }

    /// Refuses messages that a producer would refuse, with an error that names the command's options.
    pub(crate) fn checked(self, is_fifo: bool) -> Result<Self, Unsendable> {
        let cause = if self.outgoing.get_body().is_empty() {
            "it is empty, and SQS refuses empty messages; pass a body"
        } else if is_fifo && self.outgoing.get_group().is_none() {
            "a FIFO queue refuses messages without a group; pass --group"
        } else {
            return Ok(self);
        };
        Err(Unsendable { position: self.position, cause: cause.to_owned() })
    }
}

impl InputPosition {
    /// Returns the number of the message in the input, from 1, for a deduplication id.
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Line(line) => line,
            Self::Record(record) => record + 1,
            Self::Whole => 1,
        }
    }
}

impl fmt::Display for InputPosition {
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

    #[test]
    fn an_empty_body_and_a_missing_group_are_refused_with_the_remedy() {
        let cause = |body, is_fifo| Message::new(InputPosition::Line(1), body).checked(is_fifo).unwrap_err().cause;
        assert!(cause("", false).contains("it is empty"));
        assert!(cause("a", true).contains("--group"));
    }
}
