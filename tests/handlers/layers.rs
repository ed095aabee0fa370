//! Tests tower layers around each record.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redrive::{Body, BoxError, Outcome, Record, RecordService};
use tokio::time::sleep;
use tower::limit::ConcurrencyLimitLayer;
use tower::timeout::TimeoutLayer;

use crate::kit::{answer, event, on_paused_clock, record};

#[test]
fn timeout_fails_only_its_record() {
    on_paused_clock(async {
        async fn sleeps(Body(seconds): Body) {
            sleep(Duration::from_secs(seconds.parse().unwrap())).await;
        }
        let consumer = redrive::handler(sleeps).layer(TimeoutLayer::new(Duration::from_secs(5)));
        let batch = ["1", "60", "2"].map(|seconds| record(seconds, seconds));
        assert_eq!(answer(&consumer, event(batch)).await.unwrap(), ["60"]);
    });
}

/// Returns a layer that notes each record that passes.
fn noting(
    name: &'static str,
    notes: &Arc<Mutex<Vec<&'static str>>>,
) -> impl tower::Layer<RecordService, Service = RecordService> + use<> {
    let notes = notes.clone();
    tower::layer::layer_fn(move |service: RecordService| {
        let notes = notes.clone();
        RecordService::new(tower::util::MapRequest::new(service, move |record: Record| {
            notes.lock().unwrap().push(name);
            record
        }))
    })
}

#[tokio::test]
async fn last_added_layer_is_the_outermost() {
    async fn handler() {}
    let notes = Arc::default();
    let consumer = redrive::handler(handler).layer(noting("inner", &notes)).layer(noting("outer", &notes));
    answer(&consumer, event([record("1", "")])).await.unwrap();
    assert_eq!(*notes.lock().unwrap(), ["outer", "inner"]);
}

#[test]
fn limit_is_shared_by_all_records_of_all_clones() {
    on_paused_clock(async {
        let running = Arc::new(AtomicUsize::new(0));
        let consumer = redrive::handler(move || {
            let running = running.clone();
            async move {
                assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "the limit is one");
                sleep(Duration::from_secs(1)).await;
                running.fetch_sub(1, Ordering::SeqCst);
            }
        });
        let consumer = consumer.layer(ConcurrencyLimitLayer::new(1));
        let batch = || event(["1", "2", "3"].map(|id| record(id, "")));
        let (first, second) = tokio::join!(answer(&consumer, batch()), answer(&consumer, batch()));
        assert!(first.unwrap().is_empty() && second.unwrap().is_empty());
    });
}

async fn fails() -> Result<(), String> {
    Err("hopeless".into())
}

/// A classified error counts only if it leaves the last layer. An error that a layer puts in its place is a retry.
#[tokio::test]
async fn error_of_a_layer_replaces_the_classified_outcome() {
    let consumer = redrive::handler(fails).classify(|_| Outcome::Discard("hopeless".into()));
    assert!(answer(&consumer, event([record("1", "")])).await.unwrap().is_empty());
    let replacing = tower::layer::layer_fn(|service: RecordService| {
        tower::util::MapErr::new(service, |_: BoxError| BoxError::from("another error"))
    });
    assert_eq!(answer(&consumer.layer(replacing), event([record("1", "")])).await.unwrap(), ["1"]);
}

#[tokio::test]
async fn layer_gets_the_handlers_own_error() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let watching = {
        let seen = seen.clone();
        tower::layer::layer_fn(move |service: RecordService| {
            let seen = seen.clone();
            tower::util::MapErr::new(service, move |error: BoxError| {
                seen.lock().unwrap().push(error.to_string());
                error
            })
        })
    };
    let consumer = redrive::handler(fails).layer(watching);
    answer(&consumer, event([record("1", "")])).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["hopeless"]);
}
