//! Tests FIFO queues in the cases that the enumeration of small batches does not cover.

use std::sync::{Arc, Mutex};

use redrive::{Body, MessageId, Outcome};
use serde_json::json;

use crate::kit::{answer, event, fifo_record, record, with, with_attribute};

async fn by_body(Body(body): Body) -> Outcome {
    if body == "fail" { Outcome::Retry } else { Outcome::Done }
}

#[tokio::test]
async fn record_with_a_group_on_a_standard_queue_fails_alone() {
    let fair = |id: &str, body: &str| with_attribute(record(id, body), "MessageGroupId", "tenant");
    let batch = [fair("1", "fail"), fair("2", "ok"), fair("3", "ok")];
    assert_eq!(answer(&redrive::handler(by_body), event(batch)).await.unwrap(), ["1"]);
}

#[tokio::test]
async fn group_continues_after_a_discarded_record() {
    async fn discard(MessageId(id): MessageId) -> Outcome {
        if id == "1" { Outcome::Discard("of no use".into()) } else { Outcome::Done }
    }
    let batch = [fifo_record("1", "a", ""), fifo_record("2", "a", "")];
    assert!(answer(&redrive::handler(discard), event(batch)).await.unwrap().is_empty());
}

/// A trace recorded on AWS: a batch 1, 2, 3, 4 of one group that reports 2, 3, 4.
#[tokio::test]
async fn tail_of_a_failed_group_is_not_run() {
    let ran = Arc::new(Mutex::new(Vec::new()));
    let consumer = redrive::handler({
        let ran = ran.clone();
        move |MessageId(id): MessageId, body: Body| {
            ran.lock().unwrap().push(id);
            by_body(body)
        }
    });
    let batch = [("1", "ok"), ("2", "fail"), ("3", "ok"), ("4", "ok")].map(|(id, body)| fifo_record(id, "a", body));
    assert_eq!(answer(&consumer, event(batch)).await.unwrap(), ["2", "3", "4"]);
    assert_eq!(*ran.lock().unwrap(), ["1", "2"]);
}

#[tokio::test]
async fn queue_is_fifo_if_its_name_ends_in_fifo() {
    async fn by_body(Body(body): Body) -> Outcome {
        if body == "fail" { Outcome::Retry } else { Outcome::Done }
    }
    let standard = json!("arn:aws:sqs:eu-west-1:123456789012:fifo-to-be");
    let batch = [fifo_record("1", "a", "fail"), fifo_record("2", "a", "ok")];
    let batch = batch.map(|record| with(record, "eventSourceARN", standard.clone()));
    assert_eq!(answer(&redrive::handler(by_body), event(batch)).await.unwrap(), ["1"]);
}
