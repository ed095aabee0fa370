//! The five minutes for which a FIFO queue remembers a deduplication id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use redrive::{Outgoing, Producer};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::fake_sqs;
use crate::kit::secs;

/// How often a queue that remembers ids for five minutes accepted each id.
#[derive(Clone, Default)]
struct Accepted(Arc<Mutex<HashMap<String, (Instant, usize)>>>);

impl Accepted {
    fn accept(&self, id: &str) {
        let now = Instant::now();
        let mut accepted = self.0.lock().unwrap();
        let (at, copies) = accepted.entry(id.to_owned()).or_insert((now, 0));
        if *copies == 0 || now >= *at + secs(300) {
            (*at, *copies) = (now, *copies + 1);
        }
    }

    fn copies(&self) -> usize {
        self.0.lock().unwrap().values().map(|(_, copies)| copies).sum()
    }
}

/// Creates a producer whose first attempt is accepted after that time, and whose later ones are accepted just before
/// their timeout. No answer arrives.
fn unanswered(attempt_timeout: Duration, first_takes: Duration) -> (Producer, Accepted, Arc<Mutex<Vec<Instant>>>) {
    let (accepted, begun) = (Accepted::default(), Arc::new(Mutex::new(Vec::new())));
    let (queue, calls) = (accepted.clone(), begun.clone());
    let client = fake_sqs::client(move |_, request| {
        let id = request["Entries"][0]["MessageDeduplicationId"].as_str().unwrap().to_owned();
        let queue = queue.clone();
        let is_first = {
            let mut calls = calls.lock().unwrap();
            calls.push(Instant::now());
            calls.len() == 1
        };
        async move {
            sleep(if is_first { first_takes } else { attempt_timeout - Duration::from_millis(1) }).await;
            queue.accept(&id);
            (500, json!({ "__type": "InternalFailure", "message": "no" }))
        }
    });
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(attempt_timeout).build();
    let client = Client::from_conf(client.config().to_builder().timeout_config(timeouts).build());
    let builder = Producer::builder(client, "http://sqs.localhost/000000000000/orders.fifo");
    (builder.retry_for(secs(280)).build(), accepted, begun)
}

#[tokio::test(start_paused = true)]
async fn no_attempt_starts_that_could_be_accepted_after_five_minutes() {
    for attempt_timeout in [5, 10, 30, 60, 100, 140, 200, 240, 280, 299, 600].map(secs) {
        for first_takes in [Duration::ZERO, attempt_timeout / 3, attempt_timeout - Duration::from_millis(1)] {
            fastrand::seed(attempt_timeout.as_secs());
            let (producer, accepted, begun) = unanswered(attempt_timeout, first_takes);
            let error = producer.send(Outgoing::text("x").group("g")).await.unwrap_err();
            assert!(error.is_unknown());
            assert_eq!(accepted.copies(), 1, "attempts of {attempt_timeout:?}, the first of {first_takes:?}");
            let begun = begun.lock().unwrap();
            let latest = *begun.last().unwrap() + attempt_timeout;
            assert!(begun.len() == 1 || latest <= begun[0] + secs(290), "attempts of {attempt_timeout:?}: {begun:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn attempt_that_leaves_time_is_followed_by_another() {
    let (producer, _, begun) = unanswered(secs(60), Duration::ZERO);
    producer.send(Outgoing::text("x").group("g")).await.unwrap_err();
    assert!(begun.lock().unwrap().len() > 1);
}
