//! Who says what is done at the queue about records that failed, and does it.
//!
//! The engine knows no queue. It asks here, once the handler has ended and before the slot is set; so nothing
//! is acknowledged that did not arrive where it was meant to go.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::moment::Deadline;
use crate::outcome::Outcome;
use crate::record::{LastRun, Record};

/// A record, and when its visibility must not be changed any more.
pub(crate) struct Leased {
    pub(crate) record: Record,
    /// From then on another consumer may have the message, or the process may be frozen. `None` where the host does not know.
    pub(crate) until: Option<Deadline>,
}

/// A record whose run has ended in something else than done.
pub(crate) struct Failed {
    pub(crate) head: Leased,
    /// The same message once more.
    pub(crate) copies: Vec<Leased>,
    /// On a FIFO queue the messages of its group that stood behind it, with their copies. They come back with it.
    pub(crate) behind: Vec<Leased>,
    /// The error, with its causes, where there is one.
    pub(crate) error: Option<String>,
    /// How long SQS lets the message be hidden from now on, where the host knows.
    pub(crate) max_delay: Option<Duration>,
    /// Whether the message comes back though its dead letter was accepted, as its batch may fail as a whole. It must be deleted once the
    /// dead letter is there, or it is sent there again at each retry of the batch.
    pub(crate) delete: bool,
}

/// How a run failed. The outcome is never [`Outcome::Done`] and never [`Outcome::Discard`].
pub(crate) struct Failure<'a> {
    pub(crate) record: &'a Record,
    pub(crate) outcome: &'a Outcome,
    /// The error, with its causes, where there is one.
    pub(crate) error: Option<&'a str>,
    /// Whether an extractor has found the message malformed: no other run of it will end otherwise.
    pub(crate) is_malformed: bool,
}

/// What is to be done at the queue about a record that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QueueAction {
    /// Its visibility is changed: nobody else may change that meanwhile.
    Delay(Duration),
    /// It is sent to another queue, with that reason. Its visibility is not touched.
    DeadLetter(String),
}

/// Says what is done at the queue about records that failed, and does it.
pub(crate) trait OnFailure: LastRun + fmt::Debug {
    /// Returns what is to be done. `None`: the record comes back when its visibility timeout runs out.
    fn action(&self, failure: &Failure<'_>) -> Option<QueueAction>;

    /// Remembers that a run of the record has failed. Called after [`OnFailure::action`], once for each run.
    fn remember_failure(&self, record: &Record);

    /// Does it, and returns whether the queue has accepted it.
    fn perform(&self, action: QueueAction, failed: Failed) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}
