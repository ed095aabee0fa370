//! Who has calls made when they are due, and settles what they bring.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::call::{Attempt, Queue, send};
use super::error::SendError;
use super::outgoing::{Checked, Outgoing};
use super::pack::{Next, Pack, Packed};
use super::told::{Outcome, Teller};
use super::{Settings, runtime_ended};
use crate::sqs::Backoff;
use crate::sqs::limits::MAX_MESSAGE_BYTES;

/// What all clones of a producer share.
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) settings: Settings,
    /// A permit a byte.
    room: Arc<Semaphore>,
    pack: Mutex<Pack<Item>>,
    /// Something has happened that may have a call due.
    wake: Notify,
    /// All messages of generations before this one are settled.
    settled: watch::Sender<u64>,
    is_closed: AtomicBool,
    driver: Mutex<Option<JoinHandle<()>>>,
}

/// A message, and who waits for what becomes of it.
struct Item {
    message: Outgoing,
    teller: Teller,
    room: OwnedSemaphorePermit,
    attempts: u32,
    /// When it first left. What it waits before that, for others of its group say, is not its own trouble.
    first_left: Option<Instant>,
    /// An attempt was not answered.
    may_be_sent: bool,
}

/// What a message costs beside its bytes: a short one takes about as much memory.
const OVERHEAD: usize = 512;

impl Shared {
    pub(super) fn new(queue: Queue, settings: Settings) -> Self {
        Self {
            room: Arc::new(Semaphore::new(settings.buffer.min(Semaphore::MAX_PERMITS))),
            pack: Mutex::new(Pack::new(settings.linger, MAX_MESSAGE_BYTES, settings.calls)),
            wake: Notify::new(),
            settled: watch::Sender::new(0),
            is_closed: AtomicBool::new(false),
            driver: Mutex::default(),
            queue,
            settings,
        }
    }

    fn pack(&self) -> MutexGuard<'_, Pack<Item>> {
        // No user's code runs under this lock.
        self.pack.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message as soon as there is room.
    pub(super) async fn take(self: &Arc<Self>, Checked { message, bytes, .. }: Checked, teller: Teller) {
        let cost = (bytes + OVERHEAD).min(self.settings.buffer);
        let room = self.room.clone().acquire_many_owned(u32::try_from(cost).unwrap_or(u32::MAX)).await;
        let Ok(room) = room else { return teller.tell(Err(SendError::closed())) };
        let now = Instant::now();
        let group = self.settings.line_of(&message);
        let item = Item { message, teller, room, attempts: 0, first_left: None, may_be_sent: false };
        let may_be_due = self.pack().push(item, bytes, group, now);
        self.ensure_driver();
        if may_be_due {
            self.wake.notify_one();
        }
    }

    /// The runtime of the first one may have ended.
    fn ensure_driver(self: &Arc<Self>) {
        let mut driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        if driver.as_ref().is_none_or(JoinHandle::is_finished) {
            *driver = Some(tokio::spawn(self.clone().drive()));
        }
    }

    /// Has calls made, until the producer is closed and all is settled.
    async fn drive(self: Arc<Self>) {
        loop {
            let (next, is_empty) = {
                let mut pack = self.pack();
                (pack.next(Instant::now()), pack.len() == 0)
            };
            match next {
                Next::Call(batch) => drop(tokio::spawn(Flight::new(self.clone(), batch).fly())),
                Next::Wait(_) if is_empty && self.is_closed() => return,
                Next::Wait(None) => self.wake.notified().await,
                Next::Wait(Some(until)) => tokio::select! {
                    () = self.wake.notified() => {}
                    () = sleep_until(until) => {}
                },
            }
        }
    }

    /// Has all that is here leave, and waits until it is settled.
    pub(super) async fn flush(&self) {
        let end = self.hurry();
        // It cannot fail: this has the sender.
        let _ = self.settled.subscribe().wait_for(|settled| *settled >= end).await;
    }

    /// Has all that is here leave without lingering. Says up to where that is.
    pub(super) fn hurry(&self) -> u64 {
        let end = self.pack().hurry();
        self.wake.notify_one();
        end
    }

    /// Takes no more messages. Says how many are not settled.
    pub(super) fn close(&self) -> usize {
        self.is_closed.store(true, Ordering::SeqCst);
        self.room.close();
        self.wake.notify_one();
        self.pack().len()
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Those that arrived, and these are most of them, are settled at once; the others each by what became of it.
    fn settle_all(&self, batch: &mut Vec<Packed<Item>>, attempts: Vec<Attempt>) {
        {
            let mut pack = self.pack();
            let arrived = batch.iter().zip(&attempts).filter(|(_, attempt)| matches!(attempt, Attempt::Sent(_)));
            arrived.for_each(|(packed, _)| pack.settle(packed));
        }
        let mut room: Option<OwnedSemaphorePermit> = None;
        for (packed, attempt) in batch.drain(..).zip(attempts) {
            match attempt {
                Attempt::Sent(sent) => {
                    let given_back = packed.item.tell(Ok(sent));
                    // Who waits for room is woken once.
                    match &mut room {
                        Some(room) => room.merge(given_back),
                        None => room = Some(given_back),
                    }
                }
                attempt => self.settle(packed, attempt),
            }
        }
    }

    fn settle(&self, packed: Packed<Item>, attempt: Attempt) {
        match attempt {
            Attempt::Sent(sent) => self.end(packed, Ok(sent)),
            // It never will go, so those behind it do not wait for it.
            Attempt::Refused(why) | Attempt::Denied(why) if packed.item.may_be_sent => {
                self.end(packed, Err(SendError::unknown(why)));
            }
            Attempt::Refused(why) => self.end(packed, Err(SendError::refused(why))),
            Attempt::Denied(why) => self.end(packed, Err(SendError::denied(why))),
            Attempt::Failed(why) => self.try_again(packed, why),
            Attempt::Lost(why) => {
                let mut packed = packed;
                packed.item.may_be_sent = true;
                self.try_again(packed, why);
            }
            Attempt::Unnamed => {
                self.give_up(packed, SendError::unknown("SQS has answered, and not said what became of it".to_owned()));
            }
        }
    }

    fn end(&self, packed: Packed<Item>, outcome: Outcome) {
        self.pack().settle(&packed);
        drop(packed.item.tell(outcome));
    }

    fn try_again(&self, mut packed: Packed<Item>, why: String) {
        let item = &mut packed.item;
        item.attempts += 1;
        let at = Instant::now() + Backoff::exponential(FIRST_WAIT..LONGEST_WAIT).delay(item.attempts);
        if item.first_left.is_none_or(|first| at < first + self.settings.retry_for) {
            tracing::debug!(attempts = item.attempts, error = why, "a message is sent again");
            return self.pack().again(packed, at);
        }
        let why = format!("{why} (after {} attempts)", item.attempts);
        let error = if item.may_be_sent { SendError::unknown(why) } else { SendError::failed(why) };
        self.give_up(packed, error);
    }

    fn give_up(&self, packed: Packed<Item>, error: SendError) {
        let behind_it = packed.group.as_deref().map(SendError::behind);
        let (item, behind) = self.pack().give_up(packed);
        drop(item.tell(Err(error)));
        for (item, error) in behind.into_iter().zip(std::iter::repeat(behind_it).flatten()) {
            drop(item.tell(Err(error)));
        }
    }
}

/// The waits between the attempts of a message, at most.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(20);

impl Item {
    /// Gives back what room it took.
    fn tell(self, outcome: Outcome) -> OwnedSemaphorePermit {
        self.teller.tell(outcome);
        self.room
    }
}

/// A call on its way, and the next one after it for as long as one is due. One that is dropped, as its runtime ends, may have arrived.
struct Flight {
    shared: Arc<Shared>,
    batch: Vec<Packed<Item>>,
}

impl Flight {
    fn new(shared: Arc<Shared>, batch: Vec<Packed<Item>>) -> Self {
        Self { shared, batch }
    }

    async fn fly(mut self) {
        while !self.batch.is_empty() {
            let now = Instant::now();
            for packed in &mut self.batch {
                packed.item.first_left.get_or_insert(now);
            }
            let messages: Vec<_> = self.batch.iter().map(|packed| &packed.item.message).collect();
            let attempts = send(&self.shared.queue, &messages).await;
            self.shared.settle_all(&mut self.batch, attempts);
            self.batch = self.shared.next_call();
        }
    }
}

impl Shared {
    /// What leaves in place of a call that has ended: nobody has to be woken for it. Nothing where none is due.
    fn next_call(&self) -> Vec<Packed<Item>> {
        let (settled, batch) = {
            let mut pack = self.pack();
            let settled = pack.settled_below();
            (settled, pack.next_in_place(Instant::now()))
        };
        self.settled_below(settled);
        batch
    }

    fn settled_below(&self, settled: u64) {
        self.settled.send_if_modified(|below| raise(below, settled));
    }
}

/// Says whether it is higher than it was. Of two calls that end at a time, the one that is heard of last may have looked first.
fn raise(below: &mut u64, settled: u64) -> bool {
    let is_higher = *below < settled;
    *below = settled.max(*below);
    is_higher
}

impl Drop for Flight {
    fn drop(&mut self) {
        for packed in self.batch.drain(..) {
            self.shared.give_up(packed, runtime_ended());
        }
        let settled = {
            let mut pack = self.shared.pack();
            pack.call_ended();
            pack.settled_below()
        };
        self.shared.settled_below(settled);
        self.shared.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_settled_stays_so() {
        let mut below = 0;
        assert!(raise(&mut below, 2) && !raise(&mut below, 1));
        assert_eq!(below, 2);
    }
}
