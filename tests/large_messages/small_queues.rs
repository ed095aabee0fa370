//! Queues with a size limit below 1 MiB, and queues that deduplicate by content.

use aws_sdk_sqs::types::{MessageSystemAttributeName as System, QueueAttributeName as Name};
use redrive::{AttributeValue, Outgoing, TraceContext};

use crate::fake_s3::FakeS3;
use crate::kit::{Queue, system, text};
use crate::{MIB, through};

const LIMIT_BYTES: usize = 2_048;
const CONTENT_BASED: (Name, &str) = (Name::ContentBasedDeduplication, "true");

async fn small(name: &str, others: &[(Name, &str)]) -> Queue {
    Queue::with(name, 1, &[&[(Name::MaximumMessageSize, "2048")][..], others].concat()).await
}

#[tokio::test(start_paused = true)]
async fn message_above_its_queues_limit_goes_through_s3() {
    let (queue, s3) = (small("orders", &[]).await, FakeS3::default());
    let trace = || TraceContext::default().traceparent("00-1-2-01".to_owned());
    let producer = queue.builder().large_messages(through(&s3)).trace_context(trace).build();
    for number in 1..=2 {
        producer.send(Outgoing::text("x".repeat(LIMIT_BYTES + 1))).await.unwrap();
        assert_eq!(s3.objects().len(), number);
    }
    assert_eq!(queue.calls.total(), 3, "the limit is learned once");
    let messages = queue.take_all().await;
    for message in &messages {
        assert!(message.body().unwrap().contains("payloads"), "{:?}", message.body());
        assert_eq!(text(message, "ExtendedPayloadSize").as_deref(), Some("2049"));
        assert!(
            text(message, "redrive.id").is_some() && text(message, "traceparent").is_some(),
            "there is room for all"
        );
    }
    assert_eq!(messages.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn message_that_fits_without_added_attributes_does_not_go_through_s3() {
    let (queue, s3) = (small("orders", &[]).await, FakeS3::default());
    let producer = queue.builder().large_messages(through(&s3)).build();
    producer.send(Outgoing::text("x".repeat(LIMIT_BYTES))).await.unwrap();
    assert_eq!(s3.objects().len(), 0);
    assert!(queue.take_all().await[0].message_attributes().is_none());
}

#[tokio::test(start_paused = true)]
async fn group_keeps_its_order_and_ids_when_a_queue_refuses_some_for_their_size() {
    let (queue, s3) = (small("orders.fifo", &[]).await, FakeS3::default());
    let producer = queue.builder().large_messages(through(&s3)).build();
    let message = |number: &&str| {
        let bytes = if number.len() > 1 { LIMIT_BYTES + 1 } else { 10 };
        Outgoing::text("x".repeat(bytes)).group("g").deduplication_id(*number)
    };
    let numbers = ["1", "22", "3", "44", "5"];
    let results = producer.send_all(numbers.iter().map(message)).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let messages = queue.take_all().await;
    let ids: Vec<_> = messages.iter().map(|message| system(message, System::MessageDeduplicationId).unwrap()).collect();
    assert_eq!(ids, numbers);
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_group_do_not_pass_a_refused_one_whose_body_failed_to_reach_s3() {
    let (queue, s3) = (small("orders.fifo", &[]).await, FakeS3::default());
    let producer = queue.builder().large_messages(through(&s3)).build();
    s3.fail_with(503, "SlowDown");
    let message = |(bytes, group): (usize, &str)| Outgoing::text("x".repeat(bytes)).group(group);
    let messages = [(1, "g"), (LIMIT_BYTES + 1, "g"), (3, "g"), (4, "another")];
    let results = producer.send_all(messages.map(message)).await;
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true]);
    let error = results[1].as_ref().unwrap_err();
    assert!(error.is_retryable() && !error.is_unknown() && error.to_string().contains("S3"), "{error}");
    producer.close().await;
}

#[tokio::test(start_paused = true)]
async fn message_whose_attributes_alone_are_too_large_is_not_put_into_s3() {
    let (queue, s3) = (small("orders", &[]).await, FakeS3::default());
    let producer = queue.builder().large_messages(through(&s3)).build();
    let own = AttributeValue::string("x".repeat(LIMIT_BYTES));
    let error = producer.send(Outgoing::text("y".repeat(100)).attribute("own", own)).await.unwrap_err();
    assert!(error.is_too_large() && error.to_string().contains("2048"), "{error}");
    assert_eq!(s3.objects().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn nine_attributes_leave_room_for_the_pointers_attribute() {
    let (queue, s3) = (small("orders", &[]).await, FakeS3::default());
    let producer = queue.builder().large_messages(through(&s3)).build();
    let large = Outgoing::text("x".repeat(LIMIT_BYTES));
    let nine = (0..9).fold(large, |message, n| message.attribute(n.to_string(), AttributeValue::string("x")));
    producer.send(nine).await.unwrap();
    let message = queue.take_all().await.remove(0);
    assert!(text(&message, "ExtendedPayloadSize").is_some() && text(&message, "redrive.id").is_none());
}

#[tokio::test(start_paused = true)]
async fn equal_bodies_in_s3_are_one_message_under_content_based_deduplication() {
    for limited in [&[][..], &[(Name::MaximumMessageSize, "2048")]] {
        let (queue, s3) =
            (Queue::with("orders.fifo", 1, &[&[CONTENT_BASED][..], limited].concat()).await, FakeS3::default());
        let producer = queue.builder().large_messages(through(&s3)).content_based_deduplication().build();
        let body = |fill: &str| fill.repeat(MIB + 1 - limited.len() * (MIB - LIMIT_BYTES));
        let message = |fill: &str| Outgoing::text(body(fill)).group("g");
        let mut ids = Vec::new();
        for fill in ["x", "x", "y"] {
            ids.push(producer.send(message(fill)).await.unwrap().message_id().to_owned());
        }
        assert!(ids[0] == ids[1] && ids[1] != ids[2], "{ids:?}");
        // SQS computes the same id from a body that it has: 64 digits of the body's hash.
        let messages = queue.take_all().await;
        let made: Vec<_> =
            messages.iter().map(|message| system(message, System::MessageDeduplicationId).unwrap()).collect();
        assert!(made.len() == 2 && made.iter().all(|id| id.len() == 64), "{made:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn equal_bodies_with_and_without_s3_are_one_message() {
    let (queue, s3) = (Queue::with("orders.fifo", 1, &[CONTENT_BASED]).await, FakeS3::default());
    let direct = queue.builder().content_based_deduplication().build();
    let through_s3 = queue.builder().content_based_deduplication().large_messages(through(&s3).threshold(1)).build();
    let first = direct.send(Outgoing::text("an order").group("g")).await.unwrap();
    let second = through_s3.send(Outgoing::text("an order").group("g")).await.unwrap();
    assert_eq!(first.message_id(), second.message_id());
    // The body is stored before, as for an outbox.
    let offloaded = through(&s3).threshold(1).offload(Outgoing::text("an order").group("g")).await.unwrap();
    assert_eq!(direct.send(offloaded).await.unwrap().message_id(), first.message_id());
}

#[tokio::test(start_paused = true)]
async fn explicit_id_overrides_content_based_deduplication() {
    let (queue, s3) = (Queue::with("orders.fifo", 1, &[CONTENT_BASED]).await, FakeS3::default());
    let producer = queue.builder().content_based_deduplication().large_messages(through(&s3).threshold(1)).build();
    for id in ["1", "2"] {
        producer.send(Outgoing::text("an order").group("g").deduplication_id(id)).await.unwrap();
    }
    assert_eq!(queue.take_all().await.len(), 2);
}
