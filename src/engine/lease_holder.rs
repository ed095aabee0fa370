//! The leases of a host that settles each record on its own, and may lose a record while it runs.
//!
//! The worker implements the trait; heartbeats are in `worker/lease.rs`. Lambda holds no leases here: one answer settles
//! the whole batch, and until then Lambda itself keeps the messages.

use std::fmt;
use std::time::Duration;

use super::cancel::{Cancel, Wait};
use super::settlement::Settlement;
use super::state::RecordSet;
use crate::moment::Deadline;

/// Holds the leases of the messages of one batch.
pub(crate) trait LeaseHolder: fmt::Debug + Send + Sync {
    /// Returns whether the record may start. It is called once, right before the start.
    fn may_start(&self, index: usize) -> bool;

    /// Notes that the record and those behind it will not run.
    fn skipped(&self, set: &RecordSet);

    /// Completes when the lease is lost or the time is over, and returns which. The handler is cancelled then.
    fn lease_lost(&self, index: usize) -> Wait<'_, Cancel>;

    /// Starts settling after the run, while heartbeats go on. Returns whether the lease is still held.
    fn begin_settling(&self, index: usize) -> bool;

    /// Stops the heartbeat after the run. After it completes, only the action that the run asked for touches the
    /// message. Returns whether the lease is still held.
    fn stop_heartbeat<'a>(&'a self, set: &'a RecordSet) -> Wait<'a, bool>;

    /// Returns the end of the lease of a record whose heartbeat has stopped. Its visibility timeout must not be changed
    /// after that: another consumer may have the message.
    fn lease_end(&self, index: usize) -> Deadline;

    /// Returns the longest time for which SQS still hides the batch's messages.
    fn max_delay(&self) -> Duration;

    /// Settles the record. Returns whether its line may continue.
    fn settle<'a>(&'a self, set: &'a RecordSet, settlement: Settlement) -> Wait<'a, bool>;
}
