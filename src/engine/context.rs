//! What the lanes of a batch share.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::cancel::{Cancel, CancelAt, Wait};
use super::lease::LeaseHolder;
use super::options::Options;
use super::state::{BatchState, Status};
use crate::record::Origin;

/// What a host says of a batch besides its records.
pub(crate) struct Invocation {
    /// How long there is until the batch must be answered, if there is an end to it.
    pub(crate) remaining: Option<Duration>,
    pub(crate) origin: Origin,
    /// Where handlers run. The host may wait for them elsewhere, so that none of them can keep the answer back.
    pub(crate) handlers: Handle,
    /// Who holds the leases of the messages while they run, if they may slip away.
    pub(crate) lease_holder: Option<Arc<dyn LeaseHolder>>,
    /// Whether the host may bring all records of the batch again, whatever has become of each.
    pub(crate) may_fail_as_a_whole: bool,
}

impl Invocation {
    /// One of a host that keeps the messages itself, and settles the whole batch by one answer.
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
    /// When the batch is answered at the latest, if there is an end to it.
    pub(super) end: Option<Instant>,
    /// When handlers end, so that there is time left for what is done at the queue. `None` where nothing is, or where there is no end.
    handlers_end: Option<Instant>,
    /// Where handlers run.
    pub(super) handlers: Handle,
    /// Where calls to the queue are made: with the host, whom no handler can block.
    pub(super) host: Handle,
    /// When each record began. Empty where no listener asks.
    pub(super) began: Vec<OnceLock<Instant>>,
}

/// How much of the time until the end is kept for calls to the queue: as much as a slow call takes, and at most a quarter.
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

    /// Returns the next record that may run, if there is one and there is time for it.
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

    /// Returns when the handler of that record is cancelled.
    pub(super) fn cancel(&self, index: usize) -> CancelAt<'_> {
        self.cancel_at(self.lease_holder.as_ref().map(|holder| holder.lease_lost(index)))
    }

    /// Returns when a handler is cancelled: the time is over, or `lost` ends.
    pub(super) fn cancel_at<'a>(&self, lost: Option<Wait<'a, Cancel>>) -> CancelAt<'a> {
        CancelAt { end: self.handlers_end, lost }
    }
}
