//! Ends a process in which no handler can run any more.
//!
//! Handlers that block all threads leave none for later batches. Each later batch would be answered in time and fail
//! without a run. Healthy messages would use up their receives and become dead letters. Lambda replaces a process that
//! exits, so this process exits.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::process_end::end_process;

/// A batch that is answered within this time is not checked.
const AFTER: Duration = Duration::from_millis(500);

/// The time in which the runtime must run an empty task. A busy runtime takes milliseconds.
const LIMIT: Duration = Duration::from_secs(1);

/// Records whether the handlers' runtime has stalled.
#[derive(Clone, Default)]
pub(super) struct Stall {
    found: Arc<AtomicBool>,
}

impl Stall {
    /// Waits for the answer to a batch. Meanwhile it checks whether the handlers' runtime still runs tasks.
    pub(super) async fn watch<T>(self, handlers: Handle, answered: impl Future<Output = T>) -> T {
        let mut answered = pin!(answered);
        if let Ok(answer) = tokio::time::timeout(AFTER, &mut answered).await {
            return answer;
        }
        let (probe, began) = (handlers.spawn(async {}), Instant::now());
        let answer = answered.await;
        if !probe.is_finished() && began.elapsed() >= LIMIT {
            self.found.store(true, Ordering::Relaxed);
        }
        answer
    }

    /// Ends the process if the runtime has stalled. Called after the answer was sent.
    pub(super) fn end_process_if_found(&self) {
        if self.found.load(Ordering::Relaxed) {
            end_process(1, || {
                tracing::error!(
                    "handlers block every thread of their runtime; the process exits and Lambda starts a new one; move \
                     blocking work into tokio::task::spawn_blocking"
                );
            });
        }
    }
}
