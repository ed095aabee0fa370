//! Messages share calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redrive::{AttributeValue, Outgoing};
use redrive_local::Faults;
use tokio::task::JoinSet;

use crate::kit::{Queue, text, timed};

#[derive(serde::Serialize)]
struct Order {
    order_id: u32,
}

#[tokio::test(start_paused = true)]
async fn messages_of_many_tasks_share_calls_and_each_task_gets_its_own_outcome() {
    let queue = Queue::new("orders", 1).await;
    let producer = queue.producer();
    let mut tasks = JoinSet::new();
    for order_id in 0..100 {
        let producer = producer.clone();
        tasks.spawn(
            async move { (order_id, producer.send(&Order { order_id }).await.unwrap().message_id().to_owned()) },
        );
    }
    let mut sent = tasks.join_all().await;
    assert_eq!(queue.calls.total(), 10);
    let all = queue.take_all().await;
    let mut there: Vec<_> = all
        .into_iter()
        .map(|message| {
            let order: serde_json::Value = serde_json::from_str(message.body().unwrap()).unwrap();
            (u32::try_from(order["order_id"].as_u64().unwrap()).unwrap(), message.message_id.unwrap())
        })
        .collect();
    sent.sort();
    there.sort();
    assert_eq!(sent, there);
}

#[tokio::test(start_paused = true)]
async fn json_with_characters_that_sqs_refuses_arrives_unchanged() {
    let queue = Queue::new("orders", 1).await;
    let value = "\u{fffe}\u{ffff}\u{1fffe}\u{7f}\u{0}";
    queue.producer().send(value).await.unwrap();
    let bodies = queue.bodies().await;
    assert_eq!(serde_json::from_str::<String>(&bodies[0]).unwrap(), value);
    let error = queue.producer().send(Outgoing::text(value)).await.unwrap_err();
    assert!(error.to_string().contains("U+FFFE"), "a text is not changed: {error}");
}

#[tokio::test(start_paused = true)]
async fn single_message_lingers_for_others() {
    let queue = Queue::new("orders", 1).await;
    let (_, took) = timed(queue.producer().send(Outgoing::text("an order"))).await;
    assert!((Duration::from_millis(5)..Duration::from_millis(7)).contains(&took), "{took:?}");
    let at_once = queue.builder().linger(Duration::ZERO).build();
    let (_, took) = timed(at_once.send(Outgoing::text("an order"))).await;
    assert!(took < Duration::from_millis(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn last_of_many_messages_does_not_linger() {
    let queue = Queue::new("orders", 1).await;
    let (results, took) = timed(queue.producer().send_all((0..23).map(|n| Outgoing::text(n.to_string())))).await;
    assert!(results.iter().all(Result::is_ok) && took < Duration::from_millis(1), "{took:?}");
    assert_eq!(queue.calls.total(), 3);
}

#[tokio::test(start_paused = true)]
async fn call_has_at_most_a_mebibyte_with_attributes() {
    let queue = Queue::new("orders", 1).await;
    let of_a_third = |_| Outgoing::text("x".repeat(349_000)).attribute("y", AttributeValue::binary(vec![0; 1_000]));
    let results = queue.producer().send_all((0..6).map(of_a_third)).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    // With the added attributes, three messages are slightly more than a mebibyte.
    assert_eq!(queue.calls.total(), 3);
}

#[tokio::test(start_paused = true)]
async fn results_are_in_the_order_of_the_messages() {
    let queue = Queue::new("orders", 1).await;
    let bodies = ["good", "", "good too", "a\u{1}"];
    let results = queue.producer().send_all(bodies.map(Outgoing::text)).await;
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, false]);
    assert!(results[1].as_ref().unwrap_err().to_string().contains("empty"));
    assert_eq!(queue.bodies().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn message_arrives_with_all_its_parts() {
    let queue = Queue::new("orders", 1).await;
    let message = Outgoing::text("{}")
        .attribute("priority", AttributeValue::number(7).labelled("int"))
        .attribute("signature", AttributeValue::binary([1, 2]))
        .group("tenant")
        .deduplication_id("mine")
        .delay(Duration::from_millis(1_500));
    queue.producer().send(message).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_900)).await;
    assert!(queue.take_all().await.is_empty(), "delays are rounded up to whole seconds");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let [message] = &queue.take_all().await[..] else { panic!("one was sent") };
    let attributes = message.message_attributes().unwrap();
    assert_eq!((attributes["priority"].data_type(), text(message, "priority").unwrap().as_str()), ("Number.int", "7"));
    assert_eq!(attributes["signature"].binary_value().unwrap().as_ref(), [1, 2]);
    assert_eq!(text(message, "redrive.id").unwrap(), "mine");
}

/// Returns the messages per call, if this many tasks send one after the other and answers take up to that long.
async fn fill(calls: usize, tasks: usize, answers_take: Duration) -> f64 {
    const MESSAGES: usize = 3_000;
    let queue = Queue::new("orders", 1).await;
    queue.sqs.set_faults(Faults::none().slow_calls(1.0, answers_take));
    let producer = queue.builder().concurrency(calls).build();
    let next = Arc::new(AtomicUsize::new(0));
    let mut sending = JoinSet::new();
    for _ in 0..tasks {
        let (producer, next) = (producer.clone(), next.clone());
        sending.spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < MESSAGES {
                producer.send(Outgoing::text("x")).await.unwrap();
            }
        });
    }
    sending.join_all().await;
    MESSAGES as f64 / queue.calls.total() as f64
}

#[tokio::test(start_paused = true)]
async fn calls_are_full_under_load() {
    for answers_take in [2, 10, 30].map(Duration::from_millis) {
        // Half as many tasks as fill all calls, slightly more than fill them, and many more.
        for (calls, senders) in [(10, [50, 101, 104, 150]), (16, [80, 161, 164, 240])] {
            for tasks in senders {
                let fill = fill(calls, tasks, answers_take).await;
                println!("{tasks} senders, {answers_take:?}: {fill} messages in each of {calls} calls");
                assert!(fill >= 9.8, "{tasks} senders, answers in {answers_take:?}: {fill} messages a call");
            }
            // The first five tasks do not linger longer than the setting.
            assert!(fill(calls, 15, answers_take).await >= 7.0);
        }
    }
}
