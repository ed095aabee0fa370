//! What all polls and batches of a worker share.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::Client;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};

use super::Settings;
use super::desk::Desk;
use super::handle::WorkerHandle;
use super::health::{Health, Stage};
use super::memory::Memory;
use super::queue::Queue;
use super::settler::Settler;
use crate::batch::Engine;
use crate::error::Error;

pub(super) struct Hub {
    pub(super) queue: Queue,
    pub(super) engine: Engine,
    /// Where handlers run.
    pub(super) handlers: Handle,
    pub(super) desk: Desk,
    pub(super) settler: Settler,
    pub(super) handle: WorkerHandle,
    pub(super) health: Arc<Health>,
    pub(super) wait_time: Duration,
    /// Told when a poll was full: there may be more for another one.
    pub(super) more: Notify,
    /// How many pollers there are.
    pub(super) pollers: AtomicUsize,
    /// Whether the queue has answered a poll.
    pub(super) has_polled: AtomicBool,
    memory: Arc<Mutex<Memory>>,
    phase: watch::Sender<Phase>,
    /// See [`Settings`].
    _held: Option<mpsc::Sender<Infallible>>,
}

/// How far a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Open,
    /// Nothing begins any more.
    Closing,
    /// What still runs is cancelled.
    Cut,
}

impl Hub {
    pub(super) async fn begin(
        engine: Engine,
        client: &Client,
        queue_url: String,
        settings: Settings,
        health: Arc<Health>,
    ) -> Result<Arc<Self>, Error> {
        let queue = Queue::find(client, queue_url, settings.visibility_timeout, settings.wait_time).await?;
        health.note(Stage::Begun);
        let memory = Arc::new(Mutex::new(Memory::new(queue.lease.as_duration())));
        Ok(Arc::new(Self {
            desk: Desk::new(engine.concurrency(), engine.call_size(), settings.messages_per_second),
            settler: Settler::new(&queue, memory.clone()),
            handlers: settings.handlers.unwrap_or_else(Handle::current),
            queue,
            engine,
            handle: settings.handle,
            health,
            wait_time: settings.wait_time,
            more: Notify::new(),
            pollers: AtomicUsize::new(0),
            has_polled: AtomicBool::new(false),
            memory,
            phase: watch::Sender::new(Phase::Open),
            _held: settings.held,
        }))
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        // No user's code runs under this lock.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_open(&self) -> bool {
        *self.phase.borrow() == Phase::Open
    }

    /// Goes on to that phase. There is no way back.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|now| std::mem::replace(now, phase.max(*now)) < phase);
    }

    /// Waits until it is as far as that.
    pub(super) async fn until(&self, phase: Phase) {
        // It cannot fail: this has the sender.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    /// Whether there is to be one more poller after a full poll.
    pub(super) fn may_have_one_more(&self) -> bool {
        self.pollers.load(Ordering::Relaxed) < self.desk.polls()
    }

    /// Whether a poller that found nothing may end: one is enough for an empty queue.
    pub(super) fn has_one_too_many(&self) -> bool {
        let one_less = |pollers| (pollers > 1).then(|| pollers - 1);
        self.pollers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}
