//! Tests that malformed records fail alone and that nothing panics.

use redrive::{Body, Fifo, Json, Message, Outcome, Record};
use serde_json::{Value, json};

use crate::kit::{FIFO, answer, event, event_of, fifo_record, record, with};

async fn number(Json(_): Json<u32>) {}

/// A record that `number` accepts. The odd record of each batch stands between two of them.
fn good(id: &str) -> Value {
    record(id, "7")
}

/// Returns the ids reported for a batch with an odd record between two good ones.
async fn reported_with(odd: Value) -> Result<Vec<String>, redrive::Error> {
    answer(&redrive::handler(number), event([good("first"), odd, good("last")])).await
}

#[tokio::test]
async fn malformed_body_fails_alone() {
    for body in
        [json!("not json"), json!("\"seven\""), json!(""), json!("7 7"), json!(7), json!(null), json!(["7"]), json!({})]
    {
        let odd = with(record("odd", ""), "body", body.clone());
        assert_eq!(reported_with(odd).await.unwrap(), ["odd"], "{body}");
    }
    assert_eq!(reported_with(with(record("odd", ""), "body", None)).await.unwrap(), ["odd"]);
}

#[tokio::test]
async fn body_with_half_a_surrogate_pair_fails_alone() {
    let batch = r#"{"Records": [{"messageId": "odd", "body": "\ud800"}, {"messageId": "good", "body": "7"}]}"#;
    assert_eq!(answer(&redrive::handler(number), batch.parse().unwrap()).await.unwrap(), ["odd"]);
}

#[tokio::test]
async fn deeply_nested_body_fails_alone() {
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(reported_with(record("odd", &nested)).await.unwrap(), ["odd"]);
    let nested: String = format!(r#"{{"Records": [{{"messageId": "1", "odd": {nested}, "body": "7"}}]}}"#);
    assert!(answer(&redrive::handler(number), nested.parse().unwrap()).await.unwrap().is_empty());
}

#[tokio::test]
async fn odd_attributes_do_not_affect_a_handler_that_does_not_read_them() {
    let bad_base64 = json!({ "x": { "binaryValue": "%", "dataType": "Binary" } });
    let null_list = json!({ "x": { "stringValue": "y", "stringListValues": null, "dataType": "String" } });
    for odd in [bad_base64, null_list, json!(null), json!([]), json!("x"), json!({ "x": 1 })] {
        for place in ["messageAttributes", "attributes"] {
            assert!(reported_with(with(good("odd"), place, odd.clone())).await.unwrap().is_empty(), "{place}: {odd}");
        }
    }
}

#[tokio::test]
async fn odd_attributes_reject_a_record_whose_handler_reads_them() {
    async fn whole(Message(_): Message) {}
    let bad_base64 = json!({ "x": { "binaryValue": "%", "dataType": "Binary" } });
    let batch = [good("1"), with(good("odd"), "messageAttributes", bad_base64), good("3")];
    assert_eq!(answer(&redrive::handler(whole), event(batch)).await.unwrap(), ["odd"]);
}

#[tokio::test]
async fn failed_record_without_an_id_fails_the_invocation() {
    for id in [None, Some(json!("")), Some(json!(null)), Some(json!(7))] {
        let nameless = |body| with(record("", body), "messageId", id.clone());
        assert!(reported_with(nameless("7")).await.unwrap().is_empty(), "{id:?}");
        let error = reported_with(nameless("bad")).await.unwrap_err();
        assert!(error.is_unreportable(), "{id:?}");
        let text = error.to_string();
        assert!(text.contains("positions [1]") && text.contains("messageId"), "{text}");
    }
}

#[tokio::test]
async fn record_that_is_not_an_object_fails_the_invocation() {
    for odd in [json!(null), json!(7), json!("x"), json!([]), json!(true)] {
        assert!(reported_with(odd.clone()).await.unwrap_err().is_unreportable(), "{odd}");
    }
}

#[tokio::test]
async fn record_that_is_not_an_object_reaches_no_handler() {
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
async fn broken_key_matches_no_field() {
    let batch = r#"{"Records": [{"\ud800": 1, "messageId": "odd", "body": "7"}, {"messageId": "bad", "body": "x"}]}"#;
    assert_eq!(answer(&redrive::handler(number), batch.parse().unwrap()).await.unwrap(), ["bad"]);
}

async fn by_body(Body(body): Body) -> Outcome {
    if body == "fail" { Outcome::Retry } else { Outcome::Done }
}

#[tokio::test]
async fn fifo_record_without_a_group_fails_with_all_after_it() {
    let groupless = with(record("2", "ok"), "eventSourceARN", json!(FIFO));
    let batch = [fifo_record("1", "a", "ok"), groupless, fifo_record("3", "a", "ok"), fifo_record("4", "b", "ok")];
    for mode in [Fifo::StopGroup, Fifo::StopBatch] {
        let consumer = redrive::handler(by_body).fifo(mode);
        assert_eq!(answer(&consumer, event(batch.clone())).await.unwrap(), ["2", "3", "4"]);
    }
}

#[tokio::test]
async fn record_with_an_unreadable_group_counts_as_without_one() {
    for odd in [json!(null), json!([]), json!({ "MessageGroupId": 7 }), json!("x")] {
        let batch = [
            fifo_record("1", "a", "ok"),
            with(fifo_record("2", "a", "ok"), "attributes", odd),
            fifo_record("3", "b", "ok"),
        ];
        let consumer = redrive::handler(by_body);
        assert_eq!(answer(&consumer, event(batch)).await.unwrap(), ["2", "3"]);
    }
}

#[tokio::test]
async fn queue_is_fifo_if_only_a_later_record_has_the_arn() {
    for odd in [None, Some(json!(null)), Some(json!(7))] {
        let first = with(fifo_record("1", "a", "fail"), "eventSourceARN", odd);
        let batch = [first, json!("no record"), fifo_record("3", "a", "ok")];
        let error = answer(&redrive::handler(by_body), event(batch.clone())).await.unwrap_err();
        assert!(error.to_string().contains("positions [1]"), "{error}");
        let batch = [batch[0].clone(), fifo_record("2", "a", "ok"), fifo_record("3", "b", "ok")];
        assert_eq!(answer(&redrive::handler(by_body), event(batch)).await.unwrap(), ["1", "2"]);
    }
}

#[tokio::test]
async fn empty_batch_reports_nothing() {
    assert!(answer(&redrive::handler(number), event([])).await.unwrap().is_empty());
}

#[tokio::test]
async fn event_that_is_not_from_sqs_is_an_error_with_the_reason() {
    for (odd, says) in [
        (json!({}), "no `Records`"),
        (json!({ "Records": null }), "not a list"),
        (json!(1), "neither a JSON object nor a list of records"),
        (json!("x"), "neither a JSON object nor a list of records"),
    ] {
        let error = answer(&redrive::handler(number), event_of(odd)).await.unwrap_err();
        assert!(error.is_invalid_event() && error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn records_of_another_service_are_an_error_with_its_name() {
    let s3 = json!({ "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1", "s3": {} });
    let sns = json!({ "EventSource": "aws:sns", "EventVersion": "1.0", "Sns": {} });
    for (odd, source) in [(s3, "aws:s3"), (sns, "aws:sns")] {
        let error = answer(&redrive::handler(number), event([odd])).await.unwrap_err();
        assert!(error.is_invalid_event() && error.to_string().contains(source), "{error}");
    }
}

#[tokio::test]
async fn answer_contains_each_id_once() {
    async fn fail(_: Body) -> Outcome {
        Outcome::Retry
    }
    let batch = ["a", "b", "a", "c", "b"].map(|id| record(id, ""));
    assert_eq!(answer(&redrive::handler(fail), event(batch)).await.unwrap(), ["a", "b", "c"]);
}
