//! Helpers that run batches on Lambda and return the reported records.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use lambda_runtime::LambdaEvent;
use redrive::{Consumer, Context, Error, Event, HandlerKind};
use serde_json::{Value, json};
use tower::Service;

pub(crate) use crate::records::*;

/// Lambda delivers the whole batch at once.
pub(crate) const A_BATCH_MAY_COME_IN_PARTS: bool = false;

pub(crate) const LARGEST_BATCH: usize = 5;

pub(crate) fn event(records: impl IntoIterator<Item = Value>) -> Event {
    event_of(json!({ "Records": records.into_iter().collect::<Vec<_>>() }))
}

/// Deserializes an event as lambda_runtime does.
pub(crate) fn event_of(json: Value) -> Event {
    serde_json::from_str(&json.to_string()).expect("JSON")
}

/// Invokes the consumer without a deadline and returns the reported ids.
pub(crate) async fn answer<K: HandlerKind>(consumer: &Consumer<K>, event: Event) -> Result<Vec<String>, Error> {
    invoke(consumer, event, Context::default()).await
}

/// Invokes the consumer with a deadline and returns the reported ids.
pub(crate) async fn answer_within<K: HandlerKind>(
    consumer: &Consumer<K>,
    event: Event,
    time: Duration,
) -> Result<Vec<String>, Error> {
    let mut context = Context::default();
    let deadline = (SystemTime::now() + time).duration_since(SystemTime::UNIX_EPOCH);
    context.deadline = deadline.unwrap().as_millis().try_into().unwrap();
    invoke(consumer, event, context).await
}

pub(crate) async fn invoke<K: HandlerKind>(
    consumer: &Consumer<K>,
    event: Event,
    context: Context,
) -> Result<Vec<String>, Error> {
    let answer = consumer.clone().call(LambdaEvent::new(event, context)).await?;
    Ok(answer.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect())
}

/// Runs a test's future on a paused clock, which jumps to the next timer.
pub(crate) fn on_paused_clock<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(test)
}

/// Counts the turns of another task in the test's runtime. The task runs whenever it can, until the runtime ends.
pub(crate) fn turns_of_another_task() -> Arc<AtomicUsize> {
    let turns = Arc::new(AtomicUsize::new(0));
    tokio::spawn({
        let turns = turns.clone();
        async move {
            loop {
                turns.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        }
    });
    turns
}
