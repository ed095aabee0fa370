//! A host whose records may slip away while they run, and that settles each as soon as its run is over.
//!
//! Lambda is not one: there an answer settles the whole batch, and until then Lambda keeps the messages itself.

use std::fmt;
use std::time::Duration;

use super::cancel::{Cancel, Wait};
use super::settlement::Settlement;
use super::state::RecordSet;
use crate::moment::Deadline;

/// Holds the leases of the messages of one batch.
pub(crate) trait LeaseHolder: fmt::Debug + Send + Sync {
    /// Returns whether the record may begin. Asked once, right before it does.
    fn may_start(&self, index: usize) -> bool;

    /// The record may not start, and nothing behind it will.
    fn skipped(&self, set: &RecordSet);

    /// Ends when the record is not ours any more, or has no more time, and says which: its handler is cancelled then.
    fn lease_lost(&self, index: usize) -> Wait<'_, Cancel>;

    /// The run is over, and the host is about to do what it asks for, while heartbeats go on. Returns whether the record is still ours.
    fn begin_settling(&self, index: usize) -> bool;

    /// The run is over. Once this has ended nothing but what the run asks for is done to the message. Returns whether it is still ours.
    fn stop_heartbeat<'a>(&'a self, set: &'a RecordSet) -> Wait<'a, bool>;

    /// Returns when the lease of a record ends whose heartbeat stopped. Its visibility must not be changed from then on: another consumer may
    /// have the message.
    fn lease_end(&self, index: usize) -> Deadline;

    /// Returns how long SQS lets the batch's messages be hidden from now on.
    fn max_delay(&self) -> Duration;

    /// Settles the record. Returns whether its line may go on.
    fn settle<'a>(&'a self, set: &'a RecordSet, settlement: Settlement) -> Wait<'a, bool>;
}
