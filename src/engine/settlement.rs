//! What was done about a record at its queue.

use super::state::Status;
use crate::outcome::Outcome;

/// What was done about a record at its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// It is to leave the queue: it was processed, or discarded.
    Delete,
    /// Nothing was to be done, or it could not be done: the record comes back when its visibility timeout runs out.
    Retry,
    /// The queue has accepted a delay, for the record and for those behind it in its group.
    Delayed,
    /// The dead-letter queue has accepted it: it is to leave its own.
    DeadLettered,
    /// The run failed, and another consumer may have the record by now: whatever is done to it would be done to theirs.
    LeaseLost,
}

impl Settlement {
    /// What becomes of a record about which nothing is done but to delete it.
    pub(super) fn without_action(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done | Outcome::Discard(_) => Self::Delete,
            Outcome::Retry | Outcome::RetryAfter(_) | Outcome::DeadLetter(_) => Self::Retry,
        }
    }

    pub(super) fn status(self) -> Status {
        match self {
            Self::Delete | Self::DeadLettered => Status::Done,
            Self::Retry | Self::Delayed | Self::LeaseLost => Status::Failed,
        }
    }
}
