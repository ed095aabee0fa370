//! Tests the options that fail the whole invocation.

use redrive::{Body, Outcome, State};

use crate::kit::{answer, event, record};

#[tokio::test]
async fn invocation_fails_if_an_option_asks_for_it() {
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
async fn records_with_the_same_id_all_count_as_failed() {
    async fn fails() -> Outcome {
        Outcome::Retry
    }
    let batch = event([record("1", ""), record("1", "")]);
    let error = answer(&redrive::handler(fails).error_when_all_fail(), batch).await.unwrap_err();
    assert!(error.to_string().starts_with("2 of 2 records failed"), "{error}");
}

#[tokio::test]
async fn option_is_kept_by_later_setters() {
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
async fn option_applies_to_a_consumer_that_has_already_run() {
    async fn fails() -> Outcome {
        Outcome::Retry
    }
    let consumer = redrive::handler(fails);
    assert_eq!(answer(&consumer, event([record("1", "")])).await.unwrap(), ["1"]);
    let consumer = consumer.fail_batch_on_any_failure();
    assert!(answer(&consumer, event([record("1", "")])).await.unwrap_err().is_batch_failed());
}
