//! How many polls there are at a time, and who waits for them and for what they began.

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

/// The pollers of a worker. There is one at first, and one more whenever a poll was full, up to as many as there are permits to
/// fill. Dropped, they end as in a crash.
pub(super) struct Pollers {
    shared: Arc<Shared>,
    tasks: JoinSet<Result<(), Error>>,
    batches: RunningBatches,
}

/// How long all that is left to do has after the cut, beyond the poll under way: what a call takes that is not answered at once.
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

    /// Polls until the shutdown.
    pub(super) async fn run_until(&mut self, mut shutdown: Pin<&mut impl Future<Output = ()>>) -> Result<(), Error> {
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => return Ok(()),
                Some(ended) = self.tasks.join_next() => {
                    // A poller that broke is a fault of ours, and the queue goes on.
                    match ended {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return Err(error),
                        Err(error) => {
                            tracing::error!(%error, "a poller broke");
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

    /// Finishes what polls have brought, and what those under way bring. What still runs at that time is cancelled and given back.
    pub(super) async fn end_by(mut self, cut: Instant) {
        let shared = self.shared.clone();
        shared.close_by(cut);
        shared.health.note(Stage::Closing);
        let end = async {
            if timeout_at(cut, self.end()).await.is_err() {
                shared.enter(Phase::Cut);
                self.end().await;
            }
            shared.settler.flush().await;
        };
        if timeout_at(cut + shared.queue.patience + LAST_CALLS, end).await.is_err() {
            tracing::warn!(
                "the queue does not answer: what is not settled comes back when its visibility timeout runs out"
            );
        }
    }

    async fn end(&mut self) {
        let batches = self.batches.clone();
        let polls = async { while self.tasks.join_next().await.is_some() {} };
        tokio::join!(polls, batches.end());
        // The last polls may have brought something more.
        batches.end().await;
    }
}
