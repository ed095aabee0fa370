//! A message of the input.

use std::fmt;

use redrive::Outgoing;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) place: Place,
    pub(crate) outgoing: Outgoing,
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
    pub(crate) fn new(place: Place, body: impl Into<String>) -> Self {
        Self { place, outgoing: Outgoing::text(body) }
    }

    /// Refuses what a producer refuses in words of its own, and the command in those of its options.
    pub(crate) fn checked(self, is_fifo: bool) -> Result<Self, Unsendable> {
        let cause = if self.outgoing.get_body().is_empty() {
            "it is empty, and SQS takes no such message"
        } else if is_fifo && self.outgoing.get_group().is_none() {
            "a FIFO queue takes no message without a group; pass --group"
        } else {
            return Ok(self);
        };
        Err(Unsendable { place: self.place, cause: cause.to_owned() })
    }
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

    #[test]
    fn an_empty_body_and_a_missing_group_are_refused_with_the_remedy() {
        let cause = |body, is_fifo| Message::new(Place::Line(1), body).checked(is_fifo).unwrap_err().cause;
        assert!(cause("", false).contains("it is empty"));
        assert!(cause("a", true).contains("--group"));
    }
}
