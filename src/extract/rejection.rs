//! The reason why an extractor rejected a record.

use std::borrow::Cow;
use std::fmt;

use crate::outcome::{BoxError, IntoOutcome, Outcome};

/// The reason why an extractor rejected a record: a part is absent or malformed, or the record is to be discarded.
///
/// Absent and malformed parts are errors, so the record is retried, and the queue's RedrivePolicy moves it to the
/// dead-letter queue in the end. The text never contains the message's payload.
#[derive(Debug)]
pub struct Rejection {
    kind: RejectionKind,
}

#[derive(Debug)]
enum RejectionKind {
    Absent(Cow<'static, str>),
    Malformed(Cow<'static, str>, BoxError),
    Discard(Cow<'static, str>),
}

impl Rejection {
    /// Creates a rejection because the record lacks a part. An `Option` of the extractor becomes `None`.
    pub fn absent(what: impl Into<Cow<'static, str>>) -> Self {
        RejectionKind::Absent(what.into()).into()
    }

    /// Creates a rejection because a part is malformed.
    pub fn malformed(what: impl Into<Cow<'static, str>>, error: impl Into<BoxError>) -> Self {
        RejectionKind::Malformed(what.into(), error.into()).into()
    }

    /// Creates a rejection that deletes the record and logs this reason.
    pub fn discard(reason: impl Into<Cow<'static, str>>) -> Self {
        RejectionKind::Discard(reason.into()).into()
    }

    /// Returns whether a part is absent.
    pub fn is_absent(&self) -> bool {
        matches!(self.kind, RejectionKind::Absent(_))
    }

    /// Returns whether a part is malformed.
    pub fn is_malformed(&self) -> bool {
        matches!(self.kind, RejectionKind::Malformed(..))
    }

    /// Returns whether the record is discarded.
    pub fn is_discard(&self) -> bool {
        matches!(self.kind, RejectionKind::Discard(_))
    }
}

impl From<RejectionKind> for Rejection {
    fn from(kind: RejectionKind) -> Self {
        Self { kind }
    }
}

impl IntoOutcome for Rejection {
    type Error = Self;

    fn into_outcome(self) -> Result<Outcome, Self> {
        match self.kind {
            RejectionKind::Discard(reason) => Ok(Outcome::Discard(reason)),
            kind => Err(kind.into()),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            RejectionKind::Absent(what) => write!(f, "the record has no {what}"),
            RejectionKind::Malformed(what, _) => write!(f, "the record's {what} is malformed"),
            RejectionKind::Discard(reason) => write!(f, "the record is discarded: {reason}"),
        }
    }
}

impl std::error::Error for Rejection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            RejectionKind::Malformed(_, error) => Some(error.as_ref()),
            RejectionKind::Absent(_) | RejectionKind::Discard(_) => None,
        }
    }
}
