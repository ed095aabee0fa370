//! Tests batch handlers, which take a chunk of records and answer for each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redrive::{Body, BoxError, Json, MessageId, Outcome, S3, State};
use serde_json::json;

use crate::kit::{INTENDED, answer, answer_within, event, fifo_record, quiet_intended_panics, record};

type Sizes = Arc<Mutex<Vec<usize>>>;

async fn by_body(State(sizes): State<Sizes>, bodies: Vec<Body>) -> Vec<Outcome> {
    sizes.lock().unwrap().push(bodies.len());
    bodies.iter().map(|Body(body)| if body == "fail" { Outcome::Retry } else { Outcome::Done }).collect()
}

#[tokio::test]
async fn chunks_are_limited_and_answered_by_position() {
    let sizes = Sizes::default();
    let consumer = redrive::batch(by_body).with_state(sizes.clone()).chunk_size(10);
    let batch = (0..25).map(|id| record(&id.to_string(), if id % 7 == 3 { "fail" } else { "ok" }));
    assert_eq!(answer(&consumer, event(batch)).await.unwrap(), ["3", "10", "17", "24"]);
    let mut sizes = sizes.lock().unwrap().clone();
    sizes.sort();
    assert_eq!(sizes, [5, 10, 10]);
}

#[tokio::test]
async fn malformed_body_fails_alone() {
    async fn sum(numbers: Vec<Json<u32>>) -> Result<(), BoxError> {
        assert_eq!(numbers.iter().map(|Json(number)| number).sum::<u32>(), 5);
        Ok(())
    }
    let batch = [record("1", "2"), record("2", "two"), record("3", "3")];
    assert_eq!(answer(&redrive::batch(sum), event(batch)).await.unwrap(), ["2"]);
}

#[tokio::test]
async fn record_without_an_answer_fails() {
    async fn short(_: Vec<Body>) -> Vec<Outcome> {
        vec![Outcome::Done, Outcome::Done]
    }
    let batch = ["1", "2", "3", "4"].map(|id| record(id, ""));
    assert_eq!(answer(&redrive::batch(short), event(batch)).await.unwrap(), ["3", "4"]);
}

#[tokio::test]
async fn too_many_answers_fail_the_whole_chunk() {
    async fn long(bodies: Vec<Body>) -> Vec<Outcome> {
        vec![Outcome::Done; bodies.len() + 1]
    }
    let batch = ["1", "2"].map(|id| record(id, ""));
    assert_eq!(answer(&redrive::batch(long), event(batch)).await.unwrap(), ["1", "2"]);
}

#[tokio::test]
async fn error_fails_the_chunk_and_is_classified() {
    async fn refuses(items: Vec<(MessageId, Body)>) -> Result<Vec<Outcome>, String> {
        let refused = items.iter().any(|(_, Body(body))| body == "bad");
        if refused { Err("refused".into()) } else { Ok(vec![Outcome::Done; items.len()]) }
    }
    let batch = || event([record("1", "ok"), record("2", "bad"), record("3", "ok")]);
    let consumer = redrive::batch(refuses).chunk_size(2);
    assert_eq!(answer(&consumer, batch()).await.unwrap(), ["1", "2"]);
    let discarding = consumer.classify(|_| Outcome::Discard("refused".into()));
    assert!(answer(&discarding, batch()).await.unwrap().is_empty());
}

#[tokio::test]
async fn rejected_record_is_settled_if_the_handler_panics_or_hangs() {
    quiet_intended_panics();
    let test_event = r#"{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}"#;
    let upload =
        json!({ "eventName": "x", "eventTime": "t", "s3": { "bucket": { "name": "b" }, "object": { "key": "k" } } });
    let upload = json!({ "Records": [upload] }).to_string();
    let batch = || event([record("test", test_event), record("bad", "{}"), record("real", &upload)]);

    async fn panics(_: Vec<S3>) -> Vec<Outcome> {
        panic!("{INTENDED}")
    }
    assert_eq!(answer(&redrive::batch(panics), batch()).await.unwrap(), ["bad", "real"]);

    async fn hangs(_: Vec<S3>) -> Vec<Outcome> {
        std::future::pending().await
    }
    let reported = answer_within(&redrive::batch(hangs), batch(), Duration::from_millis(100)).await;
    assert_eq!(reported.unwrap(), ["bad", "real"]);
}

#[tokio::test]
async fn panic_in_classify_fails_only_its_record() {
    quiet_intended_panics();
    async fn second_fails(bodies: Vec<Body>) -> Vec<Result<(), String>> {
        bodies.into_iter().map(|Body(body)| if body == "fail" { Err(body) } else { Ok(()) }).collect()
    }
    let consumer = redrive::batch(second_fails).classify(|_| panic!("{INTENDED}"));
    let batch = [record("1", "ok"), record("2", "fail"), record("3", "ok")];
    assert_eq!(answer(&consumer, event(batch)).await.unwrap(), ["2"]);
}

#[tokio::test]
async fn fifo_chunk_contains_at_most_one_record_of_a_group() {
    let seen: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
    let consumer = redrive::batch({
        let seen = seen.clone();
        move |items: Vec<(MessageId, Body)>| {
            let outcomes =
                items.iter().map(|(_, Body(body))| if body == "fail" { Outcome::Retry } else { Outcome::Done });
            let outcomes: Vec<Outcome> = outcomes.collect();
            seen.lock().unwrap().push(items.into_iter().map(|(MessageId(id), _)| id).collect());
            async move { outcomes }
        }
    });
    let groups = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a"), ("b2", "b"), ("c1", "c")];
    let batch = groups.map(|(id, group)| fifo_record(id, group, if id == "a2" { "fail" } else { "ok" }));
    assert_eq!(answer(&consumer, event(batch)).await.unwrap(), ["a2", "a3"]);
    assert_eq!(*seen.lock().unwrap(), [vec!["a1", "b1", "c1"], vec!["a2", "b2"]]);
}

#[tokio::test]
async fn chunk_size_of_zero_counts_as_one() {
    let sizes = Sizes::default();
    let consumer = redrive::batch(by_body).with_state(sizes.clone()).chunk_size(0);
    let batch = ["1", "2"].map(|id| record(id, ""));
    assert!(answer(&consumer, event(batch)).await.unwrap().is_empty());
    assert_eq!(*sizes.lock().unwrap(), [1, 1]);
}

#[tokio::test]
async fn handler_is_not_called_if_every_record_is_rejected() {
    let calls = Arc::new(AtomicUsize::new(0));
    let consumer = redrive::batch({
        let calls = calls.clone();
        move |numbers: Vec<Json<u32>>| {
            calls.fetch_add(1, Ordering::SeqCst);
            std::future::ready(vec![(); numbers.len()])
        }
    });
    let batch = ["1", "2"].map(|id| record(id, "bad"));
    assert_eq!(answer(&consumer, event(batch)).await.unwrap(), ["1", "2"]);
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn error_of_one_record_is_classified() {
    async fn by_body(bodies: Vec<Body>) -> Vec<Result<(), String>> {
        bodies.into_iter().map(|Body(body)| if body == "ok" { Ok(()) } else { Err(body) }).collect()
    }
    let batch = ["ok", "stale", "busy"].map(|body| record(body, body));
    let consumer = redrive::batch(by_body).classify(|error| match error.as_str() {
        "stale" => Outcome::Discard("stale".into()),
        _ => Outcome::Retry,
    });
    assert_eq!(answer(&consumer, event(batch)).await.unwrap(), ["busy"]);
}
