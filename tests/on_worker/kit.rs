//! Hands a batch to a worker message by message, from a queue that records which messages were deleted.

use std::cell::Cell;
use std::future::Future;
use std::thread;
use std::time::Duration;

use redrive::{Consumer, Error, HandlerKind};
use serde_json::Value;

use crate::messages::{LEASE, Messages};

pub(crate) use crate::records::*;

/// A worker takes at most as many messages at once as may run, and they form its batch.
pub(crate) const A_BATCH_MAY_COME_IN_PARTS: bool = true;

/// Running a worker for each batch is slow, so fewer batches are tested than on Lambda, which tests all batches of
/// five.
pub(crate) const LARGEST_BATCH: usize = 4;

pub(crate) fn event(records: impl IntoIterator<Item = Value>) -> Vec<Value> {
    records.into_iter().collect()
}

/// Runs the consumer as a worker until it is idle, and returns the messages that were not deleted.
pub(crate) async fn answer<K: HandlerKind>(consumer: &Consumer<K>, event: Vec<Value>) -> Result<Vec<String>, Error> {
    on_its_clock(consumer, event, Messages::settled).await
}

/// Shuts the worker down after that time, with no time left for handlers.
pub(crate) async fn answer_within<K: HandlerKind>(
    consumer: &Consumer<K>,
    event: Vec<Value>,
    time: Duration,
) -> Result<Vec<String>, Error> {
    on_its_clock(consumer, event, async move |_| tokio::time::sleep(time).await).await
}

/// Runs on a paused clock, whichever clock the test uses, because a worker's waits are long.
async fn on_its_clock<K: HandlerKind>(
    consumer: &Consumer<K>,
    event: Vec<Value>,
    end: impl AsyncFnOnce(Messages) + Send + 'static,
) -> Result<Vec<String>, Error> {
    let (consumer, messages) = (consumer.clone(), Messages::new(event));
    if IS_PAUSED.get() {
        return run(consumer, messages, end).await;
    }
    thread::spawn(|| on_paused_clock(run(consumer, messages, end))).join().expect("a worker does not panic")
}

async fn run<K: HandlerKind>(
    consumer: Consumer<K>,
    messages: Messages,
    end: impl AsyncFnOnce(Messages),
) -> Result<Vec<String>, Error> {
    let worker = consumer.worker(messages.client(), "http://sqs.localhost/orders");
    let worker = worker.visibility_timeout(LEASE).drain_timeout(Duration::ZERO);
    worker.run_until(end(messages.clone())).await?;
    Ok(messages.not_deleted())
}

thread_local! {
    static IS_PAUSED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a test's future on a clock that jumps to the next timer.
pub(crate) fn on_paused_clock<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    IS_PAUSED.set(true);
    let result = runtime.block_on(test);
    IS_PAUSED.set(false);
    result
}
