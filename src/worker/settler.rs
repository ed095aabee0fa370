//! Deletes and releases messages in batched calls, and waits for all of them at the end.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use super::queue::WorkerQueue;
use super::recently_seen::{MessageKey, RecentlySeen};
use crate::moment::Deadline;
use crate::record::ReceivedMessage;
use crate::sqs::coalesce::{BatchCall, Coalescer};
use crate::sqs::delete::DeleteMessages;
use crate::sqs::entries::EntryError;
use crate::sqs::visibility::{Change, ChangeVisibility, VisibilityTimeout};

/// The most messages whose deletes and releases are under way. If SQS accepts no more, messages keep their permits, and
/// the worker stops polling.
const MAX_SETTLING: u32 = 1_000;

/// The receipt of a message from one receive.
#[derive(Clone)]
pub(super) struct Receipt {
    pub(super) key: MessageKey,
    pub(super) receipt_handle: String,
    /// When the lease ends, as SQS has confirmed it. After that the receipt may be useless, although SQS accepts it.
    pub(super) ends: Deadline,
}

impl Receipt {
    pub(super) fn of(key: MessageKey, message: &ReceivedMessage, ends: Deadline) -> Self {
        Self { key, receipt_handle: message.receipt_handle.clone(), ends }
    }
}

/// Permits for a number of messages under way. Callers wait for them first and then hand over their receipts without an
/// await. A caller that is dropped while it waits has therefore taken nothing.
pub(super) struct SettlerPermits {
    _slots: OwnedSemaphorePermit,
}

/// Messages of one submission, until SQS has answered for the last of them.
struct Settling {
    _permits: SettlerPermits,
    /// The number of messages that are not known to be settled.
    open: AtomicUsize,
    /// Receives whether all are settled, if a caller waits.
    all_done: Option<oneshot::Sender<bool>>,
}

impl Settling {
    fn new(permits: SettlerPermits, messages: usize, all_done: Option<oneshot::Sender<bool>>) -> Self {
        Self { _permits: permits, open: AtomicUsize::new(messages), all_done }
    }

    fn note(&self, is_done: bool) {
        self.open.fetch_sub(usize::from(is_done), Ordering::AcqRel);
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        if let Some(all_done) = self.all_done.take() {
            // The caller may have stopped waiting.
            let _ = all_done.send(*self.open.get_mut() == 0);
        }
    }
}

pub(super) struct Settler {
    deletes: Coalescer<DeleteMessages>,
    visibility: Coalescer<ChangeVisibility>,
    slots: Arc<Semaphore>,
    /// Learns which messages are deleted and which are not.
    recently_seen: Arc<Mutex<RecentlySeen>>,
    /// The runtime that makes the calls.
    host: Handle,
}

impl Settler {
    /// Returns a settler that makes its calls on the current runtime.
    pub(super) fn new(queue: &WorkerQueue, recently_seen: Arc<Mutex<RecentlySeen>>) -> Self {
        Self {
            deletes: Coalescer::new(queue.deletes()),
            visibility: Coalescer::new(queue.visibility()),
            slots: Arc::new(Semaphore::new(MAX_SETTLING as usize)),
            recently_seen,
            host: Handle::current(),
        }
    }

    /// Waits until this many more messages may be under way.
    pub(super) async fn permits(&self, messages: usize) -> SettlerPermits {
        let messages = u32::try_from(messages).unwrap_or(MAX_SETTLING).min(MAX_SETTLING);
        // An acquire fails only on a closed semaphore. The settler owns this one and never closes it.
        SettlerPermits {
            _slots: self.slots.clone().acquire_many_owned(messages).await.expect("the semaphore is never closed"),
        }
    }

    /// Deletes these messages.
    pub(super) fn delete(&self, permits: SettlerPermits, receipts: Vec<Receipt>) {
        self.submit_deletes(permits, receipts, None);
    }

    /// Deletes these messages. The future returns whether all were deleted. If it is dropped, the messages are deleted
    /// too.
    pub(super) fn delete_all(
        &self,
        permits: SettlerPermits,
        receipts: Vec<Receipt>,
    ) -> impl Future<Output = bool> + use<> {
        let (sender, all_done) = oneshot::channel();
        self.submit_deletes(permits, receipts, Some(sender));
        async { all_done.await.unwrap_or(false) }
    }

    fn submit_deletes(&self, permits: SettlerPermits, receipts: Vec<Receipt>, all_done: Option<oneshot::Sender<bool>>) {
        let recently_seen = self.recently_seen.clone();
        let report = move |key: &MessageKey, ends: Deadline, result: &Result<(), EntryError>| {
            // With a receipt that is too old, SQS reports a delete and deletes nothing.
            let error = match result {
                Ok(()) if ends.is_over() => Some("the lease had ended, and SQS may have deleted nothing"),
                Ok(()) => None,
                Err(error) => Some(error.text()),
            };
            let is_deleted = error.is_none();
            recently_seen.lock().unwrap_or_else(PoisonError::into_inner).deleted(key, is_deleted, Instant::now());
            if let Some(error) = error {
                tracing::warn!(
                    message_id = %key,
                    error,
                    "failed to delete a processed message; the worker deletes it when it comes back"
                );
            }
            is_deleted
        };
        let settling = Settling::new(permits, receipts.len(), all_done);
        self.submit(&self.deletes, settling, receipts, |Receipt { receipt_handle, .. }| receipt_handle, report);
    }

    /// Makes these messages visible at once, for the next consumer that polls.
    pub(super) fn release(&self, permits: SettlerPermits, receipts: Vec<Receipt>) {
        let report = |key: &MessageKey, _: Deadline, result: &Result<(), EntryError>| {
            if let Err(error) = result {
                let error = error.text();
                tracing::warn!(
                    message_id = %key,
                    error,
                    "failed to release a message; it becomes visible when its visibility timeout ends"
                );
            }
            result.is_ok()
        };
        let settling = Settling::new(permits, receipts.len(), None);
        // After the lease, another consumer may have the message, and a release would take it away from there.
        let change = |Receipt { receipt_handle, ends, .. }| Change::new(receipt_handle, VisibilityTimeout::ZERO, ends);
        self.submit(&self.visibility, settling, receipts, change, report);
    }

    /// Submits an entry for each receipt. `report` returns whether the message is settled.
    fn submit<C: BatchCall, T: Fn(&MessageKey, Deadline, &Result<(), EntryError>) -> bool + Clone + Send + 'static>(
        &self,
        coalescer: &Coalescer<C>,
        settling: Settling,
        receipts: Vec<Receipt>,
        entry: fn(Receipt) -> C::Entry,
        report: T,
    ) {
        let settling = Arc::new(settling);
        let _host = self.host.enter();
        for receipt in receipts {
            let (settling, report) = (settling.clone(), report.clone());
            let (key, ends) = (receipt.key.clone(), receipt.ends);
            coalescer.submit_then(entry(receipt), move |result| settling.note(report(&key, ends, &result)));
        }
    }

    /// Waits until no call is under way.
    pub(super) async fn flush(&self) {
        let _all = self.slots.acquire_many(MAX_SETTLING).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::moment::{Moment, set_wall_clock_ahead};
    use crate::worker::handle::WorkerHandle;
    use crate::worker::health::Health;
    use crate::worker::recently_seen::Known;
    use redrive_local::Sqs;

    #[tokio::test(start_paused = true)]
    async fn a_delete_after_the_end_of_its_lease_does_not_count_as_deleted() {
        let client = Sqs::with_seed(1).client();
        let url = client.create_queue().queue_name("orders").send().await.unwrap().queue_url.unwrap();
        client.send_message().queue_url(&url).message_body("an order").send().await.unwrap();
        let health = Health::new(WorkerHandle::default());
        let queue = WorkerQueue::find(&client, url.clone(), None, Duration::ZERO, &health).await.unwrap();
        for (asleep, is_deleted) in [(Duration::from_secs(3_600), false), (Duration::ZERO, true)] {
            client.send_message().queue_url(&url).message_body("an order").send().await.unwrap();
            let received = client.receive_message().queue_url(&url).send().await.unwrap().messages.unwrap();
            let receipt_handle = received[0].receipt_handle().unwrap().to_owned();
            let settler = Settler::new(&queue, Arc::new(Mutex::new(RecentlySeen::new(Duration::from_secs(30)))));
            let ends = Deadline::after(Moment::now(), Duration::from_secs(30));
            set_wall_clock_ahead(asleep);
            let receipt = Receipt { key: MessageKey::of("m"), receipt_handle, ends };
            assert_eq!(
                settler.delete_all(settler.permits(1).await, vec![receipt]).await,
                is_deleted,
                "SQS confirms each delete"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_undeleted_message_is_remembered_longer_than_a_deleted_one() {
        let client = Sqs::with_seed(1).client();
        let url = client.create_queue().queue_name("orders").send().await.unwrap().queue_url.unwrap();
        client.send_message().queue_url(&url).message_body("an order").send().await.unwrap();
        let mut received = client.receive_message().queue_url(&url).send().await.unwrap();
        let queue =
            WorkerQueue::find(&client, url, None, Duration::ZERO, &Health::new(WorkerHandle::default())).await.unwrap();
        let recently_seen = Arc::new(Mutex::new(RecentlySeen::new(Duration::from_secs(30))));
        let settler = Settler::new(&queue, recently_seen.clone());
        let (deleted, left, now) = (MessageKey::of("deleted"), MessageKey::of("left"), Instant::now());
        let ends = Deadline::after(Moment::now(), Duration::from_secs(30));
        let receipts = vec![
            Receipt {
                key: deleted.clone(),
                receipt_handle: received.messages.take().unwrap()[0].receipt_handle.take().unwrap(),
                ends,
            },
            Receipt { key: left.clone(), receipt_handle: "none".to_owned(), ends },
        ];
        for receipt in &receipts {
            recently_seen.lock().unwrap().done(&receipt.key, now);
        }
        assert!(!settler.delete_all(settler.permits(2).await, receipts).await, "one of them is not deleted");
        let mut recently_seen = recently_seen.lock().unwrap();
        for number in 0..100_000 {
            recently_seen.done(&MessageKey::Uuid(number), now);
            recently_seen.deleted(&MessageKey::Uuid(number), true, now);
        }
        assert_eq!(recently_seen.receive(&left, now), Known::Done);
        assert_eq!(recently_seen.receive(&deleted, now), Known::Nothing);
    }
}
