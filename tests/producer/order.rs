//! The order of messages on a FIFO queue.

use std::collections::BTreeMap;
use std::time::Duration;

use redrive::{GroupOrder, Outgoing, Producer, SendError};
use redrive_local::Faults;

use crate::kit::{Queue, secs, timed};

/// Returns this many messages in this many groups, with growing numbers in each.
fn messages(groups: usize, count: usize) -> impl Iterator<Item = Outgoing> {
    (0..count).map(move |n| Outgoing::text(n.to_string()).group((n % groups).to_string()))
}

/// Returns the numbers of each group in the queue's order.
async fn by_group(queue: &Queue, groups: usize) -> BTreeMap<usize, Vec<usize>> {
    let mut by_group: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for body in queue.bodies().await {
        let number: usize = body.parse().unwrap();
        by_group.entry(number % groups).or_default().push(number);
    }
    by_group
}

#[tokio::test(start_paused = true)]
async fn group_keeps_its_order_under_faults() {
    for seed in 0..5 {
        let queue = Queue::new("orders.fifo", seed).await;
        queue.sqs.set_faults(
            Faults::none()
                .failed_entries(0.2)
                .throttles(0.1)
                .lost_answers(0.1)
                .lost_requests(0.1)
                .slow_calls(0.1, secs(3)),
        );
        let results = queue.producer().send_all(messages(7, 300)).await;
        assert!(results.iter().all(Result::is_ok), "seed {seed}");
        queue.sqs.set_faults(Faults::none());
        for (group, numbers) in by_group(&queue, 7).await {
            assert_eq!(numbers, (group..300).step_by(7).collect::<Vec<_>>(), "seed {seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_of_different_groups_share_calls() {
    let queue = Queue::new("orders.fifo", 1).await;
    assert!(queue.producer().send_all(messages(10, 100)).await.iter().all(Result::is_ok));
    assert_eq!(queue.calls.total(), 10);
}

/// Throttles a first message until it is given up, and returns the results of those behind it.
async fn given_up(queue: &Queue, producer: Producer) -> Vec<Result<(), SendError>> {
    queue.sqs.set_faults(Faults::none().throttles(1.0));
    let sending = tokio::spawn(async move { producer.send_all(messages(1, 3)).await });
    tokio::time::sleep(secs(40)).await;
    queue.sqs.set_faults(Faults::none());
    sending.await.unwrap().into_iter().map(|result| result.map(drop)).collect()
}

#[tokio::test(start_paused = true)]
async fn messages_do_not_pass_one_of_their_group_that_was_given_up() {
    let queue = Queue::new("orders.fifo", 1).await;
    let results = given_up(&queue, queue.builder().retry_for(secs(30)).build()).await;
    for error in results.into_iter().map(Result::unwrap_err) {
        assert!(error.is_retryable(), "{error}");
    }
    assert!(queue.bodies().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn messages_pass_one_of_their_group_that_can_never_be_sent() {
    let queue = Queue::new("orders.fifo", 1).await;
    queue.sqs.set_faults(Faults::none().refused_entries(0.5));
    let results = queue.producer().send_all(messages(1, 50)).await;
    queue.sqs.set_faults(Faults::none());
    let accepted: Vec<_> = (0..50).filter(|&number| results[number].is_ok()).collect();
    assert!(accepted.len() > 10 && accepted.len() < 40);
    assert_eq!(by_group(&queue, 1).await[&0], accepted);
}

#[tokio::test(start_paused = true)]
async fn relaxed_group_shares_calls() {
    let queue = Queue::new("orders.fifo", 1).await;
    let relaxed = queue.builder().order(GroupOrder::Relaxed).build();
    let (results, took) = timed(relaxed.send_all(messages(1, 100))).await;
    assert!(results.iter().all(Result::is_ok) && took < Duration::from_millis(1));
    assert_eq!(queue.calls.total(), 10);
}
