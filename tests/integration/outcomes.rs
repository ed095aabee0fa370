//! What a handler may return, and what that means for its record.

use std::fmt;
use std::time::Duration;

use redrive::{Body, Outcome, State};

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

async fn reported<K: redrive::Kind>(consumer: redrive::Consumer<K>, bodies: &[&str]) -> Vec<String> {
    let records: Vec<_> = bodies.iter().map(|body| record(body, body)).collect();
    answer(&consumer, event(records)).await.unwrap()
}

#[tokio::test]
async fn nothing_is_done() {
    async fn nothing() {}
    assert!(reported(redrive::handler(nothing), &["a"]).await.is_empty());
}

#[tokio::test]
async fn an_error_of_any_type_is_a_retry() {
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
async fn only_done_and_discard_leave_the_queue_without_a_client() {
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
async fn an_anyhow_error_still_downcasts_when_it_is_classified() {
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
async fn an_error_may_be_classified_as_done() {
    async fn fails() -> Result<(), String> {
        Err("was there before".into())
    }
    assert!(reported(redrive::handler(fails).classify(|_| Outcome::Done), &["a"]).await.is_empty());
}

#[tokio::test]
async fn the_whole_batch_fails_where_that_is_asked_for() {
    async fn by_body(Body(body): Body) -> Outcome {
        if body.starts_with("ok") { Outcome::Done } else { Outcome::Retry }
    }
    let mixed = || event([record("1", "ok"), record("2", "bad")]);
    let all_bad = || event([record("1", "bad"), record("2", "bad")]);
    let all_good = || event([record("1", "ok"), record("2", "ok")]);

    let any = redrive::handler(by_body).fail_batch_on_any_failure();
    assert!(answer(&any, all_good()).await.unwrap().is_empty());
    assert_eq!(answer(&any, mixed()).await.unwrap_err().to_string().split(',').next(), Some("1 of 2 records failed"));
    assert!(answer(&any, all_bad()).await.unwrap_err().is_batch_failed());

    let all = redrive::handler(by_body).error_when_all_fail();
    assert!(answer(&all, all_good()).await.unwrap().is_empty());
    assert_eq!(answer(&all, mixed()).await.unwrap(), ["2"]);
    assert!(answer(&all, all_bad()).await.unwrap_err().is_batch_failed());

    let neither = redrive::handler(by_body);
    assert_eq!(answer(&neither, all_bad()).await.unwrap(), ["1", "2"]);
}

#[tokio::test]
async fn records_of_the_same_id_all_count() {
    async fn fails() -> Outcome {
        Outcome::Retry
    }
    let batch = event([record("1", ""), record("1", "")]);
    let error = answer(&redrive::handler(fails).error_when_all_fail(), batch).await.unwrap_err();
    assert!(error.to_string().starts_with("2 of 2 records failed"), "{error}");
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
