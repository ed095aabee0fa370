//! The settlement of a record at its queue.

use super::state::Status;
use crate::outcome::Outcome;

/// The settlement of a record at its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// The record was processed or discarded. It is to be deleted.
    Delete,
    /// No action was needed, or the action failed. The record returns after its visibility timeout.
    Retry,
    /// The queue accepted a delay for the record and for those behind it in its group.
    Delayed,
    /// The dead-letter queue accepted the record. It is to be deleted from its own queue.
    DeadLettered,
    /// The run failed after its lease was lost. Any call now would change another consumer's receive of the message.
    LeaseLost,
}

impl Settlement {
    /// Returns the settlement of a record that needs no action but its deletion.
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
