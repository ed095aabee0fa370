//! Accepts messages and starts calls when they are due.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::ProducerSettings;
use super::call::TargetQueue;
use super::call_task::CallTask;
use super::checked::Checked;
use super::error::SendError;
use super::queued::Queued;
use super::reply::ReplySender;
use super::scheduler::{Next, Scheduled, Scheduler};
use crate::sqs::limits::MAX_MESSAGE_BYTES;
use crate::sqs::size_limit::SizeLimit;

/// The state that all clones of a producer share.
pub(super) struct ProducerInner {
    pub(super) queue: TargetQueue,
    pub(super) settings: ProducerSettings,
    /// The queue's size limit, as far as its refusals have shown it.
    pub(super) size_limit: SizeLimit,
    /// One permit for each byte.
    room: Arc<Semaphore>,
    state: Mutex<DriverState>,
    /// Signals that a call may be due.
    pub(super) wake: Notify,
    /// All messages of generations before this one are settled.
    settled: watch::Sender<u64>,
    is_closed: AtomicBool,
    /// Somebody has answered a call: from then on a connection that fails is worth another attempt.
    pub(super) has_answered: AtomicBool,
}

/// The waiting messages, and whether a driver sends them.
pub(super) struct DriverState {
    pub(super) scheduler: Scheduler<Queued>,
    /// Under the same lock as the messages: a driver ends only if it sees none, and a sender that adds one sees that no
    /// driver runs.
    is_driven: bool,
}

/// A message's memory apart from its bytes. A short message takes about as much.
const OVERHEAD: usize = 512;

impl ProducerInner {
    pub(super) fn new(queue: TargetQueue, settings: ProducerSettings) -> Self {
        Self {
            room: Arc::new(Semaphore::new(settings.buffer.min(Semaphore::MAX_PERMITS))),
            state: Mutex::new(DriverState {
                scheduler: Scheduler::new(settings.linger, MAX_MESSAGE_BYTES, settings.calls),
                is_driven: false,
            }),
            wake: Notify::new(),
            settled: watch::Sender::new(0),
            is_closed: AtomicBool::new(false),
            has_answered: AtomicBool::new(false),
            size_limit: SizeLimit::default(),
            queue,
            settings,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, DriverState> {
        // Each change leaves the state consistent, because no user code runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room for a message of that size.
    ///
    /// # Errors
    ///
    /// Returns an error if the producer is closed.
    pub(super) async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, SendError> {
        let cost = (bytes + OVERHEAD).min(self.settings.buffer);
        let room = self.room.clone().acquire_many_owned(u32::try_from(cost).unwrap_or(u32::MAX)).await;
        room.map_err(|_| SendError::closed())
    }

    /// Accepts a message that has room.
    pub(super) fn take(self: &Arc<Self>, checked: Checked, reply_to: ReplySender, room: OwnedSemaphorePermit) {
        let (now, bytes) = (Instant::now(), checked.bytes);
        let group = self.settings.ordered_group(&checked.message);
        let queued = Queued::new(checked, reply_to, room);
        let mut state = self.state();
        if let Some(group) = &group
            && queued.reply_to.is_group_broken(group)
        {
            drop(state);
            return drop(queued.reply(Err(SendError::behind(group))));
        }
        let may_be_due = state.scheduler.push(queued, bytes, group, now);
        self.drive(state, may_be_due);
    }

    /// Starts a driver unless one runs. The previous driver may have ended with its runtime.
    fn drive(self: &Arc<Self>, mut state: MutexGuard<'_, DriverState>, may_be_due: bool) {
        let was_driven = std::mem::replace(&mut state.is_driven, true);
        drop(state);
        if !was_driven {
            drop(tokio::spawn(Driver { inner: self.clone(), is_over: false }.drive()));
        } else if may_be_due {
            self.wake.notify_one();
        }
    }

    /// Sends all messages that are here now, and waits until they are settled.
    pub(super) async fn flush(self: &Arc<Self>) {
        let end = self.hurry();
        // This holds the sender, so the wait cannot fail.
        let _ = self.settled.subscribe().wait_for(|settled| *settled >= end).await;
    }

    /// Sends all messages that are here now without lingering. Returns the generation after them.
    pub(super) fn hurry(self: &Arc<Self>) -> u64 {
        let mut state = self.state();
        let end = state.scheduler.hurry();
        if state.scheduler.settled_below() < end {
            self.drive(state, true);
        }
        end
    }

    /// Accepts no more messages. Returns how many are not settled.
    pub(super) fn close(&self) -> usize {
        self.is_closed.store(true, Ordering::SeqCst);
        self.room.close();
        self.wake.notify_one();
        self.state().scheduler.len()
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Returns the messages of the next call, in the memory of a finished call's messages. No task has to be woken for
    /// it. Empty if no call is due.
    pub(super) async fn next_call(&self, emptied: Vec<Scheduled<Queued>>) -> Vec<Scheduled<Queued>> {
        let (settled, may_fill) = {
            let scheduler = &self.state().scheduler;
            (scheduler.settled_below(), scheduler.may_fill())
        };
        self.settled_below(settled);
        if may_fill {
            // A caller that just got its reply may send another message, which a call with room can take.
            yield_now().await;
        }
        self.state().scheduler.next_in_place(emptied, Instant::now())
    }

    pub(super) fn settled_below(&self, settled: u64) {
        self.settled.send_if_modified(|below| raise(below, settled));
    }
}

/// Raises the value and returns whether it changed. If two calls end at the same time, their reports may arrive in the
/// other order.
fn raise(below: &mut u64, settled: u64) -> bool {
    let is_higher = *below < settled;
    *below = settled.max(*below);
    is_higher
}

/// The task that starts calls.
struct Driver {
    inner: Arc<ProducerInner>,
    /// Whether the driver has reported its own end.
    is_over: bool,
}

impl Driver {
    /// Runs until the producer is closed and all messages are settled.
    async fn drive(mut self) {
        while let Some(next) = self.next() {
            match next {
                Next::Call(entries) => drop(tokio::spawn(CallTask::new(self.inner.clone(), entries).run())),
                Next::Wait(None) => self.inner.wake.notified().await,
                Next::Wait(Some(until)) => tokio::select! {
                    () = self.inner.wake.notified() => {}
                    () = sleep_until(until) => {}
                },
            }
        }
    }

    /// Returns what to do next, or `None` if nothing is left to do.
    fn next(&mut self) -> Option<Next<Queued>> {
        let mut state = self.inner.state();
        let next = state.scheduler.next(Instant::now());
        if state.scheduler.len() > 0 || !self.inner.is_closed() {
            return Some(next);
        }
        state.is_driven = false;
        self.is_over = true;
        None
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !self.is_over {
            self.inner.state().is_driven = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settled_generation_never_goes_back() {
        let mut below = 0;
        assert!(raise(&mut below, 2) && !raise(&mut below, 1));
        assert_eq!(below, 2);
    }
}
