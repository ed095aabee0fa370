//! Accepts messages and starts calls when they are due.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::Settings;
use super::call::Queue;
use super::checked::Checked;
use super::error::SendError;
use super::flight::Flight;
use super::item::Item;
use super::pack::{Next, Pack, Packed};
use super::told::Teller;
use crate::sqs::limits::MAX_MESSAGE_BYTES;
use crate::sqs::size_limit::SizeLimit;

/// The state that all clones of a producer share.
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) settings: Settings,
    /// The queue's size limit, as far as its refusals have shown it.
    pub(super) size_limit: SizeLimit,
    /// One permit for each byte.
    room: Arc<Semaphore>,
    line: Mutex<Line>,
    /// Signals that a call may be due.
    pub(super) wake: Notify,
    /// All messages of generations before this one are settled.
    settled: watch::Sender<u64>,
    is_closed: AtomicBool,
    /// Somebody has answered a call: from then on a connection that fails is worth another attempt.
    pub(super) has_answered: AtomicBool,
}

/// The waiting messages, and whether a driver sends them.
pub(super) struct Line {
    pub(super) pack: Pack<Item>,
    /// Under the same lock as the messages: a driver ends only if it sees none, and a sender that adds one sees that no
    /// driver runs.
    is_driven: bool,
}

/// A message's memory apart from its bytes. A short message takes about as much.
const OVERHEAD: usize = 512;

impl Shared {
    pub(super) fn new(queue: Queue, settings: Settings) -> Self {
        Self {
            room: Arc::new(Semaphore::new(settings.buffer.min(Semaphore::MAX_PERMITS))),
            line: Mutex::new(Line {
                pack: Pack::new(settings.linger, MAX_MESSAGE_BYTES, settings.calls),
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

    pub(super) fn line(&self) -> MutexGuard<'_, Line> {
        // Each change leaves the line consistent, because no user code runs under this lock.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub(super) fn take(self: &Arc<Self>, checked: Checked, teller: Teller, room: OwnedSemaphorePermit) {
        let (now, bytes) = (Instant::now(), checked.bytes);
        let group = self.settings.line_of(&checked.message);
        let item = Item::new(checked, teller, room);
        let mut line = self.line();
        if let Some(group) = &group
            && item.teller.is_broken(group)
        {
            drop(line);
            return drop(item.tell(Err(SendError::behind(group))));
        }
        let may_be_due = line.pack.push(item, bytes, group, now);
        self.drive(line, may_be_due);
    }

    /// Starts a driver unless one runs. The previous driver may have ended with its runtime.
    fn drive(self: &Arc<Self>, mut line: MutexGuard<'_, Line>, may_be_due: bool) {
        let was_driven = std::mem::replace(&mut line.is_driven, true);
        drop(line);
        if !was_driven {
            drop(tokio::spawn(Driver { shared: self.clone(), is_over: false }.drive()));
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
        let mut line = self.line();
        let end = line.pack.hurry();
        if line.pack.settled_below() < end {
            self.drive(line, true);
        }
        end
    }

    /// Accepts no more messages. Returns how many are not settled.
    pub(super) fn close(&self) -> usize {
        self.is_closed.store(true, Ordering::SeqCst);
        self.room.close();
        self.wake.notify_one();
        self.line().pack.len()
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Returns the messages of the next call, in the memory of a finished call's messages. No task has to be woken for
    /// it. Empty if no call is due.
    pub(super) async fn next_call(&self, emptied: Vec<Packed<Item>>) -> Vec<Packed<Item>> {
        let (settled, may_fill) = {
            let pack = &self.line().pack;
            (pack.settled_below(), pack.may_fill())
        };
        self.settled_below(settled);
        if may_fill {
            // A caller that was just told may send another message, which a call with room can take.
            yield_now().await;
        }
        self.line().pack.next_in_place(emptied, Instant::now())
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
    shared: Arc<Shared>,
    /// Whether the driver has reported its own end.
    is_over: bool,
}

impl Driver {
    /// Runs until the producer is closed and all messages are settled.
    async fn drive(mut self) {
        while let Some(next) = self.next() {
            match next {
                Next::Call(batch) => drop(tokio::spawn(Flight::new(self.shared.clone(), batch).fly())),
                Next::Wait(None) => self.shared.wake.notified().await,
                Next::Wait(Some(until)) => tokio::select! {
                    () = self.shared.wake.notified() => {}
                    () = sleep_until(until) => {}
                },
            }
        }
    }

    /// Returns what to do next, or `None` if nothing is left to do.
    fn next(&mut self) -> Option<Next<Item>> {
        let mut line = self.shared.line();
        let next = line.pack.next(Instant::now());
        if line.pack.len() > 0 || !self.shared.is_closed() {
            return Some(next);
        }
        line.is_driven = false;
        self.is_over = true;
        None
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !self.is_over {
            self.shared.line().is_driven = false;
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
