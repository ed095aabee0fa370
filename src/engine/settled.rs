//! What became of a record, and who is told: see [`Consumer::on_settled`](crate::Consumer::on_settled).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::guard::catch;
use crate::record::Record;

/// What became of a record. [`Consumer::on_settled`](crate::Consumer::on_settled) passes it on.
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

    /// Returns the id that SQS gave the message, where the record has one.
    pub fn message_id(&self) -> Option<Cow<'_, str>> {
        self.record.message_id()
    }

    /// Returns how often the message has been received, this time included, where the record says so.
    pub fn receive_count(&self) -> Option<u32> {
        self.record.receive_count()
    }

    /// Returns what became of the record.
    pub fn outcome(&self) -> SettledAs {
        self.outcome
    }

    /// Returns the time from the begin of the run until the record was settled: its handler, and what was done at the queue. Zero where it
    /// did not run.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Returns the error with its causes, or the reason that the handler gave. It has what the user's own errors say, so it may quote a
    /// message.
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

/// What became of a record, in one word.
///
/// A record that leaves the queue is `Done`, `Discarded` or `DeadLettered`. Every other comes back, and the word says why: the first of
/// `Malformed`, `Panicked`, `CutOff`, `LeaseLost`, `Delayed` and `Retried` that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SettledAs {
    /// The handler processed it, and it leaves the queue.
    Done,
    /// It leaves the queue unprocessed, as the handler or an extractor said.
    Discarded,
    /// The dead-letter queue has accepted it.
    DeadLettered,
    /// It comes back after a delay that the queue has accepted.
    Delayed,
    /// It comes back after the queue's visibility timeout.
    Retried,
    /// An extractor found it malformed, and it comes back.
    Malformed,
    /// Its handler panicked, and it comes back.
    Panicked,
    /// Its handler was cancelled, as the deadline came or the worker ends, and it comes back.
    CutOff,
    /// It did not run: a record before it in its group failed, there was no time left, or the worker ends.
    NotRun,
    /// Its visibility timeout ran out before its failure was settled. Another consumer may have it.
    LeaseLost,
}

impl SettledAs {
    /// Returns its name, as a metric's label: `done`, `discarded`, `dead_lettered`, `delayed`, `retried`, `malformed`, `panicked`, `cut_off`,
    /// `not_run` or `lease_lost`.
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

/// Everyone who is told of settled records, in the order in which they were added.
#[derive(Clone, Default)]
pub(crate) struct Listeners(Vec<Arc<Listener>>);

impl Listeners {
    pub(crate) fn add(&mut self, listener: impl Fn(&Settled<'_>) + Send + Sync + 'static) {
        self.0.push(Arc::new(listener));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A listener that panics costs nobody anything.
    pub(super) fn tell(&self, settled: &Settled<'_>) {
        for listener in &self.0 {
            if let Err(error) = catch(|| listener(settled)) {
                tracing::error!(%error, "a listener of settled records panicked; the record is settled as before");
            }
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} listeners", self.0.len())
    }
}
