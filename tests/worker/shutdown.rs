//! The end of a worker: what has begun is finished, what has not is given back.

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
async fn what_runs_comes_to_its_end_and_is_deleted() {
    let (queue, notes) = (Queue::with_messages(30).await, Notes::default());
    let worker = queue.run(redrive::handler(slow).concurrency(20).with_state(notes.clone()));
    notes.until(20).await;
    let (result, took) = timed(worker.end()).await;
    assert!(result.is_ok() && took < secs(11), "{took:?}");
    assert_eq!((notes.len(), queue.counts().await), (40, (10, 0)));
    assert!(queue.receive().await.iter().all(|(_, count)| *count == 1), "the others were never received");
}

#[tokio::test(start_paused = true)]
async fn what_the_last_poll_brings_runs_and_is_deleted() {
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
async fn what_comes_too_late_to_end_in_time_does_not_begin() {
    let (queue, notes) = (Queue::with_messages(1).await, Notes::default());
    let worker = queue.worker(redrive::handler(slow).with_state(notes.clone())).drain_timeout(secs(14));
    let mut worker = Running::begin(worker);
    notes.until(2).await;
    queue.drained().await;
    worker.ask();
    // A poll waits for 9 s, and a handler takes 10.
    sleep(secs(5)).await;
    queue.send("late").await;
    let (result, took) = timed(worker.end()).await;
    assert!(result.is_ok() && took < secs(1), "{took:?}");
    assert_eq!((notes.len(), queue.counts().await), (2, (1, 0)));
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_group_runs_as_far_as_it_can_end_in_time() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    for number in 0..5 {
        queue.send_to("g", number.to_string()).await;
    }
    let mut worker = queue.run(redrive::handler(slow).with_state(notes.clone()));
    notes.until(1).await;
    worker.ask();
    let (result, took) = timed(worker.end()).await;
    assert!(result.is_ok() && took < secs(21), "{took:?}");
    assert_eq!(notes.all(), ["0 begun", "0 done", "1 begun", "1 done"], "the third one would be cut off");
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
        assert_eq!(calls.len(), polls, "no poll begins after the shutdown");
        assert!(calls.iter().all(|call| call.request["WaitTimeSeconds"] == wait), "{drain_timeout} s: {calls:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_still_runs_after_the_drain_timeout_is_cancelled_and_given_back() {
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
async fn what_is_given_back_waits_for_a_heartbeat_under_way() {
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
        "the drain timeout is over, and the heartbeat is not"
    );
    worker.end().await.unwrap();
    assert_eq!(queue.counts().await, (1, 0));
}

#[tokio::test(start_paused = true)]
async fn under_load_nothing_is_processed_twice() {
    let (queue, notes) = (Queue::with_messages(500).await, Notes::default());
    let quick = |Body(body): Body, State(notes): State<Notes>| async move {
        sleep(Duration::from_millis(body.parse::<u64>().unwrap() % 70)).await;
        notes.add(body);
    };
    let consumer = redrive::handler(quick).with_state(notes.clone());
    // One after the other, each ended in the midst of it.
    while queue.counts().await != (0, 0) {
        let worker = queue.run(consumer.clone());
        sleep(Duration::from_millis(90)).await;
        worker.end().await.unwrap();
        assert_eq!(queue.counts().await.1, 0, "nothing is left in flight");
    }
    let mut seen = notes.all();
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), notes.len()), (500, 500));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_asked_before_it_has_begun_ends() {
    let queue = Queue::standard().await;
    let mut worker = queue.run(redrive::handler(slow).with_state(Notes::default()));
    worker.ask();
    let (result, took) = timed(worker.end()).await;
    assert!(result.is_ok() && took < secs(21), "{took:?}");
}

/// Has the next heartbeat of what was received just now, which begins after 10 s, take longer than 80 ms.
async fn slow_heartbeat(queue: &Queue) {
    sleep(Duration::from_millis(9_900)).await;
    queue.sqs.set_faults(Faults::none().slow_calls(1.0, secs(4)));
    sleep(Duration::from_millis(120)).await;
    queue.sqs.set_faults(Faults::none());
}

#[tokio::test(start_paused = true)]
async fn what_is_done_when_the_drain_timeout_ends_is_deleted_though_it_waits_for_a_heartbeat() {
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
    assert_eq!(queue.counts().await, (0, 0), "it would run once more");
}

#[tokio::test(start_paused = true)]
async fn what_is_being_given_back_when_the_drain_timeout_ends_is() {
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
    // What waits is to be given back, and that waits for the heartbeat; and then the drain timeout is over.
    worker.ask();
    worker.end().await.unwrap();
    assert_eq!(queue.counts().await, (3, 0), "none is left hidden");
}

#[tokio::test(start_paused = true)]
async fn what_is_cut_off_at_the_end_has_no_effect_of_a_failure() {
    let (queue, notes) = (Queue::standard().await, Notes::default());
    queue.send("done").await;
    queue.send("endless").await;
    let place = |Body(body): Body, State(notes): State<Notes>| async move {
        notes.add(&body);
        match &*body {
            // It waits for the heartbeat when the drain timeout ends: so the batch is not over yet.
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
    assert_eq!(queue.counts().await, (1, 0), "it is back at once, and the other one is deleted");
    assert_eq!(queue.receive().await[0].0, "endless");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_under_way_when_the_drain_timeout_ends_is_settled() {
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
    assert_eq!(script.deleted("a").len(), 1, "it would be there twice");
}

/// Notes at what time it is dropped.
struct Dropped(Notes, Instant);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add(format!("cut off after {} ms", self.1.elapsed().as_millis()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_chunk_is_cut_off_when_the_drain_timeout_ends_and_not_later() {
    let (queue, notes) = (Queue::with_messages(2).await, Notes::default());
    let place = |State(notes): State<Notes>, bodies: Vec<Body>| async move {
        notes.add("begun");
        match &*bodies[0].0 {
            // It waits for the heartbeat when the drain timeout ends: so the batch is not over yet.
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
async fn a_poll_that_never_answers_does_not_keep_it_from_ending() {
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
    assert_eq!(script.calls("ReceiveMessage").len(), 1, "no poll begins any more");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_takes_no_deletes_does_not_keep_it_from_ending() {
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
