use std::sync::{Arc, Mutex};

use aws_sdk_sqs::types::MessageAttributeValue;
use redrive::{Body, Effects, Json, Message, Outcome, Outgoing, Producer, State};
use redrive_local::{Kit, TestQueue};
use tower::util::MapRequestLayer;

use crate::fake_s3::FakeS3;
use crate::{MIB, through};

pub(crate) const POINTER: &str =
    r#"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"payloads","s3Key":"k"}]"#;

/// Sends exactly the message that a library of AWS sends.
pub(crate) async fn send(queue: &TestQueue, body: &str, size_attribute: &str) -> String {
    send_with_size(queue, body, size_attribute, "11").await
}

/// Sends it with another announced size, which nobody checks.
pub(crate) async fn send_with_size(queue: &TestQueue, body: &str, size_attribute: &str, size: &str) -> String {
    let data_type = if size.parse::<f64>().is_ok() { "Number" } else { "String" };
    let number = MessageAttributeValue::builder().data_type(data_type).string_value(size).build().unwrap();
    let other = MessageAttributeValue::builder().data_type("String").string_value("kept").build().unwrap();
    let send = queue.client().send_message().queue_url(queue.url()).message_body(body);
    let send = send.message_attributes(size_attribute, number).message_attributes("other", other);
    send.send().await.unwrap().message_id.unwrap()
}

/// The bodies that a handler received.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

async fn see(State(seen): State<Seen>, Body(body): Body) {
    seen.0.lock().unwrap().push(body);
}

pub(crate) async fn queue(kit: &Kit) -> TestQueue {
    kit.queue("orders").max_receive_count(2).create().await.unwrap()
}

/// Returns the reason of a dead letter.
pub(crate) fn why(queue: &TestQueue, id: &str) -> String {
    let deliveries = queue.deliveries_of(id);
    deliveries.last().unwrap().why.clone().unwrap()
}

#[tokio::test(start_paused = true)]
async fn handler_gets_the_whole_body_that_a_producer_sent_through_s3() {
    let (kit, s3) = (Kit::with_seed(1), FakeS3::default());
    let orders = queue(&kit).await;
    let count = |Json(lines): Json<Vec<String>>| async move {
        if lines.len() == 100_000 { Outcome::Done } else { Outcome::Retry }
    };
    orders.mapping(redrive::handler(count).large_messages(through(&s3))).start().unwrap();
    let lines = vec!["line \"and\" \\ é 🦀"; 100_000];
    let producer = Producer::builder(orders.client().clone(), orders.url()).large_messages(through(&s3)).build();
    producer.send(Outgoing::json(&lines).unwrap()).await.unwrap();
    kit.until_idle().await;
    assert_eq!(orders.deliveries().iter().map(|each| each.done).collect::<Vec<_>>(), [true]);
    assert_eq!(s3.objects().len(), 1, "an object is not deleted, because its message may return");
}

#[tokio::test(start_paused = true)]
async fn pointers_of_the_libraries_of_aws_are_followed() {
    let (kit, s3) = (Kit::with_seed(2), FakeS3::default());
    s3.put("/payloads/k", "an order");
    let (orders, seen) = (queue(&kit).await, Seen::default());
    orders.mapping(redrive::handler(see).with_state(seen.clone()).large_messages(through(&s3))).start().unwrap();
    let python =
        r#"["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "payloads", "s3Key": "k"}]"#;
    let java_1 = r#"["com.amazon.sqs.javamessaging.MessageS3Pointer",{"s3BucketName":"payloads","s3Key":"k"}]"#;
    for (body, attribute) in
        [(POINTER, "ExtendedPayloadSize"), (python, "ExtendedPayloadSize"), (java_1, "SQSLargePayloadSize")]
    {
        send(&orders, body, attribute).await;
    }
    kit.until_idle().await;
    assert_eq!(seen.take(), ["an order"; 3]);
}

#[tokio::test(start_paused = true)]
async fn body_that_only_resembles_a_pointer_stays_a_body() {
    let (kit, s3) = (Kit::with_seed(3), FakeS3::default());
    let (orders, seen) = (queue(&kit).await, Seen::default());
    orders.mapping(redrive::handler(see).with_state(seen.clone()).large_messages(through(&s3))).start().unwrap();
    orders.send(POINTER).await.unwrap();
    kit.until_idle().await;
    assert_eq!(seen.take(), [POINTER]);
}

#[tokio::test(start_paused = true)]
async fn layers_and_extractors_see_the_message_as_it_was_sent() {
    let (kit, s3) = (Kit::with_seed(4), FakeS3::default());
    s3.put("/payloads/k", "an order");
    let orders = queue(&kit).await;
    let look = |Message(message): Message| async move {
        let names: Vec<_> = message.message_attributes.keys().cloned().collect();
        let is_whole = message.body.as_deref() == Some("an order") && names == ["other"];
        let has_sums = message.md5_of_body.is_some() || message.md5_of_message_attributes.is_some();
        if is_whole && !has_sums && message.receipt_handle.is_some() { Ok(()) } else { Err(format!("{message:?}")) }
    };
    let layer = MapRequestLayer::new(|record: redrive::Record| {
        assert_eq!(record.body().unwrap().unwrap(), "an order");
        record
    });
    orders.mapping(redrive::handler(look).layer(layer).large_messages(through(&s3))).start().unwrap();
    let id = send(&orders, POINTER, "ExtendedPayloadSize").await;
    kit.until_idle().await;
    let deliveries = orders.deliveries_of(&id);
    assert_eq!((deliveries.len(), deliveries[0].done), (1, true), "{:?}", deliveries[0].why);
}

#[tokio::test(start_paused = true)]
async fn failed_fetch_fails_only_its_record() {
    let (kit, s3) = (Kit::with_seed(5), FakeS3::default());
    s3.put("/payloads/k", "an order");
    s3.put("/payloads/long", "x".repeat(101));
    s3.put("/payloads/bytes", [0xff]);
    s3.put("/others/k", "a secret");
    let (orders, seen) = (queue(&kit).await, Seen::default());
    let large_messages = through(&s3).max_size(100);
    orders.mapping(redrive::handler(see).with_state(seen.clone()).large_messages(large_messages)).start().unwrap();
    let at = |bucket: &str, key: &str| {
        POINTER.replace("payloads\"", &format!("{bucket}\"")).replace("\"k\"", &format!("\"{key}\""))
    };
    let bad = [
        (at("payloads", "none"), "NoSuchKey"),
        (at("payloads", "long"), "longer than the 100 bytes"),
        (at("payloads", "bytes"), "is not UTF-8 text"),
        (at("others", "k"), "s3://others/k, is in a bucket that is not allowed"),
        ("an order".to_owned(), "is not a pointer"),
        (r#"["c",{"s3Key":"k"}]"#.to_owned(), "missing field `s3BucketName`"),
    ];
    let mut sent = Vec::new();
    for (body, expected) in &bad {
        sent.push((send(&orders, body, "ExtendedPayloadSize").await, expected));
    }
    send(&orders, POINTER, "ExtendedPayloadSize").await;
    kit.until_idle().await;
    assert_eq!(seen.take(), ["an order"]);
    for (id, expected) in sent {
        assert!(why(&orders, &id).contains(*expected), "{expected}: {}", why(&orders, &id));
    }
    let dead: Vec<_> = orders.dead_letters().into_iter().map(|letter| letter.body).collect();
    assert_eq!(dead.len(), bad.len());
}

#[tokio::test(start_paused = true)]
async fn named_further_buckets_are_read() {
    let (kit, s3) = (Kit::with_seed(6), FakeS3::default());
    s3.put("/others/k", "an order");
    let (orders, seen) = (queue(&kit).await, Seen::default());
    let large_messages = through(&s3).also_read_from("others");
    orders.mapping(redrive::handler(see).with_state(seen.clone()).large_messages(large_messages)).start().unwrap();
    send(&orders, &POINTER.replace("payloads\"", "others\""), "ExtendedPayloadSize").await;
    kit.until_idle().await;
    assert_eq!(seen.take(), ["an order"]);
}

#[tokio::test(start_paused = true)]
async fn objects_outside_the_key_prefix_are_not_read_and_their_records_are_retried() {
    let (kit, s3) = (Kit::with_seed(9), FakeS3::default());
    for key in ["orders/k", "secret", "orders-private/k", "orders/../secret"] {
        s3.put(&format!("/payloads/{key}"), format!("the body of {key}"));
    }
    let (orders, seen) = (queue(&kit).await, Seen::default());
    let large_messages = through(&s3).key_prefix("orders/");
    orders.mapping(redrive::handler(see).with_state(seen.clone()).large_messages(large_messages)).start().unwrap();
    let at = |key: &str| POINTER.replace("\"k\"", &format!("\"{key}\""));
    let refused = [
        ("secret", "also_read_prefix"),
        ("orders-private/k", "also_read_prefix"),
        ("orders/../secret", "segment"),
        ("orders/", "also_read_prefix"),
    ];
    let mut sent = Vec::new();
    for (key, expected) in refused {
        sent.push((send(&orders, &at(key), "ExtendedPayloadSize").await, expected));
    }
    send(&orders, &at("orders/k"), "ExtendedPayloadSize").await;
    kit.until_idle().await;
    assert_eq!(seen.take(), ["the body of orders/k"]);
    for (id, expected) in sent {
        assert_eq!(orders.deliveries_of(&id).len(), 2, "it is retried until the RedrivePolicy moves it");
        assert!(why(&orders, &id).contains(expected), "{expected}: {}", why(&orders, &id));
    }
    assert_eq!(orders.dead_letters().len(), refused.len());
}

#[tokio::test(start_paused = true)]
async fn named_further_prefixes_are_read() {
    let (kit, s3) = (Kit::with_seed(10), FakeS3::default());
    s3.put("/payloads/legacy/k", "an order");
    let (orders, seen) = (queue(&kit).await, Seen::default());
    let large_messages = through(&s3).key_prefix("orders/").also_read_prefix("legacy/");
    orders
        .mapping(redrive::handler(see).with_state(seen.clone()).large_messages(large_messages.clone()))
        .start()
        .unwrap();
    send(&orders, &POINTER.replace("\"k\"", "\"legacy/k\""), "ExtendedPayloadSize").await;
    let producer = Producer::builder(orders.client().clone(), orders.url()).large_messages(large_messages.threshold(0));
    producer.build().send(Outgoing::text("an order of its own")).await.unwrap();
    kit.until_idle().await;
    let mut bodies = seen.take();
    bodies.sort();
    assert_eq!(bodies, ["an order", "an order of its own"]);
}

#[tokio::test(start_paused = true)]
async fn batch_handler_gets_bodies_that_were_fetched_concurrently() {
    let (kit, s3) = (Kit::with_seed(7), FakeS3::default());
    s3.put("/payloads/k", "an order");
    let (orders, seen) = (queue(&kit).await, Seen::default());
    let see_all = |State(seen): State<Seen>, bodies: Vec<Body>| async move {
        seen.0.lock().unwrap().extend(bodies.iter().map(|Body(body)| body.clone()));
        vec![(); bodies.len()]
    };
    let consumer = redrive::batch(see_all).with_state(seen.clone()).large_messages(through(&s3));
    let missing = POINTER.replace("\"k\"", "\"none\"");
    let poison = send(&orders, &missing, "ExtendedPayloadSize").await;
    for _ in 0..4 {
        send(&orders, POINTER, "ExtendedPayloadSize").await;
    }
    orders.mapping(consumer).batch_size(5).start().unwrap();
    kit.until_idle().await;
    assert_eq!(seen.take(), ["an order"; 4]);
    assert_eq!(s3.most_calls_at_a_time(), 5);
    assert!(why(&orders, &poison).contains("NoSuchKey"));
}

#[tokio::test(start_paused = true)]
async fn dead_letter_carries_the_original_pointer() {
    let (kit, s3) = (Kit::with_seed(8), FakeS3::default());
    s3.put("/payloads/k", "x".repeat(2 * MIB));
    let orders = kit.queue("orders").max_receive_count(5).create().await.unwrap();
    let refuse = |Body(body): Body| async move { Outcome::DeadLetter(format!("{} bytes", body.len()).into()) };
    let effects = Effects::with_client(orders.client().clone());
    orders.mapping(redrive::handler(refuse).effects(effects).large_messages(through(&s3))).start().unwrap();
    send(&orders, POINTER, "ExtendedPayloadSize").await;
    kit.until_idle().await;

    let url = orders.url().replace("orders", "orders-dlq");
    let received =
        orders.client().receive_message().queue_url(url).message_attribute_names("All").send().await.unwrap();
    let dead = &received.messages()[0];
    let attributes = dead.message_attributes().unwrap();
    assert_eq!(dead.body(), Some(POINTER));
    assert_eq!(attributes["ExtendedPayloadSize"].string_value(), Some("11"));
    assert_eq!(attributes["redrive.reason"].string_value(), Some("2097152 bytes"));
}
