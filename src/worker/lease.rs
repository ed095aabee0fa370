//! Keeps the leases of the messages of one poll and extends them with heartbeats.
//!
//! All leases of a poll begin at the same time, so one task extends them together. Before a record's outcome is applied
//! to its message, its lease is taken out of the heartbeats. That step waits for a heartbeat under way. No heartbeat
//! therefore follows a delete or overwrites a delay.

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

/// The leases of the messages of one poll, indexed by position.
pub(super) struct Leases {
    table: Mutex<Vec<Lease>>,
    /// Whether a heartbeat is under way. This is not a lock with an owner: a lane that waits for a lock would keep its
    /// turn while a handler blocks the lane's thread, and the heartbeats would stop.
    beating: watch::Sender<bool>,
    lost: watch::Sender<Lost>,
    received: Moment,
    length: Duration,
}

/// Messages whose handlers are cancelled, one bit for each. A poll receives at most ten.
#[derive(Clone, Copy, Default)]
struct Lost {
    /// Messages whose leases were lost.
    leases: u16,
    /// Messages that were cut off because the worker ends.
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
    /// The receipt, with the end of the lease as SQS has confirmed it.
    receipt: Receipt,
    state: LeaseState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LeaseState {
    /// Heartbeats extend the lease.
    Kept,
    /// Heartbeats do not extend the lease while the head of its group is settled: the message may have to become
    /// visible together with the head.
    Resting,
    /// The worker ends and cancels the handler. The message has to be released.
    CutOff,
    /// The message was settled, or its lease was lost.
    Gone,
}

/// A heartbeat is due when one part in this many of a lease is over. Two heartbeats may fail before the lease ends.
const HEARTBEAT_FRACTION: u32 = 3;

/// The longest total time of a lease. SQS counts its 12 hours from when it handed the message out, which is shortly
/// before the worker received it.
const LONGEST: Duration = MAX_VISIBILITY_TIMEOUT.saturating_sub(Duration::from_secs(10));

impl Leases {
    /// Returns leases of messages that were received at `received`.
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
        // No user code runs under this lock, so its data is valid even if it is poisoned.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_ours(&self, index: usize) -> bool {
        self.table()[index].is_ours()
    }

    /// Waits until that lease is lost or cut off.
    pub(super) fn lost(&self, index: usize) -> impl Future<Output = Cancel> + Send + use<> {
        let mut lost = self.lost.subscribe();
        async move {
            let cancel =
                lost.wait_for(|lost| lost.cancel(index).is_some()).await.ok().and_then(|lost| lost.cancel(index));
            match cancel {
                Some(cancel) => cancel,
                // The batch has ended, and no handler is left to cancel.
                None => std::future::pending().await,
            }
        }
    }

    /// Cuts off those of these messages that are still leased. Each has to be released, whatever its handler returns.
    pub(super) fn cut_off(&self, indices: &[usize]) {
        {
            let mut table = self.table();
            indices.iter().for_each(|&index| table[index].cut_off());
        }
        let these = indices.iter().fold(0, |these, index| these | 1 << index);
        self.lost.send_modify(|lost| lost.cut_off |= these);
    }

    /// Returns when that lease ends, as SQS has confirmed it.
    pub(super) fn end_of(&self, index: usize) -> Deadline {
        self.table()[index].receipt.ends
    }

    /// Returns the longest time for which SQS can still hide these messages.
    pub(super) fn max_delay(&self) -> Duration {
        LONGEST.saturating_sub(self.received.elapsed())
    }

    /// Removes `index` and its copies from the heartbeats, and suspends the heartbeats of `behind`. When this returns,
    /// no heartbeat is under way for any of them. Returns whether the lease of `index` was still valid.
    pub(super) async fn stop_heartbeat(&self, index: usize, copies: &[usize], behind: &[usize]) -> bool {
        // The process may have been suspended, and no timer has run since.
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

    /// Resumes the heartbeats of these messages.
    pub(super) fn resume_heartbeat(&self, indices: &[usize]) {
        let mut table = self.table();
        for &index in indices {
            table[index].rest(LeaseState::Kept);
        }
    }

    pub(super) fn receipt(&self, index: usize) -> Receipt {
        self.table()[index].receipt.clone()
    }

    /// Takes the receipts of those messages that are not gone. No heartbeat is under way for them, and none follows.
    /// Nothing is taken before the future completes, so a caller may drop it without losing a receipt.
    pub(super) async fn take(&self, indices: &[usize]) -> Vec<Receipt> {
        loop {
            self.no_heartbeat().await;
            self.expire();
            let mut table = self.table();
            // Heartbeats begin under the same lock, so none can begin between this check and the take.
            if !*self.beating.borrow() {
                return indices.iter().filter_map(|&index| table[index].take()).collect();
            }
        }
    }

    /// Waits until no heartbeat is under way. The next heartbeat skips what was marked before this call.
    async fn no_heartbeat(&self) {
        // The wait cannot fail, because `self` holds the sender.
        let _ = self.beating.subscribe().wait_for(|beating| !beating).await;
    }

    /// Extends the valid leases after each third of their time ([`HEARTBEAT_FRACTION`]), until this future is dropped.
    /// After the process was suspended, leases that have ended are lost at once, and a heartbeat that is due follows at
    /// once.
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
                // Several more attempts fit before the leases end.
                Beat::Again => Instant::now() + (interval / 10).mul_f64(1.0 + fastrand::f64()),
            };
        }
    }

    /// Makes one heartbeat.
    async fn beat(&self, queue: &ChangeVisibility) -> Beat {
        let began = Moment::now();
        let next = Instant::now() + self.length / HEARTBEAT_FRACTION;
        // A longer wait would notice too late that a lease has ended.
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
        // The call is boxed because it is large and most messages are settled before they need one.
        let call = Box::pin(queue.call(&changes));
        let Ok(results) = timeout_at(until, call).await else { return Beat::Again };
        let mut beat = Beat::All;
        for (index, result) in indices.into_iter().zip(results) {
            match result {
                Ok(()) => self.table()[index].receipt.ends = Deadline::after(began, extended.as_duration()),
                Err(EntryError::MayPass(why)) => {
                    tracing::debug!(why, "a heartbeat failed; the worker tries again before the lease ends");
                    beat = Beat::Again;
                }
                Err(error @ (EntryError::SenderFault(_) | EntryError::Denied(_))) => self.lose(index, error.text()),
            }
        }
        beat
    }

    /// Returns the leases to extend as position, receipt handle and the time until which the call may begin. Others see
    /// a heartbeat under way until the returned guard is dropped.
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

    /// Loses the leases that have ended.
    fn expire(&self) {
        let over: Vec<_> = {
            let table = self.table();
            let is_over = |lease: &Lease| lease.state != LeaseState::Gone && lease.receipt.ends.is_over();
            let over = table.iter().enumerate().filter(|(_, lease)| is_over(lease));
            over.map(|(index, _)| index).collect()
        };
        for index in over {
            self.lose(index, "the visibility timeout has ended");
        }
    }

    fn lose(&self, index: usize, why: &str) {
        // The lock is released before the log is written, because writing the log may block.
        let taken = self.table()[index].take();
        // A lease that was taken meanwhile has an owner that settles its message.
        let Some(Receipt { key, .. }) = taken else { return };
        self.lost.send_modify(|lost| lost.leases |= 1 << index);
        tracing::warn!(message_id = %key, why, "lost the lease on a running message; another consumer may receive it");
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

/// Marks a heartbeat as under way until it is dropped.
struct Beating<'a>(&'a watch::Sender<bool>);

impl Drop for Beating<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

/// The result of a heartbeat.
enum Beat {
    All,
    /// Some leases could not be extended and need another heartbeat soon.
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

    /// Returns a queue with a message that was received just now, and its lease.
    async fn leased(sqs: &Sqs) -> (ChangeVisibility, Leases) {
        let client = sqs.client();
        let queue_url = client.create_queue().queue_name("orders").send().await.unwrap().queue_url.unwrap();
        client.send_message().queue_url(&queue_url).message_body("an order").send().await.unwrap();
        let received = client.receive_message().queue_url(&queue_url).send().await.unwrap().messages.unwrap();
        let (now, receipt_handle) = (Moment::now(), received[0].receipt_handle().unwrap().to_owned());
        let receipt = Receipt { key: MessageKey::of("m"), receipt_handle, ends: Deadline::after(now, LEASE) };
        (ChangeVisibility { client, queue_url }, Leases::new([receipt], now, LEASE))
    }

    /// Returns how many messages are visible 31 s after the receive. The process sleeps for `asleep` after 5 s and
    /// stops its heartbeats after 7 s.
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
    async fn a_heartbeat_that_was_due_while_the_process_slept_follows_at_once() {
        assert_eq!(visible_after_sleeping_for(LEASE / 2).await, 0, "the heartbeat hides the message for another 30 s");
        assert_eq!(visible_after_sleeping_for(Duration::ZERO).await, 1, "no heartbeat was due");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_ended_while_the_process_slept_is_not_extended() {
        assert_eq!(
            visible_after_sleeping_for(LEASE * 120).await,
            1,
            "a heartbeat would hide another consumer's message"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_delay_shrinks_while_the_process_sleeps() {
        let (_, leases) = leased(&Sqs::with_seed(1)).await;
        set_wall_clock_ahead(Duration::from_secs(11 * 3_600));
        assert!(leases.max_delay() <= Duration::from_secs(3_600));
        assert!(!leases.is_ours(0) && leases.take(&[0]).await.is_empty(), "there is nothing to release");
    }

    /// A handler that blocks its thread can stop the lane of another message forever, between two steps.
    #[tokio::test(start_paused = true)]
    async fn heartbeats_continue_though_a_waiter_for_one_is_never_polled_again() {
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
        assert!(first_poll.is_pending(), "a heartbeat is under way");
        sqs.set_faults(Faults::none());

        assert!(tokio::time::timeout(2 * LEASE, &mut keeping).await.is_err());
        let visible = receive().send().await.unwrap().messages.unwrap_or_default();
        let bodies: Vec<_> = visible.iter().map(|message| message.body().unwrap()).collect();
        assert_eq!(bodies, ["ends"], "the other message still has its heartbeats");
        assert!(stopped.await, "no heartbeat is under way");
    }
}
