//! The state that all polls and batches of a worker share.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::Client;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep};

use super::WorkerSettings;
use super::handle::WorkerHandle;
use super::health::{Health, Stage};
use super::permits::Permits;
use super::queue::WorkerQueue;
use super::recently_seen::RecentlySeen;
use super::run_times::RunTimes;
use super::settler::Settler;
use crate::engine::Engine;
use crate::error::Error;
use crate::moment::Moment;

/// The time within which a process notices that it was suspended.
const LOOK_FOR_SUSPEND_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Shared {
    pub(super) queue: WorkerQueue,
    pub(super) engine: Engine,
    /// The runtime for handlers.
    pub(super) handlers: Handle,
    pub(super) permits: Permits,
    pub(super) settler: Settler,
    pub(super) handle: WorkerHandle,
    pub(super) health: Arc<Health>,
    pub(super) wait_time: Duration,
    /// Notified after a full poll: there may be messages for one more poller.
    pub(super) more: Notify,
    /// The number of pollers.
    pub(super) pollers: AtomicUsize,
    /// Whether the queue has answered a poll.
    pub(super) has_polled: AtomicBool,
    pub(super) run_times: RunTimes,
    /// Counts how often the process was suspended and resumed.
    pub(super) resumed: watch::Sender<u64>,
    recently_seen: Arc<Mutex<RecentlySeen>>,
    phase: watch::Sender<Phase>,
    /// The time at which handlers are cancelled, once the worker closes.
    cancel_at: OnceLock<Instant>,
    /// See [`WorkerSettings`].
    _held: Option<mpsc::Sender<Infallible>>,
}

/// The phase of a worker's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Open,
    /// No poll begins. A handler begins only if it can end before handlers are cancelled.
    Closing,
    /// Running handlers are cancelled.
    Cancelling,
}

impl Shared {
    pub(super) async fn begin(
        engine: Engine,
        client: &Client,
        queue_url: String,
        settings: WorkerSettings,
        health: Arc<Health>,
    ) -> Result<Arc<Self>, Error> {
        let wait_time = settings.poll_wait();
        let queue = WorkerQueue::find(client, queue_url, settings.visibility_timeout, wait_time, &health).await?;
        health.note(Stage::Begun);
        let recently_seen = Arc::new(Mutex::new(RecentlySeen::new(queue.lease.as_duration())));
        Ok(Arc::new(Self {
            permits: Permits::new(engine.concurrency(), engine.call_size(), settings.messages_per_second),
            settler: Settler::new(&queue, recently_seen.clone()),
            handlers: settings.handlers.unwrap_or_else(Handle::current),
            queue,
            engine,
            handle: settings.handle,
            health,
            wait_time,
            more: Notify::new(),
            pollers: AtomicUsize::new(0),
            has_polled: AtomicBool::new(false),
            run_times: RunTimes::default(),
            resumed: watch::Sender::new(0),
            recently_seen,
            phase: watch::Sender::new(Phase::Open),
            cancel_at: OnceLock::new(),
            _held: settings.held,
        }))
    }

    /// Notifies all lease holders when the process resumes after a suspension, because their timers stood still. Never
    /// returns.
    pub(super) async fn notice_suspends(&self) -> Infallible {
        loop {
            let before = Moment::now();
            sleep(LOOK_FOR_SUSPEND_EVERY).await;
            if before.was_suspended_since() {
                let for_s = before.elapsed().as_secs();
                self.resumed.send_modify(|count| *count += 1);
                tracing::warn!(
                    for_s,
                    "the process was suspended or its clock was set forward; leases that ended meanwhile are lost"
                );
            }
        }
    }

    pub(super) fn recently_seen(&self) -> MutexGuard<'_, RecentlySeen> {
        // No user code runs under this lock, so its data is valid even if it is poisoned.
        self.recently_seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a handler may begin. After a shutdown it may begin only if it can end before handlers are
    /// cancelled, judged by the time of other handlers. A handler that is cut off has run for nothing.
    pub(super) fn may_begin(&self) -> bool {
        let can_end = |cancel_at: &Instant| Instant::now() + self.run_times.expected() < *cancel_at;
        match *self.phase.borrow() {
            Phase::Open => true,
            Phase::Closing => self.cancel_at.get().is_some_and(can_end),
            Phase::Cancelling => false,
        }
    }

    /// Lets no new poll begin, and sets the time at which running handlers are cancelled.
    pub(super) fn close_by(&self, cancel_at: Instant) {
        self.cancel_at.get_or_init(|| cancel_at);
        self.enter(Phase::Closing);
    }

    /// Enters that phase. The phase never goes back.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|now| std::mem::replace(now, phase.max(*now)) < phase);
    }

    /// Waits until the worker has reached that phase.
    pub(super) async fn until(&self, phase: Phase) {
        // The wait cannot fail, because `self` holds the sender.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    /// Returns whether one more poller may start after a full poll.
    pub(super) fn may_have_one_more(&self) -> bool {
        self.pollers.load(Ordering::Relaxed) < self.permits.polls()
    }

    /// Returns whether a poller that received nothing may end, and counts it as ended. One poller is enough for an
    /// empty queue.
    pub(super) fn has_one_too_many(&self) -> bool {
        let one_less = |pollers| (pollers > 1).then(|| pollers - 1);
        self.pollers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}
