//! Tests that a panic fails only its record, in every place where user code runs.

use std::error::Error as StdError;
use std::fmt;
use std::task;
use std::time::Duration;

use redrive::{Body, BoxError, Consumer, FromRecord, HandlerKind, Outcome, Record, RecordService, Rejection};
use tower::Service;

use crate::kit::{INTENDED, answer, answer_within, event, on_paused_clock, quiet_intended_panics, record};

/// Runs three records, of which the second one panics, and returns the reported ids.
async fn reported<K: HandlerKind>(consumer: &Consumer<K>) -> Vec<String> {
    quiet_intended_panics();
    let records = [record("1", "ok"), record("2", "panic"), record("3", "ok")];
    answer(consumer, event(records)).await.unwrap()
}

fn panic_if(condition: bool) {
    assert!(!condition, "{INTENDED}");
}

struct PanicsInDrop(bool);

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic_if(self.0 && !std::thread::panicking());
    }
}

#[tokio::test]
async fn panic_in_the_handler_fails_its_record() {
    async fn at_once(Body(body): Body) {
        panic_if(body == "panic");
    }
    async fn after_a_wait(Body(body): Body) {
        tokio::task::yield_now().await;
        panic_if(body == "panic");
    }
    fn before_the_future(Body(body): Body) -> impl Future<Output = ()> {
        panic_if(body == "panic");
        std::future::ready(())
    }
    assert_eq!(reported(&redrive::handler(at_once)).await, ["2"]);
    assert_eq!(reported(&redrive::handler(after_a_wait)).await, ["2"]);
    assert_eq!(reported(&redrive::handler(before_the_future)).await, ["2"]);
}

#[tokio::test]
async fn lane_continues_after_a_panic() {
    async fn at_once(Body(body): Body) {
        panic_if(body == "panic");
    }
    assert_eq!(reported(&redrive::handler(at_once).concurrency(1)).await, ["2"]);
}

struct PanicsWhenExtracted;

impl<S: Sync> FromRecord<S> for PanicsWhenExtracted {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        panic_if(record.body().unwrap().as_deref() == Some("panic"));
        Ok(Self)
    }
}

#[tokio::test]
async fn panic_in_an_extractor_fails_its_record() {
    async fn handler(_: PanicsWhenExtracted) {}
    assert_eq!(reported(&redrive::handler(handler)).await, ["2"]);
    async fn bulk(items: Vec<PanicsWhenExtracted>) -> Vec<()> {
        vec![(); items.len()]
    }
    assert_eq!(reported(&redrive::batch(bulk)).await, ["2"]);
}

#[tokio::test]
async fn panic_in_drop_fails_its_record() {
    async fn handler(Body(body): Body) {
        let _held = PanicsInDrop(body == "panic");
        tokio::task::yield_now().await;
    }
    assert_eq!(reported(&redrive::handler(handler)).await, ["2"]);
}

#[test]
fn panic_in_drop_of_a_cancelled_handler_fails_its_record() {
    async fn handler(Body(body): Body) {
        let _held = PanicsInDrop(body == "panic");
        if body == "panic" {
            std::future::pending::<()>().await;
        }
    }
    quiet_intended_panics();
    on_paused_clock(async {
        let consumer = redrive::handler(handler);
        for _ in 0..3 {
            let records = [record("1", "ok"), record("2", "panic"), record("3", "ok")];
            assert_eq!(answer_within(&consumer, event(records), Duration::from_secs(3)).await.unwrap(), ["2"]);
        }
    });
}

/// An error that panics in `Display`, in `source` or in `Drop`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Worst {
    Display,
    Source,
    Drop,
}

#[derive(Debug)]
struct WorstError(Worst);

impl fmt::Display for WorstError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic_if(self.0 == Worst::Display);
        f.write_str("the worst")
    }
}

impl StdError for WorstError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        panic_if(self.0 == Worst::Source);
        None
    }
}

impl Drop for WorstError {
    fn drop(&mut self) {
        panic_if(self.0 == Worst::Drop && !std::thread::panicking());
    }
}

#[tokio::test]
async fn panic_in_an_error_fails_its_record() {
    for worst in [Worst::Display, Worst::Source, Worst::Drop] {
        let consumer = redrive::handler(move |Body(body): Body| async move {
            if body == "panic" { Err(WorstError(worst)) } else { Ok(()) }
        });
        assert_eq!(reported(&consumer).await, ["2"], "{worst:?}");
        // A classified error that panics in `Display` is still a retry.
        let discarding = consumer.classify(|_| Outcome::Discard("whatever".into()));
        assert_eq!(reported(&discarding).await, ["2"], "{worst:?}");
    }
}

#[tokio::test]
async fn panic_in_classify_fails_its_record() {
    async fn fails(Body(body): Body) -> Result<(), String> {
        if body == "panic" { Err(body) } else { Ok(()) }
    }
    let consumer = redrive::handler(fails).classify(|_| panic!("{INTENDED}"));
    assert_eq!(reported(&consumer).await, ["2"]);
}

#[tokio::test]
async fn panic_in_a_layer_fails_its_record() {
    async fn handler() {}
    let on_call = tower::layer::layer_fn(|service: redrive::RecordService| {
        tower::util::MapRequest::new(service, |record: Record| {
            panic_if(record.message_id().as_deref() == Some("2"));
            record
        })
    });
    assert_eq!(reported(&redrive::handler(handler).layer(on_call)).await, ["2"]);
    let on_result = tower::layer::layer_fn(|service: redrive::RecordService| {
        tower::util::MapResult::new(
            service,
            |_: Result<Outcome, redrive::BoxError>| -> Result<Outcome, redrive::BoxError> { panic!("{INTENDED}") },
        )
    });
    assert_eq!(reported(&redrive::handler(handler).layer(on_result)).await, ["1", "2", "3"]);
}

#[tokio::test]
async fn panic_payload_that_panics_in_drop_fails_its_record() {
    async fn handler(Body(body): Body) {
        if body == "panic" {
            std::panic::panic_any(PanicsInDrop(true));
        }
    }
    // The hook cannot read this payload to see that the panic is intended, so this panic is printed.
    assert_eq!(reported(&redrive::handler(handler)).await, ["2"]);
}

/// A service of which every second clone panics.
#[derive(Debug)]
struct PanicsInClone<S>(S, std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl<S: Clone> Clone for PanicsInClone<S> {
    fn clone(&self) -> Self {
        panic_if(self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 2 == 1);
        Self(self.0.clone(), self.1.clone())
    }
}

impl<S: tower::Service<Record>> tower::Service<Record> for PanicsInClone<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, record: Record) -> S::Future {
        self.0.call(record)
    }
}

#[tokio::test]
async fn panic_in_the_clone_of_a_layer_does_not_fail_all_records() {
    async fn handler() {}
    let layer = tower::layer::layer_fn(|service: redrive::RecordService| PanicsInClone(service, Default::default()));
    let reported = reported(&redrive::handler(handler).layer(layer)).await;
    assert!(reported.len() < 3, "{reported:?}");
}

#[tokio::test]
async fn panic_in_a_batch_handler_fails_its_chunk() {
    async fn bulk(bodies: Vec<Body>) -> Vec<()> {
        panic_if(bodies.iter().any(|Body(body)| body == "panic"));
        vec![(); bodies.len()]
    }
    assert_eq!(reported(&redrive::batch(bulk).chunk_size(1)).await, ["2"]);
    assert_eq!(reported(&redrive::batch(bulk).chunk_size(2)).await, ["1", "2"]);
}

#[tokio::test]
async fn lane_continues_after_a_panic_in_a_batch_handler() {
    async fn bulk(bodies: Vec<Body>) -> Vec<()> {
        panic_if(bodies.iter().any(|Body(body)| body == "panic"));
        vec![(); bodies.len()]
    }
    assert_eq!(reported(&redrive::batch(bulk).chunk_size(1).concurrency(1)).await, ["2"]);
}

#[tokio::test]
async fn panic_in_an_error_of_a_batch_handler_fails_its_record() {
    for worst in [Worst::Display, Worst::Source, Worst::Drop] {
        let consumer = redrive::batch(move |bodies: Vec<Body>| async move {
            let answer = |Body(body)| if body == "panic" { Err(WorstError(worst)) } else { Ok(()) };
            bodies.into_iter().map(answer).collect::<Vec<_>>()
        });
        assert_eq!(reported(&consumer).await, ["2"], "{worst:?}");
        assert_eq!(reported(&consumer.chunk_size(1).concurrency(1)).await, ["2"], "{worst:?}");
    }
}

/// A layer's service that must not be called again after a panic.
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
async fn service_of_a_layer_is_not_called_again_after_a_panic() {
    async fn handler() {}
    let fragile = tower::layer::layer_fn(|inner| Fragile { inner, in_call: false });
    assert_eq!(reported(&redrive::handler(handler).layer(fragile).concurrency(1)).await, ["2"]);
}

/// A layer's service that panics when it is dropped after a call.
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
fn panic_in_drop_of_a_layer_fails_no_record() {
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
