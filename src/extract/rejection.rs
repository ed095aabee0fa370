//! Why an extractor did not take a record.

use std::borrow::Cow;
use std::fmt;

use crate::outcome::{BoxError, IntoOutcome, Outcome};

/// Why an extractor did not take a record: what it looks for is absent, or malformed, or the record is one to discard.
///
/// Absent and malformed are errors, and so a retry: the record goes to the dead-letter queue by the queue's
/// RedrivePolicy. Nothing of the message's payload is in the text.
#[derive(Debug)]
pub struct Rejection {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Absent(Cow<'static, str>),
    Malformed(Cow<'static, str>, BoxError),
    Discard(Cow<'static, str>),
}

impl Rejection {
    /// The record has no such thing. An `Option` of the extractor is `None` then.
    pub fn absent(what: impl Into<Cow<'static, str>>) -> Self {
        Kind::Absent(what.into()).into()
    }

    /// The record has it, and it is not as it should be.
    pub fn malformed(what: impl Into<Cow<'static, str>>, error: impl Into<BoxError>) -> Self {
        Kind::Malformed(what.into(), error.into()).into()
    }

    /// The record is nothing to work on, and leaves the queue with this reason in the log.
    pub fn discard(reason: impl Into<Cow<'static, str>>) -> Self {
        Kind::Discard(reason.into()).into()
    }

    /// What the extractor looks for is not there.
    pub fn is_absent(&self) -> bool {
        matches!(self.kind, Kind::Absent(_))
    }

    /// What the extractor looks for is there, and is not as it should be.
    pub fn is_malformed(&self) -> bool {
        matches!(self.kind, Kind::Malformed(..))
    }

    /// The record is one to discard.
    pub fn is_discard(&self) -> bool {
        matches!(self.kind, Kind::Discard(_))
    }
}

impl From<Kind> for Rejection {
    fn from(kind: Kind) -> Self {
        Self { kind }
    }
}

impl IntoOutcome for Rejection {
    type Error = Self;

    fn into_outcome(self) -> Result<Outcome, Self> {
        match self.kind {
            Kind::Discard(reason) => Ok(Outcome::Discard(reason)),
            kind => Err(kind.into()),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Absent(what) => write!(f, "the record has no {what}"),
            Kind::Malformed(what, _) => write!(f, "the record's {what} is malformed"),
            Kind::Discard(reason) => write!(f, "the record is to be discarded: {reason}"),
        }
    }
}

impl std::error::Error for Rejection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            Kind::Malformed(_, error) => Some(error.as_ref()),
            Kind::Absent(_) | Kind::Discard(_) => None,
        }
    }
}
