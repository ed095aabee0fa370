//! Tests the shutdown of a worker: running messages are finished, and the others are released.

use std::future::pending;
use std::time::Duration;

use redrive::{Backoff, Body, Effects, Outcome, State};
use redrive_local::Faults;
use tokio::time::{Instant, sleep};

use crate::kit::{Notes, Queue, Running, secs, timed};
use crate::script::{Reply, Script, message};

async fn slow(Body(body): Body, State(notes): State<Notes>) {
    notes.add(format!("{body} begun"));
    sleep(secs(10)).await;
    notes.add(format!("{body} done"));
}

#[tokio::test(start_paused = true)]
async fn a_running_message_is_finished_and_deleted() {
    let (queue, notes) = (Queue::with_messages(30).await, Notes::default());
    let worker = queue.run(redrive::handler(slow).concurrency(20).with_state(notes.clone()));
    notes.until(20).await;
    let (result, took) = timed(worker.end()).await;
    assert!(result.is_ok() && took < secs(11), "{took:?}");
    assert_eq!((notes.len(), queue.counts().await), (40, (10, 0)));
    assert!(queue.receive().await.iter().all(|(_, count)| *count == 1), "the other messages were never received");
}

#[tokio::test(start_paused = true)]
async fn a_message_of_the_last_poll_runs_and_is_deleted() {
    for queue in [Queue::standard().await, Queue::fifo().await] {
        let notes = Notes::default();
        let mut worker = queue.run(redrive::handler(slow).with_state(notes.clone()));
        sleep(secs(5)).await;
        worker.ask();
        sleep(secs(5)).await;
        queue.send_any("late").await;
        let (result, took) = timed(worker.end()).await;
        assert!(result.is_ok() && took < secs(11), "{took:?}");
        assert_eq!(
            (notes.all(), queue.counts().await),
            (vec!["late begun".to_owned(), "late done".to_owned()], (0, 0))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_end_in_time_does_not_begin() {
    let (queue, notes) = (Queue::with_messages(1).await, Notes::default());
    let worker = queue.worker(redrive::handler(slow).with_state(notes.clone())).drain_timeout(secs(14));
    let mut worker = Running::begin(worker);
    notes.until(2).await;
    queue.drained().await;
    worker.ask();
    // A poll waits for 9 s, and a handler takes 10 s.
    sleep(secs(5)).await;
    queue.send("late").await;
    let (result, took) = timed(worker.end()).await;
    assert!(result.is_ok() && took < secs(1), "{took:?}");
    assert_eq!((notes.len(), queue.counts().await), (2, (1, 0)));
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_group_runs_while_it_can_end_in_time() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    for number in 0..5 {
        queue.send_to("g", number.to_string()).await;
    }
    let mut worker = queue.run(redrive::handler(slow).with_state(notes.clone()));
    notes.until(1).await;
    worker.ask();
    let (result, took) = timed(worker.end()).await;
    assert!(result.is_ok() && took < secs(21), "{took:?}");
    assert_eq!(notes.all(), ["0 begun", "0 done", "1 begun", "1 done"], "the third message would be cut off");
    assert_eq!(queue.counts().await, (3, 0));
    assert_eq!(queue.receive().await[0].0, "2");
}

#[tokio::test(start_paused = true)]
async fn a_short_drain_timeout_shortens_polls_and_no_poll_outlives_it() {
    for (drain_timeout, wait) in [(25, 20), (24, 19), (15, 10), (10, 5), (6, 3), (3, 1), (1, 0), (0, 0)] {
        let script = Script::standard(|_| Reply::usual());
        let worker = script.worker(redrive::handler(slow).with_state(Notes::default()));
        let mut worker = Running::begin(worker.drain_timeout(secs(drain_timeout)));
        sleep(Duration::from_millis(100)).await;
        worker.ask();
        let polls = script.calls("ReceiveMessage").len();
        let (result, took) = timed(worker.end()).await;
        assert!(result.is_ok() && took <= secs(drain_timeout), "{drain_timeout} s: {took:?}");
        let calls = script.calls("ReceiveMessage");
        assert_eq!(calls.len(), polls, "a poll began after the shutdown");
        assert!(calls.iter().all(|call| call.request["WaitTimeSeconds"] == wait), "{drain_timeout} s: {calls:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_runs_after_the_drain_timeout_is_cancelled_and_its_message_released() {
    let (queue, notes) = (Queue::standard().await, Notes::default());
    queue.send("endless").await;
    let endless = |Body(_): Body, State(notes): State<Notes>| async move {
        notes.add("begun");
        pending::<()>().await;
    };
    let worker = queue.worker(redrive::handler(endless).with_state(notes.clone())).drain_timeout(secs(30));
    let worker = Running::begin(worker);
    notes.until(1).await;
    let (result, took) = timed(worker.end()).await;
    assert!(result.is_ok());
    assert_eq!(took.as_secs(), 30);
    assert_eq!(queue.counts().await, (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_release_waits_for_a_heartbeat_under_way() {
    let (queue, notes) = (Queue::standard().await, Notes::default());
    queue.send("endless").await;
    let endless = |Body(_): Body, State(notes): State<Notes>| async move {
        notes.add("begun");
        pending::<()>().await;
    };
    let drain_timeout = Duration::from_millis(10_050);
    let worker = queue.worker(redrive::handler(endless).with_state(notes.clone())).drain_timeout(drain_timeout);
    let mut worker = Running::begin(worker);
    notes.until(1).await;
    worker.ask();
    sleep(Duration::from_millis(9_900)).await;
    queue.sqs.set_faults(Faults::none().slow_calls(1.0, secs(4)));
    sleep(Duration::from_millis(120)).await;
    queue.sqs.set_faults(Faults::none());
    let before = queue.calls.count("ChangeMessageVisibilityBatch");
    sleep(Duration::from_millis(80)).await;
    assert_eq!(
        queue.calls.count("ChangeMessageVisibilityBatch"),
        before,
        "the heartbeat is still under way after the drain timeout"
    );
    worker.end().await.unwrap();
    assert_eq!(queue.counts().await, (1, 0));
}

#[tokio::test(start_paused = true)]
async fn no_message_runs_twice_though_workers_end_under_load() {
    let (queue, notes) = (Queue::with_messages(500).await, Notes::default());
    let quick = |Body(body): Body, State(notes): State<Notes>| async move {
        sleep(Duration::from_millis(body.parse::<u64>().unwrap() % 70)).await;
        notes.add(body);
    };
    let consumer = redrive::handler(quick).with_state(notes.clone());
    // The workers run one after the other, and each is ended under load.
    while queue.counts().await != (0, 0) {
        let worker = queue.run(consumer.clone());
        sleep(Duration::from_millis(90)).await;
        worker.end().await.unwrap();
        assert_eq!(queue.counts().await.1, 0, "messages are left in flight");
    }
    let mut seen = notes.all();
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), notes.len()), (500, 500));
}

#[tokio::test(start_paused = true)]
async fn a_worker_ends_if_the_shutdown_comes_before_its_start() {
    let queue = Queue::standard().await;
    let mut worker = queue.run(redrive::handler(slow).with_state(Notes::default()));
    worker.ask();
    let (result, took) = timed(worker.end()).await;
    assert!(result.is_ok() && took < secs(21), "{took:?}");
}

/// Makes the next heartbeat of a message that was received just now take longer than 80 ms. It begins after 10 s.
async fn slow_heartbeat(queue: &Queue) {
    sleep(Duration::from_millis(9_900)).await;
    queue.sqs.set_faults(Faults::none().slow_calls(1.0, secs(4)));
    sleep(Duration::from_millis(120)).await;
    queue.sqs.set_faults(Faults::none());
}

#[tokio::test(start_paused = true)]
async fn a_processed_message_is_deleted_though_it_waits_for_a_heartbeat_at_the_cut() {
    let (queue, notes) = (Queue::standard().await, Notes::default());
    queue.send("an order").await;
    let place = |Body(_): Body, State(notes): State<Notes>| async move {
        notes.add("begun");
        sleep(Duration::from_millis(10_050)).await;
        notes.add("done");
    };
    let worker = queue.worker(redrive::handler(place).with_state(notes.clone()));
    let mut worker = Running::begin(worker.drain_timeout(Duration::from_millis(10_060)));
    notes.until(1).await;
    worker.ask();
    slow_heartbeat(&queue).await;
    worker.end().await.unwrap();
    assert_eq!(notes.all(), ["begun", "done"]);
    assert_eq!(queue.counts().await, (0, 0), "the message would run again");
}

#[tokio::test(start_paused = true)]
async fn a_release_under_way_at_the_cut_is_completed() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    for number in 0..3 {
        queue.send_to("g", number.to_string()).await;
    }
    let endless = |Body(_): Body, State(notes): State<Notes>| async move {
        notes.add("begun");
        pending::<()>().await;
    };
    let worker = queue.worker(redrive::handler(endless).with_state(notes.clone()));
    let mut worker = Running::begin(worker.drain_timeout(Duration::from_millis(30)));
    notes.until(1).await;
    slow_heartbeat(&queue).await;
    // The waiting messages have to be released. The release waits for the heartbeat, and then the drain timeout ends.
    worker.ask();
    worker.end().await.unwrap();
    assert_eq!(queue.counts().await, (3, 0), "a message is left hidden");
}

#[tokio::test(start_paused = true)]
async fn a_handler_cut_off_at_the_end_has_no_effects_of_a_failure() {
    let (queue, notes) = (Queue::standard().await, Notes::default());
    queue.send("done").await;
    queue.send("endless").await;
    let place = |Body(body): Body, State(notes): State<Notes>| async move {
        notes.add(&body);
        match &*body {
            // The message waits for the heartbeat at the end of the drain timeout, so the batch has not ended.
            "done" => sleep(Duration::from_millis(10_050)).await,
            _ => pending::<()>().await,
        }
    };
    let effects = Effects::with_client(queue.client.clone()).backoff(Backoff::exponential(secs(3_600)..secs(3_600)));
    let worker = queue.worker(redrive::handler(place).effects(effects).with_state(notes.clone()));
    let mut worker = Running::begin(worker.drain_timeout(Duration::from_millis(10_060)));
    notes.until(2).await;
    worker.ask();
    slow_heartbeat(&queue).await;
    worker.end().await.unwrap();
    assert_eq!(queue.counts().await, (1, 0), "the message is visible at once, and the other one is deleted");
    assert_eq!(queue.receive().await[0].0, "endless");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_under_way_at_the_cut_is_settled() {
    let notes = Notes::default();
    let script = Script::standard(|call| match (&*call.operation, call.number) {
        ("ReceiveMessage", 0) => Reply::messages([message("m", "a", None)]),
        ("SendMessage", _) => Reply::usual().after(secs(2)),
        _ => Reply::usual(),
    });
    let place = |Body(_): Body, State(notes): State<Notes>| async move {
        notes.add("run");
        Outcome::DeadLetter("no order".into())
    };
    let effects = Effects::with_client(script.client.clone());
    let effects = effects.dead_letter_queue("https://sqs.eu-west-1.amazonaws.com/123456789012/orders-dlq");
    let consumer = redrive::handler(place).effects(effects).with_state(notes.clone());
    let mut worker = Running::begin(script.worker(consumer).drain_timeout(secs(1)));
    notes.until(1).await;
    worker.ask();
    worker.end().await.unwrap();
    assert_eq!(script.calls("SendMessage").len(), 1);
    assert_eq!(script.deleted("a").len(), 1, "the message would exist twice");
}

/// Notes when it is dropped.
struct Dropped(Notes, Instant);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add(format!("cut off after {} ms", self.1.elapsed().as_millis()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_chunk_is_cut_off_exactly_at_the_end_of_the_drain_timeout() {
    let (queue, notes) = (Queue::with_messages(2).await, Notes::default());
    let place = |State(notes): State<Notes>, bodies: Vec<Body>| async move {
        notes.add("begun");
        match &*bodies[0].0 {
            // The message waits for the heartbeat at the end of the drain timeout, so the batch has not ended.
            "0" => sleep(Duration::from_millis(10_050)).await,
            _ => {
                let _dropped = Dropped(notes, Instant::now());
                pending::<()>().await;
            }
        }
        vec![Outcome::Done]
    };
    let worker = queue.worker(redrive::batch(place).chunk_size(1).with_state(notes.clone()));
    let mut worker = Running::begin(worker.drain_timeout(Duration::from_millis(10_060)));
    notes.until(2).await;
    worker.ask();
    slow_heartbeat(&queue).await;
    worker.end().await.unwrap();
    assert_eq!(notes.all()[2], "cut off after 10060 ms");
    assert_eq!(queue.counts().await, (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_worker_ends_though_a_poll_gets_no_answer() {
    let script = Script::standard(|call| match &*call.operation {
        "ReceiveMessage" => Reply::never(),
        _ => Reply::usual(),
    });
    let worker = script.worker(redrive::handler(slow).with_state(Notes::default())).drain_timeout(secs(5));
    let mut worker = Running::begin(worker);
    sleep(secs(1)).await;
    worker.ask();
    let (result, took) = timed(worker.end()).await;
    assert!(result.is_ok() && took < secs(30), "{took:?}");
    assert_eq!(script.calls("ReceiveMessage").len(), 1, "a poll began after the shutdown");
}

#[tokio::test(start_paused = true)]
async fn the_worker_ends_though_its_deletes_get_no_answer() {
    let notes = Notes::default();
    let script = Script::standard(|call| match (&*call.operation, call.number) {
        ("ReceiveMessage", 0) => Reply::messages([message("m", "a", None)]),
        ("DeleteMessageBatch", 1..) => Reply::never(),
        _ => Reply::usual(),
    });
    let worker = script.worker(redrive::handler(slow).with_state(notes.clone())).drain_timeout(secs(1));
    let mut worker = Running::begin(worker);
    notes.until(2).await;
    worker.ask();
    let (result, took) = timed(worker.end()).await;
    assert!(result.is_ok() && took < secs(50), "{took:?}");
}
