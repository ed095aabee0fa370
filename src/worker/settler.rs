//! Deletes and releases: together with others, and none forgotten at the end.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

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
    deletes: Coalescer<DeleteMessages>,
    visibility: Coalescer<ChangeVisibility>,
    slots: Arc<Semaphore>,
    /// Where the calls are made.
    host: Handle,
}

impl Settler {
    /// One that makes its calls on this runtime.
    pub(super) fn new(queue: &Queue) -> Self {
        Self {
            deletes: Coalescer::new(queue.deletes()),
            visibility: Coalescer::new(queue.visibility()),
            slots: Arc::new(Semaphore::new(MAX_SETTLING as usize)),
            host: Handle::current(),
        }
    }

    /// Has these messages deleted. The future says whether all were; they are, though it be dropped.
    pub(super) async fn delete(&self, receipts: Vec<Receipt>) -> impl Future<Output = bool> + use<> {
        let left = "a message was processed and is not deleted: it comes back, and is deleted then";
        self.submit(&self.deletes, receipts, |receipt_handle| receipt_handle, left).await
    }

    /// Has these messages visible at once, for whoever polls next.
    pub(super) async fn release(&self, receipts: Vec<Receipt>) -> impl Future<Output = bool> + use<> {
        let left = "a message is not given back: it comes back when its visibility timeout runs out";
        let change = |receipt_handle| Change { receipt_handle, timeout: VisibilityTimeout::ZERO };
        self.submit(&self.visibility, receipts, change, left).await
    }

    async fn submit<C: BatchCall>(
        &self,
        coalescer: &Coalescer<C>,
        receipts: Vec<Receipt>,
        entry: fn(String) -> C::Entry,
        left: &'static str,
    ) -> impl Future<Output = bool> + use<C> {
        let count = u32::try_from(receipts.len()).unwrap_or(MAX_SETTLING);
        let slots = self.slots.clone().acquire_many_owned(count).await.expect("the semaphore is never closed");
        let slots = Arc::new(slots);
        let _host = self.host.enter();
        let submit = |Receipt { message_id, receipt_handle }| {
            let (told, is_done) = oneshot::channel();
            let slots = slots.clone();
            coalescer.submit_then(entry(receipt_handle), move |result| {
                if let Err(error) = &result {
                    tracing::warn!(message_id, error = error.text(), "{left}");
                }
                // Most do not wait for it.
                let _ = told.send(result.is_ok());
                drop(slots);
            });
            is_done
        };
        let all: Vec<_> = receipts.into_iter().map(submit).collect();
        async {
            let mut all_done = true;
            for is_done in all {
                all_done &= is_done.await.unwrap_or(false);
            }
            all_done
        }
    }

    /// Waits until nothing is on its way any more.
    pub(super) async fn flush(&self) {
        let _all = self.slots.acquire_many(MAX_SETTLING).await;
    }
}
