//! Retries of failed messages.

use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Name;
use redrive::Outgoing;
use redrive_local::Faults;

use crate::kit::{Queue, counted, secs, text, timed};

fn numbers(count: usize) -> impl Iterator<Item = Outgoing> {
    (0..count).map(|n| Outgoing::text(n.to_string()))
}

#[tokio::test(start_paused = true)]
async fn entries_that_fail_without_fault_are_retried() {
    let queue = Queue::new("orders", 1).await;
    queue.sqs.set_faults(Faults::none().failed_entries(0.5));
    let results = queue.producer().send_all(numbers(500)).await;
    assert!(results.iter().all(Result::is_ok));
    queue.sqs.set_faults(Faults::none());
    assert!(counted(queue.bodies().await).values().eq(&[1; 500]), "each message is there once");
}

#[tokio::test(start_paused = true)]
async fn sender_fault_is_not_retried() {
    let queue = Queue::new("orders", 1).await;
    queue.sqs.set_faults(Faults::none().refused_entries(0.5));
    let (results, took) = timed(queue.producer().send_all(numbers(500))).await;
    queue.sqs.set_faults(Faults::none());
    let there = counted(queue.bodies().await);
    for (number, result) in results.iter().enumerate() {
        assert_eq!(there.contains_key(&number.to_string()), result.is_ok());
        assert!(result.as_ref().err().is_none_or(|error| error.is_refused() && !error.is_retryable()));
    }
    assert!(there.len() < 400 && took < Duration::from_millis(100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn throttles_and_broken_connections_are_retried() {
    let queue = Queue::new("orders", 1).await;
    queue.sqs.set_faults(Faults::none().throttles(0.3).lost_requests(0.3));
    let patient = queue.builder().retry_for(secs(300)).build();
    assert!(patient.send_all(numbers(500)).await.iter().all(Result::is_ok));
    queue.sqs.set_faults(Faults::none());
    assert!(counted(queue.bodies().await).values().eq(&[1; 500]));
}

#[tokio::test(start_paused = true)]
async fn copies_of_a_message_share_its_id() {
    let queue = Queue::new("orders", 1).await;
    queue.sqs.set_faults(Faults::none().lost_answers(0.3));
    assert!(queue.producer().send_all(numbers(500)).await.iter().all(Result::is_ok));
    queue.sqs.set_faults(Faults::none());
    let all = queue.take_all().await;
    let ids =
        counted(all.iter().map(|message| (text(message, "redrive.id").unwrap(), message.body().unwrap().to_owned())));
    assert_eq!(ids.len(), 500, "each id belongs to one message");
    assert!(all.len() > 550, "{} of 500 messages arrived", all.len());
}

#[tokio::test(start_paused = true)]
async fn fifo_queue_drops_a_retry() {
    let queue = Queue::new("orders.fifo", 1).await;
    queue.sqs.set_faults(Faults::none().lost_answers(0.3));
    let results = queue.producer().send_all(numbers(100).map(|message| message.group("g"))).await;
    assert!(results.iter().all(Result::is_ok));
    queue.sqs.set_faults(Faults::none());
    assert_eq!(queue.bodies().await, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn retries_end_with_an_error_that_tells_the_outcome() {
    let queue = Queue::new("orders", 1).await;
    queue.sqs.set_faults(Faults::none().throttles(1.0));
    let (result, took) = timed(queue.producer().send(Outgoing::text("x"))).await;
    let error = result.unwrap_err();
    assert!(error.is_retryable() && !error.is_unknown() && error.to_string().contains("Throttled"), "{error}");
    assert!((secs(30)..=secs(60)).contains(&took), "{took:?}");
    queue.sqs.set_faults(Faults::none().lost_answers(1.0));
    let error = queue.builder().retry_for(secs(1)).build().send(Outgoing::text("x")).await.unwrap_err();
    assert!(error.is_retryable() && error.is_unknown(), "{error}");
    queue.sqs.set_faults(Faults::none());
    assert!(!queue.bodies().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn refusal_after_a_lost_answer_is_unknown() {
    let queue = Queue::new("orders", 1).await;
    queue.sqs.set_faults(Faults::none().lost_answers(1.0));
    let producer = queue.producer();
    let send = tokio::spawn(async move { producer.send(Outgoing::text("x")).await });
    tokio::time::sleep(Duration::from_millis(6)).await;
    queue.sqs.set_faults(Faults::none().refused_entries(1.0));
    assert!(send.await.unwrap().unwrap_err().is_unknown());
}

#[tokio::test(start_paused = true)]
async fn missing_queue_is_one_clear_error() {
    let queue = Queue::new("orders", 1).await;
    let producer = redrive::Producer::new(queue.client(), queue.url.replace("orders", "oders"));
    let error = producer.send(Outgoing::text("x")).await.unwrap_err();
    assert!(error.is_refused() && error.to_string().contains("sqs:SendMessage"), "{error}");
    assert_eq!(queue.calls.total(), 1);
}

#[tokio::test(start_paused = true)]
async fn equal_messages_are_two_unless_deduplicated_by_content() {
    let content_based = [(Name::ContentBasedDeduplication, "true")];
    let queue = Queue::with("orders.fifo", 1, &content_based).await;
    let twice = || [Outgoing::text("x").group("g"), Outgoing::text("x").group("g")];
    assert!(queue.producer().send_all(twice()).await.iter().all(Result::is_ok));
    assert_eq!(queue.bodies().await.len(), 2);
    let results = queue.builder().content_based_deduplication().build().send_all(twice()).await;
    assert_eq!(results[0], results[1], "SQS dropped the second message");
    assert_eq!(queue.bodies().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn retries_do_not_wait_behind_new_messages() {
    let queue = Queue::new("orders.fifo", 1).await;
    let producer = queue.builder().concurrency(1).buffer(64 << 20).linger(Duration::ZERO).build();
    queue.sqs.set_faults(Faults::none().lost_answers(1.0));
    let first = tokio::spawn({
        let producer = producer.clone();
        async move { producer.send(Outgoing::text("first").group("g")).await }
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    queue.sqs.set_faults(Faults::none().slow_calls(1.0, secs(10)));
    // Each of these messages fills a call.
    let others = (0..100).map(|n| Outgoing::text("x".repeat(600_000)).group(n.to_string()));
    let (results, took) = timed(producer.send_all(others)).await;
    assert!(results.iter().all(Result::is_ok) && took > secs(300), "{took:?}");
    first.await.unwrap().unwrap();
    queue.sqs.set_faults(Faults::none());
    let bodies = queue.bodies().await;
    assert_eq!(bodies.iter().filter(|body| *body == "first").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn unknown_message_is_sent_again_under_its_id() {
    for name in ["orders.fifo", "orders"] {
        let queue = Queue::new(name, 1).await;
        let producer = queue.builder().retry_for(secs(1)).build();
        let message = || Outgoing::text("x").group("g");
        queue.sqs.set_faults(Faults::none().lost_answers(1.0));
        let error = producer.send(message()).await.unwrap_err();
        queue.sqs.set_faults(Faults::none());
        let id = error.send_id().expect("it was sent").to_owned();
        assert!(error.is_unknown());
        producer.send(message().deduplication_id(&id)).await.unwrap();
        let all = queue.take_all().await;
        if name.ends_with(".fifo") {
            assert_eq!(all.len(), 1);
        } else {
            assert!(all.len() > 1 && all.iter().all(|message| text(message, "redrive.id").unwrap() == id));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn error_has_the_messages_id_if_there_is_one() {
    let queue = Queue::new("orders.fifo", 1).await;
    queue.sqs.set_faults(Faults::none().throttles(1.0));
    let message = || Outgoing::text("x").group("g");
    let impatient = || queue.builder().retry_for(secs(1));
    let messages = [message(), message(), message().deduplication_id("mine")];
    let results = impatient().build().send_all(messages).await;
    let ids: Vec<_> = results.iter().map(|result| result.as_ref().unwrap_err().send_id()).collect();
    assert_eq!(ids[0].map(str::len), Some(32));
    assert_eq!(ids[1..], [None, Some("mine")], "the second was never sent");
    let by_content = impatient().content_based_deduplication().build();
    assert_eq!(by_content.send(message()).await.unwrap_err().send_id(), None);
}
