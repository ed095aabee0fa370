//! Starts the lanes of a batch: few at first, and one more whenever a record waits. The code of a lane is passed in.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::guard::guard;

/// Starts the lanes of a batch.
///
/// A lane costs more than a record that never waits. So a batch starts with one lane for each thread. Whenever a record
/// waits, another lane starts, up to the concurrency.
pub(super) struct Pool {
    lane: Box<MakeLane>,
    handlers: Handle,
    /// The maximum number of lanes.
    limit: usize,
    begun: AtomicUsize,
    lanes: Mutex<JoinSet<()>>,
}

/// Boxed because a lane is large and is moved several times before it runs.
type MakeLane = dyn Fn(LaneSlot) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// The time after which all lanes start. Code that blocks its thread by `block_in_place` never returns `Pending`, so
/// its lane does not start another one.
const FEW_LANES: Duration = Duration::from_millis(5);

impl Pool {
    /// Starts the first `at_first` of at most `limit` lanes on the handlers' runtime.
    pub(super) fn start<F>(
        limit: usize,
        at_first: usize,
        handlers: Handle,
        lane: impl Fn(LaneSlot) -> F + Send + Sync + 'static,
    ) -> RunningLanes
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let lane = Box::new(move |slot| -> Pin<Box<dyn Future<Output = ()> + Send>> {
            let lane = Box::pin(lane(slot));
            Box::pin(guarded(lane))
        });
        let (begun, lanes) = (AtomicUsize::new(0), Mutex::default());
        let pool = Arc::new(Self { lane, handlers, limit, begun, lanes });
        let (working, ended) = mpsc::channel(1);
        let running = RunningLanes { pool: pool.clone(), working: working.downgrade(), ended };
        let slot = LaneSlot { pool, _working: working };
        for _ in 0..at_first {
            slot.one_more();
        }
        running
    }
}

async fn guarded(lane: Pin<Box<impl Future<Output = ()>>>) {
    if let Err(error) = guard(pin!(Some(lane))).await {
        // Handlers have their own guards, so a panic here is a bug in this crate. The record of this lane has failed.
        tracing::error!(%error, "a lane panicked; its unfinished records are reported as failed");
    }
}

/// A lane's handle to its pool.
#[derive(Clone)]
pub(super) struct LaneSlot {
    pool: Arc<Pool>,
    /// Dropped with the lane. Nothing is sent: to wake the host for every lane costs a batch of a thousand more than
    /// the lanes do.
    _working: mpsc::Sender<Infallible>,
}

impl LaneSlot {
    /// Starts another lane, if the limit allows it. Returns whether it did.
    ///
    /// Ended lanes still count. A lane ends when no record is left for it, and none will become ready: the number of
    /// ready lines never grows.
    fn one_more(&self) -> bool {
        let pool = &self.pool;
        let one_more = |begun| (begun < pool.limit).then_some(begun + 1);
        let begins = pool.begun.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        if begins {
            let lane = (pool.lane)(self.clone());
            pool.lanes.lock().unwrap_or_else(PoisonError::into_inner).spawn_on(lane, &pool.handlers);
        }
        begins
    }

    /// Waits for a run. Another lane starts if the run waits.
    pub(super) async fn wait<F: Future>(&self, mut run: Pin<&mut F>) -> F::Output {
        let mut waits = false;
        poll_fn(|context| {
            let poll = run.as_mut().poll(context);
            if poll.is_pending() && !waits {
                waits = true;
                self.one_more();
            }
            poll
        })
        .await
    }
}

/// The lanes of a batch, as their host awaits them. Dropping it cancels the lanes that still run.
pub(super) struct RunningLanes {
    pool: Arc<Pool>,
    working: mpsc::WeakSender<Infallible>,
    /// Closed when the last lane ends.
    ended: mpsc::Receiver<Infallible>,
}

impl RunningLanes {
    /// Waits for all lanes until `end`. Returns whether all of them ended.
    pub(super) async fn end_by(&mut self, end: Option<Instant>) -> bool {
        match end {
            Some(end) => timeout_at(end, self.end()).await.is_ok(),
            None => {
                self.end().await;
                true
            }
        }
    }

    async fn end(&mut self) {
        // If all lanes have started, as on a worker, the timer would wake this task for nothing.
        let are_few = self.pool.begun.load(Ordering::Relaxed) < self.pool.limit;
        if are_few && timeout(FEW_LANES, self.ended.recv()).await.is_err() {
            self.begin_all();
        }
        self.ended.recv().await;
    }

    fn begin_all(&self) {
        // No lane runs any more if there is no sender left.
        let Some(working) = self.working.upgrade() else { return };
        let slot = LaneSlot { pool: self.pool.clone(), _working: working };
        while slot.one_more() {}
    }
}

impl Drop for RunningLanes {
    fn drop(&mut self) {
        self.pool.lanes.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}
