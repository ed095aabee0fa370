//! How many polls there are at a time, and who waits for them and for what they began.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::health::Stage;
use super::hub::{Hub, Phase};
use super::poll::poll;
use crate::error::Error;

/// The pollers of a worker. There is one at first, and one more whenever a poll was full, up to as many as there are permits to
/// fill. Dropped, they end as in a crash.
pub(super) struct Pollers {
    hub: Arc<Hub>,
    tasks: JoinSet<Result<(), Error>>,
    batches: Batches,
}

/// How long all that is left to do has after the cut, beyond the poll under way: what a call takes that is not answered at once.
const LAST_CALLS: Duration = Duration::from_secs(15);

/// What polls have brought, while it runs.
#[derive(Clone, Default)]
pub(super) struct Batches(Arc<Mutex<JoinSet<()>>>);

impl Batches {
    pub(super) fn spawn(&self, batch: impl Future<Output = ()> + Send + 'static) {
        let mut batches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A set keeps what has ended until somebody asks.
        while batches.try_join_next().is_some() {}
        batches.spawn(batch);
    }

    /// Waits for all that have begun. To drop this cancels none of them.
    async fn end(&self) {
        let next =
            |context: &mut Context<'_>| self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_join_next(context);
        while poll_fn(next).await.is_some() {}
    }
}

impl Pollers {
    pub(super) fn begin(hub: Arc<Hub>) -> Self {
        let mut pollers = Self { hub, tasks: JoinSet::new(), batches: Batches::default() };
        pollers.add();
        pollers
    }

    fn add(&mut self) {
        self.hub.pollers.fetch_add(1, Ordering::Relaxed);
        self.tasks.spawn(poll(self.hub.clone(), self.batches.clone()));
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
                            self.hub.pollers.fetch_sub(1, Ordering::Relaxed);
                        }
                    }
                    if self.tasks.is_empty() {
                        self.add();
                    }
                }
                () = self.hub.more.notified() => {
                    if self.hub.may_have_one_more() {
                        self.add();
                    }
                }
            }
        }
    }

    /// Finishes what polls have brought, and what those under way bring. What still runs at that time is cancelled and given back.
    pub(super) async fn end_by(mut self, cut: Instant) {
        let hub = self.hub.clone();
        hub.close_by(cut);
        hub.health.note(Stage::Closing);
        let end = async {
            if timeout_at(cut, self.end()).await.is_err() {
                hub.enter(Phase::Cut);
                self.end().await;
            }
            hub.settler.flush().await;
        };
        if timeout_at(cut + hub.queue.patience + LAST_CALLS, end).await.is_err() {
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
