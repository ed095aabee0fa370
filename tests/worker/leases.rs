//! Tests how long the worker holds the lease of a message, and the order of heartbeats and settlements.

use std::future::pending;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Name;
use redrive::{Backoff, Body, Consumer, Effects, HandlerKind, Json, Outcome, ReceiptHandle, ReceiveCount, State};
use redrive_local::Faults;
use tokio::time::{Instant, sleep};

use crate::kit::{Notes, Queue, Running, secs, timed};

/// Adds a note when it is dropped, because a cancelled handler drops its values.
struct Dropped(Notes, Instant);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add(format!("dropped after {} s", self.1.elapsed().as_secs()));
    }
}

/// Returns a consumer whose handler takes this long.
fn works_for(time: Duration, notes: &Notes) -> Consumer<impl HandlerKind> {
    let work = move |Body(_): Body, State(notes): State<Notes>| async move {
        notes.add("begun");
        sleep(time).await;
        notes.add("done");
    };
    redrive::handler(work).with_state(notes.clone())
}

/// A handler that never ends at the first receive, so that only its lease can end it.
async fn never_ends_at_first(ReceiveCount(count): ReceiveCount, State(notes): State<Notes>) {
    if count == 1 {
        let _dropped = Dropped(notes, Instant::now());
        pending::<()>().await;
    }
}

/// Makes the first heartbeat of a message that was received just now take 4 s. It begins after 10 s.
async fn slow_heartbeat(queue: &Queue) {
    sleep(Duration::from_millis(9_900)).await;
    queue.sqs.set_faults(Faults::none().slow_calls(1.0, secs(4)));
    sleep(Duration::from_millis(120)).await;
    queue.sqs.set_faults(Faults::none());
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_kept_while_its_handler_runs() {
    let (queue, notes) = (Queue::with_messages(1).await, Notes::default());
    let consumer = works_for(secs(300), &notes);
    let (one, other) = (queue.run(consumer.clone()), queue.run(consumer));
    let ((), took) = timed(queue.drained()).await;
    assert_eq!(notes.all(), ["begun", "done"]);
    assert_eq!(took.as_secs(), 300);
    // Heartbeats come after each third of the visibility timeout of 30 s. Two more calls are the permission checks of
    // both workers.
    let beats = queue.calls.count("ChangeMessageVisibilityBatch") - 2;
    assert!((29..=30).contains(&beats), "{beats}");
    one.end().await.unwrap();
    other.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_messages_of_a_poll_share_one_heartbeat_call() {
    let (queue, notes) = (Queue::with_messages(10).await, Notes::default());
    let worker = queue.run(works_for(secs(25), &notes));
    queue.drained().await;
    assert_eq!(queue.calls.count("ChangeMessageVisibilityBatch"), 1 + 2);
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_throttled_heartbeat_is_tried_again() {
    let (queue, notes) = (Queue::with_messages(10).await, Notes::default());
    let worker = queue.run(works_for(secs(2_000), &notes));
    sleep(secs(1)).await;
    queue.sqs.set_faults(Faults::none().throttles(0.3).lost_requests(0.1).failed_entries(0.2));
    notes.until(20).await;
    queue.sqs.set_faults(Faults::none());
    queue.drained().await;
    assert_eq!(notes.all().iter().filter(|note| *note == "begun").count(), 10, "a message was lost and ran again");
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_heartbeat_does_not_overwrite_a_delay() {
    let (queue, notes) = (Queue::with_messages(1).await, Notes::default());
    let place = |ReceiveCount(count): ReceiveCount, State(notes): State<Notes>| async move {
        notes.add("begun");
        // Right after the start of the first heartbeat, which is slow.
        sleep(Duration::from_millis(10_050)).await;
        if count == 1 { Outcome::RetryAfter(secs(100)) } else { Outcome::Done }
    };
    let effects = Effects::with_client(queue.client.clone());
    let worker = queue.run(redrive::handler(place).effects(effects).with_state(notes.clone()));
    notes.until(1).await;
    let began = Instant::now();
    slow_heartbeat(&queue).await;
    notes.until(2).await;
    let came_back = began.elapsed();
    assert!((secs(110)..secs(115)).contains(&came_back), "{came_back:?}");
    queue.drained().await;
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_delete_waits_for_a_heartbeat_under_way() {
    let (queue, notes) = (Queue::with_messages(1).await, Notes::default());
    let worker = queue.run(works_for(Duration::from_millis(10_050), &notes));
    notes.until(1).await;
    slow_heartbeat(&queue).await;
    notes.until(2).await;
    let before = queue.calls.count("DeleteMessageBatch");
    sleep(Duration::from_millis(40)).await;
    assert_eq!(queue.calls.count("DeleteMessageBatch"), before, "the delete waits for the heartbeat");
    queue.drained().await;
    sleep(secs(100)).await;
    assert_eq!(queue.calls.count("ChangeMessageVisibilityBatch"), 1 + 1);
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_deleted_elsewhere_cancels_its_handler() {
    let (queue, notes) = (Queue::with_messages(1).await, Notes::default());
    let client = queue.sqs.client();
    let url = queue.url.clone();
    let place = move |ReceiptHandle(handle): ReceiptHandle, State(notes): State<Notes>| {
        let (client, url) = (client.clone(), url.clone());
        async move {
            let _dropped = Dropped(notes, Instant::now());
            // Another consumer deletes the message, so the next heartbeat finds nothing to extend.
            client.delete_message().queue_url(url).receipt_handle(handle).send().await.unwrap();
            pending::<()>().await;
        }
    };
    let worker = queue.run(redrive::handler(place).with_state(notes.clone()));
    notes.until(1).await;
    assert_eq!(notes.all(), ["dropped after 10 s"]);
    let (result, took) = timed(worker.end()).await;
    assert!(result.is_ok() && took < secs(21), "the worker has nothing to wait for: {took:?}");
}

/// A batch handler that does not end before all of its records are lost, and adds a note.
async fn store_for_ever(State((notes, takes)): State<(Notes, Duration)>, orders: Vec<(ReceiveCount, Json<u32>)>) {
    if orders.iter().all(|(ReceiveCount(count), _)| *count == 1) {
        let _dropped = Dropped(notes, Instant::now());
        sleep(takes).await;
    }
}

/// Runs a worker whose batch handler takes this long, on a queue with these messages. None of their leases can be
/// extended.
async fn batch_with_dead_leases(takes: Duration, bodies: &[&str]) -> (Queue, Notes, Running) {
    let (queue, notes) = (Queue::standard().await, Notes::default());
    for body in bodies {
        queue.send(*body).await;
    }
    let store = |state: State<_>, orders: Vec<_>| async move {
        let count = orders.len();
        store_for_ever(state, orders).await;
        vec![Outcome::Done; count]
    };
    let worker = queue.run(redrive::batch(store).with_state((notes.clone(), takes)));
    sleep(secs(5)).await;
    queue.sqs.set_faults(Faults::none().throttles(1.0));
    (queue, notes, worker)
}

#[tokio::test(start_paused = true)]
async fn a_batch_handler_is_cancelled_once_all_its_records_are_lost() {
    for bodies in [&["1"][..], &["1", "2", "3"]] {
        let (queue, notes, worker) = batch_with_dead_leases(Duration::MAX, bodies).await;
        notes.until(1).await;
        assert_eq!(notes.all(), ["dropped after 30 s"]);
        queue.sqs.set_faults(Faults::none());
        queue.drained().await;
        worker.end().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_rejected_does_not_keep_a_batch_handler_alive() {
    let (_queue, notes, _worker) = batch_with_dead_leases(Duration::MAX, &["no number", "1", "2"]).await;
    notes.until(1).await;
    assert_eq!(notes.all(), ["dropped after 30 s"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_handler_continues_while_any_of_its_records_is_leased() {
    let (queue, notes) = (Queue::with_messages(3).await, Notes::default());
    let (client, url) = (queue.sqs.client(), queue.url.clone());
    let store = move |State(notes): State<Notes>, orders: Vec<(ReceiptHandle, Json<u32>)>| {
        let (client, url) = (client.clone(), url.clone());
        async move {
            for (ReceiptHandle(handle), _) in orders.iter().filter(|(_, Json(number))| *number < 2) {
                client.delete_message().queue_url(&url).receipt_handle(handle).send().await.unwrap();
            }
            sleep(secs(100)).await;
            notes.add("done");
            vec![(); orders.len()]
        }
    };
    let worker = queue.run(redrive::batch(store).with_state(notes.clone()));
    queue.drained().await;
    assert_eq!(notes.all(), ["done"]);
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_extended_cancels_the_handler_at_its_end() {
    let (queue, notes) = (Queue::with_messages(1).await, Notes::default());
    let worker = queue.run(redrive::handler(never_ends_at_first).with_state(notes.clone()));
    sleep(secs(5)).await;
    queue.sqs.set_faults(Faults::none().throttles(1.0));
    notes.until(1).await;
    assert_eq!(notes.all(), ["dropped after 30 s"]);
    queue.sqs.set_faults(Faults::none());
    queue.drained().await;
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_without_an_answer_is_given_up_in_time_for_another() {
    let (queue, notes) = (Queue::with_messages(1).await, Notes::default());
    let worker = queue.run(works_for(secs(100), &notes));
    notes.until(1).await;
    sleep(secs(9)).await;
    queue.sqs.set_faults(Faults::none().slow_calls(1.0, secs(1_000)));
    sleep(secs(2)).await;
    queue.sqs.set_faults(Faults::none());
    queue.drained().await;
    assert_eq!(notes.all(), ["begun", "done"]);
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_in_time_though_heartbeats_get_no_answer() {
    let (queue, notes) = (Queue::with_messages(1).await, Notes::default());
    let worker = queue.run(redrive::handler(never_ends_at_first).with_state(notes.clone()));
    sleep(secs(5)).await;
    queue.sqs.set_faults(Faults::none().slow_calls(1.0, secs(1_000)));
    notes.until(1).await;
    assert_eq!(notes.all(), ["dropped after 30 s"]);
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_after_twelve_hours() {
    let (queue, notes) = (Queue::with_messages(1).await, Notes::default());
    let worker = queue.run(redrive::handler(never_ends_at_first).with_state(notes.clone()));
    notes.until(1).await;
    let after: u64 = notes.all()[0].split(' ').nth(2).unwrap().parse().unwrap();
    assert!((43_160..=43_200).contains(&after), "{after}");
    queue.drained().await;
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_limited_to_the_rest_of_twelve_hours() {
    let (queue, notes) = (Queue::with_messages(1).await, Notes::default());
    let place = |ReceiveCount(count): ReceiveCount, State(notes): State<Notes>| async move {
        notes.add("begun");
        sleep(secs(3_600)).await;
        if count == 1 { Outcome::RetryAfter(secs(12 * 3_600)) } else { Outcome::Done }
    };
    let effects = Effects::with_client(queue.client.clone());
    let worker = queue.run(redrive::handler(place).effects(effects).with_state(notes.clone()));
    notes.until(1).await;
    let ((), took) = timed(notes.until(2)).await;
    assert!((secs(43_180)..=secs(43_201)).contains(&took), "{took:?}");
    queue.drained().await;
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_backoff_and_a_dead_letter_reach_the_queue() {
    let (queue, dead) = Queue::with_dead_letters("orders", 5).await;
    queue.send("an order").await;
    let fail = |Body(_): Body| async { Err::<(), _>("down") };
    let backoff = Backoff::exponential(secs(10)..secs(10));
    let effects = Effects::with_client(queue.client.clone()).backoff(backoff).dead_letter_at(3);
    let worker = queue.run(redrive::handler(fail).effects(effects));
    let ((), took) = timed(queue.drained()).await;
    assert!(took < secs(21), "{took:?}");
    assert_eq!(dead.receive().await, [("an order".to_owned(), 1)]);
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_visibility_timeout_of_the_worker_overrides_that_of_the_queue() {
    let queue = Queue::new("orders", &[(Name::VisibilityTimeout, "43200")]).await;
    let notes = Notes::default();
    queue.send("an order").await;
    let place = |Body(_): Body, State(notes): State<Notes>| async move {
        notes.add("begun");
        pending::<()>().await;
    };
    let worker = queue.worker(redrive::handler(place).with_state(notes.clone())).visibility_timeout(secs(60));
    let worker = Running::begin(worker);
    notes.until(1).await;
    drop(worker);
    sleep(secs(61)).await;
    assert_eq!(queue.counts().await, (1, 0), "after a crash the message is visible soon");
}

#[tokio::test(start_paused = true)]
async fn listeners_are_told_of_a_lost_lease() {
    let (queue, told) = (Queue::with_messages(1).await, Notes::default());
    let noted = told.clone();
    let consumer = redrive::handler(never_ends_at_first).with_state(Notes::default()).on_settled(move |settled| {
        noted.add(format!("{} after {} s", settled.outcome(), settled.duration().as_secs()));
    });
    let worker = queue.run(consumer);
    sleep(secs(5)).await;
    queue.sqs.set_faults(Faults::none().throttles(1.0));
    told.until(1).await;
    assert_eq!(told.all(), ["lease_lost after 30 s"]);
    queue.sqs.set_faults(Faults::none());
    queue.drained().await;
    assert_eq!(told.all()[1..], ["done after 0 s"]);
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn listeners_are_told_of_accepted_delays_and_dead_letters() {
    let (queue, _dead) = Queue::with_dead_letters("orders", 5).await;
    queue.send("an order").await;
    let fail = |Body(_): Body| async { Err::<(), _>("down") };
    let backoff = Backoff::exponential(secs(10)..secs(10));
    let effects = Effects::with_client(queue.client.clone()).backoff(backoff).dead_letter_at(3);
    let told = Notes::default();
    let noted = told.clone();
    let consumer = redrive::handler(fail).effects(effects).on_settled(move |settled| {
        noted.add(format!("{:?} {} {:?}", settled.receive_count(), settled.outcome(), settled.error()));
    });
    let worker = queue.run(consumer);
    queue.drained().await;
    let expected =
        ["Some(1) delayed Some(\"down\")", "Some(2) delayed Some(\"down\")", "Some(3) dead_lettered Some(\"down\")"];
    assert_eq!(told.all(), expected);
    worker.end().await.unwrap();
}
