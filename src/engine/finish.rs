//! Ends records and batches, and notifies listeners.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::cancel::Cancel;
use super::context::BatchContext;
use super::settled::{Settled, SettledAs};
use super::settlement::Settlement;
use super::state::{Closed, Status};
use super::verdict::{Cause, Run, Verdict};
use crate::outcome::Outcome;

/// Returns the outcome for the record's span.
fn span_outcome(verdict: &Verdict, settlement: Settlement) -> &'static str {
    match settlement {
        Settlement::Delete | Settlement::Retry | Settlement::LeaseLost => verdict.name(),
        Settlement::Delayed => "retry_after",
        Settlement::DeadLettered => "dead_letter",
    }
}

/// The time that the end of a batch waits for listeners.
const TOLD_WITHIN: Duration = Duration::from_millis(100);

/// The error of a record whose handler was running at the deadline.
pub(super) const CUT_OFF: &str = "cut off at the deadline";

impl BatchContext {
    /// Ends a settled record. Listeners are called before the next record of its line starts.
    pub(super) fn finish(&self, index: usize, run: Run, verdict: &Verdict, settlement: Settlement, status: Status) {
        let settled_now = self.state.finish(index, status);
        if settled_now && !self.options.on_settled.is_empty() {
            self.tell(index, SettledAs::of(verdict, settlement), verdict.why());
        }
        run.end(span_outcome(verdict, settlement));
        self.state.go_on(index, status);
    }

    /// Ends the batch. Listeners are called for records that were cut off or never ran.
    pub(super) async fn close(self: &Arc<Self>, in_time: bool) -> Vec<Status> {
        let Closed { statuses, unsettled } = self.state.close();
        let told = self.tell_elsewhere(unsettled);
        // The wait is short because a listener may block its thread, as a handler may. At the deadline no time is left
        // to wait.
        if let Some(told) = told.filter(|_| in_time) {
            let _ = timeout(TOLD_WITHIN, told).await;
        }
        statuses
    }

    /// Ends a batch whose future was dropped, without waiting for listeners.
    pub(super) fn abandon(self: &Arc<Self>) {
        if !self.state.is_closed() {
            drop(self.tell_elsewhere(self.state.close().unsettled));
        }
    }

    fn tell_elsewhere(self: &Arc<Self>, unsettled: Vec<usize>) -> Option<JoinHandle<()>> {
        if unsettled.is_empty() || self.options.on_settled.is_empty() {
            return None;
        }
        let context = self.clone();
        Some(self.handlers.spawn_blocking(move || context.tell_unsettled(&unsettled)))
    }

    /// Calls listeners for records that were cut off or never ran.
    pub(super) fn tell_unsettled(&self, indices: &[usize]) {
        for &index in indices {
            match self.state.status(index) {
                Status::CutOff => self.tell(index, SettledAs::CutOff, Some(CUT_OFF)),
                Status::NotRun | Status::Skipped => self.tell(index, SettledAs::NotRun, None),
                // Listeners were already called for these, and are never called for copies.
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

impl SettledAs {
    pub(super) fn of(verdict: &Verdict, settlement: Settlement) -> Self {
        let comes_back = |otherwise| match verdict.cause {
            Cause::Malformed => Self::Malformed,
            Cause::Panicked => Self::Panicked,
            Cause::Cancelled(Cancel::Deadline | Cancel::HostEnds) => Self::CutOff,
            Cause::Cancelled(Cancel::LeaseLost) => Self::LeaseLost,
            Cause::Handler => otherwise,
        };
        match settlement {
            Settlement::Delete => match verdict.outcome {
                Outcome::Discard(_) => Self::Discarded,
                Outcome::Done | Outcome::Retry | Outcome::RetryAfter(_) | Outcome::DeadLetter(_) => Self::Done,
            },
            Settlement::DeadLettered => Self::DeadLettered,
            Settlement::Delayed => comes_back(Self::Delayed),
            Settlement::Retry => comes_back(Self::Retried),
            Settlement::LeaseLost => comes_back(Self::LeaseLost),
        }
    }
}
