//! What the lanes of a batch share.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::cancel::{Cancel, CancelAt};
use super::lease::{LeaseHolder, Wait};
use super::settled::{Settled, SettledAs};
use super::settlement::Settlement;
use super::state::{Closed, State, Status};
use super::verdict::{Run, Verdict};
use super::{Invocation, Options};

/// A batch while it runs.
pub(super) struct BatchContext {
    pub(super) state: State,
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
    began: Vec<OnceLock<Instant>>,
}

/// How long the end of a batch waits for listeners.
const TOLD_WITHIN: Duration = Duration::from_millis(100);

/// The error of a record whose handler ran when the deadline came.
pub(super) const CUT_OFF: &str = "cut off at the deadline";

/// How much of the time until the end is kept for calls to the queue: as much as a slow call takes, and at most a quarter.
const QUEUE_TIME: Duration = Duration::from_secs(1);

fn before_queue_time(end: Instant) -> Instant {
    end - QUEUE_TIME.min(end.saturating_duration_since(Instant::now()) / 4)
}

impl BatchContext {
    pub(super) fn new(state: State, options: Arc<Options>, invocation: Invocation, end: Option<Instant>) -> Self {
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

    /// Ends a record that has run and is settled. Listeners are told before the next one of its line begins.
    pub(super) fn finish(&self, index: usize, run: Run, verdict: &Verdict, settlement: Settlement, status: Status) {
        let settled_now = self.state.finish(index, status);
        if settled_now && !self.options.on_settled.is_empty() {
            self.tell(index, SettledAs::of(verdict, settlement), verdict.why());
        }
        run.end(verdict, settlement);
        self.state.go_on(index, status);
    }

    /// Ends the batch. Listeners are told of those that did not run, or not to their end.
    pub(super) async fn close(self: &Arc<Self>, in_time: bool) -> Vec<Status> {
        let Closed { statuses, unsettled } = self.state.close();
        let told = self.tell_elsewhere(unsettled);
        // The answer does not wait for long: a listener may block its thread, as a handler may. And where the deadline came first there is
        // no time left.
        if let Some(told) = told.filter(|_| in_time) {
            let _ = timeout(TOLD_WITHIN, told).await;
        }
        statuses
    }

    /// The same where nobody waits for the batch any more.
    pub(super) fn abandon(self: &Arc<Self>) {
        drop(self.tell_elsewhere(self.state.close().unsettled));
    }

    fn tell_elsewhere(self: &Arc<Self>, unsettled: Vec<usize>) -> Option<JoinHandle<()>> {
        if unsettled.is_empty() || self.options.on_settled.is_empty() {
            return None;
        }
        let context = self.clone();
        Some(self.handlers.spawn_blocking(move || context.tell_unsettled(&unsettled)))
    }

    /// Tells listeners of records that did not run, or not to their end.
    fn tell_unsettled(&self, indices: &[usize]) {
        for &index in indices {
            match self.state.status(index) {
                Status::CutOff => self.tell(index, SettledAs::CutOff, Some(CUT_OFF)),
                Status::NotRun | Status::Skipped => self.tell(index, SettledAs::NotRun, None),
                // Listeners were told of these, or never are of copies.
                Status::Waiting | Status::Running | Status::Failed | Status::Done | Status::CopyOf(_) => {}
            }
        }
    }

    fn tell(&self, index: usize, outcome: SettledAs, error: Option<&str>) {
        let began = self.began.get(index).and_then(OnceLock::get);
        let duration = began.map_or(Duration::ZERO, |began| began.elapsed());
        let record = self.state.record(index);
        self.options.on_settled.tell(&Settled { record: &record, outcome, duration, error });
    }
}
