//! What a producer holds, and how it ends.

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
async fn a_full_buffer_makes_senders_wait() {
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
    // There is no room for a third, so it knows nothing of faults.
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
    assert_eq!(queue.bodies().await.len(), 2, "who gives up waiting for room has sent nothing");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_makes_no_call() {
    let queue = Queue::new("orders", 1).await;
    let producer = queue.producer();
    let error = producer.send(Outgoing::text("x".repeat(1_048_577))).await.unwrap_err();
    assert!(error.is_too_large() && error.to_string().contains("1048577 bytes"), "{error}");
    assert_eq!(queue.calls.total(), 0);
    producer.send(Outgoing::text("x".repeat(1_048_576))).await.unwrap();
    let [message] = &queue.take_all().await[..] else { panic!("one was sent") };
    assert!(message.message_attributes().is_none(), "nothing of ours keeps it from being sent");
}

#[tokio::test(start_paused = true)]
async fn ten_attributes_leave_no_room_for_ours() {
    let queue = Queue::new("orders", 1).await;
    let ten =
        (0..10).fold(Outgoing::text("x"), |message, n| message.attribute(format!("a{n}"), AttributeValue::number(n)));
    queue.producer().send(ten).await.unwrap();
    assert_eq!(queue.take_all().await[0].message_attributes().unwrap().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn flush_waits_for_all_that_was_there() {
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
async fn flush_waits_out_what_fails() {
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
async fn close_sends_everything_and_takes_no_more() {
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
async fn who_does_not_wait_sends_all_the_same() {
    let queue = Queue::new("orders", 1).await;
    let producer = queue.builder().linger(secs(10)).build();
    let send = producer.send(Outgoing::text("x"));
    assert!(timeout(secs(1), send).await.is_err());
    drop(producer);
    sleep(secs(20)).await;
    assert_eq!(queue.bodies().await, ["x"], "the last producer is gone, and what it had is not");
}

/// As where a Lambda function's tests each have a runtime of their own.
#[test]
fn a_runtime_that_ends_takes_no_more_than_its_calls() {
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
        timeout(secs(1), producer.flush()).await.expect("nothing is waited for that will never be");
        assert!(queue.bodies().await.contains(&"3".to_owned()));
    });
}

#[test]
fn what_lingers_when_a_runtime_ends_is_sent_by_the_next_one_that_closes() {
    let on_a_runtime =
        || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (queue, producer) = on_a_runtime().block_on(async {
        let queue = Queue::new("orders", 1).await;
        let producer = queue.builder().linger(secs(3_600)).build();
        assert!(timeout(secs(1), producer.send(Outgoing::text("x"))).await.is_err());
        (queue, producer)
    });
    on_a_runtime().block_on(async {
        timeout(secs(60), producer.close()).await.expect("there is somebody who sends it");
        assert_eq!(queue.bodies().await, ["x"]);
    });
}

#[tokio::test(start_paused = true)]
async fn times_without_end_are_years() {
    let queue = Queue::new("orders", 1).await;
    queue.sqs.set_faults(Faults::none().throttles(0.9));
    let patient = queue.builder().linger(Duration::MAX).retry_for(Duration::MAX).build();
    assert!(patient.send_all([Outgoing::text("x")]).await[0].is_ok());
}

#[tokio::test(start_paused = true)]
async fn on_a_fifo_queue_it_is_tried_for_no_longer_than_sqs_knows_the_id() {
    for (name, end) in [("orders.fifo", secs(260)..secs(281)), ("orders", secs(980)..secs(1_001))] {
        let queue = Queue::new(name, 1).await;
        queue.sqs.set_faults(Faults::none().throttles(1.0));
        let producer = queue.builder().retry_for(secs(1_000)).build();
        let (result, took) = timed(producer.send(Outgoing::text("x").group("g"))).await;
        assert!(result.unwrap_err().is_retryable());
        assert!(end.contains(&took), "{name}: {took:?}");
    }
}

/// What the warning says of how many are not settled.
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
async fn who_drops_a_producer_is_told_how_many_messages_it_has() {
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
    assert_eq!(told(), 0, "there is another");
    drop(clone);
    assert_eq!(told(), 3);
    drop(queue.producer());
    assert_eq!(told(), 3, "nothing is lost");
}
