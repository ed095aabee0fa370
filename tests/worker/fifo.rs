//! Tests that groups run in parallel and each in order, despite faults.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redrive::{Body, Effects, Outcome, ReceiveCount, State};
use redrive_local::Faults;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::fake_sqs;
use crate::kit::{Notes, Queue, secs, timed};

async fn fill(queue: &Queue, groups: usize, messages: usize) {
    for number in 0..messages {
        for group in 0..groups {
            queue.send_to(&group.to_string(), format!("{group}-{number}")).await;
        }
    }
}

/// Checks that each group's messages are complete and in order.
fn assert_order(notes: &Notes, groups: usize, messages: usize) {
    for group in 0..groups {
        let mut of_group = notes.all();
        of_group.retain(|note| note.starts_with(&format!("{group}-")));
        // Another worker may repeat a message that was processed and not deleted, before the next one of its group.
        of_group.dedup();
        let expected: Vec<_> = (0..messages).map(|number| format!("{group}-{number}")).collect();
        assert_eq!(of_group, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn groups_run_in_parallel_and_each_in_order() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    fill(&queue, 5, 4).await;
    let place = |Body(body): Body, State(notes): State<Notes>| async move {
        sleep(secs(10)).await;
        notes.add(body);
    };
    let worker = queue.run(redrive::handler(place).with_state(notes.clone()));
    let ((), took) = timed(queue.drained()).await;
    assert_order(&notes, 5, 4);
    assert!(took < secs(85), "twenty messages one by one would take 200 s: {took:?}");
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_leases_of_waiting_messages_are_kept() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    fill(&queue, 1, 5).await;
    let place = |Body(body): Body, ReceiveCount(count): ReceiveCount, State(notes): State<Notes>| async move {
        assert_eq!(count, 1);
        sleep(secs(50)).await;
        notes.add(body);
    };
    let consumer = redrive::handler(place).with_state(notes.clone());
    let (one, other) = (queue.run(consumer.clone()), queue.run(consumer));
    queue.drained().await;
    assert_order(&notes, 1, 5);
    one.end().await.unwrap();
    other.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_tail_of_a_failed_group_is_released() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    fill(&queue, 2, 4).await;
    let place = |Body(body): Body, ReceiveCount(count): ReceiveCount, State(notes): State<Notes>| async move {
        if body == "0-1" && count == 1 {
            return Err("not yet");
        }
        notes.add(body);
        Ok(())
    };
    let worker = queue.run(redrive::handler(place).with_state(notes.clone()));
    let ((), took) = timed(queue.drained()).await;
    assert_order(&notes, 2, 4);
    assert_eq!(took.as_secs(), 30, "the message comes back at its visibility timeout");
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_tail_of_a_failed_group_is_released_while_other_groups_run() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    fill(&queue, 2, 3).await;
    let place = |Body(body): Body, State(notes): State<Notes>| async move {
        notes.add(&body);
        if body == "1-0" {
            std::future::pending::<()>().await;
        }
        Err::<(), _>("not yet")
    };
    let _worker = queue.run(redrive::handler(place).with_state(notes.clone()));
    notes.until(2).await;
    sleep(secs(1)).await;
    assert_eq!(queue.counts().await, (2, 4), "the head and the other group are in flight");
}

#[tokio::test(start_paused = true)]
async fn a_delay_applies_to_the_rest_of_a_group_after_its_batch() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    fill(&queue, 1, 3).await;
    let place = |State(notes): State<Notes>| async move {
        notes.add("begun");
        Outcome::RetryAfter(secs(100))
    };
    let effects = Effects::with_client(queue.client.clone());
    let _worker = queue.run(redrive::handler(place).effects(effects).with_state(notes.clone()));
    notes.until(1).await;
    sleep(secs(1)).await;
    assert_eq!(queue.counts().await, (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_delay_of_the_head_delays_its_group() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    fill(&queue, 2, 4).await;
    let place = |Body(body): Body, ReceiveCount(count): ReceiveCount, State(notes): State<Notes>| async move {
        if body == "0-1" && count == 1 {
            return Outcome::RetryAfter(secs(5));
        }
        notes.add(body);
        Outcome::Done
    };
    let effects = Effects::with_client(queue.client.clone());
    let worker = queue.run(redrive::handler(place).effects(effects).with_state(notes.clone()));
    let ((), took) = timed(queue.drained()).await;
    assert_order(&notes, 2, 4);
    assert_eq!(took.as_secs(), 5);
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_group_does_not_continue_before_the_delete_is_confirmed() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    fill(&queue, 1, 3).await;
    let place = |Body(body): Body, State(notes): State<Notes>| async move {
        notes.add(body);
        sleep(secs(1)).await;
    };
    let consumer = redrive::handler(place).with_state(notes.clone());
    let worker = queue.run(consumer.clone());
    notes.until(1).await;
    queue.sqs.set_faults(Faults::none().refused_entries(1.0));
    sleep(secs(5)).await;
    assert_eq!(notes.all(), ["0-0"], "if the next one ran and this worker crashed, the first would run after it");
    queue.sqs.set_faults(Faults::none());
    queue.drained().await;
    assert_order(&notes, 1, 3);
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_repeated_receive_gets_the_same_messages() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    let place = |Body(body): Body, ReceiveCount(_): ReceiveCount, State(notes): State<Notes>| async move {
        notes.add(body);
    };
    let worker = queue.run(redrive::handler(place).with_state(notes.clone()));
    sleep(secs(1)).await;
    fill(&queue, 1, 1).await;
    queue.drained().await;
    notes.clear();
    // The messages are handed out, and the answer is lost. Without the attempt's id they would come back after 30 s.
    queue.sqs.set_faults(Faults::none().lost_answers(1.0));
    fill_faulty(&queue, 4).await;
    sleep(Duration::from_millis(500)).await;
    queue.sqs.set_faults(Faults::none());
    let ((), took) = timed(notes.until(4)).await;
    assert!(took < secs(25), "{took:?}");
    queue.drained().await;
    worker.end().await.unwrap();
}

/// Sends messages to one group, and repeats those without an answer.
async fn fill_faulty(queue: &Queue, messages: usize) {
    for number in 0..messages {
        let send = queue.sqs.client().send_message().queue_url(&queue.url).message_body(format!("0-x{number}"));
        let _ = send.message_group_id("0").send().await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_group_keeps_its_order_despite_faults() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    fill(&queue, 10, 30).await;
    let place = |Body(body): Body, ReceiveCount(count): ReceiveCount, State(notes): State<Notes>| async move {
        sleep(secs(1)).await;
        if body.ends_with('7') && count < 3 {
            return Err("not yet");
        }
        notes.add(body);
        Ok(())
    };
    let consumer = redrive::handler(place).with_state(notes.clone());
    queue.sqs.set_faults(
        Faults::none()
            .throttles(0.05)
            .lost_requests(0.02)
            .lost_answers(0.02)
            .failed_entries(0.05)
            .refused_entries(0.01),
    );
    let workers = [queue.run(consumer.clone()), queue.run(consumer)];
    notes.until(300).await;
    queue.sqs.set_faults(Faults::none());
    queue.drained().await;
    assert_order(&notes, 10, 30);
    for worker in workers {
        worker.end().await.unwrap();
    }
}

/// Returns a message of the group g with that receipt handle.
fn handed_out(number: usize, receipt_handle: &str) -> Value {
    json!({
        "MessageId": format!("m-{number}"), "ReceiptHandle": receipt_handle, "Body": number.to_string(),
        "Attributes": { "MessageGroupId": "g", "ApproximateReceiveCount": "1", "SentTimestamp": "0" },
    })
}

/// The receipt handle of a message that another consumer has deleted, as heartbeats see it.
const DELETED: &str = "deleted";

fn answer_to(entry: &Value) -> Result<Value, Value> {
    let id = &entry["Id"];
    match entry["ReceiptHandle"] == DELETED && entry["VisibilityTimeout"] != 0 {
        true => Err(json!({ "Id": id, "SenderFault": true, "Code": "ReceiptHandleIsInvalid", "Message": "gone" })),
        false => Ok(json!({ "Id": id })),
    }
}

/// Runs a worker on a queue that hands out these messages, poll by poll. Its handler takes 15 seconds for the first
/// message. Returns the messages that have run after `time`, and the receipts that were released.
async fn after_polls(time: Duration, polls: Vec<Vec<Value>>) -> (Vec<String>, Vec<String>) {
    let (poll, given_back, notes) = (AtomicUsize::new(0), Arc::<Mutex<Vec<String>>>::default(), Notes::default());
    let released = given_back.clone();
    let client = fake_sqs::client(move |operation, request| {
        let messages = match &*operation {
            "ReceiveMessage" => polls.get(poll.fetch_add(1, Ordering::SeqCst)).cloned(),
            _ => None,
        };
        let entries = request["Entries"].as_array().cloned().unwrap_or_default();
        // At startup a worker checks its permissions with a receipt that belongs to no message.
        let is_given_back = |entry: &&Value| entry["VisibilityTimeout"] == 0 && entry["ReceiptHandle"] != "none";
        let handles =
            entries.iter().filter(is_given_back).map(|entry| entry["ReceiptHandle"].as_str().unwrap().to_owned());
        released.lock().unwrap().extend(handles);
        async move {
            let answer = match &*operation {
                "GetQueueAttributes" => json!({ "Attributes": {
                    "QueueArn": "arn:aws:sqs:eu-west-1:123456789012:orders.fifo", "VisibilityTimeout": "30",
                } }),
                "ReceiveMessage" if messages.is_none() => {
                    sleep(secs(20)).await;
                    json!({})
                }
                "ReceiveMessage" => json!({ "Messages": messages }),
                _ => {
                    let answers = entries.iter().map(answer_to);
                    let successful: Vec<_> = answers.clone().flatten().collect();
                    json!({ "Successful": successful, "Failed": answers.filter_map(Result::err).collect::<Vec<_>>() })
                }
            };
            (200, answer)
        }
    });
    let place = |Body(body): Body, State(notes): State<Notes>| async move {
        if body == "1" {
            sleep(secs(15)).await;
        }
        notes.add(body);
    };
    let consumer = redrive::handler(place).with_state(notes.clone());
    let worker = consumer.worker(client, "https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo");
    assert!(timeout(time, worker.run_until(std::future::pending())).await.is_err());
    let given_back = given_back.lock().unwrap().clone();
    (notes.all(), given_back)
}

#[tokio::test(start_paused = true)]
async fn messages_received_with_one_that_still_runs_do_not_overtake_it() {
    // SQS considers the lease over while the handler still runs. So the message comes again, and others of its group
    // behind it.
    let polls = vec![vec![handed_out(1, "a")], vec![handed_out(1, "b"), handed_out(2, "c"), handed_out(3, "d")]];
    let (ran, given_back) = after_polls(secs(5), polls).await;
    assert_eq!(ran, [""; 0], "the first message is not done");
    assert_eq!(given_back, ["c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn messages_received_with_a_malformed_one_do_not_overtake_it() {
    let mut unreadable = handed_out(1, "a");
    unreadable["MessageId"] = json!(null);
    let (ran, given_back) = after_polls(secs(5), vec![vec![unreadable, handed_out(2, "b")]]).await;
    assert_eq!(ran, [""; 0], "the first message is not done");
    assert_eq!(given_back, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_lease_is_lost_while_it_waits_does_not_run() {
    let polls = vec![vec![handed_out(1, "a"), handed_out(2, DELETED)]];
    let (ran, given_back) = after_polls(secs(20), polls).await;
    assert_eq!((ran, given_back), (vec!["1".to_owned()], vec![]));
}
