//! What must happen at the queue before a record that failed is settled.
//!
//! The engine knows no queue. Who does is asked here, once the handler has ended and before the slot is set; so nothing
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
    pub(crate) longest_delay: Option<Duration>,
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

/// What is to be done at the queue with a record that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Nothing,
    /// Its visibility is changed: nobody else may change that meanwhile.
    Delay(Duration),
    /// It is sent to another queue, with that reason. Its visibility is not touched.
    DeadLetter(String),
}

/// What became of a record that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It comes back when its visibility timeout runs out: nothing was to be done, or it could not be done.
    ComesBack,
    /// It comes back after a delay that the queue has been told of.
    Delayed,
    /// It is in the dead-letter queue.
    DeadLettered,
}

/// Who says what becomes of records that failed, and does it.
pub(crate) trait OnFailure: LastRun + fmt::Debug {
    /// What is to be done.
    fn wish(&self, failure: &Failure<'_>) -> Wish;

    /// Remembers that a run of the record has failed. Called after [`OnFailure::wish`], once for each run.
    fn remember_failure(&self, record: &Record);

    /// Does it, and says what has come of it.
    fn fulfil(&self, wish: Wish, failed: Failed) -> Pin<Box<dyn Future<Output = Effect> + Send + '_>>;
}
