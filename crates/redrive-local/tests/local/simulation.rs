//! Simulates whole runs of queue, mapping and function with every fault, from a seed. Afterwards no message is missing.
//!
//! `REDRIVE_SIMULATION_MESSAGES=1000000 cargo test --release -p redrive-local --all-features --test local simulation`
//! sends a million messages. `REDRIVE_SIMULATION_SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry as Entry;
use redrive::{Body, ReceiveCount};
use redrive_local::{Faults, Kit, TestQueue};

use crate::kit::secs;
use crate::setting::messages_and_seed;

const MESSAGES: usize = 100_000;
/// A prime, so that poison is in every group. If one group had all of it, that group would outlast the retention
/// period.
const GROUPS: usize = 53;
const BATCH: usize = 10;

fn faults() -> Faults {
    Faults::none()
        .throttles(0.02)
        .lost_requests(0.01)
        .lost_answers(0.02)
        .slow_calls(0.05, secs(5))
        .duplicates(0.02)
        .failed_entries(0.02)
        .refused_entries(0.005)
}

/// Fails one record in twenty at its first receives, and one in a hundred always. The result depends only on the
/// record, so a run can be repeated.
async fn place(Body(body): Body, ReceiveCount(count): ReceiveCount) -> Result<(), &'static str> {
    let number: usize = body.rsplit('-').next().and_then(|number| number.parse().ok()).ok_or("not a number")?;
    tokio::time::sleep(std::time::Duration::from_millis((number % 50) as u64)).await;
    match number {
        _ if number % 100 == 99 => Err("poison"),
        _ if number % 20 == 7 && count < 3 => Err("not yet"),
        _ if number % 1_000 == 500 && count < 2 => panic!("once"),
        _ => Ok(()),
    }
}

/// Sends all messages, each until SQS accepts it.
async fn send(client: &Client, queue: &TestQueue, messages: &[(Option<String>, String)]) {
    for ten in messages.chunks(BATCH) {
        let mut left: Vec<_> = (0..ten.len()).collect();
        while !left.is_empty() {
            let entries = left.iter().map(|&position| {
                let (group, body) = &ten[position];
                let entry = Entry::builder().id(position.to_string()).message_body(body);
                let id = group.as_ref().map(|_| body.clone());
                entry.set_message_group_id(group.clone()).set_message_deduplication_id(id).build().unwrap()
            });
            let send = client.send_message_batch().queue_url(queue.url()).set_entries(Some(entries.collect()));
            // A failed call may have sent the messages: delivery is at least once.
            let Ok(answer) = send.send().await else { continue };
            let sent: BTreeSet<_> = answer.successful().iter().map(|entry| entry.id().to_owned()).collect();
            left.retain(|position| !sent.contains(&position.to_string()));
            if !left.is_empty() && ten[0].0.is_some() {
                // Keeps the order within a group: the next batch waits until the failed entries are sent.
                tokio::time::sleep(secs(1)).await;
            }
        }
    }
}

/// Returns for each body how often it was processed, and whether it is a dead letter.
fn account(queue: &TestQueue) -> BTreeMap<String, (usize, bool)> {
    let mut fates: BTreeMap<String, (usize, bool)> = BTreeMap::new();
    for delivery in queue.deliveries().into_iter().filter(|delivery| delivery.done) {
        fates.entry(delivery.body.expect("a handler saw it")).or_default().0 += 1;
    }
    for dead in queue.dead_letters() {
        fates.entry(dead.body).or_default().1 = true;
    }
    fates
}

#[tokio::test(start_paused = true)]
async fn each_message_is_processed_or_dead_lettered() {
    let (messages, seed) = messages_and_seed(MESSAGES, 42);
    let kit = Kit::with_seed(seed);
    let queue = kit.queue("orders").max_receive_count(8).create().await.unwrap();
    queue.mapping(redrive::handler(place)).function_timeout(secs(30)).start().unwrap();
    kit.set_faults(faults());
    let bodies: Vec<_> = (0..messages).map(|number| (None, format!("order-{number}"))).collect();
    send(queue.client(), &queue, &bodies).await;
    kit.until_idle().await;

    let fates = account(&queue);
    assert_eq!(fates.len(), messages, "a message is lost");
    for (body, (done, dead)) in fates {
        let poison = body.ends_with("99");
        assert!(done > 0 || dead, "{body} is neither processed nor dead-lettered");
        assert!(!poison || (done == 0 && dead), "{body} is poison, but was processed {done} times");
    }
}

#[tokio::test(start_paused = true)]
async fn each_group_is_processed_in_order_without_loss() {
    let (messages, seed) = messages_and_seed(MESSAGES, 43);
    let kit = Kit::with_seed(seed);
    let queue = kit.queue("orders.fifo").max_receive_count(8).create().await.unwrap();
    queue.mapping(redrive::handler(place)).function_timeout(secs(30)).start().unwrap();
    kit.set_faults(faults());
    // A batch has ten groups, so a failed entry never precedes another entry of its group.
    let group = |number: usize| format!("group{}", number % GROUPS);
    let bodies: Vec<_> =
        (0..messages).map(|number| (Some(group(number)), format!("{}-{number}", group(number)))).collect();
    send(queue.client(), &queue, &bodies).await;
    kit.until_idle().await;

    let fates = account(&queue);
    assert_eq!(fates.len(), messages, "a message is lost");
    let mut last: HashMap<String, usize> = HashMap::new();
    let mut seen = BTreeSet::new();
    for delivery in queue.deliveries().into_iter().filter(|delivery| delivery.done) {
        let body = delivery.body.expect("a handler saw it");
        // A processed message whose deletion failed is processed again later.
        if seen.insert(body.clone()) {
            let (group, number) = body.split_once('-').expect("a group and a number");
            let number: usize = number.parse().expect("a number");
            let before = last.insert(group.to_owned(), number);
            assert!(before.is_none_or(|before| before < number), "{group}: {number} after {before:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn same_seed_repeats_the_same_run() {
    async fn run(seed: u64) -> Vec<(String, u32, bool)> {
        let kit = Kit::with_seed(seed);
        let queue = kit.queue("orders").max_receive_count(8).create().await.unwrap();
        queue.mapping(redrive::handler(place)).function_timeout(secs(30)).start().unwrap();
        kit.set_faults(faults());
        let bodies: Vec<_> = (0..500).map(|number| (None, format!("order-{number}"))).collect();
        send(queue.client(), &queue, &bodies).await;
        kit.until_idle().await;
        let deliveries = queue.deliveries().into_iter();
        deliveries.map(|delivery| (delivery.message_id, delivery.receive_count, delivery.done)).collect()
    }
    let first = run(1).await;
    assert_eq!(first, run(1).await);
    assert_ne!(first, run(2).await);
}
