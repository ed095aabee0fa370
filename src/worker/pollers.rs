//! Starts pollers as the load needs them, and waits for them and for their messages.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::health::Stage;
use super::poll::poll;
use super::received::RunningBatches;
use super::shared::{Phase, Shared};
use crate::error::Error;

/// The pollers of a worker. There is one at first, and one more after each full poll, up to the number that can use all
/// permits. If this is dropped, the pollers end as in a crash.
pub(super) struct Pollers {
    shared: Arc<Shared>,
    tasks: JoinSet<Result<(), Error>>,
    batches: RunningBatches,
}

/// Limits the last calls after handlers are cancelled, beyond the patience for the poll under way.
const LAST_CALLS: Duration = Duration::from_secs(15);

impl Pollers {
    pub(super) fn begin(shared: Arc<Shared>) -> Self {
        let mut pollers = Self { shared, tasks: JoinSet::new(), batches: RunningBatches::default() };
        pollers.add();
        pollers
    }

    fn add(&mut self) {
        self.shared.pollers.fetch_add(1, Ordering::Relaxed);
        self.tasks.spawn(poll(self.shared.clone(), self.batches.clone()));
    }

    /// Runs the pollers until the shutdown.
    pub(super) async fn run_until(&mut self, mut shutdown: Pin<&mut impl Future<Output = ()>>) -> Result<(), Error> {
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => return Ok(()),
                Some(ended) = self.tasks.join_next() => {
                    // A panic of one poller is a bug of this crate. The queue must still be polled.
                    match ended {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return Err(error),
                        Err(error) => {
                            tracing::error!(%error, "a poller panicked; the worker continues without it");
                            self.shared.pollers.fetch_sub(1, Ordering::Relaxed);
                        }
                    }
                    if self.tasks.is_empty() {
                        self.add();
                    }
                }
                () = self.shared.more.notified() => {
                    if self.shared.may_have_one_more() {
                        self.add();
                    }
                }
            }
        }
    }

    /// Waits for the polls under way and for all received messages. Messages that still run at `cancel_at` are
    /// cancelled and released.
    pub(super) async fn end_by(mut self, cancel_at: Instant) {
        let shared = self.shared.clone();
        shared.close_by(cancel_at);
        shared.health.note(Stage::Closing);
        let end = async {
            if timeout_at(cancel_at, self.end()).await.is_err() {
                shared.enter(Phase::Cancelling);
                self.end().await;
            }
            shared.settler.flush().await;
        };
        if timeout_at(cancel_at + shared.queue.patience + LAST_CALLS, end).await.is_err() {
            tracing::warn!(
                "the queue does not answer; unsettled messages become visible when their visibility timeout ends"
            );
        }
    }

    async fn end(&mut self) {
        let batches = self.batches.clone();
        let polls = async { while self.tasks.join_next().await.is_some() {} };
        tokio::join!(polls, batches.end());
        // The last polls may have begun more batches.
        batches.end().await;
    }
}
