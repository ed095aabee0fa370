//! The state that the lanes of a batch share.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::cancel::{Cancel, CancelAt, Wait};
use super::lease_holder::LeaseHolder;
use super::options::Options;
use super::state::{BatchState, Status};
use crate::record::Origin;

/// The facts that a host passes with the records of a batch.
pub(crate) struct Invocation {
    /// The time until the batch must be answered, if it has a deadline.
    pub(crate) remaining: Option<Duration>,
    pub(crate) origin: Origin,
    /// The runtime of the handlers. The host may run on another one, so that no handler can delay the answer.
    pub(crate) handlers: Handle,
    /// Holds the leases of the messages while they run, on a host that has leases.
    pub(crate) lease_holder: Option<Arc<dyn LeaseHolder>>,
    /// The host may retry the whole batch, including records that are done.
    pub(crate) may_fail_as_a_whole: bool,
}

impl Invocation {
    /// Creates the invocation of a host that settles the whole batch with one answer.
    #[cfg(feature = "lambda")]
    pub(crate) fn of_a_whole_batch(remaining: Option<Duration>, origin: Origin, handlers: Handle) -> Self {
        Self { remaining, origin, handlers, lease_holder: None, may_fail_as_a_whole: false }
    }
}

/// A batch while it runs.
pub(super) struct BatchContext {
    pub(super) state: BatchState,
    pub(super) options: Arc<Options>,
    pub(super) lease_holder: Option<Arc<dyn LeaseHolder>>,
    pub(super) may_fail_as_a_whole: bool,
    /// The latest time of the answer, if the batch has a deadline.
    pub(super) end: Option<Instant>,
    /// The time at which handlers are cancelled. It leaves time for calls to the queue. `None` without such calls or
    /// without a deadline.
    handlers_end: Option<Instant>,
    /// The runtime of the handlers.
    pub(super) handlers: Handle,
    /// The runtime of calls to the queue. It is the host's, which no handler can block.
    pub(super) host: Handle,
    /// The start time of each record. Empty if there are no listeners.
    pub(super) began: Vec<OnceLock<Instant>>,
}

/// The time before the end that is reserved for calls to the queue. A slow call takes about this long. At most a
/// quarter of the remaining time is reserved.
const QUEUE_TIME: Duration = Duration::from_secs(1);

fn before_queue_time(end: Instant) -> Instant {
    end - QUEUE_TIME.min(end.saturating_duration_since(Instant::now()) / 4)
}

impl BatchContext {
    pub(super) fn new(state: BatchState, options: Arc<Options>, invocation: Invocation, end: Option<Instant>) -> Self {
        let Invocation { lease_holder, may_fail_as_a_whole, handlers, .. } = invocation;
        let handlers_end = end.filter(|_| options.on_failure.is_some()).map(before_queue_time);
        let host = Handle::current();
        let asked = if options.on_settled.is_empty() { 0 } else { state.len() };
        let began = std::iter::repeat_with(OnceLock::new).take(asked).collect();
        Self { state, options, lease_holder, may_fail_as_a_whole, end, handlers_end, handlers, host, began }
    }

    /// Returns the next record that may run, if there is one and time is left.
    pub(super) fn next(&self) -> Option<usize> {
        if self.handlers_end.is_some_and(|end| Instant::now() >= end) {
            return None;
        }
        loop {
            let index = self.state.next()?;
            match &self.lease_holder {
                Some(holder) if !holder.may_start(index) => {
                    holder.skipped(&self.state.record_set(index));
                    if self.state.finish(index, Status::Skipped) {
                        self.tell_unsettled(&[index]);
                    }
                }
                Some(_) | None => {
                    if let Some(began) = self.began.get(index) {
                        began.get_or_init(Instant::now);
                    }
                    return Some(index);
                }
            }
        }
    }

    /// Returns the conditions that cancel the handler of that record.
    pub(super) fn cancel(&self, index: usize) -> CancelAt<'_> {
        self.cancel_at(self.lease_holder.as_ref().map(|holder| holder.lease_lost(index)))
    }

    /// Returns the conditions that cancel a handler: the time is over, or `lost` completes.
    pub(super) fn cancel_at<'a>(&self, lost: Option<Wait<'a, Cancel>>) -> CancelAt<'a> {
        CancelAt { end: self.handlers_end, lost }
    }
}
