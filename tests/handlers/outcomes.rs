//! Tests the return values of handlers and their effect on the record.

use std::fmt;
use std::time::Duration;

use redrive::{Body, Outcome};

use crate::kit::{answer, event, record};

#[derive(Debug)]
enum OrderError {
    Invalid,
    Stale,
    Busy,
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for OrderError {}

async fn reported<K: redrive::HandlerKind>(consumer: redrive::Consumer<K>, bodies: &[&str]) -> Vec<String> {
    let records: Vec<_> = bodies.iter().map(|body| record(body, body)).collect();
    answer(&consumer, event(records)).await.unwrap()
}

#[tokio::test]
async fn unit_is_done() {
    async fn nothing() {}
    assert!(reported(redrive::handler(nothing), &["a"]).await.is_empty());
}

#[tokio::test]
async fn error_of_any_type_is_a_retry() {
    async fn own(_: Body) -> Result<(), OrderError> {
        Err(OrderError::Busy)
    }
    async fn any(_: Body) -> anyhow::Result<()> {
        Err(OrderError::Busy)?
    }
    async fn text(_: Body) -> Result<Outcome, String> {
        Err("busy".into())
    }
    async fn boxed(_: Body) -> Result<Outcome, Box<dyn std::error::Error + Send + Sync>> {
        Err("busy".into())
    }
    assert_eq!(reported(redrive::handler(own), &["a"]).await, ["a"]);
    assert_eq!(reported(redrive::handler(any), &["a"]).await, ["a"]);
    assert_eq!(reported(redrive::handler(text), &["a"]).await, ["a"]);
    assert_eq!(reported(redrive::handler(boxed), &["a"]).await, ["a"]);
}

#[tokio::test]
async fn only_done_and_discard_leave_the_queue_without_effects() {
    async fn outcome(Body(body): Body) -> Outcome {
        match body.as_str() {
            "done" => Outcome::Done,
            "discard" => Outcome::Discard("of no use".into()),
            "retry" => Outcome::Retry,
            "retry after" => Outcome::RetryAfter(Duration::from_secs(60)),
            _ => Outcome::DeadLetter("poison".into()),
        }
    }
    let bodies = ["done", "discard", "retry", "retry after", "dead letter"];
    assert_eq!(reported(redrive::handler(outcome), &bodies).await, ["retry", "retry after", "dead letter"]);
}

#[tokio::test]
async fn errors_are_classified_by_their_own_type() {
    async fn place(Body(body): Body) -> Result<(), OrderError> {
        Err(match body.as_str() {
            "invalid" => OrderError::Invalid,
            "stale" => OrderError::Stale,
            _ => OrderError::Busy,
        })
    }
    let consumer = redrive::handler(place).classify(|error| match error {
        OrderError::Invalid => Outcome::DeadLetter("invalid".into()),
        OrderError::Stale => Outcome::Discard("stale".into()),
        OrderError::Busy => Outcome::Retry,
    });
    assert_eq!(reported(consumer, &["invalid", "stale", "busy"]).await, ["invalid", "busy"]);
}

#[tokio::test]
async fn classify_can_downcast_an_anyhow_error() {
    async fn place(_: Body) -> anyhow::Result<()> {
        Err(anyhow::Error::new(OrderError::Stale).context("placing"))
    }
    let consumer = redrive::handler(place).classify(|error| match error.downcast_ref() {
        Some(OrderError::Stale) => Outcome::Discard("stale".into()),
        _ => Outcome::Retry,
    });
    assert!(reported(consumer, &["a"]).await.is_empty());
}

#[tokio::test]
async fn error_classified_as_done_leaves_the_queue() {
    async fn fails() -> Result<(), String> {
        Err("was there before".into())
    }
    assert!(reported(redrive::handler(fails).classify(|_| Outcome::Done), &["a"]).await.is_empty());
}
