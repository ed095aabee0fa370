//! Deletes and releases: together with others, and none forgotten at the end.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::queue::Queue;
use crate::sqs::coalesce::{BatchCall, Coalescer};
use crate::sqs::delete::DeleteMessages;
use crate::sqs::event::Record;
use crate::sqs::visibility::{Change, ChangeVisibility, VisibilityTimeout};

/// How much may be on its way to the queue. When SQS takes no more, messages keep their permits, and nothing more is polled.
const MAX_SETTLING: u32 = 1_000;

/// A message as it was handed out this time.
#[derive(Clone)]
pub(super) struct Receipt {
    pub(super) message_id: String,
    pub(super) receipt_handle: String,
}

impl Receipt {
    pub(super) fn of(record: &Record) -> Self {
        Self { message_id: record.message_id().to_owned(), receipt_handle: record.receipt_handle().to_owned() }
    }
}

pub(super) struct Settler {
    deletes: Arc<Coalescer<DeleteMessages>>,
    visibility: Arc<Coalescer<ChangeVisibility>>,
    slots: Arc<Semaphore>,
    /// Where the calls are made.
    host: Handle,
}

impl Settler {
    /// One that makes its calls on this runtime.
    pub(super) fn new(queue: &Queue) -> Self {
        Self {
            deletes: Arc::new(Coalescer::new(queue.deletes())),
            visibility: Arc::new(Coalescer::new(queue.visibility())),
            slots: Arc::new(Semaphore::new(MAX_SETTLING as usize)),
            host: Handle::current(),
        }
    }

    /// Has these messages deleted. The task says whether all were.
    pub(super) async fn delete(&self, receipts: Vec<Receipt>) -> JoinHandle<bool> {
        let left = "a message was processed and is not deleted: it comes back, and is deleted then";
        self.submit(self.deletes.clone(), receipts, |receipt_handle| receipt_handle, left).await
    }

    /// Has these messages visible at once, for whoever polls next.
    pub(super) async fn release(&self, receipts: Vec<Receipt>) -> JoinHandle<bool> {
        let left = "a message is not given back: it comes back when its visibility timeout runs out";
        let change = |receipt_handle| Change { receipt_handle, timeout: VisibilityTimeout::ZERO };
        self.submit(self.visibility.clone(), receipts, change, left).await
    }

    async fn submit<C: BatchCall>(
        &self,
        coalescer: Arc<Coalescer<C>>,
        receipts: Vec<Receipt>,
        entry: fn(String) -> C::Entry,
        left: &'static str,
    ) -> JoinHandle<bool> {
        let slot = self.slots.clone().acquire_owned().await.expect("the semaphore is never closed");
        self.host.spawn(async move {
            let _slot = slot;
            let submit = |receipt: Receipt| (receipt.message_id, coalescer.submit(entry(receipt.receipt_handle)));
            let submitted: Vec<_> = receipts.into_iter().map(submit).collect();
            let mut all = true;
            for (message_id, result) in submitted {
                if let Err(error) = result.await {
                    all = false;
                    tracing::warn!(message_id, error = error.text(), "{left}");
                }
            }
            all
        })
    }

    /// Waits until nothing is on its way any more.
    pub(super) async fn flush(&self) {
        let _all = self.slots.acquire_many(MAX_SETTLING).await;
    }
}
