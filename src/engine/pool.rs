//! The lanes of a batch: few at first, and one more whenever a record waits. What a lane does is not known here.

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

/// Starts lanes.
///
/// A lane costs more than a record that does not wait. So at first there are as many as there are threads, and where a
/// record waits, another lane goes on in its place, up to as many as records may run at a time.
pub(super) struct Pool {
    lane: Box<MakeLane>,
    handlers: Handle,
    /// How many lanes there may be.
    limit: usize,
    begun: AtomicUsize,
    lanes: Mutex<JoinSet<()>>,
}

/// In a box, as a lane is large, and is handed on some times until it runs.
type MakeLane = dyn Fn(LaneSlot) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// After so long there are all lanes: what blocks its thread by `block_in_place` never says that it waits.
const FEW_LANES: Duration = Duration::from_millis(5);

impl Pool {
    /// Starts the first lanes, of at most `limit`, on the runtime of the handlers.
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
        // Handlers have guards of their own: this is a fault of ours. The record that the lane had has failed.
        tracing::error!(%error, "a lane broke; what it had not finished is reported as failed");
    }
}

/// A lane's slot in its pool.
#[derive(Clone)]
pub(super) struct LaneSlot {
    pool: Arc<Pool>,
    /// Dropped with the lane. Nothing is ever sent: to wake the host for every lane costs a batch of a thousand more than
    /// the lanes do.
    _working: mpsc::Sender<Infallible>,
}

impl LaneSlot {
    /// Begins another lane, if there may be one. Says whether there may.
    ///
    /// Lanes that have ended still count. A lane ends where no record is left for it, and none will be: records that
    /// stand in lines have no more lines at the end of one than before.
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

    /// Waits for a run, while another lane goes on.
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

/// The lanes of a batch, for whoever waits for them. Those that have not ended when this is dropped are cancelled.
pub(super) struct RunningLanes {
    pool: Arc<Pool>,
    working: mpsc::WeakSender<Infallible>,
    /// Closed by the last lane that ends.
    ended: mpsc::Receiver<Infallible>,
}

impl RunningLanes {
    /// Waits for all lanes, but not beyond that time. Says whether all came to their end.
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
        // Where all have begun, as those of a worker have, it would be woken for nothing.
        let are_few = self.pool.begun.load(Ordering::Relaxed) < self.pool.limit;
        if are_few && timeout(FEW_LANES, self.ended.recv()).await.is_err() {
            self.begin_all();
        }
        self.ended.recv().await;
    }

    fn begin_all(&self) {
        // Nobody works any more where there is no sender left.
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
