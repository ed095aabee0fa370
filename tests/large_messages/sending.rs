use redrive::{AttributeValue, Outgoing};

use crate::fake_s3::FakeS3;
use crate::kit::{Queue, text};
use crate::{MIB, through};

#[tokio::test(start_paused = true)]
async fn message_over_a_mebibyte_is_sent_as_a_pointer() {
    let (queue, s3) = (Queue::new("orders", 1).await, FakeS3::default());
    let producer = queue.builder().large_messages(through(&s3).key_prefix("orders/")).build();
    let body = "é".repeat(MIB);
    producer.send(Outgoing::text(&body).attribute("own", AttributeValue::string("kept"))).await.unwrap();

    let (path, object) = s3.objects().pop_first().unwrap();
    assert!(object == body.as_bytes());
    let key = path.strip_prefix("/payloads/").unwrap();
    assert!(key.starts_with("orders/") && key.len() > "orders/".len() + 30, "{key}");
    let message = queue.take_all().await.pop().unwrap();
    // The libraries for Java and Python write exactly this, apart from the spaces of the latter.
    let pointer = format!(
        r#"["software.amazon.payloadoffloading.PayloadS3Pointer",{{"s3BucketName":"payloads","s3Key":"{key}"}}]"#
    );
    assert_eq!(message.body(), Some(pointer.as_str()));
    let size = &message.message_attributes().unwrap()["ExtendedPayloadSize"];
    assert_eq!((size.data_type(), size.string_value()), ("Number", Some("2097152")));
    assert_eq!(text(&message, "own").as_deref(), Some("kept"));
}

#[tokio::test(start_paused = true)]
async fn message_within_the_limit_avoids_s3_unless_the_threshold_is_lower() {
    let (queue, s3) = (Queue::new("orders", 2).await, FakeS3::default());
    let producer = queue.builder().large_messages(through(&s3)).build();
    producer.send(Outgoing::text("x".repeat(MIB))).await.unwrap();
    assert_eq!(s3.objects().len(), 0);
    producer.send(Outgoing::text("x".repeat(MIB - 4)).attribute("a", AttributeValue::string("b"))).await.unwrap();
    assert_eq!(s3.objects().len(), 1, "attributes count");

    let producer = queue.builder().large_messages(through(&s3).threshold(10)).build();
    let results = producer.send_all([10, 11].map(|bytes| Outgoing::text("x".repeat(bytes)))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(s3.objects().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn group_keeps_its_order_when_some_messages_go_through_s3() {
    let (queue, s3) = (Queue::new("orders.fifo", 3).await, FakeS3::default());
    let producer = queue.builder().large_messages(through(&s3).threshold(1)).build();
    let bodies = ["1", "22", "3", "44"];
    let results = producer.send_all(bodies.map(|body| Outgoing::text(body).group("g"))).await;
    assert!(results.iter().all(Result::is_ok));
    let sent = queue.take_all().await;
    let is_pointer: Vec<_> = sent.iter().map(|message| message.body().unwrap().starts_with('[')).collect();
    assert_eq!(is_pointer, [false, true, false, true]);
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_group_do_not_pass_one_whose_body_failed_to_reach_s3() {
    let (queue, s3) = (Queue::new("orders.fifo", 3).await, FakeS3::default());
    let producer = queue.builder().large_messages(through(&s3).threshold(1)).build();
    s3.fail_with(503, "SlowDown");
    let messages = [("1", "g"), ("22", "g"), ("3", "g"), ("44", "g"), ("5", "another")];
    let results = producer.send_all(messages.map(|(body, group)| Outgoing::text(body).group(group))).await;
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, false, true]);
    for behind in [&results[2], &results[3]] {
        let error = behind.as_ref().unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("an earlier message"), "{error}");
    }
    assert_eq!(queue.bodies().await, ["1", "5"]);
}

#[tokio::test(start_paused = true)]
async fn message_whose_body_is_not_in_s3_is_not_sent() {
    let (queue, s3) = (Queue::new("orders", 4).await, FakeS3::default());
    let producer = queue.builder().large_messages(through(&s3)).build();
    s3.fail_with(403, "AccessDenied");
    let error = producer.send(Outgoing::text("x".repeat(MIB + 1))).await.unwrap_err();
    assert!(error.is_retryable() && !error.is_unknown() && !error.is_permission_denied());
    let told = error.to_string();
    assert!(told.contains("s3:PutObject s3://payloads/") && told.contains("AccessDenied"), "{told}");
    assert_eq!(queue.calls.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn message_that_sqs_would_refuse_is_not_put_into_s3() {
    let (queue, s3) = (Queue::new("orders", 5).await, FakeS3::default());
    let producer = queue.builder().large_messages(through(&s3)).build();
    let large = || Outgoing::text("x".repeat(MIB + 1));
    let ten = (0..10).fold(large(), |message, n| message.attribute(n.to_string(), AttributeValue::string("x")));
    let refused = [
        (ten, "needs another one, ExtendedPayloadSize"),
        (large().attribute("SQSLargePayloadSize", AttributeValue::number(1)), "has the attribute SQSLargePayloadSize"),
        (large().group("a b"), "its group"),
    ];
    for (message, why) in refused {
        let error = producer.send(message).await.unwrap_err();
        assert!(error.is_refused() && error.to_string().contains(why), "{error}");
    }
    let own = large().attribute("own", AttributeValue::string("x".repeat(MIB)));
    assert!(producer.send(own).await.unwrap_err().is_too_large(), "attributes stay with the message");
    assert_eq!((s3.objects().len(), queue.calls.total()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn error_without_a_bucket_names_the_feature() {
    let queue = Queue::new("orders", 6).await;
    let error = queue.producer().send(Outgoing::text("x".repeat(MIB + 1))).await.unwrap_err();
    assert!(error.is_too_large() && error.to_string().contains("large_messages"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn message_for_the_outbox_is_offloaded_before_its_transaction() {
    let s3 = FakeS3::default();
    let message = through(&s3).offload(Outgoing::text("x".repeat(MIB + 1))).await.unwrap();
    assert_eq!(s3.objects().len(), 1);
    let queue = Queue::new("orders", 7).await;
    queue.producer().send(message).await.unwrap();
    assert!(queue.bodies().await[0].contains("PayloadS3Pointer"));
}
