//! Stops a process while its queue is full, with real threads and a real signal. Afterwards no message may be missing.

use std::collections::BTreeSet;

use aws_sdk_sqs::types::{QueueAttributeName as Name, SendMessageBatchRequestEntry as Entry};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::process::{Served, TERM, order, signal};

const ORDERS: usize = 3_000;

/// The numbers of placed orders after which the process is stopped.
const ASKED_AFTER: [usize; 3] = [10, 500, 1_500];

impl Served {
    async fn send_all(&self) {
        let numbers: Vec<_> = (0..ORDERS).collect();
        for ten in numbers.chunks(10) {
            let entry = |number: &usize| Entry::builder().id(number.to_string()).message_body(order(*number)).build();
            let entries = ten.iter().map(|number| entry(number).unwrap()).collect();
            let send = self.sqs.client().send_message_batch().queue_url(&self.url).set_entries(Some(entries));
            assert!(send.send().await.unwrap().failed().is_empty());
        }
    }

    async fn in_flight(&self) -> String {
        let get = self.sqs.client().get_queue_attributes().queue_url(&self.url);
        let answer = get.attribute_names(Name::ApproximateNumberOfMessagesNotVisible).send().await.unwrap();
        answer.attributes.unwrap().remove(&Name::ApproximateNumberOfMessagesNotVisible).unwrap()
    }

    /// Returns the ids of the visible orders.
    async fn orders_left(&self) -> Vec<usize> {
        let mut left = Vec::new();
        loop {
            let receive = self.sqs.client().receive_message().queue_url(&self.url).max_number_of_messages(10);
            let messages = receive.send().await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                return left;
            }
            left.extend(messages.iter().map(|message| id_of(message.body().unwrap(), "order_id").unwrap()));
        }
    }
}

fn id_of(json: &str, key: &str) -> Option<usize> {
    let json: Value = serde_json::from_str(json).ok()?;
    json.get(key).or_else(|| json.get("fields")?.get(key))?.as_str()?.parse().ok()
}

/// Runs a worker on a full queue, stops it after this many orders, and returns the ids of all orders that it placed.
async fn placed_until_asked(served: &Served, asked_after: usize) -> Vec<usize> {
    let mut worker = served.command().spawn().unwrap();
    let mut lines = BufReader::new(worker.stdout.take().unwrap()).lines();
    let mut placed = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if !line.contains("order placed") {
            continue;
        }
        placed.push(id_of(&line, "order.order_id").expect("the line has the order's id"));
        if placed.len() == asked_after {
            signal(&worker, TERM).await;
        }
    }
    assert!(worker.wait().await.unwrap().success());
    placed
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_in_flight_at_the_signal_are_settled_and_none_runs_twice() {
    for asked_after in ASKED_AFTER {
        let served = Served::new().await;
        served.send_all().await;
        let placed = placed_until_asked(&served, asked_after).await;
        assert!(
            (asked_after..ORDERS).contains(&placed.len()),
            "{} of {ORDERS}: the signal was not in the middle",
            placed.len()
        );
        assert_eq!(served.in_flight().await, "0", "a message is left in flight");
        let left = served.orders_left().await;
        let all: BTreeSet<_> = placed.iter().chain(&left).copied().collect();
        assert_eq!((all.len(), placed.len() + left.len()), (ORDERS, ORDERS), "an order was lost or placed twice");
    }
}
