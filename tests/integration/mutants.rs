//! What a change could break unnoticed: each of these was written for a mutant of the source that all other tests let pass.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task;
use std::time::Duration;

use redrive::*;
use serde_json::json;
use tower::Service;

use crate::kit::*;
use crate::panics::{Worst, WorstError, panic_if, reported};

#[tokio::test]
async fn what_is_no_object_is_handed_to_no_handler() {
    async fn nothing() {}
    async fn any(records: Vec<Record>) -> Vec<()> {
        vec![(); records.len()]
    }
    for odd in [json!(null), json!(7), json!("x"), json!([]), json!(true)] {
        let batch = || event([record("1", ""), odd.clone()]);
        assert!(answer(&redrive::handler(nothing), batch()).await.unwrap_err().is_unreportable(), "{odd}");
        assert!(answer(&redrive::batch(any), batch()).await.unwrap_err().is_unreportable(), "{odd}");
    }
}

#[tokio::test]
async fn in_a_batch_handler_it_does_not_end_the_lane() {
    async fn bulk(bodies: Vec<Body>) -> Vec<()> {
        panic_if(bodies.iter().any(|Body(body)| body == "panic"));
        vec![(); bodies.len()]
    }
    assert_eq!(reported(&redrive::batch(bulk).chunk_size(1).concurrency(1)).await, ["2"]);
}

#[tokio::test]
async fn in_an_error_of_a_batch_handler() {
    for worst in [Worst::Display, Worst::Source, Worst::Drop] {
        let consumer = redrive::batch(move |bodies: Vec<Body>| async move {
            let answer = |Body(body)| if body == "panic" { Err(WorstError(worst)) } else { Ok(()) };
            bodies.into_iter().map(answer).collect::<Vec<_>>()
        });
        assert_eq!(reported(&consumer).await, ["2"], "{worst:?}");
        assert_eq!(reported(&consumer.chunk_size(1).concurrency(1)).await, ["2"], "{worst:?}");
    }
}

/// A layer's service that a panic leaves in pieces.
#[derive(Clone)]
struct Fragile {
    inner: RecordService,
    in_call: bool,
}

impl Service<Record> for Fragile {
    type Response = Outcome;
    type Error = BoxError;
    type Future = <RecordService as Service<Record>>::Future;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> task::Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, record: Record) -> Self::Future {
        panic_if(std::mem::replace(&mut self.in_call, true));
        panic_if(record.body().unwrap().as_deref() == Some("panic"));
        self.in_call = false;
        self.inner.call(record)
    }
}

#[tokio::test]
async fn a_service_that_panicked_is_not_called_again() {
    async fn handler() {}
    let fragile = tower::layer::layer_fn(|inner| Fragile { inner, in_call: false });
    assert_eq!(reported(&redrive::handler(handler).layer(fragile).concurrency(1)).await, ["2"]);
}

/// A layer's service that panics when it is dropped, once it was called.
struct PanicsInDropOnceUsed(RecordService, bool);

impl Clone for PanicsInDropOnceUsed {
    fn clone(&self) -> Self {
        Self(self.0.clone(), false)
    }
}

impl Drop for PanicsInDropOnceUsed {
    fn drop(&mut self) {
        panic_if(self.1 && !std::thread::panicking());
    }
}

impl Service<Record> for PanicsInDropOnceUsed {
    type Response = Outcome;
    type Error = BoxError;
    type Future = <RecordService as Service<Record>>::Future;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> task::Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, record: Record) -> Self::Future {
        self.1 = true;
        self.0.call(record)
    }
}

#[test]
fn in_drop_of_a_layers_service_it_costs_nothing() {
    async fn sleeps(Body(body): Body) {
        tokio::time::sleep(Duration::from_secs(body.parse().unwrap())).await;
    }
    quiet_intended_panics();
    on_paused_clock(async {
        let layer = tower::layer::layer_fn(|service| PanicsInDropOnceUsed(service, false));
        let batch = ["0", "1", "2"].map(|seconds| record(seconds, seconds));
        assert!(answer(&redrive::handler(sleeps).layer(layer), event(batch)).await.unwrap().is_empty());
    });
}

#[tokio::test]
async fn an_option_holds_whatever_is_set_after_it() {
    async fn fails(_: State<()>) -> Result<(), String> {
        Err("busy".into())
    }
    let consumer = redrive::handler(fails).fail_batch_on_any_failure().with_state(());
    let consumer = consumer.classify(|_| Outcome::Retry).layer(tower::layer::util::Identity::new());
    assert!(answer(&consumer, event([record("1", "")])).await.unwrap_err().is_batch_failed());

    async fn all_fail(_: State<()>, _: Vec<Body>) -> Result<(), String> {
        Err("busy".into())
    }
    let consumer = redrive::batch(all_fail).fail_batch_on_any_failure().chunk_size(1).with_state(());
    let consumer = consumer.classify(|_| Outcome::Retry);
    assert!(answer(&consumer, event([record("1", "")])).await.unwrap_err().is_batch_failed());
}

#[tokio::test]
async fn an_option_holds_for_a_consumer_that_was_used_before() {
    async fn fails() -> Outcome {
        Outcome::Retry
    }
    let consumer = redrive::handler(fails);
    assert_eq!(answer(&consumer, event([record("1", "")])).await.unwrap(), ["1"]);
    let consumer = consumer.fail_batch_on_any_failure();
    assert!(answer(&consumer, event([record("1", "")])).await.unwrap_err().is_batch_failed());
}

#[tokio::test]
async fn copies_count_as_what_they_are_copies_of() {
    async fn fails() -> Outcome {
        Outcome::Retry
    }
    let batch = event([record("1", ""), record("1", "")]);
    let error = answer(&redrive::handler(fails).error_when_all_fail(), batch).await.unwrap_err();
    assert!(error.to_string().starts_with("2 of 2 records failed"), "{error}");
}

#[tokio::test]
async fn an_error_may_be_classified_as_done() {
    async fn fails() -> Result<(), String> {
        Err("was there before".into())
    }
    let consumer = redrive::handler(fails).classify(|_| Outcome::Done);
    assert!(answer(&consumer, event([record("1", "")])).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_chunk_size_of_zero_is_one() {
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let consumer = redrive::batch({
        let sizes = sizes.clone();
        move |bodies: Vec<Body>| {
            sizes.lock().unwrap().push(bodies.len());
            std::future::ready(vec![(); bodies.len()])
        }
    });
    let batch = ["1", "2"].map(|id| record(id, ""));
    assert!(answer(&consumer.chunk_size(0), event(batch)).await.unwrap().is_empty());
    assert_eq!(*sizes.lock().unwrap(), [1, 1]);
}

#[tokio::test]
async fn a_handler_is_not_called_for_nothing() {
    async fn never(_: Vec<Json<u32>>) -> Vec<()> {
        panic!("there is nothing to work on")
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let consumer = redrive::batch({
        let calls = calls.clone();
        move |numbers: Vec<Json<u32>>| {
            calls.fetch_add(1, Ordering::SeqCst);
            never(numbers)
        }
    });
    let batch = ["1", "2"].map(|id| record(id, "bad"));
    assert_eq!(answer(&consumer, event(batch)).await.unwrap(), ["1", "2"]);
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_error_for_one_record_is_classified() {
    async fn by_body(bodies: Vec<Body>) -> Vec<Result<(), String>> {
        bodies.into_iter().map(|Body(body)| if body == "ok" { Ok(()) } else { Err(body) }).collect()
    }
    let stale_is_discarded = |error: &String| match error.as_str() {
        "stale" => Outcome::Discard("stale".into()),
        _ => Outcome::Retry,
    };
    let batch = ["ok", "stale", "busy"].map(|body| record(body, body));
    let consumer = redrive::batch(by_body).classify(stale_is_discarded);
    assert_eq!(answer(&consumer, event(batch)).await.unwrap(), ["busy"]);
}

#[test]
fn chunks_that_are_not_full_have_a_lane_too() {
    on_paused_clock(async {
        async fn sleeps(bodies: Vec<Body>) -> Vec<()> {
            tokio::time::sleep(Duration::from_secs(1)).await;
            vec![(); bodies.len()]
        }
        let began = tokio::time::Instant::now();
        let batch = ["1", "2", "3"].map(|id| record(id, ""));
        assert!(answer(&redrive::batch(sleeps).chunk_size(2), event(batch)).await.unwrap().is_empty());
        assert_eq!(began.elapsed().as_secs(), 1);
    });
}

#[tokio::test]
async fn a_long_batch_of_chunks_gives_way_to_other_tasks() {
    let turns = Arc::new(AtomicUsize::new(0));
    let other = tokio::spawn({
        let turns = turns.clone();
        async move {
            loop {
                turns.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        }
    });
    let seen = Arc::new(Mutex::new(Vec::new()));
    let consumer = redrive::batch({
        let seen = seen.clone();
        move |bodies: Vec<Body>| {
            seen.lock().unwrap().push(turns.load(Ordering::SeqCst));
            std::future::ready(vec![(); bodies.len()])
        }
    });
    let batch = (0..5).map(|id| record(&id.to_string(), ""));
    assert!(answer(&consumer.chunk_size(1).concurrency(1), event(batch)).await.unwrap().is_empty());
    other.abort();
    let seen = seen.lock().unwrap();
    assert!(seen[4] >= seen[0] + 3, "{seen:?}");
}

#[tokio::test]
async fn a_queue_is_fifo_by_the_end_of_its_name() {
    async fn by_body(Body(body): Body) -> Outcome {
        if body == "fail" { Outcome::Retry } else { Outcome::Done }
    }
    let standard = json!("arn:aws:sqs:eu-west-1:123456789012:fifo-to-be");
    let batch = [fifo_record("1", "a", "fail"), fifo_record("2", "a", "ok")];
    let batch = batch.map(|record| with(record, "eventSourceARN", standard.clone()));
    assert_eq!(answer(&redrive::handler(by_body), event(batch)).await.unwrap(), ["1"]);
}

mod extractors {
    use super::*;
    use crate::extractors::extract;

    #[derive(Debug)]
    struct Priority;

    impl FromAttribute for Priority {
        const NAME: &'static str = "priority";

        fn from_attribute(value: AttributeValue) -> Result<Self, BoxError> {
            assert!(!format!("{value:?}").contains("high"), "a value is private");
            value.as_str().ok_or("a priority is a number")?.parse::<u8>()?;
            Ok(Self)
        }
    }

    /// An `Option` must not make nothing of what is malformed: the handler would go on without it.
    #[tokio::test]
    async fn malformed_is_not_none_wherever_it_is() {
        let odd = |key: &str| with(record("1", ""), key, json!(7));
        assert_eq!(extract::<Option<Body>>(odd("body")).await, None);
        assert_eq!(extract::<Option<ReceiptHandle>>(odd("receiptHandle")).await, None);
        assert_eq!(extract::<Option<QueueArn>>(odd("eventSourceARN")).await, None);
        assert_eq!(
            extract::<Option<GroupId>>(with(record("1", ""), "attributes", json!({ "MessageGroupId": 7 }))).await,
            None
        );
        let mut high = record("1", "");
        high["messageAttributes"]["priority"] = json!({ "stringValue": "high", "dataType": "Number" });
        assert_eq!(extract::<Option<Attribute<Priority>>>(high).await, None);
    }

    #[tokio::test]
    async fn null_is_absent() {
        let null = |key: &str| with(record("1", ""), key, json!(null));
        for key in ["body", "attributes", "messageAttributes", "receiptHandle", "eventSourceARN"] {
            let seen = extract::<(
                Option<Body>,
                Option<GroupId>,
                Option<Attribute<Priority>>,
                Option<ReceiptHandle>,
                Option<QueueArn>,
            )>(null(key))
            .await;
            assert!(seen.is_some_and(|seen| seen.contains("None")), "{key}");
        }
        let seen =
            extract::<Option<GroupId>>(with(record("1", ""), "attributes", json!({ "MessageGroupId": null }))).await;
        assert_eq!(seen.as_deref(), Some("None"));
    }

    #[tokio::test]
    async fn a_subscription_to_be_confirmed_is_no_message() {
        let confirmation = json!({
            "Type": "SubscriptionConfirmation",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": "arn:x",
            "Message": "7",
            "Timestamp": "2012-05-02T00:54:06.655Z"
        });
        assert_eq!(extract::<Sns<u32>>(record("1", &confirmation.to_string())).await, None);
    }
}

#[tokio::test]
async fn no_host_is_an_error_of_the_environment() {
    async fn nothing() {}
    let error = redrive::run(nothing).await.unwrap_err();
    assert!(error.is_environment() && !error.is_host());
}
