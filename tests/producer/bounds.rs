//! The limits of a producer, and its shutdown.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redrive::{AttributeValue, Outgoing};
use redrive_local::Faults;
use tokio::time::{sleep, timeout};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

use crate::kit::{Queue, secs, timed};

#[tokio::test(start_paused = true)]
async fn full_buffer_makes_senders_wait() {
    let queue = Queue::new("orders", 1).await;
    queue.sqs.set_faults(Faults::none().throttles(1.0));
    let producer = queue.builder().buffer(2_200_000).retry_for(secs(10_000)).build();
    let large = || Outgoing::text("x".repeat(1_000_000));
    let mut waiting: Vec<_> = (0..3)
        .map(|_| {
            let producer = producer.clone();
            tokio::spawn(async move { producer.send(large()).await })
        })
        .collect();
    sleep(secs(100)).await;
    // The third message waits for room, so it does not meet the faults.
    queue.sqs.set_faults(Faults::none());
    for send in waiting.drain(..) {
        send.await.unwrap().unwrap();
    }
    assert_eq!(queue.bodies().await.len(), 3);
    queue.sqs.set_faults(Faults::none().throttles(1.0));
    let senders: Vec<_> = (0..2)
        .map(|_| {
            let producer = producer.clone();
            tokio::spawn(async move { producer.send(large()).await })
        })
        .collect();
    sleep(secs(1)).await;
    let small = producer.send(Outgoing::text("x".repeat(300_000)));
    assert!(timeout(secs(1), small).await.is_err(), "it waits for room");
    queue.sqs.set_faults(Faults::none());
    for send in senders {
        send.await.unwrap().unwrap();
    }
    assert_eq!(queue.bodies().await.len(), 2, "a sender that gave up waiting has sent nothing");
}

#[tokio::test(start_paused = true)]
async fn too_large_message_makes_no_call() {
    let queue = Queue::new("orders", 1).await;
    let producer = queue.producer();
    let error = producer.send(Outgoing::text("x".repeat(1_048_577))).await.unwrap_err();
    assert!(error.is_too_large() && error.to_string().contains("1048577 bytes"), "{error}");
    assert_eq!(queue.calls.total(), 0);
    producer.send(Outgoing::text("x".repeat(1_048_576))).await.unwrap();
    let [message] = &queue.take_all().await[..] else { panic!("one was sent") };
    assert!(message.message_attributes().is_none(), "added attributes do not stop it");
}

#[tokio::test(start_paused = true)]
async fn ten_attributes_leave_no_room_for_added_ones() {
    let queue = Queue::new("orders", 1).await;
    let ten =
        (0..10).fold(Outgoing::text("x"), |message, n| message.attribute(format!("a{n}"), AttributeValue::number(n)));
    queue.producer().send(ten).await.unwrap();
    assert_eq!(queue.take_all().await[0].message_attributes().unwrap().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn flush_waits_for_all_earlier_messages() {
    let queue = Queue::new("orders", 1).await;
    let producer = queue.builder().linger(secs(3_600)).build();
    let senders: Vec<_> = (0..23)
        .map(|n| {
            let producer = producer.clone();
            tokio::spawn(async move { producer.send(&n).await })
        })
        .collect();
    sleep(secs(1)).await;
    let ((), took) = timed(producer.flush()).await;
    assert!(took < secs(1), "{took:?}");
    assert_eq!(queue.bodies().await.len(), 23);
    for send in senders {
        assert!(send.is_finished());
        send.await.unwrap().unwrap();
    }
    timed(producer.flush()).await;
}

#[tokio::test(start_paused = true)]
async fn flush_waits_for_failing_messages() {
    let queue = Queue::new("orders", 1).await;
    queue.sqs.set_faults(Faults::none().failed_entries(0.6));
    let producer = queue.producer();
    let sender = tokio::spawn({
        let producer = producer.clone();
        async move { producer.send(Outgoing::text("x")).await }
    });
    sleep(Duration::from_millis(1)).await;
    producer.flush().await;
    sender.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn close_sends_everything_and_accepts_no_more() {
    let queue = Queue::new("orders", 1).await;
    let producer = queue.builder().linger(secs(3_600)).build();
    let clone = producer.clone();
    let sender = tokio::spawn({
        let producer = producer.clone();
        async move { producer.send(Outgoing::text("x")).await }
    });
    sleep(secs(1)).await;
    producer.close().await;
    sender.await.unwrap().unwrap();
    assert_eq!(queue.bodies().await, ["x"]);
    let error = clone.send(Outgoing::text("y")).await.unwrap_err();
    assert!(error.to_string().contains("closed") && !error.is_retryable(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn message_is_sent_after_its_caller_was_dropped() {
    let queue = Queue::new("orders", 1).await;
    let producer = queue.builder().linger(secs(10)).build();
    let send = producer.send(Outgoing::text("x"));
    assert!(timeout(secs(1), send).await.is_err());
    drop(producer);
    sleep(secs(20)).await;
    assert_eq!(queue.bodies().await, ["x"], "its message outlives the last producer");
}

/// Each test of a Lambda function may have its own runtime.
#[test]
fn runtime_that_ends_loses_only_its_running_calls() {
    let on_a_runtime =
        || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (queue, producer) = on_a_runtime().block_on(async {
        let queue = Queue::new("orders.fifo", 1).await;
        let producer = queue.builder().retry_for(secs(200)).build();
        queue.sqs.set_faults(Faults::none().slow_calls(1.0, secs(5)));
        let message = |n: u32| Outgoing::text(n.to_string()).group("g");
        let send = producer.send_all([message(1), message(2)]);
        assert!(timeout(Duration::from_millis(1), send).await.is_err());
        (queue, producer)
    });
    on_a_runtime().block_on(async {
        queue.sqs.set_faults(Faults::none());
        producer.send(Outgoing::text("3").group("g")).await.unwrap();
        timeout(secs(1), producer.flush()).await.expect("a flush does not wait for lost messages");
        assert!(queue.bodies().await.contains(&"3".to_owned()));
    });
}

#[test]
fn lingering_messages_of_an_ended_runtime_are_sent_by_the_next_close() {
    let on_a_runtime =
        || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (queue, producer) = on_a_runtime().block_on(async {
        let queue = Queue::new("orders", 1).await;
        let producer = queue.builder().linger(secs(3_600)).build();
        assert!(timeout(secs(1), producer.send(Outgoing::text("x"))).await.is_err());
        (queue, producer)
    });
    on_a_runtime().block_on(async {
        timeout(secs(60), producer.close()).await.expect("the new runtime sends it");
        assert_eq!(queue.bodies().await, ["x"]);
    });
}

#[tokio::test(start_paused = true)]
async fn longest_durations_do_not_overflow() {
    let queue = Queue::new("orders", 1).await;
    queue.sqs.set_faults(Faults::none().throttles(0.9));
    let patient = queue.builder().linger(Duration::MAX).retry_for(Duration::MAX).build();
    assert!(patient.send_all([Outgoing::text("x")]).await[0].is_ok());
}

#[tokio::test(start_paused = true)]
async fn fifo_retries_end_before_sqs_forgets_the_deduplication_id() {
    for (name, end) in [("orders.fifo", secs(260)..secs(281)), ("orders", secs(980)..secs(1_001))] {
        let queue = Queue::new(name, 1).await;
        queue.sqs.set_faults(Faults::none().throttles(1.0));
        let producer = queue.builder().retry_for(secs(1_000)).build();
        let (result, took) = timed(producer.send(Outgoing::text("x").group("g"))).await;
        assert!(result.unwrap_err().is_retryable());
        assert!(end.contains(&took), "{name}: {took:?}");
    }
}

/// The number of unsettled messages in the warning.
#[derive(Clone, Default)]
struct Unsettled(Arc<AtomicU64>);

impl Visit for Unsettled {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "unsettled" {
            self.0.fetch_add(value, Ordering::Relaxed);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl<S: tracing::Subscriber> Layer<S> for Unsettled {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        event.record(&mut self.clone());
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_producer_logs_how_many_messages_it_has() {
    let queue = Queue::new("orders", 1).await;
    let unsettled = Unsettled::default();
    let _log = tracing::subscriber::set_default(Registry::default().with(unsettled.clone()));
    let told = || unsettled.0.load(Ordering::Relaxed);
    let producer = queue.builder().linger(secs(10)).build();
    for n in 0..3 {
        assert!(timeout(secs(1), producer.send(&n)).await.is_err());
    }
    let clone = producer.clone();
    drop(producer);
    assert_eq!(told(), 0, "another clone exists");
    drop(clone);
    assert_eq!(told(), 3);
    drop(queue.producer());
    assert_eq!(told(), 3, "every message is counted");
}
