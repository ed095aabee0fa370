//! Records, batches and their answers, in the words of the tests.

use std::future::Future;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime};

use lambda_runtime::LambdaEvent;
use redrive::{Consumer, Context, Error, Event, Kind};
use serde_json::{Value, json};
use tower::Service;

pub(crate) const STANDARD: &str = "arn:aws:sqs:eu-west-1:123456789012:orders";
pub(crate) const FIFO: &str = "arn:aws:sqs:eu-west-1:123456789012:orders.fifo";

/// A record of a standard queue.
pub(crate) fn record(id: &str, body: &str) -> Value {
    json!({
        "messageId": id,
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1545082649183",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1545082649185"
        },
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": STANDARD,
        "awsRegion": "eu-west-1"
    })
}

/// A record of a FIFO queue.
pub(crate) fn fifo_record(id: &str, group: &str, body: &str) -> Value {
    let mut record = with_attribute(record(id, body), "MessageGroupId", group);
    record["eventSourceARN"] = json!(FIFO);
    record
}

pub(crate) fn with_attribute(mut record: Value, name: &str, value: &str) -> Value {
    record["attributes"][name] = json!(value);
    record
}

/// The same record with another value in one place, or with none if that is `None`.
pub(crate) fn with(mut record: Value, key: &str, value: impl Into<Option<Value>>) -> Value {
    let fields = record.as_object_mut().expect("a record is an object");
    match value.into() {
        Some(value) => fields.insert(key.to_owned(), value),
        None => fields.remove(key),
    };
    record
}

pub(crate) fn event(records: impl IntoIterator<Item = Value>) -> Event {
    event_of(json!({ "Records": records.into_iter().collect::<Vec<_>>() }))
}

/// As lambda_runtime makes it.
pub(crate) fn event_of(json: Value) -> Event {
    serde_json::from_str(&json.to_string()).expect("JSON")
}

/// Invokes the consumer without a deadline, and returns what it reports.
pub(crate) async fn answer<K: Kind>(consumer: &Consumer<K>, event: Event) -> Result<Vec<String>, Error> {
    invoke(consumer, event, Context::default()).await
}

/// Invokes the consumer with so much time to answer.
pub(crate) async fn answer_within<K: Kind>(
    consumer: &Consumer<K>,
    event: Event,
    time: Duration,
) -> Result<Vec<String>, Error> {
    let mut context = Context::default();
    let deadline = (SystemTime::now() + time).duration_since(SystemTime::UNIX_EPOCH);
    context.deadline = deadline.unwrap().as_millis().try_into().unwrap();
    invoke(consumer, event, context).await
}

pub(crate) async fn invoke<K: Kind>(
    consumer: &Consumer<K>,
    event: Event,
    context: Context,
) -> Result<Vec<String>, Error> {
    let answer = consumer.clone().call(LambdaEvent::new(event, context)).await?;
    Ok(answer.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect())
}

/// Runs a test's future on a clock that jumps to the next thing due.
pub(crate) fn on_paused_clock<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(test)
}

/// Counts the turns that another task of the test's runtime gets. It takes all it can, until the runtime ends.
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

/// Panics that a test means to happen say so in their message, and are kept out of the output.
pub(crate) const INTENDED: &str = "intended panic";

pub(crate) fn quiet_intended_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !info.payload_as_str().is_some_and(|message| message.contains(INTENDED)) {
                previous(info);
            }
        }));
    });
}
