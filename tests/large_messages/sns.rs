//! Pointers that arrive through SNS.

use redrive::{Body, Effects, Event, Json, Outcome, Sns};
use redrive_local::Kit;
use serde_json::{Value, json};

use crate::fake_s3::FakeS3;
use crate::receiving::{POINTER, queue, send, why};
use crate::through;

#[derive(Debug, PartialEq, serde::Deserialize)]
struct Order {
    id: u32,
}

/// Returns the envelope of a message that the extended client library published to SNS without raw delivery.
fn envelope(pointer: &str, attributes: &Value) -> String {
    let envelope = json!({
        "Type": "Notification",
        "MessageId": "m-1",
        "TopicArn": "arn:aws:sns:eu-central-1:111122223333:topic",
        "Message": pointer,
        "Timestamp": "2026-11-30T06:00:00.000Z",
        "MessageAttributes": attributes,
    });
    envelope.to_string()
}

fn size() -> Value {
    json!({ "ExtendedPayloadSize": { "Type": "Number", "Value": "10" } })
}

#[tokio::test(start_paused = true)]
async fn sns_extracts_the_content_of_the_object_behind_its_pointer() {
    let (kit, s3) = (Kit::with_seed(1), FakeS3::default());
    s3.put("/payloads/k", r#"{"id": 7}"#);
    let orders = queue(&kit).await;
    let look = |Sns { message, topic_arn, .. }: Sns<Order>| async move {
        (message == Order { id: 7 } && topic_arn.ends_with(":topic")).then_some(()).ok_or("another message")
    };
    orders.mapping(redrive::handler(look).large_messages(through(&s3))).start().unwrap();
    let java_1 = POINTER
        .replace("software.amazon.payloadoffloading.PayloadS3Pointer", "com.amazon.sqs.javamessaging.MessageS3Pointer");
    let old_size = json!({ "SQSLargePayloadSize": { "Type": "Number", "Value": "10" } });
    let sent = [envelope(POINTER, &size()), envelope(&java_1, &old_size)];
    for body in &sent {
        orders.send(body.as_str()).await.unwrap();
    }
    kit.until_idle().await;
    let deliveries = orders.deliveries();
    assert!(deliveries.len() == 2 && deliveries.iter().all(|each| each.done), "{deliveries:?}");
}

#[tokio::test(start_paused = true)]
async fn envelope_changes_only_its_message_and_size_attribute() {
    let (kit, s3) = (Kit::with_seed(2), FakeS3::default());
    s3.put("/payloads/k", "an \"order\" \\ é\n");
    let orders = queue(&kit).await;
    let look = |Json(envelope): Json<Value>| async move {
        let attributes = json!({ "tenant": { "Type": "String", "Value": "acme" } });
        let is_whole = envelope["Message"] == "an \"order\" \\ é\n" && envelope["MessageAttributes"] == attributes;
        (is_whole && envelope["MessageId"] == "m-1").then_some(()).ok_or("another envelope")
    };
    orders.mapping(redrive::handler(look).large_messages(through(&s3))).start().unwrap();
    let mut attributes = size();
    attributes["tenant"] = json!({ "Type": "String", "Value": "acme" });
    let id = orders.send(envelope(POINTER, &attributes)).await.unwrap();
    kit.until_idle().await;
    assert!(orders.deliveries_of(&id)[0].done, "{}", why(&orders, &id));
}

#[tokio::test(start_paused = true)]
async fn sns_message_that_only_resembles_a_pointer_stays_a_message() {
    let (kit, s3) = (Kit::with_seed(3), FakeS3::default());
    let orders = queue(&kit).await;
    let look = |Sns { message: Body(message), .. }: Sns<Body>| async move { assert_eq!(message, POINTER) };
    orders.mapping(redrive::handler(look).large_messages(through(&s3))).start().unwrap();
    let id = orders.send(envelope(POINTER, &json!({}))).await.unwrap();
    kit.until_idle().await;
    assert!(orders.deliveries_of(&id)[0].done);
}

#[tokio::test(start_paused = true)]
async fn pointer_of_raw_delivery_is_followed() {
    let (kit, s3) = (Kit::with_seed(4), FakeS3::default());
    s3.put("/payloads/k", r#"{"id": 7}"#);
    let orders = queue(&kit).await;
    let look = |Json(order): Json<Order>| async move { assert_eq!(order, Order { id: 7 }) };
    orders.mapping(redrive::handler(look).large_messages(through(&s3))).start().unwrap();
    let id = send(&orders, POINTER, "ExtendedPayloadSize").await;
    kit.until_idle().await;
    assert!(orders.deliveries_of(&id)[0].done);
}

#[tokio::test(start_paused = true)]
async fn pointer_in_an_envelope_obeys_the_same_buckets_and_prefixes() {
    let (kit, s3) = (Kit::with_seed(5), FakeS3::default());
    for path in ["/payloads/k", "/others/orders/k"] {
        s3.put(path, r#"{"id": 7}"#);
    }
    let orders = queue(&kit).await;
    let consumer = redrive::handler(async |_: Sns<Order>| {}).large_messages(through(&s3).key_prefix("orders/"));
    orders.mapping(consumer).start().unwrap();
    let other = POINTER.replace("payloads\"", "others\"").replace("\"k\"", "\"orders/k\"");
    let refused = [(POINTER, "also_read_prefix"), (other.as_str(), "also_read_from"), ("an order", "is not a pointer")];
    for (pointer, expected) in refused {
        let id = orders.send(envelope(pointer, &size())).await.unwrap();
        kit.until_idle().await;
        assert!(why(&orders, &id).contains(expected), "{}", why(&orders, &id));
    }
}

#[tokio::test(start_paused = true)]
async fn dead_letter_of_sns_carries_the_original_envelope() {
    let (kit, s3) = (Kit::with_seed(6), FakeS3::default());
    s3.put("/payloads/k", r#"{"id": 7}"#);
    let orders = queue(&kit).await;
    let refuse = async |Sns { message, .. }: Sns<Order>| Outcome::DeadLetter(format!("order {}", message.id).into());
    let effects = Effects::with_client(orders.client().clone());
    orders.mapping(redrive::handler(refuse).effects(effects).large_messages(through(&s3))).start().unwrap();
    let body = envelope(POINTER, &size());
    orders.send(body.as_str()).await.unwrap();
    kit.until_idle().await;
    let dead = orders.dead_letters();
    assert_eq!((dead.len(), dead[0].body.as_str()), (1, body.as_str()));
}

/// The event that another function received.
#[tokio::test(start_paused = true)]
async fn event_of_a_public_bug_report_is_followed() {
    let s3 = FakeS3::default();
    s3.put("/payloads/k", r#"{"id": 7}"#);
    let body = envelope(
        r#"["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "payloads", "s3Key": "k"}]"#,
        &json!({ "ExtendedPayloadSize": { "Type": "Number", "Value": "300000" } }),
    );
    let record = json!({
        "messageId": "1", "receiptHandle": "r", "body": body, "attributes": { "ApproximateReceiveCount": "1" },
        "messageAttributes": {}, "md5OfBody": "0", "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-central-1:111122223333:orders", "awsRegion": "eu-central-1",
    });
    let event: Event = json!({ "Records": [record] }).to_string().parse().unwrap();
    let look = |Sns { message, .. }: Sns<Order>| async move { assert_eq!(message, Order { id: 7 }) };
    let mut consumer = redrive::handler(look).large_messages(through(&s3));
    let event = lambda_runtime::LambdaEvent::new(event, lambda_runtime::Context::default());
    let answer = tower::Service::call(&mut consumer, event).await.unwrap();
    assert!(answer.batch_item_failures.is_empty());
}
