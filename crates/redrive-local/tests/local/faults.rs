//! Tests injected faults.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry as Entry;
use redrive_local::{Faults, Sqs};

use crate::kit::{Queue, bodies, code, receive_count, timed};

/// Returns a queue with faults from a seed, and a client without retries.
async fn queue(seed: u64, name: &str, faults: Faults) -> Queue {
    let sqs = Sqs::with_seed(seed);
    let config = sqs.client().config().to_builder().retry_config(RetryConfig::disabled()).build();
    let queue = Queue::new(&Client::from_conf(config), name, &[]).await;
    sqs.set_faults(faults);
    queue
}

async fn send(queue: &Queue) -> Result<(), String> {
    let send = queue.client.send_message().queue_url(&queue.url).message_body("x").send().await;
    send.map(drop).map_err(|error| code(&error))
}

#[tokio::test(start_paused = true)]
async fn throttled_or_lost_call_has_no_effect() {
    let throttled = queue(1, "orders", Faults::none().throttles(1.0)).await;
    assert_eq!(send(&throttled).await, Err("RequestThrottled".to_owned()));
    let lost = queue(1, "orders", Faults::none().lost_requests(1.0)).await;
    assert_eq!(send(&lost).await, Err("no code".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn call_with_a_lost_answer_takes_effect() {
    let sqs = Sqs::with_seed(1);
    let config = sqs.client().config().to_builder().retry_config(RetryConfig::disabled()).build();
    let queue = Queue::new(&Client::from_conf(config), "orders", &[]).await;
    sqs.set_faults(Faults::none().lost_answers(1.0));
    assert!(send(&queue).await.is_err());
    sqs.set_faults(Faults::none());
    assert_eq!(queue.bodies().await, ["x"]);
}

#[tokio::test(start_paused = true)]
async fn retries_of_the_sdk_overcome_faults() {
    let sqs = Sqs::with_seed(7);
    let patient = RetryConfig::standard().with_max_attempts(10);
    let config = sqs.client().config().to_builder().retry_config(patient).build();
    let queue = Queue::new(&Client::from_conf(config), "orders", &[]).await;
    sqs.set_faults(Faults::none().throttles(0.1).lost_requests(0.1));
    for _ in 0..50 {
        queue.send("x").await;
    }
    assert_eq!(queue.counts().await[0], "50");
}

#[tokio::test(start_paused = true)]
async fn slow_calls_take_longer() {
    let queue = queue(1, "orders", Faults::none().slow_calls(1.0, Duration::from_secs(10))).await;
    let ((), took) = timed(async { send(&queue).await.unwrap() }).await;
    assert!(took > Duration::ZERO && took <= Duration::from_secs(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn entries_fail_with_and_without_a_sender_fault_and_the_others_are_sent() {
    let queue = queue(3, "orders", Faults::none().failed_entries(0.3).refused_entries(0.3)).await;
    let mut faults = BTreeMap::new();
    let mut sent = 0;
    for _ in 0..20 {
        let entries = (0..10).map(|id| Entry::builder().id(id.to_string()).message_body("x").build().unwrap());
        let send = queue.client.send_message_batch().queue_url(&queue.url).set_entries(Some(entries.collect()));
        let answer = send.send().await.unwrap();
        assert_eq!(answer.successful().len() + answer.failed().len(), 10);
        sent += answer.successful().len();
        for failed in answer.failed() {
            *faults.entry((failed.sender_fault(), failed.code().to_owned())).or_insert(0) += 1;
        }
    }
    assert_eq!(queue.counts().await[0], sent.to_string());
    let kinds: Vec<_> = faults.keys().map(|(fault, code)| (*fault, code.as_str())).collect();
    assert_eq!(kinds, [(false, "InternalFailure"), (true, "InvalidParameterValue")]);
}

#[tokio::test(start_paused = true)]
async fn standard_queue_delivers_duplicates_and_a_fifo_queue_does_not() {
    let twice = queue(1, "orders", Faults::none().duplicates(1.0)).await;
    twice.send("x").await;
    let (first, second) = (twice.receive().await, twice.receive().await);
    assert_eq!((bodies(&first), bodies(&second)), (vec!["x".to_owned()], vec!["x".to_owned()]));
    assert_eq!(receive_count(&second[0]), 2);

    let sqs = Sqs::with_seed(1);
    let once = Queue::new(&sqs.client(), "orders.fifo", &[("ContentBasedDeduplication", "true")]).await;
    sqs.set_faults(Faults::none().duplicates(1.0));
    once.send_to("a", "x").await;
    assert_eq!((once.receive().await.len(), once.receive().await.len()), (1, 0));
}

/// Returns the results of a hundred consecutive calls.
async fn run(seed: u64) -> Vec<Result<(), String>> {
    let faults = Faults::none().throttles(0.2).lost_requests(0.1).lost_answers(0.1);
    let queue = queue(seed, "orders", faults).await;
    let mut results = Vec::new();
    for _ in 0..100 {
        results.push(send(&queue).await);
    }
    results
}

#[tokio::test(start_paused = true)]
async fn same_seed_repeats_the_same_run() {
    let first = run(5).await;
    assert_eq!(first, run(5).await);
    assert_ne!(first, run(6).await);
    assert!(first.iter().any(Result::is_ok) && first.iter().any(Result::is_err));
}
