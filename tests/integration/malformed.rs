//! What is malformed costs itself only, and nothing panics.

use redrive::{Body, Fifo, Json, Message, Outcome, Record};
use serde_json::{Value, json};

use crate::kit::{FIFO, answer, event, event_of, fifo_record, record, with};

async fn number(Json(_): Json<u32>) {}

/// What `number` takes, and what stands beside the odd record in each batch.
fn good(id: &str) -> Value {
    record(id, "7")
}

/// The report of a batch in which an odd record stands between two good ones.
async fn reported_with(odd: Value) -> Result<Vec<String>, redrive::Error> {
    answer(&redrive::handler(number), event([good("first"), odd, good("last")])).await
}

#[tokio::test]
async fn a_bad_body_fails_alone() {
    for body in
        [json!("not json"), json!("\"seven\""), json!(""), json!("7 7"), json!(7), json!(null), json!(["7"]), json!({})]
    {
        let odd = with(record("odd", ""), "body", body.clone());
        assert_eq!(reported_with(odd).await.unwrap(), ["odd"], "{body}");
    }
    assert_eq!(reported_with(with(record("odd", ""), "body", None)).await.unwrap(), ["odd"]);
}

#[tokio::test]
async fn a_body_with_half_a_surrogate_pair_fails_alone() {
    let batch = r#"{"Records": [{"messageId": "odd", "body": "\ud800"}, {"messageId": "good", "body": "7"}]}"#;
    assert_eq!(answer(&redrive::handler(number), batch.parse().unwrap()).await.unwrap(), ["odd"]);
}

#[tokio::test]
async fn a_body_nested_beyond_reason_fails_alone() {
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(reported_with(record("odd", &nested)).await.unwrap(), ["odd"]);
    let nested: String = format!(r#"{{"Records": [{{"messageId": "1", "odd": {nested}, "body": "7"}}]}}"#);
    assert!(answer(&redrive::handler(number), nested.parse().unwrap()).await.unwrap().is_empty());
}

#[tokio::test]
async fn odd_attributes_are_no_matter_to_who_does_not_read_them() {
    let bad_base64 = json!({ "x": { "binaryValue": "%", "dataType": "Binary" } });
    let null_list = json!({ "x": { "stringValue": "y", "stringListValues": null, "dataType": "String" } });
    for odd in [bad_base64, null_list, json!(null), json!([]), json!("x"), json!({ "x": 1 })] {
        for place in ["messageAttributes", "attributes"] {
            assert!(reported_with(with(good("odd"), place, odd.clone())).await.unwrap().is_empty(), "{place}: {odd}");
        }
    }
}

#[tokio::test]
async fn odd_attributes_reject_only_who_reads_them() {
    async fn whole(Message(_): Message) {}
    let bad_base64 = json!({ "x": { "binaryValue": "%", "dataType": "Binary" } });
    let batch = [good("1"), with(good("odd"), "messageAttributes", bad_base64), good("3")];
    assert_eq!(answer(&redrive::handler(whole), event(batch)).await.unwrap(), ["odd"]);
}

#[tokio::test]
async fn a_record_without_an_id_fails_the_invocation_only_if_it_fails() {
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
async fn what_is_no_object_cannot_be_reported() {
    for odd in [json!(null), json!(7), json!("x"), json!([]), json!(true)] {
        assert!(reported_with(odd.clone()).await.unwrap_err().is_unreportable(), "{odd}");
    }
}

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
async fn a_broken_key_is_none_that_is_looked_for() {
    let batch = r#"{"Records": [{"\ud800": 1, "messageId": "odd", "body": "7"}, {"messageId": "bad", "body": "x"}]}"#;
    assert_eq!(answer(&redrive::handler(number), batch.parse().unwrap()).await.unwrap(), ["bad"]);
}

async fn by_body(Body(body): Body) -> Outcome {
    if body == "fail" { Outcome::Retry } else { Outcome::Done }
}

#[tokio::test]
async fn a_record_without_a_group_fails_with_all_after_it() {
    let groupless = with(record("2", "ok"), "eventSourceARN", json!(FIFO));
    let batch = [fifo_record("1", "a", "ok"), groupless, fifo_record("3", "a", "ok"), fifo_record("4", "b", "ok")];
    for mode in [Fifo::StopGroup, Fifo::StopBatch] {
        let consumer = redrive::handler(by_body).fifo(mode);
        assert_eq!(answer(&consumer, event(batch.clone())).await.unwrap(), ["2", "3", "4"]);
    }
}

#[tokio::test]
async fn a_record_whose_group_cannot_be_read_is_one_without() {
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
async fn a_first_record_without_its_arn_does_not_make_the_queue_a_standard_one() {
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
async fn an_empty_batch_has_nothing_to_report() {
    assert!(answer(&redrive::handler(number), event([])).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_sqs_event_is_an_error_that_says_what_it_is() {
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
async fn records_of_another_service_are_an_error_that_names_it() {
    let s3 = json!({ "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1", "s3": {} });
    let sns = json!({ "EventSource": "aws:sns", "EventVersion": "1.0", "Sns": {} });
    for (odd, source) in [(s3, "aws:s3"), (sns, "aws:sns")] {
        let error = answer(&redrive::handler(number), event([odd])).await.unwrap_err();
        assert!(error.is_invalid_event() && error.to_string().contains(source), "{error}");
    }
}

#[tokio::test]
async fn an_answer_never_has_an_id_twice() {
    async fn fail(_: Body) -> Outcome {
        Outcome::Retry
    }
    let batch = ["a", "b", "a", "c", "b"].map(|id| record(id, ""));
    assert_eq!(answer(&redrive::handler(fail), event(batch)).await.unwrap(), ["a", "b", "c"]);
}
