//! Ends a process in which no handler can run any more.
//!
//! Handlers that block all threads leave none for those that come after. Every batch would be answered in time, and fail
//! unrun, until healthy messages have spent their receives and are in the dead-letter queue. Lambda replaces a process
//! that ends, so this one does.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::process_end::end_process;

/// A batch that is answered by then is not looked at.
const AFTER: Duration = Duration::from_millis(500);

/// How long a runtime is given to run a task that does nothing. A busy one takes milliseconds.
const LIMIT: Duration = Duration::from_secs(1);

/// Whether the handlers' runtime has stalled.
#[derive(Clone, Default)]
pub(super) struct Stall {
    found: Arc<AtomicBool>,
}

impl Stall {
    /// Waits for the answer to a batch, and sees meanwhile whether its handlers' runtime still runs anything.
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

    /// Ends the process where it has. Called once the answer is out.
    pub(super) fn end_process_if_found(&self) {
        if self.found.load(Ordering::Relaxed) {
            end_process(1, || {
                tracing::error!(
                    "handlers block every thread of their runtime, and no other can run: the process ends, to be replaced; put \
                     blocking work into tokio::task::spawn_blocking"
                );
            });
        }
    }
}
