//! Tests that a late visibility change is not sent: it would change the message for another consumer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::Client;
use redrive::{Effects, Outcome, ReceiveCount, State};
use tokio::time::{Instant, sleep};

use crate::kit::{Notes, Queue, Running, secs};
use crate::wire::{self, broken};

const LEASE: Duration = secs(5);

/// The times at which attempts to change a visibility began.
#[derive(Clone, Default)]
struct Attempts(Arc<Mutex<Vec<Duration>>>);

impl Attempts {
    /// Returns a client whose visibility changes to `seconds` take four seconds and then fail.
    fn of(&self, client: &Client, seconds: u64) -> Client {
        let (began, attempts) = (Instant::now(), self.0.clone());
        wire::through(client, move |call| {
            let attempts = attempts.clone();
            async move {
                let body = String::from_utf8_lossy(call.request.body().bytes().unwrap_or_default()).into_owned();
                if !body.contains(&format!("\"VisibilityTimeout\":{seconds}}}")) || body.contains("\"none\"") {
                    return call.pass().await;
                }
                attempts.lock().unwrap().push(began.elapsed());
                sleep(secs(4)).await;
                broken()
            }
        })
    }

    fn all(&self) -> Vec<Duration> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_not_sent_after_the_end_of_the_lease() {
    let (queue, attempts, notes) = (Queue::with_messages(1).await, Attempts::default(), Notes::default());
    let place = |ReceiveCount(count): ReceiveCount, State(notes): State<Notes>| async move {
        notes.add(count.to_string());
        if count == 1 { Outcome::RetryAfter(secs(1_000)) } else { Outcome::Done }
    };
    let effects = Effects::with_client(attempts.of(&queue.client, 1_000));
    let consumer = redrive::handler(place).effects(effects).with_state(notes.clone());
    let worker = Running::begin(queue.worker(consumer).visibility_timeout(LEASE));
    queue.drained().await;
    sleep(secs(60)).await;
    assert_eq!(notes.len(), 2, "the message came back when its visibility timeout ended");
    let attempts = attempts.all();
    assert!(!attempts.is_empty() && attempts.iter().all(|&began| began < LEASE), "{attempts:?}");
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_release_is_not_sent_after_the_end_of_the_lease() {
    let (queue, attempts, notes) = (Queue::fifo().await, Attempts::default(), Notes::default());
    for body in ["1", "2"] {
        queue.send_to("g", body).await;
    }
    let place = |ReceiveCount(count): ReceiveCount, State(notes): State<Notes>| async move {
        notes.add(count.to_string());
        if count == 1 { Err("not yet") } else { Ok(()) }
    };
    let consumer = redrive::handler(place).with_state(notes.clone());
    let client = attempts.of(&queue.client, 0);
    let worker = Running::begin(consumer.worker(client, &queue.url).visibility_timeout(LEASE));
    queue.drained().await;
    sleep(secs(60)).await;
    let attempts = attempts.all();
    assert!(!attempts.is_empty() && attempts.iter().all(|&began| began < LEASE), "{attempts:?}");
    worker.end().await.unwrap();
}
