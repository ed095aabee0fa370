//! Settled records and their listeners: see [`Consumer::on_settled`](crate::Consumer::on_settled).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::guard::catch;
use crate::record::Record;

/// A settled record, as [`Consumer::on_settled`](crate::Consumer::on_settled) passes it to listeners.
pub struct Settled<'a> {
    pub(super) record: &'a Record,
    pub(super) outcome: SettledAs,
    pub(super) duration: Duration,
    pub(super) error: Option<&'a str>,
}

impl Settled<'_> {
    /// Returns the record.
    pub fn record(&self) -> &Record {
        self.record
    }

    /// Returns the message id, if the record has one.
    pub fn message_id(&self) -> Option<Cow<'_, str>> {
        self.record.message_id()
    }

    /// Returns how often the message has been received, including this time, if the record has the count.
    pub fn receive_count(&self) -> Option<u32> {
        self.record.receive_count()
    }

    /// Returns the final state of the record.
    pub fn outcome(&self) -> SettledAs {
        self.outcome
    }

    /// Returns the time from the start of the run until the record was settled. It includes the handler and calls to
    /// the queue. It is zero if the record did not run.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Returns the error with its causes, or the reason that the handler gave. The text comes from the user's own
    /// errors, so it may quote a message.
    pub fn error(&self) -> Option<&str> {
        self.error
    }
}

impl fmt::Debug for Settled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { record, outcome, duration, error } = self;
        f.debug_struct("Settled")
            .field("record", record)
            .field("outcome", outcome)
            .field("duration", duration)
            .field("error", error)
            .finish()
    }
}

/// The final state of a record.
///
/// A record that leaves the queue is `Done`, `Discarded` or `DeadLettered`. Every other record is retried, and the
/// variant names the reason. If several apply, the first of `Malformed`, `Panicked`, `CutOff`, `LeaseLost`, `Delayed`
/// and `Retried` wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SettledAs {
    /// The handler processed the record. It leaves the queue.
    Done,
    /// The handler or an extractor discarded the record. It leaves the queue unprocessed.
    Discarded,
    /// The dead-letter queue accepted the record. It leaves its own queue.
    DeadLettered,
    /// The queue accepted a delay. The record is retried after it.
    Delayed,
    /// The record is retried after the queue's visibility timeout.
    Retried,
    /// An extractor found the record malformed. It is retried.
    Malformed,
    /// The handler panicked. The record is retried.
    Panicked,
    /// The handler was cancelled at the deadline or when the worker stopped. The record is retried.
    CutOff,
    /// The record did not run: an earlier record of its group failed, no time was left, or the worker stopped. It is
    /// retried.
    NotRun,
    /// The visibility timeout expired before the failure was settled. Another consumer may have the record.
    LeaseLost,
}

impl SettledAs {
    /// Returns the name as a metric label: `done`, `discarded`, `dead_lettered`, `delayed`, `retried`, `malformed`,
    /// `panicked`, `cut_off`, `not_run` or `lease_lost`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Discarded => "discarded",
            Self::DeadLettered => "dead_lettered",
            Self::Delayed => "delayed",
            Self::Retried => "retried",
            Self::Malformed => "malformed",
            Self::Panicked => "panicked",
            Self::CutOff => "cut_off",
            Self::NotRun => "not_run",
            Self::LeaseLost => "lease_lost",
        }
    }

    /// Returns whether the record leaves the queue.
    pub fn leaves_queue(self) -> bool {
        match self {
            Self::Done | Self::Discarded | Self::DeadLettered => true,
            Self::Delayed
            | Self::Retried
            | Self::Malformed
            | Self::Panicked
            | Self::CutOff
            | Self::NotRun
            | Self::LeaseLost => false,
        }
    }
}

impl fmt::Display for SettledAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

type Listener = dyn Fn(&Settled<'_>) + Send + Sync;

/// The listeners, in the order in which they were added.
#[derive(Clone, Default)]
pub(crate) struct Listeners(Vec<Arc<Listener>>);

impl Listeners {
    pub(crate) fn add(&mut self, listener: impl Fn(&Settled<'_>) + Send + Sync + 'static) {
        self.0.push(Arc::new(listener));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls every listener. A panic in one is logged and affects neither the others nor the record.
    pub(super) fn tell(&self, settled: &Settled<'_>) {
        for listener in &self.0 {
            if let Err(error) = catch(|| listener(settled)) {
                tracing::error!(%error, "an on_settled listener panicked; the record's outcome is unchanged");
            }
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} listeners", self.0.len())
    }
}
