//! For how long the messages of a poll are ours, and how that is extended.
//!
//! All leases of a poll begin at the same time, so one task extends them together. What a record's end does to its message begins
//! after its lease was let go, and that waits for a heartbeat under way: none ever comes after a delete, or puts an end to a delay.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::settler::Receipt;
use crate::engine::Cancel;
use crate::moment::{Deadline, Moment};
use crate::sqs::coalesce::BatchCall;
use crate::sqs::entries::EntryError;
use crate::sqs::visibility::{Change, ChangeVisibility, MAX_VISIBILITY_TIMEOUT, VisibilityTimeout};

/// The leases of the messages of one poll, by position.
pub(super) struct Leases {
    table: Mutex<Vec<Lease>>,
    /// Whether a heartbeat is under way. Nobody owns that: a lane whose turn had come would keep it for as long as a handler blocks the
    /// thread that the lane is to run on, and there would be no more heartbeats.
    beating: watch::Sender<bool>,
    lost: watch::Sender<Lost>,
    received: Moment,
    length: Duration,
}

/// Messages whose handlers are cancelled, by a bit for each: a poll brings ten at most.
#[derive(Clone, Copy, Default)]
struct Lost {
    /// Their leases were lost.
    leases: u16,
    /// The worker ends.
    cut_off: u16,
}

impl Lost {
    fn cancel(self, index: usize) -> Option<Cancel> {
        let has = |bits: u16| bits & 1 << index != 0;
        match (has(self.leases), has(self.cut_off)) {
            (true, _) => Some(Cancel::LeaseLost),
            (false, true) => Some(Cancel::HostEnds),
            (false, false) => None,
        }
    }
}

struct Lease {
    /// It ends when the message is visible again, by what SQS has confirmed.
    receipt: Receipt,
    state: LeaseState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LeaseState {
    /// Heartbeats extend it.
    Kept,
    /// They do not for the moment: its line's head is being settled, and this may have to come back with it.
    Resting,
    /// The worker ends, and its handler with it. It is to be given back.
    CutOff,
    /// It was settled, or lost.
    Gone,
}

/// A heartbeat comes when one part in so many of a lease is over: two may fail before it ends.
const HEARTBEAT_FRACTION: u32 = 3;

/// SQS counts the 12 hours from when it handed the message out, which is a little before we had it.
const LONGEST: Duration = MAX_VISIBILITY_TIMEOUT.saturating_sub(Duration::from_secs(10));

impl Leases {
    /// Leases of messages that were received at that time.
    pub(super) fn new(receipts: impl IntoIterator<Item = Receipt>, received: Moment, length: Duration) -> Self {
        let lease = |receipt| Lease { receipt, state: LeaseState::Kept };
        Self {
            table: Mutex::new(receipts.into_iter().map(lease).collect()),
            beating: watch::Sender::new(false),
            lost: watch::Sender::new(Lost::default()),
            received,
            length,
        }
    }

    fn table(&self) -> MutexGuard<'_, Vec<Lease>> {
        // No user's code runs under this lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_ours(&self, index: usize) -> bool {
        self.table()[index].is_ours()
    }

    /// Ends when that one is lost, or cut off.
    pub(super) fn lost(&self, index: usize) -> impl Future<Output = Cancel> + Send + use<> {
        let mut lost = self.lost.subscribe();
        async move {
            let cancel =
                lost.wait_for(|lost| lost.cancel(index).is_some()).await.ok().and_then(|lost| lost.cancel(index));
            match cancel {
                Some(cancel) => cancel,
                // The batch is over, and nobody is left to tell.
                None => std::future::pending().await,
            }
        }
    }

    /// Cuts off those of these that are still ours: each is to be given back, whatever its handler comes to.
    pub(super) fn cut_off(&self, indices: &[usize]) {
        {
            let mut table = self.table();
            indices.iter().for_each(|&index| table[index].cut_off());
        }
        let these = indices.iter().fold(0, |these, index| these | 1 << index);
        self.lost.send_modify(|lost| lost.cut_off |= these);
    }

    /// Until when SQS keeps that one from others, by what it has confirmed.
    pub(super) fn end_of(&self, index: usize) -> Deadline {
        self.table()[index].receipt.ends
    }

    /// How long SQS lets these messages be hidden from now on.
    pub(super) fn max_delay(&self) -> Duration {
        LONGEST.saturating_sub(self.received.elapsed())
    }

    /// Extends these no more, and those not for the moment. Once this has ended no heartbeat is under way for either. Says whether
    /// the first one was still ours.
    pub(super) async fn stop_heartbeat(&self, index: usize, copies: &[usize], behind: &[usize]) -> bool {
        // The process may have been suspended, and nobody has looked since.
        self.expire();
        let was_ours = {
            let mut table = self.table();
            let was_ours = table[index].is_ours();
            for &each in copies.iter().chain([&index]) {
                if table[each].is_ours() {
                    table[each].state = LeaseState::Gone;
                }
            }
            for &each in behind {
                table[each].rest(LeaseState::Resting);
            }
            was_ours
        };
        self.no_heartbeat().await;
        was_ours
    }

    /// Extends these again.
    pub(super) fn resume_heartbeat(&self, indices: &[usize]) {
        let mut table = self.table();
        for &index in indices {
            table[index].rest(LeaseState::Kept);
        }
    }

    pub(super) fn receipt(&self, index: usize) -> Receipt {
        self.table()[index].receipt.clone()
    }

    /// Takes those that are not gone. No heartbeat is under way for them, and none comes any more. Nothing is taken before this ends: who
    /// drops it finds all of them where they were.
    pub(super) async fn take(&self, indices: &[usize]) -> Vec<Receipt> {
        loop {
            self.no_heartbeat().await;
            self.expire();
            let mut table = self.table();
            // Under the lock under which one begins.
            if !*self.beating.borrow() {
                return indices.iter().filter_map(|&index| table[index].take()).collect();
            }
        }
    }

    /// Waits until none is under way. The next one does not extend what was marked before.
    async fn no_heartbeat(&self) {
        // It cannot fail: this has the sender.
        let _ = self.beating.subscribe().wait_for(|beating| !beating).await;
    }

    /// Extends what is ours at a third of its time ([`HEARTBEAT_FRACTION`]), until this is dropped. After the process was suspended, what has ended is lost at
    /// once, and the rest is extended at once where a heartbeat is due.
    pub(super) async fn keep(&self, queue: &ChangeVisibility, mut resumed: watch::Receiver<u64>) {
        let interval = self.length / HEARTBEAT_FRACTION;
        let mut due = Deadline::after(self.received, interval);
        let mut next = due.for_timer();
        loop {
            tokio::select! {
                biased;
                () = sleep_until(next.min(self.first_expiry().unwrap_or(next))) => {}
                Ok(()) = resumed.changed() => {}
            }
            self.expire();
            let now = Instant::now();
            if now < next && !due.is_over() {
                continue;
            }
            due = Deadline::after(Moment::now(), interval);
            next = match self.beat(queue).await {
                Beat::All => now + interval,
                // There is time for some more before the lease is over.
                Beat::Again => Instant::now() + (interval / 10).mul_f64(1.0 + fastrand::f64()),
            };
        }
    }

    /// One heartbeat.
    async fn beat(&self, queue: &ChangeVisibility) -> Beat {
        let began = Moment::now();
        let next = Instant::now() + self.length / HEARTBEAT_FRACTION;
        // Whoever waits for this one longer sees too late that a lease is over.
        let until = next.min(self.first_expiry().unwrap_or(next));
        let extended = VisibilityTimeout::clamped(self.length, self.max_delay());
        if extended == VisibilityTimeout::ZERO {
            return Beat::All;
        }
        let (kept, _beating) = self.begin_to_beat();
        if kept.is_empty() {
            return Beat::All;
        }
        let (indices, changes): (Vec<_>, Vec<_>) = kept
            .into_iter()
            .map(|(index, receipt_handle, not_after)| (index, Change::new(receipt_handle, extended, not_after)))
            .unzip();
        // In a box: it is large, and most messages are settled before they need one.
        let call = Box::pin(queue.call(&changes));
        let Ok(results) = timeout_at(until, call).await else { return Beat::Again };
        let mut beat = Beat::All;
        for (index, result) in indices.into_iter().zip(results) {
            match result {
                Ok(()) => self.table()[index].receipt.ends = Deadline::after(began, extended.as_duration()),
                Err(EntryError::MayPass(why)) => {
                    tracing::debug!(why, "a heartbeat failed, and is tried again");
                    beat = Beat::Again;
                }
                Err(error @ (EntryError::SenderFault(_) | EntryError::Denied(_))) => self.lose(index, error.text()),
            }
        }
        beat
    }

    /// What is to be extended, by position and receipt handle, and until when that may begin. Whoever looks from then on sees that it is,
    /// until that is dropped.
    fn begin_to_beat(&self) -> (Vec<(usize, String, Deadline)>, Beating<'_>) {
        let table = self.table();
        self.beating.send_replace(true);
        let kept = table.iter().enumerate().filter(|(_, lease)| lease.state == LeaseState::Kept && lease.is_ours());
        let kept = kept.map(|(index, lease)| (index, lease.receipt.receipt_handle.clone(), lease.receipt.ends));
        (kept.collect(), Beating(&self.beating))
    }

    fn first_expiry(&self) -> Option<Instant> {
        let table = self.table();
        table.iter().filter(|lease| lease.state != LeaseState::Gone).map(|lease| lease.receipt.ends.for_timer()).min()
    }

    /// Loses what is over.
    fn expire(&self) {
        let over: Vec<_> = {
            let table = self.table();
            let is_over = |lease: &Lease| lease.state != LeaseState::Gone && lease.receipt.ends.is_over();
            let over = table.iter().enumerate().filter(|(_, lease)| is_over(lease));
            over.map(|(index, _)| index).collect()
        };
        for index in over {
            self.lose(index, "its visibility timeout ran out");
        }
    }

    fn lose(&self, index: usize, why: &str) {
        // In a statement of its own: whoever writes the log may wait, and is not to do so with the lock.
        let taken = self.table()[index].take();
        // Whoever has let it go meanwhile is done with it.
        let Some(Receipt { key, .. }) = taken else { return };
        self.lost.send_modify(|lost| lost.leases |= 1 << index);
        tracing::warn!(message_id = %key, why, "a message is lost to others while it is here, and comes back there");
    }
}

impl Lease {
    fn is_ours(&self) -> bool {
        matches!(self.state, LeaseState::Kept | LeaseState::Resting) && !self.receipt.ends.is_over()
    }

    fn cut_off(&mut self) {
        if self.is_ours() {
            self.state = LeaseState::CutOff;
        }
    }

    fn rest(&mut self, state: LeaseState) {
        if self.is_ours() {
            self.state = state;
        }
    }

    fn take(&mut self) -> Option<Receipt> {
        (std::mem::replace(&mut self.state, LeaseState::Gone) != LeaseState::Gone).then(|| self.receipt.clone())
    }
}

/// A heartbeat under way.
struct Beating<'a>(&'a watch::Sender<bool>);

impl Drop for Beating<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

/// What came of a heartbeat.
enum Beat {
    All,
    /// Some is to be extended that is not.
    Again,
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::task::Poll;

    use super::*;
    use crate::moment::set_wall_clock_ahead;
    use crate::worker::recently_seen::MessageKey;
    use redrive_local::{Faults, Sqs};

    const LEASE: Duration = Duration::from_secs(30);

    /// A queue with a message that was received just now, and its lease.
    async fn leased(sqs: &Sqs) -> (ChangeVisibility, Leases) {
        let client = sqs.client();
        let queue_url = client.create_queue().queue_name("orders").send().await.unwrap().queue_url.unwrap();
        client.send_message().queue_url(&queue_url).message_body("an order").send().await.unwrap();
        let received = client.receive_message().queue_url(&queue_url).send().await.unwrap().messages.unwrap();
        let (now, receipt_handle) = (Moment::now(), received[0].receipt_handle().unwrap().to_owned());
        let receipt = Receipt { key: MessageKey::of("m"), receipt_handle, ends: Deadline::after(now, LEASE) };
        (ChangeVisibility { client, queue_url }, Leases::new([receipt], now, LEASE))
    }

    /// How many messages are visible 31 s after the receive, where the process slept for so long after 5 s, and ended after 7 s.
    async fn visible_after_sleeping_for(asleep: Duration) -> usize {
        let (queue, leases) = leased(&Sqs::with_seed(1)).await;
        let resumed = watch::Sender::new(0);
        let begin = Instant::now();
        let mut keeping = pin!(leases.keep(&queue, resumed.subscribe()));
        assert!(tokio::time::timeout_at(begin + LEASE / 6, &mut keeping).await.is_err());
        set_wall_clock_ahead(asleep);
        resumed.send_replace(1);
        assert!(tokio::time::timeout_at(begin + LEASE / 6 + LEASE / 15, &mut keeping).await.is_err());
        sleep_until(begin + LEASE + LEASE / 30).await;
        let receive = queue.client.receive_message().queue_url(&queue.queue_url);
        receive.send().await.unwrap().messages.unwrap_or_default().len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_heartbeat_that_was_due_while_the_process_slept_comes_at_once() {
        assert_eq!(visible_after_sleeping_for(LEASE / 2).await, 0, "hidden for another 30 s");
        assert_eq!(visible_after_sleeping_for(Duration::ZERO).await, 1, "none was due");
    }

    #[tokio::test(start_paused = true)]
    async fn no_heartbeat_comes_for_a_lease_that_ended_while_the_process_slept() {
        assert_eq!(visible_after_sleeping_for(LEASE * 120).await, 1, "it would hide another consumer's message");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_of_twelve_hours_shrinks_while_the_process_sleeps() {
        let (_, leases) = leased(&Sqs::with_seed(1)).await;
        set_wall_clock_ahead(Duration::from_secs(11 * 3_600));
        assert!(leases.max_delay() <= Duration::from_secs(3_600));
        assert!(!leases.is_ours(0) && leases.take(&[0]).await.is_empty(), "there is nothing to give back");
    }

    /// A handler that blocks its thread has the lane of another wait for ever, between two steps.
    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_heartbeat_and_is_polled_no_more_does_not_end_them() {
        let sqs = Sqs::with_seed(1);
        let client = sqs.client();
        let queue_url = client.create_queue().queue_name("orders").send().await.unwrap().queue_url.unwrap();
        for body in ["ends", "runs"] {
            client.send_message().queue_url(&queue_url).message_body(body).send().await.unwrap();
        }
        let receive = || client.receive_message().queue_url(&queue_url).max_number_of_messages(10);
        let received = receive().visibility_timeout(30).send().await.unwrap().messages.unwrap();
        let now = Moment::now();
        let receipts = received.into_iter().map(|message| Receipt {
            key: MessageKey::of(&message.message_id.unwrap()),
            receipt_handle: message.receipt_handle.unwrap(),
            ends: Deadline::after(now, LEASE),
        });
        let leases = Leases::new(receipts, now, LEASE);
        let queue = ChangeVisibility { client: client.clone(), queue_url: queue_url.clone() };

        sqs.set_faults(Faults::none().slow_calls(1.0, Duration::from_secs(4)));
        let mut keeping = pin!(leases.keep(&queue, watch::Sender::new(0).subscribe()));
        let under_way = LEASE / 3 + Duration::from_millis(1);
        assert!(tokio::time::timeout(under_way, &mut keeping).await.is_err());
        let mut stopped = pin!(leases.stop_heartbeat(0, &[], &[]));
        let first_poll = poll_fn(|context| Poll::Ready(stopped.as_mut().poll(context))).await;
        assert!(first_poll.is_pending(), "there is a heartbeat under way");
        sqs.set_faults(Faults::none());

        assert!(tokio::time::timeout(2 * LEASE, &mut keeping).await.is_err());
        let visible = receive().send().await.unwrap().messages.unwrap_or_default();
        let bodies: Vec<_> = visible.iter().map(|message| message.body().unwrap()).collect();
        assert_eq!(bodies, ["ends"], "the other one still has its heartbeats");
        assert!(stopped.await, "and none is under way");
    }
}
