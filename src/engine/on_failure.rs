//! The actions at the queue for records that failed.
//!
//! The engine has no queue client. It calls this trait after the handler has ended and before the record is settled. So
//! a dead-lettered record leaves its queue only after the dead-letter queue has accepted it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::moment::Deadline;
use crate::outcome::Outcome;
use crate::record::{LastRun, Record};

/// A record, with the time after which its visibility timeout must not be changed.
pub(crate) struct Leased {
    pub(crate) record: Record,
    /// After this time another consumer may have the message, or the process may be frozen. `None` if the host does not
    /// know it.
    pub(crate) until: Option<Deadline>,
}

/// A record whose run failed.
pub(crate) struct Failed {
    pub(crate) head: Leased,
    /// Copies of the same message.
    pub(crate) copies: Vec<Leased>,
    /// On a FIFO queue, the messages behind it in its group, with their copies. They are retried with it.
    pub(crate) behind: Vec<Leased>,
    /// The error with its causes, if there is one.
    pub(crate) error: Option<String>,
    /// The longest time for which SQS still hides the message, if the host knows it.
    pub(crate) max_delay: Option<Duration>,
    /// Requests to delete the message once its dead letter is accepted. The batch may fail as a whole, and each retry
    /// would send the message to the dead-letter queue again.
    pub(crate) delete: bool,
}

/// A failed run. Its outcome is never [`Outcome::Done`] and never [`Outcome::Discard`].
pub(crate) struct Failure<'a> {
    pub(crate) record: &'a Record,
    pub(crate) outcome: &'a Outcome,
    /// The error with its causes, if there is one.
    pub(crate) error: Option<&'a str>,
    /// Set if an extractor found the message malformed. Every other run would fail in the same way.
    pub(crate) is_malformed: bool,
}

/// An action at the queue for a record that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QueueAction {
    /// Changes the visibility timeout. No heartbeat may change it meanwhile.
    Delay(Duration),
    /// Sends the message to the dead-letter queue with this reason. The visibility timeout is not changed.
    DeadLetter(String),
}

/// Selects and performs actions at the queue for records that failed.
pub(crate) trait OnFailure: LastRun + fmt::Debug {
    /// Returns the action, or `None` if the record is to return after its visibility timeout.
    fn action(&self, failure: &Failure<'_>) -> Option<QueueAction>;

    /// Remembers that a run of the record has failed. It is called once for each run, after [`OnFailure::action`].
    fn remember_failure(&self, record: &Record);

    /// Performs the action. Returns whether the queue accepted it.
    fn perform(&self, action: QueueAction, failed: Failed) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}
