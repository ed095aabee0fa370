//! Tests extractors, and the difference between absent and malformed values.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use redrive::{
    Attribute, AttributeValue, Body, BoxError, DeduplicationId, EventBridge, FirstReceivedAt, FromAttribute,
    FromRecord, FromRef, GroupId, IntoOutcome, Json, Message, MessageId, Outcome, QueueArn, ReceiptHandle,
    ReceiveCount, Record, Rejection, S3, S3Notification, SenderId, SentAt, SequenceNumber, Sns, SnsAttribute, State,
    TraceHeader,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kit::{STANDARD, answer, event, fifo_record, record, with, with_attribute};

/// Returns the extracted value as `Debug` shows it, or `None` if the record was rejected.
pub(crate) async fn extract<E>(record: Value) -> Option<String>
where
    E: FromRecord<()> + Debug + Send + 'static,
{
    let seen = Arc::new(Mutex::new(None));
    let consumer = redrive::handler({
        let seen = seen.clone();
        move |value: E| {
            *seen.lock().unwrap() = Some(format!("{value:?}"));
            std::future::ready(())
        }
    });
    let reported = answer(&consumer, event([record])).await.unwrap();
    let seen = seen.lock().unwrap().take();
    assert!(seen.is_some() || !reported.is_empty(), "a rejected record is reported");
    seen
}

pub(crate) async fn assert_takes<E: FromRecord<()> + Debug + Send + 'static>(record: Value, value: E) {
    assert_eq!(extract::<E>(record).await, Some(format!("{value:?}")));
}

#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Order {
    id: u32,
}

#[tokio::test]
async fn fields_and_system_attributes_are_extracted() {
    let standard = || record("m1", "x");
    let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
    assert_takes(standard(), MessageId("m1".into())).await;
    assert_takes(standard(), Body("x".into())).await;
    assert_takes(standard(), ReceiveCount(1)).await;
    assert_takes(standard(), SentAt(at(1_545_082_649_183))).await;
    assert_takes(standard(), FirstReceivedAt(at(1_545_082_649_185))).await;
    assert_takes(standard(), SenderId("AIDAIENQZJOLO23YVJ4VO".into())).await;
    assert_takes(standard(), QueueArn(STANDARD.into())).await;
    assert_takes(standard(), ReceiptHandle("AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...".into())).await;
    let fifo = || {
        let record = with_attribute(fifo_record("m1", "g", "x"), "SequenceNumber", "18849496460467696128");
        with_attribute(with_attribute(record, "MessageDeduplicationId", "d"), "AWSTraceHeader", "Root=1-2")
    };
    assert_takes(fifo(), GroupId("g".into())).await;
    assert_takes(fifo(), DeduplicationId("d".into())).await;
    assert_takes(fifo(), SequenceNumber("18849496460467696128".into())).await;
    assert_takes(fifo(), TraceHeader("Root=1-2".into())).await;
}

#[tokio::test]
async fn json_body_is_deserialized() {
    assert_takes(record("1", r#"{"id": 7}"#), Json(Order { id: 7 })).await;
    // Escapes of both levels: the string in the record, and the string in the body.
    assert_takes(record("1", r#""a\u00e9\n\"""#), Json("aé\n\"".to_owned())).await;
}

#[tokio::test]
async fn absent_value_is_none_and_malformed_value_is_rejected() {
    assert_eq!(
        extract::<Option<Json<Order>>>(record("1", r#"{"id": 7}"#)).await.as_deref(),
        Some("Some(Json(Order { id: 7 }))")
    );
    for malformed in ["", "null", "{}", "x"] {
        assert_eq!(extract::<Option<Json<Order>>>(record("1", malformed)).await, None, "{malformed:?}");
    }
    assert_eq!(extract::<Option<GroupId>>(record("1", "")).await.as_deref(), Some("None"));
    let bad_count = with_attribute(record("1", ""), "ApproximateReceiveCount", "many");
    assert_eq!(extract::<Option<ReceiveCount>>(bad_count).await, None);
    let bad_time = with_attribute(record("1", ""), "SentTimestamp", "99999999999999999999");
    assert_eq!(extract::<SentAt>(bad_time).await, None);
    let endless_time = with_attribute(record("1", ""), "SentTimestamp", "18446744073709551615");
    assert!(extract::<Result<SentAt, Rejection>>(endless_time).await.is_some());
}

#[tokio::test]
async fn result_argument_takes_the_rejection() {
    let seen = extract::<Result<Json<Order>, Rejection>>(record("1", r#"{"id": "secret"}"#)).await.unwrap();
    assert!(seen.contains("Malformed") && seen.contains("expected u32"), "{seen}");
    assert!(!seen.contains("secret"), "{seen}");
}

pub(crate) fn with_message_attribute(name: &str, value: Value) -> Value {
    let mut record = record("1", "");
    record["messageAttributes"][name] = value;
    record
}

#[derive(Debug, PartialEq)]
pub(crate) struct Priority(pub(crate) u8);

impl FromAttribute for Priority {
    const NAME: &'static str = "priority";

    fn from_attribute(value: AttributeValue) -> Result<Self, BoxError> {
        assert_eq!(value.data_type(), "Number.int");
        Ok(Self(value.as_str().ok_or("a priority is a number")?.parse()?))
    }
}

#[derive(Debug, PartialEq)]
pub(crate) struct Signature(Vec<u8>);

impl FromAttribute for Signature {
    const NAME: &'static str = "signature";

    fn from_attribute(value: AttributeValue) -> Result<Self, BoxError> {
        Ok(Self(value.as_bytes().ok_or("a signature is binary")?.to_vec()))
    }
}

#[tokio::test]
async fn message_attributes_are_extracted_by_type() {
    let number = |value: &str| {
        let lists = json!([]);
        json!({ "stringValue": value, "dataType": "Number.int", "stringListValues": lists, "binaryListValues": lists })
    };
    assert_takes(with_message_attribute("priority", number("7")), Attribute(Priority(7))).await;
    assert_eq!(extract::<Attribute<Priority>>(with_message_attribute("priority", number("high"))).await, None);
    assert_eq!(extract::<Attribute<Priority>>(record("1", "")).await, None);
    assert_eq!(extract::<Option<Attribute<Priority>>>(record("1", "")).await.as_deref(), Some("None"));
    let binary = |value: &str| json!({ "binaryValue": value, "dataType": "Binary" });
    assert_takes(with_message_attribute("signature", binary("AQID")), Attribute(Signature(vec![1, 2, 3]))).await;
}

#[tokio::test]
async fn whole_message_is_extracted() {
    let seen = extract::<Message>(record("m1", "x")).await.unwrap();
    assert!(seen.contains("message_id: Some(\"m1\")") && seen.contains("body: Some(\"x\")"), "{seen}");
    let seen = extract::<Record>(record("m1", "secret")).await.unwrap();
    assert_eq!(seen, "Record(Some(\"m1\"))");
}

#[derive(Clone)]
struct App {
    table: &'static str,
    limit: usize,
}

struct Limit(usize);

impl FromRef<App> for Limit {
    fn from_ref(app: &App) -> Self {
        Self(app.limit)
    }
}

/// A custom extractor that reads the state.
impl FromRecord<App> for Limit {
    type Rejection = std::convert::Infallible;

    async fn from_record(_: &Record, app: &App) -> Result<Self, Self::Rejection> {
        Ok(Self(app.limit))
    }
}

#[tokio::test]
async fn state_and_its_parts_are_extracted_in_any_order() {
    #[allow(clippy::too_many_arguments, reason = "as many as there can be")]
    async fn handler(
        Limit(limit): Limit,
        Body(body): Body,
        State(app): State<App>,
        MessageId(id): MessageId,
        count: Option<ReceiveCount>,
        group: Result<GroupId, Rejection>,
        json: Option<Json<String>>,
        State(Limit(again)): State<Limit>,
    ) -> Outcome {
        assert_eq!((limit, again, app.table, id.as_str()), (3, 3, "orders", "1"));
        assert!(count.is_some() && group.unwrap_err().is_absent() && json.is_some());
        if body.len() > limit { Outcome::Done } else { Outcome::Retry }
    }
    let consumer = redrive::handler(handler).with_state(App { table: "orders", limit: 3 });
    assert!(answer(&consumer, event([record("1", "\"long\"")])).await.unwrap().is_empty());
}

#[derive(Debug)]
struct NotForUs;

impl IntoOutcome for NotForUs {
    type Error = std::convert::Infallible;

    fn into_outcome(self) -> Result<Outcome, Self::Error> {
        Ok(Outcome::Discard("another tenant's".into()))
    }
}

struct OursOnly;

impl<S: Sync> FromRecord<S> for OursOnly {
    type Rejection = NotForUs;

    async fn from_record(record: &Record, _: &S) -> Result<Self, NotForUs> {
        if record.message_id().as_deref() == Some("ours") { Ok(Self) } else { Err(NotForUs) }
    }
}

#[tokio::test]
async fn custom_rejection_sets_its_outcome() {
    let consumer = redrive::handler(|_: OursOnly| async { Outcome::Retry });
    assert_eq!(answer(&consumer, event([record("ours", ""), record("theirs", "")])).await.unwrap(), ["ours"]);
}

/// An extractor whose rejection has no message, as axum allows.
#[derive(Debug)]
struct Speechless;

impl<S: Sync> FromRecord<S> for Speechless {
    type Rejection = ();

    async fn from_record(_: &Record, _: &S) -> Result<Self, ()> {
        Err(())
    }
}

#[tokio::test]
async fn rejection_of_unit_type_is_a_retry() {
    let batch = || event([record("1", "")]);
    assert_eq!(answer(&redrive::handler(|_: Speechless| async {}), batch()).await.unwrap(), ["1"]);
    assert_eq!(answer(&redrive::handler(|_: (Speechless,)| async {}), batch()).await.unwrap(), ["1"]);
    assert_eq!(answer(&redrive::batch(|_: Vec<Speechless>| async { vec![()] }), batch()).await.unwrap(), ["1"]);
}

fn sns(message: &str) -> Value {
    json!({
        "Type": "Notification",
        "MessageId": "dc1e94d9-56c5-5e96-808d-cc7f68faa162",
        "TopicArn": "arn:aws:sns:eu-west-1:123456789012:orders",
        "Subject": "new order",
        "Message": message,
        "Timestamp": "2021-02-16T21:41:19.978Z",
        "SignatureVersion": "1",
        "Signature": "FMG5tlZhJNHLHUXvZgtZzlk24FzVa7oX0T4P03neeXw8ZEXZx6z35j2FOTuNYShn2h0bKNC=",
        "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/x.pem",
        "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/"
    })
}

fn s3_notification() -> Value {
    json!({ "Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "eu-west-1",
        "eventTime": "2021-02-16T21:41:19.978Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": { "principalId": "AIDAJDPLRKLG7UEXAMPLE" },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "uploads",
            "bucket": { "name": "photos", "ownerIdentity": { "principalId": "A3NL1KOZZKExample" }, "arn": "arn:aws:s3:::photos" },
            "object": { "key": "a+b%2Bc/%C3%A9.jpg", "size": 1024, "eTag": "d41d8cd9", "sequencer": "0055AED6DCD90281E5" }
        }
    }]})
}

fn s3_test() -> Value {
    json!({
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": "2014-10-13T15:57:02.089Z",
        "Bucket": "photos",
        "RequestId": "5582815E1AEA5ADF",
        "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE"
    })
}

#[tokio::test]
async fn sns_envelope_is_extracted() {
    let seen = extract::<Sns<Order>>(record("1", &sns(r#"{"id": 7}"#).to_string())).await.unwrap();
    assert!(seen.contains("message: Order { id: 7 }") && seen.contains("Some(\"new order\")"), "{seen}");
    assert_eq!(extract::<Sns<Order>>(record("1", &sns("no json").to_string())).await, None);
    let seen = extract::<Sns<Body>>(record("1", &sns("no json").to_string())).await.unwrap();
    assert!(seen.contains("message: Body(\"no json\")") && seen.contains("Some(\"new order\")"), "{seen}");
    assert_eq!(extract::<Sns<Order>>(record("1", r#"{"id": 7}"#)).await, None);
    let confirmation = with(sns("{}"), "Type", json!("SubscriptionConfirmation"));
    assert_eq!(extract::<Sns<Order>>(record("1", &confirmation.to_string())).await, None);
}

#[tokio::test]
async fn event_bridge_envelope_is_extracted() {
    let envelope = json!({
        "version": "0",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "detail-type": "Order Placed",
        "source": "shop.orders",
        "account": "123456789012",
        "time": "2017-12-22T18:43:48Z",
        "region": "eu-west-1",
        "resources": ["arn:x"],
        "detail": { "id": 7 }
    });
    let seen = extract::<EventBridge<Order>>(record("1", &envelope.to_string())).await.unwrap();
    assert!(seen.contains("detail: Order { id: 7 }") && seen.contains("detail_type: \"Order Placed\""), "{seen}");
    assert_eq!(extract::<EventBridge<String>>(record("1", &envelope.to_string())).await, None);
}

/// The event of EventBridge Scheduler for a schedule without input.
fn scheduled(detail: Value) -> String {
    let envelope = json!({
        "version": "0",
        "id": "e1",
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": "111122223333",
        "time": "2026-11-30T06:00:00Z",
        "region": "eu-central-1",
        "resources": null,
        "detail": detail
    });
    envelope.to_string()
}

#[derive(Debug, Deserialize)]
struct Nightly;

#[derive(Debug, Deserialize)]
struct Empty {}

#[tokio::test]
async fn schedule_detail_is_deserialized_from_the_json_in_its_string() {
    let without = || record("1", &scheduled(json!("{}")));
    assert!(extract::<EventBridge<()>>(without()).await.unwrap().contains("detail: ()"));
    assert!(extract::<EventBridge<Nightly>>(without()).await.unwrap().contains("detail: Nightly"));
    assert!(extract::<EventBridge<Empty>>(without()).await.unwrap().contains("detail: Empty"));
    assert!(extract::<EventBridge<HashMap<String, u8>>>(without()).await.unwrap().contains("detail: {}"));
    assert!(extract::<EventBridge<String>>(without()).await.unwrap().contains("detail: \"{}\""));
    assert_eq!(extract::<EventBridge<Order>>(without()).await, None);
    let with_order = record("1", &scheduled(json!(r#"{"id": 7}"#)));
    assert!(extract::<EventBridge<Order>>(with_order).await.unwrap().contains("detail: Order { id: 7 }"));
    let rejection = extract::<Result<EventBridge<Order>, Rejection>>(record("1", &scheduled(json!("secret")))).await;
    assert!(!rejection.unwrap().contains("secret"));
}

#[tokio::test]
async fn schedule_in_an_sns_envelope_is_extracted() {
    let record = record("1", &sns(&scheduled(json!("{}"))).to_string());
    assert!(extract::<Sns<EventBridge<()>>>(record).await.unwrap().contains("detail: ()"));
}

/// An envelope with attributes, as SNS writes it without raw message delivery.
fn sns_with_attributes(attributes: Value) -> Value {
    record("1", &with(sns(r#"{"id": 7}"#), "MessageAttributes", attributes).to_string())
}

#[tokio::test]
async fn sns_attributes_are_extracted_by_type() {
    let with_attributes = || {
        sns_with_attributes(json!({
            "priority": { "Type": "Number.int", "Value": "3" },
            "signature": { "Type": "Binary", "Value": "AQID" },
            "tags": { "Type": "String.Array", "Value": "[\"a\", \"b\"]" },
        }))
    };
    assert_takes(with_attributes(), SnsAttribute(Priority(3))).await;
    assert_takes(with_attributes(), SnsAttribute(Signature(vec![1, 2, 3]))).await;
    let seen = Arc::new(Mutex::new(None));
    let consumer = redrive::handler({
        let seen = seen.clone();
        move |Sns { message, attributes, .. }: Sns<Order>, tags: Option<SnsAttribute<Priority>>| {
            *seen.lock().unwrap() = Some((message, attributes, tags));
            std::future::ready(())
        }
    });
    assert!(answer(&consumer, event([with_attributes()])).await.unwrap().is_empty());
    let (message, attributes, priority) = seen.lock().unwrap().take().unwrap();
    assert_eq!((message, priority), (Order { id: 7 }, Some(SnsAttribute(Priority(3)))));
    assert_eq!(attributes["tags"].as_str(), Some("[\"a\", \"b\"]"));
    assert_eq!(
        (attributes["tags"].data_type(), attributes["signature"].as_bytes()),
        ("String.Array", Some(&[1, 2, 3][..]))
    );
}

#[tokio::test]
async fn odd_sns_attribute_rejects_only_a_handler_that_reads_it() {
    for (attributes, is_absent) in [
        (json!(null), true),
        (json!({}), true),
        (json!({ "signature": null }), true),
        (json!({ "signature": { "Type": "Binary", "Value": "%%%" } }), false),
        (json!({ "signature": { "Type": "Binary", "Value": null } }), false),
        (json!({ "signature": 7 }), false),
        (json!(7), false),
    ] {
        let seen = extract::<Sns<Order>>(sns_with_attributes(attributes.clone())).await;
        assert!(seen.unwrap().contains("attributes: {}"), "{attributes}");
        let seen = extract::<Option<SnsAttribute<Signature>>>(sns_with_attributes(attributes.clone())).await;
        assert_eq!(seen.as_deref(), is_absent.then_some("None"), "{attributes}");
    }
    assert_eq!(extract::<Option<SnsAttribute<Signature>>>(record("1", "{}")).await, None, "the body has no envelope");
}

#[tokio::test]
async fn rejection_names_the_extractor_that_fits_the_body() {
    let object_created = json!({
        "version": "0", "id": "1", "detail-type": "Object Created", "source": "aws.s3", "account": "123456789012",
        "time": "2021-11-12T00:00:00Z", "region": "ca-central-1", "resources": ["arn:aws:s3:::photos"],
        "detail": { "version": "0", "bucket": { "name": "photos" }, "object": { "key": "secret" } }
    });
    let trail = json!({ "Records": [{
        "eventVersion": "1.08", "userIdentity": { "type": "IAMUser" }, "eventTime": "2021-11-12T00:00:00Z",
        "eventSource": "s3.amazonaws.com", "eventName": "PutObject", "awsRegion": "eu-west-1",
        "requestParameters": { "bucketName": "photos", "key": "secret" }
    }]});
    for (body, expected) in [
        (object_created, "`EventBridge<T>`"),
        (trail, "`Json<T>`"),
        (sns(&s3_notification().to_string()), "`Sns<S3Notification>`"),
    ] {
        let said = extract::<Result<S3, Rejection>>(record("1", &body.to_string())).await.unwrap();
        assert!(said.contains("Malformed") && said.contains(expected) && !said.contains("secret"), "{said}");
    }
    let s3 = || record("1", &s3_notification().to_string());
    assert!(extract::<Result<EventBridge<Value>, Rejection>>(s3()).await.unwrap().contains("extract it as `S3`"));
    assert!(extract::<Result<Sns<Value>, Rejection>>(s3()).await.unwrap().contains("extract it as `S3`"));
}

#[tokio::test]
async fn raw_key_is_the_key_of_the_event() {
    let mut notification = s3_notification();
    notification["Records"][0]["s3"]["object"]["key"] = json!("100%/a+b.jpg");
    let seen = extract::<S3>(record("1", &notification.to_string())).await.unwrap();
    assert!(seen.contains("raw_key: \"100%/a+b.jpg\""), "{seen}");
}

#[tokio::test]
async fn s3_keys_are_decoded() {
    let seen = extract::<S3>(record("1", &s3_notification().to_string())).await.unwrap();
    assert!(seen.contains("key: \"a b+c/é.jpg\"") && seen.contains("bucket: \"photos\""), "{seen}");
    assert!(seen.contains("size: Some(1024)"), "{seen}");
    assert_eq!(extract::<S3>(record("1", "{}")).await, None);
    assert_eq!(extract::<S3>(record("1", r#"{"Event": "s3:OtherEvent"}"#)).await, None);
}

#[tokio::test]
async fn s3_test_event_is_discarded() {
    let consumer = redrive::handler(|S3(_): S3| async { Outcome::Retry });
    let batch = [record("test", &s3_test().to_string()), record("real", &s3_notification().to_string())];
    assert_eq!(answer(&consumer, event(batch)).await.unwrap(), ["real"]);
}

#[tokio::test]
async fn s3_notification_in_an_sns_envelope_is_extracted() {
    let seen =
        extract::<Sns<S3Notification>>(record("1", &sns(&s3_notification().to_string()).to_string())).await.unwrap();
    assert!(seen.contains("key: \"a b+c/é.jpg\""), "{seen}");
    let seen = extract::<Sns<S3Notification>>(record("1", &sns(&s3_test().to_string()).to_string())).await.unwrap();
    assert!(seen.contains("records: []"), "{seen}");
}

/// An attribute that keeps the `Debug` text of its value.
#[derive(Debug)]
struct Shown(#[allow(dead_code, reason = "shown")] String);

impl FromAttribute for Shown {
    const NAME: &'static str = "card";

    fn from_attribute(value: AttributeValue) -> Result<Self, BoxError> {
        Ok(Self(format!("{value:?}")))
    }
}

#[tokio::test]
async fn debug_hides_the_value_of_an_attribute() {
    let card = with_message_attribute("card", json!({ "stringValue": "SECRET", "dataType": "String.card" }));
    let seen = extract::<Attribute<Shown>>(card).await.unwrap();
    assert!(seen.contains("String.card") && !seen.contains("SECRET"), "{seen}");
}

#[tokio::test]
async fn sns_subscription_confirmation_is_rejected() {
    assert!(extract::<Sns<u32>>(record("1", &sns("7").to_string())).await.is_some());
    let confirmation = with(sns("7"), "Type", json!("SubscriptionConfirmation"));
    assert_eq!(extract::<Sns<u32>>(record("1", &confirmation.to_string())).await, None);
}
