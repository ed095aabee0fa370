//! The end of a worker: what has begun is finished, what has not is given back.

use std::future::pending;
use std::time::Duration;

use redrive::local::Faults;
use redrive::{Body, State};
use tokio::time::sleep;

use crate::kit::{Notes, Queue, Running, secs, timed};

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
async fn a_poll_under_way_is_finished_and_what_it_brings_is_given_back_at_once() {
    let (queue, notes) = (Queue::standard().await, Notes::default());
    let mut worker = queue.run(redrive::handler(slow).with_state(notes.clone()));
    sleep(secs(5)).await;
    worker.ask();
    sleep(secs(5)).await;
    queue.send("late").await;
    let (result, took) = timed(worker.end()).await;
    assert!(result.is_ok() && took < secs(1), "{took:?}");
    assert_eq!((notes.len(), queue.counts().await), (0, (1, 0)));
    assert_eq!(queue.receive().await, [("late".to_owned(), 2)]);
}

#[tokio::test(start_paused = true)]
async fn what_stands_behind_in_its_group_is_given_back_at_once() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    for number in 0..5 {
        queue.send_to("g", number.to_string()).await;
    }
    let mut worker = queue.run(redrive::handler(slow).with_state(notes.clone()));
    notes.until(1).await;
    worker.ask();
    sleep(secs(1)).await;
    assert_eq!(queue.counts().await, (4, 1), "while the first one still runs");
    worker.end().await.unwrap();
    assert_eq!(notes.all(), ["0 begun", "0 done"]);
    assert_eq!(queue.receive().await[0].0, "1");
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
