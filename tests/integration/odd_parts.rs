//! Tests extractors on records that SQS would not send.

use redrive::{
    Attribute, AttributeValue, Body, BoxError, FromAttribute, GroupId, Json, Message, QueueArn, ReceiptHandle,
};
use serde_json::json;

use crate::handlers::extractors::{Order, Priority, Signature, assert_takes, extract, with_message_attribute};
use crate::kit::{record, with};

#[tokio::test]
async fn body_is_absent_without_a_body_field() {
    let bodyless = with(record("1", ""), "body", None);
    assert_eq!(extract::<Option<Json<Order>>>(bodyless.clone()).await.as_deref(), Some("None"));
    assert_eq!(extract::<Json<Order>>(bodyless).await, None);
}

#[tokio::test]
async fn invalid_base64_does_not_affect_another_attribute() {
    let mut both = with_message_attribute("signature", json!({ "binaryValue": "%", "dataType": "Binary" }));
    both["messageAttributes"]["priority"] = json!({ "stringValue": "7", "dataType": "Number.int" });
    assert_eq!(extract::<Option<Attribute<Signature>>>(both.clone()).await, None);
    assert_takes(both, Attribute(Priority(7))).await;
}

#[tokio::test]
async fn attributes_that_are_not_an_object_are_malformed() {
    for odd in [json!("x"), json!([1]), json!(7)] {
        assert_eq!(extract::<Option<GroupId>>(with(record("1", ""), "attributes", odd.clone())).await, None, "{odd}");
        let odd = with(record("1", ""), "messageAttributes", odd);
        assert_eq!(extract::<Option<Attribute<Priority>>>(odd).await, None);
    }
    assert!(extract::<Option<GroupId>>(with(record("1", ""), "attributes", json!(null))).await.is_some());
}

/// An `Option` must not turn a malformed value into `None`: the handler would run without the value.
#[tokio::test]
async fn malformed_value_is_never_none() {
    let odd = |key: &str| with(record("1", ""), key, json!(7));
    assert_eq!(extract::<Option<Body>>(odd("body")).await, None);
    assert_eq!(extract::<Option<ReceiptHandle>>(odd("receiptHandle")).await, None);
    assert_eq!(extract::<Option<QueueArn>>(odd("eventSourceARN")).await, None);
    let group = with(record("1", ""), "attributes", json!({ "MessageGroupId": 7 }));
    assert_eq!(extract::<Option<GroupId>>(group).await, None);
    let high = with_message_attribute("priority", json!({ "stringValue": "high", "dataType": "Number.int" }));
    assert_eq!(extract::<Option<Attribute<Priority>>>(high).await, None);
}

#[tokio::test]
async fn null_value_is_absent() {
    type All = (Option<Body>, Option<GroupId>, Option<Attribute<Priority>>, Option<ReceiptHandle>, Option<QueueArn>);
    for key in ["body", "attributes", "messageAttributes", "receiptHandle", "eventSourceARN"] {
        let seen = extract::<All>(with(record("1", ""), key, json!(null))).await;
        assert!(seen.is_some_and(|seen| seen.contains("None")), "{key}");
    }
    let group = with(record("1", ""), "attributes", json!({ "MessageGroupId": null }));
    assert_eq!(extract::<Option<GroupId>>(group).await.as_deref(), Some("None"));
}

#[tokio::test]
async fn record_with_null_fields_is_handled() {
    let null_lists = json!({
        "stringValue": "App\\Event", "binaryValue": null, "stringListValues": null, "binaryListValues": null, "dataType": null
    });
    let mut odd = with_message_attribute("type", null_lists);
    odd["messageAttributes"]["none"] = json!(null);
    for key in ["md5OfBody", "md5OfMessageAttributes", "awsRegion"] {
        odd[key] = json!(null);
    }
    let seen = extract::<Message>(odd.clone()).await.unwrap();
    assert!(seen.contains("message_id: Some(\"1\")") && seen.contains("App"), "{seen}");
    assert_eq!(extract::<Option<Attribute<Type>>>(odd.clone()).await.as_deref(), Some("Some(Attribute(Type))"));
    assert_eq!(extract::<Option<Attribute<Priority>>>(odd).await.as_deref(), Some("None"));
    for key in ["attributes", "messageAttributes"] {
        let mut without = record("1", "x");
        without[key] = json!(null);
        assert_takes(without.clone(), Body("x".into())).await;
        assert!(extract::<Message>(without.clone()).await.is_some(), "{key}");
        assert_eq!(extract::<Option<Attribute<Type>>>(without).await.as_deref(), Some("None"), "{key}");
    }
}

/// An attribute with a string value.
#[derive(Debug)]
struct Type;

impl FromAttribute for Type {
    const NAME: &'static str = "type";

    fn from_attribute(value: AttributeValue) -> Result<Self, BoxError> {
        assert_eq!(value.data_type(), "String");
        value.as_str().map(|_| Self).ok_or_else(|| "a type is a text".into())
    }
}
